//! `--where` and a rule choose the same events: one language, read in a journal by the command, and in the payloads of callers by captures.

use super::*;
use capture_pipeline::capture::Offer;
use capture_pipeline::config::{Config, Overflow};
use capture_pipeline::event::PIPELINE_EVENT_OWN_TIME;
use capture_pipeline::kinds::{Definition, EnumValue, Field, Integer, Length, Type};
use capture_pipeline::manager::Pipeline;
use capture_pipeline::rules::parse;
use capture_pipeline::status::{Error, PIPELINE_DROPPED_BY_RULE, PIPELINE_ERR_INVALID, PIPELINE_OK};
use capture_pipeline::storage::journal::{JournalStorage, Options};
use service::{CACHE, NOTE, REQUEST, close, definitions};
use std::collections::BTreeSet;

/// A kind that is defined while rules that name it are in force, and one that nobody tells anything of.
const LATER: u32 = 4;
const UNKNOWN: u32 = 5;

/// It has a field that another kind has too, of another type, one with the name of a number that all events have, and one of each other type.
fn later() -> Definition {
    let mut later = Definition::new(LATER, "later");
    let values = [(-1, "red"), (2, "GET"), (3, "blue")];
    let values = values.map(|(value, name)| EnumValue { value, name: name.into() }).into();
    let mut key = Field::new("key", Type::Bytes, 16);
    key.length = Length::Fixed(2);
    later.fields = vec![
        Field::new("size", Type::Integer(Integer::I16), 0),
        Field::new("color", Type::Enum { integer: Integer::I8, values }, 2),
        Field::new("ok", Type::Bool, 3),
        Field::new("ratio", Type::F32, 4),
        Field::new("exact", Type::F64, 8),
        key,
        Field::new("node_id", Type::Integer(Integer::U8), 18),
        Field { length: Length::Rest, ..Field::new("path", Type::String, 19) },
    ];
    later.fit();
    later
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

// ---- events ----

#[derive(Clone, Debug)]
struct Event {
    kind: u32,
    flags: u32,
    correlation_id: u64,
    node_id: u64,
    payload: Vec<u8>,
}

/// An event whose values are often those that expressions compare with, and whose payload is often too short for its fields.
fn event(random: &mut Random) -> Event {
    let number = |random: &mut Random| match random.below(4) {
        0 => random.one_of(&[0u64, 1, 2, 200, 503, 255, 256, 1 << 20, u64::MAX, 1 << 63]),
        _ => random.below(4) as u64,
    };
    let mut payload = Vec::new();
    let kind = random.one_of(&[REQUEST, REQUEST, CACHE, NOTE, LATER, LATER, UNKNOWN]);
    match kind {
        REQUEST => {
            payload.extend_from_slice(&number(random).to_le_bytes());
            payload.extend_from_slice(&(number(random) as u32).to_le_bytes());
            payload.extend_from_slice(&(number(random) as u16).to_le_bytes());
            payload.push(random.below(4) as u8);
            payload.extend_from_slice(random.one_of(&["", "/", "GET", "blue", "/items/7"]).as_bytes());
        }
        LATER => {
            payload.extend_from_slice(&(number(random) as i16).to_le_bytes());
            payload.extend_from_slice(&[
                random.one_of(&[255, 2, 3, 0]),
                random.below(2) as u8,
                1 + random.below(2) as u8,
            ]);
            payload.truncate(4);
            payload.extend_from_slice(&random.one_of(&[0.0f32, 0.1, 1.0, -1.5, f32::NAN]).to_le_bytes());
            payload.extend_from_slice(&random.one_of(&[0.0f64, 0.1, 2.0, 1e30, f64::NAN]).to_le_bytes());
            payload.extend_from_slice(&[0xDE, random.one_of(&[0xAD, 0])]);
            payload.push(random.below(4) as u8);
            payload.extend_from_slice(random.one_of(&["", "/", "GET", "red"]).as_bytes());
        }
        _ => {
            payload.extend_from_slice(&number(random).to_le_bytes());
            payload.extend_from_slice(&number(random).to_le_bytes());
        }
    }
    if random.below(3) == 0 {
        payload.truncate(random.below(payload.len() + 1));
    }
    Event {
        kind,
        flags: random.one_of(&[0, 0, PIPELINE_EVENT_OWN_TIME]),
        correlation_id: number(random),
        node_id: number(random),
        payload,
    }
}

fn capture(pipeline: &Pipeline, event: &Event, time: u64) -> i32 {
    // One byte from where a number would lie, so that no field is aligned.
    let mut moved = vec![0; event.payload.len() + 1];
    moved[1..].copy_from_slice(&event.payload);
    let offer = Offer {
        kind: event.kind,
        flags: event.flags,
        timestamp: time,
        correlation_id: event.correlation_id,
        node_id: event.node_id,
        data: moved[1..].as_ptr(),
        len: event.payload.len(),
    };
    // SAFETY: the payload is as long as it says, and lives through the call.
    #[allow(unsafe_code)]
    unsafe {
        pipeline.capture(&offer)
    }
}

// ---- expressions ----

const NAMES: [&str; 30] = [
    "kind",
    "kind",
    "kind_name",
    "_kind",
    "correlation_id",
    "node_id",
    "_node_id",
    "flags",
    "payload_bytes",
    "len",
    "payload",
    "took",
    "size",
    "SIZE",
    "status",
    "method",
    "path",
    "hits",
    "request.size",
    "cache.hits",
    "later.size",
    "later.node_id",
    "color",
    "ok",
    "ratio",
    "exact",
    "key",
    "later.color",
    "Later.Path",
    "request.method",
];
const VALUES: [&str; 30] = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "200",
    "503",
    "255",
    "256",
    "-1",
    "-1.5",
    "0.1",
    "1 MiB",
    "1e30",
    "0x7f",
    "1 us",
    "true",
    "false",
    "'GET'",
    "\"/\"",
    "''",
    "'red'",
    "x'de'",
    "x\"dead\"",
    "'request'",
    "'later'",
    "9223372036854775808",
    "18446744073709551615",
    "'/items/7'",
];

