//! `export`. What is in the files is checked by other programs: `tests/cli/check.py`.

use super::*;
use capture_pipeline::kinds::{Definition, Field, Integer, Type};

#[test]
fn a_file_is_made_under_its_name_when_it_is_whole_and_no_other_is_replaced() {
    let (scratch, journal) = journal();
    for format in ["sqlite", "ndjson", "csv", "parquet", "pftrace"] {
        let file = scratch.path().join(format!("out.{format}"));
        let name = text(&file);
        // (Without the event that is centuries later: viewers of timelines do not take it.)
        assert_eq!(well(&["export", &journal, &name, "--until", "+20s"]), "", "{format}");
        let first = std::fs::read(&file).expect("the file");
        assert!(!first.is_empty());
        let message = refused(&["export", &journal, &name]);
        assert!(message.contains(&name) && message.contains("--force"), "{message}");
        assert_eq!(std::fs::read(&file).expect("the file"), first);
        well(&["export", "--force", &journal, &name, "--kind", "point"]);
        assert_ne!(std::fs::read(&file).expect("the file"), first, "{format}");
        // An export that fails leaves the file as it was, and none of its own.
        let before = std::fs::read(&file).expect("the file");
        refused(&["export", "--force", &journal, &name, "--where", "nothing = 1"]);
        assert_eq!(std::fs::read(&file).expect("the file"), before);
    }
    let names: Vec<_> = std::fs::read_dir(scratch.path()).expect("a directory").collect();
    assert_eq!(names.len(), 6, "{names:?}");
}

