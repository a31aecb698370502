//! Pushes, pulls, our registry beside Debian's docker-registry, and a store with many images. `wrk` asks
//! for manifests; curl sends and fetches blobs.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::tools::Tool;
use super::{Bench, median, run, timed};
use crate::house::release_binary;
use crate::packages;

/// Layers of the image that is pushed and pulled, and how much is in each.
const LAYERS: usize = 6;
const LAYER_MB: usize = 162;
const ROUNDS: usize = 5;
/// Of what takes seconds each time.
const LONG_ROUNDS: usize = 3;
/// The blob that is sent and fetched.
const BLOB_MIB: usize = 256;
const IMAGES: usize = 500;
const OURS: &str = "127.0.0.1:15000";
const THEIRS: &str = "127.0.0.1:15001";

/// A registry under measurement.
struct Registry {
    name: &'static str,
    host: &'static str,
    process: Child,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// All of it.
pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    packages::install_programs(&[
        ("wrk", "wrk"),
        ("curl", "curl"),
        ("skopeo", "skopeo"),
        ("docker-registry", "docker-registry"),
        ("python3", "python3"),
    ])?;
    let directory = bench.scratch.join("sharing");
    std::fs::create_dir_all(&directory)?;
    let registries = [ours(&directory)?, theirs(&directory)?];
    images(bench, &directory)?;
    push_and_pull(bench, &directory)?;
    let all = measure_registries(&registries, &directory)?;
    for (job, values) in all {
        for (registry, value) in registries.iter().zip(&values) {
            bench.note(job, registry.name, value);
        }
    }
    Ok(())
}

fn ours(directory: &Path) -> anyhow::Result<Registry> {
    let mut command = Command::new(release_binary()?);
    command
        .args(["registry", "serve", "--listen", OURS, "--root"])
        .arg(directory.join("ours"))
        .env_remove("DOCKER_HOST");
    start("caisson registry", OURS, &mut command)
}

fn theirs(directory: &Path) -> anyhow::Result<Registry> {
    let settings = directory.join("theirs.yml");
    let root = directory.join("theirs");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{THEIRS}\"}}\n",
        root.display()
    );
    std::fs::write(&settings, text)?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(settings);
    start("docker-registry", THEIRS, &mut command)
}

