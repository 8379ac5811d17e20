//! A storage that hands every batch to two others, the journal and SQLite, and answers OK when both have stored it. So whatever comes between, the
//! same events are in both: a retry gives the batch to both again, and each of them tells by an event's identity that it has it already.

use crate::desk::{Answer, Desk};
use crate::offers::is_refused;
use crate::plan::{Plan, Side, Stuck, Tally};
use capture_pipeline::batch::spans::SpanBatch;
use capture_pipeline::batch::{BatchView, token};
use capture_pipeline::event::{EventView, PIPELINE_KIND_RESERVED};
use capture_pipeline::storage::journal::JournalStorage;
use capture_pipeline::storage::sqlite::SqliteStorage;
use capture_pipeline::storage::{
    Abilities, PIPELINE_STORE_OK, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY, Source, Storage, WriterData,
};
use capture_pipeline::storage::{PIPELINE_REASON_REJECTED, PIPELINE_STORE_PENDING};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What the tee is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    /// The journal is attached to the pipeline, as it is where a program gives it to `pipeline_start`: it gets spans, and the facts of the source. If not, it gets views, and
    /// facts as events, as it does where a program has functions of its own around it.
    pub attached: bool,
    /// The journal answers later: when the batch is on the disk.
    pub journal_pends: bool,
    pub dead_letter: bool,
    /// As configured.
    pub deadline: Duration,
}

/// What outlives the storage.
#[derive(Debug, Default)]
pub struct Seen {
    pub tally: Tally,
    pub failures: Mutex<Vec<String>>,
    /// The correlation ids of the events that the dead letter got.
    pub dead: Mutex<Vec<u64>>,
    /// The differences of the two clocks that batches had.
    pub offsets: Mutex<BTreeSet<i64>>,
    /// The times at which writers took batches up.
    pub processed: Mutex<BTreeSet<u64>>,
    /// Attempts that have ended.
    ended: AtomicU64,
    /// Nothing blocks any more.
    pub calm: AtomicBool,
}

impl Seen {
    /// Notes what must not be. Not by panic: this runs on writers.
    pub fn fail(&self, what: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() < 20 {
            failures.push(what);
        }
    }
}

/// The views of a batch without the refused events.
struct Kept(Vec<EventView>);

// SAFETY: views are only read, until the batch is answered.
unsafe impl Send for Kept {}

