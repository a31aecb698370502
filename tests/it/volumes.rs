//! Volumes as people use them: data that outlives its container.

use std::process::Command;

use testkit::{Sandbox, can_run, check, check_in};

macro_rules! lines {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { check(&format!("{FUNCTIONS}\n{}", $script)); })* };
}

/// An image with content, owners and modes where its volume goes.
const FUNCTIONS: &str = r#"
    seeded() { mkdir -p i/bin i/data/sub i/tmp; cp /bin/busybox i/bin/; for n in sh cat ls ln stat sleep touch echo test id rm; do ln -sf busybox i/bin/$n; done
        echo from-image > i/data/file; ln -s file i/data/link; ln i/data/file i/data/sub/hard; chmod 1770 i/data; chown 33:44 i/data i/data/file
        tar -C i -cf i.tar . && caisson import -c 'VOLUME /data' i.tar seeded >/dev/null; }
"#;

lines! {
    data_outlives_its_container: r#"
        caisson run --rm $N -v data:/d busybox sh -c 'echo kept > /d/file' && caisson run --rm $N -v data:/d:ro busybox sh -c 'cat /d/file && ! touch /d/x' | grep -qx kept || exit 2
        caisson run --rm $N --mount type=volume,source=data,target=/d,readonly busybox sh -c 'cat /d/file && ! touch /d/x' | grep -qx kept || exit 3
        caisson volume ls | grep -q 'local *data' && [ "$(cat $(caisson volume inspect -f '{{.Mountpoint}}' data)/file)" = kept ]"#;
    a_new_volume_has_what_the_image_has_there: r#"
        seeded; caisson run --rm $N -v fresh:/data seeded sh -c 'cat /data/link; stat -c "%a %u %g" /data; stat -c %h /data/file; stat -c %u /data/file; echo changed > /data/file' > o; cat o
        [ "$(tr '\n' ' ' < o)" = 'from-image 1770 33 44 2 33 ' ] || exit 2
        caisson run --rm $N -v fresh:/data seeded cat /data/file | grep -qx changed || exit 3
        caisson run --rm $N -v bare:/data:nocopy seeded ls /data | grep . && exit 4
        caisson run --rm $N --mount type=volume,src=bare2,dst=/data,volume-nocopy seeded ls /data | grep . && exit 5; true"#;
    anonymous_volumes_go_with_their_container: r#"
        seeded; caisson run --rm $N seeded cat /data/file | grep -qx from-image && [ -z "$(caisson volume ls -q)" ] || exit 2
        caisson create --name cc $N -v /more seeded sh >/dev/null; [ $(caisson volume ls -q | wc -l) = 2 ] && caisson inspect -f '{{range .Mounts}}{{.Type}}:{{.Destination}} {{end}}' cc | tee /dev/stderr | grep -q volume:/more || exit 3
        caisson rm cc >/dev/null; [ $(caisson volume ls -q | wc -l) = 2 ] || exit 4
        caisson create --name dd $N seeded sh >/dev/null; caisson rm -v dd >/dev/null; [ $(caisson volume ls -q | wc -l) = 2 ] || exit 5
        caisson volume create named >/dev/null; caisson volume prune -f | grep -q reclaimed && [ "$(caisson volume ls -q)" = named ]"#;
    what_is_in_use_stays: r#"
        caisson create --name user $N -v data:/d busybox true >/dev/null; caisson volume rm data 2> e; [ $? = 1 ] && grep -q 'volume is in use' e && grep -q 'user' e || exit 2
        caisson volume prune -af | grep data && exit 3; caisson volume rename data other && exit 4
        caisson ps -a --filter volume=data --format '{{.Names}} {{.Mounts}}' | grep -qx 'user data' && caisson volume ls -q --filter dangling=true | grep . && exit 5
        caisson rm user >/dev/null && caisson volume rm data && ! caisson volume inspect data"#;
    volumes_of_another_are_shared: r#"
        mkdir host; caisson run -d --name one $N -v data:/d -v $PWD/host:/h busybox sleep 99 >/dev/null; caisson exec one sh -c 'echo a > /d/a; echo b > /h/b'
        caisson run --rm $N --volumes-from one busybox sh -c 'cat /d/a /h/b; echo c > /d/c' && [ -f host/b ] && caisson exec one cat /d/c | grep -qx c || exit 2
        caisson run --rm $N --volumes-from one:ro busybox sh -c 'touch /d/x' && exit 3
        caisson run --rm $N --volumes-from nobody busybox true 2> e; [ $? = 125 ] && grep -q 'No such container: nobody' e"#;
    a_path_within_a_volume_stays_within: r#"
        caisson run --rm $N -v data:/d busybox sh -c 'mkdir /d/sub; echo in > /d/sub/f; ln -s / /d/out; ln -s sub /d/near'
        caisson run --rm $N --mount type=volume,source=data,target=/x,volume-subpath=sub busybox cat /x/f | grep -qx in || exit 2
        caisson run --rm $N --mount type=volume,source=data,target=/x,volume-subpath=near busybox cat /x/f | grep -qx in || exit 4
        for path in out ../.. /etc missing; do caisson run --rm $N --mount type=volume,source=data,target=/x,volume-subpath=$path busybox true 2> e; code=$?; cat e; [ $code = $([ $path = missing ] && echo 127 || echo 125) ] || exit 3; done"#;
    a_memory_file_system_is_for_everybody_unless_the_image_says_other: r#"
        seeded; for flag in '--tmpfs /scratch' '--mount type=tmpfs,dst=/scratch'; do
            caisson run --name tt $N $flag seeded stat -c '%a %u %g' /scratch | grep -qx '1777 0 0' && caisson start -a tt | grep -qx '1777 0 0' && caisson rm tt >/dev/null || exit 2
        done
        caisson run --rm $N --tmpfs /a/new/one seeded sh -c 'stat -c %a /a/new/one; stat -c %a /a' | tr '\n' ' ' | grep -qx '1777 755 ' || exit 3
        caisson run --rm $N --tmpfs /data seeded stat -c '%a %u %g' /data | grep -qx '1770 33 44' || exit 4
        caisson run --rm $N --mount type=tmpfs,dst=/m,tmpfs-mode=0700 seeded stat -c %a /m | grep -qx 700"#;
    snapshots_are_kept_and_restored: r#"
        caisson run -d --name db $N -v data:/d busybox sh -c 'echo one > /d/f; sleep 99' >/dev/null; sleep .3
        [ "$(caisson volume snapshot data first)" = first ] && caisson exec db sh -c 'echo two > /d/f; touch /d/g' && caisson volume clone data copy || exit 2
        [ "$(caisson inspect -f '{{.State.Status}}' db)" = running ] && timeout 5 caisson exec db true || exit 8
        caisson volume restore data first 2> e; [ $? = 1 ] && grep -q 'container db runs on it' e || exit 3
        caisson stop -t 0 db >/dev/null && caisson volume restore data first && caisson run --rm $N -v data:/d busybox sh -c 'cat /d/f; ls /d' | tr '\n' ' ' | grep -qx 'one f ' || exit 4
        caisson run --rm $N -v copy:/d busybox cat /d/f | grep -qx two || exit 5
        caisson volume snapshot data s && caisson volume snapshot --rm data s || exit 8; caisson volume snapshot data .x 2> e && exit 9; grep -q 'invalid snapshot tag' e || exit 10
        caisson volume snapshot data first && exit 6; caisson volume restore data none && exit 7
        caisson volume snapshot --list data | grep -qx first && caisson volume snapshot --rm data first && [ -z "$(caisson volume snapshot --list data)" ]"#;
    volumes_travel_as_archives: r#"
        caisson run --rm $N -v data:/d busybox sh -c 'mkdir /d/s; echo x > /d/s/f; chown 5:6 /d/s/f' && caisson volume export data > v.tar && tar -tf v.tar | grep -q s/f || exit 2
        caisson volume import -i v.tar back && caisson run --rm $N -v back:/d busybox stat -c '%u %g' /d/s/f | grep -qx '5 6' || exit 3
        caisson volume import -i v.tar back && exit 4; head -c 700 v.tar | caisson volume import torn && exit 5
        [ "$(caisson volume ls -q | tr '\n' ' ')" = 'back data ' ] && caisson volume rename back front && caisson run --rm $N -v front:/d busybox cat /d/s/f | grep -qx x"#;
    archives_keep_the_root_and_may_be_compressed_and_deep: r#"
        caisson run --rm $N -v data:/d busybox sh -c 'echo x > /d/f; chown 33:44 /d; chmod 2751 /d; touch -d "2001-02-03 04:05:06" /d'; caisson volume export data > v.tar; tar -tf v.tar | grep -qx ./ || exit 2
        gzip -k v.tar; zstd -q v.tar; xz -k v.tar
        for kind in tar tar.gz tar.zst tar.xz; do
            caisson volume import back < v.$kind && [ "$(TZ=UTC stat -c '%u %g %a %y' $(caisson volume inspect -f '{{.Mountpoint}}' back) | cut -c1-30)" = '33 44 2751 2001-02-03 04:05:06' ] && caisson volume rm back || exit 3
        done
        down() { local path=$(printf "$1/%.0s" $(seq $2)); mkdir -p $path && cd $path; }; mkdir deep; (cd deep; down d 1500; echo y > f); tar -C deep -cf deep.tar .
        caisson volume import -i deep.tar deep && caisson volume clone deep two && caisson volume snapshot two s && caisson volume export two | tar -t | tail -1 | grep -q 'd/f$' || exit 4
        caisson volume import -i deep.tar deep 2> e && exit 5; grep -q 'is there already' e || exit 6
        (cd deep; down dddddddd 400; down dddddddd 200); tar -C deep -cf far.tar . ; caisson volume import -i far.tar far && caisson volume export far | tar -t | tail -1 | grep -q 'dddddddd/$' || exit 7
        head -c 100 v.tar.xz | caisson volume import torn 2> e && exit 9; cat e; rm -rf deep; [ "$(caisson volume ls -q | tr '\n' ' ')" = 'data deep far two ' ] && [ -z "$(ls root/tmp)" ]"#;
    what_a_killed_copy_left_goes_with_the_next_command: r#"
        caisson run --rm $N -v data:/d busybox sh -c 'for i in $(seq 3000); do echo $i > /d/$i; done'; dir=root/volumes/data; caisson volume snapshot data one >/dev/null
        for verb in 'clone data copy' 'snapshot data s$i' 'restore data one' 'clone data copy'; do
            for i in 1 2 3 4 5 6; do
                caisson volume $(eval echo $verb) >/dev/null 2>&1 & p=$!; for j in $(seq 200); do [ -z "$(ls root/tmp)$(ls -d $dir/new 2>/dev/null)" ] || break; sleep .001; done; kill -9 $p 2>/dev/null; wait $p 2>/dev/null
                caisson volume ls -q > list; [ -z "$(ls root/tmp)" ] && [ ! -e $dir/new ] || { ls -l root/tmp $dir; exit 3; }
            done; caisson volume rm -f copy >/dev/null
        done
        caisson volume clone data live >/dev/null & p=$!; for j in 1 2 3 4 5; do caisson volume ls >/dev/null; done; wait $p && [ $(ls root/volumes/live/data | wc -l) = 3000 ]"#;
    volumes_are_shown_as_docker_shows_them: r#"
        caisson volume create plain >/dev/null; caisson volume create --label a=b marked >/dev/null; caisson volume inspect plain | tr -d ' \n' > o; cat o
        grep -q '"CreatedAt":"[0-9-]*T[0-9:]*Z","Driver":"local","Labels":null,' o && grep -q '"Options":null,' o || exit 2
        [ "$(caisson volume inspect -f '{{json .Labels}} {{.Labels}} {{.Options}}' plain marked | tr '\n' ' ')" = 'null map[] map[] {"a":"b"} map[a:b] map[] ' ] || exit 3
        caisson create --name cc $N -v plain:/a -v marked:/b:ro -v /c --mount type=volume,src=plain,dst=/d --tmpfs /t busybox true >/dev/null
        caisson inspect -f '{{range .Mounts}}{{.Destination}}={{.Mode}} {{end}}' cc | grep -qx '/a=z /b=ro /d=z /c= ' && caisson ps -a --format '{{.LocalVolumes}}' | grep -qx 4 || exit 4
        caisson run --rm $N -v plain:/s busybox sh -c 'head -c 2000000 /dev/zero > /s/f'; caisson system df -v > o; cat o; grep -q "^plain *1 *2MB" o && grep -q '^marked *1 *0B' o && grep -A2 'LOCAL VOLUMES' o | grep -q '"true" *4 ' || exit 5
        caisson system df --format '{{.Type}} {{.TotalCount}} {{.Active}}' | grep -qx 'Local Volumes 3 3' || exit 6
        caisson volume ls --filter dangling=maybe 2> e; [ $? = 1 ] && grep -q "invalid filter 'dangling=" e || exit 7
        caisson volume create loose >/dev/null; caisson volume ls -q --filter dangling=1 | grep -qx loose && [ $(caisson volume ls -q --filter dangling=false | wc -l) = 3 ] || exit 8
        caisson run --rm $N -v plain:/x:rshared busybox true 2> e; [ $? = 125 ] && grep -q "invalid volume specification: 'plain:/x:rshared'" e; [ $? = 0 ] && caisson rm -v cc >/dev/null"#;
    images_are_mounted_to_be_read: r#"
        seeded; echo 'FROM' > more; mkdir -p t/sub; echo two > t/sub/two; tar -C i -rf i.tar bin; printf 'FROM seeded\nCOPY sub /data/sub\nCOPY sub/two /new\n' > t/Dockerfile; caisson build -qt layered t >/dev/null
        for image in seeded layered; do
            caisson run --rm $N --mount type=image,source=$image,target=/img busybox sh -c 'cat /img/data/link; stat -c "%a %u" /img/data; echo x > /img/data/file; touch /img/new; rm /img/bin/sh; mount -o remount,rw /img' > o 2>&1; cat o; grep -qx from-image o && grep -qx '1770 33' o && [ $(grep -c Read-only o) = 3 ] || exit 2
        done
        caisson run --rm --privileged $N --mount type=image,source=seeded,target=/img busybox sh -c 'mount -o remount,rw /img; mount -o remount,rw,bind /img; echo x > /img/data/file' && exit 3
        [ "$(caisson run --rm $N --mount type=image,source=layered,target=/img,image-subpath=data/sub --mount type=image,src=layered,dst=/one,image-subpath=new busybox sh -c 'cat /img/two /one; ls /img' | tr '\n' ' ')" = 'two two hard two ' ] || exit 4
        caisson run --rm $N --mount type=image,source=layered,target=/img,image-subpath=none busybox true 2> e; [ $? = 127 ] && grep -q 'cannot access path "none"' e || exit 5
        caisson run --rm $N --pull never --mount type=image,source=nosuch,target=/img busybox true 2> e; [ $? = 125 ] && grep -qi 'no such image' e && [ -z "$(caisson ps -aq)" ] || exit 6
        caisson run -d --name user $N --restart always --mount type=image,source=layered,target=/img busybox sh -c 'cat /img/new; sleep .5' >/dev/null; caisson inspect -f '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}{{end}}' user | grep -qx 'image layered /img false' || exit 7
        caisson rmi layered 2> e && exit 8; grep -q 'is using' e || exit 9; caisson rmi -f layered; caisson image prune -af >/dev/null; for i in $(seq 50); do [ $(caisson logs user | grep -cx two) -ge 2 ] && break; sleep .1; done
        [ $(caisson logs user | grep -cx two) -ge 2 ] && [ -z "$(ls root/tmp)" ] && caisson rm -f user >/dev/null && caisson image prune -af >/dev/null"#;
    the_local_driver_has_its_options: r#"
        mkdir host; echo there > host/f; caisson volume create --opt type=none --opt o=bind --opt device=$PWD/host bound >/dev/null && caisson volume create -o type=tmpfs -o device=tmpfs -o o=size=1m,uid=33,mode=0750 memory >/dev/null || exit 2
        seeded; caisson run --rm $N -v bound:/data -v memory:/m seeded sh -c 'cat /data/f; echo new > /data/g; stat -c "%a %u" /m; stat -f -c %b /m' | tr '\n' ' ' | grep -qx 'there 750 33 256 ' && [ "$(ls host | tr '\n' ' ')" = 'f g ' ] || exit 3
        caisson run --rm $N -v bound:/d:ro busybox sh -c 'cat /d/g; touch /d/x' && exit 4; [ ! -e host/x ] || exit 5
        truncate -s 20M disk.img; mke2fs -qF disk.img && loop=$(losetup --find --show disk.img) && caisson run --rm $N --mount "type=volume,src=disk,dst=/d,volume-driver=local,volume-opt=type=ext4,volume-opt=device=$loop" busybox sh -c 'ls -d /d/lost+found && echo x > /d/f' && caisson run --rm $N -v disk:/d busybox cat /d/f | grep -qx x; r=$?; losetup -d $loop; [ $r = 0 ] || exit 6
        caisson volume inspect -f '{{.Options.type}} {{.Options.o}}' bound | grep -qx 'none bind' || exit 7
        for o in colour=red type=tmpfs type=nfs; do caisson volume create --opt $o --opt device=x bad 2> e && [ $o != type=tmpfs ] && exit 8; cat e; caisson volume rm -f bad >/dev/null; done; caisson volume create --opt colour=red bad 2> e; [ $? = 1 ] && grep -q 'create bad: invalid option: "colour"' e || exit 9
        for verb in 'snapshot bound' 'clone bound copy' 'export bound'; do caisson volume $verb > o 2> e && exit 10; grep -q "is a mount of $PWD/host" e || exit 11; done
        caisson run --rm $N --mount type=volume,src=other,dst=/d,volume-driver=nosuch busybox true 2> e; [ $? = 125 ] && grep -q nosuch e"#;
    a_mount_that_fails_says_which_and_what_to_look_at: r#"
        mkdir host; echo there > host/f; caisson volume create -o type=ext4 -o device=/dev/nosuch disk >/dev/null; caisson volume create -o type=none -o o=bind -o device=$PWD/gone gone >/dev/null
        caisson run --rm $N -v disk:/d busybox true 2> e; [ $? != 0 ] && grep -q 'cannot mount /dev/nosuch as ext4 on /d' e || exit 2
        caisson run --rm $N -v gone:/d busybox true 2> e; [ $? != 0 ] && grep -q "$PWD/gone" e || exit 3
        caisson run --rm $N -v $PWD/host/f:/etc busybox true 2> e; [ $? != 0 ] && grep -q 'cannot mount on /etc.*Are you trying to mount a directory onto a file' e || exit 4
        caisson run --rm $N -v $PWD/host:/etc/passwd busybox true 2> e; [ $? != 0 ] && grep -q 'cannot mount on /etc/passwd.*or vice-versa' e || exit 5
        caisson run --rm $N --volumes-from '' busybox true 2> e; grep -q 'cannot be an empty string' e || exit 6; [ -z "$(caisson ps -aq)" ]"#;
    a_source_that_is_swapped_while_it_is_mounted_is_one_or_the_other: r#"
        mkdir src two; echo one > src/f; echo two > two/f; echo plain > file; ln -s two link; ln -s nowhere dangling
        trap 'kill $P $Q $R 2>/dev/null' EXIT; $PROBE swap $PWD/src $PWD/link & P=$!; $PROBE swap $PWD/src $PWD/file & Q=$!; $PROBE swap $PWD/src $PWD/dangling & R=$!
        ours() { grep " $PWD/" /proc/self/mountinfo; }; ours > before; good=0; bad=0
        for i in $(seq 60); do
            caisson run --rm $N --mount type=bind,src=$PWD/src,dst=/d,readonly busybox sh -c 'touch /d/x 2>/dev/null && echo written; cat /d/f 2>/dev/null || cat /d' > o 2> e; code=$?
            case "$code $(cat o)" in '0 one'|'0 two'|'0 plain') good=$((good + 1));; '125 '|'126 '|'127 ') bad=$((bad + 1)); grep -q "$PWD/src\|cannot mount on /d" e && [ $(grep -c '^caisson: ' e) = 1 ] || { cat e; exit 2; };; *) echo "code $code"; cat o e; exit 3;; esac
            ours | diff before - || exit 4
        done; echo "$good mounted, $bad refused"; kill -0 $P && kill -0 $Q && kill -0 $R && [ $good -gt 0 ] && [ $bad -gt 0 ] || exit 5
        [ -z "$(caisson ps -aq)" ] && [ -z "$(ls root/tmp)" ]"#;
    mounts_travel_as_their_propagation_says: r#"
        mkdir -p h s; unshare -m --propagation shared bash -c '
            mount -t tmpfs t s && mount --make-shared s && mkdir s/in h/in
            for how in rprivate rslave rshared; do caisson run -d --name $how $N --privileged --mount type=bind,src=$PWD/s,dst=/d,bind-propagation=$how busybox sleep 99 >/dev/null || exit 2; done
            mount -t tmpfs t s/in && touch s/in/host
            for how in rslave rshared; do caisson exec $how ls /d/in | grep -qx host || exit 3; done; caisson exec rprivate ls /d/in | grep . && exit 4
            umount s/in; for how in rprivate rslave; do caisson exec $how sh -c "mount -t tmpfs t /d/in && touch /d/in/$how" || exit 5; done; ls s/in | grep . && exit 6
            caisson exec rshared sh -c "mount -t tmpfs t /d/in && touch /d/in/rshared" && ls s/in | grep -qx rshared || exit 7; umount s/in; caisson rm -f rprivate rslave rshared >/dev/null; umount s/in; umount s' || exit 1
        caisson run --rm $N --mount type=bind,src=$PWD/h,dst=/d,bind-propagation=rshared busybox true 2> e; [ $? = 125 ] || grep -q shared e || exit 8
        caisson run --rm $N --mount type=tmpfs,dst=/m,tmpfs-size=1m,tmpfs-mode=1700 busybox sh -c 'stat -c %a /m; dd if=/dev/zero of=/m/f bs=1k count=2000 2>&1 | grep -o "No space"; stat -c %s /m/f' | tr '\n' ' ' | grep -qx '1700 No space 1048576 '"#;
    pruning_takes_named_volumes_by_flag_or_filter: r#"
        caisson volume create named >/dev/null; caisson volume create --label k=v kept >/dev/null
        caisson volume prune -f --filter all=0 | grep named && exit 2; caisson volume prune -f --filter all=maybe 2> e && exit 3; grep -q "invalid filter 'all=\[maybe\]'" e || exit 4
        caisson volume prune -af --filter all=1 2> e && exit 5; grep -q 'cannot specify both --all and --filter all=1' e || exit 6
        caisson system prune -f --volumes --filter all=1 2> e && exit 7
        caisson volume prune -f --filter all=1 --filter label!=k | grep -qx named && [ "$(caisson volume ls -q)" = kept ]"#;
    bad_volumes_are_refused_without_a_trace: r#"
        for bad in '..' 'a/b' '-x' x; do caisson volume create -- "$bad" 2> e && exit 2; cat e; done
        caisson volume create --driver nfs vol 2> e && exit 3; grep -q nfs e || exit 4
        caisson run --rm $N -v ../x:/d busybox true 2> /dev/null; caisson run --rm $N -v a/b:/d busybox true 2> e && exit 5
        caisson run --rm $N -v data:/d -v data2:/d busybox true 2> e; [ $? = 125 ] && grep -q 'Duplicate mount point' e || exit 6
        caisson create --name twice $N busybox true >/dev/null; caisson create --name twice $N -v /anon busybox true 2> /dev/null && exit 7
        [ -z "$(caisson volume ls -q | grep -v '^x$')" ] && caisson volume rm nothing 2> e; [ $? = 1 ] && grep -q 'no such volume' e && caisson volume rm -f nothing"#;
}

