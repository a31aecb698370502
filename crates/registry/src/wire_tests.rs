//! The client against a server of ours that answers as told: cut connections, wrong digests,
//! limits, redirects with credentials, tokens.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use storage::blobs::digest_of;
use types::reference::Reference;

use crate::{Account, Client, Credentials, Registries, RegistryConfig, RegistryError, Selector};

/// A request as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer: head lines and body; `cut` sends only so many bytes of the body.
#[derive(Default)]
struct Reply {
    status: &'static str,
    headers: Vec<String>,
    body: Vec<u8>,
    cut: Option<usize>,
}

fn reply(status: &'static str, headers: &[&str], body: &[u8]) -> Reply {
    let headers = headers.iter().map(|&line| line.to_owned()).collect();
    Reply {
        status,
        headers,
        body: body.to_vec(),
        cut: None,
    }
}

/// A server on a loopback port; one request a connection. It lives until the test process ends.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    fn new(answer: impl Fn(&Seen, usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let Some(request) = read_request(&stream) else {
                    continue;
                };
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    log.len() - 1
                };
                send(&stream, &request, answer(&request, number));
            }
        });
        Self { port, seen }
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn reference(&self, rest: &str) -> Reference {
        Reference::parse_normalized(&format!("{}/{rest}", self.host())).unwrap()
    }
}

fn read_request(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    // A TLS greeting is no text: the client tries HTTPS first.
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Seen {
        method,
        path,
        headers,
    })
}

fn send(mut stream: &TcpStream, request: &Seen, reply: Reply) {
    let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", reply.status);
    for line in &reply.headers {
        head.push_str(&format!("{line}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", reply.body.len()));
    let body = match (request.method.as_str(), reply.cut) {
        ("HEAD", _) => &[][..],
        (_, Some(cut)) => &reply.body[..cut],
        (_, None) => &reply.body[..],
    };
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body));
}

fn client(registries: Registries) -> Client {
    Client::new(registries).with_back_off(Duration::from_millis(1))
}

const MANIFEST: &[u8] = br#"{"schemaVersion":2}"#;
const TYPE: &str = "Content-Type: application/vnd.oci.image.manifest.v1+json; charset=utf-8";

#[test]
fn a_manifest_is_what_its_digest_says_or_refused() {
    let server = Server::new(|request, _| match request.path.as_str() {
        "/v2/a/manifests/lies" => {
            let header = format!("Docker-Content-Digest: {}", digest_of(b"other"));
            reply("200 OK", &[TYPE, &header], MANIFEST)
        }
        "/v2/a/manifests/page" => reply("200 OK", &["Content-Type: text/html"], b"<html>"),
        "/v2/a/manifests/big" => reply("200 OK", &[TYPE], &vec![b' '; (4 << 20) + 1]),
        _ => reply("200 OK", &[TYPE], MANIFEST),
    });
    let client = client(Registries::default());
    let reference = server.reference("a:1");
    let repository = client.repository(&reference).unwrap();
    let fetched = repository.manifest(Selector::of(&reference)).unwrap();
    assert_eq!(
        (fetched.bytes.as_slice(), &fetched.digest),
        (MANIFEST, &digest_of(MANIFEST))
    );
    assert_eq!(
        fetched.media_type,
        "application/vnd.oci.image.manifest.v1+json"
    );
    let seen = server.seen();
    let accept = seen.last().unwrap().header("accept").to_owned();
    for media_type in [
        "oci.image.index",
        "oci.image.manifest",
        "manifest.list",
        "manifest.v2",
    ] {
        assert!(accept.contains(media_type), "{accept}");
    }
    let wrong = digest_of(b"wrong");
    for selector in [Selector::Digest(&wrong), Selector::Tag("lies")] {
        let answer = repository.manifest(selector);
        assert!(
            matches!(answer, Err(RegistryError::DigestMismatch { .. })),
            "{answer:?}"
        );
    }
    let page = repository.manifest(Selector::Tag("page")).unwrap_err();
    assert!(page.to_string().contains("a web page"), "{page}");
    let big = repository.manifest(Selector::Tag("big"));
    assert!(
        matches!(big, Err(RegistryError::TooLarge { .. })),
        "{big:?}"
    );
}

