//! Tests of updates on a simulated flash. Power fails at every operation, within operations, and at
//! random moments; lines lose and change bytes; streams are garbage. The device must always start
//! with an intact model that it was given.
//!
//! `WAKELING_POWER_CUTS` and `WAKELING_FUZZ_CASES` set the number of cases. `docs/lab/updates.md`
//! has the results for full counts.

use std::{
    cell::{Cell, RefCell},
    env,
    rc::Rc,
};

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use wakeling_shared::update::{
    crc32_of,
    frame::{self, Deframer, MAX_FRAME, MAX_PAYLOAD},
    message::{self, CHUNK_BYTES, Candidate, Refusal, Reply, Request},
    package::{Anyone, Authority, Header, Pinned, SIGNED_BYTES, Signature},
    session::{Action, Session},
    store::{CheckLevel, Mapped, SlotImage, Store},
};

/// Xorshift generator (Marsaglia 2003), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.bits() >> 11) as usize % bound.max(1)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.bits() as u8).collect()
    }
}

fn count(variable: &str, default: usize) -> usize {
    let named = env::var(variable).ok().map(|text| text.parse().expect("a number"));
    named.unwrap_or(default)
}

/// Power supply of a device: the number of words and pages that can still be written or erased.
#[derive(Clone, Default)]
struct Power {
    left: Rc<Cell<Option<usize>>>,
    spent: Rc<Cell<usize>>,
}

impl Power {
    /// Takes one operation; returns `false` if the supply fails now or has failed.
    fn take(&self) -> bool {
        self.spent.set(self.spent.get() + 1);
        match self.left.get() {
            None => true,
            Some(0) => false,
            Some(left) => {
                self.left.set(Some(left - 1));
                left > 1
            }
        }
    }
}

/// Contents of a chip whose supply may fail. A word being written is then any word between old and
/// new; a page being erased has any of its bits set.
#[derive(Clone)]
struct Chip<const WORD: usize, const PAGE: usize> {
    bytes: Rc<RefCell<Vec<u8>>>,
    power: Power,
    random: Rc<RefCell<Random>>,
}

impl<const WORD: usize, const PAGE: usize> Chip<WORD, PAGE> {
    fn new(pages: usize, seed: u64) -> Self {
        let bytes = Rc::new(RefCell::new(vec![0xFF; pages * PAGE]));
        Self { bytes, power: Power::default(), random: Rc::new(RefCell::new(Random(seed))) }
    }

    fn alive(&self) -> Result<(), NorFlashErrorKind> {
        if self.power.left.get() == Some(0) { Err(NorFlashErrorKind::Other) } else { Ok(()) }
    }
}

impl<const WORD: usize, const PAGE: usize> ErrorType for Chip<WORD, PAGE> {
    type Error = NorFlashErrorKind;
}

impl<const WORD: usize, const PAGE: usize> ReadNorFlash for Chip<WORD, PAGE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        self.alive()?;
        let start = offset as usize;
        bytes.copy_from_slice(&self.bytes.borrow()[start..start + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.borrow().len()
    }
}

impl<const WORD: usize, const PAGE: usize> NorFlash for Chip<WORD, PAGE> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        assert!((from as usize).is_multiple_of(PAGE) && (to as usize).is_multiple_of(PAGE));
        for page in (from as usize..to as usize).step_by(PAGE) {
            self.alive()?;
            let whole = self.power.take();
            for byte in &mut self.bytes.borrow_mut()[page..page + PAGE] {
                *byte |= if whole { 0xFF } else { self.random.borrow_mut().bits() as u8 };
            }
        }
        self.alive()
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        assert!((offset as usize).is_multiple_of(WORD) && bytes.len().is_multiple_of(WORD));
        let mut start = offset as usize;
        for word in bytes.chunks(WORD) {
            self.alive()?;
            let whole = self.power.take();
            let held = &mut self.bytes.borrow_mut()[start..start + WORD];
            assert!(held.iter().all(|&byte| byte == 0xFF), "a word is written twice at {start}");
            for (held, &byte) in held.iter_mut().zip(word) {
                let stuck = if whole { 0 } else { self.random.borrow_mut().bits() as u8 };
                *held &= byte | stuck;
            }
            start += WORD;
        }
        self.alive()
    }
}

