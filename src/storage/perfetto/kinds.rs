//! The kinds of a pipeline's events: what they are called, and how they are drawn.

use crate::event::{PIPELINE_KIND_DEFINITION, PIPELINE_KIND_KIND_NAME};
use crate::facts::Facts;
use crate::files::failure::Failure;
use crate::formats::perfetto::{KindNames, Names};
use crate::kinds::{Definition, Role, Type, Value};
use std::collections::HashMap;

/// A kind.
pub(super) struct Kind {
    pub number: u32,
    pub definition: Option<Definition>,
    pub names: KindNames,
    pub role: Role,
    /// The kind that begins, of a pair.
    pub begins: u32,
    /// The pair is found by a key.
    pub is_keyed: bool,
    /// The field that says what an event is called.
    label_field: Option<usize>,
    /// It stands for several: there are too many.
    pub is_rest: bool,
}

/// The name of the field that says what an event is called, and so many of its bytes.
const LABEL: &str = "label";
const LABEL_BYTES: usize = 1_024;

impl Kind {
    /// What an event with this payload is called, if it is not called by its kind.
    #[inline]
    pub fn label<'a>(&'a self, payload: &'a [u8]) -> Option<&'a [u8]> {
        match self.definition.as_ref()?.fields.get(self.label_field?)?.value(payload) {
            Some(Value::String(text)) if !text.is_empty() => Some(&text[..text.len().min(LABEL_BYTES)]),
            _ => None,
        }
    }
}

/// So many kinds are told from others.
const MOST: usize = 65_536;
/// The kinds that were looked up last, by the low bits of their numbers.
const RECENT: usize = 256;

/// See the module.
pub(super) struct Kinds {
    list: Vec<Kind>,
    places: HashMap<u32, usize>,
    recent: [u32; RECENT],
    /// Facts of the pipeline that are known.
    facts: usize,
}

impl Default for Kinds {
    fn default() -> Self {
        Self { list: Vec::new(), places: HashMap::new(), recent: [u32::MAX; RECENT], facts: 0 }
    }
}

impl Kinds {
    /// A kind by its place.
    #[inline]
    pub fn get(&self, at: usize) -> &Kind {
        &self.list[at]
    }

    /// Learns what the pipeline has said since the last call.
    pub fn learn(&mut self, facts: &Facts, names: &mut Names) -> Result<(), Failure> {
        while self.facts < facts.count() {
            let Some(fact) = facts.since(self.facts).next() else { break };
            let number = fact.node_id as u32;
            match fact.kind {
                PIPELINE_KIND_KIND_NAME => {
                    let known = self.places.get(&number).map(|at| &self.list[*at]);
                    if known.is_none_or(|kind| kind.definition.is_none()) {
                        self.put(number, &String::from_utf8_lossy(&fact.payload), None, names)?;
                    }
                }
                PIPELINE_KIND_DEFINITION => {
                    if let Ok(definition) = Definition::from_bytes(&fact.payload) {
                        let label = definition.name.clone();
                        self.put(number, &label, Some(definition), names)?;
                    }
                }
                _ => {}
            }
            self.facts += 1;
        }
        Ok(())
    }

    /// The place of a kind.
    #[inline]
    pub fn find(&mut self, number: u32, names: &mut Names) -> Result<usize, Failure> {
        let recent = self.recent[number as usize % RECENT] as usize;
        if self.list.get(recent).is_some_and(|kind| kind.number == number && !kind.is_rest) {
            return Ok(recent);
        }
        let at = match self.places.get(&number) {
            Some(at) => *at,
            None => self.add(number, names)?,
        };
        self.recent[number as usize % RECENT] = at as u32;
        Ok(at)
    }

    /// A kind of which nothing is known.
    #[cold]
    fn add(&mut self, number: u32, names: &mut Names) -> Result<usize, Failure> {
        if self.list.len() < MOST {
            return self.put(number, &number.to_string(), None, names);
        }
        if self.list.len() == MOST {
            let at = self.push(number, "other kinds", None, names)?;
            self.list[at].is_rest = true;
        }
        Ok(MOST)
    }

    fn put(
        &mut self,
        number: u32,
        label: &str,
        definition: Option<Definition>,
        names: &mut Names,
    ) -> Result<usize, Failure> {
        self.places.try_reserve(1).map_err(|_| Failure::no_memory())?;
        match self.places.get(&number) {
            Some(at) => {
                let at = *at;
                self.list[at] = kind(number, label, definition, names)?;
                Ok(at)
            }
            None => {
                let at = self.push(number, label, definition, names)?;
                self.places.insert(number, at);
                Ok(at)
            }
        }
    }

    fn push(
        &mut self,
        number: u32,
        label: &str,
        definition: Option<Definition>,
        names: &mut Names,
    ) -> Result<usize, Failure> {
        self.list.try_reserve(1).map_err(|_| Failure::no_memory())?;
        self.list.push(kind(number, label, definition, names)?);
        Ok(self.list.len() - 1)
    }
}

fn kind(
    number: u32,
    label: &str,
    definition: Option<Definition>,
    names: &mut Names,
) -> Result<Kind, Failure> {
    let known = definition.as_ref();
    let names = KindNames::new(names, label, known).map_err(|_| Failure::no_memory())?;
    let role = known.map_or(Role::Instant, |definition| definition.role);
    let begins = match known.and_then(|definition| definition.pairs_with) {
        Some(partner) if role == Role::End => partner,
        _ => number,
    };
    let is_keyed = known.is_some_and(|definition| definition.key_field.is_some());
    let label_field = known.and_then(|definition| {
        let fields = &definition.fields;
        fields.iter().position(|field| field.name == LABEL && field.field_type == Type::String)
    });
    Ok(Kind { number, definition, names, role, begins, is_keyed, label_field, is_rest: false })
}
