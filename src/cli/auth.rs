//! `auth`: makes the first token. Its options.

use argh::{ArgsInfo, FromArgs};

use crate::cli::args::{PROGRAM, path, see_help, usage};
use crate::error::Result;
use crate::oauth::consent::ConsentOptions;

/// The word that selects the command.
pub(crate) const NAME: &str = "auth";

/// The options as argh parses them.
#[derive(FromArgs, ArgsInfo)]
#[argh(
    help_triggers("--help"),
    description = "Makes the token file, with your consent in a browser: once, or again with\n\
                   --force.",
    example = "imap-to-gmail-sync auth --credentials client_secret.json --config config.json\n\
               docker run -it -p 127.0.0.1:8080:8080 ... auth --port 8080 ...",
    note = "With --config the token is verified at Gmail before it is saved.\n\n\
            Over SSH it shows a command for your own computer; or paste the address that\n\
            the browser ends on. In a container publish a port and name it, as above.\n\n\
            Exit status: 0 the token is saved; 64 usage, or the token file exists;\n\
            69 the port, Google or Gmail is unavailable; 74 the token cannot be written;\n\
            77 you or Google denied the consent, or five minutes have passed;\n\
            78 configuration."
)]
pub(crate) struct RawAuthArgs {
    #[argh(
        option,
        arg_name = "file",
        description = "the client_secret.json of a \"Desktop app\" client; required"
    )]
    credentials: Option<String>,

    #[argh(
        option,
        arg_name = "file",
        description = "where the token goes; default: target_token_file of the configuration, else token.json"
    )]
    token: Option<String>,

    /// the configuration, config.json, of the account that the token is for
    #[argh(option, arg_name = "file")]
    config: Option<String>,

    /// the port that the browser comes back to; default: any that is free
    #[argh(option, arg_name = "number")]
    port: Option<String>,

    /// open no browser, only show the address
    #[argh(switch)]
    no_browser: bool,

    /// replace a token file that exists
    #[argh(switch)]
    force: bool,
}

impl RawAuthArgs {
    pub(crate) fn validate(self) -> Result<ConsentOptions> {
        Ok(ConsentOptions {
            credentials: path("--credentials", self.credentials)?.ok_or_else(|| {
                usage("--credentials FILE is missing").remedy(see_help(&[PROGRAM, NAME]))
            })?,
            token: path("--token", self.token)?,
            config: path("--config", self.config)?,
            port: self.port.as_deref().map(port).transpose()?,
            no_browser: self.no_browser,
            force: self.force,
        })
    }
}

fn port(text: &str) -> Result<u16> {
    match text.parse() {
        Ok(0) | Err(_) => Err(usage("--port requires a number from 1 to 65535")),
        Ok(port) => Ok(port),
    }
}
