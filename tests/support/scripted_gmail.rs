//! A server that responds as Gmail does, except where a test replaces a response; with a token
//! endpoint.
//!
//! It knows just enough IMAP to read commands and literals, and keeps nothing.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use imap_to_gmail_sync::config::{Server, TargetConfig};
use imap_to_gmail_sync::delivery::gmail_imap::{GmailTarget, GmailTargetOptions};
use imap_to_gmail_sync::message::{DeliveryMethod, Flags, Message, MessageId, Uid};
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
    /// Hands the connection over to the test, with this command unanswered.
    Talk(Script),
}

/// What a test does with a connection from its first APPEND on; returns whether the server serves it
/// afterwards, or else closes it.
#[derive(Clone)]
pub struct Script(Arc<dyn Fn(&mut Talk<'_>) -> bool + Send + Sync>);

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

/// A connection in the hands of a test.
pub struct Talk<'a> {
    /// Counted from 0.
    pub connection: usize,
    reader: &'a mut BufReader<TcpStream>,
    writer: &'a TcpStream,
    /// A line that was read already.
    line: Option<String>,
    all_submitted: &'a Mutex<Receiver<()>>,
}

/// An APPEND as far as its literal.
pub struct AppendLine {
    pub tag: String,
    pub octets: usize,
    /// Its message comes without being asked for.
    pub is_non_synchronizing: bool,
}

impl Talk<'_> {
    /// The next line of the client, which is an APPEND.
    pub fn read_append(&mut self) -> AppendLine {
        let line = self.line.take().unwrap_or_else(|| {
            let mut line = String::new();
            self.set_timeout(Duration::from_secs(10));
            self.reader.read_line(&mut line).expect("an APPEND comes");
            line
        });
        let line = line.trim_end();
        let (tag, command) = line.split_once(' ').expect("a line has a tag");
        assert!(command.starts_with("APPEND "), "{line}");
        AppendLine {
            tag: tag.to_owned(),
            octets: announced(line),
            is_non_synchronizing: is_non_synchronizing(line),
        }
    }

    /// The message of an APPEND, after which the client ends the line.
    pub fn read_message(&mut self, append: &AppendLine) -> Vec<u8> {
        let octets = self.read_octets(append.octets);
        assert_eq!(self.read_octets(2), b"\r\n");
        octets
    }

    pub fn read_octets(&mut self, count: usize) -> Vec<u8> {
        let mut octets = vec![0; count];
        self.set_timeout(Duration::from_secs(10));
        self.reader.read_exact(&mut octets).expect("octets come");
        octets
    }

    /// Reads an APPEND and its message, which it asks for if need be.
    pub fn take_append(&mut self) -> AppendLine {
        let append = self.read_append();
        if !append.is_non_synchronizing {
            self.say("+ go ahead");
        }
        self.read_message(&append);
        append
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        let _ = self.writer.write_all(format!("{line}\r\n").as_bytes());
    }

    /// Answers that the message is stored under this UID.
    pub fn say_stored(&mut self, append: &AppendLine, uid: u32) {
        self.say(&format!("{} OK [APPENDUID 1 {uid}] (Success)", append.tag));
    }

    /// Asserts that the client sends nothing for a moment.
    pub fn assert_silence(&mut self) {
        self.set_timeout(Duration::from_millis(60));
        match self.reader.fill_buf() {
            Ok(octets) => panic!("the client sent {:?}", String::from_utf8_lossy(octets)),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{error}"
            ),
        }
    }

    /// Asserts that the client closes the connection and sends nothing before.
    pub fn assert_closed(&mut self) {
        let mut rest = String::new();
        self.set_timeout(Duration::from_secs(10));
        let _ = self.reader.read_to_string(&mut rest);
        assert_eq!(rest, "");
    }

    /// Waits until the test has submitted all its messages.
    pub fn wait_for_all_submitted(&self) {
        let limit = Duration::from_secs(10);
        let all_submitted = self.all_submitted.lock().unwrap();
        all_submitted
            .recv_timeout(limit)
            .expect("all are submitted");
    }

    fn set_timeout(&self, limit: Duration) {
        self.writer.set_read_timeout(Some(limit)).unwrap();
    }
}

/// The server, the token file of its account, and the commands that it got.
pub struct ScriptedGmail {
    port: u16,
    folder: TempDir,
    commands: Arc<Mutex<Vec<Command>>>,
    renewals: Arc<AtomicUsize>,
    talks: Arc<Talks>,
    submitted: Sender<()>,
}

