//! Dialogues with the source double, line by line.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod dialogue;

use std::time::Duration;

use dialogue::Dialogue;
use double::{EventKind, Fault, Pacing, Security, Source, SourceOptions, date};

const MESSAGE: &[u8] = b"Message-ID: <a@b>\r\nSubject: one\r\n\r\nbody\r\n";

fn plain() -> Source {
    Source::start(SourceOptions {
        security: Security::Plain,
        ..SourceOptions::default()
    })
}

fn with_two_letters() -> Source {
    let source = plain();
    source.deliver(MESSAGE, date("2026-11-20T10:00:00+01:00"), &["\\Seen"]);
    source.deliver(
        b"Subject: two\r\n\r\n",
        date("2026-11-21T23:30:00+00:00"),
        &["$Own"],
    );
    source
}

/// A dialogue with the source after the log-in, with INBOX open.
fn examined(source: &Source) -> Dialogue {
    let mut dialogue = logged_in(source);
    dialogue.send("e EXAMINE INBOX");
    while !dialogue.receive().starts_with("e OK") {}
    dialogue
}

fn logged_in(source: &Source) -> Dialogue {
    let mut dialogue = Dialogue::plain(source.port());
    dialogue.play(
        "S: * OK [CAPABILITY <*>] Dovecot ready.
         C: l LOGIN user secret
         S: l OK [CAPABILITY <*>] Logged in",
    );
    dialogue
}

#[test]
fn a_session_from_greeting_to_logout() {
    let source = with_two_letters();
    Dialogue::plain(source.port()).play(
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN] Dovecot ready.
         C: a EXAMINE INBOX
         S: a BAD Error in IMAP command: not allowed now.
         C: b LOGIN user wrong
         S: b NO [AUTHENTICATIONFAILED] Authentication failed.
         C: c LOGIN \"user\" \"secret\"
         S: c OK [CAPABILITY <*>] Logged in
         C: d EXAMINE INBOX
         S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Own)
         S: * OK [PERMANENTFLAGS ()] Read-only mailbox.
         S: * 2 EXISTS
         S: * 0 RECENT
         S: * OK [UNSEEN 2] First unseen.
         S: * OK [UIDVALIDITY 1700000000] UIDs valid
         S: * OK [UIDNEXT 3] Predicted next UID.
         S: d OK [READ-ONLY] EXAMINE completed (0.001 + 0.000 secs).
         C: e UID FETCH 1:* (UID RFC822.SIZE INTERNALDATE FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE)])
         S: * 1 FETCH (UID 1 RFC822.SIZE 41 INTERNALDATE \"20-Nov-2026 10:00:00 +0100\" FLAGS (\\Seen) BODY[HEADER.FIELDS (MESSAGE-ID DATE)] {21}\\r\\nMessage-ID: <a@b>\\r\\n\\r\\n)
         S: * 2 FETCH (UID 2 RFC822.SIZE 16 INTERNALDATE \"21-Nov-2026 23:30:00 +0000\" FLAGS ($Own) BODY[HEADER.FIELDS (MESSAGE-ID DATE)] {2}\\r\\n\\r\\n)
         S: e OK Fetch completed (0.001 + 0.000 secs).
         C: f UID FETCH 2 BODY.PEEK[]
         S: * 2 FETCH (UID 2 BODY[] {16}\\r\\nSubject: two\\r\\n\\r\\n)
         S: f OK Fetch completed (0.001 + 0.000 secs).
         C: g STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)
         S: * STATUS \"INBOX\" (MESSAGES 2 UIDNEXT 3 UIDVALIDITY 1700000000)
         S: g OK Status completed (0.001 + 0.000 secs).
         C: h ID (\"name\" \"x\")
         S: * ID (\"name\" \"Dovecot\")
         S: h OK Completed.
         C: i NONSENSE
         S: i BAD Error in IMAP command: invalid arguments.
         C: j LOGOUT
         S: * BYE Logging out
         S: j OK Logout completed (0.001 + 0.000 secs).",
    );
    assert_eq!(source.connections(), 1);
    assert_eq!(source.logins(), 1);
    assert_eq!(source.commands()[3], "EXAMINE INBOX");
    assert_eq!(source.commands().len(), 10);
}

#[test]
fn plain_works_with_and_without_an_initial_response() {
    let source = plain();
    let mut dialogue = Dialogue::plain(source.port());
    dialogue.play(
        "S: * OK <*>
         C: a AUTHENTICATE PLAIN AHVzZXIAc2VjcmV0
         S: a OK [CAPABILITY <*>] Logged in",
    );
    source.change(|options| options.without.push("SASL-IR".to_owned()));
    let mut dialogue = Dialogue::plain(source.port());
    dialogue.play(
        "S: * OK <*>
         C: a AUTHENTICATE PLAIN
         S: +\u{20}
         C: *
         S: a BAD Client aborted <*>
         C: b AUTHENTICATE PLAIN
         S: +\u{20}
         C: AHVzZXIAd3Jvbmc=
         S: b NO [AUTHENTICATIONFAILED] Authentication failed.
         C: c AUTHENTICATE PLAIN
         S: +\u{20}
         C: AHVzZXIAc2VjcmV0
         S: c OK [CAPABILITY <*>] Logged in",
    );
    assert_eq!(source.logins(), 2);
}

#[test]
fn starttls_is_required_before_a_login() {
    let source = Source::start(SourceOptions {
        security: Security::StartTls,
        ..SourceOptions::default()
    });
    let mut dialogue = Dialogue::plain(source.port());
    dialogue.play(
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS LOGINDISABLED] Dovecot ready.
         C: a LOGIN user secret
         S: a NO [PRIVACYREQUIRED] <*>
         C: b STARTTLS
         S: b OK Begin TLS negotiation now.",
    );
    dialogue.start_tls(source.ca_pem());
    dialogue.play(
        "C: c CAPABILITY
         S: * CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ AUTH=PLAIN
         S: c OK <*>
         C: d LOGIN user secret
         S: d OK <*>",
    );
}

