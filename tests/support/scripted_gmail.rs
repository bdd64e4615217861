//! A server that responds as Gmail does, except where a test replaces a response; with a token
//! endpoint.
//!
//! It knows just enough IMAP to read commands and literals, and keeps nothing.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, Utc};
use imap_to_gmail_sync::config::{Server, TargetConfig};
use imap_to_gmail_sync::delivery::gmail_imap::{GmailTarget, GmailTargetOptions};
use imap_to_gmail_sync::message::{Flags, Message, MessageId, Uid};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::oauth::RenewalPolicy;
use imap_to_gmail_sync::timeouts::Timeouts;
use tempfile::TempDir;

use crate::http;
use crate::scripted_server::loopback;

/// A command of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The connection, counted from 0.
    pub connection: usize,
    /// Without the tag.
    pub line: String,
    /// The message of an APPEND, once it was read.
    pub literal: Option<Vec<u8>>,
}

/// How the server responds to a command.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Sends these lines; `$tag` stands for the command's tag.
    Lines(&'static str),
    /// Sends these lines and closes the connection.
    LinesThenClose(&'static str),
    /// Asks for the literal; then the command is handled once more, with it.
    ReadLiteral,
    /// Asks for the literal, reads that many octets of it, and closes the connection.
    ReadPartThenClose(usize),
    /// Sends nothing more.
    Stall,
}

/// The server, the token file of its account, and the commands that it got.
pub struct ScriptedGmail {
    port: u16,
    folder: TempDir,
    commands: Arc<Mutex<Vec<Command>>>,
    renewals: Arc<AtomicUsize>,
}

type Replies = dyn Fn(&Command) -> Option<Reply> + Send + Sync;

impl ScriptedGmail {
    /// Starts a server that responds as `replies` says, and as Gmail does where that is `None`.
    pub fn start(
        replies: impl Fn(&Command) -> Option<Reply> + Send + Sync + 'static,
    ) -> ScriptedGmail {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let commands = Arc::new(Mutex::new(Vec::new()));
        let replies: Arc<Replies> = Arc::new(replies);
        let recorded = Arc::clone(&commands);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (replies, recorded) = (Arc::clone(&replies), Arc::clone(&recorded));
                thread::spawn(move || serve(connection, &stream.unwrap(), &*replies, &recorded));
            }
        });
        let renewals = Arc::new(AtomicUsize::new(0));
        let gmail = ScriptedGmail {
            port,
            folder: TempDir::new().unwrap(),
            commands,
            renewals: Arc::clone(&renewals),
        };
        let uri = start_token_endpoint(renewals);
        let token = format!(
            r#"{{"token":"FIRST","refresh_token":"REFRESH","client_id":"ID","client_secret":"SECRET",
                "token_uri":"{uri}","expiry":"2100-01-01T00:00:00Z"}}"#
        );
        fs::write(gmail.token_file(), token).unwrap();
        gmail
    }

    pub fn token_file(&self) -> PathBuf {
        self.folder.path().join("token.json")
    }

    pub fn address(&self) -> Server {
        Server {
            tls_name: "localhost".to_owned(),
            ..loopback(self.port)
        }
    }

    /// A target at this server with at most `connections` append connections.
    pub fn target(&self, connections: usize) -> GmailTarget {
        self.target_with(
            connections,
            Timeouts {
                response: Duration::from_secs(2),
                ..Timeouts::default()
            },
        )
    }

    /// The same with these time-outs.
    pub fn target_with(&self, connections: usize, timeouts: Timeouts) -> GmailTarget {
        GmailTarget::new(GmailTargetOptions {
            config: TargetConfig {
                server: self.address(),
                user: "alice@gmail.com".to_owned(),
                token_file: self.token_file(),
                folder: "Arrived".to_owned(),
                connections,
                auth_command: "auth".to_owned(),
            },
            now: Arc::new(now),
            connection: ConnectionOptions::from(timeouts),
            rejected_token: None,
            renewal: RenewalPolicy::Save,
        })
    }

    /// The commands so far that begin with `prefix`.
    pub fn commands(&self, prefix: &str) -> Vec<Command> {
        let commands = self.commands.lock().unwrap();
        let is_wanted = |command: &&Command| command.line.starts_with(prefix);
        commands.iter().filter(is_wanted).cloned().collect()
    }

    /// How often the token was renewed.
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

