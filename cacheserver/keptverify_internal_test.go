package cacheserver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"pix/nixhash"
	"pix/storepath"
)

// A readContext counts the reads of a file. Each read waits until the channel is closed.
type readContext struct {
	context.Context
	reads   atomic.Int64
	proceed chan struct{}
}

func (c *readContext) Err() error {
	c.reads.Add(1)
	<-c.proceed
	return c.Context.Err()
}

// Of the requests for parts of a file that no process has verified, one reads it. The others get its result. If its client leaves,
// another request reads the file.
func TestVerifyOnce(t *testing.T) {
	left := errors.New("the client has left")
	for _, test := range []struct {
		what    string
		leaves  bool
		damaged bool
		readers int
	}{{"right", false, false, 1}, {"damaged", false, true, 1}, {"left", true, false, 2}} {
		dir, contents := t.TempDir(), make([]byte, 4000)
		hash := nixhash.Sum(nixhash.SHA256, contents)
		if test.damaged {
			contents[0] = 1
		}
		name := filepath.Join(dir, formatFetched(fetchedName(hash, 4000)))
		if err := os.WriteFile(name, contents, 0o600); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			c, err := openFetched(dir, storepath.DefaultDir, 1<<20, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			const requests = 5
			proceed, results := make(chan struct{}), make(chan error, requests)
			var contexts [requests]readContext
			var leave context.CancelCauseFunc
			for i := range contexts {
				f, _, err := c.find(hash)
				if f == nil || err != nil {
					t.Fatal(err)
				}
				contexts[i].proceed = proceed
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if contexts[i].Context = ctx; i == 0 {
					leave = cancel
				}
				go func() {
					defer f.Close()
					results <- c.verify(&contexts[i], f)
				}()
				synctest.Wait() // the first request begins to read, and the others come while it does
			}
			if test.leaves {
				leave(left)
			}
			close(proceed)
			for range requests {
				err := <-results
				switch {
				case test.leaves && err == left:
				case (err != nil) != test.damaged || err != nil && !errors.Is(err, errDamaged):
					t.Errorf("%s: %v", test.what, err)
				}
			}
			readers := 0
			for i := range contexts {
				if contexts[i].reads.Load() > 0 {
					readers++
				}
			}
			if readers > test.readers {
				t.Errorf("%s: %d requests have read the file, want %d", test.what, readers, test.readers)
			}
			if f := c.files[hash]; (f == nil) != test.damaged || f != nil && !f.verified {
				t.Errorf("%s: the file is %+v", test.what, f)
			}
		})
	}
}

// A request that has sent a part of a damaged file does not take a new file under the same name for it.
func TestVerifyReplaced(t *testing.T) {
	dir, contents := t.TempDir(), make([]byte, 4000)
	hash := nixhash.Sum(nixhash.SHA256, contents)
	contents[0] = 1
	if err := os.WriteFile(filepath.Join(dir, formatFetched(fetchedName(hash, 4000))), contents, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := openFetched(dir, storepath.DefaultDir, 1<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	f, _, err := c.find(hash)
	if f == nil || err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.remove(hash)
	temporary := filepath.Join(dir, "new")
	if err := os.WriteFile(temporary, make([]byte, 4000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.publish(temporary, fetchedName(hash, 4000), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.verify(t.Context(), f); !errors.Is(err, errDamaged) {
		t.Errorf("%v, want errDamaged", err)
	}
	if known := c.files[hash]; known == nil || !known.verified {
		t.Errorf("the new file is %+v", known)
	}
}
