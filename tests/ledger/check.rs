//! The comparison, event by event: what was offered and answered, what the storage saw and did, what the ledger says.

use crate::producers::{Record, Source, trace_of};
use crate::rules::TAGS;
use crate::storage::{Entry, Fate, Made, Shared, is_old, rewritten_len};
use capture_pipeline::event::{
    PIPELINE_EVENT_OWN_TIME, PIPELINE_EVENT_PARTIAL, PIPELINE_EVENT_PRIORITY, PIPELINE_KIND_RESERVED,
};
use capture_pipeline::ledger::Ledger;
use capture_pipeline::manager::Metrics;
use capture_pipeline::platform::sync::Ordering;
use capture_pipeline::status::{
    PIPELINE_DROPPED_BY_RULE, PIPELINE_ERR_BUSY, PIPELINE_ERR_CLOSED, PIPELINE_ERR_FULL,
    PIPELINE_ERR_INVALID, PIPELINE_ERR_NO_RING, PIPELINE_ERR_TOO_LARGE, PIPELINE_OK, PIPELINE_SAMPLED,
};
use std::collections::{HashMap, HashSet};

/// The ids of the shared ring and of its priority ring (while neither was retired). What has the id between them is the library's own.
const SHARED: [u64; 2] = [1, 3];

/// What is known besides.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub max_event_bytes: usize,
    /// The largest payload that goes to a priority ring.
    pub max_priority_bytes: Option<usize>,
    /// Whether events may have been overwritten.
    pub overwrites: bool,
    /// Whether rings may have been retired.
    pub retires: bool,
    /// Whether the pipeline has shown its `release` everything, being torn down.
    pub destroyed: bool,
}

impl Facts {
    /// What is known of a pipeline that is destroyed, with these largest payloads of events and of events with priority.
    pub fn of(
        (max_event_bytes, max_priority_bytes): (usize, Option<usize>),
        overwrites: bool,
        retires: bool,
    ) -> Self {
        Self { max_event_bytes, max_priority_bytes, overwrites, retires, destroyed: true }
    }

    /// Whether an offer was to go to a priority ring.
    fn is_priority(&self, record: &Record) -> bool {
        record.flags & PIPELINE_EVENT_PRIORITY != 0 && Some(record.room as usize) <= self.max_priority_bytes
    }
}

/// Numbers that must be equal, by name.
fn equal(wrong: &mut Vec<String>, what: &str, ledger: u64, counted: u64) {
    if ledger != counted {
        wrong.push(format!("{what}: the ledger has {ledger}, counted were {counted}"));
    }
}

