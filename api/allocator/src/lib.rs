//! How the programs get memory: mimalloc, asked for alignment only by what needs more than a word's.
//!
//! The usual wrapper asks for each piece as for one of some alignment. Then mimalloc looks at the free list of the piece's
//! size alone; when that is empty, though pieces were freed that are not on it yet, it takes a larger piece, and those that
//! were freed stay where they are. Rows come and go by the ten thousand: large batches were a quarter slower for it
//! (`docs/adr/0019-memory-by-mimalloc.md`).
//!
//! The only unsafe code of ours, in a crate of its own so that the others can forbid it.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mi;

/// The allocator, for `#[global_allocator]`.
pub struct Allocator;

/// What mimalloc aligns any piece to, however small it is.
const WORD: usize = size_of::<usize>();

// SAFETY: mimalloc gives pieces that are at least as large as was asked for and overlap no other, or null. Those that are not
// asked for by alignment are aligned to a word, which is enough wherever that is done; all others are asked for by theirs.
// `mi_free` and both ways to reallocate take any piece of mimalloc's, whichever way it was got, and a piece is got by this
// alone. Nothing here unwinds.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: any size may be asked for; an alignment is a power of two, as mimalloc wants it.
        unsafe { if align <= WORD { mi::mi_malloc(size) } else { mi::mi_malloc_aligned(size, align) }.cast() }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as above.
        unsafe { if align <= WORD { mi::mi_zalloc(size) } else { mi::mi_zalloc_aligned(size, align) }.cast() }
    }

    #[inline]
    unsafe fn dealloc(&self, piece: *mut u8, _: Layout) {
        // SAFETY: the caller's piece is one of mimalloc's that was not freed.
        unsafe { mi::mi_free(piece.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        // SAFETY: the caller's piece is one of mimalloc's that was not freed; the alignment stays what it was.
        unsafe { if align <= WORD { mi::mi_realloc(piece.cast(), size) } else { mi::mi_realloc_aligned(piece.cast(), size, align) }.cast() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_and_apart_and_keep_what_they_hold() {
        let mut pieces = Vec::new();
        for align in (0..13).map(|power| 1_usize << power) {
            for size in [1, 7, 8, 24, 96, 1_000, 70_000] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the size is not 0; what is written lies within the piece.
                let piece = unsafe {
                    let piece = if size % 2 == 0 { Allocator.alloc(layout) } else { Allocator.alloc_zeroed(layout) };
                    assert!(!piece.is_null());
                    assert!(size % 2 == 0 || std::slice::from_raw_parts(piece, size).iter().all(|byte| *byte == 0));
                    piece.write_bytes(pieces.len() as u8, size);
                    piece
                };
                pieces.push((piece, layout));
            }
        }
        for (n, (piece, layout)) in pieces.iter().enumerate() {
            // SAFETY: the piece was got with this layout, and is freed once, by the layout that it has then.
            unsafe {
                assert_eq!(piece.align_offset(layout.align()), 0, "{layout:?}");
                let larger = Allocator.realloc(*piece, *layout, 2 * layout.size());
                assert_eq!(larger.align_offset(layout.align()), 0, "{layout:?}");
                assert!(std::slice::from_raw_parts(larger, layout.size()).iter().all(|byte| *byte == n as u8), "{layout:?}");
                Allocator.dealloc(larger, Layout::from_size_align(2 * layout.size(), layout.align()).unwrap());
            }
        }
    }
}
