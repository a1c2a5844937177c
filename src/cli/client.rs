//! Commands that are clients of a running daemon's HTTP interface: `send`, `status`, `key`,
//! `erase`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::args::{Erase, Key, Reach, Send, Status};
use super::texts::Lang;
use super::{Failure, out};
use crate::{config, daemon};

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a message that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// `relais send`.
pub(super) fn send(send: &Send, lang: Lang) -> Result<(), Failure> {
    block_on(async {
        let api = Api::reach(&send.reach, lang)?;
        let mut body = json!({ "to": send.to, "text": send.text });
        if let Some(from) = &send.from {
            body["from"] = json!(from);
        }
        let mut message = api.call(Method::POST, "/v1/messages", Some(&body)).await?;
        if send.wait {
            while matches!(text(&message, "status"), "pending" | "sent") {
                tokio::time::sleep(LOOK_AGAIN).await;
                let path = format!("/v1/messages/{}", text(&message, "id"));
                message = api.call(Method::GET, &path, None).await?;
            }
        }
        show(&message, send.reach.json, lang)?;
        match text(&message, "status") {
            ended @ ("expired" | "failed" | "cancelled") if send.wait => {
                Err(Failure::Failed(ended.to_owned()))
            }
            _ => Ok(()),
        }
    })
}

/// `relais status`.
pub(super) fn status(status: &Status, lang: Lang) -> Result<(), Failure> {
    block_on(async {
        let api = Api::reach(&status.reach, lang)?;
        let path = format!("/v1/messages/{}", path_segment(&status.id)?);
        let message = api.call(Method::GET, &path, None).await?;
        show(&message, status.reach.json, lang)?;
        if !status.reach.json {
            for event in list(&message, "events") {
                let what: Vec<_> = ["event", "detail", "code"]
                    .into_iter()
                    .map(|key| text(event, key))
                    .filter(|word| !word.is_empty())
                    .collect();
                out::line(&format!("  {}  {}", text(event, "at"), what.join(" ")))?;
            }
        }
        Ok(())
    })
}

/// `relais erase`.
pub(super) fn erase(erase: &Erase, lang: Lang) -> Result<(), Failure> {
    block_on(async {
        let api = Api::reach(&erase.reach, lang)?;
        let cancel = if erase.cancel { "?cancel=true" } else { "" };
        let path = format!("/v1/admin/numbers/{}{cancel}", in_path(&erase.number));
        let done = api.call(Method::DELETE, &path, None).await?;
        if erase.reach.json {
            return print_json(&done);
        }
        let count = |key: &str| done[key].as_u64().unwrap_or(0);
        out::line(&lang.erased(count("erased"), count("cancelled")))?;
        match count("under_way") {
            0 => Ok(()),
            left => Err(Failure::Failed(lang.erase_again(left))),
        }
    })
}

/// `relais key …`.
pub(super) fn key(key: &Key, lang: Lang) -> Result<(), Failure> {
    block_on(async {
        match key {
            Key::Create {
                tenant,
                name,
                scopes,
                reach,
            } => {
                let api = Api::reach(reach, lang)?;
                let body = json!({ "tenant": tenant, "name": name, "scopes": scopes });
                let made = api
                    .call(Method::POST, "/v1/admin/keys", Some(&body))
                    .await?;
                if reach.json {
                    return print_json(&made);
                }
                out::line(text(&made, "key"))?;
                out::complain(&lang.key_shown_once());
                Ok(())
            }
            Key::List { reach } => {
                let api = Api::reach(reach, lang)?;
                let keys = api.call(Method::GET, "/v1/admin/keys", None).await?;
                if reach.json {
                    return print_json(&keys);
                }
                let keys = list(&keys, "data");
                if keys.is_empty() {
                    out::complain(&lang.no_keys());
                }
                for key in keys {
                    out::line(&key_line(key, lang))?;
                }
                Ok(())
            }
            Key::Revoke { prefix, reach } => {
                let api = Api::reach(reach, lang)?;
                let path = format!("/v1/admin/keys/{}", path_segment(prefix)?);
                api.call(Method::DELETE, &path, None).await?;
                out::line(&lang.key_revoked(prefix))?;
                Ok(())
            }
        }
    })
}

fn key_line(key: &Value, lang: Lang) -> String {
    let scopes: Vec<_> = list(key, "scopes")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let revoked = match text(key, "revoked_at") {
        "" => String::new(),
        at => format!("  {} {at}", lang.revoked()),
    };
    format!(
        "{:<12} {:<16} {:<24} {}{revoked}",
        text(key, "prefix"),
        text(key, "tenant"),
        text(key, "name"),
        scopes.join(",")
    )
}

fn show(message: &Value, json: bool, lang: Lang) -> Result<(), Failure> {
    if json {
        return print_json(message);
    }
    let why: Vec<_> = ["reason", "why", "eta"]
        .into_iter()
        .map(|key| text(message, key))
        .filter(|word| !word.is_empty())
        .collect();
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(" ({})", why.join(" "))
    };
    out::line(&format!(
        "{}  {}{why}  {}, {}",
        text(message, "id"),
        text(message, "label"),
        text(message, "to"),
        lang.parts(message["parts"].as_u64().unwrap_or(0)),
    ))?;
    Ok(())
}

