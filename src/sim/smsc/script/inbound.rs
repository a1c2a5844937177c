//! Messages from handsets (MO) that the script sends.

use serde::Deserialize;

/// A message from a handset. It waits until an account that can receive is bound.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inbound {
    /// The handset's number, digits with or without `+`.
    pub from: String,
    /// What it is sent to.
    pub to: String,
    /// Its text; hexadecimal digits where `alphabet` is `binary`.
    pub text: String,
    /// The `system_id` that it goes to; empty: whoever receives first.
    pub system_id: String,
    /// When it comes, in milliseconds from the start.
    pub after_ms: u64,
    /// How often it comes.
    pub times: u32,
    /// Milliseconds between two of those times.
    pub every_ms: u64,
    /// How its text is written.
    pub alphabet: InboundAlphabet,
    /// `data_coding` instead of the one that belongs to the alphabet.
    pub data_coding: Option<u8>,
    /// How it is divided if it is long.
    pub split: Split,
    /// The parts that are sent, in this order, counted from 1; empty: all, in their order.
    pub order: Vec<u8>,
    /// Milliseconds between two parts.
    pub part_gap_ms: u64,
    /// The reference that its parts share; a random one if absent.
    pub reference: Option<u16>,
    /// In a `data_sm` instead of a `deliver_sm`.
    pub data_sm: bool,
}

impl Default for Inbound {
    fn default() -> Self {
        Self {
            from: "33612345678".to_owned(),
            to: "36111".to_owned(),
            text: String::new(),
            system_id: String::new(),
            after_ms: 0,
            times: 1,
            every_ms: 1_000,
            alphabet: InboundAlphabet::Auto,
            data_coding: None,
            split: Split::Udh,
            order: Vec::new(),
            part_gap_ms: 0,
            reference: None,
            data_sm: false,
        }
    }
}

/// How the text of a message from a handset is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboundAlphabet {
    /// The SMSC's default alphabet (`data_coding` 0) if every character has a form there, else
    /// UCS-2.
    #[default]
    Auto,
    /// GSM 03.38, `data_coding` 0.
    Gsm,
    /// ISO-8859-1, `data_coding` 3.
    Latin1,
    /// ASCII, `data_coding` 1.
    Ascii,
    /// UTF-16BE, `data_coding` 8.
    Ucs2,
    /// Octets, `data_coding` 4.
    Binary,
}

/// How a long message is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// In parts, by a user data header with a reference of 8 bits.
    #[default]
    Udh,
    /// In parts, by a user data header with a reference of 16 bits.
    Udh16,
    /// In parts, by the `sar_` TLVs.
    Sar,
    /// Not at all: in `message_payload`.
    Payload,
    /// Not at all: up to 255 octets in `short_message`.
    None,
}
