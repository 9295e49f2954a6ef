//! How large an answer with a list becomes. It is counted as it is sent, with
//! every field and frame, because that is what a client's limit counts.

use protobuf::rt::compute_raw_varint32_size;
use protobuf::Message;

use crate::limits;

/// The room that is left in one answer for the elements of its list.
pub(crate) struct AnswerBudget {
    left: usize,
    is_empty: bool,
}

impl AnswerBudget {
    /// The room in an answer of at most `asked` bytes; 0: what clients take unless
    /// told otherwise. Its other fields take `besides` of them.
    pub(crate) fn new(asked: u32, besides: usize) -> Self {
        Self {
            left: bytes_max(asked).saturating_sub(besides),
            is_empty: true,
        }
    }

    /// Takes the room of one more element. `false`: there is none. The first
    /// element has room whatever its size, or a list that begins with a large one
    /// would never be seen.
    pub(crate) fn take(&mut self, element: &impl Message) -> bool {
        let len = field_len(element.compute_size());
        let fits = len <= self.left;
        if fits || self.is_empty {
            self.left = self.left.saturating_sub(len);
            self.is_empty = false;
            return true;
        }
        false
    }
}

/// How large an answer may be that is to be at most `asked` bytes; 0: nothing was
/// asked.
pub(crate) fn bytes_max(asked: u32) -> usize {
    match asked {
        0 => limits::ANSWER_BYTES_DEFAULT,
        asked => limits::ANSWER_BYTES_MAX.min(asked as usize),
    }
}

/// What a field of so many bytes takes, whose number is below 16.
pub(crate) fn field_len(len: u32) -> usize {
    1 + (compute_raw_varint32_size(len) + len) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use z4_proto::generated::collection::{ListTasksResponse, Task};

    fn task(len: usize) -> Task {
        let mut task = Task::default();
        task.set_payload(vec![7; len]);
        task
    }

    #[test]
    fn a_full_answer_is_as_large_as_was_asked() {
        for (asked, len) in [(1_000, 1), (1_000, 90), (100_000, 300), (0, 30_000)] {
            let mut budget = AnswerBudget::new(asked, 0);
            let mut answer = ListTasksResponse::default();
            while budget.take(&task(len)) {
                answer.mut_tasks().push(task(len));
            }
            let most = match asked {
                0 => 4_194_304,
                asked => asked,
            };
            let size = answer.compute_size();
            assert!(size <= most, "{size} of {most}");
            answer.mut_tasks().push(task(len));
            assert!(answer.compute_size() > most, "one more would have fitted");
        }
    }

    #[test]
    fn one_element_above_the_size_goes_alone() {
        let mut budget = AnswerBudget::new(10, 100);
        assert!(budget.take(&task(50)));
        assert!(!budget.take(&task(0)));
    }
}
