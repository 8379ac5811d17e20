use super::*;
use crate::kinds::{Integer, Type};

#[test]
fn a_value_is_shown_by_its_hint() {
    let shown = |value: Value<'_>, hint| value.show(hint).to_string();
    for (value, hint, expected) in [
        (Value::Unsigned(u64::MAX), Hint::None, "18446744073709551615"),
        (Value::Signed(i64::MIN), Hint::None, "-9223372036854775808"),
        (Value::Unsigned(255), Hint::Hexadecimal, "0xff"),
        (Value::Signed(-255), Hint::Hexadecimal, "-0xff"),
        (Value::Signed(i64::MIN), Hint::Hexadecimal, "-0x8000000000000000"),
        (Value::F32(0.1), Hint::None, "0.1"),
        (Value::F64(0.1), Hint::None, "0.1"),
        (Value::F64(1e300), Hint::None, "1e300"),
        (Value::F64(f64::NAN), Hint::None, "NaN"),
        (Value::F64(f64::NEG_INFINITY), Hint::None, "-inf"),
        (Value::F64(2.5), Hint::Nanoseconds, "2.5 ns"),
        (Value::F32(2.5), Hint::Bytes, "2.5 B"),
        (Value::Bool(true), Hint::None, "true"),
        (Value::Address(0x7FFF_0000), Hint::None, "0x7fff0000"),
        (Value::Enum { value: 1, name: Some("open") }, Hint::Hexadecimal, "open"),
        (Value::Enum { value: -16, name: None }, Hint::Hexadecimal, "-0x10"),
        (Value::Enum { value: -16, name: None }, Hint::None, "-16"),
        (Value::Bytes(&[0, 0xAB]), Hint::None, "00ab"),
        (Value::Bytes(&[]), Hint::None, ""),
        (Value::String("größe".as_bytes()), Hint::None, "größe"),
        (Value::String(b"a\nb\x1b[31m\\"), Hint::None, "a\\nb\\u{1b}[31m\\\\"),
        (Value::String(b"a\xFFb\xC3"), Hint::None, "a\\xffb\\xc3"),
        (Value::String("a\u{202e}b\u{85}".as_bytes()), Hint::None, "a\\u{202e}b\\u{85}"),
        (Value::Unsigned(0), Hint::Bytes, "0 B"),
        (Value::Unsigned(1023), Hint::Bytes, "1023 B"),
        (Value::Unsigned(1024), Hint::Bytes, "1 KiB"),
        (Value::Unsigned(1536), Hint::Bytes, "1.50 KiB"),
        (Value::Unsigned((1 << 20) - 1), Hint::Bytes, "1023.99 KiB"),
        (Value::Unsigned(u64::MAX), Hint::Bytes, "15.99 EiB"),
        (Value::Signed(i64::MIN), Hint::Bytes, "-8 EiB"),
        (Value::Unsigned(999), Hint::Nanoseconds, "999 ns"),
        (Value::Unsigned(1_050), Hint::Nanoseconds, "1.05 µs"),
        (Value::Signed(-2_000_000), Hint::Nanoseconds, "-2 ms"),
        (Value::Unsigned(u64::MAX), Hint::Nanoseconds, "18446744073.70 s"),
    ] {
        assert_eq!(shown(value, hint), expected);
    }
}

#[test]
fn a_field_is_shown_with_its_unit() {
    let mut field = Field::new("x", Type::Integer(Integer::U16), 0);
    field.unit = "°C".into();
    assert_eq!(field.show(&[36, 0]).to_string(), "36 °C");
    field.hint = Hint::Nanoseconds;
    assert_eq!(field.show(&[0x10, 0x27]).to_string(), "10 µs");
    assert_eq!(field.show(&[0]).to_string(), "-");
}
