//! The quirks of the source double.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod dialogue;

use dialogue::Dialogue;
use double::{Certificate, MessageFault, Quirk, Security, Source, SourceOptions, date};

fn start(quirks: &[Quirk]) -> Source {
    let source = Source::start(SourceOptions {
        security: Security::Plain,
        quirks: quirks.iter().copied().collect(),
        ..SourceOptions::default()
    });
    let message = b"Message-ID: <a@B>\r\nSubject: One\r\n\r\nBody\r\n";
    source.deliver(message, date("2026-11-02T10:00:00+01:00"), &["\\Seen"]);
    source.deliver(b"Short", date("2026-11-21T23:30:00+00:00"), &[]);
    source
}

fn logged_in(source: &Source) -> Dialogue {
    let mut dialogue = Dialogue::plain(source.port());
    dialogue.receive();
    dialogue.send("l LOGIN user secret");
    while !dialogue.receive().starts_with("l ") {}
    dialogue
}

fn examined(source: &Source) -> Dialogue {
    let mut dialogue = logged_in(source);
    dialogue.send("i ID NIL");
    while !dialogue.receive().starts_with("i ") {}
    dialogue.send("e EXAMINE INBOX");
    while !dialogue.receive().starts_with("e ") {}
    dialogue
}

/// The response to a command, up to its tagged line.
fn request(dialogue: &mut Dialogue, command: &str) -> Vec<String> {
    dialogue.send(&format!("a {command}"));
    let mut lines = Vec::new();
    while !lines
        .last()
        .is_some_and(|line: &String| line.starts_with("a "))
    {
        lines.push(dialogue.receive());
    }
    lines
}

/// The first FETCH response of a source with these quirks.
fn fetched(quirks: Quirk, items: &str) -> String {
    let source = start(&[quirks]);
    request(&mut examined(&source), &format!("UID FETCH 1 ({items})")).remove(0)
}

#[test]
fn strings_are_quoted_where_that_is_possible() {
    let source = start(&[Quirk::QuotedStrings]);
    let lines = request(&mut examined(&source), "UID FETCH 1:2 BODY.PEEK[]");
    assert!(lines[0].starts_with("* 1 FETCH (UID 1 BODY[] {41}\r\n"));
    assert_eq!(lines[1], "* 2 FETCH (UID 2 BODY[] \"Short\")");
}

#[test]
fn bodies_are_nil() {
    assert_eq!(
        fetched(Quirk::NilBodies, "BODY.PEEK[]"),
        "* 1 FETCH (UID 1 BODY[] NIL)"
    );
}

#[test]
fn uidvalidity_and_uidnext_are_missing() {
    let examine = |quirks: &[Quirk]| {
        let source = start(quirks);
        let mut dialogue = logged_in(&source);
        let lines = request(&mut dialogue, "EXAMINE INBOX").join("\n");
        lines + &request(&mut dialogue, "STATUS INBOX (UIDVALIDITY UIDNEXT)")[0]
    };
    let usual = examine(&[]);
    assert!(usual.contains("[UIDVALIDITY ") && usual.contains("[UIDNEXT 3]"));
    assert!(!examine(&[Quirk::NoUidValidity]).contains("UIDVALIDITY"));
    let without_next = examine(&[Quirk::NoUidNext]);
    assert!(!without_next.contains("[UIDNEXT"));
    assert!(without_next.ends_with("(UIDVALIDITY 1700000000 UIDNEXT 3)"));
}

#[test]
fn everything_is_in_lower_case() {
    let source = start(&[Quirk::LowerCase]);
    let lines = request(
        &mut examined(&source),
        "UID FETCH 1 (FLAGS INTERNALDATE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])",
    );
    assert_eq!(
        lines,
        [
            "* 1 fetch (uid 1 flags (\\seen) internaldate \"02-Nov-2026 10:00:00 +0100\" body[header.fields (message-id)] {21}\r\nMessage-ID: <a@B>\r\n\r\n)",
            "a ok fetch completed (0.001 + 0.000 secs)."
        ]
    );
}

