//! Pushes against a registry of ours that breaks off, sends elsewhere, refuses and lies.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use storage::blobs::digest_of;
use types::digest::Digest;
use types::reference::Reference;

use crate::{
    BlobContent, BlobSource, Client, Registries, RegistryError, Repository, Selector, Uploaded,
};

/// How the registry behaves.
#[derive(Clone, Default)]
struct Habits {
    /// Connections with a `PATCH` are cut when so many of its bytes came, once each.
    cuts: Vec<usize>,
    /// The largest body that is taken.
    body_max: Option<usize>,
    /// `Location` is an absolute address with a query.
    absolute: bool,
    /// Uploads go to this origin.
    elsewhere: Option<String>,
    /// The token that is wanted.
    token: Option<&'static str>,
    /// What is answered to the first requests, whatever they are.
    trouble: Vec<&'static str>,
    /// An upload is forgotten when it breaks off.
    forgets: bool,
    /// A digest that is claimed for all that is kept.
    lies: Option<String>,
}

#[derive(Default)]
struct Kept {
    habits: Habits,
    port: u16,
    /// Method and path of each request, and what it was authorized with.
    seen: Vec<(String, String, String)>,
    upload: Vec<u8>,
    known: bool,
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, Vec<u8>>,
}

struct Fake(Arc<Mutex<Kept>>);

impl Fake {
    fn new(habits: Habits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = Arc::new(Mutex::new(Kept {
            habits,
            port,
            ..Kept::default()
        }));
        let shared = kept.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &mut shared.lock().unwrap());
            }
        });
        Self(kept)
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.0.lock().unwrap().port)
    }

    fn requests(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap();
        let seen = kept.seen.iter();
        seen.map(|(method, path, _)| format!("{method} {path}"))
            .collect()
    }
}

fn serve(mut stream: TcpStream, kept: &mut Kept) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    // A TLS greeting is no text: the client tries HTTPS first.
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let header = |name: &str| headers.get(name).map_or("", String::as_str);
    let authorization = header("authorization").to_owned();
    kept.seen
        .push((method.clone(), target.clone(), authorization.clone()));
    let length: usize = header("content-length").parse().unwrap_or(0);
    let mut answer = |status: &str, lines: &[String]| {
        let head = lines
            .iter()
            .map(|line| format!("{line}\r\n"))
            .collect::<String>();
        let text =
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n{head}\r\n");
        stream.write_all(text.as_bytes()).ok()
    };
    if kept.habits.body_max.is_some_and(|max| length > max) {
        let mut rest = Vec::new();
        let _ = reader.take(length as u64).read_to_end(&mut rest);
        return answer("413 Payload Too Large", &[]);
    }
    let cut =
        (method == "PATCH" && !kept.habits.cuts.is_empty()).then(|| kept.habits.cuts.remove(0));
    let mut body = Vec::new();
    reader
        .take(cut.unwrap_or(length) as u64)
        .read_to_end(&mut body)
        .ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    if let Some(status) = kept.habits.trouble.pop() {
        return answer(status, &[]);
    }
    if path == "/token" {
        let text =
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 15\r\n\r\n{\"token\":\"abc\"}";
        return stream.write_all(text.as_bytes()).ok();
    }
    if kept
        .habits
        .token
        .is_some_and(|token| authorization != token)
    {
        let realm = format!("http://127.0.0.1:{}/token", kept.port);
        let line =
            format!("WWW-Authenticate: Bearer realm=\"{realm}\",scope=\"repository:a:pull\"");
        return answer("401 Unauthorized", &[line]);
    }
    let own = format!("http://127.0.0.1:{}", kept.port);
    let location = match (&kept.habits.elsewhere, kept.habits.absolute) {
        (Some(origin), _) => format!("Location: {origin}/v2/a/up?state=x"),
        (None, true) => format!("Location: {own}/v2/a/up?state=x%2F"),
        (None, false) => "Location: /v2/a/up".to_owned(),
    };
    let range = format!(
        "Range: 0-{}",
        (kept.upload.len() + body.len()).saturating_sub(1)
    );
    let last = path.rsplit('/').next()?.to_owned();
    match method.as_str() {
        "POST" if query.contains("from=full") => answer("201 Created", &[]),
        "POST" if query.contains("from=secret") => answer("403 Forbidden", &[]),
        "POST" => {
            kept.upload.clear();
            kept.known = true;
            answer("202 Accepted", &[location])
        }
        "PATCH" => {
            let first = header("content-range").split('-').next().unwrap_or("");
            if !kept.known {
                return answer("404 Not Found", &[]);
            }
            if first != kept.upload.len().to_string() {
                return answer("416 Range Not Satisfiable", &[location]);
            }
            kept.upload.extend(&body);
            kept.known = cut.is_none() || !kept.habits.forgets;
            if cut.is_some() {
                return None;
            }
            answer("202 Accepted", &[location, range])
        }
        "GET" if path.ends_with("/up") && kept.known => {
            answer("204 No Content", &[location, range])
        }
        "PUT" if path.ends_with("/up") => {
            kept.upload.extend(&body);
            let digest = digest_of(&kept.upload).to_string();
            if !query.ends_with(&digest.replace(':', "%3A")) {
                return answer("400 Bad Request", &[]);
            }
            kept.blobs
                .insert(digest.clone(), std::mem::take(&mut kept.upload));
            let told = kept.habits.lies.clone().unwrap_or(digest);
            answer("201 Created", &[format!("Docker-Content-Digest: {told}")])
        }
        "PUT" => {
            kept.manifests.insert(last, body);
            answer("201 Created", &[])
        }
        _ if kept.blobs.contains_key(&last) => answer("200 OK", &[]),
        _ => answer("404 Not Found", &[]),
    }
}