/// Models of versions 1, 2, …, with different bytes. A package is good if all its bytes are
/// unchanged.
struct Models {
    random: u64,
    bytes: usize,
}

impl Models {
    fn body(&self, version: u32) -> Vec<u8> {
        Random(self.random ^ u64::from(version) << 32).bytes(self.bytes)
    }

    fn image(&self, version: u32) -> (Header, Vec<u8>) {
        let body = self.body(version);
        let model_bytes = body.len() as u32 / 8 * 8;
        let header = Header {
            version,
            model_bytes,
            test_bytes: body.len() as u32 - model_bytes,
            body_crc: crc32_of(&body),
            signature: None,
            enrolled: false,
        };
        (header, body)
    }

    fn good<const W: usize, const P: usize>(&self, chip: &Chip<W, P>, place: &SlotImage) -> bool {
        let start = place.model_at as usize;
        let body = &chip.bytes.borrow()[start..start + place.header.body_bytes() as usize];
        body == self.body(place.header.version)
    }

    /// Starts a device and returns the running version.
    fn start<const W: usize, const P: usize>(&self, chip: &Chip<W, P>) -> Option<u32> {
        let mut store = Store::open(chip.clone()).ok()?;
        let running = store.start(|chip, place, _| self.good(chip, place)).ok()?;
        running.map(|place| place.header.version)
    }

    /// Runs an update from the first request to the restart, as far as the power lasts.
    fn update<const W: usize, const P: usize>(
        &self,
        chip: &Chip<W, P>,
        version: u32,
    ) -> Option<u32> {
        let mut store = Store::open(chip.clone()).ok()?;
        store.start(|chip, place, _| self.good(chip, place)).ok()?;
        let (header, body) = self.image(version);
        store.begin(&header.encode(), &Anyone).ok()?;
        for (i, bytes) in body.chunks(CHUNK_BYTES).enumerate() {
            store.data((i * CHUNK_BYTES) as u32, bytes).ok()?;
        }
        store.finish(false, &Anyone).ok()?;
        self.start(chip)
    }
}

/// Cuts the power at operation `cut` of an update from `version` to the next, then starts again.
/// Returns the version that runs then.
fn cut<const W: usize, const P: usize>(
    models: &Models,
    chip: &Chip<W, P>,
    version: u32,
    cut: usize,
) -> u32 {
    chip.power.left.set(Some(cut));
    models.update(chip, version + 1);
    chip.power.left.set(None);
    let woke = models.start(chip).unwrap_or_else(|| panic!("a brick, cut at {cut}"));
    assert!(woke == version || woke == version + 1, "woke with {woke}, cut at {cut}");
    woke
}

/// Cuts the power at every operation of an update on this kind of flash, and then again at every
/// one on the flash that the cuts left, since torn records and pages remain.
fn every_operation<const W: usize, const P: usize>(pages: usize, bytes: usize) -> usize {
    let models = Models { random: 0x5EED ^ (W as u64) << 8, bytes };
    let fresh = Chip::<W, P>::new(pages, 7);
    assert_eq!(models.start(&fresh), None);
    assert_eq!(models.update(&fresh, 1), Some(1));
    let holding = fresh.bytes.borrow().clone();
    let spent = fresh.power.spent.get();
    assert_eq!(models.update(&fresh, 2), Some(2));
    let operations = fresh.power.spent.get() - spent;
    let (mut old, mut new) = (0, 0);
    for at in 1..=operations {
        let chip = Chip::<W, P>::new(pages, at as u64);
        chip.bytes.borrow_mut().copy_from_slice(&holding);
        match cut(&models, &chip, 1, at) {
            1 => old += 1,
            _ => new += 1,
        }
        // The device must still accept an update, with whatever the cut left.
        assert_eq!(models.update(&chip, 3), Some(3), "after a cut at {at}");
    }
    assert!(old > 0 && new > 0, "{old} cuts left the old model, {new} the new one");
    operations
}