#[test]
fn a_cut_download_goes_on_where_it_was_cut_and_gives_up_in_the_end() {
    let content: Vec<u8> = (0..300_000_u32).map(|n| (n * 31 % 251) as u8).collect();
    let digest = digest_of(&content);
    let body = content.clone();
    // The fourth answer ignores the range, and one that is cut at once makes no progress.
    let server = Server::new(move |request, number| {
        if request.path.contains("broken") {
            return Reply {
                cut: Some(0),
                ..reply("200 OK", &[], &body)
            };
        }
        let range = request.header("range").strip_prefix("bytes=");
        let start: usize = range
            .and_then(|range| range.trim_end_matches('-').parse().ok())
            .unwrap_or(0);
        if start == 0 || number == 3 {
            return Reply {
                cut: Some(start + 100_000),
                ..reply("200 OK", &[], &body)
            };
        }
        let header = format!("Content-Range: bytes {start}-299999/300000");
        let rest = &body[start..];
        let cut = rest.len().min(50_000);
        Reply {
            cut: Some(cut),
            ..reply("206 Partial Content", &[&header], rest)
        }
    });
    let client = client(Registries::default());
    let repository = client.repository(&server.reference("a")).unwrap();
    let mut got = Vec::new();
    repository
        .blob(&digest, 300_000)
        .unwrap()
        .read_to_end(&mut got)
        .unwrap();
    assert_eq!(digest_of(&got), digest);
    let ranges: Vec<String> = server
        .seen()
        .iter()
        .map(|seen| seen.header("range").to_owned())
        .collect();
    assert_eq!(ranges[..3], ["", "bytes=100000-", "bytes=150000-"]);
    let broken = client.repository(&server.reference("broken")).unwrap();
    let error = broken
        .blob(&digest, 300_000)
        .unwrap()
        .read_to_end(&mut got)
        .unwrap_err();
    let error = error
        .into_inner()
        .unwrap()
        .downcast::<RegistryError>()
        .unwrap();
    assert!(
        matches!(*error, RegistryError::Interrupted { received: 0, .. }),
        "{error}"
    );
    let short = repository.blob(&digest, 299_999).unwrap_err();
    assert!(matches!(short, RegistryError::Protocol { .. }), "{short}");
}

#[test]
fn refusals_say_what_they_mean() {
    let server = Server::new(|request, _| {
        let error = |code: &str| {
            format!(r#"{{"errors":[{{"code":"{code}","message":"words of {code}"}}]}}"#)
        };
        match request.path.rsplit('/').next().unwrap() {
            "denied" => reply("403 Forbidden", &[], error("DENIED").as_bytes()),
            "gone" => reply("404 Not Found", &[], error("MANIFEST_UNKNOWN").as_bytes()),
            "limited" => reply(
                "429 Too Many Requests",
                &["Retry-After: 3600"],
                error("TOO").as_bytes(),
            ),
            "down" => reply("503 Service Unavailable", &[], b"<html>"),
            _ => reply("401 Unauthorized", &[], error("UNAUTHORIZED").as_bytes()),
        }
    });
    let client = client(Registries::default());
    let repository = client.repository(&server.reference("team/app")).unwrap();
    let host = server.host();
    for (tag, want) in [
        ("denied", format!("pull access denied for {host}/team/app, repository does not exist or may require 'docker login': words of DENIED")),
        ("private", format!("pull access denied for {host}/team/app, repository does not exist or may require 'docker login': words of UNAUTHORIZED")),
        ("gone", format!("manifest for {host}/team/app:gone not found: manifest unknown: words of MANIFEST_UNKNOWN")),
        ("limited", "toomanyrequests: 127.0.0.1 allows no more requests now; try again in 3600 s: words of TOO".to_owned()),
        ("down", format!("http://{host}/v2/team/app/manifests/down answers 503")),
    ] {
        let error = repository.manifest(Selector::Tag(tag)).unwrap_err();
        assert_eq!(error.to_string(), want);
        assert!(!error.is_unreachable());
    }
    let asked = |tag: &str| {
        server
            .seen()
            .iter()
            .filter(|seen| seen.path.ends_with(tag))
            .count()
    };
    // A server in trouble is asked again, a refusal is not.
    assert_eq!((asked("down"), asked("gone"), asked("limited")), (5, 1, 1));
    let blob = repository.blob(&digest_of(b""), 1).unwrap_err();
    assert!(matches!(blob, RegistryError::AccessDenied { .. }), "{blob}");
}

#[test]
fn a_server_in_trouble_is_asked_again_until_it_answers() {
    let server = Server::new(|_, number| match number {
        0 | 1 => reply("502 Bad Gateway", &[], b""),
        2 => reply("429 Too Many Requests", &["Retry-After: 0"], b""),
        _ => reply("200 OK", &[TYPE], MANIFEST),
    });
    let client = client(Registries::default());
    let repository = client.repository(&server.reference("a")).unwrap();
    assert!(repository.manifest(Selector::Tag("1")).is_ok());
    assert_eq!(server.seen().len(), 4);
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_origin() {
    let content = b"content of the blob";
    let elsewhere = Server::new(move |_, _| reply("200 OK", &[], content));
    let target = format!("Location: http://{}/signed?x=1", elsewhere.host());
    let server = Server::new(move |request, _| match request.header("authorization") {
        "" => reply(
            "401 Unauthorized",
            &["WWW-Authenticate: Basic realm=\"r\""],
            b"",
        ),
        _ if request.path.contains("same") => reply("200 OK", &[], content),
        _ if request.path.contains("local") => reply(
            "307 Temporary Redirect",
            &["Location: /v2/x/blobs/same"],
            b"",
        ),
        _ => reply("307 Temporary Redirect", &[&target], b""),
    });
    let mut credentials = Credentials::default();
    credentials.insert(&server.host(), Account::new("user", "secret"));
    let client = client(Registries {
        credentials,
        ..Registries::default()
    });
    for repository in ["away", "local"] {
        let repository = client.repository(&server.reference(repository)).unwrap();
        let mut got = Vec::new();
        let mut reader = repository
            .blob(&digest_of(content), content.len() as u64)
            .unwrap();
        reader.read_to_end(&mut got).unwrap();
        assert_eq!(got, content);
    }
    let seen = elsewhere.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), "");
    // Within its own origin the account goes along.
    let same: Vec<Seen> = server
        .seen()
        .into_iter()
        .filter(|seen| seen.path.ends_with("same"))
        .collect();
    assert_eq!(same[0].header("authorization"), "Basic dXNlcjpzZWNyZXQ=");
}

