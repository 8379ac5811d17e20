//! Writes journals for the tests of timelines: `mixed`, `crossed`, `gaps`, `tracks`, `lossy`, `boots`, `odd`, `stacks`, `long` in a directory.
//!
//! `cargo run -p capture_pipeline_cli --example timelines -- DIRECTORY [EVENTS]`: so many events in `mixed`; the tests are made for as many as without

#[path = "../../tests/journal/segments.rs"]
mod segments;

use capture_pipeline::kinds::{Definition, EnumValue, Field, Hint, Integer, Role, Type};
use segments::{Builder, Event};
use std::path::Path;

const CALL: u32 = 1;
const RETURN: u32 = 2;
const REQUEST: u32 = 3;
const ANSWER: u32 = 4;
const JOB: u32 = 5;
const LOAD: u32 = 6;
const HOP: u32 = 7;
const LINE: u32 = 8;
const PLAIN: u32 = 9;
const LOCK: u32 = 11;
const UNLOCK: u32 = 12;
const PACKET: u32 = 13;
const TASK: u32 = 20;
const TASK_END: u32 = 21;

fn u64s(number: u32, name: &str, role: Role, fields: &[&str]) -> Definition {
    let mut definition = Definition::new(number, name);
    definition.role = role;
    let field = |(n, name): (usize, &&str)| Field::new(name, Type::Integer(Integer::U64), 8 * n as u32);
    definition.fields = fields.iter().enumerate().map(field).collect();
    definition.fit();
    definition
}

fn definitions() -> Vec<Definition> {
    let mut call = u64s(CALL, "call", Role::Begin, &["argument"]);
    let mut back = u64s(RETURN, "call_return", Role::End, &["result"]);
    (call.pairs_with, back.pairs_with) = (Some(RETURN), Some(CALL));
    call.category = "calls".into();
    let mut request = u64s(REQUEST, "request", Role::Begin, &["id", "size"]);
    let mut answer = u64s(ANSWER, "answer", Role::End, &["id", "status"]);
    (request.pairs_with, answer.pairs_with) = (Some(ANSWER), Some(REQUEST));
    (request.key_field, answer.key_field) = (Some(0), Some(0));
    let mut job = u64s(JOB, "job", Role::Complete, &["took", "number"]);
    job.duration_field = Some(0);
    let mut load = u64s(LOAD, "load", Role::Counter, &["core", "used", "free"]);
    load.key_field = Some(0);
    load.fields[1].hint = Hint::Bytes;
    load.fields[2].unit = "pages".into();
    let mut hop = u64s(HOP, "hop", Role::Flow, &["message"]);
    hop.key_field = Some(0);
    let mut line = u64s(LINE, "line", Role::Log, &[]);
    line.fields = vec![Field::new("text", Type::String, 0)];
    line.fit();
    let mut lock = u64s(LOCK, "lock", Role::Begin, &[]);
    let mut unlock = u64s(UNLOCK, "unlock", Role::End, &[]);
    (lock.pairs_with, unlock.pairs_with) = (Some(UNLOCK), Some(LOCK));
    let mut packet = u64s(PACKET, "packet", Role::Instant, &["size"]);
    let values =
        vec![EnumValue { value: 1, name: "in".into() }, EnumValue { value: 2, name: "o\"ut".into() }];
    packet.fields.push(Field::new("way", Type::Enum { integer: Integer::U8, values }, 8));
    packet.fit();
    let all = vec![call, back, request, answer, job, load, hop, line, lock, unlock, packet];
    all.iter().for_each(|definition| definition.check().expect("a definition"));
    all
}

