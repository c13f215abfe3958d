//! Who sent a request: the address as Envoy knows it, and how it is counted.
//!
//! An IPv6 client usually owns a whole /64 and can send each request from another address of it, so addresses are
//! counted by prefix.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Bits of an IPv4 address.
const IPV4_BITS: u8 = 32;

/// Longest text of an IPv4 address.
const IPV4_TEXT_BYTES: usize = 15;

/// Leading bits that all IPv4 addresses have in common that are mapped into IPv6 (RFC 4291 §2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// Bits of an IPv6 address.
const IPV6_BITS: u8 = 128;

/// Reads Envoy's `source.address`: an IP address, usually with a port (`192.0.2.1:80`, `[2001:db8::1]:80`).
///
/// An IPv4 address that is mapped into IPv6 (RFC 4291 §2.5.5.2) is the IPv4 address. `None` for all else, such as the
/// path of a Unix domain socket.
#[must_use]
pub fn parse(source_address: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(source_address).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = match text.parse::<SocketAddr>() {
        Ok(address) => address.ip(),
        Err(_) => bare.parse().ok()?,
    };
    Some(ip.to_canonical())
}

/// The network that an address is counted in: the address itself for IPv4, its first `ipv6_prefix` bits for IPv6.
///
/// `ipv6_prefix` is in 0..=128; more counts as 128.
#[must_use]
pub fn masked(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let host_bits = u32::from(IPV6_BITS.saturating_sub(ipv6_prefix));
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

/// A [`masked`] address as it stands in keys: `192.0.2.1`, `2001:db8:1:2::/64`.
#[must_use]
pub fn text(network: IpAddr, ipv6_prefix: u8) -> String {
    match network {
        IpAddr::V4(address) => {
            let mut text = String::with_capacity(IPV4_TEXT_BYTES);
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    text.push('.');
                }
                text.push_str(itoa::Buffer::new().format(octet));
            }
            text
        }
        IpAddr::V6(address) => format!("{address}/{ipv6_prefix}"),
    }
}

/// A block of addresses in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    network: IpAddr,
    prefix: u8,
}

