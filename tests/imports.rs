//! Delivery by the Gmail API: which messages are imported, what becomes of each answer, and that nothing
//! is lost or doubled whatever the API does.

// A test fails by a panic, in its support code as in its body.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use double::{
    ApiFault, ApiRequest, GmailApi, GmailOptions, IndexDelay, SourceOptions, StoredMessage,
};
use imap_to_gmail_sync::config::{ImportConfig, Server, TargetConfig, TlsMode};
use imap_to_gmail_sync::delivery::GmailDelivery;
use imap_to_gmail_sync::delivery::gmail_imap::GmailTargetOptions;
use imap_to_gmail_sync::message::{DeliveryMethod, Flags, Message, MessageId, Uid};
use imap_to_gmail_sync::net::ConnectionOptions;
use imap_to_gmail_sync::oauth::RenewalPolicy;
use imap_to_gmail_sync::process::cancel::Canceller;
use imap_to_gmail_sync::sync::{Outcome, Target};
use serde_json::{Value, json};

use program::{Home, Run};

/// An account that imports, between the doubles. Gmail keeps each copy, so that duplicates are visible.
struct Account {
    home: Home,
    api: GmailApi,
}

impl Account {
    fn new() -> Account {
        let gmail = GmailOptions {
            deduplicates: false,
            ..GmailOptions::default()
        };
        let home = Home::with(SourceOptions::default(), gmail);
        let api = GmailApi::start(&home.gmail);
        home.configure(&json!({ "delivery": "import", "target_api": api.url() }));
        Account { home, api }
    }

    fn deliver_at(&self, octets: &[u8], ago: TimeDelta, flags: &[&str]) {
        let date = (Utc::now() - ago).fixed_offset();
        self.home.source.deliver(octets, date, flags);
    }

    /// Mail of an hour ago.
    fn deliver(&self, octets: &[u8]) {
        self.deliver_at(octets, TimeDelta::hours(1), &[]);
    }

    fn spam(&self) -> Vec<StoredMessage> {
        self.home.gmail.messages("[Gmail]/Spam")
    }

    /// How often each message is at Gmail, without the fields that an import adds: in All Mail or in Spam.
    fn everywhere(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let all = self.home.gmail.all_mail().into_iter().chain(self.spam());
        for message in all {
            *counts.entry(original(&message.octets)).or_default() += 1;
        }
        counts
    }

    fn imports(&self) -> Vec<ApiRequest> {
        let requests = self.api.requests().into_iter();
        requests.filter(ApiRequest::is_import).collect()
    }

    /// The octets that count as sent in this way.
    fn counted(&self, method: &str) -> u64 {
        let hours = self.home.state()["gmail"][method].clone();
        let hours = hours.as_object().cloned().unwrap_or_default();
        hours.values().map(|it| it.as_u64().unwrap()).sum()
    }

    /// Runs without faults, some minutes apart, until nothing is parked.
    fn recover(&self) {
        self.api.clear_faults();
        for _ in 0..6 {
            self.home.age_by_minutes(24 * 60);
            let run = self.home.run();
            assert_eq!(run.status, Some(0), "{run:?}");
            if self.home.state()["parked"] == json!({}) {
                return;
            }
        }
        panic!("{}", self.home.read("sync_state.json"));
    }
}

/// A message as it was before the import.
fn original(octets: &[u8]) -> String {
    let text = String::from_utf8(octets.to_vec()).unwrap();
    match text.split_once("with HTTPREST; ") {
        Some((_, rest)) => rest.split_once("\r\n").unwrap().1.to_owned(),
        None => text,
    }
}

fn mail(subject: &str) -> Vec<u8> {
    format!("Message-ID: <{subject}@x>\r\nSubject: {subject}\r\n\r\n{subject}\r\n").into_bytes()
}

fn without_id(subject: &str) -> Vec<u8> {
    format!("Subject: {subject}\r\n\r\n{subject}\r\n").into_bytes()
}

fn once(messages: &[Vec<u8>]) -> BTreeMap<String, usize> {
    let texts = messages
        .iter()
        .map(|octets| String::from_utf8(octets.clone()).unwrap());
    texts.map(|text| (text, 1)).collect()
}

fn is_imported(message: &StoredMessage) -> bool {
    message.octets.starts_with(b"Delivered-To:")
}

#[test]
fn new_mail_is_imported_and_old_or_answered_mail_is_appended() {
    let account = Account::new();
    account.deliver_at(&mail("old"), TimeDelta::hours(30), &[]);
    account.deliver_at(
        &mail("answered"),
        TimeDelta::hours(2),
        &["\\Answered", "\\Seen"],
    );
    account.deliver_at(&mail("read"), TimeDelta::hours(2), &["\\Seen", "\\Flagged"]);
    account.deliver_at(&mail("new"), TimeDelta::minutes(5), &[]);
    let before = Utc::now() - TimeDelta::seconds(2);
    let run = account.home.run_ok();
    let by_subject: BTreeMap<String, StoredMessage> = account
        .home
        .gmail
        .messages("INBOX")
        .into_iter()
        .map(|message| {
            let text = original(&message.octets);
            let subject = text.split_once("Subject: ").unwrap().1;
            (subject.lines().next().unwrap().to_owned(), message)
        })
        .collect();
    assert_eq!(by_subject.len(), 4);
    for (subject, expected, flags) in [
        ("old", false, vec![]),
        ("answered", false, vec!["\\Answered", "\\Seen"]),
        ("read", true, vec!["\\Flagged", "\\Seen"]),
        ("new", true, vec![]),
    ] {
        let message = &by_subject[subject];
        assert_eq!(is_imported(message), expected, "{subject}");
        assert_eq!(message.flags, flags, "{subject}");
        assert_eq!(original(&message.octets).into_bytes(), mail(subject));
        // The API dates what it imports by the time of the import.
        assert_eq!(message.internal_date >= before, expected, "{subject}");
    }
    let is_line = |part: &str| run.logged("info").iter().any(|line| line.contains(part));
    assert!(is_line("copied <new@x> (uid 4) to Gmail as 1"), "{run:?}");
    assert!(
        is_line("copied <old@x> (uid 1) to Gmail as uid "),
        "{run:?}"
    );
    for import in account.imports() {
        assert_eq!(import.query["internalDateSource"], "receivedTime");
        assert_eq!(import.query["neverMarkSpam"], "false");
        assert_eq!(import.query["processForCalendar"], "true");
    }
    let before = account.api.requests().len();
    account.home.run_ok();
    assert_eq!(account.api.requests().len(), before, "nothing is new");
}

