//! Platforms: `os[/arch[/variant]]`, and which image runs where.
//!
//! Grammar, normalisation and matching order are those of containerd, which Docker uses.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::go_syntax::quote;

/// The longest specifier looked at.
pub const PLATFORM_BYTES_MAX: usize = 256;

const KNOWN_SYSTEMS: [&str; 14] = [
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "solaris",
    "windows",
];
const KNOWN_ARCHITECTURES: [&str; 17] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc",
    "ppc64", "ppc64le", "riscv", "riscv64", "s390x", "sparc64", "wasm",
];

/// Why a platform is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// `*` or longer than [`PLATFORM_BYTES_MAX`].
    #[error("{}: wildcards not yet supported: invalid argument", quote(.0))]
    Wildcard(String),
    /// The first part is none.
    #[error(
        "{} is an invalid OS component of {}: OSAndVersion specifier component must match \
         \"^([A-Za-z0-9_-]+)(?:\\\\(([A-Za-z0-9_.-]*)\\\\))?$\": invalid argument",
        quote(.part), quote(.text)
    )]
    System {
        /// The part.
        part: String,
        /// The whole.
        text: String,
    },
    /// Another part is none.
    #[error(
        "{} is an invalid component of {}: platform specifier component must match \
         \"^[A-Za-z0-9_.-]+$\": invalid argument",
        quote(.part), quote(.text)
    )]
    Component {
        /// The part.
        part: String,
        /// The whole.
        text: String,
    },
    /// One word that is neither a system nor an architecture.
    #[error("{}: unknown operating system or architecture: invalid argument", quote(.0))]
    Unknown(String),
    /// More than three parts, or too long.
    #[error("{}: cannot parse platform specifier: invalid argument", quote(.0))]
    Shape(String),
}

/// What a program needs to run: system, architecture and variant. Also the `platform` member of
/// OCI descriptors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// `amd64`, `arm64` …
    #[serde(deserialize_with = "null_is_default")]
    pub architecture: String,
    /// `linux`, `windows` …
    #[serde(deserialize_with = "null_is_default")]
    pub os: String,
    /// Version of the system, for Windows.
    #[serde(rename = "os.version", deserialize_with = "null_is_default")]
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Features of the system, for Windows.
    #[serde(rename = "os.features", deserialize_with = "null_is_default")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// `v7`, `v8` … or empty.
    #[serde(
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub variant: String,
}

