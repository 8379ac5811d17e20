//! Takes the place of the SQLite storage in a build without it. It has the same names, because the C functions exist in every
//! build, and an error that says why they do not work.

#[path = "sqlite/options.rs"]
#[allow(dead_code)] // parts that only the real storage uses
mod options;

pub(crate) use options::refuse;
pub use options::{OnFull, Options, Synchronous};

use crate::batch::BatchView;
use crate::status::{Error, PIPELINE_ERR_UNSUPPORTED, Result};
use crate::storage::Storage;
use std::path::Path;

/// A type without values.
#[derive(Debug)]
pub enum SqliteStorage {}

fn absent<T>() -> Result<T> {
    Err(Error::new(
        PIPELINE_ERR_UNSUPPORTED,
        "this build of the library has no SQLite: build it with the cargo feature sqlite or sqlite-system",
    ))
}

impl SqliteStorage {
    /// Always an error.
    pub fn open(_path: &Path, options: Options) -> Result<Self> {
        options.validate()?;
        absent()
    }
}

// SAFETY: the type has no values, so no function is ever called.
unsafe impl Storage for SqliteStorage {
    fn store(&self, _batch: &BatchView) -> i32 {
        match *self {}
    }
}

/// Always an error.
pub fn create_indexes(_path: &Path) -> Result<()> {
    absent()
}
