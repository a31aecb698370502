//! Names in containers: what a name server owes to every client, and to nobody else.

use crate::networks::on_a_host;

/// A name server of the host's neighbourhood, at 192.0.2.2: by UDP it says that there is more, which it
/// says by TCP; what it was asked is in `asked`. `inside QUESTION` asks from within container `cc`.
const FUNCTIONS: &str = r#"
    cat > d.py <<'PY'
import socket, sys, threading
def answer(q, n, more):
    end = q.index(b"\0", 12) + 5
    head = q[:2] + (b"\x83\x80" if more else b"\x81\x80") + b"\0\1" + n.to_bytes(2, "big") + b"\0\0\0\0"
    open("asked", "ab").write(q[12:end] + b"\n")
    return head + q[12:end] + b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x0a\1" + i.to_bytes(2, "big") for i in range(n))
def tcp(address):
    s = socket.create_server((address, 53))
    while True:
        c, _ = s.accept()
        a = answer(c.recv(9999)[2:], 400, False)
        m = len(a).to_bytes(2, "big") + a
        c.sendall(m[:700])
        c.sendall(m[700:])
        c.close()
threading.Thread(target=tcp, args=(sys.argv[1],), daemon=True).start()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind((sys.argv[1], 53))
while True:
    q, a = u.recvfrom(9999)
    try:
        u.sendto(answer(q, 2, True), a)
    except ValueError:
        pass
PY
    cat > q.py <<'PY'
import socket, sys
name, kind = sys.argv[1:3]
at = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.11"
q = b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0\0\1\0\1"
if kind == "tcp":
    s = socket.create_connection((at, 53), 5)
    s.sendall(len(q).to_bytes(2, "big") + q)
    f = s.makefile("rb")
    a = f.read(int.from_bytes(f.read(2), "big"))
else:
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((at, 53))
    s.send(q)
    a = s.recv(9999)
print(int.from_bytes(a[6:8], "big"), "more" if a[2] & 2 else "all", "code", a[3] & 15, "last", a[-1])
PY
    pid() { caisson inspect -f '{{.State.Pid}}' $1; }
    inside() { nsenter -n -t $(pid cc) python3 q.py "$@"; }
    outside() { python3 d.py $1 & D=$!; trap 'kill $D' EXIT; until_true "ss -lnt | grep -q $1:53 && ss -lnu | grep -q $1:53"; }
"#;

macro_rules! names {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { on_a_host(&[FUNCTIONS, $script].concat()); })* };
}

