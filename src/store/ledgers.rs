//! Credit and quotas: what tenants have and have used, and the lines of their ledgers.
//!
//! What messages cost is taken in the commit that accepts them, and given back in the commit that ends
//! them with nothing having left: a crash leaves both or neither, so that a balance is the sum of its
//! ledger at every instant. `fsck` holds the store to that.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Idempotency, StoreError};
use crate::domain::credit::{Line, Purse, Used};
use crate::domain::id::Tenant;
use crate::domain::tenant::Unit;
use crate::domain::time::Timestamp;

/// The verbs of credit and quotas.
#[async_trait]
pub trait Ledgers {
    /// What a tenant has and has used; empty where nothing is known of it. Cheap: no I/O.
    fn purse(&self, tenant: &Tenant) -> Arc<Purse>;
    /// Those of every tenant that has one, by tenant. Cheap: no I/O.
    fn purses(&self) -> Vec<Arc<Purse>>;
    /// What a key has used of quotas of its own.
    async fn used_by_key(&self, tenant: &Tenant, key: &str) -> Result<Used, StoreError>;
    /// Enters what an administrator adds or takes away. `Unpaid` if that is more than there is;
    /// `Conflict` if its idempotency key was used with another body.
    async fn post_credit(&self, posting: Posting) -> Result<Posted, StoreError>;
    /// A page of a tenant's ledger, newest first, those before line `before`.
    async fn ledger(
        &self,
        tenant: &Tenant,
        before: Option<u64>,
        limit: usize,
    ) -> Result<LedgerPage, StoreError>;
}

/// What an administrator adds to a credit, or takes away.
#[derive(Clone, Debug)]
pub struct Posting {
    /// Whose credit.
    pub tenant: Tenant,
    /// In what it is counted.
    pub unit: Unit,
    /// Millionths of a euro or parts; negative: taken away.
    pub amount: i64,
    /// In the administrator's words.
    pub note: Option<String>,
    /// The name of the key that enters it.
    pub by: Option<String>,
    /// The caller's key against repetition.
    pub idempotency: Option<Idempotency>,
    /// Now.
    pub now: Timestamp,
}

/// What was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The line of the ledger.
    pub line: Line,
    /// True if this answers a repetition.
    pub repeated: bool,
}

/// A page of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerPage {
    /// The lines, newest first.
    pub lines: Vec<Line>,
    /// The number to go on before, if there may be more.
    pub next: Option<u64>,
}
