//! Secrets appear in no log line, error, process argument, or file that others can read.

// A test fails by a panic, in its support code as in its body.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/host_sockets.rs"]
mod host_sockets;
#[path = "support/program.rs"]
mod program;
#[path = "support/scripted_server.rs"]
mod scripted_server;

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use double::{
    AppendResponse, EndpointFault, Event, Fault, GmailOptions, Quirk, SourceOptions,
    login_rejections, token_rejections,
};
use serde_json::{Value, json};

use host_sockets::HostSockets;
use program::{Home, Run};
use scripted_server::{ScriptedServer, dialogue};

/// A password that no other text contains by chance, with characters that need quoting.
const PASSWORD: &str = "Pa55\"w\\ord $HOME'%s";

/// A home with that password and a new message.
fn home() -> Home {
    let home = Home::with(
        SourceOptions {
            password: PASSWORD.to_owned(),
            ..SourceOptions::default()
        },
        GmailOptions::default(),
    );
    home.configure(&json!({ "source_pass": PASSWORD }));
    let mut token = token(&home);
    let life = Duration::from_hours(1);
    token["token"] = json!(home.gmail.tokens().issue(&home.gmail.user(), life));
    token["expiry"] = json!(Utc::now() + TimeDelta::minutes(59));
    home.write("token.json", &token.to_string());
    home.source.deliver(
        b"Message-ID: <a@x>\r\n\r\nbody\r\n",
        Utc::now().fixed_offset(),
        &[],
    );
    home
}

/// Base64, written independently of the program's library.
fn base64(octets: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in octets.chunks(3) {
        let mut bits = 0;
        for index in 0..3 {
            bits = bits << 8 | usize::from(chunk.get(index).copied().unwrap_or(0));
        }
        for index in 0..=chunk.len() {
            text.push(char::from(LETTERS[bits >> (18 - 6 * index) & 63]));
        }
    }
    text
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, octet| {
        write!(encoded, "%{octet:02X}").unwrap();
        encoded
    })
}

/// The forms of a secret that must not appear: itself, escaped, and in base64 at each offset in a
/// longer text.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![
        secret.to_owned(),
        secret.escape_debug().to_string(),
        // As the log shows it.
        secret.replace('\\', r"\\"),
        secret.escape_default().to_string(),
        json!(secret).to_string().trim_matches('"').to_owned(),
        percent_encoded(secret),
    ];
    for before in 0..3 {
        let shifted = [vec![b'x'; before], secret.as_bytes().to_vec()].concat();
        let encoded = base64(&shifted);
        // The letters at both ends also hold bits of the neighbours.
        let begin = [0, 2, 3][before];
        let end = shifted.len() / 3 * 4;
        forms.push(encoded[begin..end].to_owned());
    }
    forms
}

/// The secrets of a home by name: those in its files now, and the earlier ones.
fn secrets(home: &Home, before: &Value) -> Vec<(String, String)> {
    let now: Value = serde_json::from_str(&home.read("token.json")).unwrap_or_default();
    let user = home.gmail.user();
    let mut secrets = vec![
        ("password".to_owned(), PASSWORD.to_owned()),
        ("SASL PLAIN".to_owned(), format!("\0user\0{PASSWORD}")),
    ];
    for token in [before, &now] {
        for field in ["token", "refresh_token", "client_secret"] {
            if let Some(secret) = token[field].as_str() {
                assert!(secret.len() > 5, "{secret} is no secret to search for");
                secrets.push((field.to_owned(), secret.to_owned()));
            }
        }
        if let Some(access) = token["token"].as_str() {
            let says = format!("user={user}\x01auth=Bearer {access}\x01\x01");
            secrets.push(("SASL XOAUTH2".to_owned(), says));
        }
    }
    secrets
}

fn token(home: &Home) -> Value {
    serde_json::from_str(&home.read("token.json")).unwrap()
}

/// Runs with `--debug` and searches the output.
fn run_and_search(home: &Home, what: &str) -> Run {
    let before = token(home);
    let run = home.run_with(&["--debug"]);
    search(home, &before, &run, what);
    run
}

