//! Rows about repositories: what they are called, who may what in them, who looks for them.

use std::collections::HashMap;

use super::{Database, DatabaseError, Doing, containing, now};
use crate::server::auth::Role;

/// A repository, as pages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RepositoryRow {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) readme: String,
    pub(crate) is_private: bool,
    pub(crate) updated_at: i64,
    pub(crate) pulls: i64,
    pub(crate) stars: i64,
}

/// Pulls of a repository that are not written down yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pulls {
    pub(crate) count: i64,
    /// When each was last pulled, by tag or digest.
    pub(crate) last: HashMap<String, i64>,
}

impl Pulls {
    /// One more, now.
    pub(crate) fn add(&mut self, reference: &str) {
        self.count += 1;
        match self.last.get_mut(reference) {
            Some(last) => *last = now(),
            None => {
                self.last.insert(reference.to_owned(), now());
            }
        }
    }
}

/// What decides who may do what in a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// It has a row: it was made, or something was pushed.
    pub(crate) exists: bool,
    /// Only members see it.
    pub(crate) is_private: bool,
    /// Its first element is the name of a user or an organisation, whom it belongs to.
    pub(crate) has_owner: bool,
    /// It is a copy of another registry's: nobody pushes here.
    pub(crate) is_copy: bool,
    /// Roles by user: in the repository, and in the organisation that it belongs to.
    pub(crate) members: HashMap<String, Role>,
}

const COLUMNS: &str = "name, description, readme, is_private, updated_at, pulls, \
     (SELECT COUNT(*) FROM stars s WHERE s.repository = repositories.name)";
type Columns = (String, String, String, i64, i64, i64, i64);

fn row(
    (name, description, readme, is_private, updated_at, pulls, stars): Columns,
) -> RepositoryRow {
    RepositoryRow {
        name,
        description,
        readme,
        is_private: is_private != 0,
        updated_at,
        pulls,
        stars,
    }
}

/// Those that a user may see: public ones, one's own, one's organisations', those one is a member of.
/// `$1` is the user, `$2` is 1 for those who see everything.
const VISIBLE: &str = "(is_private = 0 OR $2 = 1 OR (namespace <> '' AND namespace = $1) OR EXISTS \
     (SELECT 1 FROM members m WHERE m.repository = repositories.name AND m.user_name = $1 \
     AND $1 <> '') OR EXISTS (SELECT 1 FROM organisation_members o \
     WHERE o.organisation = repositories.namespace AND o.user_name = $1 AND $1 <> ''))";

/// Who looks at a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Viewer<'a> {
    /// Empty is somebody who is not signed in.
    pub(crate) user: &'a str,
    /// Sees private ones of everybody.
    pub(crate) sees_all: bool,
}

/// A search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search<'a> {
    pub(crate) viewer: Viewer<'a>,
    /// Anywhere in the name or the description, without regard to case.
    pub(crate) text: &'a str,
    pub(crate) limit: i64,
    pub(crate) offset: i64,
}

impl Database {
    /// One repository.
    pub(crate) async fn repository(
        &self,
        name: &str,
    ) -> Result<Option<RepositoryRow>, DatabaseError> {
        let found: Option<Columns> = sqlx::query_as(&format!(
            "SELECT {COLUMNS} FROM repositories WHERE name = $1"
        ))
        .bind(name)
        .fetch_optional(self.readers())
        .await
        .doing("read a repository")?;
        Ok(found.map(row))
    }

