//! Go's `fmt`: `print`, `println`, `printf` and the way values print in templates.

use super::quote::{can_backquote, quote, quote_ascii, quote_char, unicode_name};
use super::value::{DURATION, GoType, StructValue, Value};

/// Widths and precisions above this are refused, as by Go.
const WIDTH_MAX: i64 = 1_000_000;
/// What stands for an address: ours mean nothing to anyone.
const ADDRESS: &str = "0xc000000000";

/// `fmt.Sprint`: a space between two operands when neither is a string.
pub(super) fn sprint(args: &[Value]) -> String {
    let mut out = String::new();
    let mut after_string = true;
    for (index, arg) in args.iter().enumerate() {
        let is_string = matches!(arg, Value::Str(..));
        if index > 0 && !is_string && !after_string {
            out.push(' ');
        }
        Printer {
            out: &mut out,
            flags: Flags::default(),
        }
        .argument(arg, 'v');
        after_string = is_string;
    }
    out
}

/// `fmt.Sprintln`: spaces between all operands and a new line.
pub(super) fn sprintln(args: &[Value]) -> String {
    let mut out = String::new();
    for (index, arg) in args.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        Printer {
            out: &mut out,
            flags: Flags::default(),
        }
        .argument(arg, 'v');
    }
    out.push('\n');
    out
}

/// `fmt.Sprintf`.
pub(super) fn sprintf(format: &str, args: &[Value]) -> String {
    let mut run = Format {
        chars: format.chars().collect(),
        pos: 0,
        args,
        arg: 0,
        reordered: false,
        out: String::new(),
    };
    run.all();
    run.out
}

#[derive(Clone, Copy, Default)]
struct Flags {
    sharp: bool,
    zero: bool,
    plus: bool,
    minus: bool,
    space: bool,
    /// `%+v` and `%#v`.
    plus_v: bool,
    sharp_v: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Format<'a> {
    chars: Vec<char>,
    pos: usize,
    args: &'a [Value],
    arg: usize,
    reordered: bool,
    out: String,
}

impl Format<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.pos).copied()
    }

    fn all(&mut self) {
        while let Some(c) = self.peek() {
            self.pos += 1;
            if c == '%' {
                self.directive()
            } else {
                self.out.push(c)
            }
        }
        if !self.reordered && self.arg < self.args.len() {
            self.out.push_str("%!(EXTRA ");
            for (index, arg) in self.args.iter().enumerate().skip(self.arg) {
                if index > self.arg {
                    self.out.push_str(", ");
                }
                if !matches!(arg, Value::Invalid) {
                    self.out.push_str(&arg.type_name());
                    self.out.push('=');
                }
                Printer {
                    out: &mut self.out,
                    flags: Flags::default(),
                }
                .argument(arg, 'v');
            }
            self.out.push(')');
        }
    }

    fn directive(&mut self) {
        let mut flags = Flags::default();
        while let Some(c) = self.peek() {
            match c {
                '#' => flags.sharp = true,
                '0' => flags.zero = true,
                '+' => flags.plus = true,
                '-' => flags.minus = true,
                ' ' => flags.space = true,
                _ => break,
            }
            self.pos += 1;
        }
        let mut good_index = true;
        let mut after_index = self.index(&mut good_index);
        if self.peek() == Some('*') {
            self.pos += 1;
            match self.star() {
                Some(width) => {
                    flags.minus |= width < 0;
                    flags.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => self.out.push_str("%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            flags.width = self.digits();
            good_index &= !(after_index && flags.width.is_some());
        }
        if self.peek() == Some('.') {
            self.pos += 1;
            good_index &= !after_index;
            after_index = self.index(&mut good_index);
            if self.peek() == Some('*') {
                self.pos += 1;
                match self.star() {
                    Some(precision) => flags.precision = usize::try_from(precision).ok(),
                    None => self.out.push_str("%!(BADPREC)"),
                }
                after_index = false;
            } else {
                flags.precision = Some(self.digits().unwrap_or(0));
            }
        }
        if !after_index {
            self.index(&mut good_index);
        }
        self.verb(flags, good_index);
    }

    fn verb(&mut self, mut flags: Flags, good_index: bool) {
        let Some(verb) = self.peek() else {
            self.out.push_str("%!(NOVERB)");
            return;
        };
        self.pos += 1;
        if verb == '%' {
            self.out.push('%');
        } else if !good_index {
            self.out.push_str(&format!("%!{verb}(BADINDEX)"));
        } else if let Some(arg) = self.args.get(self.arg) {
            self.arg += 1;
            if verb == 'v' {
                flags.sharp_v = std::mem::take(&mut flags.sharp);
                flags.plus_v = std::mem::take(&mut flags.plus);
            }
            Printer {
                out: &mut self.out,
                flags,
            }
            .argument(arg, verb);
        } else {
            self.out.push_str(&format!("%!{verb}(MISSING)"));
        }
    }

    /// `[n]`: the argument to use next. True when there was one.
    fn index(&mut self, good: &mut bool) -> bool {
        if self.peek() != Some('[') {
            return false;
        }
        self.reordered = true;
        let Some(length) = self.chars[self.pos..].iter().position(|c| *c == ']') else {
            self.pos += 1;
            *good = false;
            return true;
        };
        let digits: String = self.chars[self.pos + 1..self.pos + length].iter().collect();
        self.pos += length + 1;
        match digits.parse::<usize>() {
            Ok(number) if (1..=self.args.len()).contains(&number) => self.arg = number - 1,
            _ => *good = false,
        }
        true
    }

    fn digits(&mut self) -> Option<usize> {
        let mut value = None;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            let next = value.unwrap_or(0) * 10 + digit as usize;
            if next as i64 > WIDTH_MAX {
                return None;
            }
            value = Some(next);
            self.pos += 1;
        }
        value
    }

    fn star(&mut self) -> Option<i64> {
        let arg = self.args.get(self.arg)?;
        self.arg += 1;
        match arg {
            Value::Int(value, _) if value.abs() <= WIDTH_MAX => Some(*value),
            Value::Uint(value, _) => i64::try_from(*value).ok().filter(|v| *v <= WIDTH_MAX),
            _ => None,
        }
    }
}

struct Printer<'a> {
    out: &'a mut String,
    flags: Flags,
}

