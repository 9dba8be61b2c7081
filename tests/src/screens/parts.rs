//! Visible parts of a page, and their text file.

use serde_json::Value;

use crate::browser::Browser;

/// Look of a part in one colour scheme.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Look {
    /// Colour of most pixels.
    pub back: [u8; 3],
    /// Colour that differs most from it.
    pub ink: [u8; 3],
    /// Share of pixels that differ from the background, in percent.
    pub coverage: f64,
}

/// A visible element that has a text, a border, a background, or a content such as an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Name of the element, with its identifier.
    pub kind: String,
    /// Its own text, with `#` for each number.
    pub text: String,
    /// Left, top, width, height, in CSS pixels of the page.
    pub rect: [i32; 4],
    /// Index of the part that contains it.
    pub parent: Option<usize>,
    /// Whether its content varies from run to run.
    pub varies: bool,
    /// Whether it floats above the page, as a message that goes by. It is not part of the text file.
    pub floats: bool,
    /// Whether its size is that of the text in it.
    pub is_text: bool,
    /// Light and dark; none if nothing of it is visible between its children.
    pub looks: [Option<Look>; 2],
}

impl Part {
    /// Returns what distinguishes it from others, for messages.
    pub fn label(&self) -> String {
        format!("{} {:?}", self.kind, self.text)
    }
}

/// Script that lists the visible parts in the order of the document.
const PARTS: &str = "(varying => {
    const parts = [];
    const REPLACED = 'img, canvas, svg, input, select, button, audio, video, iframe, progress, meter, textarea';
    const number = (text) => text.replace(/\\s+/g, ' ').trim().replace(/[\\d.,:]*\\d/g, '#').slice(0, 60);
    const visit = (element, parent, floats) => {
        if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) return;
        const box = element.getBoundingClientRect();
        const style = getComputedStyle(element);
        const own = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join(' ').trim();
        const isReplaced = element.matches(REPLACED);
        const hasBack = !/^rgba\\(.*, 0\\)$/.test(style.backgroundColor);
        const hasEdge = ['Top', 'Left', 'Bottom', 'Right'].some((side) => parseFloat(style[`border${side}Width`]) > 0 && style[`border${side}Style`] !== 'none' && !/^rgba\\(.*, 0\\)$/.test(style[`border${side}Color`]));
        const varies = Boolean(varying) && element.matches(varying);
        // A text that is only for screen readers is clipped to nothing.
        const isSeen = box.width > 1 && box.height > 1 && style.clipPath !== 'inset(50%)';
        let next = parent;
        floats ||= ['fixed', 'sticky'].includes(style.position);
        if (isSeen && (own || isReplaced || hasBack || hasEdge || varies) && element !== document.body) {
            const id = /^[a-z-]+$/.test(element.id) ? `#${element.id}` : '';
            const full = element.matches('button, a, label, option, summary') ? element.textContent : own;
            const text = varies ? '' : number(element.matches('input, select') ? (element.matches('select') ? element.selectedOptions[0]?.text ?? '' : element.type === 'text' ? element.value || element.placeholder : '') : isReplaced && !element.matches('button') ? '' : full);
            let rect = box;
            let isText = Boolean(own) && !hasBack && !hasEdge && !isReplaced;
            if (isText) {
                const range = document.createRange();
                range.selectNodeContents(element);
                rect = range.getBoundingClientRect();
            }
            parts.push({ kind: element.localName + id, text, varies, floats, isText: isText || element.matches('button, a, .badge'), parent, rect: [rect.left + scrollX, rect.top + scrollY, rect.width, rect.height].map(Math.round) });
            next = parts.length - 1;
        }
        const isOpaque = element.matches('svg, canvas, iframe, audio, video, select') || varies;
        if (!isOpaque) for (const child of element.children) visit(child, next, floats);
    };
    visit(document.body, null, false);
    return parts;
})";

/// Returns the visible parts of a page. `varying` is a selector of those whose content varies.
pub fn of(page: &mut Browser, varying: &str) -> Vec<Part> {
    let found = page.evaluate(&format!("{PARTS}({})", Value::from(varying)));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let part = |value: &Value| Part {
        kind: text(&value["kind"]),
        text: text(&value["text"]),
        rect: std::array::from_fn(|i| value["rect"][i].as_i64().unwrap_or(0) as i32),
        parent: value["parent"].as_u64().map(|parent| parent as usize),
        varies: value["varies"] == true,
        floats: value["floats"] == true,
        is_text: value["isText"] == true,
        looks: [None; 2],
    };
    let parts: Vec<Part> = found.as_array().expect("a list").iter().map(part).collect();
    assert!(parts.len() > 3, "a page without parts: {found}");
    parts
}

