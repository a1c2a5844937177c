//! `command_status`: names, and what a refusal means for a message (SMPP 3.4 §5.1.3).
//!
//! Only what can never become better is permanent: wrong addresses, contents or parameters. What
//! is not known is temporary, because retrying a lost cause costs little and giving up a good
//! message costs the message.

use crate::domain::event::Rejection;

/// No error.
pub const ESME_ROK: u32 = 0x00;
/// The length of the PDU is wrong.
pub const ESME_RINVCMDLEN: u32 = 0x02;
/// The command is unknown.
pub const ESME_RINVCMDID: u32 = 0x03;
/// The command does not fit the state of the session.
pub const ESME_RINVBNDSTS: u32 = 0x04;
/// Already bound.
pub const ESME_RALYBND: u32 = 0x05;
/// System error.
pub const ESME_RSYSERR: u32 = 0x08;
/// The bind failed.
pub const ESME_RBINDFAIL: u32 = 0x0D;
/// Wrong password.
pub const ESME_RINVPASWD: u32 = 0x0E;
/// Unknown `system_id`.
pub const ESME_RINVSYSID: u32 = 0x0F;
/// The message queue is full.
pub const ESME_RMSGQFUL: u32 = 0x14;
/// Too fast.
pub const ESME_RTHROTTLED: u32 = 0x58;
/// The receiver cannot take it now and wants it again.
pub const ESME_RX_T_APPN: u32 = 0x64;
/// Unknown error.
pub const ESME_RUNKNOWNERR: u32 = 0xFF;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Permanent,
    Temporary,
    Throttled,
}
use Kind::{Permanent, Temporary, Throttled};

const TABLE: &[(u32, &str, Kind)] = &[
    (0x00, "ESME_ROK", Temporary),
    (0x01, "ESME_RINVMSGLEN", Permanent),
    (0x02, "ESME_RINVCMDLEN", Permanent),
    (0x03, "ESME_RINVCMDID", Permanent),
    (0x04, "ESME_RINVBNDSTS", Temporary),
    (0x05, "ESME_RALYBND", Temporary),
    (0x06, "ESME_RINVPRTFLG", Permanent),
    (0x07, "ESME_RINVREGDLVFLG", Permanent),
    (0x08, "ESME_RSYSERR", Temporary),
    (0x0A, "ESME_RINVSRCADR", Permanent),
    (0x0B, "ESME_RINVDSTADR", Permanent),
    (0x0C, "ESME_RINVMSGID", Permanent),
    (0x0D, "ESME_RBINDFAIL", Temporary),
    (0x0E, "ESME_RINVPASWD", Temporary),
    (0x0F, "ESME_RINVSYSID", Temporary),
    (0x11, "ESME_RCANCELFAIL", Temporary),
    (0x13, "ESME_RREPLACEFAIL", Temporary),
    (0x14, "ESME_RMSGQFUL", Throttled),
    (0x15, "ESME_RINVSERTYP", Permanent),
    (0x33, "ESME_RINVNUMDESTS", Permanent),
    (0x34, "ESME_RINVDLNAME", Permanent),
    (0x40, "ESME_RINVDESTFLAG", Permanent),
    (0x42, "ESME_RINVSUBREP", Permanent),
    (0x43, "ESME_RINVESMCLASS", Permanent),
    (0x44, "ESME_RCNTSUBDL", Permanent),
    (0x45, "ESME_RSUBMITFAIL", Temporary),
    (0x48, "ESME_RINVSRCTON", Permanent),
    (0x49, "ESME_RINVSRCNPI", Permanent),
    (0x50, "ESME_RINVDSTTON", Permanent),
    (0x51, "ESME_RINVDSTNPI", Permanent),
    (0x53, "ESME_RINVSYSTYP", Permanent),
    (0x54, "ESME_RINVREPFLAG", Permanent),
    (0x55, "ESME_RINVNUMMSGS", Permanent),
    (0x58, "ESME_RTHROTTLED", Throttled),
    (0x61, "ESME_RINVSCHED", Permanent),
    (0x62, "ESME_RINVEXPIRY", Permanent),
    (0x63, "ESME_RINVDFTMSGID", Permanent),
    (0x64, "ESME_RX_T_APPN", Temporary),
    (0x65, "ESME_RX_P_APPN", Permanent),
    (0x66, "ESME_RX_R_APPN", Permanent),
    (0x67, "ESME_RQUERYFAIL", Temporary),
    (0xC0, "ESME_RINVOPTPARSTREAM", Permanent),
    (0xC1, "ESME_ROPTPARNOTALLWD", Permanent),
    (0xC2, "ESME_RINVPARLEN", Permanent),
    (0xC3, "ESME_RMISSINGOPTPARAM", Permanent),
    (0xC4, "ESME_RINVOPTPARAMVAL", Permanent),
    (0xFE, "ESME_RDELIVERYFAILURE", Temporary),
    (0xFF, "ESME_RUNKNOWNERR", Temporary),
    // SMPP 5.0 §4.7.6.
    (0x100, "ESME_RSERTYPUNAUTH", Permanent),
    (0x101, "ESME_RPROHIBITED", Permanent),
    (0x102, "ESME_RSERTYPUNAVAIL", Temporary),
    (0x103, "ESME_RSERTYPDENIED", Permanent),
    (0x104, "ESME_RINVDCS", Permanent),
    (0x105, "ESME_RINVSRCADDRSUBUNIT", Permanent),
    (0x106, "ESME_RINVDSTADDRSUBUNIT", Permanent),
];

