//! What is known of the pipeline beside its events, where its facts come as events: a program has put a storage of its own around this one.

use crate::batch::BatchView;
use crate::event::PIPELINE_KIND_THREAD;
use crate::facts::{Fact, Facts};
use crate::files::failure::Failure;
use crate::storage::Source;
use std::collections::VecDeque;
use std::sync::Arc;

/// Threads that are remembered where they come as events.
const THREADS: usize = 1_024;

/// A thread.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    pub tid: u64,
    pub name: Box<[u8]>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Known {
    attached: Option<Arc<Facts>>,
    own: Arc<Facts>,
    threads: VecDeque<(u64, Thread)>,
}

impl Known {
    /// The storage belongs to a pipeline with these facts.
    pub fn attach(&mut self, facts: &Arc<Facts>) {
        self.attached = Some(Arc::clone(facts));
    }

    /// Names and definitions of kinds.
    pub fn facts(&self) -> Arc<Facts> {
        Arc::clone(self.attached.as_ref().unwrap_or(&self.own))
    }

    /// Keeps the facts of a batch of the library's own events.
    pub fn note(&mut self, batch: &BatchView) -> Result<(), Failure> {
        for event in batch.events() {
            let fact = Fact::new(event.kind, event.correlation_id, event.node_id, event.payload())
                .map_err(|_| Failure::no_memory())?;
            if event.kind != PIPELINE_KIND_THREAD {
                self.own.add(fact, |_| Ok(())).map_err(|error| Failure::transient(error.detail))?;
                continue;
            }
            self.threads.retain(|(ring_id, _)| *ring_id != event.node_id);
            if self.threads.len() == THREADS {
                self.threads.pop_front();
            }
            self.threads.try_reserve(1).map_err(|_| Failure::no_memory())?;
            self.threads.push_back((event.node_id, Thread { tid: event.correlation_id, name: fact.payload }));
        }
        Ok(())
    }

    /// The thread of a ring. `None`: it is no thread's alone, or not known.
    pub fn thread(&self, ring_id: u64, source: Option<&dyn Source>) -> Option<Thread> {
        if let Some(source) = source {
            let thread = source.thread(ring_id)?;
            return Some(Thread { tid: thread.tid.into(), name: thread.name().into() });
        }
        self.threads.iter().find(|(of, _)| *of == ring_id).map(|(_, thread)| thread.clone())
    }
}
