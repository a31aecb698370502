//! What the machine and its owner may do to us, on the real kernel: odd callers, a vanished run
//! root, a reboot, full and read-only disks, another binary, closing terminals, commands that race.
//!
//! After each the next command must tell the truth, and a removal must leave nothing.

use testkit::{Sandbox, can_run, check, check_in};

pub(crate) const FUNCTIONS: &str = r#"
    die() { echo "$*" >&2; exit 1; }
    # A command that must fail soon, without panic, for the reason $1.
    refuse() {
        reason=$1; shift; timeout 10 "$@" > out 2> err; code=$?
        case $code in 1|125|126|127) ;; *) die "exit code $code: $* $(cat err)";; esac
        grep -q "$reason" err || die "not \"$reason\": $* $(cat err)"
        grep -q panicked err && die "panics: $* $(cat err)"; true
    }
    # A command that must succeed soon, and silently.
    does() { timeout 10 "$@" > out 2> err || die "exit code $?: $* $(cat out err)"; [ ! -s err ] || die "noise: $* $(cat err)"; }
    within() { for _ in $(seq 100); do eval "$1" && return; sleep .05; done; die "never: $1 ($(eval "$1" 2>&1))"; }
    state() { caisson inspect -f '{{.State.Status}} {{.State.ExitCode}}' "$1"; }
    pids() { p=$(caisson inspect -f '{{.State.Pid}}' "$1") && m=$(awk '/PPid/{print $2}' /proc/$p/status); }
"#;