fn serve(connection: usize, stream: &TcpStream, replies: &Replies, recorded: &Mutex<Vec<Command>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let _ = writer.write_all(b"* OK Gimap ready for requests from 127.0.0.1 u21mb1\r\n");
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
        let text = line.trim_end();
        let (tag, text) = text.split_once(' ').unwrap_or((text, ""));
        let mut command = Command {
            connection,
            line: text.to_owned(),
            literal: None,
        };
        loop {
            recorded.lock().unwrap().push(command.clone());
            let reply = replies(&command).unwrap_or_else(|| default_reply(&command));
            match reply {
                Reply::Lines(lines) => {
                    let _ = writer.write_all(lines.replace("$tag", tag).as_bytes());
                }
                Reply::LinesThenClose(lines) => {
                    let _ = writer.write_all(lines.replace("$tag", tag).as_bytes());
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                Reply::ReadLiteral => {
                    let _ = writer.write_all(b"+ go ahead\r\n");
                    let mut octets = vec![0; announced(text)];
                    if reader.read_exact(&mut octets).is_err() {
                        return;
                    }
                    let mut end = String::new();
                    let _ = reader.read_line(&mut end);
                    command.literal = Some(octets);
                    continue;
                }
                Reply::ReadPartThenClose(length) => {
                    let _ = writer.write_all(b"+ go ahead\r\n");
                    let mut octets = vec![0; length];
                    let _ = reader.read_exact(&mut octets);
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                Reply::Stall => {
                    let _ = reader.read_to_string(&mut String::new());
                    return;
                }
            }
            break;
        }
        line.clear();
    }
}

/// The response of Gmail when nothing is wrong.
fn default_reply(command: &Command) -> Reply {
    let word = command.line.split(' ').next().unwrap_or_default();
    Reply::Lines(match word {
        "CAPABILITY" => {
            "* CAPABILITY IMAP4rev1 ID X-GM-EXT-1 SASL-IR AUTH=XOAUTH2\r\n$tag OK Thats all\r\n"
        }
        "AUTHENTICATE" => {
            "* CAPABILITY IMAP4rev1 UIDPLUS X-GM-EXT-1 APPENDLIMIT=35651584\r\n\
             $tag OK alice@gmail.com authenticated (Success)\r\n"
        }
        "LIST" => {
            "* LIST (\\HasNoChildren) \"/\" \"INBOX\"\r\n\
             * LIST (\\HasNoChildren) \"/\" \"Arrived\"\r\n\
             * LIST (\\HasChildren \\Noselect) \"/\" \"[Gmail]\"\r\n\
             * LIST (\\All \\HasNoChildren) \"/\" \"[Gmail]/Alle Nachrichten\"\r\n\
             * LIST (\\HasNoChildren \\Trash) \"/\" \"[Gmail]/Papierkorb\"\r\n\
             * LIST (\\HasNoChildren \\Junk) \"/\" \"[Gmail]/Spam\"\r\n$tag OK Success\r\n"
        }
        "EXAMINE" => {
            "* 0 EXISTS\r\n* OK [UIDVALIDITY 7] UIDs valid.\r\n* OK [UIDNEXT 66] Predicted.\r\n\
             $tag OK [READ-ONLY] selected. (Success)\r\n"
        }
        "APPEND" if command.literal.is_none() => return Reply::ReadLiteral,
        "APPEND" => "$tag OK [APPENDUID 1 66] (Success)\r\n",
        "UID" => "* SEARCH\r\n$tag OK SEARCH completed (Success)\r\n",
        "LOGOUT" => {
            return Reply::LinesThenClose("* BYE LOGOUT Requested\r\n$tag OK 73 good day\r\n");
        }
        _ => "$tag OK Success\r\n",
    })
}

/// The size of the literal that the line announces.
fn announced(line: &str) -> usize {
    let inner = line.strip_suffix('}').expect("a literal is announced");
    let (_, digits) = inner.rsplit_once('{').unwrap();
    digits.parse().unwrap()
}

/// Starts a token endpoint that always grants, and returns its address.
fn start_token_endpoint(renewals: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/token", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let number = renewals.fetch_add(1, Ordering::SeqCst) + 1;
            let mut reader = BufReader::new(stream.unwrap());
            http::read_request(&mut reader).unwrap();
            let token = format!(
                r#"{{"access_token":"RENEWED{number}","expires_in":3599,"token_type":"Bearer"}}"#
            );
            http::respond_json(reader.get_mut(), &token).unwrap();
        }
    });
    uri
}
