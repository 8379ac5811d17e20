//! From the structs of rules to rules: texts and sets are copied, and what cannot be read is refused by name.

use super::super::guard::require;
use super::super::sized;
use super::structs::*;
use crate::expression::{Expression, IdTable, Own};
use crate::platform::memory;
use crate::rules::{
    Actions, Fault, Limit, MAX_DEPTH, MAX_IDS, MAX_PREFIX, MAX_REDACTED, MAX_RULES, Redact, Rule, TAGS,
    redact,
};
use crate::status::{Error, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, PIPELINE_ERR_NO_MEMORY, Result};
use std::ffi::{CStr, c_char};
use std::sync::Arc;

const KNOWN_FLAGS: u32 = PIPELINE_RULE_DRY | PIPELINE_RULE_HAS_CORRELATION_ID | PIPELINE_RULE_HAS_NODE_ID;
const KNOWN_ACTIONS: u32 = PIPELINE_RULE_DROP
    | PIPELINE_RULE_KEEP
    | PIPELINE_RULE_KEEP_TRACE
    | PIPELINE_RULE_PRIORITY
    | PIPELINE_RULE_SNAPSHOT;

/// # Safety
/// As for [`pipeline_rules_set`](super::pipeline_rules_set).
pub(super) unsafe fn rules(from: *const pipeline_rule_t, count: usize) -> Result<Vec<Rule>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    require(from, "rules")?;
    if count > MAX_RULES {
        return Err(limit(format!("count: at most {MAX_RULES} rules allowed, {count} given")));
    }
    let mut rules = Vec::new();
    rules.try_reserve_exact(count).map_err(|_| memory::refused(count * size_of::<Rule>()))?;
    // SAFETY: at least one rule, by contract.
    let stride = unsafe { from.cast::<u32>().read_unaligned() };
    let mut left = MAX_IDS;
    for index in 0..count {
        memory::check()?;
        let at = from.wrapping_byte_add(index.wrapping_mul(stride as usize));
        // SAFETY: one of the rules, by contract.
        let rule = unsafe { one(at, stride, &mut left) };
        rules.push(rule.map_err(|why| of_rule(index, why))?);
    }
    Ok(rules)
}

/// The error of a rule, which names it.
fn of_rule(index: usize, why: Error) -> Error {
    let fault = Fault { rule: Some((index, String::new())), ..Fault::list(why.detail) };
    Error { status: why.status, ..invalid(fault) }
}

/// # Safety
/// `at` points to a rule as its `struct_size` says.
unsafe fn one(at: *const pipeline_rule_t, stride: u32, left: &mut usize) -> Result<Rule> {
    // SAFETY: by contract; no alignment is assumed.
    let size = unsafe { at.cast::<u32>().read_unaligned() };
    if size != stride {
        return Err(refused(format!("struct_size: {stride} expected, as the first rule has, {size} given")));
    }
    // SAFETY: by contract.
    let (c, _) = unsafe { sized::read(at, DEFAULTS, "rules") }?;
    // SAFETY: by contract.
    unsafe {
        Ok(Rule {
            name: text(c.name, "name")?.unwrap_or_default().to_owned(),
            line: 0,
            dry: c.flags & PIPELINE_RULE_DRY != 0,
            actions: actions(&c)?,
            condition: condition(&c, left)?,
        })
    }
}

/// # Safety
/// As for [`one`].
unsafe fn actions(c: &pipeline_rule_t) -> Result<Actions> {
    for (what, given, known) in [
        ("flags", c.flags, KNOWN_FLAGS),
        ("actions", c.actions, KNOWN_ACTIONS),
        ("tags", c.tags, (1 << TAGS) - 1),
        ("reserved", c.reserved, 0),
    ] {
        if given & !known != 0 {
            return Err(refused(format!("{what}: bits of {known:#x} allowed, {given:#x} given")));
        }
    }
    if c.limit_per_second == 0 && c.limit_burst != 0 {
        let burst = c.limit_burst;
        return Err(refused(format!("limit_burst: only with limit_per_second, {burst} given")));
    }
    let burst = if c.limit_burst == 0 { c.limit_per_second } else { c.limit_burst };
    let limit = Limit { per_second: c.limit_per_second, burst };
    Ok(Actions {
        drop: c.actions & PIPELINE_RULE_DROP != 0,
        keep: c.actions & (PIPELINE_RULE_KEEP | PIPELINE_RULE_KEEP_TRACE) != 0,
        trace: c.actions & PIPELINE_RULE_KEEP_TRACE != 0,
        priority: c.actions & PIPELINE_RULE_PRIORITY != 0,
        snapshot: c.actions & PIPELINE_RULE_SNAPSHOT != 0,
        sample: c.sample_one_in,
        limit: (c.limit_per_second != 0).then_some(limit),
        tags: c.tags,
        // SAFETY: by contract.
        redact: unsafe { redacted(c) }?,
    })
}

