//! Responses that RFC 3501 does not allow, as servers send them: they cost no message.

use imap_to_gmail_sync::message::{Listed, Uid, UidSet};
use imap_to_gmail_sync::sync::{Fetched, Source, SourceSearch};

use crate::mailbox::{LIST_1_TO_3, numbers, octets, open, play, set, uids};
use crate::scripted_gmail::{Reply, ScriptedGmail};
use crate::scripted_server::{OPEN_INBOX, ScriptedServer, dialogue};

/// DavMail writes two blanks before the literal of a message of 1 MB or more, and a blank after the
/// flags.
#[test]
fn several_blanks_count_as_one_in_every_response() {
    let server = ScriptedServer::play(&[&[
        "S: *  OK  [CAPABILITY  IMAP4rev1  AUTH=PLAIN  SASL-IR  IDLE ]  ready",
        "C: AUTHENTICATE PLAIN *",
        "S: $tag  OK  [CAPABILITY  IMAP4rev1   IDLE]   logged in ",
        "C: EXAMINE \"INBOX\"",
        "S: *  FLAGS  ( \\Seen )",
        "S: * 3  EXISTS",
        "S: *  OK  [ UIDVALIDITY   7 ]  valid",
        "S: * OK [READ-ONLY]  ",
        "S: $tag  OK  done",
        "C: STATUS \"INBOX\" (UIDNEXT)",
        "S: *  STATUS  \"INBOX\"  ( UIDNEXT   5  ) ",
        "S: $tag OK  done",
        "C: EXAMINE \"INBOX\"",
        "S: *   3   EXISTS  ",
        "S: * OK  [UIDVALIDITY  7]",
        "S: $tag OK",
        LIST_1_TO_3,
        "S: * 1  FETCH ( UID  1  RFC822.SIZE  6  FLAGS  ( \\Seen  \\Flagged ) BODY[HEADER.FIELDS  ( DATE )]  {17}",
        "R: Message-ID: <a>\r\n",
        "S:   INTERNALDATE  \" 1-Feb-2026 09:08:07 +0000\"  )  ",
        "S: $tag  OK",
        "C: UID SEARCH UID 1:4294967295",
        "S: *  SEARCH  1   2  ",
        "S: $tag   OK done",
        "C: UID FETCH 1:2 (UID BODY.PEEK[])",
        "S: * 1 FETCH (UID 1  BODY[] {6}",
        "R: a  b  ",
        "S:   FLAGS (\\Seen) )",
        "S: *  2  FETCH (UID 2 BODY[]  \"c  d\" )",
        "S: $tag OK  done",
        "silence",
    ]]);
    let (mut source, mailbox) = open(server.address(), "INBOX").unwrap();
    assert_eq!((mailbox.exists, mailbox.uid_next.get()), (3, 5));
    let listed = source.list(&set("1:3")).unwrap();
    let [listed] = listed.as_slice() else {
        panic!("{listed:?}");
    };
    assert_eq!((listed.uid.get(), listed.size), (1, 6));
    assert_eq!(listed.flags.to_string(), "\\Seen \\Flagged");
    assert!(listed.internal_date.is_some() && listed.identity.id.is_some());
    let found = source.search(&SourceSearch::Uids(set("1:4294967295")));
    assert_eq!(numbers(&found.unwrap()), [1, 2]);
    let fetched = source.fetch(&uids(&[1, 2])).unwrap();
    assert_eq!(fetched, [octets("a  b  "), octets("c  d")]);
}

#[test]
fn attributes_that_nobody_asked_for_cost_no_message() {
    let header = "BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)] \"Message-ID: <a@b>\"";
    for odd in [
        "FLAGS (\\Seen a{y} 100% a*b x\\y \"NonJunk\" a(b)  NIL)",
        "FLAGS NIL EMAILID (M1) THREADID NIL",
        "SAVEDATE \"22-Nov-2026 12:00:00 +0000\" X-GUID \"a)\"",
        "PREVIEW \"\" X-GM-LABELS (\"\\\\Inbox\" (a)) X-THING \"abc\" MODSEQ (1)",
    ] {
        let listed = format!("S: * 2 FETCH (UID 2 RFC822.SIZE 4 {odd} {header})");
        let (_server, mut source) = play(&[
            &LIST_1_TO_3.replace("1:3", "2"),
            &listed,
            "S: $tag OK",
            "C: UID FETCH 2 (UID BODY.PEEK[])",
            "S: * 2 FETCH (X-THING {5}",
            "R: )\r\n* ",
            &format!("S:  {odd} UID 2 RFC822 {{4}}"),
            "S: body)",
            "S: $tag OK",
            "silence",
        ]);
        let listed = source.list(&set("2")).unwrap();
        assert_eq!(listed.len(), 1, "{odd}");
        assert_eq!(listed[0].flags.seen, odd.contains("Seen"), "{odd}");
        assert_eq!(
            source.fetch(&uids(&[2])).unwrap(),
            [octets("body")],
            "{odd}"
        );
    }
}

