//! What is wrong with a JSON text, in words for whoever wrote it.
//!
//! The reader's own messages speak of its insides (`expected u16`, `invalid type: sequence`); here
//! they become the place and what should have stood there.

use std::fmt;

use serde_json::error::Category;

/// A place in a JSON text, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What was expected and what there is.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            reason,
        } = self;
        write!(f, "line {line}, column {column}: {reason}")
    }
}

impl From<&serde_json::Error> for Fault {
    fn from(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        // The reader adds the place to every message.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let text = text.strip_suffix(&place).unwrap_or(&text);
        let reason = match error.classify() {
            Category::Eof if error.line() <= 1 && error.column() == 0 => "the text is empty".into(),
            Category::Eof => "the text ends too early".into(),
            Category::Syntax => syntax(text).to_string(),
            Category::Data | Category::Io => shape(text),
        };
        Self {
            line: error.line().max(1),
            column: error.column().max(1),
            reason,
        }
    }
}

fn syntax(text: &str) -> &str {
    match text {
        "expected ident" | "expected value" => {
            "this is not JSON: an object, a list, text in quotes, a number, true, false or null was \
             expected"
        }
        "expected `:`" => "a colon was expected after the name",
        "expected `,` or `}`" => "a comma or the end of the object was expected",
        "expected `,` or `]`" => "a comma or the end of the list was expected",
        "key must be a string" => "a name in quotes was expected",
        "trailing comma" => "a comma stands before the end",
        "trailing characters" => "more follows after the end of the document",
        "recursion limit exceeded" => "it is nested too deeply",
        other => other,
    }
}

/// `invalid type: FOUND, expected WANTED` and its relatives.
fn shape(text: &str) -> String {
    let known = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .and_then(|rest| rest.rsplit_once(", expected "));
    let length = text.strip_prefix("invalid length ");
    match known.or_else(|| length.and_then(|rest| rest.rsplit_once(", expected "))) {
        // A list can stand for an object's members; nobody means that.
        Some((_, wanted)) if length.is_some() => {
            format!("{} was expected, not a list", wish(wanted))
        }
        Some((found, wanted)) => format!("{} was expected, not {}", wish(wanted), thing(found)),
        // Of members that are missing or there twice; names stand in backquotes.
        None => text.replace('`', "\""),
    }
}

fn wish(wanted: &str) -> String {
    match wanted {
        "a string" => "text in quotes".into(),
        "a sequence" => "a list".into(),
        "a map" => "an object".into(),
        "a boolean" => "true or false".into(),
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => format!("a whole number from 0 to {}", u64::MAX),
        "i64" | "i32" => "a whole number".into(),
        // With the number of its members, where the length is wrong.
        other if other.starts_with("struct ") => "an object".into(),
        other => other.into(),
    }
}

fn thing(found: &str) -> String {
    let bare = found.replace('`', "");
    match bare.split_once(' ') {
        _ if bare == "sequence" => "a list".into(),
        _ if bare == "map" => "an object".into(),
        Some(("string", text)) => format!("the text {text}"),
        Some(("integer", number)) => format!("the number {number}"),
        Some(("floating", point)) => {
            format!("the number {}", point.trim_start_matches("point "))
        }
        Some(("boolean", value)) => value.into(),
        _ => bare,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only read")]
    struct Sample {
        name: String,
        list: Option<Vec<u16>>,
    }

    #[test]
    fn faults_name_the_place_and_what_was_expected() {
        for (text, words) in [
            ("", "line 1, column 1: the text is empty"),
            (
                "{\"list\": [\n",
                "line 2, column 1: the text ends too early",
            ),
            ("nothing", "line 1, column 2: this is not JSON: an object, "),
            (
                "{\n  name: 1}",
                "line 2, column 3: a name in quotes was expected",
            ),
            ("{\"name\" 1}", "a colon was expected after the name"),
            (
                "{\"name\": \"a\" \"b\"}",
                "a comma or the end of the object was expected",
            ),
            (
                "{\"name\": \"a\"} x",
                "more follows after the end of the document",
            ),
            (
                "{\"name\": 5}",
                "line 1, column 10: text in quotes was expected, not the number 5",
            ),
            ("{\"name\": null}", "text in quotes was expected, not null"),
            (
                "{\"name\": {}}",
                "text in quotes was expected, not an object",
            ),
            (
                "{\"name\": \"a\", \"list\": \"b, expected c\"}",
                "a list was expected, not the text \"b, expected c\"",
            ),
            (
                "{\"name\": \"a\", \"list\": [-1]}",
                "a whole number from 0 to 65535 was expected, not the number -1",
            ),
            ("{\"name\": \"a\", \"list\": [1.5]}", "not the number 1.5"),
            ("{\"name\": true}", "not true"),
            ("{}", "missing field \"name\""),
            ("[]", "an object was expected, not a list"),
            ("\"x\"", "an object was expected, not the text \"x\""),
        ] {
            let error = serde_json::from_str::<Sample>(text).unwrap_err();
            let fault = Fault::from(&error).to_string();
            assert!(fault.contains(words), "{text}: {fault}");
        }
    }
}
