//! The log driver and the health check.

use types::container::{ContainerSpec, Healthcheck};

use super::FlagError;
use super::environment::pair;
use crate::flags::Matches;

/// The least time that Docker's daemon takes.
const MILLISECOND_NS: i64 = 1_000_000;

/// `--log-driver` and `--log-opt`.
pub(super) fn logging(matches: &Matches, spec: &mut ContainerSpec) -> Result<(), FlagError> {
    matches
        .get_str("log-driver")
        .clone_into(&mut spec.log_driver);
    spec.log_options = matches
        .get_list("log-opt")
        .iter()
        .map(|text| pair(text))
        .collect();
    if spec.log_driver == "none" && !spec.log_options.is_empty() {
        return Err(FlagError::Usage(
            "invalid logging opts for driver none".to_owned(),
        ));
    }
    Ok(())
}

/// `--health-*` and `--no-healthcheck`.
pub(super) fn health(matches: &Matches, spec: &mut ContainerSpec) -> Result<(), FlagError> {
    let refuse = |text: String| Err(FlagError::Usage(text));
    let durations = ["interval", "timeout", "start-period", "start-interval"].map(|name| {
        let flag = format!("health-{name}");
        let nanoseconds = matches.get_duration_ns(&flag);
        (flag, nanoseconds)
    });
    let retries = matches.get_int("health-retries");
    let command = matches.get_str("health-cmd");
    let has_settings =
        !command.is_empty() || retries != 0 || durations.iter().any(|(_, time)| *time != 0);
    if matches.get_bool("no-healthcheck") {
        if has_settings {
            return refuse("--no-healthcheck conflicts with --health-* options".to_owned());
        }
        let test = vec!["NONE".to_owned()];
        spec.healthcheck = Some(Healthcheck {
            test,
            ..Healthcheck::default()
        });
        return Ok(());
    }
    if !has_settings {
        return Ok(());
    }
    for (flag, time) in &durations {
        if *time < 0 {
            return refuse(format!("--{flag} cannot be negative"));
        }
    }
    if retries < 0 {
        return refuse("--health-retries cannot be negative".to_owned());
    }
    for ((_, time), name) in
        durations
            .iter()
            .zip(["Interval", "Timeout", "StartPeriod", "StartInterval"])
    {
        if (1..MILLISECOND_NS).contains(time) {
            let text = format!("{name} in Healthcheck cannot be less than 1ms");
            return Err(FlagError::Engine(text));
        }
    }
    let [interval, timeout, start_period, start_interval] = durations.map(|(_, time)| time);
    let test = match command {
        "" => Vec::new(),
        command => vec!["CMD-SHELL".to_owned(), command.to_owned()],
    };
    spec.healthcheck = Some(Healthcheck {
        test,
        interval_ns: interval,
        timeout_ns: timeout,
        start_period_ns: start_period,
        start_interval_ns: start_interval,
        retries: u32::try_from(retries).unwrap_or(u32::MAX),
    });
    Ok(())
}
