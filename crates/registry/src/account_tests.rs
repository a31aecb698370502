//! Signing in and searching, against a registry with a token service of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use types::reference::Reference;

use crate::{Account, Client, Credentials, Registries, RegistryError, Selector, TAGS_MAX};

/// What came: request line, authorization, body.
type Seen = Arc<Mutex<Vec<(String, String, String)>>>;
type Answer = (u16, Vec<String>, String);

/// One connection a request, answered by method and path, authorization and body.
fn serve(answer: impl Fn(&str, &str, &str) -> Answer + Send + 'static) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let seen = Seen::default();
    let log = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut first = String::new();
            if reader.read_line(&mut first).is_err() {
                continue;
            }
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                let _ = reader.read_line(&mut line);
                let Some((name, value)) = line.trim().split_once(':') else {
                    break;
                };
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
            let mut body = String::new();
            let length = header("content-length").parse().unwrap_or(0);
            let _ = reader.take(length).read_to_string(&mut body);
            let request = first.rsplit_once(' ').map_or("", |(request, _)| request);
            let (status, lines, text) = answer(request, &header("authorization"), &body);
            log.lock()
                .unwrap()
                .push((request.to_owned(), header("authorization"), body));
            let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
            let length = text.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\nConnection: close\r\n{lines}Content-Length: {length}\r\n\r\n{text}"
            );
        }
    });
    (host, seen)
}

fn client(credentials: Credentials) -> Client {
    Client::new(Registries {
        credentials,
        ..Registries::default()
    })
    .with_back_off(Duration::from_millis(1))
}

const BASIC: &str = "Basic bWU6c2VjcmV0";

#[test]
fn a_password_is_tried_before_it_is_kept() {
    let (host, _) = serve(|_, authorization, _| match authorization {
        BASIC => (200, vec![], "{}".into()),
        _ => (
            401,
            vec!["WWW-Authenticate: Basic realm=\"x\"".into()],
            String::new(),
        ),
    });
    let client = client(Credentials::default());
    let good = Account::new("me", "secret");
    assert_eq!(client.login(&host, &good).unwrap(), good);
    let error = client
        .login(&host, &Account::new("me", "wr0ng"))
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("failed with status: 401 Unauthorized"),
        "{text}"
    );
    assert!(!text.contains("wr0ng"));
}

/// A registry with a token service beside it, which changes passwords for identity tokens.
fn with_tokens() -> (String, Seen) {
    let own = Arc::new(Mutex::new(String::new()));
    let shared = own.clone();
    let (host, seen) = serve(move |request, authorization, body| {
        let host = shared.lock().unwrap().clone();
        let ask = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"");
        match request {
            _ if request.starts_with("GET /token") && authorization == BASIC => {
                (200, vec![], r#"{"token":"T","refresh_token":"R"}"#.into())
            }
            "POST /token" if body.contains("refresh_token=R&grant_type=refresh_token") => {
                (200, vec![], r#"{"access_token":"T"}"#.into())
            }
            _ if request.contains("/token") => (401, vec![], String::new()),
            _ if authorization == "Bearer T" => (200, vec![], r#"{"schemaVersion":2}"#.into()),
            _ => (401, vec![ask], String::new()),
        }
    });
    *own.lock().unwrap() = host.clone();
    (host, seen)
}

#[test]
fn an_identity_token_takes_the_passwords_place() {
    let (host, seen) = with_tokens();
    let anonymous = client(Credentials::default());
    let kept = anonymous
        .login(&host, &Account::new("me", "secret"))
        .unwrap();
    assert_eq!(kept, Account::with_identity_token("me".into(), "R".into()));
    let error = anonymous
        .login(&host, &Account::new("me", "no"))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("unauthorized: incorrect username or password")
    );
    let mut credentials = Credentials::default();
    credentials.insert(&host, kept);
    let client = client(credentials);
    let name = Reference::parse_normalized(&format!("{host}/a:1")).unwrap();
    let repository = client.repository(&name).unwrap();
    repository.manifest(Selector::of(&name)).unwrap();
    let seen = seen.lock().unwrap();
    let (_, authorization, form) = seen
        .iter()
        .find(|(first, ..)| first.starts_with("POST"))
        .unwrap();
    assert_eq!(authorization, "");
    assert!(
        form.starts_with("scope=repository%3Aa%3Apull&service=s&"),
        "{form}"
    );
    // No address has it in it, where logs would keep it.
    assert!(
        seen.iter()
            .all(|(first, ..)| !first.contains("refresh_token="))
    );
}

#[test]
fn an_identity_token_does_not_follow_a_redirect_elsewhere() {
    let (elsewhere, taken) = serve(|_, _, _| (200, vec![], r#"{"access_token":"T"}"#.into()));
    let own = Arc::new(Mutex::new(String::new()));
    let shared = own.clone();
    let (host, _) = serve(move |request, _, _| {
        let host = shared.lock().unwrap().clone();
        let ask = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"");
        match request.contains("/token") {
            true => (
                307,
                vec![format!("Location: http://{elsewhere}/token")],
                String::new(),
            ),
            false => (401, vec![ask], String::new()),
        }
    });
    *own.lock().unwrap() = host.clone();
    let mut credentials = Credentials::default();
    credentials.insert(&host, Account::with_identity_token("me".into(), "R".into()));
    let client = client(credentials);
    let name = Reference::parse_normalized(&format!("{host}/a:1")).unwrap();
    let repository = client.repository(&name).unwrap();
    let refused = repository.manifest(Selector::of(&name));
    assert!(
        matches!(refused, Err(RegistryError::Refused { .. })),
        "{refused:?}"
    );
    assert!(taken.lock().unwrap().is_empty());
}

#[test]
fn a_search_asks_the_hub_or_looks_through_the_catalog() {
    let (hub, _) = serve(|request, _, _| {
        match request {
        "GET /v1/search?q=oc%20r&n=2" => (
            200,
            vec![],
            r#"{"num_results":3,"results":[{"name":"me/ocr","description":"a\u001b[31m","star_count":3},{"name":"b","is_official":true},{"name":"c"}]}"#.into(),
        ),
        _ => (500, vec![], String::new()),
    }
    });
    let client = client(Credentials::default());
    let found = client.search(&hub, "oc r", 2).unwrap().repositories;
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].name.as_str(), found[0].stars), ("me/ocr", 3));
    assert_eq!(found[0].description, "a [31m");
    assert!(found[1].is_official);
    let (plain, seen) = serve(|request, _, _| match request {
        "GET /v2/_catalog?n=1000" => (
            200,
            vec!["Link: </v2/_catalog?n=2&last=b>; rel=\"next\"".into()],
            r#"{"repositories":["ocr","b"]}"#.into(),
        ),
        "GET /v2/_catalog?n=2&last=b" => (200, vec![], r#"{"repositories":["me/ocr"]}"#.into()),
        _ => (404, vec![], "404 page not found".into()),
    });
    let names: Vec<String> = client
        .search(&plain, "ocr", 25)
        .unwrap()
        .repositories
        .into_iter()
        .map(|one| one.name)
        .collect();
    assert_eq!(names, ["ocr", "me/ocr"]);
    assert_eq!(seen.lock().unwrap().len(), 3);
    let (html, _) = serve(|_, _, _| (200, vec![], "<html>Welcome</html>".into()));
    let error = client.search(&html, "x", 1).unwrap_err();
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error}");
    // JSON of some other service is no empty list, and a catalog without an end is not read to it.
    let (other, _) = serve(|_, _, _| (200, vec![], "{}".into()));
    let error = client.search(&other, "x", 1).unwrap_err().to_string();
    assert!(error.contains("its catalog is no list"), "{error}");
    let (endless, seen) = serve(|request, _, _| {
        let last: usize = request
            .rsplit('=')
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        let next = format!("Link: </v2/_catalog?last={}>; rel=\"next\"", last + 1);
        match request.contains("_catalog") {
            true => (200, vec![next], r#"{"repositories":["a","b"]}"#.into()),
            false => (404, vec![], String::new()),
        }
    });
    let found = client.search(&endless, "ocr", 25).unwrap();
    assert_eq!((found.repositories.len(), found.names_read), (0, Some(100)));
    assert_eq!(seen.lock().unwrap().len(), 51);
}

