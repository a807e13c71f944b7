package temproots

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/localstore/internal/flock"
	"pix/storepath"
)

func TestFile(t *testing.T) {
	s := newState(t)
	a, b := Open(s), Open(s)
	p, q := somePath(t, 1), somePath(t, 2)
	mustAdd(t, a, p)
	mustAdd(t, a, p)
	mustAdd(t, b, q, p, q)
	text, err := os.ReadFile(ownFile(t, s))
	if want := string(p) + "\x00" + string(q) + "\x00"; err != nil || string(text) != want {
		t.Errorf("the file has %q, %v; want %q", text, err, want)
	}
	mustClose(t, a)
	want(t, s, "with one of two closed", p, q)
	if _, err := a.Add(t.Context(), p); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a root after Close: %v", err)
	}
	c := Open(s)
	mustAdd(t, c, p, somePath(t, 3))
	mustClose(t, b)
	want(t, s, "after the second was closed", p, somePath(t, 3))
	mustClose(t, c)
	mustClose(t, c)
	if names := files(t, s); len(names) > 0 {
		t.Errorf("after Close the files are %q", names)
	}
}

// Every released collector reads the name as a process id, and no Nix uses a file with that name.
func TestName(t *testing.T) {
	s := newState(t)
	if err := os.MkdirAll(s.RootsDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(fmt.Sprintf(`^%d-[1-9][0-9]*$`, os.Getpid()))
	seen := make(map[string]bool)
	for range 100 {
		f, err := createFile(s.RootsDir())
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(f.Name())
		if !form.MatchString(name) || !beginsWithInt(name) || seen[name] {
			t.Errorf("the name is %s", name)
		}
		seen[name] = true
		if free, err := flock.Try(f.File.File, flock.Shared); !free || err != nil {
			t.Error(free, err)
		}
		if err := f.discard(); err != nil {
			t.Error(err)
		}
	}
}

// If the file has lost its name, the next addition creates it again with all roots, even if that addition adds no new
// root.
func TestFileGone(t *testing.T) {
	p, q := somePath(t, 1), somePath(t, 2)
	for name, lose := range map[string]func(t *testing.T, s State){
		"deleted":       func(t *testing.T, s State) { os.Remove(ownFile(t, s)) },
		"replaced":      func(t *testing.T, s State) { replace(t, ownFile(t, s)) },
		"directory":     func(t *testing.T, s State) { os.RemoveAll(s.RootsDir()) },
		"state":         func(t *testing.T, s State) { os.RemoveAll(s.Dir) },
		"state renamed": func(t *testing.T, s State) { os.Rename(s.Dir, s.Dir+"-gone") },
	} {
		for what, again := range map[string]storepath.Path{"known": p, "new": q} {
			t.Run(name+" "+what, func(t *testing.T) {
				s := newState(t)
				r := newRoots(t, s)
				before := mustAdd(t, r, p)
				if err := before.Check(); err != nil {
					t.Error(err)
				}
				lose(t, s)
				if err := before.Check(); !errors.Is(err, ErrLost) {
					t.Errorf("the earlier Held: %v", err)
				}
				after := mustAdd(t, r, again)
				want(t, s, "afterwards", slices.Compact([]storepath.Path{p, again})...)
				if err := after.Check(); err != nil {
					t.Error(err)
				}
				// A collector may have run in between.
				if err := before.Check(); !errors.Is(err, ErrLost) {
					t.Errorf("the earlier Held: %v", err)
				}
				release, err := before.Keep()
				if !errors.Is(err, ErrLost) {
					t.Errorf("the earlier Held was kept: %v", err)
				}
				release()
			})
		}
	}
}

func replace(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name+".new", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// A process that only holds its roots also creates the file again, but not if the store was deleted.
func TestFileGoneWhileIdle(t *testing.T) {
	s := newState(t)
	r := newRoots(t, s)
	mustAdd(t, r, somePath(t, 1), somePath(t, 2))
	lost := ownFile(t, s)
	if err := os.Remove(lost); err != nil {
		t.Fatal(err)
	}
	isWhole := func() bool {
		names := files(t, s)
		if len(names) == 0 {
			return false
		}
		text, err := os.ReadFile(filepath.Join(s.RootsDir(), names[0]))
		return err == nil && bytes.Count(text, []byte{0}) == 2
	}
	for deadline := time.Now().Add(30 * time.Second); !isWhole(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file was not created again")
		}
	}
	want(t, s, "afterwards", somePath(t, 1), somePath(t, 2))
	r.process.mu.Lock()
	for r.process.secured != r.process.generation { // so that the watcher can create files
		r.process.mu.Unlock()
		time.Sleep(time.Millisecond)
		r.process.mu.Lock()
	}
	err := os.Rename(s.Dir, s.Dir+"-gone")
	r.process.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(watchInterval + watchInterval/4)
	if _, err := os.Lstat(s.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state directory was created again: %v", err)
	}
}

// If another store has taken its place, the roots are sent to its collectors.
func TestStateReplacedWhileIdle(t *testing.T) {
	s := newState(t)
	r := newRoots(t, s)
	mustAdd(t, r, somePath(t, 1))
	if err := os.Rename(s.Dir, s.Dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.RootsDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); len(files(t, s)) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file was not created again")
		}
	}
	c := beginCollection(t, s)
	defer endCollection(t, c)
	mustAdd(t, r, somePath(t, 2))
	c.Choose(func(arrived []string) []string {
		if !slices.Contains(arrived, somePath(t, 2).HashPart()) {
			t.Errorf("the roots %q arrived", arrived)
		}
		return nil
	})
}

