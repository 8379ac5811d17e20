//! A reader that follows a journal gives what is written after it was opened.

use crate::locks;
use crate::reading::{in_time, open, sequences, take};
use crate::segments::{Builder, Event, REALTIME_OFFSET, Scratch};
use capture_pipeline::journal::reader::{Options, Order, Reader, State};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn follow(path: &Path, order: Order) -> Reader {
    open(path, Options { follow: true, order, ..Options::default() })
}

fn event(sequence: u64) -> Event {
    Event::new(sequence, sequence, "payload")
}

/// Appends what a builder has and its file does not.
fn append(builder: &Builder, path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::options().append(true).open(path).expect("the segment");
    let there = file.metadata().expect("its size").len() as usize;
    file.write_all(&builder.bytes[there..]).expect("written");
}

#[test]
fn new_blocks_and_new_segments_are_given() {
    for order in [Order::Stored, Order::Time] {
        let scratch = Scratch::new();
        let mut reader = follow(scratch.path(), order);
        assert!(take(&mut reader).is_empty() && !reader.is_growing());
        let mut first = Builder::new(1, 1);
        let path = first.events(1, &[event(0)]).write(scratch.path());
        let lock = locks::hold(&path);
        assert_eq!(sequences(&take(&mut reader)), [0]);
        assert!(take(&mut reader).is_empty() && reader.is_growing());
        append(first.kind_name(3, "three").events(1, &[event(1), event(2)]), &path);
        assert_eq!(sequences(&take(&mut reader)), [1, 2]);
        assert_eq!(reader.facts().kind_names[&(1, 3)], b"three");
        // Another run, and the end of the first.
        Builder::new(2, 1).events(1, &[event(7)]).seal().write(scratch.path());
        append(first.events(2, &[event(3)]).ledger(1, 1, &[4]).seal(), &path);
        drop(lock);
        let mut given = sequences(&take(&mut reader));
        given.sort_unstable();
        assert_eq!(given, [3, 7]);
        assert!(take(&mut reader).is_empty() && !reader.is_growing());
        assert!(reader.segments().all(|segment| matches!(segment.state, State::Sealed(_))));
        assert!(reader.losses().is_empty(), "{:?}", reader.losses());
        assert_eq!(reader.progress().done_bytes, reader.progress().total_bytes);
    }
}

/// Its writer makes the file, then locks it, then writes the header. A reader may look in between.
#[test]
fn a_segment_that_was_seen_before_it_was_locked_is_read() {
    for order in [Order::Stored, Order::Time] {
        let scratch = Scratch::new();
        let mut builder = Builder::new(1, 1);
        let path = builder.events(1, &[event(0)]).write(scratch.path());
        std::fs::write(&path, "").expect("an empty file");
        let mut reader = follow(scratch.path(), order);
        assert!(take(&mut reader).is_empty());
        builder.write(scratch.path());
        assert_eq!(sequences(&take(&mut reader)), [0]);
        assert!(reader.losses().is_empty(), "{:?}", reader.losses());
    }
}

#[test]
fn a_block_is_given_when_it_is_whole() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let path = builder.events(1, &[event(0)]).write(scratch.path());
    let lock = locks::hold(&path);
    let mut reader = follow(scratch.path(), Order::Stored);
    assert_eq!(sequences(&take(&mut reader)), [0]);
    let start = builder.bytes.len();
    builder.events(1, &[event(1), event(2)]);
    for cut in (start..builder.bytes.len()).step_by(7) {
        // The part that is there, and zeros that a file system may show before the rest is.
        let mut bytes = builder.bytes[..cut].to_vec();
        if cut % 2 == 0 {
            bytes.resize(builder.bytes.len(), 0);
        }
        let whole = bytes[start..] == builder.bytes[start..];
        std::fs::write(&path, bytes).expect("written");
        if whole {
            break;
        }
        let given = sequences(&take(&mut reader));
        let end_of_records = start + 128 + 2 * 56;
        assert!(given.is_empty() || cut >= end_of_records, "{given:?} of {cut} bytes");
        if !given.is_empty() {
            assert_eq!(given, [1, 2]);
            break;
        }
    }
    builder.write(scratch.path());
    let _ = take(&mut reader);
    append(builder.events(1, &[event(3)]), &path);
    assert_eq!(sequences(&take(&mut reader)), [3]);
    assert_eq!(reader.rings().map(|ring| ring.events).collect::<Vec<_>>(), [4]);
    assert!(reader.losses().is_empty(), "{:?}", reader.losses());
    // What a writer leaves half written is damage when it has ended.
    builder.bytes.extend_from_slice(b"half a block");
    append(&builder, &path);
    assert!(take(&mut reader).is_empty() && reader.losses().is_empty());
    drop(lock);
    assert!(take(&mut reader).is_empty());
    assert_eq!((reader.losses().torn_tails, reader.losses().torn_bytes), (1, 12));
    assert!(take(&mut reader).is_empty());
    assert_eq!(reader.losses().torn_tails, 1);
}

#[test]
fn damage_in_a_growing_segment_is_counted_once() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    let path = builder.events(1, &[event(0)]).write(scratch.path());
    let lock = locks::hold(&path);
    let mut reader = follow(scratch.path(), Order::Stored);
    assert_eq!(sequences(&take(&mut reader)), [0]);
    append(builder.raw(&[7; 64]), &path);
    assert!(take(&mut reader).is_empty() && reader.losses().is_empty());
    let whole = builder.events(1, &[event(1)]).bytes.clone();
    // The block behind the damage is found before it is whole.
    builder.bytes.truncate(whole.len() - 60);
    builder.bytes.resize(whole.len(), 0);
    append(&builder, &path);
    assert!(take(&mut reader).is_empty());
    assert!(take(&mut reader).is_empty());
    std::fs::write(&path, &whole).expect("written");
    assert_eq!(sequences(&take(&mut reader)), [1]);
    assert_eq!((reader.losses().damages, reader.losses().damaged_bytes), (1, 64));
    drop(lock);
}

