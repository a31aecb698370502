//! Who `--user` means inside a root file system: `uid|name[:gid|group]`, and `--group-add`.
//!
//! The files are the image's or the running container's own and may hold anything. What must stay
//! true: a number is never looked up as a name, whatever its size (CVE-2024-40635); nothing that
//! cannot be understood becomes 0 (CVE-2026-30892); reading is bounded and never blocks
//! (CVE-2026-47262, CVE-2024-9676). The words of the errors are Docker's.
//!
//! [`resolve`] is pure; [`resolve_in`] reads the two files for it.

use std::path::Path;

use sys::rootfs::{Dir, RootError};

use crate::failure::Failure;
use crate::launch::UserRequest;

/// As much of a number out of range as an error shows.
const NUMBER_SHOWN_MAX: usize = 30;
/// Size of `/etc/passwd` and `/etc/group` that is read.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longer lines are skipped.
const LINE_BYTES_MAX: usize = 256 * 1024;
/// What the kernel takes (`NGROUPS_MAX`).
const GROUPS_MAX: usize = 65536;
/// The greatest user or group id.
const ID_MAX: u64 = 0x7fff_ffff;

/// A user that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups, the primary one first (CVE-2022-36109), none twice.
    pub groups: Vec<u32>,
    /// Home directory; `/` where the passwd file does not say.
    pub home: String,
}

/// Why a user cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// A name without an entry.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// A name without an entry.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// A number that no kernel id can hold.
    #[error("uids and gids must be in range 0-2147483647, not {0}")]
    Range(String),
    /// The kernel's limit.
    #[error("user {0} is in more than {GROUPS_MAX} groups")]
    TooManyGroups(String),
    /// A file that is not a regular one, or too large.
    #[error("cannot look up user {user:?}")]
    Unreadable {
        /// The user as asked for.
        user: String,
        /// What is wrong with the file.
        source: RootError,
    },
}

impl From<UserError> for Failure {
    fn from(error: UserError) -> Self {
        Self::setup(crate::start::chain(&error))
    }
}

/// Finds the user of `request` within `root`. A file that cannot be read is an error where a name
/// must be looked up in it, and like an absent one where numbers say everything: a program in the
/// container must not be able to lock its administrator out.
///
/// # Errors
/// Names that are not there, numbers out of range, files that cannot be read.
pub fn resolve_in(root: &Dir, request: &UserRequest) -> Result<ResolvedUser, UserError> {
    let is_name =
        |text: &str| !text.is_empty() && !matches!(Wanted::parse(text), Ok(Wanted::Number(_)));
    let (user, group) = request.user.split_once(':').unwrap_or((&request.user, ""));
    let needs_groups = is_name(group) || request.groups.iter().any(|text| is_name(text));
    let read =
        |path: &str, is_needed: bool| match root.read_limited(Path::new(path), FILE_BYTES_MAX) {
            Ok(bytes) => Ok(bytes),
            Err(source) if is_needed && !source.is_not_found() => Err(UserError::Unreadable {
                user: request.user.clone(),
                source,
            }),
            Err(_) => Ok(Vec::new()),
        };
    let passwd = read("/etc/passwd", is_name(user))?;
    let group = read("/etc/group", needs_groups)?;
    resolve(&request.user, &request.groups, &passwd, &group)
}

