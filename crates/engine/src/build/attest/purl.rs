//! Names of packages and images that are the same everywhere: package URLs.

use std::fmt::Write as _;

use serde_json::{Value, json};
use types::digest::Digest;
use types::platform::Platform;
use types::reference::Reference;

/// Text of a part of a package URL; `keeps` are characters that stay beside the unreserved ones.
pub(super) fn quoted(text: &str, keeps: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric()
            || b"-._~".contains(&byte)
            || keeps.as_bytes().contains(&byte);
        match is_plain {
            true => quoted.push(char::from(byte)),
            // Writing to a string cannot fail.
            false => drop(write!(quoted, "%{byte:02X}")),
        }
    }
    quoted
}

/// An image, as BuildKit names it: `pkg:docker/debian@12?platform=linux%2Famd64`.
pub(super) fn image(name: &Reference, platform: &Platform) -> String {
    let mut url = format!("pkg:docker/{}", quoted(&name.familiar_name(), "/:"));
    if let Some(tag) = name.tag() {
        url.push('@');
        url.push_str(&quoted(tag, ""));
    }
    let digest = name.digest().map(|digest| format!("digest={digest}&"));
    let platform = quoted(&platform.to_string(), "");
    format!("{url}?{}platform={platform}", digest.unwrap_or_default())
}

/// A digest, as in-toto has it: algorithm and hexadecimal digits.
pub(super) fn digest_set(digest: &Digest) -> Value {
    json!({ digest.algorithm().name(): digest.hex() })
}
