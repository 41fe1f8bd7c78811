//! What a command prints.

use clap::Args;

/// For machines.
#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// For people, of a command that may take long.
#[derive(Args, Clone, Copy, Debug)]
pub struct Speech {
    /// Print errors only
    #[arg(long, short, conflicts_with = "json")]
    pub quiet: bool,
    /// For machines.
    #[command(flatten)]
    pub output: Output,
}

impl Speech {
    /// Whether it is JSON that is wanted.
    pub fn json(&self) -> bool {
        self.output.json
    }

    /// Whether what happens is told in words.
    pub fn speaks(&self) -> bool {
        !self.quiet && !self.json()
    }
}
