//! TLS of the HTTP interface, over real TCP: the daemon with certificates made for each test, and the
//! clients of the command line against it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use relais::channel::smpp::tls::certificates;
use relais::clock::{Clock, Random};
use relais::config;
use relais::daemon::{Daemon, Parts, Running};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const ADMIN: &str = "an-admin-key-for-tests";
const PATIENCE: Duration = Duration::from_secs(60);

struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let file = folder.join("authority.pem");
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self {
            folder: folder.to_owned(),
            issuer: Issuer::new(params, key),
            file,
        }
    }

    /// A new certificate for `name` in the files that the configuration names.
    fn issue(&self, name: &str) -> CertificateDer<'static> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.folder.join("relais.pem"), certificate.pem()).unwrap();
        let file = self.folder.join("relais.key");
        std::fs::write(&file, key.serialize_pem()).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        certificate.der().clone()
    }

    fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(certificates(&self.file).unwrap().remove(0))
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}

fn configuration(folder: &Path, more: &str) -> PathBuf {
    let file = folder.join("relais.toml");
    let text = format!(
        "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\ntls_cert_file = \"relais.pem\"\n\
         tls_key_file = \"relais.key\"\n{more}[store]\nbackend = \"memory\"\n\
         [modem.sim1]\ndevice = \"nowhere\"\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}

async fn start(file: &Path) -> Running {
    let parts = Parts {
        clock: Clock::system(),
        random: Random::system(),
        admin_key: Some(ADMIN.into()),
        config_file: Some(file.to_owned()),
    };
    Daemon::start(config::load(file).unwrap(), parts)
        .await
        .unwrap()
}

async fn connect(at: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(at).await?;
    let name = ServerName::try_from("sms.example").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    let request = b"GET /healthz HTTP/1.1\r\nHost: sms.example\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut seen = Vec::new();
    let reading = async {
        while !seen.ends_with(b"}") {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken_and_http_1_1_is_agreed_on() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    authority.issue("sms.example");
    let running = start(&configuration(folder.path(), "")).await;
    for (version, expected) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = authority.client(&[version]);
        let mut stream = connect(running.http_addr, client).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(expected));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = ask(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    running.stop().await;
}

#[tokio::test]
async fn who_does_not_speak_tls_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    authority.issue("sms.example");
    let running = start(&configuration(folder.path(), "max_connections = 2\n")).await;
    let at = running.http_addr;
    let garbage = [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0x16, 3, 1, 0xff, 0xff],
        &[0; 64],
    ];
    for octets in garbage.into_iter().cycle().take(12) {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(octets).await.unwrap();
        // Half of them leave in the middle.
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap();
        assert!(!answer.starts_with(b"HTTP"), "in the clear: {answer:?}");
    }
    let client = authority.client(rustls::ALL_VERSIONS);
    let answer = ask(&mut connect(at, client).await.unwrap()).await;
    assert!(answer.contains("200 OK"), "{answer}");
    let figures = running.engine.metrics.render();
    assert!(
        figures.contains("relais_http_refused_total{why=\"handshake\"} 12"),
        "{figures}"
    );
    running.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_after_a_reload_and_breaks_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let first = authority.issue("sms.example");
    let file = configuration(folder.path(), "");
    let running = start(&file).await;
    let at = running.http_addr;
    let client = || authority.client(rustls::ALL_VERSIONS);
    let shown = |stream: &TlsStream<TcpStream>| {
        let (_, session) = stream.get_ref();
        session.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let mut old = connect(at, client()).await.unwrap();
    assert_eq!(shown(&old), first);

    // Half a renewal, the new certificate with the old key, changes nothing.
    let key = std::fs::read(folder.path().join("relais.key")).unwrap();
    let second = authority.issue("sms.example");
    let new_key = std::fs::read(folder.path().join("relais.key")).unwrap();
    std::fs::write(folder.path().join("relais.key"), key).unwrap();
    assert!(running.reload().await.is_err());
    assert_eq!(shown(&connect(at, client()).await.unwrap()), first);

    std::fs::write(folder.path().join("relais.key"), new_key).unwrap();
    let reloaded = running.reload().await.unwrap();
    let told: Vec<_> = reloaded.changes.iter().map(|change| &*change.key).collect();
    assert_eq!(told, ["http.tls_cert_file"]);
    // The first connection may have been accepted before the listener saw the change.
    let mut new = connect(at, client()).await.unwrap();
    if shown(&new) == first {
        new = connect(at, client()).await.unwrap();
    }
    assert_eq!(shown(&new), second);
    for stream in [&mut old, &mut new] {
        assert!(ask(stream).await.contains("200 OK"));
    }
    drop((old, new));
    running.stop().await;
}

/// What `relais` says with these arguments, and whether it went well.
async fn relais(arguments: Vec<String>) -> (bool, String) {
    let run = move || {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_relais"))
            .args(arguments)
            .args(["--lang", "en"])
            .env_remove("RELAIS_URL")
            .env_remove("RELAIS_CA_FILE")
            .env("RELAIS_KEY", ADMIN)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_trusts_whom_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    authority.issue("localhost");
    let file = configuration(folder.path(), "metrics_listen = \"127.0.0.1:0\"\n");
    let running = start(&file).await;
    let port = running.http_addr.port();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let url = format!("https://localhost:{port}");

    let ca = authority.file.display();
    let (good, said) = relais(words(&format!("key list --url {url} --ca-file {ca}"))).await;
    assert!(good, "{said}");
    let (good, said) = relais(words(&format!("key list --url {url}"))).await;
    assert!(!good && said.contains("no relais answers"), "{said}");
    let wrong = format!("key list --url https://127.0.0.1:{port} --ca-file {ca}");
    let (good, said) = relais(words(&wrong)).await;
    assert!(!good, "another name: {said}");

    // On its own machine the daemon says both where and whom, whatever the file has come to say since: the
    // system chose the port, the certificate is renewed and not yet reloaded, TLS is turned off, a line is spoilt.
    let own = words(&format!("key list --config {}", file.display()));
    let (good, said) = relais(own.clone()).await;
    assert!(good, "{said}");
    authority.issue("localhost");
    let reload = words(&format!("reload --config {}", file.display()));
    let (good, said) = relais(reload).await;
    assert!(good && said.contains("http.tls_cert_file"), "{said}");
    let text = std::fs::read_to_string(&file).unwrap();
    for spoilt in [text.replace("tls_", "# tls_"), format!("{text}[smpp")] {
        std::fs::write(&file, spoilt).unwrap();
        let (good, said) = relais(own.clone()).await;
        assert!(good, "{said}");
    }
    // Whoever else answers there is not believed.
    let told = folder.path().join("data/address");
    let other = format!("127.0.0.1:{port} {}", "00".repeat(32));
    std::fs::write(&told, other).unwrap();
    let (good, said) = relais(own).await;
    assert!(!good && said.contains("certificate"), "{said}");

    let metrics = running.metrics_addr.unwrap();
    let mut stream = TcpStream::connect(metrics).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("relais_build_info"), "{answer}");
    running.stop().await;
    assert!(!told.exists(), "its file ends with a daemon");
}
