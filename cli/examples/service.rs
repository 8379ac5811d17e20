//! Writes the journal of a service into a directory, for some seconds. The outputs in docs/cli.md are of such a journal.
//!
//! `cargo run -p capture_pipeline_cli --example service -- DIRECTORY`

#[path = "../tests/command/service.rs"]
#[allow(dead_code)]
mod service;

use capture_pipeline::storage::journal::Encoding;
use std::time::Duration;

fn main() {
    let directory = std::env::args().nth(1).expect("a directory");
    // The load rises and falls.
    let pause = |n: u64| std::thread::sleep(Duration::from_millis(2 + n / 400 % 20));
    let events = service::run(directory.as_ref(), Encoding::ColumnsLz4, 3, 40_000, pause);
    println!("{events} events");
}
