//! The terminal: pasted addresses, the browser that is opened, SSH, Ctrl-C, time-out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use imap_to_gmail_sync::config::Environment;
use imap_to_gmail_sync::error::ErrorKind;
use imap_to_gmail_sync::oauth::consent::{ConsentOptions, run};
use imap_to_gmail_sync::timeouts;

use crate::program::Home;
use crate::running_auth::{
    RunningAuth, assert_nothing_saved, auth, consent, field, files, home, port_in, redirect_of,
    token,
};

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
        let mut running = RunningAuth::start(&mut auth(&home));
        let back = redirect_of(&running.address());
        assert!(back.contains("4%2F0"), "{back}");
        running.paste(&form(&back));
        let run = running.wait_for_exit();
        assert_eq!(run.status, Some(0), "{run:?}");
        assert!(token(&home)["refresh_token"].is_string());
    }
}

#[test]
fn after_a_wrong_line_the_user_may_paste_another() {
    let home = home();
    let mut running = RunningAuth::start(&mut auth(&home));
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
    running.paste(&redirect_of(&address));
    let run = running.wait_for_exit();
    assert_eq!(run.status, Some(0), "{run:?}");
}

#[test]
fn over_ssh_the_tunnel_command_is_shown() {
    let home = home();
    let mut command = auth(&home);
    command
        .arg("--no-browser")
        .env("SSH_CONNECTION", "192.0.2.7 50000 192.0.2.1 2222")
        .env("USER", "alice");
    let running = RunningAuth::start(&mut command);
    let address = running.address();
    let port = port_in(&address);
    let expected = format!("\n  ssh -N -L {port}:127.0.0.1:{port} -p 2222 alice@192.0.2.1\n");
    assert!(running.wait_for("This waits").contains(&expected));
}

#[test]
fn whoever_imports_is_told_where_the_api_is_switched_on() {
    let home = home();
    let without = RunningAuth::start(auth(&home).arg("--no-browser"));
    assert!(!without.wait_for("This waits").contains("Gmail API"));
    drop(without);
    home.configure(&serde_json::json!({ "delivery": "import" }));
    let running = RunningAuth::start(auth(&home).arg("--no-browser"));
    let expected = "switched on in the project of client_secret.json: \
                    https://console.cloud.google.com/apis/library/gmail.googleapis.com\n";
    assert!(running.wait_for("This waits").contains(expected));
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
    let running = RunningAuth::start(auth(&home).env("BROWSER", &browser));
    let address = running.address();
    wait_for(&home.path("opened"));
    assert_eq!(home.read("opened"), address);
    fs::remove_file(home.path("opened")).unwrap();
    consent(&address);
    assert_eq!(running.wait_for_exit().status, Some(0));

    let running = RunningAuth::start(
        auth(&home)
            .args(["--force", "--no-browser"])
            .env("BROWSER", &browser),
    );
    consent(&running.address());
    assert_eq!(running.wait_for_exit().status, Some(0));
    assert!(!home.path("opened").exists());
}

#[test]
fn after_ctrl_c_nothing_is_saved() {
    let home = home();
    let running = RunningAuth::start(&mut auth(&home));
    running.address();
    let before = files(&home);
    running.kill("-INT");
    assert_eq!(running.wait_for_exit().status, None);
    assert_eq!(files(&home), before);
    assert_nothing_saved(&home);
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
    let error = run(&options, &Environment::default(), &|_, _| Ok(()), limit).unwrap_err();
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
    let running = RunningAuth::start_with(&mut auth(&home), yes);
    let address = running.address();
    running.wait_for("Too many lines; no more are read.");
    assert_eq!(consent(&address).status, 200);
    assert_eq!(running.wait_for_exit().status, Some(0));
}
