//! Several APPENDs before the first is answered: what is sent when, and which outcome each message has.
//!
//! The first message of a test is in a synchronizing literal: the server asks for it when all messages
//! are submitted, so that the others follow it as far as there is room.

use std::time::Duration;

use imap_to_gmail_sync::error::{Consequence, ErrorKind, RestReason, Result};
use imap_to_gmail_sync::message::{Uid, UidValidity};
use imap_to_gmail_sync::sync::{AppendUid, Outcome, Receipt, Target, Uploaded};
use imap_to_gmail_sync::timeouts::Timeouts;

use crate::scripted_gmail::{AppendLine, ScriptedGmail, Talk, message};

const PLAIN: &str = "$tag OK [CAPABILITY IMAP4rev1 UIDPLUS] Success\r\n";
const LITERAL_MINUS: &str = "$tag OK [CAPABILITY IMAP4rev1 UIDPLUS LITERAL- QUOTA] Success\r\n";
const LITERAL_PLUS: &str = "$tag OK [CAPABILITY IMAP4rev1 UIDPLUS LITERAL+] Success\r\n";

/// Too large for a non-synchronizing literal, whatever the server announces.
const LARGE: usize = 100_001;

/// More than the buffers between the two sockets can hold, and less than a connection's limit.
const HUGE: usize = 8_000_000;

/// A message of this size.
fn mail(size: usize) -> Vec<u8> {
    let mut octets = b"Subject: x\r\n\r\n".to_vec();
    octets.resize(size, b'x');
    octets
}

fn mails(sizes: &[usize]) -> Vec<Vec<u8>> {
    sizes.iter().map(|size| mail(*size)).collect()
}

/// The outcome of a message that is stored under this UID.
fn stored(uid: u32) -> Outcome {
    Outcome::Delivered(Receipt::Appended(AppendUid {
        uid_validity: UidValidity::new(1).unwrap(),
        uid: Uid::new(uid).unwrap(),
    }))
}

/// The outcome of a message that the server stored when no script ran.
fn stored_later() -> Outcome {
    stored(66)
}

/// Sends messages with the UIDs 1, 2, …; returns their outcomes in this order.
fn send(
    server: &ScriptedGmail,
    target: &mut impl Target,
    mails: &[Vec<u8>],
) -> (Vec<Outcome>, Result<()>) {
    let mut submitted = Ok(());
    for (octets, uid) in mails.iter().zip(1..) {
        submitted = submitted.and_then(|()| target.submit(message(uid, octets)));
    }
    server.note_all_submitted();
    let finished = target.finish();
    let mut outcomes: Vec<(Uid, Outcome)> = std::iter::from_fn(|| target.settled()).collect();
    outcomes.sort_by_key(|(uid, _)| *uid);
    let uids: Vec<u32> = outcomes.iter().map(|(uid, _)| uid.get()).collect();
    let expected: Vec<u32> = (1..).take(mails.len()).collect();
    assert_eq!(uids, expected, "each message has one outcome");
    let outcomes = outcomes.into_iter().map(|(_, outcome)| outcome);
    (outcomes.collect(), submitted.and(finished))
}

/// Takes the first message and the lines of the others, with the messages that nobody has to ask for.
fn take_first(talk: &mut Talk<'_>, others: usize) -> Vec<AppendLine> {
    let first = talk.read_append();
    assert!(!first.is_non_synchronizing);
    talk.wait_for_all_submitted();
    talk.say("+ go ahead");
    talk.read_message(&first);
    let mut appends = vec![first];
    for _ in 0..others {
        let append = talk.read_append();
        if append.is_non_synchronizing {
            talk.read_message(&append);
        }
        appends.push(append);
    }
    appends
}

fn is_uncertain(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Uncertain(_))
}

#[test]
fn the_next_append_follows_a_message_before_its_answer_and_its_message_only_the_plus() {
    let server = ScriptedGmail::talking(PLAIN, 1, |talk| {
        let first = talk.read_append();
        talk.wait_for_all_submitted();
        talk.assert_silence();
        talk.say("+ go ahead");
        talk.read_message(&first);
        let second = talk.read_append();
        assert!(!first.is_non_synchronizing && !second.is_non_synchronizing);
        talk.assert_silence();
        talk.say_stored(&first, 11);
        talk.assert_silence();
        talk.say("+ go ahead");
        assert_eq!(talk.read_message(&second), mail(20));
        talk.say_stored(&second, 12);
        true
    });
    let (outcomes, result) = send(&server, &mut server.target(1), &mails(&[10_000, 20]));
    server.assert_talked(1);
    assert_eq!((outcomes, result), (vec![stored(11), stored(12)], Ok(())));
}

