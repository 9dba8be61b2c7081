//! Address of a request, taken apart.

/// Path and query of a request.
#[derive(Clone, Copy, Debug)]
pub struct Target<'u> {
    /// Path, such as `/api/state`.
    pub path: &'u str,
    query: &'u str,
}

impl<'u> Target<'u> {
    /// Splits an address at its first question mark.
    pub fn of(url: &'u str) -> Self {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        Self { path, query }
    }

    /// Returns the value of `name` in the query, still encoded.
    pub fn raw(&self, name: &str) -> Option<&'u str> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Returns the decoded value of `name`; empty if it is absent or no UTF-8. No file and no word
    /// has an empty name.
    pub fn text(&self, name: &str) -> String {
        decoded(self.raw(name).unwrap_or_default())
    }

    /// Returns the value of `name` as a number, if it is one.
    pub fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.raw(name)?.parse().ok()
    }
}

/// Decodes percent encoding. Invalid UTF-8 becomes an empty string.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|d| std::str::from_utf8(d).ok());
        let byte = digits.filter(|_| first == b'%').and_then(|d| u8::from_str_radix(d, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_hostile_ones_name_nothing() {
        let target = Target::of("/api/open?word=hey%20you&row=3&x=%zz%4");
        assert_eq!((target.path, target.text("word").as_str()), ("/api/open", "hey you"));
        assert_eq!((target.number("row"), target.number::<u8>("word")), (Some(3), None));
        assert_eq!((target.text("x").as_str(), target.text("y").as_str()), ("%zz%4", ""));
        assert_eq!(Target::of("/a?b=%ff%fe").text("b"), "");
        assert_eq!(Target::of("/a?b=%+1").text("b"), "%+1");
    }
}
