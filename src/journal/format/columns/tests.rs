use super::*;
use crate::journal::format::block::{codec, filter};

/// Spreads the bits of a number.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 31)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (number ^ (number >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

/// Numbers that a seed determines.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        mix(self.0)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn one_of<const N: usize>(&mut self, choices: [usize; N]) -> usize {
        choices[self.below(N)]
    }

    fn below_one_of<const N: usize>(&mut self, bounds: [usize; N]) -> usize {
        let bound = self.one_of(bounds);
        self.below(bound)
    }
}

/// How the numbers of a field follow each other.
#[derive(Clone, Copy)]
enum Habit {
    Constant(u64),
    Steps(u64),
    Near(u64),
    Few(u64),
    Pairs,
    Any,
}

impl Habit {
    fn any(random: &mut Random) -> Self {
        let number = random.next() >> random.below(64);
        match random.below(6) {
            0 => Self::Constant(number),
            1 => Self::Steps(number),
            2 => Self::Near(number),
            3 => Self::Few(random.next()),
            4 => Self::Pairs,
            _ => Self::Any,
        }
    }

    fn number(self, n: u64, random: &mut Random) -> u64 {
        match self {
            Self::Constant(number) => number,
            Self::Steps(step) => step.wrapping_mul(n),
            Self::Near(base) => base.wrapping_add(random.next() % 1000).wrapping_sub(500),
            Self::Few(seed) => mix(seed ^ (random.next() % 40)),
            Self::Pairs => (n << 32) | (random.next() % 9),
            Self::Any => random.next(),
        }
    }
}

fn record(into: &mut Vec<u8>, [kind, flags, weight]: [u32; 3], words: [u64; 4], payload: &[u8], padding: u8) {
    for number in [payload.len() as u32, flags, kind, weight] {
        into.extend_from_slice(&number.to_le_bytes());
    }
    words.iter().for_each(|word| into.extend_from_slice(&word.to_le_bytes()));
    into.extend_from_slice(payload);
    into.resize(into.len().next_multiple_of(8), padding);
}

/// Records of some kinds with habits of their own. `padding` is what lies behind each payload.
fn records(seed: u64, padding: u8) -> Vec<u8> {
    let mut random = Random(seed << 32);
    let kinds = 1 + random.below(6);
    let lens: Vec<usize> = (0..kinds).map(|_| random.below_one_of([0, 8, 40, 70, 300])).collect();
    let habits: Vec<[Habit; 12]> =
        (0..kinds).map(|_| std::array::from_fn(|_| Habit::any(&mut random))).collect();
    let fields: [Habit; 4] = std::array::from_fn(|_| Habit::any(&mut random));
    let (ragged, text) = (random.below(4) == 0, random.below(4) == 0);
    let mut into = Vec::new();
    let count = random.below_one_of([3, 40, 400, 3_000]);
    for n in 0..count as u64 {
        let kind = random.below(kinds);
        let words = fields.map(|habit| habit.number(n, &mut random));
        let mut payload: Vec<u8> = habits[kind]
            .iter()
            .cycle()
            .take(lens[kind].div_ceil(8))
            .flat_map(|habit| habit.number(n, &mut random).to_le_bytes())
            .collect();
        payload.truncate(if ragged { random.below(lens[kind] + 1) } else { lens[kind] });
        if text {
            payload.iter_mut().for_each(|byte| *byte = b' ' + *byte % 90);
        }
        let flags = [0, 1, 1 << 30][random.below(3)];
        let weight = if random.below(9) == 0 { random.next() as u32 } else { 1_f32.to_bits() };
        record(&mut into, [kind as u32 * 1000, flags, weight], words, &payload, padding);
    }
    into
}

/// The records cut into several spans, at their borders.
fn spans(records: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut random = Random(seed);
    let mut found = vec![];
    let (mut start, mut at) = (0, 0);
    while at < records.len() {
        let len = u32::from_le_bytes([records[at], records[at + 1], records[at + 2], records[at + 3]]);
        at += 48 + (len as usize).next_multiple_of(8);
        if random.below(50) == 0 {
            found.push(&records[start..at]);
            start = at;
        }
    }
    found.push(&records[start..]);
    found
}

fn codecs() -> impl Iterator<Item = u8> {
    [codec::NONE, codec::LZ4, codec::ZSTD].into_iter().filter(|number| is_supported(*number))
}