#[test]
fn a_message_is_sent_unasked_as_far_as_the_server_permits_that() {
    for (log_in, sizes, unasked) in [
        (PLAIN, [10, 4096, 4097], [false, false, false]),
        (LITERAL_MINUS, [10, 4096, 4097], [true, true, false]),
        (LITERAL_PLUS, [4097, 100_000, 100_001], [true, true, false]),
    ] {
        let server = ScriptedGmail::talking(log_in, 1, move |talk| {
            let mut appends = take_first(talk, 0);
            let mut stored = 0;
            for is_unasked in unasked {
                let append = talk.read_append();
                assert_eq!(append.is_non_synchronizing, is_unasked, "{}", append.octets);
                if !is_unasked {
                    talk.assert_silence();
                    // A server asks for a message when it has taken those before it.
                    say_all_stored(talk, &appends, &mut stored);
                    talk.say("+ go ahead");
                }
                talk.read_message(&append);
                appends.push(append);
            }
            say_all_stored(talk, &appends, &mut stored);
            true
        });
        let sizes = [&[LARGE], &sizes[..]].concat();
        let (outcomes, result) = send(&server, &mut server.target(1), &mails(&sizes));
        server.assert_talked(1);
        let expected = [1, 2, 3, 4].map(stored).to_vec();
        assert_eq!((outcomes, result), (expected, Ok(())), "{log_in}");
    }
}

/// Answers those of the messages that are not answered yet.
fn say_all_stored(talk: &mut Talk<'_>, appends: &[AppendLine], stored: &mut usize) {
    for (append, uid) in appends.iter().zip(1..).skip(*stored) {
        talk.say_stored(append, uid);
    }
    *stored = appends.len();
}

#[test]
fn a_plus_for_a_message_that_was_sent_unasked_asks_for_no_other() {
    let server = ScriptedGmail::talking(LITERAL_MINUS, 1, |talk| {
        let appends = take_first(talk, 2);
        talk.say("+ for a literal that needs none");
        talk.say_stored(&appends[0], 1);
        talk.assert_silence();
        talk.say(&format!("{} NO not this one (Failure)", appends[2].tag));
        talk.say_stored(&appends[1], 2);
        true
    });
    let sizes = [LARGE, 20, LARGE];
    let (outcomes, result) = send(&server, &mut server.target(1), &mails(&sizes));
    server.assert_talked(1);
    assert_eq!(result, Ok(()));
    assert_eq!(outcomes[..2], [stored(1), stored(2)]);
    assert!(matches!(outcomes[2], Outcome::Parked(_)), "{outcomes:?}");
}

#[test]
fn each_answer_belongs_to_the_message_of_its_tag() {
    let server = ScriptedGmail::talking(LITERAL_MINUS, 1, |talk| {
        let appends = take_first(talk, 4);
        talk.say_stored(&appends[3], 4);
        talk.say("zz9 OK [APPENDUID 1 99] (Success)");
        talk.say("a9999 NO unknown (Failure)");
        talk.say(&format!("{} NO not this one (Failure)", appends[1].tag));
        for at in [4, 0, 2] {
            talk.say_stored(&appends[at], u32::try_from(at).unwrap() + 1);
        }
        true
    });
    let sizes = [LARGE, 20, 30, 40, 50];
    let (outcomes, result) = send(&server, &mut server.target(1), &mails(&sizes));
    server.assert_talked(1);
    assert_eq!(result, Ok(()));
    assert!(matches!(outcomes[1], Outcome::Parked(_)), "{outcomes:?}");
    for (at, uid) in [(0, 1), (2, 3), (3, 4), (4, 5)] {
        assert_eq!(outcomes[at], stored(uid));
    }
}

