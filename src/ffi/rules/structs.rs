//! The structs of rules, and their constants.

use std::ffi::{c_char, c_void};

/// `pipeline_rule_t.actions`: the event is dropped. No other action goes with it.
pub const PIPELINE_RULE_DROP: u32 = 1;
/// `pipeline_rule_t.actions`: the event is kept: no later rule sees it, and it is not sampled.
pub const PIPELINE_RULE_KEEP: u32 = 2;
/// `pipeline_rule_t.actions`: as `PIPELINE_RULE_KEEP`, and later events of its trace (`correlation_id`) are not sampled either.
pub const PIPELINE_RULE_KEEP_TRACE: u32 = 4;
/// `pipeline_rule_t.actions`: the event gets the flag `PIPELINE_EVENT_PRIORITY`.
pub const PIPELINE_RULE_PRIORITY: u32 = 8;
/// `pipeline_rule_t.actions`: a snapshot is asked for, to the directory that `pipeline_snapshot_on_trigger` has set. The event goes on.
pub const PIPELINE_RULE_SNAPSHOT: u32 = 16;

/// `pipeline_rule_t.flags`: the rule only counts.
pub const PIPELINE_RULE_DRY: u32 = 1;
/// `pipeline_rule_t.flags`: only events with a `correlation_id`, of any number but 0.
pub const PIPELINE_RULE_HAS_CORRELATION_ID: u32 = 2;
/// `pipeline_rule_t.flags`: only events with a `node_id`, of any number but 0.
pub const PIPELINE_RULE_HAS_NODE_ID: u32 = 4;

/// For the calls that set rules: all rules only count.
pub const PIPELINE_RULES_DRY: u32 = 1;

/// A rule: what becomes of the events that all of its conditions choose. Fill it in over the defaults that `pipeline_rule_init` writes: no action, and no
/// condition, which chooses every event.
///
/// Actions: those in `actions`, and `sample_one_in`, `limit_per_second`, `tags` and `redact` if they are given. At least one is needed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_rule_t {
    /// `sizeof(pipeline_rule_t)` of the caller.
    pub struct_size: u32,
    /// `PIPELINE_RULE_DRY`, `PIPELINE_RULE_HAS_...`, or 0.
    pub flags: u32,
    /// `PIPELINE_RULE_DROP`, `PIPELINE_RULE_KEEP`, `PIPELINE_RULE_KEEP_TRACE`, `PIPELINE_RULE_PRIORITY`, `PIPELINE_RULE_SNAPSHOT`, or 0.
    pub actions: u32,
    /// Tags that the event gets, as flags `PIPELINE_EVENT_TAG_1` to `PIPELINE_EVENT_TAG_8`: bit 0 for the tag 1, up to bit 7. 0: none.
    pub tags: u32,
    /// The rule's name: a letter, then letters, digits, `_`, `-` and `.`, at most 63 bytes. Unique in its set. NULL: none.
    pub name: *const c_char,
    /// A condition: an expression, as behind `if` in the text of a rule. NULL: none.
    pub when: *const c_char,
    /// A condition: the event's kind is one of these. NULL: any.
    pub kinds: *const u32,
    /// The number of `kinds`, at least 1 unless they are NULL.
    pub kind_count: usize,
    /// A condition: the least kind. Default 0.
    pub kind_min: u32,
    /// A condition: the greatest kind. Default `UINT32_MAX`.
    pub kind_max: u32,
    /// A condition: the event's `correlation_id` is one of these. NULL: any.
    pub correlation_ids: *const u64,
    /// The number of `correlation_ids`, at least 1 unless they are NULL.
    pub correlation_id_count: usize,
    /// A condition: the event's `node_id` is one of these. NULL: any.
    pub node_ids: *const u64,
    /// The number of `node_ids`, at least 1 unless they are NULL.
    pub node_id_count: usize,
    /// A condition: the least number of payload bytes. Default 0.
    pub payload_min: u64,
    /// A condition: the greatest number of payload bytes. Default `UINT64_MAX`.
    pub payload_max: u64,
    /// A condition: the bytes that the payload begins with. NULL: any.
    pub payload_prefix: *const c_void,
    /// The number of these bytes: 1 to 4,096 unless `payload_prefix` is NULL.
    pub payload_prefix_len: usize,
    /// What is zeroed in the copy of the payload: `FIELD`, `KIND.FIELD`, `payload` or `payload[A..B]`. NULL: nothing.
    pub redact: *const *const c_char,
    /// The number of these texts: 1 to 8 unless `redact` is NULL.
    pub redact_count: usize,
    /// At most so many events in a second; what exceeds that is dropped. 1 to 1,000,000,000; 0: no limit.
    pub limit_per_second: u64,
    /// How many events may come at once after a pause: 1 to 1,000,000,000; 0: `limit_per_second`.
    pub limit_burst: u64,
    /// One of so many events is kept, and stands for all of them (`weight`): 1 to 1,048,576; 0: the rule does not sample.
    pub sample_one_in: u32,
    /// Must be 0.
    pub reserved: u32,
}

/// What is known of a rule.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pipeline_rule_metrics_t {
    /// `sizeof(pipeline_rule_metrics_t)` of the caller.
    pub struct_size: u32,
    /// The line of the text that the rule begins in, from 1. 0: the rule was not given as text.
    pub line: u32,
    /// 1 if the rule is in effect. 0 if it waits for a kind or a field that it names: see `waits_for`.
    pub active: u32,
    /// 1 if the rule only counts, because it is dry or the set is.
    pub dry: u32,
    /// Events that it matched. An event that an earlier rule dropped or kept does not come as far as to this one.
    pub matched: u64,
    /// Events that it dropped: all that matched if it drops, those beyond its limit if it has one. 0 if it is dry.
    pub dropped: u64,
    /// Events beyond its limit, also if it is dry.
    pub limited: u64,
    /// Events that were sampled out at its rate.
    pub sampled_out: u64,
    /// Its name, NUL-terminated; may be empty.
    pub name: [c_char; 64],
    /// Why it is not in effect: a text, NUL-terminated, cut if it is too long. Empty if it is.
    pub waits_for: [c_char; 256],
    /// Events that have asked for a snapshot; 0 if it is dry. Several may be answered by one snapshot.
    pub snapshots_asked: u64,
}

/// The defaults of a rule.
pub(in super::super) const DEFAULTS: pipeline_rule_t = pipeline_rule_t {
    struct_size: size_of::<pipeline_rule_t>() as u32,
    flags: 0,
    actions: 0,
    tags: 0,
    name: std::ptr::null(),
    when: std::ptr::null(),
    kinds: std::ptr::null(),
    kind_count: 0,
    kind_min: 0,
    kind_max: u32::MAX,
    correlation_ids: std::ptr::null(),
    correlation_id_count: 0,
    node_ids: std::ptr::null(),
    node_id_count: 0,
    payload_min: 0,
    payload_max: u64::MAX,
    payload_prefix: std::ptr::null(),
    payload_prefix_len: 0,
    redact: std::ptr::null(),
    redact_count: 0,
    limit_per_second: 0,
    limit_burst: 0,
    sample_one_in: 0,
    reserved: 0,
};
