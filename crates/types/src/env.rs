//! Environment variables, labels and extra hosts as flags and files give them.
//!
//! The file grammar of `--env-file` and `--label-file` is Docker's: no quoting, no interpolation,
//! a value is everything after the first `=`. (A Compose `env_file` is another grammar.) Pure: the
//! caller reads the file and lends a view of the host's environment.

use std::net::IpAddr;

use crate::go_syntax::quote;

/// The longest line of a file, as in Docker.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// The largest file looked at.
pub const ENV_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// So many bytes of a line that is no text are shown.
const SHOWN_BYTES_MAX: usize = 256;
/// The value of an extra host that stands for the host itself.
pub const HOST_GATEWAY: &str = "host-gateway";

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
const BLANKS: [char; 2] = [' ', '\t'];

/// Why an environment file, a variable, a label or an extra host is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// A file of more than [`ENV_FILE_BYTES_MAX`].
    #[error("file is larger than {ENV_FILE_BYTES_MAX} bytes")]
    FileTooLarge,
    /// A line of more than [`LINE_BYTES_MAX`].
    #[error("bufio.Scanner: token too long: line {0} has more than {LINE_BYTES_MAX} bytes")]
    LineTooLong(usize),
    /// A line that is no text.
    #[error("invalid utf8 bytes at line {line}: {bytes}")]
    InvalidUtf8 {
        /// Its number.
        line: usize,
        /// Its bytes as Go shows them, cut where they are many.
        bytes: String,
    },
    /// A NUL byte, which no environment can hold.
    #[error("line {0}: NUL byte")]
    NulByte(usize),
    /// A line that starts with `=`.
    #[error("no variable name on line '{0}'")]
    NoVariableName(String),
    /// A name with blanks in it.
    #[error("variable '{0}' contains whitespaces")]
    BlankInVariable(String),
    /// `-e =value` or `-e ""`.
    #[error("invalid environment variable: {0}")]
    InvalidVariable(String),
    /// `--label =value` or `--label ""`.
    #[error("invalid label '{0}': empty name")]
    EmptyLabelName(String),
    /// A label's name with blanks in it.
    #[error("label '{0}' contains whitespaces")]
    BlankInLabel(String),
    /// Not `name:address` or `name=address`.
    #[error("bad format for add-host: {}", quote(.0))]
    ExtraHostFormat(String),
    /// Neither an address nor `host-gateway`.
    #[error("invalid IP address in add-host: {}", quote(.0))]
    ExtraHostAddress(String),
}

/// Reads an `--env-file`: `KEY=VALUE` lines; a bare `KEY` is taken from the host's environment,
/// or left out where it is not set.
pub fn parse_env_file(
    content: &[u8],
    mut host: impl FnMut(&str) -> Option<String>,
) -> Result<Vec<String>, EnvError> {
    let mut variables = Vec::new();
    for_each_line(content, |line| {
        if line.contains('=') {
            variables.push(line.to_owned());
        } else if let Some(value) = host(line) {
            variables.push(format!("{line}={value}"));
        }
    })?;
    Ok(variables)
}

/// Reads a `--label-file`: as an environment file, but a bare `KEY` is a label without a value.
pub fn parse_label_file(content: &[u8]) -> Result<Vec<String>, EnvError> {
    let mut labels = Vec::new();
    for_each_line(content, |line| labels.push(line.to_owned()))?;
    Ok(labels)
}

