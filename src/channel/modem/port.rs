//! The port of a modem: a serial line, a pseudo terminal, or any other stream.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_serial::SerialPortBuilderExt;

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
}

impl SerialOpener {
    /// For this port at this speed in bit/s.
    #[must_use]
    pub fn new(device: &Path, baud: u32) -> Self {
        let device = device.to_owned();
        Self { device, baud }
    }
}

#[async_trait]
impl Opener for SerialOpener {
    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        let device = self.device.to_string_lossy();
        let port = tokio_serial::new(device, self.baud).open_native_async()?;
        Ok(Box::new(port))
    }
}
