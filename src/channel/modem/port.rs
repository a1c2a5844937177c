//! The port of a modem: a serial line, a pseudo terminal, or any other stream.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio_serial::{ClearBuffer, SerialPort, SerialPortBuilderExt, SerialStream};

/// A stream to a modem.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What opens the stream to one modem, each time anew.
#[async_trait]
pub trait Opener: Send + Sync {
    /// Opens it.
    ///
    /// # Errors
    /// The system's words: the modem is unplugged, or another program holds the port.
    async fn open(&self) -> io::Result<Box<dyn Stream>>;
}

/// Opens a serial port for ourselves alone (`TIOCEXCL` and a lock of the file): two programs on one
/// port take each other's answers.
#[derive(Debug)]
pub struct SerialOpener {
    device: PathBuf,
    baud: u32,
    /// Taken while the system opens it, which a broken device can hold up for long.
    opening: Arc<Semaphore>,
}

impl SerialOpener {
    /// For this port at this speed in bit/s.
    #[must_use]
    pub fn new(device: &Path, baud: u32) -> Self {
        Self {
            device: device.to_owned(),
            baud,
            opening: Arc::new(Semaphore::new(1)),
        }
    }
}

#[async_trait]
impl Opener for SerialOpener {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        let Ok(permit) = self.opening.clone().try_acquire_owned() else {
            return Err(io::Error::other("the last try to open it still hangs"));
        };
        let builder = tokio_serial::new(self.device.to_string_lossy(), self.baud);
        let opening = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            builder.open_native_async()
        });
        let line = opening.await.map_err(io::Error::other)??;
        Ok(Box::new(SerialLine(line)))
    }
}

/// A serial port that never holds up the thread.
///
/// Its flush does nothing, because the system's (`tcdrain`) waits for the device, which may be stuck;
/// that the modem has what was written is shown by its answer. For the same reason nothing is left to
/// be written when it is closed.
struct SerialLine(SerialStream);

impl AsyncRead for SerialLine {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for SerialLine {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for SerialLine {
    fn drop(&mut self) {
        // One that is unplugged has nothing to forget.
        let _ = self.0.clear(ClearBuffer::All);
    }
}

#[cfg(test)]
mod tests;
