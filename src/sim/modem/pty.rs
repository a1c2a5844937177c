//! The master side of a pseudo terminal, with a symbolic link that names the other side.
//!
//! The link is the stable name that udev would make; the terminal behind it is another one after
//! each replug, as with a real stick. While nobody has the terminal open, what is written to it is
//! lost, as on a serial line.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, QueueSelector, tcflush, tcgetattr, tcsetattr};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How often is looked whether somebody has opened the terminal.
const LOOK: Duration = Duration::from_millis(5);

/// A pseudo terminal's master side, with its link.
pub(super) struct Pty {
    master: AsyncFd<OwnedFd>,
    /// The terminal's own name.
    name: CString,
    link: PathBuf,
    /// Runs while nobody has the terminal open.
    closed: Option<Pin<Box<Sleep>>>,
    /// Whether somebody had it open since it was last emptied.
    used: bool,
}

impl Pty {
    /// Makes a terminal in raw mode and lets `link` name it. What was there is replaced if it is a
    /// symbolic link.
    pub(super) fn open(link: &Path) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        {
            // The settings stay when this is closed; then the master knows that nobody is there.
            let terminal = terminal(&name)?;
            let mut settings = tcgetattr(&terminal)?;
            settings.make_raw();
            tcsetattr(&terminal, OptionalActions::Now, &settings)?;
        }
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        let master = watch(master)?;
        unlink(link)?;
        std::os::unix::fs::symlink(OsStr::from_bytes(name.to_bytes()), link)?;
        Ok(Self {
            master,
            name,
            link: link.to_owned(),
            closed: None,
            used: false,
        })
    }

    /// Whether nobody has the terminal open.
    fn is_closed(&self) -> bool {
        let mut asked = [PollFd::new(self.master.get_ref(), PollFlags::empty())];
        let answer = poll(&mut asked, Some(&Timespec::default()));
        answer.is_ok() && asked[0].revents().contains(PollFlags::HUP)
    }

    /// Registers the terminal anew. To the runtime the end of a stream is final, and it would call a
    /// terminal ready for ever that was once closed; here somebody opens it again.
    fn renew(&mut self, context: &Context<'_>) -> io::Result<()> {
        self.master = watch(self.master.get_ref().try_clone()?)?;
        // Whoever waited on the old registration asks again.
        context.waker().wake_by_ref();
        Ok(())
    }

    /// Forgets what the last one did not read, as a serial line does when it is closed.
    fn empty(&mut self) {
        if std::mem::take(&mut self.used)
            && let Ok(terminal) = terminal(&self.name)
        {
            let _ = tcflush(&terminal, QueueSelector::IFlush);
        }
    }
}

/// Registers a descriptor with the runtime.
fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // Deprecated for sources that may change their descriptor; an OwnedFd owns one and keeps it,
    // and what replaces this function is unsafe.
    #[allow(deprecated)]
    AsyncFd::new(fd)
}

/// The side of the terminal that programs open.
fn terminal(name: &CString) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(open(name.as_c_str(), flags, Mode::empty())?)
}

impl Drop for Pty {
    fn drop(&mut self) {
        // A link that something else has replaced is no longer ours to remove.
        let _ = unlink(&self.link);
    }
}

/// Removes a symbolic link; anything else is refused.
fn unlink(link: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_symlink() => std::fs::remove_file(link),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is something that is no symbolic link",
        )),
    }
}

impl AsyncRead for Pty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if let Some(sleep) = &mut this.closed {
                ready!(sleep.as_mut().poll(context));
                this.closed = None;
            }
            let mut ready = ready!(this.master.poll_read_ready(context))?;
            let was_closed = ready.ready().is_read_closed();
            let unfilled = buffer.initialize_unfilled();
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut *unfilled)?));
            match read {
                Err(_would_block) => {
                    this.used = true;
                    if was_closed {
                        this.renew(context)?;
                    }
                }
                Ok(Ok(count)) => {
                    this.used = true;
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    this.empty();
                    this.closed = Some(Box::pin(tokio::time::sleep(LOOK)));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Pty {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_closed() {
            return Poll::Ready(Ok(octets.len()));
        }
        loop {
            let mut ready = ready!(self.master.poll_write_ready(context))?;
            let was_closed = ready.ready().is_write_closed();
            match ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), octets)?)) {
                Err(_would_block) if was_closed => self.renew(context)?,
                Err(_would_block) => {}
                Ok(result) => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