#[test]
fn after_a_cut_what_was_sent_is_uncertain_and_what_was_announced_is_sent_again_once() {
    let server = ScriptedGmail::talking(LITERAL_MINUS, 1, |talk| {
        take_first(talk, 3);
        false
    });
    let sizes = [LARGE, 20, 30, LARGE];
    let (outcomes, result) = send(&server, &mut server.target(1), &mails(&sizes));
    server.assert_talked(1);
    assert_eq!(result, Ok(()));
    assert!(outcomes[..3].iter().all(is_uncertain), "{outcomes:?}");
    assert_eq!(outcomes[3], stored_later());
    let again = server.commands("APPEND");
    let again = again.iter().filter(|append| append.connection > 0);
    let again: Vec<Option<Vec<u8>>> = again.map(|append| append.literal.clone()).collect();
    assert_eq!(again, [None, Some(mail(LARGE))]);

    let server = ScriptedGmail::talking(LITERAL_MINUS, 2, |talk| {
        match talk.connection {
            0 => drop(take_first(talk, 1)),
            _ => drop(talk.read_append()),
        }
        false
    });
    let (outcomes, _) = send(&server, &mut server.target(1), &mails(&[LARGE, LARGE]));
    server.assert_talked(2);
    assert!(is_uncertain(&outcomes[0]), "{outcomes:?}");
    assert!(matches!(outcomes[1], Outcome::Unsent(_)), "{outcomes:?}");
    assert_eq!(server.commands("APPEND").len(), 2);
}

#[test]
fn a_message_that_was_partly_sent_is_unsent_and_the_answers_that_came_meanwhile_count() {
    let server = ScriptedGmail::talking(PLAIN, 1, |talk| {
        let appends = take_first(talk, 1);
        talk.say("+ go ahead");
        talk.read_octets(10_000);
        talk.say_stored(&appends[0], 7);
        false
    });
    let (outcomes, result) = send(&server, &mut server.target(1), &mails(&[20, HUGE]));
    server.assert_talked(1);
    assert_eq!((outcomes[0].clone(), result), (stored(7), Ok(())));
    assert!(matches!(outcomes[1], Outcome::Unsent(_)), "{outcomes:?}");
}

#[test]
fn a_plus_that_no_append_waits_for_sends_nothing() {
    let server = ScriptedGmail::talking(LITERAL_MINUS, 1, |talk| {
        let appends = take_first(talk, 1);
        talk.say("+ and again");
        talk.say("+ and again");
        talk.assert_silence();
        talk.say_stored(&appends[0], 1);
        talk.say("+ and again");
        talk.assert_silence();
        talk.say_stored(&appends[1], 2);
        true
    });
    let (outcomes, result) = send(&server, &mut server.target(1), &mails(&[LARGE, 20]));
    server.assert_talked(1);
    assert_eq!((outcomes, result), (vec![stored(1), stored(2)], Ok(())));
}

#[test]
fn an_ok_for_a_message_that_was_not_sent_is_no_success() {
    let server = ScriptedGmail::talking(PLAIN, 1, |talk| {
        let appends = take_first(talk, 1);
        talk.say_stored(&appends[1], 9);
        talk.assert_closed();
        false
    });
    let (outcomes, result) = send(&server, &mut server.target(1), &mails(&[20, 30]));
    server.assert_talked(1);
    assert_eq!(result, Ok(()));
    assert!(is_uncertain(&outcomes[0]), "{outcomes:?}");
    assert_eq!(outcomes[1], stored_later());

    let server = ScriptedGmail::talking(PLAIN, 1, |talk| {
        let appends = take_first(talk, 1);
        talk.say("+ go ahead");
        talk.read_octets(10_000);
        talk.say_stored(&appends[0], 8);
        talk.say_stored(&appends[1], 9);
        false
    });
    let (outcomes, _) = send(&server, &mut server.target(1), &mails(&[20, HUGE]));
    server.assert_talked(1);
    assert_eq!(outcomes[0], stored(8));
    assert!(matches!(outcomes[1], Outcome::Unsent(_)), "{outcomes:?}");
}

#[test]
fn a_folder_that_is_missing_for_several_messages_is_created_once() {
    let server = ScriptedGmail::talking(LITERAL_MINUS, 1, |talk| {
        for append in take_first(talk, 3) {
            let missing = "NO [TRYCREATE] Folder doesn't exist. (Failure)";
            talk.say(&format!("{} {missing}", append.tag));
        }
        true
    });
    let sizes = [LARGE, 20, 30, 40];
    let (outcomes, result) = send(&server, &mut server.target(1), &mails(&sizes));
    server.assert_talked(1);
    assert_eq!((outcomes, result), (vec![stored_later(); 4], Ok(())));
    assert_eq!(server.commands("CREATE").len(), 1);
    let appends = server.commands("APPEND").into_iter();
    let literals: Vec<Vec<u8>> = appends.filter_map(|append| append.literal).collect();
    assert_eq!(literals, mails(&sizes));
}

