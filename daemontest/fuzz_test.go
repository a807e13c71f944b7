package daemontest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"pix/protocol"
)

// Any file is read as conversations that can be replayed, or refused with the position. Memory
// is allocated only for existing data.
func FuzzTraceFile(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "replay", "*.trace"))
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		trace, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(trace)
	}
	f.Fuzz(func(t *testing.T, trace []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		conversations, err := readTrace(bytes.NewReader(trace))
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+200*len(trace)); got > most {
			t.Errorf("reading %d bytes allocated %d", len(trace), got)
		}
		var e *protocol.TraceError
		if err != nil && (!errors.As(err, &e) || e.Line < 1 || e.Column < 1) {
			t.Fatalf("%T: %v", err, err)
		}
		for _, c := range conversations {
			if c.numRequired() > len(c.calls) || !c.startsLike(c, len(c.calls)) {
				t.Errorf("connection %d does not equal itself", c.number)
			}
			for _, k := range c.calls {
				if k.answered > len(k.steps) || k.failed && k.answered == 0 {
					t.Errorf("%+v", k)
				}
			}
		}
	})
}
