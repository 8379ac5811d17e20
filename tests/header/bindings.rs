//! The lists of fields in the Erlang application: the NIF's tables (c_src/maps/lists.h), the types of the configuration and the metrics
//! (src/elixir_scope_capture_pipeline_lists.hrl), and the names that definitions of kinds use (src/elixir_scope_capture_pipeline_kind.hrl).
//!
//! - A field with constants in C has names in Erlang. The documentation of such a constant begins with its field:
//!   `pipeline_config_t.overflow`. The name is the constant's, without what all constants of the field begin with.
//! - If the constants begin with 0, the field is one of the names. If they begin with 1, they are bits, and the field is a list.
//! - A field whose documentation begins with "1 " or "1: " is `true` or `false`.
//! - A list, which a pointer and a number of elements stand for, is none of the fields.

use super::layout::Item;
use super::lists;
use std::collections::BTreeSet;

/// The structs that are maps in Erlang.
const STRUCTS: [&str; 9] = [
    "config",
    "sqlite_options",
    "journal_options",
    "perfetto_options",
    "reader_options",
    "metrics",
    "writer_metrics",
    "health",
    "reader_losses",
];

/// A field that a map has.
struct Field {
    name: String,
    c_type: String,
    doc: String,
}

/// How a field is kept and written, in the NIF's words.
fn sort(of: &str, field: &Field, items: &[Item]) -> (&'static str, Option<Vec<String>>) {
    match (names(of, &field.name, items), field.c_type.as_str()) {
        (Some((0, names)), _) => ("NAMES", Some(names)),
        (Some((_, names)), _) => ("BITS", Some(names)),
        (_, "const char *") => ("TEXT", None),
        (_, "int32_t") => ("SIGNED", None),
        (_, "double") => ("FLOAT", None),
        _ if field.doc.starts_with("1 ") || field.doc.starts_with("1: ") => ("BOOL", None),
        _ => ("UNSIGNED", None),
    }
}

/// The first constant of a field, and the names of all. Those of a storage's options are its own; the other structs share theirs.
fn names(of: &str, field: &str, items: &[Item]) -> Option<(u32, Vec<String>)> {
    let own = format!("`pipeline_{of}_t.{field}`");
    let is_it = |one: &str| {
        let shared = one.starts_with("`pipeline_") && one.ends_with(&format!(".{field}`"));
        if of.ends_with("_options") { one == own } else { shared && !one.contains("_options_t.") }
    };
    let names_it = |item: &&Item| {
        let comment = item.comment();
        let subject = comment.split(": ").next().unwrap_or_default();
        item.name.starts_with("PIPELINE_") && subject.split(", ").any(is_it)
    };
    let constants: Vec<&Item> = items.iter().filter(names_it).collect();
    let first = constants.first()?;
    let value = |item: &Item| item.declaration().first()?.rsplit(' ').next()?.parse().ok();
    let mut start = first.name.len();
    for constant in &constants {
        let same = constant.name.bytes().zip(first.name.bytes()).take_while(|(a, b)| a == b).count();
        start = start.min(same);
    }
    let start = first.name[..start].rfind('_')? + 1;
    let all = constants.iter().map(|constant| constant.name[start..].to_lowercase()).collect();
    Some((value(first).expect("the value of a constant"), all))
}

/// The fields of a struct that a map has.
fn fields(of: &str, items: &[Item]) -> Vec<Field> {
    let item = items.iter().find(|item| item.name == format!("pipeline_{of}_t")).expect(of);
    let mut found = Vec::new();
    let mut doc = String::new();
    for line in item.declaration().iter().filter_map(|line| line.strip_prefix("    ")) {
        if line.trim_start().starts_with(['/', '*']) {
            doc = format!("{doc} {}", line.trim_matches([' ', '*', '/'])).trim().to_owned();
            continue;
        }
        let at = line.rfind([' ', '*']).expect("a type and a name") + 1;
        let (c_type, name) = (line[..at].trim(), line[at..].trim_end_matches(';'));
        let doc = std::mem::take(&mut doc);
        let own = name == "struct_size" || name.starts_with("reserved") || name.contains('[');
        let list = name == "kind_count" || (c_type.ends_with('*') && c_type != "const char *");
        if !own && !list && (name != "flags" || flag_of(of).is_some()) {
            found.push(Field { name: name.to_owned(), c_type: c_type.to_owned(), doc });
        }
    }
    found
}

/// The one flag in `flags` of a struct, as the bindings name it.
fn flag_of(of: &str) -> Option<&'static str> {
    match of {
        "sqlite_options" => Some("no_indexes"),
        "journal_options" => Some("live_figures"),
        _ => None,
    }
}

/// The names of the statuses, by their number without the sign.
fn statuses(items: &[Item]) -> String {
    let mut names = "\"ok\"".to_owned();
    for (at, item) in items.iter().filter(|item| item.name.starts_with("PIPELINE_ERR_")).enumerate() {
        let number = item.declaration().first().and_then(|line| line.rsplit(' ').next());
        assert_eq!(number, Some(format!("-{}", at + 1).as_str()), "{}: the next status's number", item.name);
        names += &format!(", \"{}\"", item.name["PIPELINE_ERR_".len()..].to_lowercase());
    }
    format!("static const char *const statuses[] = {{ {names} }};\n")
}

