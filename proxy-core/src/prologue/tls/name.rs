//! The name of the server that a client wants (SNI).

use super::reader::Reader;
use super::{Bad, SERVER_NAME_BYTES_MAX};

const HOST_NAME: u8 = 0;

/// The name in a server_name extension, in lower case and without the dot of its root.
///
/// Two names are refused: a server could take the one that this proxy doesn't. Entries of other types are skipped.
pub(super) fn server_name(extension: &[u8]) -> Result<Option<Box<str>>, Bad> {
    read(extension).map_err(|_| Bad::ServerName)
}

fn read(extension: &[u8]) -> Result<Option<Box<str>>, Bad> {
    let mut extension = Reader(extension);
    let mut list = Reader(extension.vector16()?);
    if list.is_empty() || !extension.is_empty() {
        return Err(Bad::ServerName);
    }
    let mut found = None;
    while !list.is_empty() {
        let kind = list.u8()?;
        let name = list.vector16()?;
        if kind == HOST_NAME && found.replace(normal(name)?).is_some() {
            return Err(Bad::ServerName);
        }
    }
    Ok(found)
}

/// Literal addresses don't belong there, but some clients send them: they are names like all others.
fn normal(name: &[u8]) -> Result<Box<str>, Bad> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.is_empty()
        || name.len() > SERVER_NAME_BYTES_MAX
        || !name.iter().all(u8::is_ascii_graphic)
    {
        return Err(Bad::ServerName);
    }
    let mut name = std::str::from_utf8(name)
        .map_err(|_| Bad::ServerName)?
        .to_owned();
    name.make_ascii_lowercase();
    Ok(name.into_boxed_str())
}
