//! The options of the Perfetto storage, their defaults and their limits.

use crate::files::folder::Modes;
use crate::status::{Error, PIPELINE_ERR_INVALID, Result};

/// When the storage waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Never. Acknowledged events survive the death of the process, and may be lost by a power loss.
    Never,
    /// At a flush, at the end of a file, and when the pipeline is closed.
    Flush,
}

/// The options of a Perfetto storage.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes after which another file is begun.
    pub file_bytes: u64,
    /// Milliseconds after which another file is begun; 0: never for its age.
    pub file_age_ms: u64,
    /// Bytes that all traces of the directory may take; 0: no limit.
    pub max_bytes: u64,
    /// When the storage waits for the disk.
    pub sync: Sync,
    /// The permission bits of new files, regardless of the process's umask.
    pub file_mode: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { file_bytes: 512 << 20, file_age_ms: 0, max_bytes: 0, sync: Sync::Never, file_mode: 0o600 }
    }
}

/// The limits of `file_bytes`.
pub const FILE_BYTES: (u64, u64) = (64 << 10, 1 << 40);
/// The smallest `max_bytes`.
pub const MIN_MAX_BYTES: u64 = 1 << 20;
/// The largest `max_bytes`: 128 TiB.
pub const MAX_BYTES: u64 = 1 << 47;
/// The limits of `file_age_ms`: the largest is a hundred years.
pub const FILE_AGE_MS: (u64, u64) = (100, 100 * 365 * 86_400_000);

impl Options {
    /// Checks every limit.
    pub fn validate(&self) -> Result<()> {
        within("file_bytes", self.file_bytes, FILE_BYTES, false)?;
        within("file_age_ms", self.file_age_ms, FILE_AGE_MS, true)?;
        within("max_bytes", self.max_bytes, (MIN_MAX_BYTES, MAX_BYTES), true)?;
        if self.file_mode & !0o666 != 0 || self.file_mode & 0o600 != 0o600 {
            let given = format_args!("{:#o}", self.file_mode).to_string();
            return Err(refuse("file_mode", "0600 and any of 0066 (octal)", given));
        }
        Ok(())
    }

    /// The size at which another file is begun. With `max_bytes` it is at most a quarter of that, so that making room deletes no more than that.
    pub(super) fn file_limit(&self) -> u64 {
        match self.max_bytes {
            0 => self.file_bytes,
            max => self.file_bytes.min(max / 4),
        }
    }

    /// Who may use what the storage makes.
    pub(super) fn modes(&self) -> Modes {
        Modes::of(self.file_mode, self.sync != Sync::Never)
    }
}

fn within(field: &str, given: u64, (low, high): (u64, u64), zero: bool) -> Result<()> {
    if (low..=high).contains(&given) || zero && given == 0 {
        return Ok(());
    }
    let or_zero = if zero { "0 or " } else { "" };
    Err(refuse(field, format_args!("{or_zero}{low} to {high}"), given))
}

/// The error of a field that is out of its limits.
pub(crate) fn refuse(field: &str, allowed: impl std::fmt::Display, given: impl std::fmt::Display) -> Error {
    Error::new(
        PIPELINE_ERR_INVALID,
        format!("pipeline_perfetto_options_t.{field}: {allowed} allowed, {given} given"),
    )
}
