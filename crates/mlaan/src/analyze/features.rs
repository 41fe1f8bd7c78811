//! Feature maps: what networks look at in chosen images, at places spread over their depth.
//!
//! At each place: the mean over channels, and the channels whose mean over the image is greatest. Maps of one place
//! have units of their own, so each is shown from its least to its greatest value.

use super::{Place, Seen, Subject};
use crate::data::{Dataset, LoaderPool, Memory, Orientation};
use crate::{Error, Result};
use mlaan_engine::Tensor;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// Channels shown beside their mean.
pub const STRONGEST: usize = 4;
/// Images to look at, and what they are called.
pub struct Chosen {
    names: Vec<String>,
    images: Memory,
}

/// A picture of feature maps, as [`super::Analysis`] lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureSheet {
    /// The image: its number in the test split, or its path.
    pub image: String,
    /// Its class, where it is known.
    pub label: Option<String>,
    /// What each checkpoint takes it for, in their order.
    pub predictions: Vec<String>,
    /// The picture, beside the report.
    pub file: String,
}

/// What one network makes of one image.
#[derive(Clone, Debug)]
pub struct NetworkMaps {
    /// The network.
    pub subject: String,
    /// The class that it takes the image for.
    pub prediction: String,
    /// Maps at places, from the first to the last.
    pub places: Vec<Maps>,
}

/// Maps at one place.
#[derive(Clone, Debug)]
pub struct Maps {
    /// Where.
    pub at: Place,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Mean over channels, row by row.
    pub mean: Vec<f32>,
    /// The strongest channels, the strongest first: number and values.
    pub strongest: Vec<(usize, Vec<f32>)>,
}

/// One image and what each network makes of it.
#[derive(Clone, Debug)]
pub struct ImageMaps {
    /// What the image is called.
    pub image: String,
    /// Its class, where it is known.
    pub label: Option<String>,
    /// Side of the image as the networks see it.
    pub size: usize,
    /// `size * size * 3` bytes.
    pub rgb: Vec<u8>,
    /// Per network.
    pub networks: Vec<NetworkMaps>,
}

impl Chosen {
    /// No image yet, of these classes; the last of them stands for an unknown one.
    fn new(classes: &[String]) -> Self {
        let unknown = std::iter::once(String::new());
        Chosen { names: Vec::new(), images: Memory::new(classes.iter().cloned().chain(unknown).collect()) }
    }

    /// Images of a set, by number.
    ///
    /// # Errors
    /// A number beyond the set.
    pub fn of(data: &dyn Dataset, numbers: &[usize]) -> Result<Self> {
        let mut chosen = Self::new(data.classes());
        chosen.add(data, numbers)?;
        Ok(chosen)
    }

    /// Adds images of a set, by number.
    ///
    /// # Errors
    /// A number beyond the set.
    pub fn add(&mut self, data: &dyn Dataset, numbers: &[usize]) -> Result<()> {
        let mut scratch = Vec::new();
        for &i in numbers {
            if i >= data.len() {
                let message = format!("the test split has {} images, from 0", data.len());
                return Err(Error::data(format!("image {i}"), message));
            }
            self.images.push(data.image(i, &mut scratch)?, data.label(i))?;
            self.names.push(i.to_string());
        }
        Ok(())
    }

