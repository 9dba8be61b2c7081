//! Tests of updates on an emulated device with a flash controller (QEMU's microbit, Cortex-M0).
//! Power fails at every page write and at random moments. The device always starts with an intact
//! model, whose scores equal those of the laptop to the byte.
//!
//! `WAKELING_EMULATED_CUTS` sets the number of moments. `docs/lab/updates.md` has the results for
//! full counts.

use std::{env, path::Path};

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use wakeling_audio::features::{log_mel, mel_powers};
use wakeling_data::negatives::{Negatives, SpeechClip};
use wakeling_device::{
    emulator::{Emulator, Machine, UPDATE},
    model_file,
    simulate::{Chunking, Device},
    update::{
        keys::Key,
        package::{Package, pack},
    },
};
use wakeling_shared::{
    enroll::{Enroller, Learn, Patch, UTTERANCES},
    gate::GateParams,
    model::{LoadError, Model, ShapeError, Statistics},
    pipeline::Pipeline,
    update::{
        message::CHUNK_BYTES,
        package::{Anyone, Authority, DEVELOPMENT_KEY, HEADER_BYTES, Pinned},
        ram::RamFlash,
        self_test,
        store::{CheckLevel, Mapped, SlotImage, Store},
    },
};
use wakeling_tests::{
    Random, Tier, device::emulator, hostile::own::small_pretrained, model::random_model, requests,
    sound,
};
use wakeling_train::{
    enroll::{EnrollmentHead, Form, enroll_file},
    quantize::{Backbone, CardText},
};

const PAGE: usize = 1024;
const WORD: usize = 4;

/// Returns a signed package with random weights, signed with the development key, and its model.
fn package(seed: u64, version: u32) -> (Vec<u8>, Package) {
    let model = random_model(seed, Tier::Tiny);
    let bytes = pack(Path::new("model"), &model, version, Some(&Key::development()));
    (model, Package::of(bytes.expect("it is a model")).expect("it is an image"))
}

/// Copy of the microbit's flash on the laptop, which counts writes.
struct Counted<'b> {
    flash: RamFlash<'b, WORD, PAGE>,
    /// Number of the call that wrote or erased each word or page.
    calls: Vec<usize>,
}

impl ErrorType for Counted<'_> {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Counted<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        self.flash.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl Counted<'_> {
    fn count(&mut self, operations: usize) {
        let call = self.calls.last().map_or(0, |call| call + 1);
        self.calls.extend(vec![call; operations]);
    }
}

impl NorFlash for Counted<'_> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.count((to - from) as usize / PAGE);
        self.flash.erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        self.count(bytes.len() / WORD);
        self.flash.write(offset, bytes)
    }
}

impl Mapped for Counted<'_> {
    fn mapped(&self, offset: u32, length: u32) -> &[u8] {
        self.flash.mapped(offset, length)
    }
}

/// Checks a model like the firmware.
fn good(flash: &Counted<'_>, place: &SlotImage, question: CheckLevel) -> bool {
    let bytes = flash.mapped(place.model_at, place.header.model_bytes);
    let Ok(model) = Model::load(bytes) else { return false };
    let test = flash.mapped(place.test_at(), place.header.test_bytes);
    let mut arena = vec![0; model.arena_bytes()];
    question == CheckLevel::Loads || self_test::run(&model, test, &mut arena).is_ok()
}

/// Updates the flash in `words` on the laptop. Returns the call of each word and page that was
/// written.
fn update_here(words: &mut [u64], package: &Package, authority: &impl Authority) -> Vec<usize> {
    let flash = Counted { flash: RamFlash::new(words), calls: Vec::new() };
    let mut store = Store::open(flash).expect("it opens");
    store.start(good).expect("it reads");
    store.begin(&package.bytes[..HEADER_BYTES], authority).expect("it is accepted");
    for (i, bytes) in package.body().chunks(CHUNK_BYTES).enumerate() {
        store.data((i * CHUNK_BYTES) as u32, bytes).expect("it is written");
    }
    store.finish(false, authority).expect("it is signed");
    let running = store.start(good).expect("it reads").expect("a model runs");
    assert_eq!(running.header.version, package.header.version);
    store.release().calls
}

