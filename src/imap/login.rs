//! The log-in: AUTHENTICATE PLAIN, LOGIN or AUTHENTICATE XOAUTH2.

use std::collections::VecDeque;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::imap::Sign::{self, Text};
use crate::imap::client::{Client, Received};
use crate::imap::{Capabilities, Command, CommandError, Responses, Tag, has_sign, quoted};
use crate::secret::Secret;

/// More challenges than any log-in here has.
const MAX_CHALLENGES: usize = 5;

/// The longest literal that LITERAL- permits without waiting for the server (RFC 7888 5).
const MAX_LITERAL_MINUS: usize = 4096;

/// A NO with one of these is about the form of the log-in, not about the credentials.
const OTHER_FORM: &[Sign] = &[
    Text("mechanism"),
    Text("not supported"),
    Text("unsupported"),
];

/// The user and the credentials of a log-in.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user; with an access token, an address.
    pub user: String,
    /// The credentials.
    pub credentials: Credentials,
}

/// What proves who the user is.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A password.
    Password(Secret),
    /// An `OAuth2` access token (Google's XOAUTH2).
    AccessToken(Secret),
}

/// The form of a log-in. Servers announce forms that they do not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginForm {
    /// AUTHENTICATE with the response in the command (RFC 4959), which saves a round trip.
    InitialResponse,
    /// AUTHENTICATE; the response follows the server's `+`.
    TwoSteps,
    /// LOGIN.
    LoginCommand,
}

/// What is known from earlier log-ins of this user at this server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoginHistory {
    /// The form that the server took.
    pub accepted: Option<LoginForm>,
    /// Whether it rejected these credentials.
    pub is_rejected: bool,
    /// Whether it loses commands that arrive in one packet with others.
    pub loses_pipelined_commands: bool,
    /// Whether the connection broke behind the last log-in that others were sent with.
    pub pipeline_broke: bool,
}

/// What became of the commands that were sent together with a log-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LoginPipeline {
    /// There were none, or the server named another cause.
    #[default]
    Unused,
    /// They were answered.
    Answered,
    /// The connection broke: by the server, which loses such commands, or by the network.
    Broken,
    /// The server said something that is no answer to them.
    Misunderstood,
}

impl LoginPipeline {
    /// Of a log-in or a command behind it that failed so.
    pub(super) fn after(failure: &CommandError, violates_protocol: bool) -> LoginPipeline {
        match failure {
            CommandError::ConnectionLost(_) if !violates_protocol => LoginPipeline::Broken,
            _ => LoginPipeline::Misunderstood,
        }
    }
}

impl LoginForm {
    const ALL: [(LoginForm, &str); 3] = [
        (LoginForm::InitialResponse, "initial response"),
        (LoginForm::TwoSteps, "two steps"),
        (LoginForm::LoginCommand, "login"),
    ];

    /// The name in the state.
    pub(crate) fn name(self) -> &'static str {
        let mut forms = LoginForm::ALL.iter();
        forms
            .find(|(form, _)| *form == self)
            .map_or("", |(_, name)| name)
    }

    /// The form of this name, if there is one.
    pub(crate) fn from_name(name: &str) -> Option<LoginForm> {
        let mut forms = LoginForm::ALL.iter();
        forms
            .find(|(_, known)| *known == name)
            .map(|(form, _)| *form)
    }
}

impl LoginHistory {
    /// Whether another form may be tried after this one failed. If the server names another cause,
    /// none may.
    ///
    /// BAD is no rejection of the credentials: the server did not read them. 163.com answers BAD to an
    /// initial response, QQ and Sina to every AUTHENTICATE.
    ///
    /// After NO the server has counted a wrong password, and servers lock accounts after a few. Yet
    /// iCloud says NO to the initial response of a right password. So the two steps are tried after
    /// the first NO only: not after a form has ever been accepted, and not again with credentials that
    /// were rejected. A wrong password counts twice at the first attempt and once at each later one.
    pub(super) fn may_try(
        self,
        next: LoginForm,
        failed: LoginForm,
        failure: &CommandError,
    ) -> bool {
        match failure {
            CommandError::Bad(_) => !failure.login_failure().is_named(),
            CommandError::No(_) if !failure.login_failure().may_be_wrong_password() => false,
            CommandError::No(text) if has_sign(text, OTHER_FORM) => true,
            CommandError::No(_) => {
                failed == LoginForm::InitialResponse
                    && next == LoginForm::TwoSteps
                    && self.accepted.is_none()
                    && !self.is_rejected
            }
            CommandError::Bye(_) | CommandError::ConnectionLost(_) => false,
        }
    }