#[test]
fn a_token_is_fetched_once_and_only_from_an_honest_realm() {
    let port = Arc::new(Mutex::new(0_u16));
    let own = port.clone();
    let server = Server::new(move |request, _| {
        let own = *own.lock().unwrap();
        if request.path.starts_with("/token") {
            return reply("200 OK", &[], br#"{"token":"abc","expires_in":60}"#);
        }
        if request.header("authorization") == "Bearer abc" {
            return reply("200 OK", &[TYPE], MANIFEST);
        }
        let realm = if request.path.contains("evil") {
            "http://203.0.113.1/token".to_owned()
        } else {
            format!("http://127.0.0.1:{own}/token")
        };
        let header = format!(
            "WWW-Authenticate: Bearer realm=\"{realm}\",service=\"the service\",scope=\"repository:a:pull\""
        );
        reply("401 Unauthorized", &[&header], b"")
    });
    *port.lock().unwrap() = server.port;
    let client = client(Registries::default());
    let repository = client.repository(&server.reference("a")).unwrap();
    for _ in 0..2 {
        repository.manifest(Selector::Tag("1")).unwrap();
    }
    let paths: Vec<String> = server.seen().into_iter().map(|seen| seen.path).collect();
    let token = "/token?scope=repository%3Aa%3Apull&service=the%20service";
    let manifest = "/v2/a/manifests/1";
    assert_eq!(paths, [manifest, token, manifest, manifest]);
    let evil = client.repository(&server.reference("evil")).unwrap();
    let refused = evil.manifest(Selector::Tag("1"));
    assert!(
        matches!(refused, Err(RegistryError::Refused { .. })),
        "{refused:?}"
    );
}

#[test]
fn mirrors_are_asked_first_and_the_registry_in_the_end() {
    let empty = Server::new(|_, _| reply("404 Not Found", &[], b""));
    let full = Server::new(|request, _| match request.path.as_str() {
        "/v2/library/app/manifests/1" => reply("200 OK", &[TYPE], MANIFEST),
        _ => reply("404 Not Found", &[], b""),
    });
    let config = RegistryConfig {
        mirrors: vec![
            "http://127.0.0.1:1".to_owned(),
            format!("http://{}", empty.host()),
        ],
        location: Some(format!("http://{}", full.host())),
        insecure: false,
    };
    let by_name = BTreeMap::from([("docker.io".to_owned(), config)]);
    let client = client(Registries {
        by_name,
        credentials: Credentials::default(),
    });
    let reference = Reference::parse_normalized("app:1").unwrap();
    let repository = client.repository(&reference).unwrap();
    assert!(repository.manifest(Selector::Tag("1")).is_ok());
    assert_eq!(empty.seen().len(), 1);
    let gone = repository.manifest(Selector::Tag("2")).unwrap_err();
    assert!(
        matches!(gone, RegistryError::ManifestUnknown { .. }),
        "{gone}"
    );
    // The one that answered is asked first from then on, and its word is final.
    assert_eq!(empty.seen().len(), 1);
}

#[test]
fn nobody_there_is_told_apart_from_a_refusal() {
    let client = client(Registries::default());
    let reference = Reference::parse_normalized("127.0.0.1:1/a").unwrap();
    let repository = client.repository(&reference).unwrap();
    let error = repository.manifest(Selector::Tag("1")).unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    let missing = client.download("ftp://x/y").err().unwrap();
    assert!(matches!(missing, RegistryError::InvalidUrl { .. }));
}

#[test]
fn a_redirect_without_end_is_given_up() {
    let server = Server::new(|_, _| reply("302 Found", &["Location: /v2/a/manifests/again"], b""));
    let client = client(Registries::default());
    let repository = client.repository(&server.reference("a")).unwrap();
    let error = repository.manifest(Selector::Tag("1")).unwrap_err();
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error}");
}