#[test]
fn implicit_tls_is_the_default() {
    let source = Source::start(SourceOptions::default());
    Dialogue::secure(source.port(), source.ca_pem()).play("S: * OK <*>");
}

#[test]
fn literals_stand_for_any_string() {
    let source = plain();
    Dialogue::plain(source.port()).play(
        "S: * OK <*>
         C: a LOGIN {4}
         S: + OK
         C: user {6}
         S: + OK
         C: secret
         S: a OK <*>",
    );
    assert_eq!(source.commands(), ["LOGIN {4}\r\nuser {6}\r\nsecret"]);
}

#[test]
fn searches_find_by_uid_date_header_and_their_compounds() {
    let source = with_two_letters();
    let mut dialogue = examined(&source);
    for (keys, found) in [
        ("ALL", " 1 2"),
        ("UID 2:*", " 2"),
        // RFC 3501 6.4.8: `n:*` contains the last message even if its number is lower.
        ("UID 7:*", " 2"),
        ("SINCE 21-Nov-2026", " 2"),
        ("ON 20-Nov-2026", " 1"),
        ("BEFORE 20-Nov-2026", ""),
        ("HEADER Message-ID \"<a@b>\"", " 1"),
        ("HEADER message-id A@B", " 1"),
        ("NOT HEADER Message-ID <a@b>", " 2"),
        ("OR HEADER Message-ID x SUBJECT TWO", " 2"),
        ("SEEN UID 1:2", " 1"),
        ("UNSEEN KEYWORD $Own", " 2"),
    ] {
        dialogue.send(&format!("s UID SEARCH {keys}"));
        assert_eq!(dialogue.receive(), format!("* SEARCH{found}"), "{keys}");
        assert!(dialogue.receive().starts_with("s OK"));
    }
    dialogue.play("C: t UID SEARCH X-GM-RAW x\nS: t BAD <*>");
}

#[test]
fn days_are_those_of_the_servers_time_zone() {
    let source = with_two_letters();
    source.change(|options| options.zone = chrono::FixedOffset::east_opt(3600).unwrap());
    examined(&source).play("C: a UID SEARCH ON 22-Nov-2026\nS: * SEARCH 2\nS: a OK <*>");
}

