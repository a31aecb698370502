//! What a hostile image, container or argument tries against the host, on the real kernel.
//!
//! Each script runs in a store of its own beside a directory `host`, at `$HOST`, that stands for the
//! host's files: after the script it must be as it was, and so must the host's own `/dev/null` and
//! `/etc`. Container processes that reach it would find the word of `$HOST/secret`.
//!
//! A command may succeed or fail, but it must do so soon, with one of Docker's exit codes, and with a
//! reason: `try` and `refuse` see to that.

use testkit::check;

const FUNCTIONS: &str = r#"
    HOST=$PWD/host
    mkdir -p host/dir && echo HOST-SECRET > host/secret && echo x > host/dir/file && chmod 600 host/secret
    die() { echo "$*" >&2; exit 1; }
    # A small image's tree as directory $1.
    tree() {
        rm -rf "$1"; mkdir -p "$1/bin" "$1/etc" "$1/tmp" "$1/root"; cp "$(command -v busybox)" "$1/bin/busybox"
        for name in sh cat env false grep head id ls mkfifo mknod ps rm seq sleep tail tar true; do ln -s busybox "$1/bin/$name"; done
        printf 'root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/:/bin/sh\n' > "$1/etc/passwd"
    }
    # Directory $1 as image $1; the rest are flags.
    pack() { name=$1; shift; tar -C "$name" -Scf pack.tar . && caisson import "$@" pack.tar "$name" >/dev/null || die "cannot import $name"; }
    host_state() {
        find host -printf '%P %y %m %U %s %T@ %C@ %l\n' | sort; cat host/secret
        stat -c '%n %F %a %u %t:%T %i' /dev/null /dev/zero /dev/shm /etc /etc/passwd /etc/hosts /etc/resolv.conf
        sha256sum /etc/passwd /etc/hosts /etc/resolv.conf
    }
    host_state > state.before
    try() {
        timeout 10 "$@" > out 2> err; code=$?
        [ $code != 124 ] || die "hangs: $*"
        grep -qs -e panicked -e 'internal error' err && die "panics: $* $(cat err)"
        grep -qs HOST-SECRET out err && die "reads a file of the host: $*"
        return $code
    }
    refuse() {
        try "$@" && die "accepted: $* $(cat out)"
        case $code in 1|125|126|127) ;; *) die "exit code $code: $* $(cat err)";; esac
        [ -s err ] || die "no reason: $*"
    }
    # Either a container that works, or a clear error.
    either() { try "$@" && return; [ $code$INTERPRETER != 1yes ] || return 0; case $code in 125|126|127) [ -s err ] || die "no reason: $*";; *) die "exit code $code: $* $(cat err)";; esac; }
    unharmed() { host_state | diff state.before - || die 'the host was touched'; }
"#;

fn attack(script: &str) {
    check(&format!("{FUNCTIONS}\n{script}\nunharmed"));
}

macro_rules! attacks {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { attack($script); })* };
}

/// The binary is a copy, so that a test that finds a hole spoils no other.
const OWN_BINARY: &str = r#"
    cp "$(readlink -f bin/caisson)" own && rm bin/caisson bin/docker && ln -s ../own bin/caisson && cp own before
"#;

#[test]
fn our_binary_cannot_be_overwritten_from_a_container() {
    let script = r#"
        # Our binary may well be run as the interpreter: confined, and it knows no such command.
        INTERPRETER=yes
        tree evil; printf '#!/proc/self/exe\n' > evil/entry; chmod 755 evil/entry; cp $PROBE evil/bin/probe
        ln -s /proc/self/exe evil/link
        cat > evil/attack <<'END'
echo x > /proc/self/exe; echo x > /proc/1/exe
for i in $(seq "$1"); do
    for e in /proc/[0-9]*/exe; do
        { exec 9< $e; } && [ "$(head -c 4 <&9 | tail -c 3)" = ELF ] && echo x > /proc/self/fd/9
        exec 9<&-
    done
done
END
        pack evil -c 'ENTRYPOINT ["/entry"]'
        either caisson run --rm $N evil
        either caisson run --rm $N evil version
        either caisson run --rm $N --entrypoint /link evil
        for flag in --init --init=false; do
            try caisson run --rm $flag $N --entrypoint sh evil /attack 3
        done
        caisson run -d $N --name cc --entrypoint sh evil -c 'sh /attack 1000 2>/dev/null; sleep 60' >/dev/null || die run
        for i in $(seq 8); do
            either caisson exec cc /entry
            either caisson exec cc /link
            either caisson exec cc sh /attack 1
        done
        caisson exec cc sh -c 'ps' > out; [ -s out ] || die 'it does not run'
        cmp own before || die 'our binary was overwritten'
    "#;
    attack(&format!("{OWN_BINARY}\n{script}"));
}

