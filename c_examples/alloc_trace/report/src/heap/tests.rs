use super::*;
use std::collections::BTreeMap;

/// A heap that is given calls one nanosecond apart.
#[derive(Default)]
struct Scene {
    heap: Heap,
    time_ns: u64,
    calls: u64,
}

impl Scene {
    fn call(&mut self, kind: u32, thread: u32, address: u64, size: u64, site: u64, old: u64) -> Option<u64> {
        self.time_ns += 1;
        self.calls += 1;
        let effect = crate::calls::effect(kind).expect("a call");
        let call = Call {
            kind,
            effect,
            time_ns: self.time_ns,
            thread,
            address,
            site,
            size,
            stack: 0,
            old,
            took_ns: 0,
            ring: 1,
            sequence: self.calls,
        };
        self.heap.follow(&call, self.calls)
    }

    fn malloc(&mut self, thread: u32, address: u64, size: u64, site: u64) {
        assert_eq!(self.call(1, thread, address, size, site, 0), None);
    }

    fn free(&mut self, thread: u32, address: u64) -> Option<u64> {
        self.call(4, thread, address, 0, 99, 0)
    }

    fn site(&self, wanted: u64) -> Totals {
        let found = self.heap.origins().find(|(origin, ..)| *origin == Origin::Site(wanted));
        found.expect("the site").2
    }
}

#[test]
fn what_was_live_at_the_peak_is_known_of_each_site() {
    let mut scene = Scene::default();
    scene.malloc(1, 0x10, 100, 1);
    scene.malloc(1, 0x20, 50, 2);
    scene.free(1, 0x10);
    scene.malloc(1, 0x30, 500, 3); // 550: the peak
    scene.malloc(1, 0x40, 0, 2); // no higher, so it is not the peak
    scene.free(1, 0x30);
    scene.free(1, 0x20);
    scene.malloc(1, 0x50, 300, 4);
    let heap = &scene.heap;
    assert_eq!((heap.peak.bytes, heap.peak.blocks, heap.peak.time_ns), (550, 2, 4));
    let peaks: Vec<u64> = (1..=4).map(|site| scene.site(site).peak_bytes).collect();
    assert_eq!(peaks, [0, 50, 500, 0]);
    assert_eq!(scene.site(2).peak_blocks, 1);
    assert_eq!((heap.live_bytes, heap.live_blocks()), (300, 2));
    assert_eq!((scene.site(2).live_blocks, scene.site(2).live_bytes), (1, 0));
}

#[test]
fn an_allocation_is_temporary_if_the_next_call_of_its_thread_releases_it() {
    let mut scene = Scene::default();
    scene.malloc(1, 0x10, 1, 1);
    scene.malloc(2, 0x20, 1, 2); // of another thread, in between
    assert_eq!(scene.free(1, 0x10), Some(1));
    scene.free(1, 0x20); // by another thread
    scene.malloc(1, 0x30, 1, 1);
    scene.free(1, 0);
    scene.free(1, 0x30); // not the next call
    scene.malloc(1, 0x40, 1, 3);
    scene.call(3, 1, 0x50, 2, 3, 0x40); // a resize releases
    scene.free(1, 0x50);
    assert_eq!(scene.heap.temporary, 3);
    assert_eq!((scene.site(1).temporary, scene.site(2).temporary, scene.site(3).temporary), (1, 0, 2));
    assert_eq!(scene.heap.live_blocks(), 0);
    assert_eq!(scene.heap.releases_of_null, 1);
}

#[test]
fn a_resize_releases_its_old_block_unless_it_fails() {
    let mut scene = Scene::default();
    scene.malloc(1, 0x10, 100, 1);
    assert_eq!(scene.call(3, 1, 0, 1 << 60, 1, 0x10), None); // fails
    assert_eq!((scene.heap.live_bytes, scene.heap.failed), (100, 1));
    assert_eq!(scene.call(3, 1, 0x10, 120, 1, 0x10), Some(1)); // in place
    assert_eq!((scene.heap.live_bytes, scene.heap.live_blocks()), (120, 1));
    assert_eq!(scene.call(3, 1, 0, 0, 1, 0x10), Some(3)); // to nothing
    assert_eq!((scene.heap.live_bytes, scene.heap.failed, scene.heap.replaced), (0, 1, 0));
}

