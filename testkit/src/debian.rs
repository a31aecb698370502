//! Debian root file systems to run real programs from.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;

/// Tried again, since a mirror that stumbles once is not what the tests are about. Whoever comes second
/// waits and finds it.
const MAKE: &str = r#"
set -eu
exec 9> "$1.lock"; flock 9; [ ! -e "$1" ] || exit 0
made=$1.new; trap 'rm -f "$made"' EXIT
bootstrap() {
    set -- --variant=minbase --format=tar --aptopt='Acquire::Retries "5"' --include="$1"
    [ -z "$offline" ] || set -- "$@" \
        --customize-hook='chroot "$1" apt-get update -qq' \
        --customize-hook="chroot \"\$1\" apt-get -yqq --download-only --no-install-recommends install $offline" \
        --customize-hook='mkdir "$1/repo"; mv "$1"/var/cache/apt/archives/*.deb "$1/repo/"; cd "$1/repo"; for d in *.deb; do dpkg-deb -f $d; printf "Filename: ./%s\nSize: %s\nSHA256: %s\n\n" $d $(stat -c %s $d) $(sha256sum $d | cut -d" " -f1); done > Packages' \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/etc/apt/sources.list.d/*; echo "deb [trusted=yes] file:/repo ./" > "$1/etc/apt/sources.list"'
    mmdebstrap --quiet "$@" bookworm "$made"
}
offline=$3
bootstrap "$2" || { sleep 5; bootstrap "$2"; } || { sleep 30; bootstrap "$2"; }
mv "$made" "$1"
"#;

/// An archive of a Debian with `packages` (separated by commas), which can install `offline` (separated by
/// blanks) from within itself, without a network. Made once on a machine, which takes a minute or two.
///
/// # Panics
///
/// If it cannot be made, with what was said.
pub fn debian(packages: &str, offline: &str) -> PathBuf {
    let mut hasher = std::hash::DefaultHasher::new();
    (MAKE, packages, offline).hash(&mut hasher);
    let path = PathBuf::from(format!(
        "/var/tmp/caisson-it-debian-{:x}.tar",
        hasher.finish()
    ));
    if !path.exists() {
        let mut command = Command::new("bash");
        command
            .args(["-c", MAKE, "debian"])
            .arg(&path)
            .args([packages, offline]);
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "cannot make a Debian of {packages}: {told}"
        );
    }
    path
}
