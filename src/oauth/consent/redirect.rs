//! The authorization response: read from the redirected browser's request, or from a line that the
//! user pastes (RFC 6749 4.1.2, RFC 8252 7.3).

use std::borrow::Cow;

use oauth2::CsrfToken;
use oauth2::url::form_urlencoded;

use crate::secret::Secret;

/// Google's authorization codes have at most 256 octets.
const MAX_CODE_LENGTH: usize = 512;

/// Google's response to our authorization request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AuthorizationResponse {
    /// The user consented; the authorization code.
    Code(Secret),
    /// The user denied access.
    Denied,
    /// Any other error; its code.
    Error(String),
}

/// The query of a redirect URI.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RedirectQuery {
    /// A response to our request.
    Response(AuthorizationResponse),
    /// The state is not ours: it belongs to another attempt, or is forged.
    WrongState,
    /// No authorization response.
    NotARedirect,
}

/// A line that the user pasted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PastedLine {
    /// A redirect URI, or the authorization code alone.
    Redirect(RedirectQuery),
    /// An empty line.
    Empty,
    /// An address of Google, before the redirect.
    ConsentPage,
    /// Anything else.
    Unrecognized,
}

/// Parses the target of an HTTP request (RFC 9112 3.2.1).
pub(super) fn parse_request_target(target: &str, state: &CsrfToken) -> RedirectQuery {
    match target.split_once('?') {
        Some(("/", query)) => parse_query(query, state),
        _ => RedirectQuery::NotARedirect,
    }
}

/// Parses a pasted line: a redirect URI, a part of it that contains the query, or the code.
pub(super) fn parse_pasted_line(line: &str, state: &CsrfToken) -> PastedLine {
    let line =
        line.trim_matches(|c: char| c.is_whitespace() || c.is_control() || "\"'<>`".contains(c));
    if line.is_empty() {
        return PastedLine::Empty;
    }
    let query = line.split_once('?').map_or(line, |(_, query)| query);
    let query = query.split('#').next().unwrap_or(query);
    match parse_query(query, state) {
        RedirectQuery::NotARedirect if line.starts_with("https://accounts.google.") => {
            PastedLine::ConsentPage
        }
        RedirectQuery::NotARedirect => match parse_code(line).map(AuthorizationResponse::Code) {
            Some(response) => PastedLine::Redirect(RedirectQuery::Response(response)),
            None => PastedLine::Unrecognized,
        },
        redirect => PastedLine::Redirect(redirect),
    }
}

fn parse_query(query: &str, state: &CsrfToken) -> RedirectQuery {
    let field = |name: &str| -> Option<Cow<'_, str>> {
        form_urlencoded::parse(query.as_bytes())
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value)
    };
    let (code, error) = (field("code"), field("error"));
    if code.is_none() && error.is_none() {
        return RedirectQuery::NotARedirect;
    }
    // `CsrfToken` compares digests, so that the time that it takes reveals nothing.
    let returned = field("state").map(|state| CsrfToken::new(state.into_owned()));
    if returned.is_none_or(|returned| returned != *state) {
        return RedirectQuery::WrongState;
    }
    RedirectQuery::Response(match (code, error) {
        (_, Some(error)) if error == "access_denied" => AuthorizationResponse::Denied,
        (_, Some(error)) => AuthorizationResponse::Error(error.into_owned()),
        (Some(code), None) if code.len() <= MAX_CODE_LENGTH => {
            AuthorizationResponse::Code(Secret::new(code.into_owned()))
        }
        _ => return RedirectQuery::NotARedirect,
    })
}

/// Parses an authorization code alone, plain or percent-encoded (`4%2F0…`). It comes without a state:
/// the user's pasting and the PKCE code verifier prove that it belongs to our request.
fn parse_code(text: &str) -> Option<Secret> {
    let escaped = format!("code={}", text.replace('+', "%2B"));
    let (_, plain) = form_urlencoded::parse(escaped.as_bytes()).next()?;
    let is_code_character = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    let is_code = plain.starts_with("4/")
        && plain.len() <= MAX_CODE_LENGTH
        && plain.chars().all(is_code_character);
    is_code.then(|| Secret::new(plain.into_owned()))
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
    fn a_request_target_is_parsed() {
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
            assert_eq!(parse_request_target(target, &state()), expected, "{target}");
        }
    }

    #[test]
    fn the_user_may_paste_the_address_or_the_code() {
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
            assert_eq!(parse_pasted_line(&line, &state()), expected, "{line:?}");
        }
    }

    #[test]
    fn other_pasted_lines_are_no_code() {
        let consent_page =
            "https://accounts.google.com/o/oauth2/v2/auth?client_id=x&state=s%2Bt%2Fa%3Dte";
        let cases = [
            ("", PastedLine::Empty),
            (" \n", PastedLine::Empty),
            (consent_page, PastedLine::ConsentPage),
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
            assert_eq!(parse_pasted_line(line, &state()), expected, "{line}");
        }
        let too_long = format!("4/{}", "x".repeat(MAX_CODE_LENGTH));
        assert_eq!(
            parse_pasted_line(&too_long, &state()),
            PastedLine::Unrecognized
        );
    }
}
