//! The target at Gmail's double: lost answers, late indexes, tokens that die.
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use double::{Fault, GmailOptions, IndexDelay, TokenEndpoint, Unfinished, date};
use imap_to_gmail_sync::config::{Server, TargetConfig, TlsMode};
use imap_to_gmail_sync::delivery::gmail_imap::{GmailTarget, GmailTargetOptions};
use imap_to_gmail_sync::error::{Consequence, ErrorKind, RestReason};
use imap_to_gmail_sync::message::{BodyDigest, Flags, Identity, Mark, Message, MessageId, Uid};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::sync::{
    LookupQuery, LookupResult, Outcome, SearchScope, Target, UncertainAppend,
};
use tempfile::TempDir;

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
            },
            now: Arc::new(move || clock.now()),
            connection: ConnectionOptions::default(),
            rejected_token: None,
            is_dry_run: false,
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

fn question(octets: &[u8]) -> LookupQuery {
    LookupQuery {
        uid: Uid::MIN,
        identity: Identity::of_header(octets),
        scope: SearchScope::AllMail,
        uncertain: None,
    }
}

fn sent(octets: &[u8], mark: Option<Mark>) -> LookupQuery {
    LookupQuery {
        scope: SearchScope::AllMailTrashAndJunk,
        uncertain: Some(UncertainAppend {
            at: date("2026-11-22T12:00:00Z").to_utc(),
            mark,
            body: BodyDigest::of_message(octets),
        }),
        ..question(octets)
    }
}

fn holding(target: &mut GmailTarget, question: LookupQuery) -> LookupResult {
    target.holds(&[question]).unwrap()[0]
}

#[test]
fn an_append_whose_answer_was_lost_is_found_or_not_as_it_was_stored_or_not() {
    for (unfinished, expected) in [
        (Unfinished::Stored, LookupResult::Found),
        (Unfinished::Forgotten, LookupResult::NotFound),
    ] {
        for id in ["<a@b>", "", "<odd{%}@b>"] {
            let account = Account::open(GmailOptions {
                unfinished,
                index_delay: IndexDelay::For(Duration::from_hours(1)),
                ..GmailOptions::default()
            });
            let octets = mail(id, "x", "body");
            // Another of the same sender, older: found by id, and not the one.
            account
                .gmail
                .deliver(&mail(id, "x", "other"), date("2020-01-01T00:00:00Z"), &[]);
            let mut target = account.target(1);
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
                "{id}: {found:?}"
            );
        }
    }
}

#[test]
fn a_refused_question_about_a_lost_append_proves_nothing() {
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
        let asked = sent(&octets, mark);
        assert_eq!(holding(&mut target, asked.clone()), LookupResult::Unclear);
        account.gmail.faults().clear();
        assert_eq!(holding(&mut target, asked), LookupResult::Found);
    }
}

#[test]
fn a_lost_append_that_its_reader_has_thrown_away_is_found() {
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
    assert_eq!(
        holding(&mut target, question(&octets)),
        LookupResult::NotFound
    );
    let everywhere = LookupQuery {
        scope: SearchScope::AllMailTrashAndJunk,
        ..question(&octets)
    };
    assert_eq!(holding(&mut target, everywhere), LookupResult::Found);
}

#[test]
fn one_id_on_different_messages_is_no_proof() {
    let account = Account::open(GmailOptions::default());
    let printed = mail("<printer@b>", "page 1", "body");
    account
        .gmail
        .deliver(&printed, date("2020-01-01T00:00:00Z"), &[]);
    let mut target = account.target(1);
    assert_eq!(
        holding(&mut target, question(&printed)),
        LookupResult::Found
    );
    let other = mail("<printer@b>", "page 2", "body");
    assert_eq!(
        holding(&mut target, question(&other)),
        LookupResult::OtherMessage
    );
    let part = mail("<r@b>", "page 1", "body");
    assert_eq!(
        holding(&mut target, question(&part)),
        LookupResult::NotFound
    );
}

#[test]
fn a_new_pass_sees_mail_that_came_meanwhile() {
    let account = Account::open(GmailOptions::default());
    let mut target = account.target(1);
    let before = target.status().unwrap().mark.unwrap();
    let octets = mail("<a@b>", "x", "body");
    account
        .gmail
        .deliver(&octets, date("2020-01-01T00:00:00Z"), &[]);
    target.start_pass(0);
    assert_eq!(holding(&mut target, question(&octets)), LookupResult::Found);
    let after = target.status().unwrap().mark.unwrap();
    assert_eq!(after.uid_next.get(), before.uid_next.get() + 1);
    assert_eq!(account.gmail.logins(), 1);
}

#[test]
fn sessions_end_with_their_token_and_nobody_notices() {
    let account = Account::open(GmailOptions::default());
    let mut target = account.target(1);
    for number in 0..3 {
        let octets = mail(&format!("<{number}@b>"), "x", "body");
        assert_eq!(
            holding(&mut target, question(&octets)),
            LookupResult::NotFound
        );
        let outcome = outcome(&mut target, &octets);
        assert!(matches!(outcome, Outcome::Appended(_)), "{outcome:?}");
        account.gmail.clock().advance(Duration::from_mins(59));
    }
    assert_eq!(account.gmail.messages("INBOX").len(), 3);
    assert_eq!(account.endpoint.requests().len(), 3);
}

#[test]
fn a_session_that_ends_in_the_middle_of_a_pass_is_opened_anew() {
    let account = Account::open(GmailOptions::default());
    let mut target = account.target(1);
    let first = mail("<1@b>", "x", "body");
    assert_eq!(
        holding(&mut target, question(&first)),
        LookupResult::NotFound
    );
    assert!(matches!(outcome(&mut target, &first), Outcome::Appended(_)));
    account.gmail.disconnect();
    assert_eq!(holding(&mut target, question(&first)), LookupResult::Found);
    let second = mail("<2@b>", "x", "body");
    assert!(matches!(
        outcome(&mut target, &second),
        Outcome::Appended(_)
    ));
    assert_eq!(account.gmail.logins(), 4);
}

#[test]
fn a_revoked_token_needs_a_person() {
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
fn what_is_too_large_is_refused_and_said_before() {
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
fn an_account_that_has_no_place_left_rests() {
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
fn a_long_pass_lists_once_what_gmail_holds_and_asks_only_for_the_rest() {
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
    let asked: Vec<LookupQuery> = held.iter().map(|octets| question(octets)).collect();
    for group in asked.chunks(10) {
        let holdings = target.holds(group).unwrap();
        assert!(
            holdings
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

    // A listing proves nothing of what is not in it, of another header, and of a lost append.
    let old = mail("<old@b>", "x", "body");
    account
        .gmail
        .deliver(&old, date("2020-01-01T00:00:00Z"), &[]);
    target.start_pass(0);
    target.announce_backlog(201, Some(date("2026-11-20T12:00:00Z")));
    let others = [
        question(&old),
        question(&mail("<1@b>", "another subject", "body")),
        question(&mail("<2@b>", "x", "body")),
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
