//! A model of Redis: what the quota scripts mean, in plain Rust, and the answers of a server around them.

use std::collections::BTreeMap;

use meliproxy::redis::{Decoder, Limits, Value};
use meliproxy::worker::SCRIPTS;

/// What `SCRIPT LOAD` answers for each script.
const DIGESTS: [&str; 3] = [
    "0123456789abcdef0123456789abcdef01234567",
    "89abcdef0123456789abcdef0123456789abcdef",
    "456789abcdef0123456789abcdef0123456789ab",
];

/// The server, shared by all connections.
#[derive(Default)]
pub struct ModelRedis {
    counters: BTreeMap<Vec<u8>, Counter>,
    leases: BTreeMap<Vec<u8>, u64>,
    pub knows_script: bool,
    pub read_only: bool,
    pub refuses_password: bool,
}

#[derive(Clone, Copy)]
struct Counter {
    count: u64,
    end_ms: u64,
}

/// What the server knows of one connection.
pub struct Connection {
    decoder: Decoder,
    is_refused: bool,
}

impl Default for Connection {
    fn default() -> Self {
        Self { decoder: Decoder::new(Limits::default()), is_refused: false }
    }
}

impl ModelRedis {
    /// Answers all commands that are complete in `bytes`.
    pub fn answer(&mut self, connection: &mut Connection, now_ms: u64, bytes: &[u8]) -> Vec<u8> {
        connection.decoder.feed(bytes);
        let mut out = Vec::new();
        while let Some(value) = connection.decoder.poll_value().unwrap() {
            let Value::Array(parts) = value else { panic!("a command is an array: {value:?}") };
            let parts: Vec<Vec<u8>> = parts
                .into_iter()
                .map(|part| match part {
                    Value::Bulk(bytes) => bytes,
                    other => panic!("an argument is a bulk string: {other:?}"),
                })
                .collect();
            connection.is_refused |= self.refuses_password && parts[0] == b"AUTH";
            out.extend(match parts[0].as_slice() {
                b"QUIT" => b"+OK\r\n".to_vec(),
                b"AUTH" if connection.is_refused => b"-WRONGPASS invalid password\r\n".to_vec(),
                _ if connection.is_refused => b"-NOAUTH Authentication required.\r\n".to_vec(),
                b"AUTH" => b"+OK\r\n".to_vec(),
                _ => self.command(now_ms, &parts),
            });
        }
        out
    }

    /// How often a counter was raised in the window it is in.
    pub fn count(&self, name: &str) -> u64 {
        let found = self.counters.iter().find(|(key, _)| key.ends_with(name.as_bytes()));
        found.map_or(0, |(_, counter)| counter.count)
    }

    /// How many processes are known to be there.
    pub fn leases(&self) -> usize {
        self.leases.len()
    }

    fn command(&mut self, now_ms: u64, parts: &[Vec<u8>]) -> Vec<u8> {
        match parts[0].as_slice() {
            b"HELLO" if self.refuses_password => b"-WRONGPASS invalid password\r\n".to_vec(),
            b"HELLO" => b"%1\r\n$6\r\nserver\r\n$5\r\nmodel\r\n".to_vec(),
            b"SCRIPT" => {
                self.knows_script = true;
                format!("$40\r\n{}\r\n", DIGESTS[script_of(&parts[2])]).into_bytes()
            }
            b"EVALSHA" if !self.knows_script => b"-NOSCRIPT No matching script.\r\n".to_vec(),
            b"EVALSHA" | b"EVAL" if self.read_only => b"-READONLY read only replica\r\n".to_vec(),
            b"EVALSHA" => {
                let is = |digest: &&str| digest.as_bytes() == parts[1].as_slice();
                self.call(DIGESTS.iter().position(is).unwrap(), now_ms, &parts[2..])
            }
            b"EVAL" => {
                self.knows_script = true;
                self.call(script_of(&parts[1]), now_ms, &parts[2..])
            }
            b"TIME" => format!(
                "*2\r\n$10\r\n{:010}\r\n$6\r\n{:06}\r\n",
                now_ms / 1000,
                now_ms % 1000 * 1000
            )
            .into_bytes(),
            b"ZADD" | b"PEXPIRE" | b"ZREMRANGEBYSCORE" if self.read_only => {
                b"-READONLY read only replica\r\n".to_vec()
            }
            b"ZREMRANGEBYSCORE" => {
                let until: u64 = String::from_utf8_lossy(&parts[3]).parse().unwrap();
                self.leases.retain(|_, ends_at| *ends_at > until);
                b":0\r\n".to_vec()
            }
            b"ZADD" => {
                let ends_at = String::from_utf8_lossy(&parts[2]).parse().unwrap();
                self.leases.insert(parts[3].clone(), ends_at);
                b":1\r\n".to_vec()
            }
            b"PEXPIRE" => b":1\r\n".to_vec(),
            b"ZCARD" => format!(":{}\r\n", self.leases.len()).into_bytes(),
            other => panic!("unknown command {}", String::from_utf8_lossy(other)),
        }
    }