/// Everything that does not fit.
pub fn compare(sources: &[Source], shared: &Shared, metrics: &Metrics, facts: &Facts) -> Vec<String> {
    let mut wrong = shared.failures();
    let ledger = &metrics.ledger;
    let status = |s: i32| sources.iter().flat_map(|x| &x.records).filter(|r| r.status == s).count() as u64;
    let captured = status(PIPELINE_OK);

    // What the offers were answered.
    equal(&mut wrong, "captured", ledger.captured, captured);
    equal(&mut wrong, "dropped_full", ledger.dropped_full, status(PIPELINE_ERR_FULL));
    equal(&mut wrong, "dropped_sampled", ledger.dropped_sampled, status(PIPELINE_SAMPLED));
    equal(&mut wrong, "dropped_rule", ledger.dropped_rule, status(PIPELINE_DROPPED_BY_RULE));
    equal(&mut wrong, "refused_too_large", ledger.refused_too_large, status(PIPELINE_ERR_TOO_LARGE));
    equal(&mut wrong, "refused_invalid", ledger.refused_invalid, status(PIPELINE_ERR_INVALID));
    equal(&mut wrong, "refused_busy", ledger.refused_busy, status(PIPELINE_ERR_BUSY));
    equal(&mut wrong, "refused_closed", ledger.refused_closed, status(PIPELINE_ERR_CLOSED));
    equal(&mut wrong, "refused_no_ring", ledger.refused_no_ring, status(PIPELINE_ERR_NO_RING));
    equal(&mut wrong, "offered", ledger.offered(), sources.iter().map(|s| s.records.len() as u64).sum());
    for source in sources {
        for (n, r) in source.records.iter().enumerate() {
            let invalid = r.kind >= PIPELINE_KIND_RESERVED;
            let large = r.len as usize > facts.max_event_bytes;
            let fits = match r.status {
                PIPELINE_OK | PIPELINE_ERR_FULL | PIPELINE_DROPPED_BY_RULE => !invalid && !large,
                PIPELINE_SAMPLED => {
                    let may = shared.settings.most_weight > 1 && r.flags & PIPELINE_EVENT_PRIORITY == 0;
                    !invalid && !large && may
                }
                PIPELINE_ERR_INVALID => invalid,
                PIPELINE_ERR_TOO_LARGE => large && !invalid,
                PIPELINE_ERR_BUSY | PIPELINE_ERR_CLOSED => true,
                _ => false,
            };
            if !fits {
                wrong.push(format!("offer {n} of source {}: {r:?}", source.id));
            }
        }
    }

    // What became of the events.
    let book = shared.book.lock();
    let fate = |f: Option<Fate>| book.events.values().filter(|e| e.fate == f).count() as u64;
    equal(&mut wrong, "stored", ledger.stored, fate(Some(Fate::Stored)));
    equal(&mut wrong, "dead_lettered", ledger.dead_lettered, fate(Some(Fate::DeadLettered)));
    equal(&mut wrong, "discarded", ledger.discarded, fate(Some(Fate::Discarded)));
    // What a transform has answered counts when its call for the batch has returned, unless the pipeline ends before.
    let made = |what| book.made.values().filter(|&&made| made == what).count() as u64;
    for (what, counted, answered) in [
        ("filtered", ledger.filtered, fate(Some(Fate::Filtered))),
        ("transformed", metrics.transformed, made(Made::Rewritten)),
        ("transform_faults", metrics.transform_faults, book.transform_faults),
    ] {
        if counted > answered || ledger.left == 0 {
            equal(&mut wrong, what, counted, answered);
        }
    }
    let batched = book.events.values().filter(|e| e.batch != 0).count() as u64;
    let gone_unseen = (captured + ledger.recovered).wrapping_sub(batched + fate(Some(Fate::Filtered)));
    let unsettled = book.events.values().filter(|e| e.batch != 0 && e.fate.is_none()).count() as u64;
    let unstored = ledger.overwritten + ledger.left + ledger.buffered + ledger.in_flight + ledger.in_doubt;
    let uncounted = fate(Some(Fate::Filtered)) - ledger.filtered.min(fate(Some(Fate::Filtered)));
    let unseen = gone_unseen + uncounted;
    equal(&mut wrong, "overwritten, left, in flight or in doubt", unstored, unseen + unsettled);
    if facts.destroyed {
        equal(&mut wrong, "in flight or in doubt at the end", ledger.in_flight + ledger.in_doubt, 0);
    }
    if !facts.overwrites {
        equal(&mut wrong, "overwritten", ledger.overwritten, 0);
    }
    if shared.settings.release && facts.destroyed {
        equal(&mut wrong, "captured, as released", captured, shared.tally.released.load(Ordering::Acquire));
        let own = || book.events.iter().filter(|(key, _)| !is_old(key));
        equal(&mut wrong, "captured, as released once", captured, own().count() as u64);
        let kept = own().filter(|(_, e)| !e.released).count() as u64;
        equal(&mut wrong, "not released", 0, kept);
    }
    equal(&mut wrong, "retries", metrics.retries, book.retries);
    equal(&mut wrong, "bad_results", metrics.bad_results, book.bad_results);
    let bytes =
        |f: &dyn Fn(&Entry) -> bool| book.events.values().filter(|e| f(e)).map(|e| u64::from(e.len)).sum();
    equal(&mut wrong, "bytes_stored", metrics.bytes_stored, bytes(&|e| e.fate == Some(Fate::Stored)));
    let offered_bytes = |r: &&crate::producers::Record| r.status == PIPELINE_OK;
    let captured_bytes =
        sources.iter().flat_map(|s| &s.records).filter(offered_bytes).map(|r| u64::from(r.len)).sum();
    equal(&mut wrong, "bytes_captured", metrics.bytes_captured, captured_bytes);
    let weights: u64 = book.events.iter().filter(|(key, _)| !is_old(key)).map(|(_, e)| e.weight).sum();
    if gone_unseen == 0 {
        equal(&mut wrong, "weight_captured", metrics.weight_captured, weights);
    }
    if !ledger.balances() {
        wrong.push(format!("the ledger does not balance: {ledger:?}"));
    }
    // (Those of runs that have ended were not offered here.)
    let events: HashMap<(u64, u64), Entry> = book
        .events
        .iter()
        .filter(|(key, _)| !is_old(key))
        .map(|(key, entry)| (*key, entry.clone()))
        .collect();
    check_priority(&mut wrong, sources, &events, ledger, facts);

    // Each event is one that was offered and captured, as it was offered, and came under one identity.
    let by_id: HashMap<u32, &Source> = sources.iter().map(|s| (s.id, s)).collect();
    let mut seen = HashSet::new();
    for (key, e) in &events {
        if !seen.insert(e.number) {
            wrong.push(format!("event {:#x} came under {key:?} and another identity", e.number));
        }
        let source = by_id.get(&((e.number >> 32) as u32));
        let Some(r) = source.and_then(|s| s.records.get((e.number & 0xFFFF_FFFF) as usize)) else {
            wrong.push(format!("{key:?}: {e:?} was never offered"));
            continue;
        };
        let own_time = r.flags & PIPELINE_EVENT_OWN_TIME != 0;
        let len = match e.rewritten {
            true => rewritten_len(e.number, facts.max_event_bytes) as u32,
            false => r.len,
        };
        if r.status != PIPELINE_OK
            || (len, r.kind, r.flags) != (e.len, e.kind, e.flags & !(PIPELINE_EVENT_PARTIAL | TAGS))
            || (r.flags & PIPELINE_EVENT_PRIORITY != 0 && e.weight != 1)
            || (own_time && r.timestamp != e.timestamp)
        {
            wrong.push(format!("{key:?} is {e:?}, offered was {r:?}"));
        }
    }

    check_rings(&mut wrong, &by_id, &events, facts);
    if shared.settings.traces {
        let tracked = metrics.traces_untracked == 0;
        check_traces(&mut wrong, shared, sources, &events, tracked);
    }
    wrong.truncate(30);
    wrong
}

