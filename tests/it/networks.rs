//! Networks as people use them. Each test is a host of its own: a network namespace with an address
//! on an uplink, so that no test meets another's bridges, ports or tables.

use testkit::check;

/// Runs a script on a fresh host that is 192.0.2.2 on its uplink.
pub(crate) fn on_a_host(script: &str) {
    const HOST: &str = "ip link set lo up; ip link add up0 type veth peer name far0; \
        ip addr add 192.0.2.2/24 dev up0; ip link set up0 up; ip link set far0 up; \
        ip route add default via 192.0.2.1; \
        GET=\"printf 'GET /h HTTP/1.0\\r\\n\\r\\n'\"; \
        serve() { caisson run -d \"$@\" busybox sh -c 'mkdir /w; echo hello > /w/h; httpd -f -h /w' >/dev/null; }; \
        ask() { for i in $(seq 100); do eval \"$GET\" | timeout 2 busybox nc $1 $2 2>/dev/null | grep hello && return; sleep .05; done; false; }; \
        refused() { ! eval \"$GET\" | timeout 1 busybox nc $1 $2 2>/dev/null | grep hello; }; \
        neighbour() { unshare -n sleep 999 & N=$!; until_true '[ $(readlink /proc/$N/ns/net) != $(readlink /proc/self/ns/net) ]' && \
          ip link set far0 netns $N && far ip addr add 192.0.2.1/24 dev far0 && far ip link set far0 up; trap 'kill $N' EXIT; }; \
        far() { nsenter -t $N -n \"$@\"; }; \
        far_get() { eval \"$GET\" | far timeout 1 busybox nc $1 $2 2>/dev/null | grep hello; }; \
        until_true() { for i in $(seq 100); do eval \"$1\" && return; sleep .1; done; echo \"never true: $1\"; false; }";
    check(&format!(
        "cat > s.sh <<'EOS'\n{HOST}\n{script}\nEOS\nunshare -n bash s.sh"
    ));
}

macro_rules! hosts {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { on_a_host($script); })* };
}

