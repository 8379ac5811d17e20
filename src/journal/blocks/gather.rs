//! Bytes that lie in several places and are written by one system call: a buffer of the storage's own, and pieces that stay where they are.

use super::NoMemory;
use std::ops::Range;

/// A part of what is to be written.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// Bytes of the buffer.
    Copied { start: usize, end: usize },
    /// Bytes that stay where they are.
    Borrowed { from: *const u8, len: usize },
}

/// The parts, in the order in which they are written. The memory is kept for the next use.
#[derive(Debug, Default)]
pub(super) struct Gather {
    buffer: Vec<u8>,
    parts: Vec<Part>,
    len: u64,
}

// SAFETY: the addresses are read only by methods that require the bytes to be valid, see `borrow`.
unsafe impl Send for Gather {}

/// The buffer keeps at most so much memory for its next use.
const KEPT: usize = 4 << 20;

impl Gather {
    /// Removes all parts.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.parts.clear();
        self.len = 0;
        if self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        }
    }

    /// Makes room for so many more bytes in the buffer, and so many parts.
    pub fn reserve(&mut self, bytes: usize, parts: usize) -> Result<(), NoMemory> {
        self.buffer.try_reserve(bytes).map_err(|_| NoMemory)?;
        self.parts.try_reserve(parts).map_err(|_| NoMemory)
    }

    /// The number of bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The place behind the last part: what is added from here on begins a part of its own.
    pub fn begin_part(&mut self) -> usize {
        let at = self.buffer.len();
        self.parts.push(Part::Copied { start: at, end: at });
        self.parts.len() - 1
    }

    /// The buffer, to append to. [`copied`](Self::copied) must follow.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// What was appended to the buffer belongs to the last part, or to a new one.
    pub fn copied(&mut self) {
        let now = self.buffer.len();
        let before = self.parts.iter().rev().find_map(|part| match part {
            Part::Copied { end, .. } => Some(*end),
            Part::Borrowed { .. } => None,
        });
        let start = before.unwrap_or(0);
        self.len += (now - start) as u64;
        match self.parts.last_mut() {
            Some(Part::Copied { end, .. }) => *end = now,
            _ => self.parts.push(Part::Copied { start, end: now }),
        }
    }

    /// Appends bytes by their address.
    ///
    /// # Safety
    /// The bytes stay valid and unchanged until the next [`clear`](Self::clear), or until nothing else is called any more.
    pub unsafe fn borrow(&mut self, from: *const u8, len: usize) {
        self.parts.push(Part::Borrowed { from, len });
        self.len += len as u64;
    }

    /// Removes the parts from this one on. They are the last ones.
    pub fn cut(&mut self, part: usize) {
        let gone: u64 = self.slices(part..self.parts.len()).map(|slice| slice.len() as u64).sum();
        self.len -= gone;
        if let Some(start) = self.parts[part..].iter().find_map(|part| match part {
            Part::Copied { start, .. } => Some(*start),
            Part::Borrowed { .. } => None,
        }) {
            self.buffer.truncate(start);
        }
        self.parts.truncate(part);
    }

    /// Bytes of the buffer, to be changed.
    pub fn patch(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.buffer[range]
    }

    fn bytes(&self, part: &Part) -> &[u8] {
        match *part {
            Part::Copied { start, end } => &self.buffer[start..end],
            // SAFETY: valid by the contract of `borrow`.
            Part::Borrowed { from, len } => unsafe { std::slice::from_raw_parts(from, len) },
        }
    }

    /// The bytes of some parts.
    pub fn slices(&self, parts: Range<usize>) -> impl Iterator<Item = &[u8]> + Clone {
        self.parts[parts].iter().map(|part| self.bytes(part))
    }

    /// The number of parts.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// All bytes, in as few slices as possible.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let first = self.parts.get(at)?;
            at += 1;
            let Part::Copied { start, mut end } = *first else { return Some(self.bytes(first)) };
            // Parts of the buffer lie one behind the other.
            while let Some(Part::Copied { end: next, .. }) = self.parts.get(at) {
                end = *next;
                at += 1;
            }
            Some(&self.buffer[start..end])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_order_and_copied_ones_are_joined() {
        let outside = *b"outside";
        let mut gather = Gather::default();
        for round in 0..2 {
            gather.clear();
            gather.reserve(64, 8).unwrap();
            gather.buffer().extend_from_slice(b"head");
            gather.copied();
            let body = gather.begin_part();
            gather.buffer().extend_from_slice(b"body");
            gather.copied();
            gather.buffer().extend_from_slice(b" goes on");
            gather.copied();
            // SAFETY: the bytes outlive the gather.
            unsafe { gather.borrow(outside.as_ptr(), outside.len()) };
            gather.buffer().extend_from_slice(b"tail");
            gather.copied();
            gather.patch(0..4).copy_from_slice(b"HEAD");
            let all: Vec<&[u8]> = gather.all().collect();
            assert_eq!(all, [&b"HEADbody goes on"[..], b"outside", b"tail"], "round {round}");
            let parts: Vec<&[u8]> = gather.slices(body..gather.parts()).collect();
            assert_eq!(parts, [&b"body goes on"[..], b"outside", b"tail"]);
            assert_eq!(gather.len(), 27);
        }
    }

    #[test]
    fn an_empty_part_takes_what_comes_next() {
        let mut gather = Gather::default();
        assert_eq!((gather.begin_part(), gather.begin_part()), (0, 1));
        gather.buffer().push(1);
        gather.copied();
        assert_eq!((gather.begin_part(), gather.len(), gather.all().count()), (2, 1, 1));
        assert_eq!(gather.slices(0..1).map(<[u8]>::len).sum::<usize>(), 0);
    }
}
