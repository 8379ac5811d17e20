//! Fuzzes the reader of ring files. The input is a file of arbitrary bytes, or a list of changes to a valid one, each a place, a length and bytes. fuzz/run.sh builds and runs it.

#[allow(dead_code)] // the tests use the rest
#[path = "../tests/ring_file/image.rs"]
mod image;

use capture_pipeline::journal::format::checksum;
use capture_pipeline::ring_file::format::{CLOCK_AT, FACTS_AT, RING_HEADERS_AT};
use capture_pipeline::ring_file::reader::{
    DeadRun, Directory, Next, Piece, Purpose, RingFile, RingReader, Taken,
};
use image::{Event, IN_TICKS, Image, patch};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

const NAME: &std::ffi::CStr = c"0000000000000001.rings";
/// In the directory that fuzz/run.sh has made for this run.
const DIRECTORY: &str = "rings";

/// Takes numbers and bytes from the input.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from(self.byte()?) << 8 | u64::from(self.byte()?))
    }

    fn bytes(&mut self, len: usize) -> &[u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

/// A file with two rings and a priority ring, which the first bytes of the input fill.
fn valid(input: &mut Input<'_>) -> Option<Image> {
    let shape = input.byte()?;
    let ring_bytes = 4096 << (shape & 3);
    let mut image = Image::new(1, (ring_bytes, 2), (4096, 1));
    if shape & 4 != 0 {
        image.piece(1_000, 2_000, 500, 2).piece(2_000, 9_000, 2_500, 3);
    }
    image.fact(0xFFFF_0001, 7, b"seven").fact(0xFFFF_0003, 0, &[0; 72]);
    for ring in 0..3 {
        image.ring(ring, 11 + ring as u64, 7, 8 * input.number()?);
        for sequence in 0..u64::from(input.byte()? & 31) {
            let len = usize::from(input.byte()?);
            let flags = if shape & 4 != 0 && len % 2 == 0 { IN_TICKS } else { 0 };
            image.push(ring, &Event { flags, ..Event::new(sequence, &[9; 255][..len]) });
        }
    }
    Some(image)
}

/// Writes the file that the input describes. Answers how many bytes its largest ring has.
fn write(input: &mut Input<'_>, path: &Path) -> Option<u64> {
    if input.byte()? & 7 == 0 {
        fs::write(path, input.0).expect("written");
        return Some(0);
    }
    let image = valid(input)?;
    image.write_to(path);
    let shape = image.header.shape;
    while let Some(place) = input.byte() {
        let (at, len) = (input.number()?, usize::from(input.byte()? & 63));
        let at = match place & 7 {
            0 => at % 4096,
            1 => CLOCK_AT + at % 256,
            2 => FACTS_AT + at % 512,
            3 | 4 => RING_HEADERS_AT + at % (3 * 512),
            5 => RING_HEADERS_AT + 128 * (at % 12),
            _ => shape.ring_at(0) + at,
        };
        patch(path, at, input.bytes(len));
        // A header that was changed has its right checksum all the same.
        if place & 15 == 8 {
            let mut header = [0; 4092];
            fs::File::open(path).and_then(|file| file.read_exact_at(&mut header, 0)).expect("read");
            patch(path, 4092, &checksum::unsalted(&header).to_le_bytes());
        }
    }
    Some(shape.ring_bytes.max(4096))
}

/// Reads all that a dead run has left.
fn recover(directory: &Arc<Directory>, most: u64) {
    let Taken::Run(mut run) = DeadRun::take(directory, NAME, 1) else { return };
    let mut rings: BTreeMap<u64, (u64, Option<u64>)> = BTreeMap::new();
    let mut piece = Piece::default();
    assert!(run.facts().all(|fact| fact.kind >= 0xFFFF_0000));
    while run.next(&mut piece).expect("a file that can be read") {
        let (bytes, last) = rings.entry(piece.ring()).or_default();
        *bytes += piece.upto() - piece.from();
        assert!(piece.from() < piece.upto() && piece.ring_id() != 0 && *bytes <= most);
        for (number, event) in run.events(&piece, 0).enumerate() {
            assert!(last.is_none_or(|last| last < event.sequence));
            assert!(event.kind < 0xFFFF_0000 && event.weight >= 1.0 && event.weight.is_finite());
            assert!(event.payload.as_ptr().cast::<u64>().is_aligned() && event.payload.len() as u64 <= most);
            assert!((piece.from()..piece.upto()).contains(&piece.position(number)));
            *last = Some(event.sequence);
        }
        run.acknowledge(piece.ring(), piece.upto()).expect("a file that can be written");
    }
    assert!(run.losses().torn as usize >= run.losses().damages.len());
    assert!(run.finish().expect("a file that can be deleted"), "something is left");
}

/// Reads it as one whose owner lives.
fn read(directory: &Directory) {
    let Ok(file) = RingFile::open(directory, NAME, 1) else { return };
    let mut piece = Piece::default();
    for ring in 0..file.header().shape.all_rings().min(8) {
        let words = file.ring(ring).expect("words");
        let Ok(Some(mut reader)) = RingReader::new(&file, ring, words, true) else { continue };
        while reader.next(&file, &mut piece).expect("a file that can be read") == Next::Piece {}
    }
    let _ = file.figures();
}

/// What libFuzzer calls with each input.
///
/// # Safety
/// `data` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, len: usize) -> i32 {
    // SAFETY: by contract; libFuzzer's pointer may be NULL only for no bytes.
    let input = if len == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(data, len) } };
    if !Path::new(DIRECTORY).exists() {
        fs::DirBuilder::new().mode(0o700).create(DIRECTORY).expect("a directory");
        fs::set_permissions(DIRECTORY, PermissionsExt::from_mode(0o700)).expect("permissions");
    }
    let path = Path::new(DIRECTORY).join(NAME.to_str().expect("a name"));
    let directory = Arc::new(Directory::open(Path::new(DIRECTORY), Purpose::Recover).expect("the directory"));
    if let Some(most) = write(&mut Input(input), &path) {
        read(&directory);
        recover(&directory, most);
    }
    let _ = fs::remove_file(&path);
    0
}
