//! Why an image cannot be used.

/// What is said of a file that ends too early.
pub(super) const CUT: &str = "the file ends before the picture does: it is cut off";
/// Most bytes that a decoder of another format than JPEG may take.
pub(super) const MAX_BYTES: u64 = 1 << 29;

/// See the module: what is wrong, without the image's place, which only the caller knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::data) struct Fault {
    message: String,
    /// The file is whole, as far as is known, but of a kind that is not read.
    whole: bool,
}

impl Fault {
    /// Of an image that is whole, but of a kind that is not read.
    pub fn unread(message: impl Into<String>) -> Self {
        Fault { message: message.into(), whole: true }
    }

    /// What is wrong; a whole image is not called broken.
    pub fn said(&self) -> String {
        if self.whole { self.message.clone() } else { format!("broken image: {}", self.message) }
    }

    /// What is wrong, for those who say themselves that it is no image.
    pub fn message(self) -> String {
        self.message
    }

    /// Part of the message.
    #[cfg(test)]
    pub fn contains(&self, part: &str) -> bool {
        self.message.contains(part)
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Fault { message, whole: false }
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// What a decoder says.
pub(super) fn undecodable(reason: &dyn std::fmt::Display) -> Fault {
    format!("cannot be decoded: {reason}").into()
}