hosts! {
    a_container_has_an_address_a_route_and_its_own_name: r#"
        caisson run --rm --name me busybox sh -c 'ip a; ip r; cat /etc/resolv.conf /etc/hosts; hostname' > o; cat o
        grep -q 'inet 172.17.0.2/16' o && grep -q 'default via 172.17.0.1 dev eth0' o && grep -qx 'nameserver 127.0.0.11' o || exit 2
        grep -q "^172.17.0.2	$(tail -1 o)" o"#;
    published_ports_answer_wherever_the_host_does: r#"
        serve --name web -p 8080:80 -p 127.0.0.1:8081:80
        ask 127.0.0.1 8080 && ask 192.0.2.2 8080 && ask 172.17.0.1 8080 && ask 127.0.0.1 8081 && refused 192.0.2.2 8081 || exit 2
        caisson run --rm busybox sh -c "$GET | nc 192.0.2.2 8080" | grep hello && caisson exec web sh -c "$GET | nc 192.0.2.2 8080" | grep hello || exit 3
        [ "$(caisson port web 80 | sort)" = "$(printf '0.0.0.0:8080\n127.0.0.1:8081\n[::]:8080')" ] && caisson ps | grep -q '0.0.0.0:8080->80/tcp' || exit 4
        caisson stop -t 0 web && refused 127.0.0.1 8080 && caisson start web && ask 127.0.0.1 8080"#;
    published_ports_answer_on_ipv6_whatever_the_container_has: r#"
        ip addr add fd00:5::2/64 nodad dev up0
        serve --name web -p 8080:80 -p '[::1]:8081:80'; ask ::1 8080 && ask fd00:5::2 8080 && ask ::1 8081 && refused fd00:5::2 8081 || exit 2
        caisson network create --ipv6 six >/dev/null; serve --name both --network six -p 8082:80; ask ::1 8082 && ask fd00:5::2 8082 && ask 127.0.0.1 8082 || exit 3
        caisson run --rm -p 8080:80 busybox true; [ $? = 125 ] || exit 4
        for i in 1 2 3; do caisson restart -t 0 web && ask ::1 8080 || exit 5; done
        kill -9 $(sed -n 's/.*"monitor_pid":\([0-9]*\).*/\1/p' $CAISSON_ROOT/containers/$(caisson inspect -f '{{.Id}}' web)/state); until_true 'caisson ps | grep -q web && ask ::1 8080' && ask 127.0.0.1 8080 || exit 6
        caisson rm -f web both && refused ::1 8080 && [ -z "$(ss -lntH)" ]"#;
    a_monitor_with_names_and_ports_needs_little_memory: r#"
        serve --name web -p 8080:80 -p 8081:81/udp; ask 127.0.0.1 8080 && ask ::1 8080 && caisson exec web nslookup -type=a web || exit 2
        M=$(sed -n 's/.*"monitor_pid":\([0-9]*\).*/\1/p' $CAISSON_ROOT/containers/$(caisson inspect -f '{{.Id}}' web)/state)
        until_true '[ $(awk "/^Pss:/{print \$2}" /proc/$M/smaps_rollup) -le 500 ]'"#;
    another_network_takes_over_the_route_and_the_ports: r#"
        caisson network create two >/dev/null; caisson network create --internal in >/dev/null
        serve --name web -p 8080:80 && caisson network connect in web && caisson network connect two web; ask 127.0.0.1 8080 && ask ::1 8080 || exit 2
        caisson network disconnect bridge web && caisson exec web ip r | grep -q 'default via 172.18.0.1' && ask 127.0.0.1 8080 && ask ::1 8080 || exit 3
        caisson network connect bridge web && caisson network disconnect two web && caisson exec web ip r | grep -q 'default via 172.17.0.1' && ask 127.0.0.1 8080"#;
    the_bridge_of_another_store_is_nobodys_leftover: r#"
        caisson run --rm busybox true && B=$(ip -o link | grep -o 'cs0-[0-9a-f]*' | head -1); [ -n "$B" ] || exit 2
        other() { caisson --root $PWD/other --run-root $PWD/other-run "$@"; }
        until_true '! ip -o link | grep -q "master cs0-"'; other doctor > o; grep -q "$B" o && { cat o; exit 3; }
        other import $IMAGE busybox >/dev/null; other run --rm busybox true; until_true '! ip -o link | grep -q "master cs0-"'; caisson doctor > o; grep -q 'has no port' o && { cat o; exit 4; }
        # What nobody has any more is told, and with whose it was.
        rm -r other; caisson doctor > o; grep -q "has no port and belonged to the network of $PWD/other/networks/bridge, which is gone" o || { cat o; exit 5; }
        eval "$(sed -n 's/^ *\(ip link delete cs0-.*\)/\1/p' o)"; caisson doctor > o; ! grep -q 'has no port' o; r=$?; rm -rf other-run; exit $r"#;
    a_new_store_takes_over_what_an_old_one_left_at_its_path: r#"
        serve --name web -p 8080:80; nft list ruleset | grep -q 8080 || exit 2
        mkdir old; mount --bind old $CAISSON_ROOT; caisson import $IMAGE busybox >/dev/null; caisson run --rm busybox true 2> e; [ $? = 125 ] && grep -q 'if nothing needs it any more: ip link delete cs0-' e || exit 3
        gone() { caisson rm -f web >/dev/null; until_true '! ip -o link | grep -q "master cs0-"'; }
        umount $CAISSON_ROOT; gone; mount --bind old $CAISSON_ROOT; serve --name web -p 8080:80; ask 127.0.0.1 8080 || exit 4
        gone; umount $CAISSON_ROOT; serve --name web -p 8080:80; ask 127.0.0.1 8080"#;
    a_host_with_many_interfaces_has_networks_too: r#"
        for i in $(seq 150); do echo "link add many$i type bridge"; echo "addr add 10.77.$i.1/24 dev many$i"; done > many; ip -b many
        caisson network create n >/dev/null && caisson run --rm --network n busybox ip -4 addr show eth0 | grep -q 'inet ' || exit 2
        caisson run --rm busybox ip -4 addr show eth0 | grep -q 'inet ' || exit 3"#;
    a_taken_port_is_named_and_leaves_nothing: r#"
        serve --name web -p 8080:80
        caisson run --name two -p 8080:80 busybox true 2> e; [ $? = 125 ] && grep -q '0.0.0.0:8080' e && grep -q 'already' e || exit 2
        timeout 1 busybox nc -l -p 8080 < /dev/null; [ $? = 1 ] || exit 3
        [ "$(caisson inspect -f '{{.State.Status}}' two)" = created ] && [ -z "$(caisson inspect -f '{{.NetworkSettings.IPAddress}}' two)" ] || exit 4
        caisson rm -f web && caisson start two"#;
    a_port_is_free_as_soon_as_its_container_is_gone: r#"
        for i in $(seq 10); do caisson run -d --name web -p 8080:80 busybox sleep 99 && caisson rm -f web || exit 2; done
        for i in $(seq 5); do caisson run --rm -p 8080:80 busybox true || exit 3; done"#;
    ranges_and_random_ports_are_taken: r#"
        caisson run -d --name aa -p 9000-9001:80 busybox sleep 99 && caisson run -d --name bb -p 9000-9001:80 busybox sleep 99 || exit 2
        caisson port aa | grep -q 9000 && caisson port bb | grep -q 9001 || exit 3
        caisson run --rm -p 9000-9001:80 busybox true; [ $? = 125 ] || exit 4
        caisson run -d --name cc -P --expose 80 --expose 81/udp busybox sleep 99 && [ $(caisson port cc | wc -l) = 4 ]"#;
    names_resolve_on_every_network: r#"
        serve --name web --network-alias site; caisson network create mine >/dev/null; serve --name other --network mine --network-alias app
        caisson run --rm busybox nslookup -type=a web | grep -q 172.17.0.2 && caisson run --rm busybox nslookup -type=a site | grep -q 172.17.0.2 || exit 2
        caisson run --rm --network mine busybox nslookup -type=a app.mine | grep -q 172.18.0.2 || exit 3
        caisson run --rm busybox nslookup 172.17.0.2 | grep -q 'name = web.bridge' || exit 4
        ! caisson run --rm busybox nslookup -type=a other || exit 5
        caisson rename web shop; caisson rm -f shop; ! caisson run --rm busybox nslookup -type=a web"#;
    the_old_iptables_is_told_of_with_the_command_that_helps: r#"
        iptables-legacy -P FORWARD DROP; neighbour; serve --name web -p 8080:80 2> e; grep -q 'chain FORWARD of iptables-legacy' e && ask 127.0.0.1 8080 || exit 2
        far_get 192.0.2.2 8080 && exit 3; caisson doctor | grep -q 'iptables-legacy -I FORWARD -i cs0-' || exit 5; eval "$(sed 's/.*pass: //' e)"; until_true 'far_get 192.0.2.2 8080' || exit 4
        caisson restart -t 0 web 2> e; [ ! -s e ] && until_true 'far_get 192.0.2.2 8080'"#;
    the_new_iptables_lets_ours_pass_and_keeps_nothing: r#"
        iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-USER; ip6tables-nft -P FORWARD DROP; iptables-nft -S > before; ip6tables-nft -S >> before
        neighbour; serve --name web -p 8080:80 2> e; cat e; [ ! -s e ] && until_true 'far_get 192.0.2.2 8080' && iptables-nft -S | grep -q -- '-A DOCKER-USER -i cs0-.* -j ACCEPT' || exit 2
        caisson rm -f web && caisson network prune -f; iptables-nft -S > after; ip6tables-nft -S >> after; diff before after"#;
    what_was_removed_by_hand_comes_back_and_what_is_pruned_is_gone: r#"
        echo 1 > /proc/sys/net/ipv4/conf/all/forwarding; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; B=cs0-$(echo $CAISSON_ROOT | wc -c)
        serve --name web -p 8080:80; ask 127.0.0.1 8080 || exit 2; B=$(ip -o link | grep -o 'cs0-[0-9a-f]*' | head -1); ip link del $B; T=$(nft list tables | grep -o 'inet caisson.*'); nft delete table $T
        serve --name two -p 8081:80; ask 127.0.0.1 8081 || exit 3; caisson restart -t 0 web; ask 127.0.0.1 8080 || exit 4
        caisson network prune -f; ip link show $B > /dev/null && ask 127.0.0.1 8080 || exit 5
        caisson rm -f web two; caisson network prune -f; ! ip link show $B 2> /dev/null && [ -z "$(nft list ruleset)" ] || exit 6
        serve --name web -p 8080:80; ask 127.0.0.1 8080"#;
    a_deleted_bridge_comes_back_under_running_containers: r#"
        index() { ip -o link show $1 2>/dev/null | cut -d: -f1; }; ports() { [ "$(ip -o link show master $1 2>/dev/null | wc -l)" = $2 ]; }
        caisson network create --opt com.docker.network.bridge.name=own0 mine >/dev/null; caisson network create --opt caisson.shortcut=false --opt com.docker.network.bridge.name=long0 long >/dev/null
        serve --name web --network mine --network long -p 8080:80; serve --name two --network mine; ask 127.0.0.1 8080 || exit 2
        I=$(index own0); J=$(index long0); C=$(caisson inspect -f '{{.State.Pid}}' web)
        { printf 'GET /h HTTP/1.0\r\n'; until_true '[ -e go ]' >&2; printf '\r\n'; } | busybox nc 127.0.0.1 8080 > over & until_true "nsenter -t $C -n ss -tnH | grep -q ESTAB"
        ip link del own0; ip link del long0
        until_true 'ports own0 2 && ports long0 1' || exit 3
        [ $(index own0) != $I ] && [ $(index long0) != $J ] || exit 4
        ask 127.0.0.1 8080 && ask 192.0.2.2 8080 && caisson exec two sh -c "$GET | nc web 80" | grep hello && caisson exec web sh -c "$GET | nc two 80" | grep hello || exit 5
        touch go; wait %1; grep hello over || exit 6
        caisson exec web sh -c 'ping -c 1 -W 2 172.18.0.1 && ping -c 1 -W 2 172.18.1.1' || exit 7
        serve --name three --network mine; caisson exec three sh -c "$GET | nc web 80" | grep hello && ports own0 3 || exit 8
        M=$(sed -n 's/.*"monitor_pid":\([0-9]*\).*/\1/p' $CAISSON_ROOT/containers/$(caisson inspect -f '{{.Id}}' web)/state); kill -STOP $M; ip link del long0; kill -9 $M
        until_true 'caisson ps | grep -q web && ports long0 1' && ask 127.0.0.1 8080 || exit 9
        M=$(sed -n 's/.*"monitor_pid":\([0-9]*\).*/\1/p' $CAISSON_ROOT/containers/$(caisson inspect -f '{{.Id}}' web)/state); kill -STOP $M; ip link del long0; ip link add long0 type bridge; ip link set long0 up; kill -CONT $M
        caisson exec web true && caisson exec web true && ports long0 0 || exit 11; caisson run --rm --network long busybox true 2> e && exit 12; grep -q 'long0 exists already and is not ours' e || exit 13
        ip link del long0; until_true 'ports long0 1' && caisson exec web ping -c 1 -W 2 172.18.1.1 || exit 14
        caisson network disconnect long web; ip link del long0; caisson network rm long && [ -z "$(index long0)" ] || exit 10
        caisson rm -f web two three; caisson network rm mine && [ -z "$(index own0)" ]"#;
    names_follow_a_rename_at_once: r#"
        serve --name web --network-alias site; caisson run -d --name cc --link web:db busybox sleep 99 >/dev/null
        caisson rename web shop; caisson exec cc nslookup -type=a shop | grep -q 172.17.0.2 && ! caisson exec cc nslookup -type=a web && caisson exec cc nslookup -type=a site | grep -q 172.17.0.2 || exit 2
        caisson exec cc nslookup 172.17.0.2 | grep -q 'name = shop.bridge' && caisson exec cc nslookup -type=a db | grep -q 172.17.0.2 || exit 3
        caisson rm -f shop; [ "$(ls $CAISSON_ROOT/networks/bridge/names | wc -l)" = 2 ]"#;
    a_container_may_translate_addresses_itself: r#"
        serve --name web; caisson run -d --name cc busybox sleep 99 >/dev/null; p=$(caisson inspect -f '{{.State.Pid}}' cc)
        [ -z "$(nsenter -n -t $p nft list ruleset)" ] || exit 2
        nsenter -n -t $p nft 'add table ip own; add chain ip own o { type nat hook output priority -100; }; add rule ip own o ip daddr 10.99.0.1 tcp dport 80 dnat to 172.17.0.2; add chain ip own i { type filter hook input priority 0; policy drop; }; add rule ip own i ct state established,related accept; add rule ip own i iif lo accept'
        eval "$GET" | timeout 5 caisson exec -i cc nc 10.99.0.1 80 | grep hello || exit 3; caisson exec cc nslookup -type=a web | grep -q 172.17.0.2"#;
    hosts_and_mode_follow_connections: r#"
        caisson network create mine >/dev/null; caisson run -d --name cc --hostname hh busybox sleep 99 >/dev/null; caisson exec cc sh -c 'echo 10.1.1.1 own >> /etc/hosts'
        caisson network connect bridge cc 2> e; [ $? = 1 ] && grep -q 'already exists in network bridge' e || exit 2
        caisson network connect mine cc; caisson exec cc cat /etc/hosts > h; grep -qx "172.17.0.2	hh" h && grep -qx "172.18.0.2	hh" h && grep -qx '10.1.1.1 own' h || exit 3
        caisson network disconnect bridge cc; caisson exec cc cat /etc/hosts > h; ! grep -q 172.17 h && grep -qx "172.18.0.2	hh" h && grep -qx '10.1.1.1 own' h || exit 4
        caisson network disconnect mine cc; caisson exec cc cat /etc/hosts > h; ! grep -q '172\.' h || exit 5
        caisson restart -t 0 cc; [ "$(caisson inspect -f '{{.HostConfig.NetworkMode}} {{len .NetworkSettings.Networks}}' cc)" = 'bridge 0' ] || exit 6
        caisson network connect mine cc && caisson exec cc ip r | grep -q 'default via 172.18.0.1' && caisson restart -t 0 cc && caisson exec cc grep -qx "172.18.0.2	hh" /etc/hosts"#;
    names_do_not_wait_for_output: r#"
        caisson network create mine >/dev/null; caisson run -d --name loud --log-opt max-size=1m busybox yes
        M=$(sed -n 's/.*"monitor_pid":\([0-9]*\).*/\1/p' $CAISSON_ROOT/containers/$(caisson inspect -f '{{.Id}}' loud)/state)
        answers() { grep -l caisson-names $(sed 's,\([0-9]*\) *,/proc/\1/comm ,g' /proc/$M/task/$M/children) 2>/dev/null; }
        until_true answers && caisson exec loud nslookup -type=a loud | grep -q 172.17 || exit 2
        caisson network connect mine loud && caisson exec loud nslookup -type=a loud.mine | grep -q 172.18 && until_true answers || exit 3
        N=$(answers | cut -d/ -f3); caisson rm -f loud && until_true '[ ! -e /proc/$N ]'"#;
    a_container_may_serve_names_itself: r#"
        caisson run --rm busybox sh -c 'nc -l -p 53 </dev/null & sleep .3; jobs | grep -c Running' | grep -qx 1"#;
    networks_are_apart_and_internal_ones_have_no_way_out: r#"
        caisson network create one >/dev/null && caisson network create --internal two >/dev/null
        serve --name aa --network one -p 8080:80; serve --name bb --network two
        A=$(caisson inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' aa); B=$(caisson inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' bb)
        ask $A 80 && ask $B 80 || exit 2
        caisson run --rm busybox sh -c "$GET | nc -w 1 $A 80 | grep hello" && exit 3
        caisson run --rm busybox sh -c "$GET | nc -w 1 $B 80 | grep hello" && exit 4
        caisson run --rm --network two busybox sh -c "$GET | nc -w 1 $B 80" | grep -q hello || exit 5
        caisson run --rm --network two busybox sh -c "$GET | nc -w 1 192.0.2.2 8080 | grep hello" && exit 6
        caisson run --rm --network two busybox ip r | grep default && exit 7
        caisson run --rm --network two busybox nslookup example.com | grep -q SERVFAIL"#;
    running_containers_join_and_leave: r#"
        caisson network create mine >/dev/null; serve --name web; caisson run -d --name cc --network mine busybox sleep 99
        caisson exec cc sh -c "$GET | nc -w 1 $(caisson inspect -f '{{.NetworkSettings.IPAddress}}' web) 80 | grep hello" && exit 2
        caisson network connect --alias site mine web && caisson exec cc nslookup -type=a site | grep -q 172.18 || exit 3
        A=$(caisson inspect -f '{{.NetworkSettings.Networks.mine.IPAddress}}' web); caisson exec cc sh -c "$GET | nc -w 1 $A 80" | grep -q hello || exit 4
        caisson network connect mine web 2> e; grep -q 'already exists' e || exit 5
        caisson network rm mine 2> e; grep -q 'has active endpoints' e || exit 6
        caisson network disconnect mine web && ! caisson exec cc nslookup -type=a site && ! caisson network disconnect mine web || exit 7
        caisson network disconnect bridge web && ! caisson exec web ip r | grep default && caisson network connect bridge web && caisson exec web ip r | grep default || exit 8
        caisson restart -t 0 web && caisson rm -f cc && caisson network rm mine && ! ip link | grep cs-"#;
    fixed_addresses_are_kept_and_defended: r#"
        caisson network create --subnet 10.9.0.0/24 --gateway 10.9.0.9 --ip-range 10.9.0.128/25 --aux-address x=10.9.0.128 n >/dev/null
        caisson run -d --network n --ip 10.9.0.7 --mac-address 02:00:00:00:00:07 --name aa busybox sleep 99 && caisson exec aa ip a | grep -q 10.9.0.7/24 && caisson exec aa ip a | grep -qi 02:00:00:00:00:07 || exit 2
        caisson run --rm --network n busybox ip a | grep -q 10.9.0.129 || exit 3
        for ip in 10.9.0.7 10.9.0.9 10.8.0.1; do caisson run --rm --network n --ip $ip busybox true 2> e; [ $? = 125 ] || exit 4; cat e; done
        caisson run --rm --ip 10.9.0.8 busybox true 2> e; grep -q 'user defined networks only' e"#;
    bad_networks_are_refused_without_a_trace: r#"
        caisson network create --scope swarm wide 2> e && exit 20; grep -q 'scope "swarm" are not built' e && caisson network create --scope local narrow > /dev/null && caisson network rm narrow > /dev/null || exit 21
        for bad in '..' '-x' '-- -x' '-- --internal' "-- ''" '-- ..' '-- a/../b' 'a/b' bridge host none '--subnet 10.0.0.1/24 a' '--subnet 10.0.0.0/33 a' '--subnet 198.18.0.0/32 a' '--subnet x a' '--subnet 192.0.2.0/25 a' '--subnet 10.1.0.0/24 --gateway 10.2.0.1 a' '--gateway 10.2.0.1 a' '--driver overlay a' '--opt com.docker.network.driver.mtu=7 a' '--subnet 10.1.0.0/24 --subnet 10.2.0.0/24 a' '--subnet 10.9.0.0/24 --aux-address a=10.9.0.1 a' '--subnet 224.1.0.0/24 a' '--subnet 240.0.0.0/24 a' '--subnet 127.5.0.0/24 a' '--subnet 169.254.1.0/24 a' '--subnet 255.255.255.0/24 a' '--subnet 0.0.0.0/8 a' '--subnet 0.0.0.0/0 a' '--subnet 10.9.0.0/24 --ip-range 10.9.0.77/28 a' '--ipam-driver other a' '--ipv6 --subnet ff05::/64 a' '--opt com.docker.network.bridge.gateway_mode_ipv4=routed a' '--opt com.docker.network.bridge.inhibit_ipv4=true a'; do
            caisson network create $bad > o 2> e && { echo "$bad is taken"; exit 2; }; cat e; done
        caisson run --rm --mac-address zz busybox true 2> e; [ $? = 125 ] && grep -q 'zz is not a valid mac address' e && [ -z "$(ls $CAISSON_ROOT/networks/bridge/addresses)" ] || exit 4
        caisson run --rm -p '[::1]:80:80/sctp' busybox true 2> e; [ $? = 125 ] && grep -q 'no IPv6 address' e || exit 5
        caisson run --rm -p 127.0.0.1:80:80/sctp busybox true 2> e || grep -q 'this kernel has no SCTP' e || exit 6
        caisson run --rm -v vol:/dev busybox true 2> e; [ $? = 127 ] && grep -q 'mounted on /dev hides it' e && caisson volume rm vol >/dev/null || exit 7
        [ $(caisson network ls -q | wc -l) = 3 ] && [ $(ls $CAISSON_ROOT/networks | wc -l) = 1 ] || exit 3
        caisson run --rm --network missing busybox true 2> e; [ $? = 125 ] && grep -q 'network missing not found' e"#;
    a_firewall_of_iptables_lets_ours_pass: r#"
        nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }; add chain ip filter DOCKER-USER; add rule ip filter FORWARD jump DOCKER-USER'
        neighbour; mkdir -p w; echo far > w/h; nsenter -t $N -n busybox httpd -f -p 192.0.2.1:80 -h w & S=$!
        caisson network create mine >/dev/null; serve --name web --network mine -p 8080:80 2> e; cat e; [ ! -s e ] || exit 2
        far sh -c "$GET | busybox nc -w 2 192.0.2.2 8080" | grep -q hello || exit 3
        caisson run --rm --network mine busybox sh -c "$GET | nc -w 2 192.0.2.1 80" | grep -q far && caisson run --rm busybox sh -c "$GET | nc -w 2 192.0.2.1 80" | grep -q far || exit 4
        caisson run --rm --network mine busybox sh -c "$GET | nc -w 2 web 80" | grep -q hello || exit 5
        far ip route add 172.18.0.0/16 via 192.0.2.2; far sh -c "$GET | busybox nc -w 1 $(caisson inspect -f '{{.NetworkSettings.Networks.mine.IPAddress}}' web) 80" | grep hello && exit 6
        [ $(nft list chain ip filter DOCKER-USER | grep -c accept) = 4 ] || exit 7
        caisson rm -f web >/dev/null; caisson network rm mine >/dev/null; kill $S; [ $(nft list chain ip filter DOCKER-USER | grep -c accept) = 2 ]"#;
    a_firewall_in_the_way_is_told_with_what_helps: r#"
        nft 'add table inet own; add chain inet own f { type filter hook forward priority 0; policy drop; }'
        caisson run -d --name web -p 8080:80 busybox sleep 99 2> e; grep -q 'another firewall (chain f of table inet own)' e || exit 2
        B=cs0-$(ip -br link | sed -n 's/^cs0-\([0-9a-f]*\).*/\1/p'); grep -q "nft insert rule inet own f iifname $B accept" e || exit 3
        nft insert rule inet own f iifname $B accept; caisson run --rm -p 8081:80 busybox true 2> e; ! grep firewall e || exit 4
        caisson run --rm -p 8080:80 busybox true 2> e; grep -q '(by container web)' e"#;
    flushed_rules_come_back: r#"
        serve --name web -p 8080:80; ask 127.0.0.1 8080 || exit 2
        for i in 1 2 3; do nft flush ruleset; sleep .2; ask 127.0.0.1 8080 && ask 192.0.2.2 8080 || exit 3; done"#;
    a_killed_monitor_leaves_no_address_rule_or_link: r#"
        serve --name web -p 8080:80; I=$(caisson inspect -f '{{.Id}}' web)
        kill -9 $(sed -n 's/.*"monitor_pid":\([0-9]*\).*/\1/p' $CAISSON_ROOT/containers/$I/state); caisson ps | grep -q web && ask 127.0.0.1 8080 || exit 2
        caisson run --rm -p 8080:80 busybox true; [ $? = 125 ] || exit 3
        caisson exec web nslookup -type=a web | grep -q 172.17.0.2 || exit 4
        kill -9 $(sed -n 's/.*"monitor_pid":\([0-9]*\).*/\1/p' $CAISSON_ROOT/containers/$I/state) $(caisson inspect -f '{{.State.Pid}}' web)
        until_true 'caisson ps -a | grep -q Exited' || exit 5
        until_true '[ -z "$(ls $CAISSON_ROOT/networks/bridge/addresses $CAISSON_ROOT/networks/bridge/names | grep -v :)" ]' || exit 6
        ! nft list ruleset | grep 8080 || exit 7
        until_true '! ip link | grep "ve[0-9a-f]*@"' || exit 8"#;
    a_restarted_container_keeps_its_place: r#"
        caisson run -d --name rr --restart always -p 8080:80 busybox sleep .3
        for i in $(seq 50); do [ $(caisson inspect -f '{{.RestartCount}}' rr) -gt 1 ] && break; sleep .1; done
        [ $(caisson inspect -f '{{.RestartCount}}' rr) -gt 0 ] && caisson inspect -f '{{.NetworkSettings.IPAddress}}' rr | grep -qx 172.17.0.2"#;
    ipv6_networks_work: r#"
        caisson network create --ipv6 six >/dev/null; serve --network six --name web -p 8080:80
        caisson run --rm --network six busybox nslookup -type=aaaa web | grep -q 'Address: fd' || exit 2
        A=$(caisson inspect -f '{{.NetworkSettings.Networks.six.GlobalIPv6Address}}' web); caisson run --rm --network six busybox ping -6 -c1 -W2 $A || exit 3
        caisson run --rm --network six busybox nslookup $A | grep -q 'ip6.arpa.*name = web.six' && caisson run --rm --network six busybox sh -c "$GET | nc $A 80" | grep hello"#;
    who_shares_a_network_has_its_names_too: r#"
        serve --name web --hostname front --add-host own:10.1.1.1; caisson run -d --name mid --network container:web busybox sleep 99 >/dev/null
        for of in web mid; do
            caisson run --rm --network container:$of busybox sh -c 'nslookup -type=a web; cat /etc/hosts; hostname; cat /etc/hostname; echo $HOSTNAME; cat /etc/resolv.conf' > o; cat o
            grep -q 172.17.0.2 o && grep -qx 'nameserver 127.0.0.11' o && grep -qx '10.1.1.1	own' o && [ $(grep -cx front o) = 3 ] && grep -qx '172.17.0.2	front' o || exit 2
        done
        caisson exec mid sh -c 'nslookup -type=a web | grep 172.17.0.2 && [ $HOSTNAME = front ]' && caisson network create mine >/dev/null && caisson network connect mine web && caisson exec mid grep -q 172.18.0.2 /etc/hosts || exit 3
        caisson restart -t 0 web && caisson restart -t 0 mid && caisson exec mid nslookup -type=a web | grep -q 172.17 || exit 4
        caisson run --rm --network host busybox hostname | grep -qx "$(hostname)" && caisson run --rm -p 80:0 busybox true 2> e; [ $? = 125 ] && grep -q 'invalid containerPort: 0' e"#;
    the_networks_of_another_container_are_shared: r#"
        serve --name web -p 8080:80; caisson run --rm --network container:web busybox sh -c "ip a; $GET | nc 127.0.0.1 80" | tee o | grep -q hello && grep -q 172.17.0.2 o || exit 2
        caisson run --rm --network host busybox ip a | grep -q 192.0.2.2"#;
    unused_networks_are_pruned: r#"
        caisson network create a >/dev/null; caisson network create b >/dev/null; caisson create --network b --name cc busybox true >/dev/null
        caisson network prune -f | grep -qx a && [ $(caisson network ls -q --filter type=custom | wc -l) = 1 ] && caisson rm cc >/dev/null && caisson system prune -f | grep -qx b"#;
    networks_of_one_store_never_share_a_subnet_or_a_bridge: r#"
        for i in $(seq 12); do caisson network create n$i > /dev/null 2> e$i & done; wait
        S=$(for i in $(seq 12); do caisson network inspect -f '{{range .IPAM.Config}}{{.Subnet}}{{end}}' n$i; done | sort -u | wc -l); [ $S = 12 ] || { cat e*; exit 2; }
        for i in $(seq 8); do caisson network create --subnet 10.9.0.0/24 s$i > o$i 2> e$i & done; wait
        [ $(cat o? | wc -l) = 1 ] && [ $(cat e? | grep -c 'Pool overlaps') = 7 ] || exit 3
        caisson network create -o com.docker.network.bridge.name=br7 one >/dev/null && caisson network create -o com.docker.network.bridge.name=br7 two 2> e; grep -q "conflicts with network [0-9a-f]* (one): networks have same bridge name" e || exit 4
        for i in $(seq 8); do caisson network create -o com.docker.network.bridge.name=br8 b$i > o$i 2> e$i & done; wait; [ $(cat o? | wc -l) = 1 ]"#;
    interfaces_of_the_host_are_never_taken_or_removed: r#"
        ip link add bup0 type bridge; ip link set bup0 up
        caisson network create -o com.docker.network.bridge.name=bup0 up 2> e; grep -q 'bup0 exists already and is not ours (bridge)' e || exit 2
        caisson network create -o com.docker.network.bridge.name=up0 up 2> e; grep -q 'up0 exists already and is not ours (veth)' e || exit 3
        for with in true false; do for how in 'rm up' 'prune -f'; do
            caisson network create -o com.docker.network.bridge.name=late up > /dev/null && ip link add late type bridge || exit 4
            $with && { caisson run --rm --network up busybox true 2> e; grep -q 'late exists already and is not ours' e || exit 5; nft list ruleset | grep late && exit 6; }
            caisson network $how > /dev/null && ip link show late > /dev/null || exit 7; ip link del late
        done; done
        caisson network create -o com.docker.network.bridge.name=late up > /dev/null && caisson run --rm --network up busybox true && ip link show late > /dev/null && caisson network rm up && ! ip link show late 2> /dev/null"#;
    a_network_may_publish_on_one_address: r#"
        caisson network create -o com.docker.network.bridge.host_binding_ipv4=127.0.0.1 lo >/dev/null
        serve --network lo --name web -p 8080:80 -p 0.0.0.0:8081:80 -P --expose 81
        ask 127.0.0.1 8080 && refused 192.0.2.2 8080 && refused ::1 8080 && ask 192.0.2.2 8081 || exit 2
        [ "$(caisson port web 80 | sort)" = "$(printf '0.0.0.0:8081\n127.0.0.1:8080')" ] && caisson port web 81 | grep -q '^127.0.0.1:' && [ $(caisson port web 81 | wc -l) = 1 ]"#;
    the_highest_priority_has_the_default_route_at_any_time: r#"
        for n in na nb nc; do caisson network create $n >/dev/null; done; serve --network na --name cc -p 8080:80
        caisson network connect nb cc && caisson exec cc ip r | grep -q 'default via 172.18.0.1' || exit 2
        caisson network connect --gw-priority 10 nc cc && caisson exec cc ip r > r; [ $(grep -c default r) = 1 ] && grep -q 'default via 172.18.2.1 dev eth2' r && ask 127.0.0.1 8080 || exit 3
        caisson network disconnect nc cc && caisson exec cc ip r | grep -q 'default via 172.18.0.1' && ask 127.0.0.1 8080 || exit 4
        caisson network connect --gw-priority -1 nc cc && caisson exec cc ip r | grep -q 'default via 172.18.0.1'"#;
    interfaces_have_the_names_and_parameters_that_are_asked_for: r#"
        caisson network create -o com.docker.network.container_iface_prefix=foo nf >/dev/null; caisson network create nb >/dev/null
        O=com.docker.network.endpoint
        caisson run -d --name cc --network nf --network name=nb,driver-opt=$O.ifname=bar0,driver-opt=$O.sysctls=net.ipv4.conf.IFNAME.log_martians=1 busybox sleep 99 >/dev/null
        caisson exec cc ip a > a; grep -q ' foo0@' a && grep -q ' bar0@' a && ! grep eth0 a || exit 2
        [ "$(caisson exec cc cat /proc/sys/net/ipv4/conf/bar0/log_martians /proc/sys/net/ipv4/conf/foo0/log_martians)" = "$(printf '1\n0')" ] || exit 3
        caisson network create nc >/dev/null && caisson network connect --driver-opt $O.ifname=baz7 nc cc && caisson exec cc ip a | grep -q ' baz7@' || exit 4
        caisson network create nd >/dev/null && caisson network connect --driver-opt $O.unknown=1 nd cc 2> e; grep -q "$O.unknown is not built" e || exit 5
        caisson run --rm --network name=nb,driver-opt=a.b=c busybox true 2> e; [ $? = 125 ] && grep -q 'a.b is not built' e"#;
    a_taken_port_is_told_in_dockers_words: r#"
        serve --name web -p 8080:80
        caisson run --name two -p 8080:80 busybox true 2> e; [ $? = 125 ] && grep -q 'failed to set up container networking: driver failed programming external connectivity on endpoint two ([0-9a-f]\{64\}): Bind for 0.0.0.0:8080 failed: port is already allocated (by container web)' e || { cat e; exit 2; }
        busybox nc -l -p 8081 > /dev/null & until_true 'ss -lnt | grep -q :8081' || exit 3
        caisson run --name three -p 8081:80 busybox true 2> e; grep -q 'endpoint three ([0-9a-f]\{64\}): failed to bind host port for 0.0.0.0:8081:172.17.0.[0-9]*:80/tcp: address already in use (by busybox, process [0-9]*)' e || { cat e; exit 4; }
        kill %1"#;
    lists_show_ports_where_there_are_any: r#"
        for n in host none; do caisson run -d --network $n --name $n --expose 80 -p 80:80 busybox sleep 99 2>/dev/null; done; serve --name web --expose 81 -p 8080:80
        [ "$(caisson ps --format '{{.Names}}={{.Ports}}' | sort)" = "$(printf 'host=\nnone=\nweb=81/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp')" ] || { caisson ps; exit 2; }
        for c in host none; do [ -z "$(caisson port $c)" ] && [ "$(caisson inspect -f '{{json .NetworkSettings.Ports}}' $c)" = '{}' ] || exit 3; done
        caisson stop -t 0 web; caisson create --name new -p 80:80 busybox true; for c in web new; do [ "$(caisson inspect -f '{{json .NetworkSettings.Ports}}' $c)" = '{}' ] || exit 4; done"#;
    documents_have_dockers_shape: r#"
        caisson network create -o a=b nb >/dev/null; serve --name web --network nb --hostname hosty; serve --name plain; caisson create --name new --network nb busybox true >/dev/null
        see() { caisson inspect -f "{{json .NetworkSettings.$2}}" $1; }; N=$(caisson network inspect -f '{{.Id}}' nb)
        see web SandboxID | grep -qx '"[0-9a-f]\{64\}"' && see web SandboxKey | grep -q ns/net && [ "$(see new SandboxID)" = '""' ] || exit 2
        caisson stop -t 0 web; for c in web new; do see $c Networks.nb.NetworkID | grep -q $N && see $c Networks.nb.DNSNames | grep -q "\"$c\"" && [ "$(see $c Networks.nb.EndpointID)" = '""' ] || exit 3; done; caisson start web
        for n in host none; do caisson run -d --name $n --network $n busybox sleep 99; see $n Networks.$n.NetworkID | grep -q $(caisson network inspect -f '{{.Id}}' $n) && see $n Networks.$n.EndpointID | grep -q '[0-9a-f]\{64\}' || exit 4; done
        for n in host none nb; do caisson network inspect -f '{{range .Containers}}{{.Name}} {{.EndpointID}} {{.IPv4Address}}{{end}}' $n > o; grep -q '[0-9a-f]\{64\}' o && [ $(wc -l < o) = 1 ] || exit 5; done; grep -q '^web .* 172.18.0.2/24' o || exit 6
        [ "$(caisson network inspect -f '{{json .Options}} {{json .IPAM.Options}}' nb)" = '{"a":"b"} {}' ] || exit 7
        [ "$(caisson network inspect -f '{{range $k, $v := .Options}}{{$k}}={{$v}} {{end}}{{json .IPAM.Options}}' bridge | sed 's/com.docker.network.//g; s/name=[^ ]*/name=X/')" = 'bridge.default_bridge=true bridge.enable_icc=true bridge.enable_ip_masquerade=true bridge.host_binding_ipv4=0.0.0.0 bridge.name=X driver.mtu=1500 null' ] || exit 8
        caisson exec web tail -1 /etc/hosts | grep -qx '172.18.0.2	hosty' && caisson exec plain tail -1 /etc/hosts | grep -qx "172.17.0.2	$(caisson exec plain hostname)""#;
    who_left_all_networks_may_join_again: r#"
        caisson network create nb >/dev/null; serve --name web; caisson run -d --name alone --network none busybox sh -c 'mkdir /w; echo hello > /w/h; httpd -f -h /w' >/dev/null
        nets() { caisson inspect -f '{{json .NetworkSettings.Networks}}' $1; }
        caisson network disconnect bridge web && [ "$(nets web)" = '{}' ] && caisson network connect nb web && caisson exec web ip r | grep -q 'default via 172.18.0.1' || exit 2
        caisson network connect nb alone 2> e; grep -q 'one of the networks in private (none) mode' e || exit 3
        caisson network disconnect none alone && [ "$(nets alone)" = '{}' ] && caisson network connect nb alone || exit 4
        ask $(caisson inspect -f '{{.NetworkSettings.Networks.nb.IPAddress}}' alone) 80 && caisson exec alone nslookup -type=a web | grep -q 172.18 || exit 5
        caisson restart -t 0 alone && caisson exec web nslookup -type=a alone | grep -q 172.18 || exit 6
        caisson network disconnect nb alone && caisson stop -t 0 alone && [ "$(nets alone)" = '{}' ] && caisson network connect nb alone && caisson start alone && caisson exec alone ip r | grep default || exit 7
        caisson run -d --name hh --network host busybox sleep 99 > /dev/null; caisson network connect nb hh 2> e; grep -q 'connected to host network' e"#;
    bad_places_are_refused_before_anything_is_made: r#"
        caisson network create nb >/dev/null; caisson network create --subnet fd00:9::/64 v4 >/dev/null && [ "$(caisson network inspect -f '{{.EnableIPv6}} {{len .IPAM.Config}}' v4)" = 'false 1' ] || exit 2
        serve --name web
        bad() { W="$1"; shift; caisson create "$@" busybox true > o 2> e; [ $? = 125 ] || [ $? = 1 ] || { echo "taken: $*"; exit 3; }; grep -qF -- "$W" e || { echo "$*"; cat e; exit 4; }; [ $(caisson ps -aq | wc -l) = 1 ] || exit 5; }
        bad 'invalid config for network nb: invalid endpoint settings: invalid IPv4 address: bad' --network name=nb,ip=bad
        bad 'invalid IPv4 address: fd00::1' --network name=nb,ip=fd00::1
        bad 'invalid config for network nb: invalid endpoint settings: no configured subnet or ip-range contain the IP address fd00::9' --network nb --ip6 fd00::9
        for n in host none bridge; do bad 'user specified IP address is supported on user defined networks only' --network $n --ip 1.2.3.4; done
        bad 'conflicting options: host type networking' --network host --link web:db
        for f in '--mac-address 02:00:00:00:00:01' '--hostname x' '-p 80:80' '--dns 1.1.1.1' '--dns-search x' '--add-host a:1.2.3.4' '--link web:db' '--expose 80' '--ip 1.2.3.4' '--network-alias x'; do bad 'conflicting options: ' --network container:web $f; done
        bad 'a.b is not built' --network name=nb,driver-opt=a.b=c
        bad 'invalid hostname format' --hostname $'a\n6.6.6.6 evil'
        bad 'invalid hostname format' --add-host $'a\n6.6.6.6 evil:1.2.3.4'
        bad 'invalid alias format' --network nb --network-alias $'a b'
        bad 'is not a valid domain' --dns-search $'a\nnameserver 6.6.6.6'
        caisson network ls --filter type=foo 2> e; grep -q "invalid filter 'type=foo'" e || exit 6
        caisson network ls --filter dangling=maybe 2> e; grep -q "invalid filter 'dangling=.maybe.'" e || exit 7
        caisson network create --ipam-opt a=b io >/dev/null && [ "$(caisson network inspect -f '{{json .IPAM.Options}}' io)" = '{"a":"b"}' ]"#;
    links_name_other_containers_for_one_alone: r#"
        serve --name l1 --expose 80 -e COLOR=red; I=$(caisson exec l1 hostname); A=$(caisson inspect -f '{{.NetworkSettings.IPAddress}}' l1)
        caisson run -d --name web --link l1:my-db -e OWN=1 busybox sleep 99 >/dev/null
        caisson exec web cat /etc/hosts | grep -qx "$A	my-db $I l1" && caisson exec web nslookup -type=a my-db | grep -q $A && ! caisson exec l1 nslookup -type=a my-db || exit 2
        for w in exec; do caisson exec web env > env; for v in MY_DB_NAME=/web/my-db MY_DB_PORT=tcp://$A:80 MY_DB_PORT_80_TCP_ADDR=$A MY_DB_ENV_COLOR=red OWN=1; do grep -qx "$v" env || { cat env; exit 3; }; done; done
        caisson network create nb >/dev/null; caisson network connect nb l1; caisson run -d --name two --network nb --link l1:db busybox sleep 99 >/dev/null
        caisson exec two nslookup -type=a db | grep -q 172.18 && ! caisson exec two env | grep DB_ || exit 4
        caisson network connect --link l1:later nb web && caisson exec web nslookup -type=a later | grep -q 172.18 && ! caisson exec two nslookup -type=a later || exit 5
        caisson create --link nobody:x busybox true 2> e; [ $? = 1 -o $? = 125 ] && grep -q 'could not get container for nobody: No such container: nobody' e || exit 6
        caisson stop -t 0 l1; caisson run --link l1:db --name last busybox true 2> e; grep -q 'Cannot link to a non running container: /l1 AS /last/db' e"#;
    a_full_bridge_says_so_and_leaves_nothing: r#"
        caisson run --rm busybox true; until_true '! ip link | grep -q "ve[0-9a-f]*@"' || exit 4; B=$(caisson network inspect -f '{{index .Options "com.docker.network.bridge.name"}}' bridge)
        for i in $(seq 512); do echo "link add d$i type veth peer name p$i"; echo "link set d$i master $B"; echo "link set p$i master $B"; done > batch; ip -force -batch batch 2> /dev/null
        caisson run --name cc busybox true 2> e; [ $? = 125 ] && grep -q 'network bridge is full: a Linux bridge takes 1,023 containers' e || { cat e; exit 2; }
        [ -z "$(ls $CAISSON_ROOT/networks/bridge/addresses)" ] && ip link del d7 && caisson start cc || exit 3
        # Who ends has its port for a while; who begins in its place waits for it.
        caisson run -d --name aa busybox sleep 99 >/dev/null; until_true 'caisson run -d --name bb busybox sleep 99 >/dev/null 2>&1 || caisson start bb 2>/dev/null'; caisson run --rm busybox true 2>/dev/null && exit 5
        for i in 1 2 3; do caisson restart -t 0 aa && caisson rm -f bb && caisson run -d --name bb busybox sleep 99 || exit 6; done >/dev/null"#;
    clients_outside_reach_what_is_published_under_their_own_address: r#"
        neighbour; serve --name web -p 8080:80
        caisson run -d --name app -p 8081:81 -p 8082:82/udp busybox sleep 99 > /dev/null; P=$(caisson inspect -f '{{.State.Pid}}' app)
        cat > serve.py <<'PY'
