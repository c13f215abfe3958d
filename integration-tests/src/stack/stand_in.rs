//! The stand-in upstream as a part of the stack.

use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::Context;
use super::error::Error;
use super::ports::{free_address, retry_port_clash};
use super::process::{Process, Spec};

/// How long it may take to serve.
const START_LIMIT: Duration = Duration::from_secs(10);

/// The `upstream` program of this crate, running.
#[derive(Debug)]
pub struct StandIn {
    process: Arc<Process>,
    http: SocketAddr,
    control: SocketAddr,
}

impl StandIn {
    pub(crate) fn start(context: &Context) -> Result<Self, Error> {
        retry_port_clash(|| Self::start_once(context))
    }

    fn start_once(context: &Context) -> Result<Self, Error> {
        let (http, control) = (free_address()?, free_address()?);
        let ready = context.state().path("upstream.ready");
        let args = vec![
            "--listen".into(),
            http.to_string().into(),
            "--control".into(),
            control.to_string().into(),
            "--ready-file".into(),
            ready.clone().into(),
        ];
        let unready = ready.clone();
        let spec = Spec {
            name: "upstream".into(),
            program: context.options.stand_in(),
            args,
            env: Vec::new(),
            log: context.state().log("upstream"),
            prepare: Box::new(move || {
                // Left from an earlier start, or absent.
                let _ = fs::remove_file(&unready);
                Ok(())
            }),
            ready: Box::new(move || {
                if ready.exists() { Ok(()) } else { Err("has not said that it serves".into()) }
            }),
            limit: START_LIMIT,
            cancel: context.options.cancel.clone(),
        };
        let process = context.launch(&format!("upstream (stand-in) on {http}"), spec)?;
        Ok(Self { process, http, control })
    }

    /// Where it plays the API.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it is told how to behave and asked what it received.
    #[must_use]
    pub fn control(&self) -> SocketAddr {
        self.control
    }
}

impl Deref for StandIn {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
