//! What the object-store library speaks HTTP through: the client of this crate, with its resolver, its
//! certificates and the environment's proxies. It waits in threads, so that no second stack of HTTP and
//! TLS comes with S3.

use std::io::Read as _;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use ureq::Agent;

/// What is read from S3 at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Makes the clients.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(crate::http::storage_agent())))
    }
}

#[derive(Debug)]
struct Service(Agent);

fn kind_of(error: &ureq::Error) -> HttpErrorKind {
    match error {
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Io(_) | ureq::Error::Protocol(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    }
}

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let agent = self.0.clone();
        let send = move || {
            let request = ureq::http::Request::from_parts(parts, ());
            match body.is_empty() && !request.headers().contains_key("content-length") {
                true => agent.run(request),
                false => {
                    let (parts, ()) = request.into_parts();
                    agent.run(ureq::http::Request::from_parts(parts, &body[..]))
                }
            }
        };
        let answer = tokio::task::spawn_blocking(send)
            .await
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?
            .map_err(|error| HttpError::new(kind_of(&error), error))?;
        let (parts, body) = answer.into_parts();
        Ok(HttpResponse::from_parts(parts, stream_of(body)))
    }
}

/// A body that is read when somebody wants more of it: whoever is slow holds no thread meanwhile.
fn stream_of(body: ureq::Body) -> HttpResponseBody {
    let reader = body.into_with_config().limit(u64::MAX).reader();
    let pieces = stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        let read = move || {
            let mut piece = vec![0; PIECE_BYTES];
            let read = reader.read(&mut piece);
            read.map(|count| {
                piece.truncate(count);
                (Bytes::from(piece), reader)
            })
        };
        let read = tokio::task::spawn_blocking(read).await;
        match read.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            Ok((piece, _)) if piece.is_empty() => None,
            Ok((piece, reader)) => Some((Ok(piece), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let body = SyncBody(std::sync::Mutex::new(Body::from_stream(pieces)));
    HttpResponseBody::new(body)
}

/// The library wants a body that threads may share; nobody does, and a lock says so.
struct SyncBody(std::sync::Mutex<Body>);

impl http_body::Body for SyncBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, HttpError>>> {
        let body = self.get_mut().0.get_mut();
        let body = body.unwrap_or_else(std::sync::PoisonError::into_inner);
        std::pin::Pin::new(body)
            .poll_frame(context)
            .map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))
    }
}