fn search(home: &Home, before: &Value, run: &Run, what: &str) {
    for (name, secret) in secrets(home, before) {
        for form in forms(&secret) {
            assert!(
                !run.stdout.contains(&form) && !run.stderr.contains(&form),
                "{what}: the {name} is shown as {form:?}: {run:?}"
            );
        }
    }
    // Lines of other crates may contain anything.
    for line in run.stdout.lines() {
        for foreign in [
            "ureq",
            "rustls",
            "oauth2",
            "POST /",
            "Authorization",
            "hyper",
        ] {
            assert!(!line.contains(foreign), "{what}: {line}");
        }
    }
}

/// Lets the access token expire, so that a run must renew it.
fn expire(home: &Home) {
    let mut token = token(home);
    token["expiry"] = json!("2020-01-01T00:00:00Z");
    home.write("token.json", &token.to_string());
}

#[test]
fn the_search_finds_a_secret_in_any_form() {
    assert_eq!(base64(b"\0user\0secret"), "AHVzZXIAc2VjcmV0");
    assert_eq!(
        base64(b"any carnal pleas"),
        "YW55IGNhcm5hbCBwbGVhcw".to_owned()
    );
    for before in ["", "\0user\0", "ab", "user=alice\x01auth=Bearer "] {
        for after in ["", "\x01\x01", "."] {
            let encoded = base64(format!("{before}{PASSWORD}{after}").as_bytes());
            let is_found = forms(PASSWORD).iter().any(|form| encoded.contains(form));
            assert!(is_found, "{before:?} {after:?}: {encoded}");
        }
    }
}

#[test]
fn what_people_wrote_is_logged_at_debug_only_and_no_body_ever() {
    let headers = ["FROM", "TO", "CC", "SUBJECT"];
    let home = Home::with(
        SourceOptions {
            quirks: [Quirk::QuotedStrings].into(),
            ..SourceOptions::default()
        },
        GmailOptions::default(),
    );
    let deliver = |id: &str| {
        let message = format!(
            "Message-ID: <{id}@x>\r\nFrom: FROM-1 <FROM-2@x>\r\nTo: TO-1 <TO-2@x>\r\nCc: CC-1@x\r\n\
             Subject: =?utf-8?q?SUBJECT=2D1?=\r\n\r\nBODY-1\r\n"
        );
        // Short enough to be sent as a quoted string.
        for octets in [&message, "Subject: SUBJECT-2"] {
            let now = Utc::now().fixed_offset();
            home.source.deliver(octets.as_bytes(), now, &[]);
        }
    };
    let refuse = |text: &str| {
        let response = AppendResponse::Refusal(text.to_owned());
        home.gmail.change(|gmail| gmail.append_response = response);
    };
    let mut ordinary = String::new();
    // Copied, parked, refused; then there is nothing to do.
    for (id, response) in [
        ("copied", None),
        ("parked", Some("NO not now")),
        ("refused", Some("NO [TOOBIG] too large")),
    ] {
        deliver(id);
        if let Some(response) = response {
            refuse(response);
        }
        let run = home.run_ok();
        assert!(
            run.stdout.contains(&format!("{id} <{id}@x>")) || id == "refused",
            "{run:?}"
        );
        ordinary += &(run.stdout + &run.stderr);
    }
    for mark in headers.iter().chain(&["BODY"]) {
        assert!(
            !ordinary.contains(&format!("{mark}-")),
            "{mark}: {ordinary}"
        );
    }

    home.gmail
        .change(|gmail| gmail.append_response = AppendResponse::Normal);
    deliver("debug");
    let run = home.run_with(&["--debug"]);
    let from = "from \"FROM-1 <FROM-2@x>\", subject \"SUBJECT-1\"";
    let line = format!("fetched <debug@x> (uid 7): {from}");
    assert!(run.logged("debug").contains(&line.as_str()), "{run:?}");
    assert_eq!(run.stdout.matches("SUBJECT-2").count(), 1, "{run:?}");
    for mark in ["TO-", "CC-", "BODY-", "=2D"] {
        assert!(!run.stdout.contains(mark), "{mark}: {run:?}");
    }
    let lines = run.logged("debug");
    let dialogue = lines
        .iter()
        .filter(|line| line.contains(": S: ") || line.contains(": C: "));
    let dialogue: Vec<&&str> = dialogue.collect();
    assert!(
        dialogue.iter().any(|line| line.contains("APPEND")),
        "{run:?}"
    );
    for line in dialogue {
        assert!(
            headers
                .iter()
                .all(|mark| !line.contains(&format!("{mark}-"))),
            "{line}"
        );
    }
}

