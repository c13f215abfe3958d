//! The live configuration file: made from the one given, beside what an earlier stack left there.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::error::Error;

/// Puts the configuration `source` where it can be edited. A different one that lies there already is kept as
/// `.previous`: somebody may have worked on it.
pub(crate) fn prepare(source: &Path, live: &Path, redis: bool) -> Result<(), Error> {
    let mut text = fs::read_to_string(source).map_err(Error::io("reading", source))?;
    if !redis {
        text = without_redis(text);
    }
    match fs::read_to_string(live) {
        Ok(older) if older == text => return Ok(()),
        Ok(_) => {
            let previous = live.with_extension("json.previous");
            fs::rename(live, &previous).map_err(Error::io("renaming", live))?;
        }
        // Nothing there, or nothing that could be a configuration.
        Err(_) => {}
    }
    fs::write(live, text).map_err(Error::io("writing", live))
}

/// The configuration without its `redis` section. What is not a JSON object stays as it is: the check that follows says
/// what is wrong with it.
fn without_redis(text: String) -> String {
    let Ok(Value::Object(mut sections)) = serde_json::from_str(&text) else {
        return text;
    };
    if sections.shift_remove("redis").is_none() {
        return text;
    }
    serde_json::to_string_pretty(&sections).map_or(text, |pretty| pretty + "\n")
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_redis_section_is_taken_out_and_nothing_else() {
        let text = r#"{"version": 1, "redis": {"namespace": "meli"}, "routes": [], "a": 1}"#;
        assert_eq!(
            without_redis(text.into()),
            "{\n  \"version\": 1,\n  \"routes\": [],\n  \"a\": 1\n}\n"
        );
        for untouched in ["{\"version\":   1}", "[1,", "null"] {
            assert_eq!(without_redis(untouched.into()), untouched);
        }
    }

    #[test]
    fn a_different_older_file_is_kept() {
        let folder = TempDir::new().unwrap();
        let source = folder.path().join("source.json");
        let live = folder.path().join("meliproxy.json");
        let previous = folder.path().join("meliproxy.json.previous");
        fs::write(&source, "{ }").unwrap();
        prepare(&source, &live, true).unwrap();
        prepare(&source, &live, true).unwrap();
        assert_eq!(fs::read_to_string(&live).unwrap(), "{ }");
        assert!(!previous.exists());
        fs::write(&live, "edited").unwrap();
        prepare(&source, &live, true).unwrap();
        assert_eq!(fs::read_to_string(&live).unwrap(), "{ }");
        assert_eq!(fs::read_to_string(&previous).unwrap(), "edited");
    }
}
