//! What the tools take. A name that is none of these is refused: a misspelt bound would otherwise choose everything.

use super::journals::Journals;
use crate::args::{Selection, hexadecimal, number};
use crate::failure::Failure;
use rmcp::model::JsonObject;
use rmcp::schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Reads the arguments of a request.
pub fn read<T: DeserializeOwned>(given: JsonObject) -> Result<T, Failure> {
    serde_json::from_value(serde_json::Value::Object(given))
        .map_err(|problem| Failure::new(format!("arguments: {problem}")))
}

/// A run, as it is given.
fn run_of(run: Option<&str>) -> Result<Option<u64>, Failure> {
    let run = run.map(hexadecimal).transpose();
    run.map_err(|problem| Failure::new(format!("run: {problem}")))
}

/// A number of items from 1 to `most`.
pub fn limit(given: Option<u32>, otherwise: u32, most: u32) -> Result<u64, Failure> {
    match given.unwrap_or(otherwise) {
        limit if (1..=most).contains(&limit) => Ok(limit.into()),
        limit => Err(Failure::new(format!("limit: {limit} is not from 1 to {most}"))),
    }
}

/// Which journals and runs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub struct Scope {
    /// The journal, by its name or its place in the list of `health`; may be left out if there is only one.
    pub journal: Option<String>,
    /// Only this run, by its generation (hexadecimal, as `health` shows it).
    pub run: Option<String>,
}

impl Scope {
    /// The run.
    pub fn run(&self) -> Result<Option<u64>, Failure> {
        run_of(self.run.as_deref())
    }
}

/// Which kinds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub struct Kinds {
    /// The journal, by its name or its place in the list of `health`; may be left out if there is only one.
    pub journal: Option<String>,
    /// Only this run, by its generation (hexadecimal, as `health` shows it).
    pub run: Option<String>,
    /// The `next_cursor` of the page before, with the same other arguments.
    pub cursor: Option<String>,
}

impl Kinds {
    /// The run.
    pub fn run(&self) -> Result<Option<u64>, Failure> {
        run_of(self.run.as_deref())
    }
}

/// Arguments that choose events, and others.
macro_rules! choosing {
    ($(#[$meta:meta])* $name:ident { $($(#[$of_field:meta])* $field:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[schemars(crate = "rmcp::schemars")]
        pub struct $name {
            /// The journal, by its name or its place in the list of `health`; may be left out if there is only one.
            pub journal: Option<String>,
            /// Only events of these kinds, by name or number.
            #[serde(default)]
            pub kind: Vec<String>,
            /// Only events for which this is true, as in "size > 1 MiB and not site = 0". Compares the fields of a kind, by = != < <= > >= contains and in (…),
            /// with numbers (0x hexadecimal; with a unit: KiB MiB GiB TiB kB MB GB TB ns us ms s min h), texts ("…" or '…'), bytes (x"…") and true or false;
            /// and, or, not and parentheses combine. Every event has: kind kind_name wall_time time_ns generation ring_id sequence correlation_id node_id weight
            /// flags tid thread_name payload_bytes payload. A comparison with a field that an event does not have is false.
            #[serde(rename = "where")]
            pub filter: Option<String>,
            /// Only events from this time on: a date and time as in 2024-05-01T10:00:00.5Z, +DURATION after the journal's first event, or -DURATION before its
            /// last one, as in -10min. A duration is a number with ns, us, ms, s, min, h or d.
            pub from: Option<String>,
            /// Only events before this time, given like `from`.
            pub until: Option<String>,
            /// Only events with this correlation id: a string, decimal or 0x hexadecimal.
            pub correlation_id: Option<String>,
            /// Only events of this run, by its generation (hexadecimal, as `health` shows it).
            pub run: Option<String>,
            /// At most so many.
            pub limit: Option<u32>,
            $($(#[$of_field])* pub $field: Option<String>,)*
        }

        impl $name {
            /// The place of the journal, and which of its events.
            pub fn selection(&self, journals: &Journals) -> Result<(usize, Selection), Failure> {
                let correlation_id = self.correlation_id.as_deref().map(number).transpose();
                let selection = Selection {
                    kinds: self.kind.clone(),
                    filter: self.filter.clone(),
                    from: self.from.clone(),
                    until: self.until.clone(),
                    correlation_id: correlation_id
                        .map_err(|problem| Failure::new(format!("correlation_id: {problem}")))?,
                    run: run_of(self.run.as_deref())?,
                };
                Ok((journals.find(self.journal.as_deref())?, selection))
            }
        }
    };
}

choosing! {
    /// Which events.
    Events {}
}

choosing! {
    /// Which events, in pages.
    Pages {
        /// The `next_cursor` of the page before, with the same other arguments.
        cursor,
    }
}