#[test]
fn untagged_lines_stand_anywhere() {
    let source = start(&[Quirk::Chatter]);
    assert_eq!(
        request(&mut examined(&source), "UID FETCH 1 (FLAGS)"),
        [
            "* OK Still here.",
            "* NO [ALERT] Disk is 98% full.",
            "* 1 FETCH (UID 1 FLAGS (\\Seen))",
            "* OK Still here.",
            "* NO [ALERT] Disk is 98% full.",
            "a OK Fetch completed (0.001 + 0.000 secs)."
        ]
    );
    assert!(
        Dialogue::plain(source.port())
            .receive()
            .starts_with("* OK [CAPABILITY")
    );
}

#[test]
fn lines_are_long() {
    let source = start(&[Quirk::LongLines]);
    let lines = request(&mut examined(&source), "NOOP");
    assert!(lines[0].starts_with("* OK long long ") && lines[0].len() > 29_999);
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_message_is_split_over_several_responses() {
    let source = start(&[Quirk::SplitFetches]);
    let lines = request(
        &mut examined(&source),
        "UID FETCH 1 (UID FLAGS RFC822.SIZE)",
    );
    assert_eq!(
        lines[..2],
        [
            "* 1 FETCH (UID 1 FLAGS (\\Seen))",
            "* 1 FETCH (UID 1 RFC822.SIZE 41)"
        ]
    );
    assert_eq!(lines.len(), 3);
}

#[test]
fn other_lines_are_sent_between_the_responses() {
    let source = start(&[Quirk::News]);
    let lines = request(&mut examined(&source), "UID FETCH 1 (FLAGS)");
    assert_eq!(
        lines[1..4],
        ["* 2 EXISTS", "* 0 RECENT", "* 2 FETCH (FLAGS (\\Seen))"]
    );
}

#[test]
fn details_of_a_response_differ() {
    let header = "BODY.PEEK[HEADER.FIELDS (SUBJECT)]";
    for (quirks, items, expected) in [
        (
            Quirk::OpenHeaders,
            header,
            "BODY[HEADER.FIELDS (SUBJECT)] {14}\r\nSubject: One\r\n",
        ),
        (
            Quirk::PaddedDates,
            "INTERNALDATE",
            "INTERNALDATE \" 2-Nov-2026 10:00:00 +0100\"",
        ),
        (
            Quirk::NoInternalDate,
            "INTERNALDATE FLAGS",
            "FLAGS (\\Seen)",
        ),
        (Quirk::OtherSizes, "RFC822.SIZE", "RFC822.SIZE 46"),
        (Quirk::RecentFlags, "FLAGS", "FLAGS (\\Seen \\Recent)"),
        (
            Quirk::OddFlags,
            "FLAGS",
            "FLAGS (\\Seen a{y} 100% a*b x\\y \"NonJunk\" a(b) NIL)",
        ),
        (Quirk::NilSizes, "RFC822.SIZE", "RFC822.SIZE NIL"),
        (
            Quirk::OldBodyNames,
            "BODY.PEEK[]<0.3>",
            "RFC822<0> {3}\r\nMes",
        ),
    ] {
        assert_eq!(
            fetched(quirks, items),
            format!("* 1 FETCH (UID 1 {expected})")
        );
    }
    assert_eq!(
        fetched(Quirk::WideBlanks, "FLAGS"),
        "*  1  FETCH  (UID  1  FLAGS  (\\Seen ) )"
    );
    let unasked = fetched(Quirk::UnaskedItems, "FLAGS");
    assert!(
        unasked.starts_with("* 1 FETCH (EMAILID (M1) ")
            && unasked.ends_with(" UID 1 FLAGS (\\Seen))"),
        "{unasked}"
    );
    assert_eq!(
        fetched(Quirk::OtherOrder, "FLAGS"),
        "* 1 FETCH (FLAGS (\\Seen) UID 1)"
    );
}

#[test]
fn a_folder_is_refused_without_id() {
    let source = start(&[Quirk::WantsId]);
    let mut dialogue = logged_in(&source);
    let refused = request(&mut dialogue, "EXAMINE INBOX");
    assert!(refused[0].starts_with("a NO EXAMINE Unsafe Login."));
    request(&mut dialogue, "ID NIL");
    let opened = request(&mut dialogue, "EXAMINE INBOX");
    assert!(opened.last().unwrap().starts_with("a OK"));
}

#[test]
fn all_quirks_together_work() {
    let source = start(&Quirk::ALL);
    let mut dialogue = examined(&source);
    let lines = request(
        &mut dialogue,
        "UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])",
    );
    assert!(lines.last().unwrap().starts_with("a  ok"));
}

#[test]
fn single_messages_have_faults() {
    let source = start(&[]);
    let spoil = |message_faults| {
        source.change(|options| {
            options.message_faults.insert(1, message_faults);
        });
    };
    let mut dialogue = examined(&source);
    let body = "UID FETCH 1:2 (UID BODY.PEEK[])";
    spoil(MessageFault::NilBody);
    assert_eq!(
        request(&mut dialogue, body)[0],
        "* 1 FETCH (UID 1 BODY[] NIL)"
    );
    spoil(MessageFault::BodyWithheld);
    assert!(request(&mut dialogue, body)[0].starts_with("* 2 FETCH"));
    assert_eq!(
        request(&mut dialogue, "UID FETCH 1 (UID)")[0],
        "* 1 FETCH (UID 1)"
    );
    spoil(MessageFault::Withheld);
    assert_eq!(request(&mut dialogue, "UID FETCH 1 (UID)").len(), 1);
    assert_eq!(request(&mut dialogue, "UID SEARCH ALL")[0], "* SEARCH 1 2");
    spoil(MessageFault::Refused);
    assert_eq!(
        request(&mut dialogue, body),
        ["a NO [SERVERBUG] Internal error occurred."]
    );
    spoil(MessageFault::Fatal);
    dialogue.send(&format!("b {body}"));
    assert_eq!(dialogue.read_to_end(), "");
}

#[test]
fn changing_the_source_is_a_violation() {
    let source = start(&[]);
    let mut dialogue = examined(&source);
    for command in ["UID STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "UID MOVE 1 x"] {
        assert!(request(&mut dialogue, command)[0].starts_with("a BAD"));
        assert_eq!(
            source.take_violations(),
            ["the client tried to change the source"]
        );
    }
}

#[test]
fn a_server_is_down_for_a_while() {
    let mut source = start(&[]);
    let mut dialogue = examined(&source);
    source.stop();
    assert_eq!(dialogue.read_to_end(), "");
    assert!(std::net::TcpStream::connect(("127.0.0.1", source.port())).is_err());
    source.restart();
    assert_eq!(
        request(&mut examined(&source), "UID SEARCH ALL")[0],
        "* SEARCH 1 2"
    );
    assert_eq!(source.connections(), 2);
}

#[test]
fn certificates_are_bad_in_every_way() {
    let accepts = |certificate: Certificate| {
        let source = Source::start(SourceOptions {
            certificate,
            ..SourceOptions::default()
        });
        Dialogue::try_secure(source.port(), source.ca_pem()).map(|mut dialogue| dialogue.receive())
    };
    assert!(accepts(Certificate::Good).is_ok());
    assert!(accepts(Certificate::For(vec!["localhost".to_owned()])).is_ok());
    for (bad, why) in [
        (
            Certificate::For(vec!["mail.example".to_owned()]),
            "NotValidForName",
        ),
        (Certificate::Expired, "Expired"),
        (Certificate::NotYetValid, "NotValidYet"),
        (Certificate::SelfSigned, "CaUsedAsEndEntity"),
        (Certificate::UnknownAuthority, "UnknownIssuer"),
    ] {
        let error = accepts(bad).unwrap_err();
        assert!(format!("{error:?}").contains(why), "{error:?}");
    }
}
