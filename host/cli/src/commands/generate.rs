//! `wakeling completions` and `wakeling man`: generated from the definitions that parse the command
//! line, so they always match it.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::{Error, Result};
use wakeling_core::files;

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wakeling completions bash > ~/.local/share/bash-completion/completions/wakeling
  wakeling completions zsh > ~/.zfunc/_wakeling
  wakeling completions fish > ~/.config/fish/completions/wakeling.fish")]
pub struct CompletionsArgs {
    /// Name of the shell
    shell: Shell,
}

/// Write man pages
#[derive(Debug, Args)]
#[command(after_help = "Example:
  wakeling man ~/.local/share/man/man1 && man wakeling-finetune")]
pub struct ManArgs {
    /// Folder for wakeling.1 and a page for each command
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints completions of `command`. A closed standard output is no error.
///
/// # Errors
/// [`Error::io`] if it cannot be written.
pub fn completions(args: CompletionsArgs, mut command: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "wakeling", &mut script);
    match io::stdout().write_all(&script) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::io("standard output", "write")),
    }
}

/// Writes a page for `command` and one for each of its subcommands.
///
/// # Errors
/// [`Error::io`] if a page cannot be written.
pub fn man(args: ManArgs, command: Command) -> Result<()> {
    std::fs::create_dir_all(&args.folder).map_err(Error::io(&args.folder, "create"))?;
    // Subcommands get their full names, such as wakeling-corpus-fetch.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = vec![command];
    while let Some(command) = pages.pop() {
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        pages.extend(command.get_subcommands().cloned());
        let path = args.folder.join(format!("{name}.1"));
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map_err(Error::io(&path, "write"))?;
        files::write_atomic(&path, &page)?;
    }
    Ok(())
}
