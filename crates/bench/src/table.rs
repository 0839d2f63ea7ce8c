//! What came out of one measurement, however it was measured: to be read, to be kept, to be drawn, to be judged.

use serde_json::Value;

use crate::stats::Spread;

pub(crate) trait Table {
    /// To be read.
    fn text(&self) -> String;

    /// To be kept.
    fn json(&self) -> Value;

    /// To be drawn, and to be held against the targets.
    fn charts(&self) -> Vec<Chart>;
}

/// One figure of everybody.
pub(crate) struct Chart {
    /// The task, and what of it when it has several: how a target finds it.
    pub(crate) key: String,
    pub(crate) title: String,
    pub(crate) unit: Unit,
    /// The limit itself wandered too far for anybody to be judged.
    pub(crate) is_noisy: bool,
    pub(crate) bars: Vec<Bar>,
}

pub(crate) struct Bar {
    pub(crate) name: &'static str,
    pub(crate) figure: Spread,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A time by the limit's: less is better.
    TimeByLimit,
    /// A time by a peer's: less is better.
    TimeByPeer,
    /// A rate by the limit's: more is better.
    RateByLimit,
    /// A rate by that of std: more is better.
    RateByStd,
    /// Of resident memory, for a child: less is better.
    KibibytesAChild,
    /// Beside the one that waits: less is better.
    Threads,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::TimeByLimit | Unit::RateByLimit => "÷ limit",
            Unit::TimeByPeer => "÷ peer",
            Unit::RateByStd => "÷ std",
            Unit::KibibytesAChild => "KiB a child",
            Unit::Threads => "threads",
        }
    }

    pub(crate) fn is_ratio(self) -> bool {
        match self {
            Unit::TimeByLimit | Unit::TimeByPeer | Unit::RateByLimit | Unit::RateByStd => true,
            Unit::KibibytesAChild | Unit::Threads => false,
        }
    }

    /// What is better, in words.
    pub(crate) fn better(self) -> &'static str {
        match self {
            Unit::RateByLimit | Unit::RateByStd => "more is better",
            Unit::TimeByLimit | Unit::TimeByPeer | Unit::KibibytesAChild | Unit::Threads => "less is better",
        }
    }
}

impl Chart {
    pub(crate) fn figure(&self, name: &str) -> Option<Spread> {
        self.bars.iter().find(|bar| bar.name == name).map(|bar| bar.figure)
    }
}
