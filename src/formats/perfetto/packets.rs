//! The packets of a trace.

use super::descriptor::descriptor;
use super::names::{Name, put_clean};
use super::track::{Sequence, Track};
use crate::formats::protobuf::{bytes, double, field_of_bytes, fixed, integer, message};
use crate::kinds::Value;
use std::collections::TryReserveError;

/// The number of the packet's field in a trace.
const PACKET: u32 = 1;

/// Fields of a packet.
const CLOCK_SNAPSHOT: u32 = 6;
const TIMESTAMP: u32 = 8;
const SEQUENCE: u32 = 10;
const TRACK_EVENT: u32 = 11;
const INTERNED: u32 = 12;
const FLAGS: u32 = 13;
const COMPRESSED: u32 = 50;
const CLOCK: u32 = 58;
const DEFAULTS: u32 = 59;
const DESCRIPTOR: u32 = 60;

/// The state of the sequence is cleared; the packet needs that state.
const CLEARED: u64 = 1;
const NEEDS_STATE: u64 = 2;

/// The clocks, by the numbers that the format gives them.
const REALTIME: u64 = 1;
const MONOTONIC: u64 = 3;
const BOOTTIME: u64 = 6;
/// A clock of the sequence's own: what an event's time is added to the one before it.
const DIFFERENCES: u64 = 64;

/// The sequence of the packets that have no events. Those of tracks have larger numbers.
const OWN_SEQUENCE: u64 = 1;

/// More than the bytes of a packet around its event, of the first one of a sequence and of the descriptors before it.
const AROUND: usize = 4_096;

/// What an event is in its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The beginning of a slice.
    Begin = 1,
    /// The end of the slice that began last.
    End = 2,
    /// Something without a duration.
    Instant = 3,
}

/// An event of a track, without its fields.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Its time: CLOCK_MONOTONIC, at most [`LAST_TIME`](super::LAST_TIME).
    pub ns: u64,
    /// What it is.
    pub mark: Mark,
    /// Its name. The end of a slice has none.
    pub name: Option<&'a Name>,
    /// Its category. The end of a slice has none.
    pub category: Option<&'a Name>,
    /// What it is a step of: all steps have the same number; 0: of nothing.
    pub flow: u64,
}

impl Event<'_> {
    /// An event that nothing else is known of.
    pub fn new(ns: u64, mark: Mark) -> Self {
        Self { ns, mark, name: None, category: None, flow: 0 }
    }
}

/// Makes packets, one after the other.
#[derive(Debug, Default)]
pub struct Encoder {
    /// The packets that were made. Whoever writes them clears it.
    pub out: Vec<u8>,
    event: Vec<u8>,
    interned: Vec<u8>,
}

impl Encoder {
    /// Makes room for packets of one event: so many bytes of the event itself, its names included. Without this, memory is allocated as it is needed.
    pub fn reserve(&mut self, bytes: usize) -> Result<(), TryReserveError> {
        self.event.try_reserve(bytes)?;
        self.interned.try_reserve(bytes)?;
        self.out.try_reserve(2 * bytes + AROUND)
    }

    /// Appends what stands before packets that zlib has compressed, which are so many bytes together.
    pub fn compressed(out: &mut Vec<u8>, bytes: usize) {
        let mut inner = Vec::new();
        field_of_bytes(&mut inner, COMPRESSED, bytes);
        field_of_bytes(out, PACKET, inner.len() + bytes);
        out.extend_from_slice(&inner);
    }

    fn packet(&mut self, sequence: u64, write: impl FnOnce(&mut Vec<u8>)) {
        message(&mut self.out, PACKET, |out| {
            integer(out, SEQUENCE, sequence);
            write(out);
        });
    }

    /// Relates the clocks: what CLOCK_MONOTONIC and CLOCK_REALTIME showed at one moment. It must come before the first event. CLOCK_BOOTTIME, which
    /// the reader counts by, is taken for CLOCK_MONOTONIC: they differ by the time that the machine was suspended.
    pub fn clocks(&mut self, monotonic_ns: u64, realtime_ns: u64) {
        self.packet(OWN_SEQUENCE, |out| {
            message(out, CLOCK_SNAPSHOT, |out| {
                for (clock, ns) in
                    [(BOOTTIME, monotonic_ns), (MONOTONIC, monotonic_ns), (REALTIME, realtime_ns)]
                {
                    message(out, 1, |out| {
                        integer(out, 1, clock);
                        integer(out, 2, ns);
                    });
                }
                integer(out, 2, MONOTONIC);
            });
        });
    }

