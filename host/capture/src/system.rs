//! Microphones and loudspeakers of the system, through cpal.
//!
//! The device's own thread only copies samples into a queue. The reader takes them out, mixes the
//! channels and resamples. A full queue drops the newest block and records a gap.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cpal::{
    Data, ErrorKind, FromSample, Sample, SampleFormat, SizedSample, StreamConfig,
    traits::{DeviceTrait, HostTrait, StreamTrait},
};

use super::{
    device::{Found, Loudspeaker, Microphone, Wanted, choose},
    silence::Silence,
};
use wakeling_audio::{
    SAMPLE_RATE,
    live::{Live, for_playback},
};

use crate::{Error, Obstacle, Result};

/// Capacity of the queue, in seconds of sound.
const QUEUE_S: usize = 4;
/// Time without sound after which a device counts as gone; some drivers never report it.
const SILENT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time that a device may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Silence played after the sound, so that its end is not cut off with the stream.
const PLAYBACK_TAIL_S: f64 = 0.2;

/// Lists the microphones of the system, the default first.
///
/// # Errors
/// [`Error::NoService`] if the system's sound service does not answer.
pub fn microphones() -> Result<Vec<Found>> {
    Ok(list()?.into_iter().map(|(found, _)| found).collect())
}

fn list() -> Result<Vec<(Found, cpal::Device)>> {
    let _silence = Silence::new();
    let host = cpal::default_host();
    let name_of = |device: &cpal::Device| {
        device.description().map_or_else(|_| "unnamed".into(), |d| d.name().to_owned())
    };
    let id_of =
        |device: &cpal::Device| device.id().map(|id| id.id().to_owned()).unwrap_or_default();
    let default = host.default_input_device();
    let default_id = default.as_ref().map(id_of);
    let mut all: Vec<(Found, cpal::Device)> = default
        .into_iter()
        .filter(has_input)
        .map(|d| (Found { name: name_of(&d), id: id_of(&d), is_default: true }, d))
        .collect();
    let others = host.input_devices().map_err(|e| Error::NoService { reason: e.to_string() })?;
    for device in others {
        let id = id_of(&device);
        if Some(&id) != default_id.as_ref() && is_microphone(&id) && has_input(&device) {
            all.push((Found { name: name_of(&device), id, is_default: false }, device));
        }
    }
    Ok(all)
}

/// Returns true if a device can record. Some systems name a default that does not exist.
fn has_input(device: &cpal::Device) -> bool {
    device.supported_input_configs().is_ok_and(|mut offered| offered.next().is_some())
}

/// Returns true if `id` is a microphone to list. ALSA also lists its converters, its null device
/// and several names of one card; only the names that convert formats are kept. Elsewhere every
/// device counts.
fn is_microphone(id: &str) -> bool {
    !cfg!(target_os = "linux") || ["pulse", "pipewire"].contains(&id) || id.starts_with("plughw:")
}

/// Opens a microphone and starts it.
///
/// # Errors
/// [`Error::NoMicrophone`], [`Error::NoMatch`]; [`Error::NotOpened`] if it cannot be opened.
pub fn open(wanted: &Wanted) -> Result<Box<dyn Microphone>> {
    let _silence = Silence::new();
    let all = list()?;
    let (found, device) = match &wanted.device {
        Some(name) => {
            let found: Vec<Found> = all.iter().map(|(found, _)| found.clone()).collect();
            let id = choose(&found, name)?.id.clone();
            all.into_iter().find(|(found, _)| found.id == id)
        }
        None => all.into_iter().next(),
    }
    .ok_or_else(|| Error::NoMicrophone)?;
    let refused = |e: cpal::Error| Error::NotOpened {
        name: found.name.clone(),
        obstacle: obstacle(e.kind()),
        reason: e.to_string(),
    };
    let (format, config) = configuration(&device, wanted.rate).map_err(&refused)?;
    let live = Live::new(config.sample_rate, config.channels)?;
    let capacity = QUEUE_S * config.sample_rate as usize * usize::from(config.channels);
    let queue = Arc::new(Queue::new(capacity));
    let stream = build(&device, config, format, queue.clone()).map_err(&refused)?;
    stream.play().map_err(&refused)?;
    Ok(Box::new(System {
        name: found.name,
        live,
        queue,
        received: Instant::now(),
        _stream: stream,
    }))
}

