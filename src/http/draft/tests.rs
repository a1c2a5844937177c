#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::batch::{Batch, BatchError, read as batch};
use super::*;

fn codes(body: &str) -> Vec<(String, &'static str)> {
    message(body.as_bytes())
        .unwrap()
        .errors
        .into_iter()
        .map(|error| (error.pointer.unwrap().into_owned(), error.code))
        .collect()
}

#[test]
fn a_full_body_is_read_whole() {
    let decoded = message(
        r#" {"to":"+33612345678","from":"CCAS","text":"h\u00e9","send_at":"2026-10-05T19:00:00+02:00",
            "validity":"48h","class":"commercial","type":"letter","reference":"r1","encoding":"gsm",
            "max_parts":2,"priority":3,"webhook_url":"https://example.org/h","metadata":{"a":[1]},
            "on_doubt":"fail"} "#
            .as_bytes(),
    )
    .unwrap();
    assert_eq!(decoded.errors, []);
    let draft = decoded.draft;
    assert_eq!(
        (draft.to.as_str(), draft.text.as_str()),
        ("+33612345678", "hé")
    );
    assert_eq!(draft.send_at.unwrap().rfc3339(), "2026-10-05T17:00:00.000Z");
    assert_eq!(draft.validity, Some(Duration::from_hours(48)));
    assert_eq!(draft.class, Some(Class::Commercial));
    assert_eq!(draft.encoding, Some(Encoding::Gsm));
    assert_eq!((draft.max_parts, draft.priority), (Some(2), Some(3)));
    assert_eq!(draft.on_doubt, Some(OnDoubt::Fail));
    assert_eq!(draft.metadata.unwrap()["a"][0], 1);
}

