//! Who has opted out: the verbs.
//!
//! An opt-out is of a number and a tenant, and mostly of all that the tenant sends; it may also be of
//! one sender alone. Callers speak of numbers: whether the store keeps them, or what stands for them, is
//! its own affair ([`Keeping::hashed_optouts`](crate::domain::privacy::Keeping)).

use async_trait::async_trait;

use super::{Change, StoreError};
use crate::domain::id::Tenant;
use crate::domain::msisdn::Msisdn;
use crate::domain::optout::OptOut;
use crate::domain::sender::Sender;
use crate::domain::time::Timestamp;

/// The verbs of opt-outs.
#[async_trait]
pub trait OptOuts {
    /// Opts a number out, and fails what waits for it in the same commit. One that is out already, to
    /// the same extent, stays so since when it is.
    async fn opt_out(&self, optout: OptOut) -> Result<Vec<Change>, StoreError> {
        let now = optout.since;
        let opted = self.opt_out_all(vec![optout], now).await?;
        Ok(opted.into_iter().flat_map(|one| one.failed).collect())
    }

    /// The same for several, in one commit; they may have opted out long before `now`.
    async fn opt_out_all(
        &self,
        optouts: Vec<OptOut>,
        now: Timestamp,
    ) -> Result<Vec<Opted>, StoreError>;

    /// Ends an opt-out of this extent; `NotFound` if there is none.
    async fn opt_in(
        &self,
        tenant: &Tenant,
        number: Msisdn,
        sender: Option<&Sender>,
    ) -> Result<(), StoreError>;

    /// The opt-out of a number from all that a tenant sends; `NotFound` if there is none.
    async fn optout(&self, tenant: &Tenant, number: Msisdn) -> Result<OptOut, StoreError> {
        let all = self.optouts_of(tenant, number).await?;
        let whole = all.into_iter().find(|optout| optout.sender.is_none());
        whole.ok_or(StoreError::NotFound)
    }

    /// Every opt-out of a number, that from everything first.
    async fn optouts_of(&self, tenant: &Tenant, number: Msisdn) -> Result<Vec<OptOut>, StoreError>;

    /// Some of a tenant's opt-outs, by number, those behind `after`.
    async fn optouts(
        &self,
        tenant: &Tenant,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Part<OptOut>, StoreError>;
}

/// What became of an opt-out.
#[derive(Clone, Debug, Default)]
pub struct Opted {
    /// False if the number was out already.
    pub new: bool,
    /// Messages that waited for it, and have failed.
    pub failed: Vec<Change>,
}

/// Part of a list that goes by something else than ids.
#[derive(Clone, Debug)]
pub struct Part<T> {
    /// What it holds.
    pub items: Vec<T>,
    /// Where to go on, if there may be more. It means nothing outside the store.
    pub next: Option<Vec<u8>>,
}