    fn call(&mut self, script: usize, now_ms: u64, args: &[Vec<u8>]) -> Vec<u8> {
        let (keys, args) = args[1..].split_at(index(&args[0]));
        if script == 0 {
            self.quota(now_ms, keys, args)
        } else {
            self.give_back(now_ms, keys, args)
        }
    }

    /// See `give_back.lua` for the arguments.
    fn give_back(&mut self, now_ms: u64, keys: &[Vec<u8>], args: &[Vec<u8>]) -> Vec<u8> {
        for (key, args) in keys.iter().zip(args.chunks_exact(3)) {
            let (units, end_ms) = (number(&args[0]), number(&args[1]));
            let counter = self.counters.get_mut(key);
            if let Some(counter) = counter.filter(|it| it.end_ms == end_ms && now_ms < end_ms) {
                counter.count -= units;
            }
        }
        b":0\r\n".to_vec()
    }

    /// See `quota.lua` for the arguments and the reply. All rules of these runs are fixed windows, all costs 1.
    fn quota(&mut self, now_ms: u64, keys: &[Vec<u8>], args: &[Vec<u8>]) -> Vec<u8> {
        let (policies, rest) = args[4..].split_at(4 * index(&args[2]));
        let (leases, costs) = rest.split_at(3 * index(&args[3]));
        assert_eq!(costs, [b"1"]);
        let policies: Vec<_> = policies
            .chunks_exact(4)
            .map(|policy| {
                assert_eq!((number(&policy[0]), number(&policy[3])), (0, 0));
                let (limit, per_ms) = (number(&policy[1]), number(&policy[2]));
                (limit, (now_ms / per_ms + 1) * per_ms)
            })
            .collect();
        let policy_of = |counter: u8| policies[usize::from(args[0][usize::from(counter)])];

        let mut verdicts = Vec::new();
        let mut layout = args[1].as_slice();
        while let Some((more, rest)) = layout.split_first() {
            let (checks, rest) = rest.split_at(2 * (usize::from(*more) + 1));
            layout = rest;
            let counters: Vec<u8> = checks.chunks_exact(2).map(|check| check[0]).collect();
            let counted =
                |counter: &u8| self.counted(&keys[usize::from(*counter)], policy_of(*counter).1);
            let passes = counters.iter().all(|counter| counted(counter) < policy_of(*counter).0);
            for counter in counters.iter().filter(|_| passes) {
                let (key, end_ms) = (&keys[usize::from(*counter)], policy_of(*counter).1);
                let count = self.counted(key, end_ms) + 1;
                self.counters.insert(key.clone(), Counter { count, end_ms });
            }
            verdicts.push(u64::from(passes));
        }
        let mut taken_ahead = Vec::new();
        for lease in leases.chunks_exact(3) {
            let (wanted, part) = (number(&lease[1]), number(&lease[2]));
            let (limit, end_ms) = policy_of(u8::try_from(index(&lease[0])).unwrap());
            let key = &keys[index(&lease[0])];
            let counted = self.counted(key, end_ms);
            let units = wanted.min((limit - counted) / part);
            self.counters.insert(key.clone(), Counter { count: counted + units, end_ms });
            taken_ahead.extend([units, end_ms - now_ms, end_ms]);
        }
        let mut integers = Vec::new();
        for (key, policy) in keys.iter().zip(&args[0]) {
            let (limit, end_ms) = policies[usize::from(*policy)];
            integers.extend([limit - self.counted(key, end_ms), end_ms - now_ms]);
        }
        integers.extend(verdicts);
        integers.extend(taken_ahead);
        let lines: String = integers.iter().map(|integer| format!(":{integer}\r\n")).collect();
        format!("*{}\r\n{lines}", integers.len()).into_bytes()
    }

    fn counted(&self, key: &[u8], end_ms: u64) -> u64 {
        let counter = self.counters.get(key).filter(|counter| counter.end_ms == end_ms);
        counter.map_or(0, |counter| counter.count)
    }
}

fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

fn index(bytes: &[u8]) -> usize {
    usize::try_from(number(bytes)).unwrap()
}

/// The place of a script among the filter's.
fn script_of(source: &[u8]) -> usize {
    SCRIPTS.iter().position(|known| known.as_bytes() == source).unwrap()
}
