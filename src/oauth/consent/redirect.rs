//! What a browser brings back from Google, or a person pastes (RFC 6749 4.1.2, RFC 8252 7.3).

use std::borrow::Cow;

use oauth2::CsrfToken;
use oauth2::url::form_urlencoded;

use crate::secret::Secret;

/// Google's codes have 256 octets at most; more is something else.
const LONGEST_CODE: usize = 512;

/// What Google answers to this attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AuthorizationResponse {
    /// The person consents: the code to exchange.
    Code(Secret),
    /// The person does not.
    Denied,
    /// Google refuses: its code for why.
    Error(String),
}

/// What an address says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RedirectQuery {
    /// Google's answer.
    Response(AuthorizationResponse),
    /// It belongs to another attempt, or is forged.
    WrongState,
    /// It is no answer of Google's at all.
    NotARedirect,
}

/// What a person pasted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PastedLine {
    /// An address, or the code alone.
    Redirect(RedirectQuery),
    /// An empty line.
    Empty,
    /// The address of Google's page, before its end.
    ConsentPage,
    /// None of these.
    Unrecognized,
}

/// Reads the target of an HTTP request (RFC 9112 3.2.1).
pub(super) fn of_request(target: &str, state: &CsrfToken) -> RedirectQuery {
    match target.split_once('?') {
        Some(("/", query)) => of_query(query, state),
        _ => RedirectQuery::NotARedirect,
    }
}

/// Reads a line that a person pasted: an address, a part of it that holds the query, or the code.
pub(super) fn of_pasted(line: &str, state: &CsrfToken) -> PastedLine {
    let line =
        line.trim_matches(|c: char| c.is_whitespace() || c.is_control() || "\"'<>`".contains(c));
    if line.is_empty() {
        return PastedLine::Empty;
    }
    let (before, after) = line.split_once('?').unwrap_or(("", line));
    let query = after.split('#').next().unwrap_or(after);
    match of_query(query, state) {
        RedirectQuery::NotARedirect => {}
        redirect => return PastedLine::Redirect(redirect),
    }
    if before.starts_with("https://accounts.google.")
        || line.starts_with("https://accounts.google.")
    {
        return PastedLine::ConsentPage;
    }
    match code(line) {
        Some(code) => {
            PastedLine::Redirect(RedirectQuery::Response(AuthorizationResponse::Code(code)))
        }
        None => PastedLine::Unrecognized,
    }
}

fn of_query(query: &str, state: &CsrfToken) -> RedirectQuery {
    let field = |name: &str| -> Option<Cow<'_, str>> {
        form_urlencoded::parse(query.as_bytes())
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value)
    };
    let (code, error) = (field("code"), field("error"));
    if code.is_none() && error.is_none() {
        return RedirectQuery::NotARedirect;
    }
    // The library compares digests: how far they agree is not to be seen in the time it takes.
    let brought = field("state").map(|state| CsrfToken::new(state.into_owned()));
    if brought.is_none_or(|brought| brought != *state) {
        return RedirectQuery::WrongState;
    }
    match (code, error) {
        (_, Some(error)) if error == "access_denied" => {
            RedirectQuery::Response(AuthorizationResponse::Denied)
        }
        (_, Some(error)) => {
            RedirectQuery::Response(AuthorizationResponse::Error(error.into_owned()))
        }
        (Some(code), None) if code.len() <= LONGEST_CODE => {
            RedirectQuery::Response(AuthorizationResponse::Code(Secret::new(code.into_owned())))
        }
        _ => RedirectQuery::NotARedirect,
    }
}

