//! How far a pipeline's life has come, and how far the exit of the process has.

use std::any::Any;
use std::sync::Arc;

/// How far a pipeline's life has come. From `Stopped` on no writer gets another task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It works.
    #[default]
    Running,
    /// It takes events, and claims none.
    Paused,
    /// It takes no new events, and stores those that it has.
    Draining,
    /// Writers end.
    Stopped,
    /// The same after a close that has drained everything.
    Closed,
    /// The same after its owner has let go of it: one of its own threads tears it down.
    Abandoned,
    /// A thread is in the storage's `release` or `destroy`.
    TearingDown,
    /// The storage is gone.
    TornDown,
}

/// What changes the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `pipeline_pause`.
    Pause,
    /// `pipeline_resume`.
    Resume,
    /// A close, or the exit of the process, begins. It may follow one that was in vain.
    Drain,
    /// A close has ended in vain or is done, the storage finishes, or the pipeline is being destroyed.
    Stop,
    /// A close is done.
    Close,
    /// `pipeline_abandon`, or a start that has failed.
    Abandon,
    /// Nothing of the pipeline runs: its storage is to go.
    TearDown,
    /// The storage is gone.
    Gone,
}

impl Stage {
    /// The stage after a step; `None`: the step is none to be taken in this stage.
    pub const fn after(self, step: Step) -> Option<Self> {
        use Stage::{Abandoned, Closed, Draining, Paused, Running, Stopped, TearingDown, TornDown};
        let next = match (step, self) {
            (Step::Pause, Running | Paused) => Paused,
            (Step::Resume, Running | Paused) => Running,
            (Step::Drain, Running | Paused | Draining | Stopped) => Draining,
            (Step::Stop, Running | Paused | Draining | Stopped) => Stopped,
            (Step::Stop, Closed | Abandoned | TearingDown | TornDown) => self,
            (Step::Close, Stopped) => Closed,
            (Step::Abandon, Running | Paused | Draining | Stopped | Closed | Abandoned) => Abandoned,
            (Step::TearDown, Stopped | Closed | Abandoned) => TearingDown,
            (Step::Gone, TearingDown) => TornDown,
            _ => return None,
        };
        Some(next)
    }
}

/// The exit handler of the process, which drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// When it began.
    pub since_ns: u64,
    /// Its time is over: no further call of the storage begins, not even `close_writer`.
    pub is_over: bool,
}

/// The life of a pipeline.
#[derive(Default)]
pub struct LifeCycle {
    stage: Stage,
    /// The pool itself, from when it was abandoned until it is torn down.
    pool: Option<Arc<dyn Any + Send + Sync>>,
    /// The exit of the process, once it has begun.
    pub exit: Option<Exit>,
}

impl LifeCycle {
    /// Where it stands.
    #[inline]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Takes a step, if the stage allows it. Returns whether.
    pub fn step(&mut self, step: Step) -> bool {
        let next = self.stage.after(step);
        self.stage = next.unwrap_or(self.stage);
        next.is_some()
    }

    /// Whether it takes events.
    #[inline]
    pub fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Paused)
    }

    /// Whether events are claimed.
    #[inline]
    pub fn claims(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Draining)
    }

    /// Whether writers get no further task.
    #[inline]
    pub fn has_stopped(&self) -> bool {
        self.stage >= Stage::Stopped
    }

    /// Its owner lets go of it. `pool` keeps it until it is torn down. `false`: it is being torn down already.
    pub fn abandon(&mut self, pool: Arc<dyn Any + Send + Sync>) -> bool {
        let abandoned = self.step(Step::Abandon);
        if abandoned {
            self.pool = Some(pool);
        }
        abandoned
    }

    /// The storage is gone. Returns what has kept the pool, to be dropped without the lock.
    pub fn torn_down(&mut self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.step(Step::Gone);
        self.pool.take()
    }

    /// Whether its own threads tear it down, or have begun to.
    pub fn is_abandoned(&self) -> bool {
        self.stage == Stage::Abandoned || self.pool.is_some()
    }

    /// The time of the exit handler is over, if it has begun.
    pub fn end_exit(&mut self) {
        self.exit = self.exit.map(|exit| Exit { is_over: true, ..exit });
    }

    /// Whether no call of the storage may begin any more.
    pub fn is_exit_over(&self) -> bool {
        self.exit.is_some_and(|exit| exit.is_over)
    }
}

#[cfg(test)]
mod tests {
    use super::Stage::*;
    use super::Step::*;
    use super::*;

    const STAGES: [Stage; 8] = [Running, Paused, Draining, Stopped, Closed, Abandoned, TearingDown, TornDown];
    const STEPS: [Step; 8] = [Pause, Resume, Drain, Stop, Close, Abandon, TearDown, Gone];

    #[test]
    fn the_way_from_start_to_end() {
        let way = |steps: &[Step]| {
            let mut life = LifeCycle::default();
            steps.iter().for_each(|&step| assert!(life.step(step), "{step:?} at {:?}", life.stage()));
            life.stage()
        };
        assert_eq!(way(&[Pause, Resume, Pause, Drain]), Draining);
        assert_eq!(way(&[Drain, Stop, Drain, Stop, Close]), Closed);
        assert_eq!(way(&[Stop, TearDown, Gone, Stop]), TornDown);
        assert_eq!(way(&[Abandon, Abandon, Stop, TearDown]), TearingDown);
    }

    #[test]
    fn a_pipeline_that_was_closed_abandoned_or_torn_down_never_works_again() {
        for stage in [Closed, Abandoned, TearingDown, TornDown] {
            for step in STEPS {
                assert!(stage.after(step).is_none_or(|next| next >= Closed), "{stage:?} {step:?}");
            }
        }
        for stage in STAGES.into_iter().filter(|&stage| stage >= Draining) {
            assert_eq!((stage.after(Pause), stage.after(Resume)), (None, None));
        }
    }

    #[test]
    fn one_thread_alone_tears_down_and_only_what_has_stopped() {
        for stage in STAGES {
            let may = matches!(stage, Stopped | Closed | Abandoned);
            assert_eq!(stage.after(TearDown).is_some(), may, "{stage:?}");
        }
    }

    #[test]
    fn the_pool_keeps_itself_from_its_abandonment_to_its_teardown() {
        let pool: Arc<dyn Any + Send + Sync> = Arc::new(());
        let mut life = LifeCycle::default();
        assert!(life.abandon(Arc::clone(&pool)) && life.is_abandoned() && life.has_stopped());
        assert!(life.step(TearDown) && !life.abandon(Arc::new(())) && life.is_abandoned());
        assert_eq!(Arc::strong_count(&pool), 2);
        drop(life.torn_down());
        assert_eq!((life.stage(), Arc::strong_count(&pool)), (TornDown, 1));
    }
}
