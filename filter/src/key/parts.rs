//! The parts of a request that keys are made of.

use std::borrow::Cow;
use std::net::IpAddr;

use super::name::Name;
use crate::config::KeyPart;
use crate::http::{RequestView, address, cookie, query};

/// The field that cookies come in.
const COOKIE: &str = "cookie";

/// The parts that a configuration reads of requests, each once.
#[derive(Clone, Debug, Default)]
pub struct PartList {
    parts: Vec<KeyPart>,
    /// Where the field is that cookies are read of, if any cookie is.
    cookies: Option<PartPlace>,
}

/// Place of a part in a [`PartList`].
pub type PartPlace = usize;

impl PartList {
    /// The place of `part`, which is added if the list does not have it yet.
    pub fn add(&mut self, part: &KeyPart) -> PartPlace {
        if matches!(part, KeyPart::Cookie(_)) && self.cookies.is_none() {
            self.cookies = Some(self.add(&KeyPart::Header(COOKIE.to_owned())));
        }
        let known = self.parts.iter().position(|known| known == part);
        known.unwrap_or_else(|| {
            self.parts.push(part.clone());
            self.parts.len() - 1
        })
    }
}

/// What is known of a request before its rules are.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The request target as it came, with its query.
    pub target: &'a [u8],
    /// The path as it is counted.
    pub path: &'a [u8],
    /// The name of the route.
    pub route: Option<&'a str>,
    /// The method, if it has been asked for.
    pub method: Option<Option<&'a [u8]>>,
}

/// The parts of one request. Each is asked of the host, and looked for, at most once and only if a rule needs it.
///
/// Values are plain bytes, of any length; names are bounded nevertheless, see `name`.
pub struct Parts<'a> {
    list: &'a PartList,
    view: &'a mut dyn RequestView,
    found: Found<'a>,
    ipv6_prefix: u8,
    client_address: Option<Option<IpAddr>>,
    /// By place in the list; nothing where it was not needed yet.
    values: Vec<Option<Option<Cow<'a, [u8]>>>>,
}

impl<'a> Parts<'a> {
    /// The parts of `list` in the request behind `view`.
    pub fn new(
        list: &'a PartList,
        view: &'a mut dyn RequestView,
        found: Found<'a>,
        ipv6_prefix: u8,
    ) -> Self {
        let values = vec![None; list.parts.len()];
        Self { list, view, found, ipv6_prefix, client_address: None, values }
    }

    /// The client's whole address, whatever the prefix that IPv6 is counted by.
    pub fn client_address(&mut self) -> Option<IpAddr> {
        let view = &mut *self.view;
        *self.client_address.get_or_insert_with(|| address::parse(&view.source_address()?))
    }

    /// The value of the part at `place`, if the request has it: as it is counted, not escaped.
    pub fn value(&mut self, place: PartPlace) -> Option<&[u8]> {
        if self.values.get(place)?.is_none() {
            let value = self.read(place);
            *self.values.get_mut(place)? = Some(value);
        }
        self.values.get(place)?.as_ref()?.as_deref()
    }

    /// The name of the counter that the parts at the places `by` choose under `prefix`.
    pub fn name(&mut self, prefix: &[u8], by: &[PartPlace]) -> Vec<u8> {
        let mut name = Name::new(prefix);
        for place in by {
            name.push(self.value(*place));
        }
        name.finish()
    }

    fn read(&mut self, place: PartPlace) -> Option<Cow<'a, [u8]>> {
        let list = self.list;
        match list.parts.get(place)? {
            KeyPart::ClientAddress => {
                let prefix = self.ipv6_prefix;
                let network = address::masked(self.client_address()?, prefix);
                Some(Cow::Owned(address::text(network, prefix).into_bytes()))
            }
            KeyPart::Path => Some(Cow::Borrowed(self.found.path)),
            KeyPart::Route => Some(Cow::Borrowed(self.found.route?.as_bytes())),
            KeyPart::Method => match self.found.method {
                Some(method) => method.map(Cow::Borrowed),
                None => self.view.method().map(Cow::Owned),
            },
            KeyPart::Host => Some(Cow::Owned(plain_host(&self.view.host()?))),
            KeyPart::Header(name) => self.view.header(name).map(Cow::Owned),
            KeyPart::Cookie(name) => {
                let cookies = self.value(list.cookies?)?;
                cookie::first(cookies, name.as_bytes()).map(|value| Cow::Owned(value.to_vec()))
            }
            KeyPart::Query(name) => {
                query::first(self.found.target, name.as_bytes()).map(Cow::Owned)
            }
        }
    }
}

/// A host in one spelling: lower case, without port and without the root's dot.
pub(crate) fn plain_host(authority: &[u8]) -> Vec<u8> {
    let lower = authority.to_ascii_lowercase();
    let port_at = lower
        .iter()
        .rposition(|byte| *byte == b':')
        .filter(|at| lower.get(at + 1..).is_some_and(|port| port.iter().all(u8::is_ascii_digit)));
    let host = port_at.and_then(|at| lower.get(..at)).unwrap_or(&lower);
    host.strip_suffix(b".").unwrap_or(host).to_vec()
}
