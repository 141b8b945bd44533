//! `[admin]`: where the proxy is watched and changed.

use std::path::PathBuf;

use toml::de::DeValue;

use crate::addresses::claims::Claims;
use crate::catalogue::key::Kind;
use crate::problems::refusal::Refusal;
use crate::raw::read::{Read, string};
use crate::raw::section::Section;
use crate::values::account::Account;
use crate::values::address::{BindAddress, ListenAddress, is_host, unix_path};

/// The admin server's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// `listen`: the address of the admin server; with port 0 the kernel chooses one. `[::]` and `*` are as a listener's.
    pub listen: ListenAddress,
    /// `hosts`: at most [`ADMIN_HOSTS_MAX`] names by which people and programs ask the admin
    /// server, besides IP addresses, names without a dot and the machine's own; `"*"` is every
    /// name. Absent: none.
    pub hosts: Vec<String>,
    /// `socket` and what else is said of it; absent if there is none.
    pub socket: Option<AdminSocket>,
    /// `token_file`: whose bearers may change the proxy over TCP; absent if nobody may.
    pub token_file: Option<PathBuf>,
    /// `tls_certificate` and `tls_key`; absent where plain HTTP is spoken.
    pub tls: Option<AdminTls>,
}

/// TLS of the admin server: paths of files in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminTls {
    /// `tls_certificate`: its certificates, its own first.
    pub certificate: PathBuf,
    /// `tls_key`: the private key of that.
    pub key: PathBuf,
}

/// The unix socket of commands that change the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminSocket {
    /// `socket`: an absolute path of at most [`UNIX_PATH_BYTES_MAX`](crate::UNIX_PATH_BYTES_MAX) bytes.
    pub path: PathBuf,
    /// `socket_mode`: the permissions of its file, at most `0o777`.
    pub mode: u32,
    /// `socket_group`: the group of its file. Absent: the process's own.
    pub group: Option<Account>,
}

/// The most names of the admin server.
pub const ADMIN_HOSTS_MAX: usize = 64;

const HOST: &str = "the name of a host, such as \"corelane.example\", or \"*\"";
const FILE: &str = "the absolute path of a file";
const SOCKET: &str = "the absolute path of a unix socket";
const MODE: &str = "an octal mode in a string, such as \"0660\"";

pub(crate) fn read(section: &mut Section<'_>, claims: &mut Claims) -> Admin {
    let listen: ListenAddress = section.value("listen");
    // It is the first that asks.
    let _ = claims.claim(&listen.into(), None, "admin.listen");
    let hosts = section.elements("hosts");
    let hosts = hosts.iter().filter_map(|node| node.read(host)).collect();
    let socket = read_socket(section);
    let token = section.node("token_file");
    let tls = read_tls(section);
    if let (Some(token), None, false) = (&token, &tls, is_loopback(listen)) {
        let path = token.path();
        token.report(format!(
            "`{path}` would send the token in plain text, as `admin.listen` is \"{listen}\"; add tls_certificate and \
             tls_key, or listen on loopback, as at \"127.0.0.1:9600\""
        ));
    }
    if let Some(AdminSocket { path, .. }) = &socket {
        let _ = claims.claim(&BindAddress::Unix(path.clone()), None, "admin.socket");
    }
    Admin {
        listen,
        hosts,
        socket,
        token_file: token.and_then(|token| token.read(file)),
        tls,
    }
}

fn is_loopback(listen: ListenAddress) -> bool {
    match listen {
        ListenAddress::Tcp(address) => address.ip().to_canonical().is_loopback(),
        ListenAddress::Every(_) => false,
    }
}

fn read_tls(section: &mut Section<'_>) -> Option<AdminTls> {
    let [certificate, key] = ["tls_certificate", "tls_key"].map(|name| section.node(name));
    if let (Some(one), None) | (None, Some(one)) = (&certificate, &key) {
        let path = one.path();
        let other = match &key {
            None => "tls_key",
            Some(_) => "tls_certificate",
        };
        one.report(format!(
            "`{path}` needs `{other}` beside it; add it, or remove this"
        ));
    }
    Some(AdminTls {
        certificate: certificate?.read(file)?,
        key: key?.read(file)?,
    })
}

/// The absolute path of a file.
fn file(value: &DeValue<'_>) -> Result<PathBuf, Refusal> {
    let written = string(value, FILE)?;
    let path = PathBuf::from(written);
    if path.is_absolute() && !written.ends_with('/') && !written.contains('\0') {
        Ok(path)
    } else {
        Err(Refusal::new(FILE, value))
    }
}

fn read_socket(section: &mut Section<'_>) -> Option<AdminSocket> {
    let socket = section.node("socket");
    for name in ["socket_mode", "socket_group"] {
        if let (None, Some(node)) = (&socket, section.node(name)) {
            let path = node.path();
            node.report(format!(
                "`{path}` is for `socket`, which is missing; add it, or remove this"
            ));
        }
    }
    let mode: Mode = section.value("socket_mode");
    let group = section.optional("socket_group");
    Some(AdminSocket {
        path: socket?.read(path)?,
        mode: mode.0,
        group,
    })
}

/// A name by which a server is asked, without a port.
fn host(value: &DeValue<'_>) -> Result<String, Refusal> {
    let name = string(value, HOST)?;
    if name == "*" || is_host(name) {
        Ok(name.to_owned())
    } else {
        let advice = "leave out scheme and port; IP addresses are accepted as they are".to_owned();
        Err(Refusal::new(HOST, value).advise(advice))
    }
}

fn path(value: &DeValue<'_>) -> Result<PathBuf, Refusal> {
    let written = string(value, SOCKET)?;
    unix_path(written).map_err(|error| Refusal::new(SOCKET, value).advise(error.to_string()))
}

/// Permissions of a file.
struct Mode(u32);

impl Read for Mode {
    fn read(value: &DeValue<'_>, _: &Kind) -> Result<Self, Refusal> {
        let written = string(value, MODE)?;
        let digits = written.strip_prefix('0').unwrap_or(written);
        let is_octal =
            digits.len() == 3 && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let mode = u32::from_str_radix(digits, 8).ok().filter(|_| is_octal);
        mode.map(Self).ok_or_else(|| Refusal::new(MODE, value))
    }
}
