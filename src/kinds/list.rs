//! The definitions of a pipeline. What is in the list stays as it is.

use super::checks::{Invalid, shown_kind};
use super::definition::{Definition, Role};
use crate::status::{
    Error, PIPELINE_ERR_FIXED, PIPELINE_ERR_INVALID, PIPELINE_ERR_LIMIT, PIPELINE_ERR_NO_MEMORY, Result,
};

/// The largest number of kinds that a pipeline may define.
pub const MAX_DEFINITIONS: usize = 1024;

/// The definitions of a pipeline.
#[derive(Debug, Default)]
pub struct Definitions(Vec<Definition>);

impl Definitions {
    /// The definition of a kind.
    pub fn of(&self, kind: u32) -> Option<&Definition> {
        self.0.iter().find(|definition| definition.kind == kind)
    }

    /// All of them, in the order in which they came.
    pub fn iter(&self) -> std::slice::Iter<'_, Definition> {
        self.0.iter()
    }

    /// Checks a definition by itself and against the others, and makes room for it. `false`: the list has it already.
    pub fn admits(&mut self, new: &Definition) -> Result<bool> {
        new.check().map_err(|why| of_kind(new, &why))?;
        if let Some(known) = self.of(new.kind) {
            return match known.same_layout(new) {
                Ok(()) => Ok(false),
                Err(what) => Err(Error::new(
                    PIPELINE_ERR_FIXED,
                    format!("kind {}: it is defined already, and {what} is different there", new.kind),
                )),
            };
        }
        for known in &self.0 {
            check_beside(new, known).map_err(|why| of_kind(new, &why))?;
        }
        if self.0.len() >= MAX_DEFINITIONS {
            return Err(Error::new(
                PIPELINE_ERR_LIMIT,
                format!("kind {}: {MAX_DEFINITIONS} kinds may be defined, and so many are", new.kind),
            ));
        }
        self.0.try_reserve(1).map_err(|_| {
            Error::new(PIPELINE_ERR_NO_MEMORY, format!("kind {}: no memory for its definition", new.kind))
        })?;
        Ok(true)
    }

    /// Appends a definition that is admitted.
    pub fn append(&mut self, admitted: Definition) {
        self.0.push(admitted);
    }
}

fn of_kind(new: &Definition, why: &Invalid) -> Error {
    Error::new(PIPELINE_ERR_INVALID, format!("kind {}: {why}", shown_kind(new.kind)))
}