fn find(status: u32) -> Option<&'static (u32, &'static str, Kind)> {
    TABLE
        .binary_search_by_key(&status, |(code, ..)| *code)
        .ok()
        .map(|index| &TABLE[index])
}

/// The status as people read it: `ESME_RTHROTTLED (0x00000058)`, or `status 0x00000400` where the
/// number is the vendor's own.
#[must_use]
pub fn status_text(status: u32) -> String {
    match find(status) {
        Some((_, name, _)) => format!("{name} (0x{status:08x})"),
        None => format!("status 0x{status:08x}"),
    }
}

/// What a `submit_sm_resp` with this status means for the message.
#[must_use]
pub fn rejection(status: u32) -> Rejection {
    let text = status_text(status);
    match find(status).map_or(Temporary, |(_, _, kind)| *kind) {
        Permanent => Rejection::Permanent(text),
        Temporary => Rejection::Temporary(text),
        Throttled => Rejection::Throttled(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_the_code() {
        assert!(TABLE.is_sorted_by_key(|(code, ..)| *code));
        assert_eq!(status_text(0x58), "ESME_RTHROTTLED (0x00000058)");
        assert_eq!(status_text(0x0D), "ESME_RBINDFAIL (0x0000000d)");
        assert_eq!(status_text(0x0400), "status 0x00000400");
    }

    #[test]
    fn only_what_cannot_become_better_is_permanent() {
        let permanent = [
            0x01, 0x0A, 0x0B, 0x33, 0x43, 0x48, 0x51, 0x61, 0x62, 0x65, 0xC2, 0x104,
        ];
        let temporary = [
            0x04,
            0x08,
            0x45,
            0x64,
            0xFE,
            0xFF,
            0x400,
            0x4FF,
            0xFFFF_FFFF,
        ];
        for status in permanent {
            assert!(
                matches!(rejection(status), Rejection::Permanent(_)),
                "{status:#x}"
            );
        }
        for status in temporary {
            assert!(
                matches!(rejection(status), Rejection::Temporary(_)),
                "{status:#x}"
            );
        }
        for status in [0x14, 0x58] {
            assert!(
                matches!(rejection(status), Rejection::Throttled(_)),
                "{status:#x}"
            );
        }
    }
}
