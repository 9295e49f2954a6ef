//! Settings of the allocator of the C library.
//!
//! The allocator maps a large block by itself and gives it back to the system when it is
//! freed. Once a mapped block of some size was freed, it carves the next of that size out
//! of its arenas instead, of blocks up to 32 MiB, and then keeps in each arena up to
//! 64 MiB that are free. There are eight arenas for each processor. Write buffers, batches
//! and messages come and go by the MiB on many threads here, so a peer held up to twice as
//! much as it used (`docs/benchmarks.md`).

#![allow(unsafe_code)]

use std::ffi::c_int;

use crate::limits::{ALLOCATOR_KEEPS_BYTES, ALLOCATOR_MAPS_BYTES};

/// `M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of malloc.h.
const TRIM_THRESHOLD: c_int = -1;
const MMAP_THRESHOLD: c_int = -3;

/// Has blocks from some size on always mapped by themselves, and free memory at the end
/// of an arena given back. Does nothing where the C library is another one.
pub(crate) fn give_back_what_is_free() {
    set(MMAP_THRESHOLD, ALLOCATOR_MAPS_BYTES);
    set(TRIM_THRESHOLD, ALLOCATOR_KEEPS_BYTES);
}

/// Gives back what is free anywhere in the arenas, also between blocks that are in use.
/// Takes milliseconds, and others wait for an arena meanwhile: for a moment when much was
/// freed at once. Does nothing where the C library is another one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn trim() {
    extern "C" {
        fn malloc_trim(pad: usize) -> c_int;
    }
    // SAFETY: the function takes a number and locks of its own, and is in every C library
    // of this kind.
    unsafe { malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn trim() {}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set(what: c_int, bytes: c_int) {
    extern "C" {
        fn mallopt(what: c_int, value: c_int) -> c_int;
    }
    // SAFETY: the function takes two numbers and a lock of its own, and is in every C
    // library of this kind. When it refuses the value, all is as it was.
    unsafe { mallopt(what, bytes) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn set(_: c_int, _: c_int) {}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::thread;

    use super::*;

    const BLOCK: usize = 1 << 20;
    const COUNT: usize = 64;

    fn resident_bytes() -> usize {
        let told = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = told.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: usize = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
        kib << 10
    }

    #[test]
    fn small_blocks_that_are_freed_go_back_when_they_are_trimmed() {
        let held = thread::spawn(|| {
            let mut small: Vec<Vec<u8>> = (0..64_000).map(|_| vec![1; 1_000]).collect();
            let held = resident_bytes();
            // One block in each few pages stays.
            let mut n = 0;
            small.retain(|_| {
                n += 1;
                n % 64 == 0
            });
            trim();
            let left = resident_bytes();
            drop(small);
            (held, left)
        });
        let (held, left) = held.join().unwrap();
        assert!(held - left.min(held) > 16 << 20, "{held} {left}");
    }

    #[test]
    fn large_blocks_that_are_freed_go_back_to_the_system() {
        give_back_what_is_free();
        // A thread of its own has an arena of its own; the first one gives back more.
        let (held, left) = thread::spawn(held_and_left).join().unwrap();
        assert!(held - left.min(held) > COUNT * BLOCK / 2, "{held} {left}");
    }

    /// Resident memory while large blocks are held, and when they are freed.
    fn held_and_left() -> (usize, usize) {
        // The allocator learns the size from the first one that is freed.
        drop(vec![1_u8; 8 * BLOCK]);
        let large: Vec<Vec<u8>> = (0..COUNT).map(|_| vec![1; BLOCK]).collect();
        // This block holds the end of the arena.
        let small = Box::new([1_u8; 1_000]);
        let held = resident_bytes();
        drop(large);
        let left = resident_bytes();
        drop(small);
        (held, left)
    }
}
