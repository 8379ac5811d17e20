//! An expression, parsed and not yet bound to a kind.

use super::ids::IdTable;
use super::own::Own;
use std::sync::Arc;

/// The longest text of an expression, in bytes.
pub const MAX_LEN: usize = 65_536;
/// How deep parentheses and `not` may be nested.
pub const MAX_DEPTH: usize = 100;

/// An operator between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Contains,
}

impl Operator {
    /// The operator that says the same of the two values in the other order.
    pub fn mirrored(self) -> Option<Self> {
        Some(match self {
            Self::Equal | Self::Unequal => self,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Contains => return None,
        })
    }
}

/// What an own number is to be, in a condition that is given as data.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Own64 {
    OneOf(Arc<IdTable>),
    /// From the one to the other, both included.
    Between(u64, u64),
}

impl Own64 {
    pub fn has(&self, number: u64) -> bool {
        match self {
            Self::OneOf(ids) => ids.contains(number),
            Self::Between(least, most) => (*least..=*most).contains(&number),
        }
    }
}

/// A value that an expression names.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    /// A field, of a kind with that name if there is one.
    Field {
        kind: Option<String>,
        field: String,
    },
    Own(Own),
    Integer(i128),
    Float(f64),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    Bool(bool),
}

/// A part of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Or(Vec<Tree>),
    And(Vec<Tree>),
    Not(Box<Tree>),
    Compare(Term, Operator, Term),
    In(Term, Vec<Term>),
    /// There, and not 0, false or empty.
    Truth(Term),
    Own64(Own, Own64),
    /// The payload begins with these bytes.
    Begins(Vec<u8>),
}

impl Tree {
    /// How many ids there are in the sets that were given as data.
    pub fn ids(&self) -> usize {
        match self {
            Self::Or(parts) | Self::And(parts) => parts.iter().map(Self::ids).sum(),
            Self::Not(part) => part.ids(),
            Self::Own64(_, Own64::OneOf(ids)) => ids.len(),
            _ => 0,
        }
    }
}

/// Shows the terms of a tree, in their order.
pub(super) fn visit<'t>(tree: &'t Tree, act: &mut impl FnMut(&'t Term)) {
    match tree {
        Tree::Or(parts) | Tree::And(parts) => parts.iter().for_each(|part| visit(part, act)),
        Tree::Not(part) => visit(part, act),
        Tree::Compare(left, _, right) => [left, right].into_iter().for_each(act),
        Tree::In(term, list) => std::iter::once(term).chain(list).for_each(act),
        Tree::Truth(term) => act(term),
        Tree::Own64(..) | Tree::Begins(_) => {}
    }
}

/// Shows the terms that are compared with each other, or, without another one, looked at alone.
pub(super) fn visit_pairs<'t>(tree: &'t Tree, act: &mut impl FnMut(&'t Term, Option<&'t Term>)) {
    match tree {
        Tree::Or(parts) | Tree::And(parts) => parts.iter().for_each(|part| visit_pairs(part, act)),
        Tree::Not(part) => visit_pairs(part, act),
        Tree::Compare(left, _, right) => act(left, Some(right)),
        Tree::In(term, list) => list.iter().for_each(|right| act(term, Some(right))),
        Tree::Truth(term) => act(term, None),
        Tree::Own64(..) | Tree::Begins(_) => {}
    }
}

/// A field that is compared with a text for equality: its kind if it is named, its name, the text.
pub type Compared<'t> = (Option<&'t str>, &'t str, &'t [u8]);

/// Shows the terms that are compared with texts for equality, and those texts, in their order.
pub(super) fn visit_texts<'t>(tree: &'t Tree, act: &mut impl FnMut(&'t Term, &'t [u8])) {
    let mut pair = |left: &'t Term, right: &'t Term| {
        if let Term::Text(text) = right {
            act(left, text);
        }
    };
    match tree {
        Tree::Compare(left, Operator::Equal | Operator::Unequal, right) => {
            pair(left, right);
            pair(right, left);
        }
        Tree::In(term, list) => list.iter().for_each(|right| pair(term, right)),
        Tree::Or(parts) | Tree::And(parts) => parts.iter().for_each(|part| visit_texts(part, act)),
        Tree::Not(part) => visit_texts(part, act),
        Tree::Compare(..) | Tree::Truth(_) | Tree::Own64(..) | Tree::Begins(_) => {}
    }
}
