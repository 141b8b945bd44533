//! Addresses of servers.

/// An address as the configuration has it. `port` is what one without a port has.
pub(super) fn address(text: &str, port: Option<&str>) -> Result<String, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(format!("unix:{}", path.trim_end_matches(':')));
    }
    let after_brackets = text.rsplit(']').next().unwrap_or(text);
    match (after_brackets.contains(':'), port) {
        (true, _) => Ok(text.to_owned()),
        (false, Some(port)) => Ok(format!("{text}:{port}")),
        (false, None) => Err(format!("`{text}` is no upstream, and has no port")),
    }
}
