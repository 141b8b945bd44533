//! Figures as people read them.

/// 0 to 1 as a whole number of per cent.
pub(super) fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

/// In units of 1000, with three digits at most.
pub(super) fn bytes(mut count: f64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    while count >= 999.5 && unit < UNITS.len() - 1 {
        count /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && count < 99.5);
    format!("{count:.digits$} {}", UNITS[unit])
}

/// A rate of events.
pub(super) fn rate(per_second: f64) -> String {
    let digits = usize::from(per_second > 0.0 && per_second < 9.95);
    format!("{per_second:.digits$}")
}

/// A time in its two largest units.
pub(super) fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0 | 1, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// A time that is mostly much less than a second.
pub(super) fn brief(seconds: f64) -> String {
    let millis = seconds * 1000.0;
    match seconds {
        1.0.. => format!("{seconds:.1} s"),
        0.01.. => format!("{millis:.0} ms"),
        _ => format!("{millis:.1} ms"),
    }
}

/// `text` in `width` characters at most: of what is longer, begin and end.
pub(super) fn elide(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let begin: String = text.chars().take(kept / 2).collect();
    // An address ends with what differs: the port.
    let end: String = text.chars().skip(length - (kept - kept / 2)).collect();
    format!("{begin}…{end}")
}

/// `text` in lines of `width` characters at most, parted between words; a word that is longer is not parted.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// As [`wrap`], with `first` before the first line and as much room before the others.
pub(super) fn hang(first: &str, text: &str, width: usize) -> Vec<String> {
    let indent = first.chars().count();
    let mut lines = wrap(text, width.saturating_sub(indent));
    for (place, line) in lines.iter_mut().enumerate() {
        let begin = if place == 0 { first } else { "" };
        *line = format!("{begin:indent$}{line}");
    }
    lines
}

/// A sparkline of the last `width` values, each 0 to 1.
pub(super) fn sparkline(values: impl DoubleEndedIterator<Item = f64>, width: usize) -> String {
    const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let level = |value: f64| {
        let level = (value * 8.0).round().clamp(0.0, 8.0) as usize;
        // What is more than nothing shows.
        LEVELS[level.max(usize::from(value > 0.0))]
    };
    let mut newest_first: Vec<_> = values.rev().take(width).map(level).collect();
    newest_first.resize(width, ' ');
    newest_first.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        let sizes = [0.0, 999.0, 999.6, 1500.0, 99_960.0, 1e6, 2.5e9, 1e19].map(bytes);
        let wanted = [
            "0 B", "999 B", "1.0 kB", "1.5 kB", "100 kB", "1.0 MB", "2.5 GB", "10000 PB",
        ];
        assert_eq!(sizes, wanted);
        assert_eq!([0.0, 0.5, 12.3].map(rate), ["0", "0.5", "12"]);
        let spans = [0.4, 61.0, 7200.0, 100_000.0, 200_000.0].map(span);
        assert_eq!(
            spans,
            ["0 s", "1 min 1 s", "2 h 0 min", "27 h 46 min", "2 d 7 h"]
        );
        assert_eq!(percent(0.966), "97 %");
        let times = [0.000_25, 0.012, 2.0].map(brief);
        assert_eq!(times, ["0.2 ms", "12 ms", "2.0 s"]);
    }

    #[test]
    fn text_is_parted_between_words() {
        assert_eq!(wrap("λ is 0.8: use", 7), ["λ is", "0.8:", "use"]);
        assert_eq!(wrap("a longer one", 5), ["a", "longer", "one"]);
        assert_eq!(wrap("as is", 5), ["as is"]);
        assert_eq!(wrap("a b", 0), ["a", "b"]);
        assert_eq!(hang("λ ", "is 0.8: so", 8), ["λ is", "  0.8:", "  so"]);
    }

    #[test]
    fn long_text_keeps_begin_and_end() {
        assert_eq!(elide("[2001:db8::1]:80", 16), "[2001:db8::1]:80");
        assert_eq!(elide("[2001:db8::1]:80", 8), "[20…]:80");
        assert_eq!(["ab", "abc"].map(|text| elide(text, 1)), ["…", "…"]);
    }

    #[test]
    fn sparklines_end_with_the_newest() {
        let values = [1.0, 0.0, 0.01, 0.5];
        assert_eq!(sparkline(values.into_iter(), 3), " ▁▄");
        assert_eq!(sparkline(values.into_iter(), 6), "  █ ▁▄");
    }
}
