//! E-mails: those that are a step of a message's way, and those that tell people of the gateway itself.
//!
//! A mail is handed to one server, command by command, so that it is known how far it came: until the
//! text has been sent whole nothing has left, and whatever goes wrong is certain; if the answer to the
//! text does not come, nobody can tell, and a step is not tried again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Mail};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::{self};
use secrecy::ExposeSecret;

use super::{Tried, later, refused};
use crate::channel::SegmentOutcome;
use crate::domain::chain::{NO_ADDRESS, Way};
use crate::domain::event::Rejection;
use crate::domain::message::{Doubt, Message};
use crate::domain::policy::{EmailServer, EmailTls};
use crate::domain::status::Language;
use crate::domain::time::Timestamp;
use crate::engine::Engine;

/// Longest address (RFC 5321 §4.5.3.1.3).
const ADDRESS_MAX: usize = 254;

/// What is mailed to whom.
pub(in crate::engine) struct Letter<'a> {
    pub(in crate::engine) to: &'a str,
    pub(in crate::engine) subject: &'a str,
    pub(in crate::engine) text: &'a str,
    /// The same in every try: what stands before the `@` of its Message-ID.
    pub(in crate::engine) id: String,
    pub(in crate::engine) at: Timestamp,
}

/// What became of a mail.
#[derive(Debug)]
pub(in crate::engine) enum Mailed {
    /// The server has taken it, under this Message-ID.
    Taken(String),
    /// It has refused it, with this code: for good or for now.
    Refused { for_good: bool, code: String },
    /// The answer to the text did not come.
    Lost(Doubt),
    /// The server was not reached, or lets us hand in nothing: in words that name no address.
    Unreachable(String),
}

/// An address as it may stand in an e-mail; `None` if it is none.
#[must_use]
pub(in crate::engine) fn address(text: &str) -> Option<Address> {
    let short = text.len() <= ADDRESS_MAX && !text.chars().any(char::is_control);
    let address: Address = short.then(|| text.parse().ok()).flatten()?;
    // To people, not to machines: a name with a dot alone, and no address of a network.
    let domain = address.domain();
    (domain.contains('.') && !domain.starts_with('[')).then_some(address)
}

/// The way to the mail server of the rules in force.
#[derive(Default)]
pub(in crate::engine) struct Mailers(Mutex<Option<Arc<Mailer>>>);

/// The way to one mail server.
struct Mailer {
    server: Arc<EmailServer>,
    from: Mailbox,
    tls: Option<TlsParameters>,
}

impl Mailers {
    /// Mails a step of a message's way.
    pub(super) async fn mail(&self, engine: &Engine, message: &Message) -> Tried {
        let way = message.step().map(|step| &step.way);
        let Some(Way::Email {
            to: Some(to),
            subject,
        }) = way
        else {
            return Tried::Ended(refused(NO_ADDRESS));
        };
        let settings = engine.settings(&message.tenant);
        let subject = subject.as_deref().or(settings.email_subject.as_deref());
        let usual = match settings.language {
            Language::Fr => "Message pour vous",
            Language::En => "A message for you",
        };
        let letter = Letter {
            to,
            subject: subject.unwrap_or(usual),
            text: &message.text,
            id: format!(
                "{}.{}",
                message.id,
                message.chain().map_or(0, |chain| chain.at)
            ),
            at: engine.clock.now(),
        };
        let mailed = self.send(engine, &letter).await;
        tracing::debug!(message_id = %message.id, ?mailed, "mailed");
        Tried::Ended(match mailed {
            Mailed::Taken(id) => SegmentOutcome::Accepted(id),
            Mailed::Refused {
                for_good: true,
                code,
            } => SegmentOutcome::Rejected(Rejection::Permanent(code)),
            Mailed::Refused { code, .. } => later(code),
            Mailed::Lost(doubt) => SegmentOutcome::Unknown(doubt),
            Mailed::Unreachable(cause) => return Tried::Unreachable(cause),
        })
    }

    /// Mails a letter by the rules in force.
    pub(in crate::engine) async fn send(&self, engine: &Engine, letter: &Letter<'_>) -> Mailed {
        let Some(server) = engine.rules().email.clone() else {
            return Mailed::Unreachable("there is no [email] in the configuration".to_owned());
        };
        match self.to(&server) {
            Ok(mailer) => mailer.send(letter).await,
            Err(problem) => Mailed::Unreachable(problem),
        }
    }

    /// What is needed to reach a server is made once.
    fn to(&self, server: &Arc<EmailServer>) -> Result<Arc<Mailer>, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mailer) = known.as_ref().filter(|it| Arc::ptr_eq(&it.server, server)) {
            return Ok(mailer.clone());
        }
        let mailer = Arc::new(Mailer::new(server)?);
        *known = Some(mailer.clone());
        Ok(mailer)
    }
}

impl Mailer {
    fn new(server: &Arc<EmailServer>) -> Result<Self, String> {
        let from = server.from.parse::<Mailbox>();
        let from = from.map_err(|error| format!("email.from: {error}"))?;
        let tls = match server.tls {
            EmailTls::None => None,
            EmailTls::Tls | EmailTls::Starttls => {
                let mut tls = TlsParameters::builder(server.host.clone());
                if let Some(pem) = &server.ca {
                    let ca = Certificate::from_pem(pem);
                    tls = tls.add_root_certificate(ca.map_err(|error| error.to_string())?);
                }
                Some(tls.build_rustls().map_err(|error| error.to_string())?)
            }
        };
        Ok(Self {
            server: server.clone(),
            from,
            tls,
        })
    }

