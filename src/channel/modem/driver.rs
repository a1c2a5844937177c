//! The task of one modem: open, set up, send and receive, and again, until stopped.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::port::Opener;
use super::{ModemConfig, ModemWord};
use crate::channel::{ChannelEvent, ChannelStatus, SubmitRequest};
use crate::clock::{Clock, Random};
use crate::domain::id::ChannelId;

#[allow(dead_code)]
pub(super) struct Driver {
    pub(super) id: ChannelId,
    pub(super) config: Arc<ModemConfig>,
    pub(super) opener: Arc<dyn Opener>,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) events: mpsc::Sender<ChannelEvent>,
    pub(super) inbox: mpsc::Receiver<SubmitRequest>,
    pub(super) status: watch::Sender<ChannelStatus>,
    pub(super) word: watch::Sender<ModemWord>,
    pub(super) reset: watch::Receiver<()>,
    pub(super) stop: CancellationToken,
}

impl Driver {
    pub(super) async fn run(self) {
        self.stop.cancelled().await;
    }
}
