#![allow(clippy::unwrap_used, clippy::panic)]
use std::sync::{Arc, Mutex};

use super::super::scripted::{Reply, Scripted, says};
use super::*;

const OK: &str = "\r\nOK\r\n";
const MINUTE: Duration = Duration::from_secs(60);
const PDU: Outgoing<'static> = Outgoing {
    service_centre: &[],
    tpdu: &[0x11, 0x00, 0xAB],
};

/// A modem that answers `AT`, gives a prompt, and answers the PDU as told.
fn sender(after_pdu: Vec<Reply>) -> (At<Scripted>, Arc<Mutex<Vec<String>>>) {
    modem(says("\r\n> "), after_pdu, Vec::new())
}

fn modem(
    prompt: Vec<Reply>,
    after_pdu: Vec<Reply>,
    after_esc: Vec<Reply>,
) -> (At<Scripted>, Arc<Mutex<Vec<String>>>) {
    let mut escapes = 0;
    let modem = Scripted::new(move |line| match line {
        "AT" => says(OK),
        "AT+CMGS=3" => prompt.clone(),
        "\u{1b}" => {
            escapes += 1;
            // The first one is that of the engine's start.
            if escapes == 2 {
                after_esc.clone()
            } else {
                Vec::new()
            }
        }
        _ if line.ends_with('\u{1a}') => after_pdu.clone(),
        "AT+CSQ" => says("\r\n+CSQ: 20,99\r\n\r\nOK\r\n"),
        _ => says("\r\nERROR\r\n"),
    });
    let written = modem.written.clone();
    (At::new(modem), written)
}

fn then(first: &str, more: Vec<Reply>) -> Vec<Reply> {
    [says(first), more].concat()
}

