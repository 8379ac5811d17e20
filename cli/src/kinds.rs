//! What is known about the kinds of events in a journal.

use crate::failure::Failure;
use crate::numbers;
use capture_pipeline::expression::{Bound, Compared, Expression, Own};
use capture_pipeline::journal::reader::Facts;
use capture_pipeline::kinds::{Definition, Type, Value};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Whether events of a kind are chosen.
#[derive(Clone, Debug)]
pub enum Choice {
    /// All or none.
    All(bool),
    /// Those that the expression chooses.
    Some(Box<Bound>),
}

/// Which events are asked for: of these kinds, by name or number, or of all; and for which this is true.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The kinds.
    pub kinds: Vec<String>,
    /// The expression.
    pub filter: Option<Expression>,
}

/// A kind in one run.
#[derive(Clone, Debug)]
pub struct Kind {
    /// The run.
    pub generation: u64,
    /// The kind.
    pub number: u32,
    /// Its name, if it has one; any bytes that are no UTF-8 are replaced.
    pub name: Option<String>,
    /// Its definition, if it has one.
    pub definition: Option<Definition>,
    /// Whether the fields say all that is in a payload of the defined size.
    pub is_complete: bool,
    /// Which of its events are chosen.
    pub choice: Choice,
    /// The members of JSON that are the same for all events, up to the next value.
    pub json: Vec<u8>,
    /// For each field the text of JSON before its value.
    pub json_names: Vec<Vec<u8>>,
    /// The attributes of its run as a member of JSON, with the comma before it. Empty: there are none.
    pub attributes: Arc<[u8]>,
    /// It stands for one kind after another, of which nothing but the number is known.
    pub is_rest: bool,
    /// The place of the field that says which row an event belongs to, in place of its thread's.
    pub track_field: Option<usize>,
    /// The place of the field that says what an event is called.
    pub label_field: Option<usize>,
}

/// The names of these two fields.
const TRACK: &str = "track";
const LABEL: &str = "label";

/// The place of a field with a text.
fn text_field(definition: Option<&Definition>, name: &str) -> Option<usize> {
    let fields = &definition?.fields;
    fields.iter().position(|field| field.name == name && field.field_type == Type::String)
}

/// The attributes of each run as a member of JSON.
fn attributes_of_runs(facts: &Facts) -> HashMap<u64, Arc<[u8]>> {
    let generations: BTreeSet<u64> = facts.attributes.keys().map(|(generation, _)| *generation).collect();
    let member = |generation: u64| {
        let mut json = b",\"attributes\":".to_vec();
        for (at, (name, value)) in facts.attributes_of(generation).enumerate() {
            json.push(if at == 0 { b'{' } else { b',' });
            numbers::json_string(&mut json, name);
            json.push(b':');
            numbers::json_string(&mut json, value);
        }
        json.push(b'}');
        (generation, json.into())
    };
    generations.into_iter().map(member).collect()
}

impl Kind {
    fn new(generation: u64, number: u32, facts: &Facts, asked: &Asked) -> Self {
        let definition = facts.definitions.get(&(generation, number)).cloned();
        let given = facts.kind_names.get(&(generation, number));
        let given = given.map(|name| String::from_utf8_lossy(name).into_owned());
        let name = given.or_else(|| definition.as_ref().map(|definition| definition.name.clone()));
        let choice = asked.filter.as_ref().map_or(Choice::All(true), |filter| {
            let bound = filter.bind(number, name.as_ref().map(|name| name.as_bytes()), definition.as_ref());
            bound.always().map_or_else(|| Choice::Some(Box::new(bound)), Choice::All)
        });
        let is_complete = definition.as_ref().is_some_and(is_complete);
        let mut kind = Self {
            generation,
            number,
            name,
            track_field: text_field(definition.as_ref(), TRACK),
            label_field: text_field(definition.as_ref(), LABEL),
            definition,
            is_complete,
            choice,
            json: Vec::new(),
            json_names: Vec::new(),
            attributes: Arc::from([]),
            is_rest: false,
        };
        kind.prepare_json();
        // A name may stand for different kinds in different runs.
        if !asked.kinds.is_empty() && !asked.kinds.iter().any(|wanted| kind.is_named(wanted)) {
            kind.choice = Choice::All(false);
        }
        kind
    }

