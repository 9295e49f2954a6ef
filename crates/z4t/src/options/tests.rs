#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ffi::OsString;

use super::*;
use crate::argv;

fn parse(words: &[&str]) -> Result<Command, String> {
    match argv::parse(words.iter().map(OsString::from)) {
        Ok(argv::Wish::Command(options)) => Ok(options.command),
        Ok(argv::Wish::Help(text)) => panic!("{text}"),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn the_lines_people_know() {
    let Ok(Command::Info(target)) = parse(&["z4t", "-t", "localhost:6355", "info"]) else {
        panic!("info");
    };
    assert_eq!(target.targets, ["localhost:6355"]);
    let line = [
        "z4t",
        "-t",
        "localhost:6355",
        "-p",
        "localhost:6456",
        "-id",
        "peer1",
        "add-peer",
    ];
    let Ok(Command::AddPeer(add)) = parse(&line) else {
        panic!("add-peer");
    };
    assert_eq!(
        (add.peer.as_str(), add.id.as_str()),
        ("localhost:6456", "peer1")
    );
    assert_eq!(add.target.targets, ["localhost:6355"]);
    // What nobody can dial is refused here, and the rest has its normal form.
    let line = [
        "z4t",
        "set-address",
        "peer1",
        "H:01",
        "-t",
        "localhost:6355",
    ];
    let Ok(Command::SetAddress(set)) = parse(&line) else {
        panic!("set-address");
    };
    assert_eq!((set.id.as_str(), set.address.as_str()), ("peer1", "h:1"));
    for bad in ["nowhere", "0.0.0.0:1"] {
        assert!(
            parse(&["z4t", "set-address", "peer1", bad]).is_err(),
            "{bad}"
        );
    }
    let line = ["z4t", "replace-peer", "a", "b", "H:01"];
    let Ok(Command::ReplacePeer(replace)) = parse(&line) else {
        panic!("replace-peer");
    };
    assert_eq!(
        (&*replace.old, &*replace.new, &*replace.address),
        ("a", "b", "h:1")
    );
    let line = ["z4t", "remove-peer", "-id", "peer1", "-t", "localhost:6355"];
    let Ok(Command::RemovePeer(remove)) = parse(&line) else {
        panic!("remove-peer");
    };
    assert_eq!(remove.id, "peer1");
}

#[test]
fn targets_add_up_on_both_sides_of_the_command() {
    let line = ["z4t", "-t", "a:1,b:2", "health", "-t", "c:3"];
    let Ok(Command::Health(target)) = parse(&line) else {
        panic!("health");
    };
    assert_eq!(target.targets, ["a:1", "b:2", "c:3"]);
    let Ok(Command::Health(target)) = parse(&["z4t", "health"]) else {
        panic!("default");
    };
    // The context may say it; else it is localhost:6355.
    assert!(target.targets.is_empty());
}

#[test]
fn a_task_with_all_its_flags() {
    let line = [
        "z4t",
        "create",
        "ns",
        "hello",
        "--in",
        "5m",
        "-m",
        "a=b",
        "-m",
        "c=d=e",
        "--request-id",
        "r",
        "-o",
        "json",
    ];
    let Ok(Command::Create(create)) = parse(&line) else {
        panic!("create");
    };
    assert_eq!(create.payload, Some("hello".into()));
    assert_eq!(create.delay, Some(Duration::from_secs(300)));
    let metadata = [("a", "b"), ("c", "d=e")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(create.metadata, metadata);
    assert_eq!(create.output, Output::Json);
}

#[test]
fn mistakes_are_named() {
    for (line, complaint) in [
        ("z4t remove-peer", "--id"),
        ("z4t -t localhost info", "host:port"),
        ("z4t -t http://a:1/ info", "host:port"),
        ("z4t -t ::1:6355 info", "host:port"),
        ("z4t create ns", "<payload>"),
        ("z4t create ns x --file y", "--file"),
        ("z4t create ns x --in 5m --at 2030-01-01T00:00:00Z", "--at"),
        ("z4t create ns x --in 500ms", "whole seconds"),
        ("z4t create ns x -m a", "KEY=VALUE"),
        ("z4t status -o yaml", "text or json"),
        ("z4t -id x info", "--id"),
        ("z4t frobnicate", "frobnicate"),
    ] {
        let error = parse(&line.split(' ').collect::<Vec<_>>()).expect_err(line);
        assert!(error.contains(complaint), "{line}: {error}");
        assert!(!error.contains('\n'), "{line}: {error}");
    }
}

fn words(line: &str) -> Result<Command, String> {
    parse(&line.split(' ').collect::<Vec<_>>())
}

#[test]
fn leases_are_named_by_id_and_token() {
    let Ok(Command::Ack(leases)) = words("z4t ack ns 0abc:7 0abd:8 -o json") else {
        panic!("ack");
    };
    let named: Vec<_> = leases
        .leases
        .iter()
        .map(|l| (&*l.0.task_id, l.0.token))
        .collect();
    assert_eq!(named, [("0abc", 7), ("0abd", 8)]);
    let line = "z4t nack ns 0abc:7 --delay 1h30m --error no-disk";
    let Ok(Command::Nack(nack)) = words(line) else {
        panic!("nack");
    };
    assert_eq!(nack.delay, Some(Duration::from_secs(5_400)));
    assert_eq!(nack.which.leases.len(), 1);
}

#[test]
fn consume_with_all_its_flags() {
    let line =
        "z4t consume ns --consumer-id w1 --max-in-flight 8 --lease 30s --count 5 --exec ./run";
    let Ok(Command::Consume(consume)) = words(line) else {
        panic!("consume");
    };
    assert_eq!(consume.consumer_id.as_deref(), Some("w1"));
    assert_eq!((consume.max_in_flight, consume.count), (8, Some(5)));
    assert_eq!(consume.lease, Some(Duration::from_secs(30)));
    assert_eq!(consume.exec.as_deref(), Some("./run"));
    assert_eq!(consume.output, None);
}

#[test]
fn families_take_flags_on_both_sides() {
    let line = "z4t -t a:1 ns set ns --lease 5s --dead-keep forever --rate-per-s 0 -o json";
    let Ok(Command::Ns(NamespaceCommand::Set(set))) = words(line) else {
        panic!("ns set");
    };
    assert_eq!(set.target.targets, ["a:1"]);
    assert_eq!(set.lease, Some(Duration::from_secs(5)));
    assert_eq!((set.dead_keep, set.rate_per_s), (Some(None), Some(0)));
    assert_eq!(set.max_attempts, None);
    let line = "z4t -t a:1 dead redrive ns --reason attempts --limit 5 --keep-attempts";
    let Ok(Command::Dead(Dead::Redrive(change))) = words(line) else {
        panic!("dead redrive");
    };
    assert_eq!(
        change.reason.map(|r| r.0),
        Some(z4_client::DeathReason::Attempts)
    );
    assert_eq!((change.limit, change.keep_attempts), (5, true));
}

#[test]
fn mistakes_in_the_newer_commands_are_named() {
    for (line, complaint) in [
        ("z4t ack ns", "ID:TOKEN"),
        ("z4t ack ns 0abc", "ID:TOKEN"),
        ("z4t nack ns a:1 --delay 1s --permanent", "--permanent"),
        ("z4t consume ns --max-in-flight 0", "1 to 10000"),
        ("z4t consume ns --lease never", "30s"),
        ("z4t reschedule ns x", "--in"),
        ("z4t list ns --state gone", "scheduled, leased or dead"),
        (
            "z4t dead purge ns --reason age",
            "attempts, ttl or permanent",
        ),
        ("z4t dead redrive ns id --reason ttl", "--reason"),
        ("z4t create ns x --batch -", "--batch"),
        ("z4t create ns x --atomic", "--batch"),
        ("z4t ns set ns --dead-keep never", "forever"),
        ("z4t ns", "give a command"),
    ] {
        let error = words(line).expect_err(line);
        assert!(error.contains(complaint), "{line}: {error}");
        assert!(!error.contains('\n'), "{line}: {error}");
    }
}

/// Errors of a peer name settings, and [`crate::flags`] makes flags of the names.
#[test]
fn every_setting_of_a_namespace_is_a_flag() {
    let mut help = Vec::new();
    namespaces::NamespaceSet::clap()
        .write_long_help(&mut help)
        .unwrap();
    let help = String::from_utf8(help).unwrap();
    for setting in z4_core::settings::SETTINGS {
        let flag = format!("--{} ", setting.name.replace('_', "-"));
        assert!(help.contains(&flag), "{flag}");
    }
}

#[test]
fn who_may_do_what_with_all_its_flags() {
    let line = "z4t -t a:1 --token-file f access put mailer --grant producer:mail.* --grant admin \
                --certificate-name spiffe://a/b --context prod -o json";
    let Ok(Command::Access(AccessCommand::Put(put))) = words(line) else {
        panic!("access put");
    };
    let grant = z4_client::Grant::new;
    let grants = [
        grant(z4_client::Role::Producer, "mail.*"),
        grant(z4_client::Role::Admin, "*"),
    ];
    assert_eq!((&*put.name, &put.grants[..]), ("mailer", &grants[..]));
    assert_eq!(put.certificate_names, ["spiffe://a/b"]);
    assert_eq!(put.target.context.as_deref(), Some("prod"));
    assert_eq!(put.target.secure.token_file, Some("f".into()));
    let line = "z4t access create-token mailer --expires-in 30d --out f";
    let Ok(Command::Access(AccessCommand::CreateToken(create))) = words(line) else {
        panic!("access create-token");
    };
    assert_eq!(create.expires_in, Some(Duration::from_secs(30 * 86_400)));
    let line = "z4t -t a:1,b:2 context set prod --token-file f";
    let Ok(Command::Context(ContextCommand::Set(set))) = words(line) else {
        panic!("context set");
    };
    assert_eq!(set.targets, ["a:1", "b:2"]);
    assert_eq!(set.secure.token_file, Some("f".into()));
}

#[test]
fn mistakes_about_access_are_named() {
    for (line, complaint) in [
        ("z4t access put a*b", "principal must be"),
        ("z4t access put a --grant boss", "one of the roles reader"),
        ("z4t access put a --grant admin:mail", "operator:mail"),
        ("z4t access put a --grant reader:", "scope must be"),
        (
            "z4t access put a --grant reader:a*b",
            "elsewhere than at its end",
        ),
        ("z4t access create-token a --expires-in 0s", "more than 0s"),
        ("z4t access create-token a --expires-in never", "30s"),
        ("z4t access revoke-token a", "<ID>"),
        ("z4t access new-root-token", "--out"),
        ("z4t access", "give a command"),
        ("z4t context", "give a command"),
        ("z4t context set a/b", "the name of a context"),
        ("z4t context use", "<name>"),
    ] {
        let error = words(line).expect_err(line);
        assert!(error.contains(complaint), "{line}: {error}");
        assert!(!error.contains('\n'), "{line}: {error}");
    }
}

/// A secret in a flag would stand in the list of processes.
#[test]
fn no_flag_takes_a_token_itself() {
    assert!(words("z4t health --token z4_1_x").is_err());
}

#[test]
fn a_backup_is_made_or_checked() {
    let line = ["z4t", "-t", "a:1", "backup", "file", "--rate", "20MiB"];
    let Ok(Command::Backup(backup)) = parse(&line) else {
        panic!("backup");
    };
    assert_eq!(backup.target.targets, ["a:1"]);
    assert_eq!(backup.file.as_deref(), Some("file".as_ref()));
    assert!(backup.rate == Some(20 << 20) && backup.command.is_none());
    let line = ["z4t", "-t", "a:1", "backup", "verify", "file", "-o", "json"];
    let Ok(Command::Backup(backup)) = parse(&line) else {
        panic!("backup verify");
    };
    let Some(BackupCommand::Verify(verify)) = backup.command else {
        panic!("verify");
    };
    assert_eq!(verify.file, std::path::Path::new("file"));
    assert_eq!((verify.output, backup.file), (Output::Json, None));
    let Ok(Command::Backup(backup)) = parse(&["z4t", "backup", "-"]) else {
        panic!("standard output");
    };
    assert_eq!(backup.file.as_deref(), Some("-".as_ref()));
    for bad in [
        &["z4t", "backup", "file", "--rate", "1kB"][..],
        &["z4t", "backup", "verify"],
    ] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
}