#[test]
fn a_run_shows_no_secret() {
    let home = home();
    let run = run_and_search(&home, "with a valid token");
    assert_eq!(run.status, Some(0));
    assert!(home.endpoint.requests().is_empty());
    assert!(run.stdout.contains("AUTHENTICATE …"), "{}", run.stdout);

    home.source.deliver(
        b"Message-ID: <b@x>\r\n\r\nbody\r\n",
        Utc::now().fixed_offset(),
        &[],
    );
    expire(&home);
    let before = token(&home);
    let run = run_and_search(&home, "with a renewed token");
    assert_eq!(run.status, Some(0));
    assert_ne!(token(&home)["token"], before["token"]);
    assert_eq!(home.gmail.messages("INBOX").len(), 2);

    // A rotated refresh token is a secret, too.
    home.endpoint.change(|options| options.rotates = true);
    home.source.deliver(
        b"Message-ID: <c@x>\r\n\r\nbody\r\n",
        Utc::now().fixed_offset(),
        &[],
    );
    expire(&home);
    let before = token(&home);
    run_and_search(&home, "with a rotated token");
    assert_ne!(token(&home)["refresh_token"], before["refresh_token"]);
}

#[test]
fn no_way_to_log_in_shows_the_password() {
    for without in [
        &["SASL-IR"][..],
        &["AUTH=PLAIN"],
        &["AUTH=PLAIN", "SASL-IR"],
    ] {
        let home = home();
        home.source.change(|options| {
            options.without = without.iter().map(|&word| word.to_owned()).collect();
        });
        home.gmail
            .change(|options| options.without = vec!["SASL-IR".to_owned()]);
        let run = run_and_search(&home, &format!("{without:?}"));
        assert_eq!(run.status, Some(0), "{run:?}");
    }
}

/// The forms that a target's lines may have.
const FORMS: [&[&str]; 4] = [
    &[],
    &["--debug"],
    &["--log-format", "json"],
    &["--log-format", "json", "--debug"],
];

/// Runs the program in each of these situations: with a renewed token, with a password that the source
/// repeats, with a refused token.
fn in_each_situation(mut run: impl FnMut(&Home, &str)) {
    let renewed = home();
    expire(&renewed);
    run(&renewed, "with a renewed token");

    let initial = base64(format!("\0user\0{PASSWORD}").as_bytes());
    let greeting = "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello";
    let password = base64(PASSWORD.as_bytes());
    let alert = format!("S: * NO [ALERT] not understood: {initial}, {PASSWORD}, {password}");
    let no = format!("S: $tag NO [AUTHENTICATIONFAILED] no such command: AUTHENTICATE {initial}");
    let steps = [greeting, "C: AUTHENTICATE *", &alert, &no];
    let server = ScriptedServer::play(&[&steps]);
    let repeated = home();
    repeated.configure(&json!({
        "source_server": "127.0.0.1", "source_port": server.address().port,
        "source_tls": "none", "source_ca_file": null,
    }));
    run(&repeated, "repeated by the server");

    let refused = home();
    refused.gmail.tokens().revoke_all(&refused.gmail.user());
    run(&refused, "with a token that Gmail refuses");
}

#[test]
fn no_stream_and_no_format_shows_a_secret() {
    for target in ["stdout", "stderr"] {
        for form in FORMS {
            in_each_situation(|home, what| {
                let before = token(home);
                let run = home.run_with(&[&["--log", target], form].concat());
                search(home, &before, &run, &format!("{target} {form:?} {what}"));
                let log = if target == "stdout" {
                    &run.stdout
                } else {
                    &run.stderr
                };
                assert!(log.contains("info") || log.contains("error"), "{run:?}");
            });
        }
    }
}

