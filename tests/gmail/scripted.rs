//! The outcome of a message for each response and failure of Gmail.

use std::time::Duration;

use chrono::DateTime;
use imap_to_gmail_sync::delivery::gmail_imap::GmailTarget;
use imap_to_gmail_sync::error::{Consequence, ErrorKind, RestReason, Result};
use imap_to_gmail_sync::message::{BodyDigest, DeliveryMethod, Mark, Uid, UidValidity};
use imap_to_gmail_sync::sync::{
    AppendUid, LookupQuery, LookupResult, Outcome, Receipt, SearchScope, Target, UncertainAppend,
    Uploaded,
};
use imap_to_gmail_sync::timeouts::Timeouts;

use crate::query;
use crate::scripted_gmail::{Command, Reply, ScriptedGmail, message, now};

const MAIL: &[u8] = b"Message-ID: <a@b>\r\nSubject: x\r\n\r\nbody\r\n";

fn stored() -> Outcome {
    Outcome::Delivered(Receipt::Appended(AppendUid {
        uid_validity: UidValidity::new(1).unwrap(),
        uid: Uid::new(66).unwrap(),
    }))
}

/// Sends these messages; returns the outcome of each and the result of the pass.
fn send(gmail: &mut GmailTarget, messages: &[&[u8]]) -> (Vec<(u32, Outcome)>, Result<()>) {
    let mut submitted = Ok(());
    for (octets, uid) in messages.iter().zip(1..) {
        submitted = submitted.and_then(|()| gmail.submit(message(uid, octets)));
    }
    let finished = gmail.finish();
    let mut outcomes: Vec<(u32, Outcome)> = std::iter::from_fn(|| gmail.settled())
        .map(|(uid, outcome)| (uid.get(), outcome))
        .collect();
    outcomes.sort_by_key(|(uid, _)| *uid);
    (outcomes, submitted.and(finished))
}

/// A server with this response to the first APPEND, after the whole message.
fn responding_to_first_append(lines: &'static str) -> ScriptedGmail {
    on_first_literal(Reply::Lines(lines))
}

fn on_first_literal(reply: Reply) -> ScriptedGmail {
    let done = std::sync::atomic::AtomicBool::new(false);
    ScriptedGmail::start(move |command| {
        let is_wanted =
            command.literal.is_some() && !done.swap(true, std::sync::atomic::Ordering::SeqCst);
        is_wanted.then(|| reply.clone())
    })
}

fn on_first_append_line(reply: Reply) -> ScriptedGmail {
    let done = std::sync::atomic::AtomicBool::new(false);
    ScriptedGmail::start(move |command| {
        let is_wanted = command.line.starts_with("APPEND")
            && command.literal.is_none()
            && !done.swap(true, std::sync::atomic::Ordering::SeqCst);
        is_wanted.then(|| reply.clone())
    })
}

#[test]
fn a_message_is_appended_with_its_date_flags_and_octets() {
    let server = ScriptedGmail::start(|_| None);
    let (outcomes, result) = send(&mut server.target(1), &[MAIL]);
    assert_eq!((outcomes, result), (vec![(1, stored())], Ok(())));
    let appends = server.commands("APPEND");
    assert_eq!(
        appends[0].line,
        format!(
            "APPEND \"Arrived\" (\\Seen) \"03-Feb-2020 04:05:06 +0100\" {{{}}}",
            MAIL.len()
        )
    );
    assert_eq!(appends[1].literal.as_deref(), Some(MAIL));
    let id = &server.commands("ID")[0].line;
    assert!(id.contains("imap-to-gmail-sync"), "{id}");
    assert!(server.commands("SELECT").is_empty() && server.commands("EXAMINE").is_empty());
}

