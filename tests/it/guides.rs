//! The guides do what they say: every block of a page is executed as a reader would type it, `docker`
//! being a link to us, and a registry of ours on loopback standing in for Docker Hub.
//!
//! A page becomes one script of bash. Comments before a block, which readers do not see, say more:
//!
//! | comment | meaning |
//! |---|---|
//! | `expect: REGEX` | a line of what the block prints matches |
//! | `file: PATH` | the block is a file |
//! | `type: TEXT` | the block runs on a terminal, and this is typed |
//! | `answer: TEXT` | the block reads this |
//! | `run: COMMAND` | done before the block: what a reader does in a browser |
//! | `needs: COMMAND` | left out, and said so, where Caisson has no such command yet |
//!
//! Blocks that are not `sh` and no file are pictures. `ID` in a block is the number that a container
//! printed last. Base images are made of Debian's packages, once for a machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Seconds for a page.
const LIMIT: &str = "900";

/// A block with what is said about it.
#[derive(Debug, Default)]
struct Block {
    line: usize,
    language: String,
    code: String,
    notes: Vec<(String, String)>,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut all = Vec::new();
    let mut notes = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => all.extend(open.take()),
            (Some(block), None) => {
                block.code += line;
                block.code.push('\n');
            }
            (None, Some(language)) => {
                open = Some(Block {
                    line: number + 1,
                    language: language.trim().to_owned(),
                    notes: std::mem::take(&mut notes),
                    ..Block::default()
                });
            }
            (None, None) => {
                let note = line
                    .strip_prefix("<!-- ")
                    .and_then(|rest| rest.strip_suffix(" -->"));
                match note.and_then(|text| text.split_once(": ")) {
                    Some((key, value)) => notes.push((key.to_owned(), value.to_owned())),
                    None if !line.trim().is_empty() => notes.clear(),
                    None => {}
                }
            }
        }
    }
    all
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The page as a script; what is no program and no file is left out.
fn script(page: &str) -> String {
    let mut script = String::new();
    for block in blocks(page) {
        let note = |key: &str| {
            let found = block.notes.iter().find(|(name, _)| name == key);
            found.map_or("", |(_, value)| value.as_str())
        };
        if block.language != "sh" && note("file").is_empty() {
            continue;
        }
        let _ = writeln!(
            script,
            "LINE={} CODE={} FILE={} EXPECT={} TYPE={} ANSWER={} RUN={} NEEDS={}; block",
            block.line,
            quoted(&block.code),
            quoted(note("file")),
            quoted(note("expect")),
            quoted(note("type")),
            quoted(note("answer")),
            quoted(note("run")),
            quoted(note("needs")),
        );
    }
    script
}