fn words(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn start(generation: u64) -> Builder {
    let mut builder = Builder::new(generation, 1);
    for definition in definitions() {
        builder
            .kind_name(definition.kind, &definition.name)
            .definition(definition.kind, &definition.to_bytes());
    }
    builder
}

/// The events of rings, by ring, with sequences that rise.
#[derive(Default)]
struct Rings(std::collections::BTreeMap<u64, Vec<Event>>);

impl Rings {
    fn add(&mut self, ring: u64, ns: u64, kind: u32, payload: impl Into<Vec<u8>>) -> &mut Event {
        let events = self.0.entry(ring).or_default();
        let sequence = events.last().map_or(1, |event| event.sequence + 1);
        events.push(Event::new(sequence, ns, payload).kind(kind));
        events.last_mut().expect("one was added")
    }

    fn write(&self, builder: &mut Builder, directory: &Path) {
        std::fs::create_dir_all(directory).expect("a directory");
        for (ring, events) in &self.0 {
            events.chunks(500).for_each(|events| _ = builder.events(*ring, events));
        }
        builder.seal().write(directory);
    }
}

/// A bit of everything: two threads, one of them with two rings, and a ring whose thread is not known.
pub fn mixed(directory: &Path, count: u64) {
    let mut builder = start(0xA1);
    builder
        .kind_name(PLAIN, "pla\"in\nki\0nd\\")
        .thread(1, 4711, "main")
        .thread(2, (1 << 40) + 7, "wör\"ker\n2\0x")
        .thread(3, 4711, "main");
    let (mut rings, mut random) = (Rings::default(), Random(5));
    let mut depth = [0_u64; 3];
    let mut requests: Vec<(usize, u64)> = Vec::new();
    for n in 0..count {
        let ns = 5_000_000_000 + n * 1_000 + random.below(900);
        let at = random.below(3) as usize;
        // Two rings of the thread 0.
        let ring = [if n % 7 == 0 { 3 } else { 1 }, 2, 4][at];
        let large = (1 << 63) + n;
        match random.below(16) {
            0..4 if depth[at] < 12 => {
                depth[at] += 1;
                rings.add(ring, ns, CALL, words(&[if n % 5 == 0 { large } else { n }]));
            }
            // (There is an end without a begin, now and then.)
            4..8 if depth[at] > 0 || n % 50 == 0 => {
                depth[at] = depth[at].saturating_sub(1);
                rings.add(ring, ns, RETURN, words(&[n]));
            }
            8 => {
                requests.push((at, large));
                rings.add(ring, ns, REQUEST, words(&[large, n]));
            }
            9 if !requests.is_empty() => {
                let (of, id) = requests.swap_remove(random.below(requests.len() as u64) as usize);
                let ring = [1, 2, 4][of];
                rings.add(ring, ns, ANSWER, words(&[id, 200]));
            }
            10 => _ = rings.add(ring, ns, JOB, words(&[random.below(9_000), n])),
            11 => _ = rings.add(ring, ns, LOAD, words(&[n % 2, n * 100, u64::MAX - n])),
            12 => rings.add(ring, ns, HOP, words(&[n / 40])).correlation_id = large,
            13 => _ = rings.add(ring, ns, LINE, format!("line \"{n}\"\n\u{7}")),
            14 => {
                let payload = [&n.to_le_bytes()[..], &[n as u8 % 4]].concat();
                rings.add(ring, ns, PACKET, payload).weight = 1.0 + (n % 3) as f32;
            }
            _ => rings.add(ring, ns, PLAIN, vec![0, n as u8, 0xFF]).node_id = n,
        }
    }
    rings.write(&mut builder, directory);
}

/// Slices that lie across others of their thread.
pub fn crossed(directory: &Path) {
    let mut builder = start(0xB1);
    builder.thread(1, 77, "t");
    let mut rings = Rings::default();
    for (ns, kind) in [(100, CALL), (200, LOCK), (300, RETURN), (400, UNLOCK), (500, RETURN), (600, LOCK)] {
        rings.add(1, ns, kind, words(if kind == CALL || kind == RETURN { &[7] } else { &[] }));
    }
    // Two that overlap, and one that lies within the first of them.
    rings.add(1, 1_000, JOB, words(&[200, 1]));
    rings.add(1, 1_100, JOB, words(&[200, 2]));
    rings.add(1, 1_200, JOB, words(&[50, 3]));
    rings.add(1, 1_300, JOB, words(&[u64::MAX, 4]));
    rings.write(&mut builder, directory);
}

/// Sequences that are missing, and a ledger that says so.
pub fn gaps(directory: &Path) {
    let mut builder = start(0xC1);
    builder.thread(1, 77, "loser").thread(2, 78, "keeper");
    let mut rings = Rings::default();
    rings.add(1, 1_000, CALL, words(&[1]));
    rings.add(1, 1_100, REQUEST, words(&[5, 1]));
    rings.add(2, 1_150, CALL, words(&[2]));
    rings.add(1, 1_500, PACKET, words(&[1])).sequence = 10;
    rings.add(1, 1_600, RETURN, words(&[1]));
    rings.add(2, 1_700, RETURN, words(&[2]));
    rings.add(1, 1_800, PACKET, words(&[2]));
    let mut counts = [0_u64; 20];
    (counts[0], counts[2], counts[10]) = (7, 7, 7);
    builder.ledger(1, 1_800, &counts);
    rings.write(&mut builder, directory);
}

/// Many gaps, over several packets of a trace. Before some of its events more are missing than in any packet before.
fn lossy(directory: &Path) {
    let mut builder = start(0xC2);
    builder.thread(1, 77, "loser");
    let mut rings = Rings::default();
    for n in 0..40_000_u64 {
        let event = rings.add(1, 1_000 + n * 10, PACKET, words(&[n]));
        event.sequence += if n % 1_000 == 999 { 3 } else { 0 };
    }
    rings.write(&mut builder, directory);
}

/// Slices behind each other without a gap, on a machine that has run for 120 days, whose wall clock was not set: it shows less than CLOCK_MONOTONIC.
fn long(directory: &Path) {
    const UPTIME: u64 = 120 * 86_400 * 1_000_000_000;
    let mut builder = start(0xA2);
    builder.header.monotonic_ns = UPTIME;
    builder.header.realtime_ns = 3_000_000_000;
    let mut builder = Builder::with_header(builder.header);
    builder.realtime_offset = 3_000_000_000 - UPTIME as i64;
    for definition in definitions() {
        builder
            .kind_name(definition.kind, &definition.name)
            .definition(definition.kind, &definition.to_bytes());
    }
    builder.thread(1, 77, "worker");
    let mut rings = Rings::default();
    for n in 1..=1_000_u64 {
        rings.add(1, UPTIME + n * 777, JOB, words(&[777, n]));
    }
    rings.write(&mut builder, directory);
}

/// Tasks that move between two threads: their events name the row, and what the slice is called.
pub fn tracks(directory: &Path) {
    use capture_pipeline::kinds::Length;
    let of = |number, name, role, partner| {
        let mut definition = Definition::new(number, name);
        definition.role = role;
        definition.pairs_with = Some(partner);
        let track = Field { length: Length::Fixed(8), ..Field::new("track", Type::String, 0) };
        definition.fields = vec![track, Field::new("label", Type::String, 8)];
        definition.fit();
        definition.check().expect("a definition");
        definition
    };
    let mut builder = start(0xC2);
    for definition in [of(TASK, "task", Role::Begin, TASK_END), of(TASK_END, "task_end", Role::End, TASK)] {
        builder
            .kind_name(definition.kind, &definition.name)
            .definition(definition.kind, &definition.to_bytes());
    }
    builder.thread(1, 77, "one").thread(2, 78, "two");
    let payload = |track: &str, label: &str| {
        let mut bytes = track.as_bytes().to_vec();
        bytes.resize(8, 0);
        bytes.extend_from_slice(label.as_bytes());
        bytes
    };
    let mut rings = Rings::default();
    rings.add(1, 1_000, TASK, payload("a", "outer"));
    rings.add(2, 1_100, TASK, payload("a", "inner"));
    rings.add(1, 1_200, TASK_END, payload("a", "inner"));
    rings.add(2, 1_300, TASK_END, payload("a", "outer"));
    rings.add(2, 1_400, TASK, payload("b", "open"));
    rings.add(1, 1_450, TASK, payload("c", ""));
    rings.add(2, 1_500, TASK, payload("", "of a thread"));
    // What a ring has lost may be the end of what began by another one.
    rings.add(1, 1_600, PACKET, words(&[1])).sequence = 10;
    rings.add(2, 1_700, TASK_END, payload("b", "open"));
    rings.add(2, 1_750, TASK_END, payload("", "of a thread"));
    rings.add(2, 1_800, TASK, payload("d", "last"));
    rings.add(1, 1_900, PACKET, words(&[2]));
    rings.write(&mut builder, directory);
}

/// Three runs: two processes of one boot, and one of another boot, whose clock began anew. In the middle of the first one the wall clock was set back.
pub fn boots(directory: &Path) {
    std::fs::create_dir_all(directory).expect("a directory");
    const SECOND: u64 = 1_000_000_000;
    let run = |generation: u64, boot: u8, pid: u32, at: u64, offset: i64| {
        let mut builder = start(generation);
        builder.header.owner.boot_id = [boot; 16];
        builder.header.owner.pid = pid;
        builder.header.monotonic_ns = at;
        builder.header.realtime_ns = at.wrapping_add_signed(offset);
        builder.header.program = format!("program {generation}").into_bytes();
        let mut builder = Builder::with_header(builder.header);
        builder.realtime_offset = offset;
        for definition in definitions() {
            builder
                .kind_name(definition.kind, &definition.name)
                .definition(definition.kind, &definition.to_bytes());
        }
        builder.thread(1, pid.into(), "main");
        builder
    };
    let offset = segments::REALTIME_OFFSET;
    let packet = |sequence, ns| Event::new(sequence, ns, words(&[ns])).kind(PACKET);
    let begin = |sequence, ns| Event::new(sequence, ns, words(&[ns])).kind(CALL);
    let mut first = run(0xD1, 1, 1, 100 * SECOND, offset);
    first.events(1, &[begin(1, 100 * SECOND), packet(2, 101 * SECOND)]);
    first.realtime_offset = offset - 30 * SECOND as i64;
    first.events(1, &[packet(3, 102 * SECOND)]).seal().write(directory);
    let mut second = run(0xD2, 1, 2, 101 * SECOND, offset);
    second.events(1, &[packet(1, 101 * SECOND), packet(2, 103 * SECOND)]).seal().write(directory);
    // 10 minutes later, 5 seconds after the machine has started again; its process has the same id as the first.
    let mut third = run(0xD3, 2, 1, 5 * SECOND, offset + 700 * SECOND as i64);
    third.events(1, &[begin(1, 5 * SECOND), packet(2, 6 * SECOND)]).seal().write(directory);
}

/// What can be wrong: a time beyond all, begins that are never ended, a partner without a definition.
fn odd(directory: &Path) {
    let mut builder = Builder::new(0xE1, 1);
    let mut begin = u64s(CALL, "call", Role::Begin, &[]);
    begin.pairs_with = Some(RETURN);
    builder.kind_name(CALL, "call").definition(CALL, &begin.to_bytes());
    let mut rings = Rings::default();
    for n in 0..70_000_u64 {
        rings.add(1, 1_000 + n, CALL, words(&[]));
    }
    rings.add(1, 100_000, RETURN, words(&[]));
    rings.add(1, 1 << 63, CALL, words(&[]));
    rings.write(&mut builder, directory);
}

/// Events with stacks: texts, and addresses.
pub fn stacks(directory: &Path) {
    let mut builder = Builder::new(0xF1, 1);
    let mut named = Definition::new(1, "named");
    named.fields = vec![Field::new("stack", Type::String, 0)];
    let mut numbered = Definition::new(2, "numbered");
    numbered.fields = vec![Field::new("stack", Type::Bytes, 0)];
    for definition in [named, numbered] {
        builder
            .kind_name(definition.kind, &definition.name)
            .definition(definition.kind, &definition.to_bytes());
    }
    builder.thread(1, 77, "worker 1");
    let mut rings = Rings::default();
    rings.add(1, 1, 1, "main;run 12;a b");
    rings.add(1, 2, 1, "main\nrun 12\na b").weight = 2.5;
    rings.add(1, 3, 1, "main");
    rings.add(1, 4, 2, words(&[0x10, 0x20]));
    rings.write(&mut builder, directory);
}

fn main() {
    let directory = std::env::args().nth(1).expect("a directory");
    let directory = Path::new(&directory);
    let count = std::env::args().nth(2).map_or(6_000, |count| count.parse().expect("a number"));
    mixed(&directory.join("mixed"), count);
    crossed(&directory.join("crossed"));
    gaps(&directory.join("gaps"));
    tracks(&directory.join("tracks"));
    boots(&directory.join("boots"));
    odd(&directory.join("odd"));
    stacks(&directory.join("stacks"));
    lossy(&directory.join("lossy"));
    long(&directory.join("long"));
}
