//! Minimal Markdown parser for the tests of documents: links, headings, fenced code.

use std::collections::HashMap;

/// Returns language and text of a page's fenced code, in order.
pub fn fences(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some((_, text))) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    found
}

/// Returns the lines of a page without its fenced code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

/// Returns the targets of the links and images of a page, in Markdown or HTML, without fenced code.
pub fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(page) {
        // The text of a link may be code, but its target is not.
        for (begin, end) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
            for rest in line.split(begin).skip(1) {
                let target = rest.split(end).next().unwrap_or_default();
                found.push(target.split(" \"").next().unwrap_or_default().to_owned());
            }
        }
    }
    found
}

/// Returns the anchors that GitHub gives the headings of a page; the second one of a name ends in
/// `-1`.
pub fn anchors(page: &str) -> Vec<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut found = Vec::new();
    for line in prose(page).filter(|line| line.starts_with('#')) {
        let title = line.trim_start_matches('#').trim().replace('`', "");
        let kept = title.chars().filter(|&c| c.is_alphanumeric() || " -_".contains(c));
        let slug: String = kept.flat_map(char::to_lowercase).collect::<String>().replace(' ', "-");
        let times = seen.entry(slug.clone()).or_default();
        found.push(if *times == 0 { slug } else { format!("{slug}-{times}") });
        *times += 1;
    }
    found
}

#[test]
fn links_outside_code_are_found() {
    let page = "[a](b.md#c) ![p](d.svg)\n```sh\n[no](e)\n```\n<img src=\"f.png\"> [`code`](g.rs)\n";
    assert_eq!(links(page), ["b.md#c", "d.svg", "g.rs", "f.png"].map(String::from));
}

#[test]
fn anchors_are_those_of_github() {
    let page = "# The `wakeling` file\n## 5, 20 and 50\n## 5, 20 and 50\n```\n# no\n```\n";
    assert_eq!(anchors(page), ["the-wakeling-file", "5-20-and-50", "5-20-and-50-1"]);
}

#[test]
fn fenced_code_has_its_language() {
    let found = fences("a\n```sh\nb\nc\n```\n");
    assert_eq!(found, [("sh".to_owned(), "b\nc\n".to_owned())]);
}
