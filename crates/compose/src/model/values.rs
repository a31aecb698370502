//! Values that can be written in several ways.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value as Json;

/// Keys that begin with `x-`: kept, and shown, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Extensions(pub BTreeMap<String, Json>);

impl Extensions {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A scalar of any sort as a text, nothing as none.
struct Scalar(Option<String>);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string, a number or a boolean")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(Some(text.to_owned())))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(Some(value.to_string())))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(Some(value.to_string())))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(Some(crate::tree::go_float(value))))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Scalar, E> {
                Ok(Scalar(None))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// Pairs written as a mapping or as a list of `key=value`.
struct Pairs(Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a mapping or a list of key=value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, Scalar(value))) = map.next_entry()? {
                    pairs.push((key, value));
                }
                Ok(Pairs(pairs))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(Scalar(text)) = list.next_element()? {
                    let text = text.unwrap_or_default();
                    pairs.push(match text.split_once('=') {
                        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                        None => (text, None),
                    });
                }
                Ok(Pairs(pairs))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Pairs, E> {
                Ok(Pairs(Vec::new()))
            }
        }
        deserializer.deserialize_any(PairsVisitor)
    }
}

/// Variables: a name with a value, or a name whose value comes from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Variables(pub BTreeMap<String, Option<String>>);

impl Variables {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Pairs(pairs) = Pairs::deserialize(deserializer)?;
        if let Some((key, _)) = pairs
            .iter()
            .find(|(key, _)| key.ends_with(char::is_whitespace))
        {
            let text = format!("environment variable {key} is declared with a trailing space");
            return Err(de::Error::custom(text));
        }
        Ok(Self(pairs.into_iter().collect()))
    }
}

/// Names with values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mapping(pub BTreeMap<String, String>);

impl Mapping {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Mapping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Pairs(pairs) = Pairs::deserialize(deserializer)?;
        let pair = |(key, value): (String, Option<String>)| (key, value.unwrap_or_default());
        Ok(Self(pairs.into_iter().map(pair).collect()))
    }
}

/// A list, or one text that stands for a list of one.
struct Texts(Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;
        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a list")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Texts, E> {
                Ok(Texts(vec![value.to_string()]))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Texts, E> {
                Ok(Texts(Vec::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(Scalar(text)) = list.next_element()? {
                    texts.push(text.unwrap_or_default());
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_any(TextsVisitor)
    }
}

/// Reads a list that may be written as one text.
pub(crate) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Texts::deserialize(deserializer).map(|Texts(texts)| texts)
}

/// A command: words, or one text that is split into words. Empty is not the same as none.
pub(crate) fn command<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<String>>, D::Error> {
    struct CommandVisitor;
    impl<'de> Visitor<'de> for CommandVisitor {
        type Value = Option<Vec<String>>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string or a list of strings")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            super::words::split(text).map(Some).map_err(E::custom)
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut words = Vec::new();
            while let Some(Scalar(word)) = list.next_element()? {
                words.push(word.unwrap_or_default());
            }
            Ok(Some(words))
        }
    }
    deserializer.deserialize_any(CommandVisitor)
}

/// A health check's command: one text is for the shell.
pub(crate) fn health_test<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    struct TestVisitor;
    impl<'de> Visitor<'de> for TestVisitor {
        type Value = Vec<String>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string or a list of strings")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec!["CMD-SHELL".to_owned(), text.to_owned()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(de::value::SeqAccessDeserializer::new(list))
        }
    }
    deserializer.deserialize_any(TestVisitor)
}

/// A size: a number of bytes or a text like `512m`. Docker Compose writes it as a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub i64);

impl Bytes {
    /// Whether it is 0, which means unset.
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_string())
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Scalar(text) = Scalar::deserialize(deserializer)?;
        let text = text.unwrap_or_default();
        if let Ok(bytes) = text.parse() {
            return Ok(Self(bytes));
        }
        types::units::ram_in_bytes(&text)
            .map(Self)
            .map_err(de::Error::custom)
    }
}

/// A length of time in nanoseconds, written `1m30s`; days and weeks are read too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duration(pub i64);

impl Duration {
    /// Whether it is 0.
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&types::units::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Scalar(text) = Scalar::deserialize(deserializer)?;
        parse_duration(&text.unwrap_or_default())
            .map(Self)
            .map_err(de::Error::custom)
    }
}

/// `1w2d3h4m5s`: Go's durations, with weeks and days before them.
pub(crate) fn parse_duration(text: &str) -> Result<i64, types::units::DurationError> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut total: i64 = 0;
    for (unit, hours) in [('w', 7 * 24), ('d', 24)] {
        let Some((count, after)) = rest.split_once(unit) else {
            continue;
        };
        let Ok(count) = count.parse::<i64>() else {
            continue;
        };
        total = total.saturating_add(count.saturating_mul(hours * 3_600_000_000_000));
        rest = after;
    }
    if rest.is_empty() && total != 0 {
        return Ok(sign * total);
    }
    types::units::parse_duration(rest).map(|rest| sign * total.saturating_add(rest))
}