/// How the tests' parts of connections went.
struct Talks {
    ended: AtomicUsize,
    failed: AtomicUsize,
    all_submitted: Mutex<Receiver<()>>,
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
        let (submitted, all_submitted) = channel();
        let talks = Arc::new(Talks {
            ended: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            all_submitted: Mutex::new(all_submitted),
        });
        let shared = Arc::clone(&talks);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (replies, recorded) = (Arc::clone(&replies), Arc::clone(&recorded));
                let talks = Arc::clone(&shared);
                thread::spawn(move || {
                    serve(connection, &stream.unwrap(), &*replies, &recorded, &talks);
                });
            }
        });
        let renewals = Arc::new(AtomicUsize::new(0));
        let gmail = ScriptedGmail {
            port,
            folder: TempDir::new().unwrap(),
            commands,
            renewals: Arc::clone(&renewals),
            talks,
            submitted,
        };
        let uri = start_token_endpoint(renewals);
        let token = format!(
            r#"{{"token":"FIRST","refresh_token":"REFRESH","client_id":"ID","client_secret":"SECRET",
                "token_uri":"{uri}","expiry":"2100-01-01T00:00:00Z"}}"#
        );
        fs::write(gmail.token_file(), token).unwrap();
        gmail
    }

    /// Starts a server that announces these capabilities, as `[CAPABILITY …]` in the answer to the
    /// log-in, and hands each of the first connections over to a script at its first APPEND.
    pub fn talking(
        log_in: &'static str,
        connections: usize,
        script: impl Fn(&mut Talk<'_>) -> bool + Send + Sync + 'static,
    ) -> ScriptedGmail {
        let script = Script(Arc::new(script));
        let begun = AtomicUsize::new(0);
        ScriptedGmail::start(move |command| match command.line.split(' ').next() {
            Some("AUTHENTICATE") => Some(Reply::Lines(log_in)),
            Some("APPEND")
                if command.connection < connections
                    && command.connection == begun.load(Ordering::SeqCst) =>
            {
                begun.fetch_add(1, Ordering::SeqCst);
                Some(Reply::Talk(script.clone()))
            }
            _ => None,
        })
    }

    /// Tells the script that all messages are submitted.
    pub fn note_all_submitted(&self) {
        self.submitted.send(()).unwrap();
    }

    /// Waits until this many scripts have ended; asserts that none failed.
    pub fn assert_talked(&self, connections: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.talks.ended.load(Ordering::SeqCst) < connections {
            assert!(Instant::now() < deadline, "a script does not end");
            thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(self.talks.failed.load(Ordering::SeqCst), 0);
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
                import: None,
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

    /// The number of such commands so far; waits until there are that many, if they are still on their way.
    pub fn wait_for_commands(&self, prefix: &str, count: usize) -> usize {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.commands(prefix).len() < count && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        self.commands(prefix).len()
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
        method: DeliveryMethod::Append,
        octets: octets.to_vec(),
    }
}

fn serve(
    connection: usize,
    stream: &TcpStream,
    replies: &Replies,
    recorded: &Mutex<Vec<Command>>,
    talks: &Talks,
) {
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
            let reply = replies(&command);
            let is_talk = matches!(reply, Some(Reply::Talk(_)));
            if is_non_synchronizing(text) && command.literal.is_none() && !is_talk {
                let Some(octets) = read_literal(&mut reader, announced(text)) else {
                    return;
                };
                command.literal = Some(octets);
                continue;
            }
            match reply.unwrap_or_else(|| default_reply(&command)) {
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
                    let Some(octets) = read_literal(&mut reader, announced(text)) else {
                        return;
                    };
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
                Reply::Talk(Script(script)) => {
                    let mut talk = Talk {
                        connection,
                        reader: &mut reader,
                        writer: stream,
                        line: Some(line.clone()),
                        all_submitted: &talks.all_submitted,
                    };
                    let goes_on = catch_unwind(AssertUnwindSafe(|| script(&mut talk)));
                    if !matches!(goes_on, Ok(true)) {
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                    let _ = stream.set_read_timeout(None);
                    let has_failed = usize::from(goes_on.is_err());
                    talks.failed.fetch_add(has_failed, Ordering::SeqCst);
                    talks.ended.fetch_add(1, Ordering::SeqCst);
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
    digits.trim_end_matches('+').parse().unwrap()
}

fn is_non_synchronizing(line: &str) -> bool {
    line.ends_with("+}")
}

/// Reads a message and the end of its line; none if the client has gone.
fn read_literal(reader: &mut impl BufRead, size: usize) -> Option<Vec<u8>> {
    let mut octets = vec![0; size];
    reader.read_exact(&mut octets).ok()?;
    reader.read_line(&mut String::new()).ok()?;
    Some(octets)
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