/// Finds the user of `spec` (empty: root) and of the further groups `group_add` in the two files.
///
/// # Errors
/// Names that are not there and numbers out of range.
pub fn resolve(
    spec: &str,
    group_add: &[String],
    passwd: &[u8],
    group: &[u8],
) -> Result<ResolvedUser, UserError> {
    let (user_text, group_text) = spec.split_once(':').unwrap_or((spec, ""));
    let user = Wanted::parse(if user_text.is_empty() { "0" } else { user_text })?;
    let entry = find_user(passwd, &user);
    let (uid, mut gid) = match (&entry, &user) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Wanted::Number(uid)) => (*uid, 0),
        (None, Wanted::Name(name)) => return Err(UserError::NoUser((*name).to_string())),
    };
    let mut groups = Vec::new();
    if group_text.is_empty() {
        if let Some(entry) = &entry {
            groups = groups_of(group, entry.name);
        }
    } else {
        gid = find_group(group, group_text)?;
    }
    groups.insert(0, gid);
    for name in group_add {
        groups.push(find_group(group, name)?);
    }
    let mut seen = std::collections::BTreeSet::new();
    groups.retain(|gid| seen.insert(*gid));
    if groups.len() > GROUPS_MAX {
        return Err(UserError::TooManyGroups(spec.to_string()));
    }
    let home = entry.and_then(|entry| std::str::from_utf8(entry.home).ok());
    let home = home
        .filter(|home| !home.is_empty() && !home.contains('\0'))
        .unwrap_or("/");
    Ok(ResolvedUser {
        uid,
        gid,
        groups,
        home: home.to_string(),
    })
}

/// A user or group as asked for.
enum Wanted<'a> {
    Number(u32),
    Name(&'a str),
}

impl<'a> Wanted<'a> {
    /// Digits are a number, and one out of range is an error, not a name; so is a negative one.
    fn parse(text: &'a str) -> Result<Self, UserError> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Name(text));
        }
        id(text.as_bytes())
            .map(Self::Number)
            .ok_or_else(|| UserError::Range(text.chars().take(NUMBER_SHOWN_MAX).collect()))
    }
}

/// A line of the passwd file.
struct UserEntry<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

