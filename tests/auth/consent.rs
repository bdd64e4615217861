//! `auth`: from a person's consent to a token that works, and everything that comes in between.
//!
//! Here the browser is a few lines of ours; `chromium.rs` has a real one.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use chrono::{DateTime, TimeDelta, Utc};
use double::{Consent, Trouble, token_refusals};
use imap_to_gmail_sync::cli::auth::AuthArgs;
use imap_to_gmail_sync::config::Environment;
use imap_to_gmail_sync::error::ErrorKind;
use imap_to_gmail_sync::oauth::consent;
use imap_to_gmail_sync::timeouts;
use serde_json::{Value, json};

use crate::authorizing::{Authorizing, ask, auth, auth_alone, consent, get, home, sent_back_to};
use crate::program::{Home, Run};

fn token(home: &Home) -> Value {
    serde_json::from_str(&home.read("token.json")).unwrap()
}

/// Every file of a home, with what is in it.
fn files(home: &Home) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(home.path(""))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Demands an end with this status and this one line.
fn ended(run: &Run, status: i32, line: &str) {
    assert_eq!(run.status, Some(status), "{run:?}");
    assert_eq!(run.stderr, format!("{line}\n"), "{run:?}");
}

/// Demands that a home without a token has none yet, nor anything that was to become one.
fn nothing_saved(home: &Home) {
    let names: Vec<String> = files(home).into_keys().collect();
    let expected = [
        "client_secret.json",
        "config.json",
        "gmail.pem",
        "source.pem",
    ];
    assert_eq!(names, expected);
}

fn field<'a>(address: &'a str, name: &str) -> &'a str {
    let query = address.split_once('?').unwrap().1;
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    value.unwrap()
}

/// The port to which Google is to send the browser back.
fn port_in(address: &str) -> &str {
    let back = field(address, "redirect_uri");
    back.rsplit_once("%3A").unwrap().1.trim_end_matches("%2F")
}

