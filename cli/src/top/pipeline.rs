//! A pipeline as it is shown: what the last look has found, and how it has changed since the looks before.

use super::look::Look;
use super::process::State;
use capture_pipeline::journal::format::figures::Live;
use capture_pipeline::latency::Spread;
use capture_pipeline::metrics::pipeline_metrics_t;
use capture_pipeline::ring_file::view::Words;

/// Figures are written each second. Older ones are not replaced because nothing has changed, or because the process cannot.
const FRESH_NS: u64 = 3_000_000_000;

/// See the module.
pub struct Pipeline {
    /// The last look.
    pub look: Look,
    before: Option<Look>,
    /// The figures before the last ones: those of different moments.
    figures_before: Option<Live>,
    /// The positions of the rings when the figures were first seen.
    positions_at_figures: u64,
}

/// What a ring shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ring {
    /// What its header says.
    pub words: Words,
    /// Bytes captured per second. `None`: it is not known yet.
    pub bytes_per_s: Option<f64>,
    /// Bytes released per second.
    pub released_per_s: Option<f64>,
}

impl Ring {
    /// How full it is, in percent.
    pub fn fill_percent(&self) -> f64 {
        fill_percent(&self.words)
    }
}

/// Times from capture to acknowledgement, in nanoseconds: bounds that so many events have not exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Half of them.
    pub p50: u64,
    /// 99 of a hundred.
    pub p99: u64,
}

impl Pipeline {
    /// Of a first look.
    pub fn new(look: Look) -> Self {
        let positions_at_figures = positions(&look);
        Self { look, before: None, figures_before: None, positions_at_figures }
    }

    /// Takes another look.
    pub fn update(&mut self, look: Look) {
        let before = std::mem::replace(&mut self.look, look);
        let moment = |look: &Look| look.live.as_ref().map(|live| live.monotonic_ns);
        if moment(&before) != moment(&self.look) {
            self.positions_at_figures = positions(&self.look);
            self.figures_before.clone_from(&before.live);
        }
        self.before = Some(before);
    }

    /// How long ago the look before was, in nanoseconds.
    pub fn interval_ns(&self) -> Option<u64> {
        let before = self.before.as_ref()?;
        Some(self.look.at_ns.saturating_sub(before.at_ns)).filter(|ns| *ns > 0)
    }

    /// The rings.
    pub fn rings(&self) -> Vec<Ring> {
        let words = self.look.rings.iter().flatten();
        words.map(|words| Ring { words: *words, ..self.ring_rates(words) }).collect()
    }

    fn ring_rates(&self, words: &Words) -> Ring {
        let before = self.before.iter().flat_map(|look| look.rings.iter().flatten());
        let before = before.clone().find(|before| before.index == words.index);
        let per_s = |now: u64, before: Option<u64>| {
            Some(now.saturating_sub(before?) as f64 * 1e9 / self.interval_ns()? as f64)
        };
        Ring {
            words: *words,
            bytes_per_s: per_s(words.head, before.map(|before| before.head)),
            released_per_s: per_s(words.released, before.map(|before| before.released)),
        }
    }

    /// Bytes captured per second into all rings.
    pub fn bytes_per_s(&self) -> Option<f64> {
        self.look.rings.as_ref()?;
        self.interval_ns()?;
        Some(self.rings().iter().filter_map(|ring| ring.bytes_per_s).sum())
    }

    /// The bytes that wait in rings: as the rings say, or else the figures.
    pub fn backlog_bytes(&self) -> Option<u64> {
        match &self.look.rings {
            Some(rings) => Some(rings.iter().map(Words::backlog).sum()),
            None => self.metrics().map(|metrics| metrics.backlog_bytes),
        }
    }

    /// Those that writers have claimed.
    pub fn in_flight_bytes(&self) -> Option<u64> {
        Some(self.look.rings.as_ref()?.iter().map(Words::in_flight).sum())
    }

    /// How full the fullest ring is, in percent.
    pub fn fill_percent(&self) -> Option<f64> {
        let rings = self.look.rings.as_ref()?;
        Some(rings.iter().map(fill_percent).fold(0.0, f64::max))
    }