/// The ledger of priority events alone, and that they share neither ring nor batch with others.
fn check_priority(
    wrong: &mut Vec<String>,
    sources: &[Source],
    events: &HashMap<(u64, u64), Entry>,
    ledger: &Ledger,
    facts: &Facts,
) {
    let l = &ledger.priority;
    let offered: HashMap<u64, &Record> = sources
        .iter()
        .flat_map(|s| s.records.iter().enumerate().map(|(n, r)| (u64::from(s.id) << 32 | n as u64, r)))
        .collect();
    let status = |s: &dyn Fn(i32) -> bool| {
        offered.values().filter(|r| facts.is_priority(r) && s(r.status)).count() as u64
    };
    let captured = status(&|s| s == PIPELINE_OK);
    equal(wrong, "offered_priority", l.offered(), status(&|_| true));
    equal(wrong, "captured_priority", l.captured, captured);
    equal(wrong, "dropped_full_priority", l.dropped_full, status(&|s| s == PIPELINE_ERR_FULL));
    equal(wrong, "dropped_rule_priority", l.dropped_rule, status(&|s| s == PIPELINE_DROPPED_BY_RULE));
    equal(wrong, "dropped_sampled_priority", l.dropped_sampled, status(&|s| s == PIPELINE_SAMPLED));
    let refused = |s| s < PIPELINE_OK && s != PIPELINE_ERR_FULL;
    equal(wrong, "refused_priority", l.refused, status(&refused));
    let mut batches: HashMap<u64, bool> = HashMap::new();
    let mut rings: HashMap<u64, bool> = HashMap::new();
    let mut fates: HashMap<Option<Fate>, u64> = HashMap::new();
    let (mut batched, mut filtered) = (0, 0);
    for (&(ring, _), e) in events {
        let Some(priority) = offered.get(&e.number).map(|r| facts.is_priority(r)) else { continue };
        if *rings.entry(ring).or_insert(priority) != priority {
            wrong.push(format!("ring {ring} has events with priority and others"));
        }
        filtered += u64::from(priority && e.fate == Some(Fate::Filtered));
        if e.batch == 0 {
            continue;
        }
        if *batches.entry(e.batch).or_insert(priority) != priority {
            wrong.push(format!("batch {} has events with priority and others", e.batch));
        }
        if priority {
            batched += 1;
            *fates.entry(e.fate).or_default() += 1;
        }
    }
    let fate = |f| fates.get(&f).copied().unwrap_or(0);
    equal(wrong, "stored_priority", l.stored, fate(Some(Fate::Stored)));
    equal(wrong, "dead_lettered_priority", l.dead_lettered, fate(Some(Fate::DeadLettered)));
    equal(wrong, "discarded_priority", l.discarded, fate(Some(Fate::Discarded)));
    if l.filtered > filtered || ledger.left == 0 {
        equal(wrong, "filtered_priority", l.filtered, filtered);
    }
    let unstored = l.overwritten + l.left + l.buffered + l.in_flight + l.in_doubt;
    let unseen = captured - batched - l.filtered.min(filtered) + fate(None);
    equal(wrong, "priority events overwritten, left, in flight or in doubt", unstored, unseen);
    if !l.balances() {
        wrong.push(format!("the ledger of priority events does not balance: {l:?}"));
    }
}