#[test]
fn a_cut_at_every_operation_leaves_a_whole_model() {
    // Word and page sizes of nRF51, nRF52, RP2040 and STM32L4.
    let nrf51 = every_operation::<4, 1024>(12, 3_333);
    let nrf52 = every_operation::<4, 4096>(6, 5_000);
    let rp2040 = every_operation::<1, 4096>(6, 2_001);
    let stm32 = every_operation::<8, 2048>(8, 4_095);
    eprintln!("cuts: nRF51 {nrf51}, nRF52 {nrf52}, RP2040 {rp2040}, STM32L4 {stm32}; no brick");
}

#[test]
fn many_cuts_of_one_device_leave_a_whole_model() {
    let cuts = count("WAKELING_POWER_CUTS", 2_000);
    let models = Models { random: 99, bytes: 2_345 };
    let chip = Chip::<4, 1024>::new(12, 3);
    assert_eq!(models.update(&chip, 1), Some(1));
    let mut random = Random(0xC0FFEE);
    let (mut version, mut updated) = (1, 0);
    for _ in 0..cuts {
        // An update has about 700 operations, so some updates are not cut at all.
        let at = 1 + random.below(900);
        let woke = cut(&models, &chip, version, at);
        updated += usize::from(woke != version);
        version = woke;
    }
    assert!(updated > cuts / 20 && updated < cuts, "{updated} of {cuts} came through");
    eprintln!("{cuts} cuts of one device, {updated} updates came through, no brick");
}

#[test]
fn cut_during_boot_leaves_a_whole_model() {
    let models = Models { random: 5, bytes: 1_000 };
    for (first, second) in (1..40).flat_map(|a| (1..12).map(move |b| (a, b))) {
        let chip = Chip::<4, 256>::new(20, first as u64);
        assert_eq!(models.update(&chip, 1), Some(1));
        let spent = chip.power.spent.get();
        models.update(&chip, 2);
        let all = chip.power.spent.get() - spent;
        // Cuts near the end of the update, then in the starts after it.
        let chip = Chip::<4, 256>::new(20, first as u64);
        assert_eq!(models.update(&chip, 1), Some(1));
        chip.power.left.set(Some(all - first.min(all - 1)));
        models.update(&chip, 2);
        for _ in 0..3 {
            chip.power.left.set(Some(second));
            models.start(&chip);
        }
        chip.power.left.set(None);
        let woke = models.start(&chip);
        assert!(matches!(woke, Some(1 | 2)), "{woke:?} after cuts at {first} and {second}");
    }
}

/// A started device with version 1.
fn device(models: &Models) -> (Chip<4, 1024>, Store<Chip<4, 1024>>) {
    let chip = Chip::new(12, 1);
    assert_eq!(models.update(&chip, 1), Some(1));
    let mut store = Store::open(chip.clone()).expect("it opens");
    store.start(|chip, place, _| models.good(chip, place)).expect("it reads");
    (chip, store)
}

fn send<F: NorFlash>(
    store: &mut Store<F>,
    (header, body): &(Header, Vec<u8>),
    trial: bool,
    authority: &impl Authority,
) -> Result<u32, Refusal> {
    store.begin(&header.encode(), authority)?;
    for (i, bytes) in body.chunks(CHUNK_BYTES).enumerate() {
        store.data((i * CHUNK_BYTES) as u32, bytes)?;
    }
    store.finish(trial, authority)
}

#[test]
fn a_version_cannot_go_back() {
    let models = Models { random: 11, bytes: 500 };
    let (chip, _) = device(&models);
    assert_eq!(models.update(&chip, 7), Some(7));
    let mut later = Store::open(chip.clone()).expect("it opens");
    later.start(|chip, place, _| models.good(chip, place)).expect("it reads");
    for version in [0, 1, 6, 7] {
        let refused = later.begin(&models.image(version).0.encode(), &Anyone);
        assert_eq!(refused, Err(Refusal::Version { least: 8 }));
    }
    assert_eq!(later.begin(&models.image(8).0.encode(), &Anyone), Ok(()));
    // A candidate alone does not raise the least version.
    let (_, mut store) = device(&models);
    assert_eq!(send(&mut store, &models.image(2), true, &Anyone), Ok(500));
    assert_eq!(store.next_version(), 2);
}

