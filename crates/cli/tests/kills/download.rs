//! A download that can be killed: what `mlaan data download` calls, of one small file from a server of this test's.

use mlaan::data::download::{Patience, Wanted, download};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

/// The file: so many zeros.
const SIZE: usize = 400_000;
const SHA256: &str = "946cc2661d32ad837bd22fb051ee47ed6012e33a6db1617870fec60691ed7f09";

/// Runs the test below.
pub const ARGS: &[&str] = &["--exact", "download::a_small_file", "--ignored", "--test-threads=1"];

/// Where the server is, in a folder that it serves.
const ADDRESS: &str = "address";

/// Starts a server that gives the file, or its end, as long as this process lives.
pub fn serve(at: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    fs::write(at.join(ADDRESS), format!("http://{}/zeros", listener.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that is killed is no matter.
            let _ = stream.and_then(answer);
        }
    });
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut from = 0;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap();
        }
    }
    let range = format!("Content-Range: bytes {from}-{}/{SIZE}\r\n", SIZE - 1);
    let (status, range) = if from > 0 { ("206 Partial Content", range.as_str()) } else { ("200 OK", "") };
    let length = SIZE - from;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nETag: \"1\"\r\n{range}Content-Length: {length}\r\n\r\n"
    )?;
    stream.write_all(&vec![0; length])
}

#[test]
#[ignore = "the program that is killed"]
fn a_small_file() {
    let Ok(url) = fs::read_to_string(ADDRESS) else { return };
    let file = Wanted { name: "zeros".into(), size: SIZE as u64, sha256: SHA256.into(), urls: vec![url] };
    download(&[file], Path::new("data"), &Patience::default(), &mut |_| {}).unwrap();
}