/// Calls back with each line that says something, its name checked.
fn for_each_line(content: &[u8], mut each: impl FnMut(&str)) -> Result<(), EnvError> {
    if content.len() > ENV_FILE_BYTES_MAX {
        return Err(EnvError::FileTooLarge);
    }
    let content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
    for (index, bytes) in content.split(|&byte| byte == b'\n').enumerate() {
        let number = index + 1;
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.len() > LINE_BYTES_MAX {
            return Err(EnvError::LineTooLong(number));
        }
        let line = std::str::from_utf8(bytes).map_err(|_| EnvError::InvalidUtf8 {
            line: number,
            bytes: shown_bytes(bytes),
        })?;
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.contains('\0') {
            return Err(EnvError::NulByte(number));
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() {
            return Err(EnvError::NoVariableName(line.to_owned()));
        }
        if name.contains(BLANKS) {
            return Err(EnvError::BlankInVariable(name.to_owned()));
        }
        each(line);
    }
    Ok(())
}

/// `[65 61 255]`, at most [`SHOWN_BYTES_MAX`] of them.
fn shown_bytes(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(SHOWN_BYTES_MAX).map(u8::to_string);
    let shown = shown.collect::<Vec<_>>().join(" ");
    match bytes.len() > SHOWN_BYTES_MAX {
        true => format!("[{shown} …]"),
        false => format!("[{shown}]"),
    }
}

/// Reads the value of `-e`: `KEY=VALUE` as it is, a bare `KEY` with the host's value, or bare
/// (which removes it from the image's environment) where the host has none.
pub fn parse_env_flag(
    text: &str,
    host: impl FnOnce(&str) -> Option<String>,
) -> Result<String, EnvError> {
    let (name, has_value) = match text.split_once('=') {
        Some((name, _)) => (name, true),
        None => (text, false),
    };
    if name.is_empty() {
        return Err(EnvError::InvalidVariable(text.to_owned()));
    }
    if has_value {
        return Ok(text.to_owned());
    }
    Ok(match host(name) {
        Some(value) => format!("{name}={value}"),
        None => text.to_owned(),
    })
}

/// Checks a label: the name must not be empty nor have blanks inside.
pub fn validate_label(text: &str) -> Result<(), EnvError> {
    let name = text
        .split('=')
        .next()
        .unwrap_or_default()
        .trim_start_matches(BLANKS);
    if name.is_empty() {
        return Err(EnvError::EmptyLabelName(text.to_owned()));
    }
    if name.contains(BLANKS) {
        return Err(EnvError::BlankInLabel(name.to_owned()));
    }
    Ok(())
}

/// Splits a `KEY[=VALUE]` at the first `=`; without one the value is empty.
pub fn split_key_value(text: &str) -> (&str, &str) {
    text.split_once('=').unwrap_or((text, ""))
}

/// Reads `--add-host name:address` (or `=`), gives `name:address` without brackets.
pub fn parse_extra_host(text: &str) -> Result<String, EnvError> {
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, _)| !name.is_empty() && !name.contains(':'))
        .ok_or_else(|| EnvError::ExtraHostFormat(text.to_owned()))?;
    if address == HOST_GATEWAY {
        return Ok(format!("{name}:{address}"));
    }
    let address = address
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .filter(|inner| !inner.is_empty())
        .unwrap_or(address);
    if address.trim().parse::<IpAddr>().is_err() {
        return Err(EnvError::ExtraHostAddress(address.to_owned()));
    }
    Ok(format!("{name}:{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_flags_agree() {
        for case in crate::golden::read("envflag-golden.jsonl") {
            let (got, want) = if let Some(label) = case["label"].as_str() {
                (
                    validate_label(label).map(|()| label.to_owned()),
                    &case["out"],
                )
            } else if let Some(host) = case["addhost"].as_str() {
                (parse_extra_host(host), &case["out"])
            } else {
                let text = case["in"].as_str().unwrap();
                let host = split_key_value(case["env"].as_str().unwrap());
                let lookup = |name: &str| (name == host.0).then(|| host.1.to_owned());
                (parse_env_flag(text, lookup), &case["out"])
            };
            match got {
                Ok(value) => {
                    assert!(case["error"].is_null(), "{case}");
                    assert_eq!(*want, value);
                }
                Err(error) => assert_eq!(case["error"], error.to_string()),
            }
        }
    }

    fn parse(content: &[u8]) -> Result<Vec<String>, String> {
        let host = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        parse_env_file(content, host).map_err(|error| error.to_string())
    }

    #[test]
    fn env_files_are_read_verbatim() {
        let content =
            b"\xEF\xBB\xBFA=1\r\n# comment\n  B=\"x y\" # z  \n\nHOME\nNOPE\n\t#c\nC=\nD=a=b";
        let want = ["A=1", "B=\"x y\" # z  ", "HOME=/root", "C=", "D=a=b"];
        assert_eq!(parse(content).unwrap(), want);
        assert_eq!(parse_label_file(b"a=b\nc\n").unwrap(), ["a=b", "c"]);
        assert_eq!(parse(b"").unwrap(), Vec::<String>::new());
        let longest = format!("A={}", "x".repeat(LINE_BYTES_MAX - 2));
        assert_eq!(parse(longest.as_bytes()).unwrap(), [longest.as_str()]);
    }

    #[test]
    fn bad_env_files_name_the_line() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        for (content, want) in [
            (&b"=x"[..], "no variable name on line '=x'"),
            (b"A B=1", "variable 'A B' contains whitespaces"),
            (b"A =1", "variable 'A ' contains whitespaces"),
            (b"A=1\nB=\xff", "invalid utf8 bytes at line 2: [66 61 255]"),
            (b"A=1\nB=\0", "line 2: NUL byte"),
            (
                long.as_bytes(),
                "bufio.Scanner: token too long: line 1 has more than 65536 bytes",
            ),
        ] {
            assert_eq!(parse(content).unwrap_err(), want);
        }
    }

    #[test]
    fn env_flags_need_a_name() {
        for text in ["", "=x"] {
            let error = parse_env_flag(text, |_| None).unwrap_err();
            assert_eq!(error, EnvError::InvalidVariable(text.to_owned()));
        }
    }

    #[test]
    fn extra_hosts_are_checked() {
        for (text, want) in [
            ("a:1.2.3.4", "a:1.2.3.4"),
            ("a=1.2.3.4", "a:1.2.3.4"),
            ("a=[::1]", "a:::1"),
            ("a:host-gateway", "a:host-gateway"),
            ("a:[1.2.3.4]", "a:1.2.3.4"),
        ] {
            assert_eq!(parse_extra_host(text).unwrap(), want);
        }
        for (text, want) in [
            ("bad", r#"bad format for add-host: "bad""#),
            (":1.2.3.4", r#"bad format for add-host: ":1.2.3.4""#),
            ("a:b=1.2.3.4", r#"bad format for add-host: "a:b=1.2.3.4""#),
            ("a:x", r#"invalid IP address in add-host: "x""#),
            ("a:", r#"invalid IP address in add-host: """#),
            ("a:[]", r#"invalid IP address in add-host: "[]""#),
        ] {
            assert_eq!(parse_extra_host(text).unwrap_err().to_string(), want);
        }
    }
}
