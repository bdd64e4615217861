//! The test browser at the double's consent page, without the program.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use double::{Consent, Gmail, GmailOptions, TokenEndpoint};

use crate::browser::{Browser, Colours};

/// A client that waits on a port for the redirect.
struct Client {
    port: u16,
    /// The request lines, up to the one that is for `/`.
    request_lines: JoinHandle<Vec<String>>,
}

impl Client {
    fn start() -> Client {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        Client {
            port,
            request_lines: thread::spawn(move || serve(&listener)),
        }
    }

    /// The authorization request of this client, with this `client_id`.
    fn authorization_url(&self, endpoint: &TokenEndpoint, client_id: &str) -> String {
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

    /// The request line of the redirect.
    fn redirect(self) -> String {
        self.request_lines.join().unwrap().pop().unwrap()
    }
}

fn serve(listener: &TcpListener) -> Vec<String> {
    let mut request_lines: Vec<String> = Vec::new();
    while !request_lines
        .last()
        .is_some_and(|line| line.starts_with("GET /?"))
    {
        let (mut socket, _) = listener.accept().unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        reader.read_line(&mut line).unwrap();
        request_lines.push(line.trim_end().to_owned());
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
    request_lines
}

const CLIENT_ID: &str = "123-abc.apps.googleusercontent.com";

fn google() -> (Gmail, TokenEndpoint) {
    let gmail = Gmail::start(GmailOptions::default());
    let endpoint = TokenEndpoint::start(&gmail);
    endpoint.change(|options| options.consent = Consent::Asked);
    (gmail, endpoint)
}

#[test]
fn the_user_allows_access_and_is_redirected_to_the_client() {
    let (_gmail, endpoint) = google();
    let client = Client::start();
    let browser = Browser::start();
    browser.open(&client.authorization_url(&endpoint, CLIENT_ID));
    browser.wait_for_title("Sign in");
    assert_eq!(browser.value_of("#account"), "user@gmail.com");
    browser.click("#allow");
    browser.wait_for_title("Landed");
    browser.wait_for_text("close this window");
    browser.wait_for_url(&format!("http://127.0.0.1:{}/?", client.port));
    let redirect = client.redirect();
    assert!(redirect.contains("state=a%20state&"), "{redirect}");
    assert!(redirect.contains("&code=4%2F0A"), "{redirect}");
    assert!(
        redirect.contains("&scope=https%3A%2F%2Fmail.google.com%2F&"),
        "{redirect}"
    );
    assert_eq!(endpoint.authorizations().len(), 1);
}

#[test]
fn the_user_cancels() {
    let (_gmail, endpoint) = google();
    let client = Client::start();
    let browser = Browser::start();
    browser.open(&client.authorization_url(&endpoint, CLIENT_ID));
    browser.click("#cancel");
    browser.wait_for_title("Landed");
    let redirect = client.redirect();
    assert_eq!(
        redirect,
        "GET /?error=access_denied&state=a%20state HTTP/1.1"
    );
}

#[test]
fn the_user_changes_the_account_and_unticks_the_mail_scope() {
    let (_gmail, endpoint) = google();
    let client = Client::start();
    let browser = Browser::start();
    browser.open(&client.authorization_url(&endpoint, CLIENT_ID));
    browser.type_into("#account", "other@gmail.com");
    assert_eq!(browser.value_of("#account"), "other@gmail.com");
    browser.click("#mail");
    browser.click("#allow");
    browser.wait_for_title("Landed");
    let redirect = client.redirect();
    assert!(redirect.contains("&scope=openid&"), "{redirect}");
}

#[test]
fn a_wrong_client_is_not_redirected_to() {
    let (_gmail, endpoint) = google();
    let client = Client::start();
    let browser = Browser::start();
    browser.open(&client.authorization_url(&endpoint, "9-abc.apps.googleusercontent.com"));
    browser.wait_for_title("Error 400");
    assert!(browser.text().contains("Error 400: invalid_client"));
    assert!(!browser.is_shown("#allow"));
    assert!(browser.url().starts_with(&endpoint.auth_url()));
}

#[test]
fn the_browser_reports_what_it_shows_and_what_the_policy_forbade() {
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
    for (colours, expected) in [
        (Colours::Dark, "rgb(0, 0, 0)"),
        (Colours::Light, "rgb(255, 255, 255)"),
    ] {
        browser.prefers(colours);
        assert_eq!(browser.run_script(background), expected);
        let image = folder.path().join("seen.png");
        browser.screenshot(&image);
        assert!(std::fs::read(image).unwrap().starts_with(b"\x89PNG"));
    }
    browser.switch_to(&first);
    assert_eq!(browser.tab(), first);
    assert_ne!(browser.title(), "Landed");
    client.redirect();
}
