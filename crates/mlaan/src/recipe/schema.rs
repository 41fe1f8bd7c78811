//! Every key of a recipe: its type, its range, and one line of help.
//!
//! The one list behind the checks of files and of `--set`, the spelling hints, and the help text; a
//! test compares it with the structures that the keys fill.

use super::{OptimizerKind, Schedule};

/// What a key may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ValueType {
    /// Any string.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number from the first to the second value.
    Whole(i64, i64),
    /// A number from the first to the second value, both allowed.
    Real(f64, f64),
    /// A number above the first value, up to the second.
    Above(f64, f64),
    /// A number from 0, or above it where the flag says so, to less than 1.
    Share(bool),
    /// Two numbers from the first to the second value.
    Pair(f64, f64),
    /// A number from 0 to less than 1.
    Part,
    /// Two numbers from 0 to less than 1.
    Betas,
    /// One of these words, or numbers above 0.
    Weights(&'static [&'static str]),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of these words, none of them twice.
    Words(&'static [&'static str]),
    /// A list of names, none of them twice.
    Names,
    /// A backbone's name.
    Backbone,
    /// An auxiliary classifier's name.
    Head,
    /// A number from 0, or four of them, the last up to 0.5.
    Jitter,
    /// RandAugment's two whole numbers.
    RandAugment,
    /// Whole numbers, ascending.
    Ascending,
    /// A list of lists of whole numbers.
    Lists,
    /// One of these words, or a table of `mean` and `std`.
    Normalise(&'static [&'static str]),
}

/// One key of a recipe.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Dotted, as `local.cascade.span`.
    pub path: &'static str,
    pub(super) kind: ValueType,
    /// Whether the key may be absent; `none` then removes it.
    pub optional: bool,
    /// Meaning and unit, one line.
    pub help: &'static str,
}

/// The tables of a recipe; those marked optional may be absent.
pub(super) const TABLES: &[(&str, bool)] = &[
    ("model", false),
    ("local", false),
    ("local.cascade", true),
    ("local.leap", true),
    ("train", false),
    ("data", false),
];

/// A bound that only keeps arithmetic safe.
pub(super) const MANY: i64 = 1 << 32;
const HUGE: f64 = 1e6;
const BRANCHES: &[&str] = &["independent", "cascaded"];

const fn key(path: &'static str, kind: ValueType, help: &'static str) -> Key {
    Key { path, kind, optional: false, help }
}

const fn optional(path: &'static str, kind: ValueType, help: &'static str) -> Key {
    Key { path, kind, optional: true, help }
}

/// The key that names what a recipe extends.
pub(super) const EXTENDS: &str = "extends";
/// What the one name is for that is no key: it is gone when a recipe has been read.
pub const EXTENDS_HELP: &str = "recipes whose keys this one begins with: a built-in name, or a path counted from this file, or a list of which later ones win; none or off then drops what an optional key or table inherits";

