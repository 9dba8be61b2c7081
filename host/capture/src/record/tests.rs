use std::collections::VecDeque;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;
use crate::view::Glyphs;

/// Microphone that plays a script, 40 ms at a time, and is then gone.
struct Script(VecDeque<i16>);

impl Script {
    fn new(parts: &[(f64, i16)]) -> Self {
        let mut rng = StdRng::seed_from_u64(1);
        let mut sound = VecDeque::new();
        for &(seconds, peak) in parts {
            let count = (seconds * 16_000.0) as usize;
            sound.extend((0..count).map(|_| rng.random_range(-peak..=peak)));
        }
        Self(sound)
    }
}

impl Microphone for Script {
    fn name(&self) -> &str {
        "a script"
    }

    fn read(&mut self, patience: Duration) -> Result<Vec<i16>> {
        if patience.is_zero() {
            return Ok(Vec::new());
        }
        if self.0.is_empty() {
            let name = "a script".to_owned();
            return Err(Error::Disconnected { name, reason: "it has ended".into() });
        }
        Ok(self.0.drain(..640.min(self.0.len())).collect())
    }

    fn has_gaps(&mut self) -> bool {
        false
    }
}

/// Loudspeaker that counts the samples it is given.
struct ScoredClips(usize);

impl Loudspeaker for ScoredClips {
    fn play(&mut self, pcm: &[i16]) -> Result<()> {
        self.0 += pcm.len();
        Ok(())
    }
}

/// Loudspeaker that fails.
struct Missing;

impl Loudspeaker for Missing {
    fn play(&mut self, _: &[i16]) -> Result<()> {
        Err(Error::NoLoudspeaker)
    }
}

/// Screen that answers questions with its next key, and stores every view that differs.
#[derive(Default)]
struct Keys {
    keys: VecDeque<Key>,
    seen: Vec<String>,
    is_question: bool,
    bells: usize,
}

impl Keys {
    fn new(keys: &[Key]) -> Self {
        Self { keys: keys.iter().copied().collect(), ..Self::default() }
    }
}

impl Screen for Keys {
    fn show(&mut self, view: &View) -> Result<()> {
        self.is_question = view.is_question;
        let lines: Vec<String> = View { level: None, ..view.clone() }
            .lay_out(76, Glyphs::ASCII)
            .iter()
            .map(Line::text)
            .filter(|line| !line.is_empty())
            .collect();
        let text = lines.join(" / ");
        if self.seen.last() != Some(&text) {
            self.seen.push(text);
        }
        Ok(())
    }

    fn key(&mut self, _: Duration) -> Result<Option<Key>> {
        Ok(if self.is_question { Some(self.keys.pop_front().unwrap_or(Key::End)) } else { None })
    }

    fn ask(&mut self, _: &str, _: &str) -> Result<Option<String>> {
        Ok(Some("Bo".into()))
    }

    fn bell(&mut self) -> Result<()> {
        self.bells += 1;
        Ok(())
    }
}

const GOOD: [(f64, i16); 3] = [(2.0, 40), (0.8, 9_000), (1.4, 40)];

fn plan(takes: usize) -> Plan {
    Plan { phrase: "hey you".into(), takes, speaker: "Ana".into(), keep_good: false, quiet: true }
}

/// Runs a session in `place`; returns its result, what was played and what was shown.
fn session(
    place: &std::path::Path,
    sound: &[(f64, i16)],
    keys: &[Key],
    plan: &Plan,
) -> (Result<Summary>, usize, Vec<String>) {
    run(Folder::open(place, "take", &ClipMetadata::default()).unwrap(), sound, keys, plan)
}

fn run(
    mut folder: Folder,
    sound: &[(f64, i16)],
    keys: &[Key],
    plan: &Plan,
) -> (Result<Summary>, usize, Vec<String>) {
    let (mut microphone, mut scored, mut screen) =
        (Script::new(sound), ScoredClips(0), Keys::new(keys));
    let mut devices =
        Devices { microphone: &mut microphone, loudspeaker: &mut scored, screen: &mut screen };
    let outcome = record(&mut devices, &mut folder, plan);
    (outcome, scored.0, screen.seen)
}

