//! The IMAP client of both sides (RFC 3501, RFC 9051).
//!
//! Uses `net` for the connection, `config`, `error`, `message` and what is below them. Commands go
//! through the `client`, which pairs them with their responses. A library parses the responses;
//! everything a server sends is sanitized first, because the parser can be made to panic. The bodies
//! of messages bypass it.

mod append;
mod capabilities;
mod client;
mod command;
mod command_error;
mod connection;
mod fetch;
mod folder_news;
mod folder_responses;
mod labels;
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

pub use append::AppendResponse;
pub use capabilities::Capabilities;
pub use command_error::{CommandError, OpenError};
pub use connection::Connection;
pub use fetch::{MessageAttributes, read_attributes, take_bodies};
pub use list::{FolderListing, FolderStatuses, ListedFolder};
pub use login::{Credentials, Login, LoginForm, LoginHistory};
pub use quoting::MailboxName;
pub use response::{ResponseText, Responses, StatusCondition, status_response};
pub use session::{Session, WaitOutcome};
pub use transcript::Transcript;
pub use utf7::{decode_utf7, encode_utf7};

pub(crate) use append::{AppendEvent, AppendRequest, LiteralForm, SentPart};
pub(crate) use client::{CommandResult, Tag};
pub(crate) use command::{Command, FetchItems, FetchedUids, ListOptions};
pub(crate) use command_error::ExamineError;
pub(crate) use folder_news::KnownFolders;
pub(crate) use labels::LabelName;
pub(crate) use login::LoginPipeline;
pub(crate) use login_failure::{LoginRetry, PASSWORD_FIELD};
pub(crate) use mailbox_status::MailboxStatus;
pub(crate) use quota::StorageQuota;
pub(crate) use quoting::quoted;
pub(crate) use search::{search_date, search_results};
pub(crate) use session::{AskedAhead, IdleStart};
pub(crate) use sign::{Sign, find_meaning, has_sign};
