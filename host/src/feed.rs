//! Clips ahead of the step that learns from them, of a corpus that does not fit into memory.
//!
//! A [`Feed`] walks a [`Listing`] epoch after epoch, blocks of clips in an order drawn from the seed
//! and the epoch. Threads read, decode and convert the blocks ahead; their results are put into the
//! order of the walk, so that what a training hears does not depend on which thread was faster. In
//! memory stands a [`Window`] of the walk: the clips from the position on, as many as were asked
//! for. Every clip that is drawn from it moves the position by one, so that the corpus is heard about
//! once an epoch. A corpus that is not larger than the window stands in it as a whole and stays.
//!
//! What the window holds depends on the list, the seed and the position alone. So a position in a
//! checkpoint is all it takes to continue, bit for bit.
//!
//! A clip that cannot be used leaves a hole, a line in a file, and a count. A disk or a network that
//! fails is an error: a run that went on without them would learn from something else.

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

use crate::{
    Error, Result,
    corpus::listing::{Block, Listing},
    progress::progress_bar,
};

/// Blocks that are read ahead of the window.
const BLOCKS_AHEAD: usize = 12;
/// Lines of the list of skipped clips; those beyond are counted only.
const SKIPPED_MAX: usize = 100_000;

/// Why a clip gives nothing.
#[derive(Debug)]
pub enum Unusable {
    /// The clip is at fault: it is left out, with its name and the reason.
    Skip(String),
    /// Something that other clips need is: the run must stop.
    Stop(Error),
}

/// What is in a list, and what a thread makes of it.
pub trait Load: Send + Sync + 'static {
    /// A line of the list.
    type Entry: DeserializeOwned + Send;
    /// A clip in the window.
    type Clip: Send + 'static;

    /// Reads a clip; called on several threads.
    ///
    /// # Errors
    /// Why there is none.
    fn load(&self, entry: Self::Entry) -> Result<Self::Clip, Unusable>;
}

/// How a corpus is walked.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Seed of the order.
    pub seed: u64,
    /// Clips in the window.
    pub window: usize,
    /// Threads that read.
    pub threads: usize,
    /// File in which every clip that was skipped gets a line with the reason.
    pub skipped: Option<PathBuf>,
    /// What the progress bar is called while the window is filled.
    pub title: &'static str,
}

/// The clips in memory. Holes are clips that cannot be used.
pub struct Window<C> {
    clips: VecDeque<Option<C>>,
}

impl<C> Window<C> {
    /// Clips that can be used.
    pub fn iter(&self) -> impl Iterator<Item = &C> {
        self.clips.iter().flatten()
    }

    /// A clip at an index of [`Window::len`]; none if it is a hole.
    pub fn get(&self, index: usize) -> Option<&C> {
        self.clips.get(index).and_then(Option::as_ref)
    }

    /// Clips and holes.
    pub fn len(&self) -> usize {
        self.clips.len()
    }

    /// Whether there is neither clip nor hole.
    pub fn is_empty(&self) -> bool {
        self.clips.is_empty()
    }
}

/// See the module.
pub struct Feed<L: Load> {
    listing: Arc<Listing>,
    walk: Walk,
    load: Arc<L>,
    position: u64,
    window: Window<L::Clip>,
    /// Behind a lock so that a feed can be looked at from several threads; only its owner reads on.
    ahead: Option<Mutex<Ahead<L::Clip>>>,
    skipped: SkippedClips,
}

impl<L: Load> Feed<L> {
    /// Fills the window from `position` on.
    ///
    /// # Errors
    /// [`Error::Input`] if no clip in it can be used; [`Error::Io`] if disk or network refuse.
    pub fn start(listing: &Arc<Listing>, walk: Walk, load: L, position: u64) -> Result<Self> {
        let mut feed = Self::new(listing, walk, load)?;
        feed.seek(position)?;
        Ok(feed)
    }

    /// Reads nothing yet: the window is empty until [`Feed::seek`].
    ///
    /// # Errors
    /// [`Error::Io`] if the list of skipped clips cannot be read.
    pub fn new(listing: &Arc<Listing>, walk: Walk, load: L) -> Result<Self> {
        let skipped = SkippedClips::open(walk.skipped.clone())?;
        Ok(Self {
            listing: listing.clone(),
            walk,
            load: Arc::new(load),
            position: 0,
            window: Window { clips: VecDeque::new() },
            ahead: None,
            skipped,
        })
    }