struct Bytes(Vec<u8>);

impl BlobContent for Bytes {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(&self.0[usize::try_from(offset).unwrap()..]))
    }
}

fn client() -> Client {
    Client::new(Registries::default()).with_back_off(Duration::from_millis(1))
}

fn name(fake: &Fake, rest: &str) -> Reference {
    Reference::parse_normalized(&format!("{}/{rest}", fake.host())).unwrap()
}

fn bytes(size: usize) -> (Bytes, Digest) {
    let bytes: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
    let digest = digest_of(&bytes);
    (Bytes(bytes), digest)
}

fn send(
    repository: &Repository<'_>,
    (content, digest): &(Bytes, Digest),
    from: Option<&str>,
) -> Result<Uploaded, RegistryError> {
    let size = content.0.len() as u64;
    // As a push begins, which finds out that this registry speaks plain HTTP.
    assert!(!repository.has_blob(digest)?);
    let source = BlobSource {
        digest,
        size,
        content,
    };
    repository.upload(&source, from)
}

const LARGE: usize = 6 << 20;

#[test]
fn a_blob_is_mounted_or_sent_in_one_or_in_pieces() {
    let fake = Fake::new(Habits::default());
    let client = client();
    let reference = name(&fake, "a:1");
    let repository = client.push_repository(&reference).unwrap();
    let (small, large) = (bytes(1000), bytes(LARGE));
    assert_eq!(send(&repository, &small, None).unwrap(), Uploaded::Sent);
    assert!(repository.has_blob(&small.1).unwrap());
    assert_eq!(
        send(&repository, &large, Some("secret")).unwrap(),
        Uploaded::Sent
    );
    assert_eq!(
        send(&repository, &bytes(7), Some("full")).unwrap(),
        Uploaded::Mounted
    );
    assert_eq!(send(&repository, &bytes(0), None).unwrap(), Uploaded::Sent);
    repository
        .put_manifest(Selector::of(&reference), "m", b"{}", &digest_of(b"{}"))
        .unwrap();
    let kept = fake.0.lock().unwrap();
    assert_eq!(kept.blobs[&large.1.to_string()], large.0.0);
    assert_eq!(kept.manifests["1"], b"{}");
    let methods: Vec<&str> = kept
        .seen
        .iter()
        .map(|(method, ..)| method.as_str())
        .collect();
    let want = [
        "HEAD", "POST", "PUT", "HEAD", "HEAD", "POST", "POST", "PATCH", "PUT", "HEAD",
    ];
    assert_eq!(methods[..10], want);
}