names! {
    what_does_not_fit_a_datagram_is_had_by_tcp: r#"
        outside 192.0.2.2; caisson run -d --name cc --dns 192.0.2.2 busybox sleep 99 >/dev/null
        inside big.example udp | grep -qx '2 more code 0 last 1' && inside big.example tcp | grep -qx '400 all code 0 last 143' || exit 2
        kill $D; inside other.example tcp | grep -q 'code 2' || exit 3
        for i in $(seq 40); do caisson run -d --network-alias many busybox sleep 99 >/dev/null || exit 4; done
        inside many udp | grep -q '^30 more code 0' && inside many tcp | grep -q '^40 all code 0'"#;
    who_shares_a_name_shares_the_work: r#"
        for i in 1 2 3; do caisson run -d --network-alias many busybox sleep 99 >/dev/null || exit 2; done; caisson run -d --name cc busybox sleep 99 >/dev/null
        [ $(for i in $(seq 6); do inside many udp; done | sort -u | wc -l) = 3 ]"#;
    a_server_in_an_internal_network_is_asked_and_none_outside: r#"
        outside 192.0.2.2; caisson network create --internal --subnet 10.9.0.0/24 in >/dev/null; caisson run -d --name server --network in --ip 10.9.0.53 busybox sleep 99 >/dev/null
        nsenter -n -t $(pid server) python3 d.py 10.9.0.53 & E=$!; trap 'kill $D $E' EXIT; until_true 'nsenter -n -t $(pid server) ss -lnt | grep -q :53' || exit 2
        caisson run -d --name cc --network in --dns 192.0.2.2 --dns 10.9.0.53 busybox sleep 99 >/dev/null
        for kind in udp tcp; do inside within.example $kind | grep -q 'code 0' || exit 3; done; [ $(grep -ac within asked) = 2 ] && rm asked || exit 4
        caisson run -d --name none --network in --dns 192.0.2.2 busybox sleep 99 >/dev/null; for kind in udp tcp; do nsenter -n -t $(pid none) python3 q.py secret.example $kind | grep -q 'code 2' || exit 5; done; [ ! -e asked ]"#;
    a_container_on_two_networks_asks_for_nobody_else: r#"
        outside 192.0.2.2; caisson network create --internal in >/dev/null
        caisson run -d --name both --network in --dns 192.0.2.2 --sysctl net.ipv4.conf.all.route_localnet=1 busybox sleep 99 >/dev/null; caisson network connect bridge both
        nsenter -n -t $(pid both) python3 q.py open.example udp | grep -q 'code 0' && grep -aq open asked && rm asked || exit 2
        caisson run -d --name cc --network in --dns 192.0.2.2 --cap-add NET_ADMIN busybox sleep 99 >/dev/null; B=$(caisson inspect -f '{{.NetworkSettings.Networks.in.IPAddress}}' both)
        for kind in udp tcp; do inside secret.example $kind | grep -q 'code 2' || exit 3; done
        # By way of the other one: its address, and its name server's own, by its hardware address.
        for kind in udp tcp; do inside secret.example $kind $B && exit 4; done
        ports=$(nsenter -n -t $(pid both) ss -lntuH | grep -o '127.0.0.11:[0-9]*' | cut -d: -f2); caisson exec cc ping -c 1 $B >/dev/null; M=$(caisson exec cc ip neigh | sed -n "s/^$B .*lladdr \([0-9a-f:]*\).*/\1/p")
        cat > r.py <<'PY'
import socket, struct, sys
mac, me, to, port = sys.argv[1:]
q = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\6secret\7example\0\0\1\0\1"
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
own = s.getsockname()[4]
udp = struct.pack("!HHHH", 999, int(port), 8 + len(q), 0) + q
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, socket.inet_aton(me), socket.inet_aton(to))
total = sum(struct.unpack("!10H", ip))
total = (total & 0xffff) + (total >> 16)
ip = ip[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + ip[12:]
s.send(bytes.fromhex(mac.replace(":", "")) + own + b"\x08\0" + ip + udp)
PY
        A=$(caisson inspect -f '{{.NetworkSettings.Networks.in.IPAddress}}' cc); for to in 127.0.0.11 $B; do for port in 53 $ports; do nsenter -n -t $(pid cc) python3 r.py $M $A $to $port || exit 5; done; done
        nsenter -n -t $(pid both) python3 q.py after.example udp | grep -q 'code 0' && grep -aq after asked && ! grep -aq secret asked"#;
    a_flooded_name_server_harms_nobody_else: r#"
        outside 192.0.2.2; serve --name web; caisson run -d --name cc --dns 192.0.2.9 --dns 192.0.2.2 busybox sleep 99 >/dev/null; caisson run -d --name other --dns 192.0.2.2 busybox sleep 99 >/dev/null
        cat > flood.py <<'PY'
import os, socket, time
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.setblocking(False)
u.connect(("127.0.0.11", 53))
ts = []
end = time.time() + 6
n = 0
while time.time() < end:
    n += 1
    name = b"%dx.example" % n if n % 3 else b"web"
    q = n.to_bytes(2, "big").rjust(2)[-2:] if n < 65536 else b"ab"
    q += b"\1\0\0\1\0\0\0\0\0\0" + b"".join(bytes([len(p)]) + p for p in name.split(b".")) + b"\0\0\1\0\1"
    for m in (q, os.urandom(n % 900), b"", q[:2] + b"\x81" + q[3:]):
        try:
            u.send(m)
        except OSError:
            pass
    if n % 50 == 0:
        try:
            t = socket.create_connection(("127.0.0.11", 53), 0.01)
            t.setblocking(False)
            t.send(b"\xff\xff" + b"x" * 40000 if n % 100 else b"\0\0" * 9000)
            ts.append(t)
        except OSError:
            pass
        ts = ts[-200:]
PY
        nsenter -n -t $(pid cc) python3 flood.py & F=$!
        M=$(sed -n 's/.*"monitor_pid":\([0-9]*\).*/\1/p' $CAISSON_ROOT/containers/$(caisson inspect -f '{{.Id}}' cc)/state); most=0; slow=0
        while kill -0 $F 2>/dev/null; do
            S=$(date +%s%N); caisson exec cc true || exit 2; S=$((($(date +%s%N) - S) / 1000000)); [ $S -le $slow ] || slow=$S; nsenter -n -t $(pid other) timeout 1 python3 q.py web udp | grep -q '^1 all code 0' || exit 3
            R=$(awk '/^VmRSS:/{print $2}' /proc/$M/status); [ $R -le $most ] || most=$R
        done
        echo "slowest exec $slow ms, most memory $most KiB"; [ $most -lt 24000 ] && [ $slow -lt 3000 ] || exit 4
        until_true 'inside web udp | grep -q "^1 all code 0"' && inside fine.example udp | grep -q 'code 0' && time caisson stop -t 5 cc"#;
}
