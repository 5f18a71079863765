//! A sandbox gets what it was given and no more, and no other notices.
#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

mod fixture;

use fixture::{Fixture, perl, process, run, sh, shell, until};
use sandbox::{ExitStatus, SandboxError};
use std::time::{Duration, Instant};

#[test]
fn tmp_has_exactly_its_size() {
    let fixture = Fixture::new();
    let sandbox = fixture.create();
    let bytes = sh(&sandbox, "stat -fc '%S %b' /tmp");
    let (unit, blocks) = bytes.split_once(' ').unwrap();
    assert_eq!(unit.parse::<u64>().unwrap() * blocks.parse::<u64>().unwrap(), 16 << 20);
    let (output, _) = run(
        &sandbox,
        &shell("head -c 20M /dev/zero > /tmp/fill; stat -c %s /tmp/fill"),
    );
    assert!(output.contains("No space left on device"), "{output}");
    assert!(output.ends_with(&format!("{}\n", 16 << 20)), "{output}");
    let usage = sandbox.usage();
    assert!(usage.memory_bytes >= 16 << 20, "/tmp counts as memory: {usage:?}");
    assert_eq!(usage.tmp_bytes, 16 << 20);
    sh(&sandbox, "rm /tmp/fill");
    assert_eq!(sandbox.usage().tmp_bytes, 0);
    sh(&sandbox, "head -c 1M /dev/zero > /dev/shm/file");
    assert_eq!(sandbox.usage().tmp_bytes, 0, "/dev/shm is memory");
}

#[test]
fn beyond_its_memory_a_process_is_killed_and_counted() {
    let fixture = Fixture::new();
    let (hungry, other) = (fixture.create(), fixture.create());
    let (_, status) = run(
        &hungry,
        &process(&["perl", "-e", "my @a; push @a, 'x' x 1048576 while 1"]),
    );
    assert_eq!(status, ExitStatus::Killed(9));
    let usage = hungry.usage();
    assert!(usage.out_of_memory_kills >= 1, "{usage:?}");
    assert!(
        usage.memory_peak_bytes > 100 << 20 && usage.memory_peak_bytes <= 128 << 20,
        "{usage:?}"
    );
    assert_eq!(other.usage().out_of_memory_kills, 0);
    // The sandbox itself lives on.
    assert_eq!(sh(&hungry, "echo alive"), "alive");
}

#[test]
fn a_fork_bomb_stays_inside() {
    let fixture = Fixture::new();
    let (bomb, other) = (fixture.create(), fixture.create());
    let count = "my $n = 0; $| = 1;
        while (1) { my $p = fork; last unless defined $p; if (!$p) { sleep 1000; exit } $n++ }
        print $n; sleep 1000";
    let counting = bomb.spawn(&process(&["perl", "-e", count])).unwrap();
    let mut digits = [0; 8];
    let read = || rustix::io::read(&counting.output, &mut digits).ok();
    let length = until("the bomb has exploded", read);
    assert_eq!(&digits[..length], b"63", "64 processes, less perl itself");
    let endless = bomb.spawn(&shell(":"));
    assert!(
        matches!(&endless, Err(SandboxError::Setup { step, .. }) if step.contains("limit of processes")),
        "{endless:?}"
    );
    assert_eq!(sh(&other, "echo alive"), "alive");
    bomb.kill();
    let raging = fixture.create();
    let _bomb = raging.spawn(&process(&["perl", "-e", "fork while 1"])).unwrap();
    until("the bomb rages", || (raging.usage().cpu_us > 100_000).then_some(()));
    raging.kill();
    assert_eq!(sh(&other, "echo alive"), "alive");
}

#[test]
fn open_files_are_limited() {
    let fixture = Fixture::new();
    let mut spec = fixture.spec();
    spec.files_max = 4096;
    for (sandbox, most) in [(fixture.create(), 256), (fixture.spawner.create(&spec).unwrap(), 4096)] {
        let open = "my @f; while (open(my $f, '<', '/dev/null')) { push @f, $f } print 3 + @f";
        assert_eq!(perl(&sandbox, open), most.to_string());
        assert_eq!(sh(&sandbox, "ulimit -Hn"), most.to_string());
    }
}

#[test]
fn processor_time_is_limited_and_counted() {
    let fixture = Fixture::new();
    let mut spec = fixture.spec();
    spec.cpu_millis = 200;
    let sandbox = fixture.spawner.create(&spec).unwrap();
    let before = (Instant::now(), sandbox.usage().cpu_us);
    let busy = sandbox.spawn(&process(&["perl", "-e", "1 while 1"])).unwrap();
    until("half a second is over", || {
        (before.0.elapsed() > Duration::from_millis(500)).then_some(())
    });
    sandbox.signal(busy.id, 9).unwrap();
    fixture::exit(&busy.exit);
    let used = Duration::from_micros(sandbox.usage().cpu_us - before.1);
    let share = used.as_secs_f64() / before.0.elapsed().as_secs_f64();
    // The machine may be too busy to give even that; slices on several processors give a little more.
    assert!(share > 0.02 && share < 0.3, "{share}");
}

#[test]
fn senseless_limits_are_refused() {
    let fixture = Fixture::new();
    let check = |change: &dyn Fn(&mut sandbox::SandboxSpec)| {
        let mut spec = fixture.spec();
        change(&mut spec);
        let error = fixture.spawner.create(&spec).unwrap_err();
        assert!(matches!(error, SandboxError::InvalidSpec { .. }), "{error}");
    };
    check(&|spec| spec.name = "../x".to_owned());
    check(&|spec| spec.memory_bytes = 1);
    check(&|spec| spec.cpu_millis = 0);
    check(&|spec| spec.processes_max = 0);
    check(&|spec| spec.tmp_bytes = 0);
    check(&|spec| spec.files_max = 3);
    check(&|spec| spec.overlays.push(("/usr".into(), "/../usr".to_owned())));
    let sandbox = fixture.create();
    let with = |value: String| {
        let mut long = shell("echo ${#LONG}");
        long.environment.push(("LONG".to_owned(), value));
        sandbox.spawn(&long).map(|process| fixture::finish(process).0)
    };
    assert_eq!(with("x".repeat(120 << 10)).unwrap(), "122880\n");
    assert_eq!(with("\u{1}".repeat(20 << 10)).unwrap(), "20480\n");
    for value in ["x".repeat(128 << 10), "\u{1}".repeat(22 << 10)] {
        let error = with(value).unwrap_err();
        assert!(matches!(error, SandboxError::InvalidProcess { .. }), "{error}");
    }
    assert_eq!(sh(&sandbox, "echo alive"), "alive");
}
