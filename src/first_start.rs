//! The first start on an empty database: it creates the first administrator.

use anyhow::{Context, Result};
use wicara_service::People;

use crate::config;

/// The administrator that this start created.
pub struct FirstAdministrator {
    pub email: String,
    /// Only where `auth.admin_password` is empty. Nothing but its hash is stored, so it is shown now or never.
    pub generated_password: Option<String>,
}

/// Creates an administrator by `auth.admin_email` and `auth.admin_password` unless the database has a person already.
pub async fn create_administrator(
    people: &People,
    settings: &config::Auth,
) -> Result<Option<FirstAdministrator>> {
    let created = people
        .user_create_first(&settings.admin_email, &settings.admin_password)
        .await
        .context("cannot create the first administrator (auth.admin_email, auth.admin_password)")?;
    Ok(created.map(|(user, generated_password)| FirstAdministrator {
        email: user.person.email,
        generated_password,
    }))
}
