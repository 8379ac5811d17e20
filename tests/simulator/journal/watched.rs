//! A storage around the journal, as a program may have one: it hands every call on, under tokens of its own, and keeps a record of what the
//! journal has answered for each event.

use crate::producers::Dice;
use capture_pipeline::batch::BatchView;
use capture_pipeline::batch::spans::SpanBatch;
use capture_pipeline::batch::token::{self, Answered, Issuer};
use capture_pipeline::event::PIPELINE_KIND_RESERVED;
use capture_pipeline::platform::simulator::files::{self, File};
use capture_pipeline::status::Result;
use capture_pipeline::storage::journal::{JournalStorage, Sync};
use capture_pipeline::storage::{
    Abilities, PIPELINE_STORE_OK, PIPELINE_STORE_PENDING, PIPELINE_STORE_REJECT, PIPELINE_STORE_RETRY,
    Source, Storage, WriterData,
};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// The events' numbers, by what was answered for them. The locks here are never held at a point of the simulator.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The journal has said that they are stored.
    pub stored: HashSet<u64>,
    /// Those of them that must survive a power loss from now on.
    pub durable: HashSet<u64>,
    /// Those that a flush has failed for, so that no other flush speaks for them.
    pub doubtful: HashSet<u64>,
    /// Shown to the dead letter.
    pub dead: HashSet<u64>,
    /// Answers of the journal.
    pub answers: u64,
    /// Flushes under way.
    pub flushes: u32,
    /// The storage was dropped so often.
    pub dropped: u32,
    pub wrongs: Vec<String>,
    /// Power losses that are still to be tried, and what they have left.
    pub to_lose: u64,
    pub left: Vec<Left>,
}

/// What a power loss would leave, and the events that must be there.
#[derive(Clone, Debug)]
pub struct Left {
    pub files: Vec<File>,
    pub deleted: Vec<File>,
    pub durable: HashSet<u64>,
}

impl Record {
    /// Notes what a power loss would leave now. No other thread runs between the moment at which an event is noted and this.
    pub fn lose_power(&mut self) {
        if self.to_lose > 0 {
            self.to_lose -= 1;
            let (files, deleted) = (files::after_power_loss(), files::deleted());
            self.left.push(Left { files, deleted, durable: self.durable.clone() });
        }
    }
}

/// An attempt that the journal has not answered.
struct Attempt {
    /// The pool's token.
    token: u64,
    /// The events; `None`: one of the library's own.
    events: Vec<Option<u64>>,
    stored: usize,
    rejected: HashSet<usize>,
    /// What the journal was shown.
    _shown: Option<Arc<SpanBatch>>,
}

/// Where the journal's answers arrive.
struct Desk {
    issuer: Mutex<Issuer>,
    open: Mutex<HashMap<u64, Attempt>>,
    record: Arc<Mutex<Record>>,
    /// An acknowledged event is on the disk.
    at_once: bool,
}

impl Desk {
    fn begin(&self, token: u64, attempt: Attempt) {
        self.open.lock().unwrap().insert(token, attempt);
    }

    fn issue(&self) -> u64 {
        self.issuer.lock().unwrap().issue().expect("a token")
    }

    fn change<T>(&self, token: u64, change: impl FnOnce(&mut Attempt) -> T) -> Result<T> {
        let mut open = self.open.lock().unwrap();
        open.get_mut(&token).map(change).ok_or_else(|| token::unknown(token))
    }

    /// Notes an answer, before it is handed on. Returns the pool's token.
    fn end(&self, token: u64, prefix: usize, result: i32) -> Result<u64> {
        let Some(attempt) = self.open.lock().unwrap().remove(&token) else {
            return Err(token::unknown(token));
        };
        let stored = if result == PIPELINE_STORE_OK { usize::MAX } else { attempt.stored.max(prefix) };
        let events = attempt.events.iter().enumerate().take(stored);
        let numbers = events.filter(|(at, _)| !attempt.rejected.contains(at)).filter_map(|(_, event)| *event);
        let mut record = self.record.lock().unwrap();
        for number in numbers {
            record.stored.insert(number);
            if self.at_once {
                record.durable.insert(number);
            }
        }
        record.answers += 1;
        if self.at_once && result == PIPELINE_STORE_OK && record.answers % 16 == 7 {
            record.lose_power();
        }
        Ok(attempt.token)
    }
}

impl Answered for Desk {
    fn set_stored(&self, _: usize, token: u64, prefix: usize) -> Result<()> {
        let pools = self.change(token, |attempt| {
            attempt.stored = prefix;
            attempt.token
        })?;
        token::set_stored(pools, prefix)
    }

    fn set_rejected(&self, _: usize, token: u64, index: usize) -> Result<()> {
        let pools = self.change(token, |attempt| {
            attempt.rejected.insert(index);
            attempt.token
        })?;
        token::set_rejected(pools, index)
    }

