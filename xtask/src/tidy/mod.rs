//! The house's own rules, checked: what formatting, clippy and the compiler do not ask.
//!
//! Every rule adds its faults to one list, so that a run names all that is wrong.

pub(crate) mod binary;
mod dependencies;
mod edges;
mod fuzzed;
mod listed;
mod pages;
pub(crate) mod promises;
mod sizes;
mod source;
mod words;

use anyhow::bail;

use crate::house;

/// Checks everything; `--shrink` tightens the ratchet, `--accept` admits what is too large today.
pub(crate) fn command(words: &[&str]) -> anyhow::Result<()> {
    let update = match words {
        [] => sizes::Update::None,
        ["--shrink"] => sizes::Update::Shrink,
        ["--accept"] => sizes::Update::Accept,
        other => bail!("tidy does not know {other:?}"),
    };
    let metadata = house::metadata()?;
    let sources = source::read_all()?;
    let mut faults = Vec::new();
    edges::check(&metadata, &mut faults)?;
    edges::check_lints(&mut faults)?;
    dependencies::check(&metadata, &mut faults)?;
    words::check(&sources, &mut faults);
    sizes::check(&sources, update, &mut faults)?;
    listed::check(&mut faults)?;
    fuzzed::check(&mut faults)?;
    promises::check(&mut faults)?;
    pages::check(&mut faults)?;
    if !faults.is_empty() {
        bail!("{} faults:\n{}", faults.len(), faults.join("\n"));
    }
    Ok(())
}
