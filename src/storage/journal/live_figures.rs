//! The file of live figures: what the pipeline counts, for other processes to read while it runs. See [`figures`](crate::journal::format::figures).
//!
//! A thread of the storage writes it, at most once a second, and only if something has changed: a file system that hangs must not hold up the
//! pipeline's supervisor, which is there for storages that hang. The file has its full size from the beginning, so that a disk that is full later does no harm.

use super::shared::Shared;
use crate::files::failure::Failure;
use crate::files::file::File;
use crate::journal::format::figures::{
    FILE_BYTES, HEADER_BYTES, Live, SEQUENCE, encode, file_name, is_file_name, owner_of,
};
use crate::journal::owner;
use crate::platform::{thread, time};
use crate::storage::Source;
use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

/// Whatever the options say: the figures are for the owner of the process.
const MODE: u32 = 0o600;

/// Makes the file and starts the thread, if the options ask for it. What fails is logged: events are stored without it.
pub(super) fn start(shared: &Arc<Shared>, source: &Arc<dyn Source>) {
    if !shared.options.live_figures {
        return;
    }
    delete_those_of_the_dead(shared);
    let started = Writer::new(shared, source).and_then(|mut writer| {
        // Now, because the program may drop its privileges right after the start. (The pipeline has no figures yet.)
        let made = writer.make();
        let (shared, source) = (Arc::clone(shared), Arc::downgrade(source));
        thread::spawn("cp-figures", Box::new(move || run(&shared, &source, writer)))
            .map_err(|error| Failure::transient(error.detail))?
            .detach();
        made
    });
    if let Err(failure) = started {
        shared.messages.warning(&failure, "live figures cannot be written at present");
    }
}

fn run(shared: &Arc<Shared>, source: &Weak<dyn Source>, mut writer: Writer) {
    loop {
        // (Whoever drops the last reference frees the pipeline: no lock is held.)
        let Some(pipeline) = source.upgrade() else { break };
        let written = catch_unwind(AssertUnwindSafe(|| writer.look(&*pipeline)));
        drop(pipeline);
        match written {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                shared.messages.warning(&failure, "live figures cannot be written at present");
            }
            Err(_) => {
                log::error!("journal: a panic was caught on the thread of the live figures; please report it")
            }
        }
        if shared.live_figures.wait() {
            break;
        }
    }
    writer.end();
}

/// Deletes the files of processes that have ended.
fn delete_those_of_the_dead(shared: &Shared) {
    let Ok(folder) = shared.place.folder() else { return };
    let _ = folder.each_name(|name| {
        if name.to_str().is_ok_and(is_file_name)
            && let Ok(file) = folder.open_file(name, libc::O_RDWR | libc::O_NONBLOCK, 0)
            && is_of_a_dead_process(&file)
        {
            let _ = folder.unlink(name);
        }
        Ok(())
    });
}

fn is_of_a_dead_process(file: &File) -> bool {
    let mut header = [0; HEADER_BYTES];
    let read = file.read(&mut header, 0).unwrap_or(0);
    owner_of(&header[..read]).is_ok_and(|owner| {
        file.is_locked().is_ok_and(|locked| locked != Some(true)) && !owner::is_running(&owner)
    })
}

/// The file, and what was written to it.
struct Writer {
    shared: Arc<Shared>,
    name: CString,
    file: Option<File>,
    live: Live,
    sequence: u64,
    /// The bytes that are written next.
    next: Vec<u8>,
    /// The bytes that were written last, with 0 for what changes with time alone: if nothing else has changed, nothing is written.
    last: Vec<u8>,
}

impl Writer {
    fn new(shared: &Arc<Shared>, source: &Arc<dyn Source>) -> Result<Self, Failure> {
        let buffer = || {
            let mut buffer = Vec::new();
            buffer.try_reserve_exact(FILE_BYTES).map_err(|_| Failure::no_memory())?;
            buffer.resize(FILE_BYTES, 0);
            Ok::<_, Failure>(buffer)
        };
        Ok(Self {
            shared: Arc::clone(shared),
            name: CString::new(file_name(source.generation())).unwrap_or_default(),
            file: None,
            live: Live {
                generation: source.generation(),
                owner: shared.author.owner,
                monotonic_ns: 0,
                realtime_ns: 0,
                name: source.name().to_owned(),
                storage: "journal".to_owned(),
                figures: Default::default(),
                writers_left_out: 0,
            },
            sequence: 0,
            next: buffer()?,
            last: buffer()?,
        })
    }

