//! What the program sets once, before anything else runs.

/// Keeps freed memory in the process, and keeps candle from splitting single operations.
///
/// - glibc gives every activation of a training step back to the system and fetches it again at the
///   next, page by page: a step takes twice as long so.
/// - candle shares each sum of two tensors out over threads that wait for each other spinning. We
///   train on one graph a thread instead, which needs the cores itself.
///
/// Call it first in `main`, before any thread exists.
#[allow(unsafe_code, reason = "sets the environment before there are threads")]
pub fn prepare() {
    const CANDLE_THREADS: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(CANDLE_THREADS).is_none() {
        // SAFETY: no other thread exists yet, so none reads the environment meanwhile.
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