    /// What decides who may do what.
    pub(crate) async fn facts(&self, name: &str) -> Result<Facts, DatabaseError> {
        let doing = "read who may use a repository";
        let namespace = name.split_once('/').map_or("", |(first, _)| first);
        let found: Option<(i64, i64)> =
            sqlx::query_as("SELECT is_private, is_copy FROM repositories WHERE name = $1")
                .bind(name)
                .fetch_optional(self.readers())
                .await
                .doing(doing)?;
        let owners: (i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM users WHERE name = $1), \
             (SELECT COUNT(*) FROM organisations WHERE name = $1)",
        )
        .bind(namespace)
        .fetch_one(self.readers())
        .await
        .doing(doing)?;
        let mut members: HashMap<String, Role> = HashMap::new();
        let mut all = self.members(name).await?;
        if owners.1 > 0 {
            all.extend(self.organisation_members(namespace).await?);
        }
        for (user, role) in all {
            let role = Role::parse(&role).unwrap_or(Role::None);
            let known = members.entry(user).or_insert(Role::None);
            *known = role.max(*known);
        }
        let (is_private, is_copy) = found.unwrap_or_default();
        Ok(Facts {
            exists: found.is_some(),
            is_private: is_private != 0,
            has_owner: owners != (0, 0),
            is_copy: is_copy != 0,
            members,
        })
    }

    /// Members and their roles.
    pub(crate) async fn members(&self, name: &str) -> Result<Vec<(String, String)>, DatabaseError> {
        sqlx::query_as(
            "SELECT user_name, role FROM members WHERE repository = $1 ORDER BY user_name",
        )
        .bind(name)
        .fetch_all(self.readers())
        .await
        .doing("list members")
    }

    /// Gives somebody a role, or takes it (`None`).
    pub(crate) async fn set_member(
        &self,
        repository: &str,
        user: &str,
        role: Option<&str>,
    ) -> Result<(), DatabaseError> {
        let query = match role {
            Some(role) => sqlx::query(
                "INSERT INTO members (repository, user_name, role) VALUES ($1, $2, $3) \
                 ON CONFLICT (repository, user_name) DO UPDATE SET role = $3",
            )
            .bind(repository)
            .bind(user)
            .bind(role),
            None => sqlx::query("DELETE FROM members WHERE repository = $1 AND user_name = $2")
                .bind(repository)
                .bind(user),
        };
        query
            .execute(self.writer())
            .await
            .doing("change a member")?;
        Ok(())
    }

    /// Makes an empty repository. False if the name is taken.
    pub(crate) async fn create_repository(
        &self,
        name: &str,
        description: &str,
        is_private: bool,
    ) -> Result<bool, DatabaseError> {
        let namespace = name.split_once('/').map_or("", |(first, _)| first);
        let made = sqlx::query(
            "INSERT INTO repositories (name, namespace, description, readme, is_private, \
             created_at, updated_at, pulls) VALUES ($1, $2, $3, '', $4, $5, $5, 0) \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(namespace)
        .bind(description)
        .bind(i64::from(is_private))
        .bind(now())
        .execute(self.writer())
        .await
        .doing("make a repository")?;
        Ok(made.rows_affected() > 0)
    }

    /// Changes what people read about a repository, and who sees it.
    pub(crate) async fn describe_repository(
        &self,
        changed: &RepositoryRow,
    ) -> Result<(), DatabaseError> {
        sqlx::query(
            "UPDATE repositories SET description = $2, readme = $3, is_private = $4 \
             WHERE name = $1",
        )
        .bind(&changed.name)
        .bind(&changed.description)
        .bind(&changed.readme)
        .bind(i64::from(changed.is_private))
        .execute(self.writer())
        .await
        .doing("change a repository")?;
        Ok(())
    }

    /// Removes a repository with all its tags and manifests. Its blobs go with the next collection.
    pub(crate) async fn remove_repository(&self, name: &str) -> Result<(), DatabaseError> {
        let doing = "remove a repository";
        let mut transaction = self.begin().await?;
        for sql in [
            "DELETE FROM tags WHERE repository = $1",
            "DELETE FROM manifest_blobs WHERE repository = $1",
            "DELETE FROM manifests WHERE repository = $1",
            "DELETE FROM repository_blobs WHERE repository = $1",
            "DELETE FROM members WHERE repository = $1",
            "DELETE FROM stars WHERE repository = $1",
            "DELETE FROM deliveries WHERE webhook IN \
             (SELECT id FROM webhooks WHERE repository = $1)",
            "DELETE FROM webhooks WHERE repository = $1",
            "DELETE FROM repositories WHERE name = $1",
        ] {
            sqlx::query(sql)
                .bind(name)
                .execute(&mut *transaction)
                .await
                .doing(doing)?;
        }
        transaction.commit().await.doing(doing)
    }

    /// Names of repositories after `last` that the viewer may see, sorted.
    pub(crate) async fn catalog(
        &self,
        viewer: Viewer<'_>,
        last: &str,
        limit: i64,
    ) -> Result<Vec<String>, DatabaseError> {
        let rows: Vec<(String,)> = sqlx::query_as(&format!(
            "SELECT name FROM repositories WHERE {VISIBLE} AND name > $3 ORDER BY name LIMIT $4"
        ))
        .bind(viewer.user)
        .bind(i64::from(viewer.sees_all))
        .bind(last)
        .bind(limit)
        .fetch_all(self.readers())
        .await
        .doing("list repositories")?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// Repositories that a text occurs in, and how many there are in all. What begins with the text
    /// comes first, then what is pulled most.
    pub(crate) async fn search(
        &self,
        search: Search<'_>,
    ) -> Result<(Vec<RepositoryRow>, i64), DatabaseError> {
        let doing = "search repositories";
        let pattern = containing(&search.text.to_lowercase());
        let found = format!(
            "FROM repositories WHERE {VISIBLE} AND (lower(name) LIKE $3 ESCAPE '\\' \
             OR lower(description) LIKE $3 ESCAPE '\\')"
        );
        let (count,): (i64,) = sqlx::query_as(&format!("SELECT COUNT(*) {found}"))
            .bind(search.viewer.user)
            .bind(i64::from(search.viewer.sees_all))
            .bind(&pattern)
            .fetch_one(self.readers())
            .await
            .doing(doing)?;
        let rows: Vec<Columns> = sqlx::query_as(&format!(
            "SELECT {COLUMNS} {found} ORDER BY CASE WHEN lower(name) LIKE $4 ESCAPE '\\' THEN 0 \
             ELSE 1 END, pulls DESC, name LIMIT $5 OFFSET $6"
        ))
        .bind(search.viewer.user)
        .bind(i64::from(search.viewer.sees_all))
        .bind(&pattern)
        .bind(&pattern[1..])
        .bind(search.limit)
        .bind(search.offset)
        .fetch_all(self.readers())
        .await
        .doing(doing)?;
        Ok((rows.into_iter().map(row).collect(), count))
    }

    /// Repositories of an organisation that the viewer may see.
    pub(crate) async fn repositories_under(
        &self,
        namespace: &str,
        viewer: Viewer<'_>,
        limit: i64,
    ) -> Result<Vec<RepositoryRow>, DatabaseError> {
        let rows: Vec<Columns> = sqlx::query_as(&format!(
            "SELECT {COLUMNS} FROM repositories WHERE {VISIBLE} AND namespace = $3 \
             ORDER BY updated_at DESC, name LIMIT $4"
        ))
        .bind(viewer.user)
        .bind(i64::from(viewer.sees_all))
        .bind(namespace)
        .bind(limit)
        .fetch_all(self.readers())
        .await
        .doing("list an organisation's repositories")?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// Whether somebody has given a repository a star.
    pub(crate) async fn has_star(
        &self,
        repository: &str,
        user: &str,
    ) -> Result<bool, DatabaseError> {
        let (count,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM stars WHERE repository = $1 AND user_name = $2")
                .bind(repository)
                .bind(user)
                .fetch_one(self.readers())
                .await
                .doing("look for a star")?;
        Ok(count > 0)
    }

    /// Gives a repository somebody's star, or takes it back.
    pub(crate) async fn set_star(
        &self,
        repository: &str,
        user: &str,
        is_given: bool,
    ) -> Result<(), DatabaseError> {
        let sql = match is_given {
            true => {
                "INSERT INTO stars (repository, user_name) VALUES ($1, $2) ON CONFLICT DO NOTHING"
            }
            false => "DELETE FROM stars WHERE repository = $1 AND user_name = $2",
        };
        sqlx::query(sql)
            .bind(repository)
            .bind(user)
            .execute(self.writer())
            .await
            .doing("give a star")?;
        Ok(())
    }

    /// Repositories of a user and those that the user is a member of.
    pub(crate) async fn repositories_of(
        &self,
        user: &str,
        limit: i64,
    ) -> Result<Vec<RepositoryRow>, DatabaseError> {
        let rows: Vec<Columns> = sqlx::query_as(&format!(
            "SELECT {COLUMNS} FROM repositories WHERE namespace = $1 OR EXISTS (SELECT 1 FROM \
             members m WHERE m.repository = repositories.name AND m.user_name = $1) \
             OR EXISTS (SELECT 1 FROM organisation_members o \
             WHERE o.organisation = repositories.namespace AND o.user_name = $1) \
             ORDER BY updated_at DESC, name LIMIT $2"
        ))
        .bind(user)
        .bind(limit)
        .fetch_all(self.readers())
        .await
        .doing("list a user's repositories")?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// Adds to the counts of pulls, which are gathered in memory meanwhile. Clients ask for a tag's
    /// digest first and pull that: it counts for each tag that leads to it.
    pub(crate) async fn add_pulls(
        &self,
        pulls: &HashMap<String, Pulls>,
    ) -> Result<(), DatabaseError> {
        let doing = "count pulls";
        let mut transaction = self.begin().await?;
        for (name, pulls) in pulls {
            sqlx::query("UPDATE repositories SET pulls = pulls + $2 WHERE name = $1")
                .bind(name)
                .bind(pulls.count)
                .execute(&mut *transaction)
                .await
                .doing(doing)?;
            for (reference, at) in &pulls.last {
                sqlx::query(
                    "UPDATE tags SET pulled_at = $3 WHERE repository = $1 \
                     AND (name = $2 OR digest = $2) AND (pulled_at IS NULL OR pulled_at < $3)",
                )
                .bind(name)
                .bind(reference)
                .bind(at)
                .execute(&mut *transaction)
                .await
                .doing(doing)?;
            }
        }
        transaction.commit().await.doing(doing)
    }
}
