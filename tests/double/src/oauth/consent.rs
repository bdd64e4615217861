//! The authorization endpoint: the consent page and the redirect (GMAIL.md 7.1).

use super::http::{Response, escape};
use super::rules::{Form, of};
use super::{Code, Consent, State};
use crate::tokens::MAIL_SCOPE;

/// Handles an authorization request.
pub(super) fn handle_request(query: &Form, state: &mut State) -> Response {
    state.authorizations.push(query.clone());
    if let Err(mistake) = check(query, state) {
        return refusal(mistake);
    }
    match state.options.consent.clone() {
        Consent::Given => given(query, &Decision::default(), state),
        Consent::Denied => denied(query),
        Consent::WrongState => {
            let mut forged = query.clone();
            forged.insert("state".to_owned(), "another".to_owned());
            given(&forged, &Decision::default(), state)
        }
        Consent::Only(scope) => {
            let decision = Decision {
                scope: Some(scope),
                ..Decision::default()
            };
            given(query, &decision, state)
        }
        Consent::Asked => request(query),
    }
}

/// Handles a button of the page, which posts to the page's own address.
pub(super) fn decided(query: &Form, form: &Form, state: &mut State) -> Response {
    if let Err(mistake) = check(query, state) {
        return refusal(mistake);
    }
    if of(form, "answer") != "allow" {
        return denied(query);
    }
    let account = of(form, "account").trim().to_owned();
    let decision = Decision {
        account: (!account.is_empty()).then_some(account),
        scope: (!form.contains_key("mail")).then(|| without_mail(of(query, "scope"))),
    };
    given(query, &decision, state)
}

/// The user's choices on the page.
#[derive(Debug, Default)]
struct Decision {
    /// The account.
    account: Option<String>,
    /// The granted scopes, if not all that were requested.
    scope: Option<String>,
}

/// The remaining scopes. Google does not grant nothing: `openid` stands for what it always grants.
fn without_mail(scope: &str) -> String {
    let others: Vec<&str> = scope
        .split(' ')
        .filter(|scope| *scope != MAIL_SCOPE && !scope.is_empty())
        .collect();
    if others.is_empty() {
        "openid".to_owned()
    } else {
        others.join(" ")
    }
}

/// Validates the request; an invalid one is never redirected to the client.
fn check(query: &Form, state: &State) -> Result<(), &'static str> {
    if of(query, "client_id") != state.options.client_id {
        return Err("invalid_client");
    }
    if !is_loopback(of(query, "redirect_uri")) {
        return Err("redirect_uri_mismatch");
    }
    let asks_for_mail = of(query, "scope")
        .split(' ')
        .any(|scope| scope == MAIL_SCOPE);
    let is_well_formed = of(query, "response_type") == "code"
        && asks_for_mail
        && of(query, "code_challenge_method") == "S256"
        && is_challenge(of(query, "code_challenge"))
        && !of(query, "state").is_empty()
        && ["", "offline", "online"].contains(&of(query, "access_type"))
        && of(query, "prompt")
            .split(' ')
            .all(|prompt| ["", "none", "consent", "select_account"].contains(&prompt));
    if is_well_formed {
        Ok(())
    } else {
        Err("invalid_request")
    }
}

/// A digest in base64url (RFC 7636 4.2).
fn is_challenge(text: &str) -> bool {
    let is_of_base64 = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
    text.len() == 43 && text.bytes().all(is_of_base64)
}

/// A desktop app may be redirected to at any port of loopback.
fn is_loopback(uri: &str) -> bool {
    let rest = uri.strip_prefix("http://").unwrap_or_default();
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let hosts = ["127.0.0.1", "[::1]", "localhost"];
    !uri.contains('#')
        && hosts.iter().any(|host| {
            let port = authority.strip_prefix(host);
            port.is_some_and(|port| {
                port.is_empty()
                    || port
                        .strip_prefix(':')
                        .is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
            })
        })
}

/// The error page, which Google shows instead of a redirect.
fn refusal(mistake: &str) -> Response {
    let page = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Error 400</title>\
         </head><body><h1>Access blocked</h1><p id=\"error\">Error 400: {mistake}</p></body></html>"
    );
    Response::new(400, page)
}

/// The consent page.
fn request(query: &Form) -> Response {
    let page = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Sign in</title></head>\
         <body><h1>An app wants access to your account</h1><form method=\"post\">\
         <p><label>Account <input id=\"account\" name=\"account\" value=\"{}\"></label></p>\
         <p><label><input type=\"checkbox\" id=\"mail\" name=\"mail\" checked> \
         Read, compose, send, and permanently delete all your email</label></p>\
         <p><button id=\"allow\" name=\"answer\" value=\"allow\">Continue</button> \
         <button id=\"cancel\" name=\"answer\" value=\"cancel\">Cancel</button></p>\
         </form></body></html>",
        in_attribute(of(query, "login_hint"))
    );
    Response::new(200, page)
}

fn in_attribute(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
}

fn denied(query: &Form) -> Response {
    back(
        query,
        &format!("error=access_denied&state={}", escape(of(query, "state"))),
    )
}

/// Redirects to the client with a code.
fn given(query: &Form, decision: &Decision, state: &mut State) -> Response {
    let code = format!("4/0Adouble-{:04}", state.count());
    let account = decision.account.clone();
    let account = account.or_else(|| state.options.account.clone());
    let scope = decision.scope.as_deref().unwrap_or(of(query, "scope"));
    let asks_for_consent = of(query, "prompt").split(' ').any(|word| word == "consent");
    let promise = Code {
        client_id: of(query, "client_id").to_owned(),
        redirect_uri: of(query, "redirect_uri").to_owned(),
        challenge: of(query, "code_challenge").to_owned(),
        user: account.unwrap_or_else(|| state.user.clone()),
        scope: scope.to_owned(),
        is_for_long: of(query, "access_type") == "offline" && asks_for_consent,
        expires: state.clock.now() + state.options.code_lifetime,
    };
    state.codes.insert(code.clone(), promise);
    back(
        query,
        &format!(
            "state={}&iss={}&code={}&scope={}&authuser=0&prompt=consent",
            escape(of(query, "state")),
            escape("https://accounts.google.com"),
            escape(&code),
            escape(scope)
        ),
    )
}

/// Redirects the browser to the client, whose address may have a query of its own.
fn back(query: &Form, response: &str) -> Response {
    let redirect_uri = of(query, "redirect_uri");
    let mark = if redirect_uri.contains('?') { '&' } else { '?' };
    Response::redirect(&format!("{redirect_uri}{mark}{response}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_may_be_gone_back_to() {
        for uri in [
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/",
            "http://[::1]:9",
            "http://localhost/back?x=1",
        ] {
            assert!(is_loopback(uri), "{uri}");
        }
        for uri in [
            "https://127.0.0.1:8080",
            "http://127.0.0.1:8080@evil.example/",
            "http://127.0.0.1:",
            "http://127.0.0.1:0",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.1:8080/#here",
            "urn:ietf:wg:oauth:2.0:oob",
            "",
        ] {
            assert!(!is_loopback(uri), "{uri}");
        }
    }

    #[test]
    fn without_mail_something_is_left() {
        assert_eq!(without_mail(MAIL_SCOPE), "openid");
        assert_eq!(
            without_mail("openid https://mail.google.com/ email"),
            "openid email"
        );
    }
}
