//! Log lines on standard error, when `Z4_TEST_LOG` is set.

use std::fmt::Arguments;

use slog::{Drain, Logger, OwnedKVList, Record, Serializer, KV};

struct Lines;

struct Text(String);

impl Serializer for Text {
    fn emit_arguments(&mut self, key: slog::Key, value: &Arguments<'_>) -> slog::Result {
        self.0.push_str(&format!(" {key}={value}"));
        Ok(())
    }
}

impl Drain for Lines {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        let mut text = Text(String::new());
        let _ = record.kv().serialize(record, &mut text);
        let _ = values.serialize(record, &mut text);
        eprintln!("{} {}{}", record.level(), record.msg(), text.0);
        Ok(())
    }
}

pub fn logger(peer_id: &str) -> Logger {
    let peer = peer_id.to_owned();
    if std::env::var_os("Z4_TEST_LOG").is_some() {
        Logger::root(Lines, slog::o!("peer" => peer))
    } else {
        Logger::root(slog::Discard, slog::o!())
    }
}
