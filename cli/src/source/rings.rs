//! Ring files as a source of events: what lies in them is copied, as a journal, into a temporary directory of this process's own, which is deleted when the journal is open.

use crate::failure::Failure;
use crate::messages::tell;
use crate::rings;
use capture_pipeline::journal::format::segment::parse_file_name as parse_segment_name;
use capture_pipeline::journal::reader::{Options, Reader};
use capture_pipeline::platform::files::most_descriptors;
use capture_pipeline::ring_file::format::parse_file_name;
use capture_pipeline::storage::feed::Feed;
use capture_pipeline::storage::journal::{self, JournalStorage};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The reader keeps the files of so many runs open, and does not need their names any more.
const MOST_RUNS: usize = 64;

/// Whether a path is a directory with ring files, and without segments of a journal.
pub fn are_in(path: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(path) else { return false };
    let mut found = false;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if parse_segment_name(name).is_some() {
            return false;
        }
        found |= parse_file_name(name).is_some();
    }
    found
}

/// Opens what lies in the ring files of a directory.
pub fn open(path: &Path, options: Options) -> Result<Reader, Failure> {
    if options.follow {
        return Err(Failure::new(format!(
            "{}: ring files cannot be followed; top shows what their processes do, and snapshot writes what they have",
            path.display()
        )));
    }
    let (runs, unread) = rings::in_directory(path)?;
    for file in unread {
        tell(format_args!("{}: {}", file.path.display(), file.why));
    }
    // (The reader opens at most a quarter of the files that the process may open.)
    let most = (most_descriptors() / 4).clamp(4, MOST_RUNS);
    if runs.len() > most {
        return Err(Failure::new(format!(
            "{}: it has ring files of {} runs, and {most} can be read at once: use recover, or snapshot and read its journal",
            path.display(),
            runs.len()
        )));
    }
    let copy = Copy::new()?;
    for run in &runs {
        // One segment for each run, however much it has.
        let options = journal::Options {
            segment_bytes: 1 << 40,
            sync: journal::Sync::Never,
            ..journal::Options::default()
        };
        let found = rings::copy(run, Feed::new(JournalStorage::open(&copy.0, options)?), &copy.0)?;
        for line in found.damages.iter().map(ToString::to_string).chain(run.facts_damage()) {
            tell(format_args!("run {:016x}: {line}", run.generation()));
        }
    }
    Ok(Reader::open(&copy.0, options)?)
}

/// A directory that is deleted when this is dropped.
struct Copy(PathBuf);

impl Copy {
    fn new() -> Result<Self, Failure> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!(".capture-pipeline-{}-{number}", std::process::id()));
        // Nobody else may look into it, and an earlier one of that name is not used.
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|error| Failure::of(&path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
