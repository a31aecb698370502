//! Pages of a repository: made, shown, described, shared, deleted.

use askama::Template;
use axum::extract::Path;

use super::{Answer, Desk, Page, Refusal, image, markdown, page, page_with_problem, see, words};
use crate::server::auth::Role;
use crate::server::database::organisations::OrganisationRow;
use crate::server::database::repositories::RepositoryRow;
use crate::server::database::webhooks::WebhookRow;
use crate::server::{names, random_hex, webhooks};

const TAGS_PAGE: i64 = 50;
/// Of one repository.
const WEBHOOKS_MAX: usize = 10;
/// As Docker Hub has it.
const README_BYTES_MAX: usize = 25_000;

#[derive(Template)]
#[template(path = "new.html")]
struct New {
    page: Page,
    name: String,
    description: String,
    is_private: bool,
    /// Where one may create a repository beside under one's own name.
    organisations: Vec<OrganisationRow>,
    /// The chosen one; empty is oneself.
    under: String,
    problem: &'static str,
}

/// A line of the list of tags.
struct TagLine {
    name: String,
    digest: String,
    short: String,
    platforms: String,
    size: String,
    pushed_at: i64,
    pushed_by: String,
    pulled_at: Option<i64>,
}

#[derive(Template)]
#[template(path = "repository.html")]
struct Show {
    page: Page,
    row: RepositoryRow,
    readme: String,
    tags: Vec<TagLine>,
    previous: Option<String>,
    next: Option<String>,
    is_admin: bool,
    can_push: bool,
    /// Of whoever is signed in.
    has_star: Option<bool>,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    page: Page,
    row: RepositoryRow,
    members: Vec<(String, String)>,
    webhooks: Vec<WebhookRow>,
    /// Of a webhook that was just made; shown once.
    secret: String,
    problem: &'static str,
    done: &'static str,
}

#[derive(Template)]
#[template(path = "delete.html")]
struct Delete {
    page: Page,
    name: String,
    tag: String,
    problem: &'static str,
}

/// The repository, if the visitor may do so much in it; otherwise it does not exist for them.
async fn find(desk: &Desk, name: &str, needed: Role) -> Result<(RepositoryRow, Role), Refusal> {
    let role = desk.visitor.role(&desk.registry, name).await?;
    if role == Role::None {
        return Err(Refusal::NotFound);
    }
    let row = desk.registry.database.repository(name).await?;
    let row = row.ok_or(Refusal::NotFound)?;
    if role >= needed {
        return Ok((row, role));
    }
    desk.user()?;
    Err(Refusal::Denied)
}

/// Organisations in which the visitor may push, and thus create.
async fn organisations(desk: &Desk) -> Result<Vec<OrganisationRow>, Refusal> {
    let database = &desk.registry.database;
    let mut all = database.organisations_of(desk.user()?).await?;
    all.retain(|row| Role::parse(&row.role) >= Some(Role::Write));
    Ok(all)
}

pub(super) async fn new_form(desk: Desk) -> Answer {
    page(&New {
        organisations: organisations(&desk).await?,
        page: desk.page(),
        name: String::new(),
        description: String::new(),
        is_private: false,
        under: desk.fields.get("under").to_owned(),
        problem: "",
    })
}

