//! The checksum of a header: CRC32C, with zeros where it stands itself.

use crc::{CRC_32_ISCSI, Crc, Digest, Table};

static CRC32C: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);

/// Of a whole header, whose four bytes at `place` are taken for zeros. They must be in it.
pub(super) fn checksum(header: &[u8], place: usize) -> u32 {
    let mut digest: Digest<'_, u32, Table<1>> = CRC32C.digest();
    digest.update(&header[..place]);
    digest.update(&[0; 4]);
    digest.update(&header[place + 4..]);
    digest.finalize()
}
