use super::answer::{self, List, MOST_BYTES};
use super::arguments::{self, Pages, Scope};
use super::events::Cursor;
use super::journals::Journals;
use super::message;
use crate::journal::Found;
use crate::kinds::{Asked, Kinds};
use capture_pipeline::journal::reader::{Event, Facts};
use capture_pipeline::kinds::{Definition, Field, Integer, Type};
use serde_json::{Value, json};

fn failure<T: std::fmt::Debug>(of: Result<T, crate::failure::Failure>) -> String {
    message(of.expect_err("it was not refused"))
}

fn object(value: Value) -> rmcp::model::JsonObject {
    value.as_object().cloned().expect("an object")
}

#[test]
fn a_list_takes_what_fits_and_its_first_value_always() {
    let value = format!("\"{}\"", "x".repeat(MOST_BYTES / 4));
    let mut list = List::new("events");
    let taken = (0..10).filter(|_| list.add(value.as_bytes())).count();
    assert_eq!(taken, 3);
    let text = list.finish(&[("next_cursor", json!("a-b"))]);
    assert!(text.len() <= MOST_BYTES, "{}", text.len());
    let read: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((read["events"].as_array().map(Vec::len), &read["next_cursor"]), (Some(3), &json!("a-b")));
    let mut list = List::new("events");
    let large = format!("\"{}\"", "x".repeat(MOST_BYTES));
    assert!(list.add(large.as_bytes()) && !list.add(b"1"));
    assert_eq!(List::new("events").finish(&[]), "{\"events\":[]}");
    assert!(failure(answer::bounded("x".repeat(2 * MOST_BYTES + 1))).contains("2097152"));
}

#[test]
fn a_cursor_is_read_as_it_was_shown() {
    let cursor = Cursor { times: (0, u64::MAX), last: (u64::MAX, 7, 1 << 53), asked: 0xab };
    assert_eq!(Cursor::parse(&cursor.show()), Some(cursor));
    for text in
        ["", "-", "1-2-3-4-5", "1-2-3-4-5-6-7", "1-2-3-4-5-g", "1-2-3-4-5-+6", "1-2-3-4-5-fffffffffffffffff"]
    {
        assert_eq!(Cursor::parse(text), None, "{text}");
    }
}

#[test]
fn unknown_arguments_and_wrong_types_are_refused() {
    let unknown = failure(arguments::read::<Pages>(object(json!({"wher": "a = 1"}))));
    assert!(unknown.contains("`wher`") && unknown.contains("`where`"), "{unknown}");
    assert!(failure(arguments::read::<Scope>(object(json!({"path": "/etc"})))).contains("`path`"));
    let rounded = failure(arguments::read::<Pages>(object(json!({"correlation_id": 1_u64 << 60}))));
    assert!(rounded.contains("expected a string"), "{rounded}");
    let pages: Pages =
        arguments::read(object(json!({"correlation_id": "18446744073709551615"}))).expect("arguments");
    let journals = Journals::new(&["/".into()]).expect("a directory");
    assert_eq!(pages.selection(&journals).expect("a selection").1.correlation_id, Some(u64::MAX));
    assert_eq!(arguments::limit(None, 10, 100).ok(), Some(10));
    assert!(failure(arguments::limit(Some(0), 10, 100)).contains("from 1 to 100"));
    assert!(failure(arguments::limit(Some(101), 10, 100)).contains("101"));
}

