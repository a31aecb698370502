//! Firewalls that people have, the real ones, each on a host of its own: published ports and outgoing
//! traffic pass, or `run -p` warns with a command, and what that command says helps.

use crate::networks::on_a_host;

/// A place where a firewall's files and sockets are this test's own. A script `setup` begins it there;
/// `there LINE` runs a line there later. `tried` asks for what shall work.
const FUNCTIONS: &str = r#"
    cat > there.sh <<'EOT'
        mkdir o && mount -t tmpfs o o && mount -t tmpfs t /run || exit 1
        own() { for d in "$@"; do [ -d /$d ] || continue; mkdir -p o/$d/u o/$d/w; mount -t overlay -o lowerdir=/$d,upperdir=o/$d/u,workdir=o/$d/w o /$d || exit 1; done; }
        . ./setup > set-up 2>&1; touch up
        while [ ! -e stop ]; do sleep .05; [ -e do ] && { bash ./do > did 2>&1; rm do; }; done
        [ -z "$daemons" ] || kill $daemons
EOT
    begin() { unshare -m bash there.sh & W=$!; until_true '[ -e up ]'; cat set-up; }
    there() { echo "$*" > do.new; mv do.new do; until_true '[ ! -e do ]'; cat did; }
    neighbour; mkdir w; echo far > w/h; nsenter -t $N -n busybox httpd -f -p 192.0.2.1:80 -h w & S=$!
    trap 'touch stop; kill $N $S; wait' EXIT
    out() { caisson run --rm busybox sh -c "$GET | nc -w 2 192.0.2.1 80" 2>/dev/null | grep far; }
    tried() { until_true 'far_get 192.0.2.2 8080' && ask 127.0.0.1 8080 && ask ::1 8080 && out && caisson run --rm busybox sh -c "$GET | nc -w 2 web 80" | grep hello && caisson exec web sh -c "$GET | nc -w 2 192.0.2.2 8080" | grep hello; }
"#;

/// Sets ufw up by the variant of iptables that `$V` names.
const UFW: &str = r#"
    command -v ufw >/dev/null || { echo "skipped: no ufw"; exit 0; }
    cat > setup <<'EOT'
        own etc/ufw lib/ufw etc/default etc/alternatives
        for tool in iptables ip6tables; do for end in '' -save -restore; do ln -sfn /usr/sbin/$tool-$V$end /etc/alternatives/$tool$end; done; done
        ufw --force enable
EOT
"#;

macro_rules! firewalls {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { on_a_host(&$script.concat()); })* };
}

firewalls! {
    ufw_lets_ours_pass_and_keeps_nothing: [UFW, FUNCTIONS, r#"
        export V=nft; begin; iptables-nft -S FORWARD > before; grep -q -- '-P FORWARD DROP' before && grep -q ufw-before-forward before || exit 2
        serve --name web -p 8080:80 2> e; cat e; [ ! -s e ] && tried || exit 3
        there ufw reload | grep reloaded && tried || exit 4
        there ufw deny 8080 && tried || exit 5
        caisson rm -f web && caisson network prune -f; iptables-nft -S FORWARD | diff before - || exit 6"#];
    ufw_by_the_old_iptables_is_told_of_with_the_command_that_helps: [UFW, FUNCTIONS, r#"
        export V=legacy; begin; iptables-legacy -S FORWARD | grep -q ufw-before-forward || exit 2
        serve --name web -p 8080:80 2> e; cat e; grep -q 'chain FORWARD of iptables-legacy' e && ask 127.0.0.1 8080 || exit 3
        far_get 192.0.2.2 8080 && exit 4; out && exit 5
        caisson doctor | grep -q 'iptables-legacy -I FORWARD -i cs0-' || exit 6; eval "$(sed -n 's/.*pass: //p' e)"; tried || exit 7
        there ufw reload | grep reloaded && tried && caisson restart -t 0 web 2> e && [ ! -s e ] && tried"#];
    firewalld_is_told_of_with_the_command_that_helps: [r#"
        command -v firewalld >/dev/null && command -v dbus-daemon >/dev/null || { echo "skipped: no firewalld"; exit 0; }
        cat > setup <<'EOT'
            own etc/firewalld; mount -t tmpfs t /var/log; mkdir -p /run/dbus /run/lock
            daemons=$(dbus-daemon --system --fork --print-pid); firewalld --nofork --nopid & daemons="$! $daemons"
            for i in $(seq 200); do firewall-cmd --state 2>/dev/null && break; sleep .1; done
EOT
        "#, FUNCTIONS, r#"
        begin; nft list ruleset | grep -q 'chain filter_FORWARD ' || exit 2
        serve --name web -p 8080:80 2> e; cat e; grep -q 'chain filter_FORWARD of table inet firewalld.*the container does not reach the outside' e && ask 127.0.0.1 8080 || exit 3
        until_true 'far_get 192.0.2.2 8080' || exit 4; out && exit 5
        caisson doctor | grep -q 'firewall-cmd --permanent --zone=trusted --add-interface=cs0-' || exit 6
        there "$(sed -n 's/.*pass: //p' e)" | grep success && tried || exit 7
        caisson restart -t 0 web 2> e && [ ! -s e ] && there firewall-cmd --reload && tried"#];
}