    /// The figures' metrics.
    pub fn metrics(&self) -> Option<&pipeline_metrics_t> {
        self.look.live.as_ref().map(|live| &live.figures.metrics)
    }

    /// Whether the figures are of an earlier time than the rest: the process is stopped or hangs, and cannot write them.
    pub fn is_stale(&self) -> bool {
        let old = self.look.figures_age_ns().is_some_and(|age| age > FRESH_NS);
        let moved = positions(&self.look) != self.positions_at_figures;
        self.look.state != State::Ended && old && (self.look.state.is_stopped() || moved)
    }

    /// How fast a count of the figures grows, per second. `None`: it is not known.
    pub fn per_s(&self, count: impl Fn(&pipeline_metrics_t) -> u64) -> Option<f64> {
        if self.is_stale() || self.look.state == State::Ended {
            return None;
        }
        // Nothing has changed since.
        if self.look.figures_age_ns()? > FRESH_NS {
            return Some(0.0);
        }
        let (live, before) = (self.look.live.as_ref()?, self.figures_before.as_ref()?);
        let ns = live.monotonic_ns.checked_sub(before.monotonic_ns).filter(|ns| *ns > 0)?;
        let counted = count(&live.figures.metrics).saturating_sub(count(&before.figures.metrics));
        Some(counted as f64 * 1e9 / ns as f64)
    }

    /// Events captured per second. Before the figures have changed once, as they say it themselves.
    pub fn captured_per_s(&self) -> Option<f64> {
        self.per_s(|metrics| metrics.captured).or_else(|| self.own_rate(|metrics| metrics.capture_rate))
    }

    /// Events stored per second, likewise.
    pub fn stored_per_s(&self) -> Option<f64> {
        self.per_s(|metrics| metrics.stored).or_else(|| self.own_rate(|metrics| metrics.store_rate))
    }

    fn own_rate(&self, rate: impl Fn(&pipeline_metrics_t) -> f64) -> Option<f64> {
        let known =
            !self.is_stale() && self.look.state != State::Ended && self.look.figures_age_ns().is_some();
        self.metrics().filter(|_| known).map(rate)
    }

    /// The latency of all events since the start.
    pub fn latency(&self) -> Option<Latency> {
        latency(&self.look.live.as_ref()?.figures.spread)
    }

    /// The latency of the events that were stored since the figures before. `None`: none were.
    pub fn recent_latency(&self) -> Option<Latency> {
        let (live, before) = (self.look.live.as_ref()?, self.figures_before.as_ref()?);
        let (now, before) = (live.figures.spread, before.figures.spread);
        let mut recent = Spread { count: now.count.saturating_sub(before.count), ..now };
        for (up_to, before) in recent.up_to.iter_mut().zip(before.up_to) {
            *up_to = up_to.saturating_sub(before);
        }
        latency(&recent)
    }
}

/// Events that were lost against the wish of the pipeline's owner: those that sampling and rules have dropped are not among them.
pub fn lost(metrics: &pipeline_metrics_t) -> u64 {
    let all = [
        metrics.dropped_full,
        metrics.overwritten,
        metrics.discarded,
        metrics.refused_too_large,
        metrics.refused_closed,
        metrics.refused_invalid,
        metrics.refused_busy,
        metrics.refused_no_ring,
    ];
    all.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

fn fill_percent(words: &Words) -> f64 {
    100.0 * words.backlog() as f64 / words.bytes.max(1) as f64
}

/// How far all rings have come. It stands still while nothing is captured or released.
fn positions(look: &Look) -> u64 {
    let positions = look.rings.iter().flatten().flat_map(|words| [words.head, words.released]);
    positions.fold(0, u64::wrapping_add)
}

/// `None`: there are no events.
fn latency(spread: &Spread) -> Option<Latency> {
    if spread.count == 0 {
        return None;
    }
    let bound = |percent: u64| {
        let wanted = (u128::from(spread.count) * u128::from(percent)).div_ceil(100);
        let found = spread.up_to.iter().position(|up_to| u128::from(*up_to) >= wanted);
        found.map_or(spread.max_ns, |at| Spread::BOUNDS_NS[at].min(spread.max_ns))
    };
    Some(Latency { p50: bound(50), p99: bound(99) })
}

#[cfg(test)]
pub mod tests;
