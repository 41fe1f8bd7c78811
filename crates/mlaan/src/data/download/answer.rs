//! One question to one server, and its answer appended to the part.

use std::io::Read;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response, header};
use ureq::{Agent, Body};

use super::part::{BLOCK, Part};
use super::{Patience, Wanted};
use crate::Error;

/// Why a server did not bring a file to its end.
pub(super) enum Failed {
    /// Asked again, it may.
    Now(String),
    /// It does not have the file.
    Here(String),
    /// This machine cannot keep it.
    Own(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Own(error)
    }
}

/// What asks. Proxies are taken from the environment, as usual.
pub(super) fn agent(patience: &Patience) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .user_agent(concat!("mlaan/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.stall))
        .timeout_per_read(Some(patience.stall))
        .build()
        .new_agent()
}

/// Asks `url` for what `part` lacks and appends it; `each` hears how many bytes are here.
///
/// # Errors
/// When the answer is another file, is cut, stalls, or is too slow. What came before stays in the part.
pub(super) fn ask(
    agent: &Agent,
    url: &str,
    wanted: &Wanted,
    (part, patience): (&mut Part, &Patience),
    mut each: impl FnMut(u64),
) -> Result<(), Failed> {
    let mut request = agent.get(url);
    if part.len() > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", part.len()));
        if let Some(version) = part.origin().version.as_ref().filter(|_| part.origin().url == url) {
            request = request.header(header::IF_RANGE, version);
        }
    }
    let mut answer = request.call().map_err(|e| refused(&e))?;
    begin(&answer, url, wanted, part)?;
    let mut body = answer.body_mut().as_reader();
    let (mut block, mut pace) = (vec![0; BLOCK], Pace::default());
    // No byte beyond the file is waited for: what a server sends there is its own affair, and the sum decides.
    while part.len() < wanted.size {
        let room = usize::try_from(wanted.size - part.len()).unwrap_or(BLOCK).min(BLOCK);
        let asked = Instant::now();
        let read = body.read(&mut block[..room]).map_err(|e| cut(part, wanted, &e.to_string()))?;
        let waited = asked.elapsed();
        if read == 0 {
            return Err(cut(part, wanted, "the server closed it"));
        }
        part.append(&block[..read])?;
        each(part.len());
        if let Some(rate) = pace.slow(read as u64, waited, patience).filter(|_| part.len() < wanted.size) {
            let reason = format!(
                "too slow: {rate} bytes a second over {:.0?}, {} are the least that is waited for",
                patience.window, patience.least_rate
            );
            return Err(cut(part, wanted, &reason));
        }
    }
    Ok(())
}

/// How fast bytes come.
#[derive(Default)]
struct Pace {
    bytes: u64,
    waited: Duration,
}

impl Pace {
    /// Counts bytes and how long they were waited for; at the end of a window gives the rate if it is too low.
    fn slow(&mut self, bytes: u64, waited: Duration, patience: &Patience) -> Option<u64> {
        self.bytes += bytes;
        self.waited += waited;
        if self.waited < patience.window {
            return None;
        }
        let rate = (self.bytes as f64 / self.waited.as_secs_f64()) as u64;
        *self = Pace::default();
        (rate < patience.least_rate).then_some(rate)
    }
}

fn cut(part: &Part, wanted: &Wanted, reason: &str) -> Failed {
    Failed::Now(format!("the connection broke at byte {} of {} ({reason})", part.len(), wanted.size))
}

/// Why there was no answer. Where nobody is found, nobody is asked again.
fn refused(error: &ureq::Error) -> Failed {
    use std::io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, TimedOut, UnexpectedEof, WouldBlock,
    };
    match error {
        ureq::Error::Io(e) => match e.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | Interrupted | TimedOut | UnexpectedEof
            | WouldBlock => Failed::Now(e.to_string()),
            _ => Failed::Here(format!("cannot be reached ({e})")),
        },
        ureq::Error::HostNotFound => Failed::Here("cannot be reached (no such host)".into()),
        ureq::Error::Timeout(_) => Failed::Now(error.to_string()),
        _ => Failed::Here(error.to_string()),
    }
}

/// Looks at the head of an answer and brings the part to where its body begins.
fn begin(answer: &Response<Body>, url: &str, wanted: &Wanted, part: &mut Part) -> Result<(), Failed> {
    let headers = answer.headers();
    let version = version(headers);
    let size = wanted.size;
    if text(headers, header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")) {
        return Err(match answer.status().as_u16() {
            200 | 206 => Failed::Here("answers with a web page instead of the file".into()),
            status => by_status(status),
        });
    }
    let other_size = |n: u64| Failed::Here(format!("has a file of {n} bytes instead of {size}"));
    match answer.status().as_u16() {
        200 => {
            if let Some(n) = length(headers).filter(|n| *n != size) {
                return Err(other_size(n));
            }
            // The whole file: the server knows no ranges, or has another version by now.
            part.clear()?;
        }
        206 => {
            let (start, total) = range(headers)
                .ok_or_else(|| Failed::Here("answers a part of the file without saying which".into()))?;
            if let Some(n) = total.filter(|n| *n != size) {
                return Err(other_size(n));
            }
            let known = part.origin().version.as_ref().filter(|_| part.origin().url == url);
            let changed = known.is_some() && known != version.as_ref();
            if start != part.len() || changed {
                part.clear()?;
                let what =
                    if changed { "the file has changed there" } else { "sent another part of the file" };
                return Err(Failed::Now(format!("{what}: starting again")));
            }
        }
        416 => {
            part.clear()?;
            return Err(Failed::Now("does not have the rest of the file (HTTP 416): starting again".into()));
        }
        status => return Err(by_status(status)),
    }
    Ok(part.resume_from(url, version)?)
}

/// A busy or failing server may have the file a little later.
fn by_status(status: u16) -> Failed {
    let reason = format!("HTTP {status}");
    if matches!(status, 408 | 425 | 429 | 500..) { Failed::Now(reason) } else { Failed::Here(reason) }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, header::CONTENT_LENGTH)?.trim().parse().ok()
}

/// Where the answered range begins, and of how many bytes it is a part, if that is known.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let (range, total) =
        text(headers, header::CONTENT_RANGE)?.trim().strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.trim().parse().ok()?;
    Some((start, total.trim().parse().ok()))
}

/// What `If-Range` may hold: a strong entity tag, or else the date of the last change.
fn version(headers: &HeaderMap) -> Option<String> {
    let strong = text(headers, header::ETAG).filter(|tag| tag.starts_with('"'));
    strong.or_else(|| text(headers, header::LAST_MODIFIED)).map(str::to_owned)
}
