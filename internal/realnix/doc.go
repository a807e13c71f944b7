// Package realnix runs real Nix daemons for tests, so that pix is compared with the behaviour of Nix, and not with our
// reading of it.
//
// The daemons come from four Debian releases, which scripts/nix-daemons installs side by side:
//
//	bullseye   Nix 2.3.7    worker protocol 1.21
//	bookworm   Nix 2.8.0    worker protocol 1.34
//	trixie     Nix 2.26.3   worker protocol 1.38
//	sid        Nix 2.34.x   worker protocol 1.38
//
// A test starts daemons of its own, each with an empty store:
//
//	func TestAddText(t *testing.T) {
//		realnix.Each(t, func(t *testing.T, s realnix.Suite) {
//			d := realnix.Start(t, s, nil)
//			conn, err := net.Dial("unix", d.Socket)
//			…
//			want := d.MustRun(t, "nix-store", "--query", "--hash", path)
//		})
//	}
//
// # How it works
//
// Each suite is a directory with a small Debian system. A daemon runs in its own mount and process namespaces. Their root
// is that directory, read-only, and their /nix is a private directory. So the daemon serves /nix/store, as every daemon
// does, but any number of them can run at once, and none changes the machine.
// A process that does nothing else holds the namespaces. It lives as long as the [Daemon], while the nix-daemon inside can
// be killed and restarted. When the holder dies, the kernel kills everything inside. The holder dies with the test, so a
// test leaves no process behind, however it ends.
//
// # Without Nix
//
// The environment variable PIX_NIX_DAEMONS names the directory with the suites. Without it tests are skipped, with a
// message that says how to install them. If PIX_TEST_REQUIRE, a comma-separated list, contains "daemons", as in CI, a
// missing bookworm or trixie is a failure. sid and bullseye are still skipped, because the packages of the first change and
// the second may disappear from the mirrors.
// Root is not needed if the system allows users to create namespaces. Without root there are no build users, and no second
// user who could connect.
package realnix
