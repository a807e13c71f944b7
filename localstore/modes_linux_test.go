package localstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pix/internal/testenv"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// An attacker is a thread with the permissions of another user that tries to change objects of a store.
type attacker struct {
	storeDir string
	stop     atomic.Bool
	ended    chan struct{}
	hits     []string // the files that the attacker could write to
}

// attack starts an attacker, which runs until the returned function is called. That function returns the files that the
// attacker could write to.
func attack(t *testing.T, storeDir string) (end func() []string) {
	t.Helper()
	a := &attacker{storeDir: storeDir, ended: make(chan struct{})}
	ready := make(chan error)
	go func() {
		defer close(a.ended)
		runtime.LockOSThread() // and never unlock it: the thread ends with the goroutine
		err := becomeNobody()
		ready <- err
		for err == nil && !a.stop.Load() {
			a.try()
			time.Sleep(50 * time.Microsecond) // let other goroutines run
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	return func() []string {
		a.stop.Store(true)
		<-a.ended
		return a.hits
	}
}

// becomeNobody gives only this thread of the process the permissions of another user.
func becomeNobody() error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return os.NewSyscallError("setgroups", errno)
	}
	unix.SetfsgidRetGid(testenv.Nobody)
	unix.SetfsuidRetUid(testenv.Nobody)
	if uid, err := unix.SetfsuidRetUid(testenv.Nobody); err != nil || uid != testenv.Nobody {
		return fmt.Errorf("the thread has user id %d; %v", uid, err)
	}
	return nil
}

// try tries to add files to each object and its directories, and to write to files in them. To be fast, it reads only
// the first few names of each directory.
func (a *attacker) try() { a.tryBelow(a.storeDir, 1000, 0) }

func (a *attacker) tryBelow(dir string, most, depth int) {
	self, err := os.Open(dir)
	if err != nil {
		return
	}
	names, _ := self.Readdirnames(most)
	self.Close()
	for _, name := range names {
		if depth == 0 && strings.HasSuffix(name, ".lock") {
			continue
		}
		path := filepath.Join(dir, name)
		evil := filepath.Join(path, "evil")
		switch err := os.Mkdir(evil, 0o777); {
		case err == nil:
			a.hits = append(a.hits, evil)
		case errors.Is(err, syscall.ENOTDIR):
			if f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW, 0); err == nil {
				f.Close()
				a.hits = append(a.hits, path)
			}
		case depth < 2:
			a.tryBelow(path, 3, depth+1)
		}
	}
}

// wideTree returns the archive of a directory that takes a while to restore.
var wideTree = func() []byte {
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	for j := range 30 {
		w.WriteEntry(nar.Entry{Kind: nar.Directory, Depth: 1, Name: fmt.Sprintf("d%03d", j)})
		w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 2, Name: "f", Size: 1})
		w.Write([]byte{'x'})
	}
	w.Close()
	return b.Bytes()
}()

// While objects are added, no other user can write to them, even if the group of the store directory is the group of
// the other user, or an access control list allows the other user to write to every new file.
func TestOthersCannotWrite(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can have a thread with the rights of another user")
	}
	testenv.UnderUmasks(t, func(t *testing.T) {
		for kind, prepare := range map[string]func(storeDir string){
			"plain":          func(string) {},
			"group-writable": func(dir string) { shareWithAttacker(t, dir, 0o775|fs.ModeSticky) },
			"setgid":         func(dir string) { shareWithAttacker(t, dir, 0o775|fs.ModeSticky|fs.ModeSetgid) },
			"default ACL":    func(dir string) { testenv.LetAllWrite(t, dir) },
		} {
			// Other users cannot enter the directories of the test.
			root, err := os.MkdirTemp("", "pix-test")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(root)
			chmod(t, root, 0o755)
			s := open(t, Options{Root: root, NoSync: true})
			prepare(s.storeDir)
			end := attack(t, s.storeDir)
			addWide(t, s, "wide", wideTree)
			if hits := end(); len(hits) > 0 {
				t.Errorf("%s: another user could write %d times, for example to %s", kind, len(hits), hits[0])
			}
			if damaged, err := s.VerifyStore(t.Context(), true, false); damaged || err != nil {
				t.Errorf("%s: an added object is damaged; %v", kind, err)
			}
			checkCanonical(t, s)
		}
	})
}

// addWide adds an object in each of the possible ways.
func addWide(t *testing.T, s *Store, name string, archive []byte) {
	t.Helper()
	small := info(t, name)
	small.NARHash, small.NARSize = nixhash.Sum(nixhash.SHA256, archive), uint64(len(archive))
	opts := &store.AddOptions{NoSignatures: true}
	if err := s.AddToStoreNAR(t.Context(), small, bytes.NewReader(archive), opts); err != nil {
		t.Fatal(err)
	}
	opts.Repair = true
	if err := s.AddToStoreNAR(t.Context(), small, bytes.NewReader(archive), opts); err != nil {
		t.Fatal(err)
	}
	many := info(t, name+"-of-many")
	many.NARHash, many.NARSize = small.NARHash, small.NARSize
	if err := s.AddMultipleToStore(t.Context(), 1, oneImport(many, archive), opts); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddToStore(t.Context(), name, storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(archive), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddTextToStore(t.Context(), name, name, nil); err != nil {
		t.Fatal(err)
	}
}

// shareWithAttacker gives a directory the group of the attacker, and a mode.
func shareWithAttacker(t *testing.T, dir string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chown(dir, 0, testenv.Nobody); err != nil {
		t.Fatal(err)
	}
	chmod(t, dir, mode)
}

func chmod(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

// A user who can create names in the store directory, but cannot change objects, cannot make the store write to another
// file through a symlink with the name of a lock file.
func TestLockIsNoSymlink(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	info, archive := object(t, "x")
	victim := filepath.Join(t.TempDir(), "victim")
	if err := errors.Join(os.WriteFile(victim, nil, 0o600), os.Symlink(victim, s.object(info.Path)+".lock")); err != nil {
		t.Fatal(err)
	}
	if err := s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), &store.AddOptions{NoSignatures: true}); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("%v, want %v", err, syscall.ELOOP)
	}
	if text, err := os.ReadFile(victim); len(text) > 0 || err != nil {
		t.Errorf("the other file has %q; %v", text, err)
	}
}
