//! Validated, immutable rules: operators, routes, limits. Built by `config`, read everywhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::chain::{self, APP, EMAIL};
use super::guard::GuardRules;
use super::holidays::Holidays;
use super::hours::SendingHours;
use super::id::{Account, OperatorName};
use super::inbound::InboundRules;
use super::message::Message;
use super::msisdn::Msisdn;
use super::portability::Portability;
use super::rate::Rate;
use super::receipt::{Receipt, ReceiptState};
use super::retry::RetrySchedule;
use super::sender::Sender;
use super::territory::{self, Territory};
use super::text::TextRules;
use super::time::Timestamp;
use super::windows::{Binding, NamedHours, NamedHoursBook, Place};

/// The rules in force. A reload makes a new one; nobody changes one in place.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Every operator, the default one first.
    pub operators: Vec<Arc<Operator>>,
    /// What rules the steps of a way that are none over SMS, as if app and e-mail were operators.
    relays: [Arc<Operator>; 2],
    /// Where e-mails are handed in; `None`: there are none.
    pub email: Option<Arc<EmailServer>>,
    /// Operator index by number prefix (digits without `+`).
    prefixes: HashMap<u64, usize>,
    /// Longest prefix in digits.
    longest_prefix: u32,
    /// ISO 3166 code of the country whose national numbers are understood.
    pub default_country: String,
    /// How long after the end of validity a carrier's own EXPIRED receipt is awaited.
    pub receipt_grace: Duration,
    /// How long a doubtful submission rests before it is sent again.
    pub in_doubt_grace: Duration,
    /// Pace of each account; none means no limit.
    pub rates: HashMap<Account, Rate>,
    /// How texts travel over each account; none means the defaults.
    pub text_rules: HashMap<Account, TextRules>,
    /// Whom the recipients of each account see; none: not known.
    pub faces: HashMap<Account, Face>,
    /// The `err:` codes by which the carriers of accounts say that nobody has the number.
    pub invalid_errors: HashMap<Account, Vec<String>>,
    /// The accounts that are GSM modems, and the rules of each.
    pub modems: HashMap<Account, ModemRules>,
    /// Limits on what one call may ask.
    pub limits: Limits,
    /// Networks that webhooks may reach although they are private, and without TLS.
    pub webhook_allow: Vec<ipnet::IpNet>,
    /// What is done with messages from handsets.
    pub inbound: InboundRules,
    /// How the operator of a number is looked up before its prefix is asked.
    pub portability: Portability,
    /// Limits against abuse.
    pub guard: GuardRules,
    /// The sending hours that have a name.
    pub hours: NamedHoursBook,
    /// The public holidays.
    pub holidays: Holidays,
}

/// Whom the recipients of an account see, and where they answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Face {
    /// Sender of messages that name none; `None`: the carrier's own.
    pub sender: Option<Sender>,
    /// The number that takes the STOP of those who cannot answer to the sender.
    pub stop: Option<String>,
}

/// How far the SIM of a modem may be used, and what its silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModemRules {
    /// Most messages in any 24 h; `None`: no limit.
    pub daily_limit: Option<u32>,
    /// Most distinct recipients in any 30 days; `None`: no limit.
    pub recipients_30d: Option<u32>,
    /// How long a submission that was not answered rests before it is sent again, so that a status
    /// report can settle it.
    pub in_doubt_grace: Duration,
}

impl Default for ModemRules {
    /// What the consumer contracts of French operators bear: 200 and 200; and 2 min.
    fn default() -> Self {
        Self {
            daily_limit: Some(200),
            recipients_30d: Some(200),
            in_doubt_grace: Duration::from_mins(2),
        }
    }
}

/// Where e-mails are handed in.
#[derive(Clone, Debug)]
pub struct EmailServer {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: EmailTls,
    /// A file of certificates to trust besides the machine's own (PEM).
    pub ca: Option<Vec<u8>>,
    /// User name and password, where it asks for them.
    pub login: Option<(String, SecretString)>,
    /// Who they are from: an address, with or without a name.
    pub from: String,
    /// How long each answer is awaited.
    pub response_timeout: Duration,
}

/// How the connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailTls {
    /// Begun in clear text and upgraded, or not used (RFC 3207).
    Starttls,
    /// From the first octet (RFC 8314).
    Tls,
    /// Not at all: for servers on this machine.
    None,
}

