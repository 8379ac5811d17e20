use super::*;
use crate::kinds::{Definition, EnumValue, Field, Hint, Integer, Length, Type, Value};
use crate::platform::random::mix;
use crate::storage::sqlite::tables::{CLOCKS, DEFINITIONS, TABLES};
use rusqlite::params;
use rusqlite::types::ValueRef;

fn database() -> Connection {
    let db = Connection::open_in_memory().expect("memory");
    db.execute_batch(&format!("{TABLES}{CLOCKS}{DEFINITIONS}")).expect("the tables");
    db
}

fn run(db: &Connection, id: i64, definitions: &[&Definition]) {
    db.execute(
        "INSERT INTO runs(id, generation, pid, program, boot_id, first_wall_ns, first_time_ns) VALUES(?1, -?1, 1, '', '', 0, 0)",
        [id],
    )
    .expect("a run");
    for definition in definitions {
        insert(db, id, definition.kind.into(), &definition.to_bytes()).expect("stored");
    }
    update(db).expect("the views");
}

fn event(db: &Connection, run: i64, kind: u32, payload: &[u8]) {
    db.prepare_cached(
        "INSERT INTO events(run, ring_id, sequence, time_ns, wall_ns, kind, correlation_id, node_id, weight, flags, writer_id, \
         attempt, payload) VALUES(?1, -1, (SELECT count(*) FROM events), -1, 1700000000000000001, ?2, -1, 7, 1.5, 2, 0, 1, ?3)",
    )
    .and_then(|mut statement| statement.execute(params![run, kind, payload]))
    .expect("a row");
}

fn texts(db: &Connection, sql: &str) -> Vec<String> {
    let mut statement = db.prepare(sql).unwrap_or_else(|why| panic!("{sql}: {why}"));
    let rows = statement.query_map([], |row| Ok(format!("{:?}", row.get_ref(0)?)));
    rows.and_then(Iterator::collect).unwrap_or_else(|why| panic!("{sql}: {why}"))
}

fn views(db: &Connection) -> Vec<String> {
    let mut names =
        texts(db, "SELECT name FROM sqlite_schema WHERE type = 'view' AND name LIKE 'kind%' ORDER BY name");
    names.iter_mut().for_each(|name| *name = name.replace("Text([", "").replace("])", ""));
    names
        .iter()
        .map(|name| name.split(", ").filter_map(|byte| byte.parse::<u8>().ok()).map(char::from).collect())
        .collect()
}

/// A kind with a field of each type, at odd offsets.
fn every_type() -> Definition {
    let mut definition = Definition::new(7, "order");
    let mut offset = 1;
    let mut add = |name: &str, field_type: Type, length: Length| {
        let field = Field { length, ..Field::new(name, field_type, offset) };
        offset = field.end().unwrap_or(0) as u32;
        field
    };
    let size = |field_type: &Type| Length::Fixed(field_type.size().unwrap_or(5));
    let values = |integer: Integer| {
        let (least, greatest) = integer.range();
        [(least, "it's least"), (greatest, "\"größte\"; --"), (3, "three")]
            .map(|(value, name)| EnumValue { value, name: name.into() })
            .to_vec()
    };
    let mut fields = Vec::new();
    for integer in Integer::ALL {
        let plain = Type::Integer(integer);
        fields.push(add(integer.name(), plain.clone(), size(&plain)));
        let named = Type::Enum { integer, values: values(integer) };
        fields.push(add(&format!("e_{}", integer.name()), named.clone(), size(&named)));
    }
    for (name, field_type) in [
        ("f32", Type::F32),
        ("f64", Type::F64),
        ("select", Type::Bool),
        ("address", Type::Address),
        ("string", Type::String),
        ("bytes", Type::Bytes),
    ] {
        let length = size(&field_type);
        fields.push(add(name, field_type, length));
    }
    fields.push(add("rest", Type::String, Length::Rest));
    definition.fields = fields;
    definition.fit();
    definition.check().expect("allowed");
    definition
}