    /// Describes a track.
    pub fn describe(&mut self, track: &Track<'_>) {
        self.packet(OWN_SEQUENCE, |out| message(out, DESCRIPTOR, |out| descriptor(out, track)));
    }

    /// Begins a sequence: its clock counts from `ns` on.
    fn begin(&mut self, sequence: &mut Sequence, ns: u64) {
        self.packet(sequence.number.into(), |out| {
            integer(out, FLAGS, CLEARED);
            message(out, DEFAULTS, |out| {
                message(out, 11, |out| integer(out, 11, sequence.track));
                integer(out, CLOCK, DIFFERENCES);
            });
            message(out, CLOCK_SNAPSHOT, |out| {
                message(out, 1, |out| {
                    integer(out, 1, DIFFERENCES);
                    integer(out, 2, 0);
                    integer(out, 3, 1);
                });
                message(out, 1, |out| {
                    integer(out, 1, MONOTONIC);
                    integer(out, 2, ns);
                });
            });
        });
        sequence.last = Some(ns);
    }

    /// An event of a track. `annotate` adds its fields.
    #[inline]
    pub fn event(
        &mut self,
        sequence: &mut Sequence,
        event: Event<'_>,
        annotate: impl FnOnce(&mut Annotations<'_>),
    ) {
        self.event.clear();
        self.interned.clear();
        integer(&mut self.event, 9, event.mark as u64);
        let mut annotations = Annotations { out: &mut self.event, interned: &mut self.interned, sequence };
        if let Some(name) = event.name {
            annotations.refer(name, 10, 23);
        }
        if let Some(category) = event.category {
            annotations.refer(category, 3, 22);
        }
        if event.flow != 0 {
            fixed(annotations.out, 47, event.flow);
        }
        annotate(&mut annotations);
        self.finish(sequence, event.ns);
    }

    /// A value of a counter.
    #[inline]
    pub fn counter(&mut self, sequence: &mut Sequence, ns: u64, value: Value<'_>) {
        self.event.clear();
        self.interned.clear();
        integer(&mut self.event, 9, 4);
        match value {
            Value::Signed(value) => integer(&mut self.event, 30, value.cast_unsigned()),
            Value::Unsigned(value) if value <= i64::MAX as u64 => integer(&mut self.event, 30, value),
            Value::Unsigned(value) => double(&mut self.event, 44, value as f64),
            Value::F32(value) => double(&mut self.event, 44, value.into()),
            Value::F64(value) => double(&mut self.event, 44, value),
            _ => return,
        }
        self.finish(sequence, ns);
    }

    /// The packet of the event that was made.
    #[inline]
    fn finish(&mut self, sequence: &mut Sequence, ns: u64) {
        let last = match sequence.last {
            Some(last) => last,
            None => {
                self.begin(sequence, ns);
                ns
            }
        };
        let (event, interned) = (&self.event, &self.interned);
        message(&mut self.out, PACKET, |out| {
            match ns.checked_sub(last) {
                Some(difference) => {
                    integer(out, TIMESTAMP, difference);
                    sequence.last = Some(ns);
                }
                None => {
                    integer(out, TIMESTAMP, ns);
                    integer(out, CLOCK, MONOTONIC);
                }
            }
            integer(out, SEQUENCE, sequence.number.into());
            integer(out, FLAGS, NEEDS_STATE);
            if !interned.is_empty() {
                bytes(out, INTERNED, interned);
            }
            bytes(out, TRACK_EVENT, event);
        });
    }
}

/// So many bytes of a text are shown.
pub const LONGEST: usize = 16_384;
/// The sign that there was more.
const MORE: &str = "…";

/// The fields of an event.
pub struct Annotations<'a> {
    out: &'a mut Vec<u8>,
    interned: &'a mut Vec<u8>,
    sequence: &'a mut Sequence,
}

