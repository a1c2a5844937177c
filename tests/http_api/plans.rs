//! Plans, what is told once, changes, and lists that miss nothing, as clients meet them.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::{gateway, hello};

fn with(members: &Value) -> Value {
    let mut body = hello();
    let map = body.as_object_mut().unwrap();
    map.extend(members.as_object().unwrap().clone());
    body
}

async fn patch(client: &Client, id: &Value, body: &Value) -> Answer {
    let path = format!("/v1/messages/{}", id.as_str().unwrap());
    let headers = [("Content-Type", "application/json")];
    client
        .send("PATCH", &path, &headers, body.to_string().as_bytes())
        .await
}

const LATER: &str = "2027-01-01T19:00:00.000Z";

#[tokio::test]
async fn fifty_at_once_under_one_plan_leave_one_waiting_and_under_one_once_key_store_one() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    let plan = with(&json!({"schedule_key": "visit-7", "send_at": LATER}));
    let once = with(&json!({"once_key": "visit-7"}));
    let calls = (0..50).map(async |_| {
        (
            client.post("/v1/messages", &plan).await,
            client.post("/v1/messages", &once).await,
        )
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|(planned, _)| planned.status == 202));
    let new = answers
        .iter()
        .filter(|(_, told)| told.status == 202)
        .count();
    let duplicates = answers.iter().filter(|(_, told)| told.status == 200);
    assert_eq!((new, duplicates.count()), (1, 49));
    let ids: HashSet<_> = answers
        .iter()
        .map(|(_, told)| told.json["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1);
    let waiting = client.get("/v1/messages?status=pending").await;
    assert_eq!(waiting.json["data"].as_array().unwrap().len(), 2);
    let list = client
        .get("/v1/messages?schedule_key=visit-7&order=asc")
        .await;
    let list = list.json["data"].as_array().unwrap();
    assert_eq!(list.len(), 50);
    let last: Vec<_> = list.iter().filter(|it| it["status"] == "pending").collect();
    assert_eq!(last.len(), 1);
}

#[tokio::test]
async fn an_idempotency_key_gives_the_first_answer_again_whatever_its_plan_has_become() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    let first = with(&json!({"schedule_key": "k", "once_key": "o", "send_at": LATER})).to_string();
    let headers = [("Idempotency-Key", "one")];
    let taken = client
        .post_raw("/v1/messages", &headers, first.as_bytes())
        .await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    let next = with(&json!({"schedule_key": "k", "once_key": "o", "text": "autre"}));
    let next = client.post("/v1/messages", &next).await;
    assert_eq!(next.json["replaces"], taken.json["id"]);
    let again = client
        .post_raw("/v1/messages", &headers, first.as_bytes())
        .await;
    assert_eq!((again.status, &again.json["id"]), (202, &taken.json["id"]));
    assert_eq!(again.json["replaced_by"], next.json["id"]);
    assert_eq!(again.headers["idempotent-replayed"], "true");
    // A duplicate stays one.
    let told = with(&json!({"once_key": "o"})).to_string();
    let headers = [("Idempotency-Key", "two")];
    for replayed in [false, true] {
        let told = client
            .post_raw("/v1/messages", &headers, told.as_bytes())
            .await;
        assert_eq!((told.status, &told.json["id"]), (200, &next.json["id"]));
        assert_eq!(told.json["duplicate"], true);
        assert_eq!(told.headers.contains_key("idempotent-replayed"), replayed);
    }
}

#[tokio::test]
async fn a_batch_says_of_each_item_what_it_replaces_and_what_was_told_before() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    let plan = |key: &str| with(&json!({"schedule_key": key, "send_at": LATER}));
    let old = client.post("/v1/messages", &plan("a")).await.json["id"].clone();
    let told = client
        .post("/v1/messages", &with(&json!({"once_key": "o"})))
        .await
        .json["id"]
        .clone();
    let batch = json!({"messages": [plan("a"), with(&json!({"once_key": "o"})), plan("b"), plan("b"), hello()]});
    let answer = client.post("/v1/batches", &batch).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let results = answer.json["results"].as_array().unwrap();
    assert_eq!(results[0]["replaces"], old);
    assert_eq!(
        (&results[1]["id"], &results[1]["duplicate"]),
        (&told, &json!(true))
    );
    for n in [2, 3] {
        let error = &results[n]["errors"][0];
        assert_eq!(error["code"], "key_repeated");
        assert_eq!(error["pointer"], format!("/messages/{n}/schedule_key"));
    }
    assert_eq!(results[4]["accepted"], true);
    // One text for several is one plan for several, which cannot be.
    let fanout = json!({"to": ["0612345678", "0612345679"], "text": "x", "once_key": "o2"});
    let refused = client.post("/v1/batches", &fanout).await;
    assert_eq!(refused.problem(422), "key_repeated");
    assert_eq!(refused.errors(), [("/once_key", "key_repeated")]);
}

