//! What lies beside a network's own tensors in a state dict and is no fault: what metrics count, weights of losses, queues and
//! projections of contrastive learning, averages, counters.

/// Words of names that averages of weights have.
const AVERAGES: [&str; 8] = ["ema", "swa", "average", "averaged", "averages", "avg", "shadow", "polyak"];
/// What `torch.optim.swa_utils.AveragedModel` counts.
pub(super) const AVERAGED: &str = "n_averaged";
/// Words of names that losses have: their weights are no part of a network.
const LOSSES: [&str; 4] = ["criterion", "criteria", "loss", "losses"];
/// Counters that are no part of a network.
const COUNTERS: [&str; 9] = [
    AVERAGED,
    "num_batches_tracked",
    "num_updates",
    "decay",
    "initted",
    "step",
    "epoch",
    "global_step",
    "iteration",
];
/// Words of names that metrics have.
const METRICS: [&str; 14] = [
    "metric", "metrics", "meter", "meters", "acc", "accuracy", "top1", "top5", "f1", "auroc", "confmat",
    "jaccard", "iou", "kappa",
];
/// What torchmetrics call their states; a module that has one is a metric.
const STATES: [&str; 12] = [
    "tp",
    "fp",
    "tn",
    "fn",
    "confmat",
    "correct",
    "total",
    "mean_value",
    "sum_value",
    "max_value",
    "min_value",
    "preds",
];
/// Words of names that what contrastive learning needs beside the network has.
const CONTRASTIVE: [&str; 9] = [
    "queue",
    "queues",
    "bank",
    "projector",
    "projectors",
    "projection",
    "projections",
    "predictor",
    "prototypes",
];
/// Words of names that classifiers have.
const CLASSIFIERS: [&str; 11] =
    ["fc", "head", "heads", "classifier", "linear", "cls", "clf", "logits", "last", "output", "mlp"];

/// The words of a part of a name: `modelEma` and `model_ema` are `model` and `ema`.
fn words(part: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for c in part.chars() {
        if !c.is_ascii_alphanumeric() || (lower && c.is_ascii_uppercase()) {
            words.push(String::new());
        }
        lower = c.is_ascii_lowercase();
        if let (true, Some(word)) = (c.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(c.to_ascii_lowercase());
        }
    }
    words
}

fn has_word(part: &str, of: &[&str]) -> bool {
    words(part).iter().any(|word| of.contains(&word.as_str()))
}

/// Whether what is called so is an average of weights.
pub(super) fn is_average(part: &str) -> bool {
    has_word(part, &AVERAGES)
}

/// Whether a module or tensor is called as classifiers are.
pub(super) fn is_classifier(name: &str) -> bool {
    name.split('.').any(|part| has_word(part, &CLASSIFIERS))
}

/// Whether a tensor of this name, which is not the network's, is known to be none of its; `there` says whether a name is
/// in the same state dict.
pub(super) fn belongs_elsewhere(name: &str, there: impl Fn(&str) -> bool) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let any = |of: &[&str]| name.split('.').any(|part| has_word(part, of));
    let of_metric =
        |(module, _): (&str, &str)| STATES.iter().any(|state| there(&format!("{module}.{state}")));
    COUNTERS.contains(&last)
        || any(&LOSSES)
        || any(&METRICS)
        || any(&CONTRASTIVE)
        || name.rsplit_once('.').is_some_and(of_metric)
        || name.split('.').next().is_some_and(is_average)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_things_are_told_by_words() {
        let metric = ["auc.confmat", "running.mean_value", "running.weight"];
        let there = |name: &str| metric.contains(&name);
        for name in [
            "n_averaged",
            "swa.n_averaged",
            "criterion.weight",
            "module.loss_fn.pos_weight",
            "model_ema.decay",
            "aux_loss.w",
            "emaModel.x",
            "train_acc.tp",
            "metrics.f1.fn",
            "val_top1.correct",
            "auc.thresholds",
            "running.weight",
            "module.queue",
            "module.queue_ptr",
            "projector.2.weight",
            "projection_head.0.weight",
            "initted",
        ] {
            assert!(belongs_elsewhere(name, there), "{name}");
        }
        for name in [
            "head.extra",
            "schema.weight",
            "glossy.weight",
            "layer1.0.ema_gate.weight",
            "classifier.weight",
            "accessor.weight",
            "layer1.0.conv1.weight",
            "x.mean",
        ] {
            assert!(!belongs_elsewhere(name, there), "{name}");
        }
    }

    #[test]
    fn classifiers_are_told_by_words() {
        for name in ["head.fc.weight", "classifier.1.weight", "cls_head.weight", "last_linear.bias"] {
            assert!(is_classifier(name), "{name}");
        }
        assert!(!is_classifier("layer1.0.conv1.weight") && !is_classifier("header.weight"));
    }
}
