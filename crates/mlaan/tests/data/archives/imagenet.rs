//! ImageNet's validation images.

use super::*;

/// ImageNet with three classes: two training images of each, and four validation images, whose classes are 2, 0, 1, 2.
fn imagenet(inside: &str) -> TempDir {
    let root = TempDir::new().unwrap();
    let at = |name: String| root.path().join(inside).join(name);
    for (c, synset) in SYNSETS.iter().enumerate() {
        for i in 0..2 {
            put(at(format!("train/{synset}/{synset}_{i}.JPEG")), &png(0, c * 2 + i));
        }
    }
    for i in 1..=4 {
        put(at(format!("val/ILSVRC2012_val_{i:08}.JPEG")), &png(1, i));
    }
    root
}

#[test]
fn imagenets_validation_images_get_their_classes() {
    let name = |i: usize| format!("ILSVRC2012_val_{i:08}");
    let truth = [2, 0, 1, 2];
    let each = |line: &dyn Fn(usize, usize) -> String| -> String {
        truth.iter().enumerate().map(|(i, c)| line(i + 1, *c) + "\n").collect()
    };
    let kaggle =
        format!("ImageId,PredictionString\n{}", each(&|i, c| format!("{},{} 1 2 3 4 ", name(i), SYNSETS[c])));
    let synsets = each(&|_, c| SYNSETS[c].to_owned());
    let caffe = each(&|i, c| format!("{}.JPEG {c}", name(i)));
    let words = each(&|i, c| format!("val/{}.JPEG {}", name(i), SYNSETS[c]));
    // The devkit's own order: 3, 1, 2.
    let devkit = each(&|_, c| [2, 3, 1][c].to_string());
    let map = "n03000684 1 saw\nn01440764 2 tench\nn02102040 3 springer\n".to_owned();
    // A list of classes in another order than the folders'.
    let reordered = each(&|i, c| format!("{}.JPEG {}", name(i), 2 - c));
    let order = "n03000684 saw\nn02102040 springer\nn01440764 tench\n".to_owned();
    let cases: Vec<(&str, Vec<(&str, String)>)> = vec![
        ("", vec![("LOC_val_solution.csv", kaggle.clone())]),
        ("ILSVRC/Data/CLS-LOC", vec![("LOC_val_solution.csv", kaggle)]),
        ("", vec![("imagenet_2012_validation_synset_labels.txt", synsets)]),
        ("", vec![("val.txt", caffe)]),
        ("", vec![("val/val.txt", words)]),
        ("", vec![("val.txt", reordered), ("synset_words.txt", order)]),
        (
            "",
            vec![
                ("ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", devkit),
                ("map_clsloc.txt", map),
            ],
        ),
    ];
    for (inside, lists) in cases {
        let root = imagenet(inside);
        for (file, text) in &lists {
            put(root.path().join(file), text.as_bytes());
        }
        let splits = opened(root.path()).unwrap();
        assert_eq!((splits.train.classes(), splits.train.len()), (&SYNSETS.map(String::from)[..], 6));
        let labels: Vec<usize> = (0..4).map(|i| splits.test.label(i)).collect();
        assert_eq!(labels, truth, "{lists:?}");
        is(&*splits.test, 2, (1, 3), 8);
        assert_eq!(splits.known, Some(Known::Imagenet));
    }
}

#[test]
fn validation_images_without_classes_are_explained() {
    let root = imagenet("");
    let at = |name: &str| root.path().join(name);
    fails(root.path(), &["val", "not their classes", "LOC_val_solution.csv", "one folder per class"]);
    put(at("ILSVRC2012_validation_ground_truth.txt"), b"1\n2\n3\n1\n");
    put(at("synset_words.txt"), b"n01440764 tench\n");
    fails(root.path(), &["ground_truth.txt", "an order of their own", "map_clsloc.txt"]);
    put(at("map_clsloc.txt"), b"n01440764 1 tench\nn02102040 2 x\nn03000684 three\n");
    fails(root.path(), &["map_clsloc.txt, line 3"]);
    put(at("map_clsloc.txt"), b"n01440764 1 tench\nn02102040 2 x\n");
    fails(root.path(), &["ground_truth.txt, line 3", "`3` is not a number of map_clsloc.txt"]);
    put(at("val.txt"), b"ILSVRC2012_val_00000001.JPEG n01440764\n");
    fails(root.path(), &["ILSVRC2012_val_00000002.JPEG", "image 2 is not in", "val.txt"]);
    put(at("val.txt"), b"cat 3\n");
    fails(root.path(), &["val.txt, line 1", "`cat 3`"]);
    let lines: String = (1..5).map(|i| format!("ILSVRC2012_val_{i:08}.JPEG n09999999\n")).collect();
    put(at("val.txt"), lines.as_bytes());
    fails(root.path(), &["n09999999", "no folder in `train/`"]);
}
