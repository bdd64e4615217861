//! What a browser brings back from Google, or a person pastes (RFC 6749 4.1.2, RFC 8252 7.3).

use std::borrow::Cow;

use oauth2::CsrfToken;
use oauth2::url::form_urlencoded;

use crate::secret::Secret;

/// Google's codes have 256 octets at most; more is something else.
const LONGEST_CODE: usize = 512;

/// What Google answers to this attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The person consents: the code to exchange.
    Code(Secret),
    /// The person does not.
    Denied,
    /// Google refuses: its code for why.
    Refused(String),
}

/// What an address says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// Google's answer.
    Answer(Answer),
    /// It belongs to another attempt, or is forged.
    WrongState,
    /// It is no answer of Google's at all.
    Other,
}

/// What a person pasted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pasted {
    /// An address, or the code alone.
    Redirect(Redirect),
    /// An empty line.
    Nothing,
    /// The address of Google's page, before its end.
    TooEarly,
    /// None of these.
    Garbage,
}

/// Reads the target of an HTTP request (RFC 9112 3.2.1).
pub(super) fn of_request(target: &str, state: &CsrfToken) -> Redirect {
    match target.split_once('?') {
        Some(("/", query)) => of_query(query, state),
        _ => Redirect::Other,
    }
}

/// Reads a line that a person pasted: an address, a part of it that holds the query, or the code.
pub(super) fn of_pasted(line: &str, state: &CsrfToken) -> Pasted {
    let line =
        line.trim_matches(|c: char| c.is_whitespace() || c.is_control() || "\"'<>`".contains(c));
    if line.is_empty() {
        return Pasted::Nothing;
    }
    let (before, after) = line.split_once('?').unwrap_or(("", line));
    let query = after.split('#').next().unwrap_or(after);
    match of_query(query, state) {
        Redirect::Other => {}
        redirect => return Pasted::Redirect(redirect),
    }
    if before.starts_with("https://accounts.google.")
        || line.starts_with("https://accounts.google.")
    {
        return Pasted::TooEarly;
    }
    match code(line) {
        Some(code) => Pasted::Redirect(Redirect::Answer(Answer::Code(code))),
        None => Pasted::Garbage,
    }
}

fn of_query(query: &str, state: &CsrfToken) -> Redirect {
    let field = |name: &str| -> Option<Cow<'_, str>> {
        form_urlencoded::parse(query.as_bytes())
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value)
    };
    let (code, error) = (field("code"), field("error"));
    if code.is_none() && error.is_none() {
        return Redirect::Other;
    }
    // The library compares digests: how far they agree is not to be seen in the time it takes.
    let brought = field("state").map(|state| CsrfToken::new(state.into_owned()));
    if brought.is_none_or(|brought| brought != *state) {
        return Redirect::WrongState;
    }
    match (code, error) {
        (_, Some(error)) if error == "access_denied" => Redirect::Answer(Answer::Denied),
        (_, Some(error)) => Redirect::Answer(Answer::Refused(error.into_owned())),
        (Some(code), None) if code.len() <= LONGEST_CODE => {
            Redirect::Answer(Answer::Code(Secret::new(code.into_owned())))
        }
        _ => Redirect::Other,
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

    fn code_of(text: &str) -> Redirect {
        Redirect::Answer(Answer::Code(Secret::new(text.to_owned())))
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
                Redirect::Answer(Answer::Denied),
            ),
            (
                "/?error=org_internal&state=s%2Bt%2Fa%3Dte",
                Redirect::Answer(Answer::Refused("org_internal".to_owned())),
            ),
            ("/?code=4/0A&state=other", Redirect::WrongState),
            ("/?code=4/0A&state=", Redirect::WrongState),
            ("/?code=4/0A", Redirect::WrongState),
            ("/?error=access_denied", Redirect::WrongState),
            ("/?state=s%2Bt%2Fa%3Dte", Redirect::Other),
            ("/?code=&state=s%2Bt%2Fa%3Dte", Redirect::Other),
            ("/", Redirect::Other),
            ("/favicon.ico", Redirect::Other),
            (
                "/favicon.ico?code=4/0A&state=s%2Bt%2Fa%3Dte",
                Redirect::Other,
            ),
            ("*", Redirect::Other),
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
            let expected = Pasted::Redirect(code_of("4/0A-b"));
            assert_eq!(of_pasted(&line, &state()), expected, "{line:?}");
        }
    }

    #[test]
    fn what_else_is_pasted_is_no_code() {
        let early = "https://accounts.google.com/o/oauth2/v2/auth?client_id=x&state=s%2Bt%2Fa%3Dte";
        let cases = [
            ("", Pasted::Nothing),
            (" \n", Pasted::Nothing),
            (early, Pasted::TooEarly),
            ("https://accounts.google.com/signin", Pasted::TooEarly),
            (
                "http://127.0.0.1:1/?code=4/0A&state=x",
                Pasted::Redirect(Redirect::WrongState),
            ),
            (
                "http://127.0.0.1:1/?code=4/0A",
                Pasted::Redirect(Redirect::WrongState),
            ),
            (
                "?error=access_denied&state=s%2Bt%2Fa%3Dte",
                Pasted::Redirect(Redirect::Answer(Answer::Denied)),
            ),
            ("yes", Pasted::Garbage),
            ("5/0A-b", Pasted::Garbage),
            ("4/0A b", Pasted::Garbage),
            ("4/\u{202e}", Pasted::Garbage),
            ("4%2F0%00", Pasted::Garbage),
            ("http://127.0.0.1:8080/", Pasted::Garbage),
        ];
        for (line, expected) in cases {
            assert_eq!(of_pasted(line, &state()), expected, "{line}");
        }
        let endless = format!("4/{}", "x".repeat(LONGEST_CODE));
        assert_eq!(of_pasted(&endless, &state()), Pasted::Garbage);
    }
}
