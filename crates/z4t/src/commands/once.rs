//! JSON in which each key of an object stands once.
//!
//! [`serde_json::Value`] keeps the last of two: which of them was meant, nobody
//! knows.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A value, and the first key of it or within it that stands twice in one object.
pub(super) struct Once {
    pub(super) value: Value,
    pub(super) twice: Option<String>,
}

impl From<Value> for Once {
    fn from(value: Value) -> Self {
        Self { value, twice: None }
    }
}

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Value::Null.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Once, E> {
        Ok(Value::from(value).into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Once, E> {
        Ok(Value::from(value).into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Once, E> {
        Ok(Value::from(value).into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Once, E> {
        Ok(Value::from(value).into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Once, E> {
        Ok(Value::from(value).into())
    }

    fn visit_string<E>(self, value: String) -> Result<Once, E> {
        Ok(Value::from(value).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Once, A::Error> {
        let (mut values, mut twice) = (Vec::new(), None);
        while let Some(next) = seq.next_element::<Once>()? {
            values.push(next.value);
            twice = twice.or(next.twice);
        }
        let value = Value::Array(values);
        Ok(Once { value, twice })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once, A::Error> {
        let (mut object, mut twice) = (Map::new(), None);
        while let Some((key, next)) = map.next_entry::<String, Once>()? {
            twice = twice.or(next.twice);
            if object.contains_key(&key) {
                twice.get_or_insert_with(|| key.clone());
            }
            object.insert(key, next.value);
        }
        let value = Value::Object(object);
        Ok(Once { value, twice })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        let text = r#"{"b": [1, -2, 0.5, null, true, 1e300], "a": {"c": "\u00e9\n", "d": {}}}"#;
        let read: Once = serde_json::from_str(text).unwrap();
        let plain: Value = serde_json::from_str(text).unwrap();
        assert_eq!(read.value.to_string(), plain.to_string());
        assert_eq!(read.twice, None);
    }

    #[test]
    fn a_key_that_stands_twice_is_named_wherever_it_is() {
        for (text, twice) in [
            (r#"{"a": 1, "a": 1}"#, Some("a")),
            (r#"{"a": {"b": 1, "c": 2, "b": 3}}"#, Some("b")),
            (r#"[{"a": 1}, {"\u0061": 1, "a": 2}]"#, Some("a")),
            (r#"{"a": {"a": 1}, "b": {"a": 1}}"#, None),
        ] {
            let read: Once = serde_json::from_str(text).unwrap();
            assert_eq!(read.twice.as_deref(), twice, "{text}");
        }
    }
}
