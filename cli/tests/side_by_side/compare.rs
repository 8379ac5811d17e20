//! The comparison, event by event: what was offered, what the ledger says, what SQLite has, and what the journal has after its export.

use crate::database::{Database, Row};
use crate::offers::{NAMED, Source, definition, is_refused};
use crate::tee::{Seen, Settings};
use capture_pipeline::event::{PIPELINE_EVENT_OWN_TIME, PIPELINE_KIND_RESERVED};
use capture_pipeline::journal::reader::{LedgerBlock, Reader, State};
use capture_pipeline::ledger::Ledger;
use capture_pipeline::status::{
    PIPELINE_ERR_BUSY, PIPELINE_ERR_FULL, PIPELINE_ERR_INVALID, PIPELINE_ERR_TOO_LARGE, PIPELINE_OK,
};
use std::collections::{BTreeMap, HashMap};

/// Everything that does not fit.
#[derive(Default)]
pub struct Wrong(pub Vec<String>);

impl Wrong {
    fn note(&mut self, what: String) {
        if self.0.len() < 30 {
            self.0.push(what);
        }
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, left: T, right: T) {
        if left != right {
            let (mut left, mut right) = (format!("{left:?}"), format!("{right:?}"));
            left.truncate(2_000);
            right.truncate(2_000);
            self.note(format!("{what}: {left} and {right}"));
        }
    }
}

/// What was offered is what the ledger says.
pub fn ledger(wrong: &mut Wrong, sources: &[Source], ledger: &Ledger, seen: &Seen) {
    let status = |status: i32| {
        sources.iter().flat_map(|source| &source.offers).filter(|offer| offer.status == status).count() as u64
    };
    let offers: u64 = sources.iter().map(|source| source.offers.len() as u64).sum();
    let dead = seen.dead.lock().expect("not poisoned").len() as u64;
    let count = [
        ("offered", ledger.offered(), offers),
        ("captured", ledger.captured, status(PIPELINE_OK)),
        ("dropped_full", ledger.dropped_full, status(PIPELINE_ERR_FULL)),
        ("refused_too_large", ledger.refused_too_large, status(PIPELINE_ERR_TOO_LARGE)),
        ("refused_invalid", ledger.refused_invalid, status(PIPELINE_ERR_INVALID)),
        ("refused_busy", ledger.refused_busy, status(PIPELINE_ERR_BUSY)),
        ("dead_lettered", ledger.dead_lettered, dead),
    ];
    for (what, told, counted) in count {
        wrong.equal(&format!("{what}, by the ledger and as counted"), told, counted);
    }
    let l = ledger;
    let unsettled = l.buffered + l.in_flight + l.in_doubt + l.left;
    wrong.equal("unsettled after the close", unsettled, 0);
    let gone = l.stored + l.dead_lettered + l.discarded + l.overwritten;
    wrong.equal("captured = stored + dead-lettered + discarded + overwritten", l.captured, gone);
    if !ledger.balances() {
        wrong.note(format!("the ledger does not balance: {ledger:?}"));
    }
}

