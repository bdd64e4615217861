//! SIGHUP reloads the configuration and the token file.

use rustix::process::Signal;
use serde_json::json;

use crate::program::Home;
use crate::watching::{Watching, arrived, deliver, message};

#[test]
fn sighup_reloads_the_configuration_and_a_wrong_one_changes_nothing() {
    let home = Home::new();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    let good = home.read("config.json");

    home.write("config.json", "{");
    watching.signal(Signal::HUP);
    watching.wait_for("the old configuration stays in use");
    home.configure_text(&good, &json!({ "source_user": "another" }));
    watching.signal(Signal::HUP);
    watching.wait_for("this is the configuration of another account");
    deliver(&home, 0);
    watching.wait_until("the message", || arrived(&home) == 1);

    home.source
        .change(|source| source.password = "new".to_owned());
    home.configure_text(&good, &json!({ "source_pass": "new", "copy_flags": false }));
    watching.signal(Signal::HUP);
    watching.wait_for("the configuration was reloaded");
    let now = chrono::Utc::now().fixed_offset();
    home.source.deliver(&message(1), now, &["\\Seen"]);
    watching.wait_until("the message", || arrived(&home) == 2);
    let flags = &home.gmail.messages("INBOX")[1].flags;
    assert!(!flags.contains(&"\\Seen".to_owned()), "{flags:?}");
    let run = watching.terminate();
    assert_eq!(run.logged("error").len(), 2, "{run:?}");
}

#[test]
fn first_run_days_that_are_changed_after_the_first_run_are_warned_of() {
    let home = Home::new();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    for (reload, days) in [(1, 7), (2, 30), (3, 30)] {
        home.configure(&json!({ "first_run_days": days }));
        watching.signal(Signal::HUP);
        let reloads = || watching.count("the configuration was reloaded");
        watching.wait_until("the reload", || reloads() == reload);
    }
    let run = watching.terminate();
    let warnings = run.logged("warn");
    assert_eq!(warnings.len(), 1, "{run:?}");
    assert!(
        warnings[0].starts_with("first_run_days has no effect"),
        "{run:?}"
    );
}

#[test]
fn sighup_reloads_the_token_file() {
    let home = Home::new();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    deliver(&home, 0);
    watching.wait_until("the message", || arrived(&home) == 1);
    let logins = home.gmail.logins();
    home.write("token.json", &home.endpoint.token_json(&home.gmail.user()));
    watching.signal(Signal::HUP);
    watching.wait_for("the configuration was reloaded");
    deliver(&home, 1);
    watching.wait_until("the message", || arrived(&home) == 2);
    assert!(home.gmail.logins() > logins);
    watching.terminate();
}
