//! Checks of the configuration: the limits of its fields, and the fields that are fixed.

use super::fields::config_fields;
use super::{Choice, Class, Config, PIPELINE_MAX_WRITERS, Reserved};
use crate::platform::placement::{PROCESSORS, Processors};
use crate::rules::MAX_WEIGHT;
use crate::status::{Error, PIPELINE_ERR_FIXED, PIPELINE_ERR_INVALID, Result};
use std::fmt::Display;
use std::ops::{RangeFull, RangeInclusive};

/// A day in microseconds. Longer waits are a mistake in the unit.
const DAY_US: u64 = 86_400_000_000;

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $limits:expr, $when:ident;)*) => {
        impl Config {
            /// Checks every field. The error names the first field that is out of its limits, the limits and the value.
            pub fn validate(&self) -> Result<()> {
                $(within(stringify!($name), &self.$name, $limits, self)?;)*
                Ok(())
            }

            /// Checks that `next` differs only in fields that can change while the pipeline runs. The error names the first one that
            /// cannot.
            pub fn check_update(&self, next: &Self) -> Result<()> {
                let (was, next) = (self.with_event_limit(), next.with_event_limit());
                $(unchanged!($when, was.$name, next.$name, stringify!($name));)*
                Ok(())
            }
        }
    };
}

macro_rules! unchanged {
    (fixed, $was:expr, $next:expr, $name:expr) => {
        if $was != $next {
            return Err(fixed($name, $was.shown(), $next.shown()));
        }
    };
    (changes, $was:expr, $next:expr, $name:expr) => {};
}

config_fields!(checks);

impl Config {
    fn with_event_limit(&self) -> Self {
        Self { max_event_bytes: Some(self.event_limit()), ..self.clone() }
    }
}

/// Checks one field.
fn within<T: Shown>(field: &str, value: &T, limits: impl Limits<T>, config: &Config) -> Result<()> {
    limits.check(value, config).map_err(|allowed| {
        let given = value.shown();
        Error::new(
            PIPELINE_ERR_INVALID,
            format!("pipeline_config_t.{field}: {allowed} allowed, {given} given"),
        )
    })
}

fn fixed(field: &str, was: String, given: String) -> Error {
    Error::new(
        PIPELINE_ERR_FIXED,
        format!("pipeline_config_t.{field}: fixed at {was} while the pipeline runs, {given} given"),
    )
}

/// A value as it appears in messages.
trait Shown {
    fn shown(&self) -> String;
}

macro_rules! shown {
    ($($type:ty: $value:ident => $text:expr;)*) => {
        $(impl Shown for $type {
            fn shown(&self) -> String {
                let $value = self;
                $text
            }
        })*
    };
}

shown! {
    u32: n => n.to_string();
    u64: n => n.to_string();
    i32: n => n.to_string();
    String: text => format!("\"{text}\"");
    Reserved: _zero => "0".to_owned();
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> String {
        self.as_ref().map_or_else(|| "NULL".to_owned(), T::shown)
    }
}

impl<T: Choice> Shown for T {
    fn shown(&self) -> String {
        self.constant().1.to_owned()
    }
}

/// Says whether a value is allowed. If not, the error says what is.
trait Limits<T> {
    /// Checks the value of one field of `config`.
    fn check(&self, value: &T, config: &Config) -> Result<(), String>;
}

impl<T> Limits<T> for RangeFull {
    fn check(&self, _: &T, _: &Config) -> Result<(), String> {
        Ok(())
    }
}

impl<T: PartialOrd + Display> Limits<T> for RangeInclusive<T> {
    fn check(&self, value: &T, _: &Config) -> Result<(), String> {
        allow(self.contains(value), || format!("{} to {}", self.start(), self.end()))
    }
}

impl<T, F: Fn(&T, &Config) -> Result<(), String>> Limits<T> for F {
    fn check(&self, value: &T, config: &Config) -> Result<(), String> {
        self(value, config)
    }
}

fn allow(allowed: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if allowed { Ok(()) } else { Err(what()) }
}

fn up_to_max_writers(value: &u32, config: &Config) -> Result<(), String> {
    let most = config.max_writers;
    allow(*value <= most, || format!("0 to max_writers ({most})"))
}

fn power_of_two(value: &u64, config: &Config) -> Result<(), String> {
    (4096..=1 << 32).check(value, config)?;
    allow(value.is_power_of_two(), || "a power of two".to_owned())
}

fn weight(value: &u32, config: &Config) -> Result<(), String> {
    (0..=MAX_WEIGHT).check(value, config)?;
    allow(*value == 0 || value.is_power_of_two(), || "0, or a power of two".to_owned())
}

fn power_of_two_or_none(value: &u64, config: &Config) -> Result<(), String> {
    if *value == 0 {
        Ok(())
    } else {
        power_of_two(value, config).map_err(|allowed| format!("0, or {allowed}"))
    }
}

fn event_bytes(value: &Option<u64>, config: &Config) -> Result<(), String> {
    value.map_or(Ok(()), |value| (1..=config.most_event_bytes()).check(&value, config))
}

fn priority(value: &u32, config: &Config) -> Result<(), String> {
    if config.writer_class.is_real_time() {
        allow((1..=99).contains(value), || "1 to 99 (with this writer_class)".to_owned())
    } else {
        allow(*value == 0, || "0 (with this writer_class)".to_owned())
    }
}

fn nice(value: &i32, config: &Config) -> Result<(), String> {
    (-20..=19).check(value, config)?;
    let zero = config.writer_class.is_real_time() || config.writer_class == Class::Idle;
    allow(*value == 0 || !zero, || "0 (with this writer_class)".to_owned())
}

fn processors(value: &Option<String>, _: &Config) -> Result<(), String> {
    let good = value.as_ref().is_none_or(|list| Processors::parse(list).is_some());
    allow(good, || format!("a list of processors from 0 to {}, such as 0-3,6,", PROCESSORS - 1))
}

fn slice(value: &u32, _: &Config) -> Result<(), String> {
    allow(*value == 0 || (100..=100_000).contains(value), || "0, or 100 to 100000".to_owned())
}
