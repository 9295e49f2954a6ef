//! The systems, one file each.

pub mod beanstalkd;
pub mod etcd;
pub mod nats;
pub mod postgres;
pub mod rabbitmq;
pub mod redis;
pub mod z4;
mod z4_streams;
