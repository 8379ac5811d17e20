//! `ls`, `stat` and `verify`

use super::*;

#[test]
fn journals_are_listed_with_their_runs() {
    let (scratch, journal) = journal();
    let base = text(scratch.path());
    let expected = "\
JOURNAL  RUN               PROGRAM  PID  STARTED               LASTED      SEGMENTS  EVENTS  SIZE     STATE  ATTRIBUTES
";
    let out = well(&["ls", &base]);
    let titles: Vec<&str> = out.lines().next().expect("a line").split_whitespace().collect();
    assert_eq!(titles, expected.split_whitespace().collect::<Vec<_>>());
    let row: Vec<&str> = out.lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!(row[..4], [journal.as_str(), "feed000000000001", "a", "test"]);
    assert!(
        out.contains(" 2  ")
            && out.contains(" 13  ")
            && out.trim_end().ends_with("  left   host=alpha version=1.2"),
        "{out}"
    );
    let json = well(&["ls", "--json", &base]);
    for part in [
        "\"run\":\"feed000000000001\"",
        "\"program\":\"a test\"",
        "\"state\":\"left\"",
        "\"segments\":2",
        "\"events\":13",
        "\"attributes\":{\"host\":\"alpha\",\"version\":\"1.2\"}",
    ] {
        assert!(json.contains(part), "{json}");
    }
    // Deeper only if asked.
    let deep = scratch.path().join("a/b");
    sample::write(&deep);
    assert_eq!(well(&["ls", "--json", &base]).lines().count(), 1);
    assert_eq!(well(&["ls", "--json", "-r", &base]).lines().count(), 2);
    let single = text(&segments(&journal)[0]);
    assert!(well(&["ls", "--json", &single]).contains("\"state\":\"complete\""));
    // Without attributes there is no column for them.
    let plain = Scratch::new();
    sample::segments::Builder::new(1, 1).seal().write(plain.path());
    let out = well(&["ls", &text(plain.path())]);
    assert!(out.lines().next().is_some_and(|titles| titles.ends_with("STATE")), "{out}");
    assert!(well(&["ls", "--json", &text(plain.path())]).ends_with(",\"attributes\":{}}\n"));
    let empty = Scratch::new();
    let done = run(&["ls", &text(empty.path())]);
    assert_eq!((done.status, done.out.as_str()), (0, ""));
    assert!(done.err.contains("no journal"), "{}", done.err);
}

#[test]
fn a_segment_of_a_later_version_is_named() {
    let (_scratch, journal) = journal();
    let segment = &segments(&journal)[1];
    let mut bytes = std::fs::read(segment).expect("a segment");
    bytes[12] = 9;
    std::fs::write(segment, bytes).expect("written");
    for arguments in [["ls", &journal], ["cat", &journal], ["verify", &journal]] {
        let done = run(&arguments);
        assert_eq!(done.status, 1, "{arguments:?}");
        let said = done.err + &done.out;
        assert!(said.contains("version 9") || said.contains("1 segment that is not read"), "{said}");
    }
    assert!(refused(&["cat", &text(segment)]).contains("version 9"));
}

