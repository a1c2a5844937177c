//! Who calls, and what it may do.
//!
//! A key is `rk_<prefix>_<secret>`: the prefix finds the record, and the SHA-256 of the whole key
//! is compared in constant time. Keys hold 192 random bits, so that no slow hash is needed. The
//! admin key has every scope on tenant `default`. Wrong keys are counted by the peer's address and
//! answered 429 beyond a limit; a good key is never asked how many wrong ones came before it.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::places::network;
use super::problem::Problem;
use super::{App, quotas};
use crate::clock::Random;
use crate::domain::id::Tenant;
use crate::domain::tenant::KeyTerms;
use crate::domain::time::Timestamp;
use crate::engine::accept::By;
use crate::store::{ApiKey, Scope, Store};

/// Wrong keys that one address may try in [`WINDOW`].
const WRONG_KEYS_MAX: u32 = 20;
/// Length of the count.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered at most.
const ADDRESSES_MAX: usize = 4096;
/// Longest token that is looked at, in octets.
const TOKEN_MAX: usize = 512;

/// Makes a key: the record to store, and the key to show once.
#[must_use]
pub fn new_key(
    random: &Random,
    tenant: Tenant,
    name: String,
    scopes: Vec<Scope>,
    now: Timestamp,
) -> (ApiKey, SecretString) {
    let prefix: String = random
        .bytes::<5>()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    let key = format!(
        "rk_{prefix}_{}",
        URL_SAFE_NO_PAD.encode(random.bytes::<24>())
    );
    let record = ApiKey {
        prefix,
        hash: digest(&key),
        name,
        tenant,
        scopes,
        created_at: now,
        revoked_at: None,
        terms: KeyTerms::default(),
    };
    (record, key.into())
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The public part of a key.
fn prefix(key: &str) -> Option<&str> {
    let (prefix, secret) = key.strip_prefix("rk_")?.split_once('_')?;
    (!prefix.is_empty() && !secret.is_empty()).then_some(prefix)
}

/// Checks keys.
pub(crate) struct Gate {
    admin: [u8; 32],
    default: Tenant,
    wrong: Mutex<HashMap<IpAddr, Wrong>>,
}

/// Wrong keys of one address since a time of the clock.
struct Wrong {
    since: Duration,
    count: u32,
}

/// A caller whose key is good.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Whose records it sees.
    pub(crate) tenant: Tenant,
    /// The key, unless it is the admin key.
    key: Option<Arc<ApiKey>>,
}

impl Caller {
    /// True if its key has this scope; `admin` has every other.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.key
            .as_ref()
            .is_none_or(|key| key.scopes.contains(&scope) || key.scopes.contains(&Scope::Admin))
    }
}

impl Gate {
    /// A gate that opens to this admin key and to the store's keys.
    pub(crate) fn new(admin: &SecretString) -> Self {
        Self {
            admin: digest(admin.expose_secret()),
            default: Tenant::DEFAULT.into(),
            wrong: Mutex::default(),
        }
    }

    /// The caller behind a bearer token.
    pub(crate) fn check(&self, token: &str, store: &dyn Store) -> Option<Caller> {
        if token.len() > TOKEN_MAX {
            return None;
        }
        let presented = digest(token);
        if bool::from(presented.ct_eq(&self.admin)) {
            return Some(Caller {
                tenant: self.default.clone(),
                key: None,
            });
        }
        let key = store.key(prefix(token)?)?;
        let good = bool::from(presented.ct_eq(&key.hash)) && key.revoked_at.is_none();
        good.then(|| Caller {
            tenant: key.tenant.clone(),
            key: Some(key),
        })
    }

    /// Counts a wrong key; true if its address has tried too many.
    fn wrong(&self, peer: Option<IpAddr>, now: Duration) -> bool {
        let peer = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), network);
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= ADDRESSES_MAX && !wrong.contains_key(&peer) {
            wrong.retain(|_, entry| now.saturating_sub(entry.since) < WINDOW);
            if wrong.len() >= ADDRESSES_MAX {
                // So many addresses at once are one attack; forgetting them bounds the memory.
                wrong.clear();
            }
        }
        let entry = wrong.entry(peer).or_insert(Wrong {
            since: now,
            count: 0,
        });
        if now.saturating_sub(entry.since) >= WINDOW {
            *entry = Wrong {
                since: now,
                count: 0,
            };
        }
        entry.count = entry.count.saturating_add(1);
        entry.count > WRONG_KEYS_MAX
    }
}

/// The scope that an extractor asks for.
pub(crate) trait Needs: Send + Sync {
    /// The scopes, each of which is enough.
    const SCOPES: &'static [Scope];
}

/// Asks for `send`.
pub(crate) struct ToSend;
/// Asks for `read`.
pub(crate) struct ToRead;
/// Asks for `send` or `read`.
pub(crate) struct ToSendOrRead;
/// Asks for `send`, `read` or `manage`.
pub(crate) struct ToKnowItself;
/// Asks for `manage`.
pub(crate) struct ToManage;
/// Asks for `admin`.
pub(crate) struct ToAdminister;

