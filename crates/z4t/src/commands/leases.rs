//! Leases by hand: lease, ack, nack, extend, release.

use std::io::Write;

use futures::executor::block_on;
use z4_client::{Delivery, LeaseQuery, LeaseRef, LeaseResult, Nack};

use super::connect;
use crate::error::Error;
use crate::options::{Extend, Lease, Leases, NackLeases, Output};
use crate::show;

pub(super) fn lease(lease: &Lease, out: &mut impl Write) -> Result<(), Error> {
    if lease.resume && lease.consumer_id.is_empty() {
        let why = "--resume needs the --consumer-id of the command whose answer was lost";
        return Err(Error::Usage(why.to_owned()));
    }
    let query = LeaseQuery {
        namespace: lease.namespace.clone(),
        consumer_id: lease.consumer_id.clone(),
        max_tasks: lease.max,
        max_bytes: 0,
        lease: lease.lease,
        wait: lease.wait,
        resume: lease.resume,
    };
    let deliveries = block_on(connect(&lease.target)?.lease(&query))?;
    if deliveries.is_empty() {
        return Ok(());
    }
    print_deliveries(lease.output, &deliveries, out).map_err(|error| {
        // Whoever asked holds them all the same, and needs their names.
        let names: Vec<_> = deliveries.iter().map(|d| show::name(&d.lease())).collect();
        let names = names.join(" ");
        Error::Input(format!(
            "cannot write the answer: {error}; leased all the same, to be acked or released: {names}"
        ))
    })
}

fn print_deliveries(
    output: Output,
    deliveries: &[Delivery],
    out: &mut impl Write,
) -> std::io::Result<()> {
    match output {
        Output::Text => write!(out, "{}", show::DeliveryTable(deliveries))?,
        Output::Json => {
            for delivery in deliveries {
                writeln!(out, "{}", show::delivery_json(delivery))?;
            }
        }
    }
    out.flush()
}

pub(super) fn ack(which: &Leases, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&which.target)?;
    let results = block_on(client.ack(&which.namespace, &leases(which)))?;
    print(which, &results, out)
}

pub(super) fn nack(nack: &NackLeases, out: &mut impl Write) -> Result<(), Error> {
    let which = &nack.which;
    let client = connect(&which.target)?;
    let nacks: Vec<_> = leases(which)
        .into_iter()
        .map(|lease| Nack {
            lease,
            delay: nack.delay,
            error: nack.error.clone(),
            permanent: nack.permanent,
        })
        .collect();
    let results = block_on(client.nack(&which.namespace, &nacks))?;
    print(which, &results, out)
}

pub(super) fn extend(extend: &Extend, out: &mut impl Write) -> Result<(), Error> {
    let which = &extend.which;
    let client = connect(&which.target)?;
    let results = block_on(client.extend(&which.namespace, &leases(which), extend.lease))?;
    print(which, &results, out)
}

pub(super) fn release(which: &Leases, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&which.target)?;
    let results = block_on(client.release(&which.namespace, &leases(which)))?;
    print(which, &results, out)
}

fn leases(which: &Leases) -> Vec<LeaseRef> {
    which.leases.iter().map(|name| name.0.clone()).collect()
}

/// A line for each; exit code 1 when one was not done.
fn print(which: &Leases, results: &[LeaseResult], out: &mut impl Write) -> Result<(), Error> {
    for result in results {
        match which.output {
            Output::Text => writeln!(out, "{}", show::result_line(result))?,
            Output::Json => writeln!(out, "{}", show::result_json(result))?,
        }
    }
    let refused = results.iter().filter(|r| !r.outcome.is_done()).count();
    match refused {
        0 => Ok(()),
        refused => Err(Error::Answered(format!(
            "{refused} of {} leases: not done, the output says why",
            results.len()
        ))),
    }
}
