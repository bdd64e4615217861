//! The target at the Gmail double: lost responses, late indexes, expired tokens.
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use double::{Fault, GmailOptions, IndexDelay, TokenEndpoint, Unfinished, date};
use imap_to_gmail_sync::config::{Server, TargetConfig, TlsMode};
use imap_to_gmail_sync::delivery::gmail_imap::{GmailTarget, GmailTargetOptions};
use imap_to_gmail_sync::error::{Consequence, ErrorKind, RestReason};
use imap_to_gmail_sync::message::{
    BodyDigest, DeliveryMethod, Flags, Mark, Message, MessageId, Uid,
};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::oauth::RenewalPolicy;
use imap_to_gmail_sync::sync::{
    LookupQuery, LookupResult, Outcome, SearchScope, Target, UncertainAppend,
};
use tempfile::TempDir;

use crate::query;

/// A Gmail account with its token endpoint and token file.
struct Account {
    gmail: double::Gmail,
    endpoint: TokenEndpoint,
    folder: TempDir,
}

impl Account {
    fn open(options: GmailOptions) -> Account {
        let gmail = double::Gmail::start(options);
        let endpoint = TokenEndpoint::start(&gmail);
        let folder = TempDir::new().unwrap();
        let token = endpoint.token_json(&gmail.user());
        fs::write(folder.path().join("token.json"), token).unwrap();
        fs::write(folder.path().join("ca.pem"), gmail.ca_pem()).unwrap();
        Account {
            gmail,
            endpoint,
            folder,
        }
    }

    fn target(&self, connections: usize) -> GmailTarget {
        let clock = self.gmail.clock().clone();
        GmailTarget::new(GmailTargetOptions {
            config: TargetConfig {
                server: Server {
                    host: "127.0.0.1".to_owned(),
                    port: self.gmail.port(),
                    tls: TlsMode::Implicit,
                    tls_name: "localhost".to_owned(),
                    ca_file: Some(self.folder.path().join("ca.pem")),
                },
                user: self.gmail.user(),
                token_file: self.folder.path().join("token.json"),
                folder: "INBOX".to_owned(),
                connections,
                auth_command: "auth".to_owned(),
                import: None,
            },
            now: Arc::new(move || clock.now()),
            connection: ConnectionOptions::default(),
            rejected_token: None,
            renewal: RenewalPolicy::Save,
        })
    }
}

fn mail(id: &str, subject: &str, body: &str) -> Vec<u8> {
    let id = match id {
        "" => String::new(),
        id => format!("Message-ID: {id}\r\n"),
    };
    format!("{id}Date: Mon, 3 Feb 2020 04:05:06 +0100\r\nSubject: {subject}\r\n\r\n{body}\r\n")
        .into_bytes()
}

fn message(octets: &[u8]) -> Message {
    Message {
        uid: Uid::MIN,
        id: MessageId::of_octets(octets),
        internal_date: Some(date("2020-02-03T04:05:06+01:00")),
        flags: Flags::default(),
        method: DeliveryMethod::Append,
        octets: octets.to_vec(),
    }
}

fn outcome(target: &mut GmailTarget, octets: &[u8]) -> Outcome {
    target.submit(message(octets)).unwrap();
    target.finish().unwrap();
    let (_, outcome) = target.settled().unwrap();
    assert!(target.settled().is_none());
    outcome
}

fn sent(octets: &[u8], mark: Option<Mark>) -> LookupQuery {
    LookupQuery {
        scope: SearchScope::AllMailTrashAndJunk,
        uncertain: Some(UncertainAppend {
            method: DeliveryMethod::Append,
            at: date("2026-11-22T12:00:00Z").to_utc(),
            mark,
            body: BodyDigest::of_message(octets),
        }),
        ..query(octets)
    }
}

fn holding(target: &mut GmailTarget, query: LookupQuery) -> LookupResult {
    target.holds(&[query]).unwrap()[0]
}

#[test]
fn an_append_whose_response_was_lost_is_found_if_it_was_stored() {
    for (folder, unfinished, expected) in [
        ("INBOX", Unfinished::Stored, LookupResult::Found),
        ("INBOX", Unfinished::Forgotten, LookupResult::NotFound),
        // All Mail does not have what is in these.
        ("[Gmail]/Spam", Unfinished::Stored, LookupResult::Found),
        ("[Gmail]/Trash", Unfinished::Stored, LookupResult::Found),
    ] {
        for id in ["<a@b>", "", "<odd{%}@b>"] {
            let account = Account::open(GmailOptions {
                unfinished,
                index_delay: IndexDelay::For(Duration::from_hours(1)),
                ..GmailOptions::default()
            });
            let octets = mail(id, "x", "body");
            // An older message with the same id but another header: not a match.
            account
                .gmail
                .deliver(&mail(id, "x", "other"), date("2020-01-01T00:00:00Z"), &[]);
            let mut target = account.target(1);
            target.status().unwrap();
            target.set_folder(folder);
            target.start_pass(0);
            let mark = target.status().unwrap().mark;
            account
                .gmail
                .faults()
                .once(double::Event::is_literal, Fault::Eof);
            let outcome = outcome(&mut target, &octets);
            assert!(matches!(outcome, Outcome::Uncertain(_)), "{outcome:?}");
            let found = holding(&mut target, sent(&octets, mark));
            assert_eq!(
                found == LookupResult::Found,
                expected == LookupResult::Found,
                "{folder}, {id}: {found:?}"
            );
        }
    }
}

