//! Images as a whole: archives good and evil, registries, names. Each test has its own store.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use storage::store::Store;
use storage::tar::{Entry, Kind, TarWriter};
use types::digest::Digest;
use types::filter::Filters;
use types::reference::Reference;

use super::builtin::pull_or_builtin;
use super::import::{ImportOptions, import};
use super::list::{ListOptions, list};
use super::load::{LoadOptions, LoadedImage, load};
use super::prune::{PruneOptions, prune};
use super::pull::{PullOptions, PullOutcome, pull};
use super::remove::{RemoveOptions, Removed, remove};
use super::save::{SaveOptions, save};
use super::{ImageContext, ImageError, ImageUser};
use crate::config::{Config, RegistrySettings};
use crate::corpus::corpus;
use crate::observer::Silent;

/// A store of its own, removed with this value.
struct Scratch {
    base: PathBuf,
    store: Store,
    config: Config,
}

impl Scratch {
    fn new(name: &str) -> Self {
        let base =
            std::env::temp_dir().join(format!("caisson-image-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        let store = Store::open(&base.join("root"), &base.join("run")).unwrap();
        Self {
            base,
            store,
            config: Config::default(),
        }
    }

    fn context(&self) -> ImageContext<'_> {
        ImageContext::new(&self.store, &self.config)
    }

    fn load(&self, bytes: &[u8]) -> Result<Vec<LoadedImage>, ImageError> {
        load(&self.context(), bytes, &LoadOptions::default(), &Silent)
    }

    fn save(&self, names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut bytes = Vec::new();
        save(
            &self.context(),
            &names,
            &SaveOptions::default(),
            &mut bytes,
            &Silent,
        )
        .unwrap();
        bytes
    }

    fn import(&self, name: &str, entries: &[(&str, &str)]) -> Digest {
        let reference = (!name.is_empty()).then(|| reference(name));
        let options = ImportOptions {
            reference,
            ..ImportOptions::default()
        };
        import(&self.context(), &tar(entries)[..], &options).unwrap()
    }

    fn lists(&self) -> Vec<String> {
        let rows = list(&self.context(), &ListOptions::default()).unwrap().rows;
        let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "<none>".to_owned());
        let mut names: Vec<String> = rows
            .iter()
            .map(|row| format!("{}:{}", text(&row.repository), text(&row.tag)))
            .collect();
        names.sort();
        names
    }

