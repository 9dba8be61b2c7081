//! Kernels for 32-bit RISC-V with multiplication, in assembly. Compilers keep sums in memory, and
//! load a pair of weights and shift out its low byte, where a second load is one instruction.
//!
//! | kernel | instructions |
//! |---|---|
//! | pointwise, one column | 3.3 per product, 15 per output |
//! | pointwise, two columns | 2.8 per product, 15 per output |
//! | depthwise | 5.3 per product, 14 per output |
//!
//! A pair, `256 · odd + even`, is multiplied as a whole, and its low byte once more. The difference
//! of the two sums is 256 times the odd one.

#![allow(unsafe_code, reason = "an assembly kernel")]

use core::arch::naked_asm;

use super::{AddScales, Affine, BiasScale, Columns, LANES, RUN, UNIT, UNIT_WORDS, plain};

/// Number of inputs after which sums must be separated; see [`RUN`].
const RUN_INPUTS: usize = RUN * UNIT;

/// Arguments of [`blocks`] and [`pair_blocks`], in the order in which they load them.
#[derive(Clone, Copy)]
#[repr(C)]
struct Pointwise {
    x: *const i8,
    weights: *const u32,
    bias_scales: *const BiasScale,
    y: *mut i8,
    blocks: usize,
    inputs: usize,
    zero: i32,
    /// Bytes from an output to that of the next column.
    y_step: usize,
}

impl Pointwise {
    /// Creates a call for no blocks yet. Returns `None` if there are no inputs or outputs, or too
    /// few weights or factors.
    fn new(affine: &Affine<'_>) -> Option<Self> {
        let (units, blocks) = (affine.units(), affine.blocks());
        let words = blocks * units * UNIT_WORDS;
        let fits = affine.weights.len() >= words && affine.bias_scales.len() >= blocks;
        (words > 0 && fits).then(|| Self {
            x: core::ptr::null(),
            weights: affine.weights.as_ptr(),
            bias_scales: affine.bias_scales.as_ptr(),
            y: core::ptr::null_mut(),
            blocks: 0,
            inputs: affine.inputs.into(),
            zero: affine.zero_point.into(),
            y_step: affine.outputs.into(),
        })
    }
}

pub fn pointwise(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    let [inputs, outputs] = [affine.inputs, affine.outputs].map(usize::from);
    let mut done = 0;
    if let Some(mut call) = Pointwise::new(affine)
        && inputs <= RUN_INPUTS
        && outputs.is_multiple_of(LANES)
    {
        call.blocks = outputs / LANES;
        for (x, y) in x.chunks_exact(2 * inputs).zip(y.chunks_exact_mut(2 * outputs)) {
            (call.x, call.y) = (x.as_ptr(), y.as_mut_ptr());
            // SAFETY: `x` and `y` are two columns of at least one input and whole blocks of
            // outputs, for which weights and factors exist and are aligned; the inputs are one run.
            unsafe { pair_blocks(&call) }
            done += 2;
        }
    }
    let x = x.get(done * inputs..).unwrap_or_default();
    let y = y.get_mut(done * outputs..).unwrap_or_default();
    for (x, y) in super::columns(x, affine, y) {
        pointwise_column(x, affine, wide, y);
    }
}

pub fn pointwise_column(x: &[i8], affine: &Affine<'_>, wide: &mut [u32], y: &mut [i8]) {
    let whole_column = x.len() == usize::from(affine.inputs);
    let (Some(mut call), true) = (Pointwise::new(affine), whole_column) else {
        return plain::pointwise_column(x, affine, wide, y);
    };
    call.x = x.as_ptr();
    let (whole, rest) = y.as_chunks_mut::<LANES>();
    if !whole.is_empty() {
        (call.y, call.blocks) = (whole.as_mut_ptr().cast(), whole.len());
        // SAFETY: `x` are all inputs, at least one. Weights and factors exist for at least the
        // blocks of `y`, and are aligned.
        unsafe { blocks(&call) }
    }
    if !rest.is_empty() {
        let mut last = [0; LANES];
        let words = whole.len() * affine.units() * UNIT_WORDS;
        let last_call = Pointwise {
            weights: call.weights.wrapping_add(words),
            bias_scales: call.bias_scales.wrapping_add(whole.len()),
            y: last.as_mut_ptr(),
            blocks: 1,
            ..call
        };
        // SAFETY: as above, for the last block, which the outputs do not fill.
        unsafe { blocks(&last_call) }
        rest.iter_mut().zip(last).for_each(|(y, last)| *y = last);
    }
}

