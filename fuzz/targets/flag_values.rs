//! The grammars of the flags: volumes, mounts, ports, limits, devices and their like.
#![no_main]

use libfuzzer_sys::fuzz_target;
use types::mount_flag::{self, MountFlag};
use types::port::{self, PortRange};
use types::tmpfs_flag::{TmpfsFlag, merge_tmpfs_options};
use types::volume_flag::{ShortVolume, VolumeFlag, VolumeMode, check_volume_name};

fuzz_target!(|text: &str| {
    storage_flags(text);
    if let Ok(range) = PortRange::parse(text) {
        let _ = format!("{range:?}");
    }
    let _ = types::port::ContainerPort::parse(text);
    for mappings in [
        port::parse_publish(text),
        port::parse_mappings(text),
        port::parse_compose_mappings(text),
    ] {
        let mappings = mappings.unwrap_or_default();
        assert!(mappings.len() <= 65_536, "more ports than there are");
        for mapping in mappings.iter().take(100) {
            let _ = (mapping.host_address(), mapping.host_port_text());
        }
    }
    assert!(port::parse_expose(text).unwrap_or_default().len() <= 65_536);
    modes(text);
});

fn storage_flags(text: &str) {
    let _ = ShortVolume::parse(text);
    let _ = VolumeMode::parse(text);
    if let Ok(mut volume) = VolumeFlag::parse(text) {
        volume.make_absolute("/work");
        let _ = mount_flag::format_mount(&volume.to_mount());
    }
    let _ = check_volume_name(text);
    if let Ok(flag) = MountFlag::parse(text) {
        let _ = flag.to_spec();
    }
    if let Ok(mut mount) = mount_flag::parse_mount(text) {
        mount_flag::make_source_absolute(&mut mount, "/work");
        let _ = mount_flag::format_mount(&mount);
    }
    let _ = TmpfsFlag::parse(text);
    let _ = merge_tmpfs_options(text);
}

fn modes(text: &str) {
    let _ = types::container::RestartPolicy::parse(text);
    if let Ok(signal) = types::signal::Signal::parse(text) {
        let again = types::signal::Signal::parse(&signal.name());
        assert_eq!(again.as_ref(), Ok(&signal));
    }
    let clean = types::lexical_path::absolute(text, "/work");
    assert!(
        clean.starts_with('/') && !clean.split('/').any(|part| part == ".."),
        "{clean:?}"
    );
}
