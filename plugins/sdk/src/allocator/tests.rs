#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

/// A block, and what every byte of it is.
struct Held {
    block: *mut u8,
    layout: Layout,
    mark: u8,
}

impl Held {
    fn new(allocator: &Allocator, layout: Layout, mark: u8) -> Self {
        // SAFETY: no layout here is empty.
        Self::of(unsafe { allocator.alloc(layout) }, layout, mark)
    }

    fn lent(allocator: &Allocator, layout: Layout, mark: u8) -> Self {
        // SAFETY: no layout here is empty.
        Self::of(unsafe { allocator.lend(layout) }, layout, mark)
    }

    fn of(block: *mut u8, layout: Layout, mark: u8) -> Self {
        // SAFETY: the block has this size.
        unsafe { block.write_bytes(mark, layout.size()) };
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
            // Grows, then shrinks, and again; sometimes to nothing.
            let is_growing = step / 500 % 2 == 0;
            if step % 1_000 == 999 {
                held.drain(..).for_each(|held| held.free(&allocator));
            }
            match draws.below(10) {
                0..2 if !held.is_empty() => {
                    let at = draws.below(held.len());
                    let size = draws.size();
                    held[at].resize(&allocator, size);
                }
                2 => held.push(Held::new(&allocator, draws.layout(), step as u8)),
                3..5 => held.push(Held::lent(&allocator, draws.layout(), step as u8)),
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

#[test]
fn an_arena_that_nobody_holds_is_empty_again() {
    let allocator = Allocator::new();
    let lent = |size| Held::lent(&allocator, Layout::from_size_align(size, 1).unwrap(), 3);
    let held: Vec<Held> = (1..100).map(&lent).collect();
    let first = held[0].block;
    held.into_iter().for_each(|held| held.free(&allocator));
    let again = lent(5);
    assert_eq!(again.block, first);
    // One that is held keeps its place; what grows goes elsewhere.
    let mut other = lent(5);
    assert_eq!(other.block.addr(), first.addr() + 5);
    again.free(&allocator);
    other.resize(&allocator, 3);
    assert_eq!(other.block.addr(), first.addr() + 5);
    other.resize(&allocator, 8);
    assert_ne!(other.block.addr(), first.addr() + 5);
    assert_eq!(lent(1).block, first);
    other.free(&allocator);
}

#[test]
fn an_arena_that_was_too_small_grows() {
    let allocator = Allocator::new();
    let lent = || Held::lent(&allocator, Layout::from_size_align(LARGEST, 8).unwrap(), 3);
    for size in [Arena::SMALLEST, 2 * Arena::SMALLEST, 4 * Arena::SMALLEST] {
        let held: Vec<Held> = (0..4 * Arena::SMALLEST / LARGEST).map(|_| lent()).collect();
        // SAFETY: nothing else borrows the arena.
        let arena = unsafe { &*allocator.arena.get() };
        let lent = held.iter().filter(|held| arena.has(held.block));
        assert_eq!(lent.count(), size / LARGEST);
        held.into_iter().for_each(|held| held.free(&allocator));
    }
}
