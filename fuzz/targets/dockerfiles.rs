//! Dockerfiles, from bytes to the graph. An error is somewhere in the file, and what is shown of it
//! moves no cursor; each step of a graph stands behind its inputs.
#![no_main]

use std::path::Path;

use build::dockerfile::{DockerfileError, parse};
use build::graph::{Graph, ImageSource, ResolvedImage, Resolver};
use build::lower::{LowerError, Request, lower};
use libfuzzer_sys::fuzz_target;
use types::digest::Digest;
use types::image::ImageConfig;
use types::platform::Platform;

/// One image for all names, with triggers in it.
struct OneImage(Vec<String>);

impl Resolver for OneImage {
    fn image(&mut self, reference: &str, platform: &Platform) -> Result<ResolvedImage, String> {
        let mut config = ImageConfig {
            os: platform.os.clone(),
            architecture: platform.architecture.clone(),
            ..ImageConfig::default()
        };
        config.config.on_build.clone_from(&self.0);
        let id = Digest::sha256_from_bytes(&[7; 32]);
        config.rootfs.diff_ids.push(id.clone());
        Ok(ResolvedImage {
            source: ImageSource {
                reference: reference.to_owned(),
                id,
            },
            manifest: None,
            config,
        })
    }

    fn oci_layout(
        &mut self,
        _: &Path,
        reference: &str,
        platform: &Platform,
    ) -> Result<ResolvedImage, String> {
        self.image(reference, platform)
    }
}

fn check(error: &DockerfileError, source: &[u8]) {
    let lines = source.split(|byte| *byte == b'\n').count();
    let last = usize::try_from(error.lines.end).unwrap();
    assert!(error.lines.start >= 1 && last <= lines, "{error:?}");
    assert!(error.lines.start <= error.position.line && error.position.line <= error.lines.end);
    for line in error.excerpt("Dockerfile", source).lines {
        assert!(!line.text.contains(char::is_control), "{line:?}");
    }
}

fuzz_target!(|data: &[u8]| {
    // A second file's lines are what the base image says with ONBUILD.
    let (source, triggers) = match data.iter().position(|byte| *byte == 0xff) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[][..]),
    };
    let dockerfile = match parse(source) {
        Ok(dockerfile) => dockerfile,
        Err(error) => return check(&error, source),
    };
    let triggers = String::from_utf8_lossy(triggers);
    let mut resolver = OneImage(triggers.lines().map(str::to_owned).collect());
    for checks_all_stages in [false, true] {
        let mut request = Request::new(&dockerfile, Platform::new("linux", "amd64", ""));
        request.checks_all_stages = checks_all_stages;
        request.wishes.ignore = vec!["**/x".to_owned(), "y".to_owned()];
        let mut graph = Graph::default();
        match lower(&request, &mut resolver, &mut graph) {
            Ok(lowered) => {
                for warning in lowered.warnings {
                    assert!(warning.lines.start >= 1 && !warning.fix.is_empty());
                }
                assert_eq!(graph.results.len(), 1);
            }
            Err(LowerError::Dockerfile(error)) => check(&error, source),
            Err(_) => {}
        }
        for (at, step) in graph.steps.iter().enumerate() {
            assert!(step.op.inputs().iter().all(|input| input.0 < at));
        }
    }
});
