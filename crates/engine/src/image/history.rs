//! `history`: the steps that made an image, the newest first.

use types::digest::Digest;
use types::timestamp::Timestamp;

use super::ImageContext;
use super::error::Result;
use super::inspect::read_config;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// The image's id for the newest step; `None` is `<missing>`.
    pub id: Option<Digest>,
    /// When it was done.
    pub created: Option<Timestamp>,
    /// The instruction.
    pub created_by: String,
    /// Bytes of the layer that it made.
    pub size_bytes: u64,
    /// What its author says.
    pub comment: String,
    /// Familiar names of the image, for the newest step.
    pub tags: Vec<String>,
}

/// The steps of the image that a name or id means.
///
/// # Errors
/// `No such image`, or where its documents cannot be read.
pub fn history(context: &ImageContext<'_>, name: &str) -> Result<Vec<HistoryRow>> {
    let id = context.find(name)?.id;
    let record = context.store().image(&id)?;
    let config = read_config(context, &id)?;
    let mut sizes = record.layers.iter().map(|layer| layer.size_bytes);
    let mut rows: Vec<HistoryRow> = config
        .history
        .iter()
        .map(|entry| HistoryRow {
            id: None,
            created: entry
                .created
                .as_deref()
                .and_then(|text| Timestamp::parse_rfc3339(text).ok()),
            created_by: entry.created_by.clone(),
            size_bytes: if entry.empty_layer {
                0
            } else {
                sizes.next().unwrap_or_default()
            },
            comment: entry.comment.clone(),
            tags: Vec::new(),
        })
        .collect();
    // Layers that the history forgot are somebody's work as well.
    rows.extend(sizes.map(|size_bytes| HistoryRow {
        id: None,
        created: None,
        created_by: String::new(),
        size_bytes,
        comment: String::new(),
        tags: Vec::new(),
    }));
    rows.reverse();
    if let Some(newest) = rows.first_mut() {
        // A damaged reference of another image is no reason to tell nothing of this one.
        let (records, _) = context.store().references_and_damage()?;
        newest.tags = records
            .iter()
            .filter(|record| record.image == id)
            .filter_map(|record| record.reference.as_ref())
            .filter(|name| name.tag().is_some())
            .map(|name| name.familiar())
            .collect();
        newest.id = Some(id);
    }
    Ok(rows)
}
