//! Programs that were down when they were to be told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::StatusCode;
use relais::engine::accept::Draft;
use support::{operator, policy};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;

/// A program that is told, at an address that it keeps while it is down.
struct Receiver {
    at: SocketAddr,
    told: Arc<Mutex<Vec<serde_json::Value>>>,
    count: watch::Sender<usize>,
    serving: Option<JoinHandle<()>>,
}

impl Receiver {
    /// One that is down.
    async fn new() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            at: listener.local_addr().unwrap(),
            told: Arc::default(),
            count: watch::Sender::new(0),
            serving: None,
        }
    }

    async fn up(&mut self) {
        let listener = tokio::net::TcpListener::bind(self.at).await.unwrap();
        let (told, count) = (self.told.clone(), self.count.clone());
        let take = move |body: Bytes| {
            let (told, count) = (told.clone(), count.clone());
            async move {
                told.lock()
                    .unwrap()
                    .push(serde_json::from_slice(&body).unwrap());
                count.send_modify(|count| *count += 1);
                StatusCode::NO_CONTENT
            }
        };
        let router = axum::Router::new().route("/hook", axum::routing::post(take));
        self.serving = Some(tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        }));
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.at)
    }

    fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits, in virtual time, until it has been told so often; says how long that took.
    async fn told(&self, world: &World, count: usize) -> Duration {
        let began = world.clock.now();
        let mut told = self.count.subscribe();
        let enough = told.wait_for(|told| *told >= count);
        let in_time = tokio::time::timeout(200 * HOUR, enough).await;
        assert!(in_time.is_ok(), "told {} of {count}", self.count());
        world.clock.now().since(began)
    }
}

async fn world() -> World {
    let mut rules = policy(operator());
    rules.webhook_allow = vec!["127.0.0.1/32".parse().unwrap()];
    World::with(SmscScript::default(), rules, |_| {}).await
}

async fn send(world: &World, n: usize, url: &str) -> MessageId {
    let draft = Draft {
        to: format!("+3360000{n:04}"),
        text: "bonjour".to_owned(),
        webhook_url: Some(url.to_owned()),
        ..Draft::default()
    };
    world.submit(draft).await
}

#[tokio::test(start_paused = true)]
async fn pain_14_a_receiver_that_is_down_gets_everything_later_and_holds_up_nobody() {
    // Elsewhere: one program that was down piled everybody's receipts up, or got hundreds of repeats.
    // Here: the others are told at once, and it is told each thing once when it is back, soon.
    let world = world().await;
    let (mut down, mut well) = (Receiver::new().await, Receiver::new().await);
    well.up().await;
    let mut ids = Vec::new();
    for n in 0..100 {
        let url = if n % 2 == 0 { down.url() } else { well.url() };
        ids.push(send(&world, n, &url).await);
    }
    all_become(&world, &ids, Status::Delivered).await;
    let took = well.told(&world, 50).await;
    assert!(took <= Duration::from_secs(2), "the others waited {took:?}");
    tokio::time::sleep(6 * HOUR).await;
    let tries = counted(&world, "relais_webhook_retried_total");
    assert!(tries <= 50 * 12, "{tries} tries of 50 posts in six hours");
    down.up().await;
    let took = down.told(&world, 50).await;
    assert!(took <= 2 * HOUR + HOUR / 2, "told after {took:?}");
    tokio::time::sleep(24 * HOUR).await;
    assert_eq!((down.count(), well.count()), (50, 50), "each is told once");
    assert_eq!(world.engine.store.gauges(world.clock.now()).outbox, 0);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn pain_15_a_webhook_is_tried_for_72_h() {
    // Elsewhere: three tries in 90 seconds, or none at all, and the program never heard of it.
    // Here: it is told after 70 hours of being down; what is given up after 72 is counted.
    let world = world().await;
    let mut down = Receiver::new().await;
    let first = send(&world, 1, &down.url()).await;
    world.until(first, Status::Delivered).await;
    tokio::time::sleep(69 * HOUR).await;
    assert_eq!(counted(&world, "relais_webhook_dropped_total"), 0);
    down.up().await;
    down.told(&world, 1).await;
    assert_eq!(
        down.told.lock().unwrap()[0]["data"]["id"],
        first.to_string()
    );

    let gone = Receiver::new().await;
    let second = send(&world, 2, &gone.url()).await;
    world.until(second, Status::Delivered).await;
    tokio::time::sleep(80 * HOUR).await;
    assert_eq!(counted(&world, "relais_webhook_dropped_total"), 1);
    assert_eq!(world.engine.store.gauges(world.clock.now()).outbox, 0);
    world.stop().await;
}
