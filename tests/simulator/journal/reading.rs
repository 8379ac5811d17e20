//! What the reader finds in simulated files. They are written to a real directory for it.

use crate::producers::{Source, checksum, fill};
use crate::rules::TAGS;
use capture_pipeline::event::{PIPELINE_EVENT_OWN_TIME, PIPELINE_EVENT_PARTIAL};
use capture_pipeline::journal::reader::{Deleted, LedgerBlock, Losses, Options, Order, Reader};
use capture_pipeline::platform::simulator::files::File;
use capture_pipeline::rules::MAX_WEIGHT;
use capture_pipeline::status::PIPELINE_OK;
use std::collections::HashMap;
use std::path::PathBuf;

/// The extension of a segment's file.
const SEGMENT: &str = ".journal";

/// What was read.
#[derive(Debug, Default)]
pub struct Found {
    /// The events' numbers, with their identities.
    pub events: HashMap<u64, (u64, u64, u64)>,
    pub losses: Losses,
    pub ledger: Option<LedgerBlock>,
    pub deleted: Deleted,
    /// The files that are segments, and the events that their headers count.
    pub segments: u64,
    pub counted: u64,
    /// Those of the files that have a header and nothing else.
    pub bare: u64,
    /// The bytes of those files.
    pub bytes: u64,
    pub wrongs: Vec<String>,
}

fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("capture_pipeline-simulator-{}", std::process::id()))
}

/// Removes the directory that [`read`] uses.
pub fn remove_scratch() {
    let _ = std::fs::remove_dir_all(scratch());
}

/// Reads the segments among the files, and compares each event with what was offered.
pub fn read(files: &[File], order: Order, sources: &HashMap<u32, &Source>) -> Result<Found, String> {
    let directory = scratch();
    std::fs::create_dir_all(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let mut written = Vec::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(SEGMENT)) {
        let path = directory.join(name);
        std::fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        written.push(path);
    }
    let found = read_directory(&directory, order, sources);
    for path in written {
        std::fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    found
}

fn read_directory(
    directory: &std::path::Path,
    order: Order,
    sources: &HashMap<u32, &Source>,
) -> Result<Found, String> {
    let mut found = Found::default();
    let options = Options { order, memory_bytes: Options::MIN_MEMORY, ..Options::default() };
    let mut reader =
        Reader::open(directory, options).map_err(|e| format!("the journal is not opened: {e}"))?;
    while let Some(event) = reader.next().map_err(|e| format!("the journal is not read: {e}"))? {
        let number = event.correlation_id;
        let identity = (event.generation, event.ring_id, event.sequence);
        if let Some(other) = found.events.insert(number, identity) {
            found.wrongs.push(format!("event {number:#x} is read twice: {other:?} and {identity:?}"));
        }
        let offered = sources.get(&((number >> 32) as u32));
        let offered = offered.and_then(|source| source.records.get((number & 0xFFFF_FFFF) as usize));
        let Some(offered) = offered.filter(|record| record.status == PIPELINE_OK) else {
            found.wrongs.push(format!("event {number:#x} is read, and was never captured: {offered:?}"));
            continue;
        };
        let mut payload = vec![0; offered.len as usize];
        fill(number, &mut payload);
        let own_time = offered.flags & PIPELINE_EVENT_OWN_TIME != 0;
        let whole = event.payload == payload
            && event.node_id == checksum(&payload)
            && (event.kind, event.flags & !(PIPELINE_EVENT_PARTIAL | TAGS)) == (offered.kind, offered.flags)
            && (!own_time || event.timestamp_ns == offered.timestamp)
            && (event.weight as u64).is_power_of_two()
            && event.weight <= f64::from(MAX_WEIGHT);
        if !whole {
            found.wrongs.push(format!("{event:?} is read, offered was {offered:?}"));
        }
    }
    found.losses = reader.losses().clone();
    found.ledger = reader.facts().ledgers.values().next().cloned();
    found.deleted = reader.facts().deleted.values().next().copied().unwrap_or_default();
    for segment in reader.segments() {
        found.segments += 1;
        found.counted += segment.events;
        found.bare += u64::from(segment.size == 192);
        found.bytes += segment.size;
    }
    Ok(found)
}
