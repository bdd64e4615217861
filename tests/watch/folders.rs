//! Several folders: mail in another than the inbox, with NOTIFY and without.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use double::{Event, Fault, GmailOptions, SourceOptions};
use imap_to_gmail_sync::config::{Server, TlsMode};
use imap_to_gmail_sync::imap::FolderListing;
use imap_to_gmail_sync::source::{ImapSource, WaitOptions, WaitOutcome};
use serde_json::json;

use crate::dovecot::{Dovecot, PASSWORD};
use crate::program::Home;
use crate::session::{idle_for_long, open_as, options};
use crate::short_delays::{self, MAX_TRIES_IN_THREE_SECONDS, count_for_three_seconds};
use crate::watching::{Watching, message};

/// No test lasts as long as this interval: what is found before was reported.
const POLL_NEVER: [&str; 2] = ["--poll-interval", "3600"];

const BY_NOTIFY: &str = "watching INBOX by IDLE, and the other folders by NOTIFY";
const BY_POLLING: &str = "watching INBOX by IDLE, and the other folders by polling every";

/// Everything goes into a folder of the same name.
fn home_with(source: SourceOptions) -> Home {
    let home = Home::with(source, GmailOptions::default());
    home.source.mailboxes().create("Lists");
    home.configure(&json!({ "folders": [{ "source": "*", "target": "=" }] }));
    home
}

fn home_without_notify() -> Home {
    home_with(SourceOptions {
        without: vec!["NOTIFY".to_owned()],
        ..SourceOptions::default()
    })
}

fn deliver_to(home: &Home, folder: &str, number: usize) {
    let now = Utc::now().fixed_offset();
    let mailboxes = home.source.mailboxes();
    mailboxes.deliver(folder, &message(number), now, &[]);
}

/// Waits until Gmail has this many messages in a folder.
fn wait_for_copies(home: &Home, watching: &Watching, folder: &str, count: usize) {
    let what = format!("message {count} in {folder}");
    watching.wait_until(&what, || {
        home.gmail.mailboxes().exist(folder) && home.gmail.messages(folder).len() == count
    });
}

fn count_of(home: &Home, command: &str) -> usize {
    let commands = home.source.commands();
    commands.iter().filter(|it| it.starts_with(command)).count()
}

#[test]
fn mail_in_other_folders_is_found_by_polling_after_the_connection_broke_in_a_pass() {
    let home = home_with(SourceOptions::default());
    let watching = Watching::start_with(&home, &["--poll-interval", "1"]);
    watching.wait_for(BY_NOTIFY);
    // That of the message, after the check.
    let is_fetched = |event: &Event| {
        event.is_command("UID FETCH") && format!("{event:?}").contains("BODY.PEEK[])")
    };
    home.source.faults().once(is_fetched, Fault::Eof);
    let logins = home.source.logins();
    deliver_to(&home, "INBOX", 0);
    wait_for_copies(&home, &watching, "INBOX", 1);
    assert_eq!(home.source.logins(), logins + 1);
    watching.wait_until("the wait on the new connection", || {
        let events = home.source.events();
        let last = events.iter().map(|event| event.connection).max();
        let mut of_last = events.iter().filter(|event| Some(event.connection) == last);
        of_last.any(|event| event.is_line("+ idling"))
    });
    deliver_to(&home, "Lists", 1);
    wait_for_copies(&home, &watching, "Lists", 1);
    watching.terminate();
}

#[test]
fn since_holds_for_a_folder_that_failed_as_soon_as_it_can_be_read() {
    let home = home_with(SourceOptions::default());
    let old = (Utc::now() - TimeDelta::days(40)).fixed_offset();
    let mailboxes = home.source.mailboxes();
    mailboxes.deliver("INBOX", &message(0), old, &[]);
    mailboxes.deliver("Lists", &message(1), old, &[]);
    home.run_ok();
    let is_opened = |event: &Event| event.is_examine_of("Lists");
    let refusal = Fault::Instead("<T> NO [INUSE] Busy".to_owned());
    home.source.faults().once(is_opened, refusal);
    let day = (Utc::now() - TimeDelta::days(50)).format("%Y-%m-%d");
    let watching = Watching::start_with(&home, &["--since", &day.to_string()]);
    wait_for_copies(&home, &watching, "INBOX", 1);
    deliver_to(&home, "INBOX", 2);
    wait_for_copies(&home, &watching, "Lists", 1);
    wait_for_copies(&home, &watching, "INBOX", 2);
    watching.terminate();
}

