//! The check that every call passes before its handler.
//!
//! The check sees the path and the headers of a call, and not what it asks. So it keeps out
//! who is not known, and what nobody has judged; handlers judge the rest. A method that is
//! added and forgotten in the table cannot be called.

use grpcio::{CheckResult, RpcContext, RpcStatus, RpcStatusCode, ServerChecker};

use super::table::{need_at_front, Need};
use super::Access;
use crate::errors::Error;
use crate::metrics::Metrics;

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct Front {
    pub access: Access,
    pub metrics: Metrics,
}

impl ServerChecker for Front {
    fn check(&mut self, ctx: &RpcContext<'_>) -> CheckResult {
        let Some(caller) = self.access.caller(ctx) else {
            return CheckResult::Continue;
        };
        let path = String::from_utf8_lossy(ctx.method());
        match need_at_front(&path) {
            Some(Need::Nothing) => CheckResult::Continue,
            Some(_) if caller.is_known() => CheckResult::Continue,
            Some(_) => {
                let status = Error::Unauthenticated.status();
                self.metrics.request("unknown caller", status.code(), 0.0);
                CheckResult::Abort(status)
            }
            None => {
                let message = format!("there is no method {path}");
                let code = RpcStatusCode::UNIMPLEMENTED;
                CheckResult::Abort(RpcStatus::with_message(code, message))
            }
        }
    }

    fn box_clone(&self) -> Box<dyn ServerChecker> {
        Box::new(self.clone())
    }
}
