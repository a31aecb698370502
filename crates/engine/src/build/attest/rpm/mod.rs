//! The packages that rpm put into a root file system.
//!
//! rpm has had three databases. All keep each package's header as it stands in the package, and every byte
//! of them comes from whoever made the image: a reader here never reads more in all than the file is long,
//! visits no page twice, and a file that makes no sense is told of and left.

mod berkeley;
mod ndb;
mod sqlite;

use super::sbom::{Found, Source, WORD_BYTES_MAX};

/// Where databases are: what rpm itself says, what it said before, and that of systems made of trees.
const DIRECTORIES: [&str; 3] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm", "/usr/share/rpm"];
/// The database of a desktop with 3000 packages has 200 MiB.
const DATABASE_BYTES_MAX: usize = 256 << 20;
const DAMAGED: &str = "it is no database of rpm, or damaged";

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCHITECTURE: u32 = 1022;
const KIND_INT32: u32 = 4;
const KIND_STRING: u32 = 6;
const ENTRY_BYTES: usize = 16;
/// Keys that somebody imported lie among the packages under this name.
const KEY: &str = "gpg-pubkey";

/// A package, as its header has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) name: String,
    /// Version and release.
    pub(crate) version: String,
    pub(crate) epoch: Option<u32>,
    pub(crate) architecture: String,
}

/// Who takes the headers of a database.
type Take<'a> = dyn FnMut(&[u8]) + 'a;

/// Hands over every package of every database, with the database's path.
pub(super) fn find(
    source: &Source<'_>,
    found: &mut Found,
    mut take: impl FnMut(Installed, &str, &mut Found),
) {
    for directory in DIRECTORIES {
        // rpm has one of them; what a change of the kind left behind is older.
        for name in ["rpmdb.sqlite", "Packages.db", "Packages"] {
            let path = format!("{directory}/{name}");
            let Some(bytes) = source.read(&path, DATABASE_BYTES_MAX, found) else {
                continue;
            };
            let log = match name {
                "rpmdb.sqlite" => source.read(&format!("{path}-wal"), DATABASE_BYTES_MAX, found),
                _ => None,
            };
            if let Err(reason) = packages(bytes, &log.unwrap_or_default(), |package| {
                take(package, &path, found);
            }) {
                found.leave_out(format!("{path}: {reason}"));
            }
            break;
        }
    }
}

/// The packages of a database of any kind; `log` is what SQLite has not put into its file yet.
pub(crate) fn packages(
    bytes: Vec<u8>,
    log: &[u8],
    mut take: impl FnMut(Installed),
) -> Result<(), &'static str> {
    let mut is_whole = true;
    let mut take = |bytes: &[u8]| match header(bytes) {
        Some(package) if package.name == KEY => {}
        Some(package) => take(package),
        None => is_whole = false,
    };
    let read = if bytes.is_empty() && log.is_empty() {
        Some(())
    } else if bytes.starts_with(ndb::MAGIC) {
        ndb::headers(&bytes, &mut take)
    } else if bytes.starts_with(sqlite::MAGIC) || bytes.is_empty() {
        sqlite::headers(bytes, log, &mut take)
    } else {
        berkeley::headers(&bytes, &mut take)
    };
    read.filter(|()| is_whole).ok_or(DAMAGED)
}

/// A header: how many entries, how many bytes they point into, both.
fn header(bytes: &[u8]) -> Option<Installed> {
    let entries = size(be32(bytes, 0)?).checked_mul(ENTRY_BYTES)?;
    let (entries, rest) = bytes.get(8..)?.split_at_checked(entries)?;
    let data = rest.get(..size(be32(bytes, 4)?))?;
    let mut package = Installed::default();
    let mut release = String::new();
    for entry in entries.chunks_exact(ENTRY_BYTES) {
        let (kind, offset) = (be32(entry, 4)?, size(be32(entry, 8)?));
        let place = match be32(entry, 0)? {
            NAME => &mut package.name,
            VERSION => &mut package.version,
            RELEASE => &mut release,
            ARCHITECTURE => &mut package.architecture,
            EPOCH if kind == KIND_INT32 => {
                package.epoch = Some(be32(data, offset)?);
                continue;
            }
            _ => continue,
        };
        if kind != KIND_STRING {
            return None;
        }
        let text = data.get(offset..)?;
        let text = text.get(..=WORD_BYTES_MAX).unwrap_or(text);
        let end = text.iter().position(|byte| *byte == 0)?;
        *place = String::from_utf8_lossy(text.get(..end)?).into_owned();
    }
    if !release.is_empty() {
        package.version = format!("{}-{release}", package.version);
    }
    (!package.name.is_empty()).then_some(package)
}