fn obstacle(kind: ErrorKind) -> Obstacle {
    match kind {
        ErrorKind::DeviceBusy => Obstacle::Busy,
        ErrorKind::PermissionDenied => Obstacle::Permission,
        ErrorKind::UnsupportedConfig | ErrorKind::InvalidInput => Obstacle::Format,
        _ => Obstacle::Other,
    }
}

/// Selects the requested rate, or 16 kHz, or the device's own. Prefers few channels and 16-bit
/// samples.
fn configuration(
    device: &cpal::Device,
    rate: Option<u32>,
) -> std::result::Result<(SampleFormat, StreamConfig), cpal::Error> {
    let offered: Vec<_> = device.supported_input_configs()?.collect();
    let best = |rate: u32| {
        let fits =
            offered.iter().filter(|c| c.contains_rate(rate) && is_readable(c.sample_format()));
        let worth = |c: &&cpal::SupportedStreamConfigRange| {
            let format = match c.sample_format() {
                SampleFormat::I16 => 0,
                SampleFormat::F32 | SampleFormat::I32 | SampleFormat::I24 => 1,
                _ => 2,
            };
            (c.channels(), format)
        };
        let best = fits.min_by_key(worth)?;
        Some((best.sample_format(), best.with_sample_rate(rate).config()))
    };
    let own = || device.default_input_config().map(|c| (c.sample_format(), c.config()));
    match rate {
        Some(rate) => best(rate).ok_or_else(|| {
            let message = format!("it does not offer {rate} Hz");
            cpal::Error::with_message(ErrorKind::UnsupportedConfig, message)
        }),
        None => best(SAMPLE_RATE).map_or_else(own, Ok),
    }
}

fn is_readable(format: SampleFormat) -> bool {
    use SampleFormat::{F32, F64, I8, I16, I24, I32, U8, U16, U24, U32};
    matches!(format, I8 | I16 | I24 | I32 | U8 | U16 | U24 | U32 | F32 | F64)
}

fn build(
    device: &cpal::Device,
    config: StreamConfig,
    format: SampleFormat,
    queue: Arc<Queue>,
) -> std::result::Result<cpal::Stream, cpal::Error> {
    let failed = queue.clone();
    let data = move |data: &Data, _: &cpal::InputCallbackInfo| queue.push(data);
    let error = move |error: cpal::Error| match error.kind() {
        ErrorKind::Xrun => failed.has_gaps.store(true, Ordering::Relaxed),
        ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged => {}
        _ => failed.fail(error.to_string()),
    };
    device.build_input_stream_raw(config, format, data, error, Some(OPEN_TIMEOUT))
}

/// Sound between the device's thread and the reader.
struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
    capacity: usize,
    has_gaps: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    samples: VecDeque<f32>,
    failure: Option<String>,
}

impl Queue {
    fn new(capacity: usize) -> Self {
        let state = Mutex::new(Waiting::default());
        Self { state, changed: Condvar::new(), capacity, has_gaps: AtomicBool::new(false) }
    }

