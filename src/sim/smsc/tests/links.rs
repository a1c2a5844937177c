//! Links that fail, fall silent, end and come back; and the whole way over TCP.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_lost_link_leaves_a_doubt_for_each_request_and_is_replaced() {
    let mut script = receiptless();
    script.rules = vec![Rule {
        unanswered: true,
        ..Rule::default()
    }];
    let mut world = world(script, |_| {});
    world.up().await;
    let mut tokens = HashSet::new();
    let mut permits = Vec::new();
    for _ in 0..10 {
        let (token, permit) = world.submit("33612345678", "Bonjour").await;
        tokens.insert(token);
        permits.push(permit);
    }
    world.ledger(|ledger| ledger.submitted_total == 10).await;
    world.smsc.disconnect_all();
    for _ in 0..10 {
        let (token, segment, outcome) = world.outcome().await;
        assert_eq!(
            (segment, outcome),
            (0, SegmentOutcome::Unknown(Doubt::Disconnected))
        );
        assert!(tokens.remove(&token));
    }
    drop(permits);
    world.smsc.set_script(receiptless());
    world.ledger(|ledger| ledger.binds == 2).await;
    world.up().await;
    let (_, _permit) = world.submit("33612345678", "Bonjour").await;
    accepted(&world.outcome().await.2);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn requests_are_returned_while_there_is_no_bind() {
    let mut script = receiptless();
    script.refuse_connections = true;
    let mut world = world(script, |_| {});
    let status = world
        .is(|status| matches!(status, ChannelStatus::Down { .. }))
        .await;
    assert!(matches!(status, ChannelStatus::Down { cause } if cause.starts_with("connecting")));
    let (token, _permit) = world.submit("33612345678", "Bonjour").await;
    assert!(matches!(world.event().await, ChannelEvent::Returned { token: back } if back == token));
    world.smsc.set_script(receiptless());
    world.up().await;
    world.end().await;
}

/// Refuses every connection and writes down when it was asked.
struct Refusing(Clock, Mutex<Vec<Duration>>);

