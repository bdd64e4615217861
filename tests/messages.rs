//! The error line and the exit status of each failure.
//!
//! A line consists of place, operation, failure and remedy. Mistakes in the command line and in
//! `config.json` are in `command_line.rs`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/program.rs"]
mod program;
#[path = "support/scripted_server.rs"]
mod scripted_server;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use chrono::Utc;
use double::{
    AppendResponse, Certificate, EndpointFault, Event, EventKind, Fault, GmailOptions, Security,
    SourceOptions, login_rejections, token_rejections,
};
use imap_to_gmail_sync::config::{Password, Server, SourceConfig, TlsMode};
use imap_to_gmail_sync::secret::Secret;
use imap_to_gmail_sync::source::ImapSource;
use imap_to_gmail_sync::state::lock::{Lock, LockAttempt};
use imap_to_gmail_sync::timeouts::Timeouts;
use serde_json::{Value, json};

use program::{Home, Run};
use scripted_server::{ScriptedServer, dialogue};

/// A password that no line may contain.
const PASSWORD: &str = "Wachtw00rd!";

/// The command for another token; `AUTH` in the lines below.
const AUTH: &str = "\"imap-to-gmail-sync auth --credentials client_secret.json --config \
                    HOME/config.json --force\"";

/// A home whose source holds a message, so that a run goes on to Gmail.
fn home_with(source: SourceOptions, gmail: GmailOptions) -> Home {
    let source = SourceOptions {
        password: PASSWORD.to_owned(),
        ..source
    };
    let home = Home::with(source, gmail);
    home.configure(&json!({ "source_pass": PASSWORD }));
    let octets = b"Message-ID: <a@x>\r\nSubject: a\r\n\r\na\r\n";
    home.source.deliver(octets, Utc::now().fixed_offset(), &[]);
    home
}

fn home() -> Home {
    home_with(SourceOptions::default(), GmailOptions::default())
}

/// The exit status of a run and its last line, with `SOURCE`, `GMAIL` and `HOME` in place of what
/// differs from run to run.
fn report(home: &Home) -> (i32, String) {
    let run = home.run();
    let line = last_line(&run);
    for secret in secrets(home) {
        assert!(!format!("{run:?}").contains(&secret), "{secret}: {run:?}");
    }
    let line = line
        .replace(&format!(":{}:", home.source.port()), ":SOURCE:")
        .replace(&format!(":{}:", home.gmail.port()), ":GMAIL:")
        .replace(home.path("").to_str().unwrap(), "HOME/")
        .replace(AUTH, "AUTH");
    (run.status.unwrap(), without_times(&line))
}

