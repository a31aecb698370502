//! The hub in a real browser, from signing up to somebody else's pull. Headless Chromium is driven over
//! WebDriver, which is JSON over HTTP: curl speaks it.

use testkit::{Sandbox, can_run, check_in};

/// `open PATH` opens a page; `fill CSS TEXT`, `click CSS` and `text CSS` are for an element, which is
/// waited for; `at PATH` waits for an address; `script CODE` runs in the page. `quiet` fails where the
/// page complained on the browser's console.
const TOOLS: &str = r#"
    ip link set lo up; export HOME=$PWD; pids=; U=http://127.0.0.1:5000 W=http://127.0.0.1:9515
    trap 'curl -s -X DELETE $S >/dev/null; kill $pids 2>/dev/null; wait' EXIT
    caisson registry serve --root hub >hub.out 2>hub.log & pids=$!
    TMPDIR=$PWD chromedriver --port=9515 --log-path=driver.log >/dev/null 2>&1 & pids="$pids $!"
    waits() { for i in $(seq 200); do "$@" && return; sleep .05; done; echo "never: $*"; tail -n 3 driver.log; false; }
    waits curl -sf -o /dev/null $W/status && waits curl -sf -o /dev/null $U/health || exit 99
    wd() { curl -s -X $1 -H 'Content-Type: application/json' ${3:+--data-binary "$3"} $S/$2; }
    # browser LANGUAGE [FLAG…] begins a browser of its own, with no cookies.
    browser() {
        local flags=; for flag in --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --window-size=1000,900 --lang=$1 --accept-lang=$1 "${@:2}"; do flags="$flags,\"$flag\""; done
        [ -z "$S" ] || curl -s -X DELETE $S >/dev/null
        S=$W/session/$(curl -s -X POST -H 'Content-Type: application/json' -d "{\"capabilities\":{\"alwaysMatch\":{\"browserName\":\"chrome\",\"goog:loggingPrefs\":{\"browser\":\"ALL\"},\"goog:chromeOptions\":{\"binary\":\"/usr/bin/chromium\",\"args\":[${flags#,}]}}}}" $W/session | sed -n 's/.*"sessionId":"\([^"]*\)".*/\1/p')
        [ $S != $W/session/ ] || { echo 'no browser'; tail driver.log; exit 98; }
    }
    value() { sed -n 's/^{"value":"\{0,1\}\(.*[^"]\)"\{0,1\}}$/\1/p' | sed 's/\\u003C/</g'; }
    element() { wd POST element "{\"using\":\"css selector\",\"value\":\"$1\"}" | sed -n 's/.*"element-[^"]*":"\([^"]*\)".*/\1/p'; }
    there() { E=$(element "$1"); [ -n "$E" ]; }
    open() { wd POST url "{\"url\":\"$U$1\"}" >/dev/null; }
    fill() { waits there "$1" && wd POST element/$E/clear '{}' >/dev/null && wd POST element/$E/value "{\"text\":\"$2\"}" | grep -q '"value":null' || { echo "cannot fill $1"; exit 97; }; }
    click() { waits there "$1" && wd POST element/$E/click '{}' | grep -q '"value":null' || { echo "cannot click $1"; exit 96; }; }
    text() { waits there "$1" && wd GET element/$E/text | value; }
    is_at() { [ "$(wd GET url | value)" = "$U$1" ]; }
    at() { waits is_at "$1" || { wd GET url; exit 95; }; }
    script() { wd POST execute/sync "{\"script\":\"return $1\",\"args\":[]}" | value; }
    has() { text "$1" | grep -qF -- "$2"; }
    shows() { waits has "$1" "$2" || { echo "$1 shows '$(text "$1")', not '$2'"; exit 94; }; }
    quiet() { local said=$(wd POST se/log '{"type":"browser"}'); [ "$said" = '{"value":[]}' ] || { echo "$said"; exit 93; }; }
"#;

fn with_browser(script: &str) {
    if can_run() {
        let script = format!("cat > s.sh <<'EOS'\n{TOOLS}\n{script}\nEOS\nunshare -n bash s.sh");
        check_in(&Sandbox::new(), &script);
    }
}