/// Multiplies an input of one column, at byte `$x`, by the pairs at bytes `$w` and `$v`.
macro_rules! products {
    ($x:literal, $w:literal, $v:literal) => {
        concat!(
            "lb t2, ",
            $x,
            "(t0)\n",
            "lh t3, ",
            $w,
            "(s1)\n",
            "lb t4, ",
            $w,
            "(s1)\n",
            "lh t5, ",
            $v,
            "(s1)\n",
            "lb t6, ",
            $v,
            "(s1)\n",
            "mul t3, t3, t2\n",
            "mul t4, t4, t2\n",
            "mul t5, t5, t2\n",
            "mul t6, t6, t2\n",
            "add a2, a2, t3\n",
            "add a1, a1, t4\n",
            "add a4, a4, t5\n",
            "add a3, a3, t6\n",
        )
    };
}

/// As [`products`], for two columns.
macro_rules! pair_products {
    ($x:literal, $w:literal, $v:literal) => {
        concat!(
            "lb t2, ",
            $x,
            "(t0)\n",
            "lb t3, ",
            $x,
            "(t1)\n",
            pair_products!("lh", $w, "a2", "a6"),
            pair_products!("lb", $w, "a1", "a5"),
            pair_products!("lh", $v, "a4", "t6"),
            pair_products!("lb", $v, "a3", "a7"),
        )
    };
    ($load:literal, $w:literal, $sum:literal, $next_sum:literal) => {
        concat!(
            $load,
            " t4, ",
            $w,
            "(s1)\n",
            "mul t5, t4, t2\n",
            "mul t4, t4, t3\n",
            "add ",
            $sum,
            ", ",
            $sum,
            ", t5\n",
            "add ",
            $next_sum,
            ", ",
            $next_sum,
            ", t4\n",
        )
    };
}

/// Multiplies the inputs of a unit.
macro_rules! unit {
    ($products:ident) => {
        concat!(
            $products!("0", "0", "16"),
            $products!("1", "2", "18"),
            $products!("2", "4", "20"),
            $products!("3", "6", "22"),
            $products!("4", "8", "24"),
            $products!("5", "10", "26"),
            $products!("6", "12", "28"),
            $products!("7", "14", "30"),
        )
    };
}

/// Requantizes `$sum` with the multiplier at byte `$multiplier` of the factors into byte `$at` of
/// `$y`. `s6` is the zero point; `s7` and `s8` are 127 and −128.
macro_rules! output {
    ($sum:literal, $multiplier:literal, $at:literal, $y:literal) => {
        concat!(
            "lw t0, ",
            $multiplier,
            "(s2)\n",
            "mulh t1, ",
            $sum,
            ", t0\n",
            "mul t0, ",
            $sum,
            ", t0\n",
            "srli t0, t0, 31\n",
            "add t1, t1, s6\n",
            "add t1, t1, t0\n",
            "bge s7, t1, 8f\n",
            "mv t1, s7\n",
            "8:\n",
            "bge t1, s8, 8f\n",
            "mv t1, s8\n",
            "8:\n",
            "sb t1, ",
            $at,
            "(",
            $y,
            ")\n",
        )
    };
}

