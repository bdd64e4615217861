//! A server that sends any octets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use imap_to_gmail_sync::config::{
    FolderConfig, FolderCopy, FolderRole, FolderRule, Password, Server, SourceConfig,
    SourceFolders, TargetFolder,
};
use imap_to_gmail_sync::error::Error;
use imap_to_gmail_sync::folders::{TargetFolders, describe_mistakes, plan};
use imap_to_gmail_sync::imap::{
    Connection, Credentials, FolderListing, Login, LoginForm, LoginHistory, MailboxName, Session,
    read_attributes, take_bodies,
};
use imap_to_gmail_sync::message::{Flags, Mark, Uid, UidSet, UidValidity};
use imap_to_gmail_sync::net::Trust;
use imap_to_gmail_sync::secret::Secret;
use imap_to_gmail_sync::source::{ImapSource, WaitOptions};
use imap_to_gmail_sync::sync::Source as _;
use imap_to_gmail_sync::timeouts::Timeouts;

use super::assert_harmless;
use super::scripted_server::loopback;

/// Separates the responses in an input: each command gets the next one.
const NEXT: &[u8] = b"\n%%\n";

/// Whatever lines arrive, the parser behind the connection handles what passes `sanitize`.
pub fn lines(octets: &[u8]) {
    let input = octets.to_vec();
    with_server(
        move |mut stream| {
            let _ = stream.write_all(&input);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        },
        |server| {
            let trust = Trust::for_server(server).unwrap();
            let mut connection =
                Connection::open(server, &trust, &short_timeouts().into()).unwrap();
            loop {
                match connection.next_response() {
                    Ok(responses) => {
                        responses.iter().for_each(drop);
                        drop(read_attributes(&responses));
                        drop(take_bodies(responses));
                    }
                    Err(error) => {
                        let _ = imap_to_gmail_sync::net::describe_io_error(&error);
                        break;
                    }
                }
            }
            let transcript = connection.transcript();
            assert!(transcript.last_lines().len() <= 8);
            assert!(transcript.last_line().len() <= 2_000);
        },
    );
}

/// Opens a session and uses every command of both sides.
pub fn session(octets: &[u8]) {
    with_responses(octets, |server| {
        let trust = Trust::for_server(server).unwrap();
        let login = Login {
            user: "user".to_owned(),
            credentials: Credentials::Password(Secret::new("secret".to_owned())),
        };
        let mut session = match Session::open(server, &trust, &short_timeouts().into(), &login) {
            Ok(session) => session,
            Err(unopened) => return assert_harmless(&Error::from(unopened).to_string()),
        };
        if let Err(error) = session.examine("INBOX") {
            assert_harmless(&error.to_string());
        }
        if let Ok(found) = session.search("ALL") {
            assert!(found.is_sorted());
        }
        let inbox = MailboxName::new("INBOX").unwrap();
        let appended = session.append(&inbox, Flags::default(), None, b"a\r\n");
        let failures = [
            session.list().map(drop),
            session.capabilities().map(drop),
            appended.result.map(drop),
        ];
        for failure in failures.into_iter().filter_map(Result::err) {
            assert_harmless(&failure.to_string());
        }
        if let Ok((listing, _)) = session.list_folders_with_status() {
            plan_all(&listing);
        }
        if let Ok(statuses) = session.status_of(&["INBOX", "a"]) {
            assert_eq!(statuses.len(), 2);
        }
        session.logout();
    });
}

/// Has every folder go to one of the same name, and to the folder of a role.
fn plan_all(listing: &FolderListing) {
    let rule = |source, target| FolderRule {
        source,
        copy: Some(FolderCopy {
            target,
            labels: vec!["a".to_owned()],
            archive: true,
            copy_flags: true,
        }),
    };
    let all = || SourceFolders::Pattern("*".to_owned());
    for target in [TargetFolder::SameName, TargetFolder::Role(FolderRole::Junk)] {
        let rules = vec![
            rule(SourceFolders::Role(FolderRole::Sent), target.clone()),
            rule(SourceFolders::Name("b".to_owned()), target.clone()),
            rule(all(), target),
            rule(all(), TargetFolder::SameName),
        ];
        let target = TargetFolders {
            listing,
            is_gmail: true,
        };
        match plan(&FolderConfig::Many(rules), listing, target) {
            Ok(plan) => {
                let missing = plan.missing.iter().map(ToString::to_string);
                let warnings = plan.warnings.iter().map(ToString::to_string);
                missing
                    .chain(warnings)
                    .for_each(|line| assert_harmless(&line));
            }
            Err(mistakes) => assert_harmless(&describe_mistakes(&mistakes)),
        }
    }
}

