//! Data loader for a dataset that does not fit into memory.
//!
//! A [`DataLoader`] traverses a [`DatasetIndex`] epoch after epoch, in chunks of clips whose order depends on
//! the seed and the epoch. Threads read, decode and convert the chunks ahead of time. The results
//! are put back into order, so training does not depend on thread timing. The shuffle buffer
//! ([`ShuffleBuffer`]) holds the clips from the current position on. Each clip that is sampled from it
//! advances the position by one, so the dataset is used about once per epoch. A dataset that fits
//! into the buffer is loaded completely and stays there.
//!
//! The content of the buffer depends only on the list, the seed and the position. A position in a
//! checkpoint is therefore enough to resume bit for bit.
//!
//! A clip that cannot be used leaves a hole in the buffer, a line in a file, and a count. A failure
//! of the disk or the network is an error, because continuing without those clips would train on
//! different data.

use std::{
    collections::{HashSet, VecDeque},
    fs::OpenOptions,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::de::DeserializeOwned;

use crate::dataset::index::{Chunk, DatasetIndex};
use crate::text::hash;
use crate::{Error, Result};
use wakeling_core::progress::progress_bar;

/// Number of chunks that are read ahead of the buffer.
const CHUNKS_AHEAD: usize = 12;
/// Maximum number of lines in the list of skipped clips. Further clips are only counted.
const SKIPPED_MAX: usize = 100_000;

/// Reason why a clip cannot be loaded.
#[derive(Debug)]
pub enum Unusable {
    /// The clip itself is defective. It is skipped and reported with this text, its name and the
    /// reason.
    Skip(String),
    /// The cause affects other clips too, such as a failing disk. The run must stop.
    Stop(Error),
}

/// Decoder of dataset entries, run by the loader's threads.
pub trait Decode: Send + Sync + 'static {
    /// Line of the list.
    type Entry: DeserializeOwned + Send;
    /// Decoded clip, as the buffer holds it.
    type Clip: Send + 'static;

    /// Decodes a clip. Called from several threads.
    ///
    /// # Errors
    /// [`Unusable::Skip`] if this clip cannot be used; [`Unusable::Stop`] if the run must stop.
    fn load(&self, entry: Self::Entry) -> Result<Self::Clip, Unusable>;
}

/// Configuration of the data loader.
#[derive(Clone, Debug)]
pub struct LoaderConfig {
    /// Seed of the clip order.
    pub seed: u64,
    /// Size of the buffer, in clips.
    pub window: usize,
    /// Number of reader threads.
    pub threads: usize,
    /// File that receives one line per skipped clip, with the reason.
    pub skipped: Option<PathBuf>,
    /// Title of the progress bar while the buffer fills.
    pub title: &'static str,
}

/// Shuffle buffer: the clips in memory. A hole marks a clip that cannot be used.
pub struct ShuffleBuffer<C> {
    clips: VecDeque<Option<C>>,
}

impl<C> ShuffleBuffer<C> {
    /// Iterates over the usable clips.
    pub fn iter(&self) -> impl Iterator<Item = &C> {
        self.clips.iter().flatten()
    }

    /// Returns the clip at `index` (below [`ShuffleBuffer::len`]), or `None` if it is a hole.
    pub fn get(&self, index: usize) -> Option<&C> {
        self.clips.get(index).and_then(Option::as_ref)
    }

    /// Number of clips and holes.
    pub fn len(&self) -> usize {
        self.clips.len()
    }

    /// Returns `true` if the buffer has neither clips nor holes.
    pub fn is_empty(&self) -> bool {
        self.clips.is_empty()
    }
}

