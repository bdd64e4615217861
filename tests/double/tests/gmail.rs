//! Dialogues with the Gmail double, line by line; the texts are those of GMAIL.md.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod dialogue;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dialogue::Dialogue;
use dialogue::gmail::{HOUR, append, bearer, connected, examined, logged_in, start};
use double::{Fault, IndexDelay, StoredMessage, Unfinished, date};

const MESSAGE: &str = "Message-ID: <a@b>\r\nDate: x\r\n\r\nbody\r\n";

fn uids(stored: &[StoredMessage]) -> Vec<u32> {
    stored.iter().map(|stored| stored.uid).collect()
}

#[test]
fn the_capabilities_are_those_of_gmail_before_and_after_login() {
    let gmail = start();
    let mut dialogue = connected(&gmail);
    dialogue.play(
        "C: a CAPABILITY
         S: * CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 XYZZY SASL-IR AUTH=XOAUTH2 AUTH=PLAIN AUTH=PLAIN-CLIENTTOKEN AUTH=OAUTHBEARER
         S: a OK Thats all she wrote! u21mb183888217edq
         C: b SELECT INBOX
         S: b BAD Command received in Invalid state.
         C: c NONSENSE
         S: c BAD Command received in Invalid state.
         C: \u{20}
         S: * BAD [CLIENTBUG] Invalid tag
         C: c ID NIL
         S: * ID (\"name\" \"GImap\" \"vendor\" \"Google, Inc.\" \"support-url\" \"https://support.google.com/mail\" \"version\" \"gmail_imap_200428.12_p0\" \"remote-host\" \"127.0.0.1\")
         S: c OK Success",
    );
    let token = gmail.tokens().issue("user@gmail.com", HOUR);
    dialogue.send(&format!(
        "d AUTHENTICATE XOAUTH2 {}",
        bearer("user@gmail.com", &token)
    ));
    dialogue.play(
        "S: * CAPABILITY IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS COMPRESS=DEFLATE ENABLE MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE APPENDLIMIT=35651584
         S: d OK user@gmail.com authenticated (Success)
         C: e NONSENSE
         S: e BAD Could not parse command
         C: f LOGOUT
         S: * BYE LOGOUT Requested
         S: f OK 73 good day (Success)",
    );
    assert_eq!(dialogue.read_to_end(), "");
}

#[test]
fn a_rejected_token_gets_a_challenge_and_the_connection_stays_open() {
    let gmail = start();
    let tokens = gmail.tokens();
    let good = tokens.issue("user@gmail.com", HOUR);
    let expired = tokens.issue("user@gmail.com", Duration::ZERO);
    let narrow = tokens.issue_for(
        "user@gmail.com",
        HOUR,
        "https://www.googleapis.com/auth/gmail.send",
    );
    let revoked = tokens.issue("user@gmail.com", HOUR);
    let stranger = tokens.issue("other@gmail.com", HOUR);
    tokens.revoke(&revoked);
    let mut dialogue = connected(&gmail);
    for (user, token) in [
        ("user@gmail.com", "nonsense"),
        ("user@gmail.com", &expired),
        ("user@gmail.com", &narrow),
        ("user@gmail.com", &revoked),
        ("other@gmail.com", &good),
        ("other@gmail.com", &stranger),
    ] {
        dialogue.send(&format!("a AUTHENTICATE XOAUTH2 {}", bearer(user, token)));
        dialogue.play("S: + eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==");
        assert!(
            !dialogue.receives_within(Duration::from_millis(20)),
            "the NO has to wait for a line"
        );
        dialogue.play("C:  \nS: a NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)");
    }
    dialogue.play(
        "C: b AUTHENTICATE XOAUTH2\nS: + \nC: *\nS: b BAD Client aborted AUTHENTICATE command. <*>",
    );
    dialogue.play("C: c AUTHENTICATE XOAUTH2 !!!\nS: c NO Invalid SASL argument. <*>");
    dialogue.play("C: d LOGIN user@gmail.com x\nS: d NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)");
    dialogue.play("C: e AUTHENTICATE XOAUTH2\nS: + ");
    dialogue.send(&bearer("user@gmail.com", &good));
    dialogue.play("S: * CAPABILITY <*>\nS: e OK user@gmail.com authenticated (Success)");
    assert_eq!(gmail.logins(), 1);
}

#[test]
fn oauthbearer_is_supported() {
    let gmail = start();
    let token = gmail.tokens().issue("user@gmail.com", HOUR);
    let mut dialogue = connected(&gmail);
    let text = format!("n,a=user@gmail.com,\x01host=h\x01port=993\x01auth=Bearer {token}\x01\x01");
    dialogue.send(&format!(
        "a AUTHENTICATE OAUTHBEARER {}",
        STANDARD.encode(text)
    ));
    dialogue.play("S: * CAPABILITY <*>\nS: a OK <*>");
}

#[test]
fn folders_have_their_attributes_in_alphabetical_order() {
    let gmail = start();
    gmail.mailboxes().create("Originals");
    logged_in(&gmail).play(
        "C: a NAMESPACE
         S: * NAMESPACE ((\"\" \"/\")) NIL NIL
         S: a OK Success
         C: b LIST \"\" \"\"
         S: * LIST (\\Noselect) \"/\" \"/\"
         S: b OK Success
         C: c LIST \"\" \"*\" RETURN (SUBSCRIBED CHILDREN)
         S: * LIST (\\HasNoChildren) \"/\" \"INBOX\"
         S: * LIST (\\HasChildren \\Noselect) \"/\" \"[Gmail]\"
         S: * LIST (\\All \\HasNoChildren) \"/\" \"[Gmail]/All Mail\"
         S: * LIST (\\HasNoChildren \\Trash) \"/\" \"[Gmail]/Bin\"
         S: * LIST (\\Drafts \\HasNoChildren) \"/\" \"[Gmail]/Drafts\"
         S: * LIST (\\HasNoChildren \\Important) \"/\" \"[Gmail]/Important\"
         S: * LIST (\\HasNoChildren \\Sent) \"/\" \"[Gmail]/Sent Mail\"
         S: * LIST (\\HasNoChildren \\Junk) \"/\" \"[Gmail]/Spam\"
         S: * LIST (\\Flagged \\HasNoChildren) \"/\" \"[Gmail]/Starred\"
         S: * LIST (\\HasNoChildren) \"/\" \"Originals\"
         S: c OK Success",
    );
}

#[test]
fn a_mailbox_is_opened_as_gmail_opens_it() {
    let gmail = start();
    gmail.deliver(
        MESSAGE.as_bytes(),
        date("2026-11-20T10:00:00+01:00"),
        &["$Own"],
    );
    logged_in(&gmail).play(
        "C: a SELECT inbox
         S: * FLAGS (\\Answered \\Flagged \\Draft \\Deleted \\Seen $NotPhishing $Phishing $Own)
         S: * OK [PERMANENTFLAGS (\\Answered \\Flagged \\Draft \\Deleted \\Seen $NotPhishing $Phishing $Own \\*)] Flags permitted.
         S: * OK [UIDVALIDITY 1] UIDs valid.
         S: * 1 EXISTS
         S: * 0 RECENT
         S: * OK [UIDNEXT 2] Predicted next UID.
         S: * OK [HIGHESTMODSEQ <*>]
         S: a OK [READ-WRITE] inbox selected. (Success)
         C: b EXAMINE \"[Gmail]\"
         S: b NO [NONEXISTENT] Unknown Mailbox: [Gmail] (now in authenticated state) (Failure)
         C: c UID SEARCH ALL
         S: c BAD Command received in Invalid state.
         C: d STATUS \"[Gmail]\" (UIDNEXT)
         S: d NO [NONEXISTENT] Invalid folder: [Gmail] (Failure)
         C: e STATUS nowhere (UIDNEXT)
         S: e NO [NONEXISTENT] Unknown Mailbox: nowhere (Failure)
         C: f EXAMINE \"[Gmail]/All Mail\" (CONDSTORE)
         S: * FLAGS <*>
         S: * OK [PERMANENTFLAGS ()] Flags permitted.
         S: * OK [UIDVALIDITY 3] UIDs valid.
         S: * 1 EXISTS
         S: * 0 RECENT
         S: * OK [UIDNEXT 2] Predicted next UID.
         S: * OK [HIGHESTMODSEQ <*>]
         S: f OK [READ-ONLY] [Gmail]/All Mail selected. (Success)
         C: g UNSELECT
         S: g OK Returned to authenticated state. (Success)
         C: h CREATE \" x\"
         S: h NO [CANNOT] Folder contains excess whitespace (Failure)
         C: i CREATE x
         S: i OK Success
         C: j STATUS x (MESSAGES)
         S: * STATUS \"x\" (MESSAGES 0)
         S: j OK Success",
    );
}

#[test]
fn new_mail_is_invisible_before_it_is_announced() {
    let gmail = start();
    let mut dialogue = examined(&gmail, "INBOX");
    gmail.deliver(MESSAGE.as_bytes(), date("2026-11-20T10:00:00+01:00"), &[]);
    dialogue.play(
        "C: a UID SEARCH ALL
         S: * SEARCH
         S: a OK SEARCH completed (Success)
         C: b STATUS INBOX (MESSAGES)
         S: * STATUS \"INBOX\" (MESSAGES 1)
         S: b OK Success
         C: c UID FETCH 1:* (UID)
         S: * 1 EXISTS
         S: c OK Success
         C: d UID SEARCH ALL
         S: * SEARCH 1
         S: d OK SEARCH completed (Success)",
    );
}

#[test]
fn an_append_is_stored_octet_for_octet_with_date_and_flags() {
    let gmail = start();
    let mut dialogue = logged_in(&gmail);
    let octets = b"Message-ID: <c@d>\nX: \xff\r\n\r\nbare\rcr\xfe";
    dialogue.send(&format!(
        "a APPEND \"INBOX\" (\\Seen $Own) \"17-Jul-2019 09:40:08 +0200\" {{{}}}",
        octets.len()
    ));
    dialogue.play("S: + go ahead");
    dialogue.write(octets);
    dialogue.play("C: \nS: a OK [APPENDUID 1 1] (Success)");
    let stored = &gmail.messages("INBOX")[0];
    assert_eq!(stored.octets, octets);
    assert_eq!(stored.internal_date, date("2019-07-17T09:40:08+02:00"));
    assert_eq!(stored.flags, ["$Own", "\\Seen"]);
    assert_eq!(stored.mailboxes, ["INBOX", "[Gmail]/All Mail"]);
    assert_eq!(gmail.all_mail().len(), 1);
    dialogue.play(
        "C: b EXAMINE INBOX
         S: * FLAGS <*>
         S: * OK [PERMANENTFLAGS ()] <*>
         S: * OK [UIDVALIDITY 1] <*>
         S: * 1 EXISTS
         S: * 0 RECENT
         S: * OK [UIDNEXT 2] <*>
         S: * OK [HIGHESTMODSEQ <*>]
         S: b OK <*>
         C: c UID FETCH 1 (INTERNALDATE X-GM-MSGID X-GM-LABELS)
         S: * 1 FETCH (UID 1 INTERNALDATE \"17-Jul-2019 07:40:08 +0000\" X-GM-MSGID <*> X-GM-LABELS ())
         S: c OK Success",
    );
}

#[test]
fn an_append_without_a_date_gets_the_current_time() {
    let gmail = start();
    gmail.clock().advance(HOUR * 24);
    append(&mut logged_in(&gmail), "INBOX", MESSAGE.as_bytes());
    let age = gmail.clock().now() - gmail.messages("INBOX")[0].internal_date.to_utc();
    assert!(age.num_seconds() < 60);
}

#[test]
fn appends_are_rejected_with_gmails_texts() {
    let gmail = start();
    gmail.change(|options| options.append_limit = 100);
    let mut dialogue = logged_in(&gmail);
    for (arguments, octets, response) in [
        (
            "nowhere",
            MESSAGE,
            "NO [TRYCREATE] Folder doesn't exist. (Failure)",
        ),
        (
            "INBOX",
            &*"x".repeat(101),
            "BAD [TOOBIG] Message too large. https://support.google.com/mail/answer/6584#limit",
        ),
        (
            "INBOX",
            "4",
            "BAD Invalid Arguments: Unable to parse message",
        ),
        (
            "INBOX",
            "",
            "BAD Invalid Arguments: Unable to parse message",
        ),
        (
            "INBOX (\\Important)",
            MESSAGE,
            "BAD Invalid Arguments: Unable to parse flag \\Important",
        ),
        (
            "INBOX (\\Recent)",
            MESSAGE,
            "BAD Invalid Arguments: Unable to parse flag \\Recent",
        ),
        (
            "INBOX (\\Seen \\)",
            MESSAGE,
            "BAD Invalid Arguments: Unable to parse flag \\",
        ),
        ("INBOX \"nonsense\"", MESSAGE, "BAD Could not parse command"),
        ("IN BOX", MESSAGE, "BAD Could not parse command"),
    ] {
        assert_eq!(
            append(&mut dialogue, arguments, octets.as_bytes()),
            format!("p {response}")
        );
    }
    assert_eq!(gmail.all_mail(), []);
    assert_eq!(
        append(&mut dialogue, "INBOX", b"NUL: \0\r\n\r\n"),
        "* BYE Invalid character in literal."
    );
    assert_eq!(dialogue.read_to_end(), "");
    assert_eq!(gmail.all_mail(), []);
}

#[test]
fn octets_after_the_literal_are_commands() {
    let gmail = start();
    let mut dialogue = logged_in(&gmail);
    append(&mut dialogue, "INBOX", MESSAGE.as_bytes());
    dialogue.play("C: \nS: * BAD [CLIENTBUG] Invalid tag\nC: a NOOP\nS: a OK Success");
}

#[test]
fn an_append_into_the_open_mailbox_is_announced() {
    let gmail = start();
    let mut dialogue = examined(&gmail, "INBOX");
    assert_eq!(
        append(&mut dialogue, "INBOX", MESSAGE.as_bytes()),
        "* 1 EXISTS"
    );
    dialogue.play("S: p OK [APPENDUID 1 1] (Success)");
}

#[test]
fn duplicates_are_stored_once() {
    let gmail = start();
    gmail.mailboxes().create("Label");
    let mut dialogue = logged_in(&gmail);
    let old = "INBOX \"17-Jul-2019 09:40:08 +0000\"";
    assert_eq!(
        append(&mut dialogue, old, MESSAGE.as_bytes()),
        "p OK [APPENDUID 1 1] (Success)"
    );
    // With the same label the old copy is removed, and the new one has the old date.
    assert_eq!(
        append(&mut dialogue, "INBOX", MESSAGE.as_bytes()),
        "p OK [APPENDUID 1 2] (Success)"
    );
    assert_eq!(uids(&gmail.messages("INBOX")), [2]);
    assert_eq!(
        gmail.messages("INBOX")[0].internal_date,
        date("2019-07-17T09:40:08Z")
    );
    // With another label it is one message with two labels.
    assert_eq!(
        append(&mut dialogue, "Label", MESSAGE.as_bytes()),
        "p OK [APPENDUID 10 1] (Success)"
    );
    assert_eq!(gmail.all_mail().len(), 1);
    assert_eq!(
        gmail.all_mail()[0].mailboxes,
        ["INBOX", "Label", "[Gmail]/All Mail"]
    );
    // From Trash it comes back.
    gmail.trash(2);
    assert_eq!(
        (gmail.messages("INBOX").len(), gmail.in_trash().len()),
        (0, 1)
    );
    append(&mut dialogue, "INBOX", MESSAGE.as_bytes());
    assert_eq!(
        (gmail.messages("INBOX").len(), gmail.in_trash().len()),
        (1, 0)
    );
    assert_eq!(
        gmail.messages("INBOX")[0].internal_date,
        date("2019-07-17T09:40:08Z")
    );
    // With other content, another date, or no id both are kept.
    append(
        &mut dialogue,
        "INBOX",
        MESSAGE.replace("Date: x", "Date: y").as_bytes(),
    );
    append(
        &mut dialogue,
        "INBOX",
        MESSAGE.replace("body", "other").as_bytes(),
    );
    append(&mut dialogue, "INBOX", b"Subject: x\r\n\r\n");
    append(&mut dialogue, "INBOX", b"Subject: x\r\n\r\n");
    assert_eq!(gmail.all_mail().len(), 5);
    // Without deduplication both are kept.
    gmail.change(|options| options.deduplicates = false);
    append(&mut dialogue, "INBOX", MESSAGE.as_bytes());
    assert_eq!(gmail.all_mail().len(), 6);
}

#[test]
fn archived_mail_stays_in_all_mail_and_trashed_mail_does_not() {
    let gmail = start();
    let first = gmail.deliver(MESSAGE.as_bytes(), date("2026-11-20T10:00:00+01:00"), &[]);
    let second = gmail.deliver(
        b"Subject: x\r\n\r\n",
        date("2026-11-20T10:00:00+01:00"),
        &[],
    );
    gmail.archive(first);
    gmail.trash(second);
    assert_eq!(gmail.messages("INBOX"), []);
    assert_eq!((gmail.all_mail().len(), gmail.in_trash().len()), (1, 1));
    assert_eq!(gmail.all_mail()[0].mailboxes, ["[Gmail]/All Mail"]);
}

#[test]
fn a_message_is_found_by_its_id_in_each_way() {
    let gmail = start();
    gmail.deliver(MESSAGE.as_bytes(), date("2026-11-20T10:00:00+01:00"), &[]);
    let mut dialogue = examined(&gmail, "[Gmail]/All Mail");
    for keys in [
        "HEADER Message-ID \"<a@b>\"",
        "HEADER MESSAGE-ID a@b",
        "OR HEADER Message-ID x OR HEADER Message-ID y HEADER Message-ID <a@b>",
        "X-GM-RAW \"rfc822msgid:a@b\"",
        "CHARSET UTF-8 HEADER Message-ID \"<a@b>\"",
        "HEADER X-None \"\"",
    ] {
        dialogue.send(&format!("s UID SEARCH {keys}"));
        dialogue.play("S: * SEARCH 1\nS: s OK SEARCH completed (Success)");
    }
    dialogue.play("C: t UID SEARCH HEADER Message-ID {5}\nS: + go ahead\nC: <a@b>\nS: * SEARCH 1\nS: t OK <*>");
    dialogue.play("C: u UID SEARCH HEADER Message-ID \"\u{e9}\"\nS: u BAD Could not parse command");
}

#[test]
fn the_index_lags_behind_by_searches_or_by_time() {
    let gmail = start();
    gmail.change(|options| options.index_delay = IndexDelay::Searches(2));
    append(&mut logged_in(&gmail), "INBOX", MESSAGE.as_bytes());
    let mut dialogue = examined(&gmail, "INBOX");
    let search = "C: a UID SEARCH HEADER Message-ID a@b";
    dialogue.play(&format!("{search}\nS: * SEARCH\nS: a OK <*>"));
    dialogue.play(&format!("{search}\nS: * SEARCH\nS: a OK <*>"));
    dialogue.play(&format!("{search}\nS: * SEARCH 1\nS: a OK <*>"));
    gmail.change(|options| options.index_delay = IndexDelay::For(Duration::from_mins(1)));
    append(
        &mut dialogue,
        "INBOX",
        MESSAGE.replace("a@b", "c@d").as_bytes(),
    );
    dialogue.play("S: p OK <*>\nC: b UID SEARCH HEADER Message-ID c@d\nS: * SEARCH\nS: b OK <*>");
    dialogue.play("C: b UID SEARCH ALL\nS: * SEARCH 1 2\nS: b OK <*>");
    gmail.clock().advance(Duration::from_mins(1));
    dialogue.play("C: b UID SEARCH HEADER Message-ID c@d\nS: * SEARCH 2\nS: b OK <*>");
}

#[test]
fn a_cut_append_is_stored_or_not_as_the_options_say() {
    let minute = Duration::from_mins(1);
    for (unfinished, at_once, after_a_minute, when_told) in [
        (Unfinished::Forgotten, 0, 0, 0),
        (Unfinished::Stored, 1, 1, 1),
        (Unfinished::StoredAfter(minute), 0, 1, 1),
        (Unfinished::StoredWhenTold, 0, 0, 1),
    ] {
        let gmail = start();
        gmail.change(|options| options.unfinished = unfinished);
        let mut dialogue = logged_in(&gmail);
        gmail.faults().once(double::Event::is_literal, Fault::Eof);
        dialogue.send(&format!("a APPEND INBOX {{{}}}", MESSAGE.len()));
        dialogue.play("S: + go ahead");
        dialogue.send(MESSAGE);
        assert_eq!(dialogue.read_to_end(), "");
        assert_eq!(gmail.all_mail().len(), at_once, "{unfinished:?}");
        gmail.clock().advance(minute);
        assert_eq!(gmail.all_mail().len(), after_a_minute, "{unfinished:?}");
        gmail.mailboxes().store_unfinished();
        assert_eq!(gmail.all_mail().len(), when_told, "{unfinished:?}");
    }
}

#[test]
fn an_append_whose_response_is_lost_is_stored() {
    let gmail = start();
    let mut dialogue = logged_in(&gmail);
    gmail
        .faults()
        .once(|event| event.is_line("APPENDUID"), Fault::Reset);
    dialogue.send(&format!("a APPEND INBOX {{{}}}", MESSAGE.len()));
    dialogue.play("S: + go ahead");
    dialogue.send(MESSAGE);
    assert!(dialogue.end().is_err());
    assert_eq!(gmail.all_mail().len(), 1);
}

#[test]
fn a_session_ends_with_its_token() {
    let gmail = start();
    let mut dialogue = logged_in(&gmail);
    dialogue.play("C: a NOOP\nS: a OK Success");
    gmail.clock().advance(HOUR);
    dialogue.send("b NOOP");
    assert_eq!(
        dialogue.read_to_end(),
        "* BYE Session expired, please login again.\r\n"
    );
}

#[test]
fn the_sixteenth_session_is_rejected() {
    let gmail = start();
    let mut fifteen: Vec<Dialogue> = (0..15).map(|_| logged_in(&gmail)).collect();
    let token = gmail.tokens().issue("user@gmail.com", HOUR);
    let mut dialogue = connected(&gmail);
    dialogue.send(&format!(
        "a AUTHENTICATE XOAUTH2 {}",
        bearer("user@gmail.com", &token)
    ));
    dialogue.play("S: a NO [ALERT] Too many simultaneous connections. (Failure)");
    let mut last = fifteen.pop().unwrap();
    last.send("z LOGOUT");
    last.read_to_end();
    logged_in(&gmail);
}

#[test]
fn an_unsolicited_literal_is_a_violation() {
    let gmail = start();
    let mut dialogue = logged_in(&gmail);
    dialogue.write(format!("a APPEND INBOX {{{}}}\r\n{MESSAGE}\r\n", MESSAGE.len()).as_bytes());
    dialogue.play("S: + go ahead\nS: a OK <*>");
    assert_eq!(
        gmail.take_violations(),
        ["the client sent a literal before it was asked for"]
    );
    dialogue.write(format!("a APPEND INBOX {{{}+}}\r\n{MESSAGE}\r\n", MESSAGE.len()).as_bytes());
    dialogue.play("S: a OK <*>");
    assert_eq!(gmail.take_violations(), Vec::<String>::new());
}

#[test]
fn idle_has_gmails_texts() {
    let gmail = start();
    let mut dialogue = examined(&gmail, "INBOX");
    dialogue.play("C: a IDLE\nS: + idling");
    gmail.deliver(MESSAGE.as_bytes(), date("2026-11-20T10:00:00+01:00"), &[]);
    dialogue.play("S: * 1 EXISTS\nC: DONE\nS: a OK IDLE terminated (Success)");
    dialogue.play("C: b IDLE\nS: + idling\nC: x\nS: b BAD Could not parse command");
    gmail.clock().advance(HOUR);
    assert_eq!(
        dialogue.exchange("c IDLE"),
        "* BYE Session expired, please login again."
    );
}

#[test]
fn unsupported_commands_are_rejected() {
    let gmail = start();
    gmail.deliver(MESSAGE.as_bytes(), date("2026-11-20T10:00:00+01:00"), &[]);
    let mut dialogue = examined(&gmail, "INBOX");
    for command in [
        "UID FETCH 1 BODYSTRUCTURE",
        "UID FETCH 1 (BODY.PEEK[1.2])",
        "UID FETCH 1 (UID  FLAGS)",
        "UID FETCH x (UID)",
        "UID SEARCH RETURN (ALL) ALL",
        "COMPRESS DEFLATE",
    ] {
        assert_eq!(
            dialogue.exchange(&format!("a {command}")),
            "a BAD Could not parse command"
        );
    }
    dialogue.play(
        "C: b XLIST \"\" INBOX\nS: * XLIST (\\HasNoChildren) \"/\" \"INBOX\"\nS: b OK Success",
    );
}

#[test]
fn pipelined_appends_are_answered_in_their_order() {
    let gmail = start();
    let mut dialogue = logged_in(&gmail);
    dialogue.write(b"a APPEND INBOX {14+}\r\nSubject: a\r\n\r\n\r\nb APPEND INBOX {14}\r\n");
    dialogue.play("S: a OK [APPENDUID 1 1] (Success)\nS: + go ahead");
    dialogue
        .write(b"Subject: b\r\n\r\n\r\nc APPEND INBOX {14+}\r\nSubject: c\r\n\r\n\r\nd NOOP\r\n");
    dialogue.play(
        "S: b OK [APPENDUID 1 2] (Success)
         S: c OK [APPENDUID 1 3] (Success)
         S: d OK Success",
    );
    let stored = gmail.messages("INBOX");
    let stored: Vec<&[u8]> = stored.iter().map(|stored| &stored.octets[..]).collect();
    let expected = [
        "Subject: a\r\n\r\n",
        "Subject: b\r\n\r\n",
        "Subject: c\r\n\r\n",
    ];
    assert_eq!(stored, expected.map(str::as_bytes));
}

#[test]
fn the_message_of_a_rejected_append_is_no_command() {
    let gmail = start();
    let mut dialogue = logged_in(&gmail);
    let mut reject = |line: &str| {
        gmail.faults().once(
            |event| event.is_command("APPEND"),
            Fault::Instead(format!("<T> {line}")),
        );
        dialogue.write(b"a APPEND INBOX {8+}\r\nx NOOP\r\n\r\nb NOOP\r\n");
        dialogue.play(&format!("S: a {line}\nS: b OK Success"));
    };
    reject("NO not now");
    reject("BAD what?");
    dialogue.write(b"c APPEND Missing {8+}\r\nx NOOP\r\n\r\nd NOOP\r\n");
    dialogue.play("S: c NO [TRYCREATE] Folder doesn't exist. (Failure)\nS: d OK Success");
}

#[test]
fn a_command_in_the_place_of_an_awaited_message_is_a_violation() {
    let gmail = start();
    let mut dialogue = logged_in(&gmail);
    dialogue.write(b"a APPEND INBOX {14}\r\nb APPEND INBOX {14}\r\n");
    dialogue.play("S: + go ahead");
    assert_eq!(
        gmail.take_violations(),
        ["the client sent a literal before it was asked for"]
    );
}
