//! Organisations: made, shown, their members, deleted.

use askama::Template;
use axum::extract::Path;

use super::{Answer, Desk, Page, Refusal, page, page_with_problem, see};
use crate::server::auth::Role;
use crate::server::database::organisations::{Changed, OrganisationRow};
use crate::server::database::repositories::RepositoryRow;
use crate::server::names;

const REPOSITORIES_MAX: i64 = 200;

#[derive(Template)]
#[template(path = "new_organisation.html")]
struct New {
    page: Page,
    name: String,
    description: String,
    problem: &'static str,
}

#[derive(Template)]
#[template(path = "organisation.html")]
struct Show {
    page: Page,
    row: OrganisationRow,
    rows: Vec<RepositoryRow>,
    members: Vec<(String, String)>,
    /// Members see who else is one.
    is_member: bool,
    is_admin: bool,
    problem: &'static str,
}

pub(super) async fn new_form(desk: Desk) -> Answer {
    desk.user()?;
    page(&New {
        page: desk.page(),
        name: String::new(),
        description: String::new(),
        problem: "",
    })
}

pub(super) async fn create(desk: Desk) -> Answer {
    let (user, words) = (desk.user()?, desk.visitor.words);
    let (name, description) = (desk.fields.get("name"), desk.fields.get("description"));
    let problem = if !names::is_user(name) {
        words.bad_user_name
    } else if !names::is_description(description) {
        words.bad_description
    } else {
        let _change = desk.registry.cache.change();
        let database = &desk.registry.database;
        match database
            .create_organisation(name, description, user)
            .await?
        {
            true => {
                desk.note("org.create", name, "").await?;
                return Ok(see(&format!("/o/{name}")));
            }
            false => words.name_taken_other,
        }
    };
    let new = New {
        page: desk.page(),
        name: name.to_owned(),
        description: description.to_owned(),
        problem,
    };
    page_with_problem(&new, problem)
}

/// The organisation and what the visitor may do in it.
async fn find(desk: &Desk, name: &str) -> Result<(OrganisationRow, Role), Refusal> {
    let database = &desk.registry.database;
    let row = database.organisation(name, desk.visitor.name()).await?;
    let row = row.ok_or(Refusal::NotFound)?;
    let role = match desk.visitor.is_admin() {
        true => Role::Admin,
        false => Role::parse(&row.role).unwrap_or(Role::None),
    };
    Ok((row, role))
}

async fn require_admin(desk: &Desk, name: &str) -> Result<(), Refusal> {
    let (_, role) = find(desk, name).await?;
    desk.user()?;
    match role {
        Role::Admin => Ok(()),
        _ => Err(Refusal::Denied),
    }
}

async fn render(desk: &Desk, name: &str, problem: &'static str) -> Answer {
    let (row, role) = find(desk, name).await?;
    let database = &desk.registry.database;
    let who = desk.visitor.principal();
    let rows = database
        .repositories_under(name, who.viewer(), REPOSITORIES_MAX)
        .await?;
    let is_member = role > Role::None;
    let members = match is_member {
        true => database.organisation_members(name).await?,
        false => Vec::new(),
    };
    let show = Show {
        page: desk.page(),
        row,
        rows,
        members,
        is_member,
        is_admin: role == Role::Admin,
        problem,
    };
    page_with_problem(&show, problem)
}

pub(super) async fn show(desk: Desk, Path(name): Path<String>) -> Answer {
    render(&desk, &name, "").await
}

pub(super) async fn member(desk: Desk, Path(name): Path<String>) -> Answer {
    require_admin(&desk, &name).await?;
    let (database, words) = (&desk.registry.database, desk.visitor.words);
    let user = desk.fields.get("user");
    let role = Role::parse(desk.fields.get("role"));
    if role.is_some() && database.user(user).await?.is_none() {
        return render(&desk, &name, words.no_such_user).await;
    }
    let changed = {
        let _change = desk.registry.cache.change();
        database
            .set_organisation_member(&name, user, role.map(Role::name))
            .await?
    };
    if changed != Changed::Done {
        return render(&desk, &name, words.last_admin).await;
    }
    let detail = format!("{user} {}", role.unwrap_or(Role::None).name());
    desk.note("org.member", &name, &detail).await?;
    Ok(see(&format!("/o/{name}")))
}

pub(super) async fn delete(desk: Desk, Path(name): Path<String>) -> Answer {
    require_admin(&desk, &name).await?;
    let words = desk.visitor.words;
    if desk.fields.get("confirm") != name {
        return render(&desk, &name, words.name_differs).await;
    }
    let changed = {
        let _change = desk.registry.cache.change();
        desk.registry.database.remove_organisation(&name).await?
    };
    if changed != Changed::Done {
        return render(&desk, &name, words.organisation_not_empty).await;
    }
    desk.note("org.delete", &name, "").await?;
    Ok(see("/"))
}