/// Limits on input, each refused with a typed error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most parts of one message.
    pub max_parts: usize,
    /// Most recipients of one call.
    pub max_recipients: usize,
    /// Most messages waiting or under way at once, over all tenants.
    pub max_live_messages: usize,
    /// Requests that one API key may make.
    pub key_rate: Rate,
    /// Messages that one API key may send in a day of UTC; 0 is any number.
    pub key_daily_messages: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_parts: 10,
            max_recipients: 1000,
            max_live_messages: 5_000_000,
            key_rate: Rate::per_second(1000),
            key_daily_messages: 0,
        }
    }
}

/// The policy of one destination operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its name in the configuration.
    pub name: OperatorName,
    /// Number prefixes in digits without `+`; the longest match wins.
    pub prefixes: Vec<String>,
    /// Ordered steps, each a set of accounts.
    pub route: Vec<Vec<Account>>,
    /// How long a step must have been unusable before the next one takes over.
    pub failover_after: Duration,
    /// How long a message is worth delivering, from when it may first leave.
    pub validity: Duration,
    /// When to try again after a temporary refusal.
    pub retry: RetrySchedule,
    /// What to do when nobody can tell whether the carrier took a message.
    pub on_doubt: OnDoubt,
    /// Parts over all of its route together.
    pub rate: Rate,
    /// When messages may leave, by the clocks of its time zone.
    pub hours: SendingHours,
    /// The name of the hours that bind its messages besides, by their recipients' own clocks.
    pub named_hours: Option<String>,
    /// The time zone of its recipients, where their numbers do not tell it.
    pub timezone: chrono_tz::Tz,
    /// ISO 3166 code of the territory of its recipients, where that is one.
    pub territory: Option<String>,
}

/// What becomes of a doubtful submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDoubt {
    /// Send it again: at least once.
    #[default]
    Resend,
    /// End it as failed, `in_doubt`: at most once.
    Fail,
}

impl Policy {
    /// Puts operators together; `default` rules the numbers that no prefix names.
    #[must_use]
    pub fn new(
        default: Operator,
        others: Vec<Operator>,
        default_country: &str,
        limits: Limits,
    ) -> Self {
        let operators: Vec<_> = std::iter::once(default)
            .chain(others)
            .map(Arc::new)
            .collect();
        let mut prefixes = HashMap::new();
        let mut longest_prefix = 0;
        for (index, operator) in operators.iter().enumerate() {
            for prefix in &operator.prefixes {
                if let Ok(digits) = prefix.parse() {
                    prefixes.insert(digits, index);
                    longest_prefix = longest_prefix.max(u32::try_from(prefix.len()).unwrap_or(0));
                }
            }
        }
        Self {
            operators,
            relays: [relay(APP, OnDoubt::Resend), relay(EMAIL, OnDoubt::Fail)],
            email: None,
            prefixes,
            longest_prefix,
            default_country: default_country.to_owned(),
            receipt_grace: Duration::from_secs(3600),
            in_doubt_grace: Duration::from_secs(10),
            rates: HashMap::new(),
            text_rules: HashMap::new(),
            faces: HashMap::new(),
            invalid_errors: HashMap::new(),
            modems: HashMap::new(),
            limits,
            webhook_allow: Vec::new(),
            inbound: InboundRules::default(),
            portability: Portability::default(),
            guard: GuardRules::default(),
            hours: NamedHoursBook::default(),
            holidays: Holidays::default(),
        }
    }

    /// The operator of a number: the longest prefix that matches, or the default one.
    #[must_use]
    pub fn operator_for(&self, to: Msisdn) -> &Arc<Operator> {
        let mut digits = to.as_u64();
        let mut length = digits.checked_ilog10().map_or(1, |log| log + 1);
        while length > 0 {
            if length <= self.longest_prefix
                && let Some(index) = self.prefixes.get(&digits)
            {
                return &self.operators[*index];
            }
            digits /= 10;
            length -= 1;
        }
        &self.operators[0]
    }

    /// The operator of this name; messages of one that the configuration no longer has fall under
    /// the default one.
    #[must_use]
    pub fn operator(&self, name: &OperatorName) -> &Arc<Operator> {
        self.operators
            .iter()
            .chain(&self.relays)
            .find(|operator| operator.name == *name)
            .unwrap_or(&self.operators[0])
    }

