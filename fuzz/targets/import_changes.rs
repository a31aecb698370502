//! The instructions of `import --change`.
#![no_main]

use engine::image::changes::apply;
use types::image::ContainerDefaults;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut config = ContainerDefaults::default();
    let _ = apply(&mut config, &[text.to_owned()]);
    for variable in &config.env {
        assert!(variable.contains('='), "{variable:?}");
    }
});
