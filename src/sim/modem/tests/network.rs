//! What the network does: reports, messages, refusals, and what goes wrong in a sending.

use super::*;

/// TP-MR and TP-ST of a report.
fn read(entry: &DeliveredEntry) -> (u8, u8) {
    (entry.octets[1], *entry.octets.last().unwrap())
}

#[tokio::test(start_paused = true)]
async fn references_start_where_the_script_says_and_wrap() {
    let modem = modem("reference_start = 254\n[reports]\nbefore_answer = true");
    let mut client = open(&modem);
    client.set_up().await;
    for reference in [254, 255, 0, 1] {
        let seen = client.send(&format!("+CMGS: {reference}\r\n")).await;
        assert!(seen.contains("+CDS: "), "the report comes first: {seen}");
    }
    modem.ledger(|ledger| {
        let all: Vec<_> = ledger.delivered.iter().map(read).collect();
        assert_eq!(all, [(254, 0), (255, 0), (0, 0), (1, 0)]);
    });
}

#[tokio::test(start_paused = true)]
async fn a_stored_report_is_announced_read_and_deleted() {
    let modem = modem("");
    let mut client = open(&modem);
    client.set_up().await;
    client.ok("AT+CNMI=2,1,0,2,0").await;
    client.send("OK\r\n").await;
    client.until("+CDSI: \"SR\",0\r\n").await;
    client.ok("AT+CPMS=\"SR\"").await;
    let read = client.ok("AT+CMGR=0").await;
    assert!(
        read.contains("+CMGR: 0,,25\r\n07913306000000F106000B91"),
        "{read}"
    );
    client.ok("AT+CMGD=0").await;
    assert!(client.ok("AT+CPMS?").await.contains("+CPMS: \"SR\",0,50"));
    assert_eq!(modem.ledger(|ledger| ledger.deleted_total), 1);
}

#[tokio::test(start_paused = true)]
async fn a_report_may_name_the_recipient_in_national_form_and_come_twice() {
    let modem = modem("[reports]\nnational = \"33\"\nduplicate = true\nfirst = 0x30");
    let mut client = open(&modem);
    client.set_up().await;
    client.send("OK\r\n").await;
    modem.wait_for(|ledger| ledger.delivered.len() == 3).await;
    modem.ledger(|ledger| {
        let all: Vec<_> = ledger.delivered.iter().map(|entry| read(entry).1).collect();
        assert_eq!(all, [0x30, 0, 0]);
        assert_eq!(
            ledger.delivered[0].octets[2..9],
            [10, 0x81, 0x60, 0x21, 0x43, 0x65, 0x87]
        );
    });
}

#[tokio::test(start_paused = true)]
async fn messages_come_announced_or_direct_as_cnmi_wants() {
    let modem = modem("");
    let mut client = open(&modem);
    client.set_up().await;
    modem.inject("+33612345678", "STOP");
    client.until("+CMTI: \"ME\",0\r\n").await;
    let listed = client.ok("AT+CMGL=4").await;
    assert!(
        listed.contains("+CMGL: 0,0,,23\r\n07913306000000F1040B913316325476F80000"),
        "{listed}"
    );
    assert!(listed.contains("0453EA130A\r\n"), "{listed}");
    client.ok("AT+CNMI=2,2,0,1,0").await;
    modem.inject("36111", "Été ê");
    let direct = client.until("0020" /* a space, in UCS-2 */).await;
    assert!(direct.contains("+CMT: ,"), "{direct}");
}

#[tokio::test(start_paused = true)]
async fn parts_come_in_the_order_of_the_script() {
    let text = "à".repeat(200);
    let modem = modem(&format!(
        "[[inbound]]\ntext = \"{text}\"\norder = [2, 1]\nreference = 9"
    ));
    let _client = open(&modem);
    modem.wait_for(|ledger| ledger.delivered.len() == 2).await;
    modem.ledger(|ledger| {
        let header = |n: usize| ledger.delivered[n].octets.get(19..25).unwrap().to_vec();
        assert_eq!(header(0), [5, 0, 3, 9, 2, 2]);
        assert_eq!(header(1), [5, 0, 3, 9, 2, 1]);
    });
}

