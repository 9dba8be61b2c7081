//! Memory layout from the linker: region of the model, memory in use, depth of the stack.

use core::{ptr, slice};

/// Value with which the stack is painted at the start.
#[cfg(target_arch = "arm")]
pub const STACK_PAINT: u32 = cortex_m_rt::STACK_PAINT_VALUE;
#[cfg(not(target_arch = "arm"))]
/// Value with which the stack is painted at the start.
pub const STACK_PAINT: u32 = 0xCCCC_CCCC;

unsafe extern "C" {
    // Defined in the memory map and in cortex-m-rt's link.x; only their addresses are meaningful.
    static _model_start: u8;
    static _model_length: u8;
    static _ram_start: u8;
    static _stack_end: u32;
    static _stack_start: u32;
}

/// Returns address and length of the flash region of the model.
pub fn model_region_bounds() -> (usize, usize) {
    ((&raw const _model_start).expose_provenance(), (&raw const _model_length).addr())
}

/// Flash region of the model, with any contents.
pub fn model_region() -> &'static [u8] {
    let (_, length) = model_region_bounds();
    // SAFETY: the memory map reserves these bytes for models alone. Only the program for updates
    // writes them while it runs, and it calls this function only to save them at its end.
    unsafe { slice::from_raw_parts(&raw const _model_start, length) }
}

/// Number of bytes below the stack: initialized and zeroed statics.
pub fn static_bytes() -> usize {
    (&raw const _stack_end).addr() - (&raw const _ram_start).addr()
}

/// Size of the deepest stack so far, in bytes, from the words that lost their paint.
pub fn peak_stack_bytes() -> usize {
    let top = (&raw const _stack_start).addr();
    let mut word = &raw const _stack_end;
    // SAFETY: every address between the two symbols is aligned RAM. The read is volatile, since the
    // words above the stack pointer belong to live frames.
    while word.addr() < top && unsafe { ptr::read_volatile(word) } == STACK_PAINT {
        word = word.wrapping_add(1);
    }
    top - word.addr()
}
