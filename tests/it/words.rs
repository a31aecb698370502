//! What is told: events as Docker tells them, and errors in Docker's words, which scripts know.

use testkit::check;

macro_rules! scripts {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { check($script); })* };
}

scripts! {
    events_are_dockers_and_know_the_name_that_counts: r#"
        seen() { for i in $(seq 100); do caisson events --since 0 --until 0s --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}' > o; grep -q "$1" o && return; sleep .05; done; echo "never: $1"; cat o; false; }
        caisson run -d $N --name old --health-cmd true --health-interval 200ms -v vol:/v busybox sleep 1000 >/dev/null; seen 'health_status: healthy' || exit 2
        caisson rename old new; caisson exec new true; caisson exec new nosuch; caisson top new >/dev/null; caisson cp new:/bin/busybox bb; caisson cp bb new:/bb; caisson pause new >/dev/null; caisson unpause new >/dev/null
        caisson kill -s USR1 new >/dev/null; caisson stop -t 0 new >/dev/null; caisson rm new >/dev/null; caisson volume rm vol >/dev/null; caisson tag busybox spare; caisson rmi spare >/dev/null; caisson image prune -f >/dev/null
        caisson events --since 0 --until 0s --format '{{json .}}' > j; python3 - <<'EOP'
import json
told = [json.loads(line) for line in open('j')]
def of(kind): return [(e['Action'].strip(), e['Actor']['Attributes']) for e in told if e['Type'] == kind]
late = False
for action, attributes in of('container'):
    late = late or action == 'rename'
    assert attributes['name'] == ('new' if late else 'old'), (action, attributes)
actions = [action for action, _ in of('container') if not action.startswith('exec') and 'health' not in action]
assert actions == ['create', 'start', 'rename', 'top', 'archive-path', 'extract-to-dir', 'pause', 'unpause', 'kill', 'kill', 'kill', 'die', 'stop', 'destroy'], actions
assert [a['signal'] for action, a in of('container') if action == 'kill'] == ['10', '15', '9']
die = [a for action, a in of('container') if action == 'die'][0]
assert die['exitCode'] == '137' and die['execDuration'].isdigit()
execs = {}
for action, attributes in of('container'):
    if action.startswith('exec'):
        execs.setdefault(attributes['execID'], []).append(action)
assert ['exec_create: true', 'exec_start: true', 'exec_die'] in execs.values(), execs
assert ['exec_create: /bin/sh -c true', 'exec_start: /bin/sh -c true', 'exec_die'] in execs.values(), execs
assert [action for action, _ in of('volume')] == ['create', 'mount', 'unmount', 'destroy']
assert {'tag', 'untag', 'import', 'prune'} <= {action for action, _ in of('image')}
EOP"#;
    a_signal_that_is_passed_on_is_told_and_ends_the_policy: r#"
        caisson run --restart always --name cc $N busybox sh -c 'trap "echo usr" USR1; trap "exit 7" INT; echo up; while :; do sleep .05; done' > o 2>&1 & pid=$!
        said() { for i in $(seq 200); do grep -q "$1" o && return; sleep .05; done; cat o; exit 2; }
        said up; kill -USR1 $pid; said usr; kill -INT $pid; wait $pid; [ $? = 7 ] || exit 3
        [ "$(caisson events --since 0 --until 0s --filter event=kill --format '{{.Actor.Attributes.signal}}' | tr '\n' ' ')" = '10 2 ' ] || exit 4
        [ "$(caisson inspect -f '{{.State.Status}} {{.RestartCount}}' cc)" = 'exited 0' ]"#;
    stats_call_a_container_as_the_user_did: r#"
        caisson run -d --name cc $N busybox sleep 1000 >/dev/null; caisson create --name idle $N busybox true >/dev/null; id=$(caisson inspect -f '{{.Id}}' cc)
        caisson stats --no-stream --format json > j; python3 -c 'import json, sys; row = json.load(open("j")); assert sorted(row) == ["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"] and row["Container"] == row["ID"] == sys.argv[1][:12] and row["Name"] == "cc", row' $id || exit 2
        [ "$(caisson stats --no-stream --format '{{.Container}} {{.ID}}' ${id:0:20})" = "${id:0:20} ${id:0:12}" ] || exit 3
        [ "$(caisson stats --no-stream --format '{{.Container}} {{.CPUPerc}} {{.MemUsage}} {{.MemPerc}} {{.NetIO}} {{.BlockIO}} {{.PIDs}}' idle)" = 'idle 0.00% 0B / 0B 0.00% 0B / 0B 0B / 0B 0' ]"#;
    another_run_root_is_named_where_a_monitor_is_missed: r#"
        caisson run -d --name cc $N busybox sleep 1000 >/dev/null; mkdir other; id=$(caisson inspect -f '{{.Id}}' cc)
        for c in 'exec cc true' 'stop cc' 'attach cc'; do caisson --run-root $PWD/other $c 2> e && exit 2; [ "$(cat e)" = "caisson: the monitor of container $id does not answer; if the container was started with another --run-root (CAISSON_RUN_ROOT) than $PWD/other, name that one; \`caisson rm -f cc\` ends and removes it" ] || { cat e; exit 3; }; done
        caisson exec cc true"#;
    a_killed_monitor_is_told_by_who_was_connected: r#"
        until_true() { for i in $(seq 200); do eval "$1" && return; sleep .05; done; echo "never: $1"; exit 9; }
        monitor() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["monitor_pid"])' $CAISSON_ROOT/containers/$(caisson inspect -f '{{.Id}}' $1)/state; }
        # The container ends at our word.
        caisson run --name cc $N busybox sh -c 'echo up; while [ ! -e /end ]; do sleep .05; done' > o 2> e & run=$!; until_true 'grep -q up o'; id=$(caisson inspect -f '{{.Id}}' cc)
        caisson attach cc > ao 2> ae & attach=$!; (exec caisson exec cc sh -c 'echo up; sleep 1000') > eo 2> ee & exec=$!; (exec caisson exec -t cc sh -c 'echo up; sleep 1000') > to 2> te & term=$!
        until_true 'grep -q up eo && grep -q up to && caisson events --since 0 --until 0s | grep -q attach'; kill -9 $(monitor cc)
        for one in $exec:ee $term:te; do wait ${one%:*}; [ $? = 255 ] && [ "$(cat ${one#*:})" = 'caisson: the monitor of container cc was killed: the exit code of the process is not known' ] || { cat ${one#*:}; exit 2; }; done
        until_true 'caisson exec cc touch /end'
        for one in $run:e $attach:ae; do wait ${one%:*}; [ $? = 255 ] && [ "$(cat ${one#*:})" = "caisson: the connection to the monitor of container ${id:0:12} was lost; further output is not shown here" ] || { cat ${one#*:}; exit 3; }; done"#;
    a_terminal_that_was_left_is_told: r#"
        (sleep .5; printf '\020\021'; sleep .5) | script -qec "caisson run -ti --name tt $N busybox sh" /dev/null >/dev/null
        [ "$(caisson events --since 0 --until 0s --format '{{.Action}}' --filter container=tt | grep -c 'attach\|detach')" = 2 ]"#;
    removing_twice_fails_once: r#"
        for c in aa bb; do caisson create $N --name $c busybox true >/dev/null; done
        docker rm aa bb aa > o 2> e; [ $? = 1 ] && [ "$(tr '\n' ' ' < o)" = 'aa bb ' ] && grep -qx 'Error response from daemon: removal of container aa is already in progress' e"#;
    a_name_given_twice_is_done_once: r#"
        caisson run -d $N --name aa busybox sleep 1000 >/dev/null; caisson volume create vv >/dev/null; caisson tag busybox spare; id=$(caisson inspect -f '{{.Id}}' aa); D='Error response from daemon:'
        twice() { want=$1; shift; docker "$@" 2> e >/dev/null; [ $? = 1 ] && [ "$(cat e)" = "$D $want" ] || { echo "$*: $(cat e)"; exit 2; }; }
        twice "container $id is already paused" pause aa aa; twice "container $id is not paused" unpause aa aa; docker stop -t 0 aa aa >/dev/null && docker start aa aa >/dev/null || exit 3
        twice "cannot kill container: aa: container $id is not running" kill aa aa
        twice 'get vv: no such volume' volume rm vv vv; twice 'No such image: spare:latest' rmi spare spare"#;
    a_local_image_for_another_platform_is_named: r#"
        OTHER='image with reference busybox was found but its platform (linux/amd64) does not match the specified platform (linux/arm64)'
        docker run --platform linux/arm64 --pull never --rm $N busybox true 2> e; [ $? = 125 ] && [ "$(head -1 e)" = "docker: Error response from daemon: $OTHER" ] || { cat e; exit 2; }
        # No registry answers here.
        caisson tag busybox 127.0.0.1:1/busybox; caisson run --platform linux/arm64 --rm $N 127.0.0.1:1/busybox true 2> e; [ $? = 125 ] && [ "$(head -1 e)" = "Unable to find image '127.0.0.1:1/busybox:latest' locally" ] || { cat e; exit 3; }
        tail -1 e | grep -qF "caisson: ${OTHER/reference /reference 127.0.0.1:1/}; and it could not be pulled: cannot reach http" && [ $(wc -l < e) = 2 ] || { cat e; exit 4; }
        caisson run --platform linux/amd64 --pull never --rm $N busybox true"#;
    who_may_not_is_told_who_may: r#"
        mkdir u; cp $(readlink -f $(command -v caisson)) u/caisson; chmod 755 . u u/caisson; ln -s caisson u/docker; cd u; user() { setpriv --reuid 1000 --regid 1000 --clear-groups env HOME=/nosuch "$@"; }
        user ./caisson ps 2> e; [ $? = 1 ] && [ "$(cat e)" = "caisson: cannot open $CAISSON_ROOT/store.json: Permission denied
hint: only root may do this: sudo caisson …" ] || { cat e; exit 2; }
        user ./docker run busybox true 2> e; [ $? = 125 ] && [ "$(tail -1 e)" = 'hint: only root may do this: sudo docker …' ] || { cat e; exit 3; }
        user ./caisson version | grep -q Caisson || exit 4
        user ./caisson registry serve --root /root/none/registry 2> e; [ $? = 1 ] && ! grep -q 'os error' e && [ "$(tail -1 e)" = 'hint: a registry needs no root: give it a directory of yours with --root' ] || { cat e; exit 5; }
        setpriv --bounding-set -sys_admin caisson run --rm $N busybox true 2> e; [ $? = 125 ] && tail -1 e | grep -q '^hint: root has no CAP_SYS_ADMIN here' || { cat e; exit 6; }
        caisson run --rm $N busybox cat /etc/shadow 2> e; [ $? = 1 ] && ! grep -q hint e"#;
    a_failed_start_has_dockers_codes: r#"
        # What run exits with, what inspect tells, and how it goes on.
        fails() { run=$1 told=$2; shift 2; caisson run --name cc $N "$@" >/dev/null 2> e; code=$?; got="$code $(caisson inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.FinishedAt}}' cc)"; [ "$got" = "$run created $told 0001-01-01T00:00:00Z" ] && [ "caisson: $(caisson inspect -f '{{.State.Error}}' cc)" = "$(cat e)" ] || { echo "$*: $got: $(cat e)"; exit 2; }
            caisson ps -a --format '{{.Status}}' | grep -qx Created && [ "$(caisson wait cc)" = $told ] || exit 3; caisson rm cc >/dev/null; }
        fails 127 127 --sysctl net.nosuch=1 busybox true
        fails 127 127 busybox nosuch
        fails 126 126 busybox /etc
        fails 125 127 -v /etc:/etc/passwd busybox true
        echo x > f; fails 125 127 -v $PWD/f:/etc busybox true
        fails 125 128 --user nosuch busybox true
        fails 127 128 --device /dev/nosuch busybox true"#;
    copies_tell_dockers_sizes: r#"
        told() { script -qec "caisson cp $1" /dev/null | tr -d '\r' | grep -o 'Successfully.*'; }
        caisson create $N --name cc busybox true >/dev/null; mkdir -p dd/a/b; head -c 1000 /dev/zero > dd/f1; head -c 5000 /dev/zero > dd/a/f2; ln -s f1 dd/l; : > e0
        [ "$(told 'dd cc:/')" = 'Successfully copied 10.2kB to cc:/' ] && [ "$(told 'cc:/dd out')" = "Successfully copied 10.2kB to $PWD/out" ] && [ "$(told 'e0 cc:/')" = 'Successfully copied 1.54kB to cc:/' ] || exit 2
        caisson cp e0 cc:/e1 2> e && [ ! -s e ]"#;
    errors_of_the_command_and_of_the_engine_are_dockers: r#"
        says() { want=$1; shift; docker "$@" > o 2> e; code=$?; [ $code = ${CODE:-1} ] && [ "$(cat e)" = "$want" ] || { echo "$* ($code): $(cat e)"; exit 2; }; }
        caisson run $N --name ended busybox true; caisson run -d $N --name runs busybox sleep 1000 >/dev/null; id() { caisson inspect -f '{{.Id}}' $1; }; : > f
        D='Error response from daemon:'
        says "$D container $(id ended) is not paused" unpause ended
        says "$D container $(id runs) is not paused" unpause runs
        says "$D cannot kill container: nope: No such container: nope" kill nope
        HELP="

Run 'docker run --help' for more information"
        CODE=127 says "docker: $D error gathering device information while adding custom device \"/dev/nosuch\": no such file or directory$HELP" run $N --device /dev/nosuch busybox true
        CODE=127 says "docker: failed to create the container ID file: open /nosuch/x: no such file or directory$HELP" run $N --cidfile /nosuch/x busybox true
        CODE=125 says "docker: container ID file found, make sure the other container isn't running or delete f$HELP" run $N --cidfile f busybox true
        says "container ID file found, make sure the other container isn't running or delete f" create $N --cidfile f busybox true
        docker create --pull never nosuch 2> e; [ $? = 1 ] && grep -qx "$D No such image: nosuch:latest" e || exit 3
        printf 'A=\377\n' > env; CODE=125 says "docker: invalid env file (env): invalid utf8 bytes at line 1: [65 61 255]$HELP" run $N --env-file env busybox true
        echo '[]' > sec; CODE=125 says "docker: $D Decoding seccomp profile failed: sec:1:2: an object with defaultAction was expected, not a list$HELP" run $N --security-opt seccomp=sec busybox true
        printf '{\n nothing' > sec; CODE=125 says "docker: compacting json for seccomp profile (sec) failed: sec:2:2: a name in quotes was expected$HELP" run $N --security-opt seccomp=sec busybox true
        printf '{"defaultAction": "SCMP_ACT_ALLOW",\n"syscalls": [{"names": "read"}]}' > sec; CODE=125 says "docker: $D Decoding seccomp profile failed: sec:2:29: syscalls[0].names: a list was expected, not the text \"read\"$HELP" run $N --security-opt seccomp=sec busybox true
        caisson volume create vv >/dev/null
        for c in 'network ls:network.networkContext' 'volume ls:formatter.volumeContext' 'history busybox:image.historyContext' 'stats --no-stream:container.statsContext'; do
            says "template parsing error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *${c#*:}" ${c%:*} --format '{{.Nope}}'
        done
        says 'failed to save image: invalid output path: stat /nosuch: no such file or directory' save -o /nosuch/x busybox
        says 'failed to export container: cannot write to a directory' export -o /tmp ended
        says "read $PWD: is a directory; an archive of it is imported by: tar -C $PWD -c . | caisson import -" import $PWD
        says "$D No such container: nope
Error: failed to start containers: nope" start nope
        says "$D No such container: nope
Error: failed to rename container named nope" rename nope x
        says 'Error: Neither old nor new names may be empty' rename runs ''
        says "$D renaming a container with the same name as its current name
Error: failed to rename container named runs" rename runs runs
        says 'lstat /nohost: no such file or directory' cp /nohost runs:/
        says 'invalid output path: directory "/nodir" does not exist' cp runs:/bin/busybox /nodir/x
        says 'no such directory' cp f runs:/nodir/
        says "$D Could not find the file /nodir in container runs" cp f runs:/nodir/x
        says 'invalid value for "since": failed to parse value as time or duration: "bad"' logs --since bad runs
        says 'failed to parse value as time or duration: "bad"' events --since bad --until 0s
        says "$D container cannot be disconnected from host network or connected to host network" network connect host runs
        CODE=127 says 'OCI runtime exec failed: exec failed: unable to start container process: chdir to cwd ("/nodir") set in config.json failed: no such file or directory: unknown' exec -w /nodir runs true
        caisson run --rm $N -w /proc/self/fd/9 busybox true 2> e; [ $? = 125 ] && grep -q '("/proc/self/fd/9").*it leads through a link of /proc' e || { cat e; exit 4; }"#;
    nothing_of_the_host_s_paths_is_shown: r#"
        caisson run --rm $N busybox readlink /proc/self/fd/1 | grep -qx /stdout && caisson run --rm $N busybox sh -c 'echo x > /dev/stdout' | grep -qx x || exit 2
        caisson import $IMAGE named >/dev/null; [ "$(caisson history --format '{{.Comment}}' named)" = 'Imported from -' ]"#;
    strangers_are_reaped_and_no_control_group_stays: r#"
        caisson run -d --pid host $N --name hp busybox sh -c 'for i in 1 2 3; do sh -c "sleep .1 & exec true"; done; exec sleep 100' >/dev/null; M=$(awk '/PPid/{print $2}' /proc/$(caisson inspect -f '{{.State.Pid}}' hp)/status)
        children() { ps --no-headers --ppid $M | wc -l; }; until_true() { for i in $(seq 100); do eval "$1" && return; sleep .05; done; echo "never true: $1"; false; }
        until_true '[ $(children) = 1 ]' && caisson exec hp sh -c 'sleep .2 & exec true' && until_true '[ $(children) = 1 ]' || exit 2
        G=$(grep -o 'caisson-[0-9a-f]*' /proc/$M/cgroup | head -1); [ -n "$G" ] && caisson rm -f hp >/dev/null; until_true '[ -z "$(find /sys/fs/cgroup -maxdepth 2 -name $G)" ]' || exit 3
        for i in 1 2 3 4 5; do caisson run -d $N --name "aa$i" busybox sleep 100 >/dev/null & caisson rm -f "aa$((i-1))" >/dev/null 2>&1; wait; done; [ $(caisson ps -q | wc -l) = 5 ] || [ $(caisson ps -q | wc -l) = 1 ]"#;
    volumes_with_long_paths_are_exported_and_imported: r#"
        caisson volume create deep >/dev/null; D=$(caisson volume inspect -f '{{.Mountpoint}}' deep); W=$(printf 'w%.0s' $(seq 200)); ( cd $D && for i in $(seq 25); do mkdir $W && cd $W || exit 1; done; echo far > f ) || exit 2
        caisson volume export deep > d.tar && caisson volume import other < d.tar >/dev/null || exit 3
        ( cd $(caisson volume inspect -f '{{.Mountpoint}}' other) && for i in $(seq 25); do cd $W || exit 1; done; grep -qx far f )"#;
    a_reader_that_goes_ends_events: r#"
        timeout 20 caisson events --since 0 > e & p=$!; for i in 1 2 3; do caisson run --rm $N busybox true; done; kill $p
        (for i in $(seq 200); do caisson tag busybox b$i >/dev/null || exit 1; kill -0 $$ || exit; done) & t=$!; timeout 20 caisson events | head -1 > o; c=${PIPESTATUS[0]}; kill $t 2>/dev/null; wait; [ $c != 124 ] && [ -s o ]"#;
    times_are_the_user_s: r#"
        caisson create $N --name cc busybox true >/dev/null; U=$(TZ= caisson ps -a --format '{{.CreatedAt}}'); echo "$U" | grep -q '+0000 UTC$' || exit 2
        for zone in Asia/Kolkata XYZ-5:30; do L=$(TZ=$zone caisson ps -a --format '{{.CreatedAt}}'); echo "$L" | grep -q ' +0530 [IX][SY][TZ]$' && [ "$(date -d "${L% *}" +%s)" = "$(date -d "${U% *}" +%s)" ] || exit 3; done
        TZ=Asia/Kolkata caisson events --since 1h --until 0s | grep -q '+05:30 container create' || exit 4
        H=$(date -u -d '-1 hour' +%Y-%m-%dT%H:%M:%S); [ -n "$(TZ= caisson events --since $H --until 0s)" ] && [ -z "$(TZ=XYZ3 caisson events --since $H --until 0s)" ] && [ -n "$(TZ=XYZ-3 caisson events --since $H --until 0s)" ]"#;
    templates_that_do_not_run_are_told_in_dockers_words_by_every_list: r#"
        caisson volume create vv >/dev/null; caisson run -d $N --name runs busybox sleep 1000 >/dev/null
        # By our name as by Docker's: the line alone, as scripts look for it.
        for name in caisson docker; do while IFS='|' read -r command code want; do
            $name $command --format '{{.Nope}}' > o 2> e < /dev/null; c=$?; want=$(eval echo "\"$want\"")
            [ $c = $code ] && [ "$(cat e)" = "$want at <.Nope>: can't evaluate field Nope in type $(sed 's/.*type //' e)" ] || { echo "$name $command ($c): $(cat e)"; exit 2; }
            $name $command --format '{{nope}}' > o 2> e < /dev/null; c=$?
            grep -qxE '(template parsing error|failed to parse template|Error parsing format): template: (version)?:1: function "nope" not defined' e || { echo "$name $command ($c): $(cat e)"; exit 3; }
        done <<'END'
ps|1|failed to execute template: template: :1:2: executing \"\"
images|1|template parsing error: template: :1:2: executing \"\"
system df|1|template parsing error: template: :1:2: executing \"\"
system df -v|1|template: :1:2: executing \"\"
stats --no-stream|1|template parsing error: template: :1:2: executing \"\"
events --since 0 --until 0s|64|Error parsing format: template: :1:2: executing \"\"
volume ls|1|template parsing error: template: :1:2: executing \"\"
network ls|1|template parsing error: template: :1:2: executing \"\"
history busybox|1|template parsing error: template: :1:2: executing \"\"
version|1|template: version:1:2: executing \"version\"
info|1|template: :1:2: executing \"\"
END
        done
        for c in runs busybox vv none; do caisson inspect -f '{{.Nope}}' $c 2> e && exit 4; grep -qx 'template parsing error: template: :1:2: executing "" at <.Nope>: map has no entry for key "Nope"' e || { cat e; exit 5; }; done"#;
    a_terminal_and_devices_stand_on_a_user_s_memory_at_dev: r#"
        for flag in '--tmpfs /dev' '--tmpfs /dev/:size=1m' '--mount type=tmpfs,dst=/dev'; do
            script -qec "caisson run --rm -t $flag $N busybox sh -c 'tty; echo x > /dev/null && grep -c \" /dev/pts \" /proc/mounts'" /dev/null | tr -d '\r' > o
            [ "$(head -1 o)" = /dev/pts/0 ] && [ "$(tail -n +2 o)" = 1 ] || { echo "$flag: $(cat o)"; exit 2; }
        done
        caisson run -d --tmpfs /dev --name cc $N busybox sleep 1000 >/dev/null; [ "$(script -qec 'caisson exec -t cc tty' /dev/null | tr -d '\r')" = /dev/pts/0 ] || exit 3
        # What is asked for in so many words is done.
        caisson run --rm --tmpfs /dev:nodev $N busybox sh -c 'echo x > /dev/null' 2> e && exit 4; grep -q 'Permission denied' e"#;
    a_dev_that_is_read_only_is_filled_first: r#"
        for flag in '--tmpfs /dev:ro' '--mount type=tmpfs,dst=/dev,ro'; do
            caisson run --rm $flag $N busybox sh -c 'test -c /dev/null && test -L /dev/fd && test -d /dev/shm && echo x > /dev/null && : > /dev/shm/x || exit 3; : > /dev/x' 2> e
            [ $? = 1 ] && grep -q 'Read-only file system' e || { echo "$flag: $(cat e)"; exit 2; }
        done"#;
    commands_and_variables_of_any_length_are_executed: r#"
        caisson run -d --name cc $N busybox sleep 1000 >/dev/null; long() { head -c $1 /dev/zero | tr '\0' x; }
        for n in 30000 65000 66000 131000; do
            [ "$(caisson exec -e "A=$(long $n)" cc sh -c 'echo ${#A}')" = $n ] || { echo "a variable of $n"; exit 2; }
        done
        set --; for n in $(seq 6); do set -- "$@" -e "V$n=$(long 100000)"; done
        [ "$(caisson exec "$@" cc sh -c 'echo ${#V1} ${#V6}')" = '100000 100000' ] || exit 3
        [ "$(script -qec 'caisson exec -t -e "A=$(head -c 100000 /dev/zero | tr "\\0" x)" cc sh -c "echo \${#A}"' /dev/null | tr -d '\r')" = 100000 ] || exit 4
        # A reason names even such a program, in part.
        caisson exec cc "$(long 100000)" 2> e; [ $? = 126 -o $? = 127 ] && [ $(wc -l < e) = 1 ] && [ $(wc -c < e) -lt 20000 ] && grep -q xxxx e || { echo "code $?"; head -c 300 e; exit 5; }
        caisson exec cc true"#;
    a_damaged_record_of_an_image_is_told_repaired_and_removed: r#"
        caisson save -o whole.tar busybox; id=$(caisson images -q --no-trunc busybox); record=$CAISSON_ROOT/images/sha256-${id#sha256:}
        damaged() { [ $? = $1 ] && [ $(wc -l < e) = 1 ] && grep -q "^caisson: the record of image $id is damaged; pull or load the image again to repair it, or remove it with rmi ($record): $2\$" e || { echo "$3: $(cat e)"; exit 2; }; }
        for made in '{"version":1,"id":5}|line 1, column 19: id: text in quotes was expected, not the number 5' '|line 1, column 1: the text is empty'; do
            printf '%s' "${made%%|*}" > $record
            caisson run --rm $N busybox true 2> e; damaged 125 "${made#*|}" run
            for verb in images 'inspect busybox' 'history busybox'; do caisson $verb > o 2> e; damaged 1 "${made#*|}" "$verb"; done
        done
        # It does not hide the others, nor does the record of a name.
        echo x > f; tar -cf f.tar f; caisson import f.tar other > /dev/null; caisson images > o 2> e; damaged 1 "${made#*|}" others; grep -q '^other ' o || exit 8
        caisson system df > o 2> e && grep -q "the record of image $id is damaged" e && grep -q '^Images  *1 ' o || { cat o e; exit 9; }
        name=$(ls $CAISSON_ROOT/refs/*busybox*); cp "$name" kept; : > "$name"; caisson images > o 2> e; [ $? = 1 ] && grep -q '^other ' o && grep -q '^caisson: the record of the image name in .* is damaged; ' e && [ $(wc -l < e) = 1 ] || { cat o e; exit 10; }
        cp kept "$name"; caisson rmi other > /dev/null
        caisson load -i whole.tar > /dev/null && [ "$(caisson run --rm $N busybox echo whole)" = whole ] || exit 3
        : > $record; caisson rmi busybox > o 2> e || exit 4
        [ "$(head -2 o)" = "Untagged: busybox:latest
Deleted: $id" ] && [ $(wc -l < o) = 3 ] && [ "$(cat e)" = "WARNING: the record of image $(echo ${id#sha256:} | cut -c -12) was damaged (line 1, column 1: the text is empty)" ] || { cat o e; exit 5; }
        [ -z "$(caisson images -q)" ] && [ -z "$(ls $CAISSON_ROOT/images $CAISSON_ROOT/blobs/sha256 $CAISSON_ROOT/layers | grep -v :)" ] || exit 6
        # A name's own record.
        caisson load -i whole.tar > /dev/null; : > $CAISSON_ROOT/refs/*busybox*; caisson run --rm $N busybox true 2> e; [ $? = 125 ] && grep -q '^caisson: the record of the image name in .* is damaged; ' e || exit 7
        caisson load -i whole.tar > /dev/null && caisson run --rm $N busybox true"#;
    a_limit_that_the_kernel_refuses_is_named_with_its_flag: r#"
        refused() { want=$1; shift; caisson run --rm --cidfile id $N "$@" busybox true 2> e; [ $? = 125 ] && [ $(wc -l < e) = 1 ] && grep -q "^caisson: $want" e && [ -z "$(caisson ps -aq)" ] || { echo "$*: $(cat e)"; exit 2; }; rm -f id; }
        refused 'cannot set --pids-limit 99999999999 (in /sys/fs/cgroup/.*/pids.max): Invalid argument$' --pids-limit 99999999999
        refused 'cannot make device /bin/sh/x: cannot make directory "bin/busybox": Not a directory$' --device /dev/null:/bin/sh/x
        refused 'cannot make device /bin/sh: the image has something else at /bin/sh; choose another path in the container$' --device /dev/null:/bin/sh
        caisson run --rm --device /dev/null:/d/null $N busybox test -c /d/null || exit 3
        caisson run -d --name runs $N busybox sleep 1000 > /dev/null; caisson update --pids-limit 99999999999 runs 2> e; [ $? = 1 ] && grep -q 'cannot set --pids-limit 99999999999 (in .*/pids.max): Invalid argument$' e || { cat e; exit 4; }"#;
    a_seccomp_profile_under_which_nothing_starts_is_named: r#"
        caisson run -d --name runs $N busybox sleep 1000 >/dev/null
        refused() { "$@" 2> e; [ $? = 126 ] && [ $(wc -l < e) = 1 ] && grep -q "^caisson: exec: \"true\": operation not permitted: the seccomp profile answers $want, and no program starts without it; allow it in the profile" e || { echo "$want: $(cat e)"; exit 2; }; }
        for action in ERRNO KILL KILL_PROCESS TRAP; do
            printf '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["execve"], "action": "SCMP_ACT_%s"}]}' $action > sec; want="execve with SCMP_ACT_$action"
            refused caisson run --rm $N --security-opt seccomp=sec busybox true; refused caisson run --rm --init $N --security-opt no-new-privileges --security-opt seccomp=sec busybox true
        done
        echo '{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}' > sec; want='execve with SCMP_ACT_ERRNO'; refused caisson run --rm $N --security-opt seccomp=sec busybox true
        caisson run -d $N --name cc --security-opt seccomp=sec busybox true > o 2> e; [ $? = 126 ] && [ "$(caisson inspect -f '{{.State.Status}} {{.State.ExitCode}}' cc)" = 'created 126' ] || exit 3
        echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"}]}' > sec; caisson run --rm $N --security-opt seccomp=sec busybox sh -c 'mkdir /x; echo $?' 2> e | grep -qx 159 || exit 4
        echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["access", "faccessat", "faccessat2"], "action": "SCMP_ACT_ERRNO"}]}' > sec
        [ "$(caisson run --rm $N --security-opt seccomp=sec busybox echo found)" = found ] || exit 5"#;
    what_is_wrong_in_a_document_is_said_for_people: r#"
        caisson save -o whole.tar busybox; mkdir t; tar -C t -xf whole.tar; config=$(sed 's/.*"Config":"\([^"]*\)".*/\1/' t/manifest.json)
        sed 's/"config":{/"config":{"Env":["A=b",7],/' t/$config > t/bad.json; sed -i "s,\"Config\":\"[^\"]*\",\"Config\":\"bad.json\"," t/manifest.json; rm -f t/index.json t/oci-layout; tar -C t -cf bad.tar .
        caisson load -i bad.tar 2> e; [ $? = 1 ] && [ $(wc -l < e) = 1 ] && grep -q '^caisson: bad.tar: image configuration of the archive cannot be used: cannot read image configuration: line 1, column [0-9]*: config.Env\[1\]: text in quotes was expected, not the number 7$' e || { cat e t/bad.json; exit 2; }
        echo '[{"Config": 5}]' > t/manifest.json; tar -C t -cf bad.tar .; caisson load -i bad.tar 2> e; [ $? = 1 ] && grep -q '^caisson: bad.tar: manifest.json of the archive cannot be read: line 1, column 13: \[0\].Config: text in quotes was expected, not the number 5$' e || { cat e; exit 3; }
        caisson create --name cc $N busybox true > id; record=$CAISSON_ROOT/containers/$(cat id)/record; sed -i 's/"name":"cc"/"name":[]/' $record
        caisson start $(cat id) 2> e; grep -q "the record of container $(cat id) is damaged (line 1, column [0-9]*: name: text in quotes was expected, not a list); " e || { cat e; exit 4; }
        rm -r $CAISSON_ROOT/containers/$(cat id) $CAISSON_ROOT/names/cc"#;
    a_damaged_archive_is_named: r#"
        caisson save -o whole.tar busybox; head -c 5000 whole.tar > cut.tar; : > empty.tar; gzip -c whole.tar | head -c 3000 > cut.gz
        for f in cut.tar cut.gz empty.tar; do
            for verb in 'load -i' import; do
                caisson $verb $f 2> e; [ $? = 1 ] && [ $(wc -l < e) = 1 ] && grep -q "^caisson: $f: " e || { echo "$verb $f: $(cat e)"; exit 2; }
            done
        done
        caisson load < cut.tar 2> e; grep -q '^caisson: standard input: cannot read the archive: the archive is truncated: it ends at byte 5000$' e || exit 3
        [ "$(caisson images -q | wc -l)" = 1 ]"#;
    every_list_knows_templates_and_refuses_bad_ones_alike: r#"
        printf 'name: pp\nservices:\n  a:\n    image: busybox\n    network_mode: none\n    command: sleep 1000\n    volumes: [vv:/v]\nvolumes:\n  vv:\n' > compose.yaml; caisson compose up -d 2>/dev/null || exit 2
        [ "$(caisson compose ls --format '{{.Name}} {{.Status}}')" = 'pp running(1)' ] && [ "$(caisson compose ps --format 'table {{.Service}}\t{{.State}}' | tr -s ' \n' ' ')" = 'SERVICE STATE a running ' ] || exit 3
        [ "$(caisson compose images --format '{{.Repository}}:{{.Tag}}')" = busybox:latest ] && [ "$(caisson compose volumes --format '{{.Name}}')" = pp_vv ] || exit 4
        printf 'FROM busybox\nRUN true\n' > Dockerfile; caisson build -q . >/dev/null 2>&1 && [ -n "$(caisson buildx du --format '{{.ID}} {{.Size}}')" ] || exit 5
        for list in 'compose ls' 'compose ps' 'compose images' 'compose volumes' 'buildx du' images 'volume ls' 'network ls'; do
            for bad in '{{' '{{.Bogus}}' '{{nope .}}'; do
                caisson $list --format "$bad" > o 2> e; [ $? = 1 ] && [ ! -s o ] && [ $(wc -l < e) = 1 ] && grep -q '^template parsing error: template: ' e || { echo "$list $bad: $(cat o e)"; exit 6; }
            done
        done
        caisson compose down -v -t 0 2>/dev/null"#;
    an_image_with_something_else_at_a_mount_point_is_named: r#"
        image() { rm -rf t; mkdir t; tar -C t -xf $IMAGE; (cd t && eval "$1"); tar -C t -cf t.tar . && caisson import t.tar odd >/dev/null; }
        refused() {
            image "$1"; shift; want=$1; shift
            caisson run --rm --cidfile id $N "$@" odd true 2> e; [ $? = 125 ] && [ "$(cat e)" = "caisson: cannot mount on $want" ] && [ -z "$(caisson ps -aq)" ] || { echo "$want: $(cat e)"; exit 2; }
            rm -f id
        }
        ETC='/etc/resolv.conf: /etc of the image is no directory; build an image in which it is one'
        for make in 'echo x > etc' 'mkfifo etc' 'ln -s etc etc' 'ln -s bin/busybox etc' 'mknod etc c 1 3'; do refused "rm -rf etc; $make" "$ETC"; done
        refused 'rm -rf etc/resolv.conf; mkdir -p etc/resolv.conf' '/etc/resolv.conf: a directory is in the place of the file: Not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type'
        refused 'mkdir -p etc; ln -sf hosts etc/hosts' '/etc/hosts: /etc/hosts of the image is a link that leads nowhere; build an image without it'
        refused 'echo x > data' '/data/deep: /data of the image is no directory; build an image in which it is one' --tmpfs /data/deep
        refused 'echo x > data' '/data: cannot make directory "data": Not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type' -v $PWD:/data
        # Links that lead out of the root lead nowhere but into it.
        for target in nowhere/deep ../../../../../..$PWD/out /; do
            image "rm -rf etc; ln -s $target etc"; caisson run --rm $N odd grep -q localhost /etc/hosts || exit 3
        done
        [ ! -e out ]"#;
}