import socket, threading
def tcp():
    s = socket.create_server(("0.0.0.0", 81))
    while True:
        c, a = s.accept()
        c.sendall(a[0].encode())
        c.close()
threading.Thread(target=tcp, daemon=True).start()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("0.0.0.0", 82))
while True:
    m, a = u.recvfrom(999)
    u.sendto(a[0].encode(), a)
PY
        cat > ask.py <<'PY'
import socket
t = socket.create_connection(("192.0.2.2", 8081), 1)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(1)
u.sendto(b"hello", ("192.0.2.2", 8082))
print(t.recv(99), u.recvfrom(99))
PY
        nsenter -t $P -n python3 serve.py & S=$!; until_true 'far python3 ask.py > o 2> e'; kill $S; cat o; grep -qF "b'192.0.2.1' (b'192.0.2.1', ('192.0.2.2', 8082))" o"#;
    neighbours_reach_nothing_that_is_not_published: r#"
        neighbour; ip addr add fd00:5::2/64 nodad dev up0; far ip addr add fd00:5::1/64 nodad dev far0
        caisson network create --ipv6 six > /dev/null; serve --name web -p 8080:80; serve --name hidden -p 127.0.0.1:8081:80; serve --name six6 --network six
        mkdir w; echo hello > w/h; busybox httpd -f -p 127.0.0.1:9000 -h w & H=$!; trap "kill $N $H" EXIT; ask 127.0.0.1 9000 && ask 127.0.0.1 8081 || exit 2
        A=$(caisson inspect -f '{{.NetworkSettings.IPAddress}}' hidden); S=$(caisson inspect -f '{{.NetworkSettings.Networks.six.IPAddress}}' six6); S6=$(caisson inspect -f '{{.NetworkSettings.Networks.six.GlobalIPv6Address}}' six6)
        ask $A 80 && ask $S 80 && ask $S6 80 && far_get 192.0.2.2 8080 || exit 3
        for net in 172.17.0.0/16 172.18.0.0/24 127.0.0.0/8; do far ip route add $net via 192.0.2.2 || exit 4; done; far ip route add fd00::/8 via fd00:5::2 || exit 4
        far sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.far0.route_localnet=1
        for to in "$A 80" "$S 80" "$S6 80" '127.0.0.1 9000' '127.0.0.1 8081' '192.0.2.2 8081' '192.0.2.2 9000' '172.17.0.1 8081'; do far_get $to && { echo "reached: $to"; exit 5; }; done
        far ip addr add 172.17.0.99/32 dev far0 && far ip addr add 127.0.0.5/32 dev far0
        cat > spoof.py <<'PY'
