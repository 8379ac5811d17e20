//! `tail`

use super::cat::Printer;
use crate::args::{Order, Selection, Tail};
use crate::failure::{Failure, Outcome};
use crate::journal::{Journal, Reading, span};
use crate::progress::Progress;
use capture_pipeline::journal::reader::Segment;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

/// How long a waiting command sleeps before it looks whether writers live.
const WAIT: Duration = Duration::from_millis(200);
/// So many looks without an event and without a writer end the command.
const LAST_LOOKS: u32 = 3;

/// Prints the last events, and those that follow.
pub fn run(args: &Tail) -> Result<Outcome, Failure> {
    let mut selection = args.selection.clone();
    let is_free = selection.from.is_none();
    if is_free {
        selection.from = start_of_the_end(&args.path, &args.selection, args.count)?;
    }
    let reading = if args.follow { Reading::Following } else { Reading::Once };
    let mut journal = Journal::open(&args.path, &selection, Order::Time, reading)?;
    let mut printer = Printer::new(args.lines);
    let mut last = VecDeque::new();
    journal.each(&mut Progress::new("reading", false), |found| {
        printer.append(found);
        last.push_back(printer.take());
        if last.len() as u64 > args.count {
            last.pop_front();
        }
        Ok(ControlFlow::Continue(()))
    })?;
    last.iter().try_for_each(|line| printer.put(line))?;
    printer.flush()?;
    drop(last);
    if is_free {
        // What follows may have an earlier wall time: the clock may be set back, and an event may have a time of its own.
        journal.lift_from();
    }
    let mut looks = 0;
    while args.follow && looks < LAST_LOOKS {
        let ControlFlow::Continue(more) = journal.follow(WAIT, |found| {
            printer.print(found)?;
            Ok(ControlFlow::Continue(()))
        })?
        else {
            break;
        };
        // Lines that come quickly are written together.
        if !more {
            printer.flush()?;
        }
        looks = if more || journal.reader().is_growing() { 0 } else { looks + 1 };
    }
    printer.flush()?;
    Ok(journal.outcome())
}

/// Wall times that differ by less than this may be in another order than the events.
pub const BLUR_NS: u64 = 1_000_000_000;

/// Whether the events are in the order of their wall times, except for those within [`BLUR_NS`]: nobody has set the wall clock meanwhile.
pub fn clock_was_kept<'s>(segments: impl Iterator<Item = &'s Segment>) -> bool {
    let mut boots: BTreeMap<[u8; 16], (i128, i128)> = BTreeMap::new();
    for segment in segments.filter(|segment| segment.events > 0) {
        let (times, walls) = (segment.times_ns, segment.realtimes_ns);
        for (time, wall) in [(times.0, walls.0), (times.1, walls.1)] {
            let offset = i128::from(wall) - i128::from(time);
            let known = boots.entry(segment.header.owner.boot_id).or_insert((offset, offset));
            *known = (known.0.min(offset), known.1.max(offset));
        }
    }
    boots.values().all(|(least, most)| most - least < i128::from(BLUR_NS))
}

/// A time, so that at least as many of the wanted events as are asked for are not before it. `None`: there are not as many, or wall times do not tell. A large
/// journal need not be read to find it.
pub fn start_of_the_end(path: &Path, wanted: &Selection, count: u64) -> Result<Option<String>, Failure> {
    let journal = Journal::open(path, wanted, Order::Stored, Reading::Once)?;
    let (first, last) = span(journal.reader().segments());
    if !clock_was_kept(journal.reader().segments()) {
        return Ok(None);
    }
    let events: u64 = journal.reader().segments().map(|segment| segment.events).sum();
    let length = last.saturating_sub(first);
    // The first look is at some more than are wanted, if they came evenly.
    let window = u128::from(length) * 4 * (u128::from(count) + 1) / u128::from(events.max(1));
    let mut window = u64::try_from(window).unwrap_or(u64::MAX);
    while window < length {
        let from = last - window;
        let text = |ns| Some(String::from_utf8_lossy(&capture_pipeline::wall_time::write(ns)).into_owned());
        let mut selection = wanted.clone();
        selection.from = text(from);
        let mut found = 0;
        Journal::open(path, &selection, Order::Stored, Reading::Once)?.each(&mut Progress::none(), |_| {
            found += 1;
            Ok(if found < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        if found >= count {
            return Ok(text(from.saturating_sub(BLUR_NS)));
        }
        window = window.saturating_mul(8).max(1_000_000);
    }
    Ok(None)
}
