//! Recipes: keys, files that extend others, rates, the schema, and what old files say.
#![allow(clippy::unwrap_used, clippy::panic)] // In helpers of tests a failure is a failed test.

#[path = "../common/mod.rs"]
mod common;

mod extends;
mod kept;
mod keys;
mod parts;
mod rates;
mod schema;
