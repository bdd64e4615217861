//! The options of the Gmail double.

use std::time::Duration;

use crate::append::Unfinished;
use crate::clock::Clock;
use crate::tls::Certificate;

/// When a search finds an appended message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexDelay {
    /// At once.
    #[default]
    None,
    /// This long after it was stored, by the server's clock.
    For(Duration),
    /// After this many SEARCH commands that do not find it.
    Searches(u32),
}

/// How the server sends its capabilities after a log-in (GMAIL.md 1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PostLoginCapabilities {
    /// In an untagged line before the tagged OK.
    #[default]
    Untagged,
    /// As a code in the tagged OK.
    InCode,
    /// Nowhere.
    Omitted,
}

/// The error challenge for a rejected token (GMAIL.md 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Challenge {
    /// As observed.
    #[default]
    Status400,
    /// As in Google's documentation.
    Status401,
    /// As observed, after an untagged CAPABILITY line.
    AfterCapability,
}

impl Challenge {
    /// The JSON of the challenge.
    pub(crate) fn json(self) -> &'static str {
        match self {
            Challenge::Status401 => {
                r#"{"status":"401","schemes":"bearer mac","scope":"https://mail.google.com/"}"#
            }
            _ => r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#,
        }
    }
}

/// The response to a valid APPEND (GMAIL.md 3.1, 3.2, 2.4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AppendResponse {
    /// `OK [APPENDUID v u] (Success)`.
    #[default]
    Normal,
    /// `OK (Success)`, and the message is stored.
    WithoutUid,
    /// `OK (Success)`, and the message is not stored.
    WithoutUidNorMessage,
    /// `OK [APPENDUID v u](Success)`.
    WithoutBlank,
    /// `OK [APPENDUID v u] (Success) [THROTTLED]`.
    Throttled,
    /// This text after the tag, and the message is not stored.
    Refusal(String),
}

/// The behaviour of SEARCH HEADER (GMAIL.md 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderSearch {
    /// As in RFC 3501.
    #[default]
    Normal,
    /// Values with `{`, `}`, `!`, `&` or `%` are never found, nor by X-GM-RAW.
    MissesOddValues,
    /// Responds BAD.
    Refused,
}

/// The names of the system folders (GMAIL.md 1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// `[Gmail]/Bin`.
    #[default]
    British,
    /// `[Gmail]/Trash`.
    American,
    /// `[Google Mail]/Papierkorb`, with umlauts in modified UTF-7.
    German,
    /// Every name in modified UTF-7.
    Chinese,
}

impl Language {
    /// The parent folder, and All Mail, Trash, Drafts, Important, Sent, Spam, Starred.
    pub(crate) fn names(self) -> (&'static str, [&'static str; 7]) {
        let english = |trash| {
            [
                "All Mail",
                trash,
                "Drafts",
                "Important",
                "Sent Mail",
                "Spam",
                "Starred",
            ]
        };
        match self {
            Language::British => ("[Gmail]", english("Bin")),
            Language::American => ("[Gmail]", english("Trash")),
            Language::German => (
                "[Google Mail]",
                [
                    "Alle Nachrichten",
                    "Papierkorb",
                    "Entw&APw-rfe",
                    "Wichtig",
                    "Gesendet",
                    "Spam",
                    "Markiert",
                ],
            ),
            Language::Chinese => (
                "[Gmail]",
                [
                    "&YkBnCZCuTvY-",
                    "&V4NXPmh2-",
                    "&g0l6Pw-",
                    "&kc2JgQ-",
                    "&XfJT0ZCuTvY-",
                    "&V4NXPpCuTvY-",
                    "&XfJSoGYfaAc-",
                ],
            ),
        }
    }
}

