//! The members of one shard, and the samples that they make.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::super::blocks::{Found, Type};
use super::super::packed::{each_member, read_bytes};
use super::super::tree::left_behind;
use super::label::{Label, LabelFile, instead};
use super::sample::{Bytes, Part, Sample, ending, key, samples};
use crate::data::is_image;
use crate::data::notes::{Notes, few, reason};
use crate::{Error, Result};

/// JSON members without a label that are kept, for what is said of a sample without one.
const MOST_JSON: usize = 64;
/// Links that may lead to each other.
const MOST_LINKS: usize = 40;

/// What was found in shards.
#[derive(Default)]
pub(super) struct Shard {
    pub samples: Vec<Sample>,
    /// Images without a label: how many, and the place of the first.
    pub unlabelled: (usize, String),
    pub notes: Notes,
    /// Members that were passed, and the first.
    members: (usize, String),
}

impl Shard {
    /// What lies in the archive `path`.
    ///
    /// # Errors
    /// Damage; a label that is none, or has no image.
    pub fn read(path: &Path) -> Result<Self> {
        // Most shards have no links: their members need not be kept until all are seen.
        match Reader::read(path, false)? {
            Some(shard) => Ok(shard),
            None => Ok(Reader::read(path, true)?.unwrap_or_default()),
        }
    }

    /// What lies in it, for a message.
    pub fn contents(&self) -> String {
        match &self.members {
            (0, _) => "it is empty".into(),
            (n, first) => format!("it has {n} members, the first is {first}"),
        }
    }
}

/// A member, and what it links to.
struct Read {
    part: Part,
    link: Option<String>,
}

struct Reader<'a> {
    path: &'a Path,
    shard: Shard,
    /// Members since the key changed, or since the beginning.
    open: Vec<Read>,
    /// JSON in which no label was found, of some of the members since then, by their keys.
    json: Vec<(String, Vec<u8>)>,
    /// Names without ending of the last `.cls`: other labels beside it need not be read.
    labelled: String,
}

impl<'a> Reader<'a> {
    /// The shard; nothing where it has links and members were not kept.
    fn read(path: &'a Path, keep: bool) -> Result<Option<Shard>> {
        let (shard, open, json, labelled) = (Shard::default(), Vec::new(), Vec::new(), String::new());
        let mut reader = Reader { path, shard, open, json, labelled };
        let mut linked = false;
        let walked = each_member(path, &mut |found| {
            linked |= matches!(found.what, Type::Link { .. });
            if linked && !keep {
                return Ok(false);
            }
            if let Some(read) = reader.member(found)? {
                let before = reader.open.last().and_then(|read| key(&read.part.name));
                if !keep && before.is_some_and(|before| Some(before) != key(&read.part.name)) {
                    reader.close()?;
                }
                reader.open.push(read);
            }
            Ok(true)
        })?;
        if linked && !keep {
            return Ok(None);
        }
        walked.remark.into_iter().for_each(|text| reader.shard.notes.remark(text));
        if keep {
            reader.resolve();
            let mut all = std::mem::take(&mut reader.open).into_iter().peekable();
            while let Some(read) = all.next() {
                let next = all.peek().and_then(|next| key(&next.part.name));
                let ends = next != key(&read.part.name);
                reader.open.push(read);
                if ends {
                    reader.close()?;
                }
            }
        }
        reader.close()?;
        Ok(Some(reader.shard))
    }

    /// A member that may be part of a sample.
    fn member(&mut self, found: Found<'_>) -> Result<Option<Read>> {
        let name = found.name.trim_start_matches("./").to_owned();
        let place = || format!("{}, {name}", self.path.display());
        if matches!(found.what, Type::Folder) {
            return Ok(None);
        }
        self.shard.members.0 += 1;
        if self.shard.members.0 == 1 {
            self.shard.members.1.clone_from(&name);
        }
        let skip = match key(&name) {
            _ if name.split('/').any(left_behind) => Some(reason::LEFT_BEHIND),
            None => Some(reason::NO_SAMPLE),
            Some(_) => None,
        };
        if let Some(why) = skip {
            self.shard.notes.skip(why, place);
            return Ok(None);
        }
        let (size, offset) = (found.size, found.offset);
        let (holes, link) = match found.what {
            Type::File | Type::Folder => (None, None),
            Type::Sparse(holes) => (Some(Arc::new(holes)), None),
            Type::Link { hard, to } => (None, Some(target(&name, hard, &to))),
            Type::Other => {
                self.shard.notes.skip(reason::SPECIAL, place);
                return Ok(None);
            }
        };
        let stem = name.rsplit_once('.').map_or("", |(stem, _)| stem);
        let mut image = is_image::by_name(&name);
        if link.is_none() && is_image::of_another_format(&name) {
            // Phones and stores call JPEGs so.
            let mut head = Vec::new();
            let read = found.content.take(size.min(is_image::HEAD as u64)).read_to_end(&mut head);
            let head =
                holes.as_ref().map_or_else(|| head.clone(), |holes| holes.begin(&head, is_image::HEAD));
            image = read.is_ok() && is_image::by_content(&head);
        }
        let source = LabelFile::of(&ending(&name)).filter(|s| *s == LabelFile::Cls || stem != self.labelled);
        let readable =
            |s: &LabelFile| holes.is_none() && link.is_none() && (*s == LabelFile::Cls || size <= s.most());
        let label = match source.filter(readable) {
            Some(source) => {
                let wrong = |message: String| Error::data(place(), message);
                let bytes = read_bytes(&mut &mut *found.content, size, source.most()).map_err(wrong)?;
                let label = source.label(&bytes).map_err(wrong)?;
                let first = self.shard.unlabelled.0 == 0 && self.json.len() < MOST_JSON;
                if source == LabelFile::Json && label.is_none() && first {
                    self.json.push((key(&name).unwrap_or_default().to_owned(), bytes));
                }
                label.map(|label| (source, label))
            }
            None => None,
        };
        if let Some((LabelFile::Cls, Label::Index(_) | Label::Name(_))) = &label {
            stem.clone_into(&mut self.labelled);
        }
        Ok(Some(Read { part: Part { name, image, bytes: Bytes { offset, size, holes }, label }, link }))
    }

