//! What is said of a trace: its clock, its environment, and the classes of its events, in the language of CTF 1.8.

use super::fields::Class;
use crate::kinds::Kind;
use crate::timeline::places::{Process, number_of};
use capture_pipeline::journal::reader::Event;
use capture_pipeline::kinds::{Definition, Field, Hint, Integer, Type};
use std::collections::BTreeSet;
use std::fmt::Write;

/// See the module.
pub struct Metadata {
    uuid: [u8; 16],
    text: String,
    classes: u32,
}

/// What all events have, and how a packet begins.
const ALL: &str = "
typealias integer { size = 8; align = 8; signed = false; } := uint8_t;
typealias integer { size = 16; align = 8; signed = false; } := uint16_t;
typealias integer { size = 32; align = 8; signed = false; } := uint32_t;
typealias integer { size = 64; align = 8; signed = false; } := uint64_t;
typealias integer { size = 8; align = 8; signed = true; } := int8_t;
typealias integer { size = 16; align = 8; signed = true; } := int16_t;
typealias integer { size = 32; align = 8; signed = true; } := int32_t;
typealias integer { size = 64; align = 8; signed = true; } := int64_t;
typealias integer { size = 8; align = 8; signed = false; base = 16; } := hex8_t;
typealias integer { size = 16; align = 8; signed = false; base = 16; } := hex16_t;
typealias integer { size = 32; align = 8; signed = false; base = 16; } := hex32_t;
typealias integer { size = 64; align = 8; signed = false; base = 16; } := hex64_t;
typealias integer { size = 64; align = 8; signed = false; map = clock.monotonic.value; } := time_t;
typealias floating_point { exp_dig = 8; mant_dig = 24; align = 8; } := float32_t;
typealias floating_point { exp_dig = 11; mant_dig = 53; align = 8; } := float64_t;

stream {
	id = 0;
	packet.context := struct {
		time_t timestamp_begin;
		time_t timestamp_end;
		uint64_t content_size;
		uint64_t packet_size;
		uint64_t packet_seq_num;
		uint64_t events_discarded;
	};
	event.header := struct {
		uint32_t id;
		time_t timestamp;
	};
	event.context := struct {
		uint64_t _vtid;
		string { encoding = UTF8; } _procname;
		uint64_t _ring_id;
		uint64_t _sequence;
		uint64_t _correlation_id;
		uint64_t _node_id;
		float64_t _weight;
		hex32_t _flags;
		uint32_t _kind;
	};
};
";

impl Metadata {
    /// Of the run of a process, of which this is the first event.
    pub fn new(process: &Process, first: &Event<'_>) -> Self {
        let words = [number_of(&[process.uuid, first.generation]), number_of(&[first.generation, 1])];
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&words[0].to_le_bytes());
        uuid[8..].copy_from_slice(&words[1].to_le_bytes());
        // The bits that say that it is a random one.
        uuid[6] = uuid[6] & 0x0F | 0x40;
        uuid[8] = uuid[8] & 0x3F | 0x80;
        // Seconds may be negative, what is added to them may not.
        let offset = i128::from(first.realtime_ns) - i128::from(first.timestamp_ns);
        let (seconds, rest) = (offset.div_euclid(1_000_000_000), offset.rem_euclid(1_000_000_000));
        let mut text = format!(
            "/* CTF 1.8 */\n\ntrace {{\n\tmajor = 1;\n\tminor = 8;\n\tuuid = \"{}\";\n\tbyte_order = le;\n\tpacket.header := struct {{\n\t\tinteger {{ size = 32; align = 8; signed = false; }} magic;\n\t\tinteger {{ size = 8; align = 8; signed = false; }} uuid[16];\n\t\tinteger {{ size = 32; align = 8; signed = false; }} stream_id;\n\t}};\n}};\n\n",
            shown(&uuid)
        );
        let program = String::from_utf8_lossy(&process.program);
        let environment = [
            ("domain", "\"ust\"".to_owned()),
            ("tracer_name", "\"capture_pipeline\"".to_owned()),
            ("procname", quoted(&program)),
            ("vpid", process.pid.to_string()),
            ("generation", format!("\"{:016x}\"", first.generation)),
        ];
        text.push_str("env {\n");
        for (name, value) in environment {
            let _ = writeln!(text, "\t{name} = {value};");
        }
        let _ = write!(
            text,
            "}};\n\nclock {{\n\tname = monotonic;\n\tdescription = \"CLOCK_MONOTONIC\";\n\tfreq = 1000000000;\n\toffset_s = {seconds};\n\toffset = {rest};\n}};\n"
        );
        text.push_str(ALL);
        Self { uuid, text, classes: 0 }
    }

    /// The identity of the trace, which each packet has.
    pub fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Adds a class for events of a kind: with its fields, or with the payload alone. `payload`: whether the payload is there beside the fields; `None`: if they do
    /// not say all that is in it.
    pub fn class(&mut self, kind: &Kind, has_fields: bool, payload: Option<bool>) -> Class {
        let definition = kind.definition.as_ref().filter(|_| has_fields);
        let has_payload = definition.is_none_or(|_| payload.unwrap_or(!kind.is_complete));
        let id = self.classes;
        self.classes += 1;
        let name = match (kind.is_rest, &kind.definition, has_fields) {
            (true, ..) => "other".to_owned(),
            (false, Some(_), false) => format!("{} (payload)", kind.label()),
            _ => kind.label(),
        };
        let _ = write!(
            self.text,
            "\nevent {{\n\tname = {};\n\tid = {id};\n\tstream_id = 0;\n\tfields := struct {{\n",
            quoted(&name)
        );
        let mut names = BTreeSet::new();
        if let Some(definition) = definition {
            fields(&mut self.text, definition, &mut names);
        }
        if has_payload {
            let name = free(&mut names, "payload");
            sequence(&mut self.text, "hex8_t", &name, &free(&mut names, "payload_length"));
        }
        self.text.push_str("\t};\n};\n");
        Class { id, has_fields, has_payload }
    }
}

