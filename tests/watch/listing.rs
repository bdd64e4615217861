//! The listing that the check for new mail fetches ahead for the pass.

use imap_to_gmail_sync::source::WaitOutcome;

use crate::scripted_server::{OPEN_INBOX, ScriptedServer};
use crate::session::{
    DONE_AND_FETCH, NOOP_AND_IDLE, OPEN_INBOX_WITH_5, idle_for_long, list_5, open, options,
    wait_and_check,
};

#[test]
fn a_burst_of_exists_lines_is_one_check() {
    let lines = |line: fn(u32) -> String| (5..=104).map(line).collect::<Vec<_>>().concat();
    let announced = lines(|count| format!("* {count} EXISTS\r\n* {count} RECENT\r\n"));
    let burst = format!("R: + idling\r\n{announced}");
    let listed = lines(|uid| format!("* {uid} FETCH (UID {uid})\r\n"));
    let listed = format!("R: {listed}");
    let check = [
        "C: DONE",
        "C: UID FETCH 5:* *",
        "S: $2 OK",
        &listed,
        "S: $3 OK",
        "C: NOOP",
        "S: $tag OK",
    ];
    let server = ScriptedServer::play(&[
        &OPEN_INBOX,
        &NOOP_AND_IDLE,
        &[&burst],
        &check,
        &["C: IDLE", "S: + x", "silence"],
    ]);
    let options = options();
    let mut source = open(server.address(), &options);
    let (outcome, new) = wait_and_check(&mut source, idle_for_long());
    assert_eq!((outcome, new.len()), (WaitOutcome::NewMail, 100));
    options.canceller.wake();
    assert_eq!(
        source.wait_for_mail(idle_for_long()).unwrap(),
        WaitOutcome::Woken,
        "nothing of it is left"
    );
}

#[test]
fn a_very_large_burst_is_searched_for_and_not_listed_at_once() {
    let announced = [
        "R: + x\r\n* 5 EXISTS\r\n* 5000 EXISTS\r\n",
        "C: DONE",
        "C: NOOP",
    ];
    let found = [
        "C: UID SEARCH UID 5:*",
        "S: $2 OK",
        "S: $3 OK",
        "S: * SEARCH 5 6 7 4999",
        "S: $4 OK",
    ];
    let server = ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, &announced, &found]);
    let mut source = open(server.address(), &options());
    assert_eq!(
        source.wait_for_mail(idle_for_long()).unwrap(),
        WaitOutcome::NewMail
    );
    assert_eq!(source.check_for_mail().unwrap().uid_next.get(), 5000);
}

#[test]
fn a_listing_ahead_that_fails_with_no_is_left_to_the_pass() {
    let announced = [
        "S: + x",
        "S: * 5 EXISTS",
        "C: DONE",
        "C: UID FETCH 5:* *",
        "S: $2 OK",
        "S: $3 NO cannot",
    ];
    let server = ScriptedServer::play(&[
        &OPEN_INBOX,
        &NOOP_AND_IDLE,
        &announced,
        &OPEN_INBOX_WITH_5[3..],
    ]);
    let mut source = open(server.address(), &options());
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5])
    );
}

#[test]
fn a_listing_ahead_is_returned_once() {
    let announced = ["S: + x", "S: * 5 EXISTS"];
    let again = ["C: UID FETCH 5 *", "S: $tag OK"];
    let server = ScriptedServer::play(&[
        &OPEN_INBOX,
        &NOOP_AND_IDLE,
        &announced,
        &DONE_AND_FETCH,
        &again,
    ]);
    let mut source = open(server.address(), &options());
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5])
    );
    assert_eq!(list_5(&mut source), [5]);
    assert!(list_5(&mut source).is_empty());
}