#[tokio::test]
async fn what_was_told_before_costs_nothing_of_a_quota() {
    let gateway = gateway().await;
    gateway.policy.send_modify(|policy| {
        let policy = std::sync::Arc::make_mut(policy);
        policy.limits.key_daily_messages = 2;
    });
    let client = gateway.client("ccas", &["send", "read"]).await;
    let told = with(&json!({"once_key": "o"}));
    for status in [202, 200, 200, 200] {
        assert_eq!(client.post("/v1/messages", &told).await.status, status);
    }
    assert_eq!(client.post("/v1/messages", &hello()).await.status, 202);
    assert_eq!(
        client.post("/v1/messages", &hello()).await.problem(429),
        "key_quota"
    );
    assert_eq!(client.post("/v1/messages", &told).await.status, 200);
}

#[tokio::test]
async fn a_change_is_held_to_the_rules_and_leaves_the_rest_alone() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    let body = with(&json!({
        "from": "CCAS", "send_at": LATER, "validity": "2h", "metadata": {"a": 1}, "reference": "r",
        "webhook_url": "https://client.example/h", "schedule_key": "k"
    }));
    let message = client.post("/v1/messages", &body).await.json;
    let id = &message["id"];
    let same = patch(client, id, &json!({"priority": 3})).await;
    assert_eq!(same.status, 200, "{}", same.text());
    for member in [
        "text",
        "from",
        "send_at",
        "expires_at",
        "metadata",
        "reference",
        "schedule_key",
        "to",
    ] {
        assert_eq!(same.json[member], message[member], "{member}");
    }
    let changed = patch(
        client,
        id,
        &json!({
            "text": "Ça va ?", "send_at": "2027-01-02T19:00:00Z", "metadata": null, "from": "OPTIC"
        }),
    )
    .await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json["encoding"], "gsm");
    assert_eq!(
        changed.json["expires_at"], "2027-01-02T21:00:00.000Z",
        "still two hours"
    );
    assert_eq!(changed.json["from"], "OPTIC");
    assert!(changed.json.get("metadata").is_none());
    assert_eq!(changed.json["eta"], "2027-01-02T19:00:00.000Z");
    let read = client
        .get(&format!("/v1/messages/{}", id.as_str().unwrap()))
        .await;
    assert_eq!(read.json, changed.json);

    for (change, status, pointer, code) in [
        (json!({"text": ""}), 422, "/text", "text_empty"),
        (
            json!({"priority": 9}),
            422,
            "/priority",
            "priority_out_of_range",
        ),
        (
            json!({"validity": "1s"}),
            422,
            "/validity",
            "validity_out_of_range",
        ),
        (json!({"offset": "-3h"}), 422, "/anchors", "anchor_missing"),
        (
            json!({"anchors": ["2020-01-01T00:00:00Z"]}),
            422,
            "/offset",
            "offset_before_now",
        ),
        (
            json!({"webhook_url": "ftp://x"}),
            422,
            "/webhook_url",
            "webhook_url_refused",
        ),
        (json!({"to": "0612345678"}), 422, "/to", "not_changeable"),
        (json!({"text": null}), 422, "/text", "wrong_type"),
    ] {
        let refused = patch(client, id, &change).await;
        refused.problem(status);
        assert_eq!(refused.errors(), [(pointer, code)], "{change}");
    }
    let read = client
        .get(&format!("/v1/messages/{}", id.as_str().unwrap()))
        .await;
    assert_eq!(
        read.json, changed.json,
        "what was refused has changed nothing"
    );
    let stranger = gateway.client("other", &["send"]).await;
    assert_eq!(
        patch(&stranger, id, &json!({"priority": 1}))
            .await
            .problem(404),
        "not_found"
    );
    let reader = gateway.client("default", &["read"]).await;
    assert_eq!(
        patch(&reader, id, &json!({"priority": 1})).await.status,
        403
    );
    let broken = client
        .send(
            "PATCH",
            "/v1/messages/x",
            &[("Content-Type", "application/json")],
            b"{}",
        )
        .await;
    assert_eq!(broken.problem(404), "not_found");
}

