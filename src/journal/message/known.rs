//! The facts that messages have told, run by run.

use crate::journal::format::record::Record;
use crate::journal::reader::{Facts, Losses};
use crate::platform::memory;
use crate::status::{Error, PIPELINE_ERR_NO_MEMORY, Result};

/// The most runs whose facts are kept.
const MOST_RUNS: usize = 1024;

/// The facts of runs, the one that was used last at the end.
#[derive(Debug, Default)]
pub(super) struct Known {
    runs: Vec<Run>,
    none: Facts,
    losses: Losses,
}

#[derive(Debug)]
struct Run {
    generation: u64,
    facts: Facts,
}

impl Known {
    /// What is known about a run.
    pub fn of(&self, generation: u64) -> &Facts {
        self.runs.iter().rev().find(|run| run.generation == generation).map_or(&self.none, |run| &run.facts)
    }

    /// Takes a fact. Those of runs that were used least recently make room.
    pub fn add(&mut self, generation: u64, record: &Record<'_>) -> Result<()> {
        self.use_run(generation)?;
        let Self { runs, losses, .. } = self;
        let Some((run, others)) = runs.split_last_mut() else { return Ok(()) };
        let left_out = losses.facts_left_out;
        let mut added = run.facts.add(generation, record, record.sequence, losses);
        if losses.facts_left_out != left_out {
            run.facts.forget_threads();
            added = run.facts.add(generation, record, record.sequence, losses);
        }
        let bytes = run.facts.bytes();
        let mut all: usize = bytes + others.iter().map(|run| run.facts.bytes()).sum::<usize>();
        let mut first = 0;
        while all > Facts::MAX_BYTES && first < others.len() {
            all -= others[first].facts.bytes();
            first += 1;
        }
        self.runs.drain(..first);
        added.map_err(|_| Error::new(PIPELINE_ERR_NO_MEMORY, "no memory for a fact of a message"))
    }

    /// Makes a run the one that was used last.
    fn use_run(&mut self, generation: u64) -> Result<()> {
        match self.runs.iter().rposition(|run| run.generation == generation) {
            Some(at) => self.runs[at..].rotate_left(1),
            None => {
                if self.runs.len() == MOST_RUNS {
                    self.runs.remove(0);
                }
                self.runs.try_reserve(1).map_err(|_| memory::refused(size_of::<Run>()))?;
                self.runs.push(Run { generation, facts: Facts::default() });
            }
        }
        Ok(())
    }
}