#[test]
fn no_log_file_and_no_packed_one_shows_a_secret() {
    let mut packed = 0;
    for form in FORMS {
        in_each_situation(|home, what| {
            let before = token(home);
            let to_file = [
                "--log",
                "sync.log",
                "--log-max-size=1K",
                "--log-max-files=99",
            ];
            let mut run = home.run_with(&[&to_file, form].concat());
            for entry in fs::read_dir(home.path("")).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if !name.starts_with("sync.log") {
                    continue;
                }
                let octets = fs::read(&path).unwrap();
                let lines = if path.extension().is_some_and(|it| it == "zst") {
                    packed += 1;
                    zstd::decode_all(octets.as_slice()).unwrap()
                } else {
                    octets
                };
                run.stdout += &String::from_utf8(lines).unwrap();
            }
            assert!(!run.stdout.is_empty(), "{what}: {run:?}");
            search(home, &before, &run, &format!("a file {form:?} {what}"));
        });
    }
    assert!(packed > 10, "{packed}");
}

#[test]
#[ignore = "it mounts file systems; contrib/test runs it where that is permitted"]
fn no_line_to_syslog_shows_a_secret() {
    for form in FORMS {
        in_each_situation(|home, what| {
            let sockets = HostSockets::new();
            let daemon = UnixDatagram::bind(sockets.syslog()).unwrap();
            let reader = std::thread::spawn(move || {
                let mut lines = String::new();
                let mut octets = [0; 10_000];
                while let Ok(length @ 1..) = daemon.recv(&mut octets) {
                    lines += &String::from_utf8_lossy(&octets[..length]);
                    lines.push('\n');
                }
                lines
            });
            let before = token(home);
            let mut command = home.command();
            command.args(["--log", "syslog"]).args(form);
            let mut run: Run = sockets.command(&command).output().unwrap().into();
            // An empty record ends the reader.
            let end = UnixDatagram::unbound().unwrap();
            end.send_to(b"", sockets.syslog()).unwrap();
            run.stdout += &reader.join().unwrap();
            assert!(
                run.stdout.contains("imap-to-gmail-sync["),
                "{what}: {run:?}"
            );
            search(home, &before, &run, &format!("syslog {form:?} {what}"));
        });
    }
}

#[test]
fn a_rejected_log_in_shows_no_secret() {
    let refused = home();
    refused
        .source
        .change(|options| options.password = "another".to_owned());
    assert_eq!(run_and_search(&refused, "at the source").status, Some(77));

    for answer in login_rejections() {
        let home = home();
        home.gmail
            .change(|options| options.login_response = Some(answer.clone()));
        let run = run_and_search(&home, &format!("{answer:?}"));
        assert_ne!(run.status, Some(70), "{run:?}");
    }

    let home = home();
    home.gmail.tokens().revoke_all(&home.gmail.user());
    run_and_search(&home, "with a token that Gmail refuses");
}

#[test]
fn a_server_that_repeats_the_log_in_causes_no_secret_to_be_shown() {
    let initial = base64(format!("\0user\0{PASSWORD}").as_bytes());
    let escaped = PASSWORD.replace('\\', "\\\\").replace('"', "\\\"");
    let greeting = "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello";
    let bad = format!("S: $tag BAD no such command: AUTHENTICATE PLAIN {initial}");
    let password = base64(PASSWORD.as_bytes());
    let alert = format!("S: * NO [ALERT] not understood: {initial}, {PASSWORD}, {password}");
    let two_steps = ["C: AUTHENTICATE PLAIN", "S: + ", "C: *"].map(str::to_owned);
    let no_line = format!("S: $login BAD no such command: {initial}, {PASSWORD}");
    let no = format!("S: $tag NO [CANNOT] LOGIN \"user\" \"{escaped}\"?");
    let bye = format!("S: * BYE LOGIN \"user\" \"{escaped}\"?");
    for end in [no, bye] {
        let steps = [
            &[greeting.to_owned(), "C: AUTHENTICATE *".to_owned()][..],
            &[alert.clone(), bad.clone()],
            &two_steps,
            &[no_line.clone(), "C: LOGIN *".to_owned(), end],
        ];
        let mut dialogues = vec![steps.concat()];
        if dialogues[0].last().unwrap().contains("BYE") {
            dialogues.push(dialogue(&[&[greeting, "C: LOGIN *"], &["S: * BYE LOGIN?"]]));
        }
        let server = ScriptedServer::play_all(dialogues);
        let home = home();
        home.configure(&json!({
            "source_server": "127.0.0.1", "source_port": server.address().port,
            "source_tls": "none", "source_ca_file": null,
        }));
        let run = run_and_search(&home, "repeated by the server");
        assert!(run.stdout.contains("no such command: "), "{run:?}");
        assert_ne!(run.status, Some(0), "{run:?}");
    }
}

