//! Sessions that break, and folders that change meanwhile.

use std::time::Duration;

use imap_to_gmail_sync::error::Side;
use imap_to_gmail_sync::message::Uid;
use imap_to_gmail_sync::source::WaitOutcome;
use imap_to_gmail_sync::sync::Source;

use crate::scripted_server::{OPEN_INBOX, ScriptedServer, dialogue};
use crate::session::{
    NOOP_AND_IDLE, OPEN_INBOX_WITH_5, check, idle_for_long, open, options, wait_and_check,
};

#[test]
fn a_bye_or_a_broken_connection_ends_the_wait_and_the_next_check_reconnects() {
    for (last_lines, expected) in [
        (
            &["S: + x", "S: * BYE idle for too long"][..],
            "idle for too long",
        ),
        (&["S: + x"], "it closed the connection"),
        (&["S: * BYE going down"], "going down"),
        (&[], "it closed the connection"),
    ] {
        let server = ScriptedServer::play_all(vec![
            dialogue(&[&OPEN_INBOX, &NOOP_AND_IDLE, last_lines]),
            dialogue(&[&OPEN_INBOX_WITH_5]),
        ]);
        let mut source = open(server.address(), &options());
        let error = source
            .wait_for_mail(idle_for_long())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("waiting for new mail") && error.contains(expected),
            "{error}"
        );
        assert_eq!(check(&mut source), [5]);
    }
}

#[test]
fn after_a_bye_that_leaves_the_connection_open_the_server_still_gets_idle_and_pipelines() {
    let during_idle = ["S: * BYE going down", "closed"];
    let during_check = [
        "S: + x",
        "S: * 5 EXISTS",
        "C: DONE",
        "S: $2 OK",
        "S: * BYE going down",
        "closed",
    ];
    let pipelined = ["S: + x", "S: * 6 EXISTS", "C: DONE", "C: UID FETCH 6:* *"];
    for (bye, is_in_wait) in [(&during_idle[..], true), (&during_check, false)] {
        let server = ScriptedServer::play_all(vec![
            dialogue(&[&OPEN_INBOX, &NOOP_AND_IDLE, bye]),
            dialogue(&[&OPEN_INBOX_WITH_5, &NOOP_AND_IDLE, &pipelined]),
        ]);
        let mut source = open(server.address(), &options());
        let waited = source.wait_for_mail(idle_for_long());
        assert_eq!(waited.is_err(), is_in_wait, "{waited:?}");
        if let Err(error) = waited {
            assert!(error.to_string().contains("going down"), "{error}");
        }
        assert_eq!(check(&mut source), [5]);
        let waited = source.wait_for_mail(idle_for_long()).unwrap();
        assert_eq!(waited, WaitOutcome::NewMail);
        // The dialogue ends when both commands have come; a third connection is not accepted.
        let _ = source.check_for_mail().unwrap_err();
    }
}

#[test]
fn another_uidvalidity_after_a_reconnect_is_noticed() {
    let another: Vec<String> = OPEN_INBOX
        .iter()
        .map(|step| step.replace("UIDVALIDITY 7", "UIDVALIDITY 8"))
        .collect();
    let server = ScriptedServer::play_all(vec![dialogue(&[&OPEN_INBOX, &NOOP_AND_IDLE]), another]);
    let mut source = open(server.address(), &options());
    let _ = source.wait_for_mail(idle_for_long()).unwrap_err();
    assert_eq!(source.check_for_mail().unwrap().uid_validity.get(), 8);
}

#[test]
fn mail_that_arrives_while_a_pass_reconnects_is_not_missed() {
    let breaks = ["C: UID SEARCH UID 1"];
    let goes_on = [
        "C: UID SEARCH UID 1",
        "S: * SEARCH 1",
        "S: $tag OK",
        "C: NOOP",
        "S: $tag OK",
    ];
    let server = ScriptedServer::play_all(vec![
        dialogue(&[&OPEN_INBOX, &breaks]),
        dialogue(&[
            &OPEN_INBOX_WITH_5,
            &goes_on,
            &["C: UID SEARCH UID 5:*", "S: * SEARCH 5", "S: $tag OK"],
        ]),
    ]);
    let mut source = open(server.address(), &options());
    let one = imap_to_gmail_sync::sync::SourceSearch::Uids("1".parse().unwrap());
    assert_eq!(source.search(&one).unwrap().len(), 1);
    assert_eq!(
        wait_and_check(&mut source, idle_for_long()),
        (WaitOutcome::NewMail, vec![5])
    );
}

#[test]
fn a_folder_replaced_during_a_session_is_noticed() {
    // The old session keeps the old folder and never sees the new one.
    let announced = ["S: + idling"];
    let replaced = [
        "C: DONE",
        "S: $2 OK",
        "C: EXAMINE \"INBOX\"",
        "S: * 1 EXISTS",
        "S: * OK [UIDVALIDITY 8] x",
        "S: * OK [UIDNEXT 2] x",
        "S: $tag OK opened",
    ];
    let server = ScriptedServer::play(&[&OPEN_INBOX, &NOOP_AND_IDLE, &announced, &replaced]);
    let mut options = options();
    options.timeouts.idle_max = Duration::from_millis(50);
    let mut source = open(server.address(), &options);
    assert_eq!(
        source.wait_for_mail(idle_for_long()).unwrap(),
        WaitOutcome::Elapsed
    );
    let mailbox = source.check_for_mail().unwrap();
    let seen = (
        mailbox.uid_validity.get(),
        mailbox.uid_next.get(),
        mailbox.exists,
    );
    assert_eq!(seen, (8, 2, 1));
}

#[test]
fn a_lower_uidnext_after_a_reconnect_is_an_error() {
    let mut fallen = OPEN_INBOX;
    fallen[6] = "S: * OK [UIDNEXT 4] x";
    let server = ScriptedServer::play_all(vec![
        dialogue(&[&OPEN_INBOX, &["C: UID FETCH 4 *"]]),
        dialogue(&[&fallen, &["C: LOGOUT", "S: $tag OK"]]),
    ]);
    let mut source = open(server.address(), &options());
    let fourth = Uid::new(4).unwrap();
    source.fetch(&[fourth]).unwrap();
    let error = source.list(&"4".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("its UIDNEXT fell"), "{error}");
}

/// `--watch` retries after an error of the source, and exits after one of the host.
#[test]
fn a_reconnect_that_fails_is_an_error_of_the_source() {
    let server = ScriptedServer::play_all(vec![dialogue(&[&OPEN_INBOX, &["C: UID FETCH 4 *"]])]);
    let mut source = open(server.address(), &options());
    source.fetch(&[Uid::new(4).unwrap()]).unwrap();
    let error = source.list(&"4".parse().unwrap()).unwrap_err();
    assert_eq!(error.side(), Side::Source, "{error}");
}

#[test]
fn a_session_that_breaks_twice_is_not_reopened_at_once() {
    let outcome = [
        "S: + idling",
        "S: * 5 EXISTS",
        "C: DONE",
        "C: UID FETCH 5:* *",
    ];
    let breaks = dialogue(&[&OPEN_INBOX, &NOOP_AND_IDLE, &outcome]);
    let server = ScriptedServer::play_all(vec![breaks.clone(), breaks]);
    let mut source = open(server.address(), &options());
    source.wait_for_mail(idle_for_long()).unwrap();
    source.check_for_mail().unwrap();
    source.wait_for_mail(idle_for_long()).unwrap();
    let error = source.check_for_mail().unwrap_err().to_string();
    assert!(error.contains("checking for new mail"), "{error}");
}
