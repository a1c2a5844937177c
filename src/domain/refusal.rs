//! What a carrier's refusal means for a message: every `command_status` of SMPP 3.4 §5.1.3 and
//! SMPP 5.0 §4.7.6, and what carriers are known to put into their own range, as one table.
//!
//! Only what can never become better is permanent: a wrong address, content or parameter. What is
//! not known is temporary, because retrying a lost cause costs little and giving up a good message
//! costs the message. For the same reason nothing of the carriers' own range is permanent here: the
//! same number is a spam filter with one carrier and a full database with the next. Whoever knows
//! their carrier says so in the configuration, account by account.

use std::collections::BTreeMap;
use std::fmt;

use super::event::Rejection;

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalClass {
    /// It will never take this message, which fails at once.
    Permanent,
    /// It will never take anything for this number, which nobody has.
    NumberInvalid,
    /// It may take it later: tried again by the operator's schedule.
    Temporary,
    /// Too fast or too much: the account slows down, the message keeps its place.
    Throttled,
    /// The account cannot send at present (credit, suspension, credentials, settings): the account
    /// rests, the message keeps its place.
    Account,
}

impl RefusalClass {
    /// Every class, with the word that the configuration uses.
    pub const WORDS: [(&'static str, Self); 5] = [
        ("permanent", Self::Permanent),
        ("number_invalid", Self::NumberInvalid),
        ("temporary", Self::Temporary),
        ("throttled", Self::Throttled),
        ("account", Self::Account),
    ];

    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::NumberInvalid => "number_invalid",
            Self::Temporary => "temporary",
            Self::Throttled => "throttled",
            Self::Account => "account",
        }
    }
}

/// One `command_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownStatus {
    /// The number.
    pub code: u32,
    /// Its name in the specification; empty in the carriers' own range.
    pub name: &'static str,
    /// What it means for a message that was submitted.
    pub class: RefusalClass,
    /// In words.
    pub meaning: &'static str,
}

impl fmt::Display for KnownStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            name,
            class,
            meaning,
        } = self;
        write!(
            f,
            "0x{code:08x}  {name:<24}  {:<14}  {meaning}",
            class.word()
        )
    }
}

const fn row(
    code: u32,
    name: &'static str,
    class: RefusalClass,
    meaning: &'static str,
) -> KnownStatus {
    KnownStatus {
        code,
        name,
        class,
        meaning,
    }
}

use RefusalClass::{Account, NumberInvalid, Permanent, Temporary, Throttled};

