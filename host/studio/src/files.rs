//! Files of the page, which every browser may load without the token.

use std::sync::LazyLock;

/// Content types.
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Returns the content type and the content of a file, by its path in the address.
pub fn find(path: &str) -> Option<(&'static str, &'static str)> {
    SERVED.iter().find(|(name, ..)| *name == path).map(|(_, kind, content)| (*kind, &**content))
}

/// Files as they are sent, without what only a reader of the source needs.
static SERVED: LazyLock<Vec<(&str, &str, String)>> = LazyLock::new(|| {
    let files = FILES.iter().map(|&(path, kind, content)| {
        // Charts of the report have rules of their own, which this page does not need.
        let content = compact(content.strip_suffix(wakeling_page::CHART_STYLE).unwrap_or(content));
        let content = match kind {
            CSS => compact_rules(&content),
            SCRIPT => compact_script(&content),
            _ => content,
        };
        (path, kind, content)
    });
    files.chain([("/", HTML, compact(&index()))]).collect()
});

/// Returns the page with the logo in its head and as its icon. The page's policy allows images only
/// as data, so the icon is part of the page too.
fn index() -> String {
    let logo = wakeling_page::LOGO.trim_end();
    let mut icon = String::from("data:image/svg+xml,");
    for sign in logo.chars() {
        match sign {
            '"' => icon.push('\''),
            '%' | '#' | '<' | '>' => icon += &format!("%{:02X}", u32::from(sign)),
            _ => icon.push(sign),
        }
    }
    include_str!("page/index.html").replace("{icon}", &icon).replace("{logo}", logo)
}

/// Removes indentation and whole lines of comments. Strings of the page's files end on their line,
/// which a test holds.
fn compact(content: &str) -> String {
    let mut served = String::with_capacity(content.len());
    let mut in_comment = false;
    for line in content.lines().map(str::trim_start) {
        in_comment |= line.starts_with("/**");
        let is_comment = in_comment || line.starts_with("// ");
        in_comment &= !line.contains("*/");
        if !is_comment && !line.is_empty() {
            served += line;
            served.push('\n');
        }
    }
    served
}

