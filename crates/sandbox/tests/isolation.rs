//! What can be seen and done from inside.
#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

mod fixture;

use fixture::{Fixture, output, perl, process, run, sh, shell, until};
use sandbox::{ExitStatus, SandboxError};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, chown, symlink};

#[test]
fn only_its_own_processes_and_files_are_seen() {
    let fixture = Fixture::new();
    fs::write(fixture.root.join("etc/of-the-image"), "x").unwrap();
    let sandbox = fixture.create();
    let seen = sh(&sandbox, "cd /proc; echo [0-9]*; cat 1/comm");
    let (ids, name) = seen.split_once('\n').unwrap();
    assert!(ids.split(' ').all(|id| id.parse::<u32>().unwrap() < 10), "{ids}");
    assert_eq!(name, "sandboxes");
    assert_eq!(
        sh(&sandbox, "echo /*"),
        "/bin /dev /etc /lib /lib64 /opt /proc /sbin /tmp /usr /var"
    );
    assert_eq!(
        sh(&sandbox, "ls /etc /opt /var"),
        "/etc:\nhosts\nof-the-image\n\n/opt:\n\n/var:"
    );
    assert_eq!(
        sh(&sandbox, "echo /dev/*"),
        "/dev/fd /dev/full /dev/null /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/urandom /dev/zero"
    );
    assert_eq!(sh(&sandbox, "hostname; id -u; umask"), "inside\n0\n0022");
    // Init is the only other process, and its files and memory are closed.
    assert_eq!(
        sh(
            &sandbox,
            "ls /proc/1/fd /proc/1/root /proc/1/cwd >/dev/null 2>&1 || echo closed"
        ),
        "closed"
    );
    assert_eq!(
        sh(&sandbox, "cat /proc/self/cgroup | grep -v ':/$' || echo only its own"),
        "only its own"
    );
    let mounts = sh(&sandbox, "cut -d' ' -f5 /proc/self/mountinfo");
    let expected = ["/", "/proc", "/dev", "/dev/shm", "/tmp", "/usr", "/etc/hosts"];
    assert!(
        mounts
            .lines()
            .all(|point| expected.contains(&point) || point.starts_with("/proc/")),
        "{mounts}"
    );
}

#[test]
fn rights_are_gone() {
    let fixture = Fixture::new();
    let sandbox = fixture.create();
    for user in ["", "1000"] {
        let mut status =
            shell("grep -E '^(Cap|NoNewPrivs|Seccomp:|SigBlk|SigIgn)' /proc/self/status | tr -d '\\t'; ulimit -c");
        status.user = user.to_owned();
        let zero = "0".repeat(16);
        let expected = format!(
            "SigBlk:{zero}\nSigIgn:{zero}\nCapInh:{zero}\nCapPrm:{zero}\nCapEff:{zero}\nCapBnd:{zero}\nCapAmb:{zero}\nNoNewPrivs:1\nSeccomp:2\n0\n"
        );
        assert_eq!(run(&sandbox, &status).0, expected);
    }
}

/// Calls with plausible arguments; a call that is forbidden answers before it looks at them.
#[test]
fn dangerous_calls_are_refused() {
    let fixture = Fixture::new();
    let sandbox = fixture.create();
    let eperm = [
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_ptrace,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_open_by_handle_at,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_open_tree,
        libc::SYS_fsopen,
        libc::SYS_mount_setattr,
        libc::SYS_syslog,
    ];
    for call in eperm {
        assert_eq!(
            errno_of(&sandbox, &format!("{call}, 0, 0, 0, 0, 0")),
            libc::EPERM,
            "call {call}"
        );
    }
    // clone3, whose flags cannot be seen, and a call of the future.
    for call in [libc::SYS_clone3, 900] {
        assert_eq!(
            errno_of(&sandbox, &format!("{call}, 0, 0, 0, 0, 0")),
            libc::ENOSYS,
            "call {call}"
        );
    }
    for flag in [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWNS | libc::SIGCHLD,
    ] {
        assert_eq!(
            errno_of(&sandbox, &format!("{}, {flag}, 0, 0, 0, 0", libc::SYS_clone)),
            libc::EPERM
        );
    }
    for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_PACKET] {
        assert_eq!(
            errno_of(&sandbox, &format!("{}, {family}, 1, 0", libc::SYS_socket)),
            libc::EPERM
        );
    }
    assert_eq!(
        errno_of(&sandbox, &format!("{}, {}, 1, 0", libc::SYS_socket, libc::AF_INET6)),
        0
    );
}