    /// Gives links what they lead to.
    fn resolve(&mut self) {
        let by_name: HashMap<String, usize> =
            self.open.iter().enumerate().map(|(at, read)| (read.part.name.clone(), at)).collect();
        let end = |read: &Read| read.link.as_ref().map(|link| end(&self.open, &by_name, link));
        let ends: Vec<_> = self.open.iter().map(end).collect();
        let mut resolved = Vec::with_capacity(self.open.len());
        for (mut read, end) in std::mem::take(&mut self.open).into_iter().zip(ends) {
            match end {
                Some(None) => {
                    let place = || format!("{}, {}", self.path.display(), read.part.name);
                    self.shard.notes.skip(reason::DANGLING, place);
                    continue;
                }
                Some(Some((bytes, label))) => {
                    read.part.bytes = bytes;
                    read.part.label = label;
                }
                None => {}
            }
            resolved.push(read);
        }
        self.open = resolved;
    }

    /// Ends the members with one key.
    fn close(&mut self) -> Result<()> {
        let place = |name: &str| format!("{}, {name}", self.path.display());
        let closed = self.open.last().and_then(|read| key(&read.part.name)).map(str::to_owned);
        let parts = std::mem::take(&mut self.open).into_iter().map(|read| read.part).collect();
        let found = samples(parts, &place);
        let image = found.unlabelled.first().and_then(|image| key(image));
        let json = self
            .json
            .iter()
            .find(|(key, _)| Some(key.as_str()) == image)
            .map_or_else(String::new, |(_, json)| instead(json));
        let sample =
            |name: &str| place(&format!("sample {}", name.rsplit_once('.').map_or(name, |(stem, _)| stem)));
        // Where several are of one label, all are named: it must be said which is meant.
        let several = match found.unlabelled.as_slice() {
            [] | [_] => String::new(),
            images => format!(" (its images are {})", few(images.iter().map(String::as_str))),
        };
        match (found.without_image, found.unlabelled.first()) {
            (Some(label), Some(image)) => {
                let message = format!(
                    "has no label (`.cls`) of its own: {} is of another name, or could be of several images{several}; name both alike \
                     up to the last dot, or the image that is meant `KEY.image.png`",
                    place(&label)
                );
                return Err(Error::data(sample(image), message));
            }
            (Some(label), None) => {
                let endings: Vec<String> = is_image::ENDINGS.iter().map(|e| format!("`.{e}`")).collect();
                let message = format!(
                    "has a label but no image ({}) beside it: both must follow each other in the shard",
                    endings.join(", ")
                );
                return Err(Error::data(sample(&label), message));
            }
            (None, Some(image)) if self.shard.unlabelled.0 == 0 => {
                self.shard.unlabelled.1 = format!("{}{several}{}", sample(image), json);
            }
            (None, _) => {}
        }
        self.shard.unlabelled.0 += found.unlabelled.len();
        self.json.retain(|(of, _)| closed.as_deref() != Some(of.as_str()));
        self.shard.samples.extend(found.samples);
        self.shard.notes.append(found.notes);
        Ok(())
    }
}

/// The member at the end of links: its bytes and label.
fn end(
    open: &[Read],
    by_name: &HashMap<String, usize>,
    link: &str,
) -> Option<(Bytes, Option<(LabelFile, Label)>)> {
    let mut read = open.get(*by_name.get(link)?)?;
    for _ in 0..MOST_LINKS {
        match &read.link {
            None => return Some((read.part.bytes.clone(), read.part.label.clone())),
            Some(link) => read = open.get(*by_name.get(link)?)?,
        }
    }
    None
}

/// The name that a link leads to.
fn target(name: &str, hard: bool, to: &str) -> String {
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = if hard { Vec::new() } else { folder.split('/').collect() };
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    // An absolute path is no member's name.
    let root = if to.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"))
}
