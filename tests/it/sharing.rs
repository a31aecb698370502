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
        let script =
            format!("cat > s.sh <<'EOS'\n{FUNCTIONS}\n{script}\nEOS\nunshare -n bash s.sh");
        check_in(&Sandbox::new(), &script);
    }
}

macro_rules! sharing {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { with_registries($script); })* };
}

sharing! {
    compose_attaches_commits_exports_pushes_and_pulls: r#"
        y() { cat > compose.yaml; }; c() { caisson compose "$@"; }; r=$R; waits() { for i in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep .1; done; echo "never: $*"; false; }
        DB='{image: busybox, stop_signal: KILL, command: [sleep, "1000"]}'
        printf 'name: p\nservices:\n  a: {image: %s/shop/a:1, stop_signal: KILL, build: {dockerfile_inline: "FROM busybox\\nRUN echo built > /b\\nCMD [\\"sh\\",\\"-c\\",\\"read x; echo got $$x; exec sleep 1000\\"]", tags: ["%s/shop/a:second"]}, stdin_open: true}\n  b: %s\n' $r $r "$DB" | y
        c build -q a && c push -q 2> e || { cat e; exit 3; }; caisson rmi -f $r/shop/a:1 $r/shop/a:second >/dev/null; c pull -q --ignore-buildable a 2>&1; ! caisson image inspect $r/shop/a:1 >/dev/null 2>&1 || exit 4
        c pull -q a 2> e && [ "$(caisson run --rm $r/shop/a:1 cat /b)" = built ] || { cat e; exit 5; }; caisson pull -q $r/shop/a:second >/dev/null || exit 6
        c up -d 2>/dev/null; (echo line; sleep 1) | timeout 20 caisson compose attach a > o 2>&1 & q=$!; waits sh -c 'caisson compose logs a | grep -q "got line"' || { cat o; exit 7; }; kill $q 2>/dev/null
        c exec -T a touch /new && c commit -m word a saved:1 > o && caisson run --rm saved:1 ls /new && [ "$(caisson image inspect -f '{{.Comment}}' saved:1)" = word ] || { cat o; exit 8; }
        c export -o t.tar a && tar tf t.tar | grep -qx new && c export b | tar tf - | grep -q bin/busybox || exit 9
        c build --push -q a 2> e || { cat e; exit 10; }; printf 'name: p\nservices: {a: {image: %s/shop/none:1, build: {dockerfile_inline: "FROM busybox"}}, b: {image: busybox}}\n' $r | y; c pull a > o 2>&1; [ $? = 1 ] && grep -q 'must be built from source' o || { cat o; exit 11; }
        c down 2>/dev/null"#;
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
        # A tag beside a digest says nothing: there is one row, and none once the tag has moved on.
        caisson pull -q $R/team/app:1@$digest >/dev/null && [ "$(caisson images --format '{{.Tag}}' $R/team/app)" = 1 ] && caisson tag busybox $R/team/app:1 && [ "$(caisson images --digests --format '{{.Tag}} {{.Digest}}' $R/team/app | sort | tr '\n' ' ')" = "1 <none> <none> $digest " ] || { caisson images --digests; exit 10; }
        caisson run --rm $N $R/team/app:1@$digest cat /made >/dev/null && caisson rmi $R/team/app:1@$digest >/dev/null && ! caisson images $R/team/app | grep -q '<none>' || exit 11; caisson pull -q $R/team/app:1 >/dev/null
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
    each_name_is_pushed_in_the_form_in_which_it_was_pulled: r#"
        raw() { skopeo inspect --raw --tls-verify=false docker://$1; }; copy() { skopeo copy -q --src-tls-verify=false --dest-tls-verify=false "$@"; }
        caisson tag busybox $R/oci:1 && caisson push -q $R/oci:1 >/dev/null && copy --format v2s2 docker://$R/oci:1 docker://$R/v2:1 || exit 2
        raw $R/oci:1 > m; printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"amd64","os":"linux"}}%s]}' $(sha256sum < m | cut -d' ' -f1) $(stat -c %s m) > index
        put() { curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.'$1'.v1+json' --data-binary @$2 http://$R/v2/oci/manifests/$3 || exit 3; }
        put index index list
        # An index of which one image is not here, around a manifest that nothing else leads to.
        for a in told other; do sed 's/}$/,"annotations":{"a":"'$a'"}}/' m > $a; put manifest $a $a; done; printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"amd64","os":"linux"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"arm64","os":"linux"}}]}' $(sha256sum < told | cut -d' ' -f1) $(stat -c %s told) $(sha256sum < other | cut -d' ' -f1) $(stat -c %s other) > index; put index index part; cp told part; n=0
        for order in 'oci:1 v2:1 oci:list oci:part' 'oci:part oci:list v2:1 oci:1'; do
            n=$((n + 1)); caisson rmi -f $(caisson images -q | sort -u) >/dev/null
            for name in $order; do caisson pull -q $R/$name >/dev/null && caisson tag $R/$name $S/$name && caisson tag $S/$name $S/again/$name || exit 4; caisson image prune -f >/dev/null; done
            for name in $order; do
                raw $R/$name > want; [ $name != oci:part ] || cp part want
                for at in $S/$name $S/again/$name; do caisson push -q $at >/dev/null && raw $at | cmp - want || { echo "$order: $at"; exit 5; }; done
            done
            caisson tag $R/v2:1 $S/oci:1 && caisson push -q $S/oci:1 >/dev/null && raw $R/v2:1 > want && raw $S/oci:1 | cmp - want || exit 6
        done
        # Layers that were here in another compression are fetched as they were, or it is said that they could not.
        caisson save -o b.tar $R/oci:1; copy --dest-compress --dest-compress-format zstd docker-archive:b.tar docker://$R/z:1; raw $R/z:1 > want; grep -q 'tar+zstd' want || exit 7
        caisson pull -q $R/z:1 >/dev/null; for t in 1 2 3; do caisson tag $R/z:1 $S/z:$t; done; L=$(sed -n 's/.*tar+zstd","[^}]*digest":"sha256:\([0-9a-f]*\)".*/\1/p' want); [ -n "$L" ] || L=$(grep -o '"digest":"sha256:[0-9a-f]*"' want | tail -n 1 | grep -o '[0-9a-f]\{64\}')
        B=first/docker/registry/v2/blobs/sha256/${L:0:2}/$L; mv $B kept; caisson push $S/z:1 >out 2>err && grep -q "^hint: $S/z:1 was not pushed as it was pulled" err && ! raw $S/z:1 | grep -q zstd || { cat out err; exit 8; }
        mv kept $B; caisson push -q $S/z:2 2>err && raw $S/z:2 | cmp - want && [ ! -s err ] || { cat err; exit 9; }
        # The registry has it by now, so that nothing is fetched.
        caisson image prune -f >/dev/null; mv $B kept; caisson push -q $S/z:3 2>err && raw $S/z:3 | cmp - want && [ ! -s err ] || { cat err; exit 10; }"#;
    what_an_index_says_about_its_image_comes_and_goes_with_it: r#"
        caisson tag busybox $R/a:1 && caisson push -q $R/a:1 >/dev/null || exit 2
        skopeo inspect --raw --tls-verify=false docker://$R/a:1 > m; m=$(sha256sum < m | cut -d' ' -f1)
        blob() { local d=sha256:$(sha256sum < $1 | cut -d' ' -f1) l; l=$(curl -sf -X POST -D - -o /dev/null http://$R/v2/a/blobs/uploads/ | tr -d '\r' | sed -n 's/^[Ll]ocation: //p'); curl -sf -X PUT -H 'Content-Type: application/octet-stream' --data-binary @$1 "$l&digest=$d" || exit 3; echo $d; }
        put() { curl -sf -X PUT -H "Content-Type: application/vnd.oci.image.$1.v1+json" --data-binary @$2 http://$R/v2/a/manifests/$3 || exit 4; }
        echo '{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers","diff_ids":[]}}' > config; echo '{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document"}' > statement
        printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%s},"layers":[{"mediaType":"application/vnd.in-toto+json","digest":"%s","size":%s}]}' $(blob config) $(stat -c %s config) $(blob statement) $(stat -c %s statement) > said
        put manifest said sha256:$(sha256sum < said | cut -d' ' -f1)
        entry() { printf '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,%s}' $(sha256sum < $1 | cut -d' ' -f1) $(stat -c %s $1) "$2"; }
        printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s,%s]}' "$(entry m '"platform":{"architecture":"amd64","os":"linux"}')" "$(entry said '"platform":{"architecture":"unknown","os":"unknown"},"annotations":{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"sha256:'$m'"}')" > index
        put index index told; caisson rmi -f $(caisson images -q | sort -u) >/dev/null
        caisson pull -q $R/a:told >/dev/null && caisson tag $R/a:told $S/a:told && caisson push -q $S/a:told >/dev/null || exit 5
        skopeo inspect --raw --tls-verify=false docker://$S/a:told | cmp - index || exit 6
        skopeo inspect --raw --tls-verify=false docker://$S/a@sha256:$(sha256sum < said | cut -d' ' -f1) | cmp - said || exit 7
        # It goes with the image that it is about, and is not missed where it cannot be had.
        caisson rmi $R/a:told $S/a:told >/dev/null; caisson image prune -f >/dev/null; [ -z "$(find $CAISSON_ROOT/blobs -type f)" ] || { find $CAISSON_ROOT/blobs -type f; exit 8; }
        rm -r first/docker/registry/v2/blobs/sha256/$(sha256sum < statement | cut -c1-2); caisson pull -q $R/a:told >/dev/null && caisson run --rm $N $R/a:told true"#;
    a_registry_without_referrers_gets_an_index_by_the_subjects_digest: r#"
        mkdir ctx; echo 'FROM busybox' > ctx/Dockerfile; caisson build -q --provenance true --network none -t $R/a:1 ctx >/dev/null && caisson push $R/a:1 > out || exit 2
        digest=$(sed -n 's/.*digest: sha256:\([0-9a-f]*\) .*/\1/p' out); list() { skopeo inspect --raw --tls-verify=false docker://$R/a:sha256-$digest > list; }
        list && grep -q '"artifactType":"application/vnd.docker.attestation.manifest.v1+json"' list || { cat list; exit 3; }
        said=$(grep -o 'sha256:[0-9a-f]*' list); skopeo inspect --raw --tls-verify=false docker://$R/a@$said | grep -q "\"subject\":.*sha256:$digest" || exit 4
        # Nothing is told twice; what a later build says is added.
        cp list before; caisson push -q $R/a:1 && list && cmp list before || exit 5
        caisson build -q --provenance true --network none -t $R/a:1 ctx >/dev/null && caisson push -q $R/a:1 && list && [ $(grep -o 'sha256:[0-9a-f]*' list | wc -l) = 2 ]"#;
    accounts_are_tried_kept_for_the_owner_alone_and_forgotten: r#"
        htpasswd -Bbn me s3cret > users 2>/dev/null || { echo "skipped: no htpasswd"; exit 0; }
        registry private 5002 "auth: {htpasswd: {realm: x, path: $PWD/users}}"; P=127.0.0.1:5002
        caisson tag busybox $P/me/app:1; caisson push $P/me/app:1 2>err; grep -q 'unauthorized: authentication required' err && grep -q "^hint: .* caisson login $P" err || { cat err; exit 2; }
        echo wrong | caisson login -u me --password-stdin $P 2>err && exit 3; grep -q '401 Unauthorized' err && ! grep -q wrong err && [ ! -e docker/config.json ] || exit 4
        mkdir docker && echo '{"psFormat": "{{.Names}}", "detachKeys": "ctrl-q"}' > docker/config.json
        [ "$(echo s3cret | caisson login -u me --password-stdin $P 2>err)" = 'Login Succeeded' ] && grep -q 'stored unencrypted' err || { cat err; exit 5; }
        [ "$(stat -c %a docker/config.json)" = 600 ] && grep -q psFormat docker/config.json && grep -q $P docker/config.json || exit 6
        caisson push -q $P/me/app:1 && caisson rmi $P/me/app:1 >/dev/null && caisson pull -q $P/me/app:1 && [ "$(caisson tags $P/me/app)" = 1 ] && caisson search $P/app | grep -q "^$P/me/app " || exit 7
        caisson login $P < /dev/null | grep -q 'existing credentials' || exit 8
        caisson login --username me --password wrong $P 2>err && exit 12; grep -q '401 Unauthorized' err && caisson login -u me -p s3cret $P 2>err >/dev/null && grep -q 'Using --password via the CLI is insecure' err || { cat err; exit 13; }
        [ "$(caisson logout $P)" = "Removing login credentials for $P" ] && ! grep -q 5002 docker/config.json && [ "$(caisson logout $P)" = "Removing login credentials for $P" ] || exit 9
        caisson pull -q $P/me/app:1 2>err && exit 10; grep -q 'pull access denied' err || exit 11
        caisson --config $PWD/other login -u me -p s3cret $P 2>err >/dev/null && grep -q insecure err && [ -e other/config.json ]"#;
    what_stands_in_for_the_hub_is_pushed_to_searched_and_signed_in_to: r#"
        printf '[registries."docker.io"]\nlocation = "http://%s"\n' $R > c.toml; export CAISSON_CONFIG=$PWD/c.toml
        caisson tag busybox me/ocr-docker-build:1 && caisson push me/ocr-docker-build:1 > out && grep -q 'refers to repository \[docker.io/me/ocr-docker-build\]' out || exit 2
        skopeo inspect --tls-verify=false docker://$R/me/ocr-docker-build:1 >/dev/null || exit 3
        caisson search ocr > out && [ "$(head -1 out | tr -s ' ')" = 'NAME DESCRIPTION STARS OFFICIAL' ] && grep -q '^me/ocr-docker-build' out || { cat out; exit 4; }
        [ "$(caisson search --format '{{.Name}} {{.StarCount}}' ocr)" = 'me/ocr-docker-build 0' ] && [ -z "$(caisson search --filter is-official=true --format x ocr)" ] || exit 5
        caisson search --limit 101 x 2>err; grep -q 'outside the range' err || exit 6
        echo x | caisson login -u me --password-stdin 2>/dev/null | grep -q Succeeded && grep -q 'https://index.docker.io/v1/' docker/config.json || exit 7
        for i in $(seq 30); do caisson tag busybox me/many:$i; done; caisson push -q -a me/many >/dev/null && [ "$(caisson tags me/many | wc -l)" = 30 ] && caisson tags --format json me/many | head -1 | grep -q '"Tag":"1"'"#;
    lists_of_manifests_are_made_here_and_pushed: r#"
        for a in amd64 arm64; do caisson import --platform linux/$a -q $IMAGE $R/parts/$a:1 2>/dev/null >/dev/null || caisson import --platform linux/$a $IMAGE $R/parts/$a:1 >/dev/null; caisson push -q $R/parts/$a:1 >/dev/null || exit 2; done
        caisson manifest inspect $R/parts/arm64:1 | grep -q '"schemaVersion": 2' && caisson manifest inspect -v $R/parts/arm64:1 | grep -q '"architecture": "arm64"' || exit 3
        [ "$(caisson manifest create $R/app:1 $R/parts/amd64:1 $R/parts/arm64:1)" = "Created manifest list $R/app:1" ] || exit 4
        caisson manifest create $R/app:1 $R/parts/amd64:1 2>err; grep -q 'no --amend flag' err && caisson manifest create -a $R/app:1 $R/parts/amd64:1 >/dev/null || exit 5
        caisson manifest annotate --variant v8 $R/app:1 $R/parts/arm64:1 && caisson manifest inspect $R/app:1 | grep -q '"variant": "v8"' || exit 6
        caisson manifest create $R/odd:1 $R/parts/amd64:1 >/dev/null; caisson manifest annotate --arch s390x --os odd --os-features one,two --os-version 10.1 $R/odd:1 $R/parts/amd64:1; caisson manifest inspect $R/odd:1 > odd; for word in '"architecture": "s390x"' '"os": "odd"' '"os.version": "10.1"' '"one"' '"two"'; do grep -q "$word" odd || { echo "no $word"; cat odd; exit 10; }; done; caisson manifest rm $R/odd:1
        caisson manifest push -p $R/app:1 > out && [ $(grep -c '^Pushed ref' out) = 2 ] && [ "$(tail -1 out)" = "$(skopeo inspect --tls-verify=false --raw docker://$R/app:1 | sha256sum | sed 's/\([0-9a-f]*\).*/sha256:\1/')" ] || { cat out; exit 7; }
        caisson manifest rm $R/app:1 2>err; grep -q 'No such manifest' err || exit 8
        caisson pull -q --platform linux/arm64 $R/app:1 && [ "$(caisson image inspect -f '{{.Architecture}}' $R/app:1)" = arm64 ] && caisson pull -q $R/app:1 && [ "$(caisson image inspect -f '{{.Architecture}}' $R/app:1)" = amd64 ] || exit 9
        # Both platforms are here, so the index is pushed as it is.
        caisson tag $R/app:1 $S/app:1 && caisson push -q $S/app:1 >/dev/null && skopeo inspect --raw --tls-verify=false docker://$S/app:1 | grep -q '"variant": "v8"'"#;
    two_images_are_compared_file_by_file: r#"
        caisson run --name c1 $N busybox sh -c 'echo x > /new; rm /bin/sh; chmod 700 /tmp; touch /etc/passwd' && caisson commit c1 app:2 >/dev/null && caisson rm c1 >/dev/null || exit 2
        caisson image diff busybox app:2 > out; printf 'C /bin\nD /bin/sh\nA /new\nC /tmp\n' | cmp - out || { cat out; exit 3; }
        [ -z "$(caisson image diff app:2 app:2)" ] && caisson image diff app:2 busybox | grep -qx 'A /bin/sh'"#;
    a_registry_with_a_private_authority_and_client_certificates: r#"
        command -v openssl >/dev/null || { echo "skipped: no openssl"; exit 0; }
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ours 2>/dev/null
        for n in server client; do openssl req -newkey rsa:2048 -nodes -keyout $n.key -out $n.csr -subj /CN=$n 2>/dev/null; printf 'subjectAltName=DNS:reg.test\n' > ext; openssl x509 -req -in $n.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile ext -days 2 -out $n.crt 2>/dev/null || exit 2; done
        registry tls 5003 '' ", tls: {certificate: $PWD/server.crt, key: $PWD/server.key, clientcas: [$PWD/ca.crt]}"
        # Both files are this test's own, in a mount namespace of its own.
        cat > in.sh <<'EOI'
            mount -t tmpfs tmpfs /etc/docker 2>/dev/null || { mkdir -p /etc/docker && mount -t tmpfs tmpfs /etc/docker; } || exit 3
            echo '127.0.0.1 reg.test' > hosts && mount --bind hosts /etc/hosts || exit 4
            # Plain HTTP is for this machine alone, unless somebody allows it.
            caisson tag busybox reg.test:5000/a:1; caisson push -q reg.test:5000/a:1 2>err && exit 10; grep -qF 'server gave HTTP response to HTTPS client (to allow plain HTTP to it: insecure = true below [registries."reg.test:5000"]' err || { cat err; exit 11; }
            printf '[registries."reg.test:5000"]\ninsecure = true\n' > c.toml; CAISSON_CONFIG=$PWD/c.toml caisson push -q reg.test:5000/a:1 || exit 12
            caisson tag busybox reg.test:5003/a:1; caisson push -q reg.test:5003/a:1 2>err && exit 5; grep -qi 'certificate\|UnknownIssuer' err || { cat err; exit 6; }
            mkdir -p /etc/docker/certs.d/reg.test:5003; cp ca.crt /etc/docker/certs.d/reg.test:5003/; caisson push -q reg.test:5003/a:1 2>err && exit 7; grep -q '/certs.d/reg.test:5003/client.cert' err || { cat err; exit 9; }
            cp client.crt /etc/docker/certs.d/reg.test:5003/client.cert; caisson push -q reg.test:5003/a:1 2>err; grep -q 'client.key' err || { cat err; exit 8; }
            cp client.key /etc/docker/certs.d/reg.test:5003/; caisson push -q reg.test:5003/a:1 && caisson rmi reg.test:5003/a:1 >/dev/null && caisson pull -q reg.test:5003/a:1
EOI
        unshare -m bash in.sh"#;
    a_self_signed_certificate_is_believed_where_it_was_put_for_its_host: r#"
        command -v openssl >/dev/null || { echo "skipped: no openssl"; exit 0; }
        # As most people make one: it says that it is an authority.
        for n in server same; do openssl req -x509 -newkey rsa:2048 -nodes -keyout $n.key -out $n.crt -days 2 -subj /CN=reg.test -addext subjectAltName=DNS:reg.test 2>/dev/null; done
        openssl x509 -in server.crt -noout -text | grep -q CA:TRUE || exit 2
        registry tls 5004 '' ", tls: {certificate: $PWD/server.crt, key: $PWD/server.key}"
        cat > in.sh <<'EOI'
            mount -t tmpfs tmpfs /etc/docker 2>/dev/null || { mkdir -p /etc/docker && mount -t tmpfs tmpfs /etc/docker; } || exit 3
            echo '127.0.0.1 reg.test other.test' > hosts && mount --bind hosts /etc/hosts || exit 4
            refused() { caisson push -q $1/a:1 2>err && exit 5; grep -q "$2" err || { cat err; exit 6; }; }
            for h in reg other; do caisson tag busybox $h.test:5004/a:1; mkdir -p /etc/docker/certs.d/$h.test:5004; done
            refused reg.test:5004 'only if that very certificate is in /etc/docker/certs.d/reg.test:5004/ca.crt'
            cp same.crt /etc/docker/certs.d/reg.test:5004/ca.crt; refused reg.test:5004 'CaUsedAsEndEntity'
            cp server.crt /etc/docker/certs.d/other.test:5004/ca.crt; refused other.test:5004 'not valid for name'
            cp server.crt /etc/docker/certs.d/reg.test:5004/ca.crt; caisson push -q reg.test:5004/a:1 && caisson rmi reg.test:5004/a:1 >/dev/null && caisson pull -q reg.test:5004/a:1
EOI
        unshare -m bash in.sh"#;
    the_environments_proxy_is_asked_for_what_it_is_meant_for: r#"
        cat > proxy.py <<'EOP'
import socket, threading
def pump(a, b):
    try:
        while True:
            data = a.recv(65536)
            if not data: break
            b.sendall(data)
    except OSError: pass
    finally:
        try: b.shutdown(socket.SHUT_WR)
        except OSError: pass
def serve(client):
    head = b''
    while b'\r\n\r\n' not in head: head += client.recv(4096)
    line = head.split(b'\r\n')[0].decode(); open('proxied', 'a').write(line + '\n')
    there = socket.create_connection(('127.0.0.1', int(line.split()[1].split(':')[1])))
    client.sendall(b'HTTP/1.1 200 OK\r\n\r\n'); threading.Thread(target=pump, args=(there, client), daemon=True).start(); pump(client, there)
s = socket.create_server(('127.0.0.1', 5010))
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
EOP
        python3 proxy.py 2>/dev/null & pids="$pids $!"; for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/5010) 2>/dev/null && break; sleep .05; done
        printf '[registries."reg.proxied:5000"]\ninsecure = true\n' > c.toml; export CAISSON_CONFIG=$PWD/c.toml http_proxy=http://127.0.0.1:5010
        # The name exists for the proxy alone.
        caisson tag busybox reg.proxied:5000/a:1 && caisson push -q reg.proxied:5000/a:1 >/dev/null || exit 2
        grep -q '^CONNECT reg.proxied:5000 ' proxied || exit 3; rm proxied
        caisson rmi reg.proxied:5000/a:1 >/dev/null; caisson pull -q reg.proxied:5000/a:1 >/dev/null && grep -q '^CONNECT reg.proxied:5000 ' proxied || exit 4
        # Loopback is never asked of a proxy, nor what no_proxy names.
        rm proxied; caisson pull -q $R/a:1 >/dev/null && [ ! -e proxied ] || exit 5
        no_proxy=reg.proxied timeout 20 caisson pull -q reg.proxied:5000/a:1 2>err && exit 6; [ ! -e proxied ]"#;
    a_password_is_asked_for_on_a_terminal_and_not_shown: r#"
        htpasswd -Bbn me s3cret > users; registry private 5002 "auth: {htpasswd: {realm: x, path: $PWD/users}}"; P=127.0.0.1:5002
        # Typed when it is asked for: what comes before would be echoed by the terminal itself.
        type_in() { (for i in $(seq 100); do grep -qs Username "$1" && break; sleep .05; done; printf 'me\n'; for i in $(seq 100); do grep -qs Password "$1" && break; sleep .05; done; sleep .2; printf "$2\n"; sleep 1) | script -qefc "caisson login $P" "$1" >/dev/null; }
        type_in said s3cret || { cat said; exit 2; }
        grep -q 'Login Succeeded' said && ! grep -q s3cret said && grep -q $P docker/config.json || { cat said; exit 3; }
        caisson logout $P >/dev/null; type_in again wrong && exit 4; ! grep -q wrong again && ! grep -q $P docker/config.json"#;
    registries_that_lie_are_told_apart_and_believed_in_nothing: r#"
        cat > liar.py <<'EOP'
