//! The descriptors of the simulated process, those of the library and those of its host.

use libc::{EBADF, EMFILE};
use std::collections::BTreeMap;

/// The first number that a file gets.
const FIRST: i32 = 3;
/// More than any run has open.
const MOST: i32 = 4_096;

/// An open file description.
#[derive(Debug)]
pub(super) struct Open {
    pub node: usize,
    pub flags: i32,
    /// The signal that it is marked with.
    pub mark: i32,
    /// The names of a directory that are still to be read. `None`: none was read yet.
    pub unread: Option<Vec<String>>,
    /// It is the host's own.
    pub hosts: bool,
    /// Descriptors of it.
    pub uses: usize,
}

#[derive(Debug, Default)]
pub(super) struct Descriptors {
    /// The descriptions of the numbers.
    numbers: BTreeMap<i32, usize>,
    pub opens: Vec<Open>,
    /// The descriptors that each thread has looked at, or opened, by its last call: the library is about to use them.
    looked_at: BTreeMap<usize, Vec<i32>>,
}

impl Descriptors {
    /// The description of a number.
    pub fn find(&self, fd: i32) -> Result<usize, i32> {
        self.numbers.get(&fd).copied().ok_or(EBADF)
    }

    /// Opens a node under the lowest free number from `least` on.
    pub fn open(&mut self, node: usize, flags: i32, hosts: bool) -> Result<i32, i32> {
        self.opens.push(Open { node, flags, mark: 0, unread: None, hosts, uses: 0 });
        self.number(self.opens.len() - 1, FIRST)
    }

    /// Gives a description another number.
    pub fn number(&mut self, open: usize, least: i32) -> Result<i32, i32> {
        let fd = (least.max(0)..MOST).find(|fd| !self.numbers.contains_key(fd)).ok_or(EMFILE)?;
        self.numbers.insert(fd, open);
        self.opens[open].uses += 1;
        Ok(fd)
    }

    /// Closes a descriptor. Returns its description, and whether that was its last one.
    pub fn close(&mut self, fd: i32) -> Result<(usize, bool), i32> {
        let open = self.numbers.remove(&fd).ok_or(EBADF)?;
        self.looked_at.values_mut().for_each(|looked| looked.retain(|&one| one != fd));
        self.opens[open].uses -= 1;
        Ok((open, self.opens[open].uses == 0))
    }

    /// Notes the descriptor that a thread is about to use, after its last look at one.
    pub fn look(&mut self, thread: usize, fd: Option<i32>) {
        self.looked_at.insert(thread, fd.into_iter().collect());
    }

    /// Notes that it is about to use this one as well.
    pub fn opened(&mut self, thread: usize, fd: i32) {
        self.looked_at.entry(thread).or_default().push(fd);
    }

    /// The descriptors of the library that no thread is about to use.
    pub fn idle(&self) -> Vec<i32> {
        let idle = |(fd, open): (&i32, &usize)| {
            (!self.opens[*open].hosts && !self.looked_at.values().flatten().any(|looked| looked == fd))
                .then_some(*fd)
        };
        self.numbers.iter().filter_map(idle).collect()
    }

    pub fn of_library(&self) -> usize {
        self.numbers.values().filter(|&&open| !self.opens[open].hosts).count()
    }
}
