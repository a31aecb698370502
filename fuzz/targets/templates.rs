//! Go templates over a document: pieces `template`, `document`. Whatever they are, a run ends, and
//! no control character of a value reaches the terminal.
#![no_main]
#![allow(dead_code, unused_imports)]

use caisson_fuzz::{pieces, text};
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/cli/src/output/mod.rs"]
mod output;

use output::inspect::Inspector;
use output::typed::container::CONTAINER;

const DOCUMENT: &str = r#"{"Id":"0123","Name":"/web","Args":["a","b\u001b[2J"],"State":{"Status":
"running","Running":true,"Pid":12,"StartedAt":"2024-01-02T03:04:05.6Z"},"RestartCount":3,"Config":
{"Labels":{"a":"1","b":"2"},"Env":["A=1"],"Cmd":null},"HostConfig":{"Memory":1048576,"CpuShares":0},
"Mounts":[{"Source":"/a","Destination":"/b"}],"NetworkSettings":{"Ports":{"80/tcp":null}}}"#;

fuzz_target!(|data: &[u8]| {
    let pieces = pieces(data);
    let template = text(&pieces, 0);
    let document = serde_json::from_str(text(&pieces, 1))
        .unwrap_or_else(|_| serde_json::from_str(DOCUMENT).expect("a document"));
    let Ok(mut inspector) = Inspector::new(template, true) else {
        return;
    };
    let _ = inspector.add(&CONTAINER, document);
    let shown = inspector.finish();
    let steers = |text: &str| text.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n'));
    assert!(steers(template) || !steers(&shown), "{shown:?}");
});
