//! A Gmail that says exactly what a test tells it to say, and a token endpoint beside it.
//!
//! It knows just enough IMAP to read commands and literals; every answer can be replaced.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, thread};

use chrono::{DateTime, Utc};
use imap_to_gmail_sync::config::{Server, TargetConfig, TlsMode};
use imap_to_gmail_sync::delivery::gmail_imap::{GmailTarget, GmailTargetOptions};
use imap_to_gmail_sync::message::{Flags, Message, MessageId, Uid};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::timeouts::Timeouts;
use tempfile::TempDir;

/// Something that the client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// On which connection, counted from 0.
    pub connection: usize,
    /// The command without its tag.
    pub line: String,
    /// The literal, once it is there.
    pub literal: Option<Vec<u8>>,
}

/// What the server does about it.
#[derive(Debug, Clone)]
pub enum Does {
    /// Says these lines; `{tag}` is the command's tag.
    Says(&'static str),
    /// Says these lines and closes the connection.
    SaysAndCloses(&'static str),
    /// Asks for the literal.
    GoesAhead,
    /// Asks for the literal, reads so many octets of it, and closes.
    GoesAheadAndCloses(usize),
    /// Says nothing more.
    Stalls,
}

/// A server that is played, its account's files, and what was said to it.
pub struct Played {
    port: u16,
    folder: TempDir,
    said: Arc<Mutex<Vec<Said>>>,
    renewals: Arc<AtomicUsize>,
}

type Script = dyn Fn(&Said) -> Option<Does> + Send + Sync;

impl Played {
    /// Answers as the script says, and ordinarily where it says nothing.
    pub fn by(script: impl Fn(&Said) -> Option<Does> + Send + Sync + 'static) -> Played {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let heard = Arc::clone(&said);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (script, heard) = (Arc::clone(&script), Arc::clone(&heard));
                thread::spawn(move || serve(connection, &stream.unwrap(), &*script, &heard));
            }
        });
        let renewals = Arc::new(AtomicUsize::new(0));
        let played = Played {
            port,
            folder: TempDir::new().unwrap(),
            said,
            renewals: Arc::clone(&renewals),
        };
        let uri = token_endpoint(renewals);
        let token = format!(
            r#"{{"token":"FIRST","refresh_token":"REFRESH","client_id":"ID","client_secret":"SECRET",
                "token_uri":"{uri}","expiry":"2100-01-01T00:00:00Z"}}"#
        );
        fs::write(played.token_file(), token).unwrap();
        played
    }

    pub fn token_file(&self) -> PathBuf {
        self.folder.path().join("token.json")
    }

    /// Where it is, in plain text.
    pub fn server(&self) -> Server {
        Server {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            tls: TlsMode::None,
            tls_name: "localhost".to_owned(),
            ca_file: None,
        }
    }

    /// The account on this server, with so many append connections.
    pub fn gmail(&self, connections: usize) -> GmailTarget {
        GmailTarget::new(GmailTargetOptions {
            config: TargetConfig {
                server: self.server(),
                user: "alice@gmail.com".to_owned(),
                token_file: self.token_file(),
                folder: "Arrived".to_owned(),
                connections,
                auth_command: "auth".to_owned(),
            },
            now: Arc::new(now),
            connection: ConnectionOptions::from(Timeouts {
                response: Duration::from_secs(2),
                ..Timeouts::default()
            }),
            rejected_token: None,
            is_dry_run: false,
        })
    }

    /// The commands whose lines begin so, in order.
    pub fn heard(&self, begin: &str) -> Vec<Said> {
        let said = self.said.lock().unwrap();
        let begins = |said: &&Said| said.line.starts_with(begin);
        said.iter().filter(begins).cloned().collect()
    }

    /// How often a token was renewed.
    pub fn renewals(&self) -> usize {
        self.renewals.load(Ordering::SeqCst)
    }
}