#[derive(Clone, Copy)]
enum Batch<'a> {
    Views(&'a BatchView),
    Spans(&'a SpanBatch),
}

pub struct Tee {
    pub settings: Settings,
    pub seen: Arc<Seen>,
    pub journal: JournalStorage,
    pub sqlite: SqliteStorage,
    source: OnceLock<Weak<dyn Source>>,
    desk: Arc<Desk>,
}

impl Tee {
    pub fn new(settings: Settings, seen: &Arc<Seen>, journal: JournalStorage, sqlite: SqliteStorage) -> Self {
        Self {
            settings,
            seen: Arc::clone(seen),
            journal,
            sqlite,
            source: OnceLock::new(),
            desk: Arc::default(),
        }
    }

    /// Blocks until the pool has given the writer up, and some of its work was done by others. Returns late.
    fn block(&self, is_own: bool) {
        let Some(source) = self.source.get().and_then(Weak::upgrade) else { return };
        let tally = &self.seen.tally;
        Tally::count(&tally.stuck);
        // Batches of the library's own events are in no count of the ledger, and `calm` comes when the producers have ended.
        let limit = if is_own { self.settings.deadline * 3 } else { self.settings.deadline * 200 };
        let until = Instant::now() + limit;
        let pause = || std::thread::sleep(Duration::from_millis(1));
        let waits = |enough: &dyn Fn() -> bool| {
            while !enough() && Instant::now() < until {
                pause();
            }
            enough()
        };
        let doubted = waits(&|| source.ledger().in_doubt > 0);
        if !doubted || is_own {
            return;
        }
        Tally::count(&tally.doubts);
        let before = self.seen.ended.load(Ordering::Acquire);
        let others = || self.seen.ended.load(Ordering::Acquire) >= before + 4;
        let until = Instant::now() + self.settings.deadline * 5;
        while !others() && !self.seen.calm.load(Ordering::Acquire) && Instant::now() < until {
            pause();
        }
        if others() {
            Tally::count(&tally.replaced);
        }
    }

    /// An answer of SQLite, or of the journal to views.
    fn check(&self, side: Side, batch: u64, answer: &Answer) -> bool {
        check(&self.seen, side, batch, answer)
    }

    fn to_sqlite(&self, views: &BatchView) -> bool {
        views.count == 0 || self.check(Side::Sqlite, views.batch_id, &self.desk.ask(&self.sqlite, views))
    }

    fn to_journal(&self, batch: Batch<'_>, views: &BatchView, spans: bool) -> bool {
        let is_own = first_kind(views) >= PIPELINE_KIND_RESERVED;
        if views.count == 0 || (is_own && self.settings.attached) {
            return true;
        }
        match batch {
            Batch::Spans(batch) if spans && !self.settings.journal_pends => {
                Tally::count(&self.seen.tally.spans);
                let result = self.journal.store_spans(batch);
                self.check(Side::Journal, batch.batch_id(), &Answer { result, ..Answer::default() })
            }
            _ => self.check(Side::Journal, views.batch_id, &self.desk.ask(&self.journal, views)),
        }
    }

    fn take(&self, batch: Batch<'_>) -> i32 {
        let shown = match batch {
            Batch::Views(views) => views,
            Batch::Spans(spans) => match spans.view() {
                Ok(views) => views,
                Err(_) => return PIPELINE_STORE_RETRY,
            },
        };
        let (seen, tally) = (&*self.seen, &self.seen.tally);
        let is_own = first_kind(shown) >= PIPELINE_KIND_RESERVED;
        Tally::count(&tally.attempts);
        if is_own {
            Tally::count(if shown.attempt > 1 { &tally.own_again } else { &tally.own });
        }
        seen.offsets.lock().unwrap_or_else(PoisonError::into_inner).insert(shown.realtime_offset_ns);
        seen.processed.lock().unwrap_or_else(PoisonError::into_inner).insert(shown.processed_at_ns);

        let events = shown.events();
        let refused = |event: &&EventView| is_refused(event.kind, event.flags);
        let mut kept = None;
        if events.iter().any(|event| refused(&event)) {
            for (index, _) in events.iter().enumerate().filter(|(_, event)| refused(event)) {
                Tally::count(&tally.rejected);
                if let Err(error) = token::set_rejected(shown.token, index) {
                    seen.fail(format!("batch {}: {error}", shown.batch_id));
                }
            }
            kept = Some(Kept(events.iter().filter(|event| !refused(event)).copied().collect()));
        }
        let mut views = *shown;
        if let Some(Kept(events)) = &kept {
            (views.count, views.events) = (events.len(), events.as_ptr());
        }
        let plan = Plan::new(self.settings.seed, shown.batch_id, shown.attempt, shown.count);
        let result = self.go(&plan, batch, shown, views, kept, is_own);
        seen.ended.fetch_add(1, Ordering::AcqRel);
        result
    }

    fn go(
        &self,
        plan: &Plan,
        batch: Batch<'_>,
        shown: &BatchView,
        views: BatchView,
        kept: Option<Kept>,
        is_own: bool,
    ) -> i32 {
        let tally = &self.seen.tally;
        let blocks = |place| {
            if plan.stuck == Some(place) && !self.seen.calm.load(Ordering::Acquire) {
                self.block(is_own);
            }
        };
        blocks(Stuck::Before);
        if plan.neither {
            return PIPELINE_STORE_RETRY;
        }
        let whole = kept.is_none();
        if let Some((side, events)) = plan.only {
            let part = BatchView { count: events.min(views.count), ..views };
            if part.count < views.count {
                Tally::count(&tally.part);
            }
            match side {
                Side::Journal => {
                    Tally::count(&tally.journal_alone);
                    self.to_journal(batch, &part, whole && part.count == views.count);
                }
                Side::Sqlite => {
                    Tally::count(&tally.sqlite_alone);
                    self.to_sqlite(&part);
                }
            }
            blocks(Stuck::Between);
            return PIPELINE_STORE_RETRY;
        }
        if plan.result == PIPELINE_STORE_RETRY {
            Tally::count(if plan.prefix > 0 { &tally.prefixes } else { &tally.both });
        }
        if plan.first == Side::Sqlite {
            if !self.to_sqlite(&views) {
                return PIPELINE_STORE_RETRY;
            }
            blocks(Stuck::Between);
            // The journal answers the pipeline itself, once the batch is on the disk.
            if let (Batch::Spans(spans), true) = (batch, self.settings.journal_pends && whole)
                && plan.result == PIPELINE_STORE_OK
            {
                Tally::count(&tally.spans);
                let result = self.journal.store_spans(spans);
                self.must(matches!(result, PIPELINE_STORE_OK | PIPELINE_STORE_PENDING), || {
                    format!("the journal answered {result} to batch {}", shown.batch_id)
                });
                return result;
            }
            if !self.to_journal(batch, &views, whole) {
                return PIPELINE_STORE_RETRY;
            }
            blocks(Stuck::After);
            return self.end(shown.token, plan);
        }
        if !self.to_journal(batch, &views, whole) {
            return PIPELINE_STORE_RETRY;
        }
        blocks(Stuck::Between);
        if !plan.pends || views.count == 0 {
            if !self.to_sqlite(&views) {
                return PIPELINE_STORE_RETRY;
            }
            blocks(Stuck::After);
            return self.end(shown.token, plan);
        }
        Tally::count(&tally.pending);
        let (seen, plan_of_then) = (Arc::clone(&self.seen), plan.clone());
        let (token, id) = (shown.token, shown.batch_id);
        let then = Box::new(move |answer: Answer| {
            // The views are used until here.
            let _kept = &kept;
            let (result, prefix) = match check(&seen, Side::Sqlite, id, &answer) {
                true => (plan_of_then.result, plan_of_then.prefix),
                false => (PIPELINE_STORE_RETRY, 0),
            };
            if let Err(error) = token::complete(token, prefix, result) {
                seen.fail(format!("batch {id}: {error}"));
            }
        });
        if !self.desk.ask_then(&self.sqlite, &views, then) {
            return PIPELINE_STORE_RETRY;
        }
        // The answer may have come; a call that returns late then has no say.
        blocks(Stuck::After);
        PIPELINE_STORE_PENDING
    }

    /// Both have stored the batch.
    fn end(&self, token: u64, plan: &Plan) -> i32 {
        if plan.prefix > 0
            && let Err(error) = token::set_stored(token, plan.prefix)
        {
            self.seen.fail(error.to_string());
        }
        plan.result
    }

    fn must(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.seen.fail(what());
        }
    }
}

