//! The file of live figures: the figures of one pipeline at one moment, written over again and again. `docs/format.md` specifies it.
//!
//! A file always has [`FILE_BYTES`], so it needs no more space once it is made. A writer makes the sequence odd, writes the body, and then the rest of the
//! header with an even sequence. The checksum is of the header and the body, so a reader that has read parts of two writes notices.

use super::bytes::{array, put, u32_at, u64_at};
use super::segment::Owner;
use crate::latency::Spread;
use crate::metrics::{Condition, Figures, pipeline_metrics_t, pipeline_writer_metrics_t};

/// The first bytes of such a file.
pub const MAGIC: [u8; 8] = *b"\x89CPF\r\n\x1a\n";
/// The version of the format.
pub const VERSION: u32 = 1;
/// The size of a file.
pub const FILE_BYTES: usize = 32 << 10;
/// The size of the header, where the body begins.
pub const HEADER_BYTES: usize = 128;
/// Where the sequence is, which is written first.
pub const SEQUENCE: usize = 64;
/// Where the checksum is; the bytes before are in it.
const CHECKSUM: usize = 96;
/// The longest name.
const MAX_NAME: usize = 255;

/// What a file has.
#[derive(Clone, Debug)]
pub struct Live {
    /// The run of the pipeline.
    pub generation: u64,
    /// The process that writes the file.
    pub owner: Owner,
    /// CLOCK_MONOTONIC when it was written.
    pub monotonic_ns: u64,
    /// CLOCK_REALTIME at that moment.
    pub realtime_ns: u64,
    /// The pipeline's name.
    pub name: String,
    /// What its storage is called.
    pub storage: String,
    /// The figures.
    pub figures: Figures,
    /// Writers whose figures had no room.
    pub writers_left_out: u64,
}

/// Why bytes are no such file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotLive {
    /// It is another file.
    Foreign,
    /// It has another version of the format.
    Version(u32),
    /// It is shorter than it must be.
    Cut(usize),
    /// It is being written, or its writer has died while it was.
    Unfinished,
    /// The checksum is wrong, though no write was under way.
    Damaged,
}

impl std::fmt::Display for NotLive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Foreign => f.write_str("no file of live figures"),
            Self::Version(version) => {
                write!(f, "format version {version}; this library reads version {VERSION}")
            }
            Self::Cut(bytes) => write!(f, "cut: it has {bytes} of {FILE_BYTES} bytes"),
            Self::Unfinished => f.write_str("a write of it has not ended"),
            Self::Damaged => f.write_str("the checksum is wrong: it is damaged"),
        }
    }
}

/// The name of a pipeline's file.
pub fn file_name(generation: u64) -> String {
    format!("{generation:016x}.figures")
}

/// Whether a file has such a name.
pub fn is_file_name(name: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.strip_suffix(".figures").is_some_and(|digits| digits.len() == 16 && digits.bytes().all(digit))
}

/// The process that a header names. An error: it is none of this version.
pub fn owner_of(header: &[u8]) -> Result<Owner, NotLive> {
    if header.len() < HEADER_BYTES {
        return Err(if header.starts_with(&MAGIC) { NotLive::Cut(header.len()) } else { NotLive::Foreign });
    }
    if !header.starts_with(&MAGIC) {
        return Err(NotLive::Foreign);
    }
    match u32_at(header, 8) {
        VERSION => {}
        version => return Err(NotLive::Version(version)),
    }
    Ok(Owner {
        boot_id: array(header, 24),
        pid: u32_at(header, 40),
        pid_namespace: u64_at(header, 48),
        start_time: u64_at(header, 56),
    })
}

/// Puts the words of a body one behind the other.
struct Words<'a> {
    body: &'a mut [u8],
    used: usize,
}

impl Words<'_> {
    fn put(&mut self, words: impl IntoIterator<Item = u64>) {
        for word in words {
            put(self.body, self.used, &word.to_le_bytes());
            self.used += 8;
        }
    }

    /// A text behind its length, and zeros up to a whole word.
    fn text(&mut self, text: &str) {
        let most = (0..=MAX_NAME.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        self.put([most as u64]);
        put(self.body, self.used, &text.as_bytes()[..most]);
        put(self.body, self.used + most, &[0; 8][..most.next_multiple_of(8) - most]);
        self.used += most.next_multiple_of(8);
    }
}

