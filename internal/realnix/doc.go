// Package realnix runs real Nix daemons for tests, so that pix is compared with what Nix does and not with what we
// believe it does.
//
// The daemons are those of four Debian releases, installed side by side by scripts/nix-daemons:
//
//	bullseye   Nix 2.3.7    worker protocol 1.21
//	bookworm   Nix 2.8.0    worker protocol 1.34
//	trixie     Nix 2.26.3   worker protocol 1.38
//	sid        Nix 2.34.x   worker protocol 1.38
//
// A test says what it wants of each, and gets a daemon of its own, with an empty store:
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
// Each suite is a directory with a small Debian in it. A daemon runs in mount and process namespaces of its own, whose
// root is that directory, read-only, and whose /nix is a private directory. So the daemon believes that it serves
// /nix/store, as all do, and yet any number of them run at once, and none touches the machine.
// The namespaces are held by a process that does nothing else; it lives as long as the [Daemon], while the nix-daemon
// inside may be killed and started again. When the holder dies, the kernel kills everything inside, and it dies with the
// test: no test leaves a process behind, however it ends.
//
// # Where there is no Nix
//
// The environment says where the suites are, PIX_NIX_DAEMONS=DIR. Without it tests skip, and say how to get them. Where
// PIX_TEST_REQUIRE, a comma-separated list, contains "daemons", as in CI, a missing bookworm or trixie is a failure; sid and
// bullseye still skip, because the first moves and the second may leave the mirrors.
// Root is not needed, if the system lets users make namespaces; without root there are no build users, and no second user
// to connect as.
package realnix
