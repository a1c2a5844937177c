//! Proves what the service manager is told: a socket of ours in its place, and the built binary.
#![allow(clippy::unwrap_used)]

#[path = "support/processes.rs"]
mod processes;

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use processes::{Running, relais, signal};

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
    let mut daemon = relais();
    daemon
        .args(["serve", "--config"])
        .arg(&file)
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID");
    let daemon = Running::start(daemon, "http_addr=");
    assert_eq!(next(&manager), "READY=1");
    assert_eq!(next(&manager), "WATCHDOG=1");
    assert_eq!(next(&manager), "WATCHDOG=1");
    signal(daemon.child.id(), "TERM");
    let mut said = next(&manager);
    while said == "WATCHDOG=1" {
        said = next(&manager);
    }
    assert_eq!(said, "STOPPING=1");
    daemon.stop();
}
