//! Defined kinds: the fields of their payloads are columns, for every program that reads SQLite.

use crate::support::*;
use capture_pipeline::event::{EventView, PIPELINE_KIND_DEFINITION};
use capture_pipeline::kinds::{Definition, EnumValue, Field, Hint, Integer, Length, Type};
use capture_pipeline::manager::Pipeline;
use capture_pipeline::status::PIPELINE_ERR_STORAGE;
use capture_pipeline::storage::PIPELINE_STORE_OK;
use capture_pipeline::storage::sqlite::{OnFull, Options, SqliteStorage};
use rusqlite::Connection;
use std::path::Path;
use std::process::Command;

fn request() -> Definition {
    let mut request = Definition::new(7, "request");
    let states =
        ["open", "it's shut"].iter().zip(0..).map(|(name, value)| EnumValue { value, name: (*name).into() });
    request.fields = vec![
        Field {
            unit: "bytes".into(),
            hint: Hint::Bytes,
            ..Field::new("size", Type::Integer(Integer::U64), 0)
        },
        Field::new("site", Type::Address, 8),
        Field::new("load", Type::F64, 16),
        Field::new("state", Type::Enum { integer: Integer::U8, values: states.collect() }, 24),
        Field::new("order", Type::Integer(Integer::I16), 25),
        Field { length: Length::Fixed(6), ..Field::new("host", Type::String, 27) },
        Field::new("ratio", Type::F32, 33),
        Field::new("body", Type::Bytes, 37),
    ];
    request.fit();
    request
}

fn payload(size: u64, load: f64, state: u8, order: i16, host: &[u8; 6], body: &[u8]) -> Vec<u8> {
    let mut payload = [size.to_le_bytes(), (size >> 1).to_le_bytes(), load.to_le_bytes()].concat();
    payload.push(state);
    payload.extend(order.to_le_bytes());
    payload.extend(host);
    payload.extend((load as f32).to_le_bytes());
    payload.extend(body);
    payload
}

/// What the shell of the system says, which is another SQLite than the one that the library has. `None`: there is no shell here.
fn shell(path: &Path, sql: &str) -> Option<String> {
    match Command::new("sqlite3").arg("-batch").arg(path).arg(sql).output() {
        Ok(out) => {
            assert!(out.status.success(), "{sql}: {}", String::from_utf8_lossy(&out.stderr));
            Some(String::from_utf8(out.stdout).expect("text").trim_end().to_owned())
        }
        Err(why) => {
            println!("no sqlite3 shell here ({why}): read through the library only");
            None
        }
    }
}

/// The rows of a query, by the library's SQLite and by the shell, which must agree.
#[track_caller]
fn rows(path: &Path, sql: &str) -> String {
    let db = Connection::open(path).expect("it opens");
    let mut statement = db.prepare(sql).unwrap_or_else(|why| panic!("{sql}: {why}"));
    let columns = statement.column_count();
    let lines = statement
        .query_map([], |row| {
            let column = |n| {
                row.get_ref(n).map(|value| match value {
                    rusqlite::types::ValueRef::Null => String::new(),
                    rusqlite::types::ValueRef::Integer(value) => value.to_string(),
                    rusqlite::types::ValueRef::Real(value) => format!("{value:?}"),
                    rusqlite::types::ValueRef::Text(value) | rusqlite::types::ValueRef::Blob(value) => {
                        String::from_utf8_lossy(value).into_owned()
                    }
                })
            };
            Ok((0..columns).map(column).collect::<rusqlite::Result<Vec<_>>>()?.join("|"))
        })
        .and_then(Iterator::collect::<rusqlite::Result<Vec<_>>>)
        .unwrap_or_else(|why| panic!("{sql}: {why}"))
        .join("\n");
    if let Some(shown) = shell(path, sql) {
        assert_eq!(shown, lines, "the shell and the library");
    }
    lines
}

fn define(pipeline: &Pipeline, definition: &Definition) {
    pipeline.define_kind(definition.clone()).expect("defined");
}

