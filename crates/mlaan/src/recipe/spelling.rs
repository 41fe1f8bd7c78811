//! Keys that there are not: what was probably meant.

use super::schema::{EXTENDS, KEYS, names_in};
use crate::text::nearest;

/// What PyTorch, timm, Keras and the papers call keys, where the spelling alone would not tell.
const CALLED: &[(&[&str], &str)] = &[
    (&["learning_rate", "base_lr", "max_lr", "lr0", "eta", "alpha"], "train.lr"),
    (&["batch_size", "bs", "minibatch", "minibatch_size"], "train.batch"),
    (&["num_epochs", "max_epochs", "n_epochs", "epoch"], "train.epochs"),
    (&["warmup_epochs", "warm_up", "lr_warmup_epochs"], "train.warmup"),
    (&["wd", "l2"], "train.weight_decay"),
    (&["decay_rate", "lr_decay", "lr_gamma"], "train.gamma"),
    (&["scheduler", "lr_scheduler", "sched", "lr_schedule"], "train.schedule"),
    (&["opt", "optim"], "train.optimizer"),
    (&["smoothing"], "train.label_smoothing"),
    (&["clip_grad", "grad_clip", "max_grad_norm", "clip_norm", "gradient_clip_val"], "train.clip_grad_norm"),
    (&["ema_decay", "model_ema"], "train.model_ema_decay"),
    (&["amp", "dtype", "mixed_precision"], "train.precision"),
    (&["accumulation_steps", "grad_accum", "accumulate_grad_batches", "micro_batches"], "train.shards"),
    (&["early_stopping", "early_stopping_patience"], "train.patience"),
    (&["k", "num_modules", "n_modules", "local_modules", "partitions"], "local.modules"),
    (&["checkpointing", "activation_checkpointing", "gradient_checkpointing"], "local.recompute"),
    (&["network", "arch", "net", "architecture", "model_name"], "model.backbone"),
    (&["pretrained", "weights", "checkpoint"], "model.init"),
    (&["image_size", "img_size", "input_size", "resolution", "imsize"], "data.size"),
    (&["dataset", "path", "root", "data_dir", "dir"], "data.source"),
    (&["val", "val_split", "validation_split"], "data.validation"),
    (&["test_split", "test_size"], "data.test"),
    (&["augmentation", "transform", "transforms", "aa"], "data.augment"),
    (&["rand_augment"], "data.randaugment"),
    (&["jitter"], "data.colour_jitter"),
    (&["reprob", "erasing"], "data.random_erasing"),
    (&["mean", "std", "normalisation", "normalization"], "data.normalise"),
];

/// The key whose last part is `name`, or that others call so: `train.weight_decay` for `weight_decay` and for `wd`.
pub fn key_called(name: &str) -> Option<&'static str> {
    let own = KEYS.iter().map(|key| key.path).find(|path| path.rsplit('.').next() == Some(name));
    own.or_else(|| CALLED.iter().find(|(names, _)| names.contains(&name)).map(|(_, key)| *key))
}

/// The text for an unknown name `name` in `table` ("" is the top).
pub(super) fn unknown_key(table: &str, name: &str) -> String {
    let mut here = names_in(table);
    if table.is_empty() {
        here.insert(0, EXTENDS);
    }
    let dotted = |n: &str| match table {
        "" => n.to_owned(),
        _ => format!("{table}.{n}"),
    };
    let leaf = |p: &'static str| p.rsplit('.').next().unwrap_or(p);
    let elsewhere = |n: &str| KEYS.iter().map(|k| k.path).find(|p| leaf(p) == n);
    // A path of which a table is misspelt.
    let path = |name: &str| {
        let near = nearest(&dotted(name), KEYS.iter().map(|k| k.path), 1);
        near.first().filter(|_| name.contains('.')).map(|&n| n.to_owned())
    };
    let last = name.rsplit('.').next().unwrap_or(name).to_lowercase();
    let called =
        || CALLED.iter().find(|(names, _)| names.contains(&last.as_str())).map(|(_, key)| (*key).to_owned());
    let meant = elsewhere(name)
        .map(str::to_owned)
        .or_else(called)
        .or_else(|| path(name))
        .or_else(|| nearest(name, here.iter().copied(), 1).first().map(|n| dotted(n)))
        .or_else(|| {
            let leaves = KEYS.iter().map(|k| leaf(k.path));
            let near = nearest(name, leaves, 1);
            near.first().and_then(|n| elsewhere(n)).map(str::to_owned)
        });
    let hint = match meant {
        Some(m) => format!("; did you mean `{m}`?"),
        None => ".".to_owned(),
    };
    let place = match table {
        "" => "at the top of a recipe".to_owned(),
        _ => format!("in [{table}]"),
    };
    format!("unknown key{hint} Allowed {place}: {}", here.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::schema::find;

    #[test]
    fn words_of_others_are_understood() {
        for (names, key) in CALLED {
            assert!(find(key).is_some(), "{key} is no key");
            for name in *names {
                assert!(
                    !KEYS.iter().any(|k| k.path.rsplit('.').next() == Some(name)),
                    "{name} is a key itself"
                );
                assert_eq!(key_called(name), Some(*key));
                assert!(unknown_key("train", name).contains(&format!("did you mean `{key}`?")), "{name}");
            }
        }
        assert!(unknown_key("local", "K").contains("`local.modules`"));
        assert_eq!((key_called("weight_decay"), key_called("nothing")), (Some("train.weight_decay"), None));
        assert!(
            unknown_key("train", "epohcs").contains("`train.epochs`"),
            "others are found by their spelling"
        );
    }
}
