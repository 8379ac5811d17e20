//! Finds pairs of begins and ends: by thread, kind and key, in the order of time.
//!
//! An end belongs to the begin of its thread and kind that is open and came last. With a key the keys must be equal as well. By which ring an event came
//! does not matter. There is a bound on the begins that are open. Past it, the oldest one is given up; if it has no key, all of its thread without a key are,
//! because they lie within it.

use std::collections::{HashMap, VecDeque};

/// What tells a pair from others of its kind. Numbers and short texts are exact, longer texts are hashed.
pub type Key = u128;

/// A begin whose end has not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open<D> {
    /// The thread.
    pub thread: usize,
    /// The number of the kind that begins.
    pub kind: u32,
    /// The key. `None`: the kind has no keys.
    pub key: Option<Key>,
    /// Whatever belongs to it.
    pub data: D,
    /// Its number in the order of all begins.
    serial: u64,
}

/// What an end has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended<D> {
    /// The begin.
    pub open: Open<D>,
    /// How many begins without a key came later in its thread and are still open, if it has no key itself: their ends will cross it.
    pub crossed: usize,
}

/// The begins that are open.
#[derive(Debug)]
pub struct Pairs<D> {
    most: usize,
    count: usize,
    serial: u64,
    /// Those without a key, of each thread, in their order.
    nested: Vec<Nested<D>>,
    /// Those with a key, in their order.
    keyed: HashMap<(usize, u32, Key), Vec<Open<D>>>,
    /// All of them, and some that are not open any more, in their order.
    order: VecDeque<Place>,
}

/// Where an open begin is to be found.
#[derive(Clone, Copy, Debug)]
struct Place {
    serial: u64,
    thread: usize,
    kind: u32,
    key: Option<Key>,
}

#[derive(Debug)]
struct Nested<D> {
    open: Vec<Open<D>>,
    /// How many there are of each kind.
    kinds: Vec<(u32, usize)>,
}

impl<D> Default for Nested<D> {
    fn default() -> Self {
        Self { open: Vec::new(), kinds: Vec::new() }
    }
}

impl<D> Nested<D> {
    fn count(&mut self, kind: u32) -> Option<&mut usize> {
        self.kinds.iter_mut().find(|(of, _)| *of == kind).map(|(_, count)| count)
    }
}

impl<D> Pairs<D> {
    /// At most so many are open, at least 1.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            count: 0,
            serial: 0,
            nested: Vec::new(),
            keyed: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// How many are open.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.count
    }

    /// Makes room for one more begin. Answers those that are given up for it, the innermost first.
    #[inline]
    pub fn make_room(&mut self) -> Vec<Open<D>> {
        if self.count >= self.most { self.give_up() } else { Vec::new() }
    }

    /// Something begins. There must be [room](Self::make_room).
    #[inline]
    pub fn begin(&mut self, thread: usize, kind: u32, key: Option<Key>, data: D) {
        let serial = self.serial;
        self.serial += 1;
        self.count += 1;
        let open = Open { thread, kind, key, data, serial };
        match key {
            Some(key) => self.keyed.entry((thread, kind, key)).or_default().push(open),
            None => {
                if self.nested.len() <= thread {
                    self.nested.resize_with(thread + 1, Nested::default);
                }
                let nested = &mut self.nested[thread];
                nested.open.push(open);
                match nested.count(kind) {
                    Some(count) => *count += 1,
                    None => nested.kinds.push((kind, 1)),
                }
            }
        }
        self.order.push_back(Place { serial, thread, kind, key });
        if self.order.len() > 2 * self.most + 64 {
            self.forget_ended();
        }
    }

    /// Something ends, whose begin has this kind. `None`: there is no such begin.
    #[inline]
    pub fn end(&mut self, thread: usize, kind: u32, key: Option<Key>) -> Option<Ended<D>> {
        let Some(key) = key else {
            let nested = self.nested.get_mut(thread)?;
            let count = nested.count(kind).filter(|count| **count > 0)?;
            *count -= 1;
            let at = nested.open.iter().rposition(|open| open.kind == kind)?;
            let crossed = nested.open.len() - 1 - at;
            self.count -= 1;
            return Some(Ended { open: nested.open.remove(at), crossed });
        };
        let all = self.keyed.get_mut(&(thread, kind, key))?;
        let open = all.pop()?;
        if all.is_empty() {
            self.keyed.remove(&(thread, kind, key));
        }
        self.count -= 1;
        Some(Ended { open, crossed: 0 })
    }

    /// The last `count` begins without a key of a thread, in their order.
    pub fn last(&mut self, thread: usize, count: usize) -> &mut [Open<D>] {
        let Some(nested) = self.nested.get_mut(thread) else { return &mut [] };
        let from = nested.open.len().saturating_sub(count);
        &mut nested.open[from..]
    }

    /// All that are open, in their order.
    pub fn all(&mut self) -> Vec<&mut Open<D>> {
        let nested = self.nested.iter_mut().flat_map(|nested| &mut nested.open);
        let mut all: Vec<_> = nested.chain(self.keyed.values_mut().flatten()).collect();
        all.sort_unstable_by_key(|open| open.serial);
        all
    }

    /// Gives up all begins of a thread, the innermost first.
    pub fn cut(&mut self, thread: usize) -> Vec<Open<D>> {
        let mut cut = self.cut_nested(thread);
        if !self.keyed.is_empty() {
            let of_thread: Vec<_> = self.keyed.keys().filter(|key| key.0 == thread).copied().collect();
            cut.extend(of_thread.iter().filter_map(|key| self.keyed.remove(key)).flatten());
            cut.sort_unstable_by_key(|open| std::cmp::Reverse(open.serial));
        }
        self.count = self.count_all();
        cut
    }

    fn cut_nested(&mut self, thread: usize) -> Vec<Open<D>> {
        let nested = self.nested.get_mut(thread).map(std::mem::take).unwrap_or_default();
        nested.open.into_iter().rev().collect()
    }

    fn count_all(&self) -> usize {
        let nested: usize = self.nested.iter().map(|nested| nested.open.len()).sum();
        nested + self.keyed.values().map(Vec::len).sum::<usize>()
    }

    /// Whether a begin is open.
    fn is_open(&self, place: &Place) -> bool {
        let all = match place.key {
            Some(key) => self.keyed.get(&(place.thread, place.kind, key)),
            None => self.nested.get(place.thread).map(|nested| &nested.open),
        };
        all.is_some_and(|all| all.binary_search_by_key(&place.serial, |open| open.serial).is_ok())
    }

    #[cold]
    fn forget_ended(&mut self) {
        let order = std::mem::take(&mut self.order);
        self.order = order.into_iter().filter(|place| self.is_open(place)).collect();
    }

    /// Gives up the oldest one.
    #[cold]
    fn give_up(&mut self) -> Vec<Open<D>> {
        while let Some(place) = self.order.pop_front() {
            if !self.is_open(&place) {
                continue;
            }
            let Some(key) = place.key else {
                let given_up = self.cut_nested(place.thread);
                self.count -= given_up.len();
                return given_up;
            };
            let key = (place.thread, place.kind, key);
            let Some(all) = self.keyed.get_mut(&key) else { continue };
            let oldest = all.remove(0);
            if all.is_empty() {
                self.keyed.remove(&key);
            }
            self.count -= 1;
            return vec![oldest];
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
