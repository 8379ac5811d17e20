//! `tail`

use super::*;
use sample::segments::{Builder, Event, REALTIME_OFFSET};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn the_last_events_are_printed_in_the_order_of_their_times() {
    let (_scratch, journal) = journal();
    let all = well(&["cat", &journal]);
    let last = |count: usize| {
        let lines: Vec<&str> = all.lines().collect();
        lines[lines.len() - count..].iter().map(|line| format!("{line}\n")).collect::<String>()
    };
    assert_eq!(well(&["tail", &journal]), last(10));
    for count in [0, 1, 3, 13] {
        assert_eq!(well(&["tail", &journal, "-n", &count.to_string()]), last(count), "{count}");
    }
    assert_eq!(well(&["tail", &journal, "-n", "1000"]), all);
    assert_eq!(well(&["tail", &journal, "-n", &u64::MAX.to_string()]), all);
    let points = well(&["tail", &journal, "-n", "2", "--kind", "point", "--json"]);
    assert!(points.lines().count() == 2 && points.lines().all(|line| line.contains("\"point\"")), "{points}");
    // No writer lives, so that nothing can follow.
    assert_eq!(well(&["tail", "-f", &journal, "-n", "2"]), last(2));
}

#[test]
fn only_the_end_of_a_long_journal_is_printed() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let events: Vec<Event> = (0..50_000).map(|n| Event::new(n, n * 1000, n.to_le_bytes())).collect();
    for chunk in events.chunks(5_000) {
        builder.events(1, chunk);
    }
    builder.seal();
    builder.write(scratch.path());
    let path = text(scratch.path());
    let all = well(&["cat", &path]);
    let lines: Vec<&str> = all.lines().collect();
    for count in [1, 7, 5_001] {
        let out = well(&["tail", &path, "-n", &count.to_string()]);
        assert!(out.lines().eq(lines[lines.len() - count..].iter().copied()), "{count}");
    }
}

/// Somebody sets the wall clock back by an hour. The order of events is that of their times, which go on.
#[test]
fn events_after_the_wall_clock_was_set_back_are_the_last_ones() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let events: Vec<Event> = (0..20_000).map(|n| Event::new(n, n * 1_000_000, n.to_le_bytes())).collect();
    for (n, chunk) in events.chunks(100).enumerate() {
        builder.realtime_offset = REALTIME_OFFSET - if n < 150 { 0 } else { 3_600_000_000_000 };
        builder.events(1, chunk);
    }
    builder.seal().write(scratch.path());
    let path = text(scratch.path());
    let all = well(&["cat", &path]);
    let lines: Vec<&str> = all.lines().collect();
    for count in [1, 10, 7_000] {
        let out = well(&["tail", &path, "-n", &count.to_string()]);
        assert!(out.lines().eq(lines[lines.len() - count..].iter().copied()), "{count}");
    }
}

/// The header of a segment whose writer is this process.
fn growing() -> Builder {
    let mut header = Builder::new(9, 1).header;
    let digits =
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot id").replace('-', "");
    header.owner.boot_id = u128::from_str_radix(digits.trim(), 16).expect("hexadecimal").to_be_bytes();
    header.owner.pid = std::process::id();
    header.owner.pid_namespace = std::fs::metadata("/proc/self/ns/pid").expect("a namespace").ino();
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this process");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    header.owner.start_time = fields[19].parse().expect("the start");
    Builder::with_header(header)
}

#[test]
fn events_that_are_written_later_follow_with_the_names_that_come_with_them() {
    let scratch = Scratch::new();
    let mut builder = growing();
    let event = |n: u64, kind| Event::new(n, n * 1000, n.to_le_bytes()).kind(kind);
    // So many that the command looks for the last one by its wall time.
    let earlier: Vec<Event> = (0..1_000).map(|n| Event::new(n, n, "")).collect();
    builder.events(2, &earlier).events(1, &[event(1, 5), event(2, 5)]);
    let path = builder.write(scratch.path());
    let mut child = command(&["tail", "-f", "-n", "1", &text(scratch.path())])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let (sender, lines) = mpsc::channel();
    let output = BufReader::new(child.stdout.take().expect("the output"));
    let reader = std::thread::spawn(move || {
        for line in output.lines() {
            let _ = sender.send(line.expect("a line"));
        }
    });
    let next = || lines.recv_timeout(Duration::from_secs(60)).expect("a line in time");
    assert!(next().contains(" 5 payload=0200000000000000"));
    let mut append = |change: &dyn Fn(&mut Builder)| {
        let before = builder.bytes.len();
        change(&mut builder);
        let mut file = std::fs::File::options().append(true).open(&path).expect("the segment");
        file.write_all(&builder.bytes[before..]).expect("written");
    };
    append(&|builder| {
        builder.events(1, &[event(3, 5)]);
    });
    assert!(next().contains(" 5 payload=0300000000000000"));
    append(&|builder| {
        builder.kind_name(6, "newer").events(1, &[event(4, 6), event(5, 5)]);
    });
    assert!(next().contains(" newer payload=0400000000000000"));
    let line = next();
    assert!(line.contains(" 5 payload=0500000000000000"), "{line}");
    assert!(line.starts_with(&super::tail::time(5_000)), "{line}");
    // The wall clock is set back by an hour.
    append(&|builder| {
        builder.realtime_offset -= 3_600_000_000_000;
        builder.events(1, &[event(6, 5)]);
    });
    assert!(next().contains(" 5 payload=0600000000000000"));
    child.kill().expect("ended");
    child.wait().expect("ended");
    reader.join().expect("no panic");
    assert!(lines.try_recv().is_err());
}

fn time(ns: u64) -> String {
    let text = capture_pipeline::wall_time::write(ns.saturating_add_signed(REALTIME_OFFSET));
    String::from_utf8(text.to_vec()).expect("ASCII")
}

#[test]
fn an_attribute_that_comes_later_is_in_the_lines_from_then_on() {
    let scratch = Scratch::new();
    let mut builder = growing();
    let event = |n: u64| Event::new(n, n * 1000, "").kind(5);
    builder.fact(0xFFFF_0006, 0, 0, b"\x04hostalpha").events(1, &[event(1)]);
    let path = builder.write(scratch.path());
    let mut child = command(&["tail", "-f", "--json", &text(scratch.path())])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let (sender, lines) = mpsc::channel();
    let output = BufReader::new(child.stdout.take().expect("the output"));
    let reader = std::thread::spawn(move || {
        for line in output.lines() {
            let _ = sender.send(line.expect("a line"));
        }
    });
    let next = || lines.recv_timeout(Duration::from_secs(60)).expect("a line in time");
    assert!(next().ends_with(r#","attributes":{"host":"alpha"}}"#));
    let before = builder.bytes.len();
    // (The value of one is changed, and there is another.)
    builder.fact(0xFFFF_0006, 0, 0, b"\x04hostbeta").events(1, &[event(2)]);
    builder.fact(0xFFFF_0006, 1, 0, b"\x03a\"bc\nd").events(1, &[event(3)]);
    let mut file = std::fs::File::options().append(true).open(&path).expect("the segment");
    // The facts come with their events: a block is written whole.
    file.write_all(&builder.bytes[before..]).expect("written");
    assert!(next().contains(r#","attributes":{"#));
    assert!(next().ends_with(r#","attributes":{"a\"b":"c\nd","host":"beta"}}"#));
    child.kill().expect("killed");
    child.wait().expect("ended");
    reader.join().expect("read");
}