#[test]
fn a_session_keeps_redoes_plays_and_names() {
    let place = tempfile::tempdir().unwrap();
    let sound = [GOOD, GOOD, GOOD].concat();
    let keys = [
        Key::Enter, // starts
        Key::Char('p'),
        Key::Char('k'),
        Key::Char('r'), // the second, again
        Key::Char('s'),
        Key::Enter,
    ];
    let (outcome, scored, mut seen) = session(place.path(), &sound, &keys, &plan(2));
    assert_eq!(outcome.unwrap(), Summary { kept: 2, total: 2 });
    assert!((20_000..26_000).contains(&scored), "{scored}");
    // The length and peak of a take are tested with `Take`.
    let (metadata, advice) = seen[6].split_once(": good").unwrap();
    assert!(metadata.contains("0.8") && metadata.ends_with("peak -11 dB"), "{metadata}");
    seen[6] = format!("FACTS: good{advice}");
    assert_eq!(
        seen[..8],
        [
            "\"hey you\" · take 1 of 2 · Ana / Say it as you would say it every day. / Listening to a script. A countdown comes first. / enter starts · s speaker · q stops",
            "\"hey you\" · take 1 of 2 · Ana / Say it as you would say it every day. / 3 … / space pauses · q stops",
            "\"hey you\" · take 1 of 2 · Ana / Say it as you would say it every day. / 2 … / space pauses · q stops",
            "\"hey you\" · take 1 of 2 · Ana / Say it as you would say it every day. / 1 … / space pauses · q stops",
            "\"hey you\" · take 1 of 2 · Ana / Say it as you would say it every day. / NOW / space pauses · q stops",
            "\"hey you\" · take 1 of 2 · Ana / Say it as you would say it every day. / NOW · detected / space pauses · q stops",
            "FACTS: good / enter or k keeps · r again · p plays · s speaker · q stops",
            "\"hey you\" · take 2 of 2 · Ana / Say it close to the microphone, a hand's width away. / 3 … / space pauses · q stops",
        ]
    );
    let folder = Folder::open(place.path(), "take", &ClipMetadata::default()).unwrap();
    let metadata: Vec<_> =
        folder.kept().iter().map(|k| (&*k.metadata.speaker, &*k.metadata.style)).collect();
    assert_eq!(metadata, [("Ana", "plain"), ("Bo", "near")]);
}

#[test]
fn saved_takes_survive_a_lost_microphone_and_the_next_run_continues() {
    let place = tempfile::tempdir().unwrap();
    let automatic = Plan { keep_good: true, ..plan(3) };
    // The second take ends within the phrase.
    let sound = [&GOOD[..], &[(2.0, 40), (0.3, 9_000)]].concat();
    let (outcome, ..) = session(place.path(), &sound, &[], &automatic);
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    // The third take comes from across the room, after a longer countdown.
    let far = [(8.5, 40), GOOD[1], GOOD[2]];
    let (outcome, ..) = session(place.path(), &[GOOD, far].concat(), &[], &automatic);
    assert_eq!(outcome.unwrap(), Summary { kept: 2, total: 3 });
    let (outcome, ..) = session(place.path(), &[], &[], &automatic);
    assert_eq!(outcome.unwrap(), Summary { kept: 0, total: 3 });
}

#[test]
fn far_takes_leave_time_to_go_there_and_back() {
    let place = tempfile::tempdir().unwrap();
    let automatic = Plan { keep_good: true, ..plan(5) };
    let far = [(8.5, 40), GOOD[1], GOOD[2]];
    let sound = [GOOD, GOOD, far, far, GOOD].concat();
    let (outcome, _, seen) = session(place.path(), &sound, &[], &automatic);
    assert_eq!(outcome.unwrap().kept, 5);
    let counts = |style: &str, count: &str| {
        seen.iter().any(|s| s.contains(style) && s.contains(&format!("/ {count} …")))
    };
    assert!(counts("from across the room. Walk there during the 8 s countdown.", "8"), "{seen:#?}");
    assert!(counts("fast", "8") && !counts("slowly", "4") && counts("slowly", "3"), "{seen:#?}");
}