fn errno_of(sandbox: &sandbox::Sandbox, call: &str) -> i32 {
    let text = perl(
        sandbox,
        &format!("my $answer = syscall({call}); print $answer == -1 ? $! + 0 : 0"),
    );
    text.parse().unwrap()
}

#[test]
fn the_root_and_proc_sys_are_read_only() {
    let fixture = Fixture::new();
    let sandbox = fixture.create();
    let (output, _) = run(
        &sandbox,
        &shell(
            "for f in /x /etc/x /usr/x /dev/x /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger; do echo 1 > $f && echo WROTE $f; done",
        ),
    );
    assert!(!output.contains("WROTE"), "{output}");
    // Not every kernel has the last one.
    let expected = 6 + usize::from(std::path::Path::new("/proc/sysrq-trigger").exists());
    assert_eq!(output.matches("Read-only file system").count(), expected, "{output}");
    for secret in ["kcore", "keys", "timer_list"] {
        assert_eq!(
            sh(&sandbox, &format!("cat /proc/{secret} 2>/dev/null | wc -c")),
            "0",
            "{secret}"
        );
    }
}

#[test]
fn owners_are_those_of_the_image_inside_and_nobody_outside() {
    let fixture = Fixture::new();
    for (name, id) in [("root-file", 0), ("app-file", 1000), ("large", 70_000)] {
        let path = fixture.root.join("opt").join(name);
        fs::write(&path, "x").unwrap();
        chown(&path, Some(id), Some(id)).unwrap();
    }
    let first = fixture.create();
    let second = fixture.create();
    let owners = sh(&first, "cd /opt; stat -c '%u:%g' root-file app-file large");
    assert_eq!(owners, "0:0\n1000:1000\n65534:65534");
    let host_ids: Vec<_> = [&first, &second].map(host_owner).into();
    assert!(
        host_ids.iter().all(|id| (0x7000_0000..0x7ffe_0000).contains(id)),
        "{host_ids:?}"
    );
    assert_ne!(host_ids[0], host_ids[1]);
    // A file in /tmp belongs to the process that made it, under its host id.
    let mut made = shell("touch /tmp/mine && stat -c %u /tmp/mine");
    made.user = "1000".to_owned();
    assert_eq!(run(&first, &made).0, "1000\n");
}

/// The host's id of a process that is root inside.
fn host_owner(sandbox: &sandbox::Sandbox) -> u32 {
    let mark = fixture::unique();
    let process = sandbox
        .spawn(&process(&["perl", "-e", "sleep 1 while 1", &mark]))
        .unwrap();
    let id = until("the process is seen", || {
        fixture::processes_with(&mark).first().copied()
    });
    let owner = until("the process has its program", || {
        fs::metadata(format!("/proc/{id}")).ok().map(|file| file.uid())
    });
    sandbox.signal(process.id, 9).unwrap();
    owner
}

#[test]
fn only_loopback_is_reachable_and_the_listener_from_inside() {
    let fixture = Fixture::new();
    let mut sandbox = fixture.create();
    let listener = sandbox.take_listener().unwrap();
    assert!(sandbox.take_listener().is_none());
    assert_eq!(listener.local_addr().unwrap().to_string(), "127.0.0.1:9001");
    let client = "use IO::Socket::INET; my $s = IO::Socket::INET->new('127.0.0.1:9001') or die; print $s qq(hello\\n); print <$s>";
    let client = sandbox.spawn(&process(&["perl", "-e", client])).unwrap();
    let (mut stream, _) = until("the client connects", || listener.accept().ok());
    stream.set_nonblocking(false).unwrap();
    let mut hello = [0; 6];
    stream.read_exact(&mut hello).unwrap();
    stream.write_all(b"world").unwrap();
    drop(stream);
    assert_eq!(fixture::exit(&client.exit), ExitStatus::Exited(0));
    assert_eq!((&hello, output(client.output).as_str()), (b"hello\n", "world"));
    assert_eq!(
        sh(
            &sandbox,
            "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; wc -l < /proc/net/route"
        ),
        "lo\n1"
    );
    // A service of the host, at its loopback and at any other address.
    let service = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = service.local_addr().unwrap().port();
    for address in ["127.0.0.1", "10.0.0.1", "192.0.2.1"] {
        let connect = format!(
            "use IO::Socket::INET; print IO::Socket::INET->new(PeerAddr => '{address}:{port}', Timeout => 2) ? 1 : 0"
        );
        assert_eq!(perl(&sandbox, &connect), "0", "{address}");
    }
}