import socket, sys
s = socket.socket()
s.settimeout(1)
s.bind((sys.argv[1], 0))
s.connect((sys.argv[2], int(sys.argv[3])))
PY
        far python3 spoof.py 192.0.2.1 192.0.2.2 8080 || exit 6
        for from in 172.17.0.99 127.0.0.5; do for to in "$A 80" '127.0.0.1 9000' '127.0.0.1 8081'; do far python3 spoof.py $from $to 2> /dev/null && { echo "reached: $to from $from"; exit 7; }; done; done; true"#;
    a_container_cannot_send_as_another: r#"
        serve --name web; A=$(caisson inspect -f '{{.NetworkSettings.IPAddress}}' web); G=172.17.0.1
        caisson run -d --name liar --cap-add NET_ADMIN busybox sleep 99 > /dev/null; L=$(caisson inspect -f '{{.NetworkSettings.IPAddress}}' liar)
        caisson exec liar ping -c 1 -W 2 -I $L $G > /dev/null || exit 2
        caisson stop -t 0 web; caisson exec liar ip addr add $A/16 dev eth0; caisson exec liar ping -c 2 -W 1 -I $A $G && exit 3
        caisson exec liar ip addr del $A/16 dev eth0; caisson exec liar ping -c 1 -W 2 $G > /dev/null"#;
    further_addresses_answer_and_are_nobody_elses: r#"
        caisson network create mine >/dev/null; serve --name web --link-local-ip 169.254.34.68 --link-local-ip fe80::3468
        caisson run -d --name two --cap-add NET_ADMIN --network name=bridge,link-local-ip=169.254.34.69,link-local-ip=fe80::3469 busybox sleep 99 >/dev/null
        meet() { until_true 'caisson exec two ping -c 1 -W 1 -I 169.254.34.69 169.254.34.68 >/dev/null' && caisson exec two sh -c "$GET | nc -w 2 169.254.34.68 80" | grep -q hello && caisson exec two ping -6 -c 1 -W 2 fe80::3468%eth0 >/dev/null && caisson exec web ping -6 -c 1 -W 2 fe80::3469%eth0 >/dev/null; }
        meet && [ "$(caisson inspect -f '{{json .NetworkSettings.Networks.bridge.IPAMConfig}}' web)" = '{"LinkLocalIPs":["169.254.34.68","fe80::3468"]}' ] || exit 2
        caisson exec web ip a | grep -q 169.254.34.68/16 && caisson exec web ip a | grep -q fe80::3468/64 && caisson exec two nslookup -type=a web | grep -q 172.17 && ! caisson exec two nslookup -type=a web | grep -q 169.254 || exit 3
        caisson restart -t 0 web && meet || exit 4
        kill -9 $(sed -n 's/.*"monitor_pid":\([0-9]*\).*/\1/p' $CAISSON_ROOT/containers/$(caisson inspect -f '{{.Id}}' web)/state); until_true 'caisson ps | grep -q web' && meet && nft flush ruleset && until_true 'nft list ruleset | grep -q 169.254.34.68' && meet || exit 5
        caisson run --rm --link-local-ip 169.254.34.68 busybox true 2> e; [ $? = 125 ] && grep -q 'Address already in use: 169.254.34.68' e || exit 6
        caisson stop -t 0 web >/dev/null; caisson exec two ip addr add 169.254.34.68/16 dev eth0; caisson run -d --name web3 --link-local-ip 169.254.34.70 busybox sleep 99 >/dev/null
        caisson exec two ping -c 2 -W 1 -I 169.254.34.68 169.254.34.70 && exit 7; until_true 'caisson exec two ping -c 1 -W 1 -I 169.254.34.69 169.254.34.70 >/dev/null' || exit 8
        caisson network connect --link-local-ip 169.254.7.7 mine web3 && caisson exec web3 ip a show eth1 | grep -q 169.254.7.7/16 && caisson network disconnect mine web3 && ! ls $CAISSON_ROOT/networks/mine/addresses | grep . && caisson network connect --link-local-ip 169.254.7.7 mine web3 && caisson exec web3 ip a show eth1 | grep -q 169.254.7.7/16 || exit 9
        for bad in '0.0.0.0' '127.0.0.9' '224.0.0.1' 'ff02::1' '172.17.0.9' '169.254.1.1 --network host' '169.254.1.1 --network none' '169.254.1.1 --network container:two' '169.254.1.1 --network name=mine,link-local-ip=169.254.1.2'; do caisson create --link-local-ip $bad busybox true > o 2> e && { echo "taken: $bad"; exit 10; }; cat e; done
        printf 'name: pp\nservices:\n  a:\n    image: busybox\n    init: true\n    command: sleep 99\n    networks:\n      n:\n        link_local_ips: [169.254.9.9]\nnetworks:\n  n:\n' > compose.yaml; caisson compose up -d 2>/dev/null && caisson compose exec -T a ip a | grep -q 169.254.9.9/16 && caisson compose down -t 0 2>/dev/null || exit 11
        caisson rm -f web two web3 >/dev/null; [ -z "$(ls $CAISSON_ROOT/networks/*/addresses | grep -v : | grep .)" ] && ! nft list ruleset | grep 169.254"#;
    an_internal_network_leaks_no_names: r#"
        cat > d.py <<'PY'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("192.0.2.2", 53))
