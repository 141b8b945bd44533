//! Bytes that tell their position: what is lost, doubled, swapped or mixed up shows at once.

/// Bytes that are made by one multiplication.
const WORD_BYTES: u64 = 8;

/// The bytes from `index * WORD_BYTES` on of the stream that is called `seed`.
fn word(seed: u64, index: u64) -> [u8; WORD_BYTES as usize] {
    let mixed = (index ^ seed.rotate_left(17)).wrapping_add(1);
    let mixed = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ mixed >> 32).to_le_bytes()
}

/// Writes the bytes from `position` on.
pub fn fill(seed: u64, position: u64, buffer: &mut [u8]) {
    let (mut index, skipped) = (position / WORD_BYTES, (position % WORD_BYTES) as usize);
    let first = &word(seed, index)[skipped..];
    let (head, rest) = buffer.split_at_mut(first.len().min(buffer.len()));
    head.copy_from_slice(&first[..head.len()]);
    for chunk in rest.chunks_mut(WORD_BYTES as usize) {
        index += 1;
        chunk.copy_from_slice(&word(seed, index)[..chunk.len()]);
    }
}

/// Where `bytes` are not those from `position` on.
pub fn first_difference(seed: u64, position: u64, bytes: &[u8]) -> Option<u64> {
    let mut wanted = [0; 4096];
    for (chunk, position) in bytes
        .chunks(wanted.len())
        .zip((position..).step_by(wanted.len()))
    {
        let wanted = &mut wanted[..chunk.len()];
        fill(seed, position, wanted);
        if wanted != chunk {
            let place = wanted.iter().zip(chunk).position(|(a, b)| a != b);
            return place.map(|place| position + place as u64);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_at_a_position_do_not_depend_on_where_one_begins() {
        let mut whole = [0; 10_000];
        fill(3, 0, &mut whole);
        for (begin, end) in [(0, 1), (1, 3), (5, 8), (7, 30), (4095, 9001)] {
            let mut part = vec![0; end - begin];
            fill(3, begin as u64, &mut part);
            assert_eq!(part, whole[begin..end]);
            assert_eq!(first_difference(3, begin as u64, &part), None);
        }
        assert_eq!(first_difference(4, 0, &whole), Some(0));
        whole[8191] ^= 1;
        assert_eq!(first_difference(3, 5, &whole[5..]), Some(8191));
    }
}
