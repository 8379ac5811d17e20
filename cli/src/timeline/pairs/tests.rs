//! Against a plain list of all that is open.

use super::*;

/// A plain list, in the order of the begins.
#[derive(Default)]
struct Plain {
    most: usize,
    open: Vec<(usize, u32, Option<Key>, u64)>,
}

impl Plain {
    fn begin(&mut self, thread: usize, kind: u32, key: Option<Key>, data: u64) -> Vec<u64> {
        let mut given_up = Vec::new();
        if self.open.len() >= self.most {
            let oldest = self.open[0];
            let goes = |open: &(usize, u32, Option<Key>, u64)| match oldest.2 {
                Some(_) => open.3 == oldest.3,
                None => open.0 == oldest.0 && open.2.is_none(),
            };
            given_up = self.open.iter().filter(|open| goes(open)).map(|open| open.3).rev().collect();
            self.open.retain(|open| !goes(open));
        }
        self.open.push((thread, kind, key, data));
        given_up
    }

    fn end(&mut self, thread: usize, kind: u32, key: Option<Key>) -> Option<(u64, usize)> {
        let at = self.open.iter().rposition(|open| (open.0, open.1, open.2) == (thread, kind, key))?;
        let (.., data) = self.open.remove(at);
        let later = self.open[at..].iter().filter(|open| open.0 == thread && open.2.is_none()).count();
        Some((data, if key.is_none() { later } else { 0 }))
    }

    fn cut(&mut self, thread: usize) -> Vec<u64> {
        let cut = self.open.iter().filter(|open| open.0 == thread).map(|open| open.3).rev().collect();
        self.open.retain(|open| open.0 != thread);
        cut
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn pairs_are_those_of_a_plain_list_whatever_comes() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let most = 1 + random.below(30) as usize;
        let (mut pairs, mut plain) = (Pairs::new(most), Plain { most, ..Plain::default() });
        for step in 0..600_u64 {
            let (thread, kind) = (random.below(3) as usize, random.below(3) as u32);
            // The kind 2 has keys.
            let key = (kind == 2).then(|| Key::from(random.below(4)));
            match random.below(20) {
                0..10 => {
                    let given_up = pairs.make_room();
                    pairs.begin(thread, kind, key, step);
                    let given_up: Vec<u64> = given_up.into_iter().map(|open| open.data).collect();
                    assert_eq!(given_up, plain.begin(thread, kind, key, step), "seed {seed}, step {step}");
                }
                10..19 => {
                    let ended = pairs.end(thread, kind, key).map(|ended| (ended.open.data, ended.crossed));
                    assert_eq!(ended, plain.end(thread, kind, key), "seed {seed}, step {step}");
                    if let Some((_, crossed)) = ended {
                        let later: Vec<u64> =
                            pairs.last(thread, crossed).iter().map(|open| open.data).collect();
                        let of_thread = plain.open.iter().filter(|open| open.0 == thread && open.2.is_none());
                        let mut wanted: Vec<u64> = of_thread.map(|open| open.3).rev().take(crossed).collect();
                        wanted.reverse();
                        assert_eq!(later, wanted, "seed {seed}, step {step}");
                    }
                }
                _ => {
                    let cut: Vec<u64> = pairs.cut(thread).into_iter().map(|open| open.data).collect();
                    assert_eq!(cut, plain.cut(thread), "seed {seed}, step {step}");
                }
            }
            assert_eq!(pairs.len(), plain.open.len(), "seed {seed}, step {step}");
            assert!(pairs.len() <= most);
        }
        let all: Vec<u64> = pairs.all().into_iter().map(|open| open.data).collect();
        assert_eq!(all, plain.open.iter().map(|open| open.3).collect::<Vec<u64>>());
    }
}

#[test]
fn what_is_remembered_of_ended_pairs_is_bounded() {
    let mut pairs = Pairs::new(10);
    pairs.begin(0, 1, None, 0);
    for n in 0..100_000 {
        pairs.begin(1, 1, Some(n), 0);
        assert!(pairs.end(1, 1, Some(n)).is_some());
        assert!(pairs.order.len() <= 2 * 10 + 65, "{}", pairs.order.len());
    }
    assert_eq!((pairs.len(), pairs.keyed.len()), (1, 0));
}