    /// Whether commands may follow a log-in in this form in the same write: the server has accepted it
    /// before, so it asks for nothing that it would take them for.
    pub(super) fn may_pipeline(self, form: LoginForm) -> bool {
        self.accepted == Some(form) && !self.is_rejected && !self.loses_pipelined_commands
    }

    /// Whether the two steps are tried before the initial response.
    ///
    /// Credentials that were rejected are sent in one form only, and each server that takes an initial
    /// response takes the two steps, too. So a right password is accepted in the end, even if the two
    /// steps could not be tried when the initial response was rejected.
    fn prefers_two_steps(self) -> bool {
        self.is_rejected && self.accepted.is_none()
    }

    /// The history after commands were sent together with a log-in. A network fault may break one log-in,
    /// and must not cost a round trip for ever; two in a row are the server's.
    pub(crate) fn after_pipeline(self, pipeline: LoginPipeline) -> LoginHistory {
        let loses_commands = match pipeline {
            LoginPipeline::Unused => return self,
            LoginPipeline::Answered => false,
            LoginPipeline::Broken => self.pipeline_broke,
            LoginPipeline::Misunderstood => true,
        };
        LoginHistory {
            loses_pipelined_commands: self.loses_pipelined_commands || loses_commands,
            pipeline_broke: pipeline == LoginPipeline::Broken && !loses_commands,
            ..self
        }
    }

    /// Whether something was learned that makes a pipeline less likely to succeed.
    pub(crate) fn trusts_pipelines_less_than(self, before: LoginHistory) -> bool {
        (self.loses_pipelined_commands && !before.loses_pipelined_commands)
            || (self.pipeline_broke && !before.pipeline_broke)
    }

    /// The history after the server accepted this form.
    ///
    /// That two steps were accepted before the initial response was tried says nothing about that one,
    /// which saves a round trip.
    pub(crate) fn after_login(self, form: LoginForm) -> LoginHistory {
        let was_tried_early = self.prefers_two_steps() && form == LoginForm::TwoSteps;
        LoginHistory {
            accepted: (!was_tried_early).then_some(form),
            is_rejected: false,
            ..self
        }
    }
}

