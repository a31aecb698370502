//! Rows about webhooks and what is to be delivered to them. A delivery is written down with the push
//! that it tells of, so that it survives us; whoever delivers it takes it first by moving its time.

use super::{Database, DatabaseError, Doing, Transaction, now};

/// Deliveries of one webhook that are kept to be looked at.
const KEPT: i64 = 20;

/// A webhook, as pages list it.
#[derive(Clone, Debug)]
pub(crate) struct WebhookRow {
    pub(crate) id: String,
    pub(crate) url: String,
    /// What became of the last delivery; empty if there was none.
    pub(crate) outcome: String,
}

/// A delivery that is due.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) id: String,
    pub(crate) url: String,
    pub(crate) secret: String,
    pub(crate) body: String,
    /// How often it was tried before.
    pub(crate) attempts: i64,
    next_at: i64,
}

impl Database {
    /// A repository's webhooks.
    pub(crate) async fn webhooks(
        &self,
        repository: &str,
    ) -> Result<Vec<WebhookRow>, DatabaseError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT w.id, w.url, COALESCE((SELECT d.outcome FROM deliveries d \
             WHERE d.webhook = w.id ORDER BY d.created_at DESC, d.id LIMIT 1), '') \
             FROM webhooks w WHERE w.repository = $1 ORDER BY w.created_at, w.id",
        )
        .bind(repository)
        .fetch_all(self.readers())
        .await
        .doing("list webhooks")?;
        let hook = |(id, url, outcome)| WebhookRow { id, url, outcome };
        Ok(rows.into_iter().map(hook).collect())
    }

    /// Keeps a webhook.
    pub(crate) async fn add_webhook(
        &self,
        repository: &str,
        (id, url, secret): (&str, &str, &str),
    ) -> Result<(), DatabaseError> {
        sqlx::query(
            "INSERT INTO webhooks (id, repository, url, secret, created_at) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id)
        .bind(repository)
        .bind(url)
        .bind(secret)
        .bind(now())
        .execute(self.writer())
        .await
        .doing("keep a webhook")?;
        Ok(())
    }

    /// Removes a webhook and what was to be delivered to it.
    pub(crate) async fn remove_webhook(
        &self,
        repository: &str,
        id: &str,
    ) -> Result<(), DatabaseError> {
        let doing = "remove a webhook";
        let mut transaction = self.begin().await?;
        let gone = sqlx::query("DELETE FROM webhooks WHERE repository = $1 AND id = $2")
            .bind(repository)
            .bind(id)
            .execute(&mut *transaction)
            .await
            .doing(doing)?;
        if gone.rows_affected() > 0 {
            sqlx::query("DELETE FROM deliveries WHERE webhook = $1")
                .bind(id)
                .execute(&mut *transaction)
                .await
                .doing(doing)?;
        }
        transaction.commit().await.doing(doing)
    }

    /// Deliveries whose time has come.
    pub(crate) async fn due(&self, limit: i64) -> Result<Vec<Due>, DatabaseError> {
        let rows: Vec<(String, String, String, String, i64, i64)> = sqlx::query_as(
            "SELECT d.id, w.url, w.secret, d.body, d.attempts, d.next_at FROM deliveries d \
             JOIN webhooks w ON w.id = d.webhook WHERE d.next_at <= $1 ORDER BY d.next_at LIMIT $2",
        )
        .bind(now())
        .bind(limit)
        .fetch_all(self.readers())
        .await
        .doing("look for deliveries")?;
        let due = |(id, url, secret, body, attempts, next_at)| Due {
            id,
            url,
            secret,
            body,
            attempts,
            next_at,
        };
        Ok(rows.into_iter().map(due).collect())
    }

    /// Takes a delivery until `until`: false if somebody else has. Counted as an attempt at once, so that
    /// one that kills us is not tried for ever.
    pub(crate) async fn take_delivery(&self, due: &Due, until: i64) -> Result<bool, DatabaseError> {
        let taken = sqlx::query(
            "UPDATE deliveries SET next_at = $3, attempts = attempts + 1 \
             WHERE id = $1 AND next_at = $2",
        )
        .bind(&due.id)
        .bind(due.next_at)
        .bind(until)
        .execute(self.writer())
        .await
        .doing("take a delivery")?;
        Ok(taken.rows_affected() > 0)
    }

    /// Notes what became of an attempt, and when the next one is, if there is one.
    pub(crate) async fn delivered(
        &self,
        id: &str,
        outcome: &str,
        next_at: Option<i64>,
    ) -> Result<(), DatabaseError> {
        sqlx::query("UPDATE deliveries SET outcome = $2, next_at = $3 WHERE id = $1")
            .bind(id)
            .bind(outcome)
            .bind(next_at)
            .execute(self.writer())
            .await
            .doing("note a delivery")?;
        Ok(())
    }
}

/// Notes that a body is to be delivered to each of a repository's webhooks, and forgets old ones.
pub(super) async fn announce(
    transaction: &mut Transaction<'_>,
    repository: &str,
    body: &str,
) -> Result<(), DatabaseError> {
    let doing = "note a delivery";
    let hooks: Vec<(String,)> = sqlx::query_as("SELECT id FROM webhooks WHERE repository = $1")
        .bind(repository)
        .fetch_all(&mut **transaction)
        .await
        .doing(doing)?;
    for (hook,) in hooks {
        sqlx::query(
            "DELETE FROM deliveries WHERE webhook = $1 AND next_at IS NULL AND id NOT IN \
             (SELECT d.id FROM deliveries d WHERE d.webhook = $1 \
             ORDER BY d.created_at DESC, d.id LIMIT $2)",
        )
        .bind(&hook)
        .bind(KEPT)
        .execute(&mut **transaction)
        .await
        .doing(doing)?;
        sqlx::query(
            "INSERT INTO deliveries (id, webhook, body, created_at, attempts, next_at, outcome) \
             VALUES ($1, $2, $3, $4, 0, $4, '')",
        )
        .bind(crate::server::random_hex::<16>())
        .bind(&hook)
        .bind(body)
        .bind(now())
        .execute(&mut **transaction)
        .await
        .doing(doing)?;
    }
    Ok(())
}