/// Every status that is known, in ascending order.
pub const STATUSES: &[KnownStatus] = &[
    // `ESME_ROK` refuses nothing; it stands here for its name, and for a `generic_nack` that has it.
    row(0x00, "ESME_ROK", Temporary, "no error"),
    row(
        0x01,
        "ESME_RINVMSGLEN",
        Permanent,
        "message too long or empty",
    ),
    row(0x02, "ESME_RINVCMDLEN", Permanent, "length of the PDU"),
    row(0x03, "ESME_RINVCMDID", Permanent, "unknown command"),
    row(0x04, "ESME_RINVBNDSTS", Account, "not bound for sending"),
    row(0x05, "ESME_RALYBND", Account, "bound already"),
    row(0x06, "ESME_RINVPRTFLG", Permanent, "priority"),
    row(0x07, "ESME_RINVREGDLVFLG", Permanent, "registered_delivery"),
    row(
        0x08,
        "ESME_RSYSERR",
        Temporary,
        "fault of the carrier's system",
    ),
    row(0x0A, "ESME_RINVSRCADR", Permanent, "sender"),
    row(0x0B, "ESME_RINVDSTADR", NumberInvalid, "recipient"),
    row(0x0C, "ESME_RINVMSGID", Permanent, "message id"),
    row(0x0D, "ESME_RBINDFAIL", Account, "bind failed"),
    row(0x0E, "ESME_RINVPASWD", Account, "wrong password"),
    row(0x0F, "ESME_RINVSYSID", Account, "unknown system_id"),
    row(0x11, "ESME_RCANCELFAIL", Temporary, "cancelling failed"),
    row(0x13, "ESME_RREPLACEFAIL", Temporary, "replacing failed"),
    row(
        0x14,
        "ESME_RMSGQFUL",
        Throttled,
        "the carrier's queue is full",
    ),
    // Set by account, so that it is the account that is wrong and not the message.
    row(0x15, "ESME_RINVSERTYP", Account, "service_type"),
    row(0x33, "ESME_RINVNUMDESTS", Permanent, "number of recipients"),
    row(0x34, "ESME_RINVDLNAME", Permanent, "distribution list"),
    row(0x40, "ESME_RINVDESTFLAG", Permanent, "dest_flag"),
    row(
        0x42,
        "ESME_RINVSUBREP",
        Permanent,
        "submitting with replacement",
    ),
    row(0x43, "ESME_RINVESMCLASS", Permanent, "esm_class"),
    row(
        0x44,
        "ESME_RCNTSUBDL",
        Permanent,
        "distribution list not allowed",
    ),
    row(0x45, "ESME_RSUBMITFAIL", Temporary, "submitting failed"),
    row(
        0x48,
        "ESME_RINVSRCTON",
        Permanent,
        "sender's type of number",
    ),
    row(
        0x49,
        "ESME_RINVSRCNPI",
        Permanent,
        "sender's numbering plan",
    ),
    row(
        0x50,
        "ESME_RINVDSTTON",
        Permanent,
        "recipient's type of number",
    ),
    row(
        0x51,
        "ESME_RINVDSTNPI",
        Permanent,
        "recipient's numbering plan",
    ),
    row(0x53, "ESME_RINVSYSTYP", Account, "system_type"),
    row(
        0x54,
        "ESME_RINVREPFLAG",
        Permanent,
        "replace_if_present_flag",
    ),
    row(0x55, "ESME_RINVNUMMSGS", Permanent, "number of messages"),
    row(0x58, "ESME_RTHROTTLED", Throttled, "faster than agreed"),
    row(0x61, "ESME_RINVSCHED", Permanent, "schedule_delivery_time"),
    row(0x62, "ESME_RINVEXPIRY", Permanent, "validity_period"),
    row(0x63, "ESME_RINVDFTMSGID", Permanent, "predefined message"),
    row(
        0x64,
        "ESME_RX_T_APPN",
        Temporary,
        "receiver's passing fault",
    ),
    row(
        0x65,
        "ESME_RX_P_APPN",
        Permanent,
        "receiver's lasting fault",
    ),
    row(0x66, "ESME_RX_R_APPN", Permanent, "receiver rejects it"),
    row(0x67, "ESME_RQUERYFAIL", Temporary, "query failed"),
    row(
        0xC0,
        "ESME_RINVOPTPARSTREAM",
        Permanent,
        "optional part of the PDU",
    ),
    row(0xC1, "ESME_ROPTPARNOTALLWD", Permanent, "TLV not allowed"),
    row(0xC2, "ESME_RINVPARLEN", Permanent, "length of a parameter"),
    row(0xC3, "ESME_RMISSINGOPTPARAM", Permanent, "TLV missing"),
    row(0xC4, "ESME_RINVOPTPARAMVAL", Permanent, "value of a TLV"),
    row(0xFE, "ESME_RDELIVERYFAILURE", Temporary, "delivery failed"),
    row(0xFF, "ESME_RUNKNOWNERR", Temporary, "unknown error"),
    // SMPP 5.0 §4.7.6 from here.
    row(
        0x100,
        "ESME_RSERTYPUNAUTH",
        Account,
        "service_type not granted",
    ),
    row(0x101, "ESME_RPROHIBITED", Account, "operation not granted"),
    row(
        0x102,
        "ESME_RSERTYPUNAVAIL",
        Temporary,
        "service_type not available",
    ),
    row(
        0x103,
        "ESME_RSERTYPDENIED",
        Permanent,
        "service_type denied",
    ),
    row(0x104, "ESME_RINVDCS", Permanent, "data_coding"),
    row(
        0x105,
        "ESME_RINVSRCADDRSUBUNIT",
        Permanent,
        "sender's subunit",
    ),
    row(
        0x106,
        "ESME_RINVDSTADDRSUBUNIT",
        Permanent,
        "recipient's subunit",
    ),
    row(
        0x107,
        "ESME_RINVBCASTFREQINT",
        Permanent,
        "broadcast interval",
    ),
    row(
        0x108,
        "ESME_RINVBCASTALIAS_NAME",
        Permanent,
        "broadcast area's name",
    ),
    row(
        0x109,
        "ESME_RINVBCASTAREAFMT",
        Permanent,
        "broadcast area's form",
    ),
    row(
        0x10A,
        "ESME_RINVNUMBCAST_AREAS",
        Permanent,
        "number of broadcast areas",
    ),
    row(
        0x10B,
        "ESME_RINVBCASTCNTTYPE",
        Permanent,
        "broadcast content",
    ),
    row(
        0x10C,
        "ESME_RINVBCASTMSGCLASS",
        Permanent,
        "broadcast class",
    ),
    row(0x10D, "ESME_RBCASTFAIL", Temporary, "broadcasting failed"),
    row(
        0x10E,
        "ESME_RBCASTQUERYFAIL",
        Temporary,
        "broadcast query failed",
    ),
    row(
        0x10F,
        "ESME_RBCASTCANCELFAIL",
        Temporary,
        "cancelling a broadcast failed",
    ),
    row(
        0x110,
        "ESME_RINVBCAST_REP",
        Permanent,
        "broadcast repetitions",
    ),
    row(
        0x111,
        "ESME_RINVBCASTSRVGRP",
        Permanent,
        "broadcast service group",
    ),
    row(
        0x112,
        "ESME_RINVBCASTCHANIND",
        Permanent,
        "broadcast channel",
    ),
    // The carriers' own range, 0x400 to 0x4FF: what several are known to mean. Where they differ
    // (0x400 is "no route" here and "no credit" there) trying again later is right for both.
    row(0x400, "", Temporary, "no route, or no credit"),
    row(0x401, "", Account, "credit used up"),
    row(0x402, "", Account, "limit of credit reached"),
    row(0x403, "", Account, "account suspended"),
    row(
        0x404,
        "",
        Temporary,
        "content refused, or a fault of storage",
    ),
    row(0x405, "", Temporary, "fault of the client, or of storage"),
    row(0x40A, "", Temporary, "recipient or sender barred"),
    row(0x410, "", Account, "address of the client not allowed"),
    row(0x411, "", Account, "balance not sufficient"),
    row(0x412, "", Temporary, "recipient barred"),
    row(0x414, "", Temporary, "content barred"),
    row(0x415, "", Temporary, "no route to this number"),
    row(0x416, "", Temporary, "no price for this number"),
    row(0x417, "", Temporary, "operator not reachable"),
    row(0x430, "", Temporary, "length of the text"),
    row(0x431, "", Temporary, "fault of the carrier's system"),
    row(0x432, "", Temporary, "spam filter"),
    row(0x433, "", Temporary, "data_coding does not fit the text"),
    row(
        0x4A1,
        "",
        Temporary,
        "fault of the carrier's system, or channel off",
    ),
    row(0x4FF, "", Temporary, "fault of the carrier's system"),
];