#[tokio::test]
async fn changes_at_once_are_all_made() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    let body = with(&json!({"send_at": LATER, "from": "CCAS"}));
    let id = client.post("/v1/messages", &body).await.json["id"].clone();
    let changes = [
        json!({"priority": 3}),
        json!({"text": "autre"}),
        json!({"metadata": {"a": 1}}),
        json!({"from": "OPTIC"}),
        json!({"send_at": "2027-01-05T19:00:00Z"}),
    ];
    let calls = changes.iter().map(|change| patch(client, &id, change));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let read = client
        .get(&format!("/v1/messages/{}", id.as_str().unwrap()))
        .await
        .json;
    assert_eq!(
        (&read["text"], &read["from"]),
        (&json!("autre"), &json!("OPTIC"))
    );
    assert_eq!(read["metadata"], json!({"a": 1}));
    assert_eq!(read["send_at"], "2027-01-05T19:00:00.000Z");
    let changed = read["events"].as_array().unwrap().iter();
    assert_eq!(changed.filter(|it| it["event"] == "changed").count(), 5);
}

#[tokio::test]
async fn rounds_of_updated_since_miss_nothing_while_everything_changes() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    let work = async {
        for n in 0..60_u32 {
            let body = with(&json!({"reference": n.to_string(), "send_at": LATER}));
            let id = client.post("/v1/messages", &body).await.json["id"].clone();
            if n % 2 == 0 {
                let path = format!("/v1/messages/{}", id.as_str().unwrap());
                assert_eq!(client.delete(&path).await.status, 200);
            }
        }
    };
    let known = std::sync::Mutex::new(BTreeMap::new());
    let round = async |since: String| {
        let first = format!("/v1/messages?limit=7&updated_since={since}");
        let mut path = first.clone();
        loop {
            let page = client.get(&path).await.json;
            for it in page["data"].as_array().unwrap() {
                let mut known = known.lock().unwrap();
                let entry = known
                    .entry(it["id"].to_string())
                    .or_insert((0, Value::Null));
                let revision = it["revision"].as_u64().unwrap();
                if revision >= entry.0 {
                    *entry = (revision, it["status"].clone());
                }
            }
            let Some(next) = page["next_cursor"].as_str() else {
                return page["next_updated_since"].as_str().unwrap().to_owned();
            };
            path = format!("{first}&cursor={next}");
        }
    };
    let done = std::sync::atomic::AtomicBool::new(false);
    let poll = async {
        let mut since = "2000-01-01T00:00:00Z".to_owned();
        loop {
            let last = done.load(std::sync::atomic::Ordering::SeqCst);
            since = round(since).await;
            if last {
                return;
            }
        }
    };
    let work = async {
        work.await;
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    futures_util::future::join(work, poll).await;
    let known = known.into_inner().unwrap();
    assert_eq!(known.len(), 60);
    let cancelled = known.values().filter(|(_, status)| *status == "cancelled");
    assert_eq!(cancelled.count(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_list_is_a_spreadsheet_for_those_who_ask() {
    let gateway = gateway().await;
    let client = &gateway.admin;
    for n in 0..3 {
        let body = with(&json!({"reference": format!("=cmd|{n}"), "text": "a;\"b\"\nc"}));
        assert_eq!(client.post("/v1/messages", &body).await.status, 202);
        // Those of one millisecond have no order.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let by_parameter = client.get("/v1/messages?format=csv&limit=2").await;
    let by_header = client
        .send(
            "GET",
            "/v1/messages?limit=2",
            &[("Accept", "text/csv")],
            b"",
        )
        .await;
    for sheet in [&by_parameter, &by_header] {
        assert_eq!(sheet.status, 200);
        assert_eq!(sheet.headers["content-type"], "text/csv; charset=utf-8");
        assert!(sheet.headers.contains_key("relais-next-cursor"));
    }
    assert_eq!(by_parameter.body, by_header.body);
    let mut rows = csv::Reader::from_reader(by_parameter.body.as_slice());
    let names = rows.headers().unwrap().clone();
    let column = |name| names.iter().position(|it| it == name).unwrap();
    let rows: Vec<_> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(&rows[0][column("to")], "'+33612345678");
    assert_eq!(&rows[0][column("reference")], "'=cmd|2");
    assert_eq!(&rows[0][column("text")], "a;\"b\"\nc");
    assert_eq!(
        (&rows[0][column("status")], &rows[0][column("letter")]),
        ("pending", "I")
    );
    let cursor = &by_parameter.headers["relais-next-cursor"];
    let rest = client
        .get(&format!("/v1/messages?format=csv&cursor={cursor}"))
        .await;
    assert!(!rest.headers.contains_key("relais-next-cursor"));
    assert!(rest.text().contains("'=cmd|0"));
    for (query, parameter) in [
        ("format=xls", "format"),
        ("order=up", "order"),
        ("cursor=1.2", "cursor"),
    ] {
        let refused = client.get(&format!("/v1/messages?{query}")).await;
        refused.problem(422);
        assert_eq!(refused.errors()[0].0, parameter);
    }
}