#[test]
fn questions_about_fields_need_no_casts() {
    let scratch = Scratch::new();
    let path = scratch.file("events.db");
    let pipeline = start(patient(), &path, plain());
    assert_eq!(offer(&pipeline, 7, 0, 0, &payload(5, 0.5, 0, -2, b"before", b"")), 0);
    define(&pipeline, &request());
    for (correlation, event) in [
        payload(u64::MAX, -0.1, 1, i16::MIN, b"a\0bcde", b"GET /"),
        payload((1 << 63) - 1, 1e-310, 2, i16::MAX, b"abcdef", b""),
        payload(1 << 40, 1e300, 0, 0, b"\0bcdef", b"x"),
        payload(1 << 40, 12.75, 0, 3, b"host 1", b"y"),
        vec![1, 2, 3],
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(offer(&pipeline, 7, correlation as u64, 0, event), 0);
    }
    assert_eq!(offer(&pipeline, 8, 0, 0, b"of another kind"), 0);
    assert_eq!(end_balanced(pipeline).stored, 7);

    let all = "SELECT size, site, state, \"order\", host, CAST(body AS TEXT) FROM kind_request ORDER BY _id";
    assert_eq!(
        rows(&path, all),
        "5|0x2|open|-2|before|\n\
         18446744073709551615|0x7fffffffffffffff|it's shut|-32768|a|GET /\n\
         9223372036854775807|0x3fffffffffffffff|2|32767|abcdef|\n\
         1099511627776|0x8000000000|open|0||x\n\
         1099511627776|0x8000000000|open|3|host 1|y\n\
         |||||"
    );
    assert_eq!(
        rows(&path, "SELECT state, sum(size), count(*) FROM kind_request WHERE load > 0.5 GROUP BY state"),
        "open|2199023255552|2"
    );
    // Floats are exact: they equal those that SQLite itself has stored.
    let db = Connection::open(&path).expect("it opens");
    for (correlation, load) in [(0, -0.1), (1, 1e-310), (2, 1e300), (3, 12.75)] {
        let of =
            "FROM kind_request WHERE _correlation_id = ?1 AND size IS NOT NULL ORDER BY _id DESC LIMIT 1";
        let column = |name: &str| -> f64 {
            db.query_row(&format!("SELECT {name} {of}"), [correlation], |row| row.get(0)).expect(name)
        };
        assert_eq!(column("load").to_bits(), f64::to_bits(load));
        assert_eq!(column("ratio").to_bits(), f64::from(load as f32).to_bits());
    }
    drop(db);
    assert_eq!(rows(&path, "SELECT load FROM kind_request WHERE size = 5"), "0.5");
    assert_eq!(rows(&path, "SELECT name FROM definitions"), "request");
    assert_eq!(
        rows(&path, "SELECT kind_name, count(*) FROM events_view GROUP BY kind_name"),
        "|1\nrequest|6"
    );
    assert_eq!(rows(&path, "PRAGMA integrity_check"), "ok");
}

#[test]
fn a_view_is_there_while_the_pipeline_runs_and_shows_the_runs_with_its_layout() {
    let scratch = Scratch::new();
    let path = scratch.file("runs.db");
    let mut longer = request();
    longer.fields[0].field_type = Type::Integer(Integer::I64);
    for (definition, total) in
        [(request(), "1|1"), (request(), "2|2"), (longer.clone(), "1|3"), (request(), "3|4")]
    {
        let pipeline = start(patient(), &path, plain());
        define(&pipeline, &definition);
        assert_eq!(offer(&pipeline, 7, 0, 0, &payload(1, 0.0, 0, 0, b"hostxx", b"")), 0);
        until("the view", || {
            pipeline.flush(Some(PATIENCE)).expect("it flushes");
            let made = "SELECT count(*) FROM sqlite_schema WHERE name = 'kind_request'";
            count(&path, made) == 1 && shell(&path, made).is_none_or(|made| made == "1")
        });
        end_balanced(pipeline);
        let sums = "SELECT sum(size) || '|' || (SELECT count(*) FROM events) FROM kind_request";
        assert_eq!(rows(&path, sums), total);
    }
}

