//! Measures this program and mbsync in turn, from one Dovecot to another, and writes a table and a picture.
//!
//! `contrib/bench/run` installs what it needs, builds it, and runs it. docs/performance.md explains the
//! figures. They decide nothing: the exit status only says whether each message arrived.

// A measurement fails by a panic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]
// Sizes and times become numbers with few digits.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

mod delay_proxy;
mod delivery;
#[path = "../../tests/support/dovecot/mod.rs"]
mod dovecot;
mod figures;
mod growth;
#[path = "../../tests/support/http.rs"]
mod http;
mod machine;
mod mail;
mod picture;
mod programs;
mod servers;
mod works;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use argh::FromArgs;

use delay_proxy::Proof;
use figures::{Deliveries, Row};
use servers::Servers;
use works::{Extent, Task, WORKS, Work};

/// Measures imap-to-gmail-sync and mbsync in turn.
#[derive(FromArgs)]
struct Options {
    /// the program to measure (target/release/imap-to-gmail-sync)
    #[argh(option)]
    program: Option<PathBuf>,

    /// only the rows whose names begin so, separated by commas, such as ordinary,nothing-0
    #[argh(option, default = "String::new()")]
    rows: String,

    /// one run, and fewer messages where a run is slow
    #[argh(switch)]
    quick: bool,

    /// measure instead how the cost of this program grows
    #[argh(switch)]
    growth: bool,

    /// the runs of each program (3)
    #[argh(option)]
    runs: Option<usize>,

    /// the messages of each row, instead of its own number
    #[argh(option)]
    messages: Option<usize>,

    /// the folder for table.md, picture.svg and growth.md (target/bench)
    #[argh(option)]
    output: Option<PathBuf>,

    /// the folder for configuration and state of both programs while they run (in memory)
    #[argh(option)]
    files: Option<PathBuf>,
}

/// What was measured so far.
struct Report {
    machine: String,
    proofs: Vec<Proof>,
    rows: Vec<Row>,
    deliveries: Option<Deliveries>,
    remarks: String,
}

fn main() -> ExitCode {
    let options: Options = argh::from_env();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let program = options
        .program
        .clone()
        .unwrap_or_else(|| target.join("release/imap-to-gmail-sync"));
    let Ok(program) = program.canonicalize() else {
        eprintln!("there is no {}: cargo build --release", program.display());
        return ExitCode::FAILURE;
    };
    let output = options.output.clone().unwrap_or(target.join("bench"));
    fs::create_dir_all(&output).expect("a folder");
    if options.growth {
        let report = growth::report(&program, options.quick).expect("figures");
        fs::write(output.join("growth.md"), report).expect("a file");
        return ExitCode::SUCCESS;
    }
    for needed in ["/usr/bin/mbsync", "/usr/bin/time", "/usr/sbin/dovecot"] {
        if !Path::new(needed).exists() {
            eprintln!("there is no {needed}: contrib/bench/run installs it");
            return ExitCode::FAILURE;
        }
    }
    let works = chosen(&options.rows);
    if works.is_empty() {
        let names = WORKS.map(|work| work.name).join(", ");
        eprintln!("--rows {}: there are only {names}", options.rows);
        return ExitCode::FAILURE;
    }
    let files = options.files.clone().unwrap_or_else(std::env::temp_dir);
    fs::create_dir_all(&files).expect("a folder");
    let files = files.canonicalize().expect("an absolute name");
    let extent = Extent {
        program: &program,
        files: &files,
        runs: options.runs.unwrap_or(if options.quick { 1 } else { 3 }),
        is_quick: options.quick,
        messages: options.messages,
    };
    measure(&works, &extent, &output);
    ExitCode::SUCCESS
}

/// The works whose names begin with one of these words.
fn chosen(rows: &str) -> Vec<&'static Work> {
    let is_chosen = |work: &&Work| rows.split(',').any(|word| work.name.starts_with(word));
    WORKS.iter().filter(is_chosen).collect()
}

/// Writes the report after each row, so that a later failure loses none.
fn measure(works: &[&Work], extent: &Extent, output: &Path) {
    let mut report = Report::new(extent);
    let mut delays: Vec<Duration> = works.iter().map(|work| work.round_trip()).collect();
    // Without delay the proxy is only shown to have no effect on the bandwidth.
    delays.push(Duration::ZERO);
    delays.sort();
    delays.dedup();
    report.proofs = delays.into_iter().map(delay_proxy::prove).collect();
    let mut servers = Servers::start();
    for work in works {
        if work.task == Task::Delivery {
            report.deliveries = Some(delivery::measure(work, &mut servers, extent));
        } else {
            report.rows.push(work.measure(&mut servers, extent));
        }
        report.write(output);
    }
    print!("{}", report.text());
    let folder = output.display();
    eprintln!("\nwrote {folder}/table.md and {folder}/picture.svg");
}

impl Report {
    fn new(extent: &Extent) -> Report {
        let machine = format!(
            "{}; {}",
            machine::hardware(),
            machine::versions(extent.program)
        );
        let runs = match extent.runs {
            1 => "One run".to_owned(),
            runs => format!("Medians of {runs} runs"),
        };
        let remarks = format!(
            "{} of each program, in turn. Mail of both Dovecots on {}, state of both programs on \
             {}. Load of the machine before: {}.\n",
            runs,
            machine::file_system(&std::env::temp_dir()),
            machine::file_system(extent.files),
            machine::load()
        );
        Report {
            machine,
            proofs: Vec::new(),
            rows: Vec::new(),
            deliveries: None,
            remarks,
        }
    }

    fn write(&self, output: &Path) {
        fs::write(output.join("table.md"), self.text()).expect("a file");
        let picture = picture::draw(&self.rows, &self.machine);
        fs::write(output.join("picture.svg"), picture).expect("a file");
    }

    fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.machine);
        text.push_str(&figures::table(&self.rows));
        text.push('\n');
        if let Some(deliveries) = &self.deliveries {
            text.push_str(&deliveries.sentence());
            text.push('\n');
        }
        text.push_str(&self.remarks);
        for proof in &self.proofs {
            text.push_str(&proof.sentence());
        }
        text
    }
}
