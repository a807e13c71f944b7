package daemon_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"pix/activity"
	"pix/daemon"
	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

// operations are the methods of a Conn, by the names of the protocol. Each compares its result
// with the output of the daemon's own commands.
var operations = []struct {
	name string
	call func(m *matrix) error
}{
	{"IsValidPath", func(m *matrix) error {
		for path, want := range map[storepath.Path]bool{helloPath: true, m.out: true, absent: false} {
			_, _, err := m.d.Run("nix-store", "--check-validity", string(path))
			if got, askErr := m.c.IsValidPath(m.ctx, path); askErr != nil || got != want || got != (err == nil) {
				return fmt.Errorf("%s: %v, %v, %v", path, got, askErr, err)
			}
		}
		return nil
	}},
	{"QueryValidPaths", func(m *matrix) error {
		valid, err := m.c.QueryValidPaths(m.ctx, []storepath.Path{m.out, helloPath, absent, helloPath}, false)
		return wrongUnless(slices.Equal(valid, sorted(helloPath, m.out)), err)
	}},
	{"QueryValidPaths, substitute", func(m *matrix) error {
		valid, err := m.c.QueryValidPaths(m.ctx, []storepath.Path{helloPath, absent}, true)
		return wrongUnless(slices.Equal(valid, sorted(helloPath)), err)
	}},
	{"QueryAllValidPaths", func(m *matrix) error {
		all, err := m.c.QueryAllValidPaths(m.ctx)
		return same(all, m.pathsOf("nix-store", "--dump-db"), err)
	}},
	{"QueryPathInfo", func(m *matrix) error {
		info, err := m.c.QueryPathInfo(m.ctx, m.refers)
		if err != nil {
			return err
		}
		got := info.NARHash.WithNix32() + " " + strconv.FormatUint(info.NARSize, 10) + " " + string(info.References[0])
		return same(got, m.query("--hash", m.refers)+" "+m.query("--size", m.refers)+" "+m.query("--references", m.refers), nil)
	}},
	{"QueryReferrers", func(m *matrix) error {
		referrers, err := m.c.QueryReferrers(m.ctx, helloPath)
		return same(referrers, fields(m.query("--referrers", helloPath)), err)
	}},
	{"QueryValidDerivers", func(m *matrix) error {
		derivers, err := m.c.QueryValidDerivers(m.ctx, m.out)
		return same(derivers, fields(m.query("--deriver", m.out)), err)
	}},
	{"QueryDeriver", func(m *matrix) error {
		deriver, err := m.c.QueryDeriver(m.ctx, m.out)
		return same(deriver, m.query("--deriver", m.out), err)
	}},
	{"QueryPathFromHashPart", func(m *matrix) error {
		if _, err := m.c.QueryPathFromHashPart(m.ctx, absent.HashPart()); !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("for no path: %v", err)
		}
		path, err := m.c.QueryPathFromHashPart(m.ctx, helloPath.HashPart())
		return wrongUnless(path == helloPath, err)
	}},
	{"QueryDerivationOutputMap", func(m *matrix) error {
		outputs, err := m.c.QueryDerivationOutputMap(m.ctx, m.drv)
		return wrongUnless(len(outputs) == 1 && outputs["out"] == m.out, err)
	}},
	{"QueryDerivationOutputs", func(m *matrix) error {
		outputs, err := m.c.QueryDerivationOutputs(m.ctx, m.drv)
		return same(outputs, fields(m.query("--outputs", m.drv)), err)
	}},
	{"QueryDerivationOutputNames", func(m *matrix) error {
		names, err := m.c.QueryDerivationOutputNames(m.ctx, m.drv)
		return wrongUnless(slices.Equal(names, []string{"out"}), err)
	}},
	{"QuerySubstitutablePaths", func(m *matrix) error {
		paths, err := m.c.QuerySubstitutablePaths(m.ctx, []storepath.Path{helloPath, absent})
		return wrongUnless(len(paths) == 0, err)
	}},
	{"QuerySubstitutablePathInfo", func(m *matrix) error {
		if _, err := m.c.QuerySubstitutablePathInfo(m.ctx, absent); !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("for a path that no substituter has: %w", err)
		}
		return nil
	}},
	{"QuerySubstitutablePathInfos", func(m *matrix) error {
		infos, err := m.c.QuerySubstitutablePathInfos(m.ctx, map[storepath.Path]storepath.ContentAddress{helloPath: {}, absent: {}})
		return wrongUnless(len(infos) == 0, err)
	}},
	{"QueryMissing", func(m *matrix) error {
		drv := newDerivation("missing", "echo > $out")
		path := addDerivation(m.t, m.c, drv, nil)
		missing, err := m.c.QueryMissing(m.ctx, append(allOutputsOf(path), derivation.Opaque{Path: absent}))
		if err != nil {
			return err
		}
		return wrongUnless(slices.Equal(missing.WillBuild, sorted(path)) && slices.Equal(missing.Unknown, sorted(absent)) && len(missing.WillSubstitute) == 0, nil)
	}},
	{"EnsurePath", func(m *matrix) error {
		if err := m.c.EnsurePath(m.ctx, absent); !isDaemonError(err) {
			return fmt.Errorf("for a path that no substituter has: %w", err)
		}
		return m.c.EnsurePath(m.ctx, helloPath)
	}},
	{"AddTextToStore", func(m *matrix) error {
		path, err := m.c.AddTextToStore(m.ctx, "hello.txt", "hello world", nil)
		return wrongUnless(path == helloPath, err)
	}},
	{"AddToStore", func(m *matrix) error {
		contents := m.unique("flat")
		want := m.says("nix-store", "--add-fixed", "sha1", m.file(contents))
		info, err := m.c.AddToStore(m.ctx, "file", storepath.Flat, nixhash.SHA1, nil, strings.NewReader(contents), nil)
		if err != nil {
			return err
		}
		return same(info.Path, want, nil)
	}},
	{"AddToStore, archive", func(m *matrix) error {
		contents := m.unique("archive")
		want := m.says("nix-store", "--add", m.file(contents))
		info, err := m.c.AddToStore(m.ctx, "file", storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(fileNAR(contents)), nil)
		if err != nil {
			return err
		}
		return same(info.Path, want, m.hasContents(info.Path, contents))
	}},
	{"AddToStore, references", func(m *matrix) error {
		refs := []storepath.Path{helloPath}
		info, err := m.c.AddToStore(m.ctx, "refers-too", storepath.NAR, nixhash.SHA256, refs, bytes.NewReader(fileNAR(string(helloPath))), nil)
		if err != nil {
			return err
		}
		return same(info.References, fields(m.query("--references", info.Path)), nil)
	}},
	{"AddToStoreNar", func(m *matrix) error {
		contents := m.unique("nar")
		info, nar := m.object("added", contents)
		err := m.c.AddToStoreNAR(m.ctx, info, bytes.NewReader(nar), &store.AddOptions{NoSignatures: true})
		if err != nil {
			return err
		}
		return m.hasContents(info.Path, contents)
	}},
	{"AddMultipleToStore", func(m *matrix) error {
		contents := m.unique("multiple")
		err := m.c.AddMultipleToStore(m.ctx, 3, m.objects(3, contents), &store.AddOptions{NoSignatures: true})
		if err != nil {
			return err
		}
		info, _ := m.object("many-2", contents)
		return m.hasContents(info.Path, contents)
	}},
	{"NarFromPath", func(m *matrix) error {
		r, err := m.c.NARFromPath(m.ctx, helloPath)
		if err != nil {
			return err
		}
		defer r.Close()
		nar, err := io.ReadAll(r)
		return same(nixhash.Sum(nixhash.SHA256, nar).WithNix32(), m.query("--hash", helloPath), err)
	}},
	{"AddSignatures", func(m *matrix) error {
		signature := "key-" + strconv.Itoa(m.round) + ":" + strings.Repeat("A", 86) + "=="
		if err := m.c.AddSignatures(m.ctx, helloPath, []string{signature}); err != nil {
			return err
		}
		info, err := m.c.QueryPathInfo(m.ctx, helloPath)
		return wrongUnless(err == nil && slices.Contains(info.Signatures, signature), err)
	}},
	{"AddBuildLog", func(m *matrix) error {
		drv := newDerivation("logged"+strconv.Itoa(m.round), "echo > $out")
		path := addDerivation(m.t, m.c, drv, nil)
		if err := m.c.AddBuildLog(m.ctx, path, strings.NewReader("what was said")); err != nil {
			return err
		}
		return same(m.says("nix-store", "--read-log", string(path)), "what was said", nil)
	}},
	{"RegisterDrvOutput", func(m *matrix) error {
		return m.c.RegisterDrvOutput(m.ctx, store.KeyedRealisation{ID: m.output(), Realisation: store.Realisation{OutPath: helloPath}})
	}},
	{"QueryRealisation", func(m *matrix) error {
		unknown := m.output()
		unknown.Output = "other"
		if _, err := m.c.QueryRealisation(m.ctx, unknown); !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("for no output: %w", err)
		}
		r, err := m.c.QueryRealisation(m.ctx, m.output())
		return wrongUnless(err == nil && r.OutPath == helloPath, err)
	}},
	{"BuildPaths", func(m *matrix) error {
		drv := newDerivation(m.unique("built"), "echo built > $out")
		if err := m.c.BuildPaths(m.ctx, allOutputsOf(addDerivation(m.t, m.c, drv, nil)), store.BuildNormal); err != nil {
			return err
		}
		return m.hasContents(outPath(m.t, drv, "out"), "built\n")
	}},
	{"BuildPaths, check", func(m *matrix) error {
		return m.c.BuildPaths(m.ctx, allOutputsOf(m.drv), store.BuildCheck)
	}},
	{"BuildPaths, repair", func(m *matrix) error {
		return m.c.BuildPaths(m.ctx, allOutputsOf(m.drv), store.BuildRepair)
	}},
	{"BuildPathsWithResults", func(m *matrix) error { return m.buildSome() }},
	{"BuildDerivation", func(m *matrix) error {
		drv := newDerivation(m.unique("remote"), "echo remote > $out")
		if err := drv.FillOutputPaths(nil, nil); err != nil {
			return err
		}
		path, err := drv.Path()
		if err != nil {
			return err
		}
		result, err := m.c.BuildDerivation(m.ctx, path, drv, store.BuildNormal)
		if err != nil || !result.Status.Succeeded() {
			return fmt.Errorf("%+v, %w", result, err)
		}
		return m.hasContents(outPath(m.t, drv, "out"), "remote\n")
	}},
	{"AddTempRoot", func(m *matrix) error {
		if err := m.c.AddTempRoot(m.ctx, helloPath); err != nil {
			return err
		}
		return wrongUnless(m.hasRoot(func(r store.Root) bool { return r.Path == helloPath }), nil)
	}},
	{"AddTempRoots", func(m *matrix) error { // one by one if the daemon lacks the feature
		if err := m.c.AddTempRoots(m.ctx, []storepath.Path{helloPath}); err != nil {
			return err
		}
		return wrongUnless(m.hasRoot(func(r store.Root) bool { return r.Path == helloPath }), nil)
	}},
	{"QueryPathInfos", func(m *matrix) error {
		for info, err := range m.c.QueryPathInfos(m.ctx, []storepath.Path{helloPath}) {
			if err != nil || info.Path != helloPath {
				return wrongUnless(false, err)
			}
		}
		return nil
	}},
	{"AddIndirectRoot", func(m *matrix) error {
		link := "/tmp/link" + strconv.Itoa(m.round)
		if err := os.Symlink(string(m.refers), m.d.HostPath(link)); err != nil {
			return err
		}
		if err := m.c.AddIndirectRoot(m.ctx, link); err != nil {
			return err
		}
		return wrongUnless(strings.Contains(m.query("--roots", m.refers), link), nil)
	}},
	{"AddPermRoot", func(m *matrix) error {
		link, err := m.c.AddPermRoot(m.ctx, helloPath, "/tmp/./perm"+strconv.Itoa(m.round))
		if err != nil {
			return err
		}
		return wrongUnless(link == "/tmp/perm"+strconv.Itoa(m.round) && strings.Contains(m.query("--roots", helloPath), link), nil)
	}},
	{"FindRoots", func(m *matrix) error {
		return wrongUnless(m.hasRoot(func(r store.Root) bool { return r.Path == m.refers && strings.HasPrefix(r.Link, "/tmp/link") }), nil)
	}},
	{"CollectGarbage, live", func(m *matrix) error {
		result, err := m.c.CollectGarbage(m.ctx, store.GCOptions{Action: store.GCReturnLive, MaxFreed: math.MaxUint64})
		if err != nil {
			return err
		}
		return same(result.Paths, m.pathsOf("nix-store", "--gc", "--print-live"), nil)
	}},
	{"CollectGarbage, specific", func(m *matrix) error {
		path := m.says("nix-store", "--add", m.file(m.unique("garbage")))
		garbage, err := storepath.DefaultDir.Parse(path)
		if err != nil {
			return err
		}
		collect := func() (*store.GCResult, error) {
			return m.c.CollectGarbage(m.ctx, store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{garbage}, MaxFreed: math.MaxUint64})
		}
		result, err := collect()
		for range 500 { // until the worker of nix-store, which has a temporary root, has exited
			if err == nil || !strings.Contains(err.Error(), "alive") {
				break
			}
			time.Sleep(10 * time.Millisecond)
			result, err = collect()
		}
		if err != nil {
			return err
		}
		_, statErr := os.Lstat(m.d.HostPath(path))
		return wrongUnless(slices.Equal(result.Paths, []string{path}) && result.BytesFreed > 0 && os.IsNotExist(statErr), nil)
	}},
	{"CollectGarbage, alive", func(m *matrix) error {
		_, err := m.c.CollectGarbage(m.ctx, store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{helloPath}, MaxFreed: math.MaxUint64})
		if !isDaemonError(err) {
			return fmt.Errorf("a path that is in use: %w", err)
		}
		return nil
	}},
	{"CollectGarbage, referrers", func(m *matrix) error {
		_, err := m.c.CollectGarbage(m.ctx, store.GCOptions{Action: store.GCReturnDead, Paths: []storepath.Path{helloPath}, DeleteReferrers: true})
		return err
	}},
	{"SyncWithGC", func(m *matrix) error { return m.c.SyncWithGC(m.ctx) }},
	{"OptimiseStore", func(m *matrix) error { return m.c.OptimiseStore(m.ctx) }},
	{"VerifyStore", func(m *matrix) error {
		remain, err := m.c.VerifyStore(m.ctx, true, false)
		_, _, verifyErr := m.d.Run("nix-store", "--verify", "--check-contents")
		return wrongUnless(remain == (verifyErr != nil) && !remain, err)
	}},
	{"SetOptions", func(m *matrix) error {
		settings := daemon.DefaultSettings()
		settings.Verbosity = activity.LevelDebug
		c, err := daemon.Dial(m.ctx, m.d.Socket, &daemon.Options{Settings: settings})
		if err != nil {
			return err
		}
		defer c.Close()
		heard := 0
		ctx := activity.WithHandler(m.ctx, activity.HandlerFunc(func(activity.Event) { heard++ }))
		for range 2 {
			if _, err := c.QueryMissing(ctx, allOutputsOf(m.drv)); err != nil {
				return err
			}
		}
		return wrongUnless(heard > 0, nil)
	}},
	{"SubmitOutput", func(m *matrix) error {
		return m.c.SubmitOutput(m.ctx, derivation.Opaque{Path: helloPath}, "out")
	}},
	{"AddToStoreScanning", func(m *matrix) error {
		_, err := m.c.AddToStoreScanning(m.ctx, "x", storepath.Flat, nixhash.SHA256, strings.NewReader("x"))
		return err
	}},
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