/// The first entry that matches, as in Docker.
fn find_user<'a>(passwd: &'a [u8], wanted: &Wanted<'_>) -> Option<UserEntry<'a>> {
    lines(passwd).find_map(|line| {
        // name:password:uid:gid:comment:home:shell
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = id(fields.nth(1)?)?;
        let gid = id(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        let matches = match wanted {
            Wanted::Number(number) => *number == uid,
            Wanted::Name(text) => text.as_bytes() == name,
        };
        matches.then_some(UserEntry {
            name,
            uid,
            gid,
            home,
        })
    })
}

/// A line of the group file: name, gid, members.
fn group_entry(line: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    // name:password:gid:members
    let mut fields = line.split(|byte| *byte == b':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let gid = id(fields.nth(1)?)?;
    Some((name, gid, fields.next().unwrap_or_default()))
}

/// A group by name or number; a number needs no entry.
fn find_group(group: &[u8], text: &str) -> Result<u32, UserError> {
    match Wanted::parse(text)? {
        Wanted::Number(gid) => Ok(gid),
        Wanted::Name(wanted) => lines(group)
            .filter_map(group_entry)
            .find(|(name, _, _)| *name == wanted.as_bytes())
            .map(|(_, gid, _)| gid)
            .ok_or_else(|| UserError::NoGroup(text.to_string())),
    }
}

/// The groups that list `user` as a member.
fn groups_of(group: &[u8], user: &[u8]) -> Vec<u32> {
    let entries = lines(group).filter_map(group_entry);
    let listed = |members: &[u8]| {
        members
            .split(|byte| *byte == b',')
            .any(|member| member == user)
    };
    let groups = entries
        .filter(|(_, _, members)| listed(members))
        .map(|(_, gid, _)| gid);
    // One more than is allowed is enough to see that it is too much.
    groups.take(GROUPS_MAX + 1).collect()
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = file
        .split(|byte| *byte == b'\n')
        .filter(|line| line.len() <= LINE_BYTES_MAX);
    lines
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
}

/// Plain digits within the range of ids.
fn id(text: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(text)
        .ok()
        .filter(|text| !text.starts_with(['+', '-']))?;
    let number: u64 = digits.parse().ok()?;
    (number <= ID_MAX).then_some(number as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"# a comment\nroot:x:0:0:root:/root:/bin/sh\n\n\
        daemon:x:1:1::/usr/sbin:\n  web:x:1000:1001:Web,,,:/home/web:/bin/sh\n\
        1234:x:77:78::/home/digits:\nshort:x:5:6\nbroken\nnouid:x::9::/:\n\
        big:x:4294967296:0::/:\nminus:x:-1:0::/:\nplus:x:+0:0::/:\nrange:x:2147483648:0::/:\n\
        web:x:0:0::/second:\nhomeless:x:50:51:::\n:x:60:60::/noname:\n";
    const GROUP: &[u8] =
        b"root:x:0:\ndaemon:x:1:web,root\nweb:x:1001:\naudio:x:63:alice, web,web\n\
        video:x:44:bob,web\n5678:x:90:\nbadgid:x:x:web\nhuge:x:4294967296:web\n";

    fn find(spec: &str) -> Result<ResolvedUser, String> {
        resolve(spec, &[], PASSWD, GROUP).map_err(|error| error.to_string())
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        for (spec, uid, gid, groups, home) in [
            ("", 0, 0, &[0, 1][..], "/root"),
            ("root", 0, 0, &[0, 1], "/root"),
            ("0", 0, 0, &[0, 1], "/root"),
            ("web", 1000, 1001, &[1001, 1, 63, 44], "/home/web"),
            ("1000", 1000, 1001, &[1001, 1, 63, 44], "/home/web"),
            ("web:", 1000, 1001, &[1001, 1, 63, 44], "/home/web"),
            ("web:daemon", 1000, 1, &[1], "/home/web"),
            ("web:63", 1000, 63, &[63], "/home/web"),
            ("4000", 4000, 0, &[0], "/"),
            ("4000:4001", 4000, 4001, &[4001], "/"),
            (
                "2147483647:2147483647",
                0x7fff_ffff,
                0x7fff_ffff,
                &[0x7fff_ffff],
                "/",
            ),
            (":5", 0, 5, &[5], "/root"),
            (":", 0, 0, &[0, 1], "/root"),
            ("short", 5, 6, &[6], "/"),
            ("homeless", 50, 51, &[51], "/"),
            ("001000", 1000, 1001, &[1001, 1, 63, 44], "/home/web"),
        ] {
            let groups = groups.to_vec();
            let home = home.to_string();
            assert_eq!(
                find(spec),
                Ok(ResolvedUser {
                    uid,
                    gid,
                    groups,
                    home
                }),
                "{spec}"
            );
        }
    }

    /// CVE-2024-40635, CVE-2026-46680: a number beyond the range fell back to a name, or to 0.
    /// CVE-2026-30892: a spec was parsed in part.
    #[test]
    fn what_is_not_understood_never_becomes_root() {
        let range = "uids and gids must be in range 0-2147483647";
        let passwd = b"2147483648:x:0:0::/:\n4294967295:x:0:0::/:\n4294967296:x:0:0::/:\n\
            99999999999:x:0:0::/:\n-1:x:0:0::/:\n+0:x:0:0::/:\n\
            99999999999999999999999999:x:0:0::/:\n";
        for spec in [
            "2147483648",
            "4294967295",
            "4294967296",
            "99999999999",
            "18446744073709551616",
            "99999999999999999999999999",
            "-1",
            "0:2147483648",
            "0:4294967296",
            "web:-1",
        ] {
            for passwd in [&passwd[..], PASSWD, b""] {
                let error = resolve(spec, &[], passwd, GROUP).unwrap_err().to_string();
                let unknown = spec.starts_with("web") && passwd != PASSWD;
                assert!(error.starts_with(range) || unknown, "{spec}: {error}");
            }
        }
        for spec in [
            " 0", "0 ", "1000x", "0x0", "+0", "nouid", "big", "minus", "plus", "range", "Web",
            "no such", "broken", "x\0", "-", "#", "0.0",
        ] {
            let expected =
                format!("unable to find user {spec}: no matching entries in passwd file");
            assert_eq!(find(spec), Err(expected));
        }
        // Digits are a uid even where a user has that name.
        assert_eq!(find("1234").unwrap().uid, 1234);
        assert_eq!(find("web:5678").unwrap().gid, 5678);
        for (spec, group) in [
            ("web:nosuch", "nosuch"),
            ("0:1001:2", "1001:2"),
            ("0:badgid", "badgid"),
            ("0:huge", "huge"),
        ] {
            let expected =
                format!("unable to find group {group}: no matching entries in group file");
            assert_eq!(find(spec), Err(expected));
        }
    }

    #[test]
    fn further_groups_are_names_or_numbers_and_none_is_twice() {
        let add = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            resolve("web", &names, PASSWD, GROUP)
                .map(|user| user.groups)
                .map_err(|e| e.to_string())
        };
        assert_eq!(
            add(&["video", "daemon", "70000"]),
            Ok(vec![1001, 1, 63, 44, 70000])
        );
        assert_eq!(add(&["root", "0"]), Ok(vec![1001, 1, 63, 44, 0]));
        assert!(
            add(&["nosuch"])
                .unwrap_err()
                .contains("unable to find group nosuch")
        );
        assert!(add(&[""]).is_err());
        assert!(add(&["2147483648"]).unwrap_err().contains("in range"));
    }

    #[test]
    fn hostile_files_are_survived() {
        let mut passwd = vec![b'a'; LINE_BYTES_MAX + 1];
        passwd.extend_from_slice(
            b":x:0:0::/:\n\0\0:x:0:0\n:::::::\n\xff\xfe:x:8:8::/\xff:\nok:x:7:8::/ok:\n",
        );
        let user = resolve("ok", &[], &passwd, &[b','; 100_000]).unwrap();
        assert_eq!((user.uid, user.gid, user.home.as_str()), (7, 8, "/ok"));
        assert_eq!(resolve("8", &[], &passwd, b"").unwrap().home, "/");
        let long = "a".repeat(LINE_BYTES_MAX + 1);
        assert!(resolve(&long, &[], &passwd, b"").is_err());
        let many: String = (1..=70_000)
            .map(|gid| format!("g{gid}:x:{gid}:ok\n"))
            .collect();
        let error = resolve("ok", &[], &passwd, many.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains("more than 65536 groups"), "{error}");
    }

    /// CVE-2024-9676, CVE-2026-47262: a FIFO blocked, a sparse file of 4 GiB filled the memory.
    #[test]
    fn files_that_are_no_files_are_refused_at_once() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let path = std::env::temp_dir().join(format!("caisson-users-{}", std::process::id()));
        let etc = path.join("etc");
        std::fs::create_dir_all(&etc).unwrap();
        let request = |user: &str| UserRequest {
            user: user.into(),
            groups: Vec::new(),
        };
        let root = Dir::open(&path).unwrap();
        assert_eq!(resolve_in(&root, &request("7")).unwrap().uid, 7);
        assert!(
            resolve_in(&root, &request("web"))
                .unwrap_err()
                .to_string()
                .contains("web")
        );

        let passwd = etc.join("passwd");
        let refuse = || {
            let failure = Failure::from(resolve_in(&root, &request("web")).unwrap_err());
            std::fs::remove_file(&passwd).unwrap();
            failure.text
        };
        mknodat(CWD, &passwd, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
        assert!(refuse().contains("/etc/passwd"));
        std::fs::File::create(&passwd)
            .unwrap()
            .set_len(4 << 30)
            .unwrap();
        assert!(refuse().contains("File too large"));
        std::os::unix::fs::symlink("/proc/kmsg", &passwd).unwrap();
        // Within the root there is no such file.
        assert!(refuse().contains("unable to find user web"));
        std::fs::write(&passwd, PASSWD).unwrap();
        std::fs::write(etc.join("group"), GROUP).unwrap();
        assert_eq!(resolve_in(&root, &request("web:audio")).unwrap().gid, 63);
        std::fs::remove_dir_all(&path).unwrap();
    }
}
