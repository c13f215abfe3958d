//! A client of the control port, for tests: synchronous, one connection per call.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::counts::Counts;
use super::super::faults::Fault;
use super::fault_json;

/// For connecting, and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Tells a stand-in upstream what to do, and asks what it has received.
#[derive(Debug, Clone, Copy)]
pub struct Control {
    address: SocketAddr,
}

/// Why a call of the control port had no effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The port could not be reached, or did not answer within 5 s.
    #[error("control port {address}: {source}")]
    Io {
        /// The control port.
        address: SocketAddr,
        /// What happened.
        source: io::Error,
    },
    /// The call was refused.
    #[error("control port: {method} {path}: {status}: {body}")]
    Refused {
        /// Method of the call.
        method: &'static str,
        /// Path of the call.
        path: &'static str,
        /// The status code, not 2xx.
        status: u16,
        /// What is wrong: field, found, allowed.
        body: String,
    },
}

impl Control {
    /// A client of the control port at `address`; nothing is sent yet.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Replaces all faults; the first one that fires on a request wins.
    ///
    /// # Errors
    /// [`ControlError`]; after `Refused` the former faults are still in force.
    pub fn set_faults(&self, faults: &[Fault]) -> Result<(), ControlError> {
        let list: Value = faults.iter().map(fault_json::write).collect();
        self.call("PUT", "/faults", &list.to_string()).map(drop)
    }

    /// Ends all faults.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn clear_faults(&self) -> Result<(), ControlError> {
        self.call("DELETE", "/faults", "").map(drop)
    }

    /// How often each of the faults in force has fired, in their order.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn fired(&self) -> Result<Vec<u64>, ControlError> {
        #[derive(serde::Deserialize)]
        struct Listed {
            fired: u64,
        }
        let list: Vec<Listed> = self.read("/faults")?;
        Ok(list.into_iter().map(|listed| listed.fired).collect())
    }

    /// What was received since the start or the last reset.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn counts(&self) -> Result<Counts, ControlError> {
        self.read("/counts")
    }

    /// Forgets counts and request lines.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn reset_counts(&self) -> Result<(), ControlError> {
        self.call("DELETE", "/counts", "").map(drop)
    }

    /// The last request lines, such as `GET /items/MLA1 HTTP/1.1`, oldest first.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn requests(&self) -> Result<Vec<String>, ControlError> {
        self.read("/requests")
    }

    fn read<T: DeserializeOwned>(&self, path: &'static str) -> Result<T, ControlError> {
        let body = self.call("GET", path, "")?;
        serde_json::from_str(&body).map_err(|error| self.failed(error.into()))
    }

    fn call(
        &self,
        method: &'static str,
        path: &'static str,
        body: &str,
    ) -> Result<String, ControlError> {
        let response = self.exchange(method, path, body).map_err(|error| self.failed(error))?;
        match split(&response) {
            Some((200..=299, body)) => Ok(body.to_owned()),
            Some((status, body)) => {
                Err(ControlError::Refused { method, path, status, body: body.to_owned() })
            }
            None => Err(self.failed(io::Error::new(io::ErrorKind::InvalidData, "not HTTP"))),
        }
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let (address, length) = (self.address, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        Ok(response)
    }

    fn failed(&self, source: io::Error) -> ControlError {
        ControlError::Io { address: self.address, source }
    }
}

/// Status and body of a response whose end is the end of its connection.
fn split(response: &str) -> Option<(u16, &str)> {
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    Some((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_a_status_and_a_body() {
        let response = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na\r\n\r\n";
        assert_eq!(split(response), Some((200, "a\r\n\r\n")));
        for broken in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 OK\r\n\r\n", "SSH\r\n\r\n"] {
            assert_eq!(split(broken), None, "{broken}");
        }
    }
}
