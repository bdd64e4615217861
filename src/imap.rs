//! The IMAP client of both sides (RFC 3501, RFC 9051).
//!
//! Uses `net` for the connection, `config`, `error`, `message` and what is below them. The IMAP
//! library writes most commands and parses responses; everything a server sends is sanitized first,
//! because the library's parser can be made to panic.

mod append;
mod capabilities;
mod command_error;
mod connection;
mod fetch;
mod list;
mod login;
mod login_failure;
mod mailbox;
mod mailbox_status;
mod message_data;
mod quota;
mod quoting;
mod response;
mod sanitize;
mod search;
mod session;
mod sign;
mod transcript;
mod utf7;

pub use imap_proto::NameAttribute;

pub use capabilities::Capabilities;
pub use command_error::{CommandError, OpenError};
pub use connection::Connection;
pub use fetch::{MessageAttributes, read_attributes, read_bodies};
pub use list::ListedFolder;
pub use login::{Credentials, Login, LoginForm, LoginHistory};
pub use quoting::{escaped_mailbox, quoted_mailbox};
pub use response::{ResponseText, StatusCondition, responses, status_response};
pub use session::{Session, WaitOutcome};
pub use transcript::Transcript;
pub use utf7::{decode_utf7, encode_utf7};

pub(crate) use command_error::ExamineError;
pub(crate) use connection::SharedConnection;
pub(crate) use fetch::{identity_command, listing_command};
pub(crate) use login_failure::{LoginRetry, PASSWORD_FIELD};
pub(crate) use mailbox_status::MailboxStatus;
pub(crate) use quota::StorageQuota;
pub(crate) use quoting::quoted;
pub(crate) use search::{search_date, search_results};
pub(crate) use session::{CommandResult, IdleStart};
pub(crate) use sign::{Sign, find_meaning, has_sign};
