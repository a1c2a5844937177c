//! How one account wants its messages put into PDUs: what carriers differ in although all of them
//! say SMPP. Plain data: the configuration makes it, the driver follows it.

use super::sender::Sender;

/// The version of the protocol that an account speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 3.3: no transceiver, no TLVs.
    V33,
    /// 3.4.
    #[default]
    V34,
    /// 5.0.
    V50,
}

impl Version {
    /// How people write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V33 => "3.3",
            Self::V34 => "3.4",
            Self::V50 => "5.0",
        }
    }

    /// `interface_version` (SMPP 3.4 §5.2.4).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V33 => 0x33,
            Self::V34 => 0x34,
            Self::V50 => 0x50,
        }
    }

    /// True if there are TLVs. An SMSC of an earlier version must not be sent any (SMPP 3.4 §3.4,
    /// the guidelines for backward compatibility).
    #[must_use]
    pub const fn has_tlvs(self) -> bool {
        self.number() >= FIRST_WITH_TLVS
    }
}

/// The smallest `interface_version` that has TLVs.
pub const FIRST_WITH_TLVS: u8 = 0x34;

/// How the parts of a long text say that they belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concatenation {
    /// A user data header with an 8 bit reference (3GPP TS 23.040 §9.2.3.24.1): what every SMSC
    /// takes.
    #[default]
    Udh,
    /// A user data header with a 16 bit reference (§9.2.3.24.8): fewer mistaken parts where one
    /// number gets many long messages, for one septet less in each part.
    Udh16,
    /// The TLVs `sar_msg_ref_num`, `sar_total_segments` and `sar_segment_seqnum` (SMPP 3.4
    /// §5.3.2.22 to §5.3.2.24): the SMSC writes the header.
    Sar,
    /// The whole text in one `message_payload` (SMPP 3.4 §5.3.2.32): the SMSC cuts it.
    Payload,
}

impl Concatenation {
    /// How the configuration writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udh => "udh",
            Self::Udh16 => "udh16",
            Self::Sar => "sar",
            Self::Payload => "payload",
        }
    }
}

/// Type of number and numbering plan of an address (SMPP 3.4 §5.2.5, §5.2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    /// Type of number.
    pub ton: u8,
    /// Numbering plan indicator.
    pub npi: u8,
}

/// The numbering of senders, by their form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceNumbering {
    /// Of a name.
    pub alphanumeric: Numbering,
    /// Of a short code.
    pub short: Numbering,
    /// Of a number in full.
    pub international: Numbering,
}

impl Default for SourceNumbering {
    fn default() -> Self {
        let numbering = |ton, npi| Numbering { ton, npi };
        Self {
            alphanumeric: numbering(5, 0),
            short: numbering(3, 0),
            international: numbering(1, 1),
        }
    }
}

impl SourceNumbering {
    /// The numbering of one sender; unknown where there is none.
    #[must_use]
    pub const fn of(&self, sender: Option<&Sender>) -> Numbering {
        match sender {
            None => Numbering { ton: 0, npi: 0 },
            Some(Sender::Alphanumeric(_)) => self.alphanumeric,
            Some(Sender::Short(_)) => self.short,
            Some(Sender::International(_)) => self.international,
        }
    }
}

/// A TLV that an account wants in every `submit_sm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomTlv {
    /// Its tag.
    pub tag: u16,
    /// Its value, as it goes on the wire.
    pub value: Vec<u8>,
}

/// How messages of one account are put into PDUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireRules {
    /// The protocol's version.
    pub version: Version,
    /// How parts say that they belong together.
    pub concatenation: Concatenation,
    /// Numbering of senders.
    pub source: SourceNumbering,
    /// `protocol_id` (SMPP 3.4 §5.2.13).
    pub protocol_id: u8,
    /// `registered_delivery` (SMPP 3.4 §5.2.17).
    pub registered_delivery: u8,
    /// `priority_flag` of our priorities 0 to 3 (SMPP 3.4 §5.2.14).
    pub priority_flags: [u8; 4],
    /// In every `submit_sm`, in this order.
    pub tlvs: Vec<CustomTlv>,
}

impl Default for WireRules {
    fn default() -> Self {
        Self {
            version: Version::default(),
            concatenation: Concatenation::default(),
            source: SourceNumbering::default(),
            protocol_id: 0,
            registered_delivery: 1,
            priority_flags: [0, 1, 2, 3],
            tlvs: Vec::new(),
        }
    }
}

impl WireRules {
    /// What needs TLVs, as the configuration names it; `None` if nothing does.
    #[must_use]
    pub const fn needs_tlvs(&self) -> Option<&'static str> {
        match self.concatenation {
            Concatenation::Sar => Some("concatenation = \"sar\""),
            Concatenation::Payload => Some("concatenation = \"payload\""),
            Concatenation::Udh | Concatenation::Udh16 if self.tlvs.is_empty() => None,
            Concatenation::Udh | Concatenation::Udh16 => Some("tlvs"),
        }
    }
}
