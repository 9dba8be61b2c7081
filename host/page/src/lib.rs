#![doc = include_str!("../README.md")]

/// Style sheet: tokens, elements, components, charts.
pub const STYLE: &str = concat!(include_str!("style.css"), include_str!("chart.css"));

/// Part of the style sheet that charts need, for SVG files of their own.
pub const CHART_STYLE: &str = include_str!("chart.css");

/// Logo as an SVG element, for embedding in HTML or for a file.
pub const LOGO: &str = include_str!("logo.svg");

/// Returns the value of a token, in the light or the dark theme; `None` if there is none. A token
/// without a dark value has the light one in both.
///
/// Programs other than browsers do not know tokens, so SVG files have their values.
///
/// ```
/// assert_eq!(wakeling_page::token("--accent", false), Some("#0b5fb0"));
/// assert_eq!(wakeling_page::token("--accent", true), Some("#6cb6ff"));
/// assert_eq!(wakeling_page::token("--space-1", true), Some(".25rem"));
/// assert_eq!(wakeling_page::token("--none", false), None);
/// ```
pub fn token(name: &str, is_dark: bool) -> Option<&'static str> {
    let value = |is_dark: bool| {
        let blocks = STYLE.split(":root {").zip(STYLE.split(":root {").skip(1));
        let blocks = blocks.filter(move |(before, _)| {
            before.trim_end().ends_with("(prefers-color-scheme: dark) {") == is_dark
        });
        let tokens = blocks.filter_map(|(_, block)| block.split('}').next());
        let mut tokens =
            tokens.flat_map(|block| block.split(';')).filter_map(|t| t.split_once(':'));
        tokens.find(|(token, _)| token.trim() == name).map(|(_, value)| value.trim())
    };
    if is_dark { value(true).or_else(|| value(false)) } else { value(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the declarations outside `:root` blocks, which hold the tokens.
    fn rules() -> String {
        let blocks = STYLE.split('}');
        blocks.filter(|block| !block.contains(":root")).collect()
    }

    #[test]
    fn colours_are_tokens() {
        let rules = rules();
        assert!(rules.len() > 1_000, "{rules}");
        for line in rules.lines() {
            assert!(!line.contains("#") || !line.contains(':'), "a colour outside :root: {line}");
            assert!(!line.contains("rgb(") && !line.contains("hsl("), "{line}");
        }
    }

    #[test]
    fn every_token_that_is_used_is_defined() {
        for used in STYLE.split("var(").skip(1) {
            let name: String = used.chars().take_while(|c| *c != ')' && *c != ',').collect();
            assert!(STYLE.contains(&format!("{name}:")), "{name} is not defined");
        }
    }

    #[test]
    fn charts_have_a_colour_in_both_themes() {
        for series in 0..5 {
            let name = format!("--series-{series}");
            let (light, dark) = (token(&name, false), token(&name, true));
            assert!(light.is_some() && dark.is_some() && light != dark, "{name}");
        }
    }

    #[test]
    fn logo_is_one_small_element() {
        assert!(LOGO.trim_end().ends_with("</svg>") && LOGO.len() < 2_000);
    }
}
