//! Consumer sessions of a z4 peer.
#![forbid(unsafe_code)]

mod broken;
pub mod consumer_id;
mod directory;
pub mod endings;
mod find;
mod flow;
mod input;
mod leading;
mod ledger;
pub mod limits;
mod outbox;
mod output;
mod report;
mod reports;
mod session;
mod sessions;
mod take;

pub use find::find;
pub use input::{
    Applied, Delivered, Failure, Input, Key, Leadership, Method, Now, Open, Said, SessionId,
    Settled, Ticket,
};
pub use output::{Delivery, End, Output, Retry, Whose};
pub use sessions::{Sessions, Turn};
