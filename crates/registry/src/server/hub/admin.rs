//! The administrator's page: what there is, and collection.

use askama::Template;

use super::{Answer, Desk, Page, Refusal, page, words};
use crate::server::collection;
use crate::server::database::accounts::Person;
use crate::server::database::audit::AuditRow;
use crate::server::database::collect::Usage;

const PEOPLE_PAGE: i64 = 100;
const AUDIT_PAGE: i64 = 100;

#[derive(Template)]
#[template(path = "admin.html")]
struct Admin {
    page: Page,
    usage: Usage,
    bytes: String,
    people: Vec<Person>,
    next: Option<String>,
    done: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    page: Page,
    text: String,
    rows: Vec<AuditRow>,
    previous: Option<String>,
    next: Option<String>,
}

async fn render(desk: &Desk, done: String) -> Answer {
    let database = &desk.registry.database;
    let usage = database.usage().await?;
    let after = desk.fields.get("after");
    let people = database.users(after, PEOPLE_PAGE).await?;
    let is_full = people.len() as i64 == PEOPLE_PAGE;
    let last = people.last().filter(|_| is_full);
    page(&Admin {
        page: desk.page(),
        usage,
        bytes: words::size(usage.bytes),
        next: last.map(|last| format!("/admin?after={}#users", last.name)),
        people,
        done,
    })
}

/// Who did what, the latest first.
pub(super) async fn audit(desk: Desk) -> Answer {
    require(&desk)?;
    let text: String = desk.fields.get("q").chars().take(200).collect();
    let number = desk.fields.page();
    let offset = (number - 1) * AUDIT_PAGE;
    let database = &desk.registry.database;
    let mut rows = database.deeds(&text, AUDIT_PAGE + 1, offset).await?;
    let has_more = rows.len() as i64 > AUDIT_PAGE;
    rows.truncate(usize::try_from(AUDIT_PAGE).unwrap_or_default());
    let link = |number: i64| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("q", &text)
            .append_pair("page", &number.to_string());
        format!("/admin/audit?{}", query.finish())
    };
    page(&Audit {
        page: desk.page(),
        rows,
        previous: (number > 1).then(|| link(number - 1)),
        next: has_more.then(|| link(number + 1)),
        text: text.clone(),
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
    desk.note("admin.collect", "", &format!("{} blobs", collected.blobs))
        .await?;
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
