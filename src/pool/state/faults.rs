//! Faults: calls of the storage, or of the transform, that ended their thread, panicked, or returned what is no answer.

use crate::batch::Batch;
use crate::transform::Wrong;

/// `pipeline_health_t.fault`: there was none.
pub const PIPELINE_FAULT_NONE: u32 = 0;
/// `pipeline_health_t.fault`: a callback ended its writer's thread; the writer was replaced.
pub const PIPELINE_FAULT_ENDED: u32 = 1;
/// `pipeline_health_t.fault`: a storage that is written in Rust panicked; its writer goes on.
pub const PIPELINE_FAULT_PANIC: u32 = 2;
/// `pipeline_health_t.fault`: the storage returned a number that is no answer; it counts as `PIPELINE_STORE_RETRY`.
pub const PIPELINE_FAULT_ANSWER: u32 = 3;

/// What a call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It ended its thread.
    Ended,
    /// It panicked.
    Panicked,
    /// It returned this number, which is no answer.
    Answered(i32),
    /// It was a call of the transform.
    Transform(Wrong),
}

/// A call of the storage that did what it must not.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The writer that made it.
    pub writer: u32,
    /// With which batch; 0: none.
    pub batch: u64,
    /// The batch's attempt.
    pub attempt: u32,
    /// What it did.
    pub what: What,
    /// When that was noticed.
    pub at_ns: u64,
}

impl Fault {
    /// A fault in the last attempt of a batch.
    pub fn with(batch: &Batch, what: What, at_ns: u64) -> Self {
        Self { writer: batch.writer(), batch: batch.id, attempt: batch.attempts, what, at_ns }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { writer, batch, .. } = self;
        let with = if *batch == 0 { String::new() } else { format!(" with batch {batch}") };
        match self.what {
            What::Transform(Wrong::Ended) => {
                write!(f, "the transform ended the thread of writer {writer}{with}")
            }
            What::Transform(wrong) => write!(f, "the transform {wrong}{with}"),
            What::Ended => write!(f, "the storage ended the thread of writer {writer}{with}"),
            What::Panicked => write!(f, "the storage panicked in a call of writer {writer}{with}"),
            What::Answered(answer) => {
                write!(
                    f,
                    "the storage returned {answer} to writer {writer}{with} (allowed: 0 to 3; from dead_letter: 0 to 2)"
                )
            }
        }
    }
}

/// The faults that are counted under a writer's id.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    /// Writers that were replaced.
    pub restarts: u64,
    /// Panics.
    pub panics: u64,
    /// Numbers returned that are no answer.
    pub bad_results: u64,
}

/// The faults of transforms.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfTransforms {
    /// The last one.
    pub last: Option<Fault>,
    /// Faults since a transform has answered for all events of a batch as it should, or was replaced.
    pub in_a_row: u64,
    /// All of them.
    pub all: u64,
}

/// All faults of a pool.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The last one.
    pub last: Option<Fault>,
    /// Faults since the storage last gave a proper answer.
    pub in_a_row: u64,
    /// The sums over all ids.
    pub sum: Record,
    /// Those of transforms, which are not among the others.
    pub transform: OfTransforms,
    /// By writer id.
    records: Vec<Record>,
}

impl Faults {
    /// Counts one.
    pub fn note(&mut self, fault: Fault) {
        let at = fault.writer as usize;
        if self.records.len() <= at {
            self.records.resize(at + 1, Record::default());
        }
        for record in [&mut self.sum, &mut self.records[at]] {
            match fault.what {
                What::Ended | What::Transform(Wrong::Ended) => record.restarts += 1,
                What::Panicked => record.panics += 1,
                What::Answered(_) => record.bad_results += 1,
                What::Transform(_) => {}
            }
        }
        if matches!(fault.what, What::Transform(_)) {
            return;
        }
        self.in_a_row += 1;
        self.last = Some(fault);
    }

    /// Counts faults of a transform, of which `fault` is the last.
    pub fn note_transform(&mut self, fault: Fault, times: u64) {
        self.transform.in_a_row += times;
        self.transform.all += times;
        self.transform.last = Some(fault);
    }

    /// The storage has given a proper answer.
    pub fn answered_properly(&mut self) {
        self.in_a_row = 0;
    }

    /// How many there were.
    pub fn all(&self) -> u64 {
        self.sum.restarts + self.sum.panics + self.sum.bad_results
    }

    /// The faults that are counted under an id.
    pub fn record(&self, writer: u32) -> Record {
        self.records.get(writer as usize).copied().unwrap_or_default()
    }

    /// The fault of an attempt, if it was the last.
    pub fn of(&self, batch: u64, attempt: u32) -> Option<Fault> {
        self.last.filter(|f| f.batch == batch && f.attempt == attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_by_writer_and_the_last_one_is_named() {
        let mut faults = Faults::default();
        let fault = |writer, batch, what| Fault { writer, batch, attempt: 2, what, at_ns: 7 };
        faults.note(fault(3, 17, What::Ended));
        faults.note(fault(3, 18, What::Answered(-9)));
        faults.note(fault(0, 0, What::Panicked));
        assert_eq!(faults.last.unwrap().to_string(), "the storage panicked in a call of writer 0");
        assert_eq!(
            fault(3, 17, What::Ended).to_string(),
            "the storage ended the thread of writer 3 with batch 17"
        );
        assert_eq!(
            fault(1, 18, What::Answered(-9)).to_string(),
            "the storage returned -9 to writer 1 with batch 18 (allowed: 0 to 3; from dead_letter: 0 to 2)"
        );
        assert!(faults.of(18, 2).is_none() && faults.of(0, 2).is_some());
        let r = faults.record(3);
        assert_eq!((r.restarts, r.panics, r.bad_results), (1, 0, 1));
        assert_eq!(faults.record(0).panics, 1);
        assert_eq!(faults.record(9).restarts, 0);
        assert_eq!((faults.sum.restarts, faults.sum.panics, faults.sum.bad_results), (1, 1, 1));
        assert_eq!(faults.in_a_row, 3);
        faults.answered_properly();
        assert_eq!(faults.in_a_row, 0);
        assert!(faults.last.is_some());
    }
}