    /// The operator that a look-up's answer means: a code of the configuration, or a name in any case.
    #[must_use]
    pub fn named(&self, answer: &str) -> Option<&Arc<Operator>> {
        if let Some(name) = self.portability.codes.get(answer) {
            return Some(self.operator(name));
        }
        let mut operators = self.operators.iter();
        operators.find(|operator| operator.name.as_str().eq_ignore_ascii_case(answer))
    }

    /// Where the recipient of a message is: by its number, else by its operator. `region`, which its tenant
    /// has named, counts where the number leaves it open: Alsace-Moselle and the islands with
    /// Guadeloupe's numbers.
    #[must_use]
    pub fn place(&self, to: Msisdn, operator: &Operator, region: Option<Territory>) -> Place {
        let of_operator = || Territory::from_code(operator.territory.as_deref()?);
        let nearer = |wide: Territory| {
            let mut narrow = [region, of_operator()].into_iter().flatten();
            narrow.find(|it| it.is_within(wide)).unwrap_or(wide)
        };
        match territory::of(to) {
            Some(wide) => Place::of(nearer(wide)),
            None => Place {
                zone: operator.timezone,
                territory: of_operator(),
            },
        }
    }

    /// Everything that binds when a message to this number may leave, by the names of hours; `None` if no
    /// named hours do.
    pub fn binding<'a>(
        &'a self,
        names: impl IntoIterator<Item = &'a str>,
        operator: &'a Operator,
        to: Msisdn,
        region: Option<Territory>,
    ) -> Option<Binding<'a>> {
        let names = names.into_iter().chain(operator.named_hours.as_deref());
        let hours = names.filter_map(|name| self.hours.binding(name));
        let named: Vec<&NamedHours> = hours.filter(|hours| !hours.are_always()).collect();
        if named.is_empty() {
            return None;
        }
        Some(Binding {
            named,
            lane: (&operator.hours, operator.timezone),
            place: self.place(to, operator, region),
            holidays: &self.holidays,
        })
    }

    /// Everything that binds when a message may leave; `None` if no named hours do.
    #[must_use]
    pub fn binding_of<'a>(&'a self, message: &'a Message) -> Option<Binding<'a>> {
        let operator = self.operator(&message.lane.operator);
        let terms = message.terms.as_deref();
        if terms.is_none_or(|terms| terms.hours.is_empty()) && operator.named_hours.is_none() {
            return None;
        }
        let names = terms.into_iter().flat_map(|terms| &terms.hours);
        let region = terms.and_then(|terms| Territory::from_code(terms.region.as_deref()?));
        self.binding(names.map(String::as_str), operator, message.to, region)
    }

    /// When a message may leave by all the hours that bind it, at `at` or after it;
    /// [`Timestamp::NEVER`] where there is no such time.
    #[must_use]
    pub fn opening_of(&self, message: &Message, at: Timestamp) -> Timestamp {
        match self.binding_of(message) {
            Some(binding) => binding.opening(at),
            None => self.operator(&message.lane.operator).opening(at),
        }
    }

    /// True if an account is a GSM modem.
    #[must_use]
    pub fn is_modem(&self, account: &Account) -> bool {
        self.modems.contains_key(account)
    }

    /// True if nothing but modems sends for an operator.
    #[must_use]
    pub fn is_by_modem(&self, operator: &Operator) -> bool {
        let mut accounts = operator.route.iter().flatten().peekable();
        accounts.peek().is_some() && accounts.all(|account| self.is_modem(account))
    }

    /// The pace of an account.
    #[must_use]
    pub fn rate_of(&self, account: &Account) -> Rate {
        self.rates.get(account).copied().unwrap_or_default()
    }

    /// How texts travel over an account.
    #[must_use]
    pub fn text_rules_of(&self, account: &Account) -> TextRules {
        if chain::is_relay(account) {
            return TextRules {
                // Neither app nor mailbox cuts a text.
                single_piece: true,
                ..TextRules::default()
            };
        }
        self.text_rules.get(account).copied().unwrap_or_default()
    }

    /// True if a receipt says, beyond doubt, that nobody has the number: that a GSM network knows no such
    /// subscriber (`network_error_code`, SMPP 3.4 §5.3.2.31: network type 3 with error 1 of
    /// 3GPP TS 29.002 §17.6), or what the carrier of the account is known to say for it.
    #[must_use]
    pub fn names_no_number(&self, account: &Account, receipt: &Receipt) -> bool {
        let failed = matches!(
            receipt.state,
            ReceiptState::Undeliverable | ReceiptState::Rejected
        );
        let network = receipt.network_error;
        let unknown = network.is_some_and(|it| it.network == 3 && it.code == 1);
        let told = || {
            let codes = self.invalid_errors.get(account)?;
            let error = receipt.error.as_ref()?;
            Some(codes.iter().any(|code| code.eq_ignore_ascii_case(error)))
        };
        failed && (unknown || told() == Some(true))
    }

    /// The senders that a message to be sent for this operator may show, if it names none itself: those
    /// of the accounts that it may go over.
    pub fn senders_of<'a>(&'a self, operator: &'a Operator) -> impl Iterator<Item = &'a Sender> {
        let accounts = operator.route.iter().flatten();
        accounts.filter_map(|account| self.faces.get(account)?.sender.as_ref())
    }

    /// The first account of an operator's route that is a modem.
    #[must_use]
    pub fn first_modem<'a>(&self, operator: &'a Operator) -> Option<&'a Account> {
        let mut accounts = operator.route.iter().flatten();
        accounts.find(|account| self.modems.contains_key(*account))
    }

    /// The rules that a text for this operator is planned by: those of the first account of its
    /// route.
    #[must_use]
    pub fn first_text_rules(&self, operator: &Operator) -> TextRules {
        let first = operator.first_account();
        first.map_or_else(TextRules::default, |account| self.text_rules_of(account))
    }

    /// Whom the recipients of the first account of an operator's route see.
    #[must_use]
    pub fn first_face(&self, operator: &Operator) -> Option<&Face> {
        self.faces.get(operator.first_account()?)
    }
}

