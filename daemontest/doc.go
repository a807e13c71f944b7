// Package daemontest runs a Nix daemon in the test process. It does not need Nix, and starts
// quickly:
//
//	func TestDeploy(t *testing.T) {
//		d := daemontest.New(t, nil)
//		deploy("unix://" + d.Socket()) // the program under test
//		if valid, _ := d.Store.IsValidPath(ctx, want); !valid {
//			t.Error("nothing was added")
//		}
//	}
//
// [New] creates a store in memory (package memstore) and serves it (package server), in any
// version of the protocol from 1.18 to 1.38, on connections in memory ([Daemon.Dial]) and on a
// Unix socket ([Daemon.Socket]). Everything ends with the test.
//
// # Faults
//
// [Faults] make the daemon fail at a given moment: it is slow, it floods its client with log
// lines, an operation fails, the connection breaks after a given byte, a number in a reply is
// wrong. Except for the first two, faults are reproducible, so a test can try every byte of a
// connection:
//
//	for n := range total {
//		d := daemontest.New(t, &daemontest.Options{Faults: daemontest.Faults{CutAfter: n + 1}})
//		…
//	}
//
// # Replays
//
// A test can replay the replies of a real daemon on a machine without Nix. Record a full trace
// with a working program:
//
//	pix --trace hello.trace --trace-bodies add-text hello.txt hello
//
// or any program with a monitor in front of the daemon, and --bodies if it downloads:
//
//	pix monitor --record hello.trace -- nix store add hello.txt
//
// or with the Trace of daemon.Options and its TraceBody -1. [Replay] is a daemon that sends the
// recorded replies, and fails the test if the program does not send the recorded requests:
//
//	func TestHello(t *testing.T) {
//		trace, err := os.Open("testdata/hello.trace")
//		…
//		d := daemontest.Replay(t, trace, nil)
//		addHello("unix://" + d.Socket())
//	}
//
// A trace is a text with a line for each message, so that it can be read, compared and edited.
// Check it for secrets before you publish it: it contains all transferred data.
//
// # Without time
//
// A connection in memory works in a bubble of testing/synctest, where delays take no time.
package daemontest