/// Removes white space that a style sheet does not need. Its rules have no strings with such spaces,
/// which a test holds.
fn compact_rules(content: &str) -> String {
    let spaces = [
        (" { ", "{"),
        (" {", "{"),
        ("; }", "}"),
        ("; ", ";"),
        (": ", ":"),
        (", ", ","),
        ("{\n", "{"),
        ("}\n", "}"),
    ];
    spaces.iter().fold(content.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Joins lines of a script where the end of a line means nothing.
fn compact_script(content: &str) -> String {
    let mut served = String::with_capacity(content.len());
    for line in content.lines() {
        served += line;
        if line.contains("// ") || !line.ends_with(['{', '(', '[', ',', ';']) {
            served.push('\n');
        }
    }
    served
}

/// Declares a script of the page.
macro_rules! script {
    ($name:literal) => {
        (concat!("/", $name), SCRIPT, include_str!(concat!("page/", $name)))
    };
}

/// Other files: path, content type, content.
static FILES: [(&str, &str, &str); 29] = [
    ("/style.css", CSS, wakeling_page::STYLE),
    ("/studio.css", CSS, include_str!("page/studio.css")),
    script!("actions.js"),
    script!("api.js"),
    script!("charts.js"),
    script!("corrections.js"),
    script!("dialogs.js"),
    script!("dom.js"),
    script!("live.js"),
    script!("microphone.js"),
    script!("phrase.js"),
    script!("problems.js"),
    script!("recorder.js"),
    script!("room.js"),
    script!("sound.js"),
    script!("state.js"),
    script!("steps.js"),
    script!("strings.js"),
    script!("strings/de.js"),
    script!("strings/en.js"),
    script!("studio.js"),
    script!("takes.js"),
    script!("targets.js"),
    script!("tone.js"),
    script!("training.js"),
    script!("upload.js"),
    script!("verdict.js"),
    script!("words.js"),
    script!("worklet.js"),
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Largest size of what a visit loads, in bytes.
    const BUDGET: usize = 128 * 1024;
    /// Most lines of a script, without the texts.
    const MOST_LINES: usize = 250;
    /// Keys that end with a value of the program: their beginning, and the values.
    const FAMILIES: [(&str, &[&str]); 15] = [
        ("step", &["phrase", "record", "train", "try", "export"]),
        (
            "verdict",
            &["good", "quiet", "clipped", "cut", "noisy", "short", "long", "unlike", "unusable"],
        ),
        (
            "advice",
            &["good", "quiet", "clipped", "cut", "noisy", "short", "long", "unlike", "unusable"],
        ),
        ("check", &["good", "fair", "poor", "unknown"]),
        ("stage", &["recordings", "finetune", "words", "negatives", "noise"]),
        ("sensitivity", &["strict", "normal", "eager"]),
        ("means", &["strict", "normal", "eager"]),
        ("target", &["uf2", "esphome", "c", "browser", "model"]),
        ("gone", &["take", "room", "live", "train"]),
        ("why", &["slow", "large", "features", "files"]),
        ("finding", &["too_short", "short", "common", "same", "near", "pair"]),
        ("evidence", &["up_to", "more_than"]),
        (
            "error",
            &[
                "noSound",
                "soundGone",
                "notATake",
                "notListening",
                "noTakeBegun",
                "noTakeRecorded",
                "alreadyTraining",
                "inTraining",
                "noUsableTake",
                "noModel",
                "wordGone",
            ],
        ),
        ("fault", &["silent", "no_phrase", "quiet", "clipped", "unreadable", "repeated", "long"]),
        (
            "advise",
            &[
                "record_group",
                "train_with_more",
                "train_with_noise",
                "train_with_false_wakes",
                "set_eager",
                "more_recordings",
                "more_negatives",
            ],
        ),
    ];

    /// Keys that are chosen by a value of the program or of the microphone.
    const CHOSEN: [&str; 8] = [
        "counting",
        "waiting",
        "speaking",
        "cancelled",
        "levelQuiet",
        "levelGood",
        "levelClipping",
        "levelMuted",
    ];

    fn content(path: &str) -> &'static str {
        find(path).unwrap_or_else(|| panic!("{path}")).1
    }

    /// Returns the texts of a language by key. Each is on a line of its own.
    fn texts(path: &str) -> BTreeMap<String, String> {
        let (.., content) = FILES.iter().find(|(name, ..)| *name == path).expect("a file");
        let lines = content.lines().map(str::trim).filter(|line| line.ends_with("\","));
        let entry = |line: &str| {
            let (key, text) = line.split_once(": \"").unwrap_or_else(|| panic!("{path}: {line}"));
            let text = text.strip_suffix("\",").unwrap_or_else(|| panic!("{path}: {line}"));
            (key.trim_matches('"').to_owned(), text.to_owned())
        };
        let found: Vec<_> = lines.map(entry).collect();
        let texts: BTreeMap<_, _> = found.iter().cloned().collect();
        assert_eq!(found.len(), texts.len(), "a key of {path} is there twice");
        texts
    }

    /// Returns the strings that follow `before` in a text, up to the next quote.
    fn quoted(text: &str, before: &str) -> Vec<String> {
        // Excludes calls such as `getContext("2d")`.
        let is_whole = |at: usize| !text[..at].ends_with(|c: char| c.is_alphanumeric());
        let found = text.match_indices(before).filter(|(at, _)| is_whole(*at));
        let found = found.filter_map(|(at, _)| text[at + before.len()..].split('"').next());
        found.map(str::to_owned).collect()
    }

    /// Returns every script of the page but the texts.
    fn scripts() -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str)> {
        FILES.iter().filter(|(path, kind, _)| *kind == SCRIPT && !path.starts_with("/strings/"))
    }

    #[test]
    fn languages_have_the_same_keys_and_placeholders() {
        let (english, german) = (texts("/strings/en.js"), texts("/strings/de.js"));
        assert!(english.len() > 200, "{}", english.len());
        assert_eq!(english.keys().collect::<BTreeSet<_>>(), german.keys().collect::<BTreeSet<_>>());
        let placeholders = |text: &str| -> BTreeSet<String> {
            let parts = text.split('{').skip(1);
            parts.filter_map(|part| Some(part.split_once('}')?.0.to_owned())).collect()
        };
        for (key, text) in &english {
            let other = &german[key];
            assert_eq!(placeholders(text), placeholders(other), "{key}: {other}");
            // The second line of a message is what a user can do.
            let lines = |text: &str| text.matches("\\n ").count();
            assert_eq!(lines(text), lines(other), "{key}: {other}");
            assert!(!other.trim().is_empty(), "{key}");
        }
        // Names and signs are the same in both; a text is not.
        let same = english.iter().filter(|(key, text)| german[*key] == **text).count();
        assert!(same < 30, "{same} texts are not translated");
    }

    #[test]
    fn every_key_exists_and_every_text_is_used() {
        let texts = texts("/strings/en.js");
        let page = content("/");
        let scripts: String = scripts().map(|(.., content)| *content).collect();
        let mut used: BTreeSet<String> = CHOSEN.iter().map(|key| (*key).to_owned()).collect();
        for before in ["data-text=\"", "data-label=\""] {
            used.extend(quoted(page, before));
        }
        for before in ["text(\"", "text(isOn ? \"", "text(isPlaying ? \"", "isGuessed ? \""] {
            used.extend(quoted(&scripts, before));
        }
        for key in quoted(&scripts, "counted(\"") {
            used.extend(["one", "many"].map(|form| format!("{key}.{form}")));
        }
        for (family, values) in FAMILIES {
            used.extend(values.iter().map(|value| format!("{family}.{value}")));
        }
        for (style, _) in wakeling_capture::record::STYLES {
            used.extend(["style", "label"].map(|family| format!("{family}.{style}")));
        }
        let missing: Vec<_> = used.iter().filter(|key| !texts.contains_key(*key)).collect();
        assert!(used.len() > 150 && missing.is_empty(), "{missing:?} of {}", used.len());
        // Keys may also be chosen by an expression, where they are quoted as they are.
        let all = scripts + page;
        let is_mentioned = |key: &str| {
            let family = key.split('.').next().unwrap_or_default();
            all.contains(&format!("\"{key}\"")) || all.contains(&format!("`{family}."))
        };
        let unused: Vec<_> =
            texts.keys().filter(|key| !used.contains(*key) && !is_mentioned(key)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }

    #[test]
    fn the_page_is_small_and_its_scripts_are_short() {
        // A visit loads the texts of one language.
        let sizes = |skipped: &str| -> usize {
            let loaded = SERVED.iter().filter(|(path, ..)| *path != skipped);
            loaded.map(|(.., content)| content.len()).sum()
        };
        for skipped in ["/strings/de.js", "/strings/en.js"] {
            eprintln!("{} bytes without {skipped}", sizes(skipped));
            assert!(sizes(skipped) < BUDGET, "{} without {skipped}", sizes(skipped));
        }
        for (path, _, content) in scripts() {
            assert!(content.lines().count() <= MOST_LINES, "{path}");
            assert!(content.starts_with("// "), "{path} has no comment on what it is for");
        }
    }

    #[test]
    fn compact_files_lack_nothing_but_comments() {
        let source =
            "// About.\n/** One. */\n/**\n * More.\n */\nif (a) {\n  b(\"// c\"); // d\n}\n\n";
        assert_eq!(compact(source), "if (a) {\nb(\"// c\"); // d\n}\n");
        let script = "a = [\n1,\n2\n];\nif (b) {\nc(\nd);\n}\ne; // f,\ng\n";
        let expected = "a = [1,2\n];if (b) {c(d);}\ne; // f,\ng\n";
        assert_eq!(compact_script(script), expected);
        let rules = "a, b { color: red; width: calc(1px + 2px); }\n@media (width < 9em) {\nc:hover { d: e }\n}\n";
        let expected = "a,b{color:red;width:calc(1px + 2px)}@media (width < 9em){c:hover{d:e }}";
        assert_eq!(compact_rules(rules), expected);
        for (path, kind, content) in FILES {
            let strings = content.split('"').skip(1).step_by(2).filter(|_| kind == CSS);
            for string in strings {
                assert!(!string.contains([':', ';', ',', '{']), "{path}: {string}");
            }
            for line in content.lines().filter(|_| kind == SCRIPT) {
                assert!(line.matches('`').count() % 2 == 0, "{path}: a string over lines: {line}");
            }
            // A comment that begins or ends within a line of code would take code with it.
            for line in content.lines().map(str::trim) {
                let is_closed = line.ends_with("*/") || !line.contains("*/");
                assert!(is_closed || !line.starts_with("/**"), "{path}: {line}");
            }
        }
    }

    #[test]
    fn every_file_that_is_imported_is_served() {
        for (path, _, content) in scripts() {
            for file in
                quoted(content, "from \"./").into_iter().chain(quoted(content, "import \"./"))
            {
                assert!(find(&format!("/{file}")).is_some(), "{path} imports {file}");
            }
        }
        let page = content("/");
        for file in
            quoted(page, "src=\"").into_iter().chain(quoted(page, "rel=\"stylesheet\" href=\""))
        {
            assert!(find(&format!("/{file}")).is_some(), "the page loads {file}");
        }
        assert!(!page.contains("{logo}") && page.contains("data:image/svg+xml,%3Csvg"), "{page}");
        assert!(!page.contains("{icon}"), "{page}");
    }
}
