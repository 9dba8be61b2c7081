//! Layout of text on the terminal, wrapped at spaces so that no word is broken at the margin.

/// Appends `text` to `out` in lines of at most `width` characters. The first line starts at
/// `column`, the others after `indent` spaces. A word that is longer than a line gets a line to
/// itself.
pub fn wrap(out: &mut String, text: &str, column: usize, indent: usize, width: usize) {
    wrap_with(out, text, column, indent, width, "");
}

/// Wraps a shell command. Broken lines end with ` \`, so that all can be copied at once.
pub fn wrap_command(out: &mut String, text: &str, indent: usize, width: usize) {
    wrap_with(out, text, indent, indent + 4, width, " \\");
}

fn wrap_with(out: &mut String, text: &str, column: usize, indent: usize, width: usize, end: &str) {
    let (mut at, mut is_first) = (column, true);
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let length = word.chars().count();
        // No line end follows the last word.
        let room = width.saturating_sub(if words.peek().is_some() { end.len() } else { 0 });
        if !is_first && at + 1 + length > room {
            out.push_str(end);
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            at = indent;
        } else if !is_first {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += length;
        is_first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_spaces_alone() {
        let text = "one two-three four five-and-a-very-long-word six";
        for width in 1..60 {
            let mut out = String::new();
            wrap(&mut out, text, 0, 2, width);
            let words: Vec<_> = out.split_whitespace().collect();
            assert_eq!(words, text.split_whitespace().collect::<Vec<_>>(), "{width}");
            for line in out.lines().filter(|line| line.chars().count() > width) {
                assert_eq!(line.split_whitespace().count(), 1, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_wrapped_command_is_the_same_command() {
        let command = "rustup target add thumbv6m-none-eabi thumbv7em-none-eabihf";
        for width in 24..70 {
            let mut out = " ".repeat(4);
            wrap_command(&mut out, command, 4, width);
            let joined = out.replace("\\\n", "");
            let words: Vec<_> = joined.split_whitespace().collect();
            assert_eq!(words.join(" "), command, "{width}");
            assert!(out.lines().rev().skip(1).all(|line| line.ends_with(" \\")), "{out}");
            let is_short = |line: &str| line.len() <= width || line.split_whitespace().count() <= 2;
            assert!(out.lines().all(is_short), "{width}: {out}");
        }
    }
}