#[test]
fn a_sound_marks_when_the_phrase_is_due_unless_it_is_switched_off() {
    let signals = |quiet: bool, loudspeaker: &mut dyn Loudspeaker| {
        let place = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(place.path(), "take", &ClipMetadata::default()).unwrap();
        let (mut microphone, mut screen) = (Script::new(&[GOOD, GOOD].concat()), Keys::default());
        let mut devices = Devices { microphone: &mut microphone, loudspeaker, screen: &mut screen };
        let plan = Plan { keep_good: true, quiet, ..plan(2) };
        let summary = record(&mut devices, &mut folder, &plan).unwrap();
        assert_eq!(summary.kept, 2);
        screen.bells
    };
    let mut scored = ScoredClips(0);
    assert_eq!((signals(false, &mut scored), scored.0), (0, 2 * tone().len()));
    assert_eq!(signals(false, &mut Missing), 2);
    let mut scored = ScoredClips(0);
    assert_eq!((signals(true, &mut scored), scored.0), (0, 0));
    assert_eq!(signals(true, &mut Missing), 0);
}

#[test]
fn a_bad_take_is_done_again_unless_it_is_wanted() {
    let place = tempfile::tempdir().unwrap();
    let quiet = [(2.0, 2), (0.8, 300), (1.4, 2)];
    let keys = [Key::Enter, Key::Enter, Key::Char('k')];
    let sound = [quiet, quiet].concat();
    let (outcome, _, seen) = session(place.path(), &sound, &keys, &plan(1));
    assert_eq!(outcome.unwrap(), Summary { kept: 1, total: 1 });
    assert_eq!(
        seen.iter().filter(|s| s.contains("too quiet") && s.contains("enter or r")).count(),
        2
    );
}

#[test]
fn silence_ends_an_unattended_session() {
    let place = tempfile::tempdir().unwrap();
    let automatic = Plan { keep_good: true, ..plan(3) };
    let (outcome, ..) = session(place.path(), &[(60.0, 2)], &[], &automatic);
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("no sound in 5 takes"), "{error}");
    let keys = [Key::Enter, Key::Char('q')];
    let (outcome, _, seen) = session(place.path(), &[(60.0, 2)], &keys, &plan(3));
    assert_eq!(outcome.unwrap().kept, 0);
    assert!(seen.iter().any(|s| s.contains("No sound was recorded")));
}

#[cfg(unix)]
#[test]
fn a_full_disk_loses_no_take() {
    let place = tempfile::tempdir().unwrap();
    let manifest = place.path().join("manifest.jsonl");
    let full = || {
        let _ = std::fs::remove_file(&manifest);
        let folder = Folder::open(place.path(), "take", &ClipMetadata::default()).unwrap();
        std::os::unix::fs::symlink("/dev/full", &manifest).unwrap();
        folder
    };
    let keys = [Key::Enter, Key::Enter, Key::Char('q')];
    let (outcome, _, seen) = run(full(), &GOOD, &keys, &plan(1));
    assert_eq!(outcome.unwrap().kept, 0);
    let last = seen.last().unwrap();
    assert!(last.contains("cannot write") && last.contains("enter or k keeps"), "{last}");
    let automatic = Plan { keep_good: true, ..plan(1) };
    let (outcome, ..) = run(full(), &GOOD, &[], &automatic);
    assert!(matches!(outcome.unwrap_err(), Error::Core(wakeling_core::Error::Io { .. })));
}

#[test]
fn room_sound_is_saved_in_files_and_continued() {
    let place = tempfile::tempdir().unwrap();
    let run = |seconds: f64, minutes: f64| {
        let mut folder = Folder::open(place.path(), "room", &ClipMetadata::default()).unwrap();
        let mut microphone = Script::new(&[(seconds, 500)]);
        let mut devices = Devices {
            microphone: &mut microphone,
            loudspeaker: &mut ScoredClips(0),
            screen: &mut Keys::default(),
        };
        record_room(&mut devices, &mut folder, minutes)
    };
    // The microphone is gone after 40 s of a minute, so 30 s and 10 s are kept.
    assert!(run(40.0, 1.0).is_err());
    assert!((run(60.0, 1.0).unwrap() - 20.0).abs() < 0.05);
    let folder = Folder::open(place.path(), "room", &ClipMetadata::default()).unwrap();
    let lengths: Vec<f64> = folder.kept().iter().map(|k| k.duration_s.round()).collect();
    assert_eq!(lengths, [30.0, 10.0, 20.0]);
}
