//! Commands for a program that embeds them: what they print and how they fail as values.

use crate::args::Cli;
use crate::device::Place;
use crate::host::{self, Host};
use crate::{commands, output};
use clap::Parser;
use mlaan::Device;
use std::ffi::{OsStr, OsString};
use std::rc::Rc;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As the command line would say it.
    pub text: String,
    /// What kind of failure it is.
    pub reason: Reason,
}

/// See [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A key of a recipe, or an argument.
    Recipe,
    /// Images.
    Data,
    /// More memory is needed than there is.
    Memory {
        /// Bytes that are needed.
        planned: usize,
        /// Bytes that there are.
        available: usize,
    },
    /// Anything else.
    Other,
}

/// Runs a command for a program; its arguments begin with the name of the command.
///
/// # Errors
/// What the command would say on standard error.
pub fn call(host: Rc<dyn Host>, args: &[OsString]) -> Result<(), Failure> {
    let named = std::iter::once(OsStr::new("mlaan")).chain(args.iter().map(OsString::as_os_str));
    let cli =
        Cli::try_parse_from(named).map_err(|e| Failure { text: refusal(&e), reason: Reason::Recipe })?;
    host::with(host, || commands::run(cli)).map(drop).map_err(|e| Failure::from(&e))
}

/// The device of a name, as `--device` has it, with so many threads.
///
/// # Errors
/// What is missing.
pub fn device(name: &str, threads: Option<usize>) -> Result<Device, Failure> {
    let place = Place::parse(name).map_err(|possible| Failure {
        text: format!("device `{name}`: {possible}"),
        reason: Reason::Recipe,
    })?;
    place.open(threads).map_err(|e| Failure::from(&e))
}

/// What clap says, without its prefix, its tips and the usage of the command line.
fn refusal(e: &clap::Error) -> String {
    let text = e.to_string();
    let ends = ["\n\nUsage:", "\n\nFor more information", "\n\n  tip:"];
    let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    let text = text.get(..end).unwrap_or(&text).trim_start_matches("error: ").trim();
    match text.split_once("\n  [possible values: ") {
        Some((before, values)) => format!("{before}; possible are {}", values.trim_end_matches(']')),
        None => text.to_owned(),
    }
}

impl From<&anyhow::Error> for Failure {
    fn from(e: &anyhow::Error) -> Self {
        let reason = |cause: &(dyn std::error::Error + 'static)| Some(Reason::of(cause.downcast_ref()?));
        Failure { text: output::causes(e), reason: e.chain().find_map(reason).unwrap_or(Reason::Other) }
    }
}

impl From<&mlaan::Error> for Failure {
    fn from(e: &mlaan::Error) -> Self {
        Failure { text: e.to_string(), reason: Reason::of(e) }
    }
}

impl Reason {
    fn of(e: &mlaan::Error) -> Self {
        match e {
            mlaan::Error::Recipe { .. } | mlaan::Error::NoRecipe { .. } => Reason::Recipe,
            mlaan::Error::Data { .. } | mlaan::Error::NoTestImages { .. } => Reason::Data,
            mlaan::Error::Memory { needed, allowed, .. } => {
                Reason::Memory { planned: *needed, available: *allowed }
            }
            _ => Reason::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlaan::data::Given;
    use mlaan::train::Progress;
    use std::cell::RefCell;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    #[derive(Default)]
    struct Program {
        printed: RefCell<String>,
        stop: Arc<AtomicBool>,
    }

    impl Host for Program {
        fn print(&self, text: &str) {
            self.printed.borrow_mut().push_str(text);
        }
        fn note(&self, _: &str) {}
        fn stop(&self) -> &Arc<AtomicBool> {
            &self.stop
        }
        fn images(&self) -> Option<&Given> {
            None
        }
        fn begun(&self, _: &Path) {}
        fn progress(&self, _: Progress<'_>) {}
    }

    fn said(args: &[&str]) -> Result<String, Failure> {
        let program = Rc::new(Program::default());
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        call(program.clone(), &args)?;
        Ok(program.printed.take())
    }

    #[test]
    fn what_is_printed_goes_to_the_program() {
        let plan: serde_json::Value =
            serde_json::from_str(&said(&["plan", "bp-resnet20", "--json"]).unwrap()).unwrap();
        assert_eq!(plan["network"], "resnet20");
        assert!(host::current().is_none(), "nobody is told of what follows");
    }

    #[test]
    fn failures_have_a_reason_and_the_words_of_the_command() {
        let failure = said(&["plan", "bp-resnet20", "--set", "train.epoch=3"]).unwrap_err();
        assert_eq!(failure.reason, Reason::Recipe);
        assert!(
            failure.text.contains("`train.epoch`") && failure.text.contains("epochs"),
            "{}",
            failure.text
        );
        let failure = said(&["plan", "--data", "/no/such/place"]).unwrap_err();
        assert_eq!(failure.reason, Reason::Data, "{}", failure.text);
        let failure = said(&["plan", "--memory", "1MiB"]).unwrap_err();
        assert!(
            matches!(failure.reason, Reason::Memory { planned: 1.., available: 1_048_576 }),
            "{failure:?}"
        );
        let failure = said(&["plan", "--batch", "x"]).unwrap_err();
        assert!(!failure.text.contains("Usage") && failure.text.contains("--batch"), "{}", failure.text);
        let failure = said(&["eval", "a", "--split", "valid"]).unwrap_err();
        assert!(
            failure.text.ends_with("possible are train, val, test") && !failure.text.contains("tip"),
            "{}",
            failure.text
        );
        let failure = said(&["plan", "--data", GIVEN]).unwrap_err();
        assert!(failure.text.contains("given by a program"), "{}", failure.text);
    }

    use crate::host::GIVEN;
}
