//! The OAuth endpoints over a bare socket.

// A test fails by a panic, in its support code as in its body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod dialogue;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dialogue::gmail::{bearer, connected, start};
use double::{Consent, EndpointFault, Gmail, TokenEndpoint, token_rejections};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const USER: &str = "user@gmail.com";
const CLIENT: &str = "client_id=123-abc.apps.googleusercontent.com&client_secret=GOCSPX-double";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters_~";

fn endpoint() -> (Gmail, TokenEndpoint) {
    let gmail = start();
    let endpoint = TokenEndpoint::start(&gmail);
    (gmail, endpoint)
}

/// The response to a complete request.
fn send(url: &str, request: &str) -> String {
    let host = url
        .strip_prefix("http://")
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let mut socket = TcpStream::connect(host).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).unwrap();
    response
}

/// Posts a form; returns status and body.
fn post(url: &str, form: &str) -> (u16, String) {
    let path = &url[url.rfind('/').unwrap()..];
    let response = send(
        url,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ),
    );
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
    (status, body.to_owned())
}

fn post_json(url: &str, form: &str) -> (u16, Value) {
    let (status, body) = post(url, form);
    (status, serde_json::from_str(&body).unwrap())
}

fn refresh(refresh_token: &str) -> String {
    let token = refresh_token.replace('/', "%2F");
    format!("{CLIENT}&grant_type=refresh_token&refresh_token={token}")
}

/// Opens the consent page as a browser; returns the redirect, or the page's status.
fn consent(endpoint: &TokenEndpoint, change: impl FnOnce(String) -> String) -> String {
    let response = request_consent(endpoint, change);
    sent_to(&response).unwrap_or_else(|| response.split(' ').nth(1).unwrap().to_owned())
}

/// The redirect of a response.
fn sent_to(response: &str) -> Option<String> {
    let location = response
        .lines()
        .find_map(|line| line.strip_prefix("Location: "));
    location.map(str::to_owned)
}

/// The query of an authorization request.
fn authorization_query() -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    format!(
        "client_id=123-abc.apps.googleusercontent.com&redirect_uri=http%3A%2F%2F127.0.0.1%3A8080&response_type=code&scope=https%3A%2F%2Fmail.google.com%2F&state=s%201&code_challenge={challenge}&code_challenge_method=S256&access_type=offline&prompt=consent"
    )
}

/// Sends an authorization request; returns the whole response.
fn request_consent(endpoint: &TokenEndpoint, change: impl FnOnce(String) -> String) -> String {
    let query = change(authorization_query());
    send(
        &endpoint.auth_url(),
        &format!("GET /o/oauth2/auth?{query} HTTP/1.1\r\nHost: x\r\n\r\n"),
    )
}

/// Presses a button on the page of this query; returns the redirect.
fn press(endpoint: &TokenEndpoint, query: &str, form: &str) -> String {
    let response = send(
        &endpoint.auth_url(),
        &format!(
            "POST /o/oauth2/auth?{query} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ),
    );
    sent_to(&response).unwrap()
}

fn exchange(endpoint: &TokenEndpoint, address: &str) -> (u16, Value) {
    let (_, after) = address.split_once("&code=").unwrap();
    let code = after.split('&').next().unwrap();
    post_json(
        &endpoint.url(),
        &format!(
            "{CLIENT}&grant_type=authorization_code&code={code}&code_verifier={VERIFIER}&redirect_uri=http%3A%2F%2F127.0.0.1%3A8080"
        ),
    )
}

/// Whether Gmail accepts this access token.
fn token_expiry(gmail: &Gmail, access: &Value) -> bool {
    let mut dialogue = connected(gmail);
    dialogue.send(&format!(
        "a AUTHENTICATE XOAUTH2 {}",
        bearer(USER, access.as_str().unwrap())
    ));
    dialogue.receive().starts_with("* CAPABILITY")
}

#[test]
fn a_refresh_token_yields_an_access_token_that_gmail_accepts() {
    let (gmail, endpoint) = endpoint();
    let token = endpoint.grant(USER);
    let (status, body) = post_json(&endpoint.url(), &refresh(&token));
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({ "access_token": body["access_token"], "expires_in": 3599,
                "scope": "https://mail.google.com/", "token_type": "Bearer" })
    );
    assert!(token_expiry(&gmail, &body["access_token"]));
    assert_eq!(endpoint.requests()[0]["refresh_token"], token);
    assert_eq!(endpoint.visits(), ["POST /token"]);
}

