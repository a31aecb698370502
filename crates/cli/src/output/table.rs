//! Docker's lists: `--format` with `table`, `json`, templates and the columns of the default.

use std::collections::BTreeMap;
use std::rc::Rc;

use thiserror::Error;

use super::template::{ANY_MAP, Context, FunctionSet, Options, Template, TemplateError, Value};
use super::text::width;

/// The columns of a table are at least this wide.
const COLUMN_WIDTH_MIN: usize = 10;
/// Spaces between columns.
const COLUMN_PADDING: usize = 3;

/// Why something could not be printed, in Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum FormatError {
    /// The template does not parse. Docker exits with 64 in `version`, `info` and `inspect`, with 1
    /// in lists.
    #[error("template parsing error: {0}")]
    Parse(TemplateError),
    /// The template does not run over a row; exit 1.
    #[error("template parsing error: {0}")]
    Execute(TemplateError),
    /// The template does not run in `version`, `info` or `system df -v`, which add no words; exit 1,
    /// and the first two still print a new line to standard output.
    #[error("{0}")]
    ExecutePlain(TemplateError),
}

/// A row whose members are known: what [`Context`] asks for, from a list.
pub(crate) struct Row {
    /// Go's name of the type, for messages.
    pub(crate) type_name: &'static str,
    /// Names of the members, sorted.
    pub(crate) members: &'static [&'static str],
    /// Their values, in the order of the names.
    pub(crate) values: Vec<Value>,
    /// What `.Label "key"` looks up, where there is such a method.
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// Members that are another in JSON.
    pub(crate) in_json: Vec<(&'static str, Value)>,
}

impl Row {
    /// A row without labels.
    pub(crate) fn new(
        type_name: &'static str,
        members: &'static [&'static str],
        values: Vec<Value>,
    ) -> Self {
        debug_assert_eq!(members.len(), values.len(), "invariant: a value per member");
        debug_assert!(members.is_sorted(), "invariant: JSON is sorted");
        Self {
            type_name,
            members,
            values,
            labels: None,
            in_json: Vec::new(),
        }
    }
}

impl Context for Row {
    fn type_name(&self) -> &'static str {
        self.type_name
    }

    fn members(&self) -> &'static [&'static str] {
        self.members
    }

    fn get(&self, member: &str) -> Value {
        let index = self.members.iter().position(|name| *name == member);
        index
            .and_then(|index| self.values.get(index))
            .cloned()
            .unwrap_or(Value::Invalid)
    }

    fn label(&self, key: &str) -> Option<String> {
        self.labels.as_ref()?.get(key).cloned()
    }

    fn has_label(&self) -> bool {
        self.labels.is_some()
    }

    fn to_json_members(&self) -> Vec<(&'static str, Value)> {
        let instead = |name| self.in_json.iter().find(|(other, _)| *other == name);
        self.members
            .iter()
            .map(|name| match instead(*name) {
                Some((_, value)) => (*name, value.clone()),
                None => (*name, self.get(name)),
            })
            .collect()
    }
}

/// The titles of columns by member.
pub(crate) type Titles = [(&'static str, &'static str)];

/// What a list looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout<'a> {
    /// The format: `table …`, `json` or a template.
    pub(crate) format: &'a str,
    /// The titles of the columns.
    pub(crate) titles: &'a Titles,
    /// Standard output is a terminal: values are shown without control characters.
    pub(crate) escape_control: bool,
}

/// Whether the format makes a table.
pub(crate) fn is_table(format: &str) -> bool {
    format.starts_with("table")
}

/// The template in a format: `\t` and `\n` stand for themselves there.
pub(super) fn template_text(format: &str) -> String {
    let text = match format {
        "json" => "{{json .}}",
        _ => format.strip_prefix("table").unwrap_or(format),
    };
    text.trim_matches(' ')
        .replace("\\t", "\t")
        .replace("\\n", "\n")
}

/// Prints rows, each ended by a new line; tables have a line of titles even without rows.
pub(crate) fn render<R: Context + 'static>(
    layout: Layout<'_>,
    rows: impl IntoIterator<Item = R>,
) -> Result<String, FormatError> {
    let text = template_text(layout.format);
    let template = Template::parse(&text).map_err(FormatError::Parse)?;
    let options = Options {
        escape_control: layout.escape_control,
        ..Options::default()
    };
    let mut out = String::new();
    for row in rows {
        let line = template.execute(&Value::object(row), options);
        out.push_str(&line.map_err(FormatError::Execute)?);
        out.push('\n');
    }
    if !is_table(layout.format) {
        return Ok(out);
    }
    let mut table = titles_line(&template, layout.titles);
    table.push_str(&out);
    Ok(align(&table, COLUMN_WIDTH_MIN, COLUMN_PADDING))
}