/// All keys, in the order of a recipe file.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("description", ValueType::Text, "what this experiment is"),
    key("seed", ValueType::Whole(0, i64::MAX), "random seed"),
    key("model.backbone", ValueType::Backbone, "resnet{6n+2} for small images (resnet20, resnet32, resnet110, ...), or resnet18/34/50/101/152 for ImageNet"),
    optional("model.family", ValueType::Word(&["cifar", "imagenet"]), "which ResNets the backbone's depth is of; told by the depth when absent"),
    optional("model.width", ValueType::Whole(1, 65_536), "channels of the first stage, doubled at each later one; 16 (cifar) or 64 (imagenet) when absent"),
    optional("model.init", ValueType::Text, "checkpoint (a run's folder, or last.json or best.json in it) or file of weights (.pth, .safetensors) that training starts from"),
    optional("model.init_key", ValueType::Text, "which network of a file of weights, where it has several: a key of a nested dictionary, or what stands in front of its names"),
    key("local.modules", ValueType::Whole(1, MANY), "number of local modules; 1 is backpropagation"),
    optional("local.stem_alone", ValueType::Flag, "whether the stem is a module of its own; when absent, if modules = blocks + 1"),
    optional("local.cuts", ValueType::Ascending, "number of blocks below each cut; overrides modules"),
    key("local.balance", ValueType::Flag, "balance the peak memory of modules instead of their numbers of blocks; the run keeps the cuts"),
    key("local.recompute", ValueType::Word(&["none", "module"]), "activation checkpointing: recompute nothing, or the activations inside modules, in the backward pass instead of storing them; bit-identical"),
    optional("local.segments", ValueType::Whole(1, MANY), "segments of a recomputed module, even by blocks, of which the inputs are stored (torch's checkpoint_sequential); the square root of its blocks when absent"),
    key("local.offload", ValueType::Word(&["none", "auxiliary"]), "offload to pinned host memory: nothing, or auxiliary networks with their momentum, which come to the GPU by turns; bit-identical"),
    key("local.head", ValueType::Head, "auxiliary classifier: AcBf, A convolutions and B linear layers (e.g. 1c2f), or dgl, the DGL paper's"),
    key("local.hidden", ValueType::Whole(1, 1 << 20), "width of the hidden linear layers of auxiliary classifiers"),
    key("local.loss", ValueType::Word(&["cross_entropy", "contrastive"]), "task loss of the auxiliary classifiers"),
    key("local.temperature", ValueType::Above(0.0, HUGE), "temperature of the contrastive loss"),
    key("local.reconstruct", ValueType::Pair(0.0, HUGE), "weight of the reconstruction at the first and the last local loss (InfoPro's lambda 1)"),
    key("local.task", ValueType::Pair(0.0, HUGE), "weight of the task loss at the first and the last local loss (InfoPro's lambda 2)"),
    key("local.cascade.span", ValueType::Whole(2, MANY), "modules trained together by one cascaded loss (MLM)"),
    key("local.cascade.independent", ValueType::Real(0.0, HUGE), "weight of the independent loss, that of one module alone"),
    key("local.cascade.cascaded", ValueType::Real(0.0, HUGE), "weight of the cascaded loss"),
    key("local.leap.tie", ValueType::Word(&["pulled", "twin", "untied"]), "how the copies of later blocks (mirrors) follow their sources: pulled (the paper, eqs. 9 and 10): trained, and tied by EMA; twin (the authors' code): trained, with a frozen EMA copy (shadow) beside the first; untied (an ablation): trained, and following nothing"),
    key("local.leap.on", ValueType::Word(BRANCHES), "the loss whose auxiliary network has the copies of later blocks in front (a leap chain, LAM)"),
    key("local.leap.depth", ValueType::Whole(1, MANY), "copies in a chain at most, when sources does not say (more where the shapes need them)"),
    key("local.leap.width", ValueType::Above(0.0, 1.0), "channels of the copies, as a fraction of their sources'; below 1 only with tie untied and init random (an ablation)"),
    key("local.leap.share", ValueType::Word(&["none", "stage"]), "modules that train one leap chain between them instead of one each: none, or those whose outputs have the same shape (a stage of a ResNet); saves parameters and momentum of the copies, and changes results"),
    key("local.leap.every", ValueType::Whole(1, 64), "train the copies every this many steps; in others the gradient goes through them, without gradients of their weights"),
    key("local.leap.ema", ValueType::Real(0.0, 1.0), "EMA factor m of p <- m p + (1 - m) source"),
    key("local.leap.init", ValueType::Word(&["sources", "random"]), "the values that mirrors begin with: their sources' (the paper), or random ones of their own"),
    key("local.leap.state", ValueType::Word(&["f32", "bf16"]), "what momentum of mirrors' weights and shadows' weights are stored in; bf16 halves their memory, rounded stochastically, and changes results"),
    key("local.leap.lag", ValueType::Whole(0, 64), "steps that the EMA copies lag behind their sources, so that stages and ranks need not wait for each other: their number and more keeps all at work"),
    optional("local.leap.sources", ValueType::Lists, "per module (all but the last) the later blocks that it has copies of, in the order of the chain, counted from 0"),
    key("train.epochs", ValueType::Whole(1, MANY), "passes over the training images"),
    key("train.batch", ValueType::Whole(1, MANY), "images per step"),
    optional("train.shards", ValueType::Whole(1, 65_536), "shards (micro-batches) that a step's batch is cut into, one after the other (gradient accumulation): less memory, the same learning rate and mean loss; BatchNorm's statistics, a contrastive loss and the mean by train.class_weights are of each shard; 1 when absent"),
    key("train.lr", ValueType::Real(0.0, HUGE), "peak learning rate, not scaled with the batch, unless train.lr_batch is there"),
    optional("train.lr_auxiliary", ValueType::Real(0.0, HUGE), "peak learning rate of the independent auxiliary networks; train.lr when absent"),
    optional("train.lr_cascaded", ValueType::Real(0.0, HUGE), "peak learning rate of the cascaded auxiliary networks; train.lr when absent"),
    optional("train.lr_batch", ValueType::Whole(1, MANY), "batch that the learning rates beside it are meant for; with steps of other sizes they change in proportion. A recipe or --set that sets train.lr without it drops an inherited one"),
    key("train.optimizer", ValueType::Word(OptimizerKind::WORDS), "optimizer; rates of one are refused for another: set train.lr beside adamw (0.001 is usual) and lars (1 to 10); weight decays of recipes are for sgd"),
    optional("train.betas", ValueType::Betas, "adamw: decay of the means of gradients and of their squares; [0.9, 0.999] when absent"),
    optional("train.eps", ValueType::Above(0.0, 1.0), "adamw, lars: added to the denominator; 1e-8 when absent"),
    optional("train.trust_coefficient", ValueType::Above(0.0, HUGE), "lars: length of a weight's step, as a part of the weight's norm; 0.001 when absent"),
    key("train.momentum", ValueType::Real(0.0, 1.0), "sgd, lars: momentum"),
    key("train.nesterov", ValueType::Flag, "sgd, lars: Nesterov momentum"),
    key("train.weight_decay", ValueType::Real(0.0, HUGE), "weight decay of every trained parameter, but for train.no_decay; decoupled from the gradient in adamw"),
    optional("train.no_decay", ValueType::Words(&["weight", "bias", "norm"]), "parameters without weight decay, by role: weight and bias of convolutions and linear layers, norm (scale and offset of a BatchNorm); all have it when absent"),
    optional("train.label_smoothing", ValueType::Part, "part of every target spread evenly over all classes, in all cross-entropies that train (torch's label_smoothing); losses that are shown are the smoothed ones"),
    optional("train.class_weights", ValueType::Weights(&["balanced"]), "weight of each class in all cross-entropies that train (torch's weight): balanced, which is n / (classes * images of the class) over the training images, or a number per class; of mixtures (data.mixup) as torch's class probabilities: the mean is over images"),
    optional("train.clip_grad_norm", ValueType::Above(0.0, HUGE), "maximum norm of gradients (torch's clip_grad_norm_), of each module's own parameters (the last one's with the classifier) and of each auxiliary network by itself"),
    optional("train.freeze", ValueType::Names, "parameters to freeze (torch's requires_grad=False), by the first parts of their names, e.g. [\"stem\", \"layer1\"]; mostly beside model.init; BatchNorm's running statistics still move"),
    optional("train.model_ema_decay", ValueType::Above(0.0, 0.999_999), "decay of an EMA of the weights and running statistics (timm's model EMA), e.g. 0.999: it is what is tested, kept as the best, exported and used; none is kept when absent"),
    key("train.schedule", ValueType::Word(Schedule::WORDS), "learning rate after the warm-up; cosine, linear: to train.min_lr in the last epoch; step, multistep: cut; wsd: constant, then linear"),
    key("train.warmup", ValueType::Whole(0, MANY), "epochs of linear warm-up; an inherited one takes at most a fifth of train.epochs"),
    optional("train.full_warmup", ValueType::Flag, "take the warm-up whole, also where it is more than a fifth of train.epochs; set by itself where such a train.warmup is set"),
    optional("train.step_size", ValueType::Whole(1, MANY), "step: epochs between two cuts of the learning rate (torch's StepLR)"),
    optional("train.gamma", ValueType::Above(0.0, 1.0), "step, multistep: factor by which the learning rate is multiplied (torch's gamma); 0.1 when absent"),
    optional("train.milestones", ValueType::Ascending, "multistep: epochs after which the learning rate is cut (torch's MultiStepLR)"),
    optional("train.min_lr", ValueType::Real(0.0, HUGE), "cosine, linear, wsd: learning rate at the end, for any batch; 0 when absent"),
    optional("train.decay_fraction", ValueType::Above(0.0, 1.0), "wsd: fraction of the run that the learning rate decays over; 0.2 when absent"),
    optional("train.per_step", ValueType::Flag, "update the learning rate every step instead of every epoch, on the same schedule"),
    optional("train.warmup_steps", ValueType::Whole(0, MANY), "steps of linear warm-up instead of train.warmup; with train.per_step"),
    optional("train.patience", ValueType::Whole(0, MANY), "early stopping: end the run after this many epochs without a lower validation error (test error where there is no validation set); 0: never"),
    key("train.precision", ValueType::Word(&["f32", "bf16"]), "precision that activations and their gradients are stored in; bf16 halves their memory"),
    key("data.source", ValueType::Text, "builtin, or the path of a data set"),
    key("data.size", ValueType::Whole(8, 8192), "height and width of the images that the network sees, pixels"),
    optional("data.limit", ValueType::Whole(1, MANY), "use only this many training images"),
    optional("data.validation", ValueType::Share(false), "fraction of the training images to hold out for validation (of those that data.limit and data.test leave), stratified, drawn by the seed, where the set has no validation split beside its test split; 0: also without the set's own"),
    optional("data.test", ValueType::Share(true), "fraction of every class to hold out for testing, the same for every seed, where the set has no test split, or no splits at all"),
    key("data.load", ValueType::Word(&["auto", "memory", "stream"]), "decode images once into memory, or each time from disk, in their own size; auto: memory up to 2 GiB of them"),
    key("data.orientation", ValueType::Word(&["auto", "exif", "ignore"]), "whether the EXIF orientation is applied to images; auto: in folders and archives of one's own pictures, not in published sets (parquet, CIFAR, ImageNet, ...)"),
    key("data.sampler", ValueType::Word(&["shuffle", "balanced"]), "images of an epoch: each once, or as many drawn with replacement, each class as often as any other (torch's WeightedRandomSampler, weights 1/images of the class)"),
    key("data.augment", ValueType::Word(&["auto", "cifar", "svhn", "stl10", "imagenet", "none"]), "augmentation of training images; auto: what suits the data set, and digits are not mirrored"),
    optional("data.randaugment", ValueType::RandAugment, "RandAugment as torchvision has it: [operations for an image, their magnitude from 0 to 30]; [2, 9] is usual"),
    optional("data.colour_jitter", ValueType::Jitter, "color jitter (torchvision's ColorJitter): changes of brightness, contrast and saturation by at most this fraction; or [brightness, contrast, saturation, hue]"),
    optional("data.random_erasing", ValueType::Real(0.0, 1.0), "probability that a random rectangle, 2 to 33 % of an image, is erased"),
    optional("data.cutout", ValueType::Whole(1, 8192), "side of the square that is cut out of every image around a random pixel, pixels"),
    optional("data.mixup", ValueType::Above(0.0, HUGE), "mixes pairs of images and their labels by a fraction from Beta(alpha, alpha): this alpha"),
    optional("data.cutmix", ValueType::Above(0.0, HUGE), "pastes a rectangle of another image, and mixes labels by its area, a fraction from Beta(alpha, alpha): this alpha, 1 is usual; beside data.mixup, each batch takes one of both"),
    key("data.normalise", ValueType::Normalise(&["auto", "cifar10", "svhn", "stl10", "imagenet"]), "mean and standard deviation that pixels are normalized with: a data set's name, or {mean = [r, g, b], std = [r, g, b]} of pixels in 0 to 1"),
    key("data.skip_broken", ValueType::Flag, "skip images that cannot be decoded instead of stopping"),
    optional("data.short_side", ValueType::Whole(8, 16_384), "shorter side of a test image before its center crop, pixels; images of data.size are taken as they are"),
];

/// The names directly inside `table` ("" is the top).
pub(super) fn names_in(table: &str) -> Vec<&'static str> {
    let inside = |path: &'static str| {
        let rest = match table {
            "" => path,
            _ => path.strip_prefix(table)?.strip_prefix('.')?,
        };
        (!rest.contains('.')).then_some(rest)
    };
    let keys = KEYS.iter().filter_map(|k| inside(k.path));
    keys.chain(TABLES.iter().filter_map(|(t, _)| inside(t))).collect()
}

/// The key at `path`.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.path == path)
}

/// Whether `path` is a table, and whether that table may be absent.
pub(super) fn table(path: &str) -> Option<bool> {
    TABLES.iter().find(|(t, _)| *t == path).map(|(_, o)| *o)
}

/// The dotted path of `name` in `table` ("" is the top).
pub(super) fn join(table: &str, name: &str) -> String {
    match table {
        "" => name.to_owned(),
        _ => format!("{table}.{name}"),
    }
}

/// Whether this text, as the value of an optional key or table, removes it.
pub(super) fn removes(text: &str) -> bool {
    ["none", "off"].contains(&text)
}
