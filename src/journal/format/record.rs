//! A record: an event as it lies in a block whose codec and filter are undone.

use super::bytes::{array, u32_at, u64_at};

/// The size of a record's header.
pub const HEADER: usize = 48;
/// `Record::flags`: the time is the caller's own.
pub const OWN_TIME: u32 = 1 << 1;
/// A flag: a transform has rewritten the event.
pub const TRANSFORMED: u32 = 1 << 9;
/// `Record::flags`: the timestamp is a reading of the processor's counter.
pub const TICKS: u32 = 1 << 30;
/// `Record::flags`: never set in a journal.
pub const PAD: u32 = 1 << 31;

/// A record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Record<'a> {
    /// The event's flags, and [`TICKS`].
    pub flags: u32,
    /// The event's kind.
    pub kind: u32,
    /// How many events it stands for.
    pub weight: f32,
    /// Its number in its ring.
    pub sequence: u64,
    /// A time in nanoseconds, or with [`TICKS`] a reading.
    pub timestamp: u64,
    /// Its trace; 0: none.
    pub correlation_id: u64,
    /// Its place in the program; 0: none.
    pub node_id: u64,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// The bytes that a record with such a payload takes.
#[inline]
pub const fn stride(payload: usize) -> usize {
    HEADER + (payload.saturating_add(7) & !7)
}

impl<'a> Record<'a> {
    /// Reads the record that begins at `at`. Returns it with the place behind it. `None`: there is no whole record.
    #[inline]
    pub fn decode(body: &'a [u8], at: usize) -> Option<(Self, usize)> {
        let head: &[u8; HEADER] = body.get(at..)?.first_chunk()?;
        let len = u32_at(head, 0) as usize;
        let end = at.checked_add(stride(len))?;
        let payload = body.get(at + HEADER..end)?.get(..len)?;
        let record = Self {
            flags: u32_at(head, 4),
            kind: u32_at(head, 8),
            weight: f32::from_le_bytes(array(head, 12)),
            sequence: u64_at(head, 16),
            timestamp: u64_at(head, 24),
            correlation_id: u64_at(head, 32),
            node_id: u64_at(head, 40),
            payload,
        };
        Some((record, end))
    }

    /// Appends the record.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        into.extend_from_slice(&self.flags.to_le_bytes());
        into.extend_from_slice(&self.kind.to_le_bytes());
        into.extend_from_slice(&self.weight.to_le_bytes());
        for field in [self.sequence, self.timestamp, self.correlation_id, self.node_id] {
            into.extend_from_slice(&field.to_le_bytes());
        }
        into.extend_from_slice(self.payload);
        into.resize(start + stride(self.payload.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut body = Vec::new();
        let record = |payload| Record {
            flags: OWN_TIME,
            kind: 2,
            weight: 1.5,
            sequence: 4,
            timestamp: 5,
            correlation_id: u64::MAX,
            node_id: 7,
            payload,
        };
        let payloads: [&[u8]; 4] = [b"", b"1", b"12345678", b"123456789"];
        payloads.iter().for_each(|payload| record(payload).encode(&mut body));
        let mut at = 0;
        for payload in payloads {
            let (read, next) = Record::decode(&body, at).expect("a record");
            assert_eq!((read, next - at), (record(payload), stride(payload.len())));
            at = next;
        }
        assert_eq!((at, Record::decode(&body, at)), (body.len(), None));
        (1..=stride(9)).for_each(|cut| assert_eq!(Record::decode(&body[..at - cut], at - stride(9)), None));
        assert_eq!(Record::decode(&body, usize::MAX), None);
    }
}
