//! Real Dockerfiles of the corpus, built: each that copies nothing of a context and fetches nothing, on a
//! busybox that stands in for its bases.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use testkit::{Sandbox, can_run, check_in};

/// Fewer than so many would prove little.
const FILES_MIN: usize = 130;
/// What fetches, or runs what only its own base has.
const NEEDS_MORE: [&str; 24] = [
    "curl",
    "wget",
    "git clone",
    "pip install",
    "pip3 install",
    "npm ",
    "go get",
    "go mod",
    "go install",
    "go build",
    "cargo",
    "apk ",
    "yum",
    "dnf",
    "gem ",
    "yarn",
    "mvn",
    "gradle",
    "http://",
    "https://",
    "apt-get",
    "apt ",
    "cabal ",
    "pwsh",
];
/// Ends of the names of those that are not built here, and why.
const EXCEPTIONS: [(&str, &[&str]); 8] = [
    (
        "BuildKit refuses them as well, with the same words",
        &[
            "test_from_multistage_capital",
            "arg-scope__Containerfile.stage-overrides-header-copy-from",
            "copy-from-stage-scoped-arg__Containerfile",
            "copy-from-stage-scoped-arg__Containerfile.multi-copy-arg-override",
            "multi-stage-builds__Dockerfile.arg_in_copy",
            "arg-build-stages-and-chained-build-stages",
            "base-with-arg__Containerfile",
            "copy-multistage-paths__Dockerfile.invalid_from",
            "testdata__Dockerfile.env",
            "unrecognized__Dockerfile",
        ],
    ),
    (
        "Podman's own: a mount option, a device that is always there",
        &["buildkit-mount__Dockerfile", "device__Dockerfile"],
    ),
    (
        "their bases are named by arguments",
        &[
            "test_meta_arg",
            "test_arg_two_level",
            "header-builtin__Dockerfile",
            "all-platform__Containerfile.default-arg",
            "multiarch__Dockerfile.fail-multistage",
        ],
    ),
    (
        "they need secrets or agents",
        &[
            "TestBuildSecrets__Dockerfile",
            "TestBuildDependentImageWithProfile__Dockerfile",
            "run-mounts__Dockerfile.secret-required-false",
            "run-mounts__Dockerfile.secret-access",
            "run-mounts__Dockerfile.secret-options",
            "run-mounts__Dockerfile.secret",
            "run-mounts__Dockerfile.ssh",
            "run-mounts__Dockerfile.ssh_access",
            "secret-relative__Dockerfile",
        ],
    ),
    (
        "they use files or programs of their bases or contexts",
        &[
            "test_hardlink",
            "Dockerfile.shellcheck",
            "testdata__Dockerfile.shell",
            "shell__Dockerfile.build-shell-custom",
            "copy-globs__Dockerfile",
            "copy-from__Dockerfile",
            "empty-intermediate-build-stage",
            "bud__workdir-symlink__Dockerfile",
            "group__Containerfile",
            "heredoc_copy",
            "use-layers__Dockerfile.5",
            "copy-multistage-paths__Dockerfile.relative",
            "testdata__mount__Dockerfile",
            "shfmt.Dockerfile",
            ".devcontainer__Dockerfile",
        ],
    ),
    (
        "they expect a volume to make its directory at once, which BuildKit does not",
        &["volume-perms__Dockerfile", "bud__symlink__Dockerfile"],
    ),
    (
        "a user by name where there is no passwd file",
        &["test_workdir_with_user"],
    ),
    ("it sleeps", &["long-sleep__Dockerfile"]),
];

#[test]
fn real_dockerfiles_are_built_on_stand_ins() {
    let Some(folder) = testkit::corpus::corpus("dockerfiles").filter(|_| can_run()) else {
        return;
    };
    let mut files = Vec::new();
    collect(&folder, &mut files);
    files.sort();
    let mut script = "ip link set lo up; mkdir empty\n\
        b() { f=$1; shift; timeout 60 caisson build --network host -f \"$f\" \"$@\" empty </dev/null >/dev/null 2>log || { echo \"$f\"; tail -n 12 log; touch failed; }; }\n"
        .to_owned();
    let mut count = 0;
    for path in &files {
        let name = path.to_string_lossy();
        let mut exceptions = EXCEPTIONS.iter().flat_map(|(_, names)| *names);
        let Ok(text) = std::fs::read_to_string(path) else {
            continue;
        };
        if exceptions.any(|end| name.ends_with(end)) {
            continue;
        }
        if let Some(bases) = bases(&text) {
            count += 1;
            write!(script, "b '{name}'").expect("a string");
            for base in bases {
                write!(script, " --build-context '{base}=docker-image://busybox'")
                    .expect("a string");
            }
            script.push('\n');
        }
    }
    assert!(count >= FILES_MIN, "only {count} files");
    println!("{count} Dockerfiles");
    check_in(
        &Sandbox::new(),
        &format!("cat > s.sh <<'EOS'\n{script}[ ! -e failed ]\nEOS\nunshare -n bash s.sh"),
    );
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => collect(&path, files),
            path => files.push(path),
        }
    }
}

/// The images that a Dockerfile begins with; nothing where it needs more than them.
fn bases(text: &str) -> Option<BTreeSet<String>> {
    if NEEDS_MORE.iter().any(|word| text.contains(word)) {
        return None;
    }
    let mut bases = BTreeSet::new();
    let mut stages = BTreeSet::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default().to_ascii_lowercase();
        match first.as_str() {
            "copy" | "add" if !line.contains("--from") && !line.contains("<<") => return None,
            "from" => {
                let mut words = words.skip_while(|word| word.starts_with("--"));
                let base = words.next()?.to_owned();
                if words
                    .next()
                    .is_some_and(|word| word.eq_ignore_ascii_case("as"))
                {
                    stages.insert(words.next()?.to_ascii_lowercase());
                }
                bases.insert(base);
            }
            _ => {}
        }
    }
    bases.retain(|base| {
        base != "scratch" && !base.contains('$') && !stages.contains(&base.to_ascii_lowercase())
    });
    (!text.trim().is_empty() && text.to_ascii_lowercase().contains("from ")).then_some(bases)
}