#[test]
fn tags_come_page_by_page_and_end() {
    let (host, seen) = serve(|request, _, _| match request {
        "GET /v2/a/tags/list?n=1000" => (
            200,
            vec!["Link: <https://elsewhere.lan/v2/b/tags/list?n=1&last=x>; rel=\"next\"".into()],
            r#"{"tags":["x"]}"#.into(),
        ),
        "GET /v2/a/tags/list?n=1&last=x" => (200, vec![], r#"{"tags":["y"]}"#.into()),
        _ => (
            200,
            vec!["Link: </v2/e/tags/list?n=1>; rel=\"next\"".into()],
            r#"{"tags":[]}"#.into(),
        ),
    });
    let client = client(Credentials::default());
    let tags = |path: &str| {
        let name = Reference::parse_normalized(&format!("{host}/{path}")).unwrap();
        client.repository(&name).unwrap().tags()
    };
    let whole = tags("a").unwrap();
    assert_eq!(
        (whole.tags, whole.is_whole),
        (vec!["x".to_owned(), "y".to_owned()], true)
    );
    let before = seen.lock().unwrap().len();
    assert!(matches!(tags("e"), Err(RegistryError::Protocol { .. })));
    // A page that leads to itself is not asked for again and again.
    assert_eq!(seen.lock().unwrap().len(), before + 2);
}

#[test]
fn a_list_of_tags_that_is_too_long_is_said_to_be_cut() {
    let (host, _) = serve(|request, _, _| {
        let last: usize = request
            .rsplit('=')
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(0);
        let first = if request.ends_with("?n=1000") {
            0
        } else {
            last
        };
        let tags: Vec<String> = (first..first + 40_000)
            .map(|n| format!("\"t{n}\""))
            .collect();
        let next = format!(
            "Link: </v2/a/tags/list?last={}>; rel=\"next\"",
            first + 40_000
        );
        (
            200,
            vec![next],
            format!("{{\"tags\":[{}]}}", tags.join(",")),
        )
    });
    let client = client(Credentials::default());
    let name = Reference::parse_normalized(&format!("{host}/a")).unwrap();
    let repository = client.repository(&name).unwrap();
    let list = repository.tags().unwrap();
    assert_eq!((list.tags.len(), list.is_whole), (TAGS_MAX, false));
    let error = repository.all_tags().unwrap_err().to_string();
    assert!(
        error.ends_with("has more than 100000 tags; name those to pull"),
        "{error}"
    );
}