fn titles_line(template: &Template, titles: &Titles) -> String {
    let entries = titles
        .iter()
        .map(|(name, title)| ((*name).to_owned(), Value::string(*title)));
    let data = Value::Map(&ANY_MAP, Some(Rc::new(entries.collect())));
    let options = Options {
        functions: FunctionSet::Header,
        ..Options::default()
    };
    // Docker prints what it has when the titles do not fit the template.
    template.execute(&data, options).unwrap_or_default() + "\n"
}

/// Aligns cells that end in tabs, as Go's `tabwriter` does: a column lasts as long as consecutive
/// lines have it; what stands after the last tab of a line belongs to no column.
pub(crate) fn align(text: &str, width_min: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text
        .split(['\n', '\u{c}'])
        .map(|line| line.split(['\t', '\u{b}']).collect())
        .collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < lines.len() {
            let has_column = |line: &Vec<usize>| line.len() > column;
            let run = widths[start..]
                .iter()
                .take_while(|line| has_column(line))
                .count();
            let cells = lines[start..start + run]
                .iter()
                .map(|cells| width(cells[column]) + padding);
            let column_width = cells.max().unwrap_or(0).max(width_min);
            for line in &mut widths[start..start + run] {
                line[column] = column_width;
            }
            start += run.max(1);
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (index, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if index > 0 {
            out.push('\n');
        }
        for (column, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(column_width) = widths.get(column) {
                let missing = column_width.saturating_sub(width(cell));
                out.extend(std::iter::repeat_n(' ', missing));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |id: &str, name: &str| {
            let mut row = Row::new(
                "*formatter.ContainerContext",
                &["ID", "Names"],
                vec![Value::string(id), Value::string(name)],
            );
            row.labels = Some([("a.b-c".to_owned(), "1".to_owned())].into());
            row
        };
        vec![row("cccccccccccc", "x"), row("d", "日本語")]
    }

    fn list(format: &str) -> Result<String, String> {
        let titles = &[("ID", "CONTAINER ID"), ("Names", "NAMES")];
        render(
            Layout {
                format,
                titles,
                escape_control: false,
            },
            rows(),
        )
        .map_err(|error| error.to_string())
    }

    // Formats and answers of `docker ps --format` 28.2.2.
    #[test]
    fn formats_print_as_dockers() {
        for (format, expected) in [
            (
                "table {{.ID}}\\t{{.Names}}",
                "CONTAINER ID   NAMES\ncccccccccccc   x\nd              日本語\n",
            ),
            (
                "table {{.Names}}\\t{{.ID}}",
                "NAMES     CONTAINER ID\nx         cccccccccccc\n日本語    d\n",
            ),
            ("{{.ID}}\\t{{.Names}}", "cccccccccccc\tx\nd\t日本語\n"),
            (
                "json",
                "{\"ID\":\"cccccccccccc\",\"Names\":\"x\"}\n{\"ID\":\"d\",\"Names\":\"日本語\"}\n",
            ),
            (
                "table {{upper .Names}} {{.Label \"a.b-c\"}}",
                "NAMES b c\nX 1\n日本語 1\n",
            ),
            ("{{json .Names}}", "\"x\"\n\"日本語\"\n"),
            ("x", "x\nx\n"),
        ] {
            assert_eq!(list(format).as_deref(), Ok(expected), "{format}");
        }
        for (format, fault) in [
            (
                "{{.Nope}}",
                "template parsing error: template: :1:2: executing \"\" at <.Nope>: can't \
              evaluate field Nope in type *formatter.ContainerContext",
            ),
            (
                "{{.Names.Foo}}",
                "template parsing error: template: :1:8: executing \"\" at \
              <.Names.Foo>: can't evaluate field Foo in type string",
            ),
            (
                "{{.Label}}",
                "template parsing error: template: :1:2: executing \"\" at <.Label>: wrong \
              number of args for Label: want 1 got 0",
            ),
            (
                "{{.ID",
                "template parsing error: template: :1: unclosed action",
            ),
        ] {
            assert_eq!(list(format), Err(fault.to_owned()));
        }
    }

    #[test]
    fn columns_last_while_lines_have_them() {
        assert_eq!(
            align("a\tb\tc\nlonger cell\td\n", 4, 1),
            "a           b   c\nlonger cell d\n"
        );
        assert_eq!(
            align("a\tb\n\nlong long\tb\n", 4, 1),
            "a   b\n\nlong long b\n"
        );
        assert_eq!(align("", 10, 3), "");
        assert_eq!(align("\t\tx\n", 3, 1), "      x\n");
    }
}