/// The sequence numbers of each ring tell the order of offers, and count the drops.
fn check_rings(
    wrong: &mut Vec<String>,
    sources: &HashMap<u32, &Source>,
    events: &HashMap<(u64, u64), Entry>,
    facts: &Facts,
) {
    // The number that each event would have, were its source's captures and drops counted from 0.
    let mut rank = HashMap::new();
    for source in sources.values() {
        let mut next = [0u64; 2];
        for (n, r) in source.records.iter().enumerate() {
            let numbered = [PIPELINE_OK, PIPELINE_ERR_FULL, PIPELINE_SAMPLED, PIPELINE_DROPPED_BY_RULE];
            if numbered.contains(&r.status) {
                let next = &mut next[usize::from(facts.is_priority(r))];
                rank.insert(u64::from(source.id) << 32 | n as u64, *next);
                *next += 1;
            }
        }
    }
    let mut rings: HashMap<u64, Vec<(u64, &Entry)>> = HashMap::new();
    for (&(ring, sequence), entry) in events {
        rings.entry(ring).or_default().push((sequence, entry));
    }
    let mut shared_rings = [0; 2];
    for (ring, list) in &mut rings {
        list.sort_by_key(|(sequence, _)| *sequence);
        let ids: HashSet<u64> = list.iter().map(|(_, e)| e.number >> 32).collect();
        if ids.len() > 1 {
            let first = list.first().and_then(|(_, e)| {
                sources.get(&((e.number >> 32) as u32))?.records.get((e.number & 0xFFFF_FFFF) as usize)
            });
            shared_rings[usize::from(first.is_some_and(|r| facts.is_priority(r)))] += 1;
            let mut last: HashMap<u64, u64> = HashMap::new();
            for (sequence, e) in list.iter() {
                if last.insert(e.number >> 32, e.number).is_some_and(|before| before >= e.number) {
                    wrong.push(format!(
                        "shared ring {ring}: event {:#x} at {sequence} is out of turn",
                        e.number
                    ));
                }
            }
        } else {
            // One source: its captures and drops, and nothing else, take numbers here, in their order.
            let offset =
                |&(sequence, e): &(u64, &Entry)| rank.get(&e.number).map(|r| r.wrapping_sub(sequence));
            // In the shared ring a single source may have been seen while others' events were dropped.
            if !SHARED.contains(ring) && list.iter().any(|x| offset(x) != offset(&list[0])) && !facts.retires
            {
                wrong.push(format!("ring {ring}: its sequence numbers do not follow the offers"));
            }
        }
        let stamped = list.iter().filter(|(_, e)| e.flags & PIPELINE_EVENT_OWN_TIME == 0);
        let mut before = 0;
        for (sequence, e) in stamped {
            if e.timestamp < before {
                wrong.push(format!("ring {ring}: time goes back at {sequence}"));
            }
            before = e.timestamp;
        }
    }
    if shared_rings.iter().any(|&rings| rings > 1) && !facts.retires {
        wrong.push(format!(
            "{shared_rings:?} rings had several threads, ordinary ones and those for events with priority"
        ));
    }
}

