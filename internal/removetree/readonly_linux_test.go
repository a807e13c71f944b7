package removetree_test

import (
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pix/internal/removetree"
	"pix/internal/testenv"
)

// An ordinary user removes a tree while another process makes its directories read-only.
func TestRemoveReadOnly(t *testing.T) {
	testenv.AsOrdinaryUser(t, func(parent string) {
		top := filepath.Join(parent, "top")
		dir := filepath.Join(top, "dir")
		for range 15 {
			must(t, os.MkdirAll(dir, 0o755))
			for i := range 50 {
				must(t, os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o444))
			}
			var done atomic.Bool
			started, ended := make(chan bool), make(chan bool)
			go func() {
				defer close(ended)
				os.Chmod(dir, 0o555)
				close(started)
				for !done.Load() {
					os.Chmod(dir, 0o555)
					os.Chmod(top, 0o555)
					time.Sleep(time.Microsecond) // longer than removing a file takes, most of the time
				}
			}()
			<-started
			err := removetree.RemovePath(top)
			done.Store(true)
			<-ended
			testenv.MakeWritable(parent)
			must(t, err)
		}
	})
}