fn print_json(value: &Value) -> Result<(), Failure> {
    out::line(&format!("{value:#}"))?;
    Ok(())
}

pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// An id or a prefix as it goes into a path: nothing that could mean another path.
fn path_segment(id: &str) -> Result<&str, Failure> {
    let plain = !id.is_empty()
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain {
        Ok(id)
    } else {
        Err(Failure::Usage(format!("{id:?} is no id")))
    }
}

/// What stands for any text in a path or a query: only what means nothing there stays as it is
/// (RFC 3986 §2.3).
pub(super) fn in_path(text: &str) -> String {
    let mut escaped = String::new();
    for octet in text.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(octet));
            }
            _ => escaped.push_str(&format!("%{octet:02X}")),
        }
    }
    escaped
}

pub(super) fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// The daemon's HTTP interface.
pub(super) struct Api {
    client: reqwest::Client,
    url: String,
    key: SecretString,
    lang: Lang,
}

impl Api {
    /// The daemon at `url`.
    pub(super) fn new(url: String, key: SecretString, lang: Lang) -> Result<Self, Failure> {
        crate::engine::outbox::install_crypto();
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
            key,
            lang,
        })
    }

    pub(super) fn reach(reach: &Reach, lang: Lang) -> Result<Self, Failure> {
        let key = match &reach.key {
            Some(key) => key.clone(),
            None => admin_key(reach, lang)?,
        };
        let url = reach.url.clone().unwrap_or_else(|| {
            let config = config::load(&reach.config);
            let listen = config.map_or(config::DEFAULT_LISTEN, |config| config.http.listen);
            url_of(listen)
        });
        Self::new(url, key, lang)
    }

    /// Calls and answers the JSON of a success; an empty body is `null`.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(self.key.expose_secret())
            .header("accept-language", self.lang.tag());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| {
            let url = &self.url;
            Failure::Failed(self.lang.no_daemon(url, &innermost(&error)))
        })?;
        let status = answer.status();
        let octets = answer
            .bytes()
            .await
            .map_err(|error| Failure::Failed(self.lang.no_daemon(&self.url, &innermost(&error))))?;
        let value = serde_json::from_slice(&octets).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        Err(self.refused(status, &value))
    }

    /// Asks for something long, to be read piece by piece: there is no end to wait for but silence.
    pub(super) async fn stream(&self, path: &str) -> Result<Stream<'_>, Failure> {
        crate::engine::outbox::install_crypto();
        let client = reqwest::Client::builder()
            .read_timeout(PATIENCE)
            .build()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let request = client
            .get(format!("{}{path}", self.url))
            .bearer_auth(self.key.expose_secret())
            .header("accept-language", self.lang.tag());
        let answer = request.send().await.map_err(|error| self.broken(&error))?;
        if answer.status().is_success() {
            return Ok(Stream { answer, api: self });
        }
        let status = answer.status();
        let octets = answer.bytes().await.map_err(|error| self.broken(&error))?;
        Err(self.refused(
            status,
            &serde_json::from_slice(&octets).unwrap_or(Value::Null),
        ))
    }

    fn broken(&self, error: &reqwest::Error) -> Failure {
        Failure::Failed(self.lang.no_daemon(&self.url, &innermost(error)))
    }

    fn refused(&self, status: StatusCode, problem: &Value) -> Failure {
        let mut words = match (text(problem, "title"), text(problem, "detail")) {
            ("", "") => self.lang.unexpected_answer(status.as_u16()),
            (title, "") => title.to_owned(),
            (title, detail) => format!("{title}: {detail}"),
        };
        for error in list(problem, "errors") {
            words.push_str(&format!(
                "\n  {}: {} ({})",
                text(error, "pointer"),
                text(error, "detail"),
                text(error, "code")
            ));
        }
        Failure::Failed(words)
    }
}

/// A long answer.
pub(super) struct Stream<'a> {
    answer: reqwest::Response,
    api: &'a Api,
}

impl Stream<'_> {
    /// The next octets; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<bytes::Bytes>, Failure> {
        let piece = self.answer.chunk().await;
        piece.map_err(|error| Failure::Failed(self.api.lang.broken_off(&innermost(&error))))
    }
}

/// Where a daemon that listens there is reached from its own machine.
pub(super) fn url_of(listen: SocketAddr) -> String {
    let mut at = listen;
    if at.ip().is_unspecified() {
        at.set_ip(match at {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{at}")
}

/// The admin key of the configuration, where this user can read both.
fn admin_key(reach: &Reach, lang: Lang) -> Result<SecretString, Failure> {
    let unreadable = |file: &std::path::Path, cause: &str| {
        Failure::Usage(lang.no_key(&file.display().to_string(), cause))
    };
    let config = config::load(&reach.config).map_err(|errors| {
        let cause = errors.0.first().map_or("", |error| &error.problem);
        unreadable(&reach.config, cause)
    })?;
    let file = daemon::admin_key_path(&config.data_dir);
    let key =
        std::fs::read_to_string(&file).map_err(|error| unreadable(&file, &error.to_string()))?;
    Ok(key.trim().to_owned().into())
}

/// The innermost cause: `connection refused` says more than the layers above it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
