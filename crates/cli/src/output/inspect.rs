//! `inspect`: documents as indented JSON, as JSON on a line, or through a template.

use std::fmt::Write as _;

use api::docker_json::encode;
use serde_json::Value as Json;
use thiserror::Error;

use super::template::{GoType, MissingKey, Options, Template, TemplateError, Value};
use super::typed::typed;

/// Why an inspection could not be printed.
#[derive(Debug, Error)]
pub(crate) enum InspectError {
    /// The template does not parse; Docker exits with 64.
    #[error("template parsing error: {0}")]
    Parse(TemplateError),
    /// The template does not run over an object; Docker exits with 1.
    #[error("template parsing error: {0}")]
    Execute(TemplateError),
}

/// How documents are printed.
enum Form {
    Indented,
    Compact,
    Template(Template),
}

/// Gathers documents and prints them together, as Docker does.
pub(crate) struct Inspector {
    form: Form,
    documents: Vec<Json>,
    text: String,
    /// Set once a template had to run over a raw document: from then on a missing key is an error
    /// for the objects after it too (an accident of Docker's that its output shows).
    missing_key: MissingKey,
    escape_control: bool,
}

impl Inspector {
    /// Reads `--format`: empty is indented JSON, `json` compact JSON, else a template.
    pub(crate) fn new(format: &str, escape_control: bool) -> Result<Self, InspectError> {
        let form = match format {
            "" => Form::Indented,
            "json" => Form::Compact,
            text => Form::Template(Template::parse(text).map_err(InspectError::Parse)?),
        };
        Ok(Self {
            form,
            documents: Vec::new(),
            text: String::new(),
            missing_key: MissingKey::NoValue,
            escape_control,
        })
    }

    /// Adds an object: its document and the Go type that templates see first
    /// ([`super::typed::container::CONTAINER`], and `IMAGE`, `NETWORK`, `VOLUME` of
    /// [`super::typed::others`]).
    pub(crate) fn add(&mut self, ty: &'static GoType, document: Json) -> Result<(), InspectError> {
        let Form::Template(template) = &self.form else {
            self.documents.push(document);
            return Ok(());
        };
        let mut options = Options {
            missing_key: self.missing_key,
            escape_control: self.escape_control,
            ..Options::default()
        };
        let text = match template.execute(&typed(ty, &document), options) {
            Ok(text) => text,
            Err(_) => {
                self.missing_key = MissingKey::Error;
                options.missing_key = MissingKey::Error;
                template
                    .execute(&Value::from_json(&document), options)
                    .map_err(InspectError::Execute)?
            }
        };
        self.text.push_str(&text);
        self.text.push('\n');
        Ok(())
    }

    /// The whole text for standard output, last new line included.
    pub(crate) fn finish(self) -> String {
        let json = |text: String| match self.escape_control {
            true => escape_json(&text) + "\n",
            false => text + "\n",
        };
        match self.form {
            Form::Template(_) if self.text.is_empty() => "\n".to_owned(),
            Form::Template(_) => self.text,
            Form::Indented => json(encode::pretty(&Json::Array(self.documents))),
            Form::Compact => json(encode::compact(&Json::Array(self.documents))),
        }
    }
}

/// JSON leaves DEL and U+0080 to U+009F as they are, and terminals obey some of them. They occur
/// within strings only, where an escape says the same.
fn escape_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\u{7f}'..='\u{9f}') {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{:04x}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::typed::container::CONTAINER;
    use super::*;

    fn inspect(format: &str, documents: &[Json]) -> (String, Vec<String>) {
        let mut inspector = Inspector::new(format, false).unwrap();
        let add = |document: &Json| inspector.add(&CONTAINER, document.clone());
        let faults = documents.iter().map(add).filter_map(Result::err);
        let faults = faults.map(|fault| fault.to_string()).collect();
        (inspector.finish(), faults)
    }

    #[test]
    fn json_for_a_terminal_means_the_same_and_steers_nothing() {
        let document = json!({"k\u{7f}": "\u{9b}2J\u{1b}[2J\u{e9}"});
        for format in ["", "json"] {
            let show = |escape_control| {
                let mut inspector = Inspector::new(format, escape_control).unwrap();
                inspector.add(&CONTAINER, document.clone()).unwrap();
                inspector.finish()
            };
            let (plain, escaped) = (show(false), show(true));
            assert!(plain.contains('\u{9b}') && plain.contains('\u{7f}'));
            assert!(!escaped.contains(|c: char| c.is_control() && c != '\n'));
            let read = |text: &str| serde_json::from_str::<Json>(text).unwrap();
            assert_eq!(read(&plain), read(&escaped));
        }
    }

    // Compared with `docker inspect` 28.2.2.
    #[test]
    fn documents_print_together() {
        let one = json!({"Id": "a", "Name": "/x", "Args": ["<&>"], "ExecIDs": null});
        let two = json!({"Id": "b", "Name": "/y", "State": {"Status": "exited"}});
        assert_eq!(inspect("", &[]), ("[]\n".to_owned(), vec![]));
        assert_eq!(inspect("{{.Id}}", &[]), ("\n".to_owned(), vec![]));
        assert_eq!(
            inspect("", std::slice::from_ref(&one)).0,
            "[\n    {\n        \"Id\": \"a\",\n        \"Name\": \"/x\",\n        \"Args\": \
             [\n            \"<&>\"\n        ],\n        \"ExecIDs\": null\n    }\n]\n"
        );
        assert_eq!(
            inspect("json", &[one.clone(), two.clone()]).0,
            "[{\"Id\":\"a\",\"Name\":\"/x\",\"Args\":[\"<&>\"],\"ExecIDs\":null},{\"Id\":\"b\",\
             \"Name\":\"/y\",\"State\":{\"Status\":\"exited\"}}]\n"
        );
        let (text, faults) = inspect("{{.State.Status}} {{.Id}}", &[one, two]);
        assert_eq!(text, "exited b\n");
        assert_eq!(
            faults,
            [
                "template parsing error: template: :1:8: executing \"\" at <.State.Status>: map has no \
              entry for key \"State\""
            ]
        );
        assert!(matches!(
            Inspector::new("{{.Bad", false),
            Err(InspectError::Parse(_))
        ));
    }
}
