//! Values of options, read from what people write.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::limits;

/// An IP address to listen on, with or without the brackets of IPv6.
pub(super) fn ip(text: &str) -> Result<IpAddr, String> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let read = match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        None => text.parse().ok(),
    };
    read.ok_or_else(|| {
        format!(
            "{text:?} is no IP address: give one of this machine, such as 10.0.0.7, ::1, or \
             0.0.0.0 for all; names are not resolved here"
        )
    })
}

/// A span of time within which a leader may be ahead.
pub(super) fn clock_offset(text: &str) -> Result<Duration, String> {
    let (least, most) = (limits::CLOCK_OFFSET_LEAST, limits::CLOCK_OFFSET_MOST);
    let span = humantime::parse_duration(text).ok();
    let span = span.filter(|span| (least..=most).contains(span));
    span.ok_or_else(|| {
        let (least, most) = (
            humantime::format_duration(least),
            humantime::format_duration(most),
        );
        format!("{text:?} is no span from {least} to {most}: give one such as 500ms or 2s")
    })
}

/// The words for yes and no that people put into environment variables.
pub(super) fn switch(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err("give true or false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_know_the_usual_words() {
        for word in ["true", "TRUE", "1", "yes", "on"] {
            assert_eq!(switch(word), Ok(true), "{word}");
        }
        for word in ["false", "0", "no", "off", ""] {
            assert_eq!(switch(word), Ok(false), "{word}");
        }
        assert!(switch("maybe").is_err());
    }
}