#[test]
fn a_message_that_is_not_fully_listed_is_read_instead() {
    let date = "INTERNALDATE \" 1-Feb-2026 09:08:07 +0000\" FLAGS (\\Seen)";
    let (_server, mut source) = play(&[
        LIST_1_TO_3,
        "S: * 1 FETCH (UID 1 RFC822.SIZE NIL BODY[HEADER.FIELDS (DATE)] \"Message-ID: <1@b>\")",
        &format!("S: * 3 FETCH (UID 3 RFC822.SIZE 99 {date} BODY[HEADER.FIELDS (DATE)] NIL)"),
        "S: $tag OK",
        "C: UID FETCH 1 (UID BODY.PEEK[])",
        "S: * 1 FETCH (UID 1 BODY[] {19}",
        "R: Message-ID: <a@b>\r\n",
        "S: )",
        "S: $tag OK",
        "C: UID FETCH 3 (UID BODY.PEEK[])",
        "S: * 3 FETCH (UID 3 BODY[] {19}",
        "R: Message-ID: <c@d>\r\n",
        "S: )",
        "S: $tag OK",
        "silence",
    ]);
    let listed = source.list(&set("1:3")).unwrap();
    let [first, third] = listed.as_slice() else {
        panic!("{listed:?}");
    };
    let id = |listed: &Listed| listed.identity.id.as_ref().unwrap().as_str().to_owned();
    assert_eq!((first.size, id(first)), (19, "<1@b>".to_owned()));
    assert_eq!((third.size, id(third)), (99, "<c@d>".to_owned()));
    assert!(third.internal_date.is_some() && third.flags.seen);
}

#[test]
fn a_message_whose_listing_cannot_be_read_is_read_instead() {
    let fields = &LIST_1_TO_3["C: UID FETCH 1:3 ".len()..];
    let list = format!("C: UID FETCH 2 {fields}");
    let listed = [&OPEN_INBOX[..], &[&list, "S: * 2 FETCH (UID 2 FLAGS (\"a)"]];
    let read = [
        "C: UID FETCH 2 (UID BODY.PEEK[])",
        "S: * 2 FETCH (UID 2 BODY[] {19}",
        "R: Message-ID: <a@b>\r\n",
        "S: )",
        "S: $tag OK",
        "silence",
    ];
    let server = ScriptedServer::play_all(vec![
        dialogue(&listed),
        dialogue(&listed),
        dialogue(&[&OPEN_INBOX, &read]),
    ]);
    let (mut source, _) = open(server.address(), "INBOX").unwrap();
    let listed = source.list(&set("2")).unwrap();
    assert_eq!((listed[0].uid.get(), listed[0].size), (2, 19));
    assert_eq!(listed[0].identity.id.as_ref().unwrap().as_str(), "<a@b>");
}

#[test]
fn a_server_whose_listings_all_break_is_read_message_by_message() {
    let server = ScriptedGmail::start(|command| {
        if command.line == "CAPABILITY" {
            let words = "* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n$tag OK\r\n";
            return Some(Reply::Lines(words));
        }
        let (uid, items) = command.line.strip_prefix("UID FETCH ")?.split_once(' ')?;
        Some(if items.contains("BODY.PEEK[]") {
            let body = "BODY[] {4}\r\na: b)\r\n$tag OK\r\n";
            Reply::Lines(format!("* 1 FETCH (UID {uid} {body}").leak())
        } else {
            Reply::LinesThenClose("* 1 FETCH (UID \"\r\n")
        })
    });
    let (mut source, _) = open(server.address(), "INBOX").unwrap();
    let page: UidSet = (1..=100).filter_map(Uid::new).collect();
    assert_eq!(source.list(&page).unwrap().len(), 100);
    let log_ins = server.commands("AUTHENTICATE").len();
    assert!(log_ins < 100, "{log_ins}");
}

#[test]
fn a_response_that_cannot_be_read_is_shown_without_what_may_be_text_of_the_message() {
    for (response, shown) in [
        (
            &["S: * 1 FETCH (UID 1 BODY[] {3}", "S: abcdef)"][..],
            "\"* 1 FETCH (UID 1 BODY[] {3}\" … 4 octets",
        ),
        (
            &["S: * 1 FETCH (UID 1 BODY[] {9}", "S: abc)", "S: )", "S: "],
            "\"* 1 FETCH (UID 1 BODY[] {9}\" … 0 octets",
        ),
        (
            &["S: * 1 FETCH (UID 1 \u{1b}[2J)"],
            "\"* 1 FETCH (UID 1 \\u{1b}[2J)\"",
        ),
        (&["S: gibberish"], "\"gibberish\""),
    ] {
        let fetch = ["C: UID FETCH 1 (UID BODY.PEEK[])"];
        let server = ScriptedServer::play(&[&OPEN_INBOX, &fetch, response, &["silence"]]);
        let (mut source, _) = open(server.address(), "INBOX").unwrap();
        let fetched = source.fetch(&uids(&[1])).unwrap();
        let Fetched::Unreadable(why) = &fetched[0] else {
            panic!("{fetched:?}");
        };
        assert!(why.ends_with(shown), "{why}");
    }
}