/// The permissions of a file, written in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub i64);

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("0{:o}", self.0))
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ModeVisitor;
        impl Visitor<'_> for ModeVisitor {
            type Value = FileMode;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("file permissions in octal")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FileMode, E> {
                i64::from_str_radix(text, 8)
                    .map(FileMode)
                    .map_err(|_| E::custom(format!("{text:?} is no mode in octal")))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<FileMode, E> {
                Ok(FileMode(value))
            }
        }
        deserializer.deserialize_any(ModeVisitor)
    }
}

/// Names of hosts with their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(pub BTreeMap<String, Vec<String>>);

impl Hosts {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `host=address`, sorted.
    pub fn lines(&self, separator: char) -> Vec<String> {
        let mut lines: Vec<String> = self
            .0
            .iter()
            .flat_map(|(host, addresses)| {
                addresses
                    .iter()
                    .map(move |address| format!("{host}{separator}{address}"))
            })
            .collect();
        lines.sort();
        lines
    }

    fn put(&mut self, host: &str, address: &str) -> Result<(), String> {
        if host.is_empty() || host.contains([':', '=']) {
            return Err(format!("bad host name '{host}'"));
        }
        let inner = address
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let address = inner.filter(|inner| !inner.is_empty()).unwrap_or(address);
        self.0
            .entry(host.to_owned())
            .or_default()
            .push(address.to_owned());
        Ok(())
    }
}

impl Serialize for Hosts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.lines('=').serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HostsVisitor;
        impl<'de> Visitor<'de> for HostsVisitor {
            type Value = Hosts;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a mapping or a list of host=address")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Hosts, A::Error> {
                let mut hosts = Hosts::default();
                while let Some((host, Texts(addresses))) = map.next_entry::<String, Texts>()? {
                    for address in addresses {
                        hosts.put(&host, &address).map_err(de::Error::custom)?;
                    }
                }
                Ok(hosts)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Hosts, A::Error> {
                let mut hosts = Hosts::default();
                while let Some(Scalar(line)) = list.next_element()? {
                    let line = line.unwrap_or_default();
                    let pair = line.split_once('=').or_else(|| line.split_once(':'));
                    let Some((host, addresses)) = pair else {
                        let text = format!("invalid additional host, missing IP: {line}");
                        return Err(de::Error::custom(text));
                    };
                    for address in addresses.split(',') {
                        hosts.put(host, address).map_err(de::Error::custom)?;
                    }
                }
                Ok(hosts)
            }
        }
        deserializer.deserialize_any(HostsVisitor)
    }
}

/// A soft and a hard limit; one number is both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// The soft limit.
    pub soft: i64,
    /// The hard limit.
    pub hard: i64,
    /// Written as one number.
    pub is_single: bool,
}

impl Serialize for Ulimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Both {
            #[serde(skip_serializing_if = "is_zero")]
            soft: i64,
            #[serde(skip_serializing_if = "is_zero")]
            hard: i64,
        }
        if self.is_single && self.soft != 0 {
            return serializer.serialize_i64(self.soft);
        }
        let (soft, hard) = (self.soft, self.hard);
        Both { soft, hard }.serialize(serializer)
    }
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl<'de> Deserialize<'de> for Ulimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UlimitVisitor;
        impl<'de> Visitor<'de> for UlimitVisitor {
            type Value = Ulimit;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number, or a mapping of soft and hard")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Ulimit, E> {
                Ok(Ulimit {
                    soft: value,
                    hard: value,
                    is_single: true,
                })
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ulimit, E> {
                let value = text
                    .parse()
                    .map_err(|_| E::custom(format!("{text:?} is no number")))?;
                self.visit_i64(value)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ulimit, A::Error> {
                let mut limit = Ulimit {
                    soft: 0,
                    hard: 0,
                    is_single: false,
                };
                while let Some((key, Scalar(value))) = map.next_entry::<String, Scalar>()? {
                    let value = value.unwrap_or_default();
                    let number = value
                        .parse()
                        .map_err(|_| de::Error::custom(format!("{value:?} is no number")));
                    match key.as_str() {
                        "soft" => limit.soft = number?,
                        "hard" => limit.hard = number?,
                        _ => {}
                    }
                }
                Ok(limit)
            }
        }
        deserializer.deserialize_any(UlimitVisitor)
    }
}

/// A number as Go writes one: without a fraction that is none.
pub(crate) fn number<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return serializer.serialize_i64(*value as i64);
    }
    // The shortest text of the small number, not the long one of its neighbour.
    let precise = value.to_string().parse().unwrap_or(f64::from(*value));
    serializer.serialize_f64(precise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_know_days_and_weeks() {
        assert_eq!(parse_duration("1m30s"), Ok(90_000_000_000));
        assert_eq!(parse_duration("1d"), Ok(86_400_000_000_000));
        assert_eq!(
            parse_duration("1w2d3h"),
            Ok((9 * 24 + 3) * 3_600_000_000_000)
        );
        assert!(parse_duration("soon").is_err());
    }
}