/// A database has the events that were captured, each once, as they were offered, and no others.
pub fn offers(
    wrong: &mut Wrong,
    name: &str,
    database: &Database,
    sources: &[Source],
    ledger: &Ledger,
    seen: &Seen,
) {
    wrong.equal(&format!("{name}: rows with the identity of another"), database.twice, 0);
    wrong.equal(
        &format!("{name}: events, and stored by the ledger"),
        database.events.len() as u64,
        ledger.stored,
    );
    wrong.equal(&format!("{name}: runs, deleted and conflicts"), database.runs.as_slice(), &[(0, 0)][..]);
    let by_id: HashMap<u64, &Source> = sources.iter().map(|source| (source.id, source)).collect();
    let mut found = HashMap::new();
    for (identity, (row, around)) in &database.events {
        let number = row.correlation_id;
        let place = by_id
            .get(&(number >> 32))
            .and_then(|source| source.offers.get(number as u32 as usize).map(|offer| (*source, offer)));
        let Some((source, offer)) = place else {
            wrong.note(format!("{name}: {identity:?} was never offered: {row:?}"));
            continue;
        };
        let own_time = offer.flags & PIPELINE_EVENT_OWN_TIME != 0;
        let wanted = Row {
            time: if own_time { offer.time } else { row.time },
            kind: offer.kind,
            correlation_id: number,
            node_id: offer.node_id,
            weight: 1_f64.to_bits(),
            flags: offer.flags,
            payload: offer.payload.clone(),
        };
        if *row != wanted || offer.status != PIPELINE_OK || is_refused(offer.kind, offer.flags) {
            wrong.note(format!("{name}: {identity:?} is {row:?}, offered was {offer:?}"));
        }
        if let Some(other) = found.insert(number, identity) {
            wrong.note(format!("{name}: event {number:#x} is there as {identity:?} and as {other:?}"));
        }
        if let Some((_, thread)) = &around.thread
            && source.thread.as_ref() != Some(thread)
        {
            wrong.note(format!("{name}: {identity:?} is of {thread:?}, captured by {:?}", source.thread));
        }
    }
    let dead = seen.dead.lock().expect("not poisoned");
    let mut unseen = 0;
    for source in sources {
        for (n, offer) in source.offers.iter().enumerate() {
            let number = source.id << 32 | n as u64;
            if offer.status != PIPELINE_OK || found.contains_key(&number) {
                continue;
            }
            if is_refused(offer.kind, offer.flags) {
                continue; // (counted below, and overwritten ones among them)
            }
            unseen += 1;
            if ledger.overwritten == 0 {
                wrong.note(format!("{name}: event {number:#x} is missing: {offer:?}"));
            }
        }
    }
    if let Some(number) = dead.iter().find(|number| found.contains_key(number)) {
        wrong.note(format!("{name}: event {number:#x} is stored, and dead-lettered"));
    }
    if unseen > ledger.overwritten {
        wrong.note(format!("{name}: {unseen} events are missing, {} were overwritten", ledger.overwritten));
    }
    for offer in sources.iter().flat_map(|source| &source.offers) {
        // (Whether a shared producer is busy is asked first.)
        let is_reserved = offer.kind >= PIPELINE_KIND_RESERVED && offer.status != PIPELINE_ERR_BUSY;
        if is_reserved != (offer.status == PIPELINE_ERR_INVALID) {
            wrong.note(format!("{name}: {offer:?}"));
        }
    }
}

/// Both databases have the same events, and say the same about them.
pub fn databases(
    wrong: &mut Wrong,
    direct: &Database,
    exported: &Database,
    seen: &Seen,
    settings: &Settings,
) {
    for (identity, (row, around)) in &direct.events {
        let Some((other, other_around)) = exported.events.get(identity) else {
            wrong.note(format!("{identity:?} is in SQLite, and not in the journal: {row:?}"));
            continue;
        };
        if row != other {
            wrong.note(format!("{identity:?} is {row:?} in SQLite, {other:?} in the journal"));
        }
        if around.kind_name != other_around.kind_name {
            let (one, other) = (&around.kind_name, &other_around.kind_name);
            wrong.note(format!("kind {} is called {one:?} in SQLite, {other:?} in the journal", row.kind));
        }
        // Where it gets facts as events, the name of a thread may come after all events of its ring.
        if around.thread != other_around.thread && (settings.attached || other_around.thread.is_some()) {
            let (one, other) = (&around.thread, &other_around.thread);
            wrong.note(format!("{identity:?}: thread {one:?} in SQLite, {other:?} in the journal"));
        }
    }
    for (identity, (row, _)) in &exported.events {
        if !direct.events.contains_key(identity) {
            wrong.note(format!("{identity:?} is in the journal, and not in SQLite: {row:?}"));
        }
    }
    walls(wrong, direct, exported, seen);
    wrong.equal("names of kinds", &direct.kinds, &exported.kinds);
    wrong.equal("definitions", &direct.definitions, &exported.definitions);
    wrong.equal("tables, views and indexes", &direct.schema, &exported.schema);
    wrong.equal("statements about the clock", exported.clocks.last(), direct.clocks.last());
    let names = |database: &Database| database.views.keys().cloned().collect::<Vec<_>>();
    wrong.equal("views of kinds", names(direct), names(exported));
    for (name, (columns, rows)) in &direct.views {
        let Some((other_columns, others)) = exported.views.get(name) else { continue };
        wrong.equal(name, columns, other_columns);
        wrong.equal(&format!("rows of {name}"), rows.len(), others.len());
        if let Some((row, other)) = rows.iter().zip(others).find(|(row, other)| row != other) {
            wrong.note(format!("{name}: {row} in SQLite, {other} in the journal"));
        }
    }
}

