//! The cluster: info, status, health, members, leadership, verification.

use std::io::Write;

use futures::executor::block_on;

use super::connect;
use crate::error::Error;
use crate::options::{AddPeer, Cluster, Output, RemovePeer, SetAddress, Target, TransferLeader};
use crate::show;

pub(super) fn info(target: &Target, out: &mut impl Write) -> Result<(), Error> {
    let info = block_on(connect(target)?.cluster_info())?;
    Ok(writeln!(out, "{}", show::info(&info))?)
}

pub(super) fn status(status: &Cluster, out: &mut impl Write) -> Result<(), Error> {
    let info = block_on(connect(&status.target)?.cluster_info())?;
    match status.output {
        Output::Text => write!(out, "{}", show::status_text(&info))?,
        Output::Json => writeln!(out, "{}", show::status_json(&info))?,
    }
    Ok(())
}

pub(super) fn health(target: &Target, out: &mut impl Write) -> Result<(), Error> {
    block_on(connect(target)?.health())?;
    Ok(writeln!(out, "healthy")?)
}

pub(super) fn add_peer(add: &AddPeer, out: &mut impl Write) -> Result<(), Error> {
    block_on(connect(&add.target)?.add_member(&add.id, &add.peer))?;
    Ok(writeln!(out, "peer added")?)
}

pub(super) fn remove_peer(remove: &RemovePeer, out: &mut impl Write) -> Result<(), Error> {
    block_on(connect(&remove.target)?.remove_member(&remove.id))?;
    Ok(writeln!(out, "peer removed")?)
}

pub(super) fn set_address(set: &SetAddress, out: &mut impl Write) -> Result<(), Error> {
    let client = connect(&set.target)?;
    let replicated = block_on(client.set_member_address(&set.id, &set.address))?;
    let said = match replicated {
        true => "address set".to_owned(),
        false => format!(
            "no leader is known yet; this peer dials {} at {} from now on",
            set.id, set.address
        ),
    };
    Ok(writeln!(out, "{said}")?)
}

pub(super) fn transfer_leader(
    transfer: &TransferLeader,
    out: &mut impl Write,
) -> Result<(), Error> {
    let client = connect(&transfer.target)?;
    block_on(client.transfer_leadership(transfer.id.as_deref()))?;
    Ok(writeln!(out, "leadership transferred")?)
}

pub(super) fn verify(verify: &Cluster, out: &mut impl Write) -> Result<(), Error> {
    let verification = block_on(connect(&verify.target)?.verify())?;
    match verify.output {
        Output::Text => write!(out, "{}", show::verification_text(&verification))?,
        Output::Json => writeln!(out, "{}", show::verification_json(&verification))?,
    }
    match verification.ok {
        true => Ok(()),
        false => Err(Error::Answered(
            "the members do not hold one sound state; keep their data, and see the output"
                .to_owned(),
        )),
    }
}
