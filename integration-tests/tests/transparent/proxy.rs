//! Edge and replica, with the test at both ends.

use std::io::Write as _;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use integration_tests::scene::Scene;
use integration_tests::stack::{Origin, Upstream, wait_until};

use crate::wire::{Message, Wire};

/// No limit that any test reaches, but Redis is asked: each request waits in the filter and is let go.
pub(crate) const CONFIG: &str = r#"{
  "version": 1,
  "redis": {"namespace": "transparent", "timeout": "1s"},
  "quotas": [{"name": "all", "limit": 1000000, "per": "365d"}],
  "response_fields": []
}"#;

pub(crate) struct Proxy {
    scene: Scene,
    upstream: TcpListener,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        upstream.set_nonblocking(true).unwrap();
        let url = format!("http://{}", upstream.local_addr().unwrap());
        let origin = Upstream::Url(Origin::parse(&url).unwrap());
        let scene = Scene::start(CONFIG, |options| options.replicas(1).upstream(origin)).unwrap();
        Self { scene, upstream }
    }

    /// A connection of a client.
    pub(crate) fn connect(&self) -> Wire {
        Wire::connect(self.scene.edge().http())
    }

    /// The upstream's end of the next connection to it.
    pub(crate) fn accept(&self) -> Wire {
        let limit = Duration::from_secs(10);
        let accepted = wait_until("a connection to the upstream", limit, || {
            self.upstream.accept().map_err(|error| error.to_string())
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        Wire::new(stream)
    }

    /// Sends `request`, answers it with `response`, which has to close the connection, and returns what the upstream
    /// and what the client received.
    pub(crate) fn exchange(&self, request: &[u8], response: &[u8]) -> (Message, Message) {
        let mut client = self.connect();
        thread::scope(|scope| {
            let mut sender = client.sender();
            // A large body is taken in only while the upstream reads.
            scope.spawn(move || sender.write_all(request).unwrap());
            let mut upstream = self.accept();
            let received = upstream.take_request();
            let mut sender = upstream.sender();
            scope.spawn(move || {
                sender.write_all(response).unwrap();
                drop((sender, upstream));
            });
            let method = received.start.split(' ').next().unwrap();
            let answered = client.take_response(method);
            (received, answered)
        })
    }
}