/// Every place that we fill or mount, as something that it should not be.
fn places(make: &str) -> String {
    format!(
        r#"
        for place in dev sys proc etc etc/resolv.conf etc/hosts etc/hostname dev/null dev/shm dev/pts \
            dev/mqueue dev/console dev/ptmx dev/fd sys/fs proc/sys bin/../run/secrets; do
            tree evil; mkdir -p evil/dev evil/proc evil/sys evil/run; rm -rf evil/$place; mkdir -p $(dirname evil/$place)
            place=evil/$place; {make}
            pack evil
            either caisson run --rm $N evil sh -c 'echo x > /dev/null && grep -q . /proc/1/status && [ -c /dev/null ] && [ -d /sys/kernel ] && cat /etc/hosts /etc/resolv.conf >/dev/null; echo works >&2'
            [ $code != 0 ] || grep -q works err || die "$place: $(cat err)"
            [ $code = 0 ] || grep -q "cannot\|no ordinary\|not a\|No such" err || die "$place: $code $(cat err)"
        done"#
    )
}

#[test]
fn system_places_that_are_links_out_of_the_image_stay_inside() {
    attack(&places("ln -s ../../../../../../..$HOST $place"));
}

#[test]
fn system_places_that_are_absolute_links_stay_inside() {
    attack(&places(
        "mkdir -p evil$HOST; echo own > evil$HOST/secret; ln -s $HOST/secret $place",
    ));
}

#[test]
fn system_places_that_are_links_to_descriptors_stay_inside() {
    attack(&places("ln -s /proc/self/fd/5 $place"));
}

#[test]
fn system_places_that_are_files_are_seen() {
    attack(&places("echo x > $place"));
}

#[test]
fn system_places_that_are_queues_do_not_hang() {
    attack(&places("mkfifo $place"));
}

#[test]
fn system_places_that_are_devices_or_loops_are_seen() {
    attack(&places(
        "case $place in *s*) ln -s $(basename $place) $place;; *) mknod $place b 7 0;; esac",
    ));
}

/// What `/etc/passwd` may be; with and without a name to look up.
fn passwd(make: &str) -> String {
    format!(
        r#"
        tree evil; p=evil/etc/passwd; rm $p; {make}
        pack evil
        for user in '' www 33 33:nosuch 4294967295 'www:' ; do
            SECONDS=0
            # Not `id`: it reads the file itself.
            either env CANARY=HOST-SECRET caisson run --rm $N ${{user:+-u "$user"}} evil grep ^Uid: /proc/self/status
            [ $SECONDS -lt 5 ] || die "slow for $user"
            [ "$code" != 0 ] || grep -q '^Uid:.[0-9]' out || die "$user: $(cat out)"
            [ "$user" != 33 ] || [ $code != 0 ] || grep -q '^Uid:.33.33.33.33$' out || die "$user: $(cat out)"
        done"#
    )
}

#[test]
fn a_user_file_that_is_no_file_is_no_danger() {
    for make in [
        "mkfifo $p",
        "mkdir $p",
        "ln -s passwd $p",
        "mknod $p c 1 5",
        "mknod $p b 7 0",
    ] {
        attack(&passwd(make));
    }
}

#[test]
fn a_user_file_that_links_elsewhere_reads_nothing_of_the_host() {
    for make in [
        "ln -s /proc/1/environ $p",
        "ln -s /proc/self/environ $p",
        "ln -s ../../../../../..$HOST/secret $p",
        "ln -s /dev/zero $p",
    ] {
        attack(&passwd(make));
    }
}

#[test]
fn a_user_file_of_any_size_is_no_danger() {
    for make in [
        "truncate -s 1G $p",
        "{ printf 'www:x:33:33:'; head -c 1048576 /dev/zero | tr '\\0' a; echo :/:/bin/sh; } > $p",
        "head -c 300000 /dev/urandom > $p",
        "yes 'www:x:33:33::/:' | head -n 200000 > $p",
        "printf 'www:x:-1:-1:::\\nwww:x:99999999999999999999:0:::\\n:::\\n\\n:' > $p",
    ] {
        attack(&passwd(make));
    }
}

