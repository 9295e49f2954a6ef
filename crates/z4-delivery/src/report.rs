//! What the leader knows of a session, and when it is to be told more.

/// See the module. Times are of the monotonic clock, in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What the present leader was told last; `None`: nothing yet.
    told_allowed: Option<u64>,
    /// A report is on its way to another peer.
    is_telling: bool,
    /// Not before this, after a report that failed.
    not_before_ns: Option<u64>,
    /// Some leader was told once, and may know of it still.
    pub(crate) was_told: bool,
}

impl Report {
    /// Whether the leader has to be told. Small steps of credit may not be worth a
    /// report: what the leader knows of keeps the session busy meanwhile.
    /// `is_closing`: the session waits until the leader has heard of its end.
    pub(crate) fn has_news(&self, allowed: u64, step: u64, is_closing: bool) -> bool {
        match self.told_allowed {
            Some(told) => allowed < told || allowed >= told + step,
            // Without credit it need not be known, unless it may be already.
            None => allowed > 0 || is_closing && self.was_told,
        }
    }

    /// Whether no leader knows of more than this.
    pub(crate) fn is_heard(&self, allowed: u64) -> bool {
        !self.was_told || !self.is_telling && self.told_allowed == Some(allowed)
    }

    /// There is another leader: it knows of nobody.
    pub(crate) fn forget(&mut self) {
        self.told_allowed = None;
        self.not_before_ns = None;
    }

    /// Whether a report may go now, or has to wait.
    pub(crate) fn may_tell(&self, now_ns: u64) -> bool {
        !self.is_telling && self.not_before_ns.is_none_or(|at_ns| at_ns <= now_ns)
    }

    /// A report goes; `is_awaited`: an answer will come.
    pub(crate) fn tell(&mut self, allowed: u64, is_awaited: bool) {
        self.told_allowed = Some(allowed);
        self.is_telling = is_awaited;
        self.not_before_ns = None;
        self.was_told = true;
    }

    /// How an awaited report ended; one that failed is repeated from `again_at_ns` on.
    pub(crate) fn told(&mut self, is_told: bool, again_at_ns: u64) {
        self.is_telling = false;
        if !is_told {
            self.told_allowed = None;
            self.not_before_ns = Some(again_at_ns);
        }
    }

    /// Whether the present leader was told.
    pub(crate) fn is_known(&self) -> bool {
        self.told_allowed.is_some()
    }

    pub(crate) fn not_before_ns(&self) -> Option<u64> {
        self.not_before_ns
    }
}
