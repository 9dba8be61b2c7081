use std::path::Path;

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use super::*;
use wakeling_audio::{
    features::{FrontendTables, NormalizationKind},
    write_wav,
};
use wakeling_core::progress::NoProgress;

const RATE: f64 = 16_000.0;

/// Noise of the given peak, as in a room.
fn noise(seconds: f64, peak: i16, rng: &mut impl Rng) -> Vec<i16> {
    (0..(seconds * RATE) as usize).map(|_| rng.random_range(-peak..=peak)).collect()
}

/// Word as the frequencies of two formants for each syllable, in Hz.
type Word = [[f64; 2]; 4];

const HEY: Word = [[500.0, 2_200.0], [400.0, 900.0], [700.0, 1_200.0], [300.0, 2_600.0]];
const OTHERS: [Word; 4] = [
    [[300.0, 2_600.0], [300.0, 800.0], [800.0, 1_400.0], [600.0, 1_900.0]],
    [[700.0, 1_100.0], [350.0, 2_300.0], [450.0, 850.0], [400.0, 2_000.0]],
    [[400.0, 900.0], [750.0, 1_300.0], [300.0, 2_400.0], [550.0, 1_000.0]],
    [[600.0, 1_700.0], [650.0, 1_200.0], [320.0, 750.0], [300.0, 2_700.0]],
];

/// Take of a word: harmonics under formants, with the speaker's tempo, pitch and peak.
fn utterance(word: Word, peak: f64, rng: &mut impl Rng) -> Vec<i16> {
    let (tempo, pitch) = (rng.random_range(0.85..1.15), rng.random_range(100.0..220.0f64));
    let mut pcm = Vec::new();
    for formants in word {
        let samples = (0.16 * tempo * RATE) as usize;
        for i in 0..samples {
            let t = i as f64 / RATE;
            let fade = (std::f64::consts::PI * i as f64 / samples as f64).sin();
            let harmonic = |n: usize| {
                let hz = pitch * n as f64;
                let near = |f: f64| (-((hz - f) / 150.0).powi(2)).exp();
                (near(formants[0]) + 0.6 * near(formants[1]))
                    * (hz * t * std::f64::consts::TAU).sin()
            };
            let sum: f64 = (1..30).map(harmonic).sum();
            pcm.push((peak * fade * sum / 2.0).clamp(-32_768.0, 32_767.0) as i16);
        }
    }
    pcm
}

/// Words with pauses of a quiet room around them.
fn with_pauses(words: &[Word], pause_s: f64, rng: &mut impl Rng) -> Vec<i16> {
    let mut pcm = noise(pause_s, 20, rng);
    for &word in words {
        pcm.extend(utterance(word, 9_000.0, rng));
        let pause = pause_s * rng.random_range(0.9..1.3);
        pcm.extend(noise(pause, 20, rng));
    }
    pcm
}

/// Writes sounds as files of a folder, and checks them.
fn checked(files: &[(&str, Vec<i16>)], purpose: Purpose) -> (tempfile::TempDir, Checked) {
    let folder = tempfile::tempdir().unwrap();
    let example = |(name, pcm): &(&str, Vec<i16>)| {
        let path = folder.path().join(name);
        write_wav(&path, pcm).unwrap();
        Example::unlabelled(path)
    };
    let examples: Vec<Example> = files.iter().map(example).collect();
    let tables = FrontendTables::default();
    let checked = check(&examples, &tables.params(NormalizationKind::Log), purpose, &NoProgress);
    (folder, checked)
}

fn good(rng: &mut impl Rng) -> Vec<i16> {
    with_pauses(&[HEY], 0.5, rng)
}

