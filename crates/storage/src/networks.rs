//! Network records: what each network was asked to be, in a directory of its own.
//!
//! ```text
//! networks/<name>/record      written once at creation; owner: engine
//!                /addresses   who has which address     /names /owners   what leads where
//! ```
//! The directory's name is the network's, so that a name is taken by one rename. A network is made
//! under `tmp/` and removed by a rename back to it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sys::SysError;
use sys::atomic::{self, Durability};
use sys::lock::Lock;
use types::json::Fault;

use crate::error::StorageError;
use crate::store::{Store, remove_tree};
use crate::trash::{Fate, TrashKind};

/// The version of the record that this program writes.
pub const RECORD_VERSION: u32 = 1;
const RECORD: &str = "record";
const RECORD_BYTES_MAX: u64 = 1 << 20;
/// A name is a directory's, and part of others' names.
const NAME_BYTES_MAX: usize = 200;

/// What a network was made to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkRecord {
    /// Version of this document.
    pub version: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// `bridge`.
    pub driver: String,
    /// Its bridge's name.
    pub bridge: String,
    /// MTU of its links.
    pub mtu: u32,
    /// Its subnets, IPv4 first.
    pub subnets: Vec<SubnetRecord>,
    /// Subnets were chosen by us.
    pub has_chosen_subnets: bool,
    /// Nothing in from outside, nothing out.
    pub internal: bool,
    /// IPv6 was asked for.
    pub ipv6: bool,
    /// Accepted for Docker's sake.
    pub attachable: bool,
    /// `--opt`.
    pub options: BTreeMap<String, String>,
    /// `--ipam-opt`.
    pub ipam_options: BTreeMap<String, String>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
}

/// One subnet of a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubnetRecord {
    /// `172.18.0.0/24`.
    pub subnet: String,
    /// The host's address in it.
    pub gateway: String,
    /// The part to choose addresses from, or empty.
    pub ip_range: String,
    /// Names and addresses that are never given.
    pub auxiliary: BTreeMap<String, String>,
}

/// Why a network cannot be made or found.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Another one has the name.
    #[error("network with name {0} already exists")]
    NameTaken(String),
    /// A prefix of several ids.
    #[error("network {0} is ambiguous: several ids begin so")]
    Ambiguous(String),
    /// There is none.
    #[error("network {0} not found")]
    Missing(String),
    /// A record that cannot be read.
    #[error(
        "the record of network {name} is damaged ({fault}); `caisson network rm {name}` removes it"
    )]
    Damaged {
        /// The network.
        name: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A name that is none.
    #[error(
        "invalid network name \"{0}\": only letters, digits, '_', '.' and '-' are allowed, a letter or \
         digit first"
    )]
    Name(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StorageError),
    /// The disk.
    #[error(transparent)]
    Sys(#[from] SysError),
}

type Result<T> = std::result::Result<T, NetworkError>;

/// Whether a text may name a network.
///
/// # Errors
/// [`NetworkError::Name`].
pub fn check_network_name(name: &str) -> Result<()> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let fits = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(is_word)
        && name.len() <= NAME_BYTES_MAX;
    match fits {
        true => Ok(()),
        false => Err(NetworkError::Name(name.to_owned())),
    }
}

impl Store {
    /// The directory of a network.
    pub fn network_directory(&self, name: &str) -> PathBuf {
        self.path("networks").join(name)
    }

    /// Makes a network; all networks must be locked.
    ///
    /// # Errors
    /// [`NetworkError::NameTaken`].
    pub fn create_network(&self, record: &NetworkRecord, _lock: &Lock) -> Result<()> {
        check_network_name(&record.name)?;
        let half_made = self.tmp_named(&record.id)?;
        let directory = atomic::open_directory(half_made.path())?;
        let bytes = serde_json::to_vec(record).expect("invariant: records have JSON forms");
        atomic::write_new_at(&directory, RECORD, &bytes, Durability::Synced)?;
        sys::fail::point("storage.network.described");
        let target = self.network_directory(&record.name);
        match rustix::fs::rename(half_made.path(), &target) {
            Ok(()) => {}
            Err(Errno::EXIST | Errno::NOTEMPTY) => {
                return Err(NetworkError::NameTaken(record.name.clone()));
            }
            Err(errno) => {
                return Err(SysError::new("publish", target.display().to_string(), errno).into());
            }
        }
        drop(half_made.into_lock());
        atomic::sync_directory(atomic::open_directory(&self.path("networks"))?)?;
        sys::fail::point("storage.network.published");
        Ok(())
    }

    /// The network of a name.
    ///
    /// # Errors
    /// [`NetworkError::Missing`], or a damaged record.
    pub fn network(&self, name: &str) -> Result<NetworkRecord> {
        if check_network_name(name).is_err() {
            return Err(NetworkError::Missing(name.to_owned()));
        }
        let damaged = |fault| NetworkError::Damaged {
            name: name.to_owned(),
            fault,
        };
        let directory = self.network_directory(name);
        let bytes = match atomic::read_limited(&directory.join(RECORD), RECORD_BYTES_MAX) {
            // It comes and goes with its record.
            Err(error) if error.errno == Errno::NOENT => match directory.exists() {
                true => return Err(damaged(Fault::of_whole("it is gone"))),
                false => return Err(NetworkError::Missing(name.to_owned())),
            },
            Err(error) if atomic::is_no_file(&error) => {
                return Err(damaged(Fault::of_whole(error.to_string())));
            }
            other => other?,
        };
        types::json::read(&bytes).map_err(damaged)
    }

