//! The allocator of guests: lists of free blocks by size, over the standard one.
//!
//! A call brings a dozen small texts a row. Each is allocated by the host, on its own, and freed
//! before the call ends; the next call brings as many of the same sizes. So a freed block is put
//! in front of the list of its size, and the next request of that size takes it from there. What
//! is larger than [`LARGEST`] goes to the standard allocator.
//!
//! Bound: a block never changes its size, so a guest keeps, of each size, as much as it ever
//! had of it at once. What it has at once is bounded by the rows of a call.
//!
//! The only unsafe code of this crate that is written by hand; the tests compare it with a model.

#![expect(
    clippy::indexing_slicing,
    reason = "what is small has a list, which the compiler sees"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::mem::size_of;
use std::ptr::{self, NonNull};

/// What sizes are rounded up to, and what blocks are aligned to.
const GRANULE: usize = 16;
/// The largest block that is kept in a list.
const LARGEST: usize = 512;
/// Blocks are cut from pieces of this size.
const PIECE: usize = 32 << 10;

/// A free block begins with the address of the next one of its size.
struct Free {
    next: Option<NonNull<Free>>,
}

/// The lists, and what is left of the last piece.
struct Lists {
    /// By size in granules, less one.
    free: [Option<NonNull<Free>>; LARGEST / GRANULE],
    rest: *mut u8,
    left: usize,
}

/// Allocates from the lists. Not for several threads: guests have one.
pub(crate) struct Allocator(UnsafeCell<Lists>);

// SAFETY: without the `atomics` feature of the target there are no threads to share it with.
#[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
unsafe impl Sync for Allocator {}

impl Allocator {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(Lists {
            free: [None; LARGEST / GRANULE],
            rest: ptr::null_mut(),
            left: 0,
        }))
    }

    /// The list of this layout's blocks; none if the standard allocator has to do with it.
    #[inline]
    fn list(layout: Layout) -> Option<usize> {
        let is_small = layout.size() <= LARGEST && layout.align() <= GRANULE;
        // An empty layout is never asked for; it would be one of the smallest here.
        is_small.then(|| layout.size().saturating_sub(1) / GRANULE)
    }
}