fn expression(random: &mut Random, depth: usize) -> String {
    let name = |random: &mut Random| random.one_of(&NAMES);
    match random.below(if depth == 0 { 6 } else { 10 }) {
        0 => name(random).to_owned(),
        1 => {
            let list: Vec<_> = (0..1 + random.below(6)).map(|_| random.one_of(&VALUES)).collect();
            format!("{} in ({})", name(random), list.join(", "))
        }
        2 => format!("{} {} {}", name(random), random.one_of(&["=", "<", ">="]), name(random)),
        3..6 => {
            let operator = random.one_of(&["=", "==", "!=", "<>", "<", "<=", ">", ">=", "contains"]);
            format!("{} {operator} {}", name(random), random.one_of(&VALUES))
        }
        6 => format!("not ({})", expression(random, depth - 1)),
        7 => format!("!{}", expression(random, 0)),
        _ => {
            let word = random.one_of(&["and", "or", "&&", "||"]);
            format!("({}) {word} ({})", expression(random, depth - 1), expression(random, depth - 1))
        }
    }
}

// ---- both ways ----

/// Puts `drop if EXPRESSION` in force. Returns whether it is in effect.
fn set(pipeline: &Pipeline, expression: &str) -> Result<bool, Error> {
    let text = format!("drop if {expression}");
    let read = || parse(&text).map_err(|fault| Error::new(PIPELINE_ERR_INVALID, fault.to_string()));
    pipeline.set_rules(read, false)?;
    Ok(pipeline.rule_metrics(0)?.waits_for.is_none())
}

/// The numbers of the events that the rule in force drops.
fn dropped(pipeline: &Pipeline, events: &[Event]) -> BTreeSet<usize> {
    let mut dropped = BTreeSet::new();
    for (number, event) in events.iter().enumerate() {
        match capture(pipeline, event, 1) {
            PIPELINE_OK => {}
            PIPELINE_DROPPED_BY_RULE => {
                dropped.insert(number);
            }
            status => panic!("event {number} is answered {status}: {event:?}"),
        }
    }
    dropped
}

