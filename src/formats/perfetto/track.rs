//! Tracks, and the sequence of packets that each of them has.

use super::names::Said;

/// A track. Its number should be one that no other file has for another track: files may be concatenated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track<'a> {
    /// Its number, not 0.
    pub uuid: u64,
    /// The track that it belongs to; 0: none.
    pub parent: u64,
    /// Its name; bytes that are no UTF-8 are replaced.
    pub name: &'a [u8],
    /// What it is.
    pub kind: TrackKind<'a>,
}

/// What a track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackKind<'a> {
    /// A process.
    Process {
        /// Its id.
        pid: u32,
    },
    /// A thread.
    Thread {
        /// The id of its process.
        pid: u32,
        /// Its id.
        tid: u64,
    },
    /// A row of numbers.
    Counter(Unit<'a>),
    /// Any other row of events.
    Events,
}

/// What the numbers of a counter are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit<'a> {
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanoseconds,
    /// Something with this name; it may be empty.
    Named(&'a str),
}

/// A sequence of packets: the events of a track.
#[derive(Clone, Debug)]
pub struct Sequence {
    pub(super) number: u32,
    pub(super) track: u64,
    /// The time of the last event, from which the next one counts. `None`: the sequence has not begun in this file.
    pub(super) last: Option<u64>,
    pub(super) said: Said,
}

impl Sequence {
    /// The events of the track `uuid`. No two sequences of a file may have the same number, and 0 is none.
    pub fn new(number: u32, uuid: u64) -> Self {
        Self { number, track: uuid, last: None, said: Said::default() }
    }

    /// Whether it has begun in this file.
    pub fn has_begun(&self) -> bool {
        self.last.is_some()
    }

    /// It begins anew, in another file.
    pub fn restart(&mut self) {
        self.last = None;
        self.said = Said::default();
    }
}
