//! Fuzzes the expressions of `--where`: the input is an expression up to the first NUL, then a payload. fuzz/run.sh builds and runs it.

use capture_pipeline::expression::{Expression, Own, Subject};
use capture_pipeline::kinds::{Definition, EnumValue, Field, Integer, Type};
use std::sync::LazyLock;

struct Event<'a>(&'a [u8]);

impl Subject for Event<'_> {
    fn payload(&self) -> &[u8] {
        self.0
    }
    fn number(&self, own: Own) -> Option<u64> {
        (own != Own::ThreadId).then_some(own as u64 * 3)
    }
    fn weight(&self) -> f64 {
        1.5
    }
    fn thread_name(&self) -> Option<&[u8]> {
        self.0.get(..4)
    }
}

static DEFINITION: LazyLock<Definition> = LazyLock::new(|| {
    let mut definition = Definition::new(7, "k");
    let values = vec![EnumValue { value: 1, name: "red".into() }, EnumValue { value: 2, name: "x".into() }];
    definition.fields = vec![
        Field::new("a", Type::Integer(Integer::U64), 0),
        Field::new("b", Type::Integer(Integer::I16), 8),
        Field::new("c", Type::Enum { integer: Integer::U8, values }, 10),
        Field::new("d", Type::F64, 11),
        Field::new("e", Type::F32, 19),
        Field::new("f", Type::Bool, 23),
        Field::new("g", Type::String, 24),
    ];
    definition.fit();
    assert!(definition.check().is_ok());
    definition
});

fn answer(expression: &Expression, payload: &[u8]) -> bool {
    expression.bind(7, Some(b"k"), Some(&DEFINITION)).matches(&Event(payload))
}

/// What libFuzzer calls with each input.
///
/// # Safety
/// `data` points to `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn LLVMFuzzerTestOneInput(data: *const u8, len: usize) -> i32 {
    // SAFETY: by contract; libFuzzer's pointer may be NULL only for no bytes.
    let input = if len == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(data, len) } };
    let (text, payload) = input.split_at(input.iter().position(|byte| *byte == 0).unwrap_or(len));
    let Ok(text) = std::str::from_utf8(text) else { return 0 };
    match Expression::parse(text) {
        Err(problem) => assert!(problem.at <= text.chars().count() && !problem.reason.is_empty()),
        Ok(expression) => {
            let payload = payload.get(1..).unwrap_or_default();
            let this = answer(&expression, payload);
            // (Longer or deeper texts than are allowed are refused.)
            if let Ok(inverse) = Expression::parse(&format!("not ({text})")) {
                assert!(answer(&inverse, payload) != this, "{text}");
            }
            if let Ok(both) = Expression::parse(&format!("({text}) and ({text})")) {
                assert!(answer(&both, payload) == this, "{text}");
            }
        }
    }
    0
}
