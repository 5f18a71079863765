//! Secrets that all processes of one record share: drawn by whoever first wants one, the same for all from then on.

use crate::column::{document, document_text};
use crate::{Control, ControlError};
use aws_lc_rs::rand;
use chunk::{DataKey, KEY_BYTES};
use sqlx::Row;
use zeroize::Zeroizing;

/// Secrets by what they are for. Like the access keys they lie open in the database, which its owner alone may read.
///
/// | column | value |
/// |---|---|
/// | secret | JSON, 32 numbers: its bytes |
pub(crate) const SCHEMA: &[&str] =
    &["CREATE TABLE IF NOT EXISTS shared_secrets (purpose TEXT PRIMARY KEY, secret TEXT NOT NULL)"];

impl Control {
    /// The secret for a purpose. To begin anew, remove its row: whatever was sealed by it is lost.
    ///
    /// Errors: the record cannot be read or written, or the row is no secret.
    pub async fn shared_secret(&self, purpose: &str) -> Result<DataKey, ControlError> {
        let mut drawn = [0; KEY_BYTES];
        rand::fill(&mut drawn).expect("the operating system always has random bytes");
        let drawn = DataKey::from_bytes(drawn);
        // Whoever comes first decides, be it another process.
        sqlx::query("INSERT INTO shared_secrets (purpose, secret) VALUES ($1, $2) ON CONFLICT (purpose) DO NOTHING")
            .bind(purpose)
            .bind(document_text(drawn.expose(), "a shared secret")?)
            .execute(self.pool())
            .await?;
        let row = sqlx::query("SELECT secret FROM shared_secrets WHERE purpose = $1")
            .bind(purpose)
            .fetch_one(self.pool())
            .await?;
        let text = Zeroizing::new(row.try_get::<String, _>("secret")?);
        Ok(DataKey::from_bytes(document(&text, "a shared secret")?))
    }
}