#[async_trait]
impl Connector for Refusing {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        self.1.lock().unwrap().push(self.0.elapsed());
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

#[tokio::test(start_paused = true)]
async fn the_waits_between_connections_double_up_to_their_cap() {
    let clock = Clock::starting_at(Timestamp(0));
    let connector = Arc::new(Refusing(clock.clone(), Mutex::default()));
    let (sender, _events) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let random = Random::seeded(7);
    let mut channels = start_on(
        connector.clone(),
        Arc::new(config()),
        &clock,
        &random,
        &sender,
        &stop,
    );
    tokio::time::sleep(Duration::from_mins(3)).await;
    stop.cancel();
    channels.remove(0).1.await.unwrap();
    let times = connector.1.lock().unwrap().clone();
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.len() > 10, "{waits:?}");
    let nominal = [1, 2, 4, 8]
        .into_iter()
        .chain(std::iter::repeat(15))
        .map(Duration::from_secs);
    for (wait, nominal) in waits.iter().zip(nominal) {
        assert!(
            *wait >= nominal / 2 && *wait <= nominal + Duration::from_millis(2),
            "{waits:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_not_hammered_and_name_the_answer() {
    let script = SmscScript {
        password: Some("other".into()),
        ..SmscScript::default()
    };
    let mut world = world(script, |_| {});
    let status = world
        .is(|status| matches!(status, ChannelStatus::Down { .. }))
        .await;
    let cause = "bind refused by SMSC: ESME_RINVPASWD (0x0000000e)".to_owned();
    assert_eq!(status, ChannelStatus::Down { cause });
    tokio::time::sleep(Duration::from_mins(5)).await;
    let refused = world.smsc.ledger(|ledger| ledger.refused_binds);
    assert!(
        (2..=4).contains(&refused),
        "{refused} binds in five minutes"
    );
    tokio::time::sleep(Duration::from_hours(10)).await;
    let refused = world.smsc.ledger(|ledger| ledger.refused_binds);
    assert!((30..=46).contains(&refused), "{refused} binds in ten hours");
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_transmitter_and_a_receiver_make_one_channel_and_fall_together() {
    let mut world = world(SmscScript::default(), |config| {
        config.bind = BindMode::TransmitterReceiver
    });
    world.up().await;
    assert_eq!(world.smsc.ledger(|ledger| ledger.bound), 2);
    let (_, permit) = world.submit("33612345678", "Bonjour").await;
    let mut seen = (false, false);
    while seen != (true, true) {
        match world.event().await {
            ChannelEvent::Segment { outcome, .. } => {
                accepted(&outcome);
                seen.0 = true;
            }
            ChannelEvent::Receipt { ack, .. } => {
                ack.taken();
                seen.1 = true;
            }
            other => panic!("{other:?}"),
        }
    }
    drop(permit);
    world.ledger(|ledger| ledger.acknowledged_total == 1).await;
    let sessions = world
        .smsc
        .ledger(|ledger| (ledger.submitted[0].session, ledger.delivered[0].session));
    assert_eq!(sessions, (2, 1));
    world
        .smsc
        .shared
        .lock()
        .sessions
        .get_mut(&1)
        .unwrap()
        .orders
        .push_back(Order::Close);
    world.smsc.shared.wake();
    world.is(|status| !status.is_up()).await;
    world.up().await;
    world
        .ledger(|ledger| (ledger.binds, ledger.bound) == (4, 2))
        .await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_smsc_is_replaced_within_enquire_interval_and_response_time_out() {
    let mut world = world(receiptless(), |_| {});
    world.up().await;
    world.smsc.change_script(|script| script.silent = true);
    let since = world.clock.elapsed();
    let status = world.is(|status| !status.is_up()).await;
    let took = world.clock.elapsed() - since;
    assert!(took <= Duration::from_secs(61), "{took:?}");
    assert!(matches!(status, ChannelStatus::Down { cause } if cause.contains("enquire_link")));
    world.smsc.change_script(|script| script.silent = false);
    world.up().await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_what_is_under_way_and_unbinds() {
    let mut script = receiptless();
    script.response_delay_ms = 2_000;
    let mut world = world(script, |_| {});
    world.up().await;
    let (token, _permit) = world.submit("33612345678", &"x".repeat(200)).await;
    world.ledger(|ledger| ledger.submitted_total == 1).await;
    world.stop.cancel();
    for segment in 0..2 {
        let (reported, index, outcome) = world.outcome().await;
        accepted(&outcome);
        assert_eq!((reported, index), (token, segment));
    }
    world.is(|status| *status == ChannelStatus::Stopped).await;
    assert_eq!(world.smsc.ledger(|ledger| ledger.unbinds), 1);
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_unbind_by_the_smsc_is_answered_after_the_pending_answers() {
    let mut script = receiptless();
    script.response_delay_ms = 2_000;
    let mut world = world(script, |_| {});
    world.up().await;
    let (_, _permit) = world.submit("33612345678", "Bonjour").await;
    world.ledger(|ledger| ledger.submitted_total == 1).await;
    world.smsc.unbind_all();
    accepted(&world.outcome().await.2);
    let status = world
        .is(|status| matches!(status, ChannelStatus::Down { .. }))
        .await;
    assert!(matches!(status, ChannelStatus::Down { cause } if cause == "unbound by SMSC"));
    world.up().await;
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_comes_again_on_the_next_bind() {
    let mut world = world(SmscScript::default(), |_| {});
    world.up().await;
    let (_, _permit) = world.submit("33612345678", "Bonjour").await;
    accepted(&world.outcome().await.2);
    let ChannelEvent::Receipt { ack: stale, .. } = world.event().await else {
        panic!()
    };
    world.smsc.disconnect_all();
    let ChannelEvent::Receipt { ack, reference, .. } = world.event().await else {
        panic!()
    };
    assert_eq!(reference, "1");
    stale.taken();
    ack.taken();
    world.ledger(|ledger| ledger.acknowledged_total == 1).await;
    world
        .smsc
        .ledger(|ledger| assert_eq!((ledger.delivered_total, ledger.binds), (2, 2)));
    world.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_was_busy_for_long_finds_its_answers_and_not_time_outs() {
    let mut script = receiptless();
    script.response_delay_ms = 1_000;
    script.deliver_window = 200;
    let mut world = world(script, |_| {});
    world.up().await;
    let mut permits = Vec::new();
    for _ in 0..5 {
        permits.push(world.submit("33612345678", "Bonjour").await);
    }
    world.ledger(|ledger| ledger.submitted_total == 5).await;
    // The queue of events fills before the answers come, and stays full beyond every time-out.
    for _ in 0..100 {
        let (from, to) = ("33612345678".to_owned(), "36111".to_owned());
        world.smsc.inject(&MoMessage {
            from,
            to,
            text: "Oui".to_owned(),
        });
    }
    tokio::time::sleep(Duration::from_secs(45)).await;
    let (mut outcomes, mut inbound) = (0, 0);
    while outcomes < 5 || inbound < 100 {
        match world.event().await {
            ChannelEvent::Segment { outcome, .. } => {
                accepted(&outcome);
                outcomes += 1;
            }
            ChannelEvent::Inbound { ack, .. } => {
                ack.taken();
                inbound += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    world.smsc.ledger(|ledger| assert_eq!(ledger.binds, 1));
    world.end().await;
}

/// The whole way over real TCP and real time, with several binds: nothing lost, nothing doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_every_message_is_taken_once_and_reported() {
    let (clock, random) = (Clock::system(), Random::system());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let smsc = serve(listener, SmscScript::default(), &clock, &random).unwrap();
    let address = smsc.local_addr().unwrap();
    let mut config = config();
    (config.host, config.port, config.binds) = (address.ip().to_string(), address.port(), 3);
    let (sender, mut events) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let channels = start_tcp(Arc::new(config), &clock, &random, &sender, &stop);
    drop(sender);
    let names: Vec<_> = channels
        .iter()
        .map(|(handle, _)| handle.id.as_str().to_owned())
        .collect();
    assert_eq!(names, ["acme#1", "acme#2", "acme#3"]);
    // On a busy machine two of them would else do all the work before the third is there.
    smsc.wait_for(|ledger| ledger.binds == 3).await;
    let engine = async {
        let mut world = world(receiptless(), |_| {});
        let mut permits = HashMap::new();
        let (mut sent, mut taken, mut receipts) = (0, HashSet::new(), HashSet::new());
        while taken.len() < 3_000 || receipts.len() < 3_000 {
            for (handle, _) in &channels {
                while sent < 3_000
                    && handle.status.borrow().is_up()
                    && let Ok(permit) = handle.window.clone().try_acquire_owned()
                {
                    let request = world
                        .requests("33612345678", &format!("message {sent}"))
                        .remove(0)
                        .unwrap();
                    permits.insert(request.token, permit);
                    handle.requests.try_send(request).unwrap();
                    sent += 1;
                }
            }
            let event = tokio::select! {
                event = events.recv() => event.unwrap(),
                () = tokio::time::sleep(Duration::from_millis(20)), if sent < 3_000 => continue,
            };
            match event {
                ChannelEvent::Segment { token, outcome, .. } => {
                    assert!(taken.insert(accepted(&outcome).to_owned()));
                    permits.remove(&token);
                }
                ChannelEvent::Receipt {
                    reference,
                    receipt,
                    ack,
                    ..
                } => {
                    assert_eq!(receipt.state, ReceiptState::Delivered);
                    receipts.insert(reference);
                    ack.taken();
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(taken, receipts);
        world.end().await;
    };
    tokio::time::timeout(Duration::from_mins(2), engine)
        .await
        .expect("in time");
    // The binds start one after another: two may have done all the work.
    smsc.wait_for(|ledger| ledger.acknowledged_total == 3_000 && ledger.binds == 3)
        .await;
    smsc.ledger(|ledger| {
        let texts: HashSet<_> = ledger.texts()["33612345678"].iter().cloned().collect();
        assert_eq!((texts.len(), ledger.submitted_total), (3_000, 3_000));
        assert!(ledger.widest() <= 10);
        assert_eq!(ledger.binds, 3);
    });
    stop.cancel();
    for (_, task) in channels {
        tokio::time::timeout(Duration::from_mins(1), task)
            .await
            .unwrap()
            .unwrap();
    }
    assert_eq!(smsc.ledger(|ledger| ledger.unbinds), 3);
    smsc.shutdown().await;
}