/// A static program exchanges a path's component with a link while commands resolve it.
#[test]
fn names_that_change_while_they_are_resolved_stay_inside() {
    attack(
        r#"
        tree evil; cp $PROBE evil/bin/probe; mkdir -p evil/d/sub evil$HOST; echo inside > evil/d/sub/secret; echo inside > evil$HOST/secret
        ln -s ../../../../../../..$HOST evil/d/link; ln -s $HOST evil/d/other
        pack evil; echo from-outside > file
        caisson run -d $N --name cc evil sh -c 'probe swap /d/sub /d/link & probe swap /d/sub /d/other' >/dev/null || die run
        for i in $(seq 25); do
            try caisson cp file cc:/d/sub/new
            try caisson cp file cc:/d/sub
            rm -rf got; try caisson cp cc:/d/sub got; grep -qrs HOST-SECRET got && die 'copied out a file of the host'
            rm -rf got; try caisson cp cc:/d/sub/secret got; grep -qrs HOST-SECRET got && die 'copied out a file of the host'
            try caisson cp cc:/d/sub/secret -
            try caisson exec -w /d/sub cc cat secret
            try caisson exec cc cat /d/sub/secret
        done
        caisson inspect -f '{{.State.Running}}' cc | grep -qx true || die "it ended: $(caisson logs cc)""#,
    );
}

/// What a container mounts from within a volume, another may exchange for a link at any moment.
#[test]
fn a_path_within_a_volume_that_becomes_a_link_stays_inside() {
    attack(
        r#"
        sub='type=volume,src=vol,dst=/x,volume-subpath=sub'
        tree evil; cp $PROBE evil/bin/probe; pack evil
        caisson run --rm $N -v vol:/v busybox sh -c 'mkdir /v/sub; echo inside > /v/sub/secret; ln -s / /v/link; ln -s ../../../../../.. /v/up; ln -s sub /v/near' || die fill
        # At an automatic restart nobody but the monitor looks.
        caisson run -d $N --name again --restart always -v vol:/v --mount $sub busybox sh -c "cat /x$HOST/secret /x/secret; mv /v/sub /v/was; mv /v/link /v/sub; sleep .2" >/dev/null || die run
        for i in $(seq 50); do caisson inspect -f '{{.RestartCount}}{{.State.Error}}' again > state; grep -qx 0 state || break; sleep .1; done
        sleep 1; caisson logs again > log 2>&1; cat state log; grep -q inside log || die 'it did not run'; grep -q HOST-SECRET log && die 'the restarted container reads the host'
        caisson rm -f again >/dev/null; caisson run --rm $N -v vol:/v busybox sh -c 'mv /v/sub /v/link; mv /v/was /v/sub' || die restore
        caisson run --rm $N --mount type=volume,src=vol,dst=/x,volume-subpath=near busybox cat /x/secret | grep -qx inside || die 'a link that stays inside'
        caisson run -d $N --name swap -v vol:/v evil sh -c 'probe swap /v/sub /v/link & probe swap /v/sub /v/up' >/dev/null || die run
        inside=0; for i in $(seq 50); do either caisson run --rm $N --mount $sub busybox sh -c "cat /x$HOST/secret 2>/dev/null; cat /x/secret"; ! grep -qx inside out || inside=$((inside + 1)); done
        echo $inside of 50; caisson inspect -f '{{.State.Running}}' swap | grep -qx true || die 'nobody exchanged anything'"#,
    );
}

/// Places that things are mounted on, in a volume whose other user exchanges them all the time.
#[test]
fn a_target_in_a_shared_volume_never_leaves_the_root() {
    attack(
        r#"
        tree evil; cp $PROBE evil/bin/probe; pack evil; mkdir b; echo mounted > b/file; echo mounted > file
        caisson run --rm $N -v vol:/v busybox sh -c "mkdir -p /v/sub/dir; echo x > /v/sub/secret; ln -s ../../../../../../../..$HOST /v/up; ln -s $HOST /v/abs" || die fill
        caisson run -d $N --name swap -v vol:/v evil sh -c 'probe swap /v/sub /v/up & probe swap /v/sub /v/abs' >/dev/null || die run
        ours() { grep " $PWD/" /proc/self/mountinfo; }; ours > mounts.before; here=0
        for i in $(seq 30); do
            either caisson run --rm $N -v vol:/v -v $PWD/b:/v/sub/dir -v $PWD/file:/v/sub/secret --tmpfs /v/sub/new evil sh -c 'cat /v/sub/dir/file; true'
            ! grep -qx mounted out || here=$((here + 1)); ours | diff mounts.before - || die 'a mount reached the host'
        done
        echo $here of 30; caisson inspect -f '{{.State.Running}}' swap | grep -qx true || die 'nobody exchanged anything'"#,
    );
}

