//! `--chmod`: octal numbers, or symbols as of chmod(1).

use crate::error::EngineError;

/// A change of permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chmod {
    /// These permissions.
    Octal(u32),
    /// Clauses, one after the other.
    Symbolic(Vec<Clause>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    /// Bits of those whom it is about, such as 0700.
    who: u32,
    operator: char,
    permissions: String,
}

impl Chmod {
    /// Reads a flag's value.
    pub(crate) fn parse(text: &str) -> Result<Self, EngineError> {
        let invalid = || {
            EngineError::invalid(format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777, \
                 or symbols such as u=rwX,go=rX"
            ))
        };
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).map_err(|_| invalid())?;
            return match mode <= 0o7777 {
                true => Ok(Self::Octal(mode)),
                false => Err(invalid()),
            };
        }
        let clauses = text
            .split(',')
            .map(|clause| parse_clause(clause).ok_or_else(invalid));
        clauses.collect::<Result<_, _>>().map(Self::Symbolic)
    }

    /// The permissions that something with `mode` gets.
    pub(crate) fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(clauses) => clauses
                .iter()
                .fold(mode, |mode, clause| clause.apply(mode, is_directory)),
        }
    }
}

fn parse_clause(text: &str) -> Option<Clause> {
    let at = text.find(['+', '-', '='])?;
    let (who, rest) = text.split_at(at);
    let operator = rest.chars().next()?;
    let permissions = rest.get(1..)?;
    if !permissions.chars().all(|one| "rwxXstugo".contains(one)) {
        return None;
    }
    let mut bits = 0;
    for one in who.chars() {
        bits |= match one {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    Some(Clause {
        who: if who.is_empty() { 0o7777 } else { bits },
        operator,
        permissions: permissions.to_owned(),
    })
}

impl Clause {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let mut bits = 0;
        for one in self.permissions.chars() {
            bits |= match one {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if is_directory || mode & 0o111 != 0 => 0o111,
                's' => 0o6000,
                't' => 0o1000,
                'u' => ((mode >> 6) & 7) * 0o111,
                'g' => ((mode >> 3) & 7) * 0o111,
                'o' => (mode & 7) * 0o111,
                _ => 0,
            };
        }
        let bits = bits & self.who;
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            // The special bits of a directory stay, as with chmod(1).
            _ => (mode & !(self.who & 0o777)) | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_change_as_with_chmod() {
        let cases = [
            ("755", 0o600, false, 0o755),
            ("0644", 0o777, true, 0o644),
            ("4755", 0o600, false, 0o4755),
            ("+x", 0o644, false, 0o755),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, true, 0o755),
            ("go-rwx", 0o777, false, 0o700),
            ("g=u", 0o750, false, 0o770),
            ("a+s", 0o755, false, 0o6755),
            ("u+s", 0o755, false, 0o4755),
            ("o+t", 0o755, true, 0o1755),
        ];
        for (text, mode, is_directory, wanted) in cases {
            let got = Chmod::parse(text).unwrap().apply(mode, is_directory);
            assert_eq!(got, wanted, "{text}: {got:o}");
        }
        for text in ["", "8", "77777", "u", "u=q", "z+x", "rwx"] {
            assert!(Chmod::parse(text).is_err(), "{text}");
        }
    }
}
