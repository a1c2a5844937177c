//! Bad input: each refused by name, none stored, none able to end the process.

use std::sync::Arc;

use relais::domain::policy::ModemRules;
use serde_json::json;

use crate::{gateway, hello};

#[tokio::test]
async fn what_is_not_json_is_400_with_its_place() {
    let gateway = gateway().await;
    for body in [
        &b""[..],
        b"{",
        b"{\"to\":\"+33612345678\",}",
        br#"{"to":"+33612345678","text":"\ud800"}"#,
        b"{\"to\":\"+33612345678\",\"text\":\"\xff\"}",
        b"{\"to\":\"+33612345678\",\"text\":\"a\x00\"}",
        br#"{"to":"+33612345678","text":"x"} {}"#,
    ] {
        for path in ["/v1/messages", "/v1/batches", "/v1/preview", "/v1/webhooks"] {
            let refused = gateway.admin.post_raw(path, &[], body).await;
            assert_eq!(refused.problem(400), "malformed_json");
            let detail = refused.json["detail"].as_str().unwrap();
            assert!(detail.contains("line 1, column"), "{detail}");
        }
    }
}

#[tokio::test]
async fn every_wrong_field_is_named_and_nothing_is_stored() {
    let gateway = gateway().await;
    for (body, errors) in [
        (json!({}), &[("/to", "required"), ("/text", "required")][..]),
        (json!([]), &[("", "wrong_type")]),
        (
            json!({"to": 33612345678_u64, "text": ""}),
            &[("/to", "wrong_type"), ("/text", "text_empty")],
        ),
        (
            json!({"to": "abc", "text": " \n"}),
            &[("/to", "number_invalid"), ("/text", "text_empty")],
        ),
        (
            json!({"to": "0123456789", "text": "x"}),
            &[("/to", "not_mobile")],
        ),
        (
            json!({"to": "+33612345678", "text": "x".repeat(5000)}),
            &[("/text", "text_too_long")],
        ),
        (
            json!({"to": "+33612345678", "text": "é".repeat(1700)}),
            &[("/text", "text_too_many_parts")],
        ),
        (
            json!({"to": "+33612345678", "text": "a\u{0}b"}),
            &[("/text", "text_control_character")],
        ),
        (
            json!({"to": "+33612345678", "text": "x", "from": "TWELVECHARS!"}),
            &[("/from", "sender_too_long")],
        ),
        (
            json!({"to": "+33612345678", "text": "x", "status": "sent", "tenant": "t"}),
            &[("/status", "unknown_field"), ("/tenant", "unknown_field")],
        ),
        (
            json!({"to": "+33612345678", "text": "x", "priority": 4}),
            &[("/priority", "priority_out_of_range")],
        ),
        (
            json!({"to": "+33612345678", "text": "x", "priority": 300}),
            &[("/priority", "priority_out_of_range")],
        ),
        (
            json!({"to": "+33612345678", "text": "x", "validity": "soon"}),
            &[("/validity", "duration_invalid")],
        ),
        (
            json!({"to": "+33612345678", "text": "x", "validity": 1}),
            &[("/validity", "validity_out_of_range")],
        ),
        (
            json!({"to": "+33612345678", "text": "x", "send_at": "tomorrow"}),
            &[("/send_at", "time_invalid")],
        ),
        (
            json!({"to": "+33612345678", "text": "x", "send_at": "2126-01-01T00:00:00Z"}),
            &[("/send_at", "send_at_too_far")],
        ),
        (
            json!({"to": "+33612345678", "text": "х", "encoding": "gsm"}),
            &[("/text", "text_not_gsm")],
        ),
        (
            json!({"to": "+33612345678", "params": {}, "template": "t"}),
            &[("/template", "template_not_found")],
        ),
        (
            json!({"to": "+33612345678", "text": "x", "metadata": {"a": "x".repeat(5000)}}),
            &[("/metadata", "metadata_too_large")],
        ),
    ] {
        let refused = gateway.admin.post("/v1/messages", &body).await;
        refused.problem(422);
        let mut got = refused.errors();
        let mut expected = errors.to_vec();
        got.sort_unstable();
        expected.sort_unstable();
        assert_eq!(got, expected, "{body}");
        assert!(
            !refused.text().contains("612345678"),
            "no number in an error"
        );
    }
    let list = gateway.admin.get("/v1/messages").await;
    assert_eq!(list.json["data"], json!([]));
}

