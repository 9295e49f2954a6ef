//! Whether a command keeps the limits: asked before it is proposed, so that the
//! caller learns at once, and again when it is applied, so that nothing that
//! came another way breaks the machine. The answer depends on the command only.

use crate::access::{check_certificate_name, Grant};
use crate::command::{
    Command, CreateTasks, Due, Extend, ExtendLeases, HeldLeases, LeaseRefs, LeaseTasks, Nack,
    NackTasks, NewTask, PrincipalChange, ResumeLeases,
};
use crate::error::Refusal;
use crate::limits;
use crate::state::RateLimit;

impl Command {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit; the
    /// caller mends the request.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::CreateTasks(create) => create.check(),
            Self::LeaseTasks(lease) => lease.check(),
            Self::AckTasks(refs) => refs.check(),
            Self::ReleaseTasks(held) | Self::ReturnTasks(held) => held.check(),
            Self::ResumeLeases(resume) => resume.check(),
            Self::NackTasks(nacks) => nacks.check(),
            Self::ExtendLeases(extends) => extends.check(),
            Self::CancelTasks(refs) | Self::PurgeTasks(refs) => changes(refs.ids.len()),
            Self::RescheduleTasks(change) => {
                changes(change.ids.len())?;
                change.due.check()
            }
            Self::RedriveTasks(redrive) => changes(redrive.ids.len()),
            Self::SetNamespace(set) => set.patch.check(),
            Self::ChangePrincipal(change) => change.change.check(),
            Self::DeleteNamespace(_) | Self::Pulse | Self::Mark { .. } => Ok(()),
        }
    }
}

impl CreateTasks {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        at_most(
            "request_id",
            self.request_id.len(),
            limits::REQUEST_ID_LEN_MAX,
        )?;
        counted("tasks", self.tasks.len(), limits::CREATE_COUNT_MAX)?;
        self.tasks.iter().try_for_each(NewTask::check)
    }
}

impl NewTask {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        at_most("payload", self.payload.len(), limits::PAYLOAD_LEN_MAX)?;
        if self.metadata.len() > limits::METADATA_COUNT_MAX {
            let rule = format!("must have at most {} entries", limits::METADATA_COUNT_MAX);
            return Err(Refusal::invalid("metadata", rule));
        }
        let size = |(key, value): &(String, String)| key.len() + value.len();
        let bytes = self.metadata.iter().map(size).sum();
        at_most("metadata", bytes, limits::METADATA_LEN_MAX)?;
        // The fingerprint of a request depends on the order: a map that was not
        // sorted would make a retry look like another request.
        if self.metadata.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            let rule = "must be sorted by key, with no key twice";
            return Err(Refusal::invalid("metadata", rule));
        }
        within(
            "max_attempts",
            self.max_attempts.into(),
            0,
            limits::ATTEMPTS_MAX.into(),
        )?;
        within("ttl", self.ttl_ms, 0, limits::TTL_MS_MAX)?;
        self.due.check()
    }
}

impl Due {
    fn check(self) -> Result<(), Refusal> {
        match self {
            Self::Now => Ok(()),
            Self::At(at) if !(0..1_000_000_000).contains(&at.nanos) => Err(Refusal::invalid(
                "deliver_at.nanos",
                "must be 0 to 999999999",
            )),
            Self::At(at) if at.seconds > limits::DELIVER_AT_SECONDS_MAX => Err(Refusal::invalid(
                "deliver_at.seconds",
                format!("must be at most {}", limits::DELIVER_AT_SECONDS_MAX),
            )),
            Self::At(_) => Ok(()),
            Self::AfterSeconds(s) if (1..=limits::TTS_SECONDS_MAX as u64).contains(&s) => Ok(()),
            Self::AfterSeconds(_) => Err(Refusal::invalid(
                "tts_seconds",
                format!("must be 1 to {}", limits::TTS_SECONDS_MAX),
            )),
        }
    }
}

impl LeaseTasks {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        counted("takers", self.takers.len(), limits::LEASE_TAKERS_MAX)?;
        lease_ms(self.lease_ms)?;
        within("ahead_ms", self.ahead_ms, 0, limits::LEASE_AHEAD_MS_MAX)?;
        for taker in &self.takers {
            named("consumer", &taker.consumer)?;
            if taker.room == 0 {
                return Err(Refusal::invalid("room", "must be greater than 0"));
            }
        }
        Ok(())
    }
}

