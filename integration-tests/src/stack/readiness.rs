//! When a stack serves: each part for itself is not enough, they have to find each other.

use std::time::Duration;

use super::Stack;
use super::envoy::{Envoy, healthy};
use super::error::Error;
use super::options::StackOptions;
use super::process::Process;
use super::say::Line;
use super::wait::Wait;

/// How long all parts together may take to find each other, once each of them serves.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Time between two looks at whether they have.
const READY_INTERVAL: Duration = Duration::from_millis(50);

impl Stack {
    /// The edge takes all replicas for healthy, a failover would succeed, and if each worker `connects` before its first
    /// request, all have.
    pub(super) fn wait_until_ready(
        &self,
        options: &StackOptions,
        connects: bool,
    ) -> Result<(), Error> {
        let wait = Wait { limit: READY_LIMIT, interval: READY_INTERVAL, cancel: &options.cancel };
        let mut said = String::new();
        let mut guilty = None;
        let outcome = wait.until("the parts to find each other", || {
            let Err((part, lacking)) = self.ready(options.workers, connects) else {
                return Ok(Ok(()));
            };
            if part.pid().is_none() {
                return Ok(Err(part.failure("died while the stack was starting".into())));
            }
            if said != lacking {
                (options.say)(Line::Progress(&format!("waiting: {lacking}")));
                said.clone_from(&lacking);
            }
            guilty = Some(part);
            Err(lacking)
        });
        match (outcome, guilty) {
            (Ok(outcome), _) => outcome,
            (Err(Error::Timeout { last, limit, .. }), Some(part)) => {
                Err(part.failure(format!("after {limit:?}: {last}")))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// The part that is not ready, and what it lacks.
    fn ready(&self, workers: u32, connects: bool) -> Result<(), (&Process, String)> {
        let addresses: Vec<_> = self.replicas.iter().map(Envoy::http).collect();
        let clusters = self.edge.admin_get("/clusters").unwrap_or_default();
        let healthy = healthy(&clusters, &addresses);
        if healthy < addresses.len() {
            let lacking = format!("edge finds {healthy} of {} replicas healthy", addresses.len());
            return Err((&self.edge, lacking));
        }
        let Some(redis) = &self.redis else {
            return Ok(());
        };
        redis.watched()?;
        if !connects {
            return Ok(());
        }
        for replica in &self.replicas {
            let connections = replica.metric("meliproxy_redis_connections", &[]).unwrap_or(0.0);
            if connections != f64::from(workers) {
                let name = replica.name();
                let lacking = format!("{name} has {connections} Redis connections, of {workers}");
                return Err((replica, lacking));
            }
        }
        Ok(())
    }
}
