//! The options of the journal storage, their defaults and their limits.

use crate::files::folder::Modes;
use crate::journal::format::block::codec;
use crate::journal::format::columns::is_supported;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_UNSUPPORTED, Result};

/// When the storage waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Never. Acknowledged events survive the death of the process, and may be lost by a power loss.
    Never,
    /// At a flush, and when the pipeline is closed.
    Flush,
    /// At a flush, and `sync_interval_ms` after events were stored.
    Interval,
    /// Before each batch is acknowledged.
    Batch,
}

/// How events lie in the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As in the ring buffers, without a copy.
    Raw,
    /// The fields of the events in columns, which takes less space.
    Columns,
    /// Columns, compressed by LZ4.
    ColumnsLz4,
    /// Columns, compressed by Zstandard.
    ColumnsZstd,
}

impl Encoding {
    /// The codec of the columns. `None`: there are no columns.
    pub fn codec(self) -> Option<u8> {
        match self {
            Self::Raw => None,
            Self::Columns => Some(codec::NONE),
            Self::ColumnsLz4 => Some(codec::LZ4),
            Self::ColumnsZstd => Some(codec::ZSTD),
        }
    }
}

/// What happens to new events when the limit of `max_bytes` or `min_free_disk` is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFull {
    /// The oldest segments are deleted to make space.
    DeleteOldest,
    /// The new events are rejected.
    Reject,
}

/// The options of a journal storage.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes after which a segment is sealed and the next one is begun.
    pub segment_bytes: u64,
    /// Bytes that all segments of the directory may take; 0: no limit.
    pub max_bytes: u64,
    /// Milliseconds after which a segment is deleted, counted from its last write; 0: never.
    pub max_age_ms: u64,
    /// Bytes that must stay free on the directory's file system; 0: no limit.
    pub min_free_disk: u64,
    /// Milliseconds after which a segment with events is sealed, however small it is; 0: never.
    pub segment_age_ms: u64,
    /// When the storage waits for the disk.
    pub sync: Sync,
    /// Milliseconds from an event's acknowledgement to the disk, with [`Sync::Interval`].
    pub sync_interval_ms: u32,
    /// What happens when `max_bytes` or `min_free_disk` is reached.
    pub on_full: OnFull,
    /// How events lie in the files.
    pub encoding: Encoding,
    /// The permission bits of new files, regardless of the process's umask.
    pub file_mode: u32,
    /// Whether a file in the directory shows what the pipeline counts, for other processes to read.
    pub live_figures: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            max_bytes: 0,
            max_age_ms: 0,
            min_free_disk: 0,
            segment_age_ms: 0,
            sync: Sync::Never,
            sync_interval_ms: 1_000,
            on_full: OnFull::DeleteOldest,
            encoding: Encoding::Raw,
            file_mode: 0o600,
            live_figures: false,
        }
    }
}

/// The limits of `segment_bytes`. (The runs of the simulator are short.)
pub const SEGMENT_BYTES: (u64, u64) = (if cfg!(simulator) { 4 << 10 } else { 64 << 10 }, 1 << 40);
/// The smallest `max_bytes`.
pub const MIN_MAX_BYTES: u64 = if cfg!(simulator) { 32 << 10 } else { 1 << 20 };
/// The largest value of an option in bytes: 128 TiB.
pub const MAX_BYTES: u64 = 1 << 47;
/// The largest value of an option in milliseconds: a hundred years.
pub const MAX_AGE_MS: u64 = 100 * 365 * 86_400_000;
/// The smallest `max_age_ms` and `segment_age_ms`.
pub const MIN_AGE_MS: u64 = 100;

impl Options {
    /// Checks every limit.
    pub fn validate(&self) -> Result<()> {
        within("segment_bytes", self.segment_bytes, SEGMENT_BYTES.0, SEGMENT_BYTES.1)?;
        zero_or_within("max_bytes", self.max_bytes, MIN_MAX_BYTES, MAX_BYTES)?;
        zero_or_within("max_age_ms", self.max_age_ms, MIN_AGE_MS, MAX_AGE_MS)?;
        within("min_free_disk", self.min_free_disk, 0, MAX_BYTES)?;
        zero_or_within("segment_age_ms", self.segment_age_ms, MIN_AGE_MS, MAX_AGE_MS)?;
        within("sync_interval_ms", self.sync_interval_ms.into(), 1, 3_600_000)?;
        if !self.encoding.codec().is_none_or(is_supported) {
            return Err(Error::new(
                PIPELINE_ERR_UNSUPPORTED,
                "pipeline_journal_options_t.encoding: this build of the library has no Zstandard: build it with the cargo feature zstd, \
                 or use PIPELINE_JOURNAL_COLUMNS_LZ4",
            ));
        }
        // The owner must be able to read and write, because later runs look into the segments before they delete them.
        if self.file_mode & !0o666 != 0 || self.file_mode & 0o600 != 0o600 {
            let given = format_args!("{:#o}", self.file_mode).to_string();
            return Err(refuse("file_mode", "0600 and any of 0066 (octal)", given));
        }
        Ok(())
    }

    /// The size at which a segment is sealed. With `max_bytes` it is at most an eighth of that, so that making room deletes no more than that.
    pub(super) fn segment_limit(&self) -> u64 {
        match self.max_bytes {
            0 => self.segment_bytes,
            max => self.segment_bytes.min(max / 8),
        }
    }

    /// The age at which a segment is sealed, in nanoseconds. With `max_age_ms` it is at most an eighth of that, so that no event outlives its
    /// age by more.
    pub(super) fn segment_age_ns(&self) -> Option<u64> {
        let ages = [self.segment_age_ms, self.max_age_ms.div_ceil(8)];
        ages.iter().filter(|&&ms| ms != 0).min().map(|ms| ms.saturating_mul(1_000_000))
    }

    /// Who may use what the storage makes.
    pub(super) fn modes(&self) -> Modes {
        Modes::of(self.file_mode, self.sync != Sync::Never)
    }
}

fn within(field: &str, given: u64, low: u64, high: u64) -> Result<()> {
    if (low..=high).contains(&given) { Ok(()) } else { Err(refuse(field, format!("{low} to {high}"), given)) }
}

fn zero_or_within(field: &str, given: u64, low: u64, high: u64) -> Result<()> {
    if given == 0 || (low..=high).contains(&given) {
        return Ok(());
    }
    Err(refuse(field, format!("0 or {low} to {high}"), given))
}

/// The error of a field that is out of its limits.
pub(crate) fn refuse(field: &str, allowed: impl std::fmt::Display, given: impl std::fmt::Display) -> Error {
    Error::new(
        PIPELINE_ERR_INVALID,
        format!("pipeline_journal_options_t.{field}: {allowed} allowed, {given} given"),
    )
}