#[test]
fn a_failing_token_endpoint_shows_no_secret() {
    // Temporary failures are retried three times within seconds: one of them is enough.
    let refusals = token_rejections();
    let passing = refusals.iter().find(|(status, _)| *status >= 500);
    let lasting = refusals.iter().filter(|(status, _)| *status < 500);
    for refusal in lasting.chain(passing) {
        let home = home();
        expire(&home);
        home.endpoint
            .change(|options| options.refusal = Some(refusal.clone()));
        run_and_search(&home, &format!("{refusal:?}"));
    }
    for fault in [
        EndpointFault::Cut,
        EndpointFault::AnswerLost,
        EndpointFault::Redirect("http://127.0.0.1:1/elsewhere".to_owned()),
    ] {
        let home = home();
        expire(&home);
        home.endpoint
            .change(|options| options.fault = fault.clone());
        let run = run_and_search(&home, &format!("{fault:?}"));
        assert_ne!(run.status, Some(0));
    }
}

#[test]
fn a_malformed_file_shows_no_secret() {
    for config in [
        json!({ "source_pass": PASSWORD, "source_pass_file": "x" }),
        json!({ "source_pass": [PASSWORD] }),
        json!({ "source_pass": { "is": PASSWORD } }),
        json!({ "source_pass": null, "source_password": PASSWORD }),
        json!({ "source_pass": null, "source_pass_command": format!("echo \"{PASSWORD}\" >&2; false") }),
        json!({ "source_port": "many", "target_server": 5 }),
    ] {
        let home = home();
        home.configure(&config);
        let before = token(&home);
        let run = home.run_with(&["--debug"]);
        // The standard error of the user's command is shown: it is not the program's output.
        if config.get("source_pass_command").is_none() {
            search(&home, &before, &run, &config.to_string());
        }
        assert_ne!(run.status, Some(0), "{config}: {run:?}");
    }
    // Files that are no JSON, cut within the secret.
    for (name, field) in [
        ("config.json", "source_pass"),
        ("token.json", "refresh_token"),
        ("token.json", "\"token\""),
    ] {
        let home = home();
        let before = token(&home);
        let text = home.read(name);
        let end = text.find(field).unwrap() + field.len() + 12;
        home.write(name, &text[..end]);
        let run = home.run_with(&["--debug"]);
        assert_ne!(run.status, Some(0), "{name}: {run:?}");
        search(&home, &before, &run, name);
        // The remaining part must not appear either.
        let part = &text[end - 8..end];
        assert!(
            !run.stdout.contains(part) && !run.stderr.contains(part),
            "{part}: {run:?}"
        );
    }
    let home = home();
    let mut wrong = token(&home);
    let before = wrong.clone();
    for field in ["client_secret", "refresh_token"] {
        wrong[field] = json!([before[field]]);
    }
    home.write("token.json", &wrong.to_string());
    let run = home.run_with(&["--debug"]);
    search(&home, &before, &run, "a token file of wrong types");
}

#[test]
fn only_the_owner_can_read_written_files() {
    let home = home();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(home.path(""), open).unwrap();
    expire(&home);
    home.run_ok();
    let mut seen = Vec::new();
    for entry in fs::read_dir(home.path("")).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        let name = entry.file_name().into_string().unwrap();
        assert_eq!(mode, 0o600, "{name}");
        seen.push(name);
    }
    for name in [
        "sync_state.json",
        "sync_state.json.journal",
        "sync_state.json.lock",
        "token.json",
    ] {
        assert!(seen.iter().any(|seen| seen == name), "{name} in {seen:?}");
    }
    // The state holds no secret either.
    let before = token(&home);
    for (name, secret) in secrets(&home, &before) {
        for file in seen.iter().filter(|file| file.starts_with("sync_state")) {
            let text = String::from_utf8_lossy(&fs::read(home.path(file)).unwrap()).into_owned();
            assert!(
                forms(&secret).iter().all(|form| !text.contains(form)),
                "{name} in {file}"
            );
        }
    }
}