#[test]
fn null_is_the_same_as_leaving_an_optional_field_out() {
    let decoded = message(br#"{"to":"1","text":"x","from":null,"validity":null,"class":null}"#);
    assert_eq!(decoded.unwrap().errors, []);
    assert_eq!(
        codes(r#"{"to":null,"text":"x"}"#),
        [("/to".into(), "wrong_type")]
    );
}

#[test]
fn every_wrong_field_is_named_at_once() {
    assert_eq!(
        codes(r#"{"to":33612345678,"text":["x"],"priority":-1,"a/b":1,"class":"urgent"}"#),
        [
            ("/to".into(), "wrong_type"),
            ("/text".into(), "wrong_type"),
            ("/priority".into(), "out_of_range"),
            ("/a~1b".into(), "unknown_field"),
            ("/class".into(), "unknown_value"),
        ]
    );
    assert_eq!(
        codes("{}"),
        [("/to".into(), "required"), ("/text".into(), "required")]
    );
    assert_eq!(
        codes(r#"{"to":"1","to":"2","text":"x","status":"sent"}"#),
        [
            ("/to".into(), "duplicate_field"),
            ("/status".into(), "unknown_field")
        ]
    );
    for body in ["[]", "1", "-1", "1.5", "\"x\"", "null", "true", "[[{}]]"] {
        assert_eq!(codes(body), [(String::new(), "wrong_type")], "{body}");
    }
}

#[test]
fn plans_are_read_in_either_writing() {
    let flat = r#""anchors":["2026-10-05T19:00:00+02:00","2026-10-04T19:00:00Z"],"offset":"-3h""#;
    let nested = format!(r#""send_at":{{{flat}}}"#);
    for members in [flat, &nested] {
        let body = format!(r#"{{"to":"1","text":"x",{members}}}"#);
        let draft = message(body.as_bytes()).unwrap().draft;
        assert_eq!(draft.anchors.len(), 2, "{body}");
        assert_eq!(draft.offset_ms, Some(-3 * 3600 * 1000));
    }
    for (members, pointer, code) in [
        (
            r#""anchors":["2026-10-05T19:00:00"]"#,
            "/anchors",
            "time_invalid",
        ),
        (r#""anchors":[1]"#, "/anchors", "wrong_type"),
        (r#""offset":"soon""#, "/offset", "duration_invalid"),
        (r#""offset":"--3h""#, "/offset", "duration_invalid"),
        (r#""send_at":{"at":1}"#, "/send_at", "unknown_field"),
        (r#""send_at":{}"#, "/send_at", "anchor_missing"),
        (
            r#""send_at":{"offset":"-3h"}"#,
            "/send_at",
            "anchor_missing",
        ),
        (r#""anchors":[]"#, "/anchors", "anchor_missing"),
        (r#""signature":"yes""#, "/signature", "wrong_type"),
    ] {
        let body = format!(r#"{{"to":"1","text":"x",{members}}}"#);
        assert_eq!(codes(&body), [(pointer.into(), code)], "{body}");
    }
    assert!(codes(r#"{"to":"1","template":"t"}"#).is_empty());
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    let deep = "[".repeat(100_000);
    for body in [
        "",
        "{",
        "{\"to\":\"1\",}",
        "{\"to\":\"\\ud800\",\"text\":\"x\"}",
        "{\"to\":\"1\",\"text\":\"\\udc00\\ud800\"}",
        "{\"text\":\"a\u{0}b\"}",
        "{\"priority\":1e999}",
        "{} {}",
        deep.as_str(),
    ] {
        let error = message(body.as_bytes()).unwrap_err();
        assert!(error.line() >= 1, "{error}");
    }
    assert!(message(b"{\"text\":\"\xff\"}").is_err());
    // A NUL that is written as an escape is JSON; the engine refuses it.
    assert!(
        message(br#"{"to":"1","text":"a\u0000b"}"#)
            .unwrap()
            .errors
            .is_empty()
    );
}

#[test]
fn the_list_of_errors_and_what_it_repeats_are_bounded() {
    let body: String = (0..5_000)
        .map(|n| format!("\"{n}{}\":1,", "x".repeat(200)))
        .collect();
    let decoded = message(format!("{{{}\"z\":1}}", body).as_bytes()).unwrap();
    assert_eq!(decoded.errors.len(), ERRORS_MAX);
    assert!(decoded.errors[0].pointer.as_ref().unwrap().len() <= NAME_SHOWN + 1);
}

#[test]
fn durations_are_seconds_or_text() {
    for (text, millis) in [
        ("48h", 172_800_000),
        ("30m", 1_800_000),
        ("2d", 172_800_000),
        ("90s", 90_000),
        ("250ms", 250),
        ("1h30m", 5_400_000),
        (" 1h 30m ", 5_400_000),
    ] {
        assert_eq!(
            parse_duration(text),
            Some(Duration::from_millis(millis)),
            "{text}"
        );
    }
    for bad in [
        "",
        "48",
        "h",
        "1.5h",
        "-1h",
        "1w",
        "99999999999999999999h",
        "1h x",
        "5000000000000000000d",
    ] {
        assert_eq!(parse_duration(bad), None, "{bad}");
    }
    assert_eq!(
        duration(Value::from(3600)).unwrap(),
        Duration::from_secs(3600)
    );
    assert_eq!(
        duration(Value::from(1.5)).unwrap_err().0,
        "duration_invalid"
    );
    assert_eq!(duration(Value::from(true)).unwrap_err().0, "wrong_type");
}

#[test]
fn every_field_is_set_and_described() {
    let mut draft = Draft::default();
    for field in FIELDS {
        // A value of no use to the field must be refused by each: none falls through.
        let useless = if field == "signature" {
            Value::from(1)
        } else {
            Value::from(true)
        };
        assert!(set(&mut draft, field, useless).is_err(), "{field}");
    }
    let schema = serde_json::to_value(<NewMessage as utoipa::PartialSchema>::schema()).unwrap();
    let mut described: Vec<_> = schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let mut read = FIELDS.map(str::to_owned).to_vec();
    described.sort();
    read.sort();
    assert_eq!(described, read);
}

#[test]
fn both_shapes_of_a_batch_are_read() {
    let body = br#"{"messages":[{"to":"1","text":"a"},7,{"to":"2"}]}"#;
    let Batch::Messages(items) = batch(body, 10).unwrap() else {
        panic!("messages")
    };
    let errors: Vec<_> = items.iter().map(|item| item.errors.len()).collect();
    assert_eq!(errors, [0, 1, 1]);

    let body = br#"{"to":["1",2,{"to":"3"},{"to":"4","params":{"n":1}},{"params":{}},
        {"to":"5","params":[]},{"to":"6","text":"x"}],"text":"a","type":"t"}"#;
    let Batch::Fanout { common, to } = batch(body, 10).unwrap() else {
        panic!("fan-out")
    };
    assert_eq!(common.draft.kind.as_deref(), Some("t"));
    let recipients: Vec<_> = to
        .iter()
        .map(|recipient| match recipient {
            Ok(recipient) => (recipient.to.as_str(), recipient.params.is_some()),
            Err(error) => (error.pointer.as_deref().unwrap(), false),
        })
        .collect();
    assert_eq!(
        recipients,
        [
            ("1", false),
            ("/to/1", false),
            ("3", false),
            ("4", true),
            ("/to/4/to", false),
            ("/to/5/params", false),
            ("/to/6", false),
        ]
    );
}

#[test]
fn a_batch_that_is_none_says_why() {
    for (body, pointer, code) in [
        ("{}", "/messages", "required"),
        ("[]", "", "wrong_type"),
        (r#"{"messages":[]}"#, "/messages", "batch_empty"),
        (r#"{"messages":{}}"#, "/messages", "wrong_type"),
        (r#"{"to":"1","text":"x"}"#, "/to", "wrong_type"),
        (r#"{"to":[],"text":"x"}"#, "/to", "batch_empty"),
        (r#"{"to":["1"]}"#, "/text", "required"),
        (
            r#"{"to":["1"],"to":["2"],"text":"x"}"#,
            "/to",
            "duplicate_field",
        ),
        (r#"{"messages":[{}],"to":["1"]}"#, "/to", "messages_or_to"),
        (r#"{"messages":[{}],"text":"x"}"#, "/text", "messages_or_to"),
        (
            r#"{"messages":[{}],"params":{}}"#,
            "/params",
            "messages_or_to",
        ),
    ] {
        let Err(BatchError::Input(errors)) = batch(body.as_bytes(), 10) else {
            panic!("{body}")
        };
        assert_eq!(
            (errors[0].pointer.as_deref(), errors[0].code),
            (Some(pointer), code),
            "{body}"
        );
    }
    assert!(matches!(batch(b"{\"to\":[", 10), Err(BatchError::Json(_))));
}

#[test]
fn recipients_beyond_the_limit_are_counted_and_not_kept() {
    let body = format!(r#"{{"to":[{}"1"],"text":"x"}}"#, "\"1\",".repeat(99_999));
    assert!(matches!(
        batch(body.as_bytes(), 1000),
        Err(BatchError::TooMany(100_000))
    ));
    let body = format!(r#"{{"messages":[{}{{}}]}}"#, "{},".repeat(1000));
    assert!(matches!(
        batch(body.as_bytes(), 1000),
        Err(BatchError::TooMany(1001))
    ));
}
