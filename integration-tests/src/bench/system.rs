//! What is compared: a table with one entry per system.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Agent;

use super::load::{FIRST_CLIENT, Outcome, PATH};
use super::{Error, peer};
use crate::stack::{
    Origin, Process, RedisNode, Stack, StackOptions, Upstream, repository, wait_until,
};

/// How long a system may take to say how it is, on a machine that is busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// One proxy under test.
#[derive(Debug, Clone, Copy)]
pub struct System {
    /// What options and results call it.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Whether it refuses every request with 429 instead of passing it on.
    refuses: bool,
    /// How many clients ask, in turns.
    pub(super) clients: u32,
    proxy: Proxy,
}

/// Enough clients that no two requests on their way are of the same one.
const MANY: u32 = 10_000;

/// So few that each of them is a hot key.
const FEW: u32 = 16;

/// What stands between client and upstream.
#[derive(Debug, Clone, Copy)]
enum Proxy {
    /// A replica's Envoy without anything of meliproxy.
    Envoy,
    /// A replica with the filter and a file of rules.
    Filter { rules: &'static str, redis: bool },
    /// The same Envoy with another filter, from a file of `peers`.
    Peer { filter: &'static str },
    /// The same Envoy with a filter that asks Redis through Webdis.
    Webdis,
}

/// All systems. The first is what the others are compared with.
pub const SYSTEMS: &[System] = &[
    System {
        name: "plain",
        about: "Envoy without the filter",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Envoy,
    },
    System {
        name: "no-rules",
        about: "filter, no rules",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Filter { rules: "none.json", redis: false },
    },
    System {
        name: "breaker",
        about: "no rules, one closed breaker of the fleet",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Filter { rules: "breaker.json", redis: true },
    },
    System {
        name: "three-local",
        about: "three rules, counted per process",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Filter { rules: "three.json", redis: false },
    },
    System {
        name: "three-exact",
        about: "three exact rules, counted in Redis",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Filter { rules: "three.json", redis: true },
    },
    System {
        name: "three-breaker",
        about: "three exact rules and one closed breaker of the fleet",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Filter { rules: "three-breaker.json", redis: true },
    },
    System {
        name: "three-leased",
        about: "three leased rules of hot keys, counted in Redis ahead of need",
        refuses: false,
        clients: FEW,
        proxy: Proxy::Filter { rules: "three-leased.json", redis: true },
    },
    System {
        name: "three-callout",
        about: "three exact rules, Redis reached by calls",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Filter { rules: "three-callout.json", redis: true },
    },
    System {
        name: "three-gradual",
        about: "a sliding window and two token buckets, exact",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Filter { rules: "three-gradual.json", redis: true },
    },
    System {
        name: "three-webdis",
        about: "the three exact rules by Envoy's Lua filter and Webdis",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Webdis,
    },
    System {
        name: "native",
        about: "Envoy's local_ratelimit, one bucket",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Peer { filter: "local-passes.yaml" },
    },
    System {
        name: "refused",
        about: "refused: a key over its limit",
        refuses: true,
        clients: 1,
        proxy: Proxy::Filter { rules: "refused.json", redis: true },
    },
    System {
        name: "cache-l1",
        about: "cache: hits in the worker's memory",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Filter { rules: "cache-l1.json", redis: true },
    },
    System {
        name: "cache-l2",
        about: "cache: hits in Redis",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Filter { rules: "cache-l2.json", redis: true },
    },
    System {
        name: "cache-miss",
        about: "cache: a response that is too large to be stored",
        refuses: false,
        clients: MANY,
        proxy: Proxy::Filter { rules: "cache-miss.json", redis: true },
    },
    System {
        name: "native-refused",
        about: "refused by Envoy's local_ratelimit",
        refuses: true,
        clients: 1,
        proxy: Proxy::Peer { filter: "local-refuses.yaml" },
    },
];

/// A system that serves.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) system: System,
    stack: Stack,
    webdis: Option<Process>,
}

impl System {
    /// Starts it in `folder`, in front of `upstream`, and waits until it answers as it should.
    pub(super) fn start(&self, folder: &Path, upstream: SocketAddr) -> Result<Running, Error> {
        let folder = folder.join(self.name);
        let options = StackOptions::new(&folder)
            .replicas(1)
            .workers(1)
            .edge_port(0)
            .upstream(Upstream::Url(Origin::parse(&format!("http://{upstream}"))?));
        let options = match self.proxy {
            Proxy::Envoy | Proxy::Peer { .. } => options.plain(true).redis(false),
            Proxy::Webdis => options.plain(true),
            Proxy::Filter { rules, redis } => options.config(&rules_file(rules)).redis(redis),
        };
        let stack = Stack::start(options)?;
        // The load goes to the replica; an edge would only ask after its health.
        stack.edge().stop();
        let mut running = Running { system: *self, stack, webdis: None };
        match self.proxy {
            Proxy::Envoy | Proxy::Filter { .. } => {}
            Proxy::Peer { filter } => running.install(&folder, &peer::text(filter, &[])?, "")?,
            Proxy::Webdis => running.start_webdis(&folder)?,
        }
        running.wait_for_answers()?;
        Ok(running)
    }

