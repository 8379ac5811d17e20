//! Writes journals for the tests of the page in a directory: `many` has 150 runs. `markup`: Whatever a program may choose in it is markup that would run. Each `<i>job</i>` lasted as many
//! milliseconds as its number says, from 1 to 1000; each `call` 5 ms.
//!
//! `cargo run -p capture_pipeline_cli --example page -- DIRECTORY`

#[path = "../../tests/journal/segments.rs"]
mod segments;

use capture_pipeline::kinds::{Definition, Field, Integer, Role, Type};
use segments::{Builder, Event};
use std::path::Path;

const MARKUP: &str = "<script>document.title = 'ran'</script><img src=x onerror=\"document.title = 'ran'\">";
const JOB: u32 = 1;
const CALL: u32 = 2;
const RETURN: u32 = 3;
const SAID: u32 = 4;
const JOBS: u64 = 1_000;
const MS: u64 = 1_000_000;

fn u64s(number: u32, name: &str, role: Role, fields: &[&str]) -> Definition {
    let mut definition = Definition::new(number, name);
    definition.role = role;
    let field = |(n, name): (usize, &&str)| Field::new(name, Type::Integer(Integer::U64), 8 * n as u32);
    definition.fields = fields.iter().enumerate().map(field).collect();
    definition.fit();
    definition
}

fn main() {
    let directory = std::env::args().nth(1).expect("a directory");
    let directory = Path::new(&directory).join("markup");
    std::fs::create_dir_all(&directory).expect("a directory");
    let mut job = u64s(JOB, "job", Role::Complete, &["took", "number"]);
    job.duration_field = Some(0);
    let mut call = u64s(CALL, "call", Role::Begin, &["number"]);
    let mut back = u64s(RETURN, "call_return", Role::End, &["number"]);
    (call.pairs_with, back.pairs_with) = (Some(RETURN), Some(CALL));
    let mut said = u64s(SAID, "said", Role::Log, &[]);
    said.fields = vec![Field::new("text", Type::String, 0)];
    said.fit();
    let mut builder = Builder::new(0xABCD, 1);
    for definition in [&job, &call, &back, &said] {
        builder.definition(definition.kind, &definition.to_bytes());
    }
    builder.kind_name(JOB, "<i>job</i>").kind_name(9, MARKUP).thread(1, 4711, &MARKUP[..39]).thread(
        2,
        4712,
        "<b>two</b>",
    );
    let words = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let mut first = Vec::new();
    for n in 1..=JOBS {
        let payload = words(&[n * MS, n]);
        first.push(Event::new(n, (1_000 + n) * MS, payload).kind(JOB).correlation_id(n % 7));
    }
    first.push(Event::new(JOBS + 1, 2_500 * MS, MARKUP).kind(SAID));
    first.push(Event::new(JOBS + 2, 2_501 * MS, MARKUP).kind(9));
    let mut second = Vec::new();
    for n in 0..200 {
        // Some are missing.
        let sequence = 2 * n + 1 + n / 100 * 50;
        second.push(Event::new(sequence, (1_000 + 10 * n) * MS, words(&[n])).kind(CALL));
        second.push(Event::new(sequence + 1, (1_005 + 10 * n) * MS, words(&[n])).kind(RETURN));
    }
    first.chunks(500).for_each(|events| _ = builder.events(1, events));
    second.chunks(100).for_each(|events| _ = builder.events(2, events));
    let stored = (first.len() + second.len()) as u64;
    builder.ledger(1, 5, &[stored, 0, 50, 0, 0, 0, 0, 0, 0, 0, stored]).seal().write(&directory);
    let many = directory.with_file_name("many");
    std::fs::create_dir_all(&many).expect("a directory");
    for run in 1..=150 {
        Builder::new(run, 1).events(1, &[Event::new(1, run * MS, "one")]).seal().write(&many);
    }
}
