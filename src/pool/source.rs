//! What the storage can learn of its pipeline.

use super::Pool;
use crate::batch::recovered::Run;
use crate::facts::{Fact, Facts};
use crate::ledger::Ledger;
use crate::metrics::Figures;
use crate::status::Result;
use crate::storage::{Source, Thread};
use std::sync::Arc;

impl Source for Pool {
    fn generation(&self) -> u64 {
        self.generation
    }

    fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    fn thread(&self, ring_id: u64) -> Option<Thread> {
        self.rings.thread_of(ring_id).map(|(tid, name)| Thread { tid, name })
    }

    fn old_run(&self, generation: u64) -> Option<Arc<Run>> {
        Self::old_run(self, generation)
    }

    fn ledger(&self) -> Ledger {
        Self::ledger(self)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn figures(&self) -> Result<Figures> {
        Self::figures(self)
    }
}

impl Pool {
    /// Adds a fact. When this returns, a storage sees it in [`Source::facts`], and one with `PIPELINE_STORAGE_META` gets an event of it.
    pub fn add_fact(&self, fact: Fact) -> Result<()> {
        self.facts.add_kept(
            fact,
            |fact| self.rings.file().map_or(Ok(()), |file| file.add_fact(fact)),
            |fact| self.rings.tell_fact(fact),
        )
    }
}
