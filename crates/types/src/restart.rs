//! `--restart`: its grammar, and how long to wait before the next start.

use std::fmt;

use crate::container::{RestartKind, RestartPolicy};
use crate::go_syntax::parse_atoi;
use crate::units::{MILLISECOND_NS, SECOND_NS};

/// The first wait between an end and the next start.
pub const BACKOFF_FIRST_NS: i64 = 100 * MILLISECOND_NS;
/// The longest wait.
pub const BACKOFF_MAX_NS: i64 = 60 * SECOND_NS;
/// A container that ran this long starts with the first wait again.
pub const BACKOFF_RESET_AFTER_NS: i64 = 10 * SECOND_NS;

/// Why a restart policy is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// `:3`.
    #[error("invalid restart policy format: no policy provided before colon")]
    NoPolicy,
    /// `on-failure:x`.
    #[error("invalid restart policy format: maximum retry count must be an integer")]
    CountNotInteger,
    /// A word that is none of the four.
    #[error(
        "invalid restart policy: unknown policy '{0}'; use one of 'no', 'always', 'on-failure', or \
         'unless-stopped'"
    )]
    Unknown(String),
    /// `always:3`.
    #[error("invalid restart policy: maximum retry count can only be used with 'on-failure'")]
    CountNotAllowed,
    /// `always:-3`.
    #[error(
        "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot \
         be negative"
    )]
    CountNotAllowedAndNegative,
    /// `on-failure:-1`.
    #[error("invalid restart policy: maximum retry count cannot be negative")]
    CountNegative,
    /// A count of more than 32 bits.
    #[error("invalid restart policy: maximum retry count is too large")]
    CountTooLarge,
}

impl RestartPolicy {
    /// Reads `no`, `on-failure[:N]`, `always`, `unless-stopped` or `on-unhealthy`;
    /// empty is `no`.
    pub fn parse(text: &str) -> Result<Self, RestartError> {
        let (name, count) = match text.split_once(':') {
            Some(("", _)) => return Err(RestartError::NoPolicy),
            Some((name, count)) => (name, count),
            None => (text, ""),
        };
        let count = match count {
            "" => 0,
            count => parse_atoi(count).map_err(|_| RestartError::CountNotInteger)?,
        };
        let kind = match name {
            "" | "no" => RestartKind::No,
            "on-failure" => RestartKind::OnFailure,
            "always" => RestartKind::Always,
            "unless-stopped" => RestartKind::UnlessStopped,
            "on-unhealthy" => RestartKind::OnUnhealthy,
            other => return Err(RestartError::Unknown(other.to_owned())),
        };
        if kind != RestartKind::OnFailure && count != 0 {
            return Err(match count < 0 {
                true => RestartError::CountNotAllowedAndNegative,
                false => RestartError::CountNotAllowed,
            });
        }
        if count < 0 {
            return Err(RestartError::CountNegative);
        }
        let maximum_retries = u32::try_from(count).map_err(|_| RestartError::CountTooLarge)?;
        Ok(Self {
            kind,
            maximum_retries,
        })
    }

    /// The policy's name without the count, as Docker's API has it.
    pub fn name(&self) -> &'static str {
        match self.kind {
            RestartKind::No => "no",
            RestartKind::OnFailure => "on-failure",
            RestartKind::Always => "always",
            RestartKind::UnlessStopped => "unless-stopped",
            RestartKind::OnUnhealthy => "on-unhealthy",
        }
    }

    /// Whether a container that ended by itself is started again. `restarts` counts the starts by
    /// this policy so far. An unknown exit code must be given as a failure.
    pub fn wants_restart(&self, exit_code: i32, restarts: u32) -> bool {
        match self.kind {
            RestartKind::No => false,
            RestartKind::Always | RestartKind::UnlessStopped | RestartKind::OnUnhealthy => true,
            RestartKind::OnFailure => {
                exit_code != 0 && (self.maximum_retries == 0 || restarts < self.maximum_retries)
            }
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())?;
        match self.maximum_retries {
            0 => Ok(()),
            count => write!(formatter, ":{count}"),
        }
    }
}

/// The wait before the next start: 100 ms, doubled each time up to a minute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartBackoff {
    last_ns: i64,
}

impl RestartBackoff {
    /// The wait after a run of `uptime_ns`.
    pub fn next_wait_ns(&mut self, uptime_ns: i64) -> i64 {
        let after_long_run = uptime_ns >= BACKOFF_RESET_AFTER_NS;
        self.last_ns = match self.last_ns {
            0 => BACKOFF_FIRST_NS,
            _ if after_long_run => BACKOFF_FIRST_NS,
            last => last.saturating_mul(2).min(BACKOFF_MAX_NS),
        };
        self.last_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_print_as_they_are_read() {
        for text in [
            "no",
            "on-failure",
            "on-failure:3",
            "always",
            "unless-stopped",
        ] {
            assert_eq!(RestartPolicy::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(RestartPolicy::parse("").unwrap(), RestartPolicy::default());
        assert_eq!(
            RestartPolicy::parse("always:0").unwrap().to_string(),
            "always"
        );
    }

    #[test]
    fn bad_policies_have_the_words_of_docker() {
        for (text, want) in [
            (
                ":1",
                "invalid restart policy format: no policy provided before colon",
            ),
            (
                "on-failure:x",
                "invalid restart policy format: maximum retry count must be an integer",
            ),
            (
                "sometimes",
                "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', \
                 'on-failure', or 'unless-stopped'",
            ),
            (
                "always:2",
                "invalid restart policy: maximum retry count can only be used with 'on-failure'",
            ),
            (
                "on-failure:-1",
                "invalid restart policy: maximum retry count cannot be negative",
            ),
            (
                "on-failure:4294967296",
                "invalid restart policy: maximum retry count is too large",
            ),
        ] {
            assert_eq!(RestartPolicy::parse(text).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn policies_decide_by_exit_code_and_count() {
        let policy = |text| RestartPolicy::parse(text).unwrap();
        assert!(!policy("no").wants_restart(1, 0));
        assert!(policy("always").wants_restart(0, 1_000_000));
        assert!(!policy("on-failure").wants_restart(0, 0));
        assert!(policy("on-failure").wants_restart(1, u32::MAX));
        assert!(policy("on-failure:2").wants_restart(1, 1));
        assert!(!policy("on-failure:2").wants_restart(1, 2));
    }

    #[test]
    fn waits_double_up_to_a_minute_and_start_again_after_a_long_run() {
        let mut backoff = RestartBackoff::default();
        let waits: Vec<i64> = (0..12)
            .map(|_| backoff.next_wait_ns(0) / MILLISECOND_NS)
            .collect();
        let want = [
            100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000,
        ];
        assert_eq!(waits, want);
        assert_eq!(
            backoff.next_wait_ns(BACKOFF_RESET_AFTER_NS),
            BACKOFF_FIRST_NS
        );
        assert_eq!(backoff.next_wait_ns(i64::MIN), 2 * BACKOFF_FIRST_NS);
    }
}
