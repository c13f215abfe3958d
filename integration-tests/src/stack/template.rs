//! The templates in `envoy/`: plain text with `${NAME}`, so that one set of files serves a demo, the tests, the
//! benchmark and Compose.
//!
//! A placeholder nobody fills is an error, not an empty string. Comments are left as they are. What stands between
//! `# --- NAME:begin` and `# --- NAME:end` is a section, which is left out if it is not wanted, see [`Sections`].

use std::ffi::OsStr;

use serde_json::Value;

use super::error::Error;

/// Which sections are rendered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sections {
    /// `meliproxy`: what it adds to an ordinary Envoy.
    pub(crate) meliproxy: bool,
    /// `envoy-cache`: Envoy's own HTTP cache.
    pub(crate) envoy_cache: bool,
}

impl Sections {
    /// Whether a section is wanted; `None` if there is none of this name.
    fn wants(self, name: &str) -> Option<bool> {
        match name {
            "meliproxy" => Some(self.meliproxy),
            "envoy-cache" => Some(self.envoy_cache),
            _ => None,
        }
    }
}

/// Fills in `values`, and leaves out the sections that are not wanted. A value is taken as it is, also if it looks like a
/// placeholder.
///
/// # Errors
/// [`Error::Template`] with the line: an unknown placeholder, a section that is not known, closed or opened, or is nested.
pub(crate) fn render(
    template: &str,
    text: &str,
    sections: Sections,
    values: &[(&str, String)],
) -> Result<String, Error> {
    let mut rendered = String::with_capacity(text.len() * 2);
    let mut section: Option<(&str, bool, usize)> = None;
    for (index, line) in text.lines().enumerate() {
        let fail = |problem: String| Error::Template {
            template: template.to_owned(),
            line: index + 1,
            problem,
        };
        match (mark(line), section) {
            (Some((name, true)), None) => {
                let is_wanted = sections.wants(name);
                let is_wanted = is_wanted.ok_or_else(|| fail(format!("no section '{name}'")))?;
                section = Some((name, is_wanted, index + 1));
            }
            (Some((name, true)), Some(_)) => {
                return Err(fail(format!("'{name}:begin' inside a section")));
            }
            (Some((name, false)), Some((open, ..))) if open == name => section = None,
            (Some((name, false)), _) => {
                return Err(fail(format!("'{name}:end' without a begin")));
            }
            (None, Some((_, false, _))) => {}
            (None, _) => {
                if line.trim_start().starts_with('#') {
                    rendered.push_str(line);
                } else {
                    fill(line, values, &mut rendered).map_err(fail)?;
                }
                rendered.push('\n');
            }
        }
    }
    match section {
        None => Ok(rendered),
        Some((name, _, line)) => Err(Error::Template {
            template: template.to_owned(),
            line,
            problem: format!("'{name}:begin' is not followed by '{name}:end'"),
        }),
    }
}

/// The name of the section that a line begins (or ends: false).
fn mark(line: &str) -> Option<(&str, bool)> {
    let text = line.trim().strip_prefix("# --- ")?;
    let begin = text.strip_suffix(":begin").map(|name| (name, true));
    begin.or_else(|| text.strip_suffix(":end").map(|name| (name, false)))
}

/// `text` as YAML takes it whatever it contains, such as a path with a comma: a JSON string is a YAML string.
pub(crate) fn quoted(text: impl AsRef<OsStr>) -> String {
    Value::from(text.as_ref().to_string_lossy()).to_string()
}

fn fill(line: &str, values: &[(&str, String)], rendered: &mut String) -> Result<(), String> {
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, tail) = after.split_once('}').ok_or("'${' without '}'")?;
        let (_, value) = values
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| format!("nothing fills ${{{name}}}"))?;
        rendered.push_str(before);
        rendered.push_str(value);
        rest = tail;
    }
    rendered.push_str(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, plain: bool) -> Result<String, String> {
        let values = [("PORT", "80".to_owned()), ("NODE_ID", "${PORT}".to_owned())];
        let sections = Sections { meliproxy: !plain, envoy_cache: false };
        render("t.yaml", text, sections, &values).map_err(|error| error.to_string())
    }

    #[test]
    fn placeholders_are_replaced_literally_and_once() {
        assert_eq!(filled("a: ${PORT}${PORT}, $x %B%\n", false).unwrap(), "a: 8080, $x %B%\n");
        assert_eq!(filled("id: ${NODE_ID}", false).unwrap(), "id: ${PORT}\n");
    }

    #[test]
    fn a_quoted_path_is_one_string() {
        assert_eq!(quoted(r#"/a, b/{#"\x"#), r#""/a, b/{#\"\\x""#);
    }

    #[test]
    fn comments_may_speak_of_placeholders() {
        assert_eq!(filled("  # every ${NAME}\n", false).unwrap(), "  # every ${NAME}\n");
        assert!(filled("a: ${NAME} # not a comment line\n", false).is_err());
    }

    #[test]
    fn an_unknown_placeholder_is_an_error_with_its_line() {
        assert_eq!(
            filled("a: 1\nb: ${POTR}\n", false).unwrap_err(),
            "template t.yaml, line 2: nothing fills ${POTR}"
        );
        assert!(filled("a: ${PORT\n", false).is_err());
        assert!(filled("a: ${}\n", false).is_err());
    }

    #[test]
    fn plain_drops_the_sections_and_what_they_ask_for() {
        let text = "a\n  # --- meliproxy:begin\nb ${UNKNOWN}\n  # --- meliproxy:end\nc\n";
        assert_eq!(filled(text, true).unwrap(), "a\nc\n");
        assert!(filled(text, false).is_err());
        let text = "a\n# --- envoy-cache:begin\nb\n# --- envoy-cache:end\n";
        assert_eq!(filled(text, false).unwrap(), "a\n");
        let sections = Sections { meliproxy: false, envoy_cache: true };
        assert_eq!(render("t.yaml", text, sections, &[]).unwrap(), "a\nb\n");
    }

    #[test]
    fn sections_must_match_up() {
        for text in [
            "# --- meliproxy:begin\n",
            "# --- meliproxy:end\n",
            "# --- meliproxy:begin\n# --- meliproxy:begin\n# --- meliproxy:end\n",
            "# --- meliproxy:begin\n# --- envoy-cache:end\n",
            "# --- other:begin\n# --- other:end\n",
        ] {
            assert!(filled(text, false).is_err(), "{text}");
        }
    }
}
