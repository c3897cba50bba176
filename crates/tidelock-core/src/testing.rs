//! For the core's own tests.

use std::task::{Context, Poll, Waker};

/// The output of a future that waits for nothing.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the core waits for nothing by itself"),
    }
}