    /// All networks, by name, but for damaged ones.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn networks(&self) -> Result<Vec<NetworkRecord>> {
        self.networks_and_damage().map(|(all, _)| all)
    }

    /// All networks, by name, and what is wrong with those that cannot be read.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn networks_and_damage(&self) -> Result<(Vec<NetworkRecord>, Vec<NetworkError>)> {
        use sys::Context;
        let path = self.path("networks");
        let entries = std::fs::read_dir(&path).on("list", path.display())?;
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let (mut all, mut damaged) = (Vec::new(), Vec::new());
        for name in names {
            match self.network(&name) {
                Ok(record) => all.push(record),
                // One that is being removed is none any more.
                Err(NetworkError::Missing(_)) => {}
                Err(error) => damaged.push(error),
            }
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok((all, damaged))
    }

    /// Finds a network by name, id or unique beginning of an id, in Docker's order.
    ///
    /// # Errors
    /// [`NetworkError::Missing`] or [`NetworkError::Ambiguous`].
    pub fn find_network(&self, key: &str) -> Result<NetworkRecord> {
        match self.network(key) {
            Err(NetworkError::Missing(_)) => {}
            other => return other,
        }
        let is_hex = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex {
            return Err(NetworkError::Missing(key.to_owned()));
        }
        let all = self.networks()?;
        let mut matching = all.into_iter().filter(|record| record.id.starts_with(key));
        match (matching.next(), matching.next()) {
            (Some(record), None) => Ok(record),
            (Some(_), Some(_)) => Err(NetworkError::Ambiguous(key.to_owned())),
            (None, _) => Err(NetworkError::Missing(key.to_owned())),
        }
    }

    /// Waits for the lock of all networks, under which subnets and bridges' names are chosen, and
    /// nobody else makes a network. Whoever wants a network's own lock too takes that first.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn lock_networks(&self) -> Result<Lock> {
        Ok(Lock::acquire_directory(&self.path("networks"))?)
    }

    /// Waits for the lock of a network, which serialises what makes and removes its bridge.
    ///
    /// # Errors
    /// [`NetworkError::Missing`] where it is gone.
    pub fn lock_network(&self, name: &str) -> Result<Lock> {
        let path = self.network_directory(name);
        match atomic::open_directory(&path) {
            Err(error) if error.errno == Errno::NOENT => {
                Err(NetworkError::Missing(name.to_owned()))
            }
            other => {
                let lock = Lock::acquire_fd(other?)?;
                match path.exists() {
                    true => Ok(lock),
                    false => Err(NetworkError::Missing(name.to_owned())),
                }
            }
        }
    }

    /// Replaces a record; the network must be locked.
    ///
    /// # Errors
    /// The disk's answer; the old record is then still there.
    pub fn update_network(&self, record: &NetworkRecord) -> Result<()> {
        let bytes = serde_json::to_vec(record).expect("invariant: records have JSON forms");
        let path = self.network_directory(&record.name).join(RECORD);
        Ok(atomic::write(&path, &bytes, Durability::Synced)?)
    }

    /// Removes a network; it must be locked.
    ///
    /// # Errors
    /// The disk's answer.
    pub fn remove_network(&self, record: &NetworkRecord, _lock: &Lock, fate: Fate) -> Result<()> {
        use sys::Context;
        let directory = self.network_directory(&record.name);
        if fate == Fate::Kept
            && self
                .put_into_trash(&directory, TrashKind::Network, &record.name)
                .is_some()
        {
            return Ok(());
        }
        let taken = self.path("tmp").join(&record.id);
        rustix::fs::rename(&directory, &taken).on("remove", directory.display())?;
        sys::fail::point("storage.network.taken");
        Ok(remove_tree(&taken)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: char, name: &str) -> NetworkRecord {
        NetworkRecord {
            version: RECORD_VERSION,
            id: id.to_string().repeat(64),
            name: name.into(),
            ..Default::default()
        }
    }

    #[test]
    fn networks_are_made_found_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s"), &directory.path().join("r")).unwrap();
        let all = store.lock_networks().unwrap();
        store.create_network(&record('a', "one"), &all).unwrap();
        store.create_network(&record('b', "two"), &all).unwrap();
        let again = store.create_network(&record('c', "one"), &all);
        assert!(matches!(again, Err(NetworkError::NameTaken(_))));
        assert_eq!(store.find_network("bbb").unwrap().name, "two");
        for name in ["", "..", "-x", "a/b", "none-such"] {
            assert!(store.find_network(name).is_err(), "{name}");
        }
        assert!(store.create_network(&record('d', "../x"), &all).is_err());
        let lock = store.lock_network("one").unwrap();
        store
            .remove_network(&record('a', "one"), &lock, Fate::Erased)
            .unwrap();
        drop(lock);
        assert_eq!(store.networks().unwrap().len(), 1);
        assert_eq!(std::fs::read_dir(store.path("tmp")).unwrap().count(), 0);
    }
}
