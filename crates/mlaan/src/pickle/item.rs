//! A value with its pickle, to look at.

use super::{Id, Object, Pickle, Value};
use std::borrow::Cow;

/// Most arguments of a call that is understood, parts of a state, sizes of an array: numpy has up to 64 sizes.
///
/// A value may be referred to from a million places, so what is done at each of them must be little, however large the
/// value is: lists are looked at up to this length, text up to [`MOST_TEXT`].
pub(super) const MOST_PARTS: usize = 64;
/// Longest text, bytes: keys and names are read, no prose.
pub(super) const MOST_TEXT: usize = 4096;
/// Longest name in a message, bytes.
const SHOWN: usize = 80;

/// One value of a pickle.
#[derive(Clone, Copy)]
pub struct Item<'p, 'a> {
    pickle: &'p Pickle<'a>,
    id: Id,
}

impl<'p, 'a> Item<'p, 'a> {
    pub(super) fn new(pickle: &'p Pickle<'a>, id: Id) -> Self {
        Item { pickle, id }
    }

    fn at(self, id: Id) -> Self {
        work::count(1);
        Item { id, ..self }
    }

    /// Elements of a list, tuple or set that has at most [`MOST_PARTS`].
    pub(super) fn parts(self) -> Option<Vec<Self>> {
        Some(self.sequence().filter(|s| s.len() <= MOST_PARTS)?.collect())
    }

    /// Which node it is: the same value may be met in several places.
    pub fn id(self) -> Id {
        self.id
    }

    /// The node itself.
    pub fn value(self) -> &'p Value<'a> {
        // Every index was given out for a node of this list.
        self.pickle.nodes.get(self.id.0 as usize).unwrap_or(&Value::None)
    }

    /// A whole number: Python's or a numpy scalar.
    pub fn integer(self) -> Option<i64> {
        match self.value() {
            Value::Integer(value) => Some(*value),
            Value::Bool(value) => Some((*value).into()),
            Value::Object(_) => self.scalar().ok()?.integers()?.first().copied(),
            _ => None,
        }
    }

    /// A whole number of Python's that is no less than 0 and can be a size. (No numpy scalar: an array's shape
    /// could be the array itself.)
    pub(super) fn extent(self) -> Option<usize> {
        match self.value() {
            Value::Integer(value) => usize::try_from(*value).ok(),
            Value::Bool(value) => Some((*value).into()),
            _ => None,
        }
    }

    /// The sizes of an array, as a list or tuple.
    pub(super) fn extents(self) -> Option<Vec<usize>> {
        self.parts()?.into_iter().map(Self::extent).collect()
    }

    /// Whole numbers of a list, a tuple or an array of one dimension.
    pub fn integers(self) -> Option<Vec<i64>> {
        match self.sequence() {
            Some(items) => items.map(Item::integer).collect(),
            None => self.array().ok().filter(|a| a.shape.len() == 1)?.integers(),
        }
    }

