use super::*;
use crate::kinds::EnumValue;

fn field(name: &str, field_type: Type, offset: u32) -> Field {
    Field::new(name, field_type, offset)
}

const U32: Type = Type::Integer(Integer::U32);
const U64: Type = Type::Integer(Integer::U64);

fn values(pairs: &[(i128, &str)]) -> Type {
    let entry = |(value, name): &(i128, &str)| EnumValue { value: *value, name: (*name).into() };
    Type::Enum { integer: Integer::I8, values: pairs.iter().map(entry).collect() }
}

/// An allowed definition with a field of each sort.
fn allowed() -> Definition {
    let mut definition = Definition::new(7, "request");
    definition.category = "network".into();
    definition.fields = vec![
        field("size", U64, 0),
        field("code", values(&[(-1, "failed"), (0, "ok")]), 8),
        field("load", Type::F32, 12),
        Field { length: Length::Fixed(16), ..field("host", Type::String, 16) },
        field("body", Type::Bytes, 32),
    ];
    definition.size = 32;
    definition
}

/// Why the definition is refused after a change.
fn refused(change: impl FnOnce(&mut Definition)) -> String {
    let mut definition = allowed();
    change(&mut definition);
    definition.check().map_or_else(|why| why.to_string(), |()| "allowed".into())
}

#[test]
fn a_definition_without_faults_is_allowed() {
    assert_eq!(allowed().check(), Ok(()));
    assert_eq!(Definition::new(0, "a").check(), Ok(()));
    assert_eq!(refused(|d| d.name = "a".repeat(MAX_NAME)), "allowed");
    assert_eq!(refused(|d| d.fields[0].unit = "µ".repeat(15)), "allowed");
    assert_eq!(refused(|d| d.fields[4].offset = 30 + 2), "allowed");
    assert_eq!(refused(|d| d.kind = PIPELINE_KIND_RESERVED - 1), "allowed");
    let mut all = Definition::new(1, "all");
    all.fields = (0..64).map(|n| field(&format!("f{n}"), U64, n * 8)).collect();
    all.fit();
    assert_eq!((all.size, all.check()), (512, Ok(())));
}

#[test]
fn what_is_wrong_is_named_with_its_field_the_limit_and_the_value() {
    let long = "x".repeat(64);
    let cases: Vec<(String, &str)> = vec![
        (refused(|d| d.kind = PIPELINE_KIND_RESERVED), "kind: below 0xffff0000 allowed, 0xffff0000 given"),
        (refused(|d| d.name = String::new()), "name: it is empty"),
        (
            refused(|d| d.name = "a b".into()),
            "name: a letter, then letters, digits and underscores expected, \"a b\" given",
        ),
        (
            refused(|d| d.name = "_a".into()),
            "name: a letter, then letters, digits and underscores expected, \"_a\" given",
        ),
        (
            refused(|d| d.name = "1a".into()),
            "name: a letter, then letters, digits and underscores expected, \"1a\" given",
        ),
        (
            refused(|d| d.name = "größe".into()),
            "name: a letter, then letters, digits and underscores expected, \"größe\" given",
        ),
        (refused(|d| d.name = long.clone()), "name: at most 63 bytes allowed, 64 given"),
        (refused(|d| d.category = long.clone()), "category: at most 63 bytes allowed, 64 given"),
        (refused(|d| d.category = "a\nb".into()), "category: no control characters allowed, \"a\\nb\" given"),
        (refused(|d| d.fields[1].name = String::new()), "field fields[1]: name: it is empty"),
        (
            refused(|d| d.fields[1].name = "a'b".into()),
            "field fields[1]: name: a letter, then letters, digits and underscores expected, \"a'b\" given",
        ),
        (
            refused(|d| d.fields[1].name = "SIZE".into()),
            "field SIZE: name: fields[0] and fields[1] have it; names differ by more than case",
        ),
        (
            refused(|d| d.fields[0].unit = "x".repeat(32)),
            "field size: unit: at most 31 bytes allowed, 32 given",
        ),
        (
            refused(|d| d.fields[0].unit = "\u{7f}".into()),
            "field size: unit: no control characters allowed, \"\\u{7f}\" given",
        ),
        (
            refused(|d| d.fields[0].length = Length::Fixed(4)),
            "field size: length: 8 expected for the type u64, 4 given",
        ),
        (
            refused(|d| d.fields[0].length = Length::Rest),
            "field size: length: the rest is for strings and bytes, u64 has 8",
        ),
        (
            refused(|d| d.fields[3].length = Length::Fixed(0)),
            "field host: length: at least 1 expected, 0 given",
        ),
        (
            refused(|d| d.fields[3].length = Length::Rest),
            "field host: length: only the last field can have the rest of the payload",
        ),
        (
            refused(|d| d.fields[3].length = Length::Fixed(17)),
            "field host: offset 16, length 17 is outside of the payload, which has 32 bytes",
        ),
        (
            refused(|d| d.fields[3].offset = u32::MAX),
            "field host: offset 4294967295, length 16 is outside of the payload, which has 32 bytes",
        ),
        (
            refused(|d| d.fields[4].offset = 33),
            "field body: offset: at most 32 allowed (the payload's size), 33 given",
        ),
        (
            refused(|d| d.fields[2].offset = 6),
            "field load: overlaps with the field size: offset 0, length 8, offset 6, length 4",
        ),
        (
            refused(|d| d.fields[4].offset = 31),
            "field body: overlaps with the field host: offset 16, length 16, offset 31, the rest",
        ),
        (refused(|d| d.fields[3].hint = Hint::Bytes), "field host: hint: bytes is not for the type string"),
        (
            refused(|d| d.fields[1].hint = Hint::Nanoseconds),
            "field code: hint: nanoseconds is not for the type enum",
        ),
        (
            refused(|d| d.fields[2].hint = Hint::Hexadecimal),
            "field load: hint: hexadecimal is not for the type f32",
        ),
        (refused(|d| d.fields[1].field_type = values(&[])), "field code: values: an enum names at least one"),
        (
            refused(|d| d.fields[1].field_type = values(&[(1, "a"), (2, "b"), (1, "c")])),
            "field code: values: 1 has two names, a and c",
        ),
        (
            refused(|d| d.fields[1].field_type = values(&[(1, "a"), (2, "b"), (3, "a")])),
            "field code: values: a is the name of two, 1 and 3",
        ),
        (
            refused(|d| d.fields[1].field_type = values(&[(1, "")])),
            "field code: values[0]: name: it is empty",
        ),
        (
            refused(|d| d.fields[1].field_type = values(&[(1, "a"), (128, "b")])),
            "field code: values[1]: -128 to 127 allowed (i8), 128 given",
        ),
        (
            refused(|d| d.fields[1].field_type = values(&[(1, "\t")])),
            "field code: values[0]: name: no control characters allowed, \"\\t\" given",
        ),
    ];
    for (given, expected) in cases {
        assert_eq!(given, expected);
    }
}

