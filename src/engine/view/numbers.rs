//! Numbers that nobody has, as clients read them.

use serde::Serialize;
use utoipa::ToSchema;

use super::Rfc3339;
use crate::domain::privacy;
use crate::store::InvalidNumber;

/// A number that nobody has: a carrier has said so, beyond doubt.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InvalidNumber)]
pub struct InvalidNumberView {
    /// E.164; `~` and 16 hexadecimal digits once it is erased.
    #[schema(example = "+33612345678")]
    number: String,
    /// When it was found out.
    #[schema(value_type = chrono::DateTime<chrono::Utc>)]
    since: Rfc3339,
    /// The message that told.
    #[schema(value_type = String, format = "uuid")]
    message: uuid::Uuid,
    /// The carrier's own code.
    #[serde(skip_serializing_if = "String::is_empty")]
    code: String,
    /// Always true: the number may be deleted from lists of contacts.
    deletable: bool,
}

impl From<&InvalidNumber> for InvalidNumberView {
    fn from(it: &InvalidNumber) -> Self {
        Self {
            number: it
                .erased
                .map_or_else(|| it.number.to_string(), privacy::written),
            since: Rfc3339(it.since),
            message: it.message.0,
            code: it.code.clone(),
            deletable: true,
        }
    }
}
