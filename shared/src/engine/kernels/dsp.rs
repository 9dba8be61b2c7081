//! Kernels with the DSP instructions of Cortex-M4, M7 and M33. They are in assembly, since
//! compilers spill registers around single instructions, and the intrinsics of `core::arch` are not
//! stable.
//!
//! Pointwise: `x` is widened to `i16` once. A word of weights holds two inputs for two outputs,
//! each `256·odd + even`. `SMLAD` multiplies it by two inputs without separating it. `SXTB16`
//! extracts the even weights, which `SMLAD` multiplies again. Four products thus take three
//! instructions. Loads (`LDM`) add a twelfth, and an output adds 9.75 instructions. Of the fourteen
//! registers, four hold eight inputs, four as many pairs of weights, four the sums, and two the
//! pointers.
//!
//! Depthwise: two `SXTB16` widen four channels of a column, and each product is one `SMLAxy`. A tap
//! takes 2.25 instructions per channel, the rest 5.75.

#![allow(unsafe_code, reason = "instructions of the Cortex-M DSP extension")]

mod depthwise;
mod pointwise;

pub use depthwise::{depthwise, depthwise_places, depthwise_tflite};
pub use pointwise::{pointwise, pointwise_column, pointwise_tflite};

use core::arch::naked_asm;

use super::{AddScales, plain};

/// Bytes in a word.
const CHUNK: usize = 4;
/// Arguments of [`add_words`].
#[repr(C)]
struct Add {
    x: *const i8,
    o: *const i8,
    y: *mut i8,
    y_end: *mut i8,
    x_scale: i32,
    o_scale: i32,
    constant: i32,
}

pub fn add(x: &[i8], o: &[i8], scales: AddScales, y: &mut [i8]) {
    let length = x.len().min(o.len()).min(y.len());
    let whole = length / CHUNK * CHUNK;
    let (front, tail) = y.split_at_mut_checked(whole).unwrap_or_default();
    if !front.is_empty() {
        let outputs = front.as_mut_ptr_range();
        let call = Add {
            x: x.as_ptr(),
            o: o.as_ptr(),
            y: outputs.start,
            y_end: outputs.end,
            x_scale: scales.x_scale,
            o_scale: scales.o_scale,
            constant: scales.constant(),
        };
        // SAFETY: all three have `whole` bytes, a positive multiple of [`CHUNK`].
        unsafe { add_words(&call) };
    }
    let (x, o) = (x.get(whole..), o.get(whole..));
    plain::add(x.unwrap_or_default(), o.unwrap_or_default(), scales, tail);
}

/// Computes one element of a sum.
macro_rules! add_element {
    ($x:literal, $o:literal) => {
        concat!(
            "sxtb.w r2, ",
            $x,
            "\n",
            "sxtb.w r3, ",
            $o,
            "\n",
            "mla r2, r2, r8, r10\n",
            "mla r2, r3, r9, r2\n",
            "ssat r2, #8, r2, asr #20\n",
            "strb r2, [r6], #1\n",
        )
    };
}

/// Adds four elements at a time, with 7 instructions each.
///
/// # Safety
/// `y_end − y` is a positive multiple of [`CHUNK`]. Those bytes may be written, and as many may be
/// read at `x` and `o`.
#[unsafe(naked)]
unsafe extern "C" fn add_words(call: &Add) {
    naked_asm!(
        allow_dsp!(),
        "push {{r4-r11}}",
        "ldm.w r0, {{r4-r10}}",
        "1:",
        "ldr r0, [r4], #4",
        "ldr r1, [r5], #4",
        add_element!("r0", "r1"),
        add_element!("r0, ror #8", "r1, ror #8"),
        add_element!("r0, ror #16", "r1, ror #16"),
        add_element!("r0, ror #24", "r1, ror #24"),
        "cmp r6, r7",
        "bne 1b",
        "pop {{r4-r11}}",
        "bx lr",
    )
}
