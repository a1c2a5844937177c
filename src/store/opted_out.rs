//! Who has opted out, kept in memory so that accepting and claiming a message cost no look at the
//! disk; rebuilt from the records at every start.
//!
//! The writer changes it together with the record. What it says may so be ahead of the disk by the
//! moment of a sync: a message that is held back in that moment fails in a later commit, and if the
//! sync fails the store is off.

use std::collections::{HashMap, HashSet};

use crate::domain::id::Tenant;
use crate::domain::msisdn::Msisdn;

/// Numbers by tenant: eight octets each, whatever the tenant's name.
#[derive(Debug, Default)]
pub(super) struct OptedOut(HashMap<Tenant, HashSet<Msisdn>>);

impl OptedOut {
    /// True if the tenant may not write to the number.
    pub(super) fn contains(&self, tenant: &Tenant, number: Msisdn) -> bool {
        let numbers = self.0.get(tenant);
        numbers.is_some_and(|numbers| numbers.contains(&number))
    }

    pub(super) fn insert(&mut self, tenant: &Tenant, number: Msisdn) {
        self.0.entry(tenant.clone()).or_default().insert(number);
    }

    pub(super) fn remove(&mut self, tenant: &Tenant, number: Msisdn) {
        if let Some(numbers) = self.0.get_mut(tenant) {
            numbers.remove(&number);
        }
    }
}
