//! Garbage collection beside pushes, deletions, mounts and starts, any of which may die at any step.
//!
//! ```text
//! seed ─> schedule: which process makes its next call to the store, which one dies, how far the clock moves
//!              │
//!   push, push, remove, mount, start, rotate, claim, release, collect ── each with a Store of its own over a
//!              │                                   `GatedStore` (waits for its turn; loses calls and answers)
//!              └─> judge: after each change of a root or a record, and each deletion, every record's manifest and
//!                  chunks lie where a read finds them, and so does what a server's functions run from
//! ```
//! In one of four schedules clocks differ between processes, and are set back by hours and forward by weeks: then a mount of
//! an image that was removed is promised nothing, and all that lives is promised as much as ever.
//!
//! One thread, a clock and a source of randomness of its own: a seed is a schedule. A seed that fails is printed, and
//! `LAMBENT_GC_SEED=17 cargo test -p store simulation` runs it alone. `LAMBENT_GC_SCHEDULES=100000` runs more of them.

mod gated;
mod processes;
mod random;
mod servers;
mod world;

use random::Random;
use std::rc::Rc;
use tokio::task::LocalSet;
use world::World;

/// Schedules in a run of the tests: some seconds in a debug build on two cores.
const SCHEDULES: u64 = 2000;

/// Steps of a schedule, of which each is at most one call to the store.
const STEPS: u64 = 400;

#[test]
fn no_schedule_loses_what_lives_and_what_is_dead_goes() {
    let variable = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = variable("LAMBENT_GC_SEED") {
        let seen = run(seed);
        println!("seed {seed}: {seen:?}");
        return;
    }
    let schedules = variable("LAMBENT_GC_SCHEDULES").unwrap_or(SCHEDULES);
    let mut seen = world::Seen::default();
    for seed in 0..schedules {
        let schedule = std::panic::catch_unwind(|| run(seed));
        seen +=
            schedule.unwrap_or_else(|_| panic!("replay it with LAMBENT_GC_SEED={seed} cargo test -p store simulation"));
    }
    println!("{schedules} schedules: {seen:?}");
    assert!(
        seen.is_everything(),
        "a schedule that never happens shows nothing: {seen:?}"
    );
}

#[test]
fn a_read_of_an_expired_root_is_served_and_stops_its_deletion() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let world = World::new(Random::new(0));
    world.end_faults();
    runtime.block_on(processes::raise_alarm(&world));
}

/// Runs a schedule, and then what it takes until nothing is left to do.
fn run(seed: u64) -> world::Seen {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let world = Rc::new(World::new(Random::new(seed)));
    LocalSet::new().block_on(&runtime, async {
        let mut processes = Vec::new();
        for _ in 0..STEPS {
            step(&world, &mut processes).await;
            world.judge(false).await;
        }
        for process in processes {
            process.kill();
        }
        tokio::task::yield_now().await;
        world.judge(true).await;
        processes::settle(&world).await;
    });
    world.seen()
}

async fn step(world: &Rc<World>, processes: &mut Vec<processes::Process>) {
    processes.retain(|process| !process.has_ended());
    match world.random(100) {
        // Hours: graces of the schedule are of some hours, too.
        0..4 => world.move_clock(),
        4..6 if !processes.is_empty() => {
            let victim = world.random(processes.len() as u64) as usize;
            world.see(|seen| seen.deaths += 1);
            processes.swap_remove(victim).kill();
        }
        _ if processes.len() < 2 || (processes.len() < 6 && world.random(10) == 0) => {
            processes.push(processes::Process::start(world));
        }
        _ => {
            let next = world.random(processes.len() as u64) as usize;
            processes[next].let_go().await;
        }
    }
}