    /// Adds an image file, whose class is not known. `short_side` and `orientation`: see [`crate::data::OpenOptions`].
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn add_file(&mut self, path: &Path, short_side: usize, orientation: Orientation) -> Result<()> {
        let unknown = self.images.classes().len() - 1;
        let image = crate::data::read_image(path, short_side, orientation)?;
        self.images.push(image.view(), unknown)?;
        self.names.push(path.display().to_string());
        Ok(())
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// Shows the images to every network; `places` of each are kept, spread evenly, first and last among them.
///
/// # Errors
/// Networks for images of different sizes; anything from data or device.
pub fn features(
    subjects: &mut [Subject],
    chosen: Chosen,
    pool: &LoaderPool,
    places: usize,
) -> Result<Vec<ImageMaps>> {
    let Chosen { names, images } = chosen;
    let data: Arc<dyn Dataset> = Arc::new(images);
    let Some(frame) = subjects.first().map(Subject::frame) else { return Ok(Vec::new()) };
    let size = frame.size;
    if let Some(other) = subjects.iter().find(|s| s.manifest.size != size) {
        let message =
            format!("it sees images of {} pixels, others {size}: look at it apart", other.manifest.size);
        return Err(Error::data(&other.name, message));
    }
    let unknown = data.classes().len() - 1;
    let mut all = Vec::with_capacity(names.len());
    let seen = Seen { data: &data, pool, batch: 1 };
    seen.each(frame, false, &mut |batch| {
        let networks = subjects.iter_mut().map(|s| {
            let images = s.to_device(batch)?;
            maps_of(s, images, places)
        });
        let label = batch.labels.first().map_or(unknown, |&l| l as usize);
        all.push(ImageMaps {
            image: names[all.len()].clone(),
            label: (label != unknown).then(|| data.classes()[label].clone()),
            size,
            rgb: batch.bytes.clone(),
            networks: networks.collect::<Result<_>>()?,
        });
        Ok(())
    })?;
    Ok(all)
}

fn maps_of(subject: &mut Subject, image: Tensor, places: usize) -> Result<NetworkMaps> {
    let shown = spread(&subject.places, places);
    let device = subject.learner.device().clone();
    let mut found = Vec::with_capacity(shown.len());
    let logits = subject.learner.infer_seen(image, &mut |place, x| {
        if let Some(at) = shown.iter().find(|p| p.place == place) {
            let [_, height, width, channels] = x.nhwc();
            found.push(maps(at.clone(), [height, width, channels], &device.download(x)?));
        }
        Ok(())
    })?;
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    let prediction = best.and_then(|b| subject.manifest.classes.get(b)).cloned().unwrap_or_default();
    Ok(NetworkMaps { subject: subject.name.clone(), prediction, places: found })
}

/// So many of the places, evenly, first and last among them.
fn spread(places: &[Place], wanted: usize) -> Vec<Place> {
    let (n, wanted) = (places.len(), wanted.clamp(1, places.len().max(1)));
    let at = |i: usize| if wanted == 1 { n - 1 } else { (2 * i * (n - 1) + wanted - 1) / (2 * (wanted - 1)) };
    if places.is_empty() { Vec::new() } else { (0..wanted).map(|i| places[at(i)].clone()).collect() }
}

fn maps(at: Place, [height, width, channels]: [usize; 3], values: &[f32]) -> Maps {
    let pixels = || values.chunks_exact(channels);
    let mean = pixels().map(|p| p.iter().sum::<f32>() / channels as f32).collect();
    let mut strength = vec![0.0f64; channels];
    for p in pixels() {
        strength.iter_mut().zip(p).for_each(|(s, &v)| *s += f64::from(v));
    }
    let mut order: Vec<usize> = (0..channels).collect();
    order.sort_by(|&a, &b| strength[b].total_cmp(&strength[a]));
    order.truncate(STRONGEST);
    let strongest = order.into_iter().map(|c| (c, pixels().map(|p| p[c]).collect())).collect();
    Maps { at, height, width, mean, strongest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(place: usize) -> Place {
        Place { place, name: String::new(), channels: 1, module: 0, module_end: false }
    }

    #[test]
    fn places_are_spread_with_both_ends() {
        let all: Vec<Place> = (0..10).map(place).collect();
        let of = |n| spread(&all, n).iter().map(|p| p.place).collect::<Vec<_>>();
        assert_eq!(of(4), [0, 3, 6, 9]);
        assert_eq!(of(2), [0, 9]);
        assert_eq!(of(1), [9]);
        assert_eq!(of(0), [9]);
        assert_eq!(of(99), (0..10).collect::<Vec<_>>());
        assert!(spread(&[], 3).is_empty());
    }

    #[test]
    fn the_strongest_channels_come_first() {
        let m = maps(place(0), [1, 2, 5], &[0.0, 1.0, 5.0, 2.0, 0.5, 0.0, 3.0, 5.0, 0.0, 0.5]);
        assert_eq!(m.mean, [1.7, 1.7]);
        let found: Vec<usize> = m.strongest.iter().map(|s| s.0).collect();
        assert_eq!(found, [2, 1, 3, 4]);
        assert_eq!(m.strongest[1].1, [1.0, 3.0]);
    }
}
