//! The source at Dovecot, and at scripted servers for dialogues that real servers rarely show.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate};
use imap_to_gmail_sync::config::{Password, Server, SourceConfig};
use imap_to_gmail_sync::error::{ErrorKind, Result, Side};
use imap_to_gmail_sync::message::{Listed, Mailbox, Uid, UidSet};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::secret::Secret;
use imap_to_gmail_sync::source::{ImapSource, WaitOptions};
use imap_to_gmail_sync::sync::{Fetched, Source, SourceSearch};
use imap_to_gmail_sync::timeouts::Timeouts;

use crate::dovecot::{Dovecot, PASSWORD};
use crate::scripted_gmail::{Reply, ScriptedGmail};
use crate::scripted_server::{LOG_IN, OPEN_INBOX, ScriptedServer, dialogue};

const MESSAGE: &str = "Message-ID: <a@b>\r\nDate: d\r\nFrom: f\r\nSubject: s\r\n\r\nbody\r\n";

fn config(server: Server, folder: &str) -> SourceConfig {
    SourceConfig {
        server,
        user: "alice".to_owned(),
        password: Password::Given(Secret::new(PASSWORD.to_owned())),
        folder: folder.to_owned(),
    }
}

pub fn open(server: Server, folder: &str) -> Result<(ImapSource, Mailbox)> {
    let password = Secret::new(PASSWORD.to_owned());
    ImapSource::open(
        &config(server, folder),
        password,
        ConnectionOptions::default(),
    )
}

pub fn open_with_short_timeouts(server: Server) -> Result<(ImapSource, Mailbox)> {
    let timeouts = Timeouts {
        connect: Duration::from_secs(5),
        response: Duration::from_millis(200),
        command: Duration::from_millis(600),
        ..Timeouts::default()
    };
    let password = Secret::new(PASSWORD.to_owned());
    ImapSource::open(&config(server, "INBOX"), password, timeouts)
}

pub fn uids(numbers: &[u32]) -> Vec<Uid> {
    numbers
        .iter()
        .filter_map(|number| Uid::new(*number))
        .collect()
}

pub fn numbers(uids: &[Uid]) -> Vec<u32> {
    uids.iter().map(|uid| uid.get()).collect()
}

pub fn set(text: &str) -> UidSet {
    text.parse().unwrap()
}

pub fn octets(text: &str) -> Fetched {
    Fetched::from(text.as_bytes().to_vec())
}

// Dovecot

#[test]
fn messages_are_found_listed_and_fetched_as_they_are() {
    let dovecot = Dovecot::start();
    let mut alice = dovecot.client("alice");
    alice.append("INBOX", "", "", b"no header field\r\n");
    alice.append(
        "INBOX",
        "\\Seen \\Flagged \\Draft $Label",
        " 1-Feb-2026 09:08:07 +0130",
        MESSAGE.as_bytes(),
    );
    alice.append(
        "INBOX",
        "",
        "",
        MESSAGE.replace("<a@b>", "<c@d>").as_bytes(),
    );
    alice.expunge("INBOX", 1);

    let (mut source, mailbox) = open(dovecot.server(), "INBOX").unwrap();
    assert_eq!((mailbox.exists, mailbox.uid_next.get()), (2, 4));

    let all = SourceSearch::Uids(set("1:4294967295"));
    assert_eq!(numbers(&source.search(&all).unwrap()), [2, 3]);
    assert_eq!(source.search(&SourceSearch::Uids(set("4:99"))).unwrap(), []);
    let day = NaiveDate::from_ymd_opt(2026, 2, 1).unwrap();
    assert_eq!(
        numbers(&source.search(&SourceSearch::On(day)).unwrap()),
        [2]
    );
    let since = SourceSearch::Since(day.succ_opt().unwrap());
    assert_eq!(numbers(&source.search(&since).unwrap()), [3]);

    let listed = source.list(&set("1:3")).unwrap();
    let [second, third] = listed.as_slice() else {
        panic!("{listed:?}");
    };
    assert_eq!(second.uid.get(), 2);
    assert_eq!(second.size, MESSAGE.len() as u64);
    assert_eq!(
        second.internal_date,
        DateTime::parse_from_rfc3339("2026-02-01T09:08:07+01:30").ok()
    );
    assert_eq!(second.flags.to_string(), "\\Seen \\Flagged");
    assert_eq!(second.identity.id.as_ref().unwrap().as_str(), "<a@b>");
    assert_eq!(third.flags.to_string(), "");
    assert_eq!(third.identity.header, second.identity.header);

    let fetched = source.fetch(&uids(&[3, 1, 2])).unwrap();
    assert_eq!(
        fetched,
        [
            octets(&MESSAGE.replace("<a@b>", "<c@d>")),
            Fetched::Missing,
            octets(MESSAGE),
        ]
    );
    source.logout();

    let flags = alice.command("EXAMINE INBOX");
    let flags = String::from_utf8_lossy(&flags).into_owned();
    assert!(
        flags.contains("UNSEEN 2"),
        "nothing was marked as read: {flags}"
    );
}

