//! Help of the program: commands in groups, and everyday options apart from those for experts.
//!
//! Descriptions come from the definitions that parse the command line, so they always match it. `-h`
//! prints the everyday options and an example, `--help` all of it.

use std::{
    ffi::OsStr,
    io::{self, IsTerminal},
};

use clap::{
    Arg, ArgAction, Command,
    builder::{
        StyledStr,
        styling::{AnsiColor, Style, Styles},
    },
};

use crate::layout;

/// Groups of the commands, in the order of a person's work.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Start", &["check-phrase", "record", "finetune", "listen", "studio", "doctor"]),
    ("Measure", &["evaluate", "simulate", "compare", "advise"]),
    (
        "Boards and other devices",
        &["boards", "flash", "export", "sign", "device", "serve", "import"],
    ),
    (
        "Experts",
        &["synthesize", "corpus", "pretrain", "quantize", "pack", "images", "completions", "man"],
    ),
];

/// Options for experts, by command. An option that is not listed is an everyday one.
const EXPERT: [(&str, &[&str]); 20] = [
    ("check-phrase", &["g2p"]),
    ("record", &["rate"]),
    ("finetune", &["labels", "train"]),
    ("listen", &["false-accepts-per-hour", "rate"]),
    ("studio", &["port", "steps"]),
    ("doctor", &["rate"]),
    ("evaluate", &["seed", "float", "base"]),
    ("simulate", &["firmware", "scores", "tail-s", "threshold", "false-accepts-per-hour"]),
    ("compare", &["tasks", "rates", "base"]),
    ("advise", &["seed"]),
    ("flash", &["firmware", "build", "merged", "bin"]),
    ("export", &["false-accepts-per-hour", "author", "website", "language", "no-count"]),
    ("sign", &["unsigned", "model-version"]),
    ("serve", &["origin", "false-accepts-per-hour", "clients", "save-most"]),
    ("synthesize", &["command", "voices", "speeds", "pitches", "timeout-s", "seed"]),
    (
        "pretrain",
        &[
            "from",
            "normalization",
            "task",
            "weight",
            "longest",
            "teacher",
            "without",
            "window",
            "readers",
            "workers",
            "checkpoint-every",
            "validate-every",
            "rate",
            "snr-min",
            "snr-max",
            "babble",
            "no-augmentation",
            "seed",
            "licence",
        ],
    ),
    ("pack", &["without", "files", "megabytes", "noise-minutes", "seed"]),
    ("images pretrain", &["batch", "workers", "rate", "no-augmentation", "seed", "licence"]),
    ("images finetune", &["steps", "workers", "rate", "seed"]),
    ("images compare", &["width", "hide", "side", "seed", "steps", "workers"]),
];

/// Commands that fine-tune by the same recipe, and the options of it that are for experts.
const RECIPE: ([&str; 2], [&str; 10]) = (
    ["finetune", "compare"],
    [
        "only-own",
        "negative-hours",
        "steps",
        "ensemble",
        "head-channels",
        "head-layers",
        "noise-profile",
        "backbone-steps",
        "workers",
        "seed",
    ],
);

/// Heading of these options.
const EXPERT_HEADING: &str = "Expert options";

/// Widest line of help, in columns.
const WIDEST: usize = 110;

/// Extent of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Everyday options and an example.
    Short,
    /// Everything.
    Full,
}

impl Extent {
    /// Returns the extent that arguments ask for: the short one with `-h`.
    pub fn of<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> Self {
        let mut options = arguments.into_iter().take_while(|argument| *argument != "--");
        if options.any(|argument| argument == "-h") { Self::Short } else { Self::Full }
    }
}

/// Returns the styles of help and of errors in arguments.
pub const fn styles() -> Styles {
    Styles::styled()
        .header(Style::new().bold())
        .usage(Style::new().bold())
        .literal(AnsiColor::Cyan.on_default())
        .placeholder(Style::new())
        .error(AnsiColor::Red.on_default().bold())
        .valid(AnsiColor::Green.on_default())
        .invalid(AnsiColor::Yellow.on_default())
}

/// Arranges the help of the program and of all its commands.
pub fn arrange(command: Command, extent: Extent) -> Command {
    let groups = groups(&command, width());
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{groups}\n{}\n{{options}}{{after-help}}",
        header("Options:")
    );
    arrange_one(command, "", extent)
        .styles(styles())
        .max_term_width(WIDEST)
        .help_template(StyledStr::from(template))
}

