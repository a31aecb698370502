//! The door of a fuzz target (`fuzz/`) to what reads strangers' requests. Nobody else calls it.

use super::hub::{markdown, words};
use super::names::{self, Route};
use super::{auth, manifest, webhooks};

/// A path, a manifest, a README, a token, a header: whatever is sent to the server.
pub fn requests(text: &str) {
    if let Some(name) = Route::parse(text).and_then(|route| route.name())
        && names::is_repository(name)
    {
        let has_tricks = name.split('/').any(|part| matches!(part, "" | "." | ".."));
        assert!(!has_tricks && !name.contains('\\'), "{name}");
    }
    for kind in ["", manifest::OCI_INDEX, manifest::OCI_MANIFEST] {
        if let Ok(parsed) = manifest::parse(text.as_bytes(), kind) {
            let _ = parsed.content_size();
        }
    }
    let page = markdown::render(text).to_ascii_lowercase();
    for bad in ["<script", "<img", "<iframe", "<style", "href=\"javascript:"] {
        assert!(!page.contains(bad), "{page}");
    }
    assert!(auth::token::verify(b"another key", text).is_none());
    let _ = words::choose(text);
    let _ = webhooks::is_url(text);
}
