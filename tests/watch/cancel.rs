//! Ending a wait from another thread, and logging out.

use std::thread;
use std::time::{Duration, Instant};

use imap_to_gmail_sync::source::{WaitOptions, WaitOutcome};
use imap_to_gmail_sync::sync::Source;

use crate::scripted_server::{OPEN_INBOX, ScriptedServer, dialogue};
use crate::session::{LONG, NOOP_AND_IDLE, idle_for_long, open, options, wait_and_check};

#[test]
fn a_wake_up_ends_the_wait_and_the_next_check_ends_the_idle() {
    let check_for_mail = [
        "C: DONE",
        "S: $2 OK",
        "C: NOOP",
        "S: $tag OK",
        "C: UID SEARCH UID 5:*",
        "S: * SEARCH 4",
        "S: $tag OK",
    ];
    for begin in [&NOOP_AND_IDLE[..], &[]] {
        let use_idle = !begin.is_empty();
        let steps = if use_idle {
            dialogue(&[&OPEN_INBOX, begin, &["S: + idling"], &check_for_mail])
        } else {
            dialogue(&[&OPEN_INBOX, &check_for_mail[2..]])
        };
        let server = ScriptedServer::play_all(vec![steps]);
        let options = options();
        let mut source = open(server.address(), &options);
        let waker = thread::spawn({
            let canceller = options.canceller.clone();
            move || {
                thread::sleep(Duration::from_millis(50));
                canceller.wake();
            }
        });
        let wait = WaitOptions {
            use_idle,
            ..idle_for_long()
        };
        assert_eq!(
            wait_and_check(&mut source, wait),
            (WaitOutcome::Woken, vec![])
        );
        waker.join().unwrap();
    }
}

#[test]
fn a_cancel_deadline_ends_the_wait_and_the_logout() {
    let server = ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, &["S: + idling", "silence"]]);
    let mut options = options();
    options.timeouts.idle_start = LONG;
    let mut source = open(server.address(), &options);
    options
        .canceller
        .cancel_at(Instant::now() + Duration::from_millis(50));
    let started = Instant::now();
    assert_eq!(
        source.wait_for_mail(idle_for_long()).unwrap(),
        WaitOutcome::Woken
    );
    source.logout();
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_idling_session_accepts_commands_and_logs_out() {
    let search = [
        "C: DONE",
        "S: $2 OK",
        "C: UID SEARCH UID 1",
        "S: * SEARCH 1",
        "S: $tag OK",
    ];
    let leave = [
        "C: NOOP",
        "S: $tag OK",
        "C: IDLE",
        "S: + x",
        "C: DONE",
        "C: LOGOUT",
        "S: * BYE",
        "S: $tag OK",
    ];
    let server = ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, &["S: + x"], &search, &leave]);
    let options = options();
    let mut source = open(server.address(), &options);
    options.canceller.wake();
    assert_eq!(
        source.wait_for_mail(idle_for_long()).unwrap(),
        WaitOutcome::Woken
    );
    let one = imap_to_gmail_sync::sync::SourceSearch::Uids("1".parse().unwrap());
    assert_eq!(source.search(&one).unwrap().len(), 1);
    options.canceller.wake();
    assert_eq!(
        source.wait_for_mail(idle_for_long()).unwrap(),
        WaitOutcome::Woken
    );
    source.logout();
}

#[test]
fn an_unanswered_logout_does_not_take_long() {
    let server = ScriptedServer::play(&[&OPEN_INBOX, &["C: LOGOUT", "silence"]]);
    let mut options = options();
    options.timeouts.response = LONG;
    let source = open(server.address(), &options);
    let started = Instant::now();
    source.logout();
    // The scripted server itself closes the connection after twenty seconds.
    assert!(started.elapsed() < Duration::from_secs(15));
}
