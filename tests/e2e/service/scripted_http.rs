//! An HTTP server with a script: one request a connection.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::{self, JoinHandle};

/// The server. It ends when this is dropped.
pub(crate) struct ScriptedHttp {
    pub(crate) address: SocketAddr,
    is_over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl ScriptedHttp {
    /// `answer` gets the head of each request, where its answer goes, and what becomes true when the server ends.
    pub(crate) fn start(
        answer: impl Fn(&str, TcpStream, &AtomicBool) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let is_over = Arc::new(AtomicBool::new(false));
        let answer = Arc::new(answer);
        let acceptor = thread::spawn({
            let is_over = is_over.clone();
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if is_over.load(SeqCst) {
                        return;
                    }
                    let (answer, is_over) = (answer.clone(), is_over.clone());
                    thread::spawn(move || {
                        if let Some((head, stream)) = receive(stream) {
                            answer(&head, stream, &is_over);
                        }
                    });
                }
            }
        });
        Self {
            address,
            is_over,
            acceptor: Some(acceptor),
        }
    }
}

impl Drop for ScriptedHttp {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

/// The head of a request; none: the client went before its end.
fn receive(stream: TcpStream) -> Option<(String, TcpStream)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if !matches!(reader.read_line(&mut head), Ok(1..)) {
            return None;
        }
    }
    Some((head, reader.into_inner()))
}
