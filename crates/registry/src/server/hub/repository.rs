//! Pages of a repository: made, shown, described, shared, deleted.

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};

use super::{Fields, Page, Refusal, Shared, Visitor, finish, image, markdown, page, see, words};
use crate::server::auth::Role;
use crate::server::database::repositories::RepositoryRow;
use crate::server::{Registry, names};

const TAGS_PAGE: i64 = 50;
const DESCRIPTION_CHARACTERS_MAX: usize = 100;
/// As Docker Hub has it.
const README_BYTES_MAX: usize = 25_000;

#[derive(Template)]
#[template(path = "new.html")]
struct New {
    page: Page,
    name: String,
    description: String,
    is_private: bool,
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
}

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    page: Page,
    row: RepositoryRow,
    members: Vec<(String, String)>,
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
async fn find(
    registry: &Registry,
    visitor: &Visitor,
    name: &str,
    needed: Role,
) -> Result<(RepositoryRow, Role), Refusal> {
    let role = visitor.role(registry, name).await?;
    if role == Role::None {
        return Err(Refusal::NotFound);
    }
    let row = registry
        .database
        .repository(name)
        .await?
        .ok_or(Refusal::NotFound)?;
    match (role >= needed, &visitor.user) {
        (true, _) => Ok((row, role)),
        (false, None) => Err(Refusal::SignIn),
        (false, Some(_)) => Err(Refusal::Denied),
    }
}

pub(super) async fn new_form(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
) -> Response<Body> {
    let result = match visitor.user {
        None => Err(Refusal::SignIn),
        Some(_) => page(&New {
            page: Page::new(&registry, &visitor),
            name: String::new(),
            description: String::new(),
            is_private: false,
            problem: "",
        }),
    };
    finish(&registry, &visitor, result)
}

