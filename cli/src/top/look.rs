//! One look at a pipeline: what its file says at one moment, and what the system says of its process.

use super::args::Subject;
use super::place::{self, Found, Sort};
use super::process::{self, State, Thread};
use capture_pipeline::journal::format::figures::Live;
use capture_pipeline::journal::format::segment::Owner;
use capture_pipeline::journal::live_figures;
use capture_pipeline::platform::time;
use capture_pipeline::ring_file::format::NoRingFile;
use capture_pipeline::ring_file::view::{Unreadable, View, Words};
use std::fs::File;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Clone, Debug)]
pub struct Look {
    /// CLOCK_MONOTONIC of the look.
    pub at_ns: u64,
    /// The run.
    pub generation: u64,
    /// The file.
    pub path: PathBuf,
    /// The pipeline's name.
    pub name: String,
    /// The program; empty: a file of live figures does not say it.
    pub program: Vec<u8>,
    /// The process.
    pub owner: Owner,
    /// What the process does.
    pub state: State,
    /// The figures. `None`: there are none yet, or they cannot be read.
    pub live: Option<Live>,
    /// The rings. `None`: the file has no rings.
    pub rings: Option<Vec<Words>>,
    /// What the threads of the writers do, in their order; as far as it can be seen.
    pub threads: Vec<Option<Thread>>,
}

/// Looks at a file. `Ok(None)`: it is being made, is gone by now, or is another process's. An error says why it cannot be read.
pub fn look(found: &Found, subject: &Subject) -> Result<Option<Look>, String> {
    let look = match found.sort {
        Sort::Rings => rings(found),
        Sort::Figures => figures(found),
    }?;
    Ok(look.filter(|look| place::is_of(subject, look.owner.pid)).map(|look| look.with_process(subject)))
}

fn rings(found: &Found) -> Result<Option<Look>, String> {
    let opened = match &found.link {
        None => View::open(&found.path),
        Some(link) => File::open(link).map_err(Unreadable::Io).and_then(View::of),
    };
    let view = match opened {
        Ok(view) => view,
        Err(Unreadable::Not(NoRingFile::Unfinished)) => return Ok(None),
        Err(Unreadable::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(Unreadable::Io(error)) => return Err(refused(&found.path, &error)),
        Err(why) => return Err(why.to_string()),
    };
    let header = view.header();
    let rings = view.rings().map_err(|error| error.to_string())?;
    Ok(Some(Look {
        at_ns: time::now_ns(),
        generation: header.generation,
        path: found.path.clone(),
        name: String::from_utf8_lossy(&header.name).into_owned(),
        program: header.program.clone(),
        owner: header.owner,
        state: if view.owner_lives() { State::Unseen } else { State::Ended },
        // (Figures that a process has left half written are no reason to hide its rings.)
        live: view.figures().unwrap_or(None),
        rings: Some(rings),
        threads: Vec::new(),
    }))
}

fn figures(found: &Found) -> Result<Option<Look>, String> {
    let read = match &found.link {
        None => live_figures::read(&found.path).map(|found| (found.live, found.alive)),
        Some(link) => File::open(link)
            .map_err(live_figures::Unreadable::Io)
            .and_then(|file| live_figures::read_from(&file, 0)),
    };
    let (live, alive) = match read {
        Ok(read) => read,
        Err(live_figures::Unreadable::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(live_figures::Unreadable::Io(error)) => return Err(refused(&found.path, &error)),
        Err(why) => return Err(why.to_string()),
    };
    Ok(Some(Look {
        at_ns: time::now_ns(),
        generation: live.generation,
        path: found.path.clone(),
        name: live.name.clone(),
        program: Vec::new(),
        owner: live.owner,
        state: if alive { State::Unseen } else { State::Ended },
        live: Some(live),
        rings: None,
        threads: Vec::new(),
    }))
}

/// Why a file cannot be opened or read.
fn refused(path: &Path, error: &std::io::Error) -> String {
    if std::fs::symlink_metadata(path).is_ok_and(|status| status.is_symlink()) {
        return "a symbolic link, which is not followed: give the directory that has the file".into();
    }
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "; run the command as the user of the process or as root",
        _ => "",
    };
    format!("{error}{hint}")
}

impl Look {
    /// Adds what the system says of the process, if it lives.
    fn with_process(mut self, subject: &Subject) -> Self {
        if self.state == State::Ended {
            return self;
        }
        let visible = process::visible(&self.owner);
        let pid = match subject {
            Subject::Process(pid) => Some(*pid),
            Subject::Directory(_) => visible,
        };
        self.state = State::of(pid);
        // The threads have other ids here if the process is in another namespace.
        if let (Some(pid), Some(live)) = (visible, &self.live) {
            let threads = live.figures.writers.iter().map(|writer| process::thread(pid, writer.thread_id));
            self.threads = threads.collect();
        }
        self
    }

    /// How old the figures are, in nanoseconds. `None`: there are none, or they are of another boot.
    pub fn figures_age_ns(&self) -> Option<u64> {
        let live = self.live.as_ref()?;
        let of_this_boot = live.owner.boot_id == capture_pipeline::platform::process::boot_id();
        of_this_boot.then(|| self.at_ns.saturating_sub(live.monotonic_ns))
    }
}
