//! Which events are wanted.

use super::event::realtime;
use super::options::Options;
use crate::journal::format::block::BlockHeader;

/// The conditions of [`Options`], ready to be checked for each event.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    everything: bool,
    /// Sorted.
    kinds: Option<Vec<u32>>,
    correlation_id: Option<u64>,
    generation: Option<u64>,
    times: Bounds,
    realtimes: Bounds,
}

/// From the first time on, up to the second one; `u64::MAX`: without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds(u64, u64);

impl Bounds {
    const NONE: Self = Self(0, u64::MAX);

    #[inline]
    fn contain(self, ns: u64) -> bool {
        ns >= self.0 && (ns < self.1 || self.1 == u64::MAX)
    }

    fn meet(self, first: u64, last: u64) -> bool {
        last >= self.0 && (first < self.1 || self.1 == u64::MAX)
    }
}

impl Filter {
    pub fn new(options: &Options) -> Self {
        let mut kinds = options.kinds.clone();
        if let Some(kinds) = &mut kinds {
            kinds.sort_unstable();
        }
        let times = Bounds(options.from_ns, options.to_ns);
        let realtimes = Bounds(options.from_realtime_ns, options.to_realtime_ns);
        Self {
            everything: kinds.is_none()
                && options.correlation_id.is_none()
                && (times, realtimes) == (Bounds::NONE, Bounds::NONE),
            kinds,
            correlation_id: options.correlation_id,
            generation: options.generation,
            times,
            realtimes,
        }
    }

    /// Everything is wanted.
    pub fn none() -> Self {
        Self::new(&Options::default())
    }

    pub fn wants_generation(&self, generation: u64) -> bool {
        self.generation.is_none_or(|wanted| wanted == generation)
    }

    /// Whether a block may have an event that is wanted.
    pub fn wants_block(&self, header: &BlockHeader) -> bool {
        let real = |ns| realtime(ns, header.realtime_offset_ns);
        self.wants_generation(header.generation)
            && self.times.meet(header.first_ns, header.last_ns)
            && self.realtimes.meet(real(header.first_ns), real(header.last_ns))
    }

    /// Whether an event of a wanted run is wanted.
    #[inline]
    pub fn wants(&self, kind: u32, correlation_id: u64, ns: u64, realtime_offset: i64) -> bool {
        self.everything || self.wants_some(kind, correlation_id, ns, realtime_offset)
    }

    fn wants_some(&self, kind: u32, correlation_id: u64, ns: u64, realtime_offset: i64) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kinds.binary_search(&kind).is_ok())
            && self.correlation_id.is_none_or(|wanted| wanted == correlation_id)
            && self.times.contain(ns)
            && self.realtimes.contain(realtime(ns, realtime_offset))
    }
}