    /// What is in the store, temporary directories included.
    fn files(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for area in ["blobs/sha256", "refs", "images", "layers", "diffids", "tmp"] {
            for entry in std::fs::read_dir(self.store.path(area)).unwrap() {
                names.insert(format!("{area}/{}", entry.unwrap().file_name().display()));
            }
        }
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

fn reference(text: &str) -> Reference {
    Reference::parse_normalized(text).unwrap()
}

/// An archive of files; a name that ends in a slash is a directory.
fn tar(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (name, text) in entries {
        let is_directory = name.ends_with('/');
        let kind = if is_directory {
            Kind::Directory
        } else {
            Kind::File
        };
        let (mode, size) = if is_directory {
            (0o755, 0)
        } else {
            (0o640, text.len() as u64)
        };
        let path = name.as_bytes().to_vec();
        let entry = Entry {
            path,
            kind,
            mode,
            size,
            uid: 5,
            gid: 6,
            ..Entry::default()
        };
        writer.append_bytes(&entry, text.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

/// The members of an archive that holds a directory tree.
fn tar_of(directory: &Path) -> Vec<u8> {
    let answer = Command::new("tar")
        .arg("-C")
        .arg(directory)
        .args(["-cf", "-", "."])
        .output();
    answer.unwrap().stdout
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "who asks wants to know whether all is known"
)]
fn nobody() -> Result<Vec<ImageUser>, ImageError> {
    Ok(Vec::new())
}

#[test]
fn evil_archives_are_refused_and_leave_no_trace() {
    let Some(evil) = corpus("evil") else { return };
    let verdicts = std::fs::read(evil.join("manifest.json")).unwrap();
    let verdicts: Vec<serde_json::Value> = serde_json::from_slice(&verdicts).unwrap();
    let mut count = 0;
    for case in &verdicts {
        let file = case["file"].as_str().unwrap();
        if !file.starts_with("load-") && !file.starts_with("oci-") {
            continue;
        }
        count += 1;
        let scratch = Scratch::new("evil");
        let before = scratch.files();
        let started = Instant::now();
        let answer = scratch.load(&std::fs::read(evil.join(file)).unwrap());
        // `bound` may be taken or refused, as long as it ends; all that we have are refused.
        assert!(answer.is_err(), "{file}: {}", case["why"]);
        assert!(started.elapsed() < Duration::from_secs(10), "{file}");
        assert_eq!(scratch.files(), before, "{file} left something behind");
    }
    assert!(count > 0);
}

#[test]
fn archives_of_other_tools_are_loaded() {
    let Some(images) = corpus("images") else {
        return;
    };
    let tarball = "google__go-containerregistry/pkg/v1/tarball/testdata";
    let mutate = "google__go-containerregistry/pkg/v1/mutate/testdata";
    for (file, want) in [
        (
            format!("{tarball}/test_image_1.tar"),
            Some(vec!["bazel/v1/tarball:test_image_1"]),
        ),
        (
            format!("{tarball}/test_image_2.tar"),
            Some(vec!["bazel/v1/tarball:test_image_2"]),
        ),
        (
            format!("{tarball}/hello-world-v25.tar"),
            Some(vec!["<none>:<none>"]),
        ),
        (
            format!("{tarball}/test_load_manifest.tar"),
            Some(vec!["bazel/v1/tarball:test_image_1"]),
        ),
        (
            format!("{tarball}/test_link.tar"),
            Some(vec![
                "bazel/v1/tarball:test_image_1",
                "bazel/v1/tarball:test_image_3",
            ]),
        ),
        (format!("{tarball}/no_manifest.tar"), Some(vec![])),
        (format!("{tarball}/null_manifest.tar"), None),
        (format!("{tarball}/content.tar"), None),
        (
            format!("{mutate}/source_image.tar"),
            Some(vec!["bazel/pkg/v1/mutate:source_image"]),
        ),
        (
            format!("{mutate}/whiteout_image.tar"),
            Some(vec!["bazel/pkg/v1/mutate:whiteout_image"]),
        ),
        (
            format!("{mutate}/overwritten_file.tar"),
            Some(vec!["bazel/pkg/v1/mutate:overwritten_file"]),
        ),
        (
            format!("{mutate}/whiteout_dir.tar"),
            Some(vec!["localhost:5000/whiteout:latest"]),
        ),
        (
            "apocas__dockerode/test/test-load.tar".to_owned(),
            Some(vec![]),
        ),
        ("apocas__dockerode/test/empty.tar".to_owned(), None),
    ] {
        let scratch = Scratch::new("corpus");
        let answer = scratch.load(&std::fs::read(images.join(&file)).unwrap());
        match (answer, want) {
            // The oldest archives: whatever they call it, there is an image.
            (Ok(loaded), Some(want)) if want.is_empty() => assert!(!loaded.is_empty(), "{file}"),
            (Ok(_), Some(want)) => assert_eq!(scratch.lists(), want, "{file}"),
            (Err(error), Some(_)) => panic!("{file}: {}", chain(&error)),
            (answer, None) => assert!(answer.is_err(), "{file}"),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[test]
fn layouts_of_other_tools_are_loaded() {
    let Some(images) = corpus("images") else {
        return;
    };
    let base = images.join("google__go-containerregistry/pkg/v1/layout/testdata");
    for name in [
        "test_index_one_image",
        "test_index_media_type",
        "test_index",
        "test_gc_index",
    ] {
        let scratch = Scratch::new("layout");
        match scratch.load(&tar_of(&base.join(name))) {
            Ok(loaded) => assert!(!loaded.is_empty(), "{name}"),
            // Layouts cut down to what their own test needs, and one that is no image: the error
            // names the missing member, the layers that the configuration lacks, or the media type
            // that index and manifest do not agree on (CVE-2021-41190).
            Err(error) => assert!(
                ["member", "layers", "media type"]
                    .iter()
                    .any(|word| chain(&error).contains(word)),
                "{name}: {}",
                chain(&error)
            ),
        }
    }
}

#[test]
fn what_is_saved_is_loaded_as_the_same_image_and_saved_again_as_the_same_bytes() {
    let one = Scratch::new("save-1");
    let entries = [
        ("./", ""),
        ("etc/", ""),
        ("etc/motd", "hello"),
        ("usr/bin/x", "program"),
    ];
    let id = one.import("team/app:1", &entries);
    let other = one.import("other", &[("a", "b")]);
    let bytes = one.save(&["team/app:1", "other"]);
    assert_eq!(one.save(&["team/app:1", "other"]), bytes);
    let two = Scratch::new("save-2");
    let loaded = two.load(&bytes).unwrap();
    let ids: Vec<&Digest> = loaded.iter().map(|image| &image.id).collect();
    assert_eq!(ids, [&id, &other]);
    assert_eq!(two.lists(), ["other:latest", "team/app:1"]);
    assert_eq!(two.save(&["team/app:1", "other"]), bytes);
    let tree = two.store.mount_plan(&id).unwrap().remove(0);
    assert_eq!(
        std::fs::read_to_string(tree.join("etc/motd")).unwrap(),
        "hello"
    );
    let stat = std::fs::metadata(tree.join("etc/motd")).unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o777), (5, 6, 0o640));
    // Compressed, and by id: no name is in the archive.
    let by_id = one.save(&[id.as_str()]);
    let mut encoder =
        storage::compression::Encoder::new(storage::compression::Compression::Zstd, Vec::new())
            .unwrap();
    std::io::Write::write_all(&mut encoder, &by_id).unwrap();
    let three = Scratch::new("save-3");
    let loaded = three.load(&encoder.finish().unwrap()).unwrap();
    assert_eq!((loaded[0].id.clone(), loaded[0].names.len()), (id, 0));
    assert_eq!(three.lists(), ["<none>:<none>"]);
}

#[test]
fn a_cut_archive_is_refused_and_leaves_no_trace() {
    let scratch = Scratch::new("cut");
    scratch.import("app", &[("a", "b")]);
    let bytes = scratch.save(&["app"]);
    let other = Scratch::new("cut-2");
    let before = other.files();
    for length in [0, 100, 512, bytes.len() / 2, bytes.len() - 1024] {
        assert!(other.load(&bytes[..length]).is_err(), "{length}");
        assert_eq!(other.files(), before, "{length}");
    }
    let import = import(
        &other.context(),
        &b"no tar at all, but longer than a word"[..],
        &ImportOptions::default(),
    );
    assert!(import.is_err());
    assert_eq!(other.files(), before);
}

#[test]
fn names_come_and_go_in_dockers_words() {
    let scratch = Scratch::new("names");
    let context = scratch.context();
    let id = scratch.import("app:1", &[("a", "b")]);
    super::tag::tag(&context, "app:1", "app").unwrap();
    super::tag::tag(&context, &id.hex()[..6], "r.lan/x/y:2").unwrap();
    assert_eq!(scratch.lists(), ["app:1", "app:latest", "r.lan/x/y:2"]);
    let remove = |name: &str, force: bool, users: &[ImageUser]| {
        remove(&context, name, RemoveOptions { force }, &|| {
            Ok(users.to_vec())
        })
        .map_err(|error| error.to_string())
    };
    let short = id.short();
    assert_eq!(
        remove(short, false, &[]).unwrap_err(),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
        )
    );
    let untagged = |name: &str| Removed::Untagged(name.to_owned());
    assert_eq!(remove("app:1", false, &[]).unwrap(), [untagged("app:1")]);
    assert_eq!(
        remove("r.lan/x/y:2", false, &[]).unwrap(),
        [untagged("r.lan/x/y:2")]
    );
    assert_eq!(
        remove("r.lan/x/y:2", false, &[]).unwrap_err(),
        "No such image: r.lan/x/y:2"
    );
    let user = |is_running| ImageUser {
        container: "c".repeat(64),
        image: id.clone(),
        is_running,
    };
    assert_eq!(
        remove("app", false, &[user(false)]).unwrap_err(),
        format!(
            "conflict: unable to remove repository reference \"app:latest\" (must force) - container cccccccccccc is using its referenced image {short}"
        )
    );
    assert_eq!(
        remove(short, true, &[user(true)]).unwrap_err(),
        format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container cccccccccccc"
        )
    );
    assert_eq!(
        remove("app", true, &[user(true)]).unwrap(),
        [untagged("app:latest")]
    );
    assert_eq!(scratch.lists(), ["<none>:<none>"]);
    // A stopped container keeps its layers, not the name that it came from.
    assert_eq!(
        remove(short, true, &[user(false)]).unwrap(),
        [Removed::Deleted(id.clone())]
    );
    assert!(scratch.lists().is_empty());
    assert!(scratch.store.mount_plan(&id).unwrap()[0].join("a").exists());
    let report = prune(&context, &PruneOptions::default(), &nobody).unwrap();
    assert!(report.reclaimed_bytes > 0);
    assert!(scratch.store.mount_plan(&id).is_err());
    assert_eq!(scratch.files(), BTreeSet::new());
}

#[test]
fn the_last_name_takes_image_and_layers_with_it() {
    let scratch = Scratch::new("last");
    let id = scratch.import("app", &[("a", "b")]);
    let lines = remove(&scratch.context(), "app", RemoveOptions::default(), &nobody).unwrap();
    assert_eq!(lines[0], Removed::Untagged("app:latest".to_owned()));
    assert_eq!(lines[1], Removed::Deleted(id));
    assert!(matches!(lines[2], Removed::Deleted(_)));
    assert_eq!(lines.len(), 3);
    assert_eq!(scratch.files(), BTreeSet::new());
}

#[test]
fn lists_filter_and_prune_by_what_an_image_is() {
    let scratch = Scratch::new("filter");
    let context = scratch.context();
    let labelled = ImportOptions {
        reference: Some(reference("lab/a:1")),
        changes: vec!["LABEL kind=x".to_owned()],
        ..ImportOptions::default()
    };
    import(&context, &tar(&[("a", "1")])[..], &labelled).unwrap();
    scratch.import("plain", &[("a", "2")]);
    scratch.import("", &[("a", "3")]);
    let names = |filters: &[&str], name: Option<&str>| {
        let filters = Filters::parse(filters).unwrap();
        let options = ListOptions {
            name: name.map(str::to_owned),
            filters,
        };
        let rows = list(&context, &options).unwrap().rows;
        rows.iter()
            .map(|row| row.repository.clone().unwrap_or_default())
            .collect::<BTreeSet<_>>()
    };
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&[], None), set(&["", "lab/a", "plain"]));
    assert_eq!(names(&["dangling=true"], None), set(&[""]));
    assert_eq!(names(&["dangling=false"], None), set(&["lab/a", "plain"]));
    assert_eq!(names(&["label=kind=x"], None), set(&["lab/a"]));
    assert_eq!(names(&["reference=lab/*"], None), set(&["lab/a"]));
    assert_eq!(names(&["reference=*:latest"], None), set(&["plain"]));
    assert_eq!(names(&["since=lab/a:1"], None), set(&["", "plain"]));
    assert_eq!(names(&["before=plain"], None), set(&["lab/a"]));
    assert_eq!(names(&[], Some("plain")), set(&["plain"]));
    assert_eq!(names(&[], Some("docker.io/library/plain")), set(&["plain"]));
    let bad = ListOptions {
        filters: Filters::parse(&["x=y"]).unwrap(),
        name: None,
    };
    assert!(matches!(list(&context, &bad), Err(ImageError::Filter(_))));
    let report = prune(&context, &PruneOptions::default(), &nobody).unwrap();
    assert_eq!(report.removed.len(), 1);
    let all = PruneOptions {
        all: true,
        ..PruneOptions::default()
    };
    prune(&context, &all, &nobody).unwrap();
    assert!(scratch.lists().is_empty());
}

#[test]
fn an_import_keeps_changes_history_and_message() {
    let scratch = Scratch::new("import");
    let context = scratch.context();
    let options = ImportOptions {
        reference: Some(reference("x")),
        changes: vec!["CMD [\"/a\"]".to_owned(), "ENV A=1".to_owned()],
        message: "why".to_owned(),
        ..ImportOptions::default()
    };
    import(&context, &tar(&[("a", "1")])[..], &options).unwrap();
    let details = super::inspect::inspect(&context, "x").unwrap();
    assert_eq!(details.config.config.env, ["A=1"]);
    assert_eq!(
        (details.comment.as_str(), &details.repo_tags[..]),
        ("why", &["x:latest".to_owned()][..])
    );
    assert_eq!(details.record.config["Cmd"][0], "/a");
    let history = super::history::history(&context, "x").unwrap();
    assert_eq!(
        (
            history.len(),
            history[0].size_bytes,
            history[0].comment.as_str()
        ),
        (1, 1, "why")
    );
    let bad = ImportOptions {
        changes: vec!["RUN x".to_owned()],
        ..ImportOptions::default()
    };
    assert!(matches!(
        import(&context, &tar(&[])[..], &bad),
        Err(ImageError::Change(_))
    ));
}

#[test]
fn hello_world_comes_from_the_binary_where_no_registry_answers() {
    let mut scratch = Scratch::new("builtin");
    // Nobody listens there: that is what having no network looks like.
    let location = Some("http://127.0.0.1:1".to_owned());
    let settings = RegistrySettings {
        location,
        ..RegistrySettings::default()
    };
    scratch
        .config
        .registries
        .insert("docker.io".to_owned(), settings);
    let context = scratch.context();
    let pull =
        |name: &str| pull_or_builtin(&context, &reference(name), &PullOptions::default(), &Silent);
    let first = pull("hello-world").unwrap();
    assert!(first.note.unwrap().contains("built-in"));
    assert_eq!(first.report.outcome, PullOutcome::Downloaded);
    let program = scratch.store.mount_plan(&first.report.image).unwrap()[0].join("hello");
    assert_eq!(std::fs::read(&program).unwrap(), sys::programs::HELLO);
    assert_eq!(
        std::fs::metadata(&program).unwrap().permissions().mode() & 0o777,
        0o755
    );
    let second = pull("hello-world:latest").unwrap();
    assert_eq!(
        (second.report.image, second.report.outcome),
        (first.report.image, PullOutcome::UpToDate)
    );
    assert_eq!(scratch.lists(), ["hello-world:latest"]);
    assert!(pull("busybox").unwrap_err().is_unreachable());
    assert!(pull("hello-world:other").is_err());
}

/// Debian's registry on a loopback port, ended with this value.
struct DebianRegistry {
    child: Child,
    port: u16,
    base: PathBuf,
}

impl DebianRegistry {
    fn start(name: &str) -> Option<Self> {
        for program in ["/usr/bin/docker-registry", "/usr/bin/skopeo"] {
            if !Path::new(program).exists() {
                println!("skipped: no {program}");
                return None;
            }
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let base =
            std::env::temp_dir().join(format!("caisson-registry-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let config = base.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            base.join("data").display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("/usr/bin/docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { child, port, base };
        let end = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "docker-registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    fn copy(&self, arguments: &[&str], from: &str, to: &str) {
        let answer = Command::new("/usr/bin/skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "--dest-tls-verify=false",
                "--src-tls-verify=false",
            ])
            .args(arguments)
            .arg(from)
            .arg(to)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&answer.stderr);
        assert!(answer.status.success(), "{from} to {to}: {text}");
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

/// Their OCI reader skips Docker's manifests.
fn others_read_what_we_save(registry: &DebianRegistry, target: &Scratch) {
    for (kind, tag) in [("docker-archive", "docker"), ("oci-archive", "oci-gzip")] {
        let name = format!("127.0.0.1:{}/team/app:{tag}", registry.port);
        let again = registry.base.join(kind);
        std::fs::write(&again, target.save(&[&name])).unwrap();
        let suffix = if kind == "oci-archive" {
            ":oci-gzip"
        } else {
            ""
        };
        let from = format!("{kind}:{}{suffix}", again.display());
        let to = format!("docker://127.0.0.1:{}/again:{tag}", registry.port);
        registry.copy(&[], &from, &to);
    }
}

#[test]
fn images_go_through_dockers_registry_in_every_format_and_come_back_the_same() {
    let Some(registry) = DebianRegistry::start("formats") else {
        return;
    };
    let source = Scratch::new("registry-1");
    let long = "text ".repeat(100_000);
    let id = source.import("app", &[("etc/", ""), ("etc/a", &long), ("b", "2")]);
    let archive = registry.base.join("app.tar");
    std::fs::write(&archive, source.save(&["app"])).unwrap();
    let archive = format!("docker-archive:{}", archive.display());
    let target = Scratch::new("registry-2");
    let context = target.context();
    let mut images = BTreeSet::new();
    for (tag, arguments) in [
        ("oci-gzip", vec!["--format", "oci"]),
        (
            "oci-zstd",
            vec!["--format", "oci", "--dest-compress-format", "zstd"],
        ),
        ("docker", vec!["--format", "v2s2"]),
    ] {
        let name = format!("127.0.0.1:{}/team/app:{tag}", registry.port);
        registry.copy(&arguments, &archive, &format!("docker://{name}"));
        let pulled = |store: &ImageContext<'_>| {
            pull(store, &reference(&name), &PullOptions::default(), &Silent)
        };
        let report = pulled(&context).unwrap_or_else(|error| panic!("{tag}: {}", chain(&error)));
        assert_eq!(report.outcome, PullOutcome::Downloaded, "{tag}");
        assert_eq!(
            pulled(&context).unwrap().outcome,
            PullOutcome::UpToDate,
            "{tag}"
        );
        // skopeo may write the configuration anew, but never the layers.
        let layers =
            |store: &Store, id: &Digest| store.image(id).unwrap().layers[0].diff_id.clone();
        assert_eq!(
            layers(&target.store, &report.image),
            layers(&source.store, &id),
            "{tag}"
        );
        let tree = target.store.mount_plan(&report.image).unwrap().remove(0);
        assert_eq!(std::fs::read_to_string(tree.join("etc/a")).unwrap(), long);
        let by_digest = reference(&format!(
            "127.0.0.1:{}/team/app@{}",
            registry.port, report.target
        ));
        pull(&context, &by_digest, &PullOptions::default(), &Silent).unwrap();
        images.insert(report.image);
    }
    others_read_what_we_save(&registry, &target);
    let all = reference(&format!("127.0.0.1:{}/team/app", registry.port));
    let reports =
        super::pull::pull_all_tags(&context, &all, &PullOptions::default(), &Silent).unwrap();
    assert_eq!(reports.len(), 3);
    assert!(reports.iter().all(|report| images.contains(&report.image)));
    let missing = reference(&format!("127.0.0.1:{}/team/app:none", registry.port));
    let error = pull(&context, &missing, &PullOptions::default(), &Silent).unwrap_err();
    assert!(
        error.to_string().contains("not found: manifest unknown"),
        "{error}"
    );
}

/// An archive of one image whose `manifest.json` calls it `tag`.
fn archive_with_tag(tag: &str) -> Vec<u8> {
    let layer = tar(&[("file", "x")]);
    let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [storage::blobs::digest_of(&layer).to_string()] } });
    let manifest =
        serde_json::json!([{ "Config": "c.json", "RepoTags": [tag], "Layers": ["l.tar"] }]);
    tar(&[
        ("c.json", &config.to_string()),
        ("l.tar", std::str::from_utf8(&layer).unwrap()),
        ("manifest.json", &manifest.to_string()),
    ])
}

