//! Languages by script: the letters that each has beyond those that all of the script share, and words
//! that tell it from the others.
//!
//! Words are greetings, function words and household words, since wake phrases are made of them. The
//! lists are written by hand and short; they rank candidates and prove nothing.

use icu_properties::props::Script;

/// One language and what it is recognized by.
#[derive(Debug)]
pub struct Language {
    /// Code of BCP 47, as espeak-ng takes it.
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

const fn language(
    code: &'static str,
    name: &'static str,
    prior: f32,
    letters: &'static str,
    words: &'static str,
    patterns: &'static str,
) -> Language {
    Language { code, name, prior, letters, words, patterns }
}

/// A language that is the first choice for its script by that alone.
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
    /// The languages; the first is meant where nothing tells them apart.
    pub languages: &'static [Language],
}

const fn writing(script: Script, languages: &'static [Language]) -> Writing {
    Writing { script, shared: "", languages }
}

/// Languages that are written in a second script as well.
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

/// Every script that is known.
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

const LATIN: [Language; 38] = [
    // English words are those of the word list that ships.
    language("en", "English", 0.9, "", "", "ee sh th gh ck wh oo igh"),
    language(
        "es",
        "Spanish",
        0.6,
        "áéíñóúü",
        "hola oye oiga buenos buenas días noches el la los las un una de del y que mi casa luz luces \
         ordenador computadora teléfono enciende apaga amigo gracias sí señor señora niño niña asistente",
        "ción ll ue que gui",
    ),
    language(
        "pt",
        "Portuguese",
        0.6,
        "àáâãçéêíóôõú",
        "olá ola oi ó ei ouve ouça bom boa dia noite tarde o a os as um uma de do da e que meu minha \
         casa luz computador telefone liga desliga amigo obrigado sim não assistente coração",
        "ção ções nh lh ão",
    ),
    language(
        "fr",
        "French",
        0.6,
        "àâæçèéêëîïôœùûüÿ",
        "bonjour salut bonsoir dis écoute allô allo le la les un une des du de et que ma mon maison \
         lumière lampe ordinateur téléphone allume éteins ami merci oui non moi toi café assistant",
        "eau oux eux qu' aux ois ille l' d' j'",
    ),
    language(
        "de",
        "German",
        0.6,
        "äöüß",
        "hallo guten tag morgen abend der die das ein eine und ist mein meine haus licht lampe \
         computer rechner telefon radio an aus freund danke ja nein bitte hör zu servus grüß gott moin küche \
         sprachassistent",
        "sch ung tz pf ei ck",
    ),
    language(
        "it",
        "Italian",
        0.5,
        "àèéìíòóù",
        "ciao ehi ehilà buongiorno buonasera senti ascolta il lo la gli le un una di del e che mia mio casa \
         luce luci lampada computer telefono accendi spegni amico grazie sì caffè pronto",
        "gli zz cch zione ggi ghi",
    ),
    language(
        "nl",
        "Dutch",
        0.4,
        "áèéëïóöü",
        "hallo hoi goedemorgen goedendag goedenavond de het een en is mijn huis licht lamp computer telefoon \
         radio aan uit vriend dank bedankt ja nee luister keuken",
        "ij aa uu oe sch ee",
    ),
    language(
        "pl",
        "Polish",
        0.4,
        "ąćęłńóśźż",
        "cześć hej dzień dobry słuchaj witaj i w na to jest mój moja dom domu światło komputer telefon włącz \
         wyłącz dziękuję tak nie robot",
        "cz sz rz dz ści",
    ),
    language(
        "tr",
        "Turkish",
        0.4,
        "âçğıîöşüû",
        "merhaba selam günaydın iyi akşamlar bir ve bu ev evim ışık bilgisayar telefon aç kapat dinle \
         teşekkürler evet hayır asistan",
        "lar ler yor",
    ),
    language(
        "sv",
        "Swedish",
        0.35,
        "åäöé",
        "hej hallå god morgon dag kväll en ett och är det min mitt hus lampa ljus dator telefon tänd släck vän \
         tack ja nej lyssna stjärna",
        "tj sj skj ck",
    ),
    language(
        "nb",
        "Norwegian",
        0.3,
        "åæøéò",
        "hei hallo god morgen dag kveld en et og er det min mitt hus lys lampe datamaskin telefon tenn slukk venn \
         takk ja nei lytt språk",
        "kj skj øy",
    ),
    language(
        "da",
        "Danish",
        0.3,
        "åæøé",
        "hej hallo god morgen dag aften en et og er det min mit hus lys lampe computer telefon tænd sluk ven tak \
         ja nej lyt skærm",
        "hv øj",
    ),
    language(
        "fi",
        "Finnish",
        0.3,
        "äöåšž",
        "hei moi terve huomenta päivää iltaa ja on se minun koti talo valo valot lamppu tietokone puhelin kuuntele \
         kiitos kyllä ei ystävä",
        "aa ää ii uu kk tt yö",
    ),
    language(
        "is",
        "Icelandic",
        0.15,
        "áéíóúýþæöð",
        "halló hæ góðan dag kvöld og er það hús ljós tölva sími takk já nei",
        "hv",
    ),
    language(
        "cs",
        "Czech",
        0.35,
        "áčďéěíňóřšťúůýž",
        "ahoj hej dobrý den večer ráno a je to můj moje dům domu světlo počítač počítači telefon zapni vypni \
         poslouchej děkuji díky ano ne robot",
        "ch",
    ),
    language(
        "sk",
        "Slovak",
        0.25,
        "áäčďéíĺľňóôŕšťúýž",
        "ahoj hej dobrý deň večer ráno a je to môj moja dom svetlo počítač telefón zapni vypni počúvaj ďakujem \
         áno nie robot",
        "ch",
    ),
    language(
        "hu",
        "Hungarian",
        0.35,
        "áéíóöőúüű",
        "szia helló hé jó napot reggelt estét a az egy és van ház otthon fény lámpa számítógép telefon kapcsold \
         figyelj köszönöm igen nem barát",
        "sz gy ny cs zs",
    ),
    language(
        "ro",
        "Romanian",
        0.35,
        "ăâîșțşţ",
        "bună salut hei ziua dimineața seara un o și este casa casă lumina lumină calculator telefon aprinde stinge \
         ascultă mulțumesc da nu prieten",
        "ului ilor",
    ),
    language(
        "hr",
        "Croatian",
        0.25,
        "čćđšž",
        "bok hej zdravo dobro dobar jutro dan večer i je to moj moja kuća svjetlo računalo računar telefon upali \
         ugasi slušaj hvala da ne",
        "lj nj ije",
    ),
    language(
        "sl",
        "Slovenian",
        0.2,
        "čšž",
        "živjo zdravo hej dobro dober jutro dan večer in je to moj moja hiša luč računalnik telefon prižgi ugasni \
         poslušaj hvala ja ne",
        "lj nj",
    ),
    language(
        "sq",
        "Albanian",
        0.15,
        "çë",
        "përshëndetje tungjatjeta mirëmëngjes hej një dhe është shtëpia drita kompjuter telefon faleminderit po jo",
        "sh xh ë",
    ),
    language(
        "lt",
        "Lithuanian",
        0.2,
        "ąčęėįšųūž",
        "labas sveiki sveikas labą rytą dieną ir yra mano namai šviesa kompiuteri kompiuteris telefonas klausyk \
         ačiū taip ne",
        "ius as",
    ),
    language(
        "lv",
        "Latvian",
        0.2,
        "āčēģīķļņšūž",
        "sveiki sveiks labdien labrīt čau un ir mans māja gaisma dators datoru telefons klausies paldies jā nē",
        "ie",
    ),
    language(
        "et",
        "Estonian",
        0.2,
        "äõöüšž",
        "tere hei tsau hommikust päevast ja on see minu kodu maja valgus arvuti telefon kuula aitäh jah ei",
        "aa õ uu",
    ),
    language(
        "ca",
        "Catalan",
        0.25,
        "àçèéíïòóúü·",
        "hola ei bon dia bona nit tarda el la els les un una i és que la meva casa llum ordinador telèfon encén \
         apaga escolta amic gràcies sí",
        "ny ll tx ix",
    ),
    language(
        "vi",
        "Vietnamese",
        0.35,
        "àáâãèéêìíòóôõùúýăđĩũơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
        "xin chào chao ơi này nhà đèn máy tính điện thoại bật tắt bạn cảm ơn vâng không trợ lý một và là",
        "ng nh ngh",
    ),
    language(
        "id",
        "Indonesian",
        0.3,
        "",
        "halo hai hei selamat pagi siang malam apa kabar dan ini itu saya rumah lampu komputer telepon nyalakan \
         matikan dengar teman terima kasih ya tidak",
        "ng kan",
    ),
    language(
        "ms",
        "Malay",
        0.15,
        "",
        "helo hai selamat pagi petang malam apa khabar dan ini itu saya rumah lampu komputer telefon dengar kawan \
         terima kasih ya tidak",
        "ng kan",
    ),
    language(
        "sw",
        "Swahili",
        0.2,
        "",
        "habari jambo hujambo mambo na ni ya wa nyumba taa kompyuta simu washa zima sikiliza rafiki asante ndiyo hapana",
        "mb nd ng'",
    ),
    language(
        "af",
        "Afrikaans",
        0.15,
        "êëôïûé",
        "hallo goeie môre more dag aand die 'n en is my huis lig lamp rekenaar telefoon luister vriend dankie ja nee",
        "ei oe",
    ),
    language(
        "ga",
        "Irish",
        0.1,
        "áéíóú",
        "dia duit haló maidin mhaith an na agus is mo teach solas ríomhaire fón éist cara ó",
        "bh mh dh",
    ),
    language(
        "cy",
        "Welsh",
        0.1,
        "âêîôûŵŷ",
        "helo shwmae bore da nos y yr a mae fy tŷ golau cyfrifiadur ffôn gwrando ffrind diolch",
        "ll dd ff wy",
    ),
    language(
        "eo",
        "Esperanto",
        0.1,
        "ĉĝĥĵŝŭ",
        "saluton la kaj estas mia domo lumo komputilo telefono aŭskultu amiko dankon jes ne",
        "oj",
    ),
    language(
        "eu",
        "Basque",
        0.1,
        "ñç",
        "kaixo egun on gabon eta da nire etxea argia ordenagailua telefonoa entzun laguna eskerrik asko bai ez",
        "tx tz ts",
    ),
    language(
        "az",
        "Azerbaijani",
        0.15,
        "çəğıöşü",
        "salam sabahınız xeyir bir və bu ev işıq kompüter telefon dinlə təşəkkür bəli xeyr",
        "lər",
    ),
    language(
        "uz",
        "Uzbek",
        0.15,
        "ʻʼ",
        "salom assalomu alaykum va bu uy chiroq kompyuter telefon tingla rahmat ha yo'q",
        "o' g' lar",
    ),
    language(
        "mt",
        "Maltese",
        0.1,
        "ċġħżàèìòù",
        "bonġu bonswa il u hija dar dawl kompjuter telefon isma' grazzi iva le",
        "għ ij",
    ),
    language(
        "mi",
        "Māori",
        0.1,
        "āēīōū",
        "kia ora tēnā koe whare rama rorohiko waea whakarongo",
        "wh ng",
    ),
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