/// Data loader. See the [module documentation](self).
///
/// ```
/// use std::sync::Arc;
/// use wakeling_data::{dataset::index::DatasetIndex, loader::{DataLoader, Decode, LoaderConfig, Unusable}};
///
/// /// Takes a number in the index for a clip.
/// struct Numbers;
/// impl Decode for Numbers {
///     type Entry = u32;
///     type Clip = u32;
///     fn load(&self, entry: u32) -> Result<u32, Unusable> {
///         Ok(entry)
///     }
/// }
///
/// # let path = std::env::temp_dir().join(format!("wakeling-loader-{}.jsonl", std::process::id()));
/// let index = DatasetIndex::write(&path, |out| {
///     (0..500_u32).for_each(|entry| out.add("", &entry));
///     Ok(())
/// })?;
/// let config = LoaderConfig { seed: 7, window: 100, threads: 2, skipped: None, title: "clips" };
/// let mut loader = DataLoader::start(&Arc::new(index), config, Numbers, 0)?;
/// loader.next_batch(64)?; // that many clips were sampled from the buffer
/// assert_eq!((loader.position(), loader.window().len()), (64, 100));
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), wakeling_data::Error>(())
/// ```
pub struct DataLoader<L: Decode> {
    index: Arc<DatasetIndex>,
    config: LoaderConfig,
    load: Arc<L>,
    position: u64,
    window: ShuffleBuffer<L::Clip>,
    /// Locked so that several threads may share `&DataLoader`; only the owner reads ahead.
    ahead: Option<Mutex<Ahead<L::Clip>>>,
    skipped: SkippedClips,
}

impl<L: Decode> DataLoader<L> {
    /// Creates a loader and fills its buffer from `position` on.
    ///
    /// # Errors
    /// [`Error::NothingLoads`] if no clip in the buffer can be used; [`Error::Core`] if reading fails.
    pub fn start(
        index: &Arc<DatasetIndex>,
        config: LoaderConfig,
        load: L,
        position: u64,
    ) -> Result<Self> {
        let mut loader = Self::new(index, config, load)?;
        loader.restore(position)?;
        Ok(loader)
    }

    /// Creates a loader with an empty buffer. Call [`DataLoader::restore`] to fill it.
    ///
    /// # Errors
    /// [`Error::Core`] if the list of skipped clips cannot be read.
    pub fn new(index: &Arc<DatasetIndex>, config: LoaderConfig, load: L) -> Result<Self> {
        let skipped = SkippedClips::open(config.skipped.clone())?;
        Ok(Self {
            index: index.clone(),
            config,
            load: Arc::new(load),
            position: 0,
            window: ShuffleBuffer { clips: VecDeque::new() },
            ahead: None,
            skipped,
        })
    }

    /// Returns `true` if the whole dataset fits into the buffer, which then never changes.
    pub fn is_whole(&self) -> bool {
        self.index.clips() <= self.config.window as u64
    }

    /// Moves to another position. Refills the buffer, unless it already holds the whole dataset.
    ///
    /// # Errors
    /// As [`DataLoader::start`].
    pub fn restore(&mut self, position: u64) -> Result<()> {
        if self.is_whole() && !self.window.is_empty() {
            self.position = position;
            return Ok(());
        }
        self.ahead = None;
        self.window.clips.clear();
        self.position = position;
        let clips = self.index.clips();
        if clips == 0 {
            return self.check();
        }
        let start = if self.is_whole() { 0 } else { position };
        let order = Order::at(self.index.clone(), self.config.seed, start, self.is_whole());
        let passed = order.passed;
        let ahead = Ahead::start(self.index.clone(), self.load.clone(), order, &self.config);
        self.ahead = Some(Mutex::new(ahead));
        let wanted = (self.config.window as u64).min(clips) as usize;
        let bar = progress_bar(wanted as u64, self.config.title);
        self.fill(passed + wanted, |filled| bar.set_position(filled as u64))?;
        self.window.clips.drain(..passed);
        bar.finish_and_clear();
        if self.is_whole() {
            self.ahead = None;
        }
        self.check()
    }

    /// Advances the position by the number of clips that were sampled.
    ///
    /// # Errors
    /// As [`DataLoader::start`].
    pub fn next_batch(&mut self, taken: u64) -> Result<()> {
        self.position += taken;
        if self.is_whole() {
            return Ok(());
        }
        let length = self.window.clips.len();
        for _ in 0..taken {
            if self.window.clips.is_empty() {
                self.fill(1, |_| ())?;
            }
            self.window.clips.pop_front();
        }
        self.fill(length, |_| ())?;
        self.check()
    }

