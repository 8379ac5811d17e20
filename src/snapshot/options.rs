//! The options of a snapshot, their defaults and their limits.

use crate::files::folder::Modes;
use crate::journal::format::columns::is_supported;
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_UNSUPPORTED, Result};
use crate::storage::journal::{Encoding, MAX_AGE_MS};

/// The largest `copy_bytes`: 128 TiB.
pub const MAX_COPY_BYTES: u64 = 1 << 47;

/// The options of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of memory for copies of rings, at least 1 MiB.
    pub copy_bytes: u64,
    /// How events lie in the file.
    pub encoding: Encoding,
    /// The permission bits of the file, regardless of the process's umask.
    pub file_mode: u32,
    /// The call returns when the snapshot is on the disk.
    pub sync: bool,
    /// For those that rules ask for: milliseconds from one to the next, at least.
    pub min_interval_ms: u64,
    /// For those that rules ask for: how many are taken.
    pub max_snapshots: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            copy_bytes: 4 << 20,
            encoding: Encoding::Raw,
            file_mode: 0o600,
            sync: false,
            min_interval_ms: 10_000,
            max_snapshots: 100,
        }
    }
}

impl Options {
    /// Checks every limit.
    pub fn validate(&self) -> Result<()> {
        if self.copy_bytes > MAX_COPY_BYTES {
            return Err(refuse("copy_bytes", format!("0 to {MAX_COPY_BYTES}"), self.copy_bytes));
        }
        if self.min_interval_ms > MAX_AGE_MS {
            return Err(refuse("min_interval_ms", format!("0 to {MAX_AGE_MS}"), self.min_interval_ms));
        }
        if self.max_snapshots == 0 {
            return Err(refuse("max_snapshots", "1 to 2^64 - 1", 0));
        }
        if !self.encoding.codec().is_none_or(is_supported) {
            return Err(Error::new(
                PIPELINE_ERR_UNSUPPORTED,
                "pipeline_snapshot_options_t.encoding: this build of the library has no Zstandard: build it with the cargo feature zstd, \
                 or use PIPELINE_JOURNAL_COLUMNS_LZ4",
            ));
        }
        if self.file_mode & !0o666 != 0 || self.file_mode & 0o600 != 0o600 {
            let given = format_args!("{:#o}", self.file_mode).to_string();
            return Err(refuse("file_mode", "0600 and any of 0066 (octal)", given));
        }
        Ok(())
    }

    /// Who may use what the snapshot makes.
    pub(super) fn modes(&self) -> Modes {
        Modes::of(self.file_mode, self.sync)
    }
}

/// The error of a field that is out of its limits.
pub(crate) fn refuse(field: &str, allowed: impl std::fmt::Display, given: impl std::fmt::Display) -> Error {
    Error::new(
        PIPELINE_ERR_INVALID,
        format!("pipeline_snapshot_options_t.{field}: {allowed} allowed, {given} given"),
    )
}
