//! Principals: within their limits, and told apart by their names and tokens.

use std::collections::{BTreeMap, BTreeSet};

use super::{scan, Report};
use crate::access::{check_certificate_name, Grant, Principal, PrincipalName};
use crate::limits;
use crate::state::{MetaRow, Row, RowKey, StateError, View};

/// Visits every principal.
pub(super) fn visit(
    view: &(impl View + ?Sized),
    meta: &MetaRow,
    report: &mut Report,
) -> Result<(), StateError> {
    let mut all = Principals::default();
    scan(view, RowKey::principals(), |key, row| {
        report.rows += 1;
        match (key, row) {
            (RowKey::Principal(name), Row::Principal(row)) => {
                all.look_at(&name, *row, meta, report);
            }
            (key, _) => report.say(|| format!("{key:?} has a row of another kind")),
        }
        Ok(())
    })?;
    if all.count > limits::PRINCIPALS_MAX {
        let (count, max) = (all.count, limits::PRINCIPALS_MAX);
        report.say(|| format!("there are {count} principals, more than {max}"));
    }
    Ok(())
}

/// The principals that were seen so far, with the owner of each name and token.
#[derive(Default)]
struct Principals {
    count: usize,
    names: BTreeMap<String, PrincipalName>,
    tokens: BTreeMap<u64, PrincipalName>,
}

impl Principals {
    fn look_at(
        &mut self,
        name: &PrincipalName,
        principal: Principal,
        meta: &MetaRow,
        report: &mut Report,
    ) {
        self.count += 1;
        let Principal {
            grants,
            names,
            tokens,
        } = principal;
        for (what, count, max) in [
            ("grants", grants.len(), limits::GRANTS_MAX),
            ("names", names.len(), limits::NAMES_MAX),
            ("tokens", tokens.len(), limits::TOKENS_MAX),
        ] {
            if count > max {
                report.say(|| format!("principal {name} has {count} {what}, more than {max}"));
            }
        }
        let different: BTreeSet<&Grant> = grants.iter().collect();
        if different.len() < grants.len() {
            report.say(|| format!("principal {name} has a grant twice"));
        }
        let grants = grants.iter().map(Grant::check);
        let names_checked = names.iter().map(|name| check_certificate_name(name));
        for refusal in grants.chain(names_checked).filter_map(Result::err) {
            report.say(|| format!("principal {name}: {refusal}"));
        }
        for text in names {
            if let Some(other) = self.names.insert(text.clone(), name.clone()) {
                report.say(|| format!("principals {other} and {name} share the name {text}"));
            }
        }
        for token in tokens {
            if let Some(other) = self.tokens.insert(token.id, name.clone()) {
                let id = token.id;
                report.say(|| format!("principals {other} and {name} share the token {id}"));
            }
            // The end of time is the only end that may be the beginning too.
            let ends_too_soon =
                token.expires_at_ns < u64::MAX && token.is_expired(token.created_at_ns);
            if token.created_at_ns > meta.stamp_ns || ends_too_soon {
                report.say(|| format!("principal {name} has a token that cannot be: {token:?}"));
            }
        }
    }
}
