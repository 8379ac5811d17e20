//! Parquet: one file, with a column for what every event has, and a group of columns for each defined kind.
//!
//! Events are collected in row groups that are bounded by their bytes. A thread of its own encodes a row group and writes it, while the next one is
//! being collected.

mod column;
mod encode;
mod rows;
mod schema;

use super::Exporter;
use super::groups::Groups;
use super::target::Output;
use crate::args::Compression;
use crate::failure::Failure;
use crate::journal::{Found, Journal};
use rows::Rows;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// See the module.
pub struct Parquet {
    groups: Groups,
    payload: Option<bool>,
    /// The row group that is being collected.
    rows: Rows,
    full: Option<SyncSender<Rows>>,
    /// Row groups that are written, to be used again.
    empty: Receiver<Rows>,
    /// One of them.
    spare: Option<Rows>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

/// What is the same for all events of a run: who captured them, and the attributes.
fn runs(journal: &Journal) -> String {
    let facts = journal.reader().facts();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let runs: Vec<_> = crate::commands::ls::runs(journal.reader().segments())
        .into_iter()
        .map(|run| {
            let attributes: BTreeMap<String, String> =
                facts.attributes_of(run.generation).map(|(name, value)| (text(name), text(value))).collect();
            serde_json::json!({
                "run": format!("{:016x}", run.generation),
                "program": text(&run.program),
                "pid": run.pid,
                "started": text(&capture_pipeline::wall_time::write(run.started_ns)),
                "attributes": attributes,
            })
        })
        .collect();
    serde_json::Value::from(runs).to_string()
}

impl Parquet {
    /// Writes to `output`.
    pub fn new(
        output: Output,
        journal: &Journal,
        payload: Option<bool>,
        only_one: bool,
        compression: Compression,
    ) -> Result<Self, Failure> {
        let groups = Groups::new(journal.kinds(), only_one);
        let schema = schema::schema(&groups);
        let runs = runs(journal);
        let (full, to_write) = sync_channel(0);
        let (written, empty) = sync_channel(2);
        // Two row groups: one is collected while the other is written.
        let _ = written.send(Rows::new(&groups));
        let thread = std::thread::Builder::new()
            .name("parquet".into())
            .spawn(move || encode::run(output, schema, runs, compression, to_write, written))
            .map_err(|error| Failure::new(format!("a thread cannot be started: {error}")))?;
        let rows = Rows::new(&groups);
        Ok(Self { groups, payload, rows, full: Some(full), empty, spare: None, thread: Some(thread) })
    }

    /// Passes the row group on. Without the thread, there is an error to be told.
    fn send(&mut self) -> Result<(), Failure> {
        if let Some(next) = self.spare.take().or_else(|| self.empty.recv().ok()) {
            let rows = std::mem::replace(&mut self.rows, next);
            if self.full.as_ref().is_some_and(|full| full.send(rows).is_ok()) {
                return Ok(());
            }
        }
        self.join()?;
        Err(Failure::new("Parquet: the encoder has ended early; please report this"))
    }

    /// An event that takes much memory is a row group of its own, and no other one is collected while it is written.
    fn add_alone(&mut self, found: Found<'_>) -> Result<(), Failure> {
        if !self.rows.is_empty() {
            self.send()?;
        }
        self.rows.add(found, &self.groups, self.payload);
        self.send()?;
        self.spare = self.empty.recv().ok();
        Ok(())
    }

    /// Waits for the thread, and answers how it ended.
    fn join(&mut self) -> Result<(), Failure> {
        self.full = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread
            .join()
            .unwrap_or_else(|_| Err(Failure::new("Parquet: the encoder has failed; please report this")))
    }
}

impl Exporter for Parquet {
    fn add(&mut self, found: Found<'_>) -> Result<(), Failure> {
        if rows::is_large(&found) {
            return self.add_alone(found);
        }
        self.rows.add(found, &self.groups, self.payload);
        if self.rows.is_full() { self.send() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        if !self.rows.is_empty() {
            self.send()?;
        }
        self.join()
    }
}

impl Drop for Parquet {
    fn drop(&mut self) {
        let _ = self.join();
    }
}
