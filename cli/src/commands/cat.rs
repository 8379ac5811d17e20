//! `cat`

use crate::args::{Cat, Lines};
use crate::failure::{Failure, Outcome};
use crate::journal::{Found, Journal, Reading};
use crate::line::{self, Json};
use crate::progress::Progress;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;

/// The output is written in pieces of this size.
const PIECE: usize = 64 << 10;

/// Prints events on the standard output.
pub struct Printer {
    lines: Lines,
    buffer: Vec<u8>,
    /// Each line is shown at once.
    at_once: bool,
}

impl Printer {
    /// Prints like this.
    pub fn new(lines: Lines) -> Self {
        Self { lines, buffer: Vec::with_capacity(PIECE * 2), at_once: std::io::stdout().is_terminal() }
    }

    /// Prints an event.
    pub fn print(&mut self, found: Found<'_>) -> Result<(), Failure> {
        self.append(found);
        if self.buffer.len() >= PIECE || self.at_once && self.buffer.len() >= 4096 {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Appends the line of an event to the buffer.
    pub fn append(&mut self, found: Found<'_>) {
        if self.lines.json {
            Json { strings: self.lines.strings, wide: false, payload: None, attributes: true }
                .write(&mut self.buffer, found);
        } else {
            line::text(&mut self.buffer, found, self.lines.ids);
        }
    }

    /// Takes the lines that are not written yet.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Prints a line that was taken.
    pub fn put(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.buffer.extend_from_slice(line);
        if self.buffer.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    /// Writes what is not written yet.
    pub fn flush(&mut self) -> Result<(), Failure> {
        let mut output = std::io::stdout().lock();
        let done = output.write_all(&self.buffer).and_then(|()| output.flush());
        self.buffer.clear();
        done.map_err(|error| Failure::output(&error))
    }
}

/// Prints the events that are asked for.
pub fn run(args: &Cat) -> Result<Outcome, Failure> {
    let mut journal = Journal::open(&args.path, &args.selection, args.order, Reading::Once)?;
    let mut printer = Printer::new(args.lines);
    let mut left = args.limit.unwrap_or(u64::MAX);
    if left > 0 {
        journal.each(&mut Progress::new("reading", false), |found| {
            printer.print(found)?;
            left -= 1;
            Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
    }
    printer.flush()?;
    Ok(journal.outcome())
}