#[test]
fn a_message_with_bare_line_feeds_is_changed_and_the_others_are_not() {
    let server = ScriptedGmail::talking(LITERAL_MINUS, 1, |talk| {
        let appends = take_first(talk, 3);
        talk.say(&format!("{} BAD Unable to parse message", appends[2].tag));
        for at in [0, 1, 3] {
            talk.say_stored(&appends[at], u32::try_from(at).unwrap() + 1);
        }
        true
    });
    let mut mails = mails(&[LARGE, 20, 30, 40]);
    mails[2] = b"a: b\n\nc\n".to_vec();
    let (outcomes, result) = send(&server, &mut server.target(1), &mails);
    server.assert_talked(1);
    assert_eq!(result, Ok(()));
    assert_eq!(outcomes, [stored(1), stored(2), stored_later(), stored(4)]);
    let appends = server.commands("APPEND").into_iter();
    let literals: Vec<Vec<u8>> = appends.filter_map(|append| append.literal).collect();
    assert_eq!(literals, [b"a: b\r\n\r\nc\r\n".to_vec()]);
}

#[test]
fn a_limit_of_the_account_ends_the_pass_after_the_answers_to_what_was_sent() {
    for second in [
        "OK [APPENDUID 1 2] (Success)",
        "NO [OVERQUOTA] full (Failure)",
    ] {
        let server = ScriptedGmail::talking(LITERAL_MINUS, 1, move |talk| {
            let appends = take_first(talk, 2);
            talk.say(&format!("{} NO [OVERQUOTA] full (Failure)", appends[0].tag));
            talk.assert_silence();
            talk.say(&format!("{} {second}", appends[1].tag));
            // No LOGOUT, and no question for the quota: the server waits for a message.
            talk.assert_closed();
            false
        });
        let sizes = [LARGE, 20, LARGE, 30];
        let (outcomes, result) = send(&server, &mut server.target(1), &mails(&sizes));
        server.assert_talked(1);
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Resting);
        let quota = Consequence::Rest(RestReason::Quota);
        assert_eq!(error.consequence(), Some(&quota));
        let second = match second {
            ok if ok.starts_with("OK") => stored(2),
            _ => Outcome::Returned(Uploaded::Octets),
        };
        let returned = || Outcome::Returned(Uploaded::Octets);
        assert_eq!(outcomes, [returned(), second, returned(), returned()]);
        assert_eq!(server.commands("AUTHENTICATE").len(), 1);
    }
}

#[test]
fn a_limit_of_the_account_counts_also_behind_another_failure() {
    let server = ScriptedGmail::talking(LITERAL_MINUS, 1, |talk| {
        let appends = take_first(talk, 1);
        talk.say(&format!("{} NO System Error (Failure)", appends[0].tag));
        talk.say(&format!("{} NO [OVERQUOTA] full (Failure)", appends[1].tag));
        true
    });
    let (outcomes, result) = send(&server, &mut server.target(1), &mails(&[LARGE, 20]));
    server.assert_talked(1);
    let quota = Consequence::Rest(RestReason::Quota);
    assert_eq!(result.unwrap_err().consequence(), Some(&quota));
    assert_eq!(
        outcomes,
        [
            Outcome::Returned(Uploaded::Octets),
            Outcome::Returned(Uploaded::Octets)
        ]
    );
}

