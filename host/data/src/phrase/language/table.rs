//! Languages by script: the letters of each beyond those that all languages of the script share,
//! and words that distinguish it from the others.
//!
//! The words are greetings, function words and household words, since wake phrases consist of them.
//! The lists are short and written by hand. They rank candidates and prove nothing.

use icu_properties::props::Script;

use super::latin::LATIN;

/// Language and its distinguishing features.
#[derive(Debug)]
pub struct Language {
    /// BCP 47 code, as espeak-ng accepts it.
    pub code: &'static str,
    /// English name.
    pub name: &'static str,
    /// Score without any evidence; larger for languages with more speakers.
    pub prior: f32,
    /// Letters beyond the script's shared ones.
    pub letters: &'static str,
    /// Words, separated by blanks.
    pub words: &'static str,
    /// Letter sequences, separated by blanks.
    pub patterns: &'static str,
}

pub(super) const fn language(
    code: &'static str,
    name: &'static str,
    prior: f32,
    letters: &'static str,
    words: &'static str,
    patterns: &'static str,
) -> Language {
    Language { code, name, prior, letters, words, patterns }
}

/// Creates the entry of a language that is the first choice for its script without further
/// evidence.
const fn only(code: &'static str, name: &'static str) -> Language {
    language(code, name, 0.8, "", "", "")
}

/// Languages of one script.
#[derive(Debug)]
pub struct Writing {
    /// The script.
    pub script: Script,
    /// Letters that all of the languages share.
    pub shared: &'static str,
    /// Languages. The first is the default when the evidence does not decide.
    pub languages: &'static [Language],
}

const fn writing(script: Script, languages: &'static [Language]) -> Writing {
    Writing { script, shared: "", languages }
}

/// Languages that are also written in another script.
pub const ALSO_WRITTEN: [(&str, Script); 14] = [
    ("ja", Script::Katakana),
    ("ja", Script::Han),
    ("ko", Script::Han),
    ("yue", Script::Han),
    ("zh", Script::Bopomofo),
    ("zh", Script::Latin),
    ("cmn", Script::Latin),
    ("sr", Script::Latin),
    ("uz", Script::Cyrillic),
    ("az", Script::Cyrillic),
    ("tk", Script::Cyrillic),
    ("bs", Script::Cyrillic),
    ("ku", Script::Arabic),
    ("pa", Script::Arabic),
];

/// All known scripts.
pub const WRITINGS: [Writing; 29] = [
    Writing { script: Script::Latin, shared: "abcdefghijklmnopqrstuvwxyz", languages: &LATIN },
    Writing {
        script: Script::Cyrillic, shared: "абвгдежзиклмнопрстуфхцчш", languages: &CYRILLIC
    },
    Writing {
        script: Script::Arabic, shared: "ابتثجحخدذرزسشصضطظعغفقلمنهوئءؤ", languages: &ARABIC
    },
    Writing {
        script: Script::Devanagari,
        shared: "",
        languages: &[
            language("hi", "Hindi", 0.9, "", "नमस्ते कंप्यूटर घर सुनो", ""),
            language("mr", "Marathi", 0.4, "ळ", "नमस्कार ऐक संगणक", ""),
            language("ne", "Nepali", 0.4, "", "नमस्कार सुन्नुहोस्", ""),
        ],
    },
    Writing {
        script: Script::Bengali,
        shared: "",
        languages: &[
            language("bn", "Bengali", 0.8, "র", "", ""),
            language("as", "Assamese", 0.4, "ৰৱ", "", ""),
        ],
    },
    writing(Script::Han, &[only("zh", "Mandarin"), language("yue", "Cantonese", 0.2, "", "", "")]),
    writing(Script::Hiragana, &[only("ja", "Japanese")]),
    writing(Script::Hangul, &[only("ko", "Korean")]),
    writing(Script::Greek, &[only("el", "Greek")]),
    writing(Script::Hebrew, &[only("he", "Hebrew"), language("yi", "Yiddish", 0.1, "", "", "")]),
    writing(Script::Thai, &[only("th", "Thai")]),
    writing(Script::Lao, &[only("lo", "Lao")]),
    writing(Script::Khmer, &[only("km", "Khmer")]),
    writing(Script::Myanmar, &[only("my", "Burmese")]),
    writing(Script::Georgian, &[only("ka", "Georgian")]),
    writing(Script::Armenian, &[only("hy", "Armenian")]),
    writing(
        Script::Ethiopic,
        &[only("am", "Amharic"), language("ti", "Tigrinya", 0.2, "", "", "")],
    ),
    writing(Script::Tamil, &[only("ta", "Tamil")]),
    writing(Script::Telugu, &[only("te", "Telugu")]),
    writing(Script::Kannada, &[only("kn", "Kannada")]),
    writing(Script::Malayalam, &[only("ml", "Malayalam")]),
    writing(Script::Gujarati, &[only("gu", "Gujarati")]),
    writing(Script::Gurmukhi, &[only("pa", "Punjabi")]),
    writing(Script::Oriya, &[only("or", "Odia")]),
    writing(Script::Sinhala, &[only("si", "Sinhala")]),
    writing(Script::Tibetan, &[only("bo", "Tibetan")]),
    writing(Script::Mongolian, &[only("mn", "Mongolian")]),
    writing(Script::Cherokee, &[only("chr", "Cherokee")]),
    writing(Script::Bopomofo, &[only("zh", "Mandarin")]),
];

