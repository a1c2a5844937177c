//! Where webhooks may go: not back into the network that the gateway stands in.
//!
//! An address is judged when a URL is saved, again before each post, and at the moment of
//! connecting: the name is resolved once, every address is checked, and the connection goes to an
//! address that was checked. Redirects are not followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use tokio::sync::watch;

use crate::domain::policy::Policy;

/// Most of an answer that is read.
const ANSWER_MAX: usize = 64 * 1024;
/// Longest URL.
const URL_MAX: usize = 2000;

/// Why a URL is not one to post to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlRefused {
    /// No URL, or a long one.
    #[error("it is not a URL of at most 2000 characters")]
    NotAUrl,
    /// Not HTTP.
    #[error(
        "use https://; http:// is for networks that the configuration's [webhooks] allow names"
    )]
    Scheme,
    /// User name or password.
    #[error("a URL with a user name or password is refused; the signature authenticates the post")]
    UserInfo,
    /// An address inside.
    #[error(
        "the address is private or reserved; the configuration's [webhooks] allow can permit it"
    )]
    Address,
}

impl UrlRefused {
    /// Stable code.
    pub(in crate::engine) const fn code(&self) -> &'static str {
        match self {
            Self::NotAUrl => "url_invalid",
            Self::Scheme => "url_scheme_refused",
            Self::UserInfo => "url_user_info_refused",
            Self::Address => "url_address_refused",
        }
    }
}

/// Checks a URL as far as it can be without resolving its name.
///
/// # Errors
/// Which rule it breaks.
pub fn check_url(url: &str, allow: &[IpNet]) -> Result<(), UrlRefused> {
    checked(url, allow).map(drop)
}

/// The URL as it was understood when it was checked: what is posted to is that, and not its text read
/// again.
fn checked(url: &str, allow: &[IpNet]) -> Result<reqwest::Url, UrlRefused> {
    if url.len() > URL_MAX {
        return Err(UrlRefused::NotAUrl);
    }
    let parsed = reqwest::Url::parse(url).map_err(|_| UrlRefused::NotAUrl)?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(UrlRefused::UserInfo);
    }
    let host = parsed.host_str().ok_or(UrlRefused::NotAUrl)?;
    let literal = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
        .ok();
    match (parsed.scheme(), literal) {
        ("https", Some(address)) if !permitted(address, allow) => Err(UrlRefused::Address),
        ("https", _) => Ok(parsed),
        ("http", Some(address)) if listed(address, allow) => Ok(parsed),
        // A name is judged by its addresses when the post is made.
        ("http", None) if !allow.is_empty() => Ok(parsed),
        _ => Err(UrlRefused::Scheme),
    }
}

/// Names the cryptography that TLS uses, for the whole process; a second call changes nothing.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The way out for webhooks.
#[derive(Clone)]
pub(in crate::engine) struct Egress {
    policy: watch::Receiver<Arc<Policy>>,
    /// For `https://`: to public and to listed addresses.
    secure: reqwest::Client,
    /// For `http://`: to listed addresses alone. What a name leads to is known only here.
    clear: reqwest::Client,
}

impl Egress {
    /// A way out that takes at most `timeout` for each post.
    ///
    /// # Errors
    /// If the TLS set-up of the machine cannot be used.
    pub(in crate::engine) fn new(
        policy: watch::Receiver<Arc<Policy>>,
        timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        Self::over(Arc::new(SystemNames), policy, timeout)
    }

    /// The same with names resolved by `names`.
    fn over(
        names: Arc<dyn Resolve>,
        policy: watch::Receiver<Arc<Policy>>,
        timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        let client = |permits| {
            let resolver = CheckedResolver {
                names: names.clone(),
                policy: policy.clone(),
                permits,
            };
            client(resolver, timeout)
        };
        Ok(Self {
            secure: client(permitted)?,
            clear: client(listed)?,
            policy,
        })
    }

    /// A post to `url`, not yet sent.
    ///
    /// # Errors
    /// Which rule the URL breaks now, whatever it was when it was saved.
    pub(in crate::engine) fn to(&self, url: &str) -> Result<reqwest::RequestBuilder, UrlRefused> {
        let url = checked(url, &self.policy.borrow().webhook_allow)?;
        let client = match url.scheme() {
            "https" => &self.secure,
            _ => &self.clear,
        };
        Ok(client.post(url))
    }
}

/// Sends a post, and reads of its answer what is needed to use the connection again.
///
/// # Errors
/// Words for the log, which hold no path, text or number.
pub(super) async fn send(post: reqwest::RequestBuilder) -> Result<(), String> {
    let sent = post.send().await;
    let mut response = sent.map_err(|error| words(&error.without_url()))?;
    let status = response.status();
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > ANSWER_MAX {
            break;
        }
    }
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("answered {}", status.as_u16()))
    }
}

/// How a post that asks for something ended.
pub(in crate::engine) enum Answered {
    /// The connection was never made: it has certainly not arrived.
    Never(String),
    /// It may have arrived, and the answer has not.
    Lost {
        /// True if it was awaited for too long.
        timeout: bool,
        /// In words for the log.
        problem: String,
    },
    /// With this status and body.
    With(u16, Vec<u8>),
}