#[test]
fn a_model_that_fails_its_self_test_is_rolled_back() {
    let models = Models { random: 12, bytes: 700 };
    let (chip, mut store) = device(&models);
    assert_eq!(send(&mut store, &models.image(2), false, &Anyone), Ok(700));
    let mut asked = Vec::new();
    let mut store = Store::open(chip.clone()).expect("it opens");
    let running = store.start(|_, place, question| {
        asked.push((place.header.version, question));
        question == CheckLevel::Loads
    });
    assert_eq!(running.expect("it reads").map(|place| place.header.version), Some(1));
    assert_eq!(asked, [(2, CheckLevel::PassesItsTest), (1, CheckLevel::Loads)]);
    assert_eq!(store.state().failed, Some(2));
    // It is not tried again, and the same version may be sent again.
    assert_eq!(models.start(&chip), Some(1));
    assert_eq!(models.update(&chip, 2), Some(2));
}

#[test]
fn a_model_at_which_the_device_hangs_is_rolled_back() {
    let models = Models { random: 13, bytes: 700 };
    let (chip, mut store) = device(&models);
    assert_eq!(send(&mut store, &models.image(2), false, &Anyone), Ok(700));
    let mut tries = 0;
    loop {
        // The watchdog resets the device within the self-test, before there is a result.
        let mut store = Store::open(chip.clone()).expect("it opens");
        let mut hung = false;
        let started = store.start(|chip, place, question| {
            hung = question == CheckLevel::PassesItsTest;
            chip.power.left.set(hung.then_some(0));
            models.good(chip, place)
        });
        chip.power.left.set(None);
        if !hung {
            let version = started.expect("it reads").map(|place| place.header.version);
            assert_eq!(version, Some(1));
            break;
        }
        tries += 1;
        assert!(tries < 10, "it hangs for ever");
    }
    assert_eq!(tries, 3);
}

#[test]
fn a_trial_lasts_until_the_next_start() {
    let models = Models { random: 14, bytes: 700 };
    let (chip, mut store) = device(&models);
    assert_eq!(store.confirm(), Err(Refusal::NothingToConfirm));
    for (confirmed, then) in [(false, 1), (true, 2)] {
        assert_eq!(send(&mut store, &models.image(2), true, &Anyone), Ok(700));
        store = Store::open(chip.clone()).expect("it opens");
        let running = store.start(|chip, place, _| models.good(chip, place)).expect("it reads");
        assert_eq!(running.map(|place| place.header.version), Some(2));
        assert_eq!(store.state().candidate, Some(Candidate::Trial));
        let refused = store.begin(&models.image(3).0.encode(), &Anyone);
        assert_eq!(refused, Err(Refusal::OnTrial));
        if confirmed {
            assert_eq!(store.confirm(), Ok(()));
        }
        assert_eq!(models.start(&chip), Some(then));
        store = Store::open(chip.clone()).expect("it opens");
        store.start(|chip, place, _| models.good(chip, place)).expect("it reads");
    }
}

#[test]
fn corrupted_model_falls_back_to_the_previous_one() {
    let models = Models { random: 15, bytes: 700 };
    let (chip, mut store) = device(&models);
    assert_eq!(send(&mut store, &models.image(2), false, &Anyone), Ok(700));
    assert_eq!(models.start(&chip), Some(2));
    let mut store = Store::open(chip.clone()).expect("it opens");
    let place = store.start(|chip, place, _| models.good(chip, place)).expect("it reads");
    let place = place.expect("a model runs");
    chip.bytes.borrow_mut()[place.model_at as usize + 300] ^= 1;
    assert_eq!(models.start(&chip), Some(1));
    assert_eq!(models.update(&chip, 2), None, "its version was confirmed once");
    assert_eq!(models.update(&chip, 3), Some(3));
}

fn signed(models: &Models, version: u32, pair: &ed25519_compact::KeyPair) -> (Header, Vec<u8>) {
    let (mut header, body) = models.image(version);
    let key = *pair.pk;
    header.signature = Some(Signature { key, bytes: [0; 64] });
    let mut message = header.encode()[..SIGNED_BYTES].to_vec();
    message.extend(&body);
    header.signature = Some(Signature { key, bytes: *pair.sk.sign(message, None) });
    (header, body)
}

