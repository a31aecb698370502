//! The administrator's page: what there is, and collection.

use askama::Template;

use super::{Answer, Desk, Page, Refusal, page, words};
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

async fn render(desk: &Desk, done: String) -> Answer {
    let usage = desk.registry.database.usage().await?;
    page(&Admin {
        page: desk.page(),
        usage,
        bytes: words::size(usage.bytes),
        done,
    })
}

fn require(desk: &Desk) -> Result<(), Refusal> {
    desk.user()?;
    match desk.visitor.is_admin() {
        true => Ok(()),
        false => Err(Refusal::Denied),
    }
}

pub(super) async fn show(desk: Desk) -> Answer {
    require(&desk)?;
    render(&desk, String::new()).await
}

pub(super) async fn collect(desk: Desk) -> Answer {
    require(&desk)?;
    let collected = collection::collect(&desk.registry).await;
    let collected = collected.map_err(Refusal::Trouble)?;
    let words = desk.visitor.words;
    let done = format!(
        "{} {} {} {} {} {}",
        words.collected,
        collected.blobs,
        words.blobs_removed,
        words::size(collected.bytes as i64),
        collected.marked,
        words.blobs_marked,
    );
    render(&desk, done).await
}
