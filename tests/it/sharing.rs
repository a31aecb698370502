//! Images to and from real registries: Debian's docker-registry on a loopback of the test's own, looked
//! at with skopeo, where the machine has them.

use std::path::Path;

use testkit::{Sandbox, can_run, check_in};

/// A machine with the registries `$R` and `$S`, at which `registry NAME PORT [SETTINGS]` starts more.
const FUNCTIONS: &str = r#"
    ip link set lo up; export DOCKER_CONFIG=$PWD/docker R=127.0.0.1:5000 S=127.0.0.1:5001; pids=
    trap 'kill $pids 2>/dev/null; wait' EXIT
    registry() {
        mkdir -p $1; printf 'version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: "127.0.0.1:%s"%s}\n%s\n' $PWD/$1 $2 "$4" "$3" > $1.yml
        docker-registry serve $1.yml > $1.log 2>&1 & pids="$pids $!"
        for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/$2) 2>/dev/null && return; sleep .05; done; echo "no registry"; cat $1.log; false
    }
    requests() { grep -c "\"$1 " $2.log; }
    skopeo() { command skopeo --insecure-policy "$@"; }
    registry first 5000; registry second 5001"#;

fn with_registries(script: &str) {
    let there = |path: &str| Path::new(path).exists();
    if !there("/usr/bin/docker-registry") || !there("/usr/bin/skopeo") {
        println!("skipped: neither docker-registry nor skopeo");
    } else if can_run() {
        let script = format!("cat > s.sh <<'EOS'\n{FUNCTIONS}\n{script}\nEOS\nunshare -n bash s.sh");
        check_in(&Sandbox::new(), &script);
    }
}

macro_rules! sharing {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { with_registries($script); })* };
}

sharing! {
    what_was_made_here_is_pushed_pulled_by_others_and_pushed_again_for_nothing: r#"
        caisson run --name app $N busybox sh -c 'echo hello > /made; mkdir /tmp/d; ln /made /tmp/d/link' && caisson commit app $R/team/app:1 >/dev/null && caisson rm app >/dev/null || exit 2
        caisson push $R/team/app:1 > out || exit 3
        [ "$(head -1 out)" = "The push refers to repository [$R/team/app]" ] && [ $(grep -c ': Pushed$' out) = 2 ] && grep -q '^1: digest: sha256:[0-9a-f]* size: [0-9]*$' out || { cat out; exit 4; }
        digest=$(sed -n 's/.*digest: \(sha256:[0-9a-f]*\) .*/\1/p' out)
        [ "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' docker://$R/team/app:1)" = $digest ] || exit 5
        skopeo copy -q --src-tls-verify=false docker://$R/team/app:1 dir:copy; n=0; for f in copy/[0-9a-f]*; do gzip -t $f 2>/dev/null && n=$((n + 1)); done; [ $n = 2 ] || exit 6
        caisson push $R/team/app:1 | grep -c 'Layer already exists' | grep -qx 2 || exit 7
        caisson tag $R/team/app:1 $R/other:1 && caisson push $R/other:1 | grep -c 'Mounted from team/app' | grep -qx 2 || exit 8
        [ "$(caisson push -q $R/other:1)" = $R/other:1 ] || exit 9
        caisson rmi -f $(caisson images -q $R/team/app | head -1) >/dev/null; caisson rmi busybox >/dev/null; caisson pull -q $R/team/app@$digest >/dev/null && caisson run --rm $N $R/team/app@$digest sh -c 'cat /made /tmp/d/link' | grep -c hello | grep -qx 2"#;
    the_same_image_has_the_same_digest_from_every_store_and_in_both_compressions: r#"
        for c in gzip zstd; do for s in one two; do
            CAISSON_ROOT=$PWD/$s.$c caisson import -q $IMAGE x 2>/dev/null; export CAISSON_ROOT=$PWD/$s.$c
            printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' $(sha256sum < $IMAGE | cut -d' ' -f1) > config
            mkdir -p l && cp $IMAGE l/layer.tar && cp config l/config.json && printf '[{"Config":"config.json","RepoTags":["%s/same-%s:1"],"Layers":["layer.tar"]}]' $R $c > l/manifest.json && tar -C l -cf l.tar config.json layer.tar manifest.json && caisson load -q -i l.tar || exit 2
            caisson push --compression $c $R/same-$c:1 | tail -1 > $s.$c.out || exit 3
        done; cmp one.$c.out two.$c.out || exit 4; done
        skopeo inspect --raw --tls-verify=false docker://$R/same-zstd:1 | grep -q 'tar+zstd' && caisson rmi $R/same-zstd:1 >/dev/null && caisson pull -q $R/same-zstd:1 && caisson run --rm $N $R/same-zstd:1 true || exit 5
        # From then on the configured one holds, and what is there is never made anew.
        printf '[registries."%s"]\ncompression = "zstd"\n' $R > c.toml; export CAISSON_CONFIG=$PWD/c.toml
        caisson import -c 'CMD ["x"]' $IMAGE $R/conf:1 >/dev/null && caisson push -q $R/conf:1 && skopeo inspect --raw --tls-verify=false docker://$R/conf:1 | grep -q 'tar+zstd'"#;
    what_was_pulled_is_pushed_byte_for_byte_with_its_index: r#"
        caisson push -q $R/x:1 2>err; grep -q 'An image does not exist locally with the tag: 127.0.0.1:5000/x' err || exit 2
        caisson tag busybox $R/a:1 && caisson push -q $R/a:1 >/dev/null || exit 3
        # Docker's format by skopeo, and an index of one.
        skopeo copy -q --src-tls-verify=false --dest-tls-verify=false --format v2s2 docker://$R/a:1 docker://$R/v2:1 || exit 4
        skopeo inspect --raw --tls-verify=false docker://$R/a:1 > m; size=$(wc -c < m); m=$(sha256sum < m | cut -d' ' -f1)
        printf '{"schemaVersion":2,  "mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"amd64","os":"linux"}}]}' $m $size > index
        curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' --data-binary @index http://$R/v2/a/manifests/list || exit 5
        for name in v2:1 a:list; do
            caisson pull -q $R/$name >/dev/null && caisson tag $R/$name $S/$name && caisson push -q $S/$name >/dev/null || exit 6
            skopeo inspect --raw --tls-verify=false docker://$R/$name > one; skopeo inspect --raw --tls-verify=false docker://$S/$name > two; cmp one two || exit 7
        done
        caisson tag $R/a:list $S/a:alone && caisson push --platform linux/amd64 $S/a:alone | grep -q "sha256:$m" || exit 8
        caisson push --platform linux/arm64 $S/a:alone 2>err; grep -q 'does not match' err || exit 9
        # With another platform in it that is not here, the image alone goes.
        printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"amd64","os":"linux"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"arm64","os":"linux"}}]}' $m $size $(skopeo inspect --raw --tls-verify=false docker://$R/a:1 | sha256sum | cut -d' ' -f1) $size > index
        caisson tag busybox $S/all:1 && caisson tag busybox $S/all:2 && caisson push -a $S/all > out && [ $(grep -c '^[12]: digest' out) = 2 ] || { cat out; exit 10; }
        caisson rmi -f $(caisson images -q $S/all) >/dev/null; caisson pull -q -a $S/all && [ $(caisson images -q $S/all | wc -l) = 2 ] || exit 11
        caisson push -a $S/all:1 2>err; grep -q "tag can't be used" err"#;
}
