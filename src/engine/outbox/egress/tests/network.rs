//! The way out against receivers that mean ill, over real connections on the loopback network:
//! 127.0.0.2 is listed and so allowed, 127.0.0.1 is inside.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::*;
use crate::domain::policy::{Limits, Operator};

/// Never what a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);
const LISTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A resolver that gives the next answer at each question, and counts them.
#[derive(Default)]
struct Names {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Resolve for Names {
    fn resolve(&self, _: Name) -> Resolving {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_default();
        let found = answer.into_iter().map(|ip| SocketAddr::new(ip, 0));
        Box::pin(std::future::ready(Ok(Box::new(found) as Addrs)))
    }
}

fn names(answers: &[&[IpAddr]]) -> Arc<Names> {
    Arc::new(Names {
        answers: Mutex::new(answers.iter().map(|a| a.to_vec()).collect()),
        ..Names::default()
    })
}

/// A way out that may go to 127.0.0.2.
fn egress(names: &Arc<Names>, timeout: Duration) -> Egress {
    let operator = Operator::named("default", vec![vec!["carrier".into()]]);
    let mut policy = Policy::new(operator, Vec::new(), "FR", Limits::default());
    policy.webhook_allow = vec!["127.0.0.2/32".parse().unwrap()];
    let (_, policy) = watch::channel(Arc::new(policy));
    Egress::over(names.clone(), policy, timeout).unwrap()
}

/// A receiver that answers each connection by `answer`, and counts them.
async fn receiver<A>(
    at: IpAddr,
    port: u16,
    answer: impl Fn(TcpStream) -> A + Send + 'static,
) -> (u16, Arc<AtomicUsize>)
where
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((at, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(answer(stream));
        }
    });
    (port, count)
}

/// Reads a request to the end of its head; the bodies here are small and come with it.
async fn request(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    while !seen.windows(4).any(|w| w == b"\r\n\r\n") {
        if stream.read_buf(&mut seen).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

async fn says(mut stream: TcpStream, answer: &str) {
    request(&mut stream).await;
    let _ = stream.write_all(answer.as_bytes()).await;
}

async fn fine(stream: TcpStream) {
    says(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    )
    .await;
}

async fn post(egress: &Egress, url: &str) -> Result<(), String> {
    let post = egress.to(url).map_err(|refused| refused.to_string())?;
    let sent = send(post.body("{}"));
    tokio::time::timeout(PATIENCE, sent).await.unwrap()
}

#[tokio::test]
async fn a_name_that_changes_its_mind_leads_nowhere() {
    let (port, good) = receiver(LISTED, 0, fine).await;
    let (_, inside) = receiver(INSIDE, port, fine).await;
    // What was checked is what is connected to: one question for each connection.
    let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    let answers: [&[IpAddr]; 6] = [
        &[LISTED],
        &[INSIDE],
        &[LISTED, INSIDE],
        &[mapped],
        &[IpAddr::V6(Ipv6Addr::LOCALHOST)],
        &[LISTED],
    ];
    let names = names(&answers);
    let egress = egress(&names, PATIENCE);
    let url = format!("http://hook.example:{port}/x");
    for answer in answers {
        let posted = post(&egress, &url).await;
        match answer {
            [LISTED] => posted.unwrap(),
            _ => assert_eq!(posted, Err(UrlRefused::Address.to_string()), "{answer:?}"),
        }
    }
    let counted = [&good, &inside].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counted, [2, 0]);
    assert_eq!(names.asked.load(Ordering::Relaxed), answers.len());
}

#[tokio::test]
async fn without_tls_even_a_public_address_is_not_posted_to() {
    // TEST-NET addresses would be refused for what they are: this one is simply public.
    let public: IpAddr = "93.184.216.34".parse().unwrap();
    let names = names(&[&[public][..]; 4]);
    let egress = egress(&names, PATIENCE);
    let posted = post(&egress, "http://hook.example/x").await;
    assert_eq!(posted, Err(UrlRefused::Address.to_string()));
    for writing in [
        "HTTP://hook.example/x",
        " http://hook.example/x",
        "h\nttp://hook.example",
    ] {
        let posted = post(&egress, writing).await;
        assert_eq!(posted, Err(UrlRefused::Address.to_string()), "{writing:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_a_way() {
    let (inside_port, inside) = receiver(INSIDE, 0, fine).await;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} Elsewhere\r\nlocation: http://127.0.0.1:{inside_port}/\r\n\
             content-length: 0\r\n\r\n"
        );
        let (port, _) = receiver(LISTED, 0, move |stream| {
            let answer = answer.clone();
            async move { says(stream, &answer).await }
        })
        .await;
        let egress = egress(&names(&[&[LISTED]]), PATIENCE);
        let posted = post(&egress, &format!("http://hook.example:{port}/x")).await;
        assert_eq!(posted, Err(format!("answered {status}")));
    }
    assert_eq!(inside.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let (cut, mut was_cut) = tokio::sync::mpsc::channel(1);
    let (port, _) = receiver(LISTED, 0, move |mut stream| {
        let cut = cut.clone();
        async move {
            request(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
            while stream.write_all(chunk.as_bytes()).await.is_ok() {}
            let _ = cut.send(()).await;
        }
    })
    .await;
    let egress = egress(&names(&[&[LISTED]]), PATIENCE * 10);
    post(&egress, &format!("http://hook.example:{port}/x"))
        .await
        .unwrap();
    tokio::time::timeout(PATIENCE, was_cut.recv())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_receiver_that_drips_holds_a_post_no_longer_than_its_time() {
    // Octet by octet: the head of the answer, or its body.
    for (at_once, expected) in [
        ("", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", true),
    ] {
        let (port, _) = receiver(LISTED, 0, move |mut stream| async move {
            request(&mut stream).await;
            stream.write_all(at_once.as_bytes()).await.unwrap();
            for octet in b"HTTP/1.1 200 OK\r\nx: "
                .iter()
                .chain(std::iter::repeat(&b'y'))
            {
                if stream.write_all(&[*octet]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let egress = egress(&names(&[&[LISTED]]), Duration::from_millis(400));
        let posted = post(&egress, &format!("http://hook.example:{port}/x")).await;
        assert_eq!(posted.is_ok(), expected, "{posted:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let made = rcgen::generate_simple_self_signed(vec!["hook.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let heard = Arc::new(AtomicUsize::new(0));
    let hears = heard.clone();
    let (port, connected) = receiver(LISTED, 0, move |stream| {
        let (acceptor, hears) = (acceptor.clone(), hears.clone());
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut octet = [0];
                let read = stream.read(&mut octet).await.unwrap_or(0);
                hears.fetch_add(read, Ordering::Relaxed);
            }
        }
    })
    .await;
    let egress = egress(&names(&[&[LISTED]]), PATIENCE);
    let refused = post(&egress, &format!("https://hook.example:{port}/x")).await;
    let words = refused.unwrap_err();
    assert!(words.contains("certificate"), "{words}");
    assert_eq!(connected.load(Ordering::Relaxed), 1);
    assert_eq!(heard.load(Ordering::Relaxed), 0, "nothing was said to it");
}
