//! Checks that links lead to existing targets, and that every page can be reached.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use super::{files, markdown, none, pages, read, root};

/// Maximum number of words in the README, code and tables included.
const README_WORDS: usize = 1_000;

/// Path of a link of `page`, relative to the root; `None` for other sites and other kinds of
/// address.
fn target(page: &Path, link: &str) -> Option<(PathBuf, Option<String>)> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) =
        link.split_once('#').map_or((link, None), |(p, a)| (p, Some(a.to_owned())));
    if path.is_empty() {
        return Some((page.to_owned(), anchor));
    }
    let mut clean = PathBuf::new();
    for part in page.parent()?.join(path).components() {
        match part {
            Component::ParentDir if !clean.pop() => return Some(("..".into(), None)),
            Component::ParentDir | Component::CurDir => {}
            other => clean.push(other),
        }
    }
    Some((clean, anchor))
}

#[test]
fn every_link_leads_to_a_file_that_exists() {
    let mut problems = Vec::new();
    for page in pages() {
        for link in markdown::links(&read(&page)) {
            let Some((path, anchor)) = target(&page, &link) else { continue };
            let whole = root().join(&path);
            let found = !path.starts_with("..")
                && whole.exists()
                && anchor.is_none_or(|anchor| {
                    whole.extension().is_none_or(|extension| extension != "md")
                        || markdown::anchors(&read(&path)).contains(&anchor)
                });
            if !found {
                problems.push(format!("{}: {link}", page.display()));
            }
        }
    }
    none(&problems);
}

#[test]
fn every_file_of_the_documents_is_reached_from_their_index() {
    let mut reached = BTreeSet::new();
    let mut open = vec![PathBuf::from("docs/README.md")];
    while let Some(page) = open.pop() {
        if !reached.insert(page.clone()) || page.extension().is_none_or(|e| e != "md") {
            continue;
        }
        let linked = markdown::links(&read(&page));
        let linked = linked.iter().filter_map(|link| Some(target(&page, link)?.0));
        // A reader who leaves docs/ does not return, so pages must be reachable within it.
        open.extend(linked.filter(|path| path.starts_with("docs") && root().join(path).is_file()));
    }
    // Images of the README need no link from docs/.
    let shown = markdown::links(&read(Path::new("README.md")));
    let lost = files("docs", |path| {
        !reached.contains(path) && !shown.iter().any(|link| Path::new(link) == path)
    });
    none(&lost.iter().map(|path| format!("{} is not reached", path.display())).collect::<Vec<_>>());
}

#[test]
fn sources_name_documents_that_exist() {
    let source = |path: &Path| {
        let extension = path.extension().and_then(|e| e.to_str());
        path == Path::new("x")
            || matches!(extension, Some("rs" | "toml" | "py" | "sh" | "html" | "js"))
    };
    let mut problems = Vec::new();
    for file in files("", source) {
        // These files name targets that do not exist.
        if file.starts_with("host/cli/tests/docs") {
            continue;
        }
        let text = read(&file);
        for (at, _) in text.match_indices("docs/") {
            // `probe.rs/docs/` is on another site.
            if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '/')
                && !text[..at].ends_with("../")
            {
                continue;
            }
            let named = |c: &char| c.is_ascii_alphanumeric() || "/-_.".contains(*c);
            let name: String = text[at..].chars().take_while(named).collect();
            let name = name.trim_end_matches(['.', '/']);
            if !root().join(name).exists() {
                problems.push(format!("{}: {name}", file.display()));
            }
        }
    }
    none(&problems);
}

#[test]
fn the_readme_is_one_page() {
    let words = read(Path::new("README.md")).split_whitespace().count();
    assert!(words < README_WORDS, "{words} words, at most {README_WORDS}: move some to docs/");
}

#[test]
fn links_are_resolved_from_their_page() {
    let from = |link| target(Path::new("docs/guide/a.md"), link);
    assert_eq!(from("../lab/b.md#c"), Some(("docs/lab/b.md".into(), Some("c".into()))));
    assert_eq!(from("#d"), Some(("docs/guide/a.md".into(), Some("d".into()))));
    assert_eq!(from("https://example.org/x.md"), None);
    assert_eq!(from("../../../etc/passwd"), Some(("..".into(), None)));
}