    /// Whether the whole corpus stands in the window, so that the window never changes.
    pub fn is_whole(&self) -> bool {
        self.listing.clips() <= self.walk.window as u64
    }

    /// Goes to another position of the walk.
    ///
    /// # Errors
    /// As [`Feed::start`].
    pub fn seek(&mut self, position: u64) -> Result<()> {
        if self.is_whole() && !self.window.is_empty() {
            self.position = position;
            return Ok(());
        }
        self.ahead = None;
        self.window.clips.clear();
        self.position = position;
        let clips = self.listing.clips();
        if clips == 0 {
            return self.check();
        }
        let start = if self.is_whole() { 0 } else { position };
        let order = Order::at(self.listing.clone(), self.walk.seed, start, self.is_whole());
        let passed = order.passed;
        let ahead = Ahead::start(self.listing.clone(), self.load.clone(), order, &self.walk);
        self.ahead = Some(Mutex::new(ahead));
        let wanted = (self.walk.window as u64).min(clips) as usize;
        let bar = progress_bar(wanted as u64, self.walk.title);
        self.fill(passed + wanted, |filled| bar.set_position(filled as u64))?;
        self.window.clips.drain(..passed);
        bar.finish_and_clear();
        if self.is_whole() {
            self.ahead = None;
        }
        self.check()
    }

    /// Moves the position by as many clips as were drawn.
    ///
    /// # Errors
    /// As [`Feed::start`].
    pub fn advance(&mut self, drawn: u64) -> Result<()> {
        self.position += drawn;
        if self.is_whole() {
            return Ok(());
        }
        let length = self.window.clips.len();
        for _ in 0..drawn {
            if self.window.clips.is_empty() {
                self.fill(1, |_| ())?;
            }
            self.window.clips.pop_front();
        }
        self.fill(length, |_| ())?;
        self.check()
    }

    /// Takes blocks in until the window holds `wanted` clips. It may hold some more of the last
    /// block, so these wait in front of the threads.
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
        Err(Error::input(
            self.listing.path(),
            format!(
                "none of the {} clips from {} on can be used{}",
                self.window.len(),
                self.position,
                self.skipped
                    .last
                    .as_ref()
                    .map_or(String::new(), |last| format!("; the last: {last}"))
            ),
            "see `wakeling corpus inspect`; is the disk or the share with the corpus there?",
        ))
    }

    /// The clips to draw from.
    pub fn window(&self) -> &Window<L::Clip> {
        &self.window
    }

    /// Clips that were drawn so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Clips in the list.
    pub fn clips(&self) -> u64 {
        self.listing.clips()
    }

    /// Times that the corpus was heard.
    pub fn epochs(&self) -> f64 {
        self.position as f64 / self.listing.clips().max(1) as f64
    }

    /// Different clips that could not be used so far.
    pub fn skipped(&self) -> u64 {
        self.skipped.count
    }
}

/// The endless walk, from some position on.
struct Order {
    listing: Arc<Listing>,
    seed: u64,
    epoch: u64,
    /// Blocks of this epoch, the next one last.
    blocks: Vec<u32>,
    /// Clips of the first block that lie before the position.
    passed: usize,
    /// In the order of the list, and once.
    as_listed: bool,
}

impl Order {
    fn at(listing: Arc<Listing>, seed: u64, position: u64, as_listed: bool) -> Self {
        let epoch = position / listing.clips();
        let mut left = position % listing.clips();
        let mut order = Self { listing, seed, epoch, blocks: Vec::new(), passed: 0, as_listed };
        order.begin_epoch();
        while let Some(&next) = order.blocks.last() {
            let clips = u64::from(order.listing.blocks()[next as usize].clips);
            if left < clips {
                break;
            }
            left -= clips;
            order.blocks.pop();
        }
        order.passed = left as usize;
        order
    }

