//! A line that shows how far a command has come: on the standard error, if that is a terminal, and only if it takes longer than a second.

use capture_pipeline::journal::reader::Progress as Read;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Nothing is shown before.
const AFTER: Duration = Duration::from_secs(1);

/// See the module.
pub struct Progress {
    start: Instant,
    what: &'static str,
    bar: Option<ProgressBar>,
    wanted: bool,
}

impl Progress {
    /// For a command that does this. `output_is_a_file`: the line does not come between what the command prints.
    pub fn new(what: &'static str, output_is_a_file: bool) -> Self {
        let wanted =
            std::io::stderr().is_terminal() && (output_is_a_file || !std::io::stdout().is_terminal());
        Self { start: Instant::now(), what, bar: None, wanted }
    }

    /// Without a line.
    pub fn none() -> Self {
        Self { start: Instant::now(), what: "", bar: None, wanted: false }
    }

    /// Whether anybody sees it.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Shows how far the reader has come.
    pub fn show(&mut self, read: Read) {
        if !self.wanted || self.bar.is_none() && self.start.elapsed() < AFTER {
            return;
        }
        let what = self.what;
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let template = "{msg} {bar:30} {percent}% of {binary_total_bytes}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(what);
            bar
        });
        bar.set_length(read.total_bytes);
        bar.set_position(read.done_bytes);
    }

    /// Says what is done behind the reading, which has no measure.
    pub fn last_step(&mut self, what: &'static str) {
        if let Some(bar) = &self.bar {
            if let Ok(style) = ProgressStyle::with_template("{msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(what);
            bar.enable_steady_tick(Duration::from_millis(200));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
