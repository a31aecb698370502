//! The system as a whole: what takes space, pruning, what comes back after a removal, a reboot.

use testkit::check;

const FUNCTIONS: &str = r#"
    die() { echo "$*"; exit 1; }
    has() { grep -q -- "$1" "$2" || { cat "$2"; die "no '$1' in $2"; }; }
    hasnt() { ! grep -q -- "$1" "$2" || { cat "$2"; die "'$1' in $2"; }; }
"#;

macro_rules! stories {
    ($($name:ident: $script:expr;)*) => {
        $(#[test] fn $name() { check(&format!("{FUNCTIONS}\n{}", $script)); })*
    };
}

stories! {
    system_prune_tells_before_asks_and_removes_what_the_course_lists: r#"
        caisson create --name off $N busybox true >/dev/null; caisson run -d --name on $N busybox sleep 1000 >/dev/null; caisson network create unused >/dev/null
        caisson volume create named >/dev/null; caisson create --name anon -v /data $N busybox true >/dev/null; caisson rm anon >/dev/null
        printf 'FROM x' > f; tar -cf one.tar f; caisson import one.tar one >/dev/null; caisson tag one two; caisson import one.tar two >/dev/null
        echo n | caisson system prune > o 2>&1; has '^WARNING! This will remove:$' o; for w in 'all stopped containers' 'all networks not used by at least one container' 'all dangling images' 'unused build cache'; do has "^  - $w\$" o; done
        has 'That is 1 container, 1 network' o; has 'y/N' o; caisson inspect off >/dev/null && caisson network inspect unused >/dev/null || die 'no kept'
        caisson system prune --dry-run --volumes > o; has '^Would delete Containers:' o; has unused o; has 'Total reclaimable space:' o; caisson inspect off >/dev/null || die 'dry run'
        echo y | caisson system prune > o 2> e; has '^Deleted Containers:' o; has '^Deleted Networks:' o; has '^Total reclaimed space:' o; hasnt 'Deleted Volumes' o
        caisson inspect off >/dev/null 2>&1 && die 'off is there'; caisson inspect on >/dev/null || die 'on is gone'; caisson volume inspect named >/dev/null || die 'named is gone'
        caisson images -q one | grep -q . || die 'a tagged image went'; caisson system prune -af --volumes > o; has '^Deleted Volumes:' o; has '^untagged: one:latest' o; caisson volume inspect named >/dev/null || die 'a named volume went'
        caisson images -q busybox | grep -q . || die 'an image in use went'; caisson system prune -f --filter label=none > o; has 'reclaimed space: 0B' o; caisson system prune --volumes --filter until=1h -f 2> e && die until; has 'not supported with "--volumes"' e"#;

    each_prune_previews_what_it_would_remove: r#"
        caisson create --name off --label keep=1 $N busybox true >/dev/null; caisson network create unused >/dev/null; caisson volume create named >/dev/null; caisson tag busybox other
        caisson container prune --dry-run > o; has "$(caisson ps -aq)" o; caisson container prune --dry-run --filter label!=keep > o; hasnt "$(caisson ps -aq)" o
        caisson network prune --dry-run > o; has unused o; caisson volume prune -a --dry-run > o; has named o; caisson volume prune --dry-run > o; hasnt named o
        caisson image prune -a --dry-run > o; hasnt deleted o; caisson rm off >/dev/null; caisson image prune -a --dry-run > o; has 'untagged: other:latest' o; has deleted: o
        caisson system prune -a --dry-run > o; has 'could bring back' o; caisson volume inspect named >/dev/null && caisson network inspect unused >/dev/null && caisson images -q other | grep -q . || die 'something went'
        caisson volume prune --filter until=1h 2> e && die 'until of volumes'; has "invalid filter 'until'" e"#;

    disk_usage_counts_shared_layers_once_and_what_is_kept_as_reclaimable: r#"
        caisson tag busybox again; caisson run --name big $N busybox dd if=/dev/zero of=/f bs=1000000 count=3 2>/dev/null; caisson commit big more >/dev/null
        size() { caisson system df --format '{{.Type}} {{.Size}} {{.Reclaimable}}' | sed -n "s/^$1 //p"; }
        caisson system df -v > o; has 'SHARED SIZE' o; grep -E '^more .* 3MB ' o || die "$(cat o)"; [ "$(size Containers)" = '3MB 3MB (100%)' ] || die "$(size Containers)"
        caisson rm big >/dev/null; size Containers > c; grep -E '^3\.?[0-9]*MB 3\.?[0-9]*MB \(100%\)$' c || die "$(cat c)"; caisson system df -v > o; has 'kept for `caisson undo`: 1, 3' o
        caisson container prune -f > o; has 'space: 3.*MB' o; [ "$(size Containers)" = '0B 0B' ] || die "$(size Containers)""#;

    what_rm_removed_comes_back_stopped_with_its_files_and_name: r#"
        caisson run -d --name web --restart always $N busybox sh -c 'echo words; echo kept > /file; sleep 1000' >/dev/null; for i in $(seq 100); do caisson logs web | grep -q words && break; sleep .02; done
        id=$(caisson inspect -f '{{.Id}}' web); caisson rm -f web >/dev/null; caisson ps -aq | grep -q . && die 'it is there'; caisson undo --list > o; has 'container *web' o; has busybox o
        caisson create --name web $N busybox true >/dev/null || die 'the name is not free'; caisson undo web 2> e && die 'two of one name'; has 'in use by container' e; has 'rename' e
        caisson rename web other; [ "$(caisson undo)" = web ] || die undo; [ "$(caisson inspect -f '{{.Id}} {{.State.Status}} {{.State.ExitCode}}' web)" = "$id exited 137" ] || die "$(caisson inspect web)"
        caisson logs web | grep -qx words || die logs; caisson start web >/dev/null; caisson exec web cat /file | grep -qx kept || die file; [ ! -e root/trash ] || die "$(ls root/trash)"
        caisson undo 2> e && die 'nothing to undo'; has 'nothing was removed' e; caisson undo nosuch 2>/dev/null && die nosuch; caisson rm -f web other >/dev/null; [ "$(caisson undo | sort | tr '\n' ' ')" = 'other web ' ] || die both"#;

    removed_volumes_come_back_with_their_data: r#"
        caisson run --rm -v vol:/v $N busybox sh -c 'echo row > /v/table'; caisson volume rm vol >/dev/null; caisson volume inspect vol >/dev/null 2>&1 && die there
        [ "$(caisson undo vol)" = vol ] || die undo; caisson run --rm -v vol:/v $N busybox cat /v/table | grep -qx row || die data
        caisson run -d --name db -v /data -v vol:/v $N busybox sh -c 'echo x > /data/f; sleep 1000' >/dev/null; sleep .2; caisson rm -fv db >/dev/null; [ "$(caisson volume ls -q)" = vol ] || die 'anonymous'
        caisson undo >/dev/null; caisson start db >/dev/null; caisson exec db cat /data/f || die 'the anonymous one'; caisson rm -f db > /dev/null; caisson volume rm vol > /dev/null; caisson volume create vol >/dev/null; caisson undo vol 2>e && die 'over another'; has 'there already' e"#;

    what_is_removed_for_good_does_not_come_back: r#"
        caisson run -d --rm --name brief $N busybox sleep 1000 >/dev/null; caisson rm -f brief >/dev/null; caisson create --name off $N busybox true >/dev/null; caisson container prune -f >/dev/null; caisson undo 2>/dev/null && die kept
        printf '[undo]\nkeep = "0s"\n' > c.toml; caisson create --name off $N busybox true >/dev/null; CAISSON_CONFIG=$PWD/c.toml caisson rm off > /dev/null; caisson undo 2>/dev/null && die 'kept though it is off'
        caisson create --name off $N busybox true >/dev/null; caisson rm off >/dev/null; caisson system prune -f >/dev/null; [ ! -e root/trash ] || die 'prune kept it'
        caisson create --name off $N busybox true >/dev/null; caisson rm off >/dev/null; caisson rmi busybox >/dev/null || die 'rmi minds the trash'; caisson undo 2> e && die 'without an image'; has 'its image busybox was removed' e; caisson import $IMAGE busybox >/dev/null
        printf '[undo]\nkeep = "1ms"\n' > c.toml; CAISSON_CONFIG=$PWD/c.toml caisson ps >/dev/null; for i in $(seq 100); do [ -e root/trash ] || exit 0; sleep .05; CAISSON_CONFIG=$PWD/c.toml caisson ps >/dev/null; done; die 'kept for ever'"#;

    removed_networks_come_back_with_their_subnet: r#"
        caisson network create --subnet 10.250.7.0/24 back >/dev/null; caisson network rm back >/dev/null; caisson network inspect back >/dev/null 2>&1 && die there
        [ "$(caisson undo)" = back ] || die undo; caisson network inspect -f '{{(index .IPAM.Config 0).Subnet}}' back | grep -qx 10.250.7.0/24 || die subnet; caisson network rm back; caisson network create back >/dev/null; caisson undo back 2> e && die 'two of one name'; has 'already exists' e; caisson network rm back"#;

    after_a_reboot_policies_are_served_once: r#"
        for c in always unless:unless-stopped no on:on-failure byhand:unless-stopped handalways:always; do p=${c#*:}; caisson run -d --name ${c%:*} --restart $p $N busybox sleep 1000 >/dev/null; done; caisson create --name never --restart always $N busybox true >/dev/null
        caisson run -d --name user --restart always --network container:always busybox sleep 1000 >/dev/null; caisson stop -t 0 byhand handalways >/dev/null
        for c in always unless no on user; do i=$(caisson inspect -f '{{.Id}}' $c); p=$(caisson inspect -f '{{.State.Pid}}' $c); m=$(sed -n 's/.*"monitor_pid":\([0-9]*\).*/\1/p' root/containers/$i/state); kill -9 $m $p; done
        rm -rf run; sed -i -E 's/"boot_id":"[^"]*"/"boot_id":"00000000-0000-0000-0000-000000000000"/' root/containers/*/state
        caisson ps -q | grep . && die 'something runs'; caisson system boot | sort > o; [ "$(tr '\n' ' ' < o)" = 'always handalways unless user ' ] || die "$(cat o)"
        caisson ps --format '{{.Names}}' | sort | cmp - o || die "$(caisson ps)"; caisson system boot > o; [ ! -s o ] || die "twice: $(cat o)"; caisson stop -t 0 always >/dev/null; caisson system boot > o; [ ! -s o ] || die "after a stop: $(cat o)"
        caisson exec user true"#;

    doctor_names_what_is_left_over_and_mends_it: r#"
        mkdir root/tmp/half; ln -s $(printf '%064d' 7) root/names/dangling; caisson doctor --format json > o; has '"half-made\|half-made objects' o; has 'names without a container' o; [ -e root/tmp/half ] || die 'it mends unasked'
        mkdir -p root/x && mount -t tmpfs none root/x && { caisson doctor > o; has "umount -l $PWD/root/x" o; }; caisson doctor --fix > o; has mended o; mountpoint -q root/x && die mounted; [ ! -e root/tmp/half ] && [ ! -h root/names/dangling ] || die 'not mended'; rmdir root/x
        caisson doctor > o; hasnt 'killed commands' o; hasnt 'is mounted' o; caisson run -d --name bare $N --privileged busybox sleep 1000 >/dev/null; caisson doctor > o && die 'privileged is fine'; has 'bare: is privileged' o
        i=$(caisson create --name broken $N busybox true); cp root/containers/$i/record keep; echo '{' > root/containers/$i/record; caisson doctor > o; has 'cannot be read' o; cp keep root/containers/$i/record
        r=$(ls root/images/* | head -1); cp $r keep; echo '{' > $r; caisson doctor > o; i=${r#*sha256-}; i=$(echo $i | cut -c1-12); has "caisson rmi $i" o; caisson rm -f bare broken >/dev/null; caisson rmi $i >/dev/null 2>&1; caisson images > o || exit 9; hasnt busybox o"#;

    doctor_tells_which_ports_are_open_to_the_world: r#"
        unshare -n sh -c 'ip link set lo up; caisson run -d --name wide -p 8080:80 busybox sleep 1000 && caisson run -d --name near -p 127.0.0.1:8081:80 busybox sleep 1000 && caisson doctor > o; caisson rm -f wide near' >/dev/null 2>e || true
        has 'wide: port 80/tcp is open on every address of this machine, port 8080' o; hasnt near: o; has '127.0.0.1:8080:80' o"#;

    completions_offer_commands_flags_and_names: r#"
        caisson create --name web-one $N busybox true >/dev/null; caisson volume create vol-one >/dev/null; caisson network create net-one >/dev/null
        try() { bash -c 'source <('$2' completion bash); COMP_WORDS=('"$1"'); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _'$2'; printf "%s\n" "${COMPREPLY[@]}"'; }
        offers() { try "$1" ${3:-caisson} > o 2>&1; grep -qx -- "$2" o || { cat o; die "'$1' does not offer $2"; }; }
        offers 'caisson volu' volume; offers 'caisson start web' web-one; offers 'caisson volume rm vol' vol-one; offers 'caisson network inspect net' net-one; offers 'caisson run --network net' net-one; offers 'caisson run --na' --name; offers 'caisson rmi bus' busybox:latest; offers 'caisson system pr' prune
        offers 'docker start web' web-one docker; caisson rm web-one >/dev/null; offers 'caisson undo web' web-one; caisson completion tcsh 2> e && die tcsh; has 'bash, zsh and fish' e
        command -v zsh >/dev/null && { caisson completion zsh > z; zsh -n z || die zsh; }; command -v fish >/dev/null && { caisson completion fish > f; fish -n f || die fish; }; true"#;

    the_build_cache_is_counted_previewed_and_pruned: r#"
        mkdir ctx; head -c 3000000 /dev/urandom > ctx/f; printf 'FROM busybox\nCOPY f /f\n' > ctx/Dockerfile; caisson build -q -t built ctx >/dev/null || die build; caisson system df > o; has '^Build Cache  *1 ' o
        freed() { sed -n 's/^Total recl[a-z]* space: //p' "$1"; }
        caisson system prune -a --dry-run > o; has '^Would delete build cache objects:' o; caisson system prune -f > p; hasnt 'build cache' p; caisson rmi built >/dev/null; caisson system prune --dry-run > o; [ "$(freed o)" = 3MB ] || die "$(cat o)"
        caisson system prune -f > p; has '^Deleted build cache objects:' p; [ "$(freed p)" = 3MB ] || die "$(cat p)"; caisson system df > o; has '^Build Cache  *0 ' o"#;

    a_kept_object_does_not_outgrow_its_limit: r#"
        printf '[undo]\nmax_size = "5MB"\n' > c.toml; export CAISSON_CONFIG=$PWD/c.toml
        for i in 1 2 3; do caisson run --name c$i $N busybox dd if=/dev/zero of=/f bs=1000000 count=2 2>/dev/null; caisson rm c$i >/dev/null; done
        for i in $(seq 100); do caisson undo --list --format '{{.Name}}' | tr '\n' ' ' > o; [ "$(cat o)" = 'c3 c2 ' ] && exit 0; sleep .05; done; die "$(cat o)""#;
}

/// Every format that a release wrote is kept as an archive, and read for ever: `data/store-1.tar.gz` is
/// what 0.1 wrote, a container that ran, one that never did, a volume, a network and an image.
#[test]
fn a_store_of_an_older_release_is_read_and_works() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/data");
    check(&format!(
        "{FUNCTIONS}\nDATA={data}\n{}",
        r#"
        rm -rf root; tar -xzf $DATA/store-1.tar.gz && mv store root; caisson ps -a --format '{{.Names}} {{.Status}}' > o 2>&1 || die "$(cat o)"; has '^old Exited (0)' o; has '^never Created' o
        caisson logs old | grep -qi hello || die 'no log'; [ "$(caisson inspect -f '{{.Config.Labels.age}}' old)" = old ] || die label; caisson start -a never | grep -qi hello || die start; caisson images -q kept:1 | grep -q . || die image
        grep -qx kept $(caisson volume inspect -f '{{.Mountpoint}}' data)/file || die volume; [ "$(caisson network inspect -f '{{(index .IPAM.Config 0).Subnet}}' oldnet)" = 10.250.9.0/24 ] || die network
        caisson import $IMAGE busybox >/dev/null; caisson run --rm $N -v data:/d busybox cat /d/file | grep -qx kept || die run; caisson rm -f old never >/dev/null; [ "$(caisson undo | sort | tr '\n' ' ')" = 'never old ' ] || die undo
        sed -i 's/"format":1/"format":2/' root/store.json; caisson ps 2> e && die 'a newer one is read'; has 'has format 2, and this caisson reads formats up to 1; use a newer caisson' e; sed -i 's/"format":2/"format":1/' root/store.json"#
    ));
}

/// An upgrade replaces the binary while containers run and commands come and go: no command fails, no
/// container notices, and the new binary looks after what the old one started.
#[test]
fn an_upgrade_under_load_keeps_containers_running() {
    check(&format!(
        "{FUNCTIONS}\n{}",
        r#"
        cp "$(readlink -f bin/caisson)" first; cp first second; echo trailer >> second; rm bin/*; cp first bin/caisson; export PATH=$PWD/bin:$PATH
        for i in 1 2 3; do caisson run -d $N --name load$i busybox sh -c 'i=0; while :; do echo $((i=i+1)); sleep .02; done' >/dev/null; done; caisson inspect -f '{{.State.Pid}}' load1 load2 load3 > before
        for w in 'exec load1 true' 'logs --tail 1 load2' 'inspect load3' 'ps' "run --rm $N busybox true"; do (n=0; while [ ! -e stop ]; do timeout 20 caisson $w >/dev/null 2>> err || { echo "$w: $?" >> failed; cat err >> failed; break; }; n=$((n+1)); done; echo $n "$w" >> counts) & done
        for i in $(seq 15); do case $((i % 2)) in 0) new=first;; 1) new=second;; esac; cp $new bin/.new; chmod 755 bin/.new; mv bin/.new bin/caisson; sleep .1; done; touch stop; wait
        [ ! -e failed ] || die "$(cat failed)"; while read n w; do [ $n -gt 3 ] || die "$w: only $n times"; done < counts; caisson inspect -f '{{.State.Pid}}' load1 load2 load3 | cmp - before || die 'a container was started again'
        for i in 1 2 3; do caisson logs load$i > l; awk 'NR != $1 {exit 1}' l || die "load$i lost lines"; done; cmp -s bin/caisson second || die 'not the new one'
        id=$(caisson inspect -f '{{.Id}}' load1); kill -9 $(sed -n 's/.*"monitor_pid":\([0-9]*\).*/\1/p' root/containers/$id/state); caisson exec load1 true || die adopt; caisson restart -t 0 load2 >/dev/null || die restart; caisson stop -t 0 load3 >/dev/null || die stop"#
    ));
}

/// A disk that is nearly full is emptied of what could come back before anything else.
#[test]
fn what_is_kept_makes_room_when_the_disk_is_nearly_full() {
    if !testkit::can_run() {
        return;
    }
    let sandbox = testkit::Sandbox::on_disk("-t tmpfs -o size=64m tmpfs");
    testkit::check_in(
        &sandbox,
        &format!(
            "{FUNCTIONS}\n{}",
            r#"
        caisson run --name big $N busybox dd if=/dev/zero of=/f bs=1M count=20 2>/dev/null; caisson rm big >/dev/null; caisson undo --list --format '{{.Name}}' | grep -qx big || die 'not kept'
        free=$(df --output=avail -B1 disk | tail -n1); head -c $((free - 1000000)) /dev/zero > disk/filler; caisson create --name next $N busybox true >/dev/null || die create
        [ ! -e disk/root/trash ] || die 'still kept'; caisson rm next; [ ! -e disk/root/trash ] || [ $(df --output=avail -B1 disk | tail -n1) -gt 3000000 ] || die 'kept on a full disk'"#
        ),
    );
}