    fn begin_epoch(&mut self) {
        let mut groups: Vec<std::ops::Range<usize>> = self.listing.groups().collect();
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        let mut rng = StdRng::from_seed(seed);
        if !self.as_listed {
            shuffle(&mut groups, &mut rng);
        }
        for group in groups {
            let start = self.blocks.len();
            self.blocks.extend(group.map(|block| block as u32));
            if !self.as_listed {
                shuffle(&mut self.blocks[start..], &mut rng);
            }
        }
        self.blocks.reverse();
    }

    fn next(&mut self) -> Option<Block> {
        if self.blocks.is_empty() {
            if self.as_listed {
                return None;
            }
            self.epoch += 1;
            self.begin_epoch();
        }
        self.blocks.pop().map(|block| self.listing.blocks()[block as usize])
    }
}

/// Fisher and Yates' shuffle.
fn shuffle<T>(items: &mut [T], rng: &mut StdRng) {
    for i in (1..items.len()).rev() {
        items.swap(i, rng.random_range(0..=i));
    }
}

/// A clip, or the reason why it was skipped.
type Loaded<C> = Result<C, String>;
/// What a thread makes of a block.
type Outcome<C> = Result<Vec<Loaded<C>>>;
/// A block, and where its outcome goes.
type Job<C> = (Block, SyncSender<Outcome<C>>);

/// Threads that read ahead.
struct Ahead<C> {
    order: Order,
    jobs: Option<SyncSender<Job<C>>>,
    pending: VecDeque<Receiver<Outcome<C>>>,
    ready: VecDeque<Loaded<C>>,
    threads: Vec<JoinHandle<()>>,
}

