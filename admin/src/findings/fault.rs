//! What a connect that failed means, and what helps, in words.

use std::io;

use proxy_core::metrics::ConnectFailure;
use proxy_core::{Fault, Server};
use rustix::io::Errno;

/// How the configuration begins the address of a unix socket.
const UNIX: &str = "unix:";

/// Why a connect or a check failed.
pub(crate) fn words(server: &Server, fault: Fault) -> String {
    let is_unix = is_unix(&server.label);
    let told = match (fault.reason, fault.errno) {
        (ConnectFailure::Refused, Some(Errno::NOENT)) => "no such file (ENOENT)",
        (ConnectFailure::Refused, _) if is_unix => "nobody listens on the socket (ECONNREFUSED)",
        (ConnectFailure::Refused, _) => "connection refused",
        (ConnectFailure::Timeout, _) if is_unix => "its queue stays full (timeout)",
        (ConnectFailure::Timeout, _) => "no answer (timeout)",
        (ConnectFailure::Reset, _) => "connection reset",
        (ConnectFailure::Unreachable, Some(Errno::HOSTUNREACH)) => {
            "no machine has this address (EHOSTUNREACH)"
        }
        (ConnectFailure::Unreachable, Some(Errno::NETUNREACH)) => {
            "no route leads there (ENETUNREACH)"
        }
        (ConnectFailure::Unreachable, _) => "unreachable",
        (ConnectFailure::Resolve, _) => "its name has no address (resolve)",
        (ConnectFailure::Local, Some(Errno::ADDRNOTAVAIL)) => {
            "this machine has no port left for it (EADDRNOTAVAIL)"
        }
        (ConnectFailure::Local, _) => "this machine lacks something for it (local)",
        (ConnectFailure::Other, Some(Errno::ACCESS)) if is_unix => {
            "this user may not connect to it (EACCES)"
        }
        (ConnectFailure::Other, Some(Errno::ACCESS)) => "this machine forbids it (EACCES)",
        (ConnectFailure::Other, Some(Errno::PERM)) => "this machine forbids it (EPERM)",
        (ConnectFailure::Other, Some(Errno::NOTDIR)) => {
            "a part of its path is no directory (ENOTDIR)"
        }
        (ConnectFailure::Other, Some(Errno::LOOP)) => "its path has too many links (ELOOP)",
        (ConnectFailure::Other, Some(Errno::NAMETOOLONG)) => "its path is too long (ENAMETOOLONG)",
        (ConnectFailure::Other, Some(Errno::PROTOTYPE)) => {
            "the socket there is of another type (EPROTOTYPE)"
        }
        (ConnectFailure::Other, Some(Errno::AFNOSUPPORT)) => {
            "this machine has no such addresses (EAFNOSUPPORT)"
        }
        // "Network dropped connection on reset (os error 102)"
        (ConnectFailure::Other, Some(errno)) => return io::Error::from(errno).to_string(),
        (ConnectFailure::Other, None) => "another error",
        (ConnectFailure::Closed, _) => "it accepts connections and ends them at once (closed)",
        (ConnectFailure::Starttls, _) => "it takes no TLS when it is asked for it (starttls)",
        (ConnectFailure::Answer, _) if !server.wrong_answer().is_empty() => {
            return format!(
                "it answers health checks otherwise than it should: {} (answer)",
                server.wrong_answer()
            );
        }
        (ConnectFailure::Answer, _) => "it answers health checks otherwise than it should (answer)",
    };
    told.to_owned()
}

/// What the agent of a server says of it.
pub(crate) fn by_agent(server: &Server) -> String {
    format!("its agent says: {}", server.agent_line())
}

/// What helps against it.
pub(super) fn remedy(server: &Server, fault: Fault) -> String {
    match path(server) {
        Some(path) => of_unix(path, fault),
        None => of_tcp(&server.label, fault),
    }
    .unwrap_or_else(|| of_any(&server.label, fault))
}

/// Whether a server of this name is a unix socket.
pub(super) fn is_unix(label: &str) -> bool {
    label.starts_with(UNIX)
}

/// The path of a unix server.
fn path(server: &Server) -> Option<&str> {
    server.label.strip_prefix(UNIX)
}

