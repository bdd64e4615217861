//! The access token: load, renew, save.
//!
//! Tokens, the client's secret and what the token endpoint answers are never shown.

use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::atomic_file::WriteGuard;
use crate::error::{Consequence, Error, ErrorKind, Result, Side};
use crate::oauth::AuthorizationGrant;
use crate::oauth::ClientRegistration;
use crate::oauth::Endpoint;
use crate::oauth::EndpointError;
use crate::oauth::IssuedTokens;
use crate::oauth::OAuthError;
use crate::oauth::TokenHealth;
use crate::oauth::token_file::{TokenFile, moment};
use crate::secret::Secret;
use crate::untrusted::Untrusted;

/// Renewed this long before it expires: a log-in on the way must not meet a dead token.
const EARLY: TimeDelta = TimeDelta::minutes(4);

/// How long a refusal is believed within one run; the state knows the steps between runs.
const BELIEVED: TimeDelta = TimeDelta::minutes(1);

/// A refusal of Google's that is remembered from an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RememberedRejection {
    /// The digest of the refused refresh token.
    pub refresh_token: String,
    /// Google is not asked again before.
    pub retry_after: DateTime<Utc>,
}

/// The access token of one Gmail account, kept alive.
pub struct Token {
    file: TokenFile,
    ca_file: Option<PathBuf>,
    endpoint: Option<Endpoint>,
    remembered_rejection: Option<RememberedRejection>,
    is_read_only: bool,
    has_warned_unsaved: bool,
    /// A new refresh token is known here only: the one in the file is worth nothing any more.
    is_rotation_unsaved: bool,
}

impl Token {
    /// Reads the token file; `ca_file` is trusted at the token endpoint, else the system's roots.
    /// `auth_command` is what a person types to get another token.
    ///
    /// # Errors
    /// The file cannot be read, or is not google-auth's form ([`ErrorKind::Config`]).
    pub fn load(
        path: &Path,
        ca_file: Option<&Path>,
        auth_command: &str,
        refused: Option<RememberedRejection>,
    ) -> Result<Token> {
        let make_another = format!("make a new token by \"{auth_command}\"");
        Ok(Token {
            file: TokenFile::read(path, &make_another)?,
            ca_file: ca_file.map(Path::to_owned),
            endpoint: None,
            remembered_rejection: refused,
            is_read_only: false,
            has_warned_unsaved: false,
            is_rotation_unsaved: false,
        })
    }

    /// The same token for a dry run: never renewed, nothing written.
    #[must_use]
    pub fn read_only(mut self) -> Token {
        self.is_read_only = true;
        self
    }