/// Checks what two definitions say about each other.
fn check_beside(new: &Definition, known: &Definition) -> Result<(), Invalid> {
    let refuse = |reason| Err(Invalid { field: None, reason });
    let kind = known.kind;
    if known.name.eq_ignore_ascii_case(&new.name) {
        return refuse(format!("name: kind {kind} has the name {}", known.name));
    }
    if new.pairs_with != Some(kind) {
        return match known.pairs_with {
            Some(paired) if paired == new.kind => {
                refuse(format!("pairs_with: {kind} expected, because kind {kind} pairs with this one"))
            }
            _ => Ok(()),
        };
    }
    let expected = if new.role == Role::Begin { Role::End } else { Role::Begin };
    if known.role != expected {
        let (expected, role) = (expected.name(), known.role.name());
        return refuse(format!("pairs_with: kind {kind} has the role {role}, {expected} expected"));
    }
    if known.pairs_with != Some(new.kind) {
        let other = known.pairs_with.unwrap_or_default();
        return refuse(format!("pairs_with: kind {kind} pairs with {other}"));
    }
    let key = |of: &Definition| of.key_field.and_then(|index| of.fields.get(index)).cloned();
    match (key(new), key(known)) {
        (None, None) => Ok(()),
        (Some(a), Some(b)) if a.field_type == b.field_type => Ok(()),
        (Some(a), Some(b)) => Err(Invalid {
            field: Some(a.name.clone()),
            reason: format!(
                "key_field: {} expected, the type of {} in kind {kind}, {} given",
                b.field_type.name(),
                b.name,
                a.field_type.name()
            ),
        }),
        (None, Some(b)) => {
            refuse(format!("key_field: missing, while kind {kind}, with which it pairs, has {}", b.name))
        }
        (Some(a), None) => {
            refuse(format!("key_field: {} given, while kind {kind}, with which it pairs, has none", a.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{Field, Integer, Type};

    fn kind(kind: u32, name: &str) -> Definition {
        let mut definition = Definition::new(kind, name);
        definition.fields = vec![Field::new("id", Type::Integer(Integer::U32), 0)];
        definition.fit();
        definition
    }

    fn span(role: Role, of: u32, with: u32) -> Definition {
        Definition { role, pairs_with: Some(with), key_field: Some(0), ..kind(of, &format!("k{of}")) }
    }

    fn define(list: &mut Definitions, definition: Definition) -> String {
        match list.admits(&definition) {
            Ok(true) => {
                list.append(definition);
                "new".into()
            }
            Ok(false) => "same".into(),
            Err(why) => format!("{} {why}", why.status),
        }
    }

    #[test]
    fn a_kind_is_defined_once_and_keeps_its_layout() {
        let mut list = Definitions::default();
        assert_eq!(define(&mut list, kind(1, "a")), "new");
        assert_eq!(define(&mut list, kind(1, "a")), "same");
        assert_eq!(define(&mut list, Definition { category: "x".into(), ..kind(1, "a") }), "same");
        let mut other = kind(1, "a");
        other.fields[0].field_type = Type::Integer(Integer::I32);
        assert_eq!(define(&mut list, other), "-16 kind 1: it is defined already, and id is different there");
        assert_eq!(
            define(&mut list, kind(1, "b")),
            "-16 kind 1: it is defined already, and name is different there"
        );
        assert_eq!(define(&mut list, kind(2, "A")), "-2 kind 2: name: kind 1 has the name a");
        assert_eq!(list.of(1), Some(&kind(1, "a")));
        assert_eq!(list.of(2), None);
        let wrong = Definition { size: 3, ..kind(3, "c") };
        assert_eq!(
            define(&mut list, wrong),
            "-2 kind 3: field id: offset 0, length 4 is outside of the payload, which has 3 bytes"
        );
    }

    #[test]
    fn the_ends_of_a_span_name_each_other_and_have_the_same_key() {
        let with = |known: Definition, new: Definition| {
            let mut list = Definitions::default();
            assert_eq!(define(&mut list, known), "new");
            define(&mut list, new)
        };
        let begin = || span(Role::Begin, 1, 2);
        assert_eq!(with(begin(), span(Role::End, 2, 1)), "new");
        assert_eq!(with(span(Role::End, 2, 1), begin()), "new");
        assert_eq!(
            with(begin(), span(Role::Begin, 2, 1)),
            "-2 kind 2: pairs_with: kind 1 has the role begin, end expected"
        );
        assert_eq!(with(begin(), span(Role::End, 3, 1)), "-2 kind 3: pairs_with: kind 1 pairs with 2");
        assert_eq!(
            with(begin(), kind(2, "x")),
            "-2 kind 2: pairs_with: 1 expected, because kind 1 pairs with this one"
        );
        assert_eq!(
            with(kind(1, "x"), span(Role::End, 2, 1)),
            "-2 kind 2: pairs_with: kind 1 has the role instant, begin expected"
        );
        assert_eq!(
            with(begin(), Definition { key_field: None, ..span(Role::End, 2, 1) }),
            "-2 kind 2: key_field: missing, while kind 1, with which it pairs, has id"
        );
        assert_eq!(
            with(Definition { key_field: None, ..begin() }, span(Role::End, 2, 1)),
            "-2 kind 2: key_field: id given, while kind 1, with which it pairs, has none"
        );
        let mut other = span(Role::End, 2, 1);
        other.fields[0].field_type = Type::Integer(Integer::I32);
        assert_eq!(
            with(begin(), other),
            "-2 kind 2: field id: key_field: u32 expected, the type of id in kind 1, i32 given"
        );
    }

    #[test]
    fn the_number_of_kinds_is_bounded() {
        let mut list = Definitions::default();
        for n in 0..MAX_DEFINITIONS as u32 {
            assert_eq!(define(&mut list, kind(n, &format!("k{n}"))), "new");
        }
        assert_eq!(
            define(&mut list, kind(5000, "more")),
            "-11 kind 5000: 1024 kinds may be defined, and so many are"
        );
        assert_eq!(define(&mut list, kind(5, "k5")), "same");
    }
}
