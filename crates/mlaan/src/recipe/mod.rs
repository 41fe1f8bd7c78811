//! Recipes: experiments as TOML.
