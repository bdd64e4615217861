//! Labels are set on each copied message, and on no other one; and none comes back that the user took
//! away.

use std::collections::BTreeSet;

use chrono::Utc;
use double::{Event, Fault, GmailOptions, SourceOptions, Unfinished};
use imap_to_gmail_sync::error::ErrorKind;

use crate::program::Home;
use crate::{deliver, mail, run_here};

/// A name that needs every kind of quoting, as it is configured and as Gmail has it.
const ODD: &str = r#"Über/a "b" \c"#;
const ODD_ENCODED: &str = r#"&ANw-ber/a "b" \c"#;
const PLAIN: &str = "Old mail";

const LABELS: [&str; 2] = [PLAIN, ODD];

fn new() -> Vec<Vec<u8>> {
    let mut new: Vec<Vec<u8>> = (0..4)
        .map(|number| mail(&format!("new-{number}"), "new", &format!("body {number}")))
        .collect();
    new.push(b"Subject: no id\r\n\r\none\r\n".to_vec());
    new.push(b"Subject: no id\r\n\r\ntwo\r\n".to_vec());
    new
}

fn held() -> Vec<u8> {
    mail("held", "there already", "the first")
}

fn home(unfinished: Unfinished) -> Home {
    let options = GmailOptions {
        deduplicates: false,
        unfinished,
        ..GmailOptions::default()
    };
    let home = Home::with(SourceOptions::default(), options);
    home.gmail.deliver(&held(), Utc::now().fixed_offset(), &[]);
    deliver(&home, new().into_iter().chain([held()]).collect());
    home
}

fn labelled(home: &Home, label: &str) -> Vec<Vec<u8>> {
    if !home.gmail.mailboxes().exist(label) {
        return Vec::new();
    }
    let mut messages: Vec<Vec<u8>> = home
        .gmail
        .messages(label)
        .into_iter()
        .map(|message| message.octets)
        .collect();
    messages.sort();
    messages
}

/// The user takes a label from all messages that have it.
fn take_away(home: &Home, label: &str) -> BTreeSet<Vec<u8>> {
    let there = labelled(home, label);
    if !there.is_empty() {
        for message in home.gmail.messages(label) {
            home.gmail.mailboxes().expunge(label, message.uid);
        }
    }
    there.into_iter().collect()
}

fn without(taken: &BTreeSet<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut left = new();
    left.retain(|octets| !taken.contains(octets));
    left.sort();
    left
}

fn recover(home: &Home, what: &str) {
    home.gmail.faults().clear();
    for _ in 0..5 {
        home.age_by_minutes(24 * 60);
        let done = run_here(home, &LABELS);
        let state = home.state();
        let is_left = state["parked"].as_object().is_some_and(|it| !it.is_empty())
            || state.get("owed_labels").is_some();
        if done.is_ok() && !is_left {
            return;
        }
    }
    panic!("{what}: it does not come to an end: {}", home.state());
}

/// Cuts Gmail at every so manieth event; in between, the user takes a label away.
fn cut_everywhere(unfinished: Unfinished, first: usize, step: usize) {
    let whole = home(unfinished);
    run_here(&whole, &LABELS).unwrap();
    let events = whole.gmail.events().len();
    assert!(events > 60, "{events}");
    for event in (first..=events).step_by(step) {
        let what = format!("cut at event {event} of {events}");
        let home = home(unfinished);
        home.gmail.faults().cut_at(event);
        let _ = run_here(&home, &LABELS);
        home.gmail.faults().clear();
        let taken = take_away(&home, PLAIN);
        recover(&home, &what);
        assert_eq!(labelled(&home, PLAIN), without(&taken), "{what}");
        assert_eq!(
            labelled(&home, ODD_ENCODED),
            without(&BTreeSet::new()),
            "{what}"
        );
        assert_eq!(
            home.gmail.messages("INBOX").len(),
            new().len() + 1,
            "{what}"
        );
    }
}

#[test]
fn each_message_has_its_labels_wherever_gmail_is_cut_and_drops_cut_appends() {
    cut_everywhere(Unfinished::Forgotten, 1, 8);
}

#[test]
fn each_message_has_its_labels_wherever_gmail_is_cut_and_stores_cut_appends() {
    cut_everywhere(Unfinished::Stored, 5, 8);
}

fn stores(home: &Home) -> usize {
    let commands = home.gmail.commands();
    commands
        .iter()
        .filter(|it| it.contains("+X-GM-LABELS"))
        .count()
}

#[test]
fn one_command_sets_the_labels_of_all_messages_of_a_pass() {
    let home = home(Unfinished::Forgotten);
    run_here(&home, &LABELS).unwrap();
    assert_eq!(labelled(&home, PLAIN), without(&BTreeSet::new()));
    assert_eq!(stores(&home), 1);
    let commands = home.gmail.commands();
    let count = |part: &str| commands.iter().filter(|it| it.contains(part)).count();
    assert_eq!((count("SELECT"), count("MODSEQ")), (1, 1));
    take_away(&home, PLAIN);
    run_here(&home, &LABELS).unwrap();
    assert_eq!(labelled(&home, PLAIN), Vec::<Vec<u8>>::new());
    assert_eq!(stores(&home), 1);
}

fn is_store(event: &Event) -> bool {
    event.is_command("UID STORE")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    AtStore,
    AtResponse,
}

