//! A database of the SQLite storage as a source: what it gives is what the journal of the same events gives.

use super::*;
use capture_pipeline::storage::sqlite::{Options, SqliteStorage};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

/// A journal that `make` writes, and the database that has its events.
fn both(make: impl FnOnce(&Path)) -> (Scratch, String, String) {
    let scratch = Scratch::new();
    let (journal, database) = (scratch.path().join("journal"), text(&scratch.path().join("events.db")));
    make(&journal);
    let journal = text(&journal);
    well(&["export", &journal, &database]);
    (scratch, journal, database)
}

/// The files that an export to a format has written, by their names behind that of the output.
fn exported(from: &str, to: &str, format: &str, more: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let out = text(&Path::new(from).with_file_name(format!("{to}.{format}")));
    let done = run(&[&["export", from, &out], more].concat());
    assert_eq!(done.status, 0, "{format}: {}", done.err);
    let mut files = BTreeMap::new();
    let mut folders = vec![(String::new(), PathBuf::from(&out))];
    while let Some((name, path)) = folders.pop() {
        if path.is_dir() {
            let entries =
                std::fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry"));
            folders.extend(
                entries.map(|entry| (format!("{name}/{}", text(entry.file_name().as_ref())), entry.path())),
            );
        } else {
            files.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
    files
}

/// What a run's resource and its ledger say is in lines of their own; the ledger is in no database.
fn without_ledger(mut files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    if let Some(metrics) = files.get_mut("/metrics.jsonl") {
        let lines = String::from_utf8(std::mem::take(metrics)).expect("UTF-8");
        let kept = lines.lines().filter(|line| !line.contains("capture_pipeline.events."));
        *metrics = kept.collect::<Vec<_>>().join("\n").into_bytes();
    }
    files.retain(|_, content| !content.is_empty());
    files
}

#[test]
fn a_database_exports_to_the_same_files_as_the_journal() {
    type Make = fn(&Path);
    let journals: [(&str, Make); 4] = [
        ("mixed", |path| journals::mixed(path, 4_000)),
        ("crossed", journals::crossed),
        ("boots", journals::boots),
        ("stacks", journals::stacks),
    ];
    for (name, make) in journals {
        let (_scratch, journal, database) = both(make);
        for (format, more) in [
            ("ndjson", &[][..]),
            ("ndjson", &["--order", "time", "--force"]),
            ("csv", &[]),
            ("parquet", &[]),
            ("pftrace", &[]),
            ("json", &[]),
            ("folded", &[]),
            ("otlp", &[]),
            ("ctf", &[]),
        ] {
            let from_journal = without_ledger(exported(&journal, "a", format, more));
            let from_database = without_ledger(exported(&database, "b", format, more));
            assert!(
                format == "folded" || from_journal.values().all(|content| content.len() > 50),
                "{name} {format}"
            );
            assert!(from_journal == from_database, "{name} {format} {more:?}");
        }
        assert_eq!(well(&["cat", "--json", &journal]), well(&["cat", "--json", &database]), "{name}");
    }
}

#[test]
fn what_is_asked_for_is_found_in_a_database_too() {
    let (_scratch, journal, database) = both(|path| journals::mixed(path, 4_000));
    // (Above 2^63, which is a negative number in the database.)
    let hops = well(&["cat", &journal, "--kind", "hop"]);
    let id =
        hops.split("correlation_id=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an id");
    for selection in [
        &["--kind", "call"][..],
        &["--kind", "9", "--kind", "job"],
        &["--where", "request.size > 1000 or len = 3"],
        &["--from", "+1ms", "--until", "+2ms"],
        &["--from", "-500us"],
        &["--correlation-id", id],
        &["--run", "a1"],
        &["--order", "stored"],
        &["-n", "17"],
    ] {
        let ask = |path: &str| well(&[&["cat", "--ids", path], selection].concat());
        let from_journal = ask(&journal);
        assert_eq!(from_journal, ask(&database), "{selection:?}");
        assert!(!from_journal.is_empty(), "{selection:?}: {from_journal}");
    }
    for (selection, part) in [
        (&["--run", "a2"][..], "no run 00000000000000a2"),
        (&["--kind", "nothing"], "no kind nothing"),
        (&["--where", "nothing = 1"], "no field nothing"),
    ] {
        let message = refused(&[&["cat", &database], selection].concat());
        assert!(message.contains(part), "{message}");
    }
    let tail = |path: &str| well(&["tail", path, "-n", "5"]);
    assert_eq!(tail(&journal), tail(&database));
    assert!(refused(&["tail", "--follow", &database]).contains("cannot be followed"));
}

#[test]
fn a_database_is_listed_with_what_it_says_about_its_runs() {
    let (scratch, journal) = journal();
    let database = text(&scratch.path().join("events.db"));
    well(&["export", &journal, &database]);
    let listed = well(&["ls", &text(scratch.path())]);
    assert!(
        listed
            .lines()
            .any(|line| line.contains("events.db") && line.ends_with("  database  host=alpha version=1.2")),
        "{listed}"
    );
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let lines = well(&["stat", &database]);
    for part in ["feed000000000001", "Events: 13", "host = alpha", "ledger    none", "sample", "point"] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let verified = well(&["verify", &database]);
    assert!(verified.contains("ok: 13 events in a database of 1 run"), "{verified}");
    // An event that was stored twice with two contents, and those that were deleted, are told.
    let own = Connection::open(&database).expect("a database");
    own.execute_batch("UPDATE runs SET conflicts = 1, deleted = 7; PRAGMA wal_checkpoint(TRUNCATE)")
        .expect("changed");
    drop(own);
    let done = run(&["stat", &database]);
    assert!(done.status == 1 && done.err.contains("1 event with two contents"), "{}", done.err);
    assert!(done.out.contains("7 events were deleted"), "{}", done.out);
}

#[test]
fn what_is_only_in_the_log_of_a_database_is_read_and_nothing_is_changed() {
    let (_scratch, journal, database) = both(|path| journals::mixed(path, 500));
    let all = well(&["cat", "--json", &journal]);
    let wal = format!("{database}-wal");
    let folder = Path::new(&database).parent().expect("a directory").to_path_buf();
    let names = || {
        let entries = std::fs::read_dir(&folder).expect("a directory");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    // Nothing is made beside a database that nobody has open, in a directory where nothing could be.
    let before = names();
    assert_eq!(before.len(), 2, "{before:?}");
    let bytes = std::fs::read(&database).expect("the database");
    assert_eq!(well(&["cat", "--json", &database]), all);
    assert_eq!((names(), std::fs::read(&database).expect("the database") == bytes), (before, true));
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).expect("changed");
    assert_eq!(well(&["cat", "--json", &database]), all);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).expect("changed");
    // Another program has it open, and its last rows are in the log alone.
    let writer = Connection::open(&database).expect("a database");
    writer
        .execute_batch("PRAGMA wal_autocheckpoint = 0; DELETE FROM events WHERE id > 400")
        .expect("deleted");
    assert!(std::fs::metadata(&wal).expect("the log").len() > 0);
    let fewer = well(&["cat", "--json", &database, "--order", "stored"]);
    assert_eq!(fewer.lines().count(), 400);
    drop(writer);
}

#[test]
fn a_database_of_another_program_and_a_damaged_one_are_refused_in_words() {
    let (scratch, _journal, database) = both(|path| journals::mixed(path, 4_000));
    let at = |name: &str| text(&scratch.path().join(name));
    let copy = |name: &str| {
        std::fs::copy(&database, at(name)).expect("a copy");
        at(name)
    };
    let change = |name: &str, sql: &str| {
        let path = copy(name);
        let own = Connection::open(&path).expect("a database");
        own.execute_batch(&format!("{sql}; PRAGMA wal_checkpoint(TRUNCATE)")).expect("changed");
        path
    };
    let foreign = at("foreign.db");
    Connection::open(&foreign).and_then(|own| own.execute_batch("CREATE TABLE t(x)")).expect("a database");
    let later = change("later.db", "PRAGMA user_version = 99");
    let evil =
        change("evil.db", "ALTER TABLE events RENAME TO hidden; CREATE VIEW events AS SELECT * FROM hidden");
    let cut = copy("cut.db");
    std::fs::File::options().write(true).open(&cut).and_then(|file| file.set_len(40_000)).expect("cut");
    let broken = copy("broken.db");
    let mut bytes = std::fs::read(&broken).expect("a file");
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle - 40_960..middle + 40_960].fill(0xA5);
    std::fs::write(&broken, bytes).expect("written");
    let text_kind = change("strange.db", "UPDATE events SET kind = 'x' WHERE id = 7");
    let stray = change("stray.db", "UPDATE events SET run = 77 WHERE id = 7");
    let empty = at("empty.db");
    drop(SqliteStorage::open(Path::new(&empty), Options::default()).expect("a storage"));
    for (path, part) in [
        (&foreign, "another program's"),
        (&later, "user_version"),
        (&evil, "events is not accepted"),
        (&cut, "malformed"),
        (&broken, "damaged"),
        (&text_kind, "the database is damaged: a number"),
        (&stray, "a run that is not in it"),
        (&empty, "no run"),
    ] {
        let done = run(&["export", path, &at("out.ndjson"), "--order", "time"]);
        assert_eq!(done.status, 2, "{path}: {}", done.err);
        assert!(done.err.contains(part) && done.err.contains(path.as_str()), "{part}: {}", done.err);
        assert!(!Path::new(&at("out.ndjson")).exists(), "{path}");
    }
    // A file that only begins as one.
    let short = at("short.db");
    std::fs::write(&short, b"SQLite format 3\0").expect("written");
    assert!(refused(&["cat", &short]).contains("short.db"));
}
