//! Rows about people: users, their sessions in a browser, their access tokens.
//!
//! Secrets are kept as hashes alone: passwords as Argon2id, session and token secrets (random, 256
//! bits) as SHA-256.

use super::audit::{self, Deed};
use super::{Database, DatabaseError, Doing, now};

/// How an access token is described that `docker login` got for a password.
pub(crate) const LOGIN: &str = "docker login";

/// A user.
#[derive(Clone, Debug)]
pub(crate) struct UserRow {
    pub(crate) name: String,
    /// In the form of Argon2's password hashes.
    pub(crate) password: String,
    pub(crate) is_admin: bool,
}

/// A user, as the administrator sees them.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) is_admin: bool,
    pub(crate) created_at: i64,
    /// How many repositories are called after them.
    pub(crate) repositories: i64,
}

/// An access token, as pages list it.
#[derive(Clone, Debug)]
pub(crate) struct TokenRow {
    pub(crate) id: String,
    pub(crate) description: String,
    pub(crate) scope: String,
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) used_at: Option<i64>,
}

type TokenColumns = (String, String, String, i64, Option<i64>, Option<i64>);

/// An access token to be kept.
#[derive(Debug)]
pub(crate) struct NewToken<'a> {
    pub(crate) hash: &'a str,
    pub(crate) id: &'a str,
    pub(crate) user: &'a str,
    pub(crate) description: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) expires_at: Option<i64>,
}

impl Database {
    /// One user.
    pub(crate) async fn user(&self, name: &str) -> Result<Option<UserRow>, DatabaseError> {
        let found: Option<(String, String, i64)> =
            sqlx::query_as("SELECT name, password, is_admin FROM users WHERE name = $1")
                .bind(name)
                .fetch_optional(self.readers())
                .await
                .doing("read a user")?;
        Ok(found.map(|(name, password, is_admin)| UserRow {
            name,
            password,
            is_admin: is_admin != 0,
        }))
    }

    /// How many users there are.
    pub(crate) async fn count_users(&self) -> Result<i64, DatabaseError> {
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM users")
            .fetch_one(self.readers())
            .await
            .doing("count users")?;
        Ok(count)
    }

    /// Makes a user; the first of all is an administrator. False if the name is taken, also by
    /// somebody's repositories, which nobody shall inherit by signing up.
    pub(crate) async fn create_user(
        &self,
        name: &str,
        password: &str,
    ) -> Result<bool, DatabaseError> {
        // In a transaction, as replicas must not make two first ones.
        let mut transaction = self.begin().await?;
        let made = sqlx::query(
            "INSERT INTO users (name, password, is_admin, created_at) \
             SELECT $1, $2, CASE WHEN EXISTS (SELECT 1 FROM users) THEN 0 ELSE 1 END, $3 \
             WHERE NOT EXISTS (SELECT 1 FROM users WHERE name = $1) \
             AND NOT EXISTS (SELECT 1 FROM organisations WHERE name = $1) AND (NOT EXISTS (SELECT 1 FROM users) \
             OR NOT EXISTS (SELECT 1 FROM repositories WHERE namespace = $1))",
        )
        .bind(name)
        .bind(password)
        .bind(now())
        .execute(&mut *transaction)
        .await
        .doing("make a user")?;
        let is_made = made.rows_affected() > 0;
        if is_made {
            let deed = Deed {
                actor: name,
                action: "user.create",
                name,
                detail: "",
            };
            audit::note(&mut *transaction, deed).await?;
        }
        transaction.commit().await.doing("make a user")?;
        Ok(is_made)
    }

