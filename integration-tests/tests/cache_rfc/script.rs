//! How a case is written down.
//!
//! ```text
//! case NAME: RFC NUMBER §SECTION
//! > GET ?query               a request; the path is that of the case
//! > If-None-Match: "a"       a line of its header
//! >> body                    its body
//! < HTTP/1.1 200 OK          what the upstream answers; without, it must not be asked
//! < ETag: "a"
//! << body                    the body of that
//! @ If-None-Match: "a"       a line that the upstream was asked with
//! @ -Range                   a field that it was not asked with
//! = 200                      the status that the client sees
//! = Age: 5..9                a line that it sees; two numbers are the least and the most
//! = Date: *                  a field that it sees, whatever it says
//! = -Set-Cookie              a field that it does not see
//! = cache hit -stored        what `Cache-Status` has, and has not
//! = stored                   it gets stored, before anything else happens
//! = interim 103              there was such an interim response
//! == body                    the body that it sees
//! ```
//!
//! Each character of a header is a byte (ISO 8859-1). `{-60}` is the date of a minute ago.

use std::time::{Duration, SystemTime};

/// Requests and what has to become of them.
#[derive(Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) of: String,
    pub(crate) steps: Vec<Step>,
}

/// One request.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) method: String,
    pub(crate) query: String,
    pub(crate) fields: Vec<String>,
    pub(crate) body: String,
    pub(crate) answer: Option<Answer>,
    pub(crate) asked_with: Vec<Line>,
    pub(crate) sees: Vec<Sight>,
}

/// What the upstream answers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What has to be in a header, or must not be.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    Is(String, String),
    IsNot(String),
}

/// What a client has to see.
#[derive(Debug, PartialEq)]
pub(crate) enum Sight {
    Status(u16),
    Interim(u16),
    Field(Line),
    Cache(Vec<String>),
    Stored,
    Body(String),
}

/// Reads a file of cases.
pub(crate) fn read(text: &str) -> Vec<Case> {
    let text = dated(text);
    let mut cases = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if !line.is_empty() && !line.starts_with('#') {
            take(&mut cases, line).unwrap_or_else(|| panic!("line {}: {line}", number + 1));
        }
    }
    cases
}

fn take(cases: &mut Vec<Case>, line: &str) -> Option<()> {
    let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
    if mark == "case" {
        let (name, of) = rest.split_once(": ").filter(|(_, of)| of.starts_with("RFC "))?;
        assert!(cases.iter().all(|case| case.name != name), "{name} twice");
        cases.push(Case { name: name.to_owned(), of: of.to_owned(), steps: Vec::new() });
        return Some(());
    }
    let steps = &mut cases.last_mut()?.steps;
    if mark == ">" {
        let is_begun = |step: &Step| step.answer.is_none() && step.sees.is_empty();
        match steps.last_mut().filter(|step| is_begun(step)) {
            Some(step) => step.fields.push(rest.to_owned()),
            None => {
                let (method, query) = rest.split_once(' ').unwrap_or((rest, ""));
                let (method, query) = (method.to_owned(), query.to_owned());
                steps.push(Step { method, query, ..Step::default() });
            }
        }
        return Some(());
    }
    let step = steps.last_mut()?;
    match mark {
        "<" => {
            let answer = step.answer.get_or_insert_default();
            answer.head += rest;
            answer.head += "\n";
        }
        ">>" => step.body += rest,
        "<<" => step.answer.as_mut()?.body += rest,
        "@" => step.asked_with.push(field(rest)?),
        "=" => step.sees.push(sight(rest)?),
        "==" => step.sees.push(Sight::Body(rest.to_owned())),
        _ => return None,
    }
    Some(())
}

fn sight(text: &str) -> Option<Sight> {
    let words = || text.split(' ').skip(1).map(str::to_owned).collect();
    Some(match text.split(' ').next()? {
        "stored" => Sight::Stored,
        "cache" => Sight::Cache(words()),
        "interim" => Sight::Interim(text.split(' ').nth(1)?.parse().ok()?),
        status if status.len() == 3 && status.parse::<u16>().is_ok() => {
            Sight::Status(status.parse().ok()?)
        }
        _ => Sight::Field(field(text)?),
    })
}

fn field(text: &str) -> Option<Line> {
    if let Some(name) = text.strip_prefix('-') {
        return Some(Line::IsNot(name.to_owned()));
    }
    let (name, value) = text.split_once(':')?;
    Some(Line::Is(name.to_owned(), value.trim_start().to_owned()))
}

/// With dates in the place of what stands for them.
fn dated(text: &str) -> String {
    let now = SystemTime::now();
    let mut pieces = text.split('{');
    let mut dated = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let date = piece.split_once('}').and_then(|(seconds, rest)| {
            let seconds: i64 = seconds.parse().ok()?;
            let apart = Duration::from_secs(seconds.unsigned_abs());
            let time = if seconds < 0 { now - apart } else { now + apart };
            Some(httpdate::fmt_http_date(time) + rest)
        });
        match date {
            Some(text) => dated += &text,
            None => dated += &format!("{{{piece}"),
        }
    }
    dated
}

#[test]
fn a_case_is_read_as_it_is_written() {
    let text = "# one\ncase a/b: RFC 9111 §1\n> GET ?x\n> A: 1\n< HTTP/1.1 200 OK\n< {0}\n<< b\n@ -Range\n= 200\n\
                = Age: 1..2\n= cache hit -stored\n== b\n> HEAD\n= -Age\n= stored\n= interim 103\n";
    let cases = read(text);
    assert_eq!(
        (cases.len(), cases[0].name.as_str(), cases[0].of.as_str()),
        (1, "a/b", "RFC 9111 §1")
    );
    let [first, second] = &cases[0].steps[..] else { panic!("{cases:?}") };
    assert_eq!((first.method.as_str(), first.query.as_str(), first.fields.len()), ("GET", "?x", 1));
    let answer = first.answer.clone().unwrap();
    assert!(answer.head.starts_with("HTTP/1.1 200 OK\n") && answer.head.ends_with("GMT\n"));
    assert_eq!(answer.body, "b");
    assert_eq!(first.asked_with, [Line::IsNot("Range".to_owned())]);
    let words = vec!["hit".to_owned(), "-stored".to_owned()];
    let age = Line::Is("Age".to_owned(), "1..2".to_owned());
    let body = Sight::Body("b".to_owned());
    assert_eq!(first.sees, [Sight::Status(200), Sight::Field(age), Sight::Cache(words), body]);
    let none = Sight::Field(Line::IsNot("Age".to_owned()));
    assert_eq!(second.sees, [none, Sight::Stored, Sight::Interim(103)]);
    assert!(second.answer.is_none() && second.method == "HEAD");
}