/// A number of 32 bits as a size.
fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_be_bytes)
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// Made by rpm 4.18 of two packages of its own `rpmbuild`.
    const SQLITE: &[u8] = include_bytes!("../../../../tests/data/rpm/rpmdb.sqlite.gz");
    /// The same headers, one of them in many rows, in pages of 512 bytes: trees of several levels and
    /// headers on many pages. Nine more rows are in the log alone; eight were removed there.
    const SMALL: &[u8] = include_bytes!("../../../../tests/data/rpm/small.sqlite.gz");
    const SMALL_LOG: &[u8] = include_bytes!("../../../../tests/data/rpm/small.sqlite-wal.gz");
    /// The same headers, made by `db_load` of Berkeley DB 5.3 as a hash with pages of 512 bytes.
    const BERKELEY: &[u8] = include_bytes!("../../../../tests/data/rpm/Packages.gz");

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let compression = storage::compression::Compression::Gzip;
        let mut all = Vec::new();
        let mut reader = storage::compression::decode_as(compression, bytes).unwrap();
        reader.read_to_end(&mut all).unwrap();
        all
    }

    fn read(bytes: Vec<u8>, log: &[u8]) -> (Vec<String>, bool) {
        let mut names = Vec::new();
        let result = packages(bytes, log, |package| {
            let epoch = package.epoch.map(|epoch| format!("{epoch}:"));
            let (name, version) = (package.name, package.version);
            let architecture = package.architecture;
            names.push(format!(
                "{name} {}{version} {architecture}",
                epoch.unwrap_or_default()
            ));
        });
        names.sort();
        (names, result.is_ok())
    }

    const BOTH: [&str; 2] = ["second 1.2.3-4 noarch", "tiny 2:1.2.3-4 noarch"];

    #[test]
    fn rpms_own_database_is_read() {
        let (names, is_whole) = read(unpacked(SQLITE), &[]);
        assert!(is_whole);
        assert_eq!(names, BOTH);
    }

    #[test]
    fn what_sqlite_has_only_in_its_log_counts() {
        let (without, is_whole) = read(unpacked(SMALL), &[]);
        assert!(is_whole);
        assert_eq!(without.len(), 41);
        let (names, is_whole) = read(unpacked(SMALL), &unpacked(SMALL_LOG));
        assert!(is_whole);
        assert_eq!(names.len(), 42);
        let seconds = |names: &[String]| names.iter().filter(|name| *name == BOTH[0]).count();
        assert_eq!((seconds(&without), seconds(&names)), (1, 10));
        // A log that was torn off counts up to its last commit, one of another file not at all.
        let log = unpacked(SMALL_LOG);
        let (torn, is_whole) = read(unpacked(SMALL), &log[..log.len() - 1]);
        assert!(is_whole);
        assert_eq!(torn.len(), 50);
        let mut other = log;
        other[17] ^= 1;
        assert_eq!(read(unpacked(SMALL), &other).0.len(), 41);
    }

    #[test]
    fn berkeleys_hash_is_read() {
        let (names, is_whole) = read(unpacked(BERKELEY), &[]);
        assert!(is_whole);
        assert_eq!(names, BOTH);
    }

    /// SUSE's kind, which no tool of Debian writes: made here, as rpm's `rpmpkg.c` says.
    fn ndb() -> Vec<u8> {
        let mut headers = Vec::new();
        let mut take = |bytes: &[u8]| headers.push(bytes.to_vec());
        sqlite::headers(unpacked(SQLITE), &[], &mut take).unwrap();
        let mut bytes = [b"RpmP".as_slice(), &[0; 4], &[1, 0, 0, 0], &[1, 0, 0, 0]].concat();
        bytes.resize(4096, 0);
        for (number, header) in headers.iter().enumerate() {
            let start = bytes.len();
            let index = u32::try_from(number + 1).unwrap().to_le_bytes();
            let length = u32::try_from(header.len()).unwrap().to_le_bytes();
            bytes.extend([b"BlbS".as_slice(), &index, &[1, 0, 0, 0], &length, header].concat());
            bytes.resize(bytes.len().next_multiple_of(16) + 16, 0);
            let blocks = u32::try_from((bytes.len() - start) / 16).unwrap();
            let block = u32::try_from(start / 16).unwrap().to_le_bytes();
            let slot = [b"Slot".as_slice(), &index, &block, &blocks.to_le_bytes()].concat();
            bytes[32 + 16 * number..][..16].copy_from_slice(&slot);
        }
        bytes
    }

    #[test]
    fn suses_list_is_read() {
        let (names, is_whole) = read(ndb(), &[]);
        assert!(is_whole);
        assert_eq!(names, BOTH);
    }

    /// Fedora's place, a link to it as Fedora has one, and a place with something else under the name.
    #[test]
    fn databases_are_found_and_what_is_none_is_told_of() {
        let place = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = place.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        write("usr/lib/sysimage/rpm/rpmdb.sqlite", &unpacked(SQLITE));
        write("usr/lib/sysimage/rpm/Packages", b"older");
        write("usr/share/rpm/Packages", b"no database");
        write("etc/os-release", b"ID=fedora\nVERSION_ID=40\n");
        std::fs::create_dir(place.path().join("var")).unwrap();
        std::fs::create_dir(place.path().join("var/lib")).unwrap();
        let link = place.path().join("var/lib/rpm");
        std::os::unix::fs::symlink("../../usr/lib/sysimage/rpm", link).unwrap();
        let root = sys::rootfs::Dir::open(place.path()).unwrap();
        let found = super::super::sbom::find(&root);
        let urls: Vec<&str> = found.packages.iter().map(|one| one.url.as_str()).collect();
        assert_eq!(
            urls,
            [
                "pkg:rpm/fedora/second@1.2.3-4?arch=noarch&distro=fedora-40",
                "pkg:rpm/fedora/tiny@1.2.3-4?arch=noarch&distro=fedora-40&epoch=2"
            ]
        );
        let told = format!("/usr/share/rpm/Packages: {DAMAGED}");
        assert_eq!(found.left_out, [told]);
    }

    /// Byte after byte is another one: no panic, no endless loop, and never more than there is.
    #[test]
    fn damaged_databases_end() {
        let small = unpacked(SMALL);
        let log = unpacked(SMALL_LOG);
        for whole in [ndb(), unpacked(BERKELEY), small.clone()] {
            for at in (0..whole.len().min(6000)).step_by(3) {
                for value in [0, 0xff] {
                    let mut bytes = whole.clone();
                    bytes[at] = value;
                    let (names, _) = read(bytes, &[]);
                    assert!(names.len() <= 64);
                }
            }
            for length in (0..whole.len()).step_by(397) {
                read(whole[..length].to_vec(), &[]);
            }
        }
        for at in 0..log.len().min(100) {
            let mut damaged = log.clone();
            damaged[at] ^= 0xff;
            read(small.clone(), &damaged);
        }
    }

    #[test]
    fn headers_that_lie_are_refused() {
        let endless = [0xff; 64];
        assert_eq!(header(&endless), None);
        // An entry that points behind the data, and a name without end.
        let entry = |offset: u8, data: &[u8]| {
            let mut bytes = vec![0, 0, 0, 1, 0, 0, 0, u8::try_from(data.len()).unwrap()];
            bytes.extend([0, 0, 3, 0xe8, 0, 0, 0, 6, 0, 0, 0, offset, 0, 0, 0, 1]);
            bytes.extend(data);
            header(&bytes)
        };
        assert_eq!(entry(9, b"name\0"), None);
        assert_eq!(entry(0, b"name"), None);
        assert_eq!(entry(0, b"name\0").unwrap().name, "name");
    }
}
