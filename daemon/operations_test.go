package daemon_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
	{"QueryActiveBuilds", func(m *matrix) error {
		builds, err := m.c.QueryActiveBuilds(m.ctx)
		return wrongUnless(len(builds) == 0, err)
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
		// Until the worker of nix-store, which has a temporary root, has exited.
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if err == nil || !strings.Contains(err.Error(), "alive") {
				break
			}
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