import http.server, hashlib, json, sys
digest = lambda b: 'sha256:' + hashlib.sha256(b).hexdigest()
good = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' % (b'0' * 64)
def manifest(config=good, size=None, layer=b'x', media='application/vnd.oci.image.manifest.v1+json', **more):
    return json.dumps({'schemaVersion': 2, 'mediaType': media, 'config': {'mediaType': 'application/vnd.oci.image.config.v1+json', 'digest': digest(config), 'size': size or len(config)}, 'layers': [{'mediaType': 'application/vnd.oci.image.layer.v1.tar', 'digest': digest(layer), 'size': len(layer)}], **more}).encode()
cases = {
    'html': b'<html>Please sign in</html>', 'deep': b'{"schemaVersion":2,"x":' + b'[' * 100000, 'both': manifest(manifests=[]), 'empty': b'{}', 'none': b'',
    'config': manifest(config=b'other config, same name'), 'short': manifest(size=9), 'layer': manifest(layer=b'y'), 'redirect': manifest(), 'file': manifest(), 'huge': manifest(size=1 << 40),
}
class Liar(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self): self.send_error(404)
    def log_message(self, *a): pass
    def do_GET(self):
        case, kind = self.path.split('/')[2:4]
        if kind == 'blobs' and case in ('redirect', 'file'):
            self.send_response(307); self.send_header('Location', {'redirect': self.path, 'file': 'file:///etc/passwd'}[case]); self.send_header('Content-Length', '0'); self.end_headers(); return
        body = good if kind == 'blobs' and self.path.endswith(digest(good)) else b'z' if kind == 'blobs' and case == 'layer' else b'wrong content, wrong name' if kind == 'blobs' else cases.get(case, b'')
        self.send_response(200); self.send_header('Content-Type', 'application/vnd.oci.image.manifest.v1+json')
        if case == 'endless':
            self.end_headers()
            try:
                while True: self.wfile.write(b' ' * 65536)
            except OSError: return
        self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)
