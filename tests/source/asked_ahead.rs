//! What was asked for ahead, and a server that holds back a tagged response (RFC 3501 5.5).

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use imap_to_gmail_sync::config::Server;
use imap_to_gmail_sync::sync::{Fetched, Source, SourceSearch};

use crate::mailbox::{open, uids};
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
        let (tag, command) = line.split_once(' ').unwrap();
        let mut held_back = String::new();
        if command.starts_with("UID FETCH") {
            let body = "* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\n";
            held_back = format!("{tag} OK fetched\r\n");
            say.write_all(body.as_bytes()).unwrap();
            say.set_read_timeout(Some(Duration::from_millis(500)))
                .unwrap();
            line.clear();
            if stream.read_line(&mut line).is_err() {
                say.write_all(held_back.as_bytes()).unwrap();
                say.set_read_timeout(None).unwrap();
                line.clear();
                continue;
            }
            say.set_read_timeout(None).unwrap();
        }
        let (tag, command) = line.split_once(' ').unwrap();
        let untagged = match command.split_whitespace().take(2).collect::<Vec<_>>()[..] {
            ["EXAMINE", _] => "* 4 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 5] x\r\n",
            ["UID", "SEARCH"] => "* SEARCH 1 2\r\n",
            _ => "",
        };
        let response = format!("{untagged}{held_back}{tag} OK [CAPABILITY IMAP4rev1] done\r\n");
        say.write_all(response.as_bytes()).unwrap();
        line.clear();
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
    assert_eq!(fetched, [Fetched::from(b"abc".to_vec())]);
}
