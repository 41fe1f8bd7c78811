//! What descriptions say of a network, kept true when keys change it.

use super::Recipe;

/// A network by its depth and the modules it is cut into.
pub(super) fn network(depth: usize, modules: Option<usize>) -> String {
    match modules {
        None => format!("ResNet-{depth}"),
        Some(1) => format!("ResNet-{depth} in 1 module"),
        Some(n) => format!("ResNet-{depth} in {n} modules"),
    }
}

/// A recipe's network, as its description calls it.
pub(super) fn of(recipe: &Recipe) -> String {
    let modules = recipe.local.cuts.as_ref().map_or(recipe.local.modules, |c| c.len() + 1);
    network(recipe.model.backbone.depth(), Some(modules).filter(|n| *n > 1))
}

/// Puts the network as it is where the description still says `before`.
pub(super) fn follow(recipe: &mut Recipe, before: &str) {
    let now = of(recipe);
    if now != before {
        recipe.description = recipe.description.replace(before, &now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_follow_the_network() {
        let described = |name: &str, set: &[&str]| Recipe::compose(&[name], set).unwrap().description;
        assert_eq!(described("lam-resnet32-16", &[]), "LAM alone, ResNet-32 in 16 modules, CIFAR-10");
        let changed = described("lam-resnet32-16", &["model.backbone=resnet20", "local.modules=10"]);
        assert_eq!(changed, "LAM alone, ResNet-20 in 10 modules, CIFAR-10");
        let cut = described("dgl-resnet32-16", &["local.cuts=[4, 9]"]);
        assert!(cut.contains("ResNet-32 in 3 modules"), "{cut}");
        let plain = described("bp-resnet32", &["model.backbone=resnet20"]);
        assert!(plain.contains("ResNet-20") && !plain.contains("module"), "{plain}");
        let recipe = Recipe::load("lam-resnet32-16").unwrap();
        assert_eq!(recipe.method_and_network(), "LAM alone, ResNet-32 in 16 modules");
        // One's own words stay.
        let own = described("bp-resnet32", &["description=mine", "model.backbone=resnet20"]);
        assert_eq!(own, "mine");
        assert_eq!(Recipe { description: own, ..recipe }.method_and_network(), "mine");
        let extended = "extends = \"lam-resnet32-16\"\nmodel.backbone = \"resnet20\"\nlocal.modules = 10";
        let recipe = Recipe::parse(extended, "a").unwrap();
        assert_eq!(recipe.description, "LAM alone, ResNet-20 in 10 modules, CIFAR-10");
        let kept = Recipe::parse(&recipe.to_toml().unwrap(), "b").unwrap();
        assert_eq!(kept.description, recipe.description);
    }
}