#[test]
fn records_come_back_as_they_were_with_zeros_as_padding() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let mut restored = vec![9; 100];
    let (mut bodies, mut columns, mut packed) = (0, 0, 0);
    for seed in 0..200 {
        let (given, expected) = (records(seed, 0xA5), records(seed, 0));
        for number in codecs() {
            let body = encoder.encode(spans(&given, seed).into_iter(), number).expect("encoded");
            assert_eq!(body.raw_len as usize, given.len());
            bodies += 1;
            if body.filter == filter::NONE {
                assert_eq!((body.codec, body.bytes), (codec::NONE, &[][..]));
                continue;
            }
            columns += 1;
            packed += usize::from(body.codec != codec::NONE);
            assert!(body.bytes.len() <= given.len());
            let done = decoder.decode(body.bytes, body.filter, body.codec, given.len(), &mut restored);
            assert_eq!(done, Ok(()), "seed {seed}");
            assert!(restored == expected, "seed {seed}, codec {number}");
        }
    }
    assert!(columns * 2 > bodies && packed * 3 > bodies, "{bodies} {columns} {packed}");
}

#[test]
fn the_bytes_do_not_depend_on_what_was_encoded_before_or_on_the_spans() {
    let mut used = Encoder::default();
    for seed in 0..60 {
        let given = records(seed, 0);
        let fresh =
            Encoder::default().encode([&given[..]].into_iter(), codec::LZ4).expect("encoded").bytes.to_vec();
        let body = used.encode(spans(&given, seed).into_iter(), codec::LZ4).expect("encoded");
        assert!(body.bytes == fresh, "seed {seed}");
        // Nor on the bytes that pad the records.
        let padded = records(seed, 0xA5);
        let body = used.encode([&padded[..]].into_iter(), codec::LZ4).expect("encoded");
        assert!(body.bytes == fresh, "seed {seed}");
    }
}

#[test]
fn a_block_of_another_length_than_its_records_is_damaged() {
    let given = records(3, 0);
    let mut encoder = Encoder::default();
    let mut restored = Vec::new();
    for number in codecs() {
        let body = encoder.encode([&given[..]].into_iter(), number).expect("encoded");
        assert_eq!(body.filter, filter::COLUMNS);
        let lengths = [8, 48, given.len()].into_iter().flat_map(|by| [given.len() - by, given.len() + by]);
        for raw_len in lengths {
            let done = Decoder::default().decode(body.bytes, body.filter, body.codec, raw_len, &mut restored);
            assert!(
                matches!(done, Err(DecodeError::Damaged(_))),
                "{raw_len} instead of {}: {done:?}",
                given.len()
            );
        }
    }
}

#[test]
fn every_mode_of_a_column_is_chosen_where_it_fits() {
    let mut random = Random(7);
    let mut list = |number: &mut dyn FnMut(u64, &mut Random) -> u64| {
        (0..500).map(|n| number(n, &mut random)).collect::<Vec<u64>>()
    };
    // The first byte of the column, and its length.
    for (values, first, len) in [
        (list(&mut |_, _| 77), 0, 10),
        (list(&mut |_, random| (5 << 40) | (random.next() % 200)), 0, 10 + 500),
        (list(&mut |n, _| n * 3), 1, 18),
        (list(&mut |n, _| n * 3 + u64::from(n > 250)), 1, 18 + 500),
        (list(&mut |n, random| (n << 20) + random.next() % 50), 1, 18 + 3 * 500),
        (list(&mut |_, random| mix(random.next() % 10)), 2, 2 + 18 + 8 * 10 + 500),
        (list(&mut |n, random| (n << 32) | (random.next() % 200)), 3, 1 + 10 + 500 + 18),
    ] {
        let mut body = Vec::new();
        column::write(&values, column::Level::Field, &mut column::Work::default(), &mut body)
            .expect("written");
        assert_eq!(body[0], first, "{:?}", &values[..9]);
        assert!(body.len() <= len, "mode {first}: {} > {len}", body.len());
        let mut read = vec![9; values.len()];
        let mut input = column::Input::new(&body);
        column::read(&mut input, column::Level::Field, &mut column::Work::default(), &mut read)
            .expect("read");
        assert_eq!(read, values);
        assert!(input.is_empty());
    }
}

#[test]
fn a_long_payload_a_single_record_and_none_are_encoded_too() {
    let mut long = Vec::new();
    let payload: Vec<u8> = (0..3_000_001_u32).map(|n| (n >> 8) as u8).collect();
    record(&mut long, [1, 2, 3], [4, 5, 6, 7], &payload, 0);
    for given in [&long[..], &[]] {
        let mut encoder = Encoder::default();
        for number in codecs().filter(|number| *number != codec::NONE) {
            let body = encoder.encode([given].into_iter(), number).expect("encoded");
            if given.is_empty() {
                assert_eq!((body.filter, body.count), (filter::NONE, 0));
                continue;
            }
            assert_eq!((body.filter, body.codec, body.count), (filter::COLUMNS, number, 1));
            assert!(body.bytes.len() < 100_000);
            let mut restored = Vec::new();
            let done =
                Decoder::default().decode(body.bytes, body.filter, body.codec, given.len(), &mut restored);
            assert_eq!(done, Ok(()));
            assert!(restored == given);
        }
    }
}

