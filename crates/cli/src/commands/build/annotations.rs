//! `--annotation`, and the same within `--output`, as Docker's build client reads them.

use engine::build::{Annotation, AnnotationLevel};
use types::platform::Platform;

/// `[LEVEL[PLATFORM],…:]KEY=VALUE`.
pub(super) fn parse(text: &str) -> Result<Vec<Annotation>, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("invalid annotation {text:?}, expected key=value"))?;
    let (levels, key) = name.split_once(':').unwrap_or(("manifest", name));
    if key.is_empty() {
        return Err(format!("invalid annotation {text:?}, expected key=value"));
    }
    levels
        .split(',')
        .map(|level| annotation(level, key, value))
        .collect()
}

/// `annotation[-LEVEL][[PLATFORM]].KEY`, a key of `--output`; `None` for another.
pub(super) fn parse_attribute(name: &str, value: &str) -> Option<Result<Annotation, String>> {
    let rest = name.strip_prefix("annotation")?;
    // A point may stand in the platform's brackets as well.
    let start = rest.find(']').unwrap_or(0);
    let point = start + rest[start..].find('.')?;
    let (level, key) = (&rest[..point], &rest[point + 1..]);
    let level = match level.strip_prefix('-') {
        Some(level) => level.to_owned(),
        None => format!("manifest{level}"),
    };
    Some(annotation(&level, key, value))
}

fn annotation(level: &str, key: &str, value: &str) -> Result<Annotation, String> {
    let (name, platform) = match level.split_once('[') {
        None => (level, None),
        Some((name, rest)) => {
            let platform = rest.strip_suffix(']').ok_or_else(|| {
                format!(
                    "invalid annotation type, expected type and optional platform in square brackets, \
                     got {level:?}"
                )
            })?;
            let parsed = Platform::parse(platform);
            let parsed = parsed.map_err(|error| format!("annotation {key}: {error}"))?;
            (name, Some(parsed.normalised()))
        }
    };
    let level = match name {
        "manifest" => AnnotationLevel::Manifest,
        "manifest-descriptor" => AnnotationLevel::ManifestDescriptor,
        "index" => AnnotationLevel::Index,
        "index-descriptor" => AnnotationLevel::IndexDescriptor,
        _ => {
            return Err(format!(
                "unknown annotation type {name:?}: it is manifest, index, manifest-descriptor or \
                 index-descriptor"
            ));
        }
    };
    if level.is_of_index() && level != AnnotationLevel::ManifestDescriptor && platform.is_some() {
        return Err(format!("annotation {key}: an index has no platform"));
    }
    Ok(Annotation {
        level,
        platform,
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_have_levels_and_platforms() {
        let of = |text: &str| {
            let all = parse(text)?;
            let shown = all.into_iter().map(|one| {
                let platform = one.platform.map(|platform| platform.to_string());
                (one.level, platform, one.key, one.value)
            });
            Ok::<_, String>(shown.collect::<Vec<_>>())
        };
        let arm = Some("linux/arm64".to_owned());
        let row = |level, platform: &Option<String>, key: &str, value: &str| {
            (level, platform.clone(), key.to_owned(), value.to_owned())
        };
        use AnnotationLevel::{Index, Manifest, ManifestDescriptor};
        assert_eq!(of("a.b=c=d").unwrap(), [row(Manifest, &None, "a.b", "c=d")]);
        assert_eq!(of("a=").unwrap(), [row(Manifest, &None, "a", "")]);
        assert_eq!(
            of("index,manifest[linux/arm64]:a=b:c").unwrap(),
            [
                row(Index, &None, "a", "b:c"),
                row(Manifest, &arm, "a", "b:c")
            ]
        );
        for bad in [
            "a",
            "=b",
            "index:=b",
            "layer:a=b",
            "index[linux/arm64]:a=b",
            "manifest[x:a=b",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
        let attribute = |name| {
            parse_attribute(name, "v")
                .map(Result::unwrap)
                .map(|one| (one.level, one.key))
        };
        assert_eq!(
            attribute("annotation.a.b"),
            Some((Manifest, "a.b".to_owned()))
        );
        assert_eq!(
            attribute("annotation-manifest-descriptor[linux/amd64].a.b"),
            Some((ManifestDescriptor, "a.b".to_owned()))
        );
        assert_eq!(attribute("name"), None);
        assert_eq!(attribute("annotation"), None);
    }
}