impl Login {
    /// Why no server could take these credentials, if so.
    pub(super) fn invalid_characters(&self) -> Option<&'static str> {
        let (secret, invalid, what) = match &self.credentials {
            Credentials::Password(password) => (
                password,
                ['\0', '\r', '\n'].as_slice(),
                "user or password contains a line break or a NUL",
            ),
            Credentials::AccessToken(token) => (
                token,
                ['\x01', '\0', '\r', '\n'].as_slice(),
                "user or token contains a control character",
            ),
        };
        let is_invalid = self.user.contains(invalid) || secret.expose().contains(invalid);
        is_invalid.then_some(what)
    }

    /// The forms that the server announces, in the order to try them.
    pub(super) fn forms(
        &self,
        capabilities: &Capabilities,
        history: LoginHistory,
    ) -> VecDeque<LoginForm> {
        let has_initial_response = capabilities.has("SASL-IR");
        let mut forms = VecDeque::new();
        let two_steps_first = history.prefers_two_steps().then_some(LoginForm::TwoSteps);
        let preferred = history.accepted.or(two_steps_first);
        let mut offer = |form, is_offered: bool| {
            if is_offered && preferred == Some(form) {
                forms.push_front(form);
            } else if is_offered {
                forms.push_back(form);
            }
        };
        match &self.credentials {
            Credentials::Password(_) => {
                let has_plain = capabilities.has("AUTH=PLAIN");
                offer(
                    LoginForm::InitialResponse,
                    has_plain && has_initial_response,
                );
                offer(LoginForm::TwoSteps, has_plain);
                offer(LoginForm::LoginCommand, !capabilities.has("LOGINDISABLED"));
            }
            Credentials::AccessToken(_) => {
                offer(LoginForm::InitialResponse, has_initial_response);
                offer(LoginForm::TwoSteps, !has_initial_response);
            }
        }
        forms
    }

    /// The lines to send: the command, and then one for each `+` of the server.
    fn lines(&self, form: LoginForm, capabilities: &Capabilities) -> VecDeque<String> {
        let user = self.user.as_str();
        let (mechanism, response) = match &self.credentials {
            Credentials::Password(password) if form == LoginForm::LoginCommand => {
                return login_command(user, password.expose(), capabilities);
            }
            // RFC 4616: no authorization identity, the user, the password.
            Credentials::Password(password) => {
                ("PLAIN", format!("\0{user}\0{}", password.expose()))
            }
            Credentials::AccessToken(token) => {
                let token = token.expose();
                (
                    "XOAUTH2",
                    format!("user={user}\x01auth=Bearer {token}\x01\x01"),
                )
            }
        };
        let (command, response) = (
            format!("AUTHENTICATE {mechanism}"),
            STANDARD.encode(response),
        );
        if form == LoginForm::InitialResponse {
            [format!("{command} {response}")].into()
        } else {
            [command, response].into()
        }
    }

    /// Whether the server needs to send no `+` in this form. With an access token it may send one: it
    /// describes an error so.
    pub(super) fn is_one_step(&self, form: LoginForm, capabilities: &Capabilities) -> bool {
        matches!(self.credentials, Credentials::Password(_))
            && self.lines(form, capabilities).len() == 1
    }

    /// Logs in in this form, and sends the commands that follow in the same write. Returns the tags of
    /// those; their results are dropped if the log-in fails. After a `+` nothing more is sent then: the
    /// server may take the commands for the answer to that.
    ///
    /// When the lines are used up, an empty one follows each `+`: XOAUTH2 describes an error in a
    /// challenge, and sends the NO after an empty response to that.
    pub(super) fn run(
        &self,
        form: LoginForm,
        capabilities: &Capabilities,
        client: &mut Client,
        followers: &[Command],
    ) -> Result<Vec<Tag>, CommandError> {
        client.start()?;
        let (Credentials::Password(secret) | Credentials::AccessToken(secret)) = &self.credentials;
        client.transcript().start_log_in(secret);
        let mut lines = self.lines(form, capabilities);
        let mut command = String::new();
        let first = lines.pop_front().unwrap_or_default();
        let tag = client.write_command(first, &mut command);
        let mut tags = Vec::new();
        for follower in followers {
            tags.push(client.write_command(follower, &mut command));
        }
        client.send_lines(&command)?;
        let mut challenges = 0;
        loop {
            let received = client.receive();
            match received.map_err(|error| client.connection_lost(&error))? {
                Received::Tagged(answered) if answered == tag => {
                    let result = client
                        .take_result(tag)
                        .unwrap_or_else(|| Ok(Responses::default()));
                    if result.is_err() {
                        for tag in &tags {
                            client.ignore(*tag);
                        }
                    }
                    return result.map(|_| tags);
                }
                Received::Continuation if tags.is_empty() && challenges < MAX_CHALLENGES => {
                    challenges += 1;
                    let line = lines.pop_front().unwrap_or_default();
                    client.send_lines(&format!("{line}\r\n"))?;
                }
                Received::Continuation => return Err(client.protocol_violated()),
                _ => {}
            }
        }
    }
}