impl Needs for ToSend {
    const SCOPES: &'static [Scope] = &[Scope::Send];
}
impl Needs for ToRead {
    const SCOPES: &'static [Scope] = &[Scope::Read];
}
impl Needs for ToSendOrRead {
    const SCOPES: &'static [Scope] = &[Scope::Send, Scope::Read];
}
impl Needs for ToKnowItself {
    const SCOPES: &'static [Scope] = &[Scope::Send, Scope::Read, Scope::Manage];
}
impl Needs for ToManage {
    const SCOPES: &'static [Scope] = &[Scope::Manage];
}
impl Needs for ToAdminister {
    const SCOPES: &'static [Scope] = &[Scope::Admin];
}

/// A caller that may do what `N` names. Taking it as an argument is what protects an endpoint.
pub(crate) struct Allowed<N> {
    /// Whose records it sees.
    pub(crate) tenant: Tenant,
    /// Its key, unless it is the admin key.
    pub(super) key: Option<Arc<ApiKey>>,
    scope: PhantomData<N>,
}

impl<N> Allowed<N> {
    /// For whom it sends.
    pub(super) fn by(&self) -> By {
        By {
            tenant: self.tenant.clone(),
            key: self.key.clone(),
        }
    }
}

impl<N: Needs> FromRequestParts<Arc<App>> for Allowed<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::AUTHORIZATION) else {
            return Err(Problem::unauthorized(
                "send the header Authorization: Bearer KEY",
            ));
        };
        let Some(token) = value.to_str().ok().and_then(bearer) else {
            return Err(Problem::unauthorized(
                "the Authorization header must be: Bearer KEY",
            ));
        };
        let Some(caller) = app.gate.check(token, app.engine.store.as_ref()) else {
            let peer = parts
                .extensions
                .get::<ConnectInfo<SocketAddr>>()
                .map(|peer| peer.0.ip());
            if app.gate.wrong(peer, app.engine.clock.elapsed()) {
                return Err(Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too_many_wrong_keys",
                    "Too many wrong keys",
                    "too many wrong keys came from this address; wait a minute",
                )
                .retry_after(60));
            }
            return Err(Problem::unauthorized("the key is not known or is revoked"));
        };
        quotas::admit(app, caller.key.as_ref())?;
        if !N::SCOPES.iter().any(|scope| caller.may(*scope)) {
            let scopes: Vec<_> = N::SCOPES
                .iter()
                .map(|scope| format!("{:?}", word(*scope)))
                .collect();
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "forbidden_scope",
                "The key may not do this",
                format!(
                    "this call needs a key with the scope {}",
                    scopes.join(" or ")
                ),
            ));
        }
        Ok(Self {
            tenant: caller.tenant,
            key: caller.key,
            scope: PhantomData,
        })
    }
}

/// The JSON word of a scope.
pub(super) const fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Send => "send",
        Scope::Read => "read",
        Scope::Manage => "manage",
        Scope::Admin => "admin",
    }
}

/// The token of an `Authorization` value (RFC 6750 §2.1; the scheme in any case).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_new_key_is_found_by_its_prefix_and_holds_enough_chance() {
        let random = Random::system();
        let make = || {
            new_key(
                &random,
                "t".into(),
                "n".to_owned(),
                vec![Scope::Send],
                Timestamp(0),
            )
        };
        let (record, key) = make();
        let key = key.expose_secret();
        assert_eq!(prefix(key), Some(record.prefix.as_str()));
        assert_eq!(record.hash, digest(key));
        let secret = key.splitn(3, '_').nth(2).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(secret).unwrap().len(), 24);
        assert!(!format!("{record:?}").contains(secret));
        assert_ne!(make().0.prefix, record.prefix);
    }

    #[test]
    fn only_the_bearer_scheme_is_read() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for bad in ["Basic abc", "Bearer", "Bearer ", "abc", ""] {
            assert_eq!(bearer(bad), None, "{bad:?}");
        }
        for bad in ["rk_", "rk_a", "rk__x", "rk_a_", "sk_a_b"] {
            assert_eq!(prefix(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_twenty_first_wrong_key_of_a_minute_is_slowed_and_the_next_minute_is_free() {
        let gate = Gate::new(&"admin".into());
        let peer = Some("192.0.2.1".parse().unwrap());
        let at = Duration::from_secs(5);
        for _ in 0..WRONG_KEYS_MAX {
            assert!(!gate.wrong(peer, at));
        }
        assert!(gate.wrong(peer, at));
        assert!(!gate.wrong(Some("192.0.2.2".parse().unwrap()), at));
        assert!(!gate.wrong(peer, at + WINDOW));
    }

    #[test]
    fn a_64_network_counts_as_one_caller_and_memory_is_bounded() {
        let gate = Gate::new(&"admin".into());
        for host in 0..20u32 {
            let v6 = Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | u128::from(host));
            assert!(!gate.wrong(Some(v6.into()), Duration::ZERO));
        }
        assert!(gate.wrong(Some("2001:db8::ffff".parse().unwrap()), Duration::ZERO));
        for host in 0..20_000u32 {
            gate.wrong(Some(IpAddr::from(host.to_be_bytes())), Duration::ZERO);
        }
        assert!(gate.wrong.lock().unwrap().len() <= ADDRESSES_MAX);
    }
}
