//! A server that knows no IMAP: it sends octets and insists on octets.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use imap_to_gmail_sync::config::{Server, TlsMode};

/// A dialogue that is being played; dropped, it checks that it came to its end.
pub struct ScriptedServer {
    port: u16,
    player: Option<JoinHandle<()>>,
}

impl ScriptedServer {
    /// Plays one dialogue for each connection, one after the other.
    ///
    /// A step is `S: ` and what the server sends, CRLF added and `$tag` replaced by the tag of the
    /// client's last command; `R: ` and what it sends as it is; or `C: ` and what the client must
    /// send, its tag left out; a `*` at the end stands for anything. After its last step it closes;
    /// after `silence` it waits for the client to close. After `busy` it says so every now and then,
    /// and `D: ` drips octets one by one, both for ten seconds at most; `Z: ` and a number is as many
    /// octets of lines.
    pub fn play(dialogues: Vec<Vec<String>>) -> ScriptedServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let player = std::thread::spawn(move || {
            for dialogue in dialogues {
                let (stream, _) = listener.accept().unwrap();
                play(stream, &dialogue);
            }
        });
        ScriptedServer {
            port,
            player: Some(player),
        }
    }

    /// Where it is, in plain text.
    pub fn address(&self) -> Server {
        Server {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            tls: TlsMode::None,
            tls_name: "127.0.0.1".to_owned(),
            ca_file: None,
        }
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        let played = self.player.take().unwrap().join();
        if !std::thread::panicking() {
            played.expect("the dialogue was played to its end");
        }
    }
}

/// A dialogue, from its steps.
pub fn steps(steps: &[&str]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

fn play(stream: TcpStream, dialogue: &[String]) {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut stream = BufReader::new(stream);
    let mut tag = String::new();
    for step in dialogue {
        if step == "silence" {
            let _ = stream.read_to_end(&mut Vec::new());
        } else if let Some(text) = step.strip_prefix("S: ") {
            let text = format!("{}\r\n", text.replace("$tag", &tag));
            // The client may be gone already, if that is what the test is about.
            let _ = stream.get_mut().write_all(text.as_bytes());
        } else if step == "busy" {
            send_slowly(
                stream.get_mut(),
                std::iter::repeat(b"* OK still busy\r\n".as_slice()),
            );
        } else if let Some(text) = step.strip_prefix("D: ") {
            send_slowly(stream.get_mut(), text.as_bytes().chunks(1));
        } else if let Some(count) = step.strip_prefix("Z: ") {
            send_lines(stream.get_mut(), count.parse().unwrap());
        } else if let Some(text) = step.strip_prefix("R: ") {
            let _ = stream.get_mut().write_all(text.as_bytes());
        } else if let Some(expected) = step.strip_prefix("C: ") {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let (its_tag, said) = line
                .trim_end()
                .split_once(' ')
                .unwrap_or(("", line.trim_end()));
            its_tag.clone_into(&mut tag);
            let is_expected = match expected.strip_suffix('*') {
                Some(beginning) => said.starts_with(beginning),
                None => said == expected,
            };
            assert!(
                is_expected,
                "expected {expected:?}, the client said {said:?}"
            );
        } else {
            panic!("a step begins with S:, R:, D:, Z: or C:, or is silence or busy: {step}");
        }
    }
}

/// Sends piece by piece, with pauses, until the client has gone.
fn send_slowly<'a>(stream: &mut TcpStream, pieces: impl Iterator<Item = &'a [u8]>) {
    for piece in pieces.take(200) {
        if stream.write_all(piece).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sends so many octets of text lines, without holding them.
fn send_lines(stream: &mut TcpStream, count: usize) {
    let line = [[b'x'; 76].as_slice(), b"\r\n"].concat().repeat(200);
    for begin in (0..count).step_by(line.len()) {
        let length = line.len().min(count - begin);
        if stream.write_all(&line[..length]).is_err() {
            return;
        }
    }
}
