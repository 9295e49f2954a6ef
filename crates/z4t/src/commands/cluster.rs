//! The cluster: info, status, health, members, leadership.

use std::io::Write;
use std::time::Duration;

use z4_proto::admin::{
    AddClusterMemberRequest, CheckHealthRequest, ClusterInfo, GetClusterInfoRequest,
    RemoveClusterMemberRequest, TransferLeadershipRequest,
};
use z4_proto::admin_grpc::AdminClient;

use crate::error::Error;
use crate::options::{AddPeer, Output, RemovePeer, Status, Target, TransferLeader};
use crate::show;
use crate::target::{Peers, Repeat};

/// A new peer has to catch up before it is a voter.
const CATCH_UP_TIME: Duration = Duration::from_secs(60);

fn cluster_info(target: &Target) -> Result<ClusterInfo, Error> {
    Peers::new(target).ask(Repeat::Safe, |channel, option| {
        AdminClient::new(channel).get_cluster_info_opt(&GetClusterInfoRequest::default(), option)
    })
}

pub(super) fn info(target: &Target, out: &mut impl Write) -> Result<(), Error> {
    Ok(writeln!(out, "{}", show::info(&cluster_info(target)?))?)
}

pub(super) fn status(status: &Status, out: &mut impl Write) -> Result<(), Error> {
    let info = cluster_info(&status.target)?;
    match status.output {
        Output::Text => write!(out, "{}", show::status_text(&info))?,
        Output::Json => writeln!(out, "{}", show::status_json(&info))?,
    }
    Ok(())
}

pub(super) fn health(target: &Target, out: &mut impl Write) -> Result<(), Error> {
    Peers::new(target).ask(Repeat::Safe, |channel, option| {
        AdminClient::new(channel).check_health_opt(&CheckHealthRequest::default(), option)
    })?;
    Ok(writeln!(out, "healthy")?)
}

pub(super) fn add_peer(add: &AddPeer, out: &mut impl Write) -> Result<(), Error> {
    let mut request = AddClusterMemberRequest::default();
    request.set_member_id(add.id.clone());
    request.set_member_address(add.peer.clone());
    Peers::patient(&add.target, CATCH_UP_TIME).ask(Repeat::Never, |channel, option| {
        AdminClient::new(channel).add_cluster_member_opt(&request, option)
    })?;
    Ok(writeln!(out, "peer added")?)
}

pub(super) fn remove_peer(remove: &RemovePeer, out: &mut impl Write) -> Result<(), Error> {
    let mut request = RemoveClusterMemberRequest::default();
    request.set_member_id(remove.id.clone());
    Peers::new(&remove.target).ask(Repeat::Never, |channel, option| {
        AdminClient::new(channel).remove_cluster_member_opt(&request, option)
    })?;
    Ok(writeln!(out, "peer removed")?)
}

pub(super) fn transfer_leader(
    transfer: &TransferLeader,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut request = TransferLeadershipRequest::default();
    request.set_member_id(transfer.id.clone().unwrap_or_default());
    Peers::new(&transfer.target).ask(Repeat::Never, |channel, option| {
        AdminClient::new(channel).transfer_leadership_opt(&request, option)
    })?;
    Ok(writeln!(out, "leadership transferred")?)
}
