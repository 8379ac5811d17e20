//! A pipeline's configuration. `fields` has the list of its fields, `choices` the values of those that have a few, `checks` the limits.

mod checks;
mod choices;
pub(crate) mod fields;

use crate::platform::placement::{Placement, Processors};
pub use choices::*;
use fields::config_fields;

/// The highest number of writers of a pipeline.
pub const PIPELINE_MAX_WRITERS: u32 = 256;

/// The value of a field that must be 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved;

macro_rules! config {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $limits:expr, $when:ident;)*) => {
        /// How a pipeline works.
        // What each batch needs lies together.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Config {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Default for Config {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }
    };
}

config_fields!(config);

impl Config {
    /// Whether the pipeline scales itself.
    pub fn autoscales(&self) -> bool {
        self.min_writers < self.max_writers
    }

    /// The number of writers nearest to `writers` that `min_writers` and `max_writers` allow; both 0 allow any.
    pub fn within_bounds(&self, writers: u32) -> u32 {
        if self.max_writers == 0 { writers } else { writers.clamp(self.min_writers, self.max_writers) }
    }

    /// The highest `max_event_bytes` with this `ring_bytes`.
    fn most_event_bytes(&self) -> u64 {
        self.ring_bytes / 4 - 64
    }

    /// The size of a priority ring buffer; 0: there is none.
    pub fn priority_bytes(&self) -> u64 {
        self.priority_ring_bytes.min(self.ring_bytes)
    }

    /// The largest payload that goes to a priority ring buffer. `None`: there is no such ring buffer.
    pub fn priority_event_limit(&self) -> Option<u64> {
        Some(self.priority_bytes()).filter(|&bytes| bytes > 0).map(|bytes| bytes / 4 - 64)
    }

    /// The largest payload of an event.
    pub fn event_limit(&self) -> u64 {
        self.max_event_bytes.unwrap_or(65_536.min(self.most_event_bytes()))
    }

    /// The processors and the scheduling of the writers' threads.
    pub fn placement(&self) -> Placement {
        Placement {
            processors: self.writer_cpus.as_deref().and_then(Processors::parse),
            class: self.writer_class,
            priority: self.writer_priority,
            nice: self.writer_nice,
            slice_ns: u64::from(self.writer_slice_us) * 1000,
        }
    }
}
