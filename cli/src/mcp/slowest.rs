//! `slowest`: what took longest.

use super::answer::{self, List, Watch};
use super::arguments::{self, Events};
use super::journals::Journals;
use crate::args::Order;
use crate::damage;
use crate::failure::Failure;
use crate::journal::{Found, Journal, Reading};
use crate::kinds::Kind;
use crate::progress::Progress;
use crate::timeline::gaps::Gaps;
use crate::timeline::kept::Kept;
use crate::timeline::pairs::{Open, Pairs};
use crate::timeline::places::Places;
use crate::timeline::plan::Plan;
use crate::timeline::slices::{duration, key_of};
use capture_pipeline::journal::reader::Thread;
use capture_pipeline::kinds::Role;
use serde_json::json;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;

/// How many are answered: unless told otherwise, and at most.
const ANSWERED: (u32, u32) = (10, 1_000);
/// The most begins that are open at a time. Of each up to 1 KiB of the payload is kept.
const MOST_OPEN: usize = 65_536;

/// A begin that is open.
struct Begun {
    ns: u64,
    /// `None`: it was not asked for.
    kept: Option<Kept>,
}

/// A duration, a number by which of equal ones the earlier comes first, and the JSON.
type Slow = (u64, Reverse<u64>, Vec<u8>);

/// The ones that took longest so far.
struct Longest {
    limit: usize,
    heap: BinaryHeap<Reverse<Slow>>,
    /// All that had a duration.
    finished: u64,
    /// The begins whose ends are not there.
    unfinished: u64,
}

impl Longest {
    fn add(&mut self, ns: u64, json: impl FnOnce() -> Option<Vec<u8>>) {
        self.finished += 1;
        let is_full = self.heap.len() >= self.limit;
        if is_full && self.heap.peek().is_some_and(|Reverse((least, ..))| *least >= ns) {
            return;
        }
        if let Some(json) = json() {
            self.heap.push(Reverse((ns, Reverse(self.finished), json)));
        }
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
    }
}

struct Search {
    places: Places,
    gaps: Gaps,
    plans: Vec<Plan>,
    kinds: Vec<Kind>,
    pairs: Pairs<Begun>,
    longest: Longest,
}

impl Search {
    fn new(journal: &Journal, limit: usize) -> Self {
        Self {
            places: Places::new(journal),
            gaps: Gaps::new(journal),
            plans: journal.kinds().iter().map(|kind| Plan::new(kind, journal.kinds())).collect(),
            kinds: journal.kinds().to_vec(),
            pairs: Pairs::new(MOST_OPEN),
            longest: Longest { limit, heap: BinaryHeap::new(), finished: 0, unfinished: 0 },
        }
    }

    fn given_up(&mut self, given_up: &[Open<Begun>]) {
        self.longest.unfinished += given_up.iter().filter(|open| open.data.kept.is_some()).count() as u64;
    }

    fn add(&mut self, found: Found<'_>, is_chosen: bool) {
        let ring = self.places.find(&found);
        let ns = self.places.time(ring, found.event.timestamp_ns);
        let thread = self.places.rings[ring].thread;
        // The ends of what is open may be among what is missing.
        if self.gaps.before(&mut self.places.rings[ring], ns, found.event).is_some() {
            let cut = self.pairs.cut(thread);
            self.given_up(&cut);
        }
        let Some(plan) = self.plans.get(found.kind_at).filter(|_| !found.kind.is_rest) else { return };
        match plan.role {
            Role::Begin => {
                let key = plan.is_keyed.then(|| key_of(&found));
                let given_up = self.pairs.make_room();
                self.given_up(&given_up);
                let kept = is_chosen.then(|| Kept::new(&found, Vec::new()));
                self.pairs.begin(thread, found.event.kind, key, Begun { ns, kept });
            }
            Role::End => {
                let key = plan.is_keyed.then(|| key_of(&found));
                let Some(ended) = self.pairs.end(thread, plan.begins, key) else { return };
                let begun = ended.open.data;
                let Some(kept) = begun.kept else { return };
                let (kinds, place) = (&self.kinds, &self.places.threads[thread]);
                let end = found.event.realtime_ns;
                self.longest.add(ns.saturating_sub(begun.ns), || {
                    let by = place.tid.map(|thread_id| Thread { thread_id, name: place.name.clone() });
                    let show = |found: &Found<'_>| answer::event(Found { thread: by.as_ref(), ..*found });
                    let begin = kept.show(|at| kinds.get(at), show)?;
                    Some(slow(ns.saturating_sub(begun.ns), end, "begin", &begin))
                });
            }
            Role::Complete if is_chosen => {
                let took = duration(&found);
                self.longest
                    .add(took, || Some(slow(took, found.event.realtime_ns, "event", &answer::event(found))));
            }
            _ => {}
        }
    }
}

/// One of the answer.
fn slow(ns: u64, end: u64, name: &str, event: &[u8]) -> Vec<u8> {
    let mut json =
        format!("{{\"duration_ns\":\"{ns}\",\"ended\":{},\"{name}\":", answer::time(end)).into_bytes();
    json.extend_from_slice(event);
    json.push(b'}');
    json
}

/// See the module.
pub fn slowest(journals: &Journals, given: &Events, stopped: &dyn Fn() -> bool) -> Result<String, Failure> {
    let (place, selection) = given.selection(journals)?;
    let Some((name, path)) = journals.get(place) else { return Err(Failure::new("journal: there is none")) };
    let limit = arguments::limit(given.limit, ANSWERED.0, ANSWERED.1)?;
    let mut journal = Journal::open(path, &selection, Order::Time, Reading::All)?;
    let mut search = Search::new(&journal, limit as usize);
    let watch = Watch::new(stopped);
    journal.each_with(&mut Progress::none(), |found, is_chosen| {
        watch.look()?;
        search.add(found, is_chosen);
        Ok(ControlFlow::Continue(()))
    })?;
    let open: u64 = search.pairs.all().iter().filter(|open| open.data.kept.is_some()).count() as u64;
    let mut list = List::new("slowest");
    let sorted = search.longest.heap.into_sorted_vec();
    let left_out = sorted.iter().filter(|Reverse((_, _, json))| !list.add(json)).count();
    Ok(list.finish(&[
        ("journal", json!(name)),
        ("finished", answer::number(search.longest.finished)),
        ("unfinished", answer::number(search.longest.unfinished + open)),
        ("left_out_for_their_size", json!(left_out)),
        ("damage", json!(damage::summary(journal.reader().losses()))),
    ]))
}