#[test]
fn stat_has_the_ledger_the_kinds_the_rates_and_the_losses() {
    let (_scratch, journal) = journal();
    let out = well(&["stat", &journal]);
    let has = |words: &str| {
        let line =
            out.lines().find(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").contains(words));
        assert!(line.is_some(), "{words}: {out}");
    };
    has("Run feed000000000001: a test, process 1, left");
    has("attributes host = alpha");
    has("version = 1.2");
    has("ledger 19 offered");
    has("13 captured");
    has("5 dropped_full");
    has("Events: 13, which stand for 15");
    has("sample 7 5 38.5 %");
    has("size change ok color");
    has("note 9 4 30.8 %");
    has("10 10 1 7.7 % 0 B 0.0 B");
    has("Events per second");
    has("5 events dropped_full: the ring buffer was full");
    has("1 events refused_too_large");
    // Only some events are counted.
    let out = well(&["stat", &journal, "--kind", "note", "--to", "2023-11-15"]);
    assert!(out.contains("Events: 3"), "{out}");
}

#[test]
fn what_was_left_out_by_choice_is_no_loss() {
    let scratch = Scratch::new();
    let mut builder = sample::segments::Builder::new(5, 1);
    let event = |sequence| sample::segments::Event::new(sequence, sequence * 1000, b"x");
    let mut counts = [0; 20];
    // captured, dropped_sampled, dropped_rule, stored, filtered
    (counts[0], counts[3], counts[4], counts[10], counts[11]) = (2, 7, 5, 1, 1);
    builder.thread(7, 99, "busy").events(7, &[event(1), event(9)]).ledger(1, 5, &counts).seal();
    builder.write(scratch.path());
    let out = well(&["stat", &text(scratch.path())]);
    let (before, losses) = out.split_once("Losses\n").expect("the losses");
    let (_, chosen) = before.split_once("Left out by choice\n").expect("what is none");
    for words in ["7 events dropped_sampled", "5 events dropped_rule", "1 events filtered"] {
        assert!(chosen.contains(words) && !losses.contains(words), "{words}: {out}");
    }
    assert!(losses.contains("gaps in their sequences, also by what was left out by choice"), "{out}");
}

#[test]
fn rings_with_gaps_are_listed_with_their_threads() {
    let scratch = Scratch::new();
    let mut builder = sample::segments::Builder::new(5, 3);
    let event = |sequence| sample::segments::Event::new(sequence, sequence * 1000, b"x");
    builder.thread(7, 99, "busy").events(7, &[event(1), event(2), event(10)]).events(8, &[event(1)]).seal();
    builder.write(scratch.path());
    let out = well(&["stat", &text(scratch.path())]);
    let row = out.lines().find(|line| line.contains("busy/99")).expect("the ring");
    assert_eq!(row.split_whitespace().collect::<Vec<_>>()[1..], ["7", "busy/99", "3", "7", "1", "10"]);
    assert!(out.contains("2 earlier segments are not there"), "{out}");
}

#[test]
fn verify_tells_what_is_damaged_and_what_is_only_worth_to_know() {
    let (_scratch, journal) = journal();
    let out = well(&["verify", &journal]);
    assert!(out.starts_with(&format!("{journal}: ok: 13 events in 2 segments")), "{out}");
    assert!(out.contains("1 segment has no seal"), "{out}");
    assert_eq!(well(&["verify", "--quiet", &journal]), "");

    damage(&segments(&journal)[0]);
    let done = run(&["verify", "-q", &journal]);
    assert_eq!((done.status, done.err.as_str()), (1, ""));
    assert!(done.out.contains("damaged\n  1 block is damaged: 3 events are lost"), "{}", done.out);
    assert!(done.out.contains("read: 10 events"), "{}", done.out);

    // Cut in the middle of the last block.
    let last = &segments(&journal)[1];
    let bytes = std::fs::read(last).expect("a segment");
    std::fs::write(last, &bytes[..bytes.len() - 100]).expect("written");
    let done = run(&["verify", &journal]);
    assert_eq!(done.status, 1);
    assert!(done.out.contains("1 segment ends in the middle of a block"), "{}", done.out);
    assert!(run(&["stat", &journal]).status == 1);
}

/// A program may use any number as a kind. Memory is bounded, and every event is shown as it is.
#[test]
fn more_kinds_than_have_a_place_of_their_own() {
    let scratch = sample::segments::Scratch::new();
    let mut builder = sample::segments::Builder::new(1, 1);
    let kind = |n: u64| (n as u32).wrapping_mul(0x9E37_79B1) >> 1;
    let events: Vec<_> = (0..70_000).map(|n| sample::segments::Event::new(n, n, "x").kind(kind(n))).collect();
    builder.kind_name(kind(69_999), "named");
    for events in events.chunks(10_000) {
        builder.events(1, events);
    }
    builder.seal().write(scratch.path());
    let path = text(scratch.path());
    let cat = well(&["cat", &path]);
    let shown = cat.lines().map(|line| line.split(' ').nth(2).expect("a kind").to_owned());
    let wanted = (0..70_000).map(|n| if n == 69_999 { "named".into() } else { kind(n).to_string() });
    assert!(shown.eq(wanted));
    let json = well(&["cat", "--json", &path, "--where", &format!("kind = {}", kind(69_998))]);
    assert!(json.lines().count() == 1 && json.contains(&format!("\"kind\":{},", kind(69_998))), "{json}");
    let stat = well(&["stat", &path]);
    assert!(stat.contains("Events: 70,000"), "{stat}");
    let line = |name: &str| stat.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(line("(others)").contains(" 4,463 ") && line("named ").contains(" 1 "), "{}", line("(others)"));
}
