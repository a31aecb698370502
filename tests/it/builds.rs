//! `build` of what people build: programs of a Debian with their packages, and each word of the language
//! that no other test uses.

use testkit::{Sandbox, can_run, check_in};

/// What is in the base image: a compiler and Python.
const PACKAGES: &str = "ca-certificates,gcc,libc6-dev,python3-minimal,libpython3-stdlib";
/// What the builds install.
const INSTALLED: &str = "curl gnupg nodejs nginx-light postgresql";

/// `build ARGUMENTS` builds on the host's network, which is the test's own; its progress is in `log`.
const FUNCTIONS: &str = r#"
    ip link set lo up
    build() { caisson build --network host "$@" 2> log; }
    missed() { grep -c 'not cached:' log; }
    waits() { for i in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep .1; done; echo "never: $*"; "$@"; false; }"#;

fn builds(script: &str) {
    check_in(
        &Sandbox::new(),
        &format!("cat > s.sh <<'EOS'\n{FUNCTIONS}\n{script}\nEOS\nunshare -n bash s.sh"),
    );
}

#[test]
fn programs_of_a_debian_are_built_served_and_not_built_again() {
    if can_run() {
        let base = testkit::debian(PACKAGES, INSTALLED);
        let base = base.display();
        builds(&format!(
            "caisson import {base} debian:12 >/dev/null || exit 99\n{DEBIAN}"
        ));
    }
}

/// A C program in two stages, a Python service, a course's Dockerfile, nginx, PostgreSQL.
const DEBIAN: &str = r#"
mkdir -p c py node web pg
printf '#include <stdio.h>\n#include "greet.h"\nint main(void) { puts(GREETING); return 0; }\n' > c/main.c; echo '#define GREETING "from two stages"' > c/greet.h; printf 'all: greet\n' > c/Makefile
cat > c/Dockerfile <<'EOF'
FROM debian:12 AS build
WORKDIR /src
COPY *.c *.h ./
RUN gcc -O1 -static -o /greet main.c
FROM scratch
COPY --from=build /greet /greet
ENTRYPOINT ["/greet"]
EOF
build -t greet c || { cat log; exit 2; }
[ "$(caisson run --rm --network none greet)" = 'from two stages' ] && [ $(caisson inspect -f '{{len .RootFS.Layers}}' greet) = 1 ] || exit 3
sed -i 's/two stages/two steps/' c/greet.h; build -t greet c && grep -q 'not cached: greet.h changed' log && [ "$(caisson run --rm --network none greet)" = 'from two steps' ] || exit 4
cat > py/app.py <<'EOF'
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.environ['GREETING']} {os.getuid()} {self.path}\n".encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
EOF
printf '__pycache__\n*.pyc\n' > py/.dockerignore; touch py/x.pyc
cat > py/Dockerfile <<'EOF'
FROM debian:12
ARG PORT=8000
ENV PORT=$PORT GREETING=hello PYTHONUNBUFFERED=1
RUN useradd --uid 1000 app
WORKDIR /srv
COPY --chown=app:app . .
RUN python3 -m compileall -q . && [ ! -e x.pyc ]
USER app
EXPOSE $PORT
HEALTHCHECK --interval=200ms CMD python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$PORT')"
CMD ["python3", "app.py"]
EOF
build --build-arg PORT=8001 -t service py || { cat log; exit 5; }
caisson run -d --name py --network host service >/dev/null; get() { caisson exec "$1" python3 -c "import urllib.request; print(urllib.request.urlopen('$2').read().decode(), end='')"; }
waits get py http://127.0.0.1:8001/a; [ "$(get py http://127.0.0.1:8001/a)" = 'hello 1000 /a' ] || exit 6
waits sh -c '[ $(caisson inspect -f "{{.State.Health.Status}}" py) = healthy ]' || exit 7
echo 'const fs = require("fs"); require("http").createServer((q, a) => { fs.appendFileSync("/app/logs/requests", q.url + "\n"); a.end("Bonjour\n"); }).listen(2368);' > node/server.js
mkdir -p node/node_modules/m node/.git; echo node_modules > node/.dockerignore; echo .git >> node/.dockerignore
cat > node/Dockerfile <<'EOF'
From debian:12

RUN apt-get update -yq \
&& apt-get install curl gnupg -yq \
&& apt-get install --no-install-recommends nodejs -yq \
&& apt-get clean -y

# ADD permet d'ajouter des fichiers
ADD . /app/

WORKDIR /app

EXPOSE 2368

VOLUME /app/logs