#[test]
fn a_rejected_lookup_of_an_uncertain_append_decides_nothing() {
    for refused in ["BODY.PEEK[]", "UID SEARCH UID"] {
        let account = Account::open(GmailOptions::default());
        let octets = mail("", "x", "body");
        let mut target = account.target(1);
        let mark = target.status().unwrap().mark;
        account
            .gmail
            .deliver(&octets, date("2020-01-01T00:00:00Z"), &[]);
        let is_it = move |event: &double::Event| match &event.kind {
            double::EventKind::Command { line, .. } => line.contains(refused),
            _ => false,
        };
        let no = Fault::Instead("<T> NO not now".to_owned());
        account.gmail.faults().always(is_it, no);
        let commands = sent(&octets, mark);
        assert_eq!(
            holding(&mut target, commands.clone()),
            LookupResult::Unclear
        );
        account.gmail.faults().clear();
        assert_eq!(holding(&mut target, commands), LookupResult::Found);
    }
}

#[test]
fn an_uncertain_append_is_found_in_the_trash() {
    let account = Account::open(GmailOptions::default());
    let octets = mail("<a@b>", "x", "body");
    let uid = account
        .gmail
        .deliver(&octets, date("2020-01-01T00:00:00Z"), &[]);
    account.gmail.trash(uid);
    let mut target = account.target(1);
    assert_eq!(
        holding(&mut target, sent(&octets, None)),
        LookupResult::Found
    );
    assert_eq!(holding(&mut target, query(&octets)), LookupResult::NotFound);
    let everywhere = LookupQuery {
        scope: SearchScope::AllMailTrashAndJunk,
        ..query(&octets)
    };
    assert_eq!(holding(&mut target, everywhere), LookupResult::Found);
}

#[test]
fn a_message_without_id_is_found_by_its_date_and_octets_and_a_day_is_listed_once() {
    let account = Account::open(GmailOptions::default());
    let received = date("2020-02-03T23:50:00-05:00");
    let (alarm, deleted) = (mail("", "alarm", "water"), mail("", "alarm", "fire"));
    account.gmail.deliver(&alarm, received, &[]);
    let uid = account.gmail.deliver(&deleted, received, &[]);
    account.gmail.trash(uid);
    let mut target = account.target(1);
    let by_octets = |octets: &[u8], date| LookupQuery {
        date: Some(date),
        octets: Some(BodyDigest::of_message(octets)),
        scope: SearchScope::AllMailTrashAndJunk,
        ..query(octets)
    };
    let a_minute_later = received + chrono::TimeDelta::minutes(1);
    for (octets, date, result) in [
        (&alarm, received, LookupResult::Found),
        (&deleted, received, LookupResult::Found),
        (&alarm, a_minute_later, LookupResult::NotFound),
        (&mail("", "alarm", "gas"), received, LookupResult::NotFound),
        (
            &mail("", "other", "water"),
            received,
            LookupResult::NotFound,
        ),
    ] {
        assert_eq!(holding(&mut target, by_octets(octets, date)), result);
    }
    let commands = account.gmail.commands();
    let searches = commands.iter().filter(|line| line.contains("SINCE"));
    assert_eq!(
        searches.count(),
        3,
        "All Mail, Trash and Spam: {commands:#?}"
    );
}

#[test]
fn an_equal_id_on_a_different_message_is_no_match() {
    let account = Account::open(GmailOptions::default());
    let printed = mail("<printer@b>", "page 1", "body");
    account
        .gmail
        .deliver(&printed, date("2020-01-01T00:00:00Z"), &[]);
    let mut target = account.target(1);
    assert_eq!(holding(&mut target, query(&printed)), LookupResult::Found);
    let other = mail("<printer@b>", "page 2", "body");
    assert_eq!(
        holding(&mut target, query(&other)),
        LookupResult::OtherMessage
    );
    let part = mail("<r@b>", "page 1", "body");
    assert_eq!(holding(&mut target, query(&part)), LookupResult::NotFound);
}

#[test]
fn a_new_pass_finds_mail_that_arrived_meanwhile() {
    let account = Account::open(GmailOptions::default());
    let mut target = account.target(1);
    let before = target.status().unwrap().mark.unwrap();
    let octets = mail("<a@b>", "x", "body");
    account
        .gmail
        .deliver(&octets, date("2020-01-01T00:00:00Z"), &[]);
    target.start_pass(0);
    assert_eq!(holding(&mut target, query(&octets)), LookupResult::Found);
    let after = target.status().unwrap().mark.unwrap();
    assert_eq!(after.uid_next.get(), before.uid_next.get() + 1);
    assert_eq!(account.gmail.logins(), 1);
}

