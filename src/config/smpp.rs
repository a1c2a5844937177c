//! `[smpp.NAME]`: one table per carrier account.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::raw::{Reader, Section, Value};
use crate::domain::id::{Account, Tenant};
use crate::domain::policy::Face;
use crate::domain::rate::Rate;
use crate::domain::refusal::{RefusalClass, RefusalRules, status_of, status_text};
use crate::domain::sender::Sender;
use crate::domain::text::{DefaultAlphabet, TextRules};
use crate::domain::wire::{Concatenation, WireRules};

mod tls;
mod wire;

pub use tls::Tls;

/// A carrier account, as configured. Plain data: the daemon makes connections of it.
#[derive(Clone, Debug)]
pub struct SmppAccount {
    /// Its name in the configuration.
    pub name: Account,
    /// Host name or address of the SMSC.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS below the session, if it is on.
    pub tls: Option<Tls>,
    /// `system_id`, at most 15 characters (SMPP 3.4 §5.2.1).
    pub system_id: String,
    /// Password, at most 8 characters (SMPP 3.4 §5.2.2).
    pub password: SecretString,
    /// How it binds.
    pub bind: Bind,
    /// Parallel sessions.
    pub binds: u16,
    /// Most unanswered `submit_sm` of one session.
    pub window: usize,
    /// How long an answer is awaited before the outcome counts as unknown.
    pub response_timeout: Duration,
    /// Silence after which the link is tested.
    pub enquire_link: Duration,
    /// Shortest and longest wait between two attempts to connect.
    pub reconnect: (Duration, Duration),
    /// Pace of the account, in parts.
    pub rate: Rate,
    /// `system_type`, at most 12 characters (SMPP 3.4 §5.2.3).
    pub system_type: String,
    /// `service_type`, at most 5 characters (SMPP 3.4 §5.2.11).
    pub service_type: String,
    /// Sender of messages that name none.
    pub sender: Option<Sender>,
    /// The number that takes the STOP of recipients who cannot answer to the sender.
    pub stop: Option<String>,
    /// Type of number of senders, instead of what their form says (SMPP 3.4 §5.2.5).
    pub source_ton: Option<u8>,
    /// Numbering plan of senders, instead of what their form says (SMPP 3.4 §5.2.6).
    pub source_npi: Option<u8>,
    /// Type of number of recipients.
    pub dest_ton: u8,
    /// Numbering plan of recipients.
    pub dest_npi: u8,
    /// `data_coding` of texts in the GSM alphabet (SMPP 3.4 §5.2.19).
    pub data_coding_gsm: u8,
    /// Whose the messages from handsets are that come in on it.
    pub tenant: Tenant,
    /// How messages are put into PDUs.
    pub wire: WireRules,
    /// How texts travel.
    pub text: TextRules,
    /// Whether GSM texts from handsets come packed, 8 septets in 7 octets.
    pub packed_gsm: bool,
    /// What the carrier's refusals mean: the table, and `[smpp.NAME.errors]`.
    pub refusals: RefusalRules,
    /// The `err:` codes of receipts by which the carrier says that nobody has the number.
    pub invalid_errors: Vec<String>,
}

impl SmppAccount {
    /// Whom its recipients see.
    #[must_use]
    pub fn face(&self) -> Face {
        Face {
            sender: self.sender.clone(),
            stop: self.stop.clone(),
        }
    }
}

/// How an account binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// One session for both directions.
    Transceiver,
    /// A pair of sessions, for carriers that know SMPP 3.3 only.
    TransmitterReceiver,
}

impl Bind {
    /// As the configuration writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transceiver => "transceiver",
            Self::TransmitterReceiver => "transmitter+receiver",
        }
    }
}

/// As the configuration writes them.
const ALPHABETS: [(&str, DefaultAlphabet); 3] = [
    ("gsm", DefaultAlphabet::Gsm),
    ("latin1", DefaultAlphabet::Latin1),
    ("ascii", DefaultAlphabet::Ascii),
];

const MILLISECOND: Duration = Duration::from_millis(1);
const TENTH: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_hours(1);

