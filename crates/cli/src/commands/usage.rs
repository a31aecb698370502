//! `system df`: what takes space, and what could be freed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use engine::storage_trash::TrashKind;
use engine::{Engine, EngineError};
use types::digest::Digest;
use types::timestamp::Timestamp;

use super::list;
use crate::errors;
use crate::flags::Invocation;
use crate::flags::parse::Program;
use crate::output::rows::Clock;
use crate::output::rows::containers::ListFlags;
use crate::output::rows::disk_usage::{CacheRow, DiskUsage, KeptRow, disk_usage};
use crate::output::rows::images::ImageRow;

pub(crate) fn system_df(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let clock = Clock::local(Timestamp::now().unix_ns() as i64);
    let usage = match gather(engine, invocation.program, &clock) {
        Ok(usage) => usage,
        Err(error) => {
            errors::report(invocation.program, &error);
            return ExitCode::from(1);
        }
    };
    let matches = &invocation.matches;
    let flags = ListFlags {
        format: matches.get_str("format"),
        ..ListFlags::default()
    };
    super::print_list(disk_usage(
        &usage,
        flags,
        matches.get_bool("verbose"),
        &clock,
    ))
}

fn gather(engine: &Engine, program: Program, clock: &Clock) -> Result<DiskUsage, EngineError> {
    let (containers, damaged) = engine.containers_and_damage()?;
    super::name_damaged(program, damaged, ExitCode::SUCCESS);
    let (volumes, damaged) = engine.store().volumes_and_damage()?;
    let damaged = damaged.into_iter().map(EngineError::from);
    super::name_damaged(program, damaged, ExitCode::SUCCESS);
    let mut images = super::image::rows_with_users(engine, program, &containers)?;
    let layers_bytes = share(engine, &mut images);
    let second = |text: &str| list::time_ns(text).map(|ns| ns / 1_000_000_000);
    let cache = engine.build_cache()?.into_iter().map(|record| CacheRow {
        created_s: second(&record.created).unwrap_or(0),
        last_used_s: second(&record.last_used),
        id: record.id,
        parents: Vec::new(),
        kind: record.kind,
        description: record.description,
        in_use: record.in_use,
        is_shared: record.is_shared,
        size_bytes: whole(record.size_bytes),
        usage_count: whole(record.usage_count),
    });
    let kept = engine.kept().into_iter().map(|kept| KeptRow {
        is_volume: kept.kind() == TrashKind::Volume,
        size_bytes: whole(kept.bytes),
    });
    Ok(DiskUsage {
        layers_bytes,
        images,
        containers: containers
            .iter()
            .map(|stored| list::row(engine, stored, clock, true))
            .collect(),
        volumes: volumes
            .iter()
            .map(|record| super::volume::row(engine, record, true))
            .collect(),
        build_cache: cache.collect(),
        kept: kept.collect(),
    })
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Fills in what each image shares with others; returns the bytes of all layers, each once.
fn share(engine: &Engine, images: &mut [ImageRow]) -> i64 {
    let record = |id: &str| engine.store().image(&Digest::parse(id).ok()?).ok();
    let mut users: BTreeMap<Digest, (u64, usize)> = BTreeMap::new();
    let mut layers_of = Vec::with_capacity(images.len());
    for image in images.iter() {
        let layers = record(&image.id).map_or_else(Vec::new, |record| record.layers);
        let sizes = layers
            .into_iter()
            .map(|layer| (layer.diff_id, layer.size_bytes));
        let sizes: BTreeSet<(Digest, u64)> = sizes.collect();
        for (id, size) in &sizes {
            users.entry(id.clone()).or_insert((*size, 0)).1 += 1;
        }
        layers_of.push(sizes);
    }
    for (image, layers) in images.iter_mut().zip(&layers_of) {
        let is_shared = |id: &Digest| users.get(id).is_some_and(|(_, count)| *count > 1);
        let shared = layers.iter().filter(|(id, _)| is_shared(id));
        image.shared_size_bytes = whole(shared.map(|(_, size)| size).sum());
    }
    whole(users.values().map(|(size, _)| size).sum())
}
