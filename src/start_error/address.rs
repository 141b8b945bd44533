//! Why an address can't be listened on, and what to do: the advice fits what the kernel said.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use proxy_core::listen::BindAddress;
use rustix::io::Errno;

use super::{path, resource};

/// Who wants to listen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    /// The subject of the sentence, such as "[listeners.web]".
    pub(crate) name: &'a str,
    /// What to change for another address, such as "`bind`".
    pub(crate) key: &'a str,
}

/// "WHO can't listen on ADDRESS; ADVICE": to be followed by the error itself.
pub(crate) fn cannot_listen(asker: Asker<'_>, address: &BindAddress, error: &io::Error) -> String {
    let advice = advice(asker.key, address, error);
    format!("{} can't listen on {address}; {advice}", asker.name)
}

fn advice(key: &str, address: &BindAddress, error: &io::Error) -> String {
    let errno = Errno::from_io_error(error);
    match address {
        BindAddress::Tcp(address) => tcp_advice(key, Tcp::from(*address), errno),
        BindAddress::Every(port) => tcp_advice(key, Tcp::every(*port), errno),
        BindAddress::Unix(path) => unix_advice(key, path, errno),
    }
    .or_else(|| resource::advice(errno?).map(str::to_owned))
    .unwrap_or_else(|| format!("change {key}"))
}

/// An address of TCP, as far as advice depends on it.
#[derive(Clone, Copy)]
struct Tcp {
    port: u16,
    is_ipv6: bool,
}

impl Tcp {
    fn every(port: u16) -> Self {
        Self {
            port,
            is_ipv6: true,
        }
    }
}

impl From<SocketAddr> for Tcp {
    fn from(address: SocketAddr) -> Self {
        Self {
            port: address.port(),
            is_ipv6: address.is_ipv6(),
        }
    }
}

fn tcp_advice(key: &str, Tcp { port, is_ipv6 }: Tcp, errno: Option<Errno>) -> Option<String> {
    /// What the kernel keeps for the privileged, unless net.ipv4.ip_unprivileged_port_start says otherwise.
    const UNPRIVILEGED: u16 = 1024;
    Some(match errno? {
        Errno::ADDRINUSE if port == 0 => {
            "no port is free: widen net.ipv4.ip_local_port_range, or name a port".to_owned()
        }
        Errno::ADDRINUSE => format!(
            "another socket has port {port}: `ss -tanp 'sport = :{port}'`, as root, shows the process. Where it \
             listens, stop it or change {key}. Where it is a connection, the port was free for clients to take: add \
             it to net.ipv4.ip_local_reserved_ports, or choose one outside of net.ipv4.ip_local_port_range"
        ),
        Errno::ACCESS if port < UNPRIVILEGED => format!(
            "a port below {UNPRIVILEGED} needs a right: give the process CAP_NET_BIND_SERVICE (systemd: \
             AmbientCapabilities=CAP_NET_BIND_SERVICE), lower net.ipv4.ip_unprivileged_port_start to {port}, or \
             choose a port from {UNPRIVILEGED} on in {key}"
        ),
        Errno::ACCESS => format!(
            "this user may not have port {port}: net.ipv4.ip_unprivileged_port_start is higher, or a security policy \
             (SELinux, AppArmor) forbids it"
        ),
        Errno::PERM => {
            "a security policy forbids it: look at the seccomp and cgroup filters of the service or container"
                .to_owned()
        }
        Errno::ADDRNOTAVAIL => {
            let nonlocal = if is_ipv6 {
                "net.ipv6.ip_nonlocal_bind"
            } else {
                "net.ipv4.ip_nonlocal_bind"
            };
            format!(
                "no interface of this machine has that address (`ip address` lists them): change {key}; set \
                 {nonlocal} = 1 if the address comes later, as one of VRRP does"
            )
        }
        Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT if is_ipv6 => format!(
            "this kernel runs without IPv6: write an IPv4 address in {key}, such as \"0.0.0.0:{port}\", or boot \
             without ipv6.disable=1"
        ),
        Errno::INVAL | Errno::NODEV if is_ipv6 => format!(
            "the number after % is that of no interface here, or one is missing (`ip link` lists them): correct {key}"
        ),
        _ => return None,
    })
}

