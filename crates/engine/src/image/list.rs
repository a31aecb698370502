//! `images`: one row per name.

use std::collections::{BTreeMap, BTreeSet};

use storage::images::ImageSummary;
use storage::refs::RefRecord;
use types::digest::Digest;
use types::filter::Filters;
use types::reference::Reference;
use types::timestamp::Timestamp;

use super::ImageContext;
use super::error::{ImageError, Result};
use super::glob;

/// The keys that `--filter` of `images` knows.
pub const FILTER_KEYS: [&str; 6] = ["dangling", "label", "before", "since", "until", "reference"];

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// `REPOSITORY[:TAG]`, a pattern; `None` for all.
    pub name: Option<String>,
    /// `--filter`.
    pub filters: Filters,
}

/// An image under one of its names.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageRow {
    /// The image's id.
    pub id: Digest,
    /// The familiar repository name; `None` is `<none>`.
    pub repository: Option<String>,
    /// The tag; `None` is `<none>`.
    pub tag: Option<String>,
    /// What was fetched under that repository; `None` is `<none>`.
    pub digest: Option<Digest>,
    /// When the image was made.
    pub created: Option<Timestamp>,
    /// Bytes of its layers' files.
    pub size_bytes: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What `images` shows.
#[derive(Debug, Default)]
pub struct ImageList {
    /// One row per name, the rows of an image one after the other.
    pub rows: Vec<ImageRow>,
    /// What cannot be listed: damaged records, with what to do about each.
    pub damaged: Vec<ImageError>,
}

/// An image with all its names.
#[derive(Clone, Debug)]
pub(super) struct NamedImage {
    pub(super) summary: ImageSummary,
    pub(super) references: Vec<RefRecord>,
    /// When it was made.
    created: Option<Timestamp>,
}

impl NamedImage {
    pub(super) fn names(&self) -> impl Iterator<Item = (&Reference, &RefRecord)> {
        self.references.iter().filter_map(|record| {
            record
                .reference
                .as_ref()
                .map(|reference| (reference, record))
        })
    }

    /// An image without a tag, whatever digests it is known by.
    pub(super) fn is_dangling(&self) -> bool {
        self.names().next().is_none()
    }

    fn rows(&self) -> Vec<ImageRow> {
        let row = |reference: Option<&Reference>, digest: Option<Digest>| ImageRow {
            id: self.summary.id.clone(),
            repository: reference.map(Reference::familiar_name),
            tag: reference.and_then(Reference::tag).map(str::to_owned),
            digest,
            created: self.created,
            size_bytes: self.summary.size_bytes,
            labels: self.summary.labels(),
        };
        let mut rows = Vec::new();
        for (reference, record) in self.names() {
            let target = record.target.as_ref().map(|target| target.digest.clone());
            if reference.tag().is_some() {
                rows.push(row(Some(reference), target));
                continue;
            }
            let digest = reference.digest().cloned();
            // A digest that a tag of the same repository leads to needs no row of its own.
            let shown = self.names().any(|(other, other_record)| {
                other.tag().is_some()
                    && other.name() == reference.name()
                    && other_record.target.as_ref().map(|target| &target.digest) == digest.as_ref()
            });
            if !shown {
                rows.push(row(Some(reference), digest));
            }
        }
        if rows.is_empty() {
            rows.push(row(None, None));
        }
        rows
    }
}

/// Lists images, the newest first. A damaged record does not hide the others.
///
/// # Errors
/// A filter that is none, or where the store cannot be read.
pub fn list(context: &ImageContext<'_>, options: &ListOptions) -> Result<ImageList> {
    let filters = &options.filters;
    filters.check_keys(&FILTER_KEYS)?;
    let (images, damaged) = all(context)?;
    let matcher = Matcher::new(context, filters, &images)?;
    let mut rows = Vec::new();
    for image in images.iter().filter(|image| matcher.accepts(image)) {
        for row in image.rows() {
            let named = |pattern: &str| matches_name(&row, pattern);
            if options.name.as_deref().is_none_or(named) && filters.any("reference", named) {
                rows.push(row);
            }
        }
    }
    Ok(ImageList { rows, damaged })
}

