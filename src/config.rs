//! A pipeline's configuration: values, defaults, limits.

pub use crate::platform::placement::Class;
use crate::platform::placement::{PROCESSORS, Placement, Processors};
pub use crate::ring::front::Overflow;
use crate::status::{Error, PIPELINE_ERR_FIXED, PIPELINE_ERR_INVALID, Result};

/// The highest number of writers of a pipeline.
pub const PIPELINE_MAX_WRITERS: u32 = 256;

/// In which order events reach the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordering {
    /// Batches in parallel, over several rings.
    None,
    /// One ring's batches in order, one at a time.
    PerProducer,
}

/// What stamps the events of a pipeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The processor's counter where the kernel keeps its time by it, else the monotonic clock.
    #[default]
    Auto,
    /// The monotonic clock.
    Monotonic,
    /// The processor's counter.
    Ticks,
}

/// How a pipeline is to work; `pipeline_config_t` documents each field. In the order of its fields: what each batch needs is together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those of `pipeline_config_t`, and documented there
#[repr(C)]
pub struct Config {
    pub name: String,
    pub writers: u32,
    pub min_writers: u32,
    pub max_writers: u32,
    pub batch_size: u32,
    pub batch_bytes: u64,
    pub linger_us: u64,
    pub poll_interval_ms: u64,
    pub max_in_flight: u32,
    pub max_in_doubt: u32,
    pub ring_bytes: u64,
    pub max_rings: u32,
    pub max_retired_rings: u32,
    pub max_event_bytes: Option<u64>,
    pub overflow: Overflow,
    pub block_timeout_us: u64,
    pub ordering: Ordering,
    pub retry_limit: u32,
    pub retry_initial_us: u64,
    pub retry_max_us: u64,
    pub retry_max_age_ms: u64,
    pub storage_deadline_ms: u64,
    pub exit_timeout_ms: u64,
    pub breaker_failures: u32,
    pub clock: Clock,
    pub writer_class: Class,
    pub writer_priority: u32,
    pub writer_nice: i32,
    pub writer_cpus: Option<String>,
    pub writer_slice_us: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "pipeline".to_owned(),
            writers: 1,
            min_writers: 0,
            max_writers: 0,
            batch_size: 512,
            batch_bytes: 262_144,
            linger_us: 0,
            poll_interval_ms: 1000,
            max_in_flight: 64,
            max_in_doubt: 16,
            ring_bytes: 1 << 20,
            max_rings: 64,
            max_retired_rings: 8,
            max_event_bytes: None,
            overflow: Overflow::DropNewest,
            block_timeout_us: 100_000,
            ordering: Ordering::None,
            retry_limit: 100,
            retry_initial_us: 1_000,
            retry_max_us: 1_000_000,
            retry_max_age_ms: 60_000,
            storage_deadline_ms: 30_000,
            exit_timeout_ms: 1_000,
            breaker_failures: 16,
            clock: Clock::Auto,
            writer_class: Class::Inherit,
            writer_priority: 0,
            writer_nice: 0,
            writer_cpus: None,
            writer_slice_us: 0,
        }
    }
}

fn within(field: &str, value: u64, low: u64, high: u64) -> Result<()> {
    if value < low || value > high {
        return Err(Error::new(
            PIPELINE_ERR_INVALID,
            format!("pipeline_config_t.{field}: {low} to {high} allowed, {value} given"),
        ));
    }
    Ok(())
}

impl Config {
    /// Whether the pipeline scales itself.
    pub fn autoscales(&self) -> bool {
        self.min_writers < self.max_writers
    }

    /// The number of writers nearest to `writers` that `min_writers` and `max_writers` allow; both 0 allow any.
    pub fn within_bounds(&self, writers: u32) -> u32 {
        if self.max_writers == 0 { writers } else { writers.clamp(self.min_writers, self.max_writers) }
    }

    /// The largest payload of an event.
    pub fn event_limit(&self) -> u64 {
        let most = self.ring_bytes / 4 - 64;
        self.max_event_bytes.unwrap_or(65_536.min(most))
    }

