//! Connections: slow ones end, too many wait, and a stop finishes what is under way.

use std::sync::Arc;
use std::time::Duration;

use relais::http::Live;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::read_until;
use crate::{ADMIN, gateway, gateway_with, hello};

/// Settings that stay as they are.
fn living(live: Live) -> watch::Receiver<Arc<Live>> {
    watch::channel(Arc::new(live)).1
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_ends_the_connection_within_thirty_seconds() {
    let gateway = gateway().await;
    let mut stream = TcpStream::connect(gateway.admin.address).await.unwrap();
    stream.write_all(b"GET /healthz HT").await.unwrap();
    let started = Instant::now();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(
        started.elapsed() <= Duration::from_secs(31),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_answered_within_sixty_seconds() {
    let gateway = gateway().await;
    let mut stream = TcpStream::connect(gateway.admin.address).await.unwrap();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let started = Instant::now();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"),
        "{answer}"
    );
    assert!(
        started.elapsed() <= Duration::from_secs(61),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_connection_beyond_the_cap_is_served_when_another_ends() {
    let gateway = gateway_with(|settings| {
        settings.live = living(Live {
            max_connections: 1,
            ..Live::default()
        });
    })
    .await;
    let mut first = gateway.admin.open("/healthz", "").await;
    read_until(&mut first, "ok").await;
    let mut second = gateway.admin.open("/healthz", "").await;
    let mut octet = [0];
    tokio::select! {
        biased;
        _ = second.read(&mut octet) => panic!("served beyond the cap"),
        // The first connection is kept alive: this answer comes after the second was asked.
        () = async {
            first.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            read_until(&mut first, "ok").await;
        } => {}
    }
    drop(first);
    read_until(&mut second, "ok").await;
}

#[tokio::test]
async fn a_stop_finishes_the_request_under_way_and_accepts_no_more() {
    let gateway = gateway().await;
    let body = hello().to_string();
    let mut stream = TcpStream::connect(gateway.admin.address).await.unwrap();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The request is known to be under way once it is given leave to go on.
    read_until(&mut stream, "100 Continue").await;
    gateway.stop.cancel();
    stream.write_all(body.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\"id\"").await;
    assert!(answer.contains("HTTP/1.1 202"), "{answer}");
    gateway.served.await.unwrap().unwrap();
    assert!(TcpStream::connect(gateway.admin.address).await.is_err());
}

/// A connection from this address of the loopback network.
async fn from(source: &str, gateway: &crate::Gateway) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(gateway.admin.address).await.unwrap()
}

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn one_address_with_all_its_connections_shuts_out_itself_alone() {
    let gateway = gateway_with(|settings| {
        settings.live = living(Live {
            max_connections: 8,
            max_connections_per_address: 4,
            count_loopback: true,
            ..Live::default()
        });
    })
    .await;
    // Each has said half a head and waits: the share of this address is used up.
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = from("127.0.0.2", &gateway).await;
        stream.write_all(HEALTH).await.unwrap();
        read_until(&mut stream, "ok").await;
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHo")
            .await
            .unwrap();
        slow.push(stream);
    }
    for _ in 0..20 {
        let mut more = from("127.0.0.2", &gateway).await;
        let mut answer = Vec::new();
        // Closed without a word, or reset: either is an end.
        let _ = more.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }
    let mut other = from("127.0.0.3", &gateway).await;
    other.write_all(HEALTH).await.unwrap();
    read_until(&mut other, "ok").await;
    let figures = gateway.engine.metrics.render();
    assert!(
        figures.contains("relais_http_refused_total{why=\"connections\"} 20"),
        "{figures}"
    );
    // A place that is given back is there again.
    drop(slow.pop());
    loop {
        let mut again = from("127.0.0.2", &gateway).await;
        let _ = again.write_all(HEALTH).await;
        let mut answer = [0; 12];
        if again.read_exact(&mut answer).await.is_ok() {
            assert_eq!(&answer, b"HTTP/1.1 200");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_ends_as_soon_as_one_that_does_not_come() {
    let gateway = gateway().await;
    let mut stream = TcpStream::connect(gateway.admin.address).await.unwrap();
    let started = Instant::now();
    let dripping = async {
        for octet in b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: "
            .iter()
            .chain(&[b'y'; 1000])
        {
            if stream.write_all(&[*octet]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            if started.elapsed() > Duration::from_secs(40) {
                break;
            }
        }
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer).await;
        assert!(
            ended.is_err() || !answer.starts_with(b"HTTP/1.1 200"),
            "{answer:?}"
        );
    };
    dripping.await;
    assert!(started.elapsed() <= Duration::from_secs(45));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_more_is_closed() {
    let gateway = gateway().await;
    let mut stream = TcpStream::connect(gateway.admin.address).await.unwrap();
    stream.write_all(HEALTH).await.unwrap();
    read_until(&mut stream, "ok").await;
    let started = Instant::now();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(started.elapsed() <= Duration::from_secs(31));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_answered_when_its_time_is_over() {
    let gateway = gateway().await;
    let stream = TcpStream::connect(gateway.admin.address).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    );
    to.write_all(head.as_bytes()).await.unwrap();
    let started = Instant::now();
    let dripping = tokio::spawn(async move {
        while to.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    });
    let mut answer = [0; 12];
    from.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(started.elapsed() <= Duration::from_secs(61));
    dripping.abort();
}

#[tokio::test]
async fn a_caller_that_does_not_read_its_answers_is_let_go() {
    let (live, watched) = watch::channel(Arc::new(Live {
        answer_timeout: Duration::from_millis(300),
        max_connections: 1,
        ..Live::default()
    }));
    let gateway = gateway_with(|settings| settings.live = watched).await;
    let mut stream = TcpStream::connect(gateway.admin.address).await.unwrap();
    // The document is tens of kilobytes: asked for without end and never read, it fills every buffer
    // on the way, and then the gateway stops reading as well.
    let asked = async {
        while stream
            .write_all(b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .is_ok()
        {}
    };
    tokio::time::timeout(Duration::from_secs(60), asked)
        .await
        .unwrap();
    // Its place, the only one, is free again.
    assert_eq!(gateway.admin.get("/healthz").await.status, 200);
    drop(live);
}

#[tokio::test]
async fn a_head_beyond_measure_is_refused() {
    let gateway = gateway().await;
    let long = "x".repeat(40_000);
    let answer = gateway
        .admin
        .send("GET", "/healthz", &[("X-Long", &long)], b"")
        .await;
    assert_eq!(answer.status, 431);
    let many = vec![("X-Many", "1"); 100];
    let answer = gateway.admin.send("GET", "/healthz", &many, b"").await;
    assert_eq!(answer.status, 431);
}

#[tokio::test]
async fn a_new_limit_holds_without_a_restart() {
    let (live, watched) = watch::channel(Arc::new(Live {
        max_connections: 1,
        ..Live::default()
    }));
    let gateway = gateway_with(|settings| settings.live = watched).await;
    let mut first = gateway.admin.open("/healthz", "").await;
    read_until(&mut first, "ok").await;
    let mut second = gateway.admin.open("/healthz", "").await;
    live.send_replace(Arc::default());
    read_until(&mut second, "ok").await;
    drop(first);
}

#[tokio::test]
async fn metrics_on_a_listener_of_their_own_are_nowhere_else() {
    let gateway = gateway_with(|settings| settings.metrics_apart = true).await;
    assert_eq!(
        gateway.admin.get("/metrics").await.problem(404),
        "not_found"
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(relais::http::serve_metrics(
        listener,
        gateway.engine.clone(),
        living(Live::default()),
        gateway.stop.clone(),
    ));
    let figures = crate::client::send(address, "GET", "/metrics", &[], b"").await;
    assert!(figures.text().contains("relais_build_info"), "{figures:?}");
    for path in ["/v1/messages", "/healthz", "/docs", "/"] {
        let answer = crate::client::send(address, "GET", path, &[], b"").await;
        assert_eq!(answer.status, 404, "{path}");
    }
    gateway.stop.cancel();
    serving.await.unwrap();
}
