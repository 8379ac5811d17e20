//! The files of the simulation: directories and files in memory, what a power loss would leave of them, and faults.
//!
//! Nothing here follows from anything but the seed and the order of the calls.

pub mod calls;
mod content;
mod descriptors;
mod faults;
mod tree;
mod work;

pub use faults::{Faults, Tally, Traits};

use super::scheduler::with_files;
use crate::platform::splitmix::mix;
use descriptors::Descriptors;
use tree::{Kind, Tree};

/// Random numbers of their own, so that the schedule of a run without files does not depend on them.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0xF11E5))
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % n.max(1)
    }

    /// True once in `n`.
    fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// The same; never if `n` is 0.
    fn hits(&mut self, n: u64) -> bool {
        n != 0 && self.once_in(n)
    }
}

/// All files of a run.
#[derive(Debug)]
pub(super) struct Files {
    dice: Dice,
    /// The virtual clock.
    pub now_ns: u64,
    tree: Tree,
    descriptors: Descriptors,
    faults: Faults,
    traits: Traits,
    tally: Tally,
    /// The bytes that all files may have; 0: any number.
    capacity: u64,
    /// What the library did that it must not do.
    wrongs: Vec<String>,
}

impl Files {
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            now_ns: 0,
            tree: Tree::default(),
            descriptors: Descriptors::default(),
            faults: Faults::default(),
            traits: Traits::default(),
            tally: Tally::default(),
            capacity: 0,
            wrongs: Vec::new(),
        }
    }

    fn wrong(&mut self, what: String) {
        if self.wrongs.len() < 20 {
            self.wrongs.push(what);
        }
    }

    /// Bytes of all files.
    fn used(&self) -> u64 {
        self.tree.files().map(|(_, _, content)| content.bytes.len() as u64).sum()
    }

    /// A thread has opened a descriptor, and is about to use it.
    fn note_open(&mut self, thread: usize, fd: i32, flags: i32) {
        if fd >= 0 {
            self.descriptors.opened(thread, fd);
        } else if flags & (libc::O_ACCMODE | libc::O_DIRECTORY) == libc::O_RDONLY {
            self.tally.failed_reads += 1;
        } else if flags & (libc::O_DIRECTORY | libc::O_PATH) == libc::O_DIRECTORY {
            // It may have been opened for a sync.
            self.tally.failed_syncs += 1;
        }
    }

    fn check_bound(&mut self) {
        let segments = self.tree.files().filter(|(name, ..)| name.ends_with(".journal"));
        let used: u64 = segments.map(|(_, _, content)| content.bytes.len() as u64).sum();
        if self.traits.bound != 0 && used > self.traits.bound {
            let bound = self.traits.bound;
            self.wrong(format!("the segments have {used} bytes, {bound} are allowed"));
        }
    }
}

/// The name of a file, and its bytes.
pub type File = (String, Vec<u8>);

/// Creates an empty directory, and what is above it.
pub fn make_folder(path: &str) {
    with_files(|files, _| files.tree.make_folders(path));
}

/// From now on this goes wrong.
pub fn set_faults(faults: Faults) {
    with_files(|files, _| files.faults = faults);
}

/// From now on the file system is such a one.
pub fn set_traits(traits: Traits) {
    with_files(|files, _| files.traits = traits);
}

/// From now on there is room for so many bytes more; `None`: for any number.
pub fn set_free(bytes: Option<u64>) {
    with_files(|files, _| files.capacity = bytes.map_or(0, |bytes| (files.used() + bytes).max(1)));
}

/// The files that have a name.
pub fn contents() -> Vec<File> {
    with_files(|files, _| {
        files.tree.files().map(|(name, _, file)| (name.to_owned(), file.bytes.clone())).collect()
    })
}

/// The files that were deleted, under their last names.
pub fn deleted() -> Vec<File> {
    with_files(|files, _| {
        files
            .tree
            .deleted
            .iter()
            .map(|(name, node)| match &files.tree.nodes[*node].kind {
                Kind::File(content) => (name.clone(), content.bytes.clone()),
                Kind::Folder(_) => (name.clone(), Vec::new()),
            })
            .collect()
    })
}

/// The files that the disk would have if the power failed now. No other thread runs between this and the caller's next point.
pub fn after_power_loss() -> Vec<File> {
    with_files(|files, _| files.tree.after_power_loss(&mut files.dice))
}

/// The number of descriptors that the library has open.
pub fn open_descriptors() -> usize {
    with_files(|files, _| files.descriptors.of_library())
}

/// What happened so far.
pub fn tally() -> Tally {
    with_files(|files, _| files.tally)
}

/// What the library did that it must not do: write to a file of the host, close a descriptor of the host, exceed a bound.
pub fn wrongs() -> Vec<String> {
    with_files(|files, _| files.wrongs.clone())
}
