//! Downloads from a server of the test's own that breaks, stalls and lies.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mlaan::data::download::{Outcome, Patience, Progress, Wanted, download};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// What was asked of the server.
#[derive(Clone, Debug, Default, PartialEq)]
struct Asked {
    path: String,
    /// The first byte wanted.
    from: Option<usize>,
    if_range: Option<String>,
}

/// What the server does.
#[derive(Clone)]
struct Reply {
    head: String,
    body: Vec<u8>,
    /// Keeps the connection open so long after the body.
    hold: Duration,
    /// Bytes of the body at a time, and the time between them.
    drip: Option<(usize, Duration)>,
}

impl Reply {
    fn new(status: &str, headers: &[String], body: &[u8]) -> Self {
        let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
        Reply { head, body: body.to_vec(), hold: Duration::ZERO, drip: None }
    }

    /// `whole`, or its end, as an honest server answers.
    fn honest(asked: &Asked, whole: &[u8], tag: &str) -> Self {
        let same = asked.if_range.as_deref().is_none_or(|known| known == tag);
        let (status, from) = match asked.from {
            Some(from) if same => ("206 Partial Content", from),
            _ => ("200 OK", 0),
        };
        let mut headers = vec![format!("Content-Length: {}", whole.len() - from), format!("ETag: {tag}")];
        if status.starts_with("206") {
            headers.push(format!("Content-Range: bytes {from}-{}/{}", whole.len() - 1, whole.len()));
        }
        Reply::new(status, &headers, &whole[from..])
    }

    /// Ends the body after `n` bytes.
    fn cut(mut self, n: usize) -> Self {
        self.body.truncate(n);
        self
    }

    fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    fn dripping(mut self, bytes: usize, pause: Duration) -> Self {
        self.drip = Some((bytes, pause));
        self
    }

    /// A client that has seen enough closes.
    fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(self.head.as_bytes())?;
        let Some((bytes, pause)) = self.drip else { return stream.write_all(&self.body) };
        self.body.chunks(bytes).try_for_each(|chunk| {
            std::thread::sleep(pause);
            stream.write_all(chunk)
        })
    }
}

struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Answers the `n`-th request with `reply(n, request)`.
    fn start(reply: impl Fn(usize, &Asked) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for (n, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let request = read(&stream);
                log.lock().unwrap().push(request.clone());
                let reply = reply(n, &request);
                let _ = reply.send(&mut stream);
                std::thread::sleep(reply.hold);
            }
        });
        Server { url, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Where each request began.
    fn starts(&self) -> Vec<usize> {
        self.asked().iter().map(|a| a.from.unwrap_or(0)).collect()
    }
}

fn read(stream: &TcpStream) -> Asked {
    let mut lines = BufReader::new(stream).lines().map(|line| line.unwrap());
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let mut asked = Asked { path, ..Asked::default() };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let from = value.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap();
                asked.from = Some(from.parse().unwrap());
            }
            "if-range" => asked.if_range = Some(value.into()),
            _ => {}
        }
    }
    asked
}

const SIZE: usize = 300_000;

