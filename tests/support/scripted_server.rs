//! An IMAP server that plays a dialogue: it sends given lines and asserts those of the client.
//!
//! It knows no IMAP, so it can send anything. `scripted_gmail.rs` builds on it a server that knows
//! the ordinary responses of Gmail; the crate `double` is a server with mailboxes.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use imap_to_gmail_sync::config::{Server, TlsMode};

/// The greeting and a log-in.
pub const LOG_IN: [&str; 3] = [
    "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR IDLE] ready",
    "C: AUTHENTICATE PLAIN *",
    "S: $tag OK [CAPABILITY IMAP4rev1 IDLE] logged in",
];

/// `LOG_IN`, then the folder is opened: four messages, UIDVALIDITY 7, UIDNEXT 5.
pub const OPEN_INBOX: [&str; 8] = [
    LOG_IN[0],
    LOG_IN[1],
    LOG_IN[2],
    "C: EXAMINE \"INBOX\"",
    "S: * 4 EXISTS",
    "S: * OK [UIDVALIDITY 7] valid",
    "S: * OK [UIDNEXT 5] next",
    "S: $tag OK [READ-ONLY] opened",
];

/// A server that plays its dialogues; dropping it asserts that they were played to the end.
pub struct ScriptedServer {
    port: u16,
    player: Option<JoinHandle<()>>,
}

impl ScriptedServer {
    /// Plays a dialogue to one connection. It is given in parts, one step a line:
    ///
    /// | step | meaning |
    /// | --- | --- |
    /// | `C: text` | expects this line, without its tag; a final `*` stands for any rest |
    /// | `S: text` | sends this line; `$tag` stands for the tag of the client's last line, `$login` for that of its log-in, `$2` for that of its second command after it has opened the folder |
    /// | `R: text` | sends the text without CRLF |
    /// | `D: text` | sends the text octet by octet, 50 ms apart, for at most ten seconds |
    /// | `Z: count` | sends that many octets, as lines |
    /// | `busy` | sends an untagged line every 50 ms for at most ten seconds |
    /// | `alone` | asserts that nothing came in one packet with the client's last line |
    /// | `closed` | asserts that the client closes the connection within 20 seconds |
    /// | `silence` | waits until the client closes the connection, for at most 20 seconds |
    ///
    /// After the last step the server closes the connection.
    pub fn play(parts: &[&[&str]]) -> ScriptedServer {
        ScriptedServer::play_all(vec![dialogue(parts)])
    }

    /// Plays a dialogue for each connection, one after the other.
    pub fn play_all(dialogues: Vec<Vec<String>>) -> ScriptedServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let player = thread::spawn(move || {
            for dialogue in dialogues {
                play(accept(&listener), &dialogue);
            }
        });
        ScriptedServer {
            port,
            player: Some(player),
        }
    }

    pub fn address(&self) -> Server {
        loopback(self.port)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        let played = self.player.take().unwrap().join();
        if !thread::panicking() {
            played.expect("the dialogue was played to its end");
        }
    }
}

/// A server on this host, in plain text.
pub fn loopback(port: u16) -> Server {
    Server {
        host: "127.0.0.1".to_owned(),
        port,
        tls: TlsMode::None,
        tls_name: "127.0.0.1".to_owned(),
        ca_file: None,
    }
}

/// A dialogue from its parts.
pub fn dialogue(parts: &[&[&str]]) -> Vec<String> {
    parts.concat().iter().map(ToString::to_string).collect()
}

/// Waits for a connection, and fails if none comes.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return stream;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("no connection came: {error}"),
        }
    }
}

fn play(stream: TcpStream, dialogue: &[String]) {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut stream = BufReader::new(stream);
    let mut tag = String::new();
    let mut log_in_tag = String::new();
    let mut opened = 0;
    for step in dialogue {
        let (kind, text) = step.split_once(": ").unwrap_or((step, ""));
        // A send may fail because the client is gone already: some tests are about that.
        match kind {
            "C" => {
                tag = expect_line(&mut stream, text);
                if text.starts_with("AUTHENTICATE") || text.starts_with("LOGIN") {
                    log_in_tag.clone_from(&tag);
                }
                if text.starts_with("EXAMINE") && opened == 0 {
                    opened = tag.trim_start_matches('a').parse().unwrap_or(0);
                }
            }
            "S" => {
                let text = text.replace("$tag", &tag).replace("$login", &log_in_tag);
                let line = with_numbered_tags(&text, opened) + "\r\n";
                let _ = stream.get_mut().write_all(line.as_bytes());
            }
            "R" => {
                let text = with_numbered_tags(text, opened);
                let _ = stream.get_mut().write_all(text.as_bytes());
            }
            "D" => send_slowly(stream.get_mut(), text.as_bytes().chunks(1)),
            "Z" => send_lines(stream.get_mut(), text.parse().unwrap()),
            "busy" => {
                let lines = std::iter::repeat(b"* OK still busy\r\n".as_slice());
                send_slowly(stream.get_mut(), lines);
            }
            "alone" => assert!(stream.buffer().is_empty(), "a pipeline"),
            "closed" => {
                stream.read_to_end(&mut Vec::new()).unwrap();
            }
            "silence" => {
                let _ = stream.read_to_end(&mut Vec::new());
            }
            _ => panic!("no step of a dialogue: {step}"),
        }
    }
}

/// The text with the tags of commands that are counted from the one that opened the folder.
fn with_numbered_tags(text: &str, opened: usize) -> String {
    (1..10).fold(text.to_owned(), |text, number| {
        text.replace(&format!("${number}"), &format!("a{}", opened + number))
    })
}

/// Asserts what the client sends next, and returns its tag.
fn expect_line(stream: &mut BufReader<TcpStream>, expected: &str) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let line = line.trim_end();
    let (tag, sent) = line.split_once(' ').unwrap_or(("", line));
    let is_expected = match expected.strip_suffix('*') {
        Some(beginning) => sent.starts_with(beginning),
        None => sent == expected,
    };
    assert!(
        is_expected,
        "expected {expected:?}, the client sent {sent:?}"
    );
    tag.to_owned()
}

/// Sends piece by piece, with pauses, until the client has closed the connection.
fn send_slowly<'a>(stream: &mut TcpStream, pieces: impl Iterator<Item = &'a [u8]>) {
    for piece in pieces.take(200) {
        if stream.write_all(piece).is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Sends `count` octets of text lines, without holding them in memory.
fn send_lines(stream: &mut TcpStream, count: usize) {
    let line = [[b'x'; 76].as_slice(), b"\r\n"].concat().repeat(200);
    for begin in (0..count).step_by(line.len()) {
        let length = line.len().min(count - begin);
        if stream.write_all(&line[..length]).is_err() {
            return;
        }
    }
}
