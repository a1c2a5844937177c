//! What a modem's error means for the message and for the modem.
//!
//! The values are those of 3GPP TS 27.005 §3.2.5 (`+CMS ERROR`, which takes 1 to 127 from TS 24.011
//! annex E-2 and 128 to 255 from TS 23.040 §9.2.3.22) and TS 27.007 §9.2 (`+CME ERROR`); makers add
//! their own from 512. Modems use the same value for very different things (500 is no credit, a
//! barred number, a wrong SMSC and a bad radio alike), so only what can never become better fails a
//! message, and what is not known is tried again a few times.

use std::fmt;
use std::time::Duration;

use crate::domain::event::Rejection;

/// A final result other than `OK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// `+CMS ERROR: <n>`; `None` if words stood there.
    Cms(Option<u16>),
    /// `+CME ERROR: <n>`; `None` if words stood there.
    Cme(Option<u16>),
    /// `ERROR`.
    Error,
    /// `COMMAND NOT SUPPORT`: Huawei's word for an unknown command; neither `OK` nor `ERROR` follows.
    NotSupported,
    /// `NO CARRIER`.
    NoCarrier,
}

impl Failure {
    /// Reads a line that ends a command without success.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let number = |rest: &str| rest.trim_start_matches(':').trim().parse().ok();
        if let Some(rest) = line.strip_prefix("+CMS ERROR") {
            return Some(Self::Cms(number(rest)));
        }
        if let Some(rest) = line.strip_prefix("+CME ERROR") {
            return Some(Self::Cme(number(rest)));
        }
        match line {
            "ERROR" => Some(Self::Error),
            "NO CARRIER" => Some(Self::NoCarrier),
            _ if line.starts_with("COMMAND NOT SUPPORT") => Some(Self::NotSupported),
            _ => None,
        }
    }

    /// True if the SIM is not ready yet: try again for some tens of seconds.
    #[must_use]
    pub const fn is_busy(self) -> bool {
        matches!(
            self,
            Self::Cms(Some(SIM_BUSY)) | Self::Cme(Some(ME_SIM_BUSY | ME_WAIT))
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, number) = match self {
            Self::Cms(number) => ("+CMS ERROR", number),
            Self::Cme(number) => ("+CME ERROR", number),
            Self::Error => return f.write_str("ERROR"),
            Self::NotSupported => return f.write_str("COMMAND NOT SUPPORT"),
            Self::NoCarrier => return f.write_str("NO CARRIER"),
        };
        match number {
            None => f.write_str(name),
            Some(number) => {
                write!(f, "{name} {number}")?;
                match self.meaning() {
                    "" => Ok(()),
                    meaning => write!(f, " ({meaning})"),
                }
            }
        }
    }
}

const SIM_BUSY: u16 = 314;
const ME_SIM_BUSY: u16 = 14;
const ME_WAIT: u16 = 515;

/// What else should be done about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// Nothing more.
    Nothing,
    /// Set the modem up again: it may have lost its settings.
    SetUpAgain,
    /// Read and delete what lies in the message store.
    EmptyStore,
    /// Send nothing until the modem is registered.
    AwaitRegistration,
    /// Send nothing until the SIM is ready.
    AwaitSim,
    /// Give the modem its SMSC address, or put it into the PDU.
    SetServiceCentre,
    /// Send it again without TP-VP.
    WithoutValidity,
    /// Enter the PIN, if that is allowed.
    EnterPin,
    /// Restart the modem.
    Restart,
    /// Prefer another modem for this message.
    OtherModem,
    /// Take this modem out of service, with an alarm: only a person can help.
    Stop,
    /// Raise an alarm: the fault is our own.
    Alarm,
}

/// What a refused submission means for its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has not been sent.
    Rejected(Rejection),
    /// The service centre has it already: it counts as sent, under a reference that is not known.
    AlreadySent,
    /// Nobody can tell whether it was sent.
    Doubt,
}

/// What to do about a refused submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// About the message.
    pub verdict: Verdict,
    /// About the modem.
    pub remedy: Remedy,
    /// Least time before this modem is given the message, or the next one, again.
    pub pause: Duration,
}

/// What came before a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// How often this message was refused with the same error before.
    pub of_message: u32,
    /// How many submissions in a row this modem has refused with the same error before.
    pub in_a_row: u32,
    /// To how many different recipients these were, the present one included.
    pub recipients: u32,
}

/// Tries before an error whose cause is not known is taken for final.
const TRIES: u32 = 3;