fn bytes_of(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Two models, the laptop's results for each, and the flash of a device that runs the first.
struct Case {
    emulator: Emulator,
    flash: Vec<u8>,
    stream: Vec<u8>,
    calls: Vec<usize>,
    pcm: Vec<i16>,
    events: [String; 2],
}

impl Case {
    fn new() -> Option<Self> {
        let emulator = emulator(Machine::CORTEX_M0, UPDATE)?;
        let pcm = sound::speech_like(3, 1);
        let [(old_model, old), (new_model, new)] = [package(1, 1), package(2, 2)];
        let pinned = Pinned(DEVELOPMENT_KEY);
        let mut words = vec![u64::MAX; emulator.flash_bytes() / 8];
        update_here(&mut words, &old, &pinned);
        let flash = bytes_of(&words);
        let calls = update_here(&mut words, &new, &pinned);
        let events = [old_model, new_model].map(|model| {
            let model = Model::load(&model).expect("the model is valid");
            Device::Host(Chunking::Whole).lines(&model, &pcm, true).expect("the host runs")
        });
        assert_ne!(events[0], events[1], "a test of nothing");
        Some(Self { emulator, flash, stream: requests::update(&new), calls, pcm, events })
    }

    /// Cuts the power as `word` specifies, starts again, and returns the version that runs. Its
    /// scores must equal those of the laptop.
    fn version_after(&self, word: &str) -> usize {
        let cut = self.emulator.run_on_flash(&self.flash, self.moment(), &self.stream, &[word]);
        let (_, flash) = cut.unwrap_or_else(|e| panic!("{word}: {e}"));
        self.version_of(&flash, word)
    }

    /// Returns the sound during an update, which is so short that the update takes nearly all the
    /// time.
    fn moment(&self) -> &[i16] {
        &self.pcm[..320]
    }

    fn version_of(&self, flash: &[u8], word: &str) -> usize {
        assert_eq!(flash.len(), self.flash.len(), "{word}: the flash was not saved");
        let woke = self.emulator.run_on_flash(flash, &self.pcm, &[], &["scores"]);
        let (lines, _) = woke.unwrap_or_else(|e| panic!("a brick, {word}: {e}"));
        let (first, rest) = lines.split_once('\n').unwrap_or_default();
        let (events, last) = rest.trim_end().rsplit_once('\n').unwrap_or_default();
        assert!(last.starts_with("ended"), "a brick, {word}: {lines}");
        let version = (1..=2).find(|v| first == format!("started version={v} slot={}", v - 1));
        let version = version.unwrap_or_else(|| panic!("a brick, {word}: {first}"));
        assert_eq!(
            events,
            self.events[version - 1].trim_end(),
            "{word}: it does not hear the same"
        );
        version
    }
}

/// Returns a model for enrollment with a small backbone.
fn enrolling(form: Form) -> Vec<u8> {
    let backbone = Backbone::new(small_pretrained()).expect("it can be quantized");
    let params = backbone.frontend();
    let frames = |seed| log_mel(&mel_powers(&sound::speech_like(seed, 8), &params));
    let speech = (10..14).map(|seed| SpeechClip { frames: frames(seed), text: String::new() });
    let negatives = Negatives { speech: speech.collect(), noise: vec![frames(20)] };
    let empty = EnrollmentHead::new(&backbone, &negatives, "word", form).expect("a head");
    let model = empty.model(&backbone, Vec::new(), CardText::default());
    model.and_then(|model| model.bytes()).expect("a model")
}

/// Returns a quiet room.
fn room(samples: usize) -> Vec<i16> {
    (0..samples).map(|n| [2, -3, 1][n % 3]).collect()
}

/// Returns five utterances of a word, each between stretches of quiet.
fn five_utterances() -> Vec<i16> {
    [room(24_000), sound::speech_like(3, 1)[..9_000].to_vec(), room(24_000)].concat().repeat(5)
}

/// The options at the end of a description: none, gate, statistics, both; statistics that do not fit
/// the head are rejected.
#[test]
fn statistics_are_optional_and_checked() {
    let file = enrolling(Form::Statistics);
    let model = Model::load(&file).expect("it is valid");
    let statistics = model.statistics.expect("it has statistics");
    for gate in [None, Some(GateParams::default())] {
        for statistics in [None, Some(statistics)] {
            let model = Model { gate, statistics, ..model.clone() };
            let file = model_file::encode(&model).expect("a file");
            assert_eq!(Model::load(&file), Ok(model));
        }
    }
    let all = statistics.predictors;
    let wrong = [
        Statistics { deviation: 0, ..statistics },
        Statistics { order: 3, ..statistics },
        Statistics { order: 1, ..statistics },
        Statistics { predictors: &all[1..], ..statistics },
    ];
    let rejects = |model: &Model<'_>| {
        let file = model_file::encode(model).expect("a file");
        let found = Model::load(&file).map(|_| ());
        assert_eq!(found, Err(LoadError::Shape(ShapeError::Statistics)));
    };
    for wrong in wrong {
        rejects(&Model { statistics: Some(wrong), ..model.clone() });
    }
    // A head that a device cannot enroll.
    let mut other = model.clone();
    let head = other.heads.last_mut().expect("a head");
    let last = other.layers.pop().expect("a layer");
    (head.layers, head.input) = (1, last.input);
    rejects(&other);
}

