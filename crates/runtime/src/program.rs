//! Finding the program to execute, with the words and exit codes that people know.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;
use sys::error::describe;

use crate::failure::{Failure, FailureKind};

/// The file that `name` means: itself where it holds a slash, else the first match in `PATH`.
///
/// Looked up with the process's final user, as the kernel will.
pub(crate) fn find(name: &str, environment: &[String]) -> Result<CString, Failure> {
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => c_string(name),
            Err(Errno::NOENT) => Err(missing(format!(
                "exec: \"{name}\": stat {name}: no such file or directory"
            ))),
            Err(errno) => Err(refused(name, errno)),
        };
    }
    let path = environment
        .iter()
        .find_map(|pair| pair.strip_prefix("PATH="))
        .unwrap_or("");
    for directory in path.split(':') {
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(name);
        if executable(&candidate).is_ok() {
            return CString::new(candidate.as_os_str().as_bytes())
                .map_err(|_| Failure::setup("the program's name holds a NUL byte"));
        }
    }
    Err(missing(format!(
        "exec: \"{name}\": executable file not found in $PATH"
    )))
}

/// The failure of `execve` itself on a file that was found.
pub(crate) fn exec_failure(path: &str, errno: Errno) -> Failure {
    match errno {
        Errno::NOENT => missing(format!(
            "exec {path}: no such file or directory (the file is there: its interpreter or \
             loader is missing in the image)"
        )),
        Errno::NOEXEC => Failure {
            kind: FailureKind::NotExecutable,
            text: format!(
                "exec {path}: exec format error (a program for another architecture, or a script \
                 without #! line)"
            ),
        },
        errno => refused(path, errno),
    }
}

fn missing(text: String) -> Failure {
    Failure {
        kind: FailureKind::NotFound,
        text,
    }
}

fn refused(name: &str, errno: Errno) -> Failure {
    let text = format!("exec: \"{name}\": {}", describe(errno).to_lowercase());
    let kind = match errno {
        Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG => FailureKind::NotFound,
        _ => FailureKind::NotExecutable,
    };
    Failure { kind, text }
}

fn c_string(name: &str) -> Result<CString, Failure> {
    CString::new(name).map_err(|_| Failure::setup("the program's name holds a NUL byte"))
}

fn executable(path: &Path) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    // With the effective user, whom exec will ask for; a file without any x bit is refused even to root.
    match rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        // Not from a file, but from a filter that is there already: exec itself will say.
        Err(Errno::PERM | Errno::NOSYS) if stat.st_mode & 0o111 != 0 => Ok(()),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_127_and_a_directory_126() {
        let environment = vec!["PATH=/nope:/bin".to_string()];
        assert_eq!(find("sh", &environment).unwrap(), c"/bin/sh".to_owned());
        for (name, kind, words) in [
            (
                "no-such",
                FailureKind::NotFound,
                "executable file not found in $PATH",
            ),
            (
                "/no/such",
                FailureKind::NotFound,
                "no such file or directory",
            ),
            ("/etc", FailureKind::NotExecutable, "is a directory"),
            (
                "/etc/passwd",
                FailureKind::NotExecutable,
                "permission denied",
            ),
        ] {
            let failure = find(name, &environment).unwrap_err();
            assert_eq!(failure.kind, kind, "{name}");
            assert!(failure.text.contains(words), "{name}: {}", failure.text);
        }
    }
}
