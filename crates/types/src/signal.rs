//! Signals by name and by number, as `--signal` and `STOPSIGNAL` give them.
//!
//! The numbers are Linux's on x86_64 and aarch64. The real-time signals start at 34, as in glibc:
//! 32 and 33 belong to its threads.

/// The highest signal number.
pub const SIGNAL_MAX: i32 = 64;

const REAL_TIME_MIN: i32 = 34;
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const OTHER_NAMES: [(&str, i32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// A text that names no signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {0}")]
pub struct SignalError(String);

/// A signal's number, 1–64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

impl Signal {
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGTERM.
    pub const TERM: Self = Self(15);

    /// Reads `SIGTERM`, `term`, `15`, `RTMIN+3`, `SIGRTMAX-1`.
    pub fn parse(text: &str) -> Result<Self, SignalError> {
        let error = || SignalError(text.to_owned());
        if let Ok(number) = crate::go_syntax::parse_int(text) {
            return i32::try_from(number)
                .ok()
                .and_then(Self::from_number)
                .ok_or_else(error);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let plain = NAMES.iter().zip(1..).find(|(known, _)| **known == name);
        let other = || OTHER_NAMES.iter().find(|(known, _)| *known == name);
        plain
            .map(|(_, number)| number)
            .or_else(|| other().map(|&(_, number)| number))
            .or_else(|| parse_real_time(name))
            .map(Self)
            .ok_or_else(error)
    }

    /// A signal of that number, if there is one.
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=SIGNAL_MAX).contains(&number).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> i32 {
        self.0
    }

    /// The name with `SIG` before it; the two without a name are their number.
    pub fn name(self) -> String {
        let plain = usize::try_from(self.0 - 1)
            .ok()
            .and_then(|index| NAMES.get(index));
        match (plain, self.0 - REAL_TIME_MIN) {
            (Some(name), _) => format!("SIG{name}"),
            (None, 0) => "SIGRTMIN".to_owned(),
            (None, offset @ 1..=29) => format!("SIGRTMIN+{offset}"),
            (None, 30) => "SIGRTMAX".to_owned(),
            (None, _) => self.0.to_string(),
        }
    }
}

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`.
fn parse_real_time(name: &str) -> Option<i32> {
    let offset = |text: &str| -> Option<i32> {
        crate::go_syntax::parse_uint(text, 10, 6)
            .ok()?
            .try_into()
            .ok()
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        match rest.strip_prefix('+') {
            Some(text) => REAL_TIME_MIN + offset(text)?,
            None if rest.is_empty() => REAL_TIME_MIN,
            None => return None,
        }
    } else {
        let rest = name.strip_prefix("RTMAX")?;
        match rest.strip_prefix('-') {
            Some(text) => SIGNAL_MAX - offset(text)?,
            None if rest.is_empty() => SIGNAL_MAX,
            None => return None,
        }
    };
    (REAL_TIME_MIN..=SIGNAL_MAX)
        .contains(&number)
        .then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number, name) in [
            ("SIGTERM", 15, "SIGTERM"),
            ("TERM", 15, "SIGTERM"),
            ("sigkill", 9, "SIGKILL"),
            ("15", 15, "SIGTERM"),
            ("31", 31, "SIGSYS"),
            ("IOT", 6, "SIGABRT"),
            ("CLD", 17, "SIGCHLD"),
            ("32", 32, "32"),
            ("RTMIN", 34, "SIGRTMIN"),
            ("SIGRTMIN+3", 37, "SIGRTMIN+3"),
            ("rtmax-1", 63, "SIGRTMIN+29"),
            ("RTMAX", 64, "SIGRTMAX"),
        ] {
            let signal = Signal::parse(text).unwrap();
            assert_eq!(
                (signal.number(), signal.name().as_str()),
                (number, name),
                "{text}"
            );
            assert_eq!(Signal::parse(&signal.name()), Ok(signal));
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in [
            "",
            "0",
            "-1",
            "65",
            "99999999999",
            "SIG",
            "SIGX",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN-1",
        ] {
            let want = format!("invalid signal: {text}");
            assert_eq!(Signal::parse(text).unwrap_err().to_string(), want);
        }
    }
}
