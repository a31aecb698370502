//! The door: sockets, TLS, limits on connections, where a request goes, and a graceful end.

mod certificate;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::{Request as HttpRequest, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::api::{self, error::ApiError};
use super::framing::Framed;
use super::{Event, Registry, Request, ServeError, auth, hub, search};

/// Connections at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 2048;
/// What is read from a socket at once; also the longest head of a request.
const BUFFER_BYTES: usize = 128 * 1024;
/// For the head of a request, and for a handshake: whoever drips bytes does not hold a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long requests under way may take after a signal.
const GRACE: Duration = Duration::from_secs(20);
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Serves until a signal says to stop.
pub(super) async fn listen(registry: &Arc<Registry>) -> Result<(), ServeError> {
    let tls = certificate::acceptor(&registry.settings)?;
    let address = registry.settings.listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(ServeError::io(format!("listen on {address}")))?;
    let failed = || ServeError::io("wait for signals");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed())?;
    announce(registry, &listener).await;
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let door = Arc::new(Door {
        registry: registry.clone(),
        tls,
        pages: hub::router(),
    });
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else {
            break;
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (door, watcher) = (door.clone(), graceful.watcher());
                    tokio::spawn(async move {
                        door.connection(stream, peer.ip(), watcher).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely; those that end give some back.
                    registry.trouble(&format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    drop(listener);
    (registry.report)(&Event::Stopping);
    // Whoever does not end in time is cut; pushes go on after the restart.
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    Ok(())
}

async fn announce(registry: &Registry, listener: &TcpListener) {
    let address = listener.local_addr().unwrap_or(registry.settings.listen);
    let scheme = if registry.settings.is_tls {
        "https"
    } else {
        "http"
    };
    let local = format!("{scheme}://{}", shown(address, registry.settings.is_tls));
    let url = registry.settings.public_url.as_deref().unwrap_or(&local);
    (registry.report)(&Event::Listening {
        url,
        is_fresh: !registry.has_users().await.unwrap_or(true),
        anonymous_writes: registry.settings.anonymous_writes,
    });
}

/// An address as people type it: without the port that is meant anyway, and by this machine's name where it
/// listens on all addresses.
fn shown(address: SocketAddr, is_tls: bool) -> String {
    let host = match address.ip() {
        ip if ip.is_unspecified() => {
            let name = rustix::system::uname();
            let name = name.nodename().to_string_lossy().into_owned();
            if name.is_empty() {
                ip.to_string()
            } else {
                name
            }
        }
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    match (is_tls, address.port()) {
        (true, 443) | (false, 80) => host,
        (_, port) => format!("{host}:{port}"),
    }
}

/// What every connection needs.
struct Door {
    registry: Arc<Registry>,
    tls: Option<TlsAcceptor>,
    pages: axum::Router,
}

impl Door {
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: IpAddr,
        watcher: hyper_util::server::graceful::Watcher,
    ) {
        // Answers are written whole; waiting for more only delays them.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => {
                self.clone().serve(stream, peer, watcher).await;
            }
            Some(tls) => {
                let handshake = tokio::time::timeout(HEAD_TIMEOUT, tls.accept(stream));
                if let Ok(Ok(stream)) = handshake.await {
                    self.clone().serve(stream, peer, watcher).await;
                }
            }
        }
    }

    async fn serve<S>(
        self: Arc<Self>,
        stream: S,
        peer: IpAddr,
        watcher: hyper_util::server::graceful::Watcher,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request: HttpRequest<Incoming>| {
            let door = self.clone();
            async move { Ok::<_, Infallible>(door.answer(request, peer).await) }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .max_buf_size(BUFFER_BYTES)
            .header_read_timeout(HEAD_TIMEOUT);
        let connection = builder.serve_connection(TokioIo::new(Framed::new(stream)), service);
        // A connection that breaks is the client's affair.
        let _ = watcher.watch(connection).await;
    }

    /// Answers a request, counts it and tells of it.
    async fn answer(&self, request: HttpRequest<Incoming>, peer: IpAddr) -> Response<Body> {
        let begin = Instant::now();
        let peer = client(&self.registry, &request, peer);
        let method = request.method().clone();
        let uri = request.uri().clone();
        let (mut response, user) = self.route(request.map(Body::new), peer).await;
        // What somebody pushed is never taken for a page, a style or a script of ours.
        let nosniff = HeaderValue::from_static("nosniff");
        response
            .headers_mut()
            .insert(X_CONTENT_TYPE_OPTIONS, nosniff);
        let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        let status = response.status().as_u16();
        self.registry.metrics.answered(status, micros);
        (self.registry.report)(&Event::Request(&Request {
            peer: &peer.to_string(),
            user: &user,
            method: method.as_str(),
            path: uri.path(),
            status,
            micros,
        }));
        response
    }

    async fn route(&self, request: HttpRequest<Body>, peer: IpAddr) -> (Response<Body>, String) {
        let registry = &self.registry;
        let path = request.uri().path();
        if path == "/v2" || path.starts_with("/v2/") {
            return api::handle(registry, request, peer).await;
        }
        let result = match path {
            "/token" => auth::service::handle(registry, request, peer).await,
            "/v1/search" => {
                let query = request.uri().query().unwrap_or_default();
                search::handle(registry, request.headers(), query, peer).await
            }
            "/health" => health(registry)
                .await
                .map(|response| (response, String::new())),
            "/metrics" if registry.settings.metrics => metrics(registry)
                .await
                .map(|response| (response, String::new())),
            _ => return hub::handle(registry, &self.pages, request, peer).await,
        };
        result.unwrap_or_else(|error| {
            if error.status.is_server_error() {
                registry.trouble(error.message());
            }
            (error.into_response(), String::new())
        })
    }
}

/// Who asks. Behind a proxy that we were told of: whom it says.
fn client(registry: &Registry, request: &HttpRequest<Incoming>, peer: IpAddr) -> IpAddr {
    if !registry.settings.trust_forwarded_for {
        return peer;
    }
    // The last is the one that our proxy wrote; those before it come from anybody.
    let forwarded = request.headers().get_all(FORWARDED_FOR).iter().next_back();
    forwarded
        .and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok())
        .unwrap_or(peer)
}

/// Good while the database answers.
async fn health(registry: &Registry) -> Result<Response<Body>, ApiError> {
    registry.database.count_users().await?;
    Ok(Response::new(Body::from("ok\n")))
}

async fn metrics(registry: &Registry) -> Result<Response<Body>, ApiError> {
    let usage = registry.database.usage().await?;
    let mut response = Response::new(Body::from(registry.metrics.text(&usage)));
    *response.status_mut() = StatusCode::OK;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_people_type_it() {
        for (address, is_tls, expected) in [
            ("127.0.0.1:5000", false, "127.0.0.1:5000"),
            ("10.1.2.3:443", true, "10.1.2.3"),
            ("10.1.2.3:443", false, "10.1.2.3:443"),
            ("10.1.2.3:80", false, "10.1.2.3"),
            ("[fd00::1]:5000", true, "[fd00::1]:5000"),
        ] {
            assert_eq!(shown(address.parse().unwrap(), is_tls), expected);
        }
        assert!(!shown("0.0.0.0:5000".parse().unwrap(), true).contains("0.0.0.0"));
    }
}