attacks! {
    kernel_parameters_of_the_host_cannot_be_reached: r#"
        before=$(cat /proc/sys/kernel/panic); forward=$(cat /proc/sys/net/ipv4/ip_forward)
        trap 'echo $before > /proc/sys/kernel/panic' EXIT
        same() { [ "$(cat /proc/sys/kernel/panic)" = $before ] || die "set by $1"; }
        # A slash stands for a dot in a name, and two dots lead upwards.
        for name in net.//.kernel.panic net.ipv4.//.//.kernel.panic fs.mqueue.//.//.kernel.panic net././/.kernel.panic; do
            refuse caisson run --rm $N --sysctl $name=$((before + 7)) busybox true
            same $name; grep -q "sysctl \"$name\" is not in a separate kernel namespace" err || die "$(cat err)"
            printf 'services:\n  a:\n    image: busybox\n    network_mode: none\n    sysctls:\n      %s: %s\n' $name $((before + 7)) > compose.yaml
            refuse caisson compose -p odd up -d; same "compose: $name"; caisson compose -p odd down -t 0 2>/dev/null
        done
        refuse caisson run --rm --network host --sysctl net.ipv4.ip_forward=$forward busybox true; grep -q 'not allowed in host network namespace' err || die "$(cat err)"
        refuse caisson run --rm $N --ipc host --sysctl kernel.shmmax=$(cat /proc/sys/kernel/shmmax) busybox true; grep -q 'hosts ipc namespace' err || die "$(cat err)"
        caisson run -d --network host --name cc busybox sleep 1000 >/dev/null || die run
        refuse caisson run --rm --network container:cc --sysctl net.ipv4.ip_forward=$forward busybox true; grep -q 'host network namespace' err || die "$(cat err)"
        # One's own may be set, names with a slash too.
        [ "$(caisson run --rm $N --sysctl net.ipv4.conf.lo.rp_filter=2 --sysctl kernel.msgmax=4242 busybox cat /proc/sys/net/ipv4/conf/lo/rp_filter /proc/sys/kernel/msgmax | tr '\n' ' ')" = '2 4242 ' ] || die 'own parameters'"#;

    a_working_directory_behind_a_descriptor_stays_inside_for_run_and_exec: r#"
        caisson run -d $N --name cc busybox sleep 100 >/dev/null || die run
        look='cd ..; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do [ -e ./'${HOST#/}'/secret ] && echo HOST-SECRET; [ -e host/secret ] && echo HOST-SECRET; cd ..; done; cat bin/busybox >/dev/null'
        for n in 0 3 5 6 7 8 9 12; do
            either caisson run --rm $N -w /proc/self/fd/$n busybox sh -c "$look"
            either caisson exec -w /proc/self/fd/$n cc sh -c "$look"
        done
        either caisson run --rm $N -w /proc/1/cwd busybox sh -c "$look"
        either caisson run --rm $N -w /proc/self/root/../.. busybox sh -c "$look"
        ln -s /proc/self/fd/8 lnk; mkdir evil; tar -C evil -cf e.tar . ; tree evil; ln -s /proc/self/fd/8 evil/work; pack evil -c 'WORKDIR /work'
        either caisson run --rm $N evil sh -c "$look""#;

    a_replaced_null_device_does_not_reach_the_host: r#"
        for make in "ln -s $HOST/secret /dev/null" 'mkfifo /dev/null' 'echo x > /dev/null' 'mkdir /dev/null' 'mknod /dev/null c 1 5' "ln -s ../../../../..$HOST/secret /dev/null"; do
            caisson run -d $N --name cc busybox sleep 100 >/dev/null || die run
            caisson exec cc sh -c "rm /dev/null; $make; rm -f /dev/zero /dev/ptmx /dev/fd /dev/stdin /dev/console; ln -s /dev/null /dev/ptmx" 2>/dev/null
            either caisson exec cc true
            either caisson exec -d cc true
            either caisson exec -i cc cat < /etc/hostname
            try script -qec 'caisson exec -ti cc true' /dev/null
            try caisson restart -t 0 cc; try caisson rm -f cc || die "cannot remove: $(cat err)"
        done
        mount --bind /dev/null /dev/null 2>/dev/null && umount /dev/null; [ -c /dev/null ] && echo x > /dev/null"#;

    copies_through_links_stay_inside: r#"
        tree evil; mkdir -p evil/d; ln -s $HOST evil/abs; ln -s ../../../../../../..$HOST evil/d/rel; ln -s $HOST/secret evil/file
        ln -s /proc/self/root$HOST evil/root; ln -s /proc/1/cwd evil/cwd; pack evil; echo from-outside > file
        caisson create $N --name off evil true >/dev/null; caisson run -d $N --name on evil sleep 100 >/dev/null || die run
        for c in off on; do for link in abs d/rel root cwd; do
            try caisson cp file $c:/$link/new; try caisson cp file $c:/$link; try caisson cp file $c:/$link/secret; try caisson cp file $c:/file
            for what in $link $link/ $link/. $link/secret file; do
                rm -rf got; try caisson cp $c:/$what got; [ ! -L got ] || rm got; grep -qrs HOST-SECRET got && die "copied out $what"
                rm -rf got; try caisson cp -L $c:/$what got; grep -qrs HOST-SECRET got && die "copied out $what with -L"
                try caisson cp $c:/$what -
            done
        done; done; unharmed
        mkdir t; ln -s $HOST t/x; tar -C t -cf a.tar x; rm t/x; mkdir t/x; echo y > t/x/new; tar -C t -rf a.tar x/new; tar -C t -P --transform "s,^x/new,$HOST/new," -rf a.tar x/new; tar -C t -P --transform 's,^x/new,../../../../../../tmp/caisson-outside-new,' -rf a.tar x/new
        for c in off on; do try caisson cp - $c:/ < a.tar; try caisson cp - $c:/d/rel < a.tar; done; [ ! -e /tmp/caisson-outside-new ] || die 'written outside'
        mkdir into; ln -s $HOST into/d; try caisson cp on:/d into; find host | grep -q rel && die 'followed a link of the destination' ; true"#;

    nothing_is_mounted_over_proc: r#"
        tree evil; mkdir evil/proc; ln -s proc evil/p; ln -s /proc/sys evil/s; pack evil; mkdir b; echo b > b/file; caisson volume create vol >/dev/null
        for target in /proc /proc/self /proc/self/attr /proc/1/attr/exec /proc/sys /proc/new /x/../proc/sys /p /p/sys /s/kernel /p/../proc; do
            for mount in type=bind,src=$PWD/b type=volume,src=vol type=tmpfs; do
                refuse caisson run --rm $N --mount $mount,dst=$target evil true
                [ $code = 125 ] && grep -q 'cannot be mounted because it is \(inside /proc\|not of type proc\)' err || die "$mount on $target: $code $(cat err)"
            done
        done
        refuse caisson run --rm $N -v $PWD/b/file:/proc/version evil true; refuse caisson run --rm $N -v $PWD/b/file:/p/self/attr/exec evil true
        try caisson run --rm $N -v $PWD/b/file:/proc/uptime evil cat /proc/uptime && grep -qx b out || die "uptime: $(cat err)"
        try caisson run --rm $N -v $PWD/b/file:/p/meminfo evil cat /proc/meminfo && grep -qx b out || die "meminfo: $(cat err)"
        try caisson run --rm $N --pid host -v /proc:/proc evil cat /proc/self/status || die "a procfs: $(cat err)"
        [ -z "$(caisson ps -aq)" ]"#;

    mounts_on_links_of_the_image_stay_inside: r#"
        tree evil; ln -s ../../.. evil/data; ln -s $HOST evil/abs; ln -s /proc evil/p; ln -s / evil/top; pack evil; mkdir b; echo b > b/file
        for target in /data /data/etc /abs /abs/secret /p /p/self /p/sys/kernel /top /top/etc/passwd /data/../../.. /proc /proc/self/fd /sys /sys/fs/cgroup /dev /dev/null /etc; do
            either caisson run --rm $N -v $PWD/b:$target evil sh -c 'echo x > /dev/null'
            either caisson run --rm $N --tmpfs $target evil sh -c 'true'
            either caisson run --rm $N --mount type=bind,src=$PWD/b/file,dst=$target evil true
        done
        refuse caisson run --rm $N -v $PWD/b:/ evil true
        grep " $HOST\| /etc " /proc/self/mountinfo && die 'mounted on the host'; true"#;

    arguments_and_variables_of_any_number_and_size: r#"
        caisson run --rm $N busybox sh -c 'echo $#' x $(seq 10000) | grep -qx 10000 || die arguments
        seq -f 'V%g=some value of a variable' 5000 > vars; caisson run --rm $N --env-file vars busybox env | grep -c '^V[0-9]*=some value of a variable$' | grep -qx 5000 || die variables
        head -c 140000 /dev/zero | tr '\0' a > long; { printf BIG=; cat long; echo; } > big
        refuse caisson run --rm $N --env-file big busybox true
        set -- $(for i in 1 2 3 4 5 6 7 8 9 10 11 12; do head -c 120000 long; echo; done); either caisson run --rm $N busybox sh -c 'echo $#' x "$@"; [ $code != 0 ] || grep -qx 12 out || die "$(head -c 100 out)"
        seq -f "W%g=$(head -c 1000 long)" 4000 > many; either caisson run --rm $N --env-file many busybox true
        either caisson run --rm $N --label x=$(head -c 100000 long) --hostname $(head -c 60 long) busybox true
        refuse caisson run --rm $N --hostname $(head -c 200 long) busybox true
        refuse caisson run --rm $N -e '' busybox true; refuse caisson run --rm $N -e =x busybox true; refuse caisson run --rm $N -w relative busybox true
        refuse caisson run --rm $N busybox ''; refuse caisson run --rm $N busybox $(head -c 5000 long); refuse caisson run --rm $N -w /$(head -c 5000 long) busybox true
        refuse caisson run --name $(head -c 5000 long) $N busybox true; [ -z "$(caisson ps -aq)" ]"#;

    a_container_that_stops_whoever_joins_cannot_hold_its_monitor: r#"
        caisson run -d $N --name loop busybox sh -c 'trap "" TERM; while :; do kill -STOP -1 2>/dev/null; done' >/dev/null || die run
        for i in 1 2 3 4; do try timeout 15 caisson exec -d loop true; [ $code != 124 ] || die 'exec hangs'; done
        timeout 15 caisson kill loop >/dev/null; [ "$(timeout 15 caisson wait loop)" = 137 ] && timeout 15 caisson rm -f loop || die 'no end'"#;

    a_container_cannot_lock_its_administrator_out: r#"
        for make in 'mkfifo /etc/passwd' 'ln -s /dev/zero /etc/passwd' 'mkdir /etc/passwd'; do
            caisson run -d $N --name cc busybox sh -c "mkdir -p /etc; rm -rf /etc/passwd /etc/group; $make; sleep 100" >/dev/null || die run
            until caisson exec cc sh -c '[ -e /etc/passwd ] || [ -L /etc/passwd ]'; do :; done
            caisson exec cc grep -q '^Uid:.0' /proc/self/status && caisson exec -u 7:8 cc grep -q '^Gid:.8' /proc/self/status && refuse caisson exec -u www cc true
            caisson restart -t 0 cc >/dev/null && caisson rm -f cc >/dev/null || die 'cannot be started again'
        done"#;

    names_that_are_paths_or_options_are_refused: r#"
        caisson create $N --name keep busybox true >/dev/null; find root -path root/tmp -prune -o -printf '%p\n' | sort > before
        for name in ../x x/y . .. -x --rm '' 'a b' $'a\nb' $'a\e[2J' '$(id)' 'é' keep/../keep '*' '%s'; do
            refuse caisson run --rm --name "$name-" $N busybox true
            [ -z "$name" ] || refuse caisson create --name "$name" $N busybox true
            for verb in rm start inspect logs exec; do
                refuse caisson $verb -- "$name" x
                case $name in -*|'') ;; *) refuse caisson $verb "$name" x;; esac
            done
            refuse caisson rename keep -- "$name"
            refuse caisson cp "$name:/x" . ; refuse caisson rmi -- "$name"; refuse caisson run --rm --pull never $N -- "$name" true
            case $name in x/y) ;; *) refuse caisson tag busybox -- "$name";; esac
        done
        for id in ../../blobs ../names $(printf 'f%.0s' $(seq 64)) $(printf 'f%.0s' $(seq 65)); do refuse caisson inspect $id; refuse caisson rm $id; try caisson rm -f $id; grep -q 'No such container' err || die "rm -f $id"; done
        find root -path root/tmp -prune -o -printf '%p\n' | sort | diff before - || die 'the store changed'"#;

    escapes_do_not_reach_the_terminal: r#"
        esc=$(printf '\033]0;owned\007\033[2J')
        tree evil; printf '#!/nosuch%s\n' "$esc" > evil/bad; chmod 755 evil/bad; pack evil -c "LABEL evil=x$esc" -c "ENV EVIL=x$esc"
        caisson run -d $N --name cc --label "evil=$esc" evil sh -c "sleep 100 # $esc" >/dev/null || die run
        for line in 'caisson ps -a --no-trunc' 'caisson ps -a --format "{{.Labels}} {{.Command}}"' 'caisson ps -a --format "table {{.Labels}}"' 'caisson inspect cc' 'caisson image inspect evil' 'caisson history --no-trunc evil' 'caisson top cc' 'caisson images' 'caisson events --since 1h --until 0s' 'caisson inspect -f "{{.Config.Labels}}" cc' 'caisson inspect -f "{{.Args}}" cc' "caisson rm 'x$esc'" "caisson run --rm $N 'x$esc'" "caisson run --rm $N busybox '/x$esc'" "caisson exec cc '/x$esc'" "caisson ps '$esc'" "caisson '$esc'" "caisson run --rm $N evil /bad" "caisson run --rm $N -w 'x$esc' busybox true" "caisson run --rm $N -u 'x$esc' busybox true" "caisson run --rm $N --label-file 'x$esc' busybox true" "caisson cp 'cc:/x$esc' ." "caisson diff cc"; do
            script -qec "$line" /dev/null > typed < /dev/null
            [ -s typed ] || [ "$line" = 'caisson diff cc' ] || die "says nothing: $line"
            grep -q "$(printf '\033')[]\[]\(0;owned\|2J\)" typed && die "escapes reach the terminal: $line: $(cat -v typed)"
        done; true"#;

    default_confinement_is_dockers_from_inside: r#"
        tree own; cp $PROBE own/bin/probe; pack own
        caisson run --rm $N own probe confinement || die run; caisson run --rm --init $N own probe confinement || die init
        caisson run -d $N --name cc own sleep 100 >/dev/null; caisson exec cc probe confinement || die exec
        script -qec "caisson run --rm -ti $N own probe confinement" /dev/null > typed; grep WIDER typed && die "terminal"
        script -qec 'caisson exec -ti cc probe confinement' /dev/null > typed; grep WIDER typed && die "exec with a terminal"
        caisson run --rm $N -u 33 own sh -c 'grep -q "CapEff:.*0000000000000000" /proc/self/status && grep -q "CapPrm:.*0000000000000000" /proc/self/status' || die 'capabilities of a user'
        caisson run --rm $N --security-opt no-new-privileges own grep -q 'NoNewPrivs:.1' /proc/self/status || die 'no new privileges'
        CANARY=x caisson run --rm $N own env | sort | tr '\n' ' ' | grep -qx 'HOME=/root HOSTNAME=[0-9a-f]\{12\} PATH=[^ ]* ' || die 'variables'
        caisson run --rm $N --privileged own probe confinement > wide && die 'the probe finds nothing'; grep -q CapEff wide || die 'the probe finds nothing'"#;

    sources_and_targets_of_a_builds_mounts_stay_inside: r#"
        b() { try caisson build --network none --no-cache "$@"; }
        says() { printf 'FROM busybox AS evil\nRUN mkdir -p /d && ln -s %s /link && ln -s ../../../../../../../..%s /d/up && ln -s /proc/self/root /d/root && ln -s /proc/1/root%s /d/init\nFROM busybox\n%s\n' $HOST $HOST $HOST "$1" > D; }
        # What a mount shows is of its stage, whatever its links say.
        for source in /link /link/secret /d/up /d/up/secret /d/root$HOST /d/init /../../../../../../../..$HOST $HOST ../../../../../..$HOST; do
            for kind in bind bind,rw cache,id=c$((++n)) cache,sharing=private,id=p$n; do
                says "RUN --mount=type=$kind,from=evil,source=$source,target=/m cat /m /m/secret /m/*/secret 2>/dev/null; echo reached; touch /m/made 2>/dev/null; true"
                b -f D . ; grep -q reached err || grep -q 'not found\|no such\|No such\|cannot' err || die "$kind $source: $(cat err)"
            done
        done
        # Mount points below a cache, and below what a stage left, are the container's own.
        says "RUN --mount=type=cache,id=t,target=/c ln -sfn $HOST /c/x; ln -sfn ../../../../../../..$HOST /c/y
