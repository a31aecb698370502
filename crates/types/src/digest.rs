//! Content digests: `sha256:` and 64 hexadecimal digits.
//!
//! A value of [`Digest`] is always valid: a known algorithm, the right length, lower case. So its
//! parts may be used as file names. The error texts are those of Docker's digest library.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many hexadecimal digits a short id has.
pub const SHORT_DIGITS: usize = 12;

/// A hash function that names content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, what everybody uses.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits follow the colon.
    pub fn hex_digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha384, Self::Sha512]
            .into_iter()
            .find(|known| known.name() == name)
    }
}

/// Why a text is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not `algorithm:hex`, or digits that are not lower-case hexadecimal.
    #[error("invalid checksum digest format")]
    InvalidFormat,
    /// Too few or too many digits for the algorithm.
    #[error("invalid checksum digest length")]
    InvalidLength,
    /// An algorithm that we do not verify.
    #[error("unsupported digest algorithm")]
    UnsupportedAlgorithm,
}

/// The name of some content: an algorithm and the hash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    text: Box<str>,
}

impl Digest {
    /// Reads `algorithm:hex`.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or(DigestError::InvalidFormat)?;
        if name.is_empty() || hex.is_empty() {
            return Err(DigestError::InvalidFormat);
        }
        let Some(algorithm) = Algorithm::from_name(name) else {
            let shaped = is_algorithm_shaped(name) && hex.bytes().all(is_encoded_byte);
            return Err(if shaped {
                DigestError::UnsupportedAlgorithm
            } else {
                DigestError::InvalidFormat
            });
        };
        if hex.len() != algorithm.hex_digits() {
            return Err(DigestError::InvalidLength);
        }
        if !hex.bytes().all(is_lower_hex) {
            return Err(DigestError::InvalidFormat);
        }
        Ok(Self {
            algorithm,
            text: text.into(),
        })
    }

    /// Makes a SHA-256 digest of its 64 digits.
    pub fn sha256_from_hex(hex: &str) -> Result<Self, DigestError> {
        Self::parse(&format!("sha256:{hex}"))
    }

    /// Makes a SHA-256 digest of the hash itself.
    pub fn sha256_from_bytes(hash: &[u8; 32]) -> Self {
        let text = format!("sha256:{}", encode_hex(hash)).into();
        Self {
            algorithm: Algorithm::Sha256,
            text,
        }
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.name().len() + 1..]
    }

    /// The first twelve digits, as lists print ids.
    pub fn short(&self) -> &str {
        &self.hex()[..SHORT_DIGITS]
    }

    /// `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn encode_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Whether the byte is one of `0-9a-f`.
pub(crate) fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// `[a-z0-9]+(?:[.+_-][a-z0-9]+)*`: the OCI grammar of algorithm names.
fn is_algorithm_shaped(name: &str) -> bool {
    name.split(['.', '+', '_', '-']).all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'))
    })
}

/// `[a-zA-Z0-9=_-]`: the OCI grammar of encoded hashes.
fn is_encoded_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'_' | b'-')
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({})", self.text)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_algorithms_of_the_right_length_in_lower_case_are_digests() {
        let f64digits = "f".repeat(64);
        let good = [
            (format!("sha256:{f64digits}"), Algorithm::Sha256),
            (format!("sha384:{}", "0".repeat(96)), Algorithm::Sha384),
            (format!("sha512:{}", "a".repeat(128)), Algorithm::Sha512),
        ];
        for (text, algorithm) in good {
            let digest = Digest::parse(&text).unwrap();
            assert_eq!(digest.algorithm(), algorithm);
            assert_eq!(digest.to_string(), text);
            assert_eq!(digest.hex().len(), algorithm.hex_digits());
        }
        let bad = [
            ("".to_owned(), DigestError::InvalidFormat),
            (":".to_owned(), DigestError::InvalidFormat),
            ("sha256:".to_owned(), DigestError::InvalidFormat),
            (f64digits.clone(), DigestError::InvalidFormat),
            (
                format!("sha256:{}", "f".repeat(63)),
                DigestError::InvalidLength,
            ),
            (
                format!("sha256:{}", "F".repeat(64)),
                DigestError::InvalidFormat,
            ),
            (
                format!("sha256:../{}", "f".repeat(61)),
                DigestError::InvalidFormat,
            ),
            (
                format!("md5:{}", "a".repeat(32)),
                DigestError::UnsupportedAlgorithm,
            ),
            (format!("SHA256:{f64digits}"), DigestError::InvalidFormat),
            (format!("../x:{f64digits}"), DigestError::InvalidFormat),
        ];
        for (text, error) in bad {
            assert_eq!(Digest::parse(&text), Err(error), "{text}");
        }
    }

    #[test]
    fn bytes_hex_and_json_agree() {
        let digest = Digest::sha256_from_bytes(&[0xab; 32]);
        assert_eq!(digest.short(), "abababababab");
        assert_eq!(
            Digest::sha256_from_hex(&"ab".repeat(32)),
            Ok(digest.clone())
        );
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"sha256:x\"").is_err());
    }
}