    /// Text of up to 4 KiB: a `str` of either Python, or bytes in whichever way Python writes them (those that are no UTF-8
    /// are taken as Latin-1).
    pub fn text(self) -> Option<Cow<'p, str>> {
        if let Value::Text(text) = self.value() {
            return (text.len() <= MOST_TEXT).then_some(Cow::Borrowed(text));
        }
        let bytes = self.bytes_up_to(MOST_TEXT).filter(|bytes| bytes.len() <= MOST_TEXT)?;
        work::count(bytes.len());
        let latin1 = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect();
        Some(match bytes {
            Cow::Borrowed(bytes) => {
                std::str::from_utf8(bytes).map_or_else(|_| Cow::Owned(latin1(bytes)), Cow::Borrowed)
            }
            Cow::Owned(bytes) => {
                Cow::Owned(String::from_utf8(bytes).unwrap_or_else(|error| latin1(error.as_bytes())))
            }
        })
    }

    /// Whether it is this text, written as `str`.
    fn is(self, text: &str) -> bool {
        match self.value() {
            Value::Text(own) => own == text,
            Value::Bytes(own) => **own == *text.as_bytes(),
            _ => false,
        }
    }

    /// Bytes, in whichever way Python writes them.
    pub fn bytes(self) -> Option<Cow<'p, [u8]>> {
        self.bytes_up_to(usize::MAX)
    }

    /// As [`Item::bytes`]; none where making them would take more memory than `most` of them.
    pub(super) fn bytes_up_to(self, most: usize) -> Option<Cow<'p, [u8]>> {
        if let Value::Bytes(bytes) = self.value() {
            return Some(Cow::Borrowed(bytes));
        }
        let (module, name) = self.callee()?;
        let arguments = self.arguments()?;
        match (module, name, arguments.as_slice()) {
            // How protocols before 3 write them.
            ("_codecs", "encode", [text, code]) if code.is("latin1") => {
                let Value::Text(text) = text.value() else { return None };
                // Each of them takes one or two bytes of the text.
                if text.len() > most.saturating_mul(2) {
                    return None;
                }
                work::count(text.len());
                text.chars().map(|c| u8::try_from(c).ok()).collect::<Option<Vec<u8>>>().map(Cow::Owned)
            }
            ("builtins" | "__builtin__", "bytes" | "bytearray", []) => Some(Cow::Borrowed(&[])),
            ("builtins" | "__builtin__", "bytes" | "bytearray", [inner]) => match inner.value() {
                Value::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Elements of a list, tuple or set.
    pub fn sequence(self) -> Option<impl ExactSizeIterator<Item = Self> + use<'p, 'a>> {
        match self.value() {
            Value::Tuple(list) | Value::List(list) | Value::Set(list) => {
                Some(list.iter().map(move |id| self.at(*id)))
            }
            _ => None,
        }
    }

    /// Whether it is a dictionary, an ordered one or another that calls itself so.
    pub fn is_dictionary(self) -> bool {
        let called = || self.callee().is_some_and(|(_, name)| name.to_ascii_lowercase().ends_with("dict"));
        matches!(self.value(), Value::Dict(_)) || called()
    }

    /// Entries of a dictionary ([`Item::is_dictionary`]).
    pub fn entries(self) -> Option<Vec<(Self, Self)>> {
        let pair = |(key, value): &(Id, Id)| (self.at(*key), self.at(*value));
        match self.value() {
            Value::Dict(entries) => Some(entries.iter().map(pair).collect()),
            Value::Object(object) => {
                if !self.is_dictionary() {
                    return None;
                }
                let mut found = self.listed(object);
                found.extend(object.entries.iter().map(pair));
                Some(found)
            }
            _ => None,
        }
    }

    /// Python 2 gives an ordered dictionary its entries as a list of pairs.
    fn listed(self, object: &Object) -> Vec<(Self, Self)> {
        let pairs = self.at(object.arguments).sequence().and_then(|mut a| a.next()).and_then(Item::sequence);
        let pair = |item: Self| {
            let mut both = item.sequence().filter(|s| s.len() == 2)?;
            Some((both.next()?, both.next()?))
        };
        pairs.into_iter().flatten().filter_map(pair).collect()
    }

    /// The entry of a dictionary with this key.
    pub fn get(self, key: &str) -> Option<Self> {
        let entries = self.entries()?;
        entries.into_iter().rev().find(|(k, _)| k.text().is_some_and(|k| k == key)).map(|(_, value)| value)
    }

    /// What a persistent value is called.
    pub fn persistent(self) -> Option<Self> {
        match self.value() {
            Value::Persistent(name) => Some(self.at(*name)),
            _ => None,
        }
    }

    /// Module and name of a class or function.
    pub fn global(self) -> Option<(&'p str, &'p str)> {
        match self.value() {
            Value::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// Module and name of what an object is the result of.
    pub fn callee(self) -> Option<(&'p str, &'p str)> {
        match self.value() {
            Value::Object(object) => {
                let callable = self.at(object.callable);
                callable.global().or_else(|| callable.module_class())
            }
            _ => None,
        }
    }

    /// A class of PyTorch's modules, which its old form writes with its source: `("module", class, file, source)`.
    fn module_class(self) -> Option<(&'p str, &'p str)> {
        match self.persistent()?.parts()?.as_slice() {
            [kind, class, ..] if kind.is("module") => class.global(),
            _ => None,
        }
    }

    /// Arguments of the call that an object stands for; none where there are more than any call has that is understood.
    pub fn arguments(self) -> Option<Vec<Self>> {
        match self.value() {
            Value::Object(object) => self.at(object.arguments).parts(),
            _ => None,
        }
    }

    /// What `BUILD` gave an object.
    pub fn state(self) -> Option<Self> {
        match self.value() {
            Value::Object(object) => object.state.map(|id| self.at(id)),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub fn describe(self) -> String {
        match self.value() {
            Value::None => "None".into(),
            Value::Bool(_) => "a truth value".into(),
            Value::Integer(_) | Value::Huge => "a whole number".into(),
            Value::Float(_) => "a number".into(),
            Value::Text(_) => "text".into(),
            Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Value::Tuple(list) => format!("a tuple of {}", list.len()),
            Value::List(list) => format!("a list of {}", list.len()),
            Value::Set(list) => format!("a set of {}", list.len()),
            Value::Dict(entries) => format!("a dictionary of {}", entries.len()),
            Value::Global { module, name } => {
                format!("the class or function {}.{}", shown(module), shown(name))
            }
            Value::Persistent(_) => "something outside of the pickle".into(),
            Value::Object(_) => match self.callee() {
                Some((module, name)) => format!("an object of {}.{}", shown(module), shown(name)),
                None => "an object".into(),
            },
        }
    }
}

/// The beginning of a name that is too long for a message.
pub(crate) fn shown(name: &str) -> Cow<'_, str> {
    match name.char_indices().find(|(at, _)| *at >= SHOWN) {
        Some((at, _)) => Cow::Owned(format!("{}…", name.get(..at).unwrap_or_default())),
        None => Cow::Borrowed(name),
    }
}

/// How much was looked at, for tests.
pub(super) mod work {
    #[cfg(test)]
    thread_local! {
        /// Values and bytes.
        pub(in super::super) static DONE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    /// So many values or bytes were.
    pub(super) fn count(_amount: usize) {
        #[cfg(test)]
        DONE.with(|done| done.set(done.get() + _amount));
    }
}