/// Every image that a reference leads to, the newest first, and what is wrong with those that cannot be
/// read.
pub(super) fn all(context: &ImageContext<'_>) -> Result<(Vec<NamedImage>, Vec<ImageError>)> {
    let store = context.store();
    let (references, damaged) = store.references_and_damage()?;
    let mut damaged: Vec<ImageError> = damaged.into_iter().map(ImageError::from).collect();
    let mut by_image: BTreeMap<Digest, Vec<RefRecord>> = BTreeMap::new();
    for record in references {
        by_image
            .entry(record.image.clone())
            .or_default()
            .push(record);
    }
    let mut images = Vec::with_capacity(by_image.len());
    let mut summaries = store.image_summaries()?;
    for (id, references) in by_image {
        match summaries.read(&id) {
            Ok(summary) => images.push(NamedImage {
                created: Timestamp::parse_rfc3339(&summary.created).ok(),
                summary,
                references,
            }),
            // Removed while we listed.
            Err(storage::StorageError::NoSuchImage { .. }) => {}
            Err(error) => damaged.push(error.into()),
        }
    }
    images.sort_by(|a, b| {
        b.created
            .cmp(&a.created)
            .then_with(|| a.summary.id.cmp(&b.summary.id))
    });
    Ok((images, damaged))
}

/// The filters that concern an image as a whole.
pub(super) struct Matcher<'a> {
    filters: &'a Filters,
    dangling: Option<bool>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// Named by `before` and `since`: not listed themselves.
    bounds: BTreeSet<Digest>,
}

impl<'a> Matcher<'a> {
    pub(super) fn new(
        context: &ImageContext<'_>,
        filters: &'a Filters,
        images: &[NamedImage],
    ) -> Result<Self> {
        let mut bounds = BTreeSet::new();
        let mut bound = |key: &str| -> Result<Vec<Timestamp>> {
            let mut times = Vec::new();
            for text in filters.values(key) {
                let found = context.find(text)?;
                let image = images.iter().find(|image| image.summary.id == found.id);
                times.extend(image.and_then(|image| image.created));
                bounds.insert(found.id);
            }
            Ok(times)
        };
        let before = bound("before")?.into_iter().min();
        let since = bound("since")?.into_iter().max();
        let dangling = filters.contains("dangling");
        let dangling = dangling
            .then(|| filters.boolean("dangling", true))
            .transpose()?;
        let now = Timestamp::now();
        let mut until = None;
        for text in filters.values("until") {
            let time = Timestamp::parse_relative(text, now, crate::zone::offset_s());
            let time = time.map_err(|_| ImageError::Filter(filters.bad_value("until")))?;
            until = Some(until.map_or(time, |known: Timestamp| known.min(time)));
        }
        Ok(Self {
            filters,
            dangling,
            before,
            since,
            until,
            bounds,
        })
    }

    pub(super) fn accepts(&self, image: &NamedImage) -> bool {
        let created = image.created.unwrap_or(Timestamp::ZERO);
        self.dangling
            .is_none_or(|dangling| image.is_dangling() == dangling)
            && self.before.is_none_or(|bound| created < bound)
            && self.since.is_none_or(|bound| created > bound)
            && self.until.is_none_or(|bound| created < bound)
            && !self.bounds.contains(&image.summary.id)
            && (!self.filters.contains("label")
                || self
                    .filters
                    .matches_labels("label", &image.summary.labels()))
            && (!self.filters.contains("label!")
                || !self
                    .filters
                    .matches_labels("label!", &image.summary.labels()))
    }
}

/// A pattern is compared with the repository, and with repository and tag; `*` stops at a slash.
fn matches_name(row: &ImageRow, pattern: &str) -> bool {
    let Some(repository) = &row.repository else {
        return false;
    };
    // A full name means the same image as the familiar one.
    let familiar = Reference::parse_normalized(pattern)
        .ok()
        .map(|reference| reference.familiar());
    let pattern = familiar.as_deref().unwrap_or(pattern);
    let tagged = row.tag.as_ref().map(|tag| format!("{repository}:{tag}"));
    glob::matches(pattern, repository) || tagged.is_some_and(|name| glob::matches(pattern, &name))
}
