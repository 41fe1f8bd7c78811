//! What tells the images of a run from others of the same number: their labels, and what a few of them look like.

use super::spread::spread_of;
use super::{Dataset, Splits};
use crate::Result;
use serde::{Deserialize, Serialize};

/// Images of each split that are looked at.
const SAMPLE: usize = 8;
/// Means that differ by no more are of the same image, which another decoder may round otherwise: hundredths of a step of 255.
const ROUNDING: u16 = 100;

/// A fingerprint of every split: training, test, and validation images where there are some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(Vec<SplitFingerprint>);

/// Of one split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitFingerprint {
    /// CRC-32 of the labels, each as 4 bytes, little-endian.
    labels: u32,
    /// Mean red, green and blue of up to 8 images, evenly spread, in hundredths of 0 to 255. None where an image is another one each time
    /// that it is asked for, as with random transforms of a data set of Python; and of test images beside validation images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    means: Option<Vec<[u16; 3]>>,
}

/// The names of [`Splits::all`], in its order.
const NAMES: [&str; 3] = ["training", "test", "validation"];

impl Fingerprint {
    /// Of these images.
    ///
    /// # Errors
    /// An image that cannot be had.
    pub fn of(splits: &Splits) -> Result<Self> {
        // Beside validation images nobody looks at test images before the end.
        let kept_apart = |name| name == "test" && splits.validation.is_some();
        let of = |(data, name)| SplitFingerprint::of(data, !kept_apart(name));
        splits.all().zip(NAMES).map(of).collect::<Result<_>>().map(Fingerprint)
    }

    /// Without that of validation images, of a run that does without them.
    pub(crate) fn without_validation(&mut self) {
        self.0.truncate(2);
    }

    /// What is other in images whose numbers are those that this is of, and whose fingerprint is `now`; as the end of a sentence. A
    /// split that one of them lacks is not compared.
    pub fn difference(&self, splits: &Splits, now: &Fingerprint) -> Option<String> {
        let pairs = self.0.iter().zip(&now.0).zip(splits.all().zip(NAMES));
        pairs.into_iter().find_map(|((was, is), (data, name))| was.difference(is, data, name))
    }
}

impl SplitFingerprint {
    /// Of labels, and of pixels where these may be looked at.
    fn of(data: &dyn Dataset, looks: bool) -> Result<Self> {
        let mut labels = crc32fast::Hasher::new();
        (0..data.len()).for_each(|index| labels.update(&(data.label(index) as u32).to_le_bytes()));
        let mut found = if looks { Some(means(data)?) } else { None };
        if data.varies() && found.is_some() && found != Some(means(data)?) {
            found = None;
        }
        Ok(SplitFingerprint { labels: labels.finalize(), means: found })
    }

    fn difference(&self, now: &Self, data: &dyn Dataset, name: &str) -> Option<String> {
        if self.labels != now.labels {
            return Some(format!("as many, but {name} images have other labels, or are in another order"));
        }
        let (was, is) = (self.means.as_ref()?, now.means.as_ref()?);
        let at = first_far(was, is)?;
        let index = looked_at(data).nth(at)?;
        let image = data.image_name(index).unwrap_or_else(|| format!("image {index}"));
        let said = |means: &[[u16; 3]]| {
            let rounded = means.get(at)?.map(|mean| (f64::from(mean) / 100.0).round().to_string());
            Some(rounded.join(", "))
        };
        let (was, is) = (said(was)?, said(is)?);
        Some(format!(
            "as many, with the same labels, but {image} ({name}) is another one: its mean colour was {was}, and is {is}"
        ))
    }
}

/// The first image whose means differ.
fn first_far(one: &[[u16; 3]], other: &[[u16; 3]]) -> Option<usize> {
    let far = |(a, b): (&[u16; 3], &[u16; 3])| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > ROUNDING);
    one.iter().zip(other).position(far)
}

/// The images of a split whose pixels count.
fn looked_at(data: &dyn Dataset) -> impl Iterator<Item = usize> + use<> {
    spread_of(data.len(), SAMPLE)
}