#[test]
fn no_journal_is_found_but_those_of_the_command_line() {
    let folder = std::env::temp_dir().join(format!("capture-pipeline-mcp-{}", std::process::id()));
    for name in ["a/same", "b/same", "other"] {
        std::fs::create_dir_all(folder.join(name)).expect("a folder");
    }
    let paths = ["a/same", "b/same", "other"].map(|name| folder.join(name));
    let journals = Journals::new(&paths).expect("journals");
    assert_eq!(journals.find(Some("other")).ok(), Some(2));
    assert_eq!(journals.find(Some("1")).ok(), Some(1));
    assert_eq!(journals.find(paths[0].to_str()).ok(), Some(0));
    for wanted in ["same", "3", "-1", "..", "/", "", folder.to_str().unwrap_or_default()] {
        assert!(failure(journals.find(Some(wanted))).contains("\"other\" (2)"), "{wanted}");
    }
    assert!(failure(journals.find(None)).contains("none is given"));
    assert_eq!(Journals::new(&paths[2..]).expect("a journal").find(None).ok(), Some(0));
    assert!(failure(Journals::new(&[folder.join("missing")])).contains("missing"));
    std::fs::remove_dir_all(&folder).expect("removed");
}

/// The JSON of an event of a kind with a u64, an i64, a u32 and a text.
fn json_of(payload: &[u8]) -> Value {
    let mut definition = Definition::new(7, "sample");
    definition.fields = vec![
        Field::new("size", Type::Integer(Integer::U64), 0),
        Field::new("change", Type::Integer(Integer::I64), 8),
        Field::new("count", Type::Integer(Integer::U32), 16),
        Field::new("text", Type::String, 20),
    ];
    definition.fit();
    let mut facts = Facts::default();
    facts.definitions.insert((1, 7), definition);
    let kinds = Kinds::new(&facts, Asked::default());
    let event = Event {
        generation: 1,
        ring_id: 2,
        sequence: 3,
        timestamp_ns: 4,
        realtime_ns: 5,
        correlation_id: u64::MAX,
        node_id: 0,
        kind: 7,
        flags: 0,
        weight: f64::NAN,
        segment: 0,
        payload,
    };
    let json = answer::event(Found { event: &event, kind: &kinds.list()[0], kind_at: 0, thread: None });
    assert!(json.len() <= MOST_BYTES / 4, "{}", json.len());
    serde_json::from_slice(&json).expect("JSON")
}

fn payload(text: &[u8]) -> Vec<u8> {
    [&9_u64.to_le_bytes()[..], &(-9_i64).to_le_bytes(), &9_u32.to_le_bytes(), text].concat()
}

#[test]
fn integers_of_64_bits_are_strings_and_others_are_numbers() {
    let event = json_of(&payload(b"a\"b"));
    assert_eq!(event["fields"], json!({"size": "9", "change": "-9", "count": 9, "text": "a\"b"}));
    let ids = ["ring_id", "sequence", "time_ns", "correlation_id", "node_id"].map(|name| event[name].clone());
    assert_eq!(ids, ["2", "3", "4", "18446744073709551615", "0"].map(|text| json!(text)));
    assert_eq!((&event["kind"], &event["weight"], event.get("is_cut")), (&json!(7), &Value::Null, None));
}

#[test]
fn of_a_large_event_the_beginning_is_shown() {
    // As many bytes as fit, but each is six characters of JSON.
    for text in [vec![b'x'; MOST_BYTES], vec![1; MOST_BYTES / 8]] {
        let event = json_of(&payload(&text));
        assert_eq!((&event["is_cut"], &event["payload_bytes"]), (&json!(true), &json!(text.len() + 20)));
        assert_eq!(event["fields"]["text"].as_str().map(str::len), Some(1_024 - 20));
        assert_eq!(event["fields"]["size"], json!("9"));
    }
    assert_eq!(json_of(&payload(&[b'x'].repeat(MOST_BYTES / 8))).get("is_cut"), None);
}

#[test]
fn a_request_that_was_cancelled_stops() {
    let asked = std::cell::Cell::new(0);
    let stopped = || asked.replace(asked.get() + 1) > 0;
    let watch = answer::Watch::new(&stopped);
    let looks = (0..10_000).take_while(|_| watch.look().is_ok()).count();
    assert!((1..=1_024).contains(&looks), "{looks}");
}