impl<C: Send + 'static> Ahead<C> {
    fn start<L: Load<Clip = C>>(
        listing: Arc<Listing>,
        load: Arc<L>,
        order: Order,
        walk: &Walk,
    ) -> Self {
        let (jobs, queue) = sync_channel::<Job<C>>(BLOCKS_AHEAD);
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..walk.threads.max(1)).map(|_| {
            let (listing, load, queue) = (listing.clone(), load.clone(), queue.clone());
            std::thread::spawn(move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((block, result)) = job else { return };
                    // Whoever does not wait any more has stopped.
                    let _ = result.send(load_block(&listing, load.as_ref(), block));
                }
            })
        });
        let threads = threads.collect();
        let (pending, ready) = (VecDeque::new(), VecDeque::new());
        Self { order, jobs: Some(jobs), pending, ready, threads }
    }

    /// The next clip of the walk.
    fn next(&mut self) -> Result<Option<Loaded<C>>> {
        loop {
            if let Some(clip) = self.ready.pop_front() {
                return Ok(Some(clip));
            }
            while self.pending.len() < BLOCKS_AHEAD {
                let (Some(block), Some(jobs)) = (self.order.next(), &self.jobs) else { break };
                let (sender, receiver) = sync_channel(1);
                if jobs.send((block, sender)).is_err() {
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
            // A thread that panicked was reported when its outcome was missed.
            let _ = thread.join();
        }
    }
}

fn load_block<L: Load>(listing: &Listing, load: &L, block: Block) -> Outcome<L::Clip> {
    let entries: Vec<L::Entry> = listing.read(block)?;
    entries
        .into_iter()
        .map(|entry| match load.load(entry) {
            Ok(clip) => Ok(Ok(clip)),
            Err(Unusable::Skip(reason)) => Ok(Err(reason)),
            Err(Unusable::Stop(error)) => Err(error),
        })
        .collect()
}

/// Tells every clip that was skipped once, however often the walk comes by.
struct SkippedClips {
    path: Option<PathBuf>,
    known: HashSet<u64>,
    count: u64,
    last: Option<String>,
}

impl SkippedClips {
    /// Continues a list that an earlier call began.
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

/// The same on every run, unlike the standard library's.
pub fn hash(text: &str) -> u64 {
    // FNV-1a, 64 bits.
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Numbers; those in the set cannot be used.
    struct Numbers(BTreeSet<u64>);

    impl Load for Numbers {
        type Entry = u64;
        type Clip = u64;

        fn load(&self, entry: u64) -> Result<u64, Unusable> {
            if entry == u64::MAX {
                return Err(Unusable::Stop(Error::usage("the disk is gone", "x")));
            }
            // So that threads finish in another order than they begin.
            std::thread::sleep(std::time::Duration::from_micros((entry * 7_919) % 50));
            if self.0.contains(&entry) {
                Err(Unusable::Skip(format!("{entry}: broken")))
            } else {
                Ok(entry)
            }
        }
    }

    fn listing(place: &std::path::Path, count: u64) -> Arc<Listing> {
        let written = Listing::write(&place.join("list"), |w| {
            (0..count).for_each(|n| w.add(if n % 1_000 < 300 { "s3://x" } else { "" }, &n));
            Ok(())
        });
        Arc::new(written.unwrap())
    }

    fn walk(window: usize, threads: usize) -> Walk {
        Walk { seed: 5, window, threads, skipped: None, title: "test" }
    }

    fn contents(feed: &Feed<Numbers>) -> Vec<Option<u64>> {
        feed.window.clips.iter().copied().collect()
    }

    #[test]
    fn the_window_depends_on_the_position_alone() {
        let place = tempfile::tempdir().unwrap();
        let start = |threads, position| {
            let numbers = Numbers([17, 400].into());
            Feed::start(&listing(place.path(), 2_000), walk(300, threads), numbers, position)
                .unwrap()
        };
        let mut feed = start(3, 0);
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..40 {
            feed.advance(rng.random_range(0..500)).unwrap();
            let fresh = start(1, feed.position());
            assert_eq!(contents(&feed), contents(&fresh), "at {}", feed.position());
            assert_eq!(feed.window.len(), 300);
        }
        assert!(feed.position() > 4_000, "several epochs were walked");
        assert_eq!(feed.skipped(), 2);
    }

    #[test]
    fn an_epoch_is_every_clip_once_and_no_two_are_alike() {
        let place = tempfile::tempdir().unwrap();
        let list = listing(place.path(), 1_000);
        let mut feed = Feed::start(&list, walk(1, 2), Numbers(BTreeSet::new()), 0).unwrap();
        let mut epochs = Vec::new();
        for _ in 0..3 {
            let mut heard = Vec::new();
            for _ in 0..1_000 {
                heard.extend(feed.window().iter().copied());
                feed.advance(1).unwrap();
            }
            assert_eq!(heard.iter().copied().collect::<BTreeSet<_>>().len(), 1_000);
            epochs.push(heard);
        }
        assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
        // The shard that is far away is read in one go: clips 0..300.
        let places: Vec<usize> =
            epochs[0].iter().enumerate().filter(|(_, n)| **n < 300).map(|(at, _)| at).collect();
        assert_eq!(places.last().unwrap() - places[0], 299);
    }

    #[test]
    fn what_fits_stands_in_the_window_in_the_order_of_the_list() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("skipped");
        let walk = Walk { skipped: Some(path.clone()), ..walk(500, 2) };
        let start =
            || Feed::start(&listing(place.path(), 500), walk.clone(), Numbers([3].into()), 7);
        let mut feed = start().unwrap();
        feed.advance(10_000).unwrap();
        let expected: Vec<_> = (0..500).map(|n| (n != 3).then_some(n)).collect();
        assert_eq!(contents(&feed), expected);
        assert_eq!((feed.position(), feed.window().iter().count()), (10_007, 499));
        // Told once, also when the run is continued.
        drop(feed);
        assert_eq!(start().unwrap().skipped(), 1);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "3: broken\n");
    }

    #[test]
    fn a_corpus_that_is_gone_stops_the_run() {
        let place = tempfile::tempdir().unwrap();
        let numbers = Numbers((0..2_000).collect());
        let error =
            Feed::start(&listing(place.path(), 2_000), walk(300, 1), numbers, 0).err().unwrap();
        assert!(error.to_string().contains(": broken"), "{error}");
        let list = Listing::write(&place.path().join("x"), |w| {
            w.add("", &u64::MAX);
            Ok(())
        });
        let error = Feed::start(&Arc::new(list.unwrap()), walk(9, 1), Numbers(BTreeSet::new()), 0)
            .err()
            .unwrap();
        assert!(error.to_string().contains("the disk is gone"), "{error}");
    }
}
