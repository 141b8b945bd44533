//! What a client of TLS says first.

/// A ClientHello that asks for a name and offers a protocol, whatever bytes they are.
pub(crate) fn client_hello(name: &str, protocol: &[u8]) -> Vec<u8> {
    padded_hello(name, protocol, &[])
}

/// The same with these bytes of padding, in as many records as it takes.
pub(crate) fn padded_hello(name: &str, protocol: &[u8], padding: &[u8]) -> Vec<u8> {
    let name = [&[0][..], &counted::<2>(name.as_bytes())].concat();
    let protocols = counted::<2>(&counted::<1>(protocol));
    let extensions = [
        extension(0, &counted::<2>(&name)),
        extension(16, &protocols),
        match padding {
            [] => Vec::new(),
            padding => extension(21, padding),
        },
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &counted::<1>(&[]),
        &counted::<2>(&[0x13, 0x01]),
        &counted::<1>(&[0]),
        &counted::<2>(&extensions),
    ]
    .concat();
    let handshake = [&[1][..], &counted::<3>(&body)].concat();
    let records = handshake.chunks(1 << 14);
    records
        .flat_map(|part| [&[22, 3, 1][..], &counted::<2>(part)].concat())
        .collect()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &counted::<2>(data)].concat()
}

/// With its length before it, in that many bytes.
fn counted<const BYTES: usize>(data: &[u8]) -> Vec<u8> {
    let length = data.len().to_be_bytes();
    [&length[length.len() - BYTES..], data].concat()
}
