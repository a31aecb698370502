//! `--detach-keys ctrl-p,ctrl-q`.

/// What detaches where nobody said otherwise.
pub const DEFAULT_DETACH_KEYS: &str = "ctrl-p,ctrl-q";
/// The longest sequence.
const KEYS_MAX: usize = 64;

/// A text that is no sequence of keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid detach keys ({keys}) provided: Unknown character: '{key}'")]
pub struct DetachKeysError {
    keys: String,
    key: String,
}

/// Reads keys separated by commas, each a single character, `ctrl-` with one of ``a-z@[\]^_``, or
/// `DEL`; gives the bytes that a terminal sends. Empty is the default.
pub fn parse_detach_keys(text: &str) -> Result<Vec<u8>, DetachKeysError> {
    let text = if text.is_empty() {
        DEFAULT_DETACH_KEYS
    } else {
        text
    };
    let mut bytes = Vec::new();
    for key in text.split(',') {
        let byte = parse_key(key)
            .filter(|_| bytes.len() < KEYS_MAX)
            .ok_or_else(|| DetachKeysError {
                keys: text.to_owned(),
                key: key.to_owned(),
            })?;
        bytes.push(byte);
    }
    Ok(bytes)
}

fn parse_key(key: &str) -> Option<u8> {
    if let [byte] = key.as_bytes() {
        return Some(*byte);
    }
    if key == "DEL" {
        return Some(0x7f);
    }
    match key.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [sign @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Some(sign - b'@'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_the_bytes_of_a_terminal() {
        for (text, want) in [
            ("", &[16, 17][..]),
            ("ctrl-p,ctrl-q", &[16, 17]),
            ("a,b,ctrl-z", &[b'a', b'b', 26]),
            (
                "ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_",
                &[0, 27, 28, 29, 30, 31],
            ),
            ("DEL", &[127]),
        ] {
            assert_eq!(parse_detach_keys(text).unwrap(), want);
        }
        for text in [
            "ctrl-A",
            "ctrl-",
            "ab",
            "a,,b",
            "é",
            "ctrl-1",
            &vec!["a"; 65].join(","),
        ] {
            assert!(parse_detach_keys(text).is_err(), "{text}");
        }
        let error = parse_detach_keys("a,xx").unwrap_err().to_string();
        assert_eq!(
            error,
            "Invalid detach keys (a,xx) provided: Unknown character: 'xx'"
        );
    }
}
