//! What a load in the background does and measures, on echo servers that misbehave.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use proxy_load::{FirstCore, Flows, Load, Report, Workload};

/// How long a state may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

const NONE: Flows = Flows {
    count: 0,
    bytes: 1,
    interval: None,
    messages: None,
};

fn flows(count: usize, bytes: usize, interval: Option<Duration>) -> Flows {
    Flows {
        count,
        bytes,
        interval,
        messages: None,
    }
}

fn light(light: Flows) -> Workload {
    Workload {
        light,
        heavy: NONE,
        heavy_on_one_core: false,
        threads: 1,
    }
}

/// Serves each connection on a thread of its own, by its number.
fn serve(
    serve: impl Fn(u64, TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let accepted = Arc::new(AtomicU64::new(0));
    let (count, serve) = (accepted.clone(), Arc::new(serve));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let number = count.fetch_add(1, SeqCst);
            let (serve, stream) = (serve.clone(), stream.expect("a connection"));
            // Its end is the client's affair.
            thread::spawn(move || serve(number, stream));
        }
    });
    (address, accepted)
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = [0; 16 * 1024];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            count => stream.write_all(&bytes[..count])?,
        }
    }
}

/// Answers the byte that a connection is opened with.
fn answer_first(stream: &mut TcpStream) -> io::Result<()> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    stream.write_all(&byte)
}

/// Reports until one is as `wanted`.
fn until(load: &Load, wanted: impl Fn(&Report) -> bool) -> Report {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = load.report();
        if wanted(&report) {
            return report;
        }
        assert!(Instant::now() < deadline, "{report:?}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn a_latency_counts_from_when_the_message_was_due() {
    let is_held = Arc::new(AtomicBool::new(true));
    let held = is_held.clone();
    let (address, _) = serve(move |_, mut stream| {
        answer_first(&mut stream)?;
        while held.load(SeqCst) {
            thread::park_timeout(Duration::from_millis(1));
        }
        echo(stream)
    });
    let paced = flows(1, 64, Some(Duration::from_millis(2)));
    let load = Load::start(&[address], &light(paced), None).expect("a connection");
    load.begin();
    // Nothing has come back, but what is due waits: half of it for longer than this.
    let begun = Instant::now();
    let report = until(&load, |report| report.p50 > Duration::from_secs(1));
    assert_eq!(report.requests_per_second, 0.0);
    is_held.store(false, SeqCst);
    // One message was sent while the server was held. Those that could not be sent, a thousand, waited, too.
    let report = until(&load, |report| {
        report.requests_per_second * begun.elapsed().as_secs_f64() > 800.0
    });
    assert!(report.p50 > Duration::from_millis(100), "{report:?}");
    assert_eq!(report.lost, 0);
}

#[test]
fn messages_of_every_size_come_back_in_both_loops() {
    let (address, _) = serve(|_, stream| echo(stream));
    for bytes in [1, 7, 64, 1 << 20] {
        for interval in [None, Some(Duration::from_millis(20))] {
            let workload = Workload {
                heavy: flows(1, bytes, interval),
                threads: 2,
                ..light(flows(3, bytes, interval))
            };
            let load = Load::start(&[address], &workload, None).expect("connections");
            load.begin();
            let report = until(&load, |report| {
                report.requests_per_second > 0.0 && report.heavy_bytes_per_second > 0.0
            });
            assert_eq!(report.lost, 0, "{bytes} bytes, {interval:?}: {report:?}");
        }
    }
}

#[test]
fn a_flow_that_breaks_is_counted_and_the_others_go_on() {
    let (address, _) = serve(|number, mut stream| match number {
        1 => answer_first(&mut stream),
        _ => echo(stream),
    });
    for interval in [None, Some(Duration::from_millis(5))] {
        let (address, _) = match interval {
            None => (address, Arc::default()),
            Some(_) => serve(|number, mut stream| match number {
                1 => answer_first(&mut stream),
                _ => echo(stream),
            }),
        };
        let load = Load::start(&[address], &light(flows(3, 64, interval)), None).expect("flows");
        until(&load, |report| report.lost == 1);
        load.begin();
        let report = until(&load, |report| report.requests_per_second > 0.0);
        assert_eq!(report.lost, 1, "what is lost stays lost");
    }
}

#[test]
fn a_flow_goes_on_in_new_connections() {
    for interval in [None, Some(Duration::from_millis(1))] {
        let (address, accepted) = serve(|_, stream| echo(stream));
        let renewed = Flows {
            messages: Some(3),
            ..flows(2, 64, interval)
        };
        let load = Load::start(&[address], &light(renewed), None).expect("flows");
        let report = until(&load, |_| accepted.load(SeqCst) > 20);
        assert_eq!(report.lost, 0, "{interval:?}");
    }
}

#[test]
fn heavy_flows_begin_on_the_first_core() {
    let (first, others) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (begun, bulk) = (first.clone(), others.clone());
    // Every fourth connection is the first core's. Those of the others count the long messages that they get.
    let (address, _) = serve(move |number, mut stream| {
        if number % 4 == 3 {
            begun.fetch_add(1, SeqCst);
            return echo(stream);
        }
        answer_first(&mut stream)?;
        let mut bytes = vec![0; 64 * 1024];
        loop {
            match stream.read(&mut bytes)? {
                0 => return Ok(()),
                count => {
                    bulk.fetch_add(u64::from(count > 1024), SeqCst);
                    stream.write_all(&bytes[..count])?;
                }
            }
        }
    });
    let workload = Workload {
        heavy: flows(2, 64 * 1024, None),
        heavy_on_one_core: true,
        ..light(flows(4, 64, Some(Duration::from_millis(10))))
    };
    let core = FirstCore {
        workers: 4,
        begun: &|| first.load(SeqCst),
    };
    let load = Load::start(&[address], &workload, Some(core)).expect("flows");
    load.begin();
    until(&load, |report| report.heavy_bytes_per_second > 0.0);
    assert_eq!((first.load(SeqCst), others.load(SeqCst)), (2, 0));
}