pub(super) async fn create(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Response<Body> {
    let result = async {
        if visitor.user.is_none() {
            return Err(Refusal::SignIn);
        }
        let words = visitor.words;
        let description = fields.get("description");
        let is_private = fields.get("visibility") == "private";
        // People may write their own name in front, as they do in commands.
        let own = format!("{}/", visitor.name());
        let short = fields.get("name").trim_start_matches(&own);
        let name = format!("{own}{short}");
        let problem = if !names::is_repository(&name) {
            words.bad_name
        } else if !is_description(description) {
            words.bad_description
        } else {
            let _change = registry.cache.change();
            match registry
                .database
                .create_repository(&name, description, is_private)
                .await?
            {
                true => return Ok(see(&format!("/r/{name}"))),
                false => words.name_taken,
            }
        };
        let mut response = page(&New {
            page: Page::new(&registry, &visitor),
            name: short.to_owned(),
            description: description.to_owned(),
            is_private,
            problem,
        })?;
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        Ok(response)
    };
    finish(&registry, &visitor, result.await)
}

fn is_description(text: &str) -> bool {
    text.chars().count() <= DESCRIPTION_CHARACTERS_MAX && !text.chars().any(char::is_control)
}

pub(super) async fn show(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
    Path(name): Path<String>,
) -> Response<Body> {
    let result = async {
        let (row, role) = find(&registry, &visitor, &name, Role::Read).await?;
        let number = fields.page();
        let offset = (number - 1) * TAGS_PAGE;
        let mut rows = registry.database.tags(&name, TAGS_PAGE + 1, offset).await?;
        let has_more = rows.len() as i64 > TAGS_PAGE;
        rows.truncate(usize::try_from(TAGS_PAGE).unwrap_or_default());
        let mut tags = Vec::with_capacity(rows.len());
        for tag in rows {
            let (platforms, size) = image::summary(&registry, &name, &tag).await?;
            let digits = tag.digest.split_once(':').map_or("", |(_, digits)| digits);
            tags.push(TagLine {
                short: digits.chars().take(12).collect(),
                platforms,
                size: words::size(size),
                name: tag.name,
                digest: tag.digest,
                pushed_at: tag.pushed_at,
                pushed_by: tag.pushed_by,
            });
        }
        let link = |number: i64| format!("/r/{name}?page={number}#tags");
        page(&Show {
            page: Page::new(&registry, &visitor),
            readme: markdown::render(&row.readme),
            row,
            tags,
            previous: (number > 1).then(|| link(number - 1)),
            next: has_more.then(|| link(number + 1)),
            is_admin: role >= Role::Admin,
            can_push: role >= Role::Write,
        })
    };
    finish(&registry, &visitor, result.await)
}

async fn render_settings(
    registry: &Registry,
    visitor: &Visitor,
    name: &str,
    (problem, done): (&'static str, &'static str),
) -> Result<Response<Body>, Refusal> {
    let (row, _) = find(registry, visitor, name, Role::Admin).await?;
    let mut response = page(&Settings {
        page: Page::new(registry, visitor),
        members: registry.database.members(name).await?,
        row,
        problem,
        done,
    })?;
    if !problem.is_empty() {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

pub(super) async fn settings(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Response<Body> {
    let result = render_settings(&registry, &visitor, &name, ("", "")).await;
    finish(&registry, &visitor, result)
}

pub(super) async fn change(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
    Path(name): Path<String>,
) -> Response<Body> {
    let result = async {
        let (mut row, _) = find(&registry, &visitor, &name, Role::Admin).await?;
        let (description, readme) = (fields.get("description"), fields.raw("readme"));
        if !is_description(description) || readme.len() > README_BYTES_MAX {
            let problem = visitor.words.bad_description;
            return render_settings(&registry, &visitor, &name, (problem, "")).await;
        }
        row.description = description.to_owned();
        row.readme = readme.replace("\r\n", "\n");
        row.is_private = fields.get("visibility") == "private";
        {
            let _change = registry.cache.change();
            registry.database.describe_repository(&row).await?;
        }
        render_settings(&registry, &visitor, &name, ("", visitor.words.saved)).await
    };
    finish(&registry, &visitor, result.await)
}

pub(super) async fn member(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
    Path(name): Path<String>,
) -> Response<Body> {
    let result = async {
        find(&registry, &visitor, &name, Role::Admin).await?;
        let (user, role) = (fields.get("user"), Role::parse(fields.get("role")));
        if role.is_some() && registry.database.user(user).await?.is_none() {
            let problem = visitor.words.no_such_user;
            return render_settings(&registry, &visitor, &name, (problem, "")).await;
        }
        let _change = registry.cache.change();
        registry
            .database
            .set_member(&name, user, role.map(Role::name))
            .await?;
        Ok(see(&format!("/settings/{name}")))
    };
    finish(&registry, &visitor, result.await)
}

fn render_delete(
    registry: &Registry,
    visitor: &Visitor,
    name: &str,
    (tag, problem): (&str, &'static str),
) -> Result<Response<Body>, Refusal> {
    page(&Delete {
        page: Page::new(registry, visitor),
        name: name.to_owned(),
        tag: tag.to_owned(),
        problem,
    })
}

pub(super) async fn delete_form(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
    Path(name): Path<String>,
) -> Response<Body> {
    let result = async {
        find(&registry, &visitor, &name, Role::Admin).await?;
        render_delete(&registry, &visitor, &name, (fields.get("tag"), ""))
    };
    finish(&registry, &visitor, result.await)
}

pub(super) async fn delete(
    State(registry): Shared,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
    Path(name): Path<String>,
) -> Response<Body> {
    let result = async {
        find(&registry, &visitor, &name, Role::Admin).await?;
        let tag = fields.get("tag");
        let _change = registry.cache.change();
        if !tag.is_empty() {
            registry.database.remove_tag(&name, tag).await?;
            return Ok(see(&format!("/r/{name}")));
        }
        if fields.get("confirm") != name {
            let problem = visitor.words.name_differs;
            return render_delete(&registry, &visitor, &name, ("", problem));
        }
        registry.database.remove_repository(&name).await?;
        Ok(see("/"))
    };
    finish(&registry, &visitor, result.await)
}
