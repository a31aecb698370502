//! `manifest`: manifests in registries, and lists of them.

use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::Engine;
use engine::image::ImageError;
use engine::image::lists::{self, Found, Lists};
use serde::Serialize;
use serde_json::{Value, json};
use types::reference::Reference;

use super::sharing::fail;
use super::{fail_text, print, print_line};
use crate::errors;
use crate::flags::{Invocation, ManifestAction};

/// Carries out one of the commands of the group.
pub(crate) fn manifest(
    engine: &Engine,
    invocation: &Invocation,
    action: ManifestAction,
) -> ExitCode {
    match action {
        ManifestAction::Annotate => annotate(invocation),
        ManifestAction::Create => create(engine, invocation),
        ManifestAction::Inspect => inspect(engine, invocation),
        ManifestAction::Push => push(engine, invocation),
        ManifestAction::Rm => rm(invocation),
    }
}

fn parse(text: &str) -> Result<Reference, ExitCode> {
    Reference::parse_normalized(text).map_err(|error| {
        errors::complain(&error.to_string());
        ExitCode::from(1)
    })
}

fn directory(invocation: &Invocation) -> Result<PathBuf, ExitCode> {
    registry::docker_config::directory().ok_or_else(|| {
        let text = "neither HOME nor DOCKER_CONFIG says where manifest lists are kept";
        fail_text(invocation, text)
    })
}

fn finish(invocation: &Invocation, list: &Reference, answer: Result<(), ImageError>) -> ExitCode {
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(invocation, list.domain(), error),
    }
}

/// Indented by a tab, as Docker prints it.
fn pretty(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // A value that was parsed or made here can always be written.
    let _ = value.serialize(&mut writer);
    String::from_utf8_lossy(&bytes).into_owned() + "\n"
}

fn verbose(found: &Found) -> Value {
    let document: Value = serde_json::from_slice(&found.bytes).unwrap_or_default();
    let is_docker = found.descriptor.media_type.contains("vnd.docker");
    let member = if is_docker {
        "SchemaV2Manifest"
    } else {
        "OCIManifest"
    };
    json!({
        "Ref": found.reference.canonical(),
        "Descriptor": found.descriptor,
        "Raw": STANDARD.encode(&found.bytes),
        member: document,
    })
}

fn inspect(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let args = &invocation.matches.args;
    let directory = match directory(invocation) {
        Ok(directory) => directory,
        Err(code) => return code,
    };
    let names: Result<Vec<Reference>, ExitCode> = args.iter().map(|text| parse(text)).collect();
    let names = match names {
        Ok(names) => names,
        Err(code) => return code,
    };
    let context = engine.images();
    let Some(name) = names.last().cloned() else {
        return ExitCode::from(1);
    };
    // A list that is here, or a manifest of it; else what the registry has.
    let local = Lists::new(&directory).read(&names[0].clone().with_default_tag());
    let is_local = local.as_ref().is_ok_and(|entries| !entries.is_empty());
    if let (true, [list]) = (is_local, names.as_slice()) {
        let answer = lists::document(&directory, list).map(|(_, bytes)| {
            print(&pretty(&serde_json::from_slice(&bytes).unwrap_or_default()));
        });
        return finish(invocation, list, answer);
    }
    let answer = if invocation.matches.get_bool("verbose") {
        lists::inspect_all(&context, &name).map(|all| match all.as_slice() {
            [one] => print(&pretty(&verbose(one))),
            all => print(&pretty(&all.iter().map(verbose).collect())),
        })
    } else {
        lists::inspect(&context, &name).map(|found| {
            print(&pretty(
                &serde_json::from_slice(&found.bytes).unwrap_or_default(),
            ));
        })
    };
    finish(invocation, &name, answer)
}

fn create(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let names: Result<Vec<Reference>, ExitCode> =
        matches.args.iter().map(|text| parse(text)).collect();
    let (names, directory) = match (names, directory(invocation)) {
        (Ok(names), Ok(directory)) => (names, directory),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    let (list, manifests) = (&names[0], &names[1..]);
    let amend = matches.get_bool("amend");
    let made = lists::create(&engine.images(), &directory, list, manifests, amend);
    let told = made.map(|list| print_line(&format!("Created manifest list {}", list.canonical())));
    finish(invocation, list, told)
}

fn annotate(invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let names: Result<Vec<Reference>, ExitCode> =
        matches.args.iter().map(|text| parse(text)).collect();
    let (names, directory) = match (names, directory(invocation)) {
        (Ok(names), Ok(directory)) => (names, directory),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    let list = names[0].clone().with_default_tag();
    let manifest = names[1].clone().with_default_tag();
    let lists = Lists::new(&directory);
    let entries = match lists.read(&list) {
        Ok(entries) => entries,
        Err(error) => return fail(invocation, list.domain(), error),
    };
    let Some(mut entry) = entries
        .into_iter()
        .find(|entry| entry.reference == manifest)
    else {
        let (manifest, list) = (manifest.familiar(), list.familiar());
        return fail_text(
            invocation,
            &format!("manifest for image {manifest} does not exist in {list}"),
        );
    };
    let platform = entry
        .descriptor
        .platform
        .get_or_insert_with(types::platform::Platform::host);
    for (flag, member) in [
        ("arch", &mut platform.architecture),
        ("os", &mut platform.os),
        ("os-version", &mut platform.os_version),
        ("variant", &mut platform.variant),
    ] {
        match matches.get_str(flag) {
            "" => {}
            text => *member = text.to_owned(),
        }
    }
    let features = matches.get_list("os-features");
    if !features.is_empty() {
        platform.os_features = features.to_vec();
    }
    finish(invocation, &list, lists.write(&list, &entry))
}

fn push(engine: &Engine, invocation: &Invocation) -> ExitCode {
    let matches = &invocation.matches;
    let name = matches.args.first().map_or("", String::as_str);
    let (list, directory) = match (parse(name), directory(invocation)) {
        (Ok(list), Ok(directory)) => (list, directory),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    let purge = matches.get_bool("purge");
    let pushed = lists::push(&engine.images(), &directory, &list, purge, &mut |pushed| {
        let digest = pushed.digest().map(ToString::to_string).unwrap_or_default();
        print_line(&format!(
            "Pushed ref {} with digest: {digest}",
            pushed.canonical()
        ));
    });
    finish(
        invocation,
        &list,
        pushed.map(|digest| print_line(digest.as_str())),
    )
}

fn rm(invocation: &Invocation) -> ExitCode {
    let directory = match directory(invocation) {
        Ok(directory) => directory,
        Err(code) => return code,
    };
    let lists = Lists::new(&directory);
    let mut failed = false;
    for text in &invocation.matches.args {
        let Ok(list) = parse(text) else {
            failed = true;
            continue;
        };
        match lists.remove(&list) {
            Ok(true) => {}
            Ok(false) => {
                errors::complain(&format!("No such manifest: {text}"));
                failed = true;
            }
            Err(error) => {
                fail(invocation, list.domain(), error);
                failed = true;
            }
        }
    }
    ExitCode::from(u8::from(failed))
}
