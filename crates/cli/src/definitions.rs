//! `mlaan completions` and `mlaan man`: made from the definitions of the commands.

use crate::args::{CompletionsArgs, ManArgs, help};
use crate::output;
use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;
use clap::{Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;
use mlaan::files::atomic;
use mlaan::recipe::recipes;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

const PROGRAM: &str = "mlaan";

/// Prints a shell's completions.
///
/// # Errors
/// When standard output cannot be written.
pub fn completions(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut completed(args.shell), PROGRAM, &mut script);
    output::exact(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// The commands, with what may stand for a recipe.
fn completed(shell: Shell) -> Command {
    let mut cli = help::command();
    let names: Vec<String> = cli.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    for name in names {
        cli = cli.mut_subcommand(name, |command| {
            let takes_recipe = command.get_arguments().any(|a| a.get_id() == "recipe");
            match takes_recipe {
                // In zsh, names would take the place of files.
                true if shell == Shell::Zsh => {
                    command.mut_arg("recipe", |a| a.value_hint(ValueHint::FilePath))
                }
                true => command.mut_arg("recipe", |a| a.value_parser(PossibleValuesParser::new(recipes()))),
                false => command,
            }
        });
    }
    cli
}

/// Prints a manual page, or writes them all.
///
/// # Errors
/// No such command; a folder that cannot be written.
pub fn man(args: &ManArgs) -> Result<ExitCode> {
    let mut cli = help::command().disable_help_subcommand(true);
    cli.build();
    match &args.out {
        Some(folder) => {
            fs::create_dir_all(folder).with_context(|| format!("{}: cannot be created", folder.display()))?;
            write_pages(&cli, folder)?;
        }
        None => {
            let command = named(&cli, &args.page.join("-"))?;
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            output::exact(String::from_utf8_lossy(&page).trim_end())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command and those of all below it.
fn write_pages(command: &Command, folder: &Path) -> Result<()> {
    let shown = command.get_subcommands().filter(|c| !c.is_hide_set());
    shown.into_iter().try_for_each(|c| write_pages(c, folder))?;
    let man = Man::new(command.clone());
    let path = folder.join(man.get_filename());
    Ok(atomic::write(&path, |out| {
        man.render(out).map_err(|source| mlaan::Error::Io { path: path.clone(), source })
    })?)
}

/// The command of this name, or below it, as its page is called: `data-inspect`.
fn named(cli: &Command, name: &str) -> Result<Command> {
    let below =
        |c: &&Command| name.strip_prefix(c.get_name()).is_some_and(|r| r.is_empty() || r.starts_with('-'));
    match cli.get_subcommands().find(below) {
        _ if name.is_empty() => Ok(cli.clone()),
        Some(command) => {
            let rest = name.strip_prefix(command.get_name()).unwrap_or_default();
            named(command, rest.trim_start_matches('-'))
        }
        None => {
            let names: Vec<&str> = cli.get_subcommands().map(Command::get_name).collect();
            match names.as_slice() {
                [] => bail!("{name}: `{}` has no commands of its own", cli.get_name()),
                names => bail!("{name}: no such command; there are {}", names.join(", ")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        help::command().debug_assert();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            completed(shell).debug_assert();
        }
    }
}
