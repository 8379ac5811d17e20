//! What went wrong in calls of the storage beyond an honest answer: who, with which batch, what, when, how often.

use crate::batch::Batch;

/// `pipeline_health_t.fault`: there was none.
pub const PIPELINE_FAULT_NONE: u32 = 0;
/// `pipeline_health_t.fault`: a callback ended its writer's thread; the writer was replaced.
pub const PIPELINE_FAULT_ENDED: u32 = 1;
/// `pipeline_health_t.fault`: a storage that is written in Rust panicked; its writer goes on.
pub const PIPELINE_FAULT_PANIC: u32 = 2;
/// `pipeline_health_t.fault`: the storage gave an answer that is none; it counts as `PIPELINE_STORE_RETRY`.
pub const PIPELINE_FAULT_ANSWER: u32 = 3;

/// What a call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It ended its thread.
    Ended,
    /// It panicked.
    Panicked,
    /// It answered something that is no answer.
    Answered(i32),
}

/// A call that did what it must not.
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
    /// When that was seen.
    pub at_ns: u64,
}

impl Fault {
    /// Of the last attempt of a batch.
    pub fn with(batch: &Batch, what: What, at_ns: u64) -> Self {
        Self { writer: batch.writer(), batch: batch.id, attempt: batch.attempt, what, at_ns }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "writer {} ", self.writer)?;
        match self.what {
            What::Ended => write!(f, "was ended by its callback")?,
            What::Panicked => write!(f, "panicked")?,
            What::Answered(answer) => write!(f, "was answered {answer}, which is no answer,")?,
        }
        if self.batch == 0 { Ok(()) } else { write!(f, " with batch {}", self.batch) }
    }
}

/// What is counted under a writer's id, whoever has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    /// Writers that were replaced.
    pub restarts: u64,
    /// Panics.
    pub panics: u64,
    /// Answers that are none.
    pub bad_results: u64,
}

/// All faults of a pool.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The last one.
    pub last: Option<Fault>,
    /// Since a batch was last answered as it should be.
    pub in_a_row: u64,
    /// The sums over all ids.
    pub sum: Record,
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
                What::Ended => record.restarts += 1,
                What::Panicked => record.panics += 1,
                What::Answered(_) => record.bad_results += 1,
            }
        }
        self.in_a_row += 1;
        self.last = Some(fault);
    }

    /// A batch was answered as it should be.
    pub fn answered_well(&mut self) {
        self.in_a_row = 0;
    }

    /// What is counted under an id.
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
        assert_eq!(faults.last.unwrap().to_string(), "writer 0 panicked");
        assert_eq!(fault(3, 17, What::Ended).to_string(), "writer 3 was ended by its callback with batch 17");
        assert!(faults.of(18, 2).is_none() && faults.of(0, 2).is_some());
        let r = faults.record(3);
        assert_eq!((r.restarts, r.panics, r.bad_results), (1, 0, 1));
        assert_eq!(faults.record(0).panics, 1);
        assert_eq!(faults.record(9).restarts, 0);
        assert_eq!((faults.sum.restarts, faults.sum.panics, faults.sum.bad_results), (1, 1, 1));
        assert_eq!(faults.in_a_row, 3);
        faults.answered_well();
        assert_eq!(faults.in_a_row, 0);
        assert!(faults.last.is_some());
    }
}
