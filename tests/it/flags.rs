//! Flags of Docker's commands that no other test needs: each is given to a command, and what it says is
//! seen in what the command makes or prints.

use testkit::check;

fn script(text: &str) {
    const HOST: &str = r#"
        ip link set lo up; N='--network none'; D=/dev/$(ls /sys/block | head -1)
        ok() { "$@" > o 2> e || { echo "$*"; cat o e; exit 2; }; }; has() { w=$1; shift; ok "$@"; grep -q -- "$w" o || { echo "no $w: $*"; cat o e; exit 3; }; }; is() { [ "$2" = "$3" ] || { printf '%s:\n%s\n' "$1" "$2"; exit 4; }; }
        waits() { for i in $(seq 150); do "$@" >/dev/null 2>&1 && return; sleep .1; done; echo "never: $*"; "$@"; false; }"#;
    check(&format!(
        "cat > s.sh <<'EOS'\n{HOST}\n{text}\nEOS\nunshare -n bash s.sh"
    ));
}

macro_rules! flags {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { script($script); })* };
}

flags! {
    limits_and_names_of_containers_are_kept_and_changed: r#"
        ok caisson run -d --name full $N --blkio-weight-device $D:300 --cpuset-mems 0 --device-cgroup-rule 'c 1:3 r' --device-read-iops $D:100 --device-write-bps $D:1mb --device-write-iops $D:200 --dns-option ndots:3 --domainname dom --group-add 44 --health-cmd true --health-interval 1s --health-start-period 2s --health-start-interval 500ms --memory 64m --memory-reservation 32m --oom-kill-disable --quiet --sig-proxy=false --volume-driver local -v vol:/v busybox sleep 1000
        is kept "$(caisson container inspect --format '{{json .HostConfig.BlkioWeightDevice}} {{.HostConfig.CpusetMems}} {{.HostConfig.DeviceCgroupRules}} {{json .HostConfig.BlkioDeviceReadIOps}}{{json .HostConfig.BlkioDeviceWriteBps}}{{json .HostConfig.BlkioDeviceWriteIOps}} {{.HostConfig.DNSOptions}} {{.Config.Domainname}} {{.HostConfig.GroupAdd}} {{.Config.Healthcheck.StartPeriod}} {{.Config.Healthcheck.StartInterval}} {{.HostConfig.MemoryReservation}} {{.HostConfig.OomKillDisable}}' full | sed "s|$D|D|g")" '[{"Path":"D","Weight":300}] 0 [c 1:3 r] [{"Path":"D","Rate":100}][{"Path":"D","Rate":1048576}][{"Path":"D","Rate":200}] [ndots:3] dom [44] 2s 500ms 33554432 true'
        has '"SizeRw": [0-9]' caisson container inspect --size full; has SizeRootFs caisson inspect --size --type container full; caisson inspect --type image full 2>&1 | grep -q 'No such image: full' || exit 5
        ok caisson container update --blkio-weight 300 --cpu-period 50000 --cpu-quota 25000 --cpu-shares 512 --cpuset-cpus 0 --cpuset-mems 0 --memory-reservation 16m --restart on-failure:2 full
        is changed "$(caisson inspect -f '{{.HostConfig.BlkioWeight}} {{.HostConfig.CpuPeriod}} {{.HostConfig.CpuQuota}} {{.HostConfig.CpuShares}} {{.HostConfig.CpusetCpus}} {{.HostConfig.CpusetMems}} {{.HostConfig.MemoryReservation}} {{.HostConfig.RestartPolicy.Name}}{{.HostConfig.RestartPolicy.MaximumRetryCount}}' full)" '300 50000 25000 512 0 0 16777216 on-failure2'
        ok caisson run -d --name two $N busybox sh -c 'trap "echo usr; exit 5" USR1; trap "echo hup; exit 6" HUP; echo out; while :; do sleep .1; done'; ok caisson container update --cpus 0.5 two; is cpus "$(caisson inspect -f '{{.HostConfig.NanoCpus}}' two)" 500000000
        waits sh -c 'caisson logs two | grep -q out'; has '^20.*Z  out' caisson container logs --details --since 1h --tail 1 --timestamps two; ok caisson container logs --until 1h two; [ ! -s o ] || exit 6; has '^[0-9a-f]\{64\}  *full' caisson container stats --all --no-stream --no-trunc; has '^two 0*[1-9]' caisson container stats --no-stream --format '{{.Name}} {{.PIDs}}' two
        ok caisson container stop --signal USR1 two; is signal "$(caisson inspect -f '{{.State.ExitCode}}' two) $(caisson logs two | tail -1)" '5 usr'; ok caisson start two; waits sh -c '[ "$(caisson logs two | grep -c out)" = 2 ]'; ok caisson container restart --signal HUP two; caisson logs two | grep -q hup || exit 7
        ok caisson rm -f two full; ok caisson volume rm vol; caisson run --help | grep -q -- --sig-proxy || exit 8"#;
    what_goes_in_and_out_of_containers: r#"
        ok caisson run -d -it --name cc $N busybox sh; printf 'A=file\n' > ef; has '^file$' caisson container exec --env-file ef cc sh -c 'echo $A'; has 'CapEff:.*f$' caisson container exec --privileged cc grep CapEff /proc/self/status
        echo text > f; chmod 640 f; chown 33:44 f; ok caisson container cp --archive --quiet f cc:/f; [ ! -s e ] || exit 5; is owner "$(caisson exec cc stat -c '%u %g' /f)" '33 44'
        ok caisson container export --output e.tar cc; tar tf e.tar | grep -qx f || exit 6; ok caisson container commit --author me --message said --no-pause cc made; is commit "$(caisson image inspect -f '{{.Author}} {{.Comment}}' made)" 'me said'
        typed() { (for i in $(seq 50); do printf 'echo mark$((1+1))\r'; grep -q mark2 t && break; sleep .1; done; printf q; waits grep -q read-end t) | script -qec "$1; echo read-end" /dev/null > t; }
        rm -f t; typed 'caisson container attach --detach-keys q cc' && [ "$(caisson inspect -f '{{.State.Running}}' cc)" = true ] || { cat t; exit 7; }; rm -f t; typed 'caisson container exec -it --detach-keys q cc sh' || { cat t; exit 8; }
        ok caisson stop -t 0 cc; rm -f t; typed 'caisson container start -ai --detach-keys q cc' && [ "$(caisson inspect -f '{{.State.Running}}' cc)" = true ] || { cat t; exit 9; }
        caisson container attach --no-stdin --sig-proxy=false cc > a 2>&1 & p=$!; waits sh -c 'caisson exec cc sh -c "echo seen > /proc/1/fd/1"; grep -q seen a'; ok caisson kill cc; wait $p; [ $? = 137 ] || { cat a; exit 10; }; ok caisson rm cc
        ok caisson image import --message why e.tar imported; is message "$(caisson image inspect -f '{{.Comment}}' imported)" why; has '^[0-9.]*[kM]*B$' caisson image history --human=true --platform linux/amd64 --format '{{.Size}}' made; has '^[0-9a-f<]' caisson image history --quiet made; ok caisson image save --platform linux/amd64 -o s.tar made; ok caisson image prune --force --filter until=24h; caisson image inspect made >/dev/null || exit 11
        mkdir b; printf 'FROM busybox AS one\nRUN date > /d\nFROM one\nLABEL x=y\n' > b/Dockerfile; ok caisson builder build --label own=l -t built $N b; is label "$(caisson image inspect -f '{{.Config.Labels.own}}' built)" l; has 'no warnings' caisson buildx build --check b; ok caisson buildx build --no-cache-filter one --label own=m $N -t built b; grep -q 'not cached' e || { cat e; exit 12; }
        has 'Type: *run' caisson buildx du --verbose --filter type=run --filter shared=true; ok caisson buildx du --filter type=nope; grep -q 'Total:.*0B' o || exit 13; caisson buildx du --filter odd=1 2>&1 | grep -q "invalid filter 'odd=1'" || exit 14; ok caisson buildx prune --force --filter until=24h --max-used-space 1gb --reserved-space 1gb; ok caisson builder prune --force --filter until=24h --keep-storage 1gb
        ok caisson --config $PWD/cfg -D --log-level error version; has '^linux' caisson system info --format '{{.OSType}}'; has . caisson version --format '{{.Server.Version}}'; ok caisson rmi made imported built"#;
    networks_take_what_they_are_given: r#"
        ok caisson network create --attachable --driver bridge --ipam-driver default --ipv4 --label own=l --ipv6 --subnet 10.66.0.0/24 --subnet fd66::/64 net; is made "$(caisson network inspect --verbose -f '{{.Driver}} {{.Attachable}} {{.IPAM.Driver}} {{.EnableIPv4}} {{.Labels.own}}' net)" 'bridge true default true l'
        ok caisson run -d --name cc busybox sleep 1000; ok caisson network connect --ip 10.66.0.7 --ip6 fd66::7 net cc; has '10.66.0.7/24' caisson exec cc ip addr; has 'fd66::7/64' caisson exec cc ip addr; ok caisson network disconnect --force net cc; caisson exec cc ip addr | grep 10.66 && exit 5
        ok caisson run --rm --network net --ip6 fd66::9 busybox ip addr; grep -q fd66::9/64 o || exit 6; ok caisson network prune --force --filter label=other; caisson network inspect net >/dev/null || exit 7; ok caisson network prune --force --filter label=own=l; caisson network inspect net 2>/dev/null && exit 8; ok caisson rm -f cc"#;
    what_few_kernels_and_few_people_have: r#"
        # Time for programs of real-time classes is the parent group's to give: kept, and refused by name at the start or had.
        ok caisson container create --name rt $N --cpu-rt-period 1000000 --cpu-rt-runtime 1000 --isolation default busybox sh -c 'grep -h . /sys/fs/cgroup/cpu/cpu.rt_runtime_us'; is kept "$(caisson inspect -f '{{.HostConfig.CpuRealtimePeriod}} {{.HostConfig.CpuRealtimeRuntime}}' rt)" '1000000 1000'
        ok caisson container update --cpu-rt-period 500000 --cpu-rt-runtime 2000 rt; is changed "$(caisson inspect -f '{{.HostConfig.CpuRealtimePeriod}} {{.HostConfig.CpuRealtimeRuntime}}' rt)" '500000 2000'
        caisson container start -a rt > o 2> e || grep -q -- '--cpu-rt-' e || { cat o e; exit 4; }; ok caisson rm rt
        caisson container run --rm $N --cpu-rt-period 1000000 --cpu-rt-runtime 1000 --isolation hyperv busybox true 2> e; [ $? = 125 ] && grep -q "only supports 'default'" e || { cat e; exit 5; }
        ok caisson container run --rm $N --isolation default busybox true; caisson container create --help | grep -q -- '--isolation' && caisson container run --help | grep -q -- '--cpu-rt-period' || exit 6
        ok caisson container create --name drv $N --volume-driver local -v drv:/v busybox true; is driver "$(caisson inspect -f '{{.HostConfig.VolumeDriver}}' drv)" local; ok caisson rm drv; ok caisson volume rm drv
        mkdir cfg; printf '{"psFormat": "{{.Names}}-mine"}' > cfg/config.json; ok caisson create --name one $N busybox true; is format "$(caisson --config cfg ps -a)" one-mine; is context "$(caisson --context default ps -aq | wc -l)" 1; caisson -c other ps 2>&1 | grep -q 'context "other" is refused' || exit 7; ok caisson rm one
        # Nobody answers for the base here: asking for it fails, not asking does not.
        mkdir b; printf 'FROM busybox\nRUN --mount=type=ssh,required=true test -S $SSH_AUTH_SOCK\n' > b/Dockerfile; eval "$(ssh-agent)" >/dev/null; trap 'kill $SSH_AGENT_PID' EXIT
        caisson buildx build --ssh default $N b 2> e || { cat e; exit 8; }; caisson buildx build --no-cache $N b 2> e && exit 9; grep -qi ssh e || { cat e; exit 10; }
        for build in builder buildx; do caisson $build build --pull --ssh default $N b > o 2>&1 && exit 11; grep -q registry-1.docker.io o || { cat o; exit 12; }; done; caisson builder build --pull $N b >/dev/null 2>&1 && exit 13; caisson buildx build --pull $N b > /dev/null 2>&1 && exit 14; true"#;
}