    /// All users after the name `last`, as the administrator sees them.
    pub(crate) async fn users(&self, last: &str, limit: i64) -> Result<Vec<Person>, DatabaseError> {
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
            "SELECT u.name, u.is_admin, u.created_at, (SELECT COUNT(*) FROM repositories r \
             WHERE r.namespace = u.name) FROM users u WHERE u.name > $1 ORDER BY u.name LIMIT $2",
        )
        .bind(last)
        .bind(limit)
        .fetch_all(self.readers())
        .await
        .doing("list users")?;
        let person = |(name, is_admin, created_at, repositories): (String, i64, i64, i64)| Person {
            name,
            is_admin: is_admin != 0,
            created_at,
            repositories,
        };
        Ok(rows.into_iter().map(person).collect())
    }

    /// Sets another password and ends all sessions: in browsers, and of `docker login`.
    pub(crate) async fn set_password(
        &self,
        name: &str,
        password: &str,
    ) -> Result<(), DatabaseError> {
        let doing = "change a password";
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE users SET password = $2 WHERE name = $1")
            .bind(name)
            .bind(password)
            .execute(&mut *transaction)
            .await
            .doing(doing)?;
        sqlx::query("DELETE FROM sessions WHERE user_name = $1")
            .bind(name)
            .execute(&mut *transaction)
            .await
            .doing(doing)?;
        sqlx::query("DELETE FROM tokens WHERE user_name = $1 AND description = $2")
            .bind(name)
            .bind(LOGIN)
            .execute(&mut *transaction)
            .await
            .doing(doing)?;
        transaction.commit().await.doing(doing)
    }

    /// Begins a session in a browser.
    pub(crate) async fn add_session(
        &self,
        hash: &str,
        user: &str,
        expires_at: i64,
    ) -> Result<(), DatabaseError> {
        sqlx::query("INSERT INTO sessions (hash, user_name, expires_at) VALUES ($1, $2, $3)")
            .bind(hash)
            .bind(user)
            .bind(expires_at)
            .execute(self.writer())
            .await
            .doing("begin a session")?;
        Ok(())
    }

    /// Whose session it is, if it goes on.
    pub(crate) async fn session(&self, hash: &str) -> Result<Option<UserRow>, DatabaseError> {
        let found: Option<(String, String, i64)> = sqlx::query_as(
            "SELECT u.name, u.password, u.is_admin FROM sessions s JOIN users u \
             ON u.name = s.user_name WHERE s.hash = $1 AND s.expires_at > $2",
        )
        .bind(hash)
        .bind(now())
        .fetch_optional(self.readers())
        .await
        .doing("read a session")?;
        Ok(found.map(|(name, password, is_admin)| UserRow {
            name,
            password,
            is_admin: is_admin != 0,
        }))
    }

    /// Ends a session.
    pub(crate) async fn end_session(&self, hash: &str) -> Result<(), DatabaseError> {
        sqlx::query("DELETE FROM sessions WHERE hash = $1 OR expires_at <= $2")
            .bind(hash)
            .bind(now())
            .execute(self.writer())
            .await
            .doing("end a session")?;
        Ok(())
    }

    /// Keeps an access token.
    pub(crate) async fn add_token(&self, new: &NewToken<'_>) -> Result<(), DatabaseError> {
        sqlx::query(
            "INSERT INTO tokens (hash, id, user_name, description, scope, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(new.hash)
        .bind(new.id)
        .bind(new.user)
        .bind(new.description)
        .bind(new.scope)
        .bind(now())
        .bind(new.expires_at)
        .execute(self.writer())
        .await
        .doing("keep an access token")?;
        Ok(())
    }

    /// Whose access token it is and its scope, if it is one and has not expired; notes its use.
    pub(crate) async fn use_token(
        &self,
        hash: &str,
    ) -> Result<Option<(String, String)>, DatabaseError> {
        let doing = "read an access token";
        let found: Option<(String, String)> = sqlx::query_as(
            "SELECT user_name, scope FROM tokens WHERE hash = $1 \
             AND (expires_at IS NULL OR expires_at > $2)",
        )
        .bind(hash)
        .bind(now())
        .fetch_optional(self.readers())
        .await
        .doing(doing)?;
        if found.is_some() {
            // Once a minute is precise enough for people.
            let sql = "UPDATE tokens SET used_at = $2 WHERE hash = $1 \
                 AND (used_at IS NULL OR used_at < $2 - 60)";
            sqlx::query(sql)
                .bind(hash)
                .bind(now())
                .execute(self.writer())
                .await
                .doing(doing)?;
        }
        Ok(found)
    }

    /// A user's access tokens.
    pub(crate) async fn tokens(&self, user: &str) -> Result<Vec<TokenRow>, DatabaseError> {
        let rows: Vec<TokenColumns> = sqlx::query_as(
            "SELECT id, description, scope, created_at, expires_at, used_at FROM tokens \
             WHERE user_name = $1 ORDER BY created_at DESC, id",
        )
        .bind(user)
        .fetch_all(self.readers())
        .await
        .doing("list access tokens")?;
        let token = |(id, description, scope, created_at, expires_at, used_at)| TokenRow {
            id,
            description,
            scope,
            created_at,
            expires_at,
            used_at,
        };
        Ok(rows.into_iter().map(token).collect())
    }

    /// Ends an access token.
    pub(crate) async fn remove_token(&self, user: &str, id: &str) -> Result<(), DatabaseError> {
        sqlx::query("DELETE FROM tokens WHERE user_name = $1 AND id = $2")
            .bind(user)
            .bind(id)
            .execute(self.writer())
            .await
            .doing("remove an access token")?;
        Ok(())
    }
}
