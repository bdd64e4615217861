//! The contract of `Target`.

use chrono::Utc;
use imap_to_gmail_sync::delivery::gmail_imap::GmailTarget;
use imap_to_gmail_sync::error::{Consequence, ErrorKind};
use imap_to_gmail_sync::message::{
    BodyDigest, DeliveryMethod, Flags, Identity, Mark, Message, MessageId, Uid, UidValidity,
};
use imap_to_gmail_sync::sync::{
    AppendUid, LookupQuery, LookupResult, Outcome, Receipt, SearchScope, Target, UncertainAppend,
};

use crate::targets::Account;
use crate::{Mail, date, mail, with_id};

/// Runs each of these tests on each target.
macro_rules! on_each_server {
    ($($test:ident)*) => {
        mod dovecot {
            $(#[test]
            fn $test() {
                super::$test(&crate::targets::Dovecot::start());
            })*
        }
        mod double {
            $(#[test]
            fn $test() {
                super::$test(&crate::targets::Double::start());
            })*
        }
    };
}

on_each_server! {
    a_message_arrives_unchanged_with_date_and_flags_and_its_uid_is_returned
    octets_of_all_kinds_arrive
    many_messages_have_one_outcome_each
    a_present_message_is_found_by_id_and_header
    unusual_ids_are_found_and_not_confused
    lookups_in_a_large_backlog_find_their_messages
    a_message_in_the_trash_is_found_only_by_a_search_everywhere
    a_sent_message_is_recognized_by_its_content_alone
    the_mark_is_the_uid_of_the_next_message
    a_missing_folder_is_created
    a_connection_that_was_closed_meanwhile_is_reopened
    an_invalid_token_is_rejected
    a_pass_without_messages_sends_no_command
}

fn message(uid: u32, mail: &Mail) -> Message {
    let is_set = |flag| mail.flags.contains(flag);
    Message {
        uid: Uid::new(uid).unwrap(),
        id: Identity::of_header(&mail.octets)
            .id
            .unwrap_or_else(|| MessageId::of_octets(&mail.octets)),
        internal_date: Some(mail.date),
        flags: Flags {
            seen: is_set("\\Seen"),
            flagged: is_set("\\Flagged"),
            answered: is_set("\\Answered"),
        },
        method: DeliveryMethod::Append,
        octets: mail.octets.clone(),
    }
}

/// Sends messages and asserts that all are stored; returns their UIDs in the same order.
fn send(target: &mut GmailTarget, mails: &[Mail]) -> Vec<AppendUid> {
    for (mail, uid) in mails.iter().zip(1..) {
        target.submit(message(uid, mail)).unwrap();
    }
    target.finish().unwrap();
    let mut outcomes: Vec<_> = std::iter::from_fn(|| target.settled()).collect();
    outcomes.sort_by_key(|(uid, _)| *uid);
    let numbers: Vec<usize> = outcomes.iter().map(|(uid, _)| uid.get() as usize).collect();
    assert_eq!(numbers, (1..=mails.len()).collect::<Vec<_>>());
    outcomes
        .into_iter()
        .map(|(uid, outcome)| match outcome {
            Outcome::Delivered(Receipt::Appended(place)) => place,
            other => panic!("{uid}: {other:?}"),
        })
        .collect()
}

fn query(octets: &[u8]) -> LookupQuery {
    LookupQuery {
        uid: Uid::MIN,
        identity: Identity::of_header(octets),
        date: None,
        octets: None,
        scope: SearchScope::AllMail,
        uncertain: None,
    }
}

fn everywhere(octets: &[u8]) -> LookupQuery {
    LookupQuery {
        scope: SearchScope::AllMailTrashAndJunk,
        ..query(octets)
    }
}

fn uncertain_append(octets: &[u8], mark: Option<Mark>) -> LookupQuery {
    LookupQuery {
        uncertain: Some(UncertainAppend {
            method: DeliveryMethod::Append,
            at: Utc::now(),
            mark,
            body: BodyDigest::of_message(octets),
        }),
        ..everywhere(octets)
    }
}

fn a_message_arrives_unchanged_with_date_and_flags_and_its_uid_is_returned(account: &dyn Account) {
    let flags = [
        "",
        "\\Seen",
        "\\Flagged",
        "\\Answered",
        "\\Seen \\Flagged \\Answered",
    ];
    let dates = [
        "2026-02-03T04:05:06+01:00",
        "1999-12-31T23:59:59-08:00",
        "2026-02-28T12:00:00Z",
    ];
    let mails: Vec<Mail> = (0..7)
        .map(|number| Mail {
            octets: with_id(&format!("<{number}@x>"), "s", "body"),
            date: date(dates[number % dates.len()]),
            flags: flags[number % flags.len()].to_owned(),
        })
        .collect();
    let places = send(&mut account.target(), &mails);
    let held = account.messages();
    assert_eq!(held.len(), mails.len());
    for (mail, place) in mails.iter().zip(places) {
        let (_, there) = held
            .iter()
            .find(|(uid, _)| *uid == place.uid.get())
            .unwrap();
        assert_eq!(there, mail);
    }
}

