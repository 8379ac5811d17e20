//! Which own numbers an event must have so that a bound expression may choose it. Whoever has many expressions looks at only those for which
//! that is so.

use super::node::{Node, Question};
use super::number::{self, Number, Test};
use super::own::Own;

/// One way to be chosen: an own number must be one of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// [`Own::Kind`], [`Own::NodeId`], [`Own::CorrelationId`] or [`Own::PayloadBytes`].
    pub own: Own,
    /// What it must be.
    pub wanted: Wanted,
}

/// The numbers of a [`Screen`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// These.
    Ids(Vec<u64>),
    /// From the first on so many more.
    Range(u64, u64),
}

/// Sets of more ids are given as a range: tables of several expressions together would be too large.
const MOST_IDS: usize = 4096;
/// With more ways to be chosen, it is as well to ask the expression itself.
const MOST: usize = 8;

impl Screen {
    /// How many events come through, roughly.
    fn width(&self) -> usize {
        match &self.wanted {
            Wanted::Ids(ids) => ids.len(),
            Wanted::Range(..) => 2 * MOST_IDS,
        }
    }
}

pub(super) fn screens(node: &Node) -> Option<Vec<Screen>> {
    match node {
        Node::Ask(Question::Test(test)) => of_test(test),
        Node::And(parts) => {
            let known = parts.iter().filter_map(screens);
            known.min_by_key(|screens| screens.iter().map(Screen::width).sum::<usize>())
        }
        Node::Or(parts) => {
            let parts = parts.iter().map(screens).collect::<Option<Vec<_>>>()?.concat();
            (parts.len() <= MOST).then_some(parts)
        }
        _ => None,
    }
}

fn of_test(test: &Test) -> Option<Vec<Screen>> {
    let Number::Own(own @ (Own::Kind | Own::NodeId | Own::CorrelationId | Own::PayloadBytes)) = test.number
    else {
        return None;
    };
    let wanted = match &test.wanted {
        number::Wanted::Range(first, 0) => vec![Wanted::Ids(vec![*first])],
        number::Wanted::Range(first, more) => vec![Wanted::Range(*first, *more)],
        number::Wanted::Others(first, more) => {
            let last = first.wrapping_add(*more);
            let below = first.checked_sub(1).map(|last| Wanted::Range(0, last));
            let above = last.checked_add(1).map(|first| Wanted::Range(first, u64::MAX - first));
            below.into_iter().chain(above).collect()
        }
        number::Wanted::Ids(ids) if ids.len() <= MOST_IDS => vec![Wanted::Ids(ids.iter().collect())],
        number::Wanted::Ids(ids) => {
            let (least, most) = (ids.iter().min()?, ids.iter().max()?);
            vec![Wanted::Range(least, most - least)]
        }
    };
    Some(wanted.into_iter().map(|wanted| Screen { own, wanted }).collect())
}