/// Names that SMPP 5.0 gave to statuses of SMPP 3.4, and spellings in use.
const ALIASES: [(&str, u32); 7] = [
    ("ESME_RINVTLVSTREAM", 0xC0),
    ("ESME_RTLVNOTALLWD", 0xC1),
    ("ESME_RINVTLVLEN", 0xC2),
    ("ESME_RMISSINGTLV", 0xC3),
    ("ESME_RINVTLVVAL", 0xC4),
    ("ESME_RINVBCASTREP", 0x110),
    ("ESME_RINVBCASTALIASNAME", 0x108),
];

/// What is known of a status.
#[must_use]
pub fn known_status(code: u32) -> Option<&'static KnownStatus> {
    STATUSES
        .binary_search_by_key(&code, |known| known.code)
        .ok()
        .and_then(|index| STATUSES.get(index))
}

/// The status that a person writes: `0x58`, `88`, or a name of the specification in any case.
#[must_use]
pub fn status_of(written: &str) -> Option<u32> {
    let written = written.trim();
    let hex = written
        .strip_prefix("0x")
        .or_else(|| written.strip_prefix("0X"));
    if let Some(hex) = hex {
        return u32::from_str_radix(hex, 16).ok();
    }
    if written.bytes().all(|byte| byte.is_ascii_digit()) {
        return written.parse().ok();
    }
    let is_it = |name: &str| name.eq_ignore_ascii_case(written);
    STATUSES
        .iter()
        .find(|known| is_it(known.name))
        .map(|known| known.code)
        .or_else(|| {
            let alias = ALIASES.iter().find(|(name, _)| is_it(name));
            alias.map(|(_, code)| *code)
        })
}