fn file() -> Vec<u8> {
    (0..SIZE as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn wanted(servers: &[&Server]) -> Wanted {
    Wanted {
        name: "set.tar.gz".into(),
        size: SIZE as u64,
        sha256: Sha256::digest(file()).iter().map(|b| format!("{b:02x}")).collect(),
        urls: servers.iter().map(|s| format!("{}/set.tar.gz", s.url)).collect(),
    }
}

const QUICK: Patience = Patience {
    connect: Duration::from_secs(5),
    stall: Duration::from_millis(300),
    least_rate: 50_000,
    window: Duration::from_millis(200),
    tries: 3,
    pause: Duration::from_millis(1),
};

/// Downloads, and what failed on the way.
fn run(wanted: &Wanted, to: &Path) -> (mlaan::Result<Outcome>, Vec<String>) {
    let mut failed = Vec::new();
    let outcome = download(std::slice::from_ref(wanted), to, &QUICK, &mut |progress| {
        if let Progress::Failed { reason, again, .. } = progress {
            failed.push(format!("{reason}{}", if again.is_some() { " (again)" } else { "" }));
        }
    });
    (outcome, failed)
}

/// The file is there whole, and nothing beside it.
#[track_caller]
fn is_right(to: &Path) {
    assert_eq!(fs::read(to.join("set.tar.gz")).unwrap(), file());
    assert_eq!(fs::read_dir(to).unwrap().count(), 1, "only the file");
}

#[test]
fn a_file_is_fetched_once() {
    let server = Server::start(|_, asked| Reply::honest(asked, &file(), "\"1\""));
    let (to, wanted) = (TempDir::new().unwrap(), wanted(&[&server]));
    let folder = to.path().join("new/folder");
    let mut most = 0;
    let outcome = download(std::slice::from_ref(&wanted), &folder, &QUICK, &mut |p| {
        if let Progress::Received(_, bytes) = p {
            assert!(bytes > most);
            most = bytes;
        }
    });
    assert_eq!((outcome.unwrap(), most), (Outcome { fetched: 1, present: 0 }, SIZE as u64));
    is_right(&folder);
    let (again, _) = run(&wanted, &folder);
    assert_eq!(again.unwrap(), Outcome { fetched: 0, present: 1 });
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_cut_download_resumes_where_it_was() {
    let cuts = |n: usize, asked: &Asked| {
        let reply = Reply::honest(asked, &file(), "\"1\"");
        if n < 4 { reply.cut(60_000) } else { reply }
    };
    let server = Server::start(cuts);
    let to = TempDir::new().unwrap();
    let (outcome, failed) = run(&wanted(&[&server]), to.path());
    outcome.unwrap();
    is_right(to.path());
    assert_eq!(server.starts(), [0, 60_000, 120_000, 180_000, 240_000]);
    assert!(server.asked()[1..].iter().all(|a| a.if_range.as_deref() == Some("\"1\"")));
    assert!(failed.iter().all(|f| f.contains("the connection broke at byte")), "{failed:?}");
}

#[test]
fn an_interrupted_download_resumes_in_the_next_run() {
    let to = TempDir::new().unwrap();
    let server = Server::start(|n, asked| {
        let reply = Reply::honest(asked, &file(), "\"1\"");
        if n < 3 { reply.cut([100_000, 0, 0][n]) } else { reply }
    });
    let wanted = wanted(&[&server]);
    assert!(run(&wanted, to.path()).0.is_err());
    assert_eq!(fs::metadata(to.path().join("set.tar.gz.part")).unwrap().len(), 100_000);
    run(&wanted, to.path()).0.unwrap();
    is_right(to.path());
    assert_eq!(server.starts(), [0, 100_000, 100_000, 100_000]);
}

#[test]
fn a_file_that_changed_meanwhile_begins_again() {
    let to = TempDir::new().unwrap();
    // The first version is another file; the server heeds If-Range, or does not.
    for heeds in [true, false] {
        let server = Server::start(move |n, asked| {
            let old: Vec<u8> = file().iter().map(|b| !b).collect();
            let mut asked = asked.clone();
            match n {
                0 => Reply::honest(&asked, &old, "\"old\"").cut(70_000),
                _ => {
                    if !heeds {
                        asked.if_range = None;
                    }
                    Reply::honest(&asked, &file(), "\"new\"")
                }
            }
        });
        let to = to.path().join(heeds.to_string());
        let (outcome, failed) = run(&wanted(&[&server]), &to);
        outcome.unwrap();
        is_right(&to);
        assert_eq!(server.starts(), if heeds { vec![0, 70_000] } else { vec![0, 70_000, 0] }, "{failed:?}");
    }
}

#[test]
fn a_server_without_ranges_sends_the_whole() {
    let server = Server::start(|n, asked| {
        let reply = Reply::honest(&Asked { from: None, ..asked.clone() }, &file(), "\"1\"");
        if n == 0 { reply.cut(200_000) } else { reply }
    });
    let to = TempDir::new().unwrap();
    run(&wanted(&[&server]), to.path()).0.unwrap();
    is_right(to.path());
    assert_eq!(server.starts(), [0, 200_000]);
}

#[test]
fn wrong_ranges_and_sizes_are_not_believed() {
    let length = |n: usize| format!("Content-Length: {n}");
    let cases: [(Reply, &str); 7] = [
        (Reply::new("200 OK", &[length(SIZE - 1)], &file()[1..]), "299999 bytes instead of 300000"),
        (Reply::new("200 OK", &[length(SIZE + 9)], &file()), "300009 bytes instead of 300000"),
        // No length is given, and another file comes.
        (Reply::new("200 OK", &[], &[&[1], &file()[..]].concat()), "not the published ones"),
        (Reply::new("206 Partial Content", &[length(SIZE)], &file()), "without saying which"),
        (
            Reply::new(
                "206 Partial Content",
                &[length(9), "Content-Range: bytes 0-8/9".into()],
                &file()[..9],
            ),
            "9 bytes instead of 300000",
        ),
        (Reply::new("200 OK", &["Content-Type: text/html; charset=utf-8".into()], b"<html>"), "a web page"),
        (Reply::new("404 Not Found", &[length(0)], b""), "HTTP 404"),
    ];
    for (reply, says) in cases {
        let server = Server::start(move |_, _| reply.clone());
        let honest = Server::start(|_, asked| Reply::honest(asked, &file(), "\"1\""));
        let to = TempDir::new().unwrap();
        let (outcome, failed) = run(&wanted(&[&server, &honest]), to.path());
        outcome.unwrap();
        is_right(to.path());
        assert!(failed.len() == 1 && failed[0].contains(says), "{says}: {failed:?}");
        assert_eq!((server.starts(), honest.starts()), (vec![0], vec![0]), "{says}");
    }
}

#[test]
fn nothing_is_read_beyond_the_file() {
    // Without a length, the file and what never ends behind it: the client goes away.
    let reply = Reply::new("200 OK", &[], &[file(), vec![7; 16 << 20]].concat());
    let reply = reply.hold(Duration::from_secs(60));
    let endless = Server::start(move |_, _| reply.clone());
    let to = TempDir::new().unwrap();
    let (outcome, failed) = run(&wanted(&[&endless]), to.path());
    assert_eq!(outcome.unwrap(), Outcome { fetched: 1, present: 0 });
    is_right(to.path());
    assert!(failed.is_empty() && endless.starts() == [0], "{failed:?}");
}

#[test]
fn a_server_that_always_begins_again_is_left_alone() {
    // Half of the file, then another version of it, and so on: each time the download seems to get further.
    let turns = Server::start(|n, asked| {
        let tag = format!("\"{n}\"");
        match asked.from {
            Some(from) => Reply::new(
                "206 Partial Content",
                &[format!("Content-Range: bytes {from}-{}/{SIZE}", SIZE - 1), format!("ETag: {tag}")],
                &file()[from..],
            ),
            None => Reply::honest(asked, &file(), &tag).cut(SIZE / 2),
        }
    });
    let honest = Server::start(|_, asked| Reply::honest(asked, &file(), "\"1\""));
    let to = TempDir::new().unwrap();
    let (outcome, failed) = run(&wanted(&[&turns, &honest]), to.path());
    outcome.unwrap();
    is_right(to.path());
    assert!(failed.last().unwrap().contains("4 times the file"), "{failed:?}");
    assert!(turns.asked().len() < 25, "{}", turns.asked().len());
}

#[test]
fn a_server_that_drips_is_left_for_another() {
    // A few bytes at a time, often enough that it never stalls: 300 kB would take two minutes, a set of the usual size days.
    let drips =
        |asked: &Asked| Reply::honest(asked, &file(), "\"1\"").dripping(50, Duration::from_millis(20));
    let slow = Server::start(move |_, asked| drips(asked));
    let to = TempDir::new().unwrap();
    let begin = std::time::Instant::now();
    let (outcome, failed) = run(&wanted(&[&slow]), to.path());
    let message = outcome.unwrap_err().to_string();
    assert!(message.contains("too slow") && message.contains("bytes a second"), "{message}");
    assert_eq!((slow.asked().len(), failed.len()), (QUICK.tries, QUICK.tries));
    assert!(begin.elapsed() < Duration::from_secs(20));
    // What it sent is not lost, and another server brings the rest.
    let honest = Server::start(|_, asked| Reply::honest(asked, &file(), "\"1\""));
    let before = fs::metadata(to.path().join("set.tar.gz.part")).unwrap().len();
    let (outcome, failed) = run(&wanted(&[&slow, &honest]), to.path());
    outcome.unwrap();
    is_right(to.path());
    assert!(before > 0 && honest.starts()[0] as u64 > before, "{failed:?}");
}

#[test]
fn a_range_that_is_not_the_one_asked_for_begins_again() {
    let server = Server::start(|n, asked| match n {
        0 => Reply::honest(asked, &file(), "\"1\"").cut(50_000),
        1 => Reply::honest(&Asked { from: Some(10_000), ..asked.clone() }, &file(), "\"1\""),
        2 => Reply::honest(asked, &file(), "\"1\"").cut(50_000),
        3 => Reply::new("416 Range Not Satisfiable", &[], b""),
        _ => Reply::honest(asked, &file(), "\"1\""),
    });
    let to = TempDir::new().unwrap();
    let (outcome, failed) = run(&wanted(&[&server]), to.path());
    outcome.unwrap();
    is_right(to.path());
    assert_eq!(server.starts(), [0, 50_000, 0, 50_000, 0], "{failed:?}");
}

#[test]
fn wrong_bytes_never_get_the_name() {
    let wrong = Server::start(|_, asked| {
        let mut bytes = file();
        bytes[SIZE - 1] ^= 1;
        Reply::honest(asked, &bytes, "\"1\"")
    });
    let to = TempDir::new().unwrap();
    let (outcome, failed) = run(&wanted(&[&wrong]), to.path());
    let message = outcome.unwrap_err().to_string();
    assert_eq!(fs::read_dir(to.path()).unwrap().count(), 0);
    let wanted_file = wanted(&[&wrong]);
    for part in
        ["set.tar.gz: no server", "127.0.0.1:", "not the published ones", &wanted_file.sha256, "300000 bytes"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(
        message.contains(&wanted_file.urls[0]) && message.contains(&to.path().display().to_string()),
        "{message}"
    );
    assert_eq!((wrong.asked().len(), failed.len()), (1, 1));
    // Its bytes in front of a right end are found out too, and the next server is asked for the whole.
    let part = to.path().join("set.tar.gz.part");
    fs::write(&part, vec![7; 80_000]).unwrap();
    let honest = Server::start(|_, asked| Reply::honest(asked, &file(), "\"1\""));
    run(&wanted(&[&honest]), to.path()).0.unwrap();
    is_right(to.path());
    assert_eq!(honest.starts(), [80_000, 0]);
}

#[test]
fn parts_that_are_full_or_too_long_are_looked_at_first() {
    let honest = Server::start(|_, asked| Reply::honest(asked, &file(), "\"1\""));
    let cases = [(file(), 0), (vec![0; SIZE], 1), (vec![0; SIZE + 5], 1)];
    for (bytes, asked) in cases {
        let to = TempDir::new().unwrap();
        fs::write(to.path().join("set.tar.gz.part"), bytes).unwrap();
        fs::write(to.path().join("set.tar.gz.part.json"), b"{ this is no note").unwrap();
        let before = honest.asked().len();
        run(&wanted(&[&honest]), to.path()).0.unwrap();
        is_right(to.path());
        assert_eq!(honest.asked().len() - before, asked);
    }
}

#[test]
fn another_server_resumes_where_the_first_stopped() {
    // One stalls after a while, one is busy, one is not there, one redirects to the honest one.
    let stalls = Server::start(|_, asked| {
        Reply::honest(asked, &file(), "\"a\"")
            .cut(if asked.from.is_none() { 90_000 } else { 0 })
            .hold(QUICK.stall * 2)
    });
    let busy =
        Server::start(|_, _| Reply::new("503 Service Unavailable", &["Content-Length: 0".into()], b""));
    let honest = Server::start(|_, asked| Reply::honest(asked, &file(), "\"b\""));
    let there = format!("Location: {}/elsewhere", honest.url);
    let moved =
        Server::start(move |_, _| Reply::new("302 Found", &[there.clone(), "Content-Length: 0".into()], b""));
    let mut wanted = wanted(&[&stalls, &busy, &moved]);
    wanted.urls.insert(1, "http://127.0.0.1:1/set.tar.gz".into());
    let to = TempDir::new().unwrap();
    let (outcome, failed) = run(&wanted, to.path());
    outcome.unwrap();
    is_right(to.path());
    assert_eq!(honest.asked(), [Asked { path: "/elsewhere".into(), from: Some(90_000), if_range: None }]);
    assert_eq!(busy.asked().len(), QUICK.tries);
    assert_eq!(failed.iter().filter(|f| f.contains("(again)")).count(), 2 * 2, "{failed:?}");
}

#[test]
fn another_file_of_the_name_is_left_alone() {
    let honest = Server::start(|_, asked| Reply::honest(asked, &file(), "\"1\""));
    let to = TempDir::new().unwrap();
    let mut wrong = file();
    wrong[0] ^= 1;
    for (bytes, says) in [(b"mine".to_vec(), "4 bytes instead"), (wrong, "SHA-256")] {
        fs::write(to.path().join("set.tar.gz"), &bytes).unwrap();
        let message = run(&wanted(&[&honest]), to.path()).0.unwrap_err().to_string();
        assert!(message.contains(says) && message.contains("move it away"), "{message}");
        assert_eq!(fs::read(to.path().join("set.tar.gz")).unwrap(), bytes);
    }
    assert!(honest.asked().is_empty());
}

#[test]
fn two_do_not_fetch_the_same_file() {
    let honest = Server::start(|_, asked| Reply::honest(asked, &file(), "\"1\""));
    let to = TempDir::new().unwrap();
    let other = fs::File::create(to.path().join("set.tar.gz.part")).unwrap();
    other.lock().unwrap();
    let message = run(&wanted(&[&honest]), to.path()).0.unwrap_err().to_string();
    assert!(message.contains("another program"), "{message}");
    drop(other);
    run(&wanted(&[&honest]), to.path()).0.unwrap();
    is_right(to.path());
}
