//! The rows of a file: the tracks that events are drawn in.

use crate::files::failure::Failure;
use crate::formats::perfetto::{Encoder, Sequence, Track, TrackKind, Unit};
use crate::kinds::Hint;
use std::collections::HashMap;

/// What a row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// What a thread does.
    Thread(u64),
    /// Any other row of events.
    Events,
    /// Numbers, with their hint and unit.
    Counter(Hint, Box<str>),
}

/// A row.
#[derive(Debug)]
pub(super) struct Row {
    /// A number that no other row has, in any file.
    pub uuid: u64,
    /// The place of the row that it belongs to. `None`: to the process.
    pub parent: Option<usize>,
    pub name: Box<[u8]>,
    pub of: Of,
    sequence: Sequence,
    /// It is described in the file.
    is_described: bool,
}

/// The process.
#[derive(Debug)]
pub(super) struct Process {
    pub uuid: u64,
    pub pid: u32,
    pub program: Vec<u8>,
}

/// The rows.
#[derive(Debug)]
pub(super) struct Rows {
    pub process: Process,
    process_is_described: bool,
    list: Vec<Row>,
    places: HashMap<u64, usize>,
    /// Those that are not of threads.
    others: usize,
}

/// The most rows of a file that are not of threads.
const MOST_OTHERS: usize = 8_192;
/// With so many rows another file is begun, which has only those that it needs.
const MOST: usize = 2 * MOST_OTHERS;
/// The sequences of rows have numbers from here on: the encoder has 1 for itself.
const FIRST_SEQUENCE: u32 = 2;

impl Rows {
    pub fn new(process: Process) -> Self {
        Self { process, process_is_described: false, list: Vec::new(), places: HashMap::new(), others: 0 }
    }

    /// Whether there are too many for one file.
    pub fn are_too_many(&self) -> bool {
        self.list.len() >= MOST
    }

    /// The place of a row.
    pub fn find(&self, uuid: u64) -> Option<usize> {
        self.places.get(&uuid).copied()
    }

    /// Adds a row, or finds it. `None`: there are too many that are not of threads.
    pub fn add(
        &mut self,
        uuid: u64,
        parent: Option<usize>,
        of: Of,
        name: &[u8],
    ) -> Result<Option<usize>, Failure> {
        if let Some(at) = self.find(uuid) {
            return Ok(Some(at));
        }
        let is_thread = matches!(of, Of::Thread(_)) || parent.is_none() && of == Of::Events;
        if !is_thread && self.others >= MOST_OTHERS {
            return Ok(None);
        }
        self.list.try_reserve(1).map_err(|_| Failure::no_memory())?;
        self.places.try_reserve(1).map_err(|_| Failure::no_memory())?;
        let sequence = Sequence::new(FIRST_SEQUENCE + self.list.len() as u32, uuid);
        self.others += usize::from(!is_thread);
        self.places.insert(uuid, self.list.len());
        self.list.push(Row { uuid, parent, name: name.into(), of, sequence, is_described: false });
        Ok(Some(self.list.len() - 1))
    }

    /// The sequence of a row, which is described in the file.
    #[inline]
    pub fn prepare(&mut self, at: usize, encoder: &mut Encoder) -> &mut Sequence {
        if !self.list[at].is_described {
            self.describe(at, encoder);
        }
        &mut self.list[at].sequence
    }

    #[cold]
    fn describe(&mut self, at: usize, encoder: &mut Encoder) {
        let Process { uuid, pid, ref program } = self.process;
        if !self.process_is_described {
            self.process_is_described = true;
            encoder.describe(&Track { uuid, parent: 0, name: program, kind: TrackKind::Process { pid } });
        }
        let parent = match self.list[at].parent {
            Some(parent) => {
                if !self.list[parent].is_described {
                    self.describe(parent, encoder);
                }
                self.list[parent].uuid
            }
            None => uuid,
        };
        let row = &mut self.list[at];
        row.is_described = true;
        let kind = match &row.of {
            Of::Thread(tid) => TrackKind::Thread { pid, tid: *tid },
            Of::Events => TrackKind::Events,
            Of::Counter(Hint::Bytes, _) => TrackKind::Counter(Unit::Bytes),
            Of::Counter(Hint::Nanoseconds, _) => TrackKind::Counter(Unit::Nanoseconds),
            Of::Counter(_, unit) => TrackKind::Counter(Unit::Named(unit)),
        };
        encoder.describe(&Track { uuid: row.uuid, parent, name: &row.name, kind });
    }

    /// What follows is in another file, or behind something that was cut off: everything is described again.
    pub fn restart(&mut self) {
        self.process_is_described = false;
        for row in &mut self.list {
            row.sequence.restart();
            row.is_described = false;
        }
    }

    /// Forgets all rows. Those that are still needed must be added again.
    pub fn forget(&mut self) {
        self.list.clear();
        self.places.clear();
        self.others = 0;
        self.process_is_described = false;
    }
}