    fn complete(self: Arc<Self>, _: usize, token: u64, prefix: usize, result: i32) -> Result<()> {
        token::complete(self.end(token, prefix, result)?, prefix, result)
    }
}

/// The storage.
pub struct Watched {
    journal: JournalStorage,
    desk: Arc<Desk>,
    settings: Settings,
    dice: Mutex<Dice>,
}

/// What the storage is like, beside its journal.
pub struct Settings {
    pub span_bytes: Option<u64>,
    pub attached: bool,
    pub hides: u64,
    pub sync: Sync,
}

impl Watched {
    pub fn new(journal: JournalStorage, settings: Settings, record: &Arc<Mutex<Record>>, dice: Dice) -> Self {
        let desk = Arc::new_cyclic(|me: &std::sync::Weak<Desk>| Desk {
            issuer: Mutex::new(Issuer::new(me.clone(), 0).expect("an issuer")),
            open: Mutex::default(),
            record: Arc::clone(record),
            at_once: settings.sync == Sync::Batch,
        });
        Self { journal, desk, settings, dice: Mutex::new(dice) }
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.desk.record.lock().unwrap()
    }

    /// The journal has answered a call of `store`.
    fn answered(&self, token: u64, answer: i32) -> i32 {
        if answer == PIPELINE_STORE_PENDING {
            return answer;
        }
        if self.desk.end(token, 0, answer).is_err() {
            self.record()
                .wrongs
                .push(format!("token {token} was completed, and store has answered {answer}"));
        }
        let hides = self.settings.hides != 0 && self.dice.lock().unwrap().once_in(self.settings.hides);
        if answer == PIPELINE_STORE_OK && hides { PIPELINE_STORE_RETRY } else { answer }
    }

    /// Calls something that waits for the disk, and notes for which events it speaks.
    fn flushed(&self, flush: impl FnOnce() -> i32) -> i32 {
        let before = {
            let mut record = self.record();
            record.flushes += 1;
            record.stored.clone()
        };
        let result = flush();
        let mut record = self.record();
        record.flushes -= 1;
        let Record { stored, durable, doubtful, flushes, .. } = &mut *record;
        if self.settings.sync == Sync::Never {
        } else if result != 0 {
            doubtful.extend(stored.difference(durable).copied());
        } else if *flushes == 0 {
            durable.extend(before.difference(doubtful).copied());
            record.lose_power();
        }
        result
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.record().dropped += 1;
    }
}

// SAFETY: a batch is handed on for the time of the call, or until its token is completed; tokens are completed as they were given.
unsafe impl Storage for Watched {
    fn abilities(&self) -> Abilities {
        Abilities {
            dead_letter: true,
            meta: !self.settings.attached,
            span_bytes: self.settings.span_bytes,
            ..self.journal.abilities()
        }
    }

    fn attach(&self, source: &Arc<dyn Source>) {
        if self.settings.attached {
            self.journal.attach(source);
        }
    }

    fn store(&self, batch: &BatchView) -> i32 {
        let events = batch.events().iter();
        let events = events.map(|e| (e.kind < PIPELINE_KIND_RESERVED).then_some(e.correlation_id)).collect();
        let token = self.desk.issue();
        let attempt =
            Attempt { token: batch.token, events, stored: 0, rejected: HashSet::new(), _shown: None };
        self.desk.begin(token, attempt);
        self.answered(token, self.journal.store(&BatchView { token, ..*batch }))
    }

    fn store_spans(&self, batch: &SpanBatch) -> i32 {
        let records = batch.spans().flat_map(|span| span.read());
        let events = records.map(|record| Some(record.head.correlation_id)).collect();
        let token = self.desk.issue();
        let shown = Arc::new(batch.under_token(token));
        let attempt = Attempt {
            token: batch.token(),
            events,
            stored: 0,
            rejected: HashSet::new(),
            _shown: Some(Arc::clone(&shown)),
        };
        self.desk.begin(token, attempt);
        self.answered(token, self.journal.store_spans(&shown))
    }

    fn close_writer(&self, writer_id: u32, data: WriterData) {
        self.journal.close_writer(writer_id, data);
    }

    fn flush(&self, timeout_ms: i64) -> i32 {
        self.flushed(|| self.journal.flush(timeout_ms))
    }

    fn finish(&self, timeout_ms: i64) -> i32 {
        self.flushed(|| self.journal.finish(timeout_ms))
    }

    fn dead_letter(&self, batch: &BatchView, _: i32) -> i32 {
        self.record().dead.extend(batch.events().iter().map(|event| event.correlation_id));
        match self.dice.lock().unwrap().below(6) {
            0 => PIPELINE_STORE_RETRY,
            1 => PIPELINE_STORE_REJECT,
            _ => 0,
        }
    }
}
