//! The IMAP client of both sides (RFC 3501, RFC 9051).
//!
//! Uses `net` for the connection. The IMAP crate is used for writing commands and parsing
//! responses; everything a server sends passes `sanitize` first, because the crate's parser can be
//! made to panic.

pub(crate) mod capabilities;
pub(crate) mod command_error;
pub(crate) mod connection;
pub(crate) mod idle;
pub(crate) mod login;
pub(crate) mod mailbox;
pub(crate) mod mailbox_status;
pub(crate) mod pipeline;
pub(crate) mod sanitize;
pub(crate) mod session;
pub(crate) mod shared_connection;
pub(crate) mod transcript;
pub mod wire;

pub use capabilities::Capabilities;
pub use command_error::{CommandError, ExamineError, OpenError};
pub use connection::Connection;
pub use connection::receive::ReceiveResult;
pub use idle::{IdleResult, IdleStart};
pub use login::Login;
pub use mailbox::ListedFolder;
pub use mailbox_status::MailboxStatus;
pub use pipeline::CommandResult;
pub use session::{Session, fetch_responses, responses, search_results, uid_attribute};
pub use shared_connection::SharedConnection;
pub use transcript::Transcript;
pub use wire::ResponseText;