#[test]
fn a_newcomer_creates_a_repository_and_a_colleague_pulls_from_it() {
    with_browser(
        r#"
        browser en; open /; shows 'main h1' 'Share images with your team'
        click 'header nav a[href=\"/signup\"]'; fill '#user' alice; fill '#password' secret-of-alice; click 'main form button'; at /
        click 'main a[href=\"/new\"]'; fill '#name' ocr-docker-build; fill '#description' 'Reads <b>scans</b> & makes text'; click 'main form button.main'
        at /r/alice/ocr-docker-build; shows main 'Reads <b>scans</b> & makes text'; shows main 'No tag yet'
        # What the page says is typed as it stands there, with our client for the command.
        command() { text "$1" | sed 's/\\n/\n/g'; }
        command 'h2 + .copy code' | grep -qx 'docker pull 127.0.0.1:5000/alice/ocr-docker-build' || exit 2
        command 'h2:nth-of-type(2) + .copy code' | sed 's/^docker login.*/echo secret-of-alice | docker login -u alice --password-stdin 127.0.0.1:5000/; s/ IMAGE / busybox /' >typed
        [ $(grep -c '' typed) = 3 ] && DOCKER_CONFIG=$PWD/alice bash -e typed >out 2>&1 || { cat typed out; exit 3; }
        open /r/alice/ocr-docker-build; shows '#tags ~ .scroll' latest; shows '#tags ~ .scroll' linux/amd64; shows '#tags ~ .scroll' 'by alice'
        click '#tags ~ .scroll a'; at '/tag/alice/ocr-docker-build?tag=latest'; shows main sha256:; quiet
        # Search: on the command line, and as one types.
        caisson search 127.0.0.1:5000/ocr >found; grep -q '^127.0.0.1:5000/alice/ocr-docker-build  *Reads <b>scans</b> & makes text' found || { cat found; exit 4; }
        open /search; fill 'main input[type=search]' scans; waits there '[data-results] a[href=\"/r/alice/ocr-docker-build\"]' || exit 5; at '/search?q=scans'
        fill 'main input[type=search]' nothing-like-it; shows '[data-results]' 'Nothing found'
        # Somebody else signs up, and pulls without being asked for anything.
        browser fr; open /; shows 'main h1' 'Partagez des images'; open /signup; fill '#user' bob; fill '#password' secret-of-bob; click 'main form button'; at /; quiet
        open /r/alice/ocr-docker-build; there 'a[href^=\"/settings\"]' && exit 6; shows main 'Récupérer'
        caisson rmi -f 127.0.0.1:5000/alice/ocr-docker-build busybox >/dev/null; mkdir bob
        DOCKER_CONFIG=$PWD/bob caisson pull -q 127.0.0.1:5000/alice/ocr-docker-build >/dev/null && [ "$(caisson run --rm $N 127.0.0.1:5000/alice/ocr-docker-build echo pulled)" = pulled ] || exit 7
        echo secret-of-bob | DOCKER_CONFIG=$PWD/bob caisson login -u bob --password-stdin 127.0.0.1:5000 >/dev/null 2>&1 && caisson tag 127.0.0.1:5000/alice/ocr-docker-build 127.0.0.1:5000/alice/ocr-docker-build:mine && DOCKER_CONFIG=$PWD/bob caisson push -q 127.0.0.1:5000/alice/ocr-docker-build:mine 2>err && exit 8; grep -q denied err || { cat err; exit 9; }"#,
    );
}

#[test]
fn pages_work_without_scripts_by_keyboard_and_in_the_dark() {
    with_browser(
        r#"
        browser en --blink-settings=scriptEnabled=false
        open /signup; fill '#user' alice; fill '#password' 'secret-of-alice\uE007'; at /
        open /new; fill '#name' 'app\uE007'; at /r/alice/app
        open /search; fill 'main input[type=search]' 'app\uE007'; at '/search?q=app'; shows main alice/app
        open /settings/alice/app; fill '#readme' '# Hello\uE008\uE007\uE000'; click 'main form button.main'; shows main Saved
        # Everything one can act on has a name, every field a label, and the first stop of the tab key skips the menu.
        browser en --force-dark-mode
        open /signin; fill '#user' alice; fill '#password' 'secret-of-alice\uE007'; at /
        for page in / /new /search /account /admin /r/alice/app /settings/alice/app /delete/alice/app; do
            open $page
            [ "$(script "[...document.querySelectorAll('input:not([type=hidden]):not([hidden]),select,textarea')].filter(e => !e.labels.length && !e.ariaLabel).length + [...document.querySelectorAll('a,button')].filter(e => !(e.textContent.trim() || e.ariaLabel || e.querySelector('img[alt]'))).length")" = 0 ] || { echo "$page: something has no name"; exit 2; }
            [ "$(script "document.documentElement.lang + document.querySelectorAll('h1').length")" = en1 ] || { echo "$page: no language or not one heading"; exit 3; }
            [ "$(script "document.querySelector('a,button,input:not([type=hidden])').className")" = skip ] || exit 4
            # Light text on dark, by a browser that asks for it.
            [ "$(script "(c => c[0] + c[1] + c[2] < 200)(getComputedStyle(document.documentElement).backgroundColor.match(/[0-9]+/g).map(Number)) || (c => c[0] + c[1] + c[2] < 200)(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number))")" = true ] || { echo "$page is not dark"; exit 5; }
            [ "$(script "document.documentElement.scrollWidth <= innerWidth")" = true ] || { echo "$page is too wide"; exit 6; }
            quiet
        done"#,
    );
}
