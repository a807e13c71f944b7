package activebuilds

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"pix/store"
	"pix/storepath"
)

const drv = storepath.Path("/nix/store/00000000000000000000000000000000-x.drv")

func TestMain(m *testing.M) {
	if dir := os.Getenv("TRACK"); dir != "" { // a process that will be killed
		if _, err := Track(dir, store.ActiveBuild{Derivation: drv, PID: os.Getpid(), Start: time.Unix(5, 0)}); err != nil {
			panic(err)
		}
		os.Stdout.WriteString("tracked\n")
		select {}
	}
	os.Exit(m.Run())
}

func list(t *testing.T, dir string) []store.ActiveBuild {
	t.Helper()
	builds, err := List(dir, storepath.DefaultDir)
	if err != nil {
		t.Fatal(err)
	}
	return builds
}

func TestTrack(t *testing.T) {
	dir := t.TempDir()
	if got := list(t, dir); got != nil {
		t.Fatalf("got %v", got)
	}
	second, err := Track(dir, store.ActiveBuild{Derivation: drv, Start: time.Unix(200, 0)})
	if err != nil {
		t.Fatal(err)
	}
	first, err := Track(dir, store.ActiveBuild{Derivation: drv, PID: os.Getpid(), User: store.User{UID: os.Getuid()}, Start: time.Unix(100, 0)})
	if err != nil {
		t.Fatal(err)
	}
	got := list(t, dir)
	if len(got) != 2 || got[0].Start != time.Unix(100, 0) || got[0].Owner != os.Getpid() || got[0].Derivation != drv || got[1].Processes != nil {
		t.Fatalf("got %+v", got)
	}
	if runtime.GOOS == "linux" {
		p := got[0].Processes
		if len(p) == 0 || p[0].PID != os.Getpid() || p[0].Parent != os.Getppid() || !reflect.DeepEqual(p[0].Args, os.Args) || p[0].CPUUser == nil {
			t.Errorf("processes %+v", p)
		}
		if _, known := got[0].CPU(); !known {
			t.Error("no processor time")
		}
	}
	for _, phase := range []string{"unpackPhase", strings.Repeat("é", 100), "\xff", ""} {
		if err := first.SetPhase(phase); err != nil {
			t.Fatal(err)
		}
		if got := list(t, dir)[0].Phase; !strings.HasPrefix(phase, got) || got == "" && len(phase) > 1 {
			t.Errorf("the phase is %q, not %q", got, phase)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if got := list(t, dir); len(got) != 1 {
		t.Fatalf("got %+v", got)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	var none *Tracked
	if none.SetPhase("x") != nil || none.Close() != nil {
		t.Error("a nil Tracked fails")
	}
}

// The record of a killed process is deleted. Garbage is ignored.
func TestListGarbage(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TRACK="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.Read(make([]byte, 8))
	records := filepath.Join(dir, dirName)
	if err := os.WriteFile(filepath.Join(records, "notes"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(records, "1-1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(records, "1-2")); err != nil {
		t.Fatal(err)
	}
	damaged, err := create(filepath.Join(records, "1-3"))
	if err != nil {
		t.Fatal(err)
	}
	defer damaged.Close()
	if _, err := damaged.WriteString(`{"type":"build","derivation":"../../x"}`); err != nil {
		t.Fatal(err)
	}
	if got := list(t, dir); len(got) != 1 || got[0].Start != time.Unix(5, 0) {
		t.Errorf("got %+v", got)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if got := list(t, dir); len(got) != 0 {
		t.Errorf("after the kill: %+v", got)
	}
	entries, err := os.ReadDir(records)
	if err != nil || len(entries) != 4 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// A reader gets the old record or the new one while the record is written.
func TestListDuringWrites(t *testing.T) {
	dir := t.TempDir()
	tracked, err := Track(dir, store.ActiveBuild{Derivation: drv})
	if err != nil {
		t.Fatal(err)
	}
	defer tracked.Close()
	done := make(chan error)
	stop := make(chan struct{})
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := tracked.SetPhase(strings.Repeat("x", i%100)); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 100 {
		if got := list(t, dir); len(got) != 1 {
			t.Errorf("got %+v", got)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func FuzzParseActiveBuilds(f *testing.F) {
	text, err := json.Marshal([]store.ActiveBuild{{Derivation: drv, Processes: []store.ActiveProcess{{PID: 1}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		builds, err := store.ParseActiveBuildsJSON(storepath.DefaultDir, text)
		if err != nil {
			return
		}
		again, err := json.Marshal(builds)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.ParseActiveBuildsJSON(storepath.DefaultDir, again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}