CMD node server.js
EOF
build -t ocr node || { cat log; exit 8; }
caisson run -d --name node --network host ocr >/dev/null; waits get py http://127.0.0.1:2368/b; [ "$(get py http://127.0.0.1:2368/c)" = Bonjour ] && caisson exec node sh -c 'grep -qx /c logs/requests && [ ! -e node_modules ] && [ ! -e .git ]' || exit 9
echo '<h1>ours</h1>' > web/index.html
cat > web/Dockerfile <<'EOF'
FROM debian:12
RUN --mount=type=tmpfs,target=/var/lib/apt/lists apt-get update -q && apt-get install -yq --no-install-recommends nginx-light
RUN ln -sf /dev/stdout /var/log/nginx/access.log && sed -i 's/listen 80 /listen 8002 /; /\[::\]/d' /etc/nginx/sites-enabled/default
COPY index.html /var/www/html/
EXPOSE 8002
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
EOF
cat > pg/init.sh <<'EOF'
#!/bin/sh
set -e
B=$(echo /usr/lib/postgresql/*/bin)
[ -s $PGDATA/PG_VERSION ] || $B/initdb -D $PGDATA -A trust >/dev/null
exec $B/postgres -D $PGDATA "$@"
EOF
cat > pg/Dockerfile <<'EOF'
FROM debian:12
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/*
ENV PGDATA=/var/lib/postgresql/data
RUN install -d -o postgres -m 700 $PGDATA
COPY --chmod=755 init.sh /init
USER postgres
VOLUME $PGDATA
ENTRYPOINT ["/init"]
CMD ["-c", "unix_socket_directories=/tmp"]
EOF
caisson build --network host -t web web 2> web.log & caisson build --network host -t db pg 2> pg.log; wait $! || { cat web.log; exit 10; }
caisson run -d --name web --network host web >/dev/null; waits get py http://127.0.0.1:8002/; [ "$(get py http://127.0.0.1:8002/)" = '<h1>ours</h1>' ] && waits sh -c 'caisson logs web | grep -q "GET / "' || exit 11
caisson run -d --name db --network none db >/dev/null || { cat pg.log; exit 12; }
sql() { caisson exec db psql -h /tmp -Atc "$1" postgres; }; waits sql 'select 1'; sql 'create table t (v int); insert into t values (42)' >/dev/null && [ "$(sql 'select v from t')" = 42 ] || exit 13
# Nothing is done again.
for d in c py node web pg; do caisson build --network host --explain $([ $d = py ] && echo --build-arg PORT=8001) $d 2> log; grep 'not cached:' log && exit 14; done
caisson rm -fv py node web db >/dev/null"#;

macro_rules! builds {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { if can_run() { builds($script); } })* };
}

builds! {
    words_for_images_are_in_their_configuration: r#"
        mkdir -p ctx/dir; echo a > ctx/a; echo b > ctx/dir/b; echo c > ctx/dir/c.md
        cat > ctx/Dockerfile <<'EOF'
FROM busybox
MAINTAINER somebody
SHELL ["/bin/sh", "-e", "-c"]
RUN echo $- > /options
ADD --chown=33:44 --chmod=600 a /owned
ADD --link a /linked
ADD --exclude=*.md dir /some/
HEALTHCHECK --interval=1s --timeout=2s --start-period=3s --start-interval=4s --retries=5 CMD true
STOPSIGNAL SIGQUIT
EOF
        build -t app ctx || { cat log; exit 2; }
        [ "$(caisson inspect -f '{{json .Config.Healthcheck}}' app)" = '{"Test":["CMD-SHELL","true"],"Interval":1000000000,"Timeout":2000000000,"StartPeriod":3000000000,"StartInterval":4000000000,"Retries":5}' ] || { caisson inspect -f '{{json .Config.Healthcheck}}' app; exit 3; }
        [ "$(caisson inspect -f '{{.Author}} {{.Config.StopSignal}} {{json .Config.Shell}}' app)" = 'somebody SIGQUIT ["/bin/sh","-e","-c"]' ] || exit 4
        caisson run --rm $N app sh -c 'grep -q e /options && [ $(stat -c %u:%g:%a /owned) = 33:44:600 ] && [ $(cat /linked) = a ] && [ "$(ls /some)" = b ]' || exit 5
        printf 'FROM app\nHEALTHCHECK NONE\n' > ctx/Dockerfile; build -t none ctx && [ "$(caisson inspect -f '{{json .Config.Healthcheck.Test}}' none)" = '["NONE"]' ] || { cat log; exit 6; }"#;
    words_of_run_say_where_and_with_what_it_runs: r#"
        mkdir -p ctx/dir; echo b > ctx/dir/b; echo s3cret > secret
        cat > ctx/Dockerfile <<'EOF'
FROM busybox
RUN --network=none ! grep -v '^ *lo:\||' /proc/net/dev
RUN --security=sandbox grep CapEff /proc/self/status > /sandbox
RUN --security=insecure grep CapEff /proc/self/status > /insecure; ! cmp -s /sandbox /insecure
RUN --mount=type=bind,src=dir,dst=/d,readonly [ $(cat /d/b) = b ] && ! touch /d/b 2>/dev/null
RUN --mount=type=bind,source=dir,destination=/d,ro ! touch /d/b 2>/dev/null
RUN --mount=type=bind,source=dir,target=/d,readwrite touch /d/b
RUN --mount=type=tmpfs,target=/t,size=64k ! dd if=/dev/zero of=/t/f bs=1k count=128 2>/dev/null
RUN --mount=type=secret,id=s,target=/s,mode=0440,uid=33,gid=44 [ $(stat -c %a:%u:%g /s) = 440:33:44 ]
RUN --mount=type=cache,id=owned,target=/c,mode=0750,uid=33,gid=44 [ $(stat -c %a:%u:%g /c) = 750:33:44 ]
EOF
        ! build --secret id=s,src=secret -t app ctx && grep -q 'Dockerfile:4:5.*security.insecure is not allowed' log || { cat log; exit 4; }
        build --allow security.insecure --secret id=s,src=secret -t app ctx || { cat log; exit 2; }
        # At once: one sees what the other does, each has its own, one comes after the other.
        cat > ctx/Dockerfile <<'EOF'
FROM busybox AS one
RUN --mount=type=cache,target=/c,sharing=shared touch /c/one; for i in $(seq 100); do [ -e /c/two ] && exit; sleep .1; done; exit 1
RUN --mount=type=cache,target=/p,sharing=private mkdir /p/taken && sleep 1 && rmdir /p/taken
RUN --mount=type=cache,target=/l,sharing=locked mkdir /l/taken && sleep .5 && rmdir /l/taken && touch /done
FROM busybox AS two
RUN --mount=type=cache,target=/c,sharing=shared touch /c/two; for i in $(seq 100); do [ -e /c/one ] && exit; sleep .1; done; exit 1
RUN --mount=type=cache,target=/p,sharing=private mkdir /p/taken && sleep 1 && rmdir /p/taken
RUN --mount=type=cache,target=/l,sharing=locked mkdir /l/taken && sleep .5 && rmdir /l/taken && touch /done
FROM busybox
COPY --from=one /done /one
COPY --from=two /done /two
EOF
        build -t app ctx || { cat log; exit 3; }
        # Each would fill the same cache first, and one of them does.
        { printf 'FROM busybox AS many\nRUN mkdir /m && cd /m && for i in $(seq 2000); do echo $i > $i; done\n'
          for s in 1 2 3; do printf "FROM busybox AS s$s\nRUN --mount=type=cache,id=full,from=many,source=/m,target=/c ls /c | wc -l > /f; : $s\n"; done
          echo 'FROM busybox'; for s in 1 2 3; do echo "COPY --from=s$s /f /$s"; done; } > ctx/Dockerfile
        build -t app ctx && [ "$(caisson run --rm $N app cat /1 /2 /3 | tr '\n' ' ')" = '2000 2000 2000 ' ] || { cat log; exit 5; }"#;
    predefined_arguments_tell_of_the_build_and_to_it: r#"
        mkdir ctx; cat > ctx/Dockerfile <<'EOF'
FROM busybox
ARG TARGETOS TARGETOSVERSION TARGETARCH TARGETVARIANT BUILDOS BUILDOSVERSION BUILDARCH BUILDVARIANT
RUN echo "$TARGETOS/$TARGETARCH/$TARGETVARIANT/$TARGETOSVERSION $BUILDOS/$BUILDARCH/$BUILDVARIANT/$BUILDOSVERSION" > /platforms
RUN echo $HTTP_PROXY $HTTPS_PROXY $FTP_PROXY $NO_PROXY $ALL_PROXY > /proxies; hostname > /name
RUN --mount=type=cache,target=/c [ ! -e /c/f ] && touch /c/f
EOF
        proxies() { for p in HTTP_PROXY HTTPS_PROXY FTP_PROXY NO_PROXY ALL_PROXY; do printf ' --build-arg %s=%s%s' $p $1 ${p%_PROXY}; done; }
        build $(proxies x) --build-arg BUILDKIT_SANDBOX_HOSTNAME=box --build-arg BUILDKIT_CACHE_MOUNT_NS=one -t app ctx || { cat log; exit 2; }
        caisson run --rm $N app cat /platforms /proxies /name > found; printf '%s\n' "linux/amd64// linux/amd64//" 'xHTTP xHTTPS xFTP xNO xALL' box > wanted; [ $(uname -m) = x86_64 ] || sed -i 1d found wanted; cmp found wanted || { cat found; exit 3; }
        # A proxy is no part of a step, and nowhere in the image.
        caisson history --no-trunc app | grep xFTP && exit 4; caisson inspect app | grep xFTP && exit 5
        build $(proxies y) --build-arg BUILDKIT_SANDBOX_HOSTNAME=box --build-arg BUILDKIT_CACHE_MOUNT_NS=one -t app ctx && [ $(missed) = 0 ] || { cat log; exit 6; }
        # Another name, another cache.
        build --no-cache --build-arg BUILDKIT_CACHE_MOUNT_NS=one ctx && exit 7; build --no-cache --build-arg BUILDKIT_CACHE_MOUNT_NS=two ctx || { cat log; exit 8; }"#;
}

/// `interrupt.py WORD ARGUMENTS` builds on a terminal of its own and types Ctrl-C once the word was seen: a
/// terminal signals all processes of its foreground at once, unlike `kill`.
const INTERRUPT: &str = r#"
cat > interrupt.py <<'EOP'
import os, pty, re, select, sys, time
word, arguments = sys.argv[1].encode(), sys.argv[2:]
# The step before is hashed and synced while this one runs.
kept = lambda: len([name for name in os.listdir("root/cache/steps") if not name.endswith(".lock")]) if os.path.isdir("root/cache/steps") else 0
before = kept()
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("caisson", ["caisson", "build", *arguments])
seen, typed, end = b"", False, time.monotonic() + 60
while True:
    if time.monotonic() > end:
        print("never:", word, seen.decode(errors="replace")); os.kill(pid, 9); sys.exit(90)
    if select.select([terminal], [], [], 0.2)[0]:
        try: data = os.read(terminal, 65536)
        except OSError: data = b""
        if not data: break
        seen += data
    if not typed and re.search(word, seen) and (kept() > before or "KEPT" not in os.environ) and os.path.exists(os.environ.get("UNTIL", ".")):
        os.write(terminal, b"\x03"); typed, end = True, time.monotonic() + 15
_, status = os.waitpid(pid, 0)
print(seen.decode(errors="replace"))
if not typed: print("it ended before"); sys.exit(91)
# What a shell shows as 130.
sys.exit(0 if os.WIFSIGNALED(status) and os.WTERMSIG(status) == 2 else 92)
EOP
    groups() { find /sys/fs/cgroup -depth -type d -path "*$1*" 2>/dev/null; }
    # Nothing of a step is left, without another command's help; then the next command takes the rest away.
    gone() {
        waits sh -c '! pgrep -f "^sleep 98765"' && waits sh -c "! grep -qs $PWD/root /proc/[0-9]*/mountinfo" || return 1
        [ -z "$(caisson images -q half)" ] && [ -z "$(caisson ps -aq)" ] || return 1
        caisson images >/dev/null; [ -z "$(ls run/containers 2>/dev/null)$(ls root/containers 2>/dev/null)" ]
    }
