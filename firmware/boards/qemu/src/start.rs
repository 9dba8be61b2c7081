//! First instructions on RISC-V: stack, zeroed statics, painted stack, then `wakeling_entry` of the
//! [`machine`](crate::machine) macro. QEMU has already loaded the initialized data.

use core::arch::global_asm;

use crate::memory::STACK_PAINT;

global_asm!(
    ".section .text.start, \"ax\"",
    ".global _start",
    "_start:",
    ".option push",
    ".option norelax",
    "la gp, __global_pointer$",
    ".option pop",
    "la sp, _stack_start",
    "la t0, {trap}",
    "csrw mtvec, t0",
    "la t0, _bss_start",
    "la t1, _bss_end",
    "1: bgeu t0, t1, 2f",
    "sw zero, 0(t0)",
    "addi t0, t0, 4",
    "j 1b",
    "2: la t0, _stack_end",
    "li t1, {paint}",
    "3: bgeu t0, sp, 4f",
    "sw t1, 0(t0)",
    "addi t0, t0, 4",
    "j 3b",
    "4: call wakeling_entry",
    "5: j 5b",
    trap = sym trap,
    paint = const STACK_PAINT,
);

/// Handler of every exception, aligned to 4 as `mtvec` requires.
#[unsafe(naked)]
extern "C" fn trap() -> ! {
    core::arch::naked_asm!(".balign 4", "csrr a0, mepc", "j {flagged}", flagged = sym crate::flagged)
}