// A collector that has started while no file existed knows none of the roots. So all roots of the process are sent to it,
// even if the collector is deleting the path of another session.
func TestFileGoneWhileCollecting(t *testing.T) {
	s := newState(t)
	r, other := newRoots(t, s), newRoots(t, s)
	mustAdd(t, r, somePath(t, 1))
	mustAdd(t, other, somePath(t, 2))
	if err := os.Remove(ownFile(t, s)); err != nil {
		t.Fatal(err)
	}
	c := beginCollection(t, s)
	defer endCollection(t, c)
	if roots, err := c.Roots(t.Context()); len(roots) > 0 || err != nil {
		t.Fatal(roots, err)
	}
	c.Choose(func(arrived []string) []string { return []string{somePath(t, 2).HashPart()} })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Add(ctx, somePath(t, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while a root of another user is deleted: %v", err)
	}
	c.Done(somePath(t, 2).HashPart())
	mustAdd(t, r, somePath(t, 1))
	c.Choose(func(arrived []string) []string {
		slices.Sort(arrived)
		if !slices.Equal(slices.Compact(arrived), []string{somePath(t, 1).HashPart(), somePath(t, 2).HashPart()}) {
			t.Errorf("the roots %q arrived", arrived)
		}
		return nil
	})
	// From now on additions behave as before.
	held := mustAdd(t, r, somePath(t, 1), somePath(t, 3))
	c.Choose(func(arrived []string) []string {
		if !slices.Equal(arrived, []string{somePath(t, 3).HashPart()}) {
			t.Errorf("the roots %q arrived", arrived)
		}
		return nil
	})
	if err := held.Check(); err != nil {
		t.Error(err)
	}
}

// A store may be deleted while a collector runs in it. Roots in the store that takes its place are sent to the
// collector of that store.
func TestCollectorOfRemovedStore(t *testing.T) {
	s := newState(t)
	r := newRoots(t, s)
	old := beginCollection(t, s)
	mustAdd(t, r, somePath(t, 1)) // which keeps the connection
	if err := os.Rename(s.Dir, s.Dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	c := beginCollection(t, s)
	mustAdd(t, r, somePath(t, 2))
	c.Choose(func(arrived []string) []string {
		if !slices.Contains(arrived, somePath(t, 2).HashPart()) {
			t.Errorf("the roots %q arrived", arrived)
		}
		return nil
	})
	endCollection(t, old) // which does not remove the socket of the other collector
	if conn, err := dial(t.Context(), s.socket()); conn == nil || err != nil {
		t.Errorf("the collector does not listen: %v", err)
	} else {
		conn.Close()
	}
	endCollection(t, c)
	if held, err := r.Add(t.Context()); err != nil || held != (Held{}) {
		t.Errorf("adding no root: %v, %v", held, err)
	}
}

// While roots are kept, no collector starts. A running one continues.
func TestKeep(t *testing.T) {
	s := newState(t)
	r := newRoots(t, s)
	held := mustAdd(t, r, somePath(t, 1))
	first, err := held.Keep()
	if err != nil {
		t.Fatal(err)
	}
	second, err := held.Keep()
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, somePath(t, 2)) // checks for a collector, and must not let one start
	first()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := NewCollector(ctx, s, func(string) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a collector started: %v", err)
	}
	second()
	c := beginCollection(t, s)
	release, err := held.Keep()
	if err != nil {
		t.Errorf("beside a collector: %v", err)
	}
	release()
	endCollection(t, c)

	// The lock may be deleted meanwhile.
	release, err = held.Keep()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.gcLock()); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, somePath(t, 3))
	release()
	want(t, s, "after that", somePath(t, 1), somePath(t, 2), somePath(t, 3))
	if release, err := (Held{}).Keep(); err != nil {
		t.Error(err)
	} else {
		release()
	}
	mustClose(t, r)
	if err := held.Check(); err == nil {
		t.Error("closed roots are held")
	}
}