#[test]
fn an_unknown_date_is_omitted() {
    let server = ScriptedGmail::start(|_| None);
    let mut gmail = server.target(1);
    let mut undated = message(1, MAIL);
    undated.internal_date = None;
    undated.flags.seen = false;
    gmail.submit(undated).unwrap();
    gmail.finish().unwrap();
    let expected = format!("APPEND \"Arrived\" {{{}}}", MAIL.len());
    assert_eq!(server.commands("APPEND")[0].line, expected);
}

#[test]
fn a_leap_second_is_not_sent() {
    let server = ScriptedGmail::start(|_| None);
    let mut gmail = server.target(1);
    let mut at_a_leap_second = message(1, MAIL);
    let date = "31-Dec-2016 23:59:60 +0000";
    let date = DateTime::parse_from_str(date, "%d-%b-%Y %H:%M:%S %z");
    at_a_leap_second.internal_date = date.ok();
    gmail.submit(at_a_leap_second).unwrap();
    gmail.finish().unwrap();
    let append = &server.commands("APPEND")[0].line;
    assert!(
        append.contains(" \"31-Dec-2016 23:59:59 +0000\" "),
        "{append}"
    );
}

#[test]
fn each_response_to_an_append_has_its_outcome_and_the_next_message_is_sent() {
    for (response, expected) in [
        (
            "$tag OK [APPENDUID 1 66] (Success) [THROTTLED]\r\n",
            "stored",
        ),
        ("$tag OK [APPENDUID 1 66](Success)\r\n", "stored"),
        (
            "* 3 EXISTS\r\n$tag OK [APPENDUID 1 66] (Success)\r\n",
            "stored",
        ),
        ("$tag OK (Success)\r\n", "Uncertain"),
        ("$tag BAD [TOOBIG] Message too large.\r\n", "Refused"),
        (
            "$tag NO Unable to append message to folder (Failure)\r\n",
            "Parked",
        ),
        (
            "$tag BAD Invalid Arguments: Unable to parse message\r\n",
            "Parked",
        ),
    ] {
        for early in [false, true] {
            if early && response.contains("OK") {
                continue;
            }
            let server = if early {
                on_first_append_line(Reply::Lines(response))
            } else {
                responding_to_first_append(response)
            };
            let (outcomes, result) = send(&mut server.target(1), &[MAIL, MAIL]);
            assert_eq!(result, Ok(()), "{response}");
            let (_, first) = &outcomes[0];
            if expected == "stored" {
                assert_eq!(*first, stored(), "{response}");
            } else {
                let shown = format!("{first:?}");
                assert!(shown.starts_with(expected), "{response}: {shown}");
            }
            assert_eq!(outcomes[1], (2, stored()), "{response}");
        }
    }
}

#[test]
fn a_lost_response_is_uncertain_and_a_cut_literal_is_unsent() {
    for (reply, expected) in [
        (Reply::LinesThenClose(""), "Uncertain"),
        (Reply::LinesThenClose("* BYE System Error\r\n"), "Uncertain"),
        (Reply::LinesThenClose("$tag O"), "Uncertain"),
        (Reply::Lines("$tag HELLO\r\n"), "Uncertain"),
        (Reply::Stall, "Uncertain"),
    ] {
        let server = on_first_literal(reply.clone());
        let (outcomes, result) = send(&mut server.target(1), &[MAIL, MAIL]);
        assert_eq!(result, Ok(()), "{reply:?}");
        let shown = format!("{:?}", outcomes[0].1);
        assert!(shown.starts_with(expected), "{reply:?}: {shown}");
        assert_eq!(outcomes[1], (2, stored()), "{reply:?}");
    }
    // Far more than the buffers between the two sockets can hold.
    let large = vec![b'x'; 40_000_000];
    let server = on_first_append_line(Reply::ReadPartThenClose(10_000));
    let (outcomes, result) = send(&mut server.target(1), &[&large, MAIL]);
    assert_eq!(result, Ok(()));
    let shown = format!("{:?}", outcomes[0].1);
    assert!(shown.starts_with("Unsent(\"not stored"), "{shown}");
    assert_eq!(outcomes[1], (2, stored()));
}