/// How Gmail is today.
#[derive(Debug, Clone)]
pub struct GmailOptions {
    /// The address of the account.
    pub user: String,
    /// The kind of certificate; read at the start only.
    pub certificate: Certificate,
    /// The server's clock; read at the start only.
    pub clock: Clock,
    /// The names of the system folders; read at the start only.
    pub language: Language,
    /// Special-use attributes (`\All`) of folders that are hidden in IMAP.
    pub hidden: Vec<String>,
    /// Capabilities to omit: `UIDPLUS`, `SASL-IR`, `X-GM-EXT-1`, `APPENDLIMIT`.
    pub without: Vec<String>,
    /// How the server sends its capabilities after a log-in.
    pub capabilities: PostLoginCapabilities,
    /// Lines to respond to every log-in with; `<T>` stands for the tag; see `login_rejections`.
    pub login_response: Option<Vec<String>>,
    /// The error challenge for a rejected token.
    pub challenge: Challenge,
    /// Whether what is appended is counted and forgotten; see `Gmail::discarded`.
    pub discards_mail: bool,
    /// Whether a message that is appended twice is kept once (GMAIL.md 3.4).
    pub deduplicates: bool,
    /// When a search finds an appended message.
    pub index_delay: IndexDelay,
    /// The behaviour of SEARCH HEADER.
    pub header_search: HeaderSearch,
    /// The response to a valid APPEND.
    pub append_response: AppendResponse,
    /// Whether an APPEND is rejected only after its literal.
    pub refuses_after_literal: bool,
    /// The effect of an APPEND that was cut after its literal.
    pub unfinished: Unfinished,
    /// APPENDLIMIT (GMAIL.md 1.3).
    pub append_limit: usize,
    /// The limit of simultaneous sessions (GMAIL.md 6.1).
    pub most_sessions: usize,
    /// The storage of the account, in octets. What does not fit is rejected; the text is not known
    /// from a captured session (GMAIL.md 3.2).
    pub storage: usize,
    /// The octets a day by APPEND beyond which the account is locked out (GMAIL.md 6.1).
    pub daily_upload: usize,
    /// The octets a day by FETCH beyond which the account is locked out.
    pub daily_download: usize,
    /// The duration of the lock-out.
    pub lockout: Duration,
}

impl Default for GmailOptions {
    fn default() -> GmailOptions {
        GmailOptions {
            user: "user@gmail.com".to_owned(),
            certificate: Certificate::default(),
            clock: Clock::default(),
            language: Language::default(),
            hidden: Vec::new(),
            without: Vec::new(),
            capabilities: PostLoginCapabilities::default(),
            login_response: None,
            challenge: Challenge::default(),
            discards_mail: false,
            deduplicates: true,
            index_delay: IndexDelay::default(),
            header_search: HeaderSearch::default(),
            append_response: AppendResponse::default(),
            refuses_after_literal: false,
            unfinished: Unfinished::default(),
            append_limit: 35_651_584,
            most_sessions: 15,
            storage: 31_457_280 * 1024,
            daily_upload: 500_000_000,
            daily_download: 2_500_000_000,
            lockout: Duration::from_hours(24),
        }
    }
}

/// Every observed response to a rejected log-in (GMAIL.md 2.3, 1.4), for
/// `GmailOptions::login_response`.
#[must_use]
pub fn login_rejections() -> Vec<Vec<String>> {
    let single = [
        "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
        "NO [ALERT] Invalid credentials (Failure)",
        "NO Lookup failed cf29mb85450632edb",
        "NO [ALERT] IMAP access is disabled for your domain. Please contact your domain administrator for questions about this feature. (Failure)",
        "NO [ALERT] Your account is not enabled for IMAP use. Please visit your Gmail settings page and enable your account for IMAP access. (Failure)",
        "NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)",
        "NO [ALERT] Too many simultaneous connections. (Failure)",
        "NO [ALERT] Account exceeded command or bandwidth limits. (Failure)",
        "NO [UNAVAILABLE] Temporary System Problem. Try again later. (Failure)",
        "NO [UNAVAILABLE] Temporary System Error",
        "NO [UNAVAILABLE] Temporary System Problem (Failure)",
        "NO [ALERT] Lockdown in sector 4 (Failure)",
    ];
    let mut responses: Vec<Vec<String>> = single
        .iter()
        .map(|line| vec![format!("<T> {line}")])
        .collect();
    responses.push(vec![
        "* NO [WEBALERT https://accounts.google.com/signin/continue?sarp=1] Web login required."
            .to_owned(),
        "<T> NO [ALERT] Please log in via your web browser: \
         https://support.google.com/mail/accounts/answer/78754 (Failure)"
            .to_owned(),
    ]);
    responses
}
