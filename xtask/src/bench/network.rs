//! Networks: HTTP and bulk over published ports, names, and what a port costs.
//!
//! Everything is measured on this machine: the clients on the host or in another container.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::{Bench, Tool, median, run, timed};
use crate::packages;

/// nginx listens on 80, and with the second configuration on 18081.
const IMAGE: &str = "/var/tmp/caisson-bench-web.tar";
const NAME: &str = "caisson-bench-web";
/// What a pair of interfaces has without a word.
const MTU: &str = "com.docker.network.driver.mtu=1500";
const PUBLISHED: &str = "127.0.0.1:18080:80";
const PORT_URL: &str = "http://127.0.0.1:18080";
const HOST_URL: &str = "http://127.0.0.1:18081";
const DNAT_URL: &str = "http://127.0.0.1:18082";
/// The three ways to ask: words for wrk, and the path.
const WAYS: [(&str, &[&str], &str); 3] = [
    ("612 bytes, keep-alive", &["-c32"], "/"),
    (
        "612 bytes, a new connection each",
        &["-c8", "-H", "Connection: close"],
        "/",
    ),
    ("10 MB", &["-c4"], "/big"),
];
const ROUNDS: usize = 7;
const MANY: usize = 100;
const LOOKUPS: &str = "20000";

pub(super) fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    packages::install_programs(&[
        ("wrk", "wrk"),
        ("iperf3", "iperf3"),
        ("nft", "nftables"),
        ("ip", "iproute2"),
    ])?;
    let image = image()?;
    let image = image.display().to_string();
    let tools: Vec<Tool> = std::iter::once(&bench.ours)
        .chain(&bench.peers)
        .cloned()
        .collect();
    for tool in &tools {
        run(&mut tool.command(&["import", &image, "web:latest"]))?;
    }
    run(&mut bench
        .ours
        .command(&["network", "create", "--opt", MTU, NAME]))?;
    http(bench, &tools)?;
    bulk(bench, &tools)?;
    names(bench, &tools)?;
    ports(bench)
}

/// A Debian root file system with nginx and iperf3; made once.
fn image() -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(IMAGE);
    if !path.exists() {
        let script = r#"set -e; t=$(mktemp /var/tmp/caisson-bench.XXXXXX); trap 'rm -f $t' EXIT
            mmdebstrap --quiet --variant=minbase --format=tar --include=nginx-light,iperf3 \
              --customize-hook='sed -i "s/access_log .*/access_log off;/" "$1/etc/nginx/nginx.conf"' \
              --customize-hook='head -c 10000000 /dev/urandom > "$1/var/www/html/big"' \
              --customize-hook='head -c 612 /dev/zero | tr "\0" x > "$1/var/www/html/index.html"' \
              --customize-hook='sed "s/listen 80/listen 18081/;s/listen \[::\]:80/listen [::]:18081/" "$1/etc/nginx/sites-available/default" > "$1/etc/nginx/host.site"' \
              --customize-hook='sed "s,/etc/nginx/sites-enabled/\*,/etc/nginx/host.site," "$1/etc/nginx/nginx.conf" > "$1/etc/nginx/host.conf"' \
              bookworm "$t" >&2; mv "$t" "$1""#;
        run(Command::new("bash").args(["-c", script, "bash"]).arg(&path))?;
    }
    Ok(path)
}

/// Each tool's published port as a share of the same server on the host's network. What a bare rule reaches
/// with the same server, which is confined like ours, is measured in turns with ours.
fn http(bench: &mut Bench, tools: &[Tool]) -> anyhow::Result<()> {
    for (way, words, path) in WAYS {
        let job = format!("HTTP over a published port, {way}: share of host network");
        let port = || requests_per_second(&format!("{PORT_URL}{path}"), words);
        let rule = || requests_per_second(&format!("{DNAT_URL}{path}"), words);
        let host = || requests_per_second(&format!("{HOST_URL}{path}"), words);
        let ours = bench.ours.clone();
        make_bare(&ours)?;
        let rates = with_servers(&ours, || in_turns(&[&port, &rule, &host]));
        end_bare(&ours);
        let rates = rates?;
        let of_host = rates[2];
        for (what, rate) in [
            ("caisson", rates[0]),
            ("a bare DNAT rule and one pair of interfaces", rates[1]),
        ] {
            bench.note(&job, what, &share(rate, of_host));
        }
        bench.note(
            &job,
            "caisson to that rule",
            &format!("{:.2}", rates[0] / rates[1]),
        );
        for tool in tools.iter().filter(|tool| tool.name != "caisson") {
            let rates = with_servers(tool, || in_turns(&[&port, &host]));
            let share = or_left_out(tool, rates.map(|rates| share(rates[0], rates[1])))?;
            bench.note(&job, tool.name, &share);
        }
    }
    Ok(())
}

fn share(rate: f64, host: f64) -> String {
    format!("{:.2} ({rate:.0} of {host:.0} requests/s)", rate / host)
}

