//! The writers of a pool: how many there are, should be, and are busy with what.

use super::writer::{Doing, Gather, Writer};
use crate::platform::memory;
use crate::status::Result;
use crate::storage::WriterData;
use std::ffi::c_void;
use std::ops::Deref;

/// Another writer is not woken for calls of the storage that are shorter than this on average.
const QUICK_CALL_NS: u64 = 20_000;

/// The counts of writers, for all to read; [`Writers`] alone changes them.
#[derive(Debug, Default)]
pub struct Busy {
    /// Writers that look for work, or are about to.
    pub searching: u32,
    /// Writers asleep.
    pub sleeping: u32,
    /// Writers in a call of `store`, `flush`, `dead_letter`, `release` or `finish`.
    pub calling: u32,
    /// A moving average of the length of calls.
    pub call_average_ns: u64,
    /// The same from the begin of a call to the answer, which may be pending meanwhile.
    pub answer_average_ns: u64,
    /// Time that all writers together have spent in calls that came back.
    pub calls_ns: u64,
}

/// The writers of a pool.
#[derive(Debug, Default)]
pub struct Writers {
    /// Writers that there should be.
    pub target: u32,
    busy: Busy,
    /// All of them, those included that were told to end.
    pub list: Vec<Writer>,
    /// Writers that died since a call last came back.
    pub deaths_in_a_row: u32,
    /// Times in a row that the supervisor could not start a writer.
    pub start_failures: u32,
}

impl Deref for Writers {
    type Target = Busy;
    #[inline]
    fn deref(&self) -> &Busy {
        &self.busy
    }
}

impl Writers {
    /// No writer yet; so many are to start.
    pub fn new(target: u32) -> Self {
        Self { target, ..Self::default() }
    }

    /// The writer with this id.
    #[inline]
    pub fn get(&mut self, id: u32) -> Option<&mut Writer> {
        self.list.iter_mut().find(|w| w.id == id)
    }

    /// Whether a writer was told to end.
    pub fn is_leaving(&self, id: u32) -> bool {
        self.list.iter().any(|w| w.id == id && w.leaving)
    }

    /// Whether a writer lets events gather before it claims again.
    #[inline]
    pub fn gathers(&self, id: u32, now_ns: u64) -> bool {
        self.list.iter().any(|w| w.id == id && matches!(w.gather, Gather::Until(until) if until > now_ns))
    }

    /// The `writer_data` of a writer, unless it is not open, is to end, or is stuck.
    pub fn data_of(&mut self, id: u32) -> Option<WriterData> {
        self.get(id).filter(|w| w.opened && !w.leaving && !w.stuck).map(|w| w.data)
    }

    /// Writers that are not leaving.
    pub fn live(&self) -> u32 {
        self.count(|w| !w.leaving)
    }

    /// Writers that are there to work: not leaving, not stuck.
    pub fn staying(&self) -> u32 {
        self.count(|w| !w.leaving && !w.stuck)
    }

    /// Writers that are stuck in a call, and were not told to end.
    pub fn stuck(&self) -> u32 {
        self.count(|w| w.stuck && !w.leaving)
    }

    /// Writers that are stuck in a call without a batch, and were not told to end.
    pub fn stuck_without_batch(&self) -> u32 {
        self.count(|w| w.stuck && !w.leaving && w.slot.is_none())
    }

    /// Writers in a call that is not with a priority batch. Those that are stuck do not count, as others take their places.
    pub fn calling_ordinary(&self) -> u32 {
        self.count(|w| w.is_calling() && !w.priority && !w.leaving && !w.stuck)
    }

    fn count(&self, counts: impl Fn(&Writer) -> bool) -> u32 {
        self.list.iter().filter(|w| counts(w)).count() as u32
    }

    /// Whether another `flush` may begin. While one is stuck, another begins only if its writer could be replaced as well. So one writer
    /// is always left to store events, however many flushes are asked for.
    pub fn may_flush(&self, most_stuck: u32) -> bool {
        let stuck = |w: &Writer| w.stuck && w.slot.is_none() && w.function(None) == "flush";
        !self.list.iter().any(stuck) || self.stuck_without_batch() < most_stuck
    }

    // ---- their number ----

    /// Makes room for one more writer. Returns its id, the lowest that is free. An error if there is no memory.
    pub fn reserve(&mut self) -> Result<u32> {
        if self.list.try_reserve(1).is_err() {
            return Err(memory::refused(size_of::<Writer>()));
        }
        Ok((0..).find(|id| self.list.iter().all(|w| w.id != *id)).unwrap_or(0))
    }

    /// A writer whose thread is about to start; it opens itself not before that time.
    pub fn add(&mut self, id: u32, start: *mut c_void, not_before: u64) {
        self.list.push(Writer::new(id, start, not_before));
    }

    /// A writer has ended.
    pub fn remove(&mut self, id: u32) -> Option<Writer> {
        self.set_doing(id, Doing::Opening(0));
        let at = self.list.iter().position(|w| w.id == id)?;
        Some(self.list.remove(at))
    }

    /// Tells writers to end until so many stay: idle ones first, as they can end at once.
    pub fn dismiss_down_to(&mut self, writers: u32) {
        let mut surplus = self.staying().saturating_sub(writers);
        for idle in [true, false] {
            for w in self.list.iter_mut().rev() {
                if surplus > 0 && !w.leaving && !w.stuck && w.is_calling() != idle {
                    w.leaving = true;
                    surplus -= 1;
                }
            }
        }
    }

