//go:build unix

package localstore

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"pix/store"
)

// Several clients add many objects at the same time to a process that may open few files. The limit holds for the whole
// process, so the test runs in a child process.
func TestAddWithFewDescriptors(t *testing.T) {
	const child = "LOCALSTORE_TEST_DESCRIPTORS"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	const clients, n = 4, 300
	objects := make([][]store.Import, clients)
	for i := range objects {
		for j := range n {
			info, archive := object(t, fmt.Sprintf("x%d-%d", i, j))
			objects[i] = append(objects[i], store.Import{Info: info, NAR: bytes.NewReader(archive)})
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 96, Max: 96}); err != nil {
		t.Fatal(err)
	}
	s := open(t, Options{Root: t.TempDir(), NoSync: true})
	var all sync.WaitGroup
	for _, some := range objects {
		all.Go(func() {
			if err := s.AddMultipleToStore(t.Context(), n, imports(some), &store.AddOptions{NoSignatures: true}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if valid := countValid(t, s); valid != clients*n {
		t.Errorf("%d paths are valid", valid)
	}
}

func imports(objects []store.Import) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		for _, o := range objects {
			if !yield(o, nil) {
				return
			}
		}
	}
}
