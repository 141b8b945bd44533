//! One direction of a relay as a pure state machine: no descriptors, no clock, no buffers.

/// What is known of one direction: the bytes that were received and not yet sent, and how far the end of the
/// stream has travelled.
///
/// Input is `on_*`, the next thing to do is [`Direction::step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    phase: Phase,
    held: usize,
    forwarded: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The source may send more.
    Open,
    /// The source's end was read; what is held goes out first, then the end.
    Ending,
    /// The end was passed on, or the direction was given up after it was read.
    Ended,
    /// The source was lost before its end was read; what is held goes out, and no end does.
    Lost,
    /// The direction was given up before its source had ended.
    Aborted,
}

/// The next thing to do for a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Receive from the source: nothing is held.
    Receive,
    /// Send what is held. Nothing is received before it is gone, which is the back-pressure.
    Send,
    /// Pass the end of the stream on.
    ShutDown,
    /// Nothing, for ever.
    Rest,
}

impl Direction {
    /// A direction that has seen no byte.
    pub const fn new() -> Self {
        Self {
            phase: Phase::Open,
            held: 0,
            forwarded: 0,
        }
    }

    /// What to do next.
    pub const fn step(&self) -> Step {
        match self.phase {
            Phase::Ended | Phase::Aborted => Step::Rest,
            _ if self.held > 0 => Step::Send,
            Phase::Open => Step::Receive,
            Phase::Ending => Step::ShutDown,
            Phase::Lost => Step::Rest,
        }
    }

    /// `count` bytes were received from the source; none means the end of its stream.
    ///
    /// Must only follow [`Step::Receive`].
    pub const fn on_received(&mut self, count: usize) {
        debug_assert!(matches!(self.step(), Step::Receive));
        if count == 0 {
            self.phase = Phase::Ending;
        } else {
            self.held = count;
        }
    }

    /// The same beside bytes that are held.
    ///
    /// Must only follow [`Step::Send`] while the source may send more.
    pub const fn on_received_more(&mut self, count: usize) {
        debug_assert!(matches!(self.phase, Phase::Open) && self.held > 0);
        if count == 0 {
            self.phase = Phase::Ending;
        } else {
            self.held += count;
        }
    }

    /// The destination took `count` of the bytes that are held.
    ///
    /// Must only follow [`Step::Send`], with no more than [`Direction::held`].
    pub const fn on_sent(&mut self, count: usize) {
        debug_assert!(count <= self.held);
        self.held -= count;
        self.forwarded += count as u64;
    }

    /// The end of the stream was passed on.
    pub const fn on_shut_down(&mut self) {
        debug_assert!(matches!(self.step(), Step::ShutDown));
        self.phase = Phase::Ended;
    }

    /// The source is gone, and everything that it had sent was received.
    pub const fn on_source_lost(&mut self) {
        if matches!(self.phase, Phase::Open) {
            self.phase = Phase::Lost;
        }
    }

    /// The destination is gone: what is held can't be delivered.
    pub const fn on_abort(&mut self) {
        self.held = 0;
        self.phase = match self.phase {
            Phase::Open | Phase::Lost | Phase::Aborted => Phase::Aborted,
            Phase::Ending | Phase::Ended => Phase::Ended,
        };
    }

    /// Bytes received and not yet sent.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Bytes that the destination took, since the start.
    pub const fn forwarded(&self) -> u64 {
        self.forwarded
    }

    /// Whether nothing more will be done.
    pub const fn is_ended(&self) -> bool {
        match self.phase {
            Phase::Ended | Phase::Aborted => true,
            Phase::Lost => self.held == 0,
            Phase::Open | Phase::Ending => false,
        }
    }

    /// Whether the source's end was read.
    pub const fn source_has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ending | Phase::Ended)
    }
}

impl Direction {
    /// What there is of it, for another process: a number for how far the end of the stream has travelled, bytes that are held, and
    /// bytes that were forwarded.
    pub(crate) const fn to_carry(self) -> (u64, usize, u64) {
        let phase = match self.phase {
            Phase::Open => 0,
            Phase::Ending => 1,
            Phase::Ended => 2,
            Phase::Lost => 3,
            Phase::Aborted => 4,
        };
        (phase, self.held, self.forwarded)
    }

    /// The same back; none where it can't be.
    pub(crate) const fn carried(phase: u64, held: usize, forwarded: u64) -> Option<Self> {
        let phase = match phase {
            0 => Phase::Open,
            1 => Phase::Ending,
            2 => Phase::Ended,
            3 => Phase::Lost,
            4 => Phase::Aborted,
            _ => return None,
        };
        if held > 0 && matches!(phase, Phase::Ended | Phase::Aborted) {
            return None;
        }
        Some(Self {
            phase,
            held,
            forwarded,
        })
    }

    /// Whether the source may send more.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }
}

impl Default for Direction {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// Whatever sizes the kernel gives and takes, the bytes come out as they went in, and the end comes last.
        #[test]
        fn keeps_order_and_loses_nothing(
            chunks in prop::collection::vec(1usize..5000, 0..20),
            takes in prop::collection::vec(1usize..3000, 1..50),
        ) {
            let mut direction = Direction::new();
            let mut source: VecDeque<Vec<u8>> = chunks
                .iter()
                .enumerate()
                .map(|(index, &length)| vec![index as u8; length])
                .collect();
            let sent: Vec<u8> = source.iter().flatten().copied().collect();
            let (mut held, mut arrived) = (VecDeque::<u8>::new(), Vec::new());
            let mut takes = takes.iter().cycle();
            let mut shut = false;
            loop {
                match direction.step() {
                    Step::Receive => {
                        prop_assert!(held.is_empty());
                        let chunk = source.pop_front().unwrap_or_default();
                        held.extend(&chunk);
                        direction.on_received(chunk.len());
                    }
                    Step::Send => {
                        let count = direction.held().min(*takes.next().unwrap());
                        arrived.extend(held.drain(..count));
                        direction.on_sent(count);
                    }
                    Step::ShutDown => {
                        shut = true;
                        direction.on_shut_down();
                    }
                    Step::Rest => break,
                }
                prop_assert_eq!(direction.held(), held.len());
            }
            prop_assert!(shut);
            prop_assert_eq!(direction.forwarded(), sent.len() as u64);
            prop_assert_eq!(arrived, sent);
        }
    }

    #[test]
    fn an_abort_ends_it_with_bytes_held() {
        let mut direction = Direction::new();
        direction.on_received(7);
        direction.on_sent(3);
        direction.on_abort();
        assert_eq!(direction.step(), Step::Rest);
        assert_eq!((direction.held(), direction.forwarded()), (0, 3));
    }

    #[test]
    fn bytes_and_the_end_may_come_beside_what_is_held() {
        let mut direction = Direction::new();
        direction.on_received(7);
        direction.on_received_more(5);
        direction.on_sent(2);
        assert_eq!((direction.step(), direction.held()), (Step::Send, 10));
        direction.on_received_more(0);
        assert!(direction.source_has_ended());
        direction.on_sent(10);
        assert_eq!(direction.step(), Step::ShutDown);
        assert_eq!(direction.forwarded(), 12);
    }
}
