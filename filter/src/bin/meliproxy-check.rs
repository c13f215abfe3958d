//! Says whether configuration files are good, and everything that is wrong with them: `meliproxy-check FILE…`.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use meliproxy::config::{Config, reference};

const HELP: &str = "\
Checks configuration files of meliproxy.

Usage: meliproxy-check FILE...
       meliproxy-check --schema

Prints `FILE: ok` for each good file, and otherwise one line for each problem
with its path, what was found and what is allowed. Nothing is changed.

Options:
      --schema   print the JSON Schema of the files, for editors
  -h, --help     print this help
  -V, --version  print the version

Exit status: 0 if all files are good, 1 if one is not,
2 if one cannot be read or the arguments are wrong.";

const GOOD: u8 = 0;
const BAD: u8 = 1;
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let option = arguments.iter().find(|argument| argument.as_encoded_bytes().starts_with(b"-"));
    match option.map(|option| option.to_string_lossy()).as_deref() {
        Some("-h" | "--help") => println!("{HELP}"),
        Some("-V" | "--version") => println!("meliproxy-check {}", env!("CARGO_PKG_VERSION")),
        Some("--schema") => print!("{}", reference::schema()),
        Some(option) => {
            eprintln!(
                "meliproxy-check: found the option {option}, allowed: --help, --schema, --version"
            );
            return UNUSABLE.into();
        }
        None if arguments.is_empty() => {
            eprintln!("{HELP}");
            return UNUSABLE.into();
        }
        None => {
            let statuses = arguments.iter().map(|file| check(Path::new(file)));
            return statuses.fold(GOOD, Ord::max).into();
        }
    }
    GOOD.into()
}

/// Checks one file and returns the exit status that it asks for.
fn check(file: &Path) -> u8 {
    let name = file.display();
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{name}: cannot be read: {error}");
            return UNUSABLE;
        }
    };
    match Config::parse(&text) {
        Ok(config) => {
            let counts = [
                (config.routes.len(), "routes"),
                (config.rules.len(), "rules"),
                (config.breakers.len(), "breakers"),
                (config.cache.len(), "cache policies"),
            ];
            let counts = counts.map(|(count, what)| format!("{count} {what}")).join(", ");
            println!("{name}: ok ({counts})");
            GOOD
        }
        Err(errors) => {
            errors.to_string().lines().for_each(|line| println!("{name}: {line}"));
            BAD
        }
    }
}