/// Of the images that are looked at.
fn means(data: &dyn Dataset) -> Result<Vec<[u16; 3]>> {
    let mut scratch = Vec::new();
    let mut mean = |index| {
        let (pixels, _) = data.image(index, &mut scratch)?.rgb.as_chunks::<3>();
        let mut sums = [0u64; 3];
        for pixel in pixels {
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u64::from(*value));
        }
        let n = pixels.len().max(1) as u64;
        Ok(sums.map(|sum| (100 * sum / n) as u16))
    };
    looked_at(data).map(&mut mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Given, ImageView, Memory, OpenOptions};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    fn set(first: u8, label: impl Fn(usize) -> usize) -> Arc<dyn Dataset> {
        let mut set = Memory::new(vec!["a".into(), "b".into()]);
        for i in 0..20 {
            set.push(ImageView { height: 1, width: 2, rgb: &[first + 3 * i as u8; 6] }, label(i)).unwrap();
        }
        Arc::new(set)
    }

    fn splits(train: Arc<dyn Dataset>) -> Splits {
        let test = Some(set(7, |i| i % 2));
        let given = Given { name: "mine".into(), format: "arrays", train, validation: None, test };
        given.splits(&OpenOptions::default()).unwrap()
    }

    #[test]
    fn other_labels_and_other_pixels_are_told_and_rounding_is_not() {
        let of = |train| {
            let splits = splits(train);
            (Fingerprint::of(&splits).unwrap(), splits)
        };
        let (was, _) = of(set(0, |i| i % 2));
        let differs = |train| {
            let (now, splits) = of(train);
            was.difference(&splits, &now)
        };
        assert_eq!(differs(set(0, |i| i % 2)), None);
        assert_eq!(differs(set(1, |i| i % 2)), None, "as another decoder may round");
        let said = differs(set(0, |i| (i + 1) % 2)).unwrap();
        assert!(said.contains("training images have other labels"), "{said}");
        let said = differs(set(40, |i| i % 2)).unwrap();
        assert!(
            said.contains(
                "image 0 (training) is another one: its mean colour was 0, 0, 0, and is 40, 40, 40"
            ),
            "{said}"
        );
        // The ones that are looked at are told by their own numbers.
        let train = set(0, |i| i % 2);
        let other = splits(Arc::clone(&train));
        let mut now = Fingerprint::of(&other).unwrap();
        now.0[1].means.as_mut().unwrap()[1] = [200; 3];
        let said = was.difference(&other, &now).unwrap();
        assert!(said.contains("image 2 (test)"), "{said}");
    }

    /// Images that change.
    struct Random(AtomicU8, [String; 2]);

    impl Dataset for Random {
        fn len(&self) -> usize {
            20
        }

        fn classes(&self) -> &[String] {
            &self.1
        }

        fn label(&self, index: usize) -> usize {
            index % 2
        }

        fn image<'a>(&'a self, _: usize, scratch: &'a mut Vec<u8>) -> Result<ImageView<'a>> {
            scratch.clear();
            scratch.resize(6, self.0.fetch_add(50, Ordering::SeqCst));
            Ok(ImageView { height: 1, width: 2, rgb: scratch })
        }

        fn varies(&self) -> bool {
            true
        }

        fn resident_bytes(&self) -> usize {
            0
        }
    }

    #[test]
    fn images_that_change_are_told_by_their_labels_alone() {
        let random = splits(Arc::new(Random(AtomicU8::new(0), ["a".into(), "b".into()])));
        let was = Fingerprint::of(&random).unwrap();
        assert!(was.0[0].means.is_none() && was.0[1].means.is_some());
        assert_eq!(was.difference(&random, &Fingerprint::of(&random).unwrap()), None);
        let steady = splits(set(9, |i| i % 2));
        assert_eq!(was.difference(&steady, &Fingerprint::of(&steady).unwrap()), None);
    }

    #[test]
    fn a_split_that_is_not_there_is_not_compared() {
        let without = splits(set(0, |i| i % 2));
        let with = Splits { validation: Some(set(3, |i| i % 2)), ..without.clone() };
        let [was, now] = [&without, &with].map(|s| Fingerprint::of(s).unwrap());
        assert!(was.0[1].means.is_some() && now.0[1].means.is_none() && now.0[2].means.is_some());
        assert_eq!(was.difference(&without, &now), None);
        let kept = serde_json::to_string(&now).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&kept).unwrap(), now, "{kept}");
    }
}
