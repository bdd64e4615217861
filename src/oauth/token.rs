//! The access token of a Gmail account: loads, renews and saves it.
//!
//! Tokens, the client secret and the token endpoint's responses never appear in a log line or an
//! error.

use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::atomic_file::WriteGuard;
use crate::error::{Consequence, Error, ErrorKind, Result};
use crate::oauth::endpoint::{AuthorizationGrant, Endpoint, EndpointError, IssuedTokens};
use crate::oauth::renewal::{RememberedRejection, Renewal, RenewalPolicy};
use crate::oauth::token_file::TokenFile;
use crate::oauth::token_health::TokenHealth;
use crate::process::cancel::Canceller;
use crate::secret::Secret;

mod rejection;

/// An access token is renewed this long before it expires, so that no log-in is sent with an expired
/// one.
const RENEWAL_MARGIN: TimeDelta = TimeDelta::minutes(4);

/// What is being done, for error messages.
const RENEWING: &str = "renewing the access token";

/// The access token of one Gmail account, renewed when necessary.
pub struct Token {
    file: TokenFile,
    ca_file: Option<PathBuf>,
    endpoint: Option<Endpoint>,
    canceller: Canceller,
    remembered_rejection: Option<RememberedRejection>,
    /// The error of a rejection in this run: another log-in of this run fails with the same.
    rejection_error: Option<Error>,
    policy: RenewalPolicy,
    last_renewal: Option<Renewal>,
    has_warned_unsaved: bool,
    /// Whether Google replaced the refresh token and the new one could not be saved yet: the one in
    /// the file is no longer valid.
    is_rotation_unsaved: bool,
}

impl Token {
    /// Reads the token file. The token endpoint is verified by `ca_file`, or the system's roots;
    /// error messages recommend `auth_command` to obtain a new token.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: the file cannot be read, or is not in google-auth's format.
    pub fn load(
        path: &Path,
        ca_file: Option<&Path>,
        auth_command: &str,
        remembered_rejection: Option<RememberedRejection>,
    ) -> Result<Token> {
        Ok(Token {
            file: read_file(path, auth_command)?,
            ca_file: ca_file.map(Path::to_owned),
            endpoint: None,
            canceller: Canceller::default(),
            remembered_rejection,
            rejection_error: None,
            policy: RenewalPolicy::Save,
            last_renewal: None,
            has_warned_unsaved: false,
            is_rotation_unsaved: false,
        })
    }

    /// Its renewals can be cancelled.
    #[must_use]
    pub fn with_canceller(self, canceller: Canceller) -> Token {
        Token { canceller, ..self }
    }

    /// It is renewed by this policy.
    #[must_use]
    pub fn with_policy(self, policy: RenewalPolicy) -> Token {
        Token { policy, ..self }
    }

    /// Whether it has a refresh token: without one it can be used for about an hour.
    pub(crate) fn is_renewable(&self) -> bool {
        self.file.refresh().is_some()
    }

    /// A warning if a renewal sends secrets to another host than Google's.
    pub(crate) fn foreign_host_warning(&self) -> Option<String> {
        self.file.foreign_host_warning()
    }

    /// What the last renewal showed, if there was one.
    pub(crate) fn last_renewal(&self) -> Option<Renewal> {
        self.last_renewal
    }

    /// Whether the file says that the token is for mail; `None` if it does not say.
    pub(crate) fn names_mail_scope(&self) -> Option<bool> {
        self.file.names_mail_scope()
    }

