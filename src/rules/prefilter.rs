//! What is known of an event at once, from its ids and from single words of its payload: that no rule matches it, or that one drops it. Captures ask this first, so it
//! calls no function, and keeps little in registers. What it does not know, [`RuleSet::judge`](super::RuleSet::judge) does.

use super::event::Event;
use crate::expression::{FewIds, IdTable, Own, Span, Word};

/// What is known of an event at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// No rule matches it.
    Passes,
    /// The rule with this index matches it as the first one, and drops it.
    Drops(u32),
    /// Nothing.
    Unsure,
}

/// What there is to ask, as bits.
mod asks {
    pub const FEW_NODES: u32 = 1;
    pub const FEW_TRACES: u32 = 2;
    pub const NODES: u32 = 4;
    pub const TRACES: u32 = 8;
    pub const WORDS: u32 = 16;
    pub const KINDS: u32 = 32;
    /// A rule may match whatever there is to see.
    pub const ANY: u32 = 64;
    /// A rule drops what has come so far.
    pub const DROP: u32 = 128;
    /// The ranges of the first number, and of the others in the bits above.
    pub const RANGES: u32 = 256;
    pub const ALL_RANGES: u32 = 15 * RANGES;
    /// What is asked more rarely.
    pub const RARE: u32 = ANY | NODES | TRACES;
    /// What a mask of groups depends on.
    pub const GROUPS: u32 = FEW_NODES | FEW_TRACES | NODES | TRACES | KINDS | ALL_RANGES;
}

/// The tables by which ids may be found.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub kinds: IdTable,
    pub nodes: IdTable,
    pub traces: IdTable,
}

/// Groups of rules that may match if an own number is one of these.
#[derive(Clone, Copy, Debug)]
pub(super) struct InRange {
    pub own: Own,
    pub values: Span,
    pub groups: u64,
}

/// A rule that may match if a word of the payload is one of these.
#[derive(Clone, Copy, Debug)]
pub(super) struct InWord {
    pub word: Word,
    pub values: Span,
    /// The rule then matches, and drops the event.
    pub drops: Option<u32>,
}

/// The own numbers that ranges are of, in the order of their bits in [`asks`].
const NUMBERS: [Own; 4] = [Own::Kind, Own::NodeId, Own::CorrelationId, Own::PayloadBytes];

/// The ranges of one number.
type Ranges = Box<[(Span, u64)]>;

/// What the rules of a plan ask of an event first.
#[derive(Debug, Default)]
pub(super) struct Prefilter {
    asks: u32,
    /// The rule that drops what has come so far.
    rule: u32,
    /// The ids of tables with few of them.
    few_nodes: FewIds,
    few_traces: FewIds,
    tables: Tables,
    /// Ranges with groups, of each of [`NUMBERS`].
    ranges: [Ranges; NUMBERS.len()],
    words: Box<[InWord]>,
}

impl Prefilter {
    /// `any`: some rule may match whatever there is to see; `drops`: the last rule drops everything.
    pub fn new(
        tables: Tables,
        ranges: &[InRange],
        words: Vec<InWord>,
        any: bool,
        drops: Option<u32>,
    ) -> Self {
        let of = |own: Own| {
            ranges.iter().filter(move |range| range.own == own).map(|range| (range.values, range.groups))
        };
        let ranges = NUMBERS.map(|own| of(own).collect::<Ranges>());
        let ids = |table: &IdTable, few, many| match table.len() {
            0 => 0,
            1..=FewIds::MOST => few,
            _ => many,
        };
        let bit = |is: bool, bit| if is { bit } else { 0 };
        let mut asks = ids(&tables.nodes, asks::FEW_NODES, asks::NODES)
            | ids(&tables.traces, asks::FEW_TRACES, asks::TRACES)
            | ids(&tables.kinds, asks::KINDS, asks::KINDS)
            | bit(!words.is_empty(), asks::WORDS)
            | bit(any, asks::ANY)
            | bit(drops.is_some(), asks::DROP);
        for (n, ranges) in ranges.iter().enumerate() {
            asks |= bit(!ranges.is_empty(), asks::RANGES << n);
        }
        Self {
            asks,
            rule: drops.unwrap_or(0),
            few_nodes: FewIds::of(tables.nodes.iter().take(FewIds::MOST)),
            few_traces: FewIds::of(tables.traces.iter().take(FewIds::MOST)),
            tables,
            ranges,
            words: words.into_boxed_slice(),
        }
    }

