//! Whose file it is: a living owner's is never touched, a dead one's is delivered, and by one recovery at a time.

use crate::image::{Event, Image, patch};
use crate::support::{Keeping, Scratch, read_all, recover_into, take, take_run};
use capture_pipeline::journal::format::segment::Owner;
use capture_pipeline::journal::owner;
use capture_pipeline::recovery::Outcome;
use capture_pipeline::ring_file::format::ring;
use capture_pipeline::ring_file::reader::{Clock, Next, Piece, RingFile, RingReader, RingWords, Taken};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

fn image(owner: Owner) -> Image {
    let mut image = Image::new(1, (4096, 1), (0, 0));
    image.header.owner = owner;
    image.ring(0, 1, 2, 0);
    (0..5).for_each(|n| assert!(image.push(0, &Event::new(n, b"payload"))));
    image
}

/// Locks a byte of the file, as its owner (0) or a recovery (1) does. `false`: another open file has the lock.
fn lock(file: &File, byte: i64) -> bool {
    const F_OFD_SETLK: libc::c_int = 37;
    // SAFETY: zeroes are a valid flock; the descriptor is open.
    unsafe {
        let mut lock: libc::flock = std::mem::zeroed();
        (lock.l_type, lock.l_start, lock.l_len) = (libc::F_WRLCK as libc::c_short, byte, 1);
        libc::fcntl(file.as_raw_fd(), F_OFD_SETLK, &raw mut lock) == 0
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).expect("the file")
}

#[test]
fn a_file_whose_owner_holds_its_lock_is_not_touched() {
    let scratch = Scratch::new();
    let path = image(owner::own()).write(scratch.path());
    let held = open(&path);
    assert!(lock(&held, 0));
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(take(&scratch, &path), Taken::Living(pid) if pid == std::process::id()));
    let kept = Keeping::default();
    let (report, files) = recover_into(scratch.path(), kept.clone());
    assert_eq!((report.living, report.runs, report.events, kept.identities()), (1, 0, 0, vec![]));
    assert_eq!(files[0].outcome, Outcome::Living(std::process::id()));
    assert!(files[0].to_string().contains(&format!("process {} captures into it", std::process::id())));
    assert!(std::fs::read(&path).unwrap() == before);
    // Its byte for recovery is free all the while.
    assert!(lock(&open(&path), 1));
    // An owner that has given up its lock has closed the pipeline, and its file is an old one, though the process lives.
    drop(held);
    let (report, _) = recover_into(scratch.path(), kept.clone());
    assert_eq!((report.runs, report.events, kept.identities().len()), (1, 5, 5));
}

#[test]
fn a_lock_that_outlives_its_owner_does_not_make_it_alive() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    let dead = Owner { pid, start_time: owner::start_time(pid).unwrap(), ..owner::own() };
    let scratch = Scratch::new();
    let path = image(dead).write(scratch.path());
    // This process holds the lock, as a child would that was made by a bare clone.
    let held = open(&path);
    assert!(lock(&held, 0));
    assert!(matches!(take(&scratch, &path), Taken::Living(of) if of == pid));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(read_all(&mut take_run(&scratch, &path)).len(), 5);
    // Where this process cannot see the owner, it is taken for alive.
    for unseen in [
        Owner { pid_namespace: dead.pid_namespace + 1, ..dead },
        Owner { boot_id: [7; 16], ..dead },
        Owner { boot_id: [0; 16], ..dead },
    ] {
        image(unseen).write(scratch.path());
        assert!(matches!(take(&scratch, &path), Taken::Living(of) if of == pid), "{unseen:?}");
    }
    drop(held);
    for unseen in [Owner { pid_namespace: 1, ..dead }, Owner { boot_id: [7; 16], ..dead }] {
        image(unseen).write(scratch.path());
        assert_eq!(read_all(&mut take_run(&scratch, &path)).len(), 5);
    }
    // A process id that another process has got.
    let reused = Owner { start_time: owner::own().start_time - 1, ..owner::own() };
    image(reused).write(scratch.path());
    let held = open(&path);
    assert!(lock(&held, 0));
    assert_eq!(read_all(&mut take_run(&scratch, &path)).len(), 5);
}

#[test]
fn a_lock_lasts_as_long_as_the_mapping() {
    // The owner's descriptor may be closed by another part of its program. Its file stays its own.
    let scratch = Scratch::new();
    let path = image(owner::own()).write(scratch.path());
    let file = open(&path);
    assert!(lock(&file, 0));
    // SAFETY: a new mapping of an open file.
    let mapped = unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(std::ptr::null_mut(), 4096, access, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    assert_ne!(mapped, libc::MAP_FAILED);
    drop(file);
    assert!(matches!(take(&scratch, &path), Taken::Living(_)));
    // SAFETY: mapped above, and not used.
    unsafe { libc::munmap(mapped, 4096) };
    assert!(matches!(take(&scratch, &path), Taken::Run(_)));
}

#[test]
fn two_recoveries_at_once_do_not_both_deliver() {
    let scratch = Scratch::new();
    let path = image(Owner { boot_id: [9; 16], ..owner::own() }).write(scratch.path());
    let mut first = take_run(&scratch, &path);
    assert!(matches!(take(&scratch, &path), Taken::Busy));
    let kept = Keeping::default();
    let (report, files) = recover_into(scratch.path(), kept.clone());
    assert_eq!((report.busy, report.runs, kept.identities()), (1, 0, vec![]));
    assert!(files[0].to_string().contains("being recovered by another process"), "{}", files[0]);
    // The first one ends in the middle, and the second goes on behind what was acknowledged.
    let mut piece = Piece::default();
    assert!(first.next(&mut piece).unwrap());
    first.acknowledge(piece.ring(), piece.position(2)).unwrap();
    drop(first);
    let (report, _) = recover_into(scratch.path(), kept.clone());
    assert_eq!((report.runs, kept.identities()), (1, vec![(1, 1, 2), (1, 1, 3), (1, 1, 4)]));
}

#[test]
fn many_recoveries_at_once_deliver_each_event_once() {
    let scratch = Scratch::new();
    for generation in 1..=30 {
        let mut image = Image::new(generation, (4096, 1), (0, 0));
        image.ring(0, 1, 0, 0);
        (0..9).for_each(|n| assert!(image.push(0, &Event::new(n, b""))));
        image.write(scratch.path());
    }
    let kept = Keeping::default();
    let runs: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| recover_into(scratch.path(), kept.clone()).0.runs)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    let mut identities = kept.identities();
    identities.sort_unstable();
    let wanted: Vec<_> = (1..=30).flat_map(|generation| (0..9).map(move |n| (generation, 1, n))).collect();
    assert_eq!((runs, identities, scratch.names()), (30, wanted, vec![]));
}

