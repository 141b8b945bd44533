//! Values as Envoy writes them: durations, addresses, networks, and which extension something is.

use std::net::IpAddr;
use std::time::Duration;

use super::super::tree::View;

/// A duration such as `5s` or `0.25s`.
pub(super) fn duration(view: &View<'_>) -> Option<Duration> {
    let seconds = view.text()?.strip_suffix('s')?;
    let (whole, part) = seconds.split_once('.').unwrap_or((seconds, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 9 {
        return None;
    }
    let nanos: u32 = format!("{part:0<9}").parse().ok()?;
    Some(Duration::new(whole.parse().ok()?, nanos))
}

/// A number, which may be written as a text.
pub(super) fn number(view: &View<'_>) -> Option<u64> {
    view.text()?.parse().ok()
}

/// A number that may stand in a table as `value`, and of which the part behind the point doesn't count.
pub(super) fn percent(view: &View<'_>) -> Option<u64> {
    let text = view.text().or_else(|| view.text_of("value"))?;
    text.split('.').next()?.parse().ok()
}

/// An address, as servers and `bind` have it, or why it is none.
pub(super) fn address(view: &View<'_>) -> Result<String, String> {
    if let Some(path) = view.at(&["pipe", "path"]).and_then(|path| path.text()) {
        return match path.strip_prefix('@') {
            Some(_) => Err("sockets without a file are not known here".to_owned()),
            None => Ok(format!("unix:{path}")),
        };
    }
    let Some(socket) = view.view("socket_address") else {
        return Err("this is no address of TCP, and no socket".to_owned());
    };
    if socket
        .text_of("protocol")
        .is_some_and(|protocol| protocol.eq_ignore_ascii_case("udp"))
    {
        return Err("corelane forwards TCP only; keep Envoy for UDP".to_owned());
    }
    let host = socket.text_of("address").unwrap_or_default();
    let Some(port) = socket.view("port_value").and_then(|port| number(&port)) else {
        return Err("its port is not a number (`port_value`)".to_owned());
    };
    let is_v6 = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
    Ok(match (host, is_v6) {
        ("::", _) if socket.is_true("ipv4_compat") => format!("*:{port}"),
        (host, true) => format!("[{host}]:{port}"),
        (host, false) => format!("{host}:{port}"),
    })
}

/// A network of `address_prefix` and `prefix_len`.
pub(super) fn network(view: &View<'_>) -> Option<ipnet::IpNet> {
    let ip: IpAddr = view.text_of("address_prefix")?.parse().ok()?;
    let length = view.view("prefix_len");
    // Without a length it is 0, which is everybody, by the rules of protobuf.
    let length = match length {
        Some(length) => u8::try_from(percent(&length)?).ok()?,
        None => 0,
    };
    Some(ipnet::IpNet::new(ip, length).ok()?.trunc())
}

/// What an extension is: the end of its type, such as `TcpProxy`, and its configuration.
pub(super) fn extension<'n>(view: &View<'n>) -> (String, View<'n>) {
    let config = view.view("typed_config").unwrap_or_else(|| view.clone());
    let kind = config
        .text_of("@type")
        .and_then(|kind| kind.rsplit('.').next());
    let name = view
        .text_of("name")
        .and_then(|name| name.rsplit('.').next());
    let kind = kind.or(name).unwrap_or_default().to_owned();
    (kind, config)
}
