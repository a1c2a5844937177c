//! TLS towards carriers, over real TCP: whom we trust, and what we say when we do not.
//!
//! The simulated SMSC speaks TLS with certificates made for each test. The channel's status is
//! what an operator sees, so that is what is asserted.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use relais::channel::smpp::tls::TlsSettings;
use relais::channel::smpp::{self, SmppConfig};
use relais::channel::{ChannelEvent, ChannelHandle, ChannelStatus};
use relais::clock::{Clock, Random};
use relais::sim::smsc::{self, SmscHandle, SmscScript, Tls};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// An authority with its certificate in a file.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self {
            folder: folder.to_owned(),
            issuer: Issuer::new(params, key),
            file,
        }
    }

    /// A certificate and its key, in files.
    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let cert_file = self.folder.join(format!("{name}.cert.pem"));
        let key_file = self.folder.join(format!("{name}.key.pem"));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }
}

/// A channel towards one port, and what is needed to end it.
struct Channel {
    handle: ChannelHandle,
    task: JoinHandle<()>,
    stop: CancellationToken,
    _events: mpsc::Receiver<ChannelEvent>,
}

impl Channel {
    fn towards(port: u16, settings: TlsSettings) -> Self {
        let mut config = SmppConfig::new("tls", "127.0.0.1", port, "relais", "secret");
        config.tls = Some(settings);
        let (clock, random) = (Clock::system(), Random::seeded(7));
        let (events_in, events) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let mut started = smpp::start(Arc::new(config), &clock, &random, &events_in, &stop);
        let (handle, task) = started.remove(0);
        Self {
            handle,
            task,
            stop,
            _events: events,
        }
    }

    /// Waits until the channel is up or has a cause why not, and stops it.
    async fn outcome(mut self) -> Result<(), String> {
        let decided = |status: &ChannelStatus| {
            matches!(status, ChannelStatus::Up | ChannelStatus::Down { .. })
        };
        let status = self.handle.status.wait_for(decided).await.unwrap().clone();
        self.stop.cancel();
        self.task.await.unwrap();
        match status {
            ChannelStatus::Down { cause } => Err(cause),
            _ => Ok(()),
        }
    }
}

async fn carrier(tls: Option<Tls>) -> (SmscHandle, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let script = SmscScript {
        tls,
        ..SmscScript::default()
    };
    let smsc = smsc::serve(listener, script, &Clock::system(), &Random::seeded(1)).unwrap();
    let port = smsc.local_addr().unwrap().port();
    (smsc, port)
}

fn served((cert_file, key_file): (PathBuf, PathBuf)) -> Option<Tls> {
    Some(Tls {
        cert_file,
        key_file,
        client_ca_file: None,
    })
}

/// What a channel that trusts `ca_file` says about a carrier with this certificate.
async fn outcome(certificate: (PathBuf, PathBuf), ca_file: &Path) -> Result<(), String> {
    let (smsc, port) = carrier(served(certificate)).await;
    let settings = TlsSettings {
        ca_file: Some(ca_file.to_owned()),
        server_name: Some("smsc.example".to_owned()),
        identity: None,
    };
    let outcome = Channel::towards(port, settings).outcome().await;
    smsc.shutdown().await;
    outcome
}

#[tokio::test]
async fn a_certificate_of_the_configured_authority_is_trusted_by_name_or_address() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let by_name = authority.issue("smsc.example", |_| {});
    assert_eq!(outcome(by_name, &authority.file).await, Ok(()));

    let (smsc, port) = carrier(served(authority.issue("127.0.0.1", |_| {}))).await;
    let settings = TlsSettings {
        ca_file: Some(authority.file.clone()),
        ..TlsSettings::default()
    };
    assert_eq!(Channel::towards(port, settings).outcome().await, Ok(()));
    assert_eq!(smsc.ledger(|ledger| ledger.binds), 1);
    smsc.shutdown().await;
}

#[tokio::test]
async fn an_unknown_authority_another_name_and_an_expired_certificate_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let stranger = Authority::new(folder.path(), "stranger");
    let certificate = authority.issue("smsc.example", |_| {});
    assert_eq!(
        outcome(certificate, &stranger.file).await.unwrap_err(),
        "connecting: certificate of smsc.example not trusted: \
         issued by an unknown authority; a private one belongs into tls_ca_file"
    );
    let certificate = authority.issue("other.example", |_| {});
    assert_eq!(
        outcome(certificate, &authority.file).await.unwrap_err(),
        "connecting: certificate of smsc.example not trusted: \
         it is for other.example; see tls_server_name"
    );
    let certificate = authority.issue("smsc.example", |params| {
        params.not_after = date_time_ymd(2020, 1, 2);
    });
    assert_eq!(
        outcome(certificate, &authority.file).await.unwrap_err(),
        "connecting: certificate of smsc.example not trusted: expired on 2020-01-02"
    );
    let certificate = authority.issue("smsc.example", |params| {
        params.not_before = date_time_ymd(2090, 1, 2);
    });
    assert_eq!(
        outcome(certificate, &authority.file).await.unwrap_err(),
        "connecting: certificate of smsc.example not trusted: not valid before 2090-01-02"
    );
}