#[test]
fn an_upload_goes_on_where_it_was_cut() {
    for (forgets, absolute) in [(false, true), (true, false)] {
        let fake = Fake::new(Habits {
            cuts: vec![1 << 20, 100_000],
            absolute,
            forgets,
            ..Habits::default()
        });
        let client = client();
        let repository = client.push_repository(&name(&fake, "a")).unwrap();
        let large = bytes(LARGE);
        assert_eq!(send(&repository, &large, None).unwrap(), Uploaded::Sent);
        assert_eq!(
            fake.0.lock().unwrap().blobs[&large.1.to_string()],
            large.0.0
        );
        let requests = fake.requests();
        let again = requests
            .iter()
            .filter(|line| line.starts_with("POST"))
            .count();
        assert_eq!(again, if forgets { 3 } else { 1 }, "{requests:#?}");
        assert!(!absolute || requests.iter().any(|line| line.contains("x%2F&digest=")));
    }
}

#[test]
fn an_upload_that_never_goes_on_is_given_up() {
    let fake = Fake::new(Habits {
        cuts: vec![0; 1000],
        ..Habits::default()
    });
    let client = client();
    let repository = client.push_repository(&name(&fake, "a")).unwrap();
    let error = send(&repository, &bytes(LARGE), None).unwrap_err();
    assert!(
        matches!(error, RegistryError::Interrupted { received: 0, .. }),
        "{error}"
    );
}

#[test]
fn what_is_too_large_goes_in_smaller_pieces_or_is_told() {
    let habits = |max| Habits {
        body_max: Some(max),
        ..Habits::default()
    };
    let (fine, tight) = (Fake::new(habits(5 << 20)), Fake::new(habits(1 << 20)));
    let client = client();
    let repository = client.push_repository(&name(&fine, "a")).unwrap();
    assert_eq!(
        send(&repository, &bytes(LARGE), None).unwrap(),
        Uploaded::Sent
    );
    let repository = client.push_repository(&name(&tight, "a")).unwrap();
    let error = send(&repository, &bytes(LARGE), None).unwrap_err();
    assert!(error.to_string().contains("(413)"), "{error}");
}

#[test]
fn a_token_for_the_push_is_fetched_once_and_stays_with_its_host() {
    let other = Fake::new(Habits::default());
    other.0.lock().unwrap().known = true;
    let fake = Fake::new(Habits {
        token: Some("Bearer abc"),
        elsewhere: Some(format!("http://{}", other.host())),
        ..Habits::default()
    });
    let client = client();
    let repository = client.push_repository(&name(&fake, "a")).unwrap();
    let large = bytes(LARGE);
    assert_eq!(send(&repository, &large, None).unwrap(), Uploaded::Sent);
    let tokens: Vec<String> = fake.requests();
    let tokens: Vec<&String> = tokens
        .iter()
        .filter(|line| line.contains("/token"))
        .collect();
    assert_eq!(tokens, ["GET /token?scope=repository%3Aa%3Apull%2Cpush"]);
    let elsewhere = other.0.lock().unwrap();
    assert_eq!(elsewhere.seen.len(), 2);
    assert!(
        elsewhere
            .seen
            .iter()
            .all(|(.., authorization)| authorization.is_empty())
    );
}

#[test]
fn trouble_passes_and_lies_do_not() {
    let fake = Fake::new(Habits {
        trouble: vec!["503 Service Unavailable", "502 Bad Gateway"],
        lies: Some(digest_of(b"another").to_string()),
        ..Habits::default()
    });
    let client = client();
    let repository = client.push_repository(&name(&fake, "a")).unwrap();
    let error = send(&repository, &bytes(10), None).unwrap_err();
    assert!(
        matches!(error, RegistryError::DigestMismatch { .. }),
        "{error}"
    );
}
