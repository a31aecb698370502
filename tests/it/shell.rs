//! A user's ordinary lines, run in a sandbox of their own by bash: each must exit 0 and leave
//! nothing behind. The command is on the path as `caisson`, busybox is imported, and `$N` keeps
//! containers off the network.

use testkit::check;

macro_rules! lines {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { check($script); })* };
}

lines! {
    the_exit_code_is_the_containers: "caisson run --rm $N busybox sh -c 'exit 42'; [ $? = 42 ]";
    a_missing_command_is_127_and_a_directory_126: "caisson run --rm $N busybox nosuch; [ $? = 127 ] && { caisson run --rm $N busybox /etc; [ $? = 126 ]; }";
    an_unknown_flag_is_125: "caisson run --nosuch busybox; [ $? = 125 ]";
    input_of_any_size_goes_through: "head -c 3000000 /dev/urandom > f; caisson run -i --rm $N busybox cat < f | cmp - f";
    output_of_any_size_comes_back: "caisson run --rm $N busybox sh -c 'head -c 20000000 /dev/zero' | wc -c | grep -qx 20000000";
    a_terminal_is_a_terminal: "printf 'echo in-$((6*7)); tty\\nexit\\n' | script -qec 'caisson run --rm -ti $N busybox sh' /dev/null | grep -q in-42";
    a_terminal_that_is_none_is_refused: "echo | caisson run --rm -ti $N busybox sh; [ $? = 1 ]";
    variables_reach_the_program: "caisson run --rm $N -e A=b -e HOME=/x busybox sh -c '[ $A = b ] && [ $HOME = /x ]'";
    a_missing_working_directory_is_made: "caisson run --rm $N -w /new/dir busybox pwd | grep -qx /new/dir";
    users_are_looked_up_in_the_image: "caisson run --rm $N -u www busybox id | grep -q 'uid=33(www) gid=33(www) groups=33(www),44(extra)' && caisson run --rm $N -u 1234:55 busybox id -u | grep -qx 1234";
    a_read_only_root_is_read_only: "! caisson run --rm $N --read-only busybox touch /x";
    tmpfs_mounts_have_their_size: "caisson run --rm $N --tmpfs /t:size=1m busybox sh -c 'df -k /t | grep -q 1024'";
    a_read_only_bind_is_read_only: "mkdir b; echo x > b/f; caisson run --rm $N -v $PWD/b:/b:ro busybox sh -c 'cat /b/f && ! touch /b/g'";
    our_init_reaps_and_passes_the_code_on: "caisson run --rm $N --init busybox sh -c 'exit 3'; [ $? = 3 ] && caisson run --rm $N --init busybox ps | grep -q caisson-init";
    memory_limits_bite_and_are_told: "caisson run --name oom $N -m 20m busybox tail /dev/zero; [ $? = 137 ] && caisson inspect -f '{{.State.OOMKilled}}' oom | grep -qx true";
    processor_and_process_limits_bite: "caisson run --rm $N --cpus 0.5 busybox cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us | grep -qx 50000 && ! caisson run --rm $N --pids-limit 5 busybox sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait'";
    confinement_is_dockers: "caisson run --rm $N busybox cat /proc/self/status > s; grep -q 'CapBnd:.*00000000a80425fb' s && grep -q 'CapInh:.*0000000000000000' s && grep -q 'Seccomp:.*2' s && ! caisson run --rm $N busybox mount -t tmpfs none /tmp && ! caisson run --rm $N busybox sh -c 'echo 1 > /proc/sys/kernel/panic'";
    only_three_descriptors_are_open: "caisson run --rm $N busybox ls /proc/self/fd | tr '\\n' ' ' | grep -qx '0 1 2 3 '";
    devices_come_by_name_with_what_they_need: r#"mkdir cdi; echo lib > lib.so
        printf '%s\n' 'cdiVersion: 0.5.0' 'kind: nvidia.com/gpu' 'devices:' '- name: all' '  containerEdits:' '    env: [V=1]' \
            '    deviceNodes: [{path: /dev/given, hostPath: /dev/zero}]' "    mounts: [{hostPath: $PWD/lib.so, containerPath: /lib.so, options: [ro, bind]}]" \
            "    hooks: [{hookName: createContainer, path: /bin/sh, args: [sh, $PWD/hook], env: ['W=$PWD']}]" > cdi/x.yaml
        echo 'cat > $W/state; B=$(sed "s/.*\"bundle\":\"\([^\"]*\)\".*/\1/" $W/state); R=$(sed "s/.*\"root\":{\"path\":\"\([^\"]*\)\".*/\1/" $B/config.json); echo made > $R/made' > hook
        echo "cdi_spec_dirs = [\"$PWD/cdi\"]" > c.toml; export CAISSON_CONFIG=$PWD/c.toml
        for flag in '--gpus all' '--device nvidia.com/gpu=all'; do
            caisson run --rm --read-only $flag $N busybox sh -c '[ $V = 1 ] && cat /lib.so /made && ! echo x 2>/dev/null > /lib.so && head -c1 /dev/given | od' | grep -c . | grep -qx 4 || exit 2
        done
        caisson create --name gg --gpus all $N busybox true >/dev/null && caisson inspect -f '{{json .HostConfig.DeviceRequests}}' gg | grep -q '"Count":-1' || exit 3
        echo 'echo no such >&2; exit 3' > hook; caisson run --rm --gpus all $N busybox true 2> e; [ $? = 125 ] && grep -q 'hook /bin/sh failed: exit code 3: no such' e || exit 4
        caisson run --rm --device b.com/x=y $N busybox true 2> e; [ $? = 125 ] && grep -q 'unresolvable CDI devices b.com/x=y' e"#;
    a_foreign_device_cannot_be_opened: "! caisson run --rm $N busybox sh -c 'mknod /d b 254 0 && head -c1 /d'";
    a_working_directory_behind_a_descriptor_stays_inside: "for n in 3 5 7 8 9 12; do caisson run --rm $N -w /proc/self/fd/$n busybox sh -c '[ ! -e root/store.json ] && [ ! -e var/lib/dpkg ]' 2>/dev/null || true; caisson run --rm $N -w /proc/self/fd/$n busybox ls 2>/dev/null | grep -q dpkg && exit 1; done; true";
    our_binary_cannot_be_written_through_proc: "sha256sum $(readlink -f bin/caisson) > before; caisson run --rm $N busybox sh -c 'for i in 1 2 3; do echo x > /proc/1/exe; done; echo x > /proc/self/exe' 2>/dev/null; caisson run -d $N --name w1 --init busybox sleep 20 >/dev/null; caisson exec w1 sh -c 'echo x > /proc/1/exe' 2>/dev/null; sha256sum -c before";
    an_idle_monitor_needs_little_memory: "m=$(pgrep -f \"internal monitor $(caisson run -d $N --name idle busybox sleep 100)\"); sleep 2; kib=$(awk '/^Pss:/{print $2}' /proc/$m/smaps_rollup); echo $kib KiB; [ $kib -le 400 ] && caisson exec idle true";
    a_script_run_by_our_own_program_ends: "mkdir s; printf '#!/proc/self/exe\\n' > s/evil; chmod 755 s/evil; tar -C s -cf s.tar .; caisson import -c 'ENTRYPOINT [\"/evil\"]' s.tar evil >/dev/null; timeout 20 caisson run --rm $N evil; [ $? = 1 ] && { timeout 20 caisson run --rm $N --init evil; [ $? = 126 ]; }";
    anybody_may_reopen_the_standard_streams: "caisson run --rm $N -u www busybox sh -c 'echo words > /dev/stdout' | grep -qx words";
    formats_and_proxies_come_from_the_configuration: "mkdir c; printf '{\"psFormat\":\"<{{.Names}}>\",\"proxies\":{\"default\":{\"httpProxy\":\"http://p:1\"}}}' > c/config.json; export DOCKER_CONFIG=$PWD/c; caisson create $N --name pf busybox true >/dev/null; caisson ps -a | grep -qx '<pf>' && caisson run --rm $N busybox env | grep -qx http_proxy=http://p:1 && caisson run --rm $N -e http_proxy=mine busybox env | grep -qx http_proxy=mine";
    pause_and_unpause: "caisson run -d $N --name p1 busybox sleep 100; caisson pause p1 && caisson ps | grep -q Paused && caisson unpause p1 && caisson ps | grep -q 'Up'";
    a_policy_restarts_as_often_as_it_says: "caisson run -d $N --name rr --restart on-failure:2 busybox false; for i in $(seq 40); do [ \"$(caisson inspect -f '{{.RestartCount}} {{.State.Status}}' rr)\" = '2 exited' ] && exit 0; sleep .1; done; exit 1";
    health_is_seen: "caisson run -d $N --name hh --health-cmd 'test -e /ok' --health-interval 200ms --health-retries 2 busybox sleep 100; for i in $(seq 50); do caisson ps | grep -q unhealthy && break; sleep .1; done; caisson exec hh touch /ok; for i in $(seq 50); do caisson ps | grep -q '(healthy)' && exit 0; sleep .1; done; exit 1";
    who_waits_is_let_go: "caisson run -d $N --name wg busybox sh -c 'trap : TERM; while :; do sleep .05; done' >/dev/null; \
        caisson exec -t wg sleep 20 >/dev/null & p=$!; sleep .5; kill -TERM $p; wait $p; [ $? = 143 ] || exit 2; \
        caisson run $N --name wr busybox sh -c 'trap : TERM INT; while :; do sleep .05; done' 2> e & p=$!; until caisson ps | grep -q wr; do sleep .05; done; for i in 1 2 3; do kill -TERM $p; sleep .5; done; wait $p; [ $? = 1 ] || exit 3; \
        grep -qx 'got 3 SIGTERM/SIGINTs, forcefully exiting' e && caisson ps | grep -q wr || exit 4; \
        (sleep 0.5; printf '\\020\\021'; sleep 1) | script -qec 'caisson exec -it wg sh' /dev/null | grep -q 'read escape'; [ ${PIPESTATUS[1]} = 1 ]";
    a_failed_start_does_not_make_it_new: "caisson run $N --name fs busybox sh -c 'mv /bin/sh /bin/gone; exit 3'; [ $? = 3 ] || exit 2; caisson start fs 2>/dev/null && exit 3; \
        [ \"$(caisson inspect -f '{{.State.Status}} {{.State.ExitCode}}' fs)\" = 'exited 127' ] || exit 4; \
        caisson create $N --name fb -v $PWD/made:/x busybox true >/dev/null && rmdir made && caisson start -a fb && [ -d made ]";
    detach_keys_leave_the_container_running: "caisson run -d -ti $N --name dk busybox sh >/dev/null; (sleep 0.5; printf '\\020\\021'; sleep 1) | script -qec 'caisson attach dk' /dev/null | grep -q 'read escape' && caisson ps | grep -q dk";
    files_are_copied_in_and_out: "caisson create --name cc $N busybox true >/dev/null; caisson cp cc:/etc/passwd - | tar -tf - | grep -qx passwd && caisson cp cc:/etc out1 && [ -f out1/passwd ] && caisson cp out1 cc:/tmp && caisson cp cc:/tmp/out1/passwd p2 && cmp p2 out1/passwd";
    diff_tells_what_the_container_did: "caisson run --name dd $N busybox sh -c 'echo x > /new; rm /etc/group'; [ \"$(caisson diff dd | sort | tr '\\n' ' ')\" = 'A /new C /etc D /etc/group ' ]";
    logs_keep_streams_apart_and_follow: "caisson run --name ll $N busybox sh -c 'echo out; echo err >&2'; caisson logs ll 2>/dev/null | grep -qx out && caisson logs ll 2>&1 >/dev/null | grep -qx err && caisson run -d $N --name ff busybox sh -c 'for i in 1 2 3; do echo $i; sleep .2; done' && caisson logs -f ff | tr -d '\\n' | grep -qx 123";
    limits_change_while_it_runs: "caisson run -d $N --name uu busybox sleep 100; caisson update -m 64m --memory-swap 128m uu && caisson exec uu cat /sys/fs/cgroup/memory/memory.limit_in_bytes | grep -qx 67108864";
    a_burst_keeps_the_limit_of_the_log: "caisson run $N --name bl --log-opt max-size=10k --log-opt max-file=3 busybox seq 3000 >/dev/null; cd $CAISSON_ROOT/containers/$(caisson inspect -f '{{.Id}}' bl); ls -l log*; [ $(stat -c %s log.2) -gt 9000 ] && for f in log log.1 log.2; do [ $(stat -c %s $f) -le 10240 ] || exit 2; done; caisson logs bl | tail -1 | grep -qx 3000";
    output_that_is_lost_is_told: r#"caisson run -d $N --name fl busybox sh -c 'echo out; sleep 99' >/dev/null
        for c in "run --rm $N busybox echo x" "exec fl echo x" "logs fl" version ps "inspect fl" "--help"; do caisson $c > /dev/full 2> e; [ $? = 1 ] && grep -qx 'write /dev/stdout: no space left on device' e || { echo "$c"; cat e; exit 2; }; done
        caisson run --rm $N busybox sh -c 'echo x; exit 7' > /dev/full 2> e; [ $? = 7 ] && grep -q 'no space left' e || exit 3
        caisson exec fl sh -c 'echo x >&2' 2> /dev/full; [ $? = 1 ]"#;
    cp_of_a_stopped_container_sees_its_mounts: "mkdir bind; echo own > one; caisson run --name cc $N --hostname hh -v vol:/d -v $PWD/bind:/b:ro -v $PWD/one:/etc/one busybox sh -c 'mkdir /d/sub; echo x > /d/sub/x; echo 1.2.3.4 mine >> /etc/hosts'; caisson cp cc:/d/sub/x - | tar xO | grep -qx x && [ \"$(caisson cp cc:/d - | tar t | tr '\\n' ' ')\" = 'd/ d/sub/ d/sub/x ' ] && caisson cp cc:/d/. got && [ -e got/sub/x ] || exit 2
        caisson cp cc:/etc/hosts h && tail -1 h | grep -qx '1.2.3.4 mine' && caisson cp cc:/etc/hostname - | tar xO | grep -qx hh && caisson cp cc:/etc/one - | tar xO | grep -qx own || exit 3
        echo in > f; caisson cp f cc:/d/sub/ && caisson cp f cc:/d/new && caisson run --rm $N -v vol:/d busybox cat /d/sub/f /d/new | tr '\\n' ' ' | grep -qx 'in in ' || exit 4
        caisson cp f cc:/b 2> e; [ $? = 1 ] && grep -q 'mounted volume is marked read-only' e && ! caisson cp cc:/d/nosuch - 2>/dev/null || exit 5; caisson export cc | tar t | grep -q '^d/sub' && exit 6; caisson rm -v cc >/dev/null; caisson volume rm vol";
    archives_are_copied_in_compressed_or_not: "mkdir a; echo words > a/f; caisson create $N --name ca busybox true >/dev/null; for z in cat gzip xz bzip2; do tar -C a -c f | $z | caisson cp - ca:/tmp || exit 2; caisson cp ca:/tmp/f out && cmp out a/f || exit 3; echo other > o; caisson cp o ca:/tmp/f; done";
    inspect_lists_the_processes_of_exec: r#"caisson run -d $N --name ei busybox sleep 99 >/dev/null; caisson inspect ei | grep -q '"ExecIDs": null' || exit 2
        caisson exec -d ei sh -c 'while [ ! -e /go ]; do sleep .05; done' && caisson inspect -f '{{range .ExecIDs}}{{.}}{{end}}' ei | grep -qE '^[0-9a-f]{64}$' || exit 3
        caisson exec ei touch /go; for i in $(seq 50); do caisson inspect ei | grep -q '"ExecIDs": null' && exit 0; sleep .1; done; exit 4"#;
    a_score_that_cannot_be_had_is_told: "setpriv --bounding-set -sys_resource caisson run --rm $N --oom-score-adj -500 busybox true 2> e; grep -qx 'WARNING: --oom-score-adj -500 is not in force: lowering the score needs CAP_SYS_RESOURCE' e || exit 2; caisson run --rm $N --oom-score-adj 500 busybox cat /proc/self/oom_score_adj 2> e | grep -qx 500 && [ ! -s e ]";
    names_that_are_no_text_are_refused_and_told: r#"
        caisson run --rm $N -v $PWD/$'a\xffb':/x busybox true 2> e; [ $? = 125 ] && [ "$(cat e)" = "caisson: argument \"$PWD/a\\xFFb:/x\" is not valid UTF-8" ] || { cat e; exit 2; }
        docker cp x $'\xff':/ 2> e; [ $? = 1 ] && [ "$(cat e)" = 'docker: argument "\xFF:/" is not valid UTF-8' ] || { cat e; exit 3; }
        mkdir $'a\xffb'; cd $'a\xffb'; echo x > f
        for mount in '-v .:/x' '--mount type=bind,source=./f,target=/x'; do caisson run --rm $N $mount busybox true 2> e; [ $? = 125 ] && head -1 e | grep -q '^caisson: the name of the working directory ".*/a\\xFFb" is not valid UTF-8; go to another one$' || { cat e; exit 4; }; done
        printf 'services: {a: {image: busybox}}' > compose.yaml; caisson compose -p pp config 2> e; [ $? = 1 ] && grep -q 'a.xFFb" is not valid UTF-8; go' e || { cat e; exit 5; }
        [ $(ls -d ../a* | wc -l) = 1 ] || { ls ..; exit 6; }
        # What needs no name of it goes on, and files within may be called anything.
        caisson run --rm $N -v $CAISSON_ROOT/..:/x -v vol:/y busybox true && caisson volume rm vol >/dev/null && echo 'FROM busybox' > Dockerfile && echo y > $'\xfe' && echo 'COPY . /d/' >> Dockerfile && caisson build -q -t any . >/dev/null && [ "$(caisson run --rm $N any ls /d | wc -l)" = 5 ]"#;
    a_variable_that_is_no_text_is_told: r#"export BAD=$'\xff'; echo BAD > env; for f in '-e BAD' '--env-file env'; do caisson run --rm $N $f busybox sh -c '[ -z "$BAD" ]' 2> e || exit 2; grep -qx 'WARNING: the variable BAD is left out: its value is not valid UTF-8' e || exit 3; done
        caisson run $N busybox $'\xff' 2> e; [ $? = 125 ] || exit 4; caisson ps $'\xff' 2> e; [ $? = 1 ]"#;
    hello_world_is_pulled_without_a_network: "unshare -n caisson pull hello-world > o 2>e; grep -qx 'Status: Built-in image taken for hello-world:latest' o || exit 2; unshare -n caisson pull hello-world 2>e | grep -qx 'Status: Image is up to date for hello-world:latest'";
    a_parent_of_control_groups_goes_with_what_was_made_for_it: r#"P=walk-$$; there() { find /sys/fs/cgroup -maxdepth 3 -name "$P-$1" -type d | grep -c .; }
        left() { for i in $(seq 50); do [ $(there $1) = $2 ] && return; sleep .1; done; find /sys/fs/cgroup -name "$P-$1"; false; }
        caisson run -d $N --name p1 --cgroup-parent /$P-a/in busybox sleep 99 >/dev/null; [ $(there a) -gt 0 ] || exit 2
        caisson run --rm $N --cgroup-parent /$P-a busybox true; [ $(there a) -gt 0 ] || exit 3
        caisson rm -f p1 >/dev/null; left a 0 || exit 4; caisson run --rm $N --cgroup-parent /$P-a busybox true; left a 0 || exit 5
        M=$(grep -m1 -E '^[^ ]+ (/sys/fs/cgroup[^ ]*) cgroup2? .*' /proc/mounts | cut -d' ' -f2); mkdir $M/$P-b; caisson run --rm $N --cgroup-parent /$P-b busybox true; left b 1; r=$?; rmdir $M/$P-b; exit $r"#;
    wait_prints_the_code: "caisson run -d $N --name ww busybox sh -c 'sleep .3; exit 9'; caisson wait ww | grep -qx 9";
    exec_has_streams_terminal_and_code: "caisson run -d $N --name ee busybox sleep 100; echo abc | caisson exec -i ee cat | grep -qx abc && script -qec 'caisson exec -ti ee tty' /dev/null | grep -q pts && { caisson exec ee sh -c 'exit 7'; [ $? = 7 ]; } && caisson exec -d ee touch /done && sleep .5 && caisson exec ee ls /done";
    signals_are_passed_on: "caisson run --rm --name sp $N busybox sh -c 'trap \"echo got; exit 4\" TERM; echo ready; while :; do sleep .1; done' > o & p=$!; for i in $(seq 50); do grep -q ready o && break; sleep .1; done; kill -TERM $p; wait $p; r=$?; grep -q got o && [ $r = 4 ]";
    namespaces_are_shared_when_asked: "caisson run -d $N --name pj --ipc shareable busybox sh -c 'echo hi > /dev/shm/x; sleep 99'; sleep .3; caisson run --rm $N --pid container:pj busybox ps | grep -q 'sleep 99' && caisson run --rm --network container:pj busybox ip a | grep -q lo && caisson run --rm $N --ipc container:pj busybox cat /dev/shm/x | grep -qx hi";
    shared_memory_is_shared_by_those_who_say_so: "caisson run -d $N --name own busybox sleep 99; caisson run --rm $N --ipc container:own busybox true 2> e; [ $? = 125 ] && grep -q 'non-shareable IPC' e && caisson run --rm $N --ipc host busybox ls /dev/mqueue";
    files_of_the_network_lie_on_top_and_are_as_the_root_is: "caisson run --rm $N --tmpfs /etc busybox cat /etc/hosts | grep -q localhost && ! caisson run --rm $N --read-only busybox sh -c 'echo x >> /etc/hosts' 2>/dev/null && caisson run --rm $N busybox sh -c 'echo x >> /etc/hosts'";
    other_users_reach_nothing_of_a_container: "chmod 755 . .. 2>/dev/null; caisson run -d $N -v vol:/v --name st busybox sh -c 'cp /bin/busybox /v/suid; cp /bin/busybox /suid; chmod 4755 /suid /v/suid; sleep 99'; id=$(caisson inspect -f '{{.Id}}' st); waits() { for i in $(seq 50); do \"$@\" && return; sleep .1; done; false; }; waits test -u root/containers/$id/upper/suid && chmod 711 root root/containers root/volumes && caisson ps >/dev/null && [ $(stat -c %a root/containers) = 700 ] && [ $(stat -c %a root/volumes) = 700 ] && [ $(stat -c %a root/containers/$id) = 700 ] && [ $(stat -c %a root/volumes/vol) = 700 ]";
    start_joins_one_that_runs: "caisson run -d -i $N --name sj busybox sh -c 'while read l; do echo got $l; done'; echo word | timeout -s KILL 99 caisson start -ai sj > o & for i in $(seq 100); do grep -qx 'got word' o && break; sleep .1; done; caisson rm -f sj >/dev/null; wait; grep -qx 'got word' o";
    an_archive_of_no_bytes_is_refused: "caisson import - none < /dev/null 2> e; [ $? = 1 ] && grep -q 'empty (0 bytes)' e && ! caisson volume import none < /dev/null 2> e && grep -q 'empty (0 bytes)' e && [ -z \"$(caisson volume ls -q)$(caisson images -q none)\" ]";
    images_are_saved_removed_and_loaded: "caisson save -o s.tar busybox && caisson rmi busybox >/dev/null && caisson load -i s.tar | grep -q 'Loaded image: busybox:latest' && caisson run --rm $N busybox echo ok | grep -q ok";
    hello_world_needs_no_network: "unshare -n caisson run --rm hello-world | grep -q 'Hello from Caisson'";
    called_as_docker_errors_are_dockers: "docker logs missing 2>&1 | grep -qx 'Error response from daemon: No such container: missing' && docker -v | grep -q '^Docker version' && docker run --rm $N busybox nosuch 2>&1 | grep -q 'docker: Error response from daemon: failed to create task for container: .*: exec: .nosuch.: executable file not found in $PATH'";
    a_killed_monitor_is_replaced_and_nothing_is_lost: "caisson run -d $N --name km busybox sh -c 'i=0; while :; do echo $i; i=$((i+1)); sleep .05; done'; pid=$(caisson inspect -f '{{.State.Pid}}' km); mon=$(awk '/PPid/{print $2}' /proc/$pid/status); kill -9 $mon; sleep .5; caisson ps | grep -q km; [ \"$(caisson inspect -f '{{.State.Pid}}' km)\" = $pid ] && caisson exec km true && sleep .5 && caisson stop -t 0 km && [ $(caisson logs km | wc -l) -gt 10 ] && caisson logs km | awk '{if($1!=NR-1){exit 1}}'";
    a_container_that_died_with_its_monitor_is_seen_as_ended: "caisson run -d $N --name kb busybox sleep 100; pid=$(caisson inspect -f '{{.State.Pid}}' kb); mon=$(awk '/PPid/{print $2}' /proc/$pid/status); kill -9 $mon $pid; sleep .3; caisson inspect -f '{{.State.Status}} {{.State.ExitCode}}' kb | grep -qx 'exited 255'";
    killed_commands_lose_nothing_that_was_acknowledged: "for i in $(seq ${CAISSON_CRASH_KILLS:-40}); do caisson run -d $N busybox sleep 300 > id.$i 2>/dev/null & p=$!; sleep 0.0$((RANDOM % 30 + 10)); kill -9 $p 2>/dev/null; wait $p 2>/dev/null; done; caisson ps -aq --no-trunc > all || exit 1; for f in id.*; do [ -s $f ] && { grep -qx $(cat $f) all || exit 2; }; done; true";
    killed_monitors_leave_nothing: "for i in $(seq 15); do caisson run -d $N --name k$i.x busybox sleep 300 >/dev/null; pid=$(caisson inspect -f '{{.State.Pid}}' k$i.x); kill -9 $(awk '/PPid/{print $2}' /proc/$pid/status); [ $((i % 2)) = 0 ] && kill -9 $pid; done; sleep .3; [ $(caisson ps -q | wc -l) = 8 ] && [ $(caisson ps -aq | wc -l) = 15 ]";
    nothing_of_the_caller_leaks: "umask 077; export CANARY=secret; caisson run --rm $N busybox sh -c 'umask; env' > o; grep -qx 0022 o || exit 2; grep CANARY o && exit 3; trap '' PIPE; caisson run --rm $N busybox grep SigIgn /proc/self/status > o2; cat o2; grep -q 0000000000000000 o2";
    a_pipeline_ends_with_its_reader: "timeout 20 caisson run --rm --name ye $N busybox yes | head -1 | grep -qx y || exit 2; caisson rm -f ye >/dev/null; caisson run -d $N --name yy busybox sh -c 'while :; do echo z; sleep .05; done' >/dev/null; for c in 'exec yy yes' 'attach yy' 'stats yy' 'logs -f yy' 'exec -t yy yes'; do timeout 20 caisson $c | head -1 > o; [ ${PIPESTATUS[0]} != 124 ] && [ -s o ] || exit 3; done; caisson exec yy sh -c 'ps | grep -c [y]es' | grep -qx 0";
    export_leaves_what_is_mounted: "mkdir v; echo secret > v/s; caisson run -d $N --name ex -v $PWD/v:/data --tmpfs /scratch busybox sh -c 'echo mine > /mine; sleep 99' >/dev/null; for i in $(seq 50); do caisson exec ex test -e /mine && break; sleep .05; done; caisson export ex > e.tar && tar -tf e.tar > l && grep -qx mine l && grep -qx proc/ l && grep -qx data/ l || exit 2; grep -E '^(proc|sys|dev|data|scratch)/.' l && exit 3; caisson cp ex:/ - | tar -tf - > l2 || exit 4; grep -q 'data/s$' l2 && ! grep -E '^.?/?(proc|sys)/[^/]' l2";
    files_are_read_while_it_starts_and_ends: "caisson run -d $N --restart always --name loop busybox sh -c 'echo x > /made; false' >/dev/null; for i in $(seq 20); do timeout 20 caisson export loop | tar -tf - > l || exit 2; timeout 20 caisson cp loop:/bin/busybox - > /dev/null || exit 3; done; grep -qx made l || exit 4; caisson create $N --name xx busybox sleep 99 >/dev/null; for i in $(seq 20); do timeout 20 caisson start xx >/dev/null & timeout 20 caisson export xx > /dev/null & e=$!; timeout 20 caisson cp xx:/etc/passwd - > /dev/null & c=$!; wait $e || exit 5; wait $c || exit 6; wait; caisson kill xx >/dev/null; caisson wait xx > /dev/null; done";
    a_terminal_s_input_outlives_its_client: "(sleep .5; printf 'echo first\\n'; sleep .5; printf '\\020\\021'; sleep .5) | script -qec 'caisson run -it --name det '\"$N\"' busybox sh' /dev/null > o; grep -q first o || exit 2; (sleep .5; printf 'echo sec''ond; exit 7\\n'; sleep 1) | script -qec 'caisson attach det' /dev/null > o; grep -q second o || exit 3; caisson wait det | grep -qx 7";
    filters_that_nothing_can_match_are_refused: "for f in status=bad exited=x health=x is-task=2; do caisson ps -a --filter $f > o 2> e; [ $? = 1 ] && [ ! -s o ] && grep -q invalid e || grep -qi unrecognised e || exit 2; done; caisson ps --format '{{.ID' 2>&1 | grep -q 'failed to parse template' && caisson ps --format '{{.Bad}}' 2>&1 | grep -q 'failed to execute template'";
    a_foreign_platform_is_told: "caisson import --platform linux/arm64 $IMAGE arm >/dev/null; caisson run --rm $N arm true 2> e; grep -q 'linux/arm64) does not match' e; caisson run --rm $N --platform linux/arm64 arm true 2> e; ! grep -q match e";
    removed_with_rm_flag_in_the_background: "caisson run -d --rm $N --name gone busybox sleep .2; for i in $(seq 50); do caisson inspect gone >/dev/null 2>&1 || exit 0; sleep .1; done; exit 1";
    stopped_containers_are_pruned: "caisson create $N busybox true >/dev/null; echo y | caisson container prune 2>/dev/null | grep -q reclaimed && [ -z \"$(caisson ps -aq)\" ]";
    an_id_file_is_written_once: "caisson run --rm --cidfile cid $N busybox true && [ $(wc -c < cid) = 64 ] && { caisson run --rm --cidfile cid $N busybox true; [ $? = 125 ]; }";
    an_image_with_links_for_system_directories_is_contained: "mkdir -p t/bin; cp /bin/busybox t/bin/; ln -s busybox t/bin/sh; ln -s /tmp t/proc; tar -C t -cf t.tar . ; caisson import t.tar evil >/dev/null; caisson run --rm $N evil sh -c 'exit 0' 2> e; [ $? = 125 ] && grep -q 'no ordinary directory' e";
}
