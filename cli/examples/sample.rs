//! Writes the sample journal of the tests, and prints what is in it: a line of JSON for each event. The lines do not come from the reader or
//! the command, so whatever these give can be compared with them.
//!
//! `cargo run -p capture_pipeline_cli --example sample -- DIRECTORY`

#[path = "../tests/command/sample.rs"]
mod sample;

use std::fmt::Write;

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A float by its bits, because JSON has no name for some.
fn float(number: f64) -> String {
    format!("\"{:016x}\"", number.to_bits())
}

fn fields(n: usize, kind: u32, payload: &[u8]) -> String {
    let mut text = String::new();
    let samples = sample::samples();
    let number = [0, 3, 5, 7, 8].iter().position(|at| *at == n);
    match (kind, number) {
        // Too short for all but the first fields.
        (7, Some(4)) => {
            let _ = write!(text, "\"size\":{},\"change\":-5,\"ok\":true", samples[0].size);
        }
        (7, Some(number)) => {
            let s = &samples[number];
            let color = match s.color {
                -1 => "red".to_owned(),
                2 => "green, light".to_owned(),
                other => other.to_string(),
            };
            let shown = s.text.split(|byte| *byte == 0).next().unwrap_or_default();
            let _ = write!(
                text,
                "\"size\":{},\"change\":{},\"ok\":{},\"color\":\"{color}\",\"ratio\":{},\"exact\":{},\"small\":{},\"least\":{},\"key\":\"{}\",\"text\":\"{}\"",
                s.size,
                s.change,
                s.ok,
                float(s.ratio.into()),
                float(s.exact),
                s.small,
                s.least,
                hexadecimal(&s.key),
                hexadecimal(String::from_utf8_lossy(shown).as_bytes()),
            );
        }
        (8, _) => {
            let word = |at: usize| u64::from_le_bytes(payload[at..at + 8].try_into().expect("8 bytes"));
            let _ = write!(text, "\"at\":{},\"of\":{}", word(0), word(8).cast_signed());
        }
        _ => {}
    }
    text
}

fn main() {
    let directory = std::env::args().nth(1).expect("a directory");
    sample::write(std::path::Path::new(&directory));
    for (n, (ring, event)) in sample::events().iter().enumerate() {
        let wall = event.timestamp.saturating_add_signed(sample::segments::REALTIME_OFFSET);
        let name = match event.kind {
            7 => "\"sample\"",
            8 => "\"point\"",
            9 => "\"note\"",
            _ => "null",
        };
        let thread = match ring {
            1 => "\"tid\":4711,\"thread_name\":\"main\"",
            2 => "\"tid\":18446744073709551615,\"thread_name\":\"w\\u00f6rker 2\"",
            _ => "\"tid\":null,\"thread_name\":null",
        };
        println!(
            "{{\"generation\":{},\"ring_id\":{ring},\"sequence\":{},\"wall_ns\":{wall},\"time_ns\":{},\"kind\":{},\"kind_name\":{name},\"correlation_id\":{},\
             \"node_id\":{},\"weight\":{},\"flags\":{},{thread},\"fields\":{{{}}},\"payload\":\"{}\"}}",
            sample::GENERATION,
            event.sequence,
            event.timestamp,
            event.kind,
            event.correlation_id,
            event.node_id,
            event.weight,
            event.flags,
            fields(n, event.kind, &event.payload),
            hexadecimal(&event.payload),
        );
    }
}
