//! Ids and names of containers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{SHORT_DIGITS, encode_hex, is_lower_hex};

/// How many hexadecimal digits an id has.
pub const ID_DIGITS: usize = 64;
/// The longest name: a link on disk is called so.
pub const NAME_BYTES_MAX: usize = 255;

/// Why an id or a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 64 lower-case hexadecimal digits.
    #[error("invalid container id ({0}): 64 hexadecimal digits expected")]
    Id(String),
    /// Characters that a name must not have.
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    Name(String),
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("Invalid container name: longer than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
}

/// The id of a container: 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Box<str>);

impl ContainerId {
    /// Makes an id of 32 random bytes. An id whose short form has no letter would be taken for a
    /// number in places (a host name, for one), so the first digit of such a one becomes `a`–`f`;
    /// Docker throws those away too.
    pub fn from_random(bytes: &[u8; 32]) -> Self {
        let mut bytes = *bytes;
        let is_number = |byte: &u8| byte >> 4 <= 9 && byte & 15 <= 9;
        if bytes[..SHORT_DIGITS / 2].iter().all(is_number) {
            bytes[0] = (10 + (bytes[0] >> 4) % 6) << 4 | bytes[0] & 15;
        }
        Self(encode_hex(&bytes).into())
    }

    /// Reads a full id.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.len() == ID_DIGITS && text.bytes().all(is_lower_hex) {
            Ok(Self(text.into()))
        } else {
            Err(IdError::Id(text.to_owned()))
        }
    }

    /// All digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits.
    pub fn short(&self) -> &str {
        &self.0[..SHORT_DIGITS]
    }
}

/// Checks a container's name and takes off the slash that Docker's API puts before it.
pub fn check_container_name(name: &str) -> Result<&str, IdError> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    if bare.len() > NAME_BYTES_MAX {
        return Err(IdError::NameTooLong);
    }
    if is_restricted_name(bare) {
        Ok(bare)
    } else {
        Err(IdError::Name(name.to_owned()))
    }
}

/// Whether the text can be the beginning of an id, as commands accept it.
pub fn is_id_prefix(text: &str) -> bool {
    (1..=ID_DIGITS).contains(&text.len()) && text.bytes().all(is_lower_hex)
}

/// `[a-zA-Z0-9][a-zA-Z0-9_.-]+`: what containers and volumes may be called. No such name is `.`
/// or `..` or has a slash, so it can be a file's name.
pub(crate) fn is_restricted_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    name.len() >= 2 && name.as_bytes()[0].is_ascii_alphanumeric() && name.bytes().all(inner)
}

impl fmt::Display for ContainerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ContainerId({})", self.0)
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl Serialize for ContainerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ContainerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_from_random_bytes() {
        let id = ContainerId::from_random(&[0xcd; 32]);
        assert_eq!(id.as_str(), "cd".repeat(32));
        assert_eq!(id.short(), "cdcdcdcdcdcd");
        assert_eq!(ContainerId::parse(id.as_str()), Ok(id.clone()));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<ContainerId>(&json).unwrap(), id);
        assert!(
            ContainerId::from_random(&[0x12; 32])
                .short()
                .starts_with('b')
        );
    }

    #[test]
    fn only_full_lower_case_ids_are_ids() {
        for text in ["", "abc", &"A".repeat(64), &"g".repeat(64), &"a".repeat(65)] {
            assert!(ContainerId::parse(text).is_err(), "{text}");
        }
        assert!(is_id_prefix("3f2a"));
        assert!(!is_id_prefix("") && !is_id_prefix("web") && !is_id_prefix(&"a".repeat(65)));
    }

    #[test]
    fn names_are_checked_in_the_words_of_docker() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for name in ["web", "/web", "0a", "a.b-c_d", &longest] {
            assert_eq!(check_container_name(name), Ok(name.trim_start_matches('/')));
        }
        for name in [
            "", "a", "/", "..", ".a", "-a", "a/b", "a b", "é1", "a\n", "//a",
        ] {
            assert_eq!(
                check_container_name(name),
                Err(IdError::Name(name.to_owned()))
            );
        }
        assert_eq!(
            check_container_name(&format!("{longest}a")),
            Err(IdError::NameTooLong)
        );
        assert_eq!(
            check_container_name("bad name").unwrap_err().to_string(),
            "Invalid container name (bad name), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        );
    }
}
