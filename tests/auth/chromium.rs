//! `auth` in a real browser: the user clicks on Google's consent page, and is redirected to ours.
//!
//! If `SCREENSHOTS` names a folder, screenshots of our pages are saved there.

use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use double::{Consent, EndpointFault, TokenOptions};
use serde_json::json;

use crate::browser::{Browser, Colours};
use crate::program::Home;
use crate::running_auth::{RunningAuth, auth, home};

/// A home whose consent page waits for clicks.
fn home_with_consent_page() -> Home {
    let home = home();
    home.endpoint
        .change(|options| options.consent = Consent::Asked);
    home
}

fn change(home: &Home, change: impl FnOnce(&mut TokenOptions)) {
    home.endpoint.change(change);
}

/// Asserts in both colour schemes that the page is readable, and takes screenshots.
fn check_page(browser: &Browser, name: &str) {
    for (colours, word) in [(Colours::Light, "light"), (Colours::Dark, "dark")] {
        browser.prefers(colours);
        assert!(
            contrast(browser) >= 7.0,
            "{name}, {word}: {}",
            contrast(browser)
        );
        if let Ok(folder) = std::env::var("SCREENSHOTS") {
            browser.screenshot(&Path::new(&folder).join(format!("{name}-{word}.png")));
        }
    }
    let wider = "return document.documentElement.scrollWidth > window.innerWidth";
    assert_eq!(browser.run_script(wider), json!(false), "{name}");
    // The content security policy allows all that the page needs. Chromium requests an icon by itself.
    let entries = browser.console();
    let others: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.message.contains("/favicon.ico"))
        .filter(|entry| !is_about_page_status(&entry.message))
        .collect();
    assert!(others.is_empty(), "{name}: {others:?}");
}

/// Chromium logs every page that has a status of 400 or more.
fn is_about_page_status(message: &str) -> bool {
    message.contains("the server responded with a status of")
}

/// The contrast between the paragraph's text and its background (WCAG 2.2, 1.4.6: 7).
fn contrast(browser: &Browser) -> f64 {
    let script = "
        const channel = (value) => value <= 10.31 ? value / 3294.6
            : Math.pow((value / 255 + 0.055) / 1.055, 2.4);
        const light = (colour) => {
            const [red, green, blue] = colour.match(/[0-9.]+/g).map(Number).map(channel);
            return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        };
        const text = light(getComputedStyle(document.querySelector('p')).color);
        const card = light(getComputedStyle(document.querySelector('main')).backgroundColor);
        return (Math.max(text, card) + 0.05) / (Math.min(text, card) + 0.05);";
    browser.run_script(script).as_f64().unwrap()
}

#[test]
fn the_user_consents_and_the_first_message_is_copied() {
    let home = home_with_consent_page();
    let octets = b"Message-ID: <a@x>\r\nSubject: a\r\n\r\na\r\n";
    home.source.deliver(octets, Utc::now().fixed_offset(), &[]);
    let browser = Browser::start();
    let running = RunningAuth::start(&mut auth(&home));
    browser.open(&running.address());
    assert_eq!(browser.value_of("#account"), "user@gmail.com");
    browser.click("#allow");
    browser.wait_for_title("Mail can now be copied to user@gmail.com");
    assert!(browser.text().contains("You can close this window."));
    assert!(browser.url().starts_with("http://127.0.0.1:"));
    let run = running.wait_for_exit();
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    check_page(&browser, "success");

    home.run_ok();
    assert_eq!(home.delivered().len(), 1);
}

#[test]
fn the_user_denies_access() {
    let home = home_with_consent_page();
    let browser = Browser::start();
    let running = RunningAuth::start(&mut auth(&home));
    browser.open(&running.address());
    browser.click("#cancel");
    browser.wait_for_title("Access was not allowed");
    assert!(browser.text().contains("Nothing was saved."));
    assert_eq!(running.wait_for_exit().status, Some(77));
    check_page(&browser, "denied");
    assert!(!home.path("token.json").exists());
}

#[test]
fn the_user_consents_without_the_mail_scope() {
    let home = home_with_consent_page();
    let browser = Browser::start();
    let running = RunningAuth::start(&mut auth(&home));
    browser.open(&running.address());
    browser.click("#mail");
    browser.click("#allow");
    browser.wait_for_title("The token was not saved");
    let run = running.wait_for_exit();
    assert_eq!(run.status, Some(77), "{run:?}");
    assert!(run.stderr.contains("does not cover mail"), "{run:?}");
    check_page(&browser, "failed");
    assert!(!home.path("token.json").exists());
}

#[test]
fn the_user_signs_in_to_another_account() {
    let home = home_with_consent_page();
    let browser = Browser::start();
    let running = RunningAuth::start(&mut auth(&home));
    browser.open(&running.address());
    browser.type_into("#account", "somebody@gmail.com");
    browser.click("#allow");
    browser.wait_for_title("The token was not saved");
    let run = running.wait_for_exit();
    assert_eq!(run.status, Some(77), "{run:?}");
    assert!(
        run.stderr
            .contains("you probably signed in to another account"),
        "{run:?}"
    );
    assert!(!home.path("token.json").exists());
}

#[test]
fn a_page_of_another_attempt_is_ignored() {
    let home = home_with_consent_page();
    change(&home, |options| options.consent = Consent::WrongState);
    let browser = Browser::start();
    let running = RunningAuth::start(&mut auth(&home));
    let address = running.address();
    browser.open(&address);
    browser.wait_for_title("This page belongs to another attempt");
    check_page(&browser, "wrong-state");

    // Other requests do not end the wait either.
    let root = browser.url().split_once('?').unwrap().0.to_owned();
    browser.open(&format!("{root}favicon.ico"));
    browser.wait_for_title("There is nothing here");
    check_page(&browser, "nothing-here");
    change(&home, |options| options.consent = Consent::Asked);
    browser.open(&address);
    browser.click("#allow");
    browser.wait_for_title("Mail can now be copied to user@gmail.com");
    assert_eq!(running.wait_for_exit().status, Some(0));
}

#[test]
fn an_expired_code_is_reported_in_the_browser() {
    let home = home_with_consent_page();
    let browser = Browser::start();
    let running = RunningAuth::start(&mut auth(&home));
    browser.open(&running.address());
    change(&home, |options| {
        options.code_lifetime = Duration::ZERO;
    });
    browser.click("#allow");
    browser.wait_for_title("This consent has expired");
    let run = running.wait_for_exit();
    assert_eq!(run.status, Some(77), "{run:?}");
    check_page(&browser, "expired");
    assert!(!home.path("token.json").exists());
}

#[test]
fn the_first_of_two_tabs_counts() {
    let home = home_with_consent_page();
    change(&home, |options| options.fault = EndpointFault::Held);
    let browser = Browser::start_impatient();
    let running = RunningAuth::start(&mut auth(&home));
    let address = running.address();
    browser.open(&address);
    let first = browser.tab();
    let second = browser.open_tab();
    browser.open(&address);
    browser.switch_to(&first);
    browser.click("#allow");
    running.wait_for("The browser is back");
    browser.switch_to(&second);
    browser.click("#allow");
    // The token request of the first tab is still running.
    browser.wait_for_title("Another window was quicker");
    check_page(&browser, "another-window");
    change(&home, |options| options.fault = EndpointFault::None);
    browser.switch_to(&first);
    browser.wait_for_title("Mail can now be copied to user@gmail.com");
    assert_eq!(running.wait_for_exit().status, Some(0));
    assert_eq!(home.endpoint.requests().len(), 1);
}
