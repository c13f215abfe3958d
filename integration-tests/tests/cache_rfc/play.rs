//! A replica with a cache, an upstream that answers what a case says, and a client that looks at what comes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use integration_tests::client::{Client, Response};
use integration_tests::scene::Scene;
use integration_tests::scripted::{Scripted, response};
use integration_tests::stack::{Origin, Upstream, wait_until};
use sfv::{BareItem, Item, List, ListEntry, Parser};

use crate::script::{Answer, Case, Line, Sight, Step};

/// How long anything may take that has no limit of its own.
const SOON: Duration = Duration::from_secs(10);

/// Policies by the first segment of the path; all that has none is under that of the RFC.
const CONFIG: &str = r#"{
  "version": 1,
  "redis": {"namespace": "rfc", "timeout": "1s"},
  "routes": [
    {"name": "strict", "path": "/strict/{*rest}"},
    {"name": "ttl", "path": "/ttl/{*rest}"},
    {"name": "grace", "path": "/grace/{*rest}"},
    {"name": "keyed", "path": "/keyed/{*rest}"}
  ],
  "cache": [
    {"name": "rfc"},
    {"name": "strict", "routes": ["strict"], "profile": "strict"},
    {"name": "ttl", "routes": ["ttl"], "default_ttl": "60s", "max_object": "64B"},
    {"name": "grace", "routes": ["grace"], "stale_if_error": "60s"},
    {"name": "keyed", "routes": ["keyed"],
     "key": {"drop_query": ["utm_*"], "sort_query": true, "headers": ["x-version"], "cookies": ["lang"]}}
  ],
  "response_fields": []
}"#;

/// What the upstream answers next: the step that is played says so.
type Next = Arc<Mutex<Option<Answer>>>;

pub(crate) struct Stage {
    scene: Scene,
    upstream: Scripted,
    next: Next,
}

impl Stage {
    pub(crate) fn start() -> Self {
        let next = Next::default();
        let told = Arc::clone(&next);
        let upstream = Scripted::start(move |asked| {
            let answer = told.lock().unwrap().take();
            let unexpected = "HTTP/1.1 599 Not Expected\nCache-Control: no-store";
            let Answer { head, body } = answer.unwrap_or_else(|| Answer {
                head: unexpected.to_owned(),
                body: "the upstream was not to be asked".to_owned(),
            });
            response(asked, &head, body.as_bytes())
        });
        let upstream = upstream.unwrap();
        let origin = Upstream::Url(Origin::parse(&upstream.url()).unwrap());
        let scene = Scene::start(CONFIG, |options| options.replicas(1).upstream(origin)).unwrap();
        let stage = Self { scene, upstream, next };
        stage.wait_until_joined();
        stage
    }

    /// Before the cache has its connection nothing is stored.
    fn wait_until_joined(&self) {
        let warm = "HTTP/1.1 200 OK\nCache-Control: max-age=60".to_owned();
        wait_until("something to be stored", SOON, || {
            *self.next.lock().unwrap() = Some(Answer { head: warm.clone(), body: String::new() });
            Client::new(self.address()).get("/warm").map_err(|error| error.to_string())?;
            if self.count("stored") > 0.0 { Ok(()) } else { Err("it was not".to_owned()) }
        })
        .unwrap();
        *self.next.lock().unwrap() = None;
        let _ = self.upstream.take_asked();
    }

    fn address(&self) -> std::net::SocketAddr {
        self.scene.replica(0).http()
    }

