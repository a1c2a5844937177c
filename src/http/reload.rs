//! Reading the configuration again: what the daemon is asked, and how its answer is told.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Allowed, ToAdminister};
use super::problem::{InputError, Problem};
use super::{App, json};

/// What can read its configuration again: the daemon.
#[async_trait]
pub trait Reload: Send + Sync + fmt::Debug {
    /// Reads it and does what has changed; goes on with that whoever stops waiting for it.
    async fn reload(&self) -> Result<Reloaded, NotReloaded>;
}

/// What a reload has done.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct Reloaded {
    /// Every key that is not as it was; a whole table with a name where that is new or gone.
    pub changes: Vec<ChangedKey>,
    /// Keys that are in force only once the process starts again.
    pub needs_restart: Vec<String>,
    /// What waits, of operators that the configuration no longer has and of those that have no channel.
    pub waiting: Vec<StillWaiting>,
    /// What is accepted but deserves a word: `file:line: key: why`.
    pub warnings: Vec<String>,
}

/// A key that is not as it was.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChangedKey {
    /// Dotted path.
    #[schema(example = "smpp.orange.window")]
    pub key: String,
    /// What was written; absent if nothing was, if it is a table, or a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub was: Option<String>,
    /// What is written now, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub is: Option<String>,
    /// `started`, `drained` or `restarted`: the account was. `in_force`: no connection noticed.
    /// `needs_restart`: nothing was done.
    pub effect: &'static str,
}

/// Messages that wait after a reload.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StillWaiting {
    /// The operator that they were accepted for.
    pub operator: String,
    /// The operator whose rules are theirs now.
    pub under: String,
    /// How many.
    pub messages: u64,
    /// What holds them up, for example `no_channel`; absent if nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub why: Option<&'static str>,
}

/// Why the configuration was not taken. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReloaded {
    /// There is no file to read: a demonstration.
    NoFile,
    /// The process stops.
    Stopping,
    /// The file is wrong: one `file:line: key: why` each.
    Invalid(Vec<String>),
}

impl From<NotReloaded> for Problem {
    fn from(why: NotReloaded) -> Self {
        match why {
            NotReloaded::NoFile => Self::new(
                StatusCode::CONFLICT,
                "no_config_file",
                "There is no configuration file",
                "this daemon was started without a file; nothing can be read again",
            ),
            NotReloaded::Stopping => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "stopping",
                "The daemon is stopping",
                "the file is read at the next start",
            ),
            // Who may reload may know the names of files.
            NotReloaded::Invalid(errors) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "config_invalid",
                "The configuration is wrong",
                "nothing was changed; \"errors\" names every mistake with its file and line",
            )
            .with_errors(errors.into_iter().map(InputError::of_the_file).collect()),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(reload))
}

/// Reads the configuration again, and starts, drains or restarts only what has changed. A file that is
/// wrong changes nothing. The answer comes when everything is done; closing the connection stops nothing.
#[utoipa::path(
    post, path = "/v1/admin/reload", tag = "admin", operation_id = "reload",
    responses(
        (status = 200, description = "What has changed", body = Reloaded),
        (status = 409, description = "There is no file", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The file is wrong", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The daemon is stopping", body = Problem, content_type = "application/problem+json"),
    ),
    security(("key" = []))
)]
async fn reload(
    State(app): State<Arc<App>>,
    _caller: Allowed<ToAdminister>,
) -> Result<Response, Problem> {
    let reload = app.settings.reload.as_ref().ok_or(NotReloaded::NoFile)?;
    let reloaded = reload.reload().await?;
    Ok(json(StatusCode::OK, &reloaded))
}
