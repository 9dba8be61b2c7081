//! Phonetic distance between two phrases: phones as articulatory features, and an edit distance
//! over them.
//!
//! Tokens are those of [`Tokenizer`](crate::tokens::Tokenizer): IPA phones, Mandarin initials,
//! finals and tones (`zh:b`, `zh:ei`, `zh:3`), or plain letters. Each token becomes one or more
//! segments. A diphthong or an affricate becomes two, so that shared parts count as shared.
//!
//! A consonant has a place (0 the lips … 1 the glottis), a manner and a voice. A vowel has a height
//! (0 close … 1 open), a backness (0 front … 1 back) and rounding. The weights follow confusions in
//! listening tests (Miller and Nicely 1955: place first, voice and nasality last). They are chosen
//! by hand, not fitted.

/// Manner of articulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Plosive,
    Fricative,
    Nasal,
    Lateral,
    Approximant,
}

/// Segment of a phone, by its features.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Segment {
    /// Consonant, such as `b`, `s` or `ŋ`.
    #[doc(hidden)]
    Consonant(Consonant),
    /// Vowel, such as `i`, `ɑ` or `ə`.
    #[doc(hidden)]
    Vowel(Vowel),
    /// Mandarin tone, 1 to 4, or 5 for the neutral tone.
    Tone(u8),
    /// Symbol that is not in the tables.
    Unknown(char),
}

/// Features of a consonant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Consonant {
    place: f32,
    manner: Manner,
    is_voiced: bool,
}

/// Features of a vowel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vowel {
    height: f32,
    backness: f32,
    is_rounded: bool,
}

/// Weight of the full distance from lips to glottis.
const PLACE: f32 = 0.6;
/// Weight of a different manner.
const MANNER: f32 = 0.4;
/// Weight of a different voice.
const VOICE: f32 = 0.25;
/// Weight of the full distance from close to open.
const HEIGHT: f32 = 0.6;
/// Weight of the full distance from front to back.
const BACKNESS: f32 = 0.35;
/// Weight of different rounding.
const ROUNDING: f32 = 0.1;
/// Weight of a different tone, for which the pitch changes but not the spectrum.
const TONE: f32 = 0.3;
/// Cost of an inserted or deleted segment.
const GAP: f32 = 0.65;
/// Cost of an inserted or deleted segment that is often optional: schwa, h, glottal stop, tones.
const WEAK_GAP: f32 = 0.35;
/// Cost of replacing a glide by its vowel.
const GLIDE: f32 = 0.25;

const CONSONANTS: [(&str, f32, Manner, bool); 21] = [
    ("p", 0.0, Manner::Plosive, false),
    ("b", 0.0, Manner::Plosive, true),
    ("t", 0.35, Manner::Plosive, false),
    ("dɾ", 0.35, Manner::Plosive, true),
    ("kqc", 0.8, Manner::Plosive, false),
    ("ɡg", 0.8, Manner::Plosive, true),
    ("ʔ", 1.0, Manner::Plosive, false),
    ("fɸ", 0.1, Manner::Fricative, false),
    ("vβ", 0.1, Manner::Fricative, true),
    ("θ", 0.2, Manner::Fricative, false),
    ("ð", 0.2, Manner::Fricative, true),
    ("s", 0.35, Manner::Fricative, false),
    ("z", 0.35, Manner::Fricative, true),
    ("ʃɕʂç", 0.5, Manner::Fricative, false),
    ("ʒʑʐ", 0.5, Manner::Fricative, true),
    ("xhχħ", 0.9, Manner::Fricative, false),
    ("ɣʁ", 0.85, Manner::Fricative, true),
    ("m", 0.0, Manner::Nasal, true),
    ("nɲ", 0.35, Manner::Nasal, true),
    ("ŋ", 0.8, Manner::Nasal, true),
    ("lɫɬʎ", 0.35, Manner::Lateral, true),
];
/// Approximants that resemble a vowel, with that vowel.
const GLIDES: [(&str, f32, Vowel); 3] = [
    ("j", 0.65, Vowel { height: 0.0, backness: 0.0, is_rounded: false }),
    ("wʋ", 0.05, Vowel { height: 0.0, backness: 1.0, is_rounded: true }),
    ("ɹɻr", 0.45, Vowel { height: 0.5, backness: 0.5, is_rounded: false }),
];
const VOWELS: [(&str, f32, f32, bool); 19] = [
    ("i", 0.0, 0.0, false),
    ("y", 0.0, 0.0, true),
    ("ɪᵻɨ", 0.15, 0.15, false),
    ("ʉ", 0.0, 0.5, true),
    ("uɯ", 0.0, 1.0, true),
    ("ʊ", 0.15, 0.85, true),
    ("e", 0.35, 0.0, false),
    ("ø", 0.35, 0.0, true),
    ("ɤ", 0.35, 1.0, false),
    ("o", 0.35, 1.0, true),
    ("əɘ", 0.5, 0.5, false),
    ("ɚɝ", 0.5, 0.5, true),
    ("ɛ", 0.65, 0.05, false),
    ("œ", 0.65, 0.05, true),
    ("ɜ", 0.6, 0.5, false),
    ("ʌɐ", 0.7, 0.7, false),
    ("ɔ", 0.65, 1.0, true),
    ("æ", 0.85, 0.1, false),
    ("aɑɒ", 1.0, 0.7, false),
];
/// Mandarin initials whose letters have another meaning in IPA. `ʰ` is left out, since voice in the
/// table separates `b` from `p` as well.
const INITIALS: [(&str, &str); 11] = [
    ("zh", "dʐ"),
    ("ch", "tʂ"),
    ("sh", "ʂ"),
    ("j", "dʑ"),
    ("q", "tɕ"),
    ("x", "ɕ"),
    ("r", "ʐ"),
    ("z", "dz"),
    ("c", "ts"),
    ("h", "x"),
    ("y", "j"),
];
const FINALS: [(&str, &str); 14] = [
    ("ian", "iɛn"),
    ("iong", "iʊŋ"),
    ("ing", "iŋ"),
    ("ong", "ʊŋ"),
    ("ang", "ɑŋ"),
    ("eng", "əŋ"),
    ("en", "ən"),
    ("iu", "ioʊ"),
    ("ui", "ueɪ"),
    ("un", "uən"),
    ("ao", "ɑʊ"),
    ("er", "əɹ"),
    ("e", "ɤ"),
    ("ue", "yɛ"),
];