macro_rules! adversities {
    ($($name:ident: $script:expr;)*) => {
        $(#[test] fn $name() { check(&format!("{FUNCTIONS}\n{}", $script)); })*
    };
}

/// Runs the script with the store on a disk of its own.
fn check_on_disk(mount: &str, script: &str) {
    if can_run() {
        check_in(
            &Sandbox::on_disk(mount),
            &format!("{FUNCTIONS}\ndisk=$PWD/disk\n{script}"),
        );
    }
}

const FULL: &str = r#"
    caisson run -d $N --name talks busybox sh -c 'while :; do echo line; sleep .01; done' >/dev/null || die run
    caisson run -d $N --name quiet busybox sleep 1000 >/dev/null; caisson run $N --name over busybox true
    mkdir t; head -c 3000000 /dev/urandom > t/big; tar -C t -cf big.tar .; caisson save -o s.tar busybox; sed -i 's/x/x/' s.tar
    list() { find $disk/root/blobs $disk/root/refs $disk/root/layers $disk/root/diffids $disk/root/images $disk/root/containers $disk/root/names -maxdepth 2 | sort; }
    list > before
    dd if=/dev/zero of=$disk/fill bs=64k 2>/dev/null; dd if=/dev/zero of=$disk/fill2 bs=512 2>/dev/null
    full='No space left\|disk is full\|no space left'
    refuse "$full" caisson run --rm $N busybox true
    refuse "$full" caisson run -d $N --name half busybox sleep 1000
    refuse "$full" caisson create $N --name half busybox true
    grep -q "cannot [a-z]* $disk/root/.*: No space" err && grep -q '^hint: .*caisson system prune' err || die "no path or no remedy: $(cat err)"
    for line in 'volume create half' 'network create half' 'tag busybox half' 'rename over half' 'commit over half' 'load -i s.tar' 'cp t/big over:/half'; do refuse "$full" caisson $line; grep -q '^hint: ' err || die "no remedy: $line: $(cat err)"; done
    rm -f $disk/root/containers/*/upper/half
    refuse "$full" caisson import big.tar big
    refuse "$full" unshare -n caisson pull -q hello-world
    list | diff before - || die 'half-made things are visible'
    does caisson ps -a; does caisson images; does caisson logs quiet; does caisson inspect quiet; does caisson exec quiet true
    [ "$(state quiet)" = 'running 0' ] && [ "$(state talks)" = 'running 0' ] && [ "$(state over)" = 'exited 0' ] || die 'not the truth'
    timeout 20 caisson stop -t 0 quiet || die 'stop'; [ "$(state quiet)" = 'exited 137' ] || die "a stopped container: $(state quiet)"
    timeout 20 caisson rm -f over >/dev/null || die 'rm'
    rm $disk/fill $disk/fill2
    lines=$(caisson logs talks | wc -l); within '[ $(caisson logs talks | wc -l) -gt $((lines + 5)) ]'
    [ "$(caisson logs talks | sort -u)" = line ] || die 'a torn log'
    does caisson run --rm $N busybox true; does caisson import big.tar big; does caisson start quiet; does caisson exec quiet true
    does caisson rm -f quiet talks; does caisson rmi big; [ -z "$(ls $disk/root/tmp)" ] || die "left: $(ls -R $disk/root/tmp)"
"#;

#[test]
fn a_full_disk_is_told_and_leaves_nothing_half_made_on_tmpfs() {
    check_on_disk("-t tmpfs -o size=16m tmpfs", FULL);
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_half_made_on_ext4() {
    check_on_disk(
        "$(truncate -s 24m e.img; mkfs.ext4 -q e.img; echo -o loop e.img)",
        FULL,
    );
}

#[test]
fn a_read_only_disk_is_read_and_the_rest_is_refused() {
    check_on_disk(
        "-t tmpfs -o size=32m tmpfs",
        r#"
        caisson run -d $N --name on busybox sh -c 'echo up; exec sleep 1000' >/dev/null; caisson run $N --name off busybox echo words; caisson run -d $N --name dies busybox sleep 1000 >/dev/null
        caisson create $N --name made busybox true >/dev/null; caisson tag busybox spare; pids dies; mount --bind disk disk; mount -o remount,bind,ro disk; kill -9 $m $p; sleep .2
        does caisson ps -a; grep -q 'Up' out || die 'ps'; does caisson images; does caisson logs off; grep -qx words out || die 'logs'
        does caisson logs on; does caisson inspect off on made dies; does caisson version; timeout 10 caisson info >/dev/null || die info
        does caisson image inspect busybox; does caisson history busybox; does caisson events --since 1m --until 0s; does caisson volume ls; does caisson network ls; does caisson system df; timeout 10 caisson doctor > out 2> err || [ $? = 1 ] || die "doctor: $(cat err)"; caisson cp off:/bin/busybox - | tar t | grep -q busybox || die "cp"; caisson export off | tar t | grep -q busybox || die "export"; does caisson top on; does caisson port on; does caisson exec on true
        [ "$(state on)" = 'running 0' ] && [ "$(state off)" = 'exited 0' ] && [ "$(state made)" = 'created 0' ] || die 'not the truth'
        [ "$(state dies)" = 'exited 255' ] || die "one that died: $(state dies)"
        ro='Read-only file system\|read-only'
        refuse "$ro" caisson run --rm $N busybox true; refuse "$ro" caisson create $N busybox true; refuse "$ro" caisson start off; refuse "$ro" caisson rm off
        refuse "$ro" caisson tag busybox other; refuse "$ro" caisson rmi spare; refuse "$ro" caisson import $IMAGE x; refuse "$ro" caisson rename off other; refuse "$ro" caisson cp out off:/
        refuse "$ro" caisson pull -q hello-world
        umount disk; does caisson rm -f on off made dies; does caisson run --rm $N busybox true"#,
    );
}

adversities! {
    an_end_that_nobody_saw_is_no_success: r#"
        caisson run --rm $N --name att busybox sleep 1000 > out 2> err & c=$!; within 'caisson exec att true'; pids att
        kill -STOP $c; kill -9 $m $p; within '! kill -0 $p'; kill -CONT $c; wait $c; code=$?
        [ $code = 255 ] && grep -q 'the connection to the monitor of container .* was lost' err || die "$code: $(cat err)"
        # It ends between two looks of a client that has lost its monitor.
        for i in $(seq 30); do
            caisson run --rm $N busybox sh -c 'i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done; exit 6' > out 2> err & c=$!
            sleep 0.0$((i % 3 + 1)); m=$(pgrep -P $c) && kill -9 $m 2>/dev/null; wait $c; code=$?
            case $code in 6 | 125 | 255) ;; *) die "round $i: $code: $(cat err)" ;; esac
        done"#;
    a_limit_of_file_sizes_ends_the_log_and_nothing_else: r#"
        (ulimit -f 50; caisson run --rm $N busybox sh -c 'i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; i=$((i+1)); done; exit 6'; echo $? > code) | wc -c > seen
        [ "$(cat code)" = 6 ] && [ "$(cat seen)" = 213000 ] || die "$(cat code seen)"
        (ulimit -f 50; caisson run -d $N --name long busybox sh -c 'i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; i=$((i+1)); done; exec sleep 1000' >/dev/null)
        within 'caisson top long | grep -q sleep.1000'; does caisson logs long; does caisson stop -t 0 long; [ "$(state long)" = 'exited 137' ] || die "$(state long)""#;
    a_caller_who_reaps_others_finds_nothing_of_a_run_that_failed: r#"
        python3 -c '
import ctypes, os, subprocess, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
for words in (["-p", "99999:1"], ["--network", "nosuch"], ["-v", "/nowhere/at/all:relative"]):
    code = subprocess.run(["caisson", "run", *words, "busybox", "true"], stderr=subprocess.DEVNULL).returncode
    left = open(f"/proc/self/task/{os.getpid()}/children").read()
    if code != 125 or left: raise SystemExit(f"{words}: {code}, left {left}")' || die 'see above'"#;
    a_container_that_a_command_holds_goes_on_when_command_and_monitor_are_killed: r#"
        caisson run -d $N --name held busybox sh -c 'head -c 300000000 /dev/urandom > /big; touch /made; exec sleep 1000' >/dev/null; within 'caisson exec held test -e /made'; pids held
        frozen() { cat $(find /sys/fs/cgroup -path "*/$(caisson inspect -f '{{.Id}}' held)/*" \( -name cgroup.freeze -o -name freezer.state \)) | grep -q '^1$\|FROZEN'; }
        for whom in both monitor; do
            caisson commit held work >/dev/null 2>&1 & c=$!; within frozen
            [ $whom = monitor ] || kill -9 $c; kill -9 $m; wait $c; within '! frozen'
            [ "$(state held)" = 'running 0' ] && timeout 10 caisson exec held true && pids held || die "after $whom"
        done
        caisson rm -f held >/dev/null; caisson image inspect work >/dev/null 2>&1 && caisson rmi work >/dev/null; true"#;
    what_the_caller_is_does_not_leak: r#"
        v="-v $PROBE:/bin/probe:ro"
        caisson run --rm $N $v busybox probe state > wanted || die run; [ $(wc -l < wanted) -gt 20 ] || die probe
        odd() {
            umask 077; trap '' HUP INT TERM PIPE USR1 USR2 CHLD 33 34 64; ulimit -Sn 64; ulimit -Sc 0; ulimit -Ss 256; export CANARY=x LD_PRELOAD= IFS=a
            choom -n 500 -p $BASHPID >/dev/null; mkdir gone; cd gone; rmdir ../gone; exec 8</etc/passwd 20</etc
            exec nice -n 7 taskset 1 "$@"
        }
        (odd caisson run --rm $N $v busybox probe state) | diff wanted - || die 'in front'
        (odd caisson run -d $N $v --name once busybox probe state >/dev/null); within '[ "$(state once)" = "exited 0" ]'; caisson logs once | diff wanted - || die 'in the background'
        (odd caisson run -d $N $v --name back busybox sleep 1000 >/dev/null)
        caisson exec back probe state | diff wanted - || die 'exec'; (odd caisson exec back probe state) | diff wanted - || die 'exec by an odd caller'
        pids back; grep -q 'SigIgn:.*0000000001000000$' /proc/$m/status || die "the monitor ignores $(grep SigIgn /proc/$m/status)" # SIGXFSZ
        [ "$(readlink /proc/$m/cwd)" = / ] && [ "$(cat /proc/$m/oom_score_adj)" -le 0 ] && ! tr '\0' '\n' < /proc/$m/environ | grep -q CANARY || die monitor
        ls -l /proc/$m/fd | grep -e passwd -e ' /etc$' && die 'a descriptor of the caller'; true"#;

    a_limit_above_ones_own_is_cut_with_a_word: r#"
        (ulimit -n 5000; exec setpriv --bounding-set -sys_resource caisson run --rm $N --ulimit nofile=70:6000 --ulimit nofile=80:6000 --ulimit core=0 busybox sh -c 'ulimit -Sn; ulimit -Hn') > cut 2> told
        [ "$(cat cut | xargs)" = '80 5000' ] && [ "$(cat told)" = 'WARNING: --ulimit nofile=80:6000 is cut to 5000: more needs CAP_SYS_RESOURCE' ] || die "$(cat cut told)"
        [ "$(caisson run --rm $N --ulimit nofile=70:90 busybox sh -c 'ulimit -Sn; ulimit -Hn' 2>&1 | xargs)" = '70 90' ]"#;

    standard_streams_may_be_closed: r#"
        i=0
        for close in '0<&-' '1>&-' '2>&-' '0<&- 1>&-' '0<&- 1>&- 2>&-' '1>/dev/full' '2>/dev/full' '1>/dev/full 2>/dev/full'; do
            i=$((i+1)); eval "timeout 10 caisson run -d \$N --name back$i busybox sh -c 'ls /proc/self/fd; echo done; exec sleep 1000' $close"
            within "caisson logs back$i | grep -qx done"; [ "$(caisson logs back$i | head -n -1 | tr '\n' ' ')" = '0 1 2 3 ' ] || die "descriptors after $close: $(caisson logs back$i)"
            eval "timeout 10 caisson run --name front$i \$N busybox sh -c 'echo out; echo err >&2; exit 7' $close"; code=$?
            [ $code = 7 ] || die "exit code $code with $close"; [ "$(state front$i)" = 'exited 7' ] || die "$close: $(state front$i)"
            for line in ps images "inspect back$i" "logs back$i" "exec back$i ls /" "nosuch" "inspect nosuch" 'help' "rm nosuch"; do
                eval "timeout 10 caisson $line $close" >> all 2>&1; code=$?; [ $code -le 1 ] || [ $code = 141 ] || die "exit code $code of $line with $close"
            done
        done; grep panicked all && die panics; true"#;

    a_container_outlives_the_group_of_its_caller: r#"
        g=caisson-it-caller-$$; for h in /sys/fs/cgroup/*/; do mkdir $h$g 2>/dev/null; [ -e $h$g/cpuset.cpus ] && { cat $h/cpuset.cpus > $h$g/cpuset.cpus; cat $h/cpuset.mems > $h$g/cpuset.mems; }; done
        (for h in /sys/fs/cgroup/*/; do echo $BASHPID > $h$g/cgroup.procs; done 2>/dev/null; caisson run -d $N --name cc busybox sleep 1000 >/dev/null; caisson run -d -ti $N --name tt busybox sh >/dev/null; sleep 1000) & within '[ $(caisson ps -q | wc -l) = 2 ]'
        for h in /sys/fs/cgroup/*/; do kill -9 $(cat $h$g/cgroup.procs) 2>/dev/null; [ ! -e $h$g/cgroup.kill ] || echo 1 > $h$g/cgroup.kill; done; wait 2>/dev/null
        sleep .2; does caisson exec cc true; does caisson exec tt true; pids cc; kill -0 $m || die 'the monitor is gone'; grep $g /proc/$m/cgroup /proc/$p/cgroup && die 'still in the group of its caller'
        for h in /sys/fs/cgroup/*/; do [ ! -d $h$g ] || rmdir $h$g || die "in use: $h$g"; done"#;

    a_container_outlives_session_and_terminal_of_its_caller: r#"
        script -qec 'caisson run -d $N --name one busybox sh -c "while :; do echo x; sleep .05; done"; caisson run -d -ti $N --name two busybox sh' /dev/null >/dev/null
        setsid sh -c 'caisson run -d $N --name three busybox sleep 1000 > id; kill -HUP 0; sleep 9'; setsid sh -c 'caisson run -d $N --name four busybox sleep 1000 > id4; kill -9 0'
        (exec 3<>/dev/null; caisson run -d $N --name five busybox sleep 1000 | head -c 0)
        sleep .3; for c in one two three four five; do [ "$(state $c)" = 'running 0' ] || die "$c: $(state $c)"; does caisson exec $c true; pids $c; kill -0 $m || die "the monitor of $c"; done"#;

    a_run_root_that_vanishes_while_nothing_runs: r#"
        caisson run $N --name off busybox echo words; caisson create $N --name made busybox true >/dev/null; rm -rf run
        does caisson ps -a; does caisson logs off; grep -qx words out || die logs; does caisson start -a made; does caisson start off; does caisson events --since 1m --until 0s; rm -rf run; does caisson rm off made"#;

    after_a_reboot_nothing_runs_and_everything_is_there: r#"
        for name in one two; do caisson run -d $N --name $name busybox sh -c 'echo up; exec sleep 1000' >/dev/null; done; caisson run -d $N --name always --restart always busybox sleep 1000 >/dev/null
        caisson run -d --rm $N --name brief busybox sleep 1000 >/dev/null; caisson run -d $N --name paused busybox sleep 1000 > /dev/null; caisson pause paused >/dev/null; caisson run $N --name off busybox sh -c 'exit 3'; within 'caisson logs one | grep -q up'
        caisson unpause paused >/dev/null; for c in one two always brief paused; do pids $c; kill -9 $m $p; done; rm -rf run
        sed -i -E 's/"(boot_id|BootId|bootId)":"[^"]*"/"\1":"00000000-0000-0000-0000-000000000000"/' $CAISSON_ROOT/containers/*/state; grep -L 00000000-0000 $CAISSON_ROOT/containers/*/state | grep . && die 'no boot id'
        does caisson ps -a; for c in one two paused; do [ "$(state $c)" = 'exited 255' ] || die "$c: $(state $c)"; done; [ "$(state off)" = 'exited 3' ] || die off
        caisson inspect brief >/dev/null 2>&1 && die 'one with --rm is there'
        does caisson logs one; grep -qx up out || die logs; does caisson start one; does caisson exec one true; does caisson start always; does caisson restart -t 0 two; does caisson rm -f one two always paused off"#;

    a_binary_that_is_replaced_or_gone_while_a_container_runs: r#"
        cp "$(readlink -f bin/caisson)" keep; rm bin/caisson bin/docker; cp keep bin/caisson
        caisson run -d $N --name cc --init busybox sh -c 'i=0; while :; do echo $((i=i+1)); sleep .05; done' >/dev/null; caisson run -d $N --name health --health-cmd 'test -e /ok' --health-interval 200ms busybox sleep 1000 >/dev/null
        caisson run -d $N --name again --restart on-failure:3 busybox sh -c 'sleep .4; false' >/dev/null; pids cc
        rm bin/caisson; sleep .2; cp keep bin/new; chmod 755 bin/new; mv bin/new bin/caisson
        does caisson exec cc true; does caisson exec health touch /ok; within 'caisson ps | grep -q "(healthy)"'; within '[ "$(caisson inspect -f "{{.RestartCount}} {{.State.Status}}" again)" = "3 exited" ]'
        does caisson logs cc; does caisson restart -t 0 health; rm bin/caisson; cp keep bin/caisson; does caisson stop -t 1 cc; does caisson start cc; kill -9 $(pids cc; echo $m); does caisson exec cc true"#;

    two_commands_on_one_name: r#"
        for i in $(seq 8); do
            for j in 1 2 3; do (caisson run -d $N --name same busybox sleep 1000 >> ids.$i 2>> err.$i; echo $? >> codes.$i) & done; wait
            [ "$(sort codes.$i | tr '\n' ' ')" = '0 125 125 ' ] || die "run: $(cat codes.$i err.$i)"; [ "$(wc -l < ids.$i)" = 1 ] && [ "$(grep -c 'in use' err.$i)" = 2 ] || die "run: $(cat err.$i)"
            [ "$(caisson ps -aq --no-trunc)" = "$(cat ids.$i)" ] || die 'two of one name'
            for j in 1 2 3; do (caisson stop -t 0 same >/dev/null 2>> err || die stop; echo ok >> stops.$i) & done; wait; [ $(wc -l < stops.$i) = 3 ] || die "stop: $(cat err)"
            for j in 1 2 3; do (caisson start same >/dev/null 2>> err; echo $? >> starts.$i) & done; wait; [ "$(sort -u starts.$i)" = 0 ] || die "start: $(cat err)"
            does caisson exec same true; pids same; [ "$(grep -lz "^CAISSON" /proc/[0-9]*/cgroup 2>/dev/null | wc -l)" = 0 ]
            for j in 1 2 3; do (caisson rm -f same > rm.$j 2>&1; code=$?; [ $code = 0 ] || grep -q 'No such container\|already in progress' rm.$j || echo "$code $(cat rm.$j)" >> bad) & done; wait; [ ! -e bad ] || die "rm: $(cat bad)"
            [ -z "$(caisson ps -aq)" ] || die 'still there'
        done"#;

    different_commands_on_one_container: r#"
        for i in $(seq 12); do
            caisson create $N --name same busybox sleep 1000 >/dev/null || die "create in round $i"
            for line in 'start same' 'rm -f same' 'stop -t 0 same' 'exec same true' 'rename same other' 'kill same' 'ps -a' 'inspect same'; do (timeout 20 caisson $line > "out.$line" 2> "err.$line"; code=$?; [ $code -le 1 ] || [ $code = 125 ] || [ $code = 126 ] || [ $code = 137 ] || echo "$line: $code $(cat "err.$line")" >> bad) & done; wait
            [ ! -e bad ] || die "$(cat bad)"; grep -l panicked err.* && die panics
            for name in same other; do timeout 20 caisson rm -f $name >/dev/null 2>&1; done; [ -z "$(caisson ps -aq)" ] || die "round $i: $(caisson ps -a)"
        done"#;

    a_store_of_a_newer_version_is_refused: r#"
        caisson create $N --name made busybox true >/dev/null; cp root/store.json keep; sed -i 's/"format":[0-9]*/"format":99/' root/store.json; find root -printf '%p %T@\n' | sort > before
        for line in ps images 'run --rm busybox true' 'rm -f made' 'inspect made' 'pull hello-world' info; do refuse 'newer\|later\|version' caisson $line; done
        find root -printf '%p %T@\n' | sort | diff before - || die 'changed'; printf '{"format":1,"form":"mapped"}' > root/store.json; refuse 'form' caisson ps; printf '{' > root/store.json; refuse 'store.json' caisson ps
        mv keep root/store.json; f=$(echo root/containers/*/record*); sed -i 's/"version":[0-9]*/"version":99/' $f; refuse 'newer\|later\|version' caisson start made; refuse 'later' caisson ps -a; sed -i 's/"version":99/"version":1/' $f; does caisson rm made"#;
}

#[test]
fn a_run_root_that_vanishes_while_a_container_runs() {
    check(&format!(
        "{FUNCTIONS}\n{}",
        r#"
        caisson run -d $N --name cc busybox sh -c 'i=0; while :; do echo $((i=i+1)); sleep .05; done' >/dev/null; caisson run $N --name off busybox true; pids cc
        rm -rf run; does caisson ps -a; [ "$(state cc)" = 'running 0' ] || die "$(state cc)"; [ "$(state off)" = 'exited 0' ] || die "$(state off)"
        does caisson exec cc true; does caisson run --rm $N busybox true; does caisson logs cc; kill -0 $p || die 'it was ended'
        rm -rf run; does caisson stop -t 0 cc; [ "$(state cc)" = 'exited 137' ] || die "stopped: $(state cc)"; does caisson start cc; does caisson exec cc true
        rm -rf run; does caisson rm -f cc off; [ ! -e /proc/$p ] || die 'it still runs'"#
    ));
}