const CYRILLIC: [Language; 11] = [
    language(
        "ru",
        "Russian",
        0.8,
        "йщъыьэюяё",
        "привет здравствуй эй окей слушай доброе утро день вечер и это мой моя дом свет компьютер телефон включи \
         выключи робот друг спасибо да нет алиса",
        "ого тся ешь",
    ),
    language(
        "uk",
        "Ukrainian",
        0.5,
        "йщьюяєіїґ",
        "привіт вітаю гей слухай добрий ранок день вечір і це мій моя дім світло комп'ютер телефон увімкни вимкни \
         друже дякую так ні",
        "ій ою",
    ),
    language(
        "bg",
        "Bulgarian",
        0.4,
        "йщъьюя",
        "здравей здравейте здрасти хей ей добро утро ден вечер и това моят дом къща светлина компютър компютър телефон \
         слушай приятел благодаря да не",
        "ът та",
    ),
    language(
        "be",
        "Belarusian",
        0.2,
        "йыьэюяёіў",
        "прывітанне вітаю слухай добры раніца дзень вечар і гэта мой дом святло камп'ютар тэлефон дзякуй так не",
        "дз",
    ),
    language(
        "sr",
        "Serbian",
        0.35,
        "јљњћђџ",
        "здраво хеј ћао добро јутро дан вече и је то мој кућа светло рачунар телефон упали слушај хвала да не",
        "ије",
    ),
    language(
        "mk",
        "Macedonian",
        0.2,
        "јљњѓќѕџ",
        "здраво еј добро утро ден вечер и е тоа мојот куќа светло компјутер телефон слушај благодарам да не",
        "та",
    ),
    language(
        "kk",
        "Kazakh",
        0.25,
        "йщъыьэюяёәғқңөұүһі",
        "сәлем қайырлы таң кеш және бұл үй жарық компьютер телефон тыңда рахмет иә жоқ",
        "лар лер",
    ),
    language(
        "ky",
        "Kyrgyz",
        0.15,
        "йщъыьэюяёңөү",
        "салам саламатсызбы үй жарык ук рахмат ооба жок",
        "лар",
    ),
    language(
        "tt",
        "Tatar",
        0.1,
        "йщъыьэюяёәөүҗңһ",
        "сәлам исәнме өй яктылык тыңла рәхмәт әйе юк",
        "лар",
    ),
    language(
        "mn",
        "Mongolian",
        0.15,
        "йщъыьэюяёөү",
        "сайн уу байна гэр гэрэл сонс баярлалаа тийм үгүй",
        "аа өө",
    ),
    language("cv", "Chuvash", 0.05, "йщъыьэюяёӑӗҫӳ", "салам ырӑ кун тавтапуҫ", ""),
];

const ARABIC: [Language; 6] = [
    language(
        "ar",
        "Arabic",
        0.8,
        "أإآةىيكٱ",
        "مرحبا السلام عليكم يا اسمع صباح الخير بيت ضوء حاسوب شكرا نعم لا",
        "ال",
    ),
    language(
        "fa",
        "Persian",
        0.6,
        "پچژگیکآ",
        "سلام درود گوش صبح بخیر خانه چراغ رایانه کامپیوتر روشن خاموش ممنون بله نه",
        "ها",
    ),
    language(
        "ur",
        "Urdu",
        0.4,
        "پچژگیکآٹڈڑںےہھۂ",
        "ہیلو سلام سنو گھر روشنی کمپیوٹر شکریہ ہاں نہیں",
        "",
    ),
    language("ug", "Uyghur", 0.15, "پچژگيكېۇۆۈەھڭۋ", "سالام", ""),
    language("sd", "Sindhi", 0.1, "پچگيڪڻٻڀٺٽڌڏڊڦڄڃڇڳڱھ", "", ""),
    language("ku", "Kurdish", 0.1, "پچژگیکێۆەڵڕڤھ", "سڵاو", ""),
];
