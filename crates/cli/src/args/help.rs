//! How help is laid out: options under headings; `-h` in brief, `--help` and the manual pages at length.

use super::Cli;
use clap::{Arg, ArgAction, Command, CommandFactory};

/// Options by what they are about. Those of no heading come first.
const HEADINGS: [(&str, &[&str]); 5] = [
    (
        "Data",
        &["data", "limit", "skip_broken", "size", "split", "validation", "test", "orientation", "classes"],
    ),
    (
        "Training",
        &[
            "epochs",
            "batch",
            "lr",
            "optimizer",
            "precision",
            "freeze",
            "init",
            "init_key",
            "seed",
            "seeds",
            "set",
            "resume",
            "time",
        ],
    ),
    ("Modules and memory", &["modules", "balance", "recompute", "memory", "host_memory"]),
    ("Machine", &["device", "stages", "threads", "ranks", "rank_modules", "bandwidth", "latency", "gflops"]),
    (
        "Output",
        &[
            "out",
            "tensorboard",
            "plain",
            "quiet",
            "json",
            "csv",
            "top",
            "mistakes",
            "confusion",
            "show",
            "plan",
            "profile",
        ],
    ),
];
/// Options from which on a command has headings.
const MANY: usize = 12;

/// The commands as they are parsed, completed and explained.
pub fn command() -> Command {
    laid_out(Cli::command())
}

fn laid_out(command: Command) -> Command {
    let flags = command.get_arguments().filter(|arg| arg.get_long().is_some()).count();
    command
        .mut_args(|arg| in_brief(signed(if flags < MANY { arg } else { headed(arg) })))
        .mut_subcommands(laid_out)
}

/// A flag's value may begin with a minus, which the flag then refuses in its own words.
fn signed(arg: Arg) -> Arg {
    match arg.get_long() {
        Some(_) if arg.get_action().takes_values() => arg.allow_negative_numbers(true),
        _ => arg,
    }
}

fn headed(arg: Arg) -> Arg {
    let of = |(_, names): &&(&str, &[&str])| names.contains(&arg.get_id().as_str());
    match HEADINGS.iter().find(of) {
        Some((heading, _)) => arg.help_heading(*heading),
        None => arg,
    }
}

fn in_brief(arg: Arg) -> Arg {
    // What the parser itself adds has two texts already.
    if matches!(
        arg.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    ) {
        return arg;
    }
    match arg.get_help().map(ToString::to_string) {
        Some(all) => arg.help(brief(&all)).long_help(all),
        None => arg,
    }
}

/// The first statement of a text without what is in parentheses, and the default behind it.
fn brief(all: &str) -> String {
    let (said, notes) = match all.find(" [") {
        Some(at) if all.ends_with(']') => all.split_at(at),
        _ => (all, ""),
    };
    let (mut text, mut depth) = (String::new(), 0_usize);
    for c in said.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => text.push(c),
            _ => {}
        }
    }
    let text = text.replace("  ", " ").replace(" ,", ",").replace(" ;", ";").replace(" .", ".");
    let ends = text.match_indices("; ").chain(text.match_indices(". ")).map(|(at, _)| at);
    let is_end = |at: &usize| !text.get(..*at).is_some_and(|said| said.ends_with("e.g"));
    let end = ends.filter(is_end).min().unwrap_or(text.len());
    let text = text.get(..end).unwrap_or(&text).trim_end_matches([' ', ';', '.']);
    format!("{text}{notes}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brief_text_keeps_the_statement_and_the_default() {
        assert_eq!(
            brief("Optimizer; recipes' rates are for sgd (adamw: about 0.001) [default: the recipe's]"),
            "Optimizer [default: the recipe's]"
        );
        assert_eq!(
            brief("A built-in recipe (see `mlaan recipes`) or a TOML file"),
            "A built-in recipe or a TOML file"
        );
        assert_eq!(brief("Where to compute (`mlaan devices` lists what there is)"), "Where to compute");
        assert_eq!(brief("Epochs, as 8h. All is saved, and 1.5G more"), "Epochs, as 8h");
        assert_eq!(brief("Rate of 1.5, e.g. 2; no more"), "Rate of 1.5, e.g. 2");
    }

    #[test]
    fn headings_name_options_that_there_are() {
        let command = command();
        let there: Vec<&str> = command
            .get_subcommands()
            .flat_map(Command::get_arguments)
            .map(|arg| arg.get_id().as_str())
            .collect();
        for name in HEADINGS.iter().flat_map(|(_, names)| *names) {
            assert!(there.contains(name), "{name}");
        }
        let train = command.find_subcommand("train").unwrap();
        let apart =
            train.get_arguments().filter(|a| a.get_long().is_some() && a.get_help_heading().is_none());
        assert_eq!(apart.map(|a| a.get_id().as_str()).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
