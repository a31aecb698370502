//! What Docker's build client has beside building: builders, answers about a Dockerfile, progress for
//! programs, annotations. Programs read all of it, so documents are read with a program here.

use testkit::{Sandbox, can_run, check_in};

/// `build ARGUMENTS` builds without a network; its progress is in `log`. `json FILE EXPRESSION` looks at a
/// document `d`.
const FUNCTIONS: &str = r#"
    build() { caisson build --network none "$@" 2> log; }
    json() { python3 -c 'import base64, json, sys; d = json.load(open(sys.argv[1])); ok = eval(sys.argv[2]); ok or print(json.dumps(d, indent=1)); sys.exit(not ok)' "$@"; }
    mkdir ctx"#;

fn checks(script: &str) {
    if can_run() {
        check_in(&Sandbox::new(), &format!("{FUNCTIONS}\n{script}"));
    }
}

/// The calls of docker/setup-buildx-action and of scripts that make a builder first.
#[test]
fn scripts_that_make_a_builder_before_they_build_go_on() {
    checks(
        r#"
        caisson buildx version | grep -Eq '^github.com/docker/buildx v[0-9]+\.[0-9]+\.[0-9]+ ' || exit 2
        [ "$(caisson buildx create --name b --driver docker-container --driver-opt network=host --buildkitd-flags '--debug' --bootstrap --use)" = b ] && [ "$(caisson buildx create --use)" = default ] || exit 3
        caisson buildx inspect --bootstrap --builder b > o && grep -qx 'Name:   b' o && grep -qx 'Status:           running' o && grep -q '^Platforms: *linux/' o && caisson buildx inspect | grep -qx 'Name:   default' || { cat o; exit 4; }
        caisson buildx ls | grep -q '^default\* *docker' && [ "$(caisson buildx ls --format '{{.Name}}' | sort -u)" = default ] || { caisson buildx ls; exit 5; }
        caisson buildx ls --format json > o && json o 'd["Current"] and d["Nodes"][0]["Status"] == "running" and "linux/amd64" in d["Nodes"][0]["Platforms"]' || exit 6
        printf 'FROM busybox\nRUN true\n' > ctx/Dockerfile; caisson buildx use b && caisson buildx build --builder b --network none -q ctx >/dev/null && caisson buildx stop b || exit 7
        [ "$(caisson buildx rm b 2>&1)" = 'b removed' ] || exit 8
        # What would be another machine is refused, and what would configure another builder.
        for flags in '--driver kubernetes' '--driver remote tcp://h:1' 'tcp://h:1' '--buildkitd-config /f' '--config /f'; do caisson buildx create $flags > o 2>&1; [ $? != 0 ] && [ -s o ] || { cat o; exit 9; }; done"#,
    );
}

#[test]
fn a_dockerfile_is_told_of_without_a_build() {
    checks(
        r#"
        cat > f <<'EOF'
# VERSION of the base
ARG VERSION=latest
ARG UNUSED=1
FROM busybox:${VERSION} AS base
# MODE of the tool
ARG MODE
RUN --mount=type=secret,id=token,required=true --mount=type=ssh true
FROM busybox AS other
ARG NOWHERE=1
# app is what runs
FROM base AS app
ARG LEVEL=$MODE-1
RUN --mount=type=secret,id=extra true
EOF
        caisson build --call outline --build-arg MODE=fast -f f ctx > o || exit 2
        printf 'TARGET:      app\nDESCRIPTION: is what runs\n\nBUILD ARG   VALUE    DESCRIPTION\nVERSION     latest   of the base\nMODE        fast     of the tool\nLEVEL       fast-1   \n\nSECRET   REQUIRED\ntoken    true\nextra    \n\nSSH       REQUIRED\ndefault   \n\n' | diff o - || exit 3
        caisson build --call outline,format=json --target other -f f ctx > o && json o 'd["name"] == "other" and [a["name"] for a in d["args"]] == ["NOWHERE"] and d["args"][0]["location"]["ranges"][0]["start"]["line"] == 9 and "secrets" not in d and base64.b64decode(d["sources"][0]) == open("f", "rb").read()' || exit 4
        caisson build --call=targets,format=json -f f ctx > o && json o '[(t.get("name"), t.get("base"), t.get("default")) for t in d["targets"]] == [("base", "busybox:${VERSION}", None), ("other", "busybox", None), ("app", "base", True)] and d["targets"][2]["description"] == "is what runs"' || exit 5
        printf 'FROM busybox as b\n' > f; caisson build --check --call check,format=json -f f ctx > o; [ $? = 1 ] && json o 'd["warnings"][0]["ruleName"] == "FromAsCasing" and d["warnings"][0]["location"]["ranges"][0]["start"]["line"] == 1 and d["sources"][0]["filename"] == "f"' || exit 6
        caisson build --call check,format=json,ignorestatus -f f ctx > o || exit 7
        printf 'FROM busybox AS b\n' > f; caisson build --call lint,format=json -f f ctx > o && json o 'd["warnings"] == []' || exit 8
        for call in outline,format=yaml nothing; do caisson build --call $call -f f ctx 2> log; [ $? = 1 ] && grep -q "^ERROR: --call=$call" log || { cat log; exit 9; }; done
        [ -z "$(caisson images -q --filter dangling=true)" ]"#,
    );
}

