//! Enrollment with one button and the indicator, for a board without a host.
//!
//! | press | effect |
//! |---|---|
//! | 2 to 8 s, then released | starts to record utterances |
//! | 8 s or longer | empties the head again |
//! | shorter, while utterances are recorded | stops |
//!
//! | indicator | meaning |
//! |---|---|
//! | lit while pressed, from 2 s on | releasing now starts to record |
//! | short flash every second | waits for an utterance |
//! | lit for 0.8 s | an utterance was recorded |
//! | lit for 2 s | success; the board then restarts with the new model |
//! | five flashes a second for 2 s | failure: too unlike, no utterance for 30 s, stopped, or the model has no head to enroll |
//!
//! [`EnrollButton`] is the state machine. It knows neither pins nor flash. Time is counted in
//! samples, so it needs no clock.

use wakeling_shared::timebase::SAMPLE_RATE_HZ;

/// Time after which a press starts to record.
const LONG: u32 = seconds(2);
/// Time after which a press empties the head.
const VERY_LONG: u32 = seconds(8);
/// Time for which the level must stay the same to count: 40 ms, longer than a contact bounces.
const BOUNCE: u32 = seconds(1) / 25;
/// Longest wait for an utterance.
const PATIENCE: u32 = seconds(30);
/// Time for which the end is shown.
const SHOWN: u32 = seconds(2);
/// Time for which an utterance is shown.
const RECORDED: u32 = seconds(4) / 5;
/// Period of the flashes while the device waits, and the length of one.
const WAITING: (u32, u32) = (seconds(1), seconds(1) / 10);
/// Period of the flashes after a failure, and the length of one.
const FAILED: (u32, u32) = (seconds(1) / 5, seconds(1) / 10);

const fn seconds(count: u32) -> u32 {
    count * SAMPLE_RATE_HZ as u32
}

/// Action that the device must take. Report its result with [`EnrollButton::done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Start to record utterances.
    Begin,
    /// Stop recording, and drop the utterances. It always succeeds.
    Cancel,
    /// Make the head, and install it.
    Keep,
    /// Empty the head.
    Forget,
    /// Restart with the installed model. It always succeeds.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// Utterances are recorded, this many so far.
    Recording(u8),
    /// A request is executed.
    Asked(Request),
    Showing {
        success: bool,
    },
}

/// State machine of the button.
#[derive(Clone, Debug)]
pub struct EnrollButton {
    /// Number of utterances that make a head.
    wanted: u8,
    state: State,
    /// Time since the state or the number of utterances changed.
    elapsed: u32,
    /// Level that counts, the latest level, and the time since that changed.
    pressed: bool,
    latest: bool,
    stable: u32,
    /// Time for which the button is pressed, and whether that press has had its effect.
    held: u32,
    spent: bool,
}

impl EnrollButton {
    /// Creates a button that is not pressed, for heads of `wanted` utterances.
    pub const fn new(wanted: u8) -> Self {
        Self {
            wanted,
            state: State::Idle,
            elapsed: 0,
            pressed: false,
            latest: false,
            stable: 0,
            held: 0,
            // A button that is held at start, or stuck, has no effect until it is released.
            spent: true,
        }
    }

    /// Processes the level of the button after another `samples` samples of sound, and the number of
    /// utterances recorded so far.
    pub fn step(&mut self, level: bool, samples: u32, utterances: u8) -> Option<Request> {
        self.elapsed = self.elapsed.saturating_add(samples);
        let press = self.press(level, samples);
        let request = match (self.state, press) {
            (State::Asked(_), _) => return None,
            (_, Some(Press::VeryLong)) => Request::Forget,
            (State::Idle, Some(Press::Long)) => Request::Begin,
            (State::Recording(_), Some(Press::Short)) => Request::Cancel,
            (State::Recording(count), _) if utterances > count => {
                (self.state, self.elapsed) = (State::Recording(utterances), 0);
                return None;
            }
            // The last utterance is shown like the others first.
            (State::Recording(count), _) if count >= self.wanted && self.elapsed >= RECORDED => {
                Request::Keep
            }
            (State::Recording(_), _) if self.elapsed >= PATIENCE => Request::Cancel,
            (State::Showing { success }, _) if self.elapsed >= SHOWN => {
                self.enter(State::Idle);
                return success.then_some(Request::Restart);
            }
            _ => return None,
        };
        self.enter(State::Asked(request));
        Some(request)
    }

    /// Takes note of the result of a request.
    pub fn done(&mut self, success: bool) {
        let State::Asked(request) = self.state else { return };
        self.enter(match request {
            Request::Begin if success => State::Recording(0),
            Request::Keep | Request::Forget if success => State::Showing { success: true },
            _ => State::Showing { success: false },
        });
    }

    /// Returns the level of the indicator; `None` if it belongs to detections.
    pub fn indicator(&self) -> Option<bool> {
        let flash = |(period, lit): (u32, u32)| Some(self.elapsed % period < lit);
        match self.state {
            _ if self.pressed && !self.spent && self.held >= LONG => Some(true),
            State::Idle => None,
            State::Recording(count) if count > 0 && self.elapsed < RECORDED => Some(true),
            State::Recording(_) => flash(WAITING),
            State::Asked(_) => Some(true),
            State::Showing { success: true } => Some(true),
            State::Showing { success: false } => flash(FAILED),
        }
    }

