//! The events in the order of time, over all rings and segments.
//!
//! A stretch is loaded when the time of its first event has come, and leaves when its last event was given. So there is one stretch for each ring at a time, or a few where
//! writers wrote at once. Where these take more memory than there is, [`passes`](super::passes) take over for a while.

use super::core::{Core, Part, no_memory};
use super::passes::{MERGING, Pass, collect};
use super::place::Key;
use super::stretch::Stretch;
use crate::status::Result;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// See the module.
#[derive(Debug)]
pub(super) struct Merge {
    /// The loaded stretches, and unused ones.
    slots: Vec<Slot>,
    unused: Vec<usize>,
    /// The next event of each loaded stretch but the current one.
    heads: BinaryHeap<Reverse<(Key, usize)>>,
    /// The stretch that gives events.
    current: Option<usize>,
    /// Events of the current stretch before this time come before all others.
    limit: u64,
    memory: u64,
    budget: u64,
    /// What is left for another pass.
    pass: Option<Pass>,
    /// A block that is loaded only while its event is given.
    large: Stretch,
    in_large: bool,
}

#[derive(Debug, Default)]
struct Slot {
    stretch: Stretch,
    /// The position in the index. `None`: it was collected by a pass.
    position: Option<usize>,
    memory: u64,
}

/// Larger buffers are not kept for the next stretch.
const KEEP: usize = 512 << 10;
/// The most unused buffers.
const MAX_UNUSED: usize = 16;

impl Merge {
    /// The loaded stretches take at most `budget` bytes, or there is only one.
    pub fn new(budget: u64) -> Self {
        Self {
            slots: Vec::new(),
            unused: Vec::new(),
            heads: BinaryHeap::new(),
            current: None,
            limit: 0,
            memory: 0,
            budget,
            pass: None,
            large: Stretch::default(),
            in_large: false,
        }
    }

    /// The stretch of the current event.
    #[inline]
    pub fn stretch(&self) -> Option<&Stretch> {
        if self.in_large { Some(&self.large) } else { Some(&self.slots.get(self.current?)?.stretch) }
    }

    /// Goes to the next event. `false`: there is none.
    #[inline]
    pub fn advance(&mut self, core: &mut Core) -> Result<bool> {
        if let Some(slot) = self.current.and_then(|current| self.slots.get_mut(current))
            && slot.stretch.go_on_before(self.limit)
        {
            return Ok(true);
        }
        self.choose(core)
    }

    /// As [`advance`](Self::advance), as long as nothing must be loaded and no stretch leaves.
    pub fn advance_loaded(&mut self, core: &Core) -> bool {
        let Some(current) = self.current.filter(|_| !self.in_large) else { return false };
        let Some(slot) = self.slots.get_mut(current) else { return false };
        if slot.stretch.go_on_before(self.limit) {
            return true;
        }
        let Some(head) = slot.stretch.head() else { return false };
        let first = self.heads.peek().map_or(head, |Reverse((other, _))| head.min(*other));
        let waiting = core.index.places.get(core.index.next).map_or(u64::MAX, |place| place.first);
        if waiting <= first.time {
            return false;
        }
        self.current = self.take_first(Some((head, current)));
        let Some(slot) = self.current.and_then(|current| self.slots.get_mut(current)) else { return false };
        if slot.stretch.elsewhere().is_some() {
            self.limit = 0;
            return false;
        }
        let others = self.heads.peek().map_or(u64::MAX, |Reverse((key, _))| key.time);
        self.limit = if slot.position.is_some() { others.min(waiting) } else { 0 };
        slot.stretch.go_on()
    }

    /// Goes to the next event, of whichever stretch.
    fn choose(&mut self, core: &mut Core) -> Result<bool> {
        if self.in_large {
            self.in_large = false;
            self.large.clear();
            self.large.shrink(KEEP);
        }
        loop {
            let head =
                self.current.and_then(|current| Some((self.slots.get(current)?.stretch.head()?, current)));
            if let (None, Some(ended)) = (head, self.current.take()) {
                self.close(ended);
            }
            let first = match (head, self.heads.peek()) {
                (Some((a, _)), Some(Reverse((b, _)))) => Some(a.min(*b)),
                (a, b) => a.map(|(key, _)| key).or(b.map(|Reverse((key, _))| *key)),
            };
            let waiting = core.index.places.get(core.index.next).map(|place| place.first);
            if let Some(time) = waiting
                && first.is_none_or(|first| time <= first.time)
                && (first.is_some() || self.pass.is_none())
            {
                // It may come before the current one.
                if let Err(error) = self.make_room() {
                    self.current = head.map(|(_, slot)| slot);
                    return Err(error);
                }
                self.heads.extend(head.map(Reverse));
                self.open_next(core)?;
                continue;
            }
            if first.is_none() {
                let Some(pass) = self.pass.take() else { return Ok(false) };
                self.go_on_with(pass, core)?;
                continue;
            }
            self.current = self.take_first(head);
            let others = self.heads.peek().map(|Reverse((key, _))| key.time);
            self.limit = others.unwrap_or(u64::MAX).min(waiting.unwrap_or(u64::MAX));
            if self.give(core)? {
                return Ok(true);
            }
        }
    }

