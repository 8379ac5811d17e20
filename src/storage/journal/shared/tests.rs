//! The lists of segments, looked through by a flush while other threads change them.

use super::*;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::Duration;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("capture_pipeline-journal-shared-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn shared(&self) -> Shared {
        let options = Options { sync: Sync::Flush, ..Options::default() };
        let place = Place::open(&self.0, options.modes(), &super::super::WORDS).expect("a directory");
        Shared::new(options, place, crate::journal::owner::Author::own(), Messages::new(self.0.clone()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn segment(shared: &Shared) -> Arc<Segment> {
    let seen = shared.knowledge.look();
    shared.make_segment(1, 0, &seen, None).expect("a segment")
}

fn has(shared: &Shared, segment: &Segment) -> bool {
    shared.all(true).expect("memory").iter().any(|one| one.id() == segment.id())
}

/// There are many sealed segments, and a writer waits for the disk to get rid of the oldest. Its events were acknowledged before, so a flush
/// must wait for the same.
#[test]
fn a_flush_waits_for_the_segment_that_a_writer_is_writing_through() {
    let scratch = Scratch::new("flush");
    let shared = scratch.shared();
    let segments: Vec<_> = (0..=MOST_UNSYNCED).map(|_| segment(&shared)).collect();
    segments.iter().for_each(|segment| shared.forget(segment));
    let held = segments[0].hold_file();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| shared.limit_unsynced());
        for _ in 0..100 {
            assert!(has(&shared, &segments[0]), "a flush would not find it");
            std::thread::sleep(Duration::from_millis(1));
        }
        let flush = scope.spawn(|| shared.flush().map(|()| segments[0].is_synced()));
        drop(held);
        writer.join().expect("no panic");
        assert!(flush.join().expect("no panic").expect("flushed"), "the flush did not wait");
    });
    assert!(shared.unsynced.lock().is_empty());
    assert!(segments.iter().all(|segment| segment.is_synced()));
}

#[test]
fn a_segment_is_in_one_of_the_lists_while_it_is_sealed() {
    let scratch = Scratch::new("lists");
    let shared = scratch.shared();
    for _ in 0..500 {
        let segment = segment(&shared);
        let begin = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                begin.wait();
                shared.forget(&segment);
            });
            begin.wait();
            while shared.find(segment.id()).is_some() {
                assert!(has(&shared, &segment), "a flush would not find it");
            }
            assert!(has(&shared, &segment), "a flush would not find it");
        });
        shared.unsynced.lock().clear();
    }
}

/// Several threads may see that a sync of one segment has failed. Of the flushes that follow, one reports it: the first.
#[test]
fn the_flush_that_follows_a_failed_sync_reports_it_even_before_it_is_noted() {
    let scratch = Scratch::new("failed");
    let shared = scratch.shared();
    let segment = segment(&shared);
    std::fs::remove_file(scratch.0.join(crate::journal::format::segment::file_name(1, 1))).expect("deleted");
    // As the thread of `sync` does it, up to where it notes the failure.
    let failure = segment.sync().expect_err("it has no name any more");
    shared.flush().expect_err("a flush after the failure");
    shared.note_failed_sync(&segment, &failure);
    shared.flush().expect("it was reported");
}