fn octets_of_all_kinds_arrive(account: &dyn Account) {
    let mut large = with_id("<large@x>", "s", "");
    large.extend(b"0123456789abcdef0123456789abcde\r\n".repeat(100_000));
    let mails: Vec<Mail> = [
        b"Subject: s\r\n\r\n.\r\n..\r\n) OK done\r\nA1 OK\r\n* BYE\r\n{5}\r\n".to_vec(),
        b"Subject: 8-bit\r\n\r\nGr\xc3\xbc\xc3\x9fe, \xfc\xdf\x80\xff\r\n".to_vec(),
        b"Subject: no last line end\r\n\r\nx".to_vec(),
        b"Subject: no body\r\n\r\n".to_vec(),
        format!("Subject: long line\r\n\r\n{}\r\n", "x".repeat(20_000)).into_bytes(),
        large,
    ]
    .iter()
    .map(mail)
    .collect();
    send(&mut account.target(), &mails);
    let mut there: Vec<Vec<u8>> = account
        .messages()
        .into_iter()
        .map(|(_, mail)| mail.octets)
        .collect();
    let mut expected: Vec<Vec<u8>> = mails.into_iter().map(|mail| mail.octets).collect();
    there.sort();
    expected.sort();
    assert!(there == expected);
}

fn many_messages_have_one_outcome_each(account: &dyn Account) {
    let mails: Vec<Mail> = (0..60)
        .map(|number| mail(with_id(&format!("<{number}@x>"), "s", "body")))
        .collect();
    let mut target = account.target();
    target.start_pass(mails.len());
    let mut places: Vec<u32> = send(&mut target, &mails)
        .iter()
        .map(|place| place.uid.get())
        .collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 60);
    assert_eq!(account.messages().len(), 60);
}

fn a_present_message_is_found_by_id_and_header(account: &dyn Account) {
    let mut target = account.target();
    let here = with_id("<here@x>", "one", "body");
    let other = with_id("<here@x>", "two", "body");
    let absent = with_id("<absent@x>", "one", "body");
    let questions = [query(&absent), query(&here), query(b"Subject: s\r\n\r\n")];
    assert_eq!(
        target.holds(&questions).unwrap(),
        [LookupResult::NotFound; 3]
    );
    send(&mut target, &[mail(&here)]);
    target.start_pass(0);
    let questions = [
        query(&absent),
        query(&here),
        query(&other),
        query(b"Subject: s\r\n\r\n"),
    ];
    assert_eq!(
        target.holds(&questions).unwrap(),
        [
            LookupResult::NotFound,
            LookupResult::Found,
            LookupResult::OtherMessage,
            LookupResult::NotFound
        ]
    );
}

fn unusual_ids_are_found_and_not_confused(account: &dyn Account) {
    let long = format!("<{}@x>", "i".repeat(900));
    let ids = [
        "<a@b>",
        "<a@bc>",
        "xa@b",
        "\"quoted\" id",
        "back\\slash",
        "<braces{5}@x>",
        "<{5}>",
        "<percent%@*>",
        "with spaces in it",
        "<UPPER@case>",
        "<paren(theses)@x>",
        long.as_str(),
    ];
    let mails: Vec<Mail> = ids
        .iter()
        .map(|id| mail(with_id(id, "s", "body")))
        .collect();
    let mut target = account.target();
    // Only half of them: each of the others contains one of these, or is contained in one.
    let uncertain_append: Vec<Mail> = mails.iter().step_by(2).cloned().collect();
    send(&mut target, &uncertain_append);
    target.start_pass(0);
    for (index, mail) in mails.iter().enumerate() {
        let response = target.holds(&[query(&mail.octets)]).unwrap();
        let expected = if index % 2 == 0 {
            LookupResult::Found
        } else {
            LookupResult::NotFound
        };
        assert_eq!(response, [expected], "{}", ids[index]);
    }
    let questions: Vec<LookupQuery> = mails.iter().map(|mail| query(&mail.octets)).collect();
    let answers = target.holds(&questions).unwrap();
    let held: Vec<bool> = answers
        .iter()
        .map(|response| *response == LookupResult::Found)
        .collect();
    assert_eq!(
        held,
        (0..ids.len())
            .map(|index| index % 2 == 0)
            .collect::<Vec<_>>()
    );
}

