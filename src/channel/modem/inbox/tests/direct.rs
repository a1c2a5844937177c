//! What comes directly: it lies nowhere else.

use super::rig::length;
use super::*;
use crate::channel::modem::answer::Entry;
use crate::clock::Clock;

impl Rig {
    async fn direct(&mut self, code: &str, pdu: &str) {
        let line = match code {
            "+CMT" => format!("+CMT: ,{}", length(pdu)),
            code => format!("{code}: {}", length(pdu)),
        };
        assert!(self.hears(&line, Some(pdu)).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_and_a_report_go_up_at_once() {
    let mut rig = Rig::new(&[]);
    rig.direct("+CMT", &message("flash")).await;
    rig.direct("+CDS", &report(200, 0x20)).await;
    rig.seconds(1).await;
    let reference = sim::reference_of_digits(IMSI, "612345678", 200);
    assert_eq!(rig.texts(), ["flash", reference.as_str()]);
    let Up::Report {
        taken: Some(taken), ..
    } = &rig.up[1]
    else {
        panic!("{:?}", rig.up)
    };
    // Five seconds before it came.
    assert_eq!(taken.before, Timestamp(1_795_000_000_000 - 5_000));
    assert_eq!(rig.count("AT+CMGD"), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_handed_up_again_as_it_came() {
    let mut rig = Rig::new(&[]);
    rig.says = Says::NotNow;
    rig.direct("+CDS", &report(1, 0)).await;
    rig.seconds(30).await;
    let times = rig.up.len();
    assert!((4..=7).contains(&times), "{times}");
    assert!(
        rig.up.windows(2).all(|two| two[0] == two[1]),
        "also its time"
    );
    rig.says = Says::Taken;
    rig.seconds(120).await;
    let taken = rig.up.len();
    rig.seconds(600).await;
    assert_eq!(rig.up.len(), taken);
    assert_eq!(taken, times + 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_kept_over_an_unplug_and_without_a_modem() {
    let mut rig = Rig::new(&[]);
    rig.says = Says::NotNow;
    rig.direct("+CDS", &report(1, 0)).await;
    rig.seconds(1).await;
    assert_eq!(rig.up.len(), 1);
    rig.says = Says::Taken;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.inbox.hand_up_direct().await;
    rig.reopen();
    rig.seconds(1).await;
    assert_eq!(rig.up.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_bounded_and_what_is_lost_is_told() {
    let mut rig = Rig::new(&[]);
    rig.says = Says::Nothing;
    for n in 0..MAX_DIRECT + MAX_OPEN + 3 {
        let pdu = report(n.to_le_bytes()[0], 0);
        rig.direct("+CDS", &pdu).await;
        if rig.inbox.open.len() < MAX_OPEN {
            rig.run(Duration::from_millis(1)).await.unwrap();
        }
    }
    rig.run(Duration::from_millis(1)).await.unwrap();
    assert_eq!(rig.up.len(), MAX_OPEN);
    assert_eq!(rig.inbox.direct.len(), MAX_DIRECT);
    assert_eq!(rig.inbox.notes().len(), 1);
    assert!(rig.inbox.notes()[0].starts_with("3 that came directly were lost"));
    rig.says = Says::Taken;
    for ack in std::mem::take(&mut rig.kept) {
        ack.taken();
    }
    rig.seconds(60).await;
    assert_eq!(rig.up.len(), MAX_OPEN + MAX_DIRECT);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_counted_and_what_is_not_ours_is_said() {
    let mut rig = Rig::new(&[]);
    rig.direct("+CMT", BROKEN).await;
    let notes = rig.inbox.notes();
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].starts_with("1 came directly and could not be read"),
        "{notes:?}"
    );
    assert!(!rig.hears("+CMT: ,24", None).await, "damaged");
    for line in ["+CREG: 1", "^RSSI:18", "+CUSD: 4", "SMS Ready"] {
        assert!(!rig.hears(line, None).await, "{line}");
    }
    assert!(!rig.inbox.hear(&News::TooLong).await);
    rig.seconds(1).await;
    assert_eq!(rig.up.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_while_the_engine_is_slow_loses_nothing() {
    let mut rig = Rig::new(&[]);
    // The queue holds eight.
    for n in 0..20 {
        let pdu = report(n, 0);
        let line = format!("+CDS: {}", length(&pdu));
        let hears = rig.hears(&line, Some(&pdu));
        let _ = tokio::time::timeout(Duration::from_millis(1), hears).await;
    }
    rig.seconds(5).await;
    assert_eq!(rig.up.len(), 20);
    let ends: Vec<_> = rig
        .texts()
        .iter()
        .map(|t| t.rsplit(':').next().unwrap())
        .collect();
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(ends, expected, "in their order");
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_the_sim_is_known_waits_for_it_and_stays_its_own() {
    let mut rig = Rig::new(&[]);
    rig.says = Says::NotNow;
    rig.inbox.sim = None;
    rig.direct("+CDS", &report(1, 0)).await;
    rig.seconds(30).await;
    assert_eq!(rig.up.len(), 0);
    assert!(rig.inbox.next_work().unwrap() > Duration::ZERO);
    rig.reopen();
    rig.seconds(1).await;
    // Another SIM is put in before it is committed.
    rig.ready.imsi = Some("208999999999999".to_owned());
    rig.reopen();
    rig.says = Says::Taken;
    rig.seconds(30).await;
    let reference = sim::reference_of_digits(IMSI, "612345678", 1);
    assert_eq!(rig.texts(), [reference.as_str(), reference.as_str()]);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_ends_is_not_asked_without_rest() {
    let (sender, events) = mpsc::channel(1);
    drop(events);
    let clock = Clock::starting_at(Timestamp(0));
    let mut inbox = Inbox::new("m".into(), "m".into(), sender, clock);
    inbox.begin(&super::rig::ready(""));
    let pdu = report(1, 0);
    let entry = Entry {
        line: format!("+CDS: {}", length(&pdu)),
        body: Some(pdu),
    };
    let said = Unsolicited::read(&entry);
    assert!(inbox.hear(&News::Said(entry, said)).await);
    assert_eq!(inbox.direct.len(), 1);
    inbox.hand_up_direct().await;
    assert!(inbox.direct[0].due > inbox.clock.elapsed());
}
