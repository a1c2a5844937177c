//! What the gateway means by its words. Pure: no I/O, no clock, no tokio.
//!
//! ```text
//! accept ─► Waiting{due_at, why} ─claim─► Leased ─all segments accepted─► Submitted{receipt_by}
//!             ▲                             │                                  │
//!             │  temporary · throttled ·    │                                  │ receipts,
//!             └──unknown · lease lost ──────┘                                  │ receipt_by passed
//!                                                                              ▼
//! Waiting: cancelled, validity passed ─────────────────────────────────────► Final
//! Leased: refused for good, tries used up ─────────────────────────────────►   │ only upwards:
//!                                                         Expired → Failed → Delivered
//! ```
//!
//! Words, spelled once:
//!
//! - **Message**: one text for one MSISDN, the unit of status. **Batch**: messages of one submission.
//! - **Segment**: one part on the air, one `submit_sm` or one SMS-SUBMIT.
//! - **Attempt**: the tries of a message over one account; it keeps the segments already accepted.
//! - **Operator**: the policy of a destination network. **Lane**: the queue in front of its route.
//!   **Channel**: one connection that can submit, a bind or a modem. **Account**: the id space of
//!   carrier references, shared by its binds.
//! - **Pinned**: that an account has, or may have, a part of; no other may send it.
//! - **Claim**: taking due messages for sending. **Lease**: the time-limited right to send them.
//! - **Receipt**: a delivery receipt after parsing. **Orphan**: one whose message is not known yet.
//!
//! Two orders make the awkward cases of receipts disappear; see [`receipt::Known`].

pub mod apply;
pub mod chain;
pub mod consent;
pub mod credit;
pub mod digest;
pub mod event;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod guard;
pub mod holidays;
pub mod hours;
pub mod id;
pub mod inbound;
pub mod message;
pub mod money;
pub mod msisdn;
pub mod optout;
pub mod policy;
pub mod portability;
pub mod privacy;
pub mod rate;
pub mod receipt;
pub mod refusal;
pub mod retry;
pub mod sender;
pub mod sim;
pub mod status;
pub mod template;
pub mod tenant;
pub mod terms;
pub mod territory;
pub mod text;
pub mod time;
pub mod trace;
pub mod windows;
pub mod wire;
pub mod wording;
