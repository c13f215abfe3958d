//! A replica in front of the shop, and both sides of an attack.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use integration_tests::client::{Client, Response};
use integration_tests::scene::Scene;
use integration_tests::scripted::Scripted;
use integration_tests::stack::{Origin, Reply, Upstream, wait_until};
use serde_json::json;

use crate::corpus::Attack;
use crate::shop;

/// How long anything may take that has no limit of its own.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// What nobody but who sent it must see.
const MARKER: &[u8] = b"marker";

pub(crate) struct Rig {
    scene: Scene,
    shop: Scripted,
    numbers: AtomicU32,
}

impl Rig {
    /// A policy with this profile for all, and one with a default for static files.
    pub(crate) fn start(profile: &str, memory: &str) -> Self {
        let config = json!({
            "version": 1,
            "redis": {"namespace": "attack", "timeout": "1s"},
            "routes": [{"name": "static", "path": "/static/{*rest}"}],
            "cache": [
                {"name": "all", "profile": profile},
                {"name": "static", "routes": ["static"], "profile": profile, "default_ttl": "60s"},
            ],
            "cache_memory": memory,
        });
        let shop = Scripted::start(shop::answer).unwrap();
        let origin = Upstream::Url(Origin::parse(&shop.url()).unwrap());
        let start =
            |options: integration_tests::stack::StackOptions| options.replicas(1).upstream(origin);
        let scene = Scene::start(&config.to_string(), start).unwrap();
        let rig = Self { scene, shop, numbers: AtomicU32::new(1) };
        rig.settle();
        rig
    }

    /// Past the edge, as whoever is inside could.
    pub(crate) fn replica(&self) -> SocketAddr {
        self.scene.replica(0).http()
    }

    pub(crate) fn edge(&self) -> SocketAddr {
        self.scene.edge().http()
    }

    pub(crate) fn next_number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.scene.replica(0).metric(name, &[]).unwrap()
    }

    pub(crate) fn redis(&self, words: &[&str]) -> Reply {
        self.scene.redis().unwrap().primary().unwrap().ask(words).unwrap()
    }

    /// How often the shop was asked for a target since this was called last.
    pub(crate) fn asked_for(&self, target: &str) -> usize {
        self.shop.take_asked().iter().filter(|asked| asked.target == target).count()
    }

    /// Returns once all that was to be stored is: what is stored later is.
    pub(crate) fn settle(&self) {
        let request = format!("GET /page/settled-{}", self.next_number());
        wait_until("something to be stored", SOON, || {
            let response = send(self.replica(), &request).unwrap();
            if is_hit(&response) {
                Ok(())
            } else {
                Err(format!("{:?}", response.header("cache-status")))
            }
        })
        .unwrap();
    }

    /// # Errors
    /// What the other side saw, and must not have.
    pub(crate) fn suffer(&self, to: SocketAddr, attack: &Attack<'_>) -> Result<(), String> {
        let number = self.next_number().to_string();
        let filled = |text: &str| text.replace("{n}", &number).replace("{long}", &"m".repeat(8000));
        for request in attack.first {
            // Some are no requests at all, and what they are answered is not for anybody else.
            let _ = send(to, &filled(request));
        }
        self.settle();
        let then = filled(attack.then);
        let seen = send(to, &then).map_err(|error| error.to_string())?;
        // Envoy's word, of what is no request, and not out of the store.
        let is_own_refusal = seen.status == 400 && seen.header("cache-status").is_none();
        if shows(&seen) || (seen.status != 200 && !is_own_refusal) {
            return Err(told(&seen));
        }
        Ok(())
    }

    /// Whoever asks for what may be stored is answered from the store the second time.
    ///
    /// # Errors
    /// What they were answered.
    pub(crate) fn serve_honestly(&self, to: SocketAddr, target: &str) -> Result<(), String> {
        let request = format!("GET {target}");
        let seen = |_| send(to, &request).map_err(|error| error.to_string());
        let _first = seen(())?;
        self.settle();
        let _ = self.asked_for(target);
        let second = seen(())?;
        let asked = self.asked_for(target);
        if is_hit(&second) && second.status == 200 && asked == 0 {
            return Ok(());
        }
        Err(format!("asked {asked} times: {}", told(&second)))
    }

    #[track_caller]
    pub(crate) fn assert_no_crash(&self) {
        let log = self.scene.replica(0).log();
        assert!(!log.contains("in-VM backtrace") && !log.contains("panicked at"), "{log}");
    }
}

/// Whether the marker is anywhere in what was seen.
pub(crate) fn shows(seen: &Response) -> bool {
    let has = |bytes: &[u8]| memchr::memmem::find(&bytes.to_ascii_lowercase(), MARKER).is_some();
    has(&seen.body) || seen.headers.iter().any(|(_, value)| has(value))
}

fn told(seen: &Response) -> String {
    let cache = seen.header("cache-status").unwrap_or("no Cache-Status");
    format!("{}, {cache}\n{}", seen.status, seen.text())
}

pub(crate) fn is_hit(seen: &Response) -> bool {
    seen.values("cache-status").any(|value| value.starts_with(b"meliproxy; hit"))
}

/// Sends a request as the corpus writes it, on a connection of its own. Each character is a byte.
pub(crate) fn send(to: SocketAddr, text: &str) -> std::io::Result<Response> {
    let (head, body) =
        text.split_once("\n\n").map_or((text, None), |(head, body)| (head, Some(body)));
    let (line, fields) = head.split_once('\n').map_or((head, ""), |(line, fields)| (line, fields));
    let is_whole = line.contains(" HTTP/1.");
    let host = if is_whole { "" } else { " HTTP/1.1\nHost: shop.example" };
    let separator = if fields.is_empty() { "" } else { "\n" };
    let text = format!("{line}{host}{separator}{fields}\n\n{}", body.unwrap_or_default());
    let text = text.replace('\n', "\r\n").replace("{lf}", "\n");
    let bytes: Vec<u8> =
        text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
    let method = line.split(' ').next().unwrap_or_default();
    Client::new(to).send_bytes(method, &bytes)
}
