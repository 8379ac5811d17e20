//! The calls of the storage that callers wait for: `flush`, for each `pipeline_flush` and `pipeline_close`, and `finish`, once.

use crate::platform::memory;
use crate::status::Result;

/// How far the call of `flush` for a caller has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// A writer is to take it up.
    Asked,
    /// This writer is in the call. So many batches were settled when it began.
    Running { writer: u32, covers: u64 },
    /// The storage has answered.
    Answered(i32),
}

#[derive(Debug)]
struct Flush {
    id: u64,
    /// Until when the caller waits; `u64::MAX`: for ever.
    deadline_ns: u64,
    progress: Progress,
}

/// The flushes that callers wait for.
#[derive(Debug, Default)]
pub struct Flushes {
    list: Vec<Flush>,
    last_id: u64,
    /// Batches settled that a `flush` has covered.
    covered: u64,
}

impl Flushes {
    /// Whether no caller waits for one.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether a writer is to take one up.
    pub fn any_asked(&self) -> bool {
        self.list.iter().any(|f| f.progress == Progress::Asked)
    }

    /// A caller asks for a flush. Returns its id.
    pub fn ask(&mut self, deadline_ns: u64) -> Result<u64> {
        self.list.try_reserve(1).map_err(|_| memory::refused(size_of::<Flush>()))?;
        self.last_id += 1;
        self.list.push(Flush { id: self.last_id, deadline_ns, progress: Progress::Asked });
        Ok(self.last_id)
    }

    /// A writer takes one up. Returns its id and its deadline.
    pub fn take_up(&mut self, writer: u32, settled_batches: u64) -> Option<(u64, u64)> {
        let flush = self.list.iter_mut().find(|f| f.progress == Progress::Asked)?;
        flush.progress = Progress::Running { writer, covers: settled_batches };
        Some((flush.id, flush.deadline_ns))
    }

    /// The storage has answered; 0: everything that was settled before is flushed.
    pub fn answered(&mut self, id: u64, answer: i32) {
        let Some(flush) = self.list.iter_mut().find(|f| f.id == id) else { return };
        if let (Progress::Running { covers, .. }, 0) = (flush.progress, answer) {
            self.covered = self.covered.max(covers);
        }
        flush.progress = Progress::Answered(answer);
    }

    /// A writer has ended in a call: another takes up what it had.
    pub fn writer_ended(&mut self, id: u32) {
        for flush in &mut self.list {
            if matches!(flush.progress, Progress::Running { writer, .. } if writer == id) {
                flush.progress = Progress::Asked;
            }
        }
    }

    /// What the storage has answered.
    pub fn answer(&self, id: u64) -> Option<i32> {
        self.list.iter().find(|f| f.id == id).and_then(|f| match f.progress {
            Progress::Answered(answer) => Some(answer),
            Progress::Asked | Progress::Running { .. } => None,
        })
    }

    /// The caller waits no longer.
    pub fn forget(&mut self, id: u64) {
        self.list.retain(|f| f.id != id);
    }

    /// Whether batches were settled that no flush has covered.
    pub fn are_needed(&self, settled_batches: u64) -> bool {
        settled_batches != self.covered
    }
}

/// How far the storage's `finish` has come. It is called at most once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finish {
    /// No close has come so far.
    #[default]
    NotAsked,
    /// A close waits for it, until this time; `u64::MAX`: for ever.
    Asked(u64),
    /// This writer is in the call.
    Running(u32),
    /// The storage has answered.
    Answered(i32),
    /// The call has ended its thread.
    Ended,
}

impl Finish {
    /// Whether the call was made: it is not made again.
    pub fn has_begun(self) -> bool {
        !matches!(self, Self::NotAsked | Self::Asked(_))
    }

    /// Why it failed, in words.
    pub fn failure(self) -> Option<String> {
        match self {
            Self::NotAsked | Self::Asked(_) | Self::Running(_) | Self::Answered(0) => None,
            Self::Answered(status) if status < 0 => Some(format!("the storage's finish answered {status}")),
            Self::Answered(status) => Some(format!(
                "the storage's finish answered {status}, which is neither 0 nor a negative status"
            )),
            Self::Ended => Some("the storage's finish ended its thread".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flush_is_taken_up_by_one_writer_and_by_another_if_that_one_ends() {
        let mut f = Flushes::default();
        let id = f.ask(9).unwrap();
        assert_eq!((f.any_asked(), f.take_up(3, 5), f.take_up(4, 5)), (true, Some((id, 9)), None));
        f.writer_ended(4);
        assert!(!f.any_asked());
        f.writer_ended(3);
        assert_eq!((f.take_up(4, 6), f.answer(id)), (Some((id, 9)), None));
        f.answered(id, -7);
        assert_eq!((f.answer(id), f.are_needed(6)), (Some(-7), true));
        f.forget(id);
        assert!(f.is_empty());
    }

    #[test]
    fn a_flush_covers_what_was_settled_when_it_began() {
        let mut f = Flushes::default();
        let (first, second) = (f.ask(1).unwrap(), f.ask(1).unwrap());
        assert!(!f.are_needed(0));
        let _ = (f.take_up(0, 10), f.take_up(1, 12));
        f.answered(second, 0);
        f.answered(first, 0);
        assert!(!f.are_needed(12) && f.are_needed(13));
    }
}