    /// Writes the figures if they have changed.
    fn look(&mut self, source: &dyn Source) -> Result<(), Failure> {
        self.live.figures = source.figures().map_err(|error| Failure::transient(error.detail))?;
        let is_new = !self.is_usable();
        if is_new {
            self.make()?;
        }
        // What changes with time alone. A pipeline at rest keeps no disk awake.
        let metrics = &mut self.live.figures.metrics;
        let (uptime_ns, rates) = (metrics.uptime_ns, (metrics.capture_rate, metrics.store_rate));
        (metrics.uptime_ns, metrics.capture_rate, metrics.store_rate) = (0, 0.0, 0.0);
        (self.live.monotonic_ns, self.live.realtime_ns) = (0, 0);
        let used = encode(&self.live, 0, &mut self.next);
        if !is_new && self.next[..used] == self.last[..used] {
            return Ok(());
        }
        self.last[..used].copy_from_slice(&self.next[..used]);
        let metrics = &mut self.live.figures.metrics;
        (metrics.uptime_ns, (metrics.capture_rate, metrics.store_rate)) = (uptime_ns, rates);
        let written = self.write();
        if written.is_err() {
            self.last.fill(0);
        }
        written
    }

    /// Whether the file is the storage's, and still has its name.
    fn is_usable(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.stat().is_ok_and(|stat| stat.st_nlink != 0))
    }

    /// Makes the file, at its full size.
    fn make(&mut self) -> Result<(), Failure> {
        self.file = None;
        let folder = self.shared.place.folder()?;
        let access = libc::O_RDWR;
        let file = match folder.make_file(&self.name, access, MODE)? {
            Some(file) => file,
            // One that this process has lost: another part of it has closed the descriptor.
            None => {
                folder.unlink(&self.name)?;
                let again = folder.make_file(&self.name, access, MODE)?;
                again.ok_or_else(|| Failure::transient("another process makes the file of live figures"))?
            }
        };
        self.now();
        self.sequence += 2;
        encode(&self.live, self.sequence, &mut self.next);
        // The lock first: whoever deletes files of dead processes takes one without it for abandoned.
        let made = file.set_lock(true).and_then(|_| file.write_all(std::iter::once(&self.next[..]), 0));
        if let Err(failure) = made {
            let _ = folder.unlink(&self.name);
            return Err(failure);
        }
        self.file = Some(file);
        Ok(())
    }

    fn now(&mut self) {
        self.live.monotonic_ns = time::now_ns();
        self.live.realtime_ns = self.live.monotonic_ns.wrapping_add_signed(time::realtime_offset_ns());
    }

    fn write(&mut self) -> Result<(), Failure> {
        self.now();
        self.sequence += 2;
        let used = encode(&self.live, self.sequence, &mut self.next);
        let Some(file) = &self.file else { return Ok(()) };
        let (header, body) = self.next[..used].split_at(HEADER_BYTES);
        let under_way = (self.sequence - 1).to_le_bytes();
        file.write_all(std::iter::once(&under_way[..]), SEQUENCE as u64)?;
        file.write_all(std::iter::once(body), HEADER_BYTES as u64)?;
        file.write_all(std::iter::once(&header[SEQUENCE..]), SEQUENCE as u64)
    }

    /// The pipeline has ended in good order: its figures are in the journal.
    fn end(self) {
        if self.is_usable()
            && let Ok(folder) = self.shared.place.folder()
            && self.is_the_one_at(&folder, &self.name)
        {
            let _ = folder.unlink(&self.name);
        }
    }

    /// Whether the file of that name is this one: the directory may have been replaced.
    fn is_the_one_at(&self, folder: &crate::files::folder::Folder, name: &CStr) -> bool {
        let own = self.file.as_ref().and_then(|file| file.stat().ok());
        let there = folder.stat(name).ok();
        own.zip(there).is_some_and(|(own, there)| (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino))
    }
}
