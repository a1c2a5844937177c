//! What the log says of messages: one line a change of status, under the target `relais::message`.
//!
//! A message's end is worth a line at `info`; that it was taken, and that a carrier has it, are told at
//! `debug`: at full throughput three lines a message would cost more than they tell, and journald would
//! drop those that matter. Each line has the message's id and, where the caller gave a `traceparent`,
//! its trace. Never a text, never a whole number.

use std::fmt;
use std::time::Duration;

use tracing::field::display;

use crate::domain::inbound::Inbound;
use crate::domain::message::Message;
use crate::domain::status::Status;
use crate::domain::trace::TraceParent;

/// The target of these lines, to be given a level of its own: `info,relais::message=debug`.
pub const TARGET: &str = "relais::message";

/// The `trace` field of a line: 32 hexadecimal digits, as tracing systems write it.
struct Trace(TraceParent);

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0.trace)
    }
}

/// The `parent` field of a line: the caller's span, and its flags.
struct Parent(TraceParent);

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:02x}", self.0.parent, self.0.flags)
    }
}

/// The `trace` of whatever is said of this message.
pub(super) fn trace(message: &Message) -> Option<impl tracing::Value + use<>> {
    message.trace.map(Trace).map(display)
}

macro_rules! status {
    ($level:ident, $message:expr, $status:expr) => {{
        let (message, status) = ($message, $status);
        tracing::$level!(
            target: TARGET,
            message_id = %message.id,
            trace = trace(message),
            parent = message.trace.map(Parent).map(display),
            status = status.word(),
            reason = message.reason().map(|cause| cause.code()),
            operator = message.lane.operator.as_str(),
            channel = message.channel().map(|channel| channel.as_str()),
            to = ?message.to,
            after_ms = u64::try_from(since_before(message, status).as_millis()).unwrap_or(u64::MAX),
            "message_status"
        );
    }};
}

/// Says that a message has reached its present status.
pub(super) fn status(message: &Message) {
    match message.status() {
        status @ (Status::Pending | Status::Sent) => status!(debug, message, status),
        status => status!(info, message, status),
    }
}

/// Says that a message has come in.
pub(super) fn inbound(inbound: &Inbound) {
    tracing::info!(
        target: TARGET,
        inbound_id = %inbound.id,
        channel = inbound.channel.as_str(),
        tenant = inbound.tenant.as_str(),
        wish = inbound.keyword.as_ref().map(|keyword| debug(keyword.wish)),
        "inbound_received"
    );
}

/// How long the status before this one lasted.
fn since_before(message: &Message, status: Status) -> Duration {
    let since = match status {
        Status::Pending => message.updated_at,
        Status::Sent => message.created_at,
        _ => message.sent_at.unwrap_or(message.created_at),
    };
    message.updated_at.since(since)
}
