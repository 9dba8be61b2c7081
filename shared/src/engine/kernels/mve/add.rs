//! Residual sums of four elements at once.

use core::arch::naked_asm;

use super::AddScales;

/// Arguments of [`add_elements`], in the order in which it loads them.
#[repr(C)]
struct Add {
    x: *const i8,
    o: *const i8,
    y: *mut i8,
    count: usize,
    x_scale: i32,
    o_scale: i32,
    constant: i32,
}

pub fn add(x: &[i8], o: &[i8], scales: AddScales, y: &mut [i8]) {
    let count = x.len().min(o.len()).min(y.len());
    let call = Add {
        x: x.as_ptr(),
        o: o.as_ptr(),
        y: y.as_mut_ptr(),
        count,
        x_scale: scales.x_scale,
        o_scale: scales.o_scale,
        constant: scales.constant(),
    };
    if count > 0 {
        // SAFETY: all three have `count` bytes, which is not 0.
        unsafe { add_elements(&call) }
    }
}

/// Adds elements. Sums have 28 bits; the first narrowing keeps the upper 16 and the second the
/// upper 12, saturated.
///
/// # Safety
/// `x`, `o` and `y` are `count ≥ 1` bytes; those of `y` may be written.
#[unsafe(naked)]
unsafe extern "C" fn add_elements(call: &Add) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r4-r7, lr}}",
        "ldm.w r0, {{r1-r7}}",
        "vdup.32 q3, r5",
        "dlstp.32 lr, r4",
        "1:",
        "vldrb.s32 q0, [r1], #4",
        "vldrb.s32 q1, [r2], #4",
        "vmlas.s32 q0, q3, r7",
        "vmla.s32 q0, q1, r6",
        "vqshrnb.s32 q0, q0, #16",
        "vqshrnb.s16 q0, q0, #4",
        "vstrb.32 q0, [r3], #4",
        "letp lr, 1b",
        "pop {{r4-r7, pc}}",
    )
}
