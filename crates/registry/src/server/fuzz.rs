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

#[cfg(test)]
mod tests {
    #[test]
    fn hostile_requests_pass_through_the_door() {
        let deep = "[".repeat(10_000);
        for text in [
            "",
            "a/../b/blobs/uploads/x",
            "a\\b/tags/list",
            r#"{"schemaVersion":2,"config":{"digest":"sha256:0","size":-1}}"#,
            &deep,
            "<script>alert(1)</script>\n\n[x](javascript:alert(1)) ![y](data:text/html,z)",
            "<svg/onload=x> [f]\n\n[f]: JaVaScRiPt:alert(1)\n\n| a |\n|---|\n| <img src=x> |",
            "a.b.c",
            "fr;q=NaN,*;q=-1",
            "http://127.0.0.1@x/",
        ] {
            super::requests(text);
        }
    }
}