/// LOGIN. A quoted string holds ASCII alone (RFC 3501 4.3), a literal any octets.
fn login_command(user: &str, password: &str, capabilities: &Capabilities) -> VecDeque<String> {
    let mut lines = VecDeque::new();
    let mut line = "LOGIN".to_owned();
    for word in [user, password] {
        let length = word.len();
        let need_not_wait = capabilities.has("LITERAL+")
            || (capabilities.has("LITERAL-") && length <= MAX_LITERAL_MINUS);
        // Writing to a string cannot fail.
        let _ = match quoted(word) {
            Some(quoted) => write!(line, " {quoted}"),
            None if need_not_wait => write!(line, " {{{length}+}}\r\n{word}"),
            None => {
                lines.push_back(format!("{line} {{{length}}}"));
                word.clone_into(&mut line);
                Ok(())
            }
        };
    }
    lines.push_back(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::ResponseText;

    fn capabilities(words: &str) -> Capabilities {
        Capabilities::in_line(format!("* CAPABILITY {words}").as_bytes()).unwrap()
    }

    #[test]
    fn a_password_that_is_not_ascii_goes_into_a_literal() {
        let cases: [(&str, &str, &str, &[&str]); 6] = [
            ("alice", "a\"b", "X", &["LOGIN \"alice\" \"a\\\"b\""]),
            ("alice", "pä", "X", &["LOGIN \"alice\" {3}", "pä"]),
            ("älice", "b", "X", &["LOGIN {6}", "älice \"b\""]),
            ("ä", "ö", "X", &["LOGIN {2}", "ä {2}", "ö"]),
            ("ä", "ö", "LITERAL+", &["LOGIN {2+}\r\nä {2+}\r\nö"]),
            ("ä", "ö", "LITERAL-", &["LOGIN {2+}\r\nä {2+}\r\nö"]),
        ];
        for (user, password, words, expected) in cases {
            let lines = login_command(user, password, &capabilities(words));
            assert_eq!(lines, expected, "{user} {password} {words}");
        }
        let long = "ä".repeat(MAX_LITERAL_MINUS);
        let lines = login_command("a", &long, &capabilities("LITERAL-"));
        assert_eq!(lines[0], "LOGIN \"a\" {8192}");
    }

    #[test]
    fn a_wrong_password_is_sent_twice_at_most_and_only_if_no_log_in_is_known() {
        use LoginForm::{InitialResponse, LoginCommand, TwoSteps};
        let no = |text: &str| CommandError::No(ResponseText::parse(text.as_bytes()));
        let bad = CommandError::Bad(ResponseText::default());
        let named = CommandError::Bad(ResponseText::parse(b"LogonDenied-BasicAuthBlocked"));
        let wrong = no("[AUTHENTICATIONFAILED] no");
        let unknown = LoginHistory::default();
        let accepted = LoginHistory {
            accepted: Some(InitialResponse),
            ..unknown
        };
        let rejected = LoginHistory {
            is_rejected: true,
            ..unknown
        };
        for (history, failed, failure, next, expected) in [
            (unknown, InitialResponse, &wrong, TwoSteps, true),
            (unknown, InitialResponse, &wrong, LoginCommand, false),
            (unknown, TwoSteps, &wrong, LoginCommand, false),
            (accepted, InitialResponse, &wrong, TwoSteps, false),
            (rejected, InitialResponse, &wrong, TwoSteps, false),
            (rejected, InitialResponse, &bad, TwoSteps, true),
            (accepted, TwoSteps, &bad, LoginCommand, true),
            (unknown, InitialResponse, &no("[LIMIT] x"), TwoSteps, false),
            (unknown, InitialResponse, &named, TwoSteps, false),
            (
                rejected,
                TwoSteps,
                &no("Unsupported mechanism"),
                LoginCommand,
                true,
            ),
        ] {
            let may_try = history.may_try(next, failed, failure);
            assert_eq!(may_try, expected, "{history:?} {failed:?} {failure:?}");
        }
    }

    #[test]
    fn a_form_that_was_accepted_is_tried_first_while_the_server_announces_it() {
        use LoginForm::{InitialResponse, LoginCommand, TwoSteps};
        let login = Login {
            user: "alice".to_owned(),
            credentials: Credentials::Password(Secret::new("secret".to_owned())),
        };
        let forms = |words: &str, accepted| {
            let history = LoginHistory {
                accepted,
                ..LoginHistory::default()
            };
            login.forms(&capabilities(words), history)
        };
        let all = "AUTH=PLAIN SASL-IR";
        assert_eq!(forms(all, None), [InitialResponse, TwoSteps, LoginCommand]);
        let accepted = Some(LoginCommand);
        assert_eq!(
            forms(all, accepted),
            [LoginCommand, InitialResponse, TwoSteps]
        );
        let disabled = "AUTH=PLAIN LOGINDISABLED";
        assert_eq!(forms(disabled, accepted), [TwoSteps]);
        assert_eq!(forms("X", None), [LoginCommand]);
        assert!(forms("LOGINDISABLED SASL-IR", None).is_empty());
        let rejected = LoginHistory {
            is_rejected: true,
            ..LoginHistory::default()
        };
        assert_eq!(
            login.forms(&capabilities(all), rejected),
            [TwoSteps, InitialResponse, LoginCommand]
        );
        assert_eq!(rejected.after_login(TwoSteps).accepted, None);
        let after_login = rejected.after_login(LoginCommand);
        assert_eq!(after_login.accepted, Some(LoginCommand));
        assert!(!after_login.is_rejected);
        for (form, name) in LoginForm::ALL {
            assert_eq!(LoginForm::from_name(name), Some(form));
            assert_eq!(form.name(), name);
        }
        assert_eq!(LoginForm::from_name("of a later version"), None);
    }
}
