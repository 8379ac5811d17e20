//! When the storage waits for the disk, and what becomes of events if that fails.

use crate::support::*;
use capture_pipeline::status::PIPELINE_ERR_STORAGE;
use capture_pipeline::storage::journal::{Options, Sync};
use capture_pipeline::storage::{PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, Storage};

const ALL: [Sync; 4] = [Sync::Never, Sync::Flush, Sync::Interval, Sync::Batch];

#[test]
fn every_mode_stores_every_event() {
    for sync in ALL {
        let scratch = Scratch::new();
        let options = Options { sync, sync_interval_ms: 1, segment_bytes: 64 << 10, ..Options::default() };
        let pipeline = start(patient(), scratch.path(), options);
        for n in 0..10_000 {
            assert_eq!(offer(&pipeline, 1, n, &[7; 64]), 0);
            if n % 1_000 == 0 {
                pipeline.flush(Some(PATIENCE)).expect("flushed");
            }
        }
        let ledger = end(pipeline);
        assert_eq!(ledger.stored, 10_000, "{sync:?}");
        assert_eq!(read(scratch.path()).len(), 10_000, "{sync:?}");
        assert!(segments(scratch.path()).iter().all(|(_, sealed, _)| *sealed));
    }
}

#[test]
fn a_batch_is_acknowledged_later_only_where_it_waits_for_the_disk() {
    for sync in ALL {
        let scratch = Scratch::new();
        let storage = open(scratch.path(), Options { sync, ..Options::default() });
        let views = [];
        assert_eq!(deliver_views(1, &storage, &views).0, PIPELINE_STORE_OK, "an empty batch");
        let first = first_answer(&storage, &samples(1, 0..10));
        assert_eq!(first == PIPELINE_STORE_PENDING, sync == Sync::Batch, "{sync:?}");
        assert_eq!(deliver(&storage, &samples(1, 10..20)).0, PIPELINE_STORE_OK);
        assert_eq!(storage.flush(-1), 0);
        assert_eq!(read(scratch.path()).len(), 20);
    }
}

#[test]
fn batches_of_many_writers_share_the_waiting() {
    let scratch = Scratch::new();
    let storage = open(scratch.path(), Options { sync: Sync::Batch, ..Options::default() });
    std::thread::scope(|scope| {
        for writer in 0..4u32 {
            let storage = &storage;
            scope.spawn(move || {
                for n in 0..50 {
                    let events = samples(u64::from(writer), n * 5..n * 5 + 5);
                    assert_eq!(deliver_as(writer, storage, &events), (PIPELINE_STORE_OK, 0, vec![]));
                }
            });
        }
    });
    assert_eq!(storage.finish(-1), 0);
    assert_eq!(read(scratch.path()).len(), 1_000);
}

/// A segment that was deleted cannot be written through: a power loss would lose its events.
#[test]
fn a_flush_says_once_that_events_may_be_lost_and_later_ones_are_not() {
    for sync in [Sync::Flush, Sync::Interval] {
        let scratch = Scratch::new();
        let options = Options { sync, sync_interval_ms: 3_600_000, ..Options::default() };
        let storage = open(scratch.path(), options);
        assert_eq!(deliver(&storage, &samples(1, 0..10)).0, PIPELINE_STORE_OK);
        assert_eq!(storage.flush(-1), 0);
        assert_eq!(deliver(&storage, &samples(1, 10..20)).0, PIPELINE_STORE_OK);
        std::fs::remove_file(&files(scratch.path())[0]).expect("deleted");
        assert_eq!(storage.flush(-1), PIPELINE_ERR_STORAGE, "{sync:?}");
        assert_eq!(storage.flush(-1), 0);
        assert_eq!(deliver(&storage, &samples(1, 20..30)).0, PIPELINE_STORE_OK);
        assert_eq!(storage.flush(-1), 0);
        assert_eq!(storage.finish(-1), 0);
        let left: Vec<u64> = read(scratch.path()).iter().map(|event| event.sequence).collect();
        assert!(left.iter().copied().eq(20..30), "{left:?}");
    }
}

#[test]
fn what_was_deleted_to_make_room_need_not_be_on_the_disk() {
    let scratch = Scratch::new();
    let options = Options { sync: Sync::Flush, max_bytes: 1 << 20, ..Options::default() };
    let storage = open(scratch.path(), options);
    for n in 0..300 {
        assert_eq!(deliver(&storage, &[sized(1, n, 10_000)]).0, PIPELINE_STORE_OK);
    }
    assert_eq!(storage.flush(-1), 0);
    assert_eq!(storage.finish(-1), 0);
}

#[test]
fn a_storage_that_is_given_up_answers_every_batch() {
    let scratch = Scratch::new();
    let pipeline = start(patient(), scratch.path(), Options { sync: Sync::Batch, ..Options::default() });
    for n in 0..2_000 {
        assert_eq!(offer(&pipeline, 1, n, &[7; 64]), 0);
    }
    pipeline.flush(Some(PATIENCE)).expect("flushed");
    for n in 0..2_000 {
        assert_eq!(offer(&pipeline, 2, n, &[7; 64]), 0);
    }
    // What is written and waits for the disk keeps the pipeline until it is answered.
    pipeline.abandon();
    until("sealed", || segments(scratch.path()).iter().all(|(_, sealed, _)| *sealed));
    let events = read(scratch.path());
    assert_eq!(events.iter().filter(|event| event.kind == 1).count(), 2_000);
}
