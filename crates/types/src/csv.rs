//! One record of comma-separated values with quoting, as `--mount` and `--network` use it.
//!
//! The grammar is that of Go's `encoding/csv` (RFC 4180): a field in double quotes may hold commas
//! and doubled quotes; a quote elsewhere is an error. Only one record may stand in a flag.

/// Why a text is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// Nothing at all.
    #[error("EOF")]
    Empty,
    /// A quote within a field that does not start with one.
    #[error("parse error on line 1, column {0}: bare \" in non-quoted field")]
    BareQuote(usize),
    /// A quoted field that does not end, or text after its end.
    #[error("parse error on line 1, column {0}: extraneous or missing \" in quoted-field")]
    Quote(usize),
    /// A second line.
    #[error("parse error on line 2: one line expected")]
    SecondLine,
}

/// Splits a record into its fields.
pub fn parse_record(text: &str) -> Result<Vec<String>, CsvError> {
    let text = text.trim_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(CsvError::Empty);
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let column = text.len() - rest.len() + 1;
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted, column + 1)?,
            None => plain_field(rest, column)?,
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}

/// Gives the field and what follows, which is empty or starts with a comma.
fn plain_field(text: &str, column: usize) -> Result<(String, &str), CsvError> {
    let (field, after) = text.split_at(text.find(',').unwrap_or(text.len()));
    if let Some(quote) = field.find('"') {
        return Err(CsvError::BareQuote(column + quote));
    }
    if field.contains(['\r', '\n']) {
        return Err(CsvError::SecondLine);
    }
    Ok((field.to_owned(), after))
}

/// As [`plain_field`], from behind the opening quote.
fn quoted_field(text: &str, column: usize) -> Result<(String, &str), CsvError> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            return Err(CsvError::Quote(column + text.len()));
        };
        field.push_str(part);
        if let Some(more) = after.strip_prefix('"') {
            field.push('"');
            rest = more;
        } else if after.is_empty() || after.starts_with(',') {
            return Ok((field, after));
        } else {
            return Err(CsvError::Quote(column + text.len() - after.len()));
        }
    }
}

/// Writes a record that [`parse_record`] reads back.
pub(crate) fn format_record<T: AsRef<str>>(fields: &[T]) -> String {
    let quote = |field: &T| {
        let field = field.as_ref();
        let lonely = field.is_empty() && fields.len() == 1;
        if lonely || field.contains([',', '"', '\r', '\n']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.to_owned()
        }
    };
    fields.iter().map(quote).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_split_at_commas_outside_quotes() {
        for (text, want) in [
            ("a", vec!["a"]),
            ("a,b", vec!["a", "b"]),
            (",", vec!["", ""]),
            ("\"a,b\",c", vec!["a,b", "c"]),
            ("\"a\"\"b\"", vec!["a\"b"]),
            ("\"a\nb\"", vec!["a\nb"]),
            ("a\r\n", vec!["a"]),
        ] {
            let fields = parse_record(text).unwrap();
            assert_eq!(fields, want);
            let record = format_record(&fields);
            assert_eq!(parse_record(&record).unwrap(), want, "{record}");
        }
    }

    #[test]
    fn misplaced_quotes_and_second_lines_are_errors() {
        for (text, want) in [
            ("", CsvError::Empty),
            ("\n", CsvError::Empty),
            ("a\"b", CsvError::BareQuote(2)),
            ("\"a", CsvError::Quote(3)),
            ("\"a\"b", CsvError::Quote(4)),
            ("a\nb", CsvError::SecondLine),
        ] {
            assert_eq!(parse_record(text), Err(want), "{text:?}");
        }
    }
}