while True:
    s.recvfrom(999)
    open("asked", "a").write("x")
PY
        python3 d.py & D=$!; until_true 'ss -lnu | grep -q 192.0.2.2:53' || exit 2
        caisson network create --internal in > /dev/null
        timeout 5 caisson run --rm --network in --dns 192.0.2.2 busybox nslookup -type=a secret.example > o 2>&1; grep -q SERVFAIL o && [ ! -e asked ] || { cat o; exit 3; }
        timeout 5 caisson run --rm --dns 192.0.2.2 busybox nslookup -type=a open.example > /dev/null 2>&1; [ -e asked ] || exit 4; kill $D"#;
    several_networks_with_their_own_options_are_joined_at_once: r#"
        caisson network create --ipv6 --subnet fd00:7::/64 --subnet 10.7.0.0/24 six >/dev/null; caisson network create mine >/dev/null; caisson network create third >/dev/null
        caisson run -d --name cc --network name=six,ip=10.7.0.9,ip6=fd00:7::9,alias=al,mac-address=02:00:00:00:00:09 --network mine --network name=third,gw-priority=5 --add-host gw:host-gateway --add-host own=10.1.1.1 --dns 192.0.2.77 --dns-search ex.test --dns-option ndots:3 busybox sleep 99 >/dev/null
        caisson exec cc ip a > a; for w in 10.7.0.9/24 fd00:7::9/64 02:00:00:00:00:09 172.18.0.2/24 172.18.1.2/24; do grep -q " $w " a || { cat a; exit 2; }; done; caisson exec cc ip r | grep -q 'default via 172.18.1.1' || exit 3
        caisson exec cc cat /etc/resolv.conf > r; grep -qx 'nameserver 127.0.0.11' r && grep -qx 'search ex.test' r && grep -qx 'options ndots:3' r || { cat r; exit 4; }
        caisson exec cc cat /etc/hosts > h; grep -qx '10.1.1.1	own' h && grep -qx '10.7.0.1	gw' h || { cat h; exit 5; }
        caisson run --rm --network six busybox nslookup al | grep -q 'Address: fd00:7::9' && caisson run --rm --network six busybox nslookup fd00:7::9 | grep -q 'name = cc.six' && caisson run --rm --network mine busybox nslookup -type=a $(caisson exec cc hostname) | grep -q 172.18.0.2"#;
    what_is_sent_to_a_published_port_of_udp_arrives_by_every_way: r#"
        ip addr add fd00:5::2/64 nodad dev up0; neighbour; far ip addr add fd00:5::1/64 nodad dev far0; echo '127.0.0.1 localhost' > hosts
        caisson network create --ipv6 six >/dev/null; caisson run -d --name echo --network six -p 8080:80/udp -p 127.0.0.1:8081-8082:81-82/udp busybox sleep 99 >/dev/null; caisson run -d --name other --network six busybox sleep 99 >/dev/null; pid() { caisson inspect -f '{{.State.Pid}}' $1; }
        cat > echo.py <<'PY'
