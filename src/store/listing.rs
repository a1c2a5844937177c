//! Which messages a list shows.

use crate::domain::id::{MessageId, Tenant};
use crate::domain::message::Message;
use crate::domain::msisdn::Msisdn;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;

/// Which messages to list.
#[derive(Clone, Debug)]
pub struct Query {
    /// Whose.
    pub tenant: Tenant,
    /// Only this status.
    pub status: Option<Status>,
    /// Only to this number.
    pub to: Option<Msisdn>,
    /// Only with this reference.
    pub reference: Option<String>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Created at or after.
    pub since: Option<Timestamp>,
    /// Created before.
    pub until: Option<Timestamp>,
    /// Changed at or after.
    pub updated_since: Option<Timestamp>,
    /// Only of this plan.
    pub schedule_key: Option<String>,
    /// True: oldest first.
    pub ascending: bool,
    /// Continue behind this id.
    pub behind: Option<MessageId>,
    /// Most per page.
    pub limit: usize,
}

impl Query {
    /// Every message of a tenant, newest first, up to so many a page.
    #[must_use]
    pub const fn of(tenant: Tenant, limit: usize) -> Self {
        Self {
            tenant,
            status: None,
            to: None,
            reference: None,
            kind: None,
            since: None,
            until: None,
            updated_since: None,
            schedule_key: None,
            ascending: false,
            behind: None,
            limit,
        }
    }

    /// True if it is to be shown.
    #[must_use]
    pub fn wants(&self, message: &Message) -> bool {
        let is = |given: Option<&String>, wanted: &String| given == Some(wanted);
        let terms = message.terms.as_deref();
        message.tenant == self.tenant
            && self.status.is_none_or(|status| message.status() == status)
            && self.to.is_none_or(|to| message.to == to)
            && self.since.is_none_or(|since| message.created_at >= since)
            && self.until.is_none_or(|until| message.created_at < until)
            && self
                .updated_since
                .is_none_or(|since| message.updated_at >= since)
            && self
                .reference
                .as_ref()
                .is_none_or(|wanted| is(message.reference.as_ref(), wanted))
            && self
                .kind
                .as_ref()
                .is_none_or(|wanted| is(message.kind.as_ref(), wanted))
            && self.schedule_key.as_ref().is_none_or(|wanted| {
                is(terms.and_then(|terms| terms.schedule_key.as_ref()), wanted)
            })
    }
}
