//! Assembly that the kernels for Thumb instructions of 16 bits share. Those reach `r0` to `r7`; `r8` to
//! `r11` hold values only.

/// Copies `r8` to `r11` to `r4` to `r7`.
macro_rules! high_to_low {
    () => {
        "mov r4, r8\nmov r5, r9\nmov r6, r10\nmov r7, r11"
    };
}

/// Copies `r4` to `r7` to `r8` to `r11`.
macro_rules! low_to_high {
    () => {
        "mov r8, r4\nmov r9, r5\nmov r10, r6\nmov r11, r7"
    };
}

pub(crate) use {high_to_low, low_to_high};