import socket, threading
def serve(port):
    u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    u.bind(("::", port))
    while True:
        m, a = u.recvfrom(9999)
        u.sendto(m, a)
for port in 80, 81, 82:
    threading.Thread(target=serve, args=(port,)).start()
PY
        cat > ask.py <<'PY'
import socket, sys
u = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
u.settimeout(1)
for length in 1, 1200:
    u.sendto(b"x" * length, (sys.argv[1], int(sys.argv[2])))
    m, a = u.recvfrom(9999)
    assert (len(m), a[1]) == (length, int(sys.argv[2])), a
PY
        nsenter -n -t $(pid echo) python3 echo.py & E=$!; trap 'kill $N $E' EXIT; until_true 'python3 ask.py 127.0.0.1 8080 2>/dev/null' || exit 2
        for to in 'localhost 8080' '192.0.2.2 8080' '172.18.0.1 8080' '127.0.0.1 8081' '127.0.0.1 8082' '::1 8080' 'fd00:5::2 8080'; do python3 ask.py $to || { echo "not by $to"; exit 3; }; done
        for to in '192.0.2.2 8080' 'fd00:5::2 8080' '172.18.0.1 8080'; do nsenter -n -t $(pid other) python3 ask.py $to && nsenter -n -t $(pid echo) python3 ask.py $to || { echo "not from within by $to"; exit 4; }; done
        for to in '192.0.2.2 8080' 'fd00:5::2 8080'; do far python3 ask.py $to || { echo "not from outside by $to"; exit 5; }; done; far python3 ask.py 192.0.2.2 8081 2>/dev/null && exit 6; true"#;
    containers_may_be_kept_apart_and_go_out_under_their_own_address: r#"
        neighbour; caisson network create -o com.docker.network.bridge.enable_icc=false apart >/dev/null; caisson network create -o com.docker.network.bridge.enable_ip_masquerade=false plain >/dev/null
        serve --name web --network apart -p 8080:80; A=$(caisson inspect -f '{{.NetworkSettings.Networks.apart.IPAddress}}' web); ask $A 80 || exit 2
        caisson run --rm --network apart busybox sh -c "$GET | nc -w 1 $A 80 | grep hello" && exit 3; caisson run --rm --network apart busybox sh -c "$GET | nc -w 2 192.0.2.2 8080" | grep -q hello || exit 4
        cat > who.py <<'PY'