fn start(
    name: &'static str,
    host: &'static str,
    command: &mut Command,
) -> anyhow::Result<Registry> {
    let process = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let registry = Registry {
        name,
        host,
        process,
    };
    let begin = Instant::now();
    while std::net::TcpStream::connect(host).is_err() {
        if begin.elapsed() > Duration::from_secs(10) {
            bail!("{name} does not listen on {host}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(registry)
}

/// `images` with many of them.
fn images(bench: &mut Bench, directory: &Path) -> anyhow::Result<()> {
    let archive = directory.join("small.tar");
    let script = "cd \"$1\"; for n in $(seq \"$2\"); do echo $n > n; tar -cf small.tar n; \
         \"$3\" import small.tar many:$n > /dev/null || exit 1; done";
    let fill = bench.ours.command(&[]);
    let program = fill.get_program().to_owned();
    let mut command = Command::new("bash");
    for (name, value) in fill.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .args(["-c", script, "bash"])
        .arg(directory)
        .arg(IMAGES.to_string())
        .arg(program);
    run(&mut command)?;
    let times: anyhow::Result<Vec<f64>> = (0..25)
        .map(|_| timed(&mut bench.ours.command(&["images"])))
        .collect();
    bench.row(&format!("`images` with {IMAGES}"), "caisson", &times?, None);
    let _ = std::fs::remove_file(archive);
    Ok(())
}

/// Six layers of files of this machine, all of which compress as programs and texts do, and their size in MB.
fn make_image(bench: &Bench, name: &str, directory: &Path) -> anyhow::Result<u64> {
    let script = "set -e -o pipefail; cd \"$1\"; \
         find /usr -xdev -type f -size -16384k -printf '%s %P\\n' | LC_ALL=C sort -k2 | awk -v layers=\"$2\" \
           -v most=\"$3\" 'n < layers { print substr($0, index($0, \" \") + 1) > \"list\" n; \
           sum += $1; if (sum > most * 1000000) { n++; sum = 0 } }'; \
         echo FROM scratch > Dockerfile; \
         for list in list*; do tar -C /usr -cf \"$list.tar\" -T \"$list\"; echo \"ADD $list.tar /\" >> Dockerfile; done; \
         stat -c %s list*.tar | awk '{ sum += $1 } END { print int(sum / 1000000) }'";
    let context = directory.join("context");
    std::fs::create_dir_all(&context)?;
    let output = Command::new("bash")
        .args(["-c", script, "bash"])
        .arg(&context)
        .args([LAYERS.to_string(), LAYER_MB.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let size = text.trim().parse();
    let size = size.with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let from = context.display().to_string();
    run(&mut bench.ours.command(&["build", "-q", "-t", name, &from]))?;
    std::fs::remove_dir_all(context)?;
    Ok(size)
}

fn push_and_pull(bench: &mut Bench, directory: &Path) -> anyhow::Result<()> {
    let name = format!("{THEIRS}/large:1");
    let size = make_image(bench, &name, directory)?;
    let what = format!("{size} MB in {LAYERS} layers");
    let first = timed(&mut bench.ours.command(&["push", "-q", &name]))?;
    bench.row(
        &format!("first push of {what}, compressed on the way"),
        "caisson",
        &[first],
        None,
    );
    // Byte for byte what was pulled or pushed before, to names that nobody mounts from.
    let there = format!("dir:{}", directory.join("copy").display());
    let (source, insecure) = (format!("docker://{name}"), "--src-tls-verify=false");
    run(Command::new("skopeo").args([
        "copy",
        "-q",
        "--insecure-policy",
        insecure,
        &source,
        &there,
    ]))?;
    let (mut own, mut copied, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..LONG_ROUNDS {
        let registry = theirs_anew(directory, round)?;
        let to = format!("{}/again:{round}", registry.host);
        run(&mut bench.ours.command(&["tag", &name, &to]))?;
        own.push(timed(&mut bench.ours.command(&["push", "-q", &to]))?);
        again.push(timed(&mut bench.ours.command(&["push", "-q", &to]))?);
        drop(registry);
        let registry = theirs_anew(directory, LONG_ROUNDS + round)?;
        let to = format!("docker://{}/again:1", registry.host);
        let words = ["copy", "-q", "--insecure-policy", "--dest-tls-verify=false"];
        copied.push(timed(
            Command::new("skopeo").args(words).arg(&there).arg(to),
        )?);
    }
    let job = format!("push of {what} that were pushed before, to an empty registry");
    let ours = bench.row(&job, "caisson", &own, None);
    bench.row(&job, "skopeo", &copied, Some(ours));
    bench.row("the same push again", "caisson", &again, None);
    let job = format!("pull of {what} into a store without it");
    pulls(bench, &name, &job, directory)
}

/// A docker-registry that has nothing yet.
fn theirs_anew(directory: &Path, round: usize) -> anyhow::Result<Registry> {
    const EMPTY: &str = "127.0.0.1:15002";
    let root = directory.join(format!("empty{round}"));
    let settings = directory.join("empty.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http: {{addr: \"{EMPTY}\"}}\n",
        root.display()
    );
    std::fs::write(&settings, text)?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(settings);
    start("docker-registry", EMPTY, &mut command)
}

/// What no pull can do without: hash, decompress, hash again and write the layers of a docker-registry, three at
/// a time. Blobs of less than a mebibyte are no layers here.
const FLOOR: &str = r#"
import glob, hashlib, os, shutil, sys, zlib
from concurrent.futures import ThreadPoolExecutor
root, into = sys.argv[1:]
os.mkdir(into)
def layer(path):
    compressed, plain, stream = hashlib.sha256(), hashlib.sha256(), zlib.decompressobj(31)
    with open(path, 'rb') as source, open(into + '/' + path.split('/')[-2], 'wb') as target:
        while piece := source.read(1 << 18):
            compressed.update(piece); piece = stream.decompress(piece); plain.update(piece); target.write(piece)
        os.fsync(target.fileno())
blobs = glob.glob(root + '/docker/registry/v2/blobs/sha256/*/*/data')
list(ThreadPoolExecutor(3).map(layer, [path for path in blobs if os.path.getsize(path) > 1 << 20]))
shutil.rmtree(into)
"#;

/// A command's time, and the most memory that it had, in kB.
fn timed_with_peak(command: &mut Command) -> anyhow::Result<(f64, u64)> {
    let begin = Instant::now();
    let mut process = command
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let mut peak = 0;
    let status = loop {
        if let Some(status) = process.try_wait()? {
            break status;
        }
        peak = peak.max(peak_kb(process.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    };
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok((begin.elapsed().as_secs_f64() * 1000.0, peak))
}

fn peak_kb(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

fn pulls(bench: &mut Bench, name: &str, job: &str, directory: &Path) -> anyhow::Result<()> {
    let cold = bench.scratch.join("cold");
    let pull_ours = |tool: &Tool| -> anyhow::Result<(f64, u64)> {
        // Our own store has the layer under other names.
        let mut command = tool.command(&["pull", "-q", name]);
        let measured = timed_with_peak(command.env("CAISSON_ROOT", &cold))?;
        std::fs::remove_dir_all(&cold)?;
        Ok(measured)
    };
    let pull = |tool: &Tool| -> anyhow::Result<f64> {
        let mut words = vec!["pull", "-q"];
        if tool.name.starts_with("podman") {
            words.push("--tls-verify=false");
        }
        words.push(name);
        // What is not there need not be removed.
        let _ = run(&mut tool.command(&["rmi", "-f", name]));
        timed(&mut tool.command(&words))
    };
    let (mut times, mut floors, mut peak) = (Vec::new(), Vec::new(), 0);
    for _ in 0..LONG_ROUNDS {
        let (time, most) = pull_ours(&bench.ours)?;
        times.push(time);
        peak = peak.max(most);
        let into = directory.join("floor");
        let mut floor = Command::new("python3");
        floor
            .args(["-c", FLOOR])
            .arg(directory.join("theirs"))
            .arg(into);
        floors.push(timed(&mut floor)?);
    }
    let ours = bench.row(job, "caisson", &times, None);
    bench.row(job, "hash, decompress and write alone", &floors, Some(ours));
    bench.note("peak memory of that pull", "caisson", &format!("{peak} kB"));
    bench.slow_peers(job, Some(ours), pull)
}

type Rows = Vec<(&'static str, Vec<String>)>;

/// In turns, so that whatever else the machine does hits both.
fn measure_registries(registries: &[Registry; 2], directory: &Path) -> anyhow::Result<Rows> {
    let blob = directory.join("blob");
    run(Command::new("bash")
        .args(["-c", "head -c \"$2\"M /dev/urandom > \"$1\"", "bash"])
        .arg(&blob)
        .arg(BLOB_MIB.to_string()))?;
    let mut figures: Vec<[Vec<f64>; 3]> = vec![Default::default(), Default::default()];
    let large = directory.join("copy").display().to_string();
    for registry in registries {
        let to = format!("docker://{}/measured/large:1", registry.host);
        let words = ["copy", "-q", "--insecure-policy", "--dest-tls-verify=false"];
        run(Command::new("skopeo")
            .args(words)
            .arg(format!("dir:{large}"))
            .arg(to))?;
    }
    for round in 0..ROUNDS {
        for (registry, figures) in registries.iter().zip(&mut figures) {
            let base = format!("http://{}/v2/measured", registry.host);
            figures[0].push(manifests(&format!("{base}/large/manifests/1"))?);
            // Other bytes in each round: what is there already is not written again.
            let script = "set -e; printf %s \"$3\" | dd of=\"$1\" conv=notrunc status=none; \
                 d=sha256:$(sha256sum < \"$1\" | cut -d' ' -f1); \
                 l=$(curl -sf -X POST -D - -o /dev/null \"$2/blobs/uploads/\" | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'); \
                 case $l in /*) l=$(echo \"$2\" | cut -d/ -f1-3)$l;; esac; case $l in *\\?*) s='&';; *) s='?';; esac; \
                 curl -sf -X PUT -o /dev/null -w '%{time_total} ' -T \"$1\" -H 'Content-Type: application/octet-stream' \"$l${s}digest=$d\"; \
                 curl -sf -o /dev/null -w '%{time_total}' \"$2/blobs/$d\"";
            let output = Command::new("bash")
                .args(["-c", script, "bash"])
                .arg(&blob)
                .arg(format!("{base}/blob"))
                .arg(format!("round {round:03}"))
                .output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let seconds: Vec<f64> = text
                .split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect();
            let [up, down] = seconds[..] else {
                bail!("curl and {}: {text:?} {:?}", registry.name, output.stderr);
            };
            figures[1].push(BLOB_MIB as f64 / up);
            figures[2].push(BLOB_MIB as f64 / down);
        }
    }
    let column = |n: usize, unit: &str| -> Vec<String> {
        let one = |figures: &[Vec<f64>; 3]| format!("{:.0} {unit}", median(&figures[n]));
        figures.iter().map(one).collect()
    };
    let peak = |registry: &Registry| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", registry.process.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.unwrap_or("?").trim().to_owned()
    };
    Ok(vec![
        ("registry: manifests, GET", column(0, "a second")),
        ("registry: upload of 256 MiB", column(1, "MiB/s")),
        ("registry: download of 256 MiB", column(2, "MiB/s")),
        (
            "registry: peak memory in all of this",
            registries.iter().map(peak).collect(),
        ),
    ])
}

fn manifests(url: &str) -> anyhow::Result<f64> {
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let output = Command::new("wrk")
        .args(["-t1", "-c16", "-d1s", "-H", accept, url])
        .output()
        .context("cannot run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    rate.and_then(|rate| rate.trim().parse().ok())
        .with_context(|| format!("wrk said {text}"))
}