#[test]
fn takes_without_a_usable_phrase_are_left_out_by_name() {
    let rng = &mut StdRng::seed_from_u64(1);
    let room = |peak, rng: &mut StdRng| noise(2.0, peak, rng);
    let quiet: Vec<i16> = good(rng).iter().map(|s| s / 400).collect();
    let loud: Vec<i16> = good(rng).iter().map(|s| s.saturating_mul(40)).collect();
    let offset: Vec<i16> = noise(2.0, 1, rng).iter().map(|s| s + 700).collect();
    let files = [
        ("good.wav", good(rng)),
        ("zero.wav", vec![0; 24_000]),
        ("offset.wav", offset),
        ("muted.wav", room(2, rng)),
        ("fan.wav", room(900, rng)),
        ("quiet.wav", quiet),
        ("loud.wav", loud),
        ("short.wav", vec![9; 200]),
    ];
    let (folder, checked) = checked(&files, Purpose::Train);
    assert_eq!(checked.takes.len(), 1, "{:?}", checked.left_out);
    assert_eq!(checked.takes[0].example.path, folder.path().join("good.wav"));
    let found: Vec<(&str, TakeProblem)> = checked
        .left_out
        .iter()
        .map(|l| (l.path.file_name().unwrap().to_str().unwrap(), l.problem))
        .collect();
    use TakeProblem::{Clipped, NoPhrase, Silent, TooQuiet};
    let expected = [
        ("zero.wav", Silent),
        ("offset.wav", Silent),
        ("muted.wav", Silent),
        ("fan.wav", NoPhrase),
        ("quiet.wav", TooQuiet),
        ("loud.wav", Clipped),
        ("short.wav", Silent),
    ];
    assert_eq!(found, expected);
    let line = checked.left_out[0].to_string();
    assert!(line.contains("zero.wav: digital silence") && line.contains("muted"), "{line}");
    assert!(checked.refusal("x").is_none());
}

