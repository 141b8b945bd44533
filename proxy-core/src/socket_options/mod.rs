//! Options of sockets, as they are configured. What isn't configured isn't set, and costs no call.
//!
//! Accepted sockets have what their listening socket has, so that a listener's options cost no call a connection. Sockets to
//! servers get theirs one by one, before the connect. None is for unix sockets.

mod connect;
mod keepalive;
mod listen;
mod tcp;

pub use self::connect::{ConnectOptions, Dial, Source};
pub use self::keepalive::{Keepalive, KeepaliveTimes};
pub use self::listen::ListenOptions;
pub use self::tcp::TcpOptions;

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// An option that can't be set here.
#[derive(Debug, thiserror::Error)]
#[error("{key} = {value}: {error}")]
pub struct OptionError {
    /// The key of the configuration.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What the kernel said.
    pub error: io::Error,
}

impl OptionError {
    fn of(key: &'static str, value: impl Display) -> impl FnOnce(io::Error) -> Self {
        let value = value.to_string();
        move |error| Self { key, value, error }
    }
}

impl From<OptionError> for io::Error {
    fn from(error: OptionError) -> Self {
        error.error
    }
}

/// What kinds of packets a socket sends: the two have options of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packets {
    V4,
    V6,
    /// A socket of IPv6 that has IPv4 peers, too.
    Both,
}

impl Packets {
    /// Those of a socket for one address.
    pub(crate) fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(address) if address.ip().to_ipv4_mapped().is_some() => Self::Both,
            SocketAddr::V6(_) => Self::V6,
        }
    }
}

