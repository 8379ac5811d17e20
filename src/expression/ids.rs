//! A table of ids that is made once and then only read.

/// A map from 64-bit ids to masks that are not 0, by open addressing. Before it stands a filter with one bit for each hash: for all but one in
/// thirty of the ids that are not in the table it says so. So a processor predicts the answer for ids of which most are not in the table, whatever they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdTable {
    /// Ids and masks; a place with the mask 0 is empty. Their number is a power of two, at least twice that of the ids.
    places: Box<[(u64, u64)]>,
    /// The filter. The number of its bits is a power of two.
    filter: Box<[u64]>,
    /// 64 less the number of bits of a bit's index.
    filter_shift: u32,
    /// 64 less the number of bits of a place's index.
    shift: u32,
    ids: usize,
}

/// How far apart the places of neighbouring ids are: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Bits of the filter for each id, and at least.
const BITS: usize = 32;
const LEAST_BITS: usize = 512;

impl Default for IdTable {
    /// No ids.
    fn default() -> Self {
        let (places, filter) = (Box::new([(0, 0); 2]), Box::new([0]));
        Self { places, filter, filter_shift: 58, shift: 63, ids: 0 }
    }
}

impl IdTable {
    /// The table of these ids with their masks. The masks of an id that comes more than once are joined. `None`: there is no memory.
    pub fn new(entries: impl ExactSizeIterator<Item = (u64, u64)>) -> Option<Self> {
        let places = entries.len().checked_mul(2)?.max(2).checked_next_power_of_two()?;
        let mut list = Vec::new();
        list.try_reserve_exact(places).ok()?;
        list.resize(places, (0, 0));
        let bits = entries.len().checked_mul(BITS)?.max(LEAST_BITS).checked_next_power_of_two()?;
        let mut filter = Vec::new();
        filter.try_reserve_exact(bits / 64).ok()?;
        filter.resize(bits / 64, 0);
        let mut table = Self {
            places: list.into_boxed_slice(),
            filter: filter.into_boxed_slice(),
            filter_shift: 64 - bits.trailing_zeros(),
            shift: 64 - places.trailing_zeros(),
            ids: 0,
        };
        for (id, mask) in entries.filter(|(_, mask)| *mask != 0) {
            let bit = hash(id) >> table.filter_shift;
            table.filter[(bit / 64) as usize] |= 1 << (bit % 64);
            let mut at = table.first(id);
            while table.places[at].1 != 0 && table.places[at].0 != id {
                at = (at + 1) & (places - 1);
            }
            let (known, masks) = &mut table.places[at];
            table.ids += usize::from(*masks == 0);
            *known = id;
            *masks |= mask;
        }
        Some(table)
    }

    /// The same where only the presence of an id counts.
    pub fn of(ids: &[u64]) -> Option<Self> {
        Self::new(ids.iter().map(|id| (*id, 1)))
    }

    #[inline(always)]
    fn first(&self, id: u64) -> usize {
        (hash(id) >> self.shift) as usize
    }

    /// `false`: the id is not in the table. It costs no branch.
    #[inline(always)]
    pub fn may_have(&self, id: u64) -> bool {
        let bit = hash(id) >> self.filter_shift;
        // (There is a word for each bit.)
        self.filter.get((bit / 64) as usize).is_none_or(|word| word >> (bit % 64) & 1 != 0)
    }

    /// The mask of an id; 0 if it is not in the table.
    #[inline(always)]
    pub fn mask(&self, id: u64) -> u64 {
        if !self.may_have(id) {
            return 0;
        }
        let mut at = self.first(id);
        // (Some place is empty, so this ends.)
        while let Some((known, mask)) = self.places.get(at) {
            if *mask == 0 || *known == id {
                return *mask;
            }
            at = (at + 1) & (self.places.len() - 1);
        }
        0
    }

    /// Whether the id is in the table.
    #[inline]
    pub fn contains(&self, id: u64) -> bool {
        self.mask(id) != 0
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.ids
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids == 0
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.places) + size_of_val(&*self.filter)
    }

    /// The ids, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.places.iter().filter(|(_, mask)| *mask != 0).map(|(id, _)| *id)
    }
}

/// The upper half is folded in, because ids that differ only there would otherwise share few places.
#[inline(always)]
fn hash(id: u64) -> u64 {
    (id ^ id >> 32).wrapping_mul(SPREAD)
}

/// A filter for few ids. It takes fewer instructions than that of a table, because its size is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FewIds([u64; 1 << (FEW_BITS - 6)]);

/// The number of bits of a bit's index in the filter.
const FEW_BITS: u32 = 11;

impl Default for FewIds {
    /// No ids.
    fn default() -> Self {
        Self([0; _])
    }
}

impl FewIds {
    /// The most ids: of others it then tells all but one in a hundred apart.
    pub const MOST: usize = 16;

    /// The filter of these ids.
    pub fn of(ids: impl Iterator<Item = u64>) -> Self {
        let mut filter = Self::default();
        for id in ids {
            let (word, bit) = Self::bit(id);
            filter.0[word] |= 1 << bit;
        }
        filter
    }

    /// `false`: the id is none of them.
    #[inline(always)]
    pub fn may_have(&self, id: u64) -> bool {
        let (word, bit) = Self::bit(id);
        self.0[word] >> bit & 1 != 0
    }

    /// (Without the upper half folded in: ids that differ only there share more bits then, but rarely all.)
    #[inline(always)]
    fn bit(id: u64) -> (usize, u64) {
        let hash = id.wrapping_mul(SPREAD);
        ((hash >> (70 - FEW_BITS)) as usize, hash >> (64 - FEW_BITS) & 63)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn an_id_is_found_with_all_its_masks_and_others_are_not() {
        let patterns: [fn(u64) -> u64; 6] = [
            |n| n,
            |n| n << 32,
            |n| n << 48,
            |n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            |n| u64::MAX - n,
            |n| n.wrapping_mul(8 * 1021),
        ];
        for pattern in patterns {
            for count in [0, 1, 2, 3, 64, 1000] {
                let entries: Vec<_> = (0..count).map(|n| (pattern(n % 700), 1 << (n % 61))).collect();
                let mut expected = HashMap::new();
                for (id, mask) in &entries {
                    *expected.entry(*id).or_insert(0) |= mask;
                }
                let table = IdTable::new(entries.into_iter()).unwrap();
                let few = FewIds::of(table.iter());
                assert_eq!((table.len(), table.is_empty()), (expected.len(), count == 0));
                for n in 0..2000 {
                    let id = pattern(n);
                    assert_eq!(table.mask(id), expected.get(&id).copied().unwrap_or(0), "{count} {id}");
                    assert!((table.may_have(id) && few.may_have(id)) || table.mask(id) == 0);
                }
                let mut ids: Vec<u64> = table.iter().collect();
                ids.sort_unstable();
                let mut known: Vec<u64> = expected.into_keys().collect();
                known.sort_unstable();
                assert_eq!(ids, known);
            }
        }
    }
}