/// A name of a field that none has yet. All begin with an underscore, which readers leave out, because a name may be a word of the language.
fn free(names: &mut BTreeSet<String>, wanted: &str) -> String {
    let mut name = format!("_{wanted}");
    while !names.insert(name.clone()) {
        name.push('_');
    }
    name
}

fn fields(text: &mut String, definition: &Definition, names: &mut BTreeSet<String>) {
    let own: Vec<String> = definition.fields.iter().map(|field| free(names, &field.name)).collect();
    for (field, name) in definition.fields.iter().zip(own) {
        match &field.field_type {
            Type::Bytes => sequence(text, "hex8_t", &name, &free(names, &format!("{}_length", field.name))),
            Type::String => {
                let _ = writeln!(text, "\t\tstring {{ encoding = UTF8; }} {name};");
            }
            _ => {
                let _ = writeln!(text, "\t\t{} {name};", number(field));
            }
        }
    }
}

fn sequence(text: &mut String, of: &str, name: &str, length: &str) {
    let _ = writeln!(text, "\t\tuint32_t {length};\n\t\t{of} {name}[{length}];");
}

/// The type of a number.
fn number(field: &Field) -> String {
    let hexadecimal = field.hint == Hint::Hexadecimal;
    match &field.field_type {
        Type::Integer(of) => integer(*of, hexadecimal).to_owned(),
        Type::F32 => "float32_t".to_owned(),
        Type::F64 => "float64_t".to_owned(),
        Type::Address => "hex64_t".to_owned(),
        Type::Bool => "enum : uint8_t { \"false\" = 0, \"true\" = 1 }".to_owned(),
        Type::Enum { integer: of, values } if !values.is_empty() => {
            let values: Vec<String> =
                values.iter().map(|entry| format!("{} = {}", quoted(&entry.name), entry.value)).collect();
            format!("enum : {} {{ {} }}", integer(*of, hexadecimal), values.join(", "))
        }
        Type::Enum { integer: of, .. } => integer(*of, hexadecimal).to_owned(),
        Type::String | Type::Bytes => "uint8_t".to_owned(),
    }
}

fn integer(of: Integer, hexadecimal: bool) -> &'static str {
    match (of, hexadecimal) {
        (Integer::U8, false) => "uint8_t",
        (Integer::U16, false) => "uint16_t",
        (Integer::U32, false) => "uint32_t",
        (Integer::U64, false) => "uint64_t",
        (Integer::U8, true) => "hex8_t",
        (Integer::U16, true) => "hex16_t",
        (Integer::U32, true) => "hex32_t",
        (Integer::U64, true) => "hex64_t",
        (Integer::I8, _) => "int8_t",
        (Integer::I16, _) => "int16_t",
        (Integer::I32, _) => "int32_t",
        (Integer::I64, _) => "int64_t",
    }
}

/// A text in quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            // (The language has no other way to write these.)
            c if c.is_control() => quoted.push('\u{FFFD}'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A uuid as it is shown.
fn shown(uuid: &[u8; 16]) -> String {
    let mut shown = String::new();
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            shown.push('-');
        }
        let _ = write!(shown, "{byte:02x}");
    }
    shown
}
