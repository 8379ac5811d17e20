//! The file of live figures: while its pipeline lives a reader finds it whole or being written, and it goes with the pipeline.

use capture_pipeline::journal::format::figures::{Live, NotLive, decode, is_file_name};
use capture_pipeline::manager::Metrics;
use capture_pipeline::platform::simulator::files::{File, Tally};

/// Judges the files of live figures among those that are left and those that were deleted. Answers how many figures were read from them.
pub fn judge(
    left: &[File],
    deleted: &[File],
    tally: &Tally,
    metrics: Option<&Metrics>,
    wrong: &mut Vec<String>,
) -> u64 {
    // A write that failed or ended early, or a descriptor that the host has closed, leaves a file as it was then.
    let disturbed = tally.failures + tally.short_writes + tally.full + tally.closed != 0;
    let mut read = 0;
    let all = left.iter().map(|file| (file, true)).chain(deleted.iter().map(|file| (file, false)));
    for ((name, bytes), left) in all.filter(|((name, _), _)| is_file_name(name)) {
        if left && metrics.is_some() && !disturbed {
            wrong.push(format!("{name} is left behind by a pipeline that has ended"));
        }
        match decode(bytes) {
            Ok(live) => {
                read += 1;
                wrong.extend(metrics.and_then(|metrics| more_than(&live, metrics)));
            }
            Err(NotLive::Unfinished | NotLive::Damaged | NotLive::Cut(_) | NotLive::Foreign) if disturbed => {
            }
            // Deleted before its first byte was written, because it could not be locked, or abandoned.
            Err(why) => wrong.push(format!("{name}: {why}, with {} bytes", bytes.len())),
        }
    }
    read
}

/// What the file counts and the pipeline never did.
fn more_than(live: &Live, metrics: &Metrics) -> Option<String> {
    let (told, ledger) = (&live.figures.metrics, &metrics.ledger);
    let counts = [
        ("offered", told.offered, ledger.offered()),
        ("captured", told.captured, ledger.captured),
        ("stored", told.stored, ledger.stored),
        ("filtered", told.filtered, ledger.filtered),
        ("discarded", told.discarded, ledger.discarded),
    ];
    let more = counts.iter().find(|(_, told, counted)| told > counted)?;
    Some(format!("the live figures say {} {}, the pipeline {}", more.0, more.1, more.2))
}
