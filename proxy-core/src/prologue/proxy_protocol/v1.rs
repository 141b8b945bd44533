//! Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Addresses, Bad, Header, Tlvs, V1_BYTES_MAX, Version, agrees};
use crate::prologue::Parsed;

pub(super) const PREFIX: &[u8] = b"PROXY ";

pub(super) fn parse(received: &[u8]) -> Parsed<Header<'_>, Bad> {
    if !agrees(received, PREFIX) {
        return Parsed::Not;
    }
    let within = &received[..received.len().min(V1_BYTES_MAX)];
    let Some(end) = within.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if within.len() == V1_BYTES_MAX {
            Parsed::Bad(Bad::LineTooLong)
        } else {
            Parsed::More
        };
    };
    let consumed = end + 2;
    if consumed > V1_BYTES_MAX {
        return Parsed::Bad(Bad::LineTooLong);
    }
    if within[end] == b'\n' {
        return Parsed::Bad(Bad::LineEnd);
    }
    match within.get(end + 1) {
        None => return Parsed::More,
        Some(b'\n') => {}
        Some(_) => return Parsed::Bad(Bad::LineEnd),
    }
    match addresses(&within[PREFIX.len()..end]) {
        Ok(addresses) => Parsed::Done {
            value: Header {
                version: Version::V1,
                addresses,
                is_datagram: false,
                tlvs: Tlvs::default(),
            },
            consumed,
        },
        Err(reason) => Parsed::Bad(reason),
    }
}

/// What is between "PROXY " and the CRLF.
fn addresses(line: &[u8]) -> Result<Addresses<'static>, Bad> {
    let (protocol, rest) = match line.iter().position(|byte| *byte == b' ') {
        Some(space) => (&line[..space], Some(&line[space + 1..])),
        None => (line, None),
    };
    match protocol {
        b"UNKNOWN" => Ok(Addresses::Unknown),
        b"TCP4" => ends::<Ipv4Addr>(rest),
        b"TCP6" => ends::<Ipv6Addr>(rest),
        _ => Err(Bad::Protocol),
    }
}

fn ends<A: FromStr + Into<IpAddr>>(fields: Option<&[u8]>) -> Result<Addresses<'static>, Bad> {
    let mut fields = fields.ok_or(Bad::Fields)?.split(|byte| *byte == b' ');
    let mut next = || fields.next().ok_or(Bad::Fields);
    let (source, destination) = (next()?, next()?);
    let (source_port, destination_port) = (next()?, next()?);
    if fields.next().is_some() {
        return Err(Bad::Fields);
    }
    Ok(Addresses::inet(
        SocketAddr::new(ip::<A>(source)?, port(source_port)?),
        SocketAddr::new(ip::<A>(destination)?, port(destination_port)?),
    ))
}

fn ip<A: FromStr + Into<IpAddr>>(field: &[u8]) -> Result<IpAddr, Bad> {
    let text = std::str::from_utf8(field).map_err(|_| Bad::Address)?;
    text.parse::<A>().map(Into::into).map_err(|_| Bad::Address)
}

/// Digits only: the standard library takes a sign, too.
fn port(field: &[u8]) -> Result<u16, Bad> {
    let leading_zero = field.len() > 1 && field[0] == b'0';
    if leading_zero || !field.iter().all(u8::is_ascii_digit) {
        return Err(Bad::Port);
    }
    std::str::from_utf8(field)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(Bad::Port)
}
