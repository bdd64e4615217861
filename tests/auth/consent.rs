//! `auth`: from the user's consent to a saved token, and everything that can fail.
//!
//! The browser is a simple HTTP client; `chromium.rs` uses a real one.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use chrono::{DateTime, TimeDelta, Utc};
use double::{Consent, Trouble, token_refusals};
use imap_to_gmail_sync::config::Environment;
use imap_to_gmail_sync::error::ErrorKind;
use imap_to_gmail_sync::oauth::consent::{self, ConsentOptions};
use imap_to_gmail_sync::timeouts;
use serde_json::{Value, json};

use crate::authorizing::{Authorizing, ask, auth, auth_alone, consent, get, home, sent_back_to};
use crate::program::{Home, Run};

fn token(home: &Home) -> Value {
    serde_json::from_str(&home.read("token.json")).unwrap()
}

/// All files of a home, with their content.
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

/// Asserts this exit status and exactly this error line.
fn assert_failed(run: &Run, status: i32, line: &str) {
    assert_eq!(run.status, Some(status), "{run:?}");
    assert_eq!(run.stderr, format!("{line}\n"), "{run:?}");
}

/// Asserts that the home has no token file and no temporary file.
fn assert_nothing_saved(home: &Home) {
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

/// The port of the redirect URI.
fn port_in(address: &str) -> &str {
    let back = field(address, "redirect_uri");
    back.rsplit_once("%3A").unwrap().1.trim_end_matches("%2F")
}

#[test]
fn a_consent_yields_a_token_that_works() {
    let home = home();
    let octets = b"Message-ID: <a@x>\r\nSubject: a\r\n\r\na\r\n";
    home.source.deliver(octets, Utc::now().fixed_offset(), &[]);
    let running = Authorizing::start(&mut auth(&home));
    let address = running.address();

    // The authorization request (RFC 6749 4.1.1, RFC 7636 4.3, GMAIL.md 7.1).
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
            .contains("token.json, and gives access to the mail of user@gmail.com.")
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

    // No secret was printed.
    let exchanged = home.endpoint.requests().remove(0);
    let output = format!("{run:?}{page:?}");
    for secret in [
        token["token"].as_str().unwrap(),
        token["refresh_token"].as_str().unwrap(),
        token["client_secret"].as_str().unwrap(),
        &exchanged["code_verifier"],
        &exchanged["code"],
    ] {
        assert!(!output.contains(secret), "{secret} in {output}");
    }

    home.run_well();
    assert_eq!(home.delivered().len(), 1);
}

#[test]
fn the_page_loads_nothing_and_runs_no_script() {
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
fn the_token_is_saved_where_the_command_line_or_the_configuration_says() {
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
fn without_a_configuration_the_token_is_saved_unverified() {
    let home = home();
    let running = Authorizing::start(&mut auth_alone(&home));
    let address = running.address();
    assert!(!address.contains("login_hint"), "{address}");
    let page = consent(&address);
    assert_eq!(page.title(), "The token is saved");
    let run = running.end();
    assert!(
        run.stdout
            .contains("it was not tried at Gmail, because --config was not given."),
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
    // Connections without a request, which browsers open in advance.
    let _idle: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(host).unwrap()).collect();
    assert_eq!(get(&back).status, 200);
    assert_eq!(running.end().status, Some(0));
}

#[test]
fn a_denial_ends_the_command() {
    let home = home();
    home.endpoint
        .change(|options| options.consent = Consent::Denied);
    let running = Authorizing::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!((page.status, page.title()), (200, "Access was not allowed"));
    assert_failed(
        &running.end(),
        77,
        "Google: asking for consent: access was not allowed in the browser; nothing was saved; run \
         this again and choose \"Continue\" or \"Allow\" there",
    );
    assert_nothing_saved(&home);
}

#[test]
fn a_response_with_another_state_is_ignored() {
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
    running.wait_for("response to another attempt");
    // A forged denial is ignored, too, and no code is exchanged.
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
    assert_failed(
        &running.end(),
        77,
        "127.0.0.1: getting the token: the consent does not cover mail; nothing was saved; run this \
         again and tick the box at \"Read, compose, send and permanently delete all your email from \
         Gmail\"",
    );
    assert_nothing_saved(&home);
}

#[test]
fn a_consent_without_a_refresh_token_is_not_saved() {
    let home = home();
    home.endpoint
        .change(|options| options.omits_refresh_token = true);
    let running = Authorizing::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!(page.title(), "The token was not saved");
    assert_failed(
        &running.end(),
        77,
        "127.0.0.1: getting the token: Google issued no refresh token, without which access ends in \
         an hour; nothing was saved; remove the app's access at \
         https://myaccount.google.com/permissions, and run this again",
    );
    assert_nothing_saved(&home);
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
    assert_failed(&run, 77, &expected);
    assert_nothing_saved(&home);
}

#[test]
fn an_app_in_testing_is_warned_when_its_token_expires() {
    let home = home();
    let week = Duration::from_secs(604_799);
    home.endpoint
        .change(|options| options.refresh_expires_in = Some(week));
    let running = Authorizing::start(&mut auth(&home));
    consent(&running.address());
    let run = running.end();
    let expires: DateTime<Utc> = token(&home)["refresh_token_expires"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let left = expires - Utc::now();
    assert!(left > TimeDelta::days(6) && left < TimeDelta::days(7));
    let warning = format!(
        "The app is in \"Testing\": the refresh token expires on {}.",
        expires.format("%Y-%m-%d at %H:%M UTC")
    );
    assert!(run.stdout.contains(&warning), "{run:?}");
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
        warning.starts_with("the app is in \"Testing\", and the token expires at "),
        "{warning}"
    );
    assert!(warning.contains("; publish the app"), "{warning}");
}

#[test]
fn a_token_file_is_replaced_only_on_request_and_never_by_a_failure() {
    let home = home();
    let old = r#"{"refresh_token":"old","client_id":"x"}"#;
    home.write("token.json", old);
    assert_failed(
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
fn at_a_terminal_the_user_is_asked_whether_to_replace() {
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

/// Only root can change the owner, and only root has to.
#[test]
fn a_token_file_keeps_its_owner_when_root_replaces_it() {
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
fn a_token_that_cannot_be_saved_is_noticed_before_the_user_is_asked() {
    let home = home();
    let run = Authorizing::start(auth(&home).args(["--token", "none/token.json"])).end();
    assert_failed(
        &run,
        74,
        "none/token.json: checking whether the token can be saved: No such file or directory (os \
         error 2); create the folder and make it writable, or choose another --token",
    );
    let run = Authorizing::start(auth(&home).args(["--token", "."])).end();
    assert_eq!(run.status, Some(64));
    assert!(home.endpoint.visits().is_empty());
}

/// The page's title, the exit status and the error line, after this change to the token endpoint.
fn result_after(change: impl FnOnce(&mut double::TokenOptions)) -> (String, i32, String) {
    let home = home();
    let running = Authorizing::start(&mut auth(&home));
    let back = sent_back_to(&running.address());
    home.endpoint.change(change);
    let page = get(&back);
    let run = running.end();
    assert_nothing_saved(&home);
    assert!(!format!("{run:?}").contains("GOCSPX-double"), "{run:?}");
    (page.title().to_owned(), run.status.unwrap(), run.stderr)
}

#[test]
fn each_rejection_by_google_is_reported_with_its_cause() {
    let refusals = token_refusals();
    assert_eq!(refusals.len(), 18);
    let results: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = refusals
            .iter()
            .map(|refusal| {
                scope.spawn(|| result_after(|options| options.refusal = Some(refusal.clone())))
            })
            .collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for ((status, body), (title, exit, line)) in refusals.iter().zip(&results) {
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
                    line.contains(&format!("responds with HTTP status {status}")),
                    "{case}"
                );
            }
        }
    }
}

#[test]
fn a_failing_token_endpoint_saves_nothing() {
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
            "sends a response that cannot be read",
        ),
        // The lost response belongs to the request that used up the code.
        (Trouble::AnswerLost, "it closed the connection"),
    ];
    thread::scope(|scope| {
        for (trouble, why) in troubles {
            scope.spawn(move || {
                let (title, status, line) = result_after(|options| options.trouble = trouble);
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
fn an_unavailable_gmail_saves_nothing() {
    let home = home();
    home.configure(&json!({ "target_port": 1 }));
    let running = Authorizing::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!(page.title(), "The token was not saved");
    let run = running.end();
    assert_eq!(run.status, Some(69), "{run:?}");
    assert_nothing_saved(&home);
}

#[test]
fn a_pasted_address_or_code_replaces_the_redirect() {
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
fn after_a_wrong_line_the_user_may_paste_another() {
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
    running.wait_for("Google does not accept this code");
    running.paste(&"x".repeat(40_000));
    running.paste(&sent_back_to(&address));
    let run = running.end();
    assert_eq!(run.status, Some(0), "{run:?}");
}

#[test]
fn a_used_code_is_not_accepted_again() {
    let home = home();
    let running = Authorizing::start(&mut auth(&home));
    let back = sent_back_to(&running.address());
    let code = field(&back, "code").to_owned();
    assert_eq!(get(&back).status, 200);
    assert_eq!(running.end().status, Some(0));
    let before = home.read("token.json");

    // Into another attempt, with that one's state.
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
fn a_port_that_another_program_uses_is_named() {
    let other = free_listener();
    let port = other.local_addr().unwrap().port();
    let home = home();
    let run = Authorizing::start(auth(&home).args(["--port", &port.to_string()])).end();
    let line = format!(
        "127.0.0.1:{port}: waiting for the browser: another program uses this port; choose \
         another --port, or leave it out to use any free port"
    );
    assert_failed(&run, 69, &line);
    drop(other);
    let running = Authorizing::start(auth(&home).args(["--port", &port.to_string()]));
    let address = running.address();
    assert!(field(&address, "redirect_uri").contains(&format!("%3A{port}%2F")));
    assert_eq!(consent(&address).status, 200);
    assert_eq!(running.end().status, Some(0));
}

#[test]
fn only_a_published_port_of_a_container_listens_beyond_loopback() {
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

/// A port that no other test gets by chance: ephemeral ports begin at 32768.
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
fn over_ssh_the_tunnel_command_is_shown() {
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

/// A browser that only writes down the address that it is to open.
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
fn the_browser_is_opened_unless_no_browser_is_given() {
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
fn after_ctrl_c_nothing_is_saved() {
    let home = home();
    let running = Authorizing::start(&mut auth(&home));
    running.address();
    let before = files(&home);
    running.kill("-INT");
    assert_eq!(running.end().status, None);
    assert_eq!(files(&home), before);
    assert_nothing_saved(&home);
}

#[test]
fn the_error_says_what_a_wrong_credentials_file_is() {
    let home = home();
    let cases = [
        (
            r#"{"web":{"client_id":"x"}}"#,
            "belongs to a client of type \"Web application\", for which Google redirects no browser to this host",
        ),
        (
            r#"{"type":"service_account","private_key":"s3cret"}"#,
            "is the key of a service account, which has no Gmail account",
        ),
        (
            r#"{"installed":{"client_id":"x"}}"#,
            "its \"installed\" object lacks client_secret, auth_uri, token_uri",
        ),
        (
            "s3cret",
            "is not the JSON object that Google provides: expected value at line 1 column 1",
        ),
        (
            r#"{"refresh_token":"s3cret"}"#,
            "is a token file, which this command creates",
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
        assert_failed(&Authorizing::start(&mut command).end(), 78, &line);
        assert_eq!(files(&home), before);
    }
    let mut command = auth(&home);
    fs::remove_file(home.path("client_secret.json")).unwrap();
    assert_failed(
        &Authorizing::start(&mut command).end(),
        78,
        "client_secret.json: cannot be read: No such file or directory (os error 2); correct \
         --credentials; it must name the client_secret.json of a \"Desktop app\" client",
    );
}

#[test]
fn the_wait_for_the_user_has_a_time_limit() {
    let home = home();
    home.write("client_secret.json", &home.endpoint.client_secret_json());
    let options = ConsentOptions {
        credentials: home.path("client_secret.json"),
        token: Some(home.path("token.json")),
        config: None,
        port: None,
        no_browser: true,
        force: false,
    };
    let limit = Duration::from_millis(50);
    let error = consent::run(&options, &Environment::default(), &|_, _| Ok(()), limit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert_eq!(
        error.to_string(),
        "Google: waiting for consent: no response came from the browser in time; nothing was \
         saved; run this again (over SSH and in containers the address can be pasted)"
    );
    assert_eq!(timeouts::CONSENT_TIMEOUT, Duration::from_mins(5));
    assert_nothing_saved(&home);
}

#[test]
fn a_closed_standard_output_does_not_end_the_command() {
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
    // Opened after all output went nowhere.
    wait_for(&home.path("opened"));
    assert_eq!(consent(&home.read("opened")).status, 200);
    assert!(child.wait().unwrap().success());
}

#[test]
fn endless_input_is_not_read_and_the_browser_still_works() {
    let home = home();
    let yes = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
    let running = Authorizing::start_with(&mut auth(&home), yes);
    let address = running.address();
    running.wait_for("Too many lines; no more are read.");
    assert_eq!(consent(&address).status, 200);
    assert_eq!(running.end().status, Some(0));
}

#[test]
fn certificates_that_cannot_be_read_are_noticed_before_the_user_is_asked() {
    let home = home();
    home.configure(&json!({ "target_ca_file": "missing.pem" }));
    let run = Authorizing::start(&mut auth(&home)).end();
    assert_eq!((run.status, run.stdout.as_str()), (Some(78), ""), "{run:?}");
    assert!(run.stderr.starts_with("missing.pem: "), "{run:?}");
}
