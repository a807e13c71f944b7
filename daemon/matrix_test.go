package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pix/activity"
	"pix/daemon"
	"pix/derivation"
	"pix/internal/realnix"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
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

// buildSome builds one output that can be built, one that cannot, and one that exists.
func (m *matrix) buildSome() error {
	good := newDerivation(m.unique("good"), "echo good > $out; echo dev > $dev", "out", "dev")
	bad := newDerivation(m.unique("bad"), "exit 3")
	paths := slices.Concat(
		allOutputsOf(addDerivation(m.t, m.c, good, nil)), allOutputsOf(addDerivation(m.t, m.c, bad, nil)),
		allOutputsOf(m.drv), []derivation.DerivedPath{derivation.Opaque{Path: helloPath}},
	)
	var lines []string
	ctx := activity.WithHandler(m.ctx, activity.HandlerFunc(func(e activity.Event) {
		if line, ok := activity.Line(e); ok {
			lines = append(lines, line)
		}
	}))
	results, err := m.c.BuildPathsWithResults(ctx, paths, store.BuildNormal)
	if err != nil {
		return err
	}
	if len(results) == 3 && results[0].Path.String() != paths[0].String() {
		results = slices.Insert(results, 0, store.KeyedBuildResult{Path: paths[0], BuildResult: store.BuildResult{Status: store.MiscFailure}}) // 2.34 returns no result for a path that it gave up
	}
	for i, r := range results {
		if r.Path.String() != paths[i].String() || len(results) != len(paths) {
			return fmt.Errorf("result %d of %d is for %s", i, len(results), r.Path)
		}
	}
	if r := results[1]; r.Status.Succeeded() || r.Message == "" {
		return fmt.Errorf("a build that fails: %+v", r.BuildResult)
	}
	if r := results[2]; r.Status != store.AlreadyValid || r.Outputs["out"].OutPath != m.out {
		return fmt.Errorf("an existing output: %+v", r.BuildResult)
	}
	if r := results[3]; !r.Status.Succeeded() {
		return fmt.Errorf("an existing path: %+v", r.BuildResult)
	}
	// The order decides whether the first path was built before the other one failed.
	if r := results[0]; r.Status.Succeeded() && (len(r.Outputs) != 2 || r.Outputs["dev"].OutPath != outPath(m.t, good, "dev")) {
		return fmt.Errorf("a build that succeeds: %+v", r.BuildResult)
	}
	results, err = m.c.BuildPathsWithResults(ctx, paths[:1], store.BuildNormal)
	if err != nil || len(results) != 1 || !results[0].Status.Succeeded() || len(results[0].Outputs) != 2 {
		return fmt.Errorf("alone: %+v, %w", results, err)
	}
	return m.hasContents(outPath(m.t, good, "out"), "good\n")
}

// unique returns a name that is used only once.
func (m *matrix) unique(s string) string { return s + "-" + strconv.Itoa(m.round) }

// file creates a file with the given contents in the daemon's root, and returns its name there.
func (m *matrix) file(contents string) string {
	if err := os.WriteFile(m.d.HostPath("/tmp/file"), []byte(contents), 0o644); err != nil {
		m.t.Fatal(err)
	}
	return "/tmp/file"
}

func (m *matrix) query(what string, path storepath.Path) string {
	m.t.Helper()
	return m.says("nix-store", "--query", what, string(path))
}

// hasContents returns an error unless the path is a file with these contents, and valid
// according to Nix.
func (m *matrix) hasContents(path storepath.Path, contents string) error {
	m.t.Helper()
	b, err := os.ReadFile(m.d.HostPath(string(path)))
	if err == nil && string(b) != contents {
		err = fmt.Errorf("'%s' has the contents %q", path, b)
	}
	m.says("nix-store", "--verify-path", string(path))
	return err
}

func (m *matrix) hasRoot(is func(store.Root) bool) bool {
	roots, err := m.c.FindRoots(m.ctx)
	if err != nil {
		m.t.Error(err)
	}
	return slices.ContainsFunc(roots, is)
}

// pathsOf returns the store paths that are whole lines of the output of a command, sorted.
func (m *matrix) pathsOf(args ...string) []string {
	m.t.Helper()
	lines := fields(m.says(args...))
	lines = slices.DeleteFunc(lines, func(s string) bool { return !strings.HasPrefix(s, "/nix/store/") })
	slices.Sort(lines)
	return slices.Compact(lines)
}

func (m *matrix) output() store.DrvOutput {
	return store.DrvOutput{Hash: nixhash.Sum(nixhash.SHA256, []byte("drv")), Path: m.drv, Output: "out"}
}

// object returns a content-addressed file and its archive.
func (m *matrix) object(name, contents string) (*store.PathInfo, []byte) {
	m.t.Helper()
	info, nar, err := object(name, contents)
	if err != nil {
		m.t.Fatal(err)
	}
	return info, nar
}

func object(name, contents string) (*store.PathInfo, []byte, error) {
	nar := fileNAR(contents)
	hash := nixhash.Sum(nixhash.SHA256, nar)
	path, err := storepath.DefaultDir.SourcePath(name, hash, storepath.References{})
	if err != nil {
		return nil, nil, err
	}
	ca, err := storepath.NewContentAddress(storepath.NAR, hash)
	return &store.PathInfo{Path: path, NARHash: hash, NARSize: uint64(len(nar)), CA: ca}, nar, err
}

// objects yields n files with the same contents and different names.
func (m *matrix) objects(n int, contents string) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		for i := range n {
			info, nar := m.object("many-"+strconv.Itoa(i), contents)
			if !yield(store.Import{Info: info, NAR: bytes.NewReader(nar)}, nil) {
				return
			}
		}
	}
}

// fileNAR returns the archive of a regular file.
func fileNAR(contents string) (nar []byte) {
	for _, s := range []string{"nix-archive-1", "(", "type", "regular", "contents", contents, ")"} {
		nar = wire.AppendString(nar, s)
	}
	return nar
}

func fields(s string) []string { return strings.Fields(s) }

func sorted(paths ...storepath.Path) []storepath.Path {
	slices.Sort(paths)
	return paths
}
