//! Which own numbers, or numbers in the payload, an event must have so that a bound expression may choose it. Whoever has many expressions looks at only those for
//! which that is so.

use super::node::{Node, Question};
use super::number::{self, Number, Test};
use super::own::Own;
use super::word::{Span, Word, word};

/// The ways to be chosen: each event that is has come by one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Screens {
    /// The ways.
    pub list: Vec<Screen>,
    /// The other way round, each event for which one of them holds is chosen.
    pub exact: bool,
}

/// One way to be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Screen {
    /// An own number, [`Own::Kind`], [`Own::NodeId`], [`Own::CorrelationId`] or [`Own::PayloadBytes`], must be one of these.
    Own(Own, Wanted),
    /// A word of the payload must be one of these. An event whose payload ends before the word may be chosen nevertheless.
    Word(Word, Span),
}

/// The own numbers of a [`Screen`].
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
        match self {
            Self::Own(_, Wanted::Ids(ids)) => ids.len(),
            Self::Word(..) => MOST_IDS + 1,
            Self::Own(_, Wanted::Range(..)) => 2 * MOST_IDS,
        }
    }
}

pub(super) fn screens(node: &Node) -> Option<Screens> {
    match node {
        Node::Ask(Question::Test(test)) => of_test(test),
        Node::Not(part) => match &**part {
            Node::Ask(Question::Test(test)) => {
                let (word, values, _) = word(test).filter(|(.., exact)| *exact)?;
                Some(Screens { list: vec![Screen::Word(word, values.others()?)], exact: true })
            }
            _ => None,
        },
        Node::And(parts) => {
            let known = parts.iter().filter_map(screens);
            let narrowest = known.min_by_key(|known| known.list.iter().map(Screen::width).sum::<usize>())?;
            Some(Screens { exact: false, ..narrowest })
        }
        Node::Or(parts) => {
            let mut all = Screens { list: Vec::new(), exact: true };
            for part in parts {
                let part = screens(part)?;
                all.list.extend(part.list);
                all.exact &= part.exact;
            }
            (all.list.len() <= MOST).then_some(all)
        }
        _ => None,
    }
}

fn of_test(test: &Test) -> Option<Screens> {
    if let Some((word, values, exact)) = word(test) {
        return Some(Screens { list: vec![Screen::Word(word, values)], exact });
    }
    let Number::Own(own @ (Own::Kind | Own::NodeId | Own::CorrelationId | Own::PayloadBytes)) = test.number
    else {
        return None;
    };
    let mut exact = true;
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
            exact = false;
            let (least, most) = (ids.iter().min()?, ids.iter().max()?);
            vec![Wanted::Range(least, most - least)]
        }
    };
    Some(Screens { list: wanted.into_iter().map(|wanted| Screen::Own(own, wanted)).collect(), exact })
}
