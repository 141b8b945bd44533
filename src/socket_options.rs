//! Whether this machine and the rights of this process allow the options of sockets that are configured: tried on sockets
//! that are closed again, before anything is done that a client could notice.

use std::fs;

use proxy_config::Config;
use proxy_core::listen::BindAddress;
use proxy_core::{ListenOptions, OptionError};
use rustix::io::Errno;

use crate::assemble;

/// Tries the options of every listener and upstream.
///
/// # Errors
/// A line for each that can't be set: where it is written, why, and what to do.
pub(crate) fn try_out(config: &Config) -> Result<(), Refused> {
    let listeners = config.listeners.iter().filter_map(|listener| {
        let options = assemble::listen_options(listener);
        let addresses = listener.binds.iter().filter_map(assemble::bind_address);
        let refusal = of_listener(&options, addresses)?;
        Some(format!("[listeners.{}] {refusal}", listener.name))
    });
    let upstreams = config.upstreams.iter().filter_map(|upstream| {
        let options = assemble::connect_options(upstream);
        let refused = options.try_out().err()?;
        Some(format!("[upstreams.{}] {}", upstream.name, told(&refused)))
    });
    let refused: Vec<_> = listeners.chain(upstreams).collect();
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Refused(refused)),
    }
}

/// Options that can't be set here, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub(crate) struct Refused(Vec<String>);

fn of_listener(
    options: &ListenOptions,
    mut addresses: impl Iterator<Item = BindAddress>,
) -> Option<String> {
    if *options == ListenOptions::default() {
        return None;
    }
    if let Some(length) = options.fast_open
        && let Some(refusal) = fast_open_refusal(length)
    {
        return Some(refusal);
    }
    let refused = addresses.find_map(|address| options.try_out(&address).err());
    refused.map(|refused| told(&refused))
}

/// The kernel takes the option all the same, and does nothing.
fn fast_open_refusal(length: u16) -> Option<String> {
    const SERVER: u32 = 2;
    let setting = sysctl("net/ipv4/tcp_fastopen")?;
    let bits: u32 = setting.parse().ok()?;
    (bits & SERVER == 0).then(|| {
        format!(
            "fast_open = {length} does nothing while net.ipv4.tcp_fastopen is {bits}: set it to {}",
            bits | SERVER
        )
    })
}

fn told(OptionError { key, value, error }: &OptionError) -> String {
    let errno = Errno::from_io_error(error);
    let advice = advice(key, value, errno);
    format!("{key} = {value} can't be set: {error}; {advice}")
}

fn advice(key: &str, value: &str, errno: Option<Errno>) -> String {
    let capability = |name: &str| {
        format!("it needs {name} (systemd: AmbientCapabilities={name}), or remove the key")
    };
    let of_kernel = |name: &str| sysctl(name).unwrap_or_else(|| "unknown".to_owned());
    match (key, errno) {
        ("mark", Some(Errno::PERM)) => capability("CAP_NET_ADMIN"),
        ("transparent", Some(Errno::PERM)) => capability("CAP_NET_ADMIN"),
        ("source_address", Some(Errno::PERM)) => capability("CAP_NET_ADMIN"),
        ("source_address", Some(Errno::ADDRNOTAVAIL)) => {
            "no interface of this machine has that address (`ip address` lists them)".to_owned()
        }
        ("interface", Some(Errno::NODEV)) => {
            "there is no interface of that name here (`ip link` lists them)".to_owned()
        }
        ("interface", Some(Errno::PERM)) => capability("CAP_NET_RAW"),
        ("congestion", Some(Errno::NOENT)) => format!(
            "this kernel has {}: choose one of them, or load it (`modprobe tcp_{value}`)",
            of_kernel("net/ipv4/tcp_available_congestion_control")
        ),
        ("congestion", Some(Errno::PERM)) => format!(
            "without CAP_NET_ADMIN there are {}: add it to net.ipv4.tcp_allowed_congestion_control, or choose one of them",
            of_kernel("net/ipv4/tcp_allowed_congestion_control")
        ),
        ("receive_buffer", Some(Errno::PERM)) => buffer_advice("rmem_max"),
        ("send_buffer", Some(Errno::PERM)) => buffer_advice("wmem_max"),
        _ => format!("change or remove `{key}`"),
    }
}

fn buffer_advice(limit: &str) -> String {
    let most = sysctl(&format!("net/core/{limit}")).unwrap_or_else(|| "less".to_owned());
    format!(
        "net.core.{limit} is {most}: raise it, or give the process CAP_NET_ADMIN (systemd: \
         AmbientCapabilities=CAP_NET_ADMIN), or write less"
    )
}

/// A setting of the kernel; none where `/proc` isn't there to be read.
fn sysctl(name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(listener: &str, upstream: &str) -> String {
        let text = format!(
            "[listeners.web]\nbind = \"127.0.0.1:0\"\nupstream = \"u\"\n{listener}\n\
             [upstreams.u]\nservers = [\"127.0.0.1:1\"]\n{upstream}\n"
        );
        let parsed = proxy_config::parse(&text, "test").unwrap_or_else(|error| panic!("{error}"));
        let refused = try_out(&parsed.config);
        refused
            .err()
            .map(|refused| refused.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn what_every_kernel_has_is_allowed() {
        let both = "keepalive = { idle = \"10s\", interval = \"2s\", count = 3 }\nuser_timeout = \"5s\"\n\
            notsent_lowat = \"16KiB\"\nreceive_buffer = \"64KiB\"\nsend_buffer = \"64KiB\"\ndscp = \"af11\"";
        let listener = format!("{both}\ndefer_accept = \"3s\"");
        let upstream = format!("{both}\nsource_address = \"127.0.0.2\"");
        assert_eq!(refusal(&listener, &upstream), "");
    }

    #[test]
    fn each_refusal_says_where_and_what_to_do() {
        let told = refusal("congestion = \"nonsense\"", "interface = \"nowhere7\"");
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(lines.len(), 2, "{told}");
        assert!(lines[0].starts_with("[listeners.web] congestion = nonsense can't be set: "));
        assert!(lines[0].contains("choose one of them"), "{told}");
        assert!(lines[1].starts_with("[upstreams.u] interface = nowhere7 can't be set: "));
        assert!(lines[1].contains("ip link"), "{told}");
        let foreign = refusal("", "source_address = \"192.0.2.1\"");
        assert!(foreign.contains("ip address"), "{foreign}");
    }

    #[test]
    fn rights_are_called_by_their_names() {
        for (key, errno, words) in [
            ("mark", Errno::PERM, "AmbientCapabilities=CAP_NET_ADMIN"),
            ("transparent", Errno::PERM, "CAP_NET_ADMIN"),
            ("source_address", Errno::PERM, "CAP_NET_ADMIN"),
            ("interface", Errno::PERM, "CAP_NET_RAW"),
            ("congestion", Errno::PERM, "tcp_allowed_congestion_control"),
            ("receive_buffer", Errno::PERM, "net.core.rmem_max is"),
            ("send_buffer", Errno::PERM, "net.core.wmem_max is"),
            ("dscp", Errno::PERM, "change or remove `dscp`"),
        ] {
            let told = advice(key, "1", Some(errno));
            assert!(told.contains(words), "{key}: {told}");
        }
    }
}
