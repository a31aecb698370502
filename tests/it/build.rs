//! `build` against the real kernel: layers, cache, contexts, mounts, failures, and nothing left.

use testkit::{Sandbox, can_run, check_in};

/// `build ARGUMENTS` builds on the host's network; its progress is in `log`.
const FUNCTIONS: &str = r#"
    build() { caisson build --network host "$@" 2> log; }
    missed() { grep -c 'not cached:' log; }
    id() { caisson images -q --no-trunc "$1"; }
    mkdir -p ctx && cd ctx && cd .."#;

fn builds(script: &str) {
    if can_run() {
        check_in(&Sandbox::new(), &format!("{FUNCTIONS}\n{script}"));
    }
}

macro_rules! builds {
    ($($name:ident: $script:expr;)*) => { $(#[test] fn $name() { builds($script); })* };
}

builds! {
    an_image_has_what_its_instructions_say: r#"
        mkdir ctx/sub; echo hello > ctx/a; echo deep > ctx/sub/b; ln -s a ctx/link; chmod 755 ctx/a
        cat > ctx/Dockerfile <<'EOF'
FROM busybox
ENV GREETING=hi
WORKDIR /app
COPY . .
RUN echo $GREETING > made; id -u > uid; hostname > name; cat /etc/hosts > hosts
USER www
RUN id -u > /tmp/www
EXPOSE 80
VOLUME /data
LABEL a=b
CMD ["cat", "/app/a"]
EOF
        build -t app ctx || { cat log; exit 2; }
        [ "$(caisson run --rm $N app)" = hello ] || exit 3
        caisson run --rm $N app sh -c '[ $(cat made) = hi ] && [ $(cat uid) = 0 ] && [ $(cat name) = buildkitsandbox ] && [ $(cat /tmp/www) = 33 ] && [ $(readlink link) = a ] && [ $(stat -c %a-%u a) = 755-0 ] && [ $(id -u) = 33 ] && [ $(cat sub/b) = deep ]' || exit 4
        caisson inspect app --format '{{.Config.WorkingDir}} {{json .Config.ExposedPorts}} {{json .Config.Volumes}} {{.Config.Labels.a}}' | grep -qx '/app {"80/tcp":{}} {"/data":{}} b' || exit 5
        [ "$(caisson history --format '{{.CreatedBy}}' --no-trunc app | sed -n 8p)" = 'COPY . . # buildkit' ] || { caisson history --no-trunc app; exit 6; }
        # What was mounted for the program is no part of its layer.
        caisson save -o i.tar app && mkdir x && tar -xf i.tar -C x && for l in $(find x -type f); do tar -tf $l 2>/dev/null; done | grep -E '^(\./)?(etc/(hosts|resolv.conf|hostname)|proc/|sys/|dev/)' && exit 7
        true"#;
    an_unchanged_build_does_nothing_and_a_changed_file_says_so: r#"
        for i in 1 2 3; do echo $i > ctx/f$i; done
        printf 'FROM busybox\nRUN echo one > /one\nCOPY . /files/\nRUN cat /files/* > /all\n' > ctx/Dockerfile
        build -t app ctx && [ $(missed) = 3 ] || exit 2
        first=$(id app)
        build -t app ctx && [ $(missed) = 0 ] && [ $(grep -c CACHED log) = 3 ] && [ $(id app) = $first ] || exit 3
        # Touched, or somewhere else: the same.
        touch ctx/*; cp -r ctx other; build -t app ctx && [ $(missed) = 0 ] && build -t app other && [ $(missed) = 0 ] && [ $(id app) = $first ] || exit 4
        echo changed > ctx/f2; build -t app ctx && [ $(missed) = 2 ] && grep -q 'not cached: f2 changed' log && grep -q 'COPY . /files/ before it: f2 changed' log || { cat log; exit 5; }
        chmod 600 ctx/f3; build -t app ctx && grep -q 'not cached: f3 changed' log || exit 6
        rm ctx/f1; build -t app ctx && grep -q 'not cached: f1 removed' log || exit 7
        sed -i 's/one > /two > /' ctx/Dockerfile; caisson build --explain ctx 2> log && grep -q 'instruction changed (was "RUN echo one > /one", is "RUN echo two > /one")' log && [ $(missed) = 3 ] || { cat log; exit 8; }
        build -q -t app ctx > out && grep -qx 'sha256:[0-9a-f]*' out && [ ! -s log ] || exit 9
        build --no-cache -t app ctx --iidfile iid --metadata-file meta.json && [ $(missed) = 3 ] && [ $(cat iid) = $(id app) ] && grep -q 'the cache is not asked' meta.json"#;
    a_linked_copy_hides_nothing_and_outlives_its_base: r#"
        echo new > ctx/new; printf 'FROM busybox AS base\nRUN mkdir /app && echo old > /app/old\nFROM base\nCOPY --link new /app/\nCOPY --link --chown=33 new /app/sub/x\n' > ctx/Dockerfile
        build -t app ctx || { cat log; exit 2; }
        caisson run --rm $N app sh -c '[ $(cat /app/old) = old ] && [ $(cat /app/new) = new ] && [ $(stat -c %u:%g /app/sub/x) = 33:33 ]' || exit 3
        sed -i 's/echo old/echo other; echo old/' ctx/Dockerfile; build -t app ctx && [ $(missed) = 1 ] || { cat log; exit 4; }"#;
    the_same_tree_gives_the_same_image_in_two_stores_at_two_times: r#"
        mkdir -p ctx/d/e; echo 1 > ctx/d/e/f; echo 2 > ctx/g; chmod 4755 ctx/g
        printf 'FROM busybox AS a\nRUN mkdir /made && echo x > /made/y && ln /made/y /made/z\nFROM busybox\nCOPY --from=a /made /made\nCOPY --chown=www:44 . /files\nWORKDIR /new/dir\nRUN rm /bin/vi; echo more >> /made/y\n' > ctx/Dockerfile
        caisson save -o base.tar busybox
        build -t app ctx || { cat log; exit 2; }
        one=$(id app); cp -a ctx again; sleep 1.1; find again -exec touch {} +
        export CAISSON_ROOT=$PWD/second; caisson load -q -i base.tar >/dev/null && build -t app again && [ $(missed) = 5 ] || { cat log; exit 3; }
        two=$(id app); rm -r second
        [ $one = $two ] || exit 4"#;
    files_are_copied_as_docker_does: r#"
        mkdir -p ctx/dir/deep ctx/out; echo a > ctx/a.txt; echo b > ctx/b.txt; echo c > ctx/dir/c.md; echo d > ctx/dir/deep/d.txt; ln -s ../dir/c.md ctx/out/link
        printf '*.log\nout/*\n!out/kept\n' > ctx/.dockerignore; echo x > ctx/x.log; echo k > ctx/out/kept
        tar -C ctx -czf ctx/t.tgz dir; echo plain > ctx/plain.tgz
        cat > ctx/Dockerfile <<'EOF'
FROM busybox
RUN mkdir /target && ln -s /target /way
COPY *.txt /txt/
COPY a.txt /one
COPY dir /dir
COPY dir/ /way/in
COPY --chown=www a.txt /owned/
COPY --chown=33:44 --chmod=640 a.txt /owned/b
COPY --chmod=u=rwX,go=rX dir /modes
COPY --parents dir/deep/d.txt ./dir/./c.md /parents/
COPY --parents **/*.txt ./dir/./**/c.md /any/
COPY --parents --exclude=dir/deep/** **/*.txt **/missing /fewer/
COPY --exclude=*.md --exclude=deep dir /some
COPY ["a.txt", "b.txt", "/json/"]
COPY . /all
ADD t.tgz /unpacked/
ADD plain.tgz /unpacked/
COPY t.tgz /packed/
COPY <<EOF2 /here
line $HOME
EOF2
COPY --link dir /linked/
EOF
        build -t app ctx || { cat log; exit 2; }
        caisson run --rm $N app sh -exc '[ "$(ls /txt)" = "a.txt
b.txt" ]; [ $(cat /one) = a ]; [ $(cat /dir/deep/d.txt) = d ]; [ $(cat /target/in/c.md) = c ]; [ $(stat -c %u:%g /owned/a.txt) = 33:33 ]; [ $(stat -c %u:%g:%a /owned/b) = 33:44:640 ]
            [ $(stat -c %a /modes/deep) = 755 ]; [ $(stat -c %a /modes/c.md) = 644 ]; [ $(cat /parents/dir/deep/d.txt) = d ]; [ $(cat /parents/c.md) = c ]; [ -z "$(ls /some)" ]; [ "$(cd /any; find . -type f | sort | xargs)" = "./a.txt ./b.txt ./c.md ./dir/deep/d.txt" ]; [ "$(cd /fewer; find . -type f | sort | xargs)" = "./a.txt ./b.txt" ]; [ $(ls /json | wc -l) = 2 ]
            [ ! -e /all/x.log ]; [ ! -e /all/out/link ]; [ -e /all/out/kept ]; [ $(cat /unpacked/dir/c.md) = c ]; [ $(cat /unpacked/plain.tgz) = plain ]; [ -e /packed/t.tgz ]; [ "$(cat /here)" = "line " ] || [ "$(cat /here)" = "line /root" ]; [ $(cat /linked/c.md) = c ]' 2> err || { cat err; exit 3; }
        for bad in 'COPY missing /' 'COPY x.log /' 'COPY --from=nowhere a /'; do printf "FROM busybox\n$bad\n" > bad; build -f bad ctx && exit 4; grep -q '^ERROR: failed to solve: ' log || { cat log; exit 5; }; done
        printf 'FROM busybox\nCOPY x.log /\n' > bad; build -f bad ctx; grep -q '"/x.log": not found: it is there, but .dockerignore excludes it' log || { cat log; exit 6; }
        ln -s /etc/shadow ctx/away; mkfifo ctx/pipe; for bad in 'away /:it is a link to "/etc/shadow", which is not found here' 'pipe /:it is a pipe, a socket or a device'; do printf "FROM busybox\nCOPY ${bad%%:*}\n" > bad; build -f bad ctx; grep -qF "not found: ${bad#*:}" log || { cat log; exit 7; }; done
        printf 'FROM busybox\nCOPY ../../../etc/passwd /\n' > bad; build -f bad ctx; grep -q '"/etc/passwd": not found' log"#;
    mounts_of_run_are_there_and_leave_nothing: r#"
        echo s3cret > secret; mkdir ctx/src; echo source > ctx/src/file
        cat > ctx/Dockerfile <<'EOF'
FROM busybox AS tool
RUN mkdir -p /opt/tool && echo tool > /opt/tool/bin
FROM busybox
RUN --mount=type=secret,id=s cat /run/secrets/s > /length && [ $(wc -c < /length) = 7 ] && rm /length
RUN --mount=type=secret,id=s,env=S [ ${#S} = 7 ]
RUN --mount=type=cache,target=/cache date >> /cache/times; wc -l < /cache/times > /count
RUN --mount=type=bind,target=/ctx [ $(cat /ctx/src/file) = source ] && ! touch /ctx/x 2>/dev/null
RUN --mount=type=bind,from=tool,source=/opt/tool,target=/t [ $(cat /t/bin) = tool ]
RUN --mount=type=bind,from=tool,source=/opt/tool,target=/t,rw echo more > /t/new && [ -e /t/new ]
RUN --mount=type=tmpfs,target=/mem df /mem | grep -q tmpfs && echo x > /mem/x
RUN [ ! -e /mem/x ] && [ ! -e /t/new ] && [ ! -e /run/secrets/s ] && [ -z "$(ls / | grep -E '^(mem|t|ctx|cache)$')" ]
EOF
        build --secret id=s,src=secret -t app ctx || { cat log; exit 2; }
        [ $(caisson run --rm $N app cat /count) = 1 ] || exit 3
        build --no-cache --secret id=s,src=secret -t app ctx && [ $(caisson run --rm $N app cat /count) = 2 ] || exit 4
        # The secret is nowhere: not in layers, history, cache or explanation.
        grep -rqF s3cret root run && exit 5
        printf 'FROM busybox\nRUN --mount=type=secret,id=gone,required=true true\n' | build - && exit 6; grep -q 'secret gone: not found' log || { cat log; exit 7; }
        # A mount point that a program makes a link of is not followed when it is cleaned up.
        printf 'FROM busybox\nRUN --mount=type=tmpfs,target=/m/n/o true; rm -rf /m 2>/dev/null; ln -s / /q; true\nRUN [ ! -e /m ] || true\n' | build -t y - || { cat log; exit 8; }
        [ -e secret ]"#;
    a_failed_step_shows_its_output_and_its_line: r#"
        printf 'FROM busybox\nRUN echo kept > /kept\nRUN echo before; echo wrong >&2; exit 7\n' > ctx/Dockerfile
        build -t app ctx; [ $? = 1 ] || exit 2
        grep -q 'ERROR: failed to solve: process "/bin/sh -c echo before; echo wrong >&2; exit 7" did not complete successfully: exit code: 7' log || { cat log; exit 3; }
        grep -q '3 | >>> RUN echo before' log && grep -q ' > \[3/3\] RUN echo before' log && [ $(grep -c wrong log) -ge 2 ] || { cat log; exit 4; }
        # Endless lines, of output and of the instruction itself, are told once whole (in base64 to programs) and else in part.
        printf 'FROM busybox\nRUN head -c 60000 /dev/zero | tr "\\0" x; echo; exit 3 %s\n' $(head -c 60000 /dev/zero | tr '\0' y) > ctx/long
        for mode in plain tty rawjson quiet; do build --progress $mode -f ctx/long ctx; [ $? = 1 ] && [ $(wc -c < log) -lt 110000 ] && grep -q 'exit code: 3' log && grep -q 'bytes …' log || { cut -c -200 log; wc log; exit 8; }; done
        # What was finished stays.
        sed -i 's/exit 7/exit 0/' ctx/Dockerfile; build -t app ctx && [ $(missed) = 1 ] || { cat log; exit 5; }
        printf 'FROM busybox\nRUM x\n' > ctx/Dockerfile; build ctx; grep -q 'Dockerfile:2:1: .*RUM' log || { cat log; exit 6; }
        # What a rule finds is told with its place and what to write instead, building or not.
        printf 'FROM busybox as b\n' > ctx/lint; caisson build --check -f ctx/lint ctx > out; [ $? = 1 ] || exit 9
        printf "Check complete, 1 warning has been found!\n\nWARNING: FromAsCasing - https://docs.docker.com/go/dockerfile/rule/from-as-casing/\n'as' and 'FROM' keywords' casing do not match\nfix: write AS\nlint:1\n--------------------\n   1 | >>> FROM busybox as b\n--------------------\n" | diff - out || exit 10
        build -f ctx/lint ctx && grep -qF "casing do not match (lint:1); write AS" log || { cat log; exit 11; }
        [ -z "$(ls root/tmp)" ] || { ls -R root/tmp | head; exit 7; }"#;
    stages_are_built_when_needed_and_at_once: r#"
        cat > ctx/Dockerfile <<'EOF'
FROM busybox AS never
RUN exit 1
FROM busybox AS one
RUN sleep 1; echo 1 > /one
FROM busybox AS two
RUN sleep 1; echo 2 > /two
FROM busybox AS three
RUN sleep 1; echo 3 > /three
FROM busybox
COPY --from=one /one /
COPY --from=two /two /
COPY --from=three /three /
EOF
        begin=$(date +%s%N); build -t app ctx || { cat log; exit 2; }
        took=$((($(date +%s%N) - begin) / 1000000)); [ $took -lt 2500 ] || { echo took $took; exit 3; }
        caisson run --rm $N app sh -c 'cat /one /two /three | tr -d "\n"' | grep -qx 123 || exit 4
        build --target two -t two ctx && [ $(caisson run --rm $N two cat /two) = 2 ] || exit 5
        # The stage is done anew, gives the same, and those after it are found.
        sed -i 's/sleep 1; echo 2/echo 2/' ctx/Dockerfile; build -t app ctx && [ $(missed) = 1 ] || { cat log; exit 6; }"#;
    two_builds_at_once_do_each_step_once: r#"
        printf 'FROM busybox\nRUN sleep 1; cat /proc/sys/kernel/random/uuid > /a\nRUN sleep 1; cat /proc/sys/kernel/random/uuid > /b\n' > ctx/Dockerfile
        for i in 1 2 3; do caisson build --network host -q -t app$i ctx > id$i 2> log$i & done; wait
        [ -s id1 ] && cmp id1 id2 && cmp id1 id3 || { cat log?; exit 2; }"#;
    the_cache_is_shown_counted_and_removed: r#"
        printf 'FROM busybox\nRUN echo 1 > /a\nRUN echo 22 > /b\n' > ctx/Dockerfile
        build -t app ctx || exit 2
        caisson buildx du | grep -q 'RUN echo 22' || exit 3
        caisson rmi app >/dev/null; build -t app ctx && [ $(missed) = 0 ] || exit 4
        caisson rmi app >/dev/null; caisson builder prune -af > out && grep -q 'Total reclaimed space' out || exit 5
        [ -z "$(ls root/cache/steps)" ] && [ $(ls root/layers | wc -l) = 1 ] || { ls root/cache/steps root/layers; exit 6; }
        build -t app ctx && [ $(missed) = 2 ] && grep -q 'no longer in the cache' log || { cat log; exit 7; }"#;
    a_killed_build_leaves_nothing_and_keeps_what_was_finished: r#"
        printf 'FROM busybox\nRUN echo kept > /kept\nRUN echo > /begun; sleep 60\n' > ctx/Dockerfile
        caisson build --network host -t app ctx 2> log & pid=$!
        for i in $(seq 200); do [ $(ls root/cache/steps 2>/dev/null | grep -vc lock) = 1 ] && pgrep -f 'sleep 60' > /dev/null && break; sleep .05; done
        kill -9 $pid; wait $pid 2>/dev/null
        for i in $(seq 200); do find /sys/fs/cgroup/*/caisson-*/build-* -maxdepth 0 2>/dev/null | grep -q . || break; sleep .05; done
        sed -i 's/sleep 60/true/' ctx/Dockerfile; build -t app ctx && [ $(missed) = 1 ] || { cat log; exit 2; }
        [ -z "$(ls root/tmp)" ] && [ -z "$(ls root/cache/networks)" ] || exit 3"#;
    odd_files_of_a_context_do_no_harm: r#"
        cd ctx; mkfifo pipe; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")' 2>/dev/null; mknod device c 1 3; ln -s /etc/passwd absolute; ln -s loop loop; : > "$(printf 'new\nline')"; : > "$(printf 'raw\xff')"; mkdir locked; cd ..
        printf 'FROM busybox\nCOPY . /c/\nRUN ls /c | wc -l > /count\n' > Dockerfile
        build -f Dockerfile -t app ctx || { cat log; exit 2; }
        caisson run --rm $N app sh -c '[ ! -e /c/pipe ] && [ ! -e /c/device ] && [ "$(readlink /c/absolute)" = /etc/passwd ] && [ -L /c/loop ] && [ -d /c/locked ] && [ $(cat /count) = 5 ]' || { caisson run --rm $N app ls -la /c; exit 3; }
        printf 'FROM busybox\nCOPY absolute /x\n' > Dockerfile; build -f Dockerfile ctx && exit 4; grep -q 'not found' log || { cat log; exit 5; }
        true"#;
    contexts_come_as_archives_and_from_standard_input: r#"
        mkdir ctx/sub; echo content > ctx/sub/file; echo '*.log' > ctx/.dockerignore; echo x > ctx/x.log; printf 'FROM busybox\nCOPY . /c\n' > ctx/Dockerfile
        for z in cat gzip bzip2 xz zstd; do command -v $z >/dev/null || continue; tar -C ctx -c . | $z | build -t a - || { cat log; exit 2; }; id a; done | sort -u > ids
        build -t a ctx; id a >> ids; [ $(sort -u ids | wc -l) = 1 ] || { cat ids; exit 3; }
        caisson run --rm $N a sh -c '[ $(cat /c/sub/file) = content ] && [ ! -e /c/x.log ]' || exit 4
        printf 'FROM busybox\nRUN echo alone > /alone\n' | build -t b - && [ $(caisson run --rm $N b cat /alone) = alone ] || exit 5
        printf 'FROM busybox\nCOPY sub/file /\n' | build -t c -f - ctx && [ $(caisson run --rm $N c cat /file) = content ] || exit 6
        # And one from the network, for files that are here.
        mkdir web; printf 'FROM busybox\nCOPY sub/file /far\n' > web/D; tar -C web -cf web/t.tar D; (cd web && exec python3 -u -m http.server --bind 127.0.0.1 0 > out 2>&1) & PID=$!; for i in $(seq 200); do P=$(sed -n 's/.*port \([0-9]*\).*/\1/p' web/out); [ -n "$P" ] && break; sleep .05; done
        build -t far -f http://127.0.0.1:$P/D ctx && [ "$(caisson run --rm $N far cat /far)" = content ] || { cat log; kill $PID; exit 21; }
        build -f http://127.0.0.1:$P/t.tar ctx && exit 22; grep -q 'it is no Dockerfile' log || { cat log; exit 23; }; kill $PID
        mkdir evil; echo FROM busybox > Dockerfile; ln -s ../../../../../../../../etc/shadow evil/Dockerfile; tar -C evil -c . | build - && exit 7; grep -q root: log && exit 8
        tar -cf evil.tar --transform 's,^,../,' Dockerfile; build - < evil.tar; [ ! -e root/tmp/Dockerfile ] && [ -z "$(ls root/tmp)" ]"#;
    results_are_written_as_files_and_archives: r#"
        printf 'FROM busybox AS b\nRUN mkdir /d && echo hello > /d/f\nFROM scratch\nCOPY --from=b /d /d\n' > ctx/Dockerfile
        build -o out ctx && [ $(cat out/d/f) = hello ] && build -o type=local,dest=out2 ctx && [ $(cat out2/d/f) = hello ] || { cat log; exit 2; }
        before=$(caisson images -aq | wc -l); build --no-cache -o type=cacheonly ctx && [ $(caisson images -aq | wc -l) = $before ] && ! grep -q 'writing image' log && build -o type=cacheonly ctx && [ $(missed) = 0 ] || { cat log; exit 20; }
        build -o - ctx > t.tar && tar -tf t.tar | grep -qx d/f && build --output type=tar,dest=t2.tar ctx && cmp t.tar t2.tar || exit 3
        [ -z "$(caisson images -q --filter dangling=true)" ] || exit 4
        build -t app:1 --output type=docker,dest=i.tar ctx && caisson rmi app:1 >/dev/null && caisson load -qi i.tar | grep -q app:1 || { cat log; exit 5; }
        # As a directory the same files; and a layout is one that others read.
        build -t app:1 --output type=oci,tar=false,dest=layout --output type=oci,dest=l.tar ctx && mkdir l && tar -xf l.tar -C l && diff -r l layout && [ -s layout/oci-layout ] && [ $(ls layout/blobs/sha256 | wc -l) -ge 3 ] || { cat log; exit 7; }
        # Which is a context for the next build, without a name in the store, and is nothing that is read twice.
        printf 'FROM base\nLABEL next=1\nCOPY --from=other /d/f /again\n' > n; caisson rmi -f app:1 >/dev/null
        for from in layout layout:1 layout@$(sed 's/.*"digest":"\([^"]*\)".*/\1/' layout/index.json); do build -f n --build-context base=oci-layout://$from --build-context other=oci-layout://$PWD/layout:1 -t next ctx || { cat log; exit 11; }; done
        [ "$(missed)" = 0 ] && [ "$(caisson images -q | sort -u | wc -l)" = 2 ] && caisson save next | tar -tf - >/dev/null || { caisson images; exit 12; }
        for from in layout:2 layout@sha256:$(printf %064d 0) ctx missing; do build -f n --build-context base=oci-layout://$from ctx && exit 13; grep -q "oci-layout://.*$from: \|missing: No such\|no image of it" log || { cat log; exit 14; }; done
        for text in local oci,tar=false docker,tar=false; do build --output type=$text ctx && exit 6; grep -q 'output directory is required' log || { cat log; exit 8; }; done
        # Stages are listed, and nothing is built.
        printf '# b makes it\nFROM nosuch AS b\nRUN x\nFROM b\n' > t; [ "$(caisson build --call=targets -f t ctx)" = "$(printf 'TARGET    DESCRIPTION\nb         makes it\n(default) ')" ] || { caisson build --call targets -f t ctx; exit 9; }
        printf 'FROM\n' > t; caisson build --call targets -f t ctx 2> log; [ $? = 1 ] && grep -q 't:1:' log"#;
    a_cache_of_another_machine_is_hit_and_believed_no_further: r#"
        caisson registry serve --listen 127.0.0.1:0 --root hub > hub.out 2>/dev/null & PID=$!; trap 'kill -9 $PID 2>/dev/null' EXIT
        for i in $(seq 200); do grep -qs 'its page at' hub.out && break; sleep .05; done
        R=$(sed -n 's|.*its page at https*://||p' hub.out); [ -n "$R" ] || exit 99
        echo 1 > ctx/f; printf 'FROM busybox AS a\nRUN mkdir /made && cat /proc/sys/kernel/random/uuid > /made/x\nFROM busybox\nCOPY f /f\nCOPY --from=a /made /made\nRUN cat /f /made/x > /all\n' > ctx/Dockerfile
        build -t app --cache-to type=local,dest=c,mode=max --cache-to type=registry,ref=$R/c/max,mode=max --cache-to $R/c/min ctx || { cat log; exit 2; }
        caisson save -o base.tar busybox; one=$(id app)
        fresh() { rm -rf second; export CAISSON_ROOT=$PWD/second; caisson load -q -i base.tar >/dev/null; }
        for from in type=local,src=c type=registry,ref=$R/c/max; do
            fresh; build -t app --cache-from $from ctx && [ $(missed) = 0 ] && [ $(id app) = $one ] || { cat log; exit 3; }
            # What was taken from elsewhere is in no cache of this store.
            [ -z "$(ls second/cache/steps | grep -v lock)" ] && build -t app ctx && [ $(missed) = 4 ] || { ls second/cache/steps; cat log; exit 4; }
        done
        # The steps of the image alone: the other stage is built anew, and gives something else.
        fresh; build -t app --cache-from $R/c/min ctx && grep -q 'COPY f /f' log && [ $(missed) = 3 ] || { cat log; exit 5; }
        # In the image itself.
        build -t $R/app:1 --target a --cache-to type=inline --push ctx || { cat log; exit 6; }
        fresh; build -t app --target a --cache-from $R/app:1 ctx && [ $(missed) = 0 ] || { cat log; exit 7; }
        # The same as older files of CI ask for it.
        build -t $R/app:2 --target a --build-arg BUILDKIT_INLINE_CACHE=1 --push ctx || { cat log; exit 26; }
        fresh; build -t app --target a --cache-from $R/app:2 ctx && [ $(missed) = 0 ] || { cat log; exit 27; }
        # Damaged, lying, or no cache: told, and done without.
        for b in $(find c/blobs -type f); do grep -q 'caisson.cache\|schemaVersion' $b || printf x | dd of=$b bs=1 seek=60 conv=notrunc 2>/dev/null; done
        fresh; build -t app --cache-from type=local,src=c ctx && [ $(missed) = 4 ] && grep -q 'cannot take a layer from the cache' log || { cat log; exit 8; }
        rm -r c/blobs; ln -s / c/blobs; fresh; build -t app --cache-from type=local,src=c --cache-from $R/nothing ctx && [ $(grep -c 'cannot import the cache' log) = 2 ] && [ $(missed) = 4 ] || { cat log; exit 9; }
        [ -z "$(ls second/tmp)" ]; rm -r second"#;
    a_squashed_image_has_one_layer_and_the_same_files: r#"
        mkdir ctx/d; echo 1 > ctx/d/f; printf 'FROM busybox\nCOPY d /d\nRUN echo 2 > /d/g; rm /d/f /bin/vi; ln /d/g /d/h\nWORKDIR /w\nCMD ["cat", "/d/g"]\n' > ctx/Dockerfile
        build -t plain ctx && build --squash -t app ctx && [ $(missed) = 0 ] || { cat log; exit 2; }
        count() { caisson inspect --format '{{len .RootFS.Layers}}' $1; }
        [ $(count app) = $(($(count busybox) + 1)) ] && [ $(count plain) = $(($(count busybox) + 3)) ] || { count app; count plain; exit 3; }
        [ $(caisson run --rm $N app) = 2 ] && caisson run --rm $N app sh -c '[ ! -e /d/f ] && [ ! -e /bin/vi ] && [ /d/g -ef /d/h ] && [ $PWD = /w ]' || exit 4
        caisson run --rm $N plain find / -xdev > one; caisson run --rm $N app find / -xdev > two; cmp one two || exit 5
        caisson save app | tar -xO --wildcards '*' 2>/dev/null | grep -aq 'd/f$' && exit 6
        first=$(id app); build --squash -t app ctx && [ $(id app) = $first ] && caisson history app | grep -q 'merge of 3 layers' || exit 7
        # A cache in the image would be that of layers it does not have.
        build --squash --cache-to type=inline -t app ctx && [ $(id app) = $first ] && grep -q 'a squashed image has no cache in it' log || { cat log; exit 8; }
        build --cache-to type=inline -t app ctx && ! grep -q 'has no cache' log"#;
    verify_names_what_a_step_made_different: r#"
        printf 'FROM busybox\nRUN echo same > /same\nRUN mkdir /d && echo x > /d/a && cat /proc/sys/kernel/random/uuid > /d/b\n' > ctx/Dockerfile
        build --verify -t app ctx && exit 2; grep -q 'not reproducible: \[3/3\] RUN mkdir /d.* gave something else the second time: "/d/b" differs in its content' log || { cat log; exit 3; }
        # The first result is the one that stays.
        one=$(id app); build -t app ctx && [ $(missed) = 0 ] && [ $(id app) = $one ] || exit 4
        sed -i 's/ && cat.*//' ctx/Dockerfile; build --verify -t app ctx && grep -q 'every step gave the same twice' log || { cat log; exit 5; }
        [ -z "$(ls root/tmp)" ]"#;
    platforms_without_programs_are_built_together_and_pushed: r#"
        caisson registry serve --listen 127.0.0.1:0 --root hub > hub.out 2>/dev/null & PID=$!; trap 'kill -9 $PID 2>/dev/null' EXIT
        for i in $(seq 200); do grep -qs 'its page at' hub.out && break; sleep .05; done
        R=$(sed -n 's|.*its page at https*://||p' hub.out); [ -n "$R" ] || exit 99
        printf 'FROM scratch\nARG TARGETARCH\nCOPY f-$TARGETARCH /f\n' > ctx/Dockerfile; echo a > ctx/f-amd64; echo r > ctx/f-arm64
        build --platform linux/amd64,linux/arm64 -t $R/both:1 --push ctx --metadata-file meta || { cat log; exit 2; }
        caisson manifest inspect $R/both:1 > m && grep -q '"architecture": "arm64"' m && grep -q '"architecture": "amd64"' m || { cat m; exit 3; }
        grep -q "$(curl -sI -H 'Accept: application/vnd.oci.image.index.v1+json' http://$R/v2/both/manifests/1 | tr -d '\r' | sed -n 's/^docker-content-digest: //pI')" meta || { cat meta; exit 4; }
        for a in amd64 arm64; do caisson pull -q --platform linux/$a $R/both:1 >/dev/null && c=$(caisson create $N $R/both:1 /f) && caisson cp $c:/f got.$a && cmp got.$a ctx/f-$a || exit 5; caisson rm $c >/dev/null; done
        caisson rmi -f $R/both:1 >/dev/null; caisson image prune -af >/dev/null; caisson builder prune -af >/dev/null; [ -z "$(find root/blobs -type f)" ] || { find root/blobs -type f; exit 6; }
        printf 'FROM scratch\nCOPY f-arm64 /f\nRUN ["/f"]\n' > ctx/Dockerfile
        [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || { build --platform linux/arm64 ctx && exit 7; grep -q 'cannot run programs for linux/arm64' log || { cat log; exit 8; }; }
        build --push ctx && exit 9; grep -q 'tag is needed when pushing' log"#;
    limits_of_the_command_line_hold_for_programs: r#"
        printf 'FROM busybox\nRUN ulimit -n > /n; grep NoNewPrivs /proc/self/status > /p; for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do cat $f 2>/dev/null; done > /m; true\n' > ctx/Dockerfile
        build --no-cache -t app --memory 64m --ulimit nofile=77 --security-opt no-new-privileges ctx || { cat log; exit 2; }
        caisson run --rm $N app sh -c 'grep -q 77 /n && grep -q 67108864 /m && grep -q "1$" /p' || { caisson run --rm $N app cat /n /m /p; exit 3; }
        build --no-cache -t limited --resource memory=48m --resource cpu-shares=512 ctx && caisson run --rm $N limited grep -q 50331648 /m || { cat log; exit 12; }; for bad in memory memory=x nothing=1; do build --resource $bad ctx && exit 13; grep -q "^ERROR: invalid --resource .$bad" log || { cat log; exit 14; }; done
        printf 'FROM busybox\nRUN --device=none.such/x=y true\n' > d; build -t d -f d ctx || { cat log; exit 9; }; sed -i 's/=y/=y,required/' d; build -f d ctx && exit 10; grep -q 'none.such/x=y' log || { cat log; exit 11; }
        build --memory 1m ctx && exit 4; grep -q 'Minimum memory limit allowed is 6MB' log || { cat log; exit 5; }
        printf 'FROM busybox\nRUN exit 3\n' > ctx/Dockerfile; build --debug-on-failure ctx < /dev/null && exit 6; grep -q 'there is no terminal' log || { cat log; exit 7; }
        command -v script >/dev/null || { echo "skipped: no script"; exit 0; }
        printf 'FROM busybox\nENV A=here\nWORKDIR /w\nRUN echo left > /w/left; exit 3\n' > ctx/Dockerfile
        printf 'echo $A $(cat left) | tr a-z A-Z; exit\n' | script -qec "caisson build --network host --debug-on-failure ctx" /dev/null > typed; grep -q 'HERE LEFT' typed || { cat typed; exit 8; }
        [ -z "$(caisson images -q --filter dangling=true)" ] && [ -z "$(caisson ps -aq)" ]"#;
    a_terminal_shows_what_runs_and_keeps_what_is_done: r#"
        command -v script >/dev/null || { echo "skipped: no script"; exit 0; }
        on() { TERM=$1; shift; TERM=$TERM script -qec "stty rows 9 cols 60; caisson build $*" /dev/null < /dev/null > raw; CODE=$?; tr -d '\r' < raw > typed; return $CODE; }
        printf 'FROM busybox\nRUN for i in 1 2 3 4 5 6 7 8 9; do echo line $i; sleep .1; done; printf "\\033[31mred"\n' > ctx/Dockerfile
        on xterm --network none -t app ctx; UP=$(printf '\033[')
        # Lines that move, each no wider than the terminal; then what is done, which stays.
        grep -qF "$UP" typed && grep -q '^ => => # line 5$' typed && ! grep -q '^#' typed && grep -q '^ => => not cached: ' typed || { cat -v typed; exit 2; }
        sed "s/.*\x1b\[J//" typed | grep -v 'writing image' | awk '{ gsub("\xe2\x80\xa6", ".") } length > 60 { exit 1 }' || { cat -v typed; exit 3; }
        [ "$(sed "s/.*\x1b\[J//" typed | tail -4 | sed 's/[0-9.]*s (/S (/; s/sha256:[0-9a-f]*/ID/')" = "$(printf ' => exporting to image\n => => writing image ID\n => => naming to docker.io/library/app:latest\n[+] Building S (1/1) FINISHED')" ] || { cat -v typed; exit 4; }
        on xterm --network none -t app ctx; grep -q '^ => CACHED \[2/2\] RUN for.*0.0s$' typed && ! grep -qF "$UP" typed || { cat -v typed; exit 5; }
        # Where nothing can be written over, and where it is asked for: lines.
        on dumb --network none -t app ctx; grep -q '^#1 CACHED' typed || { cat -v typed; exit 6; }
        on xterm --network none --progress plain -t app ctx; grep -q '^#1 CACHED' typed || { cat -v typed; exit 7; }
        printf 'FROM busybox\nRUN echo before; sleep .3; printf last; exit 3\n' > ctx/Dockerfile; on xterm --network none ctx && exit 8
        grep -q ' => ERROR \[2/2\] RUN echo before' typed && grep -q '^[0-9.]* last$' typed && tail -1 typed | grep -q '^ERROR: failed to solve: .*exit code: 3' || { cat -v typed; exit 9; }"#;
    every_limit_is_what_a_program_finds: r#"
        cat > ctx/Dockerfile <<'EOF'
FROM busybox
RUN cd /sys/fs/cgroup; for f in memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus cpuset/cpuset.mems memory.max memory.swap.max cpu.weight cpu.max cpuset.cpus cpuset.mems; do [ ! -e $f ] || echo $f $(cat $f); done > /limits; df -k /dev/shm | tail -n1 > /shm; cat /proc/self/cgroup > /groups
EOF
        build --no-cache -t app --memory 64m --memory-swap 96m --cpu-shares 512 --cpu-quota 40000 --cpu-period 80000 --cpuset-cpus 0 --cpuset-mems 0 --shm-size 8m --cgroup-parent /it-$$/parent ctx || { cat log; exit 2; }
        caisson run --rm $N app cat /limits > limits
        if grep -q '^memory.max' limits; then printf '%s\n' 'memory.max 67108864' 'memory.swap.max 33554432' 'cpu.weight 20' 'cpu.max 40000 80000' 'cpuset.cpus 0' 'cpuset.mems 0'
        else printf '%s\n' 'memory/memory.limit_in_bytes 67108864' 'memory/memory.memsw.limit_in_bytes 100663296' 'cpu/cpu.shares 512' 'cpu/cpu.cfs_quota_us 40000' 'cpu/cpu.cfs_period_us 80000' 'cpuset/cpuset.cpus 0' 'cpuset/cpuset.mems 0'; fi > wanted
        # Some kernels do not count swap.
        grep -q swap limits || sed -i '/swap/d' wanted; grep -q memsw limits || sed -i '/memsw/d' wanted; cmp limits wanted || { cat limits; exit 3; }
        caisson run --rm $N app sh -c "grep -q '^tmpfs *8192 ' /shm && grep -q ':/it-$$/parent/' /groups" || { caisson run --rm $N app cat /shm /groups; exit 4; }
        for i in $(seq 200); do find /sys/fs/cgroup -path "*/it-$$/parent/*" -prune -name 'build-*' | grep -q . || break; sleep .05; done; find /sys/fs/cgroup -depth -path "*/it-$$*" -type d -exec rmdir {} + 2>/dev/null
        is_refused() { grep -q "$1" log || { cat log; exit 5; }; }
        for given in "--isolation hyperv@only supports 'default'" '--allow fs=/etc@unknown entitlement "fs=/etc"' '--allow device=a,alias=b@unknown entitlement' '--memory 64m --memory-swap 32m@should be larger than memory limit' '--memory-swap 64m@always set the Memory limit' '--cpu-quota 5@can not be less than 1ms' '--ssh default=/dev/null@no socket of an agent' '--secret id=a,srcc=x@unexpected key' '--secret id=a,type=vault@unsupported secret type'; do
            build ${given%@*} ctx && { echo "$given"; exit 6; }; is_refused "${given#*@}"; done
        for bad in '--cpuset-cpus 999' '--cpuset-mems 99' '--cgroup-parent ../../x'; do build --no-cache $bad ctx && { echo "$bad"; exit 7; }; done
        build --isolation default --allow device --allow device=v.com/c=0 -t app ctx || { cat log; exit 8; }
        # What is loaded is in the store, wherever else it is put.
        printf 'FROM scratch\nCOPY Dockerfile /f\n' > ctx/Dockerfile; build -o out -t not ctx && [ -z "$(id not)" ] && build --load -o out -t loaded ctx && [ -n "$(id loaded)" ] && cmp out/f ctx/Dockerfile || { cat log; exit 9; }
        command -v script >/dev/null || { echo "skipped: no script"; exit 0; }
        for o in - type=tar type=oci type=docker,dest=-; do script -qec "caisson build -o $o ctx" /dev/null > typed < /dev/null; grep -q 'refusing to write to console' typed || { cat typed; exit 10; }; done"#;
    a_device_is_given_to_whom_it_is_allowed: r#"
        mkdir cdi; printf '{"cdiVersion":"0.6.0","kind":"it.test/thing","devices":[{"name":"one","containerEdits":{"env":["THING=one"]}},{"name":"open","annotations":{"org.mobyproject.buildkit.device.autoallow":"true"},"containerEdits":{"env":["THING=open"]}}]}' > cdi/it.json
        mkdir -p config; export CAISSON_CONFIG=$PWD/config.toml; printf 'cdi_spec_dirs = ["%s"]\n' $PWD/cdi > config.toml
        printf 'FROM busybox\nRUN --device=it.test/thing=one [ "$(grep -c THING=one /proc/self/environ)" = 1 ]\n' > ctx/Dockerfile
        build ctx && exit 2; grep -q 'device it.test/thing=one is not allowed.*--allow device=it.test/thing=one' log && grep -q '2 | >>> RUN --device' log || { cat log; exit 3; }
        build --allow device=it.test/thing=open ctx && exit 4
        build --allow device=it.test/thing=one ctx && build --no-cache --allow device ctx || { cat log; exit 5; }
        sed -i 's/=one/=open/g' ctx/Dockerfile; build ctx || { cat log; exit 6; }"#;
    results_for_several_platforms_are_written_side_by_side: r#"
        printf 'FROM scratch\nARG TARGETARCH\nCOPY f-$TARGETARCH /d/f\nCOPY same /same\n' > ctx/Dockerfile; echo a > ctx/f-amd64; echo r > ctx/f-arm64; echo s > ctx/same; ln ctx/same ctx/other
        P="--platform linux/amd64,linux/arm64"
        build $P -o out ctx && [ $(cat out/linux_amd64/d/f)$(cat out/linux_arm64/d/f)$(cat out/linux_arm64/same) = ars ] || { cat log; exit 2; }
        build $P -o - ctx > t.tar && mkdir t && tar -xf t.tar -C t && diff -r t out || { cat log; exit 3; }
        [ -z "$(caisson images -qa | grep -v "$(caisson images -q busybox)")" ] || exit 4
        build $P -t me/both:1 --output type=oci,dest=o.tar ctx --metadata-file meta || { cat log; exit 5; }
        mkdir o; tar -xf o.tar -C o; [ ! -e o/manifest.json ] && [ $(grep -o '"digest"' o/index.json | wc -l) = 1 ] && grep -q '"io.containerd.image.name":"docker.io/me/both:1"' o/index.json && grep -q 'image.index.v1+json' o/index.json || { cat o/index.json; exit 6; }
        top=$(grep -o '"digest":"sha256:[0-9a-f]*"' o/index.json | grep -o '[0-9a-f]\{64\}'); grep -q "sha256:$top" meta && grep -q '"architecture":"arm64"' o/blobs/sha256/$top && [ $(grep -o '"digest"' o/blobs/sha256/$top | wc -l) = 2 ] || { cat o/blobs/sha256/$top; exit 7; }
        # Index, two manifests, two configurations, three layers: all that is named, each what its name says.
        [ $(ls o/blobs/sha256 | wc -l) = 8 ] && (cd o/blobs/sha256 && for b in *; do [ $(sha256sum < $b | cut -d' ' -f1) = $b ] || exit 1; done) || { ls o/blobs/sha256; exit 8; }
        caisson rmi me/both:1 >/dev/null; caisson load -qi o.tar | grep -q me/both:1 && c=$(caisson create $N me/both:1 /d/f) && caisson cp $c:/d/f got && [ $(cat got) = a ] && caisson rm $c >/dev/null || exit 9
        caisson rmi me/both:1 >/dev/null; caisson load -q --platform linux/arm64 -i o.tar >/dev/null && c=$(caisson create --platform linux/arm64 $N me/both:1 /d/f) && caisson cp $c:/d/f got && [ $(cat got) = r ] && caisson rm $c >/dev/null || exit 10
        build $P --output type=docker,dest=d.tar ctx && exit 11; grep -q 'does not currently support exporting manifest lists' log && [ ! -e d.tar ] || { cat log; exit 12; }"#;
    images_that_share_a_platform_keep_their_others: r#"
        caisson registry serve --listen 127.0.0.1:0 --root hub > hub.out 2>/dev/null & PID=$!; trap 'kill -9 $PID 2>/dev/null' EXIT
        for i in $(seq 200); do grep -qs 'its page at' hub.out && break; sleep .05; done
        R=$(sed -n 's|.*its page at https*://||p' hub.out); [ -n "$R" ] || exit 99
        printf 'FROM scratch\nARG TARGETARCH\nCOPY f-$TARGETARCH /f\n' > ctx/Dockerfile; echo a > ctx/f-amd64; echo one > ctx/f-arm64
        P="--platform linux/amd64,linux/arm64"; V="--provenance mode=min"
        build $P $V -t $R/one:1 ctx || { cat log; exit 2; }
        echo two > ctx/f-arm64; build $P $V -t $R/two:1 ctx && caisson image prune -f >/dev/null && caisson builder prune -af >/dev/null || { cat log; exit 3; }
        referrers() { for d in $(curl -s -H 'Accept: application/vnd.oci.image.index.v1+json' http://$R/v2/$1/manifests/1 | grep -o 'sha256:[0-9a-f]*'); do curl -s http://$R/v2/$1/referrers/$d | grep -o '"artifactType"' | wc -l; done | tr '\n' ' '; }
        for n in one two; do caisson push -q $R/$n:1 >/dev/null || exit 4; caisson manifest inspect $R/$n:1 | grep -c '"architecture"' | grep -qx 2 || { caisson manifest inspect $R/$n:1; exit 5; }; [ "$(referrers $n)" = '1 1 ' ] || { referrers $n; exit 6; }; done
        # Built once more without a word about it, the same bytes are still what was said of them; with --provenance=false nobody says anything.
        build $P -t $R/two:2 ctx && caisson push -q $R/two:2 >/dev/null && [ "$(referrers two)" = '1 1 ' ] || { cat log; exit 7; }
        build $P --provenance=false -t $R/mute:1 ctx && caisson push -q $R/mute:1 >/dev/null && [ "$(referrers mute)" = '0 0 ' ] || { cat log; referrers mute; exit 8; }
        # What was said of the other one's other platform stays.
        caisson image prune -f >/dev/null; grep -rl '"_type":"https://in-toto' root/blobs | wc -l | grep -qx 1 || { grep -rl in-toto root/blobs; exit 9; }
        # One platform alone is one manifest again, whatever the name meant before.
        build -t $R/two:1 ctx && caisson push -q $R/two:1 >/dev/null && curl -s -H 'Accept: application/vnd.oci.image.manifest.v1+json' http://$R/v2/two/manifests/1 | grep -q '"config"' || { cat log; exit 10; }"#;
    what_is_wrong_with_a_context_is_told_with_its_place: r#"
        echo x > ctx/x; printf 'FROM busybox\nCOPY x /\n' > ctx/Dockerfile
        printf '# comment\n\n*.log\n[\n' > ctx/.dockerignore; build ctx && exit 2; grep -q '^ERROR: .dockerignore:4: syntax error in pattern "\["' log || { cat log; exit 3; }
        printf 'a\n!\n' > ctx/.dockerignore; build ctx && exit 4; grep -q '.dockerignore:2: illegal exclusion pattern' log || { cat log; exit 5; }
        tar -C ctx -c . | build - && exit 6; grep -q '.dockerignore:2: illegal exclusion pattern' log || { cat log; exit 7; }
        # Nobody waits at a pipe that a context has in place of its files.
        rm ctx/.dockerignore; mkfifo ctx/.dockerignore; timeout 20 caisson build ctx 2> log; [ $? = 1 ] && grep -q 'dockerignore: it is no regular file' log || { cat log; exit 8; }
        rm ctx/.dockerignore; mv ctx/Dockerfile d; mkfifo ctx/Dockerfile; timeout 20 caisson build ctx 2> log; [ $? = 1 ] && grep -q 'Dockerfile: it is no regular file' log || { cat log; exit 9; }
        tar -C ctx -c . > c.tar; timeout 20 caisson build - < c.tar 2> log; [ $? = 1 ] || { cat log; exit 10; }
        build -f <(cat d) -t app ctx || { cat log; exit 11; }
        # As deep as directories may be, and deeper.
        rm ctx/Dockerfile; printf 'FROM busybox\nCOPY d /d\nRUN find /d -type d | wc -l > /count\n' > ctx/Dockerfile; nest() { (cd ctx; for i in $(seq $1); do mkdir d; cd d; done); }
        nest 500; build -t app ctx && [ $(caisson run --rm $N app cat /count) = 500 ] || { cat log; exit 12; }
        rm -r ctx/d; nest 700; build ctx && exit 13; grep -q 'directories are nested more than 512 deep' log && grep -q '2 | >>> COPY d /d' log || { cat log; exit 14; }
        # The host is found under the name that was given to it.
        printf 'FROM busybox\nRUN grep -w me /etc/hosts > /me\n' > ctx/Dockerfile; rm -r ctx/d; build --add-host me:host-gateway -t app ctx && [ "$(caisson run --rm $N app cat /me)" = '127.0.0.1	me' ] || { cat log; exit 15; }
        caisson run --rm --network none --add-host me:host-gateway app grep -q host-gateway /etc/hosts && exit 16; true"#;
}

/// Something on a loopback of the test's own.
fn builds_with_servers(script: &str) {
    if can_run() {
        let script = format!(
            "cat > s.sh <<'EOS'\n{FUNCTIONS}\nip link set lo up; trap 'kill $pids 2>/dev/null; wait' EXIT\n{script}\nEOS\nunshare -n bash s.sh"
        );
        check_in(&Sandbox::new(), &script);
    }
}

#[test]
fn files_and_repositories_come_from_the_network() {
    builds_with_servers(
        r#"
        command -v python3 git >/dev/null || { echo "skipped: neither python3 nor git"; exit 0; }
        mkdir web; echo fetched > web/file; tar -C web -czf web/a.tgz file; printf 'FROM busybox
RUN echo remote > /r
' > web/Dockerfile
        (cd web && exec python3 -m http.server -b 127.0.0.1 8000 > /dev/null 2>&1) & pids=$!
        for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/8000) 2>/dev/null && break; sleep .05; done
        U=http://127.0.0.1:8000; sum=$(sha256sum < web/file | cut -d' ' -f1)
        printf "FROM busybox
ADD $U/file /
ADD --checksum=sha256:$sum $U/file /other
ADD $U/a.tgz /packed/
ADD --unpack=true $U/a.tgz /open/
" > ctx/Dockerfile
        build -t a ctx || { cat log; exit 2; }
        caisson run --rm $N a sh -c '[ $(cat /file) = fetched ] && [ $(stat -c %a /file) = 600 ] && [ $(cat /other) = fetched ] && [ -e /packed/a.tgz ] && [ $(cat /open/file) = fetched ]' || exit 3
        build -t a ctx && [ $(missed) = 0 ] || { cat log; exit 4; }
        printf "FROM busybox
ADD --checksum=sha256:$(printf %064d 0) $U/file /
" > ctx/Dockerfile; build ctx && exit 5; grep -q 'digest mismatch' log || { cat log; exit 6; }
        build -t b $U/Dockerfile && [ $(caisson run --rm $N b cat /r) = remote ] || { cat log; exit 7; }
        # A repository: a branch, a directory, a link that leads out.
        export HOME=$PWD GIT_CONFIG_NOSYSTEM=1; git init -q -b main repo; cd repo; git config user.email a@b; git config user.name n
        mkdir dir; echo one > dir/f; printf 'FROM busybox
COPY f /
' > dir/Dockerfile; ln -s / out; git add .; git commit -qm 1; git checkout -qb other; echo two > dir/f; git commit -qam 2; git checkout -q main; cd ..
        git daemon --reuseaddr --listen=127.0.0.1 --port=9418 --base-path=$PWD --export-all > daemon 2>&1 & pids="$pids $!"
        for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/9418) 2>/dev/null && break; sleep .05; done
        G=git://127.0.0.1/repo
        build -t g $G#main:dir && [ $(caisson run --rm $N g cat /f) = one ] || { cat log; exit 8; }
        build -t g $G#other:dir && [ $(caisson run --rm $N g cat /f) = two ] || { cat log; exit 9; }
        for keep in 0 1; do printf 'FROM busybox\nCOPY . /c\n' | build -t g -f - --build-arg BUILDKIT_CONTEXT_KEEP_GIT_DIR=$keep $G#main || { cat log; exit 23; }
            [ "$(caisson run --rm $N g sh -c 'test -e /c/.git/HEAD && echo 1 || echo 0')" = $keep ] || exit 24; done
        # The same as plain files of a web server, which know no part of a history.
        git clone -q --bare repo web/plain.git; git -C web/plain.git update-server-info
        for ref in main:dir '' $(git -C repo rev-parse main):dir; do printf 'FROM busybox\nCOPY . /c\n' | build -t g -f - $U/plain.git#$ref && caisson run --rm $N g sh -c 'cat /c/f /c/dir/f 2> /dev/null | grep -q one' || { echo $ref; cat log; exit 25; }; done
        for remote in $G $U/plain.git; do build $remote#gone && exit 26; grep -q "repository $remote does not contain ref gone" log || { cat log; exit 27; }; done
        build -t g $G#main:out && exit 10; grep -q 'has no directory out' log || { cat log; exit 11; }
        commit=$(git -C repo rev-parse other)
        printf "FROM busybox
ADD $G#$commit /src
ADD --keep-git-dir=true $G?ref=main /kept
" > ctx/Dockerfile
        build -t g ctx || { cat log; cat daemon; exit 12; }
        caisson run --rm $N g sh -c '[ $(cat /src/dir/f) = two ] && [ ! -e /src/.git ] && [ -d /kept/.git ] && [ $(cat /kept/dir/f) = one ]' || exit 13
        for i in $(seq 100); do [ -z "$(ls root/tmp)" ] && exit; sleep .05; done; find root/tmp | head; exit 14"#,
    );
}
