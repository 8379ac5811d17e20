//! What is known of the kinds.

use crate::kinds::{Definition, Definitions};
use std::collections::HashMap;

/// What is known of the kinds.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The definitions.
    pub definitions: &'a Definitions,
    /// One more.
    pub more: Option<&'a Definition>,
    /// The names that kinds have now.
    pub names: &'a HashMap<u32, &'a [u8]>,
}

impl<'a> Known<'a> {
    /// All definitions.
    pub(super) fn all(self) -> impl Iterator<Item = &'a Definition> {
        self.definitions.iter().chain(self.more)
    }

    /// The definition of a kind.
    pub(super) fn of(self, kind: u32) -> Option<&'a Definition> {
        self.more.filter(|more| more.kind == kind).or_else(|| self.definitions.of(kind))
    }
}
