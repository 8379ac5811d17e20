//! Delivers to a storage what processes that have ended have left in their ring files.
//!
//! Each file is taken by one recovery at a time ([`DeadRun`]). Its facts come first, then its events, ring by ring in their order and under the identities that they have. What
//! the storage has acknowledged is marked in the file, so that a recovery that is killed is gone on with by the next one: each event is delivered at least once, and a
//! storage that keeps identities has it exactly once. A file that is empty in the end is deleted.

mod deliver;
mod report;

pub use report::{FileReport, Outcome, Report};

use crate::ring_file::reader::{DeadRun, Directory, Purpose, Taken};
use crate::status::{Error, PIPELINE_ERR_STORAGE, PIPELINE_ERR_SYSTEM, Result};
use crate::storage::Storage;
use crate::storage::feed::Feed;
use deliver::{Delivery, Stop};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How a recovery goes on where the storage does not take something.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For how long a batch is tried again and again. Then the recovery ends, and what is left stays in the files.
    pub retry_for: Duration,
}

impl Default for Options {
    /// Ten seconds.
    fn default() -> Self {
        Self { retry_for: Duration::from_secs(10) }
    }
}

/// Where the events of each run go.
pub trait Feeds {
    /// The feed for this run. Runs come one after the other.
    fn of(&mut self, run: &DeadRun) -> Result<&mut Feed>;
}

/// One storage for all runs.
impl Feeds for Feed {
    fn of(&mut self, _: &DeadRun) -> Result<&mut Feed> {
        Ok(self)
    }
}

/// Recovers every ring file in the directory at `path`, and shows `see` what became of each. A file that cannot be recovered does not keep others from it, but a storage that
/// does not store does: [`Report::stopped`] says why. An error: the directory cannot be used.
pub fn recover(
    path: &Path,
    feeds: &mut dyn Feeds,
    options: &Options,
    mut see: impl FnMut(&FileReport),
) -> Result<Report> {
    let directory = Arc::new(Directory::open(path, Purpose::Recover)?);
    let mut all = Report::default();
    for (name, generation) in directory.names()? {
        let (file, stop) = recover_file(&directory, &name, generation, feeds, options);
        match &file.outcome {
            Outcome::Recovered if !file.has_losses() => log::info!("{file}"),
            Outcome::Unfinished => log::info!("{file}"),
            Outcome::Living(_) | Outcome::Gone | Outcome::Busy => log::debug!("{file}"),
            _ => log::warn!("{file}"),
        }
        if let Outcome::Failed(why) = &file.outcome {
            let error = || Error::new(PIPELINE_ERR_SYSTEM, format!("{}: {why}", file.path.display()));
            all.stopped.get_or_insert_with(error);
        }
        all.add(&file);
        see(&file);
        if stop.is_some() {
            all.stopped = stop;
            break;
        }
    }
    Ok(all)
}

/// Recovers a directory into one storage, which is finished and dropped in the end. An error: the directory cannot be used, or something is left, as [`Report::stopped`] says.
pub fn recover_into(
    path: &Path,
    storage: Box<dyn Storage>,
    options: &Options,
    see: impl FnMut(&FileReport),
) -> Result<Report> {
    let mut feed = Feed::guarded(storage);
    let mut report = recover(path, &mut feed, options, see)?;
    if let Some(error) = report.stopped.take() {
        return Err(error);
    }
    match feed.finish() {
        0 => Ok(report),
        status => {
            let text = format!("the storage's finish returned {status}; all events were stored before it");
            Err(Error::new(PIPELINE_ERR_STORAGE, text))
        }
    }
}

/// Recovers one file. An error: it is of no use to go on with others.
fn recover_file(
    directory: &Arc<Directory>,
    name: &CStr,
    generation: u64,
    feeds: &mut dyn Feeds,
    options: &Options,
) -> (FileReport, Option<Error>) {
    let path = directory.path().join(OsStr::from_bytes(name.to_bytes()));
    let mut report = FileReport::new(path, generation);
    let done = match DeadRun::take(directory, name, generation) {
        Taken::Run(run) => {
            let feed = feeds.of(&run).map_err(Stop::Storage);
            feed.and_then(|feed| Delivery::new(feed, options, &mut report).run(run))
                .map(|()| Outcome::Recovered)
        }
        Taken::Living(pid) => Ok(Outcome::Living(pid)),
        Taken::Busy => Ok(Outcome::Busy),
        Taken::Unfinished => Ok(Outcome::Unfinished),
        Taken::Gone => Ok(Outcome::Gone),
        Taken::Refused(why) => Ok(Outcome::Refused(why)),
        Taken::Failed(failure) => Err(Stop::from(failure)),
    };
    report.outcome = match done {
        Ok(outcome) => outcome,
        Err(Stop::File(failure)) => Outcome::Failed(failure.text),
        Err(Stop::Storage(error)) => {
            report.outcome = Outcome::Left(error.to_string());
            let text = format!("{}: {error}", report.path.display());
            return (report, Some(Error::new(error.status, text)));
        }
    };
    (report, None)
}