/// The numbers of the events that the command chooses.
fn chosen(journal: &str, expression: &str) -> Result<BTreeSet<usize>, String> {
    let done = run(&["cat", "--json", "--order", "stored", journal, "--where", expression]);
    if done.status == 2 {
        return Err(done.err);
    }
    assert_eq!((done.status, done.err.as_str()), (0, ""), "{expression}");
    Ok(done
        .out
        .lines()
        .map(|line| {
            let (_, rest) = line.split_once("\"sequence\":").expect("an event has its number");
            rest.split(',').next().and_then(|number| number.parse().ok()).expect("a number")
        })
        .collect())
}

#[test]
fn cat_and_a_rule_with_the_same_expression_choose_the_same_events() {
    let (mut random, scratch) = (Random(17), Scratch::new());
    let events: Vec<Event> = (0..400).map(|_| event(&mut random)).collect();
    let journal = text(&scratch.path().join("journal"));
    let config = || Config {
        overflow: Overflow::Block,
        block_timeout_us: 60_000_000,
        priority_ring_bytes: 0,
        ..Config::default()
    };
    let start = |journal: &str| {
        let storage = JournalStorage::open(journal.as_ref(), Options::default()).expect("the journal opens");
        let pipeline = Pipeline::start(config(), storage).expect("the pipeline starts");
        definitions().into_iter().for_each(|kind| pipeline.define_kind(kind).expect("defined"));
        pipeline.kind_name(NOTE, b"note").expect("named");
        pipeline
    };
    let stored = start(&journal);
    stored.define_kind(later()).expect("defined");
    events.iter().enumerate().for_each(|(n, event)| assert_eq!(capture(&stored, event, n as u64), 0));
    close(&stored);
    assert_eq!(chosen(&journal, "true").expect("all").len(), events.len());

    let expressions: Vec<String> =
        (0..250).map(|n| expression(&mut random, n % 4)).collect::<BTreeSet<_>>().into_iter().collect();
    let judged = start(&text(&scratch.path().join("judged")));
    // Before the kind is defined: a rule that names it waits, and any other says of the other kinds what it will say later.
    let before: Vec<_> = expressions
        .iter()
        .map(|expression| match set(&judged, expression) {
            Ok(active) => Some((active, dropped(&judged, &events))),
            Err(_) => None,
        })
        .collect();
    judged.define_kind(later()).expect("defined");
    for (kind, name) in (10..).zip(["red", "GET", "/", "/items/7"]) {
        judged.kind_name(kind, name.as_bytes()).expect("named");
    }
    let mut unnamed = 0;
    let (mut compared, mut waited, mut refused, mut some) = (0, 0, 0, 0);
    for (expression, before) in expressions.iter().zip(before) {
        let by_command = chosen(&journal, expression);
        let active = match set(&judged, expression) {
            Ok(active) => active,
            Err(error) => {
                // What a rule can never mean, the command does not take either.
                assert!(by_command.is_err(), "{expression}: {error}, but the command takes it");
                refused += 1;
                continue;
            }
        };
        let by_rule = dropped(&judged, &events);
        let Ok(by_command) = by_command else {
            assert!(!active && by_rule.is_empty(), "{expression}: {by_command:?}, but the rule is in effect");
            refused += 1;
            continue;
        };
        if !active {
            // The name of a kind may still be given; the command knows that nothing has it.
            let reason = judged.rule_metrics(0).expect("there is one").waits_for.unwrap_or_default();
            assert!(reason.contains("no kind has the name") && by_rule.is_empty(), "{expression}: {reason}");
            unnamed += 1;
            continue;
        }
        assert_eq!(by_rule, by_command, "{expression}: by the rule, and by the command");
        if let Some((was_active, early)) = before {
            let of_others = |all: &BTreeSet<usize>| -> BTreeSet<usize> {
                all.iter().copied().filter(|&n| events[n].kind != LATER).collect()
            };
            if was_active {
                assert_eq!(of_others(&early), of_others(&by_rule), "{expression}: before the definition");
            } else {
                assert!(early.is_empty(), "{expression}: it waited, and dropped {early:?}");
                waited += 1;
            }
        }
        compared += 1;
        some += usize::from(!by_rule.is_empty() && by_rule.len() < events.len());
    }
    close(&judged);
    println!(
        "{compared} compared, {some} chose some, {waited} waited for the definition, {refused} refused, {unnamed} name no kind"
    );
    assert!(compared > 100 && some > 60 && waited > 20 && refused < 100);
}