/// Opens a mailbox, lists it, fetches from it and waits for mail.
pub fn source(octets: &[u8]) {
    with_responses(octets, |server| {
        let password = Secret::new("secret".to_owned());
        let config = SourceConfig {
            server: server.clone(),
            user: "user".to_owned(),
            password: Password::Given(password.clone()),
            folder: "INBOX".to_owned(),
        };
        // In half of the inputs all is asked for with the log-in.
        let is_known = octets.len() % 2 == 1;
        let history = LoginHistory {
            accepted: is_known.then_some(LoginForm::LoginCommand),
            ..LoginHistory::default()
        };
        let new_since = is_known.then(|| Mark {
            uid_validity: UidValidity::new(7).unwrap(),
            uid_next: Uid::MIN,
        });
        let timeouts = short_timeouts();
        let opened = ImapSource::open_with_history(&config, password, timeouts, history, new_since);
        let (mut source, _) = match opened {
            Ok(opened) => opened,
            Err(error) => return assert_harmless(&error.to_string()),
        };
        let mut requested = UidSet::default();
        requested.insert_range(Uid::MIN, Uid::new(3).unwrap());
        match source.list(&requested) {
            Ok(listed) => assert!(listed.iter().all(|listed| requested.contains(listed.uid))),
            Err(error) => assert_harmless(&error.to_string()),
        }
        if let Err(error) = source.fetch(&[Uid::MIN]) {
            assert_harmless(&error.to_string());
        }
        let wait = WaitOptions {
            use_idle: true,
            poll_interval: Duration::from_millis(5),
            until: Instant::now() + Duration::from_millis(20),
        };
        if let Err(error) = source.wait_for_mail(wait) {
            assert_harmless(&error.to_string());
        }
        if let Err(error) = source.check_for_mail() {
            assert_harmless(&error.to_string());
        }
        source.logout();
    });
}

/// Short time-outs: most inputs announce octets that never arrive.
fn short_timeouts() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(5),
        response: Duration::from_millis(20),
        command: Duration::from_millis(100),
        idle_start: Duration::from_millis(20),
        idle_max: Duration::from_millis(20),
        ..Timeouts::default()
    }
}

/// A server that greets and responds to each command with the next part of the input, and with OK if
/// that has no `$tag`, which stands for the tag.
fn with_responses(octets: &[u8], client: impl FnOnce(&Server)) {
    let input = octets.to_vec();
    let serve = move |stream: TcpStream| {
        let mut stream = BufReader::new(stream);
        let _ = stream
            .get_mut()
            .write_all(b"* OK [CAPABILITY IMAP4rev1 LITERAL+] hi\r\n");
        let mut parts = input.split_inclusive(|octet| *octet == b'\n').peekable();
        let mut line = String::new();
        while parts.peek().is_some() && stream.read_line(&mut line).is_ok_and(|length| length > 0) {
            let tag = line.split(' ').next().unwrap_or_default().to_owned();
            line.clear();
            let mut response = Vec::new();
            for part in parts.by_ref().take_while(|part| *part != &NEXT[1..]) {
                response.extend_from_slice(part);
            }
            let response = with_tag(&response, &tag);
            if stream.get_mut().write_all(&response).is_err() {
                return;
            }
        }
    };
    with_server(serve, client);
}

fn with_tag(response: &[u8], tag: &str) -> Vec<u8> {
    let mut tagged = Vec::new();
    let mut rest = response;
    while let Some(at) = rest.windows(4).position(|word| word == b"$tag") {
        tagged.extend_from_slice(&rest[..at]);
        tagged.extend_from_slice(tag.as_bytes());
        rest = &rest[at + 4..];
    }
    tagged.extend_from_slice(rest);
    if tagged.len() == response.len() {
        tagged.extend_from_slice(format!("{tag} OK done\r\n").as_bytes());
    }
    tagged
}

/// Runs a client with a server of its own, which serves one connection after the other.
fn with_server(serve: impl Fn(TcpStream) + Send + 'static, client: impl FnOnce(&Server)) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let is_stopped = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&is_stopped);
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
    is_stopped.store(true, Ordering::SeqCst);
    drop(TcpStream::connect(address));
    server.join().unwrap();
}