/// Who runs `name@sha256:…` wants that image and no other, whatever an archive claims.
#[test]
fn an_archive_cannot_give_an_image_the_digest_of_another() {
    let target = Scratch::new("pinned");
    let load_it = |tag: &str| {
        let bytes = archive_with_tag(tag);
        load(
            &target.context(),
            &bytes[..],
            &LoadOptions::default(),
            &Silent,
        )
    };
    let zeros = "0".repeat(64);
    for tag in [
        format!("pinned@sha256:{zeros}"),
        format!("pinned:1@sha256:{zeros}"),
    ] {
        let error = load_it(&tag).unwrap_err();
        assert!(
            matches!(error, ImageError::NameWithDigest { .. }),
            "{error}"
        );
    }
    load_it("pinned:1").unwrap();
}

/// An archive of one image with forty layers, as an old tool would write it.
fn forty_layers() -> Vec<u8> {
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    let mut diff_ids = Vec::new();
    for number in 0..40 {
        let layer = tar(&[
            (&format!("file-{number}"), &"x".repeat(number * 1000)),
            ("shared", &number.to_string()),
        ]);
        diff_ids.push(storage::blobs::digest_of(&layer).to_string());
        members.push((format!("{number}.tar"), layer));
    }
    let config = serde_json::json!({ "architecture": types::platform::Platform::host().architecture,
        "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    members.push((
        "config.json".to_owned(),
        serde_json::to_vec(&config).unwrap(),
    ));
    let layers: Vec<String> = (0..40).map(|number| format!("{number}.tar")).collect();
    let manifest =
        serde_json::json!([{ "Config": "config.json", "RepoTags": ["many:1"], "Layers": layers }]);
    members.push((
        "manifest.json".to_owned(),
        serde_json::to_vec(&manifest).unwrap(),
    ));
    let mut writer = TarWriter::new(Vec::new());
    for (name, data) in &members {
        let path = name.as_bytes().to_vec();
        let entry = Entry {
            path,
            size: data.len() as u64,
            mode: 0o644,
            ..Entry::default()
        };
        writer.append_bytes(&entry, data).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn many_layers_arrive_in_parallel_and_two_pulls_at_once_share_them() {
    let Some(registry) = DebianRegistry::start("many") else {
        return;
    };
    let source = Scratch::new("many-1");
    let context = source.context();
    let bytes = forty_layers();
    load(&context, &bytes[..], &LoadOptions::default(), &Silent).unwrap();
    let archive = registry.base.join("many.tar");
    std::fs::write(&archive, source.save(&["many:1"])).unwrap();
    let name = format!("127.0.0.1:{}/many:1", registry.port);
    registry.copy(
        &[],
        &format!("docker-archive:{}", archive.display()),
        &format!("docker://{name}"),
    );
    let target = Scratch::new("many-2");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let store = Store::open(target.store.root(), target.store.run_root()).unwrap();
                let context = ImageContext::new(&store, &target.config);
                pull(
                    &context,
                    &reference(&name),
                    &PullOptions::default(),
                    &Silent,
                )
                .unwrap();
            });
        }
    });
    let id = target.context().find(&name).unwrap().id;
    let lowers = target.store.mount_plan(&id).unwrap();
    assert_eq!(lowers.len(), 40);
    let top = std::fs::read_to_string(lowers[0].join("shared")).unwrap();
    assert_eq!(top, "39");
    // Each layer exists once, and nothing half-made stays.
    assert_eq!(
        std::fs::read_dir(target.store.path("layers"))
            .unwrap()
            .count(),
        40
    );
    assert_eq!(
        std::fs::read_dir(target.store.path("tmp")).unwrap().count(),
        0
    );
    let mut config = Vec::new();
    target
        .store
        .open_blob(&id)
        .unwrap()
        .read_to_end(&mut config)
        .unwrap();
    assert!(!config.is_empty());
}