fn of_unix(path: &str, fault: Fault) -> Option<String> {
    Some(match (fault.reason, fault.errno) {
        (ConnectFailure::Refused, Some(Errno::NOENT)) => format!(
            "start the server, which makes {path}, or correct the address; where one of the two runs in a container, it must \
             see the same directory"
        ),
        (ConnectFailure::Refused, _) => format!(
            "start the server of {path}: the file is left from one that ended, or is no socket (`ls -l {path}`)"
        ),
        (ConnectFailure::Timeout, _) => format!(
            "see that the server of {path} is not stopped, stuck or overloaded: it accepts nobody (`ss -lx src {path}` shows \
             its queue); if only bursts fill it, raise its backlog"
        ),
        (ConnectFailure::Other, Some(Errno::ACCESS)) => format!(
            "give corelane's user the right to write to {path} and to enter its directories (`namei -l {path}` shows the \
             rights)"
        ),
        (ConnectFailure::Other, Some(Errno::PERM)) => format!(
            "see the security policy (SELinux, AppArmor, seccomp) and its log: it must let corelane connect to {path}"
        ),
        (ConnectFailure::Other, Some(Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)) => {
            format!("correct the address: `namei -l {path}` shows what is on the way there")
        }
        (ConnectFailure::Other, Some(Errno::PROTOTYPE)) => format!(
            "have the server of {path} listen on a stream socket (SOCK_STREAM), which corelane speaks, or correct the address"
        ),
        _ => return None,
    })
}

fn of_tcp(label: &str, fault: Fault) -> Option<String> {
    Some(match (fault.reason, fault.errno) {
        (ConnectFailure::Refused, _) => {
            format!("nothing listens at {label}: start the server, or correct the address")
        }
        (ConnectFailure::Timeout, _) => format!(
            "see that the machine of {label} runs, that no firewall drops what is sent to it, and that it is not too busy to \
             accept"
        ),
        (ConnectFailure::Unreachable, Some(Errno::HOSTUNREACH)) => format!(
            "see that the machine of {label} runs and is on this network, and that no firewall refuses the way there"
        ),
        (ConnectFailure::Other, Some(Errno::ACCESS | Errno::PERM)) => format!(
            "see the firewall of this machine (`nft list ruleset`, `iptables -S OUTPUT`) and its security policy: they must \
             let corelane connect to {label}"
        ),
        (ConnectFailure::Other, Some(Errno::AFNOSUPPORT)) => {
            format!("enable IPv6 on this machine, or give {label} an address of IPv4")
        }
        _ => return None,
    })
}

