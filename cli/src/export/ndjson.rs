//! NDJSON: an object of JSON on each line.

use super::Exporter;
use super::target::Output;
use crate::failure::Failure;
use crate::journal::Found;
use crate::line::Json;

/// The file is written in pieces of this size.
const PIECE: usize = 256 << 10;

/// See the module.
pub struct Ndjson {
    output: Output,
    json: Json,
    buffer: Vec<u8>,
}

impl Ndjson {
    /// Writes to `output`.
    pub fn new(output: Output, strings: bool, payload: Option<bool>) -> Self {
        Self {
            output,
            json: Json { strings, wide: false, payload, attributes: true },
            buffer: Vec::with_capacity(2 * PIECE),
        }
    }
}

impl Exporter for Ndjson {
    fn add(&mut self, found: Found<'_>) -> Result<(), Failure> {
        self.json.write(&mut self.buffer, found);
        if self.buffer.len() >= PIECE {
            self.output.put(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), Failure> {
        self.output.put(&self.buffer)
    }
}
