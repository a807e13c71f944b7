// Package daemontest runs a Nix daemon in process, for tests. No Nix is needed, and it
// starts in no time:
//
//	func TestDeploy(t *testing.T) {
//		d := daemontest.New(t, nil)
//		deploy("unix://" + d.Socket()) // the program under test
//		if valid, _ := d.Store.IsValidPath(ctx, want); !valid {
//			t.Error("nothing was added")
//		}
//	}
//
// [New] makes a store in memory (package memstore) and serves it (package server), in any
// version of the protocol from 1.18 to 1.38, on connections in memory ([Daemon.Dial]) and on
// a Unix socket ([Daemon.Socket]). Everything ends with the test.
//
// # Faults
//
// Real daemons fail, and seldom when one looks. [Faults] make this one do so at a given
// moment: it is slow, it floods its client with logs, an operation fails, the connection
// breaks after a given byte, a number in a reply is not what it should be. All but the first
// two are the same each time, so a test can walk through a whole conversation, byte by byte:
//
//	for n := range total {
//		d := daemontest.New(t, &daemontest.Options{Faults: daemontest.Faults{CutAfter: n + 1}})
//		…
//	}
//
// A connection in memory works in a bubble of testing/synctest, where delays take no time.
package daemontest