#[test]
fn a_pinned_key_refuses_unsigned_foreign_and_changed_models() {
    let models = Models { random: 16, bytes: 900 };
    let pair = |byte| ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new([byte; 32]));
    let (own, other) = (pair(1), pair(2));
    let pinned = Pinned(*own.pk);
    let (_, mut store) = device(&models);
    let mut send = |image| send(&mut store, &image, false, &pinned);
    assert_eq!(send(models.image(2)), Err(Refusal::Unsigned));
    assert_eq!(send(signed(&models, 2, &other)), Err(Refusal::ForeignKey));
    // Another key's signature, with the pinned key in the header.
    let (mut header, body) = signed(&models, 2, &other);
    header.signature.as_mut().expect("it is signed").key = *own.pk;
    assert_eq!(send((header, body)), Err(Refusal::Signature));
    // A body and a version that were not signed.
    let (mut header, mut body) = signed(&models, 2, &own);
    body[17] ^= 1;
    header.body_crc = crc32_of(&body);
    assert_eq!(send((header, body)), Err(Refusal::Signature));
    let (mut header, body) = signed(&models, 2, &own);
    header.version = 9;
    assert_eq!(send((header, body)), Err(Refusal::Signature));
    assert_eq!(send(signed(&models, 2, &own)), Ok(900));
}

#[test]
fn rejects_an_enrolled_model_over_the_line() {
    let models = Models { random: 17, bytes: 900 };
    let (_, mut store) = device(&models);
    let (header, _) = models.image(2);
    let enrolled = Header { enrolled: true, ..header };
    assert_eq!(store.begin(&enrolled.encode(), &Anyone), Err(Refusal::Header));
}

/// A device on a line, and a host that sends requests.
struct Line {
    session: Session<Anyone>,
    store: Store<Chip<4, 1024>>,
    replies: Vec<u8>,
}

impl Line {
    fn send(&mut self, bytes: &[u8]) -> Option<Action> {
        let Self { session, store, replies } = self;
        let mut action = None;
        for &byte in bytes {
            action = session
                .push(byte, (&mut *store, &(), &mut ()), |frame| replies.extend(frame))
                .or(action);
        }
        action
    }

    fn ask(&mut self, tag: u8, request: &Request<'_>) {
        let (mut payload, mut out) = ([0; MAX_PAYLOAD], [0; MAX_FRAME]);
        let payload = message::encode(request, &mut payload).expect("it fits");
        let frame = frame::write(tag, payload, &mut out).expect("it fits").to_vec();
        self.send(&frame);
    }

    /// Returns the replies so far, as text.
    fn replies(&mut self) -> Vec<(u8, String)> {
        let mut deframer = Deframer::default();
        let mut all = Vec::new();
        for byte in std::mem::take(&mut self.replies) {
            deframer.push(byte);
            while let Some(frame) = deframer.frame() {
                let reply: Reply<'_> = message::decode(frame.payload).expect("a reply");
                all.push((frame.tag, format!("{reply:?}")));
            }
        }
        all
    }
}

#[test]
fn requests_are_answered_under_their_tags() {
    let models = Models { random: 18, bytes: 300 };
    let (_, store) = device(&models);
    let session = Session::new("test board", Anyone);
    let mut line = Line { session, store, replies: Vec::new() };
    let (header, body) = models.image(2);
    line.send(b"detection 1 2 3 hey\n");
    line.ask(1, &Request::Begin(&header.encode()));
    line.ask(2, &Request::Data { offset: 0, bytes: &body[..CHUNK_BYTES] });
    // The reply was lost, so the host repeats the request.
    line.ask(3, &Request::Data { offset: 0, bytes: &body[..CHUNK_BYTES] });
    line.ask(4, &Request::Data { offset: 999, bytes: &body[CHUNK_BYTES..] });
    line.ask(5, &Request::Finish { trial: false });
    line.ask(6, &Request::Data { offset: CHUNK_BYTES as u32, bytes: &body[CHUNK_BYTES..] });
    line.ask(7, &Request::Finish { trial: false });
    let expected = [
        (1, "Done { received: 0 }"),
        (2, "Done { received: 256 }"),
        (3, "Done { received: 256 }"),
        (4, "Refused(Offset { expected: 256 })"),
        (5, "Refused(Offset { expected: 256 })"),
        (6, "Done { received: 300 }"),
        (7, "Done { received: 300 }"),
    ];
    assert_eq!(line.replies(), expected.map(|(tag, text)| (tag, text.to_owned())));
    line.ask(8, &Request::Info);
    let info = line.replies().pop().expect("a reply").1;
    assert!(info.contains("test board") && info.contains("Pending"), "{info}");
}

