//! Check of a phrase, as the page shows it before the first take.

use serde_json::{Value, json};

use crate::{Error, Result};
use wakeling_data::phrase::{self, language};
use wakeling_data::tokens::is_there;

/// Checks a phrase; an empty language is guessed. Returns the fields of
/// [`PhraseCheck`](phrase::PhraseCheck).
///
/// # Errors
/// [`Error::NotALanguage`] if the language is invalid.
pub fn check(text: &str, language: &str) -> Result<Value> {
    let given = (!language.is_empty()).then(|| language::parse(language));
    let given = given.transpose().map_err(|expected| {
        let (language, expected) = (language.to_owned(), expected.to_string());
        Error::NotALanguage { language, expected }
    })?;
    let program = is_there(phrase::G2P).then_some(phrase::G2P);
    Ok(json!(phrase::judge(text, given.as_deref(), program)))
}