#[test]
fn folders_whose_names_need_encoding_are_opened() {
    let dovecot = Dovecot::start();
    let mut alice = dovecot.client("alice");
    let names = [
        ("two words", "two words"),
        ("a \\\"quoted\\\" one", "a \"quoted\" one"),
        ("back\\\\slash", "back\\slash"),
        ("Gr&APwA3w-e", "Grüße"),
        ("R&-D", "R&D"),
        ("&ZeVnLIqe-/&2D3eAA-", "日本語/😀"),
    ];
    for (on_the_wire, name) in names {
        alice.create(on_the_wire);
        alice.append(on_the_wire, "", "", MESSAGE.as_bytes());
        let (source, mailbox) = open(dovecot.server(), name).unwrap();
        assert_eq!(mailbox.exists, 1, "{name}");
        source.logout();
    }
}

#[test]
fn the_error_for_a_missing_folder_lists_the_existing_ones() {
    let dovecot = Dovecot::start();
    dovecot.client("alice").create("Gr&APwA3w-e");
    for (requested, expected) in [
        ("Gruße", "did you mean \"Grüße\"?"),
        (
            "Somewhere else",
            "the folders there are \"Grüße\", \"INBOX\", \"[Gmail]",
        ),
    ] {
        let error = open(dovecot.server(), requested).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(
            text.contains(requested) && text.contains(expected),
            "{text}"
        );
    }
}

