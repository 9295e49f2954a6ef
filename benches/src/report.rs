//! Figures by name, printed for people or for programs.

use serde_json::{Map, Value};
use structopt::clap::arg_enum;

arg_enum! {
    /// How figures are printed.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Form {
        Text,
        Json,
    }
}

/// Figures in the order in which they were added. Units are in the names.
#[derive(Debug, Default, Clone)]
pub struct Report(Map<String, Value>);

impl Report {
    /// Adds a figure.
    pub fn add(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a figure, rounded to two places.
    pub fn add_rounded(&mut self, name: &str, value: f64) -> &mut Self {
        self.add(name, (value * 100.0).round() / 100.0)
    }

    /// Adds the figures of another report, as a part with a name.
    pub fn add_part(&mut self, name: &str, part: Report) -> &mut Self {
        self.add(name, part.into_value())
    }

    /// The figures as JSON.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// Prints it to standard output.
    pub fn print(&self, form: Form) {
        match form {
            Form::Json => println!("{:#}", self.clone().into_value()),
            Form::Text => print_text(&self.0, 0),
        }
    }
}

fn print_text(figures: &Map<String, Value>, indent: usize) {
    let width = figures.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in figures {
        match value {
            Value::Object(part) => {
                println!("{:indent$}{name}", "");
                print_text(part, indent + 2);
            }
            Value::String(text) => println!("{:indent$}{name:width$}  {text}", ""),
            other => println!("{:indent$}{name:width$}  {other}", ""),
        }
    }
}
