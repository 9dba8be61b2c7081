#![doc = include_str!("../README.md")]

/// Style sheet: tokens, elements, components.
pub const STYLE: &str = include_str!("style.css");

/// Logo as an SVG element, for embedding in HTML or for a file.
pub const LOGO: &str = include_str!("logo.svg");

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
    fn logo_is_one_small_element() {
        assert!(LOGO.trim_end().ends_with("</svg>") && LOGO.len() < 2_000);
    }
}
