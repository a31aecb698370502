//! What is wrong with a JSON text, in words for whoever wrote it.
//!
//! The reader's own messages speak of its insides (`expected u16`, `invalid type: sequence`); here
//! they become the place and what should have stood there.

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// Longer ways to a member are cut.
const PATH_CHARS_MAX: usize = 200;

/// Reads a text, or says what is wrong with it and at which member.
///
/// # Errors
/// The first fault.
pub fn read<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Fault> {
    serde_json::from_slice(text).map_err(|error| Fault::within(text, &error))
}

/// Reads a value that was read before; of a fault only the member is known.
///
/// # Errors
/// The first fault.
pub fn read_value<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T, Fault> {
    T::deserialize(value).map_err(|error| {
        let text = value.to_string();
        let fault = read::<T>(text.as_bytes()).err();
        let fault = fault.unwrap_or_else(|| Fault::from(&error));
        Fault { line: 0, ..fault }
    })
}

/// A place in a JSON text, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From 1; 0 where there was no text.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What was expected and what there is, behind the way to the member that it is about.
    pub reason: String,
}

impl std::error::Error for Fault {}

impl Fault {
    /// What is wrong with a document as a whole.
    pub fn of_whole(reason: impl Into<String>) -> Self {
        Self {
            line: 0,
            column: 0,
            reason: reason.into(),
        }
    }

    fn within(text: &[u8], error: &serde_json::Error) -> Self {
        let mut fault = Self::from(error);
        if error.classify() == Category::Data {
            let way = way_to(before(text, error.line(), error.column()));
            if !way.is_empty() {
                fault.reason = format!("{way}: {}", fault.reason);
            }
        }
        fault
    }
}

/// What stands before a place; columns are bytes.
fn before(text: &[u8], line: usize, column: usize) -> &[u8] {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    let begin: usize = lines.take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    &text[..(begin + column).min(text.len())]
}

/// Where in a document one is after so much of it: `config.Env[2]`. It is well-formed so far.
fn way_to(text: &[u8]) -> String {
    enum Frame {
        Object(Option<String>),
        List(usize),
    }
    let mut frames: Vec<Frame> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'{' => frames.push(Frame::Object(None)),
            b'[' => frames.push(Frame::List(0)),
            b'}' | b']' => drop(frames.pop()),
            b',' => match frames.last_mut() {
                Some(Frame::Object(name)) => *name = None,
                Some(Frame::List(index)) => *index += 1,
                None => {}
            },
            b'"' => {
                let begin = at;
                while text.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                let name = &text[begin..at.min(text.len())];
                if let Some(Frame::Object(slot @ None)) = frames.last_mut() {
                    *slot = Some(String::from_utf8_lossy(name).into_owned());
                }
                at += 1;
            }
            _ => {}
        }
    }
    // What was only opened is meant as a whole.
    if matches!(text.trim_ascii_end().last(), Some(b'{' | b'[')) {
        frames.pop();
    }
    let mut way = String::new();
    for frame in frames {
        match frame {
            Frame::Object(Some(name)) if way.is_empty() => way = name,
            Frame::Object(Some(name)) => way.push_str(&format!(".{name}")),
            Frame::Object(None) => {}
            Frame::List(index) => way.push_str(&format!("[{index}]")),
        }
    }
    way.chars().take(PATH_CHARS_MAX).collect()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            reason,
        } = self;
        match line {
            0 => f.write_str(reason),
            _ => write!(f, "line {line}, column {column}: {reason}"),
        }
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
    fn faults_name_the_member() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only read")]
        struct Outer {
            outer: Vec<Sample>,
        }
        for (text, words) in [
            (
                r#"{"outer": {}}"#,
                "outer: a list was expected, not an object",
            ),
            (
                r#"{"outer": [{"name": "a"}, {"name": 5}]}"#,
                "outer[1].name: text in quotes was expected, not the number 5",
            ),
            (
                r#"{"x": [1, {"y": "\"}"}], "outer": [{"name": "a", "list": [1, 2, "b"]}]}"#,
                "outer[0].list[2]: a whole number from 0 to 65535 was expected, not the text \"b\"",
            ),
            (
                r#"{"outer": [{"name": "a"}, {"list": []}]}"#,
                "outer[1]: missing field \"name\"",
            ),
            (
                "{\n\"outer\":\n7}",
                "line 3, column 1: outer: a list was expected, not the number 7",
            ),
            (r#"{"outer": null}"#, "outer: a list was expected, not null"),
            (
                "5",
                "line 1, column 1: an object was expected, not the number 5",
            ),
        ] {
            let fault = read::<Outer>(text.as_bytes()).unwrap_err().to_string();
            assert!(fault.ends_with(words), "{text}: {fault}");
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            let fault = read_value::<Outer>(&value).unwrap_err().to_string();
            let words = words.strip_prefix("line 3, column 1: ").unwrap_or(words);
            let words = words.strip_prefix("line 1, column 1: ").unwrap_or(words);
            assert_eq!(fault, words);
        }
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