#[test]
fn a_server_with_notify_tells_mail_in_any_folder_and_new_folders() {
    let home = home_with(SourceOptions::default());
    let watching = Watching::start_with(&home, &POLL_NEVER);
    watching.wait_for(BY_NOTIFY);
    for number in 0..6 {
        deliver_to(&home, "Lists", number);
        wait_for_copies(&home, &watching, "Lists", number + 1);
    }
    deliver_to(&home, "INBOX", 10);
    wait_for_copies(&home, &watching, "INBOX", 1);
    home.source.mailboxes().create("Lists/Rust");
    deliver_to(&home, "Lists/Rust", 20);
    wait_for_copies(&home, &watching, "Lists/Rust", 1);
    assert_eq!(count_of(&home, "NOTIFY"), 1);
    assert_eq!(home.source.logins(), 1);
    // True notifications, in whatever folder, are not taken for false ones.
    assert_eq!(watching.count("checking less often"), 0);
    watching.terminate();
    assert_eq!(home.gmail.all_mail().len(), 8);
    assert_eq!(home.source.take_violations(), Vec::<String>::new());
}

#[test]
fn mail_that_comes_while_another_folder_is_copied_is_not_forgotten() {
    let home = home_with(SourceOptions::default());
    let mailboxes = home.source.mailboxes();
    mailboxes.create("Other");
    let watching = Watching::start_with(&home, &POLL_NEVER);
    watching.wait_for(BY_NOTIFY);
    for (number, folder) in ["Lists", "Other", "INBOX"].into_iter().enumerate() {
        // During the pass over Lists, while its message is fetched.
        let more = Fault::run(move |mailboxes| {
            let now = Utc::now().fixed_offset();
            mailboxes.deliver(folder, &message(10 + number), now, &[]);
        });
        let faults = home.source.faults();
        faults.once(|event| event.is_command("UID FETCH"), more);
        deliver_to(&home, "Lists", number);
        let what = format!("the message in {folder}");
        watching.wait_until(&what, || home.gmail.all_mail().len() == 2 * (number + 1));
    }
    watching.terminate();
}

#[test]
fn without_notify_mail_in_another_folder_is_found_at_the_next_poll() {
    let home = home_without_notify();
    home.configure(&json!({ "source_connections": 0 }));
    let watching = Watching::start_with(&home, &["--poll-interval", "1"]);
    watching.wait_for(BY_POLLING);
    deliver_to(&home, "Lists", 0);
    wait_for_copies(&home, &watching, "Lists", 1);
    home.source.mailboxes().create("New");
    deliver_to(&home, "New", 1);
    wait_for_copies(&home, &watching, "New", 1);
    assert_eq!(count_of(&home, "NOTIFY"), 0);
    watching.terminate();
}

#[test]
fn a_server_that_rejects_notify_is_polled_and_asked_once() {
    let rejected = "<T> NO [BADEVENT (FlagChange)] unsupported";
    for fault in [Fault::Instead(rejected.to_owned()), Fault::Eof] {
        let home = home_with(SourceOptions::default());
        home.configure(&json!({ "source_connections": 0 }));
        home.source
            .faults()
            .always(|event| event.is_command("NOTIFY"), fault);
        let watching = Watching::start_with(&home, &["--poll-interval", "1"]);
        watching.wait_for(BY_POLLING);
        deliver_to(&home, "Lists", 0);
        wait_for_copies(&home, &watching, "Lists", 1);
        let lists = count_of(&home, "LIST");
        watching.wait_until("two polls", || count_of(&home, "LIST") > lists + 1);
        assert_eq!(count_of(&home, "NOTIFY"), 1);
        assert_eq!(watching.count("does not take it"), 1);
        watching.terminate();
    }
}

