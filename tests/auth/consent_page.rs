//! The browser and Google's consent page, without the program: what its tests stand on.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use double::{Consent, Gmail, GmailOptions, TokenEndpoint};

use crate::browser::{Browser, Colours};

/// A client that waits on a port for its answer.
struct Client {
    port: u16,
    /// The request lines, up to the one that is for `/`.
    asked: JoinHandle<Vec<String>>,
}

impl Client {
    fn start() -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        Client {
            port,
            asked: thread::spawn(move || serve(&listener)),
        }
    }

    /// The question that this client has, with this `client_id`.
    fn question(&self, endpoint: &TokenEndpoint, client_id: &str) -> String {
        format!(
            "{}?client_id={client_id}&redirect_uri=http%3A%2F%2F127.0.0.1%3A{}%2F\
            &response_type=code&scope=https%3A%2F%2Fmail.google.com%2F&state=a%20state\
            &code_challenge={}&code_challenge_method=S256&access_type=offline&prompt=consent\
            &login_hint=user%40gmail.com",
            endpoint.auth_url(),
            self.port,
            "x".repeat(43)
        )
    }

    /// What the browser brought.
    fn answer(self) -> String {
        self.asked.join().unwrap().pop().unwrap()
    }
}

fn serve(listener: &TcpListener) -> Vec<String> {
    let mut asked: Vec<String> = Vec::new();
    while !asked.last().is_some_and(|line| line.starts_with("GET /?")) {
        let (mut socket, _) = listener.accept().unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        reader.read_line(&mut line).unwrap();
        asked.push(line.trim_end().to_owned());
        let body = "<!DOCTYPE html><title>Landed</title><link rel=icon href='data:,'>\
            <style>body { background: white } \
            @media (prefers-color-scheme: dark) { body { background: black } }</style>\
            <p>You can close this window.</p><p id=hidden hidden>Boo.</p>\
            <script>console.error('forbidden')</script>";
        write!(
            socket,
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
    }
    asked
}

const CLIENT_ID: &str = "123-abc.apps.googleusercontent.com";

fn google() -> (Gmail, TokenEndpoint) {
    let gmail = Gmail::start(GmailOptions::default());
    let endpoint = TokenEndpoint::start(&gmail);
    endpoint.change(|options| options.consent = Consent::Asked);
    (gmail, endpoint)
}

#[test]
fn a_person_allows_and_lands_at_the_client() {
    let (_gmail, endpoint) = google();
    let client = Client::start();
    let browser = Browser::start();
    browser.open(&client.question(&endpoint, CLIENT_ID));
    browser.wait_for_title("Sign in");
    assert_eq!(browser.value_of("#account"), "user@gmail.com");
    browser.click("#allow");
    browser.wait_for_title("Landed");
    browser.wait_for_text("close this window");
    browser.wait_for_url(&format!("http://127.0.0.1:{}/?", client.port));
    let answer = client.answer();
    assert!(answer.contains("state=a%20state&"), "{answer}");
    assert!(answer.contains("&code=4%2F0A"), "{answer}");
    assert!(
        answer.contains("&scope=https%3A%2F%2Fmail.google.com%2F&"),
        "{answer}"
    );
    assert_eq!(endpoint.authorizations().len(), 1);
}

#[test]
fn a_person_cancels() {
    let (_gmail, endpoint) = google();
    let client = Client::start();
    let browser = Browser::start();
    browser.open(&client.question(&endpoint, CLIENT_ID));
    browser.click("#cancel");
    browser.wait_for_title("Landed");
    let answer = client.answer();
    assert_eq!(answer, "GET /?error=access_denied&state=a%20state HTTP/1.1");
}

#[test]
fn a_person_is_somebody_else_and_drops_the_mail_scope() {
    let (_gmail, endpoint) = google();
    let client = Client::start();
    let browser = Browser::start();
    browser.open(&client.question(&endpoint, CLIENT_ID));
    browser.type_into("#account", "other@gmail.com");
    assert_eq!(browser.value_of("#account"), "other@gmail.com");
    browser.click("#mail");
    browser.click("#allow");
    browser.wait_for_title("Landed");
    let answer = client.answer();
    assert!(answer.contains("&scope=openid&"), "{answer}");
}

#[test]
fn a_wrong_client_gets_nobody_anywhere() {
    let (_gmail, endpoint) = google();
    let client = Client::start();
    let browser = Browser::start();
    browser.open(&client.question(&endpoint, "9-abc.apps.googleusercontent.com"));
    browser.wait_for_title("Error 400");
    assert!(browser.text().contains("Error 400: invalid_client"));
    assert!(!browser.is_shown("#allow"));
    assert!(browser.url().starts_with(&endpoint.auth_url()));
}

#[test]
fn the_browser_tells_what_it_shows_and_what_it_forbade() {
    let client = Client::start();
    let browser = Browser::start();
    let first = browser.tab();
    let second = browser.open_tab();
    assert_ne!(first, second);
    browser.open(&format!("http://127.0.0.1:{}/?page", client.port));
    let logged = browser.console();
    assert!(
        logged
            .iter()
            .any(|entry| entry.message.contains("Content Security Policy")),
        "{logged:?}"
    );
    assert!(browser.is_shown("p") && !browser.is_shown("#hidden") && !browser.is_shown("#none"));
    let background = "return getComputedStyle(document.body).backgroundColor";
    let folder = tempfile::tempdir().unwrap();
    for (colours, seen) in [
        (Colours::Dark, "rgb(0, 0, 0)"),
        (Colours::Light, "rgb(255, 255, 255)"),
    ] {
        browser.prefers(colours);
        assert_eq!(browser.run_script(background), seen);
        let picture = folder.path().join("seen.png");
        browser.screenshot(&picture);
        assert!(std::fs::read(picture).unwrap().starts_with(b"\x89PNG"));
    }
    browser.switch_to(&first);
    assert_eq!(browser.tab(), first);
    assert_ne!(browser.title(), "Landed");
    client.answer();
}
