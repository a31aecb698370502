//! Small regular expressions for `--filter name=^web`.
//!
//! Docker matches some filters as Go regular expressions. This is the part of that syntax that
//! people use in filters: literals, `.`, classes, `\d \w \s`, `^`, `$`, groups, `|`, `*`, `+`, `?`.
//! Anything else is looked for as plain text. Matching runs over sets of states (no backtracking),
//! so its time is bounded by pattern times text, whatever an attacker calls a container.

use std::iter::Peekable;
use std::str::Chars;

/// The longest pattern that is read as such.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// How deep groups may be nested.
const DEPTH_MAX: usize = 32;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    /// `None`: not of our syntax, looked for as plain text.
    program: Option<Vec<Instruction>>,
}

#[derive(Clone, Debug)]
enum Instruction {
    One(CharacterSet),
    Split(usize, usize),
    Jump(usize),
    AtStart,
    AtEnd,
}

#[derive(Clone, Debug)]
struct CharacterSet {
    ranges: Vec<(char, char)>,
    negated: bool,
}

impl CharacterSet {
    fn one(character: char) -> Self {
        Self {
            ranges: vec![(character, character)],
            negated: false,
        }
    }

    fn contains(&self, character: char) -> bool {
        let inside = self
            .ranges
            .iter()
            .any(|&(low, high)| (low..=high).contains(&character));
        inside != self.negated
    }
}

impl Pattern {
    /// Compiles a pattern; never fails, see the module.
    pub fn new(text: &str) -> Self {
        let program = if text.len() <= PATTERN_BYTES_MAX {
            compile(text)
        } else {
            None
        };
        Self {
            text: text.to_owned(),
            program,
        }
    }

    /// Whether the pattern occurs anywhere in the text.
    pub fn is_match(&self, text: &str) -> bool {
        match &self.program {
            Some(program) => run(program, text),
            None => text.contains(&self.text),
        }
    }
}

fn compile(text: &str) -> Option<Vec<Instruction>> {
    let mut compiler = Compiler {
        rest: text.chars().peekable(),
        program: Vec::new(),
    };
    compiler.alternatives(0)?;
    compiler.rest.next().is_none().then_some(compiler.program)
}

struct Compiler<'a> {
    rest: Peekable<Chars<'a>>,
    program: Vec<Instruction>,
}

impl Compiler<'_> {
    /// `a|b`: a split to either, a jump over the second at the end of the first.
    fn alternatives(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        let start = self.program.len();
        self.sequence(depth)?;
        if self.rest.next_if_eq(&'|').is_none() {
            return Some(());
        }
        self.insert(start, Instruction::Split(start + 1, self.program.len() + 2));
        let jump = self.program.len();
        self.program.push(Instruction::Jump(0));
        self.alternatives(depth + 1)?;
        self.program[jump] = Instruction::Jump(self.program.len());
        Some(())
    }

    fn sequence(&mut self, depth: usize) -> Option<()> {
        while let Some(&character) = self.rest.peek() {
            if matches!(character, '|' | ')') {
                break;
            }
            let start = self.program.len();
            self.atom(depth)?;
            self.quantifier(start);
        }
        Some(())
    }

    fn quantifier(&mut self, start: usize) {
        let Some(quantifier) = self.rest.next_if(|next| matches!(next, '*' | '+' | '?')) else {
            return;
        };
        // `*?` and the like match the same texts, only other parts of them.
        self.rest.next_if_eq(&'?');
        let end = self.program.len();
        match quantifier {
            '?' => self.insert(start, Instruction::Split(start + 1, end + 1)),
            '+' => self.program.push(Instruction::Split(start, end + 1)),
            _ => {
                self.insert(start, Instruction::Split(start + 1, end + 2));
                self.program.push(Instruction::Jump(start));
            }
        }
    }

    /// Inserts an instruction; targets behind it move along.
    fn insert(&mut self, at: usize, instruction: Instruction) {
        let shift = |target: &mut usize| *target += usize::from(*target >= at);
        for instruction in &mut self.program[at..] {
            match instruction {
                Instruction::Split(first, second) => {
                    shift(first);
                    shift(second);
                }
                Instruction::Jump(target) => shift(target),
                _ => {}
            }
        }
        self.program.insert(at, instruction);
    }

    fn atom(&mut self, depth: usize) -> Option<()> {
        let instruction = match self.rest.next()? {
            '(' => {
                if self.rest.next_if_eq(&'?').is_some() {
                    self.rest.next_if_eq(&':')?;
                }
                self.alternatives(depth + 1)?;
                return self.rest.next_if_eq(&')').map(|_| ());
            }
            '^' => Instruction::AtStart,
            '$' => Instruction::AtEnd,
            '.' => Instruction::One(CharacterSet {
                ranges: vec![('\n', '\n')],
                negated: true,
            }),
            '[' => Instruction::One(self.class()?),
            '\\' => Instruction::One(escape(self.rest.next()?)?),
            '*' | '+' | '?' | '{' | '}' => return None,
            literal => Instruction::One(CharacterSet::one(literal)),
        };
        self.program.push(instruction);
        Some(())
    }

    /// From behind the bracket.
    fn class(&mut self) -> Option<CharacterSet> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        let mut set = CharacterSet {
            ranges: Vec::new(),
            negated,
        };
        loop {
            let low = match self.rest.next()? {
                ']' if !set.ranges.is_empty() => return Some(set),
                '[' if self.rest.peek() == Some(&':') => return None,
                '\\' => {
                    let escaped = escape(self.rest.next()?).filter(|escaped| !escaped.negated)?;
                    set.ranges.extend(escaped.ranges);
                    continue;
                }
                character => character,
            };
            let mut ahead = self.rest.clone();
            let high = match (ahead.next(), ahead.next()) {
                (Some('-'), Some(high)) if !matches!(high, ']' | '\\') => {
                    self.rest = ahead;
                    high
                }
                _ => low,
            };
            if high < low {
                return None;
            }
            set.ranges.push((low, high));
        }
    }
}

