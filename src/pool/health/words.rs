//! Health in words: which writer, which batch, for how long.

use crate::batch::{Batch, Place};
use crate::platform::time;
use crate::pool::Pool;
use crate::pool::state::State;
use crate::pool::state::pressure_watch::Caller;
use crate::pool::state::writer::Writer;

/// How many writers or batches are named one by one.
const NAMED: usize = 2;

/// A length of time in words.
pub(super) fn time_words(ns: u64) -> String {
    match ns / 1_000_000 {
        ms @ 0..1_000 => format!("{ms} ms"),
        ms @ 1_000..600_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        ms => format!("{} min", ms / 60_000),
    }
}

/// "1 batch", "2 batches".
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The [`NAMED`] things that have lasted longest, the longest first, and how many there are in all. The size is fixed, because health is
/// also asked for when memory has run out.
pub(super) struct Longest<T> {
    pub first: [Option<(u64, T)>; NAMED],
    pub count: usize,
}

impl<'a> Longest<&'a Writer> {
    /// The first few of some writers.
    pub fn first(writers: impl Iterator<Item = &'a Writer>) -> Self {
        Self::of(writers.map(|w| (0, w)))
    }
}

impl<T: Copy> Longest<T> {
    pub fn of(all: impl Iterator<Item = (u64, T)>) -> Self {
        let mut this = Self { first: [None; NAMED], count: 0 };
        for mut one in all {
            this.count += 1;
            for place in &mut this.first {
                match place {
                    Some(there) if there.0 >= one.0 => {}
                    Some(there) => std::mem::swap(there, &mut one),
                    None => {
                        *place = Some(one);
                        break;
                    }
                }
            }
        }
        this
    }

    pub fn words(&self, what: &str, words: impl Fn(u64, T) -> String) -> String {
        let named = self.first.iter().flatten().map(|&(ns, one)| words(ns, one));
        let more = self.count.saturating_sub(NAMED);
        let rest = (more > 0).then(|| format!("{more} more {what}"));
        named.chain(rest).collect::<Vec<_>>().join(", ")
    }
}

