use super::*;

#[track_caller]
fn guesses(phrase: &str, code: &str) {
    let found = guess(phrase);
    assert_eq!(found.code, code, "{phrase}: {found:?}");
}

#[test]
fn script_and_letters_decide() {
    for (phrase, code) in [
        ("привет робот", "ru"),
        ("слухай комп'ютер", "uk"),
        ("їжачок", "uk"),
        ("здравей компютър", "bg"),
        ("ћао рачунару", "sr"),
        ("сәлем үй", "kk"),
        ("γεια σου", "el"),
        ("مرحبا", "ar"),
        ("سلام رایانه", "fa"),
        ("ہیلو گھر", "ur"),
        ("שלום", "he"),
        ("नमस्ते", "hi"),
        ("ওহে কম্পিউটার", "bn"),
        ("สวัสดี", "th"),
        ("안녕 컴퓨터", "ko"),
        ("こんにちは", "ja"),
        ("東京タワー", "ja"),
        ("你好百度", "zh"),
        ("你好 wakeling", "zh"),
        ("გამარჯობა", "ka"),
        ("բարեւ", "hy"),
        ("வணக்கம்", "ta"),
        ("ನಮಸ್ಕಾರ", "kn"),
        ("ሰላም", "am"),
        ("hey Алиса", "ru"),
        ("ສະບາຍດີ", "lo"),
    ] {
        guesses(phrase, code);
        assert_ne!(guess(phrase).confidence, Confidence::Given);
    }
}

#[test]
fn accents_and_words_distinguish_latin_languages() {
    for (phrase, code) in [
        ("ó sauro", "pt"),
        ("olá computador", "pt"),
        ("coração", "pt"),
        ("niño", "es"),
        ("oye casa", "es"),
        ("hola ordenador", "es"),
        ("buenos días", "es"),
        ("bonjour maison", "fr"),
        ("écoute moi", "fr"),
        ("dis maison", "fr"),
        ("hallo computer", "de"),
        ("grüß gott", "de"),
        ("guten morgen", "de"),
        ("straße", "de"),
        ("ciao casa", "it"),
        ("ehi computer", "it"),
        ("hej dator", "sv"),
        ("hej stjärna", "sv"),
        ("hallo huis", "nl"),
        ("cześć komputer", "pl"),
        ("łódź", "pl"),
        ("merhaba bilgisayar", "tr"),
        ("günaydın", "tr"),
        ("szia számítógép", "hu"),
        ("hűtő", "hu"),
        ("hei tietokone", "fi"),
        ("xin chào", "vi"),
        ("ahoj počítači", "cs"),
        ("hej skærm", "da"),
        ("hei språk", "nb"),
        ("bună ziua", "ro"),
        ("halo rumah", "id"),
        ("labas kompiuteri", "lt"),
        ("tere arvuti", "et"),
        ("Cafe\u{301} ole\u{301}", "fr"),
    ] {
        guesses(phrase, code);
    }
}

#[test]
fn english_stays_english() {
    for phrase in [
        "hey computer",
        "operator",
        "wildfire",
        "hey wakeling",
        "hey savant",
        "hey chatterbox",
        "open",
        "hey jarvis",
        "okay nabu",
        "alexa",
        "amelia",
        "athena",
        "hey mycroft",
        "turn on the lights",
        "good morning",
        "computer terminal",
        "how are you",
        "go",
        "hey lumen",
        "okay casa",
        "no",
        "123",
        "",
    ] {
        guesses(phrase, "en");
    }
    assert_eq!(guess("amelia").confidence, Confidence::Unsure);
    assert_eq!(guess("hey computer").confidence, Confidence::Likely);
}

#[test]
fn text_names_the_guess_and_its_runners_up() {
    assert_eq!(guess("ó sauro").text, "looks like Portuguese (pt)");
    let several = guess("casa");
    assert!(several.text.starts_with("perhaps Spanish (es), or "), "{several:?}");
    assert!(several.alternatives.iter().any(|c| c.code == "it"), "{several:?}");
    assert!(super::guess("amelia").text.contains("taken for English (en)"));
}

#[test]
fn languages_are_read_by_code_and_name() {
    assert_eq!(parse("Portuguese"), Ok("pt".into()));
    assert_eq!(parse("PT_br"), Ok("pt-br".into()));
    assert_eq!(parse("en"), Ok("en".into()));
    for wrong in ["", "portugees", "p", "pt--br", "../x", "-v", "p t"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_table_is_consistent() {
    let mut codes: Vec<&str> = languages().map(|l| l.code).collect();
    let all = codes.len();
    codes.sort_unstable();
    codes.dedup();
    // Mandarin and Mongolian are listed under two scripts.
    assert_eq!(codes.len() + 2, all);
    for language in languages() {
        assert_eq!(clean(language.letters).chars().filter(|c| c.is_uppercase()).count(), 0);
        assert!((0.0..=1.0).contains(&language.prior));
    }
    assert!(writes("pt-br", Script::Latin) && !writes("ru", Script::Latin));
    assert!(writes("ja", Script::Han) && writes("xx", Script::Han));
}