#[test]
fn an_append_on_a_dead_connection_is_sent_again_on_another() {
    for reply in [
        Reply::LinesThenClose(""),
        Reply::LinesThenClose("* BYE Session expired, please login again.\r\n"),
    ] {
        let server = on_first_append_line(reply);
        let (outcomes, result) = send(&mut server.target(1), &[MAIL]);
        assert_eq!((outcomes, result), (vec![(1, stored())], Ok(())));
    }
    let server = ScriptedGmail::start(|command| {
        let is_wanted = command.line.starts_with("APPEND");
        is_wanted.then_some(Reply::LinesThenClose(""))
    });
    let (outcomes, result) = send(&mut server.target(1), &[MAIL]);
    assert_eq!(result, Ok(()));
    assert!(matches!(outcomes[0].1, Outcome::Unsent(_)), "{outcomes:?}");
    assert_eq!(server.commands("APPEND").len(), 2);
}

#[test]
fn a_rejection_that_concerns_the_account_ends_the_pass_and_parks_nothing() {
    let quota = Some(Consequence::Rest(RestReason::Quota));
    for (response, kind, consequence) in [
        (
            "$tag NO [UNAVAILABLE] Temporary System Problem. Try again later. (Failure)\r\n",
            ErrorKind::Unavailable,
            None,
        ),
        (
            "$tag NO System Error (Failure)\r\n",
            ErrorKind::Unavailable,
            None,
        ),
        ("$tag NO [SERVERBUG] oops\r\n", ErrorKind::Unavailable, None),
        (
            "$tag NO [OVERQUOTA] full\r\n",
            ErrorKind::Resting,
            quota.clone(),
        ),
        (
            "$tag NO [ALERT] Account exceeded command or bandwidth limits. (Failure)\r\n",
            ErrorKind::Resting,
            quota.clone(),
        ),
    ] {
        let server = responding_to_first_append(response);
        let (outcomes, result) = send(&mut server.target(1), &[MAIL, MAIL, MAIL]);
        let error = result.unwrap_err();
        assert_eq!(error.kind(), kind, "{response}");
        assert_eq!(error.consequence(), consequence.as_ref(), "{response}");
        for (_, outcome) in &outcomes {
            assert_eq!(*outcome, Outcome::Returned(Uploaded::Octets), "{response}");
        }
        let appends = server.commands("APPEND");
        let sent = appends.iter().filter(|append| append.literal.is_some());
        assert_eq!(sent.count(), 1, "{response}");
    }
    // In a BYE it leaves open whether the message was stored.
    let bye = "* BYE [OVERQUOTA] Account exceeded command or bandwidth limits.\r\n";
    let server = on_first_literal(Reply::LinesThenClose(bye));
    let (outcomes, result) = send(&mut server.target(1), &[MAIL]);
    assert_eq!(result.unwrap_err().consequence(), quota.as_ref());
    assert!(matches!(outcomes[0].1, Outcome::Uncertain(_)));
    let server = on_first_append_line(Reply::LinesThenClose(bye));
    let (outcomes, result) = send(&mut server.target(1), &[MAIL]);
    assert_eq!(result.unwrap_err().consequence(), quota.as_ref());
    assert_eq!(outcomes, [(1, Outcome::Returned(Uploaded::Octets))]);
}

#[test]
fn after_a_bye_the_response_is_not_awaited_for_long() {
    // The time-out of a response is far longer than a test lasts.
    let timeouts = Timeouts {
        response: Duration::from_mins(10),
        ..Timeouts::default()
    };
    let bye = "* BYE Session expired, please login again.\r\n";
    let server = on_first_literal(Reply::Lines(bye));
    let (outcomes, _) = send(&mut server.target_with(1, timeouts), &[MAIL]);
    let Outcome::Uncertain(why) = &outcomes[0].1 else {
        panic!("{outcomes:?}")
    };
    assert!(why.contains("Session expired"), "{why}");
}

