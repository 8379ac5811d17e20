//! Rules for pipelines under everything at once, and what they may do to an event.

use crate::producers::Dice;
use capture_pipeline::event::{PIPELINE_EVENT_TAG_1, PIPELINE_EVENT_TAG_8};
use capture_pipeline::manager::Pipeline;
use capture_pipeline::rules::parse;
use capture_pipeline::status::{Error, PIPELINE_ERR_INVALID, Result};

/// The flags that a rule may give to an event: the tags.
pub const TAGS: u32 = 2 * PIPELINE_EVENT_TAG_8 - PIPELINE_EVENT_TAG_1;

/// Sampling by rules is for events without flags, because the tests know that urgent ones are not sampled.
const TEXTS: [&str; 9] = [
    "",
    "drop if kind = 1 or payload_bytes < 24",
    "drop if payload_bytes > 100\ntag 1, tag 8",
    "tag 3 if node_id > 0 or payload_bytes in (8, 9, 10, 11, 12)\ndrop if kind > 100",
    "limit 20000/s burst 30",
    "keep trace if payload_bytes < 40\ndrop",
    "dry drop\ndrop if later.size > 3",
    "drop if kind = 'name 1'\ntag 2 if not kind = 'name 2'",
    "sample 1/4 if flags = 0\nkeep if payload_bytes > 200\nsample 1/2 if flags = 0",
];

/// Puts other rules in force, or none.
pub fn change(pipeline: &Pipeline, dice: &mut Dice, most_weight: u32) -> Result<()> {
    let known = if most_weight >= 4 { TEXTS.len() } else { TEXTS.len() - 1 };
    let text = TEXTS[dice.below(known as u64) as usize];
    let read = || parse(text).map_err(|fault| Error::new(PIPELINE_ERR_INVALID, fault.to_string()));
    pipeline.set_rules(read, dice.once_in(6))
}