fn of_any(label: &str, fault: Fault) -> String {
    match (fault.reason, fault.errno) {
        (ConnectFailure::Reset, _) => {
            format!("see the log of {label}: it, or a firewall before it, resets connections")
        }
        (ConnectFailure::Unreachable, _) => {
            format!("see this machine's routes and network (`ip route`): there is no way to {label}")
        }
        (ConnectFailure::Starttls, _) => format!(
            "have {label} take TLS (PostgreSQL: `ssl = on`; mail: STARTTLS), or take `starttls` from the listener"
        ),
        (ConnectFailure::Resolve, _) => {
            format!("correct the name {label}, or see that the name server knows it")
        }
        (ConnectFailure::Local, Some(Errno::ADDRNOTAVAIL)) => {
            "widen net.ipv4.ip_local_port_range, or give the upstream more addresses: each has as many ports".to_owned()
        }
        (ConnectFailure::Local, _) => {
            "this machine lacks descriptors or memory: raise `ulimit -n`, or see what uses the memory up".to_owned()
        }
        (ConnectFailure::Closed, _) => format!(
            "see the log of {label}: it, or a balancer before it, accepts connections and drops them"
        ),
        (ConnectFailure::Answer, _) => format!(
            "see what {label} answered in the log; if it should be up, correct what [upstreams.NAME.health] says and expects"
        ),
        (_, Some(errno)) => format!(
            "see what error {} means in connect(2), and that {label} is the address of a server that takes streams",
            errno.raw_os_error()
        ),
        (_, None) => format!("the error of {label} is in the log (`--log debug`)"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proxy_core::{ANSWER_CHARS_MAX, ServerAddress, Upstream};

    use super::*;

    fn told(label: &str, error: &io::Error) -> (String, String) {
        // The kind of address doesn't matter here, the label tells it.
        let address = ServerAddress::Tcp(SocketAddr::from(([10, 0, 0, 1], 1)));
        let (server, fault) = (
            Server::fixed(&Upstream::new("u".to_owned()), label.to_owned(), address),
            Fault::of(error),
        );
        (words(&server, fault), remedy(&server, fault))
    }

    #[test]
    fn a_wrong_answer_is_told_in_the_words_of_the_check() {
        let address = ServerAddress::Tcp(SocketAddr::from(([10, 0, 0, 1], 1)));
        let server = Server::fixed(&Upstream::new("u".to_owned()), TCP.to_owned(), address);
        let told = || words(&server, ConnectFailure::Answer.into());
        let plain = "it answers health checks otherwise than it should";
        assert_eq!(told(), format!("{plain} (answer)"));
        server.set_wrong_answer("the status is 503\r\n");
        assert_eq!(told(), format!("{plain}: the status is 503   (answer)"));
        let refused = words(&server, ConnectFailure::Refused.into());
        assert_eq!(refused, "connection refused");
        server.set_wrong_answer(&"ä".repeat(1000));
        assert_eq!(server.wrong_answer().chars().count(), ANSWER_CHARS_MAX);
    }

    const TCP: &str = "10.0.0.1:80";
    const SOCKET: &str = "unix:/run/x.sock";

    /// Words that would mislead anywhere else.
    const OWN: &[&str] = &[
        "nothing listens at",
        "firewall",
        "no such file",
        "namei -l /run/x.sock",
        "ss -lx src /run/x.sock",
        "SOCK_STREAM",
        "right to write",
        "security policy",
        "ip_local_port_range",
        "ip route",
        "name server",
        "descriptors",
        "IPv6",
        "--log debug",
        "connect(2)",
    ];

    #[test]
    fn each_error_is_named_and_gets_advice_that_fits_the_kind_of_server() {
        let late = io::Error::from(io::ErrorKind::TimedOut);
        let table: &[(&str, &io::Error, &str, &[&str])] = &[
            (
                TCP,
                &Errno::CONNREFUSED.into(),
                "connection refused",
                &["nothing listens at"],
            ),
            (TCP, &late, "no answer", &["firewall"]),
            (TCP, &Errno::CONNRESET.into(), "reset", &["firewall"]),
            (
                TCP,
                &Errno::HOSTUNREACH.into(),
                "EHOSTUNREACH",
                &["firewall"],
            ),
            (TCP, &Errno::NETUNREACH.into(), "ENETUNREACH", &["ip route"]),
            (
                TCP,
                &Errno::ADDRNOTAVAIL.into(),
                "EADDRNOTAVAIL",
                &["ip_local_port_range"],
            ),
            (TCP, &Errno::MFILE.into(), "local", &["descriptors"]),
            (
                TCP,
                &Errno::ACCESS.into(),
                "EACCES",
                &["firewall", "security policy"],
            ),
            (
                TCP,
                &Errno::PERM.into(),
                "EPERM",
                &["firewall", "security policy"],
            ),
            (TCP, &Errno::AFNOSUPPORT.into(), "EAFNOSUPPORT", &["IPv6"]),
            (
                TCP,
                &Errno::INVAL.into(),
                "Invalid argument (os error 22)",
                &["connect(2)"],
            ),
            (
                TCP,
                &io::Error::other("?"),
                "another error",
                &["--log debug"],
            ),
            (SOCKET, &Errno::CONNREFUSED.into(), "ECONNREFUSED", &[]),
            (SOCKET, &Errno::NOENT.into(), "ENOENT", &["no such file"]),
            (
                SOCKET,
                &late,
                "queue stays full",
                &["ss -lx src /run/x.sock"],
            ),
            (
                SOCKET,
                &Errno::ACCESS.into(),
                "EACCES",
                &["right to write", "namei -l /run/x.sock"],
            ),
            (SOCKET, &Errno::PERM.into(), "EPERM", &["security policy"]),
            (
                SOCKET,
                &Errno::NOTDIR.into(),
                "ENOTDIR",
                &["namei -l /run/x.sock"],
            ),
            (
                SOCKET,
                &Errno::LOOP.into(),
                "ELOOP",
                &["namei -l /run/x.sock"],
            ),
            (
                SOCKET,
                &Errno::PROTOTYPE.into(),
                "EPROTOTYPE",
                &["SOCK_STREAM"],
            ),
            (
                SOCKET,
                &Errno::NOTCONN.into(),
                "(os error 107)",
                &["connect(2)"],
            ),
        ];
        for &(label, error, why, advice) in table {
            let (words, remedy) = told(label, error);
            assert!(words.contains(why), "{label}, {error}: {words}");
            let all = format!("{words}; {remedy}");
            for own in OWN {
                let wanted = advice.contains(own);
                assert_eq!(
                    all.contains(own),
                    wanted,
                    "{label}, {error}: {own:?} in: {all}"
                );
            }
            for wanted in advice {
                assert!(OWN.contains(wanted), "{wanted} is nobody's own");
            }
        }
    }
}