/// What the script of a page stands on. `$HUB` is a copy of the prepared hub.
const STAGE: &str = r#"
set -eu
export HOME=$PWD DOCKER_CONFIG=$PWD/.docker LC_ALL=C.UTF-8
trap 'code=$?; [ $code = 0 ] || { echo "the block at line ${LINE:-0} failed:"; echo "${CODE:-}"; cat $HOME/.out 2>/dev/null; }; [ -z "${PID:-}" ] || kill -9 $PID 2>/dev/null || true' EXIT
ip link set lo up
caisson registry serve --listen 127.0.0.1:0 --root $HUB >.hub.out 2>.hub.log & PID=$!
for i in $(seq 1200); do grep -qs 'its page at' .hub.out && break; sleep .05; done
H=$(sed -n 's|.*its page at https*://||p' .hub.out); U=http://$H
printf '[registries."docker.io"]\nlocation = "http://%s"\n' $H > config.toml; export CAISSON_CONFIG=$PWD/config.toml
ed() { local f=$HOME/$1; shift; curl -s -b $f -c $f "$@"; }
csrf() { ed $1 $U/signin | sed -n 's/.*name="csrf" value="\([^"]*\)".*/\1/p' | head -n1; }
hub_user() { [ "$(ed $1.jar -o $HOME/.page -w '%{http_code}' --data-urlencode csrf="$(csrf $1.jar)" -d user=$1 -d password=secret-of-$1 $U/signup)" = 303 ]; }
hub_repository() { [ "$(ed $1.jar -o $HOME/.page -w '%{http_code}' --data-urlencode csrf="$(ed $1.jar $U/ | sed -n 's/.*name="csrf" value="\([^"]*\)".*/\1/p' | head -n1)" -d name=$2 --data-urlencode description="$3" -d visibility=public $U/new)" = 303 ]; }
ID=none
block() {
    if [ -n "$NEEDS" ] && ! docker $NEEDS --help >/dev/null 2>&1; then echo "skipped: no caisson $NEEDS yet: line $LINE"; return; fi
    if [ -n "$FILE" ]; then mkdir -p $HOME/work/$(dirname $FILE); printf %s "$CODE" > $HOME/work/$FILE; return; fi
    [ -z "$RUN" ] || eval "$RUN"
    CODE=$(printf %s "$CODE" | sed -E "s/\bID\b/$ID/g")
    if [ -n "$TYPE" ]; then printf "$TYPE" | script -qec "$CODE" /dev/null > $HOME/.out 2>&1
    elif [ -n "$ANSWER" ]; then printf '%s\n' "$ANSWER" > $HOME/.answer; eval "$CODE" < $HOME/.answer > $HOME/.out 2>&1
    else eval "$CODE" > $HOME/.out 2>&1 < /dev/null; fi
    tr -d '\r' < $HOME/.out > $HOME/.plain
    [ -z "$EXPECT" ] || grep -qE -- "$EXPECT" $HOME/.plain || { echo "line $LINE: no '$EXPECT'"; false; }
    new=$(grep -xE '[0-9a-f]{64}' $HOME/.plain | tail -n1 || true); [ -z "$new" ] || ID=$new
}
mkdir work; cd work
"#;

