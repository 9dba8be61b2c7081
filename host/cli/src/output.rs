//! Macros that replace those of the standard library, which panic if standard output is closed.

/// `print!` that does not panic: see [`console`](wakeling_core::console). Tests keep their own, whose output is
/// captured.
#[cfg(not(test))]
macro_rules! print {
    ($($arguments:tt)*) => { ::wakeling_core::console::print(::core::format_args!($($arguments)*)) };
}

/// `println!` that does not panic: see [`console`](wakeling_core::console).
#[cfg(not(test))]
macro_rules! println {
    () => { ::wakeling_core::console::print(::core::format_args!("\n")) };
    ($($arguments:tt)*) => {
        ::wakeling_core::console::print(::core::format_args!("{}\n", ::core::format_args!($($arguments)*)))
    };
}
