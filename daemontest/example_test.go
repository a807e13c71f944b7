package daemontest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pix/daemon"
	"pix/daemontest"
)

// A test of a program that adds an object to the store.
func ExampleNew() {
	test := func(t testing.TB) {
		d := daemontest.New(t, nil)
		addHello(d.Socket())
		all, err := d.Memory().QueryAllValidPaths(t.Context())
		fmt.Println(all, err)
	}
	run(test)
	// Output: [/nix/store/m6wswa7yn6x5gi6gdq7x1fqlwmlhfja9-hello.txt] <nil>
}

// A test of the same program with a recorded daemon of Nix 2.34.
func ExampleReplay() {
	const trace = `
17:30:11.052417 1 ← greeting version=1.38 negotiated=1.38 features=[] store-dir=/nix/store nix=2.34.8 trust=trusted
17:30:11.052443 1 ← Last
17:30:11.052518 1 → AddToStore name=hello.txt method-and-algorithm=text:sha256 references=[] repair=false
17:30:11.052601 1 → body data="hello world"
17:30:11.053377 1 ← Error level=error message="cannot open '/nix/store/.links': No space left on device" traces=[]
17:30:11.053412 1 × closed by=client why="connection closed"
`
	test := func(t testing.TB) {
		d := daemontest.Replay(t, strings.NewReader(trace), nil)
		addHello(d.Socket())
	}
	run(test)
	// Output: cannot open '/nix/store/.links': No space left on device
}

// addHello is the program under test.
func addHello(socket string) {
	ctx := context.Background()
	c, err := daemon.Dial(ctx, socket, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	if _, err := c.AddTextToStore(ctx, "hello.txt", "hello world", nil); err != nil {
		fmt.Println(err)
	}
}

// run runs a test like go test.
func run(test func(testing.TB)) {
	t := &fakeT{ctx: context.Background()}
	test(t)
	t.end()
}

// A fakeT has the methods of testing.T that are needed here.
type fakeT struct {
	testing.TB
	ctx      context.Context
	cleanups []func()
}

func (t *fakeT) Context() context.Context { return t.ctx }
func (t *fakeT) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }
func (t *fakeT) Fatal(args ...any)        { panic(args[0]) }
func (t *fakeT) Error(args ...any)        { fmt.Println(args...) }
func (t *fakeT) Failed() bool             { return false }
func (t *fakeT) Helper()                  {}
func (t *fakeT) Errorf(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
}

// end ends the test.
func (t *fakeT) end() {
	for i := range t.cleanups {
		t.cleanups[len(t.cleanups)-1-i]()
	}
}
