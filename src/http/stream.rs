//! A connection that gives up on a caller who does not read what it asked for.
//!
//! An answer that nobody reads holds its connection, and the memory of the answer, for ever: TCP
//! itself has no objection. What is written must be out of our hands within a time; after that a long
//! answer, or a stream of events, has as long again for its next piece. So has whoever takes
//! [`ENOUGH`] in that time: of a long answer there is always more to write, and it may last as long as it
//! has to.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Octets that a caller has to take in its time while there are as many for it: few enough for the
/// slowest line, and far more than who only wants to hold the connection.
const ENOUGH: usize = 16 * 1024;

/// A stream whose writes do not wait for ever.
pub(super) struct Impatient<S> {
    inner: S,
    patience: Duration,
    /// Runs while something waits to be written.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Octets that went since it runs.
    taken: usize,
}

impl<S> Impatient<S> {
    /// Waits at most `patience` for what is written to be taken.
    pub(super) const fn new(inner: S, patience: Duration) -> Self {
        Self {
            inner,
            patience,
            deadline: None,
            taken: 0,
        }
    }

    /// Notes what was taken of a write; enough of it begins a new time.
    fn written(
        &mut self,
        result: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(octets)) = result {
            self.taken = self.taken.saturating_add(octets);
            if self.taken >= ENOUGH {
                self.rest();
            }
        }
        self.judge(result, cx)
    }

    /// Nobody is waited for.
    fn rest(&mut self) {
        self.deadline = None;
        self.taken = 0;
    }

    /// Passes a result on; one that is not there yet fails once the deadline has passed.
    fn judge<T>(
        &mut self,
        result: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            return result;
        }
        let patience = self.patience;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(deadline.as_mut().poll(cx));
        let what = "the caller does not read its answer";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, what)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, octets);
        self.written(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.written(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        if result.is_ready() {
            // Everything is out of our hands: what comes next has its own time. A caller that takes
            // an octet now and then does not get here.
            self.rest();
        }
        self.judge(result, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.judge(result, cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::convert::Infallible;

    use axum::body::Body;
    use axum::response::Response;
    use bytes::Bytes;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioIo, TokioTimer};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PIECES: usize = 40;
    const PIECE: usize = 256 * 1024;

    /// What a caller gets of a long answer that takes at most `most` octets every tenth of a second.
    async fn taken(most: usize) -> usize {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let service = service_fn(|_| async {
            let pieces = (0..PIECES).map(|_| Ok::<_, Infallible>(Bytes::from(vec![0; PIECE])));
            Ok::<_, Infallible>(Response::new(Body::from_stream(tokio_stream::iter(pieces))))
        });
        let stream = Impatient::new(ours, Duration::from_secs(10));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
        let ask = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        theirs.write_all(ask).await.unwrap();
        let (mut taken, mut octets) = (0, vec![0; most]);
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            match theirs.read(&mut octets).await {
                Ok(0) | Err(_) => return taken,
                Ok(read) => taken += read,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_slowly_and_without_a_rest_gets_all_of_a_long_answer() {
        assert!(taken(16 * 1024).await > PIECES * PIECE);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_an_octet_now_and_then_is_let_go() {
        assert!(taken(1).await < PIECE);
    }
}