import socket
s = socket.create_server(("192.0.2.1", 80))
while True:
    c, a = s.accept()
    c.sendall(a[0].encode() + b"\n")
    c.close()
PY
        nsenter -n -t $N python3 who.py & W=$!; trap 'kill $N $W' EXIT; until_true 'nsenter -n -t $N ss -lntH | grep -q :80'; far ip route add 172.18.1.0/24 via 192.0.2.2
        caisson run --rm busybox nc -w 2 192.0.2.1 80 | grep -qx 192.0.2.2 && caisson run --rm --network plain busybox nc -w 2 192.0.2.1 80 | grep -qx 172.18.1.2"#;
    networks_follow_the_hosts_uplink_and_leave_its_routes_alone: r#"
        mtu() { caisson run --rm --network $1 busybox cat /sys/class/net/eth0/mtu; }; subnet() { caisson network inspect -f '{{(index .IPAM.Config 0).Subnet}}' $1; }
        ip link set up0 mtu 1400; caisson network create two >/dev/null; [ "$(mtu bridge) $(mtu two)" = '1400 1400' ] || exit 2
        ip link set up0 mtu 9000; caisson network create -o com.docker.network.driver.mtu=1300 own >/dev/null; [ "$(mtu bridge) $(mtu two) $(mtu own)" = '9000 9000 1300' ] || exit 3
        for route in 172.18.0.0/15 172.20.0.0/16 172.21.0.128/25; do ip route add $route via 192.0.2.1; done; ip addr add 172.21.1.9/32 dev up0
        caisson network create three >/dev/null && [ "$(subnet two) $(subnet three)" = '172.18.0.0/24 172.21.2.0/24' ] || exit 4
        # A route that came later: who is not up gets another subnet, or says that it cannot have its own.
        caisson network create --subnet 10.9.0.0/24 given >/dev/null; ip route add 172.21.2.128/25 via 192.0.2.1; ip route add 10.9.0.64/26 via 192.0.2.1
        caisson run --rm --network three busybox ip a | grep -q ' 172.21.3.2/24' && [ "$(subnet three)" = 172.21.3.0/24 ] || exit 5
        caisson run --rm --network given busybox true 2> e; [ $? = 125 ] && grep -q 'its subnet 10.9.0.0/24 overlaps a route of this host' e && [ -z "$(ls $CAISSON_ROOT/networks/given/addresses 2>/dev/null)" ] || { cat e; exit 6; }
        ip route del 10.9.0.64/26; caisson run --rm --network given busybox true"#;
    flushed_rules_are_back_within_a_second_under_load: r#"
        serve --name web -p 8080:80; ask 127.0.0.1 8080 || exit 2
        for i in 1 2 3 4; do while [ ! -e stop ]; do refused 127.0.0.1 8080; done > /dev/null 2>&1 & done
        for i in 1 2 3 4 5; do nft flush ruleset; sleep 1; eval "$GET" | timeout 1 busybox nc 192.0.2.2 8080 | grep -q hello || { touch stop; exit 3; }; done; touch stop; wait"#;
}