    /// Reads until the buffer holds `wanted` clips or the data ends. Further clips of the last
    /// chunk wait in the read-ahead queue.
    fn fill(&mut self, wanted: usize, shown: impl Fn(usize)) -> Result<()> {
        while self.window.clips.len() < wanted {
            let Some(ahead) = &mut self.ahead else { break };
            let ahead = ahead.get_mut().unwrap_or_else(PoisonError::into_inner);
            let Some(clip) = ahead.next()? else { break };
            let clip = match clip {
                Ok(clip) => Some(clip),
                Err(reason) => {
                    self.skipped.add(&reason)?;
                    None
                }
            };
            self.window.clips.push_back(clip);
            shown(self.window.clips.len());
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.window.iter().next().is_some() {
            return Ok(());
        }
        let (path, last) = (self.index.path().to_owned(), self.skipped.last.clone());
        Err(Error::NothingLoads { path, clips: self.window.len(), position: self.position, last })
    }

    /// Returns the buffer from which clips are sampled.
    pub fn window(&self) -> &ShuffleBuffer<L::Clip> {
        &self.window
    }

    /// Number of clips sampled so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Number of clips in the list.
    pub fn clips(&self) -> u64 {
        self.index.clips()
    }

    /// Number of epochs so far, as a fraction: position divided by clips.
    pub fn epochs(&self) -> f64 {
        self.position as f64 / self.index.clips().max(1) as f64
    }

    /// Number of distinct clips skipped so far.
    pub fn skipped(&self) -> u64 {
        self.skipped.count
    }
}

/// Endless sequence of chunks, from some position on.
struct Order {
    index: Arc<DatasetIndex>,
    seed: u64,
    epoch: u64,
    /// Chunks left in this epoch, the next one last.
    chunks: Vec<u32>,
    /// Clips of the first chunk that come before the position.
    passed: usize,
    /// Visits the chunks once, in the order of the list.
    as_listed: bool,
}

impl Order {
    fn at(index: Arc<DatasetIndex>, seed: u64, position: u64, as_listed: bool) -> Self {
        let epoch = position / index.clips();
        let mut left = position % index.clips();
        let mut order = Self { index, seed, epoch, chunks: Vec::new(), passed: 0, as_listed };
        order.begin_epoch();
        while let Some(&next) = order.chunks.last() {
            let clips = u64::from(order.index.chunks()[next as usize].clips);
            if left < clips {
                break;
            }
            left -= clips;
            order.chunks.pop();
        }
        order.passed = left as usize;
        order
    }

    fn begin_epoch(&mut self) {
        let mut groups: Vec<std::ops::Range<usize>> = self.index.groups().collect();
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        let mut rng = StdRng::from_seed(seed);
        if !self.as_listed {
            shuffle(&mut groups, &mut rng);
        }
        for group in groups {
            let start = self.chunks.len();
            self.chunks.extend(group.map(|chunk| chunk as u32));
            if !self.as_listed {
                shuffle(&mut self.chunks[start..], &mut rng);
            }
        }
        self.chunks.reverse();
    }

    fn next(&mut self) -> Option<Chunk> {
        if self.chunks.is_empty() {
            if self.as_listed {
                return None;
            }
            self.epoch += 1;
            self.begin_epoch();
        }
        self.chunks.pop().map(|chunk| self.index.chunks()[chunk as usize])
    }
}

/// Shuffles in place (Fisher & Yates).
fn shuffle<T>(items: &mut [T], rng: &mut StdRng) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.random_range(0..=i));
    }
}

/// Decoded clip, or the reason why it was skipped.
type Loaded<C> = Result<C, String>;
/// Result of decoding one chunk.
type ChunkResult<C> = Result<Vec<Loaded<C>>>;
/// Chunk to decode, and the channel for its result.
type Job<C> = (Chunk, SyncSender<ChunkResult<C>>);

/// Read-ahead threads and their queues.
struct Ahead<C> {
    order: Order,
    jobs: Option<SyncSender<Job<C>>>,
    pending: VecDeque<Receiver<ChunkResult<C>>>,
    ready: VecDeque<Loaded<C>>,
    threads: Vec<JoinHandle<()>>,
}

