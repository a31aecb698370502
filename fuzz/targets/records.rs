//! The documents of the store and of monitors; the first byte chooses one. What was read is the same
//! after it was written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitor::job::Job;
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::containers::ContainerRecord;
use storage::images::ImageRecord;
use storage::refs::RefRecord;
use types::event::Event;
use types::state::ContainerState;

fuzz_target!(|data: &[u8]| {
    let Some((choice, document)) = data.split_first() else {
        return;
    };
    match choice % 6 {
        0 => same_again::<ContainerRecord>(document),
        1 => same_again::<ContainerState>(document),
        2 => same_again::<Job>(document),
        3 => same_again::<Event>(document),
        // Not compared: it holds the image's own document, whose fractions may move by the last digit.
        4 => drop(serde_json::from_slice::<ImageRecord>(document)),
        _ => drop(serde_json::from_slice::<RefRecord>(document)),
    }
});

fn same_again<T: DeserializeOwned + Serialize + PartialEq>(document: &[u8]) {
    let Ok(record) = serde_json::from_slice::<T>(document) else {
        return;
    };
    let written = serde_json::to_vec(&record).expect("records have JSON forms");
    let same = serde_json::from_slice::<T>(&written).is_ok_and(|read| read == record);
    assert!(same, "a record changes when it is written");
}
