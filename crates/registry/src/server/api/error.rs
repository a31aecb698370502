//! Answers that say no, in the words of the specification (section "Error Codes").

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};

use crate::server::database::DatabaseError;
use crate::server::storage::StorageError;

/// A refusal: what the client is told, and what it is told it with.
#[derive(Debug)]
pub(crate) struct ApiError {
    /// The status of HTTP.
    pub(crate) status: StatusCode,
    code: &'static str,
    message: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ApiError {
    /// A refusal with one of the specification's codes.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            headers: Vec::new(),
        }
    }

    /// 400 with a code.
    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 404 with a code.
    pub(crate) fn missing(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// The same with one more header; a value that HTTP cannot carry is left out.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The answer.
    pub(crate) fn into_response(self) -> Response<Body> {
        let document = serde_json::json!({
            "errors": [{"code": self.code, "message": self.message, "detail": null}]
        });
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }

    /// What went wrong, for the log.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        if error.is_full() {
            return StorageError::Full.into();
        }
        // The cause holds paths of ours and goes to the log alone.
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            format!("the registry {error}; its log says why"),
        )
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Unknown => {
                Self::missing("BLOB_UPLOAD_UNKNOWN", "there is no such upload (any more)")
            }
            StorageError::Full => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "UNKNOWN",
                "the registry's disk is full; nothing of this upload was kept as a blob",
            ),
            StorageError::Cut => Self::bad(
                "BLOB_UPLOAD_INVALID",
                "the body ended early; ask the upload where to go on",
            ),
            StorageError::TooLarge { limit } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "SIZE_INVALID",
                format!("a blob may have at most {limit} bytes here"),
            ),
            StorageError::Mismatch { found } => Self::bad(
                "DIGEST_INVALID",
                format!("the uploaded content has the digest {found}"),
            ),
            StorageError::Busy => Self::new(
                StatusCode::CONFLICT,
                "BLOB_UPLOAD_INVALID",
                "another request is writing to this upload",
            ),
            StorageError::Database(error) => error.into(),
            StorageError::Io { operation, .. } => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "UNKNOWN",
                format!("the registry cannot {operation}; its log says why"),
            ),
        }
    }
}
