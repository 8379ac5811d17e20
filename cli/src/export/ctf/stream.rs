//! The packets of a run. Everything in them is little-endian and begins at a whole byte.

use crate::export::folder::Folder;
use crate::failure::Failure;

/// The first word of a packet.
pub const MAGIC: u32 = 0xC1FC_1FC1;
/// The bytes before the events of a packet: magic, uuid and stream id, then the six words of the context.
const HEADER: usize = 4 + 16 + 4 + 6 * 8;
/// A packet is written when it has so many bytes.
const FULL: usize = 256 << 10;

/// See the module.
pub struct Stream {
    /// The directory of its trace, and its file.
    place: (String, &'static str),
    uuid: [u8; 16],
    /// The packet that is being filled.
    packet: Vec<u8>,
    /// The times of its first and last event.
    times: Option<(u64, u64)>,
    /// The time of the last event that was added.
    last: u64,
    /// Events that are missing, in all. Where it is more than in the packet before, they are missing between the ends of the two.
    discarded: u64,
    /// Packets that were written.
    count: u64,
}

impl Stream {
    /// A stream of the trace in this directory.
    pub fn new(directory: &str, name: &'static str, uuid: [u8; 16]) -> Self {
        Self {
            place: (directory.to_owned(), name),
            uuid,
            packet: vec![0; HEADER],
            times: None,
            last: 0,
            discarded: 0,
            count: 0,
        }
    }

    /// The bytes of the packet that is being filled.
    pub fn len(&self) -> usize {
        self.packet.len() - HEADER
    }

    /// Whether the packet is to be written.
    pub fn is_full(&self) -> bool {
        self.packet.len() >= FULL
    }

    /// Adds an event that begins with its class and its time, which is set here. Answers whether its time is not its own, because an event before it is later.
    #[inline]
    pub fn add(&mut self, event: &[u8], ns: u64) -> bool {
        let at = self.last.max(ns);
        let (first, _) = self.times.unwrap_or((at, at));
        (self.times, self.last) = (Some((first, at)), at);
        self.packet.extend_from_slice(&event[..4]);
        self.packet.extend_from_slice(&at.to_le_bytes());
        self.packet.extend_from_slice(&event[4..]);
        at != ns
    }

    /// Events are missing before this time.
    pub fn discard(&mut self, to: &Folder, count: u64, ns: u64) -> Result<(), Failure> {
        self.write(to)?;
        self.discarded = self.discarded.saturating_add(count);
        // A packet without events, so that the span that they are missing from is not longer than it is.
        let from = if self.last == 0 { ns } else { self.last };
        self.last = from.max(ns);
        self.packet_of(to, (from, self.last))
    }

    /// Writes the packet, if it has an event.
    pub fn write(&mut self, to: &Folder) -> Result<(), Failure> {
        match self.times.take() {
            None => Ok(()),
            Some(times) => self.packet_of(to, times),
        }
    }

    /// Writes a packet from one time to another, and one before it that says that nothing is missing yet: what the first one says is not shown by readers.
    fn packet_of(&mut self, to: &Folder, times: (u64, u64)) -> Result<(), Failure> {
        if self.count == 0 {
            let packet = std::mem::replace(&mut self.packet, vec![0; HEADER]);
            let discarded = std::mem::take(&mut self.discarded);
            self.put(to, (times.0, times.0))?;
            (self.packet, self.discarded) = (packet, discarded);
        }
        self.put(to, times)
    }

    fn put(&mut self, to: &Folder, (first, last): (u64, u64)) -> Result<(), Failure> {
        let bits = 8 * self.packet.len() as u64;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(&MAGIC.to_le_bytes());
        header.extend_from_slice(&self.uuid);
        header.extend_from_slice(&0u32.to_le_bytes());
        for word in [first, last, bits, bits, self.count, self.discarded] {
            header.extend_from_slice(&word.to_le_bytes());
        }
        self.packet[..HEADER].copy_from_slice(&header);
        to.append(&self.place.0, self.place.1)?.put(&self.packet)?;
        self.packet.truncate(HEADER);
        self.count += 1;
        Ok(())
    }

    /// Writes what is left. `lost`: so many events are missing according to the run itself, at times that are not known.
    pub fn finish(&mut self, to: &Folder, lost: u64) -> Result<(), Failure> {
        self.write(to)?;
        if lost > self.discarded {
            self.discarded = self.discarded.max(lost);
            self.packet_of(to, (self.last, self.last))?;
        }
        Ok(())
    }
}
