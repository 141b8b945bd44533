//! A client of TLS with post-quantum keys: PyPI has a newer OpenSSL than Debian.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// Asks for the file of a [`TlsServer`](super::tls::TlsServer), and prints the answer. The groups of keys are the default ones, of which
/// X25519MLKEM768 is the first.
const SCRIPT: &str = r#"
import socket, sys
from OpenSSL import SSL
address, port, name = sys.argv[1:]
context = SSL.Context(SSL.TLS_CLIENT_METHOD)
context.set_alpn_protos([b"h2", b"http/1.1"])
client = SSL.Connection(context, socket.create_connection((address, int(port))))
client.set_tlsext_host_name(name.encode())
client.set_connect_state()
client.do_handshake()
client.sendall(b"GET /who HTTP/1.0\r\n\r\n")
try:
    while True:
        sys.stdout.buffer.write(client.recv(65536))
except SSL.Error:
    pass
"#;

/// The command that asks for this name at an address; or why there is none.
pub(crate) fn client(name: &'static str) -> Result<impl Fn(SocketAddr) -> Command, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pyopenssl/bin/python");
    let mut version = Command::new(&path);
    version.args(["-c", "import OpenSSL"]);
    let output = version.output();
    if !output.is_ok_and(|output| output.status.success()) {
        return Err("no pyOpenSSL, which tests/run installs".to_owned());
    }
    Ok(move |address: SocketAddr| {
        let mut command = Command::new(&path);
        command.args(["-c", SCRIPT, &address.ip().to_string()]);
        command.args([&address.port().to_string(), name]);
        command
    })
}