// A file that could be rewritten only in part is replaced.
func TestTornFile(t *testing.T) {
	s := newState(t)
	r, comes := newRoots(t, s), newRoots(t, s)
	held := mustAdd(t, r, somePath(t, 1))
	mustAdd(t, comes, somePath(t, 2))
	p := r.process
	p.mu.Lock()
	old := p.file.File.File
	broken, err := os.Open(ownFile(t, s)) // not for writing
	if err != nil {
		t.Fatal(err)
	}
	p.file.File.File = broken
	p.mu.Unlock()
	if err := comes.Close(); err == nil {
		t.Error("no error although the file could not be rewritten")
	}
	old.Close()
	if err := held.Check(); !errors.Is(err, ErrLost) {
		t.Errorf("a torn file: %v", err)
	}
	mustAdd(t, r, somePath(t, 1))
	want(t, s, "afterwards", somePath(t, 1))
	ownFile(t, s)
}

// A rewrite removes dead entries, and never a live root: if it were removed and written again, it could be lost on a
// full disk.
func TestStaysInFile(t *testing.T) {
	s := newState(t)
	lives, comes := newRoots(t, s), Open(s)
	mustAdd(t, lives, somePath(t, 1))
	name := ownFile(t, s)
	stop, looked := make(chan struct{}), make(chan int)
	go func() {
		missing := 0
		for {
			text, err := os.ReadFile(name)
			if err != nil || !bytes.Contains(text, []byte(somePath(t, 1)+"\x00")) {
				missing++
			}
			select {
			case <-stop:
				looked <- missing
				return
			default:
			}
		}
	}()
	for range 1000 {
		for i := range 10 {
			mustAdd(t, comes, somePath(t, 2+i))
		}
		mustClose(t, comes)
		comes = Open(s)
	}
	mustClose(t, comes)
	close(stop)
	if missing := <-looked; missing > 0 {
		t.Errorf("the root was missing %d times", missing)
	}
}