/// Returns well-formed but senseless requests, damaged frames, or noise.
fn nonsense(random: &mut Random, models: &Models) -> Vec<u8> {
    let mut payload = [0; MAX_PAYLOAD];
    let mut out = [0; MAX_FRAME];
    let noise = random.below(280);
    let noise = random.bytes(noise);
    let payload = match random.below(8) {
        0 => return noise,
        1 => &noise[..noise.len().min(MAX_PAYLOAD)],
        kind => {
            let mut header = models.image(2 + random.bits() as u32 % 3).0.encode().to_vec();
            if random.below(2) == 0 {
                let at = random.below(header.len());
                header[at] = random.bits() as u8;
            }
            let offset = CHUNK_BYTES as u32 * (random.below(6) as u32);
            let bytes = &noise[..noise.len().min(CHUNK_BYTES)];
            let request = match kind {
                2 => Request::Info,
                3 => Request::Begin(&header),
                4 => Request::Begin(bytes),
                5 => Request::Data { offset, bytes },
                6 => Request::Finish { trial: random.below(2) == 0 },
                _ => Request::Confirm,
            };
            message::encode(&request, &mut payload).expect("it fits")
        }
    };
    let frame = frame::write(random.bits() as u8, payload, &mut out).expect("it fits");
    let mut frame = frame.to_vec();
    match random.below(4) {
        0 => {
            let at = random.below(frame.len());
            frame[at] ^= 1 << random.below(8);
        }
        1 => frame.truncate(random.below(frame.len())),
        _ => {}
    }
    frame
}

#[test]
fn random_bytes_yield_errors_and_change_no_model() {
    let cases = count("WAKELING_FUZZ_CASES", 60_000);
    let models = Models { random: 19, bytes: 1_500 };
    let (chip, store) = device(&models);
    let session = Session::new("fuzzed", Anyone);
    let mut line = Line { session, store, replies: Vec::new() };
    let mut random = Random(0xF0221E5);
    let mut refused = 0;
    for case in 0..cases {
        line.send(&nonsense(&mut random, &models));
        if case % 1_000 == 0 {
            let replies = line.replies();
            refused += replies.iter().filter(|(_, text)| text.starts_with("Refused")).count();
            assert_eq!(models.start(&chip), Some(1), "case {case}");
        }
    }
    assert!(refused > 0);
    // The device still accepts a valid package.
    line.send(&[0; MAX_FRAME]);
    assert_eq!(send(&mut line.store, &models.image(2), false, &Anyone), Ok(1_500));
    assert_eq!(models.start(&chip), Some(2));
    eprintln!("{cases} cases of nonsense; version 1 woke after each thousand");
}

#[test]
fn a_flash_in_ram_does_as_well() {
    use wakeling_shared::update::ram::RamFlash;
    let models = Models { random: 20, bytes: 1_000 };
    let mut words = vec![u64::MAX; 1_024];
    let mut store = Store::open(RamFlash::<4, 512>::new(&mut words)).expect("it opens");
    assert_eq!(store.start(|_, _, _| true).expect("it reads"), None);
    assert_eq!(send(&mut store, &models.image(1), false, &Anyone), Ok(1_000));
    let place = store.start(|_, _, _| true).expect("it reads").expect("a model runs");
    let body = store.flash().mapped(place.model_at, place.header.body_bytes());
    assert_eq!(body, models.body(1));
    assert!(RamFlash::<4, 512>::new(&mut [0; 64]).mapped(500, 100).is_empty());
    let mut small = [0; 128];
    assert!(Store::open(RamFlash::<4, 512>::new(&mut small)).is_err());
}
