//! Which container has which address: a directory with one entry per address taken.
//!
//! An entry is a symbolic link named by the address whose target is the container's id. Making
//! one is a single step of the file system that fails where the name is taken, and the owner is in
//! it from the first moment, so a crash leaves neither a half-made entry nor a nameless one.

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags};
use rustix::io::Errno;
use sys::{Context, SysError};

use crate::subnet::{Prefix, SubnetError, free_address};

/// So many others may take the address that was free a moment ago before we give up.
const RACES_MAX: usize = 256;
/// An owner's name is an id, never longer.
const OWNER_BYTES_MAX: usize = 255;

/// Why an address could not be had.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The directory failed.
    #[error(transparent)]
    Directory(#[from] SysError),
    /// None is free.
    #[error(transparent)]
    None(#[from] SubnetError),
    /// It is another's.
    #[error("Address already in use: {address} (by {owner})")]
    InUse {
        /// The address.
        address: IpAddr,
        /// Who has it.
        owner: String,
    },
    /// It is no host's address of the network.
    #[error("the address {address} is not one of the network {subnet}")]
    Outside {
        /// The address.
        address: IpAddr,
        /// The network.
        subnet: Prefix,
    },
    /// An owner's name that is none.
    #[error("invalid owner of an address: {0}")]
    Owner(String),
}

/// An address that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The address.
    pub address: IpAddr,
    /// Who has it.
    pub owner: String,
}

/// Where free addresses are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    /// The network.
    pub subnet: Prefix,
    /// The part of it to choose from (`--ip-range`).
    pub range: Option<Prefix>,
    /// Never given: the gateway, auxiliary addresses.
    pub excluded: &'a [IpAddr],
}

/// One network's reservations.
#[derive(Debug)]
pub struct Addresses {
    directory: OwnedFd,
    path: String,
}

