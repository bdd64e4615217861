//! The resident program copies new mail, whatever happens between two passes.

use double::{AppendResponse, Fault, GmailOptions, Quirk, SourceOptions};
use rustix::process::Signal;
use serde_json::json;

use crate::program::Home;
use crate::watching::{
    Watching, arrived, assert_each_arrived_once, deliver, deliver_and_wait, message,
};

#[test]
fn present_and_new_mail_is_copied_over_connections_that_stay_open() {
    let home = Home::new();
    deliver(&home, 0);
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX by IDLE");
    assert_eq!(arrived(&home), 1);
    for number in 1..4 {
        deliver(&home, number);
        watching.wait_until("the message", || arrived(&home) == number + 1);
    }
    let run = watching.terminate();
    assert_eq!(home.gmail.logins(), 2);
    assert_eq!(home.source.logins(), 1);
    assert_eq!(home.state()["cursor"]["uid"], 4);
    assert_eq!(home.state()["parked"], json!({}));
    assert_eq!(
        run.logged("info").last().copied(),
        Some("ended by a signal")
    );
}

#[test]
fn without_new_mail_neither_gmail_nor_the_token_endpoint_is_contacted() {
    let home = Home::new();
    deliver(&home, 0);
    home.run_ok();
    let (connections, requests) = (home.gmail.connections(), home.endpoint.requests().len());
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    watching.signal(Signal::USR1);
    watching.wait_for("checking the source now");
    watching.terminate();
    assert_eq!(home.gmail.connections(), connections);
    assert_eq!(home.endpoint.requests().len(), requests);
}

#[test]
fn mail_that_arrives_between_a_pass_and_the_wait_is_not_missed() {
    let home = Home::new();
    deliver(&home, 0);
    // Mail arrives after the listing of the pass: during its FETCH, and just before IDLE.
    for (command, number) in [("UID FETCH", 1), ("IDLE", 2)] {
        home.source.faults().once(
            move |event| event.is_command(command),
            Fault::run(move |mailboxes| {
                let now = chrono::Utc::now().fixed_offset();
                mailboxes.deliver("INBOX", &message(number), now, &[]);
            }),
        );
    }
    let watching = Watching::start(&home);
    watching.wait_until("all three", || arrived(&home) == 3);
    watching.terminate();
    assert_each_arrived_once(&home, 3);
}

#[test]
fn after_a_backlog_two_connections_to_gmail_stay_open() {
    let home = Home::new();
    for number in 0..60 {
        deliver(&home, number);
    }
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    let logouts = || {
        let commands = home.gmail.commands();
        commands.iter().filter(|it| *it == "LOGOUT").count()
    };
    let logins = home.gmail.logins();
    assert!(logins > 2, "{logins}");
    watching.wait_until("the log-outs", || logouts() == logins - 2);
    deliver(&home, 60);
    watching.wait_until("the message", || arrived(&home) == 61);
    assert_eq!(home.gmail.logins(), logins);
    watching.terminate();
}

#[test]
fn a_burst_takes_few_passes_and_all_of_it_arrives() {
    let home = Home::new();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    // The others arrive at once, just before the server announces the first.
    home.source.faults().once(
        |event| event.is_line("EXISTS"),
        Fault::run(|mailboxes| {
            let now = chrono::Utc::now().fixed_offset();
            for number in 1..100 {
                mailboxes.deliver("INBOX", &message(number), now, &[]);
            }
        }),
    );
    deliver(&home, 0);
    watching.wait_until("all of them", || arrived(&home) == 100);
    let run = watching.terminate();
    let passes = run
        .logged("info")
        .iter()
        .filter(|line| line.contains(" copied, "))
        .count();
    assert!((1..=10).contains(&passes), "{passes} passes");
    assert_each_arrived_once(&home, 100);
}

#[test]
fn a_parked_message_is_retried_without_new_mail() {
    let home = Home::new();
    home.gmail.change(|gmail| {
        gmail.append_response = AppendResponse::Refusal("NO not now".to_owned());
    });
    deliver(&home, 0);
    home.run_ok();
    home.gmail
        .change(|gmail| gmail.append_response = AppendResponse::Normal);
    // The retry is due in about ten seconds.
    home.age_by_seconds(50);
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    assert_eq!(arrived(&home), 0);
    watching.wait_until("the message", || arrived(&home) == 1);
    watching.terminate();
}

#[test]
fn a_second_run_reports_which_process_holds_the_lock() {
    let home = Home::new();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    let run = home.run_ok();
    let expected = format!("another run holds the lock (process {})", watching.pid());
    assert!(run.logged("info")[0].contains(&expected), "{run:?}");
    watching.terminate();
    home.run_ok();
}

#[test]
fn each_check_for_mail_renews_the_time_stamp_of_the_lock() {
    let home = Home::new();
    let stamp = || {
        let lock = std::fs::metadata(home.path("sync_state.json.lock")).unwrap();
        lock.modified().unwrap()
    };
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    let before = stamp();
    watching.signal(Signal::USR1);
    watching.wait_until("the time stamp", || stamp() > before);
    watching.terminate();
}

#[test]
fn mail_is_copied_from_sources_with_every_oddity() {
    // With these two nothing can be copied.
    let unusable = [Quirk::NilBodies, Quirk::NoUidValidity];
    for quirk in Quirk::ALL
        .into_iter()
        .filter(|quirk| !unusable.contains(quirk))
    {
        let options = SourceOptions {
            quirks: [quirk].into(),
            ..SourceOptions::default()
        };
        let home = Home::with(options, GmailOptions::default());
        let watching = Watching::start(&home);
        watching.wait_for("by IDLE");
        deliver_and_wait(&home, &watching, 0..3);
        let run = watching.terminate();
        assert_eq!(home.gmail.messages("INBOX").len(), 3, "{quirk:?}");
        let commands = home.source.commands().len();
        assert!(commands < 60, "{quirk:?}: {commands} commands; {run:?}");
    }
}