#[test]
fn after_a_failed_pass_the_next_one_reconnects() {
    let server = responding_to_first_append("$tag NO System Error (Failure)\r\n");
    let mut gmail = server.target(1);
    assert!(send(&mut gmail, &[MAIL]).1.is_err());
    assert_eq!(send(&mut gmail, &[MAIL]), (vec![(1, stored())], Ok(())));
}

#[test]
fn a_missing_folder_is_created_once() {
    let missing = "$tag NO [TRYCREATE] Folder doesn't exist. (Failure)\r\n";
    let server = on_first_append_line(Reply::Lines(missing));
    let (outcomes, result) = send(&mut server.target(1), &[MAIL]);
    assert_eq!((outcomes, result), (vec![(1, stored())], Ok(())));
    assert_eq!(server.commands("CREATE")[0].line, "CREATE \"Arrived\"");

    let server = ScriptedGmail::start(move |command| {
        let is_wanted = command.line.starts_with("APPEND");
        is_wanted.then_some(Reply::Lines(missing))
    });
    let (outcomes, _) = send(&mut server.target(1), &[MAIL]);
    assert!(matches!(outcomes[0].1, Outcome::Parked(_)));
    assert_eq!(server.commands("CREATE").len(), 1);
}

#[test]
fn nuls_are_removed_and_bare_line_feeds_are_normalized_only_after_bad() {
    let server = ScriptedGmail::start(|_| None);
    let (outcomes, _) = send(&mut server.target(1), &[b"a: b\n\n\0c\0\n"]);
    assert_eq!(outcomes, [(1, stored())]);
    assert_eq!(
        server.commands("APPEND")[1].literal.as_deref(),
        Some(&b"a: b\n\nc\n"[..])
    );

    let server =
        responding_to_first_append("$tag BAD Invalid Arguments: Unable to parse message\r\n");
    let (outcomes, _) = send(&mut server.target(1), &[b"a: b\n\nc\n"]);
    assert_eq!(outcomes, [(1, stored())]);
    let literals: Vec<_> = server
        .commands("APPEND")
        .into_iter()
        .filter_map(|command| command.literal)
        .collect();
    assert_eq!(
        literals,
        [b"a: b\n\nc\n".to_vec(), b"a: b\r\n\r\nc\r\n".to_vec()]
    );
}

#[test]
fn a_rejected_token_is_renewed_once() {
    let first = |command: &Command| {
        command.line.contains("Rmlyc3Q") || command.line.contains(&sasl("FIRST"))
    };
    let server = ScriptedGmail::start(move |command| reject_token(command, first(command)));
    assert_eq!(send(&mut server.target(1), &[MAIL]).1, Ok(()));
    assert_eq!(server.renewals(), 1);

    let server = ScriptedGmail::start(|command| reject_token(command, true));
    let mut gmail = server.target(1);
    let error = gmail.status().unwrap_err();
    assert_eq!(
        (error.kind(), server.renewals()),
        (ErrorKind::Rejected, 1),
        "{error}"
    );
    assert!(matches!(
        error.consequence(),
        Some(Consequence::LoginRejected { .. })
    ));
    assert!(!error.to_string().contains("RENEWED") && !error.to_string().contains("FIRST"));
}

/// The XOAUTH2 credentials with this token.
fn sasl(token: &str) -> String {
    use base64::Engine as _;
    let words = format!("user=alice@gmail.com\x01auth=Bearer {token}\x01\x01");
    base64::engine::general_purpose::STANDARD.encode(words)
}

/// Gmail's rejection of a token: a challenge, and NO after the client's empty line.
fn reject_token(command: &Command, is_rejected: bool) -> Option<Reply> {
    if command.line.starts_with("AUTHENTICATE") && is_rejected {
        return Some(Reply::Lines(
            "+ eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==\r\n",
        ));
    }
    let is_empty_line = command.line.is_empty();
    is_empty_line.then_some(Reply::Lines(
        "a2 NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\r\n",
    ))
}

