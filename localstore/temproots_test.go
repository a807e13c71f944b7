package localstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pix/localstore/internal/flock"
	"pix/store"
	"pix/storepath"
)

// somePath returns a store path that differs for each n.
func somePath(t testing.TB, n int) storepath.Path {
	t.Helper()
	const digits = "0123456789abcdfghijklmnpqrsvwxyz"
	hash := bytes.Repeat([]byte("0"), 32)
	for i := 31; n > 0; i-- {
		hash[i] = digits[n%32]
		n /= 32
	}
	p, err := storepath.DefaultDir.ParseBase(string(hash) + "-test")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rootLayout(t testing.TB, root string) layout {
	t.Helper()
	l, err := newLayout(&Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func emptyLayout(t testing.TB) layout {
	t.Helper()
	l := rootLayout(t, t.TempDir())
	for _, dir := range []string{l.storeDir, l.stateDir, l.links(), l.gcRoots(), l.profiles()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func newTempRoots(t testing.TB, l layout) *tempRoots {
	t.Helper()
	r := openTempRoots(l)
	t.Cleanup(func() {
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func mustAdd(t testing.TB, r *tempRoots, paths ...storepath.Path) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.add(ctx, paths...); err != nil {
		t.Fatal(err)
	}
}

// holdGCLock locks gc.lock as a collector does.
func holdGCLock(t testing.TB, l layout) *os.File {
	t.Helper()
	f, err := openGCLock(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := flock.Lock(t.Context(), f.File, flock.Exclusive, nil); err != nil {
		t.Fatal(err)
	}
	return f.File
}

func processFile(l layout) string { return filepath.Join(l.tempRoots(), fmt.Sprint(os.Getpid())) }

func tempRootsOf(t testing.TB, l layout) []string {
	t.Helper()
	roots, err := findTempRoots(t.Context(), l, true)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range roots {
		if want := fmt.Sprintf("{temp:%d}", os.Getpid()); r.Link != want {
			t.Errorf("link %s, want %s", r.Link, want)
		}
		paths = append(paths, string(r.Path))
	}
	slices.Sort(paths)
	return paths
}

func TestTempRootsFile(t *testing.T) {
	l := emptyLayout(t)
	a, b := openTempRoots(l), openTempRoots(l)
	p, q := somePath(t, 1), somePath(t, 2)
	mustAdd(t, a, p)
	mustAdd(t, a, p)
	mustAdd(t, b, q, p, q)
	text, err := os.ReadFile(processFile(l))
	if want := string(p) + "\x00" + string(q) + "\x00"; err != nil || string(text) != want {
		t.Errorf("the file has %q, %v; want %q", text, err, want)
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	if got := tempRootsOf(t, l); !slices.Equal(got, []string{string(p), string(q)}) {
		t.Errorf("with one of two closed: %q", got)
	}
	if err := a.add(t.Context(), p); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a root after close: %v", err)
	}
	c := openTempRoots(l)
	mustAdd(t, c, p, somePath(t, 3))
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	if got := tempRootsOf(t, l); !slices.Equal(got, []string{string(p), string(somePath(t, 3))}) {
		t.Errorf("after the second was closed: %q", got)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(processFile(l)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after all were closed: %v", err)
	}
}

// What is left of a process that was killed is no root, and goes away.
func TestTempRootsStale(t *testing.T) {
	l := emptyLayout(t)
	if err := os.MkdirAll(l.tempRoots(), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(l.tempRoots(), "99999999"), processFile(l)} {
		if err := os.WriteFile(name, []byte(string(somePath(t, 9))+"\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(l.tempRoots(), ".keep"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newTempRoots(t, l)
	mustAdd(t, r, somePath(t, 1))
	if got := tempRootsOf(t, l); !slices.Equal(got, []string{string(somePath(t, 1))}) {
		t.Errorf("roots %q", got)
	}
	if _, err := os.Lstat(filepath.Join(l.tempRoots(), "99999999")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a stale file: %v", err)
	}
}

// Processes in different containers may have the same id.
func TestTempRootsSamePid(t *testing.T) {
	l := emptyLayout(t)
	if err := os.MkdirAll(l.tempRoots(), 0o755); err != nil {
		t.Fatal(err)
	}
	other, err := os.Create(processFile(l))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if free, err := flock.Try(other, flock.Exclusive); !free || err != nil {
		t.Fatal(free, err)
	}
	if _, err := other.WriteString(string(somePath(t, 7)) + "\x00half a"); err != nil {
		t.Fatal(err)
	}
	r := newTempRoots(t, l)
	mustAdd(t, r, somePath(t, 1))
	if got := tempRootsOf(t, l); !slices.Equal(got, []string{string(somePath(t, 1)), string(somePath(t, 7))}) {
		t.Errorf("roots %q", got)
	}

	// Such a process takes our file for a stale one, as Nix does.
	if err := os.Remove(processFile(l) + "-2"); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, somePath(t, 2))
	if got := tempRootsOf(t, l); len(got) != 3 {
		t.Errorf("roots %q after the file was removed", got)
	}
	// Somebody may also remove the whole state.
	if err := os.RemoveAll(l.stateDir); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, somePath(t, 3))
	if got := tempRootsOf(t, l); len(got) != 3 || slices.Contains(got, string(somePath(t, 7))) {
		t.Errorf("roots %q after the state was removed", got)
	}
}

// While a collector runs, a root is told to it and no sooner acknowledged than it answers.
func TestTempRootsToCollector(t *testing.T) {
	l := emptyLayout(t)
	r := newTempRoots(t, l)
	mustAdd(t, r, somePath(t, 1))
	gcLock := holdGCLock(t, l)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.add(ctx, somePath(t, 2)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a collector that does not listen: %v", err)
	}

	server, err := serveRoots(l)
	if err != nil {
		t.Fatal(err)
	}
	many := make([]storepath.Path, 1000)
	for i := range many {
		many[i] = somePath(t, 100+i)
	}
	mustAdd(t, r, many...)
	mustAdd(t, r, somePath(t, 3))
	server.begin(func(arrived []string) []string {
		if len(arrived) != 1001 || arrived[1000] != somePath(t, 3).HashPart() {
			t.Errorf("%d roots arrived", len(arrived))
		}
		return []string{somePath(t, 4).HashPart(), somePath(t, 5).HashPart()}
	})

	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.add(ctx, somePath(t, 4)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a path that is being deleted: %v", err)
	}
	done := make(chan error)
	go func() { done <- r.add(t.Context(), somePath(t, 4)) }()
	select {
	case err := <-done:
		t.Fatalf("a path that is being deleted: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	server.end(somePath(t, 4).HashPart())
	if err := <-done; err != nil {
		t.Error(err)
	}

	// The collector ends, and another begins.
	go func() { done <- r.add(t.Context(), somePath(t, 5)) }()
	time.Sleep(20 * time.Millisecond)
	if err := server.close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("acknowledged by nobody: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	server, err = serveRoots(l)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !server.roots[somePath(t, 5).HashPart()] {
		t.Error("the new collector was not told")
	}
	if err := server.close(); err != nil {
		t.Fatal(err)
	}
	// A root that was given up while a collector read is taken out afterwards.
	if err := gcLock.Close(); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, somePath(t, 6))
	if got := tempRootsOf(t, l); slices.Contains(got, string(somePath(t, 2))) || !slices.Contains(got, string(somePath(t, 4))) {
		t.Errorf("roots %q", got)
	}
}

func TestTempRootsManyAtOnce(t *testing.T) {
	l := emptyLayout(t)
	stop := make(chan struct{})
	var collecting sync.WaitGroup
	collecting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			f, err := openGCLock(l)
			if err != nil {
				t.Error(err)
				return
			}
			if err := flock.Lock(t.Context(), f.File, flock.Exclusive, nil); err != nil {
				t.Error(err)
			}
			server, err := serveRoots(l)
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Millisecond)
			if err := errors.Join(server.close(), f.Close()); err != nil {
				t.Error(err)
			}
		}
	})
	var adding sync.WaitGroup
	for user := range 8 {
		adding.Go(func() {
			r := openTempRoots(l)
			for i := range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
				if err := r.add(ctx, somePath(t, i*(1+user%2)), somePath(t, 1000+user)); err != nil {
					t.Error(err)
				}
				cancel()
			}
			if err := r.close(); err != nil {
				t.Error(err)
			}
		})
	}
	adding.Wait()
	close(stop)
	collecting.Wait()
}

// A server answers whatever it is sent, hangs up on what has no end, and lets nobody wait when
// it closes.
func TestRootsServer(t *testing.T) {
	l := emptyLayout(t)
	// A name longer than a socket's may be.
	l.stateDir = filepath.Join(l.stateDir, strings.Repeat("d", 120))
	server, err := serveRoots(l)
	if err != nil {
		t.Fatal(err)
	}
	dial := func() net.Conn {
		c, err := dialCollector(t.Context(), l.gcSocket())
		if err != nil || c == nil {
			t.Fatal(c, err)
		}
		t.Cleanup(c.close)
		c.conn.SetDeadline(time.Now().Add(30 * time.Second))
		return c.conn
	}
	conn := dial()
	var answer [3]byte
	if _, err := conn.Write([]byte("garbage\n\n" + string(somePath(t, 1)) + ".lock\n")); err != nil {
		t.Fatal(err)
	}
	for range answer {
		if n, err := conn.Read(answer[:1]); n != 1 || err != nil || answer[0] != '1' {
			t.Fatalf("answer %q, %v", answer[:n], err)
		}
	}
	if !server.roots[somePath(t, 1).HashPart()] || len(server.roots) != 1 {
		t.Errorf("roots %v", server.roots)
	}
	flood := dial()
	if _, err := flood.Write(bytes.Repeat([]byte("x"), maxRootLine)); err != nil {
		t.Fatal(err)
	}
	if n, err := flood.Read(answer[:]); n != 0 || err == nil {
		t.Errorf("a line without end: %q, %v", answer[:n], err)
	}
	server.begin(func([]string) []string { return []string{somePath(t, 2).HashPart()} })
	waiting := dial()
	if _, err := waiting.Write([]byte(string(somePath(t, 2)) + "\n")); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- server.close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not close")
	}
	if n, err := waiting.Read(answer[:]); n != 0 || err == nil {
		t.Errorf("after the end: %q, %v", answer[:n], err)
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
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, target string) {
		t.Helper()
		name = filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	link("12/exe", string(p)+"/bin/x (deleted)")
	link("12/cwd", "/home")
	link("12/fd/0", "pipe:[1]")
	link("12/fd/1", string(q)+" (deleted)") // not the name of a path
	link("12/fd/2", string(q)+"/log")
	write("12/maps", "7f0-7f1 r-xp 00000000 00:1b 17   "+string(somePath(t, 3))+"/lib/x.so\n"+
		"7f0-7f1 r-xp 00000000 00:1b 17   "+string(somePath(t, 4))+"/lib/x.so (deleted)\n"+
		"7f0-7f1 r-xp 00000000 00:00 0 \n")
	write("12/environ", "A=x:"+string(somePath(t, 5))+"/bin:"+string(somePath(t, 6))+"\x00B=/nix/store/short\x00C=/nix/store/"+string(somePath(t, 8)))
	link("13/exe", string(somePath(t, 7))) // it has ended: nothing more is there
	write("self/environ", "A="+string(somePath(t, 9)))
	write("sys/kernel/modprobe", string(somePath(t, 10))+"/bin/modprobe\n")

	f := runtimeRootFinder{dir: storepath.DefaultDir, found: make(map[store.Root]bool)}
	if err := f.processes(t.Context(), proc); err != nil {
		t.Fatal(err)
	}
	f.lsofLines([]byte("p1\nn/lib/x\nn" + string(somePath(t, 11)) + "/x\nn" + string(somePath(t, 12))))
	want := map[store.Root]bool{
		{Link: proc + "/12/exe", Path: p}:                            true,
		{Link: proc + "/12/fd/2", Path: q}:                           true,
		{Link: proc + "/12/maps", Path: somePath(t, 3)}:              true,
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

// Nor does one who asks and asks, and reads no answers.
func TestRootsServerUnread(t *testing.T) {
	l := emptyLayout(t)
	server, err := serveRoots(l)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dialCollector(t.Context(), l.gcSocket())
	if err != nil || c == nil {
		t.Fatal(c, err)
	}
	defer c.close()
	c.conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := c.conn.Write(bytes.Repeat([]byte(string(somePath(t, 1))+"\n"), 1<<20)); err == nil {
		t.Fatal("everything was taken though no answer was read")
	}
	closed := make(chan error)
	go func() { closed <- server.close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not close")
	}
}

// Beside one who has very many roots, those who come and go do not have all of them written anew
// each time. What they leave is collected all the same.
func TestTempRootsBesideMany(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	var many []storepath.Path
	for i := range 20_000 {
		many = append(many, somePath(t, i))
	}
	if err := s.addTempRoots(t.Context(), many...); err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		info, err := os.Stat(processFile(s.layout))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before, left := size(), 0
	for i := range 500 {
		session, err := s.Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := session.(*Store).AddTextToStore(t.Context(), "x", fmt.Sprint(i), nil); err != nil {
			t.Fatal(err)
		}
		if err := session.Close(); err != nil {
			t.Fatal(err)
		}
		if size() > before {
			left++
		}
	}
	if left < 400 {
		t.Errorf("the file was written anew at the end of %d of 500 sessions", 500-left)
	}
	if result, err := s.CollectGarbage(t.Context(), deleteAll); err != nil || len(result.Paths) != 500 {
		t.Errorf("%d paths were collected, %v", len(result.Paths), err)
	}
	if size() != before {
		t.Errorf("the file has %d bytes, before were %d", size(), before)
	}
}

// Whatever is left out of the file, a root that lives is in it all the while: were it taken out and
// written again, it could be lost on a full disk.
func TestTempRootsStayInFile(t *testing.T) {
	l := emptyLayout(t)
	lives, comes := newTempRoots(t, l), newTempRoots(t, l)
	mustAdd(t, lives, somePath(t, 1))
	stop, looked := make(chan struct{}), make(chan int)
	go func() {
		missing := 0
		for {
			text, err := os.ReadFile(processFile(l))
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
		if err := comes.close(); err != nil {
			t.Fatal(err)
		}
		comes = newTempRoots(t, l)
	}
	close(stop)
	if missing := <-looked; missing > 0 {
		t.Errorf("it was not there %d times", missing)
	}
	// What is no path keeps everybody from collecting.
	if err := os.WriteFile(processFile(l), []byte("rubbish\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := findTempRoots(t.Context(), l, false); err == nil {
		t.Error("rubbish was no error")
	}
}

// An object and its lock file are deleted separately, and known by the same hash part: whoever
// makes a root of the object waits for both.
func TestRootsServerWaitsForAll(t *testing.T) {
	l := emptyLayout(t)
	server, err := serveRoots(l)
	if err != nil {
		t.Fatal(err)
	}
	defer server.close()
	hashPart := somePath(t, 1).HashPart()
	server.begin(func([]string) []string { return []string{hashPart, hashPart} })
	c, err := dialCollector(t.Context(), l.gcSocket())
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.conn.Write([]byte(string(somePath(t, 1)) + "\n")); err != nil {
		t.Fatal(err)
	}
	server.end(hashPart)
	c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes, %v, while one of two is still deleted", n, err)
	}
	server.end(hashPart)
	c.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := c.conn.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
}