impl Printer<'_> {
    fn argument(&mut self, arg: &Value, verb: char) {
        match (arg, verb) {
            (Value::Interface(None), _) => self.argument(&Value::Invalid, verb),
            (Value::Interface(Some(inner)), _) => self.argument(inner, verb),
            (Value::Invalid, 'v' | 'T') => self.pad("<nil>"),
            (Value::Invalid, _) => self.out.push_str(&format!("%!{verb}(<nil>)")),
            (_, 'T') => {
                let name = arg.type_name();
                self.string(&name, 's');
            }
            _ => self.value(arg, verb, 0),
        }
    }

    fn bad_verb(&mut self, value: &Value, verb: char) {
        self.out
            .push_str(&format!("%!{verb}({}=", value.type_name()));
        // Any value prints with %v, so this does not come back here. Here a duration is its number.
        match value {
            Value::Int(number, _) => self.integer(value, number.unsigned_abs(), *number < 0, 'v'),
            _ => self.value(value, 'v', 0),
        }
        self.out.push(')');
    }

    fn value(&mut self, value: &Value, verb: char, depth: usize) {
        match value {
            Value::Invalid | Value::Interface(None) => self.out.push_str("<nil>"),
            Value::Interface(Some(inner)) => self.value(inner, verb, depth),
            Value::Bool(flag) => match verb {
                't' | 'v' => self.pad(if *flag { "true" } else { "false" }),
                _ => self.bad_verb(value, verb),
            },
            // `time.Duration` says itself as text, unless Go's own syntax is asked for.
            Value::Int(number, DURATION)
                if matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') && !self.flags.sharp_v =>
            {
                self.string(&types::units::format_duration(*number), verb);
            }
            Value::Int(number, _) => {
                self.integer(value, number.unsigned_abs(), *number < 0, verb);
            }
            Value::Uint(number, _) => self.integer(value, *number, false, verb),
            Value::Float(number) => match verb {
                'v' => self.float(*number, 'g'),
                'e' | 'E' | 'f' | 'F' | 'g' | 'G' => self.float(*number, verb),
                _ => self.bad_verb(value, verb),
            },
            Value::Str(text, _) => match verb {
                'v' if self.flags.sharp_v => self.string(text, 'q'),
                'v' | 's' | 'x' | 'X' | 'q' => self.string(text, verb),
                _ => self.bad_verb(value, verb),
            },
            Value::Time(text) => {
                let text = super::go_time(text);
                match verb {
                    'v' | 's' | 'x' | 'X' | 'q' => self.string(&text, verb),
                    _ => self.out.push_str(&format!("%!{verb}(time.Time={text})")),
                }
            }
            Value::List(ty, items) => self.list(ty, items.as_deref(), verb, depth),
            Value::Map(ty, entries) => {
                let (open, close) = self.brackets(ty, "map[", ']');
                self.out.push_str(&open);
                for (index, (key, item)) in entries.iter().flat_map(|map| map.iter()).enumerate() {
                    self.separate(index);
                    self.value(&Value::string(key.as_str()), verb, depth + 1);
                    self.out.push(':');
                    self.value(item, verb, depth + 1);
                }
                self.out.push(close);
            }
            Value::Struct(fields) => self.fields(fields, verb, depth),
            Value::Ptr(ty, None) => match verb {
                'v' if self.flags.sharp_v => self.out.push_str(&format!("(*{ty})(nil)")),
                'v' => self.pad("<nil>"),
                'p' | 'x' => self.pad("0x0"),
                _ => self.out.push_str(&format!("%!{verb}(*{ty}=<nil>)")),
            },
            Value::Ptr(_, Some(inner)) => match **inner {
                Value::Struct(_) | Value::List(..) | Value::Map(..) if depth == 0 => {
                    self.out.push('&');
                    self.value(inner, verb, depth + 1);
                }
                _ => self.pad(ADDRESS),
            },
            Value::Object(_) => self.out.push_str("&{}"),
        }
    }

    fn brackets(&self, ty: &GoType, plain: &str, close: char) -> (String, char) {
        if self.flags.sharp_v {
            (format!("{ty}{{"), '}')
        } else {
            (plain.to_owned(), close)
        }
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.out
                .push_str(if self.flags.sharp_v { ", " } else { " " });
        }
    }

    fn list(&mut self, ty: &GoType, items: Option<&[Value]>, verb: char, depth: usize) {
        if self.flags.sharp_v && items.is_none() {
            self.out.push_str(&format!("{ty}(nil)"));
            return;
        }
        let (open, close) = self.brackets(ty, "[", ']');
        self.out.push_str(&open);
        for (index, item) in items.unwrap_or_default().iter().enumerate() {
            self.separate(index);
            self.value(item, verb, depth + 1);
        }
        self.out.push(close);
    }

    fn fields(&mut self, value: &StructValue, verb: char, depth: usize) {
        if self.flags.sharp_v {
            self.out.push_str(value.ty.name);
        }
        self.out.push('{');
        for (index, (field, item)) in value.ty.fields.iter().zip(&value.fields).enumerate() {
            self.separate(index);
            if self.flags.plus_v || self.flags.sharp_v {
                self.out.push_str(field.name);
                self.out.push(':');
            }
            self.value(item, verb, depth + 1);
        }
        self.out.push('}');
    }

    fn pad(&mut self, text: &str) {
        let length = text.chars().count();
        let missing = self.flags.width.unwrap_or(0).saturating_sub(length);
        if self.flags.minus {
            self.out.push_str(text);
            self.padding(missing);
        } else {
            self.padding(missing);
            self.out.push_str(text);
        }
    }

    fn padding(&mut self, count: usize) {
        let c = if self.flags.zero && !self.flags.minus {
            '0'
        } else {
            ' '
        };
        self.out.extend(std::iter::repeat_n(c, count));
    }

    fn pad_with_spaces(&mut self, text: &str) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(text);
        self.flags.zero = zero;
    }

    fn string(&mut self, text: &str, verb: char) {
        let cut = match self.flags.precision {
            Some(count) => text.chars().take(count).collect(),
            None => text.to_owned(),
        };
        match verb {
            'q' if self.flags.sharp && can_backquote(&cut) => self.pad(&format!("`{cut}`")),
            'q' if self.flags.plus => self.pad(&quote_ascii(&cut)),
            'q' => self.pad(&quote(&cut)),
            'x' | 'X' => self.hex(text, verb),
            _ => self.pad(&cut),
        }
    }

    fn hex(&mut self, text: &str, verb: char) {
        let prefix = if verb == 'x' { "0x" } else { "0X" };
        let limit = self.flags.precision.unwrap_or(usize::MAX);
        let mut digits = String::new();
        for (index, byte) in text.bytes().take(limit).enumerate() {
            if self.flags.space && index > 0 {
                digits.push(' ');
            }
            if self.flags.sharp && (index == 0 || self.flags.space) {
                digits.push_str(prefix);
            }
            let pair = if verb == 'x' {
                format!("{byte:02x}")
            } else {
                format!("{byte:02X}")
            };
            digits.push_str(&pair);
        }
        self.pad(&digits);
    }

    fn integer(&mut self, value: &Value, size: u64, negative: bool, verb: char) {
        let character = char::from_u32(u32::try_from(size).unwrap_or(0xfffd))
            .filter(|_| !negative)
            .unwrap_or('\u{fffd}');
        let digits = match verb {
            'v' if self.flags.sharp_v && matches!(value, Value::Uint(..)) => {
                self.flags.sharp = true;
                format!("{size:x}")
            }
            'v' | 'd' => size.to_string(),
            'b' => format!("{size:b}"),
            'o' | 'O' => format!("{size:o}"),
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            'c' => return self.pad(character.encode_utf8(&mut [0; 4])),
            'q' => return self.pad(&quote_char(character, self.flags.plus)),
            'U' => {
                let name = unicode_name(character);
                let plain = name.split(' ').next().unwrap_or_default();
                let text = if self.flags.sharp {
                    name.as_str()
                } else {
                    plain
                };
                return self.pad_with_spaces(text);
            }
            _ => return self.bad_verb(value, verb),
        };
        self.digits(digits, size, negative, verb);
    }

    fn digits(&mut self, mut digits: String, size: u64, negative: bool, verb: char) {
        let signed = negative || self.flags.plus || self.flags.space;
        let wanted = match (self.flags.precision, self.flags.width) {
            (Some(0), _) if size == 0 => return self.pad_with_spaces(""),
            (Some(precision), _) => precision,
            (None, Some(width)) if self.flags.zero && !self.flags.minus => {
                width - usize::from(signed && width > 0)
            }
            _ => 0,
        };
        while digits.len() < wanted {
            let zeros = "0".repeat(wanted - digits.len());
            digits.insert_str(0, &zeros);
        }
        if self.flags.sharp {
            match verb {
                'b' => digits.insert_str(0, "0b"),
                'o' if !digits.starts_with('0') => digits.insert(0, '0'),
                'x' | 'v' => digits.insert_str(0, "0x"),
                'X' => digits.insert_str(0, "0X"),
                _ => {}
            }
        }
        if verb == 'O' {
            digits.insert_str(0, "0o");
        }
        if negative {
            digits.insert(0, '-');
        } else if self.flags.plus {
            digits.insert(0, '+');
        } else if self.flags.space {
            digits.insert(0, ' ');
        }
        self.pad_with_spaces(&digits);
    }

    fn float(&mut self, value: f64, verb: char) {
        let mut text = match verb {
            'e' | 'E' => exponent_form(value.abs(), self.flags.precision.unwrap_or(6)),
            'f' | 'F' => format!("{:.*}", self.flags.precision.unwrap_or(6), value.abs()),
            _ => general_form(value.abs(), self.flags.precision),
        };
        if matches!(verb, 'E' | 'G') {
            text.make_ascii_uppercase();
        }
        let sign = if value.is_sign_negative() {
            "-"
        } else if self.flags.plus {
            "+"
        } else if self.flags.space {
            " "
        } else {
            ""
        };
        let length = text.len() + sign.len();
        match self.flags.width {
            Some(width) if self.flags.zero && !self.flags.minus && width > length => {
                self.out.push_str(sign);
                self.padding(width - length);
                self.out.push_str(&text);
            }
            _ => self.pad_with_spaces(&format!("{sign}{text}")),
        }
    }
}

