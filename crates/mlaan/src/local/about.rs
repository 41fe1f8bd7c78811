//! What a method is, in words.

use super::{Head, LeapShare, Method, TaskLoss, Tie};

impl Method {
    /// What it does, in a sentence for people who know backpropagation.
    pub fn about(&self) -> String {
        let modules = self.cuts.as_ref().map_or(self.modules, |cuts| cuts.len() + 1);
        if modules <= 1 {
            return "Backpropagation: one loss at the end, gradients through the whole network.".into();
        }
        let reconstructs = self.reconstruct.iter().any(|weight| *weight > 0.0);
        let mut text = format!(
            "{modules} modules with no gradient between them, each with a loss of its own at an auxiliary classifier ({})",
            self.head.about()
        );
        if reconstructs {
            text.push_str(", which also reconstructs the image through a decoder (InfoPro)");
        }
        if self.loss == TaskLoss::Contrastive {
            text.push_str("; the losses are supervised contrastive ones");
        }
        if let Some(cascade) = &self.cascade {
            let span = cascade.span;
            text.push_str(&format!("; a second loss of each goes back through {span} modules (MLM)"));
        }
        if let Some(leap) = &self.leap {
            let copies = if leap.tie == Tie::Untied { "trained" } else { "EMA" };
            text.push_str(&format!(
                "; in front of the auxiliary classifier are {copies} copies of later blocks (LAM)"
            ));
            if leap.share == LeapShare::Stage {
                text.push_str(", which modules with outputs of the same shape share");
            }
        }
        text + "."
    }
}

impl Head {
    /// Its layers, in words.
    pub fn about(self) -> String {
        let several = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
        match self {
            Head::Classifier { convolutions: 0, linears } => several(linears, "linear layer"),
            Head::Classifier { convolutions, linears } => {
                format!("{} and {}", several(convolutions, "convolution"), several(linears, "linear layer"))
            }
            Head::Dgl => "as in the DGL paper".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::recipe::Recipe;

    #[test]
    fn methods_are_told_apart_by_what_they_do() {
        let about = |name: &str| Recipe::load(name).unwrap().local.about();
        assert!(about("bp-resnet20").starts_with("Backpropagation"));
        assert!(about("dgl-resnet20-10").contains("10 modules") && !about("dgl-resnet20-10").contains("MLM"));
        assert!(about("infopro-resnet20-10").contains("decoder"));
        assert!(about("mlm-resnet20-10").contains("through 3 modules (MLM)"));
        assert!(about("lam-resnet20-10").contains("EMA copies") && !about("lam-resnet20-10").contains("MLM"));
        let both = about("mlaan-released-resnet20-10");
        assert!(both.contains("MLM") && both.contains("LAM") && both.contains("1 linear layer"), "{both}");
    }
}
