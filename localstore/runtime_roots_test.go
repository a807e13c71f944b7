package localstore

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pix/activity"
	"pix/store"
	"pix/storepath"
)

// writeBelow creates a file with this text, or a symlink with this target, below a directory.
func writeBelow(t *testing.T, dir, name, text string, symlink bool) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	err := error(nil)
	if symlink {
		err = os.Symlink(text, name)
	} else {
		err = os.WriteFile(name, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestFindRuntimeRoots(t *testing.T) {
	p, q := somePath(t, 1), somePath(t, 2)
	file, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()

	proc := t.TempDir()
	write := func(name, text string) { t.Helper(); writeBelow(t, proc, name, text, false) }
	link := func(name, target string) { t.Helper(); writeBelow(t, proc, name, target, true) }
	link("12/exe", string(p)+"/bin/x (deleted)")
	link("12/cwd", "/home")
	link("12/fd/0", "pipe:[1]")
	link("12/fd/1", string(somePath(t, 13))+" (deleted)") // it may have been replaced
	link("12/fd/2", string(q)+"/log")
	write("12/maps", "7f0-7f1 r-xp 00000000 00:1b 17   "+string(somePath(t, 3))+"/lib/x.so\n"+
		"7f0-7f1 r-xp 00000000 00:1b 17   "+string(somePath(t, 4))+"/lib/x.so (deleted)\n"+
		"7f0-7f1 r-xp 00000000 00:1b 17   "+string(somePath(t, 14))+"/two words.so\n"+
		"7f0-7f1 r-xp 00000000 00:1b 17   /home/x"+string(somePath(t, 15))+"/x.so\n"+
		"7f0-7f1 r-xp 00000000 00:00 0 \n")
	write("12/environ", "A=x:"+string(somePath(t, 5))+"/bin:"+string(somePath(t, 6))+"\x00B=/nix/store/short\x00C=/nix/store/"+string(somePath(t, 8)))
	link("13/exe", string(somePath(t, 7))) // the process has ended, so no other file exists
	write("self/environ", "A="+string(somePath(t, 9)))
	write("sys/kernel/modprobe", string(somePath(t, 10))+"/bin/modprobe\n")

	f := runtimeRoots{rootSearch: &rootSearch{strict: true}, dir: storepath.DefaultDir, found: make(map[store.Root]bool)}
	if err := f.processes(t.Context(), proc); err != nil {
		t.Fatal(err)
	}
	f.lsofLines([]byte("p1\nn/lib/x\nn" + string(somePath(t, 11)) + "/x\nn" + string(somePath(t, 12))))
	want := map[store.Root]bool{
		{Link: proc + "/12/exe", Path: p}:                            true,
		{Link: proc + "/12/fd/2", Path: q}:                           true,
		{Link: proc + "/12/fd/1", Path: somePath(t, 13)}:             true,
		{Link: proc + "/12/maps", Path: somePath(t, 3)}:              true,
		{Link: proc + "/12/maps", Path: somePath(t, 4)}:              true,
		{Link: proc + "/12/maps", Path: somePath(t, 14)}:             true,
		{Link: proc + "/12/environ", Path: somePath(t, 5)}:           true,
		{Link: proc + "/12/environ", Path: somePath(t, 6)}:           true,
		{Link: proc + "/12/environ", Path: somePath(t, 8)}:           true,
		{Link: proc + "/13/exe", Path: somePath(t, 7)}:               true,
		{Link: proc + "/sys/kernel/modprobe", Path: somePath(t, 10)}: true,
		{Link: "{lsof}", Path: somePath(t, 11)}:                      true,
		{Link: "{lsof}", Path: somePath(t, 12)}:                      true,
	}
	for r := range f.found {
		if !want[r] {
			t.Errorf("found %v", r)
		}
		delete(want, r)
	}
	for r := range want {
		t.Errorf("did not find %v", r)
	}
}

// An error in /proc may hide any root. A collector then deletes nothing, and a list of roots logs the error.
func TestUnreadableRuntimeRoots(t *testing.T) {
	for name, spoil := range map[string]func(proc string) error{
		"no processes":   func(proc string) error { return os.Remove(proc + "/self") },
		"nothing at all": os.RemoveAll,
		"no directory":   func(proc string) error { os.RemoveAll(proc); return os.WriteFile(proc, nil, 0o600) },
		"exe":            func(proc string) error { return os.WriteFile(proc+"/12/exe", nil, 0o600) },
		"cwd":            func(proc string) error { return os.Mkdir(proc+"/12/cwd", 0o755) },
		"fd":             func(proc string) error { return os.WriteFile(proc+"/12/fd", nil, 0o600) },
		"maps":           func(proc string) error { return os.Mkdir(proc+"/12/maps", 0o755) },
		"environ":        func(proc string) error { return os.Symlink("environ", proc+"/12/environ") },
		"modprobe":       func(proc string) error { return os.MkdirAll(proc+"/sys/kernel/modprobe", 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS != "linux" && name[0] == 'n' {
				t.Skip("no /proc on ", runtime.GOOS)
			}
			proc := filepath.Join(t.TempDir(), "proc")
			for _, dir := range []string{"/self", "/12"} {
				if err := os.MkdirAll(proc+dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			find := func(strict bool) (said []string, err error) {
				ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
					said = append(said, e.(activity.Log).Text)
				}))
				f := runtimeRoots{rootSearch: &rootSearch{strict: strict}, dir: storepath.DefaultDir, found: make(map[store.Root]bool)}
				return said, f.processes(ctx, proc)
			}
			if said, err := find(true); err != nil || len(said) > 0 {
				t.Fatalf("before: %v, %q", err, said)
			}
			if err := spoil(proc); err != nil {
				t.Fatal(err)
			}
			if _, err := find(true); err == nil || !strings.Contains(err.Error(), proc) {
				t.Errorf("a collector has the error %v", err)
			}
			if said, err := find(false); err != nil || len(said) == 0 || !strings.Contains(said[0], proc) {
				t.Errorf("a list logs %q, %v", said, err)
			}
		})
	}
}

// On a system without /proc, every open file that lsof does not print may be a root.
func TestLsof(t *testing.T) {
	path := somePath(t, 1)
	for name, test := range map[string]struct {
		script string
		fails  bool
	}{
		"all":           {"#!/bin/sh\necho n" + string(path) + "/x\n", false},
		"some":          {"#!/bin/sh\necho n" + string(path) + "/x; exit 1\n", false},
		"nothing":       {"#!/bin/sh\nexit 1\n", true},
		"no program":    {"rubbish", true},
		"not installed": {"", true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if test.script != "" {
				if err := os.WriteFile(filepath.Join(dir, "lsof"), []byte(test.script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", dir)
			for _, strict := range []bool{true, false} {
				f := runtimeRoots{rootSearch: &rootSearch{strict: strict}, dir: storepath.DefaultDir, found: make(map[store.Root]bool)}
				if err := f.lsof(t.Context()); (err != nil) != (strict && test.fails) {
					t.Errorf("strict %v: %v", strict, err)
				}
				if f.found[store.Root{Link: lsofLink, Path: path}] == test.fails {
					t.Errorf("found %v", f.found)
				}
			}
		})
	}
}

// Processes use paths of other stores. A list of roots does not log these.
func TestForeignProcesses(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	kept := addTexts(t, s, 1, false)[0]
	sleep := exec.Command("sleep", "60")
	sleep.Env = []string{"A=" + string(somePath(t, 1)), "B=" + string(kept)}
	if err := sleep.Start(); err != nil {
		t.Skip(err)
	}
	defer sleep.Wait()
	defer sleep.Process.Kill()
	rootTo(t, s.layout, "invalid", somePath(t, 2))
	var said []string
	ctx := activity.WithHandler(context.Background(), activity.HandlerFunc(func(e activity.Event) {
		said = append(said, e.(activity.Log).Text)
	}))
	roots, err := s.FindRoots(ctx)
	if err != nil || len(roots) == 0 || roots[0].Path != kept || !strings.HasPrefix(roots[0].Link, "/proc/") {
		t.Errorf("the roots are %v, %v", roots, err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "skipping invalid root from '"+filepath.Join(s.gcRoots(), "invalid")+"'") {
		t.Errorf("the log is %q", said)
	}
	// The error names the process.
	_, err = s.CollectGarbage(ctx, store.GCOptions{Action: store.GCDeleteSpecific, Paths: []storepath.Path{kept}})
	if alive, ok := errors.AsType[*AliveError](err); !ok || alive.Path != kept || !strings.HasPrefix(alive.Root.Link, "/proc/") {
		t.Errorf("the error is %v", err)
	}
}
