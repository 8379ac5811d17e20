//! The fields of defined kinds as columns: a group for each kind by its name and layout.

use crate::kinds::Kind;
use capture_pipeline::kinds::Definition;

/// The kinds of one name and layout.
pub struct Group {
    /// The name, which no other group has, whatever its case.
    pub name: String,
    /// What the payloads consist of.
    pub definition: Definition,
}

/// The groups of a journal.
pub struct Groups {
    /// The groups.
    pub list: Vec<Group>,
    /// The group of each kind, by its place in the journal's list.
    of_kinds: Vec<Option<usize>>,
    /// The columns of the only group have the fields' names alone.
    pub is_single: bool,
}

impl Groups {
    /// The groups of the kinds whose events may be chosen. `only_one`: if there is one group alone, its name is left out.
    pub fn new(kinds: &[Kind], only_one: bool) -> Self {
        let mut groups = Self { list: Vec::new(), of_kinds: Vec::new(), is_single: false };
        for kind in kinds {
            let group = kind.definition.as_ref().filter(|_| kind.is_wanted());
            let group = group.map(|definition| groups.find(definition));
            groups.of_kinds.push(group);
        }
        groups.is_single = only_one && groups.list.len() == 1;
        groups
    }

    /// The group of a definition; a new one if there is none.
    fn find(&mut self, definition: &Definition) -> usize {
        let same = |group: &Group| same_columns(&group.definition, definition);
        if let Some(at) = self.list.iter().position(same) {
            return at;
        }
        let is_free = |name: &str| !self.list.iter().any(|group| group.name.eq_ignore_ascii_case(name));
        let mut name = definition.name.clone();
        for n in 2.. {
            if is_free(&name) {
                break;
            }
            name = format!("{}_{n}", definition.name);
        }
        self.list.push(Group { name, definition: definition.clone() });
        self.list.len() - 1
    }

    /// The group of a kind, by its place in the journal's list.
    #[inline]
    pub fn of(&self, kind_at: usize) -> Option<usize> {
        self.of_kinds.get(kind_at).copied().flatten()
    }
}

/// Whether the fields are the same, for columns.
fn same_columns(left: &Definition, right: &Definition) -> bool {
    left.name == right.name
        && left.size == right.size
        && left.fields.len() == right.fields.len()
        && left.fields.iter().zip(&right.fields).all(|(left, right)| {
            (&left.name, &left.field_type, left.offset, left.length)
                == (&right.name, &right.field_type, right.offset, right.length)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Choice;
    use capture_pipeline::kinds::{Field, Integer, Type};

    fn kind(generation: u64, number: u32, name: &str, fields: &[(&str, Integer)]) -> Kind {
        let mut definition = Definition::new(number, name);
        for (n, (name, integer)) in fields.iter().enumerate() {
            definition.fields.push(Field::new(name, Type::Integer(*integer), 8 * n as u32));
        }
        definition.fit();
        let name = Some(name.to_owned());
        Kind {
            generation,
            number,
            name,
            definition: Some(definition),
            is_complete: true,
            choice: Choice::All(true),
            json: Vec::new(),
            json_names: Vec::new(),
            attributes: std::sync::Arc::from([]),
            is_rest: false,
            track_field: None,
            label_field: None,
        }
    }

    #[test]
    fn kinds_of_one_name_and_layout_share_their_columns() {
        let mut unwanted = kind(1, 5, "unwanted", &[]);
        unwanted.choice = Choice::All(false);
        let undefined = Kind { definition: None, ..kind(1, 6, "undefined", &[]) };
        let kinds = [
            kind(1, 7, "a", &[("x", Integer::U64)]),
            unwanted,
            kind(2, 9, "a", &[("x", Integer::U64)]),
            kind(3, 7, "a", &[("x", Integer::I64)]),
            undefined,
            kind(3, 8, "A", &[("y", Integer::U8)]),
        ];
        let groups = Groups::new(&kinds, true);
        let names: Vec<&str> = groups.list.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names, ["a", "a_2", "A_3"]);
        let of: Vec<_> = (0..8).map(|at| groups.of(at)).collect();
        assert_eq!(of, [Some(0), None, Some(0), Some(1), None, Some(2), None, None]);
        assert!(!groups.is_single);
        assert!(Groups::new(&kinds[..3], true).is_single);
        assert!(!Groups::new(&kinds[..3], false).is_single);
    }
}
