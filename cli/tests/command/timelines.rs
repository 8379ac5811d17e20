//! Timelines: the files that they are written to. What is in them is checked by their readers: `tests/cli/timelines.py`.

use super::export::shell;
use super::*;

/// The names of the pieces of `out.pftrace`.
fn pieces(scratch: &Scratch) -> Vec<String> {
    let entries = std::fs::read_dir(scratch.path()).expect("a directory");
    let mut names: Vec<String> =
        entries.map(|entry| text(entry.expect("an entry").file_name().as_ref())).collect();
    names.retain(|name| name != "journal");
    names.sort();
    names
}

#[test]
fn pieces_have_numbers_and_those_of_an_earlier_export_are_not_mixed_with_them() {
    let (scratch, journal) = journal();
    let file = text(&scratch.path().join("out.pftrace"));
    // The events are a second apart.
    let split = |time: &str, more: &[&str]| {
        run(&[&["export", &journal, &file, "--split", time, "--until", "+20s"], more].concat())
    };
    assert_eq!(split("3s", &[]).status, 0);
    let names = ["out.0001.pftrace", "out.0002.pftrace", "out.0003.pftrace", "out.0004.pftrace"];
    assert_eq!(pieces(&scratch), names);
    let done = split("3s", &[]);
    assert!(
        done.status == 2 && done.err.contains("out.0001.pftrace") && done.err.contains("--force"),
        "{}",
        done.err
    );
    // One that is in the way of a later piece is found at once.
    names[..2].iter().for_each(|name| std::fs::remove_file(scratch.path().join(name)).expect("removed"));
    let done = split("3s", &[]);
    assert!(done.status == 2 && done.err.contains("out.0003.pftrace"), "{}", done.err);
    assert_eq!(pieces(&scratch), names[2..]);
    // With --force those that are too many go.
    assert_eq!(split("6s", &["--force"]).status, 0);
    assert_eq!(pieces(&scratch), names[..2]);
    // Without --split there is one file, of the name that was given.
    well(&["export", &journal, &file, "--until", "+20s"]);
    assert_eq!(pieces(&scratch).last().map(String::as_str), Some("out.pftrace"));
}

