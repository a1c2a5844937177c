//! Who has opted out, kept in memory so that accepting and claiming a message cost no look at the
//! disk; rebuilt from the records at every start.
//!
//! The writer changes it together with the record. What it says may so be ahead of the disk by the
//! moment of a sync: a message that is held back in that moment fails in a later commit, and if the
//! sync fails the store is off.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::domain::id::Tenant;
use crate::domain::message::Message;
use crate::domain::msisdn::Msisdn;
use crate::domain::optout::{Opposed, sender_key};
use crate::domain::policy::Policy;
use crate::domain::privacy::{Keeping, Pseudonyms};

/// Who has opted out, by tenant.
#[derive(Default)]
pub(super) struct OptedOut {
    tenants: HashMap<Tenant, Theirs>,
    pseudonyms: Pseudonyms,
    hashed: bool,
}

/// Of one tenant.
#[derive(Debug, Default)]
struct Theirs {
    numbers: Marks,
    /// By what stands for numbers.
    hashed: Marks,
}

/// Eight octets a number, whatever the tenant's name.
#[derive(Debug, Default)]
struct Marks {
    /// Who gets nothing at all.
    all: HashSet<u64>,
    /// Who gets nothing from certain senders: few.
    from: HashMap<u64, BTreeSet<Box<str>>>,
}

/// The scope of an opt-out: one sender, by its [`sender_key`], or all of them.
pub(super) type Scope = Option<Box<str>>;

impl Marks {
    fn has(&self, mark: u64, sender: Option<&str>) -> bool {
        match sender {
            None => self.all.contains(&mark),
            Some(sender) => self.from.get(&mark).is_some_and(|of| of.contains(sender)),
        }
    }

    fn opposes(&self, mark: u64, message: &Message, policy: &Policy) -> bool {
        if self.all.contains(&mark) {
            return true;
        }
        let Some(senders) = self.from.get(&mark) else {
            return false;
        };
        match &message.from {
            Some(sender) => senders.contains(sender_key(sender).as_str()),
            // It shows the sender of whatever account it goes over.
            None => policy
                .senders_of(policy.operator(&message.lane.operator))
                .any(|sender| senders.contains(sender_key(sender).as_str())),
        }
    }

    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.from.is_empty()
    }
}

impl Theirs {
    fn of(&self, who: Opposed) -> (&Marks, u64) {
        match who {
            Opposed::Number(number) => (&self.numbers, number.as_u64()),
            Opposed::Hashed(mark) => (&self.hashed, mark),
        }
    }

    fn of_mut(&mut self, who: Opposed) -> (&mut Marks, u64) {
        match who {
            Opposed::Number(number) => (&mut self.numbers, number.as_u64()),
            Opposed::Hashed(mark) => (&mut self.hashed, mark),
        }
    }
}

impl OptedOut {
    /// Nobody yet, kept as the installation wants it.
    pub(super) fn new(keeping: &Keeping) -> Self {
        Self {
            tenants: HashMap::new(),
            pseudonyms: keeping.pseudonyms.clone(),
            hashed: keeping.hashed_optouts,
        }
    }

    /// True if the message must not reach its recipient.
    pub(super) fn opposes(&self, message: &Message, policy: &Policy) -> bool {
        let Some(theirs) = self.tenants.get(&message.tenant) else {
            return false;
        };
        let number = message.to.as_u64();
        if theirs.numbers.opposes(number, message, policy) {
            return true;
        }
        // Hashing costs something, and is mostly not needed.
        !theirs.hashed.is_empty()
            && match Opposed::hashed(&self.pseudonyms, &message.tenant, message.to) {
                Opposed::Hashed(mark) => theirs.hashed.opposes(mark, message, policy),
                Opposed::Number(_) => false,
            }
    }

    /// How a new opt-out of a number is kept.
    pub(super) fn kept(&self, tenant: &Tenant, number: Msisdn) -> Opposed {
        if self.hashed {
            Opposed::hashed(&self.pseudonyms, tenant, number)
        } else {
            Opposed::Number(number)
        }
    }

    /// How the opt-outs of a number may be kept: also those of another time.
    pub(super) fn forms(&self, tenant: &Tenant, number: Msisdn) -> [Opposed; 2] {
        [
            Opposed::Number(number),
            Opposed::hashed(&self.pseudonyms, tenant, number),
        ]
    }

    /// The form in which there is an opt-out of a number with this scope.
    pub(super) fn find(
        &self,
        tenant: &Tenant,
        number: Msisdn,
        sender: Option<&str>,
    ) -> Option<Opposed> {
        let theirs = self.tenants.get(tenant)?;
        let has = |who: &Opposed| {
            let (marks, mark) = theirs.of(*who);
            marks.has(mark, sender)
        };
        self.forms(tenant, number).into_iter().find(has)
    }

    /// Every opt-out of a number.
    pub(super) fn all_of(&self, tenant: &Tenant, number: Msisdn) -> Vec<(Opposed, Scope)> {
        let Some(theirs) = self.tenants.get(tenant) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for who in self.forms(tenant, number) {
            let (marks, mark) = theirs.of(who);
            found.extend(marks.all.contains(&mark).then_some((who, None)));
            let senders = marks.from.get(&mark).into_iter().flatten();
            found.extend(senders.map(|sender| (who, Some(sender.clone()))));
        }
        found
    }

    pub(super) fn insert(&mut self, tenant: &Tenant, who: Opposed, sender: Option<&str>) {
        let theirs = self.tenants.entry(tenant.clone()).or_default();
        let (marks, mark) = theirs.of_mut(who);
        match sender {
            None => {
                marks.all.insert(mark);
            }
            Some(sender) => {
                marks.from.entry(mark).or_default().insert(sender.into());
            }
        }
    }

    pub(super) fn remove(&mut self, tenant: &Tenant, who: Opposed, sender: Option<&str>) {
        let Some(theirs) = self.tenants.get_mut(tenant) else {
            return;
        };
        let (marks, mark) = theirs.of_mut(who);
        match sender {
            None => {
                marks.all.remove(&mark);
            }
            Some(sender) => {
                if let Some(senders) = marks.from.get_mut(&mark) {
                    senders.remove(sender);
                    if senders.is_empty() {
                        marks.from.remove(&mark);
                    }
                }
            }
        }
    }
}
