package objects

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"pix/internal/testenv"
)

// An ordinary user links the files in a directory that another process makes read-only: it links files there too.
func TestLinkReadOnly(t *testing.T) {
	testenv.AsOrdinaryUser(t, func(dir string) {
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		must(os.Mkdir(filepath.Join(dir, LinksName), 0o755))
		object := filepath.Join(dir, "object")
		must(os.Mkdir(object, 0o755))
		const files = 500
		for i := range files {
			must(os.WriteFile(filepath.Join(object, fmt.Sprint(i)), []byte("text"), 0o444))
		}
		var done atomic.Bool
		ended := make(chan bool)
		go func() {
			defer close(ended)
			for !done.Load() {
				os.Chmod(object, 0o555)
				time.Sleep(time.Microsecond) // longer than the linker needs for a file, most of the time
			}
		}()
		linked := 0
		l := &Linker{
			StoreDir: dir, Display: func(name string) string { return name }, Report: func(string) {},
			Failed: func(err error) { t.Error(err) }, Replaced: func(int64, int64) { linked++ },
		}
		must(l.Link(t.Context(), object))
		done.Store(true)
		<-ended
		if linked != files-1 {
			t.Errorf("%d files were linked, not %d", linked, files-1)
		}
		testenv.MakeWritable(object)
	})
}
