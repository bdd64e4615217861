//! The resident program between the doubles: what comes is carried as it comes, whatever happens to
//! the connections.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::program::Home;
use crate::watching::Watching;
use double::{AppendAnswer, Fault, GmailOptions, SourceOptions};
use rustix::process::Signal;
use serde_json::json;

fn message(number: usize) -> Vec<u8> {
    format!("Message-ID: <{number}@x>\r\nSubject: {number}\r\n\r\nbody {number}\r\n").into_bytes()
}

fn deliver(home: &Home, number: usize) {
    let now = chrono::Utc::now().fixed_offset();
    home.source.deliver(&message(number), now, &[]);
}

fn arrived(home: &Home) -> usize {
    home.gmail.messages("INBOX").len()
}

fn each_once(home: &Home, count: usize) {
    let delivered = home.delivered();
    assert_eq!(delivered.len(), count);
    assert!(delivered.values().all(|copies| copies.len() == 1));
}

#[test]
fn what_is_there_and_what_comes_is_carried_over_connections_that_are_kept() {
    let home = Home::new();
    deliver(&home, 0);
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX by IDLE");
    assert_eq!(arrived(&home), 1);
    for number in 1..4 {
        deliver(&home, number);
        watching.wait_until("the message", || arrived(&home) == number + 1);
    }
    let ran = watching.end();
    assert_eq!(home.gmail.logins(), 2);
    assert_eq!(home.source.logins(), 1);
    assert_eq!(home.state()["cursor"]["uid"], 4);
    assert_eq!(home.state()["parked"], json!({}));
    assert_eq!(
        ran.logged("info").last().copied(),
        Some("ended by a signal")
    );
}

#[test]
fn nothing_new_touches_neither_gmail_nor_the_token() {
    let home = Home::new();
    deliver(&home, 0);
    home.run_well();
    let (connections, requests) = (home.gmail.connections(), home.endpoint.requests().len());
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    watching.signal(Signal::USR1);
    watching.wait_for("looking now");
    watching.end();
    assert_eq!(home.gmail.connections(), connections);
    assert_eq!(home.endpoint.requests().len(), requests);
}

#[test]
fn where_the_server_does_not_tell_it_looks_now_and_then() {
    let without_idle = SourceOptions {
        without: vec!["IDLE".to_owned()],
        ..SourceOptions::default()
    };
    for (options, words) in [
        (without_idle, &["--poll-interval", "1"][..]),
        (
            SourceOptions::default(),
            &["--no-idle", "--poll-interval", "1"],
        ),
    ] {
        let home = Home::with(options, GmailOptions::default());
        let watching = Watching::start_with(&home, words);
        watching.wait_for("watching INBOX by polling");
        deliver(&home, 0);
        watching.wait_until("the message", || arrived(&home) == 1);
        watching.end();
        let commands = home.source.commands();
        assert!(!commands.iter().any(|it| it == "IDLE"), "{commands:?}");
    }
}

#[test]
fn what_comes_between_a_pass_and_the_wait_is_not_missed() {
    let home = Home::new();
    deliver(&home, 0);
    // Mail comes after the look of the pass: while it fetches, and just before it waits.
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
    watching.end();
    each_once(&home, 3);
}

#[test]
fn a_connection_to_gmail_that_died_meanwhile_is_found_out_before_a_message_is_trusted_to_it() {
    let die: [fn(&Home); 3] = [
        |home| home.gmail.disconnect(),
        // Gmail ends sessions with the token that opened them.
        |home| home.gmail.clock().advance(Duration::from_secs(3601)),
        |home| home.gmail.tokens().revoke_all(&home.gmail.user()),
    ];
    let gmail = GmailOptions {
        deduplicates: false,
        ..GmailOptions::default()
    };
    let home = Home::with(SourceOptions::default(), gmail);
    let watching = Watching::start_with(&home, &["--debug"]);
    for (number, die) in (0..).zip(die) {
        deliver(&home, 2 * number);
        watching.wait_until("the message", || arrived(&home) == 2 * number + 1);
        die(&home);
        deliver(&home, 2 * number + 1);
        watching.wait_until("the next", || arrived(&home) == 2 * number + 2);
    }
    let ran = watching.end();
    assert_eq!(ran.logged("warn"), Vec::<&str>::new(), "{ran:?}");
    each_once(&home, 6);
}

