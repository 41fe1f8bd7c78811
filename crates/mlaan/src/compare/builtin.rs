//! The built-in suites: the files of the `suites` folder.

macro_rules! suites {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../suites/", $name, ".toml")))),*]
    };
}

/// Name and text of every built-in suite.
pub fn builtin() -> &'static [(&'static str, &'static str)] {
    suites![
        "small",
        "forms",
        "chains",
        "table1-cifar10",
        "table1-stl10",
        "table1-svhn",
        "table2-imagenet",
        "table3-memory",
        "table4-ablation",
        "table5-epochs",
    ]
}