/// Returns the options for experts of a command, by its path.
fn experts(path: &str) -> Vec<&'static str> {
    let (commands, shared) = RECIPE;
    let own = EXPERT.iter().filter(|(name, _)| *name == path).flat_map(|(_, list)| *list).copied();
    own.chain(shared.into_iter().filter(|_| commands.contains(&path))).collect()
}

/// Arranges the help of one command and of those below it. `path` is its name, after those above it,
/// without the program's.
fn arrange_one(command: Command, path: &str, extent: Extent) -> Command {
    let experts = experts(path);
    let is_expert = |arg: &Arg| arg.get_long().is_some_and(|long| experts.contains(&long));
    let count = command.get_arguments().filter(|arg| is_expert(arg) && !arg.is_hide_set()).count();
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let after = match extent {
        Extent::Short => shortened(&examples, path, count),
        Extent::Full => examples,
    };
    let command = command
        .mut_args(|arg| match is_expert(&arg) {
            true => {
                let is_hidden = arg.is_hide_set() || extent == Extent::Short;
                arg.help_heading(EXPERT_HEADING).hide(is_hidden)
            }
            false => arg,
        })
        .after_help(StyledStr::from(highlighted(&after)))
        .disable_help_flag(true)
        .arg(
            Arg::new("help")
                .short('h')
                .long("help")
                .action(ArgAction::Help)
                .help("Print help (less with -h)"),
        );
    command.mut_subcommands(|sub| {
        let path = format!("{path} {}", sub.get_name());
        arrange_one(sub, path.trim_start(), extent)
    })
}

/// Returns the examples alone, and a line about the rest.
fn shortened(examples: &str, path: &str, experts: usize) -> String {
    let (first, rest) = examples.split_once("\n\n").unwrap_or((examples, ""));
    let options = match experts {
        0 => String::new(),
        1 => "an option for experts".to_owned(),
        _ => format!("{experts} options for experts"),
    };
    let added = match (experts, rest.is_empty()) {
        (0, true) => return first.to_owned(),
        (0, false) => "explanations".to_owned(),
        (_, true) => options,
        (_, false) => format!("{options} and explanations"),
    };
    let command = format!("wakeling {path}");
    format!("{first}\n\n`{} --help` adds {added}.", command.trim_end())
}

/// Returns the commands in groups, a line for each, broken at a width.
fn groups(command: &Command, width: usize) -> String {
    let names = GROUPS.iter().flat_map(|(_, names)| *names);
    let column = names.map(|name| name.len()).max().unwrap_or(0) + 4;
    let literal = *styles().get_literal();
    let mut text = String::new();
    for (title, names) in GROUPS {
        text += &format!("\n{}\n", header(&format!("{title}:")));
        // Features of the build decide which commands there are.
        for sub in names.iter().filter_map(|name| command.find_subcommand(name)) {
            let name = sub.get_name();
            let mut about = sub.get_about().map(ToString::to_string).unwrap_or_default();
            for alias in sub.get_visible_aliases() {
                about += &format!(" [alias: {alias}]");
            }
            text += &format!("  {literal}{name}{literal:#}{:1$}", "", column - 2 - name.len());
            layout::wrap(&mut text, &about, column, column, width);
            text.push('\n');
        }
    }
    text
}

fn header(text: &str) -> String {
    let style = *styles().get_header();
    format!("{style}{text}{style:#}")
}

/// Returns a text with its headings and its commands in the styles of the help.
fn highlighted(text: &str) -> String {
    let literal = *styles().get_literal();
    let (mut continues, mut end) = (false, "");
    let styled = |line: &str| {
        let is_command = continues || line.starts_with("  wakeling ");
        continues = is_command && line.ends_with('\\');
        // clap counts columns from a line's end only if it is in the style of the line that follows.
        let line = format!("{}{line}", std::mem::replace(&mut end, "\n"));
        match line.trim_start_matches('\n') {
            "Example:" | "Examples:" => header(&line),
            _ if is_command => format!("{literal}{line}{literal:#}"),
            _ => line,
        }
    };
    text.lines().map(styled).collect::<String>()
}

