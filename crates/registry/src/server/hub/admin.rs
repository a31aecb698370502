//! The administrator's page: what there is, and collection.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;

use super::{Page, Refusal, Shared, Visitor, finish, page, words};
use crate::server::Registry;
use crate::server::collection;
use crate::server::database::collect::Usage;

#[derive(Template)]
#[template(path = "admin.html")]
struct Admin {
    page: Page,
    usage: Usage,
    bytes: String,
    done: String,
}

async fn render(
    registry: &Registry,
    visitor: &Visitor,
    done: String,
) -> Result<Response<Body>, Refusal> {
    let usage = registry.database.usage().await?;
    page(&Admin {
        page: Page::new(registry, visitor),
        usage,
        bytes: words::size(usage.bytes),
        done,
    })
}

fn require(visitor: &Visitor) -> Result<(), Refusal> {
    match (visitor.is_admin(), &visitor.user) {
        (true, _) => Ok(()),
        (false, Some(_)) => Err(Refusal::Denied),
        (false, None) => Err(Refusal::SignIn),
    }
}

pub(super) async fn show(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
) -> Response<Body> {
    let result = async {
        require(&visitor)?;
        render(&registry, &visitor, String::new()).await
    };
    finish(&registry, &visitor, result.await)
}

pub(super) async fn collect(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
) -> Response<Body> {
    let result = async {
        require(&visitor)?;
        let registry: &Arc<Registry> = &registry;
        let collected = collection::collect(registry)
            .await
            .map_err(Refusal::Trouble)?;
        let words = visitor.words;
        let done = format!(
            "{} {} {} {} {} {}",
            words.collected,
            collected.blobs,
            words.blobs_removed,
            words::size(collected.bytes as i64),
            collected.marked,
            words.blobs_marked,
        );
        render(registry, &visitor, done).await
    };
    finish(&registry, &visitor, result.await)
}
