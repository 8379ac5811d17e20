use super::*;

fn header() -> Header {
    Header {
        generation: 0xFEDC_BA98_7654_3210,
        shape: Shape { ring_bytes: 1 << 20, priority_ring_bytes: 1 << 16, rings: 67, priority_rings: 66 },
        in_ticks: true,
        owner: Owner { boot_id: [9; 16], pid: 11, pid_namespace: 12, start_time: 13 },
        monotonic_ns: 14,
        realtime_ns: 15,
        name: b"audit".to_vec(),
        program: b"server".to_vec(),
    }
}

#[test]
fn a_header_is_read_as_it_was_written() {
    for header in [
        header(),
        Header { in_ticks: false, name: vec![7; 255], program: vec![8; 3072], ..header() },
        Header {
            shape: Shape { ring_bytes: 4096, rings: 1, ..Shape::default() },
            name: Vec::new(),
            program: Vec::new(),
            ..header()
        },
    ] {
        assert_eq!(Header::decode(&header.encode(), header.shape.file_bytes()), Ok(header));
    }
    let cut = Header { name: vec![7; 300], program: vec![8; 4000], ..header() };
    let read = Header::decode(&cut.encode(), u64::MAX).expect("a header");
    assert_eq!((read.name.len(), read.program.len()), (255, 3072));
}

#[test]
fn regions_do_not_overlap_and_are_aligned() {
    let shape = header().shape;
    let mut end = shape.header_at(shape.all_rings());
    for ring in 0..shape.all_rings() {
        let at = shape.ring_at(ring);
        assert!(at >= end && at - end < 4096 && at.is_multiple_of(4096), "{ring}");
        end = at + shape.bytes_of(ring);
    }
    assert_eq!(end, shape.file_bytes());
    for region in [CLOCK_AT, FACTS_AT, FIGURES_AT, RING_HEADERS_AT] {
        assert!(region.is_multiple_of(4096), "{region}");
    }
}

#[test]
fn what_is_no_header_is_named() {
    let (bytes, size) = (header().encode(), header().shape.file_bytes());
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = bytes.clone();
        put(&mut bytes, at, to);
        Header::decode(&bytes, size)
    };
    assert_eq!(Header::decode(b"", 0), Err(NoRingFile::Foreign));
    assert_eq!(Header::decode(b"rings", 5), Err(NoRingFile::Foreign));
    assert_eq!(Header::decode(&[0; 5], 5), Err(NoRingFile::Unfinished));
    assert_eq!(changed(0, &[0; 8]), Err(NoRingFile::Unfinished));
    assert_eq!(changed(0, b"SQLite f"), Err(NoRingFile::Foreign));
    assert_eq!(changed(8, &[1, 2, 3, 4]), Err(NoRingFile::ByteOrder));
    assert_eq!(changed(12, &[2]), Err(NoRingFile::Version(2)));
    assert_eq!(Header::decode(&bytes, size - 1), Err(NoRingFile::Cut(size - 1, size)));
    for at in 16..bytes.len() {
        assert_eq!(changed(at, &[bytes[at] ^ 1]), Err(NoRingFile::Damaged), "{at}");
        assert!(Header::decode(&bytes[..at], size).is_err());
    }
}

#[test]
fn sizes_that_lie_are_damage_even_under_a_good_checksum() {
    for shape in [
        Shape { ring_bytes: 0, ..header().shape },
        Shape { ring_bytes: 1 << 33, ..header().shape },
        Shape { ring_bytes: 4097, ..header().shape },
        Shape { rings: 0, ..header().shape },
        Shape { rings: MAX_RINGS + 1, ..header().shape },
        Shape { priority_rings: 0, ..header().shape },
        Shape { priority_ring_bytes: 0, ..header().shape },
    ] {
        let lying = Header { shape, ..header() };
        assert_eq!(Header::decode(&lying.encode(), u64::MAX), Err(NoRingFile::Damaged), "{shape:?}");
    }
}

#[test]
fn a_file_is_known_by_its_name() {
    for generation in [0, 5, u64::MAX] {
        assert_eq!(parse_file_name(&file_name(generation)), Some(generation));
    }
    for name in ["", "lock", "5.rings", "000000000000000G.rings", "0000000000000000.rings~"] {
        assert_eq!(parse_file_name(name), None, "{name}");
    }
}