/// `1.234500e+03`: at least two digits of exponent.
fn exponent_form(value: f64, precision: usize) -> String {
    go_exponent(&format!("{value:.precision$e}"))
}

fn go_exponent(text: &str) -> String {
    let Some((digits, exponent)) = text.split_once('e') else {
        return text.to_owned();
    };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// `%g`: the shortest digits that read back the same (or `precision` of them), with an exponent
/// when it is below -4 or not below the precision, which counts as 6 where shortest.
fn general_form(value: f64, precision: Option<usize>) -> String {
    let scientific = match precision {
        None => format!("{value:e}"),
        Some(precision) => format!("{value:.*e}", precision.saturating_sub(1)),
    };
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return if value.is_nan() {
            "NaN".to_owned()
        } else {
            "Inf".to_owned()
        };
    };
    let digits = if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    };
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let count = digits.len() as i64 - i64::from(digits.contains('.'));
    let limit = match precision {
        None => 6,
        Some(precision) => {
            let precision = precision.max(1) as i64;
            if precision > count && count > exponent {
                count
            } else {
                precision
            }
        }
    };
    if exponent < -4 || exponent >= limit {
        return go_exponent(&format!("{digits}e{exponent}"));
    }
    let plain: String = digits.chars().filter(|c| *c != '.').collect();
    let point = exponent + 1;
    if point <= 0 {
        format!("0.{}{plain}", "0".repeat(point.unsigned_abs() as usize))
    } else if point >= count {
        format!("{plain}{}", "0".repeat((point - count) as usize))
    } else {
        let (whole, fraction) = plain.split_at(point as usize);
        format!("{whole}.{fraction}")
    }
}
