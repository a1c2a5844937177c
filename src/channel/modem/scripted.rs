//! A modem for tests: a stream that answers each line written to it, cut into reads as asked.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What it does in answer to a line.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Says(Vec<u8>),
    Waits(Duration),
    /// From now on writing fails.
    Breaks,
    /// It is gone.
    Closes,
}

pub(super) fn says(text: &str) -> Vec<Reply> {
    vec![Reply::Says(text.as_bytes().to_vec())]
}

pub(super) type Answering = Box<dyn FnMut(&str) -> Vec<Reply> + Send>;

pub(super) struct Scripted {
    answer: Answering,
    line: Vec<u8>,
    replies: VecDeque<Reply>,
    wait: Option<Pin<Box<Sleep>>>,
    waker: Option<Waker>,
    /// Sizes of the reads, in turn; empty: as large as may be.
    cuts: Vec<usize>,
    reads: usize,
    broken: bool,
    /// Every line written, without its end; ESC by itself.
    pub(super) written: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    pub(super) fn new(answer: impl FnMut(&str) -> Vec<Reply> + Send + 'static) -> Self {
        Self {
            answer: Box::new(answer),
            line: Vec::new(),
            replies: VecDeque::new(),
            wait: None,
            waker: None,
            cuts: Vec::new(),
            reads: 0,
            broken: false,
            written: Arc::default(),
        }
    }

    pub(super) fn cut(mut self, cuts: &[usize]) -> Self {
        self.cuts = cuts.to_vec();
        self
    }

    /// Something that it says before anything is asked.
    pub(super) fn saying_first(mut self, text: &str) -> Self {
        self.replies.extend(says(text));
        self
    }

    fn take(&mut self, octet: u8) {
        self.line.push(octet);
        if matches!(octet, b'\r' | 0x1A | 0x1B) {
            let line = String::from_utf8_lossy(&self.line).replace('\r', "");
            self.line.clear();
            if !line.is_empty() {
                self.written.lock().unwrap().push(line.clone());
                self.replies.extend((self.answer)(&line));
            }
        }
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken || matches!(self.replies.front(), Some(Reply::Breaks)) {
            self.broken = true;
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        for &octet in octets {
            self.take(octet);
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(wait) = &mut self.wait {
                if wait.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.wait = None;
            }
            match self.replies.pop_front() {
                None => {
                    self.waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Some(Reply::Waits(time)) => self.wait = Some(Box::pin(sleep(time))),
                Some(Reply::Breaks) => {
                    self.replies.push_front(Reply::Breaks);
                    self.waker = Some(context.waker().clone());
                    return Poll::Pending;
                }
                Some(Reply::Closes) => {
                    self.replies.push_front(Reply::Closes);
                    return Poll::Ready(Ok(()));
                }
                Some(Reply::Says(octets)) if octets.is_empty() => {}
                Some(Reply::Says(octets)) => {
                    let limit = match self.cuts.as_slice() {
                        [] => usize::MAX,
                        cuts => cuts[self.reads % cuts.len()].max(1),
                    };
                    self.reads += 1;
                    let n = octets.len().min(limit).min(into.remaining());
                    into.put_slice(&octets[..n]);
                    if n < octets.len() {
                        self.replies.push_front(Reply::Says(octets[n..].to_vec()));
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}