#[test]
fn false_reports_of_mail_in_another_folder_do_not_cause_a_busy_loop() {
    for report in [
        "* STATUS Lists (MESSAGES 9 UIDNEXT 99)",
        "* LIST () \"/\" New",
    ] {
        let home = home_with(SourceOptions::default());
        home.source.faults().always(
            |event| event.is_line("+ idling"),
            Fault::Before(report.to_owned()),
        );
        let watching = short_delays::start(&home);
        watching.wait_for(BY_NOTIFY);
        let checks = count_for_three_seconds(|| count_of(&home, "LIST"));
        assert!(
            (2..MAX_TRIES_IN_THREE_SECONDS).contains(&checks),
            "{report}: {checks} checks"
        );
        assert_eq!(watching.count("has none; checking less often"), 1);
        watching.terminate();
    }
}

#[test]
fn a_message_that_is_due_in_a_folder_that_cannot_be_read_makes_no_busy_loop() {
    let home = home_with(SourceOptions::default());
    home.run_ok();
    deliver_to(&home, "Lists", 0);
    let refusal = |text: &str| Fault::Instead(format!("<T> NO {text}"));
    let is_append = |event: &Event| event.is_command("APPEND");
    home.gmail.faults().once(is_append, refusal("Not now"));
    home.run();
    home.age_by_minutes(60);
    assert_eq!(
        home.state()["folders"]["Lists"]["parked"]
            .as_object()
            .unwrap()
            .len(),
        1
    );
    let is_opened = |event: &Event| event.is_examine_of("Lists");
    home.source
        .faults()
        .always(is_opened, refusal("[NOPERM] Permission denied"));
    let watching = short_delays::start(&home);
    watching.wait_for("opening the folder \"Lists\"");
    // Whatever stays due is tried again after ten seconds.
    let before = count_of(&home, "LIST");
    thread::sleep(Duration::from_secs(11));
    assert_eq!(count_of(&home, "LIST"), before);
    watching.terminate();
}

/// A user of this server, and the program's home with that as its source.
fn home_at(dovecot: &Dovecot) -> Home {
    let home = Home::new();
    home.configure(&json!({
        "source_port": dovecot.server().port,
        "source_user": "alice",
        "source_pass": PASSWORD,
        "source_ca_file": dovecot.ca_file(),
        "folders": [
            { "source": "INBOX" },
            { "source": "Lists*", "target": "=" },
        ],
    }));
    home
}

#[test]
fn dovecot_tells_mail_in_any_folder_and_new_folders() {
    let dovecot = Dovecot::start();
    let mut client = dovecot.client("alice");
    client.create("Lists");
    client.create("Other");
    let home = home_at(&dovecot);
    let watching = Watching::start_with(&home, &POLL_NEVER);
    watching.wait_for(BY_NOTIFY);
    client.append("Lists", "", "", &message(0));
    wait_for_copies(&home, &watching, "Lists", 1);
    client.append("INBOX", "", "", &message(1));
    wait_for_copies(&home, &watching, "INBOX", 1);
    client.create("Lists/We &- \\\"I\\\"");
    client.append("Lists/We &- \\\"I\\\"", "", "", &message(2));
    watching.wait_until("the new folder", || home.gmail.all_mail().len() == 3);
    client.append("Lists/We &- \\\"I\\\"", "", "", &message(3));
    watching.wait_until("its next message", || home.gmail.all_mail().len() == 4);
    watching.terminate();
}

/// Checks the folders INBOX and Lists.
fn check_folders(source: &mut ImapSource) -> u32 {
    source.check_for_mail().unwrap();
    let select = |_: &FolderListing| (vec!["INBOX".to_owned(), "Lists".to_owned()], ());
    let (_, statuses, ()) = source.check_folders(select).unwrap();
    statuses["Lists"].uid_next.get()
}

#[test]
fn dovecot_tells_what_came_between_the_check_and_the_wait_and_during_it() {
    let dovecot = Dovecot::start();
    let mut client = dovecot.client("alice");
    client.create("Lists");
    let mut source = open_as_alice(&dovecot);
    assert_eq!(check_folders(&mut source), 1);
    client.append("Lists", "", "", &message(0));
    let wait = || source_wait(Duration::from_secs(30));
    let outcome = source.wait_for_mail_in_folders(wait(), 0).unwrap();
    assert_eq!(outcome, WaitOutcome::NewMail);
    assert_eq!(check_folders(&mut source), 2);
    thread::scope(|scope| {
        scope.spawn(|| client.append("Lists", "", "", &message(1)));
        let outcome = source.wait_for_mail_in_folders(wait(), 0).unwrap();
        assert_eq!(outcome, WaitOutcome::NewMail);
    });
    assert_eq!(check_folders(&mut source), 3);
}

