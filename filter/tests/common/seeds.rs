//! Which seeds a simulation runs: its usual number of them, `SEEDS=n` in place of that, or with `SEED=n` just the one.
//! A run that fails says how to repeat it.

/// Runs one seed after the other; how many.
pub(crate) fn for_each(usual: u64, mut run: impl FnMut(u64)) -> usize {
    let seeds = match number("SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SEEDS").unwrap_or(usual)).collect(),
    };
    for seed in &seeds {
        let _repeat = Repeat(*seed);
        run(*seed);
    }
    seeds.len()
}

#[allow(clippy::disallowed_methods, reason = "how whoever runs the test says which seeds")]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, found {text:?}")))
}

/// Prints its seed if the run panics: a test that passes prints nothing.
struct Repeat(u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let test = env!("CARGO_CRATE_NAME");
            eprintln!("repeat with: SEED={} cargo test -p meliproxy --test {test}", self.0);
        }
    }
}
