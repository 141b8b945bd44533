//! Where the state comes from: the admin server, asked once a second.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use proxy_state::{Connections, State};

use crate::target::Target;

/// Time from an answer to the next question.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long each step may take: to connect, to send, to receive the next bytes.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);

/// Connections that are asked for; those beyond are only counted.
const CONNECTIONS_MAX: usize = 500;

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
    let answer = target.get("/state", STEP_TIMEOUT)?;
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
    let connections = target.get(&path, STEP_TIMEOUT)?;
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
        Target::url(&address.to_string(), None, None).expect("an address")
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
