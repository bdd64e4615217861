//! The user's consent, and every outcome that saves no token.
//!
//! Here and in the other modules the browser is a simple HTTP client; `chromium.rs` uses a real one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta, Utc};
use double::Consent;
use serde_json::json;

use crate::running_auth::{
    RunningAuth, assert_failed, assert_nothing_saved, auth, auth_alone, consent, field, files,
    home, token,
};

#[test]
fn a_consent_yields_a_token_that_works() {
    let home = home();
    let octets = b"Message-ID: <a@x>\r\nSubject: a\r\n\r\na\r\n";
    home.source.deliver(octets, Utc::now().fixed_offset(), &[]);
    let running = RunningAuth::start(&mut auth(&home));
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
    let run = running.wait_for_exit();
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

    home.run_ok();
    assert_eq!(home.delivered().len(), 1);
}

#[test]
fn without_a_configuration_the_token_is_saved_unverified() {
    let home = home();
    let running = RunningAuth::start(&mut auth_alone(&home));
    let address = running.address();
    assert!(!address.contains("login_hint"), "{address}");
    let page = consent(&address);
    assert_eq!(page.title(), "The token is saved");
    let run = running.wait_for_exit();
    assert!(
        run.stdout
            .contains("it was not verified at Gmail, because --config was not given."),
        "{run:?}"
    );
}

#[test]
fn a_denial_ends_the_command() {
    let home = home();
    home.endpoint
        .change(|options| options.consent = Consent::Denied);
    let running = RunningAuth::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!((page.status, page.title()), (200, "Access was not allowed"));
    assert_failed(
        &running.wait_for_exit(),
        77,
        "Google: asking for consent: access was not allowed in the browser; nothing was saved; run \
         this again and choose \"Continue\" or \"Allow\" there",
    );
    assert_nothing_saved(&home);
}

#[test]
fn a_consent_without_the_mail_scope_is_not_saved() {
    let home = home();
    home.endpoint
        .change(|options| options.consent = Consent::Only("openid".to_owned()));
    let running = RunningAuth::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!(
        (page.status, page.title()),
        (502, "The token was not saved")
    );
    assert_failed(
        &running.wait_for_exit(),
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
    let running = RunningAuth::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!(page.title(), "The token was not saved");
    assert_failed(
        &running.wait_for_exit(),
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
    let running = RunningAuth::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!(page.title(), "The token was not saved");
    let run = running.wait_for_exit();
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
    let running = RunningAuth::start(&mut auth(&home));
    consent(&running.address());
    let run = running.wait_for_exit();
    let expires: DateTime<Utc> = token(&home)["refresh_token_expires"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let left = expires - Utc::now();
    assert!(left > TimeDelta::days(6) && left < TimeDelta::days(7));
    let warning = format!(
        "The app is in \"Testing\": the refresh token expires at {}.",
        expires.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %z")
    );
    assert!(run.stdout.contains(&warning), "{run:?}");
    assert!(run.stdout.contains("publish the app"), "{run:?}");

    // Two days before, every run that needs it says so.
    let octets = b"Message-ID: <a@x>\r\n\r\na\r\n";
    home.source.deliver(octets, Utc::now().fixed_offset(), &[]);
    assert_eq!(home.run_ok().logged("warn"), [""; 0]);
    let mut token = token(&home);
    let soon = (Utc::now() + TimeDelta::hours(47)).to_rfc3339();
    token["refresh_token_expires"] = json!(soon);
    home.write("token.json", &token.to_string());
    let octets = b"Message-ID: <b@x>\r\n\r\nb\r\n";
    home.source.deliver(octets, Utc::now().fixed_offset(), &[]);
    let run = home.run_ok();
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
fn an_unavailable_gmail_saves_nothing() {
    let home = home();
    home.configure(&json!({ "target_port": 1 }));
    let running = RunningAuth::start(&mut auth(&home));
    let page = consent(&running.address());
    assert_eq!(page.title(), "The token was not saved");
    let run = running.wait_for_exit();
    assert_eq!(run.status, Some(69), "{run:?}");
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
             \"Desktop app\" and download its client_secret.json (docs/token.md)"
        );
        assert_failed(&RunningAuth::start(&mut command).wait_for_exit(), 78, &line);
        assert_eq!(files(&home), before);
    }
    let utf_16 = cases[0].0.encode_utf16().flat_map(u16::to_le_bytes);
    let mut command = auth(&home);
    fs::write(home.path("client_secret.json"), utf_16.collect::<Vec<u8>>()).unwrap();
    assert_failed(
        &RunningAuth::start(&mut command).wait_for_exit(),
        78,
        "client_secret.json: cannot be read: it is encoded in UTF-16 (little-endian), not in UTF-8; \
         save it as UTF-8",
    );
    let mut command = auth(&home);
    fs::remove_file(home.path("client_secret.json")).unwrap();
    assert_failed(
        &RunningAuth::start(&mut command).wait_for_exit(),
        78,
        "client_secret.json: cannot be read: No such file or directory (os error 2); correct \
         --credentials; it must name the client_secret.json of a \"Desktop app\" client",
    );
}

#[test]
fn certificates_that_cannot_be_read_are_noticed_before_the_user_is_asked() {
    let home = home();
    home.configure(&json!({ "target_ca_file": "missing.pem" }));
    let run = RunningAuth::start(&mut auth(&home)).wait_for_exit();
    assert_eq!((run.status, run.stdout.as_str()), (Some(78), ""), "{run:?}");
    assert!(run.stderr.starts_with("missing.pem: "), "{run:?}");
}