http.server.ThreadingHTTPServer(('127.0.0.1', 5009), Liar).serve_forever()
EOP
        command -v python3 >/dev/null || { echo "skipped: no python3"; exit 0; }
        python3 liar.py & pids="$pids $!"; for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/5009) 2>/dev/null && break; sleep .05; done
        for line in 'html:cannot read manifest' 'deep:cannot read manifest' 'both:both an index and an image manifest' 'empty:schema version 0' 'none:cannot read manifest' 'config:digest\|bytes' 'short:bytes\|digest' 'layer:digest' 'redirect:redirects more than' 'file:no http or https' 'endless:larger than the limit' 'huge:more than the limit'; do
            timeout 20 caisson pull -q 127.0.0.1:5009/${line%%:*}:1 2>err && exit 2; [ $? = 1 ] && grep -q "${line#*:}" err && [ $(wc -l < err) = 1 ] || { echo "$line"; cat err; exit 3; }
        done
        [ -z "$(caisson images -q 127.0.0.1:5009/* )" ] && [ -z "$(ls $CAISSON_ROOT/tmp)" ]"#;
    helpers_keep_accounts_and_are_asked_for_them: r#"
        htpasswd -Bbn me s3cret > users 2>/dev/null || { echo "skipped: no htpasswd"; exit 0; }
        registry private 5002 "auth: {htpasswd: {realm: x, path: $PWD/users}}"; P=127.0.0.1:5002
        cat > bin/docker-credential-testing <<EOH
