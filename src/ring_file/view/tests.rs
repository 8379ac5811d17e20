use super::super::format::{Shape, ring};
use super::*;
use crate::journal::format::figures::encode;
use crate::journal::format::segment::Owner;
use crate::journal::owner;
use std::os::unix::fs::FileExt;

/// A file of two ordinary rings and one for priority, without a name.
fn file(owner: Owner) -> File {
    let shape = Shape { ring_bytes: 4096, priority_ring_bytes: 8192, rings: 2, priority_rings: 1 };
    let path =
        std::env::temp_dir().join(format!("view-{}-{:?}", std::process::id(), std::thread::current().id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.set_len(shape.file_bytes()).unwrap();
    file.write_all_at(&Header { generation: 5, shape, owner, ..Header::default() }.encode(), 0).unwrap();
    file
}

fn put(file: &File, index: u64, at: u64, word: u64) {
    file.write_all_at(&word.to_le_bytes(), RING_HEADERS_AT + index * RING_HEADER_BYTES + at).unwrap();
}

#[test]
fn the_words_of_used_rings_are_read() {
    let file = file(owner::own());
    let view = View::of(file.try_clone().unwrap()).unwrap();
    assert!(!view.owner_lives() && view.rings().unwrap().is_empty());
    // The lock alone counts: a process may live on behind its pipeline.
    let path =
        std::ffi::CString::new(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file))).unwrap();
    let again = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_len) = (libc::F_WRLCK as libc::c_short, 1);
    assert_eq!(unsafe { libc::fcntl(again, 37, &raw mut lock) }, 0);
    assert!(view.owner_lives());
    unsafe { libc::close(again) };
    assert!(!view.owner_lives());
    for (at, word) in [
        (ring::HEAD, 9000),
        (ring::CLAIMED, 8000),
        (ring::RELEASED, 7000),
        (ring::RING_ID, 3),
        (ring::TID, 77),
    ] {
        put(&file, 1, at, word);
    }
    file.write_all_at(b"main", RING_HEADERS_AT + RING_HEADER_BYTES + ring::NAME).unwrap();
    put(&file, 2, ring::RING_ID, 4);
    let rings = view.rings().unwrap();
    let mut name = [0; 16];
    name[..4].copy_from_slice(b"main");
    let first = Words {
        index: 1,
        is_priority: false,
        bytes: 4096,
        head: 9000,
        claimed: 8000,
        released: 7000,
        ring_id: 3,
        thread_id: 77,
        name,
    };
    assert_eq!((rings.len(), rings[0]), (2, first));
    assert_eq!((rings[0].backlog(), rings[0].in_flight()), (2000, 1000));
    assert_eq!((rings[1].index, rings[1].is_priority, rings[1].bytes, rings[1].ring_id), (2, true, 8192, 4));
}

/// The process goes on while they are read, and a file may have anything in it.
#[test]
fn words_that_contradict_each_other_are_brought_into_their_bounds() {
    let file = file(owner::own());
    let view = View::of(file.try_clone().unwrap()).unwrap();
    put(&file, 0, ring::RING_ID, 1);
    for (head, claimed, released, wanted) in [
        (100, 300, 200, (100, 100, 100)),
        (9000, 0, 0, (9000, 9000 - 4096, 9000 - 4096)),
        (u64::MAX, 5, 7, (u64::MAX, u64::MAX - 4096, u64::MAX - 4096)),
        (7, u64::MAX, u64::MAX, (7, 7, 7)),
        (4000, 1, 2, (4000, 2, 2)),
    ] {
        for (at, word) in [(ring::HEAD, head), (ring::CLAIMED, claimed), (ring::RELEASED, released)] {
            put(&file, 0, at, word);
        }
        let words = view.rings().unwrap()[0];
        assert_eq!((words.head, words.claimed, words.released), wanted);
        assert!(words.in_flight() <= words.backlog() && words.backlog() <= words.bytes);
    }
}

#[test]
fn figures_are_there_when_they_are_written() {
    let own = owner::own();
    let file = file(own);
    let view = View::of(file.try_clone().unwrap()).unwrap();
    assert!(view.figures().unwrap().is_none());
    let mut live = Live {
        generation: 5,
        owner: own,
        monotonic_ns: 6,
        realtime_ns: 7,
        name: "audit".into(),
        storage: "sqlite".into(),
        figures: Default::default(),
        writers_left_out: 8,
    };
    live.figures.metrics.captured = 9;
    let mut bytes = vec![0; crate::journal::format::figures::FILE_BYTES];
    encode(&live, 2, &mut bytes);
    file.write_all_at(&bytes, FIGURES_AT).unwrap();
    let read = view.figures().unwrap().unwrap();
    assert_eq!((read.name.as_str(), read.figures.metrics.captured, read.writers_left_out), ("audit", 9, 8));
}

#[test]
fn what_is_no_ring_file_is_refused() {
    let file = file(owner::own());
    file.write_all_at(&9_u32.to_le_bytes(), 12).unwrap();
    let why = View::of(file.try_clone().unwrap()).unwrap_err();
    assert!(matches!(why, Unreadable::Not(NoRingFile::Version(9))), "{why}");
    file.set_len(0).unwrap();
    assert!(matches!(View::of(file).unwrap_err(), Unreadable::Not(NoRingFile::Foreign)));
    for path in ["/dev/null", "/proc/self/exe", "/"] {
        assert!(View::open(Path::new(path)).is_err(), "{path}");
    }
}
