//! Our registry with real clients: skopeo, `caisson pull`, and curl where a client would be too kind.
//! Each test starts the binary on a free port of loopback with a directory of its own. The suite of the
//! specification's authors is run by hand (docs/guide/registry-interop.md): it needs Go.

use testkit::{Sandbox, can_run, check_in};

/// `serve [FLAG…]` starts a registry at `$H`, the second time on the same port; `end SIGNAL` ends it.
/// `code ARGS…` is the status that curl gets; `push NAME:TAG [FLAG…]` pushes busybox with
/// skopeo, `other` an image with a layer that no other test and no cache of skopeo's knows.
const TOOLS: &str = r#"
    serve() {
        rm -f hub.out; ${SERVER:-caisson} registry serve --listen 127.0.0.1:${H##*:} --root hub "$@" >hub.out 2>>hub.log & PID=$!
        for i in $(seq 200); do grep -qs 'its page at' hub.out && break; sleep .05; done
        H=$(sed -n 's|.*its page at https*://||p' hub.out); U=http://$H; [ -n "$H" ]
    }
    end() { kill -$1 $PID; wait $PID; }
    H=x:0; trap 'kill -9 $PID 2>/dev/null' EXIT
    code() { curl -s -o answer -w '%{http_code}' "$@"; }
    is() { local want=$1 got; shift; got=$(code "$@"); [ "$got" = "$want" ] || { echo "wanted $want, got $got: $*"; cat answer hub.log; exit 1; }; }
    head_of() { curl -s -D - -o /dev/null "$@" | tr -d '\r'; }
    sum() { echo sha256:$(sha256sum "$1" | cut -d' ' -f1); }
    copy() { skopeo copy -q --insecure-policy --src-tls-verify=false --dest-tls-verify=false "$@"; }
    archive() { caisson save -o busybox.tar busybox; T=docker-archive:busybox.tar; }
    push() { copy "${@:2}" $T docker://$H/$1; }
    other() {
        [ -e other.tar ] || { head -c 100000 /dev/urandom >f; tar -cf o.tar f; caisson import o.tar other >/dev/null; caisson save -o other.tar other; }
        copy "${@:2}" docker-archive:other.tar docker://$H/$1
    }
    ed() { local f=$1; shift; curl -s -b $f -c $f "$@"; }
    csrf() { ed $1 $U/signin | sed -n 's/.*name="csrf" value="\([^"]*\)".*/\1/p' | head -n1; }
    sign_up() { ed $1.jar -o page -w '%{http_code}' --data-urlencode csrf="$(csrf $1.jar)" -d user=$1 -d password=secret-of-$1 $U/signup; }
    form() { local who=$1 path=$2; shift 2; ed $who.jar -o page -w '%{http_code}' --data-urlencode csrf="$(ed $who.jar $U/ | sed -n 's/.*name="csrf" value="\([^"]*\)".*/\1/p' | head -n1)" "$@" $U$path; }
"#;

pub(crate) fn with_registry(script: &str) {
    if can_run() {
        check_in(&Sandbox::new(), &format!("{TOOLS}\n{script}"));
    }
}

macro_rules! registry {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { with_registry($script); })* };
}

registry! {
    a_request_with_two_lengths_is_refused_and_its_connection_closed: r#"
        serve || exit 99
        # Until the registry closes it.
        said() { exec 3<>/dev/tcp/127.0.0.1/${H##*:} && printf "$1" >sent && cat sent >&3 && timeout 10 cat <&3 >got; local code=$?; exec 3>&-; return $code; }
        CL='Content-Length: 5\r\n' TE='Transfer-Encoding: chunked\r\n'
        for both in "$CL$TE" "$TE$CL" "${CL}X: y\r\ntransfer-encoding:chunked\r\n" "${TE}CONTENT-LENGTH:0\r\n"; do for before in '' 'GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n' 'POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'; do
            said "${before}POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n$both\r\n0\r\n\r\nGET /v2/smuggled/tags/list HTTP/1.1\r\nHost: x\r\n\r\n" || { echo "not closed"; cat got; exit 2; }
            grep -o 'HTTP/1.1 [0-9]*' got >answers; [ "$(tail -n 1 answers)" = 'HTTP/1.1 400' ] && [ $(wc -l <answers) = $((1 + (${#before} > 0))) ] || { echo "$before$both"; cat got; exit 3; }
        done; done
        ! grep -q smuggled hub.log || exit 4
        # What has one length, in pieces or whole, is as it ever was.
        printf abc >small; D=$(sum small); L=$(head_of -X POST $U/v2/a/blobs/uploads/ | sed -n 's/^location: //p')
        is 202 -X PATCH -H 'Transfer-Encoding: chunked' --data-binary @small $U$L; is 201 -X PUT "$U$L?digest=$D" && is 201 -X POST --data-binary @small "$U/v2/a/blobs/uploads/?digest=$D""#;

    skopeo_and_caisson_get_back_what_was_pushed_in_every_format: r#"
        serve || exit 99; archive
        for format in oci v2s2; do for compress in gzip zstd; do
            push it/$format:$compress --format $format --dest-compress-format $compress --dest-compress || exit 2
            copy docker://$H/it/$format:$compress dir:$format.$compress || exit 3
            caisson pull -q $H/it/$format:$compress >/dev/null || exit 4
            [ "$(caisson run --rm --network none $H/it/$format:$compress echo it-runs)" = it-runs ] || exit 5
            # The same bytes come back: digests are those that were pushed.
            want=$(sum $format.$compress/manifest.json)
            head_of $U/v2/it/$format/manifests/$compress | grep -qi "docker-content-digest: $want" || exit 6
        done; done
        curl -s "$U/v1/search?q=it/" | grep -q '"num_results":2' || exit 7
        curl -s $U/v2/it/oci/tags/list | grep -q '"tags":\["gzip","zstd"\]' || exit 8
        curl -s "$U/v2/it/oci/tags/list?n=1" | grep -q '"tags":\["gzip"\]' || exit 9
        head_of "$U/v2/it/oci/tags/list?n=1" | grep -q '^link: </v2/it/oci/tags/list?n=1&last=gzip>; rel="next"' || exit 10
        [ "$(curl -s $U/health)" = ok ] && curl -s $U/metrics | grep -q '^caisson_registry_pushes_total 4$' || exit 11
        end TERM || exit 12; grep -q '"event":"stopping"' hub.log && ! grep -q '"status":5' hub.log"#;

    what_is_said_about_an_image_is_pushed_after_it_and_found_by_its_digest: r#"
        serve || exit 99; mkdir -p ctx/app; printf 'hunter2-in-a-file\n' >key
        printf 'Package: libfoo\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.2-3\n\n' >ctx/status; printf '[[package]]\nname = "left"\nversion = "1.0.0"\n' >ctx/app/Cargo.lock
        printf 'FROM busybox\nARG API_TOKEN=tok3n-value\nCOPY status /var/lib/dpkg/status\nCOPY app /app\nRUN --mount=type=secret,id=key cat /run/secrets/key >/dev/null\nRUN ln -s /etc/passwd /app/go.mod && mkfifo /app/go.sum && mkdir -p /lib/apk/db && mkfifo /lib/apk/db/installed\n' >ctx/Dockerfile
        b() { caisson build --iidfile id --network none --build-arg API_TOKEN=tok3n-value --secret id=key,src=key "$@" ctx 2>err || { cat err; exit 2; }; cat id; }
        # The image is the same, whatever is said about it.
        plain=$(b -t $H/a/b:1); [ "$(b -t $H/a/b:1 --provenance mode=max --sbom true)" = $plain ] && grep -q 'apk/db/installed: it is no regular file' err || { cat err; exit 3; }
        caisson push $H/a/b:1 >out || exit 4; D=$(sed -n 's/.*digest: \(sha256:[0-9a-f]*\).*/\1/p' out)
        read_back() { curl -s $U/v2/a/b/referrers/$D >list; R=$(grep -o '"digest":"sha256:[0-9a-f]*"' list | cut -d'"' -f4); curl -s $U/v2/a/b/manifests/$R >said; rm -f part.*; for d in $(grep -o '"mediaType":"application/vnd.in-toto+json","digest":"sha256:[0-9a-f]*"' said | grep -o 'sha256:[0-9a-f]*'); do curl -s $U/v2/a/b/blobs/$d >part.$d; [ $(sum part.$d) = $d ] || exit 5; done; cat part.* >all; }
        read_back; [ "$(echo "$R" | wc -l)" = 1 ] && grep -q '"artifactType":"application/vnd.docker.attestation.manifest.v1+json"' list || { cat list; exit 6; }
        grep -q '"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"'$D'"' said && [ $(ls part.* | wc -l) = 2 ] || { cat said; exit 7; }
        [ $(grep -o "\"digest\":{\"sha256\":\"${D#sha256:}\"}" all | wc -l) = 2 ] && grep -q 'https://slsa.dev/provenance/v1' all && grep -q '"spdxVersion":"SPDX-2.3"' all || { cat all; exit 8; }
        grep -q '"pkg:deb/debian/libfoo@1.2-3?arch=amd64"' all && grep -q '"pkg:cargo/left@1.0.0"' all && grep -q 'not complete: /lib/apk/db/installed' all || { cat all; exit 9; }
        grep -q '"uri":"pkg:docker/busybox@latest?platform=linux%2F' all && grep -q '"build-arg:API_TOKEN":"\*\*\*"' all && grep -q '"secrets":\[{"id":"key"' all || { cat all; exit 10; }
        sed 's/.*"data":"\([^"]*\)".*/\1/' all | head -n1 >data; base64 -d <data >file 2>/dev/null; grep -q '^ARG API_TOKEN=\*\*\*$' file || { cat all file; exit 11; }
        ! grep -q 'tok3n-value\|hunter2' all file || exit 12
        curl -s "$U/tag/a/b?tag=1" | grep -q '<dt>Attestations</dt><dd><code>SBOM (SPDX), provenance (SLSA)</code>' || { curl -s "$U/tag/a/b?tag=1"; exit 16; }
        # What a second build says replaces what the first one did; with less, arguments are not told.
        b -t $H/a/b:1 --attest type=provenance --attest type=sbom,disabled=true >/dev/null; caisson push -q $H/a/b:1 >/dev/null && caisson image prune -f >/dev/null && [ $(grep -rl '"_type":"https://in-toto' $CAISSON_ROOT/blobs | wc -l) = 1 ] && ! grep -q API_TOKEN $(grep -rl 'slsa.dev' $CAISSON_ROOT/blobs) || { grep -rl in-toto $CAISSON_ROOT/blobs; exit 13; }
        # It goes with the image.
        caisson rmi $H/a/b:1 >/dev/null; caisson image prune -f >/dev/null; ! grep -rq 'in-toto' $CAISSON_ROOT/blobs || exit 14
        caisson build --sbom true -o out ctx 2>err; [ $? = 1 ] && grep -q 'kept with an image' err || { cat err; exit 15; }
        printf 'services: {a: {image: x, build: {dockerfile_inline: "FROM busybox", sbom: true}}}' >compose.yaml; caisson compose build -q && grep -rq 'SPDX-2.3' $CAISSON_ROOT/blobs"#;

    an_upload_goes_on_where_it_was_after_a_kill: r#"
        serve || exit 99; head -c 3000000 /dev/urandom >blob; D=$(sum blob)
        L=$(head_of -X POST $U/v2/a/b/blobs/uploads/ | sed -n 's/^location: //p')
        head -c 1000000 blob | is 202 -X PATCH -H 'Content-Range: 0-999999' --data-binary @- -H 'Content-Type: application/octet-stream' $U$L
        tail -c +1000001 blob >rest
        # Out of order is refused, and says where to go on.
        is 416 -X PATCH -H 'Content-Range: 1500000-1999999' --data-binary @<(head -c 500000 rest) $U$L
        end KILL; serve || exit 98
        head_of $U$L | grep -q '^range: 0-999999$' || exit 2
        is 404 $U/v2/a/b/blobs/$D
        is 404 -X PATCH --data-binary @rest $U/v2/a/other/blobs/uploads/${L##*/}
        is 201 -X PUT --data-binary @rest "$U$L?digest=$D"
        curl -s $U/v2/a/b/blobs/$D | cmp - blob || exit 3
        [ "$(curl -s -r 10-19 $U/v2/a/b/blobs/$D | sha256sum)" = "$(tail -c +11 blob | head -c 10 | sha256sum)" ] || exit 4
        is 416 -r 3000000- $U/v2/a/b/blobs/$D
        is 404 $U$L"#;

    pushes_that_lie_are_refused_and_leave_nothing: r#"
        printf 'blob_bytes_max = 100000\n' >c.toml; serve --config c.toml || exit 99
        printf hello >blob; D=$(sum blob); Z=sha256:$(printf 0%.0s $(seq 64))
        is 400 -X POST --data-binary @blob "$U/v2/a/b/blobs/uploads/?digest=$Z"; grep -q DIGEST_INVALID answer || exit 2
        is 400 -X POST --data-binary @blob "$U/v2/a/b/blobs/uploads/?digest=md5:0"
        is 404 $U/v2/a/b/blobs/$Z; is 404 $U/v2/a/b/blobs/$D
        head -c 200000 /dev/zero >large; is 413 -X POST --data-binary @large "$U/v2/a/b/blobs/uploads/?digest=$(sum large)"
        head -c 5000000 /dev/zero >huge; is 413 -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @huge $U/v2/a/b/manifests/x
        for name in '../b' 'A' 'a//b' 'a/%2e%2e/b' 'a/.b' "$(printf 'a%.0s' $(seq 300))"; do
            is 400 --path-as-is -X POST $U/v2/$name/blobs/uploads/; grep -q NAME_INVALID answer || exit 3
        done
        is 400 -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' -d '<html>' $U/v2/a/b/manifests/x
        is 400 -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' -d "$(printf '[%.0s' $(seq 9000))" $U/v2/a/b/manifests/x
        M='{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"x/y","digest":"'$D'","size":SIZE},"layers":[]}'
        put() { is $1 -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' -d "${M/SIZE/$2}" $U/v2/a/b/manifests/$3; }
        put 400 5 x; grep -q MANIFEST_BLOB_UNKNOWN answer || exit 4
        is 201 -X POST --data-binary @blob "$U/v2/a/b/blobs/uploads/?digest=$D"
        put 400 6 x; put 400 5 .x; put 400 5 $Z; put 201 5 x
        # Ten gigabytes that are only announced are refused at once, and no number is too large to be read.
        is 413 -m 10 -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' -H 'Content-Length: 10737418240' -H 'Expect: 100-continue' -d x $U/v2/a/b/manifests/x
        L=$(head_of -X POST $U/v2/a/b/blobs/uploads/ | sed -n 's/^location: //p'); is 400 -X PATCH -H 'Content-Range: 0-18446744073709551615' -H 'Content-Length: 0' $U$L; is 204 -X DELETE $U$L
        for m in GET HEAD DELETE; do [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' -X $m $U/v2/a/b/manifests/.x)" = 404 ] || exit 5; done
        is 404 $U/v2/a/b/manifests/y; is 404 $U/v2/a/c/manifests/x; is 404 $U/v2/a/c/blobs/$D
        [ -z "$(ls hub/uploads)" ] && [ "$(find hub/blobs -type f | wc -l)" = 1 ]"#;

    a_full_disk_is_told_and_what_was_acknowledged_stays: r#"
        mkdir hub; mount -t tmpfs -o size=6m tmpfs hub || exit 97; trap 'kill -9 $PID 2>/dev/null; wait $PID 2>/dev/null; umount hub' EXIT
        serve || exit 99; head -c 1000000 /dev/urandom >small; D=$(sum small); head -c 9000000 /dev/urandom >large
        is 201 -X POST --data-binary @small "$U/v2/a/b/blobs/uploads/?digest=$D"
        # At once, in a chunk, and with the last one: none leaves anything, so that others have room.
        is 507 -X POST --data-binary @large "$U/v2/a/b/blobs/uploads/?digest=$(sum large)"; grep -q 'disk is full' answer || exit 2
        for m in PATCH PUT; do
            L=$(head_of -X POST $U/v2/a/b/blobs/uploads/ | sed -n 's/^location: //p'); is 507 -X $m --data-binary @large "$U$L?digest=$(sum large)"; is 404 $U$L
        done
        is 404 $U/v2/a/b/blobs/$(sum large); [ -z "$(ls hub/uploads)" ] && [ "$(find hub/blobs -type f | wc -l)" = 1 ] || exit 3
        head -c 1000000 /dev/urandom >other; is 201 -X POST --data-binary @other "$U/v2/a/b/blobs/uploads/?digest=$(sum other)"
        # The line in the log follows the answer. A client whose connection is cut before it reads the answer asks once more.
        told() { for i in $(seq 100); do case $(grep -c '"status":507' hub.log) in 4|5) return;; esac; sleep .05; done; false; }
        # Our client says so at once, rather than to try again for a while.
        head -c 9000000 /dev/urandom >f; tar -cf f.tar f; caisson import f.tar $H/a/full >/dev/null; SECONDS=0; caisson push -q $H/a/full 2>e; [ $? = 1 ] && [ $SECONDS -lt 10 ] && grep -q 'no space left in the registry of .*a/full (507)' e && told || { cat e hub.log; exit 5; }
        # Not a byte for the database either.
        printf '{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"%s","size":1000000},"layers":[],"annotations":{"x":"%s"}}' $D $(head -c 300000 /dev/zero | tr '\0' y) >m
        cat /dev/zero >hub/filler 2>/dev/null; is 507 -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @m $U/v2/a/b/manifests/x
        is 404 $U/v2/a/b/manifests/x; curl -s $U/v2/a/b/blobs/$D | cmp - small || exit 4
        rm hub/filler; is 201 -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @m $U/v2/a/b/manifests/x; curl -s $U/v2/a/b/manifests/x | cmp - m"#;

    what_is_private_exists_for_its_members_alone: r#"
        # Also for others of this machine: hashes of passwords, what tokens are signed with, blobs.
        mkdir hub; chmod 755 hub; (umask 022; : >hub/registry.db; chmod 644 hub/registry.db); serve || exit 99; archive; modes() { stat -c %a "$@" | tr '\n' ' '; }
        [ "$(modes hub hub/registry.db hub/registry.db-wal hub/registry.db-shm hub/blobs hub/uploads)" = '755 600 600 600 700 700 ' ] || { ls -la hub; exit 90; }
        caisson registry serve --listen 127.0.0.1:0 --root new/hub >new.out 2>&1 & NEW=$!; for i in $(seq 100); do grep -qs 'its page' new.out && break; sleep .05; done; kill $NEW; [ "$(modes new/hub new/hub/registry.db)" = '700 600 ' ] || exit 91
        for who in alice bob carol; do [ "$(sign_up $who)" = 303 ] || { cat page; exit 2; }; done
        # Once there are users, clients are asked who they are, and anonymous ones get a token too.
        is 401 $U/v2/; push open/app:1 || exit 3
        [ "$(form alice /new -d name=secret -d description=hush -d visibility=private)" = 303 ] || { cat page; exit 4; }
        push alice/secret:1 --dest-creds bob:secret-of-bob && exit 5
        push alice/secret:1 && exit 6; push alice/other:1 && exit 7
        push alice/secret:1 --dest-creds alice:wrong && exit 8
        other alice/secret:1 --dest-creds alice:secret-of-alice || exit 9
        D=$(skopeo inspect --raw --tls-verify=false --creds alice:secret-of-alice docker://$H/alice/secret:1 | sed -n 's/.*"layers".*"digest":"\(sha256:[0-9a-f]*\)".*/\1/p')
        [ -n "$D" ] || exit 10
        for as in '' '-u bob:secret-of-bob'; do for path in manifests/1 blobs/$D tags/list referrers/$D; do
            c=$(code $as $U/v2/alice/secret/$path); [ $c = 401 -o $c = 404 ] || { echo "$as $path $c"; exit 11; }
        done; done
        curl -s $U/v2/_catalog | grep -q secret && exit 12; curl -s "$U/v1/search?q=secret" | grep -q alice && exit 13
        curl -s -u alice:secret-of-alice "$U/v1/search?q=hush" | grep -q alice/secret || exit 14
        is 404 $U/r/alice/secret; curl -s $U/search?q=secret | grep -q alice/secret && exit 15
        LONG='What this image is for, and what it is not for at all'; [ "$(form alice /new -d name=long --data-urlencode description="$LONG" -d visibility=public)" = 303 ] || exit 20
        caisson search $H/long > cut && grep -q 'What this image is for, and what it is not f…' cut && caisson search --no-trunc $H/long > full && grep -q "$LONG" full || { cat cut full; exit 21; }
        # Not mountable by whoever cannot read it: an upload begins instead.
        is 202 -u bob:secret-of-bob -X POST "$U/v2/bob/x/blobs/uploads/?mount=$D&from=alice/secret"
        is 202 -u bob:secret-of-bob -X POST "$U/v2/bob/x/blobs/uploads/?mount=$D"
        is 404 -u bob:secret-of-bob $U/v2/bob/x/blobs/$D
        [ "$(form alice /members/alice/secret -d user=bob -d role=read)" = 303 ] || exit 16
        copy --src-creds bob:secret-of-bob docker://$H/alice/secret:1 dir:got || exit 17
        push alice/secret:2 --dest-creds bob:secret-of-bob && exit 18
        is 201 -u bob:secret-of-bob -X POST "$U/v2/bob/x/blobs/uploads/?mount=$D&from=alice/secret"
        [ "$(form alice /members/alice/secret -d user=bob)" = 303 ] || exit 19
        is 404 -u bob:secret-of-bob $U/v2/alice/secret/manifests/1
        is 404 -u bob:secret-of-bob -X DELETE $U/v2/alice/secret/manifests/1
        ! grep -q secret-of hub.log"#;

    an_access_token_does_what_its_scope_says_until_it_is_removed: r#"
        serve || exit 99; archive; [ "$(sign_up alice)" = 303 ] || exit 2
        token() { form alice /account/token -d description=ci -d scope=$1 -d days=30 >/dev/null; sed -n 's|.*<code>\(cst_[0-9a-f]*\)</code>.*|\1|p' page; }
        R=$(token read); W=$(token write); [ ${#R} = 68 ] && [ ${#W} = 68 ] || exit 3
        push alice/app:1 --dest-creds alice:$R && exit 4
        push alice/app:1 --dest-creds alice:$W || exit 5
        ed alice.jar $U/r/alice/app | grep -q '<td>just now by alice</td><td>never</td>' || exit 11
        copy --src-creds alice:$R docker://$H/alice/app:1 dir:got || exit 6
        # Counts are written down at the end, too.
        end TERM; serve || exit 98; ed alice.jar $U/r/alice/app > page; grep -q '<td>just now by alice</td><td>just now</td>' page && grep -q '>1 pull ·' page || { cat page; exit 12; }
        # A page of a description that is too long is refused, and is not lost.
        form alice /settings/alice/app -d description=mine -d visibility=public --data-urlencode readme="KEPT$(head -c 25000 /dev/zero | tr '\0' x)" >/dev/null; grep -q KEPTxxx page && grep -q 'value="mine"' page || exit 13
        is 401 -u bob:$R $U/v2/
        is 403 -u alice:$W -X DELETE $U/v2/alice/app/manifests/1
        is 202 -u alice:secret-of-alice -X DELETE $U/v2/alice/app/manifests/1
        # With a token for a password nobody signs in at the page.
        ed t.jar -o page -w '%{http_code}' --data-urlencode csrf="$(csrf t.jar)" -d user=alice -d password=$W $U/signin | grep -q 422 || exit 7
        # As docker login does it: a refresh token instead of the password, good for new tokens.
        K=$(curl -s -u alice:secret-of-alice "$U/token?service=x&offline_token=true&account=alice" | sed -n 's/.*"refresh_token":"\([^"]*\)".*/\1/p')
        A=$(curl -s -d grant_type=refresh_token -d refresh_token=$K -d service=x -d scope=repository:alice/app:pull,push $U/token | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')
        is 202 -H "Authorization: Bearer $A" -X POST $U/v2/alice/app/blobs/uploads/
        is 401 -H "Authorization: Bearer $A" -X POST $U/v2/alice/else/blobs/uploads/
        is 401 -H "Authorization: Bearer ${A%?}x" $U/v2/
        # Whoever logs in with an access token keeps that one: none that would outlive it is made.
        for way in "-u alice:$R" "-d grant_type=refresh_token -d refresh_token=$R -d access_type=offline" "-d grant_type=password -d username=alice -d password=$R -d access_type=offline"; do
            curl -s $way "$U/token?service=x&offline_token=true&account=alice" | grep -q "\"refresh_token\":\"$R\"" || exit 9; done
        [ $(ed alice.jar $U/account | grep -o 'name="id"' | wc -l) = 3 ] || exit 10
        for id in $(ed alice.jar $U/account | sed -n 's/.*name="id" value="\([^"]*\)".*/\1/p'); do form alice /account/token-end -d id=$id >/dev/null; done
        is 401 -u alice:$W $U/v2/; is 401 -d grant_type=refresh_token -d refresh_token=$K $U/token
        # Wrong passwords are refused after a while, right ones of others are not.
        for i in $(seq 12); do last=$(code -u alice:wrong$i $U/v2/); done; [ $last = 429 ] || exit 8
        [ "$(sign_up bob)" = 303 ] && is 200 -u bob:secret-of-bob $U/v2/"#;

    strangers_learn_nothing_and_guess_no_faster_by_asking_at_once: r#"
        serve || exit 99; for who in alice bob carol; do [ "$(sign_up $who)" = 303 ] || exit 2; done; printf abc >small; D=$(sum small)
        [ "$(form alice /new -d name=secret -d visibility=private)" = 303 ] || exit 3
        # Whether a private repository is there shows in no answer.
        answers() { for as in '' '-u bob:secret-of-bob'; do for ask in "-X POST $U/v2/$1/blobs/uploads/" "-X POST $U/v2/$1/blobs/uploads/?digest=$D --data-binary @small" "-X PATCH -d x $U/v2/$1/blobs/uploads/x" "-X PUT -d x $U/v2/$1/manifests/1" "-X DELETE $U/v2/$1/manifests/1" "-X DELETE $U/v2/$1/blobs/$D" $U/v2/$1/tags/list $U/v2/$1/manifests/1 "-I $U/v2/$1/blobs/$D" $U/v2/$1/referrers/$D $U/r/$1 "$U/tag/$1?tag=1" "$U/token?scope=repository:$1:pull,push"; do
            echo "$(code $as $ask) $ask $(sed 's/"[^"]*token":"[^"]*"//g; s/"issued_at":"[^"]*"//; s/name="csrf" value="[^"]*"//; /^date:/d' answer)"; done; done | sed "s#$1#NAME#g"; }
        answers alice/secret >there; answers alice/absent >none; cmp there none || { diff there none; exit 4; }; grep -q '^403.*may not push to NAME' there && [ $(wc -l <there) -ge 26 ] || { cat there; exit 5; }
        # A hundred guesses at once are no more than ten, and somebody else's login does not wait long for them.
        seq 100 | xargs -P 50 -I{} curl -s -o /dev/null -w '%{http_code}\n' -u carol:guess{} $U/v2/ >codes; [ $(grep -c 401 codes) = 10 ] && [ $(grep -c 429 codes) = 90 ] || { sort codes | uniq -c; exit 6; }
        is 200 -u bob:secret-of-bob $U/v2/
        # What browsers send of a page changes nothing without an account, also where that page's host leads here.
        is 403 -H 'Origin: null' -X POST --data-binary @small "$U/v2/open/x/blobs/uploads/?digest=$D"; is 403 -H 'Host: evil.example' -H 'Origin: http://evil.example' -X DELETE $U/v2/open/x/manifests/1
        is 201 -X POST --data-binary @small "$U/v2/open/x/blobs/uploads/?digest=$D"; is 201 -u bob:secret-of-bob -H "Origin: $U" -X POST --data-binary @small "$U/v2/bob/x/blobs/uploads/?digest=$D"
        for path in /v2/open/x/blobs/$D /v2/ /v1/search /hub.js / /token; do head_of $U$path | grep -qix 'x-content-type-options: nosniff' || { echo $path; exit 7; }; done
        # Another password ends the logins by the old one, and no token that was made for something else.
        login() { curl -s -u bob:secret-of-bob "$U/token?service=x&offline_token=true" | sed -n 's/.*"refresh_token":"\([^"]*\)".*/\1/p'; }; K=$(login)
        form bob /account/token -d description=ci -d scope=read -d days=30 >/dev/null; T=$(sed -n 's|.*<code>\(cst_[0-9a-f]*\)</code>.*|\1|p' page)
        again() { code -d grant_type=refresh_token -d refresh_token=$1 $U/token; }; [ "$(again $K) $(again $T)" = '200 200' ] || exit 8
        [ "$(form bob /account/password -d old=secret-of-bob -d new=another-secret)" = 303 ] && [ "$(again $K) $(again $T)" = '401 200' ]"#;

    forms_come_from_our_pages_and_texts_stay_texts: r#"
        serve || exit 99; [ "$(sign_up alice)" = 303 ] || exit 2
        is 403 -b alice.jar -d name=x $U/new
        is 403 -b alice.jar -d csrf=AAAA -d name=x $U/new
        C=$(ed alice.jar $U/ | sed -n 's/.*name="csrf" value="\([^"]*\)".*/\1/p' | head -n1)
        is 403 -b alice.jar -H 'Origin: http://evil.example' --data-urlencode csrf=$C -d name=x $U/new
        is 403 -b alice.jar -H 'Sec-Fetch-Site: cross-site' --data-urlencode csrf=$C -d name=x $U/new
        [ "$(form alice /new --data-urlencode name=app --data-urlencode 'description=<script>alert(1)</script>')" = 303 ] || exit 3
        [ "$(form alice /settings/alice/app --data-urlencode 'description=<script>alert(1)</script>' --data-urlencode 'readme=# Hi <img src=x onerror=alert(1)> [x](javascript:alert(1))')" = 200 ] || exit 4
        for page in /r/alice/app /search?q=alert /settings/alice/app /; do
            ed alice.jar $U$page >page; grep -q '<script>alert\|<img src=x\|href="javascript:' page && { cat page; exit 5; }
        done
        grep -q '&#60;script&#62;' page || exit 6
        H2=$(head_of $U/); for want in "content-security-policy: default-src 'none'" 'x-content-type-options: nosniff' 'x-frame-options: DENY'; do echo "$H2" | grep -qi "^$want" || exit 7; done
        echo "$H2" | grep -i '^set-cookie' | grep -q 'HttpOnly; SameSite=Lax' || exit 8
        curl -s -H 'Accept-Language: fr' $U/signin | grep -q 'lang="fr"' && curl -s -H 'Accept-Language: fr' $U/signin | grep -q 'Se connecter' || exit 9
        for path in /new /account /admin /settings/alice/app; do c=$(code $U$path); [ $c = 303 ] || { echo $path $c; exit 10; }; done
        [ "$(sign_up bob)" = 303 ] || exit 11; is 403 -b bob.jar $U/admin; is 403 -b bob.jar $U/settings/alice/app
        [ "$(form bob /delete/alice/app -d confirm=alice/app)" = 403 ] || exit 12
        [ "$(form alice /delete/alice/app -d confirm=other)" = 200 ] && is 200 $U/r/alice/app
        [ "$(form alice /delete/alice/app -d confirm=alice/app)" = 303 ] && is 404 $U/r/alice/app
        end TERM; serve --closed; [ "$(sign_up dave)" = 422 ]"#;

    what_no_image_needs_is_collected_and_the_rest_is_not: r#"
        printf 'grace_seconds = 1\n' >c.toml; serve --config c.toml || exit 99; archive
        push a/app:1 && other a/app:2 || exit 2
        printf stray >blob; is 201 -X POST --data-binary @blob "$U/v2/a/app/blobs/uploads/?digest=$(sum blob)"
        files() { find hub/blobs -type f | wc -l; }; before=$(files)
        is 202 -X DELETE $U/v2/a/app/manifests/$(head_of $U/v2/a/app/manifests/2 | sed -n 's/^docker-content-digest: //p')
        # Marked after one grace, gone after a second; told by a second process, and by us when it has ended.
        for i in 1 2 3; do sleep 2; caisson registry collect --root hub --config c.toml | grep -q 'collects now' || exit 3; done
        for i in $(seq 50); do [ $(files) -lt $before ] && break; sleep .1; done
        is 404 $U/v2/a/app/blobs/$(sum blob); copy docker://$H/a/app:1 dir:one || exit 4
        [ $(files) -lt $before ] || exit 5
        # What was pushed again after the mark is whole.
        other a/app:3 && copy docker://$H/a/app:3 dir:three || exit 6
        end TERM || exit 7; caisson registry collect --root hub --config c.toml | grep -q '^Removed' || exit 8
        serve --config c.toml && copy docker://$H/a/app:1 dir:again && copy docker://$H/a/app:3 dir:again3"#;

    tls_by_a_certificate_of_its_own_and_one_process_per_directory: r#"
        serve --tls-self-signed || exit 99; [ "$(stat -c %a hub/tls/key.pem)" = 600 ] || exit 2
        curl -s --cacert hub/tls/cert.pem https://$H/health | grep -q ok || exit 3
        curl -s http://$H/health | grep -q ok && exit 4
        rm -f hub.out; caisson registry serve --listen 127.0.0.1:0 --root hub 2>e && exit 5; grep -q 'another registry is using' e || exit 6
        before=$(sum hub/tls/cert.pem); end TERM; serve --tls-self-signed && [ "$(sum hub/tls/cert.pem)" = $before ] || exit 7
        caisson registry serve --tls-cert x 2>e && exit 8; grep -q 'go together' e || exit 9
        caisson registry serve --storage /srv/x 2>e && exit 10; grep -q 'not of the form s3://' e || exit 11
        caisson registry serve --mirror docker.io 2>e && exit 12; grep -q 'not of the form https://' e || exit 13
        caisson registry serve --database mysql://me:hidden@x/y 2>e && exit 14; grep -q 'postgres://' e && ! grep -q hidden e"#;
}

/// `one N` pushes the image N in steps, and writes down that it was acknowledged; `whole N` reads it back.
const PUSHES: &str = r#"
    one() {
        head -c $((RANDOM * 40 + 1000)) /dev/urandom >layer.$1; printf '{"architecture":"amd64","os":"linux","n":%s}' $1 >config.$1
        for f in layer config; do
            L=$(head_of -X POST $U/v2/c/r$(($1 % 3))/blobs/uploads/ | sed -n 's/^location: //p'); [ -n "$L" ] || return 1
            [ "$(code -X PATCH -H 'Content-Type: application/octet-stream' --data-binary @$f.$1 $U$L)" = 202 ] || return 1
            [ "$(code -X PUT "$U$L?digest=$(sum $f.$1)")" = 201 ] || return 1
        done
        printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"%s","size":%s}]}' $(sum config.$1) $(stat -c %s config.$1) $(sum layer.$1) $(stat -c %s layer.$1) >manifest.$1
        [ "$(code -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @manifest.$1 $U/v2/c/r$(($1 % 3))/manifests/t$1)" = 201 ] || return 1
        echo $1 >>acknowledged
    }
    whole() {
        curl -s $U/v2/c/r$(($1 % 3))/manifests/t$1 | cmp - manifest.$1 || return 1
        for f in layer config; do curl -s $U/v2/c/r$(($1 % 3))/blobs/$(sum $f.$1) | cmp - $f.$1 || return 1; done
    }
    named() { find hub/blobs -type f | while read -r f; do [ "$(sha256sum <$f | cut -d' ' -f1)" = "$(basename $f)" ] || { echo "torn $f"; exit 6; }; done; }
"#;

/// Goal: what was acknowledged is there, whole, whenever the registry is killed; what was not is not
/// visible half-made. Method: pushes of distinct images go on while the registry is killed at random
/// and started again; each push that succeeded is read back, and every blob that has a name is hashed.
#[test]
fn a_registry_that_is_killed_at_random_loses_nothing_that_it_acknowledged() {
    let pushes = std::env::var("CAISSON_REGISTRY_PUSHES").unwrap_or_else(|_| "30".to_owned());
    with_registry(&format!(
        "PUSHES={pushes}\n{PUSHES}\n{}",
        r#"
        serve || exit 99
        ( while :; do sleep .$((RANDOM % 8 + 1)); kill -9 $(cat pid) 2>/dev/null; touch kills/$RANDOM$RANDOM; while ! [ -e go ]; do sleep .02; [ -e stop ] && exit; done; rm -f go; done ) & KILLER=$!
        mkdir kills; echo $PID >pid; : >acknowledged
        alive() { kill -0 $PID 2>/dev/null && curl -s -o /dev/null $U/health || { wait $PID 2>/dev/null; serve || exit 98; echo $PID >pid; touch go; }; }
        for n in $(seq $PUSHES); do alive; one $n; done
        touch stop go; kill $KILLER 2>/dev/null; wait $KILLER 2>/dev/null; alive
        echo "acknowledged $(wc -l <acknowledged) of $PUSHES, killed $(ls kills | wc -l) times"
        [ $(wc -l <acknowledged) -gt 0 ] || exit 2
        for n in $(seq $PUSHES); do
            c=$(code $U/v2/c/r$((n % 3))/manifests/t$n)
            grep -qx $n acknowledged && [ $c != 200 ] && { echo "lost $n"; exit 3; }
            [ $c = 200 ] || continue
            # Also what was not acknowledged is whole where it is visible.
            whole $n || { echo "torn $n"; exit 4; }
        done
        named"#
    ));
}

/// Goal: the same at each step of a push and of a collection, one by one. Method: the registry kills itself
/// at a fail point of `sys::fail`; the client goes on, and in the end all that was deleted is gone.
#[test]
fn a_registry_that_is_killed_at_each_step_loses_nothing_and_leaves_nothing() {
    let Some(binary) = std::env::var_os("CAISSON_FAIL_BIN") else {
        println!("skipped: no binary with fail points");
        return;
    };
    let binary = binary.to_string_lossy();
    with_registry(&format!(
        "SERVER={binary}\n{PUSHES}\n{}",
        r#"
        printf 'grace_seconds = 1\n' >c.toml; n=0; : >acknowledged
        for at in upload.begun:1 upload.written:2 blob.synced:1 blob.synced:2 blob.named:1 blob.recorded:2 manifest.recorded:1; do
            n=$((n + 1)); CAISSON_FAIL_AT=registry.$at serve --config c.toml || exit 99
            one $n && { echo "$at was not passed"; exit 2; }; wait $PID; [ $? = 137 ] || exit 3
            serve --config c.toml || exit 98; c=$(code $U/v2/c/r$((n % 3))/manifests/t$n)
            # A push that was never answered is there whole, or not at all.
            case $at in manifest.*) [ $c = 200 ] && whole $n && is 202 -X DELETE $U/v2/c/r$((n % 3))/manifests/$(sum manifest.$n);; *) [ $c = 404 ];; esac && named || { echo "$at: $c"; exit 4; }
            one $n && whole $n && end TERM || exit 5
        done
        serve --config c.toml || exit 97; for i in $(seq $n); do whole $i && is 202 -X DELETE $U/v2/c/r$((i % 3))/manifests/$(sum manifest.$i) || exit 6; done; end TERM
        for at in collect.forgotten:2 collect.removed:3; do
            CAISSON_FAIL_AT=registry.$at serve --config c.toml || exit 96
            for i in $(seq 60); do kill -USR1 $PID 2>/dev/null || break; sleep .25; done; wait $PID; [ $? = 137 ] || { echo "$at was not passed"; exit 7; }
        done
        serve --config c.toml || exit 95
        for i in $(seq 80); do kill -USR1 $PID; sleep .25; [ "$(find hub/blobs -type f | wc -l)" = 0 ] && break; done
        [ "$(find hub/blobs -type f | wc -l)" = 0 ] || { find hub; exit 8; }
        # Uploads that nobody continued go after a day.
        find hub/uploads -exec touch -d '2 days ago' {} +; for i in $(seq 40); do kill -USR1 $PID; sleep .25; [ -z "$(ls hub/uploads)" ] && break; done; [ -z "$(ls hub/uploads)" ]"#
    ));
}