#[test]
fn two_sandboxes_do_not_see_each_other() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.create(), fixture.create());
    let running = first
        .spawn(&shell(
            "echo secret > /tmp/secret; echo secret > /dev/shm/secret; exec sleep 1000",
        ))
        .unwrap();
    until("the file is written", || {
        (sh(&first, "cat /dev/shm/secret 2>/dev/null || true") == "secret").then_some(())
    });
    assert_eq!(sh(&second, "echo /tmp/* /dev/shm/*"), "/tmp/* /dev/shm/*");
    let (_, status) = run(&second, &shell(&format!("kill -9 {} 2>/dev/null", running.id + 1)));
    assert_ne!(status, ExitStatus::Exited(0));
    assert_eq!(
        sh(&first, &format!("test -d /proc/{} && echo alive", running.id)),
        "alive"
    );
}

#[test]
fn an_image_from_scratch_gets_its_directories() {
    let fixture = Fixture::new();
    let root = fixture.directory().join("scratch");
    fs::create_dir_all(root.join("app/bin")).unwrap();
    fs::write(root.join("app/file"), "from the image").unwrap();
    chown(root.join("app/file"), Some(1000), Some(1000)).unwrap();
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    let task = fixture.directory().join("task");
    fs::create_dir(&task).unwrap();
    fs::write(task.join("handler"), "code").unwrap();
    let mut spec = fixture.spec();
    spec.root = root.clone();
    spec.overlays.push((task, "/var/task/deep".to_owned()));
    let sandbox = fixture.spawner.create(&spec).unwrap();
    assert_eq!(
        sh(&sandbox, "echo /*"),
        "/app /bin /dev /etc /lib /lib64 /proc /tmp /usr /var"
    );
    assert_eq!(
        sh(&sandbox, "cat /app/file /var/task/deep/handler; stat -c %u /app/file"),
        "from the imagecode1000"
    );
    assert_eq!(
        sh(
            &sandbox,
            "touch /x /app/x /var/x 2>&1 | grep -c Read-only; touch /tmp/x; stat -c %a /tmp"
        ),
        "3\n1777"
    );
    // Nothing was written to the image.
    assert!(!root.join("proc").exists());
}

#[test]
fn a_hostile_image_cannot_lead_outside() {
    let fixture = Fixture::new();
    let outside = fixture.directory().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::remove_dir(fixture.root.join("opt")).unwrap();
    symlink(&outside, fixture.root.join("opt")).unwrap();
    let mut spec = fixture.spec();
    spec.overlays.push((fixture.root.join("etc"), "/opt".to_owned()));
    // The link leads to a path that the image does not have, and cannot be laid over.
    let error = fixture.spawner.create(&spec).unwrap_err();
    assert!(matches!(error, SandboxError::Setup { .. }), "{error}");
    fs::remove_file(fixture.root.join("opt")).unwrap();
    fs::remove_dir(fixture.root.join("tmp")).unwrap();
    fs::write(fixture.root.join("tmp"), "a file").unwrap();
    let error = fixture.spawner.create(&fixture.spec()).unwrap_err();
    assert!(
        matches!(&error, SandboxError::Setup { step, .. } if step.contains("/tmp")),
        "{error:?}"
    );
}

#[test]
fn users_and_directories_are_those_of_the_image() {
    let fixture = Fixture::new();
    fs::write(
        fixture.root.join("etc/passwd"),
        "root:x:0:0::/:/bin/sh\napp:x:1234:1235::/:/bin/sh\n",
    )
    .unwrap();
    fs::write(fixture.root.join("etc/group"), "app:x:1235:\nextra:x:77:app\n").unwrap();
    let sandbox = fixture.create();
    let identity = |user: &str, directory: &str| {
        let mut spec = shell("id -u; id -g; id -G; pwd");
        (spec.user, spec.working_directory) = (user.to_owned(), directory.to_owned());
        sandbox.spawn(&spec).map(|process| fixture::finish(process).0)
    };
    assert_eq!(identity("app", "/var").unwrap(), "1234\n1235\n1235 77\n/var\n");
    assert_eq!(identity("app:extra", "/tmp").unwrap(), "1234\n77\n77\n/tmp\n");
    assert_eq!(identity("42", "/").unwrap(), "42\n0\n0\n/\n");
    let unknown = identity("nobody-here", "/").unwrap_err();
    assert!(
        matches!(&unknown, SandboxError::UserUnknown { user, .. } if user == "nobody-here"),
        "{unknown}"
    );
    let large = identity("70000", "/").unwrap_err();
    assert!(matches!(large, SandboxError::UserUnknown { .. }), "{large}");
    let missing = identity("", "/not/there").unwrap_err();
    assert!(
        matches!(&missing, SandboxError::WorkingDirectory { directory, .. } if directory == "/not/there"),
        "{missing}"
    );
}