#[test]
fn a_rejected_login_says_what_the_user_can_do() {
    for (response, kind, expected) in [
        (
            "$tag NO Lookup failed cf29mb85450632edb\r\n",
            ErrorKind::Rejected,
            "target_user",
        ),
        (
            "$tag NO [ALERT] IMAP access is disabled for your domain. x\r\n",
            ErrorKind::Rejected,
            "administrator",
        ),
        (
            "* NO [WEBALERT https://x] Web login required.\r\n$tag NO [ALERT] Please log in via your web browser: https://y (Failure)\r\n",
            ErrorKind::Rejected,
            "browser",
        ),
        (
            "$tag NO [UNAVAILABLE] Temporary System Error\r\n",
            ErrorKind::Unavailable,
            "Temporary System Error",
        ),
        (
            "$tag NO [ALERT] Account exceeded command or bandwidth limits. (Failure)\r\n",
            ErrorKind::Resting,
            "bandwidth",
        ),
        (
            "$tag NO [ALERT] Too many simultaneous connections. (Failure)\r\n",
            ErrorKind::Resting,
            "Too many",
        ),
    ] {
        let server = ScriptedGmail::start(move |command| {
            let is_wanted = command.line.starts_with("AUTHENTICATE");
            is_wanted.then_some(Reply::Lines(response))
        });
        let error = server.target(1).status().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(server.renewals(), 0);
    }
}

#[test]
fn after_too_many_connections_the_pass_goes_on_with_fewer() {
    let server = ScriptedGmail::start(|command| {
        let is_wanted = command.line.starts_with("AUTHENTICATE") && command.connection > 1;
        let many = "$tag NO [ALERT] Too many simultaneous connections. (Failure)\r\n";
        is_wanted.then_some(Reply::Lines(many))
    });
    let mut gmail = server.target(4);
    gmail.start_pass(1_000);
    let messages = [MAIL; 60];
    let (outcomes, result) = send(&mut gmail, &messages);
    assert_eq!(result, Ok(()));
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == stored()));
    assert_eq!(outcomes.len(), 60);

    let server = ScriptedGmail::start(|command| {
        let many = "$tag NO [ALERT] Too many simultaneous connections. (Failure)\r\n";
        command
            .line
            .starts_with("AUTHENTICATE")
            .then_some(Reply::Lines(many))
    });
    let error = send(&mut server.target(4), &[MAIL]).1.unwrap_err();
    assert_eq!(
        error.consequence(),
        Some(&Consequence::Rest(RestReason::Connections))
    );
}

#[test]
fn the_number_of_append_connections_depends_on_the_backlog() {
    for (backlog, max, expected) in [(9, 4, 1), (25, 4, 2), (100, 4, 4), (100, 1, 1)] {
        let server = ScriptedGmail::start(|_| None);
        let mut gmail = server.target(max);
        gmail.start_pass(backlog);
        let messages = vec![MAIL; backlog];
        let (outcomes, result) = send(&mut gmail, &messages);
        assert_eq!((outcomes.len(), result), (backlog, Ok(())));
        drop(gmail);
        assert_eq!(
            server.commands("AUTHENTICATE").len(),
            expected,
            "{backlog} messages, at most {max} connections"
        );
        assert_eq!(server.wait_for_commands("LOGOUT", expected), expected);
    }
}

#[test]
fn the_status_contains_the_append_limit_and_the_next_uid() {
    let server = ScriptedGmail::start(|_| None);
    let mut gmail = server.target(1);
    let status = gmail.status().unwrap();
    assert_eq!(status.append_limit, Some(35_651_584));
    assert_eq!(status.mark, Some(mark()));
    let opened = server.commands("EXAMINE");
    assert_eq!(opened[0].line, "EXAMINE \"[Gmail]/Alle Nachrichten\"");
    // Once for each pass, on the same connection.
    gmail.finish().unwrap();
    assert_eq!(gmail.status().unwrap(), status);
    assert_eq!(server.commands("EXAMINE").len(), 1);
    gmail.start_pass(0);
    assert_eq!(gmail.status().unwrap(), status);
    assert_eq!(server.commands("EXAMINE").len(), 2);
    assert_eq!(server.commands("AUTHENTICATE").len(), 1);
}

