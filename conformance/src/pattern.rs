//! Bytes that tell their position: what is lost, doubled, swapped or mixed up shows at once.

/// The byte at `position` of the stream that is called `seed`.
fn byte(seed: u64, position: u64) -> u8 {
    // One multiplication mixes the position into the high byte; the period is far beyond what a test sends.
    ((position ^ seed.rotate_left(17)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// Writes the bytes from `position` on.
pub fn fill(seed: u64, position: u64, buffer: &mut [u8]) {
    for (place, position) in buffer.iter_mut().zip(position..) {
        *place = byte(seed, position);
    }
}

/// Where `bytes` are not those from `position` on.
pub fn first_difference(seed: u64, position: u64, bytes: &[u8]) -> Option<u64> {
    bytes
        .iter()
        .zip(position..)
        .find(|&(&found, position)| found != byte(seed, position))
        .map(|(_, position)| position)
}