/// Enrollment by the button of an emulated board: five utterances, a restart, and scores equal to
/// those of the head that the laptop makes of the same sound. A very long press then empties the
/// head.
#[test]
fn a_button_enrolls_and_forgets_on_the_emulated_board() {
    let Some(emulator) = emulator(Machine::CORTEX_M0, UPDATE) else { return };
    let model = enrolling(Form::Statistics);
    let bytes = pack(Path::new("model"), &model, 1, Some(&Key::development()));
    let package = Package::of(bytes.expect("it is a model")).expect("an image");
    let mut words = vec![u64::MAX; emulator.flash_bytes() / 8];
    update_here(&mut words, &package, &Pinned(DEVELOPMENT_KEY));
    let flash = bytes_of(&words);

    let pcm = [room(4 * 16_000), five_utterances(), room(4 * 16_000)].concat();
    let here = enroll_file(&model, std::slice::from_ref(&pcm)).expect("it has a head");
    let enrolled = here.outcome.expect("they are alike");
    let press = ["button=1000-3500", "indicator"];
    let (lines, flash) = emulator.run_on_flash(&flash, &pcm, &[], &press).expect("it runs");
    assert!(lines.starts_with("started version=1 slot=0\n"), "{lines}");
    assert!(lines.contains("\nstarted version=1 slot=1\n"), "{lines}");
    let stack = lines.trim_end().rsplit_once("ended stack=").unwrap_or_default().1;
    eprintln!("stack {stack}");
    // One flash a second while it waits, and a long one for each of five utterances.
    assert!(lines.matches("indicator 1").count() > 10, "{lines}");

    let test = [room(32_000), five_utterances()[..100_000].to_vec()].concat();
    let run = |flash: &[u8], words: &[&str]| {
        let (lines, flash) = emulator.run_on_flash(flash, &test, &[], words).expect("it runs");
        let rest = lines.split_once('\n').unwrap_or_default().1.to_owned();
        let (events, _) = rest.trim_end().rsplit_once('\n').unwrap_or_default();
        (events.to_owned(), flash)
    };
    let loaded = Model::load(&enrolled).expect("it is valid");
    let host = Device::Host(Chunking::Whole).lines(&loaded, &test, true).expect("the host runs");
    assert!(host.contains("\ndetection "), "a test of nothing: {host}");
    let (device, flash) = run(&flash, &["scores"]);
    assert_eq!(device, host.trim_end(), "device and laptop differ");

    let hold = [room(13 * 16_000)].concat();
    let press = ["button=1000-10000", "indicator"];
    let (lines, flash) = emulator.run_on_flash(&flash, &hold, &[], &press).expect("it runs");
    assert!(lines.contains("\nstarted version=1 slot=0\n"), "{lines}");
    let (device, _) = run(&flash, &[]);
    assert!(!device.contains("detection"), "it did not forget: {device}");
}