#[test]
fn a_muted_microphone_is_named_when_nothing_is_left() {
    let silent = |name| (name, vec![0; 16_000]);
    let (_folder, checked) = checked(&[silent("1.wav"), silent("2.wav")], Purpose::Train);
    let error = checked.refusal("takes").unwrap();
    assert!(matches!(error, Error::NoUsableTake { most: TakeProblem::Silent, .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("2 silent"), "{message}");
    assert!(Checked::default().refusal("takes").unwrap().to_string().contains("empty"));
}

#[test]
fn recordings_to_measure_with_may_be_quiet_and_not_silent() {
    let rng = &mut StdRng::seed_from_u64(2);
    let quiet: Vec<i16> = good(rng).iter().map(|s| s / 400).collect();
    let files = [("quiet.wav", quiet), ("zero.wav", vec![0; 24_000])];
    let (_folder, checked) = checked(&files, Purpose::Test);
    assert_eq!((checked.takes.len(), checked.left_out.len()), (1, 1));
    assert_eq!(checked.left_out[0].problem, TakeProblem::Silent);
}

#[test]
fn weak_recordings_are_used_with_a_warning() {
    let rng = &mut StdRng::seed_from_u64(3);
    let quiet: Vec<i16> = good(rng).iter().map(|s| s / 40).collect();
    let (_folder, checked) = checked(&[("quiet.wav", quiet)], Purpose::Train);
    assert_eq!(checked.takes.len(), 1);
    assert!(checked.notes[0].contains("1 recording is quiet"), "{:?}", checked.notes);
}

#[test]
fn same_sound_under_several_names_counts_once() {
    let rng = &mut StdRng::seed_from_u64(4);
    let (a, b) = (good(rng), good(rng));
    let files = [("a.wav", a.clone()), ("b.wav", b), ("c.wav", a)];
    let (_folder, checked) = checked(&files, Purpose::Train);
    assert_eq!(checked.takes.len(), 2);
    let line = checked.left_out[0].to_string();
    assert!(line.contains("c.wav: the same sound as") && line.contains("a.wav"), "{line}");
}

#[test]
fn a_file_of_several_takes_is_cut() {
    for (takes, pause_s, seed) in [(10, 1.7, 5), (3, 1.2, 6), (6, 1.0, 7), (25, 3.0, 8)] {
        let rng = &mut StdRng::seed_from_u64(seed);
        let files = [("takes.wav", with_pauses(&vec![HEY; takes], pause_s, rng))];
        let seconds = files[0].1.len() as f64 / RATE;
        let (folder, checked) = checked(&files, Purpose::Train);
        assert_eq!(checked.takes.len(), takes, "{:?}", checked.notes);
        let note = format!("takes.wav: {takes} takes found in {seconds:.0} s");
        assert!(checked.notes[0].ends_with(&note), "{:?}", checked.notes);
        // Evaluation reads the same sound that was checked.
        let take = &checked.takes[1];
        let again = take.example.load().unwrap();
        assert_eq!(SoundHash::of(&again), take.hash);
        assert!((0.9..1.7).contains(&(again.len() as f64 / RATE)), "{}", again.len());
        assert_eq!(take.example.path, folder.path().join("takes.wav"));
    }
}

#[test]
fn only_repeated_takes_of_one_phrase_are_cut() {
    let rng = &mut StdRng::seed_from_u64(9);
    let one = [noise(2.5, 20, rng), utterance(HEY, 9_000.0, rng), noise(2.5, 20, rng)].concat();
    assert_eq!(layout(&one), Layout::One);
    // A phrase with a pause of half a second inside.
    let halves = [&HEY[..2], &HEY[2..]].map(|half| half.to_vec());
    let mut pcm = noise(1.8, 20, rng);
    for half in halves {
        let whole = utterance([half[0], half[1], half[0], half[1]], 9_000.0, rng);
        pcm.extend(whole);
        pcm.extend(noise(0.5, 20, rng));
    }
    pcm.extend(noise(1.5, 20, rng));
    assert_eq!(layout(&pcm), Layout::One);

    let odd = |pcm: &[i16]| match layout(pcm) {
        Layout::Odd(what) => what,
        other => panic!("{other:?}"),
    };
    // A list of words, a sentence without pauses, and a phrase with a door.
    let list = with_pauses(&OTHERS, 1.2, rng);
    assert!(odd(&list).contains("do not sound alike"), "{}", odd(&list));
    let sentence: Vec<i16> = OTHERS.iter().flat_map(|&w| utterance(w, 9_000.0, rng)).collect();
    let sentence = [sentence.clone(), sentence].concat();
    assert!(odd(&[noise(0.5, 20, rng), sentence, noise(0.5, 20, rng)].concat()).contains("pause"));
    // A phrase with a pause inside, several times.
    let halves = [HEY, OTHERS[0], HEY, OTHERS[0], HEY, OTHERS[0]];
    assert!(odd(&with_pauses(&halves, 0.9, rng)).contains("do not sound alike"));
    let two = with_pauses(&[HEY, OTHERS[0]], 1.5, rng);
    assert!(odd(&two).contains("2 stretches"), "{}", odd(&two));
    assert_eq!(layout(&[]), Layout::One);
    assert_eq!(layout(&vec![0; 200_000]), Layout::One);
}

/// Returns the sounds of a folder of the demo, without the quiet around them.
fn demo(folder: &str) -> Vec<Vec<i16>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../demo").join(folder);
    let examples = crate::dataset::Dataset::open(path).unwrap().examples;
    examples.iter().map(|example| example.load().unwrap()).collect()
}

#[test]
fn voices_of_one_phrase_are_alike_and_sentences_are_not() {
    let near = |sounds: &[Vec<i16>]| {
        let sounds: Vec<&[i16]> = sounds.iter().map(Vec::as_slice).collect();
        alike::nearness(&sounds).unwrap()
    };
    let (train, talk) = (demo("train"), demo("talk"));
    // Each take has a different voice, which is the hardest case.
    let phrases: Vec<f32> = train.chunks(4).map(near).collect();
    // Parts of sentences, as long as the phrase.
    let parts: Vec<Vec<i16>> =
        talk.iter().filter(|t| t.len() > 30_000).map(|t| t[8_000..24_000].to_vec()).collect();
    let sentences: Vec<f32> = parts.chunks_exact(4).map(near).collect();
    eprintln!("phrases {phrases:.2?}, sentences {sentences:.2?}");
    let most = phrases.iter().fold(0f32, |a, &b| a.max(b));
    let least = sentences.iter().fold(f32::MAX, |a, &b| a.min(b));
    assert!(most < least && least > 0.88, "{most} {least}");
}
