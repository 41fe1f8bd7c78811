//! What an exported file says beside its weights.

use crate::train::{Trained, setup};

/// What a reader of the file needs to know: names and values, lists and numbers as JSON.
pub(super) fn about(trained: &Trained) -> Vec<(String, String)> {
    let m = &trained.manifest;
    let json = |value: serde_json::Value| value.to_string();
    vec![
        ("classes".into(), json(m.classes.clone().into())),
        ("size".into(), m.size.to_string()),
        ("short_side".into(), setup::frame(&trained.recipe.data).short_side.to_string()),
        ("mean".into(), json(m.normalise.mean.to_vec().into())),
        ("std".into(), json(m.normalise.std.to_vec().into())),
        ("backbone".into(), trained.recipe.model.backbone.to_string()),
        ("epoch".into(), m.epoch.to_string()),
        ("producer".into(), format!("mlaan {}", env!("CARGO_PKG_VERSION"))),
    ]
}