#[test]
fn what_was_given_is_not_given_again() {
    for order in [Order::Stored, Order::Time] {
        let scratch = Scratch::new();
        let mut first = Builder::new(1, 1);
        first.events(1, &[event(0), event(1), event(4)]).seal().write(scratch.path());
        let mut reader = follow(scratch.path(), order);
        assert_eq!(sequences(&take(&mut reader)), [0, 1, 4]);
        // A segment that is listed before, and one behind.
        let mut retry = Builder::new(0, 1);
        retry.header.generation = 1;
        let mut retry = Builder::with_header(retry.header);
        retry.events(1, &[event(1), event(2)]);
        std::fs::write(scratch.path().join("0000000000000000-00000001.journal"), &retry.bytes)
            .expect("written");
        Builder::new(1, 2).events(1, &[event(2), event(3), event(4), event(5)]).seal().write(scratch.path());
        let mut given = sequences(&take(&mut reader));
        given.sort_unstable();
        assert_eq!(given, [2, 3, 5]);
        Builder::new(1, 3).events(1, &[Event::new(3, 3, "other"), event(5)]).write(scratch.path());
        assert!(take(&mut reader).is_empty());
        assert_eq!((reader.losses().duplicates, reader.losses().contradictions), (4, 1));
        assert_eq!(reader.rings().next().map(|ring| ring.events), Some(6));
    }
}

#[test]
fn a_segment_is_read_when_its_header_is_there() {
    let scratch = Scratch::new();
    let mut builder = Builder::new(1, 1);
    builder.events(1, &[event(5)]);
    let path = scratch.path().join("0000000000000001-00000001.journal");
    std::fs::write(&path, &builder.bytes[..20]).expect("written");
    let lock = locks::hold(&path);
    let mut reader = follow(scratch.path(), Order::Stored);
    assert!(take(&mut reader).is_empty() && reader.losses().is_empty());
    append(&builder, &path);
    assert_eq!(sequences(&take(&mut reader)), [5]);
    drop(lock);
    assert!(reader.losses().is_empty());
}

#[test]
fn next_within_waits_for_an_event() {
    let scratch = Scratch::new();
    let mut reader = follow(scratch.path(), Order::Time);
    assert!(reader.next_within(Duration::from_millis(1)).expect("no error").is_none());
    let (write, written) = mpsc::channel();
    let path = scratch.path().to_path_buf();
    let writer = std::thread::spawn(move || {
        written.recv().expect("asked");
        Builder::new(1, 1).events(1, &[event(1)]).seal().write(&path);
    });
    write.send(()).expect("the thread");
    let given = reader.next_within(PATIENCE).expect("no error").map(|event| event.sequence);
    assert_eq!(given, Some(1));
    writer.join().expect("the thread");
    // Without `follow`, the end is the end.
    let mut reader = open(scratch.path(), in_time());
    assert_eq!(take(&mut reader).len(), 1);
    assert!(reader.next_within(PATIENCE).expect("no error").is_none());
}

/// Whoever wants to know when it has caught up must not be held up by a writer that is as fast.
#[test]
fn what_was_found_comes_to_an_end_however_much_is_written_meanwhile() {
    for order in [Order::Stored, Order::Time] {
        let scratch = Scratch::new();
        let mut builder = Builder::new(1, 1);
        let path = builder.events(1, &[event(0), event(1)]).events(2, &[event(2)]).write(scratch.path());
        let lock = locks::hold(&path);
        let mut reader = follow(scratch.path(), order);
        let mut given = Vec::new();
        // (With an end, so that a reader that looks for more fails here.)
        for n in 10..100 {
            append(builder.events(1, &[event(n)]), &path);
            match reader.next_found().expect("no error") {
                Some(event) => given.push(event.sequence),
                None => break,
            }
        }
        assert_eq!(given, [0, 1, 2], "{order:?}");
        assert_eq!(sequences(&take(&mut reader)), [10, 11, 12, 13]);
        assert_eq!(reader.next_found().expect("no error"), None);
        drop(lock);
    }
}

/// The wall clock is set back by an hour while the journal is followed.
#[test]
fn a_bound_of_wall_times_can_be_lifted_for_what_follows() {
    for order in [Order::Stored, Order::Time] {
        let scratch = Scratch::new();
        let mut builder = Builder::new(1, 1);
        let path = builder.events(1, &[event(1), event(2)]).write(scratch.path());
        let lock = locks::hold(&path);
        let from_realtime_ns = 2_u64.saturating_add_signed(REALTIME_OFFSET);
        let options = Options { follow: true, order, from_realtime_ns, ..Options::default() };
        let mut reader = open(scratch.path(), options);
        assert_eq!(sequences(&take(&mut reader)), [2]);
        builder.realtime_offset -= 3_600_000_000_000;
        append(builder.events(1, &[event(3)]), &path);
        assert!(take(&mut reader).is_empty());
        reader.set_from_realtime_ns(0);
        append(builder.events(1, &[event(4)]), &path);
        assert_eq!(sequences(&take(&mut reader)), [4], "{order:?}");
        drop(lock);
    }
}
