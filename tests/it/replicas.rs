//! Several registries over one bucket of S3 and one PostgreSQL: Debian's server, and one of S3 in this
//! process.

use testkit::{Sandbox, can_run, check_in, s3};

/// `replicas` starts three of them at `$A`, `$B` and `$C`, which together are `hub.test:$PORT`.
const TOOLS: &str = r#"
    export HOME=$PWD AWS_ACCESS_KEY_ID=$KEY AWS_SECRET_ACCESS_KEY=$SECRET AWS_REGION=eu-test-1 CAISSON_CONFIG=$PWD/c.toml
    BIN=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1); D=$(mktemp -d /tmp/caisson-it-pg.XXXXXX); chown postgres: $D; pids=
    trap 'kill -9 $pids 2>/dev/null; runuser -u postgres -- $BIN/pg_ctl -D $D/data -m immediate -w stop >/dev/null 2>&1; rm -rf $D' EXIT
    ( cd / && runuser -u postgres -- $BIN/initdb -A trust --no-sync -E UTF8 --locale=C.UTF-8 -D $D/data >$D/initdb.log 2>&1 && runuser -u postgres -- $BIN/pg_ctl -D $D/data -l $D/log -w -o "-c listen_addresses= -k $D" start >/dev/null ) || { cat $D/*log; exit 99; }
    DB=postgres://postgres@${D//\//%2F}/postgres; mkdir -p s3/images
    # start NAME ADDRESS PORT
    start() {
        caisson registry serve --listen $2:$3 --root none --storage s3://images/team --database "$DB" >$1.out 2>$1.log & last=$!; pids="$pids $last"
        for i in $(seq 300); do grep -qs 'its page at' $1.out && break; kill -0 $last 2>/dev/null || break; sleep .05; done
        grep -qs 'its page at' $1.out || { cat $1.log; exit 98; }
    }
    replicas() {
        start a 127.0.0.2 0; PA=$last; PORT=$(sed -n 's|.*its page at http://127.0.0.2:||p' a.out); A=http://127.0.0.2:$PORT B=http://127.0.0.3:$PORT C=http://127.0.0.4:$PORT
        start b 127.0.0.3 $PORT; PB=$last; start c 127.0.0.4 $PORT; PC=$last
        printf '127.0.0.1 localhost\n127.0.0.2 hub.test\n127.0.0.3 hub.test\n127.0.0.4 hub.test\n' >hosts; mount --bind hosts /etc/hosts
        printf '[registries."hub.test:%s"]\ninsecure = true\n' $PORT >c.toml; R=hub.test:$PORT
    }
    code() { curl -s -o answer -w '%{http_code}' "$@"; }
    is() { local want=$1 got; shift; got=$(code "$@"); [ "$got" = "$want" ] || { echo "wanted $want, got $got: $*"; cat answer; tail -n 3 ?.log; exit 97; }; }
    head_of() { curl -s -D - -o /dev/null "$@" | tr -d '\r'; }
    sum() { echo sha256:$(sha256sum "$1" | cut -d' ' -f1); }
"#;

fn with_replicas(script: &str) {
    if can_run() {
        let sandbox = Sandbox::new();
        let directory = sandbox.path().join("s3");
        std::fs::create_dir_all(directory.join("images")).unwrap();
        let (key, secret) = s3::KEYS;
        let endpoint = s3::serve(&directory);
        let script = format!(
            "export AWS_ENDPOINT_URL={endpoint} KEY={key} SECRET={secret}\ncat > s.sh <<'EOS'\n{TOOLS}\n{script}\nEOS\nunshare -m bash s.sh"
        );
        check_in(&sandbox, &script);
    }
}

macro_rules! replicas {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { with_replicas($script); })* };
}

replicas! {
    an_upload_goes_on_at_any_replica_and_every_one_sees_the_end: r#"
        replicas; head -c 30000000 /dev/urandom >blob; S=$(sum blob)
        L=$(head_of -X POST $A/v2/a/b/blobs/uploads/ | sed -n 's/^location: //p')
        # Pieces smaller and larger than a part of S3, each to another one; the one with the last word was not there before.
        at=0; for piece in 1000000 100 12000000 8388608 3000000; do
            set -- $B $C $A; n=$(((n + 1) % 3)); [ $n = 0 ] && to=$A || { [ $n = 1 ] && to=$B || to=$C; }
            tail -c +$((at + 1)) blob | head -c $piece >piece; is 202 -X PATCH -H "Content-Range: $at-$((at + piece - 1))" -H 'Content-Type: application/octet-stream' --data-binary @piece $to$L
            at=$((at + piece)); head_of $A$L | grep -q "^range: 0-$((at - 1))$" || exit 2
        done
        is 416 -X PATCH -H 'Content-Range: 5-9' --data-binary 12345 $B$L
        # Killed in the middle of a piece: what was kept is told, and somebody else goes on.
        tail -c +$((at + 1)) blob >rest; curl -s -o /dev/null --limit-rate 2M -X PATCH -H 'Content-Type: application/octet-stream' --data-binary @rest $A$L & sleep .5; kill -9 $PA; wait $!
        for i in $(seq 100); do at=$(head_of $B$L | sed -n 's/^range: 0-//p'); [ -n "$at" ] && break; sleep .3; done; at=$((at + 1))
        tail -c +$((at + 1)) blob >rest; is 201 -X PUT --data-binary @rest "$C$L?digest=$S"
        for at in $B $C; do curl -s $at/v2/a/b/blobs/$S | cmp - blob || exit 3; done
        [ "$(curl -s -r 8388600-8388620 $B/v2/a/b/blobs/$S | sha256sum)" = "$(tail -c +8388601 blob | head -c 21 | sha256sum)" ] || exit 4
        is 404 $B$L; is 400 -X POST --data-binary @piece "$B/v2/a/b/blobs/uploads/?digest=$S"; grep -q DIGEST_INVALID answer || exit 5
        # The same bytes again, and by another hash than they were begun with: kept once each.
        is 201 -X POST --data-binary @blob "$B/v2/a/c/blobs/uploads/?digest=$S"; L=$(head_of -X POST $B/v2/a/c/blobs/uploads/ | sed -n 's/^location: //p'); is 201 -X PUT --data-binary @blob "$C$L?digest=sha512:$(sha512sum <blob | cut -d' ' -f1)"
        [ "$(find s3/images/team/blobs -type f | wc -l)" = 2 ]"#;

    users_tokens_and_members_are_the_same_everywhere_at_once: r#"
        replicas; caisson tag busybox $R/x/y:1; caisson push -q $R/x/y:1 || exit 2
        csrf() { curl -s -b $1 -c $1 $2 | sed -n 's/.*name="csrf" value="\([^"]*\)".*/\1/p' | head -n 1; }
        post() { local jar=$1 at=$2 path=$3; shift 3; curl -s -b $jar -c $jar -o page -w '%{http_code}' --data-urlencode csrf="$(csrf $jar $at/signin)" "$@" $at$path; }
        # Two first users at once: one administrator.
        for who in alice bob; do for at in $A $B; do post $who.$RANDOM.jar $at /signup -d user=$who -d password=secret-of-$who >$who.${at##*.} & jobs="$jobs $!"; done; done; for j in $jobs; do wait $j; done
        [ "$(cat alice.* | grep -o 303 | wc -l)" -ge 1 ] || exit 3
        [ "$(runuser -u postgres -- psql -h $D -At -c 'select count(*), sum(is_admin) from users')" = '2|1' ] || exit 4
        [ "$(post a.jar $A /signin -d user=alice -d password=secret-of-alice)" = 303 ] && [ "$(post a.jar $A /new -d name=app -d visibility=private)" = 303 ] || exit 5
        [ "$(post c.jar $B /signup -d user=carol -d password=secret-of-carol)" = 303 ] || exit 6
        member() { [ "$(post a.jar $A /members/alice/app -d user=carol $1)" = 303 ] || exit 7; }
        for i in 1 2 3; do
            member '-d role=write'; is 202 -u carol:secret-of-carol -X POST $B/v2/alice/app/blobs/uploads/; is 202 -u carol:secret-of-carol -X POST $C/v2/alice/app/blobs/uploads/
            member ''; is 404 -u carol:secret-of-carol $B/v2/alice/app/tags/list; is 404 -u carol:secret-of-carol $C/v2/alice/app/tags/list
        done
        # A token of one is good at another; a changed password is changed everywhere.
        T=$(curl -s -u alice:secret-of-alice "$A/token?scope=repository:alice/app:pull,push" | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p'); is 202 -H "Authorization: Bearer $T" -X POST $C/v2/alice/app/blobs/uploads/
        is 200 -u alice:secret-of-alice $C/v2/; [ "$(post a2.jar $B /signin -d user=alice -d password=secret-of-alice)" = 303 ] && [ "$(post a2.jar $B /account/password -d old=secret-of-alice -d new=another-secret)" = 303 ] || exit 8
        is 401 -u alice:secret-of-alice $C/v2/; is 200 -u alice:another-secret $C/v2/"#;

    bucket_and_database_are_reached_by_tls_with_an_authority_of_ones_own: r#"
        command -v openssl >/dev/null && command -v socat >/dev/null || { echo "skipped: no openssl or socat"; exit 0; }
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ours 2>/dev/null; openssl req -x509 -newkey rsa:2048 -nodes -keyout x.key -out other.crt -days 2 -subj /CN=other 2>/dev/null
        openssl req -newkey rsa:2048 -nodes -keyout s.key -out s.csr -subj /CN=s 2>/dev/null; printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >ext; openssl x509 -req -in s.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile ext -days 2 -out s.crt 2>/dev/null || exit 2
        cp s.key s.crt $D; chown postgres: $D/s.*; chmod 600 $D/s.key; PG=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
        echo 'hostssl all all 127.0.0.1/32 trust' >$D/data/pg_hba.conf; ( cd / && runuser -u postgres -- $BIN/pg_ctl -D $D/data -l $D/log -w -m fast -o "-c listen_addresses=127.0.0.1 -p $PG -k $D -c ssl=on -c ssl_cert_file=$D/s.crt -c ssl_key_file=$D/s.key" restart >/dev/null ) || { cat $D/log; exit 3; }
        socat OPENSSL-LISTEN:0,bind=127.0.0.1,cert=s.crt,key=s.key,verify=0,fork,reuseaddr TCP:${AWS_ENDPOINT_URL#http://} 2>socat.log & pids="$pids $!"
        for i in $(seq 100); do S3=$(ss -Hltnp | grep "pid=$!," | sed -n 's/.*127.0.0.1:\([0-9]*\) .*/\1/p'); [ -n "$S3" ] && break; sleep .05; done; [ -n "$S3" ] || { cat socat.log; exit 4; }
        export AWS_ENDPOINT_URL=https://localhost:$S3; URL=postgres://postgres@127.0.0.1:$PG/postgres
        refused() { DB=$1; timeout 30 caisson registry serve --listen 127.0.0.1:0 --root none --storage s3://images/team --database "$DB" >r.out 2>&1; [ $? = 1 ] && grep -q "$2" r.out || { echo "$DB"; cat r.out; exit 5; }; }
        refused "$URL?sslmode=disable" 'no encryption'; refused "$URL?sslmode=verify-full" UnknownIssuer; refused "$URL?sslmode=verify-full&sslrootcert=other.crt" UnknownIssuer; refused "postgres://postgres@localhost:$PG/postgres?sslmode=verify-full&sslrootcert=ca.crt" 'needs the host as an address'
        DB="$URL?sslmode=verify-full&sslrootcert=$PWD/ca.crt"; printf abc >small; E=$(sum small)
        # An authority that nobody told us of is not believed, and nothing is acknowledged.
        start a 127.0.0.1 0; PA=$last; A=$(sed -n 's|.*its page at ||p' a.out); is 500 -X POST --data-binary @small "$A/v2/a/b/blobs/uploads/?digest=$E"; grep -q UnknownIssuer a.log && is 404 $A/v2/a/b/blobs/$E; kill $PA
        export SSL_CERT_FILE=$PWD/ca.crt; start b 127.0.0.1 0; A=$(sed -n 's|.*its page at ||p' b.out); head -c 12000000 /dev/urandom >blob
        for f in small blob; do is 201 -X POST --data-binary @$f "$A/v2/a/b/blobs/uploads/?digest=$(sum $f)"; curl -s $A/v2/a/b/blobs/$(sum $f) | cmp - $f || exit 6; done
        [ "$(find s3/images/team/blobs -type f | wc -l)" = 2 ]"#;

    one_of_three_is_killed_under_load_and_no_pull_fails: r#"
        replicas; head -c 24000000 /dev/urandom >f; for n in 1 2 3; do echo $n >n; tar -cf t.tar f n; caisson import t.tar $R/load/i$n:1 >/dev/null; caisson push -q $R/load/i$n:1 >/dev/null || exit 2; done
        worker() {
            export CAISSON_ROOT=$PWD/w$1 CAISSON_RUN_ROOT=$PWD/w$1.run; local count=0
            while ! [ -e enough ]; do
                n=$((count % 3 + 1)); caisson pull -q $R/load/i$n:1 >/dev/null 2>w$1.err || { cp w$1.err failed.$1; return; }
                caisson rmi -f $R/load/i$n:1 >/dev/null; count=$((count + 1)); echo $count >w$1.count
            done
        }
        pusher() { while ! [ -e enough ]; do echo $RANDOM$RANDOM >n; tar -cf p.tar n; caisson import p.tar $R/load/p:1 >/dev/null; caisson push -q $R/load/p:1 >/dev/null 2>p.err || { cp p.err failed.push; return; }; done; }
        for w in 1 2 3; do worker $w & jobs="$jobs $!"; done; pusher & jobs="$jobs $!"
        total() { cat w?.count 2>/dev/null | awk '{s += $1} END {print s + 0}'; }
        until [ $(total) -ge 3 ] || ls failed.* >/dev/null 2>&1; do sleep .1; done; kill -9 $PA
        before=$(total); until [ $(total) -ge $((before + 6)) ] || ls failed.* >/dev/null 2>&1; do sleep .1; done
        # It comes back, and another one goes.
        start a 127.0.0.2 $PORT; kill -9 $PB; before=$(total); until [ $(total) -ge $((before + 6)) ] || ls failed.* >/dev/null 2>&1; do sleep .1; done
        touch enough; for j in $jobs; do wait $j; done
        ls failed.* 2>/dev/null && { cat failed.*; tail -n 3 ?.log; exit 3; }
        echo "$(total) pulls"; ! grep -h '"event":"trouble"' ?.log"#;
}