/// What the column of a field should have.
fn expected(value: Option<Value<'_>>) -> String {
    let float = |value: f64| match value {
        _ if value.is_nan() => "Null".to_owned(),
        _ => format!("Real({value:?})"),
    };
    let unsigned = |value: u64| match i64::try_from(value) {
        Ok(value) => format!("Integer({value})"),
        Err(_) => format!("{:?}", ValueRef::Text(value.to_string().as_bytes())),
    };
    match value {
        None => "Null".to_owned(),
        Some(Value::Unsigned(value)) => unsigned(value),
        Some(Value::Signed(value)) => format!("Integer({value})"),
        Some(Value::F32(value)) => float(value.into()),
        Some(Value::F64(value)) => float(value),
        Some(Value::Bool(value)) => format!("Integer({})", i32::from(value)),
        Some(Value::Address(value)) => format!("{:?}", ValueRef::Text(format!("{value:#x}").as_bytes())),
        Some(Value::String(bytes)) => format!("{:?}", ValueRef::Text(bytes)),
        Some(Value::Bytes(bytes)) => format!("{:?}", ValueRef::Blob(bytes)),
        Some(Value::Enum { name: Some(name), .. }) => format!("{:?}", ValueRef::Text(name.as_bytes())),
        Some(Value::Enum { value, name: None }) => match u64::try_from(value) {
            Ok(value) => unsigned(value),
            Err(_) => format!("Integer({value})"),
        },
    }
}

#[test]
fn a_column_has_the_exact_value_of_its_field() {
    let definition = every_type();
    let db = database();
    run(&db, 1, &[&definition]);
    let whole = definition.size as usize + 9;
    let mut payloads: Vec<Vec<u8>> = (0..=whole).map(|length| vec![0xC1; length]).collect();
    for edge in [0, 1, 0x7F, 0x80, 0xFF] {
        payloads.push(vec![edge; whole]);
    }
    for seed in 0..600u64 {
        let byte = |n: u64| mix(seed << 20 | n) as u8;
        let mut payload: Vec<u8> = (0..whole as u64).map(byte).collect();
        // Numbers with many zeros or ones, and floats of all exponents.
        for field in &definition.fields {
            let at = field.offset as usize..field.end().unwrap_or(field.offset.into()) as usize;
            match (seed % 5, &field.field_type) {
                (0, _) => payload[at].iter_mut().skip(seed as usize % 7).for_each(|byte| *byte = 0),
                (1, _) => payload[at].iter_mut().skip(seed as usize % 3).for_each(|byte| *byte = 0xFF),
                (2, Type::Enum { .. }) => {
                    payload[at].iter_mut().enumerate().for_each(|(n, byte)| *byte = 3 * u8::from(n == 0))
                }
                (3, Type::F64) => {
                    let fraction = (mix(seed + 1) >> 12) * (seed % 2);
                    let bits = ((mix(seed) % 2048) << 52) | fraction | (seed << 63);
                    payload[at].copy_from_slice(&bits.to_le_bytes());
                }
                (3, Type::F32) => {
                    let fraction = (mix(seed + 1) >> 41) as u32 * (seed % 2) as u32;
                    let bits = ((mix(seed) as u32 % 256) << 23) | fraction;
                    payload[at].copy_from_slice(&bits.to_le_bytes());
                }
                _ => {}
            }
        }
        payloads.push(payload);
    }
    for bits in [
        0u64,
        1 << 63,
        1,
        0x000F_FFFF_FFFF_FFFF,
        0x0010_0000_0000_0000,
        0x7FEF_FFFF_FFFF_FFFF,
        0x7FF0 << 48,
        0xFFF0 << 48,
        0x7FF8 << 48u64,
    ] {
        let mut payload = vec![0; whole];
        let field = &definition.fields[definition.field_named("f64").expect("there")];
        payload[field.offset as usize..][..8].copy_from_slice(&bits.to_le_bytes());
        payloads.push(payload);
    }
    for bits in [1u32 << 31, 1, 0x007F_FFFF, 0x0080_0000, 0x7F7F_FFFF, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000]
    {
        let mut payload = vec![0; whole];
        let field = &definition.fields[definition.field_named("f32").expect("there")];
        payload[field.offset as usize..][..4].copy_from_slice(&bits.to_le_bytes());
        payloads.push(payload);
    }
    payloads.iter().for_each(|payload| event(&db, 1, 7, payload));

    let mut statement = db.prepare("SELECT * FROM kind_order ORDER BY _id").expect("the view");
    let fields = definition.fields.iter().map(|field| field.name.as_str());
    assert!(fields.eq(statement.column_names().take(definition.fields.len())));
    let mut rows = statement.query([]).expect("rows");
    let mut compared = 0;
    for payload in &payloads {
        let row = rows.next().expect("no failure").expect("a row");
        for (index, (field, value)) in definition.values(payload).enumerate() {
            let got = format!("{:?}", row.get_ref(index).expect("a column"));
            assert_eq!(got, expected(value), "{} of {payload:02x?}", field.name);
            compared += 1;
        }
    }
    assert!(rows.next().expect("no failure").is_none());
    assert_eq!(compared, payloads.len() * 23);
}