/// Enables multiplication, which compilers do not announce to the assembler in naked functions.
/// Saves `s0` to `s11`, and loads the fields of a call from `a0` into `s0` to `s6`.
macro_rules! enter {
    () => {
        ".option push
        .option arch, +m
        addi sp, sp, -48
        sw s0, 0(sp)
        sw s1, 4(sp)
        sw s2, 8(sp)
        sw s3, 12(sp)
        sw s4, 16(sp)
        sw s5, 20(sp)
        sw s6, 24(sp)
        sw s7, 28(sp)
        sw s8, 32(sp)
        sw s9, 36(sp)
        sw s10, 40(sp)
        sw s11, 44(sp)
        lw s0, 0(a0)
        lw s1, 4(a0)
        lw s2, 8(a0)
        lw s3, 12(a0)
        lw s4, 16(a0)
        lw s5, 20(a0)
        lw s6, 24(a0)
        li s7, 127
        li s8, -128"
    };
}

/// Restores the registers that [`enter`] saved, and returns.
macro_rules! leave {
    () => {
        "lw s0, 0(sp)
        lw s1, 4(sp)
        lw s2, 8(sp)
        lw s3, 12(sp)
        lw s4, 16(sp)
        lw s5, 20(sp)
        lw s6, 24(sp)
        lw s7, 28(sp)
        lw s8, 32(sp)
        lw s9, 36(sp)
        lw s10, 40(sp)
        lw s11, 44(sp)
        addi sp, sp, 48
        ret
        .option pop"
    };
}

/// Computes blocks of four outputs for one column.
///
/// `a1` and `a3` are the sums of the even outputs, which start with their biases. `a2` and `a4` are
/// those of pairs, which start equal. `a5` and `a6` are the odd outputs.
///
/// # Safety
/// - `x` are `inputs`, at least one.
/// - `y` are `blocks ≥ 1` blocks, which may be written.
/// - `weights` and `bias_scales` are those of as many blocks of such inputs, and aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn blocks(call: &Pointwise) {
    naked_asm!(
        enter!(),
        "li a7, {run}",
        // A block.
        "1:",
        "lw a1, 0(s2)",
        "lw a5, 4(s2)",
        "lw a3, 8(s2)",
        "lw a6, 12(s2)",
        "mv t0, s0",
        "add s9, s0, s5",
        // A run, up to `s10`.
        "2:",
        "mv a2, a1",
        "mv a4, a3",
        "sub t1, s9, t0",
        "mv s10, s9",
        "bge a7, t1, 3f",
        "add s10, t0, a7",
        "mv t1, a7",
        "3:",
        "andi t1, t1, -8",
        "beqz t1, 5f",
        "add t1, t1, t0",
        "4:",
        unit!(products),
        "addi t0, t0, 8",
        "addi s1, s1, 32",
        "bne t0, t1, 4b",
        // The inputs beyond whole units.
        "5:",
        "beq t0, s10, 7f",
        "addi s11, s1, 32",
        "6:",
        products!("0", "0", "16"),
        "addi t0, t0, 1",
        "addi s1, s1, 2",
        "bne t0, s10, 6b",
        "mv s1, s11",
        "7:",
        "sub a2, a2, a1",
        "sub a4, a4, a3",
        "srai a2, a2, 8",
        "srai a4, a4, 8",
        "add a5, a5, a2",
        "add a6, a6, a4",
        "bne t0, s9, 2b",
        output!("a1", "16", "0", "s3"),
        output!("a5", "20", "1", "s3"),
        output!("a3", "24", "2", "s3"),
        output!("a6", "28", "3", "s3"),
        "addi s3, s3, 4",
        "addi s2, s2, 32",
        "addi s4, s4, -1",
        "bnez s4, 1b",
        leave!(),
        run = const RUN_INPUTS,
    )
}

