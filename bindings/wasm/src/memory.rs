//! Memory of an instance: values that live as long as it does, and regions above them.

use core::{
    arch::wasm32::{memory_grow, memory_size},
    cell::UnsafeCell,
};

/// Bytes of a page of WebAssembly.
const PAGE: usize = 1 << 16;
/// Alignment of every region, that of a vector.
const ALIGNMENT: usize = 16;

/// Value of the instance.
pub struct Global<T>(UnsafeCell<T>);

// SAFETY: the module has no shared memory, so one thread runs an instance.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Returns the address of the value.
    pub const fn address(&self) -> *mut T {
        self.0.get()
    }
}

/// Address of the first free byte; 0 before the first region.
static END: Global<usize> = Global::new(0);

/// Returns the address of a new region of zeros at the end of the memory. `None` if it cannot grow so
/// far. Regions are never freed.
pub fn region(bytes: usize) -> Option<usize> {
    unsafe extern "C" {
        /// First byte after the stack and the static values, defined by the linker.
        static __heap_base: u8;
    }
    // SAFETY: no other reference to the value exists.
    let end = unsafe { &mut *END.address() };
    let start = (*end).max((&raw const __heap_base).addr()).checked_next_multiple_of(ALIGNMENT)?;
    let new_end = start.checked_add(bytes)?;
    let missing = new_end.div_ceil(PAGE).saturating_sub(memory_size::<0>());
    if missing > 0 && memory_grow::<0>(missing) == usize::MAX {
        return None;
    }
    *end = new_end;
    Some(start)
}
