//! The names of states and reasons.

use super::process::Thread;
use capture_pipeline::metrics::{
    Condition, PIPELINE_WRITER_ASLEEP, PIPELINE_WRITER_IN_CALL, PIPELINE_WRITER_OPENING,
    PIPELINE_WRITER_SEARCHING,
};
use capture_pipeline::pool::health::*;

/// The reasons of a pipeline's health: those that keep events from being stored come first.
const REASONS: [(u32, &str); 15] = [
    (PIPELINE_HEALTH_STUCK, "stuck"),
    (PIPELINE_HEALTH_CIRCUIT_OPEN, "circuit_open"),
    (PIPELINE_HEALTH_WRITER_OPEN, "writer_open"),
    (PIPELINE_HEALTH_FAULT, "fault"),
    (PIPELINE_HEALTH_NO_WRITERS, "no_writers"),
    (PIPELINE_HEALTH_PAUSED, "paused"),
    (PIPELINE_HEALTH_RETIRED, "retired"),
    (PIPELINE_HEALTH_RETRYING, "retrying"),
    (PIPELINE_HEALTH_PRESSURE, "pressure"),
    (PIPELINE_HEALTH_TRANSFORM, "transform"),
    (PIPELINE_HEALTH_PLACEMENT, "placement"),
    (PIPELINE_HEALTH_NO_MEMBARRIER, "no_membarrier"),
    (PIPELINE_HEALTH_FINISH_FAILED, "finish_failed"),
    (PIPELINE_HEALTH_FINISHING, "finishing"),
    (PIPELINE_HEALTH_CLOSED, "closed"),
];

/// The word for a pipeline's status.
pub fn status(condition: &Condition) -> &'static str {
    match condition.status {
        PIPELINE_HEALTHY => "healthy",
        PIPELINE_DEGRADED => "degraded",
        PIPELINE_FAILING => "failing",
        _ => "unknown",
    }
}

/// The words for the reasons.
pub fn reasons(condition: &Condition) -> Vec<&'static str> {
    let given = REASONS.iter().filter(|(bit, _)| condition.reasons & bit != 0);
    given.map(|(_, word)| *word).collect()
}

/// The word for the state of a circuit.
pub fn circuit(number: u64) -> &'static str {
    match number {
        0 => "closed",
        1 => "open",
        2 => "half_open",
        _ => "unknown",
    }
}

/// The word for what a writer does.
pub fn writer(state: u32) -> &'static str {
    match state {
        PIPELINE_WRITER_SEARCHING => "searching",
        PIPELINE_WRITER_ASLEEP => "asleep",
        PIPELINE_WRITER_IN_CALL => "in_call",
        PIPELINE_WRITER_OPENING => "opening",
        _ => "unknown",
    }
}

/// What a writer waits in, in words.
pub fn waits_in(state: u32) -> &'static str {
    match state {
        PIPELINE_WRITER_SEARCHING => "looks for events",
        PIPELINE_WRITER_ASLEEP => "sleeps until there are events",
        PIPELINE_WRITER_IN_CALL => "in a call of the storage",
        PIPELINE_WRITER_OPENING => "starts, or waits to try that again",
        _ => "unknown",
    }
}

/// What the kernel says of a thread.
pub fn kernel(thread: Option<&Thread>) -> String {
    match thread {
        None => "-".into(),
        Some(Thread { state, waits_in }) if waits_in.is_empty() => state.to_string(),
        Some(Thread { state, waits_in }) => format!("{state} {waits_in}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        let all = Condition { reasons: (1 << REASONS.len()) - 1, ..Condition::default() };
        let mut words = reasons(&all);
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), REASONS.len());
        // Of the library's next reason nothing is known.
        let next = Condition { reasons: 1 << REASONS.len(), ..Condition::default() };
        assert_eq!((reasons(&next).len(), PIPELINE_HEALTH_TRANSFORM), (0, 1 << (REASONS.len() - 1)));
    }
}