fn all_news(at: &mut At<Scripted>) -> Vec<News> {
    std::iter::from_fn(|| at.take_news()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_pdu_goes_out_after_the_prompt_and_its_reference_comes_back() {
    let answer = "\r\n^RSSI:17\r\n\r\n+CMGS: 183\r\n\r\n+CDSI: \"SM\",3\r\n\r\nOK\r\n";
    let (mut at, written) = sender(says(answer));
    let result = at.submit(PDU, MINUTE).await;
    assert!(
        matches!(result, Submission::Accepted { reference: 183 }),
        "{result:?}"
    );
    let written = written.lock().unwrap().clone();
    assert_eq!(written[2..], ["AT+CMGS=3", "001100AB\u{1a}"]);
    let report = Unsolicited::ReportStored {
        memory: Some("SM".to_owned()),
        index: Some(3),
    };
    let news = all_news(&mut at);
    assert!(
        matches!(&news[..], [News::Said(_, Unsolicited::Chatter), News::Said(_, said)] if *said == report),
        "{news:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_exact_before_and_after_the_pdu() {
    let (mut at, written) = modem(says("\r\n+CMS ERROR: 302\r\n"), Vec::new(), Vec::new());
    let refused = at.submit(PDU, MINUTE).await;
    assert!(
        matches!(refused, Submission::Refused(Failure::Cms(Some(302)))),
        "{refused:?}"
    );
    assert!(
        !written
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.ends_with('\u{1a}'))
    );
    let (mut at, _) = sender(says("\r\n+CMS ERROR: 38\r\n"));
    let refused = at.submit(PDU, MINUTE).await;
    assert!(
        matches!(refused, Submission::Refused(Failure::Cms(Some(38)))),
        "{refused:?}"
    );
    assert!(at.command(&Command::new("AT")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_a_prompt_nothing_has_left() {
    for prompt in [Vec::new(), says(OK), then("\r\nRDY\r\n", Vec::new())] {
        let (mut at, written) = modem(prompt, Vec::new(), Vec::new());
        let result = at.submit(PDU, MINUTE).await;
        assert!(matches!(result, Submission::Unsent(_)), "{result:?}");
        // The next command leaves a prompt that may still come.
        at.command(&Command::new("AT")).await.unwrap();
        let written = written.lock().unwrap().clone();
        assert_eq!(written[2..], ["AT+CMGS=3", "\u{1b}", "AT", "AT"]);
    }
    let (mut at, _) = modem(then("\r\n> ", vec![Reply::Breaks]), Vec::new(), Vec::new());
    let result = at.submit(PDU, MINUTE).await;
    assert!(
        matches!(result, Submission::Unsent(AtError::Port(_))),
        "{result:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn after_the_pdu_only_the_modems_word_settles_it() {
    for after in [
        Vec::new(),
        vec![Reply::Closes],
        says("\r\nRDY\r\n"),
        says(OK),
        says("\r\nNO CARRIER\r\n"),
        says("\r\n+CMTI: \"SM\",1\r\n\r\n+CSQ: 3,4\r\n"),
    ] {
        let (mut at, _) = sender(after.clone());
        let result = at.submit(PDU, MINUTE).await;
        assert!(
            matches!(result, Submission::Unknown(_)),
            "{after:?}: {result:?}"
        );
    }
    // The reference says it all, even if nothing follows.
    for after in [
        says("\r\n+CMGS: 7\r\n"),
        then("\r\n+CMGS: 7\r\n", vec![Reply::Closes]),
        says("\r\n+CMGS: 7\r\n\r\nRDY\r\n"),
    ] {
        let (mut at, _) = sender(after.clone());
        let result = at.submit(PDU, MINUTE).await;
        assert!(
            matches!(result, Submission::Accepted { reference: 7 }),
            "{after:?}: {result:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_recognised_while_the_modem_is_brought_into_step() {
    let late = says("\r\n+CMGS: 9\r\n\r\nOK\r\n");
    let (mut at, _) = modem(says("\n>"), Vec::new(), late);
    assert!(matches!(
        at.submit(PDU, MINUTE).await,
        Submission::Unknown(_)
    ));
    let signal = Command::new("AT+CSQ").expecting(Expect::Named("+CSQ"));
    assert_eq!(at.command(&signal).await.unwrap()[0].line, "+CSQ: 20,99");
    assert!(all_news(&mut at).contains(&News::LateAccepted { reference: 9 }));

    let (mut at, _) = modem(says("> "), Vec::new(), says("\r\n+CMS ERROR: 38\r\n"));
    assert!(matches!(
        at.submit(PDU, MINUTE).await,
        Submission::Unknown(_)
    ));
    at.resynchronise().await.unwrap();
    assert!(all_news(&mut at).contains(&News::LateRefused(Failure::Cms(Some(38)))));

    // The answer to our own ESC settles nothing.
    let (mut at, _) = modem(says("> "), Vec::new(), says("\r\n+CMS ERROR: 512\r\n"));
    assert!(matches!(
        at.submit(PDU, MINUTE).await,
        Submission::Unknown(_)
    ));
    at.resynchronise().await.unwrap();
    let late = |news: &News| matches!(news, News::LateAccepted { .. } | News::LateRefused(_));
    assert!(!all_news(&mut at).iter().any(late));
}

#[tokio::test(start_paused = true)]
async fn the_late_answer_of_one_command_never_answers_the_next() {
    let modem = Scripted::new(|line| match line {
        "AT" => says(OK),
        "AT+COPS?" => vec![
            Reply::Waits(Duration::from_secs(7)),
            Reply::Says(b"\r\n+COPS: 0,0,\"F\"\r\n\r\nOK\r\n".to_vec()),
        ],
        "AT+CSQ" => says("\r\n+CSQ: 20,99\r\n\r\nOK\r\n"),
        _ => Vec::new(),
    });
    let mut at = At::new(modem);
    let operator = Command::new("AT+COPS?").expecting(Expect::Named("+COPS"));
    assert!(matches!(
        at.command(&operator).await,
        Err(AtError::TimedOut { .. })
    ));
    let signal = Command::new("AT+CSQ").expecting(Expect::Named("+CSQ"));
    assert_eq!(at.command(&signal).await.unwrap()[0].line, "+CSQ: 20,99");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_command_leaves_the_engine_able_to_go_on() {
    let (mut at, written) = modem(Vec::new(), Vec::new(), Vec::new());
    let soon = Duration::from_secs(3);
    assert!(timeout(soon, at.submit(PDU, MINUTE)).await.is_err());
    at.command(&Command::new("AT")).await.unwrap();
    assert_eq!(written.lock().unwrap()[3], "\u{1b}");
}

#[tokio::test(start_paused = true)]
async fn results_in_the_middle_of_an_answer_are_nobodys() {
    let modem = Scripted::new(|line| match line {
        "AT" => says(OK),
        "AT+CMGL=4" => says(
            "AT+CMGL=4\r\r\n+CREG: 1\r\n+CMGL: 1,1,,24\r\n\r\n+CDS: ,25\r\n0006D60B9113\r\n\
             0791AA\r\n^HCSQ:\"LTE\",1\r\r\n+CMGL: 2,1,,24\r\n0791BB\r\n\r\nOK\r\n\r\n+CMTI: \"SM\",0\r\n",
        ),
        "AT+CREG?" => says("\r\n+CREG: 5\r\n\r\n+CREG: 0,1\r\n\r\nOK\r\n"),
        "AT+CGSN" => says("\r\nRING\r\n\r\nNO CARRIER\r\n\r\n490154203237518\r\n\r\nOK\r\n"),
        _ => Vec::new(),
    });
    let mut at = At::new(modem);
    let list = Command::new("AT+CMGL=4").expecting(Expect::Named("+CMGL"));
    let bodies: Vec<_> = at.command(&list).await.unwrap();
    let bodies: Vec<_> = bodies
        .into_iter()
        .map(|entry| entry.body.unwrap())
        .collect();
    assert_eq!(bodies, ["0791AA", "0791BB"]);
    let ask = Command::new("AT+CREG?").expecting(Expect::Registration("+CREG"));
    assert_eq!(at.command(&ask).await.unwrap()[0].line, "+CREG: 0,1");
    let ask = Command::new("AT+CGSN").expecting(Expect::Digits("+CGSN"));
    assert_eq!(at.command(&ask).await.unwrap()[0].line, "490154203237518");
    let news: Vec<_> = all_news(&mut at)
        .into_iter()
        .map(|news| match news {
            News::Said(entry, _) => entry.line,
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        "+CREG: 1",
        "+CDS: ,25",
        "^HCSQ:\"LTE\",1",
        "+CMTI: \"SM\",0",
        "+CREG: 5",
        "RING",
        "NO CARRIER",
    ];
    assert_eq!(news, expected);
}

#[tokio::test(start_paused = true)]
async fn a_text_that_reads_like_a_result_answers_nothing() {
    // Fallen back into text mode, the modem writes a stranger's text.
    let modem = Scripted::new(|line| match line {
        "AT" => says(OK),
        "AT+CSQ" => says(
            "\r\n+CMT: \"+33612345678\",,\"26/03/02,10:11:12+04\"\r\nOK\r\n\r\n+CSQ: 1,2\r\n\r\nOK\r\n",
        ),
        _ => Vec::new(),
    });
    let mut at = At::new(modem);
    let ask = Command::new("AT+CSQ").expecting(Expect::Named("+CSQ"));
    assert_eq!(at.command(&ask).await.unwrap()[0].line, "+CSQ: 1,2");
    assert!(matches!(
        at.take_news(),
        Some(News::Said(_, Unsolicited::Damaged))
    ));
}

#[tokio::test(start_paused = true)]
async fn an_echo_that_comes_back_tells_of_a_restart() {
    let modem = Scripted::new(|line| match line {
        "\u{1b}" => Vec::new(),
        _ => says(&format!("{line}\r\r\nOK\r\n")),
    });
    let mut at = At::new(modem);
    at.command(&Command::new("ATE0")).await.unwrap();
    assert_eq!(all_news(&mut at), []);
    at.set_echo_off(true);
    at.command(&Command::new("AT+CMEE=1")).await.unwrap();
    assert_eq!(all_news(&mut at), [News::Restarted(Sign::Echo)]);
}

#[tokio::test(start_paused = true)]
async fn chatter_is_dropped_before_what_matters() {
    let mut storm = "\r\n^RSSI:1\r\n".repeat(3 * MAX_CHATTER);
    storm.push_str("\r\n+CMTI: \"SM\",1\r\n");
    let (mut at, _) = sender(Vec::new());
    at.resynchronise().await.unwrap();
    let modem = Scripted::new(|_| says(OK)).saying_first(&storm);
    let mut at_storm = At::new(modem);
    at_storm.resynchronise().await.unwrap();
    let news = all_news(&mut at_storm);
    assert!(news.len() <= MAX_CHATTER + 1);
    assert!(matches!(
        news.last(),
        Some(News::Said(_, Unsolicited::MessageStored { .. }))
    ));
    assert!(at_storm.dropped_news() >= 500);
    assert_eq!(all_news(&mut at), []);
}

#[tokio::test(start_paused = true)]
async fn news_wait_and_a_closed_port_is_told() {
    let modem = Scripted::new(|_| says(OK)).saying_first("\r\n+CDSI: \"SR\",1\r\n");
    let mut at = At::new(modem);
    assert!(matches!(at.next_news().await.unwrap(), News::Said(..)));
    let soon = Duration::from_secs(1);
    assert!(timeout(soon, at.next_news()).await.is_err());
    let mut at = At::new(Scripted::new(|_| vec![Reply::Closes]));
    assert!(at.resynchronise().await.unwrap_err().is_lost());
}
