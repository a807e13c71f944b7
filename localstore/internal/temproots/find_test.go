package temproots

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pix/internal/flock"
	"pix/store"
)

// found contains the roots that a collector and a list of roots find.
type found struct {
	roots []store.Root
	err   error
	lines []string
}

func findBoth(t *testing.T, s State) (collected, listed found) {
	t.Helper()
	listed.roots, listed.err = Find(t.Context(), s, false, func(line string) { listed.lines = append(listed.lines, line) })
	c, err := NewCollector(t.Context(), s, func(line string) { collected.lines = append(collected.lines, line) })
	if err != nil {
		t.Fatal(err)
	}
	defer endCollection(t, c)
	collected.roots, collected.err = c.Roots(t.Context())
	return collected, listed
}

// The roots of all running processes are found, whatever the name of the file is in their version of Nix, and however
// they lock it.
func TestNamesOfNix(t *testing.T) {
	for name, link := range map[string]string{
		"4242":                 "{temp:4242}",             // Nix until 2.34, and from 2.35.1
		"temproots-4242-0":     "{temp:temproots-4242-0}", // Nix 2.35.0
		"4242-17":              "{temp:4242}",             // pix
		"99999999999999999999": "{temp:99999999999999999999}",
		"-":                    "{temp:-}",
		"pix-1-2":              "{temp:pix-1-2}",
		"odd name\n":           "{temp:odd name\n}",
	} {
		for how, mode := range map[string]flock.Mode{"shared": flock.Shared, "exclusive": flock.Exclusive} {
			t.Run(fmt.Sprintf("%q %s", name, how), func(t *testing.T) {
				s := newState(t)
				_, end := writeRoots(t, s, name, mode, somePath(t, 1), somePath(t, 2))
				collected, listed := findBoth(t, s)
				want := []store.Root{{Link: link, Path: somePath(t, 1)}, {Link: link, Path: somePath(t, 2)}}
				if !slices.Equal(collected.roots, want) || !slices.Equal(listed.roots, want) || collected.err != nil || listed.err != nil {
					t.Errorf("a collector finds %v, %v; the list is %v, %v", collected.roots, collected.err, listed.roots, listed.err)
				}
				// With some of these names older collectors fail, and do not print the name.
				if warned := len(collected.lines) > 0; warned == beginsWithInt(name) {
					t.Errorf("a collector reports %q", collected.lines)
				}
				end()
				if collected, _ = findBoth(t, s); len(collected.roots) > 0 || len(files(t, s)) > 0 {
					t.Errorf("after the process has ended: %v, %q", collected.roots, files(t, s))
				}
				if len(collected.lines) != 1 || !strings.HasPrefix(collected.lines[0], "removing stale temporary roots file ") {
					t.Errorf("a collector reports %q", collected.lines)
				}
			})
		}
	}
}

