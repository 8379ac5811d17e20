//! What was lost, in few words.

use capture_pipeline::journal::reader::Losses;

/// A number with the digits in groups.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `count` things, also if there are none.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    some(count, one, many).unwrap_or_else(|| format!("0 {many}"))
}

/// `count` things, in words.
pub fn some(count: u64, one: &str, many: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{} {many}", grouped(count))),
    }
}

/// What was lost, in few words. Empty: nothing.
pub fn summary(losses: &Losses) -> Vec<String> {
    let unreadable = losses.unreadable.values().map(|entry| entry.blocks).sum();
    let mut found: Vec<String> = [
        some(losses.damaged_blocks, "damaged block", "damaged blocks"),
        some(losses.damages, "damaged place", "damaged places"),
        some(losses.torn_tails, "torn tail", "torn tails"),
        some(unreadable, "block that cannot be read", "blocks that cannot be read"),
        some(losses.contradictions, "event with two contents", "events with two contents"),
        some(losses.contradicting_facts, "contradicting definition", "contradicting definitions"),
        some(losses.unreadable_facts, "fact that cannot be read", "facts that cannot be read"),
        some(losses.refused.len() as u64, "segment that is not read", "segments that are not read"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if losses.damaged_events > 0 {
        found.push(format!("{} events lost", grouped(losses.damaged_events)));
    }
    found
}
