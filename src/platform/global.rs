//! A global value that can be replaced while it is in use.

use super::sync::{AtomicPtr, Ordering};

struct Node<T> {
    value: T,
    /// The node made before it.
    previous: *mut Node<T>,
}

/// A value that may be replaced at any time. Replaced values are never freed, because a thread may still use one. They stay reachable, so that
/// leak checkers in the host do not report them.
pub struct Replaceable<T> {
    current: AtomicPtr<Node<T>>,
    all: AtomicPtr<Node<T>>,
}

impl<T: 'static> Default for Replaceable<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: 'static> Replaceable<T> {
    /// No value.
    pub const fn new() -> Self {
        Self { current: AtomicPtr::new(std::ptr::null_mut()), all: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// The current value, if there is one.
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: nodes are never freed, and never written after they are shared.
        unsafe { self.current.load(Ordering::Acquire).as_ref() }.map(|node| &node.value)
    }

    /// Replaces the value.
    pub fn set(&self, value: Option<T>) {
        let Some(value) = value else {
            return self.current.store(std::ptr::null_mut(), Ordering::Release);
        };
        let node = Box::into_raw(Box::new(Node { value, previous: std::ptr::null_mut() }));
        let mut last = self.all.load(Ordering::Relaxed);
        loop {
            // SAFETY: the node is not shared yet.
            unsafe { (*node).previous = last };
            match self.all.compare_exchange(last, node, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(other) => last = other,
            }
        }
        self.current.store(node, Ordering::Release);
    }
}