#[test]
fn import_max_age_decides_what_is_new() {
    let account = Account::new();
    account.home.configure(&json!({ "import_max_age": "30m" }));
    account.deliver_at(&mail("an hour ago"), TimeDelta::hours(1), &[]);
    account.deliver_at(&mail("now"), TimeDelta::minutes(1), &[]);
    account.home.run_ok();
    let inbox = account.home.gmail.messages("INBOX");
    let imported: Vec<bool> = inbox.iter().map(is_imported).collect();
    assert_eq!(imported.iter().filter(|it| **it).count(), 1);
    assert_eq!(account.imports().len(), 1);
}

#[test]
fn what_gmail_takes_for_spam_is_in_spam_and_is_not_sent_again() {
    let account = Account::new();
    account
        .api
        .set_spam(|octets| octets.ends_with(b"offer\r\n"));
    account.deliver(&mail("offer"));
    account.deliver(&without_id("offer"));
    account.deliver(&mail("letter"));
    let run = account.home.run_ok();
    assert_eq!(account.home.gmail.messages("INBOX").len(), 1);
    assert_eq!(account.spam().len(), 2);
    let spam = run.stdout.matches(", which Gmail takes for spam: ").count();
    assert_eq!(spam, 2, "{run:?}");
    // Another UIDVALIDITY: everything is looked up, or known.
    account
        .home
        .source
        .mailboxes()
        .set_uid_validity("INBOX", 99);
    account.home.run_ok();
    assert_eq!(account.spam().len(), 2);
    account
        .home
        .configure(&json!({ "import_never_spam": true, "import_calendar": false }));
    account.deliver(&mail("second offer"));
    account.home.run_ok();
    assert_eq!(account.spam().len(), 2);
    assert_eq!(account.home.gmail.messages("INBOX").len(), 2);
    assert_eq!(
        account.imports().last().unwrap().query["processForCalendar"],
        "false"
    );
}

#[test]
fn labels_come_with_the_import_and_are_created_if_need_be() {
    let account = Account::new();
    account.home.gmail.mailboxes().create("Work");
    account
        .home
        .configure(&json!({ "labels": ["Work", "Bücher/R&D"], "archive": true }));
    account.deliver(&mail("one"));
    account.deliver(&mail("two"));
    account.home.run_ok();
    let all = account.home.gmail.all_mail();
    assert_eq!(all.len(), 2);
    for message in &all {
        assert!(is_imported(message));
        assert_eq!(
            message.mailboxes,
            ["B&APw-cher/R&-D", "Work", "[Gmail]/All Mail"]
        );
    }
    assert_eq!(account.home.state()["owed_labels"], Value::Null);
    let commands = account.home.gmail.commands();
    let is_store = |command: &&String| command.contains("STORE");
    assert_eq!(commands.iter().find(is_store), None);
    let labels = |method: &str| {
        let requests = account.api.requests().into_iter();
        requests
            .filter(|it| it.path.ends_with("/labels") && it.method == method)
            .count()
    };
    assert_eq!((labels("GET"), labels("POST")), (1, 1));
}

#[test]
fn a_label_that_was_deleted_meanwhile_is_created_again() {
    let account = Account::new();
    account.home.configure(&json!({ "labels": ["Work"] }));
    account.home.gmail.mailboxes().create("Work");
    account.deliver(&mail("one"));
    // The label is deleted between the list and the import.
    let mailboxes = account.home.gmail.mailboxes();
    let mut is_deleted = false;
    account.api.once(
        move |request| {
            if request.is_import() && !is_deleted {
                mailboxes.delete("Work");
                is_deleted = true;
            }
            false
        },
        ApiFault::CutAfterBody,
    );
    account.home.run_ok();
    assert_eq!(account.imports().len(), 2);
    assert_eq!(account.home.gmail.messages("Work").len(), 1);
    assert_eq!(account.home.gmail.messages("INBOX").len(), 1);
}

#[test]
fn a_label_that_gmail_does_not_accept_is_left_out_with_a_warning() {
    // "TRASH" is the id of a label of Gmail's own: a message must not go to the trash.
    let account = Account::new();
    let labels = json!(["Taken", "TRASH", "Drafts", "Work"]);
    let archived = json!({ "labels": labels, "archive": true });
    account.home.configure(&archived);
    account.deliver(&mail("1"));
    let is_creation = |it: &ApiRequest| it.method == "POST" && it.path.ends_with("/labels");
    let taken = ApiFault::Error(409, "aborted", "Label name exists or conflicts");
    account.api.once(is_creation, taken);
    let run = account.home.run();
    assert_eq!(run.status, Some(0), "{run:?}");
    let warnings = run.logged("warn");
    for name in ["Taken", "TRASH", "Drafts"] {
        let warning = format!("no import is labelled {name}, which Gmail does not accept: ");
        let about: Vec<_> = warnings.iter().filter(|it| it.contains(&warning)).collect();
        assert_eq!(about.len(), 1, "{warnings:?}");
    }
    let [message] = account.home.gmail.all_mail().try_into().unwrap();
    assert_eq!(message.mailboxes, ["Work", "[Gmail]/All Mail"]);
    assert_eq!(account.everywhere(), once(&[mail("1")]));
}

#[test]
fn mail_for_a_folder_that_is_no_label_is_appended() {
    // The API refuses the creation, or says that the label exists and does not list it.
    for refusal in [
        ApiFault::Error(400, "invalidArgument", "Invalid label name"),
        ApiFault::Error(409, "aborted", "Label name exists or conflicts"),
    ] {
        let account = Account::new();
        account
            .home
            .configure(&json!({ "target_folder": "Mail/New", "labels": ["Work"] }));
        let is_creation = |it: &ApiRequest| it.method == "POST" && it.path.ends_with("/labels");
        account.api.once(is_creation, refusal.clone());
        account.deliver(&mail("letter"));
        let run = account.home.run();
        assert_eq!(run.status, Some(0), "{run:?}");
        let [letter] = account.home.gmail.all_mail().try_into().unwrap();
        assert_eq!(letter.mailboxes, ["Mail/New", "Work", "[Gmail]/All Mail"]);
        assert!(!is_imported(&letter), "{refusal:?}");
        assert!(account.imports().is_empty(), "{refusal:?}");
    }
}

