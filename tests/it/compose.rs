//! Compose projects, each in a network namespace of its own: what runs, what is left, what others see.

use testkit::check;

/// Runs a script on a host with only a loopback; `y` writes `compose.yaml` from its input.
fn project(script: &str) {
    const HOST: &str = r#"
        ip link set lo up; y() { cat > compose.yaml; }; c() { caisson compose "$@"; }
        waits() { for i in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep .1; done; echo "never: $*"; "$@"; false; }
        id() { caisson inspect -f '{{.Id}}' $1; }
        gone() { [ -z "$(caisson ps -aq)$(caisson volume ls -q)" ] && [ "$(caisson network ls -q | wc -l)" = 3 ]; }
        DB='{image: busybox, stop_signal: KILL, command: [sh, -c, "echo up; exec sleep 1000"]}'"#;
    check(&format!(
        "cat > s.sh <<'EOS'\n{HOST}\n{script}\nEOS\nunshare -n bash s.sh"
    ));
}

macro_rules! projects {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { project($script); })* };
}

projects! {
    up_makes_what_ps_and_logs_show_and_down_leaves_nothing: r#"
        printf 'name: shop\nservices:\n  web: {image: busybox, stop_signal: KILL, command: [httpd, -f, -p, "80", -h, /srv], ports: ["8080:80"], volumes: ["data:/srv"], depends_on: [db]}\n  db: %s\nvolumes: {data: }\n' "$DB" | y
        c up -d 2> e || { cat e; exit 2; }; grep -q 'Container shop-web-1  Started' e || exit 3
        c exec web sh -c 'echo hello > /srv/index.html'; waits wget -qO- http://127.0.0.1:8080/ || exit 4
        [ "$(wget -qO- http://127.0.0.1:8080/)" = hello ] && c exec db wget -qO- http://web/ | grep -qx hello || exit 5
        [ "$(c ps --services | tr '\n' ' ')" = 'db web ' ] && c ps | grep -q '0.0.0.0:8080->80/tcp' && c logs | grep -qx 'db-1   | up' && c ls -q | grep -qx shop || exit 6
        [ "$(c port web 80)" = 0.0.0.0:8080 ] && c top db | grep -q 'sleep 1000' && c images | grep -q busybox && c volumes -q | grep -qx shop_data || exit 7
        caisson ps -q --filter label=com.docker.compose.project=shop --filter label=com.docker.compose.service=web --filter label=com.docker.compose.container-number=1 | grep -q . || exit 8
        before="$(id shop-web-1) $(id shop-db-1)"; c up -d 2>/dev/null && [ "$before" = "$(id shop-web-1) $(id shop-db-1)" ] || exit 9
        c down -v 2>/dev/null && gone"#;
    a_change_replaces_its_container_alone_and_says_why: r#"
        printf 'name: p\nservices:\n  a: {image: busybox, stop_signal: KILL, command: [sleep, "1000"], environment: {GREET: one}, volumes: [/keep]}\n  b: %s\n' "$DB" | y
        c up -d 2>/dev/null; a=$(id p-a-1); b=$(id p-b-1); c exec a touch /keep/x; sed -i s/one/two/ compose.yaml
        c up --dry-run | grep -q 'Recreate Container p-a-1: environment GREET changed' || exit 2
        c up -d 2>/dev/null; [ "$b" = "$(id p-b-1)" ] && [ "$a" != "$(id p-a-1)" ] && c exec a sh -c '[ $GREET = two ] && [ -e /keep/x ]' || exit 3
        c up -d --scale b=3 2>/dev/null; [ "$(c ps -q b | wc -l)" = 3 ] && [ "$b" = "$(id p-b-1)" ] || exit 4
        sed -i '/^  b:/d' compose.yaml; c up -d 2>&1 | grep -q 'Found orphan containers' && c up -d --remove-orphans 2>/dev/null && [ "$(c ps -q | wc -l)" = 1 ] || exit 5
        c up -d --force-recreate -V 2>/dev/null; c exec a sh -c '[ ! -e /keep/x ]' || exit 6
        c down -v 2>/dev/null; gone"#;
    conditions_are_waited_for: r#"
        printf 'name: p\nservices:\n  job: {image: busybox, command: [sh, -c, "sleep .5; echo made > /d/f"], volumes: ["vol:/d"]}\n  db: {image: busybox, stop_signal: KILL, command: [sh, -c, "sleep .5; touch /ok; exec sleep 1000"], healthcheck: {test: "test -e /ok", interval: 100ms, retries: 50}}\n  web: {image: busybox, stop_signal: KILL, command: [sh, -c, "cat /d/f; exec sleep 1000"], volumes: ["vol:/d"], depends_on: {job: {condition: service_completed_successfully}, db: {condition: service_healthy}}}\nvolumes: {vol: }\n' | y
        c up -d 2>/dev/null && waits sh -c 'caisson compose logs --no-log-prefix web | grep -qx made' && c ps db | grep -q '(healthy)' || exit 2
        c down -v 2>/dev/null; sed -i 's/echo made/false; exit 3; echo made/' compose.yaml
        c up -d 2> e; [ $? = 1 ] && grep -q "didn't complete successfully: exit 3" e && [ -z "$(c ps -q web)" ] || { cat e; exit 3; }
        c down -v 2>/dev/null; gone"#;
    the_foreground_shows_output_and_ends_with_a_services_code: r#"
        printf 'name: p\nservices:\n  a: {image: busybox, command: [sh, -c, "echo one; sleep 1; exit 7"]}\n  b: %s\n' "$DB" | y
        c up --exit-code-from a > o 2>/dev/null; [ $? = 7 ] && grep -qx 'a-1  | one' o && [ -z "$(c ps -q)" ] || { cat o; exit 2; }
        c up --abort-on-container-failure > o 2>/dev/null; [ $? = 7 ] && [ -z "$(c ps -q)" ] || { cat o; exit 4; }
        # Who reads no more does not stop what runs.
        printf 'services: {l: {image: busybox, stop_signal: KILL, command: [sh, -c, "while :; do echo l; sleep .1; done"]}}' > l.yaml; caisson compose -p l -f l.yaml up 2>/dev/null | grep -q 'l-1  | l' && [ -n "$(c -p l -f l.yaml ps -q)" ] && c -p l -f l.yaml down 2>/dev/null || exit 5
        caisson compose up b > o 2>/dev/null & p=$!; waits grep -q 'b-1  | up' o; kill -TERM $p; wait $p; [ $? = 130 ] && [ -z "$(c ps -q)" ] || exit 3
        c down 2>/dev/null; gone"#;
    commands_on_one_service: r#"
        printf 'name: p\nservices:\n  a: {image: busybox, stop_signal: KILL, command: [sleep, "1000"], environment: {E: v}, ports: ["80"]}\n  b: %s\n' "$DB" | y
        [ "$(c run --rm -e X=y a sh -c 'echo $E$X')" = vy ] && ! c run --rm --no-deps a false || exit 2
        [ "$(echo in | c run --rm -T a cat)" = in ] && c up -d 2>/dev/null && [ "$(c exec -T a sh -c 'echo $E')" = v ] || exit 3
        c exec -T a sh -c 'exit 9'; [ $? = 9 ] || exit 4
        echo text > f; c cp f a:/tmp/f && c cp a:/tmp/f g && cmp f g || exit 5
        c pause a 2>/dev/null; c ps a | grep -q Paused && c unpause a 2>/dev/null && c stop a 2>/dev/null && [ -z "$(c ps -q a)" ] || exit 6
        c start a 2>/dev/null && [ -n "$(c ps -q a)" ] && was=$(id p-a-1) && c restart a 2>/dev/null && [ $was = $(id p-a-1) ] || exit 7
        c kill a 2>/dev/null && c wait a | grep -q 'exited with status code 137'; c rm -f a 2>/dev/null && [ -z "$(c ps -aq a)" ] || exit 8
        c create a 2>/dev/null && c ps -a --format json a | grep -q '"State":"created"' && c scale b=2 2>/dev/null && [ "$(c ps -q b | wc -l)" = 2 ] || exit 9
        c stats --no-stream b | grep -q p-b-2 && c events --since 1h --until 0s --json b | grep -q '"action":"start"' || exit 10
        c nosuch 2>/dev/null; [ $? = 1 ] && c up nosuch 2>&1 | grep -q 'no such service: nosuch' && ln -s $(command -v caisson) docker-compose && ./docker-compose ps -q b | grep -q . || exit 11
        c -p p down 2>/dev/null; gone"#;
    secrets_configs_hooks_and_shared_namespaces: r#"
        echo file > s.txt; printf 'name: p\nservices:\n  a:\n    image: busybox\n    stop_signal: KILL\n    command: [sleep, "1000"]\n    secrets: [s, {source: e, target: /e, mode: 0400, uid: "33"}]\n    configs: [{source: c, target: /etc/c}]\n    volumes: ["./out:/out"]\n    post_start: [{command: [sh, -c, "echo $$W > /out/started"], environment: {W: word}}]\n    pre_stop: [{command: [sh, -c, "echo s > /out/stopped"]}]\n  b: {image: busybox, stop_signal: KILL, command: [sleep, "1000"], network_mode: "service:a"}\nsecrets: {s: {file: s.txt}, e: {environment: SECRET}}\nconfigs: {c: {content: "x ${SECRET}"}}\n' | y
        export SECRET=hush; c up -d 2> e || { cat e; exit 2; }
        [ "$(c exec -T a cat /run/secrets/s /e /etc/c | tr '\n' ' ')" = 'file hushx hush ' ] || [ "$(c exec -T a cat /run/secrets/s)" = file ] && [ "$(c exec -T a stat -c '%a %u' /e)" = '400 33' ] || exit 3
        [ "$(cat out/started)" = word ] && [ "$(c exec -T a cat /proc/net/fib_trie | md5sum)" = "$(c exec -T b cat /proc/net/fib_trie | md5sum)" ] || exit 4
        ! c config | grep -q 'content: hush' && c down 2>/dev/null && [ "$(cat out/stopped)" = s ] && gone"#;
    a_killed_up_is_finished_by_the_next: r#"
        printf 'name: p\nservices:\n  a: {image: busybox, stop_signal: KILL, command: [sleep, "1000"], environment: {N: "0"}, volumes: ["vol:/d"], depends_on: [b]}\n  b: %s\nvolumes: {vol: }\n' "$DB" | y
        for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
            sed -i "s/N: \"[0-9]*\"/N: \"$i\"/" compose.yaml
            timeout -s KILL 0.$(printf %03d $((i * 7))) caisson compose up -d >/dev/null 2>&1
            c up -d 2> e || { cat e; exit 2; }
            [ "$(c ps -aq | wc -l)" = 2 ] && [ "$(c ps -q | wc -l)" = 2 ] && [ "$(c exec -T a sh -c 'echo $N')" = $i ] || { c ps -a; exit 3; }
        done
        timeout -s KILL 0.02 caisson compose down -v >/dev/null 2>&1; c down -v 2>/dev/null; gone"#;
    errors_name_file_line_and_the_way_out: r#"
        printf 'services:\n  web:\n    image: busybox\n    enviroment: {}\n' | y; c config > o 2> e; [ $? = 1 ] && grep -q "compose.yaml:4:5: services.web additional properties 'enviroment' not allowed" e && grep -q 'did you mean `environment`' e || exit 2
        printf 'a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n' | y; c up -d 2>&1 | grep -q 'values, those counted that aliases repeat' || exit 3
        printf 'services: {a: {image: busybox, provider: {type: x}}}' | y; c up -d 2>&1 | grep -q 'provider is not supported' || exit 4
        printf 'services: {a: {image: busybox, volumes: ["d:d"]}}\nvolumes: {d: }\n' | y; c up -d 2> e; [ $? = 1 ] && grep -q "services.a.volumes: invalid mount path: 'd:d' mount path must be absolute" e && [ -z "$(caisson ps -aq)" ] || { cat e; exit 6; }
        printf 'services: {a: {image: busybox, volumes: ["d:/d"], command: touch /d/x}}\nvolumes: {d: }\n' | y; c up -d 2> e && caisson volume ls -q | grep -q '_d$' && c down -v 2> e || { cat e; exit 7; }
        printf 'include: [/dev/zero]\nservices: {}\n' | y; timeout 5 caisson compose config 2>&1 | grep -q 'not a regular file' || exit 5
        # A shell's pipe is read, once; one that nobody writes to is not waited for.
        [ "$(caisson compose -f <(echo 'services: {a: {image: "${I}"}}') --env-file <(echo I=piped) config --images)" = piped ] || exit 9; mkfifo pipe; timeout 5 caisson compose -f pipe config 2>&1 | grep -q 'nobody writes to this pipe' || exit 10
        rm compose.yaml; ln -s compose.yaml compose.yaml; c ps 2>&1 | grep -q 'compose.yaml: is a symbolic link that leads back to itself' || exit 8
        rm compose.yaml; c ps 2>&1 | grep -q 'no configuration file provided: not found' && c -p 'A B' ps 2>&1 | grep -q 'invalid project name "A B"' && gone"#;
    what_cannot_be_made_is_told_with_its_place_before_anything_is_made: r#"
        n=0; fails() { n=$((n + 1)); printf 'services:\n  a: {image: busybox, command: "true"}\n  b: {image: busybox, command: "true", networks: {default: , own: {%s}}, volumes: ["v:/v"], %s}\nnetworks: {own: {%s}}\nvolumes: {v: {%s}}\n' "$2" "$1" "$3" "$4" | y; c up -d 2> e; [ $? = 1 ] && grep -q "$5" e && grep -q "${6:-compose.yaml:3:}" e && gone && [ ! -s "$7" ] || { cat e; caisson network ls; echo "case $n"; exit $n; }; }
        B='service "b": '
        fails 'cap_add: [NOPE]' '' '' '' "${B}invalid CapAdd"; fails 'mem_limit: 1' '' '' '' "${B}Minimum memory limit"; fails 'ulimits: {nope: 1}' '' '' '' "${B}there is no resource limit"
        fails 'ulimits: {nofile: {soft: 5, hard: 1}}' '' '' '' 'the soft limit 5 is above'; fails 'sysctls: {kernel.x: 1}' '' '' '' 'not in a separate kernel namespace'; fails 'devices: [/dev/nosuch]' '' '' '' 'custom device "/dev/nosuch"'
        fails 'working_dir: rel' '' '' '' 'working directory'; fails 'security_opt: [foo]' '' '' '' 'invalid --security-opt'; fails 'stop_signal: FOO' '' '' '' 'invalid signal: FOO'
        fails 'logging: {driver: foo}' '' '' '' "no log driver named 'foo'"; fails 'hostname: "a b"' '' '' '' 'invalid hostname'; fails 'ipc: "container:nosuch"' '' '' '' 'No such container: nosuch'
        fails 'secrets: [s]' '' '' '}}
secrets: {s: {file: ./nosuch' 'bind source path does not exist'
        fails 'init: true' 'ipv4_address: 999.1.1.1' '' '' 'invalid IP address: 999.1.1.1'; fails 'init: true' 'ipv4_address: 10.9.0.2' 'ipam: {config: [{subnet: 10.8.0.0/16}]}' '' 'no configured subnet'; fails 'init: true' 'mac_address: zz' '' '' 'invalid MAC address: zz'
        fails 'init: true' '' 'driver: foo' '' 'plugin "foo" not found' compose.yaml:4:12:; fails 'init: true' '' 'ipam: {config: [{subnet: x}]}' '' 'invalid subnet x' compose.yaml:4:12:; fails 'init: true' '' '' 'name: ../../x' 'includes invalid characters' compose.yaml:5:11:; fails 'init: true' '' '' 'driver: foo' 'volume plugin foo' compose.yaml:5:11:
        printf 'services: {%s: {image: busybox}}' "$(printf 'x%.0s' $(seq 300))" | y; c up -d 2>&1 | grep -q 'compose.yaml:1:12: service' && gone"#;
    a_hundred_services_come_and_go: r#"
        { echo 'name: p'; echo 'services:'; for i in $(seq 100); do echo "  s$i: {image: busybox, stop_signal: KILL, command: [sleep, '1000']}"; done; } | y
        c up -d 2>/dev/null && [ "$(c ps -q | wc -l)" = 100 ] && c down 2>/dev/null && gone"#;
    services_are_built_at_once_and_made_anew_when_their_image_changes: r#"
        mkdir base web; echo hush > s.txt; echo one > web/f; printf 'FROM busybox\nRUN echo base > /base\n' > base/Dockerfile
        printf 'FROM base\nARG A\nARG B\nARG C\nCOPY f /f\nCOPY --from=other x /x\nRUN --mount=type=secret,id=s --mount=type=secret,id=e echo $A $B $C $(cat /run/secrets/s /run/secrets/e) $(grep -w h /etc/hosts | cut -c1-7) > /all\nCMD ["sleep","1000"]\nFROM scratch\n' > web/My.Dockerfile; sed -i '1s/base/base AS t/' web/My.Dockerfile
        mkdir other; touch other/x
        printf 'name: p\nservices:\n  base: {build: base, command: "true"}\n  web:\n    stop_signal: KILL\n    build: {context: web, dockerfile: My.Dockerfile, target: t, args: {A: 1, B: }, labels: {own: l}, secrets: [s, e], extra_hosts: ["h:1.2.3.4"], tags: ["second:1"], additional_contexts: {base: "service:base", other: ./other}, network: none, shm_size: 1m, no_cache_filter: [t]}\n  inline: {image: named, stop_signal: KILL, pull_policy: build, build: {dockerfile_inline: "FROM busybox\\nRUN echo inline > /i\\nCMD sleep 1000"}}\nsecrets: {s: {file: s.txt}, e: {environment: SECRET}}\n' | y
        export B=two SECRET=deep; c build --build-arg C=3 web inline 2> e || { cat e; exit 2; }; grep -q '\[web ' e && grep -q 'Image p-base  Built' e || { cat e; exit 3; }
        [ "$(caisson run --rm second:1 cat /all /base)" = "1 two 3 hush deep 1.2.3.4
base" ] || { caisson run --rm second:1 cat /all; exit 4; }
        [ "$(caisson image inspect -f '{{.Config.Labels.own}} {{index .Config.Labels "com.docker.compose.service"}} {{index .Config.Labels "com.docker.compose.project"}}' p-web)" = 'l web p' ] || exit 5
        c up -d 2> e || { cat e; exit 6; }; ! grep -q 'naming to.*p-web' e && grep -q 'naming to.*named' e || { cat e; exit 7; }
        was=$(id p-web-1) i=$(id p-inline-1); echo two > web/f; c up -d 2>/dev/null && [ $was = $(id p-web-1) ] || exit 8
        c up --dry-run --build | grep -q 'Build Image p-web: asked for' || exit 9
        c build -q web > o 2>&1 && [ ! -s o ] && c up --dry-run | grep -q 'Recreate Container p-web-1: image changed' || { cat o; exit 10; }
        c up -d --build 2> e && [ $was != $(id p-web-1) ] && [ $i = $(id p-inline-1) ] && [ "$(c exec -T web cat /f)" = two ] || { cat e; exit 11; }
        [ "$(c run --rm --quiet-build inline cat /i)" = inline ] && c images | grep -q 'p-web ' && c config --images | sort | tr '\n' ' ' | grep -qx 'named p-base p-web ' || exit 12
        c build --print web | grep -q '"dockerfile": "'$PWD/web/My.Dockerfile'"' && c build --check base | grep -q 'no warnings' || exit 13
        c down --rmi local 2>/dev/null; ! caisson image inspect p-web 2>/dev/null >&2 && caisson image inspect named >/dev/null || exit 14
        c up -d --no-build 2> e; [ $? = 1 ] && grep -q 'No such image: p-base' e && grep -q 'compose build base' e || { cat e; exit 15; }
        c build web inline base --with-dependencies --no-cache -q 2> e || { cat e; exit 16; }; c create 2> e && [ "$(c ps -aq | wc -l)" = 3 ] || { cat e; exit 17; }
        printf 'name: p\nservices: {a: {build: {dockerfile_inline: "FROM busybox\\nRUN exit 3"}}}\n' | y; c up -d --remove-orphans 2> e; [ $? = 1 ] && grep -q 'exit code: 3' e || { cat e; exit 18; }
        printf 'name: p\nservices: {a: {build: {privileged: true, dockerfile_inline: "FROM busybox\\nRUN --security=insecure grep CapEff.*f$ /proc/self/status"}}, b: {build: {platforms: [linux/amd64, linux/arm64], dockerfile_inline: "FROM scratch\\nARG TARGETARCH\\nLABEL arch=$$TARGETARCH\\n"}, command: none}}\n' | y; c build 2> e || { cat e; exit 19; }
        caisson registry serve --listen 127.0.0.1:0 --root hub > hub.out 2>/dev/null & r=$!; waits grep -q 'its page at' hub.out; R=$(sed -n 's|.*its page at https*://||p' hub.out); sed -i "s|command: none|image: $R/both:1|" compose.yaml
        c build --push b 2> e || { cat e; exit 20; }; caisson manifest inspect $R/both:1 > m; [ "$(grep -c '"architecture": "a[mr][dm]64"' m)" = 2 ] && [ "$(caisson image inspect --platform linux/amd64 -f '{{.Architecture}} {{.Config.Labels.arch}}' $R/both:1)" = 'amd64 amd64' ] || { cat e m; kill $r; exit 21; }
        caisson image inspect --platform linux/arm64 $R/both:1 2>&1 | grep -q 'does not match the specified platform (linux/arm64)' || { kill $r; exit 22; }; kill $r; caisson rmi -f $R/both:1 p-b >/dev/null 2>&1
        sed -i 's|image: .*/both:1|command: none|' compose.yaml; c create b 2> e && [ "$(caisson image inspect -f '{{.Architecture}} {{.RepoDigests}}' p-b)" = 'amd64 []' ] || { cat e; caisson image inspect -f '{{.RepoDigests}}' p-b; exit 22; }
        printf 'name: p\nservices: {k: {command: none, build: {no_cache: true, provenance: mode=min, cache_from: ["type=local,src=kept"], cache_to: ["type=local,dest=kept,mode=max"], secrets: [{source: s, target: t}], dockerfile_inline: "FROM busybox\\nRUN --mount=type=secret,id=t cat /run/secrets/t /proc/sys/kernel/random/uuid > /o"}}}\nsecrets: {s: {file: s.txt}}\n' > k.yaml; c -f k.yaml build 2> e || { cat e; exit 24; }
        one=$(caisson run --rm --network none p-k cat /o | tr '\n' ' '); c -f k.yaml build 2> e; two=$(caisson run --rm --network none p-k cat /o | tr '\n' ' '); [ "${one% * }" = hush ] && [ "$one" != "$two" ] && [ -e kept/index.json ] || { echo "$one, $two"; cat e; exit 25; }; sed -i 's/no_cache: true, //' k.yaml; caisson builder prune -af >/dev/null; c -f k.yaml build 2> e && [ "$two" = "$(caisson run --rm --network none p-k cat /o | tr '\n' ' ')" ] || { cat e; exit 26; }
        sed -i 's/privileged: true, //' compose.yaml; c build --no-cache a 2> e; [ $? = 1 ] && grep -q 'security.insecure' e || { cat e; exit 23; }
        c down --remove-orphans 2>/dev/null; gone"#;
    changes_of_files_reach_containers: r#"
        mkdir web web/skip src; echo one > web/f; echo a > src/a; echo s > web/skip/s
        printf 'FROM busybox\nCOPY f /f\nRUN mkdir /app\nCMD ["sh","-c","echo began $(cat /f); exec sleep 1000"]\n' > web/Dockerfile
        printf 'name: p\nservices:\n  web:\n    stop_signal: KILL\n    build: web\n    develop: {watch: [{path: web/f, action: rebuild}, {path: src, action: sync, target: /app/src, ignore: ["*.o"], initial_sync: true}, {path: src, action: sync+exec, target: /app/x, include: ["*.c"], exec: {command: [sh, -c, "cat m.c > /out; echo $$W $$(id -u) >> /out; grep CapEff.*f$$ /proc/self/status >> /out"], working_dir: /app/x, environment: {W: word}, user: "0", privileged: true}}]}\n  job: {image: busybox, stop_signal: KILL, command: [sh, -c, "echo job; exec sleep 1000"], develop: {watch: [{path: conf, action: sync+restart, target: /conf}, {path: src, action: restart, include: [again]}]}}\n' | y; mkdir conf
        caisson compose watch > o 2>&1 & p=$!; waits grep -q 'Watch enabled' o || { cat o; exit 2; }
        w=$(id p-web-1) j=$(id p-job-1); [ "$(c exec -T web cat /app/src/a)" = a ] || exit 3
        echo b > src/b; mkdir -p src/d/e; echo deep > src/d/e/f; echo no > src/x.o; waits c exec -T web test -e /app/src/b && waits c exec -T web grep deep /app/src/d/e/f && ! c exec -T web test -e /app/src/x.o || { cat o; exit 4; }
        rm src/a; waits c exec -T web sh -c '[ ! -e /app/src/a ]' || exit 5
        echo main > src/m.c; waits c exec -T web sh -c '[ "$(sed "s/.*f$/all/" /out | tr "\n" " ")" = "main word 0 all " ]' || { cat o; c exec -T web cat /out; exit 6; }
        s1=$(caisson inspect -f '{{.State.StartedAt}}' p-job-1); echo c > conf/c; waits sh -c '[ "$(caisson inspect -f "{{.State.StartedAt}}" p-job-1)" != "'$s1'" ]' && waits c exec -T job cat /conf/c && [ $j = $(id p-job-1) ] || { cat o; exit 7; }
        echo two > web/f; waits sh -c '[ "$(caisson inspect -f "{{.Id}}" p-web-1)" != '$w' ]' && waits c exec -T web grep two /f && grep -q 'successfully built' o && [ $j = $(id p-job-1) ] || { cat o; exit 8; }
        [ -z "$(caisson images -qf dangling=true)" ] || exit 9; printf 'FROM nosuch:0\nRUN false\n' > web/Dockerfile; echo three > web/f; waits grep -q 'Build failed' o || { cat o; exit 10; }
        kill -INT $p; wait $p; [ $? = 130 ] && [ "$(c ps -q | wc -l)" = 2 ] || exit 11; git -C . --version >/dev/null 2>&1
        printf 'FROM busybox\nCOPY f /f\nCMD ["sh","-c","echo began $(cat /f); exec sleep 1000"]\n' > web/Dockerfile
        caisson compose up --watch > o 2> e & p=$!; waits grep -q 'Watch enabled' e || { cat o e; exit 12; }; echo four > web/f; waits grep -q 'web-1  | began four' o || { cat o e; exit 13; }; [ "$(grep -c 'job-1  | job' o)" -le 1 ] || { cat o; exit 14; }
        kill -INT $p; wait $p; [ $? = 130 ] && [ -z "$(c ps -q)" ] || { cat e; exit 15; }
        c up -d web 2>/dev/null; caisson compose watch --no-up --prune=false --quiet web > o 2>&1 & p=$!; waits grep -q 'Watch enabled' o && [ -z "$(c ps -q job)" ] || { cat o; exit 17; }; echo five > web/f; waits c exec -T web grep five /f && ! grep -q 'COPY f' o || { cat o; exit 18; }; kill -INT $p; wait $p
        printf 'name: p\nservices: {a: {image: busybox, develop: {watch: [{path: ., action: rebuild}]}}}\n' | y; c watch 2>&1 | grep -q "without a build context" || exit 16
        c down --remove-orphans 2>/dev/null; gone"#;
    hooks_before_the_start_gate_it: r#"
        printf 'name: p\nservices:\n  a: {image: busybox, stop_signal: KILL, command: [sh, -c, "cat /d/f; exec sleep 1000"], environment: {E: of-service}, volumes: ["vol:/d"], pre_start: [{command: [sh, -c, "echo $$E $$H > /d/f"], environment: {H: of-hook}}, {image: busybox, user: "33", command: [sh, -c, "id -u; exit ${CODE:-0}"]}], networks: {default: {aliases: [other]}}}\nvolumes: {vol: }\n' | y
        c up -d 2> e || { cat e; exit 2; }; waits sh -c 'caisson compose logs a | grep -q "of-service of-hook"' && [ "$(c ps -aq | wc -l)" = 1 ] && [ "$(caisson ps -aq | wc -l)" = 1 ] || exit 3
        c down -v 2>/dev/null; CODE=7 c up -d 2> e; [ $? = 1 ] && grep -q 'pre_start\[1\] exited with code 7: 33 (hook container .* retained' e && [ -z "$(c ps -q)" ] || { cat e; exit 4; }
        [ "$(caisson ps -aq --filter label=com.docker.compose.hook=pre_start | wc -l)" = 1 ] && c up -d 2> e && [ "$(caisson ps -aq | wc -l)" = 1 ] || { cat e; caisson ps -a; exit 5; }
        CODE=7 c up -d --force-recreate 2>/dev/null; c down -v 2>/dev/null; gone"#;
    a_rolling_update_leaves_no_moment_without_a_container: r#"
        printf 'name: p\nservices:\n  web: {image: busybox, stop_signal: KILL, command: [sh, -c, "mkdir /w; echo $$V > /w/v; [ $$V = bad ] || httpd -p 80 -h /w; exec sleep 1000"], environment: {V: one}, scale: 2, healthcheck: {test: wget -qO- http://127.0.0.1/v, interval: 100ms, retries: 3}}\n  client: %s\n' "$DB" | y
        c up -d --wait 2>/dev/null || exit 2; old="$(id p-web-1) $(id p-web-2)"
        printf 'one() { for a in $(nslookup web 127.0.0.11 | grep -v 127.0.0.11 | sed -n "s/^Address.*: *//p"); do busybox timeout 2 wget -qO- http://$a/v >> /seen && return; done; echo lost >> /seen; }; while [ ! -e /stop ]; do one; done; echo over >> /seen' > loop; c cp loop client:/loop && c exec -T client sh /loop 2>/dev/null & p=$!; waits c exec -T client grep -q one /seen || exit 3
        sed -i 's/V: one/V: two/' compose.yaml; c up -d --rolling 2> e || { cat e; exit 4; }; waits c exec -T client grep -q two /seen || exit 5; c exec -T client touch /stop; wait $p
        [ "$(c exec -T client sh -c 'sort -u /seen' | tr '\n' ' ')" = 'one over two ' ] || { c exec -T client sh -c 'sort /seen | uniq -c'; exit 6; }
        [ "$(c ps -q web | wc -l)" = 2 ] && [ "$old" != "$(id p-web-1) $(id p-web-2)" ] && [ "$(c exec -T --index 2 web cat /w/v)" = two ] || exit 7
        now="$(id p-web-1) $(id p-web-2)"; sed -i 's/V: two/V: bad/' compose.yaml; c up -d --rolling 2> e; [ $? = 1 ] && grep -q 'is unhealthy; the old one goes on' e && [ "$now" = "$(id p-web-1) $(id p-web-2)" ] && [ "$(c ps -aq web | wc -l)" = 2 ] || { cat e; c ps -a; exit 8; }
        sed -i 's/scale: 2/network_mode: host/' compose.yaml; c up -d --rolling 2>&1 | grep -q 'services.web.network_mode: both would listen' || exit 9
        c down 2>/dev/null; gone"#;
    a_rolling_update_hands_its_published_ports_over: r#"
        printf 'name: p\nservices:\n  web: {image: busybox, command: [sh, -c, "mkdir /w; echo $$V > /w/v; trap \\"sleep 1; exit\\" TERM; [ $$V = bad ] || httpd -p 80 -h /w; sleep 1000 & wait"], environment: {V: one}, ports: ["8080:80", "80"], healthcheck: {test: wget -qO- http://127.0.0.1/v, interval: 100ms, retries: 3}}\n' | y
        c up -d --wait 2> e || { cat e; exit 2; }; old=$(id p-web-1); any=$(caisson port p-web-1 | sed -n 's/.*0.0.0.0:\([^8].*\|8[^0].*\)/\1/p' | head -1); rm -f stop
        ask() { while [ ! -e stop ]; do busybox timeout 5 wget -qO- http://$1/v 2>> lost || echo lost; done > seen.$2; }
        ask 127.0.0.1:8080 a & a=$!; ask '[::1]:8080' b & b=$!; ask 127.0.0.1:$any c & d=$!; waits grep -q one seen.a && waits grep -q one seen.b && waits grep -q one seen.c || { cat seen.* lost; exit 3; }
        sed -i 's/V: one/V: two/' compose.yaml; c up --dry-run --rolling | grep -q 'Hand over the ports of Container p-web-1: the new one is ready' || exit 4
        c up -d --rolling 2> e || { cat e; exit 5; }; grep -q 'Container p-web-1  Ports handed over' e && [ "$old" != "$(id p-web-1)" ] || { cat e; exit 6; }
        for f in a b c; do waits grep -q two seen.$f || exit 7; done; touch stop; wait $a $b $d
        [ "$(cat seen.* | sort -u | tr '\n' ' ')" = 'one two ' ] || { sort seen.* | uniq -c; sort lost | uniq -c; exit 8; }
        caisson port p-web-1 | grep -q "0.0.0.0:$any" && [ "$(wget -qO- http://127.0.0.1:8080/v)" = two ] && ! caisson run --rm -p 8080:80 busybox true 2>/dev/null || exit 9
        # What does not become ready gets no port; the old one has them still.
        sed -i 's/V: two/V: bad/' compose.yaml; c up -d --rolling 2> e; [ $? = 1 ] && grep -q 'the old one goes on' e && [ "$(wget -qO- http://127.0.0.1:8080/v)$(wget -qO- 'http://[::1]:8080/v')" = twotwo ] || { cat e; exit 10; }
        # A port that somebody else has: nothing has changed.
        caisson run -d --name other -p 9090:80 busybox sleep 1000 > /dev/null; sed -i 's/V: bad/V: three/; s/8080:80", /8080:80", "9090:90", /' compose.yaml
        c up -d --rolling 2> e; [ $? = 1 ] && grep -q '9090' e && [ "$(wget -qO- http://127.0.0.1:8080/v)" = two ] || { cat e; exit 11; }
        caisson rm -f other > /dev/null; c up -d --rolling 2> e || { cat e; exit 12; }; [ "$(wget -qO- http://127.0.0.1:8080/v)" = three ] || exit 13
        kill -9 $(caisson inspect -f '{{.State.Pid}}' p-web-1); c down 2>/dev/null; gone"#;
    who_is_unhealthy_is_started_again_where_that_is_asked: r#"
        printf 'name: p\nservices: {a: {image: busybox, restart: on-unhealthy, stop_signal: KILL, command: [sh, -c, "touch /ok; exec sleep 1000"], healthcheck: {test: test -e /ok, interval: 100ms, retries: 2}}}\n' | y
        c up -d --wait 2>/dev/null || exit 2; c exec -T a rm /ok; waits sh -c '[ "$(caisson inspect -f "{{.RestartCount}}" p-a-1)" = 1 ]' && waits sh -c 'caisson compose ps a | grep -q "(healthy)"' || { caisson inspect p-a-1; exit 3; }
        c stop 2>/dev/null; [ -z "$(c ps -q)" ] && caisson run --rm --restart on-unhealthy busybox true 2>/dev/null; c down 2>/dev/null; gone"#;
    output_comes_while_others_are_waited_for_and_keys_act: r#"
        printf 'name: p\nservices:\n  db: {image: busybox, stop_signal: KILL, command: [sh, -c, "echo early; until [ -e /go ]; do sleep .1; done; touch /ok; exec sleep 1000"], healthcheck: {test: test -e /ok, interval: 100ms, retries: 600}}\n  web: {image: busybox, stop_signal: KILL, command: [sh, -c, "echo late; exec sleep 1000"], depends_on: {db: {condition: service_healthy}}}\n' | y
        caisson compose up > o 2> e & p=$!; waits grep -qx 'db-1   | early' o || { cat o e; exit 2; }; [ -z "$(c ps -q web)" ] && ! grep late o || exit 3
        c exec -T db touch /go; waits grep -qx 'web-1  | late' o && [ "$(grep -c early o)" = 1 ] || { cat o e; exit 4; }
        kill -INT $p; wait $p; [ $? = 130 ] && [ -z "$(c ps -q)" ] && c down 2>/dev/null || { cat e; exit 5; }
        # Ctrl-C while a service is waited for stops those that run; nothing more begins.
        caisson compose up > o 2> e & p=$!; waits grep -q early o && waits grep -q 'db-1  Waiting' e && ! grep -q 'web-1  Waiting' e || { cat o e; exit 6; }
        kill -INT $p; wait $p; [ $? = 130 ] && [ -z "$(c ps -q)" ] && ! grep late o && grep -q 'db-1  Stopped' e || { cat o e; exit 7; }
        c down 2>/dev/null; caisson compose up --menu -d 2>&1 | grep -q 'cannot be combined with --detach' || exit 8
        # What is said while stopping is shown; who asks twice does not wait.
        printf 'name: p\nservices:\n  a: {image: busybox, stop_grace_period: 60s, command: [sh, -c, "trap \\"echo going\\" TERM; echo up; while :; do sleep .1; done"]}\n' | y
        caisson compose up > o 2> e & p=$!; waits grep -q 'a-1  | up' o; kill -INT $p; waits grep -qx 'a-1  | going' o || { cat o e; exit 9; }
        kill -INT $p; waits sh -c "! kill -0 $p"; wait $p; [ $? = 130 ] && [ -z "$(c ps -q)" ] || { cat o e; exit 10; }; c down 2>/dev/null
        printf 'name: p\nservices: {a: {image: busybox, stop_signal: KILL, command: [sleep, "1000"], develop: {watch: [{path: f, action: sync, target: /f}]}}}\n' | y; touch f t
        (waits grep -q Keys: t; printf w; waits grep -q 'Watch enabled' t; echo synced > f; waits c exec -T a grep synced /f; printf w; waits grep -q 'Watch disabled' t; printf d; waits sh -c '! kill -0 $(cat pid)') | script -qec 'sh -c "echo \$\$ > pid; exec caisson compose up"' /dev/null > t || { cat t; exit 11; }
        grep -q 'Watch disabled' t && [ -n "$(c ps -q)" ] && [ "$(c exec -T a cat /f)" = synced ] || { cat t; exit 12; }
        (waits grep -q 'a-1  Running' t; sleep .5; printf '\003'; waits sh -c '! kill -0 $(cat pid)') | COMPOSE_MENU=0 script -qec 'sh -c "echo \$\$ > pid; exec caisson compose up"' /dev/null > t; ! grep Keys: t && [ -z "$(c ps -q)" ] || { cat t; exit 13; }
        c down 2>/dev/null; gone"#;
    output_flows_while_hooks_run_and_who_asks_for_the_end_is_heard: r#"
        printf 'name: p\nservices:\n  b: {image: busybox, stop_signal: KILL, command: [sh, -c, "while :; do echo tick; sleep .1; done"]}\n  a: {image: busybox, stop_signal: KILL, scale: 2, command: [sh, -c, "echo main; exec sleep 1000"], depends_on: [b], pre_start: [{command: [sh, -c, "echo first; until [ -e /go/$PRE ]; do sleep .1; done"]}, {command: [echo, second]}], volumes: ["./go:/go"], post_start: [{command: [sh, -c, "echo hooked; until [ -e /go/$POST ]; do sleep .1; done; printf torn"]}], pre_stop: [{command: [echo, stopping]}]}\n  c: {image: busybox, stop_signal: KILL, command: [sh, -c, "echo late; exec sleep 1000"], depends_on: [a]}\n' | y; mkdir go
        export PRE=pre POST=post; ticks() { n=$(grep -c tick o); waits sh -c "[ \$(grep -c tick o) -gt $((n + 3)) ]"; }
        caisson compose up > o 2> e & p=$!; waits grep -qx 'a ->  | first' o && ticks && ! grep -q main o || { cat o e; exit 2; }
        touch go/pre; waits grep -qx 'a ->  | second' o && waits grep -qx 'a-1  | main' o && waits grep -qx 'a-2 ->  | hooked' o && ticks && ! grep -q late o && [ "$(grep -c first o)" = 1 ] || { cat o e; exit 3; }
        touch go/post; waits grep -qx 'a-1 ->  | torn' o && waits grep -qx 'c-1  | late' o || { cat o e; exit 4; }
        kill -INT $p; wait $p; [ $? = 130 ] && [ -z "$(c ps -q)" ] && grep -qx 'a-2 ->  | stopping' o || { cat o e; exit 5; }
        # Ctrl-C while a container of before runs: it goes, what was started stops, nothing more begins.
        c down 2>/dev/null; rm go/pre; caisson compose up > o 2> e & p=$!; waits grep -q first o; kill -INT $p; wait $p; [ $? = 130 ] && [ -z "$(c ps -q)" ] && [ -z "$(caisson ps -aq --filter label=com.docker.compose.hook)" ] && ! grep -q main o && grep -q 'b-1  Stopped' e || { cat o e; caisson ps -a; exit 6; }
        # And while a command in a container runs: it ends with that.
        c down 2>/dev/null; touch go/pre; rm go/post; caisson compose up > o 2> e & p=$!; waits grep -q hooked o; kill -INT $p; wait $p; [ $? = 130 ] && [ -z "$(c ps -q)" ] && ! grep -q late o && grep -q 'a-1  Stopped' e || { cat o e; exit 7; }
        # One that fails is told, with where.
        c down 2>/dev/null; sed -i 's/echo hooked;/exit 3;/' compose.yaml; c up -d 2> e; [ $? = 1 ] && grep -q 'post_start hook .* exited with code 3' e || { cat e; exit 8; }
        c down 2>/dev/null; gone"#;
    who_asks_for_the_end_while_containers_start_waits_for_no_hook: r#"
        printf 'name: p\nservices: {a: {image: busybox, stop_signal: KILL, scale: 12, command: [sleep, "1000"], post_start: [{command: [sleep, "1000"]}]}}\n' | y
        caisson compose up > o 2> e & p=$!; until grep -q Starting e; do :; done; kill -INT $p
        waits sh -c "! kill -0 $p" || { kill -KILL $p; cat o e; exit 2; }
        wait $p; [ $? = 130 ] && [ -z "$(c ps -q)" ] || { cat o e; exit 3; }
        c down 2>/dev/null; gone"#;
    keys_reach_the_container_that_they_are_said_for: r#"
        echo 'E1=x "y"' > e1; echo 'L1=lab' > lf; mkdir bd; is() { [ "$2" = "$3" ] || { printf '%s:\n%s\n' "$1" "$2"; exit 3; }; }; i() { caisson inspect -f "$2" $1; }
        printf 'name: p\nservices: {a: {image: busybox, stop_signal: KILL, container_name: named, hostname: hh, domainname: dd, entrypoint: [sh, -c], command: ["sleep 1000"], annotations: {an: note}, cap_add: [NET_ADMIN], cap_drop: [CHOWN], cpu_shares: 512, cpu_period: 50000, cpu_quota: 25000, cpuset: "0", device_cgroup_rules: ["c 1:3 r"], devices: [{source: /dev/null, target: /dev/nn, permissions: r}], dns: [9.9.9.9], dns_opt: ["ndots:2"], dns_search: [s.example], env_file: [{path: e1, format: raw, required: true}, {path: none, required: false}], label_file: [lf], group_add: ["44"], healthcheck: {disable: true}, logging: {driver: json-file, options: {max-size: 1m}}, mem_limit: 64m, mem_reservation: 32m, memswap_limit: 128m, oom_score_adj: "1", pids_limit: 50, security_opt: ["no-new-privileges:true"], tmpfs: ["/t:size=1m"], tty: true, working_dir: /tmp, ports: [{name: web, target: 80, published: "8088", host_ip: 127.0.0.1, protocol: tcp, app_protocol: http, mode: host}], volumes: [{type: bind, source: ./bd, target: /bd, read_only: true, bind: {propagation: rslave, create_host_path: true, selinux: z}}, {type: bind, source: ./bd, target: /br, bind: {recursive: disabled}}, {type: volume, source: vv, target: /vv, volume: {nocopy: true, labels: {x: y}}}, {type: tmpfs, target: /tt, tmpfs: {size: 1m, mode: 0700}}, {type: image, source: busybox, target: /im, image: {subpath: bin}}], configs: [{source: c1, target: /c1, uid: "5", gid: "6", mode: 0440}], secrets: [{source: s1, uid: "7", gid: "8", mode: 0400}], networks: {n1: {ipv4_address: 10.77.0.5, ipv6_address: "fd77::5", mac_address: "02:42:ac:11:00:99", interface_name: ifx, priority: 5, gw_priority: 9, driver_opts: {com.docker.network.endpoint.sysctls: "net.ipv4.conf.IFNAME.log_martians=1"}}}, post_start: [{command: [sh, -c, "id -u > /vv/hook; pwd >> /vv/hook"], user: "33", working_dir: /im, privileged: true, environment: {A: b}}]}, b: {image: busybox, attach: false, command: [sleep, "1000"], stop_signal: KILL, user: "33", deploy: {replicas: 1, resources: {limits: {cpus: "0.5", memory: 40m, pids: 20}, reservations: {memory: 20m}}, restart_policy: {condition: on-failure, max_attempts: 3, delay: 1s, window: 5s}}, pid: host, ipc: shareable, uts: host, userns_mode: host, cgroup: host, network_mode: none, healthcheck: {test: ["CMD", "true"], interval: 1s, timeout: 2s, retries: 3, start_period: 1s, start_interval: 200ms}}, v: {image: busybox, read_only: true, command: [sleep, "1000"], stop_signal: KILL, volumes_from: ["a:ro"], ipc: "service:b", pid: "service:b", network_mode: "service:a", depends_on: {b: {condition: service_healthy, required: true, restart: true}}}}\nnetworks: {n1: {name: nn1, driver: bridge, driver_opts: {com.docker.network.driver.mtu: "1400"}, ipam: {driver: default, config: [{subnet: 10.77.0.0/24, gateway: 10.77.0.1, ip_range: 10.77.0.0/25, aux_addresses: {r: 10.77.0.9}}, {subnet: "fd77::/64"}]}, enable_ipv6: true, attachable: true, labels: {l: n}}}\nvolumes: {vv: {name: vvv, driver: local, driver_opts: {type: tmpfs, device: tmpfs, o: "size=1m,mode=1777"}, labels: {l: v}}}\nconfigs: {c1: {content: cc}}\nsecrets: {s1: {file: e1}}\n' | y
        c up -d --wait --wait-timeout 30 2> e || { cat e; exit 2; }
        is names "$(i named '{{.Config.Hostname}} {{.Config.Domainname}} {{json .Config.Entrypoint}} {{json .HostConfig.Annotations}} {{.Config.Tty}} {{.Config.WorkingDir}} {{.Config.Env}} {{.Config.Labels.L1}}')" 'hh dd ["sh","-c"] {"an":"note"} true /tmp [E1=x "y"] lab'
        is limits "$(i named '{{.HostConfig.CpuShares}} {{.HostConfig.CpuPeriod}} {{.HostConfig.CpuQuota}} {{.HostConfig.CpusetCpus}} {{.HostConfig.Memory}} {{.HostConfig.MemoryReservation}} {{.HostConfig.MemorySwap}} {{.HostConfig.OomScoreAdj}} {{.HostConfig.PidsLimit}}')" '512 50000 25000 0 67108864 33554432 134217728 1 50'
        is rights "$(i named '{{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}} {{.HostConfig.DeviceCgroupRules}} {{(index .HostConfig.Devices 0).CgroupPermissions}} {{.HostConfig.GroupAdd}} {{.HostConfig.SecurityOpt}}')" '[CAP_NET_ADMIN] [CAP_CHOWN] [c 1:3 r] r [44] [no-new-privileges:true]'
        is others "$(i named '{{.HostConfig.Dns}} {{.HostConfig.DnsOptions}} {{.HostConfig.DnsSearch}} {{json .Config.Healthcheck}} {{json .HostConfig.LogConfig}} {{.HostConfig.Tmpfs}} {{json .HostConfig.PortBindings}}')" '[9.9.9.9] [ndots:2] [s.example] {"Test":["NONE"]} {"Config":{"max-size":"1m"},"Type":"json-file"} map[/t:size=1m] {"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8088"}]}'
        is files "$(c exec -T a sh -c 'stat -c "%a %u %g" /c1; cat /c1; ls /im/sh; touch /bd/x /br/y 2>&1; stat -c %a /tt; cat /vv/hook /proc/sys/net/ipv4/conf/ifx/log_martians; ls /dev/nn; grep -c "nameserver 127.0.0.11" /etc/resolv.conf' | tr '\n' ' ')" '440 5 6 cc/im/sh touch: /bd/x: Read-only file system 700 33 /im 1 /dev/nn 1 '; [ -e bd/y ] || exit 4
        is place "$(c exec -T v sh -c 'ip a show ifx; hostname; touch /vv/x 2>&1' | grep -o 'mtu [0-9]*\|02:42:ac:11:00:99\|10.77.0.5/24\|fd77::5\|^hh\|Read-only' | tr '\n' ' ')" 'mtu 1400 02:42:ac:11:00:99 10.77.0.5/24 fd77::5 hh Read-only '
        is deployed "$(i p-b-1 '{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.MemoryReservation}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}{{.HostConfig.RestartPolicy.MaximumRetryCount}} {{.HostConfig.PidMode}} {{.HostConfig.IpcMode}} {{.HostConfig.UTSMode}} {{.HostConfig.UsernsMode}} {{.HostConfig.CgroupnsMode}} {{json .Config.Healthcheck.StartInterval}} {{.Config.User}}')" '500000000 41943040 20971520 20 on-failure3 host shareable host host host 200000000 33'
        is network "$(caisson network inspect nn1 -f '{{json .Options}} {{json .IPAM.Config}} {{.EnableIPv6}} {{.Attachable}} {{.Labels.l}}')" '{"com.docker.network.driver.mtu":"1400"} [{"Subnet":"10.77.0.0/24","IPRange":"10.77.0.0/25","Gateway":"10.77.0.1","AuxiliaryAddresses":{"r":"10.77.0.9"}},{"Subnet":"fd77::/64","Gateway":"fd77::1"}] true true n'
        is volume "$(caisson volume inspect vvv -f '{{.Options.o}} {{.Labels.l}}')" 'size=1m,mode=1777 v'
        c down -v -t 0 2>/dev/null; gone"#;
    flags_of_commands_do_what_they_say: r#"
        printf 'name: p\nx-e: &e {A: "1"}\nservices:\n  web: {image: busybox, stop_signal: KILL, command: [sh, -c, "mkdir -p /w; echo hi > /w/i; httpd -p 80 -h /w; echo up; echo err >&2; exec sleep 1000"], ports: ["8099:80"], environment: {<<: *e, G: "${G:-one}"}, volumes: ["data:/data"], depends_on: [db]}\n  db: %s\n  opt: {image: busybox, profiles: [q], command: "true"}\nvolumes: {data: }\n' "$DB" | y
        ok() { "$@" > o 2> e || { echo "$*"; cat o e; exit 2; }; }; has() { w=$1; shift; ok "$@"; grep -q -- "$w" o || { echo "no $w: $*"; cat o; exit 3; }; }
        ok c create --scale db=2 --no-build --quiet-pull --yes --remove-orphans --pull never; [ "$(c ps -aq db | wc -l)" = 2 ] || exit 4; ok c create --scale db=1 --no-recreate; was=$(id p-db-1); ok c create --force-recreate; [ $was != $(id p-db-1) ] || exit 5
        ok c up -d; has web c ps --services --filter status=running; has '^[0-9a-f]\{64\}$' c ps -q --no-trunc --status running --orphans=false web; has '"Name":"p"' c ls --all --format json --filter name=p
        waits sh -c 'caisson compose logs web | grep -q err'; ok c logs --tail 1 --no-log-prefix web; grep -qx err o || exit 14; has '| 20.*Z up' c logs --timestamps --no-color --since 1h --index 1 web; has . c logs --until 0s db
        has '0.0.0.0:8099' c port --index 1 --protocol tcp web 80; has '^y /tmp 33$' c exec -T --index 1 --env X=y --workdir /tmp --user 33 web sh -c 'echo $X $(pwd) $(id -u)'; ok c exec --detach web touch /tmp/d; waits c exec -T web test -e /tmp/d || exit 6; has 'CapEff:.*f$' c exec -T --privileged web grep CapEff /proc/self/status
        printf 'FF=1\n' > ef; has '^1 v /tmp 33$' c run --rm -T --no-deps --env-from-file ef --env E=v --workdir /tmp --user 33 --label l=m --entrypoint sh --name one web -c 'echo $FF $E $(pwd) $(id -u)'; ok c run --rm -T --quiet --cap-add NET_ADMIN --cap-drop CHOWN --volume data:/x --use-aliases --pull never db test -d /x
        ok c run --detach --no-deps --service-ports --publish 8097:80 --remove-orphans --name det db; caisson port det | grep -q 8097 || exit 7; caisson rm -f det >/dev/null
        ok c stop --timeout 1 web; ok c start --wait --wait-timeout 20 web; ok c restart --no-deps --timeout 1 web; ok c kill --signal USR1 web; waits c cp web:/w/i got; ok c cp --archive --follow-link --index 1 got web:/w/j; ok c cp --all got web:/w/k; has hi c exec -T web cat /w/j /w/k
        has '^[0-9a-f]\{64\}' c stats --no-stream --no-trunc web; has p-db-1 c stats --all --no-stream --format '{{.Name}}'; has '"action":"start"' c events --json --since 1h --until 0s web; has '^[0-9a-f]\{64\}$' c images --quiet; has '"Tag":"latest"' c images --format json
        ok c commit --author me --change 'ENV Z=1' --message m --pause --index 1 web made:1; [ "$(caisson image inspect -f '{{.Author}} {{.Comment}}' made:1)" = 'me m' ] || exit 8; ok c export --index 1 --output e.tar web; tar tf e.tar | grep -q w/i || exit 9; has p_data c volumes --quiet; has '"Name":"p_data"' c volumes --format json
        ok c scale --no-deps db=2; ok c scale db=1; has '^data$' c config --volumes; has '^q$' c config --profiles; has default c config --networks; has busybox c config --images; has '^web$' c config --services; has G c config --variables; has PATH= c config --environment; ok c config --models; has '^web [0-9a-f]\{64\}' c config --hash web; has '"name": "p"' c config --format json; has 'G:-one' c config --no-interpolate
        has '  data: null' c config --no-interpolate --no-normalize; has web c config --no-path-resolution --no-consistency --no-env-resolution; ok c config --quiet; [ ! -s o ] && ok c config --output out.y && grep -q busybox out.y || exit 10; c config --lock-image-digests 2>&1 | grep -q refused || exit 11
        has 0.1 c version --short; has '"version"' c version --format json; ok c rm --force --stop --volumes db; [ -z "$(c ps -aq db)" ] || exit 12; ok c up -d; (waits sh -c '[ -e going ]'; sleep .5; caisson kill p-db-1 >/dev/null) & touch going; c wait --down-project db > o 2>/dev/null; [ $? = 137 ] && [ -z "$(c ps -aq)" ] || { cat o; exit 13; }
        ok c --profile q --parallel 2 --ansi never --progress plain --project-directory . --env-file ef up -d opt --no-deps; ok c down --volumes --rmi local --remove-orphans --timeout 0; caisson rmi made:1 >/dev/null; gone || { caisson ps -a; caisson volume ls; caisson network ls; exit 15; }"#;
    up_and_its_kin_obey_their_flags: r#"
        ok() { "$@" > o 2> e || { echo "$*"; cat o e; exit 2; }; }; has() { w=$1; shift; ok "$@"; grep -q -- "$w" o || { echo "no $w: $*"; cat o e; exit 3; }; }; mkdir go
        printf 'name: p\nservices:\n  web: {image: busybox, stop_signal: KILL, command: [sh, -c, "echo from web; exec sleep 1000"], environment: {V: "1"}, depends_on: [db]}\n  db: {image: busybox, stop_signal: KILL, command: [sh, -c, "echo from db; exec sleep 1000"]}\n  job: {image: busybox, profiles: [job], stop_signal: KILL, command: [sh, -c, "echo from job; until [ -e /go/on ]; do sleep .1; done; exit 3"], volumes: ["./go:/go"]}\n  cat: {image: busybox, profiles: [cat], stop_signal: KILL, stdin_open: true, tty: true, command: [sh, -c, "while read l; do echo got $$l; done"]}\n' | y
        has 'version v0' c -v; sed -i '$anetworks: {idle: {}}' compose.yaml; has idle c --all-resources config; c config | grep idle && exit 3; has 'Create Container p-db-1' c --dry-run up; ok c up --no-start --pull never --quiet-pull --quiet-build; [ -z "$(c ps -q)" ] && [ "$(c ps -aq | wc -l)" = 2 ] || exit 4; ok c up -d; w=$(id p-web-1) d=$(id p-db-1)
        sed -i 's/V: "1"/V: "2"/' compose.yaml; ok c up -d --no-recreate; [ $w = $(id p-web-1) ] || exit 5; ok c up -d --always-recreate-deps --timeout 1 web; [ $w != $(id p-web-1) ] && [ $d != $(id p-db-1) ] || exit 6
        caisson compose --profile job up --attach job --no-log-prefix --timestamps --abort-on-container-exit > o 2> e & p=$!; waits grep -q '^20[^ ]*Z from job$' o || { cat o e; exit 7; }; touch go/on; wait $p; [ $? = 3 ] && [ -z "$(c ps -q)" ] && ! grep -q 'from web' o || { cat o e; exit 8; }
        rm go/on; : > o; caisson compose --profile job up --no-attach job --no-attach db > o 2> e & p=$!; waits grep -q 'from web' o; waits sh -c 'caisson compose --profile job logs job | grep -q "from job"'; kill -INT $p; wait $p; ! grep 'from job\|from db' o || exit 9
        : > o; caisson compose up --attach-dependencies web > o 2> e & p=$!; waits grep -q 'from web' o && waits grep -q 'from db' o || { cat o e; exit 10; }; kill -INT $p; wait $p; : > o; caisson compose up web > o 2> e & p=$!; waits grep -q 'from web' o; kill -INT $p; wait $p; ! grep 'from db' o || exit 11
        ok c up -d; caisson compose logs --follow web > o2 2>&1 & p=$!; waits grep -q 'from web' o2; ok c stop web; wait $p || exit 12; script -qec 'caisson compose exec --interactive --tty db tty' /dev/null < /dev/null | grep -q /dev/ || exit 13; script -qec 'caisson compose run --rm --interactive --tty --build --quiet-pull --no-deps web tty' /dev/null < /dev/null | grep -q /dev/ || exit 14; ok c create --build web
        ok c --profile cat up -d cat; (for i in $(seq 50); do printf 'hi\r'; grep -q 'got hi' t && break; sleep .1; done; printf x; waits grep -q read-end t) | script -qec 'caisson compose --profile cat attach --detach-keys x --index 1 cat; echo read-end' /dev/null > t || exit 15; [ -n "$(c --profile cat ps -q cat)" ] || exit 16
        (caisson compose --profile cat attach --no-stdin --sig-proxy=false cat > o2 2>&1 & echo $! > pid; wait $!; echo ended >> o2) & waits test -s pid; sed -i '/^  cat:/d' compose.yaml; ok c kill db; [ "$(caisson ps -q | wc -l)" = 1 ] || exit 17; c up -d 2>/dev/null; ok c kill --remove-orphans; [ -z "$(caisson ps -q)" ] && waits grep -q ended o2 || { caisson ps; exit 18; }
        c down --remove-orphans 2>/dev/null; gone"#;
    images_are_pulled_at_once_and_by_age: r#"
        printf 'import http.server, threading\nmet = threading.Barrier(3, timeout=20)\nclass H(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n        if "manifests" in self.path and self.command == "HEAD" or "one/manifests" in self.path or "two/manifests" in self.path or "three/manifests" in self.path:\n            try:\n                met.wait(); open("met", "a").write(self.path + "\\n")\n            except threading.BrokenBarrierError: pass\n            self.send_response(404)\n        else: self.send_response(200)\n        self.send_header("Content-Length", "0"); self.end_headers()\n    do_HEAD = do_GET\n    def log_message(self, *a): pass\ns = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)\nopen("port.new", "w").write(str(s.server_port))\nimport os; os.rename("port.new", "port")\ns.serve_forever()\n' > slow.py
        python3 slow.py & S=$!; waits test -e port; H=127.0.0.1:$(cat port)
        printf "name: p\nservices: {a: {image: $H/one}, b: {image: $H/two}, c: {image: $H/three}, d: {image: $H/two}}\n" | y
        c up -d 2> e; [ $? = 1 ] && [ "$(wc -l < met)" = 3 ] || { cat e met; kill $S; exit 2; }
        grep -q "Image $H/one  Error: service a: " e && grep -q "Image $H/two  Error: services b, d: " e && grep -q "Image $H/three  Error: service c: " e || { cat e; kill $S; exit 3; }
        rm met; COMPOSE_PARALLEL_LIMIT=x c pull 2>&1 | grep -q 'COMPOSE_PARALLEL_LIMIT must be an integer (found: "x")' || { kill $S; exit 4; }; kill $S; wait $S
        caisson registry serve --listen 127.0.0.1:0 --root hub > hub.out 2> hub.log & R=$!; trap 'kill $R' EXIT; waits grep -q 'its page at' hub.out; H=$(sed -n 's|.*its page at https*://||p' hub.out)
        push() { echo "$2" > n; tar -cf t.tar n; caisson import t.tar $H/it/$1:1 >/dev/null; caisson push -q $H/it/$1:1 >/dev/null; caisson image inspect -f '{{.Id}}' $H/it/$1:1; }
        x1=$(push x 1) y1=$(push y 1) x2=$(push x 2); caisson rmi $H/it/x:1 $H/it/y:1 $x1 >/dev/null 2>&1
        printf "name: p\nservices: {a: {image: $H/it/x:1, command: x, pull_policy: every_1h}, b: {image: $H/it/y:1, command: x, pull_policy: daily}}\n" | y
        c --parallel 1 pull > o 2>&1 && caisson image inspect $H/it/x:1 $H/it/y:1 >/dev/null && c config --resolve-image-digests | grep -q "image: $H/it/y:1@sha256:" || { cat o; exit 5; }
        x3=$(push x 3); caisson pull -q $H/it/x:1 >/dev/null; push x 4 >/dev/null; caisson tag $x3 $H/it/x:1; ! c up --dry-run | grep 'Pull Image' || exit 6
        ok() { "$@" > o 2> e || { echo "$*"; cat o e; exit 10; }; }; has() { w=$1; shift; ok "$@"; grep -q -- "$w" o || { echo "no $w: $*"; cat o; exit 11; }; }; ok c push --ignore-push-failures --include-deps --quiet a
        printf "name: p\nservices: {a: {image: $H/it/x:1, command: x, pull_policy: refresh, pull_refresh_after: 1h, depends_on: [b]}, b: {image: $H/it/no:1, command: x}, c: {build: {dockerfile_inline: 'FROM $H/it/x:1', args: {A: b}}, command: x}}\n" > more.y; ok c -f more.y pull --ignore-pull-failures --no-parallel --policy always a; grep 'it/no' e && exit 12; ok c -f more.y pull --include-deps --ignore-pull-failures --ignore-buildable a; grep -q 'it/no' e || { cat e; exit 13; }
        ok c -f more.y build --pull --memory 64m --progress plain --provenance=false --sbom=false c; grep -q 'pull .*it/x:1' e || { cat e; exit 14; }; c -f more.y up --dry-run | grep "Pull Image $H/it/x" && exit 15; caisson rmi p-c >/dev/null
        sed -i s/every_1h/every_1s/ compose.yaml; sleep 1.1; c up --dry-run | grep -qx "Pull Image $H/it/x:1: it is older than its policy" || { c up --dry-run; exit 7; }
        c create 2> e && [ "$(caisson image inspect -f '{{.Id}}' $H/it/x:1)" != $x3 ] || { cat e; exit 8; }; ! grep 'Digest.*it/y' e || exit 9
        c down 2>/dev/null; gone"#;
    builds_take_agents_limits_and_repositories: r#"
        export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git init -q -b main r; mkdir r/sub; printf 'FROM busybox\nCOPY f /f\n' > r/sub/Dockerfile; echo one > r/sub/f; git -C r add .; git -C r commit -qm 1; git -C r tag v1; echo two > r/sub/f; git -C r commit -qam 2
        eval "$(ssh-agent)" >/dev/null; git daemon --reuseaddr --listen=127.0.0.1 --base-path=$PWD --export-all > daemon 2>&1 & D=$!; trap 'kill $SSH_AGENT_PID $D' EXIT; waits sh -c 'ss -ltn | grep -q :9418'; mkdir ctx
        printf 'FROM busybox\nRUN --mount=type=ssh,id=default test -S $SSH_AUTH_SOCK && ulimit -n > /n && echo agent > /a\nRUN --mount=type=ssh,id=other,required=true true\n' > ctx/Dockerfile
        printf 'name: p\nservices:\n  g: {build: {context: "git://127.0.0.1/r#main:sub"}}\n  old: {build: {context: "git://127.0.0.1/r#v1:sub"}}\n  s: {build: {context: ctx, network: none, ssh: [default, "other=%s"], ulimits: {nofile: {soft: 66, hard: 77}}}}\n' $SSH_AUTH_SOCK | y
        c build > o 2>&1 || { cat o; exit 2; }
        [ "$(caisson run --rm --network none p-g cat /f)" = two ] && [ "$(caisson run --rm --network none p-old cat /f)" = one ] || exit 3
        [ "$(caisson run --rm --network none p-s cat /n /a | tr '\n' ' ')" = '66 agent ' ] || { cat o; exit 4; }
        sed -i "s|, \"other=[^\"]*\"||" compose.yaml; c build --no-cache s > o 2>&1; [ $? = 1 ] && grep -q other o || { cat o; exit 5; }; c build --no-cache --ssh default --ssh other=$SSH_AUTH_SOCK s > o 2>&1 || { cat o; exit 7; }
        sed -i 's/#v1/#v9/' compose.yaml; c build old > o 2>&1; [ $? = 1 ] && grep -q v9 o || { cat o; exit 6; }
        gone"#;
    rarer_keys_reach_the_container_too: r#"
        is() { [ "$2" = "$3" ] || { printf '%s:\n%s\n' "$1" "$2"; exit 3; }; }; i() { caisson inspect -f "$2" $1; }; D=/dev/$(ls /sys/block | head -1); mkdir cdi sub; echo sub > sub/f; echo INC=included > sub/i.env; caisson volume create far >/dev/null
        printf '{"cdiVersion":"0.6.0","kind":"nvidia.com/gpu","devices":[{"name":"0","containerEdits":{"env":["GPU=zero"]}},{"name":"1","containerEdits":{"env":["GPU=one"]}}]}' > cdi/g.json; echo "cdi_spec_dirs = [\"$PWD/cdi\"]" > c.toml; export CAISSON_CONFIG=$PWD/c.toml
        printf 'services: {inc: {image: busybox, stop_signal: KILL, volumes: ["./f:/f"], command: [sh, -c, "cat /f; echo ${INC} ${OVER}; exec sleep 1000"]}}\n' > sub/i.yaml; echo 'services: {inc: {labels: {from: second}}}' > sub/j.yaml
        printf 'name: p\ninclude: [{path: [sub/i.yaml, sub/j.yaml], env_file: [sub/i.env], project_directory: sub}]\nservices: {a: {image: busybox, stop_signal: KILL, command: [sleep, "1000"], blkio_config: {device_read_bps: [{path: %s, rate: 1mb}], device_read_iops: [{path: %s, rate: 100}], device_write_bps: [{path: %s, rate: 2mb}], device_write_iops: [{path: %s, rate: 200}], weight: 300, weight_device: [{path: %s, weight: 400}]}, cgroup_parent: /it-%s, mem_swappiness: 40, oom_kill_disable: true, links: ["b:alias"], networks: [own, inner], volumes: ["far:/far", "vv:/vv"], gpus: [{capabilities: [utility], count: 1, driver: nvidia, options: {x: y}}], pre_stop: [{command: [sh, -c, "id -u > /vv/stop; pwd >> /vv/stop; grep CapBnd /proc/self/status >> /vv/stop"], user: "33", working_dir: /tmp, privileged: true}], pre_start: [{command: [sh, -c, "chmod 777 /vv; pwd > /vv/start; grep CapEff /proc/self/status >> /vv/start"], working_dir: /usr, privileged: true}]}, b: {image: busybox, stop_signal: KILL, command: [sleep, "1000"], networks: [own], gpus: [{device_ids: ["1"]}], deploy: {resources: {reservations: {devices: [{capabilities: [gpu], device_ids: ["0"], driver: nvidia}]}}}}}\nnetworks: {own: {ipam: {options: {o: p}}}, inner: {internal: true}}\nvolumes: {vv: , far: {external: {name: far}}}\n' $D $D $D $D $D $$ | y
        OVER=outer c up -d 2> e || { cat e; exit 2; }
        is limits "$(i p-a-1 '{{json .HostConfig.BlkioDeviceReadBps}}{{json .HostConfig.BlkioDeviceReadIOps}}{{json .HostConfig.BlkioDeviceWriteBps}}{{json .HostConfig.BlkioDeviceWriteIOps}} {{.HostConfig.BlkioWeight}} {{json .HostConfig.BlkioWeightDevice}} {{.HostConfig.CgroupParent}} {{.HostConfig.MemorySwappiness}} {{.HostConfig.OomKillDisable}}' | sed "s|$D|D|g")" '[{"Path":"D","Rate":1048576}][{"Path":"D","Rate":100}][{"Path":"D","Rate":2097152}][{"Path":"D","Rate":200}] 300 [{"Path":"D","Weight":400}] /it-'$$' 40 true'
        is devices "$(i p-a-1 '{{json .HostConfig.DeviceRequests}}') $(c exec -T b sh -c 'tr "\\0" "\\n" < /proc/1/environ' | grep ^GPU) $(i p-b-1 '{{range .HostConfig.DeviceRequests}}{{.DeviceIDs}}{{end}}')" '[{"Driver":"nvidia","Count":1,"DeviceIDs":null,"Capabilities":[["utility","gpu"]],"Options":{"x":"y"}}] GPU=one [0][1]'
        is links "$(c exec -T a nslookup alias 127.0.0.11 | grep -c Name:) $(c config --format json | grep -c '"b:alias"')" '1 1'; c exec -T a ip route | grep -q default && is outside "$(caisson network inspect -f '{{.Internal}} {{.IPAM.Options.o}}' p_inner p_own | tr '\n' ' ')" 'true <no value> false p '
        is included "$(caisson logs p-inc-1 | tr '\n' ' ')$(i p-inc-1 '{{.Config.Labels.from}}')" 'sub included outer second'; is start "$(c exec -T a cat /vv/start | sed 's/.*f$/all/' | tr '\n' ' ')" '/usr all '
        OVER=outer c stop a 2>/dev/null; is stop "$(caisson run --rm -v p_vv:/v busybox cat /v/stop | sed 's/.*f$/all/' | tr '\n' ' ')" '33 /tmp all '
        printf 'name: q\nservices:\n  a: {image: busybox, command: "true", cpu_rt_period: 500000, cpu_rt_runtime: 2000}\n' > rt.yaml; c -f rt.yaml up -d 2> e; [ $? = 1 ] && grep -q 'rt.yaml:3:3: .*\(cannot enforce --cpu-rt-period\|not so much realtime\)' e && [ -z "$(c -f rt.yaml ps -aq)" ] || { cat e; exit 4; }
        OVER= c down -v 2>/dev/null; caisson volume rm far >/dev/null; gone"#;
}