"#;

#[test]
fn a_build_that_is_interrupted_at_the_terminal_leaves_what_it_had_finished_and_nothing_else() {
    if can_run() {
        builds(&format!("{INTERRUPT}\n{INTERRUPTED}"));
    }
}

const INTERRUPTED: &str = r#"
mkdir -p run_ copy; links=$(ip -o link | wc -l)
printf 'FROM busybox\nRUN echo kept > /kept\nRUN echo runs-$((1+1)); trap "" INT; sleep 98765\n' > run_/Dockerfile
# A step that ignores the signal, in each kind of progress, on each kind of network.
for flags in '--progress plain --network host' '--progress tty --network none' '--progress rawjson --network default'; do
    # BuildKit's lines hold what was written in base64.
    case $flags in *rawjson*) shown=cnVucy0y;; *) shown=runs-2;; esac
    KEPT=1 python3 interrupt.py $shown $flags -t half run_ > o || { echo "$flags: $?"; cat o; exit 2; }
    gone || { cat o; exit 3; }
    waits sh -c "[ \$(ip -o link | grep -vc caisson) -le $links ]" || { ip link; exit 4; }
    build --explain $flags --progress plain run_; [ "$(missed)" = 1 ] || { cat log; exit 5; }
done
# While files are copied: the image of before is still the one of that name.
head -c 60000000 /dev/zero | (cd copy && split -a 4 -b 20000)
printf 'FROM busybox\nRUN echo kept > /kept\n' > copy/Dockerfile; build -t whole copy || exit 6; id=$(caisson images -q whole)
printf 'COPY . /files\nRUN true\n' >> copy/Dockerfile
python3 interrupt.py 'COPY . /files' -t whole --network none copy > o || { echo $?; cat o; exit 7; }
gone && [ "$(caisson images -q whole)" = $id ] || exit 8
build -t whole copy && [ "$(missed)" -le 2 ] && grep -q CACHED log && [ "$(caisson run --rm $N whole sh -c 'ls /files | wc -l')" = 3001 ] || { cat log; exit 9; }
# While a base is fetched from a registry that stops in the middle of a layer.
cat > registry.py <<'EOP'
import hashlib, http.server, io, json, tarfile, time
archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w") as tar:
    member = tarfile.TarInfo("large"); member.size = 200000; tar.addfile(member, io.BytesIO(bytes(200000)))