#[test]
fn where_notify_misses_mail_the_folders_are_polled() {
    let dovecot = Dovecot::start();
    dovecot.client("alice").create("Lists");
    let mut source = open_as_alice(&dovecot);
    assert_eq!(check_folders(&mut source), 1);
    let soon = source_wait(Duration::from_millis(300));
    let outcome = source.wait_for_mail_in_folders(soon, 0).unwrap();
    assert_eq!(outcome, WaitOutcome::Elapsed);
    assert_eq!(
        source.wait_method(idle_for_long()),
        "IDLE, and the other folders by NOTIFY"
    );
    // Dovecot learns of what others put into a Maildir only when somebody asks.
    let file = dovecot.mail_folder("alice").join(".Lists/new/1.x.y");
    fs::write(file, message(0)).unwrap();
    let soon = source_wait(Duration::from_millis(300));
    let outcome = source.wait_for_mail_in_folders(soon, 0).unwrap();
    assert_eq!(outcome, WaitOutcome::Elapsed);
    assert_eq!(check_folders(&mut source), 2);
    assert_polls_soon(&mut source);
}

#[test]
fn after_another_folder_was_open_the_next_check_comes_soon() {
    // What came while it was open may have been reported to nobody.
    let home = home_with(SourceOptions::default());
    let server = Server {
        host: "localhost".to_owned(),
        port: home.source.port(),
        tls: TlsMode::Implicit,
        tls_name: "localhost".to_owned(),
        ca_file: Some(home.path("source.pem")),
    };
    let mut source = open_as(server, "user", "secret", &options());
    check_folders(&mut source);
    source.open_folder("Lists").unwrap();
    source.open_folder("INBOX").unwrap();
    assert_polls_soon(&mut source);
    assert_eq!(count_of(&home, "NOTIFY"), 1);
}

/// The source waits for the poll interval, and not for something that is reported.
fn assert_polls_soon(source: &mut ImapSource) {
    let started = Instant::now();
    let wait = WaitOptions {
        poll_interval: Duration::from_millis(20),
        ..source_wait(Duration::from_secs(20))
    };
    let outcome = source.wait_for_mail_in_folders(wait, 0).unwrap();
    assert_eq!(outcome, WaitOutcome::Elapsed);
    assert!(started.elapsed() < Duration::from_secs(10));
}

fn open_as_alice(dovecot: &Dovecot) -> ImapSource {
    open_as(dovecot.server(), "alice", PASSWORD, &options())
}

/// A wait that relies on what the server reports.
fn source_wait(limit: Duration) -> WaitOptions {
    WaitOptions {
        until: Instant::now() + limit,
        ..idle_for_long()
    }
}

const BY_CONNECTIONS: &str = "by IDLE on further connections";

/// Four folders, of which these many are watched on connections of their own.
fn home_with_connections(connections: usize) -> Home {
    let home = home_without_notify();
    for folder in ["Bills", "Work"] {
        home.source.mailboxes().create(folder);
    }
    home.configure(&json!({ "source_connections": connections }));
    home
}

#[test]
fn without_notify_further_folders_are_watched_on_connections_of_their_own() {
    let home = home_with_connections(3);
    let watching = Watching::start_with(&home, &POLL_NEVER);
    watching
        .wait_for("watching INBOX by IDLE, and other folders: 3 by IDLE on further connections");
    for (number, folder) in ["Lists", "Work", "INBOX", "Bills", "Lists"]
        .iter()
        .enumerate()
    {
        deliver_to(&home, folder, number);
        let what = format!("message {number} in {folder}");
        watching.wait_until(&what, || home.gmail.all_mail().len() == number + 1);
    }
    assert_eq!(home.source.logins(), 4);
    watching.terminate();
    home.source.wait_until_open(0);
    assert_eq!(count_of(&home, "LOGOUT"), 4);
    assert_eq!(home.source.take_violations(), Vec::<String>::new());
}