/// So many recipients in a row that a refusal of each is about the SIM and not about them.
const RECIPIENTS: u32 = 3;

/// The kinds of rulings that the table knows.
#[derive(Clone, Copy)]
enum Class {
    /// The message can never be sent.
    Fails,
    /// Nor can any other to this number: nobody has it (3GPP TS 24.011 annex E-2, cause 1: unassigned
    /// number). Of causes 28 and 30 it is not certain whose number is meant.
    Nobody,
    /// Try again after so many seconds.
    Again(u64),
    /// Try again after so many seconds, and do this meanwhile.
    With(u64, Remedy),
    /// Not the message's fault: it keeps its place while the modem does this.
    Waits(u64, Remedy),
    /// The modem is of no use.
    Stops,
    /// The recipient or the SIM is barred: the SIM, if several recipients are refused in a row.
    Barred,
    /// Like [`Class::Barred`], but one repeat is allowed.
    Transfer,
    /// Once more, then it fails.
    Once,
    /// Once more with the modem set up again, then the modem stops.
    OnceAnew,
    /// Our PDU is wrong or the modem has forgotten its mode: once more with the modem set up again.
    OurFault,
    /// The modem itself failed: it is restarted if that goes on.
    Failure,
    /// A few times, then another modem, then it fails.
    Unclear,
    /// Taken before.
    Taken,
    /// The outcome is not known.
    Doubt,
}

/// What a refusal of `AT+CMGS` means.
#[must_use]
pub fn ruling(failure: Failure, history: History) -> Ruling {
    use Class as C;
    let code = failure.to_string();
    let permanent = |remedy| rejected(Rejection::Permanent(code.clone()), remedy, 0);
    let temporary = |remedy, s| rejected(Rejection::Temporary(code.clone()), remedy, s);
    let account = |remedy, s| rejected(Rejection::Account(code.clone()), remedy, s);
    let sim_is_barred = history.recipients >= RECIPIENTS;
    match class(failure) {
        C::Fails => permanent(Remedy::Nothing),
        C::Nobody => rejected(Rejection::NumberInvalid(code.clone()), Remedy::Nothing, 0),
        C::Again(seconds) => temporary(Remedy::Nothing, seconds),
        C::With(seconds, remedy) => temporary(remedy, seconds),
        C::Waits(seconds, remedy) => account(remedy, seconds),
        C::Stops => account(Remedy::Stop, 0),
        C::Barred | C::Transfer if sim_is_barred => account(Remedy::Stop, 0),
        C::Barred => permanent(Remedy::Nothing),
        C::Transfer | C::Once if history.of_message == 0 => temporary(Remedy::Nothing, 10),
        C::Transfer | C::Once => permanent(Remedy::Nothing),
        C::OnceAnew if history.in_a_row == 0 => temporary(Remedy::SetUpAgain, 0),
        C::OnceAnew => account(Remedy::Stop, 0),
        C::OurFault if history.of_message == 0 => temporary(Remedy::SetUpAgain, 0),
        C::OurFault => permanent(Remedy::Alarm),
        C::Failure if history.in_a_row + 1 < TRIES => temporary(Remedy::Nothing, 5),
        C::Failure => temporary(Remedy::Restart, 30),
        C::Unclear if history.of_message < TRIES => temporary(Remedy::Nothing, 10),
        C::Unclear if history.of_message == TRIES => temporary(Remedy::OtherModem, 10),
        C::Unclear => permanent(Remedy::Nothing),
        C::Taken => Ruling {
            verdict: Verdict::AlreadySent,
            remedy: Remedy::Nothing,
            pause: Duration::ZERO,
        },
        C::Doubt => Ruling {
            verdict: Verdict::Doubt,
            remedy: Remedy::Nothing,
            pause: Duration::ZERO,
        },
    }
}

const fn rejected(rejection: Rejection, remedy: Remedy, seconds: u64) -> Ruling {
    Ruling {
        verdict: Verdict::Rejected(rejection),
        remedy,
        pause: Duration::from_secs(seconds),
    }
}

const fn class(failure: Failure) -> Class {
    match failure {
        Failure::Cms(Some(code)) => cms(code),
        Failure::Cme(Some(code)) => cme(code),
        Failure::Cms(None) | Failure::Cme(None) | Failure::Error | Failure::NotSupported => {
            Class::Unclear
        }
        // A call that ended, or a port in the wrong mode: nothing is said about the message.
        Failure::NoCarrier => Class::Doubt,
    }
}

