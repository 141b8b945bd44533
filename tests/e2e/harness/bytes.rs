//! Bytes that can't be mistaken for others: made from a seed, compared by SHA-256.

use std::fmt;
use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

/// Large enough that a debug build hashes and sends at a useful rate.
const CHUNK: usize = 64 * 1024;

pub(crate) const MIB: u64 = 1024 * 1024;

/// How many bytes passed, and their SHA-256.
#[derive(PartialEq, Eq, Clone, Copy)]
pub(crate) struct Digest {
    pub(crate) len: u64,
    sha256: [u8; 32],
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, sha256 ", self.len)?;
        self.sha256
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The digest of what has been written to it.
#[derive(Default)]
pub(crate) struct Hasher {
    len: u64,
    sha256: Sha256,
}

impl Hasher {
    pub(crate) fn digest(self) -> Digest {
        Digest {
            len: self.len,
            sha256: self.sha256.finalize().into(),
        }
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.len += bytes.len() as u64;
        self.sha256.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An endless sequence of bytes that depends on its seed only. The suite's own, which is optimized in tests, too.
pub(crate) struct Pattern {
    seed: u64,
    position: u64,
}

impl Pattern {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, position: 0 }
    }

    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        conformance::fill(self.seed, self.position, buffer);
        self.position += buffer.len() as u64;
    }
}

/// `len` bytes of the pattern of `seed`.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Pattern::new(seed).fill(&mut bytes);
    bytes
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    receive(&mut &bytes[..])
}

/// Writes `len` bytes of the pattern of `seed`.
pub(crate) fn send(to: &mut impl Write, seed: u64, len: u64) -> Digest {
    try_send(to, seed, len).expect("send")
}

pub(crate) fn try_send(to: &mut impl Write, seed: u64, len: u64) -> io::Result<Digest> {
    let mut pattern = Pattern::new(seed);
    let mut hasher = Hasher::default();
    let mut chunk = vec![0; CHUNK];
    let mut left = len;
    while left > 0 {
        let size = left.min(CHUNK as u64) as usize;
        pattern.fill(&mut chunk[..size]);
        to.write_all(&chunk[..size])?;
        hasher.write_all(&chunk[..size])?;
        left -= size as u64;
    }
    Ok(hasher.digest())
}

/// Reads to the end.
pub(crate) fn receive(from: &mut impl Read) -> Digest {
    try_receive(from).expect("receive")
}

pub(crate) fn try_receive(from: &mut impl Read) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(hasher.digest()),
            size => hasher.write_all(&chunk[..size])?,
        }
    }
}