    /// Says whether the access token can be used without renewing it.
    #[must_use]
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.file.access().is_some() && !self.needs_renewal(now)
    }

    /// An access token that lives for some minutes yet, renewed if need be.
    ///
    /// # Errors
    /// Google refuses the refresh token, now or as is remembered ([`ErrorKind::Rejected`]); the token
    /// endpoint cannot be reached ([`ErrorKind::Unavailable`]); a new refresh token cannot be saved
    /// ([`ErrorKind::Disk`]).
    pub fn access(&mut self, now: DateTime<Utc>) -> Result<Secret> {
        self.reload_if_changed();
        self.save_rotation()?;
        self.check_remembered_rejection(now)?;
        match self.file.access() {
            Some(access) if !self.needs_renewal(now) => Ok(access),
            _ => self.request_renewal(now),
        }
    }

    /// Another access token in place of `refused`, which Gmail did not take.
    ///
    /// # Errors
    /// As for [`access`](Token::access); without a refresh token, always.
    pub fn renew(&mut self, refused: &Secret, now: DateTime<Utc>) -> Result<Secret> {
        self.reload_if_changed();
        self.check_remembered_rejection(now)?;
        match self.file.access() {
            // Renewed meanwhile, by another connection or another program.
            Some(access) if access != *refused && !self.needs_renewal(now) => Ok(access),
            _ => self.request_renewal(now),
        }
    }

    /// When the access token expires, and with it every session that was opened with it; none if
    /// that is not known.
    #[must_use]
    pub fn expires(&self) -> Option<DateTime<Utc>> {
        self.file.expiry().filter(|_| self.file.refresh().is_some())
    }

    /// How the refresh token is: its age, and when it dies if that is known.
    #[must_use]
    pub fn health(&self) -> TokenHealth {
        self.file.health()
    }

    /// What a person does about a token that nothing can be done with.
    #[must_use]
    pub fn new_token_remedy(&self) -> &str {
        self.file.new_token_remedy()
    }

    /// How the state remembers which refresh token was refused; of a file that has none, which
    /// access token.
    #[must_use]
    pub fn refresh_token_digest(&self) -> String {
        let token = self.file.refresh().or_else(|| self.file.access());
        let hash: [u8; 32] = Sha256::digest(token.as_ref().map_or("", Secret::expose)).into();
        hash.iter()
            .take(8)
            .fold(String::new(), |hex, octet| format!("{hex}{octet:02x}"))
    }

    /// What to tell later runs when Gmail refuses even a fresh token.
    #[must_use]
    pub fn login_rejection(&self) -> Consequence {
        Consequence::LoginRejected {
            refresh_token: self.refresh_token_digest(),
        }
    }

    /// What to tell later runs when Google refuses to give another.
    fn token_rejection(&self) -> Consequence {
        Consequence::TokenRejected {
            refresh_token: self.refresh_token_digest(),
        }
    }

    fn needs_renewal(&self, now: DateTime<Utc>) -> bool {
        // Without a refresh token there is nothing to renew it with: used until it is refused.
        let can_be = self.file.refresh().is_some();
        let expires_soon = self
            .file
            .expiry()
            .is_none_or(|expiry| is_near(expiry, EARLY, now));
        can_be && expires_soon
    }

    /// Takes over what a person or another program wrote since.
    fn reload_if_changed(&mut self) {
        if let Some(changed) = self.file.changed() {
            log::debug!("the token file has changed and is read again");
            self.file = changed;
            self.is_rotation_unsaved = false;
        }
    }

    fn check_remembered_rejection(&self, now: DateTime<Utc>) -> Result<()> {
        let digest = self.refresh_token_digest();
        let holds = |refusal: &&RememberedRejection| {
            refusal.refresh_token == digest && now < refusal.retry_after
        };
        match self.remembered_rejection.as_ref().filter(holds) {
            None => Ok(()),
            Some(refusal) => {
                let until = moment(refusal.retry_after);
                let what =
                    format!("Google refused this token, and is not asked again before {until}");
                Err(self
                    .file
                    .error(ErrorKind::Rejected, what)
                    .remedy(self.new_token_remedy()))
            }
        }
    }

    fn request_renewal(&mut self, now: DateTime<Utc>) -> Result<Secret> {
        let Some(refresh) = self.file.refresh() else {
            let what = "Gmail refuses the access token, and there is no refresh_token to renew it";
            return Err(self
                .file
                .error(ErrorKind::Rejected, what)
                .remedy(self.new_token_remedy())
                .with_consequence(self.token_rejection()));
        };
        if self.is_read_only {
            let what = "the access token has expired, and a dry run does not renew it";
            return Err(self.file.error(ErrorKind::Unavailable, what));
        }
        let Some(application) = self.file.client() else {
            let what = "has no client_id, so that the access token cannot be renewed";
            return Err(self
                .file
                .error(ErrorKind::Config, what)
                .remedy(self.new_token_remedy()));
        };
        let endpoint = match self.endpoint.take() {
            Some(endpoint) => endpoint,
            None => Endpoint::new(&application.token_uri, self.ca_file.as_deref())
                .map_err(|error| error.on(Side::Token))?,
        };
        let answer = self
            .endpoint
            .insert(endpoint)
            .request_token(&application, AuthorizationGrant::Refresh(&refresh));
        let grant = match answer {
            Ok(grant) => grant,
            Err(EndpointError::Rejected(complaint)) => {
                return Err(self.rejection_error(&complaint, now));
            }
            Err(EndpointError::Unavailable(why)) => {
                return Err(self
                    .at_endpoint(ErrorKind::Unavailable, why)
                    .remedy("later runs try again (if it stays so, check token_uri)"));
            }
            Err(EndpointError::NotVerified(why)) => {
                return Err(self
                    .at_endpoint(ErrorKind::Unavailable, why)
                    .remedy("check token_uri, target_ca_file and this host's clock"));
            }
        };
        self.store_renewal(&grant, &refresh, now)?;
        Ok(grant.access)
    }

    /// Takes what a renewal by `refresh` gave, and saves it.
    fn store_renewal(
        &mut self,
        grant: &IssuedTokens,
        refresh: &Secret,
        now: DateTime<Utc>,
    ) -> Result<()> {
        if !grant.has_mail_scope {
            log::warn!(
                "{}",
                self.at_endpoint(
                    ErrorKind::Rejected,
                    "the token gives no access to mail: the box for it was not ticked",
                )
                .remedy(self.new_token_remedy())
            );
        }
        let held = self.file.lock();
        // A person made another one while Google was asked: what they made stands.
        if let Some(theirs) = self.file.changed()
            && theirs.refresh().as_ref() != Some(refresh)
        {
            log::debug!("the token file was replaced meanwhile; it stays as it is");
            self.file = theirs;
            return Ok(());
        }
        let is_rotated = grant.refresh.as_ref().is_some_and(|new| new != refresh);
        self.file.apply_renewal(grant, now);
        log::debug!(
            "the access token was renewed, and lives {} minutes",
            grant.expires_in.as_secs() / 60
        );
        self.save(held, is_rotated)
    }

    /// Saves a renewed token; that it cannot be is an error only if the next run would need it.
    fn save(&mut self, held: io::Result<WriteGuard>, is_rotated: bool) -> Result<()> {
        self.is_rotation_unsaved |= is_rotated;
        match held.and_then(|held| self.file.save(&held)) {
            Ok(()) => self.is_rotation_unsaved = false,
            Err(error) if self.is_rotation_unsaved => {
                let what = format!("the new refresh token cannot be saved: {error}");
                return Err(self.file.error(ErrorKind::Disk, what).remedy(
                    "make the file and its folder writable: the old token is worthless now",
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

    fn save_rotation(&mut self) -> Result<()> {
        if self.is_rotation_unsaved {
            self.save(self.file.lock(), true)?;
        }
        Ok(())
    }

    /// Puts Google's refusal into words, and remembers it for the rest of the run.
    fn rejection_error(&mut self, complaint: &OAuthError, now: DateTime<Utc>) -> Error {
        let secrets = [
            self.file.access(),
            self.file.refresh(),
            self.file.client().and_then(|app| app.client_secret),
        ];
        let said = complaint.describe(secrets.iter().flatten());
        let what = format!("Google refuses to renew the token: {said}");
        let error = self
            .at_endpoint(ErrorKind::Rejected, what)
            .remedy(self.remedy(complaint, now));
        if complaint.code() != "invalid_grant" {
            // It is the client that is refused: corrected, the same refresh token works again.
            return error;
        }
        self.remembered_rejection = Some(RememberedRejection {
            refresh_token: self.refresh_token_digest(),
            retry_after: now + BELIEVED,
        });
        error.with_consequence(self.token_rejection())
    }

    /// The likely causes of a refusal, and what a person does about them.
    fn remedy(&self, complaint: &OAuthError, now: DateTime<Utc>) -> String {
        let make_another = self.new_token_remedy();
        if complaint.is_admin_policy() {
            return "the administrator of the account's Workspace must allow the app".to_owned();
        }
        if complaint.code() == "invalid_grant" && complaint.is_session_control() {
            return format!(
                "the Workspace's session control asks for a new log-in from time to time: \
                 {make_another}"
            );
        }
        match complaint.client_remedy("the token file") {
            Some(mend) => format!("{mend} and {make_another}"),
            None => format!("{}: {make_another}", self.health().likely_causes(now)),
        }
    }

    fn at_endpoint(&self, kind: ErrorKind, what: impl std::fmt::Display) -> Error {
        let host = self.file.token_uri().url().host_str().unwrap_or_default();
        Error::new(Side::Token, kind, Untrusted::new(host), what)
            .during("renewing the access token")
    }
}

/// Saves a token that a person has just consented to, and gives what is known of its life.
pub(crate) fn save_consent(
    path: &Path,
    application: &ClientRegistration,
    grant: &IssuedTokens,
    refresh: &Secret,
    now: DateTime<Utc>,
) -> io::Result<TokenHealth> {
    let mut file = TokenFile::from_consent(path, application, grant, refresh, now);
    file.save(&WriteGuard::lock(path)?)?;
    Ok(file.health())
}

/// Says whether a moment is past or nearer than that, however absurd it is.
fn is_near(moment: DateTime<Utc>, near: TimeDelta, now: DateTime<Utc>) -> bool {
    moment.signed_duration_since(now) <= near
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

    /// A token endpoint that plays given answers, one a connection, and tells what it was asked.
    struct Google {
        uri: String,
        asked: Receiver<String>,
    }

    impl Google {
        fn answering(answers: &[&str]) -> Google {
            Google::answering_after(answers, || {})
        }

        /// The same, and does something before each answer.
        fn answering_after(answers: &[&str], before: impl Fn() + Send + 'static) -> Google {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let uri = format!("http://{}/token", listener.local_addr().unwrap());
            let (tell, asked) = channel();
            let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
            thread::spawn(move || {
                for answer in answers {
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
                    tell.send(String::from_utf8(body).unwrap()).unwrap();
                    before();
                    reader.into_inner().write_all(answer.as_bytes()).unwrap();
                }
            });
            Google { uri, asked }
        }

        fn asked(&self) -> usize {
            self.asked.try_iter().count()
        }
    }

    fn answer(status: u16, kind: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 {status} Whatever\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        )
    }

    fn grant(extra: &str) -> String {
        let body = format!(
            r#"{{"access_token":"NEW","expires_in":3599,"scope":"https://mail.google.com/","token_type":"Bearer"{extra}}}"#
        );
        answer(200, "application/json; charset=utf-8", &body)
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
        let google = Google::answering(&[&grant("")]);
        let files = Files::with(&google.uri, "2026-11-22T12:04:01Z");
        let mut token = files.load();
        assert_eq!(access(&mut token), "OLD");
        assert!(token.is_valid(noon()));
        let later = noon() + TimeDelta::seconds(1);
        assert!(!token.is_valid(later));
        assert_eq!(token.access(later).unwrap().expose(), "NEW");
        let asked = google.asked.recv().unwrap();
        for part in [
            "grant_type=refresh_token",
            "refresh_token=REFRESH",
            "client_id=ID",
            "client_secret=SECRET",
        ] {
            assert!(asked.contains(part), "{asked}");
        }
        let expected = json!({
            "token": "NEW", "refresh_token": "REFRESH", "client_id": "ID",
            "refresh_token_first_used": "2026-11-22T12:00:01.000000Z",
            "client_secret": "SECRET", "token_uri": google.uri, "account": "",
            "expiry": "2026-11-22T13:00:00.000000Z",
        });
        assert_eq!(files.read(), expected);
        assert_eq!(token.access(later).unwrap().expose(), "NEW");
        assert_eq!(google.asked(), 0);
    }

    #[test]
    fn a_file_without_expiry_is_renewed_and_one_without_refresh_token_is_used_as_it_is() {
        let google = Google::answering(&[&grant("")]);
        let files = Files::with(&google.uri, "some day");
        assert_eq!(access(&mut files.load()), "NEW");

        files.write(&json!({ "token": "ONLY", "expiry": "2001-01-01T00:00:00Z" }));
        let mut token = files.load();
        assert_eq!(access(&mut token), "ONLY");
        let error = token
            .renew(&Secret::new("ONLY".to_owned()), noon())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert_eq!(error.consequence(), Some(&token.token_rejection()));
    }

    #[test]
    fn a_refused_token_is_renewed_unless_another_has_done_so() {
        let google = Google::answering(&[&grant("")]);
        let files = Files::with(&google.uri, "2026-11-22T13:00:00Z");
        let mut token = files.load();
        let old = token.access(noon()).unwrap();
        assert_eq!(token.renew(&old, noon()).unwrap().expose(), "NEW");
        assert_eq!(token.renew(&old, noon()).unwrap().expose(), "NEW");
        assert_eq!(google.asked(), 1);
    }

    #[test]
    fn a_rotated_refresh_token_is_stored() {
        let google = Google::answering(&[&grant(
            r#","refresh_token":"ROTATED","refresh_token_expires_in":604799"#,
        )]);
        let files = Files::with(&google.uri, "2001-01-01T00:00:00Z");
        access(&mut files.load());
        assert_eq!(files.read()["refresh_token"], "ROTATED");
    }

    #[test]
    fn trouble_at_google_is_tried_three_times() {
        let html = answer(502, "text/html", "<html>REFRESH</html>");
        let busy = answer(
            429,
            "application/json",
            r#"{"error":"rate_limit_exceeded"}"#,
        );
        let google = Google::answering(&[&html, &busy, &grant("")]);
        let files = Files::with(&google.uri, "2001-01-01T00:00:00Z");
        assert_eq!(access(&mut files.load()), "NEW");

        let internal = answer(400, "application/json", r#"{"error":"internal_failure"}"#);
        let cases = [
            (html.as_str(), "answers with HTTP status 502"),
            (&busy, "answers with HTTP status 429"),
            (&internal, "answers with HTTP status 400"),
            ("", ""),
            (&answer(200, "text/html", "<html>REFRESH"), "cannot be read"),
            (
                &answer(200, "application/json", r#"{"REFRESH":1}"#),
                "cannot be read",
            ),
            (
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/REFRESH\r\nContent-Length: 0\r\n\r\n",
                "redirection",
            ),
            (
                &answer(200, "application/json", &"x".repeat(100_000)),
                "limit",
            ),
        ];
        for (answer, expected) in cases {
            let google = Google::answering(&[answer; 3]);
            let files = Files::with(&google.uri, "2001-01-01T00:00:00Z");
            let error = files.load().access(noon()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert_eq!(google.asked(), 3, "{error}");
            let line = error.to_string();
            assert!(
                line.contains(expected) && !line.contains("REFRESH"),
                "{line}"
            );
            assert_eq!(error.consequence(), None);
        }
    }

    #[test]
    fn each_refusal_names_its_likely_causes() {
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
            let google = Google::answering(&[&answer(status, "application/json", body)]);
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
            assert_eq!(google.asked(), 1);
        }
    }

    #[test]
    fn a_refused_refresh_token_is_not_asked_for_again_until_its_time_or_a_new_file() {
        let refused = answer(400, "application/json", r#"{"error":"invalid_grant"}"#);
        let google = Google::answering(&[&refused, &refused, &grant("")]);
        let files = Files::with(&google.uri, "2001-01-01T00:00:00Z");
        let mut token = files.load();
        let error = token.access(noon()).unwrap_err();
        let digest = "1c3108ccf1f5accf";
        let remembered = match error.consequence() {
            Some(Consequence::TokenRejected { refresh_token }) => refresh_token.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(remembered, digest);
        assert_eq!(remembered, token.refresh_token_digest());
        // In the same run, and in the next:
        assert_eq!(
            token.access(noon()).unwrap_err().kind(),
            ErrorKind::Rejected
        );
        let refusal = RememberedRejection {
            refresh_token: remembered,
            retry_after: noon() + TimeDelta::minutes(5),
        };
        let mut token = Token::load(&files.path(), None, "auth", Some(refusal)).unwrap();
        let error = token.access(noon()).unwrap_err();
        assert_eq!(
            (error.kind(), error.consequence()),
            (ErrorKind::Rejected, None)
        );
        assert_eq!(google.asked(), 1);
        // When its time has come:
        let later = noon() + TimeDelta::minutes(5);
        assert!(token.access(later).unwrap_err().consequence().is_some());
        assert_eq!(google.asked(), 1);
        // A new token file, at once:
        let mut fields = files.read();
        fields["refresh_token"] = json!("ANOTHER");
        files.write(&fields);
        assert_eq!(token.access(later).unwrap().expose(), "NEW");
    }

    #[test]
    fn only_a_rotated_refresh_token_must_be_saved() {
        let google = Google::answering(&[&grant(""), &grant(r#","refresh_token":"ROTATED""#)]);
        let files = Files::with(&google.uri, "2001-01-01T00:00:00Z");
        let mut token = files.load();
        // A folder in the place of the file: nobody can replace it, root neither.
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
        assert_eq!(google.asked(), 2);
    }

    #[test]
    fn a_token_file_that_is_replaced_during_a_renewal_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.json");
        let another = json!({
            "token": "THEIRS", "refresh_token": "ANOTHER", "expiry": "2026-11-22T13:00:00Z",
        });
        let another = another.to_string();
        let (to, text) = (path.clone(), another.clone());
        let google = Google::answering_after(&[&grant("")], move || {
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
    fn a_dry_run_uses_a_valid_token_and_renews_none() {
        let google = Google::answering(&[]);
        let files = Files::with(&google.uri, "2026-11-22T13:00:00Z");
        let mut token = files.load().read_only();
        let old = token.access(noon()).unwrap();
        assert_eq!(
            token.renew(&old, noon()).unwrap_err().kind(),
            ErrorKind::Unavailable
        );
    }
}