    /// The stretch with the first event: of the current one, whose next event is `head`, and the others.
    fn take_first(&mut self, head: Option<(Key, usize)>) -> Option<usize> {
        let Some(head) = head else { return self.heads.pop().map(|Reverse((_, slot))| slot) };
        let Some(mut other) = self.heads.peek_mut() else { return Some(head.1) };
        if head < other.0 {
            return Some(head.1);
        }
        let Reverse((_, slot)) = std::mem::replace(&mut *other, Reverse(head));
        Some(slot)
    }

    /// Goes to the next event of the current stretch. `false`: it cannot be read.
    fn give(&mut self, core: &mut Core) -> Result<bool> {
        let Some(slot) = self.current.and_then(|current| self.slots.get_mut(current)) else {
            return Ok(false);
        };
        if let Some(position) = slot.stretch.elsewhere() {
            core.load(position, &mut self.large, Part::default())?;
            slot.stretch.go_on();
            self.in_large = self.large.go_on();
            self.limit = 0;
            return Ok(self.in_large);
        }
        if slot.position.is_none() {
            self.limit = 0;
        }
        Ok(slot.stretch.go_on())
    }

    /// Loads the next stretch of the index. If there is not enough memory for it, a pass takes the place of those that are loaded.
    fn open_next(&mut self, core: &mut Core) -> Result<()> {
        let position = core.index.next;
        let Some(place) = core.index.places.get(position) else { return Ok(()) };
        let loaded = || self.heads.iter().filter_map(|Reverse((_, slot))| self.slots.get(*slot)?.position);
        if self.memory.saturating_add(place.memory_loaded()) > self.budget
            && loaded().count() == self.heads.len()
            && let Some(Reverse((from, _))) = self.heads.peek().copied()
        {
            let mut positions = Vec::new();
            positions.try_reserve_exact(self.heads.len()).map_err(|_| no_memory(MERGING))?;
            positions.extend(loaded());
            self.close_all();
            return self.go_through(Pass { positions, from }, core);
        }
        self.open(position, Part { sorted: true, ..Part::default() }, core)?;
        core.index.next += 1;
        Ok(())
    }

    /// Makes room for one more stretch in all lists.
    fn make_room(&mut self) -> Result<()> {
        // All slots may be unused at once.
        let unused = (self.slots.len() + 1).saturating_sub(self.unused.len());
        let reserved = self.slots.try_reserve(1).is_ok()
            && self.unused.try_reserve(unused).is_ok()
            && self.heads.try_reserve(2).is_ok();
        if reserved { Ok(()) } else { Err(no_memory(MERGING)) }
    }

    /// Loads the stretch at a position of the index.
    fn open(&mut self, position: usize, part: Part, core: &mut Core) -> Result<()> {
        self.make_room()?;
        let number = self.unused.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let memory = core.index.places.get(position).map_or(0, |place| place.memory_loaded());
        let Some(slot) = self.slots.get_mut(number) else { return Ok(()) };
        let loaded = core.load(position, &mut slot.stretch, part);
        slot.position = Some(position);
        slot.memory = memory;
        self.memory += memory;
        match slot.stretch.head() {
            Some(key) if loaded.is_ok() => self.heads.push(Reverse((key, number))),
            _ => self.close(number),
        }
        loaded
    }

    fn close(&mut self, number: usize) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        self.memory -= slot.memory;
        slot.memory = 0;
        slot.stretch.clear();
        slot.stretch.shrink(if self.unused.len() < MAX_UNUSED { KEEP } else { 0 });
        self.unused.push(number);
    }

    fn close_all(&mut self) {
        while let Some(Reverse((_, slot))) = self.heads.pop() {
            self.close(slot);
        }
    }

    /// Goes on after a pass: with the stretches themselves if there is enough memory for them now, or with another pass.
    fn go_on_with(&mut self, pass: Pass, core: &mut Core) -> Result<()> {
        let memory =
            |&position: &usize| core.index.places.get(position).map_or(0, |place| place.memory_loaded());
        let needed = pass.positions.iter().map(memory).fold(0, u64::saturating_add);
        if needed > self.budget / 2 && pass.positions.len() > 1 {
            return self.go_through(pass, core);
        }
        let part = Part { from: Some(pass.from), sorted: true, ..Part::default() };
        for &position in &pass.positions {
            if let Err(error) = self.open(position, part, core) {
                // The call may be made again.
                self.close_all();
                self.pass = Some(pass);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes a pass: its events become the only stretch.
    fn go_through(&mut self, pass: Pass, core: &mut Core) -> Result<()> {
        if let Err(error) = self.make_room() {
            self.pass = Some(pass);
            return Err(error);
        }
        let number = self.unused.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let Some(slot) = self.slots.get_mut(number) else { return Ok(()) };
        slot.position = None;
        let most = usize::try_from(self.budget / 3).unwrap_or(usize::MAX);
        match collect(&pass, most, core, &mut slot.stretch) {
            Ok(rest) => self.pass = rest,
            Err(error) => {
                self.close(number);
                self.pass = Some(pass);
                return Err(error);
            }
        }
        match slot.stretch.head() {
            Some(key) => self.heads.push(Reverse((key, number))),
            None => self.close(number),
        }
        Ok(())
    }
}
