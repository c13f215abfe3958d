//! A Redis of its own for each test, and the filter's client on it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::time::{Duration, Instant};

use integration_tests::stack::{StackOptions, wait_until};
use meliproxy::redis::{Client, Command, Event, Options, Request, Ticket, Value};
use meliproxy::rng::Rng;
use meliproxy::time;
use tempfile::TempDir;

/// How long one burst of commands may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `redis-server` of this test alone, on a Unix socket in a folder of its own.
pub(crate) struct Server {
    process: Child,
    folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = TempDir::with_prefix("meliproxy-").unwrap();
        let process = Program::new(StackOptions::new(folder.path()).tool("redis-server"))
            .current_dir(folder.path())
            .args(["--port", "0", "--unixsocket", "redis.sock", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, folder }
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// A client with these scripts.
    pub(crate) fn connect(&self, scripts: &'static [&'static str]) -> Connection {
        let socket = self.socket();
        let connect = || Connection::open(&socket, scripts).map_err(|error| error.to_string());
        wait_until("redis-server to listen", Duration::from_secs(10), connect).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The filter's client, and the stream it is driven on.
pub(crate) struct Connection {
    client: Client,
    stream: UnixStream,
    started: Instant,
}

impl Connection {
    fn open(socket: &Path, scripts: &'static [&'static str]) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_millis(2)))?;
        let options =
            Options { scripts, command_timeout: Duration::from_secs(10), ..Options::default() };
        let client = Client::new(options, Rng::with_seed(1));
        Ok(Self { client, stream, started: Instant::now() })
    }

    /// For the client no time passes: what a busy machine delays must not look like a Redis that is dead.
    fn now(&self) -> time::Instant {
        assert!(self.started.elapsed() < PATIENCE, "Redis has not answered for too long");
        time::Instant::from_micros(1)
    }

    /// Hands in all requests at once and returns their replies in the same order.
    pub(crate) fn ask(&mut self, requests: Vec<Request>) -> Vec<Value> {
        self.started = Instant::now();
        let mut replies: Vec<Option<Value>> = vec![None; requests.len()];
        for (index, request) in requests.into_iter().enumerate() {
            self.client.submit(self.now(), request, Ticket(index as u64)).unwrap();
        }
        while replies.iter().any(Option::is_none) {
            self.client.handle_timeout(self.now());
            self.drain(&mut replies);
            let mut buffer = [0; 16 << 10];
            match self.stream.read(&mut buffer) {
                Ok(length) => {
                    assert!(length > 0, "redis-server closed the connection");
                    self.client.handle_input(self.now(), &buffer[..length]);
                    self.drain(&mut replies);
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
        }
        replies.into_iter().map(Option::unwrap).collect()
    }

    fn drain(&mut self, replies: &mut [Option<Value>]) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Connect | Event::Ready { .. } | Event::Message { .. } | Event::Push(_) => {}
                Event::Reply { ticket, value, .. } => replies[ticket.0 as usize] = Some(value),
                Event::Disconnect | Event::Lost { .. } | Event::Failed { .. } => {
                    panic!("{event:?}")
                }
            }
        }
        if let Some(bytes) = self.client.poll_transmit() {
            self.stream.write_all(&bytes).unwrap();
        }
    }

    pub(crate) fn command(&mut self, words: &[&[u8]]) -> Value {
        let command =
            words[1..].iter().fold(Command::new(words[0]), |command, word| command.arg(word));
        self.ask(vec![command.into()]).pop().unwrap()
    }

    pub(crate) fn integer(&mut self, words: &[&[u8]]) -> i64 {
        let Value::Integer(integer) = self.command(words) else { panic!("no integer: {words:?}") };
        integer
    }
}
