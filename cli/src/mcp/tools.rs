//! Which tools there are.

use super::arguments::{self, Events, Kinds, Pages, Scope};
use super::journals::Journals;
use super::{events, slowest, state};
use crate::failure::Failure;
use rmcp::handler::server::common::schema_for_type;
use rmcp::model::{JsonObject, Tool as Described, ToolAnnotations};
use std::sync::Arc;

/// What does it. The last argument tells whether the request was cancelled.
type Run = fn(&Journals, JsonObject, &dyn Fn() -> bool) -> Result<String, Failure>;

/// A tool.
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    description: &'static str,
    schema: fn() -> Arc<JsonObject>,
    /// Does it.
    pub run: Run,
}

impl Tool {
    /// What a client is told about it.
    pub fn described(&self) -> Described {
        let annotations = ToolAnnotations::new().read_only(true).idempotent(true).open_world(false);
        Described::new(self.name, self.description, (self.schema)()).with_annotations(annotations)
    }
}

/// All of them.
pub fn all() -> [Tool; 7] {
    [
        Tool {
            name: "health",
            description: "The journals that may be read, their runs (program, state, times, events, sizes), and whether anything is damaged or was lost. Does not read the events.",
            schema: schema_for_type::<Scope>,
            run: |journals, given, _| state::health(journals, &arguments::read(given)?),
        },
        Tool {
            name: "metrics",
            description: "The last ledger of each run: how many events were offered, and where they have gone (captured, stored, dropped, refused, …).",
            schema: schema_for_type::<Scope>,
            run: |journals, given, _| state::metrics(journals, &arguments::read(given)?),
        },
        Tool {
            name: "kinds",
            description: "The kinds of events with their roles and fields (types, units, names of values), in pages.",
            schema: schema_for_type::<Kinds>,
            run: |journals, given, _| state::kinds(journals, &arguments::read(given)?),
        },
        Tool {
            name: "query",
            description: "Events in the order of their times, the oldest first, chosen by kind, time, ids and an expression over their fields; in pages of up to `limit` events (100; up to 10000) and 1 MiB.",
            schema: schema_for_type::<Pages>,
            run: |journals, given, stopped| events::query(journals, &arguments::read(given)?, stopped),
        },
        Tool {
            name: "latest",
            description: "The last events (20; `limit` up to 1000), the oldest of them first, chosen like those of `query`.",
            schema: schema_for_type::<Events>,
            run: |journals, given, stopped| events::latest(journals, &arguments::read(given)?, stopped),
        },
        Tool {
            name: "slowest",
            description: "What took longest (10; `limit` up to 1000): events of kinds with a duration, and pairs of begins and ends. The arguments choose the begins. Reads all events of the times that are asked for.",
            schema: schema_for_type::<Events>,
            run: |journals, given, stopped| slowest::slowest(journals, &arguments::read(given)?, stopped),
        },
        Tool {
            name: "losses",
            description: "What was lost and where: the ledgers' losses with their causes, what was left out by choice, damage, deleted segments, rings with gaps. Reads the whole journal.",
            schema: schema_for_type::<Scope>,
            run: |journals, given, stopped| state::losses(journals, &arguments::read(given)?, stopped),
        },
    ]
}