    fn push(&self, data: &Data) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.samples.len() + data.len() > self.capacity {
            self.has_gaps.store(true, Ordering::Relaxed);
            return;
        }
        let samples = &mut state.samples;
        match data.sample_format() {
            SampleFormat::I8 => extend::<i8>(samples, data),
            SampleFormat::I16 => extend::<i16>(samples, data),
            SampleFormat::I24 => extend::<cpal::I24>(samples, data),
            SampleFormat::I32 => extend::<i32>(samples, data),
            SampleFormat::U8 => extend::<u8>(samples, data),
            SampleFormat::U16 => extend::<u16>(samples, data),
            SampleFormat::U24 => extend::<cpal::U24>(samples, data),
            SampleFormat::U32 => extend::<u32>(samples, data),
            SampleFormat::F32 => extend::<f32>(samples, data),
            SampleFormat::F64 => extend::<f64>(samples, data),
            _ => {}
        }
        self.changed.notify_one();
    }

    fn fail(&self, message: String) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).failure = Some(message);
        self.changed.notify_one();
    }

    /// Waits up to `patience` for sound or a failure, and takes all that is queued.
    fn take(&self, patience: Duration) -> (Vec<f32>, Option<String>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_empty = |s: &mut Waiting| s.samples.is_empty() && s.failure.is_none();
        let waited = self.changed.wait_timeout_while(state, patience, is_empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        (state.samples.drain(..).collect(), state.failure.clone())
    }
}

/// Appends samples of one type, in units of an i16 step. Samples of 16 bits are exact.
fn extend<T: SizedSample>(samples: &mut VecDeque<f32>, data: &Data)
where
    f32: FromSample<T>,
{
    let slice = data.as_slice::<T>().unwrap_or_default();
    samples.extend(slice.iter().map(|&s| f32::from_sample(s) * 32_768.0));
}

struct System {
    name: String,
    live: Live,
    queue: Arc<Queue>,
    /// Time at which sound last arrived.
    received: Instant,
    _stream: cpal::Stream,
}

impl Microphone for System {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, patience: Duration) -> Result<Vec<i16>> {
        let (samples, failure) = self.queue.take(patience);
        let mut pcm = Vec::new();
        self.live.push(&samples, &mut pcm);
        if !samples.is_empty() {
            self.received = Instant::now();
        }
        match failure {
            Some(reason) => Err(Error::Disconnected { name: self.name.clone(), reason }),
            None if self.received.elapsed() > SILENT_TIMEOUT => {
                let seconds = SILENT_TIMEOUT.as_secs();
                Err(Error::NoSamples { name: self.name.clone(), seconds })
            }
            None => Ok(pcm),
        }
    }

    fn has_gaps(&mut self) -> bool {
        self.queue.has_gaps.swap(false, Ordering::Relaxed)
    }
}

/// Default loudspeaker of the system.
pub struct DefaultLoudspeaker;

impl Loudspeaker for DefaultLoudspeaker {
    fn play(&mut self, pcm: &[i16]) -> Result<()> {
        let failed = |e: cpal::Error| Error::PlaybackFailed { reason: e.to_string() };
        let silence = Silence::new();
        let device = cpal::default_host().default_output_device().ok_or(Error::NoLoudspeaker)?;
        let offered: Vec<_> = device.supported_output_configs().map_err(failed)?.collect();
        let fits = |c: &&cpal::SupportedStreamConfigRange| {
            c.contains_rate(SAMPLE_RATE) && c.sample_format() == SampleFormat::F32
        };
        let best = offered.iter().filter(fits).min_by_key(|c| c.channels());
        let config = match best {
            Some(range) => range.with_sample_rate(SAMPLE_RATE).config(),
            None => device.default_output_config().map_err(failed)?.config(),
        };
        let samples = for_playback(pcm, config.sample_rate)?;
        let channels = usize::from(config.channels).max(1);
        let seconds = samples.len() as f64 / f64::from(config.sample_rate) + PLAYBACK_TAIL_S;
        let mut left = samples.into_iter();
        let fill = move |out: &mut [f32], _: &cpal::OutputCallbackInfo| {
            for frame in out.chunks_mut(channels) {
                frame.fill(left.next().unwrap_or(0.0));
            }
        };
        let stream =
            device.build_output_stream(config, fill, |_| (), Some(OPEN_TIMEOUT)).map_err(failed)?;
        stream.play().map_err(failed)?;
        drop(silence);
        std::thread::sleep(Duration::from_secs_f64(seconds));
        Ok(())
    }
}