RUN ln -s $HOST /z
RUN --mount=type=cache,id=t,target=/c --mount=type=tmpfs,target=/c/x/dir --mount=type=tmpfs,target=/c/y/new --mount=type=tmpfs,target=/z/dir --mount=type=secret,id=s,target=/z/secret echo x > /z/dir/made; cat /z/secret; true"
        echo own > s; b --secret id=s,src=s -f D .
        # Somebody else moves the way to a mount point meanwhile.
        mkdir c1 c2; printf 'FROM busybox\nRUN --mount=type=cache,id=r,target=/c for i in $(seq 2000); do ln -sfn %s /c/w; rm -rf /c/w; mkdir -p /c/w/dir; rm -rf /c/w; done\n' $HOST > c1/Dockerfile
        printf 'FROM busybox\nRUN --mount=type=cache,id=r,target=/c --mount=type=tmpfs,target=/c/w/dir cat /c/w/secret /c/w/dir/file 2>/dev/null; true\n' > c2/Dockerfile
        caisson build --network none c1 > racer 2>&1 & racer=$!
        for i in $(seq 20); do b c2; done; wait $racer
        # Words in options are no options.
        for mount in 'type=bind,from=busybox,source=/,target=/m,bind-propagation=shared' 'type=bind,target=/m,bind-recursive=enabled' 'type=bind,target=/m,upperdir=/tmp' 'type=volume,target=/m' 'type=bind,src=/etc,dst=/m,z' 'type=tmpfs,target=/m,size=1m:exec'; do
            printf 'FROM busybox\nRUN --mount=%s cat /m/secret /m/passwd\n' "$mount" > D; b -f D . && die "accepted: $mount"; grep -q 'D:2:' err || die "$mount: $(cat err)"
        done
        for id in '../../../../../..'$HOST $HOST . .. ''; do printf 'FROM busybox\nRUN --mount=type=cache,id=%s,target=/m cat /m/secret; touch /m/made\n' "$id" > D; b -f D .; done
        for target in 'a,upperdir=/tmp' 'a:b' 'a\\,b' 'lowerdir=x'; do printf 'FROM busybox\nRUN --mount=type=bind,rw,from=busybox,source=/,"target=/m/%s" true\n' "$target" > D; b -f D .; done; true"#;

    what_a_step_leaves_in_place_of_a_mount_point_is_not_followed: r#"
        for kind in tmpfs cache bind,from=busybox,source=/etc secret,id=s ssh; do
            case $kind in secret*) at=dir/file;; *) at=dir;; esac
            printf 'FROM busybox\nRUN --mount=type=%s,target=/p/%s mv /p /old; ln -s %s /p\nRUN ls -R /p /old >/dev/null; true\n' $kind $at $HOST > D
            echo own > s; try caisson build --network none --no-cache --secret id=s,src=s -f D . || [ $kind = ssh ] || grep -q 'did not complete' err || die "$kind: $(cat err)"
            unharmed
        done
        # What is mounted for every program, and made for it where it is missing.
        tree bare; rm -rf bare/etc; ln -s $HOST bare/etc; ln -s $HOST bare/proc; ln -s $HOST/dir bare/sys; ln -s $HOST bare/dev; pack bare
        printf 'FROM bare\nRUN true\nRUN rm -f /etc /proc /sys /dev; ln -s %s /etc\nRUN true\n' $HOST > D; try caisson build --network none -f D . || grep -q 'cannot\|no ordinary\|not a\|No such\|did not complete' err || die "$(cat err)""#;

    a_copy_reaches_no_kernel_and_no_host: r#"
        mkdir ctx; echo HOSTILE > ctx/f; mkdir -p ctx/d; echo HOSTILE > ctx/d/secret; ln -s $HOST ctx/out; ln -s $HOST/secret ctx/d/link; (cd ctx; mkdir t; ln -s $HOST t/l; tar -cf a.tar t/l; rm t/l; mkdir t/l; echo HOSTILE > t/l/secret; tar -rf a.tar t/l/secret; rm -r t; tar -rPf a.tar --transform "s,^f,../../../../../../..$HOST/secret," f)
        kernel() { cat /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname; ls /dev | grep -c . ; stat -c %t:%T /dev/null; ls /sys/kernel | wc -l; }; kernel > kernel.before
        for target in /proc/x /proc/sys/kernel/core_pattern /proc/self/root/x /dev/x /dev/null /dev/shm/x /sys/x /sys/kernel/x /etc/hosts /etc/resolv.conf /.dockerenv /proc /dev /sys; do
            for word in 'COPY f' 'ADD f' 'COPY --link f' 'COPY d' 'ADD a.tar' 'COPY --chown=33 --chmod=777 f'; do
                printf 'FROM busybox\n%s %s\nRUN cat /proc/self/status /etc/hosts >/dev/null && [ -c /dev/null ]\nRUN true\n' "$word" $target > ctx/Dockerfile
                try caisson build --network none ctx; [ $code = 0 ] || grep -q 'ctx\|Dockerfile:2\|cannot\|not a directory\|is a directory' err || die "$word $target: $(cat err)"
            done
        done
        # A base whose directories are links out, and a tree that goes through links of its own.
        tree evil; rm -rf evil/tmp; ln -s $HOST evil/tmp; ln -s / evil/up; ln -s /proc/self/root evil/self; pack evil
        printf 'FROM evil\nCOPY f /tmp/secret\nCOPY d /tmp/\nCOPY --link d /tmp/\nADD a.tar /tmp/\nADD a.tar /\nCOPY f /up%s/secret\nCOPY f /self%s/secret\nWORKDIR /tmp/dir\nWORKDIR /self%s\nCOPY --parents d/secret /tmp/\n' $HOST $HOST $HOST > ctx/Dockerfile; try caisson build --network none ctx || grep -q 'cannot\|not a\|No such' err || die "$(cat err)"
        for source in out out/secret d/link 'ou*' 'd/l*' ../host ../../../../../../..$HOST/secret; do
            printf 'FROM busybox\nCOPY %s /x\nRUN cat /x /x/secret; true\n' "$source" > ctx/Dockerfile; try caisson build --network none ctx || grep -q 'not found' err || die "$source: $(cat err)"
        done
        kernel | diff kernel.before - || die 'the kernel was touched'; caisson images | grep HOSTILE; CANARY=HOST-SECRET; export CANARY; printf 'FROM busybox\nRUN env; cat /proc/*/environ; true\n' > ctx/Dockerfile; try caisson build --network none ctx || die "$(cat err)""#;
}