    /// Tells every writer to end.
    pub fn dismiss_all(&mut self) {
        self.list.iter_mut().for_each(|w| w.leaving = true);
    }

    // ---- what they do ----

    /// Notes what a writer does from now on.
    #[inline]
    pub fn set_doing(&mut self, id: u32, doing: Doing) {
        let Some(writer) = self.list.iter_mut().find(|w| w.id == id) else { return };
        let before = std::mem::replace(&mut writer.doing, doing);
        if let Some(count) = self.count_of(before) {
            *count -= 1;
        }
        if let Some(count) = self.count_of(doing) {
            *count += 1;
        }
    }

    #[inline]
    fn count_of(&mut self, doing: Doing) -> Option<&mut u32> {
        match doing {
            Doing::Searching => Some(&mut self.busy.searching),
            Doing::Asleep => Some(&mut self.busy.sleeping),
            Doing::Calling(_) => Some(&mut self.busy.calling),
            Doing::Opening(_) | Doing::Entering(_) | Doing::Ending(_) => None,
        }
    }

    /// A writer has come back from its call, and looks for work. `wanted`: how many writers there must be.
    #[inline]
    pub fn returned(&mut self, id: u32, wanted: u32, now_ns: u64) {
        self.deaths_in_a_row = 0;
        if let Some(w) = self.list.iter_mut().find(|w| w.id == id) {
            w.slot = None;
            if let Doing::Calling(since) = w.doing {
                let took = now_ns.saturating_sub(since);
                w.call_ns += took;
                self.busy.calls_ns += took;
                self.busy.call_average_ns = (self.busy.call_average_ns * 7 + took) / 8;
            }
        }
        self.no_longer_stuck(id, wanted);
        self.set_doing(id, Doing::Searching);
    }

    /// A call has come back. If it was stuck, another writer may have taken its place: then this one ends.
    pub fn no_longer_stuck(&mut self, id: u32, wanted: u32) {
        let was_stuck = self.get(id).is_some_and(|w| std::mem::take(&mut w.stuck));
        if was_stuck
            && self.staying() > wanted
            && let Some(w) = self.get(id)
        {
            w.leaving = true;
        }
    }

    /// The writer that is in a call with the batch in this slot is stuck from here on.
    pub fn mark_stuck_with(&mut self, slot: usize) -> Option<u32> {
        let w = self.list.iter_mut().find(|w| w.slot == Some(slot) && w.is_calling())?;
        w.stuck = true;
        Some(w.id)
    }

    // ---- how long calls take ----

    /// An attempt was answered, so long after it began.
    #[inline]
    pub fn note_answer(&mut self, took_ns: u64) {
        self.busy.answer_average_ns = (self.answer_average_ns * 7 + took_ns) / 8;
    }

    /// Whether calls are so short that waking a thread would take longer.
    #[inline]
    pub fn calls_are_quick(&self) -> bool {
        self.call_average_ns < QUICK_CALL_NS
    }

    /// The same of the time to the answer, which may be pending after the call.
    #[inline]
    pub fn answers_are_quick(&self) -> bool {
        self.call_average_ns.max(self.answer_average_ns) < QUICK_CALL_NS
    }

    /// What all writers together have spent in calls up to now. Those that are stuck are no longer counted.
    pub fn time_in_calls(&self, now_ns: u64) -> u64 {
        let running = self.list.iter().filter(|w| !w.stuck).map(|w| match w.doing {
            Doing::Calling(since) => now_ns.saturating_sub(since),
            _ => 0,
        });
        self.calls_ns + running.sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(doing: &[Doing]) -> Writers {
        let mut writers = Writers::default();
        for (id, &doing) in (0..).zip(doing) {
            writers.add(id, std::ptr::null_mut(), 0);
            writers.set_doing(id, doing);
        }
        writers
    }

    #[test]
    fn a_writer_is_counted_under_what_it_does() {
        let mut w = of(&[Doing::Searching, Doing::Asleep, Doing::Calling(5), Doing::Calling(7)]);
        assert_eq!((w.searching, w.sleeping, w.calling), (1, 1, 2));
        w.returned(2, 4, 9);
        assert_eq!((w.searching, w.sleeping, w.calling), (2, 1, 1));
        assert_eq!((w.get(2).unwrap().call_ns, w.time_in_calls(10)), (4, 4 + 3));
        assert!(w.remove(3).is_some() && w.remove(3).is_none());
        assert_eq!((w.calling, w.live()), (0, 3));
        assert_eq!(w.reserve().unwrap(), 3);
    }

    #[test]
    fn idle_writers_are_told_to_end_before_those_in_a_call() {
        let mut w = of(&[Doing::Searching, Doing::Calling(0), Doing::Asleep, Doing::Calling(0)]);
        w.dismiss_down_to(1);
        assert_eq!(w.list.iter().map(|w| w.leaving).collect::<Vec<_>>(), [true, false, true, true]);
    }

    #[test]
    fn a_stuck_writer_that_comes_back_ends_if_another_has_taken_its_place() {
        for (wanted, ends) in [(1, true), (2, false)] {
            let mut w = of(&[Doing::Calling(0), Doing::Searching]);
            w.get(0).unwrap().slot = Some(3);
            assert_eq!((w.mark_stuck_with(4), w.mark_stuck_with(3), w.staying()), (None, Some(0), 1));
            w.returned(0, wanted, 1);
            assert_eq!((w.is_leaving(0), w.stuck()), (ends, 0));
        }
    }
}
