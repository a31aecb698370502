//! A hostile container with raw sockets, and all rights in its own network namespace: what it sends as
//! another, to the host, and to networks that are not its own.

use crate::networks::on_a_host;

/// `send.py` makes frames byte by byte; `pid` and `address` tell of a container; `hears NAMESPACE`
/// writes what arrives at UDP port 7777 there into a file.
const FUNCTIONS: &str = r#"
    pid() { caisson inspect -f '{{.State.Pid}}' $1; }
    address() { caisson inspect -f "{{.NetworkSettings.Networks.$2.IPAddress}}" $1; }
    liar() { nsenter -n -t $(pid liar) "$@"; }
    mac() { ip -o link show ${1:?} | sed 's/.*ether \([0-9a-f:]*\).*/\1/'; }
    bridge() { ip -o addr | sed -n "s/^[0-9]*: \([^ ]*\) *inet ${1:?}\/.*/\1/p"; }
    cat > hear.py <<'PY'
import socket, sys
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind((sys.argv[1], int(sys.argv[2])))
while True:
    m, a = u.recvfrom(999)
    print(m.decode(), "from", a[0], flush=True)
PY
    cat > send.py <<'PY'
import socket, struct
def checksum(b):
    t = sum(struct.unpack("!%dH" % (len(b) // 2), b + b"\0" * (len(b) % 2)))
    while t >> 16:
        t = (t & 0xffff) + (t >> 16)
    return struct.pack("!H", ~t & 0xffff)
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("eth0", 0))
own = raw.getsockname()[4]
def mac(text):
    return bytes.fromhex(text.replace(":", ""))
def send(to, kind, packet, source=own):
    raw.send(mac(to) + source + kind + packet)
def udp(source, to, port, text):
    u = struct.pack("!HHHH", 999, port, 8 + len(text), 0) + text.encode()
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(u), 0, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(to))
    return ip[:10] + checksum(ip) + ip[12:] + u
def arp(operation, sender_mac, sender, target):
    return struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, operation, sender_mac, socket.inet_aton(sender), own, socket.inet_aton(target))
def icmp6(source, to, kind, body, extended=False):
    source, to = [socket.inet_pton(socket.AF_INET6, a) for a in (source, to)]
    m = bytes([kind, 0, 0, 0]) + body
    m = m[:2] + checksum(source + to + struct.pack("!II", len(m), 58) + m) + m[4:]
    if extended:
        return struct.pack("!IHBB", 6 << 28, len(m) + 8, 0, 255) + source + to + bytes([58, 0, 1, 4, 0, 0, 0, 0]) + m
    return struct.pack("!IHBB", 6 << 28, len(m), 58, 255) + source + to + m
link_local = "fe80::%02x%02x:%02xff:fe%02x:%02x%02x" % (own[0] ^ 2, own[1], own[2], own[3], own[4], own[5])
advertisement = struct.pack("!BBHII", 64, 0, 1800, 0, 0) + struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 3600, 3600, 0) + socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")
IPV4, IPV6, ARP = b"\x08\0", b"\x86\xdd", b"\x08\x06"
# Bare, and behind tags of virtual networks.
TAGS = b"", b"\x81\0\0\0", b"\x81\0\0\1", b"\x88\xa8\0\0\x81\0\0\0"
GROUPS = ["01:80:c2:00:00:%02x" % n for n in range(17)]
PY
"#;

macro_rules! isolation {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { on_a_host(&[FUNCTIONS, $script].concat()); })* };
}

