//! What teams do with our registry: organisations, stars, webhooks, a cache of another registry, and the
//! record of who did what.

use crate::registry::with_registry;

macro_rules! team {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { with_registry($script); })* };
}

team! {
    an_organisations_members_do_what_their_roles_say: r#"
        serve || exit 99; archive
        for who in alice bob carol dave; do [ "$(sign_up $who)" = 303 ] || { cat page; exit 2; }; done
        [ "$(form alice /organisations/new -d name=acme -d description=Anvils)" = 303 ] && [ "$(form bob /organisations/new -d name=acme)" = 422 ] && [ "$(form bob /organisations/new -d name=alice)" = 422 ] || exit 3
        [ "$(form alice /o-members/acme -d user=bob -d role=write)" = 303 ] && [ "$(form alice /o-members/acme -d user=carol -d role=read)" = 303 ] && [ "$(form alice /o-members/acme -d user=nobody -d role=read)" = 422 ] || exit 4
        # A role is not one's own to give, and somebody must be left who may do everything.
        [ "$(form bob /o-members/acme -d user=bob -d role=admin)" = 403 ] && [ "$(form alice /o-members/acme -d user=alice)" = 422 ] && [ "$(form alice /o-members/acme -d user=alice -d role=read)" = 422 ] || exit 5
        [ "$(form bob /new -d under=acme -d name=app -d description=it -d visibility=private)" = 303 ] && [ "$(form carol /new -d under=acme -d name=more)" = 403 ] && [ "$(form dave /new -d under=acme -d name=more)" = 403 ] || exit 6
        other acme/app:1 --dest-creds bob:secret-of-bob || exit 7
        push acme/app:2 --dest-creds carol:secret-of-carol && exit 8
        copy --src-creds carol:secret-of-carol docker://$H/acme/app:1 dir:got || exit 9
        is 404 -u dave:secret-of-dave $U/v2/acme/app/manifests/1; is 401 $U/v2/acme/app/manifests/1; push acme/new:1 && exit 10
        curl -s -u carol:secret-of-carol "$U/v1/search?q=acme" | grep -q acme/app && ! curl -s -u dave:secret-of-dave "$U/v1/search?q=acme" | grep -q acme/app || exit 11
        ed carol.jar $U/o/acme | grep -q bob && ! ed dave.jar $U/o/acme | grep -q 'bob\|acme/app' && ed carol.jar $U/ | grep -q '/o/acme' || exit 12
        [ "$(form alice /o-members/acme -d user=carol)" = 303 ] && is 404 -u carol:secret-of-carol $U/v2/acme/app/manifests/1
        rm -f eve.jar; [ "$(sign_up acme)" = 422 ] || exit 13
        [ "$(form alice /o-delete/acme -d confirm=acme)" = 422 ] && [ "$(form bob /delete/acme/app -d confirm=acme/app)" = 403 ] && [ "$(form alice /delete/acme/app -d confirm=acme/app)" = 303 ] && [ "$(form alice /o-delete/acme -d confirm=acme)" = 303 ] && is 404 $U/o/acme"#;

    who_did_what_is_on_record_and_stars_are_counted: r#"
        serve || exit 99; archive
        for who in alice bob; do [ "$(sign_up $who)" = 303 ] || exit 2; done
        [ "$(form bob /new -d name=app -d description=it)" = 303 ] && push bob/app:1 --dest-creds bob:secret-of-bob || exit 3
        for who in alice bob; do [ "$(form $who /star/bob/app -d star=1)" = 303 ] && [ "$(form $who /star/bob/app -d star=1)" = 303 ] || exit 4; done
        curl -s "$U/v1/search?q=bob" | grep -q '"star_count":2' && [ "$(form alice /star/bob/app)" = 303 ] && curl -s "$U/v1/search?q=bob" | grep -q '"star_count":1' || exit 5
        [ "$(caisson search --format '{{.Name}} {{.StarCount}}' $H/bob)" = "$H/bob/app 1" ] || exit 6
        is 202 -u bob:secret-of-bob -X DELETE $U/v2/bob/app/manifests/1
        is 303 $U/admin/audit; is 403 -b bob.jar $U/admin/audit
        ed alice.jar $U/admin/audit | tr -d '\n' >record
        for deed in 'bob</td><td>repo.create</td><td>bob/app' 'bob</td><td>repo.tag.push</td><td>bob/app</td><td><code>1 sha256:' 'bob</td><td>repo.tag.delete</td><td>bob/app</td><td><code>1<' 'alice</td><td>user.create</td><td>alice'; do grep -qF "$deed" record || { echo "$deed"; cat record; exit 7; }; done
        ed alice.jar "$U/admin/audit?q=delete" | grep -q 'repo.create' && exit 8
        ed alice.jar $U/admin | tr -d '\n' | grep -q '>bob</th>' && is 403 -b bob.jar $U/admin || exit 9
        ! grep -q secret-of record"#;

    a_push_is_told_to_webhooks_signed_and_again_where_it_failed: r#"
        cat >ear.py <<'EOP'
import http.server, sys
count = 0
class Ear(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_POST(self):
        global count
        body = self.rfile.read(int(self.headers['Content-Length'])); count += 1
        open('body.%d' % count, 'wb').write(body); open('signature.%d' % count, 'w').write(self.headers['X-Caisson-Signature'])
        self.send_response(500 if count == 1 else 204); self.end_headers()
s = http.server.HTTPServer(('127.0.0.1', 0), Ear); open('port', 'w').write(str(s.server_port)); s.serve_forever()
EOP
        python3 ear.py & EAR=$!; trap 'kill -9 $PID $EAR 2>/dev/null' EXIT
        printf 'webhooks_private = true\n' >c.toml; serve --config c.toml || exit 99; archive; [ "$(sign_up alice)" = 303 ] || exit 2
        for i in $(seq 100); do [ -s port ] && break; sleep .05; done
        [ "$(form alice /new -d name=app)" = 303 ] && [ "$(form alice /webhooks/alice/app -d url=ftp://x)" = 422 ] && [ "$(form alice /webhooks/alice/app --data-urlencode url=http://127.0.0.1:$(cat port)/hook)" = 200 ] || exit 3
        S=$(sed -n 's|.*<code>\([0-9a-f]\{64\}\)</code>.*|\1|p' page); [ ${#S} = 64 ] || exit 4
        ed alice.jar $U/settings/alice/app | grep -q $S && exit 5
        push alice/app:v1 --dest-creds alice:secret-of-alice || exit 6
        # The first answer was 500: told again after ten seconds, also by a registry that was killed in between.
        for i in $(seq 100); do [ -e signature.1 ] && break; sleep .1; done; sleep 1; end KILL; serve --config c.toml || exit 98
        for i in $(seq 250); do [ -e signature.2 ] && break; sleep .1; done; [ -e signature.2 ] || exit 7
        cmp body.1 body.2 && grep -q '"tag":"v1"' body.2 && grep -q '"repo_name":"alice/app"' body.2 && grep -q '"pusher":"alice"' body.2 || { cat body.2; exit 8; }
        [ "$(cat signature.2)" = "sha256=$(openssl dgst -sha256 -hmac $S <body.2 | sed 's/.* //')" ] || exit 9
        for i in $(seq 50); do ed alice.jar $U/settings/alice/app | grep -q '204' && break; sleep .1; done; ed alice.jar $U/settings/alice/app | grep -q '204' || exit 10
        # Without leave nothing goes to this machine's own networks.
        end TERM; serve || exit 97; push alice/app:v2 --dest-creds alice:secret-of-alice || exit 11
        for i in $(seq 80); do ed alice.jar $U/settings/alice/app | grep -q 'not a public one' && break; sleep .1; done
        ed alice.jar $U/settings/alice/app | grep -q 'not a public one' && [ ! -e body.3 ]"#;

    a_cache_of_another_registry_asks_it_once_and_does_without_it: r#"
        archive; serve --root upstream.hub || exit 99; UP=$PID UH=$H UU=$U; push team/app:1 && push team/app:2 && other team/big:1 && push team/torn:1 && push late/app:1 || exit 2
        mv hub.log upstream.log; H=x:0; serve --mirror http://$UH || exit 98
        trap 'kill -9 $PID $UP 2>/dev/null' EXIT
        # Many ask at once, also for the same blobs.
        for i in 1 2 3 4 5 6; do copy docker://$H/team/big:1 dir:big.$i & jobs="$jobs $!"; done; for j in $jobs; do wait $j || { cat hub.log; exit 3; }; done
        for i in 2 3 4 5 6; do diff -r big.1 big.$i || exit 4; done
        [ "$(grep -c '"method":"GET","path":"/v2/team/big/blobs/' upstream.log)" = 2 ] && [ "$(grep -c '"method":"GET","path":"/v2/team/big/manifests/' upstream.log)" = 1 ] || { grep team/big upstream.log; exit 5; }
        caisson pull -q $H/team/app:1 >/dev/null && caisson tags $H/team/app | grep -q 1 || exit 6
        # What comes from there is pushed there; what is somebody's here is not asked for there.
        push team/app:3 && exit 7; [ "$(sign_up alice)" = 303 ] && push alice/own:1 --dest-creds alice:secret-of-alice && copy docker://$H/alice/own:1 dir:own || exit 8
        is 401 $U/v2/alice/none/manifests/1; is 404 -u alice:secret-of-alice $U/v2/alice/none/manifests/1; grep -q '/v2/alice/' upstream.log && exit 9
        is 404 -u alice:secret-of-alice $U/v2/team/none/manifests/1; is 404 $U/v2/team/app/manifests/9
        # Also where clients are asked for a token first, with or without an account.
        copy docker://$H/late/app:1 dir:late && copy --src-creds alice:secret-of-alice docker://$H/team/app:2 dir:two && push late/app:2 --dest-creds alice:secret-of-alice && exit 14
        # A blob that is not what its digest says is not kept, and nobody gets all of it.
        M=$(curl -s $UU/v2/team/torn/manifests/1); L=$(echo "$M" | sed -n 's/.*"layers".*"digest":"sha256:\([0-9a-f]*\)".*/\1/p'); F=upstream.hub/blobs/sha256/${L:0:2}/$L
        cp $F kept; printf x | dd of=$F bs=1 seek=100 conv=notrunc 2>/dev/null
        rm -f hub/blobs/sha256/${L:0:2}/$L; copy docker://$H/team/torn:1 dir:torn && exit 10
        [ ! -e hub/blobs/sha256/${L:0:2}/$L ] || exit 11; cp kept $F
        # It is gone: what was fetched is served on, by tag and by digest, also by the next process.
        kill -9 $UP; wait $UP; copy docker://$H/team/big:1 dir:again && copy docker://$H/team/big@$(sum big.1/manifest.json) dir:digest || exit 12
        end TERM; serve --mirror http://$UH || exit 97; copy docker://$H/team/big:1 dir:later && diff -r big.1 later || exit 13
        is 502 $U/v2/team/never/manifests/1"#;

    copies_make_room_for_others_and_what_is_ours_stays: r#"
        archive; serve --root upstream.hub || exit 99; UP=$PID UH=$H UU=$U; other x/one:1; rm other.tar; other x/two:1 || exit 2
        mv hub.log upstream.log; H=x:0; printf 'mirror_bytes_max = 150000\nmirror = "http://%s"\n' $UH >c.toml; serve --config c.toml || exit 98
        trap 'kill -9 $PID $UP 2>/dev/null' EXIT
        layer() { curl -s $UU/v2/x/$1/manifests/1 | sed -n 's/.*"layers".*"digest":"sha256:\([0-9a-f]*\)".*/\1/p'; }
        here() { local l=$(layer $1); [ -e hub/blobs/sha256/${l:0:2}/$l ]; }
        eventually() { for i in $(seq 100); do "$@" && return; sleep .05; done; return 1; }; gone() { ! here $1; }
        push own/app:1 && copy docker://$H/x/one:1 dir:one && here one || exit 3
        sleep 1.1; copy docker://$H/x/two:1 dir:two && here two && eventually gone one || exit 4
        # What went is fetched again, and used longest ago is what was not asked for since.
        sleep 1.1; copy docker://$H/x/one:1 dir:again && diff -r one again && here one && eventually gone two || exit 5
        [ "$(grep -c '"method":"GET","path":"/v2/x/one/blobs/sha256:'$(layer one) upstream.log)" = 2 ] || exit 6
        # What somebody made ours stays: by a push, and by a mount of a copy.
        is 201 -X POST "$U/v2/own/mine/blobs/uploads/?mount=sha256:$(layer one)&from=x/one"
        sleep 1.1; copy docker://$H/x/two:1 dir:two.again && diff -r two two.again && here one && copy docker://$H/own/app:1 dir:own"#;

    copied_manifests_make_room_too: r#"
        archive; serve --root upstream.hub || exit 99; UP=$PID UH=$H UU=$U; for i in 1 2 3; do push m/app$i:1 || exit 2; done
        M=$(curl -s $UU/v2/m/app1/manifests/1 | wc -c); mv hub.log upstream.log; H=x:0
        # Two and a half of them, a hundred times.
        printf 'grace_seconds = 1\nmirror_bytes_max = %s\nmirror = "http://%s"\n' $(((M + 256) * 250)) $UH >c.toml; serve --config c.toml || exit 98
        trap 'kill -9 $PID $UP 2>/dev/null' EXIT
        eventually() { for i in $(seq 100); do "$@" && return; sleep .05; done; return 1; }
        asked() { [ "$(grep -c '"method":"GET","path":"/v2/m/app'$1'/manifests/1' upstream.log)" = $2 ]; }
        tags() { curl -s $U/v2/m/app$1/tags/list; }; gone() { ! tags $1 | grep -q '"1"'; }; unlisted() { ! curl -s $U/v2/_catalog | grep -q m/app$1; }
        is 200 $U/v2/m/app1/manifests/1; tags 1 | grep -q '"1"' || exit 3
        sleep 2.1; for i in 2 3; do is 200 $U/v2/m/app$i/manifests/1; done
        eventually gone 1 && tags 2 | grep -q '"1"' && tags 3 | grep -q '"1"' || { tags 1; exit 4; }
        # Nothing of the repository is left, and (we asked once ourselves) it comes again when somebody asks.
        curl -s $U/v2/_catalog | grep -q m/app1 && caisson registry collect --root hub >/dev/null && eventually unlisted 1 || { curl -s $U/v2/_catalog; exit 5; }
        is 200 $U/v2/m/app1/manifests/1; asked 1 3 && asked 2 1 && asked 3 1 && unlisted 9 || { cat upstream.log; exit 6; }"#;

    slow_clients_hold_nobody_up: r#"
        serve || exit 99; head -c 20000000 /dev/urandom >large; D=$(sum large); printf small >small; E=$(sum small)
        for f in large small; do is 201 -X POST --data-binary @$f "$U/v2/a/b/blobs/uploads/?digest=$(sum $f)"; done
        # More of them than there are threads for disks: some read nothing, some send a byte of many.
        for i in $(seq 90); do
            exec {fd}<>/dev/tcp/${H%:*}/${H##*:} && printf 'GET /v2/a/b/blobs/%s HTTP/1.1\r\nHost: x\r\n\r\n' $D >&$fd || exit 2
            L=$(head_of -X POST $U/v2/a/b/blobs/uploads/ | sed -n 's/^location: //p')
            exec {fd}<>/dev/tcp/${H%:*}/${H##*:} && printf 'PATCH %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx' $L >&$fd || exit 3
        done
        [ "$(curl -s -m 10 $U/v2/a/b/blobs/$E)" = small ] && [ "$(curl -s -m 10 $U/v2/a/b/blobs/$D | sha256sum)" = "$(sha256sum <large)" ] || exit 4
        is 201 -m 10 -X POST --data-binary @small "$U/v2/a/c/blobs/uploads/?digest=$E""#;
}