#[test]
fn a_dot_a_prefix_and_roles_are_listed_and_a_forbidden_folder_has_no_status() {
    let source = plain();
    source.change(|options| {
        options.delimiter = '.';
        options.prefix = "INBOX.";
        options.forbidden.insert("INBOX.x".to_owned());
    });
    source.mailboxes().create("INBOX.x");
    source
        .mailboxes()
        .create_with("Spamverdacht", &["\\HasNoChildren", "\\Junk"]);
    let mut dialogue = logged_in(&source);
    dialogue.play(
        "C: a LIST \"\" \"*\" RETURN (SPECIAL-USE STATUS (UIDNEXT MESSAGES))
         S: * LIST (\\HasNoChildren) \".\" \"INBOX\"
         S: * STATUS \"INBOX\" (UIDNEXT 1 MESSAGES 0)
         S: * LIST (\\HasNoChildren) \".\" \"INBOX.x\"
         S: * LIST (\\HasNoChildren \\Junk) \".\" \"Spamverdacht\"
         S: * STATUS \"Spamverdacht\" (UIDNEXT 1 MESSAGES 0)
         S: a OK <*>
         C: b NAMESPACE
         S: * NAMESPACE ((\"INBOX.\" \".\")) NIL NIL
         S: b OK <*>
         C: c STATUS INBOX.x (MESSAGES)
         S: c NO [NOPERM] <*>
         C: d EXAMINE INBOX.x
         S: d NO [NOPERM] <*>
         C: e LIST \"\" \"%\"
         S: * LIST (\\HasNoChildren) \".\" \"INBOX\"
         S: * LIST (\\HasNoChildren \\Junk) \".\" \"Spamverdacht\"
         S: e OK <*>",
    );
    source.change(|options| options.without = vec!["SPECIAL-USE".to_owned()]);
    dialogue.play(
        "C: f LIST \"\" Spam*
         S: * LIST (\\HasNoChildren) \".\" \"Spamverdacht\"
         S: f OK <*>",
    );
}

#[test]
fn folders_are_listed_and_found_by_their_names() {
    let source = plain();
    source.mailboxes().create("Entw&APw-rfe");
    source.mailboxes().create("a \"b\" \\c");
    let mut dialogue = logged_in(&source);
    dialogue.play(
        "C: a LIST \"\" \"*\"
         S: * LIST (\\HasNoChildren) \"/\" \"INBOX\"
         S: * LIST (\\HasNoChildren) \"/\" \"Entw&APw-rfe\"
         S: * LIST (\\HasNoChildren) \"/\" \"a \\\"b\\\" \\\\c\"
         S: a OK List completed (0.001 + 0.000 secs).
         C: b EXAMINE \"a \\\"b\\\" \\\\c\"
         S: * FLAGS <*>
         S: * OK [PERMANENTFLAGS ()] <*>
         S: * 0 EXISTS
         S: * 0 RECENT
         S: * OK [UIDVALIDITY 1700000002] UIDs valid
         S: * OK [UIDNEXT 1] Predicted next UID.
         S: b OK <*>
         C: c EXAMINE nowhere
         S: c NO [NONEXISTENT] Mailbox doesn't exist: nowhere (0.001 + 0.000 secs).
         C: d UID SEARCH ALL
         S: d BAD Error in IMAP command: not allowed now.",
    );
}

#[test]
fn new_and_expunged_messages_are_announced() {
    let source = with_two_letters();
    let mut dialogue = examined(&source);
    source.expunge(1);
    source.deliver(MESSAGE, date("2026-11-22T10:00:00+01:00"), &[]);
    dialogue.play(
        "C: a UID FETCH 1:* (UID)
         S: * 2 FETCH (UID 2)
         S: * 1 EXPUNGE
         S: * 2 EXISTS
         S: a OK <*>
         C: b NOOP
         S: b OK NOOP completed (0.001 + 0.000 secs).
         C: c UID FETCH 3 (UID)
         S: * 2 FETCH (UID 3)
         S: c OK <*>",
    );
}

#[test]
fn idle_announces_changes() {
    let source = with_two_letters();
    let mut dialogue = examined(&source);
    dialogue.play("C: a IDLE\nS: + idling");
    source.deliver(MESSAGE, date("2026-11-22T10:00:00+01:00"), &[]);
    dialogue.play("S: * 3 EXISTS");
    source.expunge(1);
    dialogue.play("S: * 1 EXPUNGE\nC: DONE\nS: a OK Idle completed (0.001 + 0.000 secs).");
    source.change(|options| options.without.push("IDLE".to_owned()));
    dialogue.play("C: b IDLE\nS: b BAD <*>");
}

#[test]
fn another_uid_validity_renumbers_the_messages() {
    let source = with_two_letters();
    source.expunge(1);
    source.set_uid_validity(7);
    let stored = source.messages("INBOX");
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].uid, 1);
    source.mailboxes().set_uid_next("INBOX", 900);
    assert_eq!(
        source.deliver(MESSAGE, date("2026-11-22T10:00:00+01:00"), &[]),
        900
    );
    logged_in(&source).play(
        "C: a STATUS INBOX (UIDVALIDITY UIDNEXT)
         S: * STATUS \"INBOX\" (UIDVALIDITY 7 UIDNEXT 901)
         S: a OK <*>",
    );
}