const fn cms(code: u16) -> Class {
    match code {
        1 => Class::Nobody,
        28 | 30 | 128..=159 | 195 | 196 => Class::Fails,
        8 | 10 => Class::Barred,
        21 => Class::Transfer,
        27 | 47 | 127 | 194 => Class::Again(10),
        29 | 50 | 69 | 193 | 310..=313 | 315..=318 => Class::Stops,
        38 => Class::Again(30),
        41 => Class::Again(0),
        42 | 192 => Class::Again(10),
        81 | 95..=99 | 111 => Class::Once,
        197 => Class::Taken,
        198 | 199 => Class::With(0, Remedy::WithoutValidity),
        208..=211 | 320..=322 => Class::With(0, Remedy::EmptyStore),
        300 => Class::Failure,
        301..=303 => Class::OnceAnew,
        304 | 516..=520 | 549..=554 => Class::OurFault,
        SIM_BUSY | 532 => Class::Waits(1, Remedy::AwaitSim),
        330 => Class::With(0, Remedy::SetServiceCentre),
        331 => Class::Waits(0, Remedy::AwaitRegistration),
        332 => Class::Doubt,
        512 | 515 | 535 | 615 | 616 => Class::Again(10),
        _ => Class::Unclear,
    }
}

const fn cme(code: u16) -> Class {
    match code {
        3 | 4 => Class::OnceAnew,
        10 | 12 | 13 | 15 | 16 => Class::Stops,
        11 => Class::Waits(0, Remedy::EnterPin),
        ME_SIM_BUSY | ME_WAIT => Class::Waits(1, Remedy::AwaitSim),
        30 => Class::Waits(0, Remedy::AwaitRegistration),
        31 => Class::Doubt,
        _ => Class::Unclear,
    }
}

impl Failure {
    /// What the number stands for, for people; empty if it is not a standard one.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Cms(Some(code)) => cms_meaning(code),
            Self::Cme(Some(code)) => cme_meaning(code),
            _ => "",
        }
    }
}

const fn cms_meaning(code: u16) -> &'static str {
    match code {
        1 => "unassigned number",
        8 => "barred by the operator",
        10 => "call barred",
        21 => "transfer rejected",
        27 => "destination out of service",
        28 => "unidentified subscriber",
        29 => "facility rejected",
        30 => "unknown subscriber",
        38 => "network out of order",
        41 => "temporary failure",
        42 => "congestion",
        47 => "resources unavailable",
        50 => "facility not subscribed",
        69 => "facility not implemented",
        81 | 95..=99 | 111 => "protocol error",
        127 => "interworking",
        128..=143 => "protocol identifier refused",
        144..=159 => "data coding refused",
        192 => "service centre busy",
        193 => "no subscription with the service centre",
        194 => "failure of the service centre",
        195 => "invalid address",
        196 => "destination barred",
        197 => "rejected as a duplicate",
        198 => "validity format not supported",
        199 => "validity period not supported",
        208 => "SIM storage full",
        209 => "no SMS storage in the SIM",
        210 => "error in the modem",
        211 => "memory capacity exceeded",
        300 => "modem failure",
        301 => "SMS service reserved",
        302 => "operation not allowed",
        303 => "operation not supported",
        304 => "invalid PDU",
        310 => "no SIM",
        311 => "SIM PIN required",
        312 => "phone SIM PIN required",
        313 => "SIM failure",
        SIM_BUSY => "SIM busy",
        315 => "wrong SIM",
        316 => "SIM PUK required",
        317 => "SIM PIN2 required",
        318 => "SIM PUK2 required",
        320 => "memory failure",
        321 => "invalid memory index",
        322 => "memory full",
        330 => "service centre address unknown",
        331 => "no network service",
        332 => "network time-out",
        340 => "no acknowledgement expected",
        500 => "unknown error",
        _ => "",
    }
}

