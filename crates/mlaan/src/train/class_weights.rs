//! The weights of a data set's classes.

use crate::data::Dataset;
use crate::recipe::{ClassRule, ClassWeights};
use crate::{Error, Result};

const KEY: &str = "train.class_weights";

/// By what each class of a training set counts.
///
/// # Errors
/// Another number of weights than classes; a class without images, where weights go by their number.
pub fn class_weights(asked: &ClassWeights, train: &dyn Dataset) -> Result<Vec<f32>> {
    let classes = train.classes();
    match asked {
        ClassWeights::Each(weights) if weights.len() != classes.len() => {
            let (found, needed) = (weights.len(), classes.len());
            let message = format!(
                "found {found} numbers, but the data set has {needed} classes; write one for each, in their order"
            );
            Err(Error::recipe(KEY, message))
        }
        ClassWeights::Each(weights) => {
            // What is too small for 32 bits would be no weight.
            Ok(weights.iter().map(|&w| (w as f32).max(f32::MIN_POSITIVE)).collect())
        }
        ClassWeights::Rule(ClassRule::Balanced) => {
            let mut counts = vec![0usize; classes.len()];
            for label in (0..train.len()).map(|i| train.label(i)) {
                if let Some(count) = counts.get_mut(label) {
                    *count += 1;
                }
            }
            if let Some(empty) = counts.iter().position(|&count| count == 0) {
                let message = format!(
                    "balanced weights go by the images of a class, and there is no training image of `{}`; write a number per \
                     class instead",
                    classes[empty]
                );
                return Err(Error::recipe(KEY, message));
            }
            let all = train.len() as f64 / classes.len() as f64;
            Ok(counts.iter().map(|&count| (all / count as f64) as f32).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ImageView, Memory};

    fn set(labels: &[usize]) -> Memory {
        let mut memory = Memory::new(["a", "b", "c"].map(String::from).to_vec());
        for &label in labels {
            memory.push(ImageView { height: 1, width: 1, rgb: &[0; 3] }, label).unwrap();
        }
        memory
    }

    #[test]
    fn balanced_weights_are_scikit_learns() {
        let balanced = ClassWeights::Rule(ClassRule::Balanced);
        // sklearn.utils.class_weight.compute_class_weight("balanced", classes=[0, 1, 2], y=[0, 0, 0, 0, 1, 2, 2, 2])
        let found = class_weights(&balanced, &set(&[0, 0, 0, 0, 1, 2, 2, 2])).unwrap();
        assert_eq!(found, [0.666_666_7, 2.666_666_7, 0.888_888_9]);
        assert_eq!(class_weights(&balanced, &set(&[2, 1, 0])).unwrap(), [1.0; 3]);
        let error = class_weights(&balanced, &set(&[0, 2])).unwrap_err().to_string();
        assert!(
            error.contains("train.class_weights") && error.contains("no training image of `b`"),
            "{error}"
        );
    }

    #[test]
    fn a_list_has_a_number_for_every_class() {
        let each = |weights: &[f64]| class_weights(&ClassWeights::Each(weights.to_vec()), &set(&[0]));
        assert_eq!(each(&[0.5, 1.0, 2.0]).unwrap(), [0.5, 1.0, 2.0]);
        assert!(each(&[1e-60, 1.0, 2.0]).unwrap()[0] > 0.0);
        for wrong in [&[1.0, 2.0][..], &[1.0; 4]] {
            let error = each(wrong).unwrap_err().to_string();
            assert!(error.contains("the data set has 3 classes"), "{error}");
        }
    }
}