    /// With the attributes of its run.
    fn with(mut self, attributes: &HashMap<u64, Arc<[u8]>>) -> Self {
        if let Some(own) = attributes.get(&self.generation) {
            self.attributes = Arc::clone(own);
        }
        self
    }

    fn prepare_json(&mut self) {
        self.json.extend_from_slice(b",\"kind\":");
        numbers::integer(&mut self.json, self.number);
        if let Some(name) = &self.name {
            self.json.extend_from_slice(b",\"kind_name\":");
            numbers::json_string(&mut self.json, name.as_bytes());
        }
        self.json.extend_from_slice(b",\"correlation_id\":");
        let fields = self.definition.iter().flat_map(|definition| &definition.fields);
        self.json_names = fields.map(|field| format!(",\"{}\":", field.name).into_bytes()).collect();
    }

    /// Whether it has this name or number.
    pub fn is_named(&self, wanted: &str) -> bool {
        wanted.parse() == Ok(self.number)
            || self.name.as_ref().is_some_and(|name| name == wanted)
            || self.definition.as_ref().is_some_and(|definition| definition.name == wanted)
    }

    /// Whether any of its events may be chosen.
    pub fn is_wanted(&self) -> bool {
        !matches!(self.choice, Choice::All(false))
    }

    /// Its name, or its number.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.number.to_string())
    }

    /// What an event with this payload is called, if it is not called by its kind.
    #[inline]
    pub fn own_label<'p>(&'p self, payload: &'p [u8]) -> Option<&'p [u8]> {
        self.text(self.label_field?, payload)
    }

    /// The name of the row that an event with this payload belongs to, if it does not belong to that of its thread.
    #[inline]
    pub fn track<'p>(&'p self, payload: &'p [u8]) -> Option<&'p [u8]> {
        self.text(self.track_field?, payload)
    }

    fn text<'p>(&'p self, field: usize, payload: &'p [u8]) -> Option<&'p [u8]> {
        match self.definition.as_ref()?.fields.get(field)?.value(payload) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Whether the kind is defined, and the payload has the length that the definition says.
    pub fn fits(&self, payload: &[u8]) -> bool {
        self.definition.as_ref().is_some_and(|definition| definition.fits(payload))
    }

    /// Whether the fields say all that is in this payload.
    pub fn says_all(&self, payload: &[u8]) -> bool {
        self.is_complete && self.fits(payload)
    }
}

/// Whether the fields have all bytes of the size, and keep them when they are read.
fn is_complete(definition: &Definition) -> bool {
    let mut fields: Vec<_> = definition.fields.iter().collect();
    fields.sort_by_key(|field| field.offset);
    let mut end = 0;
    for field in fields {
        // What is behind the NUL of a string and which byte says true is lost, and a text must be UTF-8.
        if u64::from(field.offset) != end || matches!(field.field_type, Type::String | Type::Bool) {
            return false;
        }
        end = field.end().unwrap_or(field.offset.into());
    }
    end == u64::from(definition.size)
}

/// The kinds of a journal.
pub struct Kinds {
    list: Vec<Kind>,
    numbers: HashMap<(u64, u32), usize>,
    /// The kinds that were looked up last, by the low bits of the kind.
    recent: [(u64, u32, u32); 64],
    asked: Asked,
    /// The facts that the kinds were made from, by their numbers.
    facts: (usize, usize),
    known: Facts,
    /// The attributes of each run, as [`Kind::attributes`] has them.
    attributes: HashMap<u64, Arc<[u8]>>,
    /// The place of the kind that stands for all that have none of their own.
    rest: Option<usize>,
}

/// No kind has this place in the list.
const NONE: u32 = u32::MAX;
/// The most kinds without a name and a definition that have a place of their own. A program may use any number as a kind, and memory is bounded.
const MOST_UNKNOWN: usize = 65_536;

impl Kinds {
    /// The kinds in a journal's facts.
    pub fn new(facts: &Facts, asked: Asked) -> Self {
        let mut kinds = Self {
            list: Vec::new(),
            numbers: HashMap::new(),
            recent: [(0, 0, NONE); 64],
            asked,
            facts: (0, 0),
            known: Facts::default(),
            attributes: HashMap::new(),
            rest: None,
        };
        kinds.refresh(facts);
        kinds
    }