#[test]
fn requests_are_rejected_with_googles_texts() {
    let (_gmail, endpoint) = endpoint();
    let good = refresh(&endpoint.grant(USER));
    for (form, status, error, description) in [
        (
            refresh("x"),
            400,
            "invalid_grant",
            "Token has been expired or revoked.",
        ),
        (
            good.replace("123-", "9-"),
            401,
            "invalid_client",
            "The OAuth client was not found.",
        ),
        (
            good.replace("GOCSPX-double", "x"),
            401,
            "invalid_client",
            "Unauthorized",
        ),
        (
            good.replace("GOCSPX-double", ""),
            400,
            "invalid_request",
            "client_secret is missing.",
        ),
        (
            good.replace("=refresh_token", "=x"),
            400,
            "unsupported_grant_type",
            "Invalid grant_type: x",
        ),
        (
            format!("{CLIENT}&grant_type=authorization_code&code=4%2F0x"),
            400,
            "invalid_grant",
            "Bad Request",
        ),
        (
            format!("{CLIENT}&grant_type=authorization_code&code=4%252F0x"),
            400,
            "invalid_grant",
            "Malformed auth code.",
        ),
    ] {
        let expected = json!({ "error": error, "error_description": description });
        assert_eq!(post_json(&endpoint.url(), &form), (status, expected));
    }
    let json = send(
        &endpoint.url(),
        "POST /token HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    );
    assert!(json.starts_with("HTTP/1.1 400 Bad Request\r\n"));
}

#[test]
fn faults_happen_as_the_options_say() {
    let (gmail, endpoint) = endpoint();
    let good = refresh(&endpoint.grant(USER));
    for (status, body) in token_rejections() {
        endpoint.change(|options| options.refusal = Some((status, body.clone())));
        assert_eq!(post(&endpoint.url(), &good), (status, body));
    }
    assert_eq!(gmail.tokens().issued(), 0);
    endpoint.change(|options| {
        options.refusal = None;
        options.fault = EndpointFault::Cut;
    });
    assert_eq!(post(&endpoint.url(), &good), (0, String::new()));
    assert_eq!(gmail.tokens().issued(), 0);
    endpoint.change(|options| options.fault = EndpointFault::AnswerLost);
    assert_eq!(post(&endpoint.url(), &good), (0, String::new()));
    assert_eq!(gmail.tokens().issued(), 1);
    endpoint.change(|options| {
        options.fault = EndpointFault::Redirect("http://127.0.0.1:1/".to_owned());
    });
    assert_eq!(post(&endpoint.url(), &good).0, 302);
    let time = Duration::from_millis(40);
    endpoint.change(|options| options.fault = EndpointFault::Slow(time));
    let began = Instant::now();
    assert_eq!(post(&endpoint.url(), &good).0, 200);
    assert!(began.elapsed() >= time);
}

#[test]
fn renewals_rotate_the_refresh_token_if_the_option_is_set() {
    let (gmail, endpoint) = endpoint();
    let old = endpoint.grant(USER);
    endpoint.change(|options| {
        options.rotates = true;
        options.refresh_expires_in = Some(Duration::from_secs(604_799));
        options.has_extra_fields = true;
        options.lifetime = Duration::from_secs(10);
    });
    let (_, body) = post_json(&endpoint.url(), &refresh(&old));
    assert_eq!(body["refresh_token_expires_in"], 604_799);
    assert_eq!(body["expires_in"], 10);
    assert!(body["unheard_of"].is_object());
    assert!(token_expiry(&gmail, &body["access_token"]));
    assert_eq!(post(&endpoint.url(), &refresh(&old)).0, 400);
    let new = body["refresh_token"].as_str().unwrap();
    assert_eq!(post(&endpoint.url(), &refresh(new)).0, 200);
    gmail.clock().advance(Duration::from_secs(10));
    assert!(!token_expiry(&gmail, &body["access_token"]));
}

#[test]
fn a_revocation_and_a_new_password_revoke_the_tokens() {
    let (gmail, endpoint) = endpoint();
    let first = endpoint.grant(USER);
    let (_, body) = post_json(&endpoint.url(), &refresh(&first));
    let form = format!("token={}", first.replace('/', "%2F"));
    assert_eq!(post(&endpoint.revoke_url(), &form), (200, "{}".to_owned()));
    assert_eq!(
        post_json(&endpoint.revoke_url(), &form).1["error"],
        "invalid_token"
    );
    assert!(!token_expiry(&gmail, &body["access_token"]));
    let second = endpoint.grant(USER);
    let (_, body) = post_json(&endpoint.url(), &refresh(&second));
    assert!(token_expiry(&gmail, &body["access_token"]));
    endpoint.change_password(USER);
    assert!(!token_expiry(&gmail, &body["access_token"]));
    assert_eq!(post(&endpoint.url(), &refresh(&second)).0, 400);
}

#[test]
fn the_user_consents_and_the_code_yields_tokens_once() {
    let (gmail, endpoint) = endpoint();
    let address = consent(&endpoint, |query| query);
    assert!(address.starts_with(
        "http://127.0.0.1:8080?state=s%201&iss=https%3A%2F%2Faccounts.google.com&code=4%2F0A"
    ));
    assert!(address.ends_with("&scope=https%3A%2F%2Fmail.google.com%2F&authuser=0&prompt=consent"));
    let (status, body) = exchange(&endpoint, &address);
    assert_eq!(status, 200);
    assert!(token_expiry(&gmail, &body["access_token"]));
    let refresh_token = body["refresh_token"].as_str().unwrap();
    assert_eq!(post(&endpoint.url(), &refresh(refresh_token)).0, 200);
    let (status, body) = exchange(&endpoint, &address);
    assert_eq!(
        (status, body["error_description"].as_str()),
        (400, Some("Bad Request"))
    );
}

#[test]
fn the_code_verifier_must_match() {
    let (_gmail, endpoint) = endpoint();
    let other = consent(&endpoint, |query| {
        query.replace("code_challenge=", "code_challenge=x")
    });
    assert_eq!(other, "400");
    let address = consent(&endpoint, |query| {
        let (start, _) = query.split_once("code_challenge=").unwrap();
        format!(
            "{start}code_challenge={}&code_challenge_method=S256",
            "x".repeat(43)
        )
    });
    assert_eq!(
        exchange(&endpoint, &address).1["error_description"],
        "Invalid code verifier."
    );
}

#[test]
fn an_invalid_request_gets_a_page_and_no_code() {
    let (_gmail, endpoint) = endpoint();
    for (right, wrong) in [
        ("123-", "9-"),
        ("127.0.0.1", "evil.example"),
        ("127.0.0.1", "127.0.0.1.evil.example"),
        ("S256", "plain"),
        ("response_type=code", "response_type=token"),
        ("mail.google", "www.google"),
        ("127.0.0.1%3A8080", "127.0.0.1%3A8080%40evil.example"),
        ("state=s%201", "state="),
        ("code_challenge=", "challenge="),
        ("=offline", "=always"),
        ("prompt=consent", "prompt=force"),
    ] {
        assert_eq!(
            consent(&endpoint, |query| query.replace(right, wrong)),
            "400",
            "{wrong}"
        );
    }
}

#[test]
fn the_user_denies_or_consents_in_part() {
    let (gmail, endpoint) = endpoint();
    endpoint.change(|options| options.consent = Consent::Denied);
    let address = consent(&endpoint, |query| query);
    assert_eq!(
        address,
        "http://127.0.0.1:8080?error=access_denied&state=s%201"
    );
    endpoint.change(|options| options.consent = Consent::WrongState);
    assert!(consent(&endpoint, |query| query).contains("?state=another&"));
    endpoint.change(|options| options.consent = Consent::Only("openid".to_owned()));
    let (_, body) = exchange(&endpoint, &consent(&endpoint, |query| query));
    assert_eq!(body["scope"], "openid");
    assert!(!token_expiry(&gmail, &body["access_token"]));
}

#[test]
fn an_invalid_request_is_shown_to_the_user_and_recorded() {
    let (_gmail, endpoint) = endpoint();
    let page = request_consent(&endpoint, |query| query.replace("S256", "plain"));
    assert!(page.starts_with("HTTP/1.1 400 ") && page.contains("Error 400: invalid_request"));
    assert_eq!(sent_to(&page), None);
    assert_eq!(
        endpoint.authorizations()[0]["code_challenge_method"],
        "plain"
    );
}

#[test]
fn the_consent_page_asks_for_the_account_and_the_scopes() {
    let (gmail, endpoint) = endpoint();
    endpoint.change(|options| {
        options.consent = Consent::Asked;
        options.account = Some("other@gmail.com".to_owned());
    });
    let query = authorization_query() + "&login_hint=%22%3Ca%40gmail.com";
    let page = request_consent(&endpoint, |_| query.clone());
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("<title>Sign in</title>"));
    assert!(page.contains("id=\"account\" name=\"account\" value=\"&quot;&lt;a@gmail.com\""));
    assert_eq!(endpoint.authorizations()[0]["login_hint"], "\"<a@gmail.com");

    let typed = press(
        &endpoint,
        &query,
        "account=user%40gmail.com&mail=on&answer=allow",
    );
    let (_, body) = exchange(&endpoint, &typed);
    assert!(token_expiry(&gmail, &body["access_token"]));
    let untyped = press(&endpoint, &query, "account=&mail=on&answer=allow");
    let (status, body) = exchange(&endpoint, &untyped);
    assert_eq!(
        (status, token_expiry(&gmail, &body["access_token"])),
        (200, false)
    );

    let without_mail = press(&endpoint, &query, "account=user%40gmail.com&answer=allow");
    assert!(without_mail.contains("&scope=openid&"), "{without_mail}");
    let (_, body) = exchange(&endpoint, &without_mail);
    assert_eq!(body["scope"], "openid");
    assert!(!token_expiry(&gmail, &body["access_token"]));
    assert_eq!(
        press(&endpoint, &query, "account=&mail=on&answer=cancel"),
        "http://127.0.0.1:8080?error=access_denied&state=s%201"
    );
    assert_eq!(endpoint.authorizations().len(), 1);
}

