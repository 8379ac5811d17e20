//! A line on stderr that says how far a step has come, if it takes long and stderr is a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_millis(700);
const EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    began: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    pub fn new(what: &'static str) -> Self {
        Self { what, began: Instant::now(), shown: None, terminal: std::io::stderr().is_terminal() }
    }

    pub fn show(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        if !self.terminal
            || now.duration_since(self.began) < PATIENCE
            || self.shown.is_some_and(|shown| now.duration_since(shown) < EVERY)
        {
            return;
        }
        self.shown = Some(now);
        let share = done as f64 / total.max(1) as f64;
        let left = self.began.elapsed().as_secs_f64() * (1.0 - share) / share.max(1e-6);
        let _ = write!(std::io::stderr(), "\r{} {:3.0} %, {left:.0} s left \x1b[K", self.what, 100.0 * share);
    }

    /// Removes the line.
    pub fn done(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