/// Passwords of examples and manuals, with which nothing but this machine is reached.
const EXAMPLE_SECRETS: [&str; 8] = [
    "secret",
    "changeme",
    "change-me",
    "password",
    "passwd",
    "example",
    "smppclient",
    "test",
];

pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    name: &str,
    mut section: Section<'a>,
) -> Option<SmppAccount> {
    let s = &mut section;
    let host = reader.need(s, "host", "the carrier's host name or address", |v| {
        visible(&v, 255)
    });
    let port = reader.take(s, "port", |v| v.integer(1..=u16::MAX));
    let system_id = reader.need(s, "system_id", "the name the carrier gave you", |v| {
        visible(&v, 15)
    });
    if !s.has("password") && !s.has("password_file") {
        let path = s.path.clone();
        reader.error(
            s.line,
            &path,
            "password is missing: give password_file = \"…\" or password = \"${NAME}\"",
        );
    }
    let password = reader.secret(s, "password", "password_file");
    if let (Some(password), Some(host)) = (&password, &host) {
        let secret = password.value.expose_secret();
        if secret.len() > 8 {
            reader.error(
                password.line,
                &password.path,
                "the password is longer than the 8 characters that SMPP 3.4 allows",
            );
        } else if !is_loopback(&host.value)
            && EXAMPLE_SECRETS.contains(&secret.to_ascii_lowercase().as_str())
        {
            reader.error(
                password.line,
                &password.path,
                "this is the password of an example; put the carrier's own",
            );
        }
    }
    let bind = reader.take(s, "bind", |v| {
        v.word(&[
            ("transceiver", Bind::Transceiver),
            ("transmitter+receiver", Bind::TransmitterReceiver),
        ])
    });
    let binds = reader.take(s, "binds", |v| v.integer(1..=32_u16));
    let window = reader.take(s, "window", |v| v.integer(1..=1000_u16));
    let response_timeout = reader.take(s, "response_timeout", |v| v.duration(TENTH..=HOUR));
    let enquire_link = reader.take(s, "enquire_link", |v| v.duration(TENTH..=HOUR));
    let reconnect = reader.take(s, "reconnect", |v| v.duration_range(MILLISECOND..=HOUR));
    let rate = reader.take(s, "rate", |v| v.rate());
    let tls = tls::read(reader, s);
    if tls.is_none()
        && let Some(host) = host.as_ref().filter(|host| !is_loopback(&host.value))
    {
        reader.warn(
            host.line,
            &host.path,
            "SMPP without TLS shows password and texts to the network; use tls = true, a VPN or a private link",
        );
    }
    let system_type = reader.take(s, "system_type", |v| visible_or_empty(&v, 12));
    let service_type = reader.take(s, "service_type", |v| visible_or_empty(&v, 5));
    let sender = reader.take(s, "sender", |v| {
        Sender::parse(&v.text()?).map_err(|error| error.to_string())
    });
    let stop = reader.take(s, "stop", |v| stop_number(&v.text()?));
    // SMPP 3.4 §5.2.5: 0 to 6. §5.2.6: 0 to 18, with gaps.
    let source_ton = reader.take(s, "source_ton", |v| v.integer(0..=6_u8));
    let source_npi = reader.take(s, "source_npi", |v| v.integer(0..=18_u8));
    let dest_ton = reader.take(s, "dest_ton", |v| v.integer(0..=6_u8));
    let dest_npi = reader.take(s, "dest_npi", |v| v.integer(0..=18_u8));
    let data_coding_gsm = reader.take(s, "data_coding_gsm", |v| v.integer(0..=u8::MAX));
    let tenant = reader.take(s, "tenant", |v| v.tenant());
    let wire = wire::read(reader, s, bind.as_ref().map(|bind| bind.value));
    let alphabet = reader.take(s, "alphabet", |v| v.word(&ALPHABETS));
    let latin1 = reader.take(s, "latin1", |v| v.boolean());
    let transliterate = reader.take(s, "transliterate", |v| v.boolean());
    let packed_gsm = reader.take(s, "packed_gsm", |v| v.boolean());
    let refusals = refusals(reader, s);
    let invalid_errors = reader.list(s, "invalid_errors", |v| visible(&v, 40));
    reader.close(section);

    Some(SmppAccount {
        name: name.into(),
        host: host?.value,
        port: port.map_or(2775, |port| port.value),
        tls,
        system_id: system_id?.value,
        password: password?.value,
        bind: bind.map_or(Bind::Transceiver, |bind| bind.value),
        binds: binds.map_or(1, |binds| binds.value),
        window: window.map_or(10, |window| usize::from(window.value)),
        response_timeout: response_timeout.map_or(Duration::from_secs(60), |t| t.value),
        enquire_link: enquire_link.map_or(Duration::from_secs(30), |t| t.value),
        reconnect: reconnect.map_or((Duration::from_secs(1), Duration::from_secs(15)), |t| {
            t.value
        }),
        rate: rate.map_or(Rate::NONE, |rate| rate.value),
        system_type: system_type.map_or_else(String::new, |text| text.value),
        service_type: service_type.map_or_else(String::new, |text| text.value),
        sender: sender.map(|sender| sender.value),
        stop: stop.map(|stop| stop.value),
        source_ton: source_ton.map(|ton| ton.value),
        source_npi: source_npi.map(|npi| npi.value),
        dest_ton: dest_ton.map_or(1, |ton| ton.value),
        dest_npi: dest_npi.map_or(1, |npi| npi.value),
        data_coding_gsm: data_coding_gsm.map_or(0, |coding| coding.value),
        tenant: tenant.map_or_else(|| Tenant::DEFAULT.into(), |tenant| tenant.value),
        text: TextRules {
            alphabet: alphabet.map_or(DefaultAlphabet::Gsm, |alphabet| alphabet.value),
            latin1: latin1.is_some_and(|latin1| latin1.value),
            wide_header: wire.concatenation == Concatenation::Udh16,
            single_piece: wire.concatenation == Concatenation::Payload,
            transliterate: transliterate.is_some_and(|transliterate| transliterate.value),
        },
        packed_gsm: packed_gsm.is_some_and(|packed| packed.value),
        wire,
        refusals,
        invalid_errors: invalid_errors.map_or_else(Vec::new, |codes| {
            codes.value.into_iter().map(|code| code.value).collect()
        }),
    })
}

