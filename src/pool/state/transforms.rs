//! The transform of a pool, and those before it that batches still need.

use crate::transform::Transform;
use std::sync::Arc;

/// See the head of the file. Every transform that a batch has is in here as well, so that no batch drops the last reference: the program's
/// `destroy` must not be called under the pool's lock.
#[derive(Debug, Default)]
pub struct Transforms {
    current: Option<Arc<Transform>>,
    former: Vec<Arc<Transform>>,
    /// Events rewritten.
    pub rewritten: u64,
}

impl Transforms {
    /// The one that batches get from now on.
    #[inline]
    pub fn current(&self) -> Option<&Arc<Transform>> {
        self.current.as_ref()
    }

    /// Batches get another one from now on. Returns one that nobody needs any more, to be dropped without the lock.
    pub fn replace(&mut self, by: Option<Arc<Transform>>) -> Option<Arc<Transform>> {
        let former = std::mem::replace(&mut self.current, by)?;
        if Arc::strong_count(&former) == 1 {
            return Some(former);
        }
        self.former.push(former);
        None
    }

    /// Takes out a former one that no batch has any more, to be dropped without the lock.
    #[inline]
    pub fn take_unused(&mut self) -> Option<Arc<Transform>> {
        if self.former.is_empty() {
            return None;
        }
        let at = self.former.iter().position(|former| Arc::strong_count(former) == 1)?;
        Some(self.former.swap_remove(at))
    }

    /// Takes all of them out, when no batch is claimed or transformed any more.
    pub fn take_all(&mut self) -> (Option<Arc<Transform>>, Vec<Arc<Transform>>) {
        (self.current.take(), std::mem::take(&mut self.former))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transform_is_given_back_when_no_batch_has_it_any_more() {
        let mut all = Transforms::default();
        let [first, second] = [0, 1].map(|_| Arc::new(Transform::new(|_, _| 0)));
        let ends = [Arc::downgrade(&first), Arc::downgrade(&second)];
        assert!(all.replace(Some(first)).is_none());
        let batch = all.current().cloned();
        assert!(all.replace(Some(second)).is_none(), "a batch has it");
        assert!(all.take_unused().is_none());
        drop(batch);
        assert!(ends[0].upgrade().is_some());
        drop(all.take_unused().expect("no batch has it"));
        assert!(ends[0].upgrade().is_none() && all.take_unused().is_none());
        drop(all.replace(None).expect("no batch has it"));
        assert!(ends[1].upgrade().is_none() && all.current().is_none());
    }
}
