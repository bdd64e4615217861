//! A real Courier with a Maildir of its own, behind a proxy that does the log-in (Courier's own needs a
//! daemon and system accounts). Everything after the log-in is Courier's.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imap_to_gmail_sync::config::{Server, TlsMode};
use tempfile::TempDir;

use crate::dovecot::Client;

const CREDENTIALS: &str = "\0alice\0secret";

/// A running Courier; dropping stops it.
pub struct Courier {
    port: u16,
    is_over: Arc<AtomicBool>,
    /// Kept open, because each start of Courier takes a second: it searches for a file monitor.
    client: Option<Client>,
    _folder: TempDir,
}

impl Courier {
    pub fn start() -> Courier {
        let program = Program::find();
        let folder = TempDir::with_prefix("courier-").unwrap();
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(folder.path().join("Maildir").join(part)).unwrap();
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_over = Arc::new(AtomicBool::new(false));
        let (over, home) = (is_over.clone(), folder.path().to_owned());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (program, home) = (program.clone(), home.clone());
                thread::spawn(move || serve(&program, &home, &stream.unwrap()));
            }
        });
        Courier {
            port,
            is_over,
            client: None,
            _folder: folder,
        }
    }

    pub fn server(&self) -> Server {
        Server {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            tls: TlsMode::None,
            tls_name: "localhost".to_owned(),
            ca_file: None,
        }
    }

    /// A client that is logged in, to store messages and to read them.
    pub fn client(&mut self) -> &mut Client {
        self.client.get_or_insert_with(|| {
            let mut client = Client::connect(self.port);
            client.log_in("alice", "secret");
            client
        })
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // The listener notices with the next connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Courier's program, and the folder of its libraries.
#[derive(Clone)]
struct Program {
    file: PathBuf,
    libraries: String,
}

impl Program {
    /// The installed one, or the one that `contrib/test` has unpacked: installing the package would
    /// start a mail server.
    fn find() -> Program {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let unpacked = target.join("courier");
        let root = [Path::new("/"), unpacked.as_path()]
            .into_iter()
            .find(|root| root.join("usr/lib/courier/imapd").exists())
            .expect("these tests need Courier: contrib/test unpacks it, or install courier-imap");
        let architectures = fs::read_dir(root.join("usr/lib")).unwrap();
        let mut libraries = vec![root.join("usr/lib"), root.join("usr/lib/courier-authlib")];
        for folder in architectures {
            let folder = folder.unwrap().path();
            if folder.to_string_lossy().contains("linux-gnu") {
                libraries.push(root.join("lib").join(folder.file_name().unwrap()));
                libraries.push(folder);
            }
        }
        let libraries: Vec<String> = libraries
            .iter()
            .map(|folder| folder.display().to_string())
            .collect();
        Program {
            file: root.join("usr/bin/imapd"),
            libraries: libraries.join(":"),
        }
    }
}

/// One connection: the log-in, then Courier.
fn serve(program: &Program, home: &Path, stream: &TcpStream) -> io::Result<()> {
    let mut client = BufReader::new(stream.try_clone()?);
    let mut answers = stream.try_clone()?;
    answers.write_all(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] Courier-IMAP ready.\r\n")?;
    let Some(tag) = log_in(&mut client, &mut answers)? else {
        return Ok(());
    };
    let mut courier = Command::new(&program.file)
        .arg("Maildir")
        .current_dir(home)
        .env("HOME", home)
        .env("LD_LIBRARY_PATH", &program.libraries)
        .env(
            "IMAP_CAPABILITY",
            "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE IDLE",
        )
        .env("IMAP_USELOCKS", "0")
        // How often it checks for new mail during IDLE; the default is once a minute.
        .env("IMAP_IDLE_TIMEOUT", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (mut stdin, stdout) = (
        courier.stdin.take().unwrap(),
        courier.stdout.take().unwrap(),
    );
    let commands = thread::spawn(move || {
        let _ = pass_on(&mut client, &mut stdin);
    });
    let mut stdout = BufReader::new(stdout);
    let mut greeting = String::new();
    while !greeting.starts_with("* PREAUTH") {
        greeting.clear();
        assert!(
            stdout.read_line(&mut greeting)? > 0,
            "courier does not start"
        );
    }
    answers.write_all(format!("{tag} OK LOGIN Ok.\r\n").as_bytes())?;
    let _ = pass_on(&mut stdout, &mut answers);
    let _ = stream.shutdown(Shutdown::Both);
    let _ = commands.join();
    courier.wait().map(drop)
}

/// Copies input to output at once. (`io::copy` has the kernel copy, and not every kernel forwards
/// small pieces at once.)
fn pass_on(from: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
    loop {
        let octets = from.fill_buf()?;
        if octets.is_empty() {
            return Ok(());
        }
        to.write_all(octets)?;
        to.flush()?;
        let passed = octets.len();
        from.consume(passed);
    }
}

/// Handles commands until a log-in with the right password; returns the tag of that command.
fn log_in(client: &mut impl BufRead, answers: &mut impl Write) -> io::Result<Option<String>> {
    let mut line = String::new();
    loop {
        line.clear();
        if client.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let tag = words.next().unwrap_or_default().to_owned();
        let rest: Vec<&str> = words.collect();
        let given = match rest.as_slice() {
            ["AUTHENTICATE", "PLAIN", words] => STANDARD.decode(words).unwrap_or_default(),
            ["LOGIN", user, password] => format!("\0{user}\0{password}").replace('"', "").into(),
            _ => {
                answers.write_all(format!("{tag} BAD Log in first.\r\n").as_bytes())?;
                continue;
            }
        };
        if given == CREDENTIALS.as_bytes() {
            return Ok(Some(tag));
        }
        answers.write_all(format!("{tag} NO Login failed.\r\n").as_bytes())?;
    }
}
