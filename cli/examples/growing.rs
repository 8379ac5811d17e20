//! Writes a journal, `growing` in a directory, as it is told on its input: a line with a number captures so many requests, `late NUMBER` so many events of a kind that is
//! defined then. When they are stored, it prints how many events there are.
//!
//! `cargo run -p capture_pipeline_cli --example growing -- DIRECTORY`

#[path = "../tests/command/service.rs"]
#[allow(dead_code)]
mod service;

use capture_pipeline::kinds::{Definition, Field, Integer, Role, Type};
use capture_pipeline::storage::journal::{JournalStorage, Options};
use std::io::BufRead;
use std::time::Duration;

const LATE: u32 = 50;

fn main() {
    let directory = std::env::args().nth(1).expect("a directory");
    let directory = std::path::Path::new(&directory).join("growing");
    let pipeline =
        service::start(JournalStorage::open(&directory, Options::default()).expect("the journal opens"));
    let mut total = 0;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let late = line.strip_prefix("late ");
        let count: u64 = late.unwrap_or(&line).parse().expect("a number");
        if late.is_some() {
            let mut definition = Definition::new(LATE, "late");
            definition.fields = vec![Field::new("took", Type::Integer(Integer::U64), 0)];
            (definition.role, definition.duration_field) = (Role::Complete, Some(0));
            definition.fit();
            pipeline.define_kind(definition).expect("defined");
        }
        for _ in 0..count {
            total += 1;
            match late {
                Some(_) => service::capture(&pipeline, LATE, total, None, &5_000_000_u64.to_le_bytes()),
                None => service::capture(&pipeline, service::REQUEST, total, None, &service::request(total)),
            }
        }
        pipeline.flush(Some(Duration::from_secs(60))).expect("stored");
        println!("{total}");
    }
    service::close(&pipeline);
}