#[test]
fn the_error_of_a_rejected_log_in_names_the_field_to_correct() {
    let dovecot = Dovecot::start();
    let config = config(dovecot.server(), "INBOX");
    let wrong = Secret::new("wrong".to_owned());
    let error = ImapSource::open(&config, wrong, ConnectionOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let text = error.to_string();
    assert!(text.contains("logging in as alice"), "{text}");
    assert!(text.contains("source_pass"), "{text}");
    assert!(!text.contains("wrong"), "{text}");
}

#[test]
fn messages_that_are_expunged_meanwhile_are_missing_and_the_others_are_not() {
    let dovecot = Dovecot::start();
    let mut alice = dovecot.client("alice");
    for id in ["<1@b>", "<2@b>", "<3@b>"] {
        alice.append("INBOX", "", "", MESSAGE.replace("<a@b>", id).as_bytes());
    }
    let (mut source, _) = open(dovecot.server(), "INBOX").unwrap();
    assert_eq!(source.list(&set("1:3")).unwrap().len(), 3);
    alice.expunge("INBOX", 2);

    let fetched = source.fetch(&uids(&[1, 2, 3])).unwrap();
    assert_eq!(fetched[0], octets(&MESSAGE.replace("<a@b>", "<1@b>")));
    assert!(
        !matches!(fetched[1], Fetched::Octets(_)),
        "{:?}",
        fetched[1]
    );
    assert_eq!(fetched[2], octets(&MESSAGE.replace("<a@b>", "<3@b>")));
    let left: Vec<Listed> = source.list(&set("1:3")).unwrap();
    assert_eq!(left.iter().map(|l| l.uid.get()).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(
        numbers(&source.search(&SourceSearch::Uids(set("1:9"))).unwrap()),
        [1, 3]
    );
}

#[test]
fn a_broken_session_is_replaced_by_another() {
    let dovecot = Dovecot::start();
    dovecot
        .client("alice")
        .append("INBOX", "", "", MESSAGE.as_bytes());
    let (mut source, _) = open(dovecot.server(), "INBOX").unwrap();
    dovecot.kick("alice");
    assert_eq!(
        numbers(&source.search(&SourceSearch::Uids(set("1:9"))).unwrap()),
        [1]
    );
    assert_eq!(source.list(&set("1")).unwrap().len(), 1);
}

#[test]
fn a_large_mailbox_is_listed_in_pieces() {
    let dovecot = Dovecot::start();
    let mut alice = dovecot.client("alice");
    for number in 0..520 {
        let message = MESSAGE.replace("<a@b>", &format!("<{number}@b>"));
        alice.append("INBOX", "", "", message.as_bytes());
    }
    let (mut source, _) = open(dovecot.server(), "INBOX").unwrap();
    let listed = source.list(&set("1:4294967295")).unwrap();
    assert_eq!(listed.len(), 520);
    assert!(listed.is_sorted_by_key(|listed| listed.uid));
}

#[test]
fn a_message_of_any_octets_is_fetched_unchanged() {
    let dovecot = Dovecot::start();
    let mut alice = dovecot.client("alice");
    let mut message = b"Subject: all octets but NUL\r\n\r\n".to_vec();
    for round in 0..40_u32 {
        message.extend((1..=255_u8).filter(|octet| !matches!(octet, b'\r' | b'\n')));
        message.extend_from_slice(format!("{{{round}}} \"quoted\" ) * 1 FETCH\r\n").as_bytes());
    }
    alice.append("INBOX", "", "", &message);
    let (mut source, _) = open(dovecot.server(), "INBOX").unwrap();
    assert_eq!(source.fetch(&uids(&[1])).unwrap(), [Fetched::from(message)]);
}

#[test]
fn dovecot_reads_a_logout_that_nobody_waits_for() {
    let dovecot = Dovecot::start();
    for server in [dovecot.server(), dovecot.server_in_plain_text()] {
        for is_idling in [false, true] {
            let (mut source, _) = open(server.clone(), "INBOX").unwrap();
            if is_idling {
                let until = Instant::now();
                let options = WaitOptions {
                    use_idle: true,
                    poll_interval: Duration::ZERO,
                    until,
                };
                source.wait_for_mail(options).unwrap();
                assert_eq!(source.wait_method(options), "IDLE");
            }
            source.logout();
        }
    }
    let ended = dovecot.wait_for_ended_sessions("alice", 4);
    let logged_out = ended.iter().filter(|line| line.contains("Logged out"));
    assert_eq!(logged_out.count(), 4, "{ended:#?}");
    assert!(!dovecot.log().contains("Error:"), "{}", dovecot.log());
}

// Scripted servers

pub fn play(more: &[&str]) -> (ScriptedServer, ImapSource) {
    let server = ScriptedServer::play(&[&OPEN_INBOX, more]);
    let (source, _) = open(server.address(), "INBOX").unwrap();
    (server, source)
}

pub const LIST_1_TO_3: &str = "C: UID FETCH 1:3 (UID RFC822.SIZE INTERNALDATE FLAGS \
                           BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)])";

#[test]
fn a_listing_is_parsed_however_the_server_formats_it() {
    let (_server, mut source) = play(&[
        LIST_1_TO_3,
        // In several responses, another order, quoted, lower case, with other lines between.
        "S: * 1 FETCH (UID 1 RFC822.SIZE 10)",
        "S: * 4 EXISTS",
        "S: * OK still here",
        "S: * NO the disk is nearly full",
        "S: * 3 fetch (uid 3 flags (\\seen $Gr\u{fc}n) rfc822.size 30 internaldate NIL body[header.fields (\"message-id\" date)] \"Message-ID: \\\"x\\\\y\\\"@\u{e9}\")",
        "S: * 1 FETCH (FLAGS (\\Answered) UID 1 INTERNALDATE \" 1-Feb-2026 09:08:07 +0000\")",
        "S: * 2 EXPUNGE",
        "S: * VANISHED 2",
        "S: * ESEARCH (TAG \"x\") UID ALL 1:{5}",
        "R: 12345",
        "S: ,9",
        "S: * 1 FETCH (BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)] {21}",
        "R: Message-ID: <1@b>\r\n\r\n",
        "S:  UID 1)",
        "S: * 9 FETCH (UID 9 FLAGS ())",
        "S: * 2 FETCH (UID 2 FLAGS () RFC822.SIZE 20 INTERNALDATE \"nonsense\" BODY[HEADER.FIELDS (DATE)] NIL)",
        "S: $tag OK done",
        "C: UID FETCH 2 (UID BODY.PEEK[])",
        "S: $tag OK it is gone",
        "silence",
    ]);
    let listed = source.list(&set("1:3")).unwrap();
    let [first, third] = listed.as_slice() else {
        panic!("{listed:?}");
    };
    assert_eq!((first.uid.get(), first.size), (1, 10));
    assert_eq!(first.flags.to_string(), "\\Answered");
    assert_eq!(
        first.internal_date,
        DateTime::parse_from_rfc3339("2026-02-01T09:08:07Z").ok()
    );
    assert_eq!(first.identity.id.as_ref().unwrap().as_str(), "<1@b>");
    assert_eq!((third.uid.get(), third.size), (3, 30));
    assert_eq!(third.flags.to_string(), "\\Seen");
    assert_eq!(third.internal_date, None);
    assert_eq!(third.identity.id.as_ref().unwrap().as_str(), "\"x\\y\"@é");
}

#[test]
fn a_message_that_was_not_asked_for_is_not_listed() {
    let (_server, mut source) = play(&[
        LIST_1_TO_3,
        "S: * 8 FETCH (UID 8 RFC822.SIZE 80 BODY[HEADER.FIELDS (DATE)] \"Message-ID: <8@b>\")",
        "S: * 2 FETCH (UID 2 RFC822.SIZE 20 BODY[HEADER.FIELDS (DATE)] \"Message-ID: <2@b>\")",
        "S: $tag OK done",
        "silence",
    ]);
    let listed = source.list(&set("1:3")).unwrap();
    let uids: Vec<Uid> = listed.iter().map(|listed| listed.uid).collect();
    assert_eq!(numbers(&uids), [2]);
}

#[test]
fn bodies_may_be_literals_quoted_strings_nil_or_missing() {
    let (_server, mut source) = play(&[
        "C: UID FETCH 1:4 (UID BODY.PEEK[])",
        "S: * 2 EXISTS",
        "S: * 3 FETCH (FLAGS (\\Seen) UID 3)",
        "S: * 2 FETCH (UID 2 BODY[] \"say \\\"\\\\\\\"\")",
        "S: * 1 FETCH (BODY[] {6}",
        "R: a\r\n\"b)",
        "S:  UID 1)",
        "S: * 4 FETCH (UID 4 BODY[] NIL)",
        "S: $tag OK done",
        "silence",
    ]);
    let fetched = source.fetch(&uids(&[1, 2, 3, 4])).unwrap();
    assert_eq!(fetched[0], octets("a\r\n\"b)"));
    assert_eq!(fetched[1], octets("say \"\\\""));
    assert_eq!(fetched[2], Fetched::Missing);
    assert!(matches!(&fetched[3], Fetched::Unreadable(why) if why.contains("NIL")));
}

#[test]
fn unsolicited_lines_while_a_folder_is_opened_are_accepted() {
    let server = ScriptedServer::play(&[&[
        "S: * OK hello",
        "C: CAPABILITY",
        "S: * CAPABILITY IMAP4rev2 AUTH=PLAIN",
        "S: $tag OK done",
        "C: AUTHENTICATE PLAIN",
        "S: * OK wait",
        "S: + ",
        "C: *",
        "S: a1 OK [CAPABILITY IMAP4rev1] in",
        "silence",
    ]]);
    // The tag of the AUTHENTICATE is the second: the server sends another one.
    assert!(open(server.address(), "INBOX").is_err());
    drop(server);

    let server = ScriptedServer::play(&[
        &LOG_IN,
        &[
            "C: EXAMINE \"INBOX\"",
            "S: * NO the index is broken",
            "S: * BAD and so am I",
            "S: * FLAGS (\\Seen gr\u{fc}n)",
            "S: * 0 EXISTS",
            "S: * 0 RECENT",
            "S: * XYZZY ((((",
            "S: * OK [UIDVALIDITY 5] gr\u{fc}n",
            "S: $tag OK [READ-ONLY] done",
            "C: STATUS \"INBOX\" (UIDNEXT)",
            "S: * STATUS \"INBOX\" (UIDNEXT 77)",
            "S: $tag OK done",
            "C: EXAMINE \"INBOX\"",
            "S: * 0 EXISTS",
            "S: * OK [UIDVALIDITY 5] x",
            "S: $tag OK [READ-ONLY] done",
            "silence",
        ],
    ]);
    let (_source, mailbox) = open(server.address(), "INBOX").unwrap();
    assert_eq!(
        (mailbox.uid_validity.get(), mailbox.uid_next.get()),
        (5, 77)
    );
}

#[test]
fn the_next_uid_is_determined_if_the_server_does_not_send_it() {
    let server = ScriptedServer::play(&[
        &LOG_IN,
        &[
            "C: EXAMINE \"INBOX\"",
            "S: * 2 EXISTS",
            "S: * OK [UIDVALIDITY 5] x",
            "S: $tag OK done",
            "C: STATUS \"INBOX\" (UIDNEXT)",
            "S: $tag BAD not of the selected folder",
            "C: UID FETCH * (UID)",
            "S: * 2 FETCH (UID 41)",
            "S: $tag OK done",
            "silence",
        ],
    ]);
    let (_source, mailbox) = open(server.address(), "INBOX").unwrap();
    assert_eq!(mailbox.uid_next.get(), 42);
}

#[test]
fn mail_that_arrives_during_the_request_for_the_next_uid_is_seen() {
    let examined = |count: u32, uid_validity: u32| {
        [
            "C: EXAMINE \"INBOX\"".to_owned(),
            format!("S: * {count} EXISTS"),
            format!("S: * OK [UIDVALIDITY {uid_validity}] x"),
            "S: $tag OK done".to_owned(),
        ]
    };
    let asked = |uid_next: u32| {
        [
            "C: STATUS \"INBOX\" (UIDNEXT)".to_owned(),
            format!("S: * STATUS \"INBOX\" (UIDNEXT {uid_next})"),
            "S: $tag OK done".to_owned(),
        ]
    };
    // The count and the UIDVALIDITY of each time that the folder is opened.
    let dialogue_with = |opened: &[(u32, u32)], end: &[&str]| {
        let mut lines = dialogue(&[&LOG_IN]);
        for (number, (count, uid_validity)) in (0u32..).zip(opened) {
            if number > 0 {
                lines.extend(asked(42 + number));
            }
            lines.extend(examined(*count, *uid_validity));
        }
        [lines, dialogue(&[end])].concat()
    };
    let whole = dialogue_with(&[(0, 5), (1, 5)], &["silence"]);
    let server = ScriptedServer::play_all(vec![whole]);
    let (_source, mailbox) = open(server.address(), "INBOX").unwrap();
    assert_eq!((mailbox.uid_next.get(), mailbox.exists), (43, 1));

    // A UID of another UIDVALIDITY says nothing about this one: it is asked for again.
    let changed = dialogue_with(&[(0, 5), (1, 6), (2, 6)], &["silence"]);
    let server = ScriptedServer::play_all(vec![changed]);
    let (_source, mailbox) = open(server.address(), "INBOX").unwrap();
    assert_eq!(mailbox.uid_validity.get(), 6);
    assert_eq!((mailbox.uid_next.get(), mailbox.exists), (44, 2));

    let changing = dialogue_with(
        &[(0, 5), (1, 6), (1, 7), (1, 8)],
        &["C: LOGOUT", "S: $tag OK"],
    );
    let server = ScriptedServer::play_all(vec![changing]);
    let error = open(server.address(), "INBOX").unwrap_err();
    assert!(
        error.to_string().contains("changes again and again"),
        "{error}"
    );
}

#[test]
fn a_folder_without_uidvalidity_is_a_final_error() {
    for unusable in ["* OK fine", "* OK [UIDVALIDITY 0] x"] {
        let server = ScriptedServer::play(&[
            &LOG_IN,
            &[
                "C: EXAMINE \"INBOX\"",
                "S: * 2 EXISTS",
                &format!("S: {unusable}"),
                "S: $tag OK done",
                "C: LOGOUT",
                "S: $tag OK done",
            ],
        ]);
        let error = open(server.address(), "INBOX").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("no UIDVALIDITY"), "{error}");
        assert!(error.to_string().contains("no later run"), "{error}");
    }
}

#[test]
fn a_server_that_says_bye_and_keeps_the_connection_open_is_left() {
    let server = ScriptedServer::play(&[
        &LOG_IN,
        &["C: EXAMINE \"INBOX\"", "S: * BYE going down", "closed"],
    ]);
    let error = open(server.address(), "INBOX").unwrap_err();
    assert!(error.to_string().contains("going down"), "{error}");
}

#[test]
fn uidvalidity_is_read_in_the_tagged_response_and_above_32_bits() {
    for (untagged, tagged, expected) in [
        ("* OK fine", "[UIDVALIDITY 7]", 7),
        ("* OK [UIDVALIDITY 4294967302] x", "[READ-ONLY]", 7),
    ] {
        let server = ScriptedServer::play(&[
            &LOG_IN,
            &[
                "C: EXAMINE \"INBOX\"",
                "S: * 2 EXISTS",
                &format!("S: {untagged}"),
                "S: * OK [UIDNEXT 3] x",
                &format!("S: $tag OK {tagged} done"),
                "silence",
            ],
        ]);
        let (_source, mailbox) = open(server.address(), "INBOX").unwrap();
        assert_eq!(mailbox.uid_validity.get(), expected);
    }
}

#[test]
fn a_uid_next_is_corrected_only_if_messages_had_it_before_the_folder_was_opened() {
    // UIDNEXT of a second EXAMINE, and the correction.
    for (examined_again, corrected) in [(5, Some(9)), (8, Some(9)), (9, None)] {
        let server = ScriptedServer::play(&[
            &OPEN_INBOX,
            &[
                "C: UID SEARCH UID 5:4294967295",
                "S: * SEARCH 8 7",
                "S: $tag OK done",
                "C: EXAMINE \"INBOX\"",
                "S: * 4 EXISTS",
                "S: * OK [UIDVALIDITY 7] valid",
                &format!("S: * OK [UIDNEXT {examined_again}] next"),
                "S: $tag OK done",
                "silence",
            ],
        ]);
        let (mut source, mailbox) = open(server.address(), "INBOX").unwrap();
        let uid_next = source.correct_uid_next(&mailbox).unwrap();
        assert_eq!(uid_next.map(Uid::get), corrected);
    }
    // `n:*` finds the last message, whatever its UID is.
    let server = ScriptedServer::play(&[
        &OPEN_INBOX,
        &[
            "C: UID SEARCH UID 5:4294967295",
            "S: * SEARCH 4",
            "S: $tag OK done",
            "silence",
        ],
    ]);
    let (mut source, mailbox) = open(server.address(), "INBOX").unwrap();
    assert_eq!(source.correct_uid_next(&mailbox).unwrap(), None);
}

#[test]
fn a_folder_without_a_message_count_is_an_error_and_not_empty() {
    let server = ScriptedServer::play(&[
        &LOG_IN,
        &[
            "C: EXAMINE \"INBOX\"",
            "S: * many EXISTS",
            "S: * OK [UIDVALIDITY 5] x",
            "S: * OK [UIDNEXT 9] x",
            "S: $tag OK done",
            "C: LOGOUT",
            "S: $tag OK done",
        ],
    ]);
    let error = open(server.address(), "INBOX").unwrap_err();
    assert!(error.to_string().contains("how many messages"), "{error}");
}

#[test]
fn a_search_whose_response_is_only_the_last_message_finds_nothing() {
    let (_server, mut source) = play(&[
        "C: UID SEARCH UID 42:4294967295",
        "S: * SEARCH 41 ",
        "S: * SEARCH",
        "S: $tag OK done",
        "silence",
    ]);
    assert_eq!(
        source
            .search(&SourceSearch::Uids(set("42:4294967295")))
            .unwrap(),
        []
    );
}

#[test]
fn a_rejected_listing_is_narrowed_down_to_the_message_that_causes_it() {
    let fields = &LIST_1_TO_3["C: UID FETCH 1:3 ".len()..];
    let fetch = |set: &str| format!("C: UID FETCH {set} {fields}");
    let response =
        |uid: u32| format!("S: * {uid} FETCH (UID {uid} RFC822.SIZE 5 BODY[HEADER] \"\")");
    let dialogue = [
        dialogue(&[&OPEN_INBOX]),
        vec![
            fetch("1:4"),
            "S: $tag NO corrupt".to_owned(),
            fetch("1:2"),
            response(1),
            response(2),
            "S: $tag OK".to_owned(),
            fetch("3:4"),
            "S: $tag NO corrupt".to_owned(),
            fetch("3"),
            "S: $tag NO corrupt".to_owned(),
            "C: UID FETCH 3 (UID BODY.PEEK[])".to_owned(),
            "S: $tag NO corrupt".to_owned(),
            fetch("4"),
            response(4),
            "S: $tag OK".to_owned(),
            "silence".to_owned(),
        ],
    ];
    let server = ScriptedServer::play_all(vec![dialogue.concat()]);
    let (mut source, _) = open(server.address(), "INBOX").unwrap();
    let listed = source.list(&set("1:4")).unwrap();
    let listed: Vec<u32> = listed.iter().map(|listed| listed.uid.get()).collect();
    assert_eq!(listed, [1, 2, 4]);
}

/// A server that closes the connection when it shall list one of these, and omits the others.
fn breaking_at(breaking: &[u32]) -> ScriptedGmail {
    let breaking = uids(breaking);
    ScriptedGmail::start(move |command| {
        if command.line == "CAPABILITY" {
            let words = "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n$tag OK\r\n";
            return Some(Reply::Lines(words));
        }
        let (requested, _) = command.line.strip_prefix("UID FETCH ")?.split_once(' ')?;
        let requested = set(requested);
        Some(if breaking.iter().any(|uid| requested.contains(*uid)) {
            Reply::LinesThenClose("")
        } else {
            Reply::Lines("$tag OK\r\n")
        })
    })
}

#[test]
fn a_few_messages_that_break_the_connection_do_not_stop_the_others() {
    let page: UidSet = (1..=500).filter_map(Uid::new).collect();
    let few_breaking = breaking_at(&[7, 130, 260, 499]);
    let (mut source, _) = open(few_breaking.address(), "INBOX").unwrap();
    assert_eq!(source.list(&page).unwrap(), []);

    let all: Vec<u32> = (1..=500).collect();
    let hostile = breaking_at(&all);
    let (mut source, _) = open(hostile.address(), "INBOX").unwrap();
    let error = source.list(&page).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let log_ins = hostile.commands("AUTHENTICATE").len();
    assert!(log_ins < 100, "{log_ins}");
}

#[test]
fn a_connection_that_breaks_in_a_fetch_makes_messages_unreadable_and_the_next_call_reconnects() {
    let server = ScriptedServer::play_all(vec![
        dialogue(&[
            &OPEN_INBOX,
            &[
                "C: UID FETCH 1:2 (UID BODY.PEEK[])",
                "S: * 1 FETCH (UID 1 BODY[] {100}",
                "R: only a few",
            ],
        ]),
        dialogue(&[
            &OPEN_INBOX,
            &[
                "C: UID FETCH 1 (UID BODY.PEEK[])",
                "S: * 1 FETCH (UID 1 BODY[] {1}",
                "R: x",
                "S: )",
                "S: $tag OK",
                "silence",
            ],
        ]),
    ]);
    let (mut source, _) = open(server.address(), "INBOX").unwrap();
    let fetched = source.fetch(&uids(&[1, 2])).unwrap();
    assert!(
        fetched
            .iter()
            .all(|fetched| matches!(fetched, Fetched::Unreadable(_)))
    );
    assert_eq!(source.fetch(&uids(&[1])).unwrap(), [octets("x")]);
}

#[test]
fn a_session_that_cannot_be_opened_again_in_a_pass_is_a_failure_of_the_source() {
    let (unconnected, greeted, logged_in) = (&OPEN_INBOX[..0], &OPEN_INBOX[..1], &OPEN_INBOX[..4]);
    for reopened in [unconnected, greeted, logged_in] {
        let server = ScriptedServer::play_all(vec![
            dialogue(&[&OPEN_INBOX, &["C: UID FETCH 1 (UID BODY.PEEK[])"]]),
            dialogue(&[reopened]),
        ]);
        let (mut source, _) = open(server.address(), "INBOX").unwrap();
        let fetched = source.fetch(&uids(&[1])).unwrap();
        assert!(matches!(fetched[..], [Fetched::Unreadable(_)]));
        let error = source.fetch(&uids(&[1])).unwrap_err();
        assert_eq!(error.side(), Side::Source, "{error}");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}

#[test]
fn another_uidvalidity_after_a_broken_connection_ends_the_pass() {
    let other = dialogue(&[&OPEN_INBOX, &["C: LOGOUT", "S: $tag OK"]])
        .into_iter()
        .map(|step| step.replace("UIDVALIDITY 7", "UIDVALIDITY 8"))
        .collect();
    let server = ScriptedServer::play_all(vec![dialogue(&[&OPEN_INBOX]), other]);
    let (mut source, _) = open(server.address(), "INBOX").unwrap();
    let error = source.search(&SourceSearch::Uids(set("1"))).unwrap_err();
    assert!(error.to_string().contains("UIDVALIDITY"), "{error}");
}

#[test]
fn malformed_responses_make_a_message_unreadable() {
    let nested = format!("S: * 1 FETCH (UID 1 BODYSTRUCTURE {}", "(".repeat(5_000));
    let endless_line = format!("R: * 1 FETCH ({}", "FLAGS ".repeat(100_000));
    let open_quote = "S: * 1 FETCH (UID 1 BODY[] \"never closed";
    for response in [
        nested.as_str(),
        &endless_line,
        open_quote,
        "S: gibberish",
        "S: $tag $tag",
    ] {
        let (_server, mut source) =
            play(&["C: UID FETCH 1 (UID BODY.PEEK[])", response, "S: ", "S: )"]);
        let fetched = source.fetch(&uids(&[1])).unwrap();
        assert!(matches!(fetched[0], Fetched::Unreadable(_)), "{fetched:?}");
    }
}

#[test]
fn a_silent_server_times_out() {
    let dialogues = [
        dialogue(&[&["silence"]]),
        dialogue(&[&["S: * OK hello", "C: CAPABILITY", "silence"]]),
        dialogue(&[&LOG_IN[..2], &["silence"]]),
    ];
    for dialogue in dialogues {
        let server = ScriptedServer::play_all(vec![dialogue]);
        let started = Instant::now();
        let error = open_with_short_timeouts(server.address()).unwrap_err();
        assert!(error.to_string().contains("timed out"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_server_that_sends_without_end_or_slowly_times_out() {
    let endings: [&[&str]; 3] = [
        &["busy"],
        &["D: * OK this line would take far more than the time that there is for it"],
        &[
            "S: * 1 FETCH (UID 1 BODY[] {1000000}",
            "D: this literal would take far more than the time that there is for it",
        ],
    ];
    for ending in endings {
        let fetch = ["C: UID FETCH 1 (UID BODY.PEEK[])"];
        let server = ScriptedServer::play(&[&OPEN_INBOX, &fetch, ending]);
        let (mut source, _) = open_with_short_timeouts(server.address()).unwrap();
        let started = Instant::now();
        let fetched = source.fetch(&uids(&[1])).unwrap();
        assert!(matches!(fetched[0], Fetched::Unreadable(_)), "{fetched:?}");
        assert!(started.elapsed() < Duration::from_secs(2));
    }
}
