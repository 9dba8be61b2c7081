//! Process-wide settings, made before anything else runs.

/// Keeps freed memory in the process, and keeps candle from splitting single operations.
///
/// - By default, glibc returns every activation of a training step to the system and requests it
///   again in the next step, page by page. A step then takes twice as long.
/// - By default, candle splits each sum of two tensors over threads that wait by spinning. Training
///   instead uses one graph per thread, which needs the cores itself.
///
/// Call it first in `main`, before any thread exists.
#[allow(unsafe_code, reason = "sets the environment before there are threads")]
pub fn prepare() {
    const CANDLE_THREADS: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(CANDLE_THREADS).is_none() {
        // SAFETY: no other thread exists yet, so none reads the environment at the same time.
        unsafe { std::env::set_var(CANDLE_THREADS, "1") };
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGE: libc::c_int = 1 << 30;
        // SAFETY: mallopt only stores two numbers under malloc's own lock; any thread may call it.
        unsafe {
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        }
    }
}