    /// What is known at once of an event whose kind has no group of its own.
    #[inline(always)]
    pub fn look(&self, event: &Event<'_>) -> Look {
        let asks = self.asks;
        if asks & asks::FEW_NODES != 0 && self.few_nodes.may_have(event.node_id) {
            return Look::Unsure;
        }
        if asks & asks::FEW_TRACES != 0 && self.few_traces.may_have(event.correlation_id) {
            return Look::Unsure;
        }
        let Tables { nodes, traces, .. } = &self.tables;
        if asks & asks::RARE != 0
            && (asks & asks::ANY != 0
                || (asks & asks::NODES != 0 && nodes.may_have(event.node_id))
                || (asks & asks::TRACES != 0 && traces.may_have(event.correlation_id)))
        {
            return Look::Unsure;
        }
        if asks & asks::ALL_RANGES != 0 {
            for (n, number) in numbers(event).into_iter().enumerate() {
                if asks & asks::RANGES << n != 0
                    && self.ranges[n].iter().any(|(values, _)| values.has(number))
                {
                    return Look::Unsure;
                }
            }
        }
        if asks & asks::WORDS != 0 {
            if event.is_opaque() {
                return Look::Unsure;
            }
            for InWord { word, values, drops } in &*self.words {
                match word.read(event.payload) {
                    Some(value) if !values.has(value) => {}
                    Some(_) => return drops.map_or(Look::Unsure, Look::Drops),
                    None => return Look::Unsure,
                }
            }
        }
        if asks & asks::DROP != 0 { Look::Drops(self.rule) } else { Look::Passes }
    }

    /// The groups of rules that may match by their ids and ranges.
    #[inline(always)]
    pub fn groups(&self, event: &Event<'_>) -> u64 {
        if self.asks & asks::GROUPS == 0 { 0 } else { self.groups_asked(event) }
    }

    /// (Its own function, so that its variables are not among those of the judge.)
    #[inline(never)]
    fn groups_asked(&self, event: &Event<'_>) -> u64 {
        let (asks, mut groups) = (self.asks, 0);
        let Tables { kinds, nodes, traces } = &self.tables;
        if asks & asks::KINDS != 0 {
            groups |= kinds.mask(event.kind.into());
        }
        if asks & (asks::FEW_NODES | asks::NODES) != 0 {
            groups |= nodes.mask(event.node_id);
        }
        if asks & (asks::FEW_TRACES | asks::TRACES) != 0 {
            groups |= traces.mask(event.correlation_id);
        }
        if asks & asks::ALL_RANGES != 0 {
            for (number, ranges) in numbers(event).into_iter().zip(&self.ranges) {
                for (values, may_match) in &**ranges {
                    groups |= if values.has(number) { *may_match } else { 0 };
                }
            }
        }
        groups
    }

    /// The kinds that have groups of their own.
    pub fn kinds(&self) -> &IdTable {
        &self.tables.kinds
    }

    /// The bytes that it takes beside its own size.
    pub fn bytes(&self) -> usize {
        let tables = [&self.tables.kinds, &self.tables.nodes, &self.tables.traces];
        let ranges = self.ranges.iter().map(|ranges| size_of_val(&**ranges));
        size_of_val(&*self.words)
            + ranges.sum::<usize>()
            + tables.into_iter().map(IdTable::bytes).sum::<usize>()
    }
}

/// Those of an event.
#[inline(always)]
fn numbers(event: &Event<'_>) -> [u64; NUMBERS.len()] {
    [event.kind.into(), event.node_id, event.correlation_id, event.payload.len() as u64]
}
