//! The works that are measured, each a row of the table.

use std::path::Path;
use std::time::Duration;

use crate::figures::{Figure, Row, Unit, with_commas};
use crate::mail::Kind;
use crate::programs::{Account, Candidate, Cost};
use crate::servers::Servers;

/// A work, with its name in `--rows`.
pub struct Work {
    pub name: &'static str,
    pub task: Task,
    kind: Kind,
    messages: usize,
    /// With `--quick`.
    quick_messages: usize,
    milliseconds: u64,
    /// Of our program to the target.
    connections: &'static [usize],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Everything is copied, into an empty mailbox.
    Backlog,
    /// Everything was copied before.
    NothingNew,
    /// A message arrives while the program watches; mbsync does not do that.
    Delivery,
}

/// How much is measured, and of which program.
pub struct Extent<'a> {
    pub program: &'a Path,
    /// The folder for configuration and state of both programs.
    pub files: &'a Path,
    pub runs: usize,
    pub is_quick: bool,
    pub messages: Option<usize>,
}

const fn work(
    name: &'static str,
    task: Task,
    kind: Kind,
    [messages, quick_messages]: [usize; 2],
    milliseconds: u64,
    connections: &'static [usize],
) -> Work {
    Work {
        name,
        task,
        kind,
        messages,
        quick_messages,
        milliseconds,
        connections,
    }
}

pub const WORKS: [Work; 8] = [
    work(
        "ordinary-0",
        Task::Backlog,
        Kind::Ordinary,
        [1_000; 2],
        0,
        &[4, 10],
    ),
    work(
        "ordinary-20",
        Task::Backlog,
        Kind::Ordinary,
        [1_000, 300],
        20,
        &[4, 10],
    ),
    work(
        "ordinary-50",
        Task::Backlog,
        Kind::Ordinary,
        [1_000, 200],
        50,
        &[4, 10],
    ),
    work("large-0", Task::Backlog, Kind::Large, [20, 6], 0, &[4]),
    work(
        "nothing-0",
        Task::NothingNew,
        Kind::Small,
        [10_000, 2_000],
        0,
        &[4],
    ),
    work(
        "nothing-50",
        Task::NothingNew,
        Kind::Small,
        [10_000, 2_000],
        50,
        &[4],
    ),
    work(
        "delivery-50",
        Task::Delivery,
        Kind::Ordinary,
        [20, 5],
        50,
        &[4],
    ),
    work(
        "small-50",
        Task::Backlog,
        Kind::Small,
        [2_000, 200],
        50,
        &[4],
    ),
];

impl Work {
    pub fn round_trip(&self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }

    pub fn messages(&self, extent: &Extent) -> usize {
        extent.messages.unwrap_or(if extent.is_quick {
            self.quick_messages
        } else {
            self.messages
        })
    }

    fn title(&self, messages: usize) -> String {
        let messages = with_commas(messages);
        let mail = match (self.task, self.kind) {
            (Task::NothingNew, _) => format!("nothing new, {messages} in the mailbox"),
            (_, Kind::Ordinary) => format!("{messages} ordinary messages"),
            (_, Kind::Large) => format!("{messages} messages of 25 MB"),
            (_, Kind::Small) => format!("{messages} messages below 4,096 octets"),
        };
        format!("{mail}, {} ms", self.milliseconds)
    }

    fn candidates(&self) -> Vec<Candidate> {
        let ours = self.connections.iter();
        let ours = ours.map(|connections| Candidate::Ours {
            connections: *connections,
        });
        [Candidate::Mbsync].into_iter().chain(ours).collect()
    }

    /// Runs all programs in turn, as often as is asked for.
    pub fn measure(&self, servers: &mut Servers, extent: &Extent) -> Row {
        let messages = self.messages(extent);
        let mailbox = servers.mailbox(self.kind, messages);
        let mut row = Row {
            title: self.title(messages),
            unit: match (self.task, self.kind) {
                (Task::NothingNew, _) => Unit::Milliseconds,
                (_, Kind::Large) => Unit::MegabytesPerSecond,
                _ => Unit::MessagesPerSecond,
            },
            messages,
            octets: mailbox.octets,
            figures: Vec::new(),
        };
        let candidates = self.candidates();
        let costs = if self.task == Task::NothingNew {
            self.runs_without_new_mail(servers, extent, &candidates)
        } else {
            self.runs_with_a_backlog(servers, extent, &candidates)
        };
        let figures = candidates.into_iter().zip(costs);
        row.figures = figures
            .map(|(candidate, costs)| Figure { candidate, costs })
            .collect();
        row
    }

    /// The costs of each candidate.
    fn runs_with_a_backlog(
        &self,
        servers: &mut Servers,
        extent: &Extent,
        candidates: &[Candidate],
    ) -> Vec<Vec<Cost>> {
        let mailbox = servers.mailbox(self.kind, self.messages(extent));
        let line = servers.line(self.round_trip());
        let mut costs = vec![Vec::new(); candidates.len()];
        for run in 1..=extent.runs {
            for (candidate, costs) in candidates.iter().zip(&mut costs) {
                let account = Account::open(servers, *candidate, extent.program, extent.files);
                account.configure(servers, &mailbox, &line);
                let cost = account.run();
                servers.verify(&mailbox, &account.target_user);
                servers.remove(&account.target_user);
                eprintln!("{}, run {run}: {}", self.name, account.describe(&cost));
                costs.push(cost);
            }
        }
        costs
    }

    fn runs_without_new_mail(
        &self,
        servers: &mut Servers,
        extent: &Extent,
        candidates: &[Candidate],
    ) -> Vec<Vec<Cost>> {
        let mailbox = servers.mailbox(self.kind, self.messages(extent));
        let (near, line) = (
            servers.line(Duration::ZERO),
            servers.line(self.round_trip()),
        );
        let times = if extent.is_quick { 5 } else { 20 };
        let accounts: Vec<Account> = candidates
            .iter()
            .map(|candidate| {
                let account = Account::open(servers, *candidate, extent.program, extent.files);
                account.configure(servers, &mailbox, &near);
                account.run();
                servers.verify(&mailbox, &account.target_user);
                account.configure(servers, &mailbox, &line);
                account.run();
                account
            })
            .collect();
        let mut costs = vec![Vec::new(); candidates.len()];
        for run in 1..=extent.runs {
            for (account, costs) in accounts.iter().zip(&mut costs) {
                let cost = account.run_often(times);
                eprintln!("{}, run {run}: {}", self.name, account.describe(&cost));
                costs.push(cost);
            }
        }
        for account in &accounts {
            servers.verify(&mailbox, &account.target_user);
            servers.remove(&account.target_user);
        }
        costs
    }
}

impl Account {
    fn describe(&self, cost: &Cost) -> String {
        let (wall, cpu) = (cost.wall.as_secs_f64(), cost.cpu.as_secs_f64());
        format!(
            "{}: {wall:.3} s, CPU {cpu:.3} s, {} kB",
            self.candidate, cost.peak_kilobytes
        )
    }
}