const fn cme_meaning(code: u16) -> &'static str {
    match code {
        3 => "operation not allowed",
        4 => "operation not supported",
        10 => "no SIM",
        11 => "SIM PIN required",
        12 => "SIM PUK required",
        13 => "SIM failure",
        ME_SIM_BUSY => "SIM busy",
        15 => "wrong SIM",
        16 => "incorrect password",
        30 => "no network service",
        31 => "network time-out",
        100 => "unknown error",
        ME_WAIT => "busy, wait",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Rejection::{Account, Permanent, Temporary};

    fn first(failure: Failure) -> Ruling {
        let history = History {
            recipients: 1,
            ..History::default()
        };
        ruling(failure, history)
    }

    fn after(code: u16, of_message: u32, in_a_row: u32, recipients: u32) -> Ruling {
        let history = History {
            of_message,
            in_a_row,
            recipients,
        };
        ruling(Failure::Cms(Some(code)), history)
    }

    fn kind(ruling: &Ruling) -> &'static str {
        match &ruling.verdict {
            Verdict::Rejected(Permanent(_)) => "fail",
            Verdict::Rejected(Rejection::NumberInvalid(_)) => "nobody",
            Verdict::Rejected(Temporary(_)) => "retry",
            Verdict::Rejected(Account(_)) => "account",
            Verdict::Rejected(Rejection::Throttled(_)) => "throttled",
            Verdict::AlreadySent => "sent",
            Verdict::Doubt => "doubt",
        }
    }

    #[test]
    fn each_code_leads_to_the_decision_of_the_table() {
        use Remedy as R;
        let table: &[(&[u16], &str, Remedy)] = &[
            (&[1], "nobody", R::Nothing),
            (
                &[8, 10, 28, 30, 128, 159, 195, 196],
                "fail",
                Remedy::Nothing,
            ),
            (
                &[21, 27, 38, 41, 42, 47, 127, 81, 95, 99, 111],
                "retry",
                R::Nothing,
            ),
            (
                &[192, 194, 300, 500, 512, 515, 535, 615, 616, 600],
                "retry",
                R::Nothing,
            ),
            (
                &[29, 50, 69, 193, 310, 311, 312, 313, 315, 316, 318],
                "account",
                R::Stop,
            ),
            (&[198, 199], "retry", R::WithoutValidity),
            (&[208, 211, 320, 322], "retry", R::EmptyStore),
            (
                &[301, 302, 303, 304, 516, 520, 549, 554],
                "retry",
                R::SetUpAgain,
            ),
            (&[314, 532], "account", R::AwaitSim),
            (&[330], "retry", R::SetServiceCentre),
            (&[331], "account", R::AwaitRegistration),
            (&[197], "sent", R::Nothing),
            (&[332], "doubt", R::Nothing),
        ];
        for (codes, expected, remedy) in table {
            for &code in *codes {
                let ruling = first(Failure::Cms(Some(code)));
                assert_eq!(
                    (kind(&ruling), ruling.remedy),
                    (*expected, *remedy),
                    "{code}"
                );
            }
        }
    }

    #[test]
    fn the_same_refusal_for_several_recipients_is_about_the_sim() {
        for code in [8, 10, 21] {
            assert_eq!(after(code, 0, 2, 3).remedy, Remedy::Stop, "{code}");
            assert_eq!(kind(&after(code, 1, 9, 1)), "fail", "{code}");
        }
    }

    #[test]
    fn what_is_unclear_is_tried_three_times_then_elsewhere_then_given_up() {
        let kinds: Vec<_> = (0..5)
            .map(|n| after(500, n, n, 1))
            .map(|ruling| (kind(&ruling), ruling.remedy))
            .collect();
        let again = ("retry", Remedy::Nothing);
        let elsewhere = ("retry", Remedy::OtherModem);
        assert_eq!(
            kinds,
            [again, again, again, elsewhere, ("fail", Remedy::Nothing)]
        );
        for failure in [
            Failure::Error,
            Failure::NotSupported,
            Failure::Cms(None),
            Failure::Cme(Some(100)),
        ] {
            assert_eq!(kind(&first(failure)), "retry");
        }
    }

    #[test]
    fn a_refused_pdu_is_sent_once_more_after_a_new_set_up_and_then_never_again() {
        assert_eq!(kind(&after(304, 1, 1, 1)), "fail");
        assert_eq!(after(304, 1, 1, 1).remedy, Remedy::Alarm);
        assert_eq!(after(302, 1, 1, 1).remedy, Remedy::Stop);
        assert_eq!(after(300, 0, 2, 1).remedy, Remedy::Restart);
    }

    #[test]
    fn a_text_after_the_error_is_no_number() {
        assert_eq!(
            Failure::parse("+CMS ERROR: bananas"),
            Some(Failure::Cms(None))
        );
        assert_eq!(
            Failure::parse("+CME ERROR: 14"),
            Some(Failure::Cme(Some(14)))
        );
        assert_eq!(
            Failure::parse("+CMS ERROR:38").map(|failure| failure.to_string()),
            Some("+CMS ERROR 38 (network out of order)".to_owned())
        );
        assert_eq!(Failure::parse("ERRORS"), None);
        assert_eq!(Failure::Cms(Some(777)).to_string(), "+CMS ERROR 777");
    }
}