/// Each line is a `SolveStatus` of BuildKit's client.
#[test]
fn progress_for_programs_is_in_the_form_of_buildkits_client() {
    checks(
        r#"
        cat > look.py <<'EOP'
import base64, json, re, sys
vertexes, logs, statuses, warnings = {}, {}, {}, []
time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
for line in open("log"):
    if not line.startswith("{"):
        assert "FAILS" in sys.argv, line
        continue
    status = json.loads(line)
    assert set(status) <= {"vertexes", "statuses", "logs", "warnings"} and status, status
    for v in status.get("vertexes", []):
        assert re.match("sha256:[0-9a-f]{64}$", v["digest"]) and time.match(v["started"]), v
        vertexes.setdefault(v["digest"], {}).update(v)
    for l in status.get("logs", []):
        assert l["vertex"] in vertexes and l["stream"] in (1, 2) and time.match(l["timestamp"]), l
        logs.setdefault((vertexes[l["vertex"]]["name"], l["stream"]), []).append(base64.b64decode(l["data"]))
    for s in status.get("statuses", []):
        assert s["vertex"] in vertexes and s["current"] == 0, s
        statuses.setdefault(vertexes[s["vertex"]]["name"], []).append(s["id"])
    warnings += status.get("warnings", [])
by_name = {v["name"]: v for v in vertexes.values()}
assert all("completed" in v for v in vertexes.values()), vertexes
joined = {key: b"".join(parts) for key, parts in logs.items()}
assert eval(sys.argv[1]), (by_name, joined, statuses, warnings)
EOP
        printf 'FROM busybox as b\nRUN echo told; printf wrong >&2\nCOPY f /f\n' > ctx/Dockerfile; echo 1 > ctx/f
        build --progress rawjson -t app ctx && python3 look.py 'joined == {("[2/3] RUN echo told; printf wrong >&2", 1): b"told\n", ("[2/3] RUN echo told; printf wrong >&2", 2): b"wrong"} and statuses["[3/3] COPY f /f"][0].startswith("not cached: ") and "naming to docker.io/library/app:latest" in statuses["exporting to image"] and base64.b64decode(warnings[0]["short"]).startswith(b"FromAsCasing: ") and warnings[0]["range"][0]["start"]["line"] == 1 and warnings[0]["sourceInfo"]["filename"] == "Dockerfile"' || exit 2
        build --progress rawjson --build-arg X=1 ctx && python3 look.py 'by_name["[3/3] COPY f /f"]["cached"] and not joined and b"[X]" in base64.b64decode(warnings[0]["short"])' || exit 3
        printf 'FROM busybox\nRUN exit 3\n' > ctx/Dockerfile; build --progress rawjson ctx; [ $? = 1 ] && python3 look.py '"exit code: 3" in by_name["[2/2] RUN exit 3"]["error"]' FAILS && grep -q '^ERROR: failed to solve: process' log || { cat log; exit 4; }"#,
    );
}

