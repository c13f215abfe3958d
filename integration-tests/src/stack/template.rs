//! The templates in `envoy/`: plain text with `${NAME}`, so that one set of files serves a demo, the tests, the
//! benchmark and Compose.
//!
//! A placeholder nobody fills is an error, not an empty string. Comments are left as they are. Lines between
//! [`BEGIN`] and [`END`] are what meliproxy adds to an ordinary Envoy; a plain rendering drops them.

use std::ffi::OsStr;

use serde_json::Value;

use super::error::Error;

const BEGIN: &str = "# --- meliproxy:begin";
const END: &str = "# --- meliproxy:end";

/// Fills in `values`; `plain` drops what is meliproxy's. A value is taken as it is, also if it looks like a placeholder.
///
/// # Errors
/// [`Error::Template`] with the line: an unknown placeholder, a section that is not closed, opened or is nested.
pub(crate) fn render(
    template: &str,
    text: &str,
    plain: bool,
    values: &[(&str, String)],
) -> Result<String, Error> {
    let mut rendered = String::with_capacity(text.len() * 2);
    let mut section = None;
    for (index, line) in text.lines().enumerate() {
        let fail = |problem: String| Error::Template {
            template: template.to_owned(),
            line: index + 1,
            problem,
        };
        match line.trim() {
            BEGIN if section.is_some() => return Err(fail(format!("'{BEGIN}' inside a section"))),
            BEGIN => section = Some(index + 1),
            END if section.is_none() => return Err(fail(format!("'{END}' without a begin"))),
            END => section = None,
            _ if plain && section.is_some() => {}
            comment if comment.starts_with('#') => rendered.push_str(line),
            _ => fill(line, values, &mut rendered).map_err(fail)?,
        }
        rendered.push('\n');
    }
    match section {
        None => Ok(rendered),
        Some(line) => Err(Error::Template {
            template: template.to_owned(),
            line,
            problem: format!("'{BEGIN}' is not followed by '{END}'"),
        }),
    }
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
        render("t.yaml", text, plain, &values).map_err(|error| error.to_string())
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
        assert_eq!(filled(text, true).unwrap(), "a\n\n\n\nc\n");
        assert!(filled(text, false).is_err());
    }

    #[test]
    fn sections_must_match_up() {
        for text in [
            "# --- meliproxy:begin\n",
            "# --- meliproxy:end\n",
            "# --- meliproxy:begin\n# --- meliproxy:begin\n# --- meliproxy:end\n",
        ] {
            assert!(filled(text, false).is_err(), "{text}");
        }
    }
}
