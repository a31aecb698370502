//! Real services in containers of a Debian root file system, talked to by their own clients over
//! published ports and by name: nginx, Redis, PostgreSQL, MariaDB.

use testkit::{Sandbox, can_run, check_in};

/// The packages of the image `svc`.
const PACKAGES: &str = "nginx-light,redis-server,postgresql,mariadb-server,curl";

/// A host that is 192.0.2.2 on its uplink, with the image `svc`.
fn with_services(script: &str) {
    const HOST: &str = r#"
        ip link set lo up; ip link add up0 type veth peer name far0; ip addr add 192.0.2.2/24 dev up0; ip link set up0 up; ip link set far0 up; ip route add default via 192.0.2.1
        waits() { for i in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep .2; done; echo "never: $*"; "$@"; false; }
        caisson network create back >/dev/null; client() { caisson run --rm --network back svc "$@"; }; onhost() { caisson run --rm --network host svc "$@"; }"#;
    if can_run() {
        let archive = testkit::debian(PACKAGES, "");
        let archive = archive.display();
        check_in(
            &Sandbox::new(),
            &format!(
                "caisson import {archive} svc >/dev/null || exit 99\ncat > s.sh <<'EOS'\n{HOST}\n{script}\nEOS\nunshare -n bash s.sh"
            ),
        );
    }
}

macro_rules! services {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { with_services($script); })* };
}

services! {
    nginx_and_redis_serve_by_port_and_by_name: r#"
        caisson run -d --name web --network back -p 8080:80 svc nginx -g 'daemon off;' >/dev/null
        waits onhost curl -sf http://127.0.0.1:8080 || exit 2
        for url in http://127.0.0.1:8080 http://192.0.2.2:8080 'http://[::1]:8080'; do onhost curl -sf $url | grep -q 'Welcome to nginx' || exit 3; done
        client curl -sf http://web | grep -q 'Welcome to nginx' || exit 4
        redis() { caisson run -d --name cache --network back -p 127.0.0.1:6379:6379 -v cache:/var/lib/redis -u redis svc redis-server --bind 0.0.0.0 --protected-mode no --appendonly yes --appendfsync always --dir /var/lib/redis >/dev/null; }
        redis; waits client redis-cli -h cache ping || exit 5
        [ "$(client redis-cli -h cache set colour blue)" = OK ] && [ "$(onhost redis-cli -h 127.0.0.1 get colour)" = blue ] || exit 6
        caisson kill cache >/dev/null && caisson rm cache >/dev/null || exit 7; redis; waits client redis-cli -h cache ping && [ "$(client redis-cli -h cache get colour)" = blue ]"#;
    mariadb_keeps_its_data_in_a_volume: r#"
        db() { caisson run -d --name db --network back -p 3306:3306 -v mysql:/var/lib/mysql svc sh -c 'mkdir -p /run/mysqld; chown mysql /run/mysqld; exec mariadbd --user=mysql --bind-address=0.0.0.0' >/dev/null; }
        db; waits caisson exec db mariadb -e 'select 1' || exit 2
        caisson exec db mariadb -e "create user 'u'@'%' identified by 'p'; grant all on *.* to 'u'@'%'; create database shop; create table shop.t (v int); insert into shop.t values (42)" || exit 3
        [ "$(client mariadb -h db -uu -pp -Ne 'select v from shop.t')" = 42 ] && [ "$(onhost mariadb -h 127.0.0.1 -uu -pp -Ne 'select v from shop.t')" = 42 ] || exit 4
        caisson stop db >/dev/null; caisson rm db >/dev/null; db; waits client mariadb -h db -uu -pp -e 'select 1' && [ "$(client mariadb -h db -uu -pp -Ne 'select v from shop.t')" = 42 ]"#;
    postgresql_loses_no_acknowledged_commit_and_comes_back_from_a_snapshot: r#"
        B=/usr/lib/postgresql/15/bin; D=/var/lib/postgresql/data
        caisson run --rm -v pg:$D svc sh -c "chown postgres: $D; chmod 700 $D" && caisson run --rm -u postgres -v pg:$D svc sh -c "$B/initdb -A trust -D $D >/dev/null; echo 'host all all all trust' >> $D/pg_hba.conf" || exit 2
        caisson run -d --name pg --network back -p 5432:5432 -v pg:$D -u postgres --shm-size 128m svc $B/postgres -D $D -c 'listen_addresses=*' -c unix_socket_directories=/tmp >/dev/null
        sql() { client psql -h pg -U postgres -At -c "$1"; }
        ready() { waits client psql -h pg -U postgres -c 'select 1'; }
        ready && sql 'create table t (v int primary key)' && [ "$(onhost psql -h 127.0.0.1 -U postgres -At -c 'select 1')" = 1 ] || exit 3
        # Each number is printed when its commit was acknowledged.
        writes() { seq $1 $(($1 + 99999)) | sed 's/.*/insert into t values (&);\n\\echo &/' | caisson run --rm -i --network back svc psql -h pg -U postgres -q -v ON_ERROR_STOP=1; }
        writes 1 > acknowledged 2>/dev/null & waits test -s acknowledged; waits sh -c '[ $(wc -l < acknowledged) -gt 500 ]' || exit 4
        [ "$(caisson volume snapshot pg hot)" = hot ] && N1=$(wc -l < acknowledged) || exit 5
        waits sh -c "[ \$(wc -l < acknowledged) -gt $((N1 + 200)) ]"; caisson kill -s KILL pg >/dev/null; wait; N2=$(tail -1 acknowledged); [ $N2 -gt $N1 ] || exit 6
        caisson start pg >/dev/null; ready; have=$(sql "select count(*) from t where v <= $N2"); echo "$N2 acknowledged, $have there"; [ "$have" = $N2 ] || exit 7
        caisson stop pg >/dev/null; caisson volume restore pg hot && caisson start pg >/dev/null; ready || exit 8
        count=$(sql 'select count(*) from t'); echo "$count in the snapshot"; [ $count -gt 400 ] && [ $count -lt $have ] && sql 'insert into t values (-1)' && [ "$(sql 'select count(*) from t where v = -1')" = 1 ]"#;
}
