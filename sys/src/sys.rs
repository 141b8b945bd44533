//! The unsafe calls.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustix::net::{AddressFamily, sockopt};

/// Bytes that were sent on a TCP socket and that its peer has not acknowledged (`SIOCOUTQ`, tcp(7)): a reset would
/// lose them.
///
/// Zero for a unix socket: what was sent there lies with the peer, and a close leaves it there.
///
/// # Errors
/// What `getsockopt(2)` or `ioctl(2)` returns.
pub fn unacknowledged(socket: impl AsFd) -> io::Result<usize> {
    let socket = socket.as_fd();
    if sockopt::socket_domain(socket)? == AddressFamily::UNIX {
        return Ok(0);
    }
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and SIOCOUTQ, which is TIOCOUTQ, writes one
    // int, which is what `bytes` is.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// CPU time, user and system, of a thread of this process, in nanoseconds' precision. None once it is gone.
///
/// The id is the one that `pthread_getcpuclockid(3)` computes, which asks for a `pthread_t`; a thread of a
/// runtime is known by its thread id only.
pub fn thread_cpu_time(tid: i32) -> Option<Duration> {
    /// `CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED` of the kernel's `posix-timers.h`.
    const PER_THREAD_SCHEDULER_CLOCK: libc::clockid_t = 4 | 2;
    let clock = (!tid << 3) | PER_THREAD_SCHEDULER_CLOCK;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the answer. A clock id that names no thread of this process is an error
    // (EINVAL) and nothing worse.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    let seconds = u64::try_from(time.tv_sec).ok()?;
    Some(Duration::new(seconds, u32::try_from(time.tv_nsec).ok()?))
}

/// Has freed memory of `bytes` and more go back to the system at once, in this whole process (`M_MMAP_THRESHOLD`, mallopt(3)).
///
/// glibc keeps what is freed below the last piece that is in use, and raises its own threshold to the largest piece that was
/// freed: after a burst of large pieces all their memory stays the process's. Returns whether it was set; other C libraries have
/// no such call.
pub fn return_memory_from(bytes: usize) -> bool {
    #[cfg(target_env = "gnu")]
    {
        let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        // SAFETY: it takes two numbers, and locks what it changes.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, bytes) == 1 }
    }
    #[cfg(not(target_env = "gnu"))]
    {
        let _ = bytes;
        false
    }
}

/// The most groups that a process can be in (`NGROUPS_MAX` of the kernel's `limits.h`).
const GROUPS_MAX: usize = 65_536;

/// The supplementary groups of who is at the other end of a unix socket, as they were when that end connected
/// (`SO_PEERGROUPS`, unix(7); Linux 4.13).
///
/// # Errors
/// What `getsockopt(2)` returns.
pub fn peer_groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = Vec::new();
    loop {
        let mut length = size_of_val(&groups[..]) as libc::socklen_t;
        // SAFETY: `groups` has room for the `length` bytes that the kernel may write.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = length as usize / size_of::<libc::gid_t>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // It says how much room it needs.
        if error.raw_os_error() != Some(libc::ERANGE)
            || !(groups.len()..=GROUPS_MAX).contains(&count)
        {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// Connections that wait to be accepted from a listening TCP socket. None for another socket.
pub fn accept_queue(socket: BorrowedFd<'_>) -> Option<u32> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` has room for the `length` bytes that the kernel may write.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return None;
    }
    // SAFETY: every pattern of bits is a `tcp_info`, and what the kernel did not write is zero.
    let info = unsafe { info.assume_init() };
    // For a listening socket the kernel reports its accept queue in these two (tcp_get_info in net/ipv4/tcp.c).
    (info.tcpi_state == TCP_LISTEN).then_some(info.tcpi_unacked)
}

/// Connection attempts that the kernel dropped at a listening socket since it was made; it wraps at 2^32. None for what
/// is no socket.
pub fn listen_drops(socket: BorrowedFd<'_>) -> Option<u32> {
    /// `SO_MEMINFO` of the kernel's `asm-generic/socket.h`, since Linux 4.12.
    const SO_MEMINFO: libc::c_int = 55;
    /// `SK_MEMINFO_DROPS` of the kernel's `sock_diag.h`.
    const DROPS: usize = 8;
    let mut info = [0_u32; DROPS + 1];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: `info` has room for the `length` bytes that the kernel may write, and every pattern of bits is a `u32`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(info[DROPS])
}

/// Has a TCP socket take bytes along with SYNs, of so many clients until they are accepted (`TCP_FASTOPEN`, tcp(7)).
///
/// # Errors
/// What `setsockopt(2)` returns.
pub fn set_fast_open(socket: impl AsFd, queue: u16) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, queue.into())
}

