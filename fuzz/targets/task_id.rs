//! Task ids, as text and as bytes; names of namespaces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use z4_core::{Namespace, TaskId};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(id) = text.parse::<TaskId>() {
            assert_eq!(id.to_string(), text.to_ascii_lowercase());
        }
        if let Ok(name) = Namespace::new(text) {
            assert_eq!(name.as_str(), text);
        }
    }
    let ids: Vec<TaskId> = bytes
        .chunks_exact(16)
        .filter_map(|chunk| Some(TaskId::from_bytes(chunk.try_into().ok()?)))
        .collect();
    for id in &ids {
        assert_eq!(id.to_string().parse::<TaskId>().as_ref(), Ok(id));
    }
    for pair in ids.windows(2) {
        let text = (pair[0].to_string(), pair[1].to_string());
        assert_eq!(pair[0].cmp(&pair[1]), text.0.cmp(&text.1));
    }
});