/// Copies on a file system that can share blocks take none of their own, and are still copies.
fn copies_share_blocks(kind: &str, make: &str) {
    let image = format!("/var/tmp/caisson-it-{kind}-{}.img", std::process::id());
    let prepare = format!(
        "truncate -s 400M {image} && {make} {image} && mkdir {image}.d && mount -o loop {image} {image}.d && umount {image}.d"
    );
    let prepared = Command::new("bash")
        .args(["-c", &prepare])
        .output()
        .unwrap();
    if prepared.status.success() {
        let script = r#"
            used() { sync; echo $(( ($(stat -f -c '(%b - %f) * %S' disk)) / 1000000 )); }
            caisson run --rm $N -v data:/d busybox sh -c 'dd if=/dev/urandom of=/d/f bs=1M count=60; echo old > /d/g' 2>/dev/null || exit 2; before=$(used)
            for i in 1 2 3; do caisson volume clone data copy$i >/dev/null && caisson volume snapshot data s$i >/dev/null || exit 3; done; after=$(used)
            caisson run --rm $N -v copy1:/d busybox sh -c 'echo new > /d/g; dd if=/dev/zero of=/d/f bs=1M count=1 conv=notrunc' 2>/dev/null; caisson volume restore data s1 >/dev/null || exit 4
            echo "$before MB, with six copies $after MB, in the end $(used) MB"; [ $before -ge 60 ] && [ $((after - before)) -le 6 ] && [ $(($(used) - before)) -le 12 ] || exit 5
            caisson run --rm $N -v data:/d -v copy2:/e busybox sh -c 'cmp /d/f /e/f && cat /d/g' | grep -qx old"#;
        check_in(&Sandbox::on_disk(&format!("-o loop {image}")), script);
    } else {
        let reason = String::from_utf8_lossy(&prepared.stderr);
        println!(
            "skipped: cannot mount {kind} on this machine: {}",
            reason.trim()
        );
    }
    let _ = std::fs::remove_dir(format!("{image}.d"));
    std::fs::remove_file(&image).unwrap();
}

#[test]
fn copies_share_their_blocks_on_xfs() {
    if can_run() {
        copies_share_blocks("xfs", "mkfs.xfs -q -m reflink=1");
    }
}

#[test]
fn copies_share_their_blocks_on_btrfs() {
    if can_run() {
        copies_share_blocks("btrfs", "mkfs.btrfs -q");
    }
}
