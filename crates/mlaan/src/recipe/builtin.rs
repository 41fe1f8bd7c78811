//! The built-in recipes: the files of the `recipes` folder.

macro_rules! recipes {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../recipes/", $name, ".toml")))),*]
    };
}

/// Name and text of every built-in recipe.
pub fn builtin() -> &'static [(&'static str, &'static str)] {
    recipes![
        "quickstart",
        "bp-resnet32",
        "dgl-resnet32-16",
        "infopro-resnet32-16",
        "mlm-resnet32-16",
        "lam-resnet32-16",
        "mlaan-paper-resnet32-16",
        "mlaan-released-resnet32-16",
        "dgl-star-resnet32-16",
        "infopro-star-resnet32-16",
        "bp-resnet110",
        "mlaan-released-resnet110-55",
        "bp-resnet34",
        "bp-resnet50",
    ]
}
