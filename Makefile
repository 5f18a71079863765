# Short names for the project's tasks; what is more than a line is in xtask.
# Run as root: tests and demo mount file systems, and keep files of other owners.

.PHONY: test demo bench fuzz lint root

test: root lint
	cargo xtask setup
	cargo xtask corpus
	cargo test --workspace --no-fail-fast
	cargo xtask fuzz --seconds 10

demo: root
	cargo xtask demo

bench: root
	cargo xtask bench push
	cargo xtask bench memory
	cargo xtask bench start
	cargo xtask bench functions
	cargo xtask bench zone
	cargo xtask bench gc
	cargo xtask bench packing
	cargo xtask bench provisioned
	cargo xtask bench asynchronous
	cargo xtask bench response-cache
	cargo xtask bench micro-batch

fuzz:
	cargo xtask fuzz --seconds 60

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

root:
	@test "$$(id -u)" = 0 || { echo "error: this needs root (mount, chroot, files of other owners): sudo --preserve-env=HOME,PATH make ..." >&2; exit 1; }