/// The line with `DATE` and `TIME` in place of dates and times.
fn without_times(line: &str) -> String {
    let shape = |word: &str| -> String {
        let shape = |c: char| if c.is_ascii_digit() { '9' } else { c };
        word.chars().map(shape).collect()
    };
    let words = line.split(' ').map(|word| match shape(word).as_str() {
        "9999-99-99" => "DATE",
        "99:99:99" => "TIME",
        "+9999" | "-9999" => "ZONE",
        "+9999;" | "-9999;" => "ZONE;",
        "+9999," | "-9999," => "ZONE,",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The last line of the log, which is also on standard error if the run failed.
fn last_line(run: &Run) -> String {
    let ended_well = run.status == Some(0);
    let logged = if ended_well {
        let levels = ["warn", "info"].into_iter();
        let lines = levels.flat_map(|level| run.logged(level));
        let is_last = |line: &&str| run.stdout.trim_end().ends_with(line);
        lines.filter(is_last).collect()
    } else {
        run.logged("error")
    };
    let line = logged.last().copied().unwrap_or_default().to_owned();
    if ended_well {
        assert_eq!(run.stderr, "", "{run:?}");
    } else {
        assert_eq!(logged.len(), 1, "{run:?}");
        assert_eq!(run.stderr, format!("{line}\n"), "{run:?}");
    }
    line
}

fn secrets(home: &Home) -> Vec<String> {
    let token: Value = serde_json::from_str(&home.read("token.json")).unwrap_or_default();
    ["token", "refresh_token", "client_secret"]
        .iter()
        .filter_map(|name| token[name].as_str())
        .map(str::to_owned)
        .chain([PASSWORD.to_owned()])
        .collect()
}

/// Changes fields of the token file; null removes one.
fn change_token(home: &Home, fields: &Value) {
    let mut token: Value = serde_json::from_str(&home.read("token.json")).unwrap();
    token
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    home.write("token.json", &token.to_string());
}

/// Lets the access token expire, so that a run must renew it.
fn expire_token(home: &Home) {
    change_token(home, &json!({ "expiry": "2026-01-01T00:00:00.000000Z" }));
}

/// Asserts these lines and exit statuses, and prints all differences together.
fn compare(report: &[(i32, String)], expected: &[(i32, &str)]) {
    let report: Vec<String> = report
        .iter()
        .map(|(status, line)| format!("{status} {line}"))
        .collect();
    let expected: Vec<String> = expected
        .iter()
        .map(|(status, line)| format!("{status} {line}"))
        .collect();
    assert_eq!(report, expected, "\n{}\n", report.join("\n"));
}

/// The results of all cases, which run at the same time.
fn in_parallel<Case: Send>(
    cases: Vec<Case>,
    check: impl Fn(Case) -> (i32, String) + Sync,
) -> Vec<(i32, String)> {
    std::thread::scope(|scope| {
        let check = &check;
        let running: Vec<_> = cases
            .into_iter()
            .map(|case| scope.spawn(move || check(case)))
            .collect();
        running
            .into_iter()
            .map(|report| report.join().unwrap())
            .collect()
    })
}

fn wrong_certificates() -> [Certificate; 5] {
    [
        Certificate::For(vec!["mail.example.com".to_owned()]),
        Certificate::UnknownAuthority,
        Certificate::SelfSigned,
        Certificate::Expired,
        Certificate::NotYetValid,
    ]
}

#[test]
fn the_source_has_a_wrong_certificate() {
    let at_source = wrong_certificates().map(|certificate| {
        let is_self_signed = certificate == Certificate::SelfSigned;
        let options = SourceOptions {
            certificate,
            ..SourceOptions::default()
        };
        let home = home_with(options, GmailOptions::default());
        if is_self_signed {
            home.configure(&json!({ "source_ca_file": "gmail.pem" }));
        }
        report(&home)
    });
    compare(
        &at_source,
        &[
            (
                69,
                "localhost:SOURCE: starting TLS: its certificate is not for localhost, but for \
                mail.example.com; correct source_server, or, only if that is your server, set \
                source_tls_name to a name that the certificate has",
            ),
            (
                69,
                "localhost:SOURCE: starting TLS: its certificate is not signed by a trusted \
                authority; if it is a private one, name the file that holds it \
                (source_ca_file, target_ca_file)",
            ),
            (
                69,
                "localhost:SOURCE: starting TLS: its certificate is that of a certificate authority, \
                not of a server; if it belongs to the server itself, name the file that holds it (source_ca_file, \
                target_ca_file)",
            ),
            (
                69,
                "localhost:SOURCE: starting TLS: its certificate has expired; the certificate \
                must be renewed, or this host's clock is wrong",
            ),
            (
                69,
                "localhost:SOURCE: starting TLS: its certificate is not valid yet; check this \
                host's clock",
            ),
        ],
    );
}

#[test]
fn gmail_has_a_wrong_certificate() {
    let at_gmail = wrong_certificates().map(|certificate| {
        let is_self_signed = certificate == Certificate::SelfSigned;
        let options = GmailOptions {
            certificate,
            ..GmailOptions::default()
        };
        let home = home_with(SourceOptions::default(), options);
        if is_self_signed {
            home.configure(&json!({ "target_ca_file": "source.pem" }));
        }
        report(&home)
    });
    compare(
        &at_gmail,
        &[
            (
                69,
                "localhost:GMAIL: starting TLS: its certificate is not for localhost, but for \
                mail.example.com; correct target_server",
            ),
            (
                69,
                "localhost:GMAIL: starting TLS: its certificate is not signed by a trusted \
                authority; if it is a private one, name the file that holds it \
                (source_ca_file, target_ca_file)",
            ),
            (
                69,
                "localhost:GMAIL: starting TLS: its certificate is that of a certificate authority, \
                not of a server; if it belongs to the server itself, name the file that holds it (source_ca_file, \
                target_ca_file)",
            ),
            (
                69,
                "localhost:GMAIL: starting TLS: its certificate has expired; the certificate must \
                be renewed, or this host's clock is wrong",
            ),
            (
                69,
                "localhost:GMAIL: starting TLS: its certificate is not valid yet; check this \
                host's clock",
            ),
        ],
    );
}

#[test]
fn a_ca_file_cannot_be_read() {
    let home = home();
    home.write("empty.pem", "no certificate\n");
    let report = ["missing.pem", "empty.pem"].map(|file| {
        home.configure(&json!({ "source_ca_file": file }));
        report(&home)
    });
    home.configure(&json!({ "source_ca_file": "source.pem", "target_ca_file": "missing.pem" }));
    let [missing, empty] = report;
    compare(
        &[missing, empty, self::report(&home)],
        &[
            (
                78,
                "missing.pem: reading certificates: No such file or directory (os error 2); name \
                a PEM file that holds the certificates to trust",
            ),
            (
                78,
                "empty.pem: reading certificates: it holds no certificate; name a PEM file that \
                holds the certificates to trust",
            ),
            (
                78,
                "missing.pem: reading certificates: No such file or directory (os error 2); name \
                a PEM file that holds the certificates to trust",
            ),
        ],
    );
}

#[test]
fn the_source_rejects_the_log_in() {
    let home = home();
    home.configure(&json!({ "source_pass": "another" }));
    compare(
        &[report(&home), report(&home)],
        &[
            (
                77,
                "localhost:SOURCE: logging in as user: the server says NO [AUTHENTICATIONFAILED] \
                Authentication failed.; correct source_user or source_pass",
            ),
            (
                77,
                "localhost:SOURCE: waiting to log in: the last log-in was rejected; correct \
                source_user or source_pass; will retry at DATE TIME ZONE, or at once when \
                the configuration changes",
            ),
        ],
    );
}

#[test]
fn the_source_rejects_log_ins_for_now() {
    let answers = [
        "<T> NO [UNAVAILABLE] Temporary authentication failure.",
        "<T> NO [ALERT] Too many failed log-ins, wait.",
        "<T> NO [INUSE] Mailbox is locked.",
        "<T> BAD Error in IMAP command.",
        "* BYE [UNAVAILABLE] Maximum number of connections exceeded.",
        "<T> NO [PRIVACYREQUIRED] Plaintext authentication disallowed.",
    ];
    let report = answers.map(|answer| {
        let home = home();
        let is_log_in = |event: &Event| matches!(event.kind, EventKind::LoggedIn(_));
        let fault = Fault::Instead(answer.to_owned());
        home.source.faults().once(is_log_in, fault);
        report(&home)
    });
    compare(
        &report,
        &[
            (
                69,
                "localhost:SOURCE: logging in as user: the server says NO [UNAVAILABLE] Temporary \
                authentication failure.; later runs try again",
            ),
            (
                69,
                "localhost:SOURCE: logging in as user: the server says NO [ALERT] Too many failed \
                log-ins, wait.; the server limits log-ins or connections: if this persists, close \
                other mail programs",
            ),
            (
                69,
                "localhost:SOURCE: logging in as user: the server says NO [INUSE] Mailbox is \
                locked.; later runs try again",
            ),
            (
                69,
                "localhost:SOURCE: logging in as user: the server says BAD Error in IMAP \
                command: not allowed now.; later runs try again",
            ),
            (
                69,
                "localhost:SOURCE: logging in as user: the server hung up: [UNAVAILABLE] Maximum \
                number of connections exceeded.; the server limits log-ins or connections: if this \
                persists, close other mail programs",
            ),
            // The connection is encrypted.
            (
                78,
                "localhost:SOURCE: logging in as user: the server says NO [PRIVACYREQUIRED] \
                Plaintext authentication disallowed.; ask its administrator for another port or \
                server",
            ),
        ],
    );
}

#[test]
fn after_a_limited_log_in_runs_wait_as_for_an_unavailable_server() {
    let home = home();
    let is_log_in = |event: &Event| matches!(event.kind, EventKind::LoggedIn(_));
    let fault = Fault::Instead("<T> NO [LIMIT] Slowly.".to_owned());
    home.source.faults().once(is_log_in, fault);
    let report = [report(&home), report(&home)];
    assert_eq!(home.source.connections(), 1);
    compare(
        &report,
        &[
            (
                69,
                "localhost:SOURCE: logging in as user: the server says NO [LIMIT] Slowly.; the \
                server limits log-ins or connections: if this persists, close other mail programs",
            ),
            (
                69,
                "localhost:SOURCE: waiting to log in: the server limited the last log-in; the \
                server limits log-ins or connections: if this persists, close other mail programs; \
                will retry at DATE TIME ZONE, or at once when the configuration changes",
            ),
        ],
    );
    assert_eq!(home.state()["source"]["refused_logins"], 0);
    home.age_by_minutes(1);
    home.run_ok();
    assert!(home.state()["source"].get("limited_logins").is_none());
}

#[test]
fn a_wrong_password_counts_twice_at_the_first_attempt_and_once_at_each_later_one() {
    let home = home();
    home.configure(&json!({ "source_pass": "another" }));
    let log_ins = || {
        let commands = home.source.commands();
        let is_log_in = |command: &&String| command.starts_with("AUTHENTICATE");
        commands.iter().filter(is_log_in).count()
    };
    for expected in [2, 3, 4] {
        assert_eq!(home.run().status, Some(77));
        assert_eq!(log_ins(), expected);
        home.age_by_minutes(60);
    }
}

/// The folder is opened, holds nothing, and the run ends.
const NOTHING_NEW: [&str; 7] = [
    "C: EXAMINE \"INBOX\"",
    "S: * 0 EXISTS",
    "S: * OK [UIDVALIDITY 7] valid",
    "S: * OK [UIDNEXT 1] next",
    "S: $tag OK [READ-ONLY] opened",
    "C: LOGOUT",
    "S: $tag OK bye",
];

/// The same where all was asked for with the log-in.
const NOTHING_NEW_AT_ONCE: [&str; 7] = [
    NOTHING_NEW[1],
    NOTHING_NEW[2],
    NOTHING_NEW[3],
    "S: a2 OK [READ-ONLY] opened",
    "S: $tag OK listed",
    "C: LOGOUT",
    "S: $tag OK bye",
];

/// The source is this server from now on.
fn use_source(home: &Home, server: &ScriptedServer) {
    home.configure(&json!({
        "source_server": "127.0.0.1", "source_port": server.address().port, "source_tls": "none",
        "source_ca_file": null,
    }));
}

#[test]
fn a_form_of_log_in_that_worked_is_remembered() {
    let home = home();
    let (bad, ok) = ("S: $tag BAD AUTHENTICATE with LOGIN", "S: $tag OK in");
    let greeting = "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello";
    let attempts = ["C: AUTHENTICATE PLAIN *", bad, "C: AUTHENTICATE PLAIN", bad];
    let login = ["C: LOGIN *", ok];
    let ahead = ["C: EXAMINE *", "C: UID FETCH 1:200 *", "S: $login OK in"];
    let later = dialogue(&[&[greeting, login[0]], &ahead, &NOTHING_NEW_AT_ONCE]);
    let server = ScriptedServer::play_all(vec![
        dialogue(&[&[greeting], &attempts, &login, &NOTHING_NEW]),
        later.clone(),
        later,
    ]);
    use_source(&home, &server);
    home.run_ok();
    assert_eq!(home.state()["source"]["login_form"], "login");
    home.run_ok();
    let state = home.read("sync_state.json");
    home.run_ok();
    assert_eq!(home.read("sync_state.json"), state);
}

#[test]
fn a_right_password_is_not_rejected_for_ever_if_the_two_steps_were_cut() {
    // As iCloud: NO to the initial response. The connection of the second attempt breaks.
    let home = home();
    let greeting = "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello";
    let no = "S: $tag NO [AUTHENTICATIONFAILED] Authentication failed";
    let at_once = ["C: AUTHENTICATE PLAIN *", no];
    let two_steps = ["C: AUTHENTICATE PLAIN", "S: + ", "C: *", "S: $login OK in"];
    let two_steps_first = ["C: AUTHENTICATE PLAIN", "S: + ", "C: *", "S: $login OK in"];
    let server = ScriptedServer::play_all(vec![
        dialogue(&[&[greeting], &at_once]),
        dialogue(&[&[greeting, "C: AUTHENTICATE PLAIN"]]),
        dialogue(&[&[greeting], &two_steps_first, &NOTHING_NEW]),
        dialogue(&[&[greeting], &at_once, &two_steps, &NOTHING_NEW]),
        dialogue(&[&[greeting], &two_steps_first, &NOTHING_NEW]),
    ]);
    use_source(&home, &server);
    assert_eq!(home.run().status, Some(77));
    home.age_by_minutes(1);
    home.run_ok();
    // A server that takes the initial response, too, is not asked in two steps from now on.
    assert!(home.state()["source"].get("login_form").is_none());
    home.run_ok();
    assert_eq!(home.state()["source"]["login_form"], "two steps");
    home.run_ok();
}

#[test]
fn a_server_that_lost_pipelined_commands_gets_no_pipeline_in_later_runs() {
    let home = home();
    let log_in = [
        "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR ID] hello",
        "C: AUTHENTICATE PLAIN *",
        "S: $tag OK [CAPABILITY IMAP4rev1 ID] in",
        "C: ID *",
        "alone",
        "S: $tag OK done",
    ];
    let later = dialogue(&[&log_in, &NOTHING_NEW]);
    let server = ScriptedServer::play_all(vec![later.clone(), later]);
    use_source(&home, &server);
    let state = json!({"version": 2, "source": {"loses_pipelined_commands": true}});
    home.write("sync_state.json", &state.to_string());
    home.run_ok();
    home.run_ok();
    assert_eq!(home.state()["source"]["loses_pipelined_commands"], true);
}

#[test]
fn from_the_second_run_on_all_is_asked_with_the_log_in_unless_that_breaks_twice_in_a_row() {
    let home = home();
    let greeting = "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello";
    let (log_in, examine, ok) = ("C: AUTHENTICATE PLAIN *", NOTHING_NEW[0], "S: $login OK in");
    let asked = [greeting, log_in, examine, "C: UID FETCH 1:200 *", ok];
    let careful = dialogue(&[&[greeting, log_in, "alone", ok], &NOTHING_NEW]);
    let together = dialogue(&[&asked, &NOTHING_NEW_AT_ONCE]);
    let lost = dialogue(&[&asked]);
    let runs = [
        (vec![careful.clone()], (false, false)),
        (vec![together.clone()], (false, false)),
        (vec![lost.clone(), careful.clone()], (true, false)),
        (vec![together], (false, false)),
        (vec![lost.clone(), careful.clone()], (true, false)),
        (vec![lost, careful.clone()], (false, true)),
        (vec![careful], (false, true)),
    ];
    let dialogues = runs.iter().flat_map(|(dialogues, _)| dialogues.clone());
    let server = ScriptedServer::play_all(dialogues.collect());
    use_source(&home, &server);
    for (number, (_, expected)) in (1..).zip(&runs) {
        home.run_ok();
        let source = &home.state()["source"];
        let is_set = |name: &str| source.get(name).is_some();
        let learned = (is_set("pipeline_broke"), is_set("loses_pipelined_commands"));
        assert_eq!(learned, *expected, "run {number}");
    }
}

#[test]
fn the_source_has_another_tls_mode() {
    let cases = [
        (Security::Plain, "starttls"),
        (Security::Plain, "implicit"),
        (Security::StartTls, "none"),
        (Security::StartTls, "implicit"),
    ];
    let report = cases.map(|(security, tls)| {
        let source = SourceOptions {
            security,
            ..SourceOptions::default()
        };
        let home = home_with(source, GmailOptions::default());
        let ca_file = (tls != "none").then_some("source.pem");
        home.configure(&json!({ "source_tls": tls, "source_ca_file": ca_file }));
        let report = report(&home);
        // Some of these cases send a handshake instead of a command: a violation.
        home.source.take_violations();
        report
    });
    compare(
        &report,
        &[
            (
                69,
                "localhost:SOURCE: starting TLS (STARTTLS): the server does not offer it; use \
                \"implicit\" TLS, or another server: nothing is sent unencrypted",
            ),
            (
                69,
                "localhost:SOURCE: starting TLS: the server does not speak TLS on this port; \
                check source_port, or set \"source_tls\" to \"starttls\"",
            ),
            (
                78,
                "localhost:SOURCE: logging in: the server offers no log-in with a password on \
                this connection; encrypt the connection (source_tls), or use another server",
            ),
            (
                69,
                "localhost:SOURCE: starting TLS: the server does not speak TLS on this port; \
                check source_port, or set \"source_tls\" to \"starttls\"",
            ),
        ],
    );
}

#[test]
fn gmail_rejects_the_log_in() {
    let report: Vec<_> = login_rejections()
        .into_iter()
        .map(|answer| {
            let gmail = GmailOptions {
                login_response: Some(answer),
                ..GmailOptions::default()
            };
            report(&home_with(SourceOptions::default(), gmail))
        })
        .collect();
    compare(
        &report,
        &[
            (
                77,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO \
                [AUTHENTICATIONFAILED] Invalid credentials (Failure); check that target_user is \
                the account that the token was made for, or make a new token by AUTH",
            ),
            (
                77,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO [ALERT] \
                Invalid credentials (Failure); check that target_user is the account that the \
                token was made for, or make a new token by AUTH",
            ),
            (
                77,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO Lookup failed \
                cf29mb85450632edb; check target_user, and that Gmail is turned on for this \
                account or its domain",
            ),
            (
                77,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO [ALERT] IMAP \
                access is disabled for your domain. Please contact your domain administrator for \
                questions about this feature. (Failure); the administrator of the account's \
                Workspace must allow IMAP",
            ),
            (
                77,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO [ALERT] Your \
                account is not enabled for IMAP use. Please visit your Gmail settings page and \
                enable your account for IMAP access. (Failure); turn IMAP on in the settings of \
                the Gmail account",
            ),
            (
                77,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO [ALERT] \
                Application-specific password required: \
                https://support.google.com/accounts/answer/185833 (Failure); Gmail asks for a \
                password where a token was sent: check target_user and target_server",
            ),
            (
                0,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO [ALERT] Too \
                many simultaneous connections. (Failure); nothing is sent to Gmail for a while",
            ),
            (
                0,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO [ALERT] \
                Account exceeded command or bandwidth limits. (Failure); nothing is sent to Gmail \
                for a while",
            ),
            (
                69,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO [UNAVAILABLE] \
                Temporary System Problem. Try again later. (Failure); later runs try again",
            ),
            (
                69,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO [UNAVAILABLE] \
                Temporary System Error; later runs try again",
            ),
            (
                69,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO [UNAVAILABLE] \
                Temporary System Problem (Failure); later runs try again",
            ),
            (
                69,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO [ALERT] \
                Lockdown in sector 4 (Failure); later runs try again",
            ),
            (
                77,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO [ALERT] Please \
                log in via your web browser: \
                https://support.google.com/mail/accounts/answer/78754 (Failure); sign in to \
                Gmail in a web browser once and confirm that it was you",
            ),
        ],
    );
}

/// A home whose Gmail limits the account at each log-in.
fn home_of_a_limited_account() -> Home {
    let answer = login_rejections()
        .into_iter()
        .find(|lines| lines[0].contains("bandwidth"));
    let gmail = GmailOptions {
        login_response: answer,
        ..GmailOptions::default()
    };
    home_with(SourceOptions::default(), gmail)
}

#[test]
fn gmail_throttles() {
    let home = home_of_a_limited_account();
    compare(
        &[report(&home), report(&home)],
        &[
            (
                0,
                "localhost:GMAIL: logging in as user@gmail.com: the server says NO [ALERT] \
                Account exceeded command or bandwidth limits. (Failure); nothing is sent to Gmail \
                for a while",
            ),
            (0, "Gmail rests until DATE TIME ZONE; this run does nothing"),
        ],
    );
}

#[test]
fn the_run_that_meets_a_limit_says_so_with_quiet_and_later_ones_do_not() {
    let home = home_of_a_limited_account();
    let lines = [(); 2].map(|()| {
        let run = home.run_with(&["--quiet"]);
        assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:?}");
        let warned = run.logged("warn").len();
        assert_eq!(run.stdout.lines().count(), warned, "{run:?}");
        warned
    });
    assert_eq!(lines, [1, 0]);
}

#[test]
fn the_target_has_no_labels() {
    let gmail = GmailOptions {
        without: vec!["X-GM-EXT-1".to_owned()],
        ..GmailOptions::default()
    };
    let home = home_with(SourceOptions::default(), gmail);
    home.configure(&json!({ "labels": ["Old"] }));
    let line = "gmail: this server has no labels (X-GM-EXT-1); labels needs Gmail: remove labels from the \
                configuration";
    compare(&[report(&home)], &[(78, line)]);
}

#[test]
fn gmail_is_full() {
    let gmail = GmailOptions {
        storage: 2048,
        ..GmailOptions::default()
    };
    let home = home_with(SourceOptions::default(), gmail);
    let large = format!("Message-ID: <large@x>\r\n\r\n{}", "x".repeat(2000));
    let now = chrono::Utc::now().fixed_offset();
    home.source.deliver(large.as_bytes(), now, &[]);
    let remedy = "its storage is full: delete something large, or buy more \
                  (https://one.google.com/storage); copying then goes on by itself";
    let rest = format!(
        "localhost:GMAIL: waiting to append: the last message did not fit; {remedy}; will retry at \
         DATE TIME ZONE"
    );
    let first = format!(
        "localhost:GMAIL: appending a message: the server says NO [OVERQUOTA] Not enough disk space (Failure) (0.00 \
         of 0.00 GiB are used); {remedy}"
    );
    compare(
        &[report(&home), report(&home)],
        &[(77, first.as_str()), (77, rest.as_str())],
    );
    let state = home.state();
    assert_eq!(state["parked"], json!({}));
    home.gmail.change(|gmail| gmail.storage = 1_000_000);
    home.age_by_minutes(20);
    home.run_ok();
    assert_eq!(home.gmail.messages("INBOX").len(), 2);
    assert!(home.state()["gmail"]["storage_full"].is_null());
}

#[test]
fn gmail_is_full_and_only_its_quota_tells() {
    let gmail = GmailOptions {
        append_response: AppendResponse::Refusal("NO [OVERQUOTA] no".to_owned()),
        ..GmailOptions::default()
    };
    // In units of 1024 octets, the second one has no room at all.
    for (storage, status) in [(1_000_000, 0), (1000, 77)] {
        let home = home_with(SourceOptions::default(), gmail.clone());
        let source = home.source.mailboxes();
        let now = chrono::Utc::now().fixed_offset();
        source.deliver("INBOX", b"Message-ID: <a@x>\r\n\r\n", now, &[]);
        home.gmail.change(|gmail| gmail.storage = storage);
        let run = home.run();
        assert_eq!(run.status, Some(status), "{run:?}");
    }
}

#[test]
fn gmail_limits_the_account_for_longer_than_a_day() {
    let gmail = GmailOptions {
        append_response: AppendResponse::Refusal("NO [OVERQUOTA] no".to_owned()),
        ..GmailOptions::default()
    };
    let home = home_with(SourceOptions::default(), gmail);
    let now = chrono::Utc::now().fixed_offset();
    home.source.deliver(b"Message-ID: <a@x>\r\n\r\n", now, &[]);
    home.run_ok();
    let (_, line) = report(&home);
    assert!(line.contains("Gmail rests until"), "{line}");
    for _ in 0..2 {
        home.age_by_minutes(13 * 60);
        home.run_ok();
    }
    let run = home.run_ok();
    assert!(
        run.stdout
            .contains("longer than its limit on daily uploads lasts"),
        "{run:?}"
    );
}

/// The rejections that need the user; the others are temporary.
fn permanent_rejections() -> Vec<(u16, String)> {
    token_rejections()
        .into_iter()
        .filter(|(status, _)| *status < 402)
        .collect()
}

fn after_renewal_response(answer: (u16, String)) -> (i32, String) {
    let home = home();
    expire_token(&home);
    home.endpoint
        .change(|options| options.refusal = Some(answer));
    report(&home)
}

#[test]
fn a_renewal_is_rejected() {
    let report = in_parallel(permanent_rejections(), after_renewal_response);
    compare(
        &report,
        &[
            (
                77,
                "127.0.0.1: renewing the access token: Google rejected the request: \
                invalid_grant (Token has been expired or revoked.); the app is in \"Testing\", \
                where a token expires after 7 days (publish it), or the account's password was changed, \
                or access was revoked, or the token was unused for 6 months: \
                make a new token by AUTH",
            ),
            (
                77,
                "127.0.0.1: renewing the access token: Google rejected the request: \
                invalid_grant (Bad Request); the app is in \"Testing\", where a token expires after 7 \
                days (publish it), or the account's password was changed, or access was revoked, \
                or the token was unused for 6 months: make a new token by AUTH",
            ),
            (
                77,
                "127.0.0.1: renewing the access token: Google rejected the request: \
                invalid_grant (Malformed auth code.); the app is in \"Testing\", where a token \
                expires after 7 days (publish it), or the account's password was changed, or access was \
                revoked, or the token was unused for 6 months: make a new token by AUTH",
            ),
            (
                77,
                "127.0.0.1: renewing the access token: Google rejected the request: \
                invalid_grant (reauth related error (invalid_rapt)); the Workspace's session \
                control asks for a new log-in from time to time: make a new token by AUTH",
            ),
            (
                77,
                "127.0.0.1: renewing the access token: Google rejected the request: \
                invalid_client (The OAuth client was not found.); client_id or client_secret in \
                the token file is not known to Google: download client_secret.json again and \
                make a new token by AUTH",
            ),
            (
                77,
                "127.0.0.1: renewing the access token: Google rejected the request: \
                invalid_client (Unauthorized); client_id or client_secret in the token file is \
                not known to Google: download client_secret.json again and make a new token by AUTH",
            ),
            (
                77,
                "127.0.0.1: renewing the access token: Google rejected the request: \
                redirect_uri_mismatch (Bad Request); check that the OAuth client is of type \
                \"Desktop app\", download its client_secret.json and make a new token by AUTH",
            ),
            (
                77,
                "127.0.0.1: renewing the access token: Google rejected the request: \
                unsupported_grant_type (Invalid grant_type: x); check that the OAuth client is \
                of type \"Desktop app\", download its client_secret.json and \
                make a new token by AUTH",
            ),
            (
                77,
                "127.0.0.1: renewing the access token: Google rejected the request: \
                invalid_request (client_secret is missing.); the token file needs the \
                client_secret of the OAuth client: download client_secret.json again and \
                make a new token by AUTH",
            ),
            (
                77,
                "127.0.0.1: renewing the access token: Google rejected the request: \
                deleted_client (The OAuth client was deleted.); Google deletes one that is unused \
                for 6 months: create a new one, download its client_secret.json and \
                make a new token by AUTH",
            ),
        ],
    );
}

#[test]
fn a_rejection_that_repeats_a_secret_is_not_shown() {
    let home = home();
    let secrets = secrets(&home);
    expire_token(&home);
    // Without the last one: Google does not know the source's password.
    let [known_to_google @ .., _] = secrets.as_slice() else {
        unreachable!()
    };
    let report = known_to_google.iter().map(|secret| {
        let answer = json!({ "error": "invalid_client", "error_description": secret });
        let answer = Some((401, answer.to_string()));
        home.endpoint.change(|options| options.refusal = answer);
        report(&home)
    });
    let report: Vec<_> = report.collect();
    let line = (
        77,
        "127.0.0.1: renewing the access token: Google rejected the request: an error that is \
        not shown, because it repeats a secret; client_id or client_secret in the token file is \
        not known to Google: download client_secret.json again and make a new token by AUTH",
    );
    compare(&report, &[line; 2]);
}

#[test]
fn a_renewal_fails_for_now() {
    let lasting = permanent_rejections();
    let mut passing = token_rejections();
    passing.retain(|refusal| !lasting.contains(refusal));
    let expected: Vec<String> = passing
        .iter()
        .map(|(status, _)| {
            format!(
                "127.0.0.1: renewing the access token: responds with HTTP status {status}; later \
                runs try again (if this persists, check token_uri)"
            )
        })
        .collect();
    let expected: Vec<_> = expected.iter().map(|line| (69, line.as_str())).collect();
    assert_eq!(expected.len(), 8);
    compare(&in_parallel(passing, after_renewal_response), &expected);
}

#[test]
fn a_rejected_token_is_remembered() {
    let home = home();
    expire_token(&home);
    home.endpoint
        .change(|options| options.refusal = Some(token_rejections().remove(0)));
    report(&home);
    compare(
        &[report(&home)],
        &[(
            77,
            "token.json: Google rejected this token, and is not asked again before DATE TIME ZONE; \
            the app is in \"Testing\", where a token expires after 7 days (publish it), or the \
            account's password was changed, or access was revoked, or the token was unused for 6 \
            months: make a new token by AUTH",
        )],
    );
}

#[test]
fn a_token_of_another_account_keeps_its_hint() {
    let home = home();
    let token = home.endpoint.token_json("another@gmail.com");
    home.write("token.json", &token);
    let hint = "check that target_user is the account that the token was made for, or make a new \
                token by AUTH";
    let rejected = format!(
        "localhost:GMAIL: logging in as user@gmail.com: the server says NO \
         [AUTHENTICATIONFAILED] Invalid credentials (Failure); {hint}"
    );
    let remembered = format!(
        "token.json: Gmail rejected the log-in as user@gmail.com with this token, and is not \
         asked again before DATE TIME ZONE; {hint}"
    );
    compare(
        &[report(&home), report(&home)],
        &[(77, rejected.as_str()), (77, remembered.as_str())],
    );
    // A dry run neither renews the token nor says that it has expired.
    home.age_by_minutes(60);
    let dry_run = home.run_with(&["--dry-run"]);
    assert_eq!(dry_run.status, Some(77), "{dry_run:?}");
    let hint = "(Failure); run once without --dry-run, which renews the token, or check that";
    assert!(dry_run.stderr.contains(hint), "{dry_run:?}");
    assert!(!dry_run.stdout.contains("renewing"), "{dry_run:?}");
    // The rejection is that of this user.
    fs::remove_file(home.path("sync_state.json.journal")).unwrap();
    let mut state = home.state();
    state["gmail"]["token_refused"]["retry_after"] =
        json!(Utc::now() + chrono::TimeDelta::minutes(5));
    state["gmail"]["token_refused"]["user"] = json!("another@gmail.com");
    home.write("sync_state.json", &state.to_string());
    assert_eq!(report(&home), (77, rejected));
}

#[test]
fn a_password_command_that_prints_another_password_is_no_longer_delayed() {
    let home = home();
    let command = "echo >> runs; cat password";
    home.configure(&json!({ "source_pass": null, "source_pass_command": command }));
    home.write("password", "wrong\n");
    assert_eq!(report(&home).0, 77);
    let (status, line) = report(&home);
    assert_eq!(status, 77);
    assert!(
        line.ends_with("when the configuration or the output of source_pass_command changes"),
        "{line}"
    );
    assert_eq!(home.source.connections(), 1);
    assert_eq!(home.read("runs").lines().count(), 2, "once a run");
    home.write("password", PASSWORD);
    home.run_ok();
    assert_eq!(home.read("runs").lines().count(), 3, "once a run");
    assert_eq!(home.state()["source"].get("command_output"), None);
}

#[test]
fn the_token_endpoint_fails() {
    // An endpoint that never responds is left out: its time-out is a minute.
    let faults = vec![
        Some(EndpointFault::Cut),
        Some(EndpointFault::Redirect("https://example.com/".to_owned())),
        None,
    ];
    let report = in_parallel(faults, |fault| {
        let home = home();
        expire_token(&home);
        match fault {
            Some(fault) => home.endpoint.change(|options| options.fault = fault),
            None => change_token(&home, &json!({ "token_uri": "http://127.0.0.1:1/token" })),
        }
        report(&home)
    });
    compare(
        &report,
        &[
            (
                69,
                "127.0.0.1: renewing the access token: it closed the connection; later runs try \
                again (if this persists, check token_uri)",
            ),
            (
                69,
                "127.0.0.1: renewing the access token: responds with a redirect (HTTP status \
                302), which is not followed; later runs try again (if this persists, check \
                token_uri)",
            ),
            (
                69,
                "127.0.0.1: renewing the access token: connection refused; later runs try \
                again (if this persists, check token_uri)",
            ),
        ],
    );
}

#[test]
fn the_token_file_is_wrong() {
    let home = home();
    let whole: Value = serde_json::from_str(&home.read("token.json")).unwrap();
    let mut lines = Vec::new();
    home.configure(&json!({ "target_token_file": "none.json" }));
    lines.push(report(&home));
    home.configure(&json!({ "target_token_file": "token.json" }));
    for fields in [
        json!({ "token": 5 }),
        json!({ "token": null, "refresh_token": null }),
        json!({ "token_uri": "http://example.com/token" }),
        json!({ "client_id": null, "token": null }),
        json!({ "refresh_token": null, "token": "worthless" }),
    ] {
        home.write("token.json", &whole.to_string());
        change_token(&home, &fields);
        lines.push(report(&home));
    }
    home.write("token.json", "{\n  \"token\": \"a\nb\"\n}");
    lines.push(report(&home));
    compare(
        &lines,
        &[
            (
                78,
                "none.json: cannot be read: No such file or directory (os error 2); correct \
                target_token_file, or make a new token by AUTH",
            ),
            (
                78,
                "token.json: token must be a string; make a new token by AUTH",
            ),
            (
                78,
                "token.json: holds neither token nor refresh_token; make a new token by AUTH",
            ),
            (
                78,
                "token.json: token_uri must begin with https:// (http:// only to this host \
                itself)",
            ),
            (
                78,
                "token.json: has no client_id, so that the access token cannot be renewed; \
                make a new token by AUTH",
            ),
            (
                77,
                "token.json: Gmail rejected the access token, and there is no refresh_token to \
                renew it; make a new token by AUTH",
            ),
            (
                78,
                "token.json: is not a JSON object: control character (\\u0000-\\u001F) found \
                while parsing a string at line 3 column 0; make a new token by AUTH",
            ),
        ],
    );
}

/// What editors and shells on Windows write.
#[test]
fn a_file_is_encoded_in_utf_16() {
    let home = home();
    home.configure(&json!({ "source_pass": null, "source_pass_file": "password" }));
    home.write("password", PASSWORD);
    let order = |is_little: bool| {
        if is_little {
            u16::to_le_bytes
        } else {
            u16::to_be_bytes
        }
    };
    for name in ["config.json", "token.json", "password", "source.pem"] {
        let text = home.read(name);
        for (mark, is_little) in [
            ("", true),
            ("", false),
            ("\u{feff}", true),
            ("\u{feff}", false),
        ] {
            let text = format!("{mark}{text}\r\n");
            let octets = text.encode_utf16().flat_map(order(is_little));
            fs::write(home.path(name), octets.collect::<Vec<u8>>()).unwrap();
            let order = if is_little { "little" } else { "big" };
            let run = home.run();
            let line = last_line(&run);
            assert_eq!(run.status, Some(78), "{line}");
            assert!(line.contains(&format!("{name}: ")), "{line}");
            let end =
                format!("it is encoded in UTF-16 ({order}-endian), not in UTF-8; save it as UTF-8");
            assert!(line.ends_with(&end), "{line}");
        }
        // A mark alone is nothing.
        home.write(name, &format!("\u{feff}{text}"));
    }
    home.run_ok();
    assert_eq!(home.gmail.messages("INBOX").len(), 1);
}

/// The resolver's text differs between hosts with and without a network.
fn without_resolver_text((status, line): (i32, String)) -> (i32, String) {
    let begin = line.find("information: ").unwrap() + "information: ".len();
    let end = line.rfind(';').unwrap();
    (status, format!("{}WHY{}", &line[..begin], &line[end..]))
}

#[test]
fn a_server_is_unreachable() {
    let home = home();
    let mut lines = Vec::new();
    home.configure(&json!({ "source_server": "127.0.0.1", "source_port": 1 }));
    lines.push(report(&home));
    home.configure(&json!({ "source_server": "nowhere.invalid", "source_port": 993 }));
    lines.push(without_resolver_text(report(&home)));
    home.configure(&json!({ "source_server": "localhost", "source_port": home.source.port(), "target_server": "127.0.0.1", "target_port": 1 }));
    lines.push(report(&home));
    compare(
        &lines,
        &[
            (
                69,
                "127.0.0.1:1: connecting: 127.0.0.1: connection refused; check that the \
                server runs, and that its name and port are right",
            ),
            (
                69,
                "nowhere.invalid:993: looking up its address: failed to lookup address \
                information: WHY; check the name, and this host's network",
            ),
            (
                69,
                "127.0.0.1:1: connecting: 127.0.0.1: connection refused; check that the \
                server runs, and that its name and port are right",
            ),
        ],
    );
}

#[test]
fn a_folder_does_not_exist() {
    let home = home();
    home.source.mailboxes().create("Archive");
    let lines = ["Archiv", "Lists/rust"].map(|folder| {
        home.configure(&json!({ "source_folder": folder }));
        home.write("sync_state.json", "{}");
        report(&home)
    });
    compare(
        &lines,
        &[
            (
                78,
                "localhost:SOURCE: opening the folder \"Archiv\": the server says NO \
                [NONEXISTENT] Mailbox doesn't exist: Archiv (0.001 + 0.000 secs).; did you mean \
                \"Archive\"?",
            ),
            (
                78,
                "localhost:SOURCE: opening the folder \"Lists/rust\": the server says NO \
                [NONEXISTENT] Mailbox doesn't exist: Lists/rust (0.001 + 0.000 secs).; the \
                folders there are \"Archive\", \"INBOX\"",
            ),
        ],
    );
}

#[test]
fn the_state_belongs_to_another_account_or_version() {
    let home = home();
    let mut lines = Vec::new();
    for state in [
        json!({
            "version": 2,
            "serial": 1,
            "account": { "source": "bob/INBOX", "target": "bob@gmail.com/INBOX" },
            "synced_message_ids": { "<a@x>": "2026-11-01T00:00:00Z" },
        }),
        json!({ "version": 4 }),
    ] {
        home.write("sync_state.json", &state.to_string());
        lines.push(report(&home));
    }
    fs::remove_file(home.path("sync_state.json")).unwrap();
    fs::create_dir(home.path("sync_state.json")).unwrap();
    lines.push(report(&home));
    compare(
        &lines,
        &[
            (
                78,
                "sync_state.json: this state is for bob/INBOX to bob@gmail.com/INBOX, and the \
                configuration names user/INBOX to user@gmail.com/INBOX; give each account its own \
                --state-file; or, if these are new names of the same account, add --same-account \
                to one run",
            ),
            (
                78,
                "HOME/sync_state.json: this state has version 4, written by a later release; \
                use that release, or another --state-file",
            ),
            (
                74,
                "HOME/sync_state.json: reading or writing the state: it is a folder, not a file; move \
                HOME/sync_state.json away, or name another file",
            ),
        ],
    );
}

#[test]
fn another_run_holds_the_lock() {
    let home = home();
    let mut lock = Lock::try_acquire(&home.path("sync_state.json")).unwrap();
    if let LockAttempt::Acquired(lock) = &mut lock {
        lock.write_pid(4711).unwrap();
    }
    let run = home.run();
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""));
    compare(
        &[report(&home)],
        &[(
            0,
            "sync_state.json.lock: another run holds the lock (process 4711)",
        )],
    );
}

