//! Alerts of interventions in an ERP.

use relais::sim::smsc::SmscScript;
use serde_json::json;

use super::{expect, gateway, submitted};

#[tokio::test(start_paused = true)]
async fn a_message_leaves() {
    let (world, api) = gateway("2026-10-05T10:00:00Z", "", SmscScript::default()).await;
    let body = json!({"to": "06 21 55 84 92", "text": "bonjour"});
    expect(202, api.post("/v1/messages", &body).await);
    world
        .carrier_until(|ledger| ledger.submitted.len() == 1)
        .await;
    assert_eq!(submitted(&world)[0].2, "bonjour");
    world.stop().await;
}
