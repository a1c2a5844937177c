//! The modem on a real pseudo terminal.

use super::*;
use crate::sim::modem::pty::Pty;

fn on_terminal(folder: &tempfile::TempDir, script: &str) -> ModemHandle {
    let mut script: ModemScript = toml::from_str(script).unwrap();
    script.link = folder.path().join("modem");
    serve(script, &Clock::system(), &Random::seeded(7)).unwrap()
}

/// Opens what the link names, as any program would.
fn open(link: &std::path::Path) -> Client<tokio::fs::File> {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .custom_flags(libc_flags())
        .open(link)
        .unwrap();
    Client {
        stream: tokio::fs::File::from_std(file),
        seen: String::new(),
    }
}

/// Without `O_NOCTTY` a test that leads a session would get a controlling terminal.
fn libc_flags() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).unwrap()
}

async fn gone(link: &std::path::Path) {
    while link.symlink_metadata().is_ok() {
        tokio::task::yield_now().await;
    }
}

async fn there(link: &std::path::Path) {
    while link.symlink_metadata().is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_message_goes_through_a_real_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let modem = on_terminal(&folder, "[chatter]\nevery_ms = 1");
    let mut client = open(&modem.link());
    client.set_up().await;
    client.send("+CMGS: 0\r\n").await;
    client.until("+CDS: 25\r\n").await;
    drop(client);
    let mut client = open(&modem.link());
    client.send("+CMGS: 1\r\n").await;
    modem.shutdown().await;
    assert!(
        modem.link().symlink_metadata().is_err(),
        "the link is removed"
    );
}

#[tokio::test]
async fn pulled_out_the_terminal_ends_and_another_one_comes_behind_the_same_link() {
    let folder = tempfile::tempdir().unwrap();
    let modem = on_terminal(&folder, "");
    let link = modem.link();
    let before = std::fs::read_link(&link).unwrap();
    let mut client = open(&link);
    client.set_up().await;
    modem.unplug();
    gone(&link).await;
    // The end of a terminal is no octets, or EIO.
    let mut octets = [0; 64];
    loop {
        match client.stream.read(&mut octets).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                assert_eq!(
                    error.raw_os_error(),
                    Some(rustix::io::Errno::IO.raw_os_error())
                );
                break;
            }
        }
    }
    modem.replug();
    there(&link).await;
    let after = std::fs::read_link(&link).unwrap();
    assert_ne!(before, after, "the old descriptor keeps the old name busy");
    drop(client);
    let mut client = open(&link);
    client.set_up().await;
    client.send("+CMGS: 0\r\n").await;
    assert_eq!(modem.ledger(|ledger| ledger.boots), 2);
    modem.shutdown().await;
}

#[tokio::test]
async fn a_reset_takes_a_stick_off_the_bus_and_brings_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let modem = on_terminal(&folder, "reset_ms = 20");
    let mut client = open(&modem.link());
    client.ok("AT+CFUN=1,1").await;
    modem.wait_for(|ledger| ledger.boots == 2).await;
    there(&modem.link()).await;
    drop(client);
    open(&modem.link()).ok("AT").await;
    modem.shutdown().await;
}

#[tokio::test]
async fn what_is_said_while_nobody_listens_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let modem = on_terminal(&folder, "");
    {
        let mut client = open(&modem.link());
        client.set_up().await;
        client.ok("AT+CNMI=2,2,0,0,0").await;
    }
    modem.inject("+33612345678", "STOP");
    modem.wait_for(|ledger| ledger.delivered_total == 1).await;
    let mut client = open(&modem.link());
    let heard = client.ok("AT").await;
    assert_eq!(heard, "\r\nOK\r\n", "and the settings are kept");
    modem.shutdown().await;
}

#[tokio::test]
async fn time_goes_on_while_a_client_that_came_late_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let modem = on_terminal(&folder, "[reports]\ndelay_ms = 100");
    // Somebody was there and has left again, so that the terminal has seen its end.
    drop(open(&modem.link()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut client = open(&modem.link());
    client.set_up().await;
    client.send("+CMGS: 0\r\n").await;
    client.until("+CDS: 25\r\n").await;
    modem.shutdown().await;
}

#[tokio::test]
async fn a_file_in_the_place_of_the_link_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("modem");
    std::fs::write(&link, "precious").unwrap();
    assert!(Pty::open(&link).is_err());
    assert_eq!(std::fs::read(&link).unwrap(), b"precious");
}
