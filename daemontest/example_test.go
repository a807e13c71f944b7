package daemontest_test

import (
	"context"
	"fmt"
	"testing"

	"pix/daemon"
	"pix/daemontest"
)

// A test of a program that adds something to the store.
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

// addHello is the program.
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

// run runs a test as go test would.
func run(test func(testing.TB)) {
	t := &fakeT{ctx: context.Background()}
	test(t)
	for i := range t.cleanups {
		t.cleanups[len(t.cleanups)-1-i]()
	}
}

// A fakeT is the little of a testing.T that is needed here.
type fakeT struct {
	testing.TB
	ctx      context.Context
	cleanups []func()
}

func (t *fakeT) Context() context.Context { return t.ctx }
func (t *fakeT) Cleanup(f func())         { t.cleanups = append(t.cleanups, f) }
func (t *fakeT) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }
func (t *fakeT) Helper()                  {}
