use super::*;
use std::future::{pending, ready};

#[tokio::test]
async fn a_flight_leaves_the_table_with_its_last_passenger() {
    let flights = Flights::<u32>::new();
    let id = ChunkId::from_bytes([1; 32]);
    assert_eq!(flights.run(id, ready(Ok::<_, ()>(1))).await, Ok((1, Part::Led)));
    assert_eq!(flights.run(id, ready(Err(2))).await, Err(2));
    assert_eq!(
        flights.run(id, ready(Ok::<_, ()>(3))).await,
        Ok((3, Part::Led)),
        "nothing is remembered"
    );

    let mut leader = Box::pin(flights.run(id, pending::<Result<_, ()>>()));
    assert!(futures::poll!(&mut leader).is_pending());
    let mut waiter = Box::pin(flights.run(id, ready(Ok::<_, ()>(4))));
    assert!(futures::poll!(&mut waiter).is_pending());
    drop(leader);
    assert_eq!(waiter.await, Ok((4, Part::Led)));
    assert!(flights.lock().is_empty());
}