    /// Whether the access token can be used without a renewal.
    #[must_use]
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.file.access().is_some() && !self.needs_renewal(now)
    }

    /// Returns an access token that is valid for some minutes, after a renewal if necessary.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`]: Google rejects the refresh token, now or as remembered.
    /// [`ErrorKind::Unavailable`]: the token endpoint is unavailable. [`ErrorKind::Disk`]: a new
    /// refresh token cannot be saved.
    pub fn access(&mut self, now: DateTime<Utc>) -> Result<Secret> {
        self.reload_if_changed();
        if self.is_rotation_unsaved {
            self.save(self.file.lock(), true)?;
        }
        self.check_remembered_rejection(now)?;
        match self.file.access() {
            Some(access) if !self.needs_renewal(now) => Ok(access),
            _ => self.request_renewal(now),
        }
    }

    /// Returns another access token than `rejected`, with which Gmail rejected a log-in.
    ///
    /// # Errors
    /// As [`access`](Token::access). [`ErrorKind::Rejected`] also without a refresh token.
    pub fn renew(&mut self, rejected: &Secret, now: DateTime<Utc>) -> Result<Secret> {
        self.reload_if_changed();
        self.check_remembered_rejection(now)?;
        match self.file.access() {
            // Another connection or another program has renewed it.
            Some(access) if access != *rejected && !self.needs_renewal(now) => Ok(access),
            _ => self.request_renewal(now),
        }
    }

    /// When the access token expires, and with it every session that logged in with it; `None` if
    /// that is unknown.
    #[must_use]
    pub fn expires(&self) -> Option<DateTime<Utc>> {
        self.file.expiry().filter(|_| self.file.refresh().is_some())
    }

    /// What is known about the refresh token's age and expiry.
    pub(crate) fn health(&self) -> TokenHealth {
        self.file.health()
    }

    /// The remedy for a token that cannot be renewed: a new one.
    pub(crate) fn new_token_remedy(&self) -> &str {
        self.file.new_token_remedy()
    }

    /// Identifies the refresh token in the state; without one, the access token.
    #[must_use]
    pub fn refresh_token_digest(&self) -> String {
        let token = self.file.refresh().or_else(|| self.file.access());
        let hash: [u8; 32] = Sha256::digest(token.as_ref().map_or("", Secret::expose)).into();
        hash.iter()
            .take(8)
            .fold(String::new(), |hex, octet| format!("{hex}{octet:02x}"))
    }

    /// What later runs must remember when Gmail rejects even a new access token.
    pub(crate) fn login_rejection(&self, user: &str, remedy: String) -> Consequence {
        Consequence::LoginRejected {
            refresh_token: self.refresh_token_digest(),
            user: user.to_owned(),
            remedy,
        }
    }

    fn needs_renewal(&self, now: DateTime<Utc>) -> bool {
        // Without a refresh token the access token is used until Gmail rejects it.
        let is_renewable = self.file.refresh().is_some();
        // The difference cannot overflow, however absurd the time in the file is.
        let expires_soon = self
            .file
            .expiry()
            .is_none_or(|expiry| expiry.signed_duration_since(now) <= RENEWAL_MARGIN);
        is_renewable && expires_soon
    }

    /// Reloads the file if the user or another program has changed it.
    fn reload_if_changed(&mut self) {
        if let Some(changed) = self.file.changed() {
            log::debug!("reloaded the token file, which has changed");
            self.file = changed;
            self.is_rotation_unsaved = false;
        }
    }

    fn request_renewal(&mut self, now: DateTime<Utc>) -> Result<Secret> {
        let Some(refresh) = self.file.refresh() else {
            let what = "Gmail rejected the access token, and there is no refresh_token to renew it";
            let error = self.file.unusable(ErrorKind::Rejected, what);
            let remedy = self.new_token_remedy().to_owned();
            return Err(error.with_consequence(self.token_rejection(remedy)));
        };
        if self.policy == RenewalPolicy::Never {
            let what = "the access token has expired, and a dry run does not renew it";
            return Err(self.file.error(ErrorKind::Unavailable, what));
        }
        if self.policy == RenewalPolicy::KeepInMemory && self.file.foreign_host_warning().is_some()
        {
            return Err(self.file.unasked_host_error());
        }
        let Some(client) = self.file.client() else {
            let what = "has no client_id, so that the access token cannot be renewed";
            return Err(self.file.unusable(ErrorKind::Config, what));
        };
        let endpoint = if let Some(endpoint) = self.endpoint.take() {
            endpoint
        } else {
            if let Some(warning) = self.file.foreign_host_warning() {
                log::warn!("{warning}");
            }
            Endpoint::new(&client.token_uri, self.ca_file.as_deref())?
                .with_canceller(self.canceller.clone())
        };
        let endpoint = self.endpoint.insert(endpoint);
        let result = endpoint.request_token(&client, AuthorizationGrant::RefreshToken(&refresh));
        let tokens = result.map_err(|failure| {
            let error = match failure {
                EndpointError::Rejected(rejection) => {
                    self.rejection_error(&client, &rejection, now)
                }
                EndpointError::Unavailable(error) => {
                    error.remedy("later runs try again (if this persists, check token_uri)")
                }
            };
            error.during(RENEWING)
        })?;
        if !tokens.has_mail_scope {
            let what = "the token gives no access to mail: the box for it was not ticked";
            let error = client.endpoint_error(ErrorKind::Rejected, what);
            log::warn!("{}", error.during(RENEWING).remedy(self.new_token_remedy()));
        }
        self.store_renewal(&tokens, &refresh, now)?;
        Ok(tokens.access)
    }

    /// Applies and saves the tokens that were issued for `refresh`.
    fn store_renewal(
        &mut self,
        tokens: &IssuedTokens,
        refresh: &Secret,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let is_rotated = tokens.refresh.as_ref().is_some_and(|new| new != refresh);
        let was_rotated = self
            .last_renewal
            .is_some_and(|renewal| renewal.is_rotation_unsaved);
        self.last_renewal = Some(Renewal {
            has_mail_scope: tokens.has_mail_scope,
            server_time: tokens.server_time,
            // A second renewal sends the new refresh token, which need not be replaced again.
            is_rotation_unsaved: was_rotated
                || is_rotated && self.policy == RenewalPolicy::KeepInMemory,
        });
        if self.policy == RenewalPolicy::KeepInMemory {
            self.file.store_tokens(tokens, now);
            return Ok(());
        }
        let guard = self.file.lock();
        // The user may have obtained a new token during the request; it must not be overwritten.
        if let Some(changed) = self.file.changed()
            && changed.refresh().as_ref() != Some(refresh)
        {
            log::debug!("the token file was replaced during the renewal, and is left unchanged");
            self.file = changed;
            return Ok(());
        }
        self.file.store_tokens(tokens, now);
        log::debug!(
            "renewed the access token, which expires in {} minutes",
            tokens.expires_in.as_secs() / 60
        );
        self.save(guard, is_rotated)
    }

    /// Saves a renewed token. A failure is an error only if the refresh token was replaced: the next
    /// run would need the new one.
    fn save(&mut self, guard: io::Result<WriteGuard>, is_rotated: bool) -> Result<()> {
        self.is_rotation_unsaved |= is_rotated;
        match guard.and_then(|guard| self.file.save(&guard)) {
            Ok(()) => self.is_rotation_unsaved = false,
            Err(error) if self.is_rotation_unsaved => {
                let what = format!("the new refresh token cannot be saved: {error}");
                return Err(self.file.error(ErrorKind::Disk, what).remedy(
                    "make the file and its folder writable: the old token is no longer valid",
                ));
            }
            Err(error) if !self.has_warned_unsaved => {
                self.has_warned_unsaved = true;
                let what =
                    format!("the renewed token cannot be saved and is used from memory: {error}");
                log::warn!("{}", self.file.error(ErrorKind::Disk, what));
            }
            Err(_) => {}
        }
        Ok(())
    }
}