/// A peer that fails is said to; we must not.
fn or_left_out(tool: &Tool, measured: anyhow::Result<String>) -> anyhow::Result<String> {
    match measured {
        Err(error) if tool.name != "caisson" => {
            tool.clean();
            Ok(format!("left out: {error:#}"))
        }
        other => other,
    }
}

/// A container on a network with [`MTU`]: the peers' have that one always, ours that of the uplink.
fn placed(tool: &Tool) -> Command {
    match tool.name {
        "caisson" => tool.command(&["run", "-d", "--network", NAME]),
        _ => tool.command(&["run", "-d"]),
    }
}

/// With a server behind a published port and the same one on the host's network.
fn with_servers<T>(tool: &Tool, measure: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let foreground = ["-g", "daemon off;"];
    let published = ["--name", NAME, "-p", PUBLISHED, "web", "nginx"];
    run(placed(tool).args(published).args(foreground))?;
    let name = format!("{NAME}-host");
    let host = [
        "run",
        "-d",
        "--name",
        &name,
        "--network",
        "host",
        "web",
        "nginx",
    ];
    let configuration = ["-c", "/etc/nginx/host.conf"];
    run(tool.command(&host).args(configuration).args(foreground))?;
    let measured = measure();
    tool.clean();
    measured
}

/// What is measured, one time.
type Measure<'a> = &'a dyn Fn() -> anyhow::Result<f64>;