#[test]
fn programs_that_cannot_run_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    let program = |name: &str, content: &str, mode: u32| {
        let path = fixture.root.join("opt").join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    program("not-executable", "#!/bin/sh\n", 0o644);
    program("nonsense", "\u{1}\u{2}\u{3}", 0o755);
    program("no-interpreter", "#!/not/there\n", 0o755);
    program("script", "#!/bin/sh\necho $0 $GREETING\n", 0o755);
    let sandbox = fixture.create();
    let spawn = |program: &str| sandbox.spawn(&process(&[program]));
    for missing in ["/opt/none", "none", "/opt/no-interpreter", "/opt/script/x"] {
        let error = fixture::error(spawn(missing));
        assert!(
            matches!(&error, SandboxError::ProgramMissing { program } if program == missing),
            "{error:?}"
        );
    }
    for refused in ["/opt/not-executable", "/opt"] {
        let error = fixture::error(spawn(refused));
        assert!(
            matches!(&error, SandboxError::ProgramRefused { program, .. } if program == refused),
            "{error:?}"
        );
    }
    let error = fixture::error(spawn("/opt/nonsense"));
    assert!(matches!(error, SandboxError::ProgramUnsuitable { .. }), "{error:?}");
    let error = fixture::error(spawn(""));
    assert!(matches!(error, SandboxError::InvalidProcess { .. }), "{error:?}");
    let mut found = process(&["script"]);
    found.environment = vec![
        ("PATH".into(), "/var:/opt:/usr/bin".into()),
        ("GREETING".into(), "hello".into()),
    ];
    assert_eq!(run(&sandbox, &found).0, "/opt/script hello\n");
    // Nothing of the caller's environment is there.
    let environment = run(&sandbox, &process(&["env"])).0;
    assert_eq!(environment, "PATH=/usr/bin:/usr/sbin\n");
    // Of descriptors there are the three streams, and the one of the list itself.
    assert_eq!(run(&sandbox, &process(&["ls", "/proc/self/fd"])).0, "0\n1\n2\n3\n");
}

#[test]
fn what_listens_inside_can_be_dialled_also_while_it_is_frozen() {
    let fixture = Fixture::new();
    let (sandbox, other) = (fixture.create(), fixture.create());
    let (dialer, stranger) = (sandbox.dialer().unwrap(), other.dialer().unwrap());
    let refused = dialer.connect(7000).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let listen = "use IO::Socket::INET; $| = 1;
        my $l = IO::Socket::INET->new(Listen => 9, LocalAddr => 'sandbox.localdomain:7000') or die $@; print 1;
        while (my $s = $l->accept) { print $s scalar <$s> }";
    let listening = sandbox.spawn(&process(&["perl", "-e", listen])).unwrap();
    until("it listens", || rustix::io::read(&listening.output, &mut [0u8; 1]).ok());
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
    sandbox.freeze().unwrap();
    let mut stream = dialer.connect(7000).unwrap();
    stream.write_all(b"hello\n").unwrap();
    sandbox.thaw().unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "hello\n");
    assert!(stranger.connect(7000).is_err());
    assert_eq!(fs::read_link("/proc/thread-self/ns/net").unwrap(), own);
    sandbox.kill();
    assert!(dialer.connect(7000).is_err());
}

#[test]
fn an_images_own_hosts_are_covered_and_a_link_to_nowhere_stays() {
    let fixture = Fixture::new();
    let hosts = fixture.root.join("etc/hosts");
    fs::write(&hosts, "10.1.2.3 sandbox.localdomain").unwrap();
    let named = "getent hosts sandbox.localdomain inside localhost | cut -d' ' -f1 | sort -u";
    assert!(sh(&fixture.create(), named).contains("127.0.0.1"));
    assert!(!sh(&fixture.create(), named).contains("10.1.2.3"));
    fs::remove_file(&hosts).unwrap();
    symlink("/not/there", &hosts).unwrap();
    assert_eq!(
        sh(&fixture.create(), "cat /etc/hosts 2>/dev/null || echo nowhere"),
        "nowhere"
    );
    fs::remove_file(&hosts).unwrap();
    symlink("../opt/hosts", &hosts).unwrap();
    fs::write(fixture.root.join("opt/hosts"), "").unwrap();
    assert!(sh(&fixture.create(), named).contains("127.0.0.1"));
}