/// A number that handsets can write to: a short code, or an international one.
fn stop_number(text: &str) -> Result<String, String> {
    match Sender::parse(text) {
        Ok(sender @ (Sender::Short(_) | Sender::International(_))) => Ok(sender.to_string()),
        Ok(Sender::Alphanumeric(_)) | Err(_) => Err(format!(
            "{text:?} is neither a short code, like \"36111\", nor an international number"
        )),
    }
}

/// `[smpp.NAME.errors]`: what this carrier means by a `command_status`.
fn refusals<'a>(reader: &mut Reader<'a>, account: &mut Section<'a>) -> RefusalRules {
    let section = reader.table(account, "errors");
    let given = reader.named_values(section, |value| value.word(&RefusalClass::WORDS));
    let mut overrides = BTreeMap::new();
    for (name, class) in given {
        let problem = match status_of(&name) {
            None => {
                "no command_status; write it like 0x00000400, 1024 or ESME_RSUBMITFAIL".to_owned()
            }
            Some(0) => "ESME_ROK is no refusal".to_owned(),
            Some(status) => match overrides.insert(status, class.value) {
                None => continue,
                Some(_) => format!("{} is given twice", status_text(status)),
            },
        };
        reader.error(class.line, &class.path, problem);
    }
    RefusalRules::with(overrides)
}

/// A C-octet string of SMPP: ASCII without control characters, of limited length.
fn visible_or_empty(value: &Value<'_, '_>, most: usize) -> Result<String, String> {
    let text = value.text()?;
    if text.len() > most {
        return Err(format!(
            "{} characters; at most {most} are allowed",
            text.len()
        ));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err("only plain ASCII characters are allowed".to_owned());
    }
    Ok(text)
}

fn visible(value: &Value<'_, '_>, most: usize) -> Result<String, String> {
    match visible_or_empty(value, most)? {
        empty if empty.is_empty() => Err("it is empty".to_owned()),
        text => Ok(text),
    }
}

/// True for this machine's own addresses.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