impl Segment {
    fn of(symbol: char) -> Self {
        if let Some(&(_, place, manner, is_voiced)) =
            CONSONANTS.iter().find(|(symbols, ..)| symbols.contains(symbol))
        {
            return Self::Consonant(Consonant { place, manner, is_voiced });
        }
        if let Some(&(_, place, _)) = GLIDES.iter().find(|(symbols, ..)| symbols.contains(symbol)) {
            let manner = Manner::Approximant;
            return Self::Consonant(Consonant { place, manner, is_voiced: true });
        }
        match VOWELS.iter().find(|(symbols, ..)| symbols.contains(symbol)) {
            Some(&(_, height, backness, is_rounded)) => {
                Self::Vowel(Vowel { height, backness, is_rounded })
            }
            None => Self::Unknown(symbol),
        }
    }

    /// Returns the cost of an insertion or a deletion, 0 … 1.
    fn gap(self) -> f32 {
        let schwa = |v: Vowel| (v.height - 0.5).abs() < 0.11 && (v.backness - 0.5).abs() < 0.01;
        match self {
            Self::Tone(_) => WEAK_GAP,
            Self::Vowel(vowel) if schwa(vowel) => WEAK_GAP,
            Self::Consonant(Consonant { place, .. }) if place >= 0.9 => WEAK_GAP,
            _ => GAP,
        }
    }

    /// Returns the cost of substituting one segment for the other, 0 … 1.
    fn difference(self, other: Self) -> f32 {
        match (self, other) {
            (a, b) if a == b => 0.0,
            (Self::Consonant(a), Self::Consonant(b)) => {
                let manner = if a.manner == b.manner { 0.0 } else { MANNER };
                let voice = if a.is_voiced == b.is_voiced { 0.0 } else { VOICE };
                (PLACE * (a.place - b.place).abs() + manner + voice).min(1.0)
            }
            (Self::Vowel(a), Self::Vowel(b)) => {
                let rounding = if a.is_rounded == b.is_rounded { 0.0 } else { ROUNDING };
                HEIGHT * (a.height - b.height).abs()
                    + BACKNESS * (a.backness - b.backness).abs()
                    + rounding
            }
            (Self::Consonant(c), Self::Vowel(v)) | (Self::Vowel(v), Self::Consonant(c)) => {
                // No other consonant has the place of a glide.
                match GLIDES.iter().find(|(_, place, _)| *place == c.place) {
                    Some(&(_, _, near)) => {
                        (GLIDE + Self::Vowel(near).difference(Self::Vowel(v))).min(1.0)
                    }
                    None => 1.0,
                }
            }
            (Self::Tone(_), Self::Tone(_)) => TONE,
            _ => 1.0,
        }
    }
}

/// Returns the segments of a token sequence.
pub fn segments(tokens: &[String]) -> Vec<Segment> {
    tokens.iter().flat_map(|token| of_token(token)).collect()
}

