//! The tasks that a row must have made, beside those that a peer counts.

use std::time::Duration;

use z4_e2e::client::option;
use z4_e2e::Client;
use z4_proto::generated::admin::{ListNamespacesRequest, TaskCounts};

/// How long one page of namespaces may take.
const PAGE_LIMIT: Duration = Duration::from_secs(20);
/// Namespaces of a page.
const PAGE_SIZE: u32 = 1_000;

/// Tasks that were acknowledged, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Made {
    /// Acknowledged creates.
    pub created: u64,
    /// Tasks that wait.
    pub waiting: u64,
    /// Tasks that were consumed.
    pub done: u64,
}

impl Made {
    /// Tasks that were created and wait.
    pub fn add_waiting(&mut self, count: u64) {
        self.created += count;
        self.waiting += count;
    }

    /// Tasks that were created and consumed.
    pub fn add_done(&mut self, count: u64) {
        self.created += count;
        self.done += count;
    }
}

/// Compares with the counts of all namespaces whose name begins so, as this peer has
/// them: none may be lost, and none be there that nobody made.
///
/// # Errors
/// When they differ, or the peer does not answer.
pub fn compare(client: &Client, prefix: &str, made: Made, namespaces: u64) -> Result<(), String> {
    let all = counts(client, prefix)?;
    let sum = |of: fn(&TaskCounts) -> u64| all.iter().map(of).sum::<u64>();
    let found = Made {
        created: sum(TaskCounts::get_created),
        waiting: sum(TaskCounts::get_pending),
        done: sum(TaskCounts::get_done),
    };
    let others = sum(TaskCounts::get_leased) + sum(TaskCounts::get_dead);
    match found == made && others == 0 && all.len() as u64 == namespaces {
        true => Ok(()),
        false => Err(format!(
            "{made:?} in {namespaces} namespaces were acknowledged, and {found:?} in {} are \
             there, with {others} leased or dead",
            all.len()
        )),
    }
}

fn counts(client: &Client, prefix: &str) -> Result<Vec<TaskCounts>, String> {
    let mut request = ListNamespacesRequest::new();
    request.set_page_size(PAGE_SIZE);
    let mut all = Vec::new();
    loop {
        let page = client
            .admin
            .list_namespaces_opt(&request, option(PAGE_LIMIT))
            .map_err(|e| e.to_string())?;
        let ours = page
            .get_namespaces()
            .iter()
            .filter(|namespace| namespace.get_name().starts_with(prefix));
        all.extend(ours.map(|namespace| namespace.get_counts().clone()));
        if page.get_next_page_token().is_empty() {
            return Ok(all);
        }
        request.set_page_token(page.get_next_page_token().to_owned());
    }
}