/// Sends a post and reads its answer.
pub(in crate::engine) async fn ask(post: reqwest::RequestBuilder) -> Answered {
    let lost = |error: reqwest::Error| Answered::Lost {
        timeout: error.is_timeout(),
        problem: words(&error.without_url()),
    };
    let mut response = match post.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() || error.is_builder() => {
            return Answered::Never(words(&error.without_url()));
        }
        Err(error) => return lost(error),
    };
    let status = response.status().as_u16();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Answered::With(status, body),
            Err(error) => return lost(error),
        }
        if body.len() > ANSWER_MAX {
            let problem = "the answer is too large".to_owned();
            return Answered::Lost {
                timeout: false,
                problem,
            };
        }
    }
}

/// The innermost reason of a failed post.
fn words(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// No redirects: each would be a URL that nobody has checked. No proxy: it would resolve names
/// itself.
fn client(resolver: CheckedResolver, timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    install_crypto();
    reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(64)
        .user_agent(concat!("relais/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(resolver))
        .build()
}

/// Resolves a name and judges every address; the connection goes to what it answers, without another
/// look-up in between that could be answered otherwise.
struct CheckedResolver {
    names: Arc<dyn Resolve>,
    policy: watch::Receiver<Arc<Policy>>,
    permits: fn(IpAddr, &[IpNet]) -> bool,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, permits) = (self.names.resolve(name), self.permits);
        let policy = self.policy.borrow().clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = found.await?.collect();
            // One address inside spoils the name: a resolver that mixes them is not to be trusted.
            let inside = |address: &SocketAddr| !permits(address.ip(), &policy.webhook_allow);
            if found.iter().any(inside) {
                return Err(UrlRefused::Address.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Names as the machine resolves them.
struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn listed(address: IpAddr, allow: &[IpNet]) -> bool {
    allow.iter().any(|network| network.contains(&address))
}

fn permitted(address: IpAddr, allow: &[IpNet]) -> bool {
    listed(address, allow) || is_public(address)
}

/// True for addresses of the public Internet (IANA special-purpose registries, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // An IPv4 address in any of its IPv6 clothes is judged as what it is.
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0, 0, 0, 0, 0, 0xFFFF | 0, high, low] => embedded(high, low),
        [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // 2000::/3 is what is assigned to the public; within it the protocol assignments of 2001::/23
        // (Teredo, benchmarks, ORCHID) and documentation are not.
        [first, second, ..] => {
            (first & 0xE000) == 0x2000
                && !(first == 0x2001 && (second < 0x200 || second == 0xDB8))
                && first != 0x3FFF
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    mod network;

    #[test]
    fn no_address_inside_is_accepted_in_any_writing() {
        for url in [
            "https://127.0.0.1/x",
            "https://10.1.2.3/x",
            "https://172.16.0.1/x",
            "https://192.168.1.1/x",
            "https://169.254.169.254/latest",
            "https://100.64.0.1/x",
            "https://0.0.0.0/x",
            "https://224.0.0.1/x",
            "https://2130706433/x",
            "https://0x7f.1/x",
            "https://[::1]/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://[64:ff9b::7f00:1]/x",
            "https://[2002:7f00:1::]/x",
            "https://[fd00::1]/x",
            "https://[fe80::1]/x",
            "https://[ff02::1]/x",
            "https://[::127.0.0.1]/x",
            "https://[::]/x",
            "https://[64:ff9b:1::1]/x",
            "https://[2001:2::1]/x",
            "https://[2001:20::1]/x",
            "https://[2001:0:7f00:1::]/x",
            "https://192.88.99.1/x",
            "https://127.1/x",
            "https://0177.0.0.1/x",
            "https://%31%32%37.0.0.1/x",
            "https://①②⑦.0.0.1/x",
            "https://198.18.0.1/x",
            "https://240.0.0.1/x",
            "https://255.255.255.255/x",
        ] {
            assert_eq!(check_url(url, &[]), Err(UrlRefused::Address), "{url}");
        }
    }

    #[test]
    fn what_is_accepted_and_what_else_is_refused() {
        let allow: Vec<IpNet> = vec!["127.0.0.1/32".parse().unwrap()];
        for (url, allow, expected) in [
            ("https://example.org/hook?x=1", &[][..], Ok(())),
            ("https://93.184.216.34/hook", &[][..], Ok(())),
            ("https://[2606:2800:220:1::1]/hook", &[][..], Ok(())),
            ("http://example.org/hook", &[][..], Err(UrlRefused::Scheme)),
            ("http://127.0.0.1:8080/hook", &allow, Ok(())),
            (
                "http://127.0.0.2:8080/hook",
                &allow,
                Err(UrlRefused::Scheme),
            ),
            (
                "https://user:pass@example.org/",
                &[][..],
                Err(UrlRefused::UserInfo),
            ),
            ("ftp://example.org/", &[][..], Err(UrlRefused::Scheme)),
            ("file:///etc/passwd", &[][..], Err(UrlRefused::NotAUrl)),
            ("not a url", &[][..], Err(UrlRefused::NotAUrl)),
        ] {
            assert_eq!(check_url(url, allow), expected, "{url}");
        }
    }
}
