//! An expression, parsed and not yet bound to a kind.

use super::own::Own;

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
}

/// Shows the terms of a tree, in their order.
pub(super) fn visit<'t>(tree: &'t Tree, act: &mut impl FnMut(&'t Term)) {
    match tree {
        Tree::Or(parts) | Tree::And(parts) => parts.iter().for_each(|part| visit(part, act)),
        Tree::Not(part) => visit(part, act),
        Tree::Compare(left, _, right) => [left, right].into_iter().for_each(act),
        Tree::In(term, list) => std::iter::once(term).chain(list).for_each(act),
        Tree::Truth(term) => act(term),
    }
}

/// A field that is compared with a text for equality: its kind if it is named, its name, the text.
pub type Compared<'t> = (Option<&'t str>, &'t str, &'t [u8]);

/// Shows the fields that are compared with texts for equality, in their order.
pub(super) fn visit_texts<'t>(tree: &'t Tree, act: &mut impl FnMut(Compared<'t>)) {
    let mut pair = |left: &'t Term, right: &'t Term| {
        if let (Term::Field { kind, field }, Term::Text(text)) = (left, right) {
            act((kind.as_deref(), field, text));
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
        Tree::Compare(..) | Tree::Truth(_) => {}
    }
}