fn first_kind(batch: &BatchView) -> u32 {
    batch.events().first().map_or(0, |event| event.kind)
}

fn check(seen: &Seen, side: Side, batch: u64, answer: &Answer) -> bool {
    let is_stored = answer.result == PIPELINE_STORE_OK && answer.rejected.is_empty();
    if !is_stored {
        seen.fail(format!("{side:?} answered {answer:?} to batch {batch}"));
    }
    is_stored
}

// SAFETY: a batch is used until the pipeline has the answer. What is passed on carries tokens of the desk, or, where the journal answers by itself, the batch's own.
unsafe impl Storage for Tee {
    fn abilities(&self) -> Abilities {
        let journal = self.journal.abilities();
        Abilities {
            concurrent: true,
            meta: true,
            flush: true,
            finish: true,
            dead_letter: self.settings.dead_letter,
            span_bytes: journal.span_bytes.filter(|_| self.settings.attached),
            ..Abilities::default()
        }
    }

    fn attach(&self, source: &Arc<dyn Source>) {
        let _ = self.source.set(Arc::downgrade(source));
        if self.settings.attached {
            self.journal.attach(source);
        }
        self.sqlite.attach(source);
    }

    fn store(&self, batch: &BatchView) -> i32 {
        self.take(Batch::Views(batch))
    }

    fn store_spans(&self, batch: &SpanBatch) -> i32 {
        self.take(Batch::Spans(batch))
    }

    fn open_writer(&self, writer_id: u32) -> Result<WriterData, i32> {
        self.journal.open_writer(writer_id)?;
        self.sqlite.open_writer(writer_id)
    }

    fn close_writer(&self, writer_id: u32, data: WriterData) {
        self.journal.close_writer(writer_id, data);
        self.sqlite.close_writer(writer_id, data);
    }

    fn flush(&self, timeout_ms: i64) -> i32 {
        let (first, second) = (self.sqlite.flush(timeout_ms), self.journal.flush(timeout_ms));
        if first == 0 { second } else { first }
    }

    fn finish(&self, timeout_ms: i64) -> i32 {
        let (first, second) = (self.sqlite.finish(timeout_ms), self.journal.finish(timeout_ms));
        if first == 0 { second } else { first }
    }

    fn dead_letter(&self, batch: &BatchView, reason: i32) -> i32 {
        let mut dead = self.seen.dead.lock().unwrap_or_else(PoisonError::into_inner);
        for event in batch.events() {
            self.must(reason == PIPELINE_REASON_REJECTED && is_refused(event.kind, event.flags), || {
                format!("a dead letter for reason {reason}: {event:?}")
            });
            dead.push(event.correlation_id);
        }
        if batch.count > 0 { PIPELINE_STORE_OK } else { PIPELINE_STORE_REJECT }
    }
}