#[test]
fn bytes_that_are_no_records_are_refused() {
    let mut given = Vec::new();
    record(&mut given, [1, 2, 3], [4, 5, 6, 7], b"payload", 0);
    let mut encoder = Encoder::default();
    for cut in 1..given.len() {
        let refused = encoder.encode([&given[..cut]].into_iter(), codec::LZ4).map(|body| body.count);
        assert_eq!(refused, Err(EncodeError::NotRecords), "{cut}");
    }
    given[3] = 0xFF;
    assert_eq!(
        encoder.encode([&given[..]].into_iter(), codec::LZ4).map(|body| body.count),
        Err(EncodeError::NotRecords)
    );
}

#[test]
fn records_that_are_only_compressed_are_read_and_unknown_numbers_are_named() {
    let given = records(3, 0);
    let mut lz4 = vec![0; lz4_flex::block::get_maximum_output_size(given.len())];
    let len = lz4_flex::block::compress_into(&given, &mut lz4).expect("there is room");
    lz4.truncate(len);
    let mut decoder = Decoder::default();
    let mut restored = Vec::new();
    let mut decode = |body: &[u8], filter, codec, len| {
        decoder.decode(body, filter, codec, len, &mut restored).map(|()| restored.clone())
    };
    assert!(!given.is_empty());
    assert_eq!(decode(&lz4, filter::NONE, codec::LZ4, given.len()), Ok(given.clone()));
    assert_eq!(decode(&given, filter::NONE, codec::NONE, given.len()), Ok(given.clone()));
    assert!(decode(&lz4, filter::NONE, codec::LZ4, given.len() + 8).is_err());
    assert!(decode(&lz4, filter::NONE, codec::LZ4, given.len() - 8).is_err());
    assert!(decode(&given, filter::NONE, codec::NONE, given.len() + 8).is_err());
    assert_eq!(decode(&given, 2, codec::NONE, given.len()), Err(DecodeError::Filter(2)));
    assert_eq!(decode(&given, filter::COLUMNS, 3, given.len()), Err(DecodeError::Codec(3)));
    assert_eq!(decode(&given, filter::NONE, 3, given.len()), Err(DecodeError::Codec(3)));
    if !is_supported(codec::ZSTD) {
        let error = decode(&given, filter::NONE, codec::ZSTD, given.len()).expect_err("unsupported");
        assert!(error.to_string().contains("zstd"), "{error}");
    }
}

/// Changes a few bytes, cuts, or extends.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_slice(&random.next().to_le_bytes()),
            2 if at + 8 <= bytes.len() => {
                bytes[at..at + 8]
                    .copy_from_slice(&[u64::MAX, 1 << 63, 0, 255][random.below(4)].to_le_bytes());
            }
            // The numbers at the start decide most.
            3 if bytes.len() > 40 => bytes[random.below(40)] = random.next() as u8,
            4 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            _ if at < bytes.len() => bytes[at] = [0, 1, 2, 3, 0x7F, 0xFF][random.below(6)],
            _ => {}
        }
    }
}

#[test]
fn a_damaged_body_is_an_error_or_has_the_right_length() {
    let rounds = std::env::var("FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let mut random = Random(1);
    let mut restored = Vec::new();
    let (mut errors, mut fine) = (0, 0);
    for seed in 0..rounds {
        let given = records(seed, 0);
        for number in codecs() {
            let body = encoder.encode([&given[..]].into_iter(), number).expect("encoded");
            for _ in 0..50 {
                let mut bytes = body.bytes.to_vec();
                mutate(&mut bytes, &mut random);
                let raw_len = if random.below(10) == 0 { random.below(20_000) } else { given.len() };
                match decoder.decode(&bytes, body.filter, body.codec, raw_len, &mut restored) {
                    Ok(()) => {
                        assert_eq!(restored.len(), raw_len);
                        fine += 1;
                    }
                    Err(_) => {
                        assert!(restored.is_empty());
                        errors += 1;
                    }
                }
            }
        }
    }
    assert!(errors > rounds * 10 && fine > rounds, "{errors} {fine}");
}

#[test]
fn a_dictionary_with_an_index_beyond_its_entries_is_damaged() {
    let values: Vec<u64> = (0..500).map(|n| mix(n % 10)).collect();
    let mut body = Vec::new();
    column::write(&values, column::Level::Field, &mut column::Work::default(), &mut body).expect("written");
    assert_eq!(body[..2], [2, 9]);
    let read = |body: &[u8]| {
        let mut read = vec![0; values.len()];
        let mut input = column::Input::new(body);
        column::read(&mut input, column::Level::Field, &mut column::Work::default(), &mut read).map(|()| read)
    };
    assert_eq!(read(&body), Ok(values.clone()));
    *body.last_mut().expect("an index") = 10;
    assert_eq!(read(&body), Err(column::Unread::Damaged("an index is beyond its dictionary")));
}