#[test]
fn sessions_that_end_with_their_token_are_reopened() {
    let account = Account::open(GmailOptions::default());
    let mut target = account.target(1);
    for number in 0..3 {
        let octets = mail(&format!("<{number}@b>"), "x", "body");
        assert_eq!(holding(&mut target, query(&octets)), LookupResult::NotFound);
        let outcome = outcome(&mut target, &octets);
        assert!(matches!(outcome, Outcome::Delivered(_)), "{outcome:?}");
        account.gmail.clock().advance(Duration::from_mins(59));
    }
    assert_eq!(account.gmail.messages("INBOX").len(), 3);
    assert_eq!(account.endpoint.requests().len(), 3);
}

#[test]
fn a_session_that_ends_during_a_pass_is_reopened() {
    let account = Account::open(GmailOptions::default());
    let mut target = account.target(1);
    let first = mail("<1@b>", "x", "body");
    assert_eq!(holding(&mut target, query(&first)), LookupResult::NotFound);
    assert!(matches!(
        outcome(&mut target, &first),
        Outcome::Delivered(_)
    ));
    account.gmail.disconnect();
    assert_eq!(holding(&mut target, query(&first)), LookupResult::Found);
    let second = mail("<2@b>", "x", "body");
    assert!(matches!(
        outcome(&mut target, &second),
        Outcome::Delivered(_)
    ));
    assert_eq!(account.gmail.logins(), 4);
}

#[test]
fn a_revoked_token_needs_the_user() {
    let account = Account::open(GmailOptions::default());
    account.endpoint.change(|options| {
        let body =
            r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#;
        options.refusal = Some((400, body.to_owned()));
    });
    let error = account.target(1).status().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(matches!(
        error.consequence(),
        Some(Consequence::TokenRejected { .. })
    ));
    assert_eq!(account.gmail.connections(), 0);
}

#[test]
fn a_message_above_the_append_limit_is_refused() {
    let account = Account::open(GmailOptions {
        append_limit: 1_000,
        ..GmailOptions::default()
    });
    let mut target = account.target(1);
    assert_eq!(target.status().unwrap().append_limit, Some(1_000));
    let outcome = outcome(&mut target, &mail("<a@b>", "x", &"y".repeat(1_000)));
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}

#[test]
fn a_full_account_rests() {
    let account = Account::open(GmailOptions {
        most_sessions: 2,
        ..GmailOptions::default()
    });
    let mut target = account.target(4);
    target.start_pass(1_000);
    target.status().unwrap();
    for number in 1..50 {
        let octets = mail(&format!("<{number}@b>"), "x", "body");
        let uid = Uid::new(number).unwrap();
        target
            .submit(Message {
                uid,
                ..message(&octets)
            })
            .unwrap();
    }
    target.finish().unwrap();
    assert_eq!(account.gmail.messages("INBOX").len(), 49);

    account.gmail.change(|options| options.most_sessions = 0);
    let error = account.target(1).status().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Resting);
    assert_eq!(
        error.consequence(),
        Some(&Consequence::Rest(RestReason::Connections))
    );
}

#[test]
fn a_long_pass_lists_gmails_ids_once_and_looks_up_only_the_rest() {
    let account = Account::open(GmailOptions::default());
    let held: Vec<Vec<u8>> = (0..600)
        .map(|number| mail(&format!("<{number}@b>"), "x", "body"))
        .collect();
    for octets in &held {
        account
            .gmail
            .deliver(octets, date("2026-11-20T00:00:00Z"), &[]);
    }
    let mut target = account.target(1);
    target.announce_backlog(700, Some(date("2026-11-20T12:00:00Z")));
    target.announce_backlog(200, Some(date("2026-11-21T12:00:00Z")));
    let commands: Vec<LookupQuery> = held.iter().map(query).collect();
    for group in commands.chunks(10) {
        let results = target.holds(group).unwrap();
        assert!(
            results
                .iter()
                .all(|holding| *holding == LookupResult::Found)
        );
    }
    let searches = || {
        let commands = account.gmail.commands();
        let searches = commands.iter().filter(|line| line.contains("SEARCH"));
        searches.cloned().collect::<Vec<_>>()
    };
    assert_eq!(searches(), ["UID SEARCH SINCE 18-Nov-2026"]);

    // A listing decides neither on ids that it lacks, nor on other headers, nor on uncertain appends.
    let old = mail("<old@b>", "x", "body");
    account
        .gmail
        .deliver(&old, date("2020-01-01T00:00:00Z"), &[]);
    target.start_pass(0);
    target.announce_backlog(201, Some(date("2026-11-20T12:00:00Z")));
    let others = [
        query(&old),
        query(mail("<1@b>", "another subject", "body")),
        query(mail("<2@b>", "x", "body")),
        sent(&mail("<3@b>", "x", "another body"), None),
    ];
    let expected = [
        LookupResult::Found,
        LookupResult::OtherMessage,
        LookupResult::Found,
        LookupResult::OtherMessage,
    ];
    assert_eq!(target.holds(&others).unwrap(), expected);
}