/// Go writes empty slices and maps as `null`; so we read `null` as nothing.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Platform {
    /// A platform of three words, normalised.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let (architecture, variant) = normalise_architecture(architecture, variant);
        Self {
            os: normalise_system(os),
            architecture,
            variant,
            ..Self::default()
        }
    }

    /// The platform this program was built for.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, "")
    }

    /// Reads `linux/arm64/v8`, `linux/amd64`, `amd64`, `linux`; what is missing is the host's.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        if text.contains('*') {
            return Err(PlatformError::Wildcard(text.to_owned()));
        }
        if text.len() > PLATFORM_BYTES_MAX {
            return Err(PlatformError::Shape(text.to_owned()));
        }
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        let (system, version) = split_system(parts[0]).ok_or_else(|| PlatformError::System {
            part: parts[0].to_owned(),
            text: text.to_owned(),
        })?;
        if let Some(part) = parts[1..].iter().find(|part| !is_component(part)) {
            let (part, text) = ((*part).to_owned(), text.to_owned());
            return Err(PlatformError::Component { part, text });
        }
        let mut platform = match parts[..] {
            [word] => Self::from_word(word, system)?,
            [_, architecture] => Self::new(system, architecture, "").without_default_variant(),
            [_, architecture, variant] => {
                let mut platform = Self::new(system, architecture, variant);
                if platform.architecture == "arm64" && platform.variant.is_empty() {
                    platform.variant = "v8".to_owned();
                }
                platform
            }
            _ => return Err(PlatformError::Shape(text.to_owned())),
        };
        platform.os_version = version.to_owned();
        Ok(platform)
    }

    fn from_word(word: &str, system: &str) -> Result<Self, PlatformError> {
        let system = normalise_system(system);
        let host = Self::host();
        if KNOWN_SYSTEMS.contains(&system.as_str()) {
            return Ok(Self { os: system, ..host });
        }
        let platform = Self::new(&host.os, word, "").without_default_variant();
        if KNOWN_ARCHITECTURES.contains(&platform.architecture.as_str()) {
            return Ok(platform);
        }
        Err(PlatformError::Unknown(word.to_owned()))
    }

    /// ARM without a word is v7; it is not spelt out where the user did not.
    fn without_default_variant(mut self) -> Self {
        if self.architecture == "arm" && self.variant == "v7" {
            self.variant.clear();
        }
        self
    }

    /// The same in the one spelling that comparisons use.
    pub fn normalised(&self) -> Self {
        Self {
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            ..Self::new(&self.os, &self.architecture, &self.variant)
        }
    }

    /// How well an image for `other` serves where `self` is asked for: 0 is best, `None` not at
    /// all. An amd64 host also runs older variants and 386, an arm64 host 32-bit ARM.
    pub fn match_rank(&self, other: &Self) -> Option<usize> {
        let other = other.normalised();
        self.compatible().iter().position(|known| {
            known.os == other.os
                && known.architecture == other.architecture
                && known.variant == other.variant
                && (known.os_version.is_empty() || known.os_version == other.os_version)
        })
    }

    /// Which of several platforms serves best; of equals the first.
    pub fn best_match<'a>(&self, others: impl IntoIterator<Item = &'a Self>) -> Option<usize> {
        let ranked = others.into_iter().enumerate();
        let ranked = ranked.filter_map(|(index, other)| Some((self.match_rank(other)?, index)));
        ranked.min().map(|(_, index)| index)
    }

    /// The platforms that run where `self` is asked for, best first.
    fn compatible(&self) -> Vec<Self> {
        let wanted = self.normalised();
        let mut list = vec![wanted.clone()];
        let also = |architecture: &str, variant: String| Self {
            architecture: architecture.to_owned(),
            variant,
            ..wanted.clone()
        };
        let level = variant_level(&wanted.variant);
        match wanted.architecture.as_str() {
            "amd64" => {
                let older = (2..level.unwrap_or(1)).rev();
                list.extend(older.map(|level| also("amd64", format!("v{level}"))));
                if level.is_some_and(|level| level > 1) {
                    list.push(also("amd64", String::new()));
                }
                list.push(also("386", String::new()));
            }
            "arm" => {
                let older = (5..level.unwrap_or(7)).rev();
                list.extend(older.map(|level| also("arm", format!("v{level}"))));
            }
            "arm64" => {
                if level.is_some_and(|level| level > 8) {
                    list.push(also("arm64", String::new()));
                }
                list.extend((5..=8).rev().map(|level| also("arm", format!("v{level}"))));
            }
            _ => {}
        }
        list
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return formatter.write_str("unknown");
        }
        formatter.write_str(&self.os)?;
        if !self.os_version.is_empty() {
            write!(formatter, "({})", self.os_version)?;
        }
        for part in [&self.architecture, &self.variant] {
            if !part.is_empty() {
                write!(formatter, "/{part}")?;
            }
        }
        Ok(())
    }
}

/// `v3` is 3. Bounded, so that nobody makes us list a thousand million variants.
fn variant_level(variant: &str) -> Option<u32> {
    variant
        .strip_prefix('v')?
        .parse()
        .ok()
        .filter(|&level| level <= 9)
}

