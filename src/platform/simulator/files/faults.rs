//! What goes wrong with the simulated files.

use super::Dice;
use libc::{EACCES, EDQUOT, EINTR, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EPERM, EROFS};

/// How often something goes wrong: once in so many calls of its kind; 0: never. The default is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A call fails, and does nothing.
    pub failures: u64,
    /// A write or a read ends early.
    pub short: u64,
    /// A sync fails.
    pub syncs: u64,
    /// A cut fails.
    pub cuts: u64,
    /// A call is interrupted by a signal.
    pub interrupts: u64,
    /// A call takes long, up to `hang_ns`.
    pub hangs: u64,
    /// The most that such a call takes.
    pub hang_ns: u64,
    /// The host closes descriptors of the library before it looks at one, and may open files of its own.
    pub closings: u64,
}

/// What holds for the file system as long as it exists. The default is an ordinary one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traits {
    /// It has no locks of open file descriptions.
    pub lockless: bool,
    /// The system does not let an open file description be marked by a signal.
    pub unmarked: bool,
    /// The most bytes of all segments that a journal may have; 0: any number.
    pub bound: u64,
}

/// What happened, for the conclusions from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls on files.
    pub calls: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Writes that ended early.
    pub short_writes: u64,
    /// Writes that found no space.
    pub full: u64,
    /// Syncs.
    pub syncs: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Cuts that failed.
    pub failed_cuts: u64,
    /// Reads that failed, and files that could not be opened for reading.
    pub failed_reads: u64,
    /// Calls that took long.
    pub hangs: u64,
    /// Descriptors that the host has closed.
    pub closed: u64,
    /// Files that were deleted.
    pub deleted: u64,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        let Self {
            calls, failures, short_writes, full, syncs, failed_syncs, failed_cuts, failed_reads, ..
        } = other;
        self.calls += calls;
        self.failures += failures;
        self.short_writes += short_writes;
        self.full += full;
        self.syncs += syncs;
        self.failed_syncs += failed_syncs;
        self.failed_cuts += failed_cuts;
        self.failed_reads += failed_reads;
        self.hangs += other.hangs;
        self.closed += other.closed;
        self.deleted += other.deleted;
    }
}

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Open,
    Create,
    Write,
    Read,
    Cut,
    Sync,
    SyncFolder,
    Delete,
    List,
    Name,
    Permit,
    Space,
    /// A look at a descriptor, which never fails by itself.
    Look,
    Lock,
    Close,
}

impl Call {
    fn errors(self) -> &'static [i32] {
        match self {
            Self::Open => &[EMFILE, ENFILE, ENOMEM, EACCES, EIO],
            Self::Create => &[EMFILE, ENFILE, ENOMEM, EACCES, ENOSPC, EDQUOT, EROFS, EIO],
            Self::Write => &[EIO, ENOSPC, EDQUOT],
            Self::Read => &[EIO],
            Self::Delete => &[EACCES, EPERM, EROFS, EIO],
            Self::List | Self::Name => &[EIO, ENOMEM],
            Self::Permit => &[EPERM, EROFS, EIO],
            Self::Space => &[EIO],
            Self::Cut | Self::Sync | Self::SyncFolder | Self::Look | Self::Lock | Self::Close => &[],
        }
    }

    fn can_be_interrupted(self) -> bool {
        matches!(self, Self::Open | Self::Create | Self::Write | Self::Read | Self::Cut)
    }
}

impl Faults {
    /// The error with which a call fails before it does anything.
    pub(super) fn error(&self, call: Call, dice: &mut Dice) -> Option<i32> {
        if call.can_be_interrupted() && dice.hits(self.interrupts) {
            return Some(EINTR);
        }
        let errors = call.errors();
        if !errors.is_empty() && dice.hits(self.failures) {
            return Some(errors[dice.below(errors.len() as u64) as usize]);
        }
        match call {
            Call::Cut if dice.hits(self.cuts) => Some(EIO),
            Call::Sync | Call::SyncFolder if dice.hits(self.syncs) => Some(EIO),
            _ => None,
        }
    }

    /// How long a call takes.
    pub(super) fn pause_ns(&self, call: Call, dice: &mut Dice) -> u64 {
        match call {
            Call::Sync | Call::SyncFolder => dice.below(2_000_000),
            _ if dice.once_in(8) => dice.below(20_000),
            _ => 0,
        }
    }

    /// How much of what is to be written, or read, at most is so at once.
    pub(super) fn length(&self, wanted: usize, dice: &mut Dice) -> usize {
        if wanted > 1 && dice.hits(self.short) { 1 + dice.below(wanted as u64 - 1) as usize } else { wanted }
    }
}
