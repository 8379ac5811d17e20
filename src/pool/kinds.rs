//! The definitions of kinds.

use super::Pool;
use crate::event::PIPELINE_KIND_DEFINITION;
use crate::facts::Fact;
use crate::kinds::Definition;
use crate::platform::memory;
use crate::status::Result;

impl Pool {
    /// Defines a kind, and gives it its name. When this returns, both facts are in the list. A definition that could not be added is not kept, so that the
    /// call can be made again. `false`: there are rules, so the stack must be `large`.
    pub fn define_kind(&self, definition: &Definition, large: bool) -> Result<bool> {
        // Held until the facts are added: a thread that defines the same kind meanwhile must not return before that.
        let mut definitions = self.definitions.lock();
        if !definitions.admits(definition)? {
            return Ok(true);
        }
        if !large && self.rings.rules().is_some() {
            return Ok(false);
        }
        let rules = self.rules_with(&definitions, definition)?;
        let bytes = definition.encoded_len();
        let mut wire = Vec::new();
        wire.try_reserve_exact(bytes).map_err(|_| memory::refused(bytes))?;
        definition.encode(&mut wire);
        let (kind, kept) = (u64::from(definition.kind), definition.clone());
        // The name first, because a definition cannot be taken back: nothing that may fail comes after it.
        self.add_fact(Fact::kind_name(definition.kind, definition.name.as_bytes())?)?;
        let payload = wire.into_boxed_slice();
        self.add_fact(Fact { kind: PIPELINE_KIND_DEFINITION, correlation_id: 0, node_id: kind, payload })?;
        definitions.append(kept);
        self.take_renewed(rules)?;
        Ok(true)
    }
}
