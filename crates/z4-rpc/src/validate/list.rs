//! Fields of ListTasks, and times that bound what is asked for.

use protobuf::well_known_types::Timestamp;
use protobuf::{Message, ProtobufEnum};
use z4_core::inspect::{Place, TaskFilter, TaskKind};
use z4_core::task::WallTime;
use z4_core::{Namespace, Refusal, TaskId};
use z4_proto::generated::collection::{ListTasksRequest, TaskState};

use super::page::{page_size, Token};

/// What a listing is asked for.
#[derive(Debug)]
pub(crate) struct ListAsk {
    pub(crate) namespace: Namespace,
    pub(crate) filter: TaskFilter,
    pub(crate) size: usize,
    pub(crate) with_body: bool,
    /// See [`crate::answer::AnswerBudget::new`].
    pub(crate) bytes_max: u32,
    /// Where the page begins.
    pub(crate) from: Place,
    token: Token,
}

impl ListAsk {
    /// The token of the page that begins at a place.
    pub(crate) fn token(&self, (at_ns, id): Place) -> String {
        let mut place = at_ns.to_be_bytes().to_vec();
        place.extend(id.as_bytes());
        self.token.write(&place)
    }
}

/// Reads a request.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the rule.
pub(crate) fn list(request: &ListTasksRequest) -> Result<ListAsk, Refusal> {
    known(request)?;
    let namespace = Namespace::new(request.get_namespace())?;
    let kind = match request.get_state() {
        TaskState::TASK_STATE_UNSPECIFIED => None,
        TaskState::TASK_STATE_SCHEDULED => Some(TaskKind::Waiting),
        TaskState::TASK_STATE_LEASED => Some(TaskKind::Leased),
        TaskState::TASK_STATE_DEAD => Some(TaskKind::Dead),
    };
    let (from_ns, to_ns) = times(request.from.as_ref(), request.to.as_ref())?;
    let token = Token::of(&[
        b"tasks",
        namespace.as_str().as_bytes(),
        &request.get_state().value().to_be_bytes(),
        &from_ns.to_be_bytes(),
        &to_ns.unwrap_or(u64::MAX).to_be_bytes(),
    ]);
    let from = match token.read(request.get_page_token())? {
        None => Place::default(),
        Some(place) => read_place(&place).ok_or_else(|| {
            Refusal::invalid("page_token", "must be as the answer before gave it")
        })?,
    };
    Ok(ListAsk {
        namespace,
        filter: TaskFilter {
            kind,
            from_ns,
            to_ns,
        },
        size: page_size(request.get_page_size())?,
        with_body: request.get_with_body(),
        bytes_max: request.get_answer_bytes_max(),
        from,
        token,
    })
}

fn read_place(place: &[u8]) -> Option<Place> {
    let (at_ns, id) = place.split_first_chunk::<8>()?;
    let id: [u8; 16] = id.try_into().ok()?;
    Some((u64::from_be_bytes(*at_ns), TaskId::from_bytes(id)))
}

/// The bounds of a range of times, in machine nanoseconds.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the field and the rule.
pub(super) fn times(
    from: Option<&Timestamp>,
    to: Option<&Timestamp>,
) -> Result<(u64, Option<u64>), Refusal> {
    let ns = |field: &str, at: &Timestamp| {
        if !(0..1_000_000_000).contains(&at.nanos) {
            return Err(Refusal::invalid(field, "must have nanos of 0 to 999999999"));
        }
        let time = WallTime {
            seconds: at.seconds,
            nanos: at.nanos,
        };
        Ok(time.as_ns())
    };
    let from_ns = from.map(|at| ns("from", at)).transpose()?;
    let to_ns = to.map(|at| ns("to", at)).transpose()?;
    match (from_ns, to_ns) {
        (Some(from_ns), Some(to_ns)) if from_ns >= to_ns => {
            Err(Refusal::invalid("from", "must be before to"))
        }
        _ => Ok((from_ns.unwrap_or(0), to_ns)),
    }
}

/// Refuses what this version does not know: a filter that is passed over would
/// take more than was asked for.
///
/// # Errors
/// [`Refusal`] with code `Invalid` that names the number of the field.
pub(super) fn known(request: &impl Message) -> Result<(), Refusal> {
    match request.get_unknown_fields().into_iter().next() {
        None => Ok(()),
        Some((number, _)) => Err(Refusal::invalid(
            &format!("field number {number}"),
            "is not known to this version",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn with(change: impl FnOnce(&mut ListTasksRequest)) -> ListTasksRequest {
        let mut request = ListTasksRequest::default();
        request.set_namespace("n".into());
        change(&mut request);
        request
    }

    fn at(seconds: i64, nanos: i32) -> Timestamp {
        Timestamp {
            seconds,
            nanos,
            ..Timestamp::default()
        }
    }

    #[test]
    fn every_field_is_checked_and_named() {
        let table = [
            ("namespace", with(|r| r.namespace.clear())),
            ("page_size", with(|r| r.page_size = 1_001)),
            ("page_token", with(|r| r.page_token = "x".into())),
            ("from", with(|r| r.set_from(at(1, -1)))),
            ("to", with(|r| r.set_to(at(1, 1_000_000_000)))),
            (
                "from",
                with(|r| {
                    r.set_from(at(5, 0));
                    r.set_to(at(5, 0));
                }),
            ),
            (
                "page_token",
                with(|r| {
                    let ask = list(&with(|_| ())).unwrap();
                    r.page_token = ask.token.write(b"short");
                }),
            ),
        ];
        for (field, request) in table {
            let refusal = list(&request).expect_err(field);
            assert!(refusal.message.starts_with(field), "{field}: {refusal}");
        }
    }

    #[test]
    fn a_filter_of_another_version_is_refused() {
        // namespace "n", field 15.
        let bytes = [0x0a, 1, b'n', 0x78, 9];
        let request = ListTasksRequest::parse_from_bytes(&bytes).unwrap();
        let refusal = list(&request).expect_err("unknown");
        assert!(refusal.message.contains("number 15"), "{refusal}");
    }

    #[test]
    fn a_token_goes_with_what_is_listed() {
        let first = list(&with(|r| r.set_to(at(9, 0)))).unwrap();
        assert_eq!(first.from, Place::default());
        let place = (7, TaskId::new(1, 2, 3));
        let token = first.token(place);
        let again = |change: fn(&mut ListTasksRequest)| {
            let token = token.clone();
            list(&with(|r| {
                r.set_to(at(9, 0));
                r.page_token = token;
                change(r);
            }))
        };
        assert_eq!(again(|_| ()).unwrap().from, place);
        assert_eq!(again(|r| r.page_size = 7).unwrap().from, place);
        for other in [
            (|r| r.namespace = "m".into()) as fn(&mut ListTasksRequest),
            |r| r.set_state(TaskState::TASK_STATE_DEAD),
            |r| r.set_from(at(1, 0)),
            |r| r.set_to(at(8, 0)),
        ] {
            assert!(again(other).is_err());
        }
    }
}
