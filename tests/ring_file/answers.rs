//! What a storage answers decides what becomes of each event: stored, rejected, tried again, or left in the file.

use crate::image::{Event, Image, word};
use crate::support::{Keeping, Scratch, recover_into};
use capture_pipeline::batch::{BatchView, WriterData, token};
use capture_pipeline::recovery::{FileReport, Options, Outcome, Report, recover};
use capture_pipeline::ring_file::format::ring;
use capture_pipeline::status::{PIPELINE_ERR_STORAGE, PIPELINE_ERR_TIMEOUT};
use capture_pipeline::storage::feed::Feed;
use capture_pipeline::storage::{
    Abilities, PIPELINE_REASON_REJECTED, PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_REJECT,
    PIPELINE_STORE_RETRY, Storage,
};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Files with the generations 1 to `files`, each with ten events in one ring.
fn files(scratch: &Scratch, files: u64) -> Image {
    let mut last = Image::new(1, (4096, 1), (0, 0));
    for generation in 1..=files {
        let mut image = Image::new(generation, (4096, 1), (0, 0));
        image.ring(0, 1, 0, 0);
        (0..10).for_each(|n| assert!(image.push(0, &Event::new(n, b"12345678"))));
        image.write(scratch.path());
        last = image;
    }
    last
}

/// An attempt: batch, attempt, the first and the number of the events.
type Attempt = (u64, u32, u64, usize);

type Answering = dyn Fn(&BatchView, usize) -> i32 + Send + Sync;

/// Answers by a closure, which is told how many attempts came before.
#[derive(Clone)]
struct By {
    kept: Keeping,
    attempts: Arc<Mutex<Vec<Attempt>>>,
    dead: Keeping,
    /// What `dead_letter` answers, one call after the other.
    dead_answers: Arc<Mutex<Vec<i32>>>,
    flush: i32,
    opened: Arc<AtomicU32>,
    answer: Arc<Answering>,
}

impl By {
    fn new(answer: impl Fn(&BatchView, usize) -> i32 + Send + Sync + 'static) -> Self {
        Self {
            kept: Keeping::default(),
            attempts: Arc::default(),
            dead: Keeping::default(),
            dead_answers: Arc::new(Mutex::new(vec![0])),
            flush: 0,
            opened: Arc::default(),
            answer: Arc::new(answer),
        }
    }
}

// SAFETY: a batch is used before its answer alone.
unsafe impl Storage for By {
    fn abilities(&self) -> Abilities {
        Abilities { flush: true, dead_letter: true, ..Abilities::default() }
    }
    fn open_writer(&self, _: u32) -> Result<WriterData, i32> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(WriterData(std::ptr::without_provenance_mut(77)))
    }
    fn close_writer(&self, _: u32, data: WriterData) {
        assert_eq!(data.0 as usize, 77);
        self.opened.fetch_add(100, Ordering::Relaxed);
    }
    fn store(&self, batch: &BatchView) -> i32 {
        assert_eq!((batch.writer_data as usize, batch.writer_id), (77, 0));
        let attempt = (batch.batch_id, batch.attempt, batch.events()[0].sequence, batch.count);
        let before = {
            let mut attempts = self.attempts.lock().unwrap();
            attempts.push(attempt);
            attempts.len() - 1
        };
        let answer = (self.answer)(batch, before);
        if answer == PIPELINE_STORE_OK {
            self.kept.take(batch);
        }
        answer
    }
    fn flush(&self, _: i64) -> i32 {
        self.flush
    }
    fn dead_letter(&self, batch: &BatchView, reason: i32) -> i32 {
        assert_eq!(reason, PIPELINE_REASON_REJECTED);
        let mut answers = self.dead_answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
        if answer == 0 {
            self.dead.take(batch);
        }
        answer
    }
}

fn recover_for(path: &Path, storage: By, retry_for: Duration) -> (Report, Vec<FileReport>) {
    let mut files = Vec::new();
    let done =
        recover(path, &mut Feed::new(storage), &Options { retry_for }, |file| files.push(file.clone()));
    (done.unwrap(), files)
}