#[test]
fn a_refresh_token_must_be_requested_and_may_be_omitted() {
    let (_gmail, endpoint) = endpoint();
    for word in ["&access_type=offline", "&prompt=consent"] {
        let address = consent(&endpoint, |query| query.replace(word, ""));
        let (status, body) = exchange(&endpoint, &address);
        assert_eq!((status, body.get("refresh_token")), (200, None), "{word}");
    }
    endpoint.change(|options| {
        options.omits_refresh_token = true;
        options.refresh_expires_in = Some(Duration::from_secs(604_799));
    });
    let (status, body) = exchange(&endpoint, &consent(&endpoint, |query| query));
    assert_eq!((status, body.get("refresh_token")), (200, None));
    assert_eq!(body["refresh_token_expires_in"], 604_799);
}

#[test]
fn a_code_is_valid_for_its_client_its_redirect_uri_and_its_lifetime() {
    let (gmail, endpoint) = endpoint();
    let refused = |address: &str| exchange(&endpoint, address).1["error"].clone();
    let late = consent(&endpoint, |query| query);
    gmail.clock().advance(Duration::from_mins(10));
    assert_eq!(refused(&late), "invalid_grant");
    let elsewhere = consent(&endpoint, |query| query.replace("8080", "8081"));
    assert_eq!(refused(&elsewhere), "redirect_uri_mismatch");
    endpoint.change(|options| options.client_id = "9-abc.apps.googleusercontent.com".to_owned());
    let of_another = consent(&endpoint, |query| query.replace("123-", "9-"));
    endpoint.change(|options| options.client_id = "123-abc.apps.googleusercontent.com".to_owned());
    assert_eq!(refused(&of_another), "invalid_grant");
}

