//! `events`: one line an event.

use std::rc::Rc;

use serde_json::{Value as Json, json};
use types::event::Event;

use super::super::template::{Options, Template, TemplateError, Value, escape_control};
use super::super::typed::others::EVENT;
use super::super::typed::typed;
use super::Clock;

/// Prints events in the form that `--format` asks for.
pub(crate) struct EventPrinter {
    template: Option<Template>,
    to_terminal: bool,
}

impl EventPrinter {
    /// Reads `--format`; it must run over an empty event too. The error is Docker's text, exit 64.
    pub(crate) fn new(format: &str, to_terminal: bool) -> Result<Self, String> {
        let text = match format {
            "" => {
                return Ok(Self {
                    template: None,
                    to_terminal,
                });
            }
            "json" => "{{json .}}",
            text => text,
        };
        let check = || -> Result<Template, TemplateError> {
            let template = Template::parse(text)?;
            // Docker tries a pointer to an empty message, which its error shows.
            let empty = Value::Ptr(&EVENT, Some(Rc::new(typed(&EVENT, &json!({})))));
            template.execute(&empty, Options::default())?;
            Ok(template)
        };
        match check() {
            Ok(template) => Ok(Self {
                template: Some(template),
                to_terminal,
            }),
            Err(error) => Err(format!("Error parsing format: {error}")),
        }
    }

    /// The line of an event, new line included.
    pub(crate) fn line(&self, event: &Event, clock: &Clock) -> Result<String, TemplateError> {
        let Some(template) = &self.template else {
            let line = plain(event, clock);
            let shown = if self.to_terminal {
                escape_control(&line).into_owned()
            } else {
                line
            };
            return Ok(shown + "\n");
        };
        let options = Options {
            escape_control: self.to_terminal,
            ..Options::default()
        };
        Ok(template.execute(&typed(&EVENT, &document(event)), options)? + "\n")
    }
}

/// `2024-01-01T00:00:00.000000000Z container start cccc… (image=nginx, name=x)`
fn plain(event: &Event, clock: &Clock) -> String {
    let time = match event.time_ns {
        0 => String::new(),
        time => clock.rfc3339_nano(time) + " ",
    };
    let attributes: Vec<String> = event
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let attributes = match attributes.len() {
        0 => String::new(),
        _ => format!(" ({})", attributes.join(", ")),
    };
    format!(
        "{time}{} {} {}{attributes}",
        event.kind, event.action, event.id
    )
}

/// Docker's message, with the old members that containers and images still have.
fn document(event: &Event) -> Json {
    let mut document = json!({
        "Type": event.kind,
        "Action": event.action,
        "Actor": { "ID": event.id, "Attributes": event.attributes },
        "scope": "local",
        "time": event.time_ns / 1_000_000_000,
        "timeNano": event.time_ns,
    });
    if matches!(event.kind.as_str(), "container" | "image") {
        document["status"] = event.action.as_str().into();
        document["id"] = event.id.as_str().into();
        if let Some(image) = event.attributes.get("image") {
            document["from"] = image.as_str().into();
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    // Compared with `docker events` 28.2.2.
    #[test]
    fn lines_print_as_docker_events() {
        let pairs = [("name", "x"), ("image", "nginx")];
        let event = Event {
            kind: "container".to_owned(),
            action: "start".to_owned(),
            id: "cc".to_owned(),
            attributes: pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            time_ns: 1_704_067_200_000_000_005,
        };
        for (format, expected) in [
            (
                "",
                "2024-01-01T00:00:00.000000005Z container start cc (image=nginx, name=x)\n",
            ),
            (
                "json",
                concat!(
                    r#"{"status":"start","id":"cc","from":"nginx","Type":"container","Action":"start","#,
                    r#""Actor":{"ID":"cc","Attributes":{"image":"nginx","name":"x"}},"#,
                    r#""scope":"local","time":1704067200,"timeNano":1704067200000000005}"#,
                    "\n"
                ),
            ),
            (
                "{{.Type}} {{.Actor.Attributes.name}} {{.Status}} {{.ID}}",
                "container x start cc\n",
            ),
            (
                "{{index .Actor.Attributes \"nope\"}}|{{.Actor.Attributes.nope}}",
                "|<no value>\n",
            ),
        ] {
            let line = EventPrinter::new(format, false)
                .unwrap()
                .line(&event, &Clock::utc(0));
            assert_eq!(line.as_deref(), Ok(expected), "{format}");
        }
        for (format, fault) in [
            (
                "{{.Bad",
                "Error parsing format: template: :1: unclosed action",
            ),
            (
                "{{.Bad}}",
                "Error parsing format: template: :1:2: executing \"\" at <.Bad>: can't evaluate \
                 field Bad in type *events.Message",
            ),
        ] {
            assert_eq!(
                EventPrinter::new(format, false).err().as_deref(),
                Some(fault)
            );
        }
    }
}
