//! The reader of a journal: of a directory, or of one segment.
//!
//! ```no_run
//! use capture_pipeline::journal::reader::{Options, Order, Reader};
//!
//! let options = Options { order: Order::Time, ..Options::default() };
//! let mut reader = Reader::open("journal", options)?;
//! while let Some(event) = reader.next()? {
//!     println!("{} {} {}", event.realtime_ns, event.kind, event.payload.len());
//! }
//! assert!(reader.losses().is_empty());
//! # Ok::<(), capture_pipeline::status::Error>(())
//! ```
//!
//! A reader works without a pipeline, in any process, also while the journal is being written. It writes nothing. It may be sent to another thread.
//! What is damaged, contradictory or missing is counted in [`Losses`], and the rest is read.

mod allocation;
pub(in crate::journal) mod body;
mod compare;
mod core;
mod discover;
pub(in crate::journal) mod event;
mod facts;
mod filter;
mod index;
mod losses;
mod merge;
mod options;
mod overlaps;
mod passes;
mod place;
mod ranges;
mod rings;
mod scan;
mod segment;
mod skips;
mod stored;
mod stretch;
mod walk;
mod window;

pub use self::core::Progress;
pub use event::Event;
pub use facts::{Attribute, Deleted, Facts, LEDGER_COUNTS, LedgerBlock, Thread};
pub use losses::{EXAMPLES, Gone, Identity, Losses, Refused, RingEvents, Unreadable};
pub use options::{Options, Order};
pub use segment::{Seal, Segment, State};

use self::core::{Core, failed};
use self::filter::Filter;
use crate::status::{Error, PIPELINE_ERR_INVALID, Result};
use merge::Merge;
use std::path::Path;
use std::time::{Duration, Instant};
use stored::Stored;

/// Reads the events of a journal. See the [module](self).
#[derive(Debug)]
pub struct Reader {
    core: Core,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Stored(Stored),
    Time(Box<Merge>),
}

/// How often a reader that waits looks for new blocks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

