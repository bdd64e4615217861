//! Warnings that are repeated.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::program::Home;
use crate::watching::Watching;

#[test]
fn a_repeated_warning_is_logged_once_and_summed_up_at_the_end() {
    let home = Home::new();
    let config = home.path("config.json");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let watching = Watching::start(&home);
    watching.wait_for("watching INBOX");
    for reloads in 1..=3 {
        watching.signal(Signal::HUP);
        watching.wait_until("a reload", || watching.count("was reloaded") == reloads);
    }
    let run = watching.terminate();
    let warning = "config.json holds a secret and can be read by others; \
                   type: chmod 600 config.json";
    let logged = run.logged("warn");
    assert_eq!((logged.len(), logged[0]), (2, warning), "{run:?}");
    let (count, repeated) = logged[1].split_once(" since ").unwrap();
    assert_eq!(count, "repeated 3 times");
    assert!(repeated.ends_with(&format!(": {warning}")), "{repeated}");
    let last = run.stdout.lines().last().unwrap();
    assert!(last.contains("repeated 3 times"), "{run:?}");
}
