//! Stands in for the SQLite storage in a build without it: the same names, so that the C functions are there in every
//! build, and an error that says why they do not work.

#[path = "sqlite/options.rs"]
#[allow(dead_code)] // what only the real storage asks of them
mod options;

pub(crate) use options::refuse;
pub use options::{OnFull, Options, Synchronous};

use crate::batch::BatchView;
use crate::status::{Error, PIPELINE_ERR_UNSUPPORTED, Result};
use crate::storage::Storage;
use std::path::Path;

/// There is none.
#[derive(Debug)]
pub enum SqliteStorage {}

fn absent<T>() -> Result<T> {
    Err(Error::new(
        PIPELINE_ERR_UNSUPPORTED,
        "this build of the library has no SQLite (cargo feature sqlite)",
    ))
}

impl SqliteStorage {
    /// Always an error.
    pub fn open(_path: &Path, options: Options) -> Result<Self> {
        options.validate()?;
        absent()
    }
}

// SAFETY: there is no value to call it on.
unsafe impl Storage for SqliteStorage {
    fn store(&self, _batch: &BatchView) -> i32 {
        match *self {}
    }
}

/// Always an error.
pub fn create_indexes(_path: &Path) -> Result<()> {
    absent()
}