    /// Checks every field; the error names the first that is out of its range, the limits and the value.
    pub fn validate(&self) -> Result<()> {
        /// A day: longer waits are a mistake in the unit.
        const DAY_MS: u64 = 86_400_000;
        within("writers", self.writers.into(), 0, PIPELINE_MAX_WRITERS.into())?;
        within("max_writers", self.max_writers.into(), 0, PIPELINE_MAX_WRITERS.into())?;
        if self.min_writers > self.max_writers {
            return Err(Error::new(
                PIPELINE_ERR_INVALID,
                format!(
                    "pipeline_config_t.min_writers: 0 to max_writers ({}) allowed, {} given",
                    self.max_writers, self.min_writers
                ),
            ));
        }
        within("batch_size", self.batch_size.into(), 1, 65_536)?;
        within("batch_bytes", self.batch_bytes, 1, 1 << 32)?;
        within("linger_us", self.linger_us, 0, 60_000_000)?;
        within("poll_interval_ms", self.poll_interval_ms, 1, 60_000)?;
        within("max_in_flight", self.max_in_flight.into(), 1, 4096)?;
        within("max_in_doubt", self.max_in_doubt.into(), 0, 4096)?;
        within("ring_bytes", self.ring_bytes, 4096, 1 << 32)?;
        if !self.ring_bytes.is_power_of_two() {
            return Err(Error::new(
                PIPELINE_ERR_INVALID,
                format!("pipeline_config_t.ring_bytes: a power of two allowed, {} given", self.ring_bytes),
            ));
        }
        within("max_rings", self.max_rings.into(), 1, 65_536)?;
        within("max_retired_rings", self.max_retired_rings.into(), 0, 4096)?;
        within("max_event_bytes", self.event_limit(), 1, self.ring_bytes / 4 - 64)?;
        within("block_timeout_us", self.block_timeout_us, 0, DAY_MS * 1000)?;
        within("retry_limit", self.retry_limit.into(), 1, u32::MAX.into())?;
        within("retry_initial_us", self.retry_initial_us, 0, DAY_MS * 1000)?;
        within("retry_max_us", self.retry_max_us, 0, DAY_MS * 1000)?;
        within("retry_max_age_ms", self.retry_max_age_ms, 0, u64::MAX / 1_000_000)?;
        within("storage_deadline_ms", self.storage_deadline_ms, 1, DAY_MS)?;
        within("exit_timeout_ms", self.exit_timeout_ms, 0, DAY_MS)?;
        self.placement().map(drop)
    }

    /// Where the writers run, and how they are scheduled.
    pub fn placement(&self) -> Result<Placement> {
        let invalid =
            |text: String| Err(Error::new(PIPELINE_ERR_INVALID, format!("pipeline_config_t.{text} given")));
        let (priority, nice) = (self.writer_priority, self.writer_nice);
        if self.writer_class.is_real_time() {
            if !(1..=99).contains(&priority) {
                return invalid(format!(
                    "writer_priority: 1 to 99 allowed with this writer_class, {priority}"
                ));
            }
        } else if priority != 0 {
            return invalid(format!("writer_priority: 0 allowed with this writer_class, {priority}"));
        }
        if !(-20..=19).contains(&nice) {
            return invalid(format!("writer_nice: -20 to 19 allowed, {nice}"));
        }
        if nice != 0 && (self.writer_class.is_real_time() || self.writer_class == Class::Idle) {
            return invalid(format!("writer_nice: 0 allowed with this writer_class, {nice}"));
        }
        let slice_us = self.writer_slice_us;
        if slice_us != 0 && !(100..=100_000).contains(&slice_us) {
            return invalid(format!("writer_slice_us: 0, or 100 to 100000 allowed, {slice_us}"));
        }
        let processors = match &self.writer_cpus {
            None => None,
            Some(list) => match Processors::parse(list) {
                None => {
                    let most = PROCESSORS - 1;
                    return invalid(format!(
                        "writer_cpus: a list of processors from 0 to {most}, such as 0-3,6, allowed, \"{list}\""
                    ));
                }
                some => some,
            },
        };
        Ok(Placement {
            processors,
            class: self.writer_class,
            priority,
            nice,
            slice_ns: u64::from(slice_us) * 1000,
        })
    }

    /// Checks that `next` only differs where a running pipeline can change; the error names the field that cannot.
    pub fn check_update(&self, next: &Self) -> Result<()> {
        let fixed = |field: &str, was: String, given: String| {
            if was == given {
                return Ok(());
            }
            Err(Error::new(
                PIPELINE_ERR_FIXED,
                format!("pipeline_config_t.{field}: fixed at {was} while the pipeline runs, {given} given"),
            ))
        };
        fixed("name", self.name.clone(), next.name.clone())?;
        fixed("ring_bytes", self.ring_bytes.to_string(), next.ring_bytes.to_string())?;
        fixed("max_rings", self.max_rings.to_string(), next.max_rings.to_string())?;
        fixed("max_retired_rings", self.max_retired_rings.to_string(), next.max_retired_rings.to_string())?;
        fixed("max_event_bytes", self.event_limit().to_string(), next.event_limit().to_string())?;
        fixed("ordering", format!("{:?}", self.ordering), format!("{:?}", next.ordering))?;
        fixed("clock", format!("{:?}", self.clock), format!("{:?}", next.clock))?;
        fixed("writer_class", format!("{:?}", self.writer_class), format!("{:?}", next.writer_class))?;
        fixed("writer_priority", self.writer_priority.to_string(), next.writer_priority.to_string())?;
        fixed("writer_nice", self.writer_nice.to_string(), next.writer_nice.to_string())?;
        let cpus = |c: &Self| c.writer_cpus.clone().unwrap_or_else(|| "NULL".to_owned());
        fixed("writer_cpus", cpus(self), cpus(next))?;
        fixed("writer_slice_us", self.writer_slice_us.to_string(), next.writer_slice_us.to_string())
    }
}