#[tokio::test]
async fn forms_plain_text_and_compressed_bodies_are_415() {
    let gateway = gateway().await;
    let body = hello().to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let headers = [("Content-Type", kind)];
        let refused = gateway
            .admin
            .send("POST", "/v1/messages", &headers, body.as_bytes())
            .await;
        assert_eq!(refused.problem(415), "unsupported_media_type");
    }
    let none = gateway
        .admin
        .send("POST", "/v1/messages", &[], body.as_bytes())
        .await;
    assert_eq!(none.problem(415), "unsupported_media_type");
    let headers = [("Content-Encoding", "gzip")];
    let zipped = gateway
        .admin
        .post_raw("/v1/messages", &headers, body.as_bytes())
        .await;
    assert_eq!(zipped.problem(415), "unsupported_encoding");
}

#[tokio::test]
async fn bodies_and_batches_that_are_too_large_are_refused_and_the_sender_can_read_it() {
    let gateway = gateway().await;
    let ten_megabytes = format!(
        r#"{{"to":"+33612345678","text":"{}"}}"#,
        "x".repeat(10 << 20)
    );
    for path in ["/v1/messages", "/v1/batches"] {
        let refused = gateway
            .admin
            .post_raw(path, &[], ten_megabytes.as_bytes())
            .await;
        assert_eq!(refused.problem(413), "body_too_large");
    }
    let list = |count: usize, number: &str| {
        format!(
            r#"{{"to":[{}"1"],"text":"x"}}"#,
            format!("\"{number}\",").repeat(count - 1)
        )
    };
    let refused = gateway
        .admin
        .post_raw("/v1/batches", &[], list(100_000, "+33612345678").as_bytes())
        .await;
    assert_eq!(refused.problem(413), "body_too_large");
    let refused = gateway
        .admin
        .post_raw("/v1/batches", &[], list(100_000, "1").as_bytes())
        .await;
    assert_eq!(refused.problem(422), "too_many_recipients");
    let taken = gateway
        .admin
        .post_raw("/v1/batches", &[], list(1000, "+33612345678").as_bytes())
        .await;
    assert_eq!(taken.status, 202);
    assert_eq!(taken.json["accepted"], 999);
}

#[tokio::test]
async fn a_client_that_asks_leave_to_send_is_refused_before_it_does() {
    use tokio::io::AsyncWriteExt;
    let gateway = gateway().await;
    let mut stream = tokio::net::TcpStream::connect(gateway.admin.address)
        .await
        .unwrap();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 10000000\r\nExpect: 100-continue\r\n\r\n",
        crate::ADMIN
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = crate::client::read_until(&mut stream, "body_too_large").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn marketing_over_the_sim_of_a_modem_is_refused_by_send_batch_and_preview() {
    let gateway = gateway().await;
    gateway.policy.send_modify(|policy| {
        let rules = Arc::make_mut(policy);
        rules.modems.insert("orange".into(), ModemRules::default());
    });
    let client = &gateway.admin;
    let (mut soldes, code) = (hello(), "commercial_on_modem");
    soldes["class"] = "commercial".into();
    for path in ["/v1/messages", "/v1/preview"] {
        let refused = client.post(path, &soldes).await;
        assert_eq!(refused.problem(422), code, "{path}");
        assert_eq!(refused.errors(), [("/class", code)]);
    }
    let batch = json!({"messages": [hello(), soldes]});
    let taken = client.post("/v1/batches", &batch).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    assert_eq!(taken.json["accepted"], 1);
    let error = &taken.json["results"][1]["errors"][0];
    assert_eq!(
        (&error["pointer"], &error["code"]),
        (&json!("/messages/1/class"), &json!(code))
    );
    let all = json!({"to": ["0612345678"], "text": "Soldes", "class": "commercial"});
    let refused = client.post("/v1/batches", &all).await;
    assert_eq!(refused.errors(), [("/class", code)]);
}
