//! A connection whose files were moved, deleted or replaced. Acknowledged events may be in its write-ahead log only. So the log is copied into the
//! database, wherever that file is by now, before the connection is closed.

use super::connection::Db;
use crate::storage::sqlite::failure::Failure;
use crate::storage::sqlite::files::paths::{AtPath, AtPaths};
use rusqlite::ffi;

/// The treatment of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// None: the next connection finds it, or there is no database that it could be copied into.
    Leave,
    /// It is copied back.
    CopyBack,
    /// It is copied back while other processes are kept from opening the database, because they would not find the log's index.
    CopyBackAlone,
    /// It cannot be copied back, because another process has begun a new log.
    Conflict,
}

fn plan([main, log, index]: AtPaths, deleted: bool) -> Plan {
    let unused = |at_path: AtPath| matches!(at_path, AtPath::Missing | AtPath::Other(0));
    match (log, index) {
        _ if deleted => Plan::Leave,
        // The database was moved, with or without its log.
        _ if main != AtPath::Same => Plan::CopyBack,
        (AtPath::Same, _) => Plan::Leave,
        (log, AtPath::Same) if unused(log) => Plan::CopyBack,
        (log, _) if unused(log) => Plan::CopyBackAlone,
        _ => Plan::Conflict,
    }
}

impl Db {
    /// Saves acknowledged events before the connection is closed because a file of it was moved. `Ok`: it may be closed. `Err`: not yet, because of a
    /// reader.
    pub fn save_log(&mut self) -> Result<(), Failure> {
        if self.paths.check_descriptors().is_err() {
            return Ok(()); // nothing can be read any more; the next connection finds the log
        }
        let at_paths = self.paths.compare();
        match plan(at_paths, self.paths.is_deleted()) {
            Plan::Leave => {}
            Plan::CopyBack => self.copy_back()?,
            Plan::CopyBackAlone => {
                let Some(_lock) = self.paths.lock_out_others() else {
                    return Err(Failure::transient("another process is just opening the database"));
                };
                self.copy_back()?;
            }
            Plan::Conflict => log::error!(
                "sqlite storage {}: its write-ahead log was deleted, and another process has begun a new one: events stored since the last \
                 checkpoint may be lost",
                self.path().display()
            ),
        }
        if at_paths[0] != AtPath::Same {
            self.paths.remove_orphans();
        }
        Ok(())
    }

    /// Copies all of the log back into the database.
    fn copy_back(&mut self) -> Result<(), Failure> {
        let (code, frames, copied) = self.checkpoint_code(ffi::SQLITE_CHECKPOINT_TRUNCATE);
        match code & 0xff {
            ffi::SQLITE_OK => Ok(()),
            ffi::SQLITE_BUSY if frames >= 0 && frames == copied => Ok(()),
            ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => Err(Failure::transient(
                "a file of the database was moved, and a reader keeps its write-ahead log from being copied back",
            )),
            _ => Err(Failure::from_code(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_copied_back_where_nothing_else_has_it() {
        use AtPath::{Missing, Other, Same};
        let plan = |main, log, index| plan([main, log, index], false);
        assert_eq!(plan(Same, Missing, Same), Plan::CopyBack);
        assert_eq!(plan(Same, Other(0), Same), Plan::CopyBack);
        assert_eq!(plan(Same, Missing, Missing), Plan::CopyBackAlone);
        assert_eq!(plan(Same, Other(9), Same), Plan::Conflict);
        assert_eq!(plan(Same, Other(9), Other(9)), Plan::Conflict);
        assert_eq!(plan(Same, Same, Missing), Plan::Leave, "the next connection reads the log");
        assert_eq!(plan(Missing, Same, Same), Plan::CopyBack);
        assert_eq!(plan(Other(9), Missing, Missing), Plan::CopyBack);
        assert_eq!(super::plan([Missing; 3], true), Plan::Leave, "there is no database");
    }
}