/// The status as people read it: `ESME_RTHROTTLED (0x00000058)`, `status 0x00000401 (credit used
/// up)` in the carriers' own range, and `unknown status 0x000004aa`.
#[must_use]
pub fn status_text(code: u32) -> String {
    match known_status(code) {
        Some(KnownStatus {
            name: "", meaning, ..
        }) => format!("status 0x{code:08x} ({meaning})"),
        Some(known) => format!("{} (0x{code:08x})", known.name),
        None => format!("unknown status 0x{code:08x}"),
    }
}

/// What refusals mean on one account: the table, and what its operator knows better.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusalRules {
    overrides: BTreeMap<u32, RefusalClass>,
}

impl RefusalRules {
    /// The table with these exceptions.
    #[must_use]
    pub const fn with(overrides: BTreeMap<u32, RefusalClass>) -> Self {
        Self { overrides }
    }

    /// The exceptions, in ascending order.
    pub fn overrides(&self) -> impl Iterator<Item = (u32, RefusalClass)> {
        self.overrides.iter().map(|(code, class)| (*code, *class))
    }

    /// What this status means here; `None` if neither the table nor the account knows it.
    #[must_use]
    pub fn class(&self, status: u32) -> Option<RefusalClass> {
        let known = || known_status(status).map(|known| known.class);
        self.overrides.get(&status).copied().or_else(known)
    }

