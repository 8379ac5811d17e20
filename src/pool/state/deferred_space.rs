//! Rings that have free space again, but whose waiting captures are not woken yet.

/// So many batches may be settled, for each of these rings, before all captures are woken,
const BATCHES: u32 = 16;
/// and at most so many in all.
const MOST: u32 = 16 * BATCHES;

/// Rings whose captures are told of free space later.
#[derive(Debug, Default)]
pub struct DeferredSpace {
    rings: Vec<usize>,
    /// Batches that may still be settled before the captures are woken; 0 if there are no such rings.
    batches_left: u32,
}

impl DeferredSpace {
    /// The captures of a ring are told later. `false`: there is no memory to remember it.
    pub fn add(&mut self, ring: usize) -> bool {
        if !self.rings.contains(&ring) {
            if self.rings.try_reserve(1).is_err() {
                return false;
            }
            self.rings.push(ring);
            self.batches_left = (self.batches_left + BATCHES).min(MOST);
        }
        true
    }

    /// The captures of a ring are told now.
    pub fn remove(&mut self, ring: usize) {
        self.rings.retain(|&deferred| deferred != ring);
    }

    /// A batch was settled. Returns whether all captures are to be told.
    #[inline]
    pub fn count_batch(&mut self) -> bool {
        self.batches_left = self.batches_left.saturating_sub(1);
        self.batches_left == 0
    }

    /// Takes out a ring whose captures are to be told.
    #[inline]
    pub fn pop(&mut self) -> Option<usize> {
        self.batches_left = 0;
        self.rings.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_told_once_so_many_batches_are_settled() {
        let mut deferred = DeferredSpace::default();
        assert!(deferred.add(4) && deferred.add(7) && deferred.add(4) && deferred.add(9));
        deferred.remove(7);
        let batches = (1..).find(|_| deferred.count_batch());
        assert_eq!(batches, Some(3 * BATCHES));
        assert_eq!([deferred.pop(), deferred.pop(), deferred.pop()], [Some(9), Some(4), None]);
    }
}
