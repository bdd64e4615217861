//! The target on a real server: Dovecot with bearer tokens that it validates by introspection.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use imap_to_gmail_sync::config::TargetConfig;
use imap_to_gmail_sync::delivery::gmail_imap;
use imap_to_gmail_sync::delivery::gmail_imap::GmailTarget;
use imap_to_gmail_sync::error::{Consequence, ErrorKind};
use imap_to_gmail_sync::message::{
    BodyDigest, DeliveryMethod, Flags, Identity, Message, MessageId, Uid,
};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::oauth::RenewalPolicy;
use imap_to_gmail_sync::sync::{
    LookupQuery, LookupResult, Outcome, SearchScope, Target, UncertainAppend,
};
use tempfile::TempDir;

use crate::dovecot::{Dovecot, Introspection};
use crate::query;

const USER: &str = "bob@example.com";

/// An account on a Dovecot of its own.
struct Account {
    dovecot: Dovecot,
    folder: TempDir,
    _introspection: Introspection,
}

impl Account {
    fn open() -> Account {
        let introspection = Introspection::start();
        introspection.issue("GOOD", USER);
        Account {
            dovecot: Dovecot::start_target(&introspection),
            folder: TempDir::new().unwrap(),
            _introspection: introspection,
        }
    }

    fn token_file(&self, token: &str) -> PathBuf {
        let file = self.folder.path().join("token.json");
        fs::write(&file, format!(r#"{{"token":"{token}"}}"#)).unwrap();
        file
    }

    fn gmail(&self, folder: &str, connections: usize) -> GmailTarget {
        self.gmail_with("GOOD", folder, connections)
    }

    fn gmail_with(&self, token: &str, folder: &str, connections: usize) -> GmailTarget {
        GmailTarget::new(gmail_imap::GmailTargetOptions {
            config: TargetConfig {
                server: self.dovecot.server(),
                user: USER.to_owned(),
                token_file: self.token_file(token),
                folder: folder.to_owned(),
                connections,
                auth_command: "auth".to_owned(),
                import: None,
            },
            now: Arc::new(Utc::now),
            connection: ConnectionOptions::default(),
            rejected_token: None,
            renewal: RenewalPolicy::Save,
        })
    }
}

fn message(uid: u32, octets: &[u8]) -> Message {
    Message {
        uid: Uid::new(uid).unwrap(),
        id: Identity::of_header(octets)
            .id
            .unwrap_or_else(|| MessageId::of_octets(octets)),
        internal_date: DateTime::parse_from_rfc3339("2020-02-03T04:05:06+01:00").ok(),
        flags: Flags {
            seen: true,
            flagged: true,
            answered: false,
        },
        method: DeliveryMethod::Append,
        octets: octets.to_vec(),
    }
}

/// Sends messages and asserts that all are stored.
fn send(gmail: &mut GmailTarget, messages: Vec<Message>) {
    let count = messages.len();
    for message in messages {
        gmail.submit(message).unwrap();
    }
    gmail.finish().unwrap();
    let outcomes: Vec<_> = std::iter::from_fn(|| gmail.settled()).collect();
    assert_eq!(outcomes.len(), count);
    for (uid, outcome) in outcomes {
        assert!(
            matches!(outcome, Outcome::Delivered(_)),
            "{uid}: {outcome:?}"
        );
    }
}

fn mail(number: usize) -> Vec<u8> {
    format!(
        "Message-ID: <{number}@example.com>\r\nDate: Mon, 3 Feb 2020 04:05:06 +0100\r\n\
         From: a@example.com\r\nSubject: number {number}\r\n\r\nbody {number}\r\n"
    )
    .into_bytes()
}

#[test]
fn messages_arrive_octet_for_octet_with_date_and_flags_and_are_found_again() {
    let account = Account::open();
    let mut gmail = account.gmail("[Gmail]/Alle Nachrichten", 3);
    let mails: Vec<Vec<u8>> = (0..60).map(mail).collect();
    let queries: Vec<LookupQuery> = mails.iter().map(query).collect();
    assert_eq!(gmail.holds(&queries).unwrap(), [LookupResult::NotFound; 60]);
    gmail.start_pass(60);
    let messages = mails.iter().zip(1..).map(|(mail, uid)| message(uid, mail));
    send(&mut gmail, messages.collect());
    gmail.start_pass(0);
    assert_eq!(gmail.holds(&queries).unwrap(), [LookupResult::Found; 60]);
    gmail.close();
    let log = account.dovecot.log();
    let log_ins = log.lines().filter(|line| line.contains("Login:")).count();
    let ended = account.dovecot.wait_for_ended_sessions(USER, log_ins);
    assert!(log_ins > 1 && ended.len() == log_ins, "{ended:#?}");
    for line in ended {
        assert!(line.contains("Logged out"), "{line}");
    }

    let mut client = account.dovecot.client(USER);
    client.command("SELECT \"[Gmail]/Alle Nachrichten\"");
    let answer = client.command("UID FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])");
    let text = String::from_utf8(answer).unwrap();
    for mail in &mails {
        assert!(text.contains(std::str::from_utf8(mail).unwrap()));
    }
    for flag in ["\\Seen", "\\Flagged"] {
        assert_eq!(text.matches(flag).count(), 60, "{flag}");
    }
    assert!(!text.contains("\\Answered"));
    let dates: Vec<_> = text
        .split("INTERNALDATE \"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .map(|date| DateTime::parse_from_str(date, "%d-%b-%Y %H:%M:%S %z").unwrap())
        .collect();
    assert_eq!(dates, vec![message(1, b"").internal_date.unwrap(); 60]);
}

#[test]
fn a_folder_whose_name_needs_encoding_is_created_and_a_large_message_is_stored() {
    let account = Account::open();
    let folder = "Grüße \"& mehr\"";
    let mut gmail = account.gmail(folder, 1);
    let mut large = mail(1);
    large.extend(b"0123456789abcdef0123456789abcde\r\n".repeat(300_000));
    send(&mut gmail, vec![message(1, &large), message(2, &mail(2))]);
    let mut client = account.dovecot.client(USER);
    let answer = client.command("STATUS \"Gr&APwA3w-e \\\"&- mehr\\\"\" (MESSAGES)");
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("(MESSAGES 2)"), "{text}");
}

#[test]
fn a_sent_message_without_id_is_found_by_its_content_alone() {
    let account = Account::open();
    let folder = "[Gmail]/Alle Nachrichten";
    let mut gmail = account.gmail(folder, 1);
    send(&mut gmail, vec![message(1, b"Subject: s\r\n\r\nold\r\n")]);
    gmail.start_pass(0);
    let mark = gmail.status().unwrap().mark;
    assert_eq!(mark.unwrap().uid_next.get(), 2);
    send(&mut gmail, vec![message(2, b"Subject: s\r\n\r\nnew\r\n")]);
    let ask = |body: &[u8]| LookupQuery {
        uncertain: Some(UncertainAppend {
            method: DeliveryMethod::Append,
            at: Utc::now(),
            mark,
            body: BodyDigest::of_message(body),
        }),
        ..query(b"Subject: s\r\n\r\n")
    };
    let queries = [
        ask(b"Subject: s\r\n\r\nnew\r\n"),
        ask(b"Subject: s\r\n\r\nold\r\n"),
        query(b"Subject: s\r\n\r\n"),
    ];
    assert_eq!(
        gmail.holds(&queries).unwrap(),
        [
            LookupResult::Found,
            LookupResult::NotFound,
            LookupResult::NotFound
        ]
    );
}

#[test]
fn a_message_in_the_trash_is_found_only_by_a_search_everywhere() {
    let account = Account::open();
    let mut gmail = account.gmail("[Gmail]/Papierkorb", 1);
    send(&mut gmail, vec![message(1, &mail(1))]);
    assert_eq!(
        gmail.holds(&[query(mail(1))]).unwrap(),
        [LookupResult::Found],
        "where the trash is the target"
    );
    gmail.set_folder("INBOX");
    gmail.start_pass(0);
    let everywhere = LookupQuery {
        scope: SearchScope::AllMailTrashAndJunk,
        ..query(mail(1))
    };
    let queries = [
        query(mail(1)),
        everywhere.clone(),
        LookupQuery {
            identity: Identity {
                id: everywhere.identity.id.clone(),
                header: Identity::of_header(&mail(2)).header,
            },
            ..everywhere
        },
    ];
    assert_eq!(
        gmail.holds(&queries).unwrap(),
        [
            LookupResult::NotFound,
            LookupResult::Found,
            LookupResult::OtherMessage
        ]
    );
}

#[test]
fn an_unknown_token_is_rejected() {
    let account = Account::open();
    let error = account.gmail_with("BAD", "INBOX", 1).status().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    let consequence = error.consequence();
    assert!(matches!(
        consequence,
        Some(Consequence::TokenRejected { .. })
    ));
}
