//! A consumer's side of Consume.

use std::collections::VecDeque;
use std::time::Duration;

use crate::support::client::Client;
use futures::executor::block_on;
use futures::{SinkExt, StreamExt};
use grpcio::{CallOption, ClientDuplexReceiver, ClientDuplexSender, RpcStatusCode, WriteFlags};
use protobuf::well_known_types as wkt;
use z4_proto::generated::collection::{
    ConsumeOpen, ConsumeRequest, ConsumeResponse, Consuming, Delivery, Extend, LeaseRef,
    LeaseResult, Nack,
};

/// One open stream. Calls end after a time: a test fails, and does not hang.
pub struct Consumer {
    sender: Option<ClientDuplexSender<ConsumeRequest>>,
    receiver: ClientDuplexReceiver<ConsumeResponse>,
    pub consuming: Consuming,
    deliveries: VecDeque<Delivery>,
    results: VecDeque<LeaseResult>,
}

pub fn duration(ms: u64) -> wkt::Duration {
    wkt::Duration {
        seconds: (ms / 1_000) as i64,
        nanos: (ms % 1_000) as i32 * 1_000_000,
        ..wkt::Duration::default()
    }
}

pub fn lease_ref(delivery: &Delivery) -> LeaseRef {
    let mut lease = LeaseRef::default();
    lease.set_task_id(delivery.get_task().get_id().into());
    lease.set_lease_token(delivery.get_lease_token());
    lease
}

pub fn nack(delivery: &Delivery) -> Nack {
    let mut nack = Nack::default();
    nack.set_task_id(delivery.get_task().get_id().into());
    nack.set_lease_token(delivery.get_lease_token());
    nack
}

pub fn extend(delivery: &Delivery, ms: u64) -> Extend {
    let mut extend = Extend::default();
    extend.set_task_id(delivery.get_task().get_id().into());
    extend.set_lease_token(delivery.get_lease_token());
    extend.set_lease(duration(ms));
    extend
}

impl Consumer {
    /// Opens a stream on namespace `n`.
    pub fn open(client: &Client, id: &str, in_flight: u32) -> Self {
        Self::try_open(client, |open| {
            open.set_consumer_id(id.into());
            open.mut_credit().set_max_in_flight(in_flight);
        })
        .unwrap()
    }

    pub fn try_open(
        client: &Client,
        change: impl FnOnce(&mut ConsumeOpen),
    ) -> Result<Self, (RpcStatusCode, String)> {
        let mut open = ConsumeOpen::default();
        open.set_namespace("n".into());
        change(&mut open);
        let mut request = ConsumeRequest::default();
        request.set_open(open);
        Self::start(client, request)
    }

    pub fn start(client: &Client, first: ConsumeRequest) -> Result<Self, (RpcStatusCode, String)> {
        let option = CallOption::default().timeout(Duration::from_secs(30));
        let (sender, receiver) = client.collection().consume_opt(option).unwrap();
        let mut consumer = Self {
            sender: Some(sender),
            receiver,
            consuming: Consuming::default(),
            deliveries: VecDeque::new(),
            results: VecDeque::new(),
        };
        consumer.send(first);
        match consumer.next()? {
            Some(mut response) => consumer.consuming = response.take_consuming(),
            None => panic!("ended at once"),
        }
        assert!(!consumer.consuming.get_consumer_id().is_empty());
        Ok(consumer)
    }

    pub fn send(&mut self, request: ConsumeRequest) {
        // The other side may have ended the stream.
        let _ = block_on(
            self.sender
                .as_mut()
                .unwrap()
                .send((request, WriteFlags::default())),
        );
    }

    /// `None`: the stream ended, and all is well.
    pub fn next(&mut self) -> Result<Option<ConsumeResponse>, (RpcStatusCode, String)> {
        match block_on(self.receiver.next()) {
            None => Ok(None),
            Some(Ok(response)) => Ok(Some(response)),
            Some(Err(grpcio::Error::RpcFailure(status))) => {
                Err((status.code(), status.message().to_owned()))
            }
            Some(Err(other)) => panic!("{other}"),
        }
    }

    fn take(&mut self) {
        let mut response = self.next().unwrap().expect("the stream goes on");
        if response.has_delivery() {
            self.deliveries.push_back(response.take_delivery());
        } else {
            self.results.push_back(response.take_result());
        }
    }

    pub fn delivery(&mut self) -> Delivery {
        while self.deliveries.is_empty() {
            self.take();
        }
        self.deliveries.pop_front().unwrap()
    }

    pub fn deliveries(&mut self, count: usize) -> Vec<Delivery> {
        (0..count).map(|_| self.delivery()).collect()
    }

    pub fn result(&mut self) -> LeaseResult {
        while self.results.is_empty() {
            self.take();
        }
        self.results.pop_front().unwrap()
    }

    pub fn ack(&mut self, delivery: &Delivery) -> LeaseResult {
        let mut request = ConsumeRequest::default();
        request.set_ack(lease_ref(delivery));
        self.send(request);
        self.result()
    }

    pub fn release(&mut self, delivery: &Delivery) -> LeaseResult {
        let mut request = ConsumeRequest::default();
        request.set_release(lease_ref(delivery));
        self.send(request);
        self.result()
    }

    pub fn nack(&mut self, nack: Nack) -> LeaseResult {
        let mut request = ConsumeRequest::default();
        request.set_nack(nack);
        self.send(request);
        self.result()
    }

    pub fn extend(&mut self, delivery: &Delivery, ms: u64) -> LeaseResult {
        let mut request = ConsumeRequest::default();
        request.set_extend(extend(delivery, ms));
        self.send(request);
        self.result()
    }

    pub fn credit(&mut self, in_flight: u32, bytes: u64) {
        let mut request = ConsumeRequest::default();
        request.mut_credit().set_max_in_flight(in_flight);
        request.mut_credit().set_max_in_flight_bytes(bytes);
        self.send(request);
    }

    pub fn drain(&mut self) {
        let mut request = ConsumeRequest::default();
        request.mut_drain();
        self.send(request);
    }

    /// Says that it sends no more; takes what comes until the end.
    pub fn close(mut self) -> Vec<Delivery> {
        let mut sender = self.sender.take().unwrap();
        let _ = block_on(sender.close());
        self.rest()
    }

    /// Takes what comes until the end, which must be a good one.
    pub fn rest(&mut self) -> Vec<Delivery> {
        while let Some(mut response) = self.next().unwrap() {
            if response.has_delivery() {
                self.deliveries.push_back(response.take_delivery());
            }
        }
        self.deliveries.drain(..).collect()
    }

    /// Goes without a word, as a client does that is killed.
    pub fn vanish(mut self) {
        self.receiver.cancel();
    }

    /// Nothing is delivered, however often the log goes round.
    pub fn expect_quiet(&mut self, held: &Delivery) {
        for _ in 0..20 {
            self.extend(held, 600_000);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(self.deliveries.is_empty(), "{:?}", self.deliveries);
    }
}