#[test]
fn what_cannot_be_split_is_refused_by_name() {
    let (scratch, journal) = journal();
    let file = |name: &str| text(&scratch.path().join(name));
    for (arguments, part) in [
        (&["export", &journal, &file("a.csv"), "--split", "1G"][..], "--split"),
        (&["export", &journal, "-", "--to", "perfetto", "--split", "1G"], "standard output"),
        (&["export", &journal, &file("a.pftrace"), "--split", "fast"], "10min"),
        (&["export", &journal, &file("a.folded"), "--split", "1G"], "--split"),
        (&["export", &journal, &file("a.pftrace"), "--compression", "zstd"], "zlib"),
        (&["export", &journal, &file("a.json"), "--compression", "zlib"], "none"),
        (&["export", &journal, &file("a.parquet"), "--compression", "zlib"], "zstd"),
        (&["export", &journal, &file("a.pftrace"), "--order", "stored"], "--order"),
    ] {
        let message = refused(arguments);
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
    assert!(pieces(&scratch).is_empty());
}

#[test]
fn the_standard_output_takes_a_trace_and_may_be_closed_or_full() {
    let (scratch, journal) = journal();
    let file = text(&scratch.path().join("a.pftrace"));
    well(&["export", &journal, &file, "--until", "+20s"]);
    let done =
        command(&["export", &journal, "-", "--to", "perfetto", "--until", "+20s"]).output().expect("it runs");
    assert_eq!(done.stdout, std::fs::read(&file).expect("the file"));
    let done = shell(r#""$1" export "$2" - --to perfetto --until +20s >/dev/full"#, &[&journal]);
    assert!(done.status == 2 && done.err.contains("No space left"), "{}", done.err);
    let script = r#"{ "$1" export "$2" - --to perfetto --until +20s; echo $? >&2; } | true"#;
    let done = shell(script, &[&journal]);
    assert_eq!(done.err, "0\n");
}

#[test]
fn a_timeline_without_events_is_a_file_all_the_same() {
    let scratch = Scratch::new();
    let mut builder = sample::segments::Builder::new(1, 1);
    builder.events(1, &[sample::segments::Event::new(1, 1_000, "x")]).seal().write(scratch.path());
    let journal = text(scratch.path());
    for (name, bytes) in [("none.pftrace", &b""[..]), ("none.json", b"[\n]\n"), ("none.folded", b"")] {
        let file = text(&scratch.path().join(name));
        well(&["export", &journal, &file, "--kind", "4000000000"]);
        assert_eq!(std::fs::read(&file).expect("the file"), bytes, "{name}");
    }
}

/// A file that becomes too large, as on a disk that becomes full: the piece that is not whole is removed, and the others stay.
#[test]
fn a_piece_that_cannot_be_written_is_removed_and_the_others_stay() {
    let scratch = Scratch::new();
    let mut builder = sample::segments::Builder::new(1, 1);
    builder.thread(1, 2, "main");
    let event = |n: u64| sample::segments::Event::new(n, n * 1_000, vec![b'x'; 200]);
    (0..20).for_each(|block| {
        _ = builder.events(1, &(block * 1_000..(block + 1) * 1_000).map(event).collect::<Vec<_>>())
    });
    let journal = scratch.path().join("journal");
    std::fs::create_dir(&journal).expect("a directory");
    builder.seal().write(&journal);
    let (journal, file) = (text(&journal), text(&scratch.path().join("out.pftrace")));
    // The first piece has 5,000 events, all others together 15,000.
    let script = r#"trap '' XFSZ; ulimit -f 2500; "$1" export "$2" "$3" --until +5ms --compression none && mv "$3" "${3%.pftrace}.0000.pftrace"; exec "$1" export "$2" "$3" --split 3MiB --compression none"#;
    let done = shell(script, &[&journal, &file]);
    assert!(done.status == 2 && done.err.contains("out.0001.pftrace"), "{}", done.err);
    assert_eq!(pieces(&scratch), ["out.0000.pftrace"]);
}

/// A program may start a thread for each of its requests. Those past the bound share a row.
#[test]
fn a_timeline_has_so_many_threads_and_no_more() {
    let scratch = Scratch::new();
    let mut builder = sample::segments::Builder::new(1, 1);
    const RINGS: u64 = 65_536 + 1_000;
    for ring in 1..=RINGS {
        builder.events(ring, &[sample::segments::Event::new(1, ring * 1_000, "x")]);
    }
    builder.seal().write(scratch.path());
    let file = text(&scratch.path().join("many.json"));
    well(&["export", &text(scratch.path()), &file]);
    let json = std::fs::read_to_string(&file).expect("the file");
    let named = |name: &str| json.matches(&format!("\"args\":{{\"name\":\"{name}")).count();
    assert_eq!((named("ring "), named("other threads")), (65_536, 1));
    assert_eq!(json.matches("\"ph\":\"i\"").count() as u64, RINGS);
}

/// The reader of collapsed stacks that is used most: its titles have each frame with its number.
#[test]
fn collapsed_stacks_are_read_by_inferno_as_they_were_captured() {
    let scratch = Scratch::new();
    let journal = scratch.path().join("stacks");
    journals::stacks(&journal);
    let folded = well(&["export", &text(&journal), "-", "--to", "folded"]);
    let (mut options, mut svg) = (inferno::flamegraph::Options::default(), Vec::new());
    // (Narrow frames are shown, too.)
    options.min_width = 0.0;
    let read = inferno::flamegraph::from_lines(&mut options, folded.lines(), &mut svg);
    read.expect("every line is read");
    let svg = String::from_utf8(svg).expect("UTF-8");
    let mut titles: Vec<&str> =
        svg.split("<title>").skip(1).map(|rest| rest.split("</title>").next().expect("an end")).collect();
    titles.sort_unstable();
    // A frame that ends in a space and a number would be taken for a second count, as of two profiles that are compared: `run 12`, and the thread `worker 1`.
    assert_eq!(
        titles,
        [
            "0x10 (1 samples, 16.67%)",
            "0x20 (1 samples, 16.67%)",
            "a b (4 samples, 66.67%)",
            "all (6 samples, 100%)",
            "main (5 samples, 83.33%)",
            "named (1 samples, 16.67%)",
            "named (4 samples, 66.67%)",
            "numbered (1 samples, 16.67%)",
            "run_12 (4 samples, 66.67%)",
            "worker_1 (6 samples, 100.00%)",
        ],
        "{folded}"
    );
}
