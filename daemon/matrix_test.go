package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"pix/activity"
	"pix/daemon"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// operations are what a Conn can do. Each works on a store that has hello.txt and, at drv,
// a derivation.
var operations = []struct {
	name string
	call func(ctx context.Context, c *daemon.Conn, drv storepath.Path) error
}{
	{"IsValidPath", func(ctx context.Context, c *daemon.Conn, drv storepath.Path) error {
		valid, err := c.IsValidPath(ctx, helloPath)
		return wrongUnless(valid, err)
	}},
	{"QueryValidPaths", func(ctx context.Context, c *daemon.Conn, drv storepath.Path) error {
		valid, err := c.QueryValidPaths(ctx, []storepath.Path{helloPath, absent}, false)
		return wrongUnless(len(valid) == 1, err)
	}},
	{"QueryValidPaths, substitute", func(ctx context.Context, c *daemon.Conn, drv storepath.Path) error {
		valid, err := c.QueryValidPaths(ctx, []storepath.Path{helloPath, absent}, true)
		return wrongUnless(len(valid) == 1, err)
	}},
	{"QueryPathInfo", func(ctx context.Context, c *daemon.Conn, drv storepath.Path) error {
		info, err := c.QueryPathInfo(ctx, helloPath)
		return wrongUnless(err == nil && info.NARSize == 128, err)
	}},
	{"QueryDerivationOutputMap", func(ctx context.Context, c *daemon.Conn, drv storepath.Path) error {
		outputs, err := c.QueryDerivationOutputMap(ctx, drv)
		return wrongUnless(len(outputs) == 1 && outputs["out"] != "", err)
	}},
	{"AddTextToStore", func(ctx context.Context, c *daemon.Conn, drv storepath.Path) error {
		path, err := c.AddTextToStore(ctx, "hello.txt", "hello world", nil)
		return wrongUnless(path == helloPath, err)
	}},
	{"BuildPaths", func(ctx context.Context, c *daemon.Conn, drv storepath.Path) error {
		return c.BuildPaths(ctx, allOutputsOf(drv), store.BuildNormal)
	}},
	{"BuildPaths, check", func(ctx context.Context, c *daemon.Conn, drv storepath.Path) error {
		return c.BuildPaths(ctx, allOutputsOf(drv), store.BuildCheck)
	}},
	{"BuildPaths, repair", func(ctx context.Context, c *daemon.Conn, drv storepath.Path) error {
		return c.BuildPaths(ctx, allOutputsOf(drv), store.BuildRepair)
	}},
}

func wrongUnless(right bool, err error) error {
	if err == nil && !right {
		return errors.New("wrong answer")
	}
	return err
}

func allOutputsOf(drv storepath.Path) []derivation.DerivedPath {
	return []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}}
}

// TestRealMatrix does every operation twice on one connection with every daemon, with an
// error between. With PIX_MATRIX=FILE it writes the table to that file.
func TestRealMatrix(t *testing.T) {
	var columns []string
	cells := make(map[string][]string)
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		d := realnix.Start(t, s, nil)
		c := dialReal(t, d)
		columns = append(columns, fmt.Sprintf("%s (%s)", s.Version, c.Version()))
		ctx := t.Context()
		if _, err := c.AddTextToStore(ctx, "hello.txt", "hello world", nil); err != nil {
			t.Fatal(err)
		}
		drv := addDerivation(t, c, newDerivation("matrix", "echo matrix > $out"), nil)
		if err := c.BuildPaths(ctx, allOutputsOf(drv), store.BuildNormal); err != nil {
			t.Fatal(err)
		}
		for _, op := range operations {
			cells[op.name] = append(cells[op.name], cell(t, op.name, func() error { return op.call(ctx, c, drv) }, func() error {
				_, err := c.AddTextToStore(ctx, "dangling", "x", []storepath.Path{absent})
				return err
			}))
		}
		if err := c.Err(); err != nil {
			t.Errorf("the connection is broken: %v", err)
		}
	})
	if file := os.Getenv("PIX_MATRIX"); file != "" && len(columns) > 0 {
		if err := os.WriteFile(file, []byte(table(columns, cells)), 0o666); err != nil {
			t.Error(err)
		}
	}
}

// cell does an operation twice, with one that fails between, and says what came of it.
func cell(t *testing.T, name string, call, fail func() error) string {
	t.Helper()
	first := call()
	var said *activity.Error
	if err := fail(); !errors.As(err, &said) {
		t.Errorf("%s: an operation that must fail: %v", name, err)
	}
	second := call()
	var unsupported *protocol.UnsupportedError
	switch {
	case first == nil && second == nil:
		return "yes"
	case errors.As(first, &unsupported) && errors.As(second, &unsupported):
		return "needs " + unsupported.Since.String()
	}
	t.Errorf("%s: %v, and again: %v", name, first, second)
	return "FAILS"
}

func table(columns []string, cells map[string][]string) string {
	var b strings.Builder
	row := func(name string, cells []string) {
		fmt.Fprintf(&b, "| %-28s", name)
		for _, c := range cells {
			fmt.Fprintf(&b, "| %-14s", c)
		}
		b.WriteString("|\n")
	}
	row("operation", columns)
	for _, op := range operations {
		row(op.name, cells[op.name])
	}
	return b.String()
}