layer, config = archive.getvalue(), b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:' + b"0" * 64 + b'"]}}'
sha = lambda b: "sha256:" + hashlib.sha256(b).hexdigest()
manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha(config), "size": len(config)}, "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha(layer), "size": len(layer)}]}).encode()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body, kind = (manifest, "application/vnd.oci.image.manifest.v1+json") if "/manifests/" in self.path else (config if sha(config) in self.path else layer, "application/octet-stream")
        self.send_response(200); self.send_header("Content-Type", kind); self.send_header("Content-Length", str(len(body))); self.end_headers()
        if self.command == "GET" and body is layer:
            self.wfile.write(body[:50000]); self.wfile.flush(); open("stuck", "w").close(); time.sleep(100)
        elif self.command == "GET": self.wfile.write(body)
    do_HEAD = do_GET
    def log_message(self, *a): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler); server.daemon_threads = True
open("port", "w").write(str(server.server_port)); server.serve_forever()
EOP
python3 registry.py & server=$!; waits test -s port
printf "FROM 127.0.0.1:$(cat port)/base\nRUN true\n" > run_/Dockerfile
UNTIL=stuck python3 interrupt.py '' -t half run_ > o; code=$?; kill $server; wait
[ $code = 0 ] || { echo $code; cat o; exit 10; }
gone && [ -z "$(caisson images -q "127.0.0.1:$(cat port)/base")" ] || exit 11
printf 'FROM busybox\nRUN echo kept > /kept\n' > run_/Dockerfile; build -t next run_ && [ -z "$(ls root/tmp)" ] || { cat log; ls -R root/tmp; exit 12; }"#;