/// The median of each, in turns, so that whatever else the machine does hits all.
fn in_turns(measures: &[Measure<'_>]) -> anyhow::Result<Vec<f64>> {
    let mut found = vec![Vec::new(); measures.len()];
    for _ in 0..ROUNDS {
        for (measure, found) in measures.iter().zip(&mut found) {
            found.push(measure()?);
        }
    }
    Ok(found.iter().map(|found| median(found)).collect())
}

fn requests_per_second(url: &str, words: &[&str]) -> anyhow::Result<f64> {
    for _ in 0..50 {
        let output = Command::new("wrk")
            .args(["-t1", "-d1s"])
            .args(words)
            .arg(url)
            .stderr(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Requests/sec:"));
        match line.and_then(|rest| rest.trim().parse::<f64>().ok()) {
            Some(rate) if rate > 0.0 => return Ok(rate),
            // It does not listen yet.
            _ => std::thread::sleep(std::time::Duration::from_millis(100)),
        }
    }
    bail!("nobody answers at {url}")
}

/// The least that a published port can cost: one pair of interfaces, one rule. The server is in a
/// container of ours without a network, so that all that differs is the way there.
fn make_bare(tool: &Tool) -> anyhow::Result<()> {
    end_bare(tool);
    let name = format!("{NAME}-bare");
    let server = "iperf3 -s -D -p 5301; exec nginx -g 'daemon off;'";
    run(&mut tool.command(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        &name,
        "web",
        "sh",
        "-c",
        server,
    ]))?;
    let process = tool.line(&["inspect", "-f", "{{.State.Pid}}", &name])?;
    let script = format!(
        r#"set -e; ip link add cbench0 type veth peer name eth0 netns {process}
        ip addr add 10.213.0.1/24 dev cbench0; ip link set cbench0 up; echo 1 > /proc/sys/net/ipv4/conf/cbench0/route_localnet
        within="nsenter -t {process} -n"; $within ip addr add 10.213.0.2/24 dev eth0; $within ip link set eth0 up; $within ip route add default via 10.213.0.1
        nft 'add table ip cbench; add chain ip cbench o {{ type nat hook output priority -100; }}; add rule ip cbench o ip daddr 127.0.0.1 tcp dport 18082 dnat to 10.213.0.2:80
             add rule ip cbench o ip daddr 127.0.0.1 tcp dport 18084 dnat to 10.213.0.2:5301
             add chain ip cbench p {{ type nat hook postrouting priority 100; }}; add rule ip cbench p oifname cbench0 masquerade'"#,
    );
    run(Command::new("bash").args(["-c", &script]))
}

fn end_bare(tool: &Tool) {
    let _ = tool
        .command(&["rm", "-f", &format!("{NAME}-bare")])
        .status();
    // The pair's name is free once its namespace is gone.
    let script = "nft delete table ip cbench; ip link del cbench0; for i in $(seq 50); do ip link show cbench0 || break; sleep .1; done";
    let _ = Command::new("bash")
        .args(["-c", script])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Gigabits per second from a container to another, and from this host through a published port; ours in
/// turns with a bare pair of interfaces.
fn bulk(bench: &mut Bench, tools: &[Tool]) -> anyhow::Result<()> {
    const JOB: &str = "bulk TCP, Gbit/s: container to container; through a published port";
    let pair = || gigabits(iperf3("10.213.0.2", "5301"));
    let rule = || gigabits(iperf3("127.0.0.1", "18084"));
    let port = || gigabits(iperf3("127.0.0.1", "18083"));
    let ours = bench.ours.clone();
    make_bare(&ours)?;
    let rates = with_bulk(&ours, |between| in_turns(&[between, &port, &pair, &rule]));
    end_bare(&ours);
    let rates = rates?;
    bench.note(JOB, "caisson", &format!("{:.1}; {:.1}", rates[0], rates[1]));
    let bare = format!("{:.1}; {:.1}", rates[2], rates[3]);
    bench.note(JOB, "a bare veth pair; a bare DNAT rule to it", &bare);
    for tool in tools.iter().filter(|tool| tool.name != "caisson") {
        let rates = with_bulk(tool, |between| in_turns(&[between, &port]));
        let text = rates.map(|rates| format!("{:.1}; {:.1}", rates[0], rates[1]));
        bench.note(JOB, tool.name, &or_left_out(tool, text)?);
    }
    Ok(())
}

/// With a server behind a published port, and what measures the way from another container to it.
fn with_bulk<T>(
    tool: &Tool,
    measure: impl FnOnce(Measure<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let published = "127.0.0.1:18083:5201";
    let server = ["--name", NAME, "-p", published, "web", "iperf3", "-s"];
    run(placed(tool).args(server))?;
    let client = format!("{NAME}-client");
    run(placed(tool).args(["--name", &client, "web", "sleep", "3600"]))?;
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = tool.line(&["inspect", "-f", format, NAME])?;
    let asks = ["exec", &client, "iperf3", "-c", &address, "-t", "1", "-J"];
    let measured = measure(&|| gigabits(tool.command(&asks)));
    tool.clean();
    measured
}

fn iperf3(address: &str, port: &str) -> Command {
    let mut command = Command::new("iperf3");
    command.args(["-c", address, "-p", port, "-t", "1", "-J"]);
    command
}

fn gigabits(mut command: Command) -> anyhow::Result<f64> {
    let output = command.stdout(Stdio::piped()).output()?;
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("iperf3's report cannot be read")?;
    let rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(rate.with_context(|| format!("iperf3: {}", report["error"]))? / 1e9)
}

/// Look-ups of another container's name: in peace, and while the asking container logs.
fn names(bench: &mut Bench, tools: &[Tool]) -> anyhow::Result<()> {
    let program = bench.scratch.join("lookup");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bench/lookup.c");
    run(Command::new("cc")
        .args(["-static", "-O2", "-o"])
        .arg(&program)
        .arg(source))?;
    let bind = format!("{}:/lookup", program.display());
    for tool in tools {
        for (when, file) in [
            ("", "rm -f /talk"),
            (", while it logs", "touch /talk; sleep 1"),
        ] {
            let text = or_left_out(tool, names_of(tool, &bind, file))?;
            bench.note(&format!("look-up of a name{when}"), tool.name, &text);
        }
    }
    Ok(())
}

fn names_of(tool: &Tool, bind: &str, before: &str) -> anyhow::Result<String> {
    const NETWORK: &str = "caisson-bench-net";
    let _ = tool.command(&["network", "rm", NETWORK]).status();
    run(&mut tool.command(&["network", "create", NETWORK]))?;
    let other = format!("{NAME}-other");
    let sleep = [
        "run",
        "-d",
        "--network",
        NETWORK,
        "--name",
        &other,
        "web",
        "sleep",
        "3600",
    ];
    run(&mut tool.command(&sleep))?;
    // As fast as the pipe takes it.
    let talks =
        "while :; do [ -e /talk ] && head -c 100000000 /dev/zero | tr '\\0' '\\n'; sleep .01; done";
    let asks = [
        "run",
        "-d",
        "--network",
        NETWORK,
        "--name",
        NAME,
        "-v",
        bind,
        "web",
        "sh",
        "-c",
        talks,
    ];
    run(&mut tool.command(&asks))?;
    run(&mut tool.command(&["exec", NAME, "sh", "-c", before]))?;
    let line = tool.line(&["exec", NAME, "/lookup", &other, LOOKUPS])?;
    tool.clean();
    let _ = tool.command(&["network", "rm", NETWORK]).status();
    match line.split(' ').collect::<Vec<_>>()[..] {
        [rate, middle, late] => Ok(format!(
            "{rate} a second, median {middle} µs, p99 {late} µs"
        )),
        _ => bail!("no answer"),
    }
}

/// What the hundredth published container costs, compared with the first ones.
fn ports(bench: &mut Bench) -> anyhow::Result<()> {
    let job = format!("{MANY} published containers, each");
    let mut times = Vec::new();
    for number in 0..MANY {
        let (name, port) = (
            format!("caisson-bench-{number}"),
            format!("{}:80", 20_000 + number),
        );
        times.push(timed(&mut bench.ours.command(&[
            "run", "-d", "--name", &name, "-p", &port, "busybox", "sleep", "3600",
        ]))?);
    }
    let first = bench.row(&job, "caisson, the first 20", &times[..20], None);
    let last = bench.row(&job, "caisson, the last 20", &times[MANY - 20..], None);
    bench.note(
        &job,
        "the last to the first",
        &format!("{:.2} ×", last / first),
    );
    bench.ours.clean();
    Ok(())
}
