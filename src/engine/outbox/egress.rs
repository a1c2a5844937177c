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

/// Checks a URL as far as it can be without resolving its name.
///
/// # Errors
/// Which rule it breaks.
pub fn check_url(url: &str, allow: &[IpNet]) -> Result<(), UrlRefused> {
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
        ("https", _) => Ok(()),
        ("http", Some(address)) if listed(address, allow) => Ok(()),
        // A name is judged by its addresses when the post is made.
        ("http", None) if !allow.is_empty() => Ok(()),
        _ => Err(UrlRefused::Scheme),
    }
}

/// Names the cryptography that TLS uses, for the whole process; a second call changes nothing.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client that connects to permitted addresses only.
///
/// # Errors
/// If the TLS set-up of the machine cannot be used.
pub(super) fn client(
    policy: watch::Receiver<Arc<Policy>>,
    timeout: Duration,
) -> Result<reqwest::Client, reqwest::Error> {
    install_crypto();
    reqwest::Client::builder()
        .timeout(timeout)
        .connect_timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(64)
        .user_agent(concat!("relais/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(CheckedResolver { policy }))
        .build()
}

struct CheckedResolver {
    policy: watch::Receiver<Arc<Policy>>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.borrow().clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One address inside spoils the name: a resolver that mixes them is not to be trusted.
            if found
                .iter()
                .any(|address| !permitted(address.ip(), &policy.webhook_allow))
            {
                return Err(
                    Box::new(UrlRefused::Address) as Box<dyn std::error::Error + Send + Sync>
                );
            }
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
        // 2000::/3 is what is assigned to the public; within it Teredo and documentation are not.
        [first, second, ..] => {
            (first & 0xE000) == 0x2000
                && !(first == 0x2001 && (second == 0 || second == 0xDB8))
                && first != 0x3FFF
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