/// Wall times are the monotonic ones plus a difference of the clocks that a batch had. Those of callers' own times are by the claim in SQLite, and by the time itself in a
/// journal, which does not know the claim.
fn walls(wrong: &mut Wrong, direct: &Database, exported: &Database, seen: &Seen) {
    let offsets = seen.offsets.lock().expect("not poisoned");
    let processed = seen.processed.lock().expect("not poisoned");
    let by = |time: u64, wall: i64| {
        offsets.iter().any(|offset| time.saturating_add_signed(*offset) as i64 == wall)
    };
    let clipped = |time: u64, wall: i64| {
        let ns = |offset: &i64| i64::try_from(time.saturating_add_signed(*offset)).unwrap_or(i64::MAX);
        offsets.iter().any(|offset| ns(offset) == wall)
    };
    for (identity, (row, around)) in &direct.events {
        let own_time = row.flags & PIPELINE_EVENT_OWN_TIME != 0;
        let right = match own_time {
            true => offsets.iter().any(|offset| {
                u64::try_from(around.wall_ns - offset).is_ok_and(|claim| processed.contains(&claim))
            }),
            false => by(row.time, around.wall_ns),
        };
        if !right {
            wrong.note(format!("{identity:?}: the wall time in SQLite is {}: {row:?}", around.wall_ns));
        }
        if let Some((_, around)) = exported.events.get(identity)
            && !if own_time { clipped(row.time, around.wall_ns) } else { by(row.time, around.wall_ns) }
        {
            wrong.note(format!("{identity:?}: the wall time in the journal is {}: {row:?}", around.wall_ns));
        }
    }
}

/// Each defined kind has its definition and a view with its events, and each kind the name that it got last.
pub fn kinds(wrong: &mut Wrong, name: &str, database: &Database, names: &BTreeMap<u32, String>) {
    let mut wanted = names.clone();
    for (kind, (kind_name, bytes)) in &database.definitions {
        let Some(definition) = definition(*kind) else {
            wrong.note(format!("{name}: kind {kind} was never defined"));
            continue;
        };
        wrong.equal(name, bytes, &definition.to_bytes());
        wrong.equal(name, kind_name, &definition.name);
        wanted.entry(*kind).or_insert_with(|| definition.name.clone());
        let events = database.events.values().filter(|(row, _)| row.kind == *kind).count();
        let view = database.views.get(&format!("kind_{kind_name}")).map(|(_, rows)| rows.len());
        wrong.equal(&format!("{name}: events of kind {kind_name} in its view"), view, Some(events));
    }
    wrong.equal(&format!("{name}: views and definitions"), database.views.len(), database.definitions.len());
    wrong.equal(&format!("{name}: names of kinds, and those that were given"), &database.kinds, &wanted);
    wrong.equal(name, NAMED.filter(|kind| !database.kinds.contains_key(kind)).count(), 0);
}

/// A reader finds nothing lost and all segments sealed, and the last ledger is the pipeline's. It gives each event once. (The export would not tell, because SQLite has a
/// key.)
pub fn journal(wrong: &mut Wrong, reader: &Reader, given: u64, ledger: &Ledger, settings: &Settings) {
    wrong.equal("events that the reader gives, and stored by the ledger", given, ledger.stored);
    wrong.equal("losses of the journal", reader.losses().is_empty(), true);
    for segment in reader.segments() {
        if !matches!(segment.state, State::Sealed(seal) if seal.events == segment.events) {
            wrong.note(format!("segment {} is not sealed: {:?}", segment.header.number, segment.state));
        }
    }
    let ledgers: Vec<&LedgerBlock> = reader.facts().ledgers.values().collect();
    match ledgers.as_slice() {
        [last] => {
            for (what, count) in [
                ("captured", ledger.captured),
                ("dropped_full", ledger.dropped_full),
                ("refused_too_large", ledger.refused_too_large),
                ("refused_invalid", ledger.refused_invalid),
                ("stored", ledger.stored),
                ("dead_lettered", ledger.dead_lettered),
                ("discarded", ledger.discarded),
                ("overwritten", ledger.overwritten),
                ("in_flight", 0),
                ("in_doubt", 0),
                ("buffered", 0),
            ] {
                wrong.equal(&format!("{what} in the journal's last ledger"), last.count(what), Some(count));
            }
        }
        [] if !settings.attached => {}
        others => wrong.note(format!("{} ledgers in the journal", others.len())),
    }
}