#[test]
fn a_consent_becomes_a_token_that_works() {
    let home = home();
    let octets = b"Message-ID: <a@x>\r\nSubject: a\r\n\r\na\r\n";
    home.source.deliver(octets, Utc::now().fixed_offset(), &[]);
    let running = Authorizing::start(&mut auth(&home));
    let address = running.address();

    // What Google is asked (RFC 6749 4.1.1, RFC 7636 4.3, GMAIL.md 7.1).
    assert!(address.starts_with(&home.endpoint.auth_url()));
    assert_eq!(field(&address, "response_type"), "code");
    assert_eq!(field(&address, "scope"), "https%3A%2F%2Fmail.google.com%2F");
    assert_eq!(field(&address, "access_type"), "offline");
    assert_eq!(field(&address, "prompt"), "consent");
    assert_eq!(field(&address, "code_challenge_method"), "S256");
    assert_eq!(field(&address, "code_challenge").len(), 43);
    assert_eq!(field(&address, "login_hint"), "user%40gmail.com");
    assert!(field(&address, "redirect_uri").starts_with("http%3A%2F%2F127.0.0.1%3A"));
    assert!(field(&address, "state").len() >= 40);

    let page = consent(&address);
    assert_eq!(page.status, 200);
    assert_eq!(page.title(), "Mail can now be copied to user@gmail.com");
    let run = running.end();
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    assert!(
        run.stdout
            .contains("token.json, and opens the mail of user@gmail.com.")
    );

    // google-auth's format (GMAIL.md 7.5).
    let token = token(&home);
    for (name, expected) in [
        ("token_uri", json!(home.endpoint.url())),
        ("scopes", json!(["https://mail.google.com/"])),
        ("universe_domain", json!("googleapis.com")),
        ("account", json!("")),
    ] {
        assert_eq!(token[name], expected);
    }
    let expiry = token["expiry"].as_str().unwrap();
    assert!(expiry.ends_with('Z'), "{expiry}");
    let left = expiry.parse::<DateTime<Utc>>().unwrap() - Utc::now();
    assert!(left > TimeDelta::minutes(50) && left <= TimeDelta::hours(1));
    let mode = fs::metadata(home.path("token.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);

    // Nothing secret was shown.
    let exchanged = home.endpoint.requests().remove(0);
    let told = format!("{run:?}{page:?}");
    for secret in [
        token["token"].as_str().unwrap(),
        token["refresh_token"].as_str().unwrap(),
        token["client_secret"].as_str().unwrap(),
        &exchanged["code_verifier"],
        &exchanged["code"],
    ] {
        assert!(!told.contains(secret), "{secret} in {told}");
    }

    home.run_well();
    assert_eq!(home.delivered().len(), 1);
}

#[test]
fn the_page_has_nothing_from_outside_and_runs_nothing() {
    let home = home();
    let running = Authorizing::start(&mut auth(&home));
    let page = consent(&running.address());
    let head = page.head.to_ascii_lowercase();
    for expected in [
        "content-security-policy: default-src 'none'; style-src 'sha256-",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(head.contains(expected), "{expected} in {head}");
    }
    for resource in ["<script", "src=", "url(", "@import", "href="] {
        assert!(!page.body.contains(resource), "{resource} in {}", page.body);
    }
    assert_eq!(running.end().status, Some(0));
}

#[test]
fn the_token_goes_where_the_command_line_or_the_configuration_says() {
    let home = home();
    home.configure(&json!({ "target_token_file": "of-config.json" }));
    let cases = [
        (auth(&home), "of-config.json"),
        (auth_alone(&home), "token.json"),
    ];
    for (mut command, file) in cases {
        let running = Authorizing::start(&mut command);
        consent(&running.address());
        assert_eq!(running.end().status, Some(0));
        assert!(home.path(file).exists(), "{file}");
    }
    let running = Authorizing::start(auth(&home).args(["--token", "of-option.json"]));
    let page = consent(&running.address());
    assert_eq!(running.end().status, Some(0));
    assert!(home.path("of-option.json").exists());
    assert_eq!(page.title(), "Mail can now be copied to user@gmail.com");
}

#[test]
fn without_a_configuration_the_account_is_not_claimed() {
    let home = home();
    let running = Authorizing::start(&mut auth_alone(&home));
    let address = running.address();
    assert!(!address.contains("login_hint"), "{address}");
    let page = consent(&address);
    assert_eq!(page.title(), "The token is saved");
    let run = running.end();
    assert!(
        run.stdout.contains("whose mail it opens was not tried"),
        "{run:?}"
    );
}

#[test]
fn other_paths_do_not_end_the_wait() {
    let home = home();
    let running = Authorizing::start(&mut auth(&home));
    let address = running.address();
    let back = sent_back_to(&address);
    let host = back["http://".len()..].split('/').next().unwrap();
    for path in [
        "/favicon.ico",
        "/",
        "/robots.txt",
        "/?x=1",
        "/elsewhere?code=4/0A&state=x",
    ] {
        let got = get(&format!("http://{host}{path}"));
        assert_eq!(
            (got.status, got.title()),
            (404, "There is nothing here"),
            "{path}"
        );
    }
    for request in [
        "POST / HTTP/1.1\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1} nonsense\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101)),
    ] {
        assert_eq!(ask(host, request.as_bytes()).status, 400);
    }
    // Some that ask nothing, as browsers have in store.
    let _idle: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(host).unwrap()).collect();
    assert_eq!(get(&back).status, 200);
    assert_eq!(running.end().status, Some(0));
}

#[test]
fn a_denial_ends_it() {
    let home = home();
    home.endpoint
        .change(|options| options.consent = Consent::Denied);
    let running = Authorizing::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!((page.status, page.title()), (200, "Access was not allowed"));
    ended(
        &running.end(),
        77,
        "Google: asking for consent: access was not allowed in the browser; nothing was saved; run \
         this again and choose \"Continue\" or \"Allow\" there",
    );
    nothing_saved(&home);
}

#[test]
fn an_answer_with_another_state_does_not_end_it() {
    let home = home();
    home.endpoint
        .change(|options| options.consent = Consent::WrongState);
    let running = Authorizing::start(&mut auth(&home));
    let address = running.address();
    let page = consent(&address);
    assert_eq!(
        (page.status, page.title()),
        (400, "This page belongs to another attempt")
    );
    running.wait_for("answer to another attempt");
    // Nobody else's denial ends it either, and no code is tried.
    let back = sent_back_to(&address);
    let root = back.split_once('?').unwrap().0;
    assert_eq!(
        get(&format!("{root}?error=access_denied&state=x")).status,
        400
    );
    assert_eq!(get(&format!("{root}?error=access_denied")).status, 400);
    assert!(home.endpoint.requests().is_empty());

    home.endpoint
        .change(|options| options.consent = Consent::Given);
    assert_eq!(consent(&address).status, 200);
    assert_eq!(running.end().status, Some(0));
}

#[test]
fn a_consent_without_the_mail_scope_is_not_saved() {
    let home = home();
    home.endpoint
        .change(|options| options.consent = Consent::Only("openid".to_owned()));
    let running = Authorizing::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!(
        (page.status, page.title()),
        (502, "The token was not saved")
    );
    ended(
        &running.end(),
        77,
        "127.0.0.1: getting the token: the consent does not cover mail; nothing was saved; run this \
         again and tick the box at \"Read, compose, send and permanently delete all your email from \
         Gmail\"",
    );
    nothing_saved(&home);
}

#[test]
fn a_consent_without_a_refresh_token_is_not_saved() {
    let home = home();
    home.endpoint
        .change(|options| options.omits_refresh_token = true);
    let running = Authorizing::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!(page.title(), "The token was not saved");
    ended(
        &running.end(),
        77,
        "127.0.0.1: getting the token: Google gave no refresh token, without which access ends in \
         an hour; nothing was saved; take the app's access away at \
         https://myaccount.google.com/permissions, and run this again",
    );
    nothing_saved(&home);
}

#[test]
fn a_token_of_another_account_is_not_saved() {
    let home = home();
    home.configure(&json!({ "target_user": "somebody@gmail.com" }));
    let running = Authorizing::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!(page.title(), "The token was not saved");
    let run = running.end();
    let expected = format!(
        "localhost:{}: logging in as somebody@gmail.com: the server says NO [AUTHENTICATIONFAILED] \
         Invalid credentials (Failure); you probably signed in to another account: sign in as \
         somebody@gmail.com, or correct target_user; nothing was saved",
        home.gmail.port()
    );
    ended(&run, 77, &expected);
    nothing_saved(&home);
}

#[test]
fn an_app_in_testing_is_told_when_its_token_dies() {
    let home = home();
    let week = Duration::from_secs(604_799);
    home.endpoint
        .change(|options| options.refresh_expires_in = Some(week));
    let running = Authorizing::start(&mut auth(&home));
    consent(&running.address());
    let run = running.end();
    let dies: DateTime<Utc> = token(&home)["refresh_token_expires"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let left = dies - Utc::now();
    assert!(left > TimeDelta::days(6) && left < TimeDelta::days(7));
    let told = format!(
        "The app is in \"Testing\": this token dies on {}.",
        dies.format("%Y-%m-%d at %H:%M UTC")
    );
    assert!(run.stdout.contains(&told), "{run:?}");
    assert!(run.stdout.contains("publish the app"), "{run:?}");

    // Two days before, every run that needs it says so.
    let octets = b"Message-ID: <a@x>\r\n\r\na\r\n";
    home.source.deliver(octets, Utc::now().fixed_offset(), &[]);
    assert_eq!(home.run_well().logged("warn"), [""; 0]);
    let mut token = token(&home);
    let soon = (Utc::now() + TimeDelta::hours(47)).to_rfc3339();
    token["refresh_token_expires"] = json!(soon);
    home.write("token.json", &token.to_string());
    let octets = b"Message-ID: <b@x>\r\n\r\nb\r\n";
    home.source.deliver(octets, Utc::now().fixed_offset(), &[]);
    let run = home.run_well();
    let [warning] = run.logged("warn")[..] else {
        panic!("{run:?}");
    };
    assert!(
        warning.starts_with("the app is in \"Testing\", and the token dies at "),
        "{warning}"
    );
    assert!(warning.contains("; publish the app"), "{warning}");
}

#[test]
fn a_token_file_is_replaced_only_when_asked_for_and_never_by_a_failure() {
    let home = home();
    let old = r#"{"refresh_token":"old","client_id":"x"}"#;
    home.write("token.json", old);
    ended(
        &Authorizing::start(&mut auth(&home)).end(),
        64,
        "token.json: exists already, and stays as it is; to replace it, add --force",
    );
    for options in [Consent::Denied, Consent::Only("openid".to_owned())] {
        home.endpoint.change(|change| change.consent = options);
        let running = Authorizing::start(auth(&home).arg("--force"));
        consent(&running.address());
        assert_eq!(running.end().status, Some(77));
        assert_eq!(home.read("token.json"), old);
    }
    home.endpoint
        .change(|options| options.consent = Consent::Given);
    let running = Authorizing::start(auth(&home).arg("--force"));
    consent(&running.address());
    assert_eq!(running.end().status, Some(0));
    assert_ne!(token(&home)["refresh_token"], "old");
}

/// `script` gives it a terminal, and answers with what it is fed.
fn at_a_terminal(home: &Home, answer: &str) -> String {
    let mut command = auth(home);
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    command = Command::new("script");
    command
        .args([
            "--quiet",
            "--return",
            "--command",
            &words.join(" "),
            "/dev/null",
        ])
        .current_dir(home.path(""));
    let mut running = Authorizing::start(&mut command);
    running.wait_for("exists already. Replace it, if all goes well? [y/N]");
    running.paste(answer);
    if answer == "y" {
        let address = running.address();
        consent(&address);
    }
    running.end().stdout
}

#[test]
fn at_a_terminal_it_asks_whether_to_replace() {
    let home = home();
    home.write("token.json", "{}");
    let said = at_a_terminal(&home, "");
    assert!(
        said.contains("exists already, and stays as it is"),
        "{said}"
    );
    assert_eq!(home.read("token.json"), "{}");
    at_a_terminal(&home, "y");
    assert!(token(&home)["refresh_token"].is_string());
}

/// Only root may give files away, and only root needs to.
#[test]
fn a_token_made_by_root_stays_its_services() {
    let home = home();
    home.write("token.json", "{}");
    if std::os::unix::fs::chown(home.path("token.json"), Some(12_345), Some(12_346)).is_err() {
        assert_ne!(fs::metadata("/proc/self").unwrap().uid(), 0);
        return;
    }
    let running = Authorizing::start(auth(&home).arg("--force"));
    consent(&running.address());
    assert_eq!(running.end().status, Some(0));
    let known = fs::metadata(home.path("token.json")).unwrap();
    assert_eq!(
        (known.uid(), known.gid(), known.mode() & 0o777),
        (12_345, 12_346, 0o600)
    );
}

#[test]
fn a_folder_that_takes_no_token_is_noticed_before_anybody_is_asked() {
    let home = home();
    let run = Authorizing::start(auth(&home).args(["--token", "none/token.json"])).end();
    ended(
        &run,
        74,
        "none/token.json: looking whether the token can be saved: No such file or directory (os \
         error 2); make the folder and make it writable, or give another --token",
    );
    let run = Authorizing::start(auth(&home).args(["--token", "."])).end();
    assert_eq!(run.status, Some(64));
    assert!(home.endpoint.visits().is_empty());
}

/// The page, the exit status and the line of a consent that the token endpoint does not honour.
fn honoured(change: impl FnOnce(&mut double::TokenOptions)) -> (String, i32, String) {
    let home = home();
    let running = Authorizing::start(&mut auth(&home));
    let back = sent_back_to(&running.address());
    home.endpoint.change(change);
    let page = get(&back);
    let run = running.end();
    nothing_saved(&home);
    assert!(!format!("{run:?}").contains("GOCSPX-double"), "{run:?}");
    (page.title().to_owned(), run.status.unwrap(), run.stderr)
}

#[test]
fn what_google_refuses_is_told_with_its_cause() {
    let refusals = token_refusals();
    assert_eq!(refusals.len(), 18);
    let told: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = refusals
            .iter()
            .map(|refusal| {
                scope.spawn(|| honoured(|options| options.refusal = Some(refusal.clone())))
            })
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for ((status, body), (title, exit, line)) in refusals.iter().zip(&told) {
        let error: Value = serde_json::from_str(body).unwrap_or_default();
        let code = error["error"].as_str().unwrap_or_default();
        let case = format!("{status} {body}: {title} | {exit} | {line}");
        match code {
            "invalid_grant" => {
                assert_eq!(
                    (title.as_str(), *exit),
                    ("This consent has expired", 77),
                    "{case}"
                );
                assert!(line.contains("invalid_grant"), "{case}");
                assert!(line.ends_with("a few minutes: run this again\n"), "{case}");
            }
            "invalid_client"
            | "deleted_client"
            | "invalid_request"
            | "redirect_uri_mismatch"
            | "unsupported_grant_type" => {
                assert_eq!(
                    (title.as_str(), *exit),
                    ("The token was not saved", 77),
                    "{case}"
                );
                assert!(
                    line.contains(code) && line.contains("client_secret.json"),
                    "{case}"
                );
            }
            _ => {
                assert_eq!(
                    (title.as_str(), *exit),
                    ("The token was not saved", 69),
                    "{case}"
                );
                assert!(
                    line.contains(&format!("answers with HTTP status {status}")),
                    "{case}"
                );
            }
        }
    }
}

#[test]
fn a_token_endpoint_in_trouble_costs_nothing_but_the_consent() {
    let troubles = [
        (Trouble::Cut, "it closed the connection"),
        (
            Trouble::Redirect("http://127.0.0.1:1/".to_owned()),
            "which is not followed",
        ),
        (
            Trouble::Huge(2 << 20),
            "the response body is larger than request limit",
        ),
        (Trouble::HalfAnswer, "it closed the connection"),
        (
            Trouble::ContentType("text/html".to_owned()),
            "gives an answer that cannot be read",
        ),
        // The answer that got lost was the one that used the code up.
        (Trouble::AnswerLost, "it closed the connection"),
    ];
    thread::scope(|scope| {
        for (trouble, why) in troubles {
            scope.spawn(move || {
                let (title, status, line) = honoured(|options| options.trouble = trouble);
                assert_eq!(
                    (title.as_str(), status),
                    ("The token was not saved", 69),
                    "{line}"
                );
                assert!(line.contains(why), "{line}");
                assert!(line.contains("nothing was saved; run this again"), "{line}");
            });
        }
    });
}

#[test]
fn a_slow_token_endpoint_is_waited_for() {
    for trouble in [
        Trouble::Slow(Duration::from_secs(2)),
        Trouble::Trickle(Duration::from_millis(2)),
    ] {
        let home = home();
        home.endpoint.change(|options| options.trouble = trouble);
        let running = Authorizing::start(&mut auth(&home));
        assert_eq!(consent(&running.address()).status, 200);
        assert_eq!(running.end().status, Some(0));
    }
}

#[test]
fn gmail_that_cannot_be_reached_leaves_nothing_behind() {
    let home = home();
    home.configure(&json!({ "target_port": 1 }));
    let running = Authorizing::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!(page.title(), "The token was not saved");
    let run = running.end();
    assert_eq!(run.status, Some(69), "{run:?}");
    nothing_saved(&home);
}

#[test]
fn what_is_pasted_is_as_good_as_the_browser() {
    let forms: [fn(&str) -> String; 4] = [
        str::to_owned,
        |back| format!("  '{}'", back.replace("4/", "4%2F")),
        |back| field(back, "code").to_owned(),
        |back| field(back, "code").replace("%2F", "/"),
    ];
    for form in forms {
        let home = home();
        let mut running = Authorizing::start(&mut auth(&home));
        let back = sent_back_to(&running.address());
        assert!(back.contains("4%2F0"), "{back}");
        running.paste(&form(&back));
        let run = running.end();
        assert_eq!(run.status, Some(0), "{run:?}");
        assert!(token(&home)["refresh_token"].is_string());
    }
}

#[test]
fn what_is_pasted_wrongly_is_asked_for_again() {
    let home = home();
    let mut running = Authorizing::start(&mut auth(&home));
    let address = running.address();
    running.paste("");
    running.paste("yes please");
    running.wait_for("This is neither the address");
    running.paste("https://accounts.google.com/o/oauth2/v2/auth?x=1");
    running.wait_for("This is the address of Google's own page.");
    running.paste("http://127.0.0.1:1/?code=4/0A&state=forged");
    running.wait_for("This address belongs to another attempt");
    running.paste("4/0Anothers");
    running.wait_for("Google does not take this code");
    running.paste(&"x".repeat(40_000));
    running.paste(&sent_back_to(&address));
    let run = running.end();
    assert_eq!(run.status, Some(0), "{run:?}");
}

#[test]
fn a_code_that_was_used_up_is_no_consent() {
    let home = home();
    let running = Authorizing::start(&mut auth(&home));
    let back = sent_back_to(&running.address());
    let code = field(&back, "code").to_owned();
    assert_eq!(get(&back).status, 200);
    assert_eq!(running.end().status, Some(0));
    let before = home.read("token.json");

    // Into another attempt, by the address that fits to that one.
    let running = Authorizing::start(auth(&home).arg("--force"));
    let address = running.address();
    let port = port_in(&address);
    let page = get(&format!(
        "http://127.0.0.1:{port}/?code={code}&state={}",
        field(&address, "state")
    ));
    assert_eq!(
        (page.status, page.title()),
        (400, "This consent has expired")
    );
    assert_eq!(running.end().status, Some(77));
    assert_eq!(home.read("token.json"), before);
}

#[test]
fn a_port_that_another_program_has_is_named() {
    let other = free_listener();
    let port = other.local_addr().unwrap().port();
    let home = home();
    let run = Authorizing::start(auth(&home).args(["--port", &port.to_string()])).end();
    let line = format!(
        "127.0.0.1:{port}: waiting for the browser: another program has this port; give another \
         --port, or none for any that is free"
    );
    ended(&run, 69, &line);
    drop(other);
    let running = Authorizing::start(auth(&home).args(["--port", &port.to_string()]));
    let address = running.address();
    assert!(field(&address, "redirect_uri").contains(&format!("%3A{port}%2F")));
    assert_eq!(consent(&address).status, 200);
    assert_eq!(running.end().status, Some(0));
}

#[test]
fn a_published_port_of_a_container_is_open_to_its_host_and_no_other_port_is() {
    let reaches = |options: &[&str], container: Option<&str>| {
        let home = home();
        let mut command = auth(&home);
        command.args(options);
        if let Some(container) = container {
            command.env("container", container);
        }
        let running = Authorizing::start(&mut command);
        let port: u16 = port_in(&running.address()).parse().unwrap();
        TcpStream::connect(("127.0.0.2", port)).is_ok()
    };
    let published = free_port().to_string();
    assert!(reaches(&["--port", &published], Some("podman")));
    assert!(!reaches(&[], Some("podman")));
    let is_container = ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|mark| fs::exists(mark).unwrap());
    assert_eq!(reaches(&["--port", &published], None), is_container);
}

/// One that no other test is given by chance: those get theirs from 32768 on.
fn free_listener() -> TcpListener {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    (first..32_768)
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .unwrap()
}

fn free_port() -> u16 {
    free_listener().local_addr().unwrap().port()
}

#[test]
fn over_ssh_the_command_for_the_persons_own_computer_is_shown() {
    let home = home();
    let mut command = auth(&home);
    command
        .arg("--no-browser")
        .env("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 2222")
        .env("USER", "alice");
    let running = Authorizing::start(&mut command);
    let address = running.address();
    let port = port_in(&address);
    let expected = format!("\n  ssh -N -L {port}:127.0.0.1:{port} -p 2222 alice@192.0.2.1\n");
    assert!(running.wait_for("This waits").contains(&expected));
}

/// A browser that only notes what it is to open.
fn browser(home: &Home) -> String {
    let noted = home.path("opened").display().to_string();
    let browser = home.path("browser").display().to_string();
    fs::write(
        &browser,
        format!("#!/bin/sh\nprintf %s \"$1\" >'{noted}.new' && mv '{noted}.new' '{noted}'\n"),
    )
    .unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    browser
}

fn wait_for(file: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !file.exists() {
        assert!(Instant::now() < deadline, "{}", file.display());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_browser_is_opened_unless_that_is_not_wanted() {
    let home = home();
    let browser = browser(&home);
    let running = Authorizing::start(auth(&home).env("BROWSER", &browser));
    let address = running.address();
    wait_for(&home.path("opened"));
    assert_eq!(home.read("opened"), address);
    fs::remove_file(home.path("opened")).unwrap();
    consent(&address);
    assert_eq!(running.end().status, Some(0));

    let running = Authorizing::start(
        auth(&home)
            .args(["--force", "--no-browser"])
            .env("BROWSER", &browser),
    );
    consent(&running.address());
    assert_eq!(running.end().status, Some(0));
    assert!(!home.path("opened").exists());
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    let home = home();
    let running = Authorizing::start(&mut auth(&home));
    running.address();
    let before = files(&home);
    running.kill("-INT");
    assert_eq!(running.end().status, None);
    assert_eq!(files(&home), before);
    nothing_saved(&home);
}

#[test]
fn a_wrong_credentials_file_is_named_for_what_it_is() {
    let home = home();
    let cases = [
        (
            r#"{"web":{"client_id":"x"}}"#,
            "is of a client of type \"Web application\", to which Google does not send a browser on this host back",
        ),
        (
            r#"{"type":"service_account","private_key":"s3cret"}"#,
            "is the key of a service account, which has no Gmail account",
        ),
        (
            r#"{"installed":{"client_id":"x"}}"#,
            "its \"installed\" is incomplete: without client_secret, auth_uri, token_uri",
        ),
        (
            "s3cret",
            "is not the JSON that Google gives: expected value at line 1 column 1",
        ),
        (
            r#"{"refresh_token":"s3cret"}"#,
            "is a token file, which is what is to be made",
        ),
    ];
    for (text, what) in cases {
        let mut command = auth(&home);
        home.write("client_secret.json", text);
        let before = files(&home);
        let line = format!(
            "client_secret.json: {what}; in the Google Cloud console create an OAuth client of type \
             \"Desktop app\" and download its client_secret.json (README, \"The token\")"
        );
        ended(&Authorizing::start(&mut command).end(), 78, &line);
        assert_eq!(files(&home), before);
    }
    let mut command = auth(&home);
    fs::remove_file(home.path("client_secret.json")).unwrap();
    ended(
        &Authorizing::start(&mut command).end(),
        78,
        "client_secret.json: cannot be read: No such file or directory (os error 2); correct \
         --credentials; it wants the client_secret.json of a \"Desktop app\" client",
    );
}

#[test]
fn time_is_up_some_day() {
    let home = home();
    home.write("client_secret.json", &home.endpoint.client_secret_json());
    let args = AuthArgs {
        credentials: home.path("client_secret.json"),
        token: Some(home.path("token.json")),
        config: None,
        port: None,
        no_browser: true,
        force: false,
    };
    let limit = Duration::from_millis(50);
    let error = consent::run(&args, &Environment::default(), limit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(
        error.to_string(),
        "Google: waiting for consent: no answer came from a browser, and time is up; nothing was \
         saved; run this again (over SSH and in containers the address can be pasted)"
    );
    assert_eq!(timeouts::CONSENT_TIMEOUT, Duration::from_mins(5));
    nothing_saved(&home);
}

#[test]
fn a_reader_that_goes_away_does_not_end_it() {
    let home = home();
    let browser = browser(&home);
    let mut child = auth(&home)
        .env("BROWSER", &browser)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    // Opened after everything was said to nobody.
    wait_for(&home.path("opened"));
    assert_eq!(consent(&home.read("opened")).status, 200);
    assert!(child.wait().unwrap().success());
}

#[test]
fn endless_input_is_not_read_and_the_browser_still_counts() {
    let home = home();
    let yes = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
    let running = Authorizing::start_with(&mut auth(&home), yes);
    let address = running.address();
    running.wait_for("Too many lines; no more are read.");
    assert_eq!(consent(&address).status, 200);
    assert_eq!(running.end().status, Some(0));
}

#[test]
fn certificates_that_cannot_be_read_are_noticed_before_anybody_is_asked() {
    let home = home();
    home.configure(&json!({ "target_ca_file": "missing.pem" }));
    let run = Authorizing::start(&mut auth(&home)).end();
    assert_eq!((run.status, run.stdout.as_str()), (Some(78), ""), "{run:?}");
    assert!(run.stderr.starts_with("missing.pem: "), "{run:?}");
}
