//! Looking into a segment that is about to be deleted: how many events it has.

use crate::files::file::File;
use crate::journal::format::ALIGNMENT;
use crate::journal::format::block::{self, BlockHeader, BlockType};
use crate::journal::format::checksum::Salted;
use crate::journal::format::segment::{MAX_SIZE, SegmentHeader};

/// Bytes of a seal: its header, and a body of 24 bytes.
const SEAL_BYTES: u64 = 192;

/// Whether a segment of so many bytes ends with a seal.
pub(super) fn is_sealed(file: &File, bytes: u64) -> bool {
    Blocks::open(file).is_some_and(|(blocks, _)| blocks.sealed_events(bytes).is_some())
}

/// The number of events in a segment of so many bytes; what cannot be read counts as none. A file that is no segment has none.
pub(super) fn events_in(file: &File, bytes: u64) -> u64 {
    let Some((blocks, size)) = Blocks::open(file) else { return 0 };
    if let Some(events) = blocks.sealed_events(bytes) {
        return events;
    }
    let (mut at, mut events) = (size as u64, 0);
    while let Some(found) = blocks.header_at(at) {
        let end = at.saturating_add(found.total());
        if end > bytes.saturating_add(ALIGNMENT) {
            break;
        }
        if found.kind == BlockType::EVENTS {
            events += u64::from(found.count);
        }
        at = end;
    }
    events
}

struct Blocks<'a> {
    file: &'a File,
    salted: Salted,
    generation: u64,
}

impl<'a> Blocks<'a> {
    /// The blocks of a segment, and where the first one begins. `None`: it is no segment.
    fn open(file: &'a File) -> Option<(Self, usize)> {
        let mut start = [0; MAX_SIZE];
        let got = file.read(&mut start, 0).ok()?;
        let (header, size) = SegmentHeader::decode(&start[..got]).ok()?;
        Some((Self { file, salted: Salted::new(header.salt), generation: header.generation }, size))
    }

    /// The number of events that the seal has, if the segment of so many bytes ends with one.
    fn sealed_events(&self, bytes: u64) -> Option<u64> {
        let at = bytes.checked_sub(SEAL_BYTES)?;
        let found = self.header_at(at).filter(|found| found.kind == BlockType::SEAL)?;
        let mut words = [0; 24];
        let got = self.file.read(&mut words, at + found.size() as u64).ok()?;
        (got == words.len()).then(|| u64::from_le_bytes(words[8..16].try_into().unwrap_or_default()))
    }

    /// The header of the block at this place. A block with clock pieces may have a longer header, which is read as well.
    fn header_at(&self, at: u64) -> Option<BlockHeader> {
        let mut start = [0; block::SIZE];
        (self.file.read(&mut start, at).ok()? == start.len()).then_some(())?;
        let size = BlockHeader::peek_size(&start)?;
        let mut pieces = Vec::new();
        if size == start.len() {
            return BlockHeader::decode(&start, self.salted, self.generation, at, &mut pieces);
        }
        let mut whole = Vec::new();
        whole.try_reserve_exact(size).ok()?;
        whole.resize(size, 0);
        pieces.try_reserve_exact(size / block::PIECE_SIZE).ok()?;
        (self.file.read(&mut whole, at).ok()? == size).then_some(())?;
        BlockHeader::decode(&whole, self.salted, self.generation, at, &mut pieces)
    }
}
