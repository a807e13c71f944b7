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

// TestRealMatrix calls every operation twice on one connection to each daemon, with an error in
// between, and compares the reply with the output of the commands of the same version. With
// PIX_MATRIX=FILE it writes the table to that file.
func TestRealMatrix(t *testing.T) {
	var columns []string
	cells := make(map[string][]string)
	realnix.Each(t, func(t *testing.T, s realnix.Suite) {
		m := newMatrix(t, s)
		columns = append(columns, fmt.Sprintf("%s (%s)", s.Version, m.c.Version()))
		for _, op := range operations {
			cells[op.name] = append(cells[op.name], m.cell(t, op.name, op.call))
		}
		if err := m.c.Err(); err != nil {
			t.Errorf("the connection is broken: %v", err)
		}
	})
	if file := os.Getenv("PIX_MATRIX"); file != "" && len(columns) > 0 {
		if err := os.WriteFile(file, []byte(table(columns, cells)), 0o666); err != nil {
			t.Error(err)
		}
	}
}

// The table has every operation of the protocol.
func TestMatrixIsComplete(t *testing.T) {
	named := make(map[string]bool)
	for _, op := range operations {
		name, _, _ := strings.Cut(op.name, ",")
		named[name] = true
	}
	for _, row := range protocol.Operations() {
		if !named[row.Name] {
			t.Errorf("%s is not tested", row.Name)
		}
	}
}

// A matrix is a store with a few objects, and a connection to its daemon.
type matrix struct {
	t     *testing.T
	d     *realnix.Daemon
	c     *daemon.Conn
	ctx   context.Context
	round int // number of previous calls of the operation

	drv, out storepath.Path // a built derivation and its output
	refers   storepath.Path // a text that refers to hello.txt
}

func newMatrix(t *testing.T, s realnix.Suite) *matrix {
	config := map[string]string{}
	if !strings.HasPrefix(s.Version, "2.3.") {
		config["experimental-features"] = "nix-command ca-derivations" // for realisations
	}
	d := realnix.Start(t, s, &realnix.Options{Config: config})
	m := &matrix{t: t, d: d, c: dialReal(t, d), ctx: t.Context()}
	if _, err := m.c.AddTextToStore(m.ctx, "hello.txt", "hello world", nil); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.refers, err = m.c.AddTextToStore(m.ctx, "refers", "see "+string(helloPath), []storepath.Path{helloPath}); err != nil {
		t.Fatal(err)
	}
	drv := newDerivation("matrix", "echo matrix > $out")
	m.drv = addDerivation(t, m.c, drv, nil)
	m.out = outPath(t, drv, "out")
	if err := m.c.BuildPaths(m.ctx, allOutputsOf(m.drv), store.BuildNormal); err != nil {
		t.Fatal(err)
	}
	return m
}

// says returns the output of a command of the daemon's own Nix, without the line feed.
func (m *matrix) says(args ...string) string {
	m.t.Helper()
	return strings.TrimSpace(m.d.MustRun(m.t, args...))
}

func wrongUnless(right bool, err error) error {
	if err == nil && !right {
		return errors.New("wrong answer")
	}
	return err
}

// same returns an error unless got equals the output of the daemon's own command.
func same(got, want any, err error) error {
	if g, w := fmt.Sprint(got), fmt.Sprint(want); err == nil && g != w {
		return fmt.Errorf("%s, but Nix prints %s", g, w)
	}
	return err
}

func allOutputsOf(drv storepath.Path) []derivation.DerivedPath {
	return []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: drv}, Outputs: derivation.AllOutputs()}}
}

// cell calls an operation twice, with a failing one in between, and returns the entry for the
// table.
func (m *matrix) cell(t *testing.T, name string, call func(*matrix) error) string {
	t.Helper()
	m.round = 1
	first := call(m)
	var said *activity.Error
	if _, err := m.c.AddTextToStore(m.ctx, "dangling", "x", []storepath.Path{absent}); !errors.As(err, &said) {
		t.Errorf("%s: an operation that must fail: %v", name, err)
	}
	m.round = 2
	second := call(m)
	var unsupported *protocol.UnsupportedError
	switch {
	case first == nil && second == nil:
		return "yes"
	case errors.As(first, &unsupported) && errors.As(second, &unsupported):
		if unsupported.Since == 0 || unsupported.Since == protocol.MaxVersion && unsupported.Feature != 0 {
			return "needs a feature"
		}
		return "needs " + unsupported.Since.String()
	}
	t.Errorf("%s: %v, and again: %v", name, first, second)
	return "FAILS"
}

func table(columns []string, cells map[string][]string) string {
	var b strings.Builder
	row := func(name string, cells []string) {
		fmt.Fprintf(&b, "| %-36s", name)
		for _, c := range cells {
			fmt.Fprintf(&b, "| %-16s", c)
		}
		b.WriteString("|\n")
	}
	row("operation", columns)
	for _, op := range operations {
		row(op.name, cells[op.name])
	}
	return b.String()
}
