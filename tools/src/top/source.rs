//! Where the state comes from: the admin server, asked once a second.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use proxy_state::client::{self, Answer};
use proxy_state::{Connections, State};

/// The port of an address that names none.
const PORT_DEFAULT: u16 = 9600;

/// Time from an answer to the next question.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long each step may take: to connect, to send, to receive the next bytes.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections that are asked for; those beyond are only counted.
const CONNECTIONS_MAX: usize = 500;

/// An admin server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    /// With the port.
    authority: String,
}

impl Target {
    /// Of `http://HOST:PORT`; scheme and port may be left out.
    ///
    /// # Errors
    /// When it is another scheme, or no host.
    pub(super) fn parse(url: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").unwrap_or(url);
        anyhow::ensure!(
            !rest.contains("://"),
            "{url}: the admin server speaks plain http://; write http://HOST:PORT"
        );
        let authority = rest.split('/').next().unwrap_or_default();
        // The port follows the last colon, unless that is one of an IPv6 address in brackets.
        let port = authority.rsplit_once(':').map(|(_, port)| port);
        let has_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
        let host = if has_port {
            authority.rsplit_once(':').map_or("", |(host, _)| host)
        } else {
            authority
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '@';
        anyhow::ensure!(
            !bare.is_empty() && !bare.contains(odd) && (host != bare || !bare.contains(':')),
            "{url}: no address of an admin server; write http://HOST:PORT, with an IPv6 address in brackets"
        );
        Ok(Self {
            authority: if has_port {
                authority.to_owned()
            } else {
                format!("{authority}:{PORT_DEFAULT}")
            },
        })
    }

    /// Written in full.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    fn get(&self, path: &str) -> io::Result<Answer> {
        client::get(&self.authority, path, STEP_TIMEOUT)
    }
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Update {
    /// Without connections where the proxy doesn't list them.
    State(Box<State>, Option<Connections>),
    /// The proxy can't be asked now; it may be restarting.
    Away(String),
}

/// A thread that asks. It ends soon after this is dropped.
pub(super) struct Source {
    updates: Receiver<Update>,
    _stop: Sender<()>,
}

impl Source {
    /// Asks from now on.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(super) fn start(target: Target) -> io::Result<Self> {
        let (send, updates) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        thread::Builder::new()
            .name("corelane-top".to_owned())
            .spawn(move || {
                loop {
                    let update =
                        ask(&target).unwrap_or_else(|error| Update::Away(error.to_string()));
                    if send.send(update).is_err() {
                        return;
                    }
                    // Nothing is ever sent: the end of the sender is the message.
                    if stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Disconnected) {
                        return;
                    }
                }
            })?;
        Ok(Self {
            updates,
            _stop: stop,
        })
    }

    /// An update that has come, if there is one.
    pub(super) fn next(&self) -> Option<Update> {
        match self.updates.try_recv() {
            Ok(update) => Some(update),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => None,
        }
    }
}

fn ask(target: &Target) -> io::Result<Update> {
    let answer = target.get("/state")?;
    if answer.status != 200 {
        let what = match answer.status {
            // It says what to do.
            403 => answer.body.trim_end().to_owned(),
            status => format!("it answers /state with {status}: is this a corelane?"),
        };
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let state = serde_json::from_str(&answer.body)?;
    let path = format!("/connections?limit={CONNECTIONS_MAX}&sort=bytes");
    let connections = target.get(&path)?;
    let connections = match connections.status {
        200 => Some(serde_json::from_str(&connections.body)?),
        _ => None,
    };
    Ok(Update::State(Box::new(state), connections))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_are_read() {
        // What is written, and what is asked.
        let table = [
            ("http://127.0.0.1:9600", "127.0.0.1:9600"),
            ("http://proxy.example/", "proxy.example:9600"),
            ("proxy.example:80/metrics", "proxy.example:80"),
            ("http://[::1]:9700", "[::1]:9700"),
            ("[::1]", "[::1]:9600"),
            ("localhost", "localhost:9600"),
        ];
        for (written, authority) in table {
            let target = Target::parse(written).expect(written);
            assert_eq!(target.authority, authority, "{written}");
        }
        for written in [
            "https://a:1",
            "",
            "http://",
            "http://:80",
            "::1",
            "a b:1",
            "user@host:1",
            "a:1\r\nx",
        ] {
            assert!(Target::parse(written).is_err(), "{written:?}");
        }
    }

    /// Answers each connection with the next of `answers`, and ends.
    fn serve(answers: &'static [&'static str]) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).expect("a request");
                stream.write_all(answer.as_bytes()).expect("it reads");
            }
        });
        Target::parse(&address.to_string()).expect("an address")
    }

    #[test]
    fn a_proxy_without_a_list_of_connections_is_enough() {
        let target = serve(&[
            "HTTP/1.0 200 OK\r\n\r\n{\"scheduler\":\"tokio\"}",
            "HTTP/1.0 404 Not Found\r\n\r\nnot found\n",
        ]);
        let Update::State(state, None) = ask(&target).expect("an answer") else {
            panic!("no state, or connections that nobody sent");
        };
        assert_eq!(state.scheduler, "tokio");
        // Now nobody listens there.
        assert!(ask(&target).is_err());
    }

    #[test]
    fn connections_come_with_the_state() {
        let target = serve(&[
            "HTTP/1.0 200 OK\r\n\r\n{}",
            "HTTP/1.0 200 OK\r\n\r\n{\"total\":3,\"shown\":1,\"connections\":[{\"id\":7,\"server\":null}]}",
        ]);
        let Update::State(_, Some(connections)) = ask(&target).expect("an answer") else {
            panic!("no connections");
        };
        assert_eq!((connections.total, connections.connections[0].id), (3, 7));
    }

    #[test]
    fn another_server_is_told_as_one() {
        let error = ask(&serve(&["HTTP/1.0 404 Not Found\r\n\r\n"])).expect_err("no state");
        assert!(error.to_string().contains("is this a corelane?"), "{error}");
    }
}
