//! What the modem does: plain data, readable from TOML, every field with a default.
//!
//! `config/sim/modem.toml` shows every key of the file form with its default; a test holds the two
//! together. Times named `after_ms` count from when the script was set. What is absent and depends
//! on the model is as its [`Personality`] has it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::personality::{Personality, Profile};

/// The behaviour of a simulated modem. The default takes everything and reports it delivered.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModemScript {
    /// The symbolic link that names the pty, also after a replug.
    pub link: PathBuf,
    /// Which family of modems it belongs to.
    pub personality: Personality,
    /// The answer to `+CNMI=?` after its prefix (3GPP TS 27.005 clause 3.4.1).
    pub cnmi: Option<String>,
    /// Values of `<mode>` that are refused though `+CNMI=?` offers them.
    pub cnmi_refused_modes: Vec<u8>,
    /// The memories that it has, the preferred one first; empty: the personality's.
    pub memories: Vec<Memory>,
    /// Old messages in the memory that receives.
    pub occupied: usize,
    /// What asks for the octets of a message.
    pub prompt: Option<String>,
    /// What answers a command that it does not know.
    pub unknown: Option<String>,
    /// Whether it repeats commands until it is told not to.
    pub echo: bool,
    /// `+CMGF` after a start: 0 is PDU, 1 is text mode, which this modem refuses to send in.
    pub message_format: u8,
    /// Milliseconds before each answer.
    pub latency_ms: Option<u64>,
    /// Milliseconds before the prompt.
    pub prompt_ms: Option<u64>,
    /// Milliseconds from the last octet of a message to its answer.
    pub send_ms: Option<u64>,
    /// Milliseconds after an answer in which a command is lost.
    pub rest_ms: Option<u64>,
    /// Milliseconds after a start in which nothing is heard.
    pub boot_ms: u64,
    /// Milliseconds that `+CFUN=1,1` takes: a USB modem is unplugged meanwhile.
    pub reset_ms: u64,
    /// The PIN; none is needed if absent.
    pub pin: Option<String>,
    /// Wrong PINs before the PUK is needed.
    pub pin_tries: u8,
    /// Milliseconds after the PIN in which the SIM is busy (`+CME ERROR: 14`).
    pub sim_busy_ms: u64,
    /// Milliseconds from the SIM's readiness to the network.
    pub register_after_ms: u64,
    /// What the network then says.
    pub registration: Registration,
    /// Signal as `+CSQ` has it: 0 to 31, 99 unknown.
    pub signal: u8,
    /// Name of the network.
    pub operator: String,
    /// Number of the device.
    pub imei: String,
    /// Number of the subscription.
    pub imsi: String,
    /// Number of the SIM.
    pub iccid: String,
    /// The service centre.
    pub smsc: String,
    /// The first TP-MR; after 255 comes 0.
    pub reference_start: u8,
    /// Refuse every n-th message with `fail_cms`.
    pub fail_every: Option<u64>,
    /// The `+CMS ERROR` of those.
    pub fail_cms: u16,
    /// Milliseconds to wait for `+CNMA` where `+CSMS` is 1, before routing stops.
    pub ack_ms: u64,
    /// Answers of the network to USSD codes.
    pub ussd: BTreeMap<String, String>,
    /// Milliseconds until they come.
    pub ussd_ms: u64,
    /// Unsolicited lines.
    pub chatter: Chatter,
    /// Status reports.
    pub reports: Reports,
    /// What happens to certain recipients; the first rule that fits counts.
    pub rules: Vec<Rule>,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
    /// Messages that come in.
    pub inbound: Vec<Inbound>,
}

