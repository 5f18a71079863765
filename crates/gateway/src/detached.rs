//! Work that runs to its end even if whoever asked for it leaves.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio_util::task::TaskTracker;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A future that, dropped before its end, goes on in a task of its own.
///
/// An invocation that has begun is not taken back when its caller hangs up, and its slot must stay taken until it is
/// over. A task for every invocation would give that as well, at the price of a hop between threads for each.
pub(crate) struct Detached<T: Send + 'static> {
    work: Option<Work<T>>,
    tasks: TaskTracker,
}

impl<T: Send + 'static> Detached<T> {
    pub(crate) fn new(tasks: TaskTracker, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            work: Some(Box::pin(work)),
            tasks,
        }
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let work = self.work.as_mut().expect("a future is not polled after its end");
        let output = ready!(work.as_mut().poll(context));
        self.work = None;
        Poll::Ready(output)
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and the work with it.
        if let (Some(work), Ok(runtime)) = (self.work.take(), tokio::runtime::Handle::try_current()) {
            self.tasks.spawn_on(
                async move {
                    drop(work.await);
                },
                &runtime,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn dropped_work_goes_on() {
        let tasks = TaskTracker::new();
        let (go, gate) = oneshot::channel::<()>();
        let (done, end) = oneshot::channel();
        let mut work = Detached::new(tasks.clone(), async move {
            gate.await.unwrap();
            done.send(7).unwrap();
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut work).await.is_err());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(end.await, Ok(7));
        tasks.close();
        tasks.wait().await;
    }
}
