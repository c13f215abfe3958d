//! A model of Redis: what the quota script means, in plain Rust, and the answers of a server around it.

use std::collections::BTreeMap;

use meliproxy::redis::{Decoder, Limits, Value};

/// What `SCRIPT LOAD` answers: the model knows one script.
const DIGEST: &str = "0123456789abcdef0123456789abcdef01234567";

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
}

impl Default for Connection {
    fn default() -> Self {
        Self { decoder: Decoder::new(Limits::default()) }
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
            out.extend(self.command(now_ms, &parts));
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
                format!("$40\r\n{DIGEST}\r\n").into_bytes()
            }
            b"EVALSHA" if !self.knows_script => b"-NOSCRIPT No matching script.\r\n".to_vec(),
            b"EVALSHA" | b"EVAL" if self.read_only => b"-READONLY read only replica\r\n".to_vec(),
            b"EVALSHA" => {
                assert_eq!(parts[1], DIGEST.as_bytes());
                self.quota(now_ms, &parts[2..])
            }
            b"EVAL" => {
                self.knows_script = true;
                self.quota(now_ms, &parts[2..])
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

    /// See `quota.lua` for the arguments and the reply. All rules of these runs are fixed windows, all costs 1.
    fn quota(&mut self, now_ms: u64, args: &[Vec<u8>]) -> Vec<u8> {
        let number = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<u64>().unwrap();
        let counters_count = usize::try_from(number(&args[0])).unwrap();
        let (keys, args) = args[1..].split_at(counters_count);
        let (policies, costs) = args[3..].split_at(4 * usize::try_from(number(&args[2])).unwrap());
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
        let mut integers = Vec::new();
        for (key, policy) in keys.iter().zip(&args[0]) {
            let (limit, end_ms) = policies[usize::from(*policy)];
            integers.extend([limit - self.counted(key, end_ms), end_ms - now_ms]);
        }
        integers.extend(verdicts);
        let lines: String = integers.iter().map(|integer| format!(":{integer}\r\n")).collect();
        format!("*{}\r\n{lines}", integers.len()).into_bytes()
    }

    fn counted(&self, key: &[u8], end_ms: u64) -> u64 {
        let counter = self.counters.get(key).filter(|counter| counter.end_ms == end_ms);
        counter.map_or(0, |counter| counter.count)
    }
}