/// Makes, with the base, the images that the hub has: `debian:9`, `nginx`, `postgres`,
/// `hello-world`.
const PREPARE: &str = r#"
set -eu
base=$1 hub=$2; ip link set lo up
export HOME=$PWD DOCKER_CONFIG=$PWD/.docker
caisson registry serve --listen 127.0.0.1:0 --root $hub.new >.hub.out 2>.hub.log & PID=$!
trap 'kill -9 $PID 2>/dev/null || true' EXIT
for i in $(seq 1200); do grep -qs 'its page at' .hub.out && break; sleep .05; done
H=$(sed -n 's|.*its page at https*://||p' .hub.out)
share() { caisson tag $1 $H/library/$2; caisson push -q $H/library/$2 >/dev/null; }
caisson run --rm hello-world >/dev/null 2>&1; share hello-world hello-world:latest
caisson import $base debian:9 >/dev/null; share debian:9 debian:9
cat > entry <<'E'
#!/bin/sh
set -e
B=$(echo /usr/lib/postgresql/*/bin)
mkdir -p $PGDATA; chown postgres $PGDATA; chmod 700 $PGDATA
[ -s $PGDATA/PG_VERSION ] || { runuser -u postgres -- $B/initdb -D $PGDATA -A trust >/dev/null; echo 'host all all all trust' >> $PGDATA/pg_hba.conf; }
exec runuser -u postgres -- $B/postgres -D $PGDATA -c 'listen_addresses=*' -c unix_socket_directories=/var/run/postgresql
E
chmod 755 entry
apt='apt-get update -qq && apt-get install -yqq --no-install-recommends'
caisson run --name web debian:9 sh -c "$apt nginx-light" >/dev/null 2>&1
caisson commit -c 'CMD ["nginx","-g","daemon off;"]' -c 'EXPOSE 80' web nginx >/dev/null; share nginx nginx:latest
caisson run --name db -v $PWD/entry:/e debian:9 sh -c "$apt postgresql && cp /e /entry" >/dev/null 2>&1
caisson commit -c 'ENTRYPOINT ["/entry"]' -c 'ENV PGDATA=/var/lib/postgresql/data' -c 'EXPOSE 5432' -c 'VOLUME /var/lib/postgresql/data' db postgres >/dev/null; share postgres postgres:latest
caisson rm web db >/dev/null; kill $PID; wait $PID || true; mv $hub.new $hub
"#;

/// What the guides install, in a Debian that needs no network for it.
const INSTALLED: &str = "curl gnupg nodejs nginx-light net-tools postgresql";

/// A directory to work in, with both names of the binary in front on the path.
fn command(directory: &Path, script: &str) -> Command {
    let bin = directory.join("bin");
    if !bin.exists() {
        std::fs::create_dir(&bin).unwrap();
        for name in ["caisson", "docker"] {
            std::os::unix::fs::symlink(testkit::binary(), bin.join(name)).unwrap();
        }
    }
    let mut command = Command::new("timeout");
    command
        .args([
            "-k", "5", LIMIT, "unshare", "--net", "bash", "-c", script, "guide",
        ])
        .current_dir(directory)
        .env(
            "PATH",
            format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display()),
        )
        .env("CAISSON_ROOT", directory.join("root"))
        .env("CAISSON_RUN_ROOT", directory.join("run"));
    command
}

fn scratch() -> tempfile::TempDir {
    let mut builder = tempfile::Builder::new();
    builder
        .prefix("caisson-it-guide.")
        .tempdir_in("/var/tmp")
        .unwrap()
}

/// The prepared hub; made once for this machine, by whoever comes first.
fn hub() -> PathBuf {
    let base = testkit::debian("ca-certificates", INSTALLED);
    let hub = PathBuf::from("/var/tmp/caisson-it-guide-hub-1");
    let _lock = sys::lock::Lock::acquire(Path::new("/var/tmp/caisson-it-guide.lock")).unwrap();
    if !hub.exists() {
        let directory = scratch();
        let _ = std::fs::remove_dir_all(hub.with_extension("new"));
        let output = command(directory.path(), PREPARE)
            .args([&base, &hub])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "cannot prepare the hub: {told}");
    }
    hub
}

/// Executes a page of `docs/`.
fn follow(page: &str) {
    if !testkit::can_run() {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let directory = scratch();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(hub())
        .arg(directory.path().join("hub"))
        .status();
    assert!(copied.unwrap().success());
    let script = format!("{STAGE}\n{}", script(&text));
    let output = command(directory.path(), &script)
        .env("HUB", directory.path().join("hub"))
        .output()
        .unwrap();
    let clean = "ids=$(caisson ps -aq); [ -z \"$ids\" ] || caisson rm -f $ids >/dev/null; caisson system prune -af --volumes >/dev/null";
    let cleaned = command(directory.path(), clean).status().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in told.lines().filter(|line| line.starts_with("skipped: ")) {
        println!("{line}");
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{page}: {told}{errors}");
    assert!(cleaned.success(), "{page}: cannot remove what it made");
}

#[test]
fn getting_started_does_what_it_says() {
    follow("guide/getting-started.md");
}

#[test]
fn prise_en_main_does_what_it_says() {
    follow("guide/prise-en-main.md");
}

#[test]
fn the_basics_are_as_told() {
    follow("concepts/basics.md");
}

/// The students' page shows what the course shows, and both pages go the same way.
#[test]
fn both_guides_have_the_same_commands() {
    let words = |page: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs/guide")
            .join(page);
        let text = std::fs::read_to_string(path).unwrap();
        let shown = blocks(&text)
            .into_iter()
            .filter(|block| block.language == "sh");
        let lines: Vec<String> = shown
            .flat_map(|block| block.code.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter_map(|line| {
                let mut words = line.split(' ');
                Some(format!(
                    "{} {}",
                    words.next()?,
                    words.next().unwrap_or_default()
                ))
            })
            .collect();
        lines
    };
    assert_eq!(
        words("getting-started.md").len(),
        words("prise-en-main.md").len()
    );
    let course = [
        "docker run hello-world",
        "docker run -d -p 8080:80 nginx",
        "docker exec -ti",
        "docker stop",
        "docker rm",
        "docker pull",
        "docker ps",
        "docker images",
        "docker search",
        "docker build -t name_docker .",
        "docker run -d -p 2368:2368 name_docker",
        "docker history",
        "docker login",
        "docker tag name_docker:latest",
        "docker push",
        "docker compose up -d",
        "docker system prune",
    ];
    for page in ["getting-started.md", "prise-en-main.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs/guide")
            .join(page);
        let text = std::fs::read_to_string(path).unwrap();
        let shown: String = blocks(&text).into_iter().map(|block| block.code).collect();
        for wanted in course {
            assert!(shown.contains(wanted), "{page} has no {wanted}");
        }
    }
}
