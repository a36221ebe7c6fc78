//! The allocator of guests: an arena for what the host hands over, and lists of free blocks by
//! size, over the standard allocator.
//!
//! A call brings a dozen small texts a row. Each is allocated by the host, on its own, through
//! [`cabi_realloc`], and freed before the call ends. So these are cut from an arena one after the
//! other, and all that freeing does is to count: when none is left, the arena is empty again.
//!
//! What the guest allocates itself goes through the lists: a freed block is put in front of the
//! list of its size, and the next request of that size takes it from there. The lists also serve
//! what the arena has no room for, and then the arena grows when it is next empty. What is larger
//! than [`LARGEST`] is the standard allocator's.
//!
//! Bounds: [`Arena::LARGEST`]; and a block of a list never changes its size, so of each size a
//! guest keeps as much as it ever had at once. A guest that keeps an argument beyond its call
//! keeps the arena from being emptied, and is served by the lists.
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

/// Not for several threads: guests have one.
pub(crate) struct Allocator {
    lists: UnsafeCell<Lists>,
    arena: UnsafeCell<Arena>,
}

// SAFETY: without the `atomics` feature of the target there are no threads to share it with.
#[cfg(all(target_family = "wasm", not(target_feature = "atomics")))]
unsafe impl Sync for Allocator {}

impl Allocator {
    pub(crate) const fn new() -> Self {
        Self {
            lists: UnsafeCell::new(Lists {
                free: [None; LARGEST / GRANULE],
                rest: ptr::null_mut(),
                left: 0,
            }),
            arena: UnsafeCell::new(Arena {
                base: ptr::null_mut(),
                size: 0,
                used: 0,
                held: 0,
                is_short: false,
            }),
        }
    }

    /// A block for what is freed soon, together with all others from here.
    ///
    /// # Safety
    ///
    /// As of [`GlobalAlloc::alloc`].
    #[inline]
    pub(crate) unsafe fn lend(&self, layout: Layout) -> *mut u8 {
        if Self::list(layout).is_some() {
            // SAFETY: nothing else borrows the arena, see below.
            let arena = unsafe { &mut *self.arena.get() };
            if let Some(block) = arena.cut(layout).or_else(|| arena.extend(layout)) {
                return block;
            }
        }
        // SAFETY: as promised to this function.
        unsafe { self.alloc(layout) }
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
// room for a `Free`. Layouts that map to none go to `System`, the same way in and out.
//
// Blocks of the arena are known by their addresses, which nothing else has. They do not overlap,
// since `used` only grows until no block is held; then the arena is empty, and may be replaced.
//
// Lists and arena are borrowed by one thread, and for no longer than a function that calls nothing
// of the program.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(list) = Self::list(layout) else {
            // SAFETY: as promised to this function.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: see above; a block in a list begins with a `Free`.
        unsafe {
            let lists = &mut *self.lists.get();
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
        // SAFETY: nothing else borrows the arena, see above.
        let arena = unsafe { &mut *self.arena.get() };
        if arena.has(block) {
            return arena.take_back();
        }
        let Some(list) = Self::list(layout) else {
            // SAFETY: as promised to this function; the block came from there.
            return unsafe { System.dealloc(block, layout) };
        };
        // SAFETY: see above; the program has given the block back.
        unsafe {
            let lists = &mut *self.lists.get();
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
        // SAFETY: nothing else borrows the arena, see above.
        let is_lent = unsafe { &*self.arena.get() }.has(block);
        match (Self::list(layout), Self::list(wanted)) {
            _ if is_lent && size <= layout.size() => block,
            (Some(had), Some(wants)) if had == wants && !is_lent => block,
            // SAFETY: as promised to this function; both ends are the standard allocator's.
            (None, None) if !is_lent => unsafe { System.realloc(block, layout, size) },
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

/// The lists, and what is left of the last piece.
struct Lists {
    /// By size in granules, less one.
    free: [Option<NonNull<Free>>; LARGEST / GRANULE],
    rest: *mut u8,
    left: usize,
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

/// One piece of memory, used from its beginning to its end.
struct Arena {
    base: *mut u8,
    size: usize,
    used: usize,
    /// Blocks that are not freed.
    held: usize,
    /// Whether a block had to come from elsewhere since the arena was last empty.
    is_short: bool,
}

impl Arena {
    /// Room for a chunk of 300 rows with some texts.
    const SMALLEST: usize = 64 << 10;
    /// Room for one of 10,000.
    const LARGEST: usize = 4 << 20;

    /// Whether the block was cut from here.
    #[inline]
    fn has(&self, block: *mut u8) -> bool {
        block.addr().wrapping_sub(self.base.addr()) < self.size
    }

    /// The next block, if there is room. The alignment is at most a granule.
    #[inline]
    fn cut(&mut self, layout: Layout) -> Option<*mut u8> {
        // The next multiple of the alignment, which is a power of two.
        let begin = (self.used + layout.align() - 1) & !(layout.align() - 1);
        let end = begin + layout.size();
        if end > self.size {
            return None;
        }
        self.used = end;
        self.held += 1;
        // SAFETY: the block lies within the arena.
        Some(unsafe { self.base.add(begin) })
    }

    /// One block less is held.
    #[inline]
    fn take_back(&mut self) {
        self.held -= 1;
        if self.held == 0 {
            self.used = 0;
            if self.is_short {
                self.grow();
            }
        }
    }

    /// The next block after there was no room for it, if there can be.
    #[cold]
    fn extend(&mut self, layout: Layout) -> Option<*mut u8> {
        if self.held == 0 {
            self.grow();
            return self.cut(layout);
        }
        self.is_short = true;
        None
    }

    /// Makes an empty arena larger, unless it is the largest or there is no memory.
    #[cold]
    fn grow(&mut self) {
        self.is_short = false;
        let size = (2 * self.size).clamp(Self::SMALLEST, Self::LARGEST);
        if size == self.size {
            return;
        }
        // SAFETY: sizes are not 0, and multiples of the alignment. Nobody holds a block of the
        // arena that is given back.
        unsafe {
            let layout = |size| Layout::from_size_align_unchecked(size, GRANULE);
            let base = System.alloc(layout(size));
            if base.is_null() {
                return;
            }
            if self.size > 0 {
                System.dealloc(self.base, layout(self.size));
            }
            (self.base, self.size) = (base, size);
        }
    }
}

/// Allocates for the host, which calls it by this name, what it hands over.
///
/// # Safety
///
/// As the canonical ABI has it: nothing, or a block of this allocator with its length.
#[cfg(target_family = "wasm")]
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(
    block: *mut u8,
    length: usize,
    align: usize,
    wanted: usize,
) -> *mut u8 {
    // SAFETY: alignments are powers of two; a length that is too large fails below.
    let layout = |size| unsafe { Layout::from_size_align_unchecked(size, align) };
    // SAFETY: as promised to this function; empty layouts are not asked for.
    let block = unsafe {
        match (length, wanted) {
            (0, 0) => return ptr::without_provenance_mut(align),
            (0, _) => crate::ALLOCATOR.lend(layout(wanted)),
            _ => crate::ALLOCATOR.realloc(block, layout(length), wanted),
        }
    };
    if block.is_null() {
        core::arch::wasm32::unreachable();
    }
    block
}

const _: () = assert!(size_of::<Free>() <= GRANULE && PIECE >= LARGEST);

#[cfg(test)]
mod tests;