#[tokio::test]
async fn a_certificate_that_a_carrier_signed_itself_is_trusted_if_it_is_the_one_named() {
    let folder = tempfile::tempdir().unwrap();
    let own = |name: &str, change: fn(&mut CertificateParams)| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let files = ["cert", "key"].map(|kind| folder.path().join(format!("{name}.{kind}")));
        std::fs::write(&files[0], params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&files[1], key.serialize_pem()).unwrap();
        let [cert_file, key_file] = files;
        (cert_file, key_file)
    };
    let good = own("smsc.example", |_| {});
    let named = good.0.clone();
    assert_eq!(outcome(good.clone(), &named).await, Ok(()));

    let another = Authority::new(folder.path(), "another");
    let error = outcome(good, &another.file).await.unwrap_err();
    assert!(error.contains("belongs into tls_ca_file"), "{error}");

    let other_name = own("other.example", |_| {});
    let named = other_name.0.clone();
    let error = outcome(other_name, &named).await.unwrap_err();
    assert!(error.contains("it is for other.example"), "{error}");

    let expired = own("smsc.example", |params| {
        params.not_after = date_time_ymd(2020, 1, 2);
    });
    let named = expired.0.clone();
    let error = outcome(expired, &named).await.unwrap_err();
    assert!(error.contains("expired on 2020-01-02"), "{error}");
}

#[tokio::test]
async fn without_a_ca_file_a_private_authority_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let (smsc, port) = carrier(served(authority.issue("127.0.0.1", |_| {}))).await;
    let error = Channel::towards(port, TlsSettings::default())
        .outcome()
        .await
        .unwrap_err();
    let causes = [
        "not trusted: issued by an unknown authority",
        "no trusted authorities",
    ];
    assert!(causes.iter().any(|cause| error.contains(cause)), "{error}");
    smsc.shutdown().await;
}

#[tokio::test]
async fn a_carrier_that_asks_for_our_certificate_gets_it_and_refuses_us_without() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let (cert_file, key_file) = authority.issue("127.0.0.1", |_| {});
    let (smsc, port) = carrier(Some(Tls {
        cert_file,
        key_file,
        client_ca_file: Some(authority.file.clone()),
    }))
    .await;
    let mut settings = TlsSettings {
        ca_file: Some(authority.file.clone()),
        ..TlsSettings::default()
    };
    let error = Channel::towards(port, settings.clone())
        .outcome()
        .await
        .unwrap_err();
    assert!(error.contains("CertificateRequired"), "{error}");
    let (cert_file, key_file) = authority.issue("relais", |_| {});
    let (_, other_key) = authority.issue("other", |_| {});
    settings.identity = Some((cert_file.clone(), other_key));
    let error = Channel::towards(port, settings.clone())
        .outcome()
        .await
        .unwrap_err();
    assert!(error.contains("other.key.pem is not the key of"), "{error}");
    settings.identity = Some((cert_file, key_file));
    assert_eq!(Channel::towards(port, settings).outcome().await, Ok(()));
    smsc.shutdown().await;
}

#[tokio::test]
async fn a_port_without_tls_and_missing_files_are_named() {
    let (smsc, port) = carrier(None).await;
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let mut settings = TlsSettings {
        ca_file: Some(authority.file.clone()),
        ..TlsSettings::default()
    };
    let error = Channel::towards(port, settings.clone())
        .outcome()
        .await
        .unwrap_err();
    assert!(error.contains("is this a TLS port?"), "{error}");
    settings.ca_file = Some("/nonexistent/ca.pem".into());
    let error = Channel::towards(port, settings)
        .outcome()
        .await
        .unwrap_err();
    assert!(
        error.starts_with("connecting: /nonexistent/ca.pem: No such file"),
        "{error}"
    );
    smsc.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stalls_ends_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let settings = TlsSettings {
        ca_file: Some(Authority::new(folder.path(), "ca").file),
        ..TlsSettings::default()
    };
    let clock = Clock::system();
    let error = Channel::towards(port, settings)
        .outcome()
        .await
        .unwrap_err();
    assert_eq!(error, "connecting: TLS handshake unanswered for 6000 ms");
    assert!(clock.elapsed() < Duration::from_secs(8));
    drop(listener);
}
