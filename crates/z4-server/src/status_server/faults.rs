//! Fail points while the process runs, in builds for tests only:
//! `PUT /failpoints/NAME?ACTION` sets one, `DELETE /failpoints/NAME` takes it out,
//! `GET /failpoints` lists them all.

use z4_consensus::fault;

use super::{Answer, Request};

/// The answer to a request for fail points; `None` for any other.
pub(super) fn answer(request: &Request) -> Option<Answer> {
    let rest = request.path.strip_prefix("/failpoints")?;
    let name = rest.trim_start_matches('/');
    let action = request.query.replace("%20", " ").replace("%3E", ">");
    let done = match (request.method.as_str(), name) {
        ("GET", "") => {
            let lines = fault::POINTS
                .iter()
                .map(|(name, what)| format!("{name}: {what}\n"));
            return Some(Answer::text(200, lines.collect::<String>()));
        }
        ("PUT", name) => fault::set(name, &action),
        ("DELETE", name) => fault::set(name, "off"),
        _ => Err("PUT, DELETE, or GET for the list".to_owned()),
    };
    Some(match done {
        Ok(()) => Answer::text(200, "done\n"),
        Err(why) => Answer::text(400, format!("{why}\n")),
    })
}