impl Reader {
    /// Opens the journal in a directory, or one segment, and reads the headers of all blocks, the facts and the ledgers. A directory without a segment is an empty
    /// journal.
    ///
    /// Errors: `PIPELINE_ERR_NOT_FOUND`: nothing is there. `_INVALID`: the file is no segment, or an option is out of its range. `_UNSUPPORTED`: the segment has another
    /// version or byte order (in a directory, that is counted in [`Losses::refused`]). `_LIMIT`: `memory_bytes` is too little for the number of blocks. `_SYSTEM`, `_NO_MEMORY`.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let path = path.as_ref();
        if options.memory_bytes < Options::MIN_MEMORY {
            let (least, given) = (Options::MIN_MEMORY, options.memory_bytes);
            let detail = format!("memory_bytes: at least {least} allowed, {given} given");
            return Err(Error::new(PIPELINE_ERR_INVALID, detail));
        }
        let source = match options.order {
            Order::Stored => Source::Stored(Stored::default()),
            Order::Time => Source::Time(Box::new(Merge::new(options.memory_bytes as u64 / 2))),
        };
        let is_directory = std::fs::metadata(path).map_err(|error| failed(path, &error))?.is_dir();
        let mut core = Core::new(options, is_directory.then(|| path.to_path_buf()));
        if !is_directory {
            core.known.insert(path.to_path_buf());
        }
        core.look()?;
        Ok(Self { core, source })
    }

    /// The next event. `None`: there is none; with [`Options::follow`], there is none yet. The event is valid until the next call on the reader.
    ///
    /// Errors: `PIPELINE_ERR_NO_MEMORY`, `_SYSTEM` (the directory cannot be read any more), `_LIMIT`. The call may be made again.
    #[allow(clippy::should_implement_trait)] // the event borrows the reader
    #[inline]
    pub fn next(&mut self) -> Result<Option<Event<'_>>> {
        Ok(if self.advance()? { self.current() } else { None })
    }

    /// As [`next`](Self::next), without a look for what was written meanwhile. `None`: all that was there at the last look is given. So a reader that
    /// follows a busy journal comes to an end.
    pub fn next_found(&mut self) -> Result<Option<Event<'_>>> {
        Ok(if self.advance_found()? { self.current() } else { None })
    }

    /// Looks for what was written meanwhile, which [`next_found`](Self::next_found) then gives. For a reader with [`Options::follow`].
    ///
    /// Errors: as for [`next`](Self::next).
    pub fn look_for_more(&mut self) -> Result<()> {
        self.core.look()
    }

    /// Changes [`Options::from_realtime_ns`] for the events that are not found yet. To be called when [`next_found`](Self::next_found) has given all.
    pub fn set_from_realtime_ns(&mut self, ns: u64) {
        self.core.options.from_realtime_ns = ns;
        self.core.filter = Filter::new(&self.core.options);
    }

    /// As [`next`](Self::next). If the reader follows the journal and there is no event, it waits for one up to `timeout`.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Event<'_>>> {
        let start = Instant::now();
        while !self.advance()? {
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() || !self.is_following() {
                return Ok(None);
            }
            self.wait(left);
        }
        Ok(self.current())
    }

    /// Waits until it is time to look for new blocks, at most for `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        std::thread::sleep(timeout.min(LOOK_EVERY));
    }

    pub(crate) fn is_following(&self) -> bool {
        self.core.options.follow
    }

    /// Shows the next events to `each`, at most `most` of them, and no more than are valid together. Returns how many there were; 0: there is none, as for
    /// [`next`](Self::next). All are valid until the next call on the reader.
    pub(crate) fn next_some(&mut self, most: usize, mut each: impl FnMut(&Event<'_>)) -> Result<usize> {
        if most == 0 || !self.advance()? {
            return Ok(0);
        }
        let mut count = 0;
        while let Some(event) = self.current() {
            each(&event);
            count += 1;
            let goes_on = count < most
                && match &mut self.source {
                    Source::Stored(stored) => stored.stretch.go_on(),
                    Source::Time(merge) => merge.advance_loaded(&self.core),
                };
            if !goes_on {
                break;
            }
        }
        Ok(count)
    }

    #[inline]
    fn current(&self) -> Option<Event<'_>> {
        match &self.source {
            Source::Stored(stored) => stored.stretch.current(),
            Source::Time(merge) => merge.stretch()?.current(),
        }
    }

    #[inline]
    fn advance(&mut self) -> Result<bool> {
        let found = self.advance_found()?;
        if found || !self.core.options.follow { Ok(found) } else { self.look() }
    }

    #[inline]
    fn advance_found(&mut self) -> Result<bool> {
        match &mut self.source {
            // Without memory the last look has not come to its end.
            _ if self.core.is_incomplete => Ok(false),
            Source::Stored(stored) => stored.advance(&mut self.core),
            Source::Time(merge) => merge.advance(&mut self.core),
        }
    }

    /// Looks for what was written meanwhile.
    #[cold]
    fn look(&mut self) -> Result<bool> {
        self.core.look()?;
        match &mut self.source {
            Source::Stored(stored) => stored.advance(&mut self.core),
            Source::Time(merge) => merge.advance(&mut self.core),
        }
    }

    /// Whether some segment's writer lives, so that there may be more events later.
    pub fn is_growing(&self) -> bool {
        self.segments().any(|segment| segment.state == State::Growing)
    }

    /// The segments, in the order in which they were found: by generation and number.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &Segment> {
        self.core.segments.all.iter().map(|open| &open.info)
    }

    /// Names, definitions, threads, clocks and the last ledger of each run. All that the journal has is known when the reader is open.
    pub fn facts(&self) -> &Facts {
        &self.core.facts
    }

    /// What is damaged, contradictory or missing, as far as it is known. It is complete when all events were read.
    pub fn losses(&self) -> &Losses {
        &self.core.losses
    }

    /// The rings, with the sequences that are stored. At most 65,536 are listed.
    pub fn rings(&self) -> impl Iterator<Item = &RingEvents> {
        self.core.rings.all()
    }

    /// How far the reader has come.
    pub fn progress(&self) -> Progress {
        self.core.progress
    }
}
