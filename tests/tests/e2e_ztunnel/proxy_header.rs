//! The header of the PROXY protocol, version 2, with which ztunnel hands a connection to a waypoint in its own pod. Only what
//! ztunnel writes is read: TCP over IPv4 or IPv6, and the client's identity among the attributes.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION_AND_COMMAND: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;
/// ztunnel's attribute for who the client is.
const IDENTITY: u8 = 0xd0;
/// Addresses and one SPIFFE id are far below this.
const BODY_BYTES_MAX: usize = 4096;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    /// Of the tunnel: the client's address, but a port of ztunnel's.
    pub(crate) source: SocketAddr,
    /// What the client dialled.
    pub(crate) destination: SocketAddr,
    /// The client's SPIFFE id.
    pub(crate) identity: Option<String>,
}

impl ProxyHeader {
    /// Reads one, and nothing behind it.
    pub(crate) fn read(from: &mut impl Read) -> Result<Self> {
        let mut head = [0; 16];
        from.read_exact(&mut head).context("no header")?;
        let [signature @ .., version, family, high, low] = head;
        ensure!(signature == SIGNATURE, "not a header of the PROXY protocol, version 2");
        ensure!(version == VERSION_AND_COMMAND, "version and command are {version:#x}");
        let length = usize::from(u16::from_be_bytes([high, low]));
        ensure!(length <= BODY_BYTES_MAX, "a header of {length} bytes");
        let mut body = vec![0; length];
        from.read_exact(&mut body).context("a header that ends early")?;
        let mut rest = body.as_slice();
        let (source, destination) = match family {
            TCP_OVER_IPV4 => addresses::<4>(&mut rest)?,
            TCP_OVER_IPV6 => addresses::<16>(&mut rest)?,
            other => bail!("address family and protocol are {other:#x}"),
        };
        let mut identity = None;
        while let Some((kind, value)) = attribute(&mut rest)? {
            if kind == IDENTITY {
                identity = Some(String::from_utf8(value.to_vec()).context("an identity that is no text")?);
            }
        }
        Ok(Self { source, destination, identity })
    }
}

fn addresses<const N: usize>(rest: &mut &[u8]) -> Result<(SocketAddr, SocketAddr)>
where
    [u8; N]: IntoIp,
{
    let source: [u8; N] = take(rest)?;
    let destination: [u8; N] = take(rest)?;
    let source_port = u16::from_be_bytes(take(rest)?);
    let destination_port = u16::from_be_bytes(take(rest)?);
    Ok((SocketAddr::new(source.ip(), source_port), SocketAddr::new(destination.ip(), destination_port)))
}

fn attribute<'a>(rest: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>> {
    if rest.is_empty() {
        return Ok(None);
    }
    let [kind, high, low] = take(rest)?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (value, behind) = rest.split_at_checked(length).context("an attribute that ends early")?;
    *rest = behind;
    Ok(Some((kind, value)))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk::<N>().context("a header that is too short")?;
    *rest = behind;
    Ok(*taken)
}

trait IntoIp {
    fn ip(self) -> IpAddr;
}

impl IntoIp for [u8; 4] {
    fn ip(self) -> IpAddr {
        Ipv4Addr::from(self).into()
    }
}

impl IntoIp for [u8; 16] {
    fn ip(self) -> IpAddr {
        Ipv6Addr::from(self).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([VERSION_AND_COMMAND, family, 0, u8::try_from(body.len()).unwrap()]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn addresses_and_identity_are_read_and_nothing_behind_them() {
        let mut body = vec![10, 244, 0, 10, 10, 96, 0, 1, 0xd4, 0x31, 0, 80, 0x04, 0, 1, 9, IDENTITY, 0, 3];
        body.extend(b"abc");
        let mut bytes = header(TCP_OVER_IPV4, &body);
        bytes.extend(b"payload");
        let mut rest = bytes.as_slice();
        let expected = ProxyHeader {
            source: "10.244.0.10:54321".parse().unwrap(),
            destination: "10.96.0.1:80".parse().unwrap(),
            identity: Some("abc".to_owned()),
        };
        assert_eq!(ProxyHeader::read(&mut rest).unwrap(), expected);
        assert_eq!(rest, b"payload");
    }

    #[test]
    fn addresses_of_ipv6_are_read() {
        let mut body = vec![0; 36];
        (body[15], body[31], body[35]) = (1, 2, 80);
        let header = ProxyHeader::read(&mut header(TCP_OVER_IPV6, &body).as_slice()).unwrap();
        assert_eq!((header.source, header.destination), ("[::1]:0".parse().unwrap(), "[::2]:80".parse().unwrap()));
    }

    #[test]
    fn what_is_no_such_header_is_refused() {
        let cases: [(&str, Vec<u8>); 5] = [
            ("not a header of the PROXY protocol, version 2", b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec()),
            ("address family and protocol are 0x12", header(0x12, &[0; 12])),
            ("a header that is too short", header(TCP_OVER_IPV4, &[0; 11])),
            ("an attribute that ends early", header(TCP_OVER_IPV4, &[&[0; 12][..], &[IDENTITY, 0, 9]].concat())),
            ("no header", b"\r\n".to_vec()),
        ];
        for (expected, bytes) in cases {
            let error = ProxyHeader::read(&mut bytes.as_slice()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