/// End-to-end test of enrollment, with and without statistics. The device installs the head as a
/// candidate, equal to the byte to the laptop's head for the same sound, and runs it after the
/// restart.
#[test]
fn device_and_laptop_enroll_the_same_head() {
    for form in [Form::Statistics, Form::Plain] {
        device_and_laptop_enroll_the_same(form);
    }
}

fn device_and_laptop_enroll_the_same(form: Form) {
    let model = enrolling(form);
    let utterances = five_utterances();
    let here = enroll_file(&model, std::slice::from_ref(&utterances)).expect("it has a head");
    let here = here.outcome.expect("they are alike");

    let package = Package::of(pack(Path::new("model"), &model, 1, None).expect("it is a model"));
    let mut words = vec![u64::MAX; 48 * 1024 / 8];
    update_here(&mut words, &package.expect("an image"), &Anyone);
    let mut store = Store::open(RamFlash::<WORD, PAGE>::new(&mut words)).expect("it opens");
    let held = |flash: &RamFlash<'_, WORD, PAGE>, place: &SlotImage| {
        flash.mapped(place.model_at, place.header.model_bytes).to_vec()
    };
    let mut ran = None;
    store.start(|flash, place, _| !ran.insert(held(flash, place)).is_empty()).expect("it reads");
    assert_eq!(ran.as_ref(), Some(&model));

    let file: Vec<u32> =
        model.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
    let loaded = Model::load(&model).expect("it is valid");
    let mut arena = vec![0; loaded.arena_bytes()];
    let mut pipeline = Pipeline::new(&loaded, &mut arena).expect("it has its arena");
    let mut enroller = Box::new(Enroller::<UTTERANCES>::new());
    enroller.watch(&loaded, &file);
    enroller.begin().expect("there is a head");
    pipeline.push_to(&utterances, &mut *enroller);
    let mut patch = Patch::new();
    enroller.patch(&mut patch).expect("the laptop took them");
    store.install(patch.patches()).expect("it is installed");

    let running = store.start(|flash, place, _| {
        ran = Some(held(flash, place));
        Model::load(&held(flash, place)).is_ok()
    });
    let running = running.expect("it reads").expect("a model runs");
    assert!(running.header.enrolled && running.slot.index() == 1);
    assert_eq!(ran, Some(here), "device and laptop differ");
}

#[test]
fn a_whole_update_runs_the_new_model() {
    let Some(case) = Case::new() else { return };
    let whole = case.emulator.run_on_flash(&case.flash, &case.pcm, &case.stream, &["scores"]);
    let (lines, flash) = whole.expect("it runs");
    assert!(lines.starts_with("started version=1 slot=0\n"), "{lines}");
    assert!(lines.contains("\nstarted version=2 slot=1\n"), "{lines}");
    assert_eq!(case.version_of(&flash, "whole"), 2);
    // After a change to one byte of the new model, the signature does not match, and the old model
    // stays.
    let mut stream = case.stream.clone();
    let at = stream.len() / 2;
    stream[at] ^= 1;
    let changed = case.emulator.run_on_flash(&case.flash, &case.pcm, &stream, &[]);
    assert_eq!(case.version_of(&changed.expect("it runs").1, "changed"), 1);
}

