//! What was asked for ahead, and a server that holds back a tagged response (RFC 3501 5.5).

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use imap_to_gmail_sync::config::Server;
use imap_to_gmail_sync::sync::{Source, SourceSearch};

use crate::mailbox::{octets, open, open_with_short_timeouts, uids};
use crate::scripted_server::loopback;

/// Answers a command at once, unless it is a FETCH and the next command comes soon: then it completes
/// both together, the untagged responses first.
fn serve(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut say = stream.get_ref().try_clone().unwrap();
    say.write_all(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n")
        .unwrap();
    let mut line = String::new();
    while stream.read_line(&mut line).is_ok_and(|length| length > 0) {
        let mut tagged = String::new();
        loop {
            let (tag, command) = line.split_once(' ').unwrap();
            say.write_all(untagged(command).as_bytes()).unwrap();
            tagged.push_str(tag);
            tagged.push_str(" OK [CAPABILITY IMAP4rev1] done\r\n");
            let is_fetch = command.starts_with("UID FETCH");
            line.clear();
            if !is_fetch {
                break;
            }
            say.set_read_timeout(Some(Duration::from_millis(500)))
                .unwrap();
            let comes_soon = stream.read_line(&mut line).is_ok_and(|length| length > 0);
            say.set_read_timeout(None).unwrap();
            if !comes_soon {
                break;
            }
        }
        say.write_all(tagged.as_bytes()).unwrap();
        line.clear();
    }
}

fn untagged(command: &str) -> String {
    match command.split_whitespace().collect::<Vec<_>>()[..] {
        ["EXAMINE", ..] => {
            "* 4 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 5] x\r\n".to_owned()
        }
        ["UID", "SEARCH", ..] => "* SEARCH 1 2\r\n".to_owned(),
        ["UID", "FETCH", uid, ..] => format!("* 1 FETCH (UID {uid} BODY[] {{3}}\r\nab{uid})\r\n"),
        _ => String::new(),
    }
}

fn server() -> Server {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || serve(listener.accept().unwrap().0));
    loopback(port)
}

#[test]
fn a_search_is_not_answered_by_the_responses_to_what_was_asked_ahead() {
    let (mut source, _) = open(server(), "INBOX").unwrap();
    source.prefetch(&[uids(&[1])]);
    let found = source.search(&SourceSearch::Uids("1:4".parse().unwrap()));
    assert_eq!(found.unwrap(), uids(&[1, 2]));
    let fetched = source.fetch(&uids(&[1])).unwrap();
    assert_eq!(fetched, [octets("ab1")]);
}

#[test]
fn each_of_several_groups_gets_its_messages_whichever_response_they_came_with() {
    let (mut source, _) = open(server(), "INBOX").unwrap();
    source.prefetch(&[1, 2, 3].map(|uid| uids(&[uid])));
    let mut fetch = |uid| source.fetch(&uids(&[uid])).unwrap();
    assert_eq!(fetch(1), [octets("ab1")]);
    assert_eq!(fetch(2), [octets("ab2")]);
    assert_eq!(fetch(3), [octets("ab3")]);
}

#[test]
fn a_group_that_was_not_announced_gets_its_own_messages() {
    let (mut source, _) = open(server(), "INBOX").unwrap();
    source.prefetch(&[1, 2].map(|uid| uids(&[uid])));
    source.prefetch(&[1, 3].map(|uid| uids(&[uid])));
    let mut fetch = |uid| source.fetch(&uids(&[uid])).unwrap();
    assert_eq!(fetch(1), [octets("ab1")]);
    assert_eq!(fetch(4), [octets("ab4")]);
    assert_eq!(fetch(3), [octets("ab3")]);
}

#[test]
fn a_server_that_loses_what_is_asked_for_ahead_is_asked_again_and_no_longer_ahead() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let server = loopback(listener.local_addr().unwrap().port());
    let (received, commands) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let mut is_lost = |command: &str| {
            received.send(command.trim().to_owned()).unwrap();
            command.starts_with("UID FETCH 2 ")
        };
        // The first session loses one command, the second one none.
        serve_without(&mut is_lost, listener.accept().unwrap().0);
        let mut loses_none = |command: &str| {
            is_lost(command);
            false
        };
        serve_without(&mut loses_none, listener.accept().unwrap().0);
    });
    let (mut source, _) = open_with_short_timeouts(server).unwrap();
    source.prefetch(&[1, 2].map(|uid| uids(&[uid])));
    assert_eq!(source.fetch(&uids(&[1])).unwrap(), [octets("ab1")]);
    assert_eq!(source.fetch(&uids(&[2])).unwrap(), [octets("ab2")]);
    source.prefetch(&[3, 4].map(|uid| uids(&[uid])));
    assert_eq!(source.fetch(&uids(&[3])).unwrap(), [octets("ab3")]);
    source
        .search(&SourceSearch::Uids("1".parse().unwrap()))
        .unwrap();
    assert_eq!(source.fetch(&uids(&[4])).unwrap(), [octets("ab4")]);
    let commands = commands
        .try_iter()
        .filter(|command| command.starts_with("UID"));
    let expected = [
        "FETCH 1",
        "FETCH 2",
        "FETCH 2",
        "FETCH 3",
        "SEARCH UID",
        "FETCH 4",
    ];
    for (command, expected) in commands.zip(expected) {
        assert!(command[4..].starts_with(expected), "{command}");
    }
}

/// Answers each command, except those that are lost.
fn serve_without(is_lost: &mut dyn FnMut(&str) -> bool, stream: TcpStream) {
    let mut say = stream.try_clone().unwrap();
    say.write_all(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n")
        .unwrap();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let (tag, command) = line.split_once(' ').unwrap();
        if !is_lost(command) {
            let response = format!(
                "{}{tag} OK [CAPABILITY IMAP4rev1] done\r\n",
                untagged(command)
            );
            say.write_all(response.as_bytes()).unwrap();
        }
    }
}
