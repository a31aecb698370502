//! Rows about organisations: names that belong to several people.

use super::{Database, DatabaseError, Doing, now};

/// An organisation and what somebody may do in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrganisationRow {
    pub(crate) name: String,
    pub(crate) description: String,
    /// Of whoever asked; empty if none.
    pub(crate) role: String,
}

/// What became of a wish to change an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Done,
    /// Nobody would be left who may do everything.
    LastAdmin,
    /// There are repositories under its name.
    NotEmpty,
}

impl Database {
    /// Makes an organisation, whose maker may do everything. False if the name is a user's or an
    /// organisation's, or there are repositories under it.
    pub(crate) async fn create_organisation(
        &self,
        name: &str,
        description: &str,
        maker: &str,
    ) -> Result<bool, DatabaseError> {
        let doing = "make an organisation";
        let mut transaction = self.begin().await?;
        let made = sqlx::query(
            "INSERT INTO organisations (name, description, created_at) SELECT $1, $2, $3 \
             WHERE NOT EXISTS (SELECT 1 FROM users WHERE name = $1) \
             AND NOT EXISTS (SELECT 1 FROM organisations WHERE name = $1) \
             AND NOT EXISTS (SELECT 1 FROM repositories WHERE namespace = $1)",
        )
        .bind(name)
        .bind(description)
        .bind(now())
        .execute(&mut *transaction)
        .await
        .doing(doing)?;
        if made.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO organisation_members (organisation, user_name, role) \
             VALUES ($1, $2, 'admin')",
        )
        .bind(name)
        .bind(maker)
        .execute(&mut *transaction)
        .await
        .doing(doing)?;
        transaction.commit().await.doing(doing)?;
        Ok(true)
    }

    /// One organisation, as this user sees it.
    pub(crate) async fn organisation(
        &self,
        name: &str,
        user: &str,
    ) -> Result<Option<OrganisationRow>, DatabaseError> {
        let found: Option<(String, String)> = sqlx::query_as(
            "SELECT o.description, COALESCE((SELECT m.role FROM organisation_members m \
             WHERE m.organisation = o.name AND m.user_name = $2), '') \
             FROM organisations o WHERE o.name = $1",
        )
        .bind(name)
        .bind(user)
        .fetch_optional(self.readers())
        .await
        .doing("read an organisation")?;
        Ok(found.map(|(description, role)| OrganisationRow {
            name: name.to_owned(),
            description,
            role,
        }))
    }

    /// The organisations that somebody is a member of.
    pub(crate) async fn organisations_of(
        &self,
        user: &str,
    ) -> Result<Vec<OrganisationRow>, DatabaseError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT o.name, o.description, m.role FROM organisations o \
             JOIN organisation_members m ON m.organisation = o.name \
             WHERE m.user_name = $1 ORDER BY o.name",
        )
        .bind(user)
        .fetch_all(self.readers())
        .await
        .doing("list a user's organisations")?;
        let organisation = |(name, description, role)| OrganisationRow {
            name,
            description,
            role,
        };
        Ok(rows.into_iter().map(organisation).collect())
    }

    /// Members and their roles.
    pub(crate) async fn organisation_members(
        &self,
        name: &str,
    ) -> Result<Vec<(String, String)>, DatabaseError> {
        sqlx::query_as(
            "SELECT user_name, role FROM organisation_members WHERE organisation = $1 \
             ORDER BY user_name",
        )
        .bind(name)
        .fetch_all(self.readers())
        .await
        .doing("list members of an organisation")
    }

    /// Gives somebody a role in an organisation, or takes it (`None`).
    pub(crate) async fn set_organisation_member(
        &self,
        organisation: &str,
        user: &str,
        role: Option<&str>,
    ) -> Result<Changed, DatabaseError> {
        let doing = "change a member of an organisation";
        let mut transaction = self.begin().await?;
        let sql = match role {
            Some(_) => {
                "INSERT INTO organisation_members (organisation, user_name, role) \
                 VALUES ($1, $2, $3) \
                 ON CONFLICT (organisation, user_name) DO UPDATE SET role = $3"
            }
            None => {
                "DELETE FROM organisation_members WHERE organisation = $1 AND user_name = $2 \
                 AND $3 = ''"
            }
        };
        sqlx::query(sql)
            .bind(organisation)
            .bind(user)
            .bind(role.unwrap_or_default())
            .execute(&mut *transaction)
            .await
            .doing(doing)?;
        let (admins,): (i64,) = sqlx::query_as(
            "SELECT COUNT(*) FROM organisation_members WHERE organisation = $1 AND role = 'admin'",
        )
        .bind(organisation)
        .fetch_one(&mut *transaction)
        .await
        .doing(doing)?;
        if admins == 0 {
            return Ok(Changed::LastAdmin);
        }
        transaction.commit().await.doing(doing)?;
        Ok(Changed::Done)
    }

    /// Removes an organisation that has no repositories.
    pub(crate) async fn remove_organisation(&self, name: &str) -> Result<Changed, DatabaseError> {
        let doing = "remove an organisation";
        let mut transaction = self.begin().await?;
        let (count,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM repositories WHERE namespace = $1")
                .bind(name)
                .fetch_one(&mut *transaction)
                .await
                .doing(doing)?;
        if count > 0 {
            return Ok(Changed::NotEmpty);
        }
        for sql in [
            "DELETE FROM organisation_members WHERE organisation = $1",
            "DELETE FROM organisations WHERE name = $1",
        ] {
            sqlx::query(sql)
                .bind(name)
                .execute(&mut *transaction)
                .await
                .doing(doing)?;
        }
        transaction.commit().await.doing(doing)?;
        Ok(Changed::Done)
    }
}
