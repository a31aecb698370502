//! Our registry against the text of the OCI distribution specification 1.1, category by category, as its
//! own suite goes through it: pull, push, content discovery, content management. curl asks, as the suite's
//! client does; what the words of the tests' helpers mean stands in `registry`.

use super::registry::with_registry;

/// `heads ARGS…` asks and keeps the answer's head in the file `head`, its status in `$S`; `has WORD…` looks
/// for a line in it. `begin NAME` begins an upload at `$L`. `blob NAME FILE` pushes a file, `manifest NAME
/// REFERENCE FILE [TYPE]` a manifest.
const WORDS: &str = r#"
    OCI=application/vnd.oci.image.manifest.v1+json INDEX=application/vnd.oci.image.index.v1+json
    heads() { S=$(curl -s -o answer -D raw -w '%{http_code}' "$@"); tr -d '\r' <raw >head; }
    has() { grep -qix "$1" head || { echo "no $1 in $S"; cat head answer; exit 50; }; }
    st() { [ "$S" = "$1" ] || { echo "wanted $1, got $S"; cat head answer; exit 51; }; }
    begin() { heads -X POST $U/v2/$1/blobs/uploads/; st 202; L=$(sed -n 's/^location: //p' head); case $L in /*) L=$U$L;; esac; }
    blob() { heads -X POST -H 'Content-Type: application/octet-stream' --data-binary @$2 "$U/v2/$1/blobs/uploads/?digest=$(sum $2)"; st 201; }
    manifest() { heads -X PUT -H "Content-Type: ${4:-$OCI}" --data-binary @$3 $U/v2/$1/manifests/$2; }
    sum512() { echo sha512:$(sha512sum "$1" | cut -d' ' -f1); }
    code_of() { grep -q '"errors":\[{"code":"'$1'","message":"[^"]' answer && grep -qi '^content-type: application/json' head || { echo "no $1"; cat head answer; exit 52; }; }
    image() { printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%s},"layers":[]%s}' $OCI $(sum config) $(stat -c %s config) "$1"; }
"#;

macro_rules! specification {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { with_registry(&format!("{WORDS}\n{}", $script)); })* };
}

specification! {
    pull_gives_the_exact_bytes_by_tag_and_digest_and_heads_of_all: r#"
        serve || exit 99; printf '{}' >config; blob a/b config; image '' >m; manifest a/b v1 m; st 201; D=$(sum m)
        for reference in v1 $D; do
            heads $U/v2/a/b/manifests/$reference; st 200; cmp answer m; has "docker-content-digest: $D"; has "content-type: $OCI"; has "content-length: $(stat -c %s m)"
            heads -I $U/v2/a/b/manifests/$reference; st 200; has "docker-content-digest: $D"; has "content-length: $(stat -c %s m)"; [ ! -s answer ] || [ "$(head -c 5 answer)" = HTTP/ ]
        done
        B=$(sum config); heads $U/v2/a/b/blobs/$B; st 200; cmp answer config; has "docker-content-digest: $B"; has 'accept-ranges: bytes'; has 'content-length: 2'
        heads -I $U/v2/a/b/blobs/$B; st 200; has 'content-length: 2'; has "docker-content-digest: $B"
        Z=sha256:$(printf 0%.0s $(seq 64))
        heads $U/v2/a/b/blobs/$Z; st 404; code_of BLOB_UNKNOWN; heads -I $U/v2/a/b/blobs/$Z; st 404
        heads $U/v2/a/b/manifests/none; st 404; code_of MANIFEST_UNKNOWN; heads $U/v2/a/b/manifests/$Z; st 404; heads -I $U/v2/a/b/manifests/none; st 404
        heads $U/v2/a/none/manifests/v1; st 404; heads $U/v2/a/none/blobs/$B; st 404
        heads $U/v2/a/b/blobs/sha256:zz; st 400; code_of DIGEST_INVALID; heads $U/v2/A/manifests/v1; st 400; code_of NAME_INVALID
        heads $U/v2/; st 200; has 'docker-distribution-api-version: registry/2.0'; heads -X POST $U/v2/; st 405; has 'allow: GET, HEAD'
        # Ranges, and what is known already.
        head -c 1000 /dev/urandom >r; blob a/b r; R=$(sum r); heads -H 'Range: bytes=10-19' $U/v2/a/b/blobs/$R; st 206; has 'content-range: bytes 10-19/1000'; has 'content-length: 10'
        heads -H 'Range: bytes=1000-' $U/v2/a/b/blobs/$R; st 416; has 'content-range: bytes \*/1000'
        heads -H "If-None-Match: \"$R\"" $U/v2/a/b/blobs/$R; st 304; heads -H "If-None-Match: \"$D\"" $U/v2/a/b/manifests/v1; st 304"#;

    push_takes_blobs_whole_in_two_requests_in_chunks_and_from_elsewhere: r#"
        serve || exit 99; head -c 30000 /dev/urandom >f; D=$(sum f)
        # POST alone; POST then PUT; the digest beside what the location has already.
        blob a/one f; has "location: /v2/a/one/blobs/$D"; has "docker-content-digest: $D"; is 200 $U/v2/a/one/blobs/$D
        begin a/two; heads -X PUT -H 'Content-Type: application/octet-stream' --data-binary @f "$L?digest=$D"; st 201; has "location: /v2/a/two/blobs/$D"
        # Chunks, asked about in between; closed without a body, and with the last chunk.
        head -c 10000 f >f1; tail -c +10001 f | head -c 10000 >f2; tail -c +20001 f >f3
        chunk() { local m=$1 r=$2 b=$3; heads -X $m -H "Content-Range: $r" -H 'Content-Type: application/octet-stream' --data-binary @$b "$4"; }
        begin a/three; has 'range: 0-0'
        chunk PATCH 0-9999 f1 $L; st 202; has 'range: 0-9999'; grep -q '^location: ' head || exit 2
        heads $L; st 204; has 'range: 0-9999'; grep -q '^location: ' head || exit 3
        chunk PATCH 20000-29999 f3 $L; st 416; has 'range: 0-9999'; chunk PATCH 0-9999 f1 $L; st 416
        heads $L; st 204; has 'range: 0-9999'
        chunk PATCH 10000-19999 f2 $L; st 202; has 'range: 0-19999'; chunk PUT 20000-29999 f3 "$L?digest=$D"; st 201; curl -s $U/v2/a/three/blobs/$D | cmp - f || exit 4
        begin a/four; chunk PATCH 0-9999 f1 $L; chunk PATCH 10000-19999 f2 $L; chunk PATCH 20000-29999 f3 $L; st 202
        heads -X PUT "$L?digest=$D"; st 201; curl -s $U/v2/a/four/blobs/$D | cmp - f || exit 5
        # One stream without a range, as Docker sends.
        begin a/five; heads -X PATCH -H 'Transfer-Encoding: chunked' -H 'Content-Type: application/octet-stream' --data-binary @f $L; st 202; has 'range: 0-29999'; heads -X PUT "$L?digest=$D"; st 201
        chunk PATCH 0-4 f1 $L; st 404; code_of BLOB_UPLOAD_UNKNOWN
        begin a/five; chunk PATCH 0-5 f1 $L; st 400; code_of SIZE_INVALID; chunk PATCH x f1 $L; st 400
        # Given up.
        begin a/six; heads -X DELETE $L; st 204; heads $L; st 404; code_of BLOB_UPLOAD_UNKNOWN; heads -X DELETE $L; st 404
        begin a/six; heads -X PUT --data-binary @f "$L"; st 400; heads -X PUT --data-binary @f "$L?digest=$(sum f1)"; st 400; code_of DIGEST_INVALID
        # From another repository: named, unnamed, and where it is not.
        heads -X POST "$U/v2/a/seven/blobs/uploads/?mount=$D&from=a/one"; st 201; has "location: /v2/a/seven/blobs/$D"; is 200 $U/v2/a/seven/blobs/$D
        heads -X POST "$U/v2/a/eight/blobs/uploads/?mount=$D"; st 201; is 200 $U/v2/a/eight/blobs/$D
        Z=sha256:$(printf 0%.0s $(seq 64)); heads -X POST "$U/v2/a/nine/blobs/uploads/?mount=$Z&from=a/one"; st 202; grep -q '^location: /v2/a/nine/blobs/uploads/' head || exit 6
        heads -X POST "$U/v2/a/nine/blobs/uploads/?mount=$D&from=a/none"; st 202
        # Nothing at all is a blob too.
        : >empty; blob a/one empty; heads $U/v2/a/one/blobs/$(sum empty); st 200; has 'content-length: 0'"#;

    push_of_manifests_checks_them_keeps_their_bytes_and_names_subject_and_tags: r#"
        serve || exit 99; printf '{}' >config; blob a/b config; image '' | sed 's/,/ ,\n/' >m
        manifest a/b v1 m; st 201; has "location: /v2/a/b/manifests/$(sum m)"; has "docker-content-digest: $(sum m)"; curl -s $U/v2/a/b/manifests/v1 | cmp - m || exit 2
        manifest a/b $(sum m) m; st 201; manifest a/b $(sum config) m; st 400; code_of DIGEST_INVALID
        manifest a/b v1 m $INDEX; st 400; code_of MANIFEST_INVALID; manifest a/b v1 m 'text/plain'; st 400; manifest a/b .x m; st 400
        manifest a/c v1 m; st 400; code_of MANIFEST_BLOB_UNKNOWN
        printf '{"schemaVersion":2,"mediaType":"application/x.unknown+json"}' >u; manifest a/b u u application/x.unknown+json; st 400; code_of MANIFEST_INVALID; grep -q x.unknown answer || exit 3
        # An index of what is there, and of what is not.
        index() { printf '{"schemaVersion":2,"mediaType":"%s","manifests":[{"mediaType":"%s","digest":"%s","size":%s}]}' $INDEX $OCI $1 $2; }
        index $(sum m) $(stat -c %s m) >i; manifest a/b all i $INDEX; st 201; heads $U/v2/a/b/manifests/all; has "content-type: $INDEX"
        index $(sum config) 2 >j; manifest a/b no j $INDEX; st 400; code_of MANIFEST_BLOB_UNKNOWN
        # A subject need not be there. Config of artifacts, and several tags at once.
        Z=sha256:$(printf 0%.0s $(seq 64)); image ',"subject":{"mediaType":"'$OCI'","digest":"'$Z'","size":7}' >s; manifest a/b $(sum s) s; st 201; has "oci-subject: $Z"
        heads -X PUT -H "Content-Type: $OCI" --data-binary @m "$U/v2/a/b/manifests/$(sum m)?tag=x&tag=y"; st 201; has 'oci-tag: x, y'; is 200 $U/v2/a/b/manifests/y
        # Other algorithms: whole, in chunks, and of manifests.
        head -c 5000 /dev/urandom >f; H=$(sum512 f); heads -X POST --data-binary @f "$U/v2/a/b/blobs/uploads/?digest=$H"; st 201; has "docker-content-digest: $H"; curl -s $U/v2/a/b/blobs/$H | cmp - f || exit 4
        heads -X POST "$U/v2/a/d/blobs/uploads/?digest-algorithm=sha512"; st 202; L=$U$(sed -n 's/^location: //p' head); heads -X PATCH --data-binary @f $L; st 202; heads -X PUT "$L?digest=$H"; st 201
        begin a/e; heads -X PATCH --data-binary @f $L; heads -X PUT "$L?digest=$H"; st 201
        manifest a/b $(sum512 m) m; st 201; has "docker-content-digest: $(sum512 m)"; heads $U/v2/a/b/manifests/$(sum512 m); st 200; cmp answer m
        # The largest that must be taken, and more.
        image ',"annotations":{"x":"'$(head -c 4000000 /dev/zero | tr '\0' y)'"}' >l; manifest a/b large l; st 201
        head -c 5000000 /dev/zero >ll; manifest a/b larger ll; st 413; code_of SIZE_INVALID"#;

    discovery_lists_tags_page_by_page_and_referrers_by_type: r#"
        serve || exit 99; printf '{}' >config; blob a/b config; image '' >m
        for t in b a 1 Z _x; do manifest a/b $t m; st 201; done
        heads $U/v2/a/b/tags/list; st 200; grep -qx '{"name":"a/b","tags":\["1","Z","_x","a","b"\]}' answer || { cat answer; exit 2; }
        heads "$U/v2/a/b/tags/list?n=2"; grep -q '"tags":\["1","Z"\]' answer; has 'link: </v2/a/b/tags/list?n=2&last=Z>; rel="next"'
        heads "$U/v2/a/b/tags/list?n=2&last=Z"; grep -q '"tags":\["_x","a"\]' answer || exit 3; heads "$U/v2/a/b/tags/list?n=2&last=a"; grep -q '"tags":\["b"\]' answer && ! grep -q '^link' head || exit 4
        heads "$U/v2/a/b/tags/list?last=Y"; grep -q '"tags":\["Z","_x","a","b"\]' answer || exit 5
        heads "$U/v2/a/b/tags/list?n=0"; st 200; grep -q '"tags":\[\]' answer && ! grep -q '^link' head || exit 6; heads "$U/v2/a/b/tags/list?n=x"; st 400; heads "$U/v2/a/b/tags/list?n=5"; ! grep -q '^link' head || exit 7
        heads $U/v2/a/none/tags/list; st 404; code_of NAME_UNKNOWN
        # Referrers: none, of a subject that is not there (yet), by type, with their annotations.
        Z=sha256:$(printf 0%.0s $(seq 64)); for s in $Z $(sum m); do heads $U/v2/a/b/referrers/$s; st 200; has "content-type: $INDEX"; grep -q '"schemaVersion":2' answer && grep -q '"manifests":\[\]' answer || exit 8; done
        heads $U/v2/a/b/referrers/xyz; st 400; code_of DIGEST_INVALID
        refer() { image ',"artifactType":"'$1'","annotations":{"k":"'$1'"},"subject":{"mediaType":"'$OCI'","digest":"'$Z'","size":7}' >ref; manifest a/b $(sum ref) ref; st 201; has "oci-subject: $Z"; }
        refer application/x.one; refer application/x.two
        image ',"subject":{"mediaType":"'$OCI'","digest":"'$Z'","size":7}' >ref3; manifest a/b $(sum ref3) ref3; st 201
        printf '{"schemaVersion":2,"mediaType":"%s","artifactType":"application/x.index","manifests":[],"subject":{"mediaType":"%s","digest":"%s","size":7}}' $INDEX $OCI $Z >ref4; manifest a/b $(sum ref4) ref4 $INDEX; st 201; has "oci-subject: $Z"
        heads $U/v2/a/b/referrers/$Z; st 200; [ "$(grep -o '"digest"' answer | wc -l)" = 4 ] && ! grep -qi '^oci-filters' head || { cat answer; exit 9; }
        # The configuration's type stands for the artifact's where that has none.
        grep -q '"artifactType":"application/vnd.oci.image.config.v1+json"' answer && grep -q '"annotations":{"k":"application/x.one"}' answer && grep -q '"artifactType":"application/x.index"' answer || exit 10
        heads "$U/v2/a/b/referrers/$Z?artifactType=application/x.two"; has 'oci-filters-applied: artifactType'; [ "$(grep -o '"digest"' answer | wc -l)" = 1 ] && grep -q '"artifactType":"application/x.two"' answer || exit 11
        heads "$U/v2/a/b/referrers/$Z?artifactType=none/such"; st 200; has 'oci-filters-applied: artifactType'; grep -q '"manifests":\[\]' answer || exit 12
        heads $U/v2/a/none/referrers/$Z; st 200; grep -q '"manifests":\[\]' answer || exit 13
        # Annotations that are no texts are nobody's in the list.
        image ',"annotations":{"k":{"x":1},"l":"m"},"subject":{"mediaType":"'$OCI'","digest":"'$(sum m)'","size":7}' >odd; manifest a/b $(sum odd) odd; st 201; heads $U/v2/a/b/referrers/$(sum m); grep -q '"annotations":{"l":"m"}' answer || exit 15
        heads -X DELETE $U/v2/a/b/manifests/$(sum ref4); st 202; heads $U/v2/a/b/referrers/$Z; [ "$(grep -o '"digest"' answer | wc -l)" = 3 ] || exit 14
        heads "$U/v2/_catalog?n=1"; st 200; grep -q '"repositories":\["a/b"\]' answer"#;

    management_deletes_tags_manifests_and_blobs: r#"
        serve || exit 99; printf '{}' >config; blob a/b config; image '' >m; for t in one two; do manifest a/b $t m; done
        heads -X DELETE $U/v2/a/b/manifests/one; st 202; heads $U/v2/a/b/manifests/one; st 404; heads -X DELETE $U/v2/a/b/manifests/one; st 404; code_of MANIFEST_UNKNOWN
        heads $U/v2/a/b/manifests/two; st 200; heads $U/v2/a/b/manifests/$(sum m); st 200; heads $U/v2/a/b/tags/list; grep -q '"tags":\["two"\]' answer || exit 2
        heads -X DELETE $U/v2/a/b/manifests/$(sum m); st 202; heads $U/v2/a/b/manifests/$(sum m); st 404; heads $U/v2/a/b/manifests/two; st 404; heads -X DELETE $U/v2/a/b/manifests/$(sum m); st 404
        heads $U/v2/a/b/tags/list; st 200; grep -q '"tags":\[\]' answer || exit 3
        heads -X DELETE $U/v2/a/b/blobs/$(sum config); st 202; heads $U/v2/a/b/blobs/$(sum config); st 404; heads -X DELETE $U/v2/a/b/blobs/$(sum config); st 404; code_of BLOB_UNKNOWN
        # And back.
        blob a/b config; manifest a/b one m; st 201; is 200 $U/v2/a/b/manifests/one"#;
}
