//! Failures at run time: a full disk, a limit on files, files and directories that others delete, move or change, descriptors that the host closes. Events
//! wait or are counted; what is acknowledged is read back.

use crate::support::*;
use capture_pipeline::storage::journal::{Options, Sync};
use capture_pipeline::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_RETRY, Storage};
use std::io::{Read as _, Write as _};
use std::path::Path;

#[test]
fn a_full_disk_only_delays_until_there_is_room() {
    let Some(disk) = SmallDisk::new(8 << 20) else { return };
    let path = disk.0.file("journal");
    let pipeline = start(patient(), &path, Options::default());
    assert_eq!(offer(&pipeline, 1, 0, b"first"), 0);
    pipeline.flush(Some(PATIENCE)).expect("it flushes");
    let taken = disk.fill();
    for n in 1..5_000 {
        assert_eq!(offer(&pipeline, 1, n, &[7; 60]), 0);
    }
    until("retries", || pipeline.metrics().retries > 3);
    assert!(pipeline.metrics().ledger.stored < 5_000);
    let before = read(&path).len() as u64;
    assert_eq!(before, pipeline.metrics().ledger.stored, "a block that did not fit is cut off");
    disk.give_back(taken);
    let ledger = end(pipeline);
    assert_eq!((ledger.stored, ledger.discarded), (5_000, 0));
    assert_eq!(read(&path).len(), 5_000);
    assert!(segments(&path).iter().all(|(_, sealed, _)| *sealed));
}

#[test]
fn a_disk_too_full_for_a_directory_is_an_error_at_the_start() {
    let Some(disk) = SmallDisk::with("size=65536,nr_inodes=16") else { return };
    let mut made = 0;
    while std::fs::File::create(disk.0.file(&made.to_string())).is_ok() {
        made += 1;
    }
    let error =
        capture_pipeline::storage::journal::JournalStorage::open(&disk.0.file("none"), Options::default());
    let error = error.err().expect("refused");
    assert_eq!(error.status, capture_pipeline::status::PIPELINE_ERR_STORAGE);
    assert!(error.detail.contains("none") && error.detail.contains("cannot be made"), "{}", error.detail);
}

fn limit_files_to(bytes: u64) {
    // SAFETY: the structure is a local.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit), 0);
        limit.rlim_cur = bytes.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
    }
}

#[test]
fn a_limit_on_the_size_of_files_only_delays_and_ends_nothing() {
    let scratch = Scratch::new();
    in_a_child(|| {
        let pipeline = start(patient(), scratch.path(), Options::default());
        limit_files_to(100_000);
        for n in 0..3_000 {
            assert_eq!(offer(&pipeline, 1, n, &[7; 60]), 0);
        }
        until("retries", || pipeline.metrics().retries > 3);
        assert_eq!(read(scratch.path()).len() as u64, pipeline.metrics().ledger.stored);
        limit_files_to(u64::MAX);
        end(pipeline).stored == 3_000
    });
    assert_eq!(read(scratch.path()).len(), 3_000);
}

#[test]
fn smaller_segments_fit_below_a_limit_on_the_size_of_files() {
    let scratch = Scratch::new();
    in_a_child(|| {
        limit_files_to(100_000);
        let options = Options { segment_bytes: 65_536, ..Options::default() };
        let config = capture_pipeline::config::Config { batch_bytes: 16_384, ..patient() };
        let pipeline = start(config, scratch.path(), options);
        for n in 0..3_000 {
            assert_eq!(offer(&pipeline, 1, n, &[7; 60]), 0);
        }
        let retries = pipeline.metrics().retries;
        end(pipeline).stored == 3_000 && retries == 0
    });
    assert_eq!(read(scratch.path()).len(), 3_000);
}

