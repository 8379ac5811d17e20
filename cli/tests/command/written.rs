//! Journals that the library's storage has written.

use super::*;
use capture_pipeline::storage::journal::{Encoding, JournalStorage};
use capture_pipeline::storage::sqlite::{Options, SqliteStorage};
use service::{CACHE, NOTE, REQUEST, capture, close, request, start};

#[test]
fn every_event_that_was_captured_is_shown_and_exported_whatever_the_encoding() {
    for encoding in [Encoding::Raw, Encoding::Columns, Encoding::ColumnsLz4, Encoding::ColumnsZstd] {
        let scratch = Scratch::new();
        let journal = text(&scratch.path().join("journal"));
        let events = service::run(journal.as_ref(), encoding, 3, 10_000, |_| {});
        let out = well(&["verify", &journal]);
        assert!(out.contains("30,303 events") && events == 30_303, "{encoding:?}: {out}");
        let out = well(&["stat", &journal]);
        assert!(out.contains("ledger    30,303 offered") && out.contains("Losses: none"), "{out}");
        assert!(out.contains("took size status method path"), "{out}");
        let ls = well(&["ls", "--json", &journal]);
        assert!(ls.contains("\"events\":30303") && ls.contains("\"state\":\"complete\""), "{ls}");
        for (options, count) in [
            (&["--kind", "cache"][..], 300),
            (&["--kind", "note"], 3),
            (&["--where", "status = 503"], events_with_status(503)),
            (&["--where", "correlation_id in (1, 10001, 20001)"], 3),
        ] {
            let out = well(&[&["cat", &journal, "--order", "stored"], options].concat());
            assert_eq!(out.lines().count(), count, "{encoding:?} {options:?}");
        }
        // In the order of time: no line is before the one above it. (Wall times could be, because a clock may be set.)
        let out = well(&["cat", &journal, "--json"]);
        let times: Vec<u64> = out.lines().map(time_ns).collect();
        assert!(times.len() as u64 == events && times.is_sorted());
        let out = well(&["export", &journal, "-", "--to", "ndjson"]);
        assert_eq!(out.lines().count() as u64, events);
        assert!(out.contains("\"thread_name\":\"worker-2\""));
    }
}

/// The time in a line of JSON.
fn time_ns(line: &str) -> u64 {
    let (_, rest) = line.split_once("\"time_ns\":").expect("an event has its time");
    rest.split(',').next().and_then(|number| number.parse().ok()).expect("a number")
}

fn events_with_status(status: u16) -> usize {
    (1..=30_000).filter(|n| request(*n)[12..14] == status.to_le_bytes()).count()
}

/// The rows of a database, without what says how they were delivered.
fn rows(path: &str) -> Vec<String> {
    let database = rusqlite::Connection::open(path).expect("the database");
    let sql = "SELECT ring_id, sequence, time_ns, kind, correlation_id, node_id, weight, flags, hex(payload) FROM events ORDER BY 1, 2";
    let mut statement = database.prepare(sql).expect("prepared");
    let rows = statement.query_map([], |row| {
        let values = (0..9).map(|n| row.get_ref(n).map(|value| format!("{value:?}")));
        values.collect::<Result<Vec<_>, _>>().map(|values| values.join(" "))
    });
    rows.expect("rows").map(|row| row.expect("a row")).collect()
}

/// The views of kinds, with their rows.
fn views(path: &str) -> Vec<String> {
    let database = rusqlite::Connection::open(path).expect("the database");
    let all = |sql: &str| {
        let mut statement = database.prepare(sql).expect("prepared");
        let count = statement.column_count();
        let rows = statement.query_map([], |row| {
            let values = (0..count).map(|n| row.get_ref(n).map(|value| format!("{value:?}")));
            values.collect::<Result<Vec<_>, _>>().map(|values| values.join(" "))
        });
        rows.expect("rows").map(|row| row.expect("a row")).collect::<Vec<_>>()
    };
    let mut found =
        all("SELECT name, sql FROM sqlite_schema WHERE type IN ('view', 'table', 'index') ORDER BY 1");
    found.extend(all(
        "SELECT took, size, status, method, path, _sequence FROM kind_request ORDER BY _sequence",
    ));
    found.extend(all("SELECT hits, misses, _sequence FROM kind_cache ORDER BY _sequence"));
    found.extend(all("SELECT * FROM kinds ORDER BY 1"));
    found
}

#[test]
fn an_export_to_sqlite_is_what_the_sqlite_storage_would_have_stored() {
    let scratch = Scratch::new();
    let (journal, direct, exported) = (
        text(&scratch.path().join("journal")),
        text(&scratch.path().join("direct.db")),
        text(&scratch.path().join("exported.db")),
    );
    let sqlite = SqliteStorage::open(direct.as_ref(), Options::default()).expect("the database opens");
    let storage = JournalStorage::open(journal.as_ref(), Default::default()).expect("the journal opens");
    let pipelines = [start(sqlite), start(storage)];
    // Times of their own, so that both pipelines have the same.
    for n in 0..30_000 {
        for pipeline in &pipelines {
            let time = Some(n * 1_000 + 5);
            match n % 100 {
                0 => capture(
                    pipeline,
                    CACHE,
                    n,
                    time,
                    &[n.to_le_bytes(), (u64::MAX - n).to_le_bytes()].concat(),
                ),
                1 => capture(pipeline, NOTE, 0, time, format!("the {n}th").as_bytes()),
                _ => capture(pipeline, REQUEST, n, time, &request(n)),
            }
        }
    }
    pipelines.iter().for_each(close);
    well(&["export", &journal, &exported]);
    let (direct_rows, exported_rows) = (rows(&direct), rows(&exported));
    assert_eq!(direct_rows.len(), 30_000);
    assert!(direct_rows == exported_rows, "{:?} {:?}", &direct_rows[..3], &exported_rows[..3]);
    assert_eq!(views(&direct), views(&exported));
    // A journal does not know when an event with a time of its own was captured: its wall time is by its own time, as the reader shows it.
    let database = rusqlite::Connection::open(&exported).expect("the database");
    let sql = "SELECT min(wall_ns - time_ns) > 1500000000000000000 AND max(wall_ns - time_ns) - min(wall_ns - time_ns) < 60000000000 FROM events";
    assert!(database.query_row(sql, [], |row| row.get::<_, bool>(0)).expect("a row"));
}
