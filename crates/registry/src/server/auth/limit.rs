//! Too many wrong passwords: refused for a while, by name and by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// So many wrong ones are free …
const FREE: u32 = 10;
/// … within this time.
const WINDOW: Duration = Duration::from_secs(300);
/// Names and addresses remembered at once.
const ENTRIES_MAX: usize = 10_000;

#[derive(PartialEq, Eq, Hash)]
enum Key {
    /// A name together with an address: nobody locks somebody else out from elsewhere.
    User(String, IpAddr),
    Address(IpAddr),
}

/// Counts of wrong passwords.
#[derive(Default)]
pub(crate) struct Logins(Mutex<HashMap<Key, (Instant, u32)>>);

impl Logins {
    /// How long this one is to wait, if at all.
    pub(crate) fn refused(&self, user: &str, peer: IpAddr) -> Option<Duration> {
        let counts = self
            .0
            .lock()
            .expect("invariant: nothing panics with this lock");
        let wait = |key: &Key, free: u32| {
            let (since, count) = counts.get(key)?;
            (*count >= free).then(|| WINDOW.checked_sub(since.elapsed()))?
        };
        // Many people may share an address.
        wait(&Key::User(user.to_owned(), peer), FREE)
            .or_else(|| wait(&Key::Address(peer), FREE * 10))
    }

    /// A password was wrong.
    pub(crate) fn failed(&self, user: &str, peer: IpAddr) {
        let mut counts = self
            .0
            .lock()
            .expect("invariant: nothing panics with this lock");
        if counts.len() >= ENTRIES_MAX {
            counts.retain(|_, (since, _)| since.elapsed() < WINDOW);
        }
        for key in [Key::User(user.to_owned(), peer), Key::Address(peer)] {
            let entry = counts.entry(key).or_insert((Instant::now(), 0));
            if entry.0.elapsed() >= WINDOW {
                *entry = (Instant::now(), 0);
            }
            entry.1 += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_wrong_passwords_are_enough_for_one_name_and_not_for_another() {
        let logins = Logins::default();
        let peer = IpAddr::from([127, 0, 0, 1]);
        for _ in 0..FREE {
            assert!(logins.refused("alice", peer).is_none());
            logins.failed("alice", peer);
        }
        assert!(logins.refused("alice", peer).is_some());
        assert!(logins.refused("bob", peer).is_none());
        assert!(
            logins
                .refused("alice", IpAddr::from([10, 0, 0, 1]))
                .is_none()
        );
    }
}