#[test]
fn the_65th_field_is_refused_by_its_name() {
    let mut many = Definition::new(1, "many");
    many.fields = (0..65).map(|n| field(&format!("f{n}"), U64, n * 8)).collect();
    many.fit();
    let why = many.check().unwrap_err();
    assert_eq!(why.to_string(), "field f64: fields: at most 64 allowed, 65 given");
}

#[test]
fn what_a_role_needs_is_checked() {
    let begin = |d: &mut Definition| (d.role, d.pairs_with) = (Role::Begin, Some(8));
    let complete = |index| move |d: &mut Definition| (d.role, d.duration_field) = (Role::Complete, index);
    let cases: Vec<(String, &str)> = vec![
        (refused(begin), "allowed"),
        (refused(|d| d.role = Role::End), "pairs_with: a kind of role end names the other kind"),
        (
            refused(|d| d.pairs_with = Some(8)),
            "pairs_with: only for the roles begin and end, 8 given with instant",
        ),
        (refused(|d| (d.role, d.pairs_with) = (Role::End, Some(7))), "pairs_with: 7 is the kind itself"),
        (
            refused(|d| (d.role, d.pairs_with) = (Role::End, Some(u32::MAX))),
            "pairs_with: below 0xffff0000 allowed, 0xffffffff given",
        ),
        (refused(|d| d.key_field = Some(4)), "allowed"),
        (refused(|d| d.key_field = Some(5)), "key_field: fields[5] is missing, there are 5 fields"),
        (refused(complete(Some(0))), "allowed"),
        (refused(complete(None)), "duration_field: a kind of role complete names it"),
        (refused(complete(Some(5))), "duration_field: fields[5] is missing, there are 5 fields"),
        (
            refused(complete(Some(2))),
            "field load: duration_field: an integer of nanoseconds expected, f32 given",
        ),
        (
            refused(|d| d.duration_field = Some(0)),
            "duration_field: only for the role complete, given with instant",
        ),
        (refused(|d| d.role = Role::Counter), "allowed"),
        (
            refused(|d| {
                d.role = Role::Counter;
                d.fields.retain(|field| !field.field_type.is_number());
            }),
            "fields: a kind of role counter has a field with an integer or a float",
        ),
    ];
    for (given, expected) in cases {
        assert_eq!(given, expected);
    }
}

#[test]
fn a_definition_whose_names_take_too_much_is_refused() {
    let name = |n: i128| format!("{n:063}");
    let entries = (0..300).map(|n| EnumValue { value: n, name: name(n) }).collect();
    let large = Type::Enum { integer: Integer::U16, values: entries };
    let why = refused(|d| {
        d.fields = vec![field("e", large, 0)];
    });
    assert_eq!(why, "the names and values take 21659 bytes in all, 16384 allowed");
}

#[test]
fn another_layout_is_named_by_what_differs_first() {
    let differs = |change: fn(&mut Definition)| {
        let mut other = allowed();
        change(&mut other);
        allowed().same_layout(&other)
    };
    assert_eq!(differs(|_| ()), Ok(()));
    assert_eq!(differs(|d| d.category = String::new()), Ok(()));
    assert_eq!(differs(|d| d.fields[0].unit = "B".into()), Ok(()));
    assert_eq!(differs(|d| d.fields[0].hint = Hint::Hexadecimal), Ok(()));
    type Change = fn(&mut Definition);
    let cases: [(Change, &str); 12] = [
        (|d| d.kind = 8, "kind"),
        (|d| d.name = "Request".into(), "name"),
        (|d| d.role = Role::Log, "role"),
        (|d| d.pairs_with = Some(1), "pairs_with"),
        (|d| d.fields[1].offset = 9, "code"),
        (|d| d.fields[2].field_type = U32, "load"),
        (|d| d.fields[3].length = Length::Fixed(15), "host"),
        (|d| d.fields[1].field_type = values(&[(-1, "failed"), (0, "fine")]), "code"),
        (|d| d.fields.truncate(4), "body"),
        (|d| d.fields[4].name = "Body".into(), "Body"),
        (|d| d.key_field = Some(0), "key_field"),
        (|d| d.size = 40, "size"),
    ];
    for (change, expected) in cases {
        assert_eq!(differs(change), Err(expected.to_owned()));
    }
    let mut longer = allowed();
    longer.fields.insert(1, field("new", U32, 0));
    assert_eq!(allowed().same_layout(&longer), Err("new".to_owned()));
}