// SAFETY: a block is in a list, or with the program, or a part of the rest, and never in two of
// these: taking it from its list or from the rest is what hands it out, and only freeing it puts
// it back. All blocks of a list have its size and are aligned to a granule, since pieces are and
// sizes are multiples of it; so each can be had for every layout that maps to its list, and has
// room for a `Free`. Layouts that map to none go to `System`, the same way in and out. The lists
// are borrowed by one thread, and for no longer than a function that calls nothing of the program.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(list) = Self::list(layout) else {
            // SAFETY: as promised to this function.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: see above; a block in a list begins with a `Free`.
        unsafe {
            let lists = &mut *self.0.get();
            match lists.free[list] {
                Some(block) => {
                    lists.free[list] = block.as_ref().next;
                    block.as_ptr().cast()
                }
                None => lists.cut((list + 1) * GRANULE),
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(list) = Self::list(layout) else {
            // SAFETY: as promised to this function; the block came from there.
            return unsafe { System.dealloc(block, layout) };
        };
        // SAFETY: see above; the program has given the block back.
        unsafe {
            let lists = &mut *self.0.get();
            let free = NonNull::new_unchecked(block.cast::<Free>());
            free.write(Free {
                next: lists.free[list],
            });
            lists.free[list] = Some(free);
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size is not too large for the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (Self::list(layout), Self::list(wanted)) {
            (Some(had), Some(wants)) if had == wants => block,
            // SAFETY: as promised to this function; both ends are the standard allocator's.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            // SAFETY: both blocks are valid for the smaller size, and they are not the same one.
            _ => unsafe {
                let moved = self.alloc(wanted);
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

impl Lists {
    /// A block that was never used, or null. `size` is a multiple of the granule, and at most
    /// [`LARGEST`].
    #[cold]
    fn cut(&mut self, size: usize) -> *mut u8 {
        if self.left < size {
            // SAFETY: the layout is not empty. What is left of the piece before is lost: it is
            // smaller than a block.
            let piece = unsafe { System.alloc(Layout::from_size_align_unchecked(PIECE, GRANULE)) };
            if piece.is_null() {
                return piece;
            }
            (self.rest, self.left) = (piece, PIECE);
        }
        let block = self.rest;
        // SAFETY: so much is left of the piece.
        self.rest = unsafe { block.add(size) };
        self.left -= size;
        block
    }
}

const _: () = assert!(size_of::<Free>() <= GRANULE && PIECE >= LARGEST);

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// A block, and what every byte of it is.
    struct Held {
        block: *mut u8,
        layout: Layout,
        mark: u8,
    }

    impl Held {
        fn new(allocator: &Allocator, layout: Layout, mark: u8) -> Self {
            // SAFETY: no layout here is empty, and the block has its size.
            let block = unsafe {
                let block = allocator.alloc(layout);
                block.write_bytes(mark, layout.size());
                block
            };
            assert!(block.addr().is_multiple_of(layout.align()), "{layout:?}");
            Self {
                block,
                layout,
                mark,
            }
        }

        /// Fails if somebody else has written into the first bytes of the block.
        fn check(&self, bytes: usize) {
            // SAFETY: the block is held, has so many bytes, and all were written.
            let bytes = unsafe { std::slice::from_raw_parts(self.block, bytes) };
            assert!(bytes.iter().all(|byte| *byte == self.mark), "{bytes:?}");
        }

        fn resize(&mut self, allocator: &Allocator, size: usize) {
            let kept = size.min(self.layout.size());
            // SAFETY: the block is held with this layout, and the size is not 0.
            self.block = unsafe { allocator.realloc(self.block, self.layout, size) };
            self.check(kept);
            self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
            assert!(self.block.addr().is_multiple_of(self.layout.align()));
            // SAFETY: the block has this size now.
            unsafe { self.block.write_bytes(self.mark, size) };
        }

        fn free(self, allocator: &Allocator) {
            self.check(self.layout.size());
            // SAFETY: the block is held with this layout, and not used after this.
            unsafe { allocator.dealloc(self.block, self.layout) };
        }
    }

    /// Numbers below a bound, from a seed (SplitMix64).
    struct Draws(u64);

    impl Draws {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) % bound as u64) as usize
        }

        /// Mostly small, as guests' are, and around where lists end.
        fn size(&mut self) -> usize {
            let most = [8, 40, 130, LARGEST, LARGEST + 40, 3 * PIECE][self.below(6)];
            1 + self.below(most)
        }

        fn layout(&mut self) -> Layout {
            let align = 1 << [0, 0, 0, 2, 3, 4, 5, 12][self.below(8)];
            Layout::from_size_align(self.size(), align).unwrap()
        }
    }

    /// Blocks that are held at once have their own bytes, whatever is freed, resized and used
    /// again around them.
    #[test]
    fn no_block_overlaps_another() {
        for seed in 0..5 {
            let (allocator, mut draws) = (Allocator::new(), Draws(seed));
            let mut held: Vec<Held> = Vec::new();
            for step in 0..4_000 {
                // Grows, then shrinks, and again.
                let is_growing = step / 500 % 2 == 0;
                match draws.below(10) {
                    0..2 if !held.is_empty() => {
                        let at = draws.below(held.len());
                        let size = draws.size();
                        held[at].resize(&allocator, size);
                    }
                    2..5 => held.push(Held::new(&allocator, draws.layout(), step as u8)),
                    5.. if is_growing => {
                        held.push(Held::new(&allocator, draws.layout(), step as u8));
                    }
                    _ if !held.is_empty() => {
                        let at = draws.below(held.len());
                        held.swap_remove(at).free(&allocator);
                    }
                    _ => {}
                }
            }
            held.drain(..).for_each(|held| held.free(&allocator));
        }
    }

    #[test]
    fn a_freed_block_is_used_again() {
        let allocator = Allocator::new();
        let layout = |size| Layout::from_size_align(size, 1).unwrap();
        let blocks = |count| {
            let of = |size| Held::new(&allocator, layout(size), 7);
            (0..count).map(|size| of(1 + size % LARGEST)).collect()
        };
        let first: Vec<Held> = blocks(3_000);
        let mut addresses: Vec<usize> = first.iter().map(|held| held.block.addr()).collect();
        first.into_iter().for_each(|held| held.free(&allocator));
        let second: Vec<Held> = blocks(3_000);
        let mut again: Vec<usize> = second.iter().map(|held| held.block.addr()).collect();
        addresses.sort_unstable();
        again.sort_unstable();
        assert_eq!(addresses, again);
        second.into_iter().for_each(|held| held.free(&allocator));
    }

    #[test]
    fn a_block_grows_within_its_granule_in_place() {
        let allocator = Allocator::new();
        let mut held = Held::new(&allocator, Layout::from_size_align(17, 1).unwrap(), 1);
        let block = held.block;
        held.resize(&allocator, 32);
        assert_eq!(held.block, block);
        held.resize(&allocator, 33);
        assert_ne!(held.block, block);
        held.free(&allocator);
    }
}
