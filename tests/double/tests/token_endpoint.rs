//! The token endpoint, asked over a bare socket.

// What goes wrong in a test shall end it at the place.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::{Read, Write};
use std::net::TcpStream;

use double::{Gmail, GmailOptions, TokenEndpoint};
use serde_json::{Value, json};

/// Posts a form; gives status line and body.
fn post(endpoint: &TokenEndpoint, form: &str) -> (String, String) {
    let url = endpoint.url();
    let address = url
        .strip_prefix("http://")
        .unwrap()
        .strip_suffix("/token")
        .unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    write!(
        socket,
        "POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn refresh(refresh_token: &str) -> String {
    format!(
        "client_id=123-abc.apps.googleusercontent.com&client_secret=GOCSPX-double&grant_type=refresh_token&refresh_token={}",
        refresh_token.replace('/', "%2F")
    )
}

fn start() -> (Gmail, TokenEndpoint) {
    let gmail = Gmail::start(GmailOptions::default());
    let endpoint = TokenEndpoint::start(&gmail);
    (gmail, endpoint)
}

#[test]
fn a_refresh_token_buys_an_access_token() {
    let (gmail, endpoint) = start();
    let token = endpoint.grant("user@gmail.com");
    let (status, body) = post(&endpoint, &refresh(&token));
    assert_eq!(status, "HTTP/1.1 200 OK");
    let body: Value = serde_json::from_str(&body).unwrap();
    let access = body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(
        body,
        json!({ "access_token": access, "expires_in": 3599,
                "scope": "https://mail.google.com/", "token_type": "Bearer" })
    );
    assert_eq!(gmail.tokens().issued(), 1);
    assert_eq!(endpoint.requests()[0]["refresh_token"], token);
}

#[test]
fn refusals_are_googles() {
    let (_gmail, endpoint) = start();
    let token = endpoint.grant("user@gmail.com");
    let good = refresh(&token);
    endpoint.revoke(&token);
    for (form, status, error, description) in [
        (
            good.clone(),
            "400",
            "invalid_grant",
            "Token has been expired or revoked.",
        ),
        (
            good.replace("123-", "9-"),
            "401",
            "invalid_client",
            "The OAuth client was not found.",
        ),
        (
            good.replace("GOCSPX-double", "x"),
            "401",
            "invalid_client",
            "Unauthorized",
        ),
        (
            good.replace("GOCSPX-double", ""),
            "400",
            "invalid_request",
            "client_secret is missing.",
        ),
    ] {
        let (line, body) = post(&endpoint, &form);
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{line}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            body,
            json!({ "error": error, "error_description": description })
        );
    }
    endpoint.change(|options| options.refusal = Some((503, "<html>busy</html>".to_owned())));
    assert_eq!(
        post(&endpoint, &good),
        (
            "HTTP/1.1 503 Service Unavailable".to_owned(),
            "<html>busy</html>".to_owned()
        )
    );
}
