//! `health`, `metrics`, `kinds` and `losses`: what is known about a journal.

use super::answer::{List, Watch, generation, number, text, time};
use super::arguments::{Kinds, Scope};
use super::journals::Journals;
use crate::args::{Order, Selection};
use crate::commands::ls::{Run, runs};
use crate::commands::stat::losses::{CHOSEN, LOSSES};
use crate::commands::verify::{absent, problems};
use crate::damage;
use crate::failure::Failure;
use crate::journal::{Journal, Reading};
use crate::progress::Progress;
use crate::source::Source;
use capture_pipeline::journal::reader::{LEDGER_COUNTS, LedgerBlock, Options};
use capture_pipeline::kinds::{Definition, Field, Length, Type};
use serde_json::{Map, Value, json};
use std::ops::ControlFlow;

/// So many runs of a journal are answered: the last ones.
const RUNS: usize = 100;
/// So many rings with gaps are answered.
const RINGS: usize = 20;
/// So many bytes of an attribute are answered.
const OF_ATTRIBUTE: usize = 1_024;

fn reader(journals: &Journals, place: usize, run: Option<u64>) -> Result<(&str, Source), Failure> {
    let Some((name, path)) = journals.get(place) else { return Err(Failure::new("journal: there is none")) };
    Ok((name, Source::open(path, Options { generation: run, ..Options::default() })?))
}

/// The places of the journal that is asked for, or of all.
fn places(journals: &Journals, scope: &Scope) -> Result<Vec<usize>, Failure> {
    match &scope.journal {
        None => Ok((0..journals.names().count()).collect()),
        Some(journal) => Ok(vec![journals.find(Some(journal))?]),
    }
}

/// For each journal that is asked for its name, its last runs as `of` shows them, and more.
fn each_journal(
    journals: &Journals,
    scope: &Scope,
    of: impl Fn(&Source, &Run) -> Value,
) -> Result<String, Failure> {
    let run = scope.run()?;
    let mut list = List::new("journals");
    let mut left_out = 0;
    for place in places(journals, scope)? {
        let shown = match reader(journals, place, run) {
            Ok((name, reader)) => {
                let runs = runs(reader.segments());
                let before = runs.len().saturating_sub(RUNS);
                let shown: Vec<Value> = runs[before..].iter().map(|run| of(&reader, run)).collect();
                json!({"journal": name, "place": place, "runs": shown, "earlier_runs": before,
                    "damage": damage::summary(reader.losses())})
            }
            // The others are shown all the same.
            Err(failure) => {
                let name = journals.names().nth(place);
                json!({"journal": name, "place": place, "problem": super::message(failure)})
            }
        };
        left_out += usize::from(!list.add(shown.to_string().as_bytes()));
    }
    Ok(list.finish(&[("left_out_for_their_size", json!(left_out))]))
}

/// The counts of a ledger with these names that are not 0.
fn counts<'n>(ledger: &LedgerBlock, names: impl Iterator<Item = &'n str>) -> Map<String, Value> {
    let count = |name: &'n str| ledger.count(name).filter(|count| *count > 0).map(|count| (name, count));
    names.filter_map(count).map(|(name, count)| (name.to_owned(), number(count))).collect()
}

/// Runs, states, and whether anything was lost.
pub fn health(journals: &Journals, scope: &Scope) -> Result<String, Failure> {
    each_journal(journals, scope, |reader, run| {
        let attributes: Map<String, Value> = reader
            .facts()
            .attributes_of(run.generation)
            .map(|(name, value)| {
                let value = text(&value[..value.len().min(OF_ATTRIBUTE)]);
                (String::from_utf8_lossy(name).into_owned(), value)
            })
            .collect();
        let mut shown = json!({
            "run": generation(run.generation),
            "program": text(&run.program),
            "pid": run.pid,
            "state": run.state(),
            "started": time(run.started_ns),
            "segments": number(run.segments),
            "events": number(run.events),
            "bytes": number(run.size),
            "attributes": attributes,
        });
        if run.events > 0 {
            shown["first_event"] = time(run.span.0);
            shown["last_event"] = time(run.span.1);
        }
        if let Some(ledger) = reader.facts().ledgers.get(&run.generation) {
            shown["lost"] = counts(ledger, LOSSES.iter().map(|(name, _)| *name)).into();
        }
        shown
    })
}

/// The ledgers.
pub fn metrics(journals: &Journals, scope: &Scope) -> Result<String, Failure> {
    each_journal(journals, scope, |reader, run| {
        let ledger = reader.facts().ledgers.get(&run.generation).map(|ledger| {
            let named = |name: &&str| Some(((*name).to_owned(), number(ledger.count(name)?)));
            let counts: Map<String, Value> = LEDGER_COUNTS.iter().filter_map(named).collect();
            json!({"offered": number(ledger.offered()), "counts": counts})
        });
        // Without one the counts are not known; they are not 0.
        json!({"run": generation(run.generation), "state": run.state(), "events_in_files": number(run.events), "ledger": ledger})
    })
}

fn field(field: &Field) -> Value {
    let mut shown = json!({"name": field.name, "type": field.field_type.name()});
    match field.length {
        Length::Fixed(bytes) if field.field_type.size().is_none() => shown["bytes"] = json!(bytes),
        Length::Fixed(_) | Length::Rest => {}
    }
    if !field.unit.is_empty() {
        shown["unit"] = json!(field.unit);
    }
    if let Type::Enum { values, .. } = &field.field_type {
        shown["values"] = values.iter().map(|value| json!(value.name)).collect();
    }
    shown
}

