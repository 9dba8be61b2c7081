//! Reasons for refusing a client, which the client receives before the connection is closed.

use std::fmt;

/// Maximum length of the text, in characters.
const LONGEST_TEXT: usize = 500;

/// Reason for refusing what a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Short name for programs.
    pub code: &'static str,
    /// Text for people: what was expected, and what was found.
    pub text: String,
}

impl Refusal {
    /// Creates a refusal. What a client sent may be in the text, so control characters are replaced
    /// and its length is limited.
    pub(crate) fn new(code: &'static str, text: impl AsRef<str>) -> Self {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        Self { code, text: text.as_ref().chars().take(LONGEST_TEXT).map(plain).collect() }
    }

    /// Refuses bytes that are not of the protocol.
    pub(crate) fn malformed(text: impl AsRef<str>) -> Self {
        Self::new("malformed", text)
    }

    /// Refuses sound in a format that cannot be converted.
    pub(crate) fn audio(text: impl AsRef<str>) -> Self {
        Self::new("unsupported-audio", text)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
