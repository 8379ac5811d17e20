//! An open database and its limits: storing a batch in the open transaction, expiry, flush and the final indexes.

use super::transaction::Transaction;
use crate::batch::BatchView;
use crate::event::{PIPELINE_KIND_DEFINITION, PIPELINE_KIND_RESERVED};
use crate::storage::sqlite::db::Db;
use crate::storage::sqlite::failure::Failure;
use crate::storage::sqlite::limits::{self, Admission, Limits};
use crate::storage::sqlite::options::Synchronous;
use crate::storage::sqlite::shared::Shared;
use crate::storage::sqlite::{batch_table, indexes, open_storages};
use std::sync::Arc;

/// An open database.
pub struct OpenDatabase {
    pub(super) db: Db,
    pub(super) limits: Limits,
}

impl OpenDatabase {
    /// Opens the database. If it is missing, it is made if `make` is set.
    pub fn open(shared: &Shared, make: bool) -> Result<Self, Failure> {
        shared.shutdown.set_closed(false);
        open_storages::await_lost_connections(&shared.path)?;
        let db = Db::open(&shared.path, &shared.options, make, Arc::clone(&shared.shutdown.yielding))?;
        indexes::remove(db.conn())?; // those of an earlier run; they are made again at the end
        let limits = Limits::new(&db, &shared.options)?;
        Ok(Self { db, limits })
    }

    /// Stores a batch in the transaction, which it begins if there is none.
    pub(super) fn store(
        &mut self,
        batch: &BatchView,
        transaction: &mut Transaction,
    ) -> Result<Admission, Failure> {
        let mut needed = self.limits.nothing_needed();
        let mut bytes = 0;
        let mut meta = 0;
        let mut defines = false;
        for index in 0..batch.count {
            // SAFETY: the index is below the count.
            let event = unsafe { batch_table::event(batch, index) };
            needed.add(event.len as u64);
            bytes += event.len as u64;
            meta += usize::from(event.kind >= PIPELINE_KIND_RESERVED);
            defines |= event.kind == PIPELINE_KIND_DEFINITION;
        }
        if transaction.events == 0 && self.limits.is_log_held(&mut self.db)? {
            return Ok(Admission::Later);
        }
        self.db.begin()?;
        if meta != 0 {
            if defines {
                // The limits leave some pages for facts, but definitions may be large. They are stored even if no event makes way for them, as
                // long as SQLite has a page.
                let run = self.db.run(batch.generation)?;
                self.limits.make_space(&mut self.db, run, &needed)?;
            }
            for index in 0..batch.count {
                // SAFETY: the index is below the count.
                self.db.insert_meta(batch.generation, unsafe { batch_table::event(batch, index) })?;
            }
            return Ok(Admission::Admitted);
        }
        let run = self.db.run(batch.generation)?;
        let admission = self.limits.make_space(&mut self.db, run, &needed)?;
        if admission != Admission::Admitted {
            return Ok(admission);
        }
        let before = transaction.refused.len();
        let inserted = self.db.insert(batch, &mut transaction.refused)?;
        let conflicts = transaction.refused[before..].iter().filter(|r| r.conflict).count() as u64;
        if conflicts != 0 {
            self.db.count(run, "conflicts", conflicts)?;
        }
        if let Some(first_id) = inserted.first_id {
            self.limits.note_inserted(self.db.conn(), first_id, inserted.rows)?;
        }
        transaction.bytes += bytes + batch.count as u64 * limits::ROW_BYTES;
        Ok(Admission::Admitted)
    }

    /// Deletes at least `rows` expired events if there are as many, or one step of them, in a transaction of its own. `true`: there may be more.
    pub(super) fn expire(&mut self, rows: u64) -> Result<bool, Failure> {
        self.db.begin()?;
        let run = self.db.newest_run()?;
        let mut more = self.limits.delete_expired(&mut self.db, run)?;
        while more && self.db.deleted < rows {
            more = self.limits.delete_expired(&mut self.db, run)?;
        }
        self.db.commit()?;
        self.limits.log_deleted(&mut self.db);
        self.db.checkpoint_if_due()?;
        Ok(more)
    }

    /// Writes everything that is committed through to the disk, as far as the options ask for it.
    pub(super) fn flush(&mut self, synchronous: Synchronous) -> Result<(), Failure> {
        self.db.check_files()?;
        // In the other modes each commit has done so, or the disk is not to be waited for.
        if synchronous == Synchronous::Normal {
            self.db.sync()?;
            self.db.check_files()?;
        }
        Ok(())
    }

    /// Makes the indexes. `false`: the storage had to yield to a newer one.
    pub(super) fn make_indexes(&self, shared: &Shared) -> Result<bool, Failure> {
        self.limits.check_space_for_indexes()?;
        indexes::create_unless(self.db.conn(), &shared.shutdown.yielding)
    }
}
