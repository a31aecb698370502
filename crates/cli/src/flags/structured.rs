//! Values with parts: resource limits, the long form of networks, requests for GPUs.

use types::container::{DeviceRequest, NetworkAttachment, Ulimit};
use types::go_syntax::{parse_atoi, parse_int};

/// The resource limits that Docker names.
const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads `name=soft[:hard]`; -1 is without limit.
pub(crate) fn parse_ulimit(value: &str) -> Result<Ulimit, String> {
    let (name, limits) = value
        .split_once('=')
        .ok_or_else(|| format!("invalid ulimit argument: {value}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let number = |text: &str| parse_int(text).map_err(|error| error.to_string());
    let (soft, hard) = match limits.split(':').collect::<Vec<_>>()[..] {
        [both] => (number(both)?, number(both)?),
        [soft, hard] => {
            let hard = number(hard)?;
            (number(soft)?, hard)
        }
        _ => {
            return Err(format!(
                "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
            ));
        }
    };
    if soft < -1 || hard < -1 {
        return Err(format!(
            "invalid ulimit value: {limits}; -1 is without limit"
        ));
    }
    let order = "ulimit soft limit must be less than or equal to hard limit";
    if hard != -1 && soft == -1 {
        return Err(format!("{order}: soft: -1 (unlimited), hard: {hard}"));
    }
    if hard != -1 && soft > hard {
        return Err(format!("{order}: {soft} > {hard}"));
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

/// Reads a network's name, or `name=…,alias=…,ip=…,driver-opt=k=v`.
pub(crate) fn parse_network(value: &str) -> Result<NetworkAttachment, String> {
    let mut network = NetworkAttachment::default();
    if !is_long_form(value) {
        value.clone_into(&mut network.target);
        return Ok(network);
    }
    for field in record(value)? {
        let (key, text) = field
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid field {field}"))?;
        let (key, text) = (key.trim().to_ascii_lowercase(), text.trim());
        let owned = || text.to_owned();
        match key.as_str() {
            "name" => network.target = owned(),
            "alias" => network.aliases.push(owned()),
            "ip" => network.ipv4 = owned(),
            "ip6" => network.ipv6 = owned(),
            "mac-address" => network.mac_address = owned(),
            "link-local-ip" => network.link_local_ips.push(owned()),
            "driver-opt" => {
                let (option, setting) = text
                    .split_once('=')
                    .ok_or("invalid key value pair format in driver options")?;
                let (option, setting) = (option.trim().to_owned(), setting.trim().to_owned());
                network.driver_options.insert(option, setting);
            }
            "gw-priority" => {
                network.gateway_priority = parse_int(text).map_err(|error| {
                    format!("invalid gw-priority ({text}): {}", error.problem())
                })?;
            }
            _ => return Err(format!("invalid field key {key}")),
        }
    }
    if network.target.is_empty() {
        return Err("network name/id is not specified".to_owned());
    }
    Ok(network)
}

/// Docker takes for the long form what has a word on each side of a `=`.
fn is_long_form(value: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    value
        .as_bytes()
        .windows(3)
        .any(|three| is_word(three[0]) && three[1] == b'=' && is_word(three[2]))
}

/// Reads `all`, a number, or `count=…,device=…,driver=…,capabilities=…,options=…`.
pub(crate) fn parse_gpus(value: &str) -> Result<DeviceRequest, String> {
    let mut request = DeviceRequest {
        capabilities: vec![vec!["gpu".to_owned()]],
        ..DeviceRequest::default()
    };
    let mut seen: Vec<&str> = Vec::new();
    let fields = record(value)?;
    for field in &fields {
        let (key, value) = field.split_once('=').unwrap_or(("count", field));
        if seen.contains(&key) {
            return Err(format!(
                "gpu request key '{key}' can be specified only once"
            ));
        }
        seen.push(key);
        let parts = || value.split(',').map(str::to_owned);
        match key {
            "driver" => value.clone_into(&mut request.driver),
            "device" => request.device_ids = parts().collect(),
            "capabilities" => {
                request.capabilities = vec![parts().chain(["gpu".to_owned()]).collect()];
            }
            "options" => {
                let pair = |text: String| match text.split_once('=') {
                    Some((key, value)) => (key.to_owned(), value.to_owned()),
                    None => (text, String::new()),
                };
                request.options = record(value)?.into_iter().map(pair).collect();
            }
            "count" => request.count = parse_count(value)?,
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !seen.contains(&"count") && request.device_ids.is_empty() {
        request.count = 1;
    }
    Ok(request)
}

fn parse_count(value: &str) -> Result<i64, String> {
    if value == "all" {
        return Ok(-1);
    }
    parse_atoi(value).map_err(|error| {
        format!(
            "invalid count ({value}): value must be either \"all\" or an integer: {}",
            error.problem()
        )
    })
}

/// The parts of a comma-separated value; one that is no such record is a single part.
pub(super) fn split_commas(value: &str) -> Vec<String> {
    record(value).unwrap_or_else(|_| vec![value.to_owned()])
}

/// One record of comma-separated values, in which a part may stand in double quotes.
fn record(value: &str) -> Result<Vec<String>, String> {
    if value.is_empty() {
        return Err("EOF".to_owned());
    }
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for character in value.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            other => fields
                .last_mut()
                .expect("invariant: never empty")
                .push(other),
        }
    }
    if is_quoted {
        return Err("parse error on line 1: extraneous or missing \" in quoted-field".to_owned());
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        for (value, soft, hard) in [
            ("nofile=5", 5, 5),
            ("nofile=5:6", 5, 6),
            ("core=-1", -1, -1),
            ("core=0:-1", 0, -1),
        ] {
            let name = value.split('=').next().unwrap().to_owned();
            assert_eq!(parse_ulimit(value), Ok(Ulimit { name, soft, hard }));
        }
        assert!(
            parse_ulimit("nofile=1:2:3")
                .unwrap_err()
                .starts_with("too many limit value")
        );
        assert!(
            parse_ulimit("nofile=-1:5")
                .unwrap_err()
                .ends_with("(unlimited), hard: 5")
        );
        assert!(parse_ulimit("nofile=-2").is_err());
    }

    #[test]
    fn requests_for_gpus_are_read() {
        let of = |text: &str| parse_gpus(text).unwrap();
        let gpu = || vec![vec!["gpu".to_owned()]];
        assert_eq!((of("all").count, of("2").count), (-1, 2));
        let named = of("driver=nvidia,\"device=0,1\"");
        assert_eq!((named.driver.as_str(), named.count), ("nvidia", 0));
        assert_eq!(
            (named.device_ids, named.capabilities),
            (vec!["0".to_owned(), "1".to_owned()], gpu())
        );
        let rest = of("capabilities=utility,\"options=a=b,c\"");
        assert_eq!(
            (rest.count, rest.capabilities),
            (1, vec![vec!["utility".to_owned(), "gpu".to_owned()]])
        );
        assert_eq!(
            (rest.options["a"].as_str(), rest.options["c"].as_str()),
            ("b", "")
        );
        for text in ["", "x", "all,count=1", "colour=red", "device=0,1,2"] {
            assert!(parse_gpus(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_read_in_both_forms() {
        let plain = parse_network("container:web").unwrap();
        assert_eq!(
            plain,
            NetworkAttachment {
                target: "container:web".into(),
                ..Default::default()
            }
        );
        let long = parse_network(
            "name=My-net, alias=a,alias=b,ip=10.0.0.2,\"driver-opt=x=1,2\",gw-priority=-3",
        )
        .unwrap();
        assert_eq!(
            (long.target.as_str(), long.ipv4.as_str()),
            ("My-net", "10.0.0.2")
        );
        assert_eq!(long.aliases, ["a", "b"]);
        assert_eq!(long.driver_options["x"], "1,2");
        assert_eq!(long.gateway_priority, -3);
    }
}
