//! `[http]`: files that are looked into, and what is said of each that will not do.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::super::*;

const ACCOUNT: &str = "[smpp.a]\nhost = \"127.0.0.1\"\nsystem_id = \"me\"\npassword = \"x\"\n";

/// Writes a certificate that is valid until the end of `year`, and its key.
fn issue(folder: &Path, name: &str, year: i32) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["sms.example".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(year, 12, 31);
    let pem = params.self_signed(&key).unwrap().pem();
    std::fs::write(folder.join(format!("{name}.pem")), pem).unwrap();
    let file = folder.join(format!("{name}.key"));
    std::fs::write(&file, key.serialize_pem()).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn read(folder: &Path, http: &str) -> Result<Config, ConfigErrors> {
    let source = folder.join("r.toml").display().to_string();
    parse(&format!("{ACCOUNT}[http]\n{http}"), &source)
}

/// What is wrong, without the folder.
fn errors(folder: &Path, http: &str) -> Vec<String> {
    let bare = format!("{}/", folder.display());
    let errors = read(folder, http).err().map_or_else(Vec::new, |e| e.0);
    let shown = errors.iter().map(ToString::to_string);
    shown.map(|error| error.replace(&bare, "")).collect()
}

fn files(cert: &str, key: &str) -> String {
    format!("tls_cert_file = {cert:?}\ntls_key_file = {key:?}\n")
}

#[test]
fn a_certificate_that_will_not_do_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    issue(at, "a", 2999);
    issue(at, "b", 2999);
    std::fs::write(
        at.join("broken.pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    assert_eq!(errors(at, &files("a.pem", "a.key")), [""; 0]);
    for (http, expected) in [
        (
            files("a.pem", "b.key"),
            "r.toml:7: http.tls_key_file: b.key is not the key of a.pem",
        ),
        (
            files("a.key", "a.key"),
            "r.toml:6: http.tls_cert_file: a.key holds no certificate in PEM",
        ),
        (
            files("a.pem", "a.pem"),
            "r.toml:7: http.tls_key_file: a.pem holds no private key in PEM",
        ),
        (
            files("broken.pem", "a.key"),
            "r.toml:6: http.tls_cert_file: broken.pem holds a certificate that cannot be read",
        ),
        (
            files("none.pem", "a.key"),
            "r.toml:6: http.tls_cert_file: none.pem cannot be read: No such file or directory (os error 2)",
        ),
        (
            "tls_key_file = \"a.key\"\n".to_owned(),
            "r.toml:6: http.tls_key_file: tls_cert_file and tls_key_file go together; give both or none",
        ),
        (
            "listen = \"127.0.0.1:80\"\nmetrics_listen = \"127.0.0.1:80\"\n".to_owned(),
            "r.toml:7: http.metrics_listen: the interface listens there; give the metrics an address or a port of their own",
        ),
        (
            "head_timeout = \"1h\"\n".to_owned(),
            "r.toml:6: http.head_timeout: 1h is outside 1s to 10m",
        ),
    ] {
        assert_eq!(errors(at, &http), [expected], "{http}");
    }
}

#[test]
fn what_is_accepted_and_deserves_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    issue(at, "good", 2999);
    issue(at, "old", 2021);
    issue(at, "open", 2999);
    std::fs::set_permissions(at.join("open.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = "listen = \"0.0.0.0:8775\"\n";
    for (http, word) in [
        (files("good.pem", "good.key"), None),
        (format!("{open}{}", files("good.pem", "good.key")), None),
        (open.to_owned(), Some("in the clear; set tls_cert_file")),
        (
            files("old.pem", "old.key"),
            Some("old.pem has expired; clients will refuse it"),
        ),
        (files("open.pem", "open.key"), Some("(mode 0644); chmod 6")),
    ] {
        let warnings = read(at, &http).unwrap().warnings;
        let said: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), usize::from(word.is_some()), "{said:?}");
        assert!(
            said.iter().all(|said| said.contains(word.unwrap())),
            "{said:?}"
        );
    }
}

#[test]
fn the_same_certificate_is_the_same_setting_and_a_renewed_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    issue(at, "a", 2999);
    let of = || read(at, &files("a.pem", "a.key")).unwrap().http;
    let before = of();
    assert_eq!(before, of());
    issue(at, "a", 2999);
    assert_ne!(before, of());
    assert!(of().max_connections == 1024 && of().tls.is_some());
    assert!(!format!("{before:?}").contains("PRIVATE"));
}