/// A socket of TCP that nothing is set of.
fn fresh(packets: Packets) -> io::Result<OwnedFd> {
    let family = match packets {
        Packets::V4 => AddressFamily::INET,
        Packets::V6 | Packets::Both => AddressFamily::INET6,
    };
    Ok(socket_with(
        family,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::Duration;

    use rustix::net::sockopt;
    use socket2::SockRef;

    use super::*;
    use crate::listen::{BindAddress, join, reserve_with};
    use crate::transport::Descriptor;
    use crate::upstream::address::ServerAddress;

    /// What the kernel has of a socket's options.
    #[derive(Debug, PartialEq)]
    struct Set {
        keepalive: bool,
        idle: Duration,
        interval: Duration,
        count: u32,
        user_timeout: u32,
        notsent_lowat: u32,
        /// Whether they are at least what was asked for.
        buffers: (bool, bool),
        congestion: String,
        mark: u32,
        tos: u8,
        interface: Option<Vec<u8>>,
        nodelay: bool,
    }

    const BUFFER: u32 = 96 * 1024;

    fn set_of(socket: &impl std::os::fd::AsFd) -> Set {
        let other = SockRef::from(socket);
        let congestion = other.tcp_congestion().unwrap();
        let congestion = String::from_utf8(congestion).unwrap();
        Set {
            keepalive: sockopt::socket_keepalive(socket).unwrap(),
            idle: sockopt::tcp_keepidle(socket).unwrap(),
            interval: sockopt::tcp_keepintvl(socket).unwrap(),
            count: sockopt::tcp_keepcnt(socket).unwrap(),
            user_timeout: sockopt::tcp_user_timeout(socket).unwrap(),
            notsent_lowat: other.tcp_notsent_lowat().unwrap(),
            buffers: (
                sockopt::socket_recv_buffer_size(socket).unwrap() == 2 * BUFFER as usize,
                sockopt::socket_send_buffer_size(socket).unwrap() == 2 * BUFFER as usize,
            ),
            congestion: congestion.trim_end_matches('\0').to_owned(),
            mark: other.mark().unwrap(),
            tos: sockopt::ip_tos(socket).unwrap(),
            interface: other.device().unwrap(),
            nodelay: sockopt::tcp_nodelay(socket).unwrap(),
        }
    }

    /// All that this process may set.
    fn all() -> TcpOptions {
        let mut options = TcpOptions {
            keepalive: Keepalive::On(KeepaliveTimes {
                idle: Some(77),
                interval: Some(7),
                count: Some(3),
            }),
            user_timeout: Some(Duration::from_millis(4321)),
            notsent_lowat: Some(16 * 1024),
            receive_buffer: Some(BUFFER),
            send_buffer: Some(BUFFER),
            congestion: Some("reno".to_owned()),
            mark: Some(0x2a),
            dscp: Some(46),
            interface: Some("lo".to_owned()),
        };
        // Not everybody may.
        let has_mark = |options: &TcpOptions| {
            let socket = fresh(Packets::V4).unwrap();
            options.set(&socket, Packets::V4).is_ok()
        };
        if !has_mark(&options) {
            println!("without the mark: no right to it");
            options.mark = None;
        }
        options
    }

    fn expected(options: &TcpOptions) -> Set {
        Set {
            keepalive: true,
            idle: Duration::from_secs(77),
            interval: Duration::from_secs(7),
            count: 3,
            user_timeout: 4321,
            notsent_lowat: 16 * 1024,
            buffers: (true, true),
            congestion: "reno".to_owned(),
            mark: options.mark.unwrap_or_default(),
            tos: 46 << 2,
            interface: Some(b"lo".to_vec()),
            nodelay: true,
        }
    }

    fn any() -> BindAddress {
        BindAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// A client's socket as it is accepted from a listening one.
    fn accepted(socket: &Descriptor, address: &BindAddress) -> OwnedFd {
        let _client = TcpStream::connect(address.local().unwrap()).unwrap();
        let accept = || rustix::net::accept(socket);
        loop {
            match accept() {
                Ok(accepted) => return accepted,
                Err(rustix::io::Errno::AGAIN) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// So they cost no call a connection.
    #[test]
    fn accepted_sockets_have_all_options_of_their_listening_one() {
        for address in [any(), BindAddress::Every(0)] {
            let options = ListenOptions {
                tcp: all(),
                ..ListenOptions::default()
            };
            let Ok(reserved) = reserve_with(&address, 1, &options) else {
                println!("skipped: no {address} here");
                continue;
            };
            let bound = reserved.listen(16).unwrap();
            let own = accepted(&bound.sockets[0], &bound.address);
            assert_eq!(set_of(&own), expected(&options.tcp), "{address}");
            let joined = join(&bound.address, &options).unwrap();
            assert_eq!(set_of(&joined), expected(&options.tcp), "{address}");
        }
    }

    #[test]
    fn options_change_on_a_socket_that_listens_and_come_back_to_the_systems() {
        let plain = ListenOptions::default();
        let bound = reserve_with(&any(), 1, &plain).unwrap().listen(16).unwrap();
        let (socket, address) = (&bound.sockets[0], &bound.address);
        let before = set_of(&accepted(socket, address));
        let options = ListenOptions {
            tcp: all(),
            fast_open: Some(8),
            defer_accept: Some(3),
            transparent: false,
        };
        options.change(&plain, socket, address).unwrap();
        assert_eq!(set_of(socket), expected(&options.tcp));
        plain.change(&options, socket, address).unwrap();
        assert_eq!(set_of(&accepted(socket, address)), before);
        let off = ListenOptions {
            tcp: TcpOptions {
                keepalive: Keepalive::Off,
                ..TcpOptions::default()
            },
            ..plain.clone()
        };
        off.change(&plain, socket, address).unwrap();
        assert!(!set_of(&accepted(socket, address)).keepalive);
        plain.change(&off, socket, address).unwrap();
        assert_eq!(set_of(&accepted(socket, address)), before);
    }

    #[test]
    fn sockets_to_servers_have_them_before_they_connect() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ServerAddress::Tcp(server.local_addr().unwrap());
        let options = ConnectOptions {
            tcp: all(),
            source: Some(Source::Address([127, 0, 0, 9].into())),
        };
        let dial = Dial {
            options: Some(&options),
            client: None,
        };
        let socket = Descriptor::connect(&address, dial).unwrap();
        assert_eq!(set_of(&socket), expected(&options.tcp));
        let (_, from) = server.accept().unwrap();
        assert_eq!(from.ip(), Ipv4Addr::new(127, 0, 0, 9));
    }

    #[test]
    fn a_refusal_says_which_option() {
        let options = ListenOptions {
            tcp: TcpOptions {
                congestion: Some("nonsense".to_owned()),
                ..TcpOptions::default()
            },
            ..ListenOptions::default()
        };
        let refused = options.try_out(&any()).unwrap_err();
        assert_eq!((refused.key, &*refused.value), ("congestion", "nonsense"));
        options
            .try_out(&BindAddress::Unix("/a".into()))
            .expect("it is not for unix sockets");
    }
}