#[test]
fn a_damaged_model_gives_way_to_the_one_before_it() {
    let Some(case) = Case::new() else { return };
    let whole = case.emulator.run_on_flash(&case.flash, &case.pcm, &case.stream, &[]);
    let flash = whole.expect("it runs").1;
    // Two pages of journal, then two slots, whose packages have a header.
    let slot_bytes = (flash.len() / PAGE - 2) / 2 * PAGE;
    let model_at = |slot: usize| 2 * PAGE + slot * slot_bytes + HEADER_BYTES;
    let model_bytes = random_model(2, Tier::Tiny).len();
    // As flash decays: a bit is cleared in the first byte from there on that has one.
    let damage = |flash: &mut [u8], at: usize| {
        let byte = flash[at..].iter_mut().find(|byte| **byte != 0).expect("a byte");
        *byte &= *byte - 1;
    };
    let old = random_model(1, Tier::Tiny);
    let old = Model::load(&old).expect("the model is valid");
    let lines =
        |pcm: &[i16]| Device::Host(Chunking::Whole).lines(&old, pcm, true).expect("it runs");
    // A description that cannot be read is noticed before the first block, another damage after it.
    let expected = [0, 320]
        .map(|from| format!("started version=1 slot=0\n{}ended ", lines(&case.pcm[from..])));
    let mut noticed = [0; 2];
    // What follows the last weight that is not 0 is the self-test's.
    let model = &flash[model_at(1)..][..model_bytes];
    let last = model.iter().rposition(|&byte| byte != 0).expect("a weight");
    // Magic, description, weights in the middle and at the end.
    for at in [0, 60, 2_000, last] {
        let mut damaged = flash.clone();
        damage(&mut damaged, model_at(1) + at);
        let woke = case.emulator.run_on_flash(&damaged, &case.pcm, &[], &["scores"]);
        let (lines, after) = woke.expect("it runs");
        let which = expected.iter().position(|expected| lines.starts_with(expected));
        noticed[which.unwrap_or_else(|| panic!("byte {at}: {lines}"))] += 1;
        // The journal has the old model from now on.
        assert_eq!(case.version_of(&after, "later"), 1, "byte {at}");
        // Without another model the device waits for one.
        damage(&mut damaged, model_at(0) + model_bytes / 2 / 8 * 8 + 3);
        let woke = case.emulator.run_on_flash(&damaged, &case.pcm, &[], &["scores"]);
        let (lines, _) = woke.expect("it runs");
        assert!(lines.starts_with("no model\nended "), "byte {at}: {lines}");
    }
    assert!(noticed[0] > 0 && noticed[1] > 0, "{noticed:?}");
}

#[test]
fn a_cut_at_every_page_write_leaves_a_whole_model() {
    let Some(case) = Case::new() else { return };
    let calls = case.calls.last().map_or(0, |call| call + 1);
    let mut woke = [0; 2];
    let mut cuts = 0;
    for call in 0..calls {
        // Cuts before the first word of a call, and within the call.
        let words = case.calls.iter().filter(|&&of| of == call).count();
        let first = case.calls.iter().position(|&of| of == call).expect("it wrote something") + 1;
        let mut places = vec![first, first + words / 2];
        places.dedup();
        for place in places {
            woke[case.version_after(&format!("cut={place}")) - 1] += 1;
            cuts += 1;
        }
    }
    assert!(woke[0] > 0 && woke[1] > 0, "{woke:?}");
    eprintln!(
        "{cuts} cuts at {calls} writes and erasures: {woke:?} woke with the old, the new model"
    );
}

#[test]
fn cuts_at_random_moments_leave_a_whole_model() {
    let Some(case) = Case::new() else { return };
    let named = env::var("WAKELING_EMULATED_CUTS").ok().map(|n| n.parse().expect("a number"));
    let cuts = named.unwrap_or(12);
    // Not a multiple of the timer's period, and longer than any update.
    const LONG: u32 = 1_500_000_000;
    let fuse = format!("fuse={LONG}");
    let whole = case.emulator.run_on_flash(&case.flash, case.moment(), &case.stream, &[&fuse]);
    let lines = whole.expect("it runs").0;
    let left: Option<u32> =
        lines.trim_end().rsplit_once(" left=").and_then(|(_, n)| n.parse().ok());
    let ticks = LONG - left.unwrap_or_else(|| panic!("{lines}"));
    let mut random = Random::new(6);
    let mut woke = [0; 2];
    for _ in 0..cuts {
        let fuse = 1 + random.below(ticks as usize);
        woke[case.version_after(&format!("fuse={fuse}")) - 1] += 1;
    }
    eprintln!(
        "{cuts} cuts within {ticks} ticks of 62.5 ns: {woke:?} woke with the old, the new model"
    );
}
