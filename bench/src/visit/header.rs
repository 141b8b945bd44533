//! Headers of the PROXY protocol: what a balancer in front sends, and what a server behind takes off.

use anyhow::{Context as _, bail, ensure};

/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 up to its length, and that.
const FIXED_BYTES: usize = 16;
/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// Most bytes of version 1.
const LINE_BYTES_MAX: usize = 107;
/// Most bytes of version 2 here.
const BYTES_MAX: usize = 1_024;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

impl Version {
    /// As it is written.
    pub(crate) fn number(self) -> usize {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

impl TryFrom<usize> for Version {
    type Error = anyhow::Error;

    fn try_from(number: usize) -> anyhow::Result<Self> {
        match number {
            1 => Ok(Self::V1),
            2 => Ok(Self::V2),
            _ => bail!("the PROXY protocol has versions 1 and 2, not {number}"),
        }
    }
}

/// A header that announces a client, over IPv4.
pub(super) fn of(version: Version) -> Vec<u8> {
    match version {
        Version::V1 => b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n".to_vec(),
        Version::V2 => [
            SIGNATURE,
            &[0x21, 0x11, 0, 12],
            &[192, 0, 2, 7, 198, 51, 100, 1],
            &56_324_u16.to_be_bytes(),
            &443_u16.to_be_bytes(),
        ]
        .concat(),
    }
}

/// What comes after the header that `received` begins with; none where that isn't whole. A server that was promised a header
/// takes nothing else.
pub(crate) fn after_header(received: &[u8]) -> anyhow::Result<Option<&[u8]>> {
    let begins = |with: &[u8]| {
        let bytes = received.len().min(with.len());
        received[..bytes] == with[..bytes]
    };
    let end = if begins(SIGNATURE) {
        match received.get(FIXED_BYTES - 2..FIXED_BYTES) {
            Some(length) => FIXED_BYTES + usize::from(u16::from_be_bytes([length[0], length[1]])),
            None => return Ok(None),
        }
    } else {
        ensure!(begins(WORD), "no header of the PROXY protocol");
        let line = received.windows(2).position(|pair| pair == b"\r\n");
        match line {
            Some(at) => at + 2,
            None if received.len() < LINE_BYTES_MAX => return Ok(None),
            None => bail!("a header of version 1 without an end"),
        }
    };
    ensure!(end <= BYTES_MAX, "a header of {end} bytes");
    if received.len() < end {
        return Ok(None);
    }
    let header = &received[..end];
    let is_tcp = match header.strip_prefix(SIGNATURE) {
        Some(rest) => rest[..2] == [0x21, 0x11],
        None => header.starts_with(b"PROXY TCP4 127.0.0.1 "),
    };
    // What a check of the proxy's own says is no client's.
    let is_local = header
        .strip_prefix(SIGNATURE)
        .is_some_and(|rest| rest[0] == 0x20);
    ensure!(
        is_tcp || is_local || header.starts_with(b"PROXY UNKNOWN"),
        "a header that doesn't announce the client: {:?}",
        String::from_utf8_lossy(header)
    );
    received.get(end..).context("it is whole").map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_taken_off_when_it_is_whole() {
        let v1 = b"PROXY TCP4 127.0.0.1 127.0.0.1 5000 80\r\n".to_vec();
        for header in [v1, of(Version::V2)] {
            for end in 0..header.len() {
                assert_eq!(after_header(&header[..end]).unwrap(), None, "{end}");
            }
            let received = [&header[..], b"rest"].concat();
            assert_eq!(after_header(&received).unwrap(), Some(&b"rest"[..]));
        }
        assert!(after_header(b"ccc").is_err());
        assert!(after_header(&[b"PROXY ", &[b'x'; 200][..]].concat()).is_err());
    }
}