#[test]
fn a_connection_is_cut_at_every_event_in_turn() {
    let sent = ["a LOGIN user secret", "b NOOP", "c LOGOUT"];
    let whole = plain();
    lines_until_closed(&mut Dialogue::plain(whole.port()), &sent);
    let events = whole.events();
    assert_eq!(events[0].kind, EventKind::Connected);
    assert_eq!(events[3].kind, EventKind::LoggedIn("user".to_owned()));
    assert_eq!(events.len(), 10);
    for number in 1..=events.len() {
        let source = plain();
        source.faults().cut_at(number);
        let received = lines_until_closed(&mut Dialogue::plain(source.port()), &sent);
        let sent = events[..number - 1].iter();
        let sent = sent.filter(|event| matches!(event.kind, EventKind::Line(_)));
        assert_eq!(received, sent.count(), "cut at {number}");
        assert_eq!(source.events(), events[..number]);
    }
}

/// Sends each line after a received line; returns the number of lines received before the end.
fn lines_until_closed(dialogue: &mut Dialogue, sent: &[&str]) -> usize {
    let mut sent = sent.iter();
    let mut received = 0;
    while let Some(line) = dialogue.receive_or_end() {
        received += 1;
        if line.starts_with("* BYE") {
            continue;
        }
        if let Some(next) = sent.next() {
            dialogue.send(next);
        }
    }
    received
}

#[test]
fn faults_send_other_lines_stall_and_call_functions() {
    let source = with_two_letters();
    let mut dialogue = examined(&source);
    let faults = source.faults();
    faults.once(
        |event| event.is_command("NOOP"),
        Fault::Instead("<T> NO [UNAVAILABLE] x".to_owned()),
    );
    dialogue.play("C: a NOOP\nS: a NO [UNAVAILABLE] x\nC: b NOOP\nS: b OK <*>");
    faults.once(
        |event| event.is_line("OK NOOP"),
        Fault::Before("* 9 EXISTS".to_owned()),
    );
    dialogue.play("C: c NOOP\nS: * 9 EXISTS\nS: c OK <*>");
    faults.once(
        |event| event.is_command("UID SEARCH"),
        Fault::run(|mailboxes| {
            mailboxes.deliver("INBOX", MESSAGE, date("2026-11-22T10:00:00+01:00"), &[]);
        }),
    );
    dialogue.play("C: d UID SEARCH ALL\nS: * SEARCH 1 2\nS: * 3 EXISTS\nS: d OK <*>");
    faults.once(|event| event.is_command("NOOP"), Fault::Stall);
    dialogue.send("e NOOP");
    while !source.events().last().unwrap().is_command("NOOP") {
        std::thread::yield_now();
    }
    assert!(!dialogue.receives_within(Duration::from_millis(50)));
    faults.release();
    dialogue.play("S: e OK <*>");
    faults.once(|event| event.is_line("FETCH"), Fault::HalfThenEof);
    dialogue.send("f UID FETCH 1 (UID FLAGS)");
    assert_eq!(dialogue.read_to_end(), "* 1 FETCH (UID ");
}