/// Checks that the token file can be read and is in google-auth's format; contacts nobody.
pub(crate) fn check_token_file(path: &Path, auth_command: &str) -> Result<()> {
    read_file(path, auth_command).map(drop)
}

fn read_file(path: &Path, auth_command: &str) -> Result<TokenFile> {
    TokenFile::read(path, &format!("make a new token by \"{auth_command}\""))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;

    use serde_json::{Value, json};

    use super::*;

    /// A token endpoint that sends these responses, one a connection, and records the requests.
    struct Google {
        uri: String,
        requests: Receiver<String>,
    }

    impl Google {
        fn with_responses(responses: &[&str]) -> Google {
            Google::with_responses_after(responses, || {})
        }

        /// Calls `before` before each response.
        fn with_responses_after(responses: &[&str], before: impl Fn() + Send + 'static) -> Google {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let uri = format!("http://{}/token", listener.local_addr().unwrap());
            let (sender, requests) = channel();
            let responses: Vec<String> = responses.iter().map(|&text| text.to_owned()).collect();
            thread::spawn(move || {
                for response in responses {
                    let (stream, _) = listener.accept().unwrap();
                    let mut reader = BufReader::new(stream);
                    let mut length = 0;
                    loop {
                        let mut line = String::new();
                        reader.read_line(&mut line).unwrap();
                        let line = line.trim().to_ascii_lowercase();
                        if let Some(value) = line.strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                        if line.is_empty() {
                            break;
                        }
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    sender.send(String::from_utf8(body).unwrap()).unwrap();
                    before();
                    reader.into_inner().write_all(response.as_bytes()).unwrap();
                }
            });
            Google { uri, requests }
        }

        fn request_count(&self) -> usize {
            self.requests.try_iter().count()
        }
    }

    fn response(status: u16, kind: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 {status} Whatever\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
    }

    fn issued(extra: &str) -> String {
        let body = format!(
            r#"{{"access_token":"NEW","expires_in":3599,"scope":"https://mail.google.com/","token_type":"Bearer"{extra}}}"#
        );
        response(200, "application/json; charset=utf-8", &body)
    }

    fn noon() -> DateTime<Utc> {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    /// A token file in a folder of its own.
    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
        fn with(uri: &str, expiry: &str) -> Files {
            let files = Files {
                folder: tempfile::tempdir().unwrap(),
            };
            files.write(&json!({
                "token": "OLD", "refresh_token": "REFRESH", "client_id": "ID",
                "client_secret": "SECRET", "token_uri": uri, "expiry": expiry, "account": "",
            }));
            files
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("token.json")
        }

        fn write(&self, fields: &Value) {
            fs::write(self.path(), fields.to_string()).unwrap();
        }

        fn read(&self) -> Value {
            serde_json::from_slice(&fs::read(self.path()).unwrap()).unwrap()
        }

        fn load(&self) -> Token {
            Token::load(&self.path(), None, "auth", None).unwrap()
        }
    }

    fn access(token: &mut Token) -> String {
        token.access(noon()).unwrap().expose().to_owned()
    }

    #[test]
    fn a_token_is_renewed_four_minutes_before_it_expires() {
        let google = Google::with_responses(&[&issued("")]);
        let files = Files::with(&google.uri, "2026-11-22T12:04:01Z");
        let mut token = files.load();
        assert_eq!(access(&mut token), "OLD");
        assert!(token.is_valid(noon()));
        let later = noon() + TimeDelta::seconds(1);
        assert!(!token.is_valid(later));
        assert_eq!(token.access(later).unwrap().expose(), "NEW");
        let request = google.requests.recv().unwrap();
        for part in [
            "grant_type=refresh_token",
            "refresh_token=REFRESH",
            "client_id=ID",
            "client_secret=SECRET",
        ] {
            assert!(request.contains(part), "{request}");
        }
        let expected = json!({
            "token": "NEW", "refresh_token": "REFRESH", "client_id": "ID",
            "refresh_token_first_used": "2026-11-22T12:00:01.000000Z",
            "client_secret": "SECRET", "token_uri": google.uri, "account": "",
            "expiry": "2026-11-22T13:00:00.000000Z",
        });
        assert_eq!(files.read(), expected);
        assert_eq!(token.access(later).unwrap().expose(), "NEW");
        assert_eq!(google.request_count(), 0);
    }

    #[test]
    fn a_file_without_expiry_is_renewed_and_one_without_refresh_token_is_used_unchanged() {
        let google = Google::with_responses(&[&issued("")]);
        let files = Files::with(&google.uri, "some day");
        assert_eq!(access(&mut files.load()), "NEW");

        files.write(&json!({ "token": "ONLY", "expiry": "2001-01-01T00:00:00Z" }));
        let mut token = files.load();
        assert_eq!(access(&mut token), "ONLY");
        let error = token
            .renew(&Secret::new("ONLY".to_owned()), noon())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        let remedy = token.new_token_remedy().to_owned();
        assert_eq!(error.consequence(), Some(&token.token_rejection(remedy)));
    }

    #[test]
    fn a_rejected_access_token_is_renewed_unless_it_was_renewed_already() {
        let google = Google::with_responses(&[&issued("")]);
        let files = Files::with(&google.uri, "2026-11-22T13:00:00Z");
        let mut token = files.load();
        let old = token.access(noon()).unwrap();
        assert_eq!(token.renew(&old, noon()).unwrap().expose(), "NEW");
        assert_eq!(token.renew(&old, noon()).unwrap().expose(), "NEW");
        assert_eq!(google.request_count(), 1);
    }

    #[test]
    fn a_rotated_refresh_token_is_saved() {
        let google = Google::with_responses(&[&issued(
            r#","refresh_token":"ROTATED","refresh_token_expires_in":604799"#,
        )]);
        let files = Files::with(&google.uri, "2001-01-01T00:00:00Z");
        access(&mut files.load());
        assert_eq!(files.read()["refresh_token"], "ROTATED");
    }

    #[test]
    fn a_rotation_that_is_not_saved_is_known_after_another_renewal() {
        let rotated = issued(r#","refresh_token":"ROTATED""#);
        let google = Google::with_responses(&[&rotated, &issued("")]);
        let files = Files::with(&google.uri, "2001-01-01T00:00:00Z");
        let mut token = files.load().with_policy(RenewalPolicy::KeepInMemory);
        let rejected = token.access(noon()).unwrap();
        token.renew(&rejected, noon()).unwrap();
        assert_eq!(google.request_count(), 2);
        assert!(token.last_renewal().unwrap().is_rotation_unsaved);
        assert_eq!(files.read()["refresh_token"], "REFRESH");
    }

    #[test]
    fn a_failure_at_google_is_tried_three_times() {
        let html = response(502, "text/html", "<html>REFRESH</html>");
        let busy = response(
            429,
            "application/json",
            r#"{"error":"rate_limit_exceeded"}"#,
        );
        let google = Google::with_responses(&[&html, &busy, &issued("")]);
        let files = Files::with(&google.uri, "2001-01-01T00:00:00Z");
        assert_eq!(access(&mut files.load()), "NEW");

        let internal = response(400, "application/json", r#"{"error":"internal_failure"}"#);
        let cases = [
            (html.as_str(), "responds with HTTP status 502"),
            (&busy, "responds with HTTP status 429"),
            (&internal, "responds with HTTP status 400"),
            ("", ""),
            (
                &response(200, "text/html", "<html>REFRESH"),
                "cannot be read",
            ),
            (
                &response(200, "application/json", r#"{"REFRESH":1}"#),
                "cannot be read",
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/REFRESH\r\nContent-Length: 0\r\n\r\n",
                "redirect",
            ),
            (
                &response(200, "application/json", &"x".repeat(100_000)),
                "limit",
            ),
        ];
        for (response, expected) in cases {
            let google = Google::with_responses(&[response; 3]);
            let files = Files::with(&google.uri, "2001-01-01T00:00:00Z");
            let error = files.load().access(noon()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert_eq!(google.request_count(), 3, "{error}");
            let line = error.to_string();
            assert!(
                line.contains(expected) && !line.contains("REFRESH"),
                "{line}"
            );
            assert_eq!(error.consequence(), None);
        }
    }

    #[test]
    fn each_rejection_names_its_likely_causes() {
        let cases = [
            (
                400,
                r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#,
                "7 days",
                true,
            ),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"Bad Request"}"#,
                "6 months",
                true,
            ),
            (
                400,
                r#"{"error":"invalid_grant","error_subtype":"invalid_rapt"}"#,
                "session control",
                true,
            ),
            (
                401,
                r#"{"error":"invalid_client","error_description":"The OAuth client was not found."}"#,
                "client_id",
                false,
            ),
            (
                401,
                r#"{"error":"invalid_client","error_description":"Unauthorized"}"#,
                "client_secret",
                false,
            ),
            (
                401,
                r#"{"error":"deleted_client","error_description":"The OAuth client was deleted."}"#,
                "was deleted",
                false,
            ),
            (
                400,
                r#"{"error":"invalid_request","error_description":"client_secret is missing."}"#,
                "needs the client_secret",
                false,
            ),
            (
                400,
                r#"{"error":"unsupported_grant_type"}"#,
                "Desktop app",
                false,
            ),
            (403, r#"{"error":"access_denied"}"#, "administrator", false),
            (
                400,
                r#"{"error":"odd","error_description":"it was REFRESH"}"#,
                "repeats a secret",
                false,
            ),
        ];
        for (status, body, expected, is_remembered) in cases {
            let google = Google::with_responses(&[&response(status, "application/json", body)]);
            let files = Files::with(&google.uri, "2001-01-01T00:00:00Z");
            let mut token = files.load();
            let error = token.access(noon()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
            let line = error.to_string();
            assert!(
                line.contains(expected) && !line.contains("REFRESH"),
                "{line}"
            );
            assert_eq!(error.consequence().is_some(), is_remembered, "{line}");
            assert_eq!(google.request_count(), 1);
        }
    }

    #[test]
    fn a_rejected_refresh_token_is_not_sent_again_until_its_retry_time_or_a_new_file() {
        let rejected = response(400, "application/json", r#"{"error":"invalid_grant"}"#);
        let google = Google::with_responses(&[&rejected, &rejected, &issued("")]);
        let files = Files::with(&google.uri, "2001-01-01T00:00:00Z");
        let mut token = files.load();
        let error = token.access(noon()).unwrap_err();
        let digest = "1c3108ccf1f5accf";
        let remembered = match error.consequence() {
            Some(Consequence::TokenRejected { refresh_token, .. }) => refresh_token.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(remembered, digest);
        assert_eq!(remembered, token.refresh_token_digest());
        // In the same run, where the log-in whose error is recorded may be another:
        let again = token.access(noon()).unwrap_err();
        assert_eq!(again.consequence(), error.consequence());
        // In the next one:
        let rejection = RememberedRejection {
            refresh_token: remembered,
            retry_after: noon() + TimeDelta::minutes(5),
            user: None,
            remedy: None,
        };
        let mut token = Token::load(&files.path(), None, "auth", Some(rejection)).unwrap();
        let error = token.access(noon()).unwrap_err();
        assert_eq!(
            (error.kind(), error.consequence()),
            (ErrorKind::Rejected, None)
        );
        assert_eq!(google.request_count(), 1);
        // At its retry time:
        let later = noon() + TimeDelta::minutes(5);
        assert!(token.access(later).unwrap_err().consequence().is_some());
        assert_eq!(google.request_count(), 1);
        // A new token file, at once:
        let mut fields = files.read();
        fields["refresh_token"] = json!("ANOTHER");
        files.write(&fields);
        assert_eq!(token.access(later).unwrap().expose(), "NEW");
    }

    #[test]
    fn only_a_rotated_refresh_token_must_be_saved() {
        let google =
            Google::with_responses(&[&issued(""), &issued(r#","refresh_token":"ROTATED""#)]);
        let files = Files::with(&google.uri, "2001-01-01T00:00:00Z");
        let mut token = files.load();
        // A folder in place of the file: not even root can replace it.
        let aside = files.folder.path().join("aside");
        fs::rename(files.path(), &aside).unwrap();
        fs::create_dir(files.path()).unwrap();
        assert_eq!(access(&mut token), "NEW");

        let later = noon() + TimeDelta::hours(2);
        assert_eq!(token.access(later).unwrap_err().kind(), ErrorKind::Disk);
        assert_eq!(token.access(later).unwrap_err().kind(), ErrorKind::Disk);
        fs::remove_dir(files.path()).unwrap();
        fs::rename(&aside, files.path()).unwrap();
        assert_eq!(token.access(later).unwrap().expose(), "NEW");
        assert_eq!(files.read()["refresh_token"], "ROTATED");
        assert_eq!(google.request_count(), 2);
    }

    #[test]
    fn a_token_file_that_is_replaced_during_a_renewal_is_left_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.json");
        let another = json!({
            "token": "THEIRS", "refresh_token": "ANOTHER", "expiry": "2026-11-22T13:00:00Z",
        });
        let another = another.to_string();
        let (to, text) = (path.clone(), another.clone());
        let google = Google::with_responses_after(&[&issued("")], move || {
            fs::write(&to, &text).unwrap();
        });
        let old = json!({ "refresh_token": "REFRESH", "client_id": "ID", "token_uri": google.uri });
        fs::write(&path, old.to_string()).unwrap();
        let mut token = Token::load(&path, None, "auth", None).unwrap();
        assert_eq!(access(&mut token), "NEW");
        assert_eq!(fs::read_to_string(&path).unwrap(), another);
        assert_eq!(access(&mut token), "THEIRS");
    }

    #[test]
    fn a_dry_run_uses_a_valid_token_and_does_not_renew_it() {
        let google = Google::with_responses(&[]);
        let files = Files::with(&google.uri, "2026-11-22T13:00:00Z");
        let mut token = files.load().with_policy(RenewalPolicy::Never);
        let old = token.access(noon()).unwrap();
        assert_eq!(
            token.renew(&old, noon()).unwrap_err().kind(),
            ErrorKind::Unavailable
        );
    }
}