isolation! {
    nobody_speaks_to_the_host_as_another: r#"
        caisson network create --ipv6 six >/dev/null; for c in victim liar; do caisson run -d --name $c --network six busybox sleep 99 >/dev/null; done
        python3 hear.py 0.0.0.0 7777 > heard & H=$!; trap 'kill $H' EXIT; until_true 'ss -lnu | grep -q 7777'; G=172.18.0.1; A=$(address liar six)
        cat send.py - > a.py <<'PY'
import sys
gateway_mac, own_address, victim, victim_mac = sys.argv[1:]
for to in [gateway_mac, "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"] + GROUPS:
    for tag in TAGS:
        for source in own, mac(victim_mac), mac(gateway_mac):
            for address in victim, "192.0.2.77", "127.0.0.1", "172.18.0.1", own_address:
                for at in "172.18.0.1", "192.0.2.2", "127.0.0.1":
                    send(to, tag + IPV4, udp(address, at, 7777, "hello"), source)
for to in [gateway_mac, "33:33:00:00:00:01"] + GROUPS:
    for tag in TAGS:
        for extended in False, True:
            send(to, tag + IPV6, icmp6(link_local, "ff02::1", 134, advertisement, extended))
send(gateway_mac, IPV4, udp(own_address, "172.18.0.1", 7777, "end"))
PY
        liar python3 a.py $(mac $(bridge $G)) $A $(address victim six) 02:42:ac:12:00:02 && until_true 'grep -q end heard' || exit 2
        grep -v "from $A$" heard && exit 3; ip -6 route | grep 'db8:bad\|default' && exit 4; ip -6 addr | grep db8:bad && exit 5
        nsenter -n -t $(pid victim) ip -6 addr | grep db8:bad && exit 6; [ $(nsenter -n -t $(pid victim) ip -6 route | grep -c '^default via fd') = 1 ]"#;
    nobody_answers_for_a_neighbour: r#"
        serve --name victim; caisson run -d --name third busybox sleep 99 >/dev/null; caisson run -d --name liar busybox sleep 99 >/dev/null; V=$(address victim bridge); T=$(address third bridge); G=172.17.0.1
        for c in victim third; do caisson exec $c ping -c 1 $G >/dev/null; done; caisson exec third ping -c 1 -W 2 $V >/dev/null || exit 2
        cat send.py - > a.py <<'PY'
import sys
gateway_mac, victim_mac, third_mac, victim, third, gateway, own_address = sys.argv[1:]
for n in range(5):
    for to in gateway_mac, victim_mac, third_mac, "ff:ff:ff:ff:ff:ff", GROUPS[0], GROUPS[14]:
        for claimed in victim, third, gateway:
            for target in victim, third, gateway, claimed:
                for tag in TAGS:
                    for operation in 1, 2:
                        for sender_mac in own, mac("02:00:00:00:00:66"):
                            for source in own, mac(victim_mac), mac(gateway_mac), mac("02:00:00:00:00:66"):
                                send(to, tag + ARP, arp(operation, sender_mac, claimed, target), source)
PY
        M() { ip neigh show $1 | sed -n 's/.*lladdr \([0-9a-f:]*\).*/\1/p' | head -1; }; VM=$(M $V); TM=$(M $T); GM=$(mac $(bridge $G)); LM=$(caisson inspect -f '{{.NetworkSettings.MacAddress}}' liar); [ -n "$VM" ] && [ -n "$TM" ] || exit 3
        liar python3 a.py $GM $VM $TM $V $T $G $(address liar bridge) || exit 4
        for c in $$ $(pid victim) $(pid third); do nsenter -n -t $c ip neigh > n; grep "^\($V\|$T\|$G\) .*\($LM\|:66\)" n && exit 5; done
        bridge fdb show br $(bridge $G) > f; grep ':66 ' f && exit 6; liar python3 - <<EOS2 || exit 7
$(cat send.py)
for n in range(50): send("$GM", IPV4, udp("$(address liar bridge)", "$G", 9, "x"), mac("$VM"))
EOS2
        ask $V 80 && caisson exec third sh -c "$GET | nc -w 2 $V 80" | grep hello"#;
    nobody_answers_for_a_neighbour_in_pieces: r#"
        caisson network create --ipv6 six >/dev/null; serve --name victim --network six; caisson run -d --name third --network six busybox sleep 99 >/dev/null; caisson run -d --name liar --network six busybox sleep 99 >/dev/null
        six() { caisson inspect -f '{{.NetworkSettings.Networks.six.GlobalIPv6Address}}' $1; }; V=$(six victim); L=$(six liar); G=$(caisson network inspect -f '{{(index .IPAM.Config 1).Gateway}}' six); B=$(bridge 172.18.0.1); BM=$(mac $B); LM=$(caisson inspect -f '{{.NetworkSettings.Networks.six.MacAddress}}' liar)
        # The bridge would listen, if it were told to.
        echo 2 > /proc/sys/net/ipv6/conf/$B/accept_ra
        cat send.py - > a.py <<'PY'
import os, sys
kind, count, victim, liar, gateway, gateway_mac = sys.argv[1:]
count = int(count)
def pieces(p, length):
    head, body, number = p[:40], p[40:], os.urandom(4)
    for at in range(0, len(body), length):
        part = body[at:at + length]
        header = struct.pack("!BBH", head[6], 0, at | (at + length < len(body))) + number
        yield head[:4] + struct.pack("!H", len(part) + 8) + bytes([44]) + head[7:] + header + part
def behind(p, headers):
    for n in range(headers):
        p = p[:4] + struct.pack("!H", len(p) - 40 + 8) + bytes([60]) + p[7:40] + bytes([p[6], 0, 1, 4, 0, 0, 0, 0]) + p[40:]
    return p
forms = {"whole": lambda p: [p], "pieces": lambda p: pieces(p, count), "behind": lambda p: [behind(p, count)], "both": lambda p: pieces(behind(p, count), 8), "larger": lambda p: pieces(behind(p, count), 16)}
claim = struct.pack("!I", 0xe0000000) + socket.inet_pton(socket.AF_INET6, victim) + b"\2\1" + own
for source in link_local, liar:
    for packet in forms[kind](icmp6(source, gateway, 136, claim)):
        send(gateway_mac, IPV6, packet)
    for to in "33:33:00:00:00:01", GROUPS[14]:
        for message in icmp6(source, "ff02::1", 134, advertisement), icmp6(source, "ff02::1", 136, claim):
            for packet in forms[kind](message):
                send(to, IPV6, packet)
PY
        for form in 'whole 0' 'pieces 8' 'pieces 16' 'pieces 24' 'behind 1' 'behind 3' 'behind 8' 'behind 12' 'both 1' 'both 2' 'both 9' 'larger 1' 'larger 2' 'larger 9'; do
            ip -6 neigh flush all; ask $V 80 && liar python3 a.py $form $V $L $G $BM || exit 2; caisson exec third ping -6 -c 1 -W 2 $V >/dev/null || exit 3
            for c in $$ $(pid third); do nsenter -n -t $c ip -6 neigh show $V | grep $LM && { echo "$form"; exit 4; }; done; ip -6 route | grep db8:bad && { echo "$form"; exit 5; }
        done
        # What is in pieces and honest arrives.
        for to in $V $G; do caisson exec liar ping -6 -c 1 -W 2 -s 4000 $to >/dev/null || exit 6; done"#;
    nobody_reaches_what_is_not_for_him: r#"
        neighbour; caisson network create other >/dev/null; caisson network create --internal in >/dev/null
        serve --name web -p 8080:80; serve --name hidden --network other -p 127.0.0.1:8081:80; caisson run -d --name liar --network in busybox sleep 99 >/dev/null; caisson network connect in liar 2>/dev/null
        caisson run -d --name liar2 busybox sleep 99 >/dev/null; mkdir w; echo hello > w/h; busybox httpd -f -p 127.0.0.1:9000 -h w & H=$!; nsenter -t $N -n busybox httpd -f -p 192.0.2.1:80 -h w & F=$!
        trap 'kill $N $H $F' EXIT; ask 127.0.0.1 8080 && ask 127.0.0.1 8081 && ask 127.0.0.1 9000 && ask 192.0.2.1 80 || exit 2
        O=$(address hidden other); W=$(address web bridge); own() { nsenter -n -t $(pid $1) "${@:2}"; }
        # From an internal network, with routes of its own making.
        G=$(caisson network inspect -f '{{(index .IPAM.Config 0).Gateway}}' in); own liar ip route add default via $G 2>/dev/null; own liar sysctl -qw net.ipv4.conf.all.route_localnet=1; own liar2 sysctl -qw net.ipv4.conf.all.route_localnet=1
        own liar ip route del local 127.0.0.0/8 dev lo table local; own liar ip route add 127.0.0.0/8 via $G; own liar2 ip route del local 127.0.0.0/8 dev lo table local; own liar2 ip route add 127.0.0.0/8 via 172.17.0.1
        get() { eval "$GET" | own $1 timeout 1 busybox nc $2 $3 2>/dev/null | grep hello; }
        for to in '192.0.2.1 80' "$W 80" "$O 80" '192.0.2.2 8080' '172.17.0.1 8080' "$G 8080" '127.0.0.1 9000' '127.0.0.1 8081' '127.0.0.1 8080'; do get liar $to && { echo "reached from within: $to"; exit 3; }; done
        get liar2 192.0.2.1 80 && get liar2 192.0.2.2 8080 && get liar2 $W 80 || exit 4
        for to in "$O 80" '192.0.2.2 8081' '172.18.0.1 8081' '127.0.0.1 9000' '127.0.0.1 8081' '127.0.0.1 8080'; do get liar2 $to && { echo "reached: $to"; exit 5; }; done
        # Nor by frames that say where they go: to the other network, and to the host's own.
        python3 hear.py 127.0.0.1 7777 > heard & L=$!; nsenter -n -t $(pid hidden) python3 hear.py 0.0.0.0 7777 > heard.other & K=$!; nsenter -t $N -n python3 hear.py 0.0.0.0 7777 > heard.far & Q=$!; until_true '[ $(for n in $$ $(pid hidden) $N; do nsenter -n -t $n ss -lnuH; done | grep -c 7777) = 3 ]'
        for c in liar liar2; do case $c in liar) B=$G;; *) B=172.17.0.1;; esac; cat send.py - > a.py <<PY
for to in "$(mac $(bridge $B))", "$(mac $(bridge 172.17.0.1))", "ff:ff:ff:ff:ff:ff", GROUPS[0], GROUPS[2], GROUPS[14]:
    for source in "$(own $c ip -o -4 addr show eth0 | sed 's/.*inet \([0-9.]*\).*/\1/')", "$O", "$W", "127.0.0.1", "192.0.2.1":
        for at in "127.0.0.1", "$O", "127.255.255.255", "172.18.0.255"$([ $c = liar2 ] || echo ', "192.0.2.1"'):
            for tag in TAGS:
                send(to, tag + IPV4, udp(source, at, 7777, "$c"))
PY
        own $c python3 a.py || exit 6; done
        own hidden python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"end", ("127.0.0.1", 7777))'; python3 -c 'import socket; u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.sendto(b"end", ("127.0.0.1", 7777)); u.sendto(b"end", ("192.0.2.1", 7777))'
        until_true '[ $(grep -l end heard heard.other heard.far | wc -l) = 3 ]'; kill $L $K $Q; cat heard heard.other heard.far; ! grep liar heard heard.other heard.far"#;
}
