//! What a monitor did not confirm is not taken for done.
//!
//! Goal: a request to a running container is carried out although its monitor is killed before it reads it
//! wholly, before it says so, or in the middle. Method: a container is started whose monitor will be killed at
//! a fail point; then the request is made in a clean environment, must succeed without a word, and its effect is
//! looked at. Needs `CAISSON_FAIL_BIN`, the binary with fail points (`cargo xtask test` makes it).

use std::path::PathBuf;

use crate::crash::{Sandbox, is_possible, texts};

const READ: &str = "monitor.request.read";
const DONE: &str = "monitor.request.done";
const JOINED: &str = "monitor.network.joined";
const LEFT: &str = "monitor.network.left";

/// A request, made of a container `it`.
struct Request {
    name: &'static str,
    /// Requests that come before it, in the same monitor.
    before: &'static str,
    run: &'static str,
    holds: &'static str,
    /// Where the monitor is killed, and at which passing.
    points: &'static [(&'static str, usize)],
}

const REQUESTS: &[Request] = &[
    Request {
        name: "pause",
        before: "true",
        run: "caisson pause it",
        holds: "status it paused && caisson unpause it",
        points: &[(READ, 1), (DONE, 1)],
    },
    Request {
        name: "unpause",
        before: "caisson pause it",
        run: "caisson unpause it",
        holds: "status it running && caisson exec it true",
        points: &[(READ, 2), (DONE, 2)],
    },
    Request {
        name: "kill",
        before: "true",
        run: "caisson kill -s USR1 it",
        holds: "for i in $(seq 200); do caisson exec it test -e /signalled && exit 0; sleep .05; done; false",
        points: &[(READ, 1), (DONE, 1)],
    },
    Request {
        name: "kill -9",
        before: "true",
        run: "caisson kill it",
        holds: "caisson wait it && status it exited",
        points: &[(READ, 1), (DONE, 1)],
    },
    Request {
        name: "hold",
        before: "true",
        run: "caisson commit it held",
        holds: "status it running && caisson run --rm $N held true && caisson exec it true && caisson rmi held",
        points: &[(READ, 1), (DONE, 1)],
    },
    Request {
        name: "stop",
        before: "true",
        run: "caisson stop -t 0 it",
        holds: "status it exited",
        points: &[(READ, 1)],
    },
    Request {
        name: "update",
        before: "true",
        run: "caisson update -m 64m --memory-swap 64m it",
        holds: "grep -qsx 67108864 /sys/fs/cgroup/*/caisson-*/$(caisson inspect -f '{{.Id}}' it)/memory.limit_in_bytes \
                /sys/fs/cgroup/caisson-*/$(caisson inspect -f '{{.Id}}' it)/memory.max",
        points: &[(READ, 1), (DONE, 1)],
    },
    Request {
        name: "network connect",
        before: "caisson network create more",
        run: "caisson network connect --alias other more it",
        holds: "caisson exec it ip a | grep -q eth1 && caisson exec it nslookup -type=a other | grep -q 'Address: 172' \
                && caisson network disconnect more it && ! caisson exec it ip a | grep eth1",
        points: &[(READ, 1), (JOINED, 1), (DONE, 1)],
    },
    Request {
        name: "network disconnect",
        before: "caisson network create more && caisson network connect more it",
        run: "caisson network disconnect more it",
        holds: "! caisson exec it ip a | grep eth1 && caisson network rm more",
        points: &[(READ, 2), (LEFT, 1), (DONE, 2)],
    },
];

#[test]
fn a_request_is_carried_out_although_its_monitor_is_killed() {
    let (true, Some(binary)) = (is_possible(), std::env::var_os("CAISSON_FAIL_BIN")) else {
        println!("skipped: no binary with fail points");
        return;
    };
    let sandbox = Sandbox::new(&PathBuf::from(binary));
    sandbox
        .silently("image", "caisson import $IMAGE busybox")
        .unwrap();
    let mut counter = 0;
    let mut failures = Vec::new();
    for request in REQUESTS {
        for &(point, passing) in request.points {
            counter += 1;
            if let Err(error) = one(&sandbox, request, &format!("{point}:{passing}"), counter) {
                failures.push(format!("{} at {point}:{passing}: {error}", request.name));
                let _ = sandbox.bash("caisson rm -f it; caisson network prune -f");
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    sandbox.remove_everything().unwrap();
}

fn one(sandbox: &Sandbox, request: &Request, choice: &str, counter: usize) -> Result<(), String> {
    let is_of_networks = request.name.starts_with("network");
    let start = format!(
        "caisson run -d {} --name it busybox sh -c \
         'trap \"touch /signalled\" USR1; while :; do sleep .05; done'",
        if is_of_networks { "" } else { "$N" }
    );
    let output = sandbox.command(&start, choice, counter).output().unwrap();
    if !output.status.success() {
        let (stdout, stderr) = texts(&output);
        return Err(format!("start: {stdout}{stderr}"));
    }
    let before = format!("{{ {}; }} >/dev/null", request.before);
    sandbox.silently("before", &before)?;
    // Not of `inspect`, which asks the monitor too.
    let pid = r#"sed -n 's/.*"monitor_pid":\([0-9]*\).*/\1/p' $CAISSON_ROOT/containers/*/state"#;
    let old = sandbox.silently("monitor", pid)?;
    sandbox.silently("request", &format!("{} >/dev/null", request.run))?;
    // A killed process closes its files, which the next command goes by, before it is a zombie.
    let gone = format!(
        "for i in $(seq 200); do [ -e /proc/{} ] || exit 0; grep -q '^State:.[ZX]' /proc/{0}/status && exit 0; sleep .05; \
         done; false",
        old.trim()
    );
    sandbox.silently("the monitor was not killed", &gone)?;
    sandbox.silently("effect", &format!("({}) >/dev/null", request.holds))?;
    let tidy = "caisson rm -f it >/dev/null && caisson network prune -f >/dev/null";
    sandbox.silently("removal", tidy).map(drop)
}