/// Returns the width of lines, as clap chooses it.
fn width() -> usize {
    let terminal = || {
        let size = io::stdout().is_terminal().then(crossterm::terminal::size)?.ok()?;
        Some(usize::from(size.0))
    };
    let variable = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal().or_else(variable).unwrap_or(100).min(WIDEST)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::Wakeling;

    fn help(path: &str, extent: Extent) -> String {
        let mut command = arrange(Wakeling::command(), extent).term_width(100);
        command.build();
        let mut command = &mut command;
        for name in path.split_whitespace() {
            command = command.find_subcommand_mut(name).expect(path);
        }
        command.render_help().to_string()
    }

    #[test]
    fn each_visible_command_is_in_exactly_one_group() {
        let command = Wakeling::command();
        let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set());
        for name in visible.map(Command::get_name) {
            let count = GROUPS.iter().flat_map(|(_, names)| *names).filter(|n| **n == name).count();
            assert_eq!(count, 1, "{name}");
        }
        for name in GROUPS.iter().flat_map(|(_, names)| *names) {
            let is_built = cfg!(all(feature = "serve", feature = "studio", feature = "vision"));
            assert!(!is_built || command.find_subcommand(name).is_some(), "{name}");
        }
    }

    #[test]
    fn each_command_has_one_line_in_80_columns() {
        let text = anstream::adapter::strip_str(&groups(&Wakeling::command(), 80)).to_string();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
        let commands = GROUPS.iter().map(|(_, names)| names.len()).sum::<usize>();
        let is_built = cfg!(all(feature = "serve", feature = "studio", feature = "vision"));
        assert!(!is_built || lines.len() == commands, "{text}");
        let continued = lines.iter().filter(|line| line.starts_with("   "));
        assert_eq!(continued.count(), 0, "{text}");
        let narrow = anstream::adapter::strip_str(&groups(&Wakeling::command(), 40)).to_string();
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
    }

    /// Names in the table of options for experts, so that a renamed option does not move unnoticed.
    #[test]
    fn options_for_experts_exist_and_are_apart() {
        let mut command = Wakeling::command();
        command.build();
        for (path, _) in EXPERT {
            let mut found = Some(&command);
            for name in path.split(' ') {
                found = found.and_then(|command| command.find_subcommand(name));
            }
            let Some(found) = found else {
                let is_built = cfg!(all(feature = "serve", feature = "studio", feature = "vision"));
                assert!(!is_built, "{path}");
                continue;
            };
            let (short, full) = (help(path, Extent::Short), help(path, Extent::Full));
            let (everyday, expert) = full.split_once("Expert options:").expect(path);
            for option in &experts(path) {
                let has = |text: &str| {
                    text.lines().any(|line| {
                        let line = line.trim_start().trim_start_matches("-");
                        line.split([' ', ',']).next() == Some(option)
                            || line.contains(&format!(", --{option} "))
                    })
                };
                let is_there = found.get_arguments().any(|arg| arg.get_long() == Some(option));
                assert!(is_there, "{path} --{option}");
                let place = expert.split("\n\n").next().unwrap_or_default();
                assert!(has(place), "{path} --{option}: {full}");
                let options = |text: &str| {
                    let options = text.split("Options:").nth(1).unwrap_or_default();
                    options.split("Example").next().unwrap_or_default().to_owned()
                };
                let is_apart = !has(&options(everyday)) && !has(&options(&short));
                assert!(is_apart, "{path} --{option}: {short}");
            }
            assert!(short.contains("--help` adds "), "{short}");
        }
    }

    #[test]
    fn short_help_is_shorter() {
        assert_eq!(Extent::of(["finetune", "-h"].map(OsStr::new)), Extent::Short);
        assert_eq!(Extent::of(["finetune", "--help"].map(OsStr::new)), Extent::Full);
        assert_eq!(Extent::of(["record", "--", "-h"].map(OsStr::new)), Extent::Full);
        let lines = |extent| help("finetune", extent).lines().count();
        assert!(lines(Extent::Short) * 2 < lines(Extent::Full), "{}", lines(Extent::Short));
        // Examples keep their lines.
        let text = help("finetune", Extent::Full);
        let example = "  wakeling finetune --samples speech/ --out runs/computer";
        assert!(text.lines().any(|line| line == example), "{text}");
    }

    #[test]
    fn examples_are_styled_and_keep_their_text() {
        let text = "Examples:\n  wakeling a \\\n    --b\n\nThen more.";
        let styled = highlighted(text);
        assert!(styled.contains("\u{1b}[36m\n    --b"), "{styled:?}");
        assert_eq!(anstream::adapter::strip_str(&styled).to_string(), text);
    }
}