/// The events at which the connection that sets labels is to be cut.
fn is_cut(cut: Cut) -> impl FnMut(&Event) -> bool + Send + 'static {
    let mut is_stored = false;
    move |event| {
        let is_it = match cut {
            Cut::AtStore => is_store(event),
            Cut::AtResponse => is_stored && event.is_line("OK Success"),
        };
        is_stored |= is_store(event);
        is_it
    }
}

#[test]
fn labels_whose_response_is_lost_are_not_set_again() {
    let home = home(Unfinished::Forgotten);
    home.gmail
        .faults()
        .once(is_cut(Cut::AtResponse), Fault::Eof);
    run_here(&home, &LABELS).unwrap();
    assert_eq!(labelled(&home, PLAIN), without(&BTreeSet::new()));
    assert_eq!(stores(&home), 1);
}

#[test]
fn labels_that_were_not_set_are_set_over_another_connection_or_by_the_next_run() {
    let home = home(Unfinished::Forgotten);
    home.gmail.faults().once(is_cut(Cut::AtStore), Fault::Eof);
    run_here(&home, &LABELS).unwrap();
    assert_eq!(labelled(&home, PLAIN), without(&BTreeSet::new()));

    let home = self::home(Unfinished::Forgotten);
    home.gmail.faults().always(is_cut(Cut::AtStore), Fault::Eof);
    let error = run_here(&home, &LABELS).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(labelled(&home, PLAIN), Vec::<Vec<u8>>::new());
    home.gmail.faults().clear();
    run_here(&home, &LABELS).unwrap();
    assert_eq!(labelled(&home, PLAIN), without(&BTreeSet::new()));
}

#[test]
fn a_message_that_the_user_archives_first_gets_its_labels_and_one_in_the_trash_does_not() {
    let home = home(Unfinished::Forgotten);
    // Before the versions are read.
    home.gmail
        .faults()
        .always(|event| event.is_command("SELECT"), Fault::Eof);
    assert!(run_here(&home, &LABELS).is_err());
    let inbox = home.gmail.messages("INBOX");
    let uid_of = |octets: &[u8]| {
        let found = inbox.iter().find(|message| message.octets == octets);
        found.unwrap().uid
    };
    home.gmail.archive(uid_of(&new()[0]));
    home.gmail.archive(uid_of(&new()[4]));
    home.gmail.trash(uid_of(&new()[1]));
    recover(&home, "archived");
    let trashed = BTreeSet::from([new()[1].clone()]);
    assert_eq!(labelled(&home, PLAIN), without(&trashed));
}

#[test]
fn a_label_that_gmail_refuses_is_given_up_and_the_others_are_set() {
    let home = home(Unfinished::Forgotten);
    run_here(&home, &["two  blanks", PLAIN, r"\Trash", "INBOX"]).unwrap();
    assert_eq!(labelled(&home, PLAIN), without(&BTreeSet::new()));
    assert!(home.state().get("owed_labels").is_none());
    assert!(home.gmail.in_trash().is_empty());
    let before = stores(&home);
    run_here(&home, &["two  blanks", PLAIN]).unwrap();
    assert_eq!(stores(&home), before);
}

#[test]
fn labels_need_gmail_and_nothing_is_copied_before_that_is_said() {
    let home = home(Unfinished::Forgotten);
    let no_labels = |event: &Event| event.is_line("X-GM-EXT-1");
    home.gmail.faults().always(
        no_labels,
        Fault::Instead("* CAPABILITY IMAP4rev1 UIDPLUS SASL-IR AUTH=XOAUTH2".to_owned()),
    );
    let error = run_here(&home, &LABELS).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(
        text.contains("X-GM-EXT-1") && text.contains("remove labels"),
        "{text}"
    );
    assert_eq!(home.gmail.messages("INBOX").len(), 1);
    run_here(&home, &[]).unwrap();
    assert_eq!(home.gmail.messages("INBOX").len(), new().len() + 1);
}

#[test]
fn what_gmail_responds_to_a_store_has_its_consequence_and_the_labels_stay_owed() {
    for (response, kind) in [
        (
            "<T> NO [UNAVAILABLE] Temporary System Problem. Try again later. (Failure)",
            ErrorKind::Unavailable,
        ),
        (
            "<T> NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)",
            ErrorKind::Resting,
        ),
        (
            "* BYE Session expired, please login again.",
            ErrorKind::Unavailable,
        ),
    ] {
        let home = home(Unfinished::Forgotten);
        let fault = Fault::Instead(response.to_owned());
        home.gmail.faults().always(is_store, fault);
        let error = run_here(&home, &LABELS).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let owed = home.state()["owed_labels"].as_object().unwrap().len();
        assert_eq!(owed, new().len(), "{response}");
        recover(&home, response);
        assert_eq!(labelled(&home, PLAIN), without(&BTreeSet::new()));
    }
}

#[test]
fn a_label_that_the_user_renames_or_deletes_is_created_anew_for_later_mail_only() {
    let home = home(Unfinished::Forgotten);
    run_here(&home, &LABELS).unwrap();
    home.gmail.mailboxes().rename(PLAIN, "renamed");
    home.gmail.mailboxes().delete(ODD_ENCODED);
    let later = mail("later", "new", "later");
    deliver(&home, vec![later.clone()]);
    run_here(&home, &LABELS).unwrap();
    assert_eq!(labelled(&home, PLAIN), vec![later.clone()]);
    assert_eq!(labelled(&home, ODD_ENCODED), [later]);
    assert_eq!(labelled(&home, "renamed"), without(&BTreeSet::new()));
}
