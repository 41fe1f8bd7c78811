//! The `mlaan` command.
fn main() {}