/// # Safety
/// As for [`one`].
unsafe fn redacted(c: &pipeline_rule_t) -> Result<Vec<Redact>> {
    let count = given(c.redact.is_null(), c.redact_count, "redact", MAX_REDACTED)?;
    let mut parts = Vec::new();
    for index in 0..count {
        let what = format!("redact[{index}]");
        // SAFETY: by contract; no alignment is assumed.
        let written = unsafe { text(c.redact.add(index).read_unaligned(), &what) }?;
        let written = written.ok_or_else(|| refused(format!("{what} is NULL")))?;
        parts.push(redact(written).map_err(|reason| refused(format!("{what}: {reason}")))?);
    }
    Ok(parts)
}

/// # Safety
/// As for [`one`].
unsafe fn condition(c: &pipeline_rule_t, left: &mut usize) -> Result<Option<Expression>> {
    let mut all = Vec::new();
    // SAFETY: by contract.
    if let Some(when) = unsafe { text(c.when, "when") }? {
        let parsed = Expression::parse_within(when, MAX_DEPTH);
        all.push(parsed.map_err(|problem| refused(format!("when: {problem}")))?);
    }
    // SAFETY: by contract.
    unsafe {
        all.extend(ids(c.kinds, c.kind_count, "kinds", Own::Kind, left)?);
        all.extend(ids(
            c.correlation_ids,
            c.correlation_id_count,
            "correlation_ids",
            Own::CorrelationId,
            left,
        )?);
        all.extend(ids(c.node_ids, c.node_id_count, "node_ids", Own::NodeId, left)?);
    }
    all.extend(range(c.kind_min.into(), c.kind_max.into(), u32::MAX.into(), "kind", Own::Kind)?);
    all.extend(range(c.payload_min, c.payload_max, u64::MAX, "payload", Own::PayloadBytes)?);
    for (flag, own) in
        [(PIPELINE_RULE_HAS_CORRELATION_ID, Own::CorrelationId), (PIPELINE_RULE_HAS_NODE_ID, Own::NodeId)]
    {
        all.extend((c.flags & flag != 0).then(|| Expression::between(own, 1, u64::MAX)));
    }
    let bytes = given(c.payload_prefix.is_null(), c.payload_prefix_len, "payload_prefix", MAX_PREFIX)?;
    if bytes > 0 {
        // SAFETY: by contract.
        let prefix = unsafe { std::slice::from_raw_parts(c.payload_prefix.cast::<u8>(), bytes) };
        all.push(Expression::payload_begins(prefix));
    }
    Ok(Expression::all(all))
}

/// The number of things that a pointer is for, 0 without one.
fn given(is_null: bool, count: usize, what: &str, most: usize) -> Result<usize> {
    match (is_null, count) {
        (true, 0) => Ok(0),
        (true, _) => Err(refused(format!("{what} is NULL, and {count} are given"))),
        (false, 0) => Err(refused(format!("{what}: an empty set chooses nothing; NULL stands for all"))),
        (false, _) if count > most => Err(limit(format!("{what}: at most {most} allowed, {count} given"))),
        (false, _) => Ok(count),
    }
}

/// # Safety
/// `from` is NULL or has `count` values.
unsafe fn ids<T: Copy + Into<u64>>(
    from: *const T,
    count: usize,
    what: &str,
    own: Own,
    left: &mut usize,
) -> Result<Option<Expression>> {
    let count = given(from.is_null(), count, what, MAX_IDS)?;
    if count == 0 {
        return Ok(None);
    }
    *left = left.checked_sub(count).ok_or_else(|| {
        limit(format!(
            "{what}: at most {MAX_IDS} ids allowed in the sets of all rules, {count} more are given"
        ))
    })?;
    // SAFETY: one of the values, by contract; no alignment is assumed.
    let id = |index| unsafe { from.add(index).read_unaligned() }.into();
    let table = IdTable::new((0..count).map(|index| (id(index), 1)));
    let table = table
        .ok_or_else(|| Error::new(PIPELINE_ERR_NO_MEMORY, format!("{what}: no memory for {count} ids")))?;
    Ok(Some(Expression::one_of(own, Arc::new(table))))
}

fn range(min: u64, max: u64, highest: u64, what: &str, own: Own) -> Result<Option<Expression>> {
    if min > max {
        return Err(refused(format!("{what}_min: {min} is more than {what}_max, which is {max}")));
    }
    Ok((min > 0 || max < highest).then(|| Expression::between(own, min, max)))
}

/// # Safety
/// `from` is NULL or NUL-terminated.
unsafe fn text<'a>(from: *const c_char, what: &str) -> Result<Option<&'a str>> {
    if from.is_null() {
        return Ok(None);
    }
    // SAFETY: by contract.
    let bytes = unsafe { CStr::from_ptr(from) };
    let valid = bytes
        .to_str()
        .map_err(|error| refused(format!("{what}: UTF-8 expected, byte {} is not", error.valid_up_to())))?;
    Ok(Some(valid))
}

pub(super) fn invalid(fault: Fault) -> Error {
    Error::new(PIPELINE_ERR_INVALID, fault.to_string())
}

fn refused(detail: String) -> Error {
    Error::new(PIPELINE_ERR_INVALID, detail)
}

fn limit(detail: String) -> Error {
    Error::new(PIPELINE_ERR_LIMIT, detail)
}