#[test]
fn a_reset_is_an_error_and_an_end_is_none() {
    for (fault, is_error) in [(Fault::Eof, false), (Fault::Reset, true)] {
        let source = with_two_letters();
        let mut dialogue = examined(&source);
        source
            .faults()
            .once(|event| event.is_command("NOOP"), fault);
        dialogue.send("a NOOP");
        assert_eq!(dialogue.end().is_err(), is_error);
    }
}

#[test]
fn a_bye_closes_the_connection() {
    let source = with_two_letters();
    let mut dialogue = examined(&source);
    source.faults().once(
        |e| e.is_command("NOOP"),
        Fault::Instead("* BYE gone".to_owned()),
    );
    dialogue.send("a NOOP");
    assert_eq!(dialogue.read_to_end(), "* BYE gone\r\n");
}

#[test]
fn lines_are_sent_at_any_pace() {
    let source = with_two_letters();
    for pacing in [
        Pacing::Together,
        Pacing::Lines,
        Pacing::Octets,
        Pacing::PerSecond(4000),
    ] {
        source.set_pacing(pacing);
        examined(&source).play("C: a NOOP\nS: a OK <*>");
    }
}

#[test]
fn violations_are_recorded() {
    let source = plain();
    let mut dialogue = Dialogue::plain(source.port());
    dialogue.write(b"a NOOP\n");
    dialogue.play("S: * OK <*>\nS: a OK <*>");
    let violations = source.take_violations();
    assert!(violations.contains(&"a line does not end in CRLF".to_owned()));
    assert_eq!(source.take_violations(), Vec::<String>::new());
}

#[test]
#[should_panic(expected = "the client broke the protocol")]
fn violations_that_no_test_takes_fail_the_test() {
    let source = plain();
    let mut dialogue = Dialogue::plain(source.port());
    dialogue.play("S: * OK <*>");
    dialogue.write(b"a NOOP\n");
    dialogue.play("S: a OK <*>");
}

#[test]
fn many_sources_run_at_once() {
    let sources: Vec<Source> = (0..8).map(|_| with_two_letters()).collect();
    for source in &sources {
        examined(source).play("C: a NOOP\nS: a OK <*>");
    }
}

#[test]
fn notify_reports_changes_of_other_mailboxes() {
    let source = plain();
    source.mailboxes().create("Lists");
    let mut dialogue = examined(&source);
    dialogue.play(
        "C: a NOTIFY SET (PERSONAL (MessageNew FlagChange))
         S: a NO [BADEVENT (MessageNew MessageExpunge MailboxName)] Unsupported event.
         C: b NOTIFY SET (PERSONAL (MessageNew))
         S: b BAD <*>
         C: c NOTIFY SET STATUS (SELECTED (MessageNew MessageExpunge)) (PERSONAL (MessageNew MessageExpunge MailboxName))
         S: * STATUS \"Lists\" (MESSAGES 0 UIDNEXT 1)
         S: c OK NOTIFY completed.
         C: d IDLE
         S: + idling",
    );
    let mailboxes = source.mailboxes();
    let date = date("2026-11-22T10:00:00+01:00");
    mailboxes.deliver("Lists", MESSAGE, date, &[]);
    dialogue.play("S: * STATUS \"Lists\" (MESSAGES 1 UIDNEXT 2)");
    source.deliver(MESSAGE, date, &[]);
    dialogue.play("S: * 1 EXISTS");
    mailboxes.create("New");
    dialogue.play("S: * LIST () \"/\" \"New\"");
    mailboxes.delete("New");
    dialogue.play("S: * LIST (\\NonExistent) \"/\" \"New\"\nC: DONE\nS: d OK <*>");
    // Without SELECTED, nothing of the selected mailbox is reported (RFC 5465 3.1).
    dialogue.play("C: e NOTIFY NONE\nS: e OK NOTIFY completed.");
    source.deliver(MESSAGE, date, &[]);
    dialogue.play("C: f NOOP\nS: f OK <*>");
}