#[test]
fn a_limit_that_meets_the_labels_is_waited_for_as_one_that_meets_a_message() {
    let is_label = |it: &ApiRequest| it.path.ends_with("/labels");
    for method in ["GET", "POST"] {
        let meets = move |it: &ApiRequest| is_label(it) && it.method == method;
        let labelled = || {
            let account = Account::new();
            account.home.configure(&json!({ "labels": ["Work"] }));
            account.deliver(&mail("letter"));
            account
        };
        let done = |account: &Account| {
            assert_eq!(account.home.gmail.messages("Work").len(), 1, "{method}");
            assert_eq!(account.everywhere(), once(&[mail("letter")]), "{method}");
        };
        for fault in [
            ApiFault::RetryLater(429, "rateLimitExceeded", 1),
            ApiFault::Error(403, "userRateLimitExceeded", "User Rate Limit Exceeded"),
            // The connection is gone.
            ApiFault::CutBeforeBody,
            ApiFault::AnswerLost,
        ] {
            let account = labelled();
            account.api.once(meets, fault.clone());
            let run = account.home.run();
            assert_eq!(run.status, Some(0), "{method} {fault:?} {run:?}");
            done(&account);
        }
        let account = labelled();
        let later = ApiFault::RetryLater(429, "rateLimitExceeded", 3_600);
        account.api.once(meets, later);
        account.home.run_ok();
        let gmail = &account.home.state()["gmail"];
        assert_eq!(gmail["rest_minutes"], 60, "{method}");
        account.recover();
        done(&account);
    }
}

#[test]
fn a_failure_before_the_message_leaves_nothing_uncertain() {
    let large = [mail("large"), vec![b'x'; 6 << 20]].concat();
    for path in ["/labels", "/resumable/"] {
        for fault in [
            ApiFault::Error(500, "backendError", "Backend Error"),
            ApiFault::Text(503, "<html>"),
            ApiFault::Text(302, ""),
        ] {
            let account = Account::new();
            account.home.configure(&json!({ "labels": ["Work"] }));
            account.deliver(&large);
            let meets = move |it: &ApiRequest| it.path.contains(path);
            account.api.once(meets, fault.clone());
            let run = account.home.run();
            assert_eq!(run.status, Some(69), "{path} {fault:?} {run:?}");
            assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
            let state = account.home.state();
            assert_eq!(state["parked"], json!({}), "{path} {fault:?}");
            account.recover();
            assert_eq!(account.everywhere(), once(std::slice::from_ref(&large)));
        }
    }
}

#[test]
fn a_label_that_was_created_without_an_id_is_no_label() {
    for answer in ["{}", "{\"id\":\"\",\"name\":\"Work\"}", "<html>"] {
        let account = Account::new();
        account.home.configure(&json!({ "labels": ["Work"] }));
        let is_creation = |it: &ApiRequest| it.method == "POST" && it.path.ends_with("/labels");
        account.api.once(is_creation, ApiFault::Text(200, answer));
        account.deliver(&mail("letter"));
        let run = account.home.run();
        assert_eq!(run.status, Some(69), "{answer} {run:?}");
        assert_eq!(account.everywhere(), BTreeMap::new(), "{answer}");
        account.recover();
        assert_eq!(account.home.gmail.messages("Work").len(), 1, "{answer}");
        assert_eq!(account.everywhere(), once(&[mail("letter")]), "{answer}");
    }
}

#[test]
fn mail_for_gmails_own_folders_is_appended() {
    let account = Account::new();
    account
        .home
        .source
        .mailboxes()
        .create_with("Junk", &["\\Junk"]);
    account.home.configure(&json!({ "folders": [
        { "source": "INBOX", "target": "Mail/New" },
        { "source": "\\Junk", "target": "\\Junk" },
    ] }));
    account.deliver(&mail("letter"));
    let date = Utc::now().fixed_offset();
    account
        .home
        .source
        .mailboxes()
        .deliver("Junk", &mail("offer"), date, &[]);
    account.home.run_ok();
    assert!(!is_imported(&account.spam()[0]));
    let letters = account.home.gmail.messages("Mail/New");
    assert!(is_imported(&letters[0]));
    assert_eq!(account.home.gmail.messages("INBOX").len(), 0);
}

#[test]
fn a_message_above_the_limit_of_append_is_imported_whatever_its_age() {
    let account = Account::new();
    account
        .home
        .gmail
        .change(|options| options.append_limit = 1_000);
    let large = [mail("large"), vec![b'x'; 2_000]].concat();
    account.deliver_at(&large, TimeDelta::days(3), &[]);
    account.home.run_ok();
    assert!(is_imported(&account.home.gmail.messages("INBOX")[0]));
    // It does not import it: then nothing takes it.
    account.api.once(
        ApiRequest::is_import,
        ApiFault::Error(400, "invalidArgument", "no"),
    );
    account.deliver_at(
        &[mail("larger"), vec![b'y'; 2_000]].concat(),
        TimeDelta::hours(1),
        &[],
    );
    let run = account.home.run_ok();
    assert!(run.stdout.contains("of which APPEND takes 1000"), "{run:?}");
    assert_eq!(account.home.gmail.messages("INBOX").len(), 1);
}

/// What becomes of one message whose import meets this fault.
fn run_with_fault(fault: ApiFault) -> (Account, Run) {
    let account = Account::new();
    account.api.once(ApiRequest::is_import, fault);
    account.deliver(&mail("letter"));
    let run = account.home.run();
    (account, run)
}

#[test]
fn what_the_api_refuses_for_its_content_is_appended() {
    let attachment =
        "Invalid attachment. Please check https://support.google.com/mail/answer/6590.";
    for fault in [
        ApiFault::Error(400, "invalidArgument", attachment),
        ApiFault::Error(413, "uploadTooLarge", "Request is too large."),
    ] {
        let (account, run) = run_with_fault(fault);
        assert_eq!(run.status, Some(0), "{run:?}");
        let inbox = account.home.gmail.messages("INBOX");
        assert_eq!(inbox.len(), 1);
        assert!(!is_imported(&inbox[0]));
        let line = "Gmail does not import it, so it is appended: HTTP status 4";
        assert!(run.stdout.contains(line), "{run:?}");
        assert_eq!(account.home.state()["parked"], json!({}));
    }
}

#[test]
fn a_rejected_access_token_is_renewed_once() {
    let (account, run) = run_with_fault(ApiFault::Error(401, "authError", "Invalid Credentials"));
    assert_eq!(run.status, Some(0), "{run:?}");
    assert_eq!(account.everywhere(), once(&[mail("letter")]));
    assert_eq!(account.imports().len(), 2);

    let account = Account::new();
    let fault = ApiFault::Error(401, "authError", "Invalid Credentials");
    account.api.always(ApiRequest::is_import, fault);
    account.deliver(&mail("letter"));
    let run = account.home.run();
    assert_eq!(run.status, Some(77), "{run:?}");
    assert_eq!(account.imports().len(), 2);
    assert_eq!(account.everywhere(), BTreeMap::new());
}

