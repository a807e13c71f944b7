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
	"sync"
	"testing"
	"time"

	"pix/internal/flock"
	"pix/storepath"
)

func TestFile(t *testing.T) {
	s := newState(t)
	a, b := Open(s), Open(s)
	p, q := somePath(t, 1), somePath(t, 2)
	addRoots(t, a, p)
	addRoots(t, a, p)
	addRoots(t, b, q, p, q)
	text, err := os.ReadFile(ownFile(t, s))
	if want := string(p) + "\x00" + string(q) + "\x00"; err != nil || string(text) != want {
		t.Errorf("the file has %q, %v; want %q", text, err, want)
	}
	closeRoots(t, a)
	want(t, s, "with one of two closed", p, q)
	if _, err := a.Add(t.Context(), p); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a root after Close: %v", err)
	}
	c := Open(s)
	addRoots(t, c, p, somePath(t, 3))
	closeRoots(t, b)
	want(t, s, "after the second was closed", p, somePath(t, 3))
	closeRoots(t, c)
	closeRoots(t, c)
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

// While roots are kept, no collector starts. A running one continues.
func TestKeep(t *testing.T) {
	s := newState(t)
	r := newRoots(t, s)
	held := addRoots(t, r, somePath(t, 1))
	first, err := held.Keep()
	if err != nil {
		t.Fatal(err)
	}
	second, err := held.Keep()
	if err != nil {
		t.Fatal(err)
	}
	addRoots(t, r, somePath(t, 2)) // checks for a collector, and must not let one start
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
	addRoots(t, r, somePath(t, 3))
	release()
	want(t, s, "after that", somePath(t, 1), somePath(t, 2), somePath(t, 3))
	if release, err := (Held{}).Keep(); err != nil {
		t.Error(err)
	} else {
		release()
	}
	closeRoots(t, r)
	if err := held.Check(); err == nil {
		t.Error("closed roots are held")
	}
}

// A file that could be rewritten only in part is replaced.
func TestTornFile(t *testing.T) {
	s := newState(t)
	r, comes := newRoots(t, s), newRoots(t, s)
	held := addRoots(t, r, somePath(t, 1))
	addRoots(t, comes, somePath(t, 2))
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
	addRoots(t, r, somePath(t, 1))
	want(t, s, "afterwards", somePath(t, 1))
	ownFile(t, s)
}

// A rewrite removes dead entries, and never a live root: if it were removed and written again, it could be lost on a
// full disk.
func TestStaysInFile(t *testing.T) {
	s := newState(t)
	lives, comes := newRoots(t, s), Open(s)
	addRoots(t, lives, somePath(t, 1))
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
			addRoots(t, comes, somePath(t, 2+i))
		}
		closeRoots(t, comes)
		comes = Open(s)
	}
	closeRoots(t, comes)
	close(stop)
	if missing := <-looked; missing > 0 {
		t.Errorf("the root was missing %d times", missing)
	}
}

// While a collector runs, a root is sent to it, and Add returns only after the collector has answered.
func TestToCollector(t *testing.T) {
	s := newState(t)
	r := newRoots(t, s)
	addRoots(t, r, somePath(t, 1))
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
	addRoots(t, r, many...)
	addRoots(t, r, somePath(t, 3))
	srv.choose(func(arrived []string) []string {
		if len(arrived) != 1001 || arrived[1000] != somePath(t, 3).HashPart() {
			t.Errorf("%d roots arrived", len(arrived))
		}
		return nil
	})
	if err := srv.close(); err != nil {
		t.Fatal(err)
	}
	// A root that was released while a collector read the file is removed afterwards.
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	addRoots(t, r, somePath(t, 6))
	if got := collect(t, s); slices.Contains(got, string(somePath(t, 2))) || !slices.Contains(got, string(somePath(t, 3))) {
		t.Errorf("roots %q", got)
	}
}

// If a collector is deleting a path, Add returns after the path is deleted. If the collector ends, Add asks the next
// one.
func TestRootOfDeletedPath(t *testing.T) {
	s := newState(t)
	r := newRoots(t, s)
	lock, err := s.lockGC(t.Context(), flock.Exclusive, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	srv, err := serve(s)
	if err != nil {
		t.Fatal(err)
	}
	srv.choose(func([]string) []string {
		return []string{somePath(t, 4).HashPart(), somePath(t, 5).HashPart()}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
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
		t.Error(err)
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
			closeRoots(t, r)
		})
	}
	adding.Wait()
	close(stop)
	collecting.Wait()
	if names := files(t, s); len(names) > 0 {
		t.Errorf("the files %q remain", names)
	}
}
