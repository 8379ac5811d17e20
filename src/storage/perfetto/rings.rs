//! The ring buffers that events come from, with what is open in each.
//!
//! The events of a ring come in their order, so each ring has a line of time of its own: its slices lie within each other, and a gap in its sequences is
//! seen. What a batch changes here is undone if the batch cannot be written.

use crate::files::failure::Failure;
use crate::formats::nest::Nest;
use std::collections::HashMap;
use std::sync::Arc;

/// A begin whose end has not come.
#[derive(Clone, Debug)]
pub(super) struct Open {
    /// The kind that begins, and its place.
    pub kind: u32,
    pub kind_at: usize,
    /// 0: the kind has no keys.
    pub key: u128,
    pub row: usize,
    /// What it is called, if not by its kind.
    pub label: Option<Arc<[u8]>>,
    pub correlation_id: u64,
    pub node_id: u64,
}

/// A row for slices of one kind that need not lie within others: it has one at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub kind: u32,
    pub row: usize,
    /// Until when it has a slice; `u64::MAX`: until its end comes.
    pub until: u64,
}

/// What is open in a ring.
#[derive(Debug)]
pub(super) struct Stack {
    /// The sequence of the last event. `None`: there was none.
    pub last: Option<u64>,
    /// The latest time of its events.
    pub ns: u64,
    /// Its row has slices of another ring before this time.
    pub since: u64,
    /// Slices that lie within each other.
    pub open: Vec<Open>,
    /// Slices in lanes, whose ends are found by keys.
    pub keyed: Vec<Open>,
    pub lanes: Vec<Lane>,
    pub nest: Nest,
}

/// So much is remembered of a level of slices.
const REMEMBERED: usize = 32;
/// The most slices that are open in a ring, of each of the two sorts, and the most lanes.
pub(super) const MOST_OPEN: usize = 4_096;
/// The most slices that are open in all rings.
pub(super) const MOST_OPEN_IN_ALL: usize = 65_536;

impl Default for Stack {
    fn default() -> Self {
        Self {
            last: None,
            ns: 0,
            since: 0,
            open: Vec::new(),
            keyed: Vec::new(),
            lanes: Vec::new(),
            nest: Nest::of(REMEMBERED),
        }
    }
}

impl Stack {
    /// How many slices are open.
    pub fn opens(&self) -> usize {
        self.open.len() + self.keyed.len()
    }

    /// Makes room for one more of everything.
    #[inline]
    pub fn reserve(&mut self) -> Result<(), Failure> {
        self.open
            .try_reserve(1)
            .and_then(|()| self.keyed.try_reserve(1))
            .and_then(|()| self.lanes.try_reserve(1))
            .and_then(|()| self.nest.reserve())
            .map_err(|_| Failure::no_memory())
    }

    fn copy(&mut self, other: &Self) -> Result<(), Failure> {
        fn list<T: Clone>(to: &mut Vec<T>, from: &[T]) -> Result<(), Failure> {
            to.clear();
            to.try_reserve(from.len()).map_err(|_| Failure::no_memory())?;
            to.extend_from_slice(from);
            Ok(())
        }
        (self.last, self.ns, self.since) = (other.last, other.ns, other.since);
        list(&mut self.open, &other.open)?;
        list(&mut self.keyed, &other.keyed)?;
        list(&mut self.lanes, &other.lanes)?;
        self.nest.copy(&other.nest).map_err(|_| Failure::no_memory())
    }
}

/// A ring.
#[derive(Debug)]
pub(super) struct Ring {
    pub id: u64,
    /// The number of its thread's track, and its own: that of the thread, unless it is the ring of its priority events.
    pub thread: u64,
    pub uuid: u64,
    /// `None`: it is no thread's alone.
    pub tid: Option<u64>,
    pub name: Box<[u8]>,
    /// Its row in the file. `None`: it has none yet.
    pub row: Option<usize>,
    /// The number of the batch that it came in last.
    used: u64,
    pub stack: Stack,
}

/// The most rings that are told apart. The one that was not used for the longest time is forgotten for another one.
const MOST: usize = 4_096;
/// So many are forgotten at a time.
const FORGOTTEN: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rings {
    list: Vec<Ring>,
    places: HashMap<u64, usize>,
    /// What the rings of the present batch were before it.
    saved: Vec<(usize, Stack)>,
    /// Stacks to be used for that.
    spare: Vec<Stack>,
    batch: u64,
}

impl Rings {
    /// All of them.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Ring> {
        self.list.iter_mut()
    }

    /// A ring by its place.
    #[inline]
    pub fn get_mut(&mut self, at: usize) -> &mut Ring {
        &mut self.list[at]
    }

    /// How many slices are open.
    pub fn opens(&self) -> usize {
        self.list.iter().map(|ring| ring.stack.opens()).sum()
    }

    /// A batch begins.
    pub fn begin_batch(&mut self) {
        self.batch += 1;
    }

    /// The rings that are to be forgotten, if there are too many: they are the first ones of the list then.
    pub fn old_ones(&mut self) -> &mut [Ring] {
        if self.list.len() < MOST {
            return &mut [];
        }
        self.list.sort_unstable_by_key(|ring| ring.used);
        for (at, ring) in self.list.iter().enumerate() {
            self.places.insert(ring.id, at);
        }
        &mut self.list[..FORGOTTEN]
    }

    /// Forgets them.
    pub fn forget_old_ones(&mut self) {
        if self.list.len() < MOST {
            return;
        }
        self.list.drain(..FORGOTTEN);
        self.places.clear();
        for (at, ring) in self.list.iter().enumerate() {
            self.places.insert(ring.id, at);
        }
    }

    /// The place of a ring, which is saved for this batch. `None`: it is not known.
    pub fn find(&mut self, id: u64) -> Result<Option<usize>, Failure> {
        let Some(at) = self.places.get(&id).copied() else { return Ok(None) };
        if self.list[at].used != self.batch {
            self.saved.try_reserve(1).map_err(|_| Failure::no_memory())?;
            let mut copy = self.spare.pop().unwrap_or_default();
            copy.copy(&self.list[at].stack)?;
            self.saved.push((at, copy));
            self.list[at].used = self.batch;
        }
        Ok(Some(at))
    }

    /// The ring that has this row.
    pub fn with_row(&self, uuid: u64) -> Option<u64> {
        self.list.iter().find(|ring| ring.uuid == uuid).map(|ring| ring.id)
    }

    /// Adds a ring, whose row has slices of others before `since`.
    pub fn add(
        &mut self,
        id: u64,
        (thread, uuid): (u64, u64),
        tid: Option<u64>,
        name: &[u8],
        since: u64,
    ) -> Result<(), Failure> {
        self.list.try_reserve(1).map_err(|_| Failure::no_memory())?;
        self.places.try_reserve(1).map_err(|_| Failure::no_memory())?;
        let (name, stack) = (name.into(), Stack { since, ..Stack::default() });
        self.places.insert(id, self.list.len());
        // (Not of this batch: it is saved as it is now when it is looked up.)
        self.list.push(Ring { id, thread, uuid, tid, name, row: None, used: 0, stack });
        Ok(())
    }

    /// The batch is written.
    pub fn commit(&mut self) {
        for (_, stack) in self.saved.drain(..) {
            if self.spare.try_reserve(1).is_ok() {
                self.spare.push(stack);
            }
        }
        self.spare.truncate(8);
    }

    /// The batch is not written: all is as it was before.
    pub fn undo(&mut self) {
        while let Some((at, stack)) = self.saved.pop() {
            self.list[at].stack = stack;
        }
        // What comes next is saved again.
        self.batch += 1;
    }
}