impl Default for ModemScript {
    fn default() -> Self {
        Self {
            link: "/tmp/relais-modem".into(),
            personality: Personality::default(),
            cnmi: None,
            cnmi_refused_modes: Vec::new(),
            memories: Vec::new(),
            occupied: 0,
            prompt: None,
            unknown: None,
            echo: true,
            message_format: 0,
            latency_ms: None,
            prompt_ms: None,
            send_ms: None,
            rest_ms: None,
            boot_ms: 0,
            reset_ms: 1_000,
            pin: None,
            pin_tries: 3,
            sim_busy_ms: 0,
            register_after_ms: 0,
            registration: Registration::default(),
            signal: 18,
            operator: "Simulated".to_owned(),
            imei: "490154203237518".to_owned(),
            imsi: "208010123456789".to_owned(),
            iccid: "89330123456789012346".to_owned(),
            smsc: "+33600000001".to_owned(),
            reference_start: 0,
            fail_every: None,
            fail_cms: 41,
            ack_ms: 5_000,
            ussd: BTreeMap::new(),
            ussd_ms: 200,
            chatter: Chatter::default(),
            reports: Reports::default(),
            rules: Vec::new(),
            faults: Vec::new(),
            inbound: Vec::new(),
        }
    }
}

impl ModemScript {
    pub(super) fn profile(&self) -> &'static Profile {
        self.personality.profile()
    }

    pub(super) fn cnmi(&self) -> &str {
        self.cnmi.as_deref().unwrap_or(self.profile().cnmi)
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::from_millis(self.latency_ms.unwrap_or(self.profile().latency_ms))
    }

    pub(super) fn prompt_delay(&self) -> Duration {
        Duration::from_millis(self.prompt_ms.unwrap_or(self.profile().prompt_ms))
    }

    pub(super) fn rest(&self) -> Duration {
        Duration::from_millis(self.rest_ms.unwrap_or(self.profile().rest_ms))
    }

    /// The first rule for a recipient, and its number, when the script has run for `since`.
    #[must_use]
    pub fn rule(&self, recipient: &str, since: Duration) -> Option<(usize, &Rule)> {
        let digits = recipient.trim_start_matches('+');
        let fits = |rule: &Rule| {
            let from = Duration::from_millis(rule.after_ms);
            digits.starts_with(rule.prefix.trim_start_matches('+'))
                && digits.ends_with(&rule.suffix)
                && since >= from
                && rule
                    .for_ms
                    .is_none_or(|length| since < from + Duration::from_millis(length))
        };
        self.rules.iter().enumerate().find(|(_, rule)| fits(rule))
    }
}

/// A memory for messages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Its name in `+CPMS`.
    pub name: String,
    /// Messages that it holds.
    pub capacity: usize,
    /// The index of its first place.
    pub first: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            name: "SM".to_owned(),
            capacity: 20,
            first: 1,
        }
    }
}

/// What the network says of the modem (`<stat>` of `+CREG`, 3GPP TS 27.007 clause 7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registration {
    /// It is at home.
    #[default]
    Home,
    /// It is a guest.
    Roaming,
    /// It is refused.
    Denied,
    /// It goes on searching.
    Searching,
}

impl Registration {
    /// `<stat>`.
    #[must_use]
    pub const fn stat(self) -> u8 {
        match self {
            Self::Home => 1,
            Self::Searching => 2,
            Self::Denied => 3,
            Self::Roaming => 5,
        }
    }
}

/// Unsolicited lines that mean nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Chatter {
    /// Milliseconds between two; 0: none.
    pub every_ms: u64,
    /// In every n-th answer; in turn before it, in its middle, and right behind it. 0: none.
    pub in_answers_every: u64,
    /// The lines; empty: the personality's.
    pub lines: Vec<String>,
    /// The lines of a start; absent: the personality's.
    pub boot: Option<Vec<String>>,
}

