//! Who gets back from whom what was pushed: our client and our registry with skopeo, podman, buildah and
//! Debian's docker-registry, in both directions, OCI and Docker formats, gzip and zstd. The table that
//! comes out is the one in docs/guide/registry-interop.md; `UPDATE_SNAPSHOTS=1` writes it there.

use std::path::Path;

use testkit::{Sandbox, can_run, check_in};

const PAGE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/guide/registry-interop.md"
);
const BEGIN: &str = "<!-- made by tests/it/interop.rs -->\n";
const END: &str = "<!-- end -->\n";

/// Goal: any of four clients gets from either registry, whole, what any of four pushed. Method: an image
/// of its own for each case, so that no client's cache of layers answers; a client's word for the
/// layer's diff id must be the one it was made with.
const SCRIPT: &str = r#"
    ip link set lo up; export HOME=$PWD/home; mkdir home tars; pids=
    trap 'kill $pids 2>/dev/null; wait' EXIT
    opens() { for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/$1) 2>/dev/null && return; sleep .05; done; false; }
    caisson registry serve --listen 127.0.0.1:5000 --root hub >hub.out 2>hub.log & pids=$!
    printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/theirs}}\nhttp: {addr: "127.0.0.1:5001"}\n' $PWD >theirs.yml
    docker-registry serve theirs.yml >theirs.log 2>&1 & pids="$pids $!"
    opens 5000 && opens 5001 || exit 99
    # podman and buildah keep a cache of layers in the place of their store.
    podman() { command podman --root $PWD/podman --runroot $PWD/podman.run --storage-driver vfs --events-backend none "$@"; }
    buildah() { command buildah --root $PWD/buildah --runroot $PWD/buildah.run --storage-driver vfs "$@"; }
    skopeo() { command skopeo --insecure-policy "$@"; }
    # An image with a file of its own, as an archive that everybody loads.
    image() {
        cp $IMAGE tars/$1; mkdir -p x; echo $1 >x/case; tar -rf tars/$1 -C x case
        caisson import tars/$1 case:$1 >/dev/null && caisson save -o $1.tar case:$1 && caisson image inspect -f '{{index .RootFS.Layers 0}}' case:$1 >tars/$1.id
    }
    # push CLIENT IMAGE FORMAT COMPRESSION PLACE
    push() {
        local f=$3; [ $3 = docker ] && f=v2s2
        case $1 in
        skopeo) skopeo copy -q --dest-tls-verify=false --format $f --dest-compress --dest-compress-format $4 docker-archive:$2.tar docker://$5;;
        podman) podman load -q -i $2.tar >/dev/null && podman push -q --tls-verify=false --format $f --compression-format $4 case:$2 docker://$5;;
        buildah) buildah pull -q docker-archive:$2.tar >/dev/null && buildah push -q --tls-verify=false --format $f --compression-format $4 case:$2 docker://$5 >/dev/null;;
        caisson)
            # It makes OCI's; Docker's format is kept where an image came in it.
            if [ $3 = docker ]; then caisson rmi case:$2 >/dev/null; push skopeo $2 docker gzip 127.0.0.1:5001/made/$2 && caisson pull -q 127.0.0.1:5001/made/$2 >/dev/null && caisson tag 127.0.0.1:5001/made/$2 $5
            else caisson tag case:$2 $5; fi && caisson push -q --compression $4 $5 >/dev/null;;
        esac
    }
    # pull CLIENT IMAGE PLACE
    pull() {
        local got want=$(cat tars/$2.id)
        case $1 in
        skopeo) rm -rf got; skopeo copy -q --src-tls-verify=false docker://$3 dir:got && got=$(skopeo inspect --config dir:got | tr -d ' \n' | sed -n 's/.*"diff_ids":\["\([^"]*\)".*/\1/p');;
        podman) podman rmi -af >/dev/null; podman pull -q --tls-verify=false $3 >/dev/null && got=$(podman image inspect --format '{{index .RootFS.Layers 0}}' $3);;
        buildah) buildah rmi -af >/dev/null; buildah pull -q --tls-verify=false $3 >/dev/null && got=$(buildah inspect --type image --format '{{index .OCIv1.RootFS.DiffIDs 0}}' $3);;
        caisson)
            caisson rmi -f $(caisson images -q $3) case:$2 >/dev/null 2>&1; caisson pull -q $3 >/dev/null && [ "$(caisson run --rm $N $3 cat /case)" = $2 ] && got=$(caisson image inspect -f '{{index .RootFS.Layers 0}}' $3);;
        esac
        [ "$got" = $want ] || { echo "$1 got [$got] for $3, wanted $want"; return 1; }
    }
    # What lies there is what was asked for: nobody falls back to another format unseen.
    lies() {
        local raw=$(skopeo inspect --raw --tls-verify=false docker://$3); local kind=application/vnd.oci.image.manifest; [ $1 = docker ] && kind=application/vnd.docker.distribution.manifest
        local layer=gzip; [ $2 = zstd ] && layer=tar+zstd
        echo "$raw" | grep -q "$kind" && echo "$raw" | grep -q "$layer" || { echo "$3 is not $1 with $2: $raw"; return 1; }
    }
    { echo '| pushed by | to | OCI, gzip: pulled by | OCI, zstd: pulled by | Docker, gzip: pulled by |'; echo '|---|---|---|---|---|'; } >table
    for by in caisson skopeo podman buildah; do for to in 5000 5001; do
        [ $to = 5000 ] && name='`caisson registry`' || name=docker-registry
        line="| $by | $name |"
        for kind in oci:gzip oci:zstd docker:gzip; do
            format=${kind%:*} compression=${kind#*:} case=$by-$to-${kind/:/-} place=127.0.0.1:$to/$by/${kind/:/-}:1 who=
            image $case && push $by $case $format $compression $place && lies $format $compression $place || exit 2
            for client in caisson skopeo podman buildah; do pull $client $case $place || exit 3; who="$who${who:+, }$client"; done
            rm -f $case.tar; line="$line $who |"
        done; echo "$line" >>table
    done; done
    # From one registry to the other and back, byte for byte.
    for kind in oci-gzip oci-zstd docker-gzip; do
        digest() { skopeo inspect --raw --tls-verify=false docker://$1 | sha256sum; }
        skopeo copy -q --all --preserve-digests --src-tls-verify=false --dest-tls-verify=false docker://127.0.0.1:5000/skopeo/$kind:1 docker://127.0.0.1:5001/copied/$kind:1 &&
        skopeo copy -q --all --preserve-digests --src-tls-verify=false --dest-tls-verify=false docker://127.0.0.1:5001/copied/$kind:1 docker://127.0.0.1:5000/back/$kind:1 || exit 4
        [ "$(digest 127.0.0.1:5000/skopeo/$kind:1)" = "$(digest 127.0.0.1:5000/back/$kind:1)" ] || exit 5
    done"#;

#[test]
fn whoever_pushed_it_everybody_gets_it_back() {
    if !can_run() {
        return;
    }
    let sandbox = Sandbox::new();
    check_in(
        &sandbox,
        &format!("cat > s.sh <<'EOS'\n{SCRIPT}\nEOS\nunshare -n bash s.sh"),
    );
    let table = std::fs::read_to_string(sandbox.path().join("table")).unwrap();
    let page = std::fs::read_to_string(Path::new(PAGE)).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (kept, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(table, kept, "the page is not what was seen");
    }
}