    fn enter(&mut self, state: State) {
        (self.state, self.elapsed) = (state, 0);
    }

    /// Processes the level, and returns the press that ends, or reaches its longest time, with it.
    fn press(&mut self, level: bool, samples: u32) -> Option<Press> {
        if level == self.latest {
            self.stable = self.stable.saturating_add(samples);
        } else {
            (self.latest, self.stable) = (level, 0);
        }
        if self.pressed {
            self.held = self.held.saturating_add(samples);
        }
        if self.stable >= BOUNCE && level != self.pressed {
            self.pressed = level;
            let held = core::mem::take(&mut self.held);
            return match held {
                _ if level || self.spent => None,
                LONG.. => Some(Press::Long),
                _ => Some(Press::Short),
            };
        }
        if self.stable >= BOUNCE && !level {
            self.spent = false;
        }
        if self.pressed && !self.spent && self.held >= VERY_LONG {
            self.spent = true;
            return Some(Press::VeryLong);
        }
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Press {
    Short,
    Long,
    VeryLong,
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::{vec, vec::Vec};

    const BLOCK: u32 = 320;

    /// A button with a device that grants every request, and the requests so far.
    struct Device {
        button: EnrollButton,
        utterances: u8,
        grants: bool,
        requests: Vec<Request>,
        lit: Vec<Option<bool>>,
    }

    impl Device {
        fn new() -> Self {
            let button = EnrollButton::new(5);
            let (requests, lit) = (Vec::new(), Vec::new());
            let mut device = Self { button, utterances: 0, grants: true, requests, lit };
            device.hold(false, 100);
            device
        }

        fn hold(&mut self, level: bool, ms: u32) {
            self.lit.clear();
            for _ in 0..ms / 20 {
                if let Some(request) = self.button.step(level, BLOCK, self.utterances) {
                    self.requests.push(request);
                    self.button.done(self.grants);
                }
                self.lit.push(self.button.indicator());
            }
        }

        fn press(&mut self, ms: u32) {
            self.hold(true, ms);
            self.hold(false, 100);
        }

        /// Number of times that the indicator went on.
        fn flashes(&self) -> usize {
            self.lit.windows(2).filter(|two| two[1] == Some(true) && two[0] != Some(true)).count()
        }
    }

    #[test]
    fn long_press_records_five_utterances_and_restarts() {
        let mut device = Device::new();
        device.press(2_500);
        assert_eq!(device.requests, [Request::Begin]);
        device.hold(false, 5_000);
        assert_eq!(device.flashes(), 5, "it waits");
        for count in 1..=5 {
            device.utterances = count;
            device.hold(false, 700);
            assert!(device.lit.iter().skip(1).all(|&lit| lit == Some(true)), "{count}");
            assert_eq!(device.requests.len(), 1);
            if count < 5 {
                device.hold(false, 1_000);
            }
        }
        device.hold(false, 500);
        assert_eq!(device.requests, [Request::Begin, Request::Keep]);
        device.hold(false, 2_000);
        assert_eq!(device.requests, [Request::Begin, Request::Keep, Request::Restart]);
        assert_eq!(device.button.indicator(), None);
    }

    #[test]
    fn very_long_press_forgets_once_while_it_is_held() {
        let mut device = Device::new();
        device.hold(true, 8_200);
        assert_eq!(device.requests, [Request::Forget]);
        device.hold(true, 60_000);
        assert_eq!(device.requests, [Request::Forget, Request::Restart]);
        device.hold(false, 1_000);
        assert_eq!(device.requests.len(), 2);
    }

    #[test]
    fn short_press_stops_recording_and_does_nothing_else() {
        let mut device = Device::new();
        device.press(1_500);
        assert!(device.requests.is_empty() && device.lit.iter().all(Option::is_none));
        device.press(2_500);
        device.press(300);
        assert_eq!(device.requests, [Request::Begin, Request::Cancel]);
        device.hold(false, 1_000);
        assert_eq!(device.flashes(), 5, "a failure");
        device.hold(false, 2_000);
        assert_eq!((device.requests.len(), device.button.indicator()), (2, None));
    }

    #[test]
    fn failures_are_shown_and_nothing_restarts() {
        let mut device = Device::new();
        device.grants = false;
        device.press(3_000);
        device.hold(false, 4_000);
        assert_eq!(device.requests, [Request::Begin]);
        device.grants = true;
        device.press(3_000);
        device.hold(false, 31_000);
        assert_eq!(device.requests, [Request::Begin, Request::Begin, Request::Cancel]);
        device.hold(false, 4_000);
        assert_eq!((device.requests.len(), device.button.indicator()), (3, None));
    }

    #[test]
    fn bounces_and_a_button_held_at_the_start_have_no_effect() {
        let mut stuck = EnrollButton::new(5);
        assert!((0..3_000).all(|_| stuck.step(true, BLOCK, 0).is_none()));
        assert_eq!(stuck.indicator(), None);
        let mut device = Device::new();
        for _ in 0..500 {
            device.hold(true, 20);
            device.hold(false, 20);
        }
        assert!(device.requests.is_empty());
        // A contact that opens for a moment does not end a press.
        device.hold(true, 1_500);
        device.hold(false, 20);
        device.press(1_000);
        assert_eq!(device.requests, vec![Request::Begin]);
    }
}