fn lookups_in_a_large_backlog_find_their_messages(account: &dyn Account) {
    let mails: Vec<Mail> = (0..20)
        .map(|number| mail(with_id(&format!("<{number}@x>"), "s", "body")))
        .collect();
    let mut target = account.target();
    send(&mut target, &mails[..10]);
    target.start_pass(300);
    for group in mails.chunks(5) {
        let questions: Vec<LookupQuery> = group.iter().map(|mail| query(&mail.octets)).collect();
        let is_there = mails[..10].contains(&group[0]);
        let expected = if is_there {
            LookupResult::Found
        } else {
            LookupResult::NotFound
        };
        assert_eq!(target.holds(&questions).unwrap(), [expected; 5]);
    }
}

fn a_message_in_the_trash_is_found_only_by_a_search_everywhere(account: &dyn Account) {
    let octets = with_id("<a@b>", "s", "body");
    let mut target = account.target();
    let places = send(&mut target, &[mail(&octets)]);
    account.trash(places[0].uid.get());
    target.start_pass(0);
    let other = with_id("<a@b>", "another", "body");
    let questions = [query(&octets), everywhere(&octets), everywhere(&other)];
    assert_eq!(
        target.holds(&questions).unwrap(),
        [
            LookupResult::NotFound,
            LookupResult::Found,
            LookupResult::OtherMessage
        ]
    );
}

fn a_sent_message_is_recognized_by_its_content_alone(account: &dyn Account) {
    let mut target = account.target();
    let old = b"Subject: s\r\n\r\nold\r\n";
    send(&mut target, &[mail(old)]);
    target.start_pass(0);
    let mark = target.status().unwrap().mark;
    assert!(mark.is_some());
    let new = b"Subject: s\r\n\r\nnew\r\n";
    let known = with_id("<a@b>", "s", "one");
    send(&mut target, &[mail(new), mail(&known)]);
    let questions = [
        uncertain_append(new, mark),
        uncertain_append(old, mark),
        uncertain_append(&known, mark),
        uncertain_append(&with_id("<a@b>", "s", "two"), mark),
        uncertain_append(&known, None),
    ];
    let answers = target.holds(&questions).unwrap();
    let held: Vec<bool> = answers
        .iter()
        .map(|response| *response == LookupResult::Found)
        .collect();
    assert_eq!(held, [true, false, true, false, true], "{answers:?}");
}

fn the_mark_is_the_uid_of_the_next_message(account: &dyn Account) {
    let mut target = account.target();
    let before = target.status().unwrap().mark.unwrap();
    assert_eq!(
        target.status().unwrap().mark,
        Some(before),
        "asked once a pass"
    );
    send(
        &mut target,
        &[
            mail(with_id("<1@x>", "s", "b")),
            mail(with_id("<2@x>", "s", "b")),
        ],
    );
    let refreshed = target.refresh_status().unwrap().mark;
    target.start_pass(0);
    let after = target.status().unwrap().mark.unwrap();
    assert_eq!(refreshed, Some(after), "asked again");
    assert_eq!(after.uid_validity, before.uid_validity);
    assert_eq!(after.uid_next.get(), before.uid_next.get() + 2);
    assert!(UidValidity::new(after.uid_validity.get()).is_some());
}

fn a_missing_folder_is_created(account: &dyn Account) {
    let mut target = account.target_with(&account.token(), "Grüße & \"mehr\"");
    send(&mut target, &[mail(with_id("<1@x>", "s", "b"))]);
    send(&mut target, &[mail(with_id("<2@x>", "s", "b"))]);
    assert_eq!(account.count("Gr&APwA3w-e &- \\\"mehr\\\""), 2);
}

fn a_connection_that_was_closed_meanwhile_is_reopened(account: &dyn Account) {
    let octets = with_id("<1@x>", "s", "b");
    let mut target = account.target();
    send(&mut target, &[mail(&octets)]);
    assert_eq!(
        target.holds(&[query(&octets)]).unwrap(),
        [LookupResult::Found]
    );
    account.kick();
    target.start_pass(0);
    assert_eq!(
        target.holds(&[query(&octets)]).unwrap(),
        [LookupResult::Found]
    );
}

fn an_invalid_token_is_rejected(account: &dyn Account) {
    let mut target = account.target_with("bad", account.folder());
    let error = target.status().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(
        matches!(error.consequence(), Some(Consequence::TokenRejected { .. })),
        "{error}"
    );
}

fn a_pass_without_messages_sends_no_command(account: &dyn Account) {
    let mut target = account.target();
    assert_eq!(target.holds(&[]).unwrap(), []);
    target.finish().unwrap();
    assert!(target.settled().is_none());
    target.close();
    assert!(account.messages().is_empty());
}
