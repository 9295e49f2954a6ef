//! One `Consume` stream: a thread reads, the owner speaks.

use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures::channel::oneshot;
use futures::executor::block_on;
use futures::future::{select, Either};
use futures::{SinkExt, StreamExt};
use grpcio::{CallOption, ClientDuplexSender, WriteFlags};
use z4_proto::generated::collection::{
    ConsumeCredit, ConsumeOpen, ConsumeRequest, ConsumeRequest_oneof_message as Say,
    ConsumeResponse, ConsumeResponse_oneof_message as Heard,
};

use crate::client::{Client, Refused};

/// A stream that is open, or was.
pub struct Conversation {
    sender: ClientDuplexSender<ConsumeRequest>,
    heard: Receiver<ConsumeResponse>,
    cut: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), Refused>>>,
}

/// What came of listening.
#[derive(Debug)]
pub enum Listened {
    /// The peer said this.
    Heard(Heard),
    /// Nothing in this time.
    Nothing,
    /// The stream is over.
    Ended,
}

impl Conversation {
    /// Opens a stream.
    ///
    /// # Errors
    /// When the call cannot be made.
    pub fn open(
        client: &Client,
        namespace: &str,
        consumer_id: &str,
        max_in_flight: u32,
        lease: Duration,
    ) -> Result<Self, Refused> {
        let (sender, mut receiver) = client.collection.consume_opt(CallOption::default())?;
        let (told, heard) = channel();
        let (cut, mut is_cut) = oneshot::channel();
        let listen = async move {
            loop {
                match select(receiver.next(), &mut is_cut).await {
                    Either::Left((Some(Ok(message)), _)) => {
                        // Fails when nobody listens any more.
                        let _ = told.send(message);
                    }
                    Either::Left((Some(Err(error)), _)) => return Err(error.into()),
                    Either::Left((None, _)) => return Ok(()),
                    Either::Right(_) => {
                        receiver.cancel();
                        return Ok(());
                    }
                }
            }
        };
        let mut conversation = Self {
            sender,
            heard,
            cut: Some(cut),
            thread: Some(thread::spawn(move || block_on(listen))),
        };
        let mut credit = ConsumeCredit::new();
        credit.set_max_in_flight(max_in_flight);
        let mut open = ConsumeOpen::new();
        open.set_namespace(namespace.to_owned());
        open.set_consumer_id(consumer_id.to_owned());
        open.set_credit(credit);
        open.set_lease(super::work::calls::span(lease));
        conversation.say(Say::open(open));
        Ok(conversation)
    }

    /// Says something; whether the stream took it. One that is over does not,
    /// and listening tells why.
    pub fn say(&mut self, what: Say) -> bool {
        let mut message = ConsumeRequest::new();
        message.message = Some(what);
        block_on(self.sender.send((message, WriteFlags::default()))).is_ok()
    }

    /// Sends a message that has nothing in it; whether the stream took it.
    pub fn say_nothing(&mut self) -> bool {
        let message = (ConsumeRequest::new(), WriteFlags::default());
        block_on(self.sender.send(message)).is_ok()
    }

    /// The next thing that the peer says.
    pub fn listen(&mut self, limit: Duration) -> Listened {
        match self.heard.recv_timeout(limit) {
            Ok(message) => match message.message {
                Some(heard) => Listened::Heard(heard),
                None => Listened::Nothing,
            },
            Err(RecvTimeoutError::Timeout) => Listened::Nothing,
            Err(RecvTimeoutError::Disconnected) => Listened::Ended,
        }
    }

    /// Closes this side, as one who leaves properly does.
    pub fn hang_up(&mut self) {
        // An error when the peer was quicker and the call is over.
        let _ = block_on(self.sender.close());
    }

    /// Breaks the call off, as a process that dies does.
    pub fn cut(mut self) {
        self.end();
    }

    /// How the stream ended; waits for the end.
    ///
    /// # Errors
    /// The status of the peer.
    pub fn ended(mut self) -> Result<(), Refused> {
        // Nobody cuts it any more.
        let kept = self.cut.take();
        let result = self.thread.take().map_or(Ok(()), |thread| {
            thread.join().expect("the listener does not panic")
        });
        drop(kept);
        result
    }

    fn end(&mut self) {
        if let Some(cut) = self.cut.take() {
            let _ = cut.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.end();
    }
}
