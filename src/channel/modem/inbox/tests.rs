#![allow(clippy::unwrap_used, clippy::panic)]
use super::super::scripted::{Reply, says};
use super::*;
use crate::domain::sim;

mod direct;
mod rig;
mod vectors;

use rig::{IMSI, Rig, Says, Up, message, report};

/// A TPDU that says 7 octets of text and has 2.
const BROKEN: &str = "00040B913316325476F80000621122210300000801";

#[tokio::test(start_paused = true)]
async fn what_lies_there_at_the_start_is_read_handed_up_and_deleted() {
    let records = [message("one"), message("two"), report(7, 0)];
    let mut rig = Rig::new(&[(0, &records[0]), (3, &records[1]), (255, &records[2])]);
    rig.seconds(1).await;
    let reference = sim::reference_of_digits(IMSI, "612345678", 7);
    assert_eq!(rig.texts(), ["one", "two", reference.as_str()]);
    assert_eq!(rig.left(), []);
    assert_eq!(rig.inbox.next_work(), Some(SWEEP - Duration::from_secs(1)));
    assert_eq!(rig.inbox.usage().map(|usage| usage.used), Some(0));
    assert_eq!(rig.inbox.notes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_announced_message_is_read_at_its_place_and_deleted_after_the_commit() {
    let mut rig = Rig::new(&[]);
    rig.seconds(1).await;
    rig.says = Says::Nothing;
    rig.put("SM", 0, &message("hello"));
    assert!(rig.hears("+CMTI: \"SM\",0", None).await);
    rig.seconds(1).await;
    assert_eq!(rig.texts(), ["hello"]);
    let Up::Message { from, to, .. } = &rig.up[0] else {
        panic!("{:?}", rig.up)
    };
    assert_eq!((from.as_str(), to.as_str()), ("+33612345678", "m"));
    // Announced again, and looked at again, it is still not handed up again.
    assert!(rig.hears("+CMTI: \"SM\",0", None).await);
    rig.inbox.ask_for_sweep();
    rig.seconds(60).await;
    assert_eq!(
        (rig.up.len(), rig.left().len(), rig.count("AT+CMGD")),
        (1, 1, 0)
    );
    rig.kept.pop().unwrap().taken();
    rig.seconds(1).await;
    assert_eq!(rig.left(), []);
    assert_eq!(rig.count("AT+CMGD=0"), 1);
    assert_eq!(rig.inbox.places.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_commit_is_asked_for_again_and_the_record_stays_until_then() {
    let text = message("later");
    let mut rig = Rig::new(&[(1, &text)]);
    rig.says = Says::NotNow;
    rig.seconds(20).await;
    assert!((3..=6).contains(&rig.up.len()), "{}", rig.up.len());
    assert!(
        rig.up.windows(2).all(|two| two[0] == two[1]),
        "with one fingerprint"
    );
    assert_eq!(rig.left().len(), 1);
    rig.says = Says::Taken;
    rig.seconds(60).await;
    assert_eq!(rig.left(), []);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_acknowledgement_is_not_waited_for_for_ever() {
    let text = message("dropped");
    let mut rig = Rig::new(&[(1, &text)]);
    rig.says = Says::Drops;
    rig.seconds(1).await;
    assert_eq!(rig.up.len(), 1);
    rig.says = Says::Taken;
    rig.seconds(600).await;
    assert_eq!((rig.up.len(), rig.left().len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_place_that_is_empty_for_a_moment_is_looked_at_again() {
    let mut rig = Rig::new(&[]);
    rig.seconds(1).await;
    assert!(rig.hears("+CMTI: \"SM\",4", None).await);
    rig.seconds(1).await;
    rig.put("SM", 4, &message("slow"));
    rig.seconds(5).await;
    assert_eq!((rig.texts(), rig.left().len()), (vec!["slow"], 0));
    // One that stays empty is given up.
    assert!(rig.hears("+CMTI: \"SM\",9", None).await);
    rig.seconds(30).await;
    assert_eq!(rig.count("AT+CMGR=9"), 4);
    assert_eq!(rig.inbox.places.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_announcement_without_an_index_lists_the_store() {
    let mut rig = Rig::new(&[]);
    rig.seconds(1).await;
    rig.put("SM", 2, &message("somewhere"));
    assert!(rig.hears("+CMTI: \"SM\",-1", None).await);
    rig.seconds(1).await;
    assert_eq!((rig.texts(), rig.left().len()), (vec!["somewhere"], 0));
}

#[tokio::test(start_paused = true)]
async fn another_store_is_read_and_the_receiving_one_chosen_again() {
    let mut rig = Rig::new(&[]);
    rig.seconds(1).await;
    rig.put("SR", 1, &report(9, 0x46));
    assert!(rig.hears("+CDSI: \"SR\",1", None).await);
    rig.seconds(1).await;
    let Up::Report { state, .. } = &rig.up[0] else {
        panic!("{:?}", rig.up)
    };
    assert_eq!(*state, crate::domain::receipt::ReceiptState::Expired);
    assert_eq!(rig.left(), []);
    let written = rig.written.lock().unwrap().clone();
    let of_it: Vec<_> = written.iter().filter(|l| l.contains("CPMS")).collect();
    let first = of_it.iter().position(|l| *l == "AT+CPMS=\"SR\"").unwrap();
    assert_eq!(of_it[first + 1], "AT+CPMS=\"SM\",\"SM\",\"SM\"");
    assert_eq!(rig.stores.lock().unwrap().first, "SM");
}

#[tokio::test(start_paused = true)]
async fn every_store_is_swept_and_a_sweep_finds_what_was_not_announced() {
    let mut rig = Rig::new(&[]);
    rig.ready = rig::ready("+CPMS: (\"SM\",\"ME\",\"SR\",\"BM\"),(\"SM\"),(\"SM\")");
    rig.put("ME", 0, &message("me"));
    rig.put("SR", 5, &report(1, 0));
    rig.reopen();
    rig.seconds(1).await;
    assert_eq!((rig.up.len(), rig.left().len()), (2, 0));
    rig.put("ME", 3, &message("silent"));
    rig.seconds(301).await;
    assert_eq!(rig.texts().last(), Some(&"silent"));
    assert_eq!(rig.count("AT+CMGL=4"), 6);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_stays_with_one_note_and_without_its_octets() {
    let text = message("fine");
    let mut rig = Rig::new(&[(1, BROKEN), (2, &text)]);
    rig.seconds(1000).await;
    assert_eq!(rig.texts(), ["fine"]);
    assert_eq!(rig.left(), [("SM".to_owned(), 1)]);
    let notes = rig.inbox.notes();
    assert_eq!(
        notes,
        [
            "place 1 of SM cannot be read and is left there: TP-UD, octet 20: 7 octets wanted, 1 left"
        ]
    );
    assert_eq!(rig.count("AT+CMGR"), 0);
    // Somebody takes it away, and the place is used again.
    rig.put("SM", 1, &message("again"));
    rig.inbox.ask_for_sweep();
    rig.seconds(1).await;
    assert_eq!(rig.texts(), ["fine", "again"]);
    assert_eq!((rig.inbox.notes().len(), rig.left().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn drafts_are_left_alone_without_a_word() {
    // `Relais` to +33612345678, an SMS-SUBMIT, and a draft that cannot be read.
    let submit = "0031000B913316325476F80000A806D2323B9C9E03";
    let mut rig = Rig::new(&[(1, submit)]);
    rig.seconds(700).await;
    assert_eq!((rig.up.len(), rig.left().len()), (0, 1));
    assert_eq!(rig.inbox.notes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_place_used_again_is_not_deleted_for_what_lay_there_before() {
    let first = message("first");
    let mut rig = Rig::new(&[(1, &first)]);
    rig.says = Says::Nothing;
    rig.seconds(1).await;
    // Somebody else deletes it, and another message comes to the same place.
    rig.put("SM", 1, &message("second"));
    assert!(rig.hears("+CMTI: \"SM\",1", None).await);
    rig.kept.pop().unwrap().taken();
    rig.seconds(1).await;
    assert_eq!(rig.texts(), ["first", "second"]);
    assert_eq!((rig.left().len(), rig.count("AT+CMGD")), (1, 0));
    rig.kept.pop().unwrap().taken();
    rig.seconds(1).await;
    assert_eq!(rig.left(), []);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_fails_is_noted_and_tried_again_after_a_look() {
    let first = message("first");
    let mut rig = Rig::new(&[(1, &first)]);
    rig.instead("AT+CMGD", says("\r\n+CMS ERROR: 500\r\n"));
    rig.seconds(10).await;
    assert_eq!((rig.up.len(), rig.left().len()), (1, 1));
    assert_eq!(rig.inbox.notes().len(), 1);
    rig.seconds(300).await;
    assert_eq!((rig.up.len(), rig.left().len()), (1, 0));
    assert_eq!(rig.inbox.notes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_without_an_answer_does_not_cost_the_next_message() {
    let first = message("first");
    let mut rig = Rig::new(&[(1, &first)]);
    // It deletes and does not say so; then another message takes the place.
    rig.instead("AT+CMGD", vec![Reply::Waits(Duration::from_secs(20))]);
    let error = rig.run(Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(error, AtError::TimedOut { .. }), "{error}");
    assert_eq!(rig.inbox.notes().len(), 1);
    rig.put("SM", 1, &message("second"));
    rig.says = Says::Nothing;
    rig.seconds(295).await;
    assert_eq!(rig.inbox.notes(), Vec::<String>::new());
    assert_eq!(rig.texts(), ["first", "second"]);
    assert_eq!((rig.left().len(), rig.count("AT+CMGD")), (1, 1));
    rig.kept.pop().unwrap().taken();
    rig.seconds(1).await;
    assert_eq!(rig.left(), []);
}

#[tokio::test(start_paused = true)]
async fn unplugged_between_reading_and_deleting_it_is_known_by_its_fingerprint() {
    let text = message("once");
    let mut rig = Rig::new(&[(1, &text)]);
    rig.says = Says::Nothing;
    rig.seconds(1).await;
    rig.instead("AT+CPMS", vec![Reply::Closes]);
    rig.inbox.ask_for_sweep();
    let error = rig.run(Duration::from_secs(1)).await.unwrap_err();
    assert!(error.is_lost(), "{error}");
    // The verdict comes while it is away; what lies there is looked at before it is deleted.
    rig.kept.pop().unwrap().taken();
    rig.inbox.verdict().await;
    rig.reopen();
    rig.seconds(1).await;
    assert_eq!((rig.up.len(), rig.left().len()), (1, 0));
    // The same with a gateway that has forgotten everything.
    rig.put("SM", 1, &text);
    rig.inbox.places.clear();
    rig.says = Says::Taken;
    rig.reopen();
    rig.seconds(1).await;
    assert_eq!((rig.up.len(), rig.left().len()), (2, 0));
    assert_eq!(rig.up[0], rig.up[1]);
}

#[tokio::test(start_paused = true)]
async fn another_sim_in_the_modem_is_another_inbox() {
    let text = message("mine");
    let mut rig = Rig::new(&[(1, &text)]);
    rig.says = Says::Nothing;
    rig.seconds(1).await;
    rig.ready.imsi = Some("208999999999999".to_owned());
    rig.reopen();
    rig.kept.pop().unwrap().taken();
    rig.seconds(1).await;
    // The verdict about the other SIM's record deletes nothing here.
    assert_eq!((rig.up.len(), rig.left().len()), (2, 1));
    assert_ne!(rig.up[0], rig.up[1], "the fingerprints differ");
}

#[tokio::test(start_paused = true)]
async fn a_nearly_full_store_is_told_once_and_until_it_has_room() {
    let texts: Vec<String> = (0..17).map(|n| message(&format!("n {n}"))).collect();
    let records: Vec<(u16, &str)> = (0..).zip(texts.iter().map(String::as_str)).collect();
    let mut rig = Rig::new(&records);
    rig.says = Says::Nothing;
    rig.seconds(1).await;
    assert_eq!(
        rig.inbox.notes(),
        ["the store SM is nearly full (17 of 20): a full one takes neither messages nor reports"]
    );
    assert_eq!(rig.inbox.usage().map(|u| (u.used, u.total)), Some((17, 20)));
    for ack in std::mem::take(&mut rig.kept) {
        ack.taken();
    }
    rig.seconds(1).await;
    assert_eq!(rig.inbox.notes(), Vec::<String>::new());
    assert_eq!(rig.left(), []);
    // It says so by itself, too.
    rig.put("SM", 3, &message("last"));
    assert!(rig.hears("^SMMEMFULL: \"SM\"", None).await);
    rig.seconds(1).await;
    assert_eq!(rig.up.len(), 18);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_under_way_than_the_engine_has_room_for() {
    let texts: Vec<String> = (0..200).map(|n| message(&format!("n {n}"))).collect();
    let records: Vec<(u16, &str)> = (0..).zip(texts.iter().map(String::as_str)).collect();
    let mut rig = Rig::new(&records);
    rig.says = Says::Nothing;
    rig.seconds(10).await;
    assert_eq!(rig.up.len(), MAX_OPEN);
    assert!(rig.inbox.next_work().unwrap() > Duration::ZERO);
    for ack in std::mem::take(&mut rig.kept) {
        ack.taken();
    }
    rig.says = Says::Taken;
    rig.seconds(60).await;
    assert_eq!((rig.up.len(), rig.left().len()), (200, 0));
    let mut texts = rig.texts();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_listed_or_chosen_is_noted_and_the_others_are_read() {
    let mut rig = Rig::new(&[]);
    rig.ready = rig::ready("+CPMS: (\"SM\",\"ME\",\"SR\"),(\"SM\"),(\"SM\")");
    rig.put("SM", 0, &message("sm"));
    rig.stores.lock().unwrap().never = vec!["AT+CPMS=\"SR\"", "AT+CPMS=\"ME\""];
    rig.reopen();
    rig.seconds(1).await;
    assert_eq!((rig.texts(), rig.left().len()), (vec!["sm"], 0));
    let notes = rig.inbox.notes();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].starts_with("the store ME cannot be chosen: AT+CPMS="));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_never_answered_is_given_up_and_places_are_still_read() {
    let mut rig = Rig::new(&[]);
    for _ in 0..2 {
        rig.instead("AT+CMGL", vec![Reply::Waits(Duration::from_secs(61))]);
        rig.run(Duration::from_secs(600)).await.unwrap_err();
    }
    rig.seconds(900).await;
    assert_eq!(rig.count("AT+CMGL"), 2);
    assert_eq!(rig.inbox.notes().len(), 1);
    rig.put("SM", 1, &message("announced"));
    assert!(rig.hears("+CMTI: \"SM\",1", None).await);
    rig.put("SM", 2, &message("silent"));
    rig.seconds(1).await;
    assert_eq!((rig.texts(), rig.left().len()), (vec!["announced"], 1));
    // Nor is it given up by a set-up, which says how full the store is.
    rig.ready.usage = Some(Usage { used: 1, total: 20 });
    rig.reopen();
    rig.seconds(900).await;
    assert_eq!(
        (rig.texts(), rig.left().len()),
        (vec!["announced", "silent"], 0)
    );
    assert_eq!(rig.count("AT+CMGL"), 0);
    // After an hour it is tried again.
    rig.seconds(3_600).await;
    assert!(rig.count("AT+CMGL") > 0);
    assert_eq!(rig.inbox.notes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_modem_that_has_left_pdu_mode_is_brought_back() {
    let text = message("pdu");
    let mut rig = Rig::new(&[(1, &text)]);
    let header = "+CMGL: 1,\"REC UNREAD\",\"+33612345678\",,\"26/11/22,12:30:00+04\"";
    rig.instead(
        "AT+CMGL",
        says(&format!("\r\n{header}\r\nBonjour\r\n\r\nOK\r\n")),
    );
    rig.seconds(60).await;
    assert_eq!(rig.count("AT+CMGF=0"), 1);
    assert_eq!((rig.texts(), rig.left().len()), (vec!["pdu"], 0));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_the_sim_is_what_messages_were_sent_to() {
    for (line, expected) in [
        ("+CNUM: \"\",\"+33698765432\",145", "+33698765432"),
        ("+CNUM: ,\"33698765432\",145", "+33698765432"),
        ("+CNUM: \"Own\",\"0698765432\",129", "0698765432"),
        ("+CNUM: \"\",\"\",129", "m"),
    ] {
        let text = message("to whom");
        let mut rig = Rig::new(&[(1, &text)]);
        rig.instead("AT+CNUM", says(&format!("\r\n{line}\r\n\r\nOK\r\n")));
        rig.seconds(1).await;
        let Up::Message { to, .. } = &rig.up[0] else {
            panic!("{:?}", rig.up)
        };
        assert_eq!(to, expected, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_refused_again_and_again_is_left_to_the_sweeps() {
    let mut rig = Rig::new(&[]);
    rig.seconds(1).await;
    rig.stores.lock().unwrap().never = vec!["AT+CMGR"];
    rig.put("SM", 2, &message("listed"));
    assert!(rig.hears("+CMTI: \"SM\",2", None).await);
    rig.seconds(60).await;
    assert_eq!((rig.count("AT+CMGR"), rig.up.len()), (4, 0));
    rig.seconds(300).await;
    assert_eq!((rig.texts(), rig.left().len()), (vec!["listed"], 0));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_listed_is_read_place_by_place() {
    let text = message("hidden");
    let mut rig = Rig::new(&[(7, &text), (12, BROKEN)]);
    rig.stores.lock().unwrap().never = vec!["AT+CMGL"];
    rig.seconds(10).await;
    assert_eq!((rig.texts(), rig.left().len()), (vec!["hidden"], 1));
    assert_eq!(rig.count("AT+CMGR"), 21, "each place once");
    assert_eq!(rig.inbox.notes().len(), 2, "{:?}", rig.inbox.notes());
}

#[tokio::test(start_paused = true)]
async fn a_place_listed_without_a_pdu_disturbs_nobody() {
    let text = message("beside");
    let mut rig = Rig::new(&[(1, &text)]);
    let pdu = format!("+CMGL: 1,0,,{}\r\n{text}", rig::length(&text));
    let answer = format!("\r\n+CMGL: 0,3,,0\r\n\r\n{pdu}\r\n\r\nOK\r\n");
    rig.instead("AT+CMGL", says(&answer));
    rig.seconds(60).await;
    assert_eq!((rig.texts(), rig.left().len()), (vec!["beside"], 0));
    assert_eq!((rig.count("AT+CMGF"), rig.inbox.notes().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_work_at_any_moment_loses_and_doubles_nothing() {
    let texts: Vec<String> = (0..12).map(|n| message(&format!("n {n}"))).collect();
    let records: Vec<(u16, &str)> = (0..).zip(texts.iter().map(String::as_str)).collect();
    let mut rig = Rig::new(&records);
    rig.stores.lock().unwrap().latency = Duration::from_millis(7);
    for n in 0..400_u64 {
        let moment = Duration::from_millis(n * 37 % 1_100);
        rig.run(moment).await.unwrap();
        let work = rig.inbox.work(&mut rig.at);
        let _ = tokio::time::timeout(Duration::from_millis(n % 50), work).await;
    }
    rig.seconds(700).await;
    let mut texts: Vec<String> = rig.texts().iter().map(|&text| text.to_owned()).collect();
    texts.sort_unstable();
    let before = texts.len();
    texts.dedup();
    assert_eq!((texts.len(), before, rig.left().len()), (12, 12, 0));
}
