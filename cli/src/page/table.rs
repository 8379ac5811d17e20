//! The events of the table: page after page, or the last ones.

use crate::args::{Order, Selection};
use crate::commands::tail::{BLUR_NS, clock_was_kept, start_of_the_end};
use crate::failure::Failure;
use crate::journal::{Found, Journal, Reading, times_asked};
use crate::line::Json;
use crate::progress::Progress;
use capture_pipeline::wall_time;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

/// The most bytes of a page, but for its last event.
const MOST_BYTES: usize = 16 << 20;
/// Events are looked for so long, and the answer says how far that was.
const SEARCH: Duration = Duration::from_secs(8);
/// As `cat --json --strings` has them.
const JSON: Json = Json { strings: true, wide: false, payload: None, attributes: true };

/// Where a page ends. The times are those of the first page: what they are relative to may have moved since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The wall times that are asked for.
    times: (u64, u64),
    /// That of the last event of the page.
    wall_ns: u64,
    /// Its identity.
    last: (u64, u64, u64),
}

impl Place {
    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |part: &str| u64::from_str_radix(part, 16).ok().filter(|_| !part.starts_with('+'));
        let parts: Option<Vec<u64>> = text.split('-').map(number).collect();
        let [from, until, wall_ns, generation, ring_id, sequence] = parts?[..] else { return None };
        Some(Self { times: (from, until), wall_ns, last: (generation, ring_id, sequence) })
    }

    fn show(&self) -> String {
        let Self { times, wall_ns, last } = self;
        format!("{:x}-{:x}-{wall_ns:x}-{:x}-{:x}-{:x}", times.0, times.1, last.0, last.1, last.2)
    }
}

fn identity(found: &Found<'_>) -> (u64, u64, u64) {
    (found.event.generation, found.event.ring_id, found.event.sequence)
}

fn shown(ns: u64) -> Option<String> {
    Some(String::from_utf8_lossy(&wall_time::write(ns)).into_owned())
}

/// Opens a journal for a page.
fn open(path: &Path, selection: &Selection, times: (u64, u64)) -> Result<Journal, Failure> {
    let mut selection = selection.clone();
    selection.from = if times.0 == 0 { None } else { shown(times.0) };
    selection.until = if times.1 == u64::MAX { None } else { shown(times.1) };
    Journal::open(path, &selection, Order::Time, Reading::Once)
}

/// The next events that are asked for, in the order of time. `next` in the answer is the place where the next page begins, if there may be one.
pub fn page(
    path: &Path,
    selection: &Selection,
    limit: usize,
    after: Option<Place>,
) -> Result<Vec<u8>, Failure> {
    let times = match after {
        Some(after) => after.times,
        None => times_asked(path, selection)?,
    };
    let mut journal = open(path, selection, times)?;
    if let Some(after) = after
        && clock_was_kept(journal.reader().segments())
    {
        // What comes behind it in time is not earlier by the wall clock, but for some milliseconds.
        journal = open(path, selection, (times.0.max(after.wall_ns.saturating_sub(BLUR_NS)), times.1))?;
    }
    let end = Instant::now() + SEARCH;
    let (mut text, mut count, mut looked_at) = (b"{\"events\":[".to_vec(), 0, 0_u64);
    let (mut ended, mut last) = ("all", after);
    let mut skipped_to = after.map(|after| after.last);
    journal.each_with(&mut Progress::none(), |found, is_chosen| {
        looked_at += 1;
        if skipped_to.is_some() {
            skipped_to = skipped_to.filter(|wanted| *wanted != identity(&found));
        } else if is_chosen {
            if count == limit || text.len() > MOST_BYTES {
                ended = "limit";
                return Ok(ControlFlow::Break(()));
            }
            if count > 0 {
                text.push(b',');
            }
            JSON.write(&mut text, found);
            last = Some(Place { times, wall_ns: found.event.realtime_ns, last: identity(&found) });
            count += 1;
        }
        if looked_at.is_multiple_of(4096) && Instant::now() > end {
            ended = "time";
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if skipped_to.is_some() && ended != "time" {
        return Err(Failure::new(
            "after: the last event of the page before is not there any more; begin with the first page",
        ));
    }
    let next = last.filter(|_| ended == "limit").map_or("null".into(), |last| format!("\"{}\"", last.show()));
    text.extend_from_slice(
        format!("],\"ended\":\"{ended}\",\"looked_at\":{looked_at},\"next\":{next}}}").as_bytes(),
    );
    Ok(text)
}

/// The last events that are asked for.
pub fn latest(path: &Path, selection: &Selection, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut selection = selection.clone();
    if selection.from.is_none() {
        selection.from = start_of_the_end(path, &selection, limit as u64)?;
    }
    let mut journal = Journal::open(path, &selection, Order::Time, Reading::Once)?;
    let end = Instant::now() + SEARCH;
    let (mut rows, mut size, mut looked_at, mut ended) = (VecDeque::new(), 0, 0_u64, "all");
    journal.each_with(&mut Progress::none(), |found, is_chosen| {
        looked_at += 1;
        if is_chosen {
            let mut row = Vec::new();
            JSON.write(&mut row, found);
            size += row.len();
            rows.push_back(row);
            while rows.len() > limit || (size > MOST_BYTES && rows.len() > 1) {
                size -= rows.pop_front().map_or(0, |row: Vec<u8>| row.len());
            }
        }
        if looked_at.is_multiple_of(4096) && Instant::now() > end {
            ended = "time";
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut text = b"{\"events\":[".to_vec();
    text.extend_from_slice(&Vec::from(rows).join(&b','));
    text.extend_from_slice(
        format!("],\"ended\":\"{ended}\",\"looked_at\":{looked_at},\"next\":null}}").as_bytes(),
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_shown_and_nothing_else_is_one() {
        let place = Place { times: (0, u64::MAX), wall_ns: 7, last: (u64::MAX, 0, 10) };
        assert_eq!(Place::parse(&place.show()), Some(place));
        for wrong in
            ["", "1-2-3-4-5", "1-2-3-4-5-6-7", "1-2-3-4-5-+6", "1-2-3-4-5-g", "1-2-3-4-5-10000000000000000"]
        {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
