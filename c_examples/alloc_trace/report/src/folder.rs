//! The folder of a trace: the ledgers, the journal, the databases.

use crate::ledger::{Ledger, clean};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Folder {
    /// In the order in which their processes started.
    pub ledgers: Vec<Ledger>,
    pub journal: Option<PathBuf>,
    pub databases: Vec<PathBuf>,
    /// Ledgers that could not be read, with the reason.
    pub skipped: Vec<String>,
}

impl Folder {
    pub fn open(path: &Path) -> Result<Self, String> {
        let shown = clean(&path.to_string_lossy());
        let entries = std::fs::read_dir(path).map_err(|error| format!("{shown}: {error}"))?;
        let (mut ledgers, mut skipped) = (Vec::new(), Vec::new());
        for entry in entries {
            let path = entry.map_err(|error| format!("{shown}: {error}"))?.path();
            if path.extension().is_none_or(|extension| extension != "ledger") {
                continue;
            }
            match Ledger::read(&path) {
                Ok(ledger) => ledgers.push(ledger),
                Err(problem) => skipped.push(problem),
            }
        }
        ledgers.sort_by_key(|ledger| (ledger.started_realtime_ns, ledger.path.clone()));
        // Only names that the tracer gives: others in the folder are not its files.
        let journal = path.join("journal");
        let is_journal = |ledger: &Ledger| ledger.storage == journal;
        let databases = ledgers
            .iter()
            .filter(|ledger| {
                !is_journal(ledger) && ledger.storage.extension().is_some_and(|kind| kind == "db")
            })
            .map(|ledger| ledger.storage.clone())
            .filter(|database| database.symlink_metadata().is_ok_and(|metadata| metadata.is_file()))
            .collect();
        let has_journal = journal.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        if ledgers.is_empty() && !has_journal {
            skipped.insert(0, format!("{shown}: there is no trace in this folder"));
            return Err(skipped.join("; skipped: "));
        }
        Ok(Self { ledgers, journal: has_journal.then_some(journal), databases, skipped })
    }
}