/// Computes blocks of four outputs for two columns. Their sums are `a1` to `a4`, and `a5`, `a6`,
/// `a7` and `t6`.
///
/// # Safety
/// As [`blocks`], but `x` are two columns of at most [`RUN_INPUTS`] and `y` the outputs of the
/// first. Those of the second start `y_step` bytes later.
#[unsafe(naked)]
unsafe extern "C" fn pair_blocks(call: &Pointwise) {
    naked_asm!(
        enter!(),
        "lw s11, 28(a0)",
        "add s11, s11, s3",
        // A block.
        "1:",
        "lw a1, 0(s2)",
        "lw a3, 8(s2)",
        "mv t0, s0",
        "add t1, s0, s5",
        "mv s9, t1",
        "mv a2, a1",
        "mv a4, a3",
        "mv a5, a1",
        "mv a6, a1",
        "mv a7, a3",
        "mv t6, a3",
        "andi s10, s5, -8",
        "beqz s10, 5f",
        "add s10, s10, t0",
        "4:",
        unit!(pair_products),
        "addi t0, t0, 8",
        "addi t1, t1, 8",
        "addi s1, s1, 32",
        "bne t0, s10, 4b",
        // The inputs beyond whole units.
        "5:",
        "beq t0, s9, 7f",
        "addi s10, s1, 32",
        "6:",
        pair_products!("0", "0", "16"),
        "addi t0, t0, 1",
        "addi t1, t1, 1",
        "addi s1, s1, 2",
        "bne t0, s9, 6b",
        "mv s1, s10",
        "7:",
        "lw t0, 4(s2)",
        "lw t1, 12(s2)",
        "sub a2, a2, a1",
        "sub a4, a4, a3",
        "sub a6, a6, a5",
        "sub t6, t6, a7",
        "srai a2, a2, 8",
        "srai a4, a4, 8",
        "srai a6, a6, 8",
        "srai t6, t6, 8",
        "add a2, a2, t0",
        "add a4, a4, t1",
        "add a6, a6, t0",
        "add t6, t6, t1",
        output!("a1", "16", "0", "s3"),
        output!("a2", "20", "1", "s3"),
        output!("a3", "24", "2", "s3"),
        output!("a4", "28", "3", "s3"),
        output!("a5", "16", "0", "s11"),
        output!("a6", "20", "1", "s11"),
        output!("a7", "24", "2", "s11"),
        output!("t6", "28", "3", "s11"),
        "addi s3, s3, 4",
        "addi s11, s11, 4",
        "addi s2, s2, 32",
        "addi s4, s4, -1",
        "bnez s4, 1b",
        leave!(),
    )
}

/// Arguments of [`depthwise_blocks`], in the order in which it loads them.
#[repr(C)]
struct Depthwise {
    columns: *const *const i8,
    weights: *const u32,
    bias_scales: *const BiasScale,
    y: *mut i8,
    blocks: usize,
    columns_end: *const *const i8,
    zero: i32,
}

pub fn depthwise(columns: &Columns<'_>, affine: &Affine<'_>, y: &mut [i8]) {
    let channels = usize::from(affine.outputs);
    let whole = y.as_chunks_mut::<LANES>().0;
    let blocks = whole.len();
    let starts = columns.starts().as_ptr_range();
    let enough = affine.bias_scales.len() >= blocks
        && affine.weights.len() >= blocks * columns.len() * (LANES / 2);
    let fits = enough && columns.channels() >= channels && blocks * LANES <= channels;
    let done = if fits && blocks > 0 && !columns.is_empty() { blocks } else { 0 };
    if done > 0 {
        let call = Depthwise {
            columns: starts.start,
            weights: affine.weights.as_ptr(),
            bias_scales: affine.bias_scales.as_ptr(),
            y: whole.as_mut_ptr().cast(),
            blocks,
            columns_end: starts.end,
            zero: affine.zero_point.into(),
        };
        // SAFETY: there is a column, and each has all channels, which are no fewer than those of
        // the `blocks ≥ 1` blocks of `y`. Weights and factors exist for them, and are aligned.
        unsafe { depthwise_blocks(&call) }
    }
    if done * LANES < y.len() {
        plain::depthwise_from(done, columns, affine, y);
    }
}

