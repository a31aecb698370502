//! `--health-cmd` and its fellows, `--no-healthcheck`.

use crate::container::Healthcheck;
use crate::units::MILLISECOND_NS;

/// The shortest interval, timeout or start period other than none.
const SHORTEST_NS: i64 = MILLISECOND_NS;

/// Why health flags are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HealthError {
    /// `--no-healthcheck` with another.
    #[error("--no-healthcheck conflicts with --health-* options")]
    Conflict,
    /// A negative value.
    #[error("--{0} cannot be negative")]
    Negative(&'static str),
    /// A duration below a millisecond.
    #[error("{0} in Healthcheck cannot be less than 1ms")]
    TooShort(&'static str),
    /// More retries than 32 bits.
    #[error("--health-retries is too large")]
    TooManyRetries,
}

/// The values of the flags, durations in nanoseconds, 0 where a flag was not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthFlags {
    /// `--health-cmd`.
    pub command: String,
    /// `--health-interval`.
    pub interval_ns: i64,
    /// `--health-timeout`.
    pub timeout_ns: i64,
    /// `--health-start-period`.
    pub start_period_ns: i64,
    /// `--health-start-interval`.
    pub start_interval_ns: i64,
    /// `--health-retries`.
    pub retries: i64,
    /// `--no-healthcheck`.
    pub none: bool,
}

/// The health check that the flags ask for; `None` where no flag was given. An empty test means
/// that of the image.
pub fn health_check(flags: &HealthFlags) -> Result<Option<Healthcheck>, HealthError> {
    let is_given = HealthFlags {
        none: false,
        ..flags.clone()
    } != HealthFlags::default();
    if flags.none {
        if is_given {
            return Err(HealthError::Conflict);
        }
        let test = vec!["NONE".to_owned()];
        return Ok(Some(Healthcheck {
            test,
            ..Healthcheck::default()
        }));
    }
    if !is_given {
        return Ok(None);
    }
    for (flag, name, value) in [
        ("health-interval", "Interval", flags.interval_ns),
        ("health-timeout", "Timeout", flags.timeout_ns),
        ("health-start-period", "StartPeriod", flags.start_period_ns),
        (
            "health-start-interval",
            "StartInterval",
            flags.start_interval_ns,
        ),
    ] {
        match value {
            ..=-1 => return Err(HealthError::Negative(flag)),
            1..SHORTEST_NS => return Err(HealthError::TooShort(name)),
            _ => {}
        }
    }
    if flags.retries < 0 {
        return Err(HealthError::Negative("health-retries"));
    }
    let test = match flags.command.as_str() {
        "" => Vec::new(),
        command => vec!["CMD-SHELL".to_owned(), command.to_owned()],
    };
    Ok(Some(Healthcheck {
        test,
        interval_ns: flags.interval_ns,
        timeout_ns: flags.timeout_ns,
        start_period_ns: flags.start_period_ns,
        start_interval_ns: flags.start_interval_ns,
        retries: u32::try_from(flags.retries).map_err(|_| HealthError::TooManyRetries)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_flags_become_a_health_check() {
        assert_eq!(health_check(&HealthFlags::default()), Ok(None));
        let none = HealthFlags {
            none: true,
            ..HealthFlags::default()
        };
        assert_eq!(health_check(&none).unwrap().unwrap().test, ["NONE"]);
        let flags = HealthFlags {
            command: "true".to_owned(),
            retries: 2,
            ..Default::default()
        };
        let check = health_check(&flags).unwrap().unwrap();
        assert_eq!(
            (check.test, check.retries),
            (vec!["CMD-SHELL".into(), "true".into()], 2)
        );
        let flags = HealthFlags {
            interval_ns: MILLISECOND_NS,
            ..Default::default()
        };
        assert!(health_check(&flags).unwrap().unwrap().test.is_empty());
    }

    #[test]
    fn bad_health_flags_have_the_words_of_docker() {
        let zero = HealthFlags::default;
        for (flags, want) in [
            (
                HealthFlags {
                    none: true,
                    retries: 1,
                    ..zero()
                },
                "--no-healthcheck conflicts with --health-* options",
            ),
            (
                HealthFlags {
                    timeout_ns: -1,
                    ..zero()
                },
                "--health-timeout cannot be negative",
            ),
            (
                HealthFlags {
                    retries: -1,
                    ..zero()
                },
                "--health-retries cannot be negative",
            ),
            (
                HealthFlags {
                    interval_ns: 1,
                    ..zero()
                },
                "Interval in Healthcheck cannot be less than 1ms",
            ),
            (
                HealthFlags {
                    retries: i64::MAX,
                    ..zero()
                },
                "--health-retries is too large",
            ),
        ] {
            assert_eq!(health_check(&flags).unwrap_err().to_string(), want);
        }
    }
}