/// `linux` or `windows(10.0.17763)`.
fn split_system(part: &str) -> Option<(&str, &str)> {
    let (system, version) = match part.split_once('(') {
        Some((system, version)) => (system, version.strip_suffix(')')?),
        None => (part, ""),
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_system = !system.is_empty() && system.bytes().all(word);
    let is_version = version.bytes().all(|byte| word(byte) || byte == b'.');
    (is_system && is_version).then_some((system, version))
}

fn is_component(part: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !part.is_empty() && part.bytes().all(word)
}

fn normalise_system(system: &str) -> String {
    match system.to_ascii_lowercase().as_str() {
        "" => "linux".to_owned(),
        "macos" => "darwin".to_owned(),
        system => system.to_owned(),
    }
}

fn normalise_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (
        architecture.to_ascii_lowercase(),
        variant.to_ascii_lowercase(),
    );
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386" | "x86", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        pair => pair,
    };
    (architecture.to_owned(), variant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_and_normalised() {
        let host = Platform::host();
        for (text, want) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/X86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64/v8"),
            ("linux/arm", "linux/arm"),
            ("linux/armhf", "linux/arm"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armel", "linux/arm/v6"),
            ("macos/arm64", "darwin/arm64"),
            ("riscv64", "linux/riscv64"),
            ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
            ("linux", &host.to_string()),
        ] {
            let platform = Platform::parse(text).unwrap();
            assert_eq!(platform.to_string(), want, "{text}");
            assert_eq!(Platform::parse(want), Ok(platform), "{text}");
        }
    }

    #[test]
    fn bad_platforms_have_the_words_of_docker() {
        for (text, want) in [
            (
                "bogus/",
                "\"\" is an invalid component of \"bogus/\": platform specifier component must \
                 match \"^[A-Za-z0-9_.-]+$\": invalid argument",
            ),
            (
                "bogus",
                "\"bogus\": unknown operating system or architecture: invalid argument",
            ),
            (
                "a/b/c/d",
                "\"a/b/c/d\": cannot parse platform specifier: invalid argument",
            ),
            (
                "linux/*",
                "\"linux/*\": wildcards not yet supported: invalid argument",
            ),
        ] {
            assert_eq!(Platform::parse(text).unwrap_err().to_string(), want);
        }
        assert!(Platform::parse("").is_err());
        assert!(Platform::parse("linux(x/amd64").is_err());
    }

    #[test]
    fn the_best_of_an_index_is_chosen_in_the_order_of_containerd() {
        let parse = |text: &str| Platform::parse(text).unwrap();
        for (wanted, offered, want) in [
            ("linux/amd64", &["linux/386", "linux/amd64"][..], Some(1)),
            ("linux/amd64", &["linux/arm64", "linux/386"], Some(1)),
            ("linux/amd64", &["windows/amd64", "linux/amd64/v2"], None),
            (
                "linux/amd64/v3",
                &["linux/amd64", "linux/amd64/v2"],
                Some(1),
            ),
            ("linux/arm64", &["linux/arm/v6", "linux/arm/v7"], Some(1)),
            ("linux/arm64", &["linux/arm/v7", "linux/arm64/v8"], Some(1)),
            ("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"], Some(1)),
            ("linux/arm/v7", &["linux/arm"], Some(0)),
            ("linux/s390x", &["linux/amd64"], None),
        ] {
            let offered: Vec<_> = offered.iter().map(|text| parse(text)).collect();
            assert_eq!(parse(wanted).best_match(&offered), want, "{wanted}");
        }
        let absurd = parse("linux/arm/v4294967295");
        assert_eq!(
            absurd.best_match([&parse("linux/arm/v7"), &absurd]),
            Some(1)
        );
    }

    #[test]
    fn json_with_null_is_read() {
        let json = r#"{"architecture":"arm64","os":"linux","variant":null,"os.features":null}"#;
        let platform: Platform = serde_json::from_str(json).unwrap();
        assert_eq!(platform, Platform::new("linux", "arm64", ""));
        let json = serde_json::to_string(&platform).unwrap();
        assert_eq!(json, r#"{"architecture":"arm64","os":"linux"}"#);
    }
}