/// Returns texts that overlap others. Parts that vary, and those that float above the page, are left
/// out.
pub fn overlaps(parts: &[Part]) -> Vec<String> {
    let is_inside = |mut inner: usize, outer: usize| loop {
        match parts[inner].parent {
            Some(parent) if parent == outer => return true,
            Some(parent) => inner = parent,
            None => return false,
        }
    };
    let mut found = Vec::new();
    let texts: Vec<usize> = (0..parts.len())
        .filter(|i| !parts[*i].text.is_empty() && !parts[*i].varies && !parts[*i].floats)
        .collect();
    for (n, &i) in texts.iter().enumerate() {
        for &j in &texts[n + 1..] {
            let ([ax, ay, aw, ah], [bx, by, bw, bh]) = (parts[i].rect, parts[j].rect);
            let width = (ax + aw).min(bx + bw) - ax.max(bx);
            let height = (ay + ah).min(by + bh) - ay.max(by);
            // Lines are higher than their letters.
            if width > 3 && height > 7 && !is_inside(j, i) {
                let (a, b) = (parts[i].label(), parts[j].label());
                found.push(format!("{a} and {b} overlap by {width} × {height} pixels"));
            }
        }
    }
    found
}

/// Writes parts as text, a line each: kind, left, top, width, height, depth of nesting, whether its
/// size is that of its text, then for light and dark the colours of background and ink and the
/// share of ink, and the text.
pub fn write(parts: &[Part]) -> String {
    let colour = |[r, g, b]: [u8; 3]| format!("#{r:02x}{g:02x}{b:02x}");
    let look = |look: Option<Look>| match look {
        None => String::from("- - 0"),
        Some(look) => {
            format!("{} {} {:.0}", colour(look.back), colour(look.ink), look.coverage)
        }
    };
    let depth =
        |part: &Part| std::iter::successors(part.parent, |parent| parts[*parent].parent).count();
    let line = |part: &Part| {
        let ([x, y, width, height], depth) = (part.rect, depth(part));
        let marks = match (part.varies, part.is_text) {
            (true, _) => "varies",
            (_, true) => "text",
            _ => "box",
        };
        let looks = if part.varies {
            String::from("- - 0 - - 0")
        } else {
            format!("{} {}", look(part.looks[0]), look(part.looks[1]))
        };
        let (kind, text) = (&part.kind, &part.text);
        format!("{kind} {x} {y} {width} {height} {depth} {marks} {looks} {text}\n")
    };
    parts.iter().map(line).collect()
}

/// Reads what [`write()`] wrote.
///
/// # Panics
/// If a line is something else.
pub fn read(text: &str) -> Vec<Part> {
    let colour = |text: &str| {
        let value = u32::from_str_radix(&text[1..], 16).expect("a colour");
        [(value >> 16) as u8, (value >> 8) as u8, value as u8]
    };
    let look = |fields: &[&str]| {
        (fields[0] != "-").then(|| Look {
            back: colour(fields[0]),
            ink: colour(fields[1]),
            coverage: fields[2].parse().expect("a share"),
        })
    };
    let mut parts: Vec<Part> = Vec::new();
    // The last part of each depth.
    let mut path: Vec<usize> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.splitn(14, ' ').collect();
        assert_eq!(fields.len(), 14, "{line:?}");
        let depth: usize = fields[5].parse().expect("a depth");
        path.truncate(depth);
        assert_eq!(path.len(), depth, "{line:?}");
        let parent = path.last().copied();
        path.push(parts.len());
        parts.push(Part {
            kind: fields[0].to_owned(),
            rect: std::array::from_fn(|i| fields[1 + i].parse().expect("a position")),
            parent,
            varies: fields[6] == "varies",
            floats: false,
            is_text: fields[6] == "text",
            looks: [look(&fields[7..10]), look(&fields[10..13])],
            text: fields[13].to_owned(),
        });
    }
    parts
}
