//! The carrier's side: an smpp34 server that takes every message and reports it delivered.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use smpp34::server::ESME;
use smpp34::{
    SmppConnectionInformation, SmppServer, SmppServerListener, TlvTag, bind_transceiver,
    bind_transceiver_resp, submit_sm, submit_sm_resp,
};
use tokio::sync::{Semaphore, mpsc};

use crate::{Error, Tally};

/// Unacknowledged receipts at most, as a carrier's own window.
const RECEIPT_WINDOW: usize = 100;
/// Receipts that may wait; more than a run has messages in flight.
const RECEIPT_QUEUE: usize = 1_000_000;
const MESSAGE_STATE_DELIVERED: u8 = 2; // SMPP 3.4 section 5.2.28

struct Receipt {
    session: String,
    recipient: String,
    sender: String,
    id: String,
}

struct Carrier {
    next_id: AtomicU64,
    submitted: Arc<Tally>,
    sessions: Mutex<HashMap<String, Arc<ESME>>>,
    receipts: mpsc::Sender<Receipt>,
}

/// A running SMSC on a loopback port.
pub struct Smsc {
    pub port: u16,
    carrier: Arc<Carrier>,
    _server: SmppServer,
}

impl Smsc {
    /// Listens on a free port and notes every recipient in `submitted`.
    pub async fn start(submitted: Arc<Tally>) -> Result<Self, Error> {
        let (receipts, queue) = mpsc::channel(RECEIPT_QUEUE);
        let carrier = Arc::new(Carrier {
            next_id: AtomicU64::new(1_000_000),
            submitted,
            sessions: Mutex::default(),
            receipts,
        });
        let port = crate::http::free_port()?;
        let mut server = SmppServer::new([127, 0, 0, 1].into(), port, carrier.clone());
        server.start().await;
        if !server.is_alive() {
            return Err(format!("the SMSC cannot listen on port {port}").into());
        }
        tokio::spawn(report(carrier.clone(), queue));
        Ok(Self {
            port,
            carrier,
            _server: server,
        })
    }

    pub fn is_bound(&self) -> bool {
        !self.carrier.sessions().is_empty()
    }
}

impl Carrier {
    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<ESME>>> {
        self.sessions
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[async_trait]
impl SmppServerListener for Carrier {
    async fn on_bind_transceiver(
        &self,
        request: bind_transceiver,
        _: &SmppConnectionInformation,
        _: &String,
    ) -> bind_transceiver_resp {
        request.accept("bench".into(), Some(0x34))
    }

    async fn on_submit_sm(
        &self,
        request: submit_sm,
        _: &SmppConnectionInformation,
        session: &String,
    ) -> submit_sm_resp {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).to_string();
        self.submitted.note(&request.destination_addr);
        if request.registered_delivery & 3 != 0 {
            let receipt = Receipt {
                session: session.clone(),
                recipient: request.destination_addr.clone(),
                sender: request.source_addr.clone(),
                id: id.clone(),
            };
            // A full queue would show as a missing callback, which fails the run.
            let _ = self.receipts.try_send(receipt);
        }
        request.accept(id)
    }

    async fn on_esme_bound(&self, esme: ESME, session: &String) {
        self.sessions().insert(session.clone(), Arc::new(esme));
    }

    async fn on_esme_unbound(&self, session: &String) {
        self.sessions().remove(session);
    }
}

/// Sends the receipts in the order of the submissions, a window at a time.
async fn report(carrier: Arc<Carrier>, mut queue: mpsc::Receiver<Receipt>) {
    let window = Arc::new(Semaphore::new(RECEIPT_WINDOW));
    while let Some(receipt) = queue.recv().await {
        let Ok(permit) = window.clone().acquire_owned().await else {
            return;
        };
        let Some(esme) = carrier.sessions().get(&receipt.session).cloned() else {
            continue;
        };
        tokio::spawn(async move {
            let text = format!(
                "id:{} sub:001 dlvrd:001 submit date:2601010000 done date:2601010000 stat:DELIVRD err:000 text:",
                receipt.id
            );
            let mut id = receipt.id.into_bytes();
            id.push(0);
            // What is not acknowledged is sent again, so that a slow gateway is slow and not incomplete.
            for _ in 0..3 {
                let answer = esme
                    .deliver_sm()
                    .source_addr(receipt.recipient.clone())
                    .source_addr_ton(1)
                    .source_addr_npi(1)
                    .destination_addr(receipt.sender.clone())
                    .esm_class(0x04)
                    .short_message(text.clone().into_bytes())
                    .tlv(TlvTag::ReceiptedMessageId, id.clone())
                    .tlv(TlvTag::MessageStateTlv, vec![MESSAGE_STATE_DELIVERED])
                    .send()
                    .await;
                if answer.is_ok_and(|a| a.command_status() == 0) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            drop(permit);
        });
    }
}