impl Addresses {
    /// Opens the directory, which is made where it is missing (its parent is there).
    ///
    /// # Errors
    /// The failed step.
    pub fn open(path: &Path) -> Result<Self, SysError> {
        match rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).on("create", path.display()),
        }
        Ok(Self {
            directory: sys::atomic::open_directory(path)?,
            path: path.display().to_string(),
        })
    }

    /// Takes the lowest free address.
    ///
    /// # Errors
    /// [`AddressError::None`] where the pool is used up.
    pub fn reserve_any(&self, pool: &Pool<'_>, owner: &str) -> Result<IpAddr, AddressError> {
        let mut taken: HashSet<IpAddr> = self.list()?.into_iter().map(|it| it.address).collect();
        taken.extend(pool.excluded);
        for _ in 0..RACES_MAX {
            let address = free_address(pool.subnet, pool.range, &taken)?;
            match self.take(address, owner) {
                Err(AddressError::InUse { .. }) => taken.insert(address),
                other => return other.map(|()| address),
            };
        }
        Err(SubnetError::Full(pool.subnet).into())
    }

    /// Takes one address; that its owner has it already is fine.
    ///
    /// # Errors
    /// [`AddressError::InUse`], [`AddressError::Outside`].
    pub fn reserve(
        &self,
        pool: &Pool<'_>,
        address: IpAddr,
        owner: &str,
    ) -> Result<(), AddressError> {
        if !pool.subnet.is_host(address) {
            let subnet = pool.subnet;
            return Err(AddressError::Outside { address, subnet });
        }
        if pool.excluded.contains(&address) {
            let owner = "the network itself".to_owned();
            return Err(AddressError::InUse { address, owner });
        }
        match self.take(address, owner) {
            Err(AddressError::InUse { owner: other, .. }) if other == owner => Ok(()),
            other => other,
        }
    }

    fn take(&self, address: IpAddr, owner: &str) -> Result<(), AddressError> {
        let valid = (1..=OWNER_BYTES_MAX).contains(&owner.len())
            && owner
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if !valid {
            return Err(AddressError::Owner(owner.to_owned()));
        }
        match rustix::fs::symlinkat(owner, &self.directory, address.to_string()) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(AddressError::InUse {
                address,
                owner: self.owner(&address.to_string())?.unwrap_or_default(),
            }),
            Err(errno) => Err(SysError::new("reserve", address.to_string(), errno).into()),
        }
    }

    /// Gives an address back, if it is this owner's.
    ///
    /// # Errors
    /// The directory failed.
    pub fn release(&self, address: IpAddr, owner: &str) -> Result<(), SysError> {
        let name = address.to_string();
        if self.owner(&name)?.as_deref() == Some(owner) {
            self.remove(&name)?;
        }
        Ok(())
    }

    /// Every address that is taken, lowest first. Entries that name no address are not ours.
    ///
    /// # Errors
    /// The directory failed.
    pub fn list(&self) -> Result<Vec<Reservation>, SysError> {
        // A descriptor of its own: the position within a directory belongs to the open file.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let again = rustix::fs::openat(&self.directory, ".", flags, Mode::empty())
            .on("read", &self.path)?;
        let mut found = Vec::new();
        for entry in Dir::new(again).on("read", &self.path)? {
            let entry = entry.on("read", &self.path)?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            let Ok(address) = name.parse::<IpAddr>() else {
                continue;
            };
            if let Some(owner) = self.owner(name)? {
                found.push(Reservation { address, owner });
            }
        }
        found.sort_unstable_by_key(|it| it.address);
        Ok(found)
    }

    /// Gives back every address whose owner is gone; returns them. For leftovers of a crash.
    ///
    /// # Errors
    /// The directory failed.
    pub fn sweep(&self, is_gone: impl Fn(&str) -> bool) -> Result<Vec<Reservation>, SysError> {
        let mut swept = self.list()?;
        swept.retain(|reservation| is_gone(&reservation.owner));
        for reservation in &swept {
            self.remove(&reservation.address.to_string())?;
        }
        Ok(swept)
    }

    fn owner(&self, name: &str) -> Result<Option<String>, SysError> {
        match rustix::fs::readlinkat(&self.directory, name, Vec::new()) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            // Given back a moment ago, or no link.
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno).on("read", format!("{}/{name}", self.path)),
        }
    }

    fn remove(&self, name: &str) -> Result<(), SysError> {
        match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno).on("remove", format!("{}/{name}", self.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static GATEWAY: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1))];

    fn pool(subnet: &str) -> Pool<'static> {
        Pool {
            subnet: subnet.parse().unwrap(),
            range: None,
            excluded: &GATEWAY,
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_taken_once_released_by_their_owner_and_swept() {
        let root = tempfile::tempdir().unwrap();
        let addresses = Addresses::open(&root.path().join("addresses")).unwrap();
        let pool = pool("10.0.0.0/29");
        let got: Vec<_> = ["a", "b", "c"]
            .map(|owner| addresses.reserve_any(&pool, owner).unwrap().to_string())
            .to_vec();
        assert_eq!(got, ["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
        addresses.reserve(&pool, address("10.0.0.3"), "b").unwrap();
        let cases = [
            ("10.0.0.3", "Address already in use: 10.0.0.3 (by b)"),
            (
                "10.0.0.1",
                "Address already in use: 10.0.0.1 (by the network itself)",
            ),
            (
                "10.0.0.7",
                "the address 10.0.0.7 is not one of the network 10.0.0.0/29",
            ),
            (
                "10.0.1.2",
                "the address 10.0.1.2 is not one of the network 10.0.0.0/29",
            ),
        ];
        for (wanted, message) in cases {
            let error = addresses.reserve(&pool, address(wanted), "d").unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        addresses.release(address("10.0.0.3"), "other").unwrap();
        assert_eq!(addresses.list().unwrap().len(), 3);
        addresses.release(address("10.0.0.3"), "b").unwrap();
        addresses.release(address("10.0.0.3"), "b").unwrap();
        assert_eq!(
            addresses.reserve_any(&pool, "d").unwrap(),
            address("10.0.0.3")
        );
        let swept = addresses.sweep(|owner| owner != "d").unwrap();
        assert_eq!(swept.len(), 2);
        let left = addresses.list().unwrap();
        assert_eq!((left.len(), left[0].owner.as_str()), (1, "d"));
        for owner in ["", "a/b", "a b", &"x".repeat(256)] {
            assert!(addresses.reserve_any(&pool, owner).is_err(), "{owner}");
        }
    }

    #[test]
    fn threads_that_race_get_different_addresses() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("addresses");
        let got: HashSet<IpAddr> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|number| {
                    let path = &path;
                    scope.spawn(move || {
                        let addresses = Addresses::open(path).unwrap();
                        let pool = pool("10.0.0.0/24");
                        let owner = format!("owner{number}");
                        std::array::from_fn::<_, 16, _>(|_| {
                            addresses.reserve_any(&pool, &owner).unwrap()
                        })
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|it| it.join().unwrap())
                .collect()
        });
        assert_eq!(got.len(), 128);
    }
}