#!/bin/sh
echo "\$*" >> $PWD/calls
case \$1 in store) cat > $PWD/kept;; get) read s; [ -e $PWD/kept ] && cat $PWD/kept || { echo credentials not found in native keychain; exit 1; };; erase) rm -f $PWD/kept;; esac
EOH
        printf '#!/bin/sh\nyes\n' > bin/docker-credential-endless; chmod +x bin/docker-credential-*; mkdir docker
        echo "{\"credHelpers\": {\"$P\": \"testing\"}}" > docker/config.json
        [ "$(echo s3cret | caisson login -u me --password-stdin $P 2>err)" = 'Login Succeeded' ] && [ ! -s err ] && ! grep -q auth\" docker/config.json && grep -q '"Secret":"s3cret"' kept || { cat err; exit 2; }
        caisson tag busybox $P/app:1 && caisson push -q $P/app:1 || exit 3
        caisson logout $P | grep -q Removing && [ ! -e kept ] && [ "$(cut -d' ' -f1 calls | sort | uniq -c | tr -s ' ' | tr -d '\n')" = ' 1 erase 2 get 1 store' ] || { cat calls; exit 4; }
        caisson push -q $P/app:2 2>err; caisson tag busybox $P/app:2; caisson push -q $P/app:2 2>err; grep -q unauthorized err || exit 5
        # One that never ends is none.
        echo '{"credsStore": "endless"}' > docker/config.json; timeout 10 caisson push -q $P/app:2 2>err; [ $? = 1 ] && grep -q unauthorized err"#;
}