    /// Whether all answers were what this system has to give.
    pub(super) fn check(&self, outcome: &Outcome) -> Result<(), Error> {
        let refused = if self.refuses { outcome.requests } else { 0 };
        if (outcome.failed, outcome.refused) == (0, refused) {
            return Ok(());
        }
        Err(Error::System {
            system: self.name,
            problem: format!(
                "of {} answers {} have a status of 400 or more, expected were {refused}; \
                 {} connections failed",
                outcome.requests, outcome.refused, outcome.failed
            ),
        })
    }
}

impl Running {
    /// Where it serves.
    pub(super) fn address(&self) -> SocketAddr {
        self.stack.replica(0).http()
    }

    /// The process of the proxy.
    pub(super) fn proxy(&self) -> Result<u32, Error> {
        self.stack.replica(0).pid().ok_or_else(|| self.lost("the proxy"))
    }

    /// The process of Webdis, if there is one.
    pub(super) fn webdis(&self) -> Option<u32> {
        self.webdis.as_ref().and_then(Process::pid)
    }

    fn install(&self, folder: &Path, filter: &str, cluster: &str) -> Result<(), Error> {
        peer::install(folder, self.stack.replica(0), filter, cluster)
    }

    fn start_webdis(&mut self, folder: &Path) -> Result<(), Error> {
        let (Some(redis), Some(primary)) = (self.stack.redis(), self.redis()?) else {
            return Err(self.lost("Redis"));
        };
        let digest = peer::load_script(primary)?;
        let (webdis, address) = peer::start_webdis(folder, redis, primary.address())?;
        let filter = peer::text("webdis.yaml", &[("${DIGEST}", &digest)])?;
        let port = address.port().to_string();
        let cluster = peer::text("webdis.cluster.yaml", &[("${PORT}", &port)])?;
        self.webdis = Some(webdis);
        self.install(folder, &filter, &cluster)
    }

    /// The Redis node that counts, if one does.
    pub(super) fn redis(&self) -> Result<Option<&RedisNode>, Error> {
        let Some(redis) = self.stack.redis() else {
            return Ok(None);
        };
        let what = "the Sentinels to agree on the primary";
        let primary = wait_until(what, ANSWER_LIMIT, || {
            redis.primary().ok_or_else(|| "they do not".to_owned())
        })?;
        Ok(Some(primary))
    }

    /// Requests that Redis was to decide and that were decided without it, so far.
    pub(super) fn without_redis(&self) -> Result<f64, Error> {
        let replica = self.stack.replica(0);
        let metric = || replica.metric("meliproxy_redis_failures_total", &[]);
        // Right after the load Envoy may still be short of CPU time.
        let what = "Envoy's metrics";
        Ok(wait_until(what, ANSWER_LIMIT, || metric().map_err(|error| error.to_string()))?)
    }

    /// An error about a part that has died or changed.
    pub(super) fn lost(&self, part: &str) -> Error {
        Error::System { system: self.system.name, problem: format!("{part} was lost") }
    }

    fn wait_for_answers(&self) -> Result<(), Error> {
        let expected = if self.system.refuses { 429 } else { 200 };
        let agent: Agent = Agent::config_builder()
            .timeout_global(Some(ANSWER_LIMIT))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let url = format!("http://{}{PATH}", self.address());
        let what = format!("{} to answer {expected}", self.system.name);
        wait_until(&what, ANSWER_LIMIT, || {
            let request = agent.get(&url).header("X-Forwarded-For", FIRST_CLIENT);
            let answer = request.call().map_err(|error| error.to_string())?;
            match answer.status().as_u16() {
                status if status == expected => Ok(()),
                status => Err(format!("status {status}")),
            }
        })?;
        Ok(())
    }
}

fn rules_file(name: &str) -> PathBuf {
    repository().join("integration-tests/src/bench/rules").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(name: &str, refused: u64, failed: u64) -> bool {
        let system = SYSTEMS.iter().find(|system| system.name == name).unwrap();
        let outcome =
            Outcome { requests: 100, duration: 1, p50: 1, p99: 1, max: 1, refused, failed };
        system.check(&outcome).is_ok()
    }

    #[test]
    fn one_wrong_answer_is_an_error() {
        assert!(accepted("plain", 0, 0));
        assert!(!accepted("plain", 1, 0));
        assert!(!accepted("plain", 0, 1));
        assert!(accepted("refused", 100, 0));
        assert!(!accepted("refused", 99, 0));
        assert!(!accepted("refused", 100, 1));
    }

    #[test]
    fn rules_and_filters_of_all_systems_are_files() {
        for system in SYSTEMS {
            let file = match system.proxy {
                Proxy::Filter { rules, .. } => rules_file(rules),
                Proxy::Peer { filter } => peer::path(filter),
                Proxy::Webdis => peer::path("webdis.yaml"),
                Proxy::Envoy => continue,
            };
            assert!(file.is_file(), "{}", file.display());
        }
    }
}
