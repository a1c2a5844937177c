//! `[email]`: the server that e-mails are handed in to.

use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::raw::{Reader, Section};
use crate::domain::policy::{EmailServer, EmailTls};

const SECOND: Duration = Duration::from_secs(1);

/// Reads the table; `None` if there is none.
pub(super) fn read<'a>(
    reader: &mut Reader<'a>,
    root: &mut Section<'a>,
) -> Option<Arc<EmailServer>> {
    let given = root.has("email");
    let mut section = reader.table(root, "email");
    let s = &mut section;
    let host = if given {
        reader.need(s, "host", "the mail server's host name or address", |v| {
            let host = v.text()?;
            let visible = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic());
            if visible {
                Ok(host)
            } else {
                Err("it is no host name".to_owned())
            }
        })
    } else {
        reader.take(s, "host", |v| v.text())
    };
    let words = [
        ("starttls", EmailTls::Starttls),
        ("tls", EmailTls::Tls),
        ("none", EmailTls::None),
    ];
    let tls = reader.take(s, "tls", |v| v.word(&words));
    let port = reader.take(s, "port", |v| v.integer(1..=u16::MAX));
    let ca_file = reader.take(s, "ca_file", |v| v.text());
    let ca = ca_file.and_then(|file| {
        let path = reader.beside(&file.value);
        let problem = match std::fs::read(&path) {
            Ok(pem) if CertificateDer::from_pem_slice(&pem).is_ok() => return Some(pem),
            Ok(_) => format!("{} holds no certificate in PEM", path.display()),
            Err(error) => format!("{} cannot be read: {error}", path.display()),
        };
        reader.error(file.line, &file.path, problem);
        None
    });
    let user = reader.take(s, "user", |v| v.text());
    let password = reader.secret(s, "password", "password_file");
    let mailbox = |text: String| match text.parse::<Mailbox>() {
        Ok(_) => Ok(text),
        Err(_) => Err(format!(
            "{text:?} is no sender; write \"club@example.org\" or \"Club <club@example.org>\""
        )),
    };
    let from = if given {
        let what = "who e-mails are from, such as \"Club <club@example.org>\"";
        reader.need(s, "from", what, |v| mailbox(v.text()?))
    } else {
        reader.take(s, "from", |v| mailbox(v.text()?))
    };
    let timeout = SECOND..=Duration::from_mins(10);
    let response_timeout = reader.take(s, "response_timeout", |v| v.duration(timeout.clone()));
    let tls = tls.map_or(EmailTls::Starttls, |tls| tls.value);
    let login = match (user, password) {
        (Some(user), Some(password)) => Some((user.value, password.value)),
        (None, None) => None,
        (user, password) => {
            let user = user.map(|user| (user.line, user.path));
            let lone = user.or(password.map(|it| (it.line, it.path)));
            if let Some((line, path)) = lone {
                let problem = "user and password go together; give both or none";
                reader.error(line, &path, problem);
            }
            None
        }
    };
    if let Some(host) = &host
        && tls == EmailTls::None
        && !super::smpp::is_loopback(&host.value)
    {
        reader.warn(
            host.line,
            &host.path,
            "without TLS e-mails and the password cross the network in the clear; use tls = \"starttls\" or \"tls\"",
        );
    }
    reader.close(section);
    if !given {
        return None;
    }
    let usual_port = match tls {
        EmailTls::Starttls => 587,
        EmailTls::Tls => 465,
        EmailTls::None => 25,
    };
    Some(Arc::new(EmailServer {
        host: host?.value,
        port: port.map_or(usual_port, |port| port.value),
        tls,
        ca,
        login,
        from: from?.value,
        response_timeout: response_timeout.map_or(60 * SECOND, |timeout| timeout.value),
    }))
}