#[test]
fn what_is_not_taken_is_tried_again_as_the_same_batch() {
    let scratch = Scratch::new();
    files(&scratch, 1);
    let storage = By::new(|_, before| {
        [PIPELINE_STORE_RETRY, 99, PIPELINE_STORE_RETRY, PIPELINE_STORE_OK][before.min(3)]
    });
    let (report, _) = recover_into(scratch.path(), storage.clone());
    assert_eq!((report.runs, report.events, report.stopped), (1, 10, None));
    assert_eq!(
        *storage.attempts.lock().unwrap(),
        [(1, 1, 0, 10), (1, 2, 0, 10), (1, 3, 0, 10), (1, 4, 0, 10)]
    );
    assert_eq!(storage.opened.load(Ordering::Relaxed), 101, "opened once, closed once");
}

#[test]
fn a_storage_that_takes_nothing_ends_the_recovery_and_nothing_is_lost() {
    let scratch = Scratch::new();
    files(&scratch, 3);
    // The first run is stored, the second is not.
    let storage =
        By::new(|batch, _| if batch.generation == 1 { PIPELINE_STORE_OK } else { PIPELINE_STORE_RETRY });
    let (report, shown) = recover_for(scratch.path(), storage.clone(), Duration::from_millis(20));
    assert_eq!((report.runs, report.left, report.events, shown.len()), (1, 1, 10, 2));
    let error = report.stopped.unwrap();
    assert_eq!(error.status, PIPELINE_ERR_STORAGE);
    let words = "0000000000000002.rings: the storage has not taken 10 events (it answered 1)";
    assert!(error.detail.contains(words) && error.detail.contains("stays in the ring files"), "{error}");
    assert!(matches!(&shown[1].outcome, Outcome::Left(why) if why.contains("not taken 10 events")));
    assert_eq!(scratch.names(), ["0000000000000002.rings", "0000000000000003.rings"]);
    let kept = Keeping::default();
    let (report, _) = recover_into(scratch.path(), kept.clone());
    assert_eq!((report.runs, kept.identities().len(), scratch.names()), (2, 20, vec![]));
}

#[test]
fn a_prefix_that_is_stored_is_acknowledged_and_not_given_again() {
    let scratch = Scratch::new();
    let image = files(&scratch, 1);
    let storage = By::new(|batch, before| match before {
        0 => {
            token::set_stored(batch.token, 4).unwrap();
            PIPELINE_STORE_RETRY
        }
        1 => {
            let later = batch.token;
            std::thread::spawn(move || token::complete(later, 3, PIPELINE_STORE_RETRY).unwrap());
            PIPELINE_STORE_PENDING
        }
        _ => PIPELINE_STORE_RETRY,
    });
    let (report, _) = recover_for(scratch.path(), storage.clone(), Duration::from_millis(20));
    assert_eq!((report.left, report.events), (1, 7));
    let attempts = storage.attempts.lock().unwrap().clone();
    assert_eq!(attempts[..3], [(1, 1, 0, 10), (1, 2, 4, 6), (1, 3, 7, 3)]);
    let path = scratch.path().join(image.file_name());
    assert_eq!(word(&path, image.header.shape.header_at(0) + ring::RELEASED), 7 * 56);
    assert_eq!(word(&path, image.header.shape.header_at(0) + ring::CLAIMED), 10 * 56);
    let kept = Keeping::default();
    recover_into(scratch.path(), kept.clone());
    assert_eq!(kept.identities(), [(1, 1, 7), (1, 1, 8), (1, 1, 9)]);
}