/// The rules of a channel that is none of SMS. An app knows a repetition by its id and so is asked
/// again; a mailbox does not.
fn relay(name: &str, on_doubt: OnDoubt) -> Arc<Operator> {
    let minute = Duration::from_mins(1);
    let waits = [
        Duration::from_secs(2),
        Duration::from_secs(10),
        Duration::from_secs(30),
        minute,
        2 * minute,
        5 * minute,
        10 * minute,
    ];
    Arc::new(Operator {
        on_doubt,
        retry: RetrySchedule(waits.to_vec()),
        ..Operator::named(name, vec![vec![name.into()]])
    })
}

impl Operator {
    /// An operator with the defaults of every key but its name and route.
    #[must_use]
    pub fn named(name: &str, route: Vec<Vec<Account>>) -> Self {
        Self {
            name: name.into(),
            prefixes: Vec::new(),
            route,
            failover_after: Duration::from_secs(30),
            validity: Duration::from_hours(48),
            retry: RetrySchedule::default(),
            on_doubt: OnDoubt::Resend,
            rate: Rate::NONE,
            hours: SendingHours::default(),
            named_hours: None,
            timezone: chrono_tz::Europe::Paris,
            territory: None,
        }
    }

    /// The account that its messages are planned for.
    #[must_use]
    pub fn first_account(&self) -> Option<&Account> {
        self.route.first().and_then(|step| step.first())
    }

    /// When messages may leave by its hours, at `at` or after it.
    #[must_use]
    pub fn opening(&self, at: Timestamp) -> Timestamp {
        self.hours.opening(at, self.timezone)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_longest_prefix_names_the_operator() {
        let operator = |name: &str, prefixes: &[&str]| Operator {
            prefixes: prefixes.iter().map(|p| (*p).to_owned()).collect(),
            ..Operator::named(name, vec![vec![name.into()]])
        };
        let policy = Policy::new(
            operator("default", &[]),
            vec![
                operator("orange", &["336", "33607"]),
                operator("sfr", &["33610"]),
                operator("fr", &["33"]),
            ],
            "FR",
            Limits::default(),
        );
        for (number, name) in [
            ("33607123456", "orange"),
            ("33699123456", "orange"),
            ("33610123456", "sfr"),
            ("33712345678", "fr"),
            ("447700900123", "default"),
        ] {
            let to = Msisdn::from_e164_digits(number).unwrap();
            assert_eq!(policy.operator_for(to).name.as_str(), name, "{number}");
        }
    }
}