#[test]
fn the_format_is_asked_for_or_known_by_the_name() {
    let (scratch, journal) = journal();
    let base = text(scratch.path());
    for (name, start) in
        [("a.db", &b"SQLite format 3\0"[..]), ("a.jsonl", b"{\"generation\""), ("a.parquet", b"PAR1")]
    {
        let file = format!("{base}/{name}");
        well(&["export", &journal, &file]);
        assert!(std::fs::read(&file).expect("the file").starts_with(start), "{name}");
    }
    well(&["export", &journal, &format!("{base}/odd"), "--to", "csv"]);
    for (arguments, part) in [
        (&["export", &journal, &format!("{base}/x.txt")][..], "--to"),
        (&["export", &journal, "-"], "--to"),
        (&["export", &journal, "-", "--to", "perfetto", "--order", "stored"], "--order"),
        (&["export", &journal, "-", "--to", "parquet"], "standard output"),
        (&["export", &journal, &base, "--to", "csv"], "a directory"),
        (&["export", &journal, &format!("{base}/no/x.csv")], "No such file"),
        (&["export", &journal, &format!("{base}/no/x.db")], "/no/"),
        (&["export", "/nowhere", &format!("{base}/y.csv")], "/nowhere"),
    ] {
        let message = refused(arguments);
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
}

#[test]
fn csv_has_a_column_for_each_field() {
    let (_scratch, journal) = journal();
    let out = well(&["export", &journal, "-", "--to", "csv", "--kind", "point", "--order", "time"]);
    assert_eq!(
        out,
        "at,of,_wall_time,_time_ns,_generation,_ring_id,_sequence,_kind,_kind_name,_correlation_id,_node_id,_weight,_flags,_tid,_thread_name,_payload\n\
         140733498807928,-1,2023-11-14T22:13:22.000000014Z,2000000014,feed000000000001,1,1,8,point,0,0,1,0,4711,main,\n\
         18446744073709551615,-9223372036854775808,2023-11-14T22:13:27.000000049Z,7000000049,feed000000000001,2,3,8,point,0,0,1,1,18446744073709551615,wörker 2,\n\
         1,2,2023-11-14T22:13:30.000000070Z,10000000070,feed000000000001,1,5,8,point,0,0,1,0,4711,main,0100000000000000020000000000000009\n"
    );
    let out = well(&["export", &journal, "-", "--to", "csv", "--payload", "never"]);
    assert!(out.starts_with("sample.size,sample.change,"), "{out}");
    assert!(out.contains("point.at,point.of,_wall_time,"), "{out}");
    assert!(out.contains("\"green, light\"") && out.contains("\"größer, \"\"so\"\"\nzwei\""), "{out}");
}

#[test]
fn damage_is_told_and_the_rest_is_exported() {
    let (scratch, journal) = journal();
    damage(&segments(&journal)[0]);
    let file = text(&scratch.path().join("out.csv"));
    let done =
        run(&["export", &journal, &file, "--payload", "never", "--kind", "9", "--kind", "8", "--kind", "10"]);
    assert_eq!(done.status, 1);
    assert!(done.err.contains("1 damaged block"), "{}", done.err);
    assert_eq!(std::fs::read_to_string(&file).expect("the file").lines().count(), 1 + 7);
}

#[test]
fn a_log_beside_a_database_does_not_become_one_of_the_next_database() {
    let (scratch, journal) = journal();
    let file = text(&scratch.path().join("a.db"));
    let log = format!("{file}-wal");
    std::fs::write(&log, "of a database that was moved away").expect("written");
    let message = refused(&["export", &journal, &file]);
    assert!(message.contains(&log) && message.contains("--force"), "{message}");
    well(&["export", "--force", &journal, &file]);
    assert!(!std::path::Path::new(&log).exists() && std::path::Path::new(&file).exists());
}

/// A shell that runs the command: `$1` is the command itself, `$2` and so on are the arguments.
pub(super) fn shell(script: &str, arguments: &[&str]) -> Done {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_capture-pipeline")]).args(arguments);
    done(command.output().expect("the shell runs"))
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let (scratch, journal) = journal();
    let fifo = text(&scratch.path().join("fifo.csv"));
    assert_eq!(shell(r#"mkfifo "$2""#, &[&fifo]).status, 0);
    let device = text(&scratch.path().join("device.db"));
    std::os::unix::fs::symlink("/dev/null", &device).expect("a link");
    let folder = text(&scratch.path().join("folder.parquet"));
    std::os::unix::fs::symlink(scratch.path(), &folder).expect("a link");
    for (name, what) in [(&fifo, "FIFO"), (&device, "device"), (&folder, "a directory")] {
        let before = std::fs::symlink_metadata(name).expect("there").file_type();
        for arguments in [&["export", &journal, name][..], &["export", "--force", &journal, name]] {
            let message = refused(arguments);
            assert!(message.contains(name.as_str()) && message.contains(what), "{message}");
        }
        assert_eq!(std::fs::symlink_metadata(name).expect("there").file_type(), before);
    }
    assert_eq!(std::fs::read_dir(scratch.path()).expect("a directory").count(), 4);
}

/// In a container every command may have the same process id, and one that was killed has left its file behind.
#[test]
fn a_file_that_an_interrupted_export_left_behind_is_not_used() {
    let (scratch, journal) = journal();
    for format in ["db", "csv", "parquet", "pftrace"] {
        let file = text(&scratch.path().join(format!("out.{format}")));
        let hidden = text(&scratch.path().join(".out."));
        let script = r#""$1" export "$2" "$3" --until +20s && mv "$3" "$4$5.$$" && exec "$1" export "$2" "$3" --kind point"#;
        let done = shell(script, &[&journal, &file, &hidden, format]);
        assert_eq!((done.status, done.err.as_str()), (0, ""), "{format}");
        let alone = text(&scratch.path().join(format!("alone.{format}")));
        well(&["export", &journal, &alone, "--kind", "point"]);
        if format == "db" {
            let count = |file: &str, of: &str| {
                let database = rusqlite::Connection::open(file).expect("a database");
                database
                    .query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get::<_, i64>(0))
                    .expect("a count")
            };
            assert_eq!((count(&file, "events"), count(&alone, "events")), (3, 3));
            let attributes =
                "run_attributes WHERE (name, value) IN (VALUES('host', 'alpha'), ('version', '1.2'))";
            assert_eq!((count(&file, attributes), count(&alone, "run_attributes")), (2, 2));
        } else {
            assert_eq!(std::fs::read(&file).expect("the file"), std::fs::read(&alone).expect("the file"));
        }
    }
}

/// A journal is its owner's alone. Who may read an export is for the user to say.
#[test]
fn every_format_has_the_permissions_that_the_umask_leaves() {
    use std::os::unix::fs::PermissionsExt;
    let (scratch, journal) = journal();
    for (umask, mode) in [("077", 0o600), ("022", 0o644), ("007", 0o660)] {
        for format in ["db", "csv", "ndjson", "parquet", "pftrace"] {
            let file = text(&scratch.path().join(format!("{umask}.{format}")));
            let script = r#"umask "$4"; exec "$1" export "$2" "$3" --until +20s"#;
            let done = shell(script, &[&journal, &file, umask]);
            assert_eq!((done.status, done.err.as_str()), (0, ""), "{format}");
            let found = std::fs::metadata(&file).expect("the file").permissions().mode() & 0o777;
            assert_eq!(found, mode, "{format}: {found:o}");
        }
    }
}

/// An event has the fields of one kind. Those of all others take no memory for it: 1,200 columns of 50,000 rows.
#[test]
fn memory_does_not_grow_with_rows_times_columns() {
    const KINDS: u32 = 300;
    const EVENTS: u64 = 50_000;
    let scratch = Scratch::new();
    let mut builder = sample::segments::Builder::new(1, 1);
    for kind in 0..KINDS {
        let mut definition = Definition::new(kind, &format!("kind_{kind}"));
        let field = |n: u32| Field::new(&format!("field_{n}"), Type::Integer(Integer::U16), 2 * n);
        definition.fields = (0..4).map(field).collect();
        definition.fit();
        builder.definition(kind, &definition.to_bytes());
    }
    let event = |n: u64| sample::segments::Event::new(n, n, n.to_le_bytes()).kind(0);
    let events: Vec<_> = (0..EVENTS).map(event).collect();
    events.chunks(10_000).for_each(|events| _ = builder.events(1, events));
    builder.seal().write(scratch.path());
    let file = text(&scratch.path().join("wide.parquet"));
    let script = r#"ulimit -d 90000; exec "$1" export "$2" "$3" --compression none"#;
    let done = shell(script, &[&text(scratch.path()), &file]);
    assert_eq!((done.status, done.err.as_str()), (0, ""));
    let bytes = std::fs::read(&file).expect("the file");
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
}
