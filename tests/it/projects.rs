//! Compose projects and what is none of theirs: what stays, what is only told, and in which words.

use testkit::check;

/// Runs a script on a host with only a loopback; `y` writes `compose.yaml` from its input.
fn project(script: &str) {
    const HOST: &str = r#"
        ip link set lo up; y() { cat > compose.yaml; }; c() { caisson compose "$@"; }
        waits() { for i in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep .1; done; echo "never: $*"; "$@"; false; }
        refused() { w=$1; shift; c "$@" > o 2> e; [ $? = 1 ] && grep -q -- "$w" e || { echo "not refused: $*"; cat o e; exit 99; }; }
        is() { [ "$2" = "$3" ] || { printf '%s:\n%s\nnot\n%s\n' "$1" "$2" "$3"; exit 98; }; }
        things() { caisson ps -a --format '{{.ID}} {{.State}}'; caisson volume ls -q; caisson network ls -q; }
        S='stop_signal: KILL, command: [sleep, "1000"]'"#;
    check(&format!(
        "cat > s.sh <<'EOS'\n{HOST}\n{script}\nEOS\nunshare -n bash s.sh"
    ));
}

macro_rules! projects {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { project($script); })* };
}

projects! {
    a_container_of_an_image_that_compose_built_is_none_of_the_projects: r#"
        printf 'name: p\nservices: {a: {build: {dockerfile_inline: "FROM busybox\\nRUN echo a > /a"}, %s}}\n' "$S" | y
        c up -d 2>/dev/null || exit 2; caisson run -d --name mine --stop-signal KILL p-a sleep 1000 >/dev/null
        is labels "$(caisson inspect -f '{{index .Config.Labels "com.docker.compose.project"}}' mine)" p
        is ps "$(c ps -aq | wc -l)" 1; c up -d --remove-orphans 2> e; ! grep -qi orphan e || { cat e; exit 3; }
        is ls "$(c ls --format json | grep -o '"running([0-9]*)"')" '"running(1)"'
        c down --rmi all 2> e || { cat e; exit 4; }; grep -q 'Image p-a  Resource is still in use' e || { cat e; exit 5; }
        is mine "$(caisson inspect -f '{{.State.Running}}' mine)" true; is ls "$(c ls -aq)" ''; caisson rm -f mine >/dev/null
        is events "$(c events --since 1h --until 0s | grep -c name=mine)" 0; c down --rmi local 2> e; grep -qx ' Image p-a  Removing' e && grep -qx ' Image p-a  Removed' e || { cat e; exit 6; }"#;
    down_leaves_what_somebody_uses_and_what_the_files_do_not_name: r#"
        printf 'name: p\nservices:\n  a: {image: busybox, %s, volumes: ["va:/v", "both:/b"], networks: [na, nb]}\n  b: {image: busybox, %s, volumes: ["both:/b"], networks: [nb]}\nvolumes: {va: , both: }\nnetworks: {na: , nb: }\n' "$S" "$S" | y
        c up -d 2>/dev/null || exit 2; caisson run -d --name mine --stop-signal KILL --network p_nb -v p_both:/x busybox sleep 1000 >/dev/null
        # Of one service what none of the others uses.
        c down -v a 2> e || { cat e; exit 3; }; is one "$(caisson volume ls -q) $(caisson network ls -q --filter name=p_ | wc -l)" 'p_both 1'
        c up -d 2>/dev/null; sed -i 's/va: , //; s/"va:.v", //' compose.yaml
        c down -v > o 2> e || { cat e; exit 4; }; [ ! -s o ] && grep -qx ' Network p_nb  Resource is still in use' e && grep -qx ' Volume p_both  Resource is still in use' e && grep -qx ' Network p_na  Removed' e || { cat o e; exit 5; }
        is volumes "$(caisson volume ls -q | tr '\n' ' ')" 'p_both p_va '; is mine "$(caisson inspect -f '{{.State.Running}}' mine)" true
        caisson rm -f mine >/dev/null; c down -v 2>/dev/null; is kept "$(caisson volume ls -q)" p_va; cd / && caisson compose -p p down -v 2>&1 | tr '\n' ' ' | grep -q ' Volume p_va  Removing  Volume p_va  Removed' || exit 7; is gone "$(caisson volume ls -q)$(caisson network ls -q --filter name=p_)" ''"#;
    a_dry_run_changes_nothing_and_refuses_what_up_refuses: r#"
        printf 'name: p\nservices:\n  a: {image: busybox, %s, volumes: ["v:/v"], depends_on: [b]}\n  b: {image: busybox, %s}\n  o: {image: busybox, command: [echo, hi]}\n  n: {image: nowhere/none, build: {dockerfile_inline: "FROM busybox"}, profiles: [x]}\nvolumes: {v: }\n' "$S" "$S" | y
        c --dry-run up -d > o && [ -z "$(caisson ps -aq)$(caisson volume ls -q)" ] && grep -q '^Create Container p-a-1: ' o || { cat o; exit 2; }
        c up -d 2>/dev/null; c wait o >/dev/null; c stop b 2>/dev/null; before=$(things)
        while IFS='|' read said words; do
            c $words > o 2> e || { echo "$words"; cat o e; exit 3; }
            grep -q -- "^$said" o && [ "$(things)" = "$before" ] || { echo "$words changed something, or did not say: $said"; cat o e; exit 4; }
        done <<'LIST'
Stop Container p-a-1: |stop --dry-run
Stop Container p-a-1: |--dry-run stop a
Restart Container p-a-1: |restart --dry-run
Kill Container p-a-1: HUP|kill --dry-run -s HUP
Pause Container p-a-1: |pause --dry-run
Remove Container p-o-1: |rm --dry-run
Remove Container p-a-1: |rm --dry-run --stop -v
Execute in Container p-a-1: touch /x|exec --dry-run a touch /x
Commit Container p-a-1: new|commit --dry-run a new
Export Container p-a-1: |export --dry-run -o tar a
Attach to Container p-a-1: |attach --dry-run a
Copy compose.yaml to p-a-1:/c: |cp --dry-run compose.yaml a:/c
Copy p-a-1:/c to .: |cp --dry-run a:/c .
Pull Image busybox: |pull --dry-run
Push Image nowhere/none: |--profile x push --dry-run n
Build Image nowhere/none: |--profile x build --dry-run n
Run Container of a: asked for touch /x|run --dry-run a touch /x
Start Container p-b-1: |run --dry-run a
Start Container p-b-1: |start --dry-run
Create Container p-b-2: |scale --dry-run b=2
Remove Container p-a-1: |down --dry-run -v
Remove Volume p_v: -v|down --dry-run -v
NAME|ps --dry-run
LIST
        c pause a 2>/dev/null; c unpause --dry-run | grep -q '^Unpause Container p-a-1' && c ps a | grep -q Paused || exit 5; refused 'depends on what changes' watch --dry-run; refused 'service "n" is not running' --profile x cp --dry-run compose.yaml n:/c; refused 'no such service: zz' cp --dry-run zz:/c .; [ ! -e tar ] || exit 6; c down -v 2>/dev/null
        while read bad; do
            printf 'name: p\nservices: {a: {image: busybox, command: [sleep, "1000"], %s}}\n' "$bad" | y; c up -d 2> e1; one=$?; c up --dry-run > o 2> e2; is "$bad" "$? $(cat e2)" "$one $(cat e1)"; [ $one = 1 ] && grep -q 'service "a"' e1 && [ -z "$(caisson ps -aq)" ] || { echo "$bad"; cat e1; exit 7; }
        done <<'LIST'
stop_signal: NOPE
security_opt: ["seccomp=/nowhere"]
mac_address: zz
working_dir: relative
devices: ["/dev/nowhere"]
LIST
        # An image that is not here is not looked into.
        printf 'name: p\nservices: {a: {image: nowhere/none}}\n' | y; c up --dry-run > o 2> e || { cat e; exit 8; }; grep -q '^Pull Image nowhere/none' o && grep -q '^Create Container p-a-1' o"#;
    up_says_to_whom_it_listens_and_how_each_ended: r#"
        printf 'name: p\nservices:\n  a: {image: busybox, command: [sh, -c, "echo out; echo err >&2; exit 4"]}\n  b: {image: busybox, command: [echo, there], depends_on: {a: {condition: service_started}}}\n' | y
        c up > o 2> e || { cat o e; exit 2; }; is first "$(head -1 o)" 'Attaching to a-1, b-1'
        grep -qx 'a-1  | out' o && grep -qx 'a-1  | err' e && ! grep -q 'a-1  | err' o && grep -qx 'a-1 exited with code 4' o && grep -qx 'b-1 exited with code 0' o || { cat o e; exit 3; }
        is once "$(grep -c 'a-1 exited' o)" 1; c logs a > o 2> e; [ ! -s e ] && grep -qx 'a-1  | err' o || { cat o e; exit 4; }
        c up --no-attach a > o 2>/dev/null; is some "$(head -1 o)" 'Attaching to b-1'; ! grep -q 'a-1 exited' o || exit 5
        c up --abort-on-container-failure > o 2> e; [ $? = 4 ] && grep -qx 'Aborting on container exit...' e || { cat e; exit 6; }
        c down 2>/dev/null"#;
    waiting_tells_of_each_and_who_has_ended_was_not_to: r#"
        printf 'name: p\nservices:\n  job: {image: busybox, command: [sh, -c, "sleep .3"]}\n  a: {image: busybox, %s, depends_on: {job: {condition: service_completed_successfully}}}\n  h: {image: busybox, %s, healthcheck: {test: "test -e /ok || { sleep .2; touch /ok; false; }", interval: 100ms, retries: 9}}\n' "$S" "$S" | y
        c up -d --wait 2> e || { cat e; exit 2; }; for line in 'p-a-1  Healthy' 'p-job-1  Exited' 'p-h-1  Waiting' 'p-h-1  Healthy'; do grep -qx " Container $line" e || { echo "no $line"; cat e; exit 3; }; done; [ "$(grep -n 'job-1  Waiting\|job-1  Exited\|a-1  Starting' e | sed 's/.* //; 3q' | tr '\n' ' ')" = 'Waiting Exited Starting ' ] || { cat e; exit 5; }; c down 2>/dev/null
        printf 'name: p\nservices: {j: {image: busybox, command: [sh, -c, "exit $$CODE"], environment: [CODE]}, h: {image: busybox, %s, healthcheck: {test: "true", start_period: 1h, interval: 1h}}}\n' "$S" | y
        printf 'name: p\nservices:\n  bad: {image: busybox, %s, healthcheck: {test: "false", interval: 50ms, retries: 1}}\n  ok: {image: busybox, %s, healthcheck: {test: "sleep .5", interval: 50ms}}\n  a: {image: busybox, %s, depends_on: {bad: {condition: service_healthy, required: false}, ok: {condition: service_healthy}}}\n' "$S" "$S" "$S" > two.yaml
        caisson compose -f two.yaml up -d 2> e || { cat e; exit 6; }; for line in 'Container p-bad-1  Waiting' 'Container p-bad-1  Skipped' 'Container p-ok-1  Waiting' 'Container p-ok-1  Healthy' 'optional dependency bad failed to start'; do [ "$(grep -c "$line" e)" = 1 ] || { echo "not once: $line"; cat e; exit 7; }; done; caisson compose -f two.yaml down 2>/dev/null
        for code in 0 3; do CODE=$code c up -d --wait --wait-timeout 9 > o 2> e; [ $? = 1 ] && grep -q "container p-j-1 exited ($code)" e || { cat e; exit 4; }; done
        c down 2>/dev/null; refused 'service "h" has no container to start' start; is nothing "$(caisson network ls -q --filter name=p_)" ''"#;
    flags_that_contradict_each_other_are_refused: r#"
        printf 'name: p\nservices: {a: {image: busybox, %s}}\n' "$S" | y
        while IFS='|' read said words; do refused "$said" $words; [ -z "$(caisson ps -aq)" ] || { echo "$words"; exit 2; }; done <<'LIST'
--abort-on-container-exit cannot be combined with --detach|up -d --abort-on-container-exit
--abort-on-container-failure cannot be combined with --wait|up --wait --abort-on-container-failure
--exit-code-from cannot be combined with --detach|up -d --exit-code-from a
--attach cannot be combined with --detach|up -d --attach a
--attach-dependencies cannot be combined with --detach|up -d --attach-dependencies
--watch cannot be combined with --no-start|up --no-start --watch
--abort-on-container-exit cannot be combined with --abort-on-container-failure|up --abort-on-container-failure --abort-on-container-exit
--no-build cannot be combined with --build|create --build --no-build
--no-recreate cannot be combined with --force-recreate|up -d --force-recreate --no-recreate
--no-recreate cannot be combined with --renew-anon-volumes|up -d -V --no-recreate
--no-recreate cannot be combined with --always-recreate-deps|up -d --always-recreate-deps --no-recreate
--wait-timeout must be a non-negative integer|up -d --wait-timeout=-1
LIST"#;
    lists_have_the_columns_of_docker_compose: r#"
        printf 'name: p\nservices:\n  a: {image: busybox, %s, volumes: ["v:/v"], scale: 2}\nvolumes: {v: }\n' "$S" | y
        is ps "$(c ps)" 'NAME      IMAGE     COMMAND   SERVICE   CREATED   STATUS    PORTS'; is ls "$(c ls)" 'NAME                STATUS              CONFIG FILES'
        is images "$(c images)" 'CONTAINER           REPOSITORY          TAG                 PLATFORM            IMAGE ID            SIZE                CREATED'; is top "$(c top)" ''
        c kill 2>&1 | grep -qx 'No container to kill' || exit 2
        c up -d 2>/dev/null; id=$(c run -d a sleep 1000); [ ${#id} = 64 ] && caisson inspect $id >/dev/null || { echo "$id"; exit 3; }
        is order "$(c ps -a --format '{{.Name}}' | sed 's/run-.*/run/' | tr '\n' ' ')" 'p-a-1 p-a-2 p-a-run '; is volumes "$(c volumes | head -1)" 'DRIVER    VOLUME NAME'
        c top > o; grep -q '^SERVICE   *#   *UID   *PID   *PPID   *C   *STIME   *TTY   *TIME   *CMD$' o && is rows "$(awk 'NR > 1 {print $1, $2}' o | grep -c '^a [12]$')" 2 || { cat o; exit 4; }
        printf 'name: p\nservices: {b: {image: busybox, %s}}\n' "$S" | y; c run --rm --remove-orphans b true 2>/dev/null; is "what runs for run" "$(c ps -aq | wc -l)" 1; c down -v --remove-orphans 2>/dev/null"#;
}