impl Annotations<'_> {
    /// Appends a name by its number in the field `by_number`, or as it is in the field `as_text`.
    #[inline(always)]
    fn refer(&mut self, name: &Name, by_number: u32, as_text: u32) {
        if name.number == 0 {
            return bytes(self.out, as_text, name.text.as_bytes());
        }
        if self.sequence.said.first(name.number) {
            self.say(name);
        }
        integer(self.out, by_number, name.number.into());
    }

    #[cold]
    fn say(&mut self, name: &Name) {
        message(self.interned, name.of as u32, |out| {
            integer(out, 1, name.number.into());
            bytes(out, 2, name.text.as_bytes());
        });
    }

    /// A field whose value `write` appends.
    #[inline(always)]
    fn with(&mut self, name: &Name, write: impl FnOnce(&mut Vec<u8>)) {
        if name.number != 0 && self.sequence.said.first(name.number) {
            self.say(name);
        }
        message(self.out, 4, |out| {
            if name.number != 0 {
                integer(out, 1, name.number.into());
            } else {
                bytes(out, 10, name.text.as_bytes());
            }
            write(out);
        });
    }

    /// A value that is one of a few texts.
    #[inline]
    pub fn one_of(&mut self, name: &Name, text: &Name) {
        if text.number != 0 && self.sequence.said.first(text.number) {
            self.say(text);
        }
        self.with(name, |out| match text.number {
            0 => bytes(out, 6, text.text.as_bytes()),
            number => integer(out, 17, number.into()),
        });
    }

    /// A text. One of more than [`LONGEST`] bytes is cut, and ends with a sign that there was more.
    pub fn text(&mut self, name: &Name, text: &[u8]) {
        let (text, more) = match text.get(..LONGEST) {
            Some(start) if text.len() > LONGEST => (whole_characters(start, text), MORE),
            _ => (text, ""),
        };
        self.with(name, |out| {
            message(out, 6, |out| {
                put_clean(out, text);
                out.extend_from_slice(more.as_bytes());
            });
        });
    }

    /// Bytes, in hexadecimal. More than half of [`LONGEST`] are cut, and end with a sign that there were more.
    pub fn hexadecimal(&mut self, name: &Name, value: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let shown = &value[..value.len().min(LONGEST / 2)];
        self.with(name, |out| {
            message(out, 6, |out| {
                for byte in shown {
                    out.push(DIGITS[usize::from(byte >> 4)]);
                    out.push(DIGITS[usize::from(byte & 15)]);
                }
                if shown.len() < value.len() {
                    out.extend_from_slice(MORE.as_bytes());
                }
            });
        });
    }

    /// An unsigned integer.
    #[inline]
    pub fn unsigned(&mut self, name: &Name, value: u64) {
        match i64::try_from(value) {
            Ok(_) => self.with(name, |out| integer(out, 3, value)),
            Err(_) => self.text(name, value.to_string().as_bytes()),
        }
    }

    /// A float. What is no number would be shown as nothing.
    fn float(&mut self, name: &Name, value: f64) {
        if value.is_nan() { self.text(name, b"NaN") } else { self.with(name, |out| double(out, 5, value)) }
    }

    /// Any value of a field. Bytes are in hexadecimal.
    #[inline]
    pub fn value(&mut self, name: &Name, value: Value<'_>) {
        match value {
            Value::Unsigned(value) => self.unsigned(name, value),
            Value::Signed(value) => self.with(name, |out| integer(out, 4, value.cast_unsigned())),
            Value::F32(value) => self.float(name, value.into()),
            Value::F64(value) => self.float(name, value),
            Value::Bool(value) => self.with(name, |out| integer(out, 2, value.into())),
            Value::Address(value) if value <= i64::MAX as u64 => {
                self.with(name, |out| integer(out, 7, value))
            }
            Value::Address(value) => self.text(name, format!("{value:#x}").as_bytes()),
            Value::String(text) => self.text(name, text),
            Value::Bytes(bytes) => self.hexadecimal(name, bytes),
            Value::Enum { name: Some(text), .. } => self.text(name, text.as_bytes()),
            Value::Enum { value, name: None } => self.text(name, value.to_string().as_bytes()),
        }
    }
}

/// The beginning of a text without a part of a character at its end.
fn whole_characters<'a>(start: &'a [u8], text: &[u8]) -> &'a [u8] {
    let mut end = start.len();
    while end > start.len() - 4 && text[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    &start[..end]
}
