//! The responses of the endpoints (GMAIL.md 7.1 to 7.3).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::http::{Request, Response};
use super::{State, consent};

pub(super) type Form = BTreeMap<String, String>;

/// Handles a request and returns the response.
pub(crate) fn respond(request: &Request, state: &mut State) -> Response {
    match (request.method.as_str(), request.path.as_str()) {
        (method, _) if is_for_browsers(request) => match (method, &request.form) {
            ("GET", _) => consent::handle_request(&request.query, state),
            ("POST", Some(form)) => consent::decided(&request.query, form, state),
            _ => Response::new(405, "<html>Method Not Allowed</html>"),
        },
        ("POST", "/token") => token(request.form.as_ref(), state),
        ("POST", "/revoke") => revoke(request, state),
        _ => Response::new(404, "<html>Not Found</html>"),
    }
}

/// Every observed rejection of the token endpoint, for `TokenOptions::refusal` (GMAIL.md 7.3).
#[must_use]
pub fn token_rejections() -> Vec<(u16, String)> {
    let described =
        |error: &str, text: &str| json!({ "error": error, "error_description": text }).to_string();
    vec![
        (
            400,
            described("invalid_grant", "Token has been expired or revoked."),
        ),
        (400, described("invalid_grant", "Bad Request")),
        (400, described("invalid_grant", "Malformed auth code.")),
        (
            400,
            json!({ "error": "invalid_grant", "error_subtype": "invalid_rapt",
                    "error_description": "reauth related error (invalid_rapt)" })
            .to_string(),
        ),
        (
            401,
            described("invalid_client", "The OAuth client was not found."),
        ),
        (401, described("invalid_client", "Unauthorized")),
        (400, described("redirect_uri_mismatch", "Bad Request")),
        (
            400,
            described("unsupported_grant_type", "Invalid grant_type: x"),
        ),
        (
            400,
            described("invalid_request", "client_secret is missing."),
        ),
        (
            401,
            described("deleted_client", "The OAuth client was deleted."),
        ),
        (500, described("internal_failure", "Backend Error")),
        (500, described("server_error", "Backend Error")),
        (503, described("temporarily_unavailable", "Try again later")),
        (
            502,
            "<!DOCTYPE html><title>Error 502 (Server Error)!!1</title>".to_owned(),
        ),
        (
            503,
            "<!DOCTYPE html><title>Error 503 (Service Unavailable)!!1</title>".to_owned(),
        ),
        (504, "<!DOCTYPE html><title>Error 504</title>".to_owned()),
        (408, "<!DOCTYPE html><title>Error 408</title>".to_owned()),
        (
            429,
            "<!DOCTYPE html><title>Error 429 (Too Many Requests)!!1</title>".to_owned(),
        ),
    ]
}

/// Whether this is the authorization endpoint. `client_secret.json` names the first (GMAIL.md 7.1).
pub(crate) fn is_for_browsers(request: &Request) -> bool {
    ["/o/oauth2/auth", "/o/oauth2/v2/auth"].contains(&request.path.as_str())
}

pub(super) fn of<'a>(form: &'a Form, name: &str) -> &'a str {
    form.get(name).map_or("", String::as_str)
}

fn error(status: u16, error: &str, description: &str) -> Response {
    let body = json!({ "error": error, "error_description": description });
    Response::new(status, body.to_string())
}

fn token(form: Option<&Form>, state: &mut State) -> Response {
    let Some(form) = form else {
        return error(400, "invalid_request", "Could not parse the request.");
    };
    state.requests.push(form.clone());
    if let Some((status, body)) = state.options.refusal.clone() {
        return Response::new(status, body);
    }
    if of(form, "client_id") != state.options.client_id {
        return error(401, "invalid_client", "The OAuth client was not found.");
    }
    if of(form, "client_secret").is_empty() {
        return error(400, "invalid_request", "client_secret is missing.");
    }
    if of(form, "client_secret") != state.options.client_secret {
        return error(401, "invalid_client", "Unauthorized");
    }
    match of(form, "grant_type") {
        "refresh_token" => renew(of(form, "refresh_token"), state),
        "authorization_code" => exchange(form, state),
        other => error(
            400,
            "unsupported_grant_type",
            &format!("Invalid grant_type: {other}"),
        ),
    }
}

fn renew(refresh_token: &str, state: &mut State) -> Response {
    let Some(grant) = state.grants.get(refresh_token).cloned() else {
        return error(400, "invalid_grant", "Token has been expired or revoked.");
    };
    let mut body = issue(refresh_token, state);
    if state.options.rotates {
        let next = state.grant(&grant.user, &grant.scope);
        // The access token just issued stays valid.
        if let Some(old) = state.grants.remove(refresh_token)
            && let Some(new) = state.grants.get_mut(&next)
        {
            new.issued = old.issued;
        }
        body["refresh_token"] = json!(next);
    }
    Response::new(200, body.to_string())
}

fn exchange(form: &Form, state: &mut State) -> Response {
    let code = of(form, "code");
    if code.contains('%') {
        return error(400, "invalid_grant", "Malformed auth code.");
    }
    // A code is valid for one attempt.
    let Some(promise) = state.codes.remove(code) else {
        return error(400, "invalid_grant", "Bad Request");
    };
    if promise.expires <= state.clock.now() || of(form, "client_id") != promise.client_id {
        return error(400, "invalid_grant", "Bad Request");
    }
    if of(form, "redirect_uri") != promise.redirect_uri {
        return error(400, "redirect_uri_mismatch", "Bad Request");
    }
    let verifier = of(form, "code_verifier");
    let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    if !is_verifier(verifier) || proof != promise.challenge {
        return error(400, "invalid_grant", "Invalid code verifier.");
    }
    let refresh_token = state.grant(&promise.user, &promise.scope);
    let mut body = issue(&refresh_token, state);
    // Google documents that installed apps always get one; but every tool requests it, and the double
    // issues it only on request, so that a client that forgets to is noticed (GMAIL.md 7.1).
    if promise.is_for_long && !state.options.omits_refresh_token {
        body["refresh_token"] = json!(refresh_token);
    }
    Response::new(200, body.to_string())
}

/// RFC 7636 4.1.
fn is_verifier(text: &str) -> bool {
    let is_unreserved = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    (43..=128).contains(&text.len()) && text.bytes().all(is_unreserved)
}

/// The response with a new access token.
fn issue(refresh_token: &str, state: &mut State) -> Value {
    let options = state.options.clone();
    let grant = state.grants.get_mut(refresh_token).unwrap();
    let access = state
        .tokens
        .issue_for(&grant.user, options.lifetime, &grant.scope);
    grant.issued.insert(access.clone());
    let mut body = json!({
        "access_token": access,
        "expires_in": options.lifetime.as_secs(),
        "scope": grant.scope,
        "token_type": "Bearer",
    });
    if let Some(time) = options.refresh_expires_in {
        body["refresh_token_expires_in"] = json!(time.as_secs());
    }
    if options.has_extra_fields {
        body["id_token"] = json!("x.y.z");
        body["unheard_of"] = json!({ "a": [1, null] });
    }
    body
}

fn revoke(request: &Request, state: &mut State) -> Response {
    let form = request.form.as_ref().unwrap_or(&request.query);
    let token = of(form, "token");
    let by_access = state
        .grants
        .iter()
        .find(|(_, grant)| grant.issued.contains(token));
    let refresh_token = by_access.map_or(token.to_owned(), |(refresh, _)| refresh.clone());
    if state.revoke(&refresh_token) {
        Response::new(200, "{}")
    } else {
        error(400, "invalid_token", "Token expired or revoked")
    }
}