/// What is kept of a trace behind an event of it that was sampled out says so. And a trace is kept or sampled out as a whole, with one weight, if all
/// are `tracked`; but what came before sampling began, and what a rule asks for, has the weight 1. (No trace is forgotten, and no rule samples.)
fn check_traces(
    wrong: &mut Vec<String>,
    shared: &Shared,
    sources: &[Source],
    events: &HashMap<(u64, u64), Entry>,
    tracked: bool,
) {
    let by_number: HashMap<u64, &Entry> = events.values().map(|e| (e.number, e)).collect();
    let mut weights: HashMap<u64, HashSet<u64>> = HashMap::new();
    let mut cut: HashSet<u64> = HashSet::new();
    let sampled = |r: &Record| r.flags & PIPELINE_EVENT_PRIORITY == 0;
    for source in sources {
        let mut cut_here = HashSet::new();
        for (n, r) in source.records.iter().enumerate().filter(|(_, r)| sampled(r)) {
            let number = u64::from(source.id) << 32 | n as u64;
            let trace = trace_of(number);
            if trace == 0 {
                continue;
            }
            if r.status == PIPELINE_SAMPLED {
                cut_here.insert(trace);
                shared.tally.cut.fetch_add(1, Ordering::Relaxed);
            }
            let Some(e) = by_number.get(&number).filter(|_| r.status == PIPELINE_OK) else { continue };
            let partial = e.flags & PIPELINE_EVENT_PARTIAL != 0;
            shared.tally.partial_traces.fetch_add(partial.into(), Ordering::Relaxed);
            if cut_here.contains(&trace) && !partial {
                wrong.push(format!(
                    "event {number:#x} of the trace {trace:#x} does not say that it lost others: {e:?}"
                ));
            }
            if e.weight > 1 {
                weights.entry(trace).or_default().insert(e.weight);
            }
        }
        cut.extend(cut_here);
    }
    shared.tally.weighed.fetch_add(weights.len() as u64, Ordering::Relaxed);
    for (trace, weights) in weights.iter().filter(|_| tracked) {
        if weights.len() > 1 || cut.contains(trace) {
            wrong.push(format!(
                "the trace {trace:#x} is kept with {weights:?}; sampled out: {}",
                cut.contains(trace)
            ));
        }
    }
}

/// What a snapshot of a running pipeline must keep to, given the one before, while `threads` capture.
pub fn check_snapshot(now: &Ledger, before: &Ledger, threads: u64) -> Result<(), String> {
    let settled = |l: &Ledger| l.stored + l.filtered + l.dead_lettered + l.discarded + l.overwritten;
    let counters = |l: &Ledger| {
        [
            l.captured,
            l.recovered,
            l.torn,
            l.dropped_full,
            l.dropped_sampled,
            l.dropped_rule,
            l.refused_too_large,
            l.refused_invalid,
            l.refused_busy,
            l.stored,
            l.filtered,
            l.dead_lettered,
            l.discarded,
            l.overwritten,
            l.bytes_captured,
            l.weight_captured,
        ]
    };
    let taken = now.captured + now.recovered;
    if now.stored > taken || settled(now) + now.in_flight + now.in_doubt > taken {
        return Err(format!("more settled than captured: {now:?}"));
    }
    if taken.abs_diff(now.accounted()) > threads {
        return Err(format!("more than the events in motion are missing: {now:?}"));
    }
    if counters(now).iter().zip(counters(before)).any(|(n, b)| *n < b) {
        return Err(format!("a counter went back: {before:?}, then {now:?}"));
    }
    Ok(())
}
