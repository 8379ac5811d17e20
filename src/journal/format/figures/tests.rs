use super::*;
use crate::metrics::WriterMetrics;

/// Figures of which each is another number.
fn live(writers: usize) -> Live {
    let mut number = 1;
    let mut next = || {
        number += 1;
        number
    };
    let metrics =
        pipeline_metrics_t::from_words(std::iter::repeat_with(&mut next).take(pipeline_metrics_t::MEMBERS));
    let mut spread =
        Spread { count: next(), sum_ns: u128::from(next()) << 60, max_ns: next(), ..Spread::default() };
    spread.up_to.iter_mut().for_each(|bucket| *bucket = next());
    let condition =
        Condition { status: 1, reasons: 0x4003, batches_retrying: next() as u32, stuck_ns: next() };
    let writers = (0..writers)
        .map(|_| {
            let words = std::iter::repeat_with(&mut next).take(pipeline_writer_metrics_t::MEMBERS);
            pipeline_writer_metrics_t::from_words(words)
        })
        .collect();
    Live {
        generation: 0x0123_4567_89ab_cdef,
        owner: Owner { boot_id: [7; 16], pid: 12, pid_namespace: 13, start_time: 14 },
        monotonic_ns: 15,
        realtime_ns: 16,
        name: "a name of 19 bytes".into(),
        storage: "journal".into(),
        figures: Figures { metrics, spread, condition, writers },
        writers_left_out: 0,
    }
}

fn file_of(live: &Live, sequence: u64) -> Vec<u8> {
    let mut file = vec![0xAA; FILE_BYTES];
    assert!(encode(live, sequence, &mut file) <= FILE_BYTES);
    file
}

#[test]
fn what_is_written_is_read_back() {
    for writers in [0, 1, 256] {
        let live = live(writers);
        let back = decode(&file_of(&live, 2)).expect("a file");
        assert_eq!(format!("{live:?}"), format!("{back:?}"));
        assert_eq!(back.figures.writers.len(), writers);
    }
}

#[test]
fn writers_that_have_no_room_are_counted() {
    let mut live = live(4000);
    live.name = "é".repeat(300);
    let back = decode(&file_of(&live, 2)).expect("a file");
    assert_eq!(back.figures.writers.len() as u64 + back.writers_left_out, 4000);
    assert!(back.figures.writers.len() > 256);
    assert_eq!(back.name, "é".repeat(127), "a name of 255 bytes at most");
}

#[test]
fn a_file_that_is_cut_foreign_or_damaged_is_told_as_such() {
    let file = file_of(&live(3), 2);
    let of = |bytes: &[u8]| decode(bytes).expect_err("no file");
    for bytes in [8, 100, HEADER_BYTES, FILE_BYTES - 1] {
        assert_eq!(of(&file[..bytes]), NotLive::Cut(bytes));
    }
    assert_eq!(of(b""), NotLive::Foreign);
    assert_eq!(of(&[0; FILE_BYTES]), NotLive::Foreign);
    let mut newer = file.clone();
    newer[8] = 2;
    assert_eq!(of(&newer), NotLive::Version(2));
    assert_eq!(of(&file_of(&live(3), 3)), NotLive::Unfinished);
    let used = HEADER_BYTES + u64_at(&file, 72) as usize;
    for at in (16..SEQUENCE).chain(72..100).chain((HEADER_BYTES..used).step_by(37)) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x10;
        assert_eq!(of(&damaged), NotLive::Damaged, "byte {at}");
    }
}

#[test]
fn parts_of_two_writes_are_not_taken_for_one() {
    let (old, mut new) = (live(3), live(3));
    new.figures.metrics.captured += 1;
    let (old, new) = (file_of(&old, 2), file_of(&new, 4));
    for cut in HEADER_BYTES..2000 {
        let mixed: Vec<u8> = new[..cut].iter().chain(&old[cut..]).copied().collect();
        let read = decode(&mixed);
        assert!(mixed == new || read.is_err(), "cut at {cut}");
    }
}

#[test]
fn figures_of_a_newer_library_are_passed_over() {
    // One more member of the metrics, at the end of their words.
    let live = live(2);
    let mut file = file_of(&live, 2);
    let used = u64_at(&file, 72) as usize;
    let mut body = file[HEADER_BYTES..][..used].to_vec();
    let count = 8 + 24 + 8 + 8;
    let end = count + 8 + 8 * pipeline_metrics_t::MEMBERS;
    assert_eq!(u64_at(&body, count), pipeline_metrics_t::MEMBERS as u64);
    body[count] += 1;
    body.splice(end..end, 99u64.to_le_bytes());
    put(&mut file, HEADER_BYTES, &body);
    put(&mut file, 72, &(body.len() as u64).to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&file[..CHECKSUM]), &body);
    put(&mut file, CHECKSUM, &checksum.to_le_bytes());
    assert_eq!(format!("{:?}", decode(&file).expect("a file")), format!("{live:?}"));
}

#[test]
fn any_bytes_behind_a_right_checksum_are_read_without_a_panic() {
    let mut seed = 1u64;
    for round in 0..2000 {
        let mut file = file_of(&live(2), 2);
        let used = if round % 2 == 0 { u64_at(&file, 72) as usize } else { round * 7 % 3000 };
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = HEADER_BYTES + (seed >> 33) as usize % used.max(1);
            file[at] = (seed >> 20) as u8;
        }
        put(&mut file, 72, &(used as u64).to_le_bytes());
        let checksum =
            crc32c::crc32c_append(crc32c::crc32c(&file[..CHECKSUM]), &file[HEADER_BYTES..][..used]);
        put(&mut file, CHECKSUM, &checksum.to_le_bytes());
        assert!(decode(&file).is_ok_and(|live| live.figures.writers.len() < 400));
    }
}

#[test]
fn names_of_files_are_those_of_generations() {
    assert_eq!(file_name(0xAB), "00000000000000ab.figures");
    assert!(is_file_name(&file_name(u64::MAX)));
    for other in
        ["ab.figures", "00000000000000AB.figures", "00000000000000ab.journal", "00000000000000ab.figures~"]
    {
        assert!(!is_file_name(other), "{other}");
    }
    // (All members of both structs have words.)
    let writer = pipeline_writer_metrics_t::from(&WriterMetrics { panics: 9, ..WriterMetrics::default() });
    assert_eq!(writer.words().last(), Some(&9));
}