fn escape(character: char) -> Option<CharacterSet> {
    let ranges = match character.to_ascii_lowercase() {
        'd' => vec![('0', '9')],
        'w' => vec![('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')],
        's' => vec![('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')],
        _ if character.is_alphanumeric() => return None,
        _ => return Some(CharacterSet::one(character)),
    };
    Some(CharacterSet {
        ranges,
        negated: character.is_ascii_uppercase(),
    })
}

fn run(program: &[Instruction], text: &str) -> bool {
    let mut current = States::new(program.len());
    let mut next = States::new(program.len());
    let mut characters = text.chars();
    let mut at_start = true;
    loop {
        let character = characters.next();
        // A match may begin anywhere.
        current.add(program, 0, at_start, character.is_none());
        if current.has(program.len()) {
            return true;
        }
        let Some(character) = character else {
            return false;
        };
        let at_end = characters.as_str().is_empty();
        next.clear();
        for &state in &current.list {
            if let Some(Instruction::One(set)) = program.get(state)
                && set.contains(character)
            {
                next.add(program, state + 1, false, at_end);
            }
        }
        at_start = false;
        std::mem::swap(&mut current, &mut next);
    }
}

/// A set of positions in the program; the position behind its end is the match.
struct States {
    list: Vec<usize>,
    is_in: Vec<bool>,
}

impl States {
    fn new(program_len: usize) -> Self {
        Self {
            list: Vec::new(),
            is_in: vec![false; program_len + 1],
        }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.is_in.fill(false);
    }

    fn has(&self, state: usize) -> bool {
        self.is_in[state]
    }

    /// Adds a position and those reached from it without a character.
    fn add(&mut self, program: &[Instruction], state: usize, at_start: bool, at_end: bool) {
        let mut pending = vec![state];
        while let Some(state) = pending.pop() {
            if std::mem::replace(&mut self.is_in[state], true) {
                continue;
            }
            self.list.push(state);
            match program.get(state) {
                Some(Instruction::Split(first, second)) => pending.extend([*second, *first]),
                Some(Instruction::Jump(target)) => pending.push(*target),
                Some(Instruction::AtStart) if at_start => pending.push(state + 1),
                Some(Instruction::AtEnd) if at_end => pending.push(state + 1),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_regular_expressions() {
        for (pattern, yes, no) in [
            ("web", &["web", "my-web-1"][..], &["we", ""][..]),
            ("^web$", &["web"], &["web1", "myweb"]),
            ("^/?web", &["web1", "/web"], &["//web"]),
            ("a.c", &["abc", "a-c"], &["ac"]),
            ("^(a|bc|d)+$", &["a", "abcd", "bcbc"], &["", "ab", "c"]),
            ("^a*b?$", &["", "aaa", "ab", "b"], &["ba", "abb"]),
            ("^[a-c_-]+$", &["abc_-"], &["d", ""]),
            ("^[^0-9]$", &["a"], &["1", "ab"]),
            (r"^\w+\.\d$", &["web.1"], &["web1", "web.x"]),
            ("^(?:x(y|z)?)*$", &["", "xxyxz"], &["y"]),
            ("a|", &["", "b"], &[]),
            ("^a$|^b$", &["a", "b"], &["ab"]),
            ("(a*)*$", &["", "aaa", "b"], &[]),
            ("", &["", "x"], &[]),
        ] {
            let compiled = Pattern::new(pattern);
            assert!(compiled.program.is_some(), "{pattern}");
            for text in yes {
                assert!(compiled.is_match(text), "{pattern} on {text}");
            }
            for text in no {
                assert!(!compiled.is_match(text), "{pattern} on {text}");
            }
        }
    }

    #[test]
    fn what_is_no_pattern_is_plain_text() {
        for text in [
            "a{2}",
            "(",
            ")",
            "[",
            "[b-a]",
            "*",
            "a**",
            r"\",
            r"\q",
            "(?i)a",
            "[[:alpha:]]",
        ] {
            let compiled = Pattern::new(text);
            assert!(compiled.program.is_none(), "{text}");
            assert!(compiled.is_match(&format!("x{text}y")), "{text}");
            assert!(!compiled.is_match("zz"), "{text}");
        }
        let deep = "(".repeat(200) + &")".repeat(200);
        assert!(Pattern::new(&deep).is_match(&deep));
    }

    #[test]
    fn hostile_patterns_take_no_exponential_time() {
        let pattern = Pattern::new(&format!("^{}{}$", "a?".repeat(100), "a".repeat(100)));
        assert!(pattern.is_match(&"a".repeat(100)));
        assert!(!Pattern::new("^(a*)*(a*)*(a|aa)+$").is_match(&format!("{}b", "a".repeat(2000))));
    }
}