/// A code alone, as it is or as it stands in an address (`4%2F0…`). It brings no state along: that
/// a person pastes it here is the proof that it belongs here, and the PKCE verifier is another.
fn code(text: &str) -> Option<Secret> {
    let escaped = format!("code={}", text.replace('+', "%2B"));
    let plain = form_urlencoded::parse(escaped.as_bytes())
        .next()?
        .1
        .into_owned();
    let is_of_a_code = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    let is_code =
        plain.starts_with("4/") && plain.len() <= LONGEST_CODE && plain.chars().all(is_of_a_code);
    is_code.then(|| Secret::new(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> CsrfToken {
        CsrfToken::new("s+t/a=te".to_owned())
    }

    fn code_of(text: &str) -> RedirectQuery {
        RedirectQuery::Response(AuthorizationResponse::Code(Secret::new(text.to_owned())))
    }

    #[test]
    fn a_request_is_read() {
        let cases = [
            (
                "/?state=s%2Bt%2Fa%3Dte&iss=https://accounts.google.com&code=4%2F0A-b&scope=x",
                code_of("4/0A-b"),
            ),
            ("/?code=4/0A-b&state=s%2Bt%2Fa%3Dte", code_of("4/0A-b")),
            (
                "/?error=access_denied&state=s%2Bt%2Fa%3Dte",
                RedirectQuery::Response(AuthorizationResponse::Denied),
            ),
            (
                "/?error=org_internal&state=s%2Bt%2Fa%3Dte",
                RedirectQuery::Response(AuthorizationResponse::Error("org_internal".to_owned())),
            ),
            ("/?code=4/0A&state=other", RedirectQuery::WrongState),
            ("/?code=4/0A&state=", RedirectQuery::WrongState),
            ("/?code=4/0A", RedirectQuery::WrongState),
            ("/?error=access_denied", RedirectQuery::WrongState),
            ("/?state=s%2Bt%2Fa%3Dte", RedirectQuery::NotARedirect),
            ("/?code=&state=s%2Bt%2Fa%3Dte", RedirectQuery::NotARedirect),
            ("/", RedirectQuery::NotARedirect),
            ("/favicon.ico", RedirectQuery::NotARedirect),
            (
                "/favicon.ico?code=4/0A&state=s%2Bt%2Fa%3Dte",
                RedirectQuery::NotARedirect,
            ),
            ("*", RedirectQuery::NotARedirect),
        ];
        for (target, expected) in cases {
            assert_eq!(of_request(target, &state()), expected, "{target}");
        }
    }

    #[test]
    fn a_person_may_paste_the_address_or_the_code() {
        let query = "code=4%2F0A-b&state=s%2Bt%2Fa%3Dte";
        for line in [
            format!("http://127.0.0.1:8080/?{query}"),
            format!("  http://127.0.0.1:8080/?{query}\r\n"),
            format!("'http://localhost:8080/?{query}#'"),
            format!("<http://[::1]:8080/?{query}>"),
            format!("127.0.0.1:8080/?{query}"),
            format!("/?{query}"),
            format!("?{query}"),
            query.to_owned(),
            "4/0A-b".to_owned(),
            "4%2F0A-b".to_owned(),
            "4%2f0A-b\n".to_owned(),
            "\u{1b}4/0A-b".to_owned(),
        ] {
            let expected = PastedLine::Redirect(code_of("4/0A-b"));
            assert_eq!(of_pasted(&line, &state()), expected, "{line:?}");
        }
    }

    #[test]
    fn what_else_is_pasted_is_no_code() {
        let early = "https://accounts.google.com/o/oauth2/v2/auth?client_id=x&state=s%2Bt%2Fa%3Dte";
        let cases = [
            ("", PastedLine::Empty),
            (" \n", PastedLine::Empty),
            (early, PastedLine::ConsentPage),
            (
                "https://accounts.google.com/signin",
                PastedLine::ConsentPage,
            ),
            (
                "http://127.0.0.1:1/?code=4/0A&state=x",
                PastedLine::Redirect(RedirectQuery::WrongState),
            ),
            (
                "http://127.0.0.1:1/?code=4/0A",
                PastedLine::Redirect(RedirectQuery::WrongState),
            ),
            (
                "?error=access_denied&state=s%2Bt%2Fa%3Dte",
                PastedLine::Redirect(RedirectQuery::Response(AuthorizationResponse::Denied)),
            ),
            ("yes", PastedLine::Unrecognized),
            ("5/0A-b", PastedLine::Unrecognized),
            ("4/0A b", PastedLine::Unrecognized),
            ("4/\u{202e}", PastedLine::Unrecognized),
            ("4%2F0%00", PastedLine::Unrecognized),
            ("http://127.0.0.1:8080/", PastedLine::Unrecognized),
        ];
        for (line, expected) in cases {
            assert_eq!(of_pasted(line, &state()), expected, "{line}");
        }
        let endless = format!("4/{}", "x".repeat(LONGEST_CODE));
        assert_eq!(of_pasted(&endless, &state()), PastedLine::Unrecognized);
    }
}
