//! Where results go, as the command line says it: `--output`, `--push`, `--cache-to`, `--cache-from`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::build::{
    Annotation, Attestations, BuildRequest, CacheExport, CacheMode, CachePlace, Compression,
    Export, ProvenanceMode,
};
use types::digest::Digest;
use types::reference::Reference;

use super::annotations;
use crate::flags::Matches;

/// `key=value,…`; each may be taken once.
struct Fields<'a> {
    flag: &'static str,
    text: &'a str,
    all: BTreeMap<&'a str, &'a str>,
}

impl<'a> Fields<'a> {
    fn read(flag: &'static str, text: &'a str) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for field in text.split(',') {
            let (key, value) = field.split_once('=').unwrap_or((field, "true"));
            if all.insert(key.trim(), value).is_some() {
                return Err(format!("{flag} {text}: {key} is given twice"));
            }
        }
        Ok(Self { flag, text, all })
    }

    fn take(&mut self, keys: &[&'static str]) -> Option<&'a str> {
        let found = keys.iter().filter_map(|key| self.all.remove(key));
        found.last()
    }

    fn bool(&mut self, key: &'static str) -> Result<bool, String> {
        self.flag(key, false)
    }

    /// What a key says, and what goes without it.
    fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, String> {
        match self.take(&[key]) {
            None => Ok(default),
            Some(value) => types::go_syntax::parse_bool(value)
                .map_err(|_| format!("{} {}: {key} is true or false", self.flag, self.text)),
        }
    }

    /// Takes `annotation.…=…`.
    fn take_annotations(&mut self, into: &mut Vec<Annotation>) -> Result<(), String> {
        let mut error = None;
        self.all.retain(|key, value| {
            match annotations::parse_attribute(key, value) {
                None => return true,
                Some(Ok(annotation)) => into.push(annotation),
                Some(Err(text)) => error = Some(text),
            }
            false
        });
        error.map_or(Ok(()), Err)
    }

    /// What was not taken is not known.
    fn end(self) -> Result<(), String> {
        match self.all.first_key_value() {
            Some((key, _)) => Err(format!(
                "{} {}: {key} is not built yet",
                self.flag, self.text
            )),
            None => Ok(()),
        }
    }
}

/// Reads all of them into the request.
pub(super) fn read(matches: &Matches, build: &mut BuildRequest) -> Result<(), String> {
    build.pushes = matches.get_bool("push");
    for text in matches.get_list("annotation") {
        build.annotations.extend(annotations::parse(text)?);
    }
    for text in matches.get_list("output") {
        let export = output(text, build)?;
        build.exports.push(export);
    }
    if matches.get_bool("load")
        && !build.exports.is_empty()
        && !build.exports.contains(&Export::Image)
    {
        build.exports.push(Export::Image);
    }
    if build.pushes && build.tags.is_empty() {
        return Err("tag is needed when pushing to registry".into());
    }
    for text in matches.get_list("cache-from") {
        build.cache_from.extend(cache_from(text)?);
    }
    for text in matches.get_list("cache-to") {
        build.cache_to.push(cache_to(text)?);
    }
    build.attestations = attestations(matches)?;
    build.squashes = matches.get_bool("squash");
    build.verifies = matches.get_bool("verify");
    Ok(())
}

/// `--attest`, and its short forms `--provenance` and `--sbom`, which come after it.
fn attestations(matches: &Matches) -> Result<Attestations, String> {
    let mut all = Attestations::default();
    for text in matches.get_list("attest") {
        let mut fields = Fields::read("--attest", text)?;
        match fields.take(&["type"]) {
            Some("provenance") => all.provenance = provenance(fields)?,
            Some("sbom") => all.sbom = sbom(fields)?,
            Some(other) => {
                return Err(format!("--attest type={other}: it is provenance or sbom"));
            }
            None => return Err(format!("--attest {text}: type= is missing")),
        }
    }
    if let Some(fields) = short(matches, "provenance")? {
        all.provenance = provenance(fields)?;
    }
    if let Some(fields) = short(matches, "sbom")? {
        all.sbom = sbom(fields)?;
    }
    let is_said = ["attest", "provenance", "sbom"].map(|flag| matches.is_set(flag));
    all.is_silent = is_said.contains(&true) && !all.is_any();
    Ok(all)
}

/// `true` and `false` alone are what `disabled` says the other way round.
fn short<'a>(matches: &'a Matches, flag: &'static str) -> Result<Option<Fields<'a>>, String> {
    let text = matches.get_str(flag);
    let text = match types::go_syntax::parse_bool(text) {
        _ if text.is_empty() => return Ok(None),
        Ok(true) => "disabled=false",
        Ok(false) => "disabled=true",
        Err(_) => text,
    };
    Fields::read(flag, text).map(Some)
}

fn provenance(mut fields: Fields<'_>) -> Result<Option<ProvenanceMode>, String> {
    let is_off = fields.bool("disabled")?;
    let mode = match fields.take(&["mode"]) {
        None | Some("min") => ProvenanceMode::Min,
        Some("max") => ProvenanceMode::Max,
        Some(other) => return Err(format!("provenance mode {other} is min or max")),
    };
    if let Some(version) = fields.take(&["version"]).filter(|version| *version != "v1") {
        return Err(format!(
            "provenance version {version} is not built yet: it is v1"
        ));
    }
    fields.end()?;
    Ok((!is_off).then_some(mode))
}

fn sbom(mut fields: Fields<'_>) -> Result<bool, String> {
    let is_off = fields.bool("disabled")?;
    if let Some(generator) = fields.take(&["generator"]) {
        return Err(format!(
            "sbom generator {generator} is not built yet: packages are found by the builder itself"
        ));
    }
    fields.end()?;
    Ok(!is_off)
}

/// `--output`: `type=local,dest=out`, or a directory alone, or `-` for an archive.
fn output(text: &str, build: &mut BuildRequest) -> Result<Export, String> {
    if text == "-" {
        return to_stdout("tar").map(|()| Export::Archive(None));
    }
    if !text.contains('=') {
        return Ok(Export::Directory(text.into()));
    }
    let mut fields = Fields::read("--output", text)?;
    fields.take_annotations(&mut build.annotations)?;
    let needs_index = |build: &BuildRequest| {
        let mut all = build.annotations.iter();
        build.platforms.len() > 1 || all.any(|one| one.level.is_of_index())
    };
    let kind = fields.take(&["type"]).unwrap_or_default();
    let destination = fields.take(&["dest", "destination"]);
    let is_archive = match kind {
        "oci" | "docker" => fields.flag("tar", true)?,
        _ => true,
    };
    let file = |destination: Option<&str>| match destination {
        None | Some("-") => to_stdout(kind).map(|()| None),
        Some(path) => Ok(Some(PathBuf::from(path))),
    };
    let export = match (kind, destination) {
        ("image" | "docker" | "registry", None) if is_archive => {
            if let Some(name) = fields.take(&["name"]) {
                build.tags.push(super::inputs::tag(name)?);
            }
            build.pushes |= fields.bool("push")? || kind == "registry";
            Export::Image
        }
        ("local", Some(path)) => Export::Directory(path.into()),
        ("local", None) => return Err("output directory is required for local exporter".into()),
        ("tar", destination) => Export::Archive(file(destination)?),
        ("cacheonly", None) => Export::Nowhere,
        ("docker", _) if needs_index(build) => {
            return Err(
                "docker exporter does not currently support exporting manifest lists: use type=oci"
                    .into(),
            );
        }
        ("oci" | "docker", Some(path)) if !is_archive && path != "-" => {
            Export::ImageDirectory(path.into())
        }
        ("oci" | "docker", _) if !is_archive => {
            return Err(format!("output directory is required for {kind} exporter"));
        }
        ("oci" | "docker", destination) => Export::ImageArchive(file(destination)?),
        (other, _) => {
            return Err(format!(
                "--output type={other} is not built yet: it is image, registry, docker, oci, \
                 local, tar or cacheonly"
            ));
        }
    };
    fields.end()?;
    Ok(export)
}

/// An archive is nothing for a terminal.
fn to_stdout(kind: &str) -> Result<(), String> {
    match crate::terminal::is_terminal(rustix::stdio::stdout()) {
        true => Err(format!(
            "dest file is required for {kind} exporter. refusing to write to console"
        )),
        false => Ok(()),
    }
}

fn reference(flag: &str, text: &str) -> Result<Reference, String> {
    let parsed = Reference::parse_normalized(text);
    let parsed = parsed.map_err(|error| format!("{flag} {text}: {error}"))?;
    Ok(parsed.with_default_tag())
}

fn registry(fields: &mut Fields<'_>) -> Result<CachePlace, String> {
    let name = fields.take(&["ref"]);
    let name = name.ok_or_else(|| format!("{} {}: ref= is missing", fields.flag, fields.text))?;
    Ok(CachePlace::Registry(reference(fields.flag, name)?))
}

fn directory(fields: &mut Fields<'_>, key: &'static str) -> Result<CachePlace, String> {
    let path = fields.take(&[key]);
    let path = path.ok_or_else(|| format!("{} {}: {key}= is missing", fields.flag, fields.text))?;
    let digest = fields.take(&["digest"]).map(Digest::parse).transpose();
    Ok(CachePlace::Directory {
        path: std::path::absolute(path).map_err(|error| format!("{path}: {error}"))?,
        tag: fields.take(&["tag"]).unwrap_or_default().to_owned(),
        digest: digest.map_err(|error| format!("{} {}: {error}", fields.flag, fields.text))?,
    })
}

fn unknown(flag: &str, kind: &str) -> String {
    match kind {
        "gha" | "s3" | "azblob" => format!(
            "{flag} type={kind} is not built yet: caches are in registries (type=registry) and \
             directories (type=local)"
        ),
        _ => format!("{flag}: there are no caches of type {kind:?}"),
    }
}

/// `--cache-from`: a name of a registry, or several, or `type=…`.
fn cache_from(text: &str) -> Result<Vec<CachePlace>, String> {
    let flag = "--cache-from";
    if !text.contains('=') {
        let names = text.split(',').filter(|name| !name.is_empty());
        return names
            .map(|name| Ok(CachePlace::Registry(reference(flag, name)?)))
            .collect();
    }
    let mut fields = Fields::read(flag, text)?;
    let place = match fields.take(&["type"]).unwrap_or_default() {
        // What stands in an image is found by the image's name.
        "registry" | "inline" => registry(&mut fields)?,
        "local" => directory(&mut fields, "src")?,
        other => return Err(unknown(flag, other)),
    };
    fields.end()?;
    Ok(vec![place])
}

/// `--cache-to`: a name of a registry, or `type=…`.
fn cache_to(text: &str) -> Result<CacheExport, String> {
    let flag = "--cache-to";
    let mut export = CacheExport::inline();
    if !text.contains('=') && text != "inline" {
        export.place = CachePlace::Registry(reference(flag, text)?);
        return Ok(export);
    }
    let mut fields = Fields::read(flag, text)?;
    let kind = match text {
        "inline" => fields.take(&["inline"]).map(|_| "inline"),
        _ => fields.take(&["type"]),
    };
    export.place = match kind.unwrap_or_default() {
        "registry" => registry(&mut fields)?,
        "local" => directory(&mut fields, "dest")?,
        "inline" => CachePlace::Inline,
        other => return Err(unknown(flag, other)),
    };
    export.mode = match (fields.take(&["mode"]), &export.place) {
        (None | Some("min"), _) => CacheMode::Min,
        (Some("max"), CachePlace::Inline) => {
            return Err(
                "--cache-to type=inline has mode=min alone: an image has its own layers and no \
                 others"
                    .into(),
            );
        }
        (Some("max"), _) => CacheMode::Max,
        (Some(other), _) => return Err(format!("{flag} {text}: mode {other} is min or max")),
    };
    export.compression = match fields.take(&["compression"]) {
        None | Some("gzip") => Compression::Gzip,
        Some("zstd") => Compression::Zstd,
        Some(other) => {
            return Err(format!(
                "{flag} {text}: compression {other} is gzip or zstd"
            ));
        }
    };
    export.ignores_errors = fields.bool("ignore-error")?;
    // There is one form, and it is this one.
    for key in ["oci-mediatypes", "image-manifest"] {
        if fields.take(&[key]).is_some_and(|value| value == "false") {
            return Err(format!("{flag} {text}: {key}=false is not built yet"));
        }
    }
    fields.end()?;
    Ok(export)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_named_as_for_buildkit_or_refused_by_name() {
        let from = |text: &str| {
            cache_from(text).map(|places| {
                let places: Vec<String> = places.iter().map(ToString::to_string).collect();
                places.join(" ")
            })
        };
        assert_eq!(from("me/app,me/base:2").unwrap(), "me/app:latest me/base:2");
        assert_eq!(
            from("type=registry,ref=h:5000/c").unwrap(),
            "h:5000/c:latest"
        );
        assert_eq!(from("type=local,src=/c,tag=x").unwrap(), "/c");
        let to =
            cache_to("type=local,dest=/c,mode=max,compression=zstd,ignore-error=true").unwrap();
        assert_eq!(
            (to.mode, to.compression, to.ignores_errors),
            (CacheMode::Max, Compression::Zstd, true)
        );
        assert_eq!(cache_to("type=inline").unwrap().place, CachePlace::Inline);
        assert_eq!(cache_to("me/c").unwrap().place.to_string(), "me/c:latest");
        for (text, part) in [
            ("type=gha", "not built yet"),
            ("type=registry", "ref= is missing"),
            ("type=local,dest=x,mode=mid", "min or max"),
            ("type=inline,mode=max", "mode=min alone"),
            ("type=local,dest=x,level=3", "level is not built yet"),
            ("type=local,dest=x,dest=y", "given twice"),
            ("type=what", "no caches of type"),
        ] {
            let error = cache_to(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(cache_from("type=local,src=x,digest=sha256:../x").is_err());
    }

    #[test]
    fn attestations_are_those_of_buildkit_or_refused_by_name() {
        let of = |text: &str| Fields::read("--attest", text).and_then(provenance);
        assert_eq!(of("mode=max").unwrap(), Some(ProvenanceMode::Max));
        assert_eq!(of("disabled=false").unwrap(), Some(ProvenanceMode::Min));
        assert_eq!(of("mode=max,disabled=true").unwrap(), None);
        assert_eq!(of("version=v1").unwrap(), Some(ProvenanceMode::Min));
        for (text, part) in [
            ("mode=all", "min or max"),
            ("version=v0.2", "not built yet"),
            ("inline-only=true", "inline-only is not built yet"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let of = |text: &str| Fields::read("--sbom", text).and_then(sbom);
        assert!(of("disabled=false").unwrap() && !of("disabled=true").unwrap());
        assert!(
            of("generator=docker/x")
                .unwrap_err()
                .contains("docker/x is not built yet")
        );
    }

    #[test]
    fn outputs_push_where_they_say_so() {
        let read = |text: &str| {
            let mut build = BuildRequest::default();
            output(text, &mut build).map(|export| (export, build.pushes, build.tags.len()))
        };
        assert_eq!(read("type=registry").unwrap(), (Export::Image, true, 0));
        assert_eq!(
            read("type=image,push=true,name=me/x").unwrap(),
            (Export::Image, true, 1)
        );
        assert_eq!(
            read("type=image,push=false").unwrap(),
            (Export::Image, false, 0)
        );
        assert_eq!(read("out").unwrap().0, Export::Directory("out".into()));
        for kind in ["oci", "docker"] {
            assert_eq!(
                read(&format!("type={kind},dest=d,tar=false")).unwrap().0,
                Export::ImageDirectory("d".into())
            );
            let error = read(&format!("type={kind},tar=false")).unwrap_err();
            assert!(error.contains("output directory is required"), "{error}");
        }
        assert!(read("type=local,dest=d,tar=false").is_err());
        assert!(
            read("type=image,compression=estargz")
                .unwrap_err()
                .contains("compression")
        );
        assert!(read("type=local").unwrap_err().contains("required"));
    }
}
