//! Proves what the service manager is told: a socket of ours in its place, and the built binary.
#![allow(clippy::unwrap_used)]

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A process that does not outlive its test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn next(manager: &UnixDatagram) -> String {
    let mut octets = [0; 256];
    let count = manager.recv(&mut octets).unwrap();
    String::from_utf8_lossy(&octets[..count]).trim().to_owned()
}

#[test]
fn the_service_manager_hears_of_start_work_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    let file = folder.path().join("relais.toml");
    std::fs::write(
        &file,
        "data_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[modem.sim1]\ndevice = \"nowhere\"\n",
    )
    .unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_relais"))
        .args(["serve", "--config"])
        .arg(&file)
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut served = Served(child);
    assert_eq!(next(&manager), "READY=1");
    assert_eq!(next(&manager), "WATCHDOG=1");
    assert_eq!(next(&manager), "WATCHDOG=1");
    let stop = format!("kill -TERM {}", served.0.id());
    assert!(
        Command::new("sh")
            .args(["-c", &stop])
            .status()
            .unwrap()
            .success()
    );
    let mut said = next(&manager);
    while said == "WATCHDOG=1" {
        said = next(&manager);
    }
    assert_eq!(said, "STOPPING=1");
    assert_eq!(served.0.wait().unwrap().code(), Some(0));
}