    /// Takes what has become known about the kinds.
    pub fn refresh(&mut self, facts: &Facts) {
        let count = (facts.kind_names.len(), facts.definitions.len());
        if count == self.facts && facts.attributes == self.known.attributes && !self.list.is_empty() {
            return;
        }
        self.facts = count;
        self.known = facts.clone();
        self.attributes = attributes_of_runs(facts);
        self.recent = [(0, 0, NONE); 64];
        for (generation, number) in facts.kind_names.keys().chain(facts.definitions.keys()) {
            self.numbers.entry((*generation, *number)).or_insert_with(|| {
                self.list.push(Kind::new(*generation, *number, facts, &self.asked));
                self.list.len() - 1
            });
        }
        for kind in self.list.iter_mut().filter(|kind| !kind.is_rest) {
            *kind = Kind::new(kind.generation, kind.number, facts, &self.asked).with(&self.attributes);
        }
    }

    /// The place of a kind in the list. One that nothing is known about is added.
    #[inline]
    pub fn find(&mut self, generation: u64, number: u32) -> usize {
        let recent = &self.recent[number as usize % 64];
        if recent.2 != NONE && recent.0 == generation && recent.1 == number {
            return recent.2 as usize;
        }
        let at = match self.numbers.get(&(generation, number)) {
            Some(at) => *at,
            None if self.list.len() >= MOST_UNKNOWN + self.facts.0 + self.facts.1 => {
                return self.rest(generation, number);
            }
            None => {
                let kind = Kind::new(generation, number, &self.known, &self.asked);
                self.list.push(kind.with(&self.attributes));
                self.numbers.insert((generation, number), self.list.len() - 1);
                self.list.len() - 1
            }
        };
        self.recent[number as usize % 64] = (generation, number, at as u32);
        at
    }

    /// The place of a kind that has none of its own.
    #[cold]
    fn rest(&mut self, generation: u64, number: u32) -> usize {
        let kind = Kind::new(generation, number, &self.known, &self.asked).with(&self.attributes);
        let kind = Kind { is_rest: true, ..kind };
        match self.rest {
            Some(at) => {
                self.list[at] = kind;
                at
            }
            None => {
                self.list.push(kind);
                *self.rest.insert(self.list.len() - 1)
            }
        }
    }

    /// All kinds, in the order of their places.
    pub fn list(&self) -> &[Kind] {
        &self.list
    }

    /// An error if the expression names a field that no kind has, or compares an enum with a name that none of its values has.
    pub fn check(&self, filter: &Expression) -> Result<(), Failure> {
        for (kind, field) in filter.fields() {
            let has = |definition: &Definition| {
                definition.field_named(field).is_some()
                    && kind.is_none_or(|kind| definition.name.eq_ignore_ascii_case(kind))
            };
            let defined = || self.list.iter().filter_map(|kind| kind.definition.as_ref());
            if kind.is_none() && Own::named(field).is_some() || defined().any(has) {
                continue;
            }
            let mut known: Vec<String> = defined()
                .flat_map(|definition| {
                    definition.fields.iter().map(|field| format!("{}.{}", definition.name, field.name))
                })
                .collect();
            known.sort();
            known.dedup();
            let known = if known.is_empty() {
                "it defines no kinds".into()
            } else {
                format!("there are {}", known.join(" "))
            };
            let name = kind.map_or_else(|| field.to_owned(), |kind| format!("{kind}.{field}"));
            return Err(Failure::new(format!("--where: the journal has no field {name}; {known}")));
        }
        filter.compared_texts().into_iter().try_for_each(|compared| self.check_name(compared))
    }

    /// An error if a text is to be the name of a value of an enum, and no kind has a value with this name.
    fn check_name(&self, (kind, field, text): Compared<'_>) -> Result<(), Failure> {
        let mut names = BTreeSet::new();
        for definition in self.list.iter().filter_map(|kind| kind.definition.as_ref()) {
            let found = definition.field_named(field).map(|index| &definition.fields[index].field_type);
            match found {
                _ if kind.is_some_and(|kind| !definition.name.eq_ignore_ascii_case(kind)) => {}
                None => {}
                Some(Type::Enum { values, .. }) => {
                    names.extend(values.iter().map(|value| value.name.as_str()))
                }
                // The text may be its value.
                Some(_) => return Ok(()),
            }
        }
        if names.is_empty() || names.iter().any(|name| name.as_bytes() == text) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(text);
        let names: Vec<&str> = names.into_iter().collect();
        Err(Failure::new(format!(
            "--where: {field} has no value named {text:?}; there are {}; any number may be given",
            names.join(" ")
        )))
    }
}