impl LeaseRefs {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        counted("leases", self.leases.len(), limits::ACK_COUNT_MAX)
    }
}

impl HeldLeases {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        self.refs.check()?;
        at_most("consumer", self.consumer.len(), limits::CONSUMER_LEN_MAX)
    }
}

impl ResumeLeases {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        self.held.refs.check()?;
        named("consumer", &self.held.consumer)?;
        named("by", &self.by)
    }
}

impl NackTasks {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        counted("nacks", self.nacks.len(), limits::ACK_COUNT_MAX)?;
        self.nacks.iter().try_for_each(Nack::check)
    }
}

impl Nack {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        at_most("error", self.error.len(), limits::ERROR_LEN_MAX)?;
        within("delay", self.delay_ms.unwrap_or(0), 0, limits::DELAY_MS_MAX)
    }
}

impl ExtendLeases {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        counted("extends", self.extends.len(), limits::ACK_COUNT_MAX)?;
        let each = |extend: &Extend| lease_ms(extend.lease_ms);
        self.extends.iter().try_for_each(each)
    }
}

impl PrincipalChange {
    /// Checks every field against its limit.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Put { grants, names } => {
                few("grants", grants, limits::GRANTS_MAX)?;
                grants.iter().try_for_each(Grant::check)?;
                few("names", names, limits::NAMES_MAX)?;
                names
                    .iter()
                    .try_for_each(|name| check_certificate_name(name))
            }
            Self::AddToken { expires_in_ms, .. } => {
                within("expires_in", *expires_in_ms, 0, limits::TOKEN_MS_MAX)
            }
            Self::Delete | Self::RevokeToken { .. } => Ok(()),
        }
    }
}

impl RateLimit {
    /// Checks count and period against their limits.
    ///
    /// # Errors
    /// [`Refusal`] with code `Invalid` that names the field and the limit.
    pub fn check(&self) -> Result<(), Refusal> {
        let (least, most) = (Self::LEAST, Self::MOST);
        let count = (least.count.into(), most.count.into());
        within("rate.count", self.count.into(), count.0, count.1)?;
        within(
            "rate.period",
            self.period_ms,
            least.period_ms,
            most.period_ms,
        )
    }
}

/// The length of a lease; 0 is the namespace's setting.
fn lease_ms(ms: u64) -> Result<(), Refusal> {
    match ms {
        0 => Ok(()),
        ms => within("lease", ms, limits::LEASE_MS_MIN, limits::LEASE_MS_MAX),
    }
}

fn changes(count: usize) -> Result<(), Refusal> {
    counted("task_ids", count, limits::CHANGE_COUNT_MAX)
}

/// A number between limits; spans are in milliseconds, as the message says when
/// one is out of its bounds.
pub(crate) fn within(field: &str, value: u64, least: u64, most: u64) -> Result<(), Refusal> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Refusal::invalid(
        field,
        format!("is {value}; it must be {least} to {most} (spans in milliseconds)"),
    ))
}

fn named(field: &str, consumer: &str) -> Result<(), Refusal> {
    match consumer.is_empty() {
        true => Err(Refusal::invalid(field, "must not be empty")),
        false => at_most(field, consumer.len(), limits::CONSUMER_LEN_MAX),
    }
}

fn at_most(field: &str, len: usize, max: usize) -> Result<(), Refusal> {
    if len <= max {
        return Ok(());
    }
    Err(Refusal::invalid(
        field,
        format!("is {len} bytes long; it must be at most {max} bytes"),
    ))
}

/// Checks that there are at most so many, none of them twice; none at all will do.
fn few<T: PartialEq + std::fmt::Debug>(field: &str, all: &[T], max: usize) -> Result<(), Refusal> {
    if all.len() > max {
        let rule = format!("has {} elements; it must have at most {max}", all.len());
        return Err(Refusal::invalid(field, rule));
    }
    let mut places = 1..=all.len();
    let twice = all
        .iter()
        .find(|one| places.next().is_some_and(|next| all[next..].contains(one)));
    match twice {
        Some(twice) => Err(Refusal::invalid(
            field,
            format!("has {twice:?} twice; give it once"),
        )),
        None => Ok(()),
    }
}

fn counted(field: &str, count: usize, max: usize) -> Result<(), Refusal> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    Err(Refusal::invalid(
        field,
        format!("has {count} elements; it must have 1 to {max}"),
    ))
}