    async fn send(&self, letter: &Letter<'_>) -> Mailed {
        let refused = |code: &str| Mailed::Refused {
            for_good: true,
            code: code.to_owned(),
        };
        let Some(to) = address(letter.to) else {
            return refused("address_invalid");
        };
        let id = format!("{}@{}", letter.id, self.from.email.domain());
        let Ok(mail) = self.compose(to.clone(), &id, letter) else {
            return refused("unwritable");
        };
        let mut connection = match self.within(self.connect()).await {
            Ok(connection) => connection,
            Err(problem) => return Mailed::Unreachable(problem.words()),
        };
        let mailed = self.hand_in(&mut connection, to, &mail, id).await;
        // What it says to that changes nothing.
        let _ = tokio::time::timeout(Duration::from_secs(1), connection.abort()).await;
        mailed
    }

    /// Everything that stands in a header is written by the library, which lets no line break in.
    fn compose(
        &self,
        to: Address,
        id: &str,
        letter: &Letter<'_>,
    ) -> Result<Vec<u8>, lettre::error::Error> {
        let since_1970 = Duration::from_millis(letter.at.millis().max(0).unsigned_abs());
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mail = Mail::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject)
            .date(UNIX_EPOCH + since_1970)
            .message_id(Some(format!("<{id}>")))
            // RFC 3834: nobody's absence is to answer it.
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.to_owned())?;
        Ok(mail.formatted())
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, smtp::Error> {
        let server = &self.server;
        let hello = ClientId::Domain(self.from.email.domain().to_owned());
        let whole = self.tls.clone().filter(|_| server.tls == EmailTls::Tls);
        let mut connection = AsyncSmtpConnection::connect_tokio1(
            (server.host.as_str(), server.port),
            Some(server.response_timeout),
            &hello,
            whole,
            None,
        )
        .await?;
        if server.tls == EmailTls::Starttls
            && let Some(tls) = &self.tls
        {
            connection.starttls(tls.clone(), &hello).await?;
        }
        if let Some((user, password)) = &server.login {
            let login = Credentials::new(user.clone(), password.expose_secret().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, &login).await?;
        }
        Ok(connection)
    }

    async fn hand_in(
        &self,
        connection: &mut AsyncSmtpConnection,
        to: Address,
        mail: &[u8],
        id: String,
    ) -> Mailed {
        let from = self.from.email.clone();
        let mut options = Vec::new();
        if !(from.to_string().is_ascii() && to.to_string().is_ascii()) {
            if !connection
                .server_info()
                .supports_feature(Extension::SmtpUtfEight)
            {
                return Mailed::Refused {
                    for_good: true,
                    code: "no SMTPUTF8".to_owned(),
                };
            }
            options.push(MailParameter::SmtpUtfEight);
            options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        // What it says to the sender is about us, and not about the recipient.
        let begun = connection.command(MailFrom::new(Some(from), options));
        if let Err(problem) = self.within(begun).await {
            return Mailed::Unreachable(format!("sender refused: {}", problem.words()));
        }
        let addressed = connection.command(Rcpt::new(to, Vec::new()));
        if let Err(problem) = self.within(addressed).await {
            return problem.before_the_text();
        }
        if let Err(problem) = self.within(connection.command(Data)).await {
            return problem.before_the_text();
        }
        match self.within(connection.message(mail)).await {
            Ok(_) => Mailed::Taken(id),
            Err(problem) => problem.behind_the_text(),
        }
    }

    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, smtp::Error>>,
    ) -> Result<T, Problem> {
        match tokio::time::timeout(self.server.response_timeout, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(Problem::Error(error)),
            Err(_) => Err(Problem::Timeout),
        }
    }
}

/// Why a command did not succeed.
enum Problem {
    Error(smtp::Error),
    Timeout,
}

impl Problem {
    /// A reply of the server: true if it is for good, and its code. Its words may name the recipient.
    fn reply(&self) -> Option<(bool, String)> {
        match self {
            Self::Error(error) => {
                let status = error.status()?;
                Some((error.is_permanent(), format!("SMTP {status}")))
            }
            Self::Timeout => None,
        }
    }

    fn words(&self) -> String {
        match (self.reply(), self) {
            (Some((_, code)), _) => code,
            (None, Self::Error(error)) => {
                let mut inner: &dyn std::error::Error = error;
                while let Some(source) = inner.source() {
                    inner = source;
                }
                inner.to_string()
            }
            (None, Self::Timeout) => "no answer".to_owned(),
        }
    }

    /// Nothing has left.
    fn before_the_text(self) -> Mailed {
        match self.reply() {
            Some((for_good, code)) => Mailed::Refused { for_good, code },
            None => Mailed::Unreachable(self.words()),
        }
    }

    /// Without a reply, it may have taken the text.
    fn behind_the_text(self) -> Mailed {
        match (self.reply(), self) {
            (Some((for_good, code)), _) => Mailed::Refused { for_good, code },
            (None, Self::Timeout) => Mailed::Lost(Doubt::Timeout),
            (None, Self::Error(_)) => Mailed::Lost(Doubt::Disconnected),
        }
    }
}