impl<C: Send + 'static> Ahead<C> {
    fn start<L: Decode<Clip = C>>(
        index: Arc<DatasetIndex>,
        load: Arc<L>,
        order: Order,
        config: &LoaderConfig,
    ) -> Self {
        let (jobs, queue) = sync_channel::<Job<C>>(CHUNKS_AHEAD);
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..config.threads.max(1)).map(|_| {
            let (index, load, queue) = (index.clone(), load.clone(), queue.clone());
            std::thread::spawn(move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((chunk, result)) = job else { return };
                    // Sending fails only after the receiver has stopped, so the result is no longer
                    // needed.
                    let _ = result.send(load_chunk(&index, load.as_ref(), chunk));
                }
            })
        });
        let threads = threads.collect();
        let (pending, ready) = (VecDeque::new(), VecDeque::new());
        Self { order, jobs: Some(jobs), pending, ready, threads }
    }

    /// Returns the next clip in order, or `None` at the end.
    fn next(&mut self) -> Result<Option<Loaded<C>>> {
        loop {
            if let Some(clip) = self.ready.pop_front() {
                return Ok(Some(clip));
            }
            while self.pending.len() < CHUNKS_AHEAD {
                let (Some(chunk), Some(jobs)) = (self.order.next(), &self.jobs) else { break };
                let (sender, receiver) = sync_channel(1);
                if jobs.send((chunk, sender)).is_err() {
                    break;
                }
                self.pending.push_back(receiver);
            }
            let Some(first) = self.pending.pop_front() else { return Ok(None) };
            let outcome =
                first.recv().map_err(|_| Error::defect("a thread that reads clips failed"))?;
            self.ready.extend(outcome?);
        }
    }
}

impl<C> Drop for Ahead<C> {
    fn drop(&mut self) {
        self.jobs = None;
        self.pending.clear();
        for thread in self.threads.drain(..) {
            // A panicked thread was already reported when its result failed to arrive.
            let _ = thread.join();
        }
    }
}

fn load_chunk<L: Decode>(index: &DatasetIndex, load: &L, chunk: Chunk) -> ChunkResult<L::Clip> {
    let entries: Vec<L::Entry> = index.read(chunk)?;
    entries
        .into_iter()
        .map(|entry| match load.load(entry) {
            Ok(clip) => Ok(Ok(clip)),
            Err(Unusable::Skip(reason)) => Ok(Err(reason)),
            Err(Unusable::Stop(error)) => Err(error),
        })
        .collect()
}

/// List of skipped clips. Records each clip once, even if later epochs reach it again.
struct SkippedClips {
    path: Option<PathBuf>,
    known: HashSet<u64>,
    count: u64,
    last: Option<String>,
}

impl SkippedClips {
    /// Opens the list and continues one that an earlier run began.
    fn open(path: Option<PathBuf>) -> Result<Self> {
        let mut skipped = Self { path, known: HashSet::new(), count: 0, last: None };
        if let Some(path) = skipped.path.as_ref().filter(|p| p.exists()) {
            let file = std::fs::File::open(path).map_err(Error::io(path, "read"))?;
            for line in BufReader::new(file).lines().take(SKIPPED_MAX) {
                let line = line.map_err(Error::io(path, "read"))?;
                skipped.known.insert(hash(&line));
            }
            skipped.count = skipped.known.len() as u64;
        }
        Ok(skipped)
    }

