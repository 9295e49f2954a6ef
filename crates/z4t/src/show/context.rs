//! Contexts.

use serde_json::{json, Value};

use super::table::table;
use crate::contexts::{Context, Contexts};

/// A context for programs.
pub(crate) fn context_json(name: &str, context: &Context, is_current: bool) -> Value {
    let mut value = json!({"name": name, "current": is_current});
    if let (Value::Object(all), Value::Object(fields)) = (&mut value, context.json()) {
        all.extend(fields);
    }
    value
}

/// Contexts, a line each; the current one has a star.
pub(crate) fn context_table(contexts: &Contexts) -> String {
    let path = |path: &Option<std::path::PathBuf>| {
        let shown = path.as_ref().map(|path| path.display().to_string());
        shown.unwrap_or_default()
    };
    let rows = contexts.all.iter().map(|(name, context)| {
        let is_current = contexts.current.as_ref() == Some(name);
        [
            if is_current { "*" } else { "" }.to_owned(),
            name.clone(),
            context.targets.join(","),
            path(&context.ca),
            path(&context.token_file),
        ]
    });
    table(["", "NAME", "TARGETS", "CA", "TOKEN FILE"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_one_has_a_star() {
        let mut contexts = Contexts::default();
        let prod = Context {
            targets: vec!["a:1".into(), "b:1".into()],
            ca: Some("/ca".into()),
            ..Context::default()
        };
        contexts.all.insert("prod".into(), prod.clone());
        contexts.all.insert("dev".into(), Context::default());
        contexts.current = Some("prod".into());
        let golden = "   NAME  TARGETS  CA   TOKEN FILE\n   dev\n*  prod  a:1,b:1  /ca\n";
        assert_eq!(context_table(&contexts), golden);
        let value = context_json("prod", &prod, true);
        assert_eq!(
            value.to_string(),
            r#"{"name":"prod","current":true,"targets":["a:1","b:1"],"ca":"/ca"}"#
        );
    }
}