fn unix_advice(key: &str, path: &Path, errno: Option<Errno>) -> Option<String> {
    let shown = path.display();
    match errno? {
        Errno::ADDRINUSE => Some(format!(
            "another process listens there (`ss -lxp src {shown}`, as root, shows it), or the file is no socket \
             (`ls -l {shown}`): stop that process, remove the file, or change {key}"
        )),
        Errno::NAMETOOLONG => Some(format!("shorten the path in {key}")),
        errno => path::advice(key, path, errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BIND: Asker<'static> = Asker {
        name: "[listeners.web]",
        key: "`bind`",
    };

    fn told(address: &str, errno: Errno) -> String {
        let address = match (address.strip_prefix("unix:"), address.strip_prefix("*:")) {
            (Some(path), _) => BindAddress::Unix(path.into()),
            (_, Some(port)) => BindAddress::Every(port.parse().unwrap()),
            _ => BindAddress::Tcp(address.parse().unwrap()),
        };
        cannot_listen(BIND, &address, &errno.into())
    }

    /// Words that belong to one kind of fault, so that they would mislead with any other.
    const OWN: &[&str] = &[
        "ss -tanp",
        "ss -lxp",
        "ip_local_port_range",
        "CAP_NET_BIND_SERVICE",
        "ip_unprivileged_port_start",
        "security policy",
        "ip address",
        "ip link",
        "without IPv6",
        "make the directory",
        "is a directory",
        "may write",
        "read-only",
        "is full",
        "LimitNOFILE",
        "fs.file-max",
        "memory",
    ];

    #[test]
    fn advice_fits_the_errno() {
        let directory = "make the directory /run/x";
        for (address, errno, words) in [
            (
                "10.0.0.1:8080",
                Errno::ADDRINUSE,
                &["ss -tanp 'sport = :8080'", "ip_local_port_range"][..],
            ),
            (
                "*:80",
                Errno::ADDRINUSE,
                &["ss -tanp", "ip_local_port_range"],
            ),
            (
                "0.0.0.0:0",
                Errno::ADDRINUSE,
                &["no port is free", "ip_local_port_range"],
            ),
            (
                "[::]:80",
                Errno::ACCESS,
                &["CAP_NET_BIND_SERVICE", "ip_unprivileged_port_start to 80"],
            ),
            (
                "0.0.0.0:8080",
                Errno::ACCESS,
                &["ip_unprivileged_port_start is higher", "security policy"],
            ),
            ("0.0.0.0:80", Errno::PERM, &["security policy"]),
            (
                "10.0.0.1:80",
                Errno::ADDRNOTAVAIL,
                &["ip address", "net.ipv4.ip_nonlocal_bind"],
            ),
            (
                "[2001:db8::1]:80",
                Errno::ADDRNOTAVAIL,
                &["ip address", "net.ipv6.ip_nonlocal_bind"],
            ),
            (
                "[::1]:80",
                Errno::AFNOSUPPORT,
                &["without IPv6", "\"0.0.0.0:80\""],
            ),
            ("[fe80::1%9]:80", Errno::NODEV, &["ip link"]),
            ("[fe80::1%9]:80", Errno::INVAL, &["ip link"]),
            ("0.0.0.0:80", Errno::MFILE, &["LimitNOFILE"]),
            ("0.0.0.0:80", Errno::NFILE, &["fs.file-max"]),
            ("0.0.0.0:80", Errno::NOBUFS, &["memory"]),
            ("0.0.0.0:80", Errno::NOMEM, &["memory"]),
            (
                "unix:/run/x/a.sock",
                Errno::ADDRINUSE,
                &["ss -lxp src /run/x/a.sock"],
            ),
            ("unix:/run/x/a.sock", Errno::NOENT, &[directory]),
            ("unix:/run/x/a.sock", Errno::NOTDIR, &["is a directory"]),
            (
                "unix:/run/x/a.sock",
                Errno::ACCESS,
                &["may write", "security policy"],
            ),
            (
                "unix:/run/x/a.sock",
                Errno::PERM,
                &["may write", "security policy"],
            ),
            ("unix:/run/x/a.sock", Errno::ROFS, &["read-only"]),
            ("unix:/run/x/a.sock", Errno::NOSPC, &["is full"]),
            ("unix:/run/x/a.sock", Errno::MFILE, &["LimitNOFILE"]),
        ] {
            let told = told(address, errno);
            let begin = format!("[listeners.web] can't listen on {address}; ");
            assert!(told.starts_with(&begin), "{told}");
            for word in words {
                assert!(told.contains(word), "{errno:?}: no {word:?} in: {told}");
            }
            for word in OWN {
                let wanted = words.iter().any(|wanted| wanted.contains(word));
                assert!(
                    wanted || !told.contains(word),
                    "{errno:?}: {word:?} in: {told}"
                );
            }
        }
    }

    #[test]
    fn what_is_not_known_gets_no_guess() {
        for address in ["0.0.0.0:80", "unix:/a"] {
            let told = told(address, Errno::NOTCONN);
            assert!(told.ends_with("; change `bind`"), "{told}");
        }
        let address = BindAddress::Tcp(([0, 0, 0, 0], 80).into());
        let told = cannot_listen(BIND, &address, &io::Error::other("no errno"));
        assert!(told.ends_with("; change `bind`"), "{told}");
    }

    /// The kernel's own errors, where a test can cause them.
    #[test]
    fn errors_of_a_real_bind() {
        let refused = |address: &BindAddress| {
            let error = proxy_core::listen::bind(address, 1, 1).expect_err("it can't be bound");
            cannot_listen(BIND, address, &error)
        };
        let bound = proxy_core::listen::bind(&BindAddress::Every(0), 1, 1).expect("a port is free");
        assert!(refused(&bound.address).contains("ss -tanp"));
        // An address for documents (RFC 5737).
        let foreign = BindAddress::Tcp(([192, 0, 2, 1], 0).into());
        assert!(refused(&foreign).contains("ip address"));
        let lost = BindAddress::Unix("/nonexistent/a.sock".into());
        assert!(refused(&lost).contains("make the directory /nonexistent"));
        let below_a_file = BindAddress::Unix("/proc/version/a.sock".into());
        assert!(refused(&below_a_file).contains("is a directory"));
    }

    /// A port that a connection has is no listener's, which `ss -l` would look for.
    #[test]
    fn a_connection_s_port_is_in_use() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let address = BindAddress::Tcp(client.local_addr().unwrap());
        let error = proxy_core::listen::bind(&address, 1, 1).expect_err("the client has it");
        let told = cannot_listen(BIND, &address, &error);
        assert!(told.contains("Where it is a connection"), "{told}");
        drop(server);
    }
}