pub(super) async fn create(desk: Desk) -> Answer {
    let (registry, words, fields) = (&desk.registry, desk.visitor.words, &desk.fields);
    let description = fields.get("description");
    let is_private = fields.get("visibility") == "private";
    let organisations = organisations(&desk).await?;
    let under = fields.get("under");
    if !under.is_empty() && !organisations.iter().any(|row| row.name == under) {
        return Err(Refusal::Denied);
    }
    // People may write the whole name, as they do in commands.
    let owner = if under.is_empty() {
        desk.user()?
    } else {
        under
    };
    let own = format!("{owner}/");
    let short = fields.get("name").trim_start_matches(&own);
    let name = format!("{own}{short}");
    let problem = if !names::is_repository(&name) {
        words.bad_name
    } else if !names::is_description(description) {
        words.bad_description
    } else {
        let _change = registry.cache.change();
        match registry
            .database
            .create_repository(&name, description, is_private)
            .await?
        {
            true => {
                let detail = if is_private { "private" } else { "public" };
                desk.note("repo.create", &name, detail).await?;
                return Ok(see(&format!("/r/{name}")));
            }
            false => words.name_taken,
        }
    };
    let new = New {
        page: desk.page(),
        name: short.to_owned(),
        description: description.to_owned(),
        is_private,
        under: under.to_owned(),
        organisations,
        problem,
    };
    page_with_problem(&new, problem)
}

pub(super) async fn show(desk: Desk, Path(name): Path<String>) -> Answer {
    let registry = &desk.registry;
    let (row, role) = find(&desk, &name, Role::Read).await?;
    let number = desk.fields.page();
    let offset = (number - 1) * TAGS_PAGE;
    let mut rows = registry.database.tags(&name, TAGS_PAGE + 1, offset).await?;
    let has_more = rows.len() as i64 > TAGS_PAGE;
    rows.truncate(usize::try_from(TAGS_PAGE).unwrap_or_default());
    let mut tags = Vec::with_capacity(rows.len());
    for tag in rows {
        let (platforms, size) = image::summary(registry, &name, &tag).await?;
        let digits = tag.digest.split_once(':').map_or("", |(_, digits)| digits);
        tags.push(TagLine {
            short: digits.chars().take(12).collect(),
            platforms,
            size: words::size(size),
            name: tag.name,
            digest: tag.digest,
            pushed_at: tag.pushed_at,
            pushed_by: tag.pushed_by,
            pulled_at: tag.pulled_at,
        });
    }
    let link = |number: i64| format!("/r/{name}?page={number}#tags");
    let has_star = match desk.visitor.name() {
        "" => None,
        user => Some(registry.database.has_star(&name, user).await?),
    };
    page(&Show {
        has_star,
        page: desk.page(),
        readme: markdown::render(&row.readme),
        row,
        tags,
        previous: (number > 1).then(|| link(number - 1)),
        next: has_more.then(|| link(number + 1)),
        is_admin: role >= Role::Admin,
        can_push: role >= Role::Write,
    })
}

async fn render_settings(
    desk: &Desk,
    name: &str,
    (problem, done): (&'static str, &'static str),
) -> Answer {
    render_with_secret(desk, name, (problem, done), String::new()).await
}

async fn render_with_secret(
    desk: &Desk,
    name: &str,
    (problem, done): (&'static str, &'static str),
    secret: String,
) -> Answer {
    let (row, _) = find(desk, name, Role::Admin).await?;
    render_row(desk, row, (problem, done), secret).await
}

/// The row may have texts that are not kept: what somebody wrote is not lost by being refused.
async fn render_row(
    desk: &Desk,
    row: RepositoryRow,
    (problem, done): (&'static str, &'static str),
    secret: String,
) -> Answer {
    let database = &desk.registry.database;
    let settings = Settings {
        page: desk.page(),
        members: database.members(&row.name).await?,
        webhooks: database.webhooks(&row.name).await?,
        secret,
        row,
        problem,
        done,
    };
    page_with_problem(&settings, problem)
}

pub(super) async fn settings(desk: Desk, Path(name): Path<String>) -> Answer {
    render_settings(&desk, &name, ("", "")).await
}