#[test]
fn responses_have_unknown_fields_if_the_option_is_set() {
    let (_gmail, endpoint) = endpoint();
    let good = refresh(&endpoint.grant(USER));
    let order = |fault: EndpointFault| endpoint.change(|options| options.fault = fault);
    order(EndpointFault::Huge(1 << 20));
    let (status, body) = post(&endpoint.url(), &good);
    assert!(status == 200 && body.len() > 1 << 20);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["token_type"], "Bearer");
    order(EndpointFault::HalfAnswer);
    let (status, body) = post(&endpoint.url(), &good);
    assert!(status == 200 && body.starts_with('{') && !body.ends_with('}'));
    order(EndpointFault::Trickle(Duration::from_micros(1)));
    assert_eq!(post_json(&endpoint.url(), &good).0, 200);
    order(EndpointFault::ContentType("text/plain".to_owned()));
    let request = format!(
        "POST /token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{good}",
        good.len()
    );
    let response = send(&endpoint.url(), &request);
    assert!(response.contains("\r\nContent-Type: text/plain\r\n"));
    // The flow gets as far as the token.
    order(EndpointFault::Cut);
    assert!(consent(&endpoint, |query| query).starts_with("http://127.0.0.1:8080?"));
}

#[test]
fn the_consent_page_needs_no_certificate() {
    let gmail = start();
    let endpoint = TokenEndpoint::start_secure(&gmail);
    assert!(endpoint.url().starts_with("https://localhost:"));
    assert!(consent(&endpoint, |query| query).starts_with("http://127.0.0.1:8080?"));
}

#[test]
fn the_token_and_client_secret_files_name_the_endpoints() {
    let (_gmail, endpoint) = endpoint();
    let token: Value = serde_json::from_str(&endpoint.token_json(USER)).unwrap();
    assert_eq!(token["token_uri"], endpoint.url());
    let refresh_token = token["refresh_token"].as_str().unwrap();
    assert_eq!(post(&endpoint.url(), &refresh(refresh_token)).0, 200);
    let client: Value = serde_json::from_str(&endpoint.client_secret_json()).unwrap();
    assert_eq!(client["installed"]["auth_uri"], endpoint.auth_url());
}

#[test]
fn the_endpoints_use_tls_with_gmails_certificate() {
    let gmail = start();
    let endpoint = TokenEndpoint::start_secure(&gmail);
    let url = endpoint.url();
    let port = url
        .strip_prefix("https://localhost:")
        .unwrap()
        .strip_suffix("/token")
        .unwrap();
    let mut dialogue = dialogue::Dialogue::secure(port.parse().unwrap(), gmail.ca_pem());
    dialogue.play("C: GET /none HTTP/1.1\nC: \nS: HTTP/1.1 404 Not Found");
}
