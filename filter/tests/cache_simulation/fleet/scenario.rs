//! What is to happen, and what has happened.

pub struct Scenario {
    pub replicas: usize,
    pub workers: usize,
    pub requests: usize,
    /// Requests that change something, and purges.
    pub changes: usize,
    /// Over so many seconds.
    pub seconds: u64,
    /// Most of them are about this URL.
    pub hot: Option<usize>,
    pub faults: &'static [Fault],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 5xx, of the upstream and in its place.
    UpstreamFails,
    /// Answers that are not to be stored, and bodies that are cut.
    UpstreamIsFlaky,
    /// Some answers take longer than locks are held and than anybody waits.
    UpstreamIsSlow,
    BreakerOpens,
    /// A connection is lost, which the worker finds out sooner or later.
    LinkBreaks,
    /// Nothing arrives for a while, and then all of it.
    LinkStalls,
    /// Of some calls there is no answer.
    AnswersAreLost,
    /// Some of those who join are not told of invalidations.
    NotTold,
    WorkerDies,
    WallClockJumps,
    StoreClockJumps,
    /// The store loses its last writes, and all connections.
    Failover,
    /// It does not happen by itself, but when the test says so.
    LosesWrites,
    /// POST whose answers are stored.
    Posts,
}

/// That something has happened at all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub replies: u64,
    pub collapsed: u64,
    pub from_memory: u64,
    pub stale: u64,
    pub purged: u64,
    pub refreshes: u64,
    pub unanswered: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.replies += other.replies;
        self.collapsed += other.collapsed;
        self.from_memory += other.from_memory;
        self.stale += other.stale;
        self.purged += other.purged;
        self.refreshes += other.refreshes;
        self.unanswered += other.unanswered;
    }
}
