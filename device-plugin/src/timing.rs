use std::time::Duration;

/// How long is waited for what, and how often is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long kubelet may take to answer a registration: it connects back and asks first.
    pub register: Duration,
    /// How long kubelet may take from the answer to following the list.
    pub follow: Duration,
    /// The first pause after a failure; it doubles with each.
    pub first_pause: Duration,
    /// The longest pause after failures.
    pub longest_pause: Duration,
    /// How often sockets are looked at though nothing was noticed: a watch can fail, or its events be lost.
    pub look: Duration,
    /// How often the node's devices are looked at.
    pub rescan: Duration,
    /// How often kubelet is asked who has what, while any device is marked.
    pub sweep: Duration,
    /// How long kubelet may take to answer that.
    pub answer: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            register: Duration::from_secs(15),
            follow: Duration::from_secs(3),
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(15),
            look: Duration::from_secs(5),
            rescan: Duration::from_secs(10),
            sweep: Duration::from_secs(10),
            answer: Duration::from_secs(10),
        }
    }
}