#[test]
fn after_a_backlog_two_connections_to_gmail_stay() {
    let home = Home::new();
    for number in 0..60 {
        deliver(&home, number);
    }
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    let farewells = || {
        let commands = home.gmail.commands();
        commands.iter().filter(|it| *it == "LOGOUT").count()
    };
    let logins = home.gmail.logins();
    assert!(logins > 2, "{logins}");
    watching.wait_until("the farewells", || farewells() == logins - 2);
    deliver(&home, 60);
    watching.wait_until("the message", || arrived(&home) == 61);
    assert_eq!(home.gmail.logins(), logins);
    watching.end();
}

#[test]
fn a_burst_takes_few_passes_and_its_last_is_there() {
    let home = Home::new();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    for number in 0..100 {
        deliver(&home, number);
    }
    watching.wait_until("all of them", || arrived(&home) == 100);
    let ran = watching.end();
    let passes = ran
        .logged("info")
        .iter()
        .filter(|line| line.contains(" appended, "))
        .count();
    assert!((1..=10).contains(&passes), "{passes} passes");
    each_once(&home, 100);
}

#[test]
fn a_source_that_restarts_is_found_again_and_one_that_is_down_is_told_of_once() {
    let mut home = Home::new();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    home.source.stop();
    watching.wait_for("the source is not available; it is tried again");
    // Several tries go by.
    std::thread::sleep(Duration::from_secs(4));
    home.source.restart();
    deliver(&home, 0);
    watching.wait_until("the message", || arrived(&home) == 1);
    watching.wait_for("the source is available again, after ");
    let ran = watching.end();
    assert_eq!(ran.logged("warn").len(), 1, "{ran:?}");
}