/// `c_src/maps/lists.h`.
pub fn nif_tables(items: &[Item]) -> String {
    let mut tables = String::new();
    let mut arrays = BTreeSet::new();
    for of in STRUCTS {
        tables += &format!("\nstatic const struct field {of}_fields[] = {{\n");
        for field in fields(of, items) {
            let name = &field.name;
            if let Some(flag) = flag_of(of).filter(|_| name == "flags") {
                tables += &format!("    FIELD_AS(\"{flag}\", pipeline_{of}_t, BOOL, flags, NULL),\n");
                continue;
            }
            let (sort, names) = sort(of, &field, items);
            let mut array = "NULL".to_owned();
            if let Some(names) = names {
                let quoted: String = names.iter().map(|name| format!("\"{name}\", ")).collect();
                let line =
                    |array: &str| format!("static const char *const {array}[] = {{ {quoted}NULL }};\n");
                array = format!("{name}_names");
                let is_taken = |array: &str| {
                    arrays.iter().any(|one: &String| one.contains(&format!("*const {array}[]")))
                };
                // Two structs may have a field of one name with other names.
                if !arrays.contains(&line(&array)) && is_taken(&array) {
                    array = format!("{of}_{array}");
                }
                arrays.insert(line(&array));
            }
            tables += &format!("    FIELD(pipeline_{of}_t, {sort}, {name}, {array}),\n");
        }
        tables += "};\n";
    }
    format!(
        "/* The fields of the C API's structs, for maps/config.c and journal/options.c, and its statuses, for pipeline/status.c. Generated by `make header`: do not edit. */\n#ifndef CAPTURE_NIF_LISTS_H\n\
         #define CAPTURE_NIF_LISTS_H\n\n#include \"maps/fields.h\"\n\n#include <capture_pipeline.h>\n\n{}{}{tables}\n#endif\n",
        statuses(items),
        arrays.into_iter().collect::<String>()
    )
}

/// `src/elixir_scope_capture_pipeline_lists.hrl`.
pub fn erlang_types(items: &[Item]) -> String {
    let list = lists::structs();
    let config = list.iter().find(|each| each.name == "pipeline_config_t").expect("the configuration");
    let limits =
        |name: &str| config.fields.iter().find(|field| field.name == name).map_or("", |field| &field.rest);
    let mut text =
        "%% The fields of the C API's structs. Generated by `make header`: do not edit.\n".to_owned();
    for of in ["config", "metrics", "writer_metrics", "health", "reader_losses"] {
        let arrow = if of == "config" { "=>" } else { ":=" };
        let wanted = |field: &Field| field.name != "details";
        let all = fields(of, items).into_iter().filter(wanted).map(|field| {
            let kind = match sort(of, &field, items) {
                ("NAMES", Some(names)) => names.join(" | "),
                ("BITS", Some(names)) => format!("[{}]", names.join(" | ")),
                ("TEXT", _) => "atom() | unicode:chardata()".to_owned(),
                ("BOOL", _) => "boolean()".to_owned(),
                ("FLOAT", _) => "float()".to_owned(),
                ("SIGNED", _) => "integer()".to_owned(),
                _ => integers(limits(&field.name), items),
            };
            format!("    {} {arrow} {kind}", field.name)
        });
        let more = match of {
            "health" => Some("    message := binary()".to_owned()),
            "reader_losses" => Some("    details := unicode:unicode_binary()".to_owned()),
            // The NIF adds its own.
            "metrics" => Some("    atom() => non_neg_integer()".to_owned()),
            _ => None,
        };
        let all: Vec<String> = all.chain(more).collect();
        text += &format!("\n-type {of}() :: #{{\n{}\n}}.\n", all.join(",\n"));
    }
    text
}

/// `src/elixir_scope_capture_pipeline_kind.hrl`: the names that the definition of a kind chooses from, and their numbers.
pub fn kind_names(items: &[Item]) -> String {
    let mut text =
        "%% The roles, types and hints of defined kinds. Generated by `make header`: do not edit.\n"
            .to_owned();
    for (field, list) in [("role", "ROLES"), ("type", "TYPES"), ("hint", "HINTS")] {
        let (first, names) = names("kind", field, items).expect(field);
        let pairs: Vec<String> =
            (first..).zip(names).map(|(number, name)| format!("'{name}' => {number}")).collect();
        text += &format!("-define({list}, #{{{}}}).\n", pairs.join(", "));
    }
    text
}

/// The type of the integers that the list allows: `1..=4096` as an entry has it.
fn integers(entry: &str, items: &[Item]) -> String {
    let number = |text: &str| -> Option<u64> {
        let constant =
            items.iter().find(|item| item.name == text).and_then(|item| item.declaration().first());
        let text = constant.and_then(|line| line.rsplit(' ').next()).unwrap_or(text);
        text.replace('_', "").parse().ok()
    };
    let range = entry.split(", ").find_map(|part| part.split_once("..="));
    match range.map(|(low, high)| (number(low), number(high))) {
        Some((Some(low), Some(high))) => format!("{low}..{high}"),
        Some((Some(1), None)) => "pos_integer()".to_owned(),
        _ => "non_neg_integer()".to_owned(),
    }
}
