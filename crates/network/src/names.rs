//! Which name leads where on one network: directories that the resolvers of all containers read.
//!
//! ```text
//! names/<name>/<owner>     a link whose target is the addresses, `172.18.0.2 fd00::2`
//! owners/<owner>           a link whose target is the owner's first name, for the way back
//! ```
//! Looking a name up opens one small directory, so nothing is cached and every change is seen at
//! once, by every process.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sys::{Context, SysError};

/// A name's length in the DNS.
const NAME_BYTES_MAX: usize = 253;
/// So many containers share a name at most.
const OWNERS_MAX: usize = 1024;
const RACES_MAX: usize = 64;

/// One network's names.
#[derive(Clone, Debug)]
pub struct Names {
    names: PathBuf,
    owners: PathBuf,
}

impl Names {
    /// Those of the network whose directory is given.
    pub fn of(network: &Path) -> Self {
        Self {
            names: network.join("names"),
            owners: network.join("owners"),
        }
    }

    /// Gives an owner its names; the first is what its addresses lead back to. May run twice.
    ///
    /// # Errors
    /// The directory failed.
    pub fn add(&self, owner: &str, names: &[String], addresses: &[IpAddr]) -> Result<(), SysError> {
        for directory in [&self.names, &self.owners] {
            make_directory(directory)?;
        }
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let target = texts.join(" ");
        for name in names.iter().filter_map(|name| canonical(name)) {
            self.add_one(&name, owner, &target)?;
        }
        match names.first() {
            Some(first) => link(first, &self.owners.join(owner)),
            None => Ok(()),
        }
    }

    fn add_one(&self, name: &str, owner: &str, target: &str) -> Result<(), SysError> {
        let directory = self.names.join(name);
        for _ in 0..RACES_MAX {
            make_directory(&directory)?;
            match link(target, &directory.join(owner)) {
                // Its last owner has just gone, and the directory with it.
                Err(error) if error.errno == Errno::NOENT => {}
                other => return other,
            }
        }
        Err(SysError::new("name", name, Errno::BUSY))
    }

    /// Takes an owner's names away; those that it has not are fine.
    pub fn remove(&self, owner: &str, names: &[String]) {
        let _ = rustix::fs::unlink(self.owners.join(owner));
        for name in names.iter().filter_map(|name| canonical(name)) {
            let directory = self.names.join(name);
            let _ = rustix::fs::unlink(directory.join(owner));
            // Refused while others have the name.
            let _ = rustix::fs::rmdir(&directory);
        }
    }

    /// The addresses behind a name; `None` where nobody has it.
    pub fn look_up(&self, name: &str) -> Option<Vec<IpAddr>> {
        let directory = self.names.join(canonical(name)?);
        let entries = std::fs::read_dir(directory).ok()?;
        let mut addresses = Vec::new();
        for entry in entries.flatten().take(OWNERS_MAX) {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let target = target.to_string_lossy();
            addresses.extend(
                target
                    .split(' ')
                    .filter_map(|text| text.parse::<IpAddr>().ok()),
            );
        }
        (!addresses.is_empty()).then_some(addresses)
    }

    /// The first name of an owner.
    pub fn name_of(&self, owner: &str) -> Option<String> {
        let target = std::fs::read_link(self.owners.join(owner)).ok()?;
        target.into_os_string().into_string().ok()
    }
}

/// As it is kept: lower case, no final dot; `None` where it can be no file's name.
fn canonical(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let fits = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && !name.contains(['/', '\0']);
    fits.then_some(name)
}

fn make_directory(path: &Path) -> Result<(), SysError> {
    match rustix::fs::mkdir(path, rustix::fs::Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        other => other.on("make", path.display()),
    }
}

fn link(target: &str, path: &Path) -> Result<(), SysError> {
    match rustix::fs::symlink(target, path) {
        Err(Errno::EXIST) => {}
        other => return other.on("make", path.display()),
    }
    rustix::fs::unlink(path).on("replace", path.display())?;
    rustix::fs::symlink(target, path).on("make", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_addresses_until_they_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let names = Names::of(directory.path());
        let one: IpAddr = "10.0.0.2".parse().unwrap();
        let two: IpAddr = "10.0.0.3".parse().unwrap();
        let both = ["Web".to_owned(), "app".to_owned()];
        names
            .add("1", &both, &[one, "fd00::2".parse().unwrap()])
            .unwrap();
        names
            .add("2", &["db".to_owned(), "app".to_owned()], &[two])
            .unwrap();
        names
            .add("2", &["db".to_owned(), "app".to_owned()], &[two])
            .unwrap();
        assert_eq!(names.look_up("WEB.").unwrap().len(), 2);
        let mut shared = names.look_up("app").unwrap();
        shared.sort();
        assert_eq!(shared[..2], [one, two]);
        assert_eq!(names.name_of("1").as_deref(), Some("Web"));
        names.remove("1", &both);
        assert_eq!((names.look_up("web"), names.name_of("1")), (None, None));
        assert_eq!(names.look_up("app").unwrap(), [two]);
        for odd in ["", ".", "..", "../x", "a/b", "-nobody"] {
            assert_eq!(names.look_up(odd), None, "{odd}");
        }
    }
}