#[test]
fn the_source_does_not_respond() {
    // In the library, because the program's time-out is a minute.
    let server = ScriptedServer::play_all(vec![dialogue(&[&["silence"]]); 3]);
    let port = server.address().port;
    let config = |tls| SourceConfig {
        server: Server {
            tls,
            ..server.address()
        },
        user: "user".to_owned(),
        password: Password::Given(Secret::new(PASSWORD.to_owned())),
        folder: "INBOX".to_owned(),
    };
    let timeouts = Timeouts {
        response: Duration::from_millis(100),
        ..Timeouts::default()
    };
    let report = [TlsMode::None, TlsMode::Implicit, TlsMode::StartTls].map(|tls| {
        let password = Secret::new(PASSWORD.to_owned());
        let error = ImapSource::open(&config(tls), password, timeouts)
            .err()
            .unwrap()
            .with_default_remedy();
        let line = error.to_string().replace(&port.to_string(), "SOURCE");
        (i32::from(error.kind().exit_status()), line)
    });
    compare(
        &report,
        &[
            (
                69,
                "127.0.0.1:SOURCE: reading its greeting: timed out; if this persists, check \
                the port",
            ),
            (
                69,
                "127.0.0.1:SOURCE: starting TLS: timed out; if this persists, check the \
                port",
            ),
            (
                69,
                "127.0.0.1:SOURCE: starting TLS (STARTTLS): the server sends no greeting; if it expects \
                TLS at once, set \"source_tls\" to \"implicit\"; else check the port",
            ),
        ],
    );
}

