//! Texts as wide as they look: cutting, columns, natural order.

use std::cmp::Ordering;

/// Characters that take two columns: East Asian wide and full-width ones, and emoji.
const WIDE: [(u32, u32); 22] = [
    (0x1100, 0x115f),
    (0x231a, 0x231b),
    (0x2329, 0x232a),
    (0x23e9, 0x23ec),
    (0x2e80, 0x303e),
    (0x3041, 0x33ff),
    (0x3400, 0x4dbf),
    (0x4e00, 0x9fff),
    (0xa000, 0xa4cf),
    (0xa960, 0xa97c),
    (0xac00, 0xd7a3),
    (0xf900, 0xfaff),
    (0xfe10, 0xfe19),
    (0xfe30, 0xfe6f),
    (0xff00, 0xff60),
    (0xffe0, 0xffe6),
    (0x16fe0, 0x18aff),
    (0x1b000, 0x1b2fb),
    (0x1f200, 0x1f265),
    (0x1f300, 0x1f64f),
    (0x1f680, 0x1f6ff),
    (0x1f900, 0x3fffd),
];

/// Characters that take no column: combining marks and joiners.
const ZERO: [(u32, u32); 8] = [
    (0x300, 0x36f),
    (0x483, 0x489),
    (0x591, 0x5bd),
    (0x200b, 0x200f),
    (0x20d0, 0x20f0),
    (0xfe00, 0xfe0f),
    (0xfe20, 0xfe2f),
    (0xe0100, 0xe01ef),
];

/// How many columns a character takes.
fn char_width(c: char) -> usize {
    let code = c as u32;
    let within = |ranges: &[(u32, u32)]| {
        ranges
            .iter()
            .any(|(low, high)| (*low..=*high).contains(&code))
    };
    if code < 0x20 || code == 0x7f || (code >= 0x300 && within(&ZERO)) {
        0
    } else if code >= 0x1100 && within(&WIDE) {
        2
    } else {
        1
    }
}

/// How many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// The text cut to `columns`, the last of them an ellipsis.
pub(crate) fn ellipsis(text: &str, columns: usize) -> String {
    let wide = |c: char| char_width(c).max(1);
    if text.chars().map(wide).sum::<usize>() <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += wide(c);
        if used >= columns {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// Length of a short id.
const SHORT_ID_LEN: usize = 12;

/// The first twelve digits of an id, without its algorithm.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..SHORT_ID_LEN).unwrap_or(digits)
}

/// `a2` before `a10`: runs of digits compare as numbers.
pub(crate) fn natural_order(left: &str, right: &str) -> Ordering {
    let (mut a, mut b) = (left.as_bytes(), right.as_bytes());
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number_a, rest_a) = digits(a);
            let (number_b, rest_b) = digits(b);
            let order = number_a
                .len()
                .cmp(&number_b.len())
                .then(number_a.cmp(number_b));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (rest_a, rest_b);
        } else if x == y {
            (a, b) = (&a[1..], &b[1..]);
        } else {
            return x.cmp(y);
        }
    }
    a.len().cmp(&b.len()).then_with(|| left.cmp(right))
}

/// A leading number without its zeros, and what follows.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().take_while(|byte| **byte == b'0').count();
    (&number[zeros.min(number.len())..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_to_columns() {
        for (text, columns, expected) in [
            ("short", 20, "short"),
            ("docker-entrypoint.sh nginx", 20, "docker-entrypoint.s…"),
            ("exactly twenty chars", 20, "exactly twenty chars"),
            ("日本語日本語", 12, "日本語日本語"),
            ("日本語日本語", 6, "日本…"),
            ("é́́", 3, "é́́"),
            ("", 5, ""),
        ] {
            assert_eq!(ellipsis(text, columns), expected);
        }
    }

    #[test]
    fn numbers_in_names_count() {
        let mut lines = vec![
            "80/tcp -> x:10",
            "8080/tcp",
            "443/tcp",
            "80/tcp -> x:9",
            "80/udp",
        ];
        lines.sort_by(|a, b| natural_order(a, b));
        assert_eq!(
            lines,
            [
                "80/tcp -> x:9",
                "80/tcp -> x:10",
                "80/udp",
                "443/tcp",
                "8080/tcp"
            ]
        );
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
    }
}