/// Computes blocks of four channels.
///
/// # Safety
/// - `columns` to `columns_end` are at least one pointer to `4 · blocks` readable bytes.
/// - `y` are `blocks ≥ 1` blocks, which may be written.
/// - `weights` and `bias_scales` are those of as many blocks, and aligned to words.
#[unsafe(naked)]
unsafe extern "C" fn depthwise_blocks(call: &Depthwise) {
    naked_asm!(
        enter!(),
        // Offset of a block in each column.
        "li s9, 0",
        "1:",
        "lw a1, 0(s2)",
        "lw a2, 4(s2)",
        "lw a3, 8(s2)",
        "lw a4, 12(s2)",
        "mv s10, s0",
        // A tap.
        "2:",
        "lw t0, 0(s10)",
        "lh a5, 0(s1)",
        "lh a6, 2(s1)",
        "lh a7, 4(s1)",
        "lh t6, 6(s1)",
        "add t0, t0, s9",
        "lb t2, 0(t0)",
        "lb t3, 1(t0)",
        "lb t4, 2(t0)",
        "lb t5, 3(t0)",
        "mul a5, a5, t2",
        "mul a6, a6, t3",
        "mul a7, a7, t4",
        "mul t6, t6, t5",
        "addi s10, s10, 4",
        "addi s1, s1, 8",
        "add a1, a1, a5",
        "add a2, a2, a6",
        "add a3, a3, a7",
        "add a4, a4, t6",
        "bne s10, s5, 2b",
        output!("a1", "16", "0", "s3"),
        output!("a2", "20", "1", "s3"),
        output!("a3", "24", "2", "s3"),
        output!("a4", "28", "3", "s3"),
        "addi s9, s9, 4",
        "addi s3, s3, 4",
        "addi s2, s2, 32",
        "addi s4, s4, -1",
        "bnez s4, 1b",
        leave!(),
    )
}

/// Arguments of [`add_elements`], in the order in which it loads them; see [`super::add`].
#[repr(C)]
struct Add {
    x: *const i8,
    o: *const i8,
    y: *mut i8,
    y_end: *const i8,
    x_scale: i32,
    o_scale: i32,
    constant: i32,
}

pub fn add(x: &[i8], o: &[i8], scales: AddScales, y: &mut [i8]) {
    let count = x.len().min(o.len()).min(y.len());
    let y = y.as_mut_ptr();
    let call = Add {
        x: x.as_ptr(),
        o: o.as_ptr(),
        y,
        y_end: y.wrapping_add(count),
        x_scale: scales.x_scale,
        o_scale: scales.o_scale,
        constant: scales.constant(),
    };
    if count > 0 {
        // SAFETY: all three have `count` bytes, which is not 0.
        unsafe { add_elements(&call) }
    }
}

/// Adds elements of two slices.
///
/// # Safety
/// `y` to `y_end` are at least one byte, which may be written; as many can be read at `x` and `o`.
#[unsafe(naked)]
unsafe extern "C" fn add_elements(call: &Add) {
    naked_asm!(
        ".option push",
        ".option arch, +m",
        "lw t0, 0(a0)",
        "lw t1, 4(a0)",
        "lw t2, 8(a0)",
        "lw t3, 12(a0)",
        "lw a1, 16(a0)",
        "lw a2, 20(a0)",
        "lw a3, 24(a0)",
        "li a6, 127",
        "li a7, -128",
        "1:",
        "lb a4, 0(t0)",
        "lb a5, 0(t1)",
        "mul a4, a4, a1",
        "mul a5, a5, a2",
        "addi t0, t0, 1",
        "addi t1, t1, 1",
        "add a4, a4, a3",
        "add a4, a4, a5",
        "srai a4, a4, 20",
        "bge a6, a4, 2f",
        "mv a4, a6",
        "2:",
        "bge a4, a7, 2f",
        "mv a4, a7",
        "2:",
        "sb a4, 0(t2)",
        "addi t2, t2, 1",
        "bne t2, t3, 1b",
        "ret",
        ".option pop",
    )
}
