//! What the events of a kind are on a line of time, and which others they belong to.

use crate::kinds::Kind;
use capture_pipeline::kinds::Role;

/// What a kind's events are on the line of time.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The kind.
    pub kind: Kind,
    /// Its role; that of an instant, if it has no definition.
    pub role: Role,
    /// The kind that begins, of a pair.
    pub begins: u32,
    /// The pair is found by a key.
    pub is_keyed: bool,
}

impl Plan {
    /// The plan of a kind. `others`: all kinds, among which its partner is found.
    pub fn new(kind: &Kind, others: &[Kind]) -> Self {
        let definition = kind.definition.as_ref();
        let role = definition.map_or(Role::Instant, |definition| definition.role);
        let partner = definition.and_then(|definition| definition.pairs_with);
        let partner =
            others.iter().find(|other| other.generation == kind.generation && Some(other.number) == partner);
        let other_is_keyed =
            partner.and_then(|other| other.definition.as_ref()).is_none_or(|d| d.key_field.is_some());
        let begins = match definition.and_then(|definition| definition.pairs_with) {
            Some(partner) if role == Role::End => partner,
            _ => kind.number,
        };
        let is_keyed = other_is_keyed && definition.is_some_and(|definition| definition.key_field.is_some());
        Self { kind: kind.clone(), role, begins, is_keyed }
    }
}
