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

// An attacker is a thread that has the rights of another user, who tries to get something into the
// objects of a store.
type attacker struct {
	storeDir string
	stop     atomic.Bool
	ended    chan struct{}
	hits     []string // what the attacker could write to
}

// attack starts an attacker, who attacks until the function that is returned is called. That returns
// what the attacker could write to.
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
			time.Sleep(50 * time.Microsecond) // or nothing else gets on
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

// becomeNobody gives this thread, of all threads of the process, the rights of another user.
func becomeNobody() error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return os.NewSyscallError("setgroups", errno)
	}
	unix.SetfsgidRetGid(testenv.Nobody)
	unix.SetfsuidRetUid(testenv.Nobody)
	if uid, err := unix.SetfsuidRetUid(testenv.Nobody); err != nil || uid != testenv.Nobody {
		return fmt.Errorf("the thread has the rights of user %d; %v", uid, err)
	}
	return nil
}

// try tries to add to each object and to the directories in it, and to write to files in these. To be
// fast, it looks only at the first few names in each directory.
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

// wideTree is the archive of a directory that takes a while to restore.
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

// While objects are added, no other user can get something into them, which would then be valid. That
// is so also where the group of the store directory is the other user's, and where an access
// control list lets the other user write to whatever is made in it.
func TestOthersCannotWrite(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can have a thread with the rights of another user")
	}
	testenv.UnderUmasks(t, func(t *testing.T) {
		for kind, prepare := range map[string]func(storeDir string){
			"plain":          func(string) {},
			"group-writable": func(dir string) { share(t, dir, 0o775|fs.ModeSticky) },
			"setgid":         func(dir string) { share(t, dir, 0o775|fs.ModeSticky|fs.ModeSetgid) },
			"default ACL":    func(dir string) { testenv.LetAllWrite(t, dir) },
		} {
			// Directories of the test itself are closed for others.
			root, err := os.MkdirTemp("", "pix-test")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(root)
			mustChmod(t, root, 0o755)
			s := open(t, Options{Root: root, NoSync: true})
			prepare(s.storeDir)
			end := attack(t, s.storeDir)
			addWide(t, s, "wide", wideTree)
			if hits := end(); len(hits) > 0 {
				t.Errorf("%s: another user could write %d times, such as to %s", kind, len(hits), hits[0])
			}
			if damaged, err := s.VerifyStore(t.Context(), true, false); damaged || err != nil {
				t.Errorf("%s: what was added is damaged; %v", kind, err)
			}
			mustBeCanonical(t, s)
		}
	})
}

// addWide adds an object in each way in which one can be added.
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
	if err := s.AddMultipleToStore(t.Context(), 1, only(many, archive), opts); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddToStore(t.Context(), name, storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(archive), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddTextToStore(t.Context(), name, name, nil); err != nil {
		t.Fatal(err)
	}
}

// share gives a directory the group of the attacker, and a mode.
func share(t *testing.T, dir string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chown(dir, 0, testenv.Nobody); err != nil {
		t.Fatal(err)
	}
	mustChmod(t, dir, mode)
}

func mustChmod(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

// Who may add names to the store directory, but not to objects, cannot have the store write to another
// file by a symlink with the name of a lock.
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
