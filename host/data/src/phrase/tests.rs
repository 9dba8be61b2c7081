use super::*;

fn verdict(phrase: &str, language: &str) -> PhraseCheck {
    check(phrase, language, None)
}

#[test]
fn warns_of_short_common_and_confusable_phrases() {
    let assert_finding = |phrase, language, verdict, what: &str| {
        let check = self::verdict(phrase, language);
        assert_eq!(check.verdict, verdict, "{check:#?}");
        let warning = check.warning().unwrap_or_default();
        assert!(warning.contains(what), "{warning}");
    };
    assert_finding("go", "en", Verdict::Poor, "too short: 2 phones");
    assert_finding("open", "en", Verdict::Poor, "common: spoken about");
    assert_finding("背景", "zh", Verdict::Poor, "\"北京\"");
    assert_finding("how are you", "en", Verdict::Fair, "common: spoken at most");
    let good = verdict("computer terminal", "en");
    assert_eq!((good.verdict, good.warning()), (Verdict::Good, None), "{good:#?}");
}

#[test]
fn the_nearest_words_come_first_and_the_phrase_is_not_among_them() {
    let check = verdict("operator", "en");
    let texts: Vec<&str> = check.near_words.iter().map(|n| n.text.as_str()).collect();
    assert!(texts.contains(&"operators") && !texts.contains(&"operator"), "{texts:?}");
    for near in [&check.near_words, &check.near_pairs] {
        assert!(near.len() > 2 && near.is_sorted_by(|a, b| a.distance <= b.distance));
    }
    assert_eq!((check.phones, check.syllables), (7, 4));
}

#[test]
fn odd_phrases_do_not_panic() {
    for phrase in ["", " ", "?!", "123", "🦀", "a", &"very ".repeat(30)] {
        for language in ["en", "zh", "xx"] {
            assert!(verdict(phrase, language).phones < 200);
        }
    }
    assert_eq!(verdict("", "en").verdict, Verdict::Poor);
    assert_eq!(guess_language("你好 wakeling"), "zh");
}

fn espeak() -> Option<&'static str> {
    let found = crate::tokens::is_there(G2P);
    if !found {
        println!("skipped: espeak-ng is not installed");
    }
    found.then_some(G2P)
}

#[test]
fn foreign_phrases_get_no_verdict_of_another_language() {
    for (phrase, language) in [
        ("привет робот", "en"),
        ("مرحبا", "en"),
        ("สวัสดี", "de"),
        ("नमस्ते", "en"),
        ("hey robot", "ru"),
        ("你好 wakeling", "zh"),
    ] {
        for g2p in [None, espeak()] {
            let check = check(phrase, language, g2p);
            assert_eq!(check.verdict, Verdict::Unknown, "{check:?}");
            assert!(check.remedy.is_some() && check.summary.contains("cannot be judged"));
        }
    }
}

#[test]
fn without_a_program_only_listed_words_are_judged() {
    for phrase in ["ó sauro", "привет", "hey wakeling", "नमस्ते"] {
        let check = judge(phrase, None, None);
        assert_eq!(check.verdict, Verdict::Unknown, "{check:?}");
        assert!(
            check.remedy.as_ref().is_some_and(|r| r.contains("install espeak-ng")),
            "{check:?}"
        );
    }
    assert_eq!(judge("computer terminal", None, None).verdict, Verdict::Good);
    assert_eq!(judge("नमस्ते", None, None).phrase, "नमस्ते");
}

#[test]
fn a_guessed_language_is_pronounced_by_its_own_voice() {
    let Some(g2p) = espeak() else { return };
    for (phrase, code, phones) in [
        ("ó sauro", "pt", 4..8),
        ("привет робот", "ru", 9..13),
        ("नमस्ते", "hi", 5..9),
        ("こんにちは", "ja", 6..12),
        ("γεια σου κόσμε", "el", 9..14),
        ("안녕 컴퓨터", "ko", 9..16),
        ("grüß gott", "de", 6..9),
        ("你好百度", "zh", 8..10),
    ] {
        let check = judge(phrase, None, Some(g2p));
        assert_eq!(check.language, code, "{check:?}");
        assert_ne!(check.verdict, Verdict::Unknown, "{check:?}");
        assert!(phones.contains(&check.phones), "{check:?}");
        assert!(check.summary.contains(&format!("({code})")), "{check:?}");
    }
}

#[test]
fn spelled_out_strings_get_no_verdict() {
    let Some(g2p) = espeak() else { return };
    for (phrase, language) in
        [("ó sauro", "en"), ("hey xkcd", "en"), ("上海", "ja"), ("hey usb", "en")]
    {
        let check = check(phrase, language, Some(g2p));
        assert_eq!(check.verdict, Verdict::Unknown, "{check:?}");
        assert!(check.tokens.is_empty() && check.near_words.is_empty(), "{check:?}");
    }
    for phrase in ["hey computer", "operator", "wildfire", "i am here", "a big day", "hey t v"] {
        assert_ne!(judge(phrase, None, Some(g2p)).verdict, Verdict::Unknown, "{phrase}");
    }
    let none = check("olá", "gl", Some(g2p));
    assert!(none.findings[0].text.contains("no voice"), "{none:?}");
}
