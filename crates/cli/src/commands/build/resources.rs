//! `--resource`: limits of programs as Docker's build client names them, which are flags of the same name.

use crate::flags::Matches;

const LIMITS: [&str; 7] = [
    "cpu-period",
    "cpu-quota",
    "cpu-shares",
    "cpuset-cpus",
    "cpuset-mems",
    "memory",
    "memory-swap",
];

/// The command line with each `--resource NAME=VALUE` as `--NAME VALUE`.
pub(super) fn as_flags(matches: &Matches) -> Result<Matches, String> {
    let mut all = matches.clone();
    for text in matches.get_list("resource") {
        let bad = |why: &str| format!("invalid --resource {text:?}: {why}");
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let known = LIMITS.iter().find(|known| **known == name);
        let known = known.ok_or_else(|| bad(&format!("it is one of {}", LIMITS.join(", "))))?;
        all = all.with(known, value).map_err(|why| bad(&why))?;
    }
    Ok(all)
}
