//! Standard error without the messages of sound libraries.
//!
//! ALSA and JACK print a dozen lines for each device that a configuration names and a machine
//! lacks. They would bury the program's own error messages.

/// Redirects standard error to `/dev/null` until the last guard is dropped. Has no effect if that
/// is not possible, or on systems other than Unix, whose sound libraries print nothing.
pub struct Silence(());

impl Silence {
    /// Starts the redirection.
    pub fn new() -> Self {
        #[cfg(unix)]
        unix::begin();
        Self(())
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        #[cfg(unix)]
        unix::end();
    }
}

#[cfg(unix)]
mod unix {
    use std::{
        fs::OpenOptions,
        io,
        os::fd::OwnedFd,
        sync::{Mutex, MutexGuard, PoisonError},
    };

    use rustix::{
        io::fcntl_dupfd_cloexec,
        stdio::{dup2_stderr, stderr},
    };

    /// Number of guards, and standard error as it was before the first.
    struct State {
        guards: usize,
        saved: Option<OwnedFd>,
    }

    static STATE: Mutex<State> = Mutex::new(State { guards: 0, saved: None });

    fn state() -> MutexGuard<'static, State> {
        STATE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin() {
        let mut state = state();
        state.guards += 1;
        if state.guards == 1 {
            // Noise is better than an error about noise.
            state.saved = redirect().ok();
        }
    }

    pub fn end() {
        let mut state = state();
        state.guards -= 1;
        if state.guards == 0
            && let Some(saved) = state.saved.take()
        {
            // It was a valid descriptor before, and there is no place to report to.
            let _ = dup2_stderr(saved);
        }
    }

    /// Replaces standard error by `/dev/null`; returns the original.
    fn redirect() -> io::Result<OwnedFd> {
        let null = OpenOptions::new().write(true).open("/dev/null")?;
        // Not below 3, since those numbers belong to the standard streams, which may be closed.
        let saved = fcntl_dupfd_cloexec(stderr(), 3)?;
        dup2_stderr(null)?;
        Ok(saved)
    }
}