/// Status reports. Whether they come as `+CDS` or `+CDSI` is for `+CNMI` to say.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reports {
    /// Whether there are any.
    pub sent: bool,
    /// TP-ST (3GPP TS 23.040 clause 9.2.3.15).
    pub status: u8,
    /// One with this TP-ST first.
    pub first: Option<u8>,
    /// Milliseconds from the answer to the report.
    pub delay_ms: u64,
    /// At most this many milliseconds more, by chance: reports overtake each other.
    pub jitter_ms: u64,
    /// Before the answer to the message.
    pub before_answer: bool,
    /// Each twice.
    pub duplicate: bool,
    /// Every n-th never comes.
    pub lose_every: Option<u64>,
    /// The recipient in national form: `0` instead of the country code `national`.
    pub national: Option<String>,
    /// Only for messages that ask for one (TP-SRR).
    pub on_request: bool,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            sent: true,
            status: 0,
            first: None,
            delay_ms: 0,
            jitter_ms: 0,
            before_answer: false,
            duplicate: false,
            lose_every: None,
            national: None,
            on_request: true,
        }
    }
}

/// What happens to recipients with this prefix and suffix.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Leading digits; empty: any.
    pub prefix: String,
    /// Final digits; empty: any.
    pub suffix: String,
    /// In force only from this many milliseconds on.
    pub after_ms: u64,
    /// In force only for this many milliseconds; without an end if absent.
    pub for_ms: Option<u64>,
    /// Refuse with this `+CMS ERROR`.
    pub cms: Option<u16>,
    /// Refuse with this `+CME ERROR`.
    pub cme: Option<u16>,
    /// Refuse with a bare `ERROR`.
    pub error: bool,
    /// Refuse only so many times, then take it.
    pub times: Option<u64>,
    /// So many times for each recipient.
    pub each: bool,
    /// Take it and never answer.
    pub unanswered: bool,
    /// Milliseconds to the answer, instead of `send_ms`.
    pub send_ms: Option<u64>,
    /// TP-ST of the report, instead of the script's.
    pub status: Option<u8>,
    /// All of how these reports are, instead of the script's.
    pub reports: Option<Reports>,
}

/// Something that goes wrong.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fault {
    /// At the n-th `+CMGS`, from 1.
    pub at_submit: Option<u64>,
    /// And at every multiple.
    pub every: bool,
    /// Once at this time.
    pub after_ms: Option<u64>,
    /// Where in that `+CMGS`.
    pub moment: Moment,
    /// What happens.
    pub kind: FaultKind,
    /// For how many milliseconds; without an end if absent.
    pub for_ms: Option<u64>,
    /// At `submitted`: whether the message is sent nevertheless.
    pub taken: bool,
}

impl Fault {
    pub(super) fn length(&self) -> Option<Duration> {
        self.for_ms.map(Duration::from_millis)
    }
}

/// A moment of a sending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Instead of the prompt.
    Prompt,
    /// After the first octet, in place of the others.
    Written,
    /// After the last octet, instead of the answer.
    #[default]
    Submitted,
    /// After the answer.
    Answered,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It neither reads nor answers.
    #[default]
    Hang,
    /// It is pulled out; in again after `for_ms`.
    Unplug,
    /// It starts again, and has forgotten its settings.
    Reset,
}

/// A message that comes in.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Inbound {
    /// Who sends it: a number with or without `+`, a short code, or a name.
    pub from: String,
    /// Its text.
    pub text: String,
    /// When it comes.
    pub after_ms: u64,
    /// How often.
    pub times: u32,
    /// Milliseconds between two of those times.
    pub every_ms: u64,
    /// In UCS-2 even if the default alphabet would do.
    pub ucs2: bool,
    /// Its parts in this order, counted from 1; empty: all, in their order.
    pub order: Vec<u8>,
    /// Milliseconds between two parts.
    pub part_gap_ms: u64,
    /// The reference that its parts share; one that counts up if absent.
    pub reference: Option<u8>,
}

impl Default for Inbound {
    fn default() -> Self {
        Self {
            from: "+33612345678".to_owned(),
            text: String::new(),
            after_ms: 0,
            times: 1,
            every_ms: 1_000,
            ucs2: false,
            order: Vec::new(),
            part_gap_ms: 0,
            reference: None,
        }
    }
}

#[cfg(test)]
mod tests;