#[test]
fn events_go_on_in_a_new_segment_when_theirs_is_deleted() {
    for sync in [Sync::Never, Sync::Batch] {
        let scratch = Scratch::new();
        let storage = open(scratch.path(), Options { sync, ..Options::default() });
        assert_eq!(deliver(&storage, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
        std::fs::remove_file(&files(scratch.path())[0]).expect("deleted");
        // No event is acknowledged into a file without a name.
        assert_eq!(deliver(&storage, &samples(1, 10..20)).0, PIPELINE_STORE_OK);
        assert_eq!(storage.finish(-1), 0);
        let left: Vec<u64> = read(scratch.path()).iter().map(|event| event.sequence).collect();
        assert!(left.iter().copied().eq(10..20), "{left:?}");
    }
}

#[test]
fn events_go_on_in_a_new_segment_when_another_program_changes_theirs() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), Options::default());
    assert_eq!(deliver(&storage, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
    let first = files(scratch.path())[0].clone();
    let mut file = std::fs::File::options().append(true).open(&first).expect("it opens");
    file.write_all(&[7; 1000]).expect("written");
    assert_eq!(deliver(&storage, &samples(1, 10..20)).0, PIPELINE_STORE_OK);
    let second = files(scratch.path())[1].clone();
    std::fs::File::options().write(true).open(&second).expect("it opens").set_len(600).expect("cut");
    assert_eq!(deliver(&storage, &samples(1, 20..30)).0, PIPELINE_STORE_OK);
    assert_eq!(storage.finish(-1), 0);
    let (events, _) = read_damaged(scratch.path());
    let left: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    assert!(left.iter().copied().eq((0..10).chain(20..30)), "{left:?}");
}

#[test]
fn a_directory_that_is_moved_goes_on_where_it_is() {
    let scratch = Scratch::new();
    let (here, there) = (scratch.file("here"), scratch.file("there"));
    let storage = open(&here, Options { segment_bytes: 64 << 10, ..Options::default() });
    assert_eq!(deliver(&storage, &[sized(1, 0, 60_000)]).0, PIPELINE_STORE_OK);
    std::fs::rename(&here, &there).expect("moved");
    for n in 1..5 {
        assert_eq!(deliver(&storage, &[sized(1, n, 60_000)]).0, PIPELINE_STORE_OK);
    }
    assert_eq!(storage.finish(-1), 0);
    assert!(!here.exists());
    assert_eq!((files(&there).len(), read(&there).len()), (5, 5));
}

#[test]
fn a_directory_that_is_deleted_is_made_anew() {
    let scratch = Scratch::new();
    let path = scratch.file("journal");
    let storage = open(&path, Options::default());
    assert_eq!(deliver(&storage, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
    std::fs::remove_dir_all(&path).expect("deleted");
    assert_eq!(deliver(&storage, &samples(1, 10..20)).0, PIPELINE_STORE_OK);
    assert_eq!(read(&path).len(), 10);
    // What cannot be opened is named, and opened once it can.
    std::fs::remove_dir_all(&path).expect("deleted");
    std::fs::write(&path, "no directory").expect("written");
    assert_eq!(deliver(&storage, &samples(1, 20..30)).0, PIPELINE_STORE_RETRY);
    std::fs::remove_file(&path).expect("deleted");
    assert_eq!(deliver(&storage, &samples(1, 20..30)).0, PIPELINE_STORE_OK);
    assert_eq!(storage.finish(-1), 0);
    assert_eq!(read(&path).len(), 10);
}

#[test]
fn a_pipeline_keeps_its_events_while_the_directory_cannot_be_made() {
    let scratch = Scratch::new();
    let (parent, moved) = (scratch.file("parent"), scratch.file("moved"));
    std::fs::create_dir(&parent).expect("made");
    let pipeline = start(patient(), &parent.join("journal"), Options::default());
    assert_eq!(offer(&pipeline, 1, 0, b"first"), 0);
    pipeline.flush(Some(PATIENCE)).expect("flushed");
    std::fs::remove_dir_all(&parent).expect("deleted");
    for n in 1..1_000 {
        assert_eq!(offer(&pipeline, 1, n, &[7; 60]), 0);
    }
    until("retries", || pipeline.metrics().retries > 3);
    assert_eq!(pipeline.metrics().ledger.stored, 1);
    std::fs::create_dir(&moved).expect("made");
    std::fs::rename(&moved, &parent).expect("it is back");
    let ledger = end(pipeline);
    assert_eq!((ledger.stored, ledger.discarded), (1_000, 0));
    assert_eq!(read(&parent.join("journal")).len(), 999);
}

/// Closes every descriptor from 3 on, and opens files of the host's own, which get the numbers.
fn close_all(folder: &Path) -> Vec<std::fs::File> {
    // SAFETY: only this child's own descriptors, which nothing of the test uses any more.
    unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32) };
    let make = |n: u32| {
        let mut file = std::fs::File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(folder.join(format!("own.{n}")))
            .expect("made");
        file.write_all(b"what the host keeps").expect("written");
        file
    };
    (0..32).map(make).collect()
}

#[test]
fn nothing_is_written_into_files_of_a_host_that_has_closed_every_descriptor() {
    for sync in [Sync::Never, Sync::Flush, Sync::Batch] {
        let (scratch, own) = (Scratch::new(), Scratch::new());
        in_a_child(|| {
            let storage = open(scratch.path(), Options { sync, ..Options::default() });
            let mut files = Vec::new();
            for n in 0..5u64 {
                for writer in 0..3u64 {
                    let events = samples(writer, n * 10..n * 10 + 10);
                    let answer = deliver_as(writer as u32, &storage, &events).0;
                    assert_eq!(answer, PIPELINE_STORE_OK, "{n} {writer}");
                }
                if n == 3 {
                    assert_eq!(storage.flush(-1), 0);
                }
                files.into_iter().for_each(std::mem::forget);
                files = close_all(&own.path().join("."));
                assert_eq!(storage.flush(-1), 0, "{n} {sync:?}");
            }
            let finished = storage.finish(-1);
            drop(storage);
            let kept = files.iter_mut().all(|file| {
                use std::io::Seek;
                let mut text = String::new();
                file.rewind().expect("the host's");
                file.read_to_string(&mut text).expect("the host's");
                text.starts_with("what the host keeps") && text.replace("what the host keeps", "").is_empty()
            });
            finished == 0 && kept
        });
        assert_eq!(read(scratch.path()).len(), 150, "{sync:?}");
        // Each writer went on in its segment, which is sealed.
        assert_eq!(segments(scratch.path()), [(1, true, 50), (2, true, 50), (3, true, 50)]);
    }
}

#[test]
fn writers_share_a_segment_while_no_other_can_be_made() {
    let scratch = Scratch::new();
    in_a_child(|| {
        let storage = open(scratch.path(), Options { segment_bytes: 64 << 10, ..Options::default() });
        assert_eq!(deliver_as(1, &storage, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
        // SAFETY: the structure is a local.
        unsafe {
            let mut limit: libc::rlimit = std::mem::zeroed();
            assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
            limit.rlim_cur = 3;
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        }
        assert_eq!(deliver_as(2, &storage, &samples(2, 0..10)).0, PIPELINE_STORE_OK);
        // Nor is one sealed for its size, because no new one can be made.
        for n in 10..30 {
            assert_eq!(deliver_as(1, &storage, &[sized(1, n, 10_000)]).0, PIPELINE_STORE_OK);
        }
        storage.finish(-1) == 0
    });
    assert_eq!(segments(scratch.path()), [(1, true, 40)]);
    assert_eq!(read(scratch.path()).len(), 40);
}

#[test]
fn a_child_neither_writes_nor_seals_the_segments_of_its_parent() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), Options::default());
    assert_eq!(deliver(&storage, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
    in_a_child(|| {
        let answers = deliver(&storage, &samples(1, 10..20)).0 == PIPELINE_STORE_RETRY
            && storage.flush(-1) == capture_pipeline::status::PIPELINE_ERR_FORKED
            && storage.finish(-1) == capture_pipeline::status::PIPELINE_ERR_FORKED;
        // It can open a storage of its own, in the same directory.
        let own = open(scratch.path(), Options::default());
        let stored = deliver(&own, &samples(2, 0..5)).0 == PIPELINE_STORE_OK && own.finish(-1) == 0;
        drop(own);
        // As a destructor of the parent's would.
        // SAFETY: the child does not use the parent's storage any more.
        drop(unsafe { std::ptr::read(&raw const storage) });
        answers && stored
    });
    assert_eq!(deliver(&storage, &samples(1, 10..20)).0, PIPELINE_STORE_OK);
    assert_eq!(storage.finish(-1), 0);
    assert_eq!(segments(scratch.path()), [(1, true, 20), (2, true, 5)]);
    assert_eq!(read(scratch.path()).len(), 25);
}
