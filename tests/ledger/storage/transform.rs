//! The transform that fails: what it makes of an event follows from the event's number. It notes each event that it is shown, and what it
//! has made of it, so that the storage knows how the event must come.

use super::book::{Fate, Key};
use super::{DIES, Shared, add};
use crate::producers::{Dice, checksum, fill};
use crate::world;
use capture_pipeline::event::EventView;
use capture_pipeline::platform::sync::Ordering;
use capture_pipeline::transform::{
    PIPELINE_TRANSFORM_FILTER, PIPELINE_TRANSFORM_KEEP, PIPELINE_TRANSFORM_REWRITE, Rewrite, Transform,
};
use std::sync::Arc;

/// What a transform has made of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// Nothing, whatever it has answered.
    Kept,
    Filtered,
    Rewritten,
}

/// The length of the new payload of an event.
pub fn rewritten_len(number: u64, most: usize) -> usize {
    let mut dice = Dice(number ^ 0x1E46);
    (if dice.once_in(3) { dice.below(2_000) } else { dice.below(60) } as usize).min(most)
}

/// Counts that a transform is dropped.
struct Held(Arc<Shared>);

impl Drop for Held {
    fn drop(&mut self) {
        let inside = self.0.tally.transforming.load(Ordering::Acquire);
        let others = self.0.tally.transforms.load(Ordering::Acquire)
            - self.0.tally.transforms_dropped.fetch_add(1, Ordering::AcqRel);
        self.0.must(others > 1 || inside == 0, || "the last transform was dropped during a call".to_owned());
    }
}

/// Another transform. `end` is called with what it answers, which may be [`DIES`]. It may end its thread if `by_c`, or else panic.
pub fn transform(shared: &Arc<Shared>, by_c: bool, end: fn(i32) -> i32) -> Transform {
    add(&shared.tally.transforms);
    let held = Held(Arc::clone(shared));
    if by_c {
        return Transform::plain(Box::new(move |event, rewrite| {
            let held = &held;
            Some(end(held.0.transform(event, rewrite)))
        }));
    }
    Transform::new(move |event, rewrite| {
        let held = &held;
        end(held.0.transform(event, rewrite))
    })
}

impl Shared {
    /// What the transform makes of an event: its answer, or [`DIES`].
    fn transform(&self, event: &EventView, rewrite: &mut Rewrite) -> i32 {
        self.enter();
        add(&self.tally.transforming);
        let key = (event.ring_id, event.sequence);
        let entry = self.inspect(event);
        let number = entry.number;
        self.must(!entry.rewritten, || format!("{key:?} was rewritten before the transform"));
        let mut dice = Dice(self.settings.seed ^ number << 8 ^ 0x7EA5F);
        let well = self.is_well() || self.settings.calm;
        if !well && dice.once_in(500) {
            add(&self.tally.late);
            world::sleep(self.settings.deadline * 2);
        }
        if self.fault(&mut dice) && dice.once_in(8) {
            self.hang(&mut dice);
        }
        let dies = self.fault(&mut dice) && dice.once_in(4);
        let (made, answer) = match dice.below(12) {
            _ if well => (Made::Kept, PIPELINE_TRANSFORM_KEEP),
            _ if dies => (Made::Kept, DIES),
            0 | 1 => (Made::Filtered, PIPELINE_TRANSFORM_FILTER),
            2..6 => {
                let len = rewritten_len(number, rewrite.scratch_len);
                let mut payload = vec![0; len];
                fill(!number, &mut payload);
                if !self.settings.traces {
                    rewrite.node_id = checksum(&payload);
                }
                // SAFETY: the library has given so many bytes.
                unsafe { std::ptr::copy(payload.as_ptr(), rewrite.scratch.cast(), len) };
                (rewrite.data, rewrite.len) = (rewrite.scratch, len);
                (Made::Rewritten, PIPELINE_TRANSFORM_REWRITE)
            }
            6 if dice.once_in(4) => {
                rewrite.len = rewrite.scratch_len + 1;
                (Made::Kept, if dice.once_in(2) { PIPELINE_TRANSFORM_REWRITE } else { 77 })
            }
            _ => (Made::Kept, PIPELINE_TRANSFORM_KEEP),
        };
        let nonsense = made == Made::Kept && answer != PIPELINE_TRANSFORM_KEEP;
        {
            let book = &mut *self.book.lock();
            let before = book.made.insert(key, made);
            self.must(before.is_none(), || {
                format!("{key:?} came to a transform again: {before:?}, {made:?}")
            });
            self.must(!book.events.contains_key(&key), || format!("{key:?} came to a transform too late"));
            book.transform_faults += u64::from(nonsense);
            if made == Made::Filtered {
                let mut entry = entry;
                entry.fate = Some(Fate::Filtered);
                book.events.insert(key, entry);
            }
        }
        if dies {
            add(&self.tally.deaths);
        }
        self.tally.transforming.fetch_sub(1, Ordering::AcqRel);
        self.leave();
        answer
    }

    /// Whether an event comes as a transform has made it.
    pub(super) fn check_made(&self, made: Option<&Made>, key: Key, rewritten: bool) {
        self.must((made == Some(&Made::Rewritten)) == rewritten && made != Some(&Made::Filtered), || {
            format!("{key:?} is shown as rewritten: {rewritten}; the transform has made it {made:?}")
        });
    }

    /// Every transform was dropped, once.
    pub fn check_transforms(&self) -> Result<(), String> {
        let made = self.tally.transforms.load(Ordering::Acquire);
        let dropped = self.tally.transforms_dropped.load(Ordering::Acquire);
        if made == dropped { Ok(()) } else { Err(format!("{dropped} of {made} transforms were dropped")) }
    }
}
