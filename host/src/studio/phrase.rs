//! Check of a phrase, as the page shows it before the first take.

use serde_json::{Value, json};

use crate::{
    Error, Result,
    cli::check_phrase::is_there,
    phrase::{self, language},
};

/// Checks a phrase; an empty language is guessed. Returns the fields of
/// [`PhraseCheck`](phrase::PhraseCheck).
///
/// # Errors
/// [`Error::Usage`] if the language is invalid.
pub fn check(text: &str, language: &str) -> Result<Value> {
    let given = (!language.is_empty()).then(|| language::parse(language));
    let given = given.transpose().map_err(|expected| {
        Error::usage(format!("\"{language}\" is no language: {expected}"), "or leave it empty")
    })?;
    let program = is_there(phrase::G2P).then_some(phrase::G2P);
    Ok(json!(phrase::judge(text, given.as_deref(), program)))
}