#[test]
fn an_altered_view_is_made_anew_and_an_altered_table_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.file("altered.db");
    let one = |expected: &str| {
        let pipeline = start(patient(), &path, plain());
        define(&pipeline, &request());
        assert_eq!(offer(&pipeline, 7, 0, 0, &payload(1, 0.0, 0, 0, b"hostxx", b"")), 0);
        end_balanced(pipeline);
        assert_eq!(rows(&path, "SELECT sum(size) FROM kind_request"), expected);
    };
    one("1");
    let change = |sql: &str| Connection::open(&path).and_then(|db| db.execute_batch(sql)).expect("changed");
    change("DROP VIEW kind_request; CREATE VIEW kind_request AS SELECT 4711 AS size");
    one("2");
    change("DROP VIEW kind_request");
    one("3");
    change("DROP VIEW kind_request; CREATE TABLE kind_request(size); INSERT INTO kind_request VALUES(5)");
    one("5");
    change("DROP TABLE defined_kinds; CREATE TABLE defined_kinds(run, kind, definition, layout)");
    let error = SqliteStorage::open(&path, plain()).err().expect("refused");
    assert_eq!(error.status, PIPELINE_ERR_STORAGE);
    assert!(error.detail.contains("defined_kinds"), "{}", error.detail);
}

/// The definition of a kind as a storage gets it.
fn told(definition: &Definition, bytes: &mut Vec<u8>) -> [EventView; 1] {
    *bytes = definition.to_bytes();
    [EventView {
        ring_id: 1,
        sequence: 0,
        timestamp_ns: 1,
        correlation_id: 0,
        node_id: definition.kind.into(),
        kind: PIPELINE_KIND_DEFINITION,
        flags: 0,
        weight: 1.0,
        data: bytes.as_ptr().cast(),
        len: bytes.len(),
    }]
}

#[test]
fn definitions_find_room_in_a_full_database_and_events_are_stored_whatever_becomes_of_the_views() {
    let scratch = Scratch::new();
    for on_full in [OnFull::DeleteOldest, OnFull::Reject] {
        let path = scratch.file(&format!("full-{on_full:?}.db"));
        let options = Options { max_bytes: 4 << 20, on_full, ..plain() };
        let storage = SqliteStorage::open(&path, options).expect("it opens");
        let large = vec![b'x'; 3_000];
        let batch = |from: u64| -> Vec<Sample> {
            (from..from + 50)
                .map(|sequence| Sample { ring: 1, sequence, kind: 300, payload: large.clone() })
                .collect()
        };
        let mut filled = 0;
        while deliver(&storage, 1, &batch(filled)).0 == PIPELINE_STORE_OK && filled < 3_000 {
            filled += 50;
        }
        // Each has a wire form of some 16 KB and a view of some 300 KB, far more than there is room for.
        let mut defined = 0;
        for kind in 300..340 {
            let mut definition = Definition::new(kind, &format!("k{kind}"));
            definition.fields = (0..64)
                .map(|n| {
                    let values =
                        (0..20).map(|value| EnumValue { value, name: format!("value {value}") }).collect();
                    Field::new(&format!("f{n}"), Type::Enum { integer: Integer::U64, values }, 8 * n)
                })
                .take(30)
                .collect();
            definition.fit();
            definition.check().expect("allowed");
            let mut bytes = Vec::new();
            defined +=
                i64::from(deliver_views(&storage, 1, &told(&definition, &mut bytes)).0 == PIPELINE_STORE_OK);
        }
        assert!(defined > 0);
        println!("{on_full:?}: {defined} definitions, {filled} events");
        let answer = deliver(&storage, 1, &batch(filled)).0;
        assert_eq!(answer == PIPELINE_STORE_OK, on_full == OnFull::DeleteOldest, "{on_full:?}");
        until_released(storage);
        assert!(bytes_on_disk(&path) <= 4 << 20);
        assert_eq!(count(&path, "SELECT count(*) FROM definitions"), defined);
        assert_eq!(value::<String>(&path, "PRAGMA integrity_check"), "ok");
    }
}
