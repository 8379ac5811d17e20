//! `query` and `latest`.

use super::answer::{self, List, MOST_BYTES, Watch};
use super::arguments::{self, Events, Pages};
use super::journals::Journals;
use crate::args::{Order, Selection};
use crate::commands::tail::start_of_the_end;
use crate::damage;
use crate::failure::Failure;
use crate::journal::{Found, Journal, Reading, times_asked};
use crate::progress::Progress;
use crate::timeline::places::number_of_text;
use capture_pipeline::wall_time;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::ops::ControlFlow;

/// How many events are answered: unless told otherwise, and at most.
const QUERIED: (u32, u32) = (100, 10_000);
const LATEST: (u32, u32) = (20, 1_000);

/// Where a page ends. The times are those of the first page: what they are relative to may have moved since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The times that are asked for.
    pub times: (u64, u64),
    /// The identity of the last event of the page.
    pub last: (u64, u64, u64),
    /// Made from the other arguments, which must stay the same.
    pub asked: u64,
}

impl Cursor {
    /// As the client keeps it.
    pub fn show(&self) -> String {
        let Self { times, last, asked } = self;
        format!("{:x}-{:x}-{:x}-{:x}-{:x}-{asked:x}", times.0, times.1, last.0, last.1, last.2)
    }

    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Option<Vec<u64>> = text
            .split('-')
            .map(|part| u64::from_str_radix(part, 16).ok().filter(|_| !part.starts_with('+')))
            .collect();
        let [from, until, generation, ring_id, sequence, asked] = parts?[..] else { return None };
        Some(Self { times: (from, until), last: (generation, ring_id, sequence), asked })
    }
}

/// A number that differs if anything else is asked for.
fn asked(place: usize, selection: &Selection) -> u64 {
    number_of_text(1, format!("{place} {selection:?}").as_bytes())
}

fn shown(ns: u64) -> Option<String> {
    Some(String::from_utf8_lossy(&wall_time::write(ns)).into_owned())
}

fn identity(found: &Found<'_>) -> (u64, u64, u64) {
    (found.event.generation, found.event.ring_id, found.event.sequence)
}

/// What was lost of what was read so far, in few words.
fn damage_of(journal: &Journal) -> Value {
    json!(damage::summary(journal.reader().losses()))
}

/// A page of events.
pub fn query(journals: &Journals, given: &Pages, stopped: &dyn Fn() -> bool) -> Result<String, Failure> {
    let (place, mut selection) = given.selection(journals)?;
    let Some((name, path)) = journals.get(place) else { return Err(Failure::new("journal: there is none")) };
    let limit = arguments::limit(given.limit, QUERIED.0, QUERIED.1)?;
    let asked = asked(place, &selection);
    let behind = match given.cursor.as_deref() {
        None => None,
        Some(text) => match Cursor::parse(text) {
            Some(cursor) if cursor.asked == asked => Some(cursor),
            Some(_) => {
                return Err(Failure::new(
                    "cursor: it belongs to a query with other arguments; repeat those of the first page",
                ));
            }
            None => return Err(Failure::new("cursor: it is no next_cursor of a page; begin without one")),
        },
    };
    let times = match behind {
        Some(cursor) => cursor.times,
        None => times_asked(path, &selection)?,
    };
    selection.from = if times.0 == 0 { None } else { shown(times.0) };
    selection.until = if times.1 == u64::MAX { None } else { shown(times.1) };
    let mut journal = Journal::open(path, &selection, Order::Time, Reading::Once)?;
    let (mut list, mut last, mut is_over) = (List::new("events"), None, true);
    let mut skipped_to = behind.map(|cursor| cursor.last);
    let watch = Watch::new(stopped);
    journal.each_with(&mut Progress::none(), |found, is_chosen| {
        watch.look()?;
        if skipped_to.is_some() {
            skipped_to = skipped_to.filter(|wanted| *wanted != identity(&found));
        } else if is_chosen {
            if !list.add(&answer::event(found)) {
                is_over = false;
                return Ok(ControlFlow::Break(()));
            }
            last = Some(identity(&found));
            is_over = list.count < limit;
        }
        Ok(if is_over { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    if skipped_to.is_some() {
        return Err(Failure::new(
            "cursor: the journal does not have the last event of the page before any more; begin without one",
        ));
    }
    let next = last.filter(|_| !is_over).map(|last| Cursor { times, last, asked }.show());
    Ok(list.finish(&[
        ("journal", json!(name)),
        ("next_cursor", json!(next)),
        ("damage", damage_of(&journal)),
    ]))
}

/// The last events.
pub fn latest(journals: &Journals, given: &Events, stopped: &dyn Fn() -> bool) -> Result<String, Failure> {
    let (place, mut selection) = given.selection(journals)?;
    let Some((name, path)) = journals.get(place) else { return Err(Failure::new("journal: there is none")) };
    let limit = arguments::limit(given.limit, LATEST.0, LATEST.1)?;
    if selection.from.is_none() {
        selection.from = start_of_the_end(path, &selection, limit)?;
    }
    let mut journal = Journal::open(path, &selection, Order::Time, Reading::Once)?;
    let (mut last, mut size) = (VecDeque::new(), 0);
    let watch = Watch::new(stopped);
    journal.each_with(&mut Progress::none(), |found, is_chosen| {
        watch.look()?;
        if is_chosen {
            let json = answer::event(found);
            size += json.len() + 2;
            last.push_back(json);
            while last.len() as u64 > limit || size > MOST_BYTES - 64 {
                size -= last.pop_front().map_or(0, |json| json.len() + 2);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut list = List::new("events");
    last.iter().for_each(|json| {
        list.add(json);
    });
    Ok(list.finish(&[("journal", json!(name)), ("damage", damage_of(&journal))]))
}