#[test]
fn a_state_and_a_token_that_others_could_read_are_rewritten_for_the_owner_alone() {
    let home = home();
    home.run_ok();
    for name in ["sync_state.json", "token.json"] {
        fs::set_permissions(home.path(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    home.source.deliver(
        b"Message-ID: <b@x>\r\n\r\nbody\r\n",
        Utc::now().fixed_offset(),
        &[],
    );
    expire(&home);
    home.run_ok();
    for name in ["sync_state.json", "token.json"] {
        let mode = fs::metadata(home.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
}

#[test]
fn the_process_list_shows_no_secret() {
    let home = home();
    let file = home.path("password");
    home.write("password", PASSWORD);
    home.configure(&json!({
        "source_pass": null,
        "source_pass_command": format!("cat {}", file.display()),
    }));
    home.gmail.faults().once(Event::is_literal, Fault::Stall);
    let before = token(&home);
    let mut run = home.start();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !home.gmail.events().iter().any(Event::is_literal) {
        assert!(Instant::now() < deadline, "the run does not come so far");
        std::thread::yield_now();
    }
    let listed = |what: &str| {
        let octets = fs::read(format!("/proc/{}/{what}", run.id()));
        // Only root can read the environment of a process that cannot be dumped.
        let octets = octets.unwrap_or_else(|error| error.to_string().into_bytes());
        String::from_utf8_lossy(&octets).into_owned()
    };
    let (arguments, environment, name) = (listed("cmdline"), listed("environ"), listed("comm"));
    assert!(arguments.contains("--config"), "{arguments}");
    for (secret_name, secret) in secrets(&home, &before) {
        for form in forms(&secret) {
            for shown in [&arguments, &environment, &name] {
                assert!(!shown.contains(&form), "{secret_name} in {shown:?}");
            }
        }
    }
    home.gmail.faults().release();
    assert!(run.wait().unwrap().success());
}

/// A process that can be dumped belongs to its user in `/proc`.
#[test]
fn the_memory_of_the_process_is_closed_to_other_processes_of_the_user() {
    let home = home();
    let own = fs::metadata("/proc/self").unwrap().uid();
    let program = home.path("program");
    fs::copy(env!("CARGO_BIN_EXE_imap-to-gmail-sync"), &program).unwrap();
    let mut command = Command::new(&program);
    command.args(["--config", "config.json"]);
    command.current_dir(home.path("")).stdout(Stdio::null());
    if own == 0 {
        // Root's processes look the same either way.
        command.uid(12_345).gid(12_345);
        for name in ["", "config.json", "token.json", "source.pem", "gmail.pem"] {
            chown(home.path(name), Some(12_345), Some(12_345)).unwrap();
        }
    }
    home.gmail.faults().once(Event::is_literal, Fault::Stall);
    let mut run = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !home.gmail.events().iter().any(Event::is_literal) {
        assert!(Instant::now() < deadline, "the run does not come so far");
        std::thread::yield_now();
    }
    let environment = fs::metadata(format!("/proc/{}/environ", run.id())).unwrap();
    assert_eq!(environment.uid(), 0);
    home.gmail.faults().release();
    assert!(run.wait().unwrap().success());
}

#[test]
fn no_panic_message_can_contain_a_secret() {
    use imap_to_gmail_sync::config::{Config, Environment};
    use imap_to_gmail_sync::imap::{Credentials, Login};
    use imap_to_gmail_sync::oauth::Token;

    // A panic prints values only by `Debug`, as `expect` and `assert_eq` do.
    let home = home();
    home.run_ok();
    let config = Config::load(&home.path("config.json"), &Environment::default()).unwrap();
    let password = config.source.password.read().unwrap();
    let login = Login {
        user: "user".to_owned(),
        credentials: Credentials::Password(password.clone()),
    };
    let mut token = Token::load(&home.path("token.json"), None, "auth", None).unwrap();
    let access = token.access(chrono::Utc::now()).unwrap();
    let to_gmail = Login {
        user: home.gmail.user(),
        credentials: Credentials::AccessToken(access.clone()),
    };
    let shown = format!("{config:#?} {password:?} {login:?} {access:?} {to_gmail:?}");
    for secret in [password.expose(), access.expose()] {
        assert!(secret.len() > 3 && !shown.contains(secret), "{shown}");
    }
}
