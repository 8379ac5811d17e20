//! A journal with a bit of everything, and what is in it.

#[path = "../../../tests/journal/segments.rs"]
#[allow(unreachable_pub)]
pub mod segments;

use capture_pipeline::journal::format::record::OWN_TIME;
use capture_pipeline::kinds::{Definition, EnumValue, Field, Hint, Integer, Length, Type};
use segments::{Builder, Event};
use std::path::Path;

/// The run.
pub const GENERATION: u64 = 0xFEED_0000_0000_0001;
/// An event that has no time of its own is this long after the one before it, in nanoseconds.
pub const STEP: u64 = 1_000_000_007;

/// A kind with a field of each type.
pub fn sample() -> Definition {
    let mut sample = Definition::new(7, "sample");
    let values = vec![
        EnumValue { value: -1, name: "red".into() },
        EnumValue { value: 2, name: "green, light".into() },
    ];
    let mut size = Field::new("size", Type::Integer(Integer::U64), 0);
    size.hint = Hint::Bytes;
    let mut key = Field::new("key", Type::Bytes, 30);
    key.length = Length::Fixed(2);
    sample.fields = vec![
        size,
        Field::new("change", Type::Integer(Integer::I32), 8),
        Field::new("ok", Type::Bool, 12),
        Field::new("color", Type::Enum { integer: Integer::I8, values }, 13),
        Field::new("ratio", Type::F32, 14),
        Field::new("exact", Type::F64, 18),
        Field::new("small", Type::Integer(Integer::U16), 26),
        Field::new("least", Type::Integer(Integer::I16), 28),
        key,
        Field::new("text", Type::String, 32),
    ];
    sample.fit();
    sample.check().expect("a definition");
    sample
}

/// A kind whose fields say all that is in its payloads.
pub fn point() -> Definition {
    let mut point = Definition::new(8, "point");
    point.fields = vec![Field::new("at", Type::Address, 0), Field::new("of", Type::Integer(Integer::I64), 8)];
    point.fit();
    point.check().expect("a definition");
    point
}

/// The values of a sample.
#[derive(Clone, Debug)]
pub struct Sample {
    pub size: u64,
    pub change: i32,
    pub ok: bool,
    pub color: i8,
    pub ratio: f32,
    pub exact: f64,
    pub small: u16,
    pub least: i16,
    pub key: [u8; 2],
    pub text: &'static [u8],
}

impl Sample {
    pub fn payload(&self) -> Vec<u8> {
        let mut payload = self.size.to_le_bytes().to_vec();
        payload.extend_from_slice(&self.change.to_le_bytes());
        payload.extend_from_slice(&[u8::from(self.ok), self.color.cast_unsigned()]);
        payload.extend_from_slice(&self.ratio.to_le_bytes());
        payload.extend_from_slice(&self.exact.to_le_bytes());
        payload.extend_from_slice(&self.small.to_le_bytes());
        payload.extend_from_slice(&self.least.to_le_bytes());
        payload.extend_from_slice(&self.key);
        payload.extend_from_slice(self.text);
        payload
    }
}

pub fn samples() -> [Sample; 4] {
    let usual = Sample {
        size: 3 << 20,
        change: -5,
        ok: true,
        color: 2,
        ratio: 0.1,
        exact: 0.1,
        small: 65_535,
        least: -32_768,
        key: [0xDE, 0xAD],
        text: "größer, \"so\"\nzwei".as_bytes(),
    };
    [
        usual.clone(),
        Sample {
            size: u64::MAX,
            change: i32::MIN,
            ok: false,
            color: -1,
            exact: f64::MAX,
            text: b"",
            ..usual.clone()
        },
        Sample {
            size: (1 << 63) + 1,
            change: i32::MAX,
            color: 5,
            ratio: f32::NAN,
            exact: f64::NEG_INFINITY,
            text: b"a\0b",
            ..usual.clone()
        },
        Sample { size: 0, change: 0, exact: -0.0, small: 0, least: 0, text: b"\xFFx", ..usual },
    ]
}

/// The events of two rings, in the order of their times.
pub fn events() -> Vec<(u64, Event)> {
    let samples = samples();
    let point = |at: u64, of: i64| [at.to_le_bytes(), of.to_le_bytes()].concat();
    let payloads: Vec<(u32, Vec<u8>)> = vec![
        (7, samples[0].payload()),
        (8, point(0x7FFF_1234_5678, -1)),
        (9, b"a text".to_vec()),
        (7, samples[1].payload()),
        (9, vec![0, 1, 0xFF]),
        (7, samples[2].payload()),
        (8, point(u64::MAX, i64::MIN)),
        (7, samples[3].payload()),
        // Too short for most fields, and longer than the definition says.
        (7, samples[0].payload()[..13].to_vec()),
        (8, [point(1, 2), vec![9]].concat()),
        (10, Vec::new()),
        (9, "zwei\nZeilen".into()),
    ];
    let numbered = payloads.into_iter().zip(1_u64..);
    let mut events: Vec<(u64, Event)> = numbered
        .map(|((kind, payload), n)| {
            let (ring, sequence) = (n % 2 + 1, n / 2);
            let mut event = Event::new(sequence, n * STEP, payload).kind(kind);
            match n {
                4 => event.correlation_id = u64::MAX,
                5 => event.node_id = 77,
                6 => event.weight = 2.5,
                7 => event.flags = 1,
                _ => {}
            }
            (ring, event)
        })
        .collect();
    // Times of the caller's own: one whose wall time is beyond what a signed number has.
    events.push((3, Event::new(1, u64::MAX - 5, b"late").kind(9).flags(OWN_TIME)));
    events
}

/// Writes the journal: two segments of the run, the second one without a seal, because its writer was killed.
pub fn write(directory: &Path) {
    std::fs::create_dir_all(directory).expect("a directory");
    let all = events();
    let ring = |ring: u64, from: usize, to: usize| -> Vec<Event> {
        all[from..to].iter().filter(|(of, _)| *of == ring).map(|(_, event)| event.clone()).collect()
    };
    let start = |number| {
        let mut builder = Builder::new(GENERATION, number);
        builder
            .kind_name(7, "sample")
            .definition(7, &sample().to_bytes())
            .kind_name(8, "point")
            .definition(8, &point().to_bytes())
            .kind_name(9, "note")
            .fact(0xFFFF_0006, 0, 0, b"\x04hostalpha")
            .fact(0xFFFF_0006, 1, 0, b"\x07version1.2")
            .thread(1, 4711, "main")
            .thread(2, u64::MAX, "wörker 2");
        builder
    };
    let counts = [13, 0, 5, 0, 0, 1, 0, 0, 0, 0, 13];
    let mut first = start(1);
    first.events(1, &ring(1, 0, 6)).events(2, &ring(2, 0, 6)).ledger(1, 5, &counts).seal();
    first.write(directory);
    let mut second = start(2);
    second
        .events(2, &ring(2, 6, 12))
        .events(1, &ring(1, 6, 12))
        .events(3, &ring(3, 12, 13))
        .ledger(2, 9, &counts);
    second.write(directory);
}