#[test]
fn annotations_stand_where_they_are_said_and_change_no_image() {
    checks(
        r#"
        caisson registry serve --listen 127.0.0.1:0 --root hub > hub.out 2>/dev/null & PID=$!; trap 'kill -9 $PID 2>/dev/null' EXIT
        for i in $(seq 200); do grep -qs 'its page at' hub.out && break; sleep .05; done
        R=$(sed -n 's|.*its page at https*://||p' hub.out); [ -n "$R" ] || exit 99
        ACCEPT='application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json'
        get() { curl -fs -H "Accept: $ACCEPT" http://$R/v2/$1 > $2 || { echo "no $1"; false; }; }
        printf 'FROM scratch\nARG TARGETARCH\nCOPY f /f\n' > ctx/Dockerfile; echo 1 > ctx/f
        build -t $R/plain:1 --push ctx && id=$(caisson images -q --no-trunc $R/plain:1) || { cat log; exit 2; }
        build -t $R/said:1 --annotation a.b=c=d --annotation manifest:e= --push --metadata-file meta ctx && [ "$(caisson images -q --no-trunc $R/said:1)" = $id ] || { cat log; exit 3; }
        get said/manifests/1 m && json m 'd["annotations"] == {"a.b": "c=d", "e": ""}' && grep -q "$(sha256sum < m | cut -d' ' -f1)" meta && get plain/manifests/1 m && json m '"annotations" not in d' || exit 4
        # The plain name is pushed as it is, now too; the same name without a word is plain again.
        caisson push -q $R/plain:1 >/dev/null && get plain/manifests/1 m && json m '"annotations" not in d' || exit 5
        caisson save $R/said:1 | tar -xO index.json > m && caisson push -q $R/said:1 >/dev/null && get said/manifests/$(python3 -c 'import json; print(json.load(open("m"))["manifests"][0]["digest"])') m && json m '"annotations" in d' || exit 6
        build -t $R/said:1 --push ctx && get said/manifests/1 m && json m '"annotations" not in d' || { cat log; exit 7; }
        # An index is made where something is said of it, and tells it to pullers.
        build -t $R/index:1 --annotation index,manifest-descriptor:k=v --provenance true --push ctx && get index/manifests/1 m && json m 'd["annotations"] == {"k": "v"} and d["manifests"][0]["annotations"] == {"k": "v"}' || { cat log; exit 8; }
        caisson rmi -f $R/index:1 >/dev/null; caisson pull -q $R/index:1 >/dev/null || exit 9
        build --platform linux/amd64,linux/arm64 -t $R/both:1 --annotation 'manifest[linux/arm64]:arm=yes' --output type=oci,tar=false,dest=l,annotation-index.own=1 --annotation index-descriptor:top=2 ctx || { cat log; exit 10; }
        json l/index.json 'd["manifests"][0]["annotations"]["top"] == "2" and "org.opencontainers.image.ref.name" in d["manifests"][0]["annotations"]' || exit 11
        python3 -c 'import json; b = lambda d: json.load(open("l/blobs/" + d.replace(":", "/"))); i = b(json.load(open("l/index.json"))["manifests"][0]["digest"]); assert i["annotations"] == {"own": "1"}, i; assert [b(m["digest"]).get("annotations") for m in i["manifests"]] == [None, {"arm": "yes"}], i' || exit 12
        # An archive without a name has them, and one that Docker loads.
        for kind in oci docker; do rm -rf l; build --annotation x=y -o type=$kind,tar=false,dest=l ctx && python3 -c 'import json; b = lambda d: json.load(open("l/blobs/" + d.replace(":", "/"))); m = b(json.load(open("l/index.json"))["manifests"][0]["digest"]); assert m["annotations"] == {"x": "y"}, m' && [ -s l/manifest.json ] || { cat log; exit 13; }; done
        for bad in 'a:invalid' 'layer:a=b:unknown annotation type' 'index[linux/amd64]:a=b:no platform'; do build --annotation "${bad%:*}" ctx && exit 14; grep -q "^ERROR: .*${bad##*:}" log || { cat log; exit 15; }; done
        build --annotation a=b -o out ctx && exit 16; grep -q 'annotations are kept with an image' log || { cat log; exit 17; }
        build --annotation index:a=b -o type=docker,dest=t.tar ctx && exit 18; grep -q 'manifest lists' log || { cat log; exit 19; }
        # Nothing of older annotations stays.
        for i in 1 2 3; do build -t app --annotation n=$i ctx || exit 20; done; caisson rmi -f app >/dev/null; caisson image prune -af >/dev/null; caisson builder prune -af >/dev/null; caisson rmi -f $(caisson images -aq) >/dev/null 2>&1; caisson image prune -af >/dev/null; [ -z "$(find root/blobs -type f)" ] || { find root/blobs -type f; exit 21; }"#,
    );
}