#[test]
fn the_columns_of_the_event_are_those_of_events_view() {
    let db = database();
    run(&db, 1, &[&every_type()]);
    db.execute_batch("INSERT INTO threads VALUES(1, -1, 42, 'worker')").expect("a thread");
    event(&db, 1, 7, b"");
    let line = |columns: &str, view: &str| {
        texts(&db, &format!("SELECT {} FROM {view}", columns.replace(", ", " || '|' || ")))
    };
    let of = "id, generation, ring_id, sequence, wall_time, time_ns, kind, correlation_id, node_id, weight, flags, tid, thread_name";
    let with = format!("_{}", of.replace(", ", ", _"));
    assert_eq!(line(&with, "kind_order"), line(of, "events_view"));
}

fn small(kind: u32, name: &str, fields: &[(&str, Integer)]) -> Definition {
    let mut definition = Definition::new(kind, name);
    for (n, (field, integer)) in fields.iter().enumerate() {
        definition.fields.push(Field::new(field, Type::Integer(*integer), 4 * n as u32));
    }
    definition.fit();
    definition
}

#[test]
fn a_view_shows_the_events_of_every_run_with_its_layout_and_of_no_other() {
    let db = database();
    let old = small(7, "alloc", &[("size", Integer::U32)]);
    let new = small(7, "alloc", &[("size", Integer::U16)]);
    let shown = |sql: &str| texts(&db, sql);
    run(&db, 1, &[&old]);
    // The same layout, as another kind, with another unit and role.
    let mut moved = Definition { kind: 8, category: "memory".into(), ..old.clone() };
    moved.fields[0].unit = "bytes".into();
    moved.fields[0].hint = Hint::Bytes;
    run(&db, 2, &[&moved]);
    run(&db, 3, &[]);
    for (run, kind) in [(1, 7), (1, 8), (2, 7), (2, 8), (3, 7), (3, 8)] {
        event(&db, run, kind, &(run as u32 * 0x10000 + kind).to_le_bytes());
    }
    assert_eq!(views(&db), ["kind_alloc"]);
    assert_eq!(shown("SELECT size FROM kind_alloc ORDER BY _id"), ["Integer(65543)", "Integer(131080)"]);
    // The name belongs to the layout of the last run.
    run(&db, 4, &[&new]);
    event(&db, 4, 7, &[1, 2, 3, 4]);
    assert_eq!(shown("SELECT size FROM kind_alloc"), ["Integer(513)"]);
    // A run with the old one again.
    run(&db, 5, &[&old]);
    assert_eq!(shown("SELECT count(*) FROM kind_alloc"), ["Integer(2)"]);
    assert_eq!(shown("SELECT count(*) || ' ' || count(DISTINCT layout) FROM definitions").len(), 1);
    assert_eq!(shown("SELECT count(*) FROM definitions"), ["Integer(3)"]);
    assert_eq!(shown("SELECT count(DISTINCT layout) FROM definitions"), ["Integer(2)"]);
}

