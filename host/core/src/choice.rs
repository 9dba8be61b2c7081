//! Closed sets of named values, for options and messages.

/// Type with a few values, each with a name that people type.
///
/// ```
/// use wakeling_core::{choice::Choice, choices};
///
/// #[derive(Clone, Copy, Debug, PartialEq)]
/// enum Tier {
///     S,
///     M,
/// }
/// choices!(Tier { S: "s", "96 channels"; M: "m", "192 channels" });
///
/// assert_eq!(Tier::named("m"), Some(Tier::M));
/// assert_eq!(Tier::named("xl"), None);
/// let names: Vec<&str> = Tier::CHOICES.iter().map(|(_, name, _)| *name).collect();
/// assert_eq!(names.join(", "), "s, m"); // for a help text
/// ```
pub trait Choice: Copy + Sized + 'static {
    /// Every value with its name and a line of help.
    const CHOICES: &'static [(Self, &'static str, &'static str)];

    /// Returns the value of a name; `None` if no value has it.
    fn named(name: &str) -> Option<Self> {
        Self::CHOICES.iter().find(|(_, known, _)| *known == name).map(|&(value, ..)| value)
    }
}

/// Implements [`Choice`] for an enum: `choices!(Tier { S: "s", "96 channels"; M: "m", "192 channels" })`.
#[macro_export]
macro_rules! choices {
    ($type:ty { $($value:ident: $name:literal, $help:literal);+ $(;)? }) => {
        impl $crate::choice::Choice for $type {
            const CHOICES: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$value, $name, $help)),+];
        }
    };
}

#[cfg(test)]
mod tests {
    use super::Choice;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Size {
        Small,
        Large,
    }
    choices!(Size { Small: "small", "fits anywhere"; Large: "large", "does not" });

    #[test]
    fn names_are_found_and_others_are_not() {
        assert_eq!(Size::named("large"), Some(Size::Large));
        assert_eq!(Size::named("small"), Some(Size::Small));
        assert_eq!(Size::named("Large"), None);
    }
}
