//! `recover` and `snapshot`: what processes have in their ring files, while they run and when they were killed.

use super::living::{Living, STORED, WAITING};
use super::ring_files::{Event, RingFile, ended, process};
use super::*;
use capture_pipeline::event::PIPELINE_KIND_KIND_NAME;
use capture_pipeline::ring_file::format::ring;
use serde_json::{Value, json};

const GENERATION: u64 = 0xFEED_0000_0000_0001;

/// The payloads of events, which are numbers, as `cat --json` shows them, in their order.
fn numbers(path: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = well(&["cat", "--json", path]).lines().map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// The number that is the payload of an event in a line of JSON; all of them are of the kind `note`.
fn number(line: &str) -> u64 {
    let event: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(event["kind_name"], "note", "{line}");
    assert!(event["thread_name"].as_str().is_some_and(|name| !name.is_empty()), "{line}");
    let payload = event["payload"].as_str().expect("a payload");
    u64::from_str_radix(payload, 16).expect("hexadecimal").swap_bytes()
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The ring files in a directory, which has a lock beside them.
fn files_in(directory: &str) -> Vec<PathBuf> {
    let is_one = |path: &PathBuf| path.extension().is_some_and(|end| end == "rings");
    segments(directory).into_iter().filter(is_one).collect()
}

fn ring_files(directory: &str) -> Vec<Vec<u8>> {
    files_in(directory).iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

#[test]
fn what_a_killed_process_has_left_is_stored_once_under_its_identities() {
    let mut living = Living::start("recover");
    let (rings, journal) = (living.rings.clone(), living.journal.clone());
    let scratch = Scratch::new();
    let database = text(&scratch.path().join("recovered.db"));
    let to = format!("sqlite:{database}");

    // It lives: nothing is taken from it.
    living.signal("STOP");
    let before = ring_files(&rings);
    let out = well(&["recover", &rings, "--to", &to]);
    assert!(out.contains(&format!("process {} captures into it", living.id())), "{out}");
    let seen = objects(&well(&["recover", &rings, "--dry-run", "--json"]));
    let names = ["name", "pid", "owner", "events", "bytes", "rings", "torn", "handles"];
    let shown = |seen: &Value| names.map(|name| seen[name].clone());
    let pid = living.id();
    let wanted = |owner: &str| {
        json!(["living", pid, owner, WAITING, WAITING * 56, 1, 0, 0]).as_array().expect("a list").clone()
    };
    assert_eq!(shown(&seen[0]).to_vec(), wanted("living"));
    // Snapshots are taken of it as well.
    let copy = text(&scratch.path().join("copy"));
    let target = format!("journal:{copy}");
    let out = well(&["snapshot", &rings, "--to", &target]);
    assert!(out.contains("living") && out.contains(&format!("{WAITING} events")), "{out}");
    let waiting: Vec<u64> = (STORED..STORED + WAITING).collect();
    assert_eq!(numbers(&copy), waiting);
    // All that reads journals reads them directly as well, and leaves nothing behind.
    let temporary = scratch.path().join("temporary");
    std::fs::create_dir(&temporary).expect("a directory");
    let direct = |arguments: &[&str]| {
        let done = done(command(arguments).env("TMPDIR", &temporary).output().expect("the command runs"));
        assert_eq!((done.status, done.err.as_str()), (0, ""), "{arguments:?}");
        assert_eq!(std::fs::read_dir(&temporary).expect("the directory").count(), 0, "{arguments:?}");
        done.out
    };
    let lines = direct(&["cat", "--json", &rings]);
    assert_eq!(lines.lines().map(number).collect::<Vec<_>>(), waiting);
    assert_eq!(lines, well(&["cat", "--json", &copy]));
    assert_eq!(
        direct(&["export", &rings, "-", "--to", "ndjson"]),
        well(&["export", &copy, "-", "--to", "ndjson"])
    );
    assert!(direct(&["stat", &rings]).contains(&format!("Events: {WAITING}")));
    assert!(direct(&["verify", &rings]).contains(&format!("{WAITING} events")));
    assert_eq!(direct(&["tail", "-n", "3", &rings]).lines().count(), 3);
    assert!(refused(&["tail", "-f", &rings]).contains("cannot be followed"));
    assert!(ring_files(&rings) == before, "a ring file was changed");

    living.kill();
    let seen = objects(&well(&["recover", &rings, "--dry-run", "--json"]));
    assert_eq!(shown(&seen[0]).to_vec(), wanted("dead"));
    assert!(well(&["recover", &rings, "--dry-run"]).contains("dead"));
    // Another snapshot has the same events, which are given once.
    well(&["snapshot", &rings, "--to", &target, "--run", seen[0]["generation"].as_str().expect("a text")]);
    assert_eq!(numbers(&copy), waiting);
    assert!(segments(&copy).len() > 1 && ring_files(&rings) == before);

    // A target that takes nothing changes nothing.
    let done = run(&["recover", &rings, "--to", "ndjson:/dev/full", "--retry", "0"]);
    assert!(done.status == 2 && done.err.contains("/dev/full"), "{} {}", done.status, done.err);
    assert!(objects(&well(&["recover", &rings, "--dry-run", "--json"]))[0]["events"] == WAITING);
    let message = refused(&["recover", &rings, "--to", "journal:/nowhere/at/all"]);
    assert!(message.contains("/nowhere"), "{message}");

    // Into the journal that has the others: each event is there once.
    let copied = text(&scratch.path().join("rings"));
    std::fs::create_dir(&copied).expect("a directory");
    for path in files_in(&rings) {
        std::fs::copy(&path, Path::new(&copied).join(path.file_name().expect("a name"))).expect("copied");
    }
    let seen = objects(&well(&["recover", &rings, "--to", &format!("journal:{journal}"), "--json"]));
    assert_eq!((&seen[0]["outcome"], &seen[0]["events"]), (&json!("recovered"), &json!(WAITING)));
    assert_eq!(numbers(&journal), (0..STORED + WAITING).collect::<Vec<_>>());
    assert!(files_in(&rings).is_empty(), "the file is deleted");
    let none = run(&["recover", &rings, "--to", &to]);
    assert!(none.status == 0 && none.err.contains("no ring file"), "{}", none.err);
    assert!(refused(&["snapshot", &rings, "--to", &target]).contains("no ring file"));

    // Twice into a database.
    let again = text(&scratch.path().join("again"));
    std::fs::create_dir(&again).expect("a directory");
    for path in files_in(&copied) {
        std::fs::copy(&path, Path::new(&again).join(path.file_name().expect("a name"))).expect("copied");
    }
    for directory in [&copied, &again] {
        let out = well(&["recover", directory, "--to", &to]);
        assert!(out.contains(&format!("{WAITING} events recovered")), "{out}");
        assert_eq!(numbers(&database), waiting);
    }
}

/// A file with two rings: three events of a kind with a name, then one of another ring.
fn sample_file(directory: &Path, generation: u64) -> RingFile {
    let mut file = RingFile::new(directory, generation, ended());
    let named = Event { node_id: 7, ..Event::new(PIPELINE_KIND_KIND_NAME, 0, 5, b"note") };
    file.fact(&named);
    file.ring(0, 3, 41, "main");
    file.begin(0, 8000);
    for n in 0..3_u64 {
        file.capture(0, &Event::new(7, n + 10, 1_000 + n, &n.to_le_bytes()));
    }
    file.ring(1, 4, 42, "worker");
    file.capture(1, &Event::new(7, 1, 1_010, &3_u64.to_le_bytes()));
    file
}

#[test]
fn lines_are_printed_or_appended_with_the_names_that_the_run_gave() {
    let scratch = Scratch::new();
    let rings = scratch.path().join("rings");
    let file = sample_file(&rings, GENERATION);
    let (path, lines) = (text(&rings), text(&scratch.path().join("lines.ndjson")));
    let copy = std::fs::read(&file.path).expect("the file");
    let printed = run(&["recover", &path, "--to", "ndjson"]);
    assert_eq!(printed.status, 0, "{}", printed.err);
    assert_eq!(printed.out.lines().map(number).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(printed.err.contains("4 events recovered"), "{}", printed.err);
    let first: Value = serde_json::from_str(printed.out.lines().next().expect("a line")).expect("JSON");
    for (name, value) in [
        ("generation", json!("feed000000000001")),
        ("ring_id", json!(3)),
        ("sequence", json!(10)),
        ("time_ns", json!(1000)),
        ("wall_time", json!("2023-11-14T22:13:20.000001000Z")),
        ("tid", json!(41)),
        ("thread_name", json!("main")),
    ] {
        assert_eq!(first[name], value, "{name}");
    }
    assert!(!file.path.exists());
    std::fs::write(&file.path, copy).expect("it is there again");
    std::fs::write(&lines, "{\"before\":1}\n").expect("written");
    well(&["recover", &path, "--to", &format!("ndjson:{lines}")]);
    let all = std::fs::read_to_string(&lines).expect("the lines");
    assert!(all.starts_with("{\"before\":1}\n"));
    assert_eq!(all.lines().skip(1).collect::<Vec<_>>(), printed.out.lines().collect::<Vec<_>>());
}

#[test]
fn damage_is_told_and_what_cannot_be_recovered_stays() {
    let scratch = Scratch::new();
    let rings = scratch.path().join("rings");
    let file = sample_file(&rings, GENERATION);
    // The second record of the first ring says that it is longer than the ring.
    let at = file.header.shape.ring_at(0) + 8056 % 4096;
    file.put(at, &u32::MAX.to_le_bytes());
    let other = sample_file(&rings, 2);
    other.put(12, &9_u32.to_le_bytes());
    let living = RingFile::new(&rings, 3, process(std::process::id()));
    let path = text(&rings);
    let dry = run(&["recover", &path, "--dry-run", "--json"]);
    let seen = objects(&dry.out);
    let shown = |name: &str| seen.iter().map(|file| file[name].clone()).collect::<Vec<_>>();
    assert_eq!((dry.status, shown("owner")), (2, vec![json!("living"), json!("dead")]));
    assert_eq!((shown("events"), shown("torn")), (vec![json!(0), json!(2)], vec![json!(0), json!(1)]));
    assert!(dry.err.contains("layout version 9"), "{}", dry.err);
    // The same as a snapshot.
    let copy = text(&scratch.path().join("copy"));
    let done = run(&["snapshot", &path, "--to", &format!("journal:{copy}"), "--run", "feed000000000001"]);
    assert!(done.status == 2 && done.err.contains("position 8056"), "{} {}", done.status, done.err);
    assert_eq!(numbers(&copy), [0, 3]);

    let database = text(&scratch.path().join("a.db"));
    let done = run(&["recover", &path, "--to", &format!("sqlite:{database}"), "--json"]);
    let seen = objects(&done.out);
    let outcomes: Vec<&Value> = seen.iter().map(|file| &file["outcome"]).collect();
    assert_eq!(outcomes, ["refused", "living", "recovered"], "{}", done.out);
    assert!(done.status == 2 && seen[0]["reason"].as_str().is_some_and(|why| why.contains("version 9")));
    let damage = &seen[2]["damages"][0];
    assert_eq!(
        (&damage["ring_id"], &damage["position"], &seen[2]["torn"]),
        (&json!("3"), &json!("8056"), &json!(1))
    );
    assert_eq!(numbers(&database), [0, 3]);
    assert!(other.path.exists() && living.path.exists() && !file.path.exists());
    std::fs::remove_file(&other.path).expect("deleted");
    // Nothing else is wrong now.
    let file = sample_file(&rings, GENERATION + 1);
    file.word(1, ring::RING_ID, 0);
    let done = run(&["recover", &path, "--to", &format!("sqlite:{database}")]);
    assert!(done.status == 1 && done.out.contains("3 events recovered"), "{} {}", done.status, done.out);
}

#[test]
fn arguments_that_make_no_sense_are_refused_by_name() {
    let scratch = Scratch::new();
    let path = text(scratch.path());
    for (arguments, part) in [
        (&["recover", &path][..], "--to"),
        (&["recover", &path, "--to", "csv:x"], "ndjson"),
        (&["recover", &path, "--to", "ndjson", "--json"], "ndjson:FILE"),
        (&["recover", &path, "--to", "ndjson", "--dry-run"], "--dry-run"),
        (&["recover", "/nowhere/at/all", "--dry-run"], "/nowhere/at/all"),
        (&["recover", "/dev/null", "--to", "ndjson"], "directory"),
        (&["snapshot", &path], "--to"),
        (&["snapshot", &path, "--to", "sqlite:x.db"], "journal:DIRECTORY"),
        (&["snapshot", &path, "--to", "journal:x", "--run", "xyz"], "hexadecimal"),
    ] {
        let message = refused(arguments);
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
}
