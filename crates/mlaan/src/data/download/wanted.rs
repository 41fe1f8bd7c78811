//! What is fetched, and with how much patience.

use std::time::Duration;

/// A file to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name in the folder.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// Where it is, in the order in which servers are asked.
    pub urls: Vec<String>,
}

/// How long servers are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For an address to be found and a connection to be made.
    pub connect: Duration,
    /// For the next bytes.
    pub stall: Duration,
    /// Bytes a second that a server must send at the least: one that sends a byte now and then never stalls, and would hold a
    /// download for ever.
    pub least_rate: u64,
    /// The time of waiting for bytes over which the rate counts.
    pub window: Duration,
    /// Times that a server is asked in a row without bringing the file on.
    pub tries: usize,
    /// Between the first two of them; doubled each time, up to half a minute.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        // A hundred megabytes would take seven hours.
        let (least_rate, window) = (4096, seconds(60));
        Patience { connect: seconds(20), stall: seconds(30), least_rate, window, tries: 4, pause: seconds(1) }
    }
}
