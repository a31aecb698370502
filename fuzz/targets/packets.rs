//! Packets between commands and monitors.
#![no_main]

use libfuzzer_sys::fuzz_target;
use monitor::protocol::{
    self, Attach, Ended, Execute, Kind, Resize, Signal, Started, Stop, Update,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|data: &[u8]| {
    let Some((kind, body)) = protocol::split(data) else {
        return;
    };
    assert_eq!(protocol::packet(kind, body), data);
    match kind {
        Kind::Attach => same_again::<Attach>(kind, body),
        Kind::Resize => same_again::<Resize>(kind, body),
        Kind::Signal => same_again::<Signal>(kind, body),
        Kind::Stop => same_again::<Stop>(kind, body),
        Kind::Update => same_again::<Update>(kind, body),
        Kind::Execute => same_again::<Execute>(kind, body),
        Kind::Ended => same_again::<Ended>(kind, body),
        Kind::Started => same_again::<Started>(kind, body),
        Kind::Failed => drop(serde_json::from_slice::<runtime::Failure>(body)),
        _ => {}
    }
});

fn same_again<T: DeserializeOwned + Serialize + PartialEq>(kind: Kind, body: &[u8]) {
    let Ok(message) = serde_json::from_slice::<T>(body) else {
        return;
    };
    let packet = protocol::json_packet(kind, &message);
    let (again, body) = protocol::split(&packet).expect("our own packet");
    let same = serde_json::from_slice::<T>(body).is_ok_and(|read| read == message);
    assert!(again == kind && same, "a message changes on its way");
}
