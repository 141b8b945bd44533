//! `bind`: where a proxy listens.

/// An address as `bind` of a listener has it; or why there is none.
pub(super) fn address(text: &str) -> Result<String, &'static str> {
    if text.starts_with('/') {
        return Ok(format!("unix:{text}"));
    }
    let (host, ports) = text.rsplit_once(':').ok_or("it has no port")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(match host {
        "" | "*" => format!("0.0.0.0:{ports}"),
        host if host.contains(':') => format!("[{host}]:{ports}"),
        host => format!("{host}:{ports}"),
    })
}
