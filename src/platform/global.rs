//! A global value that can be replaced while others are using it.

use super::sync::{AtomicPtr, Ordering};

struct Node<T> {
    value: T,
    /// The one made before it.
    before: *mut Node<T>,
}

/// A value that may be replaced at any time. Those before it stay for ever, as somebody may be in the middle of using one; they
/// stay reachable too, so that a host that looks for leaks is not shown any.
pub struct Replaceable<T> {
    now: AtomicPtr<Node<T>>,
    all: AtomicPtr<Node<T>>,
}

impl<T: 'static> Replaceable<T> {
    /// No value.
    #[allow(clippy::new_without_default)] // a const fn, for statics
    pub const fn new() -> Self {
        Self { now: AtomicPtr::new(std::ptr::null_mut()), all: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// The present value, if there is one.
    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: nodes are never freed, and not written after they are shared.
        unsafe { self.now.load(Ordering::Acquire).as_ref() }.map(|node| &node.value)
    }

    /// Puts another value in its place, or none.
    pub fn set(&self, value: Option<T>) {
        let Some(value) = value else {
            return self.now.store(std::ptr::null_mut(), Ordering::Release);
        };
        let node = Box::into_raw(Box::new(Node { value, before: std::ptr::null_mut() }));
        let mut last = self.all.load(Ordering::Relaxed);
        loop {
            // SAFETY: not shared yet.
            unsafe { (*node).before = last };
            match self.all.compare_exchange(last, node, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(other) => last = other,
            }
        }
        self.now.store(node, Ordering::Release);
    }
}