#[test]
fn without_gmail_the_source_is_watched_all_the_same() {
    let mut home = Home::new();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    home.gmail.stop();
    deliver(&home, 0);
    watching.wait_for("Gmail is not available; it is tried again");
    for number in 1..5 {
        deliver(&home, number);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(home.source.logins(), 1, "the source is not to blame");
    home.gmail.restart();
    watching.wait_for("Gmail is available again, after ");
    watching.wait_until("all five", || arrived(&home) == 5);
    assert_eq!(home.source.logins(), 1);
    let ran = watching.end();
    assert_eq!(ran.logged("warn").len(), 1, "{ran:?}");
    each_once(&home, 5);
}

#[test]
fn a_gmail_that_rests_is_left_alone_and_the_source_is_not() {
    let home = Home::new();
    home.gmail.change(|gmail| {
        gmail.append_answer =
            AppendAnswer::Refusal("NO [OVERQUOTA] Account exceeded bandwidth limits.".to_owned());
    });
    deliver(&home, 0);
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    watching.wait_for("Gmail is not available");
    let connections = home.gmail.connections();
    deliver(&home, 1);
    watching.signal(Signal::USR1);
    watching.wait_for("looking now");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(home.gmail.connections(), connections);
    let ran = watching.end();
    assert_eq!(home.source.logins(), 1, "{ran:?}");
    assert!(home.state()["gmail"]["retry_after"].is_string());
}

#[test]
fn a_daily_limit_that_is_reached_is_a_rest_and_no_end() {
    let home = Home::new();
    home.configure(&json!({ "daily_upload_limit": "100" }));
    for number in 0..3 {
        deliver(&home, number);
    }
    let watching = Watching::start(&home);
    watching.wait_for("Gmail is not available");
    watching.wait_for("watching INBOX");
    let there = arrived(&home);
    assert!((1..3).contains(&there), "{there}");
    watching.end();
    assert!(home.state()["gmail"]["retry_after"].is_string());
}

#[test]
fn a_gmail_that_refuses_everything_is_left_alone_and_no_end() {
    let home = Home::new();
    home.gmail.change(|gmail| {
        gmail.append_answer = AppendAnswer::Refusal("NO not today".to_owned());
    });
    for number in 0..5 {
        deliver(&home, number);
    }
    let watching = Watching::start(&home);
    watching.wait_for("Gmail is not available");
    watching.wait_for("watching INBOX");
    watching.end();
    assert!(home.state()["gmail"]["retry_after"].is_string());
}

#[test]
fn a_refused_token_ends_it_and_so_does_a_configuration_that_never_worked() {
    let home = Home::new();
    let token: serde_json::Value = serde_json::from_str(&home.read("token.json")).unwrap();
    home.endpoint
        .revoke(token["refresh_token"].as_str().unwrap());
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    deliver(&home, 0);
    let ran = watching.ends();
    assert_eq!(ran.status, Some(77), "{ran:?}");

    let home = Home::new();
    home.configure(&json!({ "target_token_file": "none.json" }));
    deliver(&home, 0);
    let ran = Watching::start(&home).ends();
    assert_eq!(ran.status, Some(78), "{ran:?}");
}

#[test]
fn a_password_command_that_fails_at_first_is_run_again() {
    for command in [
        // Too slow ones end the same way: by an error of the command.
        "test -e unlocked || { echo locked >&2; exit 1; }; echo secret",
        "test ! -e unlocked || echo secret",
    ] {
        let home = Home::new();
        home.configure(&json!({ "source_pass": null, "source_pass_command": command }));
        assert_eq!(home.run().status, Some(78), "a run says what is wrong");
        let watching = Watching::start(&home);
        watching.wait_for("the source is not available; it is tried again: source_pass_command");
        home.write("unlocked", "");
        watching.wait_for("watching INBOX");
        watching.end();
    }
}

#[test]
fn a_log_in_that_gmail_refuses_though_the_token_is_fresh_may_pass() {
    let home = Home::new();
    home.gmail.change(|gmail| {
        let answer = "<T> NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)";
        gmail.login_answer = Some(vec![answer.to_owned()]);
    });
    let watching = Watching::start(&home);
    deliver(&home, 0);
    watching.wait_for("Gmail is not available");
    let connections = home.gmail.connections();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(home.gmail.connections(), connections, "not at once");
    watching.end();
    // The third in a row is no accident.
    home.let_pass(60);
    assert_eq!(home.run().status, Some(77));
    home.let_pass(60);
    let ran = Watching::start(&home).ends();
    assert_eq!(ran.status, Some(77), "{ran:?}");
    assert_eq!(home.state()["gmail"]["token_refused"]["tries"], 3);
}

#[test]
fn a_refused_password_is_not_tried_again_at_once_but_when_it_was_corrected() {
    let home = Home::new();
    home.source
        .change(|source| source.password = "another".to_owned());
    let watching = Watching::start(&home);
    watching.wait_for("the source is not available");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(home.source.connections(), 1);
    home.configure(&json!({ "source_pass": "another" }));
    watching.signal(Signal::HUP);
    watching.wait_for("watching INBOX");
    watching.end();
    assert_eq!(home.state()["source"]["refused_logins"], 0);
}

#[test]
fn the_third_refusal_in_a_row_ends_it() {
    let home = Home::new();
    home.source
        .change(|source| source.password = "another".to_owned());
    for _ in 0..2 {
        assert_eq!(home.run().status, Some(77));
        home.let_pass(60);
    }
    let ran = Watching::start(&home).ends();
    assert_eq!(ran.status, Some(77), "{ran:?}");
    assert_eq!(home.source.connections(), 3);
}

#[test]
fn a_parked_message_is_tried_again_without_any_news() {
    let home = Home::new();
    home.gmail.change(|gmail| {
        gmail.append_answer = AppendAnswer::Refusal("NO not now".to_owned());
    });
    deliver(&home, 0);
    home.run_well();
    home.gmail
        .change(|gmail| gmail.append_answer = AppendAnswer::Usual);
    // Its time comes in ten seconds or so.
    home.let_pass_seconds(50);
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    assert_eq!(arrived(&home), 0);
    watching.wait_until("the message", || arrived(&home) == 1);
    watching.end();
}

#[test]
fn a_run_meanwhile_says_who_holds_the_lock() {
    let home = Home::new();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    let ran = home.run_well();
    let expected = format!("another run holds the lock (process {})", watching.pid());
    assert!(ran.logged("info")[0].contains(&expected), "{ran:?}");
    watching.end();
    home.run_well();
}

#[test]
fn each_look_is_told_by_the_time_stamp_of_the_lock() {
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
    watching.end();
}

/// The program under a service manager that this test plays; what it is told, word by word.
struct Service {
    watching: Watching,
    socket: UnixDatagram,
}

impl Service {
    fn start(home: &Home, watchdog: Duration) -> Service {
        let path = home.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut command = Command::new("sh");
        command
            .current_dir(home.path("."))
            .arg("-c")
            .arg("WATCHDOG_PID=$$ exec \"$0\" --config config.json --watch")
            .arg(env!("CARGO_BIN_EXE_imap-to-gmail-sync"))
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        Service {
            watching: Watching::of(command),
            socket,
        }
    }

    fn hears(&self) -> String {
        let mut octets = [0; 4096];
        let length = self.socket.recv(&mut octets).unwrap();
        String::from_utf8_lossy(&octets[..length]).trim().to_owned()
    }

    /// What it is told up to this word, signs of life apart.
    fn hears_up_to(&self, word: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let text = self.hears();
            if text != "WATCHDOG=1" {
                heard.push(text.clone());
            }
            if text.contains(word) {
                return heard;
            }
        }
    }
}

