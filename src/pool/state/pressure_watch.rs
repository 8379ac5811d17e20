//! The function that the program wants to be called when the pressure crosses a threshold, and whether a call of it runs.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What the program has registered. Its function is kept until another takes its place, which cannot be while it is being called.
pub struct Watcher {
    /// The function is told when the pressure rises to this.
    pub high: u32,
    /// After that, it is told when the pressure falls to this.
    pub low: u32,
    /// Called with the pressure, and whether it has risen to `high` (or else fallen to `low`).
    pub call: Arc<Call>,
}

impl Watcher {
    /// One whose function is in Rust: a panic is logged, and the function called again at the next crossing. (A function in C may end its
    /// thread, which must not be caught.)
    pub fn new(low: u32, high: u32, call: impl Fn(u32, bool) + Send + Sync + 'static) -> Self {
        let call = move |percent, is_high| {
            if catch_unwind(AssertUnwindSafe(|| call(percent, is_high))).is_err() {
                log::error!("the pressure callback of a pipeline panicked");
            }
        };
        Self { low, high, call: Arc::new(call) }
    }
}

/// See [`Watcher::call`].
pub type Call = dyn Fn(u32, bool) + Send + Sync;

/// The thread that calls the function: it lives for as long as there are crossings to tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// There is none.
    None,
    /// It was started, and has not begun.
    Starting,
    /// It runs. Its token, and what it was started with.
    Running(u64, *mut c_void),
}

/// Watches the pressure for the program.
pub struct PressureWatch {
    /// What is registered.
    pub watcher: Option<Watcher>,
    /// Whether the last call said that the pressure is high.
    pub is_high: bool,
    /// Who calls.
    pub caller: Caller,
}

// SAFETY: the pointers are carried, and only the thread that they were made for, or whoever cleans up after it, follows them.
unsafe impl Send for PressureWatch {}

impl Default for PressureWatch {
    fn default() -> Self {
        Self { watcher: None, is_high: false, caller: Caller::None }
    }
}

impl PressureWatch {
    /// Whether the function is to be told of this pressure. There are two thresholds, so that a pressure that goes up and down around one
    /// makes no calls.
    pub fn is_news(&self, percent: u32) -> bool {
        self.watcher.as_ref().is_some_and(|w| if self.is_high { percent <= w.low } else { percent >= w.high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_says_the_opposite_of_the_one_before() {
        let mut watch = PressureWatch::default();
        assert!(!watch.is_news(100) && !watch.is_news(0), "nobody wants to know");
        watch.watcher = Some(Watcher { low: 20, high: 80, call: Arc::new(|_, _| {}) });
        let mut calls = Vec::new();
        for percent in [0, 79, 80, 100, 50, 80, 21, 20, 0, 30, 79, 81] {
            if watch.is_news(percent) {
                watch.is_high = !watch.is_high;
                calls.push((percent, watch.is_high));
            }
        }
        assert_eq!(calls, [(80, true), (20, false), (81, true)]);
    }
}
