//! Names of things: message and batch ids, and the names that configuration gives.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::time::Timestamp;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A UUIDv7 (RFC 9562 §5.7): 48 bits of `now` in milliseconds, then 74 of the given
            /// random bits. Ids sort by creation time and cannot be guessed.
            #[must_use]
            pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
                let millis = now.millis().max(0).unsigned_abs();
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// Reads the hyphenated or plain hexadecimal form.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Uuid::try_parse(text).ok().map(Self)
            }

            /// The sixteen octets, big-endian: byte order is creation order.
            #[must_use]
            pub const fn bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// One text for one MSISDN: the unit of status.
    MessageId
);
uuid_id!(
    /// The messages of one submission.
    BatchId
);
uuid_id!(
    /// One message received from a handset (MO).
    InboundId
);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The organisation or application that a key, a message or a webhook belongs to.
    Tenant
);
impl Tenant {
    /// The tenant of the admin key, and of accounts for which the configuration names none.
    pub const DEFAULT: &'static str = "default";

    /// What a tenant's name is made of.
    pub const RULE: &'static str = "use 1 to 64 lower-case letters, digits, '.', '_' and '-'";

    /// The tenant of this name; `None` if it breaks [`RULE`](Self::RULE).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let sign = |octet: u8| {
            octet.is_ascii_lowercase() || octet.is_ascii_digit() || b"._-".contains(&octet)
        };
        ((1..=64).contains(&name.len()) && name.bytes().all(sign)).then(|| name.into())
    }
}

name!(
    /// The id space of carrier references: one SMSC `system_id`, shared by its binds.
    Account
);
name!(
    /// One connection that can submit, for example `orange#1`, the first bind of account `orange`.
    ChannelId
);
name!(
    /// The policy of a destination operator, by its name in the configuration.
    OperatorName
);

/// The queue in front of one operator's route. Which step of the route takes a message is decided
/// when it is claimed, so that another step needs no write.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lane {
    /// Whose policy rules.
    pub operator: OperatorName,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operator)
    }
}
