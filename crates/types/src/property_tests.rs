//! Goal: no text makes a parser panic, and what a value prints is read back as the same value.
//! Method: random text, half of it from the alphabet of the grammars so that it gets deep.

use proptest::prelude::*;

use crate::container::RestartPolicy;
use crate::digest::Digest;
use crate::filter::Filters;
use crate::image::{Document, ImageConfig};
use crate::mount::MountSpec;
use crate::mount_flag::{MountFlag, format_mount, parse_mount};
use crate::pattern::Pattern;
use crate::platform::Platform;
use crate::port::{parse_expose, parse_mappings, parse_publish};
use crate::reference::Reference;
use crate::signal::Signal;
use crate::timestamp::Timestamp;
use crate::tmpfs_flag::TmpfsFlag;
use crate::volume_flag::{ShortVolume, VolumeFlag};
use crate::{env, lexical_path, units};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 512,
        // Regressions become cases in a table by hand, not files beside the sources.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Anything at all, or something of the letters that grammars are made of.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z0-9A-Z:/@.,=_+\\-\\[\\] \"'é%*~()|?^$\\\\\n\t]{0,40}",
        "([0-9]{1,20}[a-zµ.:/-]{0,3}){1,4}",
    ]
}

fn reference() -> impl Strategy<Value = String> {
    "([a-zA-Z0-9-]{1,8}(\\.[a-z]{1,3})?(:[0-9]{1,5})?/)?[a-z0-9]{1,6}([._-][a-z0-9]{1,3}){0,2}\
     (/[a-z0-9]{1,4}){0,3}(:[\\w.]{1,10})?(@sha256:[0-9a-f]{64})?"
}

fn mount() -> impl Strategy<Value = String> {
    "(type=(bind|volume|tmpfs|image),)?((src|source)=/?[a-z.]{1,5},)?(dst|target)=/[a-z/.]{1,8}\
     (,(ro|readonly=(true|0)|consistency=cached|bind-propagation=rprivate|bind-create-src|\
     bind-recursive=(disabled|writable|readonly)|volume-nocopy(=false)?|volume-label=[a-z]=[a-z,]?|\
     volume-opt=[a-z]=\\w|tmpfs-size=[0-9]{1,9}[km]?|tmpfs-mode=[0-7]{1,4}|image-subpath=[a-z]))\
     {0,3}"
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_text_makes_a_parser_panic(text in text()) {
        let _ = Digest::parse(&text);
        let _ = Reference::parse_normalized(&text);
        let _ = ShortVolume::parse(&text);
        let _ = VolumeFlag::parse(&text);
        let _ = MountFlag::parse(&text);
        let _ = parse_mount(&text);
        let _ = TmpfsFlag::parse(&text);
        let _ = (parse_mappings(&text), parse_publish(&text), parse_expose(&text));
        let _ = RestartPolicy::parse(&text);
        let _ = Signal::parse(&text);
        let _ = Platform::parse(&text).map(|platform| platform.best_match([&Platform::host()]));
        let _ = Timestamp::parse_rfc3339(&text);
        let _ = Timestamp::parse_relative(&text, Timestamp::UNIX_EPOCH, 3600);
        let _ = (units::ram_in_bytes(&text), units::from_human_size(&text));
        let _ = units::parse_duration(&text);
        let _ = env::parse_env_file(text.as_bytes(), |_| None);
        let _ = (env::parse_env_flag(&text, |_| None), env::validate_label(&text));
        let _ = env::parse_extra_host(&text);
        let _ = Filters::parse(&[&text]);
        let _ = Pattern::new(&text).is_match(&text);
        let _ = lexical_path::absolute(&text, "/x");
        let _ = crate::id::check_container_name(&text);
    }

    #[test]
    fn no_bytes_make_a_document_reader_panic(bytes in any::<Vec<u8>>()) {
        let _ = Document::parse(&bytes, None);
        let _ = ImageConfig::parse(&bytes);
        let _ = env::parse_env_file(&bytes, |_| None);
    }

    #[test]
    fn references_print_as_they_are_read(text in prop_oneof![reference(), text()]) {
        if let Ok(reference) = Reference::parse_normalized(&text) {
            let printed = reference.canonical();
            prop_assert_eq!(Reference::parse_normalized(&printed), Ok(reference));
        }
    }

    #[test]
    fn volumes_print_as_they_are_read(
        text in "(\\.{0,2}/?[a-z]{2,5}:)?/[a-z/.]{1,8}(:(ro|rw|z|Z|nocopy|rshared|cached)(,(z|nocopy))?)?"
    ) {
        if let Ok(volume) = VolumeFlag::parse(&text) {
            prop_assert_eq!(VolumeFlag::parse(&volume.to_string()), Ok(volume));
        }
    }

    #[test]
    fn mounts_print_as_they_are_read(text in mount()) {
        if let Ok(mount) = parse_mount(&text) {
            prop_assert_eq!(parse_mount(&format_mount(&mount)), Ok(mount.clone()));
            let json = serde_json::to_string(&mount).unwrap();
            prop_assert_eq!(serde_json::from_str::<MountSpec>(&json).unwrap(), mount);
        }
    }

    #[test]
    fn ports_print_as_they_are_read(
        text in "(([0-9.]{7,9}|\\[::[0-9]?\\]):)?([0-9]{0,4}(-9999)?:)?[0-9]{1,4}(/(tcp|udp|sctp))?"
    ) {
        for mapping in parse_mappings(&text).unwrap_or_default() {
            prop_assert_eq!(parse_mappings(&mapping.to_string()), Ok(vec![mapping]));
        }
    }

    #[test]
    fn durations_print_as_they_are_read(nanoseconds in any::<i64>(), shift in 0..63) {
        let nanoseconds = nanoseconds >> shift;
        let printed = units::format_duration(nanoseconds);
        prop_assert_eq!(units::parse_duration(&printed), Ok(nanoseconds), "{}", printed);
        let _ = units::human_duration(nanoseconds);
    }

    #[test]
    fn times_print_as_they_are_read(seconds in -62_167_219_200_i64..253_402_300_800, nanos in 0..1_000_000_000_u32) {
        let time = Timestamp::from_unix(seconds, nanos);
        prop_assert_eq!(Timestamp::parse_rfc3339(&time.rfc3339()), Ok(time));
        prop_assert_eq!(Timestamp::from_unix_ns(time.unix_ns()), time);
    }

    #[test]
    fn any_time_can_be_printed(seconds in any::<i64>(), nanoseconds in any::<u32>()) {
        let time = Timestamp::from_unix(seconds, nanoseconds);
        prop_assert!(time.docker().ends_with("+0000 UTC"));
        let _ = time.plus_ns(i64::MIN).since_ns(Timestamp::ZERO);
    }

    #[test]
    fn any_size_can_be_printed(size in any::<f64>()) {
        let _ = (units::human_size(size), units::bytes_size(size));
    }
}
