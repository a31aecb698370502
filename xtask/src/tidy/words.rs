//! Words that must not be in sources.

use super::source::Source;

/// Code that must not stand anywhere; some of it clippy also refuses, but not in tests.
const REFUSED: [(&str, &str); 4] = [
    ("todo!(", "unfinished work does not compile here"),
    ("dbg!(", "left from debugging"),
    ("unimplemented!(", "unfinished work does not compile here"),
    (
        "#[ignore]",
        "a test that is not run says why: #[ignore = \"reason\"]",
    ),
];

/// Checks all sources.
pub(crate) fn check(sources: &[Source], faults: &mut Vec<String>) {
    for source in sources {
        let place = |line: usize| format!("{}:{}", source.path.display(), line + 1);
        let is_sys = source.path.starts_with("crates/sys");
        for (index, line) in source.code.iter().enumerate() {
            for (word, reason) in REFUSED {
                if line.contains(word) {
                    faults.push(format!("{}: {word}…: {reason}", place(index)));
                }
            }
            if !is_sys && has_unsafe(line) {
                faults.push(format!("{}: unsafe belongs into crates/sys", place(index)));
            }
        }
        // This file names the words that it looks for.
        if source.path.ends_with("tidy/words.rs") {
            continue;
        }
        for (index, line) in source.text.lines().enumerate() {
            if is_stray(line) {
                faults.push(format!(
                    "{}: a TODO carries an issue: TODO(#12)",
                    place(index)
                ));
            }
        }
    }
}

fn has_unsafe(line: &str) -> bool {
    ["unsafe {", "unsafe fn ", "unsafe impl ", "unsafe extern "]
        .iter()
        .any(|w| line.contains(w))
}

fn is_stray(line: &str) -> bool {
    if line.contains("FIXME") || line.contains("XXX ") {
        return true;
    }
    line.match_indices("TODO").any(|(at, _)| {
        let rest = &line[at + 4..];
        // Part of another word, such as TODOS, is nobody's note.
        let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let is_issue = rest
            .strip_prefix("(#")
            .is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()));
        ends && !is_issue
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_must_carry_its_issue() {
        for (line, stray) in [
            ("// TODO: later", true),
            ("// TODO(#12): later", false),
            ("// TODO(me): later", true),
            ("// FIXME", true),
            ("let TODOS = 1;", false),
        ] {
            assert_eq!(is_stray(line), stray, "{line}");
        }
    }

    #[test]
    fn refused_words_are_found_in_code_and_not_in_strings() {
        let text = "fn a() { todo!() }\nlet b = \"todo!()\"; // dbg!()\nunsafe { c() }\n";
        let source = Source::new("crates/x/src/a.rs".into(), text.to_owned());
        let mut faults = Vec::new();
        check(&[source], &mut faults);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("crates/x/src/a.rs:1:"));
        assert!(faults[1].starts_with("crates/x/src/a.rs:3:"));
    }
}
