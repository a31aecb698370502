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
    check_page(&markdown::render(text).to_ascii_lowercase());
    assert!(auth::token::verify(b"another key", text).is_none());
    let _ = words::choose(text);
    let _ = webhooks::is_url(text);
}

/// Looks at tags alone: in texts between them every word may stand.
fn check_page(page: &str) {
    for tag in page.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap_or_default();
        for bad in ["script", "img", "iframe", "style", "svg", "object", "form"] {
            assert!(!tag.starts_with(bad), "{page}");
        }
        for bad in ["=\"javascript:", "=\"data:", "=\"vbscript:", " on"] {
            assert!(
                !tag.split(" title=")
                    .next()
                    .unwrap_or_default()
                    .contains(bad),
                "{page}"
            );
        }
    }
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
            "href=\"javascript:x</script> [a](javascript:x) ![b](](https://c.example/d.png) | a b |\n",
            "a.b.c",
            "fr;q=NaN,*;q=-1",
            "http://127.0.0.1@x/",
        ] {
            super::requests(text);
        }
    }
}
