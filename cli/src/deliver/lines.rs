//! Lines of JSON. A repeated event is left out as long as it is remembered.

use super::seen::Seen;
use crate::failure::Failure;
use crate::journal::Found;
use crate::kinds::{Asked, Kinds};
use crate::line::Json;
use capture_pipeline::journal::message::Reader;
use capture_pipeline::journal::reader::{Event, Facts};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// See the module.
pub struct Lines {
    /// `None`: the standard output.
    file: Option<(File, PathBuf)>,
    buffer: Vec<u8>,
    seen: Seen,
    /// Reads the facts once more, to know the kinds.
    knower: Reader,
    kinds: HashMap<u64, Kinds>,
}

/// The most runs whose kinds are kept.
const MOST_RUNS: usize = 64;

impl Lines {
    /// Appends to a file, or writes to the standard output.
    pub fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let file = match path {
            None => None,
            Some(path) => {
                let file = File::options().append(true).create(true).open(path);
                Some((file.map_err(|error| Failure::of(path, &error))?, path.to_owned()))
            }
        };
        let seen = Seen::default();
        Ok(Self { file, buffer: Vec::new(), seen, knower: Reader::default(), kinds: HashMap::new() })
    }

    /// Adds the events of a message.
    pub fn write(&mut self, reader: &Reader, message: &[u8]) -> Result<(), Failure> {
        let generation = reader.generation();
        if reader.told(message).next().is_some() {
            self.knower.take(message)?;
        }
        let knower = std::mem::take(&mut self.knower);
        self.add(generation, knower.facts(generation), reader.events(message));
        self.knower = knower;
        Ok(())
    }

    /// Adds events of a run, of which these facts are known.
    pub fn add<'e>(&mut self, generation: u64, facts: &Facts, events: impl Iterator<Item = Event<'e>>) {
        if self.kinds.len() >= MOST_RUNS && !self.kinds.contains_key(&generation) {
            self.kinds.clear();
        }
        let kinds = self.kinds.entry(generation).or_insert_with(|| Kinds::new(facts, Asked::default()));
        kinds.refresh(facts);
        let json = Json { strings: false, wide: false, payload: None, attributes: true };
        for event in events {
            if !self.seen.add(generation, event.ring_id, event.sequence) {
                continue;
            }
            let kind_at = kinds.find(generation, event.kind);
            let kind = &kinds.list()[kind_at];
            let thread = facts.threads.get(&(generation, event.ring_id));
            json.write(&mut self.buffer, Found { event: &event, kind, kind_at, thread });
        }
    }

    /// Writes what was added. A file has it on the disk then.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        match &mut self.file {
            Some((file, path)) => {
                let before = file.metadata().map_err(|error| Failure::of(path, &error))?.len();
                if let Err(error) = file.write_all(&self.buffer).and_then(|()| file.sync_data()) {
                    // So that no line is cut, and none is there twice when it is tried again.
                    let _ = file.set_len(before);
                    return Err(Failure::of(path, &error));
                }
            }
            None => {
                let mut output = std::io::stdout().lock();
                let done = output.write_all(&self.buffer).and_then(|()| output.flush());
                done.map_err(|error| Failure::output(&error))?;
            }
        }
        self.buffer.clear();
        Ok(())
    }
}