#[test]
fn a_rejected_examine_that_concerns_the_account_lets_it_rest() {
    for (response, rest) in [
        ("$tag NO [OVERQUOTA] full\r\n", RestReason::Quota),
        (
            "$tag NO [ALERT] Account exceeded command or bandwidth limits. (Failure)\r\n",
            RestReason::Quota,
        ),
        (
            "$tag NO [ALERT] Too many simultaneous connections. (Failure)\r\n",
            RestReason::Connections,
        ),
    ] {
        let refuses = Reply::Lines(response);
        let server = ScriptedGmail::start(move |command| {
            let is_wanted = command.line.starts_with("EXAMINE");
            is_wanted.then(|| refuses.clone())
        });
        let error = server.target(1).status().unwrap_err();
        let expected = Consequence::Rest(rest);
        assert_eq!(error.consequence(), Some(&expected), "{response}");
        assert_eq!(error.kind(), ErrorKind::Resting, "{response}");
        assert_eq!(server.commands("EXAMINE").len(), 1, "{response}");
    }
}

fn mark() -> Mark {
    Mark {
        uid_validity: UidValidity::new(7).unwrap(),
        uid_next: Uid::new(66).unwrap(),
    }
}

/// A server with one message in All Mail, UID 70, with these fields, which every search finds.
fn holding(header: &'static str) -> ScriptedGmail {
    ScriptedGmail::start(move |command| match command.line.as_str() {
        line if line.starts_with("UID SEARCH") => Some(Reply::Lines(
            "* SEARCH 70\r\n$tag OK SEARCH completed (Success)\r\n",
        )),
        line if line.starts_with("UID FETCH") => Some(Reply::Lines(header)),
        _ => None,
    })
}

#[test]
fn a_message_is_found_only_if_id_and_header_match() {
    let server = holding(
        "* 1 FETCH (UID 70 RFC822.SIZE 99 BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)] {33}\r\n\
         Message-ID: <a@b>\r\nSubject: x\r\n\r\n)\r\n$tag OK Success\r\n",
    );
    let queries = [
        query("Message-ID: <a@b>\r\nSubject: x\r\n\r\n"),
        query("Message-ID: <a@b>\r\nSubject: y\r\n\r\n"),
        query("Message-ID: <c@d>\r\nSubject: x\r\n\r\n"),
        query("Subject: x\r\n\r\n"),
    ];
    let results = server.target(1).holds(&queries).unwrap();
    assert_eq!(
        results,
        [
            LookupResult::Found,
            LookupResult::OtherMessage,
            LookupResult::NotFound,
            LookupResult::NotFound
        ]
    );
    let searches = server.commands("UID SEARCH");
    assert_eq!(searches.len(), 1);
    assert!(
        searches[0].line.starts_with("UID SEARCH OR "),
        "{}",
        searches[0].line
    );
}