// While a collector runs, a root is sent to it, and Add returns only after the collector has answered.
func TestToCollector(t *testing.T) {
	s := newState(t)
	r := newRoots(t, s)
	mustAdd(t, r, somePath(t, 1))
	lock, err := s.lockGC(t.Context(), flock.Exclusive, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Add(ctx, somePath(t, 2)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a collector that does not listen: %v", err)
	}

	srv, err := serve(s)
	if err != nil {
		t.Fatal(err)
	}
	many := make([]storepath.Path, 1000)
	for i := range many {
		many[i] = somePath(t, 100+i)
	}
	mustAdd(t, r, many...)
	mustAdd(t, r, somePath(t, 3))
	srv.choose(func(arrived []string) []string {
		if len(arrived) != 1001 || arrived[1000] != somePath(t, 3).HashPart() {
			t.Errorf("%d roots arrived", len(arrived))
		}
		return []string{somePath(t, 4).HashPart(), somePath(t, 5).HashPart()}
	})

	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Add(ctx, somePath(t, 4)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a path that is being deleted: %v", err)
	}
	done := make(chan error)
	add := func(n int) {
		_, err := r.Add(t.Context(), somePath(t, n))
		done <- err
	}
	go add(4)
	select {
	case err := <-done:
		t.Fatalf("a path that is being deleted: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	srv.done([]string{somePath(t, 4).HashPart()})
	if err := <-done; err != nil {
		t.Error(err)
	}

	// The collector ends, and another one starts.
	go add(5)
	time.Sleep(20 * time.Millisecond)
	if err := srv.close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("acknowledged without an answer: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if srv, err = serve(s); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !srv.roots[somePath(t, 5).HashPart()] {
		t.Error("the root was not sent to the new collector")
	}
	if err := srv.close(); err != nil {
		t.Fatal(err)
	}
	// A root that was released while a collector read the file is removed afterwards.
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, somePath(t, 6))
	if got := collect(t, s); slices.Contains(got, string(somePath(t, 2))) || !slices.Contains(got, string(somePath(t, 4))) {
		t.Errorf("roots %q", got)
	}
}

func TestManyAtOnce(t *testing.T) {
	s := newState(t)
	stop := make(chan struct{})
	var collecting sync.WaitGroup
	collecting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			c := beginCollection(t, s)
			if _, err := c.Roots(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
			endCollection(t, c)
		}
	})
	// From time to time the file is deleted.
	collecting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				names, _ := filepath.Glob(filepath.Join(s.RootsDir(), "*"))
				for _, name := range names {
					os.Remove(name)
				}
			}
		}
	})
	var adding sync.WaitGroup
	for user := range 8 {
		adding.Go(func() {
			r := Open(s)
			for i := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
				held, err := r.Add(ctx, somePath(t, i*(1+user%2)), somePath(t, 1000+user))
				if err != nil {
					t.Error(err)
				}
				if release, err := held.Keep(); err != nil && !errors.Is(err, ErrLost) {
					t.Error(err)
				} else {
					release()
				}
				cancel()
			}
			mustClose(t, r)
		})
	}
	adding.Wait()
	close(stop)
	collecting.Wait()
	if names := files(t, s); len(names) > 0 {
		t.Errorf("the files %q remain", names)
	}
}

// The lock is taken by name: if the store is deleted during the wait, the old lock has no effect.
func TestLockIsReplaced(t *testing.T) {
	s := newState(t)
	first := beginCollection(t, s)
	began := make(chan *Collector)
	waiting := make(chan struct{})
	go func() {
		c, err := NewCollector(t.Context(), s, func(line string) {
			if !strings.HasPrefix(line, "waiting for the big") {
				t.Error(line)
			}
			close(waiting)
		})
		if err != nil {
			t.Error(err)
		}
		began <- c
	}()
	<-waiting
	if err := os.Remove(s.gcLock()); err != nil {
		t.Fatal(err)
	}
	if err := first.Check(); err == nil {
		t.Error("a collector does not detect that its lock was deleted")
	}
	endCollection(t, first)
	second := <-began
	defer endCollection(t, second)
	if err := second.Check(); err != nil {
		t.Error(err)
	}
	lock, err := s.openGCLock()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if free, err := flock.Try(lock.File, flock.Shared); free || err != nil {
		t.Error("the lock with the current name was not taken", err)
	}
}

// If the state directory was deleted and cannot be created again, every call fails. Calls succeed after it exists
// again.
func TestStateCannotBeMade(t *testing.T) {
	s := newState(t)
	r, other := newRoots(t, s), newRoots(t, s)
	held := mustAdd(t, r, somePath(t, 1))
	mustAdd(t, other, somePath(t, 2))
	if err := os.Rename(s.Dir, s.Dir+"-gone"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Add(t.Context(), somePath(t, 3)); err == nil {
			t.Error("a root was added without a directory")
		}
		if release, err := held.Keep(); err == nil {
			t.Error("a root is held without a directory")
		} else {
			release()
		}
		if err := errors.Join(r.Tidy(), other.Close()); err != nil {
			t.Error(err)
		}
	}
	if err := os.Remove(s.Dir); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, somePath(t, 4))
	want(t, s, "afterwards", somePath(t, 1), somePath(t, 4))
}
