//! Copies short rows one after another. A call of `memcpy` per row would cost more than its bytes.

use core::arch::naked_asm;

/// Assembly version of [`super::super::gather_rows`].
pub fn gather_rows(x: &[i8], stride: usize, row: usize, y: &mut [i8]) {
    let rows = y.len() / row.max(1);
    let last = rows.saturating_sub(1).checked_mul(stride);
    let fits = last.and_then(|last| last.checked_add(row)).is_some_and(|end| end <= x.len());
    if fits && rows > 0 && row > 0 {
        // SAFETY: the last row ends within `x`, and `rows ≥ 1` rows of `row ≥ 1` bytes fit `y`.
        unsafe { copy_rows(x.as_ptr(), stride, y.as_mut_ptr(), rows, row) }
    }
}

/// Copies rows one after another.
///
/// # Safety
/// `rows ≥ 1` rows of `row ≥ 1` bytes can be read `stride` apart from `x`, and as many can be
/// written one after another at `y`.
#[unsafe(naked)]
unsafe extern "C" fn copy_rows(x: *const i8, stride: usize, y: *mut i8, rows: usize, row: usize) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4, r5, r6, lr}}",
        "ldr r4, [sp, #16]",
        "1:",
        "mov r5, r0",
        "mov r6, r2",
        "dlstp.8 lr, r4",
        "2:",
        "vldrb.u8 q0, [r5], #16",
        "vstrb.8 q0, [r6], #16",
        "letp lr, 2b",
        "add r0, r1",
        "add r2, r4",
        "subs r3, #1",
        "bne 1b",
        "pop {{r4, r5, r6, pc}}",
    )
}