    fn count(&self, series: &str) -> f64 {
        let name = format!("meliproxy_cache_{series}_total");
        self.scene.replica(0).metric(&name, &[]).unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_no_crash(&self) {
        let log = self.scene.replica(0).log();
        assert!(!log.contains("in-VM backtrace") && !log.contains("panicked at"), "{log}");
    }

    /// # Errors
    /// What was not as the case says.
    pub(crate) fn play(&self, case: &Case) -> Result<(), String> {
        for (number, step) in case.steps.iter().enumerate() {
            self.play_step(&case.name, step)
                .map_err(|why| format!("request {}: {why}", number + 1))?;
        }
        Ok(())
    }

    fn play_step(&self, path: &str, step: &Step) -> Result<(), String> {
        let Step { method, query, fields, body, answer, .. } = step;
        let fields: String = fields.iter().map(|line| format!("{line}\r\n")).collect();
        let request =
            format!("{method} /{path}{query} HTTP/1.1\r\nHost: rfc.example\r\n{fields}\r\n{body}");
        let stored = self.count("stored");
        let _ = self.upstream.take_asked();
        (*self.next.lock().unwrap()).clone_from(answer);
        let sent = Client::new(self.address()).send_bytes(method, &latin(&request));
        let seen = sent.map_err(|error| error.to_string())?;
        let told = |why| format!("{why}\n{}\n{}", heads(&seen), seen.text());
        step.sees
            .iter()
            .try_for_each(|sight| see(&seen, sight))
            .and_then(|()| well_formed(&seen))
            .map_err(told)?;
        if step.sees.contains(&Sight::Stored) {
            let is_stored = || if self.count("stored") > stored { Ok(()) } else { Err("no") };
            wait_until("it to be stored", SOON, || is_stored().map_err(str::to_owned))
                .map_err(|error| error.to_string())?;
        }
        self.look_upstream(step)
    }

    /// What the upstream was asked, in the background too.
    fn look_upstream(&self, step: &Step) -> Result<(), String> {
        let mut asked = Vec::new();
        if step.answer.is_some() {
            wait_until("the upstream to be asked", SOON, || {
                asked.extend(self.upstream.take_asked());
                if asked.is_empty() { Err("it was not".to_owned()) } else { Ok(()) }
            })
            .map_err(|error| error.to_string())?;
        } else {
            asked = self.upstream.take_asked();
        }
        let expected = usize::from(step.answer.is_some());
        if asked.len() != expected {
            return Err(format!("the upstream was asked {} times: {asked:?}", asked.len()));
        }
        let fits = |line: &Line| {
            let lines = |name: &str| asked[0].values(name).map(unlatin).collect();
            fits(line, lines).map_err(|why| format!("the upstream was asked with {why}"))
        };
        step.asked_with.iter().try_for_each(fits)
    }
}

/// Whether a client has seen that.
fn see(seen: &Response, sight: &Sight) -> Result<(), String> {
    let told = |is: bool, found: String| if is { Ok(()) } else { Err(found) };
    match sight {
        Sight::Status(status) => {
            told(seen.status == *status, format!("status {} in place of {status}", seen.status))
        }
        Sight::Interim(status) => {
            let found: Vec<_> = seen.interim.iter().map(|(status, _)| *status).collect();
            told(found.contains(status), format!("interim responses {found:?}"))
        }
        Sight::Body(body) => told(seen.text() == *body, format!("the body is not {body:?}")),
        Sight::Field(line) => fits(line, |name| seen.values(name).map(unlatin).collect()),
        Sight::Cache(words) => {
            let member = cache_status(seen)?.ok_or("no member of Cache-Status")?;
            words.iter().try_for_each(|word| {
                let (word, wanted) = word.strip_prefix('-').map_or((&**word, true), |w| (w, false));
                told(has(&member, word) == wanted, format!("Cache-Status: {word} is not {wanted}"))
            })
        }
        // Looked for elsewhere.
        Sight::Stored => Ok(()),
    }
}

/// Whether `lines` gives for a name what there has to be.
fn fits<'n>(line: &'n Line, lines: impl Fn(&'n str) -> Vec<String>) -> Result<(), String> {
    let (name, is) = match line {
        Line::IsNot(name) => (name, lines(name).is_empty()),
        Line::Is(name, value) => (name, lines(name).iter().any(|found| is_value(found, value))),
    };
    if is { Ok(()) } else { Err(format!("{name}: {:?} where {line:?}", lines(name))) }
}

fn is_value(found: &str, expected: &str) -> bool {
    let bounds = expected
        .split_once("..")
        .and_then(|(least, most)| Some(least.parse::<i64>().ok()?..=most.parse::<i64>().ok()?));
    match (bounds, found.parse()) {
        (Some(bounds), Ok(number)) => bounds.contains(&number),
        (Some(_), Err(_)) => false,
        (None, _) => expected == "*" || found == expected,
    }
}

/// Our member of `Cache-Status` (RFC 9211 §2), if there is one.
fn cache_status(seen: &Response) -> Result<Option<Item>, String> {
    let lines: Vec<_> = seen.values("cache-status").collect();
    let list: List = Parser::new(&lines.join(&b", "[..]))
        .parse()
        .map_err(|error| format!("Cache-Status is no list: {error}"))?;
    let ours = |entry: ListEntry| match entry {
        ListEntry::Item(item) => {
            let is_ours =
                item.bare_item.as_token().is_some_and(|name| name.as_str() == "meliproxy");
            is_ours.then_some(item)
        }
        ListEntry::InnerList(_) => None,
    };
    Ok(list.into_iter().filter_map(ours).next_back())
}

/// Each parameter has the type that RFC 9211 §2 gives it; what was a hit was not forwarded.
fn well_formed(seen: &Response) -> Result<(), String> {
    let Some(Item { params, .. }) = cache_status(seen)? else { return Ok(()) };
    let is_sound = params.iter().all(|(name, value)| match name.as_str() {
        "hit" | "stored" | "collapsed" => value.as_boolean() == Some(true),
        "fwd" | "detail" => value.as_token().is_some(),
        "fwd-status" | "ttl" => value.as_integer().is_some(),
        _ => false,
    });
    let names: Vec<_> = params.keys().map(|name| name.as_str()).collect();
    if is_sound && !(names.contains(&"hit") && names.contains(&"fwd")) {
        return Ok(());
    }
    Err(format!("Cache-Status: {params:?}"))
}

fn has(member: &Item, word: &str) -> bool {
    let (name, value) =
        word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
    let text = |item: &BareItem| match (item.as_token(), item.as_integer()) {
        (Some(token), _) => token.as_str().to_owned(),
        (_, Some(number)) => number.to_string(),
        _ => format!("{item:?}"),
    };
    let found = member.params.iter().find(|(key, _)| key.as_str() == name);
    found.is_some_and(|(_, item)| value.is_none_or(|value| is_value(&text(item), value)))
}

fn heads(seen: &Response) -> String {
    let line = |(name, value): &(String, Vec<u8>)| format!("  {name}: {}\n", unlatin(value));
    format!("{}\n{}", seen.status, seen.headers.iter().map(line).collect::<String>())
}

fn latin(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

fn unlatin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