    fn add(&mut self, reason: &str) -> Result<()> {
        let line = reason.replace(['\n', '\r'], " ");
        if self.known.len() >= SKIPPED_MAX || !self.known.insert(hash(&line)) {
            return Ok(());
        }
        self.count += 1;
        if let Some(path) = &self.path {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let mut file = file.map_err(Error::io(path, "create"))?;
            file.write_all(format!("{line}\n").as_bytes()).map_err(Error::io(path, "write"))?;
        }
        self.last = Some(line);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Loader of numbers. Those in the set cannot be used.
    struct Numbers(BTreeSet<u64>);

    impl Decode for Numbers {
        type Entry = u64;
        type Clip = u64;

        fn load(&self, entry: u64) -> Result<u64, Unusable> {
            if entry == u64::MAX {
                return Err(Unusable::Stop(Error::defect("the disk is gone")));
            }
            // The delay varies, so threads finish in another order than they begin.
            std::thread::sleep(std::time::Duration::from_micros((entry * 7_919) % 50));
            if self.0.contains(&entry) {
                Err(Unusable::Skip(format!("{entry}: broken")))
            } else {
                Ok(entry)
            }
        }
    }

    fn index(place: &std::path::Path, count: u64) -> Arc<DatasetIndex> {
        let written = DatasetIndex::write(&place.join("list"), |w| {
            (0..count).for_each(|n| w.add(if n % 1_000 < 300 { "s3://x" } else { "" }, &n));
            Ok(())
        });
        Arc::new(written.unwrap())
    }

    fn config(window: usize, threads: usize) -> LoaderConfig {
        LoaderConfig { seed: 5, window, threads, skipped: None, title: "test" }
    }

    fn contents(loader: &DataLoader<Numbers>) -> Vec<Option<u64>> {
        loader.window.clips.iter().copied().collect()
    }

    #[test]
    fn the_window_depends_on_the_position_alone() {
        let place = tempfile::tempdir().unwrap();
        let start = |threads, position| {
            let numbers = Numbers([17, 400].into());
            DataLoader::start(&index(place.path(), 2_000), config(300, threads), numbers, position)
                .unwrap()
        };
        let mut loader = start(3, 0);
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..40 {
            loader.next_batch(rng.random_range(0..500)).unwrap();
            let fresh = start(1, loader.position());
            assert_eq!(contents(&loader), contents(&fresh), "at {}", loader.position());
            assert_eq!(loader.window.len(), 300);
        }
        assert!(loader.position() > 4_000, "several epochs were walked");
        assert_eq!(loader.skipped(), 2);
    }

    #[test]
    fn an_epoch_is_every_clip_once_and_no_two_are_alike() {
        let place = tempfile::tempdir().unwrap();
        let list = index(place.path(), 1_000);
        let mut loader =
            DataLoader::start(&list, config(1, 2), Numbers(BTreeSet::new()), 0).unwrap();
        let mut epochs = Vec::new();
        for _ in 0..3 {
            let mut seen = Vec::new();
            for _ in 0..1_000 {
                seen.extend(loader.window().iter().copied());
                loader.next_batch(1).unwrap();
            }
            assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>().len(), 1_000);
            epochs.push(seen);
        }
        assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
        // The remote shard is read in one go: clips 0..300.
        let places: Vec<usize> =
            epochs[0].iter().enumerate().filter(|(_, n)| **n < 300).map(|(at, _)| at).collect();
        assert_eq!(places.last().unwrap() - places[0], 299);
    }

    #[test]
    fn window_of_a_list_that_fits_keeps_its_order() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("skipped");
        let config = LoaderConfig { skipped: Some(path.clone()), ..config(500, 2) };
        let start =
            || DataLoader::start(&index(place.path(), 500), config.clone(), Numbers([3].into()), 7);
        let mut loader = start().unwrap();
        loader.next_batch(10_000).unwrap();
        let expected: Vec<_> = (0..500).map(|n| (n != 3).then_some(n)).collect();
        assert_eq!(contents(&loader), expected);
        assert_eq!((loader.position(), loader.window().iter().count()), (10_007, 499));
        // Each skipped clip is recorded once, even after the run is resumed.
        drop(loader);
        assert_eq!(start().unwrap().skipped(), 1);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "3: broken\n");
    }

    #[test]
    fn a_dataset_that_is_gone_stops_the_run() {
        let place = tempfile::tempdir().unwrap();
        let numbers = Numbers((0..2_000).collect());
        let error = DataLoader::start(&index(place.path(), 2_000), config(300, 1), numbers, 0)
            .err()
            .unwrap();
        assert!(error.to_string().contains(": broken"), "{error}");
        let list = DatasetIndex::write(&place.path().join("x"), |w| {
            w.add("", &u64::MAX);
            Ok(())
        });
        let error =
            DataLoader::start(&Arc::new(list.unwrap()), config(9, 1), Numbers(BTreeSet::new()), 0)
                .err()
                .unwrap();
        assert!(error.to_string().contains("the disk is gone"), "{error}");
    }
}