#[test]
fn rejected_events_go_to_the_dead_letter_and_are_counted() {
    for (answers, kept, discarded) in
        [(vec![0], 3, 0), (vec![PIPELINE_STORE_RETRY, 5, 0], 3, 0), (vec![PIPELINE_STORE_REJECT], 0, 3)]
    {
        let scratch = Scratch::new();
        files(&scratch, 1);
        let mut storage = By::new(|batch, _| {
            [9, 2, 2, 5, 99].iter().for_each(|&index| {
                token::set_rejected(batch.token, index).unwrap();
            });
            PIPELINE_STORE_OK
        });
        storage.dead_answers = Arc::new(Mutex::new(answers));
        let (report, files) = recover_into(scratch.path(), storage.clone());
        assert_eq!((report.runs, report.events), (1, 7));
        assert_eq!((report.dead_lettered, report.discarded), (kept, discarded));
        let dead = storage.dead.identities();
        assert_eq!(dead, [(1, 1, 2), (1, 1, 5), (1, 1, 9)][..kept as usize]);
        let words =
            if kept == 3 { "3 rejected events are dead-lettered" } else { "3 rejected events are discarded" };
        assert!(files[0].to_string().contains(words), "{}", files[0]);
        assert_eq!(files[0].has_losses(), discarded != 0);
    }
}

#[test]
fn a_rejected_batch_goes_to_the_dead_letter_behind_the_prefix_that_is_stored() {
    let scratch = Scratch::new();
    files(&scratch, 1);
    let storage = By::new(|batch, _| {
        token::set_stored(batch.token, 6).unwrap();
        token::set_rejected(batch.token, 1).unwrap();
        PIPELINE_STORE_REJECT
    });
    let (report, _) = recover_into(scratch.path(), storage.clone());
    assert_eq!((report.runs, report.events, report.dead_lettered), (1, 5, 5));
    let dead: Vec<u64> = storage.dead.identities().iter().map(|(.., n)| *n).collect();
    assert_eq!(dead, [1, 6, 7, 8, 9]);
}

#[test]
fn a_dead_letter_that_takes_nothing_leaves_the_events_in_the_file() {
    let scratch = Scratch::new();
    files(&scratch, 1);
    let mut storage = By::new(|_, _| PIPELINE_STORE_REJECT);
    storage.dead_answers = Arc::new(Mutex::new(vec![PIPELINE_STORE_RETRY]));
    let (report, _) = recover_for(scratch.path(), storage, Duration::from_millis(10));
    assert_eq!((report.left, report.dead_lettered, report.discarded), (1, 0, 0));
    assert!(report.stopped.unwrap().detail.contains("dead_letter returned 1"));
    assert_eq!(recover_into(scratch.path(), Keeping::default()).0.events, 10);
}

#[test]
fn a_file_is_deleted_only_when_its_events_are_flushed() {
    let scratch = Scratch::new();
    files(&scratch, 1);
    let mut storage = By::new(|_, _| PIPELINE_STORE_OK);
    storage.flush = PIPELINE_ERR_TIMEOUT;
    let (report, _) = recover_into(scratch.path(), storage);
    assert_eq!((report.left, report.events), (1, 10));
    assert!(report.stopped.unwrap().detail.contains("flush returned -10"));
    assert_eq!(scratch.names().len(), 1);
    let (report, _) = recover_into(scratch.path(), Keeping::default());
    assert_eq!((report.runs, report.events, scratch.names()), (1, 0, vec![]));
}

#[test]
fn a_storage_that_takes_no_facts_is_given_none() {
    let scratch = Scratch::new();
    let mut image = Image::new(1, (4096, 1), (0, 0));
    image.fact(capture_pipeline::event::PIPELINE_KIND_KIND_NAME, 7, b"seven").ring(0, 1, 2, 0);
    image.push(0, &Event::new(0, b""));
    image.write(scratch.path());
    let storage = By::new(|batch, _| {
        // It can ask for them all the same, by the batch's token.
        let known = token::answered(batch.token).unwrap();
        assert_eq!(known.facts().unwrap().since(0).count(), 1);
        assert_eq!(known.thread_of(1).map(|(tid, _)| tid), Some(2));
        assert_eq!(known.thread_of(3), None);
        PIPELINE_STORE_OK
    });
    let (report, _) = recover_into(scratch.path(), storage.clone());
    assert_eq!((report.runs, report.events, report.facts), (1, 1, 0));
    assert!(storage.kept.facts.lock().unwrap().is_empty());
}