#[test]
fn the_server_is_no_imap_server() {
    let home = home();
    let server = ScriptedServer::play_all(vec![dialogue(&[&["S: SSH-2.0-OpenSSH_9.6"]]); 3]);
    let port = server.address().port;
    home.configure(&json!({ "source_server": "127.0.0.1", "source_port": port }));
    let lines = ["none", "implicit", "starttls"].map(|tls| {
        home.configure(&json!({ "source_tls": tls }));
        let (status, line) = report(&home);
        (status, line.replace(&port.to_string(), "SOURCE"))
    });
    compare(
        &lines,
        &[
            (
                69,
                "127.0.0.1:SOURCE: reading its greeting: this is not an IMAP server: its greeting is \
                \"SSH-2.0-OpenSSH_9.6\"; if this persists, check the port",
            ),
            (
                69,
                "127.0.0.1:SOURCE: starting TLS: the server does not speak TLS on this port; \
                check source_port, or set \"source_tls\" to \"starttls\"",
            ),
            (
                69,
                "127.0.0.1:SOURCE: starting TLS (STARTTLS): its greeting is \
                \"SSH-2.0-OpenSSH_9.6\"; check the port",
            ),
        ],
    );
}

#[test]
fn an_unreadable_state_is_moved_aside_and_reported() {
    let home = home();
    home.write("sync_state.json", "{ \"version\": 2, \"cursor\": 7 }");
    let run = home.run_ok();
    let errors: Vec<_> = run
        .logged("error")
        .iter()
        .map(|line| {
            let aside = line.find("unreadable-").unwrap() + "unreadable-".len();
            let end = aside + "20261122T201500Z".len();
            let line = format!("{}TIME{}", &line[..aside], &line[end..]);
            (0, line.replace(home.path("").to_str().unwrap(), "HOME/"))
        })
        .collect();
    compare(
        &errors,
        &[(
            0,
            "HOME/sync_state.json: cannot be read as a state (invalid type: integer `7`, \
            expected struct Cursor at line 1 column 27); kept as \
            HOME/sync_state.json.unreadable-TIME (the last 3 are kept); what arrived in the last \
            days is looked up at Gmail",
        )],
    );
    assert_eq!(home.gmail.messages("INBOX").len(), 1);
}

