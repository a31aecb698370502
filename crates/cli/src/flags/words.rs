//! One word of flags, by pflag's rules: `--name=value`, `-abc`, `-p80:80`.

use super::suggest::nearest;
use super::{Flag, GLOBAL_FLAGS, Kind, values};

/// The words of a command line, taken one by one.
pub(super) struct Cursor<'a> {
    /// All words.
    pub(super) words: &'a [&'a str],
    /// How many were taken.
    pub(super) next: usize,
}

impl<'a> Cursor<'a> {
    /// The next word, left where it is.
    pub(super) fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }

    /// The next word.
    pub(super) fn take(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.next += 1;
        Some(word)
    }

    /// All words that were not taken.
    pub(super) fn rest(&self) -> &'a [&'a str] {
        &self.words[self.next..]
    }
}

/// One thing that a word of flags says.
pub(super) enum Setting {
    /// `--help` or `-h`.
    Help(bool),
    /// `--version` or `-v` before the command.
    Version(bool),
    /// The flag at this place of the table gets this text.
    Value(usize, String),
}

/// Splits one word of flags (`--x=v`, `-abc`, `-p80:80`), taking its value from the cursor.
pub(super) fn split_word(
    word: &str,
    flags: &[Flag],
    cursor: &mut Cursor<'_>,
) -> Result<Vec<Setting>, String> {
    match word.strip_prefix("--") {
        Some(body) => split_long(word, body, flags, cursor).map(|setting| vec![setting]),
        None => split_short(word, flags, cursor),
    }
}

fn split_long(
    word: &str,
    body: &str,
    flags: &[Flag],
    cursor: &mut Cursor<'_>,
) -> Result<Setting, String> {
    if body.is_empty() || body.starts_with(['-', '=']) {
        return Err(format!("bad flag syntax: {}", word));
    }
    let (name, value) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (body, None),
    };
    let index = flags
        .iter()
        .position(|flag| flag.long == name || flag.aliases.contains(&name));
    let Some(index) = index else {
        return match name {
            "help" => help_switch(value.as_deref()).map(Setting::Help),
            "version" if std::ptr::eq(flags, GLOBAL_FLAGS) => {
                help_switch(value.as_deref()).map(Setting::Version)
            }
            _ => {
                let mut text = format!("unknown flag: --{}", name);
                let visible = flags
                    .iter()
                    .filter(|flag| !flag.hidden)
                    .map(|flag| flag.long);
                if let Some(near) = nearest(name, visible) {
                    text.push_str(&format!("\n\nDid you mean '--{near}'?"));
                }
                Err(text)
            }
        };
    };
    let value = match (value, flags[index].kind) {
        (Some(value), _) => value,
        (None, Kind::Bool) => "true".to_owned(),
        (None, _) => match cursor.take() {
            Some(value) => value.to_owned(),
            None => return Err(format!("flag needs an argument: --{name}")),
        },
    };
    Ok(Setting::Value(index, value))
}

fn help_switch(value: Option<&str>) -> Result<bool, String> {
    let value = value.unwrap_or("true");
    values::parse_bool(value)
        .map_err(|error| format!("invalid argument \"{value}\" for \"--help\" flag: {error}"))
}

fn split_short(
    word: &str,
    flags: &[Flag],
    cursor: &mut Cursor<'_>,
) -> Result<Vec<Setting>, String> {
    let mut settings = Vec::new();
    let mut letters = word[1..].chars();
    while let Some(letter) = letters.next() {
        let rest = letters.as_str();
        let Some(index) = flags.iter().position(|flag| flag.short == Some(letter)) else {
            match letter {
                'h' => settings.push(Setting::Help(true)),
                'v' if std::ptr::eq(flags, GLOBAL_FLAGS) => settings.push(Setting::Version(true)),
                _ => {
                    let group = &word[word.len() - rest.len() - letter.len_utf8()..];
                    return Err(format!(
                        "unknown shorthand flag: '{}' in -{}",
                        letter, group
                    ));
                }
            }
            continue;
        };
        // pflag's order: a "=" ends the bundle, a switch goes on, and else the rest is the value.
        if let Some(value) = rest.strip_prefix('=').filter(|_| rest.len() > 1) {
            settings.push(Setting::Value(index, value.to_owned()));
            break;
        }
        if flags[index].kind == Kind::Bool {
            settings.push(Setting::Value(index, "true".to_owned()));
            continue;
        }
        let value = if !rest.is_empty() {
            rest.to_owned()
        } else if let Some(value) = cursor.take() {
            value.to_owned()
        } else {
            return Err(format!("flag needs an argument: '{letter}' in -{letter}"));
        };
        settings.push(Setting::Value(index, value));
        break;
    }
    Ok(settings)
}