#[test]
fn names_that_differ_by_case_share_a_view() {
    let db = database();
    run(&db, 1, &[&small(1, "alloc", &[("a", Integer::U8)])]);
    run(&db, 2, &[&small(1, "Alloc", &[("b", Integer::U8)])]);
    assert_eq!(views(&db), ["kind_Alloc"]);
    event(&db, 2, 1, &[5]);
    assert_eq!(texts(&db, "SELECT b FROM kind_alloc"), ["Integer(5)"]);
}

#[test]
fn a_foreign_view_is_replaced_and_nothing_else_is() {
    let db = database();
    let definitions =
        [small(1, "a", &[("x", Integer::U8)]), small(2, "b", &[("x", Integer::U8)]), small(3, "c", &[])];
    db.execute_batch(
        "CREATE VIEW kind_a AS SELECT 'a lie' AS x; CREATE TABLE kind_b(mine); INSERT INTO kind_b VALUES(4711); \
         CREATE VIEW kind_mine AS SELECT 1",
    )
    .expect("made");
    run(&db, 1, &definitions.iter().collect::<Vec<_>>());
    event(&db, 1, 1, &[5]);
    assert_eq!(texts(&db, "SELECT x FROM kind_a"), ["Integer(5)"]);
    assert_eq!(texts(&db, "SELECT mine FROM kind_b"), ["Integer(4711)"]);
    assert_eq!(views(&db), ["kind_a", "kind_c", "kind_mine"]);
    assert_eq!(update(&db).expect("nothing to do"), 0);
}

#[test]
fn the_largest_definitions_have_a_view() {
    let db = database();
    let mut wide = Definition::new(1, &"w".repeat(63));
    wide.fields =
        (0..64).map(|n| Field::new(&format!("{}{n}", "f".repeat(61)), Type::F64, 1 + 8 * n)).collect();
    wide.fit();
    let mut many = Definition::new(2, "many");
    let values = (0..1_200).map(|value| EnumValue { value, name: format!("n{value}") }).collect();
    many.fields = vec![Field::new("e", Type::Enum { integer: Integer::I64, values }, 0)];
    many.fit();
    run(&db, 1, &[&wide, &many]);
    event(&db, 1, 1, &[&[0][..], &1.25f64.to_le_bytes().repeat(64)].concat());
    event(&db, 1, 2, &1_199u64.to_le_bytes());
    let last = texts(&db, &format!("SELECT {}63 FROM kind_{}", "f".repeat(61), "w".repeat(63)));
    assert_eq!(last, ["Real(1.25)"]);
    assert_eq!(texts(&db, "SELECT e FROM kind_many"), [format!("{:?}", ValueRef::Text(b"n1199"))]);
    let longest = texts(&db, "SELECT max(length(sql)) FROM sqlite_schema");
    assert!(longest[0].len() <= "Integer(999999)".len(), "{longest:?}: the limit of the connections is 2^20");
}

#[test]
fn hostile_rows_make_no_view() {
    let db = database();
    db.execute_batch(
        "INSERT INTO definitions VALUES(1, 'x', 1, 'text'), (2, 'y', 2, x'00'), (3, 'z', 3, zeroblob(1000000)); \
         INSERT INTO defined_kinds VALUES(1, 1, 1, 1), (1, 2, 2, 2), (1, 3, 3, 3), (1, 4, 4, 4), (9, -5, 5, 77)",
    )
    .expect("rows");
    assert_eq!(update(&db).expect("no failure"), 0);
    insert(&db, 1, 1, b"no definition").expect("ignored");
    insert(&db, 1, 2, &small(1, "of_another_kind", &[]).to_bytes()).expect("ignored");
    assert_eq!(update(&db).expect("no failure"), 0);
    assert_eq!(views(&db), [""; 0]);
    // A kind number that is none.
    let good = small(6, "good", &[]);
    insert(&db, 1, 6, &good.to_bytes()).expect("stored");
    db.execute_batch("UPDATE defined_kinds SET kind = -1 WHERE kind = 6").expect("changed");
    update(&db).expect("no failure");
}