#[test]
fn a_rejected_search_is_repeated_for_each_id_and_an_outage_is_an_error() {
    let server = ScriptedGmail::start(|command| {
        let refuses = command.line.contains(" OR ") || command.line.contains("odd");
        (command.line.starts_with("UID SEARCH") && refuses)
            .then_some(Reply::Lines("$tag BAD Could not parse command\r\n"))
    });
    let queries = [
        query("Message-ID: <odd>\r\n\r\n"),
        query("Message-ID: <even>\r\n\r\n"),
    ];
    let results = server.target(1).holds(&queries).unwrap();
    assert_eq!(results, [LookupResult::NotFound, LookupResult::NotFound]);
    assert_eq!(server.commands("UID SEARCH").len(), 3);

    let server = ScriptedGmail::start(|command| {
        let outage = "$tag NO [UNAVAILABLE] Temporary System Problem. (Failure)\r\n";
        command
            .line
            .starts_with("UID SEARCH")
            .then_some(Reply::Lines(outage))
    });
    let error = server.target(1).holds(&queries).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn a_dead_lookup_connection_is_reopened_once() {
    let server = ScriptedGmail::start(|command| {
        let is_wanted = command.line.starts_with("UID SEARCH") && command.connection == 0;
        is_wanted.then_some(Reply::LinesThenClose(
            "* BYE Session expired, please login again.\r\n",
        ))
    });
    let queries = [query("Message-ID: <a@b>\r\n\r\n")];
    assert_eq!(
        server.target(1).holds(&queries).unwrap(),
        [LookupResult::NotFound]
    );

    let server = ScriptedGmail::start(|command| {
        command
            .line
            .starts_with("UID SEARCH")
            .then_some(Reply::LinesThenClose(""))
    });
    let error = server.target(1).holds(&queries).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(server.commands("UID SEARCH").len(), 2);
}

#[test]
fn a_hostile_id_injects_no_command() {
    let server = ScriptedGmail::start(|_| None);
    let queries = [
        query("Message-ID: <a\"\r\n b\" DELETED \\@x>\r\n\r\n"),
        query("Message-ID: <gr\u{fc}n@x>\r\n\r\n"),
        query("Message-ID: <{3}@x>\r\n\r\n"),
    ];
    server.target(1).holds(&queries).unwrap();
    let searches: Vec<String> = server
        .commands("UID")
        .into_iter()
        .map(|command| command.line)
        .collect();
    assert_eq!(
        searches,
        [
            "UID SEARCH OR HEADER Message-ID \"<a\\\" b\\\" DELETED \\\\@x>\" \
             HEADER Message-ID \"<{3}@x>\"",
            "UID SEARCH X-GM-RAW \"rfc822msgid:{3}@x\"",
        ]
    );
}

#[test]
fn a_sent_message_is_found_above_the_mark_even_if_the_search_misses_it() {
    let header = "* 1 FETCH (UID 70 RFC822.SIZE 99 BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)] {16}\r\n\
         Subject: x\r\n\r\n\r\n)\r\n$tag OK Success\r\n";
    let whole =
        "* 1 FETCH (UID 70 BODY[] {20}\r\nSubject: x\r\n\r\nbody\r\n)\r\n$tag OK Success\r\n";
    let server = ScriptedGmail::start(move |command| match command.line.as_str() {
        "UID SEARCH UID 66:*" => Some(Reply::Lines("* SEARCH 70 12\r\n$tag OK done\r\n")),
        "UID FETCH 70 (UID BODY.PEEK[])" => Some(Reply::Lines(whole)),
        line if line.starts_with("UID FETCH") => Some(Reply::Lines(header)),
        _ => None,
    });
    let sent = |body: &[u8], uid_validity: u32| LookupQuery {
        scope: SearchScope::AllMailTrashAndJunk,
        uncertain: Some(UncertainAppend {
            method: DeliveryMethod::Append,
            at: now(),
            mark: Some(Mark {
                uid_validity: UidValidity::new(uid_validity).unwrap(),
                ..mark()
            }),
            body: BodyDigest::of_message(body),
        }),
        ..query("Subject: x\r\n\r\n")
    };
    let mut gmail = server.target(1);
    let mut ask = |query: LookupQuery| gmail.holds(&[query]).unwrap()[0];
    assert_eq!(
        ask(sent(b"Subject: x\r\n\r\nbody\r\n", 7)),
        LookupResult::Found
    );
    assert_eq!(
        ask(sent(b"Subject: x\r\n\r\nother\r\n", 7)),
        LookupResult::NotFound
    );
    assert_eq!(
        ask(sent(b"Subject: x\r\n\r\nbody\r\n", 8)),
        LookupResult::NotFound
    );
    let pages = server.commands("UID FETCH 70 (UID RFC822.SIZE");
    assert_eq!(
        pages.len(),
        2,
        "the message below the mark is not asked for"
    );
    // A session sees only the messages that existed when it opened the folder.
    assert_eq!(
        server
            .commands("EXAMINE \"[Gmail]/Alle Nachrichten\"")
            .len(),
        3
    );
}

#[test]
fn a_candidate_whose_body_cannot_be_fetched_makes_the_lookup_unclear() {
    let header = "* 1 FETCH (UID 70 RFC822.SIZE 38 BODY[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)] {33}\r\n\
         Message-ID: <a@b>\r\nSubject: x\r\n\r\n)\r\n$tag OK Success\r\n";
    for no_body in [
        "$tag NO Some messages could not be FETCHed (Failure)\r\n",
        "* 1 FETCH (UID 70 BODY[] NIL)\r\n$tag OK Success\r\n",
        "$tag OK Success\r\n",
    ] {
        let server = ScriptedGmail::start(move |command| match command.line.as_str() {
            "UID FETCH 70 (UID BODY.PEEK[])" => Some(Reply::Lines(no_body)),
            line if line.starts_with("UID SEARCH") => {
                Some(Reply::Lines("* SEARCH 70\r\n$tag OK done\r\n"))
            }
            line if line.starts_with("UID FETCH") => Some(Reply::Lines(header)),
            _ => None,
        });
        let query = LookupQuery {
            uncertain: Some(UncertainAppend {
                method: DeliveryMethod::Append,
                at: now(),
                mark: Some(mark()),
                body: BodyDigest::of_message(MAIL),
            }),
            ..query("Message-ID: <a@b>\r\nSubject: x\r\n\r\n")
        };
        let results = server.target(1).holds(&[query]).unwrap();
        assert_eq!(results, [LookupResult::Unclear], "{no_body}");
    }
}

#[test]
fn without_all_mail_the_target_folder_is_searched_once_it_exists() {
    let lists = |begin: &'static str| {
        move |command: &Command| {
            command
                .line
                .starts_with("LIST")
                .then_some(Reply::Lines(begin))
        }
    };
    let server = ScriptedGmail::start(lists(
        "* LIST (\\HasNoChildren) \"/\" \"Arrived\"\r\n$tag OK Success\r\n",
    ));
    let queries = [query("Message-ID: <a@b>\r\n\r\n")];
    let mut gmail = server.target(1);
    assert_eq!(gmail.holds(&queries).unwrap(), [LookupResult::NotFound]);
    assert_eq!(server.commands("EXAMINE")[0].line, "EXAMINE \"Arrived\"");

    let server = ScriptedGmail::start(lists("$tag OK Success\r\n"));
    let mut gmail = server.target(1);
    for pass in 1..3 {
        gmail.start_pass(0);
        assert_eq!(gmail.status().unwrap().mark, None);
        assert_eq!(gmail.holds(&queries).unwrap(), [LookupResult::NotFound]);
        assert_eq!(server.commands("LIST").len(), pass);
    }
    assert!(server.commands("EXAMINE").is_empty());
}

#[test]
fn a_message_that_one_connection_returns_is_sent_by_another() {
    let server = ScriptedGmail::start(|command| {
        let many = "$tag NO [ALERT] Too many simultaneous connections. (Failure)\r\n";
        let is_wanted = command.line.starts_with("APPEND") && command.connection == 1;
        is_wanted.then_some(Reply::Lines(many))
    });
    let mut gmail = server.target(2);
    gmail.start_pass(1_000);
    let (outcomes, result) = send(&mut gmail, &[MAIL; 300]);
    assert_eq!(result, Ok(()));
    assert_eq!(outcomes.len(), 300);
    assert!(outcomes.iter().all(|(_, outcome)| *outcome == stored()));
    let refused = server
        .commands("APPEND")
        .iter()
        .filter(|command| command.connection == 1)
        .count();
    assert_eq!(refused, 1);
}
