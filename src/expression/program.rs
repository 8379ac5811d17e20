//! A bound expression as a list of questions. It is followed without recursion, because captures follow it on whatever stack their thread has.

use super::node::{Node, Question};
use super::subject::Subject;

/// The answer of the expression, as the next step.
const YES: u32 = u32::MAX;
const NO: u32 = u32::MAX - 1;

/// A question, and the step that follows each answer.
#[derive(Clone, Debug)]
struct Step {
    question: Question,
    yes: u32,
    no: u32,
}

/// The questions of an expression.
#[derive(Clone, Debug)]
pub(super) struct Program {
    steps: Box<[Step]>,
    first: u32,
}

impl Program {
    pub fn new(node: Node) -> Self {
        let mut steps = Vec::new();
        let first = write(&mut steps, node, YES, NO);
        Self { steps: steps.into_boxed_slice(), first }
    }

    /// The answer, if there is no question.
    pub fn always(&self) -> Option<bool> {
        (self.first >= NO).then_some(self.first == YES)
    }

    #[inline]
    pub fn holds(&self, subject: &impl Subject) -> bool {
        let mut next = self.first;
        // (Each step leads to one that was written before it.)
        while let Some(step) = self.steps.get(next as usize) {
            next = if step.question.holds(subject) { step.yes } else { step.no };
        }
        next == YES
    }
}

/// Writes the steps of a part of the expression, which leads to `yes` or to `no`. Returns the first of them.
fn write(steps: &mut Vec<Step>, node: Node, yes: u32, no: u32) -> u32 {
    match node {
        Node::Always(true) => yes,
        Node::Always(false) => no,
        Node::Not(part) => write(steps, *part, no, yes),
        Node::And(parts) => parts.into_iter().rev().fold(yes, |next, part| write(steps, part, next, no)),
        Node::Or(parts) => parts.into_iter().rev().fold(no, |next, part| write(steps, part, yes, next)),
        Node::Ask(question) => {
            steps.push(Step { question, yes, no });
            steps.len() as u32 - 1
        }
    }
}
