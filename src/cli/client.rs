//! Commands that are clients of a running daemon's HTTP interface: `send`, `status`, `health`, `key`,
//! `erase`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::args::{Erase, Health, Key, Reach, Send, Status};
use super::texts::Lang;
use super::trust::Trust;
use super::{Failure, out};
use crate::config::{Config, ConfigErrors, Http};
use crate::daemon::Address;
use crate::{config, daemon};

/// How long a daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one stream of events may last; then another is opened.
const STREAM: Duration = Duration::from_hours(24);
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

/// `relais health`.
pub(super) fn health(mut health: Health, lang: Lang) -> Result<(), Failure> {
    // None is asked for there, and who asks may not be able to read the administrator's.
    health.reach.key.get_or_insert_with(SecretString::default);
    let path = if health.ready { "/readyz" } else { "/healthz" };
    block_on(async {
        let api = Api::reach(&health.reach, lang)?;
        let found = api.call(Method::GET, path, None).await?;
        if health.reach.json {
            return print_json(&found);
        }
        Ok(out::line(text(&found, "status"))?)
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
    let waits = lang.why(text(message, "why"));
    let why: Vec<_> = [text(message, "reason"), waits, text(message, "eta")]
        .into_iter()
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

pub(super) fn print_json(value: &Value) -> Result<(), Failure> {
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
    patience: Duration,
}

impl Api {
    /// The daemon at `url`, which the system's authorities vouch for if it is `https://`.
    pub(super) fn new(url: String, key: SecretString, lang: Lang) -> Result<Self, Failure> {
        Self::trusting(Trust::System.client()?, url, key, lang)
    }

    /// The daemon of this configuration, on its own machine.
    pub(super) fn of(config: &Config, key: SecretString, lang: Lang) -> Result<Self, Failure> {
        let own = Own::new(config.data_dir.clone(), &config.http);
        Self::trusting(own.trust().client()?.no_proxy(), own.url(), key, lang)
    }

    fn trusting(
        client: reqwest::ClientBuilder,
        url: String,
        key: SecretString,
        lang: Lang,
    ) -> Result<Self, Failure> {
        let client = client
            .build()
            .map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
            key,
            lang,
            patience: PATIENCE,
        })
    }

    /// The same for an answer that may take longer.
    pub(super) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The daemon that the arguments name, with the key that they or the configuration give.
    pub(super) fn reach(reach: &Reach, lang: Lang) -> Result<Self, Failure> {
        let key = match &reach.key {
            Some(key) => key.clone(),
            None => admin_key(reach, lang)?,
        };
        let (url, trust) = match &reach.url {
            Some(url) => (url.clone(), Trust::System),
            None => Own::by(&reach.config).map_or_else(
                |_| (url_of(config::DEFAULT_LISTEN), Trust::System),
                |own| (own.url(), own.trust()),
            ),
        };
        let trust = reach.ca_file.clone().map_or(trust, Trust::File);
        let mut client = trust.client()?;
        if reach.url.is_none() {
            // A proxy of the environment is for the world outside, and the key is not for it.
            client = client.no_proxy();
        }
        Self::trusting(client, url, key, lang)
    }

    /// True if a daemon is there, be it one that can store nothing.
    pub(super) async fn is_there(&self) -> bool {
        let asked = self.client.get(format!("{}/healthz", self.url));
        let answer = asked.timeout(self.patience).send().await;
        let fits = |status| matches!(status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE);
        answer.is_ok_and(|it| fits(it.status()))
    }

    /// Calls and answers the JSON of a success; an empty body is `null`.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let answer = self.ask(method, path, body, self.patience).await?;
        let octets = answer.bytes().await.map_err(|error| self.lost(&error))?;
        Ok(serde_json::from_slice(&octets).unwrap_or(Value::Null))
    }

    /// Gets a text.
    pub(super) async fn text(&self, path: &str) -> Result<String, Failure> {
        let answer = self.ask(Method::GET, path, None, self.patience).await?;
        answer.text().await.map_err(|error| self.lost(&error))
    }

    /// Opens a stream, to be read for as long as it lasts.
    pub(super) async fn stream(&self, path: &str) -> Result<reqwest::Response, Failure> {
        self.ask(Method::GET, path, None, STREAM).await
    }

    /// Where the daemon is reached.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks and answers what a success begins with.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<reqwest::Response, Failure> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .timeout(patience)
            .bearer_auth(self.key.expose_secret())
            .header("accept-language", self.lang.tag());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| self.lost(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let octets = answer.bytes().await.map_err(|error| self.lost(&error))?;
        let problem = serde_json::from_slice(&octets).unwrap_or(Value::Null);
        Err(self.refused(status, &problem))
    }

    fn lost(&self, error: &reqwest::Error) -> Failure {
        Failure::Failed(self.lang.no_daemon(&self.url, &innermost(error)))
    }

    /// Asks for something long, to be read piece by piece.
    pub(super) async fn download(&self, path: &str) -> Result<Stream<'_>, Failure> {
        let answer = self.stream(path).await?;
        Ok(Stream { answer, api: self })
    }

    fn refused(&self, status: StatusCode, problem: &Value) -> Failure {
        if text(problem, "code") == "config_invalid" {
            // Bare, as `relais check` prints them: editors and scripts read file:line.
            let mistakes = list(problem, "errors").iter();
            let mistakes: Vec<_> = mistakes.map(|it| text(it, "detail")).collect();
            return Failure::Usage(mistakes.join("\n"));
        }
        let mut words = match (text(problem, "title"), text(problem, "detail")) {
            ("", "") => self.lang.unexpected_answer(status.as_u16()),
            (title, "") => title.to_owned(),
            (title, detail) => format!("{title}: {detail}"),
        };
        match list(problem, "errors") {
            // Its detail is the problem's, which stands there already.
            [only] if text(only, "detail") == text(problem, "detail") => {
                let at = [text(only, "pointer"), text(only, "code")];
                words.push_str(&format!(" ({})", at.join(" ").trim_start()));
            }
            errors => {
                for error in errors {
                    words.push_str(&format!(
                        "\n  {}: {} ({})",
                        text(error, "pointer"),
                        text(error, "detail"),
                        text(error, "code")
                    ));
                }
            }
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
    /// The next octets; `None` at the end. There is no end to wait for but silence.
    pub(super) async fn next(&mut self) -> Result<Option<bytes::Bytes>, Failure> {
        let broken = |cause: &str| Failure::Failed(self.api.lang.broken_off(cause));
        match tokio::time::timeout(PATIENCE, self.answer.chunk()).await {
            Ok(piece) => piece.map_err(|error| broken(&innermost(&error))),
            Err(silence) => Err(broken(&silence.to_string())),
        }
    }
}

/// The daemon of this machine: what it has told of itself, or else what its configuration says.
struct Own {
    data_dir: PathBuf,
    address: Address,
}

impl Own {
    /// The one that a file is about, as far as the file can be read: one that was spoilt since its daemon
    /// has read it is no reason not to find that daemon.
    fn by(file: &Path) -> Result<Self, ConfigErrors> {
        let (data_dir, http) = config::whereabouts(file)?;
        Ok(Self::new(data_dir, &http))
    }

    fn new(data_dir: PathBuf, http: &Http) -> Self {
        let told = Address::read(&data_dir);
        Self {
            address: told.unwrap_or_else(|| Address::new(http.listen, http.tls.as_ref())),
            data_dir,
        }
    }

    fn url(&self) -> String {
        let url = url_of(self.address.listen);
        match self.address.certificate {
            Some(_) => url.replacen("http:", "https:", 1),
            None => url,
        }
    }

    fn trust(&self) -> Trust {
        Trust::in_own(&self.address)
    }
}

/// Where a daemon that listens there, without TLS, is reached from its own machine.
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
    let unreadable = |cause: &str| Failure::Usage(lang.no_key(cause));
    let own = Own::by(&reach.config).map_err(|errors| {
        let cause = errors.0.first().map(ToString::to_string);
        unreadable(&cause.unwrap_or_default())
    })?;
    let file = daemon::admin_key_path(&own.data_dir);
    let key = std::fs::read_to_string(&file)
        .map_err(|error| unreadable(&format!("{}: {error}", file.display())))?;
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