/// Has a listening TCP socket wait for a client's first bytes before it can be accepted, for about so many seconds
/// (`TCP_DEFER_ACCEPT`, tcp(7)).
///
/// # Errors
/// What `setsockopt(2)` returns.
pub fn set_defer_accept(socket: impl AsFd, seconds: u16) -> io::Result<()> {
    set_option(
        socket,
        libc::IPPROTO_TCP,
        libc::TCP_DEFER_ACCEPT,
        seconds.into(),
    )
}

/// Has the kernel choose the port at the connect, and not when an address is bound (`IP_BIND_ADDRESS_NO_PORT`, ip(7)); of
/// IPv6 sockets, too.
///
/// # Errors
/// What `setsockopt(2)` returns.
pub fn set_bind_address_no_port(socket: impl AsFd) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

/// Has the kernel fit the sizes of a socket's buffers to the connection again (`SO_BUF_LOCK`, Linux 5.15), which it doesn't
/// once they were set.
///
/// # Errors
/// What `setsockopt(2)` returns.
pub fn unlock_buffers(socket: impl AsFd) -> io::Result<()> {
    /// Of the kernel's `asm-generic/socket.h`.
    const SO_BUF_LOCK: libc::c_int = 72;
    set_option(socket, libc::SOL_SOCKET, SO_BUF_LOCK, 0)
}