/// The mirror is a machine of its own: its namespace has no way back to the bridge's addresses, so that what a
/// program asks for comes back only to the host's.
#[test]
fn apt_installs_inside_run_over_the_bridge_network() {
    if can_run() {
        let base = testkit::debian(PACKAGES, INSTALLED);
        let base = base.display();
        builds(&format!(
            "caisson import {base} debian:12 >/dev/null && tar -xf {base} ./repo || exit 99\n{BRIDGE}"
        ));
    }
}

const BRIDGE: &str = r#"
unshare -n python3 -m http.server 80 > served 2>&1 & mirror=$!; trap "kill $mirror" EXIT
waits sh -c "[ \$(readlink /proc/$mirror/ns/net) != \$(readlink /proc/self/ns/net) ]"
ip link add near type veth peer name far && ip link set far netns $mirror && ip address add 192.0.2.1/24 dev near && ip link set near up && ip route add default via 192.0.2.2 || exit 2
nsenter -t $mirror -n sh -c 'ip link set lo up; ip address add 192.0.2.2/24 dev far; ip link set far up'; waits grep -q Serving served
mkdir ctx; cat > ctx/Dockerfile <<'EOF'
FROM debian:12
RUN rm -rf /repo && echo 'deb [trusted=yes] http://mirror/repo ./' > /etc/apt/sources.list && apt-get update -q \
 && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
RUN curl -fs http://mirror/repo/Packages | grep -qx 'Package: curl'
EOF
caisson build --add-host mirror=192.0.2.2 -t tool ctx 2> log || { cat log served; exit 3; }
grep -q '^[:f]*192.0.2.1 .*GET /repo/.*curl.*deb' served && ! grep -q '^[:f]*172[.]' served || { cat served; exit 4; }
caisson run --rm $N tool curl --version | grep -q '^curl ' && caisson run --rm $N tool sh -c '! grep mirror /etc/hosts' || exit 5
caisson build --add-host mirror=192.0.2.2 --explain ctx 2> log && ! grep 'not cached:' log || { cat log; exit 6; }
[ -z "$(ls root/cache/networks 2>/dev/null)" ]"#;