impl Block {
    /// The addresses that agree with `address` in their first `prefix` bits, up to 32 for IPv4 and 128 for IPv6; more
    /// count as so many. Bits of `address` beyond the prefix do not matter.
    ///
    /// A block of IPv4 addresses that are mapped into IPv6 is one of IPv4 addresses, as [`parse`] has them.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        let mapped = match address {
            IpAddr::V6(address) => address.to_ipv4_mapped().zip(prefix.checked_sub(MAPPED_BITS)),
            IpAddr::V4(_) => None,
        };
        match mapped {
            Some((address, prefix)) => Self { network: IpAddr::V4(address), prefix },
            None => Self { network: address, prefix },
        }
    }

    /// Whether `address` is in the block. No IPv4 address is in a block of IPv6, not even in `::/0`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                u32::from(self.prefix) <= differing.leading_zeros() || differing == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                u32::from(self.prefix) <= differing.leading_zeros() || differing == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// The one address of a block that has no other.
    #[must_use]
    pub fn single(&self) -> Option<IpAddr> {
        let bits = if self.network.is_ipv4() { IPV4_BITS } else { IPV6_BITS };
        (self.prefix >= bits).then_some(self.network)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(source_address: &str, ipv6_prefix: u8) -> Option<String> {
        let address = masked(parse(source_address.as_bytes())?, ipv6_prefix);
        Some(text(address, ipv6_prefix))
    }

    #[test]
    fn every_form_that_envoy_writes_is_read() {
        for (source_address, expected) in [
            ("203.0.113.9:51234", "203.0.113.9"),
            ("203.0.113.9:0", "203.0.113.9"),
            ("203.0.113.9", "203.0.113.9"),
            ("[2001:db8:1:2:3:4:5:6]:51234", "2001:db8:1:2::/64"),
            ("[2001:db8:1:2:3:4:5:6]", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("[::1]:1", "::/64"),
            ("[::ffff:203.0.113.9]:51234", "203.0.113.9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(counted(source_address, 64).as_deref(), Some(expected), "{source_address}");
        }
    }

    #[test]
    fn anything_else_is_no_address() {
        for source_address in [
            "",
            "/run/envoy.sock",
            "@abstract",
            "localhost:80",
            "1.2.3:4",
            "1.2.3.4:",
            "1.2.3.4:65536",
            "[::1",
            "::1]",
            "[1.2.3.4:80",
            " 1.2.3.4",
            "1.2.3.4:80 ",
            "envoy_internal_client_address",
        ] {
            assert_eq!(parse(source_address.as_bytes()), None, "{source_address:?}");
        }
        assert_eq!(parse(b"\xff1.2.3.4"), None);
    }

    #[test]
    fn ipv6_is_counted_by_prefix() {
        let address = "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:1";
        for (prefix, expected) in [
            (1, "::/1"),
            (32, "2001:db8::/32"),
            (63, "2001:db8:ffff:fffe::/63"),
            (64, "2001:db8:ffff:ffff::/64"),
            (65, "2001:db8:ffff:ffff:8000::/65"),
            (127, "2001:db8:ffff:ffff:ffff:ffff:ffff:fffe/127"),
            (128, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128"),
        ] {
            assert_eq!(counted(address, prefix).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_prefix_out_of_range_does_no_harm() {
        let address = parse(b"2001:db8::1").unwrap();
        assert_eq!(masked(address, 255), address);
        assert_eq!(masked(address, 0), IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    }

    #[test]
    fn blocks_are_read_as_people_write_them() {
        for (network, prefix, inside, outside) in [
            ("192.0.2.0", 24, "192.0.2.255", "192.0.3.0"),
            ("192.0.2.77", 24, "192.0.2.0", "192.0.1.255"),
            ("192.0.2.1", 32, "192.0.2.1", "192.0.2.0"),
            ("192.0.2.1", 255, "192.0.2.1", "192.0.2.0"),
            ("0.0.0.0", 0, "255.255.255.255", "::1"),
            ("::", 0, "ffff::", "1.2.3.4"),
            ("2001:db8::", 33, "2001:db8:7fff::1", "2001:db8:8000::"),
            ("2001:db8::1", 128, "2001:db8::1", "2001:db8::"),
            ("::ffff:192.0.2.0", 120, "192.0.2.9", "192.0.3.0"),
            ("::ffff:192.0.2.0", 128, "192.0.2.0", "192.0.2.1"),
        ] {
            let block = Block::new(network.parse().unwrap(), prefix);
            assert!(block.contains(inside.parse().unwrap()), "{network}/{prefix}");
            assert!(!block.contains(outside.parse().unwrap()), "{network}/{prefix}");
        }
    }

    #[test]
    fn a_block_of_one_address_is_known() {
        let single = |network: &str, prefix| {
            let address = Block::new(network.parse().unwrap(), prefix).single();
            address.map(|address| address.to_string())
        };
        assert_eq!(single("192.0.2.1", 32).as_deref(), Some("192.0.2.1"));
        assert_eq!(single("192.0.2.1", 31), None);
        assert_eq!(single("2001:db8::1", 128).as_deref(), Some("2001:db8::1"));
        assert_eq!(single("2001:db8::1", 127), None);
        assert_eq!(single("::ffff:192.0.2.1", 128).as_deref(), Some("192.0.2.1"));
        assert_eq!(single("::ffff:192.0.2.1", 127), None);
    }

    /// An address bit by bit.
    fn bits(address: IpAddr) -> Vec<bool> {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1 == 1)).collect()
    }

    proptest! {
        #[test]
        fn an_address_is_in_a_block_if_the_leading_bits_agree(
            network in any::<u128>(),
            // Where the address differs: at no bit, at one, or anywhere from one on.
            flipped in prop_oneof![
                Just(0),
                (0..128_u32).prop_map(|bit| 1 << bit),
                (any::<u128>(), 0..128_u32).prop_map(|(bits, shift)| bits >> shift),
            ],
            (is_v4, prefix) in prop_oneof![
                (Just(true), 0..=32_u8),
                (Just(false), 0..=128_u8),
            ],
        ) {
            let address = |bits: u128| {
                if is_v4 {
                    IpAddr::V4(std::net::Ipv4Addr::from_bits(u32::try_from(bits & 0xffff_ffff).unwrap()))
                } else {
                    IpAddr::V6(Ipv6Addr::from_bits(bits))
                }
            };
            let (network, address) = (address(network), address(network ^ flipped));
            let agree = bits(network).iter().zip(bits(address)).take(prefix.into()).all(|(a, b)| *a == b);
            prop_assert_eq!(Block::new(network, prefix).contains(address), agree);
        }
    }
}
