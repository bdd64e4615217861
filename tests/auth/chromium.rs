//! `auth` in a real browser: a person reads Google's page, clicks, and lands on ours.
//!
//! With `SCREENSHOTS` naming a folder, what the person sees is left there as pictures.

use std::path::Path;
use std::time::Duration;

use chrono::Utc;
use double::{Consent, TokenOptions, Trouble};
use serde_json::json;

use crate::authorizing::{Authorizing, auth, home};
use crate::browser::{Browser, Colours};
use crate::program::Home;

/// A home whose Google asks the person.
fn home_that_asks() -> Home {
    let home = home();
    home.endpoint
        .change(|options| options.consent = Consent::Asked);
    home
}

fn change(home: &Home, change: impl FnOnce(&mut TokenOptions)) {
    home.endpoint.change(change);
}

/// Shows the page in both colours, demands that a person can read it, and takes pictures.
fn looked_at(browser: &Browser, name: &str) {
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
    // The policy forbids nothing that the page needs; a browser asks for an icon on its own.
    let complaints = browser.console();
    let others: Vec<_> = complaints
        .iter()
        .filter(|entry| !entry.message.contains("/favicon.ico"))
        .filter(|entry| !is_about_its_own_status(&entry.message))
        .collect();
    assert!(others.is_empty(), "{name}: {others:?}");
}

/// Chromium notes every page that comes with a status of 400 or more.
fn is_about_its_own_status(message: &str) -> bool {
    message.contains("the server responded with a status of")
}

/// The contrast of the paragraph's text with the card that it stands on (WCAG 2.2, 1.4.6: 7).
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
fn a_person_consents_and_the_first_mail_arrives() {
    let home = home_that_asks();
    let octets = b"Message-ID: <a@x>\r\nSubject: a\r\n\r\na\r\n";
    home.source.deliver(octets, Utc::now().fixed_offset(), &[]);
    let browser = Browser::start();
    let running = Authorizing::start(&mut auth(&home));
    browser.open(&running.address());
    assert_eq!(browser.value_of("#account"), "user@gmail.com");
    browser.click("#allow");
    browser.wait_for_title("Mail can now be copied to user@gmail.com");
    assert!(browser.text().contains("You can close this window."));
    assert!(browser.url().starts_with("http://127.0.0.1:"));
    let run = running.end();
    assert_eq!((run.status, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    looked_at(&browser, "success");

    home.run_well();
    assert_eq!(home.delivered().len(), 1);
}

#[test]
fn a_person_says_no() {
    let home = home_that_asks();
    let browser = Browser::start();
    let running = Authorizing::start(&mut auth(&home));
    browser.open(&running.address());
    browser.click("#cancel");
    browser.wait_for_title("Access was not allowed");
    assert!(browser.text().contains("Nothing was saved."));
    assert_eq!(running.end().status, Some(77));
    looked_at(&browser, "denied");
    assert!(!home.path("token.json").exists());
}

#[test]
fn a_person_takes_mail_out_of_the_consent() {
    let home = home_that_asks();
    let browser = Browser::start();
    let running = Authorizing::start(&mut auth(&home));
    browser.open(&running.address());
    browser.click("#mail");
    browser.click("#allow");
    browser.wait_for_title("The token was not saved");
    let run = running.end();
    assert_eq!(run.status, Some(77), "{run:?}");
    assert!(run.stderr.contains("does not cover mail"), "{run:?}");
    looked_at(&browser, "failed");
    assert!(!home.path("token.json").exists());
}

#[test]
fn a_person_signs_in_to_another_account() {
    let home = home_that_asks();
    let browser = Browser::start();
    let running = Authorizing::start(&mut auth(&home));
    browser.open(&running.address());
    browser.type_into("#account", "somebody@gmail.com");
    browser.click("#allow");
    browser.wait_for_title("The token was not saved");
    let run = running.end();
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
    let home = home_that_asks();
    change(&home, |options| options.consent = Consent::WrongState);
    let browser = Browser::start();
    let running = Authorizing::start(&mut auth(&home));
    let address = running.address();
    browser.open(&address);
    browser.wait_for_title("This page belongs to another attempt");
    looked_at(&browser, "wrong-state");

    // It waits on, whatever else the browser looks for there.
    let root = browser.url().split_once('?').unwrap().0.to_owned();
    browser.open(&format!("{root}favicon.ico"));
    browser.wait_for_title("There is nothing here");
    looked_at(&browser, "nothing-here");
    change(&home, |options| options.consent = Consent::Asked);
    browser.open(&address);
    browser.click("#allow");
    browser.wait_for_title("Mail can now be copied to user@gmail.com");
    assert_eq!(running.end().status, Some(0));
}

#[test]
fn a_consent_that_comes_too_late_has_expired() {
    let home = home_that_asks();
    let browser = Browser::start();
    let running = Authorizing::start(&mut auth(&home));
    browser.open(&running.address());
    change(&home, |options| {
        options.code_lifetime = Duration::ZERO;
    });
    browser.click("#allow");
    browser.wait_for_title("This consent has expired");
    let run = running.end();
    assert_eq!(run.status, Some(77), "{run:?}");
    looked_at(&browser, "expired");
    assert!(!home.path("token.json").exists());
}

#[test]
fn of_two_tabs_the_first_one_counts() {
    let home = home_that_asks();
    change(&home, |options| options.trouble = Trouble::Held);
    let browser = Browser::start_impatient();
    let running = Authorizing::start(&mut auth(&home));
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
    // Google is still being asked for the first one's token.
    browser.wait_for_title("Another window was quicker");
    looked_at(&browser, "another-window");
    change(&home, |options| options.trouble = Trouble::None);
    browser.switch_to(&first);
    browser.wait_for_title("Mail can now be copied to user@gmail.com");
    assert_eq!(running.end().status, Some(0));
    assert_eq!(home.endpoint.requests().len(), 1);
}
