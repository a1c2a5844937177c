//! What is taken out of records to protect the people in them, and when.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// What of a record is gone for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// When its text went, and with it whatever else the caller wrote into it.
    pub text_at: Option<Timestamp>,
    /// What stands for the handset's number since that went: the same for the same number, and no way
    /// back from it without the installation's own key.
    pub number: Option<u64>,
}