/// A call or pending answer past the deadline.
#[derive(Clone, Copy)]
pub(super) enum Late<'a> {
    Call(&'a Writer),
    Answer(&'a Batch),
}

impl State {
    /// The writers whose call has outlived the deadline, and for how long they are in it.
    pub(in crate::pool) fn late_calls(&self, now: u64) -> impl Iterator<Item = (&Writer, u64)> {
        let deadline = self.storage_deadline_ns();
        self.in_calls(now).filter(move |(_, ns)| *ns >= deadline)
    }

    /// The writers that are in a call, and for how long.
    fn in_calls(&self, now: u64) -> impl Iterator<Item = (&Writer, u64)> {
        self.writers.list.iter().filter_map(move |w| Some((w, now.saturating_sub(w.in_call_since()?))))
    }

    /// The batch that a writer carries.
    pub(super) fn batch_of(&self, w: &Writer) -> Option<&Batch> {
        self.batches.get(w.slot?)
    }

    /// The call that a writer is in: "store with batch 17".
    fn call_words(&self, w: &Writer) -> String {
        let batch = self.batch_of(w);
        let function = w.function(batch.map(|b| b.phase));
        match batch {
            Some(b) => format!("{function} with batch {}", b.id),
            None => function.to_owned(),
        }
    }

    /// Writers that cannot open: the storage refuses, or ends one after the other.
    pub(super) fn not_opening(&self) -> impl Iterator<Item = &Writer> {
        let dying = self.writers.deaths_in_a_row > 1;
        self.writers.list.iter().filter(move |w| !w.leaving && (w.open_failures > 0 || (!w.opened && dying)))
    }

    /// The calls and pending answers that have outlived the deadline.
    pub(super) fn late(&self, now: u64) -> Longest<Late<'_>> {
        let deadline = self.storage_deadline_ns();
        let calls = self.late_calls(now).map(|(w, ns)| (ns, Late::Call(w)));
        let answers = self.batches.iter().filter_map(|b| match &b.place {
            Place::Pending(attempt) => Some((now.saturating_sub(attempt.since_ns), Late::Answer(b))),
            _ => None,
        });
        Longest::of(calls.chain(answers.filter(|(ns, _)| *ns >= deadline)))
    }

    pub(super) fn late_words(&self, late: Late<'_>, ns: u64) -> String {
        match late {
            Late::Call(w) => {
                format!("writer {} is stuck in {} for {}", w.id, self.call_words(w), time_words(ns))
            }
            Late::Answer(b) => {
                format!("batch {} of writer {} awaits its answer for {}", b.id, b.writer(), time_words(ns))
            }
        }
    }

    /// Which writers are in which call, the longest first: ", writer 3 is in flush for 2.3 s".
    pub(super) fn words_of_calls(&self, now: u64) -> String {
        let calls = Longest::of(self.in_calls(now).map(|(w, ns)| (ns, w)));
        if calls.count == 0 {
            return String::new();
        }
        let words = calls.words("in calls", |ns, w| {
            format!("writer {} is in {} for {}", w.id, self.call_words(w), time_words(ns))
        });
        format!(", {words}")
    }

    pub(super) fn circuit_words(&self, now: u64) -> String {
        let breaker = &self.retries.breaker;
        let probe = match (breaker.probe(), breaker.probe_due()) {
            (Some((batch, since)), _) => {
                format!("batch {batch} is the probe since {}", time_words(now.saturating_sub(since)))
            }
            (None, due) => {
                format!("the next probe in {}", time_words(due.map_or(0, |d| d.saturating_sub(now))))
            }
        };
        format!("the circuit is open after {} failures in a row, {probe}", breaker.in_a_row)
    }

    pub(super) fn retrying_words(&self) -> String {
        let waiting = &self.batches.back_off;
        let oldest = waiting.iter().filter_map(|&slot| self.batches.get(slot)).min_by_key(|b| b.id);
        let oldest = oldest.map_or(String::new(), |b| {
            format!(", the oldest is batch {}, tried {}", b.id, counted(b.attempts as usize, "time", "times"))
        });
        let wait = if waiting.len() == 1 { "waits" } else { "wait" };
        format!("{} {wait} for another attempt{oldest}", counted(waiting.len(), "batch", "batches"))
    }

    pub(super) fn transform_fault_words(&self, now: u64) -> String {
        let faults = &self.faults.transform;
        let last = faults
            .last
            .map_or(String::new(), |f| format!("{f}, {} ago", time_words(now.saturating_sub(f.at_ns))));
        format!("{last} ({} such events in a row, {} in all)", faults.in_a_row, faults.all)
    }

    pub(super) fn fault_words(&self, now: u64) -> String {
        let faults = &self.faults;
        let last = faults
            .last
            .map_or(String::new(), |f| format!("{f}, {} ago", time_words(now.saturating_sub(f.at_ns))));
        format!("{last} ({} such calls in a row, {} in all)", faults.in_a_row, faults.all())
    }
}

impl Pool {
    /// Which writers are in which call of the storage, for the error of a caller that has waited in vain.
    pub(in crate::pool) fn words_of_calls(&self) -> String {
        self.lock().words_of_calls(time::now_ns())
    }

    /// The reasons why the pipeline cannot be destroyed now, in words.
    pub fn words_of_what_runs(&self) -> String {
        let st = self.lock();
        let mut words = Vec::new();
        let (writers, pending) = (st.writers.list.len(), st.batches.pending as usize);
        if writers > 0 {
            let calls = st.words_of_calls(time::now_ns());
            words.push(format!("{} not ended{calls}", counted(writers, "writer has", "writers have")));
        }
        if pending > 0 {
            let batches = counted(pending, "batch awaits its", "batches await their");
            words.push(format!("{batches} answer by token"));
        }
        if st.pressure.caller != Caller::None {
            words.push("the pressure callback is running".to_owned());
        }
        if self.rings.any_capturing() {
            words.push("a capture is under way".to_owned());
        }
        if words.is_empty() { "another thread is destroying it".to_owned() } else { words.join("; ") }
    }
}