#[test]
fn mail_that_comes_before_a_further_connection_idles_is_found() {
    let home = home_with_connections(3);
    let arrives = Fault::run(|mailboxes| {
        mailboxes.deliver("Lists", &message(0), Utc::now().fixed_offset(), &[]);
    });
    let is_opened = |event: &double::Event| event.connection > 1 && event.is_command("EXAMINE");
    home.source.faults().once(is_opened, arrives);
    let watching = Watching::start_with(&home, &POLL_NEVER);
    wait_for_copies(&home, &watching, "Lists", 1);
    watching.terminate();
}

#[test]
fn no_more_folders_are_watched_than_configured_and_the_others_are_polled() {
    let home = home_with_connections(1);
    let watching = Watching::start_with(&home, &["--poll-interval", "1"]);
    watching.wait_for("other folders: 1 by IDLE on further connections, 2 by polling every 1 s");
    for (number, folder) in ["Bills", "Lists", "Work"].iter().enumerate() {
        deliver_to(&home, folder, number);
        let what = format!("message {number} in {folder}");
        watching.wait_until(&what, || home.gmail.all_mail().len() == number + 1);
    }
    assert_eq!(home.source.logins(), 2);
    watching.terminate();
}

#[test]
fn without_further_connections_all_other_folders_are_polled() {
    for (connections, options) in [
        (0, vec!["--poll-interval", "1"]),
        (3, vec!["--poll-interval", "1", "--no-idle"]),
    ] {
        let home = home_with_connections(connections);
        let watching = Watching::start_with(&home, &options);
        deliver_to(&home, "Lists", 0);
        wait_for_copies(&home, &watching, "Lists", 1);
        assert_eq!(watching.count(BY_CONNECTIONS), 0);
        assert_eq!(home.source.logins(), 1);
        watching.terminate();
    }
}

#[test]
fn a_watching_connection_that_breaks_is_replaced_and_nothing_is_missed_meanwhile() {
    let home = home_with_connections(3);
    let watching = Watching::start_with(&home, &["--poll-interval", "1"]);
    watching.wait_for(BY_CONNECTIONS);
    watching.wait_until("four log-ins", || home.source.logins() == 4);
    // The next one that idles at another folder is cut, and its mail comes meanwhile.
    let faults = home.source.faults();
    let is_watcher = |event: &double::Event| event.connection > 1 && event.is_line("EXISTS");
    faults.once(is_watcher, Fault::Eof);
    deliver_to(&home, "Work", 0);
    wait_for_copies(&home, &watching, "Work", 1);
    watching.wait_until("another log-in", || home.source.logins() == 5);
    deliver_to(&home, "Work", 1);
    wait_for_copies(&home, &watching, "Work", 2);
    assert_eq!(watching.count(" error "), 0);
    watching.terminate();
}

#[test]
fn a_source_that_refuses_further_connections_is_polled_and_not_asked_again_and_again() {
    for refusal in [
        "<T> NO [LIMIT] Too many connections",
        "<T> NO [AUTHENTICATIONFAILED] Authentication failed.",
    ] {
        let home = home_with_connections(3);
        let is_further = |event: &double::Event| {
            event.connection > 1 && (event.is_command("LOGIN") || event.is_command("AUTHENTICATE"))
        };
        let faults = home.source.faults();
        faults.always(is_further, Fault::Instead(refusal.to_owned()));
        let watching = Watching::start_with(&home, &["--poll-interval", "1"]);
        watching.wait_until("three refusals", || {
            watching.count("cannot be watched on a further connection") == 3
        });
        for number in 0..2 {
            deliver_to(&home, "Lists", number);
            wait_for_copies(&home, &watching, "Lists", number + 1);
        }
        assert_eq!(home.source.connections(), 4, "{refusal}");
        assert_eq!(watching.count(" error "), 0);
        watching.terminate();
        let state = home.state();
        assert_eq!(state["source"]["rejected_logins"].as_u64().unwrap_or(0), 0);
    }
}

#[test]
fn false_reports_on_a_watching_connection_do_not_cause_a_busy_loop() {
    let home = home_with_connections(3);
    home.source.faults().always(
        |event| event.connection > 1 && event.is_line("+ idling"),
        Fault::Before("* 99 EXISTS".to_owned()),
    );
    let watching = short_delays::start(&home);
    watching.wait_for(BY_CONNECTIONS);
    let checks = count_for_three_seconds(|| count_of(&home, "LIST"));
    assert!(checks < 2 * MAX_TRIES_IN_THREE_SECONDS, "{checks} checks");
    watching.terminate();
}
