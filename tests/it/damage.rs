//! Files of the store and of the run root that people damaged or removed by hand: every command answers
//! within two seconds and tells the truth, what can be repaired is repaired silently, and a removal
//! removes.

use testkit::check;

use crate::adversity::FUNCTIONS;

/// Commands that must answer soon, whatever is damaged, and never by a panic.
const SOON: &str = r#"
    soon() {
        b=$(date +%s%N); timeout 10 "$@" > out 2> err; code=$?; b=$((($(date +%s%N) - b) / 1000000))
        grep -q panicked err && die "panics: $* $(cat err)"
        [ $b -lt 3000 ] || die "$b ms: $* $(cat out err)"; return $code
    }
    lives() {
        caisson run -d $N --name web busybox sh -c 'echo words; exec sleep 1000' >/dev/null || die run; within 'caisson logs web | grep -q words'
        pids web; id=$(caisson inspect -f '{{.Id}}' web); file=$CAISSON_ROOT/containers/$id/state; runs=$CAISSON_RUN_ROOT/containers/$id
    }
"#;

macro_rules! damages {
    ($($name:ident: $script:expr;)*) => {
        $(#[test] fn $name() { check(&format!("{FUNCTIONS}\n{SOON}\n{}", $script)); })*
    };
}

damages! {
    what_a_killed_command_left_of_its_mount: r#"
        # The kernel marks what was mounted without syncing, and takes it for no second mount.
        caisson create --rm --name one $N busybox sleep 1000 >/dev/null; id=$(caisson inspect -f '{{.Id}}' one)
        mark() { mkdir -p $1 && touch $1/dirty; }; mark $CAISSON_ROOT/containers/$id/work/work/incompat/volatile
        does caisson cp one:/bin/sh copy; mark $CAISSON_ROOT/containers/$id/work/work/incompat/volatile
        does caisson start one; [ "$(state one)" = 'running 0' ] || die "$(state one)"; does caisson rm -f one"#;

    the_state_of_a_running_container: r#"
        harm() { case $how in words) echo '!!' > $file;; empty) : > $file;; half) head -c 40 $file > half; cat half > $file;; object) echo '{}' > $file;; gone) rm -f $file;; pipe) rm -f $file; mkfifo $file;; esac; }
        works() { harm; soon "$@" || die "$how: code $?: $* $(cat out err)"; }
        for how in words empty half object gone pipe; do
            lives
            works caisson ps -a; grep -q 'Up ' out || die "$how: ps: $(cat out)"
            works caisson inspect -f '{{.State.Status}} {{.State.Pid}}' web; [ "$(cat out)" = "running $p" ] || die "$how: $(cat out)"
            works caisson logs web; grep -qx words out || die "$how: logs"; works caisson exec web true; works caisson top web; works caisson start web
            works caisson container prune -f; works caisson pause web; works caisson unpause web; works caisson kill -s CONT web
            harm; soon caisson rm web && die "$how: removed while it runs"; [ -e /proc/$p ] || die "$how: ended"
            works caisson stop -t 0 web; [ "$(state web)" = 'exited 137' ] || die "$how: stopped: $(state web)"
            caisson start web >/dev/null; works caisson rm -f web; [ -z "$(caisson ps -aq)" ] || die "$how: still there"
        done"#;

    the_marker_of_the_store_a_directory_of_it_and_another_image_s_name: r#"
        caisson tag busybox other; : > $CAISSON_ROOT/refs/*other*; soon caisson history busybox || die "history: $(cat err)"; grep -q IMAGE out || die "$(cat out)"
        echo '!!' > $CAISSON_ROOT/store.json; soon caisson ps && die 'a damaged marker'; remedy=$(sed 's/[^`]*`\([^`]*\)`.*/\1/' err); echo "$remedy" | grep -q '^echo ' || die "no remedy: $(cat err)"
        sh -c "$remedy"; rmdir $CAISSON_ROOT/containers; soon caisson run --rm $N busybox true || die "$(cat err)""#;

    the_state_of_a_container_that_has_ended: r#"
        caisson run $N --name over busybox true; file=$(echo $CAISSON_ROOT/containers/*/state); echo '!!' > $file
        soon caisson ps -a; grep -q 'Exited (' out || die "$(cat out)"; [ "$(state over)" = 'exited 255' ] || die "$(state over)"
        soon caisson start over || die start; : > $file; soon caisson rm over || die rm"#;

    the_state_of_a_container_whose_monitor_was_killed_too: r#"
        lives; kill -9 $m; echo '!!' > $file; soon caisson ps -a; [ "$(state web)" = 'exited 255' ] || die "$(state web)"
        within '[ ! -e /proc/$p ]'; soon caisson start web || die start; soon caisson rm -f web || die rm"#;

    the_socket_of_a_monitor_or_its_directory: r#"
        for harm in 'rm $runs/monitor; echo x > $runs/monitor' 'rm $runs/monitor; mkdir $runs/monitor' 'rm -r $runs; echo x > $runs'; do
            lives; eval "$harm"; soon caisson ps; soon caisson exec web true || die "$harm: $(cat err)"
            rm -r $runs; soon caisson stop -t 0 web || die "$harm: $(cat err)"; soon caisson rm web || die "$harm: $(cat err)"
        done"#;

    the_state_and_the_socket_of_a_running_container: r#"
        lives; rm -r $runs; echo '!!' > $file; soon caisson ps; grep -q 'Up ' out || die "ps: $(cat out)"
        soon caisson stop -t 0 web && die 'stopped by nobody'; grep -q 'caisson rm -f web' err || die "no remedy: $(cat err)"
        soon caisson start web; soon caisson container prune -f; [ -e /proc/$p ] || die 'ended'
        soon caisson rm -f web || die "$(cat err)"; within '[ ! -e /proc/$p ]'; [ -z "$(caisson ps -aq)" ] || die 'still there'"#;

    what_a_container_wrote: r#"
        for how in 'rm -r' 'x() { rm -r $1; echo x > $1; }; x'; do
            caisson run $N --name over busybox true; lives; for dir in $CAISSON_ROOT/containers/*/upper; do eval "$how $dir"; done
            does caisson ps -a; [ "$(state over)" = 'exited 0' ] || die "$(state over)"; does caisson exec web true || die exec; does caisson stop -t 0 web
            soon caisson rm -f web || die "$how: $(cat err)"; soon caisson container prune -f || die "$how: $(cat err)"; [ -z "$(caisson ps -aq)" ] || die "$how: still there"; within '[ ! -e /proc/$p ]'
        done
        lives; rm -r $CAISSON_ROOT/containers/$id; echo x > $CAISSON_ROOT/containers/$id; does caisson ps -a; soon caisson container prune -f || die "$(cat err)"
        within '[ ! -e /proc/$p ]'; does caisson run --rm $N --name web busybox true; rm $CAISSON_ROOT/containers/$id"#;

    the_link_of_a_name: r#"
        for how in 'rm $link' 'rm $link; echo x > $link' 'rm $link; mkdir $link' 'ln -sfn nowhere $link' 'ln -sfn / $link'; do
            lives; link=$CAISSON_ROOT/names/web; eval "$how"; does caisson exec web true; [ "$(readlink $link)" = $id ] || die "$how: not mended"
            eval "$how"; refuse 'in use' caisson create $N --name web busybox true; does caisson rm -f web; [ -z "$(caisson ps -aq)$(ls $CAISSON_ROOT/names)" ] || die "$how: left"
        done"#;

    the_record_of_a_container: r#"
        harm() { case $how in words) echo '!!' > $record;; half) head -c 40 $record > half; cat half > $record;; gone) rm $record;; folder) rm $record; mkdir $record;; esac; }
        for how in words half gone folder; do
            caisson volume create kept >/dev/null; caisson network create net-$how >/dev/null; caisson tag busybox used
            caisson run -d --restart always --name web -v kept:/kept -v /own --network net-$how used sleep 1000 >/dev/null || die run; caisson create --name good $N busybox true >/dev/null
            pids web; id=$(caisson inspect -f '{{.Id}}' web); record=$CAISSON_ROOT/containers/$id/record; harm
            soon caisson ps -a && die 'a list that is not whole'; grep -q good out && grep -q "record of container $id.*caisson rm -f" err || die "$how: ps: $(cat out err)"
            for line in 'inspect web' 'logs web' 'stop web' 'start web' 'rm web' 'exec web true' 'cp web:/etc/passwd -' 'rename web other'; do soon caisson $line && die "$how: $line"; grep -q 'caisson rm -f' err || die "$how: $line: $(cat err)"; done
            for line in 'volume prune -af' 'system prune -af --volumes' 'image prune -af' 'network prune -f' 'volume rm kept' 'rmi used'; do soon caisson $line && die "$how: $line: $(cat out)"; grep -q 'caisson rm -f' err || die "$how: $line: $(cat err)"; done
            [ "$(caisson volume ls -q | wc -l)" = 2 ] && caisson image inspect used >/dev/null && caisson network inspect net-$how >/dev/null || die "$how: what it uses has gone"
            soon caisson container prune -f || die "$how: $(cat err)"; [ -e /proc/$p ] || die "$how: ended"
            [ $how = gone ] && key=$(echo $id | cut -c -12) || key=web; soon caisson rm -f $key || die "$how: rm: $(cat err)"
            within '[ ! -e /proc/$p ]'; does caisson ps -aq; [ ! -s out ] || die "$how: $(cat out)"; [ -z "$(ls $CAISSON_ROOT/containers $CAISSON_ROOT/names | grep -v :)" ] || die "$how: left"
            does caisson run --rm --name web --network net-$how busybox true; does caisson network rm net-$how; does caisson volume prune -af; does caisson rmi used
        done"#;

    the_record_of_a_volume: r#"
        for how in 'echo !! > $file' 'rm $file' ': > $file'; do
            caisson volume create good >/dev/null; caisson run --rm $N -v vol:/v busybox touch /v/data; file=$CAISSON_ROOT/volumes/vol/record
            caisson run -d --name user $N -v vol:/v busybox sleep 1000 >/dev/null; eval "$how"; does caisson exec user true; does caisson stop -t 0 user; does caisson rm user
            soon caisson volume ls -q && die 'a list that is not whole'; grep -qx good out && grep -q 'caisson volume rm -f vol' err || die "$(cat out err)"
            for line in 'volume inspect vol' 'volume create vol' "run --rm $N -v vol:/v busybox true" 'volume rm vol'; do soon caisson $line && die "$how: $line"; grep -q 'caisson volume rm -f vol' err || die "$how: $line: $(cat err)"; done
            does caisson volume prune -f; [ -e $CAISSON_ROOT/volumes/vol/data/data ] || die 'its data has gone'
            does caisson volume rm -f vol; does caisson volume ls -q; [ "$(cat out)" = good ] && [ ! -e $CAISSON_ROOT/volumes/vol ] || die "left: $(cat out)"
            does caisson run --rm $N -v vol:/v busybox touch /v/data; does caisson volume rm vol
        done"#;

    the_record_of_a_network: r#"
        for net in one two bridge; do
            [ $net = bridge ] || caisson network create $net >/dev/null; caisson run -d --name web --network $net busybox sleep 1000 >/dev/null || die "run in $net"; file=$CAISSON_ROOT/networks/$net/record; [ $net = two ] && rm $file || echo '!!' > $file
            soon caisson network ls && die 'a list that is not whole'; grep -q host out && grep -q "caisson network rm $net" err || die "$net: $(cat out err)"
            for line in "network inspect $net" "run --rm --network $net busybox true"; do soon caisson $line && die "$net: $line"; grep -q "caisson network rm $net" err || die "$net: $line: $(cat err)"; done
            refuse 'active endpoints' caisson network rm $net; does caisson exec web true; does caisson rm -f web
            does caisson network rm $net; does caisson network ls; [ $net = bridge ] || caisson network create $net >/dev/null
            does caisson run --rm --network $net busybox ip addr show eth0 || die "again: $(cat err)"; [ $net = bridge ] || does caisson network rm $net
        done"#;
}
