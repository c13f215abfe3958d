//! Trap: a client that leaves while its request waits ends that request at once, but if Redis was asked its reply is
//! still to come. It has to be taken for the one who left: a line of replies that is out of step answers everybody
//! wrongly. And what nobody waits for any more must not be asked.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use integration_tests::client::{Request, burst};
use integration_tests::fleet::{COUNTED, COUNTED_LIMIT, Fleet};
use integration_tests::scene::{next_origin, statuses};

use crate::rig::{assert_no_crash, config, wait_for_unanswered};

/// Rounds of four requests each: of one who is over the limit and of one who is not, one stays and one leaves.
const ROUNDS: usize = 50;

/// A request that is sent, and not answered yet.
struct Pending(TcpStream);

impl Pending {
    fn send(fleet: &Fleet, origin: Ipv4Addr) -> Self {
        let mut stream = TcpStream::connect(fleet.replica(0).http()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let fields = format!("Host: api\r\nX-Forwarded-For: {origin}\r\nConnection: close\r\n");
        write!(stream, "GET {COUNTED} HTTP/1.1\r\n{fields}\r\n").unwrap();
        Self(stream)
    }

    fn status(mut self) -> u16 {
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

#[test]
fn replies_for_those_who_left_are_not_given_to_those_who_stayed() {
    let fleet = Fleet::start(&config(), |options| options.replicas(2));
    let (replica, redis) = (fleet.replica(0), fleet.redis().node(0));
    // Over the limit, which the other replica has been told, and this one has to ask about.
    let over = next_origin();
    let elsewhere = [fleet.replica(1).http()];
    let outcomes = burst(&elsewhere, over, &Request::get(COUNTED), COUNTED_LIMIT, 1).unwrap();
    assert_eq!(statuses(&outcomes), [(200, COUNTED_LIMIT)].into());

    redis.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).unwrap();
    // Redis is asked about the first one at once, about the others after its reply.
    let mut left = vec![next_origin()];
    let (mut staying, mut leaving) = (Vec::new(), vec![Pending::send(&fleet, left[0])]);
    wait_for_unanswered(replica, 1);
    for _ in 0..ROUNDS {
        leaving.push(Pending::send(&fleet, over));
        staying.push((200, Pending::send(&fleet, next_origin())));
        staying.push((429, Pending::send(&fleet, over)));
        left.push(next_origin());
        leaving.push(Pending::send(&fleet, left[left.len() - 1]));
    }
    wait_for_unanswered(replica, 4 * ROUNDS + 1);
    drop(leaving);
    wait_for_unanswered(replica, 2 * ROUNDS);
    // Those who come now may take the places of those who left, but not their replies.
    for _ in 0..ROUNDS {
        staying.push((200, Pending::send(&fleet, next_origin())));
    }
    for _ in 0..ROUNDS {
        staying.push((429, Pending::send(&fleet, over)));
    }
    wait_for_unanswered(replica, 4 * ROUNDS);
    redis.ask(&["CLIENT", "UNPAUSE"]).unwrap();
    for (expected, pending) in staying {
        assert_eq!(pending.status(), expected);
    }
    assert_eq!(replica.metric("meliproxy_redis_failures_total", &[]).unwrap(), 0.0);

    // Of those who left only the one that Redis was asked about has been counted.
    wait_for_unanswered(replica, 0);
    let left_by = |origin| {
        let outcomes = burst(&elsewhere, origin, &Request::get(COUNTED), COUNTED_LIMIT, 1).unwrap();
        statuses(&outcomes)
    };
    assert_eq!(left_by(left[0]), [(200, COUNTED_LIMIT - 1), (429, 1)].into());
    for origin in &left[1..] {
        assert_eq!(left_by(*origin), [(200, COUNTED_LIMIT)].into());
    }
    assert_no_crash(replica);
}
