//! The user's time zone, as `TZ` or the machine tells it.

use std::path::{Path, PathBuf};

use types::zone::Zone;

const MACHINE: &str = "/etc/localtime";
const DIRECTORY: &str = "/usr/share/zoneinfo";
/// The largest of them has 4 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The zone of this process; UTC where what is asked for is not there.
pub fn local() -> Zone {
    let asked = std::env::var("TZ").ok();
    let path = match asked.as_deref().map(|text| text.trim_start_matches(':')) {
        None => PathBuf::from(MACHINE),
        Some("") => return Zone::default(),
        // A path, or a name beneath the directory; what climbs out of it is no name.
        Some(name) if name.split('/').any(|part| part == "..") => return Zone::default(),
        Some(name) => Path::new(DIRECTORY).join(name),
    };
    let bytes = sys::atomic::read_limited(&path, FILE_BYTES_MAX).ok();
    let zone = bytes.and_then(|bytes| Zone::parse(&bytes));
    zone.or_else(|| Zone::parse_rule(&asked?))
        .unwrap_or_default()
}

/// Seconds east of UTC now: what Docker takes for a time without a zone.
pub fn offset_s() -> i32 {
    let now = types::timestamp::Timestamp::now();
    local().at(now.unix_seconds()).offset_s
}
