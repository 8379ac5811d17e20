//! The heap over time, in at most [`BINS`] steps of equal length. The length doubles when they do not suffice.

pub const BINS: usize = 256;
const FIRST_WIDTH_NS: u64 = 1 << 14;

/// What happened in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The most bytes that were live in it. 0 in a step without a call: see [`Timeline::steps`].
    pub live_bytes: u64,
    pub allocations: u64,
    used: bool,
    /// The bytes that were live at its end.
    last: u64,
}

#[derive(Clone, Debug)]
pub struct Timeline {
    start_ns: Option<u64>,
    width_ns: u64,
    steps: Vec<Step>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { start_ns: None, width_ns: FIRST_WIDTH_NS, steps: Vec::new() }
    }
}

impl Timeline {
    /// A call, after which so many bytes are live.
    pub fn note(&mut self, time_ns: u64, live_bytes: u64, allocated: bool) {
        let since = time_ns.saturating_sub(*self.start_ns.get_or_insert(time_ns));
        while since / self.width_ns >= BINS as u64 {
            self.halve();
        }
        let index = (since / self.width_ns) as usize;
        if index >= self.steps.len() {
            self.steps.resize(index + 1, Step::default());
        }
        let step = &mut self.steps[index];
        step.used = true;
        step.live_bytes = step.live_bytes.max(live_bytes);
        step.last = live_bytes;
        step.allocations += u64::from(allocated);
    }

    fn halve(&mut self) {
        let pair = |pair: &[Step]| {
            let mut both = pair[0];
            if let Some(second) = pair.get(1).filter(|second| second.used) {
                both.live_bytes = both.live_bytes.max(second.live_bytes);
                both.last = second.last;
                both.used = true;
            }
            both.allocations += pair.get(1).map_or(0, |second| second.allocations);
            both
        };
        self.steps = self.steps.chunks(2).map(pair).collect();
        self.width_ns *= 2;
    }

    /// The length of a step.
    pub fn width_ns(&self) -> u64 {
        self.width_ns
    }

    /// The steps from the first call to the last. In one without a call the heap is as it was before.
    pub fn steps(&self) -> Vec<Step> {
        let mut before = 0;
        let carry = |step: &Step| {
            let mut step = *step;
            if step.used {
                before = step.last;
            } else {
                step.live_bytes = before;
            }
            step
        };
        self.steps.iter().map(carry).collect()
    }

    /// The steps summed up to at most so many.
    pub fn columns(&self, most: usize) -> (u64, Vec<Step>) {
        let steps = self.steps();
        let each = steps.len().div_ceil(most.max(1)).max(1);
        let sum = |part: &[Step]| Step {
            live_bytes: part.iter().map(|step| step.live_bytes).max().unwrap_or(0),
            allocations: part.iter().map(|step| step.allocations).sum(),
            ..Step::default()
        };
        (self.width_ns * each as u64, steps.chunks(each).map(sum).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_double_their_length_and_lose_nothing() {
        let mut timeline = Timeline::default();
        for n in 0..10_000u64 {
            timeline.note(5_000 + n * 100_000, if n == 7_777 { 1_000_000 } else { n }, n % 2 == 0);
        }
        let steps = timeline.steps();
        assert!(steps.len() <= BINS && steps.len() > BINS / 2);
        assert_eq!(steps.iter().map(|step| step.allocations).sum::<u64>(), 5_000);
        assert_eq!(steps.iter().map(|step| step.live_bytes).max(), Some(1_000_000));
        let at = (7_777 * 100_000 / timeline.width_ns()) as usize;
        assert_eq!(steps[at].live_bytes, 1_000_000);
        let (width, columns) = timeline.columns(60);
        assert!(columns.len() <= 60);
        assert_eq!(columns.iter().map(|step| step.allocations).sum::<u64>(), 5_000);
        assert!(width * columns.len() as u64 >= 9_999 * 100_000);
    }

    #[test]
    fn a_step_without_a_call_has_what_was_live_before() {
        let mut timeline = Timeline::default();
        timeline.note(0, 500, true);
        timeline.note(1, 300, false);
        timeline.note(5 * FIRST_WIDTH_NS, 900, true);
        let live: Vec<u64> = timeline.steps().iter().map(|step| step.live_bytes).collect();
        assert_eq!(live, [500, 300, 300, 300, 300, 900]);
    }

    #[test]
    fn a_trace_without_calls_has_no_steps() {
        assert!(Timeline::default().steps().is_empty());
        assert!(Timeline::default().columns(10).1.is_empty());
    }
}