#[tokio::test(start_paused = true)]
async fn a_full_memory_holds_messages_back_until_there_is_room() {
    let modem = modem("occupied = 2\n[[memories]]\ncapacity = 2");
    let mut client = open(&modem);
    client.set_up().await;
    modem.inject("+33612345678", "STOP");
    modem.wait_for(|ledger| ledger.held == 1).await;
    let answer = client.ok("AT+CMGD=1,4").await;
    assert!(answer.contains("+CMTI: \"SM\",1\r\n"), "{answer}");
    modem.wait_for(|ledger| ledger.held == 0).await;
}

#[tokio::test(start_paused = true)]
async fn refusals_count_in_all_or_by_recipient() {
    let modem = modem(
        "fail_every = 5\nfail_cms = 42\n[[rules]]\nsuffix = \"78\"\ncms = 38\ntimes = 2\neach = true",
    );
    let mut client = open(&modem);
    client.set_up().await;
    for expected in [
        "+CMS ERROR: 38",
        "+CMS ERROR: 38",
        "+CMGS: 0",
        "+CMGS: 1",
        "+CMS ERROR: 42",
    ] {
        client.send(&format!("{expected}\r\n")).await;
    }
    let fates: Vec<_> = modem.ledger(|l| l.submitted.iter().map(|entry| entry.fate).collect());
    assert_eq!(fates[1], Fate::Cms(38));
    let sent = Fate::Sent {
        reference: 1,
        answered: true,
    };
    assert_eq!(fates[3], sent);
}

#[tokio::test(start_paused = true)]
async fn a_hang_after_the_octets_loses_the_answer_but_not_the_message() {
    let modem = modem("[[faults]]\nat_submit = 1\nkind = \"hang\"\nfor_ms = 30000\ntaken = true");
    let mut client = open(&modem);
    client.set_up().await;
    client.ask("AT+CMGS=20", "> ").await;
    client.write(&format!("{SUBMIT}\u{1a}AT\r")).await;
    modem.wait_for(|ledger| ledger.sent_total == 1).await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    let seen = client.ok("AT").await;
    assert!(!seen.contains("+CMGS"), "{seen}");
    client.send("+CMGS: 1\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn without_acknowledgement_routing_stops() {
    let modem = modem("");
    let mut client = open(&modem);
    client.set_up().await;
    client.ok("AT+CSMS=1").await;
    client.send("OK\r\n").await;
    client.until("+CDS: ").await;
    client.ok("AT+CNMA").await;
    client.ask("AT+CNMA", "+CMS ERROR: 340").await;
    client.send("OK\r\n").await;
    client.until("+CDS: ").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(client.ok("AT+CNMI?").await.contains("+CNMI: 2,0,0,0,0"));
}

#[tokio::test(start_paused = true)]
async fn the_script_can_change_while_it_runs() {
    let modem = modem("");
    let mut client = open(&modem);
    client.set_up().await;
    client.send("+CMGS: 0\r\n").await;
    modem.change_script(|script| script.fail_every = Some(1));
    client.send("+CMS ERROR: 41\r\n").await;
    modem.set_script(ModemScript::default());
    client.send("+CMGS: 1\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn pulled_out_in_a_sending_it_comes_back_with_its_settings_lost() {
    let modem = modem("[[faults]]\nat_submit = 1\nkind = \"unplug\"\nfor_ms = 5000");
    let mut client = open(&modem);
    client.set_up().await;
    client.ask("AT+CMGS=20", "> ").await;
    client.write(&format!("{SUBMIT}\u{1a}")).await;
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).await.unwrap();
    assert!(modem.open().is_err(), "there is nothing to open");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut client = open(&modem);
    client.until("RDY").await;
    assert!(client.ok("AT+CNMI?").await.contains("+CNMI: 0,0,0,0,0"));
    assert_eq!(modem.ledger(|ledger| ledger.submitted[0].fate), Fate::Lost);
    client.send("+CMGS: 0\r\n").await;
}