pub(super) async fn change(desk: Desk, Path(name): Path<String>) -> Answer {
    let (mut row, _) = find(&desk, &name, Role::Admin).await?;
    let words = desk.visitor.words;
    let (description, readme) = (desk.fields.get("description"), desk.fields.raw("readme"));
    row.description = description.to_owned();
    row.readme = readme.replace("\r\n", "\n");
    row.is_private = desk.fields.get("visibility") == "private";
    if !names::is_description(description) || row.readme.len() > README_BYTES_MAX {
        return render_row(&desk, row, (words.bad_description, ""), String::new()).await;
    }
    {
        let _change = desk.registry.cache.change();
        desk.registry.database.describe_repository(&row).await?;
    }
    let detail = if row.is_private { "private" } else { "public" };
    desk.note("repo.change", &name, detail).await?;
    render_settings(&desk, &name, ("", words.saved)).await
}

pub(super) async fn member(desk: Desk, Path(name): Path<String>) -> Answer {
    find(&desk, &name, Role::Admin).await?;
    let database = &desk.registry.database;
    let (user, role) = (
        desk.fields.get("user"),
        Role::parse(desk.fields.get("role")),
    );
    if role.is_some() && database.user(user).await?.is_none() {
        return render_settings(&desk, &name, (desk.visitor.words.no_such_user, "")).await;
    }
    {
        let _change = desk.registry.cache.change();
        database
            .set_member(&name, user, role.map(Role::name))
            .await?;
    }
    let detail = format!("{user} {}", role.unwrap_or(Role::None).name());
    desk.note("repo.member", &name, &detail).await?;
    Ok(see(&format!("/settings/{name}")))
}

pub(super) async fn star(desk: Desk, Path(name): Path<String>) -> Answer {
    let user = desk.user()?;
    find(&desk, &name, Role::Read).await?;
    let is_given = !desk.fields.get("star").is_empty();
    let database = &desk.registry.database;
    database.set_star(&name, user, is_given).await?;
    Ok(see(&format!("/r/{name}")))
}

/// Adds a webhook, or removes the one whose id comes along.
pub(super) async fn webhook(desk: Desk, Path(name): Path<String>) -> Answer {
    find(&desk, &name, Role::Admin).await?;
    let database = &desk.registry.database;
    let (id, url) = (desk.fields.get("id"), desk.fields.get("url"));
    if !id.is_empty() {
        database.remove_webhook(&name, id).await?;
        desk.note("repo.webhook.remove", &name, id).await?;
        return Ok(see(&format!("/settings/{name}")));
    }
    let count = database.webhooks(&name).await?.len();
    if !webhooks::is_url(url) || count >= WEBHOOKS_MAX {
        return render_settings(&desk, &name, (desk.visitor.words.bad_webhook, "")).await;
    }
    let secret = random_hex::<32>();
    database
        .add_webhook(&name, (&random_hex::<8>(), url, &secret))
        .await?;
    desk.note("repo.webhook.create", &name, url).await?;
    render_with_secret(&desk, &name, ("", desk.visitor.words.saved), secret).await
}

fn render_delete(desk: &Desk, name: &str, (tag, problem): (&str, &'static str)) -> Answer {
    page(&Delete {
        page: desk.page(),
        name: name.to_owned(),
        tag: tag.to_owned(),
        problem,
    })
}

pub(super) async fn delete_form(desk: Desk, Path(name): Path<String>) -> Answer {
    find(&desk, &name, Role::Admin).await?;
    render_delete(&desk, &name, (desk.fields.get("tag"), ""))
}

pub(super) async fn delete(desk: Desk, Path(name): Path<String>) -> Answer {
    find(&desk, &name, Role::Admin).await?;
    let database = &desk.registry.database;
    let tag = desk.fields.get("tag");
    let _change = desk.registry.cache.change();
    if !tag.is_empty() {
        database.remove_tag(&name, tag).await?;
        desk.note("repo.tag.delete", &name, tag).await?;
        return Ok(see(&format!("/r/{name}")));
    }
    if desk.fields.get("confirm") != name {
        return render_delete(&desk, &name, ("", desk.visitor.words.name_differs));
    }
    database.remove_repository(&name).await?;
    desk.note("repo.delete", &name, "").await?;
    Ok(see("/"))
}
