//! Times and spans as people write them, for z4t: read, shown, read again.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/z4t/src/moment.rs"]
#[allow(dead_code)]
mod moment;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(moment::Moment::Exact(time)) = moment::parse(text) {
        let shown = moment::show(time);
        // A year that no calendar writes is shown as seconds.
        if shown.ends_with('Z') {
            let read = moment::parse(&shown);
            assert_eq!(read, Ok(moment::Moment::Exact(time)), "{shown}");
        }
    }
    let _ = moment::whole_seconds(text);
    if let Ok(Some(span)) = moment::span_or_forever(text) {
        let shown = moment::show_span(span);
        let read = moment::span(&shown);
        assert!(read.is_ok(), "{shown}: {read:?}");
    }
});