    /// What a response with this status means for the message. Unknown is temporary, and its text
    /// says that it is unknown.
    #[must_use]
    pub fn rejection(&self, status: u32) -> Rejection {
        let text = status_text(status);
        match self.class(status) {
            Some(Permanent) => Rejection::Permanent(text),
            Some(NumberInvalid) => Rejection::NumberInvalid(text),
            Some(Temporary) | None => Rejection::Temporary(text),
            Some(Throttled) => Rejection::Throttled(text),
            Some(Account) => Rejection::Account(text),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn class(status: u32) -> Option<RefusalClass> {
        RefusalRules::default().class(status)
    }

    #[test]
    fn the_table_is_sorted_and_every_name_leads_back_to_its_number() {
        assert!(STATUSES.is_sorted_by_key(|known| known.code));
        for known in STATUSES {
            assert_eq!(known_status(known.code), Some(known));
            assert_eq!(
                known.name.is_empty(),
                (0x400..=0x4FF).contains(&known.code),
                "{known}"
            );
            if !known.name.is_empty() {
                assert_eq!(status_of(known.name), Some(known.code));
                assert_eq!(status_of(&known.name.to_lowercase()), Some(known.code));
            }
            assert_eq!(status_of(&known.code.to_string()), Some(known.code));
            assert_eq!(
                status_of(&format!("0x{:08X}", known.code)),
                Some(known.code)
            );
        }
    }

    #[test]
    fn every_status_of_both_versions_is_in_the_table() {
        let version_3_4 = [0x00..=0x08, 0x0A..=0x0F, 0x11..=0x11, 0x13..=0x15]
            .into_iter()
            .chain([0x33..=0x34, 0x40..=0x40, 0x42..=0x45, 0x48..=0x49])
            .chain([0x50..=0x51, 0x53..=0x55, 0x58..=0x58, 0x61..=0x67])
            .chain([0xC0..=0xC4, 0xFE..=0xFF]);
        let all: Vec<u32> = version_3_4.chain([0x100..=0x112]).flatten().collect();
        for code in &all {
            assert!(known_status(*code).is_some(), "{code:#x}");
        }
        let specified = STATUSES.iter().filter(|known| !known.name.is_empty());
        assert_eq!(specified.count(), all.len());
    }

    #[test]
    fn a_status_is_told_with_name_number_and_what_is_known_of_it() {
        assert_eq!(status_text(0x58), "ESME_RTHROTTLED (0x00000058)");
        assert_eq!(status_text(0x0D), "ESME_RBINDFAIL (0x0000000d)");
        assert_eq!(status_text(0x401), "status 0x00000401 (credit used up)");
        assert_eq!(status_text(0x4AA), "unknown status 0x000004aa");
        assert_eq!(
            known_status(0x58).unwrap().to_string(),
            "0x00000058  ESME_RTHROTTLED           throttled       faster than agreed"
        );
        assert_eq!(status_of("ESME_RINVTLVLEN"), Some(0xC2));
        for nothing in ["", "0x", "0xZZ", "ESME_", "-1", "4294967296"] {
            assert_eq!(status_of(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn only_what_cannot_become_better_is_permanent() {
        let permanent = [
            0x01, 0x0A, 0x33, 0x43, 0x48, 0x51, 0x61, 0x62, 0x65, 0xC2, 0x104,
        ];
        for status in permanent {
            assert_eq!(class(status), Some(Permanent), "{status:#x}");
        }
        assert_eq!(class(0x0B), Some(NumberInvalid));
        for status in [0x08, 0x45, 0x64, 0xFE, 0xFF, 0x102, 0x400, 0x4FF] {
            assert_eq!(class(status), Some(Temporary), "{status:#x}");
        }
        for status in [0x14, 0x58] {
            assert_eq!(class(status), Some(Throttled), "{status:#x}");
        }
        for status in [0x04, 0x0D, 0x0E, 0x0F, 0x15, 0x53, 0x401, 0x403, 0x411] {
            assert_eq!(class(status), Some(Account), "{status:#x}");
        }
        let own = STATUSES.iter().filter(|known| known.name.is_empty());
        assert!(own.into_iter().all(|known| known.class != Permanent));
    }

    #[test]
    fn what_no_table_knows_is_temporary_and_said_to_be_unknown() {
        for status in [0x09, 0x22, 0x113, 0x4AA, 0x500, u32::MAX] {
            assert_eq!(class(status), None, "{status:#x}");
            let text = format!("unknown status 0x{status:08x}");
            let rejection = RefusalRules::default().rejection(status);
            assert_eq!(rejection, Rejection::Temporary(text));
        }
    }

    #[test]
    fn an_account_knows_its_carrier_better_than_the_table() {
        let rules =
            RefusalRules::with([(0x400, Account), (0x45, Permanent), (0x4AA, Throttled)].into());
        assert!(matches!(rules.rejection(0x400), Rejection::Account(_)));
        assert!(matches!(rules.rejection(0x45), Rejection::Permanent(_)));
        assert!(matches!(rules.rejection(0x4AA), Rejection::Throttled(_)));
        assert!(matches!(rules.rejection(0x58), Rejection::Throttled(_)));
    }
}
