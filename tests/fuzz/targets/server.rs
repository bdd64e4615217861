//! A server that says whatever it likes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use imap_to_gmail_sync::config::Password;
use imap_to_gmail_sync::config::{Server, SourceConfig};
use imap_to_gmail_sync::error::Error;
use imap_to_gmail_sync::imap::{
    Connection, Credentials, Login, Session, read_attributes, read_bodies, responses,
};
use imap_to_gmail_sync::message::{Flags, Uid, UidSet};
use imap_to_gmail_sync::net::Trust;
use imap_to_gmail_sync::secret::Secret;
use imap_to_gmail_sync::source::{ImapSource, WaitOptions};
use imap_to_gmail_sync::sync::Source as _;
use imap_to_gmail_sync::timeouts::Timeouts;

use super::must_be_harmless;
use super::scripted_server::loopback;

/// Between the answers in an input: each command gets the next one.
const NEXT: &[u8] = b"\n%%\n";

/// Whatever lines come, the parser behind the connection survives what is handed on to it.
pub fn lines(octets: &[u8]) {
    let said = octets.to_vec();
    with_server(
        move |mut stream| {
            let _ = stream.write_all(&said);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        },
        |server| {
            let trust = Trust::for_server(server).unwrap();
            let mut connection = Connection::open(server, &trust, &patience().into()).unwrap();
            let mut admitted = Vec::new();
            if let Err(error) = connection.read_to_end(&mut admitted) {
                let _ = imap_to_gmail_sync::net::describe_io_error(&error);
            }
            let witness = connection.transcript();
            assert!(witness.last_lines().len() <= 8);
            assert!(witness.last_line().len() <= 2_000);
            responses(&admitted).for_each(drop);
            drop(read_attributes(&admitted));
            drop(read_bodies(&admitted));
        },
    );
}

/// A session is opened and used for all that both sides need.
pub fn session(octets: &[u8]) {
    with_answers(octets, |server| {
        let trust = Trust::for_server(server).unwrap();
        let login = Login {
            user: "user".to_owned(),
            credentials: Credentials::Password(Secret::new("secret".to_owned())),
        };
        let mut session = match Session::open(server, &trust, &patience().into(), &login) {
            Ok(session) => session,
            Err(unopened) => return must_be_harmless(&Error::from(unopened).to_string()),
        };
        if let Err(error) = session.examine("INBOX") {
            must_be_harmless(&error.to_string());
        }
        if let Ok(found) = session.search("ALL") {
            assert!(found.is_sorted());
        }
        let failures = [
            session.list().map(drop),
            session.capabilities().map(drop),
            session
                .append("INBOX", Flags::default(), None, b"a\r\n")
                .map(drop),
        ];
        for failure in failures.into_iter().filter_map(Result::err) {
            must_be_harmless(&failure.to_string());
        }
        session.logout();
    });
}

/// A mailbox is opened, listed and fetched from.
pub fn source(octets: &[u8]) {
    with_answers(octets, |server| {
        let password = Secret::new("secret".to_owned());
        let config = SourceConfig {
            server: server.clone(),
            user: "user".to_owned(),
            password: Password::Given(password.clone()),
            folder: "INBOX".to_owned(),
        };
        let (mut source, _) = match ImapSource::open(&config, password, patience()) {
            Ok(opened) => opened,
            Err(error) => return must_be_harmless(&error.to_string()),
        };
        let mut asked = UidSet::default();
        asked.insert_range(Uid::MIN, Uid::new(3).unwrap());
        match source.list(&asked) {
            Ok(listed) => assert!(listed.iter().all(|listed| asked.contains(listed.uid))),
            Err(error) => must_be_harmless(&error.to_string()),
        }
        if let Err(error) = source.fetch(&[Uid::MIN]) {
            must_be_harmless(&error.to_string());
        }
        let how = WaitOptions {
            use_idle: true,
            poll_interval: Duration::from_millis(5),
            until: Instant::now() + Duration::from_millis(20),
        };
        if let Err(error) = source.wait_for_mail(how) {
            must_be_harmless(&error.to_string());
        }
        if let Err(error) = source.check_for_mail() {
            must_be_harmless(&error.to_string());
        }
        source.logout();
    });
}

/// Short: most inputs promise something that never comes.
fn patience() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(5),
        response: Duration::from_millis(20),
        command: Duration::from_millis(100),
        idle_start: Duration::from_millis(20),
        idle_max: Duration::from_millis(20),
        ..Timeouts::default()
    }
}

/// A server that greets and answers each command with the next part of the input, and with OK if
/// that is not a tagged answer already. `$tag` is the tag.
fn with_answers(octets: &[u8], client: impl FnOnce(&Server)) {
    let said = octets.to_vec();
    let serve = move |stream: TcpStream| {
        let mut stream = BufReader::new(stream);
        let _ = stream
            .get_mut()
            .write_all(b"* OK [CAPABILITY IMAP4rev1 LITERAL+] hi\r\n");
        let mut parts = said.split_inclusive(|octet| *octet == b'\n').peekable();
        let mut line = String::new();
        while parts.peek().is_some() && stream.read_line(&mut line).is_ok_and(|length| length > 0) {
            let tag = line.split(' ').next().unwrap_or_default().to_owned();
            line.clear();
            let mut answer = Vec::new();
            for part in parts.by_ref().take_while(|part| *part != &NEXT[1..]) {
                answer.extend_from_slice(part);
            }
            let answer = with_tag(&answer, &tag);
            if stream.get_mut().write_all(&answer).is_err() {
                return;
            }
        }
    };
    with_server(serve, client);
}

fn with_tag(answer: &[u8], tag: &str) -> Vec<u8> {
    let mut tagged = Vec::new();
    let mut rest = answer;
    while let Some(at) = rest.windows(4).position(|word| word == b"$tag") {
        tagged.extend_from_slice(&rest[..at]);
        tagged.extend_from_slice(tag.as_bytes());
        rest = &rest[at + 4..];
    }
    tagged.extend_from_slice(rest);
    if tagged.len() == answer.len() {
        tagged.extend_from_slice(format!("{tag} OK done\r\n").as_bytes());
    }
    tagged
}

/// Runs a client against a server of its own, which serves one connection after the other.
fn with_server(serve: impl Fn(TcpStream) + Send + 'static, client: impl FnOnce(&Server)) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&is_over);
    let server = thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            if ends.load(Ordering::SeqCst) {
                return;
            }
            let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
            serve(stream);
        }
    });
    client(&loopback(address.port()));
    is_over.store(true, Ordering::SeqCst);
    drop(TcpStream::connect(address));
    server.join().unwrap();
}