#[test]
fn what_a_person_must_do_ends_the_run_with_77_and_says_how() {
    for (fault, remedy) in [
        (
            ApiFault::Error(
                403,
                "accessNotConfigured",
                "Gmail API has not been used in project 1",
            ),
            "switch on the Gmail API of the project that the token is from \
             (https://console.cloud.google.com/apis/library/gmail.googleapis.com)",
        ),
        (
            ApiFault::Error(403, "insufficientPermissions", "Insufficient Permission"),
            "make a new token, and tick the box for mail",
        ),
        (
            ApiFault::Error(403, "domainPolicy", "disabled"),
            "ask the administrator of the domain",
        ),
    ] {
        let (account, run) = run_with_fault(fault);
        assert_eq!(run.status, Some(77), "{run:?}");
        assert!(run.stderr.contains(remedy), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        assert_eq!(
            account.home.state()["parked"],
            json!({}),
            "it is not the message's fault"
        );
        account.recover();
        assert_eq!(account.everywhere(), once(&[mail("letter")]));
    }
}

#[test]
fn a_refusal_for_an_unknown_reason_may_pass_and_sends_the_message_again() {
    for fault in [
        ApiFault::Text(403, "<html>Forbidden</html>"),
        ApiFault::Text(403, "{}"),
        ApiFault::Error(403, "aNewReason", "Try again"),
    ] {
        let (account, run) = run_with_fault(fault.clone());
        assert_eq!(run.status, Some(69), "{fault:?} {run:?}");
        assert_eq!(account.home.state()["parked"], json!({}), "{fault:?}");
        assert_eq!(account.counted("imported"), 0, "{fault:?}");
        account.recover();
        assert_eq!(account.everywhere(), once(&[mail("letter")]), "{fault:?}");
    }
}

#[test]
fn an_answer_that_is_not_the_apis_says_nothing_about_the_content() {
    for text in [
        "<html>Bad Request</html>",
        "",
        "{\"error\":\"invalid_request\"}",
    ] {
        let (account, run) = run_with_fault(ApiFault::Text(400, text));
        assert_eq!(run.status, Some(0), "{run:?}");
        let why = &account.home.state()["parked"]["1"]["why"];
        assert_eq!(why, "importing it: HTTP status 400", "{text}");
        account.recover();
        let inbox = account.home.gmail.messages("INBOX");
        assert!(inbox.len() == 1 && is_imported(&inbox[0]), "{text}");
    }
}

#[test]
fn too_many_requests_are_asked_again_a_moment_later() {
    for fault in [
        ApiFault::Error(403, "userRateLimitExceeded", "User Rate Limit Exceeded"),
        ApiFault::RetryLater(429, "rateLimitExceeded", 1),
    ] {
        let (account, run) = run_with_fault(fault);
        assert_eq!(run.status, Some(0), "{run:?}");
        assert_eq!(account.everywhere(), once(&[mail("letter")]));
        assert_eq!(account.imports().len(), 2);
    }
}

#[test]
fn the_account_rests_as_long_as_gmail_says() {
    let (account, run) = run_with_fault(ApiFault::RetryLater(429, "rateLimitExceeded", 3_600));
    assert_eq!(run.status, Some(0), "{run:?}");
    assert_eq!(account.everywhere(), BTreeMap::new());
    assert_eq!(account.home.state()["gmail"]["rest_minutes"], 60);
    let requests = account.api.requests().len();
    account.home.run_ok();
    assert_eq!(account.api.requests().len(), requests, "it rests");
    account.recover();
    assert_eq!(account.everywhere(), once(&[mail("letter")]));
}

#[test]
fn too_many_requests_at_the_same_time_leave_fewer() {
    let account = Account::new();
    for number in 0..30 {
        account.deliver(&mail(&number.to_string()));
    }
    account.api.set_round_trip(Duration::from_millis(20));
    let fault = ApiFault::Error(
        429,
        "rateLimitExceeded",
        "Too many concurrent requests for user",
    );
    account
        .api
        .once(|request| request.is_import() && request.number > 4, fault);
    let run = account.home.run_ok();
    assert!(run.stdout.contains("imports at a time: "), "{run:?}");
    assert_eq!(account.everywhere().len(), 30);
    assert!(account.everywhere().values().all(|count| *count == 1));
}

#[test]
fn another_error_about_the_message_parks_it() {
    let (account, run) = run_with_fault(ApiFault::Error(409, "aborted", "Conflict"));
    assert_eq!(run.status, Some(0), "{run:?}");
    let parked = &account.home.state()["parked"]["1"];
    assert_eq!(
        parked["why"],
        "importing it: HTTP status 409 aborted: Conflict"
    );
    assert_eq!(parked["sent"], Value::Null, "it was not stored");
    account.recover();
    assert_eq!(account.everywhere(), once(&[mail("letter")]));
}

/// Faults after which the message may be stored or not.
fn uncertain_faults() -> Vec<ApiFault> {
    vec![
        ApiFault::CutAfterBody,
        ApiFault::AnswerLost,
        ApiFault::HalfAnswer,
        ApiFault::DoneWithStatus(503),
        ApiFault::DoneLater(Duration::from_secs(20)),
        ApiFault::Error(500, "backendError", "Backend Error"),
        ApiFault::Text(502, "<html>Bad Gateway</html>"),
        ApiFault::Text(503, ""),
        ApiFault::Text(200, "<html>Sign in</html>"),
        ApiFault::Text(302, ""),
    ]
}

#[test]
fn an_import_whose_answer_was_lost_is_looked_up_before_it_is_sent_again() {
    for fault in uncertain_faults() {
        for octets in [mail("letter"), without_id("letter")] {
            for is_spam in [false, true] {
                let account = Account::new();
                account.api.set_spam(move |_| is_spam);
                account.api.once(ApiRequest::is_import, fault.clone());
                account.deliver(&octets);
                let run = account.home.run();
                let parked = &account.home.state()["parked"]["1"];
                assert_eq!(parked["sent"]["method"], "import", "{fault:?} {run:?}");
                // A moment later it may still be on its way: nothing is sent.
                account.api.clear_faults();
                account.home.age_by_seconds(30);
                let before = account.imports().len();
                account.home.run();
                assert_eq!(account.imports().len(), before, "{fault:?}");
                account.home.gmail.clock().advance(Duration::from_secs(30));
                account.recover();
                assert_eq!(
                    account.everywhere(),
                    once(std::slice::from_ref(&octets)),
                    "{fault:?} {is_spam}"
                );
                assert_eq!(account.spam().len(), usize::from(is_spam), "{fault:?}");
            }
        }
    }
}

#[test]
fn an_import_whose_answer_was_lost_is_found_although_searches_do_not_find_it_yet() {
    for is_spam in [false, true] {
        let account = Account::new();
        let delay = IndexDelay::For(Duration::from_hours(300 * 24));
        account.home.gmail.change(|it| it.index_delay = delay);
        account.api.set_spam(move |_| is_spam);
        let messages = [mail("1"), without_id("2")];
        for message in &messages {
            account.deliver(message);
        }
        let lost = ApiFault::AnswerLost;
        account.api.once(ApiRequest::is_import, lost.clone());
        account.api.once(ApiRequest::is_import, lost);
        account.home.run();
        account.recover();
        assert_eq!(account.everywhere(), once(&messages), "{is_spam}");
        assert_eq!(account.imports().len(), 2);
    }
}

#[test]
fn an_equal_message_that_was_in_spam_before_is_not_taken_for_one_whose_answer_was_lost() {
    let account = Account::new();
    account.api.set_spam(|_| true);
    let alarm = without_id("alarm");
    let before = (Utc::now() - TimeDelta::hours(2)).fixed_offset();
    let mailboxes = account.home.gmail.mailboxes();
    mailboxes.deliver("[Gmail]/Spam", &alarm, before, &[]);
    account
        .api
        .once(ApiRequest::is_import, ApiFault::CutAfterBody);
    account.deliver(&alarm);
    account.home.run();
    account.home.age_by_minutes(2);
    account.home.run_ok();
    assert_eq!(account.spam().len(), 2);
}

#[test]
fn a_message_that_was_cut_before_its_last_octet_was_not_stored() {
    for fault in [
        ApiFault::CutBeforeBody,
        ApiFault::CutAfter(100),
        ApiFault::CutBeforeLastOctet,
    ] {
        let account = Account::new();
        account.api.once(ApiRequest::is_import, fault.clone());
        // Large enough that the system's buffers do not hold all of it.
        let large = [mail("large"), vec![b'x'; 4_000_000]].concat();
        account.deliver(&large);
        let run = account.home.run();
        assert_eq!(account.everywhere(), BTreeMap::new(), "{fault:?} {run:?}");
        account.recover();
        assert_eq!(account.everywhere(), once(&[large]), "{fault:?}");
    }
}

#[test]
fn an_api_that_cannot_be_reached_is_unavailable_and_parks_nothing() {
    let account = Account::new();
    account
        .home
        .configure(&json!({ "target_api": "http://127.0.0.1:9" }));
    account.deliver(&mail("letter"));
    let run = account.home.run();
    assert_eq!(run.status, Some(69), "{run:?}");
    assert!(
        run.stderr.starts_with("127.0.0.1:9: importing a message: "),
        "{run:?}"
    );
    assert_eq!(account.home.state()["parked"], json!({}));
}

#[test]
fn an_upload_above_five_mebibytes_goes_on_where_it_was_cut() {
    let account = Account::new();
    let large = [mail("large"), vec![b'x'; 6 << 20]].concat();
    account.deliver(&large);
    account
        .api
        .once(ApiRequest::is_part, ApiFault::CutAfter(4 << 20));
    account
        .api
        .once(ApiRequest::is_part, ApiFault::CutAfter(1 << 20));
    let run = account.home.run_ok();
    assert_eq!(
        account.everywhere(),
        once(std::slice::from_ref(&large)),
        "{run:?}"
    );
    let requests = account.api.requests();
    let parts: Vec<usize> = requests
        .iter()
        .filter(|it| it.is_part())
        .map(|it| it.octets)
        .collect();
    let (first, second) = (large.len(), large.len() - (4 << 20));
    assert_eq!(parts, [first, second, second - (1 << 20)]);
}

#[test]
fn an_upload_that_gains_next_to_nothing_is_left() {
    let account = Account::new();
    let large = [mail("large"), vec![b'x'; 6 << 20]].concat();
    account.deliver(&large);
    account.api.always(ApiRequest::is_part, ApiFault::Keep(1));
    let mut child = account.home.start();
    let deadline = Instant::now() + Duration::from_mins(1);
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let run: Run = child.wait_with_output().unwrap().into();
    assert_eq!(run.status, Some(69), "{run:?}");
    let requests = account.api.requests();
    let parts = requests.iter().filter(|it| it.is_part()).count();
    assert!(parts < 10, "{parts}");
    account.recover();
    assert_eq!(account.everywhere(), once(&[large]));
}

#[test]
fn an_upload_that_gains_a_block_each_time_comes_to_its_end() {
    let account = Account::new();
    let large = [mail("large"), vec![b'x'; 6 << 20]].concat();
    account.deliver(&large);
    for _ in 0..8 {
        account
            .api
            .once(ApiRequest::is_part, ApiFault::Keep(256 << 10));
    }
    account.home.run_ok();
    assert_eq!(account.everywhere(), once(&[large]));
}

#[test]
fn a_resumable_upload_whose_last_answer_was_lost_is_asked_for_its_result() {
    for fault in [
        ApiFault::AnswerLost,
        ApiFault::HalfAnswer,
        ApiFault::CutAfterBody,
        ApiFault::Text(503, "<html>"),
    ] {
        let account = Account::new();
        let large = [mail("large"), vec![b'x'; 6 << 20]].concat();
        account.deliver(&large);
        account.api.once(ApiRequest::is_part, fault.clone());
        let run = account.home.run_ok();
        assert_eq!(account.everywhere(), once(&[large]), "{fault:?} {run:?}");
        assert_eq!(account.home.state()["parked"], json!({}), "{fault:?}");
    }
}

#[test]
fn an_upload_without_an_address_of_the_api_is_sent_in_one_request() {
    for answer in [
        ApiFault::Text(200, ""),
        ApiFault::Elsewhere("https://example.com/upload/1"),
    ] {
        let account = Account::new();
        let large = [mail("large"), vec![b'x'; 6 << 20]].concat();
        account.deliver(&large);
        account.deliver(&mail("letter"));
        let is_beginning = |it: &ApiRequest| it.path.starts_with("/resumable/");
        account.api.always(is_beginning, answer.clone());
        let run = account.home.run();
        assert_eq!(run.status, Some(0), "{answer:?} {run:?}");
        assert_eq!(account.everywhere(), once(&[large, mail("letter")]));
        assert_eq!(account.home.state()["parked"], json!({}), "{answer:?}");
    }
}

/// Asserts that an upload that is complete at Gmail is looked up, and not sent again, if its answer was lost
/// in this way and the question for its result is answered so.
fn assert_looked_up(lost: ApiFault, answer: ApiFault) {
    let account = Account::new();
    let large = [mail("large"), vec![b'x'; 6 << 20]].concat();
    account.deliver(&large);
    account.api.once(ApiRequest::is_part, lost);
    let is_question = |request: &ApiRequest| request.method == "PUT" && request.octets == 0;
    account.api.always(is_question, answer);
    account.home.run();
    let sent = &account.home.state()["parked"]["1"]["sent"];
    assert_eq!(sent["method"], "import");
    account.recover();
    assert_eq!(account.everywhere(), once(&[large]));
    assert_eq!(account.imports().len(), 1);
}

#[test]
fn an_upload_that_the_server_has_forgotten_is_looked_up() {
    for lost in [ApiFault::AnswerLost, ApiFault::DoneWithStatus(503)] {
        assert_looked_up(lost, ApiFault::Error(404, "notFound", "Upload not found"));
    }
}

#[test]
fn an_upload_whose_question_for_the_result_is_refused_is_looked_up() {
    for refusal in [
        ApiFault::Error(429, "rateLimitExceeded", "Too many requests"),
        ApiFault::Error(429, "rateLimitExceeded", "Too many concurrent requests"),
        ApiFault::Error(403, "userRateLimitExceeded", "User Rate Limit Exceeded"),
        ApiFault::Error(403, "forbidden", "Forbidden"),
        ApiFault::Error(400, "invalidArgument", "Invalid Argument"),
        ApiFault::Error(400, "invalidArgument", "Invalid label: Label_1"),
    ] {
        for lost in [ApiFault::AnswerLost, ApiFault::DoneWithStatus(503)] {
            assert_looked_up(lost, refusal.clone());
        }
    }
}

#[test]
fn an_upload_whose_token_is_rejected_before_its_result_is_known_is_looked_up() {
    let rejected = ApiFault::Error(401, "authError", "Invalid Credentials");
    assert_looked_up(ApiFault::AnswerLost, rejected);
}

#[test]
fn a_token_that_expires_in_the_middle_of_an_upload_is_renewed() {
    let account = Account::new();
    let large = [mail("large"), vec![b'x'; 6 << 20]].concat();
    account.deliver(&large);
    let (tokens, user) = (
        account.home.gmail.tokens().clone(),
        account.home.gmail.user(),
    );
    let mut is_revoked = false;
    account.api.once(
        move |request| {
            if request.is_part() && !is_revoked {
                tokens.revoke_all(&user);
                is_revoked = true;
            }
            false
        },
        ApiFault::CutAfterBody,
    );
    let run = account.home.run_ok();
    assert_eq!(account.everywhere(), once(&[large]), "{run:?}");
}

/// The peak memory of a run that delivers a large message, in KiB.
fn peak_of(delivery: &str, octets: &[u8]) -> u64 {
    let account = Account::new();
    account.home.configure(&json!({ "delivery": delivery }));
    account.deliver(octets);
    // time(1) is small: a child's peak is at least that of the process that it was forked from.
    let output = std::process::Command::new("/usr/bin/time")
        .args([
            "-o",
            "peak",
            "-f",
            "%M",
            env!("CARGO_BIN_EXE_imap-to-gmail-sync"),
        ])
        .args(["--config", "config.json"])
        .current_dir(account.home.path(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(account.everywhere().len(), 1);
    account.home.read("peak").trim().parse().unwrap()
}

#[test]
fn an_import_needs_no_more_memory_than_an_append() {
    let large = [mail("large"), vec![b'x'; 20 << 20]].concat();
    let [appended, imported] = ["append", "import"].map(|delivery| peak_of(delivery, &large));
    assert!(appended > 20 * 1024, "{appended}");
    assert!(
        imported < appended * 11 / 10,
        "{imported} KiB, appended {appended} KiB"
    );
}

#[test]
fn imports_and_appends_have_a_daily_limit_each() {
    let account = Account::new();
    account
        .home
        .configure(&json!({ "daily_upload_limit": "1K" }));
    let of_size = |subject: &str| [mail(subject), vec![b'x'; 600]].concat();
    account.deliver_at(&of_size("old"), TimeDelta::days(2), &[]);
    account.deliver(&of_size("new"));
    account.home.run_ok();
    assert_eq!(account.everywhere().len(), 2);
    account.deliver(&of_size("too much"));
    let run = account.home.run_ok();
    assert_eq!(account.everywhere().len(), 2);
    assert!(
        run.stdout
            .contains("octets were imported in the last 24 hours"),
        "{run:?}"
    );
    let status = program::program(&account.home.path(""))
        .args(["status", "--config", "config.json", "--json"])
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let report = status.as_array().map_or(&status, |all| &all[0]);
    for field in ["uploaded_in_24_hours", "imported_in_24_hours"] {
        assert!(
            (600..800).contains(&report[field].as_u64().unwrap()),
            "{field}: {report}"
        );
    }
}

#[test]
fn what_was_never_sent_does_not_count_as_imported() {
    let is_beginning = |it: &ApiRequest| it.path.starts_with("/resumable/");
    let small = [mail("small"), vec![b'x'; 600]].concat();
    let large = [mail("large"), vec![b'x'; 6 << 20]].concat();
    for (message, unreachable, fault, status) in [
        (&small, true, None, 69),
        (
            &small,
            false,
            Some(ApiFault::Error(403, "accessNotConfigured", "off")),
            77,
        ),
        (
            &large,
            false,
            Some(ApiFault::Error(403, "domainPolicy", "no")),
            77,
        ),
        (
            &large,
            false,
            Some(ApiFault::RetryLater(429, "rateLimitExceeded", 3_600)),
            0,
        ),
    ] {
        let account = Account::new();
        account
            .home
            .configure(&json!({ "daily_upload_limit": "1K" }));
        if unreachable {
            let nobody = json!({ "target_api": "http://127.0.0.1:9" });
            account.home.configure(&nobody);
        }
        if let Some(fault) = fault {
            let is_large = message.len() > 5 << 20;
            let meets = move |it: &ApiRequest| {
                if is_large {
                    is_beginning(it)
                } else {
                    it.is_import()
                }
            };
            account.api.always(meets, fault);
        }
        account.deliver(message);
        for _ in 0..2 {
            let run = account.home.run();
            assert_eq!(run.status, Some(status), "{run:?}");
            assert_eq!(account.counted("imported"), 0, "{run:?}");
        }
    }
    // What was sent and refused counts.
    let (account, _) = run_with_fault(ApiFault::RetryLater(429, "rateLimitExceeded", 3_600));
    assert_eq!(account.counted("imported"), mail("letter").len() as u64);
}

#[test]
fn mail_that_is_appended_for_its_folder_does_not_count_as_imported() {
    let account = Account::new();
    account
        .home
        .configure(&json!({ "target_folder": "Mail/New" }));
    let is_creation = |it: &ApiRequest| it.method == "POST" && it.path.ends_with("/labels");
    let refused = ApiFault::Error(400, "invalidArgument", "Invalid label name");
    account.api.always(is_creation, refused);
    account.deliver(&mail("letter"));
    account.home.run_ok();
    assert_eq!(account.counted("imported"), 0);
    assert_eq!(account.counted("uploaded"), mail("letter").len() as u64);
}

#[test]
fn a_backlog_is_imported_over_as_many_connections_as_configured() {
    let account = Account::new();
    account.home.configure(&json!({ "target_connections": 3 }));
    account.api.set_round_trip(Duration::from_millis(30));
    for number in 0..40 {
        account.deliver(&mail(&number.to_string()));
    }
    account.home.run_ok();
    assert_eq!(account.everywhere().len(), 40);
    assert_eq!(account.api.most_open(), 3);
    assert_eq!(account.api.connections(), 3);
}

/// Several kinds of messages: with and without Message-ID, equal ones, two with one id, spam, old mail.
fn several() -> Vec<(Vec<u8>, TimeDelta)> {
    let hour = TimeDelta::hours(1);
    let mut messages: Vec<(Vec<u8>, TimeDelta)> = Vec::new();
    for number in 0..3 {
        messages.push((mail(&format!("letter {number}")), hour));
    }
    messages.push((without_id("one"), hour));
    messages.push((without_id("two"), hour));
    messages.push((mail("offer"), hour));
    messages.push((without_id("another offer"), hour));
    messages.push((mail("old"), TimeDelta::days(3)));
    for text in ["page one", "page two"] {
        let scan = format!("Message-ID: <scan@x>\r\nSubject: {text}\r\n\r\n{text}\r\n");
        messages.push((scan.into_bytes(), hour));
    }
    messages
}

fn with_several() -> Account {
    let account = Account::new();
    account
        .api
        .set_spam(|octets| octets.ends_with(b"offer\r\n"));
    for (octets, ago) in several() {
        account.deliver_at(&octets, ago, &[]);
    }
    account
}

fn expected() -> BTreeMap<String, usize> {
    let messages: Vec<Vec<u8>> = several().into_iter().map(|(octets, _)| octets).collect();
    once(&messages)
}

#[test]
fn a_fault_at_any_request_loses_and_doubles_nothing() {
    let whole = with_several();
    whole.home.run_ok();
    assert_eq!(whole.everywhere(), expected());
    let count = whole.api.requests().len();
    assert!(count >= 9, "{count}");
    for fault in [
        ApiFault::CutBeforeLastOctet,
        ApiFault::CutAfterBody,
        ApiFault::AnswerLost,
        ApiFault::Error(500, "backendError", "Backend Error"),
    ] {
        for number in 1..=count {
            let account = with_several();
            account
                .api
                .once(move |request| request.number == number, fault.clone());
            account.home.run();
            account.recover();
            assert_eq!(account.everywhere(), expected(), "{fault:?} at {number}");
        }
    }
}

#[test]
fn a_cut_at_any_event_of_either_mail_server_loses_and_doubles_nothing() {
    let whole = with_several();
    whole.home.run_ok();
    let counts = [
        whole.home.source.events().len(),
        whole.home.gmail.events().len(),
    ];
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    for (server, count) in counts.into_iter().enumerate() {
        for number in 1..=count {
            let account = with_several();
            let servers: [&double::Server; 2] = [&account.home.source, &account.home.gmail];
            servers[server].faults().cut_at(number);
            account.home.run();
            servers[server].faults().clear();
            account.recover();
            assert_eq!(
                account.everywhere(),
                expected(),
                "server {server}, event {number}"
            );
        }
    }
}

#[test]
fn a_program_that_is_killed_at_any_request_loses_and_doubles_nothing() {
    for number in 1..=9 {
        for fault in [
            ApiFault::Stall(Duration::from_mins(1)),
            ApiFault::AnswerLost,
        ] {
            let account = with_several();
            account
                .api
                .once(move |request| request.number == number, fault);
            let mut child = account.home.start();
            let deadline = Instant::now() + Duration::from_secs(30);
            while account.api.requests().len() < number && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            account.recover();
            assert_eq!(account.everywhere(), expected(), "killed at {number}");
        }
    }
}

#[test]
fn an_import_that_was_sent_long_after_its_intent_is_not_looked_up_too_soon_after_a_crash() {
    let account = Account::new();
    let stalled = ApiFault::Stall(Duration::from_mins(5));
    account.api.once(ApiRequest::is_import, stalled);
    account.deliver(&mail("letter"));
    let mut child = account.home.start();
    let deadline = Instant::now() + Duration::from_secs(30);
    while account.imports().is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Gmail limited the rate for a minute before it took the message, and is storing it now.
    account.home.age_by_seconds(70);
    account.home.run_ok();
    assert_eq!(account.imports().len(), 1);
    let now = Utc::now().fixed_offset();
    let mailboxes = account.home.gmail.mailboxes();
    mailboxes.deliver("INBOX", &mail("letter"), now, &[]);
    account.home.age_by_seconds(61);
    account.home.run_ok();
    assert_eq!(account.imports().len(), 1);
    assert_eq!(account.home.state()["parked"], json!({}));
    assert_eq!(account.everywhere(), once(&[mail("letter")]));
}

#[test]
fn the_second_label_of_a_message_that_was_imported_is_set_by_imap() {
    let account = Account::new();
    account.home.source.mailboxes().create("Lists");
    account.home.configure(&json!({ "folders": [
        { "source": "INBOX" },
        { "source": "Lists", "labels": ["News"] },
    ] }));
    let date = Utc::now().fixed_offset();
    account.home.source.deliver(&mail("letter"), date, &[]);
    account
        .home
        .source
        .mailboxes()
        .deliver("Lists", &mail("letter"), date, &[]);
    account.home.run_ok();
    let all = account.home.gmail.all_mail();
    assert_eq!(all.len(), 1);
    assert!(is_imported(&all[0]));
    assert_eq!(all[0].mailboxes, ["INBOX", "News", "[Gmail]/All Mail"]);
}

#[test]
fn watch_imports_what_arrives() {
    let account = Account::new();
    account.home.run_ok();
    let mut child = account.home.command().arg("--watch").spawn().unwrap();
    account
        .home
        .source
        .deliver(&mail("letter"), Utc::now().fixed_offset(), &[]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while account.everywhere().is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    // A second one over the connections that are open.
    account
        .home
        .source
        .deliver(&mail("second"), Utc::now().fixed_offset(), &[]);
    while account.everywhere().len() < 2 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(
        account.everywhere(),
        once(&[mail("letter"), mail("second")])
    );
    assert_eq!(account.api.connections(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn sigterm_ends_a_run_whose_import_is_not_answered() {
    let account = Account::new();
    account.api.once(
        ApiRequest::is_import,
        ApiFault::Stall(Duration::from_mins(1)),
    );
    account.deliver(&mail("letter"));
    let child = account.home.start();
    let deadline = Instant::now() + Duration::from_secs(30);
    while account.imports().is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    let told = Instant::now();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let run: Run = child.wait_with_output().unwrap().into();
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(told.elapsed() < Duration::from_secs(20));
    account.recover();
    assert_eq!(account.everywhere(), once(&[mail("letter")]));
}

/// A target without a run around it, which imports to All Mail, and a message of this many octets.
fn target_of(account: &Account, canceller: Canceller, octets: usize) -> (GmailDelivery, Message) {
    let (home, octets) = (&account.home, [mail("large"), vec![b'x'; octets]].concat());
    let target = GmailDelivery::new(GmailTargetOptions {
        config: TargetConfig {
            server: Server {
                host: "127.0.0.1".to_owned(),
                port: home.gmail.port(),
                tls: TlsMode::Implicit,
                tls_name: "localhost".to_owned(),
                ca_file: Some(home.path("gmail.pem")),
            },
            user: home.gmail.user(),
            token_file: home.path("token.json"),
            folder: "INBOX".to_owned(),
            connections: 1,
            auth_command: "auth".to_owned(),
            import: Some(ImportConfig {
                max_age: TimeDelta::days(1),
                never_spam: false,
                process_for_calendar: true,
                api: account.api.url(),
            }),
        },
        now: Arc::new(Utc::now),
        connection: ConnectionOptions {
            canceller,
            ..ConnectionOptions::default()
        },
        rejected_token: None,
        renewal: RenewalPolicy::Save,
    });
    let message = Message {
        uid: Uid::MIN,
        id: MessageId::of_octets(&octets),
        internal_date: None,
        flags: Flags::default(),
        method: DeliveryMethod::Import,
        octets,
    };
    (target, message)
}

#[test]
fn a_message_that_counts_as_not_sent_is_not_stored_by_a_request_that_was_left() {
    let account = Account::new();
    let pause = ApiFault::PauseAfter(1 << 20, Duration::from_secs(1));
    account.api.once(ApiRequest::is_part, pause);
    let canceller = Canceller::new().unwrap();
    // Far more than the system's buffers hold.
    let (mut target, message) = target_of(&account, canceller.clone(), 32 << 20);
    target.submit(message).unwrap();
    canceller.cancel_at(Instant::now() + Duration::from_millis(500));
    let _ = target.finish();
    let (_, outcome) = target.settled().unwrap();
    assert!(matches!(outcome, Outcome::Unsent(_)), "{outcome:?}");
    // The request would go on after the pause.
    thread::sleep(Duration::from_secs(3));
    assert_eq!(account.everywhere(), BTreeMap::new());
}

#[test]
fn check_shows_whether_the_api_is_switched_on_and_delivers_nothing() {
    let account = Account::new();
    let check = || -> Run {
        let mut command = program::program(&account.home.path(""));
        command
            .args(["check", "--config", "config.json"])
            .output()
            .unwrap()
            .into()
    };
    let run = check();
    assert_eq!(run.status, Some(0), "{run:?}");
    assert!(
        run.stdout
            .contains("the Gmail API is switched on for imports"),
        "{run:?}"
    );
    account.api.always(
        |_| true,
        ApiFault::Error(
            403,
            "accessNotConfigured",
            "Gmail API has not been used in project 1",
        ),
    );
    let run = check();
    assert_eq!(run.status, Some(77), "{run:?}");
    assert!(run.stdout.contains("switch on the Gmail API"), "{run:?}");
    assert!(account.imports().is_empty());
}

#[test]
fn check_warns_when_imports_in_spam_cannot_be_found_again() {
    let account = Account::new();
    let check = || -> Vec<Value> {
        let output = program::program(&account.home.path(""))
            .args(["check", "--config", "config.json", "--json"])
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let report = report.as_array().map_or(&report, |all| &all[0]).clone();
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .filter(|finding| finding["check"] == "Spam")
            .cloned()
            .collect()
    };
    assert_eq!(check(), [] as [Value; 0], "it is shown");
    let gmail = &account.home.gmail;
    gmail.change(|options| options.hidden.push("\\Junk".to_owned()));
    let [warning] = check().try_into().unwrap();
    assert_eq!(warning["result"], "warn");
    let remedy = warning["remedy"].as_str().unwrap();
    assert!(remedy.contains("\"Show in IMAP\" for Spam"), "{remedy}");
    for without in [
        json!({ "import_never_spam": true }),
        json!({ "delivery": "append", "import_never_spam": null }),
    ] {
        account.home.configure(&without);
        assert_eq!(check(), [] as [Value; 0], "{without}");
    }
}

/// The round trip of both ways to Gmail in the measurements.
const ROUND_TRIP: Duration = Duration::from_millis(50);

/// An account that imports or appends, at some distance.
fn distant(delivery: &str, connections: usize) -> Account {
    let account = Account::new();
    account
        .home
        .configure(&json!({ "delivery": delivery, "target_connections": connections }));
    account.api.set_round_trip(ROUND_TRIP);
    account.home.gmail.set_round_trip(ROUND_TRIP);
    account
}

#[test]
#[ignore = "a measurement"]
fn measure_a_thousand_imports_beside_appends() {
    for connections in [4, 10] {
        let mut seconds = Vec::new();
        for delivery in ["append", "import"] {
            let account = distant(delivery, connections);
            for number in 0..1_000 {
                let octets = [mail(&number.to_string()), vec![b'x'; 15_000]].concat();
                account.deliver(&octets);
            }
            let start = Instant::now();
            account.home.run_ok();
            seconds.push(start.elapsed().as_secs_f64());
            assert_eq!(account.everywhere().len(), 1_000);
        }
        println!(
            "{connections} connections: append {:.0}, import {:.0} messages a second: {:.2} x",
            1_000.0 / seconds[0],
            1_000.0 / seconds[1],
            seconds[0] / seconds[1]
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn measure_how_soon_a_message_is_imported_beside_appended() {
    let medians = ["append", "import"].map(|delivery| {
        let account = distant(delivery, 4);
        account.home.run_ok();
        let mut child = account.home.command().arg("--watch").spawn().unwrap();
        let mut times = Vec::new();
        for number in 0..12 {
            thread::sleep(Duration::from_millis(700));
            account.deliver_at(&mail(&number.to_string()), TimeDelta::zero(), &[]);
            let told = Instant::now();
            while account.home.gmail.all_mail().len() <= number {
                thread::sleep(Duration::from_millis(1));
            }
            times.push(told.elapsed().as_secs_f64() * 1000.0);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // The first ones open the connections.
        times.drain(..2);
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let trips = medians.map(|median| median / 50.0);
    println!(
        "from arrival at the source to Gmail: append {:.0} ms ({:.1} round trips), import {:.0} ms ({:.1})",
        medians[0], trips[0], medians[1], trips[1]
    );
}