#[test]
fn an_address_that_another_thread_gets_during_a_resize_is_that_threads() {
    let mut scene = Scene::default();
    scene.malloc(1, 0x10, 100, 1);
    scene.time_ns = 100;
    scene.malloc(2, 0x10, 30, 2); // at 101: thread 1 is in realloc, which has released the address
    scene.time_ns = 199;
    let resize = Call {
        kind: 3,
        effect: Effect::Resizes,
        time_ns: 200,
        thread: 1,
        address: 0x20,
        site: 3,
        size: 500,
        stack: 0,
        old: 0x10,
        took_ns: 110, // since 90
        ring: 1,
        sequence: 9,
    };
    assert_eq!(scene.heap.follow(&resize, 9), None);
    assert_eq!((scene.heap.live_bytes, scene.heap.live_blocks()), (530, 2));
    assert_eq!((scene.site(1).live_blocks, scene.site(2).live_bytes), (0, 30));
    assert_eq!(scene.heap.replaced, 1);
    // One that had the address before the resize has lost its release.
    let later = Call { time_ns: 300, took_ns: 10, old: 0x10, address: 0x30, ..resize };
    scene.heap.follow(&later, 10);
    assert_eq!(scene.site(2).live_blocks, 0);
}

#[test]
fn releases_of_unknown_blocks_are_counted() {
    let mut scene = Scene::default();
    assert_eq!(scene.free(1, 0x10), None);
    scene.malloc(1, 0x20, 7, 1);
    scene.malloc(1, 0x20, 9, 1); // the release between them is not in the trace
    assert_eq!((scene.heap.unknown_releases, scene.heap.replaced), (1, 1));
    assert_eq!((scene.heap.live_bytes, scene.heap.live_blocks(), scene.heap.bytes), (9, 1, 16));
}

#[test]
fn any_sizes_leave_the_sums_consistent() {
    let mut scene = Scene::default();
    for (at, size) in [u64::MAX, 1, u64::MAX, 0, 1 << 63].into_iter().enumerate() {
        scene.malloc(1, 0x100 + at as u64, size, 1);
    }
    for at in 0..5 {
        scene.free(2, 0x100 + at);
    }
    assert_eq!((scene.heap.live_bytes, scene.heap.live_blocks(), scene.site(1).live_bytes), (0, 0, 0));
}

#[test]
fn the_figures_agree_with_a_simple_model() {
    let (mut scene, mut model) = (Scene::default(), BTreeMap::new());
    let (mut random, mut peak) = (1u64, (0u64, BTreeMap::new()));
    let mut next = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    for _ in 0..20_000 {
        let (address, site) = (0x1000 + next(300) * 16, next(20));
        if model.remove(&address).is_some() {
            assert!(scene.free(1 + (site % 3) as u32, address).is_some());
        } else {
            let size = next(10_000);
            scene.malloc(1 + (site % 3) as u32, address, size, site);
            model.insert(address, (site, size));
        }
        let live: u64 = model.values().map(|(_, size)| size).sum();
        assert_eq!(scene.heap.live_bytes, live);
        if live > peak.0 {
            peak = (live, model.clone());
        }
    }
    assert_eq!(scene.heap.peak.bytes, peak.0);
    for (origin, _, totals) in scene.heap.origins() {
        let Origin::Site(site) = origin else { unreachable!() };
        let of = |blocks: &BTreeMap<u64, (u64, u64)>| {
            let sizes = blocks.values().filter(|(of, _)| *of == site).map(|(_, size)| size);
            (sizes.clone().count() as u64, sizes.sum::<u64>())
        };
        assert_eq!((totals.live_blocks, totals.live_bytes), of(&model));
        assert_eq!((totals.peak_blocks, totals.peak_bytes), of(&peak.1));
    }
}