fn of_token(token: &str) -> Vec<Segment> {
    let Some(part) = token.strip_prefix("zh:") else {
        let letters = token.chars().filter(|c| c.is_alphabetic() && !"ʰʲʷˠ".contains(*c));
        return letters.map(Segment::of).collect();
    };
    if let Ok(tone) = part.parse() {
        return vec![Segment::Tone(tone)];
    }
    let known = INITIALS.iter().chain(&FINALS).find(|(letters, _)| *letters == part);
    known
        .map_or(part, |(_, ipa)| ipa)
        .chars()
        .map(|c| Segment::of(if c == 'ü' { 'y' } else { c }))
        .collect()
}

/// Returns `true` for every token that is pronounced by itself, which excludes tones.
pub fn is_phone(token: &str) -> bool {
    !matches!(of_token(token)[..], [Segment::Tone(_)] | [])
}

/// Returns `true` if a token has a vowel and so counts as a syllable.
pub fn is_syllable(token: &str) -> bool {
    of_token(token).iter().any(|s| matches!(s, Segment::Vowel(_)))
}

/// Returns the minimum edit cost between two sequences, divided by the longer length: 0 equal, 1
/// nothing in common. A substitution costs the difference of the features. A gap costs 0.65, a weak
/// one 0.35.
///
/// ```
/// use wakeling_data::phrase::phones::{distance, segments};
///
/// let phones = |text: &str| segments(&text.chars().map(String::from).collect::<Vec<_>>());
/// let [bat, pat, sun] = ["bat", "pat", "sun"].map(phones);
/// assert_eq!(distance(&bat, &bat), 0.0);
/// assert!(distance(&bat, &pat) < distance(&bat, &sun));
/// ```
pub fn distance(a: &[Segment], b: &[Segment]) -> f32 {
    let longer = a.len().max(b.len());
    if longer == 0 {
        return 0.0;
    }
    let mut row: Vec<f32> = std::iter::once(0.0)
        .chain(b.iter().scan(0.0, |sum, s| {
            *sum += s.gap();
            Some(*sum)
        }))
        .collect();
    for &from in a {
        let mut diagonal = row[0];
        row[0] += from.gap();
        for (j, &to) in b.iter().enumerate() {
            let substituted = diagonal + from.difference(to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j + 1] + from.gap()).min(row[j] + to.gap());
        }
    }
    row[b.len()] / longer as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phones(text: &str) -> Vec<Segment> {
        segments(&text.split(' ').map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn confusable_phones_are_nearer() {
        let distance = |a, b| distance(&phones(a), &phones(b));
        assert_eq!(distance("oʊ p ə n", "oʊ p ə n"), 0.0);
        // Changes to a neighbouring vowel, a consonant's voice, its manner, and all segments, in
        // ascending order of distance.
        let ordered = [
            distance("b ɪ t", "b i t"),
            distance("b ɪ t", "p ɪ t"),
            distance("b ɪ t", "m ɪ t"),
            distance("b ɪ t", "m ɪ ʃ"),
            distance("b ɪ t", "k ɑ ŋ l u"),
        ];
        assert!(ordered.windows(2).all(|w| w[0] < w[1]), "{ordered:?}");
        // An additional schwa costs little. The distance is symmetric.
        assert!(distance("p l eɪ", "p ə l eɪ") < 0.1);
        assert_eq!(distance("w ɪ n", "u ɪ n"), distance("u ɪ n", "w ɪ n"));
        assert!(distance("w ɪ n", "u ɪ n") < distance("w ɪ n", "k ɪ n"));
    }

    #[test]
    fn mandarin_tones_differ_less_than_syllables() {
        let beijing = phones("zh:b zh:ei zh:3 zh:j zh:ing zh:1");
        let background = phones("zh:b zh:ei zh:4 zh:j zh:ing zh:3");
        let shanghai = phones("zh:sh zh:ang zh:4 zh:h zh:ai zh:3");
        let near = distance(&beijing, &background);
        assert!(near > 0.0 && near < 0.12 && near < distance(&beijing, &shanghai) / 2.0, "{near}");
    }

    #[test]
    fn counts_know_vowels_and_tones() {
        let count = |text: &str, of: fn(&str) -> bool| text.split(' ').filter(|t| of(t)).count();
        assert_eq!(count("k ə m p j u ɾ ɚ", is_phone), 8);
        assert_eq!(count("k ə m p j u ɾ ɚ", is_syllable), 3);
        assert_eq!(count("zh:b zh:ei zh:3 zh:j zh:ing zh:1", is_phone), 4);
        assert_eq!(count("zh:b zh:ei zh:3 zh:j zh:ing zh:1", is_syllable), 2);
        assert_eq!(distance(&[], &[]), 0.0);
    }

    #[test]
    fn no_symbol_stands_in_two_rows() {
        let rows = CONSONANTS.iter().map(|r| r.0).chain(GLIDES.iter().map(|r| r.0));
        let all: String = rows.chain(VOWELS.iter().map(|r| r.0)).collect();
        for c in all.chars() {
            assert_eq!(all.matches(c).count(), 1, "{c}");
        }
    }
}
