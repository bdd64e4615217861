//! The fuzz targets on a stable compiler: their seeds, and a bounded number of mutations of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

/// What ends lines, strings, numbers and patience.
const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\"",
    b"\\",
    b"{5}\r\n",
    b"{4294967295}\r\n",
    b"{18446744073709551616}",
    b"(",
    b")",
    b"NIL",
    b"null",
    b"[]",
    b"{}",
    b"-1",
    b"0",
    b"4294967296",
    b"1e999",
    b"* ",
    b"\xff",
    b"\xe2\x80\xae",
    b"&-",
    b"9999-12-31T23:59:59Z",
];

/// Chance that a seed decides (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % limit.max(1) as u64).unwrap()
    }
}

/// The seeds of a target, and what the fuzzer found once.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One of the seeds with some octets changed, cut out, put in, doubled, or taken from another seed.
fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut octets = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        let begin = dice.below(octets.len() + 1);
        let end = begin + dice.below((octets.len() - begin + 1).min(32));
        let put: Vec<u8> = match dice.below(6) {
            0 => Vec::new(),
            1 => WORDS[dice.below(WORDS.len())].to_vec(),
            2 => vec![u8::try_from(dice.below(256)).unwrap()],
            3 => octets[begin..end].repeat(2 + dice.below(3)),
            4 => {
                let other = &seeds[dice.below(seeds.len())];
                other[dice.below(other.len())..].to_vec()
            }
            _ => octets[begin..end]
                .iter()
                .map(|octet| octet ^ 0x20)
                .collect(),
        };
        octets.splice(begin..end, put);
    }
    octets
}

/// A number from the environment; 1 if it does not say.
fn number(variable: &str) -> u64 {
    std::env::var(variable).map_or(1, |number| number.parse().unwrap())
}

/// Runs a target over its corpus and over so many mutations; what it does not bear is shown.
/// `FUZZ_TIMES=100` makes it a hundred times as many, `FUZZ_SEED=2` makes them others.
fn bears(name: &str, target: fn(&[u8]), mutations: usize) {
    let seeds = corpus(name);
    let mut dice = Dice(number("FUZZ_SEED"));
    let mutations = mutations * usize::try_from(number("FUZZ_TIMES")).unwrap();
    let mutations = (0..mutations).map(|_| mutated(&seeds, &mut dice));
    for octets in seeds.iter().cloned().chain(mutations) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&octets))) {
            eprintln!("{name} does not bear b\"{}\"", octets.escape_ascii());
            resume_unwind(panic);
        }
    }
}

#[test]
fn any_snapshot_is_borne() {
    bears("snapshot", targets::snapshot, 3_000);
}

#[test]
fn any_journal_is_borne() {
    bears("journal", targets::journal, 2_000);
}

#[test]
fn any_configuration_is_borne() {
    bears("config", targets::config, 2_000);
}

#[test]
fn any_token_file_is_borne() {
    bears("token", targets::token, 2_000);
}

#[test]
fn any_text_is_shown_harmless() {
    bears("foreign", targets::foreign, 20_000);
}

#[test]
fn any_word_is_quoted_or_refused() {
    bears("wire", targets::wire, 6_000);
}

#[test]
fn any_header_has_an_identity() {
    bears("identity", targets::identity, 10_000);
}

#[test]
fn any_line_of_a_server_is_borne() {
    bears("lines", targets::lines, 3_000);
}

#[test]
fn any_answers_in_a_session_are_borne() {
    bears("session", targets::session, 800);
}

#[test]
fn any_source_is_borne() {
    bears("source", targets::source, 800);
}