/// Writes a whole file into `file`, which has [`FILE_BYTES`], under this sequence, which is even. Answers how many bytes are used.
pub fn encode(live: &Live, sequence: u64, file: &mut [u8]) -> usize {
    let (header, body) = file.split_at_mut(HEADER_BYTES.min(file.len()));
    let room = body.len();
    let mut words = Words { body, used: 0 };
    words.text(&live.name);
    words.text(&live.storage);
    let metrics = live.figures.metrics.words();
    words.put([metrics.len() as u64]);
    words.put(metrics);
    let Spread { up_to, count, sum_ns, max_ns } = live.figures.spread;
    words.put([up_to.len() as u64]);
    words.put(up_to);
    words.put([count, sum_ns as u64, (sum_ns >> 64) as u64, max_ns]);
    let Condition { status, reasons, batches_retrying, stuck_ns } = live.figures.condition;
    words.put([4, status.into(), reasons.into(), batches_retrying.into(), stuck_ns]);
    let each = pipeline_writer_metrics_t::MEMBERS;
    let writers = &live.figures.writers;
    let fit = writers.len().min((room - words.used - 24) / (8 * each));
    words.put([each as u64, fit as u64, live.writers_left_out + (writers.len() - fit) as u64]);
    for writer in &writers[..fit] {
        words.put(writer.words());
    }
    let used = words.used;
    header.fill(0);
    put(header, 0, &MAGIC);
    put(header, 8, &VERSION.to_le_bytes());
    put(header, 12, &(FILE_BYTES as u32).to_le_bytes());
    put(header, 16, &live.generation.to_le_bytes());
    put(header, 24, &live.owner.boot_id);
    put(header, 40, &live.owner.pid.to_le_bytes());
    put(header, 48, &live.owner.pid_namespace.to_le_bytes());
    put(header, 56, &live.owner.start_time.to_le_bytes());
    put(header, SEQUENCE, &sequence.to_le_bytes());
    put(header, 72, &(used as u64).to_le_bytes());
    put(header, 80, &live.monotonic_ns.to_le_bytes());
    put(header, 88, &live.realtime_ns.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&header[..CHECKSUM]), &file[HEADER_BYTES..][..used]);
    put(file, CHECKSUM, &checksum.to_le_bytes());
    HEADER_BYTES + used
}

/// Takes the words of a body one behind the other. What is not there is 0.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn next(&mut self) -> u64 {
        let word = u64_at(self.0, 0);
        self.0 = self.0.get(8..).unwrap_or_default();
        word
    }

    /// So many words; fewer if the body ends.
    fn words(&mut self, count: u64) -> impl Iterator<Item = u64> + use<'a> {
        let bytes = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(8).min(self.0.len());
        let (words, rest) = self.0.split_at(bytes);
        self.0 = rest;
        words.chunks_exact(8).map(|word| u64_at(word, 0))
    }

    fn counted(&mut self) -> impl Iterator<Item = u64> + use<'a> {
        let count = self.next();
        self.words(count)
    }

    fn text(&mut self) -> String {
        let length = usize::try_from(self.next()).unwrap_or(usize::MAX).min(MAX_NAME).min(self.0.len());
        let text = String::from_utf8_lossy(&self.0[..length]).into_owned();
        self.0 = self.0.get(length.next_multiple_of(8)..).unwrap_or_default();
        text
    }
}

/// Reads a whole file. A newer library may have written more figures; those that this one does not know are passed over.
pub fn decode(file: &[u8]) -> Result<Live, NotLive> {
    let owner = owner_of(file)?;
    if file.len() < FILE_BYTES {
        return Err(NotLive::Cut(file.len()));
    }
    if !u64_at(file, SEQUENCE).is_multiple_of(2) {
        return Err(NotLive::Unfinished);
    }
    let used = usize::try_from(u64_at(file, 72)).unwrap_or(usize::MAX);
    let body = file[HEADER_BYTES..].get(..used).ok_or(NotLive::Damaged)?;
    if crc32c::crc32c_append(crc32c::crc32c(&file[..CHECKSUM]), body) != u32_at(file, CHECKSUM) {
        return Err(NotLive::Damaged);
    }
    let mut rest = Rest(body);
    let (name, storage) = (rest.text(), rest.text());
    let metrics = pipeline_metrics_t::from_words(rest.counted());
    let mut spread = Spread::default();
    for (bucket, count) in spread.up_to.iter_mut().zip(rest.counted()) {
        *bucket = count;
    }
    spread.count = rest.next();
    spread.sum_ns = u128::from(rest.next()) | u128::from(rest.next()) << 64;
    spread.max_ns = rest.next();
    let mut condition = rest.counted();
    let mut next = || condition.next().unwrap_or(0);
    let condition = Condition {
        status: next() as u32,
        reasons: next() as u32,
        batches_retrying: next() as u32,
        stuck_ns: next(),
    };
    let (each, count, writers_left_out) = (rest.next(), rest.next(), rest.next());
    let fit = (rest.0.len() as u64 / 8).checked_div(each).unwrap_or(0);
    let writers =
        (0..count.min(fit)).map(|_| pipeline_writer_metrics_t::from_words(rest.words(each))).collect();
    Ok(Live {
        generation: u64_at(file, 16),
        owner,
        monotonic_ns: u64_at(file, 80),
        realtime_ns: u64_at(file, 88),
        name,
        storage,
        figures: Figures { metrics, spread, condition, writers },
        writers_left_out,
    })
}

#[cfg(test)]
mod tests;