#[test]
fn systemd_is_told_in_order_what_a_person_wants_to_know() {
    let home = Home::new();
    deliver(&home, 0);
    let service = Service::start(&home, Duration::from_mins(1));
    assert_eq!(
        service.hears_up_to("watching"),
        [
            "STATUS=logging in",
            "READY=1",
            "STATUS=copying new mail",
            "STATUS=watching INBOX; 1 copied since the start"
        ]
    );
    // A look that finds nothing says nothing of copying.
    service.watching.signal(Signal::USR1);
    assert_eq!(
        service.hears_up_to("watching"),
        ["STATUS=watching INBOX; 1 copied since the start"]
    );
    service.watching.signal(Signal::TERM);
    assert_eq!(service.hears_up_to("STOPPING"), ["STOPPING=1"]);
    assert_eq!(service.watching.ends().status, Some(0));
}

#[test]
fn it_is_not_ready_before_the_source_lets_it_in() {
    let mut home = Home::new();
    home.source.stop();
    let service = Service::start(&home, Duration::from_mins(1));
    let heard = service.hears_up_to("not available");
    assert!(!heard.contains(&"READY=1".to_owned()), "{heard:?}");
    home.source.restart();
    service.hears_up_to("READY=1");
}

#[test]
fn a_server_that_hangs_does_not_stop_the_signs_of_life() {
    let home = Home::new();
    deliver(&home, 0);
    home.source
        .faults()
        .always(|event| event.is_command("UID FETCH"), Fault::Stall);
    let service = Service::start(&home, Duration::from_millis(200));
    service.hears_up_to("READY=1");
    service.watching.wait_until("the stall", || {
        let commands = home.source.commands();
        commands.iter().any(|it| it.starts_with("UID FETCH"))
    });
    let signs = (0..40).filter(|_| service.hears() == "WATCHDOG=1").count();
    assert!(signs > 20, "{signs}");
}
