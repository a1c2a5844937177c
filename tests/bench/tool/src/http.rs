//! The application's side: HTTP/1.1 by hand, since a general client would cost more than what it measures.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

use crate::{DEADLINE, Error, Tally};

/// A port that was free a moment ago, for a listener that cannot take 0 and say what it got.
pub fn free_port() -> Result<u16, Error> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}

/// Whether `/readyz` answers 200.
pub async fn ready(port: u16) -> bool {
    let Ok(mut link) = Link::open(port).await else {
        return false;
    };
    matches!(
        link.ask(b"GET /readyz HTTP/1.1\r\nHost: bench\r\n\r\n")
            .await,
        Ok(200)
    )
}

/// Where and how messages are posted.
pub struct Target {
    port: u16,
    key: String,
    hook_port: u16,
}

impl Target {
    pub fn new(port: u16, key: &str, hook_port: u16) -> Arc<Self> {
        Arc::new(Self {
            port,
            key: key.into(),
            hook_port,
        })
    }

    fn request(&self, index: usize) -> Vec<u8> {
        let body = format!(
            "{{\"to\":\"+33612{index:06}\",\"from\":\"BENCH\",\"class\":\"transactional\",\
             \"text\":\"Vous avez recu un courrier, numero {index:06}.\",\"webhook_url\":\"http://127.0.0.1:{}/\"}}",
            self.hook_port
        );
        format!(
            "POST /v1/messages HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        )
        .into_bytes()
    }
}

/// One kept-alive connection.
struct Link {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Link {
    async fn open(port: u16) -> Result<Self, Error> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4096),
        })
    }

    /// Sends a request and reads its whole answer; the status.
    async fn ask(&mut self, request: &[u8]) -> Result<u16, Error> {
        self.stream.write_all(request).await?;
        let message =
            tokio::time::timeout(DEADLINE, next_message(&mut self.stream, &mut self.buffer))
                .await?
                .ok_or("the connection was closed before the answer")?;
        Ok(message.get(9..12).ok_or("no status line")?.parse()?)
    }

    async fn post(&mut self, target: &Target, index: usize) -> Result<(), Error> {
        match self.ask(&target.request(index)).await? {
            202 => Ok(()),
            status => Err(format!("POST of message {index} answered {status}").into()),
        }
    }
}

/// Takes the next message with a Content-Length off the stream; `None` at its end. Headers and body, as text.
async fn next_message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(buffer.get(..end)?).to_ascii_lowercase();
            let length: usize = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length:"))
                .map_or(Some(0), |v| v.trim().parse().ok())?;
            let whole = end + 4 + length;
            if buffer.len() >= whole {
                let message = String::from_utf8_lossy(buffer.get(..whole)?).into_owned();
                buffer.drain(..whole);
                return Some(message);
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Each connection posts and waits for its answer, until the range is used up. The latencies.
pub async fn closed_loop(
    target: &Arc<Target>,
    range: Range<usize>,
    connections: usize,
) -> Result<Vec<Duration>, Error> {
    let (next, end) = (Arc::new(AtomicUsize::new(range.start)), range.end);
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let (target, next, mut link) =
            (target.clone(), next.clone(), Link::open(target.port).await?);
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= end {
                    return Ok::<_, Error>(latencies);
                }
                let began = Instant::now();
                link.post(&target, index).await?;
                latencies.push(began.elapsed());
            }
        }));
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.append(&mut task.await??);
    }
    Ok(latencies)
}

/// Posts at a fixed rate whether or not answers come; latencies count from when each was due.
pub async fn open_loop(
    target: &Arc<Target>,
    range: Range<usize>,
    rate: usize,
) -> Result<Vec<Duration>, Error> {
    let idle: Arc<Mutex<Vec<Link>>> = Arc::default();
    let began = Instant::now() + Duration::from_millis(10);
    let mut tasks = Vec::new();
    for (turn, index) in range.enumerate() {
        let due = began + Duration::from_secs_f64(turn as f64 / rate as f64);
        tokio::time::sleep_until(due.into()).await;
        let (target, idle) = (target.clone(), idle.clone());
        tasks.push(tokio::spawn(async move {
            let taken = idle.lock().await.pop();
            let mut link = match taken {
                Some(link) => link,
                None => Link::open(target.port).await?,
            };
            link.post(&target, index).await?;
            let latency = due.elapsed();
            idle.lock().await.push(link);
            Ok::<_, Error>(latency)
        }));
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.push(task.await??);
    }
    Ok(latencies)
}

/// A receiver of webhooks: notes the recipient of every `message.delivered`.
pub struct Hook {
    pub port: u16,
}

impl Hook {
    pub async fn start(called_back: Arc<Tally>) -> Result<Self, Error> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, called_back.clone()));
            }
        });
        Ok(Self { port })
    }
}

async fn serve(mut stream: TcpStream, called_back: Arc<Tally>) {
    let mut buffer = Vec::with_capacity(8192);
    while let Some(message) = next_message(&mut stream, &mut buffer).await {
        if message.contains("\"message.delivered\"") {
            // The member's name with quotes and colon stands in no other place of the event.
            if let Some((_, rest)) = message.split_once("\"to\":") {
                called_back.note(rest.split('"').nth(1).unwrap_or(""));
            }
        }
        if stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .is_err()
        {
            return;
        }
    }
}