fn kind(run: u64, kind: u32, name: Option<&Vec<u8>>, definition: Option<&Definition>) -> Value {
    let mut shown = json!({"run": generation(run), "kind": kind});
    if let Some(name) = name {
        shown["name"] = text(name);
    }
    let Some(definition) = definition else { return shown };
    if name.is_none() {
        shown["name"] = json!(definition.name);
    }
    shown["role"] = json!(definition.role.name());
    if !definition.category.is_empty() {
        shown["category"] = json!(definition.category);
    }
    if let Some(partner) = definition.pairs_with {
        shown["pairs_with"] = json!(partner);
    }
    for (name, index) in [("key_field", definition.key_field), ("duration_field", definition.duration_field)]
    {
        if let Some(field) = index.and_then(|index| definition.fields.get(index)) {
            shown[name] = json!(field.name);
        }
    }
    shown["fields"] = definition.fields.iter().map(field).collect();
    shown
}

/// A page of kinds, behind this one.
fn kinds_behind(name: &str, reader: &Source, behind: Option<(u64, u32)>) -> String {
    let facts = reader.facts();
    let keys: std::collections::BTreeSet<_> =
        facts.kind_names.keys().chain(facts.definitions.keys()).collect();
    let (mut list, mut last, mut next) = (List::new("kinds"), None, None);
    for key in keys.into_iter().filter(|key| behind.is_none_or(|behind| **key > behind)) {
        let shown = kind(key.0, key.1, facts.kind_names.get(key), facts.definitions.get(key));
        if !list.add(shown.to_string().as_bytes()) {
            next = last.map(|(run, kind): (u64, u32)| format!("{run:x}-{kind:x}"));
            break;
        }
        last = Some(*key);
    }
    list.finish(&[("journal", json!(name)), ("next_cursor", json!(next))])
}

/// The kinds of a journal.
pub fn kinds(journals: &Journals, given: &Kinds) -> Result<String, Failure> {
    let (name, reader) = reader(journals, journals.find(given.journal.as_deref())?, given.run()?)?;
    let behind = given.cursor.as_deref().map(|text| {
        let (run, kind) = text.split_once('-')?;
        Some((u64::from_str_radix(run, 16).ok()?, u32::from_str_radix(kind, 16).ok()?))
    });
    if behind == Some(None) {
        return Err(Failure::new("cursor: it is no next_cursor of a page; begin without one"));
    }
    Ok(kinds_behind(name, &reader, behind.flatten()))
}

/// The first page of all kinds.
pub fn all_kinds(journals: &Journals, place: usize) -> Result<String, Failure> {
    let (name, reader) = reader(journals, place, None)?;
    Ok(kinds_behind(name, &reader, None))
}

/// What was lost.
pub fn losses(journals: &Journals, scope: &Scope, stopped: &dyn Fn() -> bool) -> Result<String, Failure> {
    let place = journals.find(scope.journal.as_deref())?;
    let Some((name, path)) = journals.get(place) else { return Err(Failure::new("journal: there is none")) };
    let selection = Selection { run: scope.run()?, ..Selection::default() };
    let mut journal = Journal::open(path, &selection, Order::Stored, Reading::Once)?;
    let watch = Watch::new(stopped);
    journal.each(&mut Progress::none(), |_| {
        watch.look()?;
        Ok(ControlFlow::Continue(()))
    })?;
    let reader = journal.reader();
    let mut list = List::new("runs");
    let mut left_out = 0;
    for (run, ledger) in
        reader.facts().ledgers.iter().filter(|(run, _)| selection.run.is_none_or(|of| of == **run))
    {
        let lost = counts(ledger, LOSSES.iter().map(|(name, _)| *name));
        let chosen = counts(ledger, CHOSEN.iter().map(|(name, _)| *name));
        let shown = json!({"run": generation(*run), "lost": lost, "left_out_by_choice": chosen});
        left_out += usize::from(list.count >= RUNS as u64 || !list.add(shown.to_string().as_bytes()));
    }
    let mut rings: Vec<_> = reader.rings().filter(|ring| ring.missing() > 0).collect();
    rings.sort_by_key(|ring| (std::cmp::Reverse(ring.missing()), ring.generation, ring.ring_id));
    let shown: Vec<Value> = (rings.iter().take(RINGS))
        .map(|ring| {
            let thread = reader.facts().threads.get(&(ring.generation, ring.ring_id));
            json!({"run": generation(ring.generation), "ring_id": number(ring.ring_id),
                "tid": thread.map(|thread| number(thread.thread_id)),
                "thread_name": thread.map(|thread| text(&thread.name)),
                "stored": number(ring.events), "missing": number(ring.missing()),
                "first_sequence": number(ring.first_sequence), "last_sequence": number(ring.last_sequence)})
        })
        .collect();
    let meanings: Map<String, Value> =
        LOSSES.iter().chain(&CHOSEN).map(|(name, meaning)| ((*name).to_owned(), json!(meaning))).collect();
    Ok(list.finish(&[
        ("journal", json!(name)),
        ("runs_left_out", json!(left_out)),
        ("damage", json!(problems(reader))),
        ("absent", json!(absent(reader))),
        ("rings_with_gaps", json!(shown)),
        ("rings_left_out", json!(rings.len().saturating_sub(RINGS))),
        ("meanings", meanings.into()),
    ]))
}
