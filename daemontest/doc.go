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
// # Replays
//
// What a real daemon has said once it can say again, where there is none. Record a
// conversation, in full, with a program that works:
//
//	pix --trace hello.trace --trace-bodies add-text hello.txt hello
//
// or with the Trace of daemon.Options, and its TraceBody -1. [Replay] is a daemon that answers
// as was recorded, and fails the test if the program does not ask as was recorded:
//
//	func TestHello(t *testing.T) {
//		trace, err := os.Open("testdata/hello.trace")
//		…
//		d := daemontest.Replay(t, trace, nil)
//		addHello("unix://" + d.Socket())
//	}
//
// A trace is text, a line for each message, so that it can be read, compared and written by
// hand. Look through it before it is handed on: it has all that was said.
//
// # Without time
//
// A connection in memory works in a bubble of testing/synctest, where delays take no time.
package daemontest