#[test]
fn a_file_that_was_never_finished_is_deleted_once_nobody_makes_it() {
    let scratch = Scratch::new();
    for bytes in [0, 100, 8192] {
        let path = scratch.path().join("00000000000000aa.rings");
        std::fs::write(&path, vec![0; bytes]).unwrap();
        let making = open(&path);
        assert!(lock(&making, 0));
        assert!(matches!(take(&scratch, &path), Taken::Living(0)), "{bytes}");
        let (report, files) = recover_into(scratch.path(), Keeping::default());
        assert!(report.living == 1 && files[0].to_string().contains("being made"), "{}", files[0]);
        drop(making);
        let recovering = open(&path);
        assert!(lock(&recovering, 1));
        assert!(matches!(take(&scratch, &path), Taken::Busy), "{bytes}");
        drop(recovering);
        let (report, files) = recover_into(scratch.path(), Keeping::default());
        assert_eq!((report.unfinished, report.runs, scratch.names()), (1, 0, vec![]), "{bytes}");
        assert_eq!(files[0].outcome, Outcome::Unfinished);
    }
}

#[test]
fn a_living_owner_s_file_is_read_without_its_help() {
    let scratch = Scratch::new();
    let path = image(owner::own()).write(scratch.path());
    let held = open(&path);
    assert!(lock(&held, 0));
    let directory = scratch.directory();
    let file = RingFile::open(&directory, c"0000000000000001.rings", 1).unwrap();
    assert!(file.owner_lives().unwrap());
    let words = file.ring(0).unwrap();
    assert_eq!((words.ring_id, words.tid, words.thread_name(), words.released), (1, 2, &b"thread"[..], 0));
    drop(held);
    assert!(!file.owner_lives().unwrap());
    assert!(path.exists());
}

#[test]
fn a_file_that_was_recovered_meanwhile_is_not_delivered_again() {
    for _ in 0..10 {
        let scratch = Scratch::new();
        let kept = Keeping::default();
        for generation in 1..=8 {
            let mut image = Image::new(generation, (4096, 1), (0, 0));
            image.ring(0, 1, 0, 0).push(0, &Event::new(0, b""));
            image.write(scratch.path());
        }
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| recover_into(scratch.path(), kept.clone()));
            }
        });
        let mut identities = kept.identities();
        identities.sort_unstable();
        assert_eq!(identities, (1..=8).map(|generation| (generation, 1, 0)).collect::<Vec<_>>());
    }
}

/// Changes the words of the only ring, as its owner does.
fn set(image: &Image, path: &Path, words: &[(u64, u64)]) {
    for &(word, to) in words {
        patch(path, image.header.shape.header_at(0) + word, &to.to_le_bytes());
    }
}

#[test]
fn what_is_released_while_it_is_read_is_left_out() {
    let scratch = Scratch::new();
    let image = image(owner::own());
    let path = image.write(scratch.path());
    let directory = scratch.directory();
    let file = RingFile::open(&directory, c"0000000000000001.rings", 1).unwrap();
    let clock = Clock::read(&file).unwrap();
    let read = |words: RingWords| {
        let mut reader = RingReader::new(&file, 0, words, true).unwrap().unwrap();
        let mut piece = Piece::default();
        let next = reader.next(&file, &mut piece).unwrap();
        let events: Vec<u64> = piece.events(0, 1, &clock, 0).map(|event| event.sequence).collect();
        (next, events, piece.from(), piece.upto())
    };
    let words = file.ring(0).unwrap();
    assert_eq!(read(words), (Next::Piece, vec![0, 1, 2, 3, 4], 0, 280));
    // The owner overwrites the first three with what is no record.
    set(&image, &path, &[(ring::RELEASED, 168)]);
    patch(&path, image.at(0, 0), &[0xFF; 168]);
    assert_eq!(read(words), (Next::Piece, vec![3, 4], 168, 280));
    // All of it, and more.
    set(&image, &path, &[(ring::HEAD, 400), (ring::RELEASED, 400)]);
    assert_eq!(read(words), (Next::End, vec![], 280, 280));
    // What is committed and released between the reading of the two words is none.
    let between = RingWords { head: 280, released: 400, ..words };
    assert!(RingReader::new(&file, 0, between, true).unwrap().is_none());
    assert!(RingReader::new(&file, 0, between, false).is_err());
    // Another thread has got the ring.
    set(&image, &path, &[(ring::RELEASED, 0), (ring::RING_ID, 2)]);
    assert_eq!(read(words), (Next::Reassigned, vec![], 0, 0));
    // A position that can be none ends the reading, too.
    set(&image, &path, &[(ring::RELEASED, 3), (ring::RING_ID, 1)]);
    assert!(matches!(read(words), (Next::Damaged(_), ..)));
}