pub fn now() -> DateTime<Utc> {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// A message with this UID, id and octets.
pub fn message(uid: u32, octets: &[u8]) -> Message {
    Message {
        uid: Uid::new(uid).unwrap(),
        id: MessageId::of_octets(octets),
        internal_date: DateTime::parse_from_rfc3339("2020-02-03T04:05:06+01:00").ok(),
        flags: Flags {
            seen: true,
            ..Flags::default()
        },
        octets: octets.to_vec(),
    }
}

fn serve(connection: usize, stream: &TcpStream, script: &Script, heard: &Mutex<Vec<Said>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let _ = writer.write_all(b"* OK Gimap ready for requests from 127.0.0.1 u21mb1\r\n");
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
        let command = line.trim_end().to_owned();
        let (tag, command) = command.split_once(' ').unwrap_or((&command, ""));
        let mut said = Said {
            connection,
            line: command.to_owned(),
            literal: None,
        };
        loop {
            heard.lock().unwrap().push(said.clone());
            let does = script(&said).unwrap_or_else(|| ordinarily(&said));
            match does {
                Does::Says(lines) => {
                    let _ = writer.write_all(lines.replace("{tag}", tag).as_bytes());
                }
                Does::SaysAndCloses(lines) => {
                    let _ = writer.write_all(lines.replace("{tag}", tag).as_bytes());
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                Does::GoesAhead => {
                    let _ = writer.write_all(b"+ go ahead\r\n");
                    let mut octets = vec![0; announced(command)];
                    if reader.read_exact(&mut octets).is_err() {
                        return;
                    }
                    let mut end = String::new();
                    let _ = reader.read_line(&mut end);
                    said.literal = Some(octets);
                    continue;
                }
                Does::GoesAheadAndCloses(length) => {
                    let _ = writer.write_all(b"+ go ahead\r\n");
                    let mut octets = vec![0; length];
                    let _ = reader.read_exact(&mut octets);
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                Does::Stalls => {
                    let _ = reader.read_to_string(&mut String::new());
                    return;
                }
            }
            break;
        }
        line.clear();
    }
}

/// What Gmail says to a client when nothing is wrong.
fn ordinarily(said: &Said) -> Does {
    let word = said.line.split(' ').next().unwrap_or_default();
    Does::Says(match word {
        "CAPABILITY" => {
            "* CAPABILITY IMAP4rev1 ID X-GM-EXT-1 SASL-IR AUTH=XOAUTH2\r\n{tag} OK Thats all\r\n"
        }
        "AUTHENTICATE" => {
            "* CAPABILITY IMAP4rev1 UIDPLUS X-GM-EXT-1 APPENDLIMIT=35651584\r\n\
             {tag} OK alice@gmail.com authenticated (Success)\r\n"
        }
        "LIST" => {
            "* LIST (\\HasNoChildren) \"/\" \"INBOX\"\r\n\
             * LIST (\\HasNoChildren) \"/\" \"Arrived\"\r\n\
             * LIST (\\HasChildren \\Noselect) \"/\" \"[Gmail]\"\r\n\
             * LIST (\\All \\HasNoChildren) \"/\" \"[Gmail]/Alle Nachrichten\"\r\n\
             * LIST (\\HasNoChildren \\Trash) \"/\" \"[Gmail]/Papierkorb\"\r\n\
             * LIST (\\HasNoChildren \\Junk) \"/\" \"[Gmail]/Spam\"\r\n{tag} OK Success\r\n"
        }
        "EXAMINE" => {
            "* 0 EXISTS\r\n* OK [UIDVALIDITY 7] UIDs valid.\r\n* OK [UIDNEXT 66] Predicted.\r\n\
             {tag} OK [READ-ONLY] selected. (Success)\r\n"
        }
        "APPEND" if said.literal.is_none() => return Does::GoesAhead,
        "APPEND" => "{tag} OK [APPENDUID 1 66] (Success)\r\n",
        "UID" => "* SEARCH\r\n{tag} OK SEARCH completed (Success)\r\n",
        "LOGOUT" => {
            return Does::SaysAndCloses("* BYE LOGOUT Requested\r\n{tag} OK 73 good day\r\n");
        }
        _ => "{tag} OK Success\r\n",
    })
}

fn announced(line: &str) -> usize {
    let inner = line.strip_suffix('}').expect("a literal is announced");
    let (_, digits) = inner.rsplit_once('{').unwrap();
    digits.parse().unwrap()
}

/// A token endpoint that always grants; gives its address.
fn token_endpoint(renewals: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/token", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let number = renewals.fetch_add(1, Ordering::SeqCst) + 1;
            let mut reader = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.trim().to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let body = format!(
                r#"{{"access_token":"RENEWED{number}","expires_in":3599,"token_type":"Bearer"}}"#
            );
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            );
            reader.into_inner().write_all(answer.as_bytes()).unwrap();
        }
    });
    uri
}
