//! Addresses and blocks of them in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3).

use std::net::IpAddr;

use super::super::Pattern;
use super::super::reader::Value;
use crate::http::address;

const BLOCK: &str =
    "an address or block, such as \"203.0.113.7\", \"203.0.113.0/24\" or \"2001:db8::/48\"";

/// Reads an address or block. One whose address does not begin the block is refused: its author may have meant either.
pub(super) fn read(value: &Value<'_>) -> Option<Pattern> {
    let Some((written, bits)) = value.as_text().and_then(parse) else { return value.refuse(BLOCK) };
    let canonical = written.to_canonical();
    if let (true, Some(bits)) = (canonical != written, bits.checked_sub(MAPPED_BITS)) {
        // Clients are never known by such an address, so the pattern would match nobody.
        let plain = block(first_of(canonical, bits), bits);
        return value.refuse(format!("IPv4 as itself, \"{plain}\""));
    }
    let first = first_of(written, bits);
    if first != written {
        let (block, address) = (block(first, bits), block(written, width(written)));
        return value.refuse(format!(
            "the block from its first address on, \"{block}\", or \"{address}\" alone"
        ));
    }
    Some(Pattern::Block(written, bits))
}

/// Bits before the IPv4 address in an IPv6 one that maps it (RFC 4291 §2.5.5.2).
const MAPPED_BITS: u8 = 96;

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn parse(text: &str) -> Option<(IpAddr, u8)> {
    let Some((address, bits)) = text.split_once('/') else {
        let address: IpAddr = text.parse().ok()?;
        return Some((address, width(address)));
    };
    let address = address.parse().ok()?;
    let is_plain =
        bits == "0" || !bits.starts_with('0') && bits.bytes().all(|c| c.is_ascii_digit());
    let bits = bits.parse().ok().filter(|bits| is_plain && *bits <= width(address))?;
    Some((address, bits))
}

/// The first address of the block that `address` is in.
fn first_of(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(u32::from(32_u8.saturating_sub(bits))).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(_) => address::masked(address, bits),
    }
}

/// The block in the shortest form.
fn block(first: IpAddr, bits: u8) -> String {
    if bits == width(first) { first.to_string() } else { format!("{first}/{bits}") }
}
