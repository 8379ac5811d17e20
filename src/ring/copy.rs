//! Short copies without a call: two overlapping moves of a known size cover every length between that size and its double.

use std::ptr::copy_nonoverlapping;

/// The longest.
pub const SHORT: usize = 128;

/// Copies `len` bytes, at most [`SHORT`].
///
/// # Safety
/// `from` has `len` readable bytes and `to` as many writable ones, elsewhere.
#[inline(always)]
pub unsafe fn short(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: each pair covers the first and the last bytes of the `len`, and reaches no further.
    unsafe {
        match len {
            65..=SHORT => ends::<64>(from, to, len),
            33..=64 => ends::<32>(from, to, len),
            16..=32 => ends::<16>(from, to, len),
            8..=15 => ends::<8>(from, to, len),
            4..=7 => ends::<4>(from, to, len),
            2..=3 => ends::<2>(from, to, len),
            1 => *to = *from,
            _ => {}
        }
    }
}

/// Copies the first and the last `N` bytes of `len`.
///
/// # Safety
/// As for [`short`]; `len` is from `N` to double that.
#[inline(always)]
unsafe fn ends<const N: usize>(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: passed on.
    unsafe {
        copy_nonoverlapping(from, to, N);
        copy_nonoverlapping(from.add(len - N), to.add(len - N), N);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_copied_and_nothing_beside_it() {
        let from: Vec<u8> = (0..SHORT as u8).map(|b| b + 1).collect();
        for len in 0..=SHORT {
            let mut to = [0; SHORT + 2];
            // SAFETY: both are long enough, and the second has a byte to spare on either side.
            unsafe { short(from.as_ptr(), to.as_mut_ptr().add(1), len) };
            assert!(
                to[1..=len] == from[..len] && to[0] == 0 && to[len + 1..].iter().all(|&b| b == 0),
                "{len}"
            );
        }
    }
}