#[test]
fn a_token_file_that_others_can_read_causes_one_warning() {
    let home = home();
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(home.path("token.json"), mode).unwrap();
    let run = home.run_ok();
    let line = "token.json holds a secret and can be read by others; type: chmod 600 token.json";
    assert_eq!(run.logged("warn"), [line]);
}

#[test]
fn a_configuration_that_others_can_change_is_refused_if_it_names_a_command_or_root_runs() {
    let home = home();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let permit = |name: &str, mode: u32| {
        fs::set_permissions(home.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    permit("config.json", 0o666);
    let run = home.run();
    let owner = fs::metadata(home.path("config.json")).unwrap().uid();
    let what = format!("config.json: it can be written by others (owner {owner}, mode 0666)");
    let remedy = "type: chmod go-w config.json";
    if is_root {
        run.assert_error(
            78,
            &format!("{what}, and the program runs as root; {remedy}"),
        );
    } else {
        let readable =
            "config.json holds a secret and can be read by others; type: chmod 600 config.json";
        let writable = format!("{what}; {remedy}");
        assert_eq!(run.logged("warn"), [readable, &writable]);
    }

    home.write("password", PASSWORD);
    let command = "touch was-run; cat password";
    home.configure(&json!({ "source_pass": null, "source_pass_command": command }));
    permit("config.json", 0o602);
    let what = what.replace("0666", "0602");
    let why = "and it names a command (source_pass_command)";
    home.run()
        .assert_error(78, &format!("{what}, {why}; {remedy}"));

    permit("config.json", 0o600);
    permit("", 0o777);
    let run = home.run();
    assert_eq!(run.status, Some(78), "{run:?}");
    assert!(
        run.stderr.starts_with("config.json: its folder "),
        "{run:?}"
    );
    assert!(!home.path("was-run").exists());

    permit("", 0o1777);
    if is_root {
        chown(home.path("config.json"), Some(12_345), None).unwrap();
        home.run().assert_error(
            78,
            "config.json: it belongs to another user (owner 12345, mode 0600), and it names a \
             command (source_pass_command); type: chown 0 config.json",
        );
        chown(home.path("config.json"), Some(0), None).unwrap();
    }
    home.run_ok();
    assert!(home.path("was-run").exists());
}

#[test]
fn a_file_that_is_no_token_is_named_without_a_recommendation_to_replace_it() {
    let home = home();
    deliver_one(&home);
    for (other, what) in [
        ("/tmp", "/tmp: is a folder or a device, not a token file"),
        (
            "/dev/null",
            "/dev/null: is a folder or a device, not a token file",
        ),
    ] {
        home.configure(&json!({ "target_token_file": other }));
        let run = home.run();
        run.assert_error(78, &format!("{what}; correct target_token_file"));
        assert!(!run.stdout.contains("chmod"), "{run:?}");
    }
    home.write("other.json", "{}");
    fs::set_permissions(home.path("other.json"), fs::Permissions::from_mode(0o644)).unwrap();
    home.configure(&json!({ "target_token_file": "other.json" }));
    assert!(!home.run().stdout.contains("chmod"));
}

#[test]
fn an_empty_configuration_is_called_empty() {
    let home = home();
    for text in ["", "\n \n"] {
        home.write("config.json", text);
        home.run().assert_error(
            78,
            "config.json: is empty; begin with a copy of config.json.example \
             (docs/configuration.md)",
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_its_owner() {
    let home = home();
    // Root can read everything, so another user runs the program.
    let program = home.path("program");
    fs::copy(env!("CARGO_BIN_EXE_imap-to-gmail-sync"), &program).unwrap();
    if chown(home.path(""), Some(12_345), None).is_err() {
        return;
    }
    for name in ["config.json", "source.pem", "gmail.pem"] {
        chown(home.path(name), Some(12_345), None).unwrap();
    }
    let run = |what: &str| -> Run {
        let output = Command::new(&program)
            .args(["--config", "config.json"])
            .current_dir(home.path(""))
            .uid(12_345)
            .gid(12_345)
            .output();
        let run: Run = output.unwrap().into();
        assert!(run.stderr.contains("Permission denied"), "{what}: {run:?}");
        run
    };
    deliver_one(&home);
    let folder = home.path("").display().to_string();
    let belongs = |name: &str| {
        format!(
            "Permission denied (os error 13): the file {folder}{name} belongs to user 0 (mode \
             0600), and this is user 12345; type: chown 12345 {folder}{name}"
        )
    };
    run("the token").assert_error(
        78,
        &format!("token.json: cannot be read: {}", belongs("token.json")),
    );
    chown(home.path("token.json"), Some(12_345), None).unwrap();
    home.write("sync_state.json.lock", "");
    let line = belongs("sync_state.json.lock");
    let run = run("the lock");
    assert_eq!(run.status, Some(74), "{run:?}");
    assert!(run.stderr.contains(&line), "{line} in {run:?}");
}

#[test]
fn a_token_endpoint_of_another_host_is_warned_about() {
    let home = home();
    deliver_one(&home);
    expire_token(&home);
    // This host, by an address that is not loopback.
    change_token(&home, &json!({ "token_uri": "https://0.0.0.0:1/token" }));
    let run = home.run();
    assert_eq!(run.status, Some(69), "{run:?}");
    assert_eq!(
        run.logged("warn")[0],
        "token.json: token_uri names 0.0.0.0, which is not Google's and gets the refresh token and \
         the client secret; unless that host is yours, use the file that Google provides"
    );
}

fn deliver_one(home: &Home) {
    let now = chrono::Utc::now().fixed_offset();
    home.source
        .deliver(b"Message-ID: <one@x>\r\n\r\nbody\r\n", now, &[]);
}