/// Sets an option whose value is an int.
fn set_option(
    socket: impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as `socket` is borrowed, and the kernel reads one int, which is what
    // `value` is.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Has a write beyond the limit of the size of files fail (EFBIG), instead of ending the process.
pub fn ignore_file_size_signal() {
    // SAFETY: to ignore a signal installs no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Has every connection of this process be reset when it is closed, also by the end of the process: no peer may take
/// what is cut for an orderly end.
///
/// # Errors
/// When `/proc` can't be read.
pub fn reset_connections_on_close() -> io::Result<()> {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(descriptor) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // SAFETY: `linger` outlives the call, which changes nothing but how a socket is closed. What is no socket, or was
        // closed meanwhile, is an error, which says nothing of the others.
        unsafe {
            libc::setsockopt(
                descriptor,
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of_val(&linger) as libc::socklen_t,
            );
        }
    }
    Ok(())
}

/// A socket of whole messages (SOCK_SEQPACKET) that another process has left open for this one under this number. It is closed
/// where another program is run. Each number is to be asked for once.
///
/// # Errors
/// When no such socket is open under this number.
pub fn inherited_descriptor(number: i32) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: F_GETFD takes no pointer; a number that is no descriptor is an error.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and stays so meanwhile.
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    if sockopt::socket_type(socket)? != rustix::net::SocketType::SEQPACKET {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: it was left for who calls this, and nobody else in this process knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether this process was started without stdout, and without stderr (`>&-`).
///
/// Rust's runtime opens `/dev/null` in their places before `main`, and what is written there looks as if it was read.
pub fn streams_missing_at_start() -> [bool; 2] {
    // The reference keeps the linker from leaving it out.
    std::hint::black_box(&LOOK_AT_STREAMS);
    MISSING.each_ref().map(|missing| missing.load(Relaxed))
}

static MISSING: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

// SAFETY: functions of this section are called once, by the C runtime, with arguments that this one ignores, before Rust's
// runtime begins: it makes system calls and stores to atomics, and needs neither the allocator nor a thread.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STREAMS: extern "C" fn() = look_at_streams;

extern "C" fn look_at_streams() {
    for (missing, stream) in MISSING
        .iter()
        .zip([libc::STDOUT_FILENO, libc::STDERR_FILENO])
    {
        // SAFETY: it only asks. A descriptor that isn't open is an error (EBADF).
        let flags = unsafe { libc::fcntl(stream, libc::F_GETFD) };
        missing.store(flags == -1, Relaxed);
    }
}

/// The first descriptor that a service manager passes on (`SD_LISTEN_FDS_START` of its `sd-daemon.h`).
const INHERITED_FIRST: RawFd = 3;

/// The most descriptors that are taken from a service manager.
const INHERITED_MAX: usize = 4096;

/// The descriptors that a service manager has passed to this process, with their names: `LISTEN_FDS` and `LISTEN_FDNAMES`, if
/// `LISTEN_PID` is this process (sd_listen_fds(3)). They are given away once: the second call returns none.
pub fn inherited_descriptors() -> Vec<(String, OwnedFd)> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| std::env::var(name).ok()?.parse().ok();
    let is_ours = number("LISTEN_PID") == Some(std::process::id() as usize);
    let count = number("LISTEN_FDS").unwrap_or(0).min(INHERITED_MAX);
    if !is_ours || TAKEN.swap(true, Relaxed) {
        return Vec::new();
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let descriptors = INHERITED_FIRST..INHERITED_FIRST + count as RawFd;
    let take = |descriptor| {
        let name = names.next().unwrap_or_default().to_owned();
        if !was_inherited(descriptor) {
            return None;
        }
        // SAFETY: it only sets a flag. A descriptor that isn't open is an error (EBADF).
        let set = unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        // SAFETY: it is open, and was so before this process began. Nobody else owns it, as it is taken once.
        (set != -1).then(|| (name, unsafe { OwnedFd::from_raw_fd(descriptor) }))
    };
    descriptors.filter_map(take).collect()
}

/// Whether a descriptor was open before this process began. Where a number of descriptors was passed that is too great, those that this
/// process has opened itself follow: all of them are closed where another program is run, and one that was inherited can't be.
fn was_inherited(descriptor: RawFd) -> bool {
    // SAFETY: F_GETFD takes no pointer; a number that is no descriptor is an error.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    flags != -1 && flags & libc::FD_CLOEXEC == 0
}

/// `TCP_LISTEN` of the kernel's `tcp_states.h`.
const TCP_LISTEN: u8 = 10;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use rustix::thread::gettid;
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    #[test]
    fn bytes_that_the_peer_has_no_room_for_are_unacknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("an address");
        let mut sender = TcpStream::connect(address).expect("a connection");
        let (mut receiver, _) = listener.accept().expect("a connection");
        sender.set_nonblocking(true).expect("an option");
        let chunk = [1; 64 * 1024];
        let mut sent = 0;
        while let Ok(count) = sender.write(&chunk) {
            sent += count;
        }
        let waiting = unacknowledged(&sender).expect("a count");
        assert!(waiting > 0 && waiting <= sent, "{waiting} of {sent}");
        receiver.read_exact(&mut vec![0; sent]).expect("all bytes");
        while unacknowledged(&sender).expect("a count") > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn a_unix_socket_has_none() {
        let (mut sender, _receiver) = UnixStream::pair().expect("a pair");
        sender.write_all(b"hello").expect("room");
        assert_eq!(unacknowledged(&sender).expect("a count"), 0);
    }

    #[test]
    fn a_thread_s_clock_is_the_one_that_it_reads_itself() {
        let own = || {
            let time = clock_gettime(ClockId::ThreadCPUTime);
            Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
        };
        let tid = gettid().as_raw_nonzero().get();
        let before = own();
        let read = thread_cpu_time(tid).expect("the thread runs");
        assert!(before <= read && read <= own());
    }

    #[test]
    fn a_thread_that_is_gone_has_no_clock() {
        let thread = thread::spawn(|| gettid().as_raw_nonzero().get());
        let tid = thread.join().expect("it does not panic");
        // The kernel lets go of it a moment after join returns.
        let gone = (0..1000).any(|_| {
            thread::yield_now();
            thread_cpu_time(tid).is_none()
        });
        assert!(gone);
        assert_eq!(thread_cpu_time(i32::MAX >> 4), None);
    }

    #[test]
    fn what_this_process_has_opened_was_not_inherited() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = socket.as_raw_fd();
        assert!(!was_inherited(number));
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty()).unwrap();
        assert!(was_inherited(number));
        assert!(!was_inherited(RawFd::MAX));
    }
}