func TestBeginsWithInt(t *testing.T) {
	for name, want := range map[string]bool{
		"1": true, "4242-17": true, "2147483647": true, "2147483647x": true, "-2147483648": true, " +5": true, "007": true,
		"": false, "-": false, "x1": false, "2147483648": false, "-2147483649": false, "99999999999999999999": false,
		"pix-1-2": false, "temproots-1-0": false, "--1": false, " ": false,
	} {
		if got := beginsWithInt(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// An entry of the directory that is not a file of roots stays, and neither ends a search nor delays it.
func TestStrangeFiles(t *testing.T) {
	s := newState(t)
	writeRoots(t, s, "1-1", flock.Shared, somePath(t, 1))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(s.RootsDir(), name) }
	if err := os.WriteFile(at(".keep"), []byte("hidden\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(at("2/deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(at("3"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"4": outside, "5": "/nowhere", "6": "6", "7": "/dev/zero", "8": "3", "9": strings.Repeat("x", 300)} {
		if err := os.Symlink(target, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	socket, err := net.Listen("unix", at("s"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	before := files(t, s)
	done := make(chan found)
	go func() {
		collected, _ := findBoth(t, s)
		done <- collected
	}()
	select {
	case got := <-done:
		if got.err != nil || len(got.roots) != 1 || got.roots[0].Path != somePath(t, 1) {
			t.Errorf("found %v, %v", got.roots, got.err)
		}
		if !slices.ContainsFunc(got.lines, func(line string) bool { return strings.HasPrefix(line, "ignoring '"+at("2")+"'") }) {
			t.Errorf("a collector reports %q", got.lines)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the search does not return")
	}
	if after := files(t, s); !slices.Equal(before, after) {
		t.Errorf("the files are %q, before %q", after, before)
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != "precious" {
		t.Errorf("a file outside has %q, %v", text, err)
	}
}

// Nix follows a symlink to the file of a running process, so its roots must be found.
func TestSymlinkToRoots(t *testing.T) {
	s := newState(t)
	writeRoots(t, s, "1-1", flock.Shared, somePath(t, 1))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Symlink(outside, filepath.Join(s.RootsDir(), "4")); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(outside, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if locked, err := flock.Try(f, flock.Exclusive); !locked || err != nil {
		t.Fatal(locked, err)
	}
	if _, err := f.WriteString(string(somePath(t, 2)) + "\x00"); err != nil {
		t.Fatal(err)
	}
	if collected, _ := findBoth(t, s); len(collected.roots) != 2 || collected.err != nil {
		t.Errorf("found %v, %v", collected.roots, collected.err)
	}
}

// If the file of a running process cannot be parsed, it may name any path, so nothing is collected. The file of a
// process that has ended does not matter.
func TestMalformed(t *testing.T) {
	path := string(somePath(t, 1))
	for name, text := range map[string]string{
		"no path":           "rubbish\x00",
		"another directory": "/gnu/store/" + somePath(t, 1).Base() + "\x00",
		"empty":             "\x00",
		"after good ones":   path + "\x00" + path + "\x00half\x00",
		"with a suffix":     path + "/bin\x00",
		"10 MB":             strings.Repeat("garbage\n", 10<<20/8),
		"10 MB of zeros":    strings.Repeat("\x00", 10<<20),
		"a long entry":      path + strings.Repeat("x", maxEntry) + "\x00",
	} {
		for how, mode := range map[string]flock.Mode{"shared": flock.Shared, "exclusive": flock.Exclusive} {
			t.Run(name+" "+how, func(t *testing.T) {
				s := newState(t)
				f, end := writeRoots(t, s, "17", mode)
				if _, err := f.WriteString(text); err != nil {
					t.Fatal(err)
				}
				writeRoots(t, s, "18-1", flock.Shared, somePath(t, 2))
				collected, listed := findBoth(t, s)
				if collected.err == nil || !strings.Contains(collected.err.Error(), f.Name()) {
					t.Errorf("a collector has the error %v", collected.err)
				}
				if listed.err != nil || len(listed.roots) != 1 || len(listed.lines) != 1 || !strings.Contains(listed.lines[0], f.Name()) {
					t.Errorf("the list is %v, %v, with %q", listed.roots, listed.err, listed.lines)
				}
				end()
				if collected, _ := findBoth(t, s); collected.err != nil || len(collected.roots) != 1 {
					t.Errorf("after the process has ended: %v, %v", collected.roots, collected.err)
				}
			})
		}
	}
	// An incomplete entry is not an error: it is being written, and no process relies on it yet.
	s := newState(t)
	f, _ := writeRoots(t, s, "17", flock.Exclusive, somePath(t, 1))
	if _, err := f.WriteString(path[:20]); err != nil {
		t.Fatal(err)
	}
	if collected, _ := findBoth(t, s); collected.err != nil || len(collected.roots) != 1 {
		t.Errorf("found %v, %v", collected.roots, collected.err)
	}
}

// A file that cannot be opened may name any path.
func TestUnreadable(t *testing.T) {
	s := newState(t)
	if err := os.MkdirAll(s.RootsDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	// Even root cannot write to a running program, but can read all files.
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Skip("no /proc")
	}
	name := filepath.Join(s.RootsDir(), "17")
	if err := os.WriteFile(name, program, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, "-test.run=^TestHolder$")
	cmd.Env = append(os.Environ(), holderDir+"="+t.TempDir())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	collected, listed := findBoth(t, s)
	if collected.err == nil || !strings.Contains(collected.err.Error(), name) {
		t.Errorf("a collector has the error %v", collected.err)
	}
	if listed.err != nil {
		t.Errorf("the list has the error %v", listed.err)
	}

	s = newState(t)
	if err := os.WriteFile(s.RootsDir(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if collected, _ := findBoth(t, s); collected.err == nil {
		t.Error("a directory that cannot be read is no error")
	}
}

// A process of Nix 2.3 does not check for collectors. It has a shared lock, and converts it to an exclusive one to add
// a root. A collector prevents this with its own shared lock.
func TestOwnerOfNix23(t *testing.T) {
	s := newState(t)
	f, _ := writeRoots(t, s, "17", flock.Shared, somePath(t, 1))
	c := beginCollection(t, s)
	if roots, err := c.Roots(t.Context()); len(roots) != 1 || err != nil {
		t.Fatal(roots, err)
	}
	added := make(chan error)
	go func() {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			_, err = f.WriteString(string(somePath(t, 2)) + "\x00")
		}
		if err == nil {
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH)
		}
		added <- err
	}()
	select {
	case err := <-added:
		t.Fatalf("the process added a root during the collection: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	endCollection(t, c)
	if err := <-added; err != nil {
		t.Fatal(err)
	}
	want(t, s, "afterwards", somePath(t, 1), somePath(t, 2))

	// The collector waits for a process that is adding a root when the collection starts.
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	defer func(old time.Duration) { addition = old }(addition)
	addition = time.Minute // until the process has added it
	go func() {
		time.Sleep(5 * time.Millisecond)
		_, err := f.WriteString(string(somePath(t, 3)) + "\x00")
		if err == nil {
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH)
		}
		added <- err
	}()
	want(t, s, "when a root is being added", somePath(t, 1), somePath(t, 2), somePath(t, 3))
	if err := <-added; err != nil {
		t.Fatal(err)
	}
}

// While a process of Nix 2.3 converts its lock, its file may be unlocked for a moment, and must not count as stale.
func TestConversionOfNix23(t *testing.T) {
	s := newState(t)
	f, _ := writeRoots(t, s, "17", 0, somePath(t, 1))
	defer func(old func(context.Context) error) { pauseProbe = old }(pauseProbe)
	converted := false
	pauseProbe = func(context.Context) error { // the first probe found the file unlocked
		if locked, err := flock.Try(f, flock.Shared); !locked {
			t.Error("the process did not get its lock", err)
		}
		converted = true
		return nil
	}
	want(t, s, "while the lock is converted", somePath(t, 1))
	if !converted {
		t.Error("the file was not found unlocked")
	}
	want(t, s, "afterwards", somePath(t, 1))
}

// A collector of Nix 2.3 waits for a shared lock on each file, so it must get one.
func TestCollectorOfNix23(t *testing.T) {
	s := newState(t)
	addRoots(t, newRoots(t, s), somePath(t, 1))
	f, err := os.OpenFile(ownFile(t, s), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if free, err := flock.Try(f, flock.Exclusive); free || err != nil {
		t.Error("the file was considered stale", err)
	}
	if free, err := flock.Try(f, flock.Shared); !free || err != nil {
		t.Error("a collector of Nix 2.3 would wait for ever", err)
	}
}

// A process that waits for the lock of a file that is removed finds that it has to create another one.
func TestStaleMark(t *testing.T) {
	s := newState(t)
	writeRoots(t, s, "17", 0)
	f, err := os.OpenFile(filepath.Join(s.RootsDir(), "17"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want(t, s, "of a stale file")
	if text, err := io.ReadAll(f); err != nil || !bytes.Equal(text, []byte(flock.StaleMark)) {
		t.Errorf("the file has %q, %v", text, err)
	}
}

// A cancelled search ends.
func TestFindCancelled(t *testing.T) {
	s := newState(t)
	writeRoots(t, s, "17", 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, s, true, nil); err == nil {
		t.Error("no error")
	}
	if len(files(t, s)) != 1 {
		t.Error("the file was removed")
	}
}
