//! What the admin server asks of those who come to its address: a token from a file, and TLS.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail};
use proxy_admin::{Security, Tls, Token};
use proxy_config::Admin;
use rustix::fs::OFlags;
use rustix::process::geteuid;

/// Bytes of each of its files that are read: certificates of a few authorities are a tenth of it.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Who else than its owner must not do what with a file: others may not read it, and nobody may write it.
const FORBIDDEN: u32 = 0o037;

/// Reads what is configured. It may wait for a file system.
///
/// # Errors
/// When a file can't be read, is open to others, or is not what it should be, with what to do.
pub(crate) fn open(configured: &Admin) -> anyhow::Result<Security> {
    let token = configured.token_file.as_deref().map(token).transpose()?;
    let tls = configured.tls.as_ref().map(|tls| {
        let certificate = read(&tls.certificate, "tls_certificate", false)?;
        let key = read(&tls.key, "tls_key", true)?;
        Tls::new(&certificate, &key).map_err(|why| {
            let (certificate, key) = (tls.certificate.display(), tls.key.display());
            anyhow::anyhow!("`tls_certificate` {certificate} and `tls_key` {key} of [admin]: {why}")
        })
    });
    let tls = tls.transpose()?;
    Ok(Security { token, tls })
}

fn token(path: &Path) -> anyhow::Result<Token> {
    let content = read(path, "token_file", true)?;
    let content = String::from_utf8_lossy(&content);
    let shown = path.display();
    Token::parse(&content).map_err(|why| anyhow::anyhow!("`token_file` {shown} of [admin]: {why}"))
}

fn read(path: &Path, key: &str, is_secret: bool) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let failed = || format!("`{key}` {shown} of [admin] can't be read");
    // One that is a pipe is not waited for.
    let file = File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .with_context(failed)?;
    let found = file.metadata().with_context(failed)?;
    if !found.is_file() {
        bail!("`{key}` {shown} of [admin] is no regular file");
    }
    let owner = found.uid();
    if is_secret && found.mode() & FORBIDDEN != 0 {
        let mode = found.mode() & 0o777;
        bail!(
            "`{key}` {shown} of [admin] is open to others (mode {mode:04o}); `chmod 0600 {shown}`, or 0640 for a group that may read it"
        );
    }
    if is_secret && owner != 0 && owner != geteuid().as_raw() {
        let own = geteuid().as_raw();
        bail!("`{key}` {shown} of [admin] is user {owner}'s; give it to root or to user {own}");
    }
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.with_context(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let error = io::Error::new(io::ErrorKind::FileTooLarge, "it is too long");
        return Err(error).with_context(failed);
    }
    Ok(bytes)
}
