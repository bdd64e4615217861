//! The pages that the redirected browser shows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// A page that the browser shows after the redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ResultPage {
    /// The token is saved; the account, if the token was verified.
    Success { account: Option<String> },
    /// The user denied access.
    Denied,
    /// The state is that of another attempt.
    WrongState,
    /// The authorization code has expired.
    Expired,
    /// Any other failure; the terminal shows it.
    Failed,
    /// The response came before, from another tab or the terminal.
    AlreadyDone,
    /// The request is no redirect.
    NotFound,
    /// The request is not a valid GET.
    BadRequest,
}

/// Follows the user's colour scheme, and loads nothing.
const STYLE: &str = "\
:root{color-scheme:light dark;--back:#f6f7f9;--card:#fff;--text:#1d2430;--soft:#5a6475;--line:#dde2ea;\
--good:#18794e;--bad:#b3261e}\
@media(prefers-color-scheme:dark){:root{--back:#14171c;--card:#1d2229;--text:#e8ebf0;--soft:#a3adbd;\
--line:#323945;--good:#5fd39c;--bad:#ff8f86}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1.5rem;\
background:var(--back);color:var(--text);font:1rem/1.55 system-ui,-apple-system,\"Segoe UI\",sans-serif}\
main{width:100%;max-width:32rem;background:var(--card);border:1px solid var(--line);\
border-radius:12px;padding:2rem 2.25rem}\
h1{font-size:1.35rem;line-height:1.3;margin:0 0 .75rem;overflow-wrap:anywhere}\
h1.good::before{content:\"\\2713\\00a0\";color:var(--good)}\
h1.bad::before{content:\"!\\00a0\";color:var(--bad)}\
p{margin:.5rem 0 0;overflow-wrap:anywhere}\
footer{margin-top:1.5rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);\
font-size:.875rem}";

impl ResultPage {
    /// The HTTP response: head and body (RFC 9112).
    pub(super) fn response(&self) -> Vec<u8> {
        let body = self.html();
        let digest = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
        format!(
            "HTTP/1.1 {}\r\n\
             Content-Type: text/html; charset=utf-8\r\n\
             Content-Length: {}\r\n\
             Connection: close\r\n\
             Cache-Control: no-store\r\n\
             Content-Security-Policy: default-src 'none'; style-src 'sha256-{digest}'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
             X-Content-Type-Options: nosniff\r\n\
             Referrer-Policy: no-referrer\r\n\
             \r\n{body}",
            self.status(),
            body.len(),
        )
        .into_bytes()
    }

    fn status(&self) -> &'static str {
        match self {
            ResultPage::Success { .. } | ResultPage::Denied | ResultPage::AlreadyDone => "200 OK",
            ResultPage::WrongState | ResultPage::Expired | ResultPage::BadRequest => {
                "400 Bad Request"
            }
            ResultPage::Failed => "502 Bad Gateway",
            ResultPage::NotFound => "404 Not Found",
        }
    }

    fn html(&self) -> String {
        let class = match self {
            ResultPage::Success { .. } | ResultPage::AlreadyDone => "good",
            _ => "bad",
        };
        let (title, text) = self.content();
        let (title, text) = (escape_html(&title), escape_html(text));
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1 class=\"{class}\">{title}</h1>\n<p>{text}</p>\n\
             <footer>This page comes from the imap-to-gmail-sync that you started.</footer>\n</main>\n</body>\n</html>\n"
        )
    }

    /// The title, and what to do next.
    fn content(&self) -> (String, &'static str) {
        match self {
            ResultPage::Success {
                account: Some(account),
            } => (
                format!("Mail can now be copied to {account}"),
                "The token is saved and works. You can close this window.",
            ),
            ResultPage::Success { account: None } => (
                "The token is saved".to_owned(),
                "You can close this window.",
            ),
            ResultPage::Denied => (
                "Access was not allowed".to_owned(),
                "Nothing was saved. To try again, run the command again, and choose “Allow” or \
                 “Continue” at Google. You can close this window.",
            ),
            ResultPage::WrongState => (
                "This page belongs to another attempt".to_owned(),
                "The command that is waiting now ignored it. Open the address that the terminal \
                 shows, and close this window.",
            ),
            ResultPage::Expired => (
                "This consent has expired".to_owned(),
                "Google no longer accepts it: it is valid once, for a few minutes. Nothing was \
                 saved. Run the command again, and close this window.",
            ),
            ResultPage::Failed => (
                "The token was not saved".to_owned(),
                "The terminal says why. You can close this window.",
            ),
            ResultPage::AlreadyDone => (
                "Another window was quicker".to_owned(),
                "The command has already received a response. You can close this window.",
            ),
            ResultPage::NotFound => (
                "There is nothing here".to_owned(),
                "The command is waiting for Google's response. Open the address that the terminal \
                 shows.",
            ),
            ResultPage::BadRequest => ("This is not a valid request".to_owned(), "It was ignored."),
        }
    }
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_escaped_as_text() {
        let page = ResultPage::Success {
            account: Some("<script>\"a'&b@gmail.com".to_owned()),
        };
        let html = page.html();
        assert!(html.contains("&lt;script&gt;&quot;a&#39;&amp;b@gmail.com"));
        assert!(!html.contains("<script"));
    }

    #[test]
    fn the_content_length_counts_octets() {
        let response = String::from_utf8(ResultPage::Denied.response()).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(!body.is_ascii(), "it has “quotes”");
    }
}
