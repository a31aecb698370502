//! References, digests, ids, names and platforms. What was read is read again from its own text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use types::digest::Digest;
use types::id::{ContainerId, check_container_name, is_id_prefix};
use types::platform::Platform;
use types::reference::Reference;

fuzz_target!(|text: &str| {
    if let Ok(reference) = Reference::parse_normalized(text) {
        let shown = reference.canonical();
        let again = Reference::parse_normalized(&shown);
        assert_eq!(again.as_ref(), Ok(&reference), "{shown:?}");
        // The short form is for eyes: as in Docker, that of docker.io/a.b/c is a.b/c, another name.
        assert!(!reference.familiar().is_empty());
        let tagged = reference.clone().with_default_tag();
        assert!(tagged.tag().is_some() || tagged.digest().is_some());
        let _ = reference.clone().with_tag(text);
        assert!(!reference.without_tag_and_digest().canonical().contains('@'));
    }
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.as_str(), text);
        assert_eq!(digest.hex().len(), digest.algorithm().hex_digits());
        let _ = digest.short();
    }
    if let Ok(id) = ContainerId::parse(text) {
        assert!(is_id_prefix(id.short()));
    }
    if let Ok(name) = check_container_name(text) {
        assert!(!name.contains(['/', '\0']) && name != "." && name != "..");
    }
    if let Ok(platform) = Platform::parse(text) {
        let again = Platform::parse(&platform.to_string());
        assert_eq!(
            again.map(|again| again.normalised()),
            Ok(platform.normalised())
        );
        let _ = Platform::host().match_rank(&platform);
    }
});
