//! What a tenant is allowed and wants: the settings of one organisation or application.
//!
//! They are kept as JSON, as administrators write them, so that a later version may add to them. What is
//! not said has the default that stands here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::message::Class;
use super::status::Language;
use super::text::Encoding;

mod check;

pub use check::{Mistake, hours_mistake, is_amount};

/// The settings of one tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = TenantSettings)]
pub struct Settings {
    /// False: nothing more is accepted (`403 tenant_disabled`); what waits leaves all the same.
    pub enabled: bool,
    /// Sender where the message names none.
    pub sender: Option<String>,
    /// Senders that messages may name; empty: any.
    pub senders: Vec<String>,
    /// What becomes of a sender that French operators would refuse.
    pub sender_rules: Severity,
    /// What is written above or below every text.
    pub signature: Option<Signature>,
    /// Kinds of numbers that may be written to, such as `FR mobile` or `FR`; empty: any.
    pub numbers: Vec<String>,
    /// ISO 3166 codes of the countries that may be written to, `*` for all; absent: the installation's own.
    pub countries: Option<Vec<String>>,
    /// True: only texts of the tenant's templates (`403 template_required`).
    pub templates_only: bool,
    /// Most characters of a text, its signature included.
    pub max_length: Option<u32>,
    /// Most parts of a text.
    pub max_parts: Option<u32>,
    /// What becomes of a text that is longer.
    pub overflow: Overflow,
    /// `auto`, `gsm` or `transliterate`, where the message says nothing.
    #[schema(value_type = Option<String>)]
    pub encoding: Option<Encoding>,
    /// The class of messages that name none.
    #[schema(value_type = Option<String>)]
    pub class: Option<Class>,
    /// A number that gets everything instead of the recipients: for trials.
    pub sandbox: Option<String>,
    /// How long texts are kept, such as `7d`, where that is shorter than the installation's `[retention]`.
    pub keep_texts: Option<String>,
    /// When messages may leave.
    pub hours: ClassHours,
    /// ISO 3166-2 code of the part of the country whose public holidays count where the number does not
    /// tell, such as `FR-57` in Alsace-Moselle.
    pub region: Option<String>,
    /// Who answers for the consent of the recipients of commercial messages.
    pub consent: Consent,
    /// What may be sent by day and month.
    pub quotas: Quotas,
    /// The credit that messages are paid from; absent: they are not counted.
    pub credit: Option<Credit>,
    /// Limits against abuse.
    pub guard: Guard,
    /// Language of what the gateway adds to a text.
    pub language: Language,
    /// Subject of e-mails that name none.
    pub email_subject: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            sender: None,
            senders: Vec::new(),
            sender_rules: Severity::Warn,
            signature: None,
            numbers: Vec::new(),
            countries: None,
            templates_only: false,
            max_length: None,
            max_parts: None,
            overflow: Overflow::Reject,
            encoding: None,
            class: None,
            sandbox: None,
            keep_texts: None,
            hours: ClassHours::default(),
            region: None,
            consent: Consent::Required,
            quotas: Quotas::default(),
            credit: None,
            guard: Guard::default(),
            language: Language::Fr,
            email_subject: None,
        }
    }
}

impl Settings {
    /// How long texts are kept, in seconds; `None`: as long as the installation does.
    #[must_use]
    pub fn keep_texts_s(&self) -> Option<u64> {
        check::seconds(self.keep_texts.as_deref()?)
    }

    /// Characters that the signature adds to a text, its separator included.
    #[must_use]
    pub fn signature_length(&self) -> usize {
        self.signature.as_ref().map_or(0, |signature| {
            signature.text.chars().count() + signature.separator.chars().count()
        })
    }
}

/// How a rule is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Not at all.
    Off,
    /// Told in the answer.
    Warn,
    /// The message is refused.
    Error,
}

/// What is written above or below every text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The signature, for example a telephone number.
    pub text: String,
    /// Where it stands.
    #[serde(default)]
    pub position: Position,
    /// What stands between it and the text.
    #[serde(default = "line_break")]
    pub separator: String,
    /// Whether messages that do not say get it.
    #[serde(default = "yes")]
    pub by_default: bool,
}

fn line_break() -> String {
    "\n".to_owned()
}

const fn yes() -> bool {
    true
}

/// Where a signature stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SignaturePosition)]
pub enum Position {
    /// Before the text.
    Head,
    /// Behind it.
    #[default]
    Foot,
}

/// What becomes of a text that is longer than allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The message is refused.
    #[default]
    Reject,
    /// It is cut, never inside a character; the signature stays.
    Truncate,
    /// It goes in as many parts as it needs, up to the installation's limit.
    Split,
}

/// The names of the sending hours of each class: those of the configuration's `[hours]`, or the presets;
/// `always` for none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClassHours {
    /// Of transactional messages.
    pub transactional: String,
    /// Of commercial ones.
    pub commercial: String,
}

impl Default for ClassHours {
    fn default() -> Self {
        Self {
            transactional: "always".to_owned(),
            commercial: "fr-seed".to_owned(),
        }
    }
}

/// Who answers for the consent of the recipients of commercial messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// It must stand in the ledger of the gateway.
    Required,
    /// The caller has it elsewhere.
    Caller,
}

/// What may be sent, in parts; 0 is any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quotas {
    /// Parts in a day, by the clock of the installation.
    pub daily_parts: u64,
    /// Parts in a month.
    pub monthly_parts: u64,
}

/// The credit that messages are paid from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    /// In what it is counted.
    #[serde(default)]
    pub unit: Unit,
    /// Price of a part in euros, such as `"0.2177"`; needed where the unit is `eur`.
    #[serde(default)]
    pub price: Option<String>,
    /// Other prices, by operator.
    #[serde(default)]
    pub prices: std::collections::BTreeMap<String, String>,
    /// Balances, in the unit, at which somebody is told.
    #[serde(default)]
    pub thresholds: Vec<String>,
    /// E-mail addresses that are told, besides the webhook `credit.low`.
    #[serde(default)]
    pub email: Vec<String>,
}

/// In what a credit is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CreditUnit)]
pub enum Unit {
    /// Euros.
    #[default]
    Eur,
    /// Parts: one credit is one part.
    Parts,
}

/// Limits against abuse; absent: the configuration's `[guard]`; 0: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Messages to one recipient in an hour.
    pub recipient_hourly: Option<u32>,
    /// Messages to one recipient in a day.
    pub recipient_daily: Option<u32>,
    /// Messages to the numbers that share their first 8 digits, in ten minutes.
    pub prefix_burst: Option<u32>,
    /// Consecutive numbers in ten minutes.
    pub consecutive: Option<u32>,
    /// Euros in a day, such as `"50"`; messages without a price count by parts at `price`.
    pub daily_spend: Option<String>,
}

/// What one key may do less than its tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = KeyTerms)]
pub struct KeyTerms {
    /// What it may send.
    pub quotas: Quotas,
    /// True: only texts of the tenant's templates.
    pub templates_only: bool,
    /// The name of sending hours that bind what it sends.
    pub hours: Option<String>,
}