#[test]
fn a_server_that_does_not_answer_a_pipelined_append_gets_one_at_a_time() {
    let server = ScriptedGmail::talking(LITERAL_MINUS, 2, |talk| {
        if talk.connection == 0 {
            let appends = take_first(talk, 2);
            talk.say_stored(&appends[0], 1);
            talk.assert_closed();
            return false;
        }
        talk.wait_for_all_submitted();
        for uid in 1..4 {
            let append = talk.read_append();
            assert!(!append.is_non_synchronizing);
            talk.say("+ go ahead");
            talk.read_message(&append);
            talk.assert_silence();
            talk.say_stored(&append, uid);
        }
        true
    });
    let timeouts = Timeouts {
        response: Duration::from_millis(600),
        ..Timeouts::default()
    };
    let mut target = server.target_with(1, timeouts);
    let (outcomes, result) = send(&server, &mut target, &mails(&[LARGE, 20, 30]));
    server.assert_talked(1);
    assert_eq!((outcomes[0].clone(), result), (stored(1), Ok(())));
    assert!(outcomes[1..].iter().all(is_uncertain), "{outcomes:?}");
    let (outcomes, result) = send(&server, &mut target, &mails(&[40, 50, LARGE]));
    server.assert_talked(2);
    let expected = [1, 2, 3].map(stored).to_vec();
    assert_eq!((outcomes, result), (expected, Ok(())));
}

#[test]
fn a_server_that_closes_the_connection_at_pipelined_appends_gets_one_at_a_time() {
    let server = ScriptedGmail::talking(LITERAL_MINUS, 4, |talk| {
        if talk.connection < 3 {
            take_first(talk, 1);
            return false;
        }
        talk.wait_for_all_submitted();
        for uid in 1..3 {
            let append = talk.take_append();
            assert!(!append.is_non_synchronizing);
            talk.assert_silence();
            talk.say_stored(&append, uid);
        }
        true
    });
    let mut target = server.target(1);
    for cuts in 1..=3 {
        let (outcomes, result) = send(&server, &mut target, &mails(&[LARGE, 20]));
        server.assert_talked(cuts);
        assert_eq!(result, Ok(()));
        assert!(outcomes.iter().all(is_uncertain), "{outcomes:?}");
    }
    let (outcomes, result) = send(&server, &mut target, &mails(&[LARGE, 20]));
    server.assert_talked(4);
    assert_eq!((outcomes, result), (vec![stored(1), stored(2)], Ok(())));
}

#[test]
fn an_idle_connection_that_the_server_ended_gets_no_message_unasked() {
    for end in ["the end", "OK, BYE", "BYE, OK"] {
        let server = ScriptedGmail::talking(LITERAL_MINUS, 1, move |talk| {
            let appends = take_first(talk, 0);
            let ok = format!("{} OK [APPENDUID 1 1] (Success)", appends[0].tag);
            let bye = "* BYE Session expired, please login again.";
            if end == "BYE, OK" {
                talk.say(&format!("{bye}\r\n{ok}"));
                talk.assert_closed();
            } else if end == "OK, BYE" {
                // In one packet: it has arrived when the next message comes.
                talk.say(&format!("{ok}\r\n{bye}"));
                talk.wait_for_all_submitted();
                assert!(!talk.read_append().is_non_synchronizing);
                talk.assert_silence();
            } else {
                talk.say(&ok);
            }
            false
        });
        let mut target = server.target(1);
        let (outcomes, _) = send(&server, &mut target, &mails(&[LARGE]));
        assert_eq!(outcomes, [stored(1)]);
        if end == "the end" {
            server.assert_talked(1);
        }
        let (outcomes, result) = send(&server, &mut target, &mails(&[20]));
        server.assert_talked(1);
        assert_eq!((outcomes, result), (vec![stored_later()], Ok(())), "{end}");
    }
}

#[test]
fn at_most_sixteen_messages_and_256_kib_are_on_their_way_unasked() {
    for (sizes, most) in [
        ([&[LARGE], &[20; 20][..]].concat(), 16),
        (vec![LARGE, 100_000, 100_000, 100_000], 3),
    ] {
        let server = ScriptedGmail::talking(LITERAL_PLUS, 1, move |talk| {
            let appends = take_first(talk, most - 1);
            talk.assert_silence();
            talk.say_stored(&appends[0], 1);
            if most == 16 {
                // One more for each answer.
                let next = talk.take_append();
                talk.assert_silence();
                talk.say_stored(&next, 1);
            }
            for append in &appends[1..] {
                talk.say_stored(append, 1);
            }
            true
        });
        let (outcomes, result) = send(&server, &mut server.target(1), &mails(&sizes));
        server.assert_talked(1);
        assert_eq!(result, Ok(()));
        let is_stored = |outcome: &&Outcome| matches!(outcome, Outcome::Delivered(_));
        assert_eq!(outcomes.iter().filter(is_stored).count(), sizes.len());
    }
}
